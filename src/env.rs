//! What the daemon takes from the world besides systems and store: time and randomness.
//! Both are passed in, so that a test decides them; a lint bans the ambient ones.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

/// Tells the time and waits for it. No decision about data may depend on it: it paces work and dates reports.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> DateTime<Utc>;
    /// Returns at `until` or, when that has passed, at once.
    async fn sleep_until(&self, until: DateTime<Utc>);
}

/// Source of random numbers (jitter, nonces, lease owners).
pub trait Entropy: Send + Sync + fmt::Debug {
    fn next_u64(&self) -> u64;
}

/// Clock and entropy as one thing to hand down.
#[derive(Clone, Debug)]
pub struct Env {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

impl Env {
    /// The real world.
    #[must_use]
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }

    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Waits `duration` on this clock.
    pub async fn sleep(&self, duration: std::time::Duration) {
        let wait = chrono::Duration::from_std(duration).unwrap_or(chrono::Duration::MAX);
        let until = self.now().checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.clock.sleep_until(until).await;
    }
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock;

#[async_trait]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock and waits on it")]
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    async fn sleep_until(&self, until: DateTime<Utc>) {
        if let Ok(wait) = (until - Utc::now()).to_std() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// The operating system's random numbers.
#[derive(Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws ambient randomness")]
    fn next_u64(&self) -> u64 {
        rand::random()
    }
}
