//! Differences: table family `difference`. Fields that a target holds otherwise than it was sent. A difference
//! stays until the values agree, the field is sent again, or a person accepts it.
//!
//! Called by `sync::desired`, which does not write accepted ones, and by `sync::engine`, `sync::preview` and the
//! commands, which count and list them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    RecordId, Result,
    database::Database,
    replicas::Replicas,
    sql::{Row, Sql, Tx, args, by_cause, range, rows},
    values::{micros, parse, time},
};
use crate::mapping::Fields;
use crate::wait_reason::DIFFERS;

/// A field that a target holds otherwise than it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub record: RecordId,
    pub entity: String,
    pub key: String,
    /// The target.
    pub system: String,
    pub field: String,
    pub sent: Value,
    pub stored: Value,
    /// Version of the target's mapping with which the field was sent.
    pub mapping: u64,
    /// Whether a person has accepted the target's value.
    pub accepted: bool,
    pub since: DateTime<Utc>,
}

/// A difference that a delivery has found at its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferenceMark {
    pub record: RecordId,
    pub field: String,
    pub mapping: u64,
}

/// Table family `difference`: what targets hold otherwise than they were sent. Called by `sync::desired`,
/// `sync::engine` and `sync::preview` and the commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait DifferenceStore: Send + Sync {
    /// List the differences, oldest first: at most `limit`, 0 = all. Without `all`, leave out those that a person
    /// accepted.
    async fn differences(&self, all: bool, limit: u32) -> Result<Vec<Difference>>;

    /// Return the differences of records at one target, accepted ones included.
    async fn differences_of(&self, system: &str, records: &[RecordId]) -> Result<Vec<Difference>>;

    /// Count the differences that nobody accepted.
    async fn difference_count(&self) -> Result<u64>;

    /// Accept differences, (system, record, field), and wake the jobs that wait for them. Return how many were not
    /// accepted before. One transaction; idempotent.
    async fn accept_differences(&self, differences: &[(String, RecordId, String)], now: DateTime<Utc>) -> Result<u64>;
}

macro_rules! select_differences {
    ($from:literal) => {
        concat!(
            "SELECT d.record, k.entity, k.key, d.system, d.field, d.mapping, d.accepted, d.at, r.fields, r.sent ",
            $from
        )
    };
}

#[async_trait]
impl DifferenceStore for Database {
    async fn differences(&self, all: bool, limit: u32) -> Result<Vec<Difference>> {
        const SQL: &str = select_differences!(
            "FROM difference d CROSS JOIN record k CROSS JOIN replica r \
             WHERE d.accepted <= $1 AND k.id = d.record AND r.record = d.record AND r.system = d.system \
               AND r.gone_at IS NULL AND r.sent IS NOT NULL ORDER BY d.at, d.system, d.record, d.field LIMIT $2"
        );
        let limit = if limit == 0 { i64::MAX } else { limit.into() };
        let found = self.pool.read("list differences", SQL, args![i64::from(all), limit]).await?;
        self.differences_in(found).await
    }

    async fn differences_of(&self, system: &str, records: &[RecordId]) -> Result<Vec<Difference>> {
        const SQL: &str = select_differences!(
            "FROM json_each($1) j CROSS JOIN difference d CROSS JOIN record k CROSS JOIN replica r \
             WHERE d.system = $2 AND d.record = CAST(j.value->>0 AS BIGINT) AND k.id = d.record \
               AND r.record = d.record AND r.system = $2 AND r.gone_at IS NULL AND r.sent IS NOT NULL"
        );
        let records = rows(records.iter().map(|record| [record]))?;
        let found = self.pool.read("read differences", SQL, args![records, self.name(system).await?]).await?;
        self.differences_in(found).await
    }

    async fn difference_count(&self) -> Result<u64> {
        const SQL: &str = "SELECT count(*) FROM difference WHERE accepted = 0";
        let counted = self.pool.read("count differences", SQL, args![]).await?;
        Ok(counted.first().map(|row| row.int(0)).transpose()?.unwrap_or_default().unsigned_abs())
    }

    async fn accept_differences(&self, differences: &[(String, RecordId, String)], now: DateTime<Utc>) -> Result<u64> {
        const SQL: &str =
            "UPDATE difference SET accepted = 1 WHERE system = $1 AND record = $2 AND field = $3 AND accepted = 0";
        let mut lines = Vec::with_capacity(differences.len());
        for (system, record, field) in differences {
            lines.push((self.name(system).await?, *record, field.as_str()));
        }
        lines.sort_unstable();
        let mut tx = self.pool.begin("accept differences").await?;
        let mut accepted = 0;
        let mut records: BTreeMap<i64, Vec<RecordId>> = BTreeMap::new();
        for (system, record, field) in lines {
            accepted += tx.execute("accept a difference", SQL, args![system, record, field]).await?;
            records.entry(system).or_default().push(record);
        }
        for (system, records) in records {
            wake_differing(&mut tx, system, &records, now).await?;
        }
        tx.commit("accept differences").await?;
        Ok(accepted)
    }
}

impl Database {
    async fn differences_in(&self, found: Vec<Row>) -> Result<Vec<Difference>> {
        let mut differences = Vec::with_capacity(found.len());
        for mut row in found {
            let record = row.id::<RecordId>(0)?;
            let name = || record.to_string();
            let field = row.text(4)?;
            let mut stored: Fields = parse(&row.text(8)?, "replica", "fields", name)?;
            let mut sent: Fields = parse(&row.text(9)?, "replica", "sent", name)?;
            // The value has arrived, or is no longer remembered, by a way that did not check differences.
            let Some(sent) = sent.remove(&field) else { continue };
            differences.push(Difference {
                record,
                entity: self.text(row.int(1)?).await?,
                key: row.text_or_null(2)?.unwrap_or_default(),
                system: self.text(row.int(3)?).await?,
                mapping: row.int(5)?.cast_unsigned(),
                accepted: row.int(6)? == 1,
                since: time(row.int(7)?),
                stored: stored.remove(&field).unwrap_or_default(),
                sent,
                field,
            });
        }
        Ok(differences)
    }
}

/// Store what a page or a delivery has found to differ.
pub(super) async fn mark_differences(tx: &mut Tx, replicas: &Replicas<'_>, marks: &[DifferenceMark]) -> Result<()> {
    const SQL: &str = "INSERT INTO difference (system, record, field, mapping, accepted, at) \
        SELECT $2, CAST(j.value->>0 AS BIGINT), j.value->>1, CAST(j.value->>2 AS BIGINT), 0, $3 \
        FROM json_each($1) j WHERE true \
        ON CONFLICT (record, system, field) DO UPDATE SET mapping = excluded.mapping, accepted = 0";
    if marks.is_empty() {
        return Ok(());
    }
    let lines = rows(marks.iter().map(|mark| (mark.record, &mark.field, mark.mapping.cast_signed())))?;
    tx.execute("note differences", SQL, args![lines, replicas.system, micros(replicas.now)]).await.map(drop)
}

/// Called after replicas were written, with their ids. Delete the differences of fields that are no longer
/// remembered as sent otherwise, or that were sent again and not seen yet. Wake the jobs that waited for them.
pub(super) async fn drop_agreed(tx: &mut Tx, replicas: &Replicas<'_>, ids: &[&str]) -> Result<()> {
    const ANYBODY: &str = "SELECT 1 FROM difference LIMIT 1";
    const READ: &str = "SELECT d.record, d.field, r.sent, r.gone_at, r.fields FROM json_each($1) j \
        CROSS JOIN replica r \
        CROSS JOIN difference d WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>0 \
          AND d.system = $2 AND d.record = r.record";
    const DROP: &str = "DELETE FROM difference WHERE system = $1 AND record = $2 AND field = $3";
    if ids.is_empty() || tx.rows("look for differences", ANYBODY, args![]).await?.is_empty() {
        return Ok(());
    }
    let lines = rows(ids.iter().map(|id| [id]))?;
    let mut agreed = Vec::new();
    for mut row in tx.rows("compare differences", READ, args![lines, replicas.system, replicas.entity]).await? {
        let (record, field) = (row.id::<RecordId>(0)?, row.text(1)?);
        let mut fields = |at, column| -> Result<Fields> {
            let text = row.text_or_null(at)?;
            text.map_or(Ok(Fields::new()), |text| parse(&text, "replica", column, || record.to_string()))
        };
        let (sent, stored) = (fields(2, "sent")?, fields(4, "fields")?);
        let is_agreed = sent.get(&field).is_none_or(|sent| sent == stored.get(&field).unwrap_or(&Value::Null));
        if row.int_or_null(3)?.is_some() || is_agreed {
            agreed.push((record, field));
        }
    }
    for (record, field) in &agreed {
        tx.execute("drop a difference", DROP, args![replicas.system, *record, field.as_str()]).await?;
    }
    let records: Vec<RecordId> = agreed.into_iter().map(|(record, _)| record).collect();
    wake_differing(tx, replicas.system, &records, replicas.now).await
}

/// Queue the jobs again that wait for a difference of these records.
async fn wake_differing(tx: &mut Tx, system: i64, records: &[RecordId], now: DateTime<Utc>) -> Result<()> {
    const SQL: Sql = by_cause!(
        "UPDATE job SET state = 0, due = $3, attempts = 0, cause = NULL, error = NULL, error_class = NULL, \
            updated_at = $3 WHERE target = $2 AND state = 2 AND ",
        "$4",
        "$5",
        " AND record IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j)"
    );
    let (from, to) = range(DIFFERS);
    if records.is_empty() {
        return Ok(());
    }
    let records = rows(records.iter().map(|record| [record]))?;
    tx.execute("wake jobs that waited for a difference", SQL, args![records, system, micros(now), from, to])
        .await
        .map(drop)
}
