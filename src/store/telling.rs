//! Runs, rejections and counts, for reports.

use std::collections::BTreeSet;

use super::{
    Balance, Rejection, Result, Run, RunKind,
    database::Database,
    sql::{Row, args},
    values::time,
};

macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "SELECT id, system, entity, kind, cause, started_at, finished_at, seen, unchanged, changed, skipped, rejected, \
             gone, error FROM run ",
            $rest
        )
    };
}

impl Database {
    pub(super) async fn runs(&self, limit: u32) -> Result<Vec<Run>> {
        const SQL: &str = select_runs!("ORDER BY id DESC LIMIT $1");
        let found = self.pool.read("read runs", SQL, args![i64::from(limit)]).await?;
        self.runs_in(found).await
    }

    pub(super) async fn run(&self, run: i64) -> Result<Option<Run>> {
        const SQL: &str = select_runs!("WHERE id = $1");
        let found = self.pool.read("read a run", SQL, args![run]).await?;
        Ok(self.runs_in(found).await?.pop())
    }

    async fn runs_in(&self, found: Vec<Row>) -> Result<Vec<Run>> {
        let mut runs = Vec::with_capacity(found.len());
        for mut row in found {
            runs.push(Run {
                id: row.int(0)?,
                system: self.text(row.int(1)?).await?,
                entity: self.text(row.int(2)?).await?,
                kind: RunKind::of(row.int(3)?)?,
                trigger: row.text(4)?,
                started_at: time(row.int(5)?),
                finished_at: row.int_or_null(6)?.map(time),
                balance: Balance {
                    seen: row.small(7)?,
                    unchanged: row.small(8)?,
                    changed: row.small(9)?,
                    skipped: row.small(10)?,
                    rejected: row.small(11)?,
                    gone: row.small(12)?,
                },
                error: row.text_or_null(13)?,
            });
        }
        Ok(runs)
    }

    pub(super) async fn rejections(
        &self,
        system: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, String, Rejection)>> {
        const SQL: &str = "SELECT s.text, e.text, r.position, r.id, r.field, r.reason, r.cause, r.articles, r.dismissed, r.likes \
            FROM rejection r JOIN name s ON s.id = r.system JOIN name e ON e.id = r.entity \
            WHERE $1 IS NULL OR s.text = $1 ORDER BY r.at DESC, r.slot LIMIT $2";
        let mut rejections = Vec::new();
        for mut row in self.pool.read("read rejections", SQL, args![system, i64::from(limit)]).await? {
            let rejection = Rejection {
                position: row.text(2)?,
                id: row.text_or_null(3)?,
                field: row.text_or_null(4)?,
                reason: row.text(5)?,
                cause: row.text_or_null(6)?,
                articles: row.text_or_null(7)?.and_then(|articles| serde_json::from_str(&articles).ok()),
                likes: row.text_or_null(9)?.and_then(|likes| serde_json::from_str(&likes).ok()),
                dismissed: row.int(8)? != 0,
            };
            rejections.push((row.text(0)?, row.text(1)?, rejection));
        }
        Ok(rejections)
    }

    pub(super) async fn rejection_counts(&self) -> Result<Vec<(String, String, u64, u64)>> {
        const SQL: &str = "SELECT s.text, e.text, count(CASE WHEN r.dismissed = 0 THEN 1 END), \
                count(CASE WHEN r.dismissed <> 0 THEN 1 END) FROM rejection r \
            JOIN name s ON s.id = r.system JOIN name e ON e.id = r.entity GROUP BY s.text, e.text ORDER BY s.text, e.text";
        let mut counts = Vec::new();
        for mut row in self.pool.read("count rejections", SQL, args![]).await? {
            counts.push((row.text(0)?, row.text(1)?, row.small(2)?, row.small(3)?));
        }
        Ok(counts)
    }

    pub(super) async fn unreadable_articles(&self, system: &str, entity: &str) -> Result<Option<BTreeSet<String>>> {
        const SQL: &str = "SELECT articles FROM rejection WHERE system = $1 AND entity = $2";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let mut all = BTreeSet::new();
        for mut row in self.pool.read("read what rejected rows name", SQL, args![system, entity]).await? {
            let articles: Option<BTreeSet<String>> =
                row.text_or_null(0)?.and_then(|articles| serde_json::from_str(&articles).ok());
            let Some(articles) = articles else { return Ok(None) };
            all.extend(articles);
        }
        Ok(Some(all))
    }

    pub(super) async fn counts(&self) -> Result<Vec<(String, String, u64, u64)>> {
        const SQL: &str = "SELECT s.text, e.text, count(*) FILTER (WHERE r.gone_at IS NULL), \
                count(*) FILTER (WHERE r.gone_at IS NOT NULL) \
            FROM replica r JOIN name s ON s.id = r.system JOIN name e ON e.id = r.entity \
            WHERE r.fields IS NOT NULL GROUP BY s.text, e.text ORDER BY s.text, e.text";
        let mut counts = Vec::new();
        for mut row in self.pool.read("count replicas", SQL, args![]).await? {
            counts.push((row.text(0)?, row.text(1)?, row.small(2)?, row.small(3)?));
        }
        Ok(counts)
    }
}
