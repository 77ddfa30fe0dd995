//! What happens in the company and in its shop while the daemon runs: a script of small steps, each done exactly
//! once whatever interrupts it. A step in the ERP commits together with its mark; a step in the shop puts its mark
//! on what it creates; a step that drops a file looks for the file first.

mod company;
mod market;
mod script;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::{Connection, SqliteConnection};

use super::{drop, generate::Seed};
use crate::{env::Env, sandbox::Shop};
pub use script::{Act, act, length};

/// How long a step waits for the daemon to deliver what it needs.
const PATIENCE: chrono::Duration = chrono::Duration::seconds(240);
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(150);

/// Both outside systems, as the people who work with them see them.
pub struct World {
    pub env: Env,
    pub erp: SqliteConnection,
    pub shop: Shop,
    /// The shop's database, only for reading.
    pub shelves: SqliteConnection,
    /// The folder into which the ERP drops its files.
    pub drop: PathBuf,
    pub seed: Seed,
}

impl World {
    /// The next step to do.
    ///
    /// # Errors
    /// If the ERP's database fails.
    pub async fn next_step(&mut self) -> anyhow::Result<u32> {
        let last: i64 =
            sqlx::query_scalar("SELECT coalesce(max(paso), 0) FROM demo_paso").fetch_one(&mut self.erp).await?;
        Ok(u32::try_from(last)? + 1)
    }

    /// Do a step and mark it as done. Return a description of what happened.
    ///
    /// # Errors
    /// If a system fails, or the daemon does not deliver in time what the step needs.
    pub async fn take(&mut self, step: u32) -> anyhow::Result<String> {
        let what = act(step);
        let happened = self.perform(step, what).await.with_context(|| format!("step {step} of the demo ({what:?})"))?;
        Ok(happened)
    }

    async fn perform(&mut self, step: u32, what: Act) -> anyhow::Result<String> {
        let mut seed = self.seed.fork(1_000 + u64::from(step));
        let happened = match what {
            Act::DropPrices => self.drop_file("precios", "csv", step, "").await?,
            Act::DropStock => self.drop_file("stock", "xml", step, "").await?,
            Act::Opened => self.until_open().await?,
            Act::Arrived => self.until_arrived().await?,
            Act::Register(count) => self.register(step, count).await?,
            Act::Buy { guests, accounts } => self.buy(step, &mut seed, guests, accounts).await?,
            Act::Company(deed) => {
                // The effect and its mark are stored in one transaction.
                let mut whole = self.erp.begin_with("BEGIN IMMEDIATE").await?;
                let happened = company::act(&mut whole, deed, step, &mut seed).await?;
                mark(&mut whole, step, &happened).await?;
                whole.commit().await?;
                return Ok(happened);
            }
        };
        mark(&mut self.erp, step, &happened).await?;
        Ok(happened)
    }

    /// Let the ERP export its stock once more after the last step: then the shop's last orders are certain to be
    /// included in the figures.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn export_stock(&mut self, again: u32) -> anyhow::Result<String> {
        let last = self.next_step().await?.saturating_sub(1);
        self.drop_file("stock", "xml", last, &format!("_{again:03}")).await
    }

    async fn drop_file(&mut self, kind: &str, ending: &str, step: u32, mark: &str) -> anyhow::Result<String> {
        let day = NaiveDate::from_ymd_opt(2026, 1, 1)
            .and_then(|first| first.checked_add_days(Days::new(step.into())))
            .context("the demo has outlived the calendar")?;
        let name = format!("{kind}_{}{mark}.{ending}", day.format("%Y%m%d"));
        let content =
            if ending == "csv" { drop::prices(&mut self.erp).await? } else { drop::stock(&mut self.erp).await? };
        drop::put(&self.drop, &name, &content).with_context(|| format!("cannot write {name}"))?;
        Ok(format!("ERP exports {name} ({} kB)", content.len().div_ceil(1000)))
    }

    fn patience(&self, what: &'static str) -> Patience {
        Patience { env: self.env.clone(), until: self.env.now() + PATIENCE, what }
    }
}

async fn mark(erp: &mut SqliteConnection, step: u32, happened: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO demo_paso VALUES (?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), ?)")
        .bind(step)
        .bind(happened)
        .execute(erp)
        .await
        .map(|_| ())
}

/// Waits for something that the daemon does, up to a limit.
struct Patience {
    env: Env,
    until: DateTime<Utc>,
    what: &'static str,
}

impl Patience {
    async fn wait(&self) -> anyhow::Result<()> {
        if self.env.now() > self.until {
            bail!("waited {} s for {}; `vaiven status` tells what holds it up", PATIENCE.num_seconds(), self.what);
        }
        self.env.sleep(LOOK_AGAIN).await;
        Ok(())
    }
}
