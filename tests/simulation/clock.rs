//! A clock that stands still until everybody waits for it, then jumps to the next time somebody waits for.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use vaiven::env::Clock;

#[derive(Debug)]
struct State {
    now: DateTime<Utc>,
    next: u64,
    sleepers: BTreeMap<(DateTime<Utc>, u64), Waker>,
}

impl State {
    fn wake(&mut self) {
        while let Some(entry) = self.sleepers.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            entry.remove().wake();
        }
    }
}

#[derive(Clone, Debug)]
pub struct SimClock(Arc<Mutex<State>>);

impl SimClock {
    pub fn new(now: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(State { now, next: 0, sleepers: BTreeMap::new() })))
    }

    /// Goes on to the earliest awaited time and wakes who waits for it.
    pub fn jump(&self) {
        let mut state = self.0.lock().unwrap();
        let Some((&(at, _), _)) = state.sleepers.first_key_value() else { return };
        state.now = state.now.max(at);
        state.wake();
    }

    /// So much time passes with nobody awake: the machine slept.
    pub fn pass(&self, time: Duration) {
        let mut state = self.0.lock().unwrap();
        state.now += time;
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
        if state.now >= self.until {
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
        self.0.lock().unwrap().now
    }

    async fn sleep_until(&self, until: DateTime<Utc>) {
        Sleep { clock: self.clone(), until, number: None }.await;
    }
}
