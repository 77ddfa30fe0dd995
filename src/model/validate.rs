//! Brings a canonical object into its normal form, and refuses what its specification does not allow. Messages
//! never show a value.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Number, Value};

use super::{EntitySpec, FieldSpec, Kind, codes, decimal, time};

/// A value that does not fit its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// `variants[SKU-1].weight`
    pub field: String,
    pub problem: String,
}

/// Bring an object into canonical form: values normalised, empty ones absent, members in the order of the
/// specification. After an error the fields are only partly normalised. Required fields are checked by the mapping:
/// a system may show only part of an entity.
pub fn normalize(spec: &EntitySpec, fields: &mut Map<String, Value>) -> Result<(), Vec<FieldError>> {
    let mut work = Work { path: String::new(), errors: Vec::new() };
    work.members(&spec.fields, fields);
    if work.errors.is_empty() { Ok(()) } else { Err(work.errors) }
}

/// One value in canonical form. Return `None` if it counts as absent or does not fit.
#[must_use]
pub fn normal(spec: &FieldSpec, value: Value) -> Option<Value> {
    let mut work = Work { path: String::new(), errors: Vec::new() };
    let value = work.value(spec, value)?;
    work.errors.is_empty().then_some(value)
}

/// Whether a value counts as absent: null, empty text, list or object.
#[must_use]
pub fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

struct Work {
    path: String,
    errors: Vec<FieldError>,
}

impl Work {
    fn members(&mut self, specs: &IndexMap<String, FieldSpec>, members: &mut Map<String, Value>) {
        let mut ordered = Map::with_capacity(members.len());
        for (name, spec) in specs {
            let value = members.get_mut(name).map(Value::take);
            let length = self.path.len();
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(name);
            if let Some(value) = value.and_then(|value| self.value(spec, value)) {
                ordered.insert(name.clone(), value);
            }
            self.path.truncate(length);
        }
        for name in members.keys() {
            if !specs.contains_key(name) {
                let dot = if self.path.is_empty() { "" } else { "." };
                let field = format!("{}{dot}{name}", self.path);
                self.errors.push(FieldError { field, problem: "is not a field of this entity".into() });
            }
        }
        *members = ordered;
    }

    /// The value in canonical form. Return `None` if it counts as absent or does not fit (then there is an error).
    fn value(&mut self, spec: &FieldSpec, value: Value) -> Option<Value> {
        if empty(&value) {
            return None;
        }
        let value = match &spec.kind {
            Kind::List => return self.list(spec, value),
            Kind::Object => {
                let Value::Object(mut members) = value else { return self.wrong("is not an object") };
                self.members(&spec.fields, &mut members);
                Value::Object(members)
            }
            Kind::Map => {
                let Value::Object(members) = value else { return self.wrong("is not an object") };
                let of = spec.of.as_deref()?;
                let mut out = Map::with_capacity(members.len());
                for (name, member) in members {
                    let length = self.path.len();
                    self.path.push('.');
                    self.path.push_str(if spec.personal { "*" } else { &name });
                    if let Some(member) = self.value(of, member) {
                        out.insert(name, member);
                    }
                    self.path.truncate(length);
                }
                // Names have no order of their own. Sort them to make equal maps equal texts.
                out.sort_keys();
                Value::Object(out)
            }
            Kind::Localized => {
                let Value::Object(members) = value else { return self.wrong("is not an object of texts by language") };
                let mut out = Map::with_capacity(members.len());
                for (tag, text) in members {
                    let Some(tag) = codes::language(&tag) else { return self.wrong("has a name that is no language") };
                    match text {
                        Value::Null => {}
                        Value::String(text) if text.is_empty() => {}
                        Value::String(text) if text.contains('\0') => return self.wrong("holds a NUL character"),
                        Value::String(text) => {
                            if out.insert(tag, Value::String(text)).is_some() {
                                return self.wrong("has two texts of one language");
                            }
                        }
                        _ => return self.wrong("has a value that is no text"),
                    }
                }
                Value::Object(out)
            }
            _ => match scalar(spec, value) {
                Ok(value) => value,
                Err(problem) => return self.wrong(problem),
            },
        };
        (!empty(&value)).then_some(value)
    }

    fn list(&mut self, spec: &FieldSpec, value: Value) -> Option<Value> {
        let (of, key) = (spec.of.as_deref()?, spec.key.as_deref());
        let Value::Array(items) = value else { return self.wrong("is not a list") };
        let mut out = Vec::with_capacity(items.len());
        let mut seen = HashSet::new();
        for (index, item) in items.into_iter().enumerate() {
            let length = self.path.len();
            let named = key.and_then(|key| item.get(key)).and_then(key_text);
            match &named {
                // Keys of personal lists may be personal.
                Some(named) if !spec.personal => self.path.push_str(&format!("[{named}]")),
                _ => self.path.push_str(&format!("[{index}]")),
            }
            if let Some(item) = self.value(of, item) {
                if let Some(key) = key {
                    match item.get(key).and_then(key_text) {
                        None => self.problem(&format!("lacks `{key}`, by which the items are told apart")),
                        Some(text) if !seen.insert(text.clone()) => {
                            self.problem(&format!("stands twice: another item has the same `{key}`"));
                        }
                        Some(_) => {}
                    }
                }
                out.push(item);
            }
            self.path.truncate(length);
        }
        (!out.is_empty()).then_some(Value::Array(out))
    }

    fn problem(&mut self, problem: &str) {
        self.errors.push(FieldError { field: self.path.clone(), problem: problem.to_owned() });
    }

    fn wrong(&mut self, problem: &str) -> Option<Value> {
        self.problem(problem);
        None
    }
}

/// The text that identifies an item.
fn key_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn scalar(spec: &FieldSpec, value: Value) -> Result<Value, &'static str> {
    Ok(match spec.kind {
        Kind::Text => match value {
            Value::String(text) => {
                plain(&text)?;
                Value::String(text)
            }
            Value::Number(number) => Value::String(number_text(&number)),
            _ => return Err("is not a text"),
        },
        Kind::Decimal | Kind::Money => {
            let number = match &value {
                Value::Number(number) => decimal::parse(number.as_str()),
                Value::String(text) => decimal::parse(text.trim()),
                _ => None,
            };
            Value::String(decimal::canonical(
                number.ok_or("is not a number of at most 28 digits with a decimal point")?,
            ))
        }
        Kind::Integer => {
            let number = match &value {
                Value::Number(number) => decimal::parse(number.as_str()),
                Value::String(text) => decimal::parse(text.trim()),
                _ => None,
            };
            let whole = number.filter(rust_decimal::Decimal::is_integer);
            Value::from(whole.and_then(|whole| i64::try_from(whole).ok()).ok_or("is not a whole number")?)
        }
        Kind::Boolean => Value::Bool(boolean(&value).ok_or("is neither true nor false")?),
        Kind::Date => {
            Value::String(time::parse_date(text(&value)?).map_err(|_| "is not a date (2026-03-01)")?.to_string())
        }
        Kind::Datetime => match time::parse_time(text(&value)?, None) {
            Ok(time) => Value::String(time::canonical(time)),
            Err(time::TimeError::NoZone) => return Err("is a time without a zone; name it with `zone`"),
            Err(_) => return Err("is not a time (2026-03-01T09:30:00Z)"),
        },
        Kind::Currency => Value::String(code(&value, codes::is_currency)?.ok_or("is not a currency code (ISO 4217)")?),
        Kind::Country => {
            // A sale is worth more than a letter: keep a word that is not a country as it is, and doubt it.
            match code(&value, codes::is_country)? {
                Some(code) => Value::String(code),
                None => Value::String(plain(text(&value)?)?.to_owned()),
            }
        }
        Kind::Language => {
            Value::String(codes::language(text(&value)?.trim()).ok_or("is not a language tag (es, pt-BR)")?)
        }
        Kind::Url => {
            let text = text(&value)?.trim();
            let rest = text.split_once("://").filter(|(scheme, _)| {
                scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b))
            });
            match rest {
                Some((_, rest))
                    if !rest.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()) =>
                {
                    Value::from(text)
                }
                _ => return Err("is not a complete URL"),
            }
        }
        Kind::Choice => {
            let text = text(&value)?;
            if spec.choices.iter().any(|choice| choice == text) {
                value
            } else {
                return Err("is none of the choices");
            }
        }
        Kind::Ref => match value.as_i64() {
            Some(_) => value,
            None => return Err("is not a record number"),
        },
        Kind::Localized | Kind::List | Kind::Object | Kind::Map => value,
    })
}

/// Canonical text of a number. If it is too long for arithmetic, keep its own digits.
fn number_text(number: &Number) -> String {
    decimal::parse(number.as_str()).map_or_else(|| number.to_string(), decimal::canonical)
}

/// The code in upper case, if it is known.
fn code(value: &Value, known: fn(&str) -> bool) -> Result<Option<String>, &'static str> {
    let code = text(value)?.trim().to_ascii_uppercase();
    Ok(known(&code).then_some(code))
}

fn plain(text: &str) -> Result<&str, &'static str> {
    if text.contains('\0') { Err("holds a NUL character") } else { Ok(text.trim()) }
}

fn text(value: &Value) -> Result<&str, &'static str> {
    value.as_str().ok_or("is not a text")
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_str() {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
pub(crate) mod tests;
