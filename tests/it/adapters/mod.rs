//! Drivers that need no server of their own kind: databases and folders.

mod files;
pub mod sql;
mod sql_servers;
mod sql_sqlite;
mod values;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use chrono::{DateTime, TimeZone as _, Utc};
use indexmap::IndexMap;
use serde_json::Value;
use vaiven::internals::{
    adapter::{Given, Manifest, SettingValue, World, http},
    env::{Clock, Entropy, Env},
    failure::Failure,
    load::{LoadError, Place, SourceFile},
    port::{Captures, Op, Page, PageToken, Progress, PullRequest, System, Write, logins::InMemory},
    store::JobId,
};

/// A clock that stands still, far enough after any file was written.
#[derive(Debug)]
struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2040, 1, 1, 0, 0, 0).unwrap()
    }

    async fn sleep_until(&self, _: DateTime<Utc>) {}
}

/// A clock that is a minute later whenever somebody looks at it.
#[derive(Debug, Default)]
pub struct Hasty(AtomicI64);

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> DateTime<Utc> {
        Still.now() + chrono::Duration::minutes(self.0.fetch_add(1, Ordering::Relaxed))
    }

    async fn sleep_until(&self, _: DateTime<Utc>) {}
}

#[derive(Debug)]
struct Zeros;

impl Entropy for Zeros {
    fn next_u64(&self) -> u64 {
        0
    }
}

/// A transport nobody may use.
#[derive(Debug)]
struct NoNetwork;

#[async_trait]
impl http::Transport for NoNetwork {
    async fn send(&self, _: http::Request) -> Result<http::Response, http::TransportError> {
        panic!("this adapter must not speak HTTP")
    }
}

/// A system of an adapter's text and plain settings.
pub fn open(adapter: &str, settings: &[(&str, &str)], folder: &Path) -> Result<Arc<dyn System>, LoadError> {
    open_at(Arc::new(Still), adapter, settings, folder)
}

pub fn open_at(
    clock: Arc<dyn Clock>,
    adapter: &str,
    settings: &[(&str, &str)],
    folder: &Path,
) -> Result<Arc<dyn System>, LoadError> {
    let manifest = Manifest::load(SourceFile::new("erp.toml", adapter))?;
    let config = SourceFile::new("vaiven.toml", "");
    let place = Place::start(&config);
    let given: IndexMap<String, Given> = settings
        .iter()
        .map(|(name, value)| {
            let given = Given { value: SettingValue::Plain(Value::from(*value)), place: place.clone() };
            ((*name).to_owned(), given)
        })
        .collect();
    let settings = manifest.check_settings(&given, &place)?;
    let env = Env { clock, entropy: Arc::new(Zeros) };
    let logins = Arc::new(InMemory::default());
    let world = World { env, transport: Arc::new(NoNetwork), folder: folder.to_owned(), logins };
    vaiven::internals::adapter::open("erp", &manifest, &settings, &world)
}

/// Nothing to save: these drivers have no steps outside of a transaction.
pub struct NoProgress;

#[async_trait]
impl Progress for NoProgress {
    async fn save(&self, _: JobId, _: &Captures) -> Result<(), Failure> {
        Ok(())
    }
}

pub async fn page(
    system: &dyn System,
    entity: &str,
    since: Option<&str>,
    page: Option<&PageToken>,
    limit: usize,
) -> Result<Page, Failure> {
    system.pull(&PullRequest { entity, since, page, limit }).await
}

/// All pages as one; receipts are acknowledged as the engine does.
pub async fn pull(system: &dyn System, entity: &str, since: Option<&str>, limit: usize) -> Result<Page, Failure> {
    let mut all = Page::default();
    let mut token = None;
    loop {
        let page = page(system, entity, since, token.as_ref(), limit).await?;
        all.rows.extend(page.rows);
        all.errors.extend(page.errors);
        all.dates.extend(page.dates);
        if let Some(receipt) = page.receipt {
            system.acknowledge(entity, &receipt).await?;
        }
        all.cursor = page.cursor.or(all.cursor);
        all.total = page.total;
        match page.next {
            Some(next) => token = Some(next),
            None => return Ok(all),
        }
    }
}

pub fn ids(page: &Page) -> Vec<&str> {
    page.rows.iter().map(|row| row.id.as_str()).collect()
}

pub fn write(job: i64, op: Op, key: &str, id: Option<&str>, body: Value) -> Write {
    Write {
        job: JobId(job),
        op,
        key: key.to_owned(),
        id: id.map(str::to_owned),
        whole: body.clone(),
        body,
        before: Value::Null,
        desired: Value::Null,
        changed: std::collections::BTreeSet::new(),
        child_ids: std::collections::BTreeMap::new(),
        held: std::collections::BTreeMap::new(),
        dropped: std::collections::BTreeMap::default(),
        yielding: std::collections::BTreeMap::default(),
        done: Captures::new(),
        found: None,
    }
}
