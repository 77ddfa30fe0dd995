//! What follows from a batch of deliveries once its outcomes are durable.

use std::collections::BTreeMap;

use crate::{
    mapping::Fields,
    port::System,
    store::{JobFilter, NewJob, RecordId, StoreError},
    sync::{
        context::Context,
        desired::{FollowUp, Wait},
        routing::priority,
        stock::reservations,
    },
};

impl FollowUp {
    /// Carry out what follows. Return true if anything was queued.
    pub(in crate::sync) async fn see_to(self, context: &Context, system: &dyn System) -> Result<bool, StoreError> {
        let freed = freed(context, system.name(), &self.waits).await?;
        let moved = follow(context, system, &self.moved).await?;
        if self.recounts {
            reservations::requeue_stock(context, system.name()).await?;
        }
        let requeued = requeue_reopened(context, system.name(), &self.reopened).await?;
        Ok(freed || moved || requeued)
    }
}

/// Queue again what has just been parked for an object that was written in the meantime. Return true if there was
/// any.
async fn freed(context: &Context, target: &str, waits: &[Wait]) -> Result<bool, StoreError> {
    if waits.is_empty() {
        return Ok(false);
    }
    let holders: Vec<RecordId> = waits.iter().map(|wait| wait.holder).collect();
    let now: BTreeMap<RecordId, i64> = (context.store.replicas_of(&holders).await?.into_iter())
        .filter(|replica| replica.system == target && replica.gone_at.is_none())
        .map(|replica| (replica.record, replica.written))
        .collect();
    let mut freed = false;
    for wait in waits.iter().filter(|wait| now.get(&wait.holder) != Some(&wait.written)) {
        let (target, cause) = (Some(target.to_owned()), Some(wait.cause.clone()));
        let filter = JobFilter { target, cause, ..JobFilter::default() };
        freed |= context.store.retry(&filter, context.env.now()).await? > 0;
    }
    Ok(freed)
}

/// Open jobs for objects that lived on children that are gone: prices and stock of an article that is another
/// object now. Return true if there was any.
async fn follow(context: &Context, system: &dyn System, moved: &[(String, String)]) -> Result<bool, StoreError> {
    let mut jobs = Vec::new();
    for entity in context.entities.names().filter(|_| !moved.is_empty()) {
        let Some(list) = system.capabilities(entity).and_then(|capabilities| capabilities.facet_of.as_ref()) else {
            continue;
        };
        let ids: Vec<String> = moved.iter().filter(|(of, _)| of == list).map(|(_, id)| id.clone()).collect();
        for replica in context.store.replicas_by_id(system.name(), entity, &ids).await? {
            let priority = priority::of(entity, &replica.fields);
            let (target, entity, record) = (replica.system, replica.entity, replica.record);
            jobs.push(NewJob { target, entity, record, priority, due: None });
        }
    }
    if !jobs.is_empty() {
        context.store.enqueue(&jobs, context.env.now()).await?;
    }
    Ok(!jobs.is_empty())
}

/// Open jobs at the other systems for orders that a delivery has led out of their end. Return true if there was
/// any.
async fn requeue_reopened(
    context: &Context,
    target: &str,
    reopened: &[(String, RecordId)],
) -> Result<bool, StoreError> {
    let mut jobs = Vec::new();
    for (entity, record) in reopened {
        let priority = priority::of(entity, &Fields::new());
        let others = context.routes.targets_of(entity).into_iter().filter(|system| *system != target);
        jobs.extend(others.map(|system| NewJob {
            target: system.to_owned(),
            entity: entity.clone(),
            record: *record,
            priority,
            due: None,
        }));
    }
    if !jobs.is_empty() {
        context.store.enqueue(&jobs, context.env.now()).await?;
    }
    Ok(!jobs.is_empty())
}
