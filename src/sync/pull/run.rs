//! One run: reads an entity of a system page by page, and after a complete reading finds what is gone.

use std::time::Duration;

use roaring::RoaringBitmap;
use serde_json::Value;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    failure::{Class, Failure},
    mapping::Fields,
    port::{Capabilities, Page, PageToken, PullRequest, RowError, SourceRow},
    store::Proven,
    store::{
        Balance, ChangeOp, JOINED, Lease, NewChange, NewRun, PageCommit, Replica, ReplicaWrite, RunKind, Slice,
        StoreError,
    },
    sync::stock::evidence::Listed,
    sync::{
        brakes,
        context::{
            Context, PullContext, RunReport, joined, outcome,
            report::{STOPPED, left_alone},
        },
        identity::guests,
        pull::{
            dates::Gathered,
            detect::{add, count},
            mapping_revision, whole,
        },
        stock::reservations::{self, ReadingEvidence},
    },
};

const PAGE_ROWS: usize = 1000;

/// Read `entity` at `system`, what changed since the cursor or everything, and do what follows from it for stock.
pub(in crate::sync) async fn pull(
    context: &Context,
    run: NewRun<'_>,
    cancel: &CancellationToken,
) -> Result<RunReport, StoreError> {
    let report = list(context, run, cancel).await?;
    if report.error.as_deref() != Some(STOPPED) {
        context.journal.read(&context.store, &report).await?;
    }
    if report.run.is_some() && report.is_green() {
        reservations::after_pull(context, run.system, run.entity).await?;
    }
    Ok(report)
}

/// Read `entity` at `system`, and do nothing else.
pub(in crate::sync) async fn list(
    context: &Context,
    NewRun { system, entity, kind, trigger }: NewRun<'_>,
    cancel: &CancellationToken,
) -> Result<RunReport, StoreError> {
    let mut report = RunReport {
        run: None,
        system: system.to_owned(),
        entity: entity.to_owned(),
        kind,
        balance: Balance::default(),
        error: None,
    };
    let (Some(endpoint), Some(mapping)) = (context.systems.get(system), context.mapping(system, entity)) else {
        report.error = Some(format!("system {system} has no mapping for entity {entity}"));
        return Ok(report);
    };
    let Some(capabilities) = endpoint.capabilities(entity).filter(|capabilities| capabilities.list) else {
        report.error = Some(format!("the adapter of system {system} cannot list entity {entity}"));
        return Ok(report);
    };
    if let Some(until) = context.store.circuit(system).await?.until.filter(|until| *until > context.env.now()) {
        report.error = Some(format!("{} until {}", left_alone(system), until.format("%H:%M:%S UTC")));
        return Ok(report);
    }
    let Some(lease) = context
        .store
        .acquire(&format!("pull:{system}/{entity}"), &context.owner, context.limits.long(), context.env.now())
        .await?
    else {
        return Ok(report);
    };
    brakes::evaluate_pending(context, system, entity, &lease).await?;
    let cursor = context.store.cursor(system, entity).await?;
    let evidence = ReadingEvidence::begin(context, system, entity, cursor.as_deref()).await?;
    let asked = context.env.now();
    let is_due = whole::is_due(context, capabilities, (system, entity), asked).await?;
    let since = if kind == RunKind::Delta && capabilities.incremental && !is_due { cursor } else { None };
    report.kind = if since.is_none() { RunKind::Full } else { RunKind::Delta };
    let revision = mapping_revision::of(mapping.as_ref(), endpoint.as_ref(), entity);
    let last = match report.kind {
        RunKind::Full => context.store.reading(system, entity).await?.revision,
        _ => None,
    };
    let is_first = report.kind == RunKind::Full && last.is_none();
    let joins = is_first && joined::is_added(context, system, entity).await?;
    let trigger = if joins { JOINED } else { trigger };
    let run = NewRun { system, entity, kind: report.kind, trigger };
    let run = context.store.begin_run(run, context.env.now()).await?;
    report.run = Some(run);

    let remapped = last.is_some_and(|last| last != revision);
    let mapping = mapping.as_ref();
    let reading = PullContext { context, system: endpoint.as_ref(), mapping, entity, run, remapped };
    let listing = Listing { since: since.as_deref(), capabilities, evidence: evidence.as_ref(), lease: &lease };
    let mut pass = Pass::default();
    let result = pages(&reading, &listing, &mut pass, cancel).await;
    report.balance = pass.balance;
    match result {
        Ok(()) => {
            crate::sync::context::circuit::recovered(context, system).await?;
        }
        Err(Stop::Failed(failure)) => {
            crate::sync::context::circuit::struck(context, system, &failure).await?;
            report.error = Some(outcome::describe(&failure));
        }
        Err(Stop::Cancelled) => report.error = Some(STOPPED.to_owned()),
        // The other process evaluates the run, and reads what is left.
        Err(Stop::Store(error @ StoreError::Overtaken)) => {
            tracing::warn!(system, entity, run = run.0, "{error}");
            report.error = Some(error.to_string());
            context.store.end_run(run, &report.balance, report.error.as_deref(), context.env.now()).await?;
            return Ok(report);
        }
        Err(Stop::Store(error)) => {
            report.error = Some(error.to_string());
            context.store.drop_lease(&lease).await?;
            // The store itself fails: closing the run would fail as well, and recovery will report it.
            return Err(error);
        }
    }
    if report.error.is_none() && !report.balance.closes() {
        report.error =
            Some("the balance does not close: seen is not unchanged + changed + skipped + rejected".to_owned());
    }
    brakes::evaluate_run(context, run, Some(&lease)).await?;
    let whole = report.kind == RunKind::Full && report.error.is_none() && report.balance.seen > 0;
    if whole && capabilities.whole.is_some() {
        context.store.set_whole(system, entity, asked).await?;
    }
    if whole && last != Some(revision) {
        context.store.set_revision(system, entity, revision).await?;
    }
    context.store.end_run(run, &report.balance, report.error.as_deref(), context.env.now()).await?;
    context.store.drop_lease(&lease).await?;
    Ok(report)
}

/// What is listed.
struct Listing<'a> {
    since: Option<&'a str>,
    capabilities: &'a Capabilities,
    /// For stock that orders are subtracted from, and for these orders.
    evidence: Option<&'a ReadingEvidence>,
    lease: &'a Lease,
}

impl Listing<'_> {
    /// The lease as a page carries it.
    fn held(&self, context: &Context) -> (Lease, Duration) {
        (self.lease.clone(), context.limits.long())
    }
}

/// What a page makes true besides its rows.
#[derive(Default)]
pub(super) struct Marks {
    pub(super) cursor: Option<String>,
    pub(super) proven: Option<Proven>,
    pub(super) notes: Vec<(String, Value)>,
    pub(super) lease: Option<(Lease, Duration)>,
}

/// The result of a listing so far.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) balance: Balance,
    /// Numbers of the replicas that it has shown.
    pub(super) seen: RoaringBitmap,
    /// The store's counter when it began.
    pub(super) began: i64,
    /// Whether there were rows that cannot be read.
    pub(super) unreadable: bool,
}

/// Rows of one page, and the store's counter from before they were read.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) rows: &'a [SourceRow],
    pub(super) errors: &'a [RowError],
    pub(super) read_at: i64,
}

/// Why a run ended early.
enum Stop {
    Failed(Failure),
    Store(StoreError),
    /// We were asked to stop: that says nothing about the system.
    Cancelled,
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

async fn pages(
    reading: &PullContext<'_>,
    listing: &Listing<'_>,
    pass: &mut Pass,
    cancel: &CancellationToken,
) -> Result<(), Stop> {
    let (context, since) = (reading.context, listing.since);
    let (mut fresh, mut doubtful) = (false, Vec::new());
    let mut odd = Gathered::begin(reading, since.is_none()).await?;
    let mut counter = context.store.counter().await?;
    pass.began = counter;
    let mut request = fetch(reading, since, None);
    loop {
        let page = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Stop::Cancelled),
            page = request => page,
        };
        let page = page.map_err(|error| {
            Failure::new(
                Class::Transient,
                format!("reading {} of system {} was broken off", reading.entity, reading.system.name()),
            )
            .with_source(error)
        })??;
        let read_at = counter;
        counter = context.store.counter().await?;
        let Page { rows, errors, dates, next, cursor, total: announced, is_new, receipt } = page;
        odd.page(reading, &rows, &dates);
        // The next page is requested while this one is compared and stored.
        let following = next.as_ref().map(|token| fetch(reading, since, Some(token.clone())));
        pass.unreadable |= !errors.is_empty();
        fresh |= is_new;
        let seen = pass.balance.seen + count(rows.len() + errors.len());
        let is_short = since.is_none() && announced.is_some_and(|announced| seen < announced);
        // Stored with the last page, so that no figure of that page is sent by what was known before.
        let ends = listing.evidence.filter(|_| following.is_none() && !is_short);
        let listed = Listed { gave_rows: seen > 0, is_new: fresh, cursor: cursor.as_deref() };
        let marks = Marks {
            cursor: cursor.clone().filter(|_| doubtful.is_empty()),
            proven: ends.map(|evidence| evidence.proven(listed, listing.capabilities)),
            notes: if following.is_none() { odd.note(reading).into_iter().collect() } else { Vec::new() },
            lease: Some(listing.held(context)),
        };
        let rows = Rows { rows: &rows, errors: &errors, read_at };
        doubtful.extend(commit(reading, rows, marks, pass).await?);
        if let Some(receipt) = receipt {
            reading.system.acknowledge(reading.entity, &receipt).await?;
        }
        let Some(following) = following else {
            if let (None, Some(announced)) = (since, announced)
                && pass.balance.seen < announced
            {
                return Err(Failure::new(
                    Class::Rejected,
                    format!(
                        "{} announced {announced} objects of {} and gave {}; nothing is taken for deleted before a full pull \
                         shows all of them",
                        reading.system.name(),
                        reading.entity,
                        pass.balance.seen
                    ),
                )
                .into());
            }
            if !doubtful.is_empty() && cleared(reading, listing, doubtful, pass).await? {
                let marks = Marks { cursor, lease: Some(listing.held(context)), ..Marks::default() };
                commit(reading, Rows { rows: &[], errors: &[], read_at: counter }, marks, pass).await?;
            }
            break;
        };
        request = following;
    }
    if since.is_none() && listing.capabilities.complete {
        gone(reading, listing, pass).await?;
        if pass.balance.seen > 0 {
            forget_rejections(reading, listing).await?;
        }
    }
    Ok(())
}

/// Look once more at objects that a page left in doubt, so that what happened to them after our write is not
/// missed. Return false if that cannot be done: then the watermark stays, and the next pull lists them again.
async fn cleared(
    reading: &PullContext<'_>,
    listing: &Listing<'_>,
    mut doubtful: Vec<String>,
    pass: &mut Pass,
) -> Result<bool, StoreError> {
    const LOOKS: u32 = 3;
    if !listing.capabilities.read {
        return Ok(false);
    }
    for _ in 0..LOOKS {
        let read_at = reading.context.store.counter().await?;
        let Ok(rows) = reading.system.read(reading.entity, &doubtful).await else { return Ok(false) };
        let marks = Marks { lease: Some(listing.held(reading.context)), ..Marks::default() };
        doubtful = commit(reading, Rows { rows: &rows, errors: &[], read_at }, marks, pass).await?;
        if doubtful.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// After a complete reading: nothing waits any more for a row that was rejected once and is no longer listed.
async fn forget_rejections(reading: &PullContext<'_>, listing: &Listing<'_>) -> Result<(), StoreError> {
    let (context, system) = (reading.context, reading.system.name());
    let rejected = context.store.rejection_counts().await?;
    if !rejected.iter().any(|(from, entity, ..)| from == system && entity == reading.entity) {
        return Ok(());
    }
    let (run, system, entity) = (reading.run, system.to_owned(), reading.entity.to_owned());
    let lease = Some(listing.held(context));
    let commit = PageCommit { run, system, entity, whole: true, lease, ..PageCommit::default() };
    context.store.commit_page(commit, context.env.now()).await.map(drop)
}

fn fetch(
    reading: &PullContext<'_>,
    since: Option<&str>,
    page: Option<PageToken>,
) -> AbortOnDropHandle<Result<Page, Failure>> {
    let Some(system) = reading.context.systems.get(reading.system.name()).cloned() else {
        unreachable!("a reading is made from the systems of its parts")
    };
    let (entity, since) = (reading.entity.to_owned(), since.map(str::to_owned));
    AbortOnDropHandle::new(tokio::spawn(async move {
        system
            .pull(&PullRequest { entity: &entity, since: since.as_deref(), page: page.as_ref(), limit: PAGE_ROWS })
            .await
    }))
}

/// Make a page durable; if another worker was faster, start again from fresh replicas. The watermark does not move
/// past objects in doubt, which are returned.
pub(super) async fn commit(
    reading: &PullContext<'_>,
    page: Rows<'_>,
    marks: Marks,
    pass: &mut Pass,
) -> Result<Vec<String>, StoreError> {
    const TRIES: u32 = 20;
    let mut tries = 0;
    loop {
        let mut detected = match reading.detect(page.rows, page.errors, page.read_at).await {
            Err(StoreError::Stale(_)) if tries < TRIES => {
                tries += 1;
                continue;
            }
            detected => detected?,
        };
        detected.commit.cursor = marks.cursor.clone().filter(|_| detected.doubtful.is_empty());
        detected.commit.proven.clone_from(&marks.proven);
        detected.commit.notes.clone_from(&marks.notes);
        detected.commit.lease.clone_from(&marks.lease);
        let balance = detected.commit.balance.clone();
        // A page without anything new wakes nobody.
        let stirs = !detected.commit.jobs.is_empty() || !detected.commit.replicas.is_empty();
        match reading.context.store.commit_page(detected.commit, reading.context.env.now()).await {
            Ok(numbers) => {
                pass.seen.extend(detected.seen);
                pass.seen.extend(numbers);
                add(&mut pass.balance, &balance);
                if stirs {
                    reading.context.work.notify_waiters();
                }
                return Ok(detected.doubtful);
            }
            Err(StoreError::Stale(_)) if tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// After a complete reading: replicas that it did not show are gone, except for those that we wrote since it began.
/// An empty listing declares nothing gone, since a broken system is far more likely than an emptied one.
async fn gone(reading: &PullContext<'_>, listing: &Listing<'_>, pass: &mut Pass) -> Result<(), Stop> {
    const SLICE: usize = 500;
    let (context, system) = (reading.context, reading.system.name());
    // The first of them announces all: if this is cut off, the brakes know how many there would have been.
    let mut announced = None;
    let mut after = 0;
    loop {
        let slice = context.store.unseen(system, reading.entity, &pass.seen, Slice { after, limit: SLICE }).await?;
        let Some((last, _)) = slice.last() else { return Ok(()) };
        let next = *last;
        let slice: Vec<_> = slice.into_iter().filter(|(_, replica)| is_lost(replica, pass.began)).collect();
        if slice.is_empty() {
            after = next;
            continue;
        }
        // It says nothing about the system's other entities: they go on.
        if pass.balance.seen == 0 {
            return Err(Failure::new(
                Class::Rejected,
                format!(
                    "{system} listed no {entity} at all, though it had some; nothing is taken for deleted. See whether its \
                     filters and the rights of its user show them",
                    entity = reading.entity
                ),
            )
            .into());
        }
        if pass.unreadable {
            return Err(Failure::new(
                Class::Rejected,
                format!("rows of {} could not be read, so records that are gone cannot be distinguished from unread ones; correct them, then run a full pull", reading.entity),
            )
            .into());
        }
        let mut commit = PageCommit {
            run: reading.run,
            system: system.to_owned(),
            entity: reading.entity.to_owned(),
            lease: Some(listing.held(context)),
            ..PageCommit::default()
        };
        if announced.is_none() {
            let all = missed(reading, pass, after).await?;
            (announced, commit.balance.gone) = (Some(all), all);
        }
        after = next;
        for (_, replica) in slice {
            commit.jobs.extend(reading.jobs_for(replica.record, &replica.fields, &Fields::new(), true));
            commit.changes.push(NewChange { record: replica.record, op: ChangeOp::Delete, fields: Fields::new() });
            commit.replicas.push(ReplicaWrite {
                record: replica.record,
                id: replica.id,
                fields: replica.fields,
                sent: replica.sent,
                version: replica.version,
                fingerprint: None,
                child_ids: None,
                matches: Vec::new(),
                gone: true,
            });
        }
        let balance = commit.balance.clone();
        context.store.commit_page(commit, context.env.now()).await?;
        add(&mut pass.balance, &balance);
        context.work.notify_waiters();
    }
}

/// Whether a replica that a reading did not show is gone. A replica that we wrote since the reading `began` is not,
/// nor is one that the system does not know about.
fn is_lost(replica: &Replica, began: i64) -> bool {
    replica.written <= began && !guests::is_made(&replica.id)
}

/// Count the replicas numbered above `after` that a complete reading did not show.
async fn missed(reading: &PullContext<'_>, pass: &Pass, mut after: u32) -> Result<u64, Stop> {
    const SLICE: usize = 2000;
    let mut all = 0;
    loop {
        let slice = reading
            .context
            .store
            .unseen(reading.system.name(), reading.entity, &pass.seen, Slice { after, limit: SLICE })
            .await?;
        let Some((last, _)) = slice.last() else { return Ok(all) };
        after = *last;
        all += count(slice.iter().filter(|(_, replica)| is_lost(replica, pass.began)).count());
    }
}
