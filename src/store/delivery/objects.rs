//! Object ids that a target assigns a second time: one record's object does not become another's.

use std::collections::BTreeMap;

use super::{Answer, Delivered, JobId, Verdict};
use crate::{
    failure::Class,
    store::{
        Intent, RecordId, Result,
        replicas::{HELD, Replicas, holder},
        sql::{Tx, args, plain, rows},
        values::parse,
    },
};

/// How many characters of an id a message quotes at most.
pub(super) const QUOTED: usize = 60;

/// End deliveries as refused if their target answered with the id of another record's object: the earlier link
/// stays. If the object was first seen after the intent was stored, it may be the very object that this delivery
/// created, and is taken over.
pub(super) async fn refuse(
    tx: &mut Tx,
    replicas: &Replicas<'_>,
    target: &str,
    outcomes: &mut [Delivered],
) -> Result<()> {
    let mut refused: Vec<(usize, String)> = Vec::new();
    let mut given: BTreeMap<String, RecordId> = BTreeMap::new();
    // A record whose object was known before the write, or was found by its key, keeps it, whatever the other
    // deliveries got as their answer.
    for outcome in outcomes.iter() {
        let Some(replica) = outcome.replica.as_ref().filter(|replica| !replica.gone) else { continue };
        if outcome.before.as_ref().is_some_and(|before| before.id == replica.id) {
            given.entry(plain(&replica.id).into_owned()).or_insert(replica.record);
        }
    }
    let mut lines = Vec::new();
    for (at, outcome) in outcomes.iter().enumerate() {
        let Some(replica) = outcome.replica.as_ref().filter(|replica| !replica.gone) else { continue };
        let holder = *given.entry(plain(&replica.id).into_owned()).or_insert(replica.record);
        if holder == replica.record {
            lines.push((at, &replica.id, replica.record, outcome.job));
        } else {
            refused.push((at, "another one that was written together with it".to_owned()));
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    let asked = rows(lines.iter().map(|(_, id, record, _)| (id, record)))?;
    let held = tx.rows("find whose ids these are", HELD, args![asked, replicas.system, replicas.entity]).await?;
    if !held.is_empty() {
        let known = known(tx, lines.iter().map(|(_, _, _, job)| *job)).await?;
        for mut row in held {
            let is_tied = row.int(3)? == 1;
            let (place, holder, key) = holder(&mut row)?;
            let (at, id, record, job) = lines[place];
            let is_another = match &outcomes[at].before {
                // A facet has the id of the child that it lives on, whichever record wrote it first. It belongs to
                // another record if that record has a source of its own. An article that has another key at its
                // source brings its price and stock along.
                Some(before) if before.id == *id => is_tied,
                // An update creates nothing, so it does not matter when the answered object was first seen.
                Some(_) => true,
                None => holder <= known.get(&job).copied().unwrap_or(record),
            };
            if is_another {
                refused.push((at, key));
            }
        }
    }
    for (at, key) in refused {
        let outcome = &mut outcomes[at];
        let id: String = outcome.replica.as_ref().map_or("", |replica| &replica.id).chars().take(QUOTED).collect();
        let error = format!(
            "{target} answered with the id {id}, which is the {} {key} there already; that link stays, and nothing is \
             linked here. See what {target} has under this id, then retry or discard the job",
            replicas.entity_name
        );
        end(outcome, error);
    }
    Ok(())
}

/// For each job that has begun a create, return the newest record at the time when its intent was first stored.
async fn known(tx: &mut Tx, jobs: impl Iterator<Item = JobId>) -> Result<BTreeMap<JobId, RecordId>> {
    const SQL: &str = "SELECT b.id, b.intent FROM json_each($1) j CROSS JOIN job b \
        WHERE b.id = CAST(j.value->>0 AS BIGINT) AND b.intent IS NOT NULL";
    let mut known = BTreeMap::new();
    for mut row in tx.rows("read intents", SQL, args![rows(jobs.map(|job| [job]))?]).await? {
        let job = row.id::<JobId>(0)?;
        let intent: Intent = parse(&row.text(1)?, "job", "intent", || job.to_string())?;
        if let Some(newest) = intent.known {
            known.insert(job, newest);
        }
    }
    Ok(known)
}

/// End a delivery as refused: store nothing of it but the reason.
pub(super) fn end(outcome: &mut Delivered, error: String) {
    let class = Class::Rejected.as_str().to_owned();
    if let Some(attempt) = &mut outcome.attempt {
        attempt.outcome.clone_from(&class);
        attempt.message = Some(error.clone());
    }
    outcome.verdict = Verdict::Dead { class, error };
    (outcome.replica, outcome.before, outcome.change, outcome.unsent_changes) = (None, None, None, false);
    outcome.answer = Answer::Silent;
}
