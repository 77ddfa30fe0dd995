//! Logins: table family `login`. Refresh tokens, each protected by the lease under which it is renewed.
//!
//! Called by no room of `sync`, only by [`Keeper`](super::Keeper), which adapters reach through `port::logins`.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Lease, Result, database::Database, sql::args, values::micros};

/// Prefix of the names of leases on logins, and of the names of their entries.
pub(super) const LEASE: &str = "login:";

/// Entries of logins that the configuration no longer names are deleted after this time. No refresh token stays
/// valid that long without use.
const SEASON: TimeDelta = TimeDelta::days(400);

/// Table family `login`: what is kept for logins. Called by [`Keeper`](super::Keeper), not by `sync`.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait LoginStore: Send + Sync {
    /// Return what is kept for the login `name`, as it was given to [`keep_login`](Self::keep_login).
    async fn kept_login(&self, name: &str) -> Result<Option<String>>;

    /// Keep `value` for the login that the lease is named for, and delete the entries of `system` that are older
    /// than 400 days. One transaction. Return false, and keep the other value, if a later holder of the lease has
    /// stored one already.
    async fn keep_login(&self, lease: &Lease, system: &str, value: &str, now: DateTime<Utc>) -> Result<bool>;
}

#[async_trait]
impl LoginStore for Database {
    async fn kept_login(&self, name: &str) -> Result<Option<String>> {
        const SQL: &str = "SELECT value FROM login WHERE name = $1";
        let mut found = self.pool.read("read what is kept of a login", SQL, args![name]).await?;
        found.first_mut().map(|row| row.text(0)).transpose()
    }

    async fn keep_login(&self, lease: &Lease, system: &str, value: &str, now: DateTime<Utc>) -> Result<bool> {
        const KEEP: &str = "INSERT INTO login (name, system, value, fence, at) VALUES ($1, $2, $3, $4, $5) \
            ON CONFLICT (name) DO UPDATE SET system = excluded.system, value = excluded.value, fence = excluded.fence, \
            at = excluded.at WHERE login.fence <= excluded.fence";
        const FORGET: &str = "DELETE FROM login WHERE system = $1 AND at < $2";
        let doing = "keep something of a login";
        let mut tx = self.pool.begin(doing).await?;
        let kept = tx.execute(doing, KEEP, args![lease.name.as_str(), system, value, lease.fence, micros(now)]).await?;
        tx.execute(doing, FORGET, args![system, micros(now - SEASON)]).await?;
        tx.commit(doing).await?;
        Ok(kept > 0)
    }
}
