//! A hardware shop in a folder, to watch the daemon at work without installing anything: an ERP in a SQLite file,
//! price and stock files that it drops, a shop of its own, and a sequence of small changes on both sides.

mod apart;
mod compare;
mod drop;
mod erp;
mod generate;
mod home;
mod life;
mod once;
mod open_end;
mod report;
mod stage;
mod teller;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::{env::Env, opened::Ending};
pub use teller::Audience;

/// Options of `vaiven demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Live a scripted life, wait until all is quiet, compare both sides and end
    #[arg(long)]
    pub once: bool,
    /// Folder of the demo's data; a second start there goes on where the first was cut off
    #[arg(long, default_value = "vaiven-demo", value_name = "FOLDER")]
    pub dir: PathBuf,
    /// Another seed makes another company (only a new folder takes it)
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Run no daemon in this process: the ones that do the work are `vaiven run --config FOLDER/vaiven.toml`, as many as there
    /// are; the end comes when they have made both sides equal and left nothing over
    #[arg(long, requires = "once")]
    pub apart: bool,
    /// Steps to live with `--once`; after those of the script daily life goes on
    #[arg(long, value_name = "NUMBER", default_value_t = life::length(), hide_default_value = true, requires = "once")]
    pub steps: u32,
    /// State store to write into the configuration, as in `[store]` (default: a SQLite file in the folder)
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// Run the demo until its script ends, or without `once` until `shutdown`.
///
/// # Errors
/// If the folder cannot be used, or a system of the demo fails.
pub async fn run(
    options: &Options,
    env: &Env,
    audience: Audience,
    shutdown: &CancellationToken,
) -> anyhow::Result<Ending> {
    let steps = options.once.then_some(options.steps);
    let teller = teller::Teller::new(steps, audience);
    let stage = stage::Stage::open(options, env, &teller).await?;
    let ending = if options.apart {
        apart::run(stage, options.steps, &teller, shutdown).await
    } else if options.once {
        once::run(stage, options.steps, &teller, shutdown).await
    } else {
        open_end::run(stage, &teller, shutdown).await
    };
    teller.close();
    ending
}
