//! Bounds of the whole engine, and of the work with one system.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How one system is worked with.
#[derive(Clone, Debug)]
pub struct SystemLimits {
    /// How long after a lost answer the system may still carry the request out; a lookup before that proves nothing.
    pub answer_window: Duration,
    /// Most jobs claimed at once.
    pub batch: usize,
    /// Batches under way at the same time.
    pub workers: usize,
}

impl Default for SystemLimits {
    fn default() -> Self {
        Self { answer_window: Duration::from_secs(30), batch: 500, workers: 2 }
    }
}

/// Bounds of the whole engine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a claimed job is ours without a sign of life.
    pub lease: Duration,
    /// How often an idle worker looks for jobs that another process opened.
    pub poll: Duration,
    /// Done jobs, runs and change log older than this are deleted.
    pub retention: Duration,
    /// So many writes of one value to one object within an hour, and it is left alone; 0 = never.
    pub flap_limit: u32,
    /// Targets and entities of which a person has agreed to what is created there, because he has seen it in a plan.
    pub agreed: BTreeSet<(String, String)>,
    pub systems: BTreeMap<String, SystemLimits>,
}

impl Limits {
    /// How long a pull, a flow's turn or a target's deliveries are ours without a sign of life: they give one less often.
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
