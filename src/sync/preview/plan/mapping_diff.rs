//! What a changed mapping would make of objects that have not changed themselves. Rows that are the same as when
//! they were last read are mapped again, on a copy of the state, and compared with what is known of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::PlanError;
use crate::{
    mapping::Fields,
    model::{self, EntitySpec, Shown},
    port::{PageToken, PullRequest, SourceRow},
    store::MappingRevision,
    store::NewRun,
    store::{BrakeTrip, ChangeOp, JobId, RecordId, Rejection, RunId, RunKind, SharedStore, ShownRow, StoreError},
    sync::{
        brakes,
        context::{Context, PullContext, outcome},
        desired::{self, Batch},
        pull::{detect::count, mapping_revision},
    },
};

const PAGE_ROWS: usize = 1000;
const SLICE: usize = 500;

/// What another mapping or adapter does to the objects of one entity at one system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remapped {
    pub system: String,
    pub entity: String,
    /// Mapping and adapter are those of the last full reading: nothing was read.
    pub unchanged: bool,
    /// Why it could not be read.
    pub error: Option<String>,
    /// How many rows the system listed.
    pub read: u64,
    /// How many known objects change though their rows are the same.
    pub changed: u64,
    /// For each field, in how many of these objects it changes.
    pub fields: BTreeMap<String, u64>,
    pub examples: Vec<Edit>,
    /// How many known objects have rows that can no longer be read.
    pub unreadable: u64,
    pub reasons: Vec<Rejection>,
    /// How many rows were never read, or have changed since: the mapping alone does not decide what they become.
    pub left_out: u64,
    /// What follows for the systems that are written to.
    pub targets: Vec<TargetDiff>,
}

/// An object before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edit {
    pub key: String,
    /// Field to `[before, after]`; references by key, personal data hidden unless it was asked for.
    pub fields: Fields,
}

/// What would be sent to one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetDiff {
    pub target: String,
    /// How many of its objects would change there.
    pub updates: u64,
    pub examples: Vec<Edit>,
    /// Brakes that would hold them back.
    pub brakes: Vec<BrakeTrip>,
}

impl Remapped {
    fn new(system: &str, entity: &str) -> Self {
        Self {
            system: system.to_owned(),
            entity: entity.to_owned(),
            unchanged: false,
            error: None,
            read: 0,
            changed: 0,
            fields: BTreeMap::new(),
            examples: Vec::new(),
            unreadable: 0,
            reasons: Vec::new(),
            left_out: 0,
            targets: Vec::new(),
        }
    }

    /// Whether it makes no difference.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.changed == 0 && self.unreadable == 0
    }
}

/// Compare what mappings make of the rows of these systems and entities with what is known. `context` is that of an
/// engine on a copy of the state; the copy cannot be used for anything else afterwards.
///
/// # Errors
/// If the copy fails. A failure of a system is reported in the result.
pub async fn mapping_diff(
    mut context: Context,
    pairs: &[(String, String)],
    examples: usize,
    personal: bool,
    stop: &CancellationToken,
) -> Result<Vec<Remapped>, PlanError> {
    for system in context.systems.values_mut() {
        if let Some(read_only) = system.read_only() {
            *system = read_only;
        }
    }
    let mut all = Vec::new();
    for (system, entity) in pairs {
        let mut comparison =
            MappingComparison { context: &context, examples, personal, diff: Remapped::new(system, entity) };
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(PlanError::Stopped),
            compared = comparison.compare() => compared?,
        }
        all.push(comparison.diff);
    }
    Ok(all)
}

struct MappingComparison<'a> {
    context: &'a Context,
    examples: usize,
    personal: bool,
    diff: Remapped,
}

impl MappingComparison<'_> {
    async fn compare(&mut self) -> Result<(), StoreError> {
        let context = self.context;
        let (system, entity) = (self.diff.system.clone(), self.diff.entity.clone());
        let (Some(endpoint), Some(mapping)) = (context.systems.get(&system), context.mapping(&system, &entity)) else {
            self.diff.error = Some(format!("system {system} has no mapping for entity {entity}"));
            return Ok(());
        };
        let (endpoint, mapping) = (Arc::clone(endpoint), Arc::clone(mapping));
        let revision = mapping_revision::of(mapping.as_ref(), endpoint.as_ref(), &entity);
        let last = context.store.reading(&system, &entity).await?.revision;
        if last == Some(revision) {
            self.diff.unchanged = true;
            return Ok(());
        }
        let run = context
            .store
            .begin_run(NewRun::new(&system, &entity, RunKind::Full, "mapping diff"), context.env.now())
            .await?;
        let reading = PullContext {
            context,
            system: endpoint.as_ref(),
            mapping: mapping.as_ref(),
            entity: &entity,
            run,
            remapped: true,
        };
        let mut page: Option<PageToken> = None;
        loop {
            let request = PullRequest { entity: &entity, since: None, page: page.as_ref(), limit: PAGE_ROWS };
            let got = match endpoint.pull(&request).await {
                Ok(got) => got,
                Err(failure) => {
                    self.diff.error = Some(outcome::describe(&failure));
                    break;
                }
            };
            self.diff.read += count(got.rows.len() + got.errors.len());
            let rows = self.as_they_were(got.rows, revision, last).await?;
            self.take(&reading, &rows).await?;
            page = got.next;
            if page.is_none() {
                break;
            }
        }
        self.at_targets(run).await
    }

    /// Return the rows that are the same as when they were last read, and were read with another mapping or
    /// adapter.
    async fn as_they_were(
        &mut self,
        rows: Vec<SourceRow>,
        now: MappingRevision,
        last: Option<MappingRevision>,
    ) -> Result<Vec<SourceRow>, StoreError> {
        // It is not known with which mapping a state of an earlier version was read: whatever differs is attributed
        // to the mapping.
        let Some(last) = last else { return Ok(rows) };
        let (since_last, from_now) = (self.differing(&rows, last).await?, self.differing(&rows, now).await?);
        self.diff.left_out += count(since_last.intersection(&from_now).count());
        Ok(rows.into_iter().enumerate().filter(|(at, _)| !since_last.contains(at)).map(|(_, row)| row).collect())
    }

    /// Return the positions of rows whose fingerprint differs from the one that a reading with this revision has
    /// stored.
    async fn differing(&self, rows: &[SourceRow], revision: MappingRevision) -> Result<BTreeSet<usize>, StoreError> {
        let fingerprints = mapping_revision::fingerprints(revision, &rows.iter().collect::<Vec<_>>());
        let shown_rows: Vec<ShownRow> = rows
            .iter()
            .zip(fingerprints)
            .map(|(row, fingerprint)| ShownRow { id: row.id.clone(), fingerprint })
            .collect();
        let known_rows =
            self.context.store.look_up_fingerprints(&self.diff.system, &self.diff.entity, &shown_rows).await?;
        Ok(known_rows.changed.into_iter().collect())
    }

    /// Map rows, and count what differs from what is known.
    async fn take(&mut self, reading: &PullContext<'_>, rows: &[SourceRow]) -> Result<(), StoreError> {
        let context = self.context;
        if rows.is_empty() {
            return Ok(());
        }
        let mut commit = reading.detect(rows, &[], context.store.counter().await?).await?.commit;
        // A row that was never read before is new, not changed.
        let fresh: BTreeSet<RecordId> =
            commit.changes.iter().filter(|change| change.op == ChangeOp::Create).map(|change| change.record).collect();
        self.diff.left_out += count(fresh.len());
        commit.changes.retain(|change| !fresh.contains(&change.record));
        commit.jobs.retain(|job| !fresh.contains(&job.record));
        let ids: Vec<String> = commit.rejections.iter().filter_map(|row| row.id.clone()).collect();
        let known = context.store.replicas_by_id(reading.system.name(), reading.entity, &ids).await?;
        let known: BTreeSet<&str> =
            known.iter().filter(|one| one.gone_at.is_none()).map(|one| one.id.as_str()).collect();
        let lost = commit.rejections.iter().filter(|row| row.id.as_deref().is_some_and(|id| known.contains(id)));
        let lost: Vec<Rejection> = lost.cloned().collect();
        self.diff.unreadable += count(lost.len());
        let room = self.examples.saturating_sub(self.diff.reasons.len());
        self.diff.reasons.extend(lost.into_iter().take(room));

        self.diff.changed += count(commit.changes.len());
        for field in commit.changes.iter().flat_map(|change| change.fields.keys()) {
            *self.diff.fields.entry(field.clone()).or_default() += 1;
        }
        let room = self.examples.saturating_sub(self.diff.examples.len());
        let some = commit.changes.iter().take(room).map(|change| (change.record, change.fields.clone())).collect();
        let spec = context.entities.get(reading.entity).map(|spec| &**spec);
        self.diff.examples.extend(shown(&context.store, spec, self.personal, some).await?);
        context.store.commit_page(commit, context.env.now()).await?;
        Ok(())
    }

    /// Find out what the jobs of the run would do, as far as that is known without asking the targets, and which
    /// brakes would hold them.
    async fn at_targets(&mut self, run: RunId) -> Result<(), StoreError> {
        let context = self.context;
        let (system, entity) = (self.diff.system.as_str(), self.diff.entity.as_str());
        let mut targets: BTreeSet<&str> =
            context.routes.from(system, entity).flat_map(|flow| &flow.to).map(String::as_str).collect();
        targets.extend(context.routes.to(system, entity).next().map(|_| system));
        let mut diffs = Vec::new();
        for target in targets {
            let Some(endpoint) = context.systems.get(target) else { continue };
            if endpoint.capabilities(entity).is_none() {
                continue;
            }
            let batch = Batch::new(context, endpoint.as_ref(), target, entity);
            let mut at = TargetDiff { target: target.to_owned(), updates: 0, examples: Vec::new(), brakes: Vec::new() };
            let mut after = JobId(0);
            loop {
                let jobs = context.store.opened(run, target, after, SLICE).await?;
                let Some(last) = jobs.last() else { break };
                after = last.id;
                let known = desired::outlook(&batch, jobs).await?;
                at.updates += count(known.len());
                let room = self.examples.saturating_sub(at.examples.len());
                let some = known.iter().take(room).map(|one| (one.job.record, changes(one))).collect();
                let spec = context.entities.get(entity).map(|spec| &**spec);
                at.examples.extend(shown(&context.store, spec, self.personal, some).await?);
            }
            if at.updates > 0 {
                diffs.push(at);
            }
        }
        for trip in brakes::tripped(context, run).await? {
            if let Some(at) = diffs.iter_mut().find(|at| at.target == trip.target) {
                at.brakes.push(trip);
            }
        }
        self.diff.targets = diffs;
        Ok(())
    }
}

/// Field to `[before, after]`.
fn changes(one: &desired::Known) -> Fields {
    let side =
        |fields: Option<&Fields>, field: &str| fields.and_then(|all| all.get(field)).cloned().unwrap_or_default();
    let pair = |field: &String| {
        let before = side(one.here.as_ref().map(|here| &here.fields), field);
        (field.clone(), Value::Array(vec![before, side(Some(&one.desired), field)]))
    };
    one.changed.iter().map(pair).collect()
}

/// Changes as people read them.
async fn shown(
    store: &SharedStore,
    spec: Option<&EntitySpec>,
    personal: bool,
    changes: Vec<(RecordId, Fields)>,
) -> Result<Vec<Edit>, StoreError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let mut records: BTreeSet<RecordId> = changes.iter().map(|(record, _)| *record).collect();
    let sides = |fields: &Fields, at: usize| -> Fields {
        fields.iter().filter_map(|(name, pair)| Some((name.clone(), pair.get(at)?.clone()))).collect()
    };
    for (_, fields) in &changes {
        for at in [0, 1] {
            records.extend(spec.iter().flat_map(|spec| model::records(&spec.fields, &sides(fields, at))));
        }
    }
    let shown = Shown { keys: store.keys(&records.into_iter().collect::<Vec<_>>()).await?, personal };
    let example = |(record, mut fields): (RecordId, Fields)| {
        if let Some(spec) = spec {
            shown.changes(&spec.fields, &mut fields);
        }
        Edit { key: shown.keys.get(&record).map(|(_, key)| key.clone()).unwrap_or_default(), fields }
    };
    Ok(changes.into_iter().map(example).collect())
}
