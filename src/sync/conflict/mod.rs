//! Several sides of one record: three-way merge, shared fields, echoes of our own writes, spellings that a target
//! changes, final states of orders, erased persons, and a person's decision on a conflict.
//!
//! Called by `identity`, `desired`, `brakes`, `pull`, `delivery`, `engine` and `preview`; calls `routing` and
//! `context`.

mod decision;
mod echo;
pub(in crate::sync) mod ends;
mod merge;
pub(in crate::sync) mod persons;
pub(in crate::sync) mod respelt;
pub(in crate::sync) mod shared;
pub(in crate::sync) mod terms;

pub use self::{
    decision::{Decision, DecisionError, decide},
    merge::{Clash, Prefer, merge},
};
