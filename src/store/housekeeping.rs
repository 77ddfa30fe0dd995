//! Housekeeping across all table families: where the state is, what a starting daemon takes over, and what is old
//! enough to be deleted.
//!
//! Called by `sync::engine`, which starts and purges, and by `sync::context`, which names the place.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    Intent, Result,
    database::Database,
    logins::LEASE,
    sql::{Pool, args},
    values::{json, micros},
};

/// The state as a whole: no table family of its own. Called by `sync::context` and `sync::engine`.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait Housekeeping: Send + Sync {
    /// Return where the state is, for messages: a file, or a server's host, port and database.
    fn place(&self) -> String {
        String::new()
    }

    /// Free what a dead daemon held. A starting daemon calls this once. Return how many jobs came back. One
    /// transaction.
    ///
    /// On SQLite, where one daemon at a time works on the file, all leases that are found belong to a dead daemon.
    /// Queue its jobs at once, with their intents, and end its named leases, except those of logins, which a
    /// command beside the daemon may hold. On PostgreSQL leases run out by themselves: change nothing.
    async fn recover(&self, now: DateTime<Utc>) -> Result<u64>;

    /// Delete what is older than `before`: done and discarded jobs with their attempts, the change log, and runs
    /// that have no open jobs. Look only at the oldest `slice` rows of each, so that no other work waits for long.
    /// Return how many rows were deleted; if there are any, call it again. One transaction.
    async fn purge(&self, before: DateTime<Utc>, slice: u32) -> Result<u64>;
}

#[async_trait]
impl Housekeeping for Database {
    fn place(&self) -> String {
        self.pool.place()
    }

    async fn recover(&self, now: DateTime<Utc>) -> Result<u64> {
        const JOBS: &str = "UPDATE job SET state = 0, again = 0, owner = NULL, due = $1, updated_at = $1, \
            intent = coalesce(intent, $2) \
             WHERE state = 1";
        const LEASES: &str = "UPDATE lease SET until = 0 WHERE substr(name, 1, length($1)) <> $1";
        if !matches!(self.pool, Pool::Sqlite { .. }) {
            return Ok(0);
        }
        let mut tx = self.pool.begin("recover leases").await?;
        tx.execute("recover leases", LEASES, args![LEASE]).await?;
        let recovered = tx.execute("recover leases", JOBS, args![micros(now), json(&Intent::update(now))?]).await?;
        tx.commit("recover leases").await?;
        Ok(recovered)
    }

    async fn purge(&self, before: DateTime<Utc>, slice: u32) -> Result<u64> {
        // Numbers grow with time, so the oldest rows are at the beginning of the primary key; no index by date is
        // needed.
        const ATTEMPTS: &str = "DELETE FROM attempt WHERE job IN (SELECT id FROM \
            (SELECT id, updated_at FROM job WHERE state > 3 ORDER BY id LIMIT $2) closed WHERE updated_at < $1)";
        const JOBS: &str = "DELETE FROM job WHERE id IN (SELECT id FROM \
            (SELECT id, updated_at FROM job WHERE state > 3 ORDER BY id LIMIT $2) closed WHERE updated_at < $1)";
        const CHANGES: &str =
            "DELETE FROM change_log WHERE id IN (SELECT id FROM change_log ORDER BY id LIMIT $2) AND at < $1";
        // Keep a run whose jobs are still open: its approval applies to them.
        const RUNS: &str = "DELETE FROM run WHERE id IN (SELECT id FROM run \
            WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.run = run.id AND job.state < 4) ORDER BY id LIMIT $2) \
            AND started_at < $1";
        const BRAKES: &str = "DELETE FROM brake WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.id = brake.run)";
        let args = || args![micros(before), i64::from(slice)];
        let mut tx = self.pool.begin("purge").await?;
        tx.execute("purge attempts", ATTEMPTS, args()).await?;
        let mut purged = tx.execute("purge jobs", JOBS, args()).await?;
        purged += tx.execute("purge the change log", CHANGES, args()).await?;
        purged += tx.execute("purge runs", RUNS, args()).await?;
        tx.execute("purge tripped brakes", BRAKES, args![]).await?;
        tx.commit("purge").await?;
        Ok(purged)
    }
}
