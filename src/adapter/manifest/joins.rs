//! `join = "list"` or joins of its own, in the form that drivers with joins use.

use std::{fmt, marker::PhantomData};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

/// `join = "list"` or joins of its own.
#[derive(Clone, Debug, Default)]
pub enum Joins<J> {
    /// The joins of the listing.
    List,
    #[default]
    None,
    Own(Vec<J>),
}

impl<J: JsonSchema> JsonSchema for Joins<J> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Joins".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let join = generator.subschema_for::<J>();
        schemars::json_schema!({
            "description": "`join = \"list\"` or joins of its own.",
            "anyOf": [
                { "const": "list", "description": "Those of the listing." },
                { "type": "array", "items": join },
            ]
        })
    }
}

impl<'de, J: Deserialize<'de>> Deserialize<'de> for Joins<J> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JoinsVisitor(PhantomData))
    }
}

struct JoinsVisitor<J>(PhantomData<J>);

impl<'de, J: Deserialize<'de>> Visitor<'de> for JoinsVisitor<J> {
    type Value = Joins<J>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"list\" or a list of joins")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Joins<J>, E> {
        if text == "list" { Ok(Joins::List) } else { Err(E::custom("either \"list\" or a list of joins")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Joins<J>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(Joins::Own)
    }
}
