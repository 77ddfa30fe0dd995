//! One interface to both databases: statements as constants, parameters, rows.
//!
//! Most statements are the same text for both. A set of rows is sent as one text parameter: a JSON array of arrays
//! that `json_each` turns into rows (the PostgreSQL migration defines a function of that name). So the text of a
//! statement never depends on how many rows it carries, and the connection's statement cache always has it.

use std::borrow::Cow;

use serde::Serialize;
use sqlx::{Column as _, PgPool, Postgres, Row as _, Sqlite, SqlitePool, Transaction, TypeInfo as _, ValueRef as _};

use super::{Fence, JobId, RecordId, Result, RunId, StoreError};

/// A statement, in the dialect of each database.
#[derive(Clone, Copy)]
pub(super) struct Sql {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

impl From<&'static str> for Sql {
    fn from(both: &'static str) -> Self {
        Self { sqlite: both, postgres: both }
    }
}

/// A bound parameter.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    Int(Option<i64>),
    Text(Option<String>),
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Arg {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

macro_rules! bound_as_numbers {
    ($($id:ident),+) => {
        $(
            impl From<$id> for Arg {
                fn from(id: $id) -> Self {
                    Self::Int(Some(id.into()))
                }
            }

            impl From<Option<$id>> for Arg {
                fn from(id: Option<$id>) -> Self {
                    Self::Int(id.map(i64::from))
                }
            }
        )+
    };
}

bound_as_numbers!(Fence, JobId, RecordId, RunId);

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<&str>> for Arg {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<Option<String>> for Arg {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

/// Parameters of a statement: `args![1, "text", rows]`.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$($crate::store::sql::Arg::from($arg)),*] };
}
pub(super) use args;

/// Turn the rows of a page into one parameter: a JSON array of arrays.
pub(super) fn rows<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<String> {
    let rows: Vec<T> = rows.into_iter().collect();
    serde_json::to_string(&rows).map(without_nul).map_err(|error| StoreError::Row {
        table: "parameter",
        column: "rows",
        row: String::new(),
        problem: error.to_string(),
    })
}

/// PostgreSQL allows no character 0 in texts. If a system sends one, it becomes the replacement character, in both
/// databases alike. Snapshots are JSON within JSON, where the character is written with two backslashes and stays.
fn without_nul(mut json: String) -> String {
    let mut from = 0;
    while let Some(found) = json.get(from..).and_then(|rest| rest.find("\\u0000")) {
        let at = from + found;
        let backslashes = json.as_bytes()[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 0 {
            json.replace_range(at..at + 6, "\\ufffd");
        }
        from = at + 6;
    }
    json
}

/// The same for a single text.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// A statement on jobs with the condition that their cause begins with a text: the part before the condition, the two
/// parameters that [`range`] gives, and the part after it. SQLite finds the jobs by the index on causes. PostgreSQL
/// compares by bytes as well, whatever collation the database has.
macro_rules! by_cause {
    ($before:literal, $from:literal, $to:literal, $after:literal) => {
        $crate::store::sql::Sql {
            sqlite: concat!($before, "cause >= ", $from, " AND cause < ", $to, $after),
            postgres: concat!($before, "cause COLLATE \"C\" >= ", $from, " AND cause COLLATE \"C\" < ", $to, $after),
        }
    };
}
pub(super) use by_cause;

/// Return where the texts that begin with `beginning` begin, and the first text after them. `beginning` ends in `:`, as
/// those of causes do.
pub(super) fn range(beginning: &str) -> (&str, String) {
    (beginning, beginning.replace(':', ";"))
}

#[derive(Clone, Debug)]
enum Cell {
    Null,
    Int(i64),
    Text(String),
}

/// A row of a result; columns are taken by position.
#[derive(Debug)]
pub(super) struct Row {
    doing: &'static str,
    cells: Vec<Cell>,
}

impl Row {
    pub(super) fn int(&self, column: usize) -> Result<i64> {
        self.int_or_null(column)?.ok_or_else(|| self.problem(column, "is null"))
    }

    pub(super) fn int_or_null(&self, column: usize) -> Result<Option<i64>> {
        match self.cells.get(column) {
            Some(Cell::Int(value)) => Ok(Some(*value)),
            Some(Cell::Null) => Ok(None),
            Some(Cell::Text(_)) => Err(self.problem(column, "is text where a number was expected")),
            None => Err(self.problem(column, "is absent")),
        }
    }

    /// Take the number of a record, a run or a job, or a fence.
    pub(super) fn id<T: From<i64>>(&self, column: usize) -> Result<T> {
        self.int(column).map(T::from)
    }

    pub(super) fn id_or_null<T: From<i64>>(&self, column: usize) -> Result<Option<T>> {
        Ok(self.int_or_null(column)?.map(T::from))
    }

    /// Take a number of a smaller type.
    pub(super) fn small<T: TryFrom<i64>>(&self, column: usize) -> Result<T> {
        T::try_from(self.int(column)?).map_err(|_| self.problem(column, "is out of range"))
    }

    pub(super) fn text(&mut self, column: usize) -> Result<String> {
        self.text_or_null(column)?.ok_or_else(|| self.problem(column, "is null"))
    }

    pub(super) fn text_or_null(&mut self, column: usize) -> Result<Option<String>> {
        match self.cells.get_mut(column) {
            Some(cell @ Cell::Text(_)) => match std::mem::replace(cell, Cell::Null) {
                Cell::Text(text) => Ok(Some(text)),
                Cell::Null | Cell::Int(_) => Ok(None),
            },
            Some(Cell::Null) => Ok(None),
            Some(Cell::Int(_)) => Err(self.problem(column, "is a number where text was expected")),
            None => Err(self.problem(column, "is absent")),
        }
    }

    pub(super) fn problem(&self, column: usize, problem: &str) -> StoreError {
        StoreError::Row {
            table: self.doing,
            column: "answer",
            row: format!("column {column}"),
            problem: problem.to_owned(),
        }
    }
}

/// One of the two databases.
pub(super) enum Pool {
    /// One connection writes, some read. SQLite has only one writer anyway, and queueing here is fairer than its
    /// busy loop.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

/// A transaction that writes.
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| {
        let lost_a_race = source.as_database_error().is_some_and(|error| {
            error.is_unique_violation() || matches!(error.code().as_deref(), Some("40001" | "40P01"))
        });
        if lost_a_race { StoreError::Stale(doing) } else { StoreError::Database { doing, source } }
    }
}

macro_rules! bind {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql);
        for arg in $args {
            query = match arg {
                Arg::Int(value) => query.bind(value),
                Arg::Text(value) => query.bind(value.map(|text| match plain(&text) {
                    Cow::Owned(changed) => changed,
                    Cow::Borrowed(_) => text,
                })),
            };
        }
        query
    }};
}

fn sqlite_row(doing: &'static str, row: &sqlx::sqlite::SqliteRow) -> sqlx::Result<Row> {
    let mut cells = Vec::with_capacity(row.len());
    for column in 0..row.len() {
        let value = row.try_get_raw(column)?;
        cells.push(if value.is_null() {
            Cell::Null
        } else if value.type_info().name() == "TEXT" {
            Cell::Text(row.try_get_unchecked(column)?)
        } else {
            Cell::Int(row.try_get_unchecked(column)?)
        });
    }
    Ok(Row { doing, cells })
}

fn postgres_row(doing: &'static str, row: &sqlx::postgres::PgRow) -> sqlx::Result<Row> {
    let mut cells = Vec::with_capacity(row.len());
    for column in 0..row.len() {
        let cell = match row.column(column).type_info().name() {
            "INT8" => row.try_get::<Option<i64>, _>(column)?.map(Cell::Int),
            "INT4" => row.try_get::<Option<i32>, _>(column)?.map(|value| Cell::Int(value.into())),
            "INT2" => row.try_get::<Option<i16>, _>(column)?.map(|value| Cell::Int(value.into())),
            "BOOL" => row.try_get::<Option<bool>, _>(column)?.map(|value| Cell::Int(value.into())),
            _ => row.try_get::<Option<String>, _>(column)?.map(Cell::Text),
        };
        cells.push(cell.unwrap_or(Cell::Null));
    }
    Ok(Row { doing, cells })
}

/// Check the plan of every statement in tests. A set of rows is walked once, and each of its rows finds what it
/// needs by an index. Left to itself, SQLite's planner may walk the table, and read the whole set again for each of
/// its rows: hence the `CROSS JOIN`s and `MATERIALIZED`, and this check. It also turns each `EXISTS` into a loop
/// (since SQLite 3.51), and two of them into a product, whereas `(SELECT 1 ... LIMIT 1) IS NOT NULL` is looked up.
#[cfg(test)]
async fn look_at_plan(sql: &'static str, connection: impl sqlx::Executor<'_, Database = Sqlite>) {
    use std::{collections::HashSet, sync::Mutex};
    static SEEN: Mutex<Option<HashSet<&str>>> = Mutex::new(None);
    if !SEEN.lock().unwrap().get_or_insert_default().insert(sql) {
        return;
    }
    let explain = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    let plan = explain.fetch_all(connection).await.unwrap();
    let lines: Vec<(i64, String)> = plan.iter().map(|row| (row.get(1), row.get(3))).collect();
    let is_loop = |line: &str| line.starts_with("SCAN") || line.starts_with("SEARCH");
    for (at, (parent, line)) in lines.iter().enumerate() {
        let inner = lines[..at].iter().any(|(other, outer)| other == parent && is_loop(outer));
        let inner_exists = lines[..at].iter().any(|(other, outer)| other == parent && outer.contains(" EXISTS "));
        assert!(!(line.contains("VIRTUAL TABLE") && inner), "a set is read again for each row: {sql}\n{lines:#?}");
        assert!(!(line.contains(" EXISTS ") && inner_exists), "a product of two EXISTS: {sql}\n{lines:#?}");
        let around = lines.iter().filter(|(other, line)| other == parent && is_loop(line));
        let sliced = around.map(|(_, line)| line).all(|line| line.contains(" replica "));
        let sorted = sliced && sql.contains("LIMIT") && line == "USE TEMP B-TREE FOR ORDER BY";
        assert!(!sorted, "all replicas are sorted for a slice of them: {sql}\n{lines:#?}");
        let walked = sql.contains("substr(cause") && line.ends_with("job_parked (target=?)");
        assert!(!walked, "all parked jobs of a target are walked for those of some causes: {sql}\n{lines:#?}");
    }
}

macro_rules! fetch {
    ($doing:expr, $sql:expr, $args:expr, $connection:expr, $row:path) => {{
        let found = bind!($sql, $args).fetch_all($connection).await.map_err(failed($doing))?;
        found.iter().map(|row| $row($doing, row)).collect::<sqlx::Result<Vec<_>>>().map_err(failed($doing))
    }};
}

impl Pool {
    /// Return the file, or the server's host, port and database.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Sqlite { writer, .. } => writer.connect_options().get_filename().display().to_string(),
            Self::Postgres(pool) => {
                let options = pool.connect_options();
                let database = options.get_database().unwrap_or_default();
                format!("{}:{}/{database}", options.get_host(), options.get_port())
            }
        }
    }

    /// Run a statement that only reads, and return its rows.
    pub(super) async fn read(&self, doing: &'static str, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Vec<Row>> {
        let sql = sql.into();
        match self {
            Self::Sqlite { readers, .. } => {
                #[cfg(test)]
                look_at_plan(sql.sqlite, readers).await;
                fetch!(doing, sql.sqlite, args, readers, sqlite_row)
            }
            Self::Postgres(pool) => fetch!(doing, sql.postgres, args, pool, postgres_row),
        }
    }

    /// Run a statement that writes and is a transaction of its own; return the rows of its `RETURNING`.
    pub(super) async fn write(&self, doing: &'static str, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Vec<Row>> {
        let sql = sql.into();
        match self {
            Self::Sqlite { writer, .. } => {
                #[cfg(test)]
                look_at_plan(sql.sqlite, writer).await;
                fetch!(doing, sql.sqlite, args, writer, sqlite_row)
            }
            Self::Postgres(pool) => fetch!(doing, sql.postgres, args, pool, postgres_row),
        }
    }

    /// Like [`Pool::write`], but return how many rows were written.
    pub(super) async fn execute(&self, doing: &'static str, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<u64> {
        let sql = sql.into();
        match self {
            Self::Sqlite { writer, .. } => {
                #[cfg(test)]
                look_at_plan(sql.sqlite, writer).await;
                bind!(sql.sqlite, args).execute(writer).await.map(|done| done.rows_affected()).map_err(failed(doing))
            }
            Self::Postgres(pool) => {
                bind!(sql.postgres, args).execute(pool).await.map(|done| done.rows_affected()).map_err(failed(doing))
            }
        }
    }

    /// Begin a transaction, in a task of its own. If a future were dropped while `BEGIN` is under way, the
    /// connection would go back to its pool inside a transaction, and what others write on it would never be
    /// committed. If nobody waits any more for a transaction that has begun, it is rolled back.
    pub(super) async fn begin(&self, doing: &'static str) -> Result<Tx> {
        let begun = match self {
            Self::Sqlite { writer, .. } => {
                let writer = writer.clone();
                tokio::spawn(async move { begin_immediate(&writer).await.map(Tx::Sqlite) }).await
            }
            Self::Postgres(pool) => {
                let pool = pool.clone();
                tokio::spawn(async move { pool.begin().await.map(Tx::Postgres) }).await
            }
        };
        begun.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed)).map_err(failed(doing))
    }
}

/// If the disk is full, SQLite ends a transaction by itself. The connection then still counts a transaction that no
/// longer exists, and could never begin one again. So replace the connection.
async fn begin_immediate(writer: &SqlitePool) -> sqlx::Result<Transaction<'static, Sqlite>> {
    const BEGIN: &str = "BEGIN IMMEDIATE";
    match writer.begin_with(BEGIN).await {
        Err(sqlx::Error::InvalidSavePointStatement) => {
            writer.acquire().await?.close().await?;
            writer.begin_with(BEGIN).await
        }
        begun => begun,
    }
}

impl Tx {
    pub(super) async fn rows(&mut self, doing: &'static str, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Vec<Row>> {
        let sql = sql.into();
        match self {
            Self::Sqlite(tx) => {
                #[cfg(test)]
                look_at_plan(sql.sqlite, &mut **tx).await;
                fetch!(doing, sql.sqlite, args, &mut **tx, sqlite_row)
            }
            Self::Postgres(tx) => fetch!(doing, sql.postgres, args, &mut **tx, postgres_row),
        }
    }

    pub(super) async fn execute(&mut self, doing: &'static str, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<u64> {
        let sql = sql.into();
        match self {
            Self::Sqlite(tx) => {
                #[cfg(test)]
                look_at_plan(sql.sqlite, &mut **tx).await;
                bind!(sql.sqlite, args).execute(&mut **tx).await.map(|done| done.rows_affected()).map_err(failed(doing))
            }
            Self::Postgres(tx) => bind!(sql.postgres, args)
                .execute(&mut **tx)
                .await
                .map(|done| done.rows_affected())
                .map_err(failed(doing)),
        }
    }

    pub(super) async fn commit(self, doing: &'static str) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await.map_err(failed(doing)),
            Self::Postgres(tx) => tx.commit().await.map_err(failed(doing)),
        }
    }
}
