//! What many records, many jobs and a long time cost, with a source that makes its rows up and a target that only nods:
//!
//!     cargo bench --bench load curve [records...]   per record, at 10,000, 100,000 and 1,000,000 when not said otherwise
//!     cargo bench --bench load soak [hours]         24 hours of a daemon by a clock that runs 5,000 times as fast
//!
//! The curve's parts are processes of their own: all new, nothing changed, everything changed (a burst of as many jobs). The
//! soak fails when something grows that should not.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

mod shared;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use shared::{
    apart, load, memory, number, peak_memory,
    systems::{self, Named, Work, page},
    words,
};
use sqlx::{Connection as _, SqliteConnection};
use tokio_util::sync::CancellationToken;
use vaiven::internals::{
    env::{Clock, Entropy, Env},
    failure::{Class, Failure},
    port::{Capabilities, Find, Page, PullRequest, RowBody, SourceRow, System, Write, Written},
    store::{self, RunKind, SharedStore},
    sync::{Context, Engine, Flow, Limits, Schedule, SystemLimits},
};

/// Rows that exist only while they are looked at.
struct Source {
    capabilities: Capabilities,
    rows: usize,
    /// Revision of all rows.
    all: AtomicU64,
    /// Those of some rows; none is a row that is gone.
    some: Mutex<BTreeMap<usize, Option<u64>>>,
}

impl Source {
    fn new(rows: usize, all: u64) -> Arc<Self> {
        let capabilities = Capabilities { list: true, complete: true, ..Capabilities::default() };
        Arc::new(Self { capabilities, rows, all: AtomicU64::new(all), some: Mutex::default() })
    }

    fn set(&self, row: usize, revision: Option<u64>) {
        self.some.lock().unwrap_or_else(PoisonError::into_inner).insert(row, revision);
    }

    fn row(&self, number: usize) -> Option<SourceRow> {
        let some = self.some.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = match some.get(&number) {
            Some(revision) => (*revision)?,
            None => self.all.load(Ordering::Relaxed),
        };
        let body = json!({
            "sku": format!("SKU-{number:07}"),
            "name": format!("Tornillo cincado M8 x {number} mm, caja de 200 unidades"),
            "description": format!("Tornillo de acero cincado, cabeza hexagonal, número {number}, en caja de cartón"),
            "brand": format!("Marca {}, edición {revision}", number % 50),
            "unit": "box",
            "active": true,
        });
        let position = format!("row {number}");
        Some(SourceRow { id: number.to_string(), position, version: None, body: RowBody::Json(body) })
    }
}

impl Work for Source {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pull(&self, request: &PullRequest<'_>) -> Page {
        page(request, self.rows, |number| self.row(number))
    }
}

/// Takes everything, but in a soak refuses some writes and is out of order now and then.
struct Target {
    capabilities: Capabilities,
    writes: AtomicU64,
    moody: bool,
}

impl Target {
    fn new(moody: bool) -> Arc<Self> {
        let (create, update, delete, batch) = (true, true, true, 100);
        let capabilities = Capabilities { find: Find::ByKey, create, update, delete, batch, ..Capabilities::default() };
        Arc::new(Self { capabilities, writes: AtomicU64::new(0), moody })
    }
}

impl Work for Target {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn write(&self, write: Write) -> Result<Written, Failure> {
        match self.writes.fetch_add(1, Ordering::Relaxed) {
            count if self.moody && count % 997 == 0 => Err(Failure::new(Class::Transient, "out of order")),
            count if self.moody && count % 101 == 0 => Err(Failure::new(Class::Rejected, "not today")),
            _ => Ok(Written { id: format!("s-{}", write.key), ..Written::default() }),
        }
    }
}

fn context(store: SharedStore, source: &Arc<Source>, target: &Arc<Target>) -> Result<Context> {
    let table = |cron: &str| -> Result<Schedule> { Ok(Schedule { schedule: cron.parse()?, zone: chrono_tz::UTC }) };
    let flow = Flow {
        every: Some(table("0 * * * * *")?),
        full: Some(table("0 0 * * * *")?),
        ..systems::flow("catalog", "product")
    };
    let systems: Vec<Arc<dyn System>> =
        vec![Arc::new(Named("erp", Arc::clone(source))), Arc::new(Named("shop", Arc::clone(target)))];
    systems::context(store, systems, systems::PRODUCT, flow)
}

fn main() -> Result<()> {
    let words = words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match words.as_slice() {
        ["part", folder, records, revision] => {
            runtime.block_on(part(Path::new(folder), records.parse()?, revision.parse()?))
        }
        ["soak", hours @ ..] => runtime.block_on(soak(hours.first().map_or(Ok(24), |hours| hours.parse())?)),
        ["curve", records @ ..] => {
            let given: Result<Vec<usize>, _> = records.iter().map(|count| count.parse()).collect();
            curve(&given?)
        }
        _ => bail!("say `curve` or `soak`"),
    }
}

// --- the curve

fn curve(records: &[usize]) -> Result<()> {
    let records = if records.is_empty() { &[10_000, 100_000, 1_000_000] } else { records };
    println!("{:>9}  {:<18} {:>9} {:>9} {:>9} {:>9}", "records", "", "µs/record", "µs CPU", "peak MB", "state MB");
    for count in records {
        let folder = tempfile::tempdir()?;
        for (what, revision) in [("all new", 0), ("nothing changed", 0), ("everything changed", 1)] {
            let place = folder.path().display().to_string();
            let figures = apart(&["part".into(), place, count.to_string(), revision.to_string()])?;
            let [time, cpu, peak, size] = figures[..] else { bail!("{figures:?}") };
            let each = |seconds: f64| seconds * 1e6 / number(*count);
            println!(
                "{count:>9}  {what:<18} {:9.1} {:9.1} {peak:9.0} {size:9.0}   load {}",
                each(time),
                each(cpu),
                load()
            );
        }
    }
    Ok(())
}

/// One full pass over so many rows of this revision; prints seconds, seconds of CPU, megabytes of memory and of state.
async fn part(folder: &Path, records: usize, revision: u64) -> Result<()> {
    let path = folder.join("vaiven.db");
    let (source, target) = (Source::new(records, revision), Target::new(false));
    let store = store::open(&format!("sqlite://{}", path.display())).await?;
    let engine = Engine::new(context(store, &source, &target)?);
    let (start, used) = (Instant::now(), cpu()?);
    let summary = engine.once(None, RunKind::Full, &CancellationToken::new()).await?;
    let (time, used) = (start.elapsed().as_secs_f64(), cpu()? - used);
    ensure!(summary.is_clean(), "{summary:?}");
    let size: u64 = std::fs::read_dir(folder)?.map(|file| Ok(file?.metadata()?.len())).sum::<std::io::Result<u64>>()?;
    println!("{time} {used} {} {}", peak_memory()?, size / 1_000_000);
    Ok(())
}

/// Seconds of CPU that this process has used.
fn cpu() -> Result<f64> {
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let rest = text.rsplit_once(')').context("no name in /proc/self/stat")?.1;
    let ticks: Vec<f64> = rest.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

// --- the soak

const PACE: i32 = 5000;
const RETENTION: Duration = Duration::from_secs(2 * 3600);
const ROWS: usize = 400;

#[derive(Debug)]
struct Hurried {
    start: DateTime<Utc>,
    began: Instant,
}

#[async_trait]
impl Clock for Hurried {
    fn now(&self) -> DateTime<Utc> {
        self.start + TimeDelta::from_std(self.began.elapsed()).unwrap_or_default() * PACE
    }

    async fn sleep_until(&self, until: DateTime<Utc>) {
        if let Ok(wait) = ((until - self.now()) / PACE).to_std() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[derive(Debug)]
struct Even;

impl Entropy for Even {
    fn next_u64(&self) -> u64 {
        7
    }
}

/// What is looked at twice.
#[derive(Debug)]
struct Look {
    rows: BTreeMap<String, i64>,
    /// Age of the oldest run, change and closed job, in hours.
    oldest: f64,
    state: f64,
    memory: f64,
}

async fn soak(hours: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("vaiven.db");
    let (source, target) = (Source::new(ROWS, 0), Target::new(true));
    let clock = Arc::new(Hurried { start: DateTime::UNIX_EPOCH + TimeDelta::days(20_000), began: Instant::now() });
    let env = Env { clock, entropy: Arc::new(Even) };
    let store = store::open(&format!("sqlite://{}", path.display())).await?;
    let limits = Limits {
        lease: Duration::from_secs(2 * 3600),
        poll: Duration::from_secs(20),
        retention: RETENTION,
        systems: BTreeMap::from([(
            "shop".to_owned(),
            SystemLimits { answer_window: Duration::ZERO, ..SystemLimits::default() },
        )]),
        ..Limits::default()
    };
    let engine = Engine::new(Context { env: env.clone(), limits, ..context(store.clone(), &source, &target)? });
    let stop = CancellationToken::new();
    let life = async {
        let mut looks = Vec::new();
        let end = env.now() + TimeDelta::hours(hours.into());
        let half = env.now() + TimeDelta::hours(hours.into()) / 2;
        for minute in 0_usize.. {
            for number in 0..10 {
                let row = (minute * 7 + number * 13) % ROWS;
                // Some are gone for a while.
                source.set(row, (row % 40 != minute % 40).then_some(minute as u64));
            }
            if minute % 60 == 30 {
                store.place_command("resync", "catalog", env.now()).await?;
            }
            env.sleep(Duration::from_secs(60)).await;
            let now = env.now();
            if looks.is_empty() && now >= half || now >= end {
                looks.push(look(&path, now).await?);
            }
            if now >= end {
                break;
            }
        }
        stop.cancel();
        anyhow::Ok(looks)
    };
    let (looks, ()) = tokio::join!(life, engine.run(&stop));
    let looks = looks?;
    let [half, end] = &looks[..] else { bail!("looked {} times", looks.len()) };
    println!("{:<14} {:>9} {:>9}", "rows", "half-way", "at the end");
    for (table, rows) in &end.rows {
        println!("{table:<14} {:>9} {rows:>9}", half.rows.get(table).copied().unwrap_or_default());
    }
    println!("{:<14} {:>9.1} {:>9.1}", "oldest, h", half.oldest, end.oldest);
    println!("{:<14} {:>9.1} {:>9.1}", "state, MB", half.state, end.state);
    println!("{:<14} {:>9.1} {:>9.1}", "memory, MB", half.memory, end.memory);
    let writes = target.writes.load(Ordering::Relaxed);
    println!("{hours} hours, {writes} writes, load {}", load());

    // Else nothing was proven.
    ensure!(writes > u64::from(hours) * 100, "a machine this slow soaks nothing");
    ensure!(end.oldest < RETENTION.as_secs_f64() / 3600.0 + 2.5, "what is older than its retention was not purged");
    for table in ["run", "change_log", "job", "attempt"] {
        let (before, after) = (half.rows[table], end.rows[table]);
        ensure!(after < before * 2 + 1000, "{table} grew from {before} to {after} rows");
    }
    for table in ["name", "note", "lease", "standing", "demand", "record", "replica", "rejection", "brake"] {
        let (before, after) = (half.rows[table], end.rows[table]);
        ensure!(after <= before + 3, "{table} grew from {before} to {after} rows");
    }
    ensure!(end.state < half.state * 1.3 + 1.0, "the state grew from {} to {} MB", half.state, end.state);
    ensure!(end.memory < half.memory * 1.2 + 5.0, "memory grew from {} to {} MB", half.memory, end.memory);
    println!("1 passed, 0 failed");
    Ok(())
}

async fn look(path: &PathBuf, now: DateTime<Utc>) -> Result<Look> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
    let mut state = SqliteConnection::connect_with(&options).await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'",
    )
    .fetch_all(&mut state)
    .await?;
    let mut rows = BTreeMap::new();
    for table in tables {
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
        rows.insert(table, count.fetch_one(&mut state).await?);
    }
    let oldest: Option<i64> = sqlx::query_scalar(
        "SELECT min(at) FROM (SELECT min(started_at) AS at FROM run UNION ALL SELECT min(at) FROM change_log \
         UNION ALL SELECT min(updated_at) FROM job WHERE state > 3)",
    )
    .fetch_one(&mut state)
    .await?;
    let oldest = oldest.and_then(DateTime::from_timestamp_micros).unwrap_or(now);
    state.close().await?;
    let size = u32::try_from(std::fs::metadata(path)?.len() / 1000)?;
    Ok(Look {
        rows,
        oldest: (now - oldest).as_seconds_f64() / 3600.0,
        state: f64::from(size) / 1000.0,
        memory: memory()?,
    })
}
