//! Personal data, and whether a source has erased it: some shops erase the buyer of an old order without saying so.

use serde_json::Value;

use crate::{
    mapping::Fields,
    model::{Compare, EntitySpec, FieldSpec, Kind},
    store::Replica,
    sync::conflict::shared::known,
};

/// Whether the data of a person was erased at a source: none of the fields that it sends says anything about the
/// person any more, though the target knows something. What is missing is then no new information. An e-mail
/// address alone identifies nobody, since some shops put another one in its place.
pub(in crate::sync) fn is_erased(
    spec: &EntitySpec,
    is_written: impl Fn(&str) -> bool,
    said: &Fields,
    here: &Replica,
) -> bool {
    let has = |field: &FieldSpec, value: Option<&Value>| value.is_some_and(|value| has_text(field, value));
    let (mut was_known, mut had_address, mut has_address) = (false, false, false);
    for (name, field) in spec.fields.iter().filter(|(name, field)| names_somebody(field) && is_written(name)) {
        let (said, had) = (has(field, said.get(name)), has(field, Some(&known(&here.fields, &here.sent, name))));
        if field.compare == Some(Compare::Email) {
            has_address |= said;
            had_address |= had;
        } else if said {
            return false;
        } else {
            was_known |= had;
        }
    }
    was_known || had_address && !has_address
}

/// Whether a field holds a name or a way to reach a person; a note is neither.
fn names_somebody(field: &FieldSpec) -> bool {
    let is_contact = field.required || field.compare.is_some() || matches!(field.kind, Kind::Object | Kind::List);
    field.personal && is_contact
}

/// Whether a value that said something about a person no longer does: any text of an object, or a list as a whole.
pub(in crate::sync) fn loses(spec: &FieldSpec, before: &Value, after: &Value) -> bool {
    match (spec.kind, before) {
        (Kind::Object, Value::Object(members)) => members.iter().any(|(name, before)| {
            let after = after.get(name).unwrap_or(&Value::Null);
            spec.fields.get(name).is_some_and(|member| loses(member, before, after))
        }),
        _ => has_text(spec, before) && !has_text(spec, after),
    }
}

/// Whether the value holds a text that says who somebody is. Codes, places and telephone numbers alone do not.
pub(in crate::sync) fn has_text(spec: &FieldSpec, value: &Value) -> bool {
    match (spec.kind, value) {
        (Kind::Text | Kind::Localized, Value::String(text)) => !text.trim().is_empty(),
        (Kind::Localized, Value::Object(texts)) => {
            texts.values().any(|text| text.as_str().is_some_and(|text| !text.trim().is_empty()))
        }
        (Kind::Object, Value::Object(members)) => {
            let of = |name: &str| spec.fields.get(name);
            let names = |spec: &&FieldSpec| !spec.anonymous;
            members.iter().any(|(name, member)| of(name).filter(names).is_some_and(|spec| has_text(spec, member)))
        }
        (Kind::List, Value::Array(items)) => {
            items.iter().any(|item| spec.of.as_ref().is_some_and(|of| has_text(of, item)))
        }
        _ => false,
    }
}
