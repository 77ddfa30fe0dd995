//! What would not be written, and why: conflicts, brakes, missing things, refused records.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::{
    store::{Backlog, JobFilter, JobState, Result, SharedStore},
    sync::engine::Share,
    wait_reason::WaitReason,
};

/// Records that wait for the same kind of cause, or were given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unwritten {
    pub target: String,
    pub entity: String,
    /// `conflict`, `brake:12`, `missing:product`, `lookup:tax`; `rejected` for what is given up, `later` for what
    /// comes due.
    pub what: String,
    pub count: u64,
    /// How many of them waited before the plan was made.
    pub already: u64,
    pub examples: Vec<UnwrittenExample>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnwrittenExample {
    pub key: String,
    /// What exactly it waits for.
    pub cause: Option<WaitReason>,
    pub why: Option<String>,
}

type Group = (String, String, String);

fn group(line: &Backlog) -> Option<Group> {
    let what = match line.state {
        JobState::Parked => line.cause.as_ref().map(WaitReason::kind).unwrap_or_default(),
        JobState::Dead => "rejected".to_owned(),
        JobState::Queued | JobState::Running => "later".to_owned(),
        JobState::Done | JobState::Discarded => return None,
    };
    Some((line.target.clone(), line.entity.clone(), what))
}

/// Return how many jobs wait for what; called before a plan is made.
pub(super) async fn waiting(store: &SharedStore) -> Result<HashMap<Group, u64>> {
    let mut counts = HashMap::new();
    for line in store.backlog().await?.iter().filter(|line| !matches!(line.state, JobState::Queued | JobState::Running))
    {
        if let Some(group) = group(line) {
            *counts.entry(group).or_default() += line.count;
        }
    }
    Ok(counts)
}

/// Return what waits in this share of the queue, with this many examples of each kind.
pub(super) async fn unwritten(
    store: &SharedStore,
    share: &Share,
    before: &HashMap<Group, u64>,
    examples: usize,
) -> Result<Vec<Unwritten>> {
    let mut all: BTreeMap<Group, Unwritten> = BTreeMap::new();
    for line in store.backlog().await?.into_iter().filter(|line| share.covers(&line.target, &line.entity)) {
        let Some(group) = group(&line) else { continue };
        let already = before.get(&group).copied().unwrap_or_default();
        let (target, entity, what) = group.clone();
        let unwritten =
            all.entry(group).or_insert(Unwritten { target, entity, what, count: 0, already, examples: Vec::new() });
        unwritten.count += line.count;
        let room = examples.saturating_sub(unwritten.examples.len());
        if room > 0 {
            unwritten.examples.extend(some(store, &line, room).await?);
        }
    }
    Ok(all.into_values().collect())
}

async fn some(store: &SharedStore, line: &Backlog, room: usize) -> Result<Vec<UnwrittenExample>> {
    let filter = JobFilter {
        target: Some(line.target.clone()),
        entity: Some(line.entity.clone()),
        states: vec![line.state],
        cause: line.cause.clone(),
        limit: u32::try_from(room).unwrap_or(u32::MAX),
        ..JobFilter::default()
    };
    let jobs = store.jobs(&filter).await?;
    let keys = store.keys(&jobs.iter().map(|job| job.record).collect::<Vec<_>>()).await?;
    let example = |job: crate::store::Job| UnwrittenExample {
        key: keys.get(&job.record).map(|(_, key)| key.clone()).unwrap_or_default(),
        cause: job.cause,
        why: job.error,
    };
    Ok(jobs.into_iter().map(example).collect())
}
