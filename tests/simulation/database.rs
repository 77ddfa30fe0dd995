//! Where a seed's state is kept: a file in memory, or a schema of its own in a PostgreSQL database.

use std::{
    path::PathBuf,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::gate::Base;

pub enum Database {
    Sqlite { url: String, _folder: TempDir },
    Postgres { url: String, server: String, schema: String, base: Arc<Base> },
}

impl Database {
    /// With the URL of a PostgreSQL server, in there.
    pub fn new(base: &Arc<Base>, postgres: Option<&str>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let Some(server) = postgres else {
            let folder = tempfile::Builder::new().prefix("vaiven-sim").tempdir_in(memory()).unwrap();
            let file = folder.path().join("state.db");
            std::fs::write(&file, &*FRESH).unwrap();
            return Self::Sqlite { url: format!("sqlite://{}", file.display()), _folder: folder };
        };
        let schema = format!("simulation_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        order(base, server, &format!("CREATE SCHEMA {schema}"));
        let mark = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{mark}options=-csearch_path%3D{schema}");
        Self::Postgres { url, server: server.to_owned(), schema, base: base.clone() }
    }

    pub fn url(&self) -> &str {
        match self {
            Self::Sqlite { url, .. } | Self::Postgres { url, .. } => url,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { server, schema, base, .. } = self {
            order(base, server, &format!("DROP SCHEMA {schema} CASCADE"));
        }
    }
}

fn order(base: &Base, server: &str, statement: &str) {
    base.wait_for(async {
        let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// A state store in which nothing has happened yet: made once, because its schema takes longer than a page of rows.
static FRESH: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::Builder::new().prefix("vaiven-sim").tempdir_in(memory()).unwrap();
    let file = folder.path().join("state.db");
    let base = Base::new(false);
    drop(base.open(&format!("sqlite://{}", file.display())));
    // What is still in the log belongs to it.
    base.wait_for(async {
        let options = SqliteConnectOptions::new().filename(&file);
        let mut connection = options.connect().await.unwrap();
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
        connection.close().await.unwrap();
    });
    std::fs::read(&file).unwrap()
});

fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}
