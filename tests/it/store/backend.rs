//! A fresh store per test, and rows to put into it.

use std::{
    io::Write as _,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use vaiven::internals::{
    mapping::Fields,
    store::{
        self, Claim, Delivered, Identified, Job, NewChange, NewJob, NewRun, PageCommit, RecordId, ReplicaWrite,
        RunKind, SharedStore, Turn, Unidentified, Verdict,
    },
};

pub const LEASE: Duration = Duration::from_mins(1);

/// A database of its own for one test.
pub struct Backend {
    pub store: SharedStore,
    pub url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Backend {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("state/vaiven.db").display());
        Self { store: store::open(&url).await.unwrap(), url, _folder: Some(folder) }
    }

    pub async fn postgres() -> Option<Self> {
        let url = postgres_schema().await?;
        Some(Self { store: store::open(&url).await.unwrap(), url, _folder: None })
    }

    /// Another process' view of the same database.
    pub async fn second(&self) -> SharedStore {
        store::open(&self.url).await.unwrap()
    }
}

/// The URL of an empty schema of its own in the database `VAIVEN_TEST_PG` names; without it this half is told to be
/// missing.
pub async fn postgres_schema() -> Option<String> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    static PRINTED: Once = Once::new();
    let Ok(url) = std::env::var("VAIVEN_TEST_PG") else {
        PRINTED.call_once(|| {
            // Not by eprintln!, which the test harness swallows.
            let line =
                "\nNOT RUN: the PostgreSQL half of the store's tests (set VAIVEN_TEST_PG to the URL of a database)\n";
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        });
        return None;
    };
    let schema = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    connection.execute(AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"))).await.unwrap();
    connection.execute(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).await.unwrap();
    connection.close().await.unwrap();
    let mark = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{mark}options=-csearch_path%3D{schema}");
    Some(url)
}

/// Runs each promise against both databases.
macro_rules! promises {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::store::backend::Backend::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(backend) = $crate::store::backend::Backend::postgres().await {
                    super::$name(backend).await;
                }
            })+
        }
    };
}
pub(crate) use promises;

/// A time of the tests' own.
pub fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(second)
}

pub fn fields(name: &str) -> Fields {
    json!({ "name": name, "price": "12.50" }).as_object().unwrap().clone()
}

pub fn replica(record: RecordId, id: &str, name: &str) -> ReplicaWrite {
    ReplicaWrite {
        record,
        id: id.into(),
        fields: fields(name),
        sent: Fields::new(),
        version: None,
        fingerprint: Some([7; 16]),
        child_ids: None,
        matches: Vec::new(),
        gone: false,
    }
}

pub fn job(target: &str, record: RecordId) -> NewJob {
    NewJob { target: target.into(), entity: "product".into(), record, priority: 5, due: None }
}

pub fn change(record: RecordId, name: &str) -> NewChange {
    NewChange { record, op: store::ChangeOp::Create, fields: fields(name) }
}

pub fn done(job: &Job) -> Delivered {
    ends(job, Verdict::Done { noop: true })
}

pub fn ends(job: &Job, verdict: Verdict) -> Delivered {
    Delivered::new(job, verdict)
}

pub fn parked(cause: &str) -> Verdict {
    Verdict::Parked { cause: cause.to_owned().into(), error: "waits".into() }
}

/// An empty page of products at `system`.
pub async fn page(store: &SharedStore, system: &str) -> PageCommit {
    let run = store.begin_run(NewRun::new(system, "product", RunKind::Full, "test"), at(0)).await.unwrap();
    PageCommit { run, system: system.into(), entity: "product".into(), ..PageCommit::default() }
}

/// A row of this id and key, with nothing else to recognise it by.
pub fn row(id: &str, key: &str) -> Unidentified {
    Unidentified { id: id.into(), key: key.into(), ..Unidentified::default() }
}

pub async fn identify(store: &SharedStore, system: &str, id: &str, key: &str) -> Identified {
    store.identify(system, "product", &[row(id, key)], &[]).await.unwrap().remove(0)
}

/// A product that `system` is known to hold.
pub async fn pulled(store: &SharedStore, system: &str, id: &str, key: &str) -> RecordId {
    let record = identify(store, system, id, key).await.record;
    let page = PageCommit { replicas: vec![replica(record, id, key)], ..page(store, system).await };
    store.commit_page(page, at(0)).await.unwrap();
    record
}

pub async fn claim(store: &SharedStore, target: &str, now: DateTime<Utc>) -> Vec<Job> {
    store.claim(claim_of(target), now).await.unwrap()
}

pub fn claim_of(target: &str) -> Claim<'_> {
    Claim { target, but: &[], owner: "worker", limit: 100, lease: LEASE, turn: Turn::Foremost }
}
