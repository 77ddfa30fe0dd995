//! The queue: opening, claiming, leases and intents.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    Claim, Intent, Job, JobState, NewJob, ReplicaWrite, Result, Turn,
    database::Database,
    replica::Replicas,
    sql::{Row, Sql, Tx, args, rows},
    values::{after, json, micros, parse, time},
};
use crate::failure::Cause;

macro_rules! job_columns {
    () => {
        "id, target, entity, record, lane, state, due, attempts, fence, intent, cause, error, error_class, created_at, updated_at, \
         run"
    };
}
pub(super) use job_columns;

/// One statement per page: new jobs are inserted, open ones of the same target and record take the change in.
/// A queued one keeps its backoff, so its due time is only brought forward while it has not failed. $3 is the run that opens
/// them, if one does; a job whose run is held (2) or was rejected (4) stays with it, or it would slip through with another.
const OPEN: &str = "INSERT INTO job (target, record, entity, lane, state, due, created_at, updated_at, run) \
    SELECT CAST(j.value->>0 AS BIGINT), CAST(j.value->>1 AS BIGINT), CAST(j.value->>2 AS BIGINT), \
        CAST(j.value->>3 AS BIGINT), 0, CAST(j.value->>4 AS BIGINT), $2, $2, CAST($3 AS BIGINT) FROM json_each($1) j WHERE true \
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

/// The (lane, entity) pairs of the target $1 that have queued jobs or such that are under way, by one index seek each, however
/// many jobs they hold.
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

/// A job of which somebody's lease ran out gets $8, the intent of whoever does not tell how it ended. A bare parameter as LIMIT would have SQLite prepare the statement anew for every claim, hence its CAST.
///
/// Takes the foremost pair that has something due ($7 = 1: the one that has waited longest), and claims of it.
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
                     AND j.lane = (SELECT lane FROM foremost) AND j.entity = (SELECT entity FROM foremost) AND j.due <= $3 \
                 ORDER BY j.due, j.id LIMIT CAST($4 AS BIGINT) ",
            $lock,
            ") UPDATE job SET state = 1, again = CASE WHEN state = 1 THEN 0 ELSE again END, fence = fence + 1, owner = $5, \
                 due = $6, updated_at = $3, intent = CASE WHEN state = 1 THEN coalesce(intent, $8) ELSE intent END \
             WHERE id IN (SELECT id FROM taken) RETURNING ",
            job_columns!()
        )
    };
}

impl Database {
    pub(super) async fn enqueue(&self, jobs: &[NewJob], now: DateTime<Utc>) -> Result<u64> {
        let Some(lines) = self.job_lines(jobs, now).await? else { return Ok(0) };
        let opened = self.pool.execute("open jobs", OPEN, args![lines, micros(now), None::<i64>]).await?;
        self.grew(jobs.len()).await;
        Ok(opened)
    }

    pub(super) async fn claim(&self, claim: Claim<'_>, now: DateTime<Utc>) -> Result<Vec<Job>> {
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
        let mut jobs = Vec::new();
        for mut row in self.pool.write("claim jobs", SQL, args).await? {
            jobs.push(self.job(&mut row).await?);
        }
        jobs.sort_unstable_by_key(|job| job.id);
        Ok(jobs)
    }

    pub(super) async fn soonest(&self, target: &str) -> Result<Vec<(String, DateTime<Utc>)>> {
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

    pub(super) async fn seize(
        &self,
        jobs: &[NewJob],
        owner: &str,
        lease: Duration,
        now: DateTime<Utc>,
    ) -> Result<Vec<Job>> {
        // What was queued runs again afterwards, since this delivery is not what it was queued for.
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
        let mut seized = Vec::new();
        let args = args![lines, micros(now), owner, after(now, lease)];
        for mut row in self.pool.write("seize jobs", SQL, args).await? {
            seized.push(self.job(&mut row).await?);
        }
        seized.sort_unstable_by_key(|job| job.id);
        Ok(seized)
    }

    pub(super) async fn job(&self, row: &mut Row) -> Result<Job> {
        let id = row.int(0)?;
        let intent = row.text_or_null(9)?;
        Ok(Job {
            id,
            target: self.text(row.int(1)?).await?,
            entity: self.text(row.int(2)?).await?,
            record: row.int(3)?,
            lane: row.small(4)?,
            state: JobState::of(row.int(5)?)?,
            due: time(row.int(6)?),
            attempts: row.small(7)?,
            fence: row.int(8)?,
            intent: intent.map(|text| parse(&text, "job", "intent", || id.to_string())).transpose()?,
            cause: row.text_or_null(10)?,
            error: row.text_or_null(11)?,
            error_class: row.text_or_null(12)?,
            created_at: time(row.int(13)?),
            updated_at: time(row.int(14)?),
            run: row.int_or_null(15)?,
        })
    }

    pub(super) async fn renew(&self, jobs: &[(i64, i64)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<i64>> {
        const SQL: &str = "UPDATE job SET due = $2 FROM json_each($1) j WHERE job.id = CAST(j.value->>0 AS BIGINT) \
            AND job.fence = CAST(j.value->>1 AS BIGINT) AND job.state = 1 RETURNING job.id";
        let held = self.pool.write("renew leases", SQL, args![rows(jobs)?, after(now, lease)]).await?;
        held.iter().map(|row| row.int(0)).collect()
    }

    pub(super) async fn release(&self, jobs: &[(i64, i64)], now: DateTime<Utc>) -> Result<()> {
        const SQL: &str = "UPDATE job SET state = 0, again = 0, owner = NULL, due = $2, updated_at = $2, \
            intent = coalesce(intent, $3) FROM json_each($1) j WHERE job.id = CAST(j.value->>0 AS BIGINT) \
            AND job.fence = CAST(j.value->>1 AS BIGINT) AND job.state = 1";
        let args = args![rows(jobs)?, micros(now), json(&Intent::update(now))?];
        self.pool.execute("release jobs", SQL, args).await.map(drop)
    }

    pub(super) async fn intend(&self, intents: &[(i64, i64, Intent)], now: DateTime<Utc>) -> Result<Vec<i64>> {
        const SQL: &str = "UPDATE job SET intent = j.value->>2, updated_at = $2 FROM json_each($1) j \
            WHERE job.id = CAST(j.value->>0 AS BIGINT) AND job.fence = CAST(j.value->>1 AS BIGINT) AND job.state = 1 \
            RETURNING job.id";
        let mut lines = Vec::with_capacity(intents.len());
        for (job, fence, intent) in intents {
            lines.push((job, fence, json(intent)?));
        }
        let held = self.pool.write("store intents", SQL, args![rows(lines)?, micros(now)]).await?;
        held.iter().map(|row| row.int(0)).collect()
    }
}

/// Opens jobs inside a page's transaction; lines as made by [`Database::job_lines`].
pub(super) async fn open_jobs(tx: &mut Tx, lines: Option<&str>, run: Option<i64>, now: DateTime<Utc>) -> Result<()> {
    let Some(lines) = lines else { return Ok(()) };
    tx.execute("open jobs", OPEN, args![lines, micros(now), run]).await.map(drop)
}

/// Parking on something missing and writing that something must not overlap, or the wake-up is lost between them: writers
/// of replicas share the target's lock, parkers have it alone. SQLite's one writer needs none.
pub(super) async fn lock_target(tx: &mut Tx, target: i64, alone: bool) -> Result<()> {
    // A class of advisory locks of our own, per schema.
    const SHARED: &str =
        "SELECT 1 FROM pg_advisory_xact_lock_shared(current_schema()::regnamespace::oid::int, $1::int)";
    const ALONE: &str = "SELECT 1 FROM pg_advisory_xact_lock(current_schema()::regnamespace::oid::int, $1::int)";
    if matches!(tx, Tx::Sqlite(_)) {
        return Ok(());
    }
    tx.rows("lock a target", if alone { ALONE } else { SHARED }, args![target]).await.map(drop)
}

/// Queues parked jobs of this system that wait for a record, or a child, that is now there (or is told apart from another of
/// its key): written, or found by one of the jobs `quiet` to be there as wanted already. A record that had no key yet when it
/// was missed is waited for by its number; one that shares its key, by the system that gave it or has it. What was written, or is `gone`, may have given up a value that somebody waits for.
pub(super) async fn wake(
    tx: &mut Tx,
    replicas: &Replicas<'_>,
    there: &[&ReplicaWrite],
    children: &BTreeSet<(String, String)>,
    quiet: &[i64],
    gone: &[i64],
) -> Result<u64> {
    const SQL: &str = "UPDATE job SET state = 0, due = $4, attempts = 0, cause = NULL, error = NULL, error_class = NULL, \
            updated_at = $4 \
        WHERE target = $3 AND state = 2 AND cause IN ( \
            SELECT $5 || k.key FROM json_each($1) j CROSS JOIN record k \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND k.key IS NOT NULL \
            UNION ALL SELECT $5 || s.text || '/' || k.key FROM json_each($1) j CROSS JOIN record k CROSS JOIN name s \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND k.key IS NOT NULL AND s.id = k.system \
            UNION ALL SELECT $5 || s.text || '/' || k.key FROM json_each($1) j CROSS JOIN record k CROSS JOIN replica p \
                CROSS JOIN name s \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND k.key IS NOT NULL AND p.record = k.id AND s.id = p.system \
            UNION ALL SELECT $5 || s.text || '#' || p.id FROM json_each($1) j CROSS JOIN replica p CROSS JOIN name s \
            WHERE p.record = CAST(j.value->>0 AS BIGINT) AND s.id = p.system \
            UNION ALL SELECT $5 || '#' || CAST(k.id AS TEXT) FROM json_each($1) j CROSS JOIN record k \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) \
            UNION ALL SELECT $5 || '#' || CAST(k.id AS TEXT) FROM json_each($1) j CROSS JOIN record k \
            WHERE k.same = CAST(j.value->>0 AS BIGINT) \
            UNION ALL SELECT j.value->>0 FROM json_each($2) j \
            UNION ALL SELECT $6 || k.key FROM json_each($7) j CROSS JOIN record k \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND k.key IS NOT NULL)";
    const ANYBODY: &str = "SELECT 1 FROM job WHERE target = $1 AND state = 2 LIMIT 1";
    const QUIET: &str = "SELECT b.record FROM json_each($1) j CROSS JOIN job b CROSS JOIN replica r \
        WHERE b.id = CAST(j.value->>0 AS BIGINT) AND r.record = b.record AND r.system = $2 AND r.gone_at IS NULL";
    let nobody = there.is_empty() && children.is_empty() && quiet.is_empty() && gone.is_empty();
    if nobody || tx.rows("look for parked jobs", ANYBODY, args![replicas.system]).await?.is_empty() {
        return Ok(0);
    }
    let mut records: Vec<i64> = there.iter().map(|write| write.record).collect();
    // Whoever waits for something that these had may have it now.
    let others = rows(records.iter().chain(gone).map(|record| [record]))?;
    if !quiet.is_empty() {
        let quiet = rows(quiet.iter().map(|job| [job]))?;
        for row in tx.rows("read the records of quiet jobs", QUIET, args![quiet, replicas.system]).await? {
            records.push(row.int(0)?);
        }
    }
    let records = rows(records.into_iter().map(|record| [record]))?;
    let children = children.iter().map(|(list, key)| [Cause::missing(list, key).0]);
    let entity = replicas.entity_name;
    let (missing, taken) = (Cause::missing(entity, "").0, Cause::taken(entity, "").0);
    let args = args![records, rows(children)?, replicas.system, micros(replicas.now), missing, taken, others];
    tx.execute("wake parked jobs", SQL, args).await
}
