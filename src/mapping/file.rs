//! A mapping file as it is written.

use std::fmt;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::load::{Node, Spanned};

/// `mappings/<adapter>/<entity>.toml`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingFile {
    /// Path or expression on the row: the record's canonical key.
    #[schemars(with = "String")]
    pub key: Spanned<String>,
    #[serde(default)]
    #[schemars(with = "IndexMap<String, FieldRule>")]
    pub fields: IndexMap<String, Spanned<FieldRule>>,
    /// Canonical value to the system's, by table.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, IndexMap<String, serde_json::Value>>")]
    pub lookups: IndexMap<String, IndexMap<String, Spanned<Node>>>,
    #[serde(default)]
    pub extra: Extra,
}

/// Members that are always sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    /// With a create, and wherever the whole object is sent.
    #[schemars(with = "Option<serde_json::Value>")]
    pub on_create: Option<Spanned<Node>>,
    #[schemars(with = "Option<serde_json::Value>")]
    pub always: Option<Spanned<Node>>,
}

/// One field: a path, or a rule.
#[derive(Debug, Default)]
pub struct FieldRule(pub RuleTable);

/// How one field is read and written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTable {
    /// Where it is in the row; by language with `localized = true`.
    #[schemars(with = "Option<From>")]
    pub from: Option<Spanned<From>>,
    /// Expression on `value`, `row`, `root`: the canonical value.
    #[schemars(with = "Option<String>")]
    pub pull: Option<Spanned<String>>,
    /// Expression on `value`, `wanted`, `root`, `key`: what is sent.
    #[schemars(with = "Option<String>")]
    pub push: Option<Spanned<String>>,
    /// Where it is sent, if not to `from`.
    #[schemars(with = "Option<String>")]
    pub push_to: Option<Spanned<String>>,
    /// Constant on pull, never pushed. If the field qualifies, the system can hold this value only: an object with another value
    /// is not written there.
    #[schemars(with = "Option<serde_json::Value>")]
    pub value: Option<Spanned<Node>>,
    /// Whether the system can hold the value, asked of `value`, `wanted`, `root` (as the sources say it) and `here` (as the system
    /// is known to hold it). Where it gives `false`, or a text that says why, the object is not written there.
    #[schemars(with = "Option<String>")]
    pub holds: Option<Spanned<String>>,
    /// Table that translates the value.
    #[schemars(with = "Option<String>")]
    pub lookup: Option<Spanned<String>>,
    #[schemars(with = "Option<Localized>")]
    pub localized: Option<Spanned<Localized>>,
    /// Entity whose record the value is the id of.
    #[serde(rename = "ref")]
    #[schemars(with = "Option<String>")]
    pub reference: Option<Spanned<String>>,
    /// Whether a reference is the other system's id or the canonical key.
    #[schemars(with = "Option<By>")]
    pub by: Option<Spanned<By>>,
    /// Entity and list (`product.variants`) that the value is the id of a part in; the canonical value is the part's key.
    #[schemars(with = "Option<String>")]
    pub part: Option<Spanned<String>>,
    /// Expression on `row`: the system has taken up what it was sent and shows it once somebody there has finished it, as with a
    /// credit note that is still a draft. While it gives `true`, the field is what it was known to be: no news, no difference.
    #[schemars(with = "Option<String>")]
    pub pending: Option<Spanned<String>>,
    /// For a list that the target replaces as a whole: which of its items belong to others and stay.
    pub beside: Option<Beside>,
    /// Values that mean absent.
    #[serde(default)]
    #[schemars(with = "Vec<serde_json::Value>")]
    pub none: Vec<Spanned<Node>>,
    /// Zone of times that name none.
    #[schemars(with = "Option<String>")]
    pub zone: Option<Spanned<String>>,
    /// How the value is sent: numbers are texts by default.
    #[serde(rename = "as")]
    pub form: Option<As>,
    /// Decimals that the system keeps, of a decimal or an amount, or of all in a list or an object. What is wanted there is
    /// rounded to it first, halves away from zero: so it is read back as it was sent.
    pub precision: Option<u32>,
    /// How `precision` rounds: what is there to be sold is rounded down.
    pub round: Option<Rounding>,
    /// A row without this member is fine.
    #[serde(default)]
    pub optional: bool,
    /// Whether a field that became absent is sent as `null` (the default).
    pub clear: Option<bool>,
    /// The rule for each item of a list.
    #[schemars(with = "Option<Box<FieldRule>>")]
    pub each: Option<Box<Spanned<FieldRule>>>,
    /// In `each`: the system's id of the item, remembered as a part.
    #[schemars(with = "Option<String>")]
    pub id: Option<Spanned<String>>,
    /// Rules of the members of an object (or of an item).
    #[schemars(with = "Option<IndexMap<String, FieldRule>>")]
    pub fields: Option<IndexMap<String, Spanned<FieldRule>>>,
}

/// Items of a target's list that others have put there: they are sent again as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// Expression on `item` (an item of the list as the target shows it): whether it is not this field's and stays.
    #[schemars(with = "String")]
    pub keep: Spanned<String>,
    /// Where the target shows the list, if not where it is sent.
    #[schemars(with = "Option<String>")]
    pub from: Option<Spanned<String>>,
    /// Expression on `item`: what is sent of one that stays, if not itself.
    #[schemars(with = "Option<String>")]
    pub send: Option<Spanned<String>>,
    /// Path in an item: what is sent takes over the members of the target's item of the same value, its id among them.
    #[schemars(with = "Option<String>")]
    pub by: Option<Spanned<String>>,
}

/// A path, or a path for each language.
#[derive(Debug)]
pub enum From {
    Path(String),
    Languages(IndexMap<String, Spanned<String>>),
}

/// One language, a list of texts with their language, or one member for each language.
#[derive(Debug)]
pub enum Localized {
    Language(String),
    List { language: String, value: String },
    Members,
}

/// What a reference is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Id,
    Key,
}

/// How a value is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum As {
    Text,
    Integer,
    Number,
}

/// How a number is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// To the nearest, halves away from zero.
    #[default]
    Half,
    /// Never to more.
    Down,
}

impl<'de> Deserialize<'de> for FieldRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = FieldRule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a table")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<FieldRule, E> {
                // The place of the whole rule is the place of its path.
                let from = Some(Spanned::new(0..0, From::Path(path.to_owned())));
                Ok(FieldRule(RuleTable { from, ..RuleTable::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<FieldRule, A::Error> {
                RuleTable::deserialize(MapAccessDeserializer::new(members)).map(FieldRule)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for From {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = From;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or a table of paths by language")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<From, E> {
                Ok(From::Path(path.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<From, A::Error> {
                IndexMap::deserialize(MapAccessDeserializer::new(members)).map(From::Languages)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Localized {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct List {
            language: String,
            value: String,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Localized;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a language, true, or { language = \"..\", value = \"..\" }")
            }

            fn visit_str<E: Error>(self, language: &str) -> Result<Localized, E> {
                Ok(Localized::Language(language.to_owned()))
            }

            fn visit_bool<E: Error>(self, members: bool) -> Result<Localized, E> {
                if members { Ok(Localized::Members) } else { Err(E::custom("`localized` is true or not there")) }
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Localized, A::Error> {
                let List { language, value } = List::deserialize(MapAccessDeserializer::new(members))?;
                Ok(Localized::List { language, value })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for FieldRule {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FieldRule".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let table = generator.subschema_for::<RuleTable>();
        schemars::json_schema!({ "anyOf": [{ "type": "string", "description": "Path, the same both ways." }, table] })
    }
}

impl JsonSchema for From {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "From".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "object", "additionalProperties": { "type": "string" } }]
        })
    }
}

impl JsonSchema for Localized {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Localized".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "string" },
                { "const": true },
                {
                    "type": "object",
                    "properties": { "language": { "type": "string" }, "value": { "type": "string" } },
                    "required": ["language", "value"],
                    "additionalProperties": false
                }
            ]
        })
    }
}
