//! Flows that are due: of several daemons one carries a firing out.

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
    /// Pulls one flow whenever it is due; a firing missed while the daemon was down is made up for once. Of several daemons
    /// one has the turn. A firing is over when its pulls are: should that one be killed in it, another begins it anew.
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
        // The daemon that had the turn just before may have seen to it.
        let Some((_, kind)) = self.firing(flow, now).await?.filter(|(at, _)| *at <= now) else { return Ok(()) };
        self.pull_flow(flow, None, (kind, "schedule"), shutdown).await?;
        if !shutdown.is_cancelled() {
            self.context.store.set_fired(&flow.name, kind, now).await?;
        }
        Ok(())
    }

    /// When a flow fires next as seen at `now`, and what it is then: a full pull is a delta as well. Nothing where it has no
    /// schedule.
    pub(super) async fn firing(
        &self,
        flow: &Flow,
        now: DateTime<Utc>,
    ) -> Result<Option<(DateTime<Utc>, RunKind)>, StoreError> {
        let due = |table: Option<&Schedule>, last: Option<DateTime<Utc>>| match (table, last) {
            (None, _) => None,
            (Some(_), None) => Some(now),
            // The clock was set back: to wait for what it showed then may take a day.
            (Some(_), Some(last)) if last > now + SKEW => Some(now),
            (Some(table), Some(last)) => table.next(last),
        };
        let fired = self.context.store.fired(&flow.name).await?;
        let (full, delta) = (due(flow.full.as_ref(), fired.full), due(flow.every.as_ref(), fired.delta));
        let kind = if full.is_some_and(|at| at <= now) { RunKind::Full } else { RunKind::Delta };
        Ok(full.into_iter().chain(delta).min().map(|next| (next, kind)))
    }
}
