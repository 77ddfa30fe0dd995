//! The daemon: schedules, commands, maintenance, one pass, what joins later, how things are; and which of several
//! daemons does what.
//!
//! Called by `preview`, and from outside by `opened`, `demo` and `cli`; calls every room before it but `desired`.

mod affairs;
mod commands;
mod health;
mod joining;
mod maintenance;
mod once;
mod pass;
mod reading;
mod retry;
mod schedule;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::{
    store::StoreError,
    sync::{
        brakes,
        context::{Context, journal, outcome},
        delivery,
    },
};

pub(in crate::sync) use self::pass::Share;
pub use self::{
    affairs::{Affairs, needs_somebody},
    health::Health,
    once::PassSummary,
    pass::Reach,
};

/// By how much the clocks of several machines may differ though none was set back.
const SKEW: chrono::Duration = chrono::Duration::minutes(1);
/// Longest wait while the state store fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The engine.
pub struct Engine {
    context: Arc<Context>,
    health: Arc<Health>,
}

impl Engine {
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context: Arc::new(context), health: Arc::default() }
    }

    /// Return how the parts of [`Engine::run`] are doing.
    #[must_use]
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Work until `shutdown`: schedules, commands from the command line, deliveries, housekeeping. If the state
    /// store fails, wait until it works again.
    pub async fn run(&self, shutdown: &CancellationToken) {
        self.persevere("start", shutdown, || self.begin(shutdown)).await;
        let share = Share::everything(&self.context.routes);
        let workers = share.targets().flat_map(|(target, but)| {
            // `persevere` waits, reports and counts.
            let work = move || async move { delivery::work(&self.context, target, but, 0, shutdown).await.map(drop) };
            (0..self.context.limits(target).workers.max(1)).map(move |_| self.persevere(target, shutdown, work))
        });
        let flows = self.context.routes.flows().iter();
        let schedule = flows.map(|flow| self.persevere(&flow.name, shutdown, move || self.keep_flow(flow, shutdown)));
        let others = async {
            // If a large run of it was cut off, this takes a while, and deliveries do not wait for it. It comes before
            // the evaluation of runs that were cut off: only half of that run's jobs would be there.
            let first = || async move { Box::pin(joining::cover(&self.context, None, shutdown)).await.map(drop) };
            self.persevere("what has joined", shutdown, first).await;
            self.persevere("rulings", shutdown, || brakes::evaluate_all_pending(&self.context)).await;
            tokio::join!(
                join_all(schedule),
                self.persevere("what has joined", shutdown, || self.keep_covering(shutdown)),
                self.persevere("orders", shutdown, || self.keep_commands(shutdown)),
                self.persevere("rulings", shutdown, || self.keep_evaluating(shutdown)),
                self.persevere("housekeeping", shutdown, || self.keep_purging(shutdown)),
                self.persevere("freshness", shutdown, || self.keep_reporting(shutdown)),
            );
        };
        tokio::join!(join_all(workers), others);
    }

    /// Take up what an earlier daemon has left: leases, jobs dated by another clock, causes that are resolved.
    async fn begin(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        self.context.store.recover(self.context.env.now()).await?;
        self.mind_the_clock().await?;
        self.retry_resolved(shutdown).await
    }

    /// Keep a part of the daemon's work going until `shutdown`, also after the state store failed (a full disk, a
    /// database that restarts). What was not made durable is done again.
    async fn persevere<F>(&self, what: &str, shutdown: &CancellationToken, part: impl Fn() -> F)
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            let began = self.context.env.now();
            self.health.begun(what, began);
            let Err(error) = part().await else { return };
            self.health.failed(what, self.context.env.now());
            failures = if self.context.env.now() - began > health::CALM { 0 } else { failures };
            let wait = outcome::backoff(failures, &self.context.env).min(PATIENCE);
            let said = journal::trouble(&self.context.store, &error);
            tracing::error!(what, "interrupted by the state store; it goes on in {} s: {said}", wait.as_secs());
            failures = failures.saturating_add(1);
            self.pause(wait, shutdown).await;
        }
    }

    async fn pause(&self, wait: Duration, shutdown: &CancellationToken) {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = self.context.env.sleep(wait) => {}
        }
    }
}
