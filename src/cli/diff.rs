//! `vaiven mapping diff`: shows what edited mappings would change, without changing it.

use anyhow::bail;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{
    Ending, app, approve,
    args::{DiffArgs, Global},
    lifecycle::Lifecycle,
    output::{self, Output},
    plan::change,
    run,
};
use crate::{
    env::Env,
    load::{LoadError, Place, SourceFile},
    store,
    sync::{
        Context,
        plan::{Edit, Remapped, TargetDiff, mapping_diff},
    },
};

/// Number of examples of each kind, unless all are asked for.
const EXAMPLES: usize = 5;

pub async fn diff(args: &DiffArgs, global: &Global, env: &Env) -> anyhow::Result<Ending> {
    let config = app::config(global)?;
    // Without a state there is nothing to compare with.
    drop(app::existing_store(&config).await?);
    let life = Lifecycle::listen(env)?;
    let opened = app::plan(&config, env)?;
    let copy = store::copy(config.store_url()?.expose_secret(), env).await?;
    let context = run::context(opened, copy.store.clone(), env);
    let examples = if args.all { usize::MAX } else { EXAMPLES };
    let comparing = async {
        let pairs = pairs(&args.names, &context)?;
        anyhow::Ok(mapping_diff(context, &pairs, examples, args.personal, &life.soft).await?)
    };
    let made = life.guard(comparing).await;
    copy.remove().await?;
    let Some(made) = made else { bail!("stopped at once; nothing was written") };
    let made = made?;
    Output::new(global).show(&made, |made| text(made))?;
    Ok(if made.iter().any(|one| one.error.is_some()) {
        Ending::Failed
    } else if made.iter().all(Remapped::is_nothing) {
        Ending::Fine
    } else {
        Ending::Attention
    })
}

/// Systems with entities that can be listed, limited to the given names.
fn pairs(names: &[String], context: &Context) -> Result<Vec<(String, String)>, LoadError> {
    let listed = |(system, entity): &&(String, String)| {
        let capabilities = context.systems.get(system).and_then(|endpoint| endpoint.capabilities(entity));
        capabilities.is_some_and(|capabilities| capabilities.list)
    };
    let all: Vec<(String, String)> = context.mappings.keys().filter(listed).cloned().collect();
    let is_meant = |name: &str, (system, entity): &(String, String)| {
        name == system || name.split_once('/') == Some((system.as_str(), entity.as_str()))
    };
    if let Some(name) = names.iter().find(|name| !all.iter().any(|pair| is_meant(name, pair))) {
        let known = all.iter().flat_map(|(system, entity)| [system.clone(), format!("{system}/{entity}")]);
        let known: Vec<String> = known.collect();
        let (typed, known) = (SourceFile::typed(name.as_str()), known.iter().map(String::as_str));
        return Err(LoadError::unknown(&Place::new(&typed, 0..name.len()), "system or system/entity", name, known));
    }
    let meant = |pair: &(String, String)| names.is_empty() || names.iter().any(|name| is_meant(name, pair));
    Ok(all.into_iter().filter(meant).collect())
}

fn text(made: &[Remapped]) -> String {
    let rows = made.iter().map(|one| {
        let result = match &one.error {
            Some(error) => format!("not read: {error}"),
            None if one.unchanged => "the mapping has not changed".to_owned(),
            None if one.is_nothing() => "no difference".to_owned(),
            None => String::new(),
        };
        [
            one.system.clone(),
            one.entity.clone(),
            one.read.to_string(),
            one.changed.to_string(),
            one.unreadable.to_string(),
            one.left_out.to_string(),
            result,
        ]
    });
    let header = ["system", "entity", "rows", "changed", "unreadable", "left out", ""];
    let mut parts = vec![output::table(header, rows)];
    if made.iter().any(|one| one.left_out > 0) {
        parts.push("Left out: rows that are new, or that have changed since they were last read.".to_owned());
    }
    for one in made.iter().filter(|one| !one.is_nothing()) {
        if one.changed > 0 {
            let fields: Vec<String> = one.fields.iter().map(|(field, count)| format!("{field} {count}")).collect();
            let title =
                format!("{} of {} would change: {} ({})", one.entity, one.system, one.changed, fields.join(", "));
            parts.push(changed(title, &one.examples, one.changed));
        }
        if one.unreadable > 0 {
            let mut lines =
                vec![format!("{} of {} could no longer be read: {}", one.entity, one.system, one.unreadable)];
            lines.extend(one.reasons.iter().map(|row| {
                let id = row.id.as_deref().unwrap_or(&row.position);
                format!("  {id}  {}", row.reason)
            }));
            parts.push(lines.join("\n"));
        }
        parts.extend(one.targets.iter().map(|at| target(&one.entity, at)));
    }
    parts.join("\n\n")
}

fn target(entity: &str, at: &TargetDiff) -> String {
    let mut lines =
        vec![changed(format!("update {entity} at {}: {}", at.target, at.updates), &at.examples, at.updates)];
    lines.extend(at.brakes.iter().map(|trip| format!("  it would wait for an approval: {}", approve::trip(trip))));
    lines.join("\n")
}

fn changed(title: String, examples: &[Edit], count: u64) -> String {
    let mut lines = vec![title];
    for example in examples {
        lines.push(format!("  {}", example.key));
        lines.extend(
            example.fields.iter().map(|(field, pair): (&String, &Value)| format!("    {}", change(field, pair))),
        );
    }
    let rest = count.saturating_sub(examples.len() as u64);
    if rest > 0 {
        lines.push(format!("  and {rest} more (--all shows them)"));
    }
    lines.join("\n")
}
