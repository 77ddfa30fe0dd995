//! A private copy of the state to try something on: what every system is known to hold, open jobs and cursors,
//! without the history. The state itself stays as it is, whatever happens to the copy. The copy is removed when it
//! is no longer needed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, Row as _, SqliteConnection, SqlitePool,
    sqlite::SqliteSynchronous,
};

use super::{
    Result, SharedStore, StoreError,
    database::Database,
    open::{cannot, is_postgres, open_postgres, open_sqlite, prove_ours, unknown_scheme},
    sql::Pool,
    statistics::ANALYZE,
    steps::schema_steps,
    values::micros,
};
use crate::env::Env;

/// Tables that a copy leaves out. History grows with the years, and nothing is decided by it. Leases, commands and
/// logins belong to those who work on the state itself.
const LEFT_OUT: &str = "'change_log', 'attempt', 'lease', 'demand', 'login', '_sqlx_migrations'";
/// How many past requests are reported at most.
const MEASURED: u32 = 20_000;
/// Prefix of the names of copies. Copies that a killed process left behind are found by it.
const SCHEMA: &str = "vaiven_plan_";
const FOLDER: &str = ".plan-";

/// A past delivery: how many requests it took part in, and how long its batch was under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    pub target: String,
    pub entity: String,
    pub requests: u64,
    pub millis: u64,
}

/// A copy of the state.
pub struct Scratch {
    pub store: SharedStore,
    /// Number of the last replica that was copied: replicas with higher numbers are new.
    pub mark: i64,
    /// The latest deliveries of the copied state, oldest first.
    pub measured: Vec<Measured>,
    place: Place,
}

enum Place {
    Folder { writer: SqlitePool, readers: SqlitePool, _folder: Folder },
    Schema { pool: PgPool, schema: Option<Schema> },
}

/// Copy the state at `url`. If there is none yet, the copy is empty, and no state is created.
///
/// In the copy nothing is under way: jobs that are running or that wait for their time are due, and no system is
/// paused.
pub async fn copy(url: &str, env: &Env) -> Result<Scratch> {
    let name = format!("{:016x}", env.entropy.next_u64());
    if let Some(path) = url.strip_prefix("sqlite://") {
        copy_sqlite(url, Path::new(path), &name, env.now()).await
    } else if is_postgres(url) {
        copy_postgres(url, &name, env.now()).await
    } else {
        Err(unknown_scheme(url))
    }
}

impl Scratch {
    /// Remove the copy. A copy that is merely dropped is removed as well, in PostgreSQL as far as there is time for
    /// it.
    pub async fn remove(mut self) -> Result<()> {
        match &mut self.place {
            Place::Folder { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
                Ok(())
            }
            Place::Schema { pool, schema } => {
                pool.close().await;
                match schema.take() {
                    Some(schema) => schema.remove().await,
                    None => Ok(()),
                }
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Place::Schema { pool, schema } = &mut self.place
            && let (Some(schema), Ok(runtime)) = (schema.take(), tokio::runtime::Handle::try_current())
        {
            let pool = pool.clone();
            runtime.spawn(async move {
                pool.close().await;
                if let Err(error) = schema.remove().await {
                    tracing::warn!(%error, "a copy of the state is left; the next plan removes it");
                }
            });
        }
    }
}

fn failed(source: sqlx::Error) -> StoreError {
    StoreError::Database { doing: "copy the state", source }
}

/// Check that the state has this program's schema: a copy cannot be brought up to date without its history.
fn same_schema(url: &str, count: i64, last: i64) -> Result<()> {
    if (count, last) == schema_steps() {
        return Ok(());
    }
    Err(cannot(
        url,
        "another version of Vaivén has written it; any command that works on it, such as `vaiven status`, \
         brings it up to date",
    ))
}

// --- SQLite ---------------------------------------------------------------------------------------------------------

/// A folder of its own, locked as long as it is needed and removed afterwards.
struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Create it beside the state, where there is room for it and the same people have access; if there is no state
    /// yet, among temporary files.
    fn make(state: &Path, name: &str) -> std::io::Result<Self> {
        let file = state.file_name().unwrap_or_default().to_string_lossy();
        let beside = state
            .parent()
            .map_or(Path::new("."), |parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
        let room = if state.is_file() { beside.to_owned() } else { std::env::temp_dir() };
        let start = format!("{file}{FOLDER}");
        clear(&room, &start);
        let path = room.join(format!("{start}{name}"));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        let lock = File::open(&path)?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, folder = %self.path.display(), "a copy of the state is left");
        }
    }
}

/// Remove copies of processes that were killed: nobody holds their locks.
fn clear(room: &Path, start: &str) {
    let Ok(entries) = fs::read_dir(room) else { return };
    for entry in entries.flatten() {
        let is_copy = entry.file_name().to_string_lossy().starts_with(start) && entry.path().is_dir();
        if is_copy && File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

async fn copy_sqlite(url: &str, state: &Path, name: &str, now: DateTime<Utc>) -> Result<Scratch> {
    // An empty file is a state that was never opened.
    let is_there = state.exists() && !prove_ours(url, state).await?;
    let folder = Folder::make(state, name).map_err(|error| cannot(url, error))?;
    let path = folder.path.join("copy.db");
    let pool = open_sqlite(&format!("sqlite://{}", path.display()), &path, SqliteSynchronous::Off).await?;
    let Pool::Sqlite { writer, readers } = &pool else { return Err(unknown_scheme(url)) };
    let (writer, readers) = (writer.clone(), readers.clone());
    let (mut mark, mut measured) = (0, Vec::new());
    if is_there {
        let mut connection = writer.acquire().await.map_err(failed)?;
        (mark, measured) = fill_sqlite(url, &mut connection, state, now).await?;
    }
    let store: SharedStore = Arc::new(Database::new(pool));
    Ok(Scratch { store, mark, measured, place: Place::Folder { writer, readers, _folder: folder } })
}

async fn fill_sqlite(
    url: &str,
    connection: &mut SqliteConnection,
    state: &Path,
    now: DateTime<Utc>,
) -> Result<(i64, Vec<Measured>)> {
    const STEPS: &str = "SELECT count(*), coalesce(max(version), 0) FROM source._sqlx_migrations";
    const SEQUENCES: &str = "DELETE FROM main.sqlite_sequence; \
        INSERT INTO main.sqlite_sequence SELECT * FROM source.sqlite_sequence";
    sqlx::query("ATTACH $1 AS source").bind(read_only(state)).execute(&mut *connection).await.map_err(failed)?;
    let mut tx = connection.begin().await.map_err(failed)?;
    let steps = sqlx::query(STEPS).fetch_one(&mut *tx).await.map_err(failed)?;
    same_schema(url, steps.get(0), steps.get(1))?;
    let tables = format!(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' \
            AND name NOT IN ({LEFT_OUT})"
    );
    for row in sqlx::query(AssertSqlSafe(tables)).fetch_all(&mut *tx).await.map_err(failed)? {
        let table: String = row.get(0);
        // If two tables have the same layout, SQLite copies whole pages, indexes included.
        let copy = format!(
            "DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM source.{table}{}",
            only(&table, "source")
        );
        tx.execute(sqlx::raw_sql(AssertSqlSafe(copy))).await.map_err(failed)?;
    }
    tx.execute(sqlx::raw_sql(SEQUENCES)).await.map_err(failed)?;
    for statement in at_rest(now) {
        tx.execute(AssertSqlSafe(statement)).await.map_err(failed)?;
    }
    let mark = sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM replica").fetch_one(&mut *tx).await;
    let mark = mark.map_err(failed)?;
    let found = sqlx::query(AssertSqlSafe(history("source"))).fetch_all(&mut *tx).await.map_err(failed)?;
    let measured = found.iter().map(|row| measured_of(row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    tx.commit().await.map_err(failed)?;
    sqlx::query("DETACH source").execute(&mut *connection).await.map_err(failed)?;
    Ok((mark, measured))
}

/// The address by which SQLite opens a file without ever writing to it.
fn read_only(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?mode=ro");
    uri
}

// --- both -----------------------------------------------------------------------------------------------------------

/// Leave out closed jobs, which are history. Keep discarded ones that no later job has followed: what they were to
/// bring is not at its target.
fn only(table: &str, source: &str) -> String {
    if table != "job" {
        return String::new();
    }
    format!(
        " j WHERE j.state < 4 OR (j.state = 5 AND NOT EXISTS (SELECT 1 FROM {source}.job n \
         WHERE n.record = j.record AND n.target = j.target AND n.id > j.id))"
    )
}

/// Nobody works on the copy, and nothing waits in it.
fn at_rest(now: DateTime<Utc>) -> [String; 2] {
    let now = micros(now);
    [
        format!("UPDATE job SET state = 0, again = 0, owner = NULL, due = {now} WHERE state < 2"),
        "DELETE FROM standing".to_owned(),
    ]
}

fn history(source: &str) -> String {
    format!(
        "SELECT t.text, e.text, a.requests, a.millis \
         FROM (SELECT id, job, requests, millis FROM {source}.attempt ORDER BY id DESC LIMIT {MEASURED}) a \
         JOIN {source}.job j ON j.id = a.job JOIN {source}.name t ON t.id = j.target \
             JOIN {source}.name e ON e.id = j.entity \
         ORDER BY a.id"
    )
}

fn measured_of(target: String, entity: String, requests: i64, millis: i64) -> Measured {
    let count = |number: i64| u64::try_from(number).unwrap_or_default();
    Measured { target, entity, requests: count(requests), millis: count(millis) }
}

// --- PostgreSQL -----------------------------------------------------------------------------------------------------

/// A schema of its own, locked by its connection as long as it is needed.
struct Schema {
    name: String,
    connection: PgConnection,
}

const LOCK: &str = "SELECT pg_advisory_lock(hashtextextended($1, 0))";
const TRY_LOCK: &str = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";

impl Schema {
    async fn make(url: &str, name: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(url).await.map_err(|error| cannot(url, error))?;
        let stale = sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname, $1)")
            .bind(SCHEMA)
            .fetch_all(&mut connection)
            .await;
        let stale: Vec<String> = stale.map_err(failed)?;
        for name in stale {
            // If a process was killed, nobody holds the lock of its copy.
            let free: bool =
                sqlx::query_scalar(TRY_LOCK).bind(&name).fetch_one(&mut connection).await.map_err(failed)?;
            if free && let Err(error) = drop_schema(&mut connection, &name).await {
                tracing::debug!(%error, name, "a copy that somebody left could not be removed");
            }
        }
        let name = format!("{SCHEMA}{name}");
        connection.execute(sqlx::query(LOCK).bind(&name)).await.map_err(failed)?;
        connection.execute(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).await.map_err(|error| {
            let denied = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code)
                .is_some_and(|code| code == "42501");
            if denied {
                let help = "a plan needs a schema of its own for a while: GRANT CREATE ON DATABASE to this user";
                return cannot(url, help);
            }
            failed(error)
        })?;
        Ok(Self { name, connection })
    }

    async fn remove(mut self) -> Result<()> {
        drop_schema(&mut self.connection, &self.name).await.map_err(failed)?;
        self.connection.close().await.map_err(failed)
    }
}

async fn drop_schema(connection: &mut PgConnection, name: &str) -> std::result::Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {name} CASCADE"))).await.map(drop)
}

async fn copy_postgres(url: &str, name: &str, now: DateTime<Utc>) -> Result<Scratch> {
    let schema = Schema::make(url, name).await?;
    let copied = async {
        let pool = open_postgres(url, Some(&schema.name)).await?;
        let Pool::Postgres(connections) = &pool else { return Err(unknown_scheme(url)) };
        let connections = connections.clone();
        let (mark, measured) = fill_postgres(url, &connections, &schema.name, now).await?;
        Ok((pool, connections, mark, measured))
    };
    match copied.await {
        Ok((database, pool, mark, measured)) => {
            let store: SharedStore = Arc::new(Database::new(database));
            Ok(Scratch { store, mark, measured, place: Place::Schema { pool, schema: Some(schema) } })
        }
        Err(error) => {
            schema.remove().await?;
            Err(error)
        }
    }
}

async fn fill_postgres(url: &str, pool: &PgPool, schema: &str, now: DateTime<Utc>) -> Result<(i64, Vec<Measured>)> {
    const TABLES: &str = "SELECT relname::text, relkind = 'S' FROM pg_class \
        WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'S') ORDER BY relkind DESC, relname";
    let mut source = PgConnection::connect(url).await.map_err(|error| cannot(url, error))?;
    let from: String =
        sqlx::query_scalar("SELECT quote_ident(current_schema())").fetch_one(&mut source).await.map_err(failed)?;
    source.close().await.map_err(failed)?;
    let mut tx = pool.begin().await.map_err(failed)?;
    // Copy names, records and replicas as of one moment.
    tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.map_err(failed)?;
    let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("{from}._sqlx_migrations"))
        .fetch_one(&mut *tx)
        .await
        .map_err(failed)?;
    if !there {
        return Ok((0, Vec::new()));
    }
    let steps = format!("SELECT count(*), coalesce(max(version), 0) FROM {from}._sqlx_migrations");
    let steps = sqlx::query(AssertSqlSafe(steps)).fetch_one(&mut *tx).await.map_err(failed)?;
    same_schema(url, steps.get(0), steps.get(1))?;
    for row in sqlx::query(TABLES).bind(schema).fetch_all(&mut *tx).await.map_err(failed)? {
        let (table, sequence): (String, bool) = (row.get(0), row.get(1));
        if LEFT_OUT.contains(&format!("'{table}'")) {
            continue;
        }
        let copy = if sequence {
            format!("SELECT setval('{schema}.{table}', last_value, is_called) FROM {from}.{table}")
        } else {
            // The copy may be lost in a crash, so it need not be logged.
            format!(
                "ALTER TABLE {schema}.{table} SET UNLOGGED; INSERT INTO {schema}.{table} SELECT * \
                    FROM {from}.{table}{}",
                only(&table, &from)
            )
        };
        tx.execute(sqlx::raw_sql(AssertSqlSafe(copy))).await.map_err(failed)?;
    }
    for statement in at_rest(now) {
        tx.execute(AssertSqlSafe(statement)).await.map_err(failed)?;
    }
    tx.execute(ANALYZE).await.map_err(failed)?;
    let mark = sqlx::query_scalar("SELECT coalesce(max(number), 0)::bigint FROM replica").fetch_one(&mut *tx).await;
    let mark = mark.map_err(failed)?;
    let found = sqlx::query(AssertSqlSafe(history(&from))).fetch_all(&mut *tx).await.map_err(failed)?;
    let measured = found.iter().map(|row| measured_of(row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    tx.commit().await.map_err(failed)?;
    Ok((mark, measured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_letters_is_named_for_reading_alone() {
        assert_eq!(read_only(Path::new("/a b/ñ?#%.db")), "file:/a%20b/%C3%B1%3F%23%25.db?mode=ro");
    }
}
