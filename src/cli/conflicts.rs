//! `vaiven conflicts`: shows fields that wait for a person, and decides on them.

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Ending, app, args::ConflictsCommand, canonical, naming, output, session::Session};
use crate::{
    model::{Entities, EntitySpec},
    store::{Conflict, ConflictKind, SharedStore},
    sync::{Decision, decide},
};

/// A conflict with everything that a decision needs.
#[derive(Serialize)]
struct Shown {
    entity: String,
    key: String,
    field: String,
    kind: ConflictKind,
    /// The system whose value differs.
    system: String,
    since: DateTime<Utc>,
    /// The value that the sides last agreed on; for a drift, the value that the owner had delivered.
    base: Value,
    /// System to its value.
    values: Map<String, Value>,
}

pub async fn conflicts(command: &ConflictsCommand, session: &Session) -> anyhow::Result<Ending> {
    let Session { config, store, env, output } = session;
    let entities = config.entities()?;
    match command {
        ConflictsCommand::List { limit, personal } => {
            let open = store.conflicts(*limit).await?;
            let shown = shown(&open, &entities, store, *personal).await?;
            output.show(&shown, |shown| list(shown))?;
            Ok(if shown.is_empty() { Ending::Fine } else { Ending::Attention })
        }
        ConflictsCommand::Show { entity, key, personal } => {
            let open = of_record(entity, key, None, store).await?;
            let shown = shown(&open, &entities, store, *personal).await?;
            output.show(&shown, |shown| shown.iter().map(one).collect::<Vec<_>>().join("\n\n"))?;
            Ok(Ending::Attention)
        }
        ConflictsCommand::Resolve { entity, key, field, take, value } => {
            let decision = match (take, value) {
                (Some(system), _) => Decision::Take(system.clone()),
                (None, Some(text)) => Decision::Value(canonical_value(text, entity, field, &entities)?),
                (None, None) => bail!("say which value it is to be: --take SYSTEM or --value JSON"),
            };
            let open = of_record(entity, key, Some(field), store).await?;
            let routes = app::plan(config, env)?.routes;
            for conflict in &open {
                decide(store, &routes, conflict, &decision, env.now()).await?;
            }
            let decided = format!("{entity} {key}: {field} is decided; the running daemon delivers it");
            output.show(&serde_json::json!({ "settled": open.len() }), |_| decided)?;
            Ok(Ending::Fine)
        }
    }
}

/// The canonical form of a value that was given on the command line for a field.
fn canonical_value(text: &str, entity: &str, field: &str, entities: &Entities) -> anyhow::Result<Value> {
    let value: Value = serde_json::from_str(text)
        .with_context(|| format!("`{text}` is not JSON; a text stands in quotes: --value '\"...\"'"))?;
    let spec = entities.get(entity).with_context(|| format!("there is no entity {entity}"))?;
    let mut fields = Map::from_iter([(field.to_owned(), value)]);
    if let Err(errors) = crate::model::normalize(spec, &mut fields) {
        bail!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    }
    Ok(fields.remove(field).unwrap_or(Value::Null))
}

async fn of_record(entity: &str, key: &str, field: Option<&str>, store: &SharedStore) -> anyhow::Result<Vec<Conflict>> {
    let Some(record) = naming::record(store, entity, key).await? else {
        bail!("no {entity} with key `{key}` was seen at any system");
    };
    let mut open = store.conflicts_of(&[record]).await?;
    open.retain(|conflict| field.is_none_or(|field| conflict.field == field));
    if open.is_empty() {
        let of = field.map(|field| format!(" of {field}")).unwrap_or_default();
        bail!("{entity} {key} has no open conflict{of}; `vaiven conflicts list` shows those there are");
    }
    Ok(open)
}

async fn shown(
    open: &[Conflict],
    entities: &Entities,
    store: &SharedStore,
    personal: bool,
) -> anyhow::Result<Vec<Shown>> {
    let records: Vec<_> = open.iter().map(|conflict| conflict.record).collect();
    let keys = store.keys(&records).await?;
    let replicas = store.replicas_of(&records).await?;
    let referred: Vec<_> = replicas
        .iter()
        .filter_map(|replica| Some(canonical::records(&entities.get(&replica.entity)?.fields, &replica.fields)))
        .flatten()
        .collect();
    let names = canonical::Shown { keys: store.keys(&referred).await?, personal };
    let cell = |spec: Option<&EntitySpec>, field: &str, value: Value| match spec {
        Some(spec) if !value.is_null() => {
            let fields = names.fields(&spec.fields, &Map::from_iter([(field.to_owned(), value)]));
            fields.get(field).cloned().unwrap_or(Value::Null)
        }
        _ => value,
    };
    Ok(open
        .iter()
        .map(|conflict| {
            let spec = entities.get(&conflict.entity).map(|spec| &**spec);
            let of_record =
                replicas.iter().filter(|replica| replica.record == conflict.record && replica.gone_at.is_none());
            let values = of_record.map(|replica| {
                let value = replica.fields.get(&conflict.field).cloned().unwrap_or(Value::Null);
                (replica.system.clone(), cell(spec, &conflict.field, value))
            });
            Shown {
                entity: conflict.entity.clone(),
                key: keys.get(&conflict.record).map(|(_, key)| key.clone()).unwrap_or_default(),
                field: conflict.field.clone(),
                kind: conflict.kind,
                system: conflict.system.clone(),
                since: conflict.at,
                base: cell(spec, &conflict.field, conflict.base.clone()),
                values: values.collect(),
            }
        })
        .collect())
}

fn word(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::Conflict => "conflict",
        ConflictKind::Drift => "drift",
    }
}

fn list(shown: &[Shown]) -> String {
    if shown.is_empty() {
        return "No conflicts: nothing waits for a decision.".to_owned();
    }
    let rows = shown.iter().map(|one| {
        let values = one.values.iter().map(|(system, value)| format!("{system}: {}", canonical::cell(value)));
        [
            word(one.kind).to_owned(),
            one.entity.clone(),
            one.key.clone(),
            one.field.clone(),
            canonical::cell(&one.base),
            values.collect::<Vec<_>>().join("\n"),
            output::time(one.since),
        ]
    });
    let table = output::table(["what", "entity", "key", "field", "was", "is", "since"], rows);
    format!("{table}\n\n`vaiven conflicts resolve ENTITY KEY FIELD --take SYSTEM` decides.")
}

fn one(shown: &Shown) -> String {
    let rows = std::iter::once(["was".to_owned(), canonical::cell(&shown.base)])
        .chain(shown.values.iter().map(|(system, value)| [system.clone(), canonical::cell(value)]));
    let what = match shown.kind {
        ConflictKind::Conflict => format!("changed at {} and elsewhere since they last agreed", shown.system),
        ConflictKind::Drift => format!("edited at {}, which does not own it", shown.system),
    };
    let ways: Vec<String> = shown
        .values
        .keys()
        .map(|system| {
            let Shown { entity, key, field, .. } = shown;
            format!("  vaiven conflicts resolve {entity} {key} {field} --take {system}")
        })
        .collect();
    format!(
        "{} {}: {} ({what})\n{}\n{}",
        shown.entity,
        shown.key,
        shown.field,
        output::table(["system", "value"], rows),
        ways.join("\n")
    )
}
