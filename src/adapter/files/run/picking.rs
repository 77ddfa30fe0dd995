//! Turns an item of a file into a source row: its id, its version, whether it counts.

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
};

use serde_json::Value;

use super::rows::{FileError, Item, Rows};
use crate::{
    adapter::{manifest::Settings, run::base_scope},
    expr::{Expr, ExprError, Path, Step, text_of},
    model::flaw,
    port::{RowBody, SourceRow},
};

/// How items become source rows.
#[derive(Clone, Debug)]
pub struct Picking {
    entity: Value,
    settings: Settings,
    id: Expr,
    /// Set if the id is just a column of this name.
    column: Option<String>,
    version: Option<Expr>,
    keep: Option<Expr>,
    hasher: RandomState,
}

/// What is known of the file that is being read.
#[derive(Debug)]
pub struct Picked {
    /// Index of the id's column.
    column: Option<usize>,
    /// Fingerprints of the ids seen: in the whole file if it holds each object once, or else on this page.
    seen: HashSet<u64, BuildHasherDefault<Same>>,
    once: bool,
}

/// Result for one item.
#[derive(Debug)]
pub enum Taken {
    Row(SourceRow),
    /// It does not count (`keep`).
    Left,
    Bad {
        line: u64,
        id: Option<String>,
        reason: String,
        text: String,
        /// The row, if it could be parsed.
        row: Option<Value>,
    },
}

impl Picking {
    pub fn new(entity: &str, settings: &Settings, id: Expr, version: Option<Expr>, keep: Option<Expr>) -> Self {
        let column =
            Path::parse(id.text(), false).filter(|_| id.is_path()).and_then(|path| match path.steps.as_slice() {
                [Step::Member(name)] => Some(name.clone()),
                _ => None,
            });
        Self {
            entity: Value::from(entity),
            settings: settings.clone(),
            id,
            column,
            version,
            keep,
            hasher: RandomState::new(),
        }
    }

    /// Prepare for a file. With `once`, an id that occurs twice in it is an error.
    ///
    /// # Errors
    /// If the column that holds the id is missing.
    pub fn begin(&self, rows: &dyn Rows, once: bool) -> Result<Picked, FileError> {
        let column = match (rows.columns(), &self.column) {
            (Some(columns), Some(name)) => match columns.iter().position(|column| column == name) {
                Some(index) => Some(index),
                None => {
                    let message = format!("the key column `{name}` is missing; there are: {}", columns.join(", "));
                    return Err(FileError::at(1, message));
                }
            },
            _ => None,
        };
        Ok(Picked { column, seen: HashSet::default(), once })
    }

    /// Skip an item that an earlier page held.
    pub fn skip(&self, picked: &mut Picked, item: &Item) -> Result<(), FileError> {
        if let (true, Item::Row { line, body }) = (picked.once, item)
            && let Ok(id) = self.id_of(picked, body, *line)?
        {
            picked.seen.insert(self.hasher.hash_one(id));
        }
        Ok(())
    }

    /// Whether an item must wait for the next page: in a file of changes, if this page already holds its object.
    pub fn closes_page(&self, picked: &Picked, item: &Item) -> Result<bool, FileError> {
        match item {
            Item::Row { line, body } if !picked.once => {
                let id = self.id_of(picked, body, *line)?;
                Ok(id.is_ok_and(|id| picked.seen.contains(&self.hasher.hash_one(id))))
            }
            _ => Ok(false),
        }
    }

    pub fn take(&self, picked: &mut Picked, item: Item, file: &str) -> Result<Taken, FileError> {
        let (line, body) = match item {
            Item::Row { line, body } => (line, body),
            Item::Bad { line, reason, text } => return Ok(Taken::Bad { line, id: None, reason, text, row: None }),
        };
        let bad = |id, reason: String, body: RowBody| {
            let row = body.into_value();
            Ok(Taken::Bad { line, id, reason, text: flaw::shown(&row).to_string(), row: Some(row) })
        };
        let id = match self.id_of(picked, &body, line)? {
            Ok(id) if id.trim().is_empty() => return bad(None, "the key is empty".to_owned(), body),
            Ok(id) => id,
            Err(error) => {
                let flaw = flaw::first(&value(&body));
                return bad(None, flaw.map_or_else(|| error.to_string(), |flaw| flaw.to_string()), body);
            }
        };
        if !picked.seen.insert(self.hasher.hash_one(&id)) {
            return bad(Some(id), "the key stands twice in the file".to_owned(), body);
        }
        let version = match self.version_if_kept(&body) {
            Ok(Some(version)) => version,
            Ok(None) => return Ok(Taken::Left),
            Err(error) => {
                let flaw = flaw::first(&value(&body));
                return bad(Some(id), flaw.map_or_else(|| error.to_string(), |flaw| flaw.to_string()), body);
            }
        };
        let mut position = String::with_capacity(file.len() + 10);
        position.push_str(file);
        position.push(':');
        position.push_str(itoa(line, &mut [0; 20]));
        Ok(Taken::Row(SourceRow { id, position, version, body }))
    }

    /// The row's version, if the row counts.
    fn version_if_kept(&self, body: &RowBody) -> Result<Option<Option<String>>, ExprError> {
        if self.keep.is_none() && self.version.is_none() {
            return Ok(Some(None));
        }
        let row = value(body);
        let base = base_scope(&self.settings, &self.entity);
        let scope = base.on_row(&row);
        if let Some(keep) = &self.keep
            && !keep.eval_bool(&scope)?
        {
            return Ok(None);
        }
        let version = self.version.as_ref().map(|version| version.eval_cow(&scope)).transpose()?;
        Ok(Some(version.and_then(|version| text_of(&version))))
    }

    /// The id, or why this row has none.
    ///
    /// # Errors
    /// If no row of the file can have one.
    fn id_of(&self, picked: &Picked, body: &RowBody, line: u64) -> Result<Result<String, ExprError>, FileError> {
        if let (Some(index), RowBody::Record { record, .. }) = (picked.column, body) {
            return Ok(Ok(record.get(index).unwrap_or_default().to_owned()));
        }
        let row = value(body);
        let base = base_scope(&self.settings, &self.entity);
        match self.id.eval_text(&base.on_row(&row)) {
            Err(error) if matches!(body, RowBody::Record { .. }) && error.cause.starts_with("missing member") => {
                Err(FileError::at(line, format!("a key column is missing: {error}")))
            }
            result => Ok(result),
        }
    }
}

impl Picked {
    pub fn new_page(&mut self) {
        if !self.once {
            self.seen.clear();
        }
    }
}

fn value(body: &RowBody) -> std::borrow::Cow<'_, Value> {
    match body {
        RowBody::Json(value) => std::borrow::Cow::Borrowed(value),
        record @ RowBody::Record { .. } => std::borrow::Cow::Owned(record.clone().into_value()),
    }
}

fn itoa(mut number: u64, buffer: &mut [u8; 20]) -> &str {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            return std::str::from_utf8(&buffer[at..]).unwrap_or_default();
        }
    }
}

/// Uses a number as its own hash, because it is a hash already.
#[derive(Debug, Default)]
pub struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
