//! Maps database errors to failure classes. Messages name tables and columns, never values.

use sqlx::{error::DatabaseError, mysql::MySqlDatabaseError, postgres::PgDatabaseError};

use super::value::ValueError;
use crate::failure::{Class, Failure};

/// An error of running one statement.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// How far the work had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before anything could have become durable.
    Running,
    /// During the commit: without an answer its result is unknown.
    Committing,
}

impl QueryError {
    /// `doing` names the system, the entity and the statement.
    #[must_use]
    pub fn into_failure(self, doing: &str, phase: Phase) -> Failure {
        match self {
            Self::Value(problem @ ValueError::Parameter { .. }) => {
                Failure::new(Class::Rejected, format!("{doing}: {problem}"))
            }
            Self::Value(problem @ (ValueError::Column { .. } | ValueError::TooLarge { .. })) => {
                Failure::new(Class::Fatal, format!("{doing}: {problem}"))
            }
            Self::Database(sqlx::Error::Database(error)) => refused(error.as_ref(), doing),
            Self::Database(error) => untold(error, doing, phase),
        }
    }
}

/// The failure if the database did not answer, or the connection could not be opened.
fn untold(error: sqlx::Error, doing: &str, phase: Phase) -> Failure {
    let class = match (&error, phase) {
        (sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_), _) => Class::Fatal,
        (sqlx::Error::Encode(_), _) => Class::Rejected,
        (sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::TypeNotFound { .. }, _) => {
            Class::Fatal
        }
        (_, Phase::Running) => Class::Transient,
        (_, Phase::Committing) => Class::Unknown,
    };
    let what = match (&error, phase) {
        (sqlx::Error::PoolTimedOut, _) => "no connection to the database became free in time".to_owned(),
        (_, Phase::Committing) => {
            format!("the connection was lost while committing, so it is not known whether it was done: {error}")
        }
        // The text of a configuration error may repeat the URL, including the password.
        (sqlx::Error::Configuration(_), _) => "the database URL is not understood".to_owned(),
        _ => error.to_string(),
    };
    let failure = Failure::new(class, format!("{doing}: {what}"));
    if matches!(error, sqlx::Error::Configuration(_)) { failure } else { failure.with_source(error) }
}

/// The failure if the database reported an error.
fn refused(error: &dyn DatabaseError, doing: &str) -> Failure {
    let code = error.code().unwrap_or_default().into_owned();
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        let refusal = Refusal {
            class: postgres(&code),
            message: if code.starts_with("22") { before_value(error.message()) } else { error.message().to_owned() },
            column: error
                .column()
                .map(str::to_owned)
                .or_else(|| error.detail().and_then(key_columns))
                .or_else(|| error.constraint().map(|constraint| format!("constraint {constraint}"))),
        };
        return refusal.into_failure(doing, &code);
    }
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        let number = error.number();
        let refusal = Refusal {
            class: mysql(number),
            message: without_values(error.message(), number),
            column: quoted_after(error.message(), "column ").or_else(|| quoted_after(error.message(), "for key ")),
        };
        return refusal.into_failure(doing, &number.to_string());
    }
    let number = code.parse::<i32>().unwrap_or(1);
    let message = error.message();
    let refusal = Refusal {
        class: sqlite(number),
        message: message.to_owned(),
        // `UNIQUE constraint failed: product.sku, product.shop`
        column: (number & 0xff == 19)
            .then(|| message.split_once("constraint failed: "))
            .flatten()
            .map(|(_, columns)| columns.split(", ").map(last_part).collect::<Vec<_>>().join(", ")),
    };
    refusal.into_failure(doing, &code)
}

struct Refusal {
    class: Class,
    message: String,
    column: Option<String>,
}

impl Refusal {
    fn into_failure(self, doing: &str, code: &str) -> Failure {
        let failure = Failure::new(self.class, format!("{doing}: {} (code {code})", self.message));
        match self.column {
            Some(column) if self.class == Class::Rejected => failure.with_field(column),
            _ => failure,
        }
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn postgres(code: &str) -> Class {
    match code {
        // Serialization, deadlock, lock not available, cancelled by a timeout, shutting down, starting up.
        "40001" | "40P01" | "55P03" | "57014" | "57P01" | "57P02" | "57P03" => Class::Transient,
        "42501" => Class::Auth,
        _ => match code.get(..2).unwrap_or_default() {
            "08" | "53" | "58" | "40" | "57" => Class::Transient,
            "28" => Class::Auth,
            // Data, constraints, and errors that a trigger raised.
            "22" | "23" | "44" | "P0" => Class::Rejected,
            _ => Class::Fatal,
        },
    }
}

fn mysql(number: u16) -> Class {
    match number {
        // Too many connections, lock wait, deadlock, disk full, shutting down, gone away.
        1040 | 1203 | 1205 | 1213 | 1021 | 1053 | 1317 | 3024 | 1969 | 2006 | 2013 => Class::Transient,
        1044 | 1045 | 1142 | 1143 | 1227 | 1698 => Class::Auth,
        // Null, duplicate, foreign key, too long, out of range, wrong value, check, signal.
        1048 | 1062 | 1169 | 1216 | 1217 | 1364 | 1366 | 1406 | 1451 | 1452 | 1264 | 1265 | 1292 | 1367 | 1411
        | 1586 | 1644 | 3819 | 4025 => Class::Rejected,
        _ => Class::Fatal,
    }
}

fn sqlite(code: i32) -> Class {
    match code & 0xff {
        // Busy, locked, no memory, interrupted, i/o, full, protocol of locking.
        5 | 6 | 7 | 9 | 10 | 13 | 15 => Class::Transient,
        // Too big, constraint, mismatch.
        18..=20 => Class::Rejected,
        3 | 23 => Class::Auth,
        _ => Class::Fatal,
    }
}

/// Cut the value off: `invalid input syntax for type integer: "abc"` shows it.
fn before_value(message: &str) -> String {
    message.split_once(": \"").map_or(message, |(before, _)| before).to_owned()
}

/// The columns in `Key (sku, shop)=(A-1, 2) already exists.`
fn key_columns(detail: &str) -> Option<String> {
    Some(detail.strip_prefix("Key (")?.split_once(")=")?.0.to_owned())
}

/// Remove the first quoted text, which is a value: `Duplicate entry 'A-1' for key 'sku'`, `Incorrect integer value:
/// 'abc' for column 'qty' at row 1`.
fn without_values(message: &str, number: u16) -> String {
    if !matches!(number, 1062 | 1366 | 1292 | 1367 | 1411 | 1586) {
        return message.to_owned();
    }
    let cut = |message: &str| {
        let (before, rest) = message.split_once('\'')?;
        let end = ["' for ", "' in "].iter().filter_map(|mark| rest.rfind(mark)).max()?;
        Some(format!("{}{}", before.trim_end_matches([' ', ':']), &rest[end + 1..]))
    };
    cut(message).unwrap_or_else(|| "a value is not accepted".to_owned())
}

fn quoted_after(message: &str, mark: &str) -> Option<String> {
    let (_, rest) = message.rsplit_once(mark)?;
    let quote = rest.chars().next().filter(|letter| matches!(letter, '\'' | '`'))?;
    let name = rest[1..].split(quote).next()?;
    Some(last_part(name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_reach_a_message() {
        assert_eq!(
            without_values("Duplicate entry 'ana@example.es' for key 'email'", 1062),
            "Duplicate entry for key 'email'"
        );
        assert_eq!(
            without_values("Incorrect integer value: 'it's' for column `shop`.`t`.`qty` at row 1", 1366),
            "Incorrect integer value for column `shop`.`t`.`qty` at row 1"
        );
        assert_eq!(
            before_value("invalid input syntax for type integer: \"ana\""),
            "invalid input syntax for type integer"
        );
    }

    #[test]
    fn columns_are_found_in_what_databases_say() {
        assert_eq!(key_columns("Key (sku)=(A-1) already exists.").as_deref(), Some("sku"));
        assert_eq!(quoted_after("Column 'name' cannot be null", "column "), None);
        assert_eq!(quoted_after("Data too long for column 'name' at row 1", "column ").as_deref(), Some("name"));
        assert_eq!(quoted_after("Duplicate entry for key 'product.sku'", "for key ").as_deref(), Some("sku"));
    }

    #[test]
    fn a_lost_commit_is_unknown_and_anything_before_it_is_transient() {
        let lost = || QueryError::from(sqlx::Error::Io(std::io::Error::other("reset")));
        assert_eq!(lost().into_failure("erp", Phase::Running).class, Class::Transient);
        assert_eq!(lost().into_failure("erp", Phase::Committing).class, Class::Unknown);
    }

    #[test]
    fn codes_tell_data_from_weather() {
        assert_eq!(sqlite(5), Class::Transient);
        assert_eq!(sqlite(2067), Class::Rejected);
        assert_eq!(sqlite(1), Class::Fatal);
        assert_eq!(postgres("23505"), Class::Rejected);
        assert_eq!(postgres("40001"), Class::Transient);
        assert_eq!(postgres("42P01"), Class::Fatal);
        assert_eq!(mysql(1062), Class::Rejected);
        assert_eq!(mysql(1213), Class::Transient);
    }
}
