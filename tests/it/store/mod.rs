//! What the state store promises, kept by SQLite and PostgreSQL alike.

mod backend;
mod brakes;
mod cancel;
mod children;
mod differences;
mod earlier;
mod file;
mod housekeeping;
mod identity;
mod logins;
mod pull;
mod queue;
mod reservations;
mod scratch;
