//! Commands to the daemon: table family `demand`. What the command line, or the page, asks the running daemon to
//! do.
//!
//! Called by `sync::engine`, which carries them out. The command line places them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Result, StoreError,
    database::Database,
    sql::args,
    values::{micros, time},
};

/// A request handed to the running daemon through the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    pub id: i64,
    /// `resync`
    pub verb: String,
    /// `flow`, `flow/entity` or `flow/entity/KEY`
    pub scope: String,
    pub at: DateTime<Utc>,
}

/// Table family `demand`: commands to the running daemon. Called by `sync::engine` and the commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait CommandStore: Send + Sync {
    /// Place a command and return its number; see [`Command`] for `verb` and `scope`.
    async fn place_command(&self, verb: &str, scope: &str, now: DateTime<Utc>) -> Result<i64>;

    /// Return the oldest command. It stays until it is closed: if the daemon dies while it carries the command out,
    /// the next daemon finds it again.
    async fn next_command(&self) -> Result<Option<Command>>;

    /// Close a command. Idempotent.
    async fn close_command(&self, order: i64) -> Result<()>;
}

#[async_trait]
impl CommandStore for Database {
    async fn place_command(&self, verb: &str, scope: &str, now: DateTime<Utc>) -> Result<i64> {
        const SQL: &str = "INSERT INTO demand (verb, scope, at) VALUES ($1, $2, $3) RETURNING id";
        let made = self.pool.write("place an order", SQL, args![verb, scope, micros(now)]).await?;
        made.first().map_or(Err(StoreError::Stale("order")), |row| row.int(0))
    }

    async fn next_command(&self) -> Result<Option<Command>> {
        const SQL: &str = "SELECT id, verb, scope, at FROM demand ORDER BY id LIMIT 1";
        let mut found = self.pool.read("look for orders", SQL, args![]).await?;
        let Some(row) = found.first_mut() else { return Ok(None) };
        Ok(Some(Command { id: row.int(0)?, verb: row.text(1)?, scope: row.text(2)?, at: time(row.int(3)?) }))
    }

    async fn close_command(&self, order: i64) -> Result<()> {
        self.pool.execute("close an order", "DELETE FROM demand WHERE id = $1", args![order]).await.map(drop)
    }
}
