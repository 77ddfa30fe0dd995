//! `[systems.x]`: the endpoints.

use std::{borrow::Cow, fmt};

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use super::limits::SystemLimitsSection;
use crate::load::{self, Node, Spanned};

/// One table of a lookup: canonical value to the system's value.
pub type LookupSection = IndexMap<Spanned<String>, Spanned<Node>>;

/// One endpoint: its adapter, and the settings that this adapter asks for.
#[derive(Clone, Debug)]
pub struct SystemSection {
    pub adapter: Spanned<String>,
    /// Values of the adapter's settings.
    pub settings: IndexMap<Spanned<String>, Spanned<Node>>,
    /// Lookup lines that add to those of the mappings and override them.
    pub lookups: IndexMap<String, LookupSection>,
    pub limits: SystemLimitsSection,
}

// Written by hand, because `flatten` would lose the places of the settings.
impl<'de> Deserialize<'de> for SystemSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SectionVisitor)
    }
}

struct SectionVisitor;

impl<'de> Visitor<'de> for SectionVisitor {
    type Value = SystemSection;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with `adapter` and its settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<SystemSection, A::Error> {
        let (mut adapter, mut lookups, mut limits) = (None, IndexMap::new(), SystemLimitsSection::default());
        let mut settings = IndexMap::new();
        while let Some(key) = members.next_key::<Spanned<String>>()? {
            match key.get_ref().as_str() {
                "adapter" => adapter = Some(members.next_value()?),
                "lookups" => lookups = members.next_value()?,
                "limits" => limits = members.next_value()?,
                _ => {
                    settings.insert(key, members.next_value()?);
                }
            }
        }
        let adapter = adapter.ok_or_else(|| {
            let mut keys = settings.keys().map(|key: &Spanned<String>| key.get_ref().as_str());
            match keys.find(|key| load::nearest(key, ["adapter"]).is_some()) {
                Some(mistyped) => A::Error::unknown_field(mistyped, &["adapter"]),
                None => A::Error::missing_field("adapter"),
            }
        })?;
        Ok(SystemSection { adapter, settings, lookups, limits })
    }
}

impl JsonSchema for SystemSection {
    fn schema_name() -> Cow<'static, str> {
        "SystemSection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let limits = generator.subschema_for::<SystemLimitsSection>();
        json_schema!({
            "description": "One endpoint: its adapter, and the settings that adapter asks for.",
            "type": "object",
            "required": ["adapter"],
            "properties": {
                "adapter": { "description": "File in `adapters/`, without `.toml`.", "type": "string" },
                "lookups": {
                    "description": "By lookup: canonical value to the system's. Adds to the mappings' own.",
                    "type": "object",
                    "additionalProperties": { "type": "object" }
                },
                "limits": limits,
            },
            "additionalProperties": {
                "description": "A setting of the adapter; a secret as { env = \"X\" }, { file = \"...\" } or { credential = \"x\" }.",
            }
        })
    }
}

/// For the schema: a text, or where a secret comes from.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum TextOrSecret {
    Text(String),
    Secret(super::secret::SecretSource),
}
