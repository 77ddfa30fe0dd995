//! Decides what a job leads to, from what is loaded about its record.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    failure::{Class, Failure},
    mapping::{Children, Fields, Translate},
    model::{self, canonical},
    port::Op,
    store::{Delivered, Difference, Intent, Job, RecordId, Replica, ReplicaWrite, Result, Verdict},
    sync::{
        conflict::ends,
        desired::{
            Batch, Known, Loaded, begun,
            differing::{self, CostlyDifferences},
            failed, is_untold, proven,
            qualify::{self, Alike},
            state::{self, AgreedFields, Desired, Rules, Side},
            unable,
        },
        identity::guests,
        routing::{DriftPolicy, MissingPolicy},
        stock::{availability, reservations},
    },
    wait_reason::WaitReason,
};

/// How a job ends that leads to no write.
#[derive(Debug)]
pub(in crate::sync) enum End {
    /// With this outcome.
    Closed(Delivered),
    /// As this failure says.
    Failed(Job, Failure),
}

impl End {
    fn done(job: &Job) -> Box<Self> {
        Box::new(Self::Closed(Delivered::new(job, Verdict::Done { noop: true })))
    }

    fn failed(job: Job, failure: Failure) -> Box<Self> {
        Box::new(Self::Failed(job, failure))
    }

    /// Return the outcome that was decided for the job. Draws the delay of a retry.
    pub(in crate::sync) fn outcome(self, batch: &Batch<'_>) -> Delivered {
        match self {
            Self::Closed(end) => end,
            Self::Failed(job, failure) => failed(batch, &job, &failure),
        }
    }
}

/// What is known of a batch when its jobs are decided on.
#[derive(Clone, Copy)]
pub(in crate::sync) struct Snapshot<'a> {
    pub(in crate::sync) batch: &'a Batch<'a>,
    pub(in crate::sync) mapping: &'a dyn Translate,
    pub(in crate::sync) loaded: &'a Loaded,
}

/// Decide what a job leads to, by the snapshot and nothing else. `alike` is what all objects of the target have in
/// common; the first object of a batch may set it.
///
/// # Errors
/// How the job ends without a write.
pub(in crate::sync) fn decide(
    snapshot: Snapshot<'_>,
    job: Job,
    alike: &mut Alike,
) -> std::result::Result<Known, Box<End>> {
    let Snapshot { batch, mapping, loaded } = snapshot;
    let context = batch.context;
    let key = loaded.key(job.record).to_owned();
    let (replicas, hosts) = (loaded.replicas(job.record), &loaded.hosts);
    let conflicts = loaded.conflicts.get(&job.record);
    if loaded.link_context.is_excluded(job.record, batch.target) {
        return Err(End::done(&job));
    }
    let silent = loaded.link_context.speaking(job.record, batch.target, replicas);
    let replicas = silent.as_deref().unwrap_or(replicas);
    let desired = match desired_of(batch, mapping, loaded, (job.record, begun(&job)), replicas) {
        Ok(desired) => desired,
        Err(failure) => {
            return Err(End::failed(job, failure));
        }
    };
    let mut here = replicas.iter().find(|replica| replica.system == batch.target && replica.gone_at.is_none()).cloned();
    // The system does not know the customer that was made from one of its own orders.
    if here.as_ref().is_some_and(|here| guests::is_made(&here.id)) {
        return Err(End::done(&job));
    }
    let was_there =
        here.is_none() && replicas.iter().any(|replica| replica.system == batch.target && replica.gone_at.is_some());
    if was_there && matches!(desired, Desired::Fields(_)) && differing::missing_policy(batch) == MissingPolicy::Unlink {
        let failure = Failure::new(
            Class::Rejected,
            format!(
                "{} no longer has it, and a {} is not created a second time (on_missing)",
                batch.target, batch.entity
            ),
        );
        return Err(End::failed(job, failure));
    }
    // The part that it lived on has gone, and another object has taken its place: nothing of it is there.
    let elsewhere = |id: &str| matches!(hosts.part_key(replicas).and_then(|key| hosts.ids.get(key)).map(Vec::as_slice), Some([host]) if host != id);
    here = here.filter(|here| !elsewhere(&here.id));
    if let (None, Some(list)) = (&here, &hosts.list)
        && let Desired::Fields(_) = desired
    {
        let part = hosts.part_key(replicas).unwrap_or(&key);
        let ids = hosts.ids.get(part).map_or(&[][..], Vec::as_slice);
        let [id] = ids else {
            let text = if ids.is_empty() {
                format!("{} does not have {part} yet", batch.target)
            } else {
                format!("{} objects of {} have {list} {part}: it is unclear which is meant", ids.len(), batch.target)
            };
            let failure = Failure::new(Class::Unmapped, text).with_cause(WaitReason::missing(list, part));
            return Err(End::failed(job, failure));
        };
        let shown = hosts.there.get(id).map(|there| Replica { record: job.record, ..there.clone() });
        here = shown.or_else(|| {
            Some(Replica {
                system: batch.target.to_owned(),
                entity: batch.entity.to_owned(),
                record: job.record,
                id: id.clone(),
                fields: Fields::new(),
                sent: Fields::new(),
                version: None,
                fingerprint: None,
                gone_at: None,
                written: 0,
            })
        });
    }
    // What belongs to another shop's order is for that shop.
    if here.is_none() && !begun(&job) && refers(&desired, &loaded.strangers, batch) {
        return Err(End::done(&job));
    }
    if let Desired::Fields(_) = desired
        && let Err(failure) = qualify::qualify(batch, mapping, replicas, here.as_ref(), alike)
    {
        return Err(End::failed(job, failure));
    }
    let gone_key = context.entities.get(batch.entity).map_or("", |spec| spec.key.as_str());
    let (desired, op) = match desired {
        Desired::Nothing => {
            match loaded
                .link_context
                .silenced(job.record, batch.entity, loaded.name(job.record))
                .filter(|_| silent.is_some())
            {
                Some(failure) => return Err(End::failed(job, failure)),
                None => return Err(End::done(&job)),
            }
        }
        Desired::NotYet(state) => {
            let message = format!("it is `{state}` and not accepted yet: it goes to {} when it is", batch.target);
            let failure = Failure::new(Class::Unmapped, message).with_cause(WaitReason::acceptance(batch.entity, &key));
            return Err(End::failed(job, failure));
        }
        // Its deletion was rejected: an object without its key stands for one that is gone.
        Desired::Gone if here.as_ref().is_some_and(|here| here.sent.get(gone_key) == Some(&Value::Null)) => {
            return Err(End::done(&job));
        }
        Desired::Gone => (Fields::new(), Op::Delete),
        // A pull may have met the object of a create that broke off in the middle: its other steps are still to be
        // done.
        Desired::Fields(fields) if here.is_some() && !(batch.capabilities.steps && begun(&job)) => (fields, Op::Update),
        Desired::Fields(fields) => (fields, Op::Create),
    };
    let made_before = op == Op::Update && begun(&job) && !batch.capabilities.update;
    if let (true, Some(here)) = (made_before, &mut here) {
        assume_unseen(here, &desired, mapping.reads());
    }
    // A pull has met what a create without an answer has made.
    if let (true, Some(intent), Some(here)) = (op == Op::Update && begun(&job), &job.intent, &mut here) {
        assume_sent(here, &desired, intent, mapping.reads());
    }
    // An object that was there before us is compared in the fields that it shows. A field that it never shows
    // counts as being there, and is sent when it changes.
    let met =
        here.clone().filter(|here| op == Op::Update && here.written == 0 && here.fingerprint.is_some() && !begun(&job));
    if let (Some(_), Some(here)) = (&met, &mut here) {
        assume_unseen(here, &desired, mapping.reads());
        loaded.terms.take_spelling(&desired, here);
        loaded.terms.take_key(mapping, &desired, here);
    }
    let states = context.entities.get(batch.entity).and_then(|spec| spec.states.as_ref());
    let stranger = states.zip(here.as_ref()).and_then(|(states, here)| ends::stranger(states, replicas, here)).cloned();
    let over = states.zip(here.as_mut()).is_some_and(|(states, here)| ends::forget(states, replicas, here));
    let costly_differences = match &mut here {
        Some(here) if op == Op::Update => differing(batch, mapping, loaded.differences.get(&job.record), here),
        _ => CostlyDifferences::new(),
    };
    let forgotten =
        op == Op::Update && here.as_mut().is_some_and(|here| loaded.terms.forget(&desired, gone_key, here)) || over;
    let mut changed = if op == Op::Delete { BTreeSet::new() } else { loaded.terms.difference(&desired, here.as_ref()) };
    if op == Op::Update && loaded.kept(job.record).is_some() {
        let figures = desired.iter().filter(|(field, value)| availability::is_figure(field) && !value.is_null());
        changed.extend(figures.map(|(field, _)| field.clone()));
    }
    if let (true, true, Some(here)) = (op == Op::Update, is_untold(&job), &here) {
        // Sent again, whatever the target is known to hold; if the target was read just now, only what it shows
        // otherwise.
        let stays = |field: &str| {
            let policy = context.routes.drift(batch.entity, field, batch.target);
            matches!(policy, Some(DriftPolicy::Accept | DriftPolicy::Report))
        };
        let shows = |field: &str, value: &Value| {
            loaded.terms.same(field, value, here.fields.get(field).unwrap_or(&Value::Null))
        };
        let unsure = desired.iter().filter(|(field, value)| !batch.capabilities.read || !shows(field, value));
        changed.extend(unsure.map(|(field, _)| field.clone()).filter(|field| field != gone_key && !stays(field)));
    }
    if let (true, true, Some(here)) = (made_before, changed.is_empty(), &here) {
        return Err(Box::new(End::Closed(taken_on(&job, here, &Children::new(), false))));
    }
    let conflicts = conflicts.cloned().unwrap_or_default();
    let ripe = state::ripe(&context.routes, batch.entity, batch.target, replicas);
    let known = Known {
        job,
        key,
        here,
        desired,
        op,
        changed,
        ripe,
        was_there,
        found: None,
        child_ids: Children::new(),
        conflicts,
        unsent_changes: false,
        is_unpaid: is_unpaid(batch, replicas),
        stranger,
        costly_differences,
        shown: None,
        unread: None,
    };
    if op == Op::Update && known.changed.is_empty() {
        // What is desired by now may be what the target holds.
        let asked = |field: &String| {
            known
                .here
                .as_ref()
                .is_some_and(|here| here.sent.get(field) == Some(known.desired.get(field).unwrap_or(&Value::Null)))
        };
        let costly_differences: CostlyDifferences = (known.costly_differences.iter().filter(|(field, _)| asked(field)))
            .map(|(field, reason)| (field.clone(), reason.clone()))
            .collect();
        if let Some(parked) = differing::differs_at(batch.target, batch.entity, &known.key, &costly_differences) {
            return Err(Box::new(End::Closed(Delivered::new(&known.job, parked))));
        }
        // If the two met with states that contradict each other, they have not agreed on anything yet.
        let end = known.nothing_left(forgotten || met.is_some() && known.stranger.is_none());
        return Err(Box::new(End::Closed(Delivered { before: met, ..end })));
    }
    let (record, link_context) = (known.job.record, &loaded.link_context);
    let paused = link_context.paused(record, batch.entity, loaded.name(record), batch.target);
    // Look up first what was begun.
    let doubtful = || {
        let doubt = link_context.doubtful(record, batch.entity, loaded.name(record), batch.target);
        doubt.filter(|_| op != Op::Delete && !begun(&known.job))
    };
    let unread = || {
        let creates = op == Op::Create && !begun(&known.job);
        loaded.unread.holds(batch, &known.key, replicas).filter(|_| creates)
    };
    if let Some(why) = paused.or_else(doubtful).or_else(unread) {
        return Err(End::failed(known.job, why));
    }
    let able = match op {
        Op::Create => batch.capabilities.create,
        Op::Update => batch.capabilities.update,
        Op::Delete => batch.capabilities.delete,
    };
    if !able {
        return Err(End::failed(known.job, unable(batch, op)));
    }
    if let Some(failure) = without_article(batch, &known) {
        return Err(End::failed(known.job, failure));
    }
    if let Err(failure) = proven::prove(batch, loaded.name(record), replicas, &known.changed) {
        return Err(End::failed(known.job, failure));
    }
    Ok(known)
}

/// Whether an object refers to a record that its target cannot have.
fn refers(desired: &Desired, strangers: &BTreeSet<RecordId>, batch: &Batch<'_>) -> bool {
    let (Desired::Fields(fields), Some(spec)) = (desired, batch.context.entities.get(batch.entity)) else {
        return false;
    };
    !strangers.is_empty() && model::records(&spec.fields, fields).iter().any(|record| strangers.contains(record))
}

/// Return why a record does not go if one of its items names no article and the flow holds such records back.
fn without_article(batch: &Batch<'_>, one: &Known) -> Option<Failure> {
    let spec =
        batch.context.entities.get(batch.entity).filter(|_| {
            one.op != Op::Delete && batch.context.routes.holds_without_article(batch.target, batch.entity)
        })?;
    let (list, at) = spec.fields.iter().filter(|(name, _)| one.changed.contains(*name)).find_map(|(name, field)| {
        let (member, _) = field.of.as_ref()?.fields.iter().find(|(_, member)| member.part.is_some())?;
        let items = one.desired.get(name)?.as_array()?;
        Some((name, items.iter().position(|item| item.get(member).is_none_or(Value::is_null))?))
    })?;
    let message = format!("{list}[{at}] names no article, and the flow lets no such {} through", batch.entity);
    Some(Failure::new(Class::Unmapped, message).with_cause(WaitReason::article(batch.entity, &one.key)))
}

/// Whether systems report that there was no payment, and none reports one.
fn is_unpaid(batch: &Batch<'_>, replicas: &[Replica]) -> bool {
    let states = batch.context.entities.get(batch.entity).and_then(|spec| spec.states.as_ref());
    let present = replicas.iter().filter(|replica| replica.gone_at.is_none());
    states.is_some_and(|states| present.filter_map(|replica| states.is_paid(&replica.fields)).max() == Some(false))
}

/// Return the fields that the target holds otherwise than they were sent, that cost money and that nobody accepted.
/// If a field was sent with another mapping than this one, forget what was sent, so that it is sent again.
fn differing(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    differences: Option<&Vec<Difference>>,
    here: &mut Replica,
) -> CostlyDifferences {
    let mut costly_differences = CostlyDifferences::new();
    for one in differences.into_iter().flatten().filter(|one| !one.accepted) {
        if one.mapping != mapping.version() {
            here.sent.remove(&one.field);
            continue;
        }
        let altered = batch.context.alteration((batch.entity, &one.field), &mapping.outline(), &one.sent, &one.stored);
        let costs = batch.context.costs((batch.entity, &one.field), &altered, &one.sent, &one.stored);
        costly_differences.extend(costs.map(|reason| (one.field.clone(), reason)));
    }
    costly_differences
}

/// Return what the target should have by these replicas of the record.
pub(in crate::sync) fn desired_of(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    loaded: &Loaded,
    (record, is_begun): (RecordId, bool),
    replicas: &[Replica],
) -> std::result::Result<Desired, Failure> {
    let context = batch.context;
    let reads = |system: &str| context.mapping(system, batch.entity).map(|mapping| mapping.read_shapes());
    let spec = context.entities.get(batch.entity).map(|spec| &**spec);
    let mut desired = state::desired(
        Rules {
            routes: &context.routes,
            reads: &reads,
            admits: &|flow, fields| context.admits(flow, batch.entity, fields),
            available: &|flow, fields| match batch.entity {
                reservations::STOCK => {
                    context.available(flow, fields, loaded.stock.less(flow, loaded.key(record))).map(Some)
                }
                _ => Ok(None),
            },
        },
        Side { target: batch.target, entity: batch.entity, writes: mapping.writes(), spec, is_begun },
        AgreedFields { merged: loaded.merged.get(&record), conflicts: loaded.conflicts.get(&record) },
        replicas,
    )?;
    if let Desired::Fields(fields) = &mut desired {
        mapping.round(fields);
    }
    Ok(desired)
}

/// Return what jobs would do at their target, as far as that is known without asking it. Nothing of it is done.
pub(in crate::sync) async fn outlook(batch: &Batch<'_>, jobs: Vec<Job>) -> Result<Vec<Known>> {
    let Some(mapping) = batch.context.mapping(batch.target, batch.entity) else { return Ok(Vec::new()) };
    let loaded = Box::pin(Loaded::of(batch, &jobs)).await?;
    let mut alike = Alike::of(batch.context, batch.target, batch.entity).await?;
    let snapshot = Snapshot { batch, mapping: mapping.as_ref(), loaded: &loaded };
    Ok(jobs.into_iter().filter_map(|job| decide(snapshot, job, &mut alike).ok()).collect())
}

/// End the job of a create without an answer whose object is there just as desired.
pub(in crate::sync) fn taken_on(job: &Job, here: &Replica, child_ids: &Children, unsent_changes: bool) -> Delivered {
    let replica = ReplicaWrite {
        record: here.record,
        id: here.id.clone(),
        fields: here.fields.clone(),
        sent: here.sent.clone(),
        version: here.version.clone(),
        fingerprint: None,
        child_ids: (!child_ids.is_empty()).then(|| child_ids.clone()),
        matches: Vec::new(),
        gone: false,
    };
    Delivered { replica: Some(replica), unsent_changes, ..Delivered::new(job, Verdict::Done { noop: false }) }
}

/// After a create whose answer was lost: assume that the fields which the target never shows have arrived.
pub(in crate::sync) fn assume_unseen(here: &mut Replica, desired: &Fields, reads: &BTreeSet<String>) {
    for (field, value) in desired.iter().filter(|(field, value)| !reads.contains(*field) && !value.is_null()) {
        here.fields.insert(field.clone(), value.clone());
    }
}

/// After a create in one request whose answer was lost: assume that the fields which it sent and which the target
/// never shows have arrived.
pub(in crate::sync) fn assume_sent(here: &mut Replica, desired: &Fields, intent: &Intent, reads: &BTreeSet<String>) {
    let is_sent = |(field, value): &(&String, &Value)| {
        intent.sent_fingerprints.get(*field) == Some(&canonical::fingerprint(value))
    };
    let sent = desired.iter().filter(is_sent).map(|(field, value)| (field.clone(), value.clone())).collect();
    assume_unseen(here, &sent, reads);
}
