//! `vaiven backup`: copies the state while the daemon runs.

use std::path::Path;

use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::{Ending, output::Output};
use crate::{config::Config, store};

#[derive(Serialize)]
struct Made<'a> {
    file: &'a Path,
    bytes: u64,
}

pub async fn backup(file: &Path, config: &Config, output: Output) -> anyhow::Result<Ending> {
    let bytes = store::backup(config.store_url()?.expose_secret(), file).await?;
    output.show(&Made { file, bytes }, |made| {
        format!(
            "{} holds the state as it is now ({} kB). To go back to it: stop the daemon, put the file in the place of the \
             state, remove what ends in -wal and -shm beside it, start the daemon.",
            made.file.display(),
            made.bytes.div_ceil(1000)
        )
    })?;
    Ok(Ending::Fine)
}
