//! How fast the state store is: `cargo bench --bench store [queue|pages|explain] [rows]`.
//!
//! SQLite in a temporary folder; PostgreSQL too when `VAIVEN_TEST_PG` names a database (each run in a schema of its own).
//! Figures are wall time of this machine as loaded as it is; its load is printed with them. The queue's are medians.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

mod shared;

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use chrono::Utc;
use shared::{apart, load, median, number, peak_memory, words};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use vaiven::internals::{
    mapping::Fields,
    store::{
        self, Balance, ChangeOp, Claim, Delivered, NewChange, NewJob, NewRun, PageCommit, RecordId, ReplicaWrite,
        RunId, RunKind, SharedStore, ShownRow, Slice, Turn, Unidentified, Verdict,
    },
};

const BATCH: usize = 1000;
const LEASE: Duration = Duration::from_mins(1);

const RUNS: usize = 5;

fn main() -> Result<()> {
    let words = words();
    if words.first().is_some_and(|word| word == "part") {
        return part(&words[1..]);
    }
    let is_asked =
        |name: &str| !words.iter().any(|word| word.parse::<usize>().is_err()) || words.iter().any(|w| w == name);
    let rows = words.iter().find_map(|word| word.parse::<usize>().ok());
    let databases: &[&str] = if std::env::var("VAIVEN_TEST_PG").is_ok() {
        &["sqlite", "postgres"]
    } else {
        println!("PostgreSQL not run: VAIVEN_TEST_PG is not set");
        &["sqlite"]
    };
    for database in databases {
        println!("{database}, load {}", load());
        if is_asked("queue") {
            let rows = rows.unwrap_or(100_000);
            for workers in ["1", "4"] {
                let mut runs = Vec::new();
                for _ in 0..RUNS {
                    runs.push(apart(&["part", "queue", database, &rows.to_string(), workers].map(str::to_owned))?);
                }
                let seconds = |which: usize| median(&runs.iter().map(|run| run[which]).collect::<Vec<_>>());
                let (enqueue, work) = (seconds(0), seconds(1));
                println!(
                    "  queue of {rows}, {workers} workers: enqueue {:>7.0} jobs/s, claim + complete {:>7.0} jobs/s, all three {:>7.0} jobs/s, {:.0} MB",
                    number(rows) / enqueue,
                    number(rows) / work,
                    number(rows) / (enqueue + work),
                    runs.iter().map(|run| run[2]).fold(0.0, f64::max)
                );
            }
        }
        if is_asked("pages") {
            let rows = rows.unwrap_or(1_000_000);
            let figures = apart(&["part", "pages", database, &rows.to_string(), "1"].map(str::to_owned))?;
            let [lookup, identify, commit, again, memory] = figures[..] else { anyhow::bail!("{figures:?}") };
            println!(
                "  pages, {rows} new rows: sight {lookup:.1} s, identify {identify:.1} s, commit {commit:.1} s; unchanged: {again:.2} s; {memory:.0} MB"
            );
        }
        // The command stands beside its state; a server in between would be measured with it.
        if is_asked("explain") && *database == "sqlite" {
            let rows = rows.unwrap_or(1_000_000);
            let figures = apart(&["part", "explain", database, &rows.to_string(), "1"].map(str::to_owned))?;
            let [by_key, by_id, empty, _] = figures[..] else { anyhow::bail!("{figures:?}") };
            println!(
                "  explain at {rows} records, whole command: by key {:.0} ms, by id {:.0} ms (`vaiven --version` {:.0} ms)",
                by_key * 1000.0,
                by_id * 1000.0,
                empty * 1000.0
            );
        }
        println!("  load {}", load());
    }
    Ok(())
}

/// One part in this process: prints its seconds and megabytes.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn part(words: &[String]) -> Result<()> {
    let [name, database, rows, workers] = words else { anyhow::bail!("part NAME DATABASE ROWS WORKERS") };
    let (rows, workers) = (rows.parse()?, workers.parse()?);
    let folder = tempfile::tempdir()?;
    let url = match database.as_str() {
        "postgres" => schema(&std::env::var("VAIVEN_TEST_PG")?).await?,
        _ => format!("sqlite://{}", folder.path().join("vaiven.db").display()),
    };
    let store = store::open(&url).await?;
    let mut figures = match name.as_str() {
        "queue" => queue(&store, rows, workers).await?,
        "pages" => pages(&store, rows).await?,
        "explain" => explain(&store, folder.path(), rows).await?,
        other => anyhow::bail!("no part {other}"),
    };
    figures.push(peak_memory()?);
    println!("{}", figures.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    Ok(())
}

/// An empty schema of its own; gives the URL with it.
async fn schema(url: &str) -> Result<String> {
    let mut connection = sqlx::PgConnection::connect(url).await?;
    connection.execute("DROP SCHEMA IF EXISTS bench CASCADE").await?;
    connection.execute("CREATE SCHEMA bench").await?;
    connection.execute(AssertSqlSafe("CHECKPOINT".to_owned())).await?;
    let durable =
        connection.fetch_one("SELECT current_setting('fsync') || '/' || current_setting('synchronous_commit')").await?;
    eprintln!("  fsync/synchronous_commit {}", durable.try_get::<String, _>(0)?);
    let mark = if url.contains('?') { '&' } else { '?' };
    Ok(format!("{url}{mark}options=-csearch_path%3Dbench"))
}

/// Jobs of a target that does nothing: made durable; claimed and completed. Seconds of each.
async fn queue(store: &SharedStore, count: usize, workers: usize) -> Result<Vec<f64>> {
    let target = format!("shop-{workers}");
    let start = Instant::now();
    for batch in (0..count).collect::<Vec<_>>().chunks(BATCH) {
        let jobs: Vec<NewJob> = batch
            .iter()
            .map(|number| NewJob {
                target: target.clone(),
                entity: "stock".into(),
                record: RecordId(i64::try_from(*number).unwrap_or_default()),
                priority: 5,
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
                let done = jobs.iter().map(|job| Delivered::new(job, Verdict::Done { noop: true })).collect();
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
    Ok(vec![enqueued.as_secs_f64(), worked.as_secs_f64()])
}

fn unidentified(row: &ShownRow) -> Unidentified {
    Unidentified { id: row.id.clone(), key: format!("SKU-{}", row.id), ..Unidentified::default() }
}

/// A first pull of everything, then one that finds nothing changed: seconds in the store.
async fn pages(store: &SharedStore, count: usize) -> Result<Vec<f64>> {
    let run = store.begin_run(NewRun::new("erp", "product", RunKind::Full, "bench"), Utc::now()).await?;
    let (mut identify, mut commit, mut lookup) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut source = produce(count);
    while let Some(page) = source.recv().await {
        let start = Instant::now();
        let known_rows = store.look_up_fingerprints("erp", "product", &page).await?;
        anyhow::ensure!(known_rows.changed.len() == page.len(), "all rows are new");
        lookup += start.elapsed();
        let start = Instant::now();
        let keys: Vec<_> = page.iter().map(unidentified).collect();
        let records = store.identify("erp", "product", &keys, &[]).await?;
        identify += start.elapsed();
        let commit_of_page = first_commit(run, "erp", &page, &records);
        let start = Instant::now();
        store.commit_page(commit_of_page, Utc::now()).await?;
        commit += start.elapsed();
    }
    let mut seen = roaring::RoaringBitmap::new();
    let mut again = Duration::ZERO;
    let mut source = produce(count);
    while let Some(page) = source.recv().await {
        let start = Instant::now();
        let known_rows = store.look_up_fingerprints("erp", "product", &page).await?;
        again += start.elapsed();
        anyhow::ensure!(known_rows.changed.is_empty(), "nothing has changed");
        seen.extend(known_rows.seen);
    }
    let start = Instant::now();
    let unseen = store.unseen("erp", "product", &seen, Slice { after: 0, limit: 10 }).await?;
    anyhow::ensure!(unseen.is_empty(), "all rows were seen");
    again += start.elapsed();
    Ok([lookup, identify, commit, again].iter().map(Duration::as_secs_f64).collect())
}

/// `vaiven explain` of objects that two systems have, each with an open job: median seconds of the whole command by key, by
/// id, and of one that does nothing.
async fn explain(store: &SharedStore, folder: &Path, count: usize) -> Result<Vec<f64>> {
    for system in ["erp", "shop"] {
        let run = store.begin_run(NewRun::new(system, "product", RunKind::Full, "bench"), Utc::now()).await?;
        let mut source = produce(count);
        while let Some(page) = source.recv().await {
            let keys: Vec<_> = page.iter().map(unidentified).collect();
            let records = store.identify(system, "product", &keys, &[]).await?;
            let mut commit = first_commit(run, system, &page, &records);
            if system == "shop" {
                commit.jobs.clear();
            }
            store.commit_page(commit, Utc::now()).await?;
        }
    }
    // The systems of the demo, none of which is asked.
    let config = include_str!("../config/demo.toml").replace("sqlite://state/vaiven.db", "sqlite://vaiven.db");
    std::fs::write(folder.join("vaiven.toml"), config)?;
    std::fs::create_dir_all(folder.join("state"))?;
    for secret in ["shop.key", "shop.secret"] {
        std::fs::write(folder.join("state").join(secret), "none")?;
    }
    let timed = |words: Vec<String>| -> Result<f64> {
        let mut runs = Vec::new();
        for _ in 0..21 {
            let start = Instant::now();
            let output = Command::new(env!("CARGO_BIN_EXE_vaiven"))
                .args(&words)
                .current_dir(folder)
                .stderr(Stdio::inherit())
                .output()?;
            runs.push(start.elapsed().as_secs_f64());
            anyhow::ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
            anyhow::ensure!(!output.stdout.is_empty(), "{words:?} said nothing");
        }
        Ok(median(&runs))
    };
    let asked = |key: String| vec!["explain".to_owned(), "product".to_owned(), key];
    let middle = count / 2 + 7;
    Ok(vec![
        timed(asked(format!("SKU-{middle}")))?,
        timed(asked(middle.to_string()))?,
        timed(vec!["--version".to_owned()])?,
    ])
}

/// Rows of about 170 bytes with their fingerprints, page by page, hashed by a thread of their own.
fn produce(count: usize) -> tokio::sync::mpsc::Receiver<Vec<ShownRow>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    std::thread::spawn(move || {
        let mut row = String::new();
        for first in (0..count).step_by(BATCH) {
            let page: Vec<ShownRow> = (first..count.min(first + BATCH))
                .map(|number| {
                    row.clear();
                    let _ = write!(row, "{number};SKU-{number};Tornillo cincado M8 x {number} mm, caja de 200 unidades;");
                    row.push_str("ferreteria/tornilleria/cincado;12,50;21;true;8412345678905;0,125;kg;Madrid;2026-01-01T00:00:00");
                    let mut fingerprint = [0; 16];
                    fingerprint.copy_from_slice(&blake3::hash(row.as_bytes()).as_bytes()[..16]);
                    ShownRow { id: number.to_string(), fingerprint }
                })
                .collect();
            if sender.blocking_send(page).is_err() {
                return;
            }
        }
    });
    receiver
}

fn first_commit(run: RunId, system: &str, page: &[ShownRow], records: &[store::Identified]) -> PageCommit {
    let mut commit = PageCommit { run, system: system.into(), entity: "product".into(), ..PageCommit::default() };
    for (row, known) in page.iter().zip(records) {
        let fields = product(&row.id);
        let change = fields.iter().map(|(name, value)| (name.clone(), serde_json::json!([null, value]))).collect();
        commit.replicas.push(ReplicaWrite {
            record: known.record,
            id: row.id.clone(),
            fields,
            sent: Fields::new(),
            version: None,
            fingerprint: Some(row.fingerprint),
            child_ids: None,
            matches: Vec::new(),
            gone: false,
        });
        commit.changes.push(NewChange { record: known.record, op: ChangeOp::Create, fields: change });
        commit.jobs.push(NewJob {
            target: "shop".into(),
            entity: "product".into(),
            record: known.record,
            priority: 5,
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
