//! A target's worker: claims jobs in batches, has them prepared, writes what differs, and has the results recorded.
//!
//! One file, because a batch is claimed, sent and evaluated under the same leases.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    failure::{Class, Failure},
    port::{Captures, Op, Outcome, Progress, Write},
    store::{Attempt, Claim, Delivered, Intent, Job, JobId, RecordId, ReplicaWrite, StoreError, Turn, Verdict},
    sync::{
        conflict::ends,
        context::{
            Context,
            circuit::{recovered, struck},
            journal, outcome,
        },
        delivery::{
            alive::{alive, fences},
            blame::Blame,
            goods::moved_by,
            prepare::{self, Around, Contest, contest},
            record,
            tally::Tally,
        },
        desired::{
            Batch, Task, differing,
            verdict::{self, Alone},
        },
        pull::{
            self,
            adoption::{adopted, is_adopted},
        },
        stock::{goods, reservations},
    },
    wait_reason::WaitReason,
};

/// When a write that was held back is tried again, unless somebody brings it forward: the process that held it back
/// may have been killed.
const HELD: Duration = Duration::from_secs(600);

/// One of this many claims of a worker takes what has been due longest, so that no priority starves behind another.
const SHARE: u32 = 4;

/// The lease that gives one process a target's deliveries alone.
pub(in crate::sync) fn sole(target: &str) -> String {
    format!("deliver:{target}")
}

/// Work for one target until `stop`, but skip the entities in `but`. At a stop, finish the current batch; if the
/// target does not answer, give the batch back. Wait out `patience` failures of the state store in a row, and
/// return the next one as an error.
pub(in crate::sync) async fn work(
    context: &Context,
    target: &str,
    but: &[String],
    patience: u32,
    stop: &CancellationToken,
) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    let mut troubles = 0;
    let mut claims: u32 = 0;
    while !stop.is_cancelled() {
        // Armed before looking, so that work which is opened in between is not missed.
        let notified = context.work.notified();
        let turn = if claims % SHARE == SHARE - 1 { Turn::Longest } else { Turn::Foremost };
        match batch(context, target, but, turn, stop).await {
            Ok(Some(ended)) => {
                tally.add(&ended);
                claims = claims.wrapping_add(1);
                troubles = 0;
                continue;
            }
            Ok(None) => troubles = 0,
            Err(error) if troubles < patience => {
                // Nothing is lost: the leases run out, and the jobs are claimed again.
                let said = journal::trouble(&context.store, &error);
                tracing::error!(system = target, "delivery interrupted by the state store: {said}");
                troubles += 1;
                context.env.sleep(outcome::backoff(0, &context.env)).await;
                continue;
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = notified => {}
            () = context.env.sleep(context.limits.poll) => {}
        }
    }
    Ok(tally)
}

/// Claim and carry out one batch, and return how its deliveries ended; `None` if there was nothing to do.
pub(in crate::sync) async fn batch(
    context: &Context,
    target: &str,
    but: &[String],
    turn: Turn,
    stop: &CancellationToken,
) -> Result<Option<Tally>, StoreError> {
    let now = context.env.now();
    if context.store.circuit(target).await?.until.is_some_and(|until| until > now) {
        return Ok(None);
    }
    if context.store.holder(&sole(target), now).await?.is_some_and(|holder| holder != context.owner) {
        return Ok(None);
    }
    let Some(system) = context.systems.get(target).cloned() else { return Ok(None) };
    let limits = context.limits(target);
    let (owner, lease) = (context.owner.as_str(), context.limits.lease);
    let jobs = context.store.claim(Claim { target, but, owner, limit: limits.batch, lease, turn }, now).await?;
    let Some(entity) = jobs.first().map(|job| job.entity.clone()) else { return Ok(None) };
    let batch = Batch::new(context, system.as_ref(), target, &entity);
    let work = batch.carry_out(jobs.clone(), stop);
    let Some(delivered) = alive(context, &jobs, work, stop).await else {
        // As after a crash: intents say what may have happened.
        let why = if stop.is_cancelled() { "no answer in time for the stop" } else { "its leases have run out" };
        tracing::warn!(system = target, entity, jobs = jobs.len(), "{why}; what was under way is given back");
        context.store.release(&fences(&jobs), context.env.now()).await?;
        return Ok(Some(Tally::default()));
    };
    let delivered = delivered?;
    let tally = Tally::of(&delivered);
    let unseen = unseen(&batch, &delivered);
    let ends = journal::ends(&delivered);
    let unlisted = unlisted(&delivered);
    let summary = context.store.deliver(target, &entity, delivered, context.env.now()).await?;
    if !summary.lost.is_empty() {
        tracing::warn!(system = target, entity, jobs = ?summary.lost, "leases were lost meanwhile; another worker has these jobs");
    }
    context.journal.warn(&context.store, &jobs, ends).await;
    // Another worker may have read it since, and found no job that waited.
    for (system, entity) in &unlisted {
        if is_adopted(context, system, entity).await? {
            adopted(context, system, entity).await?;
        }
    }
    if batch.into_follow_up().see_to(context, system.as_ref()).await? || summary.woken > 0 {
        context.work.notify_waiters();
    }
    if !unseen.is_empty() {
        pull::look_back(context, target, &entity, &unseen).await?;
    }
    reservations::after_delivery(context, target, &entity).await?;
    Ok(Some(tally))
}

/// Systems and entities for whose listing some of these jobs wait.
fn unlisted(delivered: &[Delivered]) -> BTreeSet<(String, String)> {
    let listing = |one: &Delivered| {
        let Verdict::Parked { cause: WaitReason::Unlisted { system, entity }, .. } = &one.verdict else { return None };
        Some((system.clone(), entity.clone()))
    };
    delivered.iter().filter_map(listing).collect()
}

/// Return the objects to be read again at once: those that show more than they were sent, and those whose shared
/// fields were written if the answer did not show what was stored. What is there now is what the target made of the
/// value; what is there later is somebody's edit.
fn unseen(batch: &Batch<'_>, delivered: &[Delivered]) -> Vec<String> {
    if !batch.capabilities.read {
        return Vec::new();
    }
    let shared = batch.context.routes.shared(batch.entity);
    let is_unseen = |replica: &ReplicaWrite| {
        let mut sent = replica.sent.iter().filter(|(field, _)| shared.is_some_and(|shared| shared.contains(*field)));
        sent.any(|(field, value)| replica.fields.get(field).unwrap_or(&Value::Null) == value)
    };
    let unseen = |one: &Delivered| {
        let replica = one.replica.as_ref().filter(|replica| !replica.gone)?;
        (one.unsent_changes || one.attempt.is_some() && is_unseen(replica)).then(|| replica.id.clone())
    };
    delivered.iter().filter_map(unseen).collect()
}

impl Batch<'_> {
    async fn carry_out(&self, jobs: Vec<Job>, stop: &CancellationToken) -> Result<Vec<Delivered>, StoreError> {
        // In boxes: together they would need more stack than a thread has in a build for tests.
        let prepared = Box::pin(prepare::prepare(self, jobs, stop)).await?;
        let (mut delivered, kept) = (prepared.ended, prepared.kept);
        let moved = moved_by(self, &prepared.tasks);
        // Called before the write, in case it is never known how it ended, and after it, in case a figure was
        // written meanwhile.
        goods::doubt(self.context, self.target, &moved).await?;
        Box::pin(self.send(prepared.tasks, &mut delivered)).await?;
        if !moved.is_empty() {
            goods::doubt(self.context, self.target, &moved).await?;
            self.follow_up().recounts = true;
        }
        self.keep(&kept, &delivered).await?;
        Ok(delivered)
    }

    /// Send the writes that may be sent, and add how they ended to `delivered`.
    pub(in crate::sync) async fn send(
        &self,
        tasks: Vec<Task>,
        delivered: &mut Vec<Delivered>,
    ) -> Result<(), StoreError> {
        let tasks = self.admit(tasks, delivered).await;
        let tasks = self.intend(tasks).await?;
        if tasks.is_empty() {
            return Ok(());
        }
        let started = self.context.env.now();
        let progress = Saver { batch: self, fences: &tasks, saved: Mutex::new(BTreeMap::new()) };
        let mut outcomes = Vec::with_capacity(tasks.len());
        for writes in portions(&tasks, self.capabilities.batch) {
            outcomes.extend(self.system.write(self.entity, writes, &progress).await);
        }
        let saved = progress.saved.into_inner().unwrap_or_else(PoisonError::into_inner);
        let millis = u64::try_from((self.context.env.now() - started).num_milliseconds()).unwrap_or(0);
        delivered.extend(self.evaluate(tasks, outcomes, saved, millis).await?);
        Ok(())
    }

    /// Put writes that may not be sent now back into the queue, out of reach of this pass. Nothing was stored or
    /// sent for them.
    async fn admit(&self, tasks: Vec<Task>, delivered: &mut Vec<Delivered>) -> Vec<Task> {
        let writes: Vec<_> = tasks.iter().map(|task| &task.write).collect();
        let held = self.system.admit(self.entity, &writes).await;
        let mut admitted = Vec::with_capacity(tasks.len());
        for (task, held) in tasks.into_iter().zip(held) {
            match held {
                None => admitted.push(task),
                Some(why) => {
                    let verdict = Verdict::Retry {
                        at: outcome::later(self.context.env.now(), HELD),
                        burn: false,
                        intent: task.job.intent.clone(),
                        class: "held".to_owned(),
                        error: why,
                    };
                    delivered.push(Delivered::new(&task.job, verdict));
                }
            }
        }
        admitted
    }

    /// Store the reservations that the available stock was reduced by. A figure that a target refuses is not
    /// offered to it again for that reason.
    async fn keep(
        &self,
        kept: &BTreeMap<JobId, (RecordId, Decimal)>,
        delivered: &[Delivered],
    ) -> Result<(), StoreError> {
        let ended = |one: &&Delivered| matches!(one.verdict, Verdict::Done { .. } | Verdict::Dead { .. });
        let done = delivered.iter().filter(ended);
        let kept: Vec<(RecordId, Decimal)> = done.filter_map(|one| kept.get(&one.job).copied()).collect();
        if kept.is_empty() { Ok(()) } else { self.context.store.reserve(self.target, &kept).await }
    }

    /// Store the intents before anything is sent: for every create and every update that creates children, so that
    /// a lost answer leads to a lookup and never to a second create; and for every update of shared fields, so that
    /// what the target shows of it does not count as somebody's edit.
    async fn intend(&self, tasks: Vec<Task>) -> Result<BTreeMap<JobId, Task>, StoreError> {
        let now = self.context.env.now();
        let shared = self.context.routes.shared(self.entity).filter(|_| differing::flows_back(self));
        let mut tasks: BTreeMap<JobId, Task> = tasks.into_iter().map(|task| (task.job.id, task)).collect();
        let mut intents = Vec::new();
        let creates = tasks.values().any(|task| task.write.op == Op::Create);
        let newest = if creates { self.context.store.newest().await? } else { RecordId(0) };
        for (job, task) in &mut tasks {
            if let Some(intent) = record::intent(task, shared, newest, now) {
                intents.push((*job, task.job.fence, intent.clone()));
                task.intent = Some(intent);
            }
        }
        if !intents.is_empty() {
            let held: BTreeSet<JobId> = self.context.store.intend(&intents, now).await?.into_iter().collect();
            for (lost, _, _) in intents.iter().filter(|(job, _, _)| !held.contains(job)) {
                tasks.remove(lost);
            }
        }
        Ok(tasks)
    }

    async fn evaluate(
        &self,
        mut tasks: BTreeMap<JobId, Task>,
        outcomes: Vec<Outcome>,
        mut saved: BTreeMap<JobId, Intent>,
        millis: u64,
    ) -> Result<Vec<Delivered>, StoreError> {
        let mut delivered = Vec::with_capacity(tasks.len());
        let mut written = Vec::new();
        let went = outcomes.iter().any(|outcome| outcome.result.is_ok());
        let failed: Vec<(&Job, &Failure)> = outcomes
            .iter()
            .filter_map(|outcome| Some((&tasks.get(&outcome.job)?.job, outcome.result.as_ref().err()?)))
            .collect();
        let blame = Blame::of(self.context, self.target, went, &failed).await?;
        let mut trouble: Option<Failure> = None;
        let mut around = Around::default();
        for outcome in outcomes {
            let Some(mut task) = tasks.remove(&outcome.job) else { continue };
            if let Some(intent) = saved.remove(&task.job.id) {
                task.intent = Some(intent);
            }
            let attempt = Attempt {
                at: self.context.env.now(),
                op: task.op_name().to_owned(),
                outcome: "done".to_owned(),
                message: None,
                status: None,
                requests: outcome.requests,
                millis,
            };
            match outcome.result {
                Ok(answer) => {
                    if self.reopens(&task) {
                        let reopened = (self.entity.to_owned(), task.job.record);
                        self.follow_up().reopened.push(reopened);
                    }
                    written.push(record::WrittenTask { task, answer, attempt });
                }
                Err(failure) => {
                    let attempt = Attempt {
                        outcome: failure.class.as_str().to_owned(),
                        message: Some(outcome::describe(&failure)),
                        status: failure.status,
                        ..attempt
                    };
                    let explained = Box::pin(prepare::explained(self, &task, &failure)).await?;
                    let ended = match Box::pin(self.contested(&task, &failure, &mut around)).await? {
                        Some(ended) => Delivered { attempt: ended.attempt.clone().or(Some(attempt)), ..ended },
                        None => {
                            let (failure, alone) =
                                (explained.as_ref().unwrap_or(&failure), blame.alone(task.job.id, &failure));
                            self.failed(task, failure, alone, attempt).await?
                        }
                    };
                    delivered.push(ended);
                    if blame.is_of_the_system(outcome.job, &failure) {
                        trouble.get_or_insert(failure);
                    }
                }
            }
        }
        // If a driver forgets a write, the outcome is unknown.
        for (_, task) in tasks {
            let failure = Failure::new(Class::Unknown, "the driver gave no outcome for this write");
            let attempt = Attempt {
                at: self.context.env.now(),
                op: task.op_name().to_owned(),
                outcome: failure.class.as_str().to_owned(),
                message: Some(failure.message.clone()),
                status: None,
                requests: 0,
                millis,
            };
            delivered.push(self.failed(task, &failure, Alone::No, attempt).await?);
        }
        match trouble {
            Some(failure) => struck(self.context, self.target, &failure).await?,
            None if !written.is_empty() => recovered(self.context, self.target).await?,
            None => {}
        }
        delivered.extend(record::record_result(self, written).await?);
        Ok(delivered)
    }

    fn reopens(&self, task: &Task) -> bool {
        let states = self.context.entities.get(self.entity).and_then(|spec| spec.states.as_ref());
        let before = task.replica.as_ref().filter(|_| task.write.op == Op::Update);
        states.zip(before).is_some_and(|(states, before)| ends::reopens(states, &before.fields, &task.desired))
    }

    /// Handle a write that was refused for a value that another object of ours has there: it waits for that object.
    /// If each waits for the other, one of them first gives up its value.
    async fn contested(
        &self,
        task: &Task,
        failure: &Failure,
        around: &mut Around,
    ) -> Result<Option<Delivered>, StoreError> {
        if failure.class != Class::Rejected || task.write.op == Op::Delete || task.aside {
            return Ok(None);
        }
        let intent = keep_intent(task, failure.class, self.context.env.now());
        let is_over = intent.is_none();
        let retry = |at: DateTime<Utc>, burn: bool, error: String| Verdict::Retry {
            at,
            burn,
            intent: intent.clone(),
            class: Class::Rejected.as_str().to_owned(),
            error,
        };
        let now = |error: String| retry(self.context.env.now(), false, error);
        match contest(self, task, failure, around).await? {
            None => Ok(None),
            Some(Contest::Gone) => {
                let at = outcome::later(self.context.env.now(), outcome::backoff(task.job.attempts, &self.context.env));
                let error = format!(
                    "{}; no {} of ours is known to hold what it asks for, so it is tried again",
                    outcome::describe(failure),
                    self.entity
                );
                Ok(Some(Delivered { is_over, ..Delivered::new(&task.job, retry(at, true, error)) }))
            }
            Some(Contest::Wait(wait)) if wait.free => Ok(Some(Delivered::new(&task.job, now(wait.why)))),
            Some(Contest::Wait(wait)) => {
                let (cause, error) = (wait.cause.clone(), wait.why.clone());
                self.follow_up().waits.push(wait);
                Ok(Some(Delivered { is_over, ..Delivered::new(&task.job, Verdict::Parked { cause, error }) }))
            }
            Some(Contest::Aside(step)) => {
                let mut ended = Vec::new();
                self.send_again(*step, &mut ended).await?;
                let Some(mut ended) = ended.pop() else { return Ok(None) };
                if matches!(ended.verdict, Verdict::Done { .. }) {
                    around.aside.insert(task.job.record);
                    ended.verdict = now(format!(
                        "{failure}; the value that another object is to have was given up, the desired one is sent next"
                    ));
                    return Ok(Some(ended));
                }
                // The object could not be without its value: what was refused first is what has to be reported.
                Ok(if matches!(ended.verdict, Verdict::Dead { .. }) { None } else { Some(ended) })
            }
        }
    }

    /// Send one more write while the outcomes of others are being evaluated.
    fn send_again<'a>(
        &'a self,
        task: Task,
        delivered: &'a mut Vec<Delivered>,
    ) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>> {
        Box::pin(self.send(vec![task], delivered))
    }

    async fn failed(
        &self,
        task: Task,
        failure: &Failure,
        alone: Alone,
        attempt: Attempt,
    ) -> Result<Delivered, StoreError> {
        let tried = verdict::Tried {
            alone,
            attempts: task.job.attempts.saturating_add(1),
            intent: keep_intent(&task, failure.class, self.context.env.now()),
            answer_window: self.answer_window,
        };
        let (verdict, replica) = match failure.class {
            Class::Missing => record::missing(self, &task, failure, &tried),
            Class::Conflict => (record::conflict(self, &task, failure, &tried).await?, None),
            _ => (verdict::verdict(failure, &tried, &self.context.env), None),
        };
        tracing::debug!(system = self.target, entity = self.entity, job = task.job.id.0, class = %failure.class, "write failed");
        let is_over = tried.intent.is_none();
        let (attempt, ended) = (Some(attempt), Delivered::new(&task.job, verdict));
        Ok(Delivered { replica, before: task.replica, attempt, is_over, ..ended })
    }
}

/// Split writes into calls. Writes whose last attempt got no answer go last, in smaller and smaller groups: a write
/// that makes a whole `batch` fail cannot take the others with it every time. If each write is a request of its
/// own, there is nothing to split.
fn portions(tasks: &BTreeMap<JobId, Task>, batch: usize) -> Vec<Vec<Write>> {
    let mut by_size: BTreeMap<usize, Vec<Write>> = BTreeMap::new();
    for task in tasks.values() {
        let lost = task.job.error_class.as_deref() == Some(Class::Unknown.as_str());
        let times = if lost && batch > 1 { task.job.attempts.min(16) } else { 0 };
        let size = if times == 0 { usize::MAX } else { (batch >> (2 * times)).max(1) };
        by_size.entry(size).or_default().push(task.write.clone());
    }
    let chunks = |(size, writes): (usize, Vec<Write>)| writes.chunks(size).map(<[_]>::to_vec).collect::<Vec<_>>();
    by_size.into_iter().rev().flat_map(chunks).collect()
}

/// After a failure that certainly had no effect, nothing has to be looked up, unless earlier steps were done.
fn keep_intent(task: &Task, class: Class, now: DateTime<Utc>) -> Option<Intent> {
    let begun = task.intent.as_ref().is_some_and(|intent| !intent.done.is_empty());
    match class {
        Class::Unknown if task.write.op == Op::Update => task.intent.clone().or_else(|| Some(Intent::update(now))),
        Class::Unknown | Class::Conflict => task.intent.clone(),
        _ if begun => task.intent.clone(),
        _ => task.job.intent.clone(),
    }
}

struct Saver<'a> {
    batch: &'a Batch<'a>,
    fences: &'a BTreeMap<JobId, Task>,
    /// As stored last.
    saved: Mutex<BTreeMap<JobId, Intent>>,
}

#[async_trait]
impl Progress for Saver<'_> {
    async fn save(&self, job: JobId, done: &Captures) -> Result<(), Failure> {
        let Some(task) = self.fences.get(&job) else {
            return Err(Failure::new(Class::Fatal, "progress of a write that was not asked for"));
        };
        // The next step is sent from now on.
        let now = self.batch.context.env.now();
        let begun = task.intent.clone().unwrap_or_else(|| Intent::new(task.write.op, now));
        let intent = Intent { op: task.write.op, at: now, done: done.clone(), ..begun };
        let held =
            self.batch.context.store.intend(&[(job, task.job.fence, intent.clone())], now).await.map_err(|error| {
                Failure::new(Class::Unknown, "a finished step could not be stored").with_source(error)
            })?;
        if held.is_empty() {
            return Err(Failure::new(Class::Unknown, "the lease was lost; another worker goes on"));
        }
        if let Ok(mut all) = self.saved.lock() {
            all.insert(job, intent);
        }
        Ok(())
    }
}
