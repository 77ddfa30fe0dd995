//! What the state store promises, kept by SQLite and PostgreSQL alike.

mod backend;
mod pull;
mod queue;
