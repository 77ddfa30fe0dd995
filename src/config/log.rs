//! `[log]`: how the daemon tells what it does.

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
    /// # Errors
    /// A level that is none, with its place.
    pub(super) fn check(&self, layers: &Layers) -> Result<(), LoadError> {
        self.level.as_ref().map_or(Ok(()), |level| levels(level.get_ref(), &layers.place(&level.span())))
    }

    /// The same for a level that comes from elsewhere: `whence` is the name it is told by.
    ///
    /// # Errors
    /// A level that is none.
    pub fn check_given(level: &str, whence: &str) -> Result<(), LoadError> {
        levels(level, &Place::start(&SourceFile::new(whence, "")))
    }
}

/// The filter itself takes any word for the name of a module of which everything is told.
fn levels(text: &str, place: &Place) -> Result<(), LoadError> {
    let directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let words = directives.map(|directive| directive.rsplit_once('=').map_or(directive, |(_, level)| level.trim()));
    let wrong = words.filter(|word| !LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level)));
    let wrong = wrong.map(|word| Err::<(), _>(LoadError::unknown(place, "log level", word, LEVELS)));
    LoadError::collect(wrong).map(drop)
}
