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

/// Table family `firing`. Called by `sync::engine`.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait FiringStore: Send + Sync {
    /// Return when a flow's schedule of this kind was last carried out.
    async fn fired(&self, flow: &str, kind: RunKind) -> Result<Option<DateTime<Utc>>>;

    /// Store that a flow's schedule of this kind was carried out. Idempotent.
    async fn set_fired(&self, flow: &str, kind: RunKind, at: DateTime<Utc>) -> Result<()>;
}

#[async_trait]
impl FiringStore for Database {
    async fn fired(&self, flow: &str, kind: RunKind) -> Result<Option<DateTime<Utc>>> {
        const DELTA: &str = "SELECT delta_at FROM firing WHERE flow = $1";
        const FULL: &str = "SELECT full_at FROM firing WHERE flow = $1";
        let sql = if kind == RunKind::Full { FULL } else { DELTA };
        let mut found = self.pool.read("read when a flow was pulled", sql, args![flow]).await?;
        let Some(row) = found.first_mut() else { return Ok(None) };
        Ok(row.int_or_null(0)?.map(time))
    }

    async fn set_fired(&self, flow: &str, kind: RunKind, at: DateTime<Utc>) -> Result<()> {
        const DELTA: &str = "INSERT INTO firing (flow, delta_at) VALUES ($1, $2) \
            ON CONFLICT (flow) DO UPDATE SET delta_at = excluded.delta_at";
        const FULL: &str = "INSERT INTO firing (flow, full_at) VALUES ($1, $2) \
            ON CONFLICT (flow) DO UPDATE SET full_at = excluded.full_at";
        let sql = if kind == RunKind::Full { FULL } else { DELTA };
        self.pool.execute("store that a flow was pulled", sql, args![flow, micros(at)]).await.map(drop)
    }
}
