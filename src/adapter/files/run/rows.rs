//! What every format gives: rows in order, each with its line.

use serde_json::Value;

use super::text::TextError;
use crate::port::RowBody;

/// The next thing in a file.
#[derive(Debug)]
pub enum Item {
    Row {
        line: u64,
        body: RowBody,
    },
    /// Something that is not a row. The rest of the file can still be read.
    Bad {
        line: u64,
        reason: String,
        /// Its text in the file, for the file of rejected rows.
        text: String,
    },
}

impl Item {
    /// The line on which it begins.
    pub fn line(&self) -> u64 {
        match self {
            Self::Row { line, .. } | Self::Bad { line, .. } => *line,
        }
    }
}

/// Why a file is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("line {line}: {problem}")]
    At { line: u64, problem: String },
    #[error("{0}")]
    Whole(String),
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

impl FileError {
    pub fn at(line: u64, problem: impl Into<String>) -> Self {
        Self::At { line, problem: problem.into() }
    }

    /// An I/O error near `line`. Problems of the text keep their own words.
    pub fn reading(line: u64, error: std::io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<TextError>()) {
            Some(TextError::TooLong) => Self::at(
                line,
                "the row that begins here is longer than `max_row`; is a quote or an element not closed?",
            ),
            Some(wide @ TextError::Wide) => Self::Whole(wide.to_string()),
            None => Self::Io(error),
        }
    }
}

/// A format's reader.
pub trait Rows: Send {
    /// The next item. Return `None` at the file's proper end. A file that ends too early is an error.
    fn next_item(&mut self) -> Result<Option<Item>, FileError>;

    /// Column names, if the format has columns.
    fn columns(&self) -> Option<&[String]> {
        None
    }
}

/// A JSON value as a row, or the reason why it is not one.
pub fn object(line: u64, value: Value) -> Item {
    match value {
        Value::Object(_) => Item::Row { line, body: RowBody::Json(value) },
        other => Item::Bad {
            line,
            reason: format!("{} stands where an object should", crate::expr::json_kind(&other)),
            text: other.to_string(),
        },
    }
}
