//! Pull and detect of a large delimited file, against bare loops over the same file in the same run:
//! `cargo bench --bench engine [rows] [runs]` (1,000,000 rows of 12 columns, about 170 MB, 3 runs when not said otherwise);
//! `cargo bench --bench engine curve` for time per record by the number of records.
//!
//! Figures are wall time of this machine as loaded as it is; read the ratios. Each part is a process of its own.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

mod shared;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::{Result, bail, ensure};
use shared::{apart, load, median, number, peak_memory, systems, words};
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio_util::sync::CancellationToken;
use vaiven::internals::{
    adapter::{self, Given, Manifest, SettingValue, World, http::Transport},
    env::Env,
    load::{Place, SourceFile},
    port::{System, logins::InMemory},
    store::{Balance, NewRun, RunKind},
    sync::{Engine, Flow},
};

const BATCH: usize = 1000;

const ADAPTER: &str = r#"
driver = "files"
summary = "A benchmark's"
[settings]
folder = { kind = "path" }
[files]
folder = "${folder}"
[entities.price]
id = "sku"
[entities.price.list]
files = "prices.csv"
format = "csv"
delimiter = ";"
take = "keep"
complete = true
settled = "0s"
"#;

const MAPPING: &str = r#"
key = "sku"
[fields]
code = "sku"
sku = "sku"
list = { value = "web" }
amount = "price"
compare_at = "before"
group = "group"
currency = "currency"
tax_included = "tax_included"
valid_from = "from"
valid_until = "until"
"#;

#[derive(Debug)]
struct NoNetwork;

#[async_trait::async_trait]
impl Transport for NoNetwork {
    async fn send(&self, _: adapter::http::Request) -> Result<adapter::http::Response, adapter::http::TransportError> {
        Err(adapter::http::TransportError::NotSent("this benchmark reads files".into()))
    }
}

fn main() -> Result<()> {
    let words = words();
    match words.first().map(String::as_str) {
        Some("part") => part(&words[1..]),
        Some("curve") => curve(),
        _ => {
            let mut given = words.iter().map(|word| word.parse::<usize>());
            let rows = given.next().transpose()?.unwrap_or(1_000_000);
            compare(rows, given.next().transpose()?.unwrap_or(3))
        }
    }
}

/// Engine against bare loops.
fn compare(rows: usize, runs: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("prices.csv");
    generate(&file, rows)?;
    println!("{rows} rows, {} MB, load {}", std::fs::metadata(&file)?.len() / 1_000_000, load());
    let mut all: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
    for run in 1..=runs {
        for name in ["insert", "keep", "parse", "joined", "listed", "new", "unchanged"] {
            let figures = apart(&["part".into(), name.into(), folder.path().display().to_string(), rows.to_string()])?;
            all.entry(name).or_default().push(figures);
        }
        println!("run {run} of {runs}, load {}", load());
    }
    let time = |name: &str| median(&all[name].iter().map(|figures| figures[0]).collect::<Vec<_>>());
    let memory = |name: &str| all[name].iter().map(|figures| figures[1]).fold(0.0, f64::max);
    let (insert, compare) = (time("insert"), time("joined").min(time("listed")));
    for (name, what) in [
        ("parse", "bare parse + hash"),
        ("joined", "bare parse + hash + compare, batch as JSON"),
        ("listed", "bare parse + hash + compare, batch as parameters"),
        ("insert", "bare parse + hash + insert as JSON"),
    ] {
        println!("{what:<50} {:6.2} s   {:4.0} MB", time(name), memory(name));
    }
    for (name, what, bare, most) in [
        ("unchanged", "engine, nothing changed", compare, 2.0),
        ("new", "engine, all new: replica + change + job each", insert, 6.0),
    ] {
        let ratio = time(name) / bare;
        println!(
            "{what:<50} {:6.2} s   {:4.0} MB   {ratio:.2} x bare (aim {most} x, 100 MB)",
            time(name),
            memory(name)
        );
    }
    Ok(())
}

/// Time per record of both kinds of pull, by size.
fn curve() -> Result<()> {
    println!("load {}", load());
    for rows in [10_000, 100_000, 1_000_000] {
        let folder = tempfile::tempdir()?;
        generate(&folder.path().join("prices.csv"), rows)?;
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..3 {
            for (name, times) in ["new", "unchanged"].iter().zip(&mut times) {
                let words = ["part".into(), (*name).into(), folder.path().display().to_string(), rows.to_string()];
                times.push(apart(&words)?[0] * 1e6 / number(rows));
            }
        }
        println!(
            "{rows:>9} records: all new {:6.2} us each, nothing changed {:5.2} us each, load {}",
            median(&times[0]),
            median(&times[1]),
            load()
        );
    }
    Ok(())
}

/// One part in this process: prints seconds and megabytes.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn part(words: &[String]) -> Result<()> {
    let [name, folder, rows] = words else { bail!("part NAME FOLDER ROWS") };
    let (folder, rows) = (Path::new(folder), rows.parse()?);
    let file = folder.join("prices.csv");
    let seconds = match name.as_str() {
        "parse" => bare_parse(&file)?,
        "insert" => bare_insert(&mut database(folder, "rows.db", true).await?, &file).await?,
        "keep" => keep(&mut database(folder, "hashes.db", true).await?, &file).await?,
        "joined" => bare_joined(&mut database(folder, "hashes.db", false).await?, &file).await?,
        "listed" => bare_listed(&mut database(folder, "hashes.db", false).await?, &file).await?,
        "new" => {
            remove(folder, "state.db")?;
            pull(folder, rows, |balance| balance.changed).await?
        }
        "unchanged" => pull(folder, rows, |balance| balance.unchanged).await?,
        other => bail!("no part {other}"),
    };
    println!("{seconds} {}", peak_memory()?);
    Ok(())
}

async fn pull(folder: &Path, rows: u64, counted: fn(&Balance) -> u64) -> Result<f64> {
    let engine = engine(folder).await?;
    let start = Instant::now();
    let report = engine.pull(NewRun::new("files", "price", RunKind::Full, "bench"), &CancellationToken::new()).await?;
    let took = start.elapsed().as_secs_f64();
    ensure!(report.is_green() && counted(&report.balance) == rows, "{:?} {:?}", report.balance, report.error);
    Ok(took)
}

fn generate(file: &Path, rows: usize) -> Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    writeln!(out, "sku;price;before;group;currency;tax_included;from;until;name;description;brand;barcode")?;
    for row in 0..rows {
        writeln!(
            out,
            "SKU-{row:08};{}.{:02};{}.99;retail;EUR;true;2026-01-01;2026-12-31;Article number {row};\
             A description of article {row} with some words in it, as price lists have;Brand {};84{row:011}",
            row % 900 + 1,
            row % 100,
            row % 900 + 2,
            row % 70,
        )?;
    }
    Ok(out.flush()?)
}

fn remove(folder: &Path, name: &str) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(folder.join(format!("{name}{suffix}"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

async fn database(folder: &Path, name: &str, fresh: bool) -> Result<SqliteConnection> {
    if fresh {
        remove(folder, name)?;
    }
    let url = format!("sqlite://{}?mode=rwc", folder.join(name).display());
    let mut database = SqliteConnection::connect(&url).await?;
    for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "PRAGMA cache_size = -16384"] {
        sqlx::query(pragma).execute(&mut database).await?;
    }
    Ok(database)
}

fn reader(file: &Path) -> Result<csv::Reader<File>> {
    Ok(csv::ReaderBuilder::new().delimiter(b';').buffer_capacity(1 << 16).from_path(file)?)
}

fn bare_parse(file: &Path) -> Result<f64> {
    let start = Instant::now();
    let mut reader = reader(file)?;
    let mut record = csv::StringRecord::new();
    let mut all = 0_u64;
    while reader.read_record(&mut record)? {
        all ^= u64::from_str_radix(&hash(&record)[..16], 16)?;
    }
    std::hint::black_box(all);
    Ok(start.elapsed().as_secs_f64())
}

/// Rows as JSON and their hashes into one table, a thousand per statement.
async fn bare_insert(bare: &mut SqliteConnection, file: &Path) -> Result<f64> {
    const SQL: &str = "INSERT INTO bare SELECT value->>0, value->>1, value->>2 FROM json_each(?1)";
    sqlx::query("CREATE TABLE bare (id TEXT PRIMARY KEY, hash TEXT, row TEXT) WITHOUT ROWID")
        .execute(&mut *bare)
        .await?;
    let start = Instant::now();
    let mut reader = reader(file)?;
    let header = reader.headers()?.clone();
    let mut batch: Vec<(String, String, String)> = Vec::with_capacity(BATCH);
    let mut record = csv::StringRecord::new();
    loop {
        let more = reader.read_record(&mut record)?;
        if more {
            let object: BTreeMap<&str, &str> = header.iter().zip(record.iter()).collect();
            batch.push((record[0].to_owned(), hash(&record), serde_json::to_string(&object)?));
        }
        if batch.len() == BATCH || !more {
            let mut transaction = bare.begin().await?;
            sqlx::query(SQL).bind(serde_json::to_string(&batch)?).execute(&mut *transaction).await?;
            transaction.commit().await?;
            batch.clear();
        }
        if !more {
            return Ok(start.elapsed().as_secs_f64());
        }
    }
}

/// What the comparisons compare with: ids and hashes, nothing else.
async fn keep(bare: &mut SqliteConnection, file: &Path) -> Result<f64> {
    const SQL: &str = "INSERT INTO bare SELECT value->>0, value->>1 FROM json_each(?1)";
    sqlx::query("CREATE TABLE bare (id TEXT PRIMARY KEY, hash TEXT) WITHOUT ROWID").execute(&mut *bare).await?;
    let start = Instant::now();
    let mut batches = Batches::open(file)?;
    while let Some(batch) = batches.next()? {
        sqlx::query(SQL).bind(serde_json::to_string(&batch)?).execute(&mut *bare).await?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Parse, hash, and count the hashes that are the same: a batch is one parameter.
async fn bare_joined(bare: &mut SqliteConnection, file: &Path) -> Result<f64> {
    const SQL: &str =
        "SELECT count(*) FROM json_each(?1) j CROSS JOIN bare b WHERE b.id = j.value->>0 AND b.hash = j.value->>1";
    let start = Instant::now();
    let mut batches = Batches::open(file)?;
    while let Some(batch) = batches.next()? {
        let same: i64 = sqlx::query_scalar(SQL).bind(serde_json::to_string(&batch)?).fetch_one(&mut *bare).await?;
        ensure!(usize::try_from(same)? == batch.len(), "rows differ that should not");
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Parse, hash, fetch the hashes by one reused statement of a thousand parameters, compare here.
async fn bare_listed(bare: &mut SqliteConnection, file: &Path) -> Result<f64> {
    let full = format!("SELECT id, hash FROM bare WHERE id IN (?{})", ", ?".repeat(BATCH - 1));
    let start = Instant::now();
    let mut batches = Batches::open(file)?;
    while let Some(batch) = batches.next()? {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(full.clone()));
        for at in 0..BATCH {
            query = query.bind(batch.get(at).map(|(id, _)| id.as_str()));
        }
        let mut kept: HashMap<String, String> = HashMap::with_capacity(BATCH);
        for row in query.fetch_all(&mut *bare).await? {
            kept.insert(row.try_get(0)?, row.try_get(1)?);
        }
        ensure!(batch.iter().all(|(id, hash)| kept.get(id) == Some(hash)), "rows differ that should not");
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Ids and hashes of the file's rows, a thousand at a time.
struct Batches {
    reader: csv::Reader<File>,
    record: csv::StringRecord,
}

impl Batches {
    fn open(file: &Path) -> Result<Self> {
        Ok(Self { reader: reader(file)?, record: csv::StringRecord::new() })
    }

    fn next(&mut self) -> Result<Option<Vec<(String, String)>>> {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH && self.reader.read_record(&mut self.record)? {
            batch.push((self.record[0].to_owned(), hash(&self.record)));
        }
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }
}

fn hash(record: &csv::StringRecord) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(record.as_slice().as_bytes());
    hasher.finalize().as_bytes()[..16].iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn engine(folder: &Path) -> Result<Engine> {
    let world = World {
        env: Env::system(),
        transport: Arc::new(NoNetwork),
        folder: folder.to_owned(),
        logins: Arc::new(InMemory::default()),
    };
    let file = SourceFile::new("bench-adapter.toml", ADAPTER);
    let manifest = Arc::new(Manifest::load(file.clone())?);
    let place = Place::start(&file);
    let given = Given { value: SettingValue::Plain(folder.display().to_string().into()), place: place.clone() };
    let settings = manifest.check_settings(&indexmap::IndexMap::from([("folder".to_owned(), given)]), &place)?;
    let system: Arc<dyn System> = adapter::open("files", &manifest, &settings, &world)?;
    let store = vaiven::internals::store::open(&format!("sqlite://{}/state.db", folder.display())).await?;
    let flow = Flow { from: "files".into(), ..systems::flow("prices", "price") };
    Ok(Engine::new(systems::context(store, vec![system], MAPPING, flow)?))
}
