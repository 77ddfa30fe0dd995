//! What the daemon takes from the world besides systems and store: time and randomness.
//! Both are passed in, so that a test decides them; a lint bans the ambient ones.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Instant,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Tells the time and waits for it. No decision about data may depend on it: it paces work and dates reports.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> DateTime<Utc>;
    /// What has passed since some moment of its own, whoever sets the clock meanwhile; nothing of a clock that nobody sets.
    fn steady(&self) -> Option<TimeDelta> {
        None
    }
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

    /// Now, to measure what passes from here on.
    #[must_use]
    pub fn moment(&self) -> Moment {
        let at = self.clock.now();
        let steady = self.clock.steady().unwrap_or(at - DateTime::UNIX_EPOCH);
        Moment { at, steady: steady.num_microseconds().unwrap_or(i64::MAX) }
    }

    /// Waits `duration` on this clock.
    pub async fn sleep(&self, duration: std::time::Duration) {
        let wait = chrono::Duration::from_std(duration).unwrap_or(chrono::Duration::MAX);
        let until = self.now().checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.clock.sleep_until(until).await;
    }
}

/// A moment of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// As the clock shows it.
    pub at: DateTime<Utc>,
    /// Microseconds by [`Clock::steady`].
    steady: i64,
}

impl Moment {
    /// How long it is at most until a later one: the clock may be set back meanwhile, and the steady one stands still while the
    /// machine sleeps.
    #[must_use]
    pub fn until(self, later: Self) -> TimeDelta {
        let steady = TimeDelta::microseconds(later.steady.saturating_sub(self.steady));
        (later.at - self.at).max(steady).max(TimeDelta::zero())
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

    fn steady(&self) -> Option<TimeDelta> {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        TimeDelta::from_std(START.elapsed()).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_long_is_not_short_because_a_clock_was_set_back_or_stood_still() {
        let moment = |at: i64, steady: i64| Moment {
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(at),
            steady: TimeDelta::seconds(steady).num_microseconds().unwrap(),
        };
        let took = |at, steady| moment(1000, 10).until(moment(at, steady)).num_seconds();
        assert_eq!((took(1005, 15), took(847, 15), took(4600, 15), took(900, 10)), (5, 5, 3600, 0));
    }
}
