//! SQLite: values have the type they are stored with, not that of their column.

use futures::TryStreamExt as _;
use serde_json::{Map, Value};
use sqlx::{
    AssertSqlSafe, Column as _, Either, Executor as _, Row as _, Sqlite, SqliteConnection, TypeInfo as _,
    ValueRef as _,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    failure::Trouble,
    statement::Bound,
    value::{self, Answer, ValueError},
};

/// Runs one statement to its end.
pub async fn run(connection: &mut SqliteConnection, bound: Bound) -> Result<Answer, Trouble> {
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
            Either::Right(row) => answer.rows.push(decode(&row)?),
        }
    }
    Ok(answer)
}

/// Fractions are bound as text: a column's affinity makes of them what the column holds, and a text column keeps each digit.
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

fn decode(row: &SqliteRow) -> Result<Value, ValueError> {
    let mut object = Map::with_capacity(row.len());
    for (index, column) in row.columns().iter().enumerate() {
        let bad = |problem: sqlx::Error| ValueError::Column {
            column: column.name().to_owned(),
            problem: format!("cannot be read: {problem}"),
        };
        let raw = row.try_get_raw(index).map_err(bad)?;
        let value = if raw.is_null() {
            Value::Null
        } else {
            match raw.type_info().name() {
                "INTEGER" => Value::from(row.try_get_unchecked::<i64, _>(index).map_err(bad)?),
                "REAL" => value::float(row.try_get_unchecked(index).map_err(bad)?),
                "BLOB" => value::bytes(row.try_get_unchecked(index).map_err(bad)?),
                _ => Value::from(row.try_get_unchecked::<String, _>(index).map_err(bad)?),
            }
        };
        value::put(&mut object, column.name(), value)?;
    }
    Ok(Value::Object(object))
}
