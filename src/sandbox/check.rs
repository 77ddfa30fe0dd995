//! Checks a request's members against the interface's schema before anything is done. Batches skip the check: they
//! coerce.

use serde_json::{Value, json};

use super::{
    db::Doc,
    refusal::{Error, Refusal, Result},
};

/// The allowed values of a member.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text,
    Flag,
    Whole,
    /// Boolean, or one of these words.
    FlagOr(&'static str),
    OneOf(&'static [&'static str]),
    Objects,
    Object,
    Wholes,
    Range(i64, i64),
    Time,
}

/// The known members; others are ignored.
pub type Schema = &'static [(&'static str, Kind)];

/// Refuse values that do not fit, naming every such member. Convert the rest to their proper types.
pub fn check(schema: Schema, params: &mut Doc) -> Result<()> {
    let mut wrong: Vec<(&str, Complaint)> = Vec::new();
    for (name, kind) in schema {
        if let Some(value) = params.get_mut(*name)
            && let Err(complaint) = kind.fit(name, value)
        {
            wrong.push((name, complaint));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    // The interface lists them in the order of the request.
    let order = |name: &str| params.keys().position(|key| key == name);
    wrong.sort_by_key(|(name, _)| order(name));
    let names: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
    let mut refusal = Refusal::new(400, "rest_invalid_param", format!("Invalid parameter(s): {}", names.join(", ")));
    let (mut texts, mut details) = (Doc::new(), Doc::new());
    for (name, complaint) in &wrong {
        texts.insert((*name).into(), complaint.message.clone().into());
        details.insert(
            (*name).into(),
            json!({ "code": complaint.code, "message": complaint.message, "data": complaint.data }),
        );
    }
    refusal = refusal.with("params", texts).with("details", details);
    Err(Error::from(refusal))
}

/// Refuse a request without `name`.
pub fn require(params: &Doc, name: &str) -> Result<()> {
    if params.contains_key(name) {
        return Ok(());
    }
    Err(Refusal::new(400, "rest_missing_callback_param", format!("Missing parameter(s): {name}"))
        .with("params", json!([name]))
        .into())
}

/// Like [`check`], but without refusing: this is what a batch does to its items.
pub fn coerce(schema: Schema, params: &mut Doc) {
    for (name, kind) in schema {
        if let Some(value) = params.get_mut(*name)
            && kind.fit(name, value).is_err()
        {
            match (kind, &value) {
                (Kind::Text, Value::Number(number)) => *value = number.to_string().into(),
                (Kind::Whole, _) => *value = json!(leading_integer(value)),
                (Kind::Flag, _) => *value = json!(!value.is_null()),
                _ => {
                    params.remove(*name);
                }
            }
        }
    }
}

fn leading_integer(value: &Value) -> i64 {
    let text = super::text::plain(value);
    let end = text.char_indices().find(|(at, c)| !(c.is_ascii_digit() || (*at == 0 && *c == '-')));
    text[..end.map_or(text.len(), |(at, _)| at)].parse().unwrap_or(0)
}

struct Complaint {
    code: &'static str,
    message: String,
    data: Value,
}

impl Kind {
    fn fit(self, name: &str, value: &mut Value) -> std::result::Result<(), Complaint> {
        let wrong_type = |place: String, kind: &str| Complaint {
            code: "rest_invalid_type",
            message: format!("{place} is not of type {kind}."),
            data: json!({ "param": place }),
        };
        let bare = |code, message: String| Complaint { code, message, data: Value::Null };
        match self {
            Self::Text if value.is_string() => Ok(()),
            Self::Text => Err(wrong_type(name.into(), "string")),
            Self::Flag => match flag(value) {
                Some(flag) => {
                    *value = json!(flag);
                    Ok(())
                }
                None => Err(wrong_type(name.into(), "boolean")),
            },
            Self::FlagOr(word) if value == word => Ok(()),
            Self::FlagOr(_) => Self::Flag.fit(name, value),
            Self::Whole => match whole(value) {
                Some(number) => {
                    *value = json!(number);
                    Ok(())
                }
                None if value.is_null() => Ok(()),
                None => Err(wrong_type(name.into(), "integer")),
            },
            Self::Range(low, high) => match whole(value) {
                Some(number) if (low..=high).contains(&number) => {
                    *value = json!(number);
                    Ok(())
                }
                Some(_) => Err(bare(
                    "rest_out_of_bounds",
                    format!("{name} must be between {low} (inclusive) and {high} (inclusive)"),
                )),
                None => Err(wrong_type(name.into(), "integer")),
            },
            Self::OneOf(words) if words.iter().any(|word| value == word) => Ok(()),
            Self::OneOf(words) => {
                let (last, first) = words.split_last().unwrap_or((&"", &[]));
                Err(bare("rest_not_in_enum", format!("{name} is not one of {}, and {last}.", first.join(", "))))
            }
            Self::Objects => {
                let items = match &*value {
                    Value::Array(items) => items.iter().collect(),
                    other => vec![other],
                };
                match items.iter().position(|item| !item.is_object()) {
                    Some(at) => Err(wrong_type(format!("{name}[{at}]"), "object")),
                    None => Ok(()),
                }
            }
            Self::Object if value.is_object() || value.as_array().is_some_and(Vec::is_empty) => Ok(()),
            Self::Object => Err(wrong_type(name.into(), "object")),
            Self::Wholes => {
                let items: Vec<Value> = match &*value {
                    Value::Array(items) => items.clone(),
                    Value::String(text) => {
                        text.split([',', ' ']).filter(|part| !part.is_empty()).map(Value::from).collect()
                    }
                    other => vec![other.clone()],
                };
                if let Some(at) = items.iter().position(|item| whole(item).is_none()) {
                    return Err(wrong_type(format!("{name}[{at}]"), "integer"));
                }
                *value = items.iter().filter_map(whole).collect();
                Ok(())
            }
            Self::Time => match value.as_str() {
                Some(text) if super::query::moment(text).is_some() => Ok(()),
                _ => Err(bare("rest_invalid_date", "Invalid date.".into())),
            },
        }
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" | "" => Some(false),
            _ => None,
        },
        Value::Number(number) => match number.as_i64() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.to_string().strip_suffix(".0")?.parse().ok()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
