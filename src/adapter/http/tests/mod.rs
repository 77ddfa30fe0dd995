//! Tests of the driver with systems in memory.

mod listing;
mod logins;
mod looking;
mod names;
mod sessions;
pub(super) mod wire;
mod writing;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Request, Response, Transport, TransportError};
use crate::model::percent;
use crate::{
    adapter::{self, Manifest, SettingValue, Settings, World},
    env::{Clock, Entropy, Env},
    failure::Failure,
    ids::JobId,
    load::{LoadError, SourceFile},
    port::{
        Captures, Op, Page, PageToken, Progress, PullRequest, System, Write,
        logins::{InMemory, Logins},
    },
};

type Answer = Result<Response, TransportError>;

/// A system in memory that answers requests and records them.
struct Fake {
    answer: Box<dyn Fn(&Request) -> Answer + Send + Sync>,
    seen: Mutex<Vec<Request>>,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

#[async_trait]
impl Transport for Fake {
    async fn send(&self, request: Request) -> Answer {
        let answer = (self.answer)(&request);
        self.seen.lock().unwrap().push(request);
        // Let others run while this request is under way.
        tokio::task::yield_now().await;
        answer
    }
}

impl Fake {
    fn paths(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|request| format!("{} {}", request.method, request.path())).collect()
    }

    fn count(&self, path: &str) -> usize {
        self.paths().iter().filter(|seen| seen.ends_with(path)).count()
    }
}

/// A clock that moves only for those who wait for it.
#[derive(Debug)]
struct Still(Mutex<DateTime<Utc>>);

#[async_trait]
impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }

    async fn sleep_until(&self, until: DateTime<Utc>) {
        let mut now = self.0.lock().unwrap();
        *now = until.max(*now);
    }
}

#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Entropy for Count {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

const HEAD: &str = r#"
driver = "http"
summary = "A system in memory"
[settings]
url = { kind = "url" }
user = { kind = "text" }
password = { kind = "secret" }
"#;

fn opened(
    toml: &str,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Result<(Arc<dyn System>, Arc<Fake>), LoadError> {
    let settings = [("url", "https://shop.example", false), ("user", "ana", false), ("password", "hush-hush", true)];
    opened_with(&format!("{HEAD}{toml}"), &settings, answer)
}

/// Settings, each with whether it is a secret.
fn opened_with(
    toml: &str,
    settings: &[(&str, &str, bool)],
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Result<(Arc<dyn System>, Arc<Fake>), LoadError> {
    opened_keeping(toml, settings, Arc::new(InMemory::default()), answer)
}

/// Like `opened_with`, with a place to store refresh tokens.
fn opened_keeping(
    toml: &str,
    settings: &[(&str, &str, bool)],
    logins: Arc<dyn Logins>,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Result<(Arc<dyn System>, Arc<Fake>), LoadError> {
    let manifest = Manifest::load(SourceFile::new("memory.toml", toml))?;
    let fake = Arc::new(Fake { answer: Box::new(answer), seen: Mutex::default() });
    let start = DateTime::parse_from_rfc3339("2026-07-01T10:00:00Z").unwrap().to_utc();
    let world = World {
        env: Env { clock: Arc::new(Still(Mutex::new(start))), entropy: Arc::new(Count::default()) },
        transport: fake.clone(),
        folder: std::path::PathBuf::new(),
        logins,
    };
    let value = |text: &str, secret: bool| {
        if secret { SettingValue::Secret(text.to_owned().into()) } else { SettingValue::Plain(text.into()) }
    };
    let settings: Settings =
        settings.iter().map(|(name, text, secret)| ((*name).to_owned(), value(text, *secret))).collect();
    Ok((adapter::open("shop", &manifest, &settings, &world)?, fake))
}

/// A system of an adapter (without its head) whose other side is `answer`.
fn system(toml: &str, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> (Arc<dyn System>, Arc<Fake>) {
    opened(toml, answer).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(toml: &str) -> String {
    opened(toml, |_| Err(TransportError::NotSent("never".into())))
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of an answer")]
fn reply(status: u16, body: &Value) -> Answer {
    Ok(Response {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_string().into(),
    })
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of an answer")]
fn reply_with(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    Ok(Response {
        status,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    })
}

fn query(request: &Request, name: &str) -> Option<String> {
    let (_, query) = request.url.split_once('?')?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(known, _)| percent::decode(known) == name);
    named.next().map(|(_, value)| percent::decode(value))
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

async fn pull(
    system: &dyn System,
    entity: &str,
    since: Option<&str>,
    page: Option<&PageToken>,
) -> Result<Page, Failure> {
    system.pull(&PullRequest { entity, since, page, limit: 100 }).await
}

/// All pages, or the error that ends them. Page tokens are converted to text and back, as the engine may store
/// them.
async fn pull_all(system: &dyn System, entity: &str, since: Option<&str>) -> Result<Vec<Page>, Failure> {
    let mut pages = Vec::new();
    let mut token: Option<PageToken> = None;
    loop {
        let page = pull(system, entity, since, token.as_ref()).await?;
        token = page.next.as_ref().map(|token| serde_json::from_str(&serde_json::to_string(token).unwrap()).unwrap());
        pages.push(page);
        if token.is_none() {
            return Ok(pages);
        }
    }
}

fn ids(pages: &[Page]) -> Vec<&str> {
    pages.iter().flat_map(|page| &page.rows).map(|row| row.id.as_str()).collect()
}

fn write(job: i64, op: Op, body: Value) -> Write {
    Write {
        job: JobId(job),
        op,
        key: format!("K{job}"),
        id: (op != Op::Create).then(|| job.to_string()),
        whole: body.clone(),
        body,
        before: Value::Null,
        desired: json!({}),
        changed: std::collections::BTreeSet::default(),
        child_ids: std::collections::BTreeMap::default(),
        held: std::collections::BTreeMap::default(),
        dropped: std::collections::BTreeMap::default(),
        yielding: std::collections::BTreeMap::default(),
        done: Captures::default(),
        found: None,
    }
}

/// Records what was saved.
#[derive(Default)]
struct Saved(Mutex<Vec<(JobId, Captures)>>);

#[async_trait]
impl Progress for Saved {
    async fn save(&self, job: JobId, done: &Captures) -> Result<(), Failure> {
        self.0.lock().unwrap().push((job, done.clone()));
        Ok(())
    }
}
