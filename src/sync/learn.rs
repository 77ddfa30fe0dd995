//! After a write: what the target holds now, from its answer or from what was sent.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    MissingPolicy,
    deliver::Batch,
    detect::{self, observe},
    guests,
    outcome::{self, Tried},
    prepare::{Task, in_conflict},
    pull,
};
use crate::{
    failure::{Class, Failure},
    mapping::{Fields, Pulled, Translate},
    model::{self, canonical},
    port::{Facts, Op, Written},
    store::{Attempt, ChangeOp, Delivered, Intent, NewChange, RecordId, Replica, ReplicaWrite, Result, Verdict},
};

/// Turns answers into replicas and closes the jobs.
pub(super) async fn learn(batch: &Batch<'_>, written: Vec<(Task, Written, Attempt)>) -> Result<Vec<Delivered>> {
    let Some(mapping) = batch.parts.mapping(batch.target, batch.entity) else { return Ok(Vec::new()) };
    let mut shown: Vec<Option<Pulled>> =
        written.iter().map(|(_, answer, _)| answered(batch, mapping.as_ref(), answer)).collect();
    detect::resolve(batch.parts, batch.target, &mut shown.iter_mut().flatten().collect::<Vec<_>>()).await?;
    Ok(written
        .into_iter()
        .zip(shown)
        .map(|((task, answer, attempt), shown)| close(batch, mapping.as_ref(), task, answer, shown, attempt))
        .collect())
}

/// The object as the target answered it, in canonical form. An answer that cannot be read says nothing; the next pull will.
fn answered(batch: &Batch<'_>, mapping: &dyn Translate, answer: &Written) -> Option<Pulled> {
    let row = answer.stored.as_ref()?;
    let result = mapping.pull(row).and_then(|mut pulled| {
        batch.parts.validate(batch.entity, &mut pulled.fields)?;
        Ok(pulled)
    });
    result
        .inspect_err(
            |failure| tracing::debug!(target = batch.target, entity = batch.entity, %failure, "answer left unread"),
        )
        .ok()
}

fn close(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    task: Task,
    answer: Written,
    shown: Option<Pulled>,
    mut attempt: Attempt,
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
    let late = if batch.system.facts(batch.entity).is_some_and(|facts| facts.update) {
        changed_since(&task)
    } else {
        BTreeSet::new()
    };
    for field in task.changed.difference(&late) {
        let value = task.wanted.get(field).cloned().unwrap_or(Value::Null);
        // Until the target shows the field, what it made of it is not known.
        sent.insert(field.clone(), value.clone());
        if value.is_null() {
            fields.remove(field);
        } else {
            fields.insert(field.clone(), value);
        }
    }
    let mut parts = task.adopted.clone();
    for (list, ids) in answer.parts {
        parts.entry(list).or_default().extend(ids);
    }
    let mut news = task.news;
    if let Some(mut shown) = shown {
        guests::keep(batch.parts, batch.target, batch.entity, Some(&before), &mut shown.fields);
        let assumed = Replica { fields, sent, ..placeholder(batch, &task, &id) };
        (fields, sent) = observe(Some(&assumed), shown.fields, mapping.reads());
        if task.replica.is_some() || is_told(batch) {
            news |= leave_news(&mut fields, &assumed.fields, |field| task.changed.contains(field));
        }
        for (list, ids) in shown.parts {
            parts.entry(list).or_default().extend(ids);
        }
    }
    let mut verdict =
        if task.conflicts.is_empty() { Verdict::Done { noop: false } } else { in_conflict(&task.conflicts) };
    if !late.is_empty() {
        let error = format!(
            "{} changed while it was being created; what it is by now follows",
            late.into_iter().collect::<Vec<_>>().join(", ")
        );
        let class = Class::Transient.as_str().to_owned();
        verdict = Verdict::Retry { at: batch.parts.env.now(), burn: false, intent: None, class, error };
    }
    if let Some(field) = altered_amount(batch, &task, &fields, &sent) {
        let stored = fields.get(&field).map(Value::to_string).unwrap_or_default();
        let wanted = task.wanted.get(&field).map(Value::to_string).unwrap_or_default();
        sent.remove(&field);
        let error =
            format!("{} stored {stored} where {field} {wanted} was sent; an amount must arrive as it is", batch.target);
        attempt.outcome = Class::Rejected.as_str().to_owned();
        attempt.message = Some(error.clone());
        verdict = Verdict::Dead { class: Class::Rejected.as_str().to_owned(), error };
    }
    let op = if task.write.op == Op::Create { ChangeOp::Create } else { ChangeOp::Update };
    let change = NewChange { record: task.job.record, op, fields: model::diff(&before, &fields) };
    let known_parts = !parts.is_empty();
    let replica = ReplicaWrite {
        record: task.job.record,
        id,
        fields,
        sent,
        version: answer.version.filter(|_| !news),
        print: None,
        parts: known_parts.then_some(parts),
        matches: Vec::new(),
        gone: false,
    };
    Delivered {
        replica: Some(replica),
        before: task.replica,
        change: Some(change),
        attempt: Some(attempt),
        news,
        ..Delivered::new(&task.job, verdict)
    }
}

/// What is to be stored before a write is sent: of a create, and of an update of `shared` fields. A create whose object is there
/// already, of which steps are left, has told what it told.
pub(super) fn intent(
    task: &Task,
    shared: Option<&BTreeSet<String>>,
    newest: RecordId,
    now: DateTime<Utc>,
) -> Option<Intent> {
    let is_shared = |field: &&String| shared.is_some_and(|shared| shared.contains(*field));
    let shared: Fields = (task.changed.iter().filter(is_shared))
        .map(|field| (field.clone(), task.wanted.get(field).cloned().unwrap_or(Value::Null)))
        .collect();
    let told = match task.write.op {
        Op::Create => {
            let begun = task.intent.as_ref().filter(|_| !task.write.done.is_empty() || task.write.found.is_some());
            let all = || task.wanted.iter().map(|(field, value)| (field.clone(), canonical::print(value))).collect();
            begun.map_or_else(all, |intent| intent.told.clone())
        }
        Op::Update if !shared.is_empty() => BTreeMap::new(),
        _ => return None,
    };
    // Whatever its earlier attempts made was seen, if at all, after the first of them.
    let first = task.intent.as_ref().and_then(|intent| intent.known);
    let known = (task.write.op == Op::Create).then(|| first.unwrap_or(newest));
    Some(Intent { done: task.write.done.clone(), told, shared, known, ..Intent::new(task.write.op, now) })
}

/// Fields of an object that was created in several attempts which are wanted otherwise than its first one told them. Nothing
/// where one attempt has done it all, or an earlier version of the program began it.
fn changed_since(task: &Task) -> BTreeSet<String> {
    let told = task.intent.as_ref().filter(|_| task.write.op == Op::Create).map(|intent| &intent.told);
    let Some(told) = told.filter(|told| !told.is_empty()) else { return BTreeSet::new() };
    let is_late = |(field, value): &(&String, &Value)| told.get(*field) != Some(&canonical::print(value));
    task.wanted.iter().filter(is_late).map(|(field, _)| field.clone()).collect()
}

/// Whether what a target holds of its own is told to others.
pub(super) fn is_told(batch: &Batch<'_>) -> bool {
    batch.parts.routes.from(batch.target, batch.entity).next().is_some()
}

/// Takes out of what a target shows beside a write all that was not sent and is not known yet. Taken for known it would never
/// reach anybody: it is for a pull to find, which logs it, merges it and opens the jobs that follow. True if there was any.
pub(super) fn leave_news(shown: &mut Fields, known: &Fields, is_sent: impl Fn(&str) -> bool) -> bool {
    let is_news = |field: &&String| !is_sent(field) && shown.get(*field) != known.get(*field);
    let news: BTreeSet<String> = shown.keys().chain(known.keys()).filter(is_news).cloned().collect();
    for field in &news {
        match known.get(field) {
            Some(value) => shown.insert(field.clone(), value.clone()),
            None => shown.remove(field),
        };
    }
    !news.is_empty()
}

/// A money field, or a quantity of stock, that the target stores with another value than was sent.
fn altered_amount(batch: &Batch<'_>, task: &Task, fields: &Fields, sent: &Fields) -> Option<String> {
    task.changed
        .iter()
        .find(|field| {
            batch.parts.is_amount(batch.entity, field)
                && sent.contains_key(*field)
                && fields.get(*field) != task.wanted.get(*field)
        })
        .cloned()
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
        print: None,
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
        print: None,
        parts: None,
        matches: Vec::new(),
        gone: true,
    }
}

/// What the first flow to the target says of objects that got lost there.
pub(super) fn missing_policy(batch: &Batch<'_>) -> MissingPolicy {
    let mut flows = batch.parts.routes.to(batch.target, batch.entity);
    flows.next().map_or(MissingPolicy::Unlink, |flow| flow.missing_policy(batch.entity))
}

/// The target no longer has the object.
pub(super) fn missing(
    batch: &Batch<'_>,
    task: &Task,
    failure: &Failure,
    tried: &Tried,
) -> (Verdict, Option<ReplicaWrite>) {
    let Some(id) = task.write.id.clone().filter(|_| task.replica.is_some()) else {
        return (outcome::verdict(failure, tried, &batch.parts.env), None);
    };
    let replica = Some(gone(task, id));
    if task.write.op == Op::Delete {
        return (Verdict::Done { noop: true }, replica);
    }
    // Where an entity comes from, only a full pull tells what is gone, and tells it to all.
    if batch.parts.routes.leads(batch.entity, batch.target) {
        // A quarter of an hour, more or less.
        const WAIT: u32 = 8;
        let verdict = Verdict::Retry {
            at: outcome::later(batch.parts.env.now(), outcome::backoff(WAIT, &batch.parts.env)),
            burn: false,
            intent: None,
            class: failure.class.as_str().to_owned(),
            error: format!("{failure}; whether {} lost it, its next full pull tells", batch.target),
        };
        return (verdict, None);
    }
    match missing_policy(batch) {
        MissingPolicy::Recreate => (outcome::verdict(failure, tried, &batch.parts.env), replica),
        MissingPolicy::Unlink => {
            let error = format!(
                "{} no longer has it, and it is not created a second time (on_missing): {failure}",
                batch.target
            );
            (Verdict::Dead { class: failure.class.as_str().to_owned(), error }, replica)
        }
    }
}

/// The object changed in the target meanwhile: it is pulled and the job merges again. A create that conflicts means the object
/// exists: its intent stays, so that the next step is the lookup.
pub(super) async fn conflict(
    batch: &Batch<'_>,
    facts: &Facts,
    task: &Task,
    failure: &Failure,
    tried: &Tried,
) -> Result<Verdict> {
    let mut verdict = outcome::verdict(failure, tried, &batch.parts.env);
    if let Verdict::Retry { intent, at, .. } = &mut verdict
        && task.write.op == Op::Create
    {
        intent.clone_from(&task.intent);
        *at = outcome::later(batch.parts.env.now(), batch.settle);
    } else if let (Some(id), true) = (&task.write.id, facts.read) {
        // Where it cannot be read now, the next attempt will meet the same conflict.
        let _ = pull::look(batch.parts, batch.target, batch.entity, std::slice::from_ref(id)).await?;
    }
    Ok(verdict)
}
