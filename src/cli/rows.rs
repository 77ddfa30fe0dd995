//! `vaiven rows`: rows that could not be read, and what waits for them.

use anyhow::bail;
use serde::Serialize;

use super::{
    Ending,
    args::RowsCommand,
    output::{self, Output},
};
use crate::{
    env::Env,
    store::{Rejection, SharedStore},
};

#[derive(Serialize)]
struct Line {
    system: String,
    entity: String,
    #[serde(flatten)]
    row: Rejection,
}

#[derive(Serialize)]
struct Dismissed {
    rows: u64,
}

pub async fn rows(command: &RowsCommand, store: &SharedStore, env: &Env, output: Output) -> anyhow::Result<Ending> {
    match command {
        RowsCommand::List { system, limit } => list(system.as_deref(), *limit, store, output).await,
        RowsCommand::Dismiss { place, row, all } => {
            let Some((system, entity)) = place.split_once('/') else {
                bail!("`{place}` is no system and entity; write them as `vaiven rows list` does: shop/product");
            };
            if row.is_none() && !all {
                bail!("say which row, by its id or place as `vaiven rows list` shows it, or --all");
            }
            let rows = store.dismiss(system, entity, row.as_deref(), env.now()).await?;
            if rows == 0 {
                bail!("{place} has no such row that is not put aside; `vaiven rows list` shows them");
            }
            let told =
                |done: &Dismissed| format!("{} put aside: nothing waits for it", output::count(done.rows, "row"));
            output.show(&Dismissed { rows }, told)?;
            Ok(Ending::Fine)
        }
    }
}

async fn list(system: Option<&str>, limit: u32, store: &SharedStore, output: Output) -> anyhow::Result<Ending> {
    let most = if limit == 0 { u32::MAX } else { limit };
    let rows = store.rejections(system, most).await?;
    let lines: Vec<Line> = rows.into_iter().map(|(system, entity, row)| Line { system, entity, row }).collect();
    output.show(&lines, |lines| text(lines))?;
    Ok(if lines.iter().any(|line| !line.row.dismissed) { Ending::Attention } else { Ending::Fine })
}

fn text(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "Every row could be read.".to_owned();
    }
    let rows = lines.iter().map(|line| {
        [
            format!("{}/{}", line.system, line.entity),
            line.row.id.clone().unwrap_or_else(|| line.row.position.clone()),
            line.row.field.clone().unwrap_or_default(),
            line.row.reason.clone(),
            if line.row.dismissed { "put aside".to_owned() } else { String::new() },
        ]
    });
    output::table(["from", "row", "field", "why it could not be read", ""], rows)
}
