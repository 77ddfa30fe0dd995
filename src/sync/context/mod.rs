//! The handles and small rules that every other room works with: store, systems, mappings, limits, leases, the journal, circuits.
//! Holds no state of a pass, and calls no room but `routing`.

pub(in crate::sync) mod circuit;
pub(in crate::sync) mod joined;
pub(in crate::sync) mod journal;
pub(in crate::sync) mod leases;
mod limits;
pub(in crate::sync) mod outcome;
mod parts;
pub mod pauses;
mod reading;
pub(in crate::sync) mod report;
pub mod requests;

pub(in crate::sync) use self::reading::Reading;
pub use self::{
    journal::{Journal, trouble},
    limits::{Limits, SystemLimits},
    parts::{Parts, admits, canonical},
    report::RunReport,
    requests::Requests,
};
