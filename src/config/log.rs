//! `[log]`: how the daemon tells what it does.

use schemars::JsonSchema;
use serde::Deserialize;

/// How the daemon tells what it does.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, also per module: `info,vaiven::sync=debug`. Default `info`.
    pub level: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines for people, on the standard error stream.
    #[default]
    Human,
    /// One JSON object per line, on the standard error stream.
    Json,
    /// The journal of systemd, with fields.
    Journald,
}
