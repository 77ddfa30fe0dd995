//! The way of a change: pull, compare with the replica, one transaction, claim, wanted state, minimal write, replica.

use std::collections::{BTreeMap, BTreeSet};

/// Routing rule: which entities go from which system to which others, when, and who owns what.
#[derive(Clone, Debug)]
pub struct Flow {
    pub name: String,
    /// In order: what comes first is pulled and delivered first.
    pub entities: Vec<String>,
    pub from: String,
    pub to: Vec<String>,
    /// When to pull what changed; absent: only by command.
    pub every: Option<Timetable>,
    /// When to pull everything.
    pub full: Option<Timetable>,
    /// `product.description` to the system that owns it; fields not named belong to `from`.
    pub owners: BTreeMap<String, String>,
    /// Only records for which this holds are created or kept at the targets, per entity or for all (`*`).
    pub filters: BTreeMap<String, crate::expr::Expr>,
    /// Fields that tell whether two records are one, per entity, first match wins.
    pub matches: BTreeMap<String, Vec<String>>,
    pub on_delete: BTreeMap<String, DeletePolicy>,
    /// Fields carried; absent: all that both sides know. Per entity.
    pub fields: BTreeMap<String, BTreeSet<String>>,
}

/// Cron expression with the zone it is meant in.
#[derive(Clone, Debug)]
pub struct Timetable {
    pub schedule: cron::Schedule,
    pub zone: chrono_tz::Tz,
}

/// What happens at the targets when the source no longer has a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeletePolicy {
    /// Nothing.
    Ignore,
    /// Field `active` becomes false.
    #[default]
    Unpublish,
    /// The object is deleted.
    Delete,
}
