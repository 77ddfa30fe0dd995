//! Keys that a system shows in its own spelling, such as a shop whose slugs are made of codes. An object there is
//! recognised by what the system makes of its record's key, never by a key that only looks the same.

use serde_json::Value;

use crate::{
    mapping::{Fields, Translate},
    store::KEY_AT,
    sync::context::Context,
};

/// The match field that stands for the keys as a system shows them.
pub(in crate::sync) fn field(system: &str) -> String {
    format!("{KEY_AT}{system}")
}

/// Return the systems that show an entity's keys in their own spelling.
pub(in crate::sync) fn systems<'a>(context: &'a Context, entity: &'a str) -> impl Iterator<Item = &'a str> {
    let here = context.mappings.iter().filter(move |((_, of), mapping)| of == entity && mapping.respells_key());
    here.map(|((system, _), _)| system.as_str())
}

/// Return the match values of an object whose key is `key` at `system`.
pub(in crate::sync) fn values(context: &Context, system: &str, entity: &str, key: &str) -> Vec<(String, String)> {
    let shown = |at: &str| {
        if at == system { Some(key.to_owned()) } else { context.mapping(at, entity)?.respelt_key(key) }
    };
    systems(context, entity).filter_map(|at| Some((field(at), shown(at)?))).collect()
}

/// The same for an object whose key is among its fields.
pub(in crate::sync) fn values_of(
    context: &Context,
    system: &str,
    entity: &str,
    object: &Fields,
) -> Vec<(String, String)> {
    let spec = context.entities.get(entity);
    let key = spec.and_then(|spec| object.get(&spec.key)).and_then(Value::as_str);
    key.map(|key| values(context, system, entity, key)).unwrap_or_default()
}

/// Whether a system shows a key exactly as it spells the key that it was sent.
pub(in crate::sync) fn is_spelt(mapping: &dyn Translate, sent: &Value, shown: &Value) -> bool {
    let spelt = sent.as_str().and_then(|key| mapping.respelt_key(key));
    spelt.is_some_and(|spelt| shown.as_str() == Some(&spelt))
}

/// The same for a field that may be another than the key.
pub(in crate::sync) fn is_as_shown(
    context: &Context,
    mapping: &dyn Translate,
    (entity, field): (&str, &str),
    sent: &Value,
    shown: &Value,
) -> bool {
    context.entities.get(entity).is_some_and(|spec| spec.key == field) && is_spelt(mapping, sent, shown)
}
