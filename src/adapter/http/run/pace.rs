//! Limits rate and concurrency: one pace per configured system, on the injected clock.

use std::{sync::Mutex, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{adapter::http::compile::Rate, env::Env};

/// Limits the requests of one system.
#[derive(Debug)]
pub struct Pace {
    env: Env,
    slots: Semaphore,
    bucket: Option<Mutex<Bucket>>,
    /// The pace that the adapter declares.
    pub declared: crate::port::Pace,
}

impl Pace {
    #[must_use]
    pub fn new(env: Env, concurrency: usize, rate: Option<Rate>) -> Self {
        Self {
            env,
            slots: Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            bucket: rate.map(|rate| Mutex::new(Bucket::new(rate))),
            declared: crate::port::Pace { concurrency, interval: rate.map(|rate| rate.per / rate.count.get()) },
        }
    }

    /// Wait until a request may be sent. It counts as under way as long as the permit lives.
    pub async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so there is always a permit.
        let permit = self.slots.acquire().await.ok();
        if let Some(bucket) = &self.bucket {
            let wait = bucket.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(self.env.now());
            if !wait.is_zero() {
                self.env.sleep(wait).await;
            }
        }
        permit
    }
}

/// Generic cell rate algorithm: stores only the time at which the next request would be due at an even rate.
#[derive(Debug)]
struct Bucket {
    interval: TimeDelta,
    tolerance: TimeDelta,
    due: Option<DateTime<Utc>>,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        let interval = TimeDelta::from_std(rate.per / rate.count.get()).unwrap_or(TimeDelta::MAX);
        let ahead = i32::try_from(rate.burst.get() - 1).unwrap_or(i32::MAX);
        Self { interval, tolerance: interval.checked_mul(ahead).unwrap_or(TimeDelta::MAX), due: None }
    }

    /// Take the next place in the queue. Return how long to wait for it.
    fn take(&mut self, now: DateTime<Utc>) -> Duration {
        let due = self.due.map_or(now, |due| due.max(now));
        self.due = Some(due.checked_add_signed(self.interval).unwrap_or(DateTime::<Utc>::MAX_UTC));
        (due - now - self.tolerance).to_std().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn a_burst_leaves_at_once_and_then_the_pace_is_even() {
        let one = |n| NonZeroU32::new(n).unwrap();
        let mut bucket = Bucket::new(Rate { count: one(5), per: Duration::from_secs(1), burst: one(3) });
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let waits: Vec<u128> = (0..6).map(|_| bucket.take(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 200, 400, 600]);
        let later = now + TimeDelta::seconds(10);
        assert_eq!(bucket.take(later).as_millis(), 0);
    }
}
