//! Measures how many seeds of the simulation run in a second, one after the other on one core:
//! `taskset -c 0 cargo bench --bench simulation [SEEDS]`. Runs the files of `tests/simulation`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    clippy::items_after_statements,
    reason = "the simulation is a test, of which the benchmark needs only a part"
)]

#[path = "../tests/simulation/addresses.rs"]
mod addresses;
#[path = "../tests/simulation/check.rs"]
mod check;
#[path = "../tests/simulation/clock.rs"]
mod clock;
#[path = "../tests/simulation/company.rs"]
mod company;
#[path = "../tests/simulation/database.rs"]
mod database;
#[path = "../tests/simulation/existing_data.rs"]
mod existing_data;
#[path = "../tests/simulation/faults.rs"]
mod faults;
#[path = "../tests/simulation/invariants.rs"]
mod invariants;
#[path = "../tests/simulation/lease_lag.rs"]
mod lease_lag;
#[path = "../tests/simulation/life.rs"]
mod life;
#[path = "../tests/simulation/models.rs"]
mod models;
#[path = "../tests/simulation/mutant_store.rs"]
mod mutant_store;
#[path = "../tests/simulation/mutant_system.rs"]
mod mutant_system;
#[path = "../tests/simulation/mutants.rs"]
mod mutants;
#[path = "../tests/simulation/rng.rs"]
mod rng;
#[path = "../tests/simulation/rows.rs"]
mod rows;
#[path = "../tests/simulation/setting.rs"]
mod setting;
#[path = "../tests/simulation/setting_actions.rs"]
mod setting_actions;
mod shared;
#[path = "../tests/simulation/stale_mapping.rs"]
mod stale_mapping;
#[path = "../tests/simulation/store_faults.rs"]
mod store_faults;
#[path = "../tests/simulation/store_methods.rs"]
mod store_methods;
#[path = "../tests/simulation/store_runtime.rs"]
mod store_runtime;
#[path = "../tests/simulation/trade.rs"]
mod trade;
#[path = "../tests/simulation/wire.rs"]
mod wire;
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
        let violations = play(u64::from(seed), &Play::default()).violations;
        ensure!(violations.is_empty(), "seed {seed}: {violations:?}");
    }
    let took = began.elapsed().as_secs_f64();
    let seeds = f64::from(seeds);
    println!("  {:.1} seeds a second, {:.0} ms each", seeds / took, 1000.0 * took / seeds);
    Ok(())
}
