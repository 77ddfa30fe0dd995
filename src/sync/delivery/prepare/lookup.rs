//! Looks objects up before they are created, if their create had no answer or their target has lost them.

use crate::sync::desired::wait_until;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    failure::{Class, Failure},
    mapping::{Children, Externals, Fields, Translate},
    port::{Find, Op, Probe, SourceRow},
    store::{Attempt, Delivered, Intent, Job, RecordId, Replica, Result},
    sync::{
        conflict::terms::Terms,
        context::{circuit, outcome},
        delivery::{blame::Blame, record},
        desired::{
            Batch, Known, Prepared, assume_sent, assume_unseen, differing, taken_on, unable,
            verdict::{self, Tried},
        },
        identity::{
            numbering::Numbering,
            parents::{self, Row},
        },
        pull::detect,
    },
};

/// For creates whose answer was lost, or whose object has gone: look the object up first, and adopt it if it is
/// there.
pub(super) async fn look_up(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    known: Vec<Known>,
    externals: &Externals,
    prepared: &mut Prepared,
) -> Result<Vec<Known>> {
    let mut kept = Vec::with_capacity(known.len());
    let terms = Terms::of(batch.context, mapping, batch.entity);
    let (mut went, mut failed) = (false, Vec::new());
    for mut one in known {
        let begun = one.job.intent.clone().filter(|intent| intent.op == one.op && !intent.done.is_empty());
        if let Some(intent) = begun
            && let at = outcome::later(intent.at, batch.answer_window)
            && at > batch.context.env.now()
        {
            // The step after the last stored one may still be under way: what the target shows, or a repetition,
            // would prove nothing.
            let why = "it broke off between two steps; it goes on when the one under way must have ended";
            prepared.ended.push(wait_until(&one.job, at, intent, why));
            continue;
        }
        let lost = one.op == Op::Create
            && one.job.intent.as_ref().is_some_and(|intent| intent.op == Op::Create && intent.done.is_empty());
        let now = batch.context.env.now();
        let recreation = (one.job.intent.is_none() && is_made_again(batch, &one)).then(|| before_all(now));
        let Some(intent) = one.job.intent.clone().filter(|_| lost).or_else(|| recreation.clone()) else {
            kept.push(one);
            continue;
        };
        let answer_until = outcome::later(intent.at, batch.answer_window);
        if recreation.is_none() && answer_until > now {
            // The target may still be carrying the request out: a lookup would prove nothing yet.
            prepared.ended.push(wait_until(
                &one.job,
                answer_until,
                intent,
                "its creation had no answer; it is looked up when it must have ended",
            ));
            continue;
        }
        if batch.capabilities.find == Find::None {
            let failure = Failure::new(
                Class::Rejected,
                format!(
                    "the creation of this {} had no answer, and the adapter of {} cannot look it up; check there, then retry or discard",
                    batch.entity, batch.target
                ),
            );
            prepared.fail(batch, &one.job, &failure);
            continue;
        }
        // Adapters search for what was sent: a slug, an address, an id of the target.
        let body = match mapping.push(&one.desired, None, externals) {
            Ok(body) => body,
            Err(failure) => {
                prepared.fail(batch, &one.job, &failure);
                continue;
            }
        };
        let desired = Value::Object(one.desired.clone());
        let probe = Probe { key: &one.key, since: intent.at, body: &body, desired: &desired };
        let began = batch.context.env.now();
        let found = match batch.system.find(batch.entity, &probe).await {
            Ok(rows) => {
                went = true;
                own(batch, mapping, &one, &intent, rows).await?
            }
            Err(failure) => {
                failed.push(Unanswered { job: one.job, intent, failure, began });
                continue;
            }
        };
        match found {
            Ok(mut rows) if rows.len() <= 1 => {
                if let Some(row) = rows.pop() {
                    if batch.capabilities.steps {
                        // Another process may have created it: what it shows decides which fields are still to be
                        // sent. If it is only half created and cannot be read as an object, nothing is known of it
                        // yet.
                        if let Ok((there, child_ids)) = adopt_row(batch, mapping, &one, row.clone()).await? {
                            (one.shown, one.child_ids) = (Some(there.fields), child_ids);
                        }
                        one.found = Some(row);
                        kept.push(one);
                        continue;
                    }
                    match adopt_row(batch, mapping, &one, row).await? {
                        Ok((mut replica, child_ids)) => {
                            let found = Row {
                                record: replica.record,
                                object: &replica.id,
                                key: &one.key,
                                children: &child_ids,
                            };
                            if let Some(reason) =
                                parents::foreign(batch.context, (batch.system, mapping, batch.entity), found).await?
                            {
                                prepared.fail(batch, &one.job, &Failure::new(Class::Rejected, reason));
                                continue;
                            }
                            // The fields that belong to the target were sent with the create; somebody may have
                            // edited them since.
                            one.desired.retain(|field, _| !is_theirs(batch, field));
                            if batch.capabilities.update {
                                assume_sent(&mut replica, &one.desired, &intent, mapping.reads());
                            } else {
                                assume_unseen(&mut replica, &one.desired, mapping.reads());
                            }
                            terms.take_key(mapping, &one.desired, &mut replica);
                            if differing::flows_back(batch) {
                                let sent = |field: &str| one.desired.contains_key(field);
                                one.unsent_changes =
                                    record::leave_unsent_changes(&mut replica.fields, &Fields::new(), sent);
                                replica.version = replica.version.filter(|_| !one.unsent_changes);
                            }
                            one.child_ids = child_ids;
                            one.changed = terms.difference(&one.desired, Some(&replica));
                            one.op = Op::Update;
                            one.here = Some(replica);
                        }
                        Err(failure) => {
                            prepared.fail(batch, &one.job, &failure);
                            continue;
                        }
                    }
                    if let (true, Some(here)) = (one.changed.is_empty(), &one.here) {
                        prepared.ended.push(taken_on(&one.job, here, &one.child_ids, one.unsent_changes));
                        continue;
                    }
                    if !batch.capabilities.update {
                        prepared.fail(batch, &one.job, &unable(batch, Op::Update));
                        continue;
                    }
                }
                kept.push(one);
            }
            Ok(rows) => {
                let failure = Failure::new(
                    Class::Rejected,
                    format!(
                        "{} has {} objects for key {}; make them one, then retry",
                        batch.target,
                        rows.len(),
                        one.key
                    ),
                );
                prepared.fail(batch, &one.job, &failure);
            }
            Err(failure) => prepared.fail(batch, &one.job, &failure),
        }
    }
    unanswered(batch, went, failed, prepared).await?;
    Ok(kept)
}

/// A lookup that failed.
struct Unanswered {
    job: Job,
    intent: Intent,
    failure: Failure,
    began: DateTime<Utc>,
}

/// End lookups that failed. If only one failed while others went through, its record is at fault, not the system.
/// Each is an attempt of its job: what other jobs did before it says nothing about the next one.
async fn unanswered(batch: &Batch<'_>, went: bool, failed: Vec<Unanswered>, prepared: &mut Prepared) -> Result<()> {
    let (env, now) = (&batch.context.env, batch.context.env.now());
    let failures: Vec<(&Job, &Failure)> = failed.iter().map(|one| (&one.job, &one.failure)).collect();
    let blame = Blame::of(batch.context, batch.target, went, &failures).await?;
    if let Some(one) = failed.iter().find(|one| blame.is_of_the_system(one.job.id, &one.failure)) {
        circuit::struck(batch.context, batch.target, &one.failure).await?;
    }
    for Unanswered { job, intent, failure, began } in failed {
        let tried = Tried {
            attempts: job.attempts.saturating_add(1),
            intent: Some(intent),
            answer_window: batch.answer_window,
            alone: blame.alone(job.id, &failure),
        };
        let attempt = Attempt {
            at: now,
            op: "find".to_owned(),
            outcome: failure.class.as_str().to_owned(),
            message: Some(outcome::describe(&failure)),
            status: failure.status,
            requests: 1,
            millis: (now - began).num_milliseconds().try_into().unwrap_or_default(),
        };
        let verdict = verdict::verdict(&failure, &tried, env);
        prepared.ended.push(Delivered { attempt: Some(attempt), ..Delivered::new(&job, verdict) });
    }
    Ok(())
}

/// Whether a field belongs to the target, whichever system brings it there.
fn is_theirs(batch: &Batch<'_>, field: &str) -> bool {
    let (routes, target) = (&batch.context.routes, batch.target);
    let owner =
        |flow: &crate::sync::routing::Flow| routes.owner(batch.entity, field, &flow.from, target) == Some(target);
    routes.to(target, batch.entity).any(owner)
}

/// Whether an object is created in place of one that has gone. Only the id of that one was known. If the id was
/// wrong, or the target has given the object another one, the object is there under its key. How far back a scan
/// would have to read is not known.
fn is_made_again(batch: &Batch<'_>, one: &Known) -> bool {
    one.op == Op::Create && one.was_there && batch.capabilities.find == Find::ByKey
}

/// The intent that such an object is looked up with: nothing was begun, so whatever belongs to other records stays
/// theirs.
fn before_all(now: DateTime<Utc>) -> Intent {
    Intent { known: Some(RecordId(i64::MAX)), ..Intent::new(Op::Create, now) }
}

/// Return what a lookup found, without the objects that belonged to other records before this create was begun: the
/// create has not made those.
async fn own(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    one: &Known,
    intent: &Intent,
    mut rows: Vec<SourceRow>,
) -> Result<std::result::Result<Vec<SourceRow>, Failure>> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let record = one.job.record;
    let known = intent.known.unwrap_or(record);
    let mut holders = batch.context.store.holders(batch.target, batch.entity, record, &ids).await?;
    // This create may have made the object of a newer record.
    holders.retain(|_, (holder, _)| *holder <= known);
    rows.retain(|row| !holders.contains_key(&row.id));
    if let Some(numbering) = Numbering::of(batch.context, batch.target, batch.entity)
        && (rows.len() > 1 || numbering.is_contested(&one.key))
    {
        // Other objects of this number may belong to another shop whose create is under way as well.
        rows.retain(|row| {
            let there = row.body.clone().into_value();
            mapping.pull(&there).map_or(true, |there| !numbering.are_two(&one.desired, &there.fields))
        });
    }
    let Some((id, (_, key))) = holders.iter().next() else { return Ok(Ok(rows)) };
    // Another system may have given the same number.
    let is_numbered = batch.context.entities.get(batch.entity).is_some_and(|spec| spec.numbered);
    if rows.is_empty() && !is_numbered {
        let text = format!(
            "what {} finds for {} has the id {id}, which is the {} {key} there already; see whether the two are one, then retry \
             or discard the job",
            batch.target, one.key, batch.entity
        );
        return Ok(Err(Failure::new(Class::Rejected, text)));
    }
    Ok(Ok(rows))
}

async fn adopt_row(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    one: &Known,
    row: SourceRow,
) -> Result<std::result::Result<(Replica, Children), Failure>> {
    let (id, version) = (row.id.clone(), row.version.clone());
    let mut pulled = match mapping.pull(&row.body.into_value()) {
        Ok(pulled) => pulled,
        Err(failure) => return Ok(Err(failure)),
    };
    if let Err(failure) = batch.context.validate(batch.entity, &mut pulled.fields) {
        return Ok(Err(failure));
    }
    let unclear = detect::resolve(batch.context, batch.target, &mut [&mut pulled]).await?;
    if let Some(reason) = detect::unclear_reference(&pulled, &unclear) {
        return Ok(Err(Failure::new(Class::Rejected, reason)));
    }
    let replica = Replica {
        system: batch.target.to_owned(),
        entity: batch.entity.to_owned(),
        record: one.job.record,
        id,
        fields: pulled.fields,
        sent: Fields::new(),
        version,
        fingerprint: None,
        gone_at: None,
        written: 0,
    };
    Ok(Ok((replica, pulled.child_ids)))
}
