//! Brakes: table family `brake`, with the run approvals in `run` (column `ruling`). Stores whether the jobs of a
//! run that violate a brake may go, and which jobs wait for that decision.
//!
//! Called by `sync::brakes`, which decides and asks, by `sync::pull`, `sync::engine` and `sync::preview`, and by
//! the commands, which list what waits for a person.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Delivered, JOINED, Job, JobId, Result, RunId, Verdict,
    database::Database,
    queue::job_columns,
    sql::{Sql, Tx, args, rows},
    values::{json, micros, parse, time, unknown_code},
};
use crate::wait_reason::{BRAKE, WaitReason};

/// What applies to the jobs of a run that violate a brake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunApproval {
    /// They may go: the run is within its limits, or it opened no jobs.
    Clear,
    /// They wait: the run is under way, or it broke off and has no approval yet.
    Pending,
    /// The jobs that violate a tripped brake wait for a person.
    Held,
    Approved,
    /// The jobs are not delivered: the target keeps what they would have changed.
    Rejected,
}

/// A brake that a run has tripped at a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BrakeTrip {
    pub target: String,
    /// `delete`, `price-change`...: see `sync::Brake`.
    pub brake: String,
    /// How many records violate it.
    #[serde(rename = "offences")]
    pub violations: u64,
    /// How many records the target held at that time.
    pub base: u64,
    /// How many violations are allowed, as the configuration says it: `5%`, `0`.
    pub allowed: String,
    /// A few of the violating records.
    pub examples: Vec<ViolationExample>,
}

/// The jobs of a run that are held back.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldJobs {
    pub trips: Vec<BrakeTrip>,
    /// Jobs that violate a tripped brake.
    pub jobs: Vec<JobId>,
    /// The reason that is stored with each of these jobs.
    pub why: String,
}

/// One record that violates a brake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViolationExample {
    pub key: String,
    pub field: String,
    /// The field holds personal data: its values are not shown.
    pub personal: bool,
    pub before: Value,
    pub after: Value,
}

/// A run that has no approval yet: it is under way, or it was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub run: RunId,
    pub system: String,
    pub entity: String,
    /// How many records it was about to declare gone, whether it got that far or not.
    pub gone: u64,
    /// Whether it is the first full reading with another mapping or adapter.
    pub remapped: bool,
    /// Whether it offers known records to a target, flow, field or rule that has joined.
    pub joined: bool,
}

/// What has to be known of the run that opened a job which violates a brake.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenedBy {
    pub run: RunId,
    /// The system that the run read.
    pub system: String,
    pub approval: RunApproval,
    /// Whether it was the first full reading with another mapping or adapter.
    pub remapped: bool,
    /// Whether it offers known records to a target, flow, field or rule that has joined.
    pub joined: bool,
    /// Brakes that this run has tripped: (target, brake).
    pub tripped: BTreeSet<(String, String)>,
}

/// A run that its brakes hold until a person decides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitingApproval {
    pub run: RunId,
    pub system: String,
    pub entity: String,
    pub trigger: String,
    pub started_at: DateTime<Utc>,
    /// How many jobs wait for the decision now.
    pub jobs: u64,
    pub trips: Vec<BrakeTrip>,
}

/// Table family `brake`, and the approvals of runs. Called by `sync::brakes`, `sync::pull`, `sync::engine` and
/// `sync::preview` and the commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait BrakeStore: Send + Sync {
    /// List the runs that have opened jobs and have no approval yet, oldest first.
    async fn pending(&self) -> Result<Vec<Pending>>;

    /// List the open jobs of a run at a target that holds their records, by number: those above `after`, at most
    /// `limit`.
    async fn opened(&self, run: RunId, target: &str, after: JobId, limit: usize) -> Result<Vec<Job>>;

    /// List the open jobs of a run at a target that does not hold their records, by number: those above `after`, at
    /// most `limit`.
    async fn newcomers(&self, run: RunId, target: &str, after: JobId, limit: usize) -> Result<Vec<Job>>;

    /// Decide on a pending run: hold the jobs in `held`, or clear the run if nothing is held. One transaction.
    ///
    /// Park the held jobs, unless they are running (their delivery asks for the approval itself). Queue the other
    /// jobs that waited for the run. Return false, and change nothing, if the run has been decided on already.
    async fn set_run_approval(&self, run: RunId, held: Option<&HeldJobs>, now: DateTime<Utc>) -> Result<bool>;

    /// Return the approval that applies to each job: the current one of the run that opened it last. Leave out jobs
    /// without a run.
    async fn run_approvals(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, OpenedBy>>;

    /// List the runs that hold jobs back until a person decides, oldest first.
    async fn waiting_approvals(&self) -> Result<Vec<WaitingApproval>>;

    /// Store a person's decision on a held run, and queue its jobs. One transaction. Return how many were queued;
    /// `None` if the run is not held.
    async fn decide_run(&self, run: RunId, approved: bool, now: DateTime<Utc>) -> Result<Option<u64>>;
}

/// Most runs are clear: they store nothing.
impl RunApproval {
    pub(super) fn code(self) -> Option<i64> {
        match self {
            Self::Clear => None,
            Self::Pending => Some(1),
            Self::Held => Some(2),
            Self::Approved => Some(3),
            Self::Rejected => Some(4),
        }
    }

    pub(super) fn of(code: Option<i64>) -> Result<Self> {
        [Self::Clear, Self::Pending, Self::Held, Self::Approved, Self::Rejected]
            .into_iter()
            .find(|approval| approval.code() == code)
            .ok_or_else(|| unknown_code("run", "ruling", code.unwrap_or_default()))
    }
}

#[async_trait]
impl BrakeStore for Database {
    async fn pending(&self) -> Result<Vec<Pending>> {
        const SQL: &str = "SELECT id, system, entity, gone, remapped, cause FROM run WHERE ruling = 1 ORDER BY id";
        let mut runs = Vec::new();
        for mut row in self.pool.read("look for runs to rule on", SQL, args![]).await? {
            runs.push(Pending {
                run: row.id(0)?,
                system: self.text(row.int(1)?).await?,
                entity: self.text(row.int(2)?).await?,
                gone: row.small(3)?,
                remapped: row.int(4)? != 0,
                joined: row.text(5)? == JOINED,
            });
        }
        Ok(runs)
    }

    async fn opened(&self, run: RunId, target: &str, after: JobId, limit: usize) -> Result<Vec<Job>> {
        // A record that the target does not hold cannot be harmed. If the target holds nothing at all, the jobs are
        // not checked one by one.
        const SQL: &str = concat!(
            "SELECT ",
            job_columns!(),
            " FROM job WHERE run = $1 AND id > $3 AND state < 4 AND target = $2 \
                AND (SELECT 1 FROM replica a WHERE a.system = $2 AND a.entity = (SELECT entity FROM run WHERE id = $1) \
                    AND a.gone_at IS NULL AND a.fields IS NOT NULL LIMIT 1) IS NOT NULL \
                AND (SELECT 1 FROM replica r WHERE r.record = job.record AND r.system = $2 \
                    AND r.gone_at IS NULL AND r.fields IS NOT NULL LIMIT 1) IS NOT NULL \
             ORDER BY id LIMIT $4"
        );
        let args = args![run, self.name(target).await?, after, i64::try_from(limit).unwrap_or(i64::MAX)];
        let found = self.pool.read("list a run's jobs", SQL, args).await?;
        self.jobs_in(found).await
    }

    async fn newcomers(&self, run: RunId, target: &str, after: JobId, limit: usize) -> Result<Vec<Job>> {
        const SQL: &str = concat!(
            "SELECT ",
            job_columns!(),
            " FROM job WHERE run = $1 AND id > $3 AND state < 4 AND target = $2 \
                AND (SELECT 1 FROM replica r WHERE r.record = job.record AND r.system = $2 \
                    AND r.gone_at IS NULL AND r.fields IS NOT NULL LIMIT 1) IS NULL \
             ORDER BY id LIMIT $4"
        );
        let args = args![run, self.name(target).await?, after, i64::try_from(limit).unwrap_or(i64::MAX)];
        let found = self.pool.read("list a run's new records", SQL, args).await?;
        self.jobs_in(found).await
    }

    async fn set_run_approval(&self, run: RunId, held: Option<&HeldJobs>, now: DateTime<Utc>) -> Result<bool> {
        const RULE: &str = "UPDATE run SET ruling = $2 WHERE id = $1 AND ruling = 1";
        const FORGET: &str = "DELETE FROM brake WHERE run = $1";
        const ADD: &str = "INSERT INTO brake (run, target, name, offences, base, allowed, examples) \
            SELECT $2, CAST(j.value->>0 AS BIGINT), j.value->>1, CAST(j.value->>2 AS BIGINT), \
                CAST(j.value->>3 AS BIGINT), j.value->>4, j.value->>5 FROM json_each($1) j";
        const PARK: &str = "UPDATE job SET state = 2, cause = $3, error = $4, error_class = NULL, updated_at = $5 \
            FROM json_each($1) j WHERE job.id = CAST(j.value->>0 AS BIGINT) AND job.run = $2 AND job.state IN (0, 2)";
        const SLICE: usize = 5000;
        let mut lines = Vec::new();
        for trip in held.iter().flat_map(|held| &held.trips) {
            let target = self.name(&trip.target).await?;
            let examples = json(&trip.examples)?;
            lines.push((target, &trip.brake, trip.violations, trip.base, &trip.allowed, examples));
        }
        let approval = if held.is_some() { RunApproval::Held } else { RunApproval::Clear };
        let mut tx = self.pool.begin("rule on a run").await?;
        if tx.execute("rule on a run", RULE, args![run, approval.code()]).await? == 0 {
            return Ok(false);
        }
        tx.execute("forget tripped brakes", FORGET, args![run]).await?;
        if !lines.is_empty() {
            tx.execute("store tripped brakes", ADD, args![rows(lines)?, run]).await?;
        }
        if let Some(held) = held {
            for jobs in held.jobs.chunks(SLICE) {
                let jobs = rows(jobs.iter().map(|job| [job]))?;
                let args = args![jobs, run, WaitReason::Brake(run).to_string(), held.why.as_str(), micros(now)];
                tx.execute("park held jobs", PARK, args).await?;
            }
        }
        queue_anew(&mut tx, run, &WaitReason::Run(run), now).await?;
        tx.commit("rule on a run").await?;
        Ok(true)
    }

    async fn run_approvals(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, OpenedBy>> {
        const OF: &str = "SELECT job.id, r.id, r.system, r.ruling, r.remapped, r.cause FROM json_each($1) j \
            CROSS JOIN job CROSS JOIN run r \
            WHERE job.id = CAST(j.value->>0 AS BIGINT) AND r.id = job.run";
        const TRIPPED: &str = "SELECT b.run, b.target, b.name FROM json_each($1) j CROSS JOIN brake b \
            WHERE b.run = CAST(j.value->>0 AS BIGINT)";
        let mut opened: BTreeMap<JobId, OpenedBy> = BTreeMap::new();
        let mut runs = BTreeSet::new();
        for mut row in self.pool.read("read rulings", OF, args![rows(jobs.iter().map(|job| [job]))?]).await? {
            let (run, approval) = (row.id(1)?, RunApproval::of(row.int_or_null(3)?)?);
            let (system, remapped) = (self.text(row.int(2)?).await?, row.int(4)? != 0);
            let joined = row.text(5)? == JOINED;
            let opened_by = OpenedBy { run, system, approval, remapped, joined, tripped: BTreeSet::new() };
            runs.insert([run]);
            opened.insert(row.id(0)?, opened_by);
        }
        for mut row in self.pool.read("read tripped brakes", TRIPPED, args![rows(runs)?]).await? {
            let (run, target) = (row.id::<RunId>(0)?, self.text(row.int(1)?).await?);
            let brake = row.text(2)?;
            for opened_by in opened.values_mut().filter(|opened_by| opened_by.run == run) {
                opened_by.tripped.insert((target.clone(), brake.clone()));
            }
        }
        Ok(opened)
    }

    async fn waiting_approvals(&self) -> Result<Vec<WaitingApproval>> {
        const RUNS: &str = "SELECT r.id, r.system, r.entity, r.cause, r.started_at, \
                (SELECT count(*) FROM job j WHERE j.run = r.id AND j.state = 2 AND j.cause = $1 || r.id) \
            FROM run r WHERE r.ruling = 2 ORDER BY r.id";
        const TRIPS: &str =
            "SELECT run, target, name, offences, base, allowed, examples FROM brake ORDER BY run, target, name";
        let mut approvals = Vec::new();
        for mut row in self.pool.read("read approvals", RUNS, args![BRAKE]).await? {
            approvals.push(WaitingApproval {
                run: row.id(0)?,
                system: self.text(row.int(1)?).await?,
                entity: self.text(row.int(2)?).await?,
                trigger: row.text(3)?,
                started_at: time(row.int(4)?),
                jobs: row.small(5)?,
                trips: Vec::new(),
            });
        }
        // If the source was corrected meanwhile, there is nothing left to decide on.
        approvals.retain(|approval| approval.jobs > 0);
        if approvals.is_empty() {
            return Ok(approvals);
        }
        for mut row in self.pool.read("read tripped brakes", TRIPS, args![]).await? {
            let run = row.id::<RunId>(0)?;
            let Some(approval) = approvals.iter_mut().find(|approval| approval.run == run) else { continue };
            approval.trips.push(BrakeTrip {
                target: self.text(row.int(1)?).await?,
                brake: row.text(2)?,
                violations: row.small(3)?,
                base: row.small(4)?,
                allowed: row.text(5)?,
                examples: parse(&row.text(6)?, "brake", "examples", || run.to_string())?,
            });
        }
        Ok(approvals)
    }

    async fn decide_run(&self, run: RunId, approved: bool, now: DateTime<Utc>) -> Result<Option<u64>> {
        const SQL: &str = "UPDATE run SET ruling = $2 WHERE id = $1 AND ruling = 2";
        let approval = if approved { RunApproval::Approved } else { RunApproval::Rejected };
        let mut tx = self.pool.begin("decide on a run").await?;
        if tx.execute("decide on a run", SQL, args![run, approval.code()]).await? == 0 {
            return Ok(None);
        }
        let queued = queue_anew(&mut tx, run, &WaitReason::Brake(run), now).await?;
        tx.commit("decide on a run").await?;
        Ok(Some(queued))
    }
}

/// Make the jobs of a run due now that wait for this cause.
async fn queue_anew(tx: &mut Tx, run: RunId, cause: &WaitReason, now: DateTime<Utc>) -> Result<u64> {
    const SQL: &str = "UPDATE job SET state = 0, due = $3, attempts = 0, cause = NULL, error = NULL, \
        error_class = NULL, updated_at = $3 WHERE run = $1 AND state = 2 AND cause = $2";
    tx.execute("queue jobs anew", SQL, args![run, cause.to_string(), micros(now)]).await
}

/// Runs whose approval the jobs of a delivery are about to wait for.
pub(super) struct Awaited(Vec<(RunId, RunApproval)>);

impl Awaited {
    pub(super) fn of(outcomes: &[Delivered]) -> Self {
        let mut awaited = Vec::new();
        for outcome in outcomes {
            match outcome.verdict {
                Verdict::Parked { cause: WaitReason::Run(run), .. } => awaited.push((run, RunApproval::Pending)),
                Verdict::Parked { cause: WaitReason::Brake(run), .. } => awaited.push((run, RunApproval::Held)),
                _ => {}
            }
        }
        awaited.sort_unstable_by_key(|(run, approval)| (*run, approval.code()));
        awaited.dedup();
        Self(awaited)
    }

    /// Return the causes that are over already. Lock the runs until the transaction ends, so that no approval comes
    /// between this check and the parking.
    pub(super) async fn over(&self, tx: &mut Tx) -> Result<Vec<WaitReason>> {
        const SQL: Sql = Sql {
            sqlite: "SELECT r.id, r.ruling FROM json_each($1) j CROSS JOIN run r \
                WHERE r.id = CAST(j.value->>0 AS BIGINT)",
            postgres: "SELECT r.id, r.ruling FROM json_each($1) j CROSS JOIN run r \
                WHERE r.id = CAST(j.value->>0 AS BIGINT) ORDER BY r.id FOR SHARE OF r",
        };
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let mut now = BTreeMap::new();
        for row in tx.rows("look at rulings", SQL, args![rows(self.0.iter().map(|(run, _)| [run]))?]).await? {
            now.insert(row.id::<RunId>(0)?, RunApproval::of(row.int_or_null(1)?)?);
        }
        let over = self.0.iter().filter(|(run, awaited)| now.get(run) != Some(awaited));
        Ok(over
            .map(
                |(run, awaited)| {
                    if *awaited == RunApproval::Held { WaitReason::Brake(*run) } else { WaitReason::Run(*run) }
                },
            )
            .collect())
    }
}

/// Queue the jobs that were just parked for a cause that is over.
pub(super) async fn wake_over(tx: &mut Tx, target: i64, over: &[WaitReason], now: DateTime<Utc>) -> Result<u64> {
    const SQL: &str = "UPDATE job SET state = 0, due = $3, cause = NULL, error = NULL, error_class = NULL, \
        updated_at = $3 \
        WHERE target = $2 AND state = 2 AND cause IN (SELECT j.value->>0 FROM json_each($1) j)";
    if over.is_empty() {
        return Ok(0);
    }
    let causes = rows(over.iter().map(|cause| [cause]))?;
    tx.execute("queue jobs anew", SQL, args![causes, target, micros(now)]).await
}
