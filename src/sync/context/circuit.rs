//! Systems in trouble: how long each is left alone, and when that is over.

use std::time::Duration;

use crate::{
    env::Env,
    failure::{Class, Failure},
    store::{Standing, StoreError},
    sync::context::{
        Parts,
        outcome::{backoff, describe, later},
    },
};

/// A request to a system went well: whatever it was left alone for is over.
pub(in crate::sync) async fn recovered(parts: &Parts, system: &str) -> Result<(), StoreError> {
    if parts.journal.is_over(&format!("system {system}")) {
        tracing::info!(system, "{system} answers again");
    }
    if parts.store.standing(system).await? != Standing::default() {
        parts.store.set_standing(system, &Standing::default()).await?;
    }
    Ok(())
}

/// A request to a system failed in a way that says something about the system.
pub(in crate::sync) async fn struck(parts: &Parts, system: &str, failure: &Failure) -> Result<(), StoreError> {
    let before = parts.store.standing(system).await?;
    // Many requests fail at once when a system goes down: only the first of them counts.
    if before.until.is_some_and(|until| until > parts.env.now()) {
        return Ok(());
    }
    if let Some(standing) = strike(failure, &before, &parts.env) {
        let reason = standing.reason.as_deref().unwrap_or_default();
        if parts.journal.is_new(&format!("system {system}"), reason) {
            tracing::warn!(system, "{system} is left alone for a while: {reason}");
        }
        parts.store.set_standing(system, &standing).await?;
    }
    Ok(())
}

/// The system's standing after a failure that is about the system; `None` when the failure says nothing about it.
fn strike(failure: &Failure, before: &Standing, env: &Env) -> Option<Standing> {
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

/// How long a system that refuses our credentials is left alone.
pub(in crate::sync) const AUTH_PAUSE: Duration = Duration::from_secs(300);

/// How long a system asks to be left alone. "At once" is no answer of one that has just refused.
pub(in crate::sync) fn told(failure: &Failure) -> Option<Duration> {
    failure.retry_after.filter(|wait| !wait.is_zero())
}
