//! What commands about an existing state work with.

use super::{app, args::Global, output::Output};
use crate::{
    config::{Config, OpenedConfig},
    env::Env,
    store::SharedStore,
};

/// A configuration and its state, and where the result goes.
pub struct Session {
    pub config: Config,
    pub store: SharedStore,
    pub env: Env,
    pub output: Output,
}

impl Session {
    /// # Errors
    /// A wrong configuration, no state yet, a state that cannot be opened.
    pub async fn open(global: &Global, env: &Env) -> anyhow::Result<Self> {
        let config = app::config(global)?;
        let store = app::existing_store(&config).await?;
        Ok(Self { config, store, env: env.clone(), output: Output::new(global) })
    }

    /// What the configuration names, where it can be opened: what is told of a row does without it.
    pub fn opened(&self) -> Option<OpenedConfig> {
        app::world(&self.config, &self.env).ok().and_then(|world| self.config.open(&world).ok())
    }
}
