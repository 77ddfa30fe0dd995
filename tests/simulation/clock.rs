//! A simulated clock. It stands still while anything can run, then jumps to the next time that somebody waits for. The
//! time that the engine sees may differ from the true time, and may be set forward and back while the engine runs.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use vaiven::internals::env::Clock;

#[derive(Debug)]
struct State {
    truth: DateTime<Utc>,
    /// How far the engine's clock is ahead of the true time.
    off: Duration,
    next: u64,
    sleepers: BTreeMap<(DateTime<Utc>, u64), Waker>,
}

impl State {
    fn shown(&self) -> DateTime<Utc> {
        self.truth + self.off
    }

    fn wake(&mut self) {
        while let Some(entry) = self.sleepers.first_entry() {
            if entry.key().0 > self.truth + self.off {
                break;
            }
            entry.remove().wake();
        }
    }
}

/// The clock of one simulation. Clones share one time.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<Mutex<State>>);

impl SimClock {
    /// A clock that starts at `now`.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(State { truth: now, off: Duration::zero(), next: 0, sleepers: BTreeMap::new() })))
    }

    /// The true time.
    pub fn truth(&self) -> DateTime<Utc> {
        self.0.lock().unwrap().truth
    }

    /// Jumps to the earliest time that is waited for, and wakes those who wait for it.
    pub fn jump(&self) {
        let mut state = self.0.lock().unwrap();
        let Some((&(at, _), _)) = state.sleepers.first_key_value() else { return };
        let ahead = at - state.shown();
        state.truth += ahead.max(Duration::zero());
        state.wake();
    }

    /// Lets time pass while nothing runs, as when the machine sleeps.
    pub fn pass(&self, time: Duration) {
        let mut state = self.0.lock().unwrap();
        state.truth += time;
        state.wake();
    }

    /// Sets the engine's clock forward, or back if `by` is negative.
    pub fn set(&self, by: Duration) {
        let mut state = self.0.lock().unwrap();
        state.off += by;
        state.wake();
    }
}

struct Sleep {
    clock: SimClock,
    until: DateTime<Utc>,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut state = clock.0.lock().unwrap();
        if state.shown() >= self.until {
            return Poll::Ready(());
        }
        let number = self.number.unwrap_or(state.next);
        state.next = state.next.max(number + 1);
        state.sleepers.insert((self.until, number), context.waker().clone());
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.clock.0.lock().unwrap().sleepers.remove(&(self.until, number));
        }
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.lock().unwrap().shown()
    }

    fn steady(&self) -> Option<Duration> {
        Some(self.truth() - DateTime::UNIX_EPOCH)
    }

    async fn sleep_until(&self, until: DateTime<Utc>) {
        Sleep { clock: self.clone(), until, number: None }.await;
    }
}
