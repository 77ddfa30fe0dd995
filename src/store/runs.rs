//! Runs: table family `run`. One row for each execution of a pull, with its balance.
//!
//! Called by `sync::pull`, `sync::engine` and `sync::preview`, which read systems, and by `sync::engine`,
//! `sync::preview` and the commands, which look at past runs.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Result, RunId, StoreError,
    database::Database,
    sql::{Arg, Row, args},
    values::{micros, time, unknown_code},
};

/// Counts of one run. The balance closes if `seen = unchanged + changed + skipped + rejected`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    pub seen: u64,
    pub unchanged: u64,
    pub changed: u64,
    pub skipped: u64,
    pub rejected: u64,
    /// Records that a complete pull no longer found.
    pub gone: u64,
}

impl Balance {
    #[must_use]
    pub fn closes(&self) -> bool {
        self.seen == self.unchanged + self.changed + self.skipped + self.rejected
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// What changed since the cursor.
    Delta,
    /// Everything: finds deletions and drift.
    Full,
    /// Some objects by their ids, or what is known of them already. It says nothing about other objects.
    Single,
}

/// One execution of a pull.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    pub id: RunId,
    pub system: String,
    pub entity: String,
    pub kind: RunKind,
    pub trigger: String,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub balance: Balance,
    pub error: Option<String>,
}

/// How the listings of one entity at one system, of one kind, have gone. Reading single objects is no listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastListing {
    pub system: String,
    pub entity: String,
    pub kind: RunKind,
    /// Number of the last one that has ended.
    pub run: RunId,
    /// When it began.
    pub began: DateTime<Utc>,
    /// Why it failed.
    pub error: Option<String>,
    /// Number of the last one that succeeded, and when it began.
    pub good: Option<(RunId, DateTime<Utc>)>,
}

/// Trigger of a run that offers known records to a target, flow, field or rule that has joined.
pub const JOINED: &str = "joined";

/// A run to begin: what is read, how, and why (`schedule`, `first contact`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRun<'a> {
    pub system: &'a str,
    pub entity: &'a str,
    pub kind: RunKind,
    pub trigger: &'a str,
}

impl<'a> NewRun<'a> {
    #[must_use]
    pub fn new(system: &'a str, entity: &'a str, kind: RunKind, trigger: &'a str) -> Self {
        Self { system, entity, kind, trigger }
    }
}

/// Table family `run`: executions of pulls. Called by `sync::pull`, `sync::engine` and `sync::preview` and the
/// commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Begin a run and return its number. `trigger` says what started it, for people; see also [`JOINED`].
    async fn begin_run(&self, run: NewRun<'_>, now: DateTime<Utc>) -> Result<RunId>;

    /// End a run: store its balance and, if it failed, its error. Idempotent.
    async fn end_run(&self, run: RunId, balance: &Balance, error: Option<&str>, now: DateTime<Utc>) -> Result<()>;

    /// List the last `limit` runs, newest first.
    async fn runs(&self, limit: u32) -> Result<Vec<Run>>;

    /// Return a run, if there is one of this number.
    async fn run(&self, run: RunId) -> Result<Option<Run>>;

    /// For each system, entity and kind, return the last listing that has ended, and the last that succeeded. Runs
    /// of [`RunKind::Single`] are no listings.
    async fn listings(&self) -> Result<Vec<LastListing>>;
}

impl RunKind {
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Delta => 0,
            Self::Full => 1,
            Self::Single => 2,
        }
    }

    pub(super) fn of(code: i64) -> Result<Self> {
        [Self::Delta, Self::Full, Self::Single]
            .into_iter()
            .find(|kind| kind.code() == code)
            .ok_or_else(|| unknown_code("run", "kind", code))
    }
}

macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "SELECT id, system, entity, kind, cause, started_at, finished_at, seen, unchanged, changed, skipped, \
                rejected, gone, error FROM run ",
            $rest
        )
    };
}

#[async_trait]
impl RunStore for Database {
    async fn begin_run(
        &self,
        NewRun { system, entity, kind, trigger }: NewRun<'_>,
        now: DateTime<Utc>,
    ) -> Result<RunId> {
        const SQL: &str =
            "INSERT INTO run (system, entity, kind, cause, started_at) VALUES ($1, $2, $3, $4, $5) RETURNING id";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let made =
            self.pool.write("begin a run", SQL, args![system, entity, kind.code(), trigger, micros(now)]).await?;
        made.first().map_or(Err(StoreError::Stale("run")), |row| row.id(0))
    }

    async fn end_run(&self, run: RunId, balance: &Balance, error: Option<&str>, now: DateTime<Utc>) -> Result<()> {
        const SQL: &str = "UPDATE run SET seen = $2, unchanged = $3, changed = $4, skipped = $5, rejected = $6, \
            gone = $7, error = $8, finished_at = $9 WHERE id = $1";
        let mut args = balance_args(run, balance);
        args.extend(args![error, micros(now)]);
        self.pool.execute("end a run", SQL, args).await.map(drop)
    }

    async fn runs(&self, limit: u32) -> Result<Vec<Run>> {
        const SQL: &str = select_runs!("ORDER BY id DESC LIMIT $1");
        let found = self.pool.read("read runs", SQL, args![i64::from(limit)]).await?;
        self.runs_in(found).await
    }

    async fn run(&self, run: RunId) -> Result<Option<Run>> {
        const SQL: &str = select_runs!("WHERE id = $1");
        let found = self.pool.read("read a run", SQL, args![run]).await?;
        Ok(self.runs_in(found).await?.pop())
    }

    async fn listings(&self) -> Result<Vec<LastListing>> {
        // Each half is read from an index of its own.
        const SQL: &str = "SELECT s.text, e.text, r.kind, r.id, r.started_at, r.error, g.id, g.started_at \
            FROM (SELECT system, entity, kind, max(id) AS last FROM run \
                WHERE finished_at IS NOT NULL AND kind < 2 GROUP BY system, entity, kind) l \
            JOIN run r ON r.id = l.last JOIN name s ON s.id = r.system JOIN name e ON e.id = r.entity \
            LEFT JOIN (SELECT system, entity, kind, max(id) AS last FROM run \
                WHERE finished_at IS NOT NULL AND kind < 2 AND error IS NULL GROUP BY system, entity, kind) w \
                ON w.system = l.system AND w.entity = l.entity AND w.kind = l.kind \
            LEFT JOIN run g ON g.id = w.last ORDER BY s.text, e.text, r.kind";
        let mut listings = Vec::new();
        for mut row in self.pool.read("read when systems were listed", SQL, args![]).await? {
            listings.push(LastListing {
                system: row.text(0)?,
                entity: row.text(1)?,
                kind: RunKind::of(row.int(2)?)?,
                run: row.id(3)?,
                began: time(row.int(4)?),
                error: row.text_or_null(5)?,
                good: row.id_or_null(6)?.zip(row.int_or_null(7)?.map(time)),
            });
        }
        Ok(listings)
    }
}

impl Database {
    async fn runs_in(&self, found: Vec<Row>) -> Result<Vec<Run>> {
        let mut runs = Vec::with_capacity(found.len());
        for mut row in found {
            runs.push(Run {
                id: row.id(0)?,
                system: self.text(row.int(1)?).await?,
                entity: self.text(row.int(2)?).await?,
                kind: RunKind::of(row.int(3)?)?,
                trigger: row.text(4)?,
                started_at: time(row.int(5)?),
                finished_at: row.int_or_null(6)?.map(time),
                balance: Balance {
                    seen: row.small(7)?,
                    unchanged: row.small(8)?,
                    changed: row.small(9)?,
                    skipped: row.small(10)?,
                    rejected: row.small(11)?,
                    gone: row.small(12)?,
                },
                error: row.text_or_null(13)?,
            });
        }
        Ok(runs)
    }
}

/// Parameters of a statement about a run: its number, then its counts.
pub(super) fn balance_args(run: RunId, balance: &Balance) -> Vec<Arg> {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    args![
        run,
        count(balance.seen),
        count(balance.unchanged),
        count(balance.changed),
        count(balance.skipped),
        count(balance.rejected),
        count(balance.gone)
    ]
}
