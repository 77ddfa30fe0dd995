//! `[log]`: how the daemon logs its work.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Layers;
use crate::load::{LoadError, Place, SourceFile, Spanned};

/// How the daemon tells what it does.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, also per module: `info,vaiven::sync=debug`. Default `info`.
    #[schemars(with = "Option<String>")]
    pub level: Option<Spanned<String>>,
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

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl LogSection {
    /// Check the level.
    ///
    /// # Errors
    /// If the level is unknown, with its place.
    pub(super) fn check(&self, layers: &Layers) -> Result<(), LoadError> {
        self.level.as_ref().map_or(Ok(()), |level| levels(level.get_ref(), &layers.place(&level.span())))
    }

    /// Like `check`, for a level that comes from elsewhere: `whence` names its origin in the message.
    ///
    /// # Errors
    /// If the level is unknown.
    pub fn check_given(level: &str, whence: &str) -> Result<(), LoadError> {
        levels(level, &Place::start(&SourceFile::new(whence, "")))
    }
}

/// The filter itself accepts any word: as the name of a module of which everything is logged.
fn levels(text: &str, place: &Place) -> Result<(), LoadError> {
    let directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let words = directives.map(|directive| directive.rsplit_once('=').map_or(directive, |(_, level)| level.trim()));
    let wrong = words.filter(|word| !LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level)));
    let wrong = wrong.map(|word| Err::<(), _>(LoadError::unknown(place, "log level", word, LEVELS)));
    LoadError::collect(wrong).map(drop)
}
