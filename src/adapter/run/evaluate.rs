//! What every expression of a system sees, and what it means if one has no value during work.

use serde_json::Value;

use crate::{
    adapter::manifest::Settings,
    expr::{ExprError, SETTINGS, Scope},
    failure::{Class, Failure},
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
