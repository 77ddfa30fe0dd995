//! A configured system with driver `http`, as the engine sees it.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, future::BoxFuture, stream};
use indexmap::IndexMap;
use serde_json::Value;

use super::{
    evaluate::Verb,
    exchange::{Exchange, Requester},
    joins::join,
    pages,
    pull::{self, Rows},
    writing::Writing,
};
use crate::{
    adapter::{
        http::compile::{Call, Compiler, Entity, Lookup, Named, Read, entities, word},
        manifest::{Manifest, Settings, http::HttpAdapter},
        world::World,
    },
    expr::{Scope, text_of},
    failure::{Class, Failure},
    load::{self, LoadError, Place},
    model,
    port::{
        Capabilities, Checked, Op, Outcome, Pace, Page, Probe, Progress, PullRequest, SourceRow, System, ValueList,
        ValuesOf, Write, Written,
    },
};

/// A system that is reached over HTTP.
#[derive(Debug)]
pub struct HttpSystem {
    name: String,
    exchange: Exchange,
    entities: IndexMap<String, (Entity, u64)>,
    /// The harmless write that is refused if the credentials may only read.
    probe: Option<Call>,
}

/// Make a configured system from an adapter with driver `http`.
///
/// # Errors
/// Everything that is wrong in the adapter's file, with its place.
pub fn open(
    name: &str,
    manifest: &Arc<Manifest>,
    settings: &Settings,
    world: &World,
) -> Result<Arc<dyn System>, LoadError> {
    let adapter: HttpAdapter = load::parse(&manifest.file)?;
    let compiler = Compiler::new(manifest, &adapter.http);
    let exchange = Exchange::open(name, &adapter.http, &compiler, settings, world);
    let entities = entities(&adapter, manifest);
    let start = Place::start(&manifest.file);
    let probe = adapter.http.probe.as_ref();
    let probe = probe.map(|spec| Call::compile(spec.request(), &compiler, &compiler.known(&[]), &start)).transpose()?;
    let (exchange, entities) = match (exchange, entities) {
        (Ok(exchange), Ok(entities)) => (exchange, entities),
        (Err(mut one), Err(other)) => {
            one.absorb(other);
            return Err(one);
        }
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let base = settings_fingerprint(manifest, settings);
    let table = manifest.file.text.parse::<toml::Table>().unwrap_or_default();
    let entities = entities
        .into_iter()
        .map(|(name, entity)| {
            let version = version(&adapter, &table, &name, &base);
            (name, (entity, version))
        })
        .collect();
    Ok(Arc::new(HttpSystem { name: name.to_owned(), exchange, entities, probe }))
}

fn settings_fingerprint(manifest: &Manifest, settings: &Settings) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(manifest.name.as_bytes());
    for (name, value) in settings.plains() {
        hasher.update(name.as_bytes());
        crate::model::canonical::hash_into(value, &mut hasher);
    }
    hasher
}

/// Identity of what shapes a row: its id, which rows count, where they come from. How objects are written is not
/// part of it.
fn version(adapter: &HttpAdapter, table: &toml::Table, name: &str, base: &blake3::Hasher) -> u64 {
    let mut hasher = base.clone();
    let entity = table.get("entities").and_then(|entities| entities.get(name));
    for part in ["id", "keep", "list", "read"] {
        if let Some(value) = entity.and_then(|entity| entity.get(part)) {
            hasher.update(part.as_bytes());
            hasher.update(value.to_string().as_bytes());
        }
    }
    hasher.update(format!("{:?}", adapter.http.receive).as_bytes());
    let bytes = hasher.finalize();
    bytes.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl HttpSystem {
    fn entity(&self, name: &str) -> Result<&Entity, Failure> {
        self.entities.get(name).map(|(entity, _)| entity).ok_or_else(|| {
            Failure::new(Class::Fatal, format!("system {}: its adapter knows no entity `{name}`", self.name))
        })
    }

    /// A line of a check, without secrets.
    fn checked<T>(&self, what: impl Into<String>, result: Result<T, Failure>) -> Checked {
        Checked::new(what, result.map_err(|failure| self.exchange.clean(failure)))
    }

    /// Add system and entity to a failure, and remove secrets from it, whatever the origin of its text: here it
    /// leaves the driver.
    fn placed(&self, entity: &str, failure: Failure) -> Failure {
        let mut failure = self.exchange.clean(failure);
        failure.message = format!("{}/{entity}: {}", self.name, failure.message);
        failure
    }

    async fn read_ids(&self, name: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        let entity = self.entity(name)?;
        let Some(read) = &entity.read else {
            return Err(Failure::new(
                Class::Fatal,
                format!("its adapter cannot read {} by id", model::with_article(name)),
            ));
        };
        let entity_name = Value::from(name);
        let scope = self.exchange.scope().with("entity", &entity_name);
        let mut portions: Vec<BoxFuture<'_, Result<Vec<SourceRow>, Failure>>> = Vec::new();
        for chunk in ids.chunks(read.max) {
            portions.push(Box::pin(self.read_portion(entity, read, chunk, &scope)));
        }
        let mut answers = stream::iter(portions).buffered(self.exchange.concurrency);
        let asked: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let mut all = Vec::new();
        while let Some(rows) = answers.next().await {
            // If the system ignores a filter, it returns rows that were not asked for.
            all.extend(rows?.into_iter().filter(|row| asked.contains(row.id.as_str())));
        }
        Ok(all)
    }

    async fn read_portion(
        &self,
        entity: &Entity,
        read: &Read,
        ids: &[String],
        scope: &Scope<'_>,
    ) -> Result<Vec<SourceRow>, Failure> {
        let (many, one) = named(&self.askable(read, ids, scope));
        let scope = scope.child().with("ids", &many).with("id", &one);
        let requester = self.exchange.requester(Verb::Read, &scope);
        let mut rows = match read_rows(read, &requester).await {
            Err(failure) if failure.class == Class::Missing => {
                return absent(failure, read.max == 1 && read.listing.call.addresses(&["id"]));
            }
            // The request was not sent: an object with that id cannot be asked for.
            Err(failure) if failure.class == Class::Rejected && failure.status.is_none() && read.max == 1 => {
                return Ok(Vec::new());
            }
            rows => rows?,
        };
        let refused = join(&read.joins, &mut rows, &requester).await?;
        let mut taken = Rows::new(entity, self.exchange.scope(), Vec::new());
        for (index, row) in rows.into_iter().enumerate() {
            let position = format!("read row {}", index + 1);
            match (refused.get(&index), &read.split) {
                (Some(reason), _) => taken.reject(&row, &position, reason),
                (None, Some(split)) => taken.split(&row, split, &position),
                (None, None) => taken.take(row, position),
            }
        }
        let (rows, errors) = taken.done();
        match errors.into_iter().next() {
            Some(error) => Err(Failure::new(Class::Fatal, format!("{}: {}", error.position, error.reason))),
            None => Ok(rows),
        }
    }

    /// The ids that can be asked for together. An id that cannot be sent must not affect the others.
    fn askable(&self, read: &Read, ids: &[String], scope: &Scope<'_>) -> Vec<String> {
        let can_send = |ids: &[String]| {
            let (many, one) = named(ids);
            let scope = scope.child().with("ids", &many).with("id", &one);
            self.exchange.requester(Verb::Read, &scope).sendable(&read.listing.call).is_ok()
        };
        if ids.len() < 2 || can_send(ids) {
            return ids.to_vec();
        }
        let sendable: Vec<String> = ids.iter().filter(|id| can_send(std::slice::from_ref(*id))).cloned().collect();
        // If none can be sent, the request itself is wrong; sending it gives the failure.
        if sendable.is_empty() { ids.to_vec() } else { sendable }
    }

    async fn look_up(&self, name: &str, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        let entity = self.entity(name)?;
        let Some(find) = &entity.find else {
            return Err(Failure::new(
                Class::Fatal,
                format!("its adapter cannot look {} up", model::with_article(name)),
            ));
        };
        let cursor = entity.list.as_ref().and_then(|list| list.cursor.as_ref()).filter(|cursor| cursor.is_time());
        let since = match cursor {
            Some(cursor) => cursor.since(probe.since),
            None => probe.since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        };
        let (entity_name, since, key) = (Value::from(name), Value::from(since), Value::from(probe.key));
        let scope = self.exchange.scope().with("entity", &entity_name);
        let scope = scope
            .with("key", &key)
            .with("wanted", probe.desired)
            .with("body", probe.body)
            .with("since", &since)
            .with("cursor", &since);
        let requester = self.exchange.requester(Verb::Find, &scope);
        let mut rows = match find.listing.all(&requester).await {
            Err(failure) if failure.class == Class::Missing => {
                absent(failure, find.listing.call.addresses(&["key", "wanted", "body"]))?
            }
            rows => rows?,
        };
        // Joins may provide what the condition needs. If there are none, filter first.
        if find.joins.is_empty() {
            ours(find, &mut rows, &scope)?;
        }
        let refused = join(&find.joins, &mut rows, &requester).await?;
        // It may be the object that is looked for.
        if let Some(reason) = refused.into_values().next() {
            return Err(Failure::new(Class::Rejected, reason));
        }
        let mut taken = Rows::new(entity, self.exchange.scope(), Vec::new());
        if find.split.is_none() {
            ours(find, &mut rows, &scope)?;
        }
        for (index, row) in rows.into_iter().enumerate() {
            let position = format!("find row {}", index + 1);
            match &find.split {
                Some(split) => taken.split(&row, split, &position),
                None => taken.take(row, position),
            }
        }
        let (mut rows, _) = taken.done();
        if find.split.is_some() {
            let mut kept = Vec::new();
            for row in rows {
                let body = row.body.clone().into_value();
                if is_ours(find, &body, &scope)? {
                    kept.push(row);
                }
            }
            rows = kept;
        }
        Ok(rows)
    }

    async fn write_all(&self, name: &str, writes: Vec<Write>, progress: &dyn Progress) -> Vec<Outcome> {
        let entity = match self.entity(name) {
            Ok(entity) => entity,
            Err(failure) => {
                let message = failure.message;
                let refuse = |write: Write| refused(&write, Failure::new(Class::Fatal, message.clone()));
                return writes.into_iter().map(refuse).collect();
            }
        };
        let entity_name = Value::from(name);
        let scope = self.exchange.scope().with("entity", &entity_name);
        let writing = Writing { entity, exchange: &self.exchange, scope: &scope, progress };
        let batched = |op: Op| entity.batch.as_ref().is_some_and(|batch| batch.ops.contains(&op));
        let (many, single): (Vec<Write>, Vec<Write>) = writes.into_iter().partition(|write| batched(write.op));
        let mut outcomes = Vec::new();
        let mut tasks: Vec<BoxFuture<'_, Vec<Outcome>>> = Vec::new();
        if let Some(batch) = &entity.batch {
            let (portions, refused) = batch.portions(many, &scope);
            outcomes.extend(refused);
            for portion in portions {
                tasks.push(Box::pin(batch.send(portion, &writing)));
            }
        }
        for write in single {
            tasks.push(Box::pin(write_one(write, &writing)));
        }
        let mut done = stream::iter(tasks).buffer_unordered(self.exchange.concurrency);
        while let Some(part) = done.next().await {
            outcomes.extend(part);
        }
        outcomes
    }
}

async fn write_one(write: Write, writing: &Writing<'_>) -> Vec<Outcome> {
    let outcome = if let Some(operation) = writing.entity.operations.get(word(write.op)) {
        operation.run(&write, writing).await
    } else {
        let object = model::with_article(&writing.scope.get("entity").and_then(text_of).unwrap_or_default());
        let problem = format!("its adapter cannot {} {object}", word(write.op));
        refused(&write, Failure::new(Class::Fatal, problem))
    };
    vec![outcome]
}

/// The values of a setting, each as text.
fn said(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().filter_map(text_of).collect(),
        Value::Object(members) => members.values().filter_map(text_of).collect(),
        one => text_of(one).into_iter().collect(),
    }
}

fn refused(write: &Write, failure: Failure) -> Outcome {
    Outcome { job: write.job, result: Err(failure), requests: 0 }
}

/// A 404 means that there is no such object only if the address was the object's own. Otherwise the address is
/// wrong, and treating it as "not there" would create everything again.
fn absent<T>(mut failure: Failure, of_object: bool) -> Result<Vec<T>, Failure> {
    if of_object {
        return Ok(Vec::new());
    }
    failure.class = Class::Fatal;
    Err(failure)
}

/// The variables `ids` and `id` of a read.
fn named(ids: &[String]) -> (Value, Value) {
    (Value::from(ids.to_vec()), ids.first().map_or(Value::Null, |id| Value::from(id.as_str())))
}

/// The rows of a read. A single object counts as one row.
async fn read_rows(read: &Read, requester: &Requester<'_>) -> Result<Vec<Value>, Failure> {
    let Requester { verb, scope, .. } = *requester;
    let answer = requester.call(&read.listing.call, None).await?;
    if let Ok(row @ Value::Object(_)) = read.listing.rows.eval(&answer.scope(scope)) {
        return Ok(vec![row]);
    }
    pages::rows(&read.listing.rows, &answer, scope, verb, true)
}

fn is_ours(find: &Lookup, row: &Value, scope: &Scope<'_>) -> Result<bool, Failure> {
    let scope = scope.child().with("row", row);
    find.is_ours
        .eval_bool(&scope)
        .map_err(|error| Failure::new(Class::Fatal, format!("whether a row is ours cannot be told: {error}")))
}

fn ours(find: &Lookup, rows: &mut Vec<Value>, scope: &Scope<'_>) -> Result<(), Failure> {
    let mut kept = Vec::new();
    for row in rows.drain(..) {
        if is_ours(find, &row, scope)? {
            kept.push(row);
        }
    }
    *rows = kept;
    Ok(())
}

#[async_trait]
impl System for HttpSystem {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self, entity: &str) -> Option<&Capabilities> {
        self.entities.get(entity).map(|(entity, _)| &entity.capabilities)
    }

    fn version(&self, entity: &str) -> u64 {
        self.entities.get(entity).map_or(0, |(_, version)| *version)
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure> {
        let name = Value::from(request.entity);
        let page = async {
            let entity = self.entity(request.entity)?;
            let Some(list) = &entity.list else {
                let object = model::with_article(request.entity);
                return Err(Failure::new(Class::Fatal, format!("its adapter cannot list {object}")));
            };
            let scope = self.exchange.scope().with("entity", &name);
            pull::pull(entity, list, request, &self.exchange, &scope).await
        };
        let mut page = page.await.map_err(|failure| self.placed(request.entity, failure))?;
        for error in page.errors.iter_mut().chain(&mut page.dates) {
            error.reason = self.exchange.mask.clean(&error.reason);
        }
        Ok(page)
    }

    async fn acknowledge(&self, _entity: &str, _receipt: &Value) -> Result<(), Failure> {
        Ok(())
    }

    async fn read(&self, entity: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        self.read_ids(entity, ids).await.map_err(|failure| self.placed(entity, failure))
    }

    async fn find(&self, entity: &str, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        self.look_up(entity, probe).await.map_err(|failure| self.placed(entity, failure))
    }

    async fn write(&self, entity: &str, writes: Vec<Write>, progress: &dyn Progress) -> Vec<Outcome> {
        let mut outcomes = self.write_all(entity, writes, progress).await;
        for outcome in &mut outcomes {
            outcome.result = std::mem::replace(&mut outcome.result, Ok(Written::default()))
                .map_err(|failure| self.placed(entity, failure));
        }
        outcomes
    }

    fn value_lists(&self) -> Vec<ValueList> {
        let lists = self.entities.iter().filter_map(|(name, (entity, _))| {
            let of = match entity.values_of.as_ref()? {
                Named::Lookup(lookup) => ValuesOf::Lookup(lookup.clone()),
                Named::Setting(name) => {
                    let said = self.exchange.setting(name).map(said).unwrap_or_default();
                    ValuesOf::Setting { name: name.clone(), said }
                }
            };
            Some(ValueList { entity: name.clone(), of })
        });
        lists.collect()
    }

    fn pace(&self) -> Option<Pace> {
        Some(self.exchange.pace.declared)
    }

    fn requests(&self) -> u64 {
        self.exchange.requests()
    }

    async fn check(&self) -> Vec<Checked> {
        let reach = self.exchange.reach().await;
        let unreachable = reach.is_err();
        let mut lines = vec![self.checked("something answers at the address", reach)];
        if unreachable {
            return lines;
        }
        if let Some(login) = self.exchange.login().await {
            let refused = login.is_err();
            lines.push(self.checked("login", login));
            if refused {
                return lines;
            }
        }
        if let Some((name, _)) = self.entities.iter().find(|(_, (entity, _))| entity.capabilities.list) {
            let request = PullRequest { entity: name, since: None, page: None, limit: 1 };
            lines.push(self.checked(format!("{name} can be listed"), self.pull(&request).await));
        }
        lines
    }

    async fn check_writing(&self, entities: &[&str]) -> Vec<Checked> {
        let Some(probe) = self.probe.as_ref().filter(|_| !entities.is_empty()) else { return Vec::new() };
        let scope = self.exchange.scope();
        let answer = self.exchange.requester(Verb::Update, &scope).call(probe, None).await;
        vec![self.checked("may be written to", answer)]
    }
}
