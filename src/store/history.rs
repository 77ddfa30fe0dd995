//! History: table family `change_log`. What was seen to change, and what deliveries changed.
//!
//! Called by `sync::preview`, which undoes changes, by `sync::delivery`, which notices records that flap, by
//! `sync::stock`, and by the commands, which explain a record.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    JobId, RecordId, Result, RunId,
    database::Database,
    replicas::Replicas,
    sql::{Row, Tx, args, rows},
    values::{json, micros, parse, time, unknown_code},
};
use crate::mapping::Fields;

/// A line of the change log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub id: i64,
    pub record: RecordId,
    pub entity: String,
    pub system: String,
    pub op: ChangeOp,
    /// Field to `[before, after]`.
    pub fields: Fields,
    pub cause: Origin,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeOp {
    Create,
    Update,
    Delete,
    /// Takes back what an earlier delivery did.
    Undo,
}

/// What caused a change. Written as `run 12`, `job 77`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Origin {
    /// A run saw the change.
    Run(RunId),
    /// A delivery made the change.
    Job(JobId),
}

impl Origin {
    fn code(self) -> (i64, i64) {
        match self {
            Self::Run(run) => (0, run.into()),
            Self::Job(job) => (1, job.into()),
        }
    }

    fn of(kind: i64, number: i64) -> Result<Self> {
        match kind {
            0 => Ok(Self::Run(RunId(number))),
            1 => Ok(Self::Job(JobId(number))),
            _ => Err(unknown_code("change_log", "cause_kind", kind)),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run) => write!(f, "run {run}"),
            Self::Job(job) => write!(f, "job {job}"),
        }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

/// A change to append.
#[derive(Clone, Debug)]
pub struct NewChange {
    pub record: RecordId,
    pub op: ChangeOp,
    pub fields: Fields,
}

/// Table family `change_log`: what happened to records. Called by `sync::stock`, `sync::delivery` and `sync::preview`
/// and the commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait HistoryStore: Send + Sync {
    /// Return the last `limit` changes of a record, newest first.
    async fn changes(&self, record: RecordId, limit: u32) -> Result<Vec<Change>>;

    /// Return the changes that a run saw, oldest first: those numbered above `after`, at most `limit`.
    async fn changes_of_run(&self, run: RunId, after: i64, limit: u32) -> Result<Vec<Change>>;

    /// Return all known changes of records, oldest first.
    async fn history(&self, records: &[RecordId]) -> Result<Vec<Change>>;

    /// Find the records that deliveries wrote to a system at least `often` times since `since`, and return these
    /// writes: record, what was done, and each field's `[before, after]`; ordered by record, newest first.
    async fn written_often(
        &self,
        system: &str,
        records: &[RecordId],
        since: DateTime<Utc>,
        often: u32,
    ) -> Result<Vec<(RecordId, ChangeOp, Fields)>>;
}

impl ChangeOp {
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Create => 0,
            Self::Update => 1,
            Self::Delete => 2,
            Self::Undo => 3,
        }
    }

    pub(super) fn of(code: i64) -> Result<Self> {
        [Self::Create, Self::Update, Self::Delete, Self::Undo]
            .into_iter()
            .find(|op| op.code() == code)
            .ok_or_else(|| unknown_code("change_log", "op", code))
    }
}

macro_rules! changes {
    ($from:literal) => {
        concat!(
            "SELECT c.id, c.record, k.entity, c.system, c.op, c.fields, c.cause_kind, c.cause, c.at \
             FROM change_log c JOIN record k ON k.id = c.record ",
            $from
        )
    };
}

#[async_trait]
impl HistoryStore for Database {
    async fn changes(&self, record: RecordId, limit: u32) -> Result<Vec<Change>> {
        const SQL: &str = changes!("WHERE c.record = $1 ORDER BY c.id DESC LIMIT $2");
        let found = self.pool.read("read the change log", SQL, args![record, i64::from(limit)]).await?;
        self.changes_in(found).await
    }

    async fn changes_of_run(&self, run: RunId, after: i64, limit: u32) -> Result<Vec<Change>> {
        const SQL: &str = changes!("WHERE c.cause_kind = 0 AND c.cause = $1 AND c.id > $2 ORDER BY c.id LIMIT $3");
        let found = self.pool.read("read a run's changes", SQL, args![run, after, i64::from(limit)]).await?;
        self.changes_in(found).await
    }

    async fn history(&self, records: &[RecordId]) -> Result<Vec<Change>> {
        const SQL: &str =
            changes!("WHERE c.record IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j) ORDER BY c.id");
        let records = rows(records.iter().map(|record| [record]))?;
        let found = self.pool.read("read records' changes", SQL, args![records]).await?;
        self.changes_in(found).await
    }

    async fn written_often(
        &self,
        system: &str,
        records: &[RecordId],
        since: DateTime<Utc>,
        often: u32,
    ) -> Result<Vec<(RecordId, ChangeOp, Fields)>> {
        // Almost always there are none: then only the times are read.
        const OFTEN: &str = "SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j WHERE (SELECT count(*) FROM ( \
                SELECT c.at FROM change_log c WHERE c.record = CAST(j.value->>0 AS BIGINT) AND c.system = $2 \
                    AND c.cause_kind = 1 \
                ORDER BY c.id DESC LIMIT $4) w WHERE w.at > $3) >= $4";
        const WRITES: &str = "SELECT c.record, c.op, c.fields, c.id FROM json_each($1) j CROSS JOIN change_log c \
            WHERE c.record = CAST(j.value->>0 AS BIGINT) AND c.system = $2 AND c.cause_kind = 1 AND c.at > $3 \
            ORDER BY c.record, c.id DESC";
        let (system, since) = (self.name(system).await?, micros(since));
        let asked = rows(records.iter().map(|record| [record]))?;
        let found =
            self.pool.read("look for flapping records", OFTEN, args![asked, system, since, i64::from(often)]).await?;
        let flapping =
            found.iter().map(|row| row.id(0).map(|record: RecordId| [record])).collect::<Result<Vec<_>>>()?;
        let mut writes = Vec::new();
        if flapping.is_empty() {
            return Ok(writes);
        }
        for mut row in self.pool.read("read our last writes", WRITES, args![rows(flapping)?, system, since]).await? {
            let id = row.int(3)?;
            let fields = parse(&row.text(2)?, "change_log", "fields", || id.to_string())?;
            writes.push((row.id(0)?, ChangeOp::of(row.int(1)?)?, fields));
        }
        Ok(writes)
    }
}

impl Database {
    async fn changes_in(&self, found: Vec<Row>) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(found.len());
        for mut row in found {
            let id = row.int(0)?;
            changes.push(Change {
                id,
                record: row.id(1)?,
                entity: self.text(row.int(2)?).await?,
                system: self.text(row.int(3)?).await?,
                op: ChangeOp::of(row.int(4)?)?,
                fields: parse(&row.text(5)?, "change_log", "fields", || id.to_string())?,
                cause: Origin::of(row.int(6)?, row.int(7)?)?,
                at: time(row.int(8)?),
            });
        }
        Ok(changes)
    }
}

impl Replicas<'_> {
    /// Append changes that were made at the system, or seen there, to the change log.
    pub(super) async fn log(&self, tx: &mut Tx, changes: &[(&NewChange, Origin)]) -> Result<()> {
        const SQL: &str = "INSERT INTO change_log (record, system, op, cause_kind, cause, at, fields) \
            SELECT CAST(j.value->>0 AS BIGINT), $2, CAST(j.value->>1 AS BIGINT), CAST(j.value->>2 AS BIGINT), \
                CAST(j.value->>3 AS BIGINT), $3, j.value->>4 FROM json_each($1) j";
        if changes.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::with_capacity(changes.len());
        for (change, cause) in changes {
            let (kind, cause) = cause.code();
            lines.push((change.record, change.op.code(), kind, cause, json(&change.fields)?));
        }
        tx.execute("append to the change log", SQL, args![rows(lines)?, self.system, micros(self.now)]).await.map(drop)
    }
}
