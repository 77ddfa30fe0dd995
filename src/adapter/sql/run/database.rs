//! A pool of connections to one of the three databases, and transactions on it.

use std::{path::Path, str::FromStr as _, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, MySql, MySqlPool, PgPool, Postgres, SqlSafeStr as _, Sqlite,
    SqlitePool, Transaction,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{
    binding::Bound,
    failure::{Phase, QueryError},
    mysql, postgres, sqlite,
    value::{Answer, Limits, ValueError},
};
use crate::{adapter::sql::compile::Dialect, model::flaw};

/// How long a statement waits for a lock or a free connection, unless the adapter sets another time.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Connections to a database, created when first needed.
#[derive(Clone, Debug)]
pub enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One consistent view over several statements. Writing is refused if the database supports that.
    Read,
    Write,
}

/// A transaction. If it is dropped without [`Session::commit`], nothing of it remains.
#[derive(Debug)]
pub enum Session {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
    MySql(Transaction<'static, MySql>),
}

impl Database {
    /// Prepare connections without opening one. Relative SQLite paths start at `folder`.
    ///
    /// # Errors
    /// If the URL is not understood. The message does not repeat it.
    pub fn open(url: &str, folder: &Path, connections: u32, patience: Duration) -> Result<Self, String> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let wrong = |problem: sqlx::Error| match problem {
            sqlx::Error::Configuration(_) => format!("the {scheme} URL is not understood"),
            other => other.to_string(),
        };
        match scheme {
            "sqlite" => {
                let options = SqliteConnectOptions::from_str(url).map_err(wrong)?;
                let file = options.get_filename().to_owned();
                if file == Path::new(":memory:") || file.as_os_str().is_empty() {
                    return Err("a SQLite URL names a file: sqlite://erp.db".to_owned());
                }
                // The driver never creates a database: a mistyped path must not become an empty ERP.
                let options = options
                    .filename(folder.join(file))
                    .create_if_missing(false)
                    .busy_timeout(patience)
                    .disable_statement_logging();
                let pool = SqlitePoolOptions::new().max_connections(connections).acquire_timeout(patience);
                Ok(Self::Sqlite(pool.connect_lazy_with(options)))
            }
            "postgres" | "postgresql" => {
                let options = PgConnectOptions::from_str(url).map_err(wrong)?.application_name("vaiven");
                let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(patience);
                Ok(Self::Postgres(pool.connect_lazy_with(options.disable_statement_logging())))
            }
            "mysql" | "mariadb" => {
                let options = MySqlConnectOptions::from_str(url).map_err(wrong)?;
                let pool = MySqlPoolOptions::new().max_connections(connections).acquire_timeout(patience);
                Ok(Self::MySql(pool.connect_lazy_with(options.disable_statement_logging())))
            }
            _ => Err("the URL begins with none of sqlite:, postgres:, mysql:, mariadb:".to_owned()),
        }
    }

    /// Host and port, if there is a server.
    pub fn host(&self) -> Option<String> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(pool) => {
                let options = pool.connect_options();
                Some(format!("{}:{}", options.get_host(), options.get_port()))
            }
            Self::MySql(pool) => {
                let options = pool.connect_options();
                Some(format!("{}:{}", options.get_host(), options.get_port()))
            }
        }
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
            Self::MySql(_) => Dialect::MySql,
        }
    }

    pub async fn begin(&self, mode: Mode) -> Result<Session, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(pool) => Session::Sqlite(
                pool.begin_with(match mode {
                    Mode::Read => "BEGIN",
                    // Taking the lock at once avoids a deadlock between two transactions that read first and write
                    // later.
                    Mode::Write => "BEGIN IMMEDIATE",
                })
                .await?,
            ),
            Self::Postgres(pool) => Session::Postgres(
                pool.begin_with(match mode {
                    Mode::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                    Mode::Write => "BEGIN",
                })
                .await?,
            ),
            Self::MySql(pool) => Session::MySql(
                pool.begin_with(match mode {
                    Mode::Read => "START TRANSACTION READ ONLY",
                    Mode::Write => "START TRANSACTION",
                })
                .await?,
            ),
        })
    }
}

impl Session {
    /// Run one statement.
    pub async fn run(&mut self, bound: Bound, limits: Limits) -> Result<Answer, QueryError> {
        for (name, value) in &bound.values {
            flaw::unsendable(value).map_err(|problem| ValueError::Parameter { name: name.clone(), problem })?;
        }
        match self {
            Self::Sqlite(transaction) => sqlite::run(transaction, bound, limits).await,
            Self::Postgres(transaction) => postgres::run(transaction, bound, limits).await,
            Self::MySql(transaction) => mysql::run(transaction, bound, limits).await,
        }
    }

    /// Let the server check a statement without running it.
    pub async fn prepare(&mut self, sql: String) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql).into_sql_str();
        match self {
            Self::Sqlite(transaction) => (&mut **transaction).prepare(sql).await.map(drop),
            Self::Postgres(transaction) => (&mut **transaction).prepare(sql).await.map(drop),
            Self::MySql(transaction) => (&mut **transaction).prepare(sql).await.map(drop),
        }
    }

    /// Write what is already there, if nothing else shows whether the database accepts writes: SQLite begins a
    /// transaction even on a read-only file.
    pub async fn touch(&mut self) -> Result<(), sqlx::Error> {
        let Self::Sqlite(transaction) = self else { return Ok(()) };
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut **transaction).await?;
        transaction.execute(AssertSqlSafe(format!("PRAGMA user_version = {version}"))).await.map(drop)
    }

    /// How long the oldest transaction of another session that has written is open in this database. Return `None`
    /// if there is none, if the server does not say, or if only one transaction at a time can write.
    pub async fn longest_transaction(&mut self) -> Result<Option<Duration>, sqlx::Error> {
        const POSTGRES: &str = "SELECT max(extract(epoch FROM now() - xact_start))::bigint FROM pg_stat_activity \
                                WHERE datname = current_database() AND backend_xid IS NOT NULL \
                                AND pid <> pg_backend_pid()";
        const MYSQL: &str = "SELECT CAST(max(timestampdiff(SECOND, trx_started, now())) AS SIGNED) \
                             FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> connection_id()";
        let seconds: Option<i64> = match self {
            Self::Sqlite(_) => None,
            Self::Postgres(transaction) => sqlx::query_scalar(POSTGRES).fetch_one(&mut **transaction).await?,
            Self::MySql(transaction) => sqlx::query_scalar(MYSQL).fetch_one(&mut **transaction).await?,
        };
        Ok(seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs))
    }

    async fn command(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => transaction.execute(AssertSqlSafe(sql)).await.map(drop),
            Self::Postgres(transaction) => transaction.execute(AssertSqlSafe(sql)).await.map(drop),
            Self::MySql(transaction) => transaction.execute(AssertSqlSafe(sql)).await.map(drop),
        }
    }

    /// Mark a point to which [`Session::undo`] goes back.
    pub async fn mark(&mut self) -> Result<(), sqlx::Error> {
        self.command("SAVEPOINT vaiven_item").await
    }

    /// Keep what was done since [`Session::mark`].
    pub async fn keep(&mut self) -> Result<(), sqlx::Error> {
        self.command("RELEASE SAVEPOINT vaiven_item").await
    }

    /// Take back what was done since [`Session::mark`].
    pub async fn undo(&mut self) -> Result<(), sqlx::Error> {
        self.command("ROLLBACK TO SAVEPOINT vaiven_item").await?;
        self.keep().await
    }

    /// Make the transaction durable.
    ///
    /// # Errors
    /// With the phase, which says whether it may have been done.
    pub async fn commit(self) -> Result<(), (sqlx::Error, Phase)> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
            Self::MySql(transaction) => transaction.commit().await,
        }
        .map_err(|error| (error, Phase::Committing))
    }
}
