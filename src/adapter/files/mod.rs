//! Driver `files`: CSV, XML and JSON files of one folder as sources and targets. See `docs/adapters.md`.
//!
//! `compile` makes a checked program of the manifest, `run` carries it out. `compile` never calls `run`. Called by
//! `adapter::open` alone.

mod compile;
mod run;

pub use run::open;
