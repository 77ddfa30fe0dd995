//! `vaiven run`: the daemon, or with `--once` a single pass.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Ending, app,
    args::{Global, RunArgs},
    daemon::Daemon,
    lifecycle::Lifecycle,
    logging,
    notify::Notifier,
    output::{self, Output},
    progress,
    resync::{known, resolved, scope_of},
};
use crate::{
    config::OpenedConfig,
    env::Env,
    store::{RunKind, SharedStore},
    sync::{
        Affairs, Context, Engine, Flow, PassSummary, Requests, Scope, pauses,
        requests::{self, Counts},
    },
};

pub async fn run(args: &RunArgs, global: &Global, env: &Env) -> anyhow::Result<Ending> {
    let config = app::config(global)?;
    let is_daemon = !args.once && args.resync.is_none();
    let bars = (!is_daemon && output::is_watched()).then(indicatif::MultiProgress::new);
    logging::start(&config.sections.log, if bars.is_some() { "warn" } else { "info" }, bars.clone())?;
    let scope = args.resync.as_deref().map(|scope| scope_of(scope, &config)).transpose()?;
    let life = Lifecycle::listen(env)?;
    let plan = app::plan(&config, env)?;
    let (store, _sole) = app::sole_store(&config).await?;
    let scope = match scope {
        Some(scope) => Some(one_of(resolved(scope, &config, &store).await?)?),
        None => None,
    };
    if is_daemon {
        let notifier = Arc::new(Notifier::from_environment());
        return Daemon { store, global, env, life: &life, notifier }.run(config, plan).await;
    }
    pauses::notice(store.as_ref(), &plan.setup_fingerprints, env.now()).await?;
    let engine = Engine::new(context(plan, SharedStore::clone(&store), env));
    let before = Requests::of(&engine.context().systems);
    let once = once(&engine, scope.as_ref(), bars, &life);
    let Some(summary) = life.guard(once).await else {
        anyhow::bail!("stopped at once; the next run goes on where this one was cut off");
    };
    let summary = summary?;
    let flows: Vec<&Flow> = engine.context().routes.flows().iter().collect();
    let affairs = Affairs::of(&store, &flows, false, env.now()).await?;
    let listed = scope.as_ref().map(|scope| listed(scope, &summary, engine.context())).unwrap_or_default();
    let requests = before.since(&engine.context().systems);
    let report = Report { headline: affairs.headline(), affairs, summary, listed, requests };
    Output::new(global).show(&report, text)?;
    if life.soft.is_cancelled() {
        anyhow::bail!("stopped; the next run goes on where this one left off");
    }
    if let Some(scope) = &scope {
        let source = engine.context().routes.flow(&scope.flow).map(|flow| flow.from.as_str());
        known(scope, &store, source).await?;
    }
    Ok(if report.summary.is_clean() { Ending::of(&report.affairs) } else { Ending::Attention })
}

/// What a pass did, and the state of affairs after it.
#[derive(Serialize)]
struct Report {
    /// The state of affairs, in one line.
    headline: String,
    affairs: Affairs,
    #[serde(flatten)]
    summary: PassSummary,
    /// Where more was read than the one requested object, and why.
    listed: Vec<String>,
    /// By system: all requests of the pass.
    requests: Counts,
}

/// The only scope. If there are several, the error lists them.
fn one_of(scopes: Vec<Scope>) -> anyhow::Result<Scope> {
    <[Scope; 1]>::try_from(scopes).map(|[scope]| scope).map_err(|several| {
        let listed: Vec<String> = several.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("that may be any of these, ask for one: {}", listed.join(", "))
    })
}

/// Systems where one object was requested and a whole listing was read instead.
fn listed(scope: &Scope, summary: &PassSummary, context: &Context) -> Vec<String> {
    let (Some(entity), Some(key)) = (&scope.entity, &scope.key) else { return Vec::new() };
    let whole = summary.runs.iter().filter(|run| run.kind == RunKind::Full && run.entity == *entity);
    let listed = whole.map(|run| {
        let can_read = context
            .systems
            .get(&run.system)
            .and_then(|system| system.capabilities(entity))
            .is_some_and(|capabilities| capabilities.read);
        let why = if can_read { format!("has no {key} yet") } else { "cannot be read by key".to_owned() };
        format!("{} {why}, so its whole listing of {entity} was read.", run.system)
    });
    listed.collect()
}

/// Run one pass and show its progress.
pub async fn once(
    engine: &Engine,
    scope: Option<&Scope>,
    bars: Option<indicatif::MultiProgress>,
    life: &Lifecycle,
) -> anyhow::Result<PassSummary> {
    let context = engine.context();
    tokio::select! {
        summary = engine.once(scope, RunKind::Delta, &life.soft) => Ok(summary?),
        never = progress::show(&context.store, &context.env, bars) => match never {},
    }
}

pub fn context(plan: OpenedConfig, store: SharedStore, env: &Env) -> Context {
    let owner = format!("{}-{:016x}", std::process::id(), env.entropy.next_u64());
    plan.context(store, env.clone(), owner)
}

fn text(report: &Report) -> String {
    let summary = &report.summary;
    let mut context = vec![report.headline.clone()];
    if !report.listed.is_empty() {
        context.push(report.listed.join("\n"));
    }
    if !summary.runs.is_empty() {
        let rows = summary.runs.iter().map(|run| {
            let result = match (&run.error, run.run) {
                (Some(error), _) => error.clone(),
                (None, None) => "another daemon is reading it".to_owned(),
                (None, Some(_)) if !run.balance.closes() => "balance does not close".to_owned(),
                (None, Some(_)) => "ok".to_owned(),
            };
            let balance = &run.balance;
            [
                run.system.clone(),
                run.entity.clone(),
                balance.seen.to_string(),
                balance.unchanged.to_string(),
                balance.changed.to_string(),
                balance.skipped.to_string(),
                balance.rejected.to_string(),
                balance.gone.to_string(),
                result,
            ]
        });
        let header = ["pulled from", "entity", "seen", "unchanged", "changed", "skipped", "rejected", "gone", "result"];
        context.push(output::table(header, rows));
    }
    let tally = &summary.delivered;
    context.push(format!(
        "Delivered: {} written, {} already up to date, {} retried, {} parked, {} dead; {}.",
        tally.written,
        tally.noop,
        tally.retried,
        tally.parked,
        tally.dead,
        requests::summary(&report.requests)
    ));
    if !summary.left.is_empty() {
        let left: Vec<String> = summary.left.iter().map(|(state, count)| format!("{count} {state}")).collect();
        context.push(format!("Still open: {} (`vaiven jobs list` shows why).", left.join(", ")));
    }
    if !summary.held.is_empty() {
        let held: Vec<String> = summary.held.iter().map(ToString::to_string).collect();
        context.push(format!("Held by a brake: run {} (`vaiven approve` shows what would happen).", held.join(", ")));
    }
    if summary.rejected > 0 {
        context.push(format!("{} could not be read (`vaiven rejected`).", output::count(summary.rejected, "row")));
    }
    context.join("\n\n")
}
