//! Circuits of systems that fail: how long each is paused, and when the pause is over.

use std::time::Duration;

use crate::{
    env::Env,
    failure::{Class, Failure},
    store::{Circuit, StoreError},
    sync::context::{
        Context,
        outcome::{backoff, describe, later},
    },
};

/// Call it when a request to a system succeeded: whatever the pause was for is over.
pub(in crate::sync) async fn recovered(context: &Context, system: &str) -> Result<(), StoreError> {
    if context.journal.is_over(&format!("system {system}")) {
        tracing::info!(system, "{system} answers again");
    }
    if context.store.circuit(system).await? != Circuit::default() {
        context.store.set_circuit(system, &Circuit::default()).await?;
    }
    Ok(())
}

/// Call it when a request failed in a way that says something about the system.
pub(in crate::sync) async fn struck(context: &Context, system: &str, failure: &Failure) -> Result<(), StoreError> {
    let before = context.store.circuit(system).await?;
    // When a system goes down, many requests fail at once: only the first of them counts.
    if before.until.is_some_and(|until| until > context.env.now()) {
        return Ok(());
    }
    if let Some(circuit) = strike(failure, &before, &context.env) {
        let reason = circuit.reason.as_deref().unwrap_or_default();
        if context.journal.is_new(&format!("system {system}"), reason) {
            tracing::warn!(system, "{system} is paused for a while: {reason}");
        }
        context.store.set_circuit(system, &circuit).await?;
    }
    Ok(())
}

/// Return the system's circuit after a failure that is about the system; `None` if the failure says nothing about
/// it.
fn strike(failure: &Failure, before: &Circuit, env: &Env) -> Option<Circuit> {
    if failure.cause.is_some() {
        return None;
    }
    let failures = before.failures.saturating_add(1);
    let wait = match failure.class {
        Class::Transient => retry_after(failure).unwrap_or_else(|| backoff(before.failures, env)),
        Class::Throttled => retry_after(failure).unwrap_or_else(|| backoff(before.failures.min(4), env)),
        Class::Auth => AUTH_PAUSE,
        _ => return None,
    };
    Some(Circuit { until: Some(later(env.now(), wait)), failures, reason: Some(describe(failure)) })
}

/// How long a system that refuses our credentials is paused.
pub(in crate::sync) const AUTH_PAUSE: Duration = Duration::from_secs(300);

/// Return how long a system asks us to wait. A system that has just refused cannot mean "at once".
pub(in crate::sync) fn retry_after(failure: &Failure) -> Option<Duration> {
    failure.retry_after.filter(|wait| !wait.is_zero())
}
