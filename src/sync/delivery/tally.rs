//! How deliveries ended, counted.

use serde::Serialize;

use crate::{
    store::{Delivered, Verdict},
    wait_reason::WaitReason,
};

/// How the deliveries of one pass ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Written to the target.
    pub written: u64,
    /// Already as desired: nothing was sent.
    pub noop: u64,
    pub retried: u64,
    pub parked: u64,
    pub dead: u64,
    /// Requests that were sent for all of it.
    pub requests: u64,
}

impl Tally {
    pub(in crate::sync) fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.noop += other.noop;
        self.retried += other.retried;
        self.parked += other.parked;
        self.dead += other.dead;
        self.requests += other.requests;
    }

    pub(super) fn of(delivered: &[Delivered]) -> Self {
        let mut tally = Self::default();
        for one in delivered {
            match one.verdict {
                Verdict::Done { noop: true } => tally.noop += 1,
                Verdict::Done { noop: false } => tally.written += 1,
                Verdict::Retry { .. } => tally.retried += 1,
                // It waits only for the end of the run that opened it.
                Verdict::Parked { cause: WaitReason::Run(_), .. } => tally.retried += 1,
                Verdict::Parked { .. } => tally.parked += 1,
                Verdict::Dead { .. } => tally.dead += 1,
            }
            tally.requests += one.attempt.as_ref().map_or(0, |attempt| u64::from(attempt.requests));
        }
        tally
    }
}
