//! Pull and detect of a large delimited file, against bare loops over the same file in the same run:
//! `cargo bench --bench engine [rows]` (1,000,000 rows of 12 columns, about 170 MB, when not said otherwise).
//!
//! Figures are wall time of this machine as loaded as it is; read the ratios.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vaiven::{
    adapter::{self, Given, Manifest, SettingValue, World, http::Transport},
    env::Env,
    load::{Place, SourceFile},
    mapping::{Mapping, Translate},
    model::Entities,
    port::System,
    store::RunKind,
    sync::{Engine, Flow, Limits, Parts, Routes},
};

const BATCH: usize = 1000;

const ADAPTER: &str = r#"
driver = "files"
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

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let rows = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("prices.csv");
    generate(&file, rows)?;
    let megabytes = std::fs::metadata(&file)?.len() / 1_000_000;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{rows} rows, {megabytes} MB, load {}", load.trim());

    let url = format!("sqlite://{}/bare.db?mode=rwc", folder.path().display());
    let mut bare = SqliteConnection::connect(&url).await?;
    sqlx::query("PRAGMA journal_mode = WAL").execute(&mut bare).await?;
    sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut bare).await?;
    let insert = bare_insert(&mut bare, &file).await?;
    let compare = bare_compare(&mut bare, &file).await?;
    println!("bare insert as JSON     {insert:7.2} s");
    println!("bare parse+hash+compare {compare:7.2} s");

    let engine = engine(folder.path()).await?;
    let stop = CancellationToken::new();
    for (name, bare) in [("engine, all new", insert), ("engine, nothing changed", compare)] {
        let start = Instant::now();
        let report = engine.pull("files", "price", RunKind::Full, "bench", &stop).await?;
        let took = start.elapsed().as_secs_f64();
        println!("{name:<23} {took:7.2} s   {:.2} x bare   {:?} {:?}", took / bare, report.balance, report.error);
    }
    println!("peak memory {}", peak_memory());
    Ok(())
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

fn reader(file: &Path) -> Result<csv::Reader<File>> {
    Ok(csv::ReaderBuilder::new().delimiter(b';').buffer_capacity(1 << 16).from_path(file)?)
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

/// Parse, hash, and ask for those hashes that differ, a thousand per statement.
async fn bare_compare(bare: &mut SqliteConnection, file: &Path) -> Result<f64> {
    const SQL: &str = "SELECT count(*) FROM json_each(?1) j JOIN bare b ON b.id = j.value->>0 AND b.hash = j.value->>1";
    let start = Instant::now();
    let mut reader = reader(file)?;
    let mut batch: Vec<(String, String)> = Vec::with_capacity(BATCH);
    let mut record = csv::StringRecord::new();
    loop {
        let more = reader.read_record(&mut record)?;
        if more {
            batch.push((record[0].to_owned(), hash(&record)));
        }
        if batch.len() == BATCH || !more {
            let same: i64 = sqlx::query_scalar(SQL).bind(serde_json::to_string(&batch)?).fetch_one(&mut *bare).await?;
            anyhow::ensure!(usize::try_from(same)? == batch.len(), "rows differ that should not");
            batch.clear();
        }
        if !more {
            return Ok(start.elapsed().as_secs_f64());
        }
    }
}

fn hash(record: &csv::StringRecord) -> String {
    let mut hasher = blake3::Hasher::new();
    for field in record {
        hasher.update(field.as_bytes()).update(b"\0");
    }
    hasher.finalize().as_bytes()[..16].iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn engine(folder: &Path) -> Result<Engine> {
    let entities = Arc::new(Entities::builtin());
    let env = Env::system();
    let world = World { env: env.clone(), transport: Arc::new(NoNetwork), folder: folder.to_owned() };
    let file = SourceFile::new("bench-adapter.toml", ADAPTER);
    let manifest = Arc::new(Manifest::load(file.clone())?);
    let place = Place::start(&file);
    let given = Given { value: SettingValue::Plain(folder.display().to_string().into()), place: place.clone() };
    let settings = manifest.settle(&indexmap::IndexMap::from([("folder".to_owned(), given)]), &place)?;
    let system: Arc<dyn System> = adapter::open("files", &manifest, &settings, &world)?;
    let spec = entities.get("price").context("price ships")?;
    let mapping = Mapping::load(
        &SourceFile::new("bench-mapping.toml", MAPPING),
        spec,
        &serde_json::Map::new(),
        &indexmap::IndexMap::new(),
    )?;
    let flow = Flow {
        name: "prices".into(),
        entities: vec!["price".into()],
        from: "files".into(),
        to: vec!["shop".into()],
        ..Flow::default()
    };
    Ok(Engine::new(Parts {
        store: vaiven::store::open(&format!("sqlite://{}/state.db", folder.display())).await?,
        env,
        systems: BTreeMap::from([("files".to_owned(), system)]),
        mappings: BTreeMap::from([(("files".to_owned(), "price".to_owned()), Arc::new(mapping) as Arc<dyn Translate>)]),
        entities,
        routes: Routes::new(vec![flow])?,
        limits: Limits::default(),
        owner: "bench".into(),
        work: Arc::new(Notify::new()),
    }))
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim().to_owned()
}
