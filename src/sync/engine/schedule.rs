//! Flows that are due: if there are several daemons, one of them carries a firing out.

use chrono::DateTime;
use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::SKEW;
use crate::{
    store::{RunKind, StoreError},
    sync::{
        context::leases::leading,
        routing::{Flow, Schedule},
    },
};

impl Engine {
    /// Pull one flow whenever it is due. If firings were missed while the daemon was down, make up for them once.
    /// If there are several daemons, one has the turn. A firing is over when its pulls are: if that daemon is
    /// killed in between, another one starts the firing again.
    pub(super) async fn keep_flow(&self, flow: &Flow, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let lease = format!("flow:{}", flow.name);
        while !shutdown.is_cancelled() {
            let now = self.context.env.now();
            let Some((next, _)) = self.firing(flow, now).await? else { return Ok(()) };
            if next > now {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    () = self.context.env.clock.sleep_until(next) => {}
                }
            } else if leading(&self.context, &lease, self.take_turn(flow, shutdown)).await?.is_none() {
                self.pause(self.context.limits.poll, shutdown).await;
            }
        }
        Ok(())
    }

    pub(super) async fn take_turn(&self, flow: &Flow, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let now = self.context.env.now();
        // The daemon that had the turn just before may have done it.
        let Some((_, kind)) = self.firing(flow, now).await?.filter(|(at, _)| *at <= now) else { return Ok(()) };
        self.pull_flow(flow, None, (kind, "schedule"), shutdown).await?;
        if !shutdown.is_cancelled() {
            if kind == RunKind::Full {
                self.context.store.set_fired(&flow.name, kind, now).await?;
            }
            self.context.store.set_fired(&flow.name, RunKind::Delta, now).await?;
        }
        Ok(())
    }

    /// Return when a flow fires next as seen at `now`, and as what: a full pull counts as a delta as well. `None`
    /// if the flow has no schedule.
    pub(super) async fn firing(
        &self,
        flow: &Flow,
        now: DateTime<Utc>,
    ) -> Result<Option<(DateTime<Utc>, RunKind)>, StoreError> {
        let due = |table: Option<&Schedule>, last: Option<DateTime<Utc>>| match (table, last) {
            (None, _) => None,
            (Some(_), None) => Some(now),
            // The clock was set back: waiting for the time that it showed before may take a day.
            (Some(_), Some(last)) if last > now + SKEW => Some(now),
            (Some(table), Some(last)) => table.next(last),
        };
        let full = due(flow.full.as_ref(), self.context.store.fired(&flow.name, RunKind::Full).await?);
        let delta = due(flow.every.as_ref(), self.context.store.fired(&flow.name, RunKind::Delta).await?);
        let kind = if full.is_some_and(|at| at <= now) { RunKind::Full } else { RunKind::Delta };
        Ok(full.into_iter().chain(delta).min().map(|next| (next, kind)))
    }
}
