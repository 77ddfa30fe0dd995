//! Listings that show what is new and not what has changed: everything is read again at intervals
//! (`Capabilities::whole`).

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    port::Capabilities,
    store::Result,
    sync::context::{Context, outcome},
};

fn note(system: &str, entity: &str) -> String {
    format!("whole:{system}/{entity}")
}

/// Whether a delta of an entity is to read everything instead: its last whole reading is too long ago, or nobody knows of one.
pub(in crate::sync) async fn is_due(
    context: &Context,
    facts: &Capabilities,
    system: &str,
    entity: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let Some(every) = facts.whole else { return Ok(false) };
    let noted = context.store.noted(&note(system, entity)).await?;
    let last: Option<DateTime<Utc>> = noted.and_then(|noted| serde_json::from_value(noted).ok());
    // A clock that was set back does not put it off.
    Ok(last.is_none_or(|last| last > now || outcome::later(last, every) <= now))
}

/// A whole reading that began at `at` went through.
pub(in crate::sync) async fn remember(context: &Context, system: &str, entity: &str, at: DateTime<Utc>) -> Result<()> {
    context.store.note(&note(system, entity), &json!(at)).await
}
