//! Standings, leases, orders, notes and the purge.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Intent, Lease, Order, Result, Standing, StoreError,
    database::Database,
    logins::LEASE,
    sql::{Pool, Tx, args},
    values::{after, json, micros, parse, time},
};

const NOTE: &str = "INSERT INTO note (name, value) VALUES ($1, $2) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// A note inside a transaction.
pub(super) async fn write_note(tx: &mut Tx, name: &str, value: &Value) -> Result<()> {
    tx.execute("store a note", NOTE, args![name, json(value)?]).await.map(drop)
}

const KEEP: &str = "UPDATE lease SET until = $4 WHERE name = $1 AND owner = $2 AND fence = $3";

fn keep_args(lease: &Lease, span: Duration, now: DateTime<Utc>) -> Vec<super::sql::Arg> {
    args![lease.name.as_str(), lease.owner.as_str(), lease.fence, after(now, span)]
}

/// Renews a lease inside a transaction, and holds its row until the end of that: nobody takes it over between.
pub(super) async fn keep_lease(tx: &mut Tx, lease: &Lease, span: Duration, now: DateTime<Utc>) -> Result<()> {
    let kept = tx.execute("keep a lease", KEEP, keep_args(lease, span, now)).await?;
    if kept > 0 { Ok(()) } else { Err(StoreError::Overtaken) }
}

impl Database {
    pub(super) async fn recover(&self, now: DateTime<Utc>) -> Result<u64> {
        const JOBS: &str = "UPDATE job SET state = 0, again = 0, owner = NULL, due = $1, updated_at = $1, intent = coalesce(intent, $2) \
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

    pub(super) async fn hurry(&self, later: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64> {
        const SQL: &str = "UPDATE job SET due = $2, updated_at = $2 WHERE state = 0 AND updated_at > $1 AND due > $2";
        self.pool.execute("bring jobs forward", SQL, args![micros(later), micros(now)]).await
    }

    pub(super) async fn standing(&self, system: &str) -> Result<Standing> {
        const SQL: &str = "SELECT until, failures, reason FROM standing WHERE system = $1";
        let mut found = self.pool.read("read a standing", SQL, args![system]).await?;
        let Some(row) = found.first_mut() else { return Ok(Standing::default()) };
        Ok(Standing { until: row.int_or_null(0)?.map(time), failures: row.small(1)?, reason: row.text_or_null(2)? })
    }

    pub(super) async fn set_standing(&self, system: &str, standing: &Standing) -> Result<()> {
        const SQL: &str = "INSERT INTO standing (system, until, failures, reason) VALUES ($1, $2, $3, $4) \
            ON CONFLICT (system) DO UPDATE SET until = excluded.until, failures = excluded.failures, reason = excluded.reason";
        let args = args![system, standing.until.map(micros), i64::from(standing.failures), standing.reason.as_deref()];
        self.pool.execute("store a standing", SQL, args).await.map(drop)
    }

    pub(super) async fn lift(&self, system: &str, now: DateTime<Utc>) -> Result<u64> {
        const JOBS: &str = "UPDATE job SET due = $2, updated_at = $2 \
            WHERE target = (SELECT id FROM name WHERE text = $1) AND state = 0 AND due > $2 \
                AND error_class IN ('auth', 'transient', 'throttled')";
        const REFUSED: &str = "UPDATE job SET state = 0, attempts = 0, due = $2, cause = NULL, error = NULL, \
                error_class = NULL, updated_at = $2 \
            WHERE target = (SELECT id FROM name WHERE text = $1) AND state = 3 AND error_class = 'auth'";
        let mut tx = self.pool.begin("end a pause").await?;
        tx.execute("end a pause", "DELETE FROM standing WHERE system = $1", args![system]).await?;
        let jobs = tx.execute("end a pause", JOBS, args![system, micros(now)]).await?
            + tx.execute("end a pause", REFUSED, args![system, micros(now)]).await?;
        tx.commit("end a pause").await?;
        Ok(jobs)
    }

    pub(super) async fn acquire(
        &self,
        name: &str,
        owner: &str,
        lease: Duration,
        now: DateTime<Utc>,
    ) -> Result<Option<Lease>> {
        const SQL: &str = "INSERT INTO lease (name, owner, fence, until) VALUES ($1, $2, 1, $4) \
            ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = lease.fence + 1, until = excluded.until \
            WHERE lease.until <= $3 RETURNING fence";
        let taken = self.pool.write("acquire a lease", SQL, args![name, owner, micros(now), after(now, lease)]).await?;
        let Some(row) = taken.first() else { return Ok(None) };
        Ok(Some(Lease { name: name.to_owned(), owner: owner.to_owned(), fence: row.int(0)? }))
    }

    pub(super) async fn keep(&self, lease: &Lease, until: Duration, now: DateTime<Utc>) -> Result<bool> {
        Ok(self.pool.execute("keep a lease", KEEP, keep_args(lease, until, now)).await? > 0)
    }

    pub(super) async fn drop_lease(&self, lease: &Lease) -> Result<()> {
        // The row stays, so that fences only ever grow.
        const SQL: &str = "UPDATE lease SET until = 0 WHERE name = $1 AND owner = $2 AND fence = $3";
        let args = args![lease.name.as_str(), lease.owner.as_str(), lease.fence];
        self.pool.execute("drop a lease", SQL, args).await.map(drop)
    }

    pub(super) async fn holder(&self, name: &str, now: DateTime<Utc>) -> Result<Option<String>> {
        const SQL: &str = "SELECT owner FROM lease WHERE name = $1 AND until > $2";
        let mut found = self.pool.read("read a lease", SQL, args![name, micros(now)]).await?;
        found.first_mut().map(|row| row.text(0)).transpose()
    }

    pub(super) async fn place_order(&self, verb: &str, scope: &str, now: DateTime<Utc>) -> Result<i64> {
        const SQL: &str = "INSERT INTO demand (verb, scope, at) VALUES ($1, $2, $3) RETURNING id";
        let made = self.pool.write("place an order", SQL, args![verb, scope, micros(now)]).await?;
        made.first().map_or(Err(StoreError::Stale("order")), |row| row.int(0))
    }

    pub(super) async fn next_order(&self) -> Result<Option<Order>> {
        const SQL: &str = "SELECT id, verb, scope, at FROM demand ORDER BY id LIMIT 1";
        let mut found = self.pool.read("look for orders", SQL, args![]).await?;
        let Some(row) = found.first_mut() else { return Ok(None) };
        Ok(Some(Order { id: row.int(0)?, verb: row.text(1)?, scope: row.text(2)?, at: time(row.int(3)?) }))
    }

    pub(super) async fn close_order(&self, order: i64) -> Result<()> {
        self.pool.execute("close an order", "DELETE FROM demand WHERE id = $1", args![order]).await.map(drop)
    }

    pub(super) async fn note(&self, name: &str, value: &Value) -> Result<()> {
        self.pool.execute("store a note", NOTE, args![name, json(value)?]).await.map(drop)
    }

    pub(super) async fn noted(&self, name: &str) -> Result<Option<Value>> {
        let mut found = self.pool.read("read a note", "SELECT value FROM note WHERE name = $1", args![name]).await?;
        let Some(row) = found.first_mut() else { return Ok(None) };
        parse(&row.text(0)?, "note", "value", || name.to_owned()).map(Some)
    }

    pub(super) async fn notes(&self, beginning: &str) -> Result<Vec<(String, Value)>> {
        const SQL: &str = "SELECT name, value FROM note WHERE substr(name, 1, length($1)) = $1 ORDER BY name";
        let mut notes = Vec::new();
        for mut row in self.pool.read("list notes", SQL, args![beginning]).await? {
            let name = row.text(0)?;
            let value = parse(&row.text(1)?, "note", "value", || name.clone())?;
            notes.push((name, value));
        }
        Ok(notes)
    }

    pub(super) async fn purge(&self, before: DateTime<Utc>, slice: u32) -> Result<u64> {
        // Numbers grow with time, so the oldest rows are at the beginning of the primary key; no index by date is needed.
        const ATTEMPTS: &str = "DELETE FROM attempt WHERE job IN (SELECT id FROM \
            (SELECT id, updated_at FROM job WHERE state > 3 ORDER BY id LIMIT $2) closed WHERE updated_at < $1)";
        const JOBS: &str = "DELETE FROM job WHERE id IN (SELECT id FROM \
            (SELECT id, updated_at FROM job WHERE state > 3 ORDER BY id LIMIT $2) closed WHERE updated_at < $1)";
        const CHANGES: &str =
            "DELETE FROM change_log WHERE id IN (SELECT id FROM change_log ORDER BY id LIMIT $2) AND at < $1";
        // A run whose jobs are still open decides over them.
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
