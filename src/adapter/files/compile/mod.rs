//! The manifest's tables, checked and compiled: which files are read and how, which are written. No file is touched
//! from here; what is wrong in the adapter is told with its place.
//!
//! [`entity`] leads; [`listing`] and [`pattern`] are about reading, [`writing`] about writing. Called by `run`, and by
//! nobody else.

mod entity;
mod listing;
mod pattern;
mod writing;

pub use entity::{Entity, entities};
pub use listing::{CsvShape, Group, Listing};
pub use pattern::{Pattern, inside};
pub use writing::{Name, Writer};
