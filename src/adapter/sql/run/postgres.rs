//! PostgreSQL: the server determines the type of each parameter, and values are sent in the binary form of that
//! type.

use chrono::{Duration, NaiveDate, NaiveDateTime, NaiveTime};
use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Either, Encode, Executor as _, PgConnection, Postgres, Row as _,
    SqlSafeStr as _, Statement as _, Type, TypeInfo as _, ValueRef as _,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, PgTypeKind},
};

use super::{
    binding::Bound,
    failure::QueryError,
    numeric,
    value::{self, Answer, CellError, Limits, Taking, ValueError},
};

/// Run one statement to its end.
pub async fn run(connection: &mut PgConnection, bound: Bound, limits: Limits) -> Result<Answer, QueryError> {
    let statement = (&mut *connection).prepare(AssertSqlSafe(bound.sql).into_sql_str()).await?;
    let types = match statement.parameters() {
        Some(Either::Left(types)) => types.to_vec(),
        _ => Vec::new(),
    };
    let mut arguments = PgArguments::default();
    for ((name, value), kind) in bound.values.iter().zip(types) {
        let bad = |problem: String| ValueError::Parameter { name: name.clone(), problem };
        let content = encode(value, &kind).map_err(bad)?;
        arguments.add(Wire { content, kind }).map_err(|problem| bad(problem.to_string()))?;
    }
    let mut answer = Answer::default();
    let query = statement.query_with(arguments);
    let mut results = connection.fetch_many(query);
    while let Some(result) = results.try_next().await? {
        match result {
            Either::Left(done) => answer.affected = done.rows_affected(),
            Either::Right(row) => answer.push(decode(&row, limits)?, limits)?,
        }
    }
    Ok(answer)
}

/// A parameter that is already in the server's binary form.
struct Wire {
    content: Option<Vec<u8>>,
    kind: PgTypeInfo,
}

impl Type<Postgres> for Wire {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("text")
    }
}

impl Encode<'_, Postgres> for Wire {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(match &self.content {
            None => IsNull::Yes,
            Some(content) => {
                buffer.extend_from_slice(content);
                IsNull::No
            }
        })
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.kind.clone())
    }
}

/// The day from which PostgreSQL counts.
fn epoch() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN)
}

fn encode(value: &Value, kind: &PgTypeInfo) -> Result<Option<Vec<u8>>, String> {
    if value.is_null() {
        return Ok(None);
    }
    match kind.kind() {
        PgTypeKind::Domain(base) => return encode(value, base),
        PgTypeKind::Enum(_) => return Ok(Some(value::text(value).into_bytes())),
        _ => {}
    }
    let text = value::text(value);
    let not = |what: &str| format!("is not {what}");
    let whole = || {
        let plain = value::plain_decimal(&text).ok_or_else(|| not("a whole number"))?;
        let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
        if !fraction.bytes().all(|digit| digit == b'0') {
            return Err(not("a whole number"));
        }
        whole.parse::<i64>().map_err(|_| "is too large".to_owned())
    };
    let since_epoch = || {
        let time = value::parse_instant(&text).ok_or_else(|| not("a date and time"))?;
        (time.naive_utc() - epoch()).num_microseconds().ok_or_else(|| "is too far away".to_owned())
    };
    Ok(Some(match kind.name() {
        "BOOL" => vec![u8::from(match text.as_str() {
            "true" | "t" | "1" => true,
            "false" | "f" | "0" => false,
            _ => return Err(not("true or false")),
        })],
        "INT2" => i16::try_from(whole()?).map_err(|_| "is too large")?.to_be_bytes().to_vec(),
        "INT4" => i32::try_from(whole()?).map_err(|_| "is too large")?.to_be_bytes().to_vec(),
        "OID" => u32::try_from(whole()?).map_err(|_| "is too large")?.to_be_bytes().to_vec(),
        "INT8" => whole()?.to_be_bytes().to_vec(),
        "NUMERIC" => numeric::encode(&text)?,
        // The column itself is a binary number.
        "FLOAT4" => text.parse::<f32>().map_err(|_| not("a number"))?.to_be_bytes().to_vec(),
        "FLOAT8" => text.parse::<f64>().map_err(|_| not("a number"))?.to_be_bytes().to_vec(),
        "DATE" => {
            let day = value::parse_instant(&text).ok_or_else(|| not("a date"))?.date_naive();
            let days = i32::try_from((day - epoch().date()).num_days()).map_err(|_| "is too far away")?;
            days.to_be_bytes().to_vec()
        }
        "TIMESTAMP" | "TIMESTAMPTZ" => since_epoch()?.to_be_bytes().to_vec(),
        "TIME" => {
            let time = NaiveTime::parse_from_str(&text, "%H:%M:%S%.f").map_err(|_| not("a time"))?;
            let micros = (time - NaiveTime::MIN).num_microseconds().ok_or("is too large")?;
            micros.to_be_bytes().to_vec()
        }
        "UUID" => uuid::Uuid::parse_str(&text).map_err(|_| not("a UUID"))?.as_bytes().to_vec(),
        "JSON" => json_text(value, &text).into_bytes(),
        // The binary form of jsonb begins with its version.
        "JSONB" => [&[1], json_text(value, &text).as_bytes()].concat(),
        "BYTEA" => value::from_base64(&text).ok_or_else(|| not("base64"))?,
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "\"CHAR\"" | "citext" => text.into_bytes(),
        other => {
            return Err(format!("would have to be {}; bind it as text and cast it, `:x::text::...`", lower(other)));
        }
    }))
}

/// A text that is JSON is sent as it is; any other text becomes a JSON string.
fn json_text(value: &Value, text: &str) -> String {
    match value {
        Value::String(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() => value.to_string(),
        _ => text.to_owned(),
    }
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn decode(row: &PgRow, limits: Limits) -> Result<Taking, ValueError> {
    let mut taking = Taking::begin(row.len(), limits);
    for (index, column) in row.columns().iter().enumerate() {
        let bad = |problem: String| ValueError::Column { column: column.name().to_owned(), problem };
        let raw = row.try_get_raw(index).map_err(|problem| bad(problem.to_string()))?;
        if raw.is_null() {
            taking.cell(column.name(), 0, || Ok(Value::Null))?;
            continue;
        }
        let content = raw.as_bytes().map_err(|problem| bad(problem.to_string()))?;
        taking.cell(column.name(), content.len(), || cell(content, &raw.type_info()))?;
    }
    Ok(taking)
}

fn fixed<const N: usize>(content: &[u8]) -> Result<[u8; N], String> {
    content.try_into().map_err(|_| "it has an unexpected length".to_owned())
}

fn cell(content: &[u8], kind: &PgTypeInfo) -> Result<Value, CellError> {
    match kind.kind() {
        PgTypeKind::Domain(base) => return cell(content, base),
        PgTypeKind::Enum(_) => return Ok(Value::from(value::utf8(content)?)),
        PgTypeKind::Array(item) => return array(content, item),
        _ => {}
    }
    let micros = |content: &[u8]| -> Result<Option<NaiveDateTime>, String> {
        let micros = i64::from_be_bytes(fixed(content)?);
        Ok(epoch().checked_add_signed(Duration::microseconds(micros)))
    };
    // A date beyond the range of the calendar concerns its row only: pass it on as a text, and the mapping refuses
    // it.
    let beyond = || {
        let negative = content.first().is_some_and(|byte| byte & 0x80 != 0);
        Value::from(if negative { "-infinity" } else { "infinity" })
    };
    Ok(match kind.name() {
        "BOOL" => Value::Bool(content == [1]),
        "INT2" => Value::from(i16::from_be_bytes(fixed(content)?)),
        "INT4" => Value::from(i32::from_be_bytes(fixed(content)?)),
        "INT8" => Value::from(i64::from_be_bytes(fixed(content)?)),
        "OID" => Value::from(u32::from_be_bytes(fixed(content)?)),
        "NUMERIC" => value::number(&numeric::decode(content)?),
        "FLOAT4" => value::number(&f32::from_be_bytes(fixed(content)?).to_string()),
        "FLOAT8" => value::float(f64::from_be_bytes(fixed(content)?)),
        "DATE" => {
            let days = i32::from_be_bytes(fixed(content)?);
            let day = epoch().date().checked_add_signed(Duration::days(i64::from(days)));
            day.map_or_else(beyond, value::date)
        }
        "TIMESTAMP" => micros(content)?.map_or_else(beyond, value::naive),
        "TIMESTAMPTZ" => micros(content)?.map_or_else(beyond, |time| value::instant(time.and_utc())),
        "TIME" => {
            let micros = i64::from_be_bytes(fixed(content)?);
            match NaiveTime::MIN.overflowing_add_signed(Duration::microseconds(micros)) {
                (time, 0) => value::time(time),
                // The end of a day is not its beginning.
                _ => Value::from("24:00:00"),
            }
        }
        "UUID" => Value::from(uuid::Uuid::from_bytes(fixed(content)?).to_string()),
        "JSON" => value::document(content)?,
        "JSONB" => value::document(content.get(1..).unwrap_or_default())?,
        "BYTEA" => value::bytes(content),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "\"CHAR\"" | "citext" | "XML" => {
            Value::from(value::utf8(content)?)
        }
        "VOID" => Value::Null,
        other => {
            let problem = format!("is {}, which is not read; cast it in the query: column::text", lower(other));
            return Err(CellError::Kind(problem));
        }
    })
}

/// A one-dimensional array: dimensions, has-nulls, item type, length, lower bound, then each item with its length.
fn array(content: &[u8], item: &PgTypeInfo) -> Result<Value, CellError> {
    let cut = || "the array is cut off".to_owned();
    let (head, rest) = content.split_at_checked(12).ok_or_else(cut)?;
    match i32::from_be_bytes(fixed(&head[..4])?) {
        0 => return Ok(Value::Array(Vec::new())),
        1 => {}
        _ => {
            let problem = "it is an array of several dimensions, which is not read; cast it to json in the query";
            return Err(CellError::Content(problem.to_owned()));
        }
    }
    let (_, mut rest) = rest.split_at_checked(8).ok_or_else(cut)?;
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_at_checked(4).ok_or_else(cut)?;
        match usize::try_from(i32::from_be_bytes(fixed(length)?)) {
            Err(_) => {
                items.push(Value::Null);
                rest = after;
            }
            Ok(length) => {
                let (content, after) = after.split_at_checked(length).ok_or_else(cut)?;
                items.push(cell(content, item)?);
                rest = after;
            }
        }
    }
    Ok(Value::Array(items))
}
