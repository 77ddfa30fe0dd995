//! Drivers and manifests: how to talk to one kind of system, declared in TOML.
//!
//! A [`Manifest`] is an adapter's file. Its driver ([`http`], `sql`, `files`) turns it, with a system's [`Settings`],
//! into a [`System`]. The [`Registry`] knows the adapters and mappings that ship in the binary and those of the
//! configuration's folders.
//!
//! The way of a manifest goes through three rooms, and imports go back along it only (`tests/it/rooms.rs`): `manifest`
//! is what the TOML says, a driver's `compile` makes a checked program of it, and its `run` makes requests of the
//! program and rows of the answers. What the drivers share for each step is in `manifest`, [`compile`] and [`run`]
//! here; no driver calls another. `transport` and `world` are what a system is given from outside.

mod compile;
mod files;
pub mod http;
mod manifest;
mod registry;
mod run;
mod sql;
mod transport;
mod world;

use std::sync::Arc;

use crate::{load::LoadError, port::System};

pub use manifest::{Driver, Given, Manifest, SettingKind, SettingValue, Settings, Span, schema, setup_fingerprint};
pub use registry::Registry;
pub use run::mask::is_telltale;
pub use world::World;

/// Make a configured system from an adapter. Nothing is sent yet.
///
/// # Errors
/// Everything that is wrong in the adapter's file, with its place.
pub fn open(
    name: &str,
    manifest: &Arc<Manifest>,
    settings: &Settings,
    world: &World,
) -> Result<Arc<dyn System>, LoadError> {
    match manifest.driver {
        Driver::Http => http::open(name, manifest, settings, world),
        Driver::Sql => sql::open(name, manifest, settings, world),
        Driver::Files => files::open(name, manifest, settings, world),
    }
    .map_err(LoadError::bounded)
}
