//! Opening: what is not ours is left as it is.

use vaiven::internals::store::{self, StoreError};

use super::backend::{Backend, promises};

promises! {
    what_a_newer_version_has_written_is_refused,
    opening_again_finds_what_was_stored,
}

async fn opening_again_finds_what_was_stored(backend: Backend) {
    let record = super::backend::pulled(&backend.store, "erp", "1", "A").await;
    let again = backend.second().await;
    assert_eq!(again.record("product", "A").await.unwrap(), Some(record));
}

async fn what_a_newer_version_has_written_is_refused(backend: Backend) {
    const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
        SELECT 9999, 'newer', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
    if backend.url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(&backend.url).await.unwrap();
        sqlx::query(NEWER).execute(&pool).await.unwrap();
    } else {
        let pool = sqlx::PgPool::connect(&backend.url).await.unwrap();
        sqlx::query(NEWER).execute(&pool).await.unwrap();
    }
    let error = store::open(&backend.url).await.err().unwrap();
    assert!(error.to_string().contains("newer version of Vaivén"), "{error}");
    assert!(error.to_string().contains("9999"), "{error}");
}

async fn refused(path: &std::path::Path) -> StoreError {
    let before = std::fs::read(path).unwrap();
    let error = store::open(&format!("sqlite://{}", path.display())).await.err().unwrap();
    assert_eq!(std::fs::read(path).unwrap(), before, "left as it is");
    error
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "shopping list").unwrap();
    assert!(matches!(refused(&text).await, StoreError::Foreign { .. }));

    let other = folder.path().join("erp.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&other).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE sale (id INTEGER)").execute(&pool).await.unwrap();
    pool.close().await;
    let error = refused(&other).await;
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_corrupt_file_of_ours_is_refused_and_left_alone() {
    let backend = Backend::sqlite().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.db");
    let copy = format!("VACUUM INTO '{}'", path.display());
    let pool = sqlx::SqlitePool::connect(&backend.url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(copy)).execute(&pool).await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..5000]).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_state_file_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let backend = Backend::sqlite().await;
    let folder = std::path::Path::new(backend.url.strip_prefix("sqlite://").unwrap()).parent().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", entry.path().display());
    }
}

/// POSIX locks belong to the process: whoever closes the file loses them for all of its connections, and the next tool that opens
/// the state takes itself for the only one, and deletes the log when it ends.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_state_that_a_process_opens_twice_stays_locked() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vaiven.db");
    let url = format!("sqlite://{}", file.display());
    let store = store::open(&url).await.unwrap();
    super::backend::pulled(&store, "erp", "1", "A").await;
    let end = format!(":{}", std::fs::metadata(&file).unwrap().ino());
    let locks = || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks.lines().filter(|lock| lock.split(' ').any(|word| word.ends_with(&end))).count()
    };
    assert_ne!(locks(), 0);
    let second = store::open(&url).await.unwrap();
    store::backup(&url, &folder.path().join("copy.db")).await.unwrap();
    assert_ne!(locks(), 0, "the lock of the first");
    drop(second);
}

#[tokio::test]
async fn processes_that_open_a_new_state_at_the_same_time_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vaiven.toml"), "").unwrap();
    let run = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vaiven"));
        command.args(["run", "--once"]).current_dir(folder.path()).stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    for _ in 0..5 {
        let runs: Vec<_> = (0..3).map(|_| run()).collect();
        for one in runs {
            let stderr = String::from_utf8(one.wait_with_output().unwrap().stderr).unwrap();
            assert!(!stderr.contains("cannot be opened"), "{stderr}");
        }
        std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    }
}

#[tokio::test]
async fn an_error_about_a_url_does_not_show_its_password() {
    let error = store::open("postgres://vaiven:hunter2@127.0.0.1:1/vaiven").await.err().unwrap();
    let whole = format!("{error} {error:?}");
    assert!(whole.contains("vaiven@127.0.0.1:1/vaiven") && !whole.contains("hunter2"), "{whole}");
}

#[tokio::test]
async fn a_schema_of_another_application_is_refused() {
    let Some(backend) = Backend::postgres().await else { return };
    let pool = sqlx::PgPool::connect(&backend.url).await.unwrap();
    sqlx::query("DROP TABLE _sqlx_migrations").execute(&pool).await.unwrap();
    let error = store::open(&backend.url).await.err().unwrap();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_backup_made_beside_the_daemon_is_whole_and_writes_over_nothing() {
    let backend = Backend::sqlite().await;
    let record = super::backend::pulled(&backend.store, "erp", "1", "A").await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("it's a copy.db");
    let writing = async {
        for key in 2..40 {
            super::backend::pulled(&backend.store, "erp", &key.to_string(), &format!("K{key}")).await;
        }
    };
    let (size, ()) = tokio::join!(store::backup(&backend.url, &copy), writing);
    assert_eq!(size.unwrap(), std::fs::metadata(&copy).unwrap().len());
    let opened = store::open(&format!("sqlite://{}", copy.display())).await.unwrap();
    assert_eq!(opened.record("product", "A").await.unwrap(), Some(record));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = store::backup(&backend.url, &copy).await.unwrap_err();
    assert!(again.to_string().contains("writes over nothing"), "{again}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}

#[tokio::test]
async fn what_is_no_state_of_ours_is_not_backed_up() {
    let folder = tempfile::tempdir().unwrap();
    let (text, copy) = (folder.path().join("notes.txt"), folder.path().join("copy.db"));
    std::fs::write(&text, "shopping list").unwrap();
    let error = store::backup(&format!("sqlite://{}", text.display()), &copy).await.unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    let error = store::backup("sqlite:///nowhere/state.db", &copy).await.unwrap_err();
    assert!(error.to_string().contains("no state yet"), "{error}");
    assert!(!copy.exists());
}

/// A full disk has SQLite roll back by itself, whatever statement meets it.
#[tokio::test]
async fn a_transaction_that_sqlite_ended_by_itself_is_in_nobodys_way() {
    let backend = Backend::sqlite().await;
    let pool = sqlx::SqlitePool::connect(&backend.url).await.unwrap();
    let full =
        "CREATE TRIGGER full BEFORE INSERT ON record BEGIN SELECT RAISE(ROLLBACK, 'database or disk is full'); END";
    sqlx::query(full).execute(&pool).await.unwrap();
    for _ in 0..3 {
        let error = backend.store.records("product", &["A".to_owned()]).await.unwrap_err();
        assert!(error.to_string().contains("full"), "each time it is the disk that is named: {error}");
    }
    sqlx::query("DROP TRIGGER full").execute(&pool).await.unwrap();
    assert_eq!(backend.store.records("product", &["A".to_owned()]).await.unwrap().len(), 1, "there is room again");
}
