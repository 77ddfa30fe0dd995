//! Shared fields: table family `merged` and `conflict`. Merged values of fields that nobody owns, and the fields
//! that wait for a person's decision.
//!
//! Called by `sync::conflict`, which merges and carries decisions out, by `sync::desired`, which loads them, and by
//! `sync::engine` and the commands, which list conflicts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Intent, JobId, NewJob, RecordId, Result, StoreError,
    database::Database,
    queue::open_jobs,
    sql::{Row, Tx, args, rows},
    values::{fields_or_null, json, micros, parse, time},
};
use crate::mapping::Fields;

/// Merged value of a record's shared fields: what its systems have to agree on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// Field to value; `null` if they agree that it is absent. A field that is missing here was never merged.
    pub fields: Fields,
    /// 0 = there is none yet.
    pub revision: i64,
}

/// Merged fields to be written, if the stored revision is still the one that they were made from.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedWrite {
    pub record: RecordId,
    pub revision: i64,
    pub fields: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictKind {
    /// A shared field: the system and the others changed it to different values.
    Conflict,
    /// A field of another owner was edited at the system, and the flow says to report it.
    Drift,
}

/// A field that waits for a person's decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conflict {
    pub record: RecordId,
    pub entity: String,
    /// The system whose value differs.
    pub system: String,
    pub field: String,
    pub kind: ConflictKind,
    /// The last value that they agreed on; for a drift, the value that the owner had delivered.
    pub base: Value,
    pub at: DateTime<Utc>,
}

/// A conflict of the page's system to open or to close. If it is open already, opening it changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct ConflictMark {
    pub record: RecordId,
    pub field: String,
    /// `None` closes it.
    pub kind: Option<ConflictKind>,
    pub base: Value,
}

/// How a person resolves a conflict.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// Change no value: the merged value goes to the system, or the drifted value stays there.
    Leave,
    /// Use another merged value.
    Merged(MergedWrite),
    /// Deliver the owner's value again over the drifted one.
    Repair,
}

/// Table family `merged` and `conflict`: shared fields. Called by `sync::conflict`, `sync::desired` and
/// `sync::engine` and the commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store), and of [`resolve_conflict`](Self::resolve_conflict): [`StoreError::Stale`] if
/// the merged value has changed since the revision that the decision was made from.
#[async_trait]
pub trait MergeStore: Send + Sync {
    /// Return the merged fields of records. Leave out records whose fields were never merged.
    async fn merged(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Merged>>;

    /// Return the shared fields that deliveries whose end is not known yet may have written to `system`, by record.
    async fn sent_shared_fields(&self, system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Fields>>;

    /// Return the open conflicts of records, ordered by record, system and field.
    async fn conflicts_of(&self, records: &[RecordId]) -> Result<Vec<Conflict>>;

    /// List the open conflicts, oldest first: at most `limit`, 0 = all.
    async fn conflicts(&self, limit: u32) -> Result<Vec<Conflict>>;

    /// Close a conflict, store what was decided, and open the jobs that follow. One transaction. Return false, and
    /// change nothing, if the conflict was resolved already.
    async fn resolve_conflict(
        &self,
        conflict: &Conflict,
        settlement: &Settlement,
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<bool>;
}

#[async_trait]
impl MergeStore for Database {
    async fn merged(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Merged>> {
        const SQL: &str = "SELECT m.record, m.revision, m.fields FROM json_each($1) j CROSS JOIN merged m \
            WHERE m.record = CAST(j.value->>0 AS BIGINT)";
        let records = rows(records.iter().map(|record| [record]))?;
        let mut merged = BTreeMap::new();
        for mut row in self.pool.read("read merged fields", SQL, args![records]).await? {
            let record = row.id::<RecordId>(0)?;
            let fields = parse(&row.text(2)?, "merged", "fields", || record.to_string())?;
            merged.insert(record, Merged { revision: row.int(1)?, fields });
        }
        Ok(merged)
    }

    async fn sent_shared_fields(&self, system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Fields>> {
        // Open, and neither parked nor dead: only the first condition has an index.
        const SQL: &str = "SELECT b.record, b.id, b.intent FROM json_each($1) j CROSS JOIN job b \
            WHERE b.record = CAST(j.value->>0 AS BIGINT) AND b.target = $2 AND b.state < 4 AND b.state < 2 \
              AND b.intent IS NOT NULL";
        let records = rows(records.iter().map(|record| [record]))?;
        let system = self.name(system).await?;
        let mut sent = BTreeMap::new();
        for mut row in self.pool.read("read what may have been told", SQL, args![records, system]).await? {
            let job = row.id::<JobId>(1)?;
            let intent: Intent = parse(&row.text(2)?, "job", "intent", || job.to_string())?;
            if !intent.shared.is_empty() {
                sent.insert(row.id(0)?, intent.shared);
            }
        }
        Ok(sent)
    }

    async fn conflicts_of(&self, records: &[RecordId]) -> Result<Vec<Conflict>> {
        const SQL: &str = "SELECT c.record, k.entity, c.system, c.field, c.kind, c.base, c.at FROM json_each($1) j \
            CROSS JOIN conflict c CROSS JOIN record k WHERE c.record = CAST(j.value->>0 AS BIGINT) AND k.id = c.record \
            ORDER BY c.record, c.system, c.field";
        let records = rows(records.iter().map(|record| [record]))?;
        let found = self.pool.read("read conflicts", SQL, args![records]).await?;
        self.conflicts_in(found).await
    }

    async fn conflicts(&self, limit: u32) -> Result<Vec<Conflict>> {
        const SQL: &str = "SELECT c.record, k.entity, c.system, c.field, c.kind, c.base, c.at FROM conflict c \
            JOIN record k ON k.id = c.record ORDER BY c.at, c.record, c.system, c.field LIMIT $1";
        let limit = if limit == 0 { i64::MAX } else { limit.into() };
        let found = self.pool.read("list conflicts", SQL, args![limit]).await?;
        self.conflicts_in(found).await
    }

    async fn resolve_conflict(
        &self,
        conflict: &Conflict,
        settlement: &Settlement,
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<bool> {
        const CLOSE: &str = "DELETE FROM conflict WHERE record = $1 AND system = $2 AND field = $3";
        let system = self.name(&conflict.system).await?;
        let jobs = self.job_lines(jobs, now).await?;
        let mut tx = self.pool.begin("settle a conflict").await?;
        let closed =
            tx.execute("settle a conflict", CLOSE, args![conflict.record, system, conflict.field.as_str()]).await?;
        if closed == 0 {
            return Ok(false);
        }
        match settlement {
            Settlement::Leave => {}
            Settlement::Merged(merged) => write_merged(&mut tx, std::slice::from_ref(merged)).await?,
            Settlement::Repair => forget_sent(&mut tx, conflict, system).await?,
        }
        open_jobs(&mut tx, jobs.as_deref(), None, now).await?;
        tx.commit("settle a conflict").await?;
        Ok(true)
    }
}

impl Database {
    async fn conflicts_in(&self, found: Vec<Row>) -> Result<Vec<Conflict>> {
        let mut conflicts = Vec::with_capacity(found.len());
        for mut row in found {
            let record = row.id::<RecordId>(0)?;
            conflicts.push(Conflict {
                record,
                entity: self.text(row.int(1)?).await?,
                system: self.text(row.int(2)?).await?,
                field: row.text(3)?,
                kind: if row.int(4)? == 0 { ConflictKind::Conflict } else { ConflictKind::Drift },
                base: parse(&row.text(5)?, "conflict", "base", || record.to_string())?,
                at: time(row.int(6)?),
            });
        }
        Ok(conflicts)
    }
}

/// Forget what was sent for a field, so that it counts as different from its owner's value.
async fn forget_sent(tx: &mut Tx, conflict: &Conflict, system: i64) -> Result<()> {
    const READ: &str = "SELECT sent FROM replica WHERE record = $1 AND system = $2";
    const WRITE: &str = "UPDATE replica SET sent = $3 WHERE record = $1 AND system = $2";
    let mut found = tx.rows("read a replica", READ, args![conflict.record, system]).await?;
    let Some(text) = found.first_mut().map(|row| row.text_or_null(0)).transpose()?.flatten() else { return Ok(()) };
    let mut sent: Fields = parse(&text, "replica", "sent", || conflict.record.to_string())?;
    sent.remove(&conflict.field);
    tx.execute("update a replica", WRITE, args![conflict.record, system, fields_or_null(&sent)?]).await.map(drop)
}

/// Write merged fields if nobody has changed them since they were read; `Stale` if another page was faster.
pub(super) async fn write_merged(tx: &mut Tx, writes: &[MergedWrite]) -> Result<()> {
    const SQL: &str = "INSERT INTO merged (record, revision, fields) \
        SELECT CAST(j.value->>0 AS BIGINT), CAST(j.value->>1 AS BIGINT) + 1, j.value->>2 FROM json_each($1) j \
            WHERE true \
        ON CONFLICT (record) DO UPDATE SET revision = excluded.revision, fields = excluded.fields \
        WHERE merged.revision = excluded.revision - 1";
    if writes.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::with_capacity(writes.len());
    for write in writes {
        lines.push((write.record, write.revision, json(&write.fields)?));
    }
    lines.sort_unstable_by_key(|line| line.0);
    let written = tx.execute("write merged fields", SQL, args![rows(&lines)?]).await?;
    if written == lines.len() as u64 { Ok(()) } else { Err(StoreError::Stale("merged fields")) }
}

/// Open, renew and close the conflicts of a page's system.
pub(super) async fn mark_conflicts(tx: &mut Tx, system: i64, marks: &[ConflictMark], now: DateTime<Utc>) -> Result<()> {
    const CLOSE: &str = "DELETE FROM conflict WHERE system = $2 AND EXISTS (SELECT 1 FROM json_each($1) j \
        WHERE conflict.record = CAST(j.value->>0 AS BIGINT) AND conflict.field = j.value->>1)";
    const OPEN: &str = "INSERT INTO conflict (record, system, field, kind, base, at) \
        SELECT CAST(j.value->>0 AS BIGINT), $2, j.value->>1, CAST(j.value->>2 AS BIGINT), j.value->>3, $3 \
        FROM json_each($1) j WHERE true ON CONFLICT (record, system, field) DO NOTHING";
    let (open, close): (Vec<_>, Vec<_>) = marks.iter().partition(|mark| mark.kind.is_some());
    if !close.is_empty() {
        let lines = rows(close.iter().map(|mark| (mark.record, &mark.field)))?;
        tx.execute("close conflicts", CLOSE, args![lines, system]).await?;
    }
    if !open.is_empty() {
        let mut lines = Vec::with_capacity(open.len());
        for mark in open {
            let kind = i64::from(mark.kind == Some(ConflictKind::Drift));
            lines.push((mark.record, &mark.field, kind, json::<Value>(&mark.base)?));
        }
        tx.execute("open conflicts", OPEN, args![rows(lines)?, system, micros(now)]).await?;
    }
    Ok(())
}
