//! MySQL and MariaDB.

use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Column as _, Either, Executor as _, MySql, MySqlConnection, Row as _, TypeInfo as _, ValueRef as _,
    mysql::{MySqlArguments, MySqlRow, types::MySqlTime},
};

use super::{
    binding::Bound,
    failure::QueryError,
    value::{self, Answer, CellError, Limits, Taking, ValueError},
};

/// Run one statement to its end.
pub async fn run(connection: &mut MySqlConnection, bound: Bound, limits: Limits) -> Result<Answer, QueryError> {
    let mut arguments = MySqlArguments::default();
    for (name, value) in &bound.values {
        add(&mut arguments, value)
            .map_err(|problem| ValueError::Parameter { name: name.clone(), problem: problem.to_string() })?;
    }
    let mut answer = Answer::default();
    let query = sqlx::query_with::<MySql, _>(AssertSqlSafe(bound.sql), arguments);
    let mut results = connection.fetch_many(query);
    while let Some(result) = results.try_next().await? {
        match result {
            Either::Left(done) => {
                answer.affected = done.rows_affected();
                answer.last_id = i64::try_from(done.last_insert_id()).ok().filter(|id| *id > 0);
            }
            Either::Right(row) => answer.push(decode(&row, limits)?, limits)?,
        }
    }
    Ok(answer)
}

/// Fractions are bound as text. The statement casts them to a decimal of their own size.
fn add(arguments: &mut MySqlArguments, value: &Value) -> Result<(), sqlx::error::BoxDynError> {
    use sqlx::Arguments as _;
    match value {
        Value::Null => arguments.add(Option::<String>::None),
        Value::Bool(flag) => arguments.add(i64::from(*flag)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => arguments.add(whole),
            None => arguments.add(number.to_string()),
        },
        other => arguments.add(value::text(other)),
    }
}

fn decode(row: &MySqlRow, limits: Limits) -> Result<Taking, ValueError> {
    let mut taking = Taking::begin(row.len(), limits);
    for (index, column) in row.columns().iter().enumerate() {
        let length = row.try_get_unchecked::<Option<&[u8]>, _>(index).ok().flatten().map_or(0, <[u8]>::len);
        taking.cell(column.name(), length, || cell(row, index))?;
    }
    Ok(taking)
}

impl From<sqlx::Error> for CellError {
    fn from(problem: sqlx::Error) -> Self {
        Self::Content(problem.to_string())
    }
}

/// The text of a date that does not exist in the calendar.
fn odd_date(row: &MySqlRow, index: usize) -> Result<Value, sqlx::Error> {
    let content = row.try_get_unchecked::<&[u8], _>(index)?;
    Ok(Value::from(odd_date_text(content)))
}

/// Decode the binary form: its length, the year in two bytes, month, day, and for a time hour, minute and second.
fn odd_date_text(content: &[u8]) -> String {
    let part = |at: usize| content.get(at).copied().unwrap_or_default();
    let date = format!("{:04}-{:02}-{:02}", u16::from_le_bytes([part(1), part(2)]), part(3), part(4));
    if content.len() > 5 { format!("{date} {:02}:{:02}:{:02}", part(5), part(6), part(7)) } else { date }
}

fn cell(row: &MySqlRow, index: usize) -> Result<Value, CellError> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        // `TINYINT(1)` is MySQL's boolean, but it may hold other numbers. Mappings accept 0 and 1 as booleans.
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            Value::from(row.try_get_unchecked::<i64, _>(index)?)
        }
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED" | "BIGINT UNSIGNED"
        | "YEAR" | "BIT" => Value::from(row.try_get_unchecked::<u64, _>(index)?),
        "DECIMAL" => value::number(row.try_get_unchecked(index)?),
        "FLOAT" => value::number(&row.try_get_unchecked::<f32, _>(index)?.to_string()),
        "DOUBLE" => value::float(row.try_get_unchecked(index)?),
        // A date that does not exist (`2026-00-00`) concerns its row only: pass it on as a text, and the mapping
        // refuses it.
        "DATE" => row.try_get_unchecked(index).map(value::date).or_else(|_| odd_date(row, index))?,
        "DATETIME" => row.try_get_unchecked(index).map(value::naive).or_else(|_| odd_date(row, index))?,
        "TIMESTAMP" => row.try_get_unchecked(index).map(value::instant).or_else(|_| odd_date(row, index))?,
        // A duration, if it is not a time of day.
        "TIME" => row
            .try_get_unchecked(index)
            .map(value::time)
            .or_else(|_| row.try_get_unchecked::<MySqlTime, _>(index).map(|span| Value::from(span.to_string())))?,
        "JSON" => value::document(row.try_get_unchecked(index)?)?,
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "GEOMETRY" => {
            value::bytes(row.try_get_unchecked(index)?)
        }
        _ => Value::from(value::utf8(row.try_get_unchecked(index)?)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_no_calendar_has_is_read_as_its_text() {
        assert_eq!(odd_date_text(&[4, 0xEA, 0x07, 0, 0]), "2026-00-00");
        assert_eq!(odd_date_text(&[7, 0xEA, 0x07, 2, 30, 10, 5, 0]), "2026-02-30 10:05:00");
        assert_eq!(odd_date_text(&[0]), "0000-00-00");
    }
}
