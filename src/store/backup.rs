//! A copy of the state, made while the daemon runs.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _, SqliteConnection,
    sqlite::SqliteConnectOptions,
};

use super::{
    Result, StoreError,
    open::{cannot, is_postgres, prove_ours},
};

/// Copy the state at `sqlite://path` into the new file `to`, and return its size in bytes. The daemon may go on
/// working meanwhile. When this returns, the copy is consistent in itself, readable by its owner alone, and safely
/// on disk.
///
/// The copy does not know what was created after it was made. So it marks every target as not read yet: a daemon
/// that starts from it reads each target completely before it creates anything there. The copy leaves out refresh
/// tokens: nobody can log in with it.
///
/// # Errors
/// If the state does not exist or is not ours, if a file of that name exists, or if there is no room. Also on
/// PostgreSQL, which has its own means.
pub async fn backup(url: &str, to: &Path) -> Result<u64> {
    if is_postgres(url) {
        let why = "PostgreSQL makes its own backups: pg_dump gives a consistent copy while the daemon runs; \
                   docs/reliability.md says what to do when it is restored";
        return Err(Partial::refused(to, why));
    }
    let state = Path::new(url.strip_prefix("sqlite://").unwrap_or(url));
    if !state.exists() || prove_ours(url, state).await? {
        return Err(Partial::refused(to, "there is no state yet"));
    }
    let partial = Partial::beside(to)?;
    let failed = |doing| move |source| StoreError::Database { doing, source };
    let read = SqliteConnectOptions::new().filename(state).read_only(true);
    let mut connection = read.connect().await.map_err(|error| cannot(url, error))?;
    let copy = format!("VACUUM INTO '{}'", partial.0.to_string_lossy().replace('\'', "''"));
    connection.execute(sqlx::raw_sql(AssertSqlSafe(copy))).await.map_err(failed("copy the state"))?;
    connection.close().await.map_err(failed("copy the state"))?;

    // Overwrite what is deleted: a page that is merely free would still hold it.
    let write = SqliteConnectOptions::new().filename(&partial.0).pragma("secure_delete", "on");
    let mut connection = write.connect().await.map_err(failed("open the copy"))?;
    // An earlier version may have written the state, with other tables: it is copied as it is.
    let forget = if has_table(&mut connection, "reading").await? {
        "UPDATE reading SET adopted = 0 WHERE adopted <> 0"
    } else {
        "DELETE FROM note WHERE name LIKE 'adopted:%'"
    };
    connection.execute(forget).await.map_err(failed("make the copy forget which targets were read"))?;
    if has_table(&mut connection, "login").await? {
        connection.execute("DELETE FROM login").await.map_err(failed("leave the logins out of the copy"))?;
    }
    prove_whole(&mut connection).await?;
    connection.close().await.map_err(failed("close the copy"))?;
    partial.keep(to)
}

async fn has_table(copy: &mut SqliteConnection, name: &str) -> Result<bool> {
    const SQL: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1";
    let found = sqlx::query_scalar(SQL).bind(name).fetch_one(copy).await;
    found
        .map(|tables: i64| tables > 0)
        .map_err(|source| StoreError::Database { doing: "look at the copy's tables", source })
}

async fn prove_whole(copy: &mut SqliteConnection) -> Result<()> {
    let doing = "check the copy";
    let row = sqlx::query("PRAGMA quick_check(1)")
        .fetch_one(copy)
        .await
        .map_err(|source| StoreError::Database { doing, source })?;
    let said: String = row.get(0);
    if said == "ok" {
        return Ok(());
    }
    Err(StoreError::Database { doing, source: sqlx::Error::Protocol(said) })
}

/// A file under a temporary name until it is complete. It is removed if that never happens.
struct Partial(PathBuf);

impl Partial {
    fn beside(to: &Path) -> Result<Self> {
        if to.exists() {
            return Err(Self::refused(to, "it exists already; a backup writes over nothing"));
        }
        let mut name = to.as_os_str().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let path = PathBuf::from(name);
        let mut create = OpenOptions::new();
        create.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut create, 0o600);
        create.open(&path).map_err(|error| Self::refused(to, error))?;
        Ok(Self(path))
    }

    fn refused(to: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Backup { path: to.display().to_string(), source: source.into() }
    }

    /// Give the file its final name, unless a file of that name has appeared meanwhile.
    fn keep(self, to: &Path) -> Result<u64> {
        let keep = || {
            let file = File::open(&self.0)?;
            file.sync_all()?;
            let size = file.metadata()?.len();
            fs::hard_link(&self.0, to)?;
            if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                File::open(folder)?.sync_all()?;
            }
            Ok::<u64, std::io::Error>(size)
        };
        keep().map_err(|error| Self::refused(to, error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for end in ["", "-journal", "-wal", "-shm"] {
            let mut name = self.0.as_os_str().to_owned();
            name.push(end);
            // A file that is left behind does no harm.
            let _ = fs::remove_file(name);
        }
    }
}
