//! A system and a mapping for the engine's own tests: rows are canonical objects with an id beside them.
//!
//! One file, because the fake system and the fake mapping share their rows.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    env::{Clock, Entropy, Env},
    failure::{Class, Failure},
    mapping::{Externals, Fields, Glimpse, Needs, Pulled, PulledRef, RefBy, Translate},
    model::Shape,
    port::{
        Capabilities, Checked, Find, Op, Outcome, Page, Probe, Progress, PullRequest, RowBody, SourceRow, System,
        Write, Written,
    },
    store::{JobId, RecordId},
    wait_reason::WaitReason,
};

/// What the fake does with the next write.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// Fails without effect.
    Fail(Class, &'static str),
    /// Takes effect, but the answer is lost.
    LostAfter,
    /// Takes effect, the last item of this list twice, since the network repeats the request; the answer is lost.
    LostDoubled(&'static str),
    /// No effect, and no answer.
    LostBefore,
    /// No effect, and never an answer nor an error.
    Hang,
    /// It takes effect, and is answered when it is let go.
    Slow(Arc<Notify>),
    /// So many steps are done and stored, then it takes effect.
    Steps(u32),
    /// One step is done and stored, which makes the object; the next has no effect and never an answer.
    HangAfterStep,
    /// It takes effect, and before the next the process is paused for so many seconds of a clock that stands still.
    Doze(Arc<ManualClock>, i64),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) rows: BTreeMap<String, BTreeMap<String, Value>>,
    pub(super) next: u64,
    pub(super) faults: VecDeque<Fault>,
    pub(super) pull_faults: VecDeque<Failure>,
    /// Mark of a file that the next listing finds.
    pub(super) new_file: Option<&'static str>,
    /// Objects that listings leave out.
    pub(super) unlisted: BTreeSet<String>,
    pub(super) read_faults: VecDeque<Failure>,
    /// Name that somebody gives an object before it is found.
    pub(super) renamed: Option<String>,
    /// Writes that took effect.
    pub(super) written: Vec<(Op, String)>,
    /// What lookups were told was sent.
    pub(super) probed: Vec<Value>,
    /// Reading never answers.
    pub(super) mute: bool,
    /// Listings arrive when they are let go, and show what was there when they were asked for.
    pub(super) late: Option<Arc<Notify>>,
    /// Reading single objects takes until it is let go.
    pub(super) slow: Option<Arc<Notify>>,
    /// The next batch is answered from its end.
    pub(super) crossed: bool,
    /// Requests that never had an answer.
    pub(super) hanging: u32,
    /// How every write fails whose key begins like this; with or without its effect.
    pub(super) poison: Option<Poison>,
    /// How every lookup fails of a key.
    pub(super) unfindable: BTreeMap<&'static str, Class>,
}

pub(super) struct Poison {
    pub(super) keys: &'static str,
    pub(super) failure: fn() -> Failure,
    pub(super) after: bool,
    /// Whether it takes all with it that is written in one go.
    pub(super) whole: bool,
}

pub(super) struct FakeSystem {
    name: String,
    capabilities: Capabilities,
    /// What differs from it, by entity.
    capabilities_of: BTreeMap<String, Capabilities>,
    pub(super) state: Mutex<State>,
    /// What the system makes of a text it is sent.
    alter: Box<dyn Fn(&str) -> String + Send + Sync>,
    /// A field it takes but never shows.
    pub(super) hides: Option<&'static str>,
    /// Its answers to writes do not hold the object as stored.
    terse: bool,
    /// The brand it gives to what is made there.
    brand: Option<&'static str>,
    /// Fields of which it has each value once.
    unique: &'static [&'static str],
}

impl FakeSystem {
    pub(super) fn new(name: &str) -> Self {
        let capabilities = Capabilities {
            list: true,
            complete: true,
            read: true,
            find: Find::ByKey,
            create: true,
            update: true,
            delete: true,
            batch: 10,
            ..Capabilities::default()
        };
        let capabilities_of = BTreeMap::new();
        Self {
            name: name.into(),
            capabilities,
            capabilities_of,
            state: Mutex::default(),
            alter: Box::new(str::to_owned),
            hides: None,
            terse: false,
            brand: None,
            unique: &[],
        }
    }

    pub(super) fn with_capabilities(mut self, change: impl FnOnce(&mut Capabilities)) -> Self {
        change(&mut self.capabilities);
        self
    }

    pub(super) fn terse(mut self) -> Self {
        self.terse = true;
        self
    }

    pub(super) fn branding(mut self, brand: &'static str) -> Self {
        self.brand = Some(brand);
        self
    }

    pub(super) fn unique(mut self, fields: &'static [&'static str]) -> Self {
        self.unique = fields;
        self
    }

    pub(super) fn hiding(mut self, field: &'static str) -> Self {
        self.hides = Some(field);
        self
    }

    pub(super) fn with_capabilities_of(mut self, entity: &str, change: impl FnOnce(&mut Capabilities)) -> Self {
        let mut capabilities = self.capabilities.clone();
        change(&mut capabilities);
        self.capabilities_of.insert(entity.to_owned(), capabilities);
        self
    }

    pub(super) fn altering(mut self, alter: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.alter = Box::new(alter);
        self
    }

    pub(super) fn put(&self, entity: &str, id: &str, row: &Value) {
        let mut row = row.clone();
        row["id"] = id.into();
        self.state.lock().unwrap().rows.entry(entity.into()).or_default().insert(id.into(), row);
    }

    pub(super) fn remove(&self, entity: &str, id: &str) {
        self.state.lock().unwrap().rows.entry(entity.into()).or_default().remove(id);
    }

    pub(super) fn rows(&self, entity: &str) -> Vec<Value> {
        self.state.lock().unwrap().rows.get(entity).map(|rows| rows.values().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn written(&self) -> usize {
        self.state.lock().unwrap().written.len()
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    pub(super) fn renaming_at_find(&self, name: &str) {
        self.state.lock().unwrap().renamed = Some(name.to_owned());
    }

    async fn hang(&self) {
        self.state.lock().unwrap().hanging += 1;
        std::future::pending().await
    }

    /// Returns once a request hangs.
    pub(super) async fn hanging(&self) {
        while self.state.lock().unwrap().hanging == 0 {
            tokio::task::yield_now().await;
        }
    }

    fn altered(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => (self.alter)(text).into(),
            Value::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), self.altered(value))).collect())
            }
            other => other.clone(),
        }
    }

    fn apply(&self, entity: &str, write: &Write) -> Result<(String, Value), Failure> {
        let mut state = self.state.lock().unwrap();
        let id = match &write.id {
            Some(id) => id.clone(),
            None => {
                state.next += 1;
                format!("{}-{}", self.name, state.next)
            }
        };
        let rows = state.rows.entry(entity.into()).or_default();
        for field in self.unique {
            let mut others = rows.iter().filter(|(other, _)| **other != id).map(|(_, row)| row);
            if write.body.get(field).is_some_and(|value| others.any(|row| row.get(field) == Some(value))) {
                return Err(Failure::new(Class::Rejected, format!("the {field} is taken")).with_field(*field));
            }
        }
        state.written.push((write.op, write.key.clone()));
        let rows = state.rows.entry(entity.into()).or_default();
        if write.op == Op::Delete {
            rows.remove(&id);
            return Ok((id, Value::Null));
        }
        if write.op == Op::Update && !rows.contains_key(&id) {
            return Err(Failure::new(Class::Missing, "no such object"));
        }
        if self.capabilities.replaces {
            rows.remove(&id);
        }
        let row = rows.entry(id.clone()).or_insert_with(|| json!({"id": id}));
        for (field, value) in write.body.as_object().unwrap() {
            row[field] = self.altered(value);
        }
        if let (Op::Create, Some(brand)) = (write.op, self.brand) {
            row["brand"] = brand.into();
        }
        let stored = row.clone();
        Ok((id, stored))
    }
}

fn source_row(row: &Value) -> SourceRow {
    let id = row["id"].as_str().unwrap().to_owned();
    SourceRow { position: format!("row {id}"), id, version: None, body: RowBody::Json(row.clone()) }
}

#[async_trait]
impl System for FakeSystem {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self, entity: &str) -> Option<&Capabilities> {
        Some(self.capabilities_of.get(entity).unwrap_or(&self.capabilities))
    }

    fn version(&self, _: &str) -> u64 {
        1
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure> {
        let (mute, fault) = {
            let mut state = self.state.lock().unwrap();
            (state.mute, state.pull_faults.pop_front())
        };
        if mute {
            self.hang().await;
        }
        if let Some(failure) = fault {
            return Err(failure);
        }
        let found = self.state.lock().unwrap().new_file.take();
        let unlisted = self.state.lock().unwrap().unlisted.clone();
        let mut rows: Vec<SourceRow> = self.rows(request.entity).iter().map(source_row).collect();
        rows.retain(|row| !unlisted.contains(&row.id));
        let late = self.state.lock().unwrap().late.take();
        if let Some(late) = late {
            self.state.lock().unwrap().hanging += 1;
            late.notified().await;
        }
        Ok(Page { rows, is_new: found.is_some(), cursor: found.map(str::to_owned), ..Page::default() })
    }

    async fn acknowledge(&self, _: &str, _: &Value) -> Result<(), Failure> {
        Ok(())
    }

    async fn read(&self, entity: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        if self.state.lock().unwrap().mute {
            self.hang().await;
        }
        if let Some(failure) = self.state.lock().unwrap().read_faults.pop_front() {
            return Err(failure);
        }
        let slow = self.state.lock().unwrap().slow.take();
        if let Some(slow) = slow {
            self.state.lock().unwrap().hanging += 1;
            slow.notified().await;
        }
        Ok(self.rows(entity).iter().map(source_row).filter(|row| ids.contains(&row.id)).collect())
    }

    async fn find(&self, entity: &str, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        self.state.lock().unwrap().probed.push(probe.body.clone());
        let key = probe.key;
        if let Some(class) = self.state.lock().unwrap().unfindable.get(key) {
            return Err(Failure::new(*class, "no answer to that"));
        }
        let renamed = self.state.lock().unwrap().renamed.take();
        if let Some(name) = renamed {
            for row in self.state.lock().unwrap().rows.entry(entity.into()).or_default().values_mut() {
                row["name"]["es"] = name.as_str().into();
            }
        }
        let is_it = |row: &&Value| ["code", "sku", "number"].iter().any(|name| row[*name] == *key);
        Ok(self.rows(entity).iter().filter(is_it).map(source_row).collect())
    }

    async fn write(&self, entity: &str, writes: Vec<Write>, progress: &dyn Progress) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let whole = {
            let state = self.state.lock().unwrap();
            let meets =
                |poison: &&Poison| poison.whole && writes.iter().any(|write| write.key.starts_with(poison.keys));
            state.poison.as_ref().filter(meets).map(|poison| poison.failure)
        };
        if let Some(failure) = whole {
            return writes
                .iter()
                .map(|write| Outcome { job: write.job, result: Err(failure()), requests: 1 })
                .collect();
        }
        for write in writes {
            let fault = self.state.lock().unwrap().faults.pop_front();
            let steps = match fault {
                Some(Fault::HangAfterStep) => 1,
                Some(Fault::Steps(steps)) => steps,
                _ => 0,
            };
            let mut done = write.done.clone();
            if matches!(fault, Some(Fault::HangAfterStep)) {
                done.insert("id".into(), self.apply(entity, &write).unwrap().0.into());
            }
            for step in 0..steps {
                done.insert(format!("step:{step}"), json!(1));
                progress.save(write.job, &done).await.unwrap();
            }
            if matches!(fault, Some(Fault::Hang | Fault::HangAfterStep)) {
                self.hang().await;
            }
            let poison = {
                let state = self.state.lock().unwrap();
                let of = |poison: &&Poison| write.key.starts_with(poison.keys);
                state.poison.as_ref().filter(of).map(|poison| ((poison.failure)(), poison.after))
            };
            if let Some((failure, after)) = poison {
                if after {
                    self.apply(entity, &write).unwrap();
                }
                outcomes.push(Outcome { job: write.job, result: Err(failure), requests: 1 });
                continue;
            }
            let result = match &fault {
                // Only its last steps were left, which tell nothing of the object.
                None if write.done.contains_key("id") => {
                    Ok(Written { id: write.done["id"].as_str().unwrap().to_owned(), ..Written::default() })
                }
                // Its object is there: what is left of it tells nothing.
                None if write.found.is_some() => {
                    let id = write.found.as_ref().map(|row| row.id.clone()).unwrap_or_default();
                    Ok(Written { id, ..Written::default() })
                }
                Some(Fault::Fail(class, message)) => Err(Failure::new(*class, *message)),
                Some(Fault::LostBefore | Fault::Hang | Fault::HangAfterStep) => {
                    Err(Failure::new(Class::Unknown, "no answer"))
                }
                Some(Fault::LostAfter) => {
                    self.apply(entity, &write).and(Err(Failure::new(Class::Unknown, "no answer")))
                }
                Some(Fault::LostDoubled(list)) => self.apply(entity, &write).and_then(|(id, _)| {
                    let mut state = self.state.lock().unwrap();
                    let items = state.rows.get_mut(entity).unwrap().get_mut(&id).unwrap()[list].as_array_mut().unwrap();
                    items.extend(items.last().cloned());
                    Err(Failure::new(Class::Unknown, "no answer"))
                }),
                None | Some(Fault::Steps(_) | Fault::Doze(..) | Fault::Slow(_)) => {
                    self.apply(entity, &write).map(|(id, row)| Written {
                        id,
                        stored: (!row.is_null() && !self.terse).then_some(row),
                        ..Written::default()
                    })
                }
            };
            outcomes.push(Outcome { job: write.job, result, requests: 1 });
            if let Some(Fault::Slow(go)) = &fault {
                self.state.lock().unwrap().hanging += 1;
                go.notified().await;
            }
            if let Some(Fault::Doze(clock, seconds)) = fault {
                clock.go_on(seconds);
                tokio::task::yield_now().await;
            }
        }
        if std::mem::take(&mut self.state.lock().unwrap().crossed) {
            let jobs: Vec<JobId> = outcomes.iter().map(|outcome| outcome.job).collect();
            outcomes.reverse();
            outcomes.iter_mut().zip(jobs).for_each(|(outcome, job)| outcome.job = job);
        }
        outcomes
    }

    async fn check(&self) -> Vec<Checked> {
        Vec::new()
    }
}

/// Rows are canonical objects; `parent` and `categories` hold the system's ids.
pub(super) struct FakeMapping {
    fields: BTreeSet<String>,
    reads: BTreeSet<String>,
    shown: BTreeMap<String, Shape>,
    told: BTreeMap<String, Shape>,
    /// Whether the lookup `tax` has a line for IGIC7.
    knows_igic: Arc<AtomicBool>,
    version: u64,
    /// Whether the system gives all its keys itself.
    issues: bool,
    /// What it makes of what it read.
    twist: fn(&mut Fields),
    /// What becomes of a code that the system is sent.
    respelt: Option<fn(&str) -> String>,
}

impl FakeMapping {
    pub(super) fn new(fields: &[&str], knows_igic: &Arc<AtomicBool>) -> Self {
        let fields: BTreeSet<String> = fields.iter().map(|&field| field.to_owned()).collect();
        let told: BTreeMap<String, Shape> = fields.iter().map(|field| (field.clone(), Shape::Whole)).collect();
        let (shown, knows_igic) = (told.clone(), knows_igic.clone());
        Self {
            reads: fields.clone(),
            fields,
            shown,
            told,
            knows_igic,
            version: 1,
            issues: false,
            twist: |_| (),
            respelt: None,
        }
    }

    /// The mapping after somebody has edited it.
    pub(super) fn edited(mut self, version: u64, twist: fn(&mut Fields)) -> Self {
        (self.version, self.twist) = (version, twist);
        self
    }

    /// The mapping of a system that cannot be given another's number.
    pub(super) fn issuing(mut self) -> Self {
        self.issues = true;
        self
    }

    /// The mapping of a system that shows codes its own way.
    pub(super) fn respelling(mut self, respelt: fn(&str) -> String) -> Self {
        self.respelt = Some(respelt);
        self
    }

    pub(super) fn blind_to(mut self, hidden: Option<&str>) -> Self {
        self.reads.retain(|field| Some(field.as_str()) != hidden);
        self.shown.retain(|field, _| Some(field.as_str()) != hidden);
        self
    }

    fn unmapped(&self, object: &Value) -> Result<(), Failure> {
        if object.get("brand").is_none_or(|brand| brand != "IGIC7") || self.knows_igic.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Failure::new(Class::Unmapped, "no line for IGIC7").with_cause(WaitReason::lookup("tax", "IGIC7")))
    }
}

impl Translate for FakeMapping {
    fn version(&self) -> u64 {
        self.version
    }

    fn pull(&self, row: &Value) -> Result<Pulled, Failure> {
        let Some(key) = row.get("code").or(row.get("sku")).or(row.get("number")).and_then(Value::as_str) else {
            return Err(Failure::new(Class::Rejected, "the row has no key"));
        };
        if row["sku"] != "PUSHED" {
            self.unmapped(row)?;
        }
        let mut pulled = Pulled { key: key.to_owned(), ..Pulled::default() };
        // A product is its own variant.
        if let (Some(sku), None, Some(id)) = (row["sku"].as_str(), row.get("code"), row["id"].as_str()) {
            let variants = BTreeMap::from([(sku.to_owned(), Some(id.to_owned()))]);
            pulled.child_ids.insert("variants".to_owned(), variants);
        }
        // Unless its row says what they are.
        if let Some(articles) = row["articles"].as_object() {
            let articles = articles.iter().map(|(key, id)| (key.clone(), id.as_str().map(str::to_owned)));
            pulled.child_ids.insert("variants".to_owned(), articles.collect());
        }
        for field in &self.reads {
            if let Some(value) = row.get(field).filter(|value| !value.is_null()) {
                pulled.fields.insert(field.clone(), value.clone());
            }
        }
        if let Some(parent) = row.get("parent").and_then(Value::as_str) {
            let by = RefBy::Id(parent.to_owned());
            pulled.refs.push(PulledRef { pointer: "/parent".into(), entity: "category".into(), by });
            pulled.fields.insert("parent".into(), json!(0));
        }
        // Documents name the order by its number.
        if let Some(order) = row.get("order").and_then(Value::as_str) {
            let by = RefBy::Key(order.to_owned());
            pulled.refs.push(PulledRef { pointer: "/order".into(), entity: "order".into(), by });
            pulled.fields.insert("order".into(), json!(0));
        }
        (self.twist)(&mut pulled.fields);
        Ok(pulled)
    }

    fn named(&self, row: &Value) -> Option<BTreeSet<String>> {
        let lines = row.get("lines")?.as_array()?;
        Some(lines.iter().filter_map(|line| line["sku"].as_str()).map(str::to_owned).collect())
    }

    fn glimpse(&self, row: &Value) -> Glimpse {
        let key = row.get("code").or(row.get("sku")).or(row.get("number")).and_then(Value::as_str);
        Glimpse { key: key.map(str::to_owned), ..Glimpse::default() }
    }

    fn writes(&self) -> &BTreeSet<String> {
        &self.fields
    }

    fn reads(&self) -> &BTreeSet<String> {
        &self.reads
    }

    fn takes_key(&self) -> bool {
        !self.issues
    }

    fn respells_key(&self) -> bool {
        self.respelt.is_some()
    }

    fn respelt_key(&self, key: &str) -> Option<String> {
        self.respelt.map(|respelt| respelt(key))
    }

    fn read_shapes(&self) -> &BTreeMap<String, Shape> {
        &self.shown
    }

    fn written_shapes(&self) -> &BTreeMap<String, Shape> {
        &self.told
    }

    fn needs(&self, desired: &Fields) -> Needs {
        let records = desired.get("parent").and_then(RecordId::of).map(|record| ("category".to_owned(), record));
        Needs { records: records.into_iter().collect(), ..Needs::default() }
    }

    fn push(&self, desired: &Fields, only: Option<&BTreeSet<String>>, known: &Externals) -> Result<Value, Failure> {
        if desired.get("sku").is_some_and(|sku| sku == "PUSHED") {
            self.unmapped(&Value::Object(desired.clone()))?;
        }
        let mut body = Fields::new();
        for (field, value) in desired.iter().filter(|(field, _)| only.is_none_or(|only| only.contains(*field))) {
            let value = match (field.as_str(), RecordId::of(value)) {
                ("parent", Some(record)) => {
                    let reference = ("category".to_owned(), record);
                    let Some(id) = known.records.get(&reference) else {
                        let key = known.keys.get(&reference).cloned().unwrap_or_default();
                        return Err(Failure::new(Class::Unmapped, "parent not there")
                            .with_cause(WaitReason::missing("category", &key)));
                    };
                    Value::from(id.as_str())
                }
                ("code", _) => value.as_str().map_or(Value::Null, |code| {
                    self.respelt.map_or_else(|| code.to_owned(), |respelt| respelt(code)).into()
                }),
                _ => value.clone(),
            };
            body.insert(field.clone(), value);
        }
        Ok(Value::Object(body))
    }
}

/// A clock that runs a hundred times as fast as the wall's.
#[derive(Debug)]
struct FastClock {
    start: DateTime<Utc>,
    began: std::time::Instant,
}

const PACE: i32 = 100;

/// A clock that goes on only when it is told to.
#[derive(Debug, Default)]
pub(super) struct ManualClock(AtomicI64);

impl ManualClock {
    pub(super) fn at(time: DateTime<Utc>) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(time.timestamp())))
    }

    pub(super) fn go_on(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0.load(Ordering::Relaxed), 0).unwrap()
    }

    async fn sleep_until(&self, until: DateTime<Utc>) {
        while self.now() < until {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
#[expect(clippy::disallowed_methods, reason = "a test's clock stands on a real one")]
impl Clock for FastClock {
    fn now(&self) -> DateTime<Utc> {
        self.start + chrono::Duration::from_std(self.began.elapsed()).unwrap() * PACE
    }

    async fn sleep_until(&self, until: DateTime<Utc>) {
        if let Ok(wait) = ((until - self.now()) / PACE).to_std() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[derive(Debug)]
struct Zero;

impl Entropy for Zero {
    fn next_u64(&self) -> u64 {
        0
    }
}

pub(super) fn env() -> Env {
    env_at("2026-03-01T08:00:00Z")
}

/// An environment whose clock shows this now.
#[expect(clippy::disallowed_methods, reason = "a test's clock stands on a real one")]
pub(super) fn env_at(start: &str) -> Env {
    let clock = FastClock { start: start.parse().unwrap(), began: std::time::Instant::now() };
    Env { clock: Arc::new(clock), entropy: Arc::new(Zero) }
}
