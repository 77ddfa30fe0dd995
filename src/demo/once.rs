//! `demo --once`: runs the rest of the script while the daemon works, then passes of the engine until nothing
//! changes any more, then the comparison.

use anyhow::bail;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::{compare, erp, life::World, report::Report, stage::Stage, teller::Teller};
use crate::{opened::Ending, store::RunKind};

/// Maximum number of full passes at the end. A change may travel back and forth, but not more often than this.
const PASSES: u32 = 8;
/// Larger than the number of runs that a demo ever makes.
const ALL_RUNS: u32 = 1_000_000;

/// Run the script and compare.
///
/// # Errors
/// If a system of the demo fails.
pub async fn run(
    mut stage: Stage,
    steps: u32,
    teller: &Teller,
    shutdown: &CancellationToken,
) -> anyhow::Result<Ending> {
    let begun = stage.env.now();
    if !live(&mut stage, steps, teller, shutdown).await? || !come_to_rest(&mut stage, teller, shutdown).await? {
        bail!("stopped; the next start in this folder goes on from here");
    }
    let report = evaluate(&mut stage, begun).await?;
    conclude(&report, teller)
}

/// Show the result.
pub fn conclude(report: &Report, teller: &Teller) -> anyhow::Result<Ending> {
    teller.conclude(report)?;
    Ok(match (report.fine, report.comparison.is_equal() && report.unbalanced.is_empty()) {
        (true, _) => Ending::Fine,
        (false, true) => Ending::Attention,
        (false, false) => Ending::Failed,
    })
}

/// Run the script while the daemon works. Return false if it was stopped.
async fn live(stage: &mut Stage, steps: u32, teller: &Teller, shutdown: &CancellationToken) -> anyhow::Result<bool> {
    let Stage { env, world, engine, store, .. } = stage;
    let day = shutdown.child_token();
    let script = script(world, steps, std::time::Duration::ZERO, teller);
    let script = async {
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(false),
            ended = script => ended.map(|()| true),
            never = teller.watch(store, env) => match never {},
        };
        day.cancel();
        ended
    };
    let (ended, ()) = tokio::join!(script, engine.run(&day));
    ended
}

/// Do steps until this many are done, with a pause after each.
pub async fn script(world: &mut World, steps: u32, rest: std::time::Duration, teller: &Teller) -> anyhow::Result<()> {
    loop {
        let step = world.next_step().await?;
        teller.at(step - 1);
        if step > steps {
            return Ok(());
        }
        let happened = world.take(step).await?;
        teller.say(&format!("[{step:>2}/{steps}] {happened}"));
        world.env.sleep(rest).await;
    }
}

/// Run full passes until two of them find nothing to do. Each comes with a stock export, because an order counts as
/// in flight until the second export after it has arrived. Return false if it was stopped.
async fn come_to_rest(stage: &mut Stage, teller: &Teller, shutdown: &CancellationToken) -> anyhow::Result<bool> {
    let (mut before, mut quiet) = (None, 0);
    for pass in 1..=PASSES {
        teller.say(&stage.world.export_stock(pass).await?);
        let summary = tokio::select! {
            summary = stage.engine.once(None, RunKind::Full, shutdown) => summary?,
            never = teller.watch(&stage.store, &stage.env) => match never {},
        };
        if shutdown.is_cancelled() {
            return Ok(false);
        }
        if let Some(run) = summary.runs.iter().find(|run| run.error.is_some()) {
            let error = run.error.clone().unwrap_or_default();
            bail!("{} could not be read from {}: {error}", run.entity, run.system);
        }
        let changed: u64 = summary.runs.iter().map(|run| run.balance.changed + run.balance.gone).sum();
        let written = summary.delivered.written;
        teller.say(&format!("Closing pass {pass}: {changed} changes found, {written} written"));
        let left: u64 = summary.left.values().sum();
        quiet = if changed == 0 && written == 0 { quiet + 1 } else { 0 };
        if quiet == 2 {
            return Ok(true);
        }
        // Dead and parked jobs stay as they are: more passes would not help them.
        if before == Some((changed, written, left)) && left > 0 {
            return Ok(true);
        }
        before = Some((changed, written, left));
    }
    Ok(true)
}

pub async fn evaluate(stage: &mut Stage, begun: DateTime<Utc>) -> anyhow::Result<Report> {
    // Use new connections: the comparison must see what is on disk.
    let mut company = erp::open(&stage.home.path("erp.db"), false).await?;
    let mut shelves = erp::open(&stage.home.path("shop.db"), false).await?;
    let comparison = compare::compare(&mut company, &stage.home.path("drop"), &mut shelves).await?;
    let runs = stage.store.runs(ALL_RUNS).await?;
    let unbalanced = runs
        .iter()
        .filter(|run| !run.balance.closes())
        .map(|run| format!("run {} ({} from {}): the balance does not close", run.id, run.entity, run.system))
        .collect();
    let left = stage.store.backlog().await?;
    let left = left
        .iter()
        .map(|line| {
            let cause = line.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
            format!("{} {} jobs to {} are {}{cause}", line.count, line.entity, line.target, line.state.as_str())
        })
        .collect();
    let rejected = stage.store.rejection_counts().await?.iter().map(|(_, _, open, aside)| open + aside).sum();
    let seconds = (stage.env.now() - begun).num_seconds();
    let report = Report { comparison, runs: runs.len(), unbalanced, left, rejected, seconds, fine: false };
    Ok(report.concluded())
}
