//! The daemon: runs one engine after another until it must stop. A reloaded configuration starts the next engine.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::{Ending, app, args::Global, lifecycle::Lifecycle, notify::Notifier, output, run::context};
use crate::{
    config::{Config, OpenedConfig},
    env::Env,
    store::SharedStore,
    sync::{Engine, Health, pauses, trouble},
};

/// What stays the same when the configuration changes.
pub struct Daemon<'a> {
    pub store: SharedStore,
    pub global: &'a Global,
    pub env: &'a Env,
    pub life: &'a Lifecycle,
    pub notifier: Arc<Notifier>,
}

impl Daemon<'_> {
    /// Work until the daemon must stop.
    ///
    /// # Errors
    /// If it was stopped at once, or the store fails.
    pub async fn run(&self, config: Config, plan: OpenedConfig) -> anyhow::Result<Ending> {
        let (store, env, life, notifier) = (&self.store, self.env, self.life, &self.notifier);
        let (mut config, mut plan) = (config, Some(plan));
        let mut is_notified = false;
        while let Some(current) = plan.take() {
            pauses::notice(store.as_ref(), &current.setup_fingerprints, env.now()).await?;
            let engine = Engine::new(context(current, Arc::clone(store), env));
            let flows = output::count(engine.context().routes.flows().len() as u64, "flow");
            let watching = keep_watchdog(Arc::clone(notifier), Arc::clone(store), engine.health(), env.clone());
            let _watchdog = AbortOnDropHandle::new(tokio::spawn(watching));
            tracing::info!(flows, config = %app::shown_path(self.global), "running");
            notifier.ready(&flows);
            let round = life.soft.child_token();
            let working = engine.run(&round);
            tokio::pin!(working);
            loop {
                tokio::select! {
                    biased;
                    () = life.hard.cancelled() => {
                        anyhow::bail!("stopped at once; the next start goes on where this one was cut off");
                    }
                    () = &mut working => break,
                    () = life.reload.notified() => {
                        if let Some((read, next)) = self.reload(&config) {
                            (config, plan) = (read, Some(next));
                            round.cancel();
                        }
                    }
                    () = life.soft.cancelled(), if !is_notified => {
                        is_notified = true;
                        notifier.stopping();
                    }
                }
            }
        }
        tracing::info!("stopped");
        Ok(Ending::Fine)
    }

    /// The reloaded configuration, if it can be used.
    fn reload(&self, before: &Config) -> Option<(Config, OpenedConfig)> {
        self.notifier.reloading();
        match app::config(self.global).and_then(|config| Ok((app::plan(&config, self.env)?, config))) {
            Ok((plan, config)) => {
                if app::store_moved(before, &config) {
                    tracing::warn!("[store] takes effect at the next start");
                }
                Some((config, plan))
            }
            Err(error) => {
                tracing::error!("the configuration is not taken over: {error:#}");
                self.notifier.ready("running with the configuration before");
                None
            }
        }
    }
}

/// Notify systemd that the daemon is alive as long as it can respond: its runtime runs, its store answers, and no
/// part of its work is stuck.
async fn keep_watchdog(notifier: Arc<Notifier>, store: SharedStore, health: Arc<Health>, env: Env) {
    let Some(every) = notifier.watchdog else { return };
    loop {
        match (store.counter().await, health.stuck(env.now())) {
            (Ok(_), None) => notifier.alive(),
            (Ok(_), Some((part, since))) => {
                tracing::error!(
                    part, %since, "a part of the work is stuck; no sign of life is given, so systemd begins anew"
                );
            }
            (Err(error), _) => tracing::error!("the state store does not answer: {}", trouble(&store, &error)),
        }
        env.sleep(every).await;
    }
}
