//! Ends pauses of systems after a change of the configuration.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::store::{Result, Store};

/// End the pauses of systems whose adapter or settings have changed since the last start. `setup_fingerprints` has,
/// for each system, a fingerprint that differs from one configuration to another.
pub async fn notice(
    store: &dyn Store,
    setup_fingerprints: &BTreeMap<String, String>,
    now: DateTime<Utc>,
) -> Result<()> {
    for (system, fingerprint) in setup_fingerprints {
        let (note, fingerprint) = (format!("setup:{system}"), Value::from(fingerprint.as_str()));
        match store.noted(&note).await? {
            Some(before) if before == fingerprint => continue,
            Some(_) => {
                let jobs = store.lift(system, now).await?;
                tracing::info!(system, jobs, "its configuration has changed: it is asked again");
            }
            None => {}
        }
        store.note(&note, &fingerprint).await?;
    }
    Ok(())
}
