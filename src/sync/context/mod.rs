//! The handles and small rules that every other room works with: store, systems, mappings, limits, leases, the journal, circuits.
//! Holds no state of a pass, and calls no room but `routing`.

pub(in crate::sync) mod circuit;
mod handles;
pub(in crate::sync) mod joined;
pub(in crate::sync) mod journal;
pub(in crate::sync) mod leases;
mod limits;
pub(in crate::sync) mod outcome;
pub mod pauses;
mod reading;
pub(in crate::sync) mod report;
pub mod requests;

pub(in crate::sync) use self::reading::PullContext;
pub use self::{
    handles::{Context, admits, canonical},
    journal::{Journal, trouble},
    limits::{Limits, SystemLimits},
    report::RunReport,
    requests::Requests,
};
