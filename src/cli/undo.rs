//! `vaiven undo`: takes back the effects of a run, unless somebody has changed the objects since.

use std::collections::BTreeSet;

use super::{
    Ending, app,
    args::{Global, UndoArgs},
    canonical,
    lifecycle::Lifecycle,
    output::{self, Output},
    plan::change,
    run,
};
use crate::{
    env::Env,
    model::Entities,
    store::{RecordId, Run, SharedStore},
    sync::{self, Undone},
};

/// Number of runs that are searched for those that changed something.
const RUNS: u32 = 500;
/// Maximum number of these that are listed.
const LISTED: usize = 20;

pub async fn undo(args: &UndoArgs, global: &Global, env: &Env) -> anyhow::Result<Ending> {
    let config = app::config(global)?;
    let output = Output::new(global);
    if args.runs.is_empty() {
        return list(&app::existing_store(&config).await?, output).await;
    }
    let life = Lifecycle::listen(env)?;
    let opened = app::plan(&config, env)?;
    let store = app::existing_store(&config).await?;
    let context = run::context(opened, store.clone(), env);
    let Some(undone) = life.guard(sync::undo(&context, &args.runs, args.delete_created, &life.soft)).await else {
        anyhow::bail!("stopped at once; the run can be undone again");
    };
    let mut undone = undone?;
    show_values(&mut undone, &context.entities, &store, args.personal).await?;
    output.show(&undone, text)?;
    if life.soft.is_cancelled() {
        anyhow::bail!("stopped; the run can be undone again, and what is left of it is taken back then");
    }
    Ok(if undone.left.is_empty() { Ending::Fine } else { Ending::Attention })
}

/// Show references by key, and hide personal data.
async fn show_values(
    undone: &mut Undone,
    entities: &Entities,
    store: &SharedStore,
    personal: bool,
) -> anyhow::Result<()> {
    let mut referred = BTreeSet::new();
    for one in &undone.restored {
        let Some(spec) = entities.get(&one.entity) else { continue };
        for side in 0..2 {
            let fields = one.fields.iter().filter_map(|(field, pair)| Some((field.clone(), pair.get(side)?.clone())));
            referred.extend(canonical::records(&spec.fields, &fields.collect()));
        }
    }
    let referred: Vec<RecordId> = referred.into_iter().collect();
    let shown = canonical::Shown { keys: store.keys(&referred).await?, personal };
    for one in &mut undone.restored {
        if let Some(spec) = entities.get(&one.entity) {
            shown.changes(&spec.fields, &mut one.fields);
        }
    }
    Ok(())
}

fn text(undone: &Undone) -> String {
    let mut parts = Vec::new();
    if undone.restored.is_empty() {
        parts.push("Nothing was restored.".to_owned());
    } else {
        let rows = undone.restored.iter().map(|one| {
            let fields: Vec<String> = one.fields.iter().map(|(field, pair)| change(field, pair)).collect();
            let fields = if fields.is_empty() { "deleted".to_owned() } else { fields.join("\n") };
            [one.target.clone(), one.entity.clone(), one.key.clone(), fields]
        });
        let count = output::count(undone.restored.len() as u64, "object");
        parts.push(format!("{count} restored:\n{}", output::table(["target", "entity", "key", "fields"], rows)));
    }
    if !undone.left.is_empty() {
        let rows = undone.left.iter().map(|left| {
            let field = left.field.clone().unwrap_or_default();
            [left.target.clone(), left.entity.clone(), left.key.clone(), field, left.reason.clone()]
        });
        parts.push(format!("Left unchanged:\n{}", output::table(["target", "entity", "key", "field", "why"], rows)));
    }
    parts.join("\n\n")
}

async fn list(store: &SharedStore, output: Output) -> anyhow::Result<Ending> {
    let runs = store.runs(RUNS).await?.into_iter().filter(|run| run.balance.changed + run.balance.gone > 0);
    let runs: Vec<Run> = runs.take(LISTED).collect();
    output.show(&runs, |runs| {
        if runs.is_empty() {
            return "No run has changed anything yet.".to_owned();
        }
        let rows = runs.iter().map(|run| {
            [
                run.id.to_string(),
                output::time(run.started_at),
                run.system.clone(),
                run.entity.clone(),
                run.trigger.clone(),
                run.balance.changed.to_string(),
                run.balance.gone.to_string(),
            ]
        });
        output::table(["run", "at", "from", "entity", "by", "changed", "gone"], rows)
    })?;
    Ok(Ending::Fine)
}
