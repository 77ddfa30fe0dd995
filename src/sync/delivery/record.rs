//! After a write: what the target holds now, by its answer or by what was sent.
//!
//! One file, because an answer, a refusal and a look after the write end in the same replica.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    failure::{Class, Failure},
    mapping::{Fields, Outline, Pulled, Translate},
    model::{self, canonical},
    port::{Op, Written},
    store::{
        Answer, Attempt, ChangeOp, Delivered, DifferenceMark, Intent, NewChange, RecordId, Rejection, Replica,
        ReplicaWrite, Result, Verdict,
    },
    sync::{
        conflict::{respelt, terms::Terms},
        context::outcome,
        delivery::crossed,
        desired::{
            Batch, Task,
            differing::{CostlyDifferences, differs_at, flows_back, missing_policy},
            in_conflict,
            verdict::{self, Tried},
        },
        identity::{children, parents},
        pull::{
            self, detect, guests,
            observe::{self, observe},
            unreadable::{self, UnreadRow},
        },
        routing::MissingPolicy,
        stock::{availability, reservations},
    },
};

/// A write that went through.
pub(in crate::sync) struct WrittenTask {
    pub(in crate::sync) task: Task,
    pub(in crate::sync) answer: Written,
    pub(in crate::sync) attempt: Attempt,
}

/// Turn answers into replicas, and end the jobs.
pub(in crate::sync) async fn record_result(batch: &Batch<'_>, written: Vec<WrittenTask>) -> Result<Vec<Delivered>> {
    let Some(mapping) = batch.context.mapping(batch.target, batch.entity) else { return Ok(Vec::new()) };
    let mut unread: BTreeMap<usize, Rejection> = BTreeMap::new();
    let mut shown: Vec<Option<Pulled>> = Vec::with_capacity(written.len());
    for (at, WrittenTask { task, answer, .. }) in written.iter().enumerate() {
        let read = answer.stored.as_ref().map(|row| canonical_of(batch, mapping.as_ref(), answered(task, answer, row)));
        shown.push(read.and_then(|read| read.map_err(|rejection| unread.insert(at, *rejection)).ok()));
    }
    let silent: Vec<bool> = shown.iter().map(Option::is_none).collect();
    look_after(batch, mapping.as_ref(), &written, &mut shown, &mut unread).await;
    let crossed = crossed::crossed(batch, mapping.as_ref(), &written, &shown).await?;
    let unclear =
        detect::resolve(batch.context, batch.target, &mut shown.iter_mut().flatten().collect::<Vec<_>>()).await?;
    for (at, one) in shown.iter_mut().enumerate() {
        let reason = one.as_ref().and_then(|one| detect::unclear_reference(one, &unclear));
        let WrittenTask { task, answer, .. } = &written[at];
        if let (Some(reason), Some(row)) = (&reason, &answer.stored) {
            let row = answered(task, answer, row);
            let failure = Failure::new(Class::Rejected, reason.as_str());
            unread.insert(
                at,
                unreadable::unreadable(batch.context, mapping.as_ref(), (batch.target, batch.entity), row, failure),
            );
        }
        if reason.is_some() {
            *one = None;
        }
    }
    let outline = mapping.outline();
    let shape = TargetShape { mapping: mapping.as_ref(), outline: &outline };
    let mut ends: Vec<Delivered> = written
        .into_iter()
        .zip(shown.into_iter().zip(silent))
        .enumerate()
        .map(|(at, (written, shown))| match crossed.get(&at) {
            Some(seen) => crossed::refused(batch, &written.task, written.attempt, seen),
            None => {
                let how = match (&shown.0, unread.remove(&at)) {
                    (_, Some(rejection)) => Answer::Unread(rejection),
                    (Some(_), None) => Answer::Read,
                    (None, None) => Answer::Silent,
                };
                Delivered { answer: how, ..close(batch, &shape, written, shown) }
            }
        })
        .collect();
    parents::prove(batch.context, (batch.system, mapping.as_ref(), batch.entity), &mut ends).await?;
    Ok(ends)
}

/// The target's mapping, and what it says about members.
struct TargetShape<'a> {
    mapping: &'a dyn Translate,
    outline: &'a Outline,
}

/// The target's id of the object that was written.
fn id_of<'a>(task: &'a Task, answer: &'a Written) -> &'a str {
    if answer.id.is_empty() { task.write.id.as_deref().unwrap_or_default() } else { &answer.id }
}

/// The row that an answer shows.
fn answered<'a>(task: &Task, answer: &Written, body: &'a Value) -> UnreadRow<'a> {
    UnreadRow { position: format!("answer to {}", task.op_name()), id: id_of(task, answer).to_owned(), body }
}

/// Return an object in canonical form as its target showed it; if it cannot be read, what is to be reported about
/// it.
fn canonical_of(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    row: UnreadRow<'_>,
) -> std::result::Result<Pulled, Box<Rejection>> {
    crate::sync::context::canonical(&batch.context.entities, mapping, batch.entity, row.body).map_err(|failure| {
        tracing::debug!(system = batch.target, entity = batch.entity, %failure, "answer left unread");
        Box::new(unreadable::unreadable(batch.context, mapping, (batch.target, batch.entity), row, failure))
    })
}

/// If a target's answers do not show the object, look at it once, right after the write: only this shows what the
/// target made of the values. A look that fails says nothing.
async fn look_after(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    written: &[WrittenTask],
    shown: &mut [Option<Pulled>],
    unread: &mut BTreeMap<usize, Rejection>,
) {
    if !batch.capabilities.read {
        return;
    }
    let unseen: BTreeMap<&str, usize> = (written.iter().enumerate())
        .filter(|(at, one)| shown[*at].is_none() && one.task.write.op != Op::Delete)
        .filter(|(_, one)| one.task.changed.iter().any(|field| mapping.reads().contains(field)))
        .map(|(at, one)| (id_of(&one.task, &one.answer), at))
        .filter(|(id, _)| !id.is_empty())
        .collect();
    if unseen.is_empty() {
        return;
    }
    let ids: Vec<String> = unseen.keys().map(|&id| id.to_owned()).collect();
    match batch.system.read(batch.entity, &ids).await {
        Ok(rows) => {
            for row in rows {
                let Some(&at) = unseen.get(row.id.as_str()) else { continue };
                let (position, body) = (format!("look after {}", written[at].task.op_name()), row.body.into_value());
                match canonical_of(batch, mapping, UnreadRow { position, id: row.id, body: &body }) {
                    Ok(pulled) => {
                        unread.remove(&at);
                        shown[at] = Some(pulled);
                    }
                    Err(rejection) => drop(unread.insert(at, *rejection)),
                }
            }
        }
        Err(failure) => {
            tracing::debug!(system = batch.target, entity = batch.entity, %failure, "what was written was not looked at");
        }
    }
}

fn close(
    batch: &Batch<'_>,
    shape: &TargetShape<'_>,
    WrittenTask { task, answer, attempt }: WrittenTask,
    (shown, is_looked_at): (Option<Pulled>, bool),
) -> Delivered {
    let before = task.replica.as_ref().map(|replica| replica.fields.clone()).unwrap_or_default();
    let id = if answer.id.is_empty() { task.write.id.clone().unwrap_or_default() } else { answer.id };
    if task.write.op == Op::Delete {
        let change = NewChange { record: task.job.record, op: ChangeOp::Delete, fields: Fields::new() };
        return Delivered {
            replica: Some(gone(&task, id)),
            before: task.replica.clone(),
            change: Some(change),
            attempt: Some(attempt),
            ..Delivered::new(&task.job, Verdict::Done { noop: false })
        };
    }
    let (mut fields, mut sent) =
        (before.clone(), task.replica.as_ref().map(|replica| replica.sent.clone()).unwrap_or_default());
    let mut late = if batch.capabilities.update { changed_since(&task) } else { BTreeSet::new() };
    let mut unsent_changes = task.unsent_changes;
    if let Some(shown) = task.shown.as_ref().filter(|_| batch.capabilities.update && batch.capabilities.read) {
        let terms = Terms::of(batch.context, shape.mapping, batch.entity);
        let is_other = |(field, value): &(&String, &Value)| {
            shape.mapping.reads().contains(*field)
                && !terms.same(field, value, shown.get(*field).unwrap_or(&Value::Null))
        };
        let other: BTreeSet<String> = task.desired.iter().filter(is_other).map(|(field, _)| field.clone()).collect();
        fields.extend(other.iter().filter_map(|field| Some((field.clone(), shown.get(field)?.clone()))));
        // Its last steps may have changed it: another look shows whether they did.
        unsent_changes |= !other.is_empty();
        late.extend(other);
    }
    for field in task.changed.difference(&late) {
        let value = task.desired.get(field).cloned().unwrap_or(Value::Null);
        // Until the target shows the field, it is not known what the target made of the value.
        sent.insert(field.clone(), value.clone());
        if value.is_null() {
            fields.remove(field);
        } else {
            fields.insert(field.clone(), value);
        }
    }
    let mut ids = task.adopted.clone();
    children::merge_answered(answer.child_ids, &mut ids);
    if let Some(mut shown) = shown {
        guests::keep(batch.context, batch.target, batch.entity, Some(&before), &mut shown.fields);
        observe::as_known(batch.context.entities.get(batch.entity).map(|spec| &**spec), &fields, &mut shown);
        let assumed = Replica { fields, sent, ..placeholder(batch, &task, &id) };
        (fields, sent) = observe(Some(&assumed), shown.fields, shape.mapping.reads(), &|_, _, _| true);
        if task.replica.is_some() || flows_back(batch) {
            unsent_changes |= leave_unsent_changes(&mut fields, &assumed.fields, |field| task.changed.contains(field));
        }
        for (list, shown) in shown.child_ids {
            ids.entry(list).or_default().extend(shown.into_iter().filter(|(_, id)| id.is_some()));
        }
    }
    let spec = batch.context.entities.get(batch.entity).map(|spec| &**spec);
    let child_ids = children::after(spec, &fields, &task.changed, &task.write.child_ids, &ids);
    let moved = children::moved(batch.entity, &task.write.held, &child_ids);
    batch.follow_up().moved.extend(moved);
    let mut verdict =
        if task.conflicts.is_empty() { Verdict::Done { noop: false } } else { in_conflict(&task.conflicts) };
    if !late.is_empty() {
        let error = format!(
            "{} may have changed while the object was being made; the desired value is sent next",
            late.into_iter().collect::<Vec<_>>().join(", ")
        );
        let class = Class::Transient.as_str().to_owned();
        verdict = Verdict::Retry { at: batch.context.env.now(), burn: false, intent: None, class, error };
    }
    let recounted = recounted(batch, &task, is_looked_at, (&before, &fields, &sent));
    if !recounted.is_empty() {
        sent.retain(|field, _| !recounted.contains(field));
        // The first time counts as an attempt, since a figure that stays as it was is written a second time only.
        let burn = task.job.attempts == 0;
        let names = recounted.into_iter().collect::<Vec<_>>().join(", ");
        let error = format!("{} shows another {names} right after the write; it is written once more", batch.target);
        let at = outcome::later(batch.context.env.now(), outcome::backoff(0, &batch.context.env));
        let class = Class::Transient.as_str().to_owned();
        verdict = Verdict::Retry { at, burn, intent: None, class, error };
    }
    let (differs, mut costly) = differing(batch, shape, &task, (&fields, &sent));
    let others = task.costly_differences.iter().filter(|(field, _)| !task.changed.contains(*field));
    costly.extend(others.map(|(field, reason)| (field.clone(), reason.clone())));
    if let Some(parked) = differs_at(batch.target, batch.entity, &task.write.key, &costly) {
        verdict = parked;
    }
    let op = if task.write.op == Op::Create { ChangeOp::Create } else { ChangeOp::Update };
    let change = NewChange { record: task.job.record, op, fields: model::diff(&before, &fields) };
    let replica = ReplicaWrite {
        record: task.job.record,
        id,
        fields,
        sent,
        version: answer.version.filter(|_| !unsent_changes),
        fingerprint: None,
        child_ids: Some(child_ids),
        matches: Vec::new(),
        gone: false,
    };
    Delivered {
        replica: Some(replica),
        before: task.replica,
        change: Some(change),
        attempt: Some(attempt),
        unsent_changes,
        differs,
        is_over: true,
        ..Delivered::new(&task.job, verdict)
    }
}

/// Return the stock figures that a look right after the write shows otherwise than they were sent: somebody may have
/// sold or counted in between. A target that changes a figure by itself shows the same one the second time. A figure
/// that is as it was before is written a second time only at the first attempt: somebody may have set it back.
fn recounted(
    batch: &Batch<'_>,
    task: &Task,
    is_looked_at: bool,
    (before, fields, sent): (&Fields, &Fields, &Fields),
) -> BTreeSet<String> {
    let is_recounted = |field: &&String| {
        let (sent, shown) = (sent.get(*field), fields.get(*field));
        let is_another = shown != before.get(*field) || task.job.attempts == 0;
        availability::is_figure(field) && sent.is_some() && shown != sent && is_another
    };
    let changed = task.changed.iter().filter(|_| is_looked_at && batch.entity == reservations::STOCK);
    changed.filter(is_recounted).cloned().collect()
}

/// Return the intent to store before a write is sent: for a create, and for an update that writes `shared` fields
/// or creates children. If a create's object is there already and only some steps are left, its values have been
/// sent.
pub(in crate::sync) fn intent(
    task: &Task,
    shared: Option<&BTreeSet<String>>,
    newest: RecordId,
    now: DateTime<Utc>,
) -> Option<Intent> {
    let is_shared = |field: &&String| shared.is_some_and(|shared| shared.contains(*field));
    let shared: Fields = (task.changed.iter().filter(is_shared))
        .map(|field| (field.clone(), task.desired.get(field).cloned().unwrap_or(Value::Null)))
        .collect();
    let begun = task.intent.as_ref().filter(|intent| intent.op == Op::Create);
    let op = begun.map_or(task.write.op, |intent| intent.op);
    let sent_fingerprints = match task.write.op {
        Op::Create => {
            let begun = task.intent.as_ref().filter(|_| !task.write.done.is_empty() || task.write.found.is_some());
            let all =
                || task.desired.iter().map(|(field, value)| (field.clone(), canonical::fingerprint(value))).collect();
            begun.map_or_else(all, |intent| merge_sent_fingerprints(&intent.sent_fingerprints, &task.desired))
        }
        // If an object was made by a create without an answer, going on with it is still that create.
        Op::Update if !shared.is_empty() || task.adds => {
            begun.map(|intent| intent.sent_fingerprints.clone()).unwrap_or_default()
        }
        _ => return None,
    };
    // Whatever its earlier attempts made was seen, if at all, after the first of them.
    let first = task.intent.as_ref().and_then(|intent| intent.known);
    let known = (op == Op::Create).then(|| first.unwrap_or(newest));
    let mut children = task.intent.as_ref().map(|intent| intent.children.clone()).unwrap_or_default();
    for (list, members) in &task.members {
        children.entry(list.clone()).or_default().extend(members.clone());
    }
    Some(Intent { done: task.write.done.clone(), sent_fingerprints, shared, known, children, ..Intent::new(op, now) })
}

/// Merge what the attempts of a create have sent so far. If a later attempt sends another value of a field than the
/// first, its steps may have sent either: the field counts as unknown.
fn merge_sent_fingerprints(before: &BTreeMap<String, String>, desired: &Fields) -> BTreeMap<String, String> {
    const UNKNOWN: &str = "";
    let mut sent_fingerprints = before.clone();
    for (field, value) in desired {
        if sent_fingerprints.get(field) != Some(&canonical::fingerprint(value)) {
            sent_fingerprints.insert(field.clone(), UNKNOWN.to_owned());
        }
    }
    sent_fingerprints
}

/// For an object that was created in several attempts: return the fields that are desired otherwise than the first
/// attempt sent them. Empty if one attempt has done everything, or if an earlier version of the program began it.
fn changed_since(task: &Task) -> BTreeSet<String> {
    let sent_fingerprints =
        task.intent.as_ref().filter(|_| task.write.op == Op::Create).map(|intent| &intent.sent_fingerprints);
    let Some(sent_fingerprints) = sent_fingerprints.filter(|sent_fingerprints| !sent_fingerprints.is_empty()) else {
        return BTreeSet::new();
    };
    let is_late =
        |(field, value): &(&String, &Value)| sent_fingerprints.get(*field) != Some(&canonical::fingerprint(value));
    task.desired.iter().filter(is_late).map(|(field, _)| field.clone()).collect()
}

/// Remove from what a target shows after a write all values that were not sent and are not known yet. If they were
/// stored as known, no other system would ever be notified of them: a pull has to find them, log them, merge them
/// and open the jobs that follow. Return true if there was any.
pub(in crate::sync) fn leave_unsent_changes(
    shown: &mut Fields,
    known: &Fields,
    is_sent: impl Fn(&str) -> bool,
) -> bool {
    let is_new = |field: &&String| !is_sent(field) && shown.get(*field) != known.get(*field);
    let new_fields: BTreeSet<String> = shown.keys().chain(known.keys()).filter(is_new).cloned().collect();
    for field in &new_fields {
        match known.get(field) {
            Some(value) => shown.insert(field.clone(), value.clone()),
            None => shown.remove(field),
        };
    }
    !new_fields.is_empty()
}

/// Return what the target has shown to hold otherwise than it was just sent, beyond the spelling of free texts, and
/// which of these fields cost money.
fn differing(
    batch: &Batch<'_>,
    shape: &TargetShape<'_>,
    task: &Task,
    (fields, sent): (&Fields, &Fields),
) -> (Vec<DifferenceMark>, CostlyDifferences) {
    let (mut marks, mut costly) = (Vec::new(), CostlyDifferences::new());
    let reads = shape.mapping.reads();
    // An object that was there before us may keep the key that it was given there.
    let spec = batch.context.entities.get(batch.entity);
    let is_own_key = |field: &str| task.write.op != Op::Create && spec.is_some_and(|spec| spec.key == field);
    for field in task.changed.iter().filter(|field| reads.contains(*field) && !is_own_key(field)) {
        let Some(value) = sent.get(field) else { continue };
        let held = fields.get(field).unwrap_or(&Value::Null);
        // It counts as arrived until it is seen.
        if held == value || respelt::is_as_shown(batch.context, shape.mapping, (batch.entity, field), value, held) {
            continue;
        }
        let before = task.replica.as_ref().and_then(|replica| replica.fields.get(field)).unwrap_or(&Value::Null);
        let altered = batch.context.alteration_since((batch.entity, field), shape.outline, (before, value, held));
        if altered.is_difference() {
            let (record, mapping) = (task.job.record, shape.mapping.version());
            marks.push(DifferenceMark { record, field: field.clone(), mapping });
            let costs = batch.context.costs((batch.entity, field), &altered, value, held);
            costly.extend(costs.map(|reason| (field.clone(), reason)));
        }
    }
    (marks, costly)
}

fn placeholder(batch: &Batch<'_>, task: &Task, id: &str) -> Replica {
    Replica {
        system: batch.target.to_owned(),
        entity: batch.entity.to_owned(),
        record: task.job.record,
        id: id.to_owned(),
        fields: Fields::new(),
        sent: Fields::new(),
        version: None,
        fingerprint: None,
        gone_at: None,
        written: 0,
    }
}

fn gone(task: &Task, id: String) -> ReplicaWrite {
    let (fields, sent) =
        task.replica.as_ref().map(|replica| (replica.fields.clone(), replica.sent.clone())).unwrap_or_default();
    ReplicaWrite {
        record: task.job.record,
        id,
        fields,
        sent,
        version: None,
        fingerprint: None,
        child_ids: None,
        matches: Vec::new(),
        gone: true,
    }
}

/// Handle an object that the target no longer has.
pub(in crate::sync) fn missing(
    batch: &Batch<'_>,
    task: &Task,
    failure: &Failure,
    tried: &Tried,
) -> (Verdict, Option<ReplicaWrite>) {
    let Some(id) = task.write.id.clone().filter(|_| task.replica.is_some()) else {
        return (verdict::verdict(failure, tried, &batch.context.env), None);
    };
    let replica = Some(gone(task, id));
    if task.write.op == Op::Delete {
        return (Verdict::Done { noop: true }, replica);
    }
    // At the system that an entity comes from, only a full pull finds what is gone, and reports it to all targets.
    if batch.context.routes.leads(batch.entity, batch.target) {
        // About a quarter of an hour.
        const WAIT: u32 = 8;
        let verdict = Verdict::Retry {
            at: outcome::later(batch.context.env.now(), outcome::backoff(WAIT, &batch.context.env)),
            burn: false,
            intent: None,
            class: failure.class.as_str().to_owned(),
            error: format!("{failure}; whether {} lost it, its next full pull tells", batch.target),
        };
        return (verdict, None);
    }
    match missing_policy(batch) {
        MissingPolicy::Recreate => (verdict::verdict(failure, tried, &batch.context.env), replica),
        MissingPolicy::Unlink => {
            let error = format!(
                "{} no longer has it, and it is not created a second time (on_missing): {failure}",
                batch.target
            );
            (Verdict::Dead { class: failure.class.as_str().to_owned(), error }, replica)
        }
    }
}

/// Handle an object that changed in the target meanwhile: it is pulled, and the job merges again. If a create
/// conflicts, the object exists: the intent stays, so that the next step is the lookup.
pub(in crate::sync) async fn conflict(
    batch: &Batch<'_>,
    task: &Task,
    failure: &Failure,
    tried: &Tried,
) -> Result<Verdict> {
    let mut verdict = verdict::verdict(failure, tried, &batch.context.env);
    if let Verdict::Retry { intent, at, .. } = &mut verdict
        && task.write.op == Op::Create
    {
        intent.clone_from(&task.intent);
        *at = outcome::later(batch.context.env.now(), batch.answer_window);
    } else if let (Some(id), true) = (&task.write.id, batch.capabilities.read) {
        // If it cannot be read now, the next attempt will meet the same conflict.
        let _ = pull::look(batch.context, batch.target, batch.entity, std::slice::from_ref(id)).await?;
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_attempts_of_a_create_sent_in_turns_is_not_known_to_be_there() {
        let fields = |closed: Value| Fields::from_iter([("number".into(), json!("7")), ("closed".into(), closed)]);
        let first = fields(Value::Null);
        let sent: BTreeMap<String, String> =
            first.iter().map(|(field, value)| (field.clone(), canonical::fingerprint(value))).collect();
        let second = merge_sent_fingerprints(&sent, &fields(json!("cancelled")));
        assert_eq!(merge_sent_fingerprints(&second, &first), second, "it goes on after all: a step may have ended it");
        assert_eq!((&second["number"], second["closed"].as_str()), (&sent["number"], ""));
    }
}
