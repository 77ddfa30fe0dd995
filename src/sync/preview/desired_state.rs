//! What flows make of one record, for people who ask: who owns each field, and what each target should have.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    mapping::Fields,
    store::{Fence, Job, JobId, JobState, RecordId, Result},
    sync::{
        conflict::{persons, terms::Terms},
        context::{Context, outcome},
        delivery::prepare,
        desired::{Batch, state::Desired},
        routing::SHARED,
    },
};

/// What flows desire of a record.
#[derive(Clone, Debug, Default)]
pub struct DesiredState {
    /// Field to the systems that own it, or `shared`; several if targets differ in it.
    pub owners: BTreeMap<String, BTreeSet<String>>,
    /// By target: what should be otherwise than it is there.
    pub desired: BTreeMap<String, DesiredObject>,
    /// (source, target) if the personal data was erased at the source, and the target keeps its own.
    pub erased: BTreeSet<(String, String)>,
}

/// What a target should have.
#[derive(Clone, Debug, PartialEq)]
pub enum DesiredObject {
    /// These fields should get these values; empty if the target has what it should have.
    Fields(Fields),
    /// The object should be deleted.
    Gone,
    /// Why this is not known.
    Unknown(String),
}

/// Compute what a delivery of the record would work with now, at every target of its entity.
///
/// # Errors
/// If the store fails.
pub async fn desired_state(context: &Context, entity: &str, record: RecordId) -> Result<DesiredState> {
    let routes = &context.routes;
    let mut state = DesiredState::default();
    let fields: Vec<&String> = context.entities.get(entity).iter().flat_map(|spec| spec.fields.keys()).collect();
    for flow in routes.flows().iter().filter(|flow| flow.carries(entity)) {
        for (target, field) in flow.to.iter().flat_map(|target| fields.iter().map(move |field| (target, *field))) {
            let is_shared = routes.shared(entity).is_some_and(|shared| shared.contains(field));
            let owner = if is_shared { Some(SHARED) } else { routes.owner(entity, field, &flow.from, target) };
            let carried = flow.brings(entity, field) && both_know(context, entity, field, &flow.from, target);
            if let Some(owner) = owner.filter(|_| carried) {
                state.owners.entry(field.clone()).or_default().insert(owner.to_owned());
            }
        }
    }
    state.erased = erased(context, entity, record).await?;
    for target in routes.targets_of(entity) {
        let (Some(endpoint), Some(mapping)) = (context.systems.get(target), context.mapping(target, entity)) else {
            continue;
        };
        if endpoint.capabilities(entity).is_none() {
            continue;
        }
        let batch = Batch::new(context, endpoint.as_ref(), target, entity);
        let views = prepare::views(&batch, mapping.as_ref(), vec![asking(context, target, entity, record)]).await?;
        for view in views {
            let wants = match view.desired {
                Ok(Desired::Fields(mut fields)) => {
                    let differs = Terms::of(context, mapping.as_ref(), entity).difference(&fields, view.here.as_ref());
                    fields.retain(|field, _| differs.contains(field));
                    DesiredObject::Fields(fields)
                }
                Ok(Desired::Gone) => DesiredObject::Gone,
                Ok(Desired::Nothing | Desired::NotYet(_)) => continue,
                Err(failure) => DesiredObject::Unknown(outcome::describe(&failure)),
            };
            state.desired.insert(target.to_owned(), wants);
        }
    }
    Ok(state)
}

/// Return (source, target) of each flow whose source has erased the personal data: nothing personal is sent.
async fn erased(context: &Context, entity: &str, record: RecordId) -> Result<BTreeSet<(String, String)>> {
    let mut erased = BTreeSet::new();
    let Some(spec) = context.entities.get(entity) else { return Ok(erased) };
    let replicas = context.store.replicas_of(&[record]).await?;
    let at = |system: &str| replicas.iter().find(|replica| replica.system == system && replica.gone_at.is_none());
    for flow in context.routes.flows().iter().filter(|flow| flow.carries(entity)) {
        for target in &flow.to {
            let Some((source, here)) = at(&flow.from).zip(at(target)) else { continue };
            let is_written =
                |field: &str| flow.brings(entity, field) && both_know(context, entity, field, &flow.from, target);
            if spec.is_erased(&source.fields) || persons::is_erased(spec, is_written, &source.fields, here) {
                erased.insert((flow.from.clone(), target.clone()));
            }
        }
    }
    Ok(erased)
}

/// Whether the field is read at the source and written at the target.
fn both_know(context: &Context, entity: &str, field: &str, from: &str, to: &str) -> bool {
    let reads = context.mapping(from, entity).is_some_and(|mapping| mapping.reads().contains(field));
    reads && context.mapping(to, entity).is_some_and(|mapping| mapping.writes().contains(field))
}

/// Make a job that is in no queue: deliveries begin with a job.
fn asking(context: &Context, target: &str, entity: &str, record: RecordId) -> Job {
    let now = context.env.now();
    Job {
        id: JobId(0),
        target: target.to_owned(),
        entity: entity.to_owned(),
        record,
        priority: 0,
        state: JobState::Queued,
        due: now,
        attempts: 0,
        fence: Fence(0),
        intent: None,
        cause: None,
        error: None,
        error_class: None,
        run: None,
        created_at: now,
        updated_at: now,
    }
}
