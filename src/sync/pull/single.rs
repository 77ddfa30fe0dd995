//! Reads single objects: before and right after a write, and again when somebody asks for them.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::run::{Marks, Pass, Rows, commit};
use crate::{
    failure::Failure,
    store::{Balance, NewRun, Rejection, RunId, RunKind, StoreError},
    sync::{
        brakes,
        context::{Context, PullContext, RunReport, outcome, report::STOPPED},
        stock::reservations,
    },
};

/// By id: objects that the system showed in a row that cannot be read, and why. Without the rows that a person has put
/// aside.
pub(in crate::sync) type Unread = BTreeMap<String, String>;

/// Read objects of a target before they are written; the inner error says why they could not be read. What differs
/// from the replicas becomes durable as with any pull, unless another process has done so meanwhile: after this,
/// load again what was known before. The result names the objects whose rows cannot be read: they stay as known before.
pub(in crate::sync) async fn look(
    context: &Context,
    system: &str,
    entity: &str,
    ids: &[String],
) -> Result<Result<Unread, Failure>, StoreError> {
    single(context, system, entity, ids, "before a write").await
}

/// Read objects right after they were written: what is there now is what the target made of it. If they cannot be
/// read, the next pull shows it.
pub(in crate::sync) async fn look_back(
    context: &Context,
    system: &str,
    entity: &str,
    ids: &[String],
) -> Result<(), StoreError> {
    single(context, system, entity, ids, "after a write").await.map(drop)
}

async fn single(
    context: &Context,
    system: &str,
    entity: &str,
    ids: &[String],
    trigger: &str,
) -> Result<Result<Unread, Failure>, StoreError> {
    let (Some(endpoint), Some(mapping)) = (context.systems.get(system), context.mapping(system, entity)) else {
        return Ok(Ok(Unread::new()));
    };
    let mapping = mapping.as_ref();
    let mut reading =
        PullContext { context, system: endpoint.as_ref(), mapping, entity, run: RunId(0), remapped: false };
    let counter = context.store.counter().await?;
    let rows = match endpoint.read(entity, ids).await {
        Ok(rows) => rows,
        Err(failure) => return Ok(Err(failure)),
    };
    let page = reading.detect(&rows, &[], counter).await?.commit;
    let unread = unread(context, (system, entity), &page.rejections).await?;
    if page.changes.is_empty() {
        // There is nothing for other systems. But store that what was sent has arrived, and what cannot be read.
        if !page.rejections.is_empty() || !page.new_fingerprints.is_empty() {
            match context.store.commit_page(page, context.env.now()).await {
                Ok(_) | Err(StoreError::Stale(_)) => {}
                Err(error) => return Err(error),
            }
        }
        return Ok(Ok(unread));
    }
    let run = NewRun::new(system, entity, RunKind::Single, trigger);
    let run = context.store.begin_run(run, context.env.now()).await?;
    reading.run = run;
    let mut pass = Pass::default();
    commit(&reading, Rows { rows: &rows, errors: &[], read_at: counter }, Marks::default(), &mut pass).await?;
    brakes::evaluate_run(context, run, None).await?;
    context.store.end_run(run, &pass.balance, None, context.env.now()).await?;
    Ok(Ok(unread))
}

/// `of`: system and entity.
async fn unread(context: &Context, of: (&str, &str), rejections: &[Rejection]) -> Result<Unread, StoreError> {
    let mut unread: Unread = rejections.iter().filter_map(|row| Some((row.id.clone()?, row.reason.clone()))).collect();
    if !unread.is_empty() {
        let ids: Vec<String> = unread.keys().cloned().collect();
        for id in context.store.dismissed(of.0, of.1, &ids).await? {
            unread.remove(&id);
        }
    }
    Ok(unread)
}

/// Who asks for records to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sync) enum AskedBy {
    /// A person who named them: what follows needs no approval.
    Person,
    Engine,
}

/// Read single records again: the source's row and every target's, so that a difference on either side is found.
pub(in crate::sync) async fn refresh(
    context: &Context,
    run: NewRun<'_>,
    ids: &[String],
    asked: AskedBy,
    cancel: &CancellationToken,
) -> Result<RunReport, StoreError> {
    let NewRun { system, entity, .. } = run;
    let mut report = RunReport {
        run: None,
        system: system.to_owned(),
        entity: entity.to_owned(),
        kind: run.kind,
        balance: Balance::default(),
        error: None,
    };
    let (Some(endpoint), Some(mapping)) = (context.systems.get(system), context.mapping(system, entity)) else {
        report.error = Some(format!("system {system} has no mapping for entity {entity}"));
        return Ok(report);
    };
    // Never run it beside a listing of the same objects: the listing would take what it has not seen yet for gone.
    let name = format!("pull:{system}/{entity}");
    let lease = loop {
        match context.store.acquire(&name, &context.owner, context.limits.long(), context.env.now()).await? {
            Some(lease) => break lease,
            None if cancel.is_cancelled() => {
                report.error = Some(STOPPED.to_owned());
                return Ok(report);
            }
            None => context.env.sleep(context.limits.poll).await,
        }
    };
    let run = context.store.begin_run(run, context.env.now()).await?;
    report.run = Some(run);
    let mapping = mapping.as_ref();
    let reading = PullContext { context, system: endpoint.as_ref(), mapping, entity, run, remapped: false };
    let counter = context.store.counter().await?;
    let read = tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        rows = endpoint.read(entity, ids) => Some(rows),
    };
    match read {
        Some(Ok(rows)) => {
            let mut pass = Pass::default();
            let marks = Marks { lease: Some((lease.clone(), context.limits.long())), ..Marks::default() };
            let rows = Rows { rows: &rows, errors: &[], read_at: counter };
            match commit(&reading, rows, marks, &mut pass).await {
                Err(error @ StoreError::Overtaken) => report.error = Some(error.to_string()),
                committed => drop(committed?),
            }
            report.balance = pass.balance;
        }
        Some(Err(failure)) => {
            crate::sync::context::circuit::struck(context, system, &failure).await?;
            report.error = Some(outcome::describe(&failure));
        }
        None => report.error = Some(STOPPED.to_owned()),
    }
    match asked {
        AskedBy::Person => drop(context.store.set_run_approval(run, None, context.env.now()).await?),
        AskedBy::Engine => brakes::evaluate_run(context, run, Some(&lease)).await?,
    }
    context.store.end_run(run, &report.balance, report.error.as_deref(), context.env.now()).await?;
    context.store.drop_lease(&lease).await?;
    if entity == reservations::ORDER && report.is_green() {
        reservations::after_pull(context, system, entity).await?;
    }
    Ok(report)
}
