//! From claimed jobs to writes: looks that are due, desired state, difference, brakes and guards, references, the
//! target's own shape.
//!
//! Called by the worker, and by `preview` for an undo.

mod contest;
mod flap_guard;
mod insists;
mod looks;
mod lookup;
mod push;
mod refusal;
mod views;

use tokio_util::sync::CancellationToken;

use self::{
    looks::{Decided, decide_all},
    lookup::look_up,
    push::{externals, push},
};
use crate::{
    failure::{Class, Failure},
    port::Op,
    store::{IN_GRACE, Job, Result, Verdict},
    sync::{
        brakes,
        context::{RunReport, outcome},
        desired::{Batch, Known, Prepared},
        pull::adoption,
    },
    wait_reason::WaitReason,
};

pub(in crate::sync) use self::{
    contest::{Around, Contest, contest},
    refusal::explained,
    views::{View, set, views},
};

pub(in crate::sync) async fn prepare(batch: &Batch<'_>, jobs: Vec<Job>, stop: &CancellationToken) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let Some(mapping) = batch.context.mapping(batch.target, batch.entity) else {
        let failure =
            Failure::new(Class::Fatal, format!("system {} has no mapping for entity {}", batch.target, batch.entity));
        for job in jobs {
            prepared.fail(batch, &job, &failure);
        }
        return Ok(prepared);
    };
    let Decided { writes: mut known, ended, kept, alike, is_first } =
        decide_all(batch, mapping.as_ref(), jobs, stop).await?;
    (prepared.ended, prepared.kept) = (ended, kept);
    let newcomers = known.iter().any(|one| one.op == Op::Create);
    let to_read = if newcomers { never_read(batch, is_first).await? } else { Vec::new() };
    if !to_read.is_empty() {
        known = once_read(batch, &to_read, known, &mut prepared, stop).await?;
    } else if is_first {
        alike.keep(batch.context, batch.target, batch.entity).await?;
    }
    let externals = externals(batch, mapping.as_ref(), &known).await?;
    known = Box::pin(look_up(batch, mapping.as_ref(), known, &externals, &mut prepared)).await?;
    for guard in Guard::ALL {
        known = guard.let_through(batch, known, &mut prepared).await?;
    }
    push(batch, mapping.as_ref(), known, &externals, &mut prepared).await?;
    Ok(prepared)
}

/// What a write has to pass before it is sent, in this order.
#[derive(Clone, Copy)]
enum Guard {
    /// A write that violates a limit waits for the approval of its run.
    Brakes,
    /// A value that the target insists on is not overwritten again and again.
    Insistence,
    /// An object that its source has lost is deleted only when the flow's grace is over.
    Grace,
    /// An object that somebody else keeps changing back is left alone for a while.
    Flapping,
}

impl Guard {
    const ALL: [Self; 4] = [Self::Brakes, Self::Insistence, Self::Grace, Self::Flapping];

    /// Return the writes that may go on; how the others end is added to `prepared`.
    async fn let_through(self, batch: &Batch<'_>, known: Vec<Known>, prepared: &mut Prepared) -> Result<Vec<Known>> {
        match self {
            Self::Brakes => brakes::evaluate(batch, known, prepared).await,
            Self::Insistence => insists::leave(batch, known, prepared).await,
            Self::Grace => Ok(ripened(batch, known, prepared)),
            Self::Flapping => flap_guard::park_flapping(batch, known, prepared).await,
        }
    }
}

/// Return the systems that have to be read completely before anything is created at the target: the target itself,
/// since existing objects would be created twice. Before the first object (whose currency is taken for that of
/// all), also the sources of the objects that exist there.
async fn never_read<'a>(batch: &Batch<'a>, is_first: bool) -> Result<Vec<&'a str>> {
    let sources = batch.context.routes.sources(batch.target, batch.entity);
    let mut unread = Vec::new();
    for system in std::iter::once(batch.target).chain(sources.into_iter().filter(|_| is_first)) {
        if !adoption::is_adopted(batch.context, system, batch.entity).await? {
            unread.push(system);
        }
    }
    Ok(unread)
}

/// Read the systems completely that never were. The creates are decided on again afterwards.
async fn once_read(
    batch: &Batch<'_>,
    unread: &[&str],
    known: Vec<Known>,
    prepared: &mut Prepared,
    stop: &CancellationToken,
) -> Result<Vec<Known>> {
    let now = batch.context.env.now();
    let mut left = Vec::new();
    let mut at_fault = None;
    for system in unread {
        let report = adoption::adopt(batch.context, system, batch.entity, stop).await?;
        if adoption::is_adopted(batch.context, system, batch.entity).await? {
            continue;
        }
        left.push(*system);
        // A failing system has its own pause; a listing at fault would be read again and again.
        let is_paused = batch.context.store.circuit(system).await?.until.is_some_and(|until| until > now);
        let fault = report.as_ref().and_then(RunReport::fault).filter(|_| !is_paused);
        if let Some(fault) = fault {
            at_fault.get_or_insert((WaitReason::unlisted(system, batch.entity), fault.to_owned()));
        }
    }
    let wait = if left.is_empty() { std::time::Duration::ZERO } else { outcome::backoff(0, &batch.context.env) };
    let systems = if left.is_empty() { unread.join(", ") } else { left.join(", ") };
    let entity = batch.entity;
    let error = format!("{entity} of {systems} has to be read once before anything is created at {}", batch.target);
    let (creates, rest): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| one.op == Op::Create);
    prepared.ended.extend(creates.into_iter().map(|one| {
        let verdict = match &at_fault {
            Some((cause, why)) => Verdict::Parked { cause: cause.clone(), error: format!("{error}: {why}") },
            None => Verdict::Retry {
                at: outcome::later(now, wait),
                burn: false,
                intent: one.job.intent.clone(),
                class: Class::Transient.as_str().to_owned(),
                error: error.clone(),
            },
        };
        one.ended(verdict, None)
    }));
    Ok(rest)
}

/// Hold back the deletion of records that their source has lost until the flow's grace is over, and return the
/// others.
fn ripened(batch: &Batch<'_>, known: Vec<Known>, prepared: &mut Prepared) -> Vec<Known> {
    let now = batch.context.env.now();
    let (waiting, ripe): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| one.ripe.is_some_and(|ripe| ripe > now));
    prepared.ended.extend(waiting.into_iter().map(|one| {
        let verdict = Verdict::Retry {
            at: one.ripe.unwrap_or(now),
            burn: false,
            intent: one.job.intent.clone(),
            class: IN_GRACE.to_owned(),
            error: "its source no longer has it; it goes here when the flow's grace is over".to_owned(),
        };
        one.ended(verdict, None)
    }));
    ripe
}
