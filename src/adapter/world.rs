//! What a system needs from outside.

use std::{path::PathBuf, sync::Arc};

use super::transport::Transport;
use crate::{env::Env, port::logins::Logins};

/// What a driver needs from outside.
#[derive(Clone, Debug)]
pub struct World {
    pub env: Env,
    pub transport: Arc<dyn Transport>,
    /// The folder where relative paths in settings start.
    pub folder: PathBuf,
    /// Keeps refresh tokens for the next process.
    pub logins: Arc<dyn Logins>,
}
