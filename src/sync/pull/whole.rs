//! Listings that show what is new and not what has changed: everything is read again at intervals
//! (`Capabilities::whole`).

use chrono::{DateTime, Utc};

use crate::{port::Capabilities, sync::context::outcome};

/// Whether a delta of an entity is to read everything instead: its last whole reading began too long ago, or nobody
/// knows of one.
pub(in crate::sync) fn is_due(capabilities: &Capabilities, last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    // A clock that was set back does not put it off.
    capabilities.whole.is_some_and(|every| last.is_none_or(|last| last > now || outcome::later(last, every) <= now))
}
