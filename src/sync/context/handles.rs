//! `Context`: the handles that every room works with.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::Value;
use tokio::sync::Notify;

use crate::{
    env::Env,
    expr::Scope,
    failure::{Class, Failure},
    mapping::{Fields, Outline, Pulled, Translate},
    model::{Alteration, Entities, EntitySpec, FieldSpec},
    port::System,
    store::SharedStore,
    sync::{
        context::{Journal, Limits, SystemLimits},
        routing::{Flow, MatchRule, Routes},
    },
};

/// Everything that an engine is made of.
pub struct Context {
    pub store: SharedStore,
    pub env: Env,
    pub systems: BTreeMap<String, Arc<dyn System>>,
    /// By system and entity.
    pub mappings: BTreeMap<(String, String), Arc<dyn Translate>>,
    pub entities: Arc<Entities>,
    pub routes: Routes,
    pub limits: Limits,
    /// The owner of the leases: unique for each process.
    pub owner: String,
    /// Notified when jobs may have been opened.
    pub work: Arc<Notify>,
    /// What was written to the log.
    pub journal: Arc<Journal>,
}

impl Context {
    pub(in crate::sync) fn mapping(&self, system: &str, entity: &str) -> Option<&Arc<dyn Translate>> {
        self.mappings.get(&(system.to_owned(), entity.to_owned()))
    }

    /// Return the match rules that apply to a system's objects: those whose field its mapping names. A value from
    /// an earlier mapping identifies nobody.
    pub(in crate::sync) fn recognised_by(&self, system: &str, entity: &str) -> Vec<&MatchRule> {
        let mut rules = self.routes.matches(entity);
        if let Some(mapping) = self.mapping(system, entity) {
            rules.retain(|rule| mapping.reads().union(mapping.writes()).any(|field| rule.names(field)));
        }
        rules
    }

    pub(in crate::sync) fn limits(&self, system: &str) -> SystemLimits {
        self.limits.systems.get(system).cloned().unwrap_or_default()
    }

    /// Return what a target made of a field's value.
    pub(in crate::sync) fn alteration(
        &self,
        at: (&str, &str),
        members: &Outline,
        sent: &Value,
        held: &Value,
    ) -> Alteration {
        let of = |spec: &FieldSpec| Alteration::of(spec, at.1, sent, held, members);
        self.altered(at).map_or_else(Alteration::default, |spec| of(&spec))
    }

    /// The same right after a write, with what the target was known to hold before it.
    pub(in crate::sync) fn alteration_since(
        &self,
        at: (&str, &str),
        members: &Outline,
        values: (&Value, &Value, &Value),
    ) -> Alteration {
        let since = |spec: &FieldSpec| Alteration::since(spec, at.1, values, members);
        self.altered(at).map_or_else(Alteration::default, |spec| since(&spec))
    }

    /// A field's specification for alterations: another spelling of a record's key never counts as the same key.
    fn altered(&self, (entity, field): (&str, &str)) -> Option<Cow<'_, FieldSpec>> {
        let entity = self.entities.get(entity)?;
        let spec = entity.fields.get(field)?;
        let is_key = entity.key == field;
        Some(if is_key { Cow::Owned(FieldSpec { code: true, ..spec.clone() }) } else { Cow::Borrowed(spec) })
    }

    /// Return, as a text for people, which part of an alteration costs money, or which end of an order it changes.
    pub(in crate::sync) fn costs(
        &self,
        at: (&str, &str),
        altered: &Alteration,
        sent: &Value,
        held: &Value,
    ) -> Option<String> {
        let entity = self.entities.get(at.0)?;
        let spec = entity.fields.get(at.1)?;
        let states = entity.states.as_ref().filter(|states| states.holds(at.1));
        let is_over = states.is_some_and(|states| states.has_ended(sent) != states.has_ended(held));
        (altered.exact || is_over).then(|| altered.describe(spec, at.1, sent, held))
    }

    /// Normalise a canonical object, and refuse what its specification does not allow.
    pub(in crate::sync) fn validate(&self, entity: &str, fields: &mut Fields) -> Result<(), Failure> {
        validate(&self.entities, entity, fields)
    }

    /// Whether a flow's filter lets an object through.
    pub(in crate::sync) fn admits(&self, flow: &Flow, entity: &str, fields: &Fields) -> Result<bool, Failure> {
        self.entities.get(entity).map_or(Ok(true), |spec| admits(flow, entity, spec, fields))
    }
}

impl Context {
    pub(in crate::sync) fn capabilities(&self, system: &str, entity: &str) -> Option<&crate::port::Capabilities> {
        self.systems.get(system).and_then(|endpoint| endpoint.capabilities(entity))
    }

    pub(in crate::sync) fn can_list(&self, system: &str, entity: &str) -> bool {
        self.capabilities(system, entity).is_some_and(|capabilities| capabilities.list)
            && self.mapping(system, entity).is_some()
    }
}

/// Turn a row into canonical form: as its mapping reads it, and as its entity defines it.
///
/// # Errors
/// If the row cannot be read, or does not fit the entity.
pub fn canonical(entities: &Entities, mapping: &dyn Translate, entity: &str, row: &Value) -> Result<Pulled, Failure> {
    let mut pulled = mapping.pull(row)?;
    validate(entities, entity, &mut pulled.fields)?;
    Ok(pulled)
}

fn validate(entities: &Entities, entity: &str, fields: &mut Fields) -> Result<(), Failure> {
    let Some(spec) = entities.get(entity) else {
        return Err(Failure::new(Class::Fatal, format!("entity {entity} is not declared")));
    };
    // Required fields are the mapping's to ask for: a system may show only a part of an object.
    crate::model::normalize(spec, fields).map_err(|errors| {
        let first = errors.first().map(|error| error.field.clone());
        let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let failure = Failure::new(Class::Rejected, text);
        match first {
            Some(field) => failure.with_field(field),
            None => failure,
        }
    })
}

/// Whether a flow's `where` lets a canonical object through.
///
/// # Errors
/// If `where` has no value for this object.
pub fn admits(flow: &Flow, entity: &str, spec: &EntitySpec, fields: &Fields) -> Result<bool, Failure> {
    let Some(filter) = flow.filters.get(entity).or_else(|| flow.filters.get("*")) else { return Ok(true) };
    let absent = Value::Null;
    let mut variables = Scope::new();
    for name in spec.fields.keys() {
        variables.set(name, Cow::Borrowed(fields.get(name).unwrap_or(&absent)));
    }
    filter.eval_bool(&variables).map_err(|error| {
        Failure::new(Class::Rejected, format!("`where` of flow {}: {error}", flow.name)).with_source(error)
    })
}
