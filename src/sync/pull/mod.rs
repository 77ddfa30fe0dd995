//! Reads systems: a run page by page, single objects, what has gone; compares each row with the replica and makes the page durable.
//! Called by `delivery` (looks before and after a write), `engine` and `preview`.

pub(in crate::sync) mod adoption;
pub(in crate::sync) mod dates;
pub(in crate::sync) mod detect;
pub(in crate::sync) mod guests;
pub(in crate::sync) mod mapping_revision;
pub(in crate::sync) mod orders;
mod run;
mod whole;

pub use self::dates::{OddDate, OddDates};
pub(in crate::sync) use self::run::{Asked, list, look, look_back, pull, refresh};
