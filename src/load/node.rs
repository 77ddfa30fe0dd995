//! Free-form parts of a file (request bodies, constants) with the place of every value in them.

use std::fmt;

use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use toml::Spanned;

/// A value of any shape. Binary floats are refused when they are read: write decimals as text or as `"${1.5}"`.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Spanned<Node>>),
    Table(IndexMap<String, Spanned<Node>>),
}

impl Node {
    /// The value as JSON, with texts taken literally.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::Integer(number) => Value::from(*number),
            Self::Boolean(flag) => Value::from(*flag),
            Self::List(items) => items.iter().map(|item| item.as_ref().to_json()).collect(),
            Self::Table(members) => {
                members.iter().map(|(name, member)| (name.clone(), member.as_ref().to_json())).collect()
            }
        }
    }

    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `text`, `table`...: the kind of value, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "integer",
            Self::Boolean(_) => "boolean",
            Self::List(_) => "list",
            Self::Table(_) => "table",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, integer, boolean, list or table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Boolean(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Integer(number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
        Err(E::custom(
            "binary floats are not exact; write a decimal as text, or as \"${1.5}\" where a number is wanted",
        ))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut table = IndexMap::new();
        while let Some(name) = members.next_key::<String>()? {
            if name == "$__toml_private_datetime" {
                return members.next_value().map(Node::Text);
            }
            table.insert(name, members.next_value()?);
        }
        Ok(Node::Table(table))
    }
}
