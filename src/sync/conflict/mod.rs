//! One record, several sides: three-way merge, shared fields, echoes of our own writes, spellings that a target changes, ends of
//! orders, erased persons, and a person's decision of a conflict. Knows `routing` and `context`.

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
