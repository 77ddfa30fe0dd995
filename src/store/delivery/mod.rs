//! Deliveries: table `counter`, and the transaction that makes the outcomes of a batch durable in all other
//! families.
//!
//! Called by `sync::delivery` and `sync::preview`, which write to targets; `sync::stock` and `sync::pull` note the
//! counter. Ids that a target assigns a second time are refused in `objects` and `children`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashSet},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    Attempt, DifferenceMark, Fence, Intent, Job, JobId, JobState, NewChange, RecordId, Rejection, Replica,
    ReplicaWrite, Result, RunId, StoreError,
    brakes::{Awaited, wake_over},
    database::Database,
    differences::{drop_agreed, mark_differences},
    history::Origin,
    queue::{Arrived, lock_target, wake},
    rejections::reject,
    replicas::{Replicas, Writer},
    sql::{Sql, Tx, args, rows},
    values::{fingerprint_text, json, micros, parse},
};
use crate::mapping::Fields;
use crate::wait_reason::WaitReason;

mod children;
mod objects;

/// How a delivered job ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Written, or there was nothing to write.
    Done {
        noop: bool,
    },
    /// Try again at this time; `burn` counts it as an attempt. The intent stays as given.
    Retry {
        at: DateTime<Utc>,
        burn: bool,
        intent: Option<Intent>,
        class: String,
        error: String,
    },
    Parked {
        cause: WaitReason,
        error: String,
    },
    Dead {
        class: String,
        error: String,
    },
}

/// Whether a target's answer to a write, or the look right after the write, could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// It says nothing about the object.
    #[default]
    Silent,
    Read,
    /// It cannot be read. It is reported like any row that cannot be read.
    Unread(Rejection),
}

/// How one job ended, and what is to be recorded of its target.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub job: JobId,
    pub fence: Fence,
    pub verdict: Verdict,
    pub replica: Option<ReplicaWrite>,
    /// The replica that `replica` was made from. Fields that are equal in both were not written: they keep what a
    /// page has stored since.
    pub before: Option<Replica>,
    /// What we changed at the target, for the change log.
    pub change: Option<NewChange>,
    /// Line of the attempt history; `None` for a no-op.
    pub attempt: Option<Attempt>,
    /// Whether the target shows more than it was sent. If so, its object is read again, so that all other systems
    /// are notified.
    pub unsent_changes: bool,
    /// What the target was seen to hold otherwise than it was just sent.
    pub differs: Vec<DifferenceMark>,
    /// Lists of children whose ids belong to one record only, because other objects refer to them; each with the
    /// ids that the target no longer shows under their earlier records. If a child is another record's, the job
    /// ends as dead.
    pub sole: BTreeMap<String, BTreeSet<String>>,
    /// Whether what was begun is over, either done completely or certainly without effect. Then its intent is
    /// deleted, however the job ends.
    pub is_over: bool,
    pub answer: Answer,
}

impl Delivered {
    /// A job's end with nothing else to be recorded.
    #[must_use]
    pub const fn new(job: &Job, verdict: Verdict) -> Self {
        let (job, fence) = (job.id, job.fence);
        let differs = Vec::new();
        Self {
            job,
            fence,
            verdict,
            replica: None,
            before: None,
            change: None,
            attempt: None,
            unsent_changes: false,
            is_over: false,
            differs,
            sole: BTreeMap::new(),
            answer: Answer::Silent,
        }
    }
}

/// What `deliver` did with a batch.
#[derive(Clone, Debug, Default)]
pub struct DeliverSummary {
    /// Jobs that had lost their lease: nothing of them was written.
    pub lost: Vec<JobId>,
    /// How many jobs were woken because what they waited for now exists at their target.
    pub woken: u64,
}

/// Table `counter`, and deliveries as a whole. Called by `sync::stock`, `sync::pull`, `sync::delivery` and
/// `sync::preview`.
///
/// # Errors
///
/// Those of [`Store`](super::Store). A lost lease is no error: see [`DeliverSummary::lost`].
#[async_trait]
pub trait DeliveryStore: Send + Sync {
    /// Store the outcomes of a batch, in one transaction: verdicts, the target's replicas and children,
    /// differences, change log, attempts, and rejections of answers that could not be read.
    ///
    /// - If the lease of a job was lost, nothing of its outcome is stored.
    /// - If a replica has the id of another record's live object, or a child in a list of [`Delivered::sole`] has
    ///   the id of another record's child, the job ends as dead, and the earlier link stays.
    /// - If a job was marked to run again, it is queued instead of done.
    /// - Parked jobs of `target` that wait for something that exists now are queued: `missing:<entity>=<key>`,
    ///   `missing:<list>=<key>`.
    async fn deliver(
        &self,
        target: &str,
        entity: &str,
        outcomes: Vec<Delivered>,
        now: DateTime<Utc>,
    ) -> Result<DeliverSummary>;

    /// Return the number of the last delivery. If you note it before you read a system, the reading shows the
    /// writes of all deliveries up to that number.
    async fn counter(&self) -> Result<i64>;
}

/// Columns of a verdict: id, fence, state, due, burn, intent, keep intent, cause, error, class. A job that was
/// marked to run again (column `again`) while it ran is queued, however it ended. A job that another worker has
/// claimed meanwhile has another fence and does not match.
macro_rules! close {
    ($requeue:literal) => {
        concat!(
            "UPDATE job SET state = CASE WHEN ", $requeue, " THEN 0 ELSE CAST(j.value->>2 AS BIGINT) END, \
                due = CASE WHEN ", $requeue, " THEN $2 ELSE CAST(j.value->>3 AS BIGINT) END, \
                attempts = CASE WHEN ", $requeue, " THEN 0 ELSE job.attempts + CAST(j.value->>4 AS BIGINT) END, \
                intent = CASE WHEN CAST(j.value->>6 AS BIGINT) = 1 THEN job.intent ELSE j.value->>5 END, \
                cause = CASE WHEN ", $requeue, " THEN NULL ELSE j.value->>7 END, \
                error = CASE WHEN ", $requeue, " THEN NULL ELSE j.value->>8 END, \
                error_class = CASE WHEN ", $requeue, " THEN NULL ELSE j.value->>9 END, \
                again = 0, owner = NULL, updated_at = $2 \
            FROM json_each($1) j \
            WHERE job.id = CAST(j.value->>0 AS BIGINT) AND job.fence = CAST(j.value->>1 AS BIGINT) AND job.state = 1 \
            RETURNING job.id"
        )
    };
}

/// The same for jobs that are done, which are most: id and fence are all that is needed.
const CLOSE_DONE: &str = "UPDATE job SET state = CASE WHEN job.again = 1 THEN 0 ELSE 4 END, due = $2, \
        attempts = CASE WHEN job.again = 1 THEN 0 ELSE job.attempts END, intent = NULL, cause = NULL, error = NULL, \
        error_class = NULL, again = 0, owner = NULL, updated_at = $2 \
    FROM json_each($1) j \
    WHERE job.id = CAST(j.value->>0 AS BIGINT) AND job.fence = CAST(j.value->>1 AS BIGINT) AND job.state = 1 \
    RETURNING job.id";

const CLOSE: &str = close!("(job.again = 1 AND CAST(j.value->>2 AS BIGINT) <> 0)");

type Line<'a> =
    (JobId, Fence, i64, i64, i64, Option<String>, i64, Option<&'a WaitReason>, Option<&'a str>, Option<&'a str>);

#[async_trait]
impl DeliveryStore for Database {
    async fn deliver(
        &self,
        target: &str,
        entity: &str,
        mut outcomes: Vec<Delivered>,
        now: DateTime<Utc>,
    ) -> Result<DeliverSummary> {
        if outcomes.is_empty() {
            return Ok(DeliverSummary::default());
        }
        let replicas = Replicas {
            database: self,
            system: self.name(target).await?,
            entity: self.name(entity).await?,
            entity_name: entity,
            now,
        };
        let recorded: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.replica.as_ref()).collect();
        replicas.prepare(&recorded, &[]).await?;
        let waits = self.waits(&outcomes).await?;
        let awaited = Awaited::of(&outcomes);
        let mut tx = self.pool.begin("deliver").await?;
        if !waits.is_empty() || outcomes.iter().any(|outcome| outcome.replica.is_some()) {
            lock_target(&mut tx, replicas.system, !waits.is_empty()).await?;
        }
        objects::refuse(&mut tx, &replicas, target, &mut outcomes).await?;
        children::refuse(&mut tx, &replicas, target, &mut outcomes).await?;
        let (finished, other): (Vec<_>, Vec<_>) =
            outcomes.iter().partition(|outcome| matches!(outcome.verdict, Verdict::Done { .. }));
        let lines = other.into_iter().map(|outcome| line(outcome, now)).collect::<Result<Vec<_>>>()?;
        let over = awaited.over(&mut tx).await?;
        let mut held: HashSet<JobId> = HashSet::with_capacity(outcomes.len());
        let finished: Vec<_> = finished.into_iter().map(|outcome| (outcome.job, outcome.fence)).collect();
        if !finished.is_empty() {
            for row in tx.rows("close done jobs", CLOSE_DONE, args![rows(finished)?, micros(now)]).await? {
                held.insert(row.id(0)?);
            }
        }
        if !lines.is_empty() {
            for row in tx.rows("close jobs", CLOSE, args![rows(lines)?, micros(now)]).await? {
                held.insert(row.id(0)?);
            }
        }
        let (held, lost): (Vec<_>, Vec<_>) = outcomes.iter().partition(|outcome| held.contains(&outcome.job));

        let writes = caught_up(&mut tx, &replicas, &held).await?;
        let writes: Vec<&ReplicaWrite> = writes.iter().map(AsRef::as_ref).collect();
        let kept = replicas.write(&mut tx, &writes, Writer::Delivery).await?;
        let differs: Vec<_> = held.iter().flat_map(|outcome| outcome.differs.iter().cloned()).collect();
        mark_differences(&mut tx, &replicas, &differs).await?;
        let ids: Vec<&str> = writes.iter().map(|write| &*write.id).collect();
        drop_agreed(&mut tx, &replicas, &ids).await?;
        let changes: Vec<_> = held
            .iter()
            .filter_map(|outcome| outcome.change.as_ref().map(|change| (change, Origin::Job(outcome.job))))
            .collect();
        replicas.log(&mut tx, &changes).await?;
        append_attempts(&mut tx, &held).await?;
        take_answers(&mut tx, &replicas, &held).await?;
        let (gone, there): (Vec<_>, Vec<_>) = writes.into_iter().partition(|write| write.gone);
        let gone: Vec<_> = gone.into_iter().map(|write| write.record).collect();
        let quiet = held.iter().filter(|one| one.replica.is_none() && matches!(one.verdict, Verdict::Done { .. }));
        let quiet: Vec<_> = quiet.map(|one| one.job).collect();
        let arrived = Arrived { there: &there, children: &kept.children, quiet: &quiet, gone: &gone };
        let mut woken = wake(&mut tx, &replicas, arrived).await?;
        if !waits.is_empty() {
            woken += wake_early(&mut tx, &replicas, &waits).await?;
        }
        woken += wake_over(&mut tx, replicas.system, &over, now).await?;
        tx.commit("deliver").await?;
        self.grew(outcomes.len()).await;
        Ok(DeliverSummary { lost: lost.into_iter().map(|outcome| outcome.job).collect(), woken })
    }

    async fn counter(&self) -> Result<i64> {
        // A delivery takes its number after its write has reached the target. So if you read the counter and then
        // the target, you see the writes of all numbers up to it, whether they are committed here or not.
        const SQL: Sql = Sql {
            sqlite: "SELECT value FROM counter",
            postgres: "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM counter",
        };
        let value = self.pool.read("read the counter", SQL, args![]).await?;
        value.first().map_or(Err(StoreError::Stale("counter")), |row| row.int(0))
    }
}

impl Database {
    /// Return what the outcomes' parked jobs wait for: (number of the entity's or list's name, key, cause).
    async fn waits(&self, outcomes: &[Delivered]) -> Result<Vec<(i64, String, String)>> {
        let causes: BTreeSet<&WaitReason> = outcomes
            .iter()
            .filter_map(|outcome| match &outcome.verdict {
                Verdict::Parked { cause, .. } => Some(cause),
                _ => None,
            })
            .collect();
        let mut waits = Vec::new();
        for cause in causes {
            if let WaitReason::Missing { entity, key } = cause {
                waits.push((self.name(entity).await?, key.clone(), cause.to_string()));
            }
        }
        Ok(waits)
    }

    /// Take the number of this delivery.
    pub(super) async fn count_delivery(&self, tx: &mut Tx) -> Result<i64> {
        const SQL: Sql = Sql {
            sqlite: "UPDATE counter SET value = value + 1 RETURNING value",
            postgres: "SELECT nextval('counter')",
        };
        let counted = tx.rows("count a delivery", SQL, args![]).await?;
        counted.first().map_or(Err(StoreError::Stale("counter")), |row| row.int(0))
    }
}

fn line(outcome: &Delivered, now: DateTime<Utc>) -> Result<Line<'_>> {
    let now = micros(now);
    let line = |state: JobState, due, burn, intent, keep, cause, error, class| {
        (outcome.job, outcome.fence, state.code(), due, i64::from(burn), intent, i64::from(keep), cause, error, class)
    };
    Ok(match &outcome.verdict {
        Verdict::Done { .. } => line(JobState::Done, now, false, None, false, None, None, None),
        Verdict::Retry { at, burn, intent, class, error } => {
            let intent = intent.as_ref().map(json).transpose()?;
            line(JobState::Queued, micros(*at), *burn, intent, false, None, Some(error), Some(class))
        }
        // Keep the intent, so that the next attempt looks before it creates, unless what was begun is over.
        Verdict::Parked { cause, error } => {
            line(JobState::Parked, now, false, None, !outcome.is_over, Some(cause), Some(error), None)
        }
        Verdict::Dead { class, error } => {
            line(JobState::Dead, now, true, None, !outcome.is_over, None, Some(error), Some(class))
        }
    })
}

/// Return what the deliveries record, merged with what pages have stored of the same objects since the deliveries
/// were prepared.
async fn caught_up<'a>(
    tx: &mut Tx,
    replicas: &Replicas<'_>,
    held: &[&'a Delivered],
) -> Result<Vec<Cow<'a, ReplicaWrite>>> {
    macro_rules! moved {
        () => {
            "(r.written <> CAST(j.value->>2 AS BIGINT) OR coalesce(r.print, '') <> j.value->>3)"
        };
    }
    macro_rules! same_objects {
        () => {
            " FROM json_each($1) j CROSS JOIN replica r WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>1 \
                AND r.gone_at IS NULL AND r.fields IS NOT NULL"
        };
    }
    const SQL: Sql = Sql {
        sqlite: concat!("SELECT j.value->>0, r.fields, r.sent", same_objects!(), " AND ", moved!()),
        // Lock every row until the delivery is durable, as a page locks the rows that it compared.
        postgres: concat!(
            "SELECT j.value->>0, CASE WHEN ",
            moved!(),
            " THEN r.fields END, CASE WHEN ",
            moved!(),
            " THEN r.sent END",
            same_objects!(),
            " ORDER BY r.id FOR UPDATE OF r"
        ),
    };
    let mut writes: Vec<(Cow<'a, ReplicaWrite>, Option<&Replica>)> = (held.iter())
        .filter_map(|outcome| Some((Cow::Borrowed(outcome.replica.as_ref()?), outcome.before.as_ref())))
        .collect();
    let lines = writes.iter().enumerate().filter(|(_, (write, _))| !write.gone).map(|(at, (write, before))| {
        let fingerprint =
            before.and_then(|before| before.fingerprint.as_ref()).map(fingerprint_text).unwrap_or_default();
        (at.to_string(), &write.id, before.map_or(-1, |before| before.written), fingerprint)
    });
    let lines = rows(lines)?;
    for mut row in tx.rows("look for pages", SQL, args![lines, replicas.system, replicas.entity]).await? {
        let Some(fields) = row.text_or_null(1)? else { continue };
        let Some((write, before)) = row.text(0)?.parse().ok().and_then(|at: usize| writes.get_mut(at)) else {
            continue;
        };
        let name = || write.id.clone();
        let fields: Fields = parse(&fields, "replica", "fields", name)?;
        let sent: Fields = match row.text_or_null(2)? {
            Some(text) => parse(&text, "replica", "sent", name)?,
            None => Fields::new(),
        };
        catch_up(write.to_mut(), *before, &fields, &sent);
    }
    Ok(writes.into_iter().map(|(write, _)| write).collect())
}

/// Set the fields that a delivery did not write to what a page has stored since.
fn catch_up(write: &mut ReplicaWrite, before: Option<&Replica>, fields: &Fields, sent: &Fields) {
    let none = Fields::new();
    let (fields_before, sent_before) = before.map_or((&none, &none), |before| (&before.fields, &before.sent));
    let names = [&write.fields, &write.sent, fields_before, sent_before, fields, sent];
    let names: BTreeSet<String> = names.iter().flat_map(|one| one.keys()).cloned().collect();
    for name in names {
        if write.fields.get(&name) != fields_before.get(&name) || write.sent.get(&name) != sent_before.get(&name) {
            continue;
        }
        for (known, now) in [(&mut write.fields, fields), (&mut write.sent, sent)] {
            match now.get(&name) {
                Some(value) => known.insert(name.clone(), value.clone()),
                None => known.remove(&name),
            };
        }
    }
}

/// Report answers that could not be read like rows that could not be read. If an answer could be read, close the
/// earlier rejections of its object.
async fn take_answers(tx: &mut Tx, replicas: &Replicas<'_>, held: &[&Delivered]) -> Result<()> {
    let read = held.iter().filter(|one| one.answer == Answer::Read).filter_map(|one| one.replica.as_ref());
    let read: Vec<&str> = read.map(|replica| replica.id.as_str()).collect();
    let unread = held.iter().filter_map(|one| match &one.answer {
        Answer::Unread(rejection) => Some(rejection),
        Answer::Silent | Answer::Read => None,
    });
    reject(tx, replicas, (RunId(0), None), &read, unread).await
}

async fn append_attempts(tx: &mut Tx, held: &[&Delivered]) -> Result<()> {
    const SQL: &str = "INSERT INTO attempt (job, at, op, outcome, message, status, requests, millis) \
        SELECT CAST(j.value->>0 AS BIGINT), CAST(j.value->>1 AS BIGINT), j.value->>2, j.value->>3, j.value->>4, \
            CAST(j.value->>5 AS BIGINT), CAST(j.value->>6 AS BIGINT), CAST(j.value->>7 AS BIGINT) FROM json_each($1) j";
    let lines: Vec<_> = held
        .iter()
        .filter_map(|outcome| outcome.attempt.as_ref().map(|attempt| (outcome.job, attempt)))
        .map(|(job, a)| (job, micros(a.at), &a.op, &a.outcome, &a.message, a.status, a.requests, a.millis))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    tx.execute("append attempts", SQL, args![rows(lines)?]).await.map(drop)
}

/// Wake a job that was just parked if what it waits for arrived while the job was worked on.
async fn wake_early(tx: &mut Tx, replicas: &Replicas<'_>, waits: &[(i64, String, String)]) -> Result<u64> {
    const THERE: &str = "SELECT j.key FROM json_each($1) j CROSS JOIN record k CROSS JOIN replica r \
        WHERE k.entity = CAST(j.value->>0 AS BIGINT) AND k.key = j.value->>1 \
          AND r.record = coalesce(k.same, k.id) AND r.system = $2 AND r.gone_at IS NULL \
        UNION SELECT j.key FROM json_each($1) j CROSS JOIN record k CROSS JOIN name s CROSS JOIN replica r \
        WHERE k.entity = CAST(j.value->>0 AS BIGINT) AND k.key = j.value->>3 AND s.text = j.value->>2 \
            AND k.system = s.id \
          AND r.record = coalesce(k.same, k.id) AND r.system = $2 AND r.gone_at IS NULL \
        UNION SELECT j.key FROM json_each($1) j CROSS JOIN child c CROSS JOIN replica r \
        WHERE c.system = $2 AND c.list = CAST(j.value->>0 AS BIGINT) AND c.key = j.value->>1 \
          AND r.record = c.record AND r.system = $2 AND r.gone_at IS NULL GROUP BY j.key HAVING count(*) = 1 \
        UNION SELECT j.key FROM json_each($3) j CROSS JOIN record k CROSS JOIN replica r \
        WHERE k.id = CAST(j.value->>0 AS BIGINT) \
          AND r.record = coalesce(k.same, k.id) AND r.system = $2 AND r.gone_at IS NULL";
    const WAKE: &str = "UPDATE job SET state = 0, due = $3, cause = NULL, error = NULL, error_class = NULL, \
        updated_at = $3 \
        WHERE target = $2 AND state = 2 AND cause IN (SELECT j.value->>0 FROM json_each($1) j)";
    // A job that waits for a record without a key waits for its number.
    let number = |key: &str| key.strip_prefix('#').and_then(|number| number.parse::<RecordId>().ok());
    let numbers = rows(waits.iter().map(|(_, key, _)| [number(key)]))?;
    // If several records have the key, the system that gave it comes before the key.
    let lines = rows(
        waits
            .iter()
            .map(|(name, key, _)| (name, key, key.split_once('/').unzip()))
            .map(|(name, key, (system, own))| (name, key, system, own)),
    )?;
    let there = tx.rows("look for what is missing", THERE, args![lines, replicas.system, numbers]).await?;
    let mut causes = BTreeMap::new();
    for row in &there {
        let at: usize = row.small(0)?;
        causes.insert(at, [&waits[at].2]);
    }
    if causes.is_empty() {
        return Ok(0);
    }
    let causes = rows(causes.into_values())?;
    tx.execute("wake parked jobs", WAKE, args![causes, replicas.system, micros(replicas.now)]).await
}
