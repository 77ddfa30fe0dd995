//! Does what a plan says, and nothing else: the engine works on the state as always, and a guard before each system
//! (`PlanGuard`) lets only the agreed writes through. See `docs/plan.md`.

mod ledger;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::ledger::{ApplyLedger, Fate};
use crate::{
    failure::Failure,
    model::Entities,
    port::{Capabilities, Checked, Outcome, Pace, Page, Probe, Progress, PullRequest, SourceRow, System, Write},
    store::{JobFilter, JobId, JobState, Lease, NewJob, SharedStore, StoreError},
    sync::{
        context::{Context, Requests, RunReport, leases::holding, requests::Counts},
        delivery::sole,
        engine::{Engine, Reach},
        preview::plan::{self, AgreedPlan},
    },
};

pub use self::ledger::UnappliedWrite;

/// What happened to a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Applied {
    pub planned: u64,
    pub done: u64,
    /// By system: how many requests were sent for it.
    pub requests: Counts,
    /// Writes that came up and were not agreed on; they stay queued.
    pub refused: Vec<UnappliedWrite>,
    /// Planned writes that were not done.
    pub failed: Vec<UnappliedWrite>,
    /// Planned writes that nothing asks for any more.
    pub unneeded: Vec<UnappliedWrite>,
    pub runs: Vec<RunReport>,
}

impl Applied {
    /// Whether all of it was done or no longer needed, and nothing else came up.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.refused.is_empty() && self.failed.is_empty() && self.runs.iter().all(RunReport::is_green)
    }
}

/// A plan that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the plan is about flow {0}, which the configuration does not have")]
    NoFlow(String),
    #[error("the plan writes {entity} to {target}, which no flow of the configuration does")]
    NoTarget { target: String, entity: String },
    #[error("{target} is being written to by another plan at the moment ({holder})")]
    Busy { target: String, holder: String },
    #[error("another process has taken over the deliveries; what was not done yet stays queued")]
    Lost,
}

/// Apply what was agreed on.
///
/// # Errors
/// If the plan does not fit the configuration, or if the state fails. Everything else is reported in the result.
pub async fn apply(mut context: Context, agreed: AgreedPlan, stop: &CancellationToken) -> Result<Applied, ApplyError> {
    fits(&context, &agreed)?;
    let AgreedPlan { reach, writes } = agreed;
    let ledger = Arc::new(ApplyLedger::new(writes));
    for system in context.systems.values_mut() {
        *system = Arc::new(PlanGuard {
            inner: Arc::clone(system),
            store: Arc::clone(&context.store),
            entities: Arc::clone(&context.entities),
            ledger: Arc::clone(&ledger),
        });
    }
    context.limits.agreed = reach.pairs(&context.routes);
    let engine = Engine::new(context);
    let targets: BTreeSet<String> =
        reach.pairs(&engine.context().routes).into_iter().map(|(target, _)| target).collect();
    let mut leases = Vec::new();
    let result = match hold(engine.context(), &targets, &mut leases).await {
        Ok(()) => alone(engine.context(), &leases, work(&engine, &reach, &ledger, stop)).await,
        Err(error) => Err(error),
    };
    for lease in &leases {
        engine.context().store.drop_lease(lease).await?;
    }
    engine.context().work.notify_waiters();
    result
}

fn fits(context: &Context, agreed: &AgreedPlan) -> Result<(), ApplyError> {
    if let Some(flow) = &agreed.reach.flow
        && context.routes.flow(flow).is_none()
    {
        return Err(ApplyError::NoFlow(flow.clone()));
    }
    let pairs = agreed.reach.pairs(&context.routes);
    for (target, entity, _) in agreed.writes.keys() {
        if !pairs.contains(&(target.clone(), entity.clone())) {
            return Err(ApplyError::NoTarget { target: target.clone(), entity: entity.clone() });
        }
    }
    Ok(())
}

/// Take the leases of the targets' deliveries: other processes do not know the plan, and must not deliver what is
/// pulled now.
async fn hold(context: &Context, targets: &BTreeSet<String>, leases: &mut Vec<Lease>) -> Result<(), ApplyError> {
    for target in targets {
        let now = context.env.now();
        match context.store.acquire(&sole(target), &context.owner, context.limits.long(), now).await? {
            Some(lease) => leases.push(lease),
            None => {
                let holder = context.store.holder(&sole(target), now).await?.unwrap_or_default();
                return Err(ApplyError::Busy { target: target.clone(), holder });
            }
        }
    }
    Ok(())
}

/// Do `work` while the leases are renewed.
pub(in crate::sync) async fn alone<T>(
    context: &Context,
    leases: &[Lease],
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, ApplyError> {
    match holding(context, leases, work).await {
        Some(done) => done.map_err(Into::into),
        None => Err(ApplyError::Lost),
    }
}

async fn work(
    engine: &Engine,
    reach: &Reach,
    ledger: &ApplyLedger,
    stop: &CancellationToken,
) -> Result<Applied, StoreError> {
    let asked = Requests::of(&engine.context().systems);
    let looked = engine.look(reach, "apply", stop).await?;
    // What could not be looked at may have changed: nothing is written there.
    let share = engine.share(reach, &looked.blind.keys().cloned().collect()).await?;
    let ((), _) = engine.delivering(&share, stop, async { Ok(()) }).await?;
    bring_forward(engine.context(), ledger).await?;
    let mut applied = Applied {
        planned: 0,
        done: 0,
        requests: asked.since(&engine.context().systems),
        refused: ledger.refused().into_values().collect(),
        failed: Vec::new(),
        unneeded: Vec::new(),
        runs: looked.runs,
    };
    applied.refused.sort();
    close(engine.context(), reach, ledger, &looked.blind, &mut applied).await?;
    Ok(applied)
}

/// Make the jobs due again that were held back, for deliveries without a plan.
async fn bring_forward(context: &Context, ledger: &ApplyLedger) -> Result<(), StoreError> {
    let ids: Vec<JobId> = ledger.refused().into_keys().collect();
    if ids.is_empty() {
        return Ok(());
    }
    let jobs = context.store.jobs(&JobFilter { ids, states: vec![JobState::Queued], ..JobFilter::default() }).await?;
    let jobs: Vec<NewJob> = jobs
        .into_iter()
        .map(|job| NewJob {
            target: job.target,
            entity: job.entity,
            record: job.record,
            priority: job.priority,
            due: None,
        })
        .collect();
    context.store.enqueue(&jobs, context.env.now()).await.map(drop)
}

/// Report what happened to each planned write: if its job is still open, it was not done.
async fn close(
    context: &Context,
    reach: &Reach,
    ledger: &ApplyLedger,
    blind: &BTreeMap<(String, String), String>,
    applied: &mut Applied,
) -> Result<(), StoreError> {
    let open = open_jobs(context, reach).await?;
    let refused: BTreeSet<(String, String, String)> =
        applied.refused.iter().map(|write| (write.target.clone(), write.entity.clone(), write.key.clone())).collect();
    ledger.each(|place, op, fate| {
        applied.planned += 1;
        let unapplied = |reason: String| UnappliedWrite {
            target: place.0.clone(),
            entity: place.1.clone(),
            key: place.2.clone(),
            op: ledger::word(op).to_owned(),
            reason,
        };
        match (fate, open.get(place)) {
            (Fate::Done, _) => applied.done += 1,
            // Its answer was lost, and the lookup found it done.
            (Fate::Sent | Fate::Failed(_), None) => applied.done += 1,
            (Fate::Failed(why), Some(_)) => applied.failed.push(unapplied(why.clone())),
            // It came up as another write than planned, which is reported as refused.
            (Fate::Open | Fate::Sent, Some(_)) if refused.contains(place) => {}
            (Fate::Open | Fate::Sent, Some(why)) => {
                let unseen = blind.get(&(place.0.clone(), place.1.clone()));
                let unseen = unseen.map(|why| format!("{} could not be looked at before: {why}", place.0));
                applied.failed.push(unapplied(unseen.unwrap_or_else(|| why.clone())));
            }
            (Fate::Open, None) => {
                applied.unneeded.push(unapplied("the target already has it, or it is no longer desired".to_owned()));
            }
        }
    });
    applied.failed.sort();
    applied.unneeded.sort();
    Ok(())
}

/// Return target, entity and key of what is left in the queue, with the reason.
async fn open_jobs(context: &Context, reach: &Reach) -> Result<HashMap<(String, String, String), String>, StoreError> {
    let mut open = HashMap::new();
    let pairs = reach.pairs(&context.routes);
    let there: BTreeMap<(String, String), u64> = context
        .store
        .backlog()
        .await?
        .into_iter()
        .map(|line| ((line.target, line.entity), line.count))
        .filter(|(pair, _)| pairs.contains(pair))
        .collect();
    for (target, entity) in there.into_keys() {
        let filter = JobFilter {
            target: Some(target.clone()),
            entity: Some(entity.clone()),
            states: vec![JobState::Queued, JobState::Running, JobState::Parked, JobState::Dead],
            ..JobFilter::default()
        };
        let jobs = context.store.jobs(&filter).await?;
        for jobs in jobs.chunks(1000) {
            let called = context.store.called(&jobs.iter().map(|job| job.record).collect::<Vec<_>>()).await?;
            for job in jobs {
                let Some(key) = called.get(&job.record).map(|called| &called.key) else { continue };
                let why = Some(job.why()).filter(|why| !why.is_empty());
                let why = why.unwrap_or_else(|| "it is still queued".to_owned());
                open.insert((target.clone(), entity.clone(), key.clone()), why);
            }
        }
    }
    Ok(open)
}

/// A system that only agreed writes are sent to.
struct PlanGuard {
    inner: Arc<dyn System>,
    store: SharedStore,
    entities: Arc<Entities>,
    ledger: Arc<ApplyLedger>,
}

#[async_trait]
impl System for PlanGuard {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self, entity: &str) -> Option<&Capabilities> {
        self.inner.capabilities(entity)
    }

    fn version(&self, entity: &str) -> u64 {
        self.inner.version(entity)
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure> {
        self.inner.pull(request).await
    }

    async fn acknowledge(&self, entity: &str, receipt: &Value) -> Result<(), Failure> {
        self.inner.acknowledge(entity, receipt).await
    }

    async fn read(&self, entity: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        self.inner.read(entity, ids).await
    }

    async fn find(&self, entity: &str, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        self.inner.find(entity, probe).await
    }

    async fn admit(&self, entity: &str, writes: &[&Write]) -> Vec<Option<String>> {
        let spec = self.entities.get(entity).map(AsRef::as_ref);
        let values = match plan::values(&self.store, spec, writes).await {
            Ok(values) => values,
            Err(error) => return vec![Some(error.to_string()); writes.len()],
        };
        let held = self.inner.admit(entity, writes).await;
        let held = held.into_iter().zip(writes).zip(values).map(|((held, write), values)| {
            held.or_else(|| self.ledger.admit(self.name(), entity, write, values.proof(write.op)).err())
        });
        held.collect()
    }

    async fn write(&self, entity: &str, writes: Vec<Write>, progress: &dyn Progress) -> Vec<Outcome> {
        let outcomes = self.inner.write(entity, writes, progress).await;
        for outcome in &outcomes {
            let failed = outcome.result.as_ref().err().map(crate::sync::context::outcome::describe);
            self.ledger.ended(outcome.job, failed);
        }
        outcomes
    }

    fn pace(&self) -> Option<Pace> {
        self.inner.pace()
    }

    fn requests(&self) -> u64 {
        self.inner.requests()
    }

    async fn check(&self) -> Vec<Checked> {
        self.inner.check().await
    }
}
