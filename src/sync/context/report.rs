//! How a run ended.

use serde::Serialize;

use crate::store::{Balance, RunId, RunKind, StoreError};

pub(in crate::sync) const STOPPED: &str = "stopped before everything was read; nothing is lost, the next run reads on";

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    /// `None` if another run of the same system and entity was under way.
    pub run: Option<RunId>,
    pub system: String,
    pub entity: String,
    pub kind: RunKind,
    pub balance: Balance,
    pub error: Option<String>,
}

impl RunReport {
    /// Whether the run is green: it went through, and its balance closes.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.error.is_none() && self.balance.closes()
    }

    /// What was wrong with the listing.
    pub(in crate::sync) fn fault(&self) -> Option<&str> {
        self.error.as_deref().filter(|error| is_fault(error))
    }
}

/// Whether an error means that the listing was at fault: not if it was only stopped, or if another process reads it
/// by now.
pub(in crate::sync) fn is_fault(error: &str) -> bool {
    error != STOPPED && error != StoreError::Overtaken.to_string()
}

/// The reason why nothing is read from a system that has failed.
pub(in crate::sync) fn left_alone(system: &str) -> String {
    format!("system {system} is paused")
}
