//! What the databases have in common about values: numbers as text, dates, and the shape of an answer.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde_json::{Map, Number, Value};

/// What a statement gave.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Rows as objects by column name.
    pub rows: Vec<Value>,
    pub affected: u64,
    /// Id the database gave to an inserted row, where it tells (SQLite, MySQL).
    pub last_id: Option<i64>,
}

/// A column that cannot be read as a value, or a parameter that does not fit.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    #[error("column {column}: {problem}")]
    Column { column: String, problem: String },
    #[error("parameter :{name} {problem}")]
    Parameter { name: String, problem: String },
}

/// Adds a column to a row.
///
/// # Errors
/// When there is one of that name already: one of both would be lost.
pub fn put(row: &mut Map<String, Value>, column: &str, value: Value) -> Result<(), ValueError> {
    match row.insert(column.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(ValueError::Column {
            column: column.to_owned(),
            problem: "stands twice in the result; give one of them another name with AS".to_owned(),
        }),
    }
}

/// A JSON number with exactly these digits; what is no number (`NaN`) stays text.
#[must_use]
pub fn number(text: &str) -> Value {
    text.parse::<Number>().map_or_else(|_| Value::from(text), Value::Number)
}

/// The shortest decimal text that names the binary number a column holds.
#[must_use]
pub fn float(binary: f64) -> Value {
    number(&binary.to_string())
}

#[must_use]
pub fn bytes(content: &[u8]) -> Value {
    Value::from(STANDARD.encode(content))
}

/// The bytes that a base64 text stands for.
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

/// Text of a scalar as it is bound; lists and objects travel as JSON.
#[must_use]
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A decimal number without exponent and plus sign: `-12.50`. Leading zeros are dropped, decimals kept.
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

/// A time of a text: RFC 3339, or ISO without zone (taken as UTC), with `T` or a space, or a date alone.
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
