//! Keeps refresh tokens in the state: in plain text if only the owner can read the file, else sealed.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OnceCell;

use super::{
    Lease, SharedStore, StoreError,
    logins::LEASE,
    open::{self, is_postgres},
    seal::Seal,
};
use crate::{
    env::Env,
    failure::{Class, Failure},
    port::logins::{LoginId, Logins, Renewal},
};

/// How often to check whether another process has finished renewing.
const LOOK: Duration = Duration::from_millis(250);
/// Prefixes of what is kept.
const PLAIN: &str = "plain:";
const SEALED: &str = "sealed:";

/// Opens the state when the first login is renewed. A configuration without such logins never opens it.
pub struct Keeper {
    state: Result<State, String>,
    env: Env,
    owner: String,
    store: OnceCell<SharedStore>,
}

struct State {
    url: SecretString,
    seal: Option<Arc<Seal>>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl Keeper {
    /// A keeper of the state at `url`. `key` seals what it keeps. A state in PostgreSQL needs the key: other people
    /// may read the database, and copies of it may go anywhere.
    #[must_use]
    pub fn new(url: SecretString, key: Option<&SecretString>, env: Env) -> Self {
        let seal = key.map(|key| Seal::new(key).map(Arc::new).ok_or("the key under [store] cannot be used".to_owned()));
        let state = if key.is_none() && is_postgres(url.expose_secret()) {
            Err("the state is in PostgreSQL, which keeps the next one only sealed: write `key = { env = \"X\" }`, \
                 { file = \"...\" } or { credential = \"x\" } under [store] in the configuration, with a text of at \
                 least 32 characters (`openssl rand -base64 32` makes one)"
                .to_owned())
        } else {
            // Go without a seal only if none is asked for.
            seal.transpose().map(|seal| State { url, seal })
        };
        Self::of(state, env)
    }

    /// A keeper that refuses to keep anything, because of `problem`.
    #[must_use]
    pub fn refusing(problem: String, env: Env) -> Self {
        Self::of(Err(problem), env)
    }

    fn of(state: Result<State, String>, env: Env) -> Self {
        let owner = format!("{}-{:016x}", std::process::id(), env.entropy.next_u64());
        Self { state, env, owner, store: OnceCell::new() }
    }

    async fn lease(&self, store: &SharedStore, system: &str, name: &str, span: Duration) -> Result<Lease, Failure> {
        let begun = self.env.now();
        loop {
            let taken = store.acquire(name, &self.owner, span, self.env.now()).await;
            if let Some(lease) = taken.map_err(|error| trouble(system, error))? {
                return Ok(lease);
            }
            // A process that died while it renewed holds the lease for one span at most.
            if (self.env.now() - begun).to_std().is_ok_and(|waited| waited > span.saturating_mul(3)) {
                let waited = span.saturating_mul(3).as_secs();
                let problem =
                    format!("{system}: other processes have been renewing its login for {waited} s; it is tried again");
                return Err(Failure::new(Class::Transient, problem));
            }
            self.env.sleep(LOOK).await;
        }
    }
}

#[async_trait]
impl Logins for Keeper {
    fn refusal(&self) -> Option<String> {
        self.state.as_ref().err().cloned()
    }

    async fn renew(&self, system: &str, login: &LoginId, span: Duration) -> Result<Box<dyn Renewal>, Failure> {
        let state = self.state.as_ref().map_err(|problem| Failure::new(Class::Fatal, problem.clone()))?;
        let store = self.store.get_or_try_init(|| open::open(state.url.expose_secret())).await;
        let store = store.map_err(|error| trouble(system, error))?;
        let name = format!("{LEASE}{}", login.as_str());
        let lease = self.lease(store, system, &name, span).await?;
        let mut held = HeldLogin {
            store: Arc::clone(store),
            env: self.env.clone(),
            seal: state.seal.clone(),
            system: system.to_owned(),
            lease: Some(lease),
            name,
            kept: None,
        };
        let read = async {
            let kept = store.kept_login(&held.name).await.map_err(|error| trouble(system, error))?;
            kept.map(|kept| held.read(&kept)).transpose()
        };
        match read.await {
            Ok(kept) => {
                held.kept = kept;
                Ok(Box::new(held))
            }
            Err(failure) => {
                held.let_go().await;
                Err(failure)
            }
        }
    }
}

/// A lease on one login.
struct HeldLogin {
    store: SharedStore,
    env: Env,
    seal: Option<Arc<Seal>>,
    system: String,
    /// `None` once the lease was given back.
    lease: Option<Lease>,
    name: String,
    kept: Option<SecretString>,
}

impl HeldLogin {
    fn read(&self, kept: &str) -> Result<SecretString, Failure> {
        if let Some(token) = kept.strip_prefix(PLAIN) {
            return Ok(token.into());
        }
        let sealed = kept.strip_prefix(SEALED).unwrap_or_default();
        self.seal.as_ref().and_then(|seal| seal.open(&self.name, sealed)).ok_or_else(|| {
            let problem = format!(
                "{}: the refresh token that the state keeps was sealed with another [store] key: set that one again, \
                 or write a newly issued refresh token into the configuration",
                self.system
            );
            Failure::new(Class::Auth, problem)
        })
    }

    async fn let_go(&mut self) {
        if let Some(lease) = self.lease.take()
            && let Err(error) = self.store.drop_lease(&lease).await
        {
            // The lease runs out by itself.
            tracing::debug!(%error, system = self.system, "the lease on a login was not given back");
        }
    }
}

#[async_trait]
impl Renewal for HeldLogin {
    fn kept(&self) -> Option<&SecretString> {
        self.kept.as_ref()
    }

    async fn keep(&mut self, token: &SecretString) -> Result<(), Failure> {
        let Some(lease) = &self.lease else { return Err(trouble(&self.system, StoreError::Overtaken)) };
        let value = match &self.seal {
            None => Some(format!("{PLAIN}{}", token.expose_secret())),
            Some(seal) => {
                seal.close(&self.name, token, self.env.entropy.as_ref()).map(|sealed| format!("{SEALED}{sealed}"))
            }
        };
        let Some(value) = value else {
            return Err(Failure::new(Class::Fatal, format!("{}: its refresh token cannot be sealed", self.system)));
        };
        let kept = self.store.keep_login(lease, &self.system, &value, self.env.now()).await;
        if !kept.map_err(|error| trouble(&self.system, error))? {
            return Err(trouble(&self.system, StoreError::Overtaken));
        }
        self.kept = Some(token.clone());
        Ok(())
    }

    async fn end(mut self: Box<Self>) {
        self.let_go().await;
    }
}

/// If a renewal is dropped in the middle, others need not wait for its lease.
impl Drop for HeldLogin {
    fn drop(&mut self) {
        if let (Some(lease), Ok(runtime)) = (self.lease.take(), tokio::runtime::Handle::try_current()) {
            let store = Arc::clone(&self.store);
            runtime.spawn(async move { store.drop_lease(&lease).await });
        }
    }
}

fn trouble(system: &str, error: StoreError) -> Failure {
    let problem = format!("{system}: its refresh token cannot be looked after: {error}");
    Failure::new(Class::Transient, problem).with_source(error)
}
