//! The configuration's flows, turned into routes: which system's objects go where, when, in which order and within
//! which limits.
//!
//! Knows neither systems nor the store. Every other room of `sync` may call it; it calls none of them.

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
    brakes::{Allowed, Brake, Brakes},
    flow::{ConflictPolicy, DeletePolicy, DriftPolicy, Flow, Guests, MissingPolicy, SHARED, StockRule},
    matching::{MatchRule, field_of},
    routes::{Routes, RoutesError},
    schedule::Schedule,
    scope::Scope,
};
