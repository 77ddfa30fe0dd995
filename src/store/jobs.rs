//! Jobs as people see them: table family `job` and `attempt`. The backlog, listings, retry and discard, attempt
//! history.
//!
//! Called by the commands and `sync::engine`, which report to people, by `sync::engine` and `sync::preview`, which
//! look at open jobs, by `sync::delivery`, which evaluates failures, and by `sync::stock`, `sync::pull` and
//! `sync::delivery`, which queue again what waited for them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Job, JobId, JobState, RecordId, Result,
    database::Database,
    queue::job_columns,
    sql::{Arg, args, rows},
    values::{micros, time},
};
use crate::wait_reason::WaitReason;

/// Filter of job listings.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub target: Option<String>,
    pub entity: Option<String>,
    pub states: Vec<JobState>,
    pub cause: Option<WaitReason>,
    pub record: Option<RecordId>,
    pub ids: Vec<JobId>,
    /// How many jobs at most; 0 = all.
    pub limit: u32,
}

/// Class of jobs that wait until a flow's grace is over.
pub const IN_GRACE: &str = "grace";

/// Open jobs of one kind, as the queue's summary shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backlog {
    pub target: String,
    pub entity: String,
    pub state: JobState,
    pub count: u64,
    /// How many of them have waited since the target refused our login.
    pub refused: u64,
    /// When the first of them was opened; for jobs that wait for a time ([`IN_GRACE`]), when that comes.
    pub oldest: Option<DateTime<Utc>>,
    /// Earliest due time among the queued ones.
    pub due: Option<DateTime<Utc>>,
    pub cause: Option<WaitReason>,
}

/// A line of the attempt history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: DateTime<Utc>,
    pub op: String,
    /// `done`, or the failure's class.
    pub outcome: String,
    pub message: Option<String>,
    pub status: Option<u16>,
    pub requests: u32,
    pub millis: u64,
}

/// Table family `job` and `attempt`, as people see them. Called by `sync::stock`, `sync::pull`,
/// `sync::delivery`, `sync::engine` and `sync::preview`, and by the commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Count the open jobs in groups of target, entity, state and cause. Slow if there are many.
    async fn backlog(&self) -> Result<Vec<Backlog>>;

    /// List the jobs that match `filter`, newest first.
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>>;

    /// Queue the parked and dead jobs that match `filter`: due now, with no attempts counted. Return how many.
    async fn retry(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64>;

    /// Discard the parked and dead jobs that match `filter`. Return how many.
    async fn discard(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64>;

    /// Queue the discarded jobs that match `filter`, with their intents. Skip a job if a later one of the same
    /// record and target exists. Return how many were queued.
    async fn restore(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64>;

    /// Return the attempts of a job, oldest first.
    async fn attempts(&self, job: JobId) -> Result<Vec<Attempt>>;

    /// Of these jobs of a target, return those after whose last attempt another write to the target has succeeded.
    async fn gone_through_since(&self, target: &str, jobs: &[JobId]) -> Result<Vec<JobId>>;
}

/// Every part of the filter is a parameter; an absent one matches everything. $1 target, $2 entity, $3 cause, $4
/// record, $5 ids, $6 how many ids, $7 states.
macro_rules! filtered {
    () => {
        "($1 IS NULL OR target = (SELECT id FROM name WHERE text = $1)) \
         AND ($2 IS NULL OR entity = (SELECT id FROM name WHERE text = $2)) \
         AND ($3 IS NULL OR cause = $3) AND ($4 IS NULL OR record = $4) \
         AND ($6 = 0 OR id IN (SELECT CAST(i.value->>0 AS BIGINT) FROM json_each($5) i)) \
         AND state IN (SELECT CAST(s.value->>0 AS BIGINT) FROM json_each($7) s)"
    };
}

const ALL: [JobState; 6] =
    [JobState::Queued, JobState::Running, JobState::Parked, JobState::Dead, JobState::Done, JobState::Discarded];

fn filter_args(filter: &JobFilter, allowed: &[JobState]) -> Result<Vec<Arg>> {
    let states = allowed.iter().filter(|state| filter.states.is_empty() || filter.states.contains(state));
    Ok(args![
        filter.target.as_deref(),
        filter.entity.as_deref(),
        filter.cause.as_ref().map(WaitReason::to_string),
        filter.record,
        rows(filter.ids.iter().map(|id| [id]))?,
        i64::try_from(filter.ids.len()).unwrap_or(i64::MAX),
        rows(states.map(|state| [state.code()]))?
    ])
}

/// 0 means no limit.
fn limit(limit: u32) -> i64 {
    if limit == 0 { i64::MAX } else { limit.into() }
}

#[async_trait]
impl JobStore for Database {
    async fn backlog(&self) -> Result<Vec<Backlog>> {
        const SQL: &str = "SELECT target, entity, state, cause, count(*), \
                count(CASE WHEN state = 0 AND error_class = 'auth' THEN 1 END), \
                min(CASE WHEN error_class = 'grace' THEN due ELSE created_at END), \
                min(CASE WHEN state = 0 THEN due END) \
            FROM job WHERE state < 4 GROUP BY target, entity, state, cause ORDER BY target, entity, state, cause";
        let mut backlog = Vec::new();
        for mut row in self.pool.read("read the backlog", SQL, args![]).await? {
            backlog.push(Backlog {
                target: self.text(row.int(0)?).await?,
                entity: self.text(row.int(1)?).await?,
                state: JobState::of(row.int(2)?)?,
                cause: row.text_or_null(3)?.map(WaitReason::from),
                count: row.small(4)?,
                refused: row.small(5)?,
                oldest: row.int_or_null(6)?.map(time),
                due: row.int_or_null(7)?.map(time),
            });
        }
        Ok(backlog)
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        const ALL_JOBS: &str =
            concat!("SELECT ", job_columns!(), " FROM job WHERE ", filtered!(), " ORDER BY id DESC LIMIT $8");
        // Uses the index by record: a condition that may be absent cannot use one.
        const OF_RECORD: &str = concat!(
            "SELECT ",
            job_columns!(),
            " FROM job WHERE ",
            filtered!(),
            " AND record = $4 ORDER BY id DESC LIMIT $8"
        );
        let sql = if filter.record.is_some() { OF_RECORD } else { ALL_JOBS };
        let mut args = filter_args(filter, &ALL)?;
        args.push(limit(filter.limit).into());
        let found = self.pool.read("list jobs", sql, args).await?;
        self.jobs_in(found).await
    }

    async fn retry(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64> {
        const SQL: &str = concat!(
            "UPDATE job SET state = 0, attempts = 0, due = $9, cause = NULL, error = NULL, error_class = NULL, \
             updated_at = $9 WHERE id IN (SELECT id FROM job WHERE ",
            filtered!(),
            " ORDER BY id LIMIT $8) AND state IN (2, 3)"
        );
        let mut args = filter_args(filter, &[JobState::Parked, JobState::Dead])?;
        args.extend(args![limit(filter.limit), micros(now)]);
        self.pool.execute("retry jobs", SQL, args).await
    }

    async fn discard(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64> {
        const SQL: &str = concat!(
            "UPDATE job SET state = 5, updated_at = $9 WHERE id IN (SELECT id FROM job WHERE ",
            filtered!(),
            " ORDER BY id LIMIT $8) AND state IN (2, 3)"
        );
        let mut args = filter_args(filter, &[JobState::Parked, JobState::Dead])?;
        args.extend(args![limit(filter.limit), micros(now)]);
        self.pool.execute("discard jobs", SQL, args).await
    }

    async fn restore(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64> {
        // Restore the last of several. Its intent is kept, since nobody knows how the request that it had begun
        // ended.
        const SQL: &str = concat!(
            "UPDATE job SET state = 0, attempts = 0, due = $9, cause = NULL, error = NULL, error_class = NULL, \
                again = 0, updated_at = $9 WHERE id IN (SELECT id FROM job WHERE ",
            filtered!(),
            " ORDER BY id LIMIT $8) AND state = 5 \
             AND NOT EXISTS (SELECT 1 FROM job n WHERE n.record = job.record AND n.target = job.target \
                 AND n.id > job.id)"
        );
        let mut args = filter_args(filter, &[JobState::Discarded])?;
        args.extend(args![limit(filter.limit), micros(now)]);
        self.pool.execute("take discarded jobs back", SQL, args).await
    }

    async fn attempts(&self, job: JobId) -> Result<Vec<Attempt>> {
        const SQL: &str =
            "SELECT at, op, outcome, message, status, requests, millis FROM attempt WHERE job = $1 ORDER BY id";
        let mut attempts = Vec::new();
        for mut row in self.pool.read("read attempts", SQL, args![job]).await? {
            attempts.push(Attempt {
                at: time(row.int(0)?),
                op: row.text(1)?,
                outcome: row.text(2)?,
                message: row.text_or_null(3)?,
                status: if row.int_or_null(4)?.is_some() { Some(row.small(4)?) } else { None },
                requests: row.small(5)?,
                millis: row.small(6)?,
            });
        }
        Ok(attempts)
    }

    async fn gone_through_since(&self, target: &str, jobs: &[JobId]) -> Result<Vec<JobId>> {
        const SQL: &str = "WITH last (job, attempt) AS ( \
                SELECT a.job, max(a.id) FROM json_each($1) i CROSS JOIN attempt a \
                WHERE a.job = CAST(i.value->>0 AS BIGINT) GROUP BY a.job), \
            done (attempt) AS ( \
                SELECT a.id FROM attempt a CROSS JOIN job o \
                WHERE a.id > (SELECT min(attempt) FROM last) AND a.outcome = 'done' AND o.id = a.job AND o.target = $2 \
                ORDER BY a.id DESC LIMIT 1) \
            SELECT last.job FROM last CROSS JOIN done WHERE last.attempt < done.attempt ORDER BY last.job";
        let args = args![rows(jobs.iter().map(|job| [job]))?, self.name(target).await?];
        let mut found = self.pool.read("look for writes that went through", SQL, args).await?;
        found.iter_mut().map(|row| row.id(0)).collect()
    }
}
