//! The rounds of a batch: what its jobs need is read in bulk and everything is loaded again, until each job is
//! decided on.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;

use crate::{
    failure::{Class, Failure},
    mapping::Translate,
    store::{Delivered, Job, JobId, RecordId, Result},
    sync::{
        context::circuit,
        desired::{Batch, Known, Loaded, Looked, Needs, Round, Snapshot, Step, failed, next_step, qualify::Alike},
        pull::{self, orders},
    },
};

/// How many rounds of looks there are. A job needs its object, the orders and its figure at most once each; a job
/// that asks for more waits.
const ROUNDS: usize = 4;

/// What was decided on a batch.
pub(super) struct Decided {
    /// The writes.
    pub(super) writes: Vec<Known>,
    /// How the jobs end that lead to no write.
    pub(super) ended: Vec<Delivered>,
    /// By job: the reservation of its article from now on, if it is not the same as before.
    pub(super) kept: BTreeMap<JobId, (RecordId, Decimal)>,
    /// What all objects of the target have in common once these writes are included.
    pub(super) alike: Alike,
    /// Whether one of the writes is the first to set that.
    pub(super) is_first: bool,
}

/// Decide on all jobs of a batch, in as many rounds as their looks take.
pub(super) async fn decide_all(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    mut jobs: Vec<Job>,
    stop: &CancellationToken,
) -> Result<Decided> {
    let (mut looked, mut ended) = (Looked::default(), Vec::new());
    let mut round = 0;
    loop {
        let loaded = Box::pin(Loaded::of(batch, &jobs)).await?;
        let before = Alike::of(batch.context, batch.target, batch.entity).await?;
        let mut alike = before.clone();
        let snapshot = Snapshot { batch, mapping, loaded: &loaded };
        let (now, is_stopping) = (batch.context.env.now(), stop.is_cancelled());
        let at = Round { snapshot, looked: &looked, now, is_stopping };
        let steps: Vec<(JobId, Step)> =
            jobs.iter().map(|job| (job.id, next_step(at, job.clone(), &mut alike))).collect();
        let needs = Bulk::of(&steps);
        if !needs.is_empty() && round < ROUNDS {
            let unseen = needs.look(batch, &mut looked, stop).await?;
            jobs.retain(|job| {
                let failure = unseen.as_ref().filter(|(objects, _)| objects.contains_key(&job.id));
                ended.extend(failure.map(|(_, failure)| failed(batch, job, failure)));
                failure.is_none()
            });
            round += 1;
            continue;
        }
        let kept = jobs.iter().filter_map(|job| Some((job.id, loaded.kept(job.record)?))).collect();
        let mut writes = Vec::new();
        for (job, (_, step)) in jobs.iter().zip(steps) {
            match step {
                Step::Write(known) => writes.push(*known),
                Step::Finish(end) => ended.push(end.outcome(batch)),
                Step::Look(_) => ended.push(waits(batch, job)),
            }
        }
        return Ok(Decided { writes, ended, kept, is_first: alike != before, alike });
    }
}

/// End a job that asks for more looks than there are rounds.
fn waits(batch: &Batch<'_>, job: &Job) -> Delivered {
    let text = format!("what {} should have changed each time it was looked at", batch.target);
    failed(batch, job, &Failure::new(Class::Transient, text))
}

/// What the jobs of a round need, together.
#[derive(Default)]
struct Bulk {
    /// By job.
    objects: BTreeMap<JobId, String>,
    figures: BTreeMap<JobId, String>,
    orders: bool,
}

impl Bulk {
    fn of(steps: &[(JobId, Step)]) -> Self {
        let mut bulk = Self::default();
        for (job, step) in steps {
            match step {
                Step::Look(Needs::Object(id)) => drop(bulk.objects.insert(*job, id.clone())),
                Step::Look(Needs::Figure(id)) => drop(bulk.figures.insert(*job, id.clone())),
                Step::Look(Needs::Orders) => bulk.orders = true,
                Step::Write(_) | Step::Finish(_) => {}
            }
        }
        bulk
    }

    fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.figures.is_empty() && !self.orders
    }

    /// Look at everything that is needed. Return the jobs whose objects could not be read, and why.
    async fn look(
        self,
        batch: &Batch<'_>,
        looked: &mut Looked,
        stop: &CancellationToken,
    ) -> Result<Option<(BTreeMap<JobId, String>, Failure)>> {
        let (context, target, entity) = (batch.context, batch.target, batch.entity);
        let mut unseen = None;
        if !self.objects.is_empty() {
            let ids: Vec<String> = self.objects.values().cloned().collect();
            match pull::look(context, target, entity, &ids).await? {
                Ok(unread) => {
                    let reasons = self.objects.iter().filter_map(|(job, id)| Some((*job, unread.get(id)?.clone())));
                    looked.unread.extend(reasons);
                    looked.objects.extend(self.objects.keys());
                }
                Err(failure) => {
                    circuit::struck(context, target, &failure).await?;
                    unseen = Some((self.objects, failure));
                }
            }
        }
        if !self.figures.is_empty() {
            let ids: Vec<String> = self.figures.values().cloned().collect();
            looked.figures.extend(self.figures.keys());
            match pull::look(context, target, entity, &ids).await? {
                Ok(unread) => {
                    let (blind, seen): (Vec<_>, Vec<_>) =
                        self.figures.into_iter().partition(|(_, id)| unread.contains_key(id));
                    looked.blind.extend(blind.into_iter().map(|(job, _)| job));
                    looked.objects.extend(seen.into_iter().map(|(job, _)| job));
                }
                Err(_) => looked.blind.extend(self.figures.keys()),
            }
        }
        if self.orders {
            looked.orders = Some(orders::read_orders(context, target, stop).await?);
        }
        Ok(unseen)
    }
}
