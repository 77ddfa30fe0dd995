//! One binary for all integration tests.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its promise is broken")]

mod adapters;
mod callers;
mod cli;
mod rooms;
mod sandbox;
mod store;
mod woocommerce;
