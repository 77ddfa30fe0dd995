//! Pauses of systems, and what ends them before their time: a person, a check that went well, a changed configuration.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::store::{JobFilter, JobState, Result, Store};

/// Has a system asked again at once: its pause ends, and what waited for it, or was given up because it let us not in, is due.
/// Gives how many jobs that are.
pub async fn lift(store: &dyn Store, system: &str, now: DateTime<Utc>) -> Result<u64> {
    let mut jobs = store.lift(system, now).await?;
    let dead = JobFilter { target: Some(system.to_owned()), states: vec![JobState::Dead], ..JobFilter::default() };
    let refused = store.jobs(&dead).await?.into_iter().filter(|job| job.error_class.as_deref() == Some("auth"));
    let ids: Vec<i64> = refused.map(|job| job.id).collect();
    if !ids.is_empty() {
        jobs += store.retry(&JobFilter { ids, ..JobFilter::default() }, now).await?;
    }
    Ok(jobs)
}

/// Ends the pauses of systems whose adapter or settings have changed since the last start. `prints` tells, by system, one
/// configuration from another.
pub async fn notice(store: &dyn Store, prints: &BTreeMap<String, String>, now: DateTime<Utc>) -> Result<()> {
    for (system, print) in prints {
        let (note, print) = (format!("setup:{system}"), Value::from(print.as_str()));
        match store.noted(&note).await? {
            Some(before) if before == print => continue,
            Some(_) => {
                let jobs = lift(store, system, now).await?;
                tracing::info!(system, jobs, "its configuration has changed: it is asked again");
            }
            None => {}
        }
        store.note(&note, &print).await?;
    }
    Ok(())
}
