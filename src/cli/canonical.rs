//! Canonical values for people: references by key, personal data hidden.

use serde_json::Value;

pub use crate::model::{Shown, records};

/// Maximum length of a text in a cell, in characters.
const WIDEST: usize = 60;

/// A value in a cell of a table: texts without quotes, other values as short JSON.
pub fn cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => match members.iter().next() {
            Some((name, Value::String(text))) if members.len() == 1 => format!("{name}: {text}"),
            _ => value.to_string(),
        },
        other => other.to_string(),
    };
    let text = text.replace(['\n', '\r', '\t'], " ");
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
