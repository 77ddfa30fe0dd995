//! How fast the state store is: `cargo bench --bench store [queue|pages] [rows]`.
//!
//! SQLite in a temporary folder; PostgreSQL too when `VAIVEN_TEST_PG` names a database (each run in a schema of its own).
//! Figures are wall time of this machine as loaded as it is; its load is printed with them.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

use std::{fmt::Write as _, sync::Arc, time::Duration, time::Instant};

use anyhow::{Context as _, Result};
use chrono::Utc;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use vaiven::{
    mapping::Fields,
    store::{
        self, Balance, ChangeOp, Claim, Delivered, NewChange, NewJob, PageCommit, ReplicaWrite, RunKind, SharedStore,
        Sighting, Turn, Verdict,
    },
};

const BATCH: usize = 1000;
const LEASE: Duration = Duration::from_mins(1);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    // Cargo passes `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let rows = words.iter().find_map(|word| word.parse::<usize>().ok());
    for (name, url, folder) in backends().await? {
        let store = store::open(&url).await?;
        println!("{name}  (load {})", load());
        if wanted("queue") {
            for workers in [1, 4] {
                queue(&store, rows.unwrap_or(100_000), workers).await?;
            }
        }
        if wanted("pages") {
            pages(&store, rows.unwrap_or(1_000_000)).await?;
        }
        println!("  peak memory of the process {}", peak_memory());
        drop(folder);
    }
    Ok(())
}

async fn backends() -> Result<Vec<(&'static str, String, Option<tempfile::TempDir>)>> {
    let folder = tempfile::tempdir()?;
    let path = format!("sqlite://{}", folder.path().join("vaiven.db").display());
    let mut backends = vec![("SQLite", path, Some(folder))];
    match std::env::var("VAIVEN_TEST_PG") {
        Err(_) => println!("PostgreSQL not run: VAIVEN_TEST_PG is not set"),
        Ok(url) => {
            let mut connection = sqlx::PgConnection::connect(&url).await?;
            connection.execute("DROP SCHEMA IF EXISTS bench CASCADE").await?;
            connection.execute("CREATE SCHEMA bench").await?;
            connection.execute(AssertSqlSafe("CHECKPOINT".to_owned())).await?;
            let mark = if url.contains('?') { '&' } else { '?' };
            backends.push(("PostgreSQL", format!("{url}{mark}options=-csearch_path%3Dbench"), None));
        }
    }
    Ok(backends)
}

/// Jobs of a target that does nothing: made durable, claimed, completed.
async fn queue(store: &SharedStore, count: usize, workers: usize) -> Result<()> {
    let target = format!("shop-{workers}");
    let start = Instant::now();
    for batch in (0..count).collect::<Vec<_>>().chunks(BATCH) {
        let jobs: Vec<NewJob> = batch
            .iter()
            .map(|number| NewJob {
                target: target.clone(),
                entity: "stock".into(),
                record: i64::try_from(*number).unwrap_or_default(),
                lane: 5,
                due: None,
            })
            .collect();
        store.enqueue(&jobs, Utc::now()).await?;
    }
    let enqueued = start.elapsed();
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..workers {
        let (store, target) = (Arc::clone(store), target.clone());
        tasks.spawn(async move {
            let owner = format!("worker {worker}");
            let mut finished = 0;
            loop {
                let jobs = store
                    .claim(
                        Claim {
                            target: &target,
                            but: &[],
                            owner: &owner,
                            limit: BATCH,
                            lease: LEASE,
                            turn: Turn::Foremost,
                        },
                        Utc::now(),
                    )
                    .await?;
                if jobs.is_empty() {
                    return Ok::<usize, store::StoreError>(finished);
                }
                finished += jobs.len();
                let done = jobs
                    .iter()
                    .map(|job| Delivered {
                        job: job.id,
                        fence: job.fence,
                        verdict: Verdict::Done { noop: true },
                        replica: None,
                        change: None,
                        attempt: None,
                    })
                    .collect();
                store.deliver(&target, "stock", done, Utc::now()).await?;
            }
        });
    }
    let mut finished = 0;
    while let Some(result) = tasks.join_next().await {
        finished += result??;
    }
    let worked = start.elapsed();
    anyhow::ensure!(finished == count, "{finished} of {count} jobs were finished");
    println!(
        "  queue, {workers} workers: enqueue {:>8.0} jobs/s   claim + complete {:>8.0} jobs/s   all three {:>8.0} jobs/s",
        per_second(count, enqueued),
        per_second(count, worked),
        per_second(count, enqueued + worked)
    );
    Ok(())
}

/// A first pull of everything, then one that finds nothing changed.
async fn pages(store: &SharedStore, count: usize) -> Result<()> {
    let run = store.begin_run("erp", "product", RunKind::Full, "bench", Utc::now()).await?;
    let (mut identify, mut commit, mut sight) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let whole = Instant::now();
    let mut source = produce(count);
    while let Some(page) = source.recv().await {
        let start = Instant::now();
        let sighted = store.sight("erp", "product", &page).await?;
        anyhow::ensure!(sighted.changed.len() == page.len(), "all rows are new");
        sight += start.elapsed();
        let start = Instant::now();
        let keys: Vec<_> = page.iter().map(|row| (row.id.clone(), format!("SKU-{}", row.id), Vec::new())).collect();
        let records = store.identify("erp", "product", &keys).await?;
        identify += start.elapsed();
        let commit_of_page = first_commit(run, &page, &records);
        let start = Instant::now();
        store.commit_page(commit_of_page, Utc::now()).await?;
        commit += start.elapsed();
    }
    println!(
        "  {count} new rows: {:.1} s (sight {:.1} s, identify {:.1} s, commit of replica + change + job {:.1} s)",
        whole.elapsed().as_secs_f64(),
        sight.as_secs_f64(),
        identify.as_secs_f64(),
        commit.as_secs_f64()
    );
    for _ in 0..2 {
        let start = Instant::now();
        let mut seen = roaring::RoaringBitmap::new();
        let mut waited = Duration::ZERO;
        let mut source = produce(count);
        while let Some(page) = source.recv().await {
            let start = Instant::now();
            let sighted = store.sight("erp", "product", &page).await?;
            waited += start.elapsed();
            anyhow::ensure!(sighted.changed.is_empty(), "nothing has changed");
            seen.extend(sighted.seen);
        }
        let unseen = store.unseen("erp", "product", &seen, 0, 10).await?;
        anyhow::ensure!(unseen.is_empty(), "all rows were seen");
        println!(
            "  {count} unchanged rows, hashing included: {:.2} s (store alone {:.2} s, {:.0} rows/s)",
            start.elapsed().as_secs_f64(),
            waited.as_secs_f64(),
            per_second(count, waited)
        );
    }
    Ok(())
}

/// Rows of about 170 bytes with their fingerprints, page by page, hashed by a thread of their own.
fn produce(count: usize) -> tokio::sync::mpsc::Receiver<Vec<Sighting>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    std::thread::spawn(move || {
        let mut row = String::new();
        for first in (0..count).step_by(BATCH) {
            let page: Vec<Sighting> = (first..count.min(first + BATCH))
                .map(|number| {
                    row.clear();
                    let _ = write!(row, "{number};SKU-{number};Tornillo cincado M8 x {number} mm, caja de 200 unidades;");
                    row.push_str("ferreteria/tornilleria/cincado;12,50;21;true;8412345678905;0,125;kg;Madrid;2026-01-01T00:00:00");
                    let mut print = [0; 16];
                    print.copy_from_slice(&blake3::hash(row.as_bytes()).as_bytes()[..16]);
                    Sighting { id: number.to_string(), print }
                })
                .collect();
            if sender.blocking_send(page).is_err() {
                return;
            }
        }
    });
    receiver
}

fn first_commit(run: i64, page: &[Sighting], records: &[store::Identified]) -> PageCommit {
    let mut commit = PageCommit { run, system: "erp".into(), entity: "product".into(), ..PageCommit::default() };
    for (row, known) in page.iter().zip(records) {
        let fields = product(&row.id);
        let change = fields.iter().map(|(name, value)| (name.clone(), serde_json::json!([null, value]))).collect();
        commit.replicas.push(ReplicaWrite {
            record: known.record,
            id: row.id.clone(),
            fields,
            sent: Fields::new(),
            version: None,
            print: Some(row.print),
            parts: None,
            matches: Vec::new(),
            gone: false,
        });
        commit.changes.push(NewChange { record: known.record, op: ChangeOp::Create, fields: change });
        commit.jobs.push(NewJob {
            target: "shop".into(),
            entity: "product".into(),
            record: known.record,
            lane: 5,
            due: None,
        });
    }
    let rows = page.len() as u64;
    commit.balance = Balance { seen: rows, changed: rows, ..Balance::default() };
    commit
}

fn product(id: &str) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in [
        ("sku", format!("SKU-{id}")),
        ("name", format!("Tornillo cincado M8 x {id} mm, caja de 200 unidades")),
        ("category", "ferreteria/tornilleria/cincado".into()),
        ("price", "12.50".into()),
        ("tax", "general".into()),
        ("barcode", "8412345678905".into()),
        ("weight", "0.125".into()),
        ("updated", "2026-01-01T00:00:00Z".into()),
    ] {
        fields.insert(name.into(), value.into());
    }
    fields
}

fn per_second(count: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64()
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".into(), |text| text.chars().take(14).collect())
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").context("no /proc").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".into(), |line| line.trim().to_owned())
}
