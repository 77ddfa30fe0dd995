//! Driver `http`: JSON, XML, form or multipart over HTTP, declared in TOML; REST, JSON-RPC, GraphQL, OData and SOAP alike.

mod auth;
mod batch;
mod call;
mod compile;
mod config;
mod evaluate;
mod exchange;
mod joins;
mod network;
mod oauth1;
mod oauth2;
mod operation;
mod pace;
mod pages;
mod payload;
mod plan;
mod pull;
mod system;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod unexpected;
mod variables;
mod writing;
pub(super) mod xml;

pub use config::HttpAdapter;
pub use network::Network;
pub use system::open;
pub use transport::{Request, Response, Transport, TransportError};
