//! The way of a change: pull, compare with the replica, one transaction, claim, desired state, minimal write, replica.
//!
//! The rooms stand in one order, and each calls only those before it (`tests/it/rooms.rs` holds them to it): `routing`,
//! `context`, `conflict`, `identity`, `stock`, `desired`, `brakes`, `pull`, `delivery`, `engine`, `preview`. What each
//! is and who calls it stands in its `mod.rs`; all of them on one page: `docs/architecture.md`.

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
