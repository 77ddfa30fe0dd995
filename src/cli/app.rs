//! What several commands need first: the configuration, its registry and its entities.

use std::path::{Path, PathBuf};

use anyhow::bail;
use secrecy::ExposeSecret as _;

use super::{args::Global, report::Misconfigured};
pub use crate::opened::{existing_store, plan, sole_store, store, world};
use crate::{adapter::Registry, config::Config, load::nearest, model::Entities};

/// Places where the configuration is looked for, in order.
const PLACES: [&str; 3] = ["vaiven.toml", "config/vaiven.toml", "/etc/vaiven/vaiven.toml"];

pub fn config_path(global: &Global) -> anyhow::Result<PathBuf> {
    if let Some(path) = &global.config {
        return Ok(path.clone());
    }
    match PLACES.iter().map(Path::new).find(|path| path.is_file()) {
        Some(path) => Ok(path.to_owned()),
        None => bail!(Misconfigured(format!(
            "there is no configuration: looked for {}. Name one with --config, or begin with the example in README.md; \
             `vaiven demo` needs none",
            PLACES.join(", ")
        ))),
    }
}

pub fn config(global: &Global) -> anyhow::Result<Config> {
    Ok(Config::load(&config_path(global)?, std::env::vars().collect())?)
}

/// Check that the configuration has a system of this name.
///
/// # Errors
/// If it has none, with the name that may be meant.
pub fn known_system(name: &str, config: &Config) -> anyhow::Result<()> {
    let known: Vec<&str> = config.sections.systems.keys().map(|name| name.get_ref().as_str()).collect();
    if known.contains(&name) {
        return Ok(());
    }
    let meant =
        nearest(name, known.iter().copied()).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    bail!("there is no system `{name}` in the configuration{meant} (there are: {})", known.join(", "))
}

/// Whether a reloaded configuration keeps its state elsewhere. A running daemon cannot follow such a move.
pub fn store_moved(before: &Config, after: &Config) -> bool {
    let url = |config: &Config| config.store_url().ok().map(|url| url.expose_secret().to_owned());
    url(before) != url(after)
}

/// The path of the configuration's file as people know it.
pub fn shown_path(global: &Global) -> String {
    config_path(global).map(|path| path.display().to_string()).unwrap_or_default()
}

/// Adapters and mappings. Works without a configuration too.
pub fn registry(global: &Global) -> anyhow::Result<Registry> {
    match known_config(global)? {
        Some(config) => Ok(config.registry()),
        None => Ok(Registry::new(vec!["adapters".into()], vec!["mappings".into()])),
    }
}

/// Entities. Works without a configuration too.
pub fn entities(global: &Global) -> anyhow::Result<Entities> {
    Ok(match known_config(global)? {
        Some(config) => config.entities()?,
        None => Entities::builtin(),
    })
}

fn known_config(global: &Global) -> anyhow::Result<Option<Config>> {
    if global.config.is_none() && !PLACES.iter().any(|path| Path::new(path).is_file()) {
        return Ok(None);
    }
    config(global).map(Some)
}
