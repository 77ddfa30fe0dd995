//! Leases: table family `lease`. Exclusive rights to a piece of work, which end by themselves.
//!
//! Called by `sync::context`, which renews leases while work goes on, by `sync::brakes`, `sync::pull`,
//! `sync::engine` and `sync::preview`, which work alone, and by `sync::delivery` and `sync::preview`, which ask who
//! holds one.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    Fence, Result, StoreError,
    database::Database,
    sql::{Arg, Tx, args},
    values::{after, micros},
};

/// Exclusive right to a piece of work (`pull:erp/product`, `scheduler`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub owner: String,
    pub fence: Fence,
}

/// Table family `lease`: who works alone on what. Called by `sync::context`, `sync::brakes`, `sync::pull`,
/// `sync::delivery`, `sync::engine` and `sync::preview`, and by [`Keeper`](super::Keeper) for logins.
///
/// # Errors
///
/// Those of [`Store`](super::Store). A lease that is lost or taken is no error.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Acquire the lease `name` for `owner`, to end `lease` after `now`. Return `None` if somebody holds it,
    /// `owner` included.
    async fn acquire(&self, name: &str, owner: &str, lease: Duration, now: DateTime<Utc>) -> Result<Option<Lease>>;

    /// Extend a lease to end `until` after `now`. Return false if somebody else has acquired it meanwhile.
    async fn keep(&self, lease: &Lease, until: Duration, now: DateTime<Utc>) -> Result<bool>;

    /// End a lease now. Change nothing if somebody else has acquired it meanwhile. Idempotent.
    async fn drop_lease(&self, lease: &Lease) -> Result<()>;

    /// Return the owner that holds the lease `name` at `now`.
    async fn holder(&self, name: &str, now: DateTime<Utc>) -> Result<Option<String>>;
}

const KEEP: &str = "UPDATE lease SET until = $4 WHERE name = $1 AND owner = $2 AND fence = $3";

fn keep_args(lease: &Lease, span: Duration, now: DateTime<Utc>) -> Vec<Arg> {
    args![lease.name.as_str(), lease.owner.as_str(), lease.fence, after(now, span)]
}

/// Renew a lease inside a transaction, and lock its row until the transaction ends, so that nobody takes it over in
/// between.
pub(super) async fn keep_lease(tx: &mut Tx, lease: &Lease, span: Duration, now: DateTime<Utc>) -> Result<()> {
    let kept = tx.execute("keep a lease", KEEP, keep_args(lease, span, now)).await?;
    if kept > 0 { Ok(()) } else { Err(StoreError::Overtaken) }
}

#[async_trait]
impl LeaseStore for Database {
    async fn acquire(&self, name: &str, owner: &str, lease: Duration, now: DateTime<Utc>) -> Result<Option<Lease>> {
        const SQL: &str = "INSERT INTO lease (name, owner, fence, until) VALUES ($1, $2, 1, $4) \
            ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = lease.fence + 1, until = excluded.until \
            WHERE lease.until <= $3 RETURNING fence";
        let taken = self.pool.write("acquire a lease", SQL, args![name, owner, micros(now), after(now, lease)]).await?;
        let Some(row) = taken.first() else { return Ok(None) };
        Ok(Some(Lease { name: name.to_owned(), owner: owner.to_owned(), fence: row.id(0)? }))
    }

    async fn keep(&self, lease: &Lease, until: Duration, now: DateTime<Utc>) -> Result<bool> {
        Ok(self.pool.execute("keep a lease", KEEP, keep_args(lease, until, now)).await? > 0)
    }

    async fn drop_lease(&self, lease: &Lease) -> Result<()> {
        // The row stays, so that fences only ever grow.
        const SQL: &str = "UPDATE lease SET until = 0 WHERE name = $1 AND owner = $2 AND fence = $3";
        let args = args![lease.name.as_str(), lease.owner.as_str(), lease.fence];
        self.pool.execute("drop a lease", SQL, args).await.map(drop)
    }

    async fn holder(&self, name: &str, now: DateTime<Utc>) -> Result<Option<String>> {
        const SQL: &str = "SELECT owner FROM lease WHERE name = $1 AND until > $2";
        let mut found = self.pool.read("read a lease", SQL, args![name, micros(now)]).await?;
        found.first_mut().map(|row| row.text(0)).transpose()
    }
}
