//! What the configuration says about a flow: which system's objects go to which others, when, and within which
//! limits.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::{brakes::Brakes, matching::MatchRule, schedule::Schedule};
use crate::expr::Expr;

/// Routing rule: which entities go from which system to which others, when, and who owns what.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    pub name: String,
    /// In order: the first is pulled and delivered first.
    pub entities: Vec<String>,
    pub from: String,
    pub to: Vec<String>,
    /// When to pull what changed; `None`: only by command.
    pub every: Option<Schedule>,
    /// When to pull everything.
    pub full: Option<Schedule>,
    /// `product.description` to the system that owns it, or to [`SHARED`]. Fields that are not named belong to
    /// `from` of the first flow in the configuration that carries the entity between the two systems.
    pub owners: BTreeMap<String, String>,
    /// Only records for which this holds are created or kept at the targets, per entity or for all (`*`).
    /// Variables: the canonical fields, each by its name, absent ones as `()`.
    pub filters: BTreeMap<String, crate::expr::Expr>,
    /// Fields by which two records are recognised as one, per entity; the first field that finds any record
    /// decides.
    pub matches: BTreeMap<String, Vec<MatchRule>>,
    /// Whose the source's orders are that name no customer; `None`: nobody's.
    pub guests: Option<Guests>,
    pub on_delete: BTreeMap<String, DeletePolicy>,
    /// How long a record that a complete pull missed is left alone at the targets.
    pub grace: std::time::Duration,
    /// How much one run may do at a target before a person has looked at it.
    pub brakes: Brakes,
    pub on_missing: BTreeMap<String, MissingPolicy>,
    /// What happens when a system edits a field that another owns: per `entity.field`, per entity, or for all (`*`).
    pub drift: BTreeMap<String, DriftPolicy>,
    /// Who decides if both sides changed a shared field differently: per `entity.field`, per entity, or for all
    /// (`*`).
    pub conflicts: BTreeMap<String, ConflictPolicy>,
    /// Fields that are carried, per entity; no entry: all that both sides know.
    pub fields: BTreeMap<String, BTreeSet<String>>,
    /// States that the source may set at targets that have the record, per entity; no entry: any state of the
    /// source, if it owns the field.
    pub states: BTreeMap<String, BTreeSet<String>>,
    /// Entities whose items have to name an article; if one does not, the record waits.
    pub held_without_article: BTreeSet<String>,
    /// What the targets show of the source's stock.
    pub stock: StockRule,
}

/// Whose a guest's order is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guests {
    /// The customer's who has the e-mail address, tax number or telephone number that the order names, if there is
    /// only one such customer.
    pub matched: bool,
    /// Otherwise, a customer's who is created from what the order says.
    pub created: bool,
    /// Otherwise, the customer's with this key.
    pub one: Option<String>,
}

/// How a flow turns its source's stock into what its targets show.
#[derive(Clone, Debug, Default)]
pub struct StockRule {
    /// Quantity that is kept back from sale.
    pub buffer: Decimal,
    /// Whether orders that the source cannot know of yet are subtracted; `None`: if orders flow from the target to
    /// a system.
    pub in_flight: Option<bool>,
    /// Locations that count, in the order in which they are sold from; `None`: all, in the source's order.
    pub locations: Option<Vec<String>>,
    /// Whether the quantity on hand counts instead of the available one: for targets that allocate goods
    /// themselves.
    pub on_hand: bool,
    /// Replaces that sum. Variables: the source's fields, with quantities as numbers and only the locations that
    /// count; and `on_hand`, `reserved` and `available`, their sums.
    pub quantity: Option<Expr>,
}

impl StockRule {
    /// Whether two flows show stock of the same place.
    pub(in crate::sync) fn meets(&self, other: &Self) -> bool {
        match (&self.locations, &other.locations) {
            (Some(one), Some(two)) => one.iter().any(|location| two.contains(location)),
            _ => true,
        }
    }
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

/// Who decides if both sides changed a shared field to different values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// A person (`vaiven conflicts`); until then, the field stays as it is on every side.
    #[default]
    Manual,
    /// This system's change wins.
    Prefer(String),
}

/// In place of an owner: nobody owns the field, changes of all sides are merged.
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
