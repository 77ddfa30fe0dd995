//! Values of an adapter's settings for one configured system. Secrets have a type of their own and are never
//! printed.

use std::{collections::BTreeMap, str::FromStr};

use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Number, Value};

use super::SettingKind;
use crate::load::{LoadError, Place};

/// Value of a setting.
#[derive(Clone, Debug)]
pub enum SettingValue {
    Plain(Value),
    Secret(SecretString),
}

/// A value as the configuration gives it, with its place for the message if it does not fit.
#[derive(Clone, Debug)]
pub struct Given {
    pub value: SettingValue,
    pub place: Place,
}

/// All settings of one system. Omitted ones have their defaults.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<String, SettingValue>);

impl Settings {
    /// A setting that is not a secret.
    #[must_use]
    pub fn plain(&self, name: &str) -> Option<&Value> {
        match self.0.get(name)? {
            SettingValue::Plain(value) => Some(value),
            SettingValue::Secret(_) => None,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &SettingValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The settings that are not secrets, as one object.
    #[must_use]
    pub fn public(&self) -> Value {
        Value::Object(self.plains().map(|(name, value)| (name.to_owned(), value.clone())).collect())
    }

    /// The settings that are not secrets.
    pub fn plains(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.iter().filter_map(|(name, value)| match value {
            SettingValue::Plain(value) => Some((name, value)),
            SettingValue::Secret(_) => None,
        })
    }
}

impl FromIterator<(String, SettingValue)> for Settings {
    fn from_iter<I: IntoIterator<Item = (String, SettingValue)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Given {
    /// Convert the value to `kind`. A secret of the configuration (an environment variable, a file) can supply any
    /// kind.
    pub(super) fn fit(&self, name: &str, kind: SettingKind) -> Result<SettingValue, LoadError> {
        if kind == SettingKind::Secret {
            return match &self.value {
                SettingValue::Secret(secret) => Ok(SettingValue::Secret(secret.clone())),
                SettingValue::Plain(Value::String(text)) => Ok(SettingValue::Secret(text.clone().into())),
                SettingValue::Plain(_) => Err(self.misfit(name, kind, "a text")),
            };
        }
        let value = match &self.value {
            SettingValue::Plain(value) => value.clone(),
            SettingValue::Secret(secret) => Value::from(secret.expose_secret()),
        };
        let fitted = match (kind, value) {
            (SettingKind::Url, Value::String(text)) => web_address(&text),
            (SettingKind::Text | SettingKind::Path, Value::String(text)) => Some(Value::String(text)),
            (SettingKind::Text, Value::Number(number)) => Some(Value::String(number.to_string())),
            (SettingKind::Integer, value) => scalar(&value).and_then(|text| text.parse::<i64>().ok()).map(Value::from),
            (SettingKind::Decimal, value) => scalar(&value).and_then(|text| decimal(&text)),
            (SettingKind::Boolean, Value::Bool(flag)) => Some(Value::Bool(flag)),
            (SettingKind::Boolean, Value::String(text)) => text.parse::<bool>().ok().map(Value::Bool),
            (SettingKind::List, list @ Value::Array(_)) => Some(list),
            (SettingKind::Map, map @ Value::Object(_)) => Some(map),
            _ => None,
        };
        fitted.map(SettingValue::Plain).ok_or_else(|| self.misfit(name, kind, example(kind)))
    }

    fn misfit(&self, name: &str, kind: SettingKind, expected: &str) -> LoadError {
        LoadError::new(&self.place, format!("setting `{name}` must be {expected} (kind `{}`)", kind.as_str()))
    }
}

fn example(kind: SettingKind) -> &'static str {
    match kind {
        SettingKind::Url => "an address such as \"https://shop.example\"",
        SettingKind::Text | SettingKind::Secret => "a text",
        SettingKind::Integer => "a whole number",
        SettingKind::Decimal => "a decimal as text, such as \"1.5\"",
        SettingKind::Boolean => "true or false",
        SettingKind::List => "a list",
        SettingKind::Map => "a table",
        SettingKind::Path => "a path",
    }
}

fn web_address(text: &str) -> Option<Value> {
    let url = reqwest::Url::parse(text).ok()?;
    let known = matches!(url.scheme(), "http" | "https") && url.has_host();
    known.then(|| Value::from(text.trim_end_matches('/')))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn decimal(text: &str) -> Option<Value> {
    let number = Decimal::from_str(text).ok()?.normalize().to_string();
    Number::from_str(&number).ok().map(Value::Number)
}
