//! Drivers and manifests: how to talk to one kind of system, declared in TOML.
//!
//! A [`Manifest`] is an adapter's file. Its driver ([`http`], `sql`, `files`) turns it, with a system's
//! [`Settings`], into a [`System`](crate::port::System). The [`Registry`] knows the adapters and mappings that ship
//! in the binary and those of the configuration's folders.

mod charset;
mod clock;
mod compile;
mod course;
pub mod cursor;
pub mod files;
pub mod http;
mod joins;
mod manifest;
mod mask;
pub mod reference;
mod registry;
mod segment;
mod settings;
pub mod sql;
pub mod units;
mod unreached;

use std::{path::PathBuf, sync::Arc};

use crate::{
    env::Env,
    load::LoadError,
    port::{System, logins::Logins},
};

pub use compile::setup_fingerprint;
pub use manifest::{Body, Driver, Formula, Manifest, Setting, SettingKind, Text};
pub use mask::{Mask, is_telltale};
pub use registry::Registry;
pub use settings::{Given, SettingValue, Settings};

/// What a driver needs from outside.
#[derive(Clone, Debug)]
pub struct World {
    pub env: Env,
    pub transport: Arc<dyn http::Transport>,
    /// The folder where relative paths in settings start.
    pub folder: PathBuf,
    /// Keeps refresh tokens for the next process.
    pub logins: Arc<dyn Logins>,
}

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
