//! What people have given up: a count across table families `job`, `rejection`, `difference` and `link`.
//!
//! Called by `sync::engine`, so that nobody reads "all is well" while something has been put aside.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    Result,
    database::Database,
    sql::{Row, args},
};

/// What a person has given up, put aside or accepted as it is. Nobody has to act on it, though not all is as it
/// should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenUp {
    /// Deliveries that were discarded and that no later job has followed.
    Discarded,
    /// Rows that cannot be read and that a person has put aside.
    Dismissed,
    /// Values that a target holds otherwise than it was sent.
    Accepted,
    /// Records that are no longer sent to a system.
    Ignored,
}

/// What people have given up, in several table families. Called by `sync::engine`.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait GivenUpStore: Send + Sync {
    /// Count what people have given up: (what, system, entity, count).
    async fn given_up(&self) -> Result<Vec<(GivenUp, String, String, u64)>>;
}

#[async_trait]
impl GivenUpStore for Database {
    async fn given_up(&self) -> Result<Vec<(GivenUp, String, String, u64)>> {
        // A discarded job counts until another job of its record has followed it. An alias of another record is not
        // delivered by itself.
        const DISCARDED: &str = "SELECT s.text, e.text, count(*) FROM job j \
            JOIN name s ON s.id = j.target JOIN name e ON e.id = j.entity \
            WHERE j.state = 5 AND NOT EXISTS (SELECT 1 FROM job n \
                WHERE n.record = j.record AND n.target = j.target AND n.id > j.id) \
            AND NOT EXISTS (SELECT 1 FROM record k WHERE k.id = j.record AND k.same IS NOT NULL) \
            GROUP BY s.text, e.text ORDER BY s.text, e.text";
        const DISMISSED: &str = "SELECT s.text, e.text, count(*) FROM rejection r \
            JOIN name s ON s.id = r.system JOIN name e ON e.id = r.entity \
            WHERE r.dismissed <> 0 GROUP BY s.text, e.text ORDER BY s.text, e.text";
        const ACCEPTED: &str = "SELECT s.text, e.text, count(*) FROM difference d JOIN record k ON k.id = d.record \
            JOIN name s ON s.id = d.system JOIN name e ON e.id = k.entity \
            WHERE d.accepted <> 0 GROUP BY s.text, e.text ORDER BY s.text, e.text";
        const IGNORED: &str = "SELECT s.text, e.text, count(*) FROM link l JOIN record k ON k.id = l.record \
            JOIN name s ON s.id = l.system JOIN name e ON e.id = k.entity \
            WHERE l.state = 2 GROUP BY s.text, e.text ORDER BY s.text, e.text";
        let mut all = Vec::new();
        for (what, sql) in [
            (GivenUp::Discarded, DISCARDED),
            (GivenUp::Dismissed, DISMISSED),
            (GivenUp::Accepted, ACCEPTED),
            (GivenUp::Ignored, IGNORED),
        ] {
            let counted = |mut row: Row| Ok((what, row.text(0)?, row.text(1)?, row.small(2)?));
            let found = self.pool.read("count what was given up", sql, args![]).await?;
            all.extend(found.into_iter().map(counted).collect::<Result<Vec<_>>>()?);
        }
        Ok(all)
    }
}
