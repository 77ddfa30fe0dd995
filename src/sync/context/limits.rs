//! Limits of the whole engine, and of the work with one system.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Limits of the work with one system.
#[derive(Clone, Debug)]
pub struct SystemLimits {
    /// How long after a lost answer the system may still carry the request out; a lookup before that proves nothing.
    pub answer_window: Duration,
    /// How many jobs are claimed at once at most.
    pub batch: usize,
    /// How many batches are under way at the same time at most.
    pub workers: usize,
}

impl Default for SystemLimits {
    fn default() -> Self {
        Self { answer_window: Duration::from_secs(30), batch: 500, workers: 2 }
    }
}

/// Limits of the whole engine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a claimed job stays ours if its lease is not renewed.
    pub lease: Duration,
    /// How often an idle worker checks for jobs that another process opened.
    pub poll: Duration,
    /// Done jobs, runs and change log entries that are older than this are deleted.
    pub retention: Duration,
    /// If one value was written to one object this many times within an hour, the object is left alone; 0 = never.
    pub flap_limit: u32,
    /// Targets and entities for which a person has agreed to what is created there, having seen it in a plan.
    pub agreed: BTreeSet<(String, String)>,
    pub systems: BTreeMap<String, SystemLimits>,
}

impl Limits {
    /// How long a pull, a flow's turn or a target's deliveries stay ours if the lease is not renewed: they renew
    /// less often.
    pub(in crate::sync) fn long(&self) -> Duration {
        self.lease.saturating_mul(2)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            poll: Duration::from_millis(500),
            retention: Duration::from_secs(90 * 24 * 3600),
            flap_limit: 12,
            agreed: BTreeSet::new(),
            systems: BTreeMap::new(),
        }
    }
}
