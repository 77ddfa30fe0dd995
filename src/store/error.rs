//! Errors of the store itself.

/// An error of the store itself; never about a record.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the state store {url} cannot be opened: {source}")]
    Open {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the state store {url} is not a Vaivén database ({found}); it is left as it is")]
    Foreign { url: String, found: String },
    #[error("no backup at {path}: {source}")]
    Backup {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("state store: {doing}: {source}")]
    Database {
        doing: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("state store: table {table}, column {column}, row {row}: {problem}")]
    Row { table: &'static str, column: &'static str, row: String, problem: String },
    /// Another process committed first (a record of the same key, a lost lease): read again, and compute anew.
    #[error("state store: {0} was changed by another worker meanwhile")]
    Stale(&'static str),
    /// The lease for this work has run out, and another process does the work now: nothing was stored.
    #[error("another process has taken over meanwhile; nothing more of this one is stored")]
    Overtaken,
    /// A SQLite state is worked on by one process at a time.
    #[error(
        "{} is at work on the state {state}: stop it first, or leave it to it (`vaiven resync FLOW` has it look at \
         once; every other command works beside it)",
        .process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
    )]
    Taken { state: String, process: Option<u32> },
}

pub type Result<T> = std::result::Result<T, StoreError>;
