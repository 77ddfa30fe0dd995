//! Writes that a target refuses because another object of ours has a value there that the target accepts only once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{externals, push};
use crate::{
    failure::Failure,
    mapping::{Children, Fields},
    model::{Compare, EntitySpec, FieldSpec},
    port::Op,
    store::{Fence, Job, JobFilter, JobId, JobState, RecordId, Replica, Result},
    sync::{
        desired::{Batch, Known, Prepared, Task, Wait, differing::CostlyDifferences, outlook},
        identity::unique::{self, Unique},
    },
    wait_reason::WaitReason,
};

/// What happens to a write that was refused for a value that another object of ours has.
pub(in crate::sync) enum Contest {
    /// It goes on when that object has changed.
    Wait(Wait),
    /// Each object waits for the other: with this write, this one first gives up the value that it has.
    Aside(Box<Task>),
    /// No object of ours is known to have the value. It may have been given up while the write was under way, or
    /// taken by an object whose write has not ended yet: another attempt will show.
    Gone,
}

/// What all refusals of one batch have in common.
#[derive(Default)]
pub(in crate::sync) struct Around {
    /// Records that have just given up their value.
    pub(in crate::sync) aside: BTreeSet<RecordId>,
    /// Jobs whose end is not known yet; `None` until it was looked up.
    under_way: Option<BTreeSet<JobId>>,
}

/// How many objects of a circle are followed at most.
const LONGEST: usize = 16;

/// Find the object that has the value for which a write was refused; `None` if no object of ours has it.
pub(in crate::sync) async fn contest(
    batch: &Batch<'_>,
    task: &Task,
    failure: &Failure,
    around: &mut Around,
) -> Result<Option<Contest>> {
    let Some(spec) = batch.context.entities.get(batch.entity) else { return Ok(None) };
    let nothing = Fields::new();
    let had = unique::values(spec, task.replica.as_ref().map_or(&nothing, |here| &here.fields), None);
    let asked = unique::values(spec, &task.desired, Some(&task.changed));
    let asked: BTreeSet<Unique> =
        asked.difference(&had).filter(|(name, _)| concerns(spec, failure, name)).cloned().collect();
    let me = task.job.record;
    let mut visited = BTreeSet::from([me]);
    let mut desired = asked.clone();
    let mut first: Option<(Replica, bool)> = None;
    let mut circle = BTreeSet::new();
    for _ in 0..LONGEST {
        let holders = holders(batch, spec, &desired, &visited).await?;
        if holders.is_empty() {
            break;
        }
        visited.extend(holders.iter().map(|holder| holder.record));
        let jobs = holders.iter().map(|holder| look_at(&task.job, holder.record)).collect();
        let outlook: BTreeMap<RecordId, Known> =
            outlook(batch, jobs).await?.into_iter().map(|known| (known.job.record, known)).collect();
        let mut next = BTreeSet::new();
        for holder in &holders {
            let (has, known) = (unique::values(spec, &holder.fields, None), outlook.get(&holder.record));
            let keeps = match known {
                Some(known) if known.op == Op::Delete => BTreeSet::new(),
                Some(known) => unique::values(spec, &known.whole(), None),
                None => has.clone(),
            };
            let gives_up = has.intersection(&desired).all(|value| !keeps.contains(value));
            if first.is_none() {
                first = Some((holder.clone(), gives_up));
            }
            if gives_up {
                next.extend(keeps.difference(&has).cloned());
            }
        }
        circle = next.intersection(&had).cloned().collect();
        if !circle.is_empty() || next.is_empty() {
            break;
        }
        desired = next;
    }
    let Some((holder, gives_up)) = first else {
        // Every create has a key, and no other object has that key: a create is refused for something else.
        let may_be_taken = asked.iter().any(|(name, _)| *name != spec.key);
        let may_be_free = may_be_taken
            && (task.job.attempts == 0
                || !around.aside.is_empty()
                || around.are_others_under_way(batch, &task.job).await?);
        return Ok(may_be_free.then_some(Contest::Gone));
    };
    if !circle.is_empty()
        && around.aside.is_disjoint(&visited)
        && let Some(task) = step_aside(batch, task, spec, &circle).await?
    {
        return Ok(Some(Contest::Aside(Box::new(task))));
    }
    let keys = batch.context.store.keys(&[holder.record]).await?;
    let key = keys.get(&holder.record).map_or_else(|| format!("#{}", holder.record), |(_, key)| key.clone());
    let names: BTreeSet<&str> = asked.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    let plan = if gives_up { "is to give it up" } else { "keeps it" };
    Ok(Some(Contest::Wait(Wait {
        holder: holder.record,
        written: holder.written,
        cause: WaitReason::taken(batch.entity, &key),
        why: format!("{failure}; {} {key} has the {names} at {} and {plan}", batch.entity, batch.target),
        free: around.aside.contains(&holder.record),
    })))
}

impl Around {
    /// Whether writes to other objects of the target are under way whose end is not known: then it is not known
    /// either which values those objects hold.
    async fn are_others_under_way(&mut self, batch: &Batch<'_>, me: &Job) -> Result<bool> {
        const TRIES: u32 = 8;
        if me.attempts >= TRIES {
            return Ok(false);
        }
        let under_way = match self.under_way.take() {
            Some(known) => known,
            None => under_way(batch).await?,
        };
        let others = under_way.iter().any(|job| *job != me.id);
        self.under_way = Some(under_way);
        Ok(others)
    }
}

async fn under_way(batch: &Batch<'_>) -> Result<BTreeSet<JobId>> {
    const MOST: u32 = 1_000;
    let open = JobFilter {
        target: Some(batch.target.to_owned()),
        entity: Some(batch.entity.to_owned()),
        states: vec![JobState::Queued, JobState::Running, JobState::Parked],
        limit: MOST,
        ..JobFilter::default()
    };
    let jobs = batch.context.store.jobs(&open).await?.into_iter();
    Ok(jobs.filter(|job| job.intent.is_some()).map(|job| job.id).collect())
}

/// Whether a refusal may concern a member of this name. It does not if it names another field.
fn concerns(spec: &EntitySpec, failure: &Failure, name: &str) -> bool {
    let Some(field) = failure.field.as_deref() else { return true };
    let top = field.split(['.', '[']).next().unwrap_or_default();
    let items = spec.fields.get(top).and_then(|list| list.of.as_ref());
    top == name || items.is_some_and(|item| item.fields.contains_key(name))
}

/// Find other live objects of the target that have one of these values.
async fn holders(
    batch: &Batch<'_>,
    spec: &EntitySpec,
    values: &BTreeSet<Unique>,
    but: &BTreeSet<RecordId>,
) -> Result<Vec<Replica>> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let texts: BTreeSet<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
    let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
    let mut found = batch.context.store.replicas_with_values(batch.target, batch.entity, &texts).await?;
    found.retain(|replica| {
        !but.contains(&replica.record) && !unique::values(spec, &replica.fields, None).is_disjoint(values)
    });
    Ok(found)
}

/// A job that serves only to ask what would be done about a record.
fn look_at(like: &Job, record: RecordId) -> Job {
    Job {
        record,
        state: JobState::Running,
        attempts: 0,
        fence: Fence(0),
        intent: None,
        cause: None,
        error: None,
        error_class: None,
        run: None,
        ..like.clone()
    }
}

/// Make the write that gives up an object's values; `None` if the object cannot be without them.
async fn step_aside(
    batch: &Batch<'_>,
    task: &Task,
    spec: &EntitySpec,
    values: &BTreeSet<Unique>,
) -> Result<Option<Task>> {
    let Some(mapping) = batch.context.mapping(batch.target, batch.entity) else { return Ok(None) };
    let Some(here) = task.replica.clone().filter(|_| task.write.op == Op::Update) else { return Ok(None) };
    let (mut desired, mut child_ids) = (Fields::new(), Children::new());
    for (name, value) in here.fields.iter().filter(|(name, _)| mapping.writes().contains(*name)) {
        let Some(field) = spec.fields.get(name) else { continue };
        let Some(instead) = without(field, name, value, values, here.record) else { continue };
        // Items of another key are still those that the target has.
        if let (Some(key), Value::Array(before), Value::Array(after)) = (&field.key, value, &instead) {
            let held = task.write.held.get(name);
            let text = |item: &Value| item.get(key).and_then(Value::as_str).map(str::to_owned);
            let ids = before
                .iter()
                .zip(after)
                .filter_map(|(before, after)| Some((text(after)?, held?.get(&text(before)?).cloned())));
            child_ids.insert(name.clone(), ids.collect());
        }
        desired.insert(name.clone(), instead);
    }
    if desired.is_empty() {
        return Ok(None);
    }
    let known = Known {
        job: task.job.clone(),
        key: task.write.key.clone(),
        here: Some(here),
        changed: desired.keys().cloned().collect(),
        desired,
        op: Op::Update,
        ripe: None,
        was_there: false,
        found: None,
        child_ids,
        conflicts: BTreeSet::new(),
        unsent_changes: false,
        shown: None,
        unread: None,
        is_unpaid: false,
        stranger: None,
        costly_differences: CostlyDifferences::new(),
    };
    let known = vec![known];
    let externals = externals(batch, mapping.as_ref(), &known).await?;
    let mut prepared = Prepared::default();
    push(batch, mapping.as_ref(), known, &externals, &mut prepared).await?;
    Ok(prepared.tasks.pop().map(|task| Task { aside: true, ..task }))
}

/// Return a field's value without some unique values: stand-ins replace those that have to be there. `None` if the
/// field has none of the values.
fn without(field: &FieldSpec, name: &str, value: &Value, values: &BTreeSet<Unique>, record: RecordId) -> Option<Value> {
    let has = |name: &str, value: &Value| {
        value.as_str().is_some_and(|text| values.contains(&(name.to_owned(), text.to_owned())))
    };
    let Value::Array(items) = value else {
        return (field.unique && has(name, value)).then(|| stand_in(field, value, record));
    };
    let members = &field.of.as_ref()?.fields;
    let mut changed = false;
    let items = items.iter().map(|item| {
        let Value::Object(item) = item else { return item.clone() };
        let mut item = item.clone();
        for (name, member) in members.iter().filter(|(_, member)| member.unique) {
            if let Some(value) = item.get_mut(name).filter(|value| has(name, value)) {
                *value = stand_in(member, value, record);
                changed = true;
            }
        }
        item.retain(|_, value| !value.is_null());
        Value::Object(item)
    });
    let items: Vec<Value> = items.collect();
    changed.then_some(Value::Array(items))
}

/// What stands in for a value until the desired one is free: `null` for a barcode that is not required, otherwise a
/// text that no other object has.
fn stand_in(field: &FieldSpec, value: &Value, record: RecordId) -> Value {
    let text = value.as_str().unwrap_or_default();
    match text.rsplit_once('@') {
        Some((local, host)) => format!("{local}+{record}@{host}").into(),
        None if field.required => format!("{text}-{record}").into(),
        None if field.compare == Some(Compare::Barcode) => Value::Null,
        None => format!("{text}-{record}").into(),
    }
}
