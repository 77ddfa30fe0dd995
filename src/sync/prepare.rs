//! From claimed jobs to writes: wanted state, difference, references of the target, the target's own shape.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    MissingPolicy, brakes,
    deliver::{self, Batch},
    detect,
    flight::{self, Ledger},
    guests,
    identity::Standing,
    learn,
    outcome::{self, Tried},
    proven,
    publish::{self, Less},
    pull,
    wanted::{self, Agreed, Says, Side, Wanted},
};
use crate::{
    failure::{Cause, Class, Failure},
    mapping::{Externals, Fields, Needs, Translate},
    port::{Facts, Find, Op, Probe, SourceRow, Write},
    store::{ConflictKind, Delivered, Intent, Job, Merged, Replica, ReplicaWrite, Result, Verdict},
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
    /// Parts of an object that a lookup found: the replica is to know them whatever the answer tells.
    pub(super) adopted: Parts,
    /// Shared fields that nobody has decided on yet: the job waits for that after its write.
    pub(super) conflicts: BTreeSet<String>,
    /// Whether a lookup found more at the target than was sent there.
    pub(super) news: bool,
}

/// List name to part key to the target's id.
type Parts = BTreeMap<String, BTreeMap<String, String>>;

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
    /// The object of a create whose first answer was lost.
    found: Option<SourceRow>,
    /// Parts of an object that a lookup found, which no pull has told of yet.
    parts: Parts,
    /// Shared fields that nobody has decided on yet.
    conflicts: BTreeSet<String>,
    /// Whether a lookup found more at the target than was sent there.
    news: bool,
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
    let mut loaded = Loaded::of(batch, facts, &jobs).await?;
    let unread = orders_first(batch, facts, mapping.as_ref(), &jobs, &mut loaded, stop).await?;
    if fresh_look(batch, facts, mapping.as_ref(), &jobs, &loaded).await? {
        loaded = Loaded::of(batch, facts, &jobs).await?;
    }
    let adopted = deliver::is_adopted(batch.parts, batch.target, batch.entity).await?;

    prepared.kept = jobs.iter().filter_map(|job| Some((job.id, loaded.kept(job.record)?))).collect();
    let mut known = Vec::new();
    let mut newcomers = false;
    for job in jobs {
        if let Some(one) = decide(batch, facts, mapping.as_ref(), job, &loaded, &mut prepared) {
            if let (Some(problem), true) = (&unread, one.rises()) {
                let stopped = stop.is_cancelled();
                let verdict = flight::waits_for_orders(batch.parts, batch.target, &one.job, problem, stopped);
                prepared.settled.push(Delivered::new(&one.job, verdict));
                continue;
            }
            newcomers |= one.op == Op::Create;
            known.push(one);
        }
    }
    if newcomers && !adopted {
        // Nothing is created where nobody has looked yet: what exists would be doubled.
        deliver::adopt(batch.parts, batch.target, batch.entity, stop).await?;
        let now = batch.parts.env.now();
        let (creates, rest): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| one.op == Op::Create);
        known = rest;
        let wait = if deliver::is_adopted(batch.parts, batch.target, batch.entity).await? {
            std::time::Duration::ZERO
        } else {
            outcome::backoff(0, &batch.parts.env)
        };
        prepared.settled.extend(creates.into_iter().map(|one| {
            let verdict = Verdict::Retry {
                at: outcome::later(now, wait),
                burn: false,
                intent: one.job.intent.clone(),
                class: Class::Transient.as_str().to_owned(),
                error: format!(
                    "{} of {} has to be read once before anything is created there",
                    batch.entity, batch.target
                ),
            };
            one.settled(verdict, None)
        }));
    }
    let externals = externals(batch, mapping.as_ref(), &known).await?;
    let known = look_up(batch, facts, mapping.as_ref(), known, &externals, &mut prepared).await?;
    let known = brakes::judge(batch, known, &mut prepared).await?;
    let known = ripened(batch, known, &mut prepared);
    push(batch, facts, mapping.as_ref(), known, &externals, &mut prepared).await?;
    Ok(prepared)
}

/// What jobs would do at their target, as far as that is known without asking it; nothing of it is done.
pub(super) async fn outlook(batch: &Batch<'_>, facts: &Facts, jobs: Vec<Job>) -> Result<Vec<Known>> {
    let Some(mapping) = batch.parts.mapping(batch.target, batch.entity) else { return Ok(Vec::new()) };
    let loaded = Loaded::of(batch, facts, &jobs).await?;
    let mut unused = Prepared::default();
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
            class: Class::Transient.as_str().to_owned(),
            error: "its source no longer has it; it goes here when the flow's grace is over".to_owned(),
        };
        one.settled(verdict, None)
    }));
    ripe
}

/// The parts that a batch of facets lives on.
#[derive(Default)]
struct Hosts {
    /// `product.variants`; absent for entities with a life of their own.
    list: Option<String>,
    /// Field of the facet that names its part: `sku`.
    field: Option<String>,
    /// Part key to the target's id of the part.
    ids: BTreeMap<String, String>,
}

impl Hosts {
    async fn of(batch: &Batch<'_>, facts: &Facts, replicas: &BTreeMap<i64, Vec<Replica>>) -> Result<Self> {
        let Some(list) = facts.facet_of.clone() else { return Ok(Self::default()) };
        let spec = batch.parts.entities.get(batch.entity);
        let field = spec.and_then(|spec| {
            spec.fields.iter().find(|(_, field)| field.part.as_ref() == Some(&list)).map(|(name, _)| name.clone())
        });
        let Some(name) = &field else { return Ok(Self { list: Some(list), field, ids: BTreeMap::new() }) };
        let wanted: BTreeSet<(String, String)> = replicas
            .values()
            .flatten()
            .filter_map(|replica| Some((list.clone(), replica.fields.get(name)?.as_str()?.to_owned())))
            .collect();
        let wanted: Vec<(String, String)> = wanted.into_iter().collect();
        let found = batch.parts.store.parts(batch.target, &wanted).await?;
        let ids = found.into_iter().map(|((_, key), (id, _))| (key, id)).collect();
        Ok(Self { list: Some(list), field, ids })
    }

    /// Key of the part that a facet's record lives on.
    fn part_key<'a>(&self, replicas: &'a [Replica]) -> Option<&'a str> {
        let field = self.field.as_ref()?;
        replicas.iter().find_map(|replica| replica.fields.get(field)?.as_str())
    }
}

/// What the store knows of a batch's records.
struct Loaded {
    replicas: BTreeMap<i64, Vec<Replica>>,
    keys: BTreeMap<i64, (String, String)>,
    hosts: Hosts,
    merged: BTreeMap<i64, Merged>,
    /// Shared fields in conflict at the target.
    conflicts: BTreeMap<i64, BTreeSet<String>>,
    stock: Stock,
    standing: Standing,
}

/// What is taken off a source's stock, for batches of it.
#[derive(Default)]
struct Stock {
    /// Nothing where the target's orders are not minded.
    ledger: Option<Ledger>,
    held: BTreeMap<i64, Decimal>,
    increments: BTreeMap<String, Decimal>,
}

impl Stock {
    async fn of(batch: &Batch<'_>, keys: &BTreeMap<i64, (String, String)>) -> Result<Self> {
        if batch.entity != flight::STOCK {
            return Ok(Self::default());
        }
        let ledger = Ledger::of(batch.parts, batch.target).await?;
        let held = if ledger.is_some() { batch.parts.store.held(batch.target).await? } else { BTreeMap::new() };
        let skus = keys.values().map(|(_, sku)| sku.as_str()).collect();
        Ok(Self { ledger, held, increments: flight::increments(batch.parts, batch.target, &skus).await? })
    }

    fn less(&self, flow: &super::Flow, sku: &str) -> Less {
        let in_flight = self.ledger.as_ref().map_or(Decimal::ZERO, |ledger| ledger.for_flow(&flow.name, sku));
        Less { in_flight, increment: self.increments.get(sku).copied() }
    }
}

impl Loaded {
    async fn of(batch: &Batch<'_>, facts: &Facts, jobs: &[Job]) -> Result<Self> {
        let store = &batch.parts.store;
        let records: Vec<i64> = jobs.iter().map(|job| job.record).collect();
        let mut replicas: BTreeMap<i64, Vec<Replica>> = BTreeMap::new();
        for replica in store.replicas_of(&records).await? {
            if replica.entity == batch.entity {
                replicas.entry(replica.record).or_default().push(replica);
            }
        }
        let keys = store.keys(&records).await?;
        let hosts = Hosts::of(batch, facts, &replicas).await?;
        let (mut merged, mut conflicts) = (BTreeMap::new(), BTreeMap::<i64, BTreeSet<String>>::new());
        if batch.parts.routes.shared(batch.entity).is_some() {
            merged = store.merged(&records).await?;
            for conflict in store.conflicts_of(&records).await? {
                if conflict.system == batch.target && conflict.kind == ConflictKind::Conflict {
                    conflicts.entry(conflict.record).or_default().insert(conflict.field);
                }
            }
        }
        let stock = Stock::of(batch, &keys).await?;
        let standing = Standing::of(batch.parts, batch.target, batch.entity, &records, &replicas).await?;
        Ok(Self { replicas, keys, hosts, merged, conflicts, stock, standing })
    }

    fn key(&self, record: i64) -> &str {
        self.keys.get(&record).map_or("", |(_, key)| key)
    }

    /// What is to be kept back of an article from now on, where that is not what was: the target has sold meanwhile, or
    /// taken back what it had sold, so that nobody knows what it shows.
    fn kept(&self, record: i64) -> Option<(i64, Decimal)> {
        let now = self.stock.ledger.as_ref()?.most(self.key(record));
        let before = self.stock.held.get(&record).copied().unwrap_or_default();
        (now != before).then_some((record, now))
    }

    fn replicas(&self, record: i64) -> &[Replica] {
        self.replicas.get(&record).map_or(&[], Vec::as_slice)
    }
}

/// Before a shared field is written the target's own objects are read, in bulk: an edit that no pull has seen yet is merged
/// (or becomes a conflict) instead of being written over. True when something had changed there.
async fn fresh_look(
    batch: &Batch<'_>,
    facts: &Facts,
    mapping: &dyn Translate,
    jobs: &[Job],
    loaded: &Loaded,
) -> Result<bool> {
    let Some(shared) = batch.parts.routes.shared(batch.entity).filter(|_| facts.read) else { return Ok(false) };
    let mut unused = Prepared::default();
    let ids: Vec<String> = jobs
        .iter()
        .filter_map(|job| decide(batch, facts, mapping, job.clone(), loaded, &mut unused))
        .filter(|one| one.op == Op::Update && !one.changed.is_disjoint(shared))
        .filter_map(|one| one.here.map(|here| here.id))
        .collect();
    if ids.is_empty() {
        return Ok(false);
    }
    // Where it cannot be read now it could not be written either: the write will tell.
    pull::look_again(batch.parts, batch.target, batch.entity, &ids).await
}

/// Before stock is written that can be sold, the target's orders are read: what nobody has seen yet is then in flight. Gives
/// what stood in the way; the figures that the target itself shows are read then, so that a rise is seen as one.
async fn orders_first(
    batch: &Batch<'_>,
    facts: &Facts,
    mapping: &dyn Translate,
    jobs: &[Job],
    loaded: &mut Loaded,
    stop: &CancellationToken,
) -> Result<Option<String>> {
    if loaded.stock.ledger.is_none() {
        return Ok(None);
    }
    let offered = |loaded: &Loaded| -> Vec<Option<String>> {
        let mut unused = Prepared::default();
        jobs.iter()
            .filter_map(|job| decide(batch, facts, mapping, job.clone(), loaded, &mut unused))
            .filter(Known::offers)
            .map(|one| one.here.filter(|_| one.op == Op::Update).map(|here| here.id))
            .collect()
    };
    if offered(loaded).is_empty() {
        return Ok(None);
    }
    let unread = flight::read_orders(batch.parts, batch.target, stop).await?;
    *loaded = Loaded::of(batch, facts, jobs).await?;
    if unread.is_some() && facts.read {
        let ids: Vec<String> = offered(loaded).into_iter().flatten().collect();
        if !ids.is_empty() && pull::look_again(batch.parts, batch.target, batch.entity, &ids).await? {
            *loaded = Loaded::of(batch, facts, jobs).await?;
        }
    }
    Ok(unread)
}

fn decide(
    batch: &Batch<'_>,
    facts: &Facts,
    mapping: &dyn Translate,
    job: Job,
    loaded: &Loaded,
    prepared: &mut Prepared,
) -> Option<Known> {
    let parts = batch.parts;
    let key = loaded.key(job.record).to_owned();
    let (replicas, hosts) = (loaded.replicas(job.record), &loaded.hosts);
    let conflicts = loaded.conflicts.get(&job.record);
    if loaded.standing.is_settled(job.record, batch.target) {
        done(prepared, &job);
        return None;
    }
    let silent = loaded.standing.speaking(job.record, batch.target, replicas);
    let replicas = silent.as_deref().unwrap_or(replicas);
    let wanted = match wanted_of(batch, mapping, loaded, job.record, replicas) {
        Ok(wanted) => wanted,
        Err(failure) => {
            settle(prepared, batch, &job, &failure);
            return None;
        }
    };
    let mut here = replicas.iter().find(|replica| replica.system == batch.target && replica.gone_at.is_none()).cloned();
    // The system does not know whom an order of its own has made.
    if here.as_ref().is_some_and(|here| guests::is_made(&here.id)) {
        done(prepared, &job);
        return None;
    }
    let was_there =
        here.is_none() && replicas.iter().any(|replica| replica.system == batch.target && replica.gone_at.is_some());
    if was_there && matches!(wanted, Wanted::Fields(_)) && learn::missing_policy(batch) == MissingPolicy::Unlink {
        let failure = Failure::new(
            Class::Rejected,
            format!(
                "{} no longer has it, and a {} is not created a second time (on_missing)",
                batch.target, batch.entity
            ),
        );
        settle(prepared, batch, &job, &failure);
        return None;
    }
    if let (None, Some(list)) = (&here, &hosts.list)
        && let Wanted::Fields(_) = wanted
    {
        let part = hosts.part_key(replicas).unwrap_or(&key);
        let Some(id) = hosts.ids.get(part) else {
            let failure = Failure::new(Class::Unmapped, format!("{} does not have {part} yet", batch.target))
                .with_cause(Cause::missing(list, part));
            settle(prepared, batch, &job, &failure);
            return None;
        };
        here = Some(Replica {
            system: batch.target.to_owned(),
            entity: batch.entity.to_owned(),
            record: job.record,
            id: id.clone(),
            fields: Fields::new(),
            sent: Fields::new(),
            version: None,
            print: None,
            gone_at: None,
            written: 0,
        });
    }
    let gone_key = parts.entities.get(batch.entity).map_or("", |spec| spec.key.as_str());
    let (wanted, op) = match wanted {
        Wanted::Nothing => {
            match loaded.standing.silenced(job.record, batch.entity, &key).filter(|_| silent.is_some()) {
                Some(failure) => settle(prepared, batch, &job, &failure),
                None => done(prepared, &job),
            }
            return None;
        }
        // Its deletion was rejected: an object without its key is one that is gone.
        Wanted::Gone if here.as_ref().is_some_and(|here| here.sent.get(gone_key) == Some(&Value::Null)) => {
            done(prepared, &job);
            return None;
        }
        Wanted::Gone => (Fields::new(), Op::Delete),
        // A pull may have met the object of a create that broke off in the middle: its other steps are still to do.
        Wanted::Fields(fields) if here.is_some() && !(facts.steps && begun(&job)) => (fields, Op::Update),
        Wanted::Fields(fields) => (fields, Op::Create),
    };
    let made_before = op == Op::Update && begun(&job) && !facts.update;
    if let (true, Some(here)) = (made_before, &mut here) {
        assume_unseen(here, &wanted, mapping.reads());
    }
    let forgotten = op == Op::Update && here.as_mut().is_some_and(|here| wanted::forget(&wanted, gone_key, here));
    let mut changed = if op == Op::Delete { BTreeSet::new() } else { wanted::difference(&wanted, here.as_ref()) };
    if op == Op::Update && loaded.kept(job.record).is_some() {
        let figures = wanted.iter().filter(|(field, value)| publish::is_figure(field) && !value.is_null());
        changed.extend(figures.map(|(field, _)| field.clone()));
    }
    if let (true, true, Some(here)) = (made_before, changed.is_empty(), &here) {
        prepared.settled.push(taken_on(&job, here, &Parts::new(), false));
        return None;
    }
    let conflicts = conflicts.cloned().unwrap_or_default();
    let ripe = wanted::ripe(&parts.routes, batch.entity, batch.target, replicas);
    let known =
        Known { job, key, here, wanted, op, changed, ripe, found: None, parts: Parts::new(), conflicts, news: false };
    if op == Op::Update && known.changed.is_empty() {
        prepared.settled.push(known.nothing_left(forgotten));
        return None;
    }
    let (record, standing) = (known.job.record, &loaded.standing);
    let paused = standing.paused(record, batch.entity, &known.key, batch.target);
    // What was begun is looked for first.
    let doubtful = || {
        let doubt = standing.doubtful(record, batch.entity, &known.key, batch.target);
        doubt.filter(|_| op != Op::Delete && !begun(&known.job))
    };
    if let Some(why) = paused.or_else(doubtful) {
        settle(prepared, batch, &known.job, &why);
        return None;
    }
    let able = match op {
        Op::Create => facts.create,
        Op::Update => facts.update,
        Op::Delete => facts.delete,
    };
    if !able {
        settle(prepared, batch, &known.job, &unable(batch, op));
        return None;
    }
    if let Err(failure) = proven::prove(parts, batch.entity, batch.target, &known.key, replicas, &known.changed, op) {
        settle(prepared, batch, &known.job, &failure);
        return None;
    }
    Some(known)
}

/// What the target should be by these replicas of the record.
fn wanted_of(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    loaded: &Loaded,
    record: i64,
    replicas: &[Replica],
) -> std::result::Result<Wanted, Failure> {
    let parts = batch.parts;
    let has_active = parts.entities.get(batch.entity).is_some_and(|spec| spec.fields.contains_key("active"));
    let reads = |system: &str| parts.mapping(system, batch.entity).map(|mapping| mapping.reads().clone());
    wanted::wanted(
        &parts.routes,
        batch.entity,
        batch.target,
        replicas,
        &reads,
        Side { writes: mapping.writes(), has_active },
        Agreed { merged: loaded.merged.get(&record), conflicts: loaded.conflicts.get(&record) },
        Says {
            admits: &|flow, fields| parts.admits(flow, batch.entity, fields),
            published: &|flow, fields| match batch.entity {
                flight::STOCK => parts.published(flow, fields, loaded.stock.less(flow, loaded.key(record))).map(Some),
                _ => Ok(None),
            },
        },
    )
}

/// A job with what is known of its record, for deliveries that are not about what is wanted.
pub(super) struct View {
    pub(super) job: Job,
    pub(super) key: String,
    pub(super) here: Option<Replica>,
    /// What the target should be by its sources.
    pub(super) wanted: std::result::Result<Wanted, Failure>,
    /// Shared fields that nobody has decided on yet.
    pub(super) conflicts: BTreeSet<String>,
    /// Why nothing may be written about it, whatever it is.
    pub(super) barred: Option<&'static str>,
}

pub(super) async fn views(
    batch: &Batch<'_>,
    facts: &Facts,
    mapping: &dyn Translate,
    jobs: Vec<Job>,
) -> Result<Vec<View>> {
    let loaded = Loaded::of(batch, facts, &jobs).await?;
    let view = |job: Job| {
        let replicas = loaded.replicas(job.record);
        let silent = loaded.standing.speaking(job.record, batch.target, replicas);
        View {
            key: loaded.key(job.record).to_owned(),
            here: replicas.iter().find(|one| one.system == batch.target && one.gone_at.is_none()).cloned(),
            wanted: wanted_of(batch, mapping, &loaded, job.record, silent.as_deref().unwrap_or(replicas)),
            conflicts: loaded.conflicts.get(&job.record).cloned().unwrap_or_default(),
            barred: loaded.standing.barred(job.record, batch.target),
            job,
        }
    };
    Ok(jobs.into_iter().map(view).collect())
}

/// Writes that set these fields of existing objects, or delete them where there are none; made ready as any other.
pub(super) async fn set(
    batch: &Batch<'_>,
    facts: &Facts,
    mapping: &dyn Translate,
    views: Vec<(View, Fields)>,
) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let mut known = Vec::with_capacity(views.len());
    for (view, fields) in views {
        let op = if fields.is_empty() { Op::Delete } else { Op::Update };
        if !(if op == Op::Delete { facts.delete } else { facts.update }) {
            settle(&mut prepared, batch, &view.job, &unable(batch, op));
            continue;
        }
        known.push(Known {
            job: view.job,
            key: view.key,
            here: view.here,
            changed: fields.keys().cloned().collect(),
            wanted: fields,
            op,
            ripe: None,
            found: None,
            parts: Parts::new(),
            conflicts: BTreeSet::new(),
            news: false,
        });
    }
    let externals = externals(batch, mapping, &known).await?;
    push(batch, facts, mapping, known, &externals, &mut prepared).await?;
    Ok(prepared)
}

fn unable(batch: &Batch<'_>, op: Op) -> Failure {
    let text = format!("the adapter of {} cannot {} a {}", batch.target, name(op), batch.entity);
    Failure::new(Class::Rejected, text)
}

/// Of an object that a create without answer has made, what the target never shows is taken for arrived, where it could not
/// be written a second time anyway.
fn assume_unseen(here: &mut Replica, wanted: &Fields, reads: &BTreeSet<String>) {
    for (field, value) in wanted.iter().filter(|(field, value)| !reads.contains(*field) && !value.is_null()) {
        here.fields.insert(field.clone(), value.clone());
    }
}

/// Whether a create of this job was sent and not seen to end.
fn begun(job: &Job) -> bool {
    job.intent.as_ref().is_some_and(|intent| intent.op == Op::Create)
}

fn name(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
    }
}

/// Creates whose answer was lost: the object is looked for first, and taken on if it is there.
async fn look_up(
    batch: &Batch<'_>,
    facts: &Facts,
    mapping: &dyn Translate,
    known: Vec<Known>,
    externals: &Externals,
    prepared: &mut Prepared,
) -> Result<Vec<Known>> {
    let mut kept = Vec::with_capacity(known.len());
    for mut one in known {
        let begun = one.job.intent.clone().filter(|intent| intent.op == one.op && !intent.done.is_empty());
        if let Some(intent) = begun
            && let at = outcome::later(intent.at, batch.settle)
            && at > batch.parts.env.now()
        {
            // The step after the last one that was stored may still be under way: what its target shows, or a repetition, would prove nothing.
            let why = "it broke off between two steps; it goes on when the one under way must have ended";
            prepared.settled.push(wait_until(&one.job, at, intent, why));
            continue;
        }
        let lost = one.op == Op::Create
            && one.job.intent.as_ref().is_some_and(|intent| intent.op == Op::Create && intent.done.is_empty());
        let Some(intent) = one.job.intent.clone().filter(|_| lost) else {
            kept.push(one);
            continue;
        };
        let now = batch.parts.env.now();
        let settled = outcome::later(intent.at, batch.settle);
        if settled > now {
            // The target may still be carrying the request out; a lookup would prove nothing yet.
            prepared.settled.push(wait_until(
                &one.job,
                settled,
                intent,
                "its creation had no answer; it is looked up when it must have ended",
            ));
            continue;
        }
        if facts.find == Find::None {
            let failure = Failure::new(
                Class::Rejected,
                format!(
                    "the creation of this {} had no answer, and the adapter of {} cannot look it up; check there, then retry or discard",
                    batch.entity, batch.target
                ),
            );
            settle(prepared, batch, &one.job, &failure);
            continue;
        }
        // Adapters look for what was sent: a slug, an address, an id of the target.
        let body = match mapping.push(&one.wanted, None, externals) {
            Ok(body) => body,
            Err(failure) => {
                settle(prepared, batch, &one.job, &failure);
                continue;
            }
        };
        let wanted = Value::Object(one.wanted.clone());
        let probe = Probe { key: &one.key, since: intent.at, body: &body, wanted: &wanted };
        match batch.system.find(batch.entity, &probe).await {
            Ok(mut rows) if rows.len() <= 1 => {
                if let Some(row) = rows.pop() {
                    if facts.steps {
                        one.found = Some(row);
                        kept.push(one);
                        continue;
                    }
                    match adopt_row(batch, mapping, &one, row).await? {
                        Ok((mut replica, parts)) => {
                            if !facts.update {
                                assume_unseen(&mut replica, &one.wanted, mapping.reads());
                            }
                            if learn::is_told(batch) {
                                let sent = |field: &str| one.wanted.contains_key(field);
                                one.news = learn::leave_news(&mut replica.fields, &Fields::new(), sent);
                                replica.version = replica.version.filter(|_| !one.news);
                            }
                            one.parts = parts;
                            one.changed = wanted::difference(&one.wanted, Some(&replica));
                            one.op = Op::Update;
                            one.here = Some(replica);
                        }
                        Err(failure) => {
                            settle(prepared, batch, &one.job, &failure);
                            continue;
                        }
                    }
                    if let (true, Some(here)) = (one.changed.is_empty(), &one.here) {
                        prepared.settled.push(taken_on(&one.job, here, &one.parts, one.news));
                        continue;
                    }
                    if !facts.update {
                        settle(prepared, batch, &one.job, &unable(batch, Op::Update));
                        continue;
                    }
                }
                kept.push(one);
            }
            Ok(rows) => {
                let failure = Failure::new(
                    Class::Rejected,
                    format!(
                        "{} has {} objects for key {}; make them one, then retry",
                        batch.target,
                        rows.len(),
                        one.key
                    ),
                );
                settle(prepared, batch, &one.job, &failure);
            }
            Err(failure) => {
                let tried = Tried { attempts: one.job.attempts, intent: Some(intent), settle: batch.settle };
                let verdict = outcome::verdict(&failure, &tried, &batch.parts.env);
                super::engine::struck(batch.parts, batch.target, &failure).await?;
                prepared.settled.push(Delivered::new(&one.job, verdict));
            }
        }
    }
    Ok(kept)
}

async fn adopt_row(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    one: &Known,
    row: SourceRow,
) -> Result<std::result::Result<(Replica, Parts), Failure>> {
    let (id, version) = (row.id.clone(), row.version.clone());
    let mut pulled = match mapping.pull(&row.body.into_value()) {
        Ok(pulled) => pulled,
        Err(failure) => return Ok(Err(failure)),
    };
    if let Err(failure) = batch.parts.validate(batch.entity, &mut pulled.fields) {
        return Ok(Err(failure));
    }
    detect::resolve(batch.parts, batch.target, &mut [&mut pulled]).await?;
    let replica = Replica {
        system: batch.target.to_owned(),
        entity: batch.entity.to_owned(),
        record: one.job.record,
        id,
        fields: pulled.fields,
        sent: Fields::new(),
        version,
        print: None,
        gone_at: None,
        written: 0,
    };
    Ok(Ok((replica, pulled.parts)))
}

/// The object of a create without answer is there just as wanted.
fn taken_on(job: &Job, here: &Replica, parts: &Parts, news: bool) -> Delivered {
    let replica = ReplicaWrite {
        record: here.record,
        id: here.id.clone(),
        fields: here.fields.clone(),
        sent: here.sent.clone(),
        version: here.version.clone(),
        print: None,
        parts: (!parts.is_empty()).then(|| parts.clone()),
        matches: Vec::new(),
        gone: false,
    };
    Delivered { replica: Some(replica), news, ..Delivered::new(job, Verdict::Done { noop: false }) }
}

/// Turns wanted objects into the target's shape.
async fn push(
    batch: &Batch<'_>,
    facts: &Facts,
    mapping: &dyn Translate,
    known: Vec<Known>,
    externals: &Externals,
    prepared: &mut Prepared,
) -> Result<()> {
    let records: Vec<i64> = known.iter().filter(|one| one.here.is_some()).map(|one| one.job.record).collect();
    let mut parts_there = batch.parts.store.parts_of(batch.target, &records).await?;
    for one in known {
        let only = (one.op == Op::Update && !facts.replaces).then_some(&one.changed);
        let mut fields = one.whole();
        let pushed = if one.op == Op::Delete {
            fields = Fields::new();
            Ok((Value::Null, Value::Null))
        } else {
            let mut whole = mapping.push(&fields, None, externals);
            if whole.is_err() && only.is_some() {
                // What the target holds besides may refer to something it lost; that must not keep it from what is wanted.
                fields.clone_from(&one.wanted);
                whole = mapping.push(&fields, None, externals);
            }
            whole.and_then(|whole| {
                Ok((if only.is_some() { mapping.push(&fields, only, externals)? } else { whole.clone() }, whole))
            })
        };
        let (body, whole) = match pushed {
            Ok(pushed) => pushed,
            Err(failure) => {
                settle(prepared, batch, &one.job, &failure);
                continue;
            }
        };
        let done = one
            .job
            .intent
            .as_ref()
            .filter(|intent| intent.op == one.op)
            .map(|intent| intent.done.clone())
            .unwrap_or_default();
        let write = Write {
            job: one.job.id,
            op: one.op,
            key: one.key,
            id: one.here.as_ref().filter(|_| one.op != Op::Create).map(|replica| replica.id.clone()),
            body,
            whole,
            before: one.here.as_ref().map_or(Value::Null, |replica| Value::Object(replica.fields.clone())),
            wanted: Value::Object(fields),
            changed: one.changed.clone(),
            parts: parts_there.remove(&one.job.record).unwrap_or_else(|| one.parts.clone()),
            done,
            found: one.found,
        };
        prepared.tasks.push(Task {
            intent: one.job.intent.clone(),
            job: one.job,
            replica: one.here,
            changed: one.changed,
            wanted: one.wanted,
            write,
            adopted: one.parts,
            conflicts: one.conflicts,
            news: one.news,
        });
    }
    Ok(())
}

/// The target's ids of all that the objects refer to.
async fn externals(batch: &Batch<'_>, mapping: &dyn Translate, known: &[Known]) -> Result<Externals> {
    let needs = known.iter().fold(Needs::default(), |mut all, one| {
        let needs = mapping.needs(&one.whole());
        all.records.extend(needs.records);
        all.parts.extend(needs.parts);
        all
    });
    let records: Vec<i64> = needs.records.iter().map(|(_, record)| *record).collect();
    let parts: Vec<(String, String)> = needs.parts.iter().cloned().collect();
    let mut externals = Externals::default();
    if !records.is_empty() {
        let ids = batch.parts.store.externals(batch.target, &records).await?;
        let keys = batch.parts.store.keys(&records).await?;
        for (entity, record) in &needs.records {
            if let Some(id) = ids.get(record) {
                externals.records.insert((entity.clone(), *record), id.clone());
            }
            if let Some((_, key)) = keys.get(record) {
                externals.keys.insert((entity.clone(), *record), key.clone());
            }
        }
    }
    if !parts.is_empty() {
        for (part, (id, _)) in batch.parts.store.parts(batch.target, &parts).await? {
            externals.parts.insert(part, id);
        }
    }
    Ok(externals)
}

fn settle(prepared: &mut Prepared, batch: &Batch<'_>, job: &Job, failure: &Failure) {
    let tried = Tried { attempts: job.attempts, intent: job.intent.clone(), settle: batch.settle };
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

fn wait_until(job: &Job, at: chrono::DateTime<chrono::Utc>, intent: Intent, why: &str) -> Delivered {
    let verdict = Verdict::Retry {
        at,
        burn: false,
        intent: Some(intent),
        class: Class::Unknown.as_str().to_owned(),
        error: why.to_owned(),
    };
    Delivered::new(job, verdict)
}
