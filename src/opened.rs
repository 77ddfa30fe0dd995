//! A configuration opened: its state store, its systems and mappings; and how a command that worked on them ended. Called by
//! `demo` and `cli`.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::bail;
use secrecy::ExposeSecret as _;

use crate::{
    adapter::{World, http::Network},
    config::{Config, OpenedConfig},
    env::Env,
    store::{self, Keeper, SharedStore, Sole},
    sync::Affairs,
};

/// How a command that went through ends. `run`, `plan` and `status` end by [`Affairs`]; what lists one kind of trouble ends
/// by what it lists; what changes something ends as fine when it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// 0
    Fine,
    /// 1: it was found out that something does not work.
    Failed,
    /// 3: finished, but something waits for a person, or could not be read. What is on its way is fine, and so is what a
    /// person has given up.
    Attention,
}

impl Ending {
    #[must_use]
    pub fn of(affairs: &Affairs) -> Self {
        if affairs.is_well() { Self::Fine } else { Self::Attention }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Fine => Self::SUCCESS,
            Ending::Failed => Self::from(1),
            Ending::Attention => Self::from(3),
        }
    }
}

/// Opens (or creates) the state store.
pub async fn store(config: &Config) -> anyhow::Result<SharedStore> {
    Ok(store::open(config.store_url()?.expose_secret()).await?)
}

/// Opens (or creates) the state store to carry out what it says, alone where it is a file.
pub async fn sole_store(config: &Config) -> anyhow::Result<(SharedStore, Sole)> {
    let store = store(config).await?;
    let sole = Sole::take(config.store_url()?.expose_secret())?;
    Ok((store, sole))
}

/// Opens the state store of a configuration that has run before; looking at it must not make one.
pub async fn existing_store(config: &Config) -> anyhow::Result<SharedStore> {
    let url = config.store_url()?;
    if let Some(file) = url.expose_secret().strip_prefix("sqlite://")
        && !Path::new(file).exists()
    {
        bail!("there is no state at {file} yet: `vaiven run` makes it");
    }
    store(config).await
}

/// Everything the configuration names, opened and proven to fit together; warnings are logged.
pub fn plan(config: &Config, env: &Env) -> anyhow::Result<OpenedConfig> {
    let plan = config.open(&world(config, env)?)?;
    for warning in plan.warnings.iter().chain(&plan.refusals) {
        tracing::warn!("{warning}");
    }
    Ok(plan)
}

/// The network, the clock, the folder that relative paths start at, and where refresh tokens are kept.
pub fn world(config: &Config, env: &Env) -> anyhow::Result<World> {
    let logins = match (config.store_url(), config.store_key()) {
        (Ok(url), Ok(key)) => Keeper::new(url, key.as_ref(), env.clone()),
        // Told where it belongs; whoever keeps nothing need not know the state.
        (Err(error), _) | (_, Err(error)) => Keeper::refusing(error.to_string(), env.clone()),
    };
    Ok(World {
        env: env.clone(),
        transport: Arc::new(Network::new()?),
        folder: config.folder.clone(),
        logins: Arc::new(logins),
    })
}
