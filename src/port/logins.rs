//! What must outlive the process of a login: the refresh token that the service gave in exchange for the one it was
//! shown.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::failure::Failure;

/// A login, identified by what the configuration says of it. If the configuration gets a new token, this is another
/// login, and what was kept of the old one no longer counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoginId(String);

impl LoginId {
    /// Make the id from the client and the refresh token that the configuration names. Neither can be read from it.
    #[must_use]
    pub fn of(client: &str, token: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("vaiven: which login a kept refresh token belongs to");
        hasher.update(client.as_bytes()).update(&[0]).update(token.as_bytes());
        Self(hasher.finalize().to_hex().chars().take(32).collect())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Keeps refresh tokens for the next process, and lets only one process at a time renew a login: each token can be
/// used once.
#[async_trait]
pub trait Logins: Send + Sync + fmt::Debug {
    /// Why nothing can be kept here, and what to do about it.
    fn refusal(&self) -> Option<String>;

    /// Wait until nobody else renews this login, and read what is kept of it. A process that has not ended its
    /// renewal after `span` counts as dead, and others go on.
    ///
    /// # Errors
    /// If the place where tokens are kept fails, or what is kept there cannot be read.
    async fn renew(&self, system: &str, login: &LoginId, span: Duration) -> Result<Box<dyn Renewal>, Failure>;
}

/// The right to renew one login.
#[async_trait]
pub trait Renewal: Send + Sync {
    /// The refresh token that was given last, if any was.
    fn kept(&self) -> Option<&SecretString>;

    /// Make a token durable. Nothing may rely on it before.
    ///
    /// # Errors
    /// If it could not be made durable.
    async fn keep(&mut self, token: &SecretString) -> Result<(), Failure>;

    /// Let others renew the login.
    async fn end(self: Box<Self>);
}

/// Keeps tokens only as long as the process lives: for tests, which have no state.
#[derive(Clone, Default)]
pub struct InMemory(Arc<Mutex<HashMap<LoginId, SecretString>>>);

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InMemory")
    }
}

struct HeldLogins {
    all: OwnedMutexGuard<HashMap<LoginId, SecretString>>,
    login: LoginId,
}

#[async_trait]
impl Logins for InMemory {
    fn refusal(&self) -> Option<String> {
        None
    }

    async fn renew(&self, _system: &str, login: &LoginId, _span: Duration) -> Result<Box<dyn Renewal>, Failure> {
        Ok(Box::new(HeldLogins { all: Arc::clone(&self.0).lock_owned().await, login: login.clone() }))
    }
}

#[async_trait]
impl Renewal for HeldLogins {
    fn kept(&self) -> Option<&SecretString> {
        self.all.get(&self.login)
    }

    async fn keep(&mut self, token: &SecretString) -> Result<(), Failure> {
        self.all.insert(self.login.clone(), token.expose_secret().into());
        Ok(())
    }

    async fn end(self: Box<Self>) {}
}
