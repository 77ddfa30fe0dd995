//! Keeps the statistics of PostgreSQL's planner up to date for tables that grow.
//!
//! Without statistics, the planner assumes that a system has a handful of replicas, however many there are, and
//! reads a page's rows once for each of them. Autovacuum looks at a table once a minute. A first synchronisation
//! fills the table within that minute, and the connections keep the plans that they made when it was empty. So the
//! tables are analysed whenever twice as many rows were written as at the last time: about as often as the number
//! of rows has binary digits.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    database::Database,
    sql::{Pool, args},
};

/// Makes cached plans be planned again. Tables that another process has locked are skipped.
pub(super) const ANALYZE: &str =
    "ANALYZE (SKIP_LOCKED) record, replica, child, match_value, change_log, job, attempt, link, merged";

/// How many rows are written before the first time.
const FIRST: u64 = 500;

/// Rows that this process has written.
pub(super) struct Growth {
    rows: AtomicU64,
    next: AtomicU64,
}

impl Default for Growth {
    fn default() -> Self {
        Self { rows: AtomicU64::new(0), next: AtomicU64::new(FIRST) }
    }
}

impl Growth {
    /// Add rows. Return true if it is time to analyse; if several callers ask at once, only one of them gets true.
    fn is_due(&self, rows: usize) -> bool {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        let all = self.rows.fetch_add(rows, Ordering::Relaxed).saturating_add(rows);
        let next = self.next.load(Ordering::Relaxed);
        let twice = all.saturating_mul(2);
        all >= next && self.next.compare_exchange(next, twice, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Database {
    /// Called after rows were committed. If this fails, the rows are committed all the same.
    pub(super) async fn grew(&self, rows: usize) {
        if !matches!(self.pool, Pool::Postgres(_)) || !self.growth.is_due(rows) {
            return;
        }
        if let Err(error) = self.pool.execute("refresh statistics", ANALYZE, args![]).await {
            tracing::warn!(%error, "statistics were not refreshed; PostgreSQL's autovacuum will do it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_due_as_often_as_the_rows_double() {
        let growth = Growth::default();
        let due_at: Vec<usize> = (1..=100).filter(|_| growth.is_due(200)).collect();
        // At 600, 1,200, 2,400, ... rows.
        assert_eq!(due_at, [3, 6, 12, 24, 48, 96]);
        assert!(growth.is_due(1_000_000) && !growth.is_due(1_000_000) && growth.is_due(usize::MAX));
    }
}
