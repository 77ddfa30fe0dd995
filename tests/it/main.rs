//! One binary for all integration tests.

mod sandbox;
mod store;
