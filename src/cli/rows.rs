//! `vaiven rows`: dismisses rows that cannot be read, so nothing waits for them any more.

use anyhow::bail;
use serde::Serialize;

use super::{Ending, args::RowsCommand, output, rejected::rejected, session::Session};

#[derive(Serialize)]
struct Dismissed {
    rows: u64,
}

pub async fn rows(command: &RowsCommand, session: &Session) -> anyhow::Result<Ending> {
    let Session { store, env, output, .. } = session;
    match command {
        RowsCommand::List { system, limit } => rejected(system.as_deref(), *limit, session).await,
        RowsCommand::Dismiss { place, row, all } => {
            let Some((system, entity)) = place.split_once('/') else {
                bail!("`{place}` is no system and entity; write them as `vaiven rejected` does: shop/product");
            };
            if row.is_none() && !all {
                bail!("say which row, by its id or place as `vaiven rejected` shows it, or --all");
            }
            let rows = store.dismiss(system, entity, row.as_deref(), env.now()).await?;
            if rows == 0 {
                bail!("{place} has no such row that is not put aside; `vaiven rejected` shows them");
            }
            let text =
                |done: &Dismissed| format!("{} put aside: nothing waits for it", output::count(done.rows, "row"));
            output.show(&Dismissed { rows }, text)?;
            Ok(Ending::Fine)
        }
    }
}
