//! Listings that show what is new but not what has changed: everything is read again at intervals
//! (`Capabilities::whole`).

use chrono::{DateTime, Utc};

use crate::{port::Capabilities, sync::context::outcome};

/// Whether a delta of an entity has to read everything instead: its last full reading began too long ago, or none
/// is known.
pub(in crate::sync) fn is_due(capabilities: &Capabilities, last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    // If the clock was set back, that does not postpone it.
    capabilities.whole.is_some_and(|every| last.is_none_or(|last| last > now || outcome::later(last, every) <= now))
}
