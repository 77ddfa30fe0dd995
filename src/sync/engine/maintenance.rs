//! What is done from time to time: the clock, run approvals, reports on freshness, what has joined, deletion of
//! what is old.

use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::{SKEW, retry::raises_no_event};
use crate::{
    store::{Circuit, StoreError},
    sync::{
        brakes,
        engine::{Affairs, joining},
        routing::Flow,
    },
};

/// No system is paused for longer than this, so a longer pause was noted by another clock.
const LONGEST_PAUSE: chrono::Duration = chrono::Duration::hours(24);

/// How often the log says that work goes on.
const HEARTBEAT: Duration = Duration::from_secs(3600);

impl Engine {
    /// Offer known records to what has joined since the daemon last ran. If a target cannot be read, try it again.
    pub(super) async fn keep_covering(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        const AGAIN: Duration = Duration::from_secs(60);
        while !shutdown.is_cancelled() {
            let failed = Box::pin(joining::cover(&self.context, None, shutdown)).await?;
            if failed.is_empty() {
                return Ok(());
            }
            for run in failed {
                tracing::warn!(
                    system = run.system,
                    entity = run.entity,
                    error = run.error,
                    "what has joined waits for it"
                );
            }
            self.pause(AGAIN, shutdown).await;
        }
        Ok(())
    }

    /// If the clock was set back, make sure that nothing waits for the time that it showed before.
    pub(super) async fn mind_the_clock(&self) -> Result<(), StoreError> {
        let (context, now) = (&self.context, self.context.env.now());
        let hurried = context.store.hurry(now + SKEW, now).await?;
        if hurried > 0 {
            tracing::warn!(
                jobs = hurried,
                "the clock was set back: jobs that waited for what it showed then are due now"
            );
            context.work.notify_waiters();
        }
        for system in context.systems.keys() {
            let circuit = context.store.circuit(system).await?;
            if circuit.until.is_some_and(|until| until > now + LONGEST_PAUSE) {
                context.store.set_circuit(system, &Circuit { until: None, ..circuit }).await?;
            }
        }
        Ok(())
    }

    /// Evaluate runs that were cut off and that jobs wait for, whether by an earlier process of this daemon or by
    /// another daemon.
    pub(super) async fn keep_evaluating(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        while !shutdown.is_cancelled() {
            self.pause(Duration::from_secs(60), shutdown).await;
            self.mind_the_clock().await?;
            brakes::evaluate_all_pending(&self.context).await?;
        }
        Ok(())
    }

    /// Report every hour how things are, so that a log without other entries still says something.
    pub(super) async fn keep_reporting(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        while !shutdown.is_cancelled() {
            self.pause(HEARTBEAT, shutdown).await;
            if shutdown.is_cancelled() || !tracing::enabled!(tracing::Level::INFO) {
                continue;
            }
            let flows: Vec<&Flow> = self.context.routes.flows().iter().collect();
            let affairs = Affairs::of(&self.context.store, &flows, false, self.context.env.now()).await?;
            tracing::info!("{}", affairs.headline());
        }
        Ok(())
    }

    pub(super) async fn keep_purging(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        const SLICE: u32 = 1000;
        while !shutdown.is_cancelled() {
            let retention = chrono::Duration::from_std(self.context.limits.retention).unwrap_or(chrono::Duration::MAX);
            let before = self.context.env.now().checked_sub_signed(retention).unwrap_or(DateTime::<Utc>::MIN_UTC);
            while self.context.store.purge(before, SLICE).await? > 0 && !shutdown.is_cancelled() {
                self.pause(Duration::from_millis(200), shutdown).await;
            }
            self.pause(Duration::from_secs(3600), shutdown).await;
            self.read_what_is_waited_for(shutdown).await?;
            self.look_anew(raises_no_event).await?;
        }
        Ok(())
    }
}
