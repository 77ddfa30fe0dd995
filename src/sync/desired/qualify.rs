//! An object is sent only if its target can tell it from others: a price of a list, currency or day for which the
//! target has no place waits, whatever its amount.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::{
    expr::text_of,
    failure::{Class, Failure},
    mapping::{Fields, Misfit, Translate},
    model::{self, Kind},
    store::{Replica, Result as StoreResult},
    sync::desired::Batch,
    sync::{
        context::Context,
        routing::{Flow, SHARED},
    },
    wait_reason::WaitReason,
};

/// What all objects of an entity at a target are taken to have in common, field to value, because the target's
/// mapping has no place for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sync) struct Alike {
    /// The values of the first object that was sent there.
    first: BTreeMap<String, String>,
    /// The most frequent value among the objects that the target has, by their sources. Read only before anything
    /// was sent.
    there: BTreeMap<String, String>,
}

impl Alike {
    fn note(target: &str, entity: &str) -> String {
        format!("alike:{target}/{entity}")
    }

    pub(in crate::sync) async fn of(context: &Context, target: &str, entity: &str) -> StoreResult<Self> {
        let unplaced = unplaced(context, target, entity);
        if unplaced.is_empty() {
            return Ok(Self::default());
        }
        let noted = context.store.noted(&Self::note(target, entity)).await?;
        let first: BTreeMap<String, String> =
            noted.and_then(|noted| serde_json::from_value(noted).ok()).unwrap_or_default();
        let is_said = unplaced.iter().all(|field| first.contains_key(field));
        let there = if is_said { BTreeMap::new() } else { said_there(context, target, entity, unplaced).await? };
        Ok(Self { first, there })
    }

    pub(in crate::sync) async fn keep(&self, context: &Context, target: &str, entity: &str) -> StoreResult<()> {
        context.store.note(&Self::note(target, entity), &json!(self.first)).await
    }

    /// Whether an object may go though the target has no place for some value: the value is the one that the
    /// target's other mappings declare, else the first object's, else that of most objects that are there, or the
    /// object is the first.
    fn admits(&mut self, misfit: &mut Misfit, declared: impl FnOnce(&str) -> Option<String>) -> bool {
        let Some(value) = misfit.value.as_ref().filter(|_| misfit.alike) else { return false };
        let there = self.there.get(&misfit.path);
        let first = self
            .first
            .entry(misfit.path.clone())
            .or_insert_with(|| declared(&misfit.path).or(there.cloned()).unwrap_or_else(|| value.clone()));
        if first == value {
            return true;
        }
        misfit.held = Some(first.clone());
        false
    }
}

/// Fields that are mostly equal for all objects, and that the target's mapping does not name.
fn unplaced(context: &Context, target: &str, entity: &str) -> Vec<String> {
    let names = context.entities.get(entity).map_or(&[][..], |spec| &spec.alike);
    let Some(mapping) = context.mapping(target, entity).filter(|_| !names.is_empty()) else { return Vec::new() };
    let outline = mapping.outline();
    let speaks = |name: &String| outline.0.get(name).is_none_or(|held| held.place.is_some());
    names.iter().filter(|name| !speaks(name)).cloned().collect()
}

/// Return the values that the sources give for most of the objects that a target has.
async fn said_there(
    context: &Context,
    target: &str,
    entity: &str,
    fields: Vec<String>,
) -> StoreResult<BTreeMap<String, String>> {
    let sources = context.routes.sources(target, entity);
    let beside = context.store.replicas_beside(target, entity).await?;
    let most = |field: &String| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for replica in beside.iter().filter(|replica| sources.contains(replica.system.as_str())) {
            if let Some(value) = replica.fields.get(field).filter(|value| !model::empty(value)).and_then(text_of) {
                *counts.entry(value).or_default() += 1;
            }
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(value, _)| value)
    };
    Ok(fields.into_iter().filter_map(|field| most(&field).map(|value| (field, value))).collect())
}

/// Refuse to write an object with qualifying fields, by its sources, for which the target has no place. A flow is
/// exempt if it only brings back fields that are no amounts.
///
/// # Errors
/// `unmapped`, on cause `qualifies:price.list=trade`, with what the target holds instead.
pub(in crate::sync) fn qualify(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    replicas: &[Replica],
    here: Option<&Replica>,
    alike: &mut Alike,
) -> Result<(), Failure> {
    let Batch { context, entity, target, .. } = *batch;
    for flow in context.routes.to(target, entity) {
        let live = |replica: &&Replica| replica.system == flow.from && replica.gone_at.is_none();
        let Some(source) = replicas.iter().find(live).filter(|source| !source.fields.is_empty()) else { continue };
        if !decides(context, flow, entity, target, here.is_none()) || !context.admits(flow, entity, &source.fields)? {
            continue;
        }
        let Some(source_mapping) = context.mapping(&flow.from, entity) else { continue };
        let reads = source_mapping.reads();
        let said: Fields = (source.fields.iter().filter(|(field, _)| reads.contains(*field)))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        let misfits = mapping.misfits(&said, source_mapping.names(), here.map(|here| &here.fields));
        // An object that is refused for another reason does not count as the first.
        let mut like = alike.clone();
        for mut misfit in misfits {
            if !like.admits(&mut misfit, |path| declared(context, (entity, target), path)) {
                return Err(refusal(entity, target, &flow.from, misfit));
            }
        }
        *alike = like;
    }
    Ok(())
}

/// The currency that a target's mappings of other entities name as the only one there.
fn declared(context: &Context, (entity, target): (&str, &str), path: &str) -> Option<String> {
    let kind = |entity: &str, field: &str| Some(context.entities.get(entity)?.fields.get(field)?.kind);
    if kind(entity, path) != Some(Kind::Currency) {
        return None;
    }
    let others = context.mappings.iter().filter(|((system, other), _)| system == target && other != entity);
    let mut named: BTreeSet<String> = others
        .flat_map(|((_, other), mapping)| {
            let fields = mapping.outline().0.into_iter();
            let currencies = fields.filter(|(field, _)| kind(other, field) == Some(Kind::Currency));
            currencies.filter_map(|(_, held)| held.fixed?.as_str().map(str::to_owned)).collect::<Vec<_>>()
        })
        .collect();
    // If there are several, it is not known which of them these objects have.
    named.pop_first().filter(|_| named.is_empty())
}

/// Whether a flow decides what the object is: it creates the object, or brings amounts of it that its source owns.
fn decides(context: &Context, flow: &Flow, entity: &str, target: &str, is_new: bool) -> bool {
    let routes = &context.routes;
    if routes.leading(entity, &flow.from, target).is_some_and(|leading| leading.name == flow.name) {
        return true;
    }
    if is_new {
        return !flow.fields.contains_key(entity);
    }
    let Some(spec) = context.entities.get(entity) else { return false };
    let amounts = spec.fields.iter().filter(|(_, field)| field.holds(Kind::Money)).map(|(name, _)| name);
    amounts.filter(|name| flow.brings(entity, name)).any(|name| {
        let owner = routes.owner(entity, name, &flow.from, target);
        owner.is_some_and(|owner| owner == flow.from || owner == SHARED)
    })
}

fn refusal(entity: &str, target: &str, source: &str, misfit: Misfit) -> Failure {
    let Misfit { path, value, held, reason, qualifies, empty, alike: is_alike, place } = misfit;
    if !qualifies {
        let said = value.as_ref().map(|value| format!(" {value}")).unwrap_or_default();
        let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
        let why = reason.unwrap_or_else(|| "its mapping says that it cannot hold that".to_owned());
        let message = format!("{target} cannot take {path}{said} of {source}: {why}{place}");
        return Failure::new(Class::Unmapped, message).with_cause(WaitReason::unheld(entity, &path)).with_field(path);
    }
    let said = value.as_ref().map(|value| format!(" `{value}`")).unwrap_or_default();
    let said = if empty { format!("has no {path}") } else { format!("says {path}{said}") };
    let there = match (&held, &place) {
        _ if reason.is_some() => format!("{target} cannot hold that: {}", reason.unwrap_or_default()),
        (Some(held), Some(place)) => format!("{target} holds `{held}` alone ({place})"),
        (Some(held), None) if is_alike => {
            format!("the mapping of {target} has no place for it: what else it has is of `{held}`")
        }
        (Some(held), None) => format!("{target} holds `{held}`"),
        (None, Some(place)) => format!("{target} cannot hold that ({place})"),
        (None, None) => format!("the mapping of {target} has no place for it"),
    };
    let message = format!(
        "{source} {said}, and {there}: it would pass for another {entity}; keep it away by the flow's `where`, or map \
         `{path}` for {target}"
    );
    Failure::new(Class::Unmapped, message)
        .with_cause(WaitReason::qualifies(entity, &path, value.as_deref()))
        .with_field(path)
}
