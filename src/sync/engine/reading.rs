//! Which readings make up a flow, a pass and a resync.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::{
    store::{NewJob, NewRun, RunKind, StoreError},
    sync::{
        context::RunReport,
        engine::{joining, pass::after_others},
        identity::numbering,
        pull::{self, AskedBy, adoption, orders},
        routing::{Flow, Scope},
        stock::reservations,
    },
};

impl Engine {
    /// Read one entity of one system and open the jobs that follow. Deliver nothing.
    pub async fn pull(&self, run: NewRun<'_>, cancel: &CancellationToken) -> Result<RunReport, StoreError> {
        pull::pull(&self.context, run, cancel).await
    }

    /// Pull all sources in the order of the configuration; first the targets that were never read.
    pub(super) async fn pull_all(
        &self,
        kind: RunKind,
        trigger: &str,
        cancel: &CancellationToken,
    ) -> Result<Vec<RunReport>, StoreError> {
        let mut runs = Vec::new();
        for flow in self.context.routes.flows() {
            runs.extend(self.pull_flow(flow, None, (kind, trigger), cancel).await?);
        }
        Ok(runs)
    }

    /// Pull a flow's entities from its source. A full pull reads the targets as well: drift there is found by
    /// comparison.
    pub(in crate::sync) async fn pull_flow(
        &self,
        flow: &Flow,
        only: Option<&str>,
        (kind, trigger): (RunKind, &str),
        cancel: &CancellationToken,
    ) -> Result<Vec<RunReport>, StoreError> {
        let mut runs = Vec::new();
        for entity in flow.entities.iter().filter(|entity| only.is_none_or(|only| only == entity.as_str())) {
            if cancel.is_cancelled() {
                break;
            }
            for target in &flow.to {
                if kind == RunKind::Full {
                    runs.extend(self.look_at_target(target, entity, trigger, cancel).await?);
                } else {
                    runs.extend(adoption::adopt(&self.context, target, entity, cancel).await?);
                }
            }
            if entity == reservations::STOCK {
                runs.extend(orders::before_first_reading(&self.context, flow, cancel).await?);
            }
            if cancel.is_cancelled() {
                break;
            }
            let report = pull::pull(&self.context, NewRun::new(&flow.from, entity, kind, trigger), cancel).await?;
            // For a delta, of which there are many, it is enough that another daemon is reading at the moment.
            let is_full = kind == RunKind::Full;
            runs.push(if is_full { after_others(&self.context, report, trigger, cancel).await? } else { report });
        }
        Ok(runs)
    }

    pub(super) async fn look_at_target(
        &self,
        target: &str,
        entity: &str,
        trigger: &str,
        cancel: &CancellationToken,
    ) -> Result<Option<RunReport>, StoreError> {
        if !self.context.can_list(target, entity) {
            return Ok(None);
        }
        let report = pull::pull(&self.context, NewRun::new(target, entity, RunKind::Full, trigger), cancel).await?;
        let report = after_others(&self.context, report, trigger, cancel).await?;
        if report.is_green() && report.run.is_some() {
            adoption::adopted(&self.context, target, entity).await?;
        }
        Ok(Some(report))
    }

    /// Read a scope again, whatever cursors and fingerprints say about it.
    pub async fn resync(&self, scope: &Scope, cancel: &CancellationToken) -> Result<Vec<RunReport>, StoreError> {
        let Some(flow) = self.context.routes.flow(&scope.flow) else { return Ok(Vec::new()) };
        let trigger = format!("resync {scope}");
        let (Some(entity), Some(key)) = (&scope.entity, &scope.key) else {
            let runs = self.pull_flow(flow, scope.entity.as_deref(), (RunKind::Full, &trigger), cancel).await?;
            // What has not changed at its source is offered to the targets as well.
            let asked = joining::CoverRequest { scope, trigger: &trigger };
            let failed = Box::pin(joining::cover(&self.context, Some(asked), cancel)).await?;
            return Ok(runs.into_iter().chain(failed).collect());
        };
        let known = numbering::meant(&self.context, entity, key, &flow.from).await?;
        let mut runs = Vec::new();
        for system in std::iter::once(&flow.from).chain(&flow.to) {
            let mut ids: BTreeSet<String> = self.context.store.externals(system, &known).await?.into_values().collect();
            // A row that could not be read is named by its id, or by the key that it shows.
            let rejected = self.context.store.rejections(Some(system), u32::MAX).await?.into_iter();
            let rejected = rejected.filter(|(_, of, row)| of == entity && row.is_about(key));
            ids.extend(rejected.filter_map(|(_, _, row)| row.id));
            let ids: Vec<String> = ids.into_iter().collect();
            let can_read = self.context.capabilities(system, entity).is_some_and(|capabilities| capabilities.read);
            if !ids.is_empty() && can_read {
                let run = NewRun::new(system, entity, RunKind::Single, &trigger);
                runs.push(pull::refresh(&self.context, run, &ids, AskedBy::Person, cancel).await?);
            } else if *system == flow.from && self.context.can_list(system, entity) {
                // If the object is new to us or cannot be read alone, the source is listed completely.
                runs.push(
                    pull::pull(&self.context, NewRun::new(system, entity, RunKind::Full, &trigger), cancel).await?,
                );
            } else if !ids.is_empty() {
                // The same for a target that cannot read single objects.
                runs.extend(self.look_at_target(system, entity, &trigger, cancel).await?);
            }
        }
        let records = numbering::meant(&self.context, entity, key, &flow.from).await?;
        let jobs: Vec<NewJob> = records
            .into_iter()
            .flat_map(|record| flow.to.iter().map(move |target| (record, target)))
            .map(|(record, target)| NewJob {
                target: target.clone(),
                entity: entity.clone(),
                record,
                priority: 0,
                due: None,
            })
            .collect();
        if !jobs.is_empty() {
            self.context.store.enqueue(&jobs, self.context.env.now()).await?;
            self.context.work.notify_waiters();
        }
        Ok(runs)
    }
}
