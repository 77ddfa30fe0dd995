//! `[paths]`: folders of adapters and mappings in addition to those that ship in the binary.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

/// Folders of adapters and mappings; what they hold wins over what ships in the binary.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathsSection {
    /// `<name>.toml` each. Default: `adapters` beside the configuration, or beside its folder.
    pub adapters: Option<Vec<PathBuf>>,
    /// `<adapter>/<entity>.toml` each. Default: `mappings` likewise.
    pub mappings: Option<Vec<PathBuf>>,
}

/// The named folders, or else those called `name` next to the configuration and next to its folder.
pub fn folders(named: Option<&[PathBuf]>, name: &str, folder: &Path) -> Vec<PathBuf> {
    match named {
        Some(named) => named.iter().map(|path| folder.join(path)).collect(),
        None => [folder.join(name), folder.join("..").join(name)].into_iter().filter(|path| path.is_dir()).collect(),
    }
}
