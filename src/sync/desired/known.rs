//! From a claimed job to the write that it leads to.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    failure::{Class, Failure},
    mapping::{Children, Fields},
    model,
    port::{Op, SourceRow, Write},
    store::{Delivered, Intent, Job, JobId, RecordId, Replica, ReplicaWrite, Verdict},
    sync::{
        desired::{
            Batch,
            differing::CostlyDifferences,
            verdict::{self, Alone, Tried},
        },
        stock::availability,
    },
    wait_reason::WaitReason,
};

/// A job with the write that it leads to.
pub(in crate::sync) struct Task {
    pub(in crate::sync) job: Job,
    /// What the target has.
    pub(in crate::sync) replica: Option<Replica>,
    /// The canonical fields to be written.
    pub(in crate::sync) changed: BTreeSet<String>,
    pub(in crate::sync) desired: Fields,
    /// The intent as it is in the store now.
    pub(in crate::sync) intent: Option<Intent>,
    pub(in crate::sync) write: Write,
    /// Children of an object that a lookup found: they are stored whatever the answer says.
    pub(in crate::sync) adopted: Children,
    /// Shared fields that wait for a decision: the job waits for it after its write.
    pub(in crate::sync) conflicts: BTreeSet<String>,
    /// Whether a lookup found more at the target than was sent there.
    pub(in crate::sync) unsent_changes: bool,
    /// Fields that the target holds otherwise than they were sent before, that cost money and that nobody accepted.
    pub(in crate::sync) costly_differences: CostlyDifferences,
    /// Whether the write only makes the object give up a value that another object is to have.
    pub(in crate::sync) aside: bool,
    /// Whether an update creates children that the target does not have: sent twice, it would create them twice.
    pub(in crate::sync) adds: bool,
    /// Members of its children at the other systems, by list and key.
    pub(in crate::sync) members: BTreeMap<String, BTreeMap<String, i64>>,
    /// What an object shows that a lookup found and some of whose steps are still to be done.
    pub(in crate::sync) shown: Option<Fields>,
}

impl Task {
    pub(in crate::sync) fn op_name(&self) -> &'static str {
        match self.write.op {
            Op::Create => "create",
            Op::Update => "update",
            Op::Delete => "delete",
        }
    }
}

/// Jobs sorted into those that lead to a write and those that end without one.
#[derive(Default)]
pub(in crate::sync) struct Prepared {
    pub(in crate::sync) tasks: Vec<Task>,
    pub(in crate::sync) ended: Vec<Delivered>,
    /// By job: the reservation of its article from now on, if it is not the same as before.
    pub(in crate::sync) kept: BTreeMap<JobId, (RecordId, Decimal)>,
}

impl Prepared {
    /// End a job as a failure says.
    pub(in crate::sync) fn fail(&mut self, batch: &Batch<'_>, job: &Job, failure: &Failure) {
        self.ended.push(failed(batch, job, failure));
    }
}

/// A job with all that is known of its record.
pub(in crate::sync) struct Known {
    pub(in crate::sync) job: Job,
    pub(in crate::sync) key: String,
    /// The target's replica; for a facet whose part exists, an empty one with the part's id.
    pub(in crate::sync) here: Option<Replica>,
    pub(in crate::sync) desired: Fields,
    pub(in crate::sync) op: Op,
    pub(in crate::sync) changed: BTreeSet<String>,
    /// Do not carry it out before this time.
    pub(in crate::sync) ripe: Option<DateTime<Utc>>,
    /// Whether the target had an object of the record that has gone.
    pub(in crate::sync) was_there: bool,
    /// The object of a create whose first answer was lost.
    pub(in crate::sync) found: Option<SourceRow>,
    /// Children of an object that a lookup found and no pull has read yet.
    pub(in crate::sync) child_ids: Children,
    /// Shared fields that wait for a decision.
    pub(in crate::sync) conflicts: BTreeSet<String>,
    /// Whether a lookup found more at the target than was sent there.
    pub(in crate::sync) unsent_changes: bool,
    /// Whether systems report that there was no payment, and none reports one.
    pub(in crate::sync) is_unpaid: bool,
    /// State of another system's object that this one met for the first time, if one of the two has ended while the
    /// other goes on.
    pub(in crate::sync) stranger: Option<Value>,
    /// Fields that the target holds otherwise than they were sent before, that cost money and that nobody accepted.
    pub(in crate::sync) costly_differences: CostlyDifferences,
    /// What an object shows that a lookup found and some of whose steps are still to be done.
    pub(in crate::sync) shown: Option<Fields>,
    /// Why the row cannot be read in which the object was shown when it was looked at.
    pub(in crate::sync) unread: Option<String>,
}

impl Known {
    /// Return the whole object as the target should have it: the desired fields over all that it holds. If it
    /// stores something else than it was sent, what was sent counts.
    pub(in crate::sync) fn whole(&self) -> Fields {
        let Some(here) = &self.here else { return self.desired.clone() };
        let mut fields = here.fields.clone();
        fields.extend(here.sent.iter().chain(&self.desired).map(|(field, value)| (field.clone(), value.clone())));
        fields
    }

    /// The job's end, with what is known of the target from now on.
    pub(in crate::sync) fn ended(&self, verdict: Verdict, replica: Option<ReplicaWrite>) -> Delivered {
        Delivered { replica, ..Delivered::new(&self.job, verdict) }
    }

    /// The end of a job that has nothing left to write; `record_replica` if the replica has to be stored.
    pub(in crate::sync) fn nothing_left(&self, record_replica: bool) -> Delivered {
        let verdict =
            if self.conflicts.is_empty() { Verdict::Done { noop: true } } else { in_conflict(&self.conflicts) };
        self.ended(verdict, self.here.clone().filter(|_| record_replica).map(Into::into))
    }
}

impl Known {
    /// Why an object that cannot be read is not written: it may hold somebody's edit, and what the last write added may
    /// be there already. `None` if it can be read, or was not looked at.
    pub(in crate::sync) fn unread(&self, batch: &Batch<'_>) -> Option<Failure> {
        let (target, entity) = (batch.target, batch.entity);
        let reason = self.unread.as_ref()?;
        let text = format!(
            "{target} shows the {entity} in a row that cannot be read, so it is not written: {reason}. Correct the row or \
             the mapping; if it may be written as it is, put the row aside (`vaiven rows dismiss {target}/{entity} ROW`)"
        );
        Some(Failure::new(Class::Unmapped, text).with_cause(WaitReason::unread(entity, &self.key)))
    }

    /// Whether the write sends a stock figure that is not zero.
    pub(in crate::sync) fn offers(&self) -> bool {
        self.op != Op::Delete
            && self.changed.iter().any(|field| availability::is_figure(field))
            && availability::rises(&self.desired, &Fields::new())
    }

    /// Whether the target would show more than it is known to show.
    pub(in crate::sync) fn rises(&self) -> bool {
        let nothing = Fields::new();
        self.offers() && availability::rises(&self.desired, self.here.as_ref().map_or(&nothing, |here| &here.fields))
    }
}

pub(in crate::sync) fn unable(batch: &Batch<'_>, op: Op) -> Failure {
    let object = model::with_article(batch.entity);
    let text = format!("the adapter of {} cannot {} {object}: its file does not say how", batch.target, name(op));
    Failure::new(Class::Rejected, text)
}

/// Whether a create of this job was sent and its end is not known.
pub(in crate::sync) fn begun(job: &Job) -> bool {
    job.intent.as_ref().is_some_and(|intent| intent.op == Op::Create)
}

/// Whether an update of this job may have been sent and its answer was lost.
pub(in crate::sync) fn is_untold(job: &Job) -> bool {
    job.intent.as_ref().is_some_and(|intent| intent.op == Op::Update)
}

pub(in crate::sync) fn name(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
    }
}

/// What a failure before anything was sent means for a job.
pub(in crate::sync) fn failed(batch: &Batch<'_>, job: &Job, failure: &Failure) -> Delivered {
    let tried = Tried {
        attempts: job.attempts,
        intent: job.intent.clone(),
        answer_window: batch.answer_window,
        alone: Alone::No,
    };
    Delivered::new(job, verdict::verdict(failure, &tried, &batch.context.env))
}

/// A job that waits until its request that is under way must have ended.
pub(in crate::sync) fn wait_until(job: &Job, at: DateTime<Utc>, intent: Intent, why: &str) -> Delivered {
    let verdict = Verdict::Retry {
        at,
        burn: false,
        intent: Some(intent),
        class: Class::Unknown.as_str().to_owned(),
        error: why.to_owned(),
    };
    Delivered::new(job, verdict)
}

/// A job that waits for a decision on a conflict.
pub(in crate::sync) fn in_conflict(fields: &BTreeSet<String>) -> Verdict {
    let names = fields.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Verdict::Parked {
        cause: WaitReason::Conflict,
        error: format!("changed on both sides: {names}; `vaiven conflicts` shows the values and takes the decision"),
    }
}
