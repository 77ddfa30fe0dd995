//! Changed stock on its way to a local server that answers at once, through the real HTTP driver and a batch of 100; then a
//! burst of jobs whose target does nothing: `cargo bench --bench deliver [stock|burst] [rows]`.
//!
//! The server runs in the same process and takes its share of the machine. Figures are wall time of this machine as loaded
//! as it is.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

mod shared;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Instant,
};

use anyhow::{Result, bail, ensure};
use serde_json::json;
use shared::{
    apart, load, median, number, peak_memory, shop,
    systems::{self, Named, Work},
    words,
};
use tokio_util::sync::CancellationToken;
use vaiven::internals::{
    adapter::{self, Given, Manifest, SettingValue, World, http::Network},
    env::Env,
    failure::Failure,
    load::{Place, SourceFile},
    port::{
        Capabilities, Find, Page, PageToken, PullRequest, RowBody, SourceRow, System, Write, Written, logins::InMemory,
    },
    store::{NewJob, RecordId, RunKind},
    sync::Engine,
};

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
    let (address, shelf) = shop::serve(std::time::Duration::ZERO).await?;
    let shop = open(address, folder)?;
    let engine = engine(folder, erp, shop).await?;
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
    let engine = engine(folder, erp, Arc::new(Named("shop", Arc::new(Idle::default())))).await?;
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
        .map(|record| NewJob {
            target: "shop".into(),
            entity: "stock".into(),
            record: RecordId(record),
            priority: 1,
            due: None,
        })
        .collect();
    let start = Instant::now();
    let context = engine.context();
    for jobs in jobs.chunks(1000) {
        context.store.enqueue(jobs, context.env.now()).await?;
    }
    let summary = engine.once(None, RunKind::Delta, &CancellationToken::new()).await?;
    figures.push(start.elapsed().as_secs_f64());
    ensure!(usize::try_from(summary.delivered.noop)? == erp.len(), "{summary:?}");
    Ok(figures)
}

fn open(address: SocketAddr, folder: &Path) -> Result<Arc<dyn System>> {
    let file = SourceFile::new("shop.toml", shop::ADAPTER);
    let manifest = Arc::new(Manifest::load(file.clone())?);
    let place = Place::start(&file);
    let given = Given { value: SettingValue::Plain(format!("http://{address}").into()), place: place.clone() };
    let settings = manifest.check_settings(&indexmap::IndexMap::from([("url".to_owned(), given)]), &place)?;
    let world = World {
        env: Env::system(),
        transport: Arc::new(Network::new()?),
        folder: folder.to_owned(),
        logins: Arc::new(InMemory::default()),
    };
    Ok(adapter::open("shop", &manifest, &settings, &world)?)
}

async fn engine(folder: &Path, erp: &Arc<Erp>, shop: Arc<dyn System>) -> Result<Engine> {
    let store = vaiven::internals::store::open(&format!("sqlite://{}/state.db", folder.display())).await?;
    let systems = vec![Arc::new(Named("erp", Arc::clone(erp))), shop];
    Ok(Engine::new(systems::context(store, systems, MAPPING, systems::flow("stock", "stock"))?))
}

/// A source in memory: quantity and version of each article.
struct Erp {
    capabilities: Capabilities,
    rows: Mutex<Vec<(u64, u64)>>,
}

impl Erp {
    fn new(rows: usize) -> Self {
        Self {
            capabilities: Capabilities { list: true, incremental: true, ..Capabilities::default() },
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

impl Work for Erp {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pull(&self, request: &PullRequest<'_>) -> Page {
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
                return page;
            }
            let id = format!("SKU-{at:08}");
            let body = json!({"sku": id, "quantity": quantity.to_string(), "location": "main"});
            page.rows.push(SourceRow { position: id.clone(), id, version: None, body: RowBody::Json(body) });
        }
        page.cursor = rows.iter().map(|row| row.1).max().map(|version| version.to_string());
        page
    }
}

/// A target that takes everything and does nothing.
struct Idle {
    capabilities: Capabilities,
}

impl Default for Idle {
    fn default() -> Self {
        let capabilities =
            Capabilities { find: Find::ByKey, create: true, update: true, batch: 500, ..Capabilities::default() };
        Self { capabilities }
    }
}

impl Work for Idle {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn write(&self, write: Write) -> Result<Written, Failure> {
        Ok(Written { id: write.id.unwrap_or(write.key), ..Written::default() })
    }
}
