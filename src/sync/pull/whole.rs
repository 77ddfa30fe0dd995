//! Listings that show what is new but not what has changed: everything is read again at intervals
//! (`Capabilities::whole`).

use chrono::{DateTime, Utc};

use crate::{
    port::Capabilities,
    store::Result,
    sync::context::{Context, outcome},
};

/// Whether a delta of an entity has to read everything instead: its last full reading began too long ago, or none
/// is known.
pub(in crate::sync) async fn is_due(
    context: &Context,
    capabilities: &Capabilities,
    (system, entity): (&str, &str),
    now: DateTime<Utc>,
) -> Result<bool> {
    let Some(every) = capabilities.whole else { return Ok(false) };
    let last = context.store.reading(system, entity).await?.whole_at;
    // If the clock was set back, that does not postpone it.
    Ok(last.is_none_or(|last| last > now || outcome::later(last, every) <= now))
}
