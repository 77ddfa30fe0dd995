//! Takes back what the deliveries of a run did, where nobody has changed it since. See `docs/plan.md`.
//!
//! An undo stores nothing but what every delivery stores: the target's replica holds the earlier value again, and
//! remembers the source's value as sent. So the source's value is not delivered again until it changes.

mod trace;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::trace::{FieldHistory, TargetHistory, trace};
use crate::{
    mapping::{Fields, Translate},
    port::System,
    store::{ChangeOp, Delivered, Job, JobId, NewJob, RecordId, Replica, RunId, StoreError, Verdict},
    sync::{
        conflict::terms::Terms,
        context::{Context, outcome},
        delivery::{
            self,
            prepare::{self, View},
        },
        desired::{Batch, state::Desired},
        pull,
        routing::{DeletePolicy, priority},
        stock::{availability, reservations},
    },
};

/// How many records are handled together.
const SLICE: usize = 500;

/// What happened in an undo.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Undone {
    pub runs: Vec<RunId>,
    pub restored: Vec<Restored>,
    pub left: Vec<Left>,
}

/// An object that is as it was before, in these fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Restored {
    pub target: String,
    pub entity: String,
    pub key: String,
    /// Field to `[what the run had delivered, what is there again]`; empty for an object that was deleted.
    pub fields: Fields,
}

/// What could not be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    pub target: String,
    pub entity: String,
    pub key: String,
    /// `None` if it is about the whole object.
    pub field: Option<String>,
    pub reason: String,
}

#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no run {0}; `vaiven undo` lists those that changed something")]
    NoRun(RunId),
}

/// Take back what these runs led to. Objects that they created are removed only with `delete_created`, in the way
/// that the flow's `on_delete` says.
///
/// # Errors
/// If there is no such run, or if the state fails. What cannot be taken back is reported in the result.
pub async fn undo(
    context: &Context,
    runs: &[RunId],
    delete_created: bool,
    stop: &CancellationToken,
) -> Result<Undone, UndoError> {
    const PAGE: u32 = 1000;
    let runs: BTreeSet<RunId> = runs.iter().copied().collect();
    let mut records: BTreeSet<RecordId> = BTreeSet::new();
    for run in &runs {
        if context.store.run(*run).await?.is_none() {
            return Err(UndoError::NoRun(*run));
        }
        let mut after = 0;
        loop {
            let page = context.store.changes_of_run(*run, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            records.extend(page.iter().map(|change| change.record));
        }
    }
    let mut work = Work {
        context,
        delete_created,
        stop,
        done: Undone { runs: runs.iter().copied().collect(), ..Undone::default() },
    };
    let records: Vec<RecordId> = records.into_iter().collect();
    for records in records.chunks(SLICE) {
        let mut histories: BTreeMap<RecordId, Vec<_>> = BTreeMap::new();
        for change in context.store.history(records).await? {
            histories.entry(change.record).or_default().push(change);
        }
        let mut to_restore: BTreeMap<(String, String), Vec<ToRestore>> = BTreeMap::new();
        for (record, history) in histories {
            let Some(entity) = history.first().map(|change| change.entity.clone()) else { continue };
            for (target, at) in trace(&history, &runs) {
                to_restore.entry((target, entity.clone())).or_default().push(ToRestore { record, at });
            }
        }
        for ((target, entity), to_restore) in to_restore {
            if stop.is_cancelled() {
                return Ok(work.done);
            }
            work.at_target(&target, &entity, to_restore).await?;
        }
    }
    Ok(work.done)
}

/// A record, and the changes of it that are to be taken back.
struct ToRestore {
    record: RecordId,
    at: TargetHistory,
}

/// An object that is about to be written.
struct RestorePlan {
    key: String,
    /// Field to what the run had delivered, and what should be there again.
    fields: Fields,
    /// The sources' values of the fields; remembered as sent.
    source_fields: Fields,
}

struct Work<'a> {
    context: &'a Context,
    delete_created: bool,
    stop: &'a CancellationToken,
    done: Undone,
}

impl Work<'_> {
    fn left(&mut self, batch: &Batch<'_>, key: &str, field: Option<&str>, reason: impl Into<String>) {
        self.done.left.push(Left {
            target: batch.target.to_owned(),
            entity: batch.entity.to_owned(),
            key: key.to_owned(),
            field: field.map(str::to_owned),
            reason: reason.into(),
        });
    }

    async fn at_target(&mut self, target: &str, entity: &str, to_restore: Vec<ToRestore>) -> Result<(), StoreError> {
        let records: Vec<RecordId> = to_restore.iter().map(|one| one.record).collect();
        let keys = self.context.store.keys(&records).await?;
        let key = |record: &RecordId| keys.get(record).map(|(_, key)| key.clone()).unwrap_or_default();
        let system = self.context.systems.get(target).cloned();
        let (Some(system), Some(mapping)) = (system, self.context.mapping(target, entity).cloned()) else {
            self.all_left(target, entity, records.iter().map(key), "the configuration has no such target any more");
            return Ok(());
        };
        let unread = match self.look(system.as_ref(), entity, &records).await? {
            Ok(unread) => unread,
            Err(reason) => {
                self.all_left(target, entity, records.iter().map(key), &reason);
                return Ok(());
            }
        };
        let batch = Batch::new(self.context, system.as_ref(), target, entity);
        for (record, reason) in &unread {
            self.left(&batch, &key(record), None, format!("its row there cannot be read: {reason}"));
        }
        let records: Vec<RecordId> = records.into_iter().filter(|record| !unread.contains_key(record)).collect();
        let jobs: Vec<NewJob> = records
            .iter()
            .map(|record| NewJob {
                target: target.to_owned(),
                entity: entity.to_owned(),
                record: *record,
                priority: priority::of(entity, &Fields::new()),
                due: None,
            })
            .collect();
        let now = self.context.env.now();
        let jobs =
            self.context.store.claim_exclusively(&jobs, &self.context.owner, self.context.limits.lease, now).await?;
        let claimed: BTreeSet<RecordId> = jobs.iter().map(|job| job.record).collect();
        for record in records.iter().filter(|record| !claimed.contains(record)) {
            let reason = "a delivery of it is under way or waits (`vaiven jobs list`); settle that first";
            self.left(&batch, &key(record), None, reason);
        }
        let mut to_restore: BTreeMap<RecordId, TargetHistory> =
            to_restore.into_iter().map(|one| (one.record, one.at)).collect();
        let stop = self.stop;
        let claimed = jobs.clone();
        let work = self.carry_out(&batch, mapping.as_ref(), jobs, &mut to_restore);
        match delivery::alive(batch.context, &claimed, work, stop).await {
            Some(delivered) => self.deliver(&batch, delivered?).await,
            // The jobs find nothing to do, and the run can be undone again.
            None => batch.context.store.release(&delivery::fences(&claimed), batch.context.env.now()).await,
        }
    }

    fn all_left(&mut self, target: &str, entity: &str, keys: impl Iterator<Item = String>, reason: &str) {
        self.done.left.extend(keys.map(|key| Left {
            target: target.to_owned(),
            entity: entity.to_owned(),
            key,
            field: None,
            reason: reason.to_owned(),
        }));
    }

    /// Read the objects as they are now, so that an edit counts even if no pull has seen it. Return the records whose
    /// rows cannot be read, and why; the inner error says why nothing could be read.
    async fn look(
        &self,
        system: &dyn System,
        entity: &str,
        records: &[RecordId],
    ) -> Result<Result<BTreeMap<RecordId, String>, String>, StoreError> {
        let (context, target) = (self.context, system.name());
        let now = context.env.now();
        if let Some(until) = context.store.circuit(target).await?.until.filter(|until| *until > now) {
            return Ok(Err(format!("{target} is paused until {}", until.format("%H:%M:%S UTC"))));
        }
        if let Some(holder) = context.store.holder(&delivery::sole(target), now).await? {
            return Ok(Err(format!("a plan is being applied at {target} ({holder})")));
        }
        if !system.capabilities(entity).is_some_and(|capabilities| capabilities.read) {
            return Ok(Ok(BTreeMap::new()));
        }
        let externals = context.store.externals(target, records).await?;
        let ids: Vec<String> = externals.values().cloned().collect();
        if ids.is_empty() {
            return Ok(Ok(BTreeMap::new()));
        }
        let looked = pull::look(context, target, entity, &ids).await?;
        Ok(looked.map_err(|failure| format!("it could not be read: {}", outcome::describe(&failure))).map(|unread| {
            let of_record = |(record, id)| Some((record, unread.get(&id)?.clone()));
            externals.into_iter().filter_map(of_record).collect()
        }))
    }

    async fn carry_out(
        &mut self,
        batch: &Batch<'_>,
        mapping: &dyn Translate,
        jobs: Vec<Job>,
        to_restore: &mut BTreeMap<RecordId, TargetHistory>,
    ) -> Result<Vec<(Delivered, Option<RestorePlan>)>, StoreError> {
        let mut writes = Vec::new();
        let mut plans: BTreeMap<JobId, RestorePlan> = BTreeMap::new();
        let mut delivered = Vec::new();
        for view in prepare::views(batch, mapping, jobs).await? {
            let history = to_restore.remove(&view.job.record).unwrap_or_default();
            match self.choose(batch, mapping, &view, history) {
                Some((fields, plan)) => {
                    plans.insert(view.job.id, plan);
                    writes.push((view, fields));
                }
                None => delivered.push(Delivered::new(&view.job, Verdict::Done { noop: true })),
            }
        }
        let prepared = prepare::set(batch, mapping, writes).await?;
        delivered.extend(prepared.ended);
        batch.send(prepared.tasks, &mut delivered).await?;
        Ok(delivered.into_iter().map(|one| (plans.remove(&one.job), one)).map(|(plan, one)| (one, plan)).collect())
    }

    /// Return the fields to set at an object; empty to delete it. `None` if nothing can be taken back.
    fn choose(
        &mut self,
        batch: &Batch<'_>,
        mapping: &dyn Translate,
        view: &View,
        history: TargetHistory,
    ) -> Option<(Fields, RestorePlan)> {
        let key = view.key.as_str();
        if history.deleted {
            self.left(batch, key, None, format!("it was deleted at {}, and undo does not recreate it", batch.target));
            return None;
        }
        if let Some(why) = view.barred {
            self.left(batch, key, None, why);
            return None;
        }
        let Some(here) = &view.here else {
            self.left(batch, key, None, format!("{} no longer has it", batch.target));
            return None;
        };
        let desired = match &view.desired {
            Ok(Desired::Fields(fields)) => fields.clone(),
            Ok(Desired::Nothing | Desired::NotYet(_)) => Fields::new(),
            Ok(Desired::Gone) => {
                self.left(batch, key, None, "it is due to be deleted there");
                return None;
            }
            Err(failure) => {
                self.left(batch, key, None, outcome::describe(failure));
                return None;
            }
        };
        let present = Present { batch, mapping, view, here, desired: &desired };
        if history.made {
            return self.unmake(&present, &history);
        }
        let pending = Terms::of(batch.context, mapping, batch.entity).difference(&desired, Some(here));
        let mut plan = RestorePlan { key: key.to_owned(), fields: Fields::new(), source_fields: Fields::new() };
        let mut fields = Fields::new();
        for (field, moved) in history.fields {
            if let Some(reason) = present.kept(&pending, &field, &moved) {
                self.left(batch, key, Some(&field), reason);
                continue;
            }
            if let Some(said) = desired.get(&field) {
                plan.source_fields.insert(field.clone(), said.clone());
            }
            let there = here.fields.get(&field).cloned().unwrap_or(Value::Null);
            plan.fields.insert(field.clone(), Value::Array(vec![there, moved.before.clone()]));
            fields.insert(field, moved.before);
        }
        (!fields.is_empty()).then_some((fields, plan))
    }

    /// Remove an object that the run created.
    fn unmake(&mut self, present: &Present<'_>, history: &TargetHistory) -> Option<(Fields, RestorePlan)> {
        let Present { batch, mapping, view, here, desired } = *present;
        let key = view.key.as_str();
        let lives_on = |list: &String| format!("it lives on {list}, and what was there before is not known");
        if let Some(list) = &batch.capabilities.facet_of {
            self.left(batch, key, None, lives_on(list));
            return None;
        }
        if !self.delete_created {
            self.left(batch, key, None, "the run created it; --delete-created removes it as `on_delete` says");
            return None;
        }
        let touched = history.fields.iter().find(|(field, moved)| !holds(here, field, &moved.after));
        if let Some((field, moved)) = touched {
            self.left(batch, key, None, since(batch, moved, Some(field)));
            return None;
        }
        let policy =
            batch.context.routes.to(batch.target, batch.entity).next().map(|flow| flow.delete_policy(batch.entity));
        let mut plan = RestorePlan { key: key.to_owned(), fields: Fields::new(), source_fields: Fields::new() };
        match policy.unwrap_or_default() {
            DeletePolicy::Delete => Some((Fields::new(), plan)),
            DeletePolicy::Unpublish if mapping.writes().contains("active") => {
                let off = Value::Bool(false);
                if let Some(said) = desired.get("active") {
                    plan.source_fields.insert("active".to_owned(), said.clone());
                }
                let there = here.fields.get("active").cloned().unwrap_or(Value::Null);
                plan.fields.insert("active".to_owned(), Value::Array(vec![there, off.clone()]));
                Some((Fields::from_iter([("active".to_owned(), off)]), plan))
            }
            DeletePolicy::Unpublish => {
                self.left(batch, key, None, "`on_delete` says unpublish, and there is no field `active` to write");
                None
            }
            DeletePolicy::Ignore => {
                self.left(batch, key, None, "`on_delete` says ignore");
                None
            }
        }
    }

    /// End the jobs: an undo is never tried again by itself, since nothing of it is kept.
    async fn deliver(
        &mut self,
        batch: &Batch<'_>,
        delivered: Vec<(Delivered, Option<RestorePlan>)>,
    ) -> Result<(), StoreError> {
        let mut closed = Vec::with_capacity(delivered.len());
        let mut restored: BTreeMap<JobId, RestorePlan> = BTreeMap::new();
        for (mut one, plan) in delivered {
            let job = one.job;
            if let Some(attempt) = &mut one.attempt {
                "undo".clone_into(&mut attempt.op);
            }
            if let Some(change) = &mut one.change {
                change.op = ChangeOp::Undo;
            }
            let failed = match &one.verdict {
                Verdict::Done { .. } => None,
                Verdict::Retry { error, .. } | Verdict::Parked { error, .. } | Verdict::Dead { error, .. } => {
                    Some(error.clone())
                }
            };
            if let (Some(plan), Some(replica)) = (&plan, &mut one.replica) {
                for (field, said) in &plan.source_fields {
                    if replica.fields.get(field).unwrap_or(&Value::Null) == said {
                        replica.sent.remove(field);
                    } else {
                        replica.sent.insert(field.clone(), said.clone());
                    }
                }
            }
            one.verdict = Verdict::Done { noop: one.change.is_none() };
            match (plan, failed) {
                (Some(plan), Some(why)) => self.left(batch, &plan.key, None, why),
                (Some(plan), None) => {
                    restored.insert(job, plan);
                }
                (None, _) => {}
            }
            closed.push(one);
        }
        let summary = batch.context.store.deliver(batch.target, batch.entity, closed, batch.context.env.now()).await?;
        for job in summary.lost {
            if let Some(plan) = restored.remove(&job) {
                let reason =
                    "another worker took it over meanwhile; whether it was restored will be seen by the next pull";
                self.left(batch, &plan.key, None, reason);
            }
        }
        self.done.restored.extend(restored.into_values().map(|plan| Restored {
            target: batch.target.to_owned(),
            entity: batch.entity.to_owned(),
            key: plan.key,
            fields: plan.fields,
        }));
        batch.context.work.notify_waiters();
        Ok(())
    }
}

/// Whether the target still has what the delivery wrote, unchanged or as the target altered it.
fn holds(here: &Replica, field: &str, after: &Value) -> bool {
    here.fields.get(field).unwrap_or(&Value::Null) == after || here.sent.get(field) == Some(after)
}

fn since(batch: &Batch<'_>, moved: &FieldHistory, field: Option<&str>) -> String {
    let what = field.unwrap_or("it");
    match &moved.later {
        Some(later) => format!("{what} was changed later, by {later}"),
        None => format!("{what} is no longer what the run delivered: somebody changed it at {}", batch.target),
    }
}

/// An object that the target has, with what it should be there by now.
#[derive(Clone, Copy)]
struct Present<'a> {
    batch: &'a Batch<'a>,
    mapping: &'a dyn Translate,
    view: &'a View,
    here: &'a Replica,
    desired: &'a Fields,
}

impl Present<'_> {
    /// Return why a field stays as it is; `None` if it can be restored.
    fn kept(&self, pending: &BTreeSet<String>, field: &str, moved: &FieldHistory) -> Option<String> {
        let Self { batch, mapping, view, here, .. } = *self;
        if !holds(here, field, &moved.after) {
            return Some(since(batch, moved, None));
        }
        if !mapping.writes().contains(field) {
            return Some(format!("the mapping of {} cannot write it", batch.target));
        }
        if view.conflicts.contains(field) {
            return Some("it is in a conflict that waits for a decision".to_owned());
        }
        if batch.entity == reservations::STOCK && availability::is_figure(field) {
            let earlier = Fields::from_iter([(field.to_owned(), moved.before.clone())]);
            if availability::rises(&earlier, &here.fields) {
                return Some(
                    "stock is not raised to an earlier figure, which leaves out what was sold since".to_owned(),
                );
            }
        }
        pending.contains(field).then(|| "its source has changed since, and that change is on its way".to_owned())
    }
}
