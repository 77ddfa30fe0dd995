//! The queue: table family `job`, as workers use it. Opening, claiming, leases and intents.
//!
//! Called by `sync::delivery`, whose workers claim jobs and give them back, by `sync::preview`, which claims them
//! exclusively, and by `sync::stock`, `sync::delivery`, `sync::engine` and `sync::preview`, which open jobs. Parked
//! jobs are woken in `wake`.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Fence, JobId, RecordId, Result, RunId,
    database::Database,
    sql::{Row, Sql, Tx, args, rows},
    values::{after, json, micros, parse, time, unknown_code},
};
use crate::{
    mapping::Fields,
    port::{Captures, Op},
    wait_reason::WaitReason,
};

mod wake;

pub(super) use wake::{Arrived, lock_target, wake};

/// A job to open. If a job of the same target and record is open, the two become one: a queued job stays, a running
/// one is marked to run again, a parked or dead one is queued again. The job then belongs to the run whose page
/// opened it. If the run that it belonged to is held or was rejected, it stays with that run: a person decides on
/// all of its jobs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    pub target: String,
    pub entity: String,
    pub record: RecordId,
    /// 0 goes first. See `sync::routing`.
    pub priority: i16,
    pub due: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    Queued,
    Running,
    Parked,
    Dead,
    Done,
    Discarded,
}

impl JobState {
    /// The word used in tables, JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Dead => "dead",
            Self::Done => "done",
            Self::Discarded => "discarded",
        }
    }
}

/// Which due jobs a worker asks for: those of one target and one entity.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub target: &'a str,
    /// Entities to skip, because their batches are under way or blocked.
    pub but: &'a [String],
    /// The process that holds the leases.
    pub owner: &'a str,
    /// How many jobs at most.
    pub limit: usize,
    pub lease: Duration,
    pub turn: Turn,
}

/// Which of the entities that have due jobs is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// The one with the foremost priority.
    #[default]
    Foremost,
    /// The one whose job has been due longest, whatever its priority. This keeps every priority from starving.
    Longest,
}

/// A job as the queue holds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Job {
    pub id: JobId,
    pub target: String,
    pub entity: String,
    pub record: RecordId,
    /// 0 goes first. Called `lane` in the table and in JSON.
    #[serde(rename = "lane")]
    pub priority: i16,
    pub state: JobState,
    pub due: DateTime<Utc>,
    pub attempts: u32,
    /// Raised at every claim. Every write about the job carries it, so a worker that lost its lease changes
    /// nothing.
    pub fence: Fence,
    /// Stored before a create, a write of several steps, or a write of shared fields is sent.
    pub intent: Option<Intent>,
    pub cause: Option<WaitReason>,
    pub error: Option<String>,
    pub error_class: Option<String>,
    /// The run that last opened it; `None` if only a person or a wake-up did.
    pub run: Option<RunId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Job {
    /// Return what the job waits for and what went wrong, in one line; empty if there is neither.
    #[must_use]
    pub fn why(&self) -> String {
        let cause = self.cause.as_ref().map(WaitReason::to_string);
        [cause.as_deref(), self.error.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ")
    }
}

/// What a job was about to do when it last wrote to the target. It is kept until the outcome is known. It is stored
/// before the request is sent if the request is a create, or an update that writes shared fields or creates
/// children; for any other update, it is stored once the answer was lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub op: Op,
    pub at: DateTime<Utc>,
    /// Results of finished steps.
    #[serde(default)]
    pub done: Captures,
    /// For a create, by field: the fingerprint of the value that it sends. By the time it is done, the desired
    /// value may be another one.
    #[serde(rename = "told", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sent_fingerprints: BTreeMap<String, String>,
    /// For shared fields: the values that are sent. While the outcome is unknown, these values are recognised at
    /// the target as our own; otherwise they would pass for somebody's edit there.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub shared: Fields,
    /// For a create: the newest record when the intent was first stored. An object of a newer record may be what
    /// the create made; the object of a record that was known before is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<RecordId>,
    /// For children that the write creates: list, then the key that is sent, to the child's member number (see
    /// [`Child::member`](super::Child::member)). When the created child is found, it may have another key at its
    /// source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub children: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Intent {
    #[must_use]
    pub fn new(op: Op, at: DateTime<Utc>) -> Self {
        Self {
            op,
            at,
            done: Captures::default(),
            sent_fingerprints: BTreeMap::new(),
            shared: Fields::new(),
            known: None,
            children: BTreeMap::new(),
        }
    }

    /// Return the intent of an update that may have reached the target.
    #[must_use]
    pub fn update(at: DateTime<Utc>) -> Self {
        Self::new(Op::Update, at)
    }
}

/// Table family `job`, as workers use it. Called by `sync::stock`, `sync::delivery`, `sync::engine` and
/// `sync::preview`.
///
/// A worker holds a job by (job, fence). Every claim raises the fence, so a worker that lost the lease can change
/// nothing any more.
///
/// # Errors
///
/// Those of [`Store`](super::Store). A lost lease is no error: the methods return the jobs that are still held.
#[async_trait]
pub trait QueueStore: Send + Sync {
    /// Open jobs, in one transaction; [`NewJob`] says what happens to a job that is open already. Return how many
    /// were opened or altered. Idempotent.
    async fn enqueue(&self, jobs: &[NewJob], now: DateTime<Utc>) -> Result<u64>;

    /// Claim due jobs of one target, entity and priority, ordered by number. A job whose lease ran out is due
    /// again.
    async fn claim(&self, claim: Claim<'_>, now: DateTime<Utc>) -> Result<Vec<Job>>;

    /// Claim the jobs of these records for a delivery that does not come from the queue, ordered by number. Create
    /// a job if none is open. Take over a queued job; it runs again afterwards. Skip, and do not return, a job that
    /// is running, parked or dead, or that has an intent.
    async fn claim_exclusively(
        &self,
        jobs: &[NewJob],
        owner: &str,
        lease: Duration,
        now: DateTime<Utc>,
    ) -> Result<Vec<Job>>;

    /// For each entity with queued or running jobs at `target`, return when the first is due or its lease ends. An
    /// entity of several priorities appears once for each. The time that this takes does not grow with the number
    /// of jobs.
    async fn soonest(&self, target: &str) -> Result<Vec<(String, DateTime<Utc>)>>;

    /// Extend the leases of (job, fence) to end `lease` after `now`. Return the jobs that are still held.
    async fn renew(&self, jobs: &[(JobId, Fence)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<JobId>>;

    /// Queue claimed jobs, (job, fence), again at once: for a graceful stop. Keep their intents. A job without one
    /// gets the intent of an update, since its request may have reached the target.
    async fn release(&self, jobs: &[(JobId, Fence)], now: DateTime<Utc>) -> Result<()>;

    /// Before anything is sent, store the intents of (job, fence, intent), in one transaction. Return the jobs that are
    /// still held: send nothing for the others.
    async fn intend(&self, intents: &[(JobId, Fence, Intent)], now: DateTime<Utc>) -> Result<Vec<JobId>>;

    /// Call it if the clock was set back. Make queued jobs due now that were last altered after `later`. Return how
    /// many.
    async fn hurry(&self, later: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64>;
}

/// Codes in the table: a job is open if its code is below 4.
impl JobState {
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Queued => 0,
            Self::Running => 1,
            Self::Parked => 2,
            Self::Dead => 3,
            Self::Done => 4,
            Self::Discarded => 5,
        }
    }

    pub(super) fn of(code: i64) -> Result<Self> {
        [Self::Queued, Self::Running, Self::Parked, Self::Dead, Self::Done, Self::Discarded]
            .into_iter()
            .find(|state| state.code() == code)
            .ok_or_else(|| unknown_code("job", "state", code))
    }
}

macro_rules! job_columns {
    () => {
        "id, target, entity, record, lane, state, due, attempts, fence, intent, cause, error, error_class, created_at, \
            updated_at, run"
    };
}

pub(super) use job_columns;

/// One statement per page. It inserts new jobs; open jobs of the same target and record take the change in. A
/// queued job keeps its backoff: its due time is only brought forward if it has not failed. $3 is the run that
/// opens the jobs, if one does. A job whose run is held (2) or was rejected (4) stays with that run; otherwise it
/// would go through with another run.
const OPEN: &str = "INSERT INTO job (target, record, entity, lane, state, due, created_at, updated_at, run) \
    SELECT CAST(j.value->>0 AS BIGINT), CAST(j.value->>1 AS BIGINT), CAST(j.value->>2 AS BIGINT), \
        CAST(j.value->>3 AS BIGINT), 0, CAST(j.value->>4 AS BIGINT), $2, $2, CAST($3 AS BIGINT) FROM json_each($1) j \
            WHERE true \
    ON CONFLICT (record, target) WHERE state < 4 DO UPDATE SET \
        lane = CASE WHEN job.state > 1 OR excluded.lane < job.lane THEN excluded.lane ELSE job.lane END, \
        again = CASE WHEN job.state = 1 THEN 1 ELSE 0 END, \
        due = CASE WHEN job.state > 1 OR (job.state = 0 AND job.attempts = 0 AND excluded.due < job.due) \
            THEN excluded.due ELSE job.due END, \
        attempts = CASE WHEN job.state > 1 THEN 0 ELSE job.attempts END, \
        cause = CASE WHEN job.state > 1 THEN NULL ELSE job.cause END, \
        error = CASE WHEN job.state > 1 THEN NULL ELSE job.error END, \
        error_class = CASE WHEN job.state > 1 THEN NULL ELSE job.error_class END, \
        state = CASE WHEN job.state > 1 THEN 0 ELSE job.state END, \
        run = CASE WHEN excluded.run IS NULL \
                OR coalesce((SELECT r.ruling FROM run r WHERE r.id = job.run), 0) IN (2, 4) \
            THEN job.run ELSE excluded.run END, \
        updated_at = excluded.updated_at \
    WHERE job.state > 1 OR (job.state = 1 AND job.again = 0) OR excluded.lane < job.lane \
        OR (job.state = 0 AND job.attempts = 0 AND excluded.due < job.due) OR excluded.run <> coalesce(job.run, 0)";

/// The (priority, entity) pairs of the target $1 that have queued or running jobs. It takes one index seek for each
/// pair, however many jobs there are.
macro_rules! pairs {
    () => {
        "WITH RECURSIVE lane (lane) AS ( \
             SELECT min(lane) FROM job WHERE target = $1 AND state < 2 \
             UNION ALL \
             SELECT (SELECT min(n.lane) FROM job n WHERE n.target = $1 AND n.state < 2 AND n.lane > l.lane) \
             FROM lane l WHERE l.lane IS NOT NULL), \
         pair (lane, entity) AS ( \
             SELECT l.lane, (SELECT min(n.entity) FROM job n WHERE n.target = $1 AND n.state < 2 AND n.lane = l.lane) \
             FROM lane l WHERE l.lane IS NOT NULL \
             UNION ALL \
             SELECT p.lane, (SELECT min(n.entity) FROM job n WHERE n.target = $1 AND n.state < 2 \
                 AND n.lane = p.lane AND n.entity > p.entity) \
             FROM pair p WHERE p.entity IS NOT NULL)"
    };
}

/// A job whose lease ran out gets $8, the intent of a delivery whose end is not known. If the LIMIT were a bare
/// parameter, SQLite would prepare the statement again for every claim: hence its CAST.
///
/// Takes the foremost pair that has something due ($7 = 1: the pair that has waited longest), and claims its jobs.
macro_rules! claim {
    ($lock:literal) => {
        concat!(
            pairs!(),
            ", foremost AS ( \
                 SELECT d.lane, d.entity FROM ( \
                     SELECT p.lane, p.entity, (SELECT min(j.due) FROM job j WHERE j.target = $1 AND j.state < 2 \
                         AND j.lane = p.lane AND j.entity = p.entity) AS due \
                     FROM pair p WHERE p.entity IS NOT NULL \
                         AND p.entity NOT IN (SELECT CAST(b.value->>0 AS BIGINT) FROM json_each($2) b)) d \
                 WHERE d.due <= $3 \
                 ORDER BY CASE WHEN CAST($7 AS BIGINT) = 1 THEN 0 ELSE d.lane END, d.due, d.lane, d.entity LIMIT 1), \
             taken AS ( \
                 SELECT j.id FROM job j WHERE j.target = $1 AND j.state < 2 \
                     AND j.lane = (SELECT lane FROM foremost) AND j.entity = (SELECT entity FROM foremost) \
                     AND j.due <= $3 \
                 ORDER BY j.due, j.id LIMIT CAST($4 AS BIGINT) ",
            $lock,
            ") UPDATE job SET state = 1, again = CASE WHEN state = 1 THEN 0 ELSE again END, fence = fence + 1, \
                 owner = $5, due = $6, updated_at = $3, \
                 intent = CASE WHEN state = 1 THEN coalesce(intent, $8) ELSE intent END \
             WHERE id IN (SELECT id FROM taken) RETURNING ",
            job_columns!()
        )
    };
}

#[async_trait]
impl QueueStore for Database {
    async fn enqueue(&self, jobs: &[NewJob], now: DateTime<Utc>) -> Result<u64> {
        let Some(lines) = self.job_lines(jobs, now).await? else { return Ok(0) };
        let opened = self.pool.execute("open jobs", OPEN, args![lines, micros(now), None::<RunId>]).await?;
        self.grew(jobs.len()).await;
        Ok(opened)
    }

    async fn claim(&self, claim: Claim<'_>, now: DateTime<Utc>) -> Result<Vec<Job>> {
        const SQL: Sql = Sql { sqlite: claim!(""), postgres: claim!("FOR UPDATE SKIP LOCKED") };
        let target = self.name(claim.target).await?;
        let mut avoided = Vec::with_capacity(claim.but.len());
        for entity in claim.but {
            avoided.push([self.name(entity).await?]);
        }
        let limit = i64::try_from(claim.limit).unwrap_or(i64::MAX);
        let until = after(now, claim.lease);
        let longest = i64::from(claim.turn == Turn::Longest);
        let untold = json(&Intent::update(now))?;
        let args = args![target, rows(avoided)?, micros(now), limit, claim.owner, until, longest, untold];
        let claimed = self.pool.write("claim jobs", SQL, args).await?;
        let mut jobs = self.jobs_in(claimed).await?;
        jobs.sort_unstable_by_key(|job| job.id);
        Ok(jobs)
    }

    async fn claim_exclusively(
        &self,
        jobs: &[NewJob],
        owner: &str,
        lease: Duration,
        now: DateTime<Utc>,
    ) -> Result<Vec<Job>> {
        // A job that was queued runs again afterwards, since this delivery is not what it was queued for.
        const SQL: &str = concat!(
            "INSERT INTO job (target, record, entity, lane, state, due, fence, owner, created_at, updated_at) \
             SELECT CAST(j.value->>0 AS BIGINT), CAST(j.value->>1 AS BIGINT), CAST(j.value->>2 AS BIGINT), \
                 CAST(j.value->>3 AS BIGINT), 1, $4, 1, $3, $2, $2 FROM json_each($1) j WHERE true \
             ON CONFLICT (record, target) WHERE state < 4 DO UPDATE SET state = 1, again = 1, fence = job.fence + 1, \
                 owner = excluded.owner, due = excluded.due, updated_at = excluded.updated_at \
             WHERE job.state = 0 AND job.intent IS NULL RETURNING ",
            job_columns!()
        );
        let Some(lines) = self.job_lines(jobs, now).await? else { return Ok(Vec::new()) };
        let args = args![lines, micros(now), owner, after(now, lease)];
        let claimed = self.pool.write("seize jobs", SQL, args).await?;
        let mut jobs = self.jobs_in(claimed).await?;
        jobs.sort_unstable_by_key(|job| job.id);
        Ok(jobs)
    }

    async fn soonest(&self, target: &str) -> Result<Vec<(String, DateTime<Utc>)>> {
        const SQL: &str = concat!(
            pairs!(),
            " SELECT p.entity, (SELECT min(j.due) FROM job j WHERE j.target = $1 AND j.state < 2 \
                 AND j.lane = p.lane AND j.entity = p.entity) FROM pair p WHERE p.entity IS NOT NULL"
        );
        let mut soonest = Vec::new();
        for row in self.pool.read("look for due jobs", SQL, args![self.name(target).await?]).await? {
            if let Some(due) = row.int_or_null(1)? {
                soonest.push((self.text(row.int(0)?).await?, time(due)));
            }
        }
        Ok(soonest)
    }

    async fn renew(&self, jobs: &[(JobId, Fence)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<JobId>> {
        const SQL: &str = "UPDATE job SET due = $2 FROM json_each($1) j WHERE job.id = CAST(j.value->>0 AS BIGINT) \
            AND job.fence = CAST(j.value->>1 AS BIGINT) AND job.state = 1 RETURNING job.id";
        let held = self.pool.write("renew leases", SQL, args![rows(jobs)?, after(now, lease)]).await?;
        held.iter().map(|row| row.id(0)).collect()
    }

    async fn release(&self, jobs: &[(JobId, Fence)], now: DateTime<Utc>) -> Result<()> {
        const SQL: &str = "UPDATE job SET state = 0, again = 0, owner = NULL, due = $2, updated_at = $2, \
            intent = coalesce(intent, $3) FROM json_each($1) j WHERE job.id = CAST(j.value->>0 AS BIGINT) \
            AND job.fence = CAST(j.value->>1 AS BIGINT) AND job.state = 1";
        let args = args![rows(jobs)?, micros(now), json(&Intent::update(now))?];
        self.pool.execute("release jobs", SQL, args).await.map(drop)
    }

    async fn intend(&self, intents: &[(JobId, Fence, Intent)], now: DateTime<Utc>) -> Result<Vec<JobId>> {
        const SQL: &str = "UPDATE job SET intent = j.value->>2, updated_at = $2 FROM json_each($1) j \
            WHERE job.id = CAST(j.value->>0 AS BIGINT) AND job.fence = CAST(j.value->>1 AS BIGINT) AND job.state = 1 \
            RETURNING job.id";
        let mut lines = Vec::with_capacity(intents.len());
        for (job, fence, intent) in intents {
            lines.push((job, fence, json(intent)?));
        }
        let held = self.pool.write("store intents", SQL, args![rows(lines)?, micros(now)]).await?;
        held.iter().map(|row| row.id(0)).collect()
    }

    async fn hurry(&self, later: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64> {
        const SQL: &str = "UPDATE job SET due = $2, updated_at = $2 WHERE state = 0 AND updated_at > $1 AND due > $2";
        self.pool.execute("bring jobs forward", SQL, args![micros(later), micros(now)]).await
    }
}

impl Database {
    /// Read jobs from rows of `job_columns!`.
    pub(super) async fn jobs_in(&self, found: Vec<Row>) -> Result<Vec<Job>> {
        let mut jobs = Vec::with_capacity(found.len());
        for mut row in found {
            jobs.push(self.job(&mut row).await?);
        }
        Ok(jobs)
    }

    async fn job(&self, row: &mut Row) -> Result<Job> {
        let id = row.id::<JobId>(0)?;
        let intent = row.text_or_null(9)?;
        Ok(Job {
            id,
            target: self.text(row.int(1)?).await?,
            entity: self.text(row.int(2)?).await?,
            record: row.id(3)?,
            priority: row.small(4)?,
            state: JobState::of(row.int(5)?)?,
            due: time(row.int(6)?),
            attempts: row.small(7)?,
            fence: row.id(8)?,
            intent: intent.map(|text| parse(&text, "job", "intent", || id.to_string())).transpose()?,
            cause: row.text_or_null(10)?.map(WaitReason::from),
            error: row.text_or_null(11)?,
            error_class: row.text_or_null(12)?,
            created_at: time(row.int(13)?),
            updated_at: time(row.int(14)?),
            run: row.id_or_null(15)?,
        })
    }

    /// Turn jobs into rows for [`open_jobs`], each (target, record) once. `None` if there are no jobs.
    pub(super) async fn job_lines(&self, jobs: &[NewJob], now: DateTime<Utc>) -> Result<Option<String>> {
        let mut lines = Vec::with_capacity(jobs.len());
        for job in jobs {
            let target = self.name(&job.target).await?;
            let entity = self.name(&job.entity).await?;
            lines.push((target, job.record, entity, job.priority, micros(job.due.unwrap_or(now))));
        }
        // Every process uses the same order, so that two daemons cannot wait for each other's rows. The foremost
        // priority comes first.
        lines.sort_unstable_by_key(|line| (line.0, line.1, line.3, line.4));
        lines.dedup_by_key(|line| (line.0, line.1));
        if lines.is_empty() { Ok(None) } else { rows(lines).map(Some) }
    }
}

/// Open jobs inside a page's transaction; `lines` as made by [`Database::job_lines`].
pub(super) async fn open_jobs(tx: &mut Tx, lines: Option<&str>, run: Option<RunId>, now: DateTime<Utc>) -> Result<()> {
    let Some(lines) = lines else { return Ok(()) };
    tx.execute("open jobs", OPEN, args![lines, micros(now), run]).await.map(drop)
}
