//! How soon a daemon that was killed over its work goes on with it: `cargo bench --bench restart [articles] [kills]` (100,000 and 21
//! when not said otherwise).
//!
//! `vaiven run` takes stock from a file to a local server, and is killed with SIGKILL every time the server has been asked a few
//! times. Measured is the time from the start of the next one to its first request that writes. Its state is in SQLite.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

mod shared;

use std::{
    fmt::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use shared::{load, median, shop, words};

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

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let figures: Vec<usize> = words().iter().filter_map(|word| word.parse().ok()).collect();
    let articles = figures.first().copied().unwrap_or(100_000);
    let kills = figures.get(1).copied().unwrap_or(21);
    let folder = tempfile::tempdir()?;
    let (address, shelf) = shop::serve(Duration::from_millis(50)).await?;
    let file = |name: &str, text: &str| -> Result<()> {
        let path = folder.path().join(name);
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
    file("vaiven.toml", &CONFIG.replace("ADDRESS", &address.to_string()))?;
    println!("{articles} articles, load {}", load());
    let mut times = Vec::new();
    let mut daemon = start(folder.path())?;
    for _ in 0..kills {
        for _ in 0..ASKED {
            asked(&shelf, &mut daemon).await?;
        }
        daemon.kill()?;
        daemon.wait()?;
        // What it sent has arrived by now; no more of it is told.
        while tokio::time::timeout(Duration::from_millis(200), shelf.asked.notified()).await.is_ok() {}
        let began = Instant::now();
        daemon = start(folder.path())?;
        asked(&shelf, &mut daemon).await?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    daemon.kill()?;
    daemon.wait()?;
    let most = times.iter().copied().fold(0.0, f64::max);
    println!("  {kills} kills: median {:.0} ms, at most {most:.0} ms (aim 1,000 ms), load {}", median(&times), load());
    Ok(())
}

fn start(folder: &Path) -> Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaiven"));
    command.arg("run").current_dir(folder).stdout(Stdio::null()).stderr(std::fs::File::create(folder.join("log"))?);
    Ok(command.spawn()?)
}

/// Waits for the daemon's next request that writes.
async fn asked(shelf: &shop::Shelf, daemon: &mut Child) -> Result<()> {
    let waited = tokio::time::timeout(Duration::from_mins(2), shelf.asked.notified()).await;
    ensure!(waited.is_ok(), "no request for two minutes; the daemon: {:?}", daemon.try_wait()?);
    Ok(())
}
