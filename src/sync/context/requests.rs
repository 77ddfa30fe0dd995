//! Counts how many requests were sent to each system while something was done: pages, writes, logins, lookups and
//! looks back.

use std::{collections::BTreeMap, sync::Arc};

use crate::port::System;

/// By system.
pub type Counts = BTreeMap<String, u64>;

/// The requests that were sent before something began.
pub struct Requests(Counts);

impl Requests {
    #[must_use]
    pub fn of(systems: &BTreeMap<String, Arc<dyn System>>) -> Self {
        Self(counts(systems))
    }

    /// Return how many requests were sent since then. Leave out systems that were sent none.
    #[must_use]
    pub fn since(&self, systems: &BTreeMap<String, Arc<dyn System>>) -> Counts {
        let since = counts(systems).into_iter().map(|(name, now)| {
            let before = self.0.get(&name).copied().unwrap_or_default();
            (name, now.saturating_sub(before))
        });
        since.filter(|(_, count)| *count > 0).collect()
    }
}

fn counts(systems: &BTreeMap<String, Arc<dyn System>>) -> Counts {
    systems.iter().map(|(name, system)| (name.clone(), system.requests())).collect()
}

/// `12 requests (5 to erp, 7 to shop)`.
#[must_use]
pub fn summary(counts: &Counts) -> String {
    let sum: u64 = counts.values().sum();
    let noun = if sum == 1 { "request" } else { "requests" };
    let each: Vec<String> = counts.iter().map(|(system, count)| format!("{count} to {system}")).collect();
    if each.is_empty() { format!("{sum} {noun}") } else { format!("{sum} {noun} ({})", each.join(", ")) }
}
