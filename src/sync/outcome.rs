//! What a failure means: for the job, and for the system as a whole.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::alone::Alone;
use crate::{
    env::Env,
    failure::{Cause, Class, Failure},
    store::{Intent, Standing, Verdict},
};

/// Attempts that count before a job is given up as dead.
pub(super) const MAX_ATTEMPTS: u32 = 12;
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);
/// How long a system that refuses our credentials is left alone.
const AUTH_PAUSE: Duration = Duration::from_secs(300);

/// Delay before try number `failures + 1`: doubling from five seconds to an hour, spread by up to a half so that many jobs
/// do not come back at once.
pub(super) fn backoff(failures: u32, env: &Env) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST);
    // Half of the delay, and a drawn share of the other half.
    let half = u64::try_from(full.as_millis() / 2).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(half + env.entropy.next_u64() % half)
}

/// A time later than `now`, however long the wait.
pub(super) fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    chrono::Duration::from_std(wait)
        .ok()
        .and_then(|wait| now.checked_add_signed(wait))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// What the engine knows of the job whose write failed.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) attempts: u32,
    /// Kept over the failure: what was about to be done.
    pub(super) intent: Option<Intent>,
    /// How long after a lost answer the target may still carry the request out.
    pub(super) settle: Duration,
    /// What trouble says of the record.
    pub(super) alone: Alone,
}

/// How long a system asks to be left alone. "At once" is no answer of one that has just refused.
fn told(failure: &Failure) -> Option<Duration> {
    failure.retry_after.filter(|wait| !wait.is_zero())
}

/// The job's verdict. `Missing` and `Conflict` change replicas as well and are decided by the caller before.
pub(super) fn verdict(failure: &Failure, tried: &Tried, env: &Env) -> Verdict {
    let now = env.now();
    let class = failure.class.as_str().to_owned();
    let error = describe(failure);
    let retry = |wait: Duration, burn: bool, intent: Option<Intent>| Verdict::Retry {
        at: later(now, wait),
        burn,
        intent,
        class: class.clone(),
        error: error.clone(),
    };
    let given_up = || Verdict::Dead {
        class: class.clone(),
        error: format!("given up after {} attempts: {error}", tried.attempts),
    };
    let parked = |cause: Cause| Verdict::Parked { cause: cause.0, error: error.clone() };
    match (failure.class, tried.alone) {
        (Class::Auth, Alone::Again) => Verdict::Dead {
            class,
            error: format!("refused again, though other writes went through meanwhile: {error}"),
        },
        (Class::Transient | Class::Auth | Class::Throttled, Alone::First | Alone::Again) => {
            if tried.attempts >= MAX_ATTEMPTS {
                return given_up();
            }
            let wait = backoff(tried.attempts, env).max(told(failure).unwrap_or_default());
            retry(wait, true, tried.intent.clone())
        }
        // What it lists or is answered is at fault, not the system.
        (Class::Transient, _) if failure.cause.is_some() && tried.attempts >= MAX_ATTEMPTS => given_up(),
        (Class::Transient, _) if failure.cause.is_some() => {
            retry(backoff(tried.attempts, env), true, tried.intent.clone())
        }
        // Until then it is due after all others: one of them may go through, and tell that the system lets us in.
        (Class::Auth, Alone::No) => retry(AUTH_PAUSE + backoff(0, env), false, tried.intent.clone()),
        // The system's trouble, not the record's: no attempt is burnt, and nothing was done, so no intent stays
        // unless earlier steps have already been.
        (Class::Transient | Class::Throttled, _) => {
            let wait = told(failure).unwrap_or_else(|| backoff(0, env));
            retry(wait, false, tried.intent.clone())
        }
        (Class::Fatal, _) => parked(failure.cause.clone().unwrap_or_else(Cause::setup)),
        (Class::Unmapped, _) => {
            let unmapped = || Cause(format!("unmapped:{}", failure.field.as_deref().unwrap_or("?")));
            parked(failure.cause.clone().unwrap_or_else(unmapped))
        }
        (Class::Rejected, _) => Verdict::Dead { class, error },
        // It was sent, and what is wrong is the file: the next look at it would be as blind.
        (Class::Unknown, _) if failure.cause.is_some() => parked(failure.cause.clone().unwrap_or_else(Cause::setup)),
        (Class::Unknown | Class::Missing | Class::Conflict, _) if tried.attempts >= MAX_ATTEMPTS => given_up(),
        (Class::Unknown, _) => {
            retry(tried.settle.max(backoff(tried.attempts, env)).min(LONGEST), true, tried.intent.clone())
        }
        (Class::Missing | Class::Conflict, _) => retry(Duration::ZERO, true, None),
    }
}

/// The failure and its causes in one line.
pub(super) fn describe(failure: &Failure) -> String {
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

/// The system's standing after a failure that is about the system; `None` when the failure says nothing about it.
pub(super) fn strike(failure: &Failure, before: &Standing, env: &Env) -> Option<Standing> {
    if failure.cause.is_some() {
        return None;
    }
    let failures = before.failures.saturating_add(1);
    let wait = match failure.class {
        Class::Transient => told(failure).unwrap_or_else(|| backoff(before.failures, env)),
        Class::Throttled => told(failure).unwrap_or_else(|| backoff(before.failures.min(4), env)),
        Class::Auth => AUTH_PAUSE,
        _ => return None,
    };
    Some(Standing { until: Some(later(env.now(), wait)), failures, reason: Some(describe(failure)) })
}
