//! The desired state of a record at a target: what the target has, overlaid with the fields that others own.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    mapping::Fields,
    model::{Accepted, EntitySpec, Shape, States, lay},
    store::{Merged, Replica},
    sync::{
        conflict::{ends, persons},
        routing::{DeletePolicy, Flow, Routes},
        stock::availability,
    },
};

/// What should be true at the target.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::sync) enum Desired {
    /// No source says anything about the record (or a filter keeps the record away and the target never had it).
    Nothing,
    /// The target does not have it, and in its present state at the source it is not to be created there.
    NotYet(String),
    /// These fields, besides whatever the target itself owns.
    Fields(Fields),
    /// The object is to be gone.
    Gone,
}

/// The target's side: its entity, and what its mapping allows.
#[derive(Clone, Copy, Debug)]
pub(in crate::sync) struct Side<'a> {
    pub(in crate::sync) target: &'a str,
    pub(in crate::sync) entity: &'a str,
    /// Fields that the target's mapping can write.
    pub(in crate::sync) writes: &'a BTreeSet<String>,
    pub(in crate::sync) spec: Option<&'a EntitySpec>,
    /// Whether the target may have the object though nobody has seen it there.
    pub(in crate::sync) is_begun: bool,
}

impl Side<'_> {
    fn states(&self) -> Option<&States> {
        self.spec.and_then(|spec| spec.states.as_ref())
    }

    fn has_active(&self) -> bool {
        self.spec.is_some_and(|spec| spec.fields.contains_key("active")) && self.writes.contains("active")
    }

    fn is_personal(&self, field: &str) -> bool {
        self.spec.and_then(|spec| spec.fields.get(field)).is_some_and(|field| field.personal)
    }
}

/// Fields that a source's mapping fills, each with the parts that it fills; `None` if there is no such mapping.
pub(in crate::sync) type Reads<'a> = &'a dyn Fn(&str) -> Option<&'a BTreeMap<String, Shape>>;

/// What the systems of a record agree on, for fields that nobody owns.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sync) struct AgreedFields<'a> {
    pub(in crate::sync) merged: Option<&'a Merged>,
    /// Shared fields in conflict at the target: they stay as they are there.
    pub(in crate::sync) conflicts: Option<&'a BTreeSet<String>>,
}

/// Whether the flow's filter lets a source's record through; an error is the filter's own.
pub(in crate::sync) type Admits<'a> = &'a dyn Fn(&Flow, &Fields) -> Result<bool, crate::failure::Failure>;

/// What a flow makes of its source's fields before they are sent to a target; `None` if they go as they are.
pub(in crate::sync) type Available<'a> = &'a dyn Fn(&Flow, &Fields) -> Result<Option<Fields>, crate::failure::Failure>;

/// How flows and the mappings of their sources treat a source's record.
#[derive(Clone, Copy)]
pub(in crate::sync) struct Rules<'a> {
    pub(in crate::sync) routes: &'a Routes,
    pub(in crate::sync) reads: Reads<'a>,
    pub(in crate::sync) admits: Admits<'a>,
    pub(in crate::sync) available: Available<'a>,
}

/// Compute the desired state from the replicas of one record.
///
/// `reads` gives the fields that a source's mapping fills. A source says nothing about a field that its mapping
/// cannot read, whatever an earlier mapping left there, and the target keeps what it has.
pub(in crate::sync) fn desired(
    rules: Rules<'_>,
    side: Side<'_>,
    agreed: AgreedFields<'_>,
    replicas: &[Replica],
) -> Result<Desired, crate::failure::Failure> {
    let (Rules { routes, reads, .. }, Side { target, entity, .. }) = (rules, side);
    let here = replicas.iter().find(|replica| replica.system == target && replica.gone_at.is_none());
    // Data that was erased on one side is not erased on the other because of that, and is not brought back either.
    let is_marked = side.spec.is_some_and(|spec| replicas.iter().any(|replica| spec.is_erased(&replica.fields)));
    let mut fields = Fields::new();
    let mut spoken = false;
    let mut withdrawn: Option<DeletePolicy> = None;
    let mut not_yet = None;
    for flow in routes.to(target, entity) {
        let Some(source) = replicas.iter().find(|replica| replica.system == flow.from && !replica.fields.is_empty())
        else {
            continue;
        };
        let leads = routes.leading(entity, &flow.from, target).is_some_and(|leading| leading.name == flow.name);
        let shapes = reads(&flow.from);
        let said = said(&source.fields, shapes);
        if source.gone_at.is_some() || !(rules.admits)(flow, &said)? {
            if leads {
                withdrawn = Some(flow.delete_policy(entity));
            }
            continue;
        }
        // A flow that only brings some fields back never creates a record. A flow that carries the record as a
        // whole does, if the target never had it. It then sets all fields: their owner has no values yet.
        let founds =
            !leads && !flow.fields.contains_key(entity) && replicas.iter().all(|replica| replica.system != target);
        if !leads && !founds && here.is_none() {
            continue;
        }
        let states = side.states();
        if let (Some(states), None, false) = (states, here, side.is_begun) {
            match states.accepted(&said) {
                Accepted::Yes => {}
                Accepted::NotYet(state) => {
                    not_yet = Some(state);
                    continue;
                }
                Accepted::Never => continue,
            }
        }
        spoken = true;
        let is_written = |field: &str| {
            let reads = shapes.is_some_and(|shapes| shapes.contains_key(field));
            reads && side.writes.contains(field) && flow.brings(entity, field)
        };
        let lost = |(spec, here)| is_marked || persons::is_erased(spec, is_written, &said, here);
        let is_erased = side.spec.zip(here).is_some_and(lost);
        let is_kept = |field: &str| is_erased && side.is_personal(field);
        let shared = routes.shared(entity).into_iter().flatten();
        for field in shared.filter(|field| side.writes.contains(*field) && !is_kept(field)) {
            let in_conflict = agreed.conflicts.is_some_and(|conflicts| conflicts.contains(field));
            // A created object carries all shared fields. A field that was never merged has the source's value.
            let merged = agreed.merged.and_then(|merged| merged.fields.get(field));
            let value = merged.or_else(|| said.get(field).filter(|_| here.is_none()));
            if let (true, false, Some(value)) = (flow.brings(entity, field), in_conflict, value) {
                fields.insert(field.clone(), value.clone());
            }
        }
        let Some(shapes) = shapes else { continue };
        let mut known: BTreeSet<String> = shapes.keys().cloned().collect();
        let available = (rules.available)(flow, &said)?;
        // A figure that the flow computes itself is sent though the source has none.
        known.extend(available.iter().flat_map(Fields::keys).filter(|field| availability::is_figure(field)).cloned());
        let shown = available.as_ref().unwrap_or(&said);
        let shared = routes.shared(entity);
        for field in known.intersection(side.writes) {
            let carried = flow.brings(entity, field) && !shared.is_some_and(|shared| shared.contains(field));
            if !carried || is_kept(field) {
                continue;
            }
            let value = shown.get(field).unwrap_or(&Value::Null);
            let ended = |states| ended_while_it_goes_on(states, field, here?, (source, value));
            if states.and_then(ended).is_some_and(|end| is_reported_back(routes, side, flow, field, end)) {
                continue;
            }
            let said = states.filter(|states| here.is_some() && states.holds(field)).and_then(|states| {
                let allowed = flow.states.get(entity)?;
                Some((states, value.as_str().is_some_and(|state| allowed.contains(state))))
            });
            match said {
                // For a state, the flow says which system may set it, whoever owns the field; the furthest state
                // counts.
                Some((_, false)) => continue,
                Some((states, true)) => {
                    if fields.get(field).is_some_and(|other| states.is_behind(value, other)) {
                        continue;
                    }
                }
                // An object is created in its state: an order may have ended before any other system was notified
                // of it.
                None if here.is_none() && states.is_some_and(|states| states.holds(field)) => {}
                None if founds => {}
                None => match routes.owner(entity, field, &flow.from, target) {
                    Some(owner) if owner == flow.from => {}
                    // An object is created with all fields: the owner has no value of its own yet.
                    Some(owner) if owner == target && here.is_none() && !value.is_null() => {}
                    _ => continue,
                },
            }
            let spec = side.spec.and_then(|spec| spec.fields.get(field));
            let value = match (here.and_then(|here| here.fields.get(field)), shapes.get(field)) {
                (Some(there), Some(shape)) => lay(spec, shape, there, value),
                _ => value.clone(),
            };
            fields.insert(field.clone(), value);
        }
    }
    if let (Some(states), Some(here)) = (side.states(), here) {
        // If a shared field has two different ends, a person or the flow's policy has chosen one: that is no echo
        // of an earlier end.
        let is_chosen = |field: &str, desired: &Value| {
            states.has_ended(desired) && routes.shared(entity).is_some_and(|shared| shared.contains(field))
        };
        fields.retain(|field, desired| {
            !states.holds(field) || is_chosen(field, desired) || goes_on(states, desired, here, field)
        });
    }
    Ok(match (withdrawn, here) {
        (None, None) if !spoken && not_yet.is_some() => Desired::NotYet(not_yet.unwrap_or_default()),
        (None, _) if spoken => Desired::Fields(fields),
        (None, _) | (Some(_), None) | (Some(DeletePolicy::Ignore), _) => Desired::Nothing,
        (Some(DeletePolicy::Delete), Some(_)) => Desired::Gone,
        (Some(DeletePolicy::Unpublish), Some(_)) if side.has_active() => {
            Desired::Fields(Fields::from_iter([("active".to_owned(), Value::Bool(false))]))
        }
        (Some(DeletePolicy::Unpublish), Some(_)) => Desired::Nothing,
    })
}

/// Whether a state is to be sent to a target that is known to be in another one. An unknown state says nothing, and
/// no state runs backwards. A brake holds a write that leaves an end. A target that has left an end is sent another
/// end only if that is further.
fn goes_on(states: &States, desired: &Value, here: &Replica, field: &str) -> bool {
    let known = here.fields.get(field).unwrap_or(&Value::Null);
    let says_something = desired.is_null() || states.rank(desired).is_some();
    let is_old = |heard: &Value| states.has_ended(desired) && states.is_behind(desired, heard);
    desired == known
        || says_something && !states.is_behind(desired, known) && !ends::heard(states, here, field).is_some_and(is_old)
}

/// Return the end of the target's object if the source's object goes on and the source was not notified of that
/// end: what the source says is older, and no reason to reopen the object. If the source was notified of the end,
/// what it says is newer.
fn ended_while_it_goes_on<'a>(
    states: &States,
    field: &str,
    here: &'a Replica,
    (source, said): (&Replica, &Value),
) -> Option<&'a Value> {
    let known = here.fields.get(field).filter(|_| states.holds(field))?;
    let is_unheard = ends::heard(states, source, field).is_none() && states.has_ended(known) && !states.has_ended(said);
    is_unheard.then_some(known)
}

/// Whether a flow back has to notify a flow's source of an end.
fn is_reported_back(routes: &Routes, side: Side<'_>, flow: &Flow, field: &str, end: &Value) -> bool {
    let reports = |back: &Flow| match back.states.get(side.entity) {
        Some(allowed) => end.as_str().is_some_and(|end| allowed.contains(end)),
        None => routes.owner(side.entity, field, &back.from, &flow.from) == Some(&back.from),
    };
    let mut back = routes.to(&flow.from, side.entity);
    back.any(|back| side.target == back.from && back.brings(side.entity, field) && reports(back))
}

/// Return what a source says, by its present mapping.
fn said<'f>(fields: &'f Fields, shapes: Option<&BTreeMap<String, Shape>>) -> Cow<'f, Fields> {
    match shapes {
        Some(shapes) if !fields.keys().all(|field| shapes.contains_key(field)) => {
            let said = fields.iter().filter(|(field, _)| shapes.contains_key(*field));
            Cow::Owned(said.map(|(field, value)| (field.clone(), value.clone())).collect())
        }
        _ => Cow::Borrowed(fields),
    }
}

/// Return when an object may be deleted at the target because its source lost the record: the flow's grace after it
/// was missed. `None` if no source lost it.
pub(in crate::sync) fn ripe(
    routes: &Routes,
    entity: &str,
    target: &str,
    replicas: &[Replica],
) -> Option<DateTime<Utc>> {
    let leading = routes
        .to(target, entity)
        .filter(|flow| routes.leading(entity, &flow.from, target).is_some_and(|leading| leading.name == flow.name));
    leading
        .filter_map(|flow| {
            let gone_at = replicas.iter().find(|replica| replica.system == flow.from)?.gone_at?;
            Some(crate::sync::context::outcome::later(gone_at, flow.grace))
        })
        .max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::RecordId;
    use crate::sync::routing::flow;

    fn replica(system: &str, fields: &Value) -> Replica {
        Replica {
            system: system.into(),
            entity: "order".into(),
            record: RecordId(1),
            id: "7".into(),
            fields: fields.as_object().unwrap().clone(),
            sent: Fields::new(),
            version: None,
            fingerprint: None,
            gone_at: None,
            written: 0,
        }
    }

    fn names(fields: &[&str]) -> BTreeSet<String> {
        fields.iter().map(|&field| field.to_owned()).collect()
    }

    fn both_ways() -> Routes {
        let mut back = flow("account", "erp", "shop", &["order"]);
        back.fields.insert("order".into(), names(&["status"]));
        back.owners.insert("order.status".into(), "erp".into());
        Routes::new(vec![flow("sales", "shop", "erp", &["order"]), back]).unwrap()
    }

    fn state(routes: &Routes, target: &str, replicas: &[Replica]) -> Desired {
        let all = names(&["total", "status", "active", "note"]);
        let mut spec = crate::model::Entities::builtin().get("order").map(|spec| (**spec).clone()).unwrap();
        let active = crate::model::Entities::builtin().get("product").unwrap().fields["active"].clone();
        spec.fields.insert("active".into(), active);
        let shapes = all.iter().map(|field| (field.clone(), Shape::Whole)).collect();
        let side = Side { target, entity: "order", writes: &all, spec: Some(&spec), is_begun: false };
        let reads = |_: &str| Some(&shapes);
        let rules = Rules { routes, reads: &reads, admits: &|_, _| Ok(true), available: &|_, _| Ok(None) };
        desired(rules, side, AgreedFields::default(), replicas).unwrap()
    }

    #[test]
    fn each_field_flows_only_away_from_its_owner() {
        let replicas = [
            replica("shop", &json!({"total": "10", "status": "paid"})),
            replica("erp", &json!({"total": "9", "status": "shipped"})),
        ];
        let Desired::Fields(at_erp) = state(&both_ways(), "erp", &replicas) else { panic!("erp is told") };
        assert_eq!(at_erp.get("total"), Some(&json!("10")));
        assert_eq!(at_erp.get("status"), None);
        let Desired::Fields(at_shop) = state(&both_ways(), "shop", &replicas) else { panic!("shop is told") };
        assert_eq!(at_shop, *json!({"status": "shipped"}).as_object().unwrap());
    }

    #[test]
    fn an_end_that_the_source_is_still_to_hear_of_is_not_left_at_the_target() {
        let replicas = [replica("shop", &json!({"status": "paid"})), replica("erp", &json!({"status": "cancelled"}))];
        let brought_back = |back: &[&str]| {
            let mut sales = flow("sales", "shop", "erp", &["order"]);
            sales.states.insert("order".into(), names(&["paid", "cancelled"]));
            let mut account = flow("account", "erp", "shop", &["order"]);
            account.fields.insert("order".into(), names(&["status"]));
            account.states.insert("order".into(), names(back));
            Routes::new(vec![sales, account]).unwrap()
        };
        let at = |routes: &Routes, target: &str, replicas: &[Replica]| {
            let Desired::Fields(fields) = state(routes, target, replicas) else { panic!("{target} is told") };
            fields.get("status").cloned()
        };
        let both = brought_back(&["shipped", "cancelled"]);
        assert_eq!((at(&both, "erp", &replicas), at(&both, "shop", &replicas)), (None, Some(json!("cancelled"))));
        let mut reopened = replicas.clone();
        reopened[0].sent.insert("status".into(), json!("refunded"));
        assert_eq!(
            at(&both, "erp", &reopened),
            Some(json!("paid")),
            "it has heard of an end, and goes on all the same"
        );
        assert_eq!(at(&both, "shop", &reopened), None, "what is behind the end it has left is an old word");
        let deaf = brought_back(&["shipped"]);
        assert_eq!(
            at(&deaf, "erp", &replicas),
            Some(json!("paid")),
            "nobody tells the shop: a person decides (order_state)"
        );
    }

    #[test]
    fn a_create_carries_what_its_target_owns_from_then_on() {
        let mut catalog = flow("catalog", "erp", "shop", &["order"]);
        catalog.owners.insert("order.note".into(), "shop".into());
        let routes = Routes::new(vec![catalog]).unwrap();
        let source = replica("erp", &json!({"total": "1", "note": "first"}));
        let Desired::Fields(made) = state(&routes, "shop", std::slice::from_ref(&source)) else { panic!("it is made") };
        assert_eq!(made.get("note"), Some(&json!("first")));
        let here = replica("shop", &json!({"total": "1", "note": "theirs"}));
        let Desired::Fields(later) = state(&routes, "shop", &[source, here]) else { panic!("it is told") };
        assert_eq!(later.get("note"), None);
    }

    #[test]
    fn a_flow_that_only_brings_fields_back_never_creates_a_record() {
        assert_eq!(state(&both_ways(), "shop", &[replica("erp", &json!({"status": "shipped"}))]), Desired::Nothing);
    }

    #[test]
    fn where_an_entity_flows_whole_in_both_directions_each_side_creates_what_the_other_lacks() {
        let routes =
            Routes::new(vec![flow("crm", "erp", "shop", &["order"]), flow("sales", "shop", "erp", &["order"])])
                .unwrap();
        let there = replica("shop", &json!({"total": "10", "status": "new"}));
        let Desired::Fields(first) = state(&routes, "erp", &[there.clone()]) else { panic!("erp is told") };
        assert_eq!(first.get("total"), Some(&json!("10")));
        let here = replica("erp", &json!({"total": "9"}));
        assert_eq!(
            state(&routes, "erp", &[there.clone(), here.clone()]),
            Desired::Fields(Fields::new()),
            "erp owns it now"
        );
        let mut gone = here;
        gone.gone_at = Some(chrono::DateTime::UNIX_EPOCH);
        assert_eq!(state(&routes, "erp", &[there, gone]), Desired::Nothing, "what the erp deleted does not come back");
    }

    #[test]
    fn a_record_its_source_deleted_is_unpublished_at_the_target_and_never_sent_where_it_was_not() {
        let routes = Routes::new(vec![flow("catalog", "erp", "shop", &["order"])]).unwrap();
        let mut source = replica("erp", &json!({"total": "1"}));
        source.gone_at = Some(chrono::DateTime::UNIX_EPOCH);
        assert_eq!(state(&routes, "shop", &[source.clone()]), Desired::Nothing);
        let there = replica("shop", &json!({"total": "1", "active": true}));
        assert_eq!(
            state(&routes, "shop", &[source, there]),
            Desired::Fields(json!({"active": false}).as_object().unwrap().clone())
        );
    }

    #[test]
    fn what_an_earlier_mapping_left_in_a_source_decides_nothing() {
        let routes = Routes::new(vec![flow("catalog", "erp", "shop", &["order"])]).unwrap();
        let source = replica("erp", &json!({"total": "1", "levels": "30"}));
        let (all, shapes) = (names(&["total", "levels"]), BTreeMap::from([("total".to_owned(), Shape::Whole)]));
        let unread = |fields: &Fields| !fields.contains_key("levels");
        let reads = |_: &str| Some(&shapes);
        let rules = Rules {
            routes: &routes,
            reads: &reads,
            admits: &|_, fields| Ok(unread(fields)),
            available: &|_, fields| Ok(unread(fields).then(|| fields.clone())),
        };
        let side = Side { target: "shop", entity: "order", writes: &all, spec: None, is_begun: false };
        let replicas = [source];
        let state = desired(rules, side, AgreedFields::default(), &replicas).unwrap();
        assert_eq!(state, Desired::Fields(json!({"total": "1"}).as_object().unwrap().clone()));
    }

    #[test]
    fn a_create_carries_shared_fields_that_nobody_has_agreed_on_yet() {
        let (mut there, back) = (flow("sales", "shop", "erp", &["order"]), flow("account", "erp", "shop", &["order"]));
        there.owners.insert("order.status".into(), crate::sync::routing::SHARED.into());
        let routes = Routes::new(vec![there, back]).unwrap();
        let source = replica("shop", &json!({"total": "10", "status": "new"}));
        let Desired::Fields(created) = state(&routes, "erp", &[source]) else { panic!("erp is told") };
        assert_eq!(created.get("status"), Some(&json!("new")));
    }
}
