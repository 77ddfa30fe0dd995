//! Firings: table family `firing`. When the schedules of a flow were last carried out.
//!
//! Called by `sync::engine`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    Result, RunKind,
    database::Database,
    sql::args,
    values::{micros, time},
};

/// When a flow's schedules were last carried out. A full pull counts as a delta as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    pub delta: Option<DateTime<Utc>>,
    pub full: Option<DateTime<Utc>>,
}

/// Table family `firing`. Called by `sync::engine`.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait FiringStore: Send + Sync {
    /// Return when a flow was last pulled by its schedules.
    async fn fired(&self, flow: &str) -> Result<Fired>;

    /// Store that a flow was pulled by its schedule. Idempotent.
    async fn set_fired(&self, flow: &str, kind: RunKind, at: DateTime<Utc>) -> Result<()>;
}

#[async_trait]
impl FiringStore for Database {
    async fn fired(&self, flow: &str) -> Result<Fired> {
        const SQL: &str = "SELECT delta_at, full_at FROM firing WHERE flow = $1";
        let mut found = self.pool.read("read when a flow was pulled", SQL, args![flow]).await?;
        let Some(row) = found.first_mut() else { return Ok(Fired::default()) };
        Ok(Fired { delta: row.int_or_null(0)?.map(time), full: row.int_or_null(1)?.map(time) })
    }

    async fn set_fired(&self, flow: &str, kind: RunKind, at: DateTime<Utc>) -> Result<()> {
        const SQL: &str = "INSERT INTO firing (flow, delta_at, full_at) VALUES ($1, $2, $3) \
            ON CONFLICT (flow) DO UPDATE SET delta_at = excluded.delta_at, \
                full_at = coalesce(excluded.full_at, firing.full_at)";
        let full = (kind == RunKind::Full).then(|| micros(at));
        self.pool.execute("store that a flow was pulled", SQL, args![flow, micros(at), full]).await.map(drop)
    }
}
