//! A pass in two halves: everything is looked at before anything is delivered. So each record is written once, with
//! all that is known of it, whichever system is faster; and a plan and its application result in the same writes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    store::NewRun,
    store::{Balance, JobFilter, JobState, RecordId, RunKind, StoreError, Turn},
    sync::{
        brakes,
        context::{Context, RunReport, outcome},
        delivery,
        engine::{Engine, joining},
        pull::{self, adoption},
        routing::{Flow, Routes},
    },
};

/// How many objects are read at once.
const LOOK: usize = 500;

/// What a pass is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// `None` means all flows.
    pub flow: Option<String>,
    pub kind: RunKind,
}

impl Reach {
    pub(in crate::sync) fn flows<'a>(&'a self, routes: &'a Routes) -> impl Iterator<Item = &'a Flow> {
        routes.flows().iter().filter(|flow| self.flow.as_ref().is_none_or(|only| *only == flow.name))
    }

    /// Targets and entities that are written to.
    pub(in crate::sync) fn pairs(&self, routes: &Routes) -> BTreeSet<(String, String)> {
        let pairs = self.flows(routes).flat_map(|flow| {
            flow.to.iter().flat_map(|target| flow.entities.iter().map(|entity| (target.clone(), entity.clone())))
        });
        pairs.collect()
    }
}

/// Part of the queue: targets, each with the entities that are skipped there.
#[derive(Clone, Debug)]
pub(in crate::sync) struct Share(BTreeMap<String, Vec<String>>);

impl Share {
    pub(in crate::sync) fn everything(routes: &Routes) -> Self {
        Self(routes.targets().into_iter().map(|target| (target.to_owned(), Vec::new())).collect())
    }

    /// The share of these targets and entities; `known` are all for which there may be jobs.
    pub(in crate::sync) fn only(pairs: &BTreeSet<(String, String)>, known: &BTreeSet<(String, String)>) -> Self {
        let mut share: BTreeMap<String, Vec<String>> =
            pairs.iter().map(|(target, _)| (target.clone(), Vec::new())).collect();
        for (target, entity) in known.difference(pairs) {
            if let Some(but) = share.get_mut(target) {
                but.push(entity.clone());
            }
        }
        Self(share)
    }

    pub(in crate::sync) fn targets(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(target, but)| (target.as_str(), but.as_slice()))
    }

    pub(in crate::sync) fn covers(&self, target: &str, entity: &str) -> bool {
        self.0.get(target).is_some_and(|but| !but.iter().any(|left| left == entity))
    }
}

/// What the first half found.
#[derive(Default)]
pub(in crate::sync) struct Looked {
    pub(in crate::sync) runs: Vec<RunReport>,
    /// Targets and entities whose objects could not be read before they are written, and why.
    pub(in crate::sync) blind: BTreeMap<(String, String), String>,
}

impl Engine {
    /// The first half: pull what the reach names, then read the objects that are about to be written, so that their
    /// replicas are up to date.
    pub(in crate::sync) async fn look(
        &self,
        reach: &Reach,
        trigger: &str,
        cancel: &CancellationToken,
    ) -> Result<Looked, StoreError> {
        let context = self.context();
        self.retry_resolved(cancel).await?;
        let mut looked = Looked::default();
        looked.runs.extend(Box::pin(joining::cover(context, None, cancel)).await?);
        brakes::evaluate_all_pending(context).await?;
        for flow in reach.flows(&context.routes) {
            for report in self.pull_flow(flow, None, (reach.kind, trigger), cancel).await? {
                looked.runs.push(after_others(context, report, trigger, cancel).await?);
            }
        }
        for (target, entity) in reach.pairs(&context.routes) {
            if cancel.is_cancelled() {
                break;
            }
            let listed = |run: &RunReport| {
                (&run.system, &run.entity, run.kind) == (&target, &entity, RunKind::Full) && run.is_green()
            };
            if looked.runs.iter().any(listed) {
                continue;
            }
            if let Some(error) = look_at_targets(context, &target, &entity).await? {
                looked.runs.push(RunReport {
                    run: None,
                    system: target.clone(),
                    entity: entity.clone(),
                    kind: RunKind::Delta,
                    balance: Balance::default(),
                    error: Some(error.clone()),
                });
                looked.blind.insert((target, entity), error);
            }
        }
        Ok(looked)
    }

    /// Return the part of the queue that a reach is about, without `blind`.
    pub(in crate::sync) async fn share(
        &self,
        reach: &Reach,
        blind: &BTreeSet<(String, String)>,
    ) -> Result<Share, StoreError> {
        let context = self.context();
        let backlog = context.store.backlog().await?;
        let queued = backlog.into_iter().map(|line| (line.target, line.entity));
        let known = Reach { flow: None, ..reach.clone() }.pairs(&context.routes).into_iter().chain(queued).collect();
        let pairs = reach.pairs(&context.routes);
        Ok(Share::only(&pairs.difference(blind).cloned().collect(), &known))
    }

    /// Deliver what can be delivered now, without waiting for anything.
    pub(in crate::sync) async fn drain(
        &self,
        share: &Share,
        stop: &CancellationToken,
    ) -> Result<delivery::Tally, StoreError> {
        let mut tally = delivery::Tally::default();
        loop {
            let mut some = false;
            for (target, but) in share.targets() {
                let (context, turn) = (self.context(), Turn::Foremost);
                while !stop.is_cancelled()
                    && let Some(ended) = delivery::batch(context, target, but, turn, stop).await?
                {
                    tally.add(&ended);
                    some = true;
                }
            }
            if !some {
                return Ok(tally);
            }
        }
    }
}

/// If another process was doing this pull, do it again when that process has finished.
pub(in crate::sync) async fn after_others(
    context: &Context,
    mut report: RunReport,
    trigger: &str,
    cancel: &CancellationToken,
) -> Result<RunReport, StoreError> {
    while report.run.is_none() && report.error.is_none() && !cancel.is_cancelled() {
        context.env.sleep(context.limits.poll).await;
        report = pull::pull(context, NewRun::new(&report.system, &report.entity, report.kind, trigger), cancel).await?;
        if report.kind == RunKind::Full && report.run.is_some() && report.is_green() {
            adoption::adopted(context, &report.system, &report.entity).await?;
        }
    }
    Ok(report)
}

/// Read the objects at a target for which jobs are queued. If they cannot be read, return why.
async fn look_at_targets(context: &Context, target: &str, entity: &str) -> Result<Option<String>, StoreError> {
    if !context.capabilities(target, entity).is_some_and(|capabilities| capabilities.read) {
        return Ok(None);
    }
    let queued = JobFilter {
        target: Some(target.to_owned()),
        entity: Some(entity.to_owned()),
        states: vec![JobState::Queued],
        ..JobFilter::default()
    };
    let records: Vec<RecordId> = context.store.jobs(&queued).await?.into_iter().map(|job| job.record).collect();
    for records in records.chunks(LOOK) {
        let ids: Vec<String> = context.store.externals(target, records).await?.into_values().collect();
        if ids.is_empty() {
            continue;
        }
        if let Err(failure) = pull::look(context, target, entity, &ids).await? {
            crate::sync::context::circuit::struck(context, target, &failure).await?;
            return Ok(Some(outcome::describe(&failure)));
        }
    }
    Ok(None)
}
