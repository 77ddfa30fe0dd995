//! Commands that the command line leaves for the daemon.

use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::{
    store::StoreError,
    sync::{context::leases::leading, routing::Scope},
};

impl Engine {
    /// Carry out what the command line asks for. If there are several daemons, one at a time does it.
    pub(super) async fn keep_commands(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        while !shutdown.is_cancelled() {
            if self.context.store.next_command().await?.is_none()
                || leading(&self.context, "orders", self.carry_out_commands(shutdown)).await?.is_none()
            {
                self.pause(self.context.limits.poll * 2, shutdown).await;
            }
        }
        Ok(())
    }

    pub(super) async fn carry_out_commands(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        while let Some(order) = self.context.store.next_command().await? {
            match order.scope.parse::<Scope>() {
                Ok(scope) => {
                    for run in self.resync(&scope, shutdown).await? {
                        tracing::info!(scope = %scope, system = run.system, entity = run.entity, error = run.error, "resync");
                    }
                }
                Err(error) => tracing::warn!(%error, "order left out"),
            }
            if shutdown.is_cancelled() {
                // It may have been cut short: the next start does it again.
                break;
            }
            self.context.store.close_command(order.id).await?;
        }
        Ok(())
    }
}
