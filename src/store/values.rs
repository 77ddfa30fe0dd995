//! Values as columns hold them, and back.

use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};

use super::{Result, StoreError};
use crate::{mapping::Fields, port::Fingerprint};

/// Microseconds since 1970.
pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// Return when a lease ends that begins now.
pub(super) fn after(now: DateTime<Utc>, wait: std::time::Duration) -> i64 {
    micros(now).saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
}

pub(super) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

pub(super) fn fingerprint_text(fingerprint: &Fingerprint) -> String {
    STANDARD_NO_PAD.encode(fingerprint)
}

pub(super) fn fingerprint(text: &str, row: &str) -> Result<Fingerprint> {
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

/// Parse a JSON column; `row` names the row in the error.
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

/// Parse the comma-separated numbers of an aggregate.
pub(super) fn numbers_in<T: FromStr>(text: Option<&str>) -> Vec<T> {
    text.into_iter().flat_map(|text| text.split(',')).filter_map(|number| number.parse().ok()).collect()
}

/// A newer version of the program may have written this code.
pub(super) fn unknown_code(table: &'static str, column: &'static str, code: i64) -> StoreError {
    StoreError::Row { table, column, row: code.to_string(), problem: "a code this version does not know".into() }
}
