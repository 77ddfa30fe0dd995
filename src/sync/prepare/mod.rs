//! From claimed jobs to writes: wanted state, difference, references of the target, the target's own shape.

mod contest;
mod decide;
mod fuse;
mod insists;
mod loaded;
mod lookup;
mod push;
mod refusal;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(super) use self::{
    contest::{Around, Contest, Wait, contest},
    refusal::explained,
    views::{View, set, views},
};
use self::{
    decide::{clear_doubts, decide, fresh_look, orders_first},
    loaded::Loaded,
    lookup::look_up,
    push::{externals, push},
};
use super::{
    alone::Alone,
    brakes,
    deliver::{self, Batch},
    flight,
    learn::Standing,
    outcome::{self, Tried},
    publish,
    pull::RunReport,
    qualify::Alike,
};
use crate::{
    failure::{Cause, Class, Failure},
    mapping::{Children, Fields},
    model,
    port::{Facts, Op, SourceRow, Write},
    store::{Delivered, IN_GRACE, Intent, Job, Replica, ReplicaWrite, Result, Verdict},
};

/// A job with the write it leads to.
pub(super) struct Task {
    pub(super) job: Job,
    /// What the target has.
    pub(super) replica: Option<Replica>,
    /// Canonical fields to be written, and their values.
    pub(super) changed: BTreeSet<String>,
    pub(super) wanted: Fields,
    /// Intent as it stands in the store now.
    pub(super) intent: Option<Intent>,
    pub(super) write: Write,
    /// Children of an object that a lookup found: they are to be known whatever the answer tells.
    pub(super) adopted: Children,
    /// Shared fields that nobody has decided on yet: the job waits for that after its write.
    pub(super) conflicts: BTreeSet<String>,
    /// Whether a lookup found more at the target than was sent there.
    pub(super) news: bool,
    /// Fields that the target holds otherwise than they were sent before, which costs money and nobody accepted.
    pub(super) standing: Standing,
    /// Whether it only makes the object give up what another is to have.
    pub(super) aside: bool,
    /// Whether an update makes children that the target has not: sent twice it would make them twice.
    pub(super) adds: bool,
    /// Members of its children at the other systems, by list and key.
    pub(super) members: BTreeMap<String, BTreeMap<String, i64>>,
    /// What the object shows that a lookup found, of which steps are left to do.
    pub(super) shown: Option<Fields>,
}

impl Task {
    pub(super) fn op_name(&self) -> &'static str {
        match self.write.op {
            Op::Create => "create",
            Op::Update => "update",
            Op::Delete => "delete",
        }
    }
}

/// Jobs sorted into those that lead to a write and those that are settled without one.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) tasks: Vec<Task>,
    pub(super) settled: Vec<Delivered>,
    /// By job: what is kept back of its article from now on, where that is not what was.
    pub(super) kept: BTreeMap<i64, (i64, Decimal)>,
    /// What all objects that go there have in common.
    alike: Alike,
}

/// A job with all that is known of its record.
pub(super) struct Known {
    pub(super) job: Job,
    pub(super) key: String,
    /// The target's replica; for a facet whose owner exists, an empty one with the part's id.
    pub(super) here: Option<Replica>,
    pub(super) wanted: Fields,
    pub(super) op: Op,
    pub(super) changed: BTreeSet<String>,
    /// Not to be carried out before this time.
    ripe: Option<DateTime<Utc>>,
    /// Whether the target had an object of it that has gone.
    was_there: bool,
    /// The object of a create whose first answer was lost.
    found: Option<SourceRow>,
    /// Children of an object that a lookup found, which no pull has told of yet.
    parts: Children,
    /// Shared fields that nobody has decided on yet.
    conflicts: BTreeSet<String>,
    /// Whether a lookup found more at the target than was sent there.
    news: bool,
    /// Whether systems tell that there was no payment, and none tells of one.
    pub(super) is_unpaid: bool,
    /// State of another system's object that it has met for the first time, and one of the two has ended while the other goes on.
    pub(super) stranger: Option<Value>,
    /// Fields that the target holds otherwise than they were sent before, which costs money and nobody accepted.
    standing: Standing,
    /// What the object shows that a lookup found, of which steps are left to do.
    shown: Option<Fields>,
}

impl Known {
    /// The whole object as it is to be at the target: what is wanted over all that it holds, as it was sent where it stores
    /// something else.
    pub(super) fn whole(&self) -> Fields {
        let Some(here) = &self.here else { return self.wanted.clone() };
        let mut fields = here.fields.clone();
        fields.extend(here.sent.iter().chain(&self.wanted).map(|(field, value)| (field.clone(), value.clone())));
        fields
    }

    /// The job's end, with what is known of the target from now on.
    pub(super) fn settled(&self, verdict: Verdict, replica: Option<ReplicaWrite>) -> Delivered {
        Delivered { replica, ..Delivered::new(&self.job, verdict) }
    }

    /// The end of a job that has nothing left to write; `learnt` if there is something to remember of the target.
    pub(super) fn nothing_left(&self, learnt: bool) -> Delivered {
        let verdict =
            if self.conflicts.is_empty() { Verdict::Done { noop: true } } else { in_conflict(&self.conflicts) };
        self.settled(verdict, self.here.clone().filter(|_| learnt).map(Into::into))
    }
}

impl Known {
    /// Whether the write tells a figure of stock that is not nothing.
    fn offers(&self) -> bool {
        self.op != Op::Delete
            && self.changed.iter().any(|field| publish::is_figure(field))
            && publish::rises(&self.wanted, &Fields::new())
    }

    /// Whether the target would show more than it is known to.
    fn rises(&self) -> bool {
        let nothing = Fields::new();
        self.offers() && publish::rises(&self.wanted, self.here.as_ref().map_or(&nothing, |here| &here.fields))
    }
}

pub(super) async fn prepare(
    batch: &Batch<'_>,
    facts: &Facts,
    jobs: Vec<Job>,
    stop: &CancellationToken,
) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let Some(mapping) = batch.parts.mapping(batch.target, batch.entity) else {
        let failure =
            Failure::new(Class::Fatal, format!("system {} has no mapping for entity {}", batch.target, batch.entity));
        for job in jobs {
            settle(&mut prepared, batch, &job, &failure);
        }
        return Ok(prepared);
    };
    let mut loaded = Box::pin(Loaded::of(batch, facts, &jobs)).await?;
    let jobs = clear_doubts(batch, facts, mapping.as_ref(), jobs, &mut loaded, &mut prepared).await?;
    // After doubts: what a look has shown may make a figure of stock a rise.
    let unread = orders_first(batch, facts, mapping.as_ref(), &jobs, &mut loaded, stop).await?;
    let jobs = fresh_look(batch, facts, mapping.as_ref(), jobs, &mut loaded, &mut prepared).await?;

    prepared.kept = jobs.iter().filter_map(|job| Some((job.id, loaded.kept(job.record)?))).collect();
    let alike = Alike::of(batch.parts, batch.target, batch.entity).await?;
    prepared.alike = alike.clone();
    let mut known = Vec::new();
    let mut newcomers = false;
    for job in jobs {
        if let Some(one) = decide(batch, facts, mapping.as_ref(), job, &loaded, &mut prepared) {
            if let Some(unread) = unread.as_ref().filter(|unread| unread.holds(&one)) {
                let (obstacles, stopped) = (&unread.obstacles, stop.is_cancelled());
                let verdict = flight::waits_for_orders(batch.parts, obstacles, &one.job, &one.key, stopped);
                prepared.settled.push(Delivered::new(&one.job, verdict));
                continue;
            }
            newcomers |= one.op == Op::Create;
            known.push(one);
        }
    }
    let is_first = prepared.alike != alike;
    let to_read = if newcomers { never_read(batch, is_first).await? } else { Vec::new() };
    if !to_read.is_empty() {
        known = once_read(batch, &to_read, known, &mut prepared, stop).await?;
    } else if is_first {
        prepared.alike.keep(batch.parts, batch.target, batch.entity).await?;
    }
    let externals = externals(batch, mapping.as_ref(), &known).await?;
    let known = Box::pin(look_up(batch, facts, mapping.as_ref(), known, &externals, &mut prepared)).await?;
    let known = brakes::judge(batch, known, &mut prepared).await?;
    let known = insists::leave(batch, facts, mapping.as_ref(), known, &mut prepared).await?;
    let known = fuse::mute(batch, ripened(batch, known, &mut prepared), &mut prepared).await?;
    push(batch, facts, mapping.as_ref(), known, &externals, &mut prepared).await?;
    Ok(prepared)
}

/// Systems that have to be read whole before anything is created at the target. The target itself, since existing objects would
/// be doubled; before the first object, whose currency counts as everybody's, also the sources of what exists there.
async fn never_read<'a>(batch: &Batch<'a>, is_first: bool) -> Result<Vec<&'a str>> {
    let sources = batch.parts.routes.sources(batch.target, batch.entity);
    let mut unread = Vec::new();
    for system in std::iter::once(batch.target).chain(sources.into_iter().filter(|_| is_first)) {
        if !deliver::is_adopted(batch.parts, system, batch.entity).await? {
            unread.push(system);
        }
    }
    Ok(unread)
}

/// Reads systems whole of which nobody has done so yet; creations are decided anew after that.
async fn once_read(
    batch: &Batch<'_>,
    unread: &[&str],
    known: Vec<Known>,
    prepared: &mut Prepared,
    stop: &CancellationToken,
) -> Result<Vec<Known>> {
    let now = batch.parts.env.now();
    let mut left = Vec::new();
    let mut at_fault = None;
    for system in unread {
        let report = deliver::adopt(batch.parts, system, batch.entity, stop).await?;
        if deliver::is_adopted(batch.parts, system, batch.entity).await? {
            continue;
        }
        left.push(*system);
        // A system in trouble has its own pause; a listing at fault would be read again and again.
        let is_paused = batch.parts.store.standing(system).await?.until.is_some_and(|until| until > now);
        let fault = report.as_ref().and_then(RunReport::fault).filter(|_| !is_paused);
        if let Some(fault) = fault {
            at_fault.get_or_insert((Cause::unlisted(system, batch.entity), fault.to_owned()));
        }
    }
    let wait = if left.is_empty() { std::time::Duration::ZERO } else { outcome::backoff(0, &batch.parts.env) };
    let systems = if left.is_empty() { unread.join(", ") } else { left.join(", ") };
    let entity = batch.entity;
    let error = format!("{entity} of {systems} has to be read once before anything is created at {}", batch.target);
    let (creates, rest): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| one.op == Op::Create);
    prepared.settled.extend(creates.into_iter().map(|one| {
        let verdict = match &at_fault {
            Some((cause, why)) => Verdict::Parked { cause: cause.0.clone(), error: format!("{error}: {why}") },
            None => Verdict::Retry {
                at: outcome::later(now, wait),
                burn: false,
                intent: one.job.intent.clone(),
                class: Class::Transient.as_str().to_owned(),
                error: error.clone(),
            },
        };
        one.settled(verdict, None)
    }));
    Ok(rest)
}

/// What jobs would do at their target, as far as that is known without asking it; nothing of it is done.
pub(super) async fn outlook(batch: &Batch<'_>, facts: &Facts, jobs: Vec<Job>) -> Result<Vec<Known>> {
    let Some(mapping) = batch.parts.mapping(batch.target, batch.entity) else { return Ok(Vec::new()) };
    let loaded = Box::pin(Loaded::of(batch, facts, &jobs)).await?;
    let alike = Alike::of(batch.parts, batch.target, batch.entity).await?;
    let mut unused = Prepared { alike, ..Prepared::default() };
    Ok(jobs.into_iter().filter_map(|job| decide(batch, facts, mapping.as_ref(), job, &loaded, &mut unused)).collect())
}

/// What its source has lost goes at the targets only when the flow's grace is over.
fn ripened(batch: &Batch<'_>, known: Vec<Known>, prepared: &mut Prepared) -> Vec<Known> {
    let now = batch.parts.env.now();
    let (waiting, ripe): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| one.ripe.is_some_and(|ripe| ripe > now));
    prepared.settled.extend(waiting.into_iter().map(|one| {
        let verdict = Verdict::Retry {
            at: one.ripe.unwrap_or(now),
            burn: false,
            intent: one.job.intent.clone(),
            class: IN_GRACE.to_owned(),
            error: "its source no longer has it; it goes here when the flow's grace is over".to_owned(),
        };
        one.settled(verdict, None)
    }));
    ripe
}

fn unable(batch: &Batch<'_>, op: Op) -> Failure {
    let object = model::with_article(batch.entity);
    let text = format!("the adapter of {} cannot {} {object}: its file does not say how", batch.target, name(op));
    Failure::new(Class::Rejected, text)
}

/// Whether a create of this job was sent and not seen to end.
fn begun(job: &Job) -> bool {
    job.intent.as_ref().is_some_and(|intent| intent.op == Op::Create)
}

/// Whether an update of this job may have been sent, and its answer was lost.
fn is_untold(job: &Job) -> bool {
    job.intent.as_ref().is_some_and(|intent| intent.op == Op::Update)
}

fn name(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
    }
}

fn settle(prepared: &mut Prepared, batch: &Batch<'_>, job: &Job, failure: &Failure) {
    let tried = Tried { attempts: job.attempts, intent: job.intent.clone(), settle: batch.settle, alone: Alone::No };
    let verdict = outcome::verdict(failure, &tried, &batch.parts.env);
    prepared.settled.push(Delivered::new(job, verdict));
}

fn done(prepared: &mut Prepared, job: &Job) {
    prepared.settled.push(Delivered::new(job, Verdict::Done { noop: true }));
}

/// A job that waits for the decision of a conflict.
pub(super) fn in_conflict(fields: &BTreeSet<String>) -> Verdict {
    let names = fields.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Verdict::Parked {
        cause: Cause::conflict().0,
        error: format!("changed on both sides: {names}; `vaiven conflicts` shows the values and takes the decision"),
    }
}
