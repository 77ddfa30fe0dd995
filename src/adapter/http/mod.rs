//! Driver `http`: JSON, XML, form or multipart over HTTP, declared in TOML; REST, JSON-RPC, GraphQL, OData and SOAP alike.

mod auth;
mod call;
mod compile;
mod config;
mod exchange;
mod judge;
mod network;
mod oauth1;
mod pace;
mod payload;
mod percent;
mod transport;
mod xml;

pub use config::HttpAdapter;
pub use network::Network;
pub use transport::{Method, Request, Response, Transport, TransportError, path_of};

use std::sync::Arc;

use super::{Manifest, Settings, World};
use crate::{
    load::{LoadError, Place},
    port::System,
};

/// Makes a configured system of an adapter whose driver is `http`.
pub(super) fn open(
    _name: &str,
    manifest: &Arc<Manifest>,
    _settings: &Settings,
    _world: &World,
) -> Result<Arc<dyn System>, LoadError> {
    Err(LoadError::new(&Place::start(&manifest.file), "this driver is not part of this build"))
}
