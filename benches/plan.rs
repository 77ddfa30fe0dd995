//! A full plan over records that have not changed: `cargo bench --bench plan [records]` (100,000 when not said otherwise).
//!
//! Two systems in memory, both listed whole, with the state in SQLite; on PostgreSQL too when `VAIVEN_TEST_PG` names a database (in a
//! schema of its own). Figures are wall time of this machine as loaded as it is; its load is printed with them.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

mod shared;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::Result;
use serde_json::{Value, json};
use shared::{
    load, memory, peak_memory,
    systems::{self, Named, Work, page},
};
use sqlx::{Connection as _, Executor as _};
use tokio_util::sync::CancellationToken;
use vaiven::internals::{
    env::Env,
    failure::Failure,
    port::{Capabilities, Find, Page, PullRequest, RowBody, SourceRow, System, Write, Written},
    store::{self, RunKind, SharedStore},
    sync::{
        Context, Engine, Reach,
        plan::{self, Question},
    },
};

/// Rows by number.
struct Memory {
    capabilities: Capabilities,
    rows: Mutex<Vec<Value>>,
}

impl Memory {
    fn new(rows: Vec<Value>) -> Arc<Self> {
        let capabilities = Capabilities {
            list: true,
            complete: true,
            read: true,
            find: Find::ByKey,
            create: true,
            update: true,
            batch: 100,
            ..Capabilities::default()
        };
        Arc::new(Self { capabilities, rows: Mutex::new(rows) })
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

impl Work for Memory {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn pull(&self, request: &PullRequest<'_>) -> Page {
        let rows = self.rows();
        page(request, rows.len(), |number| Some(row(number, &rows[number])))
    }

    fn read(&self, id: &str) -> Option<SourceRow> {
        let number = id.parse().ok()?;
        Some(row(number, self.rows().get(number)?))
    }

    fn write(&self, write: Write) -> Result<Written, Failure> {
        let mut rows = self.rows();
        let number = match write.id.as_ref().and_then(|id| id.parse::<usize>().ok()) {
            Some(number) => number,
            None => {
                rows.push(write.whole.clone());
                rows.len() - 1
            }
        };
        rows[number] = write.whole.clone();
        Ok(Written { id: number.to_string(), stored: Some(write.whole), ..Written::default() })
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
    println!("peak memory of the process {:.0} MB", peak_memory()?);
    Ok(())
}

async fn measure(url: &str, records: usize) -> Result<()> {
    let erp = Memory::new((0..records).map(product).collect());
    let shop = Memory::new(Vec::new());
    let stop = CancellationToken::new();
    let store = store::open(url).await?;
    let start = Instant::now();
    let summary = Engine::new(context(store, &erp, &shop)?).once(None, RunKind::Full, &stop).await?;
    anyhow::ensure!(summary.is_clean(), "{summary:?}");
    println!("  first pass, all created     {:7.2} s", start.elapsed().as_secs_f64());
    // What the shop answered is compared once; from then on fingerprints know it.
    let store = store::open(url).await?;
    Engine::new(context(store, &erp, &shop)?).once(None, RunKind::Full, &stop).await?;

    for changed in [0, records / 100] {
        for number in 0..changed {
            erp.rows()[number]["brand"] = "Otra".into();
        }
        let resident = memory()?;
        let start = Instant::now();
        let copy = store::copy(url, &Env::system()).await?;
        let copied = start.elapsed().as_secs_f64();
        let reach = Reach { flow: None, kind: RunKind::Full };
        let question = Question { reach, examples: 5, writes: 5, personal: false };
        let context = context(copy.store.clone(), &erp, &shop)?;
        let made = plan::plan(context, &copy, question, tempfile::tempfile()?, &stop).await?;
        let planned: u64 = made.groups.values().map(|group| group.count).sum();
        copy.remove().await?;
        println!(
            "  plan, {changed:>6} changed        {:7.2} s (copy {copied:.2} s), {planned} writes; memory {resident:.0} MB before, {:.0} after",
            start.elapsed().as_secs_f64(),
            memory()?,
        );
        anyhow::ensure!(usize::try_from(planned)? == changed, "{planned} writes of {changed} changes");
    }
    Ok(())
}

fn context(store: SharedStore, erp: &Arc<Memory>, shop: &Arc<Memory>) -> Result<Context> {
    let systems: Vec<Arc<dyn System>> =
        vec![Arc::new(Named("erp", Arc::clone(erp))), Arc::new(Named("shop", Arc::clone(shop)))];
    systems::context(store, systems, systems::PRODUCT, systems::flow("catalog", "product"))
}
