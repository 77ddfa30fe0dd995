//! What a failure means: for the job, and for the system as a whole.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{env::Env, failure::Failure};

/// How many attempts count before a job becomes dead.
pub(in crate::sync) const MAX_ATTEMPTS: u32 = 12;
const FIRST: Duration = Duration::from_secs(5);
pub(in crate::sync) const LONGEST: Duration = Duration::from_secs(3600);

/// Delay before try number `failures + 1`: it doubles from five seconds to an hour. It is spread by up to a half,
/// so that many jobs do not come back at once.
pub(in crate::sync) fn backoff(failures: u32, env: &Env) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST);
    // Half of the delay, and a random share of the other half.
    let half = u64::try_from(full.as_millis() / 2).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(half + env.entropy.next_u64() % half)
}

/// A time later than `now`, however long the wait.
pub(in crate::sync) fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    chrono::Duration::from_std(wait)
        .ok()
        .and_then(|wait| now.checked_add_signed(wait))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The failure and its causes in one line.
pub(in crate::sync) fn describe(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut source = std::error::Error::source(failure);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
