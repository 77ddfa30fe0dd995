//! Opens (or creates) the state store that a URL names.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    str::FromStr as _,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgPool, Row as _, SqlitePool,
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Result, SharedStore, StoreError,
    database::Database,
    sql::Pool,
    steps::{POSTGRES, SQLITE, schema_steps},
};

/// `vaiv`: marks a SQLite file as ours, in its header.
const APPLICATION_ID: i64 = 0x7661_6976;
const MARK: &str = "PRAGMA application_id = 1986095478";

/// How long SQLite waits for another process's lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// Open the store at `sqlite://path` (created with mode 0600 if absent) or `postgres://user@host/database`.
///
/// Bring the tables up to date. Refuse a file or schema that is not ours or that a newer version has written, and
/// leave it as it is.
pub async fn open(url: &str) -> Result<SharedStore> {
    Ok(Arc::new(Database::new(pool(url).await?)))
}

async fn pool(url: &str) -> Result<Pool> {
    if let Some(path) = url.strip_prefix("sqlite://") {
        let path = Path::new(path);
        let _turn = turn(path).await.map_err(|error| cannot(url, error))?;
        // With less, a power cut could lose the last commits: an intent whose request was sent, or a page whose
        // file has been moved.
        open_sqlite(url, path, SqliteSynchronous::Full).await
    } else if is_postgres(url) {
        open_postgres(url, None).await
    } else {
        Err(unknown_scheme(url))
    }
}

pub(super) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

pub(super) fn unknown_scheme(url: &str) -> StoreError {
    cannot(url, "the URL must begin with sqlite:// or postgres://")
}

/// A URL as it may be shown: without its password.
fn shown(url: &str) -> String {
    // Parameters may hold a password as well.
    let url = url.split_once('?').map_or(url, |(place, _)| place);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((login, place)) = rest.rsplit_once('@') else { return url.to_owned() };
    let user = login.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}@{place}")
}

pub(super) fn cannot(url: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Open { url: shown(url), source: source.into() }
}

/// Wait until no other process is opening a state in this folder, which is created if absent: a command and a
/// daemon that start at the same time would both create the tables. The turn lasts until the file is dropped.
#[expect(clippy::disallowed_methods, reason = "another process holds the lock, whatever clock this one has")]
async fn turn(path: &Path) -> io::Result<File> {
    const LOOK: Duration = Duration::from_millis(20);
    // Bringing a state of several years up to date takes time.
    const LONGEST: Duration = Duration::from_mins(10);
    let path = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(path)?;
    let folder = File::open(path)?;
    let mut waited = Duration::ZERO;
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if waited >= LONGEST => {
                return Err(io::Error::other(
                    "another process has been opening it, or bringing it up to date, for ten minutes: \
                     see which (`ps`), then try again",
                ));
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if waited == PATIENCE {
            tracing::warn!(
                folder = %path.display(),
                "another process is opening the state, or brings it up to date; waiting for it"
            );
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
}

/// Open a state that no other process opens at the same time.
pub(super) async fn open_sqlite(url: &str, path: &Path, synchronous: SqliteSynchronous) -> Result<Pool> {
    let fresh = prepare_file(url, path).await?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(PATIENCE)
        .statement_cache_capacity(200);
    if fresh {
        // Mark the header before WAL begins, so that the mark is readable whatever happens afterwards.
        let mut connection = options.connect().await.map_err(|error| cannot(url, error))?;
        connection.execute(MARK).await.map_err(|error| cannot(url, error))?;
        connection.close().await.map_err(|error| cannot(url, error))?;
    }
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(false)
        .pragma("temp_store", "memory")
        .pragma("cache_size", "-16384");
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_mins(2))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options.clone())
        .await
        .map_err(|error| cannot(url, error))?;
    SQLITE.run(&writer).await.map_err(|error| migration(url, error))?;
    let readers: SqlitePool = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_mins(2))
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options.read_only(true));
    Ok(Pool::Sqlite { writer, readers })
}

/// Create the file if there is none, else check that it is ours. Return true if its header has to be marked.
async fn prepare_file(url: &str, path: &Path) -> Result<bool> {
    let mut create = std::fs::OpenOptions::new();
    create.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut create, 0o600);
    match create.open(path) {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(cannot(url, error)),
    }
    let is_empty = prove_ours(url, path).await?;
    #[cfg(unix)]
    take_from_others(path);
    Ok(is_empty)
}

/// Make the file readable by its owner alone. It holds what people buy, and tokens to log in with. If somebody
/// copied it here, others may have been able to read it. The files that SQLite creates beside it get the same
/// permissions.
#[cfg(unix)]
fn take_from_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        let Ok(found) = std::fs::metadata(&name) else { continue };
        let mode = found.permissions().mode();
        if mode & 0o077 != 0
            && let Err(error) = std::fs::set_permissions(&name, std::fs::Permissions::from_mode(mode & 0o700))
        {
            let file = Path::new(&name).display();
            tracing::warn!(%error, %file, "others may read the state, and that cannot be taken from them: chmod 0600");
        }
    }
}

/// Check that the file is ours. Return true if it is empty and so has no header yet.
///
/// Read it through SQLite: a process that opens and closes the file itself loses the locks of all its connections.
/// Another process then believes that it is the last one, and deletes the log of what was written.
pub(super) async fn prove_ours(url: &str, path: &Path) -> Result<bool> {
    const NOT_SQLITE: &str = "26";
    // A process was killed while it created the file. Only a process that may write can roll that back.
    const HALF_MADE: &str = "776";
    let foreign = |found: String| StoreError::Foreign { url: shown(url), found };
    let code = |error: &sqlx::Error| error.as_database_error()?.code().map(std::borrow::Cow::into_owned);
    let looked = match look(path, true).await {
        Err(error) if code(&error).as_deref() == Some(HALF_MADE) => look(path, false).await,
        looked => looked,
    };
    let (pages, mark) = looked.map_err(|error| match code(&error).as_deref() {
        Some(NOT_SQLITE) => foreign("the file is not an SQLite database".into()),
        _ => cannot(url, error),
    })?;
    match (pages, mark) {
        (0, _) => Ok(true),
        (_, APPLICATION_ID) => Ok(false),
        _ => Err(foreign(format!("an SQLite database of another application, id {mark}"))),
    }
}

/// Return how many pages a database has, and the application id in its header.
async fn look(path: &Path, read_only: bool) -> std::result::Result<(i64, i64), sqlx::Error> {
    const SQL: &str = "SELECT page_count, application_id FROM pragma_page_count(), pragma_application_id()";
    let options = SqliteConnectOptions::new().filename(path).read_only(read_only).busy_timeout(PATIENCE);
    let mut connection = options.connect().await?;
    let row = sqlx::query(SQL).fetch_one(&mut connection).await?;
    let found = (row.try_get(0)?, row.try_get(1)?);
    connection.close().await?;
    Ok(found)
}

/// If `schema` is given, open that schema instead of the URL's own.
pub(super) async fn open_postgres(url: &str, schema: Option<&str>) -> Result<Pool> {
    let mut options = PgConnectOptions::from_str(url)
        .map_err(|error| cannot(url, error))?
        .application_name("vaiven")
        .statement_cache_capacity(200)
        // Statements join small sets with big tables. A plan that was cached while a table was still small must not
        // scan it later.
        .options([("jit", "off"), ("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")])
        // If a daemon is suspended or cut off in the middle of a transaction, its locks must not block all others
        // for ever.
        .options([("idle_in_transaction_session_timeout", "20s")]);
    if let Some(schema) = schema {
        options = options.options([("search_path", schema)]);
    }
    // The pool would go on trying until its time limit, and then report only that it ran out.
    let connection = options.connect().await.map_err(|error| cannot(url, error))?;
    connection.close().await.map_err(|error| cannot(url, error))?;
    let pool: PgPool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(30))
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|error| cannot(url, error))?;
    refuse_foreign_schema(url, &pool).await?;
    POSTGRES.run(&pool).await.map_err(|error| migration(url, error))?;
    Ok(Pool::Postgres(pool))
}

/// A schema that holds tables but not our migration table belongs to another program.
async fn refuse_foreign_schema(url: &str, pool: &PgPool) -> Result<()> {
    const TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE relname = '_sqlx_migrations') \
        FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')";
    let row = sqlx::query(TABLES).fetch_one(pool).await.map_err(|error| cannot(url, error))?;
    let (all, ours): (i64, i64) = (row.get(0), row.get(1));
    if all > 0 && ours == 0 {
        let found = format!("its schema already has {all} tables of another application");
        return Err(StoreError::Foreign { url: shown(url), found });
    }
    Ok(())
}

fn migration(url: &str, error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => cannot(
            url,
            format!(
                "a newer version of Vaivén has written it (schema {version}, this program knows up to {}); \
                 install that version or restore an older backup",
                schema_steps().1
            ),
        ),
        MigrateError::VersionMismatch(version) => StoreError::Foreign {
            url: shown(url),
            found: format!("its schema step {version} is not the one this program knows"),
        },
        other => cannot(url, other),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        borrow::Cow,
        collections::{BTreeMap, BTreeSet},
    };

    use chrono::{DateTime, Utc};
    use sqlx::migrate::Migrator;

    use super::*;
    use crate::store::{
        JobFilter, JobState, MappingRevision, OrderReadings, Reading, RecordId, RunKind, StockEvidence, Store, backup,
    };

    #[tokio::test]
    async fn a_commit_is_on_disk_before_anything_relies_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("state.db").display());
        let Pool::Sqlite { writer, .. } = pool(&url).await.unwrap() else { panic!("no SQLite") };
        let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&writer).await.unwrap();
        assert_eq!(level, 2, "FULL");
    }

    #[test]
    fn an_address_is_shown_without_any_password() {
        assert_eq!(shown("postgres://u:hush@db/vaiven"), "postgres://u@db/vaiven");
        assert_eq!(shown("postgres://db:5432/vaiven?user=u&password=hush"), "postgres://db:5432/vaiven");
    }

    /// Copies what the notes of an earlier schema recorded about readings and firings.
    async fn readings_are_as_they_were(store: &dyn Store) {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let reading = store.reading("shop", "product").await.unwrap();
        assert_eq!(reading, Reading { is_adopted: true, ..Reading::default() });
        let reading = store.reading("erp", "product").await.unwrap();
        let revision = MappingRevision { mapping: u64::MAX, adapter: 9_223_372_036_854_775_809 };
        let whole_at = Some(time("2026-11-30T10:00:00.250Z"));
        assert_eq!(reading, Reading { revision: Some(revision), whole_at, ..Reading::default() });
        let had = BTreeMap::from([("shop".to_owned(), BTreeSet::from([RecordId(7), RecordId(9)]))]);
        let stock = Some(StockEvidence { since: 3, listed: 5, had });
        assert_eq!(store.reading("erp", "stock").await.unwrap(), Reading { stock, ..Reading::default() });
        let orders = Some(OrderReadings { before: 2, last: 4 });
        assert_eq!(store.reading("shop", "order").await.unwrap(), Reading { orders, ..Reading::default() });
        assert_eq!(store.heard("shop", "order").await.unwrap(), Some(4));
        let fired = [
            ("catalog", RunKind::Delta),
            ("catalog", RunKind::Full),
            ("stock", RunKind::Delta),
            ("stock", RunKind::Full),
        ];
        let times = ["2026-11-30T10:05:00Z", "2026-11-30T04:00:00.125Z", "2026-11-30T10:06:00Z", ""];
        for ((flow, kind), at) in fired.into_iter().zip(times) {
            assert_eq!(store.fired(flow, kind).await.unwrap(), at.parse().ok(), "{flow} {kind:?}");
        }
        let notes: Vec<String> = store.notes("").await.unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(notes, ["covered:erp/product/shop"]);
    }

    #[tokio::test]
    async fn every_earlier_schema_is_brought_up_to_date_with_its_data() {
        const DATA: &str = "INSERT INTO name VALUES (1, 'erp'), (2, 'shop'), (3, 'product'); \
            INSERT INTO record (id, entity, key) VALUES (7, 3, 'H-1'); \
            INSERT INTO replica (number, system, entity, record, id, fields) \
                VALUES (1, 1, 3, 7, 'e1', '{\"sku\":\"H-1\"}'); \
            INSERT INTO job (target, entity, record, lane, state, due, created_at, updated_at) \
                VALUES (2, 3, 7, 3, 0, 5, 5, 5); \
            INSERT INTO note VALUES ('adopted:shop/product', 'true'), \
                ('reader:erp/product', '{\"mapping\":18446744073709551615,\"adapter\":9223372036854775809}'), \
                ('whole:erp/product', '\"2026-11-30T10:00:00.250Z\"'), \
                ('read:erp/stock', '{\"since\":3,\"listed\":5,\"had\":{\"shop\":[7,9]}}'), \
                ('read:shop/order', '{\"before\":2,\"last\":4}'), ('heard:shop', '4'), \
                ('fired:catalog', '\"2026-11-30T10:05:00+00:00\"'), \
                ('fired-full:catalog', '\"2026-11-30T04:00:00.125+00:00\"'), ('fired:stock', '\"2026-11-30T10:06:00+00:00\"'), \
                ('covered:erp/product/shop', '{\"print\":\"x\"}')";
        let (steps, _) = schema_steps();
        for known in 1..steps {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.db");
            let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
            let mut connection = options.connect().await.unwrap();
            connection.execute(MARK).await.unwrap();
            let early: Vec<_> = SQLITE.iter().take(usize::try_from(known).unwrap()).cloned().collect();
            let early = Migrator { migrations: Cow::Owned(early), ..Migrator::DEFAULT };
            early.run_direct(None, &mut connection, false).await.unwrap();
            connection.execute(DATA).await.unwrap();
            connection.close().await.unwrap();

            let url = format!("sqlite://{}", path.display());
            let saved = folder.path().join("saved.db");
            backup(&url, &saved).await.unwrap();
            let saved = open(&format!("sqlite://{}", saved.display())).await.unwrap();
            assert!(!saved.reading("shop", "product").await.unwrap().is_adopted, "a backup from step {known}");

            let store = open(&url).await.unwrap();
            assert_eq!(store.record("product", "H-1").await.unwrap(), Some(RecordId(7)), "from step {known}");
            let jobs = store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
            assert_eq!(
                (jobs.len(), jobs[0].state, jobs[0].record),
                (1, JobState::Queued, RecordId(7)),
                "from step {known}"
            );
            assert_eq!(store.replicas_of(&[RecordId(7)]).await.unwrap()[0].fields["sku"], "H-1", "from step {known}");
            readings_are_as_they_were(&*store).await;
        }
    }

    #[tokio::test]
    async fn what_an_earlier_schema_knows_of_sub_objects_is_known_to_be_the_same_at_all_systems() {
        const DATA: &str = "INSERT INTO name VALUES (1, 'erp'), (2, 'shop'), (3, 'product'), (4, 'product.variants'); \
            INSERT INTO record (id, entity, key) VALUES (7, 3, 'H'), (8, 3, 'J'); \
            INSERT INTO part (system, list, key, record, id) VALUES (1, 4, 'M', 7, 'e1'), (2, 4, 'M', 7, 's1'), \
                (2, 4, 'L', 7, 's2'), (2, 4, 'M', 8, 's9')";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let mut connection =
            SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
        connection.execute(MARK).await.unwrap();
        let early: Vec<_> = SQLITE.iter().filter(|migration| migration.version < 12).cloned().collect();
        let early = Migrator { migrations: Cow::Owned(early), ..Migrator::DEFAULT };
        early.run_direct(None, &mut connection, false).await.unwrap();
        connection.execute(DATA).await.unwrap();
        connection.close().await.unwrap();

        let store = open(&format!("sqlite://{}", path.display())).await.unwrap();
        let children = store.children_of(&[RecordId(7), RecordId(8)]).await.unwrap();
        let of = |record: i64, system: &str, key: &str| {
            let mut found =
                children[&RecordId(record)].iter().filter(|child| child.system == system && child.key == key);
            found.next().map(|child| (child.list.as_str(), child.id.as_str(), child.member)).unwrap()
        };
        let ((list, id, at_erp), (_, _, at_shop)) = (of(7, "erp", "M"), of(7, "shop", "M"));
        assert_eq!((list, id, at_erp), ("variants", "e1", at_shop));
        assert!(of(7, "shop", "L").2 != at_shop && of(8, "shop", "M").2 != at_shop);
    }
}
