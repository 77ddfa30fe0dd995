//! When systems were last listed, and how that went; and what persons have given up.

use super::{
    GivenUp, LastListing, Result, RunKind,
    database::Database,
    sql::{Row, args},
    values::time,
};

impl Database {
    pub(super) async fn listings(&self) -> Result<Vec<LastListing>> {
        // Each half is read off an index of its own.
        const SQL: &str = "SELECT s.text, e.text, r.kind, r.id, r.started_at, r.error, g.id, g.started_at \
            FROM (SELECT system, entity, kind, max(id) AS last FROM run \
                WHERE finished_at IS NOT NULL AND kind < 2 GROUP BY system, entity, kind) l \
            JOIN run r ON r.id = l.last JOIN name s ON s.id = r.system JOIN name e ON e.id = r.entity \
            LEFT JOIN (SELECT system, entity, kind, max(id) AS last FROM run \
                WHERE finished_at IS NOT NULL AND kind < 2 AND error IS NULL GROUP BY system, entity, kind) w \
                ON w.system = l.system AND w.entity = l.entity AND w.kind = l.kind \
            LEFT JOIN run g ON g.id = w.last ORDER BY s.text, e.text, r.kind";
        let mut listings = Vec::new();
        for mut row in self.pool.read("read when systems were listed", SQL, args![]).await? {
            listings.push(LastListing {
                system: row.text(0)?,
                entity: row.text(1)?,
                kind: RunKind::of(row.int(2)?)?,
                run: row.int(3)?,
                began: time(row.int(4)?),
                error: row.text_or_null(5)?,
                good: row.int_or_null(6)?.zip(row.int_or_null(7)?.map(time)),
            });
        }
        Ok(listings)
    }

    pub(super) async fn given_up(&self) -> Result<Vec<(GivenUp, String, String, u64)>> {
        // A discarded job counts until another of its record has followed it. What was found to be another record is not
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
