//! Which planned writes were done, and which other writes came up.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use crate::{
    port::{Op, Write},
    store::JobId,
    sync::preview::plan::{Entry, Proof},
};

/// Target, entity, key.
type Place = (String, String, String);

/// A write that was not carried out, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UnappliedWrite {
    pub target: String,
    pub entity: String,
    pub key: String,
    pub op: String,
    pub reason: String,
}

/// What happened to a planned write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has not come up.
    #[default]
    Open,
    /// It was sent; its outcome is not known yet.
    Sent,
    Done,
    Failed(String),
}

struct Planned {
    entry: Entry,
    fate: Fate,
}

pub(super) struct ApplyLedger {
    inner: Mutex<Inner>,
}

struct Inner {
    planned: HashMap<Place, Vec<Planned>>,
    /// Job to the planned write that it carries out.
    sent: HashMap<JobId, (Place, usize)>,
    /// Writes that were held back, by their job.
    refused: BTreeMap<JobId, UnappliedWrite>,
}

pub(super) fn word(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
    }
}

impl ApplyLedger {
    pub(super) fn new(agreed: HashMap<Place, Vec<Entry>>) -> Self {
        let planned = agreed
            .into_iter()
            .map(|(place, entries)| {
                (place, entries.into_iter().map(|entry| Planned { entry, fate: Fate::Open }).collect())
            })
            .collect();
        Self { inner: Mutex::new(Inner { planned, sent: HashMap::new(), refused: BTreeMap::new() }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a write was agreed on; otherwise return why not.
    pub(super) fn admit(&self, target: &str, entity: &str, write: &Write, proof: Proof) -> Result<(), String> {
        let mut inner = self.inner();
        let place = (target.to_owned(), entity.to_owned(), write.key.clone());
        let planned = inner.planned.get_mut(&place).map(Vec::as_mut_slice).unwrap_or_default();
        let open = planned.iter().position(|one| one.fate != Fate::Done && one.entry.proof == proof);
        match open {
            Some(index) => {
                planned[index].fate = Fate::Sent;
                inner.refused.remove(&write.job);
                inner.sent.insert(write.job, (place, index));
                Ok(())
            }
            None => {
                let reason = differs(target, write, proof, planned);
                let refused = UnappliedWrite {
                    target: target.to_owned(),
                    entity: entity.to_owned(),
                    key: write.key.clone(),
                    op: word(write.op).to_owned(),
                    reason: reason.clone(),
                };
                inner.refused.insert(write.job, refused);
                Err(reason)
            }
        }
    }

    /// Record how a write that was sent ended.
    pub(super) fn ended(&self, job: JobId, failed: Option<String>) {
        let mut inner = self.inner();
        let Some((place, index)) = inner.sent.remove(&job) else { return };
        if let Some(planned) = inner.planned.get_mut(&place).and_then(|planned| planned.get_mut(index)) {
            planned.fate = failed.map_or(Fate::Done, Fate::Failed);
        }
    }

    /// Return the writes that were held back, with their jobs.
    pub(super) fn refused(&self) -> BTreeMap<JobId, UnappliedWrite> {
        self.inner().refused.clone()
    }

    /// Call `each` for every planned write and what happened to it.
    pub(super) fn each(&self, mut each: impl FnMut(&Place, Op, &Fate)) {
        for (place, planned) in &self.inner().planned {
            for one in planned {
                each(place, one.entry.proof.op, &one.fate);
            }
        }
    }
}

/// Return in what a write differs from the planned one.
fn differs(target: &str, write: &Write, proof: Proof, planned: &[Planned]) -> String {
    let Some(one) = planned.iter().find(|one| one.fate != Fate::Done).or(planned.last()) else {
        return "it is not in the plan".to_owned();
    };
    let (now, then) = (word(proof.op), word(one.entry.proof.op));
    if one.fate == Fate::Done {
        return format!("it was done as planned, but has changed again since and would have to be {now}d once more");
    }
    if now != then {
        return format!("the plan was to {then} it, but by now it would have to be {now}d");
    }
    let fields: Vec<&str> = write.changed.iter().map(String::as_str).collect();
    let more = fields.iter().filter(|field| !one.entry.fields.iter().any(|planned| planned == **field));
    let more: Vec<&str> = more.copied().collect();
    let fewer = one.entry.fields.iter().filter(|planned| !fields.contains(&planned.as_str()));
    let fewer: Vec<&str> = fewer.map(String::as_str).collect();
    match (more.is_empty(), fewer.is_empty()) {
        (false, _) => format!("more has changed since the plan: {}", more.join(", ")),
        (true, false) => format!("less has to change than planned, {} no longer", fewer.join(", ")),
        (true, true) if proof.after != one.entry.proof.after => {
            format!("the desired value is no longer the planned one: {}", fields.join(", "))
        }
        (true, true) if write.op == Op::Delete => format!("it has changed at {target} since the plan"),
        (true, true) => format!("it has changed at {target} since the plan: {}", fields.join(", ")),
    }
}
