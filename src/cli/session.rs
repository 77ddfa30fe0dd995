//! What commands on an existing state work with.

use super::{app, args::Global, output::Output};
use crate::{
    config::{Config, OpenedConfig},
    env::Env,
    store::SharedStore,
};

/// A configuration with its state, and the output for the result.
pub struct Session {
    pub config: Config,
    pub store: SharedStore,
    pub env: Env,
    pub output: Output,
}

impl Session {
    /// # Errors
    /// If the configuration is wrong, there is no state yet, or the state cannot be opened.
    pub async fn open(global: &Global, env: &Env) -> anyhow::Result<Self> {
        let config = app::config(global)?;
        let store = app::existing_store(&config).await?;
        Ok(Self { config, store, env: env.clone(), output: Output::new(global) })
    }

    /// The opened configuration. Return `None` if it cannot be opened: a row can be shown without it.
    pub fn opened(&self) -> Option<OpenedConfig> {
        app::world(&self.config, &self.env).ok().and_then(|world| self.config.open(&world).ok())
    }
}
