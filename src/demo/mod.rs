//! A hardware shop in a folder: an ERP in a SQLite file, price and stock files it drops, a shop of its own, and a life of
//! small changes on both sides, to watch the daemon at work without installing anything.

mod compare;
mod drop;
mod erp;
mod generate;
mod home;
mod life;
mod report;
mod teller;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::env::Env;
pub use report::Report;

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
}
