//! The demo's ERP: one SQLite file, used here as the ERP's own program would use it.

use std::path::Path;

use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::generate;

/// Open the ERP's database.
///
/// # Errors
/// If the database fails.
pub async fn open(file: &Path, create: bool) -> sqlx::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(std::time::Duration::from_secs(30));
    SqliteConnection::connect_with(&options).await
}

/// Open the database, and fill it unless an earlier start did. Return the seed it was filled with.
///
/// # Errors
/// If the database fails.
pub async fn prepare(file: &Path, seed: u64) -> sqlx::Result<(SqliteConnection, u64)> {
    let mut erp = open(file, true).await?;
    let known: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'demo_ajuste'").fetch_one(&mut erp).await?;
    if known == 0 {
        let mut whole = erp.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut *whole).await?;
        generate::fill(&mut whole, seed).await?;
        sqlx::query("INSERT INTO demo_ajuste VALUES ('semilla', ?)")
            .bind(seed.to_string())
            .execute(&mut *whole)
            .await?;
        whole.commit().await?;
    }
    let seed: String =
        sqlx::query_scalar("SELECT valor FROM demo_ajuste WHERE nombre = 'semilla'").fetch_one(&mut erp).await?;
    let seed = seed.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok((erp, seed))
}
