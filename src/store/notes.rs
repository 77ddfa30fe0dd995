//! Notes: table family `note`. Small values under a name, such as `covered:<source>/<entity>/<target>`, which says
//! with what a route was covered.
//!
//! Called by `sync::context`, `sync::desired`, `sync::pull` and `sync::engine`, each for names of its own.

use async_trait::async_trait;
use serde_json::Value;

use super::{
    Result,
    database::Database,
    sql::{Tx, args},
    values::{json, parse},
};

/// Table family `note`: small values under a name. Called by `sync::context`, `sync::desired`,
/// `sync::pull` and `sync::engine`.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait NoteStore: Send + Sync {
    /// Store a value under a name, in place of an earlier one. Idempotent.
    /// [`PageCommit::notes`](super::PageCommit::notes) stores values together with a page.
    async fn note(&self, name: &str, value: &Value) -> Result<()>;

    /// Return the value under a name.
    async fn noted(&self, name: &str) -> Result<Option<Value>>;

    /// Return all values whose names begin with `beginning`, ordered by name.
    async fn notes(&self, beginning: &str) -> Result<Vec<(String, Value)>>;
}

const NOTE: &str = "INSERT INTO note (name, value) VALUES ($1, $2) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// Store a note inside a transaction.
pub(super) async fn write_note(tx: &mut Tx, name: &str, value: &Value) -> Result<()> {
    tx.execute("store a note", NOTE, args![name, json(value)?]).await.map(drop)
}

#[async_trait]
impl NoteStore for Database {
    async fn note(&self, name: &str, value: &Value) -> Result<()> {
        self.pool.execute("store a note", NOTE, args![name, json(value)?]).await.map(drop)
    }

    async fn noted(&self, name: &str) -> Result<Option<Value>> {
        let mut found = self.pool.read("read a note", "SELECT value FROM note WHERE name = $1", args![name]).await?;
        let Some(row) = found.first_mut() else { return Ok(None) };
        parse(&row.text(0)?, "note", "value", || name.to_owned()).map(Some)
    }

    async fn notes(&self, beginning: &str) -> Result<Vec<(String, Value)>> {
        const SQL: &str = "SELECT name, value FROM note WHERE substr(name, 1, length($1)) = $1 ORDER BY name";
        let mut notes = Vec::new();
        for mut row in self.pool.read("list notes", SQL, args![beginning]).await? {
            let name = row.text(0)?;
            let value = parse(&row.text(1)?, "note", "value", || name.clone())?;
            notes.push((name, value));
        }
        Ok(notes)
    }
}
