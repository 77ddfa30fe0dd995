//! Vaivén keeps online stores and the company's ERP and CRM telling the same story.
//!
//! Data flows one way through the rooms: `adapter` (drivers) brings rows, `mapping` makes them
//! canonical, `sync` compares, queues and delivers, `store` makes it durable. `model` knows nobody.
//!
//! The rooms are private, so that the compiler tells what nobody calls. The program is [`main`]; tests and benchmarks
//! see what [`internals`] names.

mod adapter;
mod cli;
mod config;
mod demo;
mod env;
mod expr;
mod failure;
mod ids;
pub mod internals;
mod json;
mod load;
mod mapping;
mod model;
mod opened;
mod port;
mod printable;
mod sandbox;
mod schema;
mod store;
mod sync;
mod wait_reason;

pub use cli::main;
