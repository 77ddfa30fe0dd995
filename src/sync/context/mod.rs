//! The handles that every room works with (store, systems, mappings, limits), and small rules about leases, circuits,
//! failures and the journal. Keeps no state of a pass.
//!
//! Every room but `routing` may call it; it calls `routing` alone.

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

pub(in crate::sync) use self::reading::{Observed, PullContext};
pub use self::{
    handles::{Context, admits, canonical},
    journal::{Journal, trouble},
    limits::{Limits, SystemLimits},
    report::RunReport,
    requests::Requests,
};
