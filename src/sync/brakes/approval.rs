//! At the end of a run: counts how many of its jobs violate a brake, and decides whether the flow allows that many.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    evaluate::{joined, remapped, violations, why},
    flow,
    violation::{Lookout, Violation},
};
use crate::{
    store::{BrakeTrip, HeldJobs, JobId, Lease, Pending, Result, RunId, ViolationExample},
    sync::{
        context::Context,
        desired::{self, Batch, Known},
        routing::{Brake, Flow},
    },
};

/// How many examples are reported for each brake at most.
const MOST_EXAMPLES: usize = 5;
const SLICE: usize = 500;

/// Decide on the jobs that a run has opened, and release those that waited for it.
pub(in crate::sync) async fn evaluate_run(context: &Context, run: RunId, lease: Option<&Lease>) -> Result<()> {
    match context.store.pending().await?.into_iter().find(|pending| pending.run == run) {
        // The run has come to its end: every record that is gone has its job.
        Some(pending) => approve_or_hold(context, &Pending { gone: 0, ..pending }, lease).await,
        None => Ok(()),
    }
}

/// Return the brakes that a run has tripped so far, without deciding on it.
pub(in crate::sync) async fn tripped(context: &Context, run: RunId) -> Result<Vec<BrakeTrip>> {
    match context.store.pending().await?.into_iter().find(|pending| pending.run == run) {
        Some(pending) => Ok(weigh(context, &Pending { gone: 0, ..pending }, None).await?.trips),
        None => Ok(Vec::new()),
    }
}

/// Find the jobs of a run that are over the limit at any of its targets. If the run was cut off, `gone` counts in
/// full: how many more records it would have declared gone is not known.
async fn weigh(context: &Context, pending: &Pending, lease: Option<&Lease>) -> Result<HeldJobs> {
    let (system, entity) = (pending.system.as_str(), pending.entity.as_str());
    let mut held = HeldJobs { trips: Vec::new(), jobs: Vec::new(), why: why(pending.run) };
    let own = context.routes.to(system, entity).next().map(|_| system);
    let mut targets: Vec<&str> =
        context.routes.from(system, entity).flat_map(|flow| &flow.to).map(String::as_str).chain(own).collect();
    targets.sort_unstable();
    targets.dedup();
    for target in targets {
        at(context, pending, target, lease, &mut held).await?;
    }
    Ok(held)
}

async fn approve_or_hold(context: &Context, pending: &Pending, lease: Option<&Lease>) -> Result<()> {
    let (run, entity) = (pending.run, pending.entity.as_str());
    let held = weigh(context, pending, lease).await?;
    for trip in &held.trips {
        tracing::warn!(
            run = run.0,
            system = trip.target,
            entity,
            brake = trip.brake,
            offences = trip.violations,
            of = trip.base,
            allowed = trip.allowed,
            "a brake holds the run's jobs back; `vaiven approve` shows them"
        );
    }
    let held = (!held.trips.is_empty()).then_some(&held);
    context.store.set_run_approval(run, held, context.env.now()).await?;
    context.work.notify_waiters();
    Ok(())
}

#[derive(Default)]
struct Counted {
    jobs: Vec<JobId>,
    examples: Vec<ViolationExample>,
}

#[derive(Default)]
struct Counts(BTreeMap<Brake, Counted>);

impl Counts {
    fn add(&mut self, lookout: &Lookout<'_>, flow: &Flow, one: &Known, found: Vec<Violation>) {
        for violation in found.into_iter().filter(|violation| violation.counts(&flow.brakes)) {
            let counted = self.0.entry(violation.brake).or_default();
            counted.jobs.push(one.job.id);
            if counted.examples.len() < MOST_EXAMPLES {
                let (field, before, after) = violation.shown;
                let personal = lookout.is_personal(&field);
                let (before, after) = if personal { (Value::Null, Value::Null) } else { (before, after) };
                counted.examples.push(ViolationExample { key: one.key.clone(), field, personal, before, after });
            }
        }
    }
}

/// Count what the run's jobs do at one target, and add to `held` what is over the limit.
async fn at(
    context: &Context,
    pending: &Pending,
    target: &str,
    lease: Option<&Lease>,
    held: &mut HeldJobs,
) -> Result<()> {
    let (run, system, entity) = (pending.run, pending.system.as_str(), pending.entity.as_str());
    let (Some(flow), Some(endpoint)) = (flow(&context.routes, system, target, entity), context.systems.get(target))
    else {
        return Ok(());
    };
    let Some(lookout) = Lookout::of(&context.entities, entity) else { return Ok(()) };
    if endpoint.capabilities(entity).is_none() || flow.brakes.allowed.is_empty() {
        return Ok(());
    }
    let batch = Batch::new(context, endpoint.as_ref(), target, entity);
    let mut counted = Counts::default();
    let mut after = JobId(0);
    loop {
        let jobs = context.store.opened(run, target, after, SLICE).await?;
        let Some(last) = jobs.last() else { break };
        after = last.id;
        for one in desired::outlook(&batch, jobs).await? {
            let mut found = violations(&lookout, &one);
            if pending.remapped {
                found.extend(remapped(&one));
            }
            counted.add(&lookout, flow, &one, found);
        }
        if let Some(lease) = lease {
            // If the lease is lost, other daemons find the run pending and decide on it as well, with the same
            // result.
            context.store.keep(lease, context.limits.long(), context.env.now()).await?;
        }
    }
    let is_agreed = context.limits.agreed.contains(&(target.to_owned(), entity.to_owned()));
    let mut after = if pending.joined && !is_agreed { Some(JobId(0)) } else { None };
    while let Some(at) = after {
        let jobs = context.store.newcomers(run, target, at, SLICE).await?;
        after = jobs.last().map(|last| last.id);
        for one in desired::outlook(&batch, jobs).await? {
            let found = joined(&lookout, &one).into_iter().collect();
            counted.add(&lookout, flow, &one, found);
        }
    }
    let Counts(counted) = counted;
    if counted.is_empty() {
        return Ok(());
    }
    let base = context.store.live(target, entity).await?;
    for (brake, counted) in counted {
        let Some(allowed) = flow.brakes.allowed.get(&brake) else { continue };
        let mut violations = u64::try_from(counted.jobs.len()).unwrap_or(u64::MAX);
        if brake == Brake::Delete {
            violations = violations.max(pending.gone);
        }
        if allowed.is_exceeded(violations, base) {
            held.jobs.extend(counted.jobs);
            held.trips.push(BrakeTrip {
                target: target.to_owned(),
                brake: brake.as_str().to_owned(),
                violations,
                base,
                allowed: allowed.to_string(),
                examples: counted.examples,
            });
        }
    }
    Ok(())
}

/// Decide on the runs of a system and entity that are still pending: they were cut off. Called by the holder of
/// their pull's lease.
pub(in crate::sync) async fn evaluate_pending(
    context: &Context,
    system: &str,
    entity: &str,
    lease: &Lease,
) -> Result<()> {
    for pending in context.store.pending().await? {
        if pending.system == system && pending.entity == entity {
            approve_or_hold(context, &pending, Some(lease)).await?;
        }
    }
    Ok(())
}

/// Decide on all runs that were cut off. Leave out those that another daemon is working on.
pub(in crate::sync) async fn evaluate_all_pending(context: &Context) -> Result<()> {
    let mut pairs: Vec<(String, String)> =
        context.store.pending().await?.into_iter().map(|one| (one.system, one.entity)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    for (system, entity) in pairs {
        let name = format!("pull:{system}/{entity}");
        let Some(lease) =
            context.store.acquire(&name, &context.owner, context.limits.long(), context.env.now()).await?
        else {
            continue;
        };
        let evaluated = evaluate_pending(context, &system, &entity, &lease).await;
        context.store.drop_lease(&lease).await?;
        evaluated?;
    }
    Ok(())
}
