//! Values as columns hold them, and back.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};

use super::{ChangeOp, JobState, Result, Ruling, RunKind, StoreError};
use crate::{mapping::Fields, port::Print};

/// Microseconds since 1970.
pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// End of a lease that begins now.
pub(super) fn after(now: DateTime<Utc>, wait: std::time::Duration) -> i64 {
    micros(now).saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
}

pub(super) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

pub(super) fn print_text(print: &Print) -> String {
    STANDARD_NO_PAD.encode(print)
}

pub(super) fn print(text: &str, row: &str) -> Result<Print> {
    STANDARD_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| StoreError::Row {
        table: "replica",
        column: "print",
        row: row.to_owned(),
        problem: "not a fingerprint of 16 bytes".into(),
    })
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Row {
        table: "parameter",
        column: "json",
        row: String::new(),
        problem: error.to_string(),
    })
}

/// Empty fields take no room.
pub(super) fn fields_or_null(fields: &Fields) -> Result<Option<String>> {
    if fields.is_empty() { Ok(None) } else { json(fields).map(Some) }
}

/// A JSON column; `row` names the row in the error.
pub(super) fn parse<T: DeserializeOwned>(
    text: &str,
    table: &'static str,
    column: &'static str,
    row: impl Fn() -> String,
) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Row {
        table,
        column,
        row: row(),
        problem: error.to_string(),
    })
}

/// Open jobs are those below this.
impl JobState {
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Queued => 0,
            Self::Running => 1,
            Self::Parked => 2,
            Self::Dead => 3,
            Self::Done => 4,
            Self::Discarded => 5,
        }
    }

    pub(super) fn of(code: i64) -> Result<Self> {
        [Self::Queued, Self::Running, Self::Parked, Self::Dead, Self::Done, Self::Discarded]
            .into_iter()
            .find(|state| state.code() == code)
            .ok_or_else(|| unknown_code("job", "state", code))
    }
}

impl ChangeOp {
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Create => 0,
            Self::Update => 1,
            Self::Delete => 2,
            Self::Undo => 3,
        }
    }

    pub(super) fn of(code: i64) -> Result<Self> {
        [Self::Create, Self::Update, Self::Delete, Self::Undo]
            .into_iter()
            .find(|op| op.code() == code)
            .ok_or_else(|| unknown_code("change_log", "op", code))
    }
}

impl RunKind {
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Delta => 0,
            Self::Full => 1,
            Self::Single => 2,
        }
    }

    pub(super) fn of(code: i64) -> Result<Self> {
        [Self::Delta, Self::Full, Self::Single]
            .into_iter()
            .find(|kind| kind.code() == code)
            .ok_or_else(|| unknown_code("run", "kind", code))
    }
}

/// Most runs are clear, which takes no room.
impl Ruling {
    pub(super) fn code(self) -> Option<i64> {
        match self {
            Self::Clear => None,
            Self::Pending => Some(1),
            Self::Held => Some(2),
            Self::Approved => Some(3),
            Self::Rejected => Some(4),
        }
    }

    pub(super) fn of(code: Option<i64>) -> Result<Self> {
        [Self::Clear, Self::Pending, Self::Held, Self::Approved, Self::Rejected]
            .into_iter()
            .find(|ruling| ruling.code() == code)
            .ok_or_else(|| unknown_code("run", "ruling", code.unwrap_or_default()))
    }
}

fn unknown_code(table: &'static str, column: &'static str, code: i64) -> StoreError {
    StoreError::Row { table, column, row: code.to_string(), problem: "a code this version does not know".into() }
}
