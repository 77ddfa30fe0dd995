//! Flows turned into routes: who tells whom of what, when, in which order, within which limits. Knows the configuration's
//! terms only, neither systems nor the store; every other room may call it.

mod brakes;
mod flow;
mod matching;
pub(in crate::sync) mod priority;
mod routes;
mod schedule;
mod scope;

pub(in crate::sync) use self::matching::matches;
#[cfg(test)]
pub(in crate::sync) use self::routes::tests::flow;
pub use self::{
    brakes::{Allowed, Brake, Brakes, FEW},
    flow::{ConflictPolicy, DeletePolicy, DriftPolicy, Flow, Guests, MissingPolicy, SHARED, StockRule},
    matching::{MatchRule, field_of},
    routes::{Routes, RoutesError},
    schedule::Schedule,
    scope::{Scope, ScopeError},
};
