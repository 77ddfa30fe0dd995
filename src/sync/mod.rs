//! The way of a change: pull, compare with the replica, one transaction, claim, desired state, minimal write,
//! replica.
//!
//! The rooms are in one order, and each calls only those before it (`tests/it/rooms.rs` enforces this): `routing`,
//! `context`, `conflict`, `identity`, `stock`, `desired`, `brakes`, `pull`, `delivery`, `engine`, `preview`. The
//! `mod.rs` of each says what it is and who calls it; `docs/architecture.md` has all of them on one page.

mod brakes;
mod conflict;
mod context;
mod delivery;
mod desired;
mod engine;
mod identity;
mod preview;
mod pull;
mod routing;
mod stock;

pub use conflict::{Clash, Decision, DecisionError, Prefer, decide, merge};
pub use context::{Context, Limits, Requests, SystemLimits, admits, canonical, pauses, requests, trouble};
pub use engine::{Affairs, Engine, Health, PassSummary, Reach, needs_somebody};
pub use identity::{Links, Named, Review, review};
pub use preview::{
    Applied, DesiredObject, DesiredState, UnappliedWrite, Undone, apply, desired_state, live, plan, undo,
};
pub use pull::OddDates;
pub use routing::{
    Allowed, Brake, Brakes, ConflictPolicy, DeletePolicy, DriftPolicy, Flow, Guests, MatchRule, MissingPolicy, Routes,
    RoutesError, SHARED, Schedule, Scope, StockRule, field_of,
};

#[cfg(test)]
mod tests;
