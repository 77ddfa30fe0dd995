//! One pass: pulls everything once, and delivers until nothing is left that could be done now or soon.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::{
    store::{JobState, RunId, RunKind, StoreError},
    sync::{
        brakes,
        context::RunReport,
        delivery::{self, Tally},
        engine::{Share, joining},
        routing::Scope,
    },
    wait_reason::WaitReason,
};

/// What one pass of the engine did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PassSummary {
    pub runs: Vec<RunReport>,
    pub delivered: Tally,
    /// Open jobs that are left: state to count.
    pub left: BTreeMap<String, u64>,
    /// How many jobs wait for something that happens every day: orders that are not accepted yet.
    pub awaited: u64,
    /// How many rows did not become objects.
    pub rejected: u64,
    /// Runs that tripped a brake and wait for a person.
    pub held: Vec<RunId>,
    /// How many fields targets hold otherwise than they were sent, and nobody accepted.
    pub differences: u64,
}

impl PassSummary {
    /// Whether every run is green and nothing waits for a person.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.left.is_empty() && self.rejected == 0 && self.differences == 0 && self.runs.iter().all(RunReport::is_green)
    }
}

impl Engine {
    /// Pull everything that flows bring (or only `scope`) once, deliver until nothing is left that could be done
    /// now or soon, and report what happened.
    pub async fn once(
        &self,
        scope: Option<&Scope>,
        kind: RunKind,
        shutdown: &CancellationToken,
    ) -> Result<PassSummary, StoreError> {
        self.context.store.recover(self.context.env.now()).await?;
        self.retry_resolved(shutdown).await?;
        let mut summary = PassSummary::default();
        let share = Share::everything(&self.context.routes);
        let pulls = async {
            let mut runs = Box::pin(joining::cover(&self.context, None, shutdown)).await?;
            brakes::evaluate_all_pending(&self.context).await?;
            runs.extend(match scope {
                Some(scope) => self.resync(scope, shutdown).await?,
                None => self.pull_all(kind, "once", shutdown).await?,
            });
            Ok(runs)
        };
        (summary.runs, summary.delivered) = self.delivering(&share, shutdown, pulls).await?;
        for backlog in self.context.store.backlog().await? {
            if backlog.cause.as_ref().is_some_and(WaitReason::is_daily) {
                summary.awaited += backlog.count;
                continue;
            }
            *summary.left.entry(backlog.state.as_str().to_owned()).or_default() += backlog.count;
        }
        summary.held = self.context.store.waiting_approvals().await?.into_iter().map(|approval| approval.run).collect();
        summary.differences = self.context.store.difference_count().await?;
        summary.rejected = self.context.store.rejection_counts().await?.iter().map(|(_, _, open, _)| open).sum();
        Ok(summary)
    }

    /// Run one worker group per target. If one of them gives up because of the state store, stop all: the others
    /// would wait for the store as well.
    pub(in crate::sync) async fn workers(&self, share: &Share, stop: &CancellationToken) -> Result<Tally, StoreError> {
        const PATIENCE: u32 = 10;
        let groups = share.targets().flat_map(|(target, but)| {
            let workers = self.context.limits(target).workers.max(1);
            (0..workers).map(move |_| async move {
                let worked = delivery::work(&self.context, target, but, PATIENCE, stop).await;
                if worked.is_err() {
                    stop.cancel();
                }
                worked
            })
        });
        let mut total = Tally::default();
        for tally in join_all(groups).await {
            total.add(&tally?);
        }
        Ok(total)
    }

    /// Return when no job of this share is running and no queued one comes due soon.
    pub(super) async fn until_idle(&self, share: &Share, cancel: &CancellationToken) -> Result<(), StoreError> {
        while !cancel.is_cancelled() && self.is_busy(share).await? {
            self.context.env.sleep(self.context.limits.poll / 5).await;
        }
        Ok(())
    }

    /// Deliver while `before` runs, and after it until nothing is left that could be done now or soon.
    pub(in crate::sync) async fn delivering<T>(
        &self,
        share: &Share,
        stop: &CancellationToken,
        before: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(T, Tally), StoreError> {
        let (done, mut delivered) = self.deliver_beside(share, stop, before).await?;
        // The end of a worker's last batch may have opened jobs.
        while !stop.is_cancelled() && self.is_busy(share).await? {
            delivered.add(&self.deliver_beside(share, stop, async { Ok(()) }).await?.1);
        }
        Ok((done, delivered))
    }

    pub(super) async fn deliver_beside<T>(
        &self,
        share: &Share,
        stop: &CancellationToken,
        before: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(T, Tally), StoreError> {
        let idle = stop.child_token();
        let work = async {
            let done = before.await;
            let ended = self.until_idle(share, &idle).await;
            idle.cancel();
            ended.and(done)
        };
        let (done, delivered) = tokio::join!(work, self.workers(share, &idle));
        Ok((done?, delivered?))
    }

    /// Whether anything is being delivered, or is due within the next minutes. A target that is down is not waited
    /// for: what is to be delivered there stays in the queue.
    pub(super) async fn is_busy(&self, share: &Share) -> Result<bool, StoreError> {
        const REACH: chrono::Duration = chrono::Duration::minutes(3);
        const PATIENCE: u32 = 4;
        let now = self.context.env.now();
        let horizon = now + REACH;
        for (target, _) in share.targets() {
            let soonest = self.context.store.soonest(target).await?;
            if !soonest.iter().any(|(entity, due)| *due <= horizon && share.covers(target, entity)) {
                continue;
            }
            let circuit = self.context.store.circuit(target).await?;
            let until = circuit.until.filter(|until| *until > now);
            if until.is_none_or(|until| until <= horizon && circuit.failures < PATIENCE) {
                return Ok(true);
            }
        }
        // What is left is due much later, or is running under a long lease.
        let backlog = self.context.store.backlog().await?;
        let mut covered = backlog.iter().filter(|line| share.covers(&line.target, &line.entity));
        Ok(covered.any(|line| line.state == JobState::Running))
    }
}
