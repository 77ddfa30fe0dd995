//! SQLite: values have the type with which they are stored, not that of their column.

use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Column as _, Either, Executor as _, Row as _, Sqlite, SqliteConnection, TypeInfo as _,
    ValueRef as _,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    binding::Bound,
    failure::QueryError,
    value::{self, Answer, CellError, Limits, Taking, ValueError},
};

/// Run one statement to its end.
pub async fn run(connection: &mut SqliteConnection, bound: Bound, limits: Limits) -> Result<Answer, QueryError> {
    let mut arguments = SqliteArguments::default();
    for (name, value) in &bound.values {
        add(&mut arguments, value)
            .map_err(|problem| ValueError::Parameter { name: name.clone(), problem: problem.to_string() })?;
    }
    let mut answer = Answer::default();
    let query = sqlx::query_with::<Sqlite, _>(AssertSqlSafe(bound.sql), arguments);
    let mut results = connection.fetch_many(query);
    while let Some(result) = results.try_next().await? {
        match result {
            Either::Left(done) => {
                answer.affected = done.rows_affected();
                answer.last_id = Some(done.last_insert_rowid());
            }
            Either::Right(row) => answer.push(decode(&row, limits)?, limits)?,
        }
    }
    Ok(answer)
}

/// Fractions are bound as text: a column's affinity converts them to its own type, and a text column keeps each
/// digit.
fn add(arguments: &mut SqliteArguments, value: &Value) -> Result<(), sqlx::error::BoxDynError> {
    use sqlx::Arguments as _;
    match value {
        Value::Null => arguments.add(Option::<i64>::None),
        Value::Bool(flag) => arguments.add(i64::from(*flag)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => arguments.add(whole),
            None => arguments.add(number.to_string()),
        },
        other => arguments.add(value::text(other)),
    }
}

fn decode(row: &SqliteRow, limits: Limits) -> Result<Taking, ValueError> {
    let mut taking = Taking::begin(row.len(), limits);
    for (index, column) in row.columns().iter().enumerate() {
        let kind = row
            .try_get_raw(index)
            .map(|raw| if raw.is_null() { None } else { Some(raw.type_info().name().to_owned()) });
        let bytes = || row.try_get_unchecked::<&[u8], _>(index).map_err(bad);
        let kind = match kind {
            Ok(kind) => kind,
            Err(problem) => {
                return Err(ValueError::Column { column: column.name().to_owned(), problem: problem.to_string() });
            }
        };
        match kind.as_deref() {
            None => taking.cell(column.name(), 0, || Ok(Value::Null)),
            Some("INTEGER") => {
                taking.cell(column.name(), 8, || row.try_get_unchecked::<i64, _>(index).map(Value::from).map_err(bad))
            }
            Some("REAL") => {
                taking.cell(column.name(), 8, || row.try_get_unchecked(index).map(value::float).map_err(bad))
            }
            Some(kind) => {
                let content = bytes();
                let length = content.as_ref().map_or(0, |content| content.len());
                taking.cell(column.name(), length, || match kind {
                    "BLOB" => content.map(value::bytes),
                    _ => value::utf8(content?).map(Value::from),
                })
            }
        }?;
    }
    Ok(taking)
}

fn bad(problem: sqlx::Error) -> CellError {
    CellError::Content(problem.to_string())
}
