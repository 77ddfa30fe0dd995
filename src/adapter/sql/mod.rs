//! Driver `sql`: SQLite, PostgreSQL, MySQL and MariaDB as sources and targets. See `docs/adapters.md`.
//!
//! Every read is one read-only transaction, and every write is one transaction. Statements have named parameters,
//! which are always bound.
//!
//! `compile` makes a checked program of the manifest, `run` carries it out. `compile` never calls `run`. Called by
//! `adapter::open` alone.

mod compile;
mod run;

pub use run::open;
