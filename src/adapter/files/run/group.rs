//! Combines adjacent rows of a file into one: a line for each variant becomes a product with its variants.

use std::collections::{HashSet, VecDeque};

use serde_json::{Map, Value};

use super::rows::{FileError, Item, Rows};
use crate::{
    adapter::{files::compile::Group, manifest::Settings, run::base_scope},
    model::flaw,
    port::RowBody,
};

/// Which rows belong together, with what their expression sees.
#[derive(Clone, Debug)]
pub struct Grouping {
    pub entity: Value,
    pub settings: Settings,
    pub group: Group,
    /// Maximum number of bytes of all rows of a group.
    pub most: usize,
}

/// Makes groups of rows.
pub struct Groups {
    rows: Box<dyn Rows>,
    grouping: Grouping,
    /// Complete groups that were not returned yet.
    ready: VecDeque<Item>,
    open: Option<Open>,
    /// Line of an unreadable row right before the next row, to which it may belong.
    unread: Option<u64>,
    ended: bool,
}

/// A group whose end was not reached yet.
struct Open {
    key: String,
    line: u64,
    first: Map<String, Value>,
    rows: Vec<Value>,
    bytes: usize,
    /// Line of an unreadable row that may belong to the group.
    unread: Option<u64>,
}

impl Grouping {
    /// Prove that the rows of each group are adjacent.
    ///
    /// # Errors
    /// If the rows of a group are not adjacent: it would become two groups, and each would lack rows. Also if the
    /// file cannot be read.
    pub fn prove(&self, rows: &mut dyn Rows) -> Result<(), FileError> {
        let taken = rows.columns().is_some_and(|columns| columns.contains(&self.group.into));
        if taken {
            return Err(FileError::at(
                1,
                format!("there is a column `{}`, which `group` names in `into`", self.group.into),
            ));
        }
        let mut known = HashSet::new();
        let mut last = None;
        while let Some(item) = rows.next_item()? {
            let Item::Row { line, body } = item else { continue };
            let Ok(key) = self.key(&body.into_value()) else { continue };
            if last.as_ref() == Some(&key) {
                continue;
            }
            if !known.insert(blake3::hash(key.as_bytes())) {
                let by = self.group.by.text();
                let message = format!("a group stands here again, apart from its other rows; sort the file by `{by}`");
                return Err(FileError::at(line, message));
            }
            last = Some(key);
        }
        Ok(())
    }

    fn key(&self, row: &Value) -> Result<String, String> {
        let base = base_scope(&self.settings, &self.entity);
        let key = self.group.by.eval_text(&base.on_row(row));
        key.map_err(|error| flaw::first(row).map_or_else(|| error.to_string(), |flaw| flaw.to_string()))
    }
}

impl Groups {
    pub fn new(rows: Box<dyn Rows>, grouping: Grouping) -> Self {
        Self { rows, grouping, ready: VecDeque::new(), open: None, unread: None, ended: false }
    }

    fn put(&mut self, line: u64, body: RowBody) -> Result<(), FileError> {
        let bytes = match &body {
            RowBody::Record { record, .. } => record.as_slice().len(),
            RowBody::Json(value) => value.to_string().len(),
        };
        let row = body.into_value();
        let key = match self.grouping.key(&row) {
            Ok(key) => key,
            Err(reason) => {
                self.bad(Item::Bad { line, reason, text: flaw::shown(&row).to_string() });
                return Ok(());
            }
        };
        let unread = self.unread.take();
        if self.open.as_ref().is_some_and(|open| open.key != key) {
            self.close();
        }
        let first = || row.as_object().cloned().unwrap_or_default();
        let open = self.open.get_or_insert_with(|| Open { key, line, first: first(), rows: vec![], bytes: 0, unread });
        open.bytes += bytes;
        if open.bytes > self.grouping.most {
            let message = "the group that begins here is longer than `max_row`; does `group` name the right column?";
            return Err(FileError::at(open.line, message));
        }
        open.rows.push(row);
        Ok(())
    }

    /// It is unknown to which group the row belongs: neither the group before nor the one after it counts as
    /// complete.
    fn bad(&mut self, item: Item) {
        self.unread = Some(item.line());
        if let Some(open) = &mut self.open {
            open.unread.get_or_insert(item.line());
        }
        self.ready.push_back(item);
    }

    fn close(&mut self) {
        let Some(Open { line, mut first, rows, unread, .. }) = self.open.take() else { return };
        first.insert(self.grouping.group.into.clone(), Value::Array(rows));
        let row = Value::Object(first);
        self.ready.push_back(match unread {
            None => Item::Row { line, body: RowBody::Json(row) },
            Some(bad) => Item::Bad {
                line,
                reason: format!("line {bad} cannot be read and may be one of `{}`", self.grouping.group.into),
                text: flaw::shown(&row).to_string(),
            },
        });
    }
}

impl Rows for Groups {
    fn next_item(&mut self) -> Result<Option<Item>, FileError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            if self.ended {
                return Ok(None);
            }
            match self.rows.next_item()? {
                Some(Item::Row { line, body }) => self.put(line, body)?,
                Some(bad) => self.bad(bad),
                None => {
                    self.ended = true;
                    self.close();
                }
            }
        }
    }

    fn columns(&self) -> Option<&[String]> {
        self.rows.columns()
    }
}
