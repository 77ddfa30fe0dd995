//! Rejections: table family `rejection`. Rows, and answers to writes, that could not be read.
//!
//! Called by `sync::stock`, `sync::desired`, `sync::pull` and `sync::engine`, which wait for what cannot be read,
//! and by `sync::context`, `sync::engine`, `sync::preview` and the commands, which report it to people.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    Result, RunId,
    database::Database,
    replicas::Replicas,
    sql::{Sql, Tx, args, by_cause, range, rows},
    values::{json, micros, parse},
};
use crate::wait_reason::{UNREAD, WaitReason};

/// A row that did not become a canonical object, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    pub position: String,
    pub id: Option<String>,
    pub field: Option<String>,
    pub reason: String,
    /// `lookup:tax=IGIC7`, if resolving this cause brings the row in.
    pub cause: Option<WaitReason>,
    /// Articles that the row names; `None` if they could not be read.
    pub articles: Option<BTreeSet<String>>,
    /// What can be read of the row's identity: values of match fields, and its key under an empty field name.
    /// `None` if nothing can be read: the row may be any object.
    #[serde(skip)]
    pub likes: Option<Vec<(String, String)>>,
    /// A person has put it aside: nothing waits for it.
    pub dismissed: bool,
}

impl Rejection {
    /// The key that the row shows, if it can be read.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        let likes = self.likes.as_ref()?;
        likes.iter().find(|(name, _)| name.is_empty()).map(|(_, key)| key.as_str())
    }

    /// Whether this is the row that somebody names by its id, key or place.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.id.as_deref() == Some(name) || self.key() == Some(name) || self.position == name
    }

    /// Whether this is the row with this name, or a row of an article of that key.
    #[must_use]
    pub fn is_about(&self, name: &str) -> bool {
        self.is_called(name) || self.articles.as_ref().is_some_and(|articles| articles.contains(name))
    }
}

/// A row that could not be read and is not known to belong to any record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    pub position: String,
    pub id: Option<String>,
    /// See [`Rejection::likes`].
    pub likes: Option<Vec<(String, String)>>,
}

/// Table family `rejection`: rows that could not be read. Called by `sync::context`, `sync::stock`, `sync::pull`,
/// `sync::desired`, `sync::engine` and `sync::preview` and the commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait RejectionStore: Send + Sync {
    /// List the rejections of one system or of all, as (system, entity, rejection), newest first: at most `limit`.
    async fn rejections(&self, system: Option<&str>, limit: u32) -> Result<Vec<(String, String, Rejection)>>;

    /// Return the rows of a system that could not be read, belong to no live object and have not been put aside.
    async fn unread(&self, system: &str, entity: &str) -> Result<Vec<UnreadableRow>>;

    /// Return which of these rows, by id, a person has put aside.
    async fn dismissed(&self, system: &str, entity: &str, ids: &[String]) -> Result<BTreeSet<String>>;

    /// Put aside rows that cannot be read: those of this id or position; without `row`, all of them. Queue the jobs
    /// that waited for rows of the system. Return how many rows were put aside. One transaction; idempotent.
    async fn dismiss(&self, system: &str, entity: &str, row: Option<&str>, now: DateTime<Utc>) -> Result<u64>;

    /// Count the rejections: (system, entity, how many wait for a person, how many are put aside).
    async fn rejection_counts(&self) -> Result<Vec<(String, String, u64, u64)>>;

    /// Return the keys of the articles that unreadable rows name. Return `None` if one of the rows does not show
    /// which articles it names: it may be any.
    async fn unreadable_articles(&self, system: &str, entity: &str) -> Result<Option<BTreeSet<String>>>;
}

#[async_trait]
impl RejectionStore for Database {
    async fn rejections(&self, system: Option<&str>, limit: u32) -> Result<Vec<(String, String, Rejection)>> {
        const SQL: &str = "SELECT s.text, e.text, r.position, r.id, r.field, r.reason, r.cause, r.articles, \
            r.dismissed, r.likes \
            FROM rejection r JOIN name s ON s.id = r.system JOIN name e ON e.id = r.entity \
            WHERE $1 IS NULL OR s.text = $1 ORDER BY r.at DESC, r.slot LIMIT $2";
        let mut rejections = Vec::new();
        for mut row in self.pool.read("read rejections", SQL, args![system, i64::from(limit)]).await? {
            let rejection = Rejection {
                position: row.text(2)?,
                id: row.text_or_null(3)?,
                field: row.text_or_null(4)?,
                reason: row.text(5)?,
                cause: row.text_or_null(6)?.map(WaitReason::from),
                articles: row.text_or_null(7)?.and_then(|articles| serde_json::from_str(&articles).ok()),
                likes: row.text_or_null(9)?.and_then(|likes| serde_json::from_str(&likes).ok()),
                dismissed: row.int(8)? != 0,
            };
            rejections.push((row.text(0)?, row.text(1)?, rejection));
        }
        Ok(rejections)
    }

    async fn unread(&self, system: &str, entity: &str) -> Result<Vec<UnreadableRow>> {
        const SQL: &str = "SELECT j.position, j.id, j.likes FROM rejection j \
            WHERE j.system = $1 AND j.entity = $2 AND j.dismissed = 0 AND NOT EXISTS (SELECT 1 FROM replica r \
                WHERE r.system = $1 AND r.entity = $2 AND r.id = j.id AND r.gone_at IS NULL AND r.fields IS NOT NULL)";
        let args = args![self.name(system).await?, self.name(entity).await?];
        let mut unread = Vec::new();
        for mut row in self.pool.read("look for unread rows", SQL, args).await? {
            let (position, id) = (row.text(0)?, row.text_or_null(1)?);
            let name = || position.clone();
            let likes = row.text_or_null(2)?.map(|text| parse(&text, "rejection", "likes", name)).transpose()?;
            unread.push(UnreadableRow { position, id, likes });
        }
        Ok(unread)
    }

    async fn dismissed(&self, system: &str, entity: &str, ids: &[String]) -> Result<BTreeSet<String>> {
        const SQL: &str = "SELECT r.id FROM rejection r WHERE r.system = $1 AND r.entity = $2 AND r.dismissed <> 0 \
            AND r.id IN (SELECT j.value->>0 FROM json_each($3) j)";
        let args = args![self.name(system).await?, self.name(entity).await?, rows(ids.iter().map(|id| [id]))?];
        let mut found = self.pool.read("look for rows that were put aside", SQL, args).await?;
        found.iter_mut().map(|row| row.text(0)).collect()
    }

    async fn dismiss(&self, system: &str, entity: &str, row: Option<&str>, now: DateTime<Utc>) -> Result<u64> {
        const SQL: &str = "UPDATE rejection SET dismissed = 1 WHERE system = $1 AND entity = $2 AND dismissed = 0 \
            AND ($3 IS NULL OR id = $3 OR position = $3)";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let mut tx = self.pool.begin("put rows aside").await?;
        let dismissed = tx.execute("put rows aside", SQL, args![system, entity, row]).await?;
        go_on(&mut tx, system, now).await?;
        tx.commit("put rows aside").await?;
        Ok(dismissed)
    }

    async fn rejection_counts(&self) -> Result<Vec<(String, String, u64, u64)>> {
        const SQL: &str = "SELECT s.text, e.text, count(CASE WHEN r.dismissed = 0 THEN 1 END), \
                count(CASE WHEN r.dismissed <> 0 THEN 1 END) FROM rejection r \
            JOIN name s ON s.id = r.system JOIN name e ON e.id = r.entity GROUP BY s.text, e.text \
                ORDER BY s.text, e.text";
        let mut counts = Vec::new();
        for mut row in self.pool.read("count rejections", SQL, args![]).await? {
            counts.push((row.text(0)?, row.text(1)?, row.small(2)?, row.small(3)?));
        }
        Ok(counts)
    }

    async fn unreadable_articles(&self, system: &str, entity: &str) -> Result<Option<BTreeSet<String>>> {
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
}

/// Store rows that could not be read, and close earlier rejections: those of rows that could be read by now and,
/// after a `whole` run, those that it did not repeat. An answer to a write belongs to no run: it is stored under
/// run 0.
pub(super) async fn reject<'a>(
    tx: &mut Tx,
    replicas: &Replicas<'_>,
    (run, whole): (RunId, Option<RunId>),
    resolved: &[&str],
    rejections: impl IntoIterator<Item = &'a Rejection>,
) -> Result<()> {
    const RESOLVE: &str = "DELETE FROM rejection WHERE system = $2 AND entity = $3 \
        AND slot IN (SELECT j.value->>0 FROM json_each($1) j)";
    const ADD: &str = "INSERT INTO rejection (system, entity, slot, position, id, field, reason, cause, articles, run, \
        at, likes) \
        SELECT $2, $3, j.value->>0, j.value->>1, j.value->>2, j.value->>3, j.value->>4, j.value->>5, j.value->>6, $4, \
            $5, j.value->>7 \
        FROM json_each($1) j WHERE true \
        ON CONFLICT (system, entity, slot) DO UPDATE SET position = excluded.position, field = excluded.field, \
            reason = excluded.reason, cause = excluded.cause, articles = excluded.articles, run = excluded.run, \
                at = excluded.at, likes = excluded.likes";
    const FORGET: &str = "DELETE FROM rejection WHERE system = $1 AND entity = $2 AND run < $3";
    let mut closed = 0;
    if let Some(whole) = whole {
        closed += tx
            .execute("close rejections of what is gone", FORGET, args![replicas.system, replicas.entity, whole])
            .await?;
    }
    if !resolved.is_empty() {
        let slots = rows(resolved.iter().map(|id| [slot(Some(id), "")]))?;
        closed += tx.execute("close rejections", RESOLVE, args![slots, replicas.system, replicas.entity]).await?;
    }
    if closed > 0 {
        go_on(tx, replicas.system, replicas.now).await?;
    }
    let mut lines: BTreeMap<String, _> = BTreeMap::new();
    for row in rejections {
        let slot = slot(row.id.as_deref(), &row.position);
        let likes = row.likes.as_ref().map(json).transpose()?;
        lines.insert(
            slot.clone(),
            (slot, &row.position, &row.id, &row.field, &row.reason, &row.cause, &row.articles, likes),
        );
    }
    if !lines.is_empty() {
        let lines = rows(lines.into_values())?;
        let args = args![lines, replicas.system, replicas.entity, run, micros(replicas.now)];
        tx.execute("store rejections", ADD, args).await?;
    }
    Ok(())
}

/// Queue again what waited at a system for rows that could not be read.
async fn go_on(tx: &mut Tx, system: i64, now: DateTime<Utc>) -> Result<u64> {
    const SQL: Sql = by_cause!(
        "UPDATE job SET state = 0, due = $2, cause = NULL, error = NULL, error_class = NULL, updated_at = $2 \
            WHERE target = $1 AND state = 2 AND ",
        "$3",
        "$4",
        ""
    );
    let (from, to) = range(UNREAD);
    tx.execute("go on after rows were read", SQL, args![system, micros(now), from, to]).await
}

/// Two rejections are the same if this is: the row's id or, without one, its place.
fn slot(id: Option<&str>, position: &str) -> String {
    id.map_or_else(|| format!("at {position}"), |id| format!("id {id}"))
}
