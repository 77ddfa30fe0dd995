//! The way of a change: pull, compare with the replica, one transaction, claim, wanted state, minimal write, replica.

mod affairs;
mod after;
mod alone;
mod apply;
mod brakes;
mod children;
mod cover;
mod crossed;
mod dates;
mod decision;
mod deliver;
mod detect;
mod echo;
mod ends;
mod engine;
mod flight;
mod goods;
mod guests;
mod health;
mod identity;
mod journal;
mod lane;
mod learn;
mod live;
mod merge;
mod numbering;
mod outcome;
mod parents;
mod pass;
pub mod pauses;
mod persons;
pub mod plan;
mod prepare;
mod proven;
mod publish;
mod pull;
mod qualify;
mod reader;
mod readings;
pub mod requests;
mod respelt;
mod routes;
mod scope;
mod shared;
mod steps;
mod term;
mod terms;
mod timetable;
mod undo;
mod unique;
mod wanted;
mod whole;
mod whose;
mod wish;

use std::collections::{BTreeMap, BTreeSet};

pub use affairs::{Affairs, Trouble, What, needs_somebody};
pub use apply::{Applied, ApplyError, Told, apply};
pub use brakes::{Allowed, Brake, Brakes, FEW};
pub use dates::{OddDate, OddDates};
pub use decision::{Decision, DecisionError, decide};
pub use deliver::Tally;
pub use engine::{Engine, Limits, Parts, Summary, SystemLimits, admits, canonical};
pub use guests::Guests;
pub use health::Health;
pub use identity::{LinkError, Links, MatchRule, Named, Review, field_of, review};
pub use journal::{Journal, trouble};
pub use live::{Live, live};
pub use merge::{Clash, Prefer, merge};
pub use pass::Reach;
pub use publish::StockRule;
pub use pull::RunReport;
pub use requests::Requests;
pub use routes::{Routes, RoutesError};
pub use scope::{Scope, ScopeError};
pub use timetable::Timetable;
pub use undo::{Left, Restored, UndoError, Undone, undo};
pub use wish::{Wants, Wish, wish};

/// Routing rule: which entities go from which system to which others, when, and who owns what.
#[derive(Clone, Debug, Default)]
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
    /// `product.description` to the system that owns it, or to [`SHARED`]; fields not named belong to `from` of the first flow in the
    /// configuration that carries the entity between the two systems.
    pub owners: BTreeMap<String, String>,
    /// Only records for which this holds are created or kept at the targets, per entity or for all (`*`).
    /// Variables: the canonical fields, each by its name, absent ones as `()`.
    pub filters: BTreeMap<String, crate::expr::Expr>,
    /// Fields that tell whether two records are one, per entity; the first that finds any decides.
    pub matches: BTreeMap<String, Vec<MatchRule>>,
    /// Whose the source's orders are that name no customer; absent: nobody's.
    pub guests: Option<Guests>,
    pub on_delete: BTreeMap<String, DeletePolicy>,
    /// How long a record that a complete pull missed is left alone at the targets.
    pub grace: std::time::Duration,
    /// What one run may do at a target before a person has a look.
    pub brakes: Brakes,
    pub on_missing: BTreeMap<String, MissingPolicy>,
    /// What happens when a system edits a field that another owns: per `entity.field`, per entity, or for all (`*`).
    pub drift: BTreeMap<String, DriftPolicy>,
    /// Who decides where both sides changed a shared field differently: per `entity.field`, per entity, or for all (`*`).
    pub conflicts: BTreeMap<String, ConflictPolicy>,
    /// Fields carried; absent: all that both sides know. Per entity.
    pub fields: BTreeMap<String, BTreeSet<String>>,
    /// States that the source may say at targets that have the record, per entity; absent: those it has, if it owns the field.
    pub states: BTreeMap<String, BTreeSet<String>>,
    /// Entities whose items have to name an article, or the record waits.
    pub held_without_article: BTreeSet<String>,
    /// What the targets show of the source's stock.
    pub stock: StockRule,
}

/// What happens at the targets when the source no longer has a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeletePolicy {
    /// Nothing.
    Ignore,
    /// Field `active` becomes false; nothing for entities without such a field.
    #[default]
    Unpublish,
    /// The object is deleted.
    Delete,
}

/// What happens when a system edits a field that another owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriftPolicy {
    /// The owner's value is written back.
    #[default]
    Repair,
    /// The edit stays until the owner changes its value.
    Accept,
    /// As `accept`, and a person is asked (`vaiven conflicts`).
    Report,
}

/// Who decides where both sides changed a shared field to different values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// A person (`vaiven conflicts`); until then the field stays as it is on every side.
    #[default]
    Manual,
    /// This system's change wins.
    Prefer(String),
}

/// In the place of an owner: nobody owns the field, changes of all sides are merged.
pub const SHARED: &str = "shared";

/// What happens when a target lost a record that its source still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MissingPolicy {
    /// It is created again. The default for what a catalog consists of.
    Recreate,
    /// It stays away until somebody asks for it; the default for what people do: orders, shipments, invoices, tickets, quotes
    /// and customers.
    Unlink,
}

#[cfg(test)]
mod tests;
