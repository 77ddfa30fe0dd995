//! `vaiven apply`: writes what a plan says, and nothing else.

use std::{collections::BTreeSet, fs::File, io::BufReader, path::Path};

use anyhow::Context as _;

use super::{
    Ending, app,
    args::Global,
    lifecycle::Lifecycle,
    output::{self, Output},
    progress, run,
};
use crate::{
    env::Env,
    store::RunId,
    sync::{self, Applied, UnappliedWrite, plan, requests},
};

pub async fn apply(file: &Path, global: &Global, env: &Env) -> anyhow::Result<Ending> {
    let config = app::config(global)?;
    let source = File::open(file).with_context(|| format!("the plan {} cannot be read", file.display()))?;
    let agreed = plan::read(BufReader::new(source)).with_context(|| file.display().to_string())?;
    let life = Lifecycle::listen(env)?;
    let opened = app::plan(&config, env)?;
    let (store, _sole) = app::sole_store(&config).await?;
    let context = run::context(opened, store.clone(), env);
    let bars = output::is_watched().then(indicatif::MultiProgress::new);
    let applying = async {
        tokio::select! {
            applied = sync::apply(context, agreed, &life.soft) => applied,
            never = progress::show(&store, env, bars) => match never {},
        }
    };
    let Some(applied) = life.guard(applying).await else {
        anyhow::bail!(
            "stopped at once; what was under way is looked up by the next pass, and the plan can be applied again"
        );
    };
    let applied = applied?;
    Output::new(global).show(&applied, text)?;
    if life.soft.is_cancelled() {
        anyhow::bail!("stopped; the plan can be applied again, and does what is left of it");
    }
    Ok(if applied.is_clean() { Ending::Fine } else { Ending::Attention })
}

fn text(applied: &Applied) -> String {
    let mut parts = vec![format!(
        "{} of {} done; {}.",
        applied.done,
        output::count(applied.planned, "planned write"),
        requests::summary(&applied.requests)
    )];
    let unread = applied.runs.iter().filter_map(|run| {
        let error = run.error.as_ref()?;
        Some(format!("Not read: {} of {}: {error}", run.entity, run.system))
    });
    parts.extend(unread);
    parts.extend(writes("Planned, but not done:", &applied.failed));
    parts.extend(writes("Not sent, because it is not what was planned (it stays queued):", &applied.refused));
    parts.extend(writes("No longer needed:", &applied.unneeded));
    let runs: BTreeSet<RunId> = applied
        .runs
        .iter()
        .filter(|run| run.balance.changed + run.balance.gone > 0)
        .filter_map(|run| run.run)
        .collect();
    if applied.done > 0 && !runs.is_empty() {
        let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
        parts.push(format!("`vaiven undo {}` reverts this.", runs.join(" ")));
    }
    parts.join("\n\n")
}

fn writes(title: &str, lines: &[UnappliedWrite]) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let rows = lines
        .iter()
        .map(|one| [one.op.clone(), one.target.clone(), one.entity.clone(), one.key.clone(), one.reason.clone()]);
    Some(format!("{title}\n{}", output::table(["write", "target", "entity", "key", "why"], rows)))
}
