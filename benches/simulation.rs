//! Seeds of the simulation a second, one after the other on one core: `taskset -c 0 cargo bench --bench simulation [SEEDS]`.
//!
//! The same play as in `tests/simulation`, which tells how many seeds a second it got through as well.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    clippy::items_after_statements,
    reason = "the simulation is a test, and more than is measured here"
)]

#[path = "../tests/simulation/before.rs"]
mod before;
#[path = "../tests/simulation/chance.rs"]
mod chance;
#[path = "../tests/simulation/check.rs"]
mod check;
#[path = "../tests/simulation/clock.rs"]
mod clock;
#[path = "../tests/simulation/company.rs"]
mod company;
#[path = "../tests/simulation/database.rs"]
mod database;
#[path = "../tests/simulation/gate.rs"]
mod gate;
#[path = "../tests/simulation/lag.rs"]
mod lag;
#[path = "../tests/simulation/life.rs"]
mod life;
#[path = "../tests/simulation/models.rs"]
mod models;
#[path = "../tests/simulation/mood.rs"]
mod mood;
#[path = "../tests/simulation/outdated.rs"]
mod outdated;
#[path = "../tests/simulation/parts.rs"]
mod parts;
#[path = "../tests/simulation/saboteur.rs"]
mod saboteur;
#[path = "../tests/simulation/setting.rs"]
mod setting;
mod shared;
#[path = "../tests/simulation/shown.rs"]
mod shown;
#[path = "../tests/simulation/special.rs"]
mod special;
#[path = "../tests/simulation/wire.rs"]
mod wire;
#[path = "../tests/simulation/witness.rs"]
mod witness;
#[path = "../tests/simulation/world.rs"]
mod world;

use std::time::Instant;

use anyhow::{Result, ensure};
use shared::{load, words};
use world::{Play, play};

fn main() -> Result<()> {
    let seeds: u32 = words().first().map_or(Ok(100), |text| text.parse())?;
    println!("{seeds} seeds, load {}", load());
    let began = Instant::now();
    for seed in 1..=seeds {
        let wrong = play(u64::from(seed), &Play::default()).wrong;
        ensure!(wrong.is_empty(), "seed {seed}: {wrong:?}");
    }
    let took = began.elapsed().as_secs_f64();
    let seeds = f64::from(seeds);
    println!("  {:.1} seeds a second, {:.0} ms each", seeds / took, 1000.0 * took / seeds);
    Ok(())
}
