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
    /// What was about to be done; kept after the failure.
    pub(in crate::sync) intent: Option<Intent>,
    /// How long after a lost answer the target may still carry the request out.
    pub(in crate::sync) answer_window: Duration,
    /// What a failure says about the record.
    pub(in crate::sync) alone: Alone,
}

/// Return the job's verdict. `Missing` and `Conflict` change replicas as well: the caller has decided on them
/// before.
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
        // The rows that it lists, or the answers that it gets, are at fault, not the system.
        (Class::Transient, _) if failure.cause.is_some() && tried.attempts >= MAX_ATTEMPTS => given_up(),
        (Class::Transient, _) if failure.cause.is_some() => {
            retry(backoff(tried.attempts, env), true, tried.intent.clone())
        }
        // Until then it is due after all other jobs: one of them may go through, and show that the system accepts
        // our login.
        (Class::Auth, Alone::No) => retry(AUTH_PAUSE + backoff(0, env), false, tried.intent.clone()),
        // The fault is the system's, not the record's: no attempt is counted. Nothing was done, so no intent stays
        // unless earlier steps were done.
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
        // It was sent, and the file is what is wrong: the next look would see no more.
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

/// What a failed write that may be the system's fault says about its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sync) enum Alone {
    /// Nothing: no other job went through.
    #[default]
    No,
    /// Other jobs went through beside it. It may have been the first to meet a fault of the system.
    First,
    /// It has met this failure before, and others have gone through since.
    Repeated,
}
