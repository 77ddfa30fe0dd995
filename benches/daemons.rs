//! Daemons, as processes of their own, that bring stock from a file to a local server:
//!
//!     cargo bench --bench daemons restart [articles] [kills]   (100,000 and 21 when not said otherwise)
//!     VAIVEN_TEST_PG=URL cargo bench --bench daemons share [articles]   (40,000)
//!
//! `restart`: the daemon is killed with SIGKILL every time the server has been asked a few times. Measured is the time from the
//! start of the next one to its first request. Its state is in SQLite.
//! `share`: 1, 2 and 4 daemons share a state in PostgreSQL, each with the adapter's 4 requests at a time, which take the server a
//! tenth of a second. Measured is the time from their start until the shop has all. PostgreSQL and the server have the same cores.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

mod shared;

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use shared::{load, median, number, shop, words};
use sqlx::{Connection as _, Executor as _};

const FILES: &str = r#"
driver = "files"
summary = "A benchmark's"
[settings]
folder = { kind = "path" }
[files]
folder = "${folder}"
[entities.stock]
id = "sku"
[entities.stock.list]
files = "stock.csv"
format = "csv"
take = "keep"
complete = true
settled = "0s"
"#;

const MAPPING: &str = "key = 'sku'\n[fields]\nsku = 'sku'\nquantity = 'quantity'\n";

const CONFIG: &str = r#"
[systems.erp]
adapter = "bench-files"
folder = "."

[systems.shop]
adapter = "bench-shop"
url = "http://ADDRESS"

[flows.stock]
entities = ["stock"]
from = "erp"
to = ["shop"]
every = "* * * * * *"
"#;

/// Requests after which the daemon is killed.
const ASKED: usize = 6;

/// Daemons that share a state.
const SHARES: [usize; 3] = [1, 2, 4];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let words = words();
    let figures: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let articles = |otherwise| figures.first().copied().unwrap_or(otherwise);
    match words.first().map(String::as_str) {
        Some("restart") => restart(articles(100_000), figures.get(1).copied().unwrap_or(21)).await,
        Some("share") => share(articles(40_000)).await,
        _ => bail!("say `restart` or `share`"),
    }
}

async fn restart(articles: usize, kills: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (address, shelf) = shop::serve(Duration::from_millis(50)).await?;
    company(folder.path(), articles, address, "")?;
    println!("{articles} articles, load {}", load());
    let mut times = Vec::new();
    let mut daemon = Daemon::start(folder.path(), 1)?;
    for _ in 0..kills {
        for _ in 0..ASKED {
            asked(&shelf, &mut daemon).await?;
        }
        daemon.kill()?;
        // What it sent has arrived by now; no more of it is told.
        while tokio::time::timeout(Duration::from_millis(200), shelf.asked.notified()).await.is_ok() {}
        let began = Instant::now();
        daemon = Daemon::start(folder.path(), 1)?;
        asked(&shelf, &mut daemon).await?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    daemon.kill()?;
    let most = times.iter().copied().fold(0.0, f64::max);
    println!("  {kills} kills: median {:.0} ms, at most {most:.0} ms (aim 1,000 ms), load {}", median(&times), load());
    Ok(())
}

async fn share(articles: usize) -> Result<()> {
    let url = std::env::var("VAIVEN_TEST_PG").context("VAIVEN_TEST_PG names the database")?;
    let mark = if url.contains('?') { '&' } else { '?' };
    let store = format!("[store]\nurl = \"{url}{mark}options=-csearch_path%3Dbench\"\n");
    println!("{articles} articles");
    for count in SHARES {
        let mut connection = sqlx::PgConnection::connect(&url).await?;
        connection.execute("DROP SCHEMA IF EXISTS bench CASCADE").await?;
        connection.execute("CREATE SCHEMA bench").await?;
        let folder = tempfile::tempdir()?;
        let (address, shelf) = shop::serve(Duration::from_millis(100)).await?;
        company(folder.path(), articles, address, &store)?;
        let began = Instant::now();
        let mut daemons = (1..=count).map(|number| Daemon::start(folder.path(), number)).collect::<Result<Vec<_>>>()?;
        asked(&shelf, &mut daemons[0]).await?;
        let first = began.elapsed();
        while shelf.count() < articles {
            ensure!(began.elapsed() < Duration::from_mins(5), "{} of {articles} after five minutes", shelf.count());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let time = began.elapsed().as_secs_f64();
        let (rate, requests) = (number(articles) / time, shelf.requests.load(Ordering::Relaxed));
        println!(
            "  {count} daemons: {time:5.1} s, {rate:6.0} articles/s, {requests} requests, the first after {} ms, load {}",
            first.as_millis(),
            load()
        );
        drop(daemons);
        connection.execute("DROP SCHEMA bench CASCADE").await?;
    }
    Ok(())
}

/// Everything that a daemon needs, in a folder.
fn company(folder: &Path, articles: usize, shop: SocketAddr, store: &str) -> Result<()> {
    let file = |name: &str, text: &str| -> Result<()> {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        Ok(std::fs::write(path, text)?)
    };
    let mut stock = String::from("sku,quantity\n");
    for number in 0..articles {
        writeln!(stock, "SKU-{number:08},{}", number % 100)?;
    }
    file("stock.csv", &stock)?;
    file("adapters/bench-files.toml", FILES)?;
    file("adapters/bench-shop.toml", shop::ADAPTER)?;
    file("mappings/bench-files/stock.toml", MAPPING)?;
    file("mappings/bench-shop/stock.toml", MAPPING)?;
    file("vaiven.toml", &format!("{store}{}", CONFIG.replace("ADDRESS", &shop.to_string())))
}

struct Daemon {
    process: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(folder: &Path, number: usize) -> Result<Self> {
        let log = folder.join(format!("log-{number}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaiven"));
        command.arg("run").current_dir(folder).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        Ok(Self { process: command.spawn()?, log })
    }

    fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

/// Waits for the next request.
async fn asked(shelf: &shop::Shelf, daemon: &mut Daemon) -> Result<()> {
    for _ in 0..120 {
        if tokio::time::timeout(Duration::from_secs(1), shelf.asked.notified()).await.is_ok() {
            return Ok(());
        }
        if let Some(status) = daemon.process.try_wait()? {
            bail!("the daemon ended, {status}: {}", std::fs::read_to_string(&daemon.log)?);
        }
    }
    bail!("no request for two minutes")
}
