//! Ids that a target gives out a second time: what is one record's object does not become another's.

use std::collections::BTreeMap;

use super::{Answer, Delivered, Verdict};
use crate::{
    failure::Class,
    store::{
        Intent, RecordId, Result,
        replicas::{HELD, Replicas, holder},
        sql::{Tx, args, plain, rows},
        values::parse,
    },
};

/// Longest part of an id that a message quotes.
pub(super) const QUOTED: usize = 60;

/// Ends deliveries as refused whose target answered with the id of an object that is another record's: its link stays.
/// What was seen only after the intent was stored may be the very object that this delivery made, and is taken over.
pub(super) async fn refuse(
    tx: &mut Tx,
    replicas: &Replicas<'_>,
    target: &str,
    outcomes: &mut [Delivered],
) -> Result<()> {
    let mut refused: Vec<(usize, String)> = Vec::new();
    let mut given: BTreeMap<String, RecordId> = BTreeMap::new();
    // Whose object it was known to be before the write, or was found by its key to be, has it whatever others were
    // answered.
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
                // A facet has the id of the child it lives on, whoever wrote it first. It is another's if that has a
                // source of its own; an article that its source calls otherwise brings its price and stock along.
                Some(before) if before.id == *id => is_tied,
                // An update makes nothing, whenever what it was answered with was first seen.
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

/// By job that has begun a create: the newest record when its intent was first stored.
async fn known(tx: &mut Tx, jobs: impl Iterator<Item = i64>) -> Result<BTreeMap<i64, RecordId>> {
    const SQL: &str = "SELECT b.id, b.intent FROM json_each($1) j CROSS JOIN job b \
        WHERE b.id = CAST(j.value->>0 AS BIGINT) AND b.intent IS NOT NULL";
    let mut known = BTreeMap::new();
    for mut row in tx.rows("read intents", SQL, args![rows(jobs.map(|job| [job]))?]).await? {
        let job = row.int(0)?;
        let intent: Intent = parse(&row.text(1)?, "job", "intent", || job.to_string())?;
        if let Some(newest) = intent.known {
            known.insert(job, newest);
        }
    }
    Ok(known)
}

/// Ends a delivery as refused: nothing of it is stored but the reason.
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
