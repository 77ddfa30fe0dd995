//! What the databases have in common for values: numbers as text, dates, and the form of an answer.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde_json::{Map, Number, Value};

use crate::{json, model::flaw};

/// Maximum size of what is read from a database, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub row: usize,
    pub answer: usize,
}

/// Result of a statement.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Rows as objects by column name. Values that cannot be read are marked ([`flaw`]).
    pub rows: Vec<Value>,
    /// Number of bytes of these rows.
    bytes: usize,
    pub affected: u64,
    /// Id that the database gave to an inserted row, if it reports it (SQLite, MySQL).
    pub last_id: Option<i64>,
}

/// Number of bytes that a column takes in addition to its name and content.
const FRAME: usize = 64;

/// A row that is being read.
pub struct Taking {
    members: Map<String, Value>,
    bytes: usize,
    most: usize,
}

/// Why a column's content cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum CellError {
    /// The problem of all rows: the column's kind is not supported.
    Kind(String),
    /// The problem of this row only.
    Content(String),
}

impl From<String> for CellError {
    fn from(problem: String) -> Self {
        Self::Content(problem)
    }
}

impl Answer {
    /// Add a row.
    ///
    /// # Errors
    /// If all rows together exceed the limit.
    pub fn push(&mut self, row: Taking, limits: Limits) -> Result<(), ValueError> {
        self.bytes = self.bytes.saturating_add(row.bytes);
        if self.bytes > limits.answer {
            return Err(ValueError::TooLarge { limit: limits.answer });
        }
        self.rows.push(Value::Object(row.members));
        Ok(())
    }
}

impl Taking {
    /// Start a row with this number of columns.
    #[must_use]
    pub fn begin(columns: usize, limits: Limits) -> Self {
        Self { members: Map::with_capacity(columns), bytes: 0, most: limits.row }
    }

    /// Add a column whose content has `length` bytes.
    ///
    /// # Errors
    /// If a column of that name exists already, because one of both would be lost, or if columns of this kind
    /// cannot be read.
    pub fn cell(
        &mut self,
        column: &str,
        length: usize,
        value: impl FnOnce() -> Result<Value, CellError>,
    ) -> Result<(), ValueError> {
        let wrong = |problem: String| ValueError::Column { column: column.to_owned(), problem };
        let is_long = length > self.most.saturating_sub(self.bytes);
        self.bytes = self.bytes.saturating_add(FRAME + column.len() + if is_long { 0 } else { length });
        let value = if is_long {
            flaw::mark(format!("with it the row is longer than {} bytes (`max_row`)", self.most))
        } else {
            match value() {
                Ok(value) => value,
                Err(CellError::Content(problem)) => flaw::mark(problem),
                Err(CellError::Kind(problem)) => return Err(wrong(problem)),
            }
        };
        match self.members.insert(column.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(wrong("stands twice in the result; give one of them another name with AS".to_owned())),
        }
    }
}

/// A column that cannot be read as a value, or a parameter that does not fit.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    #[error("the answer is larger than {limit} bytes; raise `max_answer` in [sql], or read it in `pages`")]
    TooLarge { limit: usize },
    #[error("column {column}: {problem}")]
    Column { column: String, problem: String },
    #[error("parameter :{name} {problem}")]
    Parameter { name: String, problem: String },
}

/// Read a column of JSON.
///
/// # Errors
/// If the JSON is malformed.
pub fn document(content: &[u8]) -> Result<Value, CellError> {
    let read = json::read(content, json::MOST_VALUES);
    read.map(|(value, _)| value).map_err(|problem| CellError::Content(problem.to_string()))
}

/// Read a column of text.
///
/// # Errors
/// If the content is not text.
pub fn utf8(content: &[u8]) -> Result<&str, CellError> {
    std::str::from_utf8(content).map_err(|_| CellError::Content("a byte of it is not valid UTF-8".to_owned()))
}

/// A JSON number with exactly these digits. A text that is not a number (`NaN`) stays text.
#[must_use]
pub fn number(text: &str) -> Value {
    text.parse::<Number>().map_or_else(|_| Value::from(text), Value::Number)
}

/// The shortest decimal text of the binary number in a column.
#[must_use]
pub fn float(binary: f64) -> Value {
    number(&binary.to_string())
}

#[must_use]
pub fn bytes(content: &[u8]) -> Value {
    Value::from(STANDARD.encode(content))
}

/// The bytes of a base64 text.
#[must_use]
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[must_use]
pub fn date(date: NaiveDate) -> Value {
    Value::from(date.format("%Y-%m-%d").to_string())
}

#[must_use]
pub fn time(time: NaiveTime) -> Value {
    Value::from(time.format("%H:%M:%S%.f").to_string())
}

/// A time without zone.
#[must_use]
pub fn naive(time: NaiveDateTime) -> Value {
    Value::from(time.format("%Y-%m-%dT%H:%M:%S%.f").to_string())
}

#[must_use]
pub fn instant(time: DateTime<Utc>) -> Value {
    Value::from(time.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string())
}

/// Text of a scalar as it is bound. Lists and objects are sent as JSON.
#[must_use]
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A decimal number without exponent and plus sign: `-12.50`. Leading zeros are dropped, decimals are kept.
#[must_use]
pub fn plain_decimal(text: &str) -> Option<String> {
    let text = text.trim();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) || exponent.abs() > 1000 {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let (whole, fraction) = match usize::try_from(point) {
        Err(_) | Ok(0) => ("0".to_owned(), format!("{}{all}", "0".repeat(usize::try_from(point.unsigned_abs()).ok()?))),
        Ok(point) if point >= all.len() => (format!("{all}{}", "0".repeat(point - all.len())), String::new()),
        Ok(point) => (all[..point].to_owned(), all[point..].to_owned()),
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// Read a time: RFC 3339, ISO without zone (taken as UTC) with `T` or a space, or a date alone.
#[must_use]
pub fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.with_timezone(&Utc));
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Some(time.with_timezone(&Utc));
        }
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc());
        }
    }
    Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { row: 1000, answer: 5000 };

    #[test]
    fn one_column_that_cannot_be_read_spoils_its_own_row() {
        let mut answer = Answer::default();
        for content in [&b"a\xF1o"[..], b"fine", &[b'x'; 2000]] {
            let mut row = Taking::begin(2, LIMITS);
            row.cell("id", 1, || Ok(1.into())).unwrap();
            row.cell("name", content.len(), || utf8(content).map(Value::from)).unwrap();
            answer.push(row, LIMITS).unwrap();
        }
        let flaws: Vec<_> = answer.rows.iter().map(|row| flaw::first(row).map(|flaw| flaw.to_string())).collect();
        assert_eq!(flaws[0].as_deref(), Some("`name` cannot be read: a byte of it is not valid UTF-8"));
        assert_eq!((&flaws[1], &answer.rows[1]["name"]), (&None, &Value::from("fine")));
        assert!(flaws[2].as_ref().unwrap().contains("longer than 1000 bytes (`max_row`)"), "{flaws:?}");
        let mut row = Taking::begin(1, LIMITS);
        assert!(row.cell("x", 1, || Err(CellError::Kind("is inet".into()))).is_err(), "that is no row's affair");
    }

    #[test]
    fn an_answer_is_bounded_and_says_which_setting_helps() {
        let mut answer = Answer::default();
        let mut push = || {
            let mut row = Taking::begin(1, LIMITS);
            row.cell("name", 900, || Ok("x".repeat(900).into())).unwrap();
            answer.push(row, LIMITS)
        };
        let error = (0..10).find_map(|_| push().err()).unwrap().to_string();
        assert!(error.contains("5000 bytes") && error.contains("max_answer"), "{error}");
    }

    #[test]
    fn floats_are_the_shortest_text_of_the_same_number() {
        assert_eq!(float(0.1).to_string(), "0.1");
        assert_eq!(float(19.99).to_string(), "19.99");
        assert_eq!(float(1e21).to_string(), "1000000000000000000000");
        assert_eq!(float(f64::NAN), Value::from("NaN"));
    }

    #[test]
    fn decimals_lose_their_exponent_and_keep_their_decimals() {
        for (text, plain) in [
            ("12.50", "12.50"),
            ("007", "7"),
            ("-.5", "-0.5"),
            ("1e3", "1000"),
            ("1.25e1", "12.5"),
            ("5e-3", "0.005"),
            ("0.0", "0.0"),
        ] {
            assert_eq!(plain_decimal(text).as_deref(), Some(plain), "{text}");
        }
        for text in ["", "-", "1,5", "1.2.3", "abc", "1e", "--1"] {
            assert_eq!(plain_decimal(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_read_in_the_forms_databases_use() {
        let expected = "2026-03-01T10:00:00Z";
        for text in
            ["2026-03-01T10:00:00Z", "2026-03-01 10:00:00", "2026-03-01T11:00:00+01:00", "2026-03-01 11:00:00+01"]
        {
            assert_eq!(parse_instant(text).map(instant), Some(Value::from(expected)), "{text}");
        }
        assert_eq!(parse_instant("2026-03-01").map(instant), Some(Value::from("2026-03-01T00:00:00Z")));
        assert_eq!(parse_instant("soon"), None);
    }
}
