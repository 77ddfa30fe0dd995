//! Marks places in a row whose value could not be read: half a surrogate pair, `NaN`, a byte that is not text. Such
//! a value never becomes another value. It rejects its own row, with its place, and no other row.

use std::fmt;

use serde_json::{Map, Value};

/// The only member of the object that stands for an unreadable value. No source can send it: readers of foreign
/// texts refuse this name.
const MARK: &str = "\u{1}unreadable\u{1}";

/// A value that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Path in the row: `name`, `lines[2].price`; empty for the row itself.
    pub place: String,
    pub reason: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => write!(f, "the row cannot be read: {}", self.reason),
            place => write!(f, "`{place}` cannot be read: {}", self.reason),
        }
    }
}

/// The object that stands for an unreadable value. The reason must not show any of the value.
#[must_use]
pub fn mark(reason: impl Into<String>) -> Value {
    Value::Object(Map::from_iter([(MARK.to_owned(), Value::from(reason.into()))]))
}

/// Whether a source's member has the name that is reserved for marks.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name == MARK
}

/// Why this value could not be read, if it is a mark.
#[must_use]
pub fn reason(value: &Value) -> Option<&str> {
    value.as_object().filter(|members| members.len() == 1)?.get(MARK)?.as_str()
}

/// The first value in a row that could not be read.
#[must_use]
pub fn first(row: &Value) -> Option<Flaw> {
    if let Some(reason) = reason(row) {
        return Some(Flaw { place: String::new(), reason: reason.to_owned() });
    }
    match row {
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let flaw = first(item)?;
            Some(below(&format!("[{index}]"), flaw))
        }),
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            let flaw = first(member)?;
            Some(below(name, flaw))
        }),
        _ => None,
    }
}

/// Check a value for marks before it is sent: what was read of a target may become part of what is sent there, but
/// a mark must not.
///
/// # Errors
/// If the value contains a mark.
pub fn unsendable(value: &Value) -> Result<(), String> {
    first(value).map_or(Ok(()), |flaw| Err(format!("holds what was read where {flaw}")))
}

/// A row for people, with a word in place of each mark.
#[must_use]
pub fn shown(row: &Value) -> Value {
    match row {
        marked if reason(marked).is_some() => Value::from("(unreadable)"),
        Value::Array(items) => items.iter().map(shown).collect(),
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), shown(member))).collect(),
        other => other.clone(),
    }
}

fn below(step: &str, flaw: Flaw) -> Flaw {
    let dot = if flaw.place.is_empty() || flaw.place.starts_with('[') { "" } else { "." };
    Flaw { place: format!("{step}{dot}{}", flaw.place), ..flaw }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unreadable_value_is_reported_with_its_place_in_the_row() {
        let row = json!({ "id": 1, "lines": [{ "price": "1" }, { "price": mark("`NaN` is no JSON value") }] });
        let flaw = first(&row).unwrap();
        assert_eq!(flaw.to_string(), "`lines[1].price` cannot be read: `NaN` is no JSON value");
        assert!(unsendable(&row).is_err() && unsendable(&json!({ "a": 1 })).is_ok());
        assert_eq!(first(&mark("x")).unwrap().to_string(), "the row cannot be read: x");
        assert_eq!(first(&json!({ "a": [{ "unreadable": "x" }] })), None);
    }
}
