//! The first full reading of a system: existing objects are adopted, not created again.
use tokio_util::sync::CancellationToken;

use crate::{
    store::NewRun,
    store::{JobFilter, RunKind, StoreError},
    sync::{
        context::{Context, RunReport},
        pull,
    },
    wait_reason::WaitReason,
};

/// Read a target's entity completely if that was never done: existing objects are adopted, not created again. `None`
/// if it was read before, or cannot be listed.
pub(in crate::sync) async fn adopt(
    context: &Context,
    target: &str,
    entity: &str,
    cancel: &CancellationToken,
) -> Result<Option<RunReport>, StoreError> {
    if !context.can_list(target, entity) || is_adopted(context, target, entity).await? {
        return Ok(None);
    }
    let report = pull::pull(context, NewRun::new(target, entity, RunKind::Full, "first contact"), cancel).await?;
    if report.run.is_some() && report.error.is_none() {
        adopted(context, target, entity).await?;
    }
    Ok(Some(report))
}

/// Whether creating at the target is safe: it was read once, or cannot be listed at all.
pub(in crate::sync) async fn is_adopted(context: &Context, target: &str, entity: &str) -> Result<bool, StoreError> {
    Ok(!context.can_list(target, entity) || context.store.reading(target, entity).await?.is_adopted)
}

/// Store that a system's entity was read completely, and release the jobs that waited for it.
pub(in crate::sync) async fn adopted(context: &Context, system: &str, entity: &str) -> Result<(), StoreError> {
    context.store.set_adopted(system, entity).await?;
    let waiting = JobFilter { cause: Some(WaitReason::unlisted(system, entity)), ..JobFilter::default() };
    if context.store.retry(&waiting, context.env.now()).await? > 0 {
        context.work.notify_waiters();
    }
    Ok(())
}
