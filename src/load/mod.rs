//! Strict reading of TOML files: every problem names its file, line and column, and the nearest known word if there
//! is one.

mod error;
mod node;
mod suggest;

use std::{ops::Range, path::Path, sync::Arc};

use serde::de::DeserializeOwned;

pub use error::{LoadError, Problem};
pub use node::Node;
pub use suggest::{nearest, suggestion};
pub use toml::Spanned;

/// Name of a text that was typed on the command line.
const TYPED: &str = "command line";

/// A text that was read from a file (or is built in), with the name under which people know it.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub name: String,
    pub text: String,
}

impl SourceFile {
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into() })
    }

    /// A text that was typed on the command line.
    #[must_use]
    pub fn typed(text: impl Into<String>) -> Arc<Self> {
        Self::new(TYPED, text)
    }

    /// Whether the text was typed and is not a file.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        self.name == TYPED
    }

    /// Read a file. If it cannot be read or is not UTF-8, that is a problem like any other.
    pub fn read(path: &Path) -> Result<Arc<Self>, LoadError> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(error) => {
                let file = Self::new(name, "");
                Err(LoadError::new(&Place::start(&file), format!("cannot be read: {error}")))
            }
        }
    }

    /// Line and column of a byte, both from 1. Columns count characters.
    #[must_use]
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// The part of a file in which something was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<SourceFile>,
    /// Bytes of the file's text.
    pub span: Range<usize>,
}

impl Place {
    #[must_use]
    pub fn new(file: &Arc<SourceFile>, span: Range<usize>) -> Self {
        Self { file: Arc::clone(file), span }
    }

    /// The file as a whole.
    #[must_use]
    pub fn start(file: &Arc<SourceFile>) -> Self {
        Self::new(file, 0..0)
    }

    /// The place of a spanned value.
    #[must_use]
    pub fn of<T>(file: &Arc<SourceFile>, value: &Spanned<T>) -> Self {
        Self::new(file, value.span())
    }

    /// The place `from..to` bytes into a text that was written at this place. If the text in the file has escapes,
    /// positions in the text do not match the bytes of the file: return this place itself.
    #[must_use]
    pub fn inside(&self, text: &str, range: Range<usize>) -> Self {
        let written = self.file.text.get(self.span.clone()).unwrap_or_default();
        let quote = written.find(text).filter(|_| !text.is_empty());
        match quote {
            Some(quote) => {
                let start = self.span.start + quote;
                Self::new(&self.file, start + range.start..start + range.end)
            }
            None => self.clone(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (line, column) = self.file.line_column(self.span.start);
        write!(f, "{}:{line}:{column}", self.file.name)
    }
}

/// Read a file into `T`. Unknown keys and variants, missing keys and wrong types are refused with their place.
///
/// Structs should derive `Deserialize` with `deny_unknown_fields`. Do not use `flatten` and `untagged`: they lose
/// the places of their contents.
pub fn parse<T: DeserializeOwned>(file: &Arc<SourceFile>) -> Result<T, LoadError> {
    toml::Deserializer::parse(&file.text).and_then(T::deserialize).map_err(|error| LoadError::from_toml(file, &error))
}

#[cfg(test)]
mod tests;
