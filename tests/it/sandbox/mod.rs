//! The sandbox shop against recordings of the real thing, and as a place to act in.

mod acting;
mod conformance;
mod facts;
mod faults;
mod hooks;
pub mod shop;
