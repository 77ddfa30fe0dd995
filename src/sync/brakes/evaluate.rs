//! At delivery: which of the prepared writes may be sent.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    flow,
    violation::{Lookout, Violation},
};
use crate::{
    mapping::Fields,
    port::Op,
    store::{JobId, OpenedBy, Result, RunApproval, RunId, Verdict},
    sync::{
        desired::{Batch, Known, Prepared},
        routing::Brake,
    },
    wait_reason::WaitReason,
};

/// Park the writes that violate a brake until their run is approved or a person has decided, and return the others.
/// If a person has rejected a write, the target's replica remembers it as sent, so that it is not desired any more.
pub(in crate::sync) async fn evaluate(
    batch: &Batch<'_>,
    known: Vec<Known>,
    prepared: &mut Prepared,
) -> Result<Vec<Known>> {
    let Some(lookout) = Lookout::of(&batch.context.entities, batch.entity) else { return Ok(known) };
    let mut known: Vec<(Known, Vec<Violation>)> = known
        .into_iter()
        .map(|mut one| {
            keep_rejected(&lookout, &mut one);
            let violations = violations(&lookout, &one);
            (one, violations)
        })
        .collect();
    // Only the run's approval says whether the run came with another mapping. If it did not, every change passes.
    let asked = |one: &Known, found: &[Violation]| {
        !found.is_empty() || one.job.run.is_some() && (one.op == Op::Create || remapped(one).is_some())
    };
    let violating: Vec<JobId> =
        known.iter().filter(|(one, found)| asked(one, found)).map(|(one, _)| one.job.id).collect();
    if violating.is_empty() {
        return Ok(known.into_iter().map(|(one, _)| one).collect());
    }
    // Look the approvals up after the replicas were read: if a page has changed them since the claim, it has opened
    // the job again, and that page's run counts.
    let mut opened_by = batch.context.store.run_approvals(&violating).await?;
    let mut kept = Vec::with_capacity(known.len());
    for (mut one, mut violations) in known.drain(..) {
        let opened = opened_by.remove(&one.job.id);
        if opened.as_ref().is_some_and(|opened| opened.remapped) {
            violations.extend(remapped(&one));
        }
        let is_agreed = batch.context.limits.agreed.contains(&(batch.target.to_owned(), batch.entity.to_owned()));
        if opened.as_ref().is_some_and(|opened| opened.joined) && !is_agreed {
            violations.extend(joined(&lookout, &one));
        }
        match opened.map_or(Way::Free, |opened| way(batch, &opened, violations)) {
            Way::Free => kept.push(one),
            Way::Parked(verdict) => prepared.ended.push(one.ended(verdict, None)),
            // The object is not there, and nothing asks for it until its source changes.
            Way::Rejected(_) if one.op == Op::Create => prepared.ended.push(one.nothing_left(false)),
            Way::Rejected(violations) => {
                remember(&lookout, &mut one, &violations);
                if one.op == Op::Delete || one.changed.is_empty() {
                    prepared.ended.push(one.nothing_left(true));
                } else {
                    kept.push(one);
                }
            }
        }
    }
    Ok(kept)
}

/// Return everything that a write would do to what the target has and that a brake counts.
pub(super) fn violations(lookout: &Lookout<'_>, one: &Known) -> Vec<Violation> {
    let Some(here) = &one.here else { return Vec::new() };
    let mut found = lookout.violations(one.op, &here.fields, &one.desired, &one.changed);
    found.extend(
        lookout.unpaid(&here.fields, &one.desired, &one.changed).filter(|_| one.is_unpaid && one.op == Op::Update),
    );
    // If two states met that contradict each other, it is not known which is right: write nothing to either until a
    // person has chosen.
    let ends_order = found.iter().any(|violation| violation.brake == Brake::OrderState);
    let stranger = one.stranger.as_ref().filter(|_| one.op == Op::Update && !ends_order);
    found.extend(stranger.and_then(|state| lookout.at_odds(&here.fields, &one.changed, state)));
    found
}

/// Return what a write violates if another mapping is the reason for it.
pub(super) fn remapped(one: &Known) -> Option<Violation> {
    let here = one.here.as_ref().filter(|_| one.op == Op::Update)?;
    let field = one.changed.first()?.clone();
    let side = |fields: &Fields| fields.get(&field).cloned().unwrap_or(Value::Null);
    let shown = (field.clone(), side(&here.fields), side(&one.desired));
    Some(Violation { brake: Brake::MappingChange, fields: one.changed.clone(), percent: None, shown })
}

/// Return what a write violates if something that has joined is the reason for it.
pub(super) fn joined(lookout: &Lookout<'_>, one: &Known) -> Option<Violation> {
    let shown = (lookout.key().to_owned(), Value::Null, Value::from(one.key.as_str()));
    (one.op == Op::Create).then(|| Violation { brake: Brake::Join, fields: BTreeSet::new(), percent: None, shown })
}

enum Way {
    Free,
    Parked(Verdict),
    Rejected(Vec<Violation>),
}

fn way(batch: &Batch<'_>, opened: &OpenedBy, mut violations: Vec<Violation>) -> Way {
    let Some(flow) = flow(&batch.context.routes, &opened.system, batch.target, batch.entity) else { return Way::Free };
    violations.retain(|violation| violation.counts(&flow.brakes));
    let tripped = |brake: Brake| opened.tripped.contains(&(batch.target.to_owned(), brake.as_str().to_owned()));
    if opened.approval != RunApproval::Pending {
        violations.retain(|violation| tripped(violation.brake));
    }
    if violations.is_empty() {
        return Way::Free;
    }
    let run = opened.run;
    match opened.approval {
        RunApproval::Clear | RunApproval::Approved => Way::Free,
        RunApproval::Pending => Way::Parked(Verdict::Parked {
            cause: WaitReason::Run(run),
            error: format!("whether this may go is known when run {run} has ended"),
        }),
        RunApproval::Held => Way::Parked(Verdict::Parked { cause: WaitReason::Brake(run), error: why(run) }),
        RunApproval::Rejected => Way::Rejected(violations),
    }
}

/// The reason that a held job shows.
pub(super) fn why(run: RunId) -> String {
    format!(
        "held by a brake: `vaiven approve` shows what run {run} would do, `vaiven approve {run}` or `vaiven reject {run}` decides"
    )
}

/// Mark what was rejected as sent, so that it is not desired again until the source has another value.
fn remember(lookout: &Lookout<'_>, one: &mut Known, violations: &[Violation]) {
    let Some(here) = &mut one.here else { return };
    if one.op == Op::Delete {
        here.sent.insert(lookout.key().to_owned(), Value::Null);
        return;
    }
    let rejected: BTreeSet<&String> = violations.iter().flat_map(|violation| &violation.fields).collect();
    for field in rejected {
        if one.changed.remove(field) {
            let value = one.desired.get(field).cloned().unwrap_or(Value::Null);
            here.sent.insert(field.clone(), value);
        }
    }
    keep_rejected(lookout, one);
}

/// If a change was rejected, and the target has to be sent the whole object, send it the values that it has: for
/// all fields that differ there from what counts as sent, that are not to be changed now, and that would violate a
/// brake.
fn keep_rejected(lookout: &Lookout<'_>, one: &mut Known) {
    let whole = one.whole();
    let Some(here) = one.here.as_ref().filter(|here| one.op == Op::Update && !here.sent.is_empty()) else { return };
    let resting: BTreeSet<String> = here.sent.keys().filter(|field| !one.changed.contains(*field)).cloned().collect();
    for violation in lookout.violations(Op::Update, &here.fields, &whole, &resting) {
        for field in violation.fields {
            let stored = here.fields.get(&field).cloned().unwrap_or(Value::Null);
            one.desired.insert(field, stored);
        }
    }
}
