//! Vaivén keeps online stores and the company's ERP and CRM telling the same story.
//!
//! Data flows one way through the rooms: `adapter` (drivers) brings rows, `mapping` makes them
//! canonical, `sync` compares, queues and delivers, `store` makes it durable. `model` knows nobody.

pub mod adapter;
pub mod cli;
pub mod config;
pub mod demo;
pub mod env;
pub mod expr;
pub mod failure;
mod json;
pub mod load;
pub mod mapping;
pub mod model;
pub mod opened;
pub mod port;
pub mod printable;
pub mod sandbox;
pub mod schema;
pub mod store;
pub mod sync;
pub mod wait_reason;
