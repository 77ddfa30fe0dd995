//! What a job leads to, by what is known of its record; and the looks at the target that are due before that.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use super::{lookup::wait_until, refusal};
use crate::{
    mapping::Translate,
    port::{Capabilities, Op},
    store::{Job, Result},
    sync::{
        context::{circuit, outcome},
        desired::{Batch, Known, Loaded, Prepared, decide, end_failed, is_untold},
        pull::{self, orders},
    },
};

/// Before a shared field is written the target's own objects are read, in bulk: an edit that no pull has seen yet is merged
/// (or becomes a conflict) instead of being written over. Gives the jobs that can go on: what cannot be looked at is not written.
pub(super) async fn fresh_look(
    batch: &Batch<'_>,
    facts: &Capabilities,
    mapping: &dyn Translate,
    mut jobs: Vec<Job>,
    loaded: &mut Loaded,
    prepared: &mut Prepared,
) -> Result<Vec<Job>> {
    let Some(shared) = batch.context.routes.shared(batch.entity).filter(|_| facts.read) else { return Ok(jobs) };
    let mut seen: BTreeSet<i64> = BTreeSet::new();
    loop {
        let mut unused = Prepared::default();
        let looked_at: BTreeMap<i64, String> = jobs
            .iter()
            .filter(|job| !seen.contains(&job.id))
            .filter_map(|job| decide(batch, facts, mapping, job.clone(), loaded, &mut unused))
            .filter(|one| one.op == Op::Update && !one.changed.is_disjoint(shared))
            .filter_map(|one| Some((one.job.id, one.here?.id)))
            .collect();
        if looked_at.is_empty() {
            return Ok(jobs);
        }
        jobs = look_first(batch, facts, jobs, &looked_at, loaded, prepared).await?;
        // What was loaded anew may ask for shared fields of others as well, by what was stored meanwhile.
        seen.extend(looked_at.into_keys());
    }
}

/// Reads objects that may have been written by somebody who did not tell: they need not be as they are known, and what is
/// wanted by now may be just what is known. Gives the jobs that can go on.
pub(super) async fn clear_doubts(
    batch: &Batch<'_>,
    facts: &Capabilities,
    mapping: &dyn Translate,
    jobs: Vec<Job>,
    loaded: &mut Loaded,
    prepared: &mut Prepared,
) -> Result<Vec<Job>> {
    let jobs = wait_for_shared(batch, jobs, prepared);
    let here = |job: &Job| loaded.here(job.record, batch.target).map(|here| here.id.clone());
    let untold = jobs.iter().filter(|job| facts.read && is_untold(job));
    let mut looked_at: BTreeMap<i64, String> = untold.filter_map(|job| Some((job.id, here(job)?))).collect();
    looked_at.extend(refusal::kept_back(batch, facts, mapping, &jobs, loaded));
    look_first(batch, facts, jobs, &looked_at, loaded, prepared).await
}

/// An update of shared fields that may still be under way is waited for: arriving after the next one it would pass for an edit
/// made there. Gives the other jobs.
fn wait_for_shared(batch: &Batch<'_>, jobs: Vec<Job>, prepared: &mut Prepared) -> Vec<Job> {
    let now = batch.context.env.now();
    let ends = |job: &Job| {
        let intent = job.intent.as_ref().filter(|intent| is_untold(job) && !intent.shared.is_empty())?;
        Some(outcome::later(intent.at, batch.answer_window)).filter(|end| *end > now).map(|end| (end, intent.clone()))
    };
    let mut rest = Vec::with_capacity(jobs.len());
    for job in jobs {
        match ends(&job) {
            Some((end, intent)) => {
                let why = "nobody told how an update of it ended; it is looked at when that must have ended";
                prepared.settled.push(wait_until(&job, end, intent, why));
            }
            None => rest.push(job),
        }
    }
    rest
}

/// Reads the target's objects that jobs are about (by the job's id), and loads all anew that is known. Gives the jobs that can go
/// on.
async fn look_first(
    batch: &Batch<'_>,
    facts: &Capabilities,
    jobs: Vec<Job>,
    looked_at: &BTreeMap<i64, String>,
    loaded: &mut Loaded,
    prepared: &mut Prepared,
) -> Result<Vec<Job>> {
    if looked_at.is_empty() {
        return Ok(jobs);
    }
    let ids: Vec<String> = looked_at.values().cloned().collect();
    match pull::look(batch.context, batch.target, batch.entity, &ids).await? {
        Ok(()) => {
            *loaded = Box::pin(Loaded::of(batch, facts, &jobs)).await?;
            Ok(jobs)
        }
        Err(failure) => {
            circuit::struck(batch.context, batch.target, &failure).await?;
            let (unseen, rest): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| looked_at.contains_key(&job.id));
            for job in unseen {
                end_failed(prepared, batch, &job, &failure);
            }
            Ok(rest)
        }
    }
}

/// What stood in the way of reading the orders that take from a target's stock.
pub(super) struct Unread {
    pub(super) obstacles: orders::Obstacles,
    /// Nor could the figures be read that the target itself shows: what would be a rise cannot be told.
    blind: bool,
}

impl Unread {
    /// Whether this has to wait for it.
    pub(super) fn holds(&self, one: &Known) -> bool {
        self.obstacles.concern(&one.key) && (one.rises() || self.blind && one.offers())
    }
}

/// Before stock is written that can be sold, the orders that take from it are read: what nobody has seen yet is then in flight.
/// Gives what stood in the way; the figures that the target itself shows are read then, so that a rise is seen as one.
pub(super) async fn orders_first(
    batch: &Batch<'_>,
    facts: &Capabilities,
    mapping: &dyn Translate,
    jobs: &[Job],
    loaded: &mut Loaded,
    stop: &CancellationToken,
) -> Result<Option<Unread>> {
    if loaded.stock.ledger.is_none() {
        return Ok(None);
    }
    let offered = |loaded: &Loaded| -> Vec<(String, Option<String>)> {
        let mut unused = Prepared::default();
        jobs.iter()
            .filter_map(|job| decide(batch, facts, mapping, job.clone(), loaded, &mut unused))
            .filter(Known::offers)
            .map(|one| (one.key, one.here.filter(|_| one.op == Op::Update).map(|here| here.id)))
            .collect()
    };
    if offered(loaded).is_empty() {
        return Ok(None);
    }
    let obstacles = orders::read_orders(batch.context, batch.target, stop).await?;
    *loaded = Box::pin(Loaded::of(batch, facts, jobs)).await?;
    if obstacles.is_empty() {
        return Ok(None);
    }
    let concerned = offered(loaded).into_iter().filter(|(sku, _)| obstacles.concern(sku));
    let ids: Vec<String> = concerned.filter_map(|(_, id)| id).filter(|_| facts.read).collect();
    if ids.is_empty() {
        return Ok(Some(Unread { obstacles, blind: false }));
    }
    let blind = pull::look(batch.context, batch.target, batch.entity, &ids).await?.is_err();
    *loaded = Box::pin(Loaded::of(batch, facts, jobs)).await?;
    Ok(Some(Unread { obstacles, blind }))
}
