//! `[limits]` and `[systems.x.limits]`: bounds of the engine.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    adapter::Span,
    sync::{Limits, SystemLimits},
};

/// Bounds of the whole engine.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// How long a claimed job is a worker's without a sign of life. Default `60s`.
    pub lease: Option<Span>,
    /// How often an idle worker looks for new jobs. Default `500ms`.
    pub poll: Option<Span>,
    /// How long done jobs, runs and the change log are kept. Default `90d`.
    pub retention: Option<Span>,
    /// So many writes of the same value to the same object within an hour, and it is left alone: another program changes it
    /// back. 0 = never. Default 12.
    pub fuse: Option<u32>,
}

/// Bounds of the work with one system.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemLimitsSection {
    /// How long after a lost answer the system may still carry the request out. Default `30s`.
    pub settle: Option<Span>,
    /// Most jobs claimed at once. Default 500.
    pub batch: Option<std::num::NonZeroU16>,
    /// Batches under way at the same time. Default 2.
    pub workers: Option<std::num::NonZeroU8>,
}

impl LimitsSection {
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            lease: self.lease.map_or(default.lease, |span| span.0),
            poll: self.poll.map_or(default.poll, |span| span.0),
            retention: self.retention.map_or(default.retention, |span| span.0),
            flap_limit: self.fuse.unwrap_or(default.flap_limit),
            ..default
        }
    }
}

impl SystemLimitsSection {
    pub fn limits(&self) -> SystemLimits {
        let default = SystemLimits::default();
        SystemLimits {
            answer_window: self.settle.map_or(default.answer_window, |span| span.0),
            batch: self.batch.map_or(default.batch, |count| usize::from(count.get())),
            workers: self.workers.map_or(default.workers, |count| usize::from(count.get())),
        }
    }
}
