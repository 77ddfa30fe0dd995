//! Driver `http`: JSON, XML, form or multipart over HTTP, declared in TOML; REST, JSON-RPC, GraphQL, OData and SOAP
//! alike.
//!
//! `compile` makes a checked program of the manifest, `run` makes requests of the program and reads the answers.
//! `compile` never calls `run`. `adapter::open` calls [`open`]; the program's start makes the one [`Network`].

mod compile;
mod run;
#[cfg(test)]
mod tests;

pub use super::transport::{Request, Response, Transport, TransportError};
pub use run::{Network, open};
