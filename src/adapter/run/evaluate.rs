//! What every expression of a system sees, and what it means if one has no value during work.

use serde_json::Value;

use crate::{
    adapter::manifest::Settings,
    expr::{ExprError, SETTINGS, Scope},
    failure::{Class, Failure},
    port::Write,
    wait_reason::WaitReason,
};

/// Variables that every expression of a system sees: the settings without secrets, and `entity`.
pub fn base_scope<'a>(settings: &'a Settings, entity: &'a Value) -> Scope<'a> {
    let mut scope = Scope::new().with("entity", entity).with_owned(SETTINGS, settings.public());
    for (name, value) in settings.plains() {
        scope = scope.with(name, value);
    }
    scope
}

/// Variables that every expression of a write sees. Ids: the object's, and those of its children.
pub fn write_scope<'a>(base: &'a Scope<'a>, write: &'a Write, (id, child_ids): (&'a Value, &'a Value)) -> Scope<'a> {
    base.child()
        .with("body", &write.body)
        .with("whole", &write.whole)
        .with("wanted", &write.desired)
        .with("before", &write.before)
        .with_owned("key", write.key.as_str())
        .with("id", id)
        .with("parts", child_ids)
}

/// The failure of an expression that has no value during work: the adapter is wrong, and affected jobs wait until
/// its file is corrected.
pub fn fatal(error: ExprError) -> Failure {
    let cause = WaitReason::file(&error.place);
    Failure::new(Class::Fatal, error.to_string()).with_cause(cause).with_source(error)
}

/// The failure of an expression that has no value for this record: the adapter is wrong, unless the record's value
/// cannot stand where the adapter puts it.
pub fn rejected(error: ExprError) -> Failure {
    if error.of_value {
        return Failure::new(Class::Rejected, error.to_string()).with_source(error);
    }
    fatal(error)
}
