//! `vaiven differences`: shows fields that targets hold otherwise than they were sent, and accepts them.

use anyhow::bail;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Ending, args::DifferencesCommand, canonical, output, session::Session};
use crate::{
    model::Entities,
    store::{Difference, SharedStore},
};

#[derive(Serialize)]
struct Line {
    /// The target.
    system: String,
    entity: String,
    key: String,
    field: String,
    sent: Value,
    stored: Value,
    since: DateTime<Utc>,
    accepted: bool,
}

pub async fn differences(command: &DifferencesCommand, session: &Session) -> anyhow::Result<Ending> {
    let Session { config, store, env, output } = session;
    match command {
        DifferencesCommand::List { limit, all, personal } => {
            let found = store.differences(*all, *limit).await?;
            let lines = lines(&found, &config.entities()?, store, *personal).await?;
            output.show(&lines, |lines| text(lines))?;
            Ok(if lines.iter().any(|line| !line.accepted) { Ending::Attention } else { Ending::Fine })
        }
        DifferencesCommand::Accept { system, entity, key, field, all } => {
            if system.is_none() && entity.is_none() && !all {
                bail!("say which differences to accept: SYSTEM [ENTITY [KEY [FIELD]]], or --all");
            }
            let said = |asked: &Option<String>, is: &str| asked.as_deref().is_none_or(|asked| asked == is);
            let found = store.differences(false, 0).await?;
            let chosen: Vec<_> = found
                .into_iter()
                .filter(|one| said(system, &one.system) && said(entity, &one.entity))
                .filter(|one| said(key, &one.key) && said(field, &one.field))
                .map(|one| (one.system, one.record, one.field))
                .collect();
            if chosen.is_empty() {
                bail!("there is no such difference; `vaiven differences list` shows those there are");
            }
            let accepted = store.accept_differences(&chosen, env.now()).await?;
            output.show(&serde_json::json!({ "accepted": accepted }), |_| {
                format!(
                    "{} accepted: what the target stores counts as what was sent",
                    output::count(accepted, "difference")
                )
            })?;
            Ok(Ending::Fine)
        }
    }
}

async fn lines(
    found: &[Difference],
    entities: &Entities,
    store: &SharedStore,
    personal: bool,
) -> anyhow::Result<Vec<Line>> {
    let sides =
        |one: &Difference| [&one.sent, &one.stored].map(|value| Map::from_iter([(one.field.clone(), value.clone())]));
    let mut referred = Vec::new();
    for one in found {
        if let Some(spec) = entities.get(&one.entity) {
            referred.extend(sides(one).iter().flat_map(|side| canonical::records(&spec.fields, side)));
        }
    }
    let names = canonical::Shown { keys: store.keys(&referred).await?, personal };
    Ok(found
        .iter()
        .map(|one| {
            let [sent, stored] = sides(one).map(|side| match entities.get(&one.entity) {
                Some(spec) => names.fields(&spec.fields, &side).remove(&one.field).unwrap_or_default(),
                None => Value::Null,
            });
            Line {
                system: one.system.clone(),
                entity: one.entity.clone(),
                key: one.key.clone(),
                field: one.field.clone(),
                sent,
                stored,
                since: one.since,
                accepted: one.accepted,
            }
        })
        .collect())
}

fn text(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "No differences: as far as targets have shown, they store what they were sent.".to_owned();
    }
    let rows = lines.iter().map(|line| {
        [
            line.system.clone(),
            line.entity.clone(),
            line.key.clone(),
            line.field.clone(),
            canonical::cell(&line.sent),
            canonical::cell(&line.stored),
            format!("{}{}", output::time(line.since), if line.accepted { ", accepted" } else { "" }),
        ]
    });
    let table = output::table(["target", "entity", "key", "field", "sent", "stored", "since"], rows);
    format!(
        "{table}\n\nA difference ends when the source says what the target stores, when its mapping changes (it is sent \
         again), or when a later read shows what was sent.\n`vaiven differences accept TARGET ENTITY KEY FIELD` accepts it as it is."
    )
}
