//! What benchmarks have in common: the machine's load, the process's memory, medians, parts in processes of their own.

#![allow(dead_code, reason = "every benchmark takes what it needs")]

pub mod shop;
pub mod systems;

use std::{env, fs, process::Command};

use anyhow::{Context as _, Result, ensure};

/// Load averages of the last 1, 5 and 15 minutes: figures mean little without them.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Most memory this process ever held, in megabytes.
pub fn peak_memory() -> Result<f64> {
    megabytes("VmHWM:")
}

/// Memory that this process holds now, in megabytes.
pub fn memory() -> Result<f64> {
    megabytes("VmRSS:")
}

fn megabytes(name: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("memory is told by /proc only")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name} in /proc/self/status"))?;
    let kilobytes: u32 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(f64::from(kilobytes) / 1024.0)
}

pub fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_unstable_by(f64::total_cmp);
    let half = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(figures[half - 1], figures[half]),
        _ => figures[half],
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
pub fn number(count: usize) -> f64 {
    count as f64
}

/// Words of the command line, without what cargo adds.
pub fn words() -> Vec<String> {
    env::args().skip(1).filter(|word| word != "--bench").collect()
}

/// Runs this program again with `words`, so that the part's memory is its own; gives the figures it prints.
pub fn apart(words: &[String]) -> Result<Vec<f64>> {
    let output = Command::new(env::current_exe()?).args(words).stderr(std::process::Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{words:?} failed: {}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(output.stdout)?;
    text.split_whitespace().map(|figure| figure.parse().with_context(|| format!("{words:?} printed {text}"))).collect()
}
