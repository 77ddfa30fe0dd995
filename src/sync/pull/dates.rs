//! Rows with a change date that cannot be used: unreadable, or in the future. They are read like others, but no
//! delta finds them by that date. They are reported once in the journal, and kept for `status` until they are
//! corrected.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    port::{RowError, SourceRow},
    store::{Result, SharedStore},
    sync::context::PullContext,
};

/// How many rows of an entity are kept at most; the others are only counted.
const KEPT: usize = 100;

/// How many rows of a run the journal names at most.
const MOST_LISTED: usize = 10;

/// A row, and what is wrong with its date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddDate {
    /// The system's own id.
    pub id: Option<String>,
    /// The canonical key, if the row has one.
    pub key: Option<String>,
    pub position: String,
    pub reason: String,
}

/// Rows of one entity at one system whose date cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddDates {
    pub rows: Vec<OddDate>,
    /// How many there are besides.
    pub more: usize,
}

impl OddDates {
    /// Return what the last reading left.
    pub async fn of(store: &SharedStore, system: &str, entity: &str) -> Result<Self> {
        let noted = store.noted(&name(system, entity)).await?;
        Ok(noted.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default())
    }

    fn add(&mut self, row: OddDate) {
        self.rows.retain(|known| (&known.id, &known.position) != (&row.id, &row.position));
        if self.rows.len() < KEPT { self.rows.push(row) } else { self.more += 1 }
    }
}

/// The name of the note.
fn name(system: &str, entity: &str) -> String {
    format!("dates:{system}/{entity}")
}

/// Collects such rows in the course of one run.
pub(in crate::sync) struct Gathered {
    before: OddDates,
    now: OddDates,
}

impl Gathered {
    /// Start to collect. `whole`: everything is read, so a row that is not found again is corrected or gone.
    /// Something without an id, such as a file, is reported again by every reading that finds it in this state.
    pub(in crate::sync) async fn begin(reading: &PullContext<'_>, whole: bool) -> Result<Self> {
        let before = OddDates::of(&reading.context.store, reading.system.name(), reading.entity).await?;
        let mut now = if whole { OddDates::default() } else { before.clone() };
        now.rows.retain(|row| row.id.is_some());
        Ok(Self { before, now })
    }

    /// Add the rows of a page.
    pub(in crate::sync) fn page(&mut self, reading: &PullContext<'_>, rows: &[SourceRow], odd: &[RowError]) {
        if !self.now.rows.is_empty() {
            let seen: HashSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            self.now.rows.retain(|row| row.id.as_deref().is_none_or(|id| !seen.contains(id)));
        }
        for row in odd {
            let body = rows.iter().find(|seen| Some(&seen.id) == row.id.as_ref()).map(|seen| seen.body.clone());
            let pulled = body.and_then(|body| reading.mapping.pull(&body.into_value()).ok());
            self.now.add(OddDate {
                id: row.id.clone(),
                key: pulled.map(|pulled| pulled.key),
                position: row.position.clone(),
                reason: row.reason.clone(),
            });
        }
    }

    /// Return the note to store with the last page, unless it is the one that is stored already; report what is new
    /// to the journal.
    pub(in crate::sync) fn note(&self, reading: &PullContext<'_>) -> Option<(String, Value)> {
        if self.now == self.before {
            return None;
        }
        let (system, entity) = (reading.system.name(), reading.entity);
        let same = |one: &OddDate, other: &OddDate| {
            let named = if one.id.is_some() { one.id == other.id } else { one.position == other.position };
            named && one.reason == other.reason
        };
        let known = |row: &OddDate| self.before.rows.iter().any(|before| same(row, before));
        let new_rows: Vec<&OddDate> = self.now.rows.iter().filter(|row| !known(row)).collect();
        for row in new_rows.iter().take(MOST_LISTED) {
            let id = row.id.as_deref().unwrap_or(&row.position);
            let key = row.key.as_deref().unwrap_or(id);
            tracing::warn!(
                system,
                entity,
                id,
                key,
                position = row.position,
                "{entity} {key} of {system}: {}",
                row.reason
            );
        }
        if new_rows.len() > MOST_LISTED {
            tracing::warn!(
                system,
                entity,
                "and {} more rows of such dates: see `vaiven status`",
                new_rows.len() - MOST_LISTED
            );
        }
        Some((name(system, entity), json!(self.now)))
    }
}
