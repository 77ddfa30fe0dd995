//! The part of an adapter's file that all drivers share: driver, summary, settings, entities.

use std::{borrow::Cow, path::Path, sync::Arc};

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::settings::{Given, SettingValue, Settings};
use crate::load::{self, LoadError, Node, Place, SourceFile, Spanned};

/// Compiled engine an adapter runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// JSON, XML, form or multipart over HTTP: REST, JSON-RPC, GraphQL, OData, SOAP.
    Http,
    /// SQLite, PostgreSQL, MySQL or MariaDB.
    Sql,
    /// CSV, XML or JSON files of a folder.
    Files,
}

/// What a value of a setting looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// An `http` or `https` address; a slash at its end is dropped.
    Url,
    Text,
    /// Never printed; usable only where credentials go.
    Secret,
    Integer,
    /// Exact decimal, written as text or whole number.
    Decimal,
    Boolean,
    List,
    Map,
    /// File or folder; relative ones start at the configuration's folder.
    Path,
}

impl SettingKind {
    /// An example value that any system of this kind could have.
    #[must_use]
    pub fn example(self) -> Value {
        match self {
            Self::Url => Value::from("https://example.test"),
            Self::Integer | Self::Decimal => Value::from(1),
            Self::Boolean => Value::from(true),
            Self::List => Value::Array(Vec::new()),
            Self::Map => Value::Object(serde_json::Map::new()),
            Self::Text | Self::Secret | Self::Path => Value::from("example"),
        }
    }

    /// The word that TOML uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Text => "text",
            Self::Secret => "secret",
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Boolean => "boolean",
            Self::List => "list",
            Self::Map => "map",
            Self::Path => "path",
        }
    }
}

/// One thing a system of this kind is configured with.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    pub kind: SettingKind,
    /// One line for people.
    pub doc: Option<String>,
    /// Value when the configuration gives none; without it the setting is required.
    pub default: Option<Body>,
    /// May be left out: then it is `()`.
    #[serde(default)]
    pub optional: bool,
}

/// Text with `${expr}` pieces.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Text(pub Spanned<String>);

/// A bare expression, or a plain path.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Formula(pub Spanned<String>);

/// A value of any shape whose texts may hold `${expr}` pieces.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Body(pub Spanned<Node>);

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "template" })
    }
}

impl JsonSchema for Formula {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Formula".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "expression" })
    }
}

impl JsonSchema for Body {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Body".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// An adapter's file. The driver reads its own tables from the same text (`load::parse(&manifest.file)`) into
/// structs that refuse unknown keys.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Name of the adapter: the file's name without `.toml`.
    pub name: String,
    pub driver: Driver,
    /// One line for people.
    pub summary: String,
    pub settings: IndexMap<String, Setting>,
    /// Names of the entities, in the order of the file.
    pub entities: Vec<String>,
    pub file: Arc<SourceFile>,
}

/// The shared part. The driver checks the rest.
#[derive(Deserialize)]
struct Head {
    driver: Driver,
    summary: String,
    #[serde(default)]
    settings: IndexMap<String, Setting>,
    #[serde(default)]
    entities: IndexMap<String, IgnoredAny>,
}

/// Tables next to the settings in the table of a system.
const TABLES: [&str; 2] = ["lookups", "limits"];

impl Manifest {
    /// # Errors
    /// If the shared part of the file is wrong.
    pub fn load(file: Arc<SourceFile>) -> Result<Arc<Self>, LoadError> {
        let head: Head = load::parse(&file)?;
        let defaults = head.settings.iter().filter_map(|(name, setting)| {
            let default = setting.default.as_ref()?;
            let given =
                Given { value: SettingValue::Plain(default.0.as_ref().to_json()), place: Place::of(&file, &default.0) };
            Some(given.fit(name, setting.kind))
        });
        LoadError::collect(defaults)?;
        let name = Path::new(&file.name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Arc::new(Self {
            name,
            driver: head.driver,
            summary: head.summary,
            settings: head.settings,
            entities: head.entities.into_keys().collect(),
            file,
        }))
    }

    /// Match the values of a system's configuration with the settings that this adapter asks for. `place` is the
    /// system's table.
    ///
    /// # Errors
    /// Unknown, missing and malformed settings, each with its place in the configuration.
    pub fn check_settings(&self, given: &IndexMap<String, Given>, place: &Place) -> Result<Settings, LoadError> {
        let known = self.settings.keys().map(String::as_str);
        let strangers = given
            .iter()
            .filter(|(name, _)| !self.settings.contains_key(*name))
            .map(|(name, given)| Err(LoadError::unknown(&given.place, "setting", name, known.clone().chain(TABLES))));
        let values = self.settings.iter().map(|(name, setting)| {
            let value = match (given.get(name), &setting.default) {
                (Some(given), _) => given.fit(name, setting.kind)?,
                (None, Some(default)) => {
                    let value = SettingValue::Plain(default.0.as_ref().to_json());
                    Given { value, place: Place::of(&self.file, &default.0) }.fit(name, setting.kind)?
                }
                (None, None) if setting.optional => SettingValue::Plain(serde_json::Value::Null),
                (None, None) => {
                    let error = LoadError::new(place, format!("missing setting `{name}` (adapter {})", self.name));
                    return Err(match &setting.doc {
                        Some(doc) => error.help(format!("{name}: {doc}")),
                        None => error,
                    });
                }
            };
            Ok((name.clone(), value))
        });
        LoadError::collect(values.map(|value| value.map(Some)).chain(strangers))
            .map(|values| values.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SHOP: &str = r#"
driver = "http"
summary = "A shop"
[settings]
url = { kind = "url" }
key = { kind = "secret", doc = "from the account page" }
per_page = { kind = "integer", default = 100 }
note = { kind = "text", optional = true }
[http]
base = "${url}"
[entities.product]
id = "id"
"#;

    fn given(config: &Arc<SourceFile>, pairs: &[(&str, serde_json::Value)]) -> IndexMap<String, Given> {
        let place = Place::start(config);
        pairs
            .iter()
            .map(|(name, value)| {
                ((*name).to_owned(), Given { value: SettingValue::Plain(value.clone()), place: place.clone() })
            })
            .collect()
    }

    #[test]
    fn settings_are_fitted_to_what_the_adapter_asks_for() {
        let manifest = Manifest::load(SourceFile::new("adapters/shop.toml", SHOP)).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.entities.as_slice()), ("shop", &["product".to_owned()][..]));
        let config = SourceFile::new("vaiven.toml", "[systems.shop]");
        let settings = manifest
            .check_settings(
                &given(&config, &[("url", json!("https://a.example/")), ("key", json!("hush"))]),
                &Place::start(&config),
            )
            .unwrap();
        assert_eq!(settings.plain("url"), Some(&json!("https://a.example")));
        assert_eq!(settings.plain("per_page"), Some(&json!(100)));
        assert_eq!(settings.plain("note"), Some(&json!(null)));
        assert_eq!(settings.plain("key"), None);
        assert!(!format!("{settings:?}").contains("hush"));
    }

    #[test]
    fn wrong_settings_are_all_named_with_their_place() {
        let manifest = Manifest::load(SourceFile::new("shop.toml", SHOP)).unwrap();
        let config = SourceFile::new("vaiven.toml", "[systems.shop]");
        let error = manifest
            .check_settings(
                &given(&config, &[("url", json!("ftp://x")), ("per_pag", json!(1))]),
                &Place::start(&config),
            )
            .unwrap_err()
            .to_string();
        for part in
            ["setting `url`", "missing setting `key`", "from the account page", "`per_pag`, did you mean `per_page`"]
        {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn a_default_of_the_wrong_kind_is_refused_at_load() {
        let text = SHOP.replace("default = 100", "default = \"many\"");
        let error = Manifest::load(SourceFile::new("shop.toml", text)).unwrap_err().to_string();
        assert!(error.starts_with("shop.toml:7:") && error.contains("integer"), "{error}");
    }
}
