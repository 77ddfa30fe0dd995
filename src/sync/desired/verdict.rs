//! What a failure means for the job that met it.
use std::time::Duration;

use crate::{
    env::Env,
    failure::{Class, Failure},
    store::{Intent, Verdict},
    sync::context::{
        circuit::{AUTH_PAUSE, retry_after},
        outcome::{LONGEST, MAX_ATTEMPTS, backoff, describe, later},
    },
    wait_reason::WaitReason,
};

/// What the engine knows of the job whose write failed.
#[derive(Clone, Debug)]
pub(in crate::sync) struct Tried {
    pub(in crate::sync) attempts: u32,
    /// Kept over the failure: what was about to be done.
    pub(in crate::sync) intent: Option<Intent>,
    /// How long after a lost answer the target may still carry the request out.
    pub(in crate::sync) answer_window: Duration,
    /// What trouble says of the record.
    pub(in crate::sync) alone: Alone,
}

/// The job's verdict. `Missing` and `Conflict` change replicas as well and are decided by the caller before.
pub(in crate::sync) fn verdict(failure: &Failure, tried: &Tried, env: &Env) -> Verdict {
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
    let parked = |cause: WaitReason| Verdict::Parked { cause, error: error.clone() };
    match (failure.class, tried.alone) {
        (Class::Auth, Alone::Repeated) => Verdict::Dead {
            class,
            error: format!("refused again, though other writes went through meanwhile: {error}"),
        },
        (Class::Transient | Class::Auth | Class::Throttled, Alone::First | Alone::Repeated) => {
            if tried.attempts >= MAX_ATTEMPTS {
                return given_up();
            }
            let wait = backoff(tried.attempts, env).max(retry_after(failure).unwrap_or_default());
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
            let wait = retry_after(failure).unwrap_or_else(|| backoff(0, env));
            retry(wait, false, tried.intent.clone())
        }
        (Class::Fatal, _) => parked(failure.cause.as_deref().cloned().unwrap_or(WaitReason::Setup)),
        (Class::Unmapped, _) => {
            let field = || failure.field.clone().unwrap_or_else(|| "?".to_owned());
            parked(failure.cause.as_deref().cloned().unwrap_or_else(|| WaitReason::Unmapped { field: field() }))
        }
        (Class::Rejected, _) => Verdict::Dead { class, error },
        // It was sent, and what is wrong is the file: the next look at it would be as blind.
        (Class::Unknown, _) if failure.cause.is_some() => {
            parked(failure.cause.as_deref().cloned().unwrap_or(WaitReason::Setup))
        }
        (Class::Unknown | Class::Missing | Class::Conflict, _) if tried.attempts >= MAX_ATTEMPTS => given_up(),
        (Class::Unknown, _) => {
            retry(tried.answer_window.max(backoff(tried.attempts, env)).min(LONGEST), true, tried.intent.clone())
        }
        (Class::Missing | Class::Conflict, _) => retry(Duration::ZERO, true, None),
    }
}

/// What a failed write that tells of trouble says of its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sync) enum Alone {
    /// Nothing: nobody else went through.
    #[default]
    No,
    /// Others went through beside it. It may have been the first to meet what the system has got into.
    First,
    /// It has met this before, and others went through since.
    Repeated,
}
