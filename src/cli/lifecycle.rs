//! Signals: the first SIGTERM or SIGINT stops gracefully, the second at once; SIGHUP reads the configuration again.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use crate::env::Env;

/// Maximum time for a graceful stop. Then work under way is dropped; its stored intents let it continue later.
const GRACE: Duration = Duration::from_secs(10);

/// What signals ask of the process.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// Start nothing new; finish work under way or give it back.
    pub soft: CancellationToken,
    /// Stop at once.
    pub hard: CancellationToken,
    /// Read the configuration again.
    pub reload: Arc<Notify>,
}

impl Lifecycle {
    /// Listen to signals from now on.
    ///
    /// # Errors
    /// If the process may not set signal handlers.
    pub fn listen(env: &Env) -> std::io::Result<Self> {
        let life =
            Self { soft: CancellationToken::new(), hard: CancellationToken::new(), reload: Arc::new(Notify::new()) };
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let (signalled, env) = (life.clone(), env.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = term.recv() => signalled.stop("SIGTERM", &env),
                    Some(()) = int.recv() => signalled.stop("SIGINT", &env),
                    Some(()) = hangup.recv() => signalled.reload.notify_one(),
                    else => return,
                }
            }
        });
        Ok(life)
    }

    fn stop(&self, signal: &str, env: &Env) {
        if self.soft.is_cancelled() {
            tracing::warn!(signal, "stopping at once");
            self.hard.cancel();
            return;
        }
        tracing::info!(signal, "stopping; what is under way is finished or given back (again to stop at once)");
        self.soft.cancel();
        let (hard, env) = (self.hard.clone(), env.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = hard.cancelled() => {}
                () = env.sleep(GRACE) => {
                    tracing::warn!("still at work after {} s; stopping at once", GRACE.as_secs());
                    hard.cancel();
                }
            }
        });
    }

    /// Run until the work ends. Return `None` if a hard stop drops it.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.hard.cancelled() => None,
            done = work => Some(done),
        }
    }
}
