//! JSON to the engine's values and back. Numbers keep their exact value both ways.

use std::str::FromStr;

use rhai::{Array, Dynamic, Map};
use rust_decimal::Decimal;
use serde_json::{Number, Value};

use crate::model::decimal;

/// A JSON number that is too long for exact arithmetic. It can be passed on, but not used in calculations.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LongNumber(pub Number);

/// Value of a leaf of a body that is to be left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Omit;

/// Value of `path()`: the plain segments of a path, to be encoded where the path is used.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segments(pub Vec<String>);

pub(crate) fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => Dynamic::from_bool(*flag),
        Value::Number(number) => number_to_dynamic(number),
        Value::String(text) => Dynamic::from(text.clone()),
        Value::Array(items) => Dynamic::from_array(items.iter().map(to_dynamic).collect()),
        Value::Object(members) => Dynamic::from_map(
            members.iter().map(|(name, member)| (name.as_str().into(), to_dynamic(member))).collect::<Map>(),
        ),
    }
}

fn number_to_dynamic(number: &Number) -> Dynamic {
    if let Some(integer) = number.as_i64() {
        return Dynamic::from_int(integer);
    }
    match decimal::parse(number.as_str()) {
        Some(decimal) => Dynamic::from_decimal(decimal),
        None => Dynamic::from(LongNumber(number.clone())),
    }
}

/// A decimal as a JSON number with exactly its digits.
pub(crate) fn number(value: Decimal) -> Value {
    Number::from_str(&value.to_string()).map_or(Value::Null, Value::Number)
}

/// The value as JSON. Return `None` for [`Omit`]. An error names the type that has no JSON form.
pub(crate) fn from_dynamic(value: &Dynamic) -> Result<Option<Value>, String> {
    if value.is_unit() {
        return Ok(Some(Value::Null));
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Some(Value::Bool(flag)));
    }
    if let Ok(integer) = value.as_int() {
        return Ok(Some(Value::from(integer)));
    }
    if let Ok(decimal) = value.as_decimal() {
        return Ok(Some(number(decimal)));
    }
    if let Ok(character) = value.as_char() {
        return Ok(Some(Value::String(character.into())));
    }
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return Ok(Some(Value::from(text.as_str())));
    }
    if let Some(items) = value.read_lock::<Array>() {
        let mut list = Vec::with_capacity(items.len());
        for item in items.iter() {
            list.extend(from_dynamic(item)?);
        }
        return Ok(Some(Value::Array(list)));
    }
    if let Some(members) = value.read_lock::<Map>() {
        let mut object = serde_json::Map::with_capacity(members.len());
        for (name, member) in members.iter() {
            if let Some(member) = from_dynamic(member)? {
                object.insert(name.to_string(), member);
            }
        }
        return Ok(Some(Value::Object(object)));
    }
    if let Some(long) = value.read_lock::<LongNumber>() {
        return Ok(Some(Value::Number(long.0.clone())));
    }
    if value.is::<Omit>() {
        return Ok(None);
    }
    if value.is::<Segments>() {
        return Err("gives a path, which stands only where a request says where it goes".into());
    }
    Err(format!("gives {}, which is no value", kind(value)))
}

/// The type of a value in the words of the documentation.
pub(crate) fn kind(value: &Dynamic) -> &'static str {
    if value.is_unit() {
        "()"
    } else if value.is_bool() {
        "a boolean"
    } else if value.is_int() {
        "an integer"
    } else if value.is_decimal() {
        "a decimal"
    } else if value.is_string() || value.is_char() {
        "a text"
    } else if value.is_array() {
        "a list"
    } else if value.is_map() {
        "an object"
    } else if value.is::<LongNumber>() {
        "a number of more than 28 digits"
    } else if value.is::<Omit>() {
        "`omit`"
    } else if value.is::<Segments>() {
        "a path"
    } else if value.is_fnptr() {
        "a function"
    } else {
        "something else"
    }
}

/// The type of a JSON value in the words of the documentation.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "()",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Canonical text of a text, number or boolean. Return `None` for other values.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(match decimal::parse(number.as_str()) {
            Some(decimal) => decimal::canonical(decimal),
            None => number.to_string(),
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
