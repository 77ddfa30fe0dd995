//! The one decision per job and round: look at something first, write, or end.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{End, Known, Snapshot, decide, is_untold, qualify::Alike, wait_until};
use crate::{
    port::Op,
    store::{Delivered, Job, JobId},
    sync::{context::outcome, stock::Obstacles},
    wait_reason::WaitReason,
};

/// What a job leads to now.
pub(in crate::sync) enum Step {
    /// Nothing can be decided before this is looked at.
    Look(Needs),
    /// A write, if the guards let it through.
    Write(Box<Known>),
    Finish(Box<End>),
}

/// What has to be looked at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sync) enum Needs {
    /// The target's object with this id. A job whose object cannot be read is not written.
    Object(String),
    /// The stock figure that the target shows, by its id: orders could not be read, so no figure may rise. If the
    /// figure cannot be read, any figure counts as a rise.
    Figure(String),
    /// The orders that are subtracted from the target's stock.
    Orders,
}

/// What was looked at in earlier rounds.
#[derive(Default)]
pub(in crate::sync) struct Looked {
    /// Jobs whose objects were looked at.
    pub(in crate::sync) objects: BTreeSet<JobId>,
    /// Jobs whose objects were shown in a row that cannot be read, and why.
    pub(in crate::sync) unread: BTreeMap<JobId, String>,
    /// Jobs whose figures were looked at after the orders.
    pub(in crate::sync) figures: BTreeSet<JobId>,
    /// Jobs whose figures at the target could not be read.
    pub(in crate::sync) blind: BTreeSet<JobId>,
    /// What kept orders from being read; `None` until reading them was tried.
    pub(in crate::sync) orders: Option<Obstacles>,
}

/// What is known of the round.
#[derive(Clone, Copy)]
pub(in crate::sync) struct Round<'a> {
    pub(in crate::sync) snapshot: Snapshot<'a>,
    pub(in crate::sync) looked: &'a Looked,
    pub(in crate::sync) now: DateTime<Utc>,
    pub(in crate::sync) is_stopping: bool,
}

/// Decide on a job by what the round knows and nothing else: no clock, no chance, no system.
pub(in crate::sync) fn next_step(round: Round<'_>, job: Job, alike: &mut Alike) -> Step {
    let Round { snapshot, looked, .. } = round;
    if let Some(end) = wait_for_shared(&round, &job) {
        return Step::Finish(Box::new(End::Closed(end)));
    }
    let (id, is_seen) = (job.id, looked.objects.contains(&job.id));
    let here = snapshot.loaded.here(job.record, snapshot.batch.target).map(|here| here.id.clone());
    let unseen = here.filter(|_| snapshot.batch.capabilities.read && !is_seen);
    // Its last write may have been carried out. Then what is desired now may be just what is known, while the
    // target holds the other value.
    if let Some(here) = unseen.as_ref().filter(|_| is_untold(&job)) {
        return Step::Look(Needs::Object(here.clone()));
    }
    match decide(snapshot, job, alike) {
        Err(end) => match unseen.filter(|_| snapshot.mapping.depends_on_target() && is_kept_back(&end)) {
            Some(here) => Step::Look(Needs::Object(here)),
            None => Step::Finish(end),
        },
        Ok(mut known) => {
            known.unread = looked.unread.get(&id).cloned();
            let is_update = known.op == Op::Update;
            let here = known.here.as_ref().filter(|_| is_update && snapshot.batch.capabilities.read);
            let here = here.map(|here| here.id.clone());
            if snapshot.loaded.stock.ledger.is_some() && known.offers() {
                let Some(obstacles) = &looked.orders else { return Step::Look(Needs::Orders) };
                if obstacles.concern(&known.key) {
                    if let Some(here) = here.clone().filter(|_| !looked.figures.contains(&id)) {
                        return Step::Look(Needs::Figure(here));
                    }
                    if known.rises() || looked.blind.contains(&id) {
                        let stopped_at = round.is_stopping.then_some(round.now);
                        let verdict = obstacles.hold_back(&known.job, &known.key, stopped_at);
                        return Step::Finish(Box::new(End::Closed(Delivered::new(&known.job, verdict))));
                    }
                }
            }
            // An edit that no pull has seen yet is merged, or becomes a conflict, instead of being overwritten.
            let shared = snapshot.batch.context.routes.shared(snapshot.batch.entity);
            match here.filter(|_| shared.is_some_and(|shared| !known.changed.is_disjoint(shared))) {
                Some(here) if !is_seen => Step::Look(Needs::Object(here)),
                Some(_) if let Some(failure) = known.unread(snapshot.batch) => {
                    Step::Finish(Box::new(End::Failed(known.job, failure)))
                }
                _ => Step::Write(Box::new(known)),
            }
        }
    }
}

/// Whether a job ends because its target is known to hold something that blocks it.
fn is_kept_back(end: &End) -> bool {
    let End::Failed(_, failure) = end else { return false };
    matches!(failure.cause.as_deref(), Some(WaitReason::Unheld { .. }))
}

/// An update of shared fields that may still be under way is waited for: if it arrived after the next one, it would
/// pass for an edit made there.
fn wait_for_shared(round: &Round<'_>, job: &Job) -> Option<Delivered> {
    let intent = job.intent.as_ref().filter(|intent| is_untold(job) && !intent.shared.is_empty())?;
    let end = outcome::later(intent.at, round.snapshot.batch.answer_window);
    let why = "an earlier update got no answer; it is looked at again once that update must be over";
    (end > round.now).then(|| wait_until(job, end, intent.clone(), why))
}
