//! The store over one of the two databases.

use super::{Result, names::Names, sql::Pool, statistics::Growth};

/// Store in SQLite or PostgreSQL. What it does is in the modules of the table families.
pub(super) struct Database {
    pub pool: Pool,
    names: Names,
    pub(super) growth: Growth,
}

impl Database {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, names: Names::default(), growth: Growth::default() }
    }

    /// Number of a system's, entity's, list's or field's name. Not inside a transaction, unless the name is known
    /// already.
    pub(super) async fn name(&self, text: &str) -> Result<i64> {
        self.names.id(&self.pool, text).await
    }

    pub(super) async fn text(&self, name: i64) -> Result<String> {
        self.names.text(&self.pool, name).await
    }
}
