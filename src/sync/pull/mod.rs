//! Reads systems: a run page by page, single objects, what has gone. Compares each row with the replica and makes each
//! page durable.
//!
//! Called by `delivery`, which looks before and after a write, by `engine` and by `preview`; calls every room before it
//! but `desired`.

pub(in crate::sync) mod adoption;
pub(in crate::sync) mod dates;
pub(in crate::sync) mod detect;
pub(in crate::sync) mod guests;
pub(in crate::sync) mod mapping_revision;
pub(in crate::sync) mod observe;
pub(in crate::sync) mod orders;
mod run;
mod single;
pub(in crate::sync) mod unreadable;
mod whole;

pub use self::dates::OddDates;
pub(in crate::sync) use self::{
    run::{list, pull},
    single::{AskedBy, look, look_back, refresh},
};
