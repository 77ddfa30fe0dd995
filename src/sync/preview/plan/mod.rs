//! What a pass would write, without writing it: the engine itself works on a copy of the state, with systems that
//! are read and not written to. See `docs/plan.md`.

mod document;
mod estimate;
mod mapping_diff;
mod proof;
mod recorder;
mod unwritten;
mod write_log;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::{recorder::Recorder, write_log::WriteLog};
use crate::{
    port::Op,
    store::{BrakeTrip, Measured, RecordId, Rejection, RunId, Scratch, SharedStore, StoreError},
    sync::{
        context::{Context, Requests, RunReport},
        engine::{Affairs, Engine, Reach, Share},
        routing::Flow,
    },
};

pub(in crate::sync) use self::proof::{Proof, values};
pub use self::{
    document::{AgreedPlan, Entry, read, write},
    estimate::{Basis, Estimate},
    mapping_diff::{Edit, Remapped, TargetDiff, mapping_diff},
    unwritten::Unwritten,
    write_log::{Groups, OpOrder, WriteLogFile},
};

/// How many records are searched at once for matches.
const SLICE: u32 = 1000;

/// What a plan is asked for.
#[derive(Clone, Debug)]
pub struct Question {
    pub reach: Reach,
    /// How many examples of each kind are kept.
    pub examples: usize,
    /// The same for writes, which are in the write log anyway.
    pub writes: usize,
    /// Whether personal data is shown.
    pub personal: bool,
}

/// A plan; its writes are in the write log.
pub struct Plan {
    pub summary: PlanSummary,
    pub groups: Groups,
    pub write_log: WriteLogFile,
}

/// A plan's summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanSummary {
    #[serde(flatten)]
    pub reach: Reach,
    pub made_at: DateTime<Utc>,
    /// What was read.
    pub runs: Vec<RunReport>,
    pub targets: Vec<Target>,
    /// Objects of several systems that are joined from now on.
    pub matches: Vec<Matches>,
    /// Shared fields that both sides changed.
    pub conflicts: Vec<Unwritten>,
    /// Changes so many or so great that a person is asked first.
    pub brakes: Vec<Braked>,
    /// What waits for something else.
    pub waiting: Vec<Unwritten>,
    /// What the target or its adapter would refuse.
    pub rejected: Vec<Unwritten>,
    /// Rows that did not become objects.
    pub unreadable: Vec<UnreadableCount>,
    /// How many fields targets hold otherwise than they were sent, and nobody accepted.
    #[serde(default, skip_serializing_if = "is_none_of")]
    pub differences: u64,
    /// How things are, as of when this was written.
    pub affairs: Affairs,
    /// By system: how many requests making the plan took.
    pub requests: BTreeMap<String, u64>,
}

/// What is to be sent to one target about one entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    pub from: BTreeSet<String>,
    pub target: String,
    pub entity: String,
    pub creates: u64,
    pub updates: u64,
    pub deletes: u64,
    #[serde(flatten)]
    pub cost: Estimate,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matches {
    pub entity: String,
    pub count: u64,
    pub examples: Vec<Match>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    pub key: String,
    /// System to its own id.
    pub ids: BTreeMap<String, String>,
    /// What they were recognised by; `None` if it was the key.
    pub by: Option<By>,
}

/// The match field by which two records were joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct By {
    pub rule: String,
    /// How many of the match fields that both have agree, in percent.
    pub score: u8,
}

/// A brake that stops what a run would do at a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Braked {
    /// The held run, if it was held before the plan was made; `vaiven approve` shows it.
    pub run: Option<RunId>,
    pub entity: String,
    #[serde(flatten)]
    pub trip: BrakeTrip,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnreadableCount {
    pub system: String,
    pub entity: String,
    pub count: u64,
    pub examples: Vec<Rejection>,
}

impl PlanSummary {
    /// Whether everything that was asked for could be read and would be written.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let unwritten = [&self.conflicts, &self.waiting, &self.rejected];
        unwritten.iter().all(|unwritten| unwritten.is_empty())
            && self.brakes.is_empty()
            && self.unreadable.is_empty()
            && self.affairs.is_well()
            && self.runs.iter().all(RunReport::is_green)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none_of(count: &u64) -> bool {
    *count == 0
}

/// A plan that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the plan's writes could not be kept in a temporary file: {0}")]
    WriteLog(#[from] std::io::Error),
    #[error("stopped before the plan was whole")]
    Stopped,
}

/// Make a plan. `context` is that of an engine on the copy; `file` is an empty file for the write log.
///
/// # Errors
/// If the copy or the file fails. A failure of a system is reported in the plan.
pub async fn plan(
    mut context: Context,
    copy: &Scratch,
    Question { reach, examples, writes, personal }: Question,
    file: File,
    stop: &CancellationToken,
) -> Result<Plan, PlanError> {
    let log = Arc::new(WriteLog::new(file, writes));
    let store = Arc::clone(&copy.store);
    let entities = Arc::clone(&context.entities);
    for system in context.systems.values_mut() {
        let recorder =
            Recorder::new(Arc::clone(system), Arc::clone(&store), Arc::clone(&entities), Arc::clone(&log), personal);
        *system = Arc::new(recorder);
    }
    // A person who applies it has seen what is created.
    context.limits.agreed = reach.pairs(&context.routes);
    let asked = Requests::of(&context.systems);
    let engine = Engine::new(context);
    let before = unwritten::waiting(&store).await?;
    let held_runs = store.waiting_approvals().await?.into_iter().map(|approval| approval.run).collect();
    let looked = engine.look(&reach, "plan", stop).await?;
    let matches = matches(copy, &engine, &reach, examples).await?;
    // What could not be looked at is planned by what was last known of it; the report says so.
    let share = engine.share(&reach, &BTreeSet::new()).await?;
    engine.drain(&share, stop).await?;
    if stop.is_cancelled() {
        return Err(PlanError::Stopped);
    }
    let unwritten = unwritten::unwritten(&store, &share, &before, examples).await?;
    let (groups, file) = log.stop()?;
    let context = engine.context();
    let flows: Vec<&Flow> = reach.flows(&context.routes).collect();
    let affairs = Affairs::of(&store, &flows, reach.flow.is_some(), context.env.now()).await?;
    let kind = |kind: &str| unwritten.iter().filter(|one| kind_of(one) == kind).cloned().collect();
    let summary = PlanSummary {
        made_at: context.env.now(),
        targets: targets(context, &groups, &copy.measured),
        matches,
        conflicts: kind("conflict"),
        brakes: braked(&store, &share, &held_runs).await?,
        waiting: kind("waiting"),
        rejected: kind("rejected"),
        unreadable: unreadable(context, &looked.runs, examples).await?,
        differences: context.store.difference_count().await?,
        affairs,
        requests: asked.since(&context.systems),
        runs: looked.runs,
        reach,
    };
    Ok(Plan { summary, groups, write_log: file })
}

fn kind_of(unwritten: &Unwritten) -> &str {
    match unwritten.what.split_once(':').map_or(unwritten.what.as_str(), |(kind, _)| kind) {
        kind @ ("conflict" | "brake" | "rejected") => kind,
        _ => "waiting",
    }
}

/// Return what brakes stop in this share of the queue.
async fn braked(store: &SharedStore, share: &Share, before: &BTreeSet<RunId>) -> Result<Vec<Braked>, StoreError> {
    let mut all = Vec::new();
    for approval in store.waiting_approvals().await? {
        // The runs of the copy have numbers that mean nothing outside it.
        let run = before.contains(&approval.run).then_some(approval.run);
        let entity = approval.entity;
        let trips = approval.trips.into_iter().filter(|trip| share.covers(&trip.target, &entity));
        all.extend(trips.map(|trip| Braked { run, entity: entity.clone(), trip }));
    }
    Ok(all)
}

fn targets(context: &Context, groups: &Groups, measured: &[Measured]) -> Vec<Target> {
    let pairs: BTreeSet<(&str, &str)> =
        groups.keys().map(|(target, entity, _)| (target.as_str(), entity.as_str())).collect();
    let of = |(target, entity): (&str, &str)| {
        let count =
            |op| groups.get(&(target.to_owned(), entity.to_owned(), OpOrder(op))).map_or(0, |group| group.count);
        let counts = [Op::Create, Op::Update, Op::Delete].map(count);
        let capabilities = context.capabilities(target, entity).cloned().unwrap_or_default();
        let pace = context.systems.get(target).and_then(|system| system.pace());
        let history: Vec<&Measured> =
            measured.iter().filter(|line| line.target == target && line.entity == entity).collect();
        Target {
            from: context.routes.to(target, entity).map(|flow| flow.from.clone()).collect(),
            target: target.to_owned(),
            entity: entity.to_owned(),
            creates: counts[0],
            updates: counts[1],
            deletes: counts[2],
            cost: estimate::estimate(&counts, &capabilities, &context.limits(target), pace, &history),
        }
    };
    pairs.into_iter().map(of).collect()
}

/// Return the records that were joined by this plan's pulls. Called before deliveries are simulated, so that
/// planned objects are left out.
async fn matches(copy: &Scratch, engine: &Engine, reach: &Reach, examples: usize) -> Result<Vec<Matches>, StoreError> {
    let entities: BTreeSet<&str> =
        reach.flows(&engine.context().routes).flat_map(|flow| flow.entities.iter().map(String::as_str)).collect();
    let mut found: BTreeMap<String, Matches> = BTreeMap::new();
    let mut after = copy.mark;
    loop {
        let slice = copy.store.linked_since(after, SLICE).await?;
        let Some(last) = slice.last() else { break };
        after = last.number;
        for linked in slice.into_iter().filter(|linked| entities.contains(linked.entity.as_str())) {
            let entity = linked.entity.clone();
            let matches = found.entry(entity.clone()).or_insert(Matches { entity, count: 0, examples: Vec::new() });
            matches.count += 1;
            if matches.examples.len() < examples {
                let by = recognised_by(copy, linked.record).await?;
                matches.examples.push(Match { key: linked.key, ids: linked.ids, by });
            }
        }
    }
    Ok(found.into_values().collect())
}

async fn recognised_by(copy: &Scratch, record: RecordId) -> Result<Option<By>, StoreError> {
    let ties = copy.store.ties(&[record]).await?.remove(&record).unwrap_or_default();
    Ok(ties.links.into_values().find_map(|link| Some(By { rule: link.rule?, score: link.score? })))
}

/// Return the rows that did not become objects, of every entity that was read; earlier ones are included.
async fn unreadable(
    context: &Context,
    runs: &[RunReport],
    examples: usize,
) -> Result<Vec<UnreadableCount>, StoreError> {
    let read: BTreeSet<(&str, &str)> = runs.iter().map(|run| (run.system.as_str(), run.entity.as_str())).collect();
    let mut all = Vec::new();
    for (system, entity, count, _) in context.store.rejection_counts().await? {
        if count == 0 || !read.contains(&(system.as_str(), entity.as_str())) {
            continue;
        }
        let rows = context.store.rejections(Some(&system), u32::MAX).await?;
        let rows = rows.into_iter().filter(|(_, of, row)| *of == entity && !row.dismissed);
        let rows = rows.map(|(_, _, row)| row);
        let examples = rows.take(examples).collect();
        all.push(UnreadableCount { system, entity, count, examples });
    }
    Ok(all)
}
