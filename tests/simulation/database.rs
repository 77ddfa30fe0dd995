//! The database that holds a seed's state: an SQLite file in memory, or a schema of its own in a PostgreSQL database.

use std::{
    path::PathBuf,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::store_runtime::StoreRuntime;

/// A database that is removed when it is dropped.
pub enum Database {
    Sqlite { url: String, _folder: TempDir },
    Postgres { url: String, server: String, schema: String, store_runtime: Arc<StoreRuntime> },
}

impl Database {
    /// Creates an empty database, on the PostgreSQL server at the URL `postgres` if there is one.
    pub fn new(store_runtime: &Arc<StoreRuntime>, postgres: Option<&str>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let Some(server) = postgres else {
            let folder = tempfile::Builder::new().prefix("vaiven-sim").tempdir_in(memory()).unwrap();
            let file = folder.path().join("state.db");
            std::fs::write(&file, &*EMPTY_STATE).unwrap();
            return Self::Sqlite { url: format!("sqlite://{}", file.display()), _folder: folder };
        };
        let schema = format!("simulation_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        execute(store_runtime, server, &format!("CREATE SCHEMA {schema}"));
        let separator = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{separator}options=-csearch_path%3D{schema}");
        Self::Postgres { url, server: server.to_owned(), schema, store_runtime: store_runtime.clone() }
    }

    /// The URL that opens this database.
    pub fn url(&self) -> &str {
        match self {
            Self::Sqlite { url, .. } | Self::Postgres { url, .. } => url,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { server, schema, store_runtime, .. } = self {
            execute(store_runtime, server, &format!("DROP SCHEMA {schema} CASCADE"));
        }
    }
}

/// Runs one SQL statement on a PostgreSQL server.
fn execute(store_runtime: &StoreRuntime, server: &str, statement: &str) {
    store_runtime.wait_for(async {
        let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// The bytes of an empty state. Made once, because creating the schema takes longer than copying it.
static EMPTY_STATE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::Builder::new().prefix("vaiven-sim").tempdir_in(memory()).unwrap();
    let file = folder.path().join("state.db");
    let store_runtime = StoreRuntime::new(false);
    drop(store_runtime.open(&format!("sqlite://{}", file.display())));
    // Bring the write-ahead log into the file.
    store_runtime.wait_for(async {
        let options = SqliteConnectOptions::new().filename(&file);
        let mut connection = options.connect().await.unwrap();
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
        connection.close().await.unwrap();
    });
    std::fs::read(&file).unwrap()
});

/// A folder in memory, if there is one.
fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}
