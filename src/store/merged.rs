//! Merged values of shared fields, and the fields nobody decided on yet.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Conflict, ConflictKind, ConflictMark, Intent, Merged, MergedWrite, NewJob, RecordId, Result, Settlement,
    StoreError,
    database::Database,
    queue::open_jobs,
    sql::{Row, Tx, args, rows},
    values::{fields_or_null, json, micros, parse, time},
};
use crate::mapping::Fields;

impl Database {
    pub(super) async fn merged(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Merged>> {
        const SQL: &str = "SELECT m.record, m.revision, m.fields FROM json_each($1) j CROSS JOIN merged m \
            WHERE m.record = CAST(j.value->>0 AS BIGINT)";
        let records = rows(records.iter().map(|record| [record]))?;
        let mut merged = BTreeMap::new();
        for mut row in self.pool.read("read merged fields", SQL, args![records]).await? {
            let record = row.int(0)?;
            let fields = parse(&row.text(2)?, "merged", "fields", || record.to_string())?;
            merged.insert(record, Merged { revision: row.int(1)?, fields });
        }
        Ok(merged)
    }

    pub(super) async fn conflicts_of(&self, records: &[RecordId]) -> Result<Vec<Conflict>> {
        const SQL: &str = "SELECT c.record, k.entity, c.system, c.field, c.kind, c.base, c.at FROM json_each($1) j \
            CROSS JOIN conflict c CROSS JOIN record k WHERE c.record = CAST(j.value->>0 AS BIGINT) AND k.id = c.record \
            ORDER BY c.record, c.system, c.field";
        let records = rows(records.iter().map(|record| [record]))?;
        let found = self.pool.read("read conflicts", SQL, args![records]).await?;
        self.conflicts_in(found).await
    }

    pub(super) async fn told(&self, system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Fields>> {
        // Open, and not parked or dead: the first alone has an index.
        const SQL: &str = "SELECT b.record, b.id, b.intent FROM json_each($1) j CROSS JOIN job b \
            WHERE b.record = CAST(j.value->>0 AS BIGINT) AND b.target = $2 AND b.state < 4 AND b.state < 2 \
              AND b.intent IS NOT NULL";
        let records = rows(records.iter().map(|record| [record]))?;
        let system = self.name(system).await?;
        let mut told = BTreeMap::new();
        for mut row in self.pool.read("read what may have been told", SQL, args![records, system]).await? {
            let job = row.int(1)?;
            let intent: Intent = parse(&row.text(2)?, "job", "intent", || job.to_string())?;
            if !intent.shared.is_empty() {
                told.insert(row.int(0)?, intent.shared);
            }
        }
        Ok(told)
    }

    pub(super) async fn conflicts(&self, limit: u32) -> Result<Vec<Conflict>> {
        const SQL: &str = "SELECT c.record, k.entity, c.system, c.field, c.kind, c.base, c.at FROM conflict c \
            JOIN record k ON k.id = c.record ORDER BY c.at, c.record, c.system, c.field LIMIT $1";
        let limit = if limit == 0 { i64::MAX } else { limit.into() };
        let found = self.pool.read("list conflicts", SQL, args![limit]).await?;
        self.conflicts_in(found).await
    }

    async fn conflicts_in(&self, found: Vec<Row>) -> Result<Vec<Conflict>> {
        let mut conflicts = Vec::with_capacity(found.len());
        for mut row in found {
            let record = row.int(0)?;
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

    pub(super) async fn settle_conflict(
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

/// What was sent of a field is forgotten, so that it counts as different from what its owner says.
async fn forget_sent(tx: &mut Tx, conflict: &Conflict, system: i64) -> Result<()> {
    const READ: &str = "SELECT sent FROM replica WHERE record = $1 AND system = $2";
    const WRITE: &str = "UPDATE replica SET sent = $3 WHERE record = $1 AND system = $2";
    let mut found = tx.rows("read a replica", READ, args![conflict.record, system]).await?;
    let Some(text) = found.first_mut().map(|row| row.text_or_null(0)).transpose()?.flatten() else { return Ok(()) };
    let mut sent: Fields = parse(&text, "replica", "sent", || conflict.record.to_string())?;
    sent.remove(&conflict.field);
    tx.execute("update a replica", WRITE, args![conflict.record, system, fields_or_null(&sent)?]).await.map(drop)
}

/// Writes merged fields as they were seen before; `Stale` where another page was faster.
pub(super) async fn write_merged(tx: &mut Tx, writes: &[MergedWrite]) -> Result<()> {
    const SQL: &str = "INSERT INTO merged (record, revision, fields) \
        SELECT CAST(j.value->>0 AS BIGINT), CAST(j.value->>1 AS BIGINT) + 1, j.value->>2 FROM json_each($1) j WHERE true \
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

/// Opens, renews and closes the conflicts of a page's system.
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
