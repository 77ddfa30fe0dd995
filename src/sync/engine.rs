//! The engine: pulls when it is time, delivers what there is, until told to stop.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Affairs, Flow, MatchRule, Routes, RunReport, Scope, brakes, cover,
    deliver::{self, Tally},
    flight,
    health::{self, Health},
    journal::{self, Journal},
    numbering, outcome,
    pass::{Share, after_others},
    pull::{self, Asked},
    term::leading,
};
use crate::{
    env::Env,
    expr::Scope as Variables,
    failure::{Cause, Class, FILE, Failure, SETUP, UNHELD, UNLISTED, UNREAD},
    mapping::{Fields, Outline, Pulled, Translate},
    model::{Alteration, Entities, EntitySpec, FieldSpec},
    port::System,
    store::{Backlog, JobFilter, JobState, NewJob, Rejection, RunKind, SharedStore, Standing, StoreError},
};

/// Clocks of several machines may differ by so much without anybody having set one.
const SKEW: chrono::Duration = chrono::Duration::minutes(1);
/// No system is left alone for longer than this, so what says more was noted by another clock.
const LONGEST_PAUSE: chrono::Duration = chrono::Duration::hours(24);
/// How often the log says that all goes on.
const HEARTBEAT: Duration = Duration::from_secs(3600);
/// Longest wait for a state store in trouble.
const PATIENCE: Duration = Duration::from_secs(60);

/// How one system is worked with.
#[derive(Clone, Debug)]
pub struct SystemLimits {
    /// How long after a lost answer the system may still carry the request out; a lookup before that proves nothing.
    pub settle: Duration,
    /// Most jobs claimed at once.
    pub batch: usize,
    /// Batches under way at the same time.
    pub workers: usize,
}

impl Default for SystemLimits {
    fn default() -> Self {
        Self { settle: Duration::from_secs(30), batch: 500, workers: 2 }
    }
}

/// Causes of what somebody else keeps changing back.
const FUSE: &str = "fuse:";

/// Bounds of the whole engine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a claimed job is ours without a sign of life.
    pub lease: Duration,
    /// How often an idle worker looks for jobs that another process opened.
    pub poll: Duration,
    /// Done jobs, runs and change log older than this are deleted.
    pub retention: Duration,
    /// So many writes of one value to one object within an hour, and it is left alone; 0 = never.
    pub fuse: u32,
    /// Targets and entities of which a person has agreed to what is created there, because he has seen it in a plan.
    pub agreed: BTreeSet<(String, String)>,
    pub systems: BTreeMap<String, SystemLimits>,
}

impl Limits {
    /// How long a pull, a flow's turn or a target's deliveries are ours without a sign of life: they give one less often.
    pub(super) fn long(&self) -> Duration {
        self.lease.saturating_mul(2)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            poll: Duration::from_millis(500),
            retention: Duration::from_secs(90 * 24 * 3600),
            fuse: 12,
            agreed: BTreeSet::new(),
            systems: BTreeMap::new(),
        }
    }
}

/// Everything an engine is made of.
pub struct Parts {
    pub store: SharedStore,
    pub env: Env,
    pub systems: BTreeMap<String, Arc<dyn System>>,
    /// By system and entity.
    pub mappings: BTreeMap<(String, String), Arc<dyn Translate>>,
    pub entities: Arc<Entities>,
    pub routes: Routes,
    pub limits: Limits,
    /// Who holds the leases: unique per process.
    pub owner: String,
    /// Raised when jobs may have been opened.
    pub work: Arc<Notify>,
    /// What was told in the log.
    pub journal: Arc<Journal>,
}

impl Parts {
    pub(super) fn mapping(&self, system: &str, entity: &str) -> Option<&Arc<dyn Translate>> {
        self.mappings.get(&(system.to_owned(), entity.to_owned()))
    }

    /// Match rules that apply to a system's objects: those whose field its mapping names. A value from an earlier mapping
    /// recognises nobody.
    pub(super) fn recognised_by(&self, system: &str, entity: &str) -> Vec<&MatchRule> {
        let mut rules = self.routes.matches(entity);
        if let Some(mapping) = self.mapping(system, entity) {
            rules.retain(|rule| mapping.reads().union(mapping.writes()).any(|field| rule.names(field)));
        }
        rules
    }

    pub(super) fn limits(&self, system: &str) -> SystemLimits {
        self.limits.systems.get(system).cloned().unwrap_or_default()
    }

    /// What became of a field's value at a target.
    pub(super) fn alteration(&self, at: (&str, &str), members: &Outline, sent: &Value, held: &Value) -> Alteration {
        let of = |spec: &FieldSpec| Alteration::of(spec, at.1, sent, held, members);
        self.altered(at).map_or_else(Alteration::default, |spec| of(&spec))
    }

    /// The same right after a write, with what the target was known to hold before it.
    pub(super) fn alteration_since(
        &self,
        at: (&str, &str),
        members: &Outline,
        values: (&Value, &Value, &Value),
    ) -> Alteration {
        let since = |spec: &FieldSpec| Alteration::since(spec, at.1, values, members);
        self.altered(at).map_or_else(Alteration::default, |spec| since(&spec))
    }

    /// A field's specification as alterations see it: the key of a record is never another spelling.
    fn altered(&self, (entity, field): (&str, &str)) -> Option<Cow<'_, FieldSpec>> {
        let entity = self.entities.get(entity)?;
        let spec = entity.fields.get(field)?;
        let is_key = entity.key == field;
        Some(if is_key { Cow::Owned(FieldSpec { code: true, ..spec.clone() }) } else { Cow::Borrowed(spec) })
    }

    /// What costs money of an alteration, or makes another end of it, for people.
    pub(super) fn costs(&self, at: (&str, &str), altered: &Alteration, sent: &Value, held: &Value) -> Option<String> {
        let entity = self.entities.get(at.0)?;
        let spec = entity.fields.get(at.1)?;
        let states = entity.states.as_ref().filter(|states| states.holds(at.1));
        let is_over = states.is_some_and(|states| states.has_ended(sent) != states.has_ended(held));
        (altered.exact || is_over).then(|| altered.told(spec, at.1, sent, held))
    }

    /// Normalises a canonical object and refuses what its specification does not allow.
    pub(super) fn validate(&self, entity: &str, fields: &mut Fields) -> Result<(), Failure> {
        validate(&self.entities, entity, fields)
    }

    /// Whether a flow's filter lets an object through.
    pub(super) fn admits(&self, flow: &Flow, entity: &str, fields: &Fields) -> Result<bool, Failure> {
        self.entities.get(entity).map_or(Ok(true), |spec| admits(flow, entity, spec, fields))
    }
}

/// A row in canonical form: as its mapping reads it, and as its entity has it.
///
/// # Errors
/// What cannot be read, or does not fit the entity.
pub fn canonical(entities: &Entities, mapping: &dyn Translate, entity: &str, row: &Value) -> Result<Pulled, Failure> {
    let mut pulled = mapping.pull(row)?;
    validate(entities, entity, &mut pulled.fields)?;
    Ok(pulled)
}

fn validate(entities: &Entities, entity: &str, fields: &mut Fields) -> Result<(), Failure> {
    let Some(spec) = entities.get(entity) else {
        return Err(Failure::new(Class::Fatal, format!("entity {entity} is not declared")));
    };
    // What is required is the mapping's to ask for: a system may show only a part of an object.
    crate::model::normalize(spec, fields).map_err(|errors| {
        let first = errors.first().map(|error| error.field.clone());
        let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let failure = Failure::new(Class::Rejected, text);
        match first {
            Some(field) => failure.with_field(field),
            None => failure,
        }
    })
}

/// Whether a flow's `where` lets a canonical object through.
///
/// # Errors
/// When it has no value for this object.
pub fn admits(flow: &Flow, entity: &str, spec: &EntitySpec, fields: &Fields) -> Result<bool, Failure> {
    let Some(filter) = flow.filters.get(entity).or_else(|| flow.filters.get("*")) else { return Ok(true) };
    let absent = Value::Null;
    let mut variables = Variables::new();
    for name in spec.fields.keys() {
        variables.set(name, Cow::Borrowed(fields.get(name).unwrap_or(&absent)));
    }
    filter.eval_bool(&variables).map_err(|error| {
        Failure::new(Class::Rejected, format!("`where` of flow {}: {error}", flow.name)).with_source(error)
    })
}

/// What one pass of the engine did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub runs: Vec<RunReport>,
    pub delivered: Tally,
    /// Open jobs left: state to count.
    pub left: BTreeMap<String, u64>,
    /// Jobs that wait for what happens every day: orders that are not accepted yet.
    pub awaited: u64,
    /// Rows that did not become objects.
    pub rejected: u64,
    /// Runs that tripped a brake and wait for a person.
    pub held: Vec<i64>,
    /// Fields that targets hold otherwise than they were sent, and nobody accepted.
    pub differences: u64,
}

impl Summary {
    /// Whether every run is green and nothing waits for a person.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.left.is_empty() && self.rejected == 0 && self.differences == 0 && self.runs.iter().all(RunReport::is_green)
    }
}

/// The engine.
pub struct Engine {
    parts: Arc<Parts>,
    health: Arc<Health>,
}

impl Engine {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), health: Arc::default() }
    }

    /// How the parts of [`Engine::run`] do.
    #[must_use]
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Works until `shutdown`: schedules, orders from the command line, deliveries, housekeeping.
    /// Trouble of the state store is waited for.
    pub async fn run(&self, shutdown: &CancellationToken) {
        self.persevere("start", shutdown, || self.begin(shutdown)).await;
        let share = Share::everything(&self.parts.routes);
        let workers = share.targets().flat_map(|(target, but)| {
            // Who perseveres waits, tells and counts.
            let work = move || async move { deliver::work(&self.parts, target, but, 0, shutdown).await.map(drop) };
            (0..self.parts.limits(target).workers.max(1)).map(move |_| self.persevere(target, shutdown, work))
        });
        let flows = self.parts.routes.flows().iter();
        let schedule = flows.map(|flow| self.persevere(&flow.name, shutdown, move || self.keep_flow(flow, shutdown)));
        let others = async {
            // Of a large run that was cut off it takes a while, for which deliveries do not wait.
            // Before a run of it that was cut off is ruled on by half.
            let first = || async move { Box::pin(cover::cover(&self.parts, None, shutdown)).await.map(drop) };
            self.persevere("what has joined", shutdown, first).await;
            self.persevere("rulings", shutdown, || brakes::settle_all(&self.parts)).await;
            tokio::join!(
                join_all(schedule),
                self.persevere("what has joined", shutdown, || self.keep_covering(shutdown)),
                self.persevere("orders", shutdown, || self.keep_orders(shutdown)),
                self.persevere("rulings", shutdown, || self.keep_ruling(shutdown)),
                self.persevere("housekeeping", shutdown, || self.keep_purging(shutdown)),
                self.persevere("freshness", shutdown, || self.keep_telling(shutdown)),
            );
        };
        tokio::join!(join_all(workers), others);
    }

    /// What another life of the daemon has left: leases, jobs dated by another clock, causes that are cured.
    async fn begin(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        self.parts.store.recover(self.parts.env.now()).await?;
        self.mind_the_clock().await?;
        self.cure(shutdown).await
    }

    /// Goes on with a part of the daemon's work until `shutdown`, also when the state store was in trouble (a full disk, a
    /// database that restarts): what was not made durable is done again.
    async fn persevere<F>(&self, what: &str, shutdown: &CancellationToken, part: impl Fn() -> F)
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            let began = self.parts.env.now();
            self.health.begun(what, began);
            let Err(error) = part().await else { return };
            self.health.failed(what, self.parts.env.now());
            failures = if self.parts.env.now() - began > health::CALM { 0 } else { failures };
            let wait = outcome::backoff(failures, &self.parts.env).min(PATIENCE);
            let said = journal::trouble(&self.parts.store, &error);
            tracing::error!(what, "interrupted by the state store; it goes on in {} s: {said}", wait.as_secs());
            failures = failures.saturating_add(1);
            self.pause(wait, shutdown).await;
        }
    }

    /// Pulls everything that flows bring (or only `scope`) once, delivers until nothing is left that could be done now or
    /// soon, and tells what happened.
    pub async fn once(
        &self,
        scope: Option<&Scope>,
        kind: RunKind,
        shutdown: &CancellationToken,
    ) -> Result<Summary, StoreError> {
        self.parts.store.recover(self.parts.env.now()).await?;
        self.cure(shutdown).await?;
        let mut summary = Summary::default();
        let share = Share::everything(&self.parts.routes);
        let pulls = async {
            let mut runs = Box::pin(cover::cover(&self.parts, None, shutdown)).await?;
            brakes::settle_all(&self.parts).await?;
            runs.extend(match scope {
                Some(scope) => self.resync(scope, shutdown).await?,
                None => self.pull_all(kind, "once", shutdown).await?,
            });
            Ok(runs)
        };
        (summary.runs, summary.delivered) = self.delivering(&share, shutdown, pulls).await?;
        for backlog in self.parts.store.backlog().await? {
            if backlog.cause.as_deref().is_some_and(Cause::is_daily) {
                summary.awaited += backlog.count;
                continue;
            }
            *summary.left.entry(backlog.state.as_str().to_owned()).or_default() += backlog.count;
        }
        summary.held = self.parts.store.approvals().await?.into_iter().map(|approval| approval.run).collect();
        summary.differences = self.parts.store.difference_count().await?;
        summary.rejected = self.parts.store.rejection_counts().await?.iter().map(|(_, _, open, _)| open).sum();
        Ok(summary)
    }

    /// A configuration that was read anew may hold the line that jobs and rows wait for (`lookup:tax=IGIC7`), or another
    /// idea of what an entity has to prove (`proof:order=1001`) or of what is one (`review:customer=C-77`): they are all tried again, once. What still lacks it waits on.
    pub(super) async fn cure(&self, cancel: &CancellationToken) -> Result<(), StoreError> {
        const LOOKUP: &str = "lookup:";
        const CURED: [&str; 13] = [
            LOOKUP,
            "proof:",
            "qualifies:",
            UNHELD,
            "differs:",
            "review:",
            "acceptance:",
            "article:",
            UNREAD,
            FUSE,
            FILE,
            SETUP,
            UNLISTED,
        ];
        self.read_what_is_waited_for(cancel).await?;
        self.look_anew(&CURED).await?;
        self.read_again("rows that lacked a lookup", cancel, |_, _, row| {
            row.cause.as_deref().is_some_and(|cause| cause.starts_with(LOOKUP))
        })
        .await
    }

    /// Rows of targets that could not be read, and that creations there wait for: no delta tells when they are mended.
    async fn read_what_is_waited_for(&self, cancel: &CancellationToken) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let mut waited = BTreeSet::new();
        let mut queued = BTreeSet::new();
        for Backlog { target, entity, state, cause, .. } in store.backlog().await? {
            if cause.is_some_and(|cause| cause.starts_with(UNREAD)) {
                waited.insert((target, entity));
            } else if state == JobState::Queued {
                queued.insert((target, entity));
            }
        }
        // What other rows have just let go (one was put aside) may wait for these as soon as it is tried.
        for (target, entity) in queued {
            if !waited.contains(&(target.clone(), entity.clone())) && !store.unread(&target, &entity).await?.is_empty()
            {
                waited.insert((target, entity));
            }
        }
        if waited.is_empty() {
            return Ok(());
        }
        let is_waited_for =
            |system: &str, entity: &str, _: &Rejection| waited.contains(&(system.to_owned(), entity.to_owned()));
        self.read_again("rows that creations wait for", cancel, is_waited_for).await
    }

    /// Reads rows once more that could not be read, by their ids where the system can.
    async fn read_again(
        &self,
        trigger: &str,
        cancel: &CancellationToken,
        is_meant: impl Fn(&str, &str, &Rejection) -> bool,
    ) -> Result<(), StoreError> {
        const ROWS: u32 = 10_000;
        let parts = &self.parts;
        let mut rows: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for (system, entity, rejection) in parts.store.rejections(None, ROWS).await? {
            if let (true, Some(id)) = (is_meant(&system, &entity, &rejection), rejection.id) {
                rows.entry((system, entity)).or_default().push(id);
            }
        }
        for ((system, entity), ids) in rows {
            if parts.facts(&system, &entity).is_some_and(|facts| facts.read) {
                pull::refresh(parts, &system, &entity, &ids, trigger, Asked::ByItself, cancel).await?;
            } else if parts.can_list(&system, &entity) {
                pull::pull(parts, &system, &entity, RunKind::Full, trigger, cancel).await?;
            }
        }
        Ok(())
    }

    /// What waits for causes of these kinds is tried again.
    async fn look_anew(&self, kinds: &[&str]) -> Result<(), StoreError> {
        let store = &self.parts.store;
        for backlog in store.backlog().await? {
            let cause = backlog.cause.filter(|cause| kinds.iter().any(|kind| cause.starts_with(kind)));
            if let (JobState::Parked, Some(cause)) = (backlog.state, cause) {
                let filter = JobFilter { target: Some(backlog.target), cause: Some(cause), ..JobFilter::default() };
                store.retry(&filter, self.parts.env.now()).await?;
            }
        }
        Ok(())
    }

    /// Reads one entity of one system and opens the jobs that follow; delivers nothing.
    pub async fn pull(
        &self,
        system: &str,
        entity: &str,
        kind: RunKind,
        trigger: &str,
        cancel: &CancellationToken,
    ) -> Result<RunReport, StoreError> {
        pull::pull(&self.parts, system, entity, kind, trigger, cancel).await
    }

    /// Pulls all sources in the order of the configuration; targets first where they were never looked at.
    async fn pull_all(
        &self,
        kind: RunKind,
        trigger: &str,
        cancel: &CancellationToken,
    ) -> Result<Vec<RunReport>, StoreError> {
        let mut runs = Vec::new();
        for flow in self.parts.routes.flows() {
            runs.extend(self.pull_flow(flow, None, kind, trigger, cancel).await?);
        }
        Ok(runs)
    }

    /// Pulls a flow's entities from its source. A full pull looks at the targets as well: what drifted there is found by
    /// comparison.
    pub(super) async fn pull_flow(
        &self,
        flow: &Flow,
        only: Option<&str>,
        kind: RunKind,
        trigger: &str,
        cancel: &CancellationToken,
    ) -> Result<Vec<RunReport>, StoreError> {
        let mut runs = Vec::new();
        for entity in flow.entities.iter().filter(|entity| only.is_none_or(|only| only == entity.as_str())) {
            if cancel.is_cancelled() {
                break;
            }
            for target in &flow.to {
                if kind == RunKind::Full {
                    runs.extend(self.look_at_target(target, entity, trigger, cancel).await?);
                } else {
                    runs.extend(deliver::adopt(&self.parts, target, entity, cancel).await?);
                }
            }
            if entity == flight::STOCK {
                runs.extend(flight::before_first_reading(&self.parts, flow, cancel).await?);
            }
            if cancel.is_cancelled() {
                break;
            }
            let report = pull::pull(&self.parts, &flow.from, entity, kind, trigger, cancel).await?;
            // What another daemon reads at the moment is enough for a delta, of which there are many.
            let is_full = kind == RunKind::Full;
            runs.push(if is_full { after_others(&self.parts, report, trigger, cancel).await? } else { report });
        }
        Ok(runs)
    }

    async fn look_at_target(
        &self,
        target: &str,
        entity: &str,
        trigger: &str,
        cancel: &CancellationToken,
    ) -> Result<Option<RunReport>, StoreError> {
        if !self.parts.can_list(target, entity) {
            return Ok(None);
        }
        let report = pull::pull(&self.parts, target, entity, RunKind::Full, trigger, cancel).await?;
        let report = after_others(&self.parts, report, trigger, cancel).await?;
        if report.is_green() && report.run.is_some() {
            deliver::adopted(&self.parts, target, entity).await?;
        }
        Ok(Some(report))
    }

    /// Looks at a scope again, whatever cursors and fingerprints say of it.
    pub async fn resync(&self, scope: &Scope, cancel: &CancellationToken) -> Result<Vec<RunReport>, StoreError> {
        let Some(flow) = self.parts.routes.flow(&scope.flow) else { return Ok(Vec::new()) };
        let trigger = format!("resync {scope}");
        let (Some(entity), Some(key)) = (&scope.entity, &scope.key) else {
            let runs = self.pull_flow(flow, scope.entity.as_deref(), RunKind::Full, &trigger, cancel).await?;
            // What has not changed at its source is offered to the targets as well.
            let asked = cover::Asked { scope, trigger: &trigger };
            let failed = Box::pin(cover::cover(&self.parts, Some(asked), cancel)).await?;
            return Ok(runs.into_iter().chain(failed).collect());
        };
        let known = numbering::meant(&self.parts, entity, key, &flow.from).await?;
        let mut runs = Vec::new();
        for system in std::iter::once(&flow.from).chain(&flow.to) {
            let mut ids: BTreeSet<String> = self.parts.store.externals(system, &known).await?.into_values().collect();
            // A row that could not be read is called by its id, or by the key that it shows.
            let rejected = self.parts.store.rejections(Some(system), u32::MAX).await?.into_iter();
            let rejected = rejected.filter(|(_, of, row)| of == entity && row.is_about(key));
            ids.extend(rejected.filter_map(|(_, _, row)| row.id));
            let ids: Vec<String> = ids.into_iter().collect();
            let can_read = self.parts.facts(system, entity).is_some_and(|facts| facts.read);
            if !ids.is_empty() && can_read {
                let asked = Asked::ByPerson;
                runs.push(pull::refresh(&self.parts, system, entity, &ids, &trigger, asked, cancel).await?);
            } else if *system == flow.from && self.parts.can_list(system, entity) {
                // The source is listed whole when the object is new to us or cannot be read alone.
                runs.push(pull::pull(&self.parts, system, entity, RunKind::Full, &trigger, cancel).await?);
            } else if !ids.is_empty() {
                // A target that cannot be read alone as well.
                runs.extend(self.look_at_target(system, entity, &trigger, cancel).await?);
            }
        }
        let records = numbering::meant(&self.parts, entity, key, &flow.from).await?;
        let jobs: Vec<NewJob> = records
            .into_iter()
            .flat_map(|record| flow.to.iter().map(move |target| (record, target)))
            .map(|(record, target)| NewJob {
                target: target.clone(),
                entity: entity.clone(),
                record,
                lane: 0,
                due: None,
            })
            .collect();
        if !jobs.is_empty() {
            self.parts.store.enqueue(&jobs, self.parts.env.now()).await?;
            self.parts.work.notify_waiters();
        }
        Ok(runs)
    }

    /// One worker group per target. Where one of them gives up on the state store, all stop: what is left would wait for it.
    pub(super) async fn workers(&self, share: &Share, stop: &CancellationToken) -> Result<Tally, StoreError> {
        const PATIENCE: u32 = 10;
        let groups = share.targets().flat_map(|(target, but)| {
            let workers = self.parts.limits(target).workers.max(1);
            (0..workers).map(move |_| async move {
                let worked = deliver::work(&self.parts, target, but, PATIENCE, stop).await;
                if worked.is_err() {
                    stop.cancel();
                }
                worked
            })
        });
        let mut total = Tally::default();
        for tally in join_all(groups).await {
            total.add(&tally?);
        }
        Ok(total)
    }

    /// Returns when no job of this share is running and none is queued that comes due within reach.
    async fn until_idle(&self, share: &Share, cancel: &CancellationToken) -> Result<(), StoreError> {
        while !cancel.is_cancelled() && self.is_busy(share).await? {
            self.parts.env.sleep(self.parts.limits.poll / 5).await;
        }
        Ok(())
    }

    /// Delivers beside `before`, and after it until nothing is left that could be done now or soon.
    pub(super) async fn delivering<T>(
        &self,
        share: &Share,
        stop: &CancellationToken,
        before: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(T, Tally), StoreError> {
        let (done, mut delivered) = self.deliver_beside(share, stop, before).await?;
        // The end of a worker's last batch may have opened jobs.
        while !stop.is_cancelled() && self.is_busy(share).await? {
            delivered.add(&self.deliver_beside(share, stop, async { Ok(()) }).await?.1);
        }
        Ok((done, delivered))
    }

    async fn deliver_beside<T>(
        &self,
        share: &Share,
        stop: &CancellationToken,
        before: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(T, Tally), StoreError> {
        let idle = stop.child_token();
        let work = async {
            let done = before.await;
            let settled = self.until_idle(share, &idle).await;
            idle.cancel();
            settled.and(done)
        };
        let (done, delivered) = tokio::join!(work, self.workers(share, &idle));
        Ok((done?, delivered?))
    }

    /// Whether anything is being delivered, or is to be within the next minutes. For a target that is down nobody waits: what
    /// is to be delivered there stays in the queue.
    async fn is_busy(&self, share: &Share) -> Result<bool, StoreError> {
        const REACH: chrono::Duration = chrono::Duration::minutes(3);
        const PATIENCE: u32 = 4;
        let now = self.parts.env.now();
        let horizon = now + REACH;
        for (target, _) in share.targets() {
            let soonest = self.parts.store.soonest(target).await?;
            if !soonest.iter().any(|(entity, due)| *due <= horizon && share.covers(target, entity)) {
                continue;
            }
            let standing = self.parts.store.standing(target).await?;
            let until = standing.until.filter(|until| *until > now);
            if until.is_none_or(|until| until <= horizon && standing.failures < PATIENCE) {
                return Ok(true);
            }
        }
        // What is left is far off, or under way by a long lease.
        let backlog = self.parts.store.backlog().await?;
        let mut covered = backlog.iter().filter(|line| share.covers(&line.target, &line.entity));
        Ok(covered.any(|line| line.state == JobState::Running))
    }

    /// Pulls one flow whenever it is due; a firing missed while the daemon was down is made up for once. Of several daemons
    /// one has the turn. A firing is over when its pulls are: should that one be killed in it, another begins it anew.
    async fn keep_flow(&self, flow: &Flow, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let lease = format!("flow:{}", flow.name);
        while !shutdown.is_cancelled() {
            let now = self.parts.env.now();
            let Some((next, _)) = self.firing(flow, now).await? else { return Ok(()) };
            if next > now {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    () = self.parts.env.clock.sleep_until(next) => {}
                }
            } else if leading(&self.parts, &lease, self.take_turn(flow, shutdown)).await?.is_none() {
                self.pause(self.parts.limits.poll, shutdown).await;
            }
        }
        Ok(())
    }

    async fn take_turn(&self, flow: &Flow, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let now = self.parts.env.now();
        // The daemon that had the turn just before may have seen to it.
        let Some((_, kind)) = self.firing(flow, now).await?.filter(|(at, _)| *at <= now) else { return Ok(()) };
        self.pull_flow(flow, None, kind, "schedule", shutdown).await?;
        if !shutdown.is_cancelled() {
            let value = Value::from(now.to_rfc3339());
            if kind == RunKind::Full {
                self.parts.store.note(&full_note(flow), &value).await?;
            }
            self.parts.store.note(&delta_note(flow), &value).await?;
        }
        Ok(())
    }

    /// When a flow fires next as seen at `now`, and what it is then: a full pull is a delta as well. Nothing where it has no
    /// schedule.
    async fn firing(&self, flow: &Flow, now: DateTime<Utc>) -> Result<Option<(DateTime<Utc>, RunKind)>, StoreError> {
        let due = |table: Option<&super::Timetable>, last: Option<DateTime<Utc>>| match (table, last) {
            (None, _) => None,
            (Some(_), None) => Some(now),
            // The clock was set back: to wait for what it showed then may take a day.
            (Some(_), Some(last)) if last > now + SKEW => Some(now),
            (Some(table), Some(last)) => table.next(last),
        };
        let full = due(flow.full.as_ref(), self.fired(&full_note(flow)).await?);
        let delta = due(flow.every.as_ref(), self.fired(&delta_note(flow)).await?);
        let kind = if full.is_some_and(|at| at <= now) { RunKind::Full } else { RunKind::Delta };
        Ok(full.into_iter().chain(delta).min().map(|next| (next, kind)))
    }

    async fn fired(&self, note: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let noted = self.parts.store.noted(note).await?;
        Ok(noted.as_ref().and_then(Value::as_str).and_then(|text| text.parse().ok()))
    }

    /// Brings what is known to what has joined since the daemon last ran; a target that cannot be read is tried again.
    async fn keep_covering(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        const AGAIN: Duration = Duration::from_secs(60);
        while !shutdown.is_cancelled() {
            let failed = Box::pin(cover::cover(&self.parts, None, shutdown)).await?;
            if failed.is_empty() {
                return Ok(());
            }
            for run in failed {
                tracing::warn!(
                    system = run.system,
                    entity = run.entity,
                    error = run.error,
                    "what has joined waits for it"
                );
            }
            self.pause(AGAIN, shutdown).await;
        }
        Ok(())
    }

    /// Carries out what the command line asks for; of several daemons one at a time.
    async fn keep_orders(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        while !shutdown.is_cancelled() {
            if self.parts.store.next_order().await?.is_none()
                || leading(&self.parts, "orders", self.carry_out_orders(shutdown)).await?.is_none()
            {
                self.pause(self.parts.limits.poll * 2, shutdown).await;
            }
        }
        Ok(())
    }

    async fn carry_out_orders(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        while let Some(order) = self.parts.store.next_order().await? {
            match order.scope.parse::<Scope>() {
                Ok(scope) => {
                    for run in self.resync(&scope, shutdown).await? {
                        tracing::info!(scope = %scope, system = run.system, entity = run.entity, error = run.error, "resync");
                    }
                }
                Err(error) => tracing::warn!(%error, "order left out"),
            }
            if shutdown.is_cancelled() {
                // Perhaps cut short: the next start does it again.
                break;
            }
            self.parts.store.close_order(order.id).await?;
        }
        Ok(())
    }

    /// After the clock was set back, nothing waits for what it showed before.
    async fn mind_the_clock(&self) -> Result<(), StoreError> {
        let (parts, now) = (&self.parts, self.parts.env.now());
        let hurried = parts.store.hurry(now + SKEW, now).await?;
        if hurried > 0 {
            tracing::warn!(
                jobs = hurried,
                "the clock was set back: jobs that waited for what it showed then are due now"
            );
            parts.work.notify_waiters();
        }
        for system in parts.systems.keys() {
            let standing = parts.store.standing(system).await?;
            if standing.until.is_some_and(|until| until > now + LONGEST_PAUSE) {
                parts.store.set_standing(system, &Standing { until: None, ..standing }).await?;
            }
        }
        Ok(())
    }

    /// Rules on runs that were cut off, of this daemon's life before or of another's, for which jobs wait.
    async fn keep_ruling(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        while !shutdown.is_cancelled() {
            self.pause(Duration::from_secs(60), shutdown).await;
            self.mind_the_clock().await?;
            brakes::settle_all(&self.parts).await?;
        }
        Ok(())
    }

    /// Says every hour how things are, so that a log in which nothing is said any more says something.
    async fn keep_telling(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        while !shutdown.is_cancelled() {
            self.pause(HEARTBEAT, shutdown).await;
            if shutdown.is_cancelled() || !tracing::enabled!(tracing::Level::INFO) {
                continue;
            }
            let flows: Vec<&Flow> = self.parts.routes.flows().iter().collect();
            let affairs = Affairs::of(&self.parts.store, &flows, false, self.parts.env.now()).await?;
            tracing::info!("{}", affairs.headline());
        }
        Ok(())
    }

    async fn keep_purging(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        const SLICE: u32 = 1000;
        while !shutdown.is_cancelled() {
            let retention = chrono::Duration::from_std(self.parts.limits.retention).unwrap_or(chrono::Duration::MAX);
            let before = self.parts.env.now().checked_sub_signed(retention).unwrap_or(DateTime::<Utc>::MIN_UTC);
            while self.parts.store.purge(before, SLICE).await? > 0 && !shutdown.is_cancelled() {
                self.pause(Duration::from_millis(200), shutdown).await;
            }
            self.pause(Duration::from_secs(3600), shutdown).await;
            // A fuse looks back one hour. Values that a target holds on its own, and answers that could not be read, raise no
            // event when they change, so they are tried again here.
            self.read_what_is_waited_for(shutdown).await?;
            self.look_anew(&[FUSE, UNREAD, UNHELD, FILE, SETUP, UNLISTED]).await?;
        }
        Ok(())
    }

    async fn pause(&self, wait: Duration, shutdown: &CancellationToken) {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = self.parts.env.sleep(wait) => {}
        }
    }
}

fn delta_note(flow: &Flow) -> String {
    format!("fired:{}", flow.name)
}

fn full_note(flow: &Flow) -> String {
    format!("fired-full:{}", flow.name)
}

impl Parts {
    pub(super) fn facts(&self, system: &str, entity: &str) -> Option<&crate::port::Facts> {
        self.systems.get(system).and_then(|endpoint| endpoint.facts(entity))
    }

    pub(super) fn can_list(&self, system: &str, entity: &str) -> bool {
        self.facts(system, entity).is_some_and(|facts| facts.list) && self.mapping(system, entity).is_some()
    }
}

/// A request to a system went well: whatever it was left alone for is over.
pub(super) async fn recovered(parts: &Parts, system: &str) -> Result<(), StoreError> {
    if parts.journal.is_over(&format!("system {system}")) {
        tracing::info!(system, "{system} answers again");
    }
    if parts.store.standing(system).await? != Standing::default() {
        parts.store.set_standing(system, &Standing::default()).await?;
    }
    Ok(())
}

/// A request to a system failed in a way that says something about the system.
pub(super) async fn struck(parts: &Parts, system: &str, failure: &Failure) -> Result<(), StoreError> {
    let before = parts.store.standing(system).await?;
    // Many requests fail at once when a system goes down: only the first of them counts.
    if before.until.is_some_and(|until| until > parts.env.now()) {
        return Ok(());
    }
    if let Some(standing) = outcome::strike(failure, &before, &parts.env) {
        let reason = standing.reason.as_deref().unwrap_or_default();
        if parts.journal.is_new(&format!("system {system}"), reason) {
            tracing::warn!(system, "{system} is left alone for a while: {reason}");
        }
        parts.store.set_standing(system, &standing).await?;
    }
    Ok(())
}
