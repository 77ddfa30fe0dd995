//! A full plan over records that have not changed: `cargo bench --bench plan [records]` (100,000 when not said otherwise).
//!
//! Two systems in memory, both listed whole, with the state in SQLite; on PostgreSQL too when `VAIVEN_TEST_PG` names a database (in a
//! schema of its own). Figures are wall time of this machine as loaded as it is; its load is printed with them.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vaiven::{
    env::Env,
    failure::Failure,
    load::SourceFile,
    mapping::{Mapping, Translate},
    model::Entities,
    port::{
        Checked, Facts, Find, Outcome, Page, PageToken, Probe, Progress, PullRequest, RowBody, SourceRow, System,
        Write, Written,
    },
    store::{self, RunKind, SharedStore},
    sync::{
        Engine, Flow, Limits, Parts, Reach, Routes,
        plan::{self, Telling},
    },
};

const MAPPING: &str = r#"
key = "sku"
[fields]
sku = "sku"
name = { from = "name", localized = "es" }
description = { from = "description", localized = "es" }
brand = "brand"
unit = "unit"
active = "active"
"#;

/// Rows by number.
struct Memory {
    name: &'static str,
    facts: Facts,
    rows: Mutex<Vec<Value>>,
}

impl Memory {
    fn new(name: &'static str, rows: Vec<Value>) -> Arc<Self> {
        let facts = Facts {
            list: true,
            complete: true,
            read: true,
            find: Find::ByKey,
            create: true,
            update: true,
            batch: 100,
            ..Facts::default()
        };
        Arc::new(Self { name, facts, rows: Mutex::new(rows) })
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, Vec<Value>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn row(number: usize, body: &Value) -> SourceRow {
    SourceRow {
        id: number.to_string(),
        position: format!("row {number}"),
        version: None,
        body: RowBody::Json(body.clone()),
    }
}

#[async_trait]
impl System for Memory {
    fn name(&self) -> &str {
        self.name
    }

    fn facts(&self, _: &str) -> Option<&Facts> {
        Some(&self.facts)
    }

    fn version(&self, _: &str) -> u64 {
        1
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure> {
        let from = request.page.and_then(|page| page.0.as_u64()).map_or(0, |from| usize::try_from(from).unwrap_or(0));
        let rows = self.rows();
        let to = rows.len().min(from + request.limit);
        Ok(Page {
            rows: (from..to).map(|number| row(number, &rows[number])).collect(),
            next: (to < rows.len()).then(|| PageToken(json!(to))),
            ..Page::default()
        })
    }

    async fn settle(&self, _: &str, _: &Value) -> Result<(), Failure> {
        Ok(())
    }

    async fn read(&self, _: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        let rows = self.rows();
        let numbers = ids.iter().filter_map(|id| id.parse::<usize>().ok());
        Ok(numbers.filter_map(|number| Some(row(number, rows.get(number)?))).collect())
    }

    async fn find(&self, _: &str, _: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        Ok(Vec::new())
    }

    async fn write(&self, _: &str, writes: Vec<Write>, _: &dyn Progress) -> Vec<Outcome> {
        let mut rows = self.rows();
        writes
            .into_iter()
            .map(|write| {
                let number = match write.id.as_ref().and_then(|id| id.parse::<usize>().ok()) {
                    Some(number) => number,
                    None => {
                        rows.push(write.whole.clone());
                        rows.len() - 1
                    }
                };
                rows[number] = write.whole.clone();
                let written = Written { id: number.to_string(), stored: Some(write.whole), ..Written::default() };
                Outcome { job: write.job, result: Ok(written), requests: 1 }
            })
            .collect()
    }

    async fn check(&self) -> Vec<Checked> {
        Vec::new()
    }
}

fn product(number: usize) -> Value {
    json!({
        "sku": format!("SKU-{number:07}"),
        "name": format!("Tornillo cincado M8 x {number} mm, caja de 200 unidades"),
        "description": format!("Tornillo de acero cincado, cabeza hexagonal, número {number}, en caja de cartón, para madera y metal"),
        "brand": format!("Marca {}", number % 50),
        "unit": "box",
        "active": true,
    })
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let records = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(100_000);
    let folder = tempfile::tempdir()?;
    let mut stores = vec![("SQLite", format!("sqlite://{}", folder.path().join("vaiven.db").display()))];
    match std::env::var("VAIVEN_TEST_PG") {
        Err(_) => println!("PostgreSQL not run: VAIVEN_TEST_PG is not set"),
        Ok(url) => {
            let mut connection = sqlx::PgConnection::connect(&url).await?;
            connection.execute("DROP SCHEMA IF EXISTS bench CASCADE").await?;
            connection.execute("CREATE SCHEMA bench").await?;
            let mark = if url.contains('?') { '&' } else { '?' };
            stores.push(("PostgreSQL", format!("{url}{mark}options=-csearch_path%3Dbench")));
        }
    }
    for (name, url) in stores {
        println!("{name}, {records} records at two systems (load {})", load());
        measure(&url, records).await?;
    }
    println!("peak memory of the process {}", peak_memory());
    Ok(())
}

async fn measure(url: &str, records: usize) -> Result<()> {
    let erp = Memory::new("erp", (0..records).map(product).collect());
    let shop = Memory::new("shop", Vec::new());
    let stop = CancellationToken::new();
    let store = store::open(url).await?;
    let start = Instant::now();
    let summary = Engine::new(parts(store, &erp, &shop)?).once(None, RunKind::Full, &stop).await?;
    anyhow::ensure!(summary.is_clean(), "{summary:?}");
    println!("  first pass, all created     {:7.2} s", start.elapsed().as_secs_f64());
    // What the shop answered is compared once; from then on fingerprints know it.
    let store = store::open(url).await?;
    Engine::new(parts(store, &erp, &shop)?).once(None, RunKind::Full, &stop).await?;

    for changed in [0, records / 100] {
        for number in 0..changed {
            erp.rows()[number]["brand"] = "Otra".into();
        }
        let resident = memory("VmRSS:");
        let start = Instant::now();
        let copy = store::copy(url, &Env::system()).await?;
        let copied = start.elapsed().as_secs_f64();
        let reach = Reach { flow: None, kind: RunKind::Full };
        let telling = Telling { examples: 5, writes: 5, personal: false };
        let parts = parts(copy.store.clone(), &erp, &shop)?;
        let made = plan::plan(parts, &copy, reach, telling, tempfile::tempfile()?, &stop).await?;
        let planned: u64 = made.groups.values().map(|group| group.count).sum();
        copy.remove().await?;
        println!(
            "  plan, {changed:>6} changed        {:7.2} s (copy {copied:.2} s), {planned} writes; memory {resident} before, {} after",
            start.elapsed().as_secs_f64(),
            memory("VmRSS:"),
        );
        anyhow::ensure!(usize::try_from(planned)? == changed, "{planned} writes of {changed} changes");
    }
    Ok(())
}

fn parts(store: SharedStore, erp: &Arc<Memory>, shop: &Arc<Memory>) -> Result<Parts> {
    let entities = Arc::new(Entities::builtin());
    let spec = entities.get("product").context("products ship")?;
    let file = SourceFile::new("bench-mapping.toml", MAPPING);
    let mapping: Arc<dyn Translate> =
        Arc::new(Mapping::load(&file, spec, &serde_json::Map::new(), &indexmap::IndexMap::new())?);
    let flow = Flow {
        name: "catalog".into(),
        entities: vec!["product".into()],
        from: "erp".into(),
        to: vec!["shop".into()],
        fields: BTreeMap::<String, BTreeSet<String>>::new(),
        ..Flow::default()
    };
    let mappings =
        ["erp", "shop"].map(|system| ((system.to_owned(), "product".to_owned()), Arc::clone(&mapping))).into();
    Ok(Parts {
        store,
        env: Env::system(),
        systems: BTreeMap::from([
            ("erp".to_owned(), Arc::clone(erp) as Arc<dyn System>),
            ("shop".to_owned(), Arc::clone(shop) as _),
        ]),
        mappings,
        entities,
        routes: Routes::new(vec![flow])?,
        limits: Limits::default(),
        owner: "bench".into(),
        work: Arc::new(Notify::new()),
    })
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".into(), |text| text.chars().take(14).collect())
}

fn peak_memory() -> String {
    memory("VmHWM:")
}

fn memory(line: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|found| found.strip_prefix(line)).unwrap_or("unknown").trim().to_owned()
}
