//! The store over one of the two databases.

use super::{Result, names::Names, sql::Pool, statistics::Growth};

/// Store in SQLite or PostgreSQL. Its methods are in the modules of the table families.
pub(super) struct Database {
    pub pool: Pool,
    names: Names,
    pub(super) growth: Growth,
}

impl Database {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, names: Names::default(), growth: Growth::default() }
    }

    /// Return the number of the name of a system, entity, list or field. Do not call it inside a transaction,
    /// unless the name is known already.
    pub(super) async fn name(&self, text: &str) -> Result<i64> {
        self.names.id(&self.pool, text).await
    }

    pub(super) async fn text(&self, name: i64) -> Result<String> {
        self.names.text(&self.pool, name).await
    }
}
