//! Changed stock on its way to a local server that answers at once, through the real HTTP driver and a batch of 100; then a
//! burst of jobs whose target does nothing: `cargo bench --bench deliver [stock|burst] [rows]`.
//!
//! The server runs in the same process and takes its share of the machine. Figures are wall time of this machine as loaded
//! as it is.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

mod shared;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use axum::{Json, Router, extract::State, routing};
use serde_json::{Map, Value, json};
use shared::{apart, load, median, number, peak_memory, words};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vaiven::{
    adapter::{self, Given, Manifest, SettingValue, World, http::Network},
    env::Env,
    failure::{Class, Failure},
    load::{Place, SourceFile},
    mapping::{Mapping, Translate},
    model::Entities,
    port::{
        Checked, Facts, Find, Outcome, Page, PageToken, Probe, Progress, PullRequest, RowBody, SourceRow, System,
        Write, Written,
    },
    store::RunKind,
    sync::{Engine, Flow, Limits, Parts, Routes},
};

const SHOP: &str = r#"
driver = "http"
summary = "A benchmark's"
[settings]
url = { kind = "url" }
[http]
base = "${url}"
concurrency = 4
[entities.stock]
id = "id"
[entities.stock.list]
get  = "/stock"
rows = "body"
[entities.stock.batch]
post    = "/stock/batch"
max     = 100
ops     = ["create", "update"]
item    = "${merge(body, #{ id: id })}"
body    = { create = "${creates}", update = "${updates}" }
results = { create = "body.create", update = "body.update" }
id      = "result.id"
row     = "result"
"#;

const MAPPING: &str = "key = 'sku'\n[fields]\nsku = 'sku'\nquantity = 'quantity'\n";

const RUNS: usize = 3;

fn main() -> Result<()> {
    let words = words();
    let rows = words.iter().find_map(|word| word.parse::<usize>().ok());
    match words.first().map(String::as_str) {
        Some("part") => part(&words[1..]),
        Some("stock") => stock(rows.unwrap_or(20_000)),
        Some("burst") => burst(rows.unwrap_or(100_000)),
        _ => stock(rows.unwrap_or(20_000)).and_then(|()| burst(rows.unwrap_or(100_000))),
    }
}

/// What is changed between two measurements: how many rows, and how they are read.
const STEPS: [(&str, usize, RunKind); 5] = [
    ("all created", 0, RunKind::Full),
    ("all changed", 0, RunKind::Delta),
    ("100 changed, told as changes", 100, RunKind::Delta),
    ("100 changed, found by reading all", 100, RunKind::Full),
    ("1 changed", 1, RunKind::Delta),
];

fn stock(rows: usize) -> Result<()> {
    println!("stock of {rows} articles to a local HTTP server, batches of 100, load {}", load());
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(apart(&["part".into(), "stock".into(), rows.to_string()])?);
    }
    for (at, (name, changed, _)) in STEPS.iter().enumerate() {
        let changed = if *changed == 0 { rows } else { *changed };
        let figure = |which: usize| median(&runs.iter().map(|run| run[at * 2 + which]).collect::<Vec<_>>());
        let (seconds, requests) = (figure(0), figure(1));
        println!(
            "  {name:<36} {seconds:6.2} s  {:>7.0} changes/s  {requests:>4.0} requests  {:.4} per change, {:.2} per 100",
            number(changed) / seconds,
            requests / number(changed),
            requests * 100.0 / number(changed)
        );
    }
    println!(
        "  peak memory {:.0} MB, load {}",
        runs.iter().map(|run| run[STEPS.len() * 2]).fold(0.0, f64::max),
        load()
    );
    Ok(())
}

fn burst(rows: usize) -> Result<()> {
    println!("burst of {rows} jobs to a target that does nothing, load {}", load());
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(apart(&["part".into(), "burst".into(), rows.to_string()])?);
    }
    for (at, name) in ["pulled and created", "pulled and updated", "nothing differs"].iter().enumerate() {
        let seconds = median(&runs.iter().map(|run| run[at]).collect::<Vec<_>>());
        println!("  {name:<36} {seconds:6.2} s  {:>7.0} jobs/s", number(rows) / seconds);
    }
    println!("  peak memory {:.0} MB, load {}", runs.iter().map(|run| run[3]).fold(0.0, f64::max), load());
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn part(words: &[String]) -> Result<()> {
    let [name, rows] = words else { bail!("part NAME ROWS") };
    let rows = rows.parse()?;
    let folder = tempfile::tempdir()?;
    let erp = Arc::new(Erp::new(rows));
    let figures = match name.as_str() {
        "stock" => part_stock(&erp, folder.path()).await?,
        "burst" => part_burst(&erp, folder.path()).await?,
        other => bail!("no part {other}"),
    };
    let text: Vec<String> = figures.iter().map(ToString::to_string).collect();
    println!("{} {}", text.join(" "), peak_memory()?);
    Ok(())
}

/// Seconds and requests of each step.
async fn part_stock(erp: &Arc<Erp>, folder: &Path) -> Result<Vec<f64>> {
    let (address, shelf) = serve().await?;
    let shop = shop(address, folder)?;
    let engine = engine(folder, Arc::clone(erp), shop).await?;
    let mut figures = Vec::new();
    for (name, changed, kind) in STEPS {
        let changed = if changed == 0 { erp.len() } else { changed };
        if name != STEPS[0].0 {
            erp.change(changed);
        }
        shelf.requests.store(0, Ordering::Relaxed);
        let start = Instant::now();
        let summary = engine.once(None, kind, &CancellationToken::new()).await?;
        figures.push(start.elapsed().as_secs_f64());
        figures.push(number(shelf.requests.load(Ordering::Relaxed)));
        ensure!(summary.is_clean(), "{summary:?}");
        ensure!(usize::try_from(summary.delivered.written)? == changed, "{name}: {summary:?}");
    }
    Ok(figures)
}

async fn part_burst(erp: &Arc<Erp>, folder: &Path) -> Result<Vec<f64>> {
    let engine = engine(folder, Arc::clone(erp), Arc::new(Idle::default())).await?;
    let mut figures = Vec::new();
    for round in 0..2 {
        if round > 0 {
            erp.change(erp.len());
        }
        let start = Instant::now();
        let summary = engine.once(None, RunKind::Delta, &CancellationToken::new()).await?;
        figures.push(start.elapsed().as_secs_f64());
        ensure!(usize::try_from(summary.delivered.written)? == erp.len() && summary.is_clean(), "{summary:?}");
    }
    let jobs: Vec<_> = (1..=i64::try_from(erp.len())?)
        .map(|record| vaiven::store::NewJob {
            target: "shop".into(),
            entity: "stock".into(),
            record,
            lane: 1,
            due: None,
        })
        .collect();
    let start = Instant::now();
    let parts = engine.parts();
    for jobs in jobs.chunks(1000) {
        parts.store.enqueue(jobs, parts.env.now()).await?;
    }
    let summary = engine.once(None, RunKind::Delta, &CancellationToken::new()).await?;
    figures.push(start.elapsed().as_secs_f64());
    ensure!(usize::try_from(summary.delivered.noop)? == erp.len(), "{summary:?}");
    Ok(figures)
}

/// What the server holds, and how many writes it was asked for.
#[derive(Default)]
struct Shelf {
    items: Mutex<BTreeMap<String, Value>>,
    requests: AtomicUsize,
}

impl Shelf {
    fn items(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that takes stock and answers at once; counts the requests that write.
async fn serve() -> Result<(SocketAddr, Arc<Shelf>)> {
    async fn list(State(shelf): State<Arc<Shelf>>) -> Json<Value> {
        Json(shelf.items().values().cloned().collect())
    }
    async fn batch(State(shelf): State<Arc<Shelf>>, Json(mut body): Json<Value>) -> Json<Value> {
        shelf.requests.fetch_add(1, Ordering::Relaxed);
        for kind in ["create", "update"] {
            for item in body.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten() {
                if kind == "create" {
                    item["id"] = item["sku"].clone();
                }
                let id = item["id"].as_str().unwrap_or_default().to_owned();
                let mut items = shelf.items();
                let kept = items.entry(id).or_insert_with(|| json!({}));
                for (name, value) in item.as_object().into_iter().flatten() {
                    kept[name] = value.clone();
                }
                *item = kept.clone();
            }
        }
        Json(body)
    }
    let shelf = Arc::<Shelf>::default();
    let app = Router::new()
        .route("/stock", routing::get(list))
        .route("/stock/batch", routing::post(batch))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(Arc::clone(&shelf));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok((address, shelf))
}

fn shop(address: SocketAddr, folder: &Path) -> Result<Arc<dyn System>> {
    let file = SourceFile::new("shop.toml", SHOP);
    let manifest = Arc::new(Manifest::load(file.clone())?);
    let place = Place::start(&file);
    let given = Given { value: SettingValue::Plain(format!("http://{address}").into()), place: place.clone() };
    let settings = manifest.settle(&indexmap::IndexMap::from([("url".to_owned(), given)]), &place)?;
    let world = World { env: Env::system(), transport: Arc::new(Network::new()?), folder: folder.to_owned() };
    Ok(adapter::open("shop", &manifest, &settings, &world)?)
}

async fn engine(folder: &Path, erp: Arc<Erp>, shop: Arc<dyn System>) -> Result<Engine> {
    let entities = Arc::new(Entities::builtin());
    let spec = entities.get("stock").context("stock ships")?;
    let mapping: Arc<dyn Translate> = Arc::new(Mapping::load(
        &SourceFile::new("stock.toml", MAPPING),
        spec,
        &Map::new(),
        &indexmap::IndexMap::new(),
    )?);
    let flow = Flow {
        name: "stock".into(),
        entities: vec!["stock".into()],
        from: "erp".into(),
        to: vec!["shop".into()],
        ..Flow::default()
    };
    let systems: [(String, Arc<dyn System>); 2] = [("erp".into(), erp), ("shop".into(), shop)];
    Ok(Engine::new(Parts {
        store: vaiven::store::open(&format!("sqlite://{}/state.db", folder.display())).await?,
        env: Env::system(),
        systems: BTreeMap::from(systems),
        mappings: ["erp", "shop"].map(|system| ((system.into(), "stock".into()), Arc::clone(&mapping))).into(),
        entities,
        routes: Routes::new(vec![flow])?,
        limits: Limits::default(),
        owner: "bench".into(),
        work: Arc::new(Notify::new()),
    }))
}

/// A source in memory: quantity and version of each article.
struct Erp {
    facts: Facts,
    rows: Mutex<Vec<(u64, u64)>>,
}

impl Erp {
    fn new(rows: usize) -> Self {
        Self {
            facts: Facts { list: true, incremental: true, ..Facts::default() },
            rows: Mutex::new(vec![(1, 1); rows]),
        }
    }

    fn len(&self) -> usize {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Raises the quantity of `count` articles, evenly spread.
    fn change(&self, count: usize) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let version = rows.iter().map(|row| row.1).max().unwrap_or(0) + 1;
        let step = rows.len() / count;
        for row in rows.iter_mut().step_by(step).take(count) {
            *row = (row.0 + 1, version);
        }
    }
}

#[async_trait]
impl System for Erp {
    fn name(&self) -> &'static str {
        "erp"
    }

    fn facts(&self, _: &str) -> Option<&Facts> {
        Some(&self.facts)
    }

    fn version(&self, _: &str) -> u64 {
        1
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let since = request.since.and_then(|since| since.parse().ok()).unwrap_or(0);
        let first = request.page.and_then(|page| page.0.as_u64()).and_then(|first| usize::try_from(first).ok());
        let mut page = Page::default();
        for (at, (quantity, version)) in rows.iter().enumerate().skip(first.unwrap_or(0)) {
            if *version <= since {
                continue;
            }
            if page.rows.len() == request.limit {
                page.next = Some(PageToken(at.into()));
                return Ok(page);
            }
            let id = format!("SKU-{at:08}");
            let body = json!({"sku": id, "quantity": quantity.to_string(), "location": "main"});
            page.rows.push(SourceRow { position: id.clone(), id, version: None, body: RowBody::Json(body) });
        }
        page.cursor = rows.iter().map(|row| row.1).max().map(|version| version.to_string());
        Ok(page)
    }

    async fn settle(&self, _: &str, _: &Value) -> Result<(), Failure> {
        Ok(())
    }

    async fn read(&self, _: &str, _: &[String]) -> Result<Vec<SourceRow>, Failure> {
        Ok(Vec::new())
    }

    async fn find(&self, _: &str, _: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        Ok(Vec::new())
    }

    async fn write(&self, _: &str, writes: Vec<Write>, _: &dyn Progress) -> Vec<Outcome> {
        let refused = || Failure::new(Class::Fatal, "this system is only read");
        writes.iter().map(|write| Outcome { job: write.job, result: Err(refused()), requests: 0 }).collect()
    }

    async fn check(&self) -> Vec<Checked> {
        Vec::new()
    }
}

/// A target that takes everything and does nothing.
struct Idle {
    facts: Facts,
}

impl Default for Idle {
    fn default() -> Self {
        let facts = Facts { find: Find::ByKey, create: true, update: true, batch: 500, ..Facts::default() };
        Self { facts }
    }
}

#[async_trait]
impl System for Idle {
    fn name(&self) -> &'static str {
        "shop"
    }

    fn facts(&self, _: &str) -> Option<&Facts> {
        Some(&self.facts)
    }

    fn version(&self, _: &str) -> u64 {
        1
    }

    async fn pull(&self, _: &PullRequest<'_>) -> Result<Page, Failure> {
        Ok(Page::default())
    }

    async fn settle(&self, _: &str, _: &Value) -> Result<(), Failure> {
        Ok(())
    }

    async fn read(&self, _: &str, _: &[String]) -> Result<Vec<SourceRow>, Failure> {
        Ok(Vec::new())
    }

    async fn find(&self, _: &str, _: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        Ok(Vec::new())
    }

    async fn write(&self, _: &str, writes: Vec<Write>, _: &dyn Progress) -> Vec<Outcome> {
        writes
            .into_iter()
            .map(|write| {
                let id = write.id.unwrap_or(write.key);
                Outcome { job: write.job, result: Ok(Written { id, ..Written::default() }), requests: 1 }
            })
            .collect()
    }

    async fn check(&self) -> Vec<Checked> {
        Vec::new()
    }
}
