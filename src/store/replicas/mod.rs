//! Replicas: table family `replica`. What each system is known to hold of a record.
//!
//! Called by `sync::desired` and `sync::delivery` for what a target holds, by `sync::pull` and `sync::engine` to
//! find what is gone, and by most other rooms of `sync` and the commands to look at single records. A page and a
//! delivery share the writing, which is in `write`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use roaring::RoaringBitmap;

use super::{
    RecordId, Result,
    database::Database,
    sql::{Row, Sql, args, rows},
    values::{fingerprint, json, numbers_in, parse, time},
};
use crate::{
    mapping::{Children, Fields},
    port::Fingerprint,
};

mod write;

pub(super) use write::{Replicas, Writer, make_aliases};

/// What one system is known to hold of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    pub system: String,
    pub entity: String,
    pub record: RecordId,
    /// The system's own id; absent on a placeholder that only a reference by key has made.
    pub id: String,
    /// Canonical snapshot, as stored there.
    pub fields: Fields,
    /// Field to value as we sent it, if the system has not (yet) shown the same value back.
    pub sent: Fields,
    /// Source version or modification mark.
    pub version: Option<String>,
    pub fingerprint: Option<Fingerprint>,
    /// When it was seen to be gone.
    pub gone_at: Option<DateTime<Utc>>,
    /// Number of the delivery that last wrote it, on the store's own counter; 0 = never written by us.
    pub written: i64,
}

/// A replica to insert or replace, as read from its own system (pull) or from our write (delivery).
#[derive(Clone, Debug)]
pub struct ReplicaWrite {
    pub record: RecordId,
    pub id: String,
    pub fields: Fields,
    pub sent: Fields,
    pub version: Option<String>,
    pub fingerprint: Option<Fingerprint>,
    /// The system's ids of the object's children. Lists that are not named keep what is known.
    pub child_ids: Option<Children>,
    /// Values of the flow's match fields: (field, normalised value).
    pub matches: Vec<(String, String)>,
    pub gone: bool,
}

/// Keep what is known of an object, except for what the caller changes.
impl From<Replica> for ReplicaWrite {
    fn from(replica: Replica) -> Self {
        Self {
            record: replica.record,
            id: replica.id,
            fields: replica.fields,
            sent: replica.sent,
            version: replica.version,
            fingerprint: replica.fingerprint,
            child_ids: None,
            matches: Vec::new(),
            gone: replica.gone_at.is_some(),
        }
    }
}

/// A record that several systems hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Number of its last replica.
    pub number: i64,
    pub record: RecordId,
    pub entity: String,
    pub key: String,
    /// System to its own id.
    pub ids: BTreeMap<String, String>,
}

/// A part of a long listing: rows with a number above `after`, at most `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub after: u32,
    pub limit: usize,
}

/// Table family `replica`: what systems are known to hold. Called by `sync::conflict`, `sync::identity`,
/// `sync::stock`, `sync::desired`, `sync::brakes`, `sync::pull`, `sync::delivery`, `sync::engine` and
/// `sync::preview`, and by the commands.
///
/// A replica is live unless it is gone or a placeholder. Numbers of replicas grow in the order in which they were first
/// stored.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait ReplicaStore: Send + Sync {
    /// Return the replicas of ids at a system, in no particular order. Include what is gone; leave out placeholders.
    async fn replicas_by_id(&self, system: &str, entity: &str, ids: &[String]) -> Result<Vec<Replica>>;

    /// Return the replicas of records at all systems, in no particular order. Include what is gone; leave out
    /// placeholders.
    async fn replicas_of(&self, records: &[RecordId]) -> Result<Vec<Replica>>;

    /// Return other systems' live replicas of the records that have an object of `entity` at `target`, ordered by
    /// record, at most 1,000.
    async fn replicas_beside(&self, target: &str, entity: &str) -> Result<Vec<Replica>>;

    /// Find the live replicas of a system in which one of `texts` is a value of any field, ordered by record.
    async fn replicas_with_values(&self, system: &str, entity: &str, texts: &[String]) -> Result<Vec<Replica>>;

    /// For each of `ids` that is a live object of another record than `record` at the system, return that record
    /// and its key.
    async fn holders(
        &self,
        system: &str,
        entity: &str,
        record: RecordId,
        ids: &[String],
    ) -> Result<BTreeMap<String, (RecordId, String)>>;

    /// Return the ids of records' objects at `system`, those of placeholders included. Leave out records whose object
    /// is gone or which have none.
    async fn externals(&self, system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, String>>;

    /// List live replicas whose number is not in `seen`, by number: a slice.
    async fn unseen(
        &self,
        system: &str,
        entity: &str,
        seen: &roaring::RoaringBitmap,
        slice: Slice,
    ) -> Result<Vec<(u32, Replica)>>;

    /// List the live replicas of `target` whose object is gone at `system`, by number: a slice.
    async fn outlived(&self, system: &str, entity: &str, target: &str, slice: Slice) -> Result<Vec<(u32, Replica)>>;

    /// List records that several systems hold, each at the number of its last live replica: those above `after`, at
    /// most `limit`.
    async fn linked_since(&self, after: i64, limit: u32) -> Result<Vec<Linked>>;

    /// Count the live replicas of a system and entity.
    async fn live(&self, system: &str, entity: &str) -> Result<u64>;

    /// Count all replicas: (system, entity, live, gone). Leave out placeholders.
    async fn counts(&self) -> Result<Vec<(String, String, u64, u64)>>;
}

macro_rules! select_replicas {
    ($from:literal) => {
        concat!(
            "SELECT r.number, r.system, r.entity, r.record, r.id, r.print, r.gone_at, r.written, r.version, r.fields, \
                r.sent ",
            $from
        )
    };
}

pub(super) use select_replicas;

/// Live objects of other records under these ids, and whether they come from a system that does not have the record
/// itself. A placeholder belongs to no record yet.
pub(super) const HELD: &str = "SELECT j.key, k.id, k.key, CASE WHEN EXISTS (SELECT 1 FROM replica o \
        WHERE o.record = r.record AND o.system <> $2 AND o.gone_at IS NULL AND o.fields IS NOT NULL \
        AND NOT EXISTS (SELECT 1 FROM replica q WHERE q.record = CAST(j.value->>1 AS BIGINT) AND q.system = o.system)) \
        THEN 1 ELSE 0 END \
    FROM json_each($1) j CROSS JOIN replica r CROSS JOIN record k \
    WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>0 AND r.record <> CAST(j.value->>1 AS BIGINT) \
      AND r.gone_at IS NULL AND r.fields IS NOT NULL AND k.id = r.record AND k.key IS NOT NULL \
      AND (k.same IS NULL OR k.same <> CAST(j.value->>1 AS BIGINT))";

#[async_trait]
impl ReplicaStore for Database {
    async fn replicas_by_id(&self, system: &str, entity: &str, ids: &[String]) -> Result<Vec<Replica>> {
        const SQL: &str = select_replicas!(
            "FROM json_each($1) j CROSS JOIN replica r \
             WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>0 AND r.fields IS NOT NULL"
        );
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let ids = rows(ids.iter().map(|id| [id]))?;
        let found = self.pool.read("read replicas", SQL, args![ids, system, entity]).await?;
        self.replicas_in(found).await
    }

    async fn replicas_of(&self, records: &[RecordId]) -> Result<Vec<Replica>> {
        const SQL: &str = select_replicas!(
            "FROM json_each($1) j CROSS JOIN replica r \
             WHERE r.record = CAST(j.value->>0 AS BIGINT) AND r.fields IS NOT NULL"
        );
        let records = rows(records.iter().map(|record| [record]))?;
        let found = self.pool.read("read replicas", SQL, args![records]).await?;
        self.replicas_in(found).await
    }

    async fn replicas_beside(&self, target: &str, entity: &str) -> Result<Vec<Replica>> {
        const SQL: &str = select_replicas!(
            "FROM replica t CROSS JOIN replica r WHERE t.system = $1 AND t.entity = $2 AND t.gone_at IS NULL \
             AND r.record = t.record AND r.entity = $2 AND r.system <> $1 AND r.gone_at IS NULL \
             AND r.fields IS NOT NULL ORDER BY r.record LIMIT 1000"
        );
        let args = args![self.name(target).await?, self.name(entity).await?];
        let found = self.pool.read("read what is told of a target's objects", SQL, args).await?;
        self.replicas_in(found).await
    }

    async fn replicas_with_values(&self, system: &str, entity: &str, texts: &[String]) -> Result<Vec<Replica>> {
        macro_rules! replicas_with_values {
            ($place:literal) => {
                concat!(
                    select_replicas!(
                        "FROM json_each($1) j CROSS JOIN replica r WHERE r.system = $2 AND r.entity = $3 \
                         AND r.gone_at IS NULL AND r.fields IS NOT NULL AND "
                    ),
                    $place,
                    "(r.fields, j.value->>0) > 0"
                )
            };
        }
        const SQL: Sql = Sql { sqlite: replicas_with_values!("instr"), postgres: replicas_with_values!("strpos") };
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        // The texts as they appear in a snapshot.
        let texts = texts.iter().map(json).collect::<Result<Vec<_>>>()?;
        let texts = rows(texts.iter().map(|text| [text]))?;
        let found = self.pool.read("look for a value", SQL, args![texts, system, entity]).await?;
        let found = self.replicas_in(found).await?;
        let once: BTreeMap<RecordId, Replica> = found.into_iter().map(|replica| (replica.record, replica)).collect();
        Ok(once.into_values().collect())
    }

    async fn holders(
        &self,
        system: &str,
        entity: &str,
        record: RecordId,
        ids: &[String],
    ) -> Result<BTreeMap<String, (RecordId, String)>> {
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let lines = rows(ids.iter().map(|id| (id, record)))?;
        let mut holders = BTreeMap::new();
        for mut row in self.pool.read("find whose ids these are", HELD, args![lines, system, entity]).await? {
            let (at, holder, key) = holder(&mut row)?;
            holders.insert(ids[at].clone(), (holder, key));
        }
        Ok(holders)
    }

    async fn externals(&self, system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, String>> {
        const SQL: &str = "SELECT k.id, r.id FROM json_each($1) j CROSS JOIN record k CROSS JOIN replica r \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND r.record = coalesce(k.same, k.id) AND r.system = $2 \
              AND r.gone_at IS NULL";
        let system = self.name(system).await?;
        let records = rows(records.iter().map(|record| [record]))?;
        let mut externals = BTreeMap::new();
        for mut row in self.pool.read("read external ids", SQL, args![records, system]).await? {
            externals.insert(row.id(0)?, row.text(1)?);
        }
        Ok(externals)
    }

    async fn unseen(
        &self,
        system: &str,
        entity: &str,
        seen: &RoaringBitmap,
        Slice { after, limit }: Slice,
    ) -> Result<Vec<(u32, Replica)>> {
        // Select numbers first: rows with their snapshots are read only for what is missing.
        const NUMBERS: &str = "SELECT string_agg(CAST(number AS TEXT), ','), max(number) FROM (\
            SELECT number FROM replica WHERE system = $1 AND entity = $2 AND number > $3 \
            AND gone_at IS NULL AND fields IS NOT NULL ORDER BY number LIMIT 10000) n";
        const ROWS: &str = select_replicas!(
            "FROM json_each($1) j CROSS JOIN replica r WHERE r.number = CAST(j.value->>0 AS BIGINT) ORDER BY r.number"
        );
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let mut after = i64::from(after);
        let mut missing: Vec<u32> = Vec::new();
        while missing.len() < limit {
            let mut slice = self.pool.read("list replicas", NUMBERS, args![system, entity, after]).await?;
            let Some(slice) = slice.first_mut() else { break };
            let Some(last) = slice.int_or_null(1)? else { break };
            let numbers: Vec<u32> = numbers_in(slice.text_or_null(0)?.as_deref());
            missing.extend(numbers.into_iter().filter(|number| !seen.contains(*number)));
            after = last;
        }
        missing.sort_unstable();
        missing.truncate(limit);
        let found = self.pool.read("read replicas", ROWS, args![rows(missing.iter().map(|n| [n]))?]).await?;
        self.numbered_in(found).await
    }

    async fn outlived(
        &self,
        system: &str,
        entity: &str,
        target: &str,
        Slice { after, limit }: Slice,
    ) -> Result<Vec<(u32, Replica)>> {
        const SQL: &str = select_replicas!(
            "FROM replica r WHERE r.system = $3 AND r.entity = $2 AND r.number > $4 AND r.gone_at IS NULL \
             AND r.fields IS NOT NULL AND EXISTS (SELECT 1 FROM replica s WHERE s.record = r.record AND s.system = $1 \
                AND s.gone_at IS NOT NULL) ORDER BY r.number LIMIT $5"
        );
        let names = (self.name(system).await?, self.name(entity).await?, self.name(target).await?);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let args = args![names.0, names.1, names.2, i64::from(after), limit];
        let found = self.pool.read("look for what was outlived", SQL, args).await?;
        self.numbered_in(found).await
    }

    async fn linked_since(&self, after: i64, limit: u32) -> Result<Vec<Linked>> {
        // Each record appears once, at the last of its replicas.
        const SQL: &str = "SELECT n.number, k.id, e.text, k.key, s.text, r.id FROM ( \
                SELECT l.number, l.record FROM replica l \
                    WHERE l.number > $1 AND l.fields IS NOT NULL AND l.gone_at IS NULL \
                  AND NOT EXISTS (SELECT 1 FROM replica o WHERE o.record = l.record AND o.number > l.number \
                      AND o.fields IS NOT NULL AND o.gone_at IS NULL) \
                  AND EXISTS (SELECT 1 FROM replica o WHERE o.record = l.record AND o.number < l.number \
                      AND o.fields IS NOT NULL AND o.gone_at IS NULL) \
                ORDER BY l.number LIMIT $2) n \
            CROSS JOIN record k CROSS JOIN replica r CROSS JOIN name e CROSS JOIN name s \
            WHERE k.id = n.record AND r.record = k.id AND e.id = k.entity AND s.id = r.system \
              AND r.fields IS NOT NULL AND r.gone_at IS NULL ORDER BY n.number, s.text";
        let mut linked: Vec<Linked> = Vec::new();
        for mut row in self.pool.read("find linked records", SQL, args![after, i64::from(limit)]).await? {
            let (number, record, system) = (row.int(0)?, row.id(1)?, row.text(4)?);
            let id = row.text(5)?;
            match linked.last_mut() {
                Some(last) if last.number == number => {
                    last.ids.insert(system, id);
                }
                _ => linked.push(Linked {
                    number,
                    record,
                    entity: row.text(2)?,
                    key: row.text_or_null(3)?.unwrap_or_default(),
                    ids: std::iter::once((system, id)).collect(),
                }),
            }
        }
        Ok(linked)
    }

    async fn live(&self, system: &str, entity: &str) -> Result<u64> {
        const SQL: &str = "SELECT count(*) FROM replica WHERE system = $1 AND entity = $2 \
            AND gone_at IS NULL AND fields IS NOT NULL";
        let args = args![self.name(system).await?, self.name(entity).await?];
        self.pool.read("count replicas", SQL, args).await?.first().map_or(Ok(0), |row| row.small(0))
    }

    async fn counts(&self) -> Result<Vec<(String, String, u64, u64)>> {
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

impl Database {
    /// Read replicas from rows of `select_replicas!`.
    pub(super) async fn replicas_in(&self, found: Vec<Row>) -> Result<Vec<Replica>> {
        let numbered = self.numbered_in(found).await?;
        Ok(numbered.into_iter().map(|(_, replica)| replica).collect())
    }

    /// The same, with their numbers.
    async fn numbered_in(&self, found: Vec<Row>) -> Result<Vec<(u32, Replica)>> {
        let mut replicas = Vec::with_capacity(found.len());
        for mut row in found {
            replicas.push(self.replica(&mut row).await?);
        }
        Ok(replicas)
    }

    async fn replica(&self, row: &mut Row) -> Result<(u32, Replica)> {
        let number = row.small(0)?;
        let name = || format!("number {number}");
        let replica = Replica {
            system: self.text(row.int(1)?).await?,
            entity: self.text(row.int(2)?).await?,
            record: row.id(3)?,
            id: row.text(4)?,
            fingerprint: row.text_or_null(5)?.map(|text| fingerprint(&text, &name())).transpose()?,
            gone_at: row.int_or_null(6)?.map(time),
            written: row.int(7)?,
            version: row.text_or_null(8)?,
            fields: parse(&row.text(9)?, "replica", "fields", name)?,
            sent: match row.text_or_null(10)? {
                Some(text) => parse(&text, "replica", "sent", name)?,
                None => crate::mapping::Fields::new(),
            },
        };
        Ok((number, replica))
    }
}

/// A row of [`HELD`]: the position of the id, the record that has it, and that record's key.
pub(super) fn holder(row: &mut Row) -> Result<(usize, RecordId, String)> {
    Ok((row.small(0)?, row.id(1)?, row.text(2)?))
}
