//! The rounds of a batch: what its jobs need is looked at in bulk and everything loaded anew, until each job is decided on.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::{
    mapping::Translate,
    port::Capabilities,
    store::{Delivered, Job, Result, Verdict},
    sync::{
        context::circuit,
        desired::{Batch, Known, Loaded, Looked, Needs, Prepared, Round, Snapshot, Step, next_step, qualify::Alike},
        pull::{self, orders},
    },
};

/// Rounds of looks. A job needs its object, the orders and its figure at most once each; who asks for more waits.
const ROUNDS: usize = 4;

/// Decides on all jobs of a batch. Returns what is to be written, and what all objects of the target then have in common; what
/// ends without a write is in `prepared`.
pub(super) async fn decide_all(
    batch: &Batch<'_>,
    capabilities: &Capabilities,
    mapping: &dyn Translate,
    mut jobs: Vec<Job>,
    (prepared, stop): (&mut Prepared, &CancellationToken),
) -> Result<(Vec<Known>, Alike, Alike)> {
    let mut looked = Looked::default();
    let mut round = 0;
    loop {
        let loaded = Box::pin(Loaded::of(batch, capabilities, &jobs)).await?;
        let before = Alike::of(batch.context, batch.target, batch.entity).await?;
        let mut alike = before.clone();
        let snapshot = Snapshot { batch, capabilities, mapping, loaded: &loaded };
        let (now, is_stopping) = (batch.context.env.now(), stop.is_cancelled());
        let at = Round { snapshot, looked: &looked, now, is_stopping };
        let steps: Vec<(i64, Step)> = jobs.iter().map(|job| (job.id, next_step(at, job.clone(), &mut alike))).collect();
        let needs = Bulk::of(&steps);
        if needs.is_empty() || round == ROUNDS {
            prepared.kept = jobs.iter().filter_map(|job| Some((job.id, loaded.kept(job.record)?))).collect();
            let mut writes = Vec::new();
            for (job, (_, step)) in jobs.iter().zip(steps) {
                match step {
                    Step::Write(known) => writes.push(*known),
                    Step::Finish(end) => prepared.settled.push(end.outcome(batch)),
                    Step::Look(_) => prepared.settled.push(waits(batch, job)),
                }
            }
            return Ok((writes, before, alike));
        }
        jobs = needs.look(batch, jobs, &mut looked, (&mut *prepared, stop)).await?;
        round += 1;
    }
}

/// A job that asks for more looks than there are rounds.
fn waits(batch: &Batch<'_>, job: &Job) -> Delivered {
    let verdict = Verdict::Retry {
        at: batch.context.env.now(),
        burn: true,
        intent: job.intent.clone(),
        class: crate::failure::Class::Transient.as_str().to_owned(),
        error: "what it depends on changed at each look".to_owned(),
    };
    Delivered::new(job, verdict)
}

/// What the jobs of a round need, together.
#[derive(Default)]
struct Bulk {
    /// By job.
    objects: BTreeMap<i64, String>,
    figures: BTreeMap<i64, String>,
    orders: bool,
}

impl Bulk {
    fn of(steps: &[(i64, Step)]) -> Self {
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

    /// Looks at all of it. Returns the jobs that can go on: one whose object cannot be read is not written.
    async fn look(
        self,
        batch: &Batch<'_>,
        mut jobs: Vec<Job>,
        looked: &mut Looked,
        (prepared, stop): (&mut Prepared, &CancellationToken),
    ) -> Result<Vec<Job>> {
        let (context, target, entity) = (batch.context, batch.target, batch.entity);
        if !self.objects.is_empty() {
            let ids: Vec<String> = self.objects.values().cloned().collect();
            match pull::look(context, target, entity, &ids).await? {
                Ok(()) => looked.objects.extend(self.objects.keys()),
                Err(failure) => {
                    circuit::struck(context, target, &failure).await?;
                    let (unseen, rest): (Vec<_>, Vec<_>) =
                        jobs.into_iter().partition(|job| self.objects.contains_key(&job.id));
                    unseen.iter().for_each(|job| prepared.fail(batch, job, &failure));
                    jobs = rest;
                }
            }
        }
        if !self.figures.is_empty() {
            let ids: Vec<String> = self.figures.values().cloned().collect();
            looked.objects.extend(self.figures.keys());
            if pull::look(context, target, entity, &ids).await?.is_err() {
                looked.blind.extend(self.figures.keys());
            }
        }
        if self.orders {
            looked.orders = Some(orders::read_orders(context, target, stop).await?);
        }
        Ok(jobs)
    }
}
