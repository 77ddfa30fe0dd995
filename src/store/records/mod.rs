//! Records: table family `record` and `match_value`. A record is one business object across all systems; it has a
//! key, and values by which it is recognised.
//!
//! Called by `sync::pull` for the rows of a page, by `sync::identity`, `sync::stock`, `sync::desired` and
//! `sync::delivery` for what is to be written, and by `sync::context`, `sync::preview` and the commands, which name
//! records. How a row finds its record is in `identify`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;

use self::identify::Place;
use super::{
    RecordId, Result, StoreError,
    database::Database,
    links::KEY_AT,
    sql::{Tx, args, plain, rows},
};
use crate::mapping::RefBy;

mod identify;

/// A reference to be turned into a record number. If it is unknown, it gets a placeholder record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefQuery {
    pub entity: String,
    pub by: RefBy,
}

/// A row whose record is to be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unidentified {
    pub id: String,
    pub key: String,
    /// Values of match fields: (field, normalised value), in the order of the rules.
    pub matches: Vec<(String, String)>,
    /// The system that gave the key; `None` if the key means the same everywhere, or if nobody knows.
    pub numbered_by: Option<String>,
    /// Whether the row's own system has certainly given the key. If so, the record is numbered by it from then on.
    pub issued: bool,
    /// The record that the key was found to mean; `None` for the one that is numbered so, or a new one.
    pub taken_for: Option<RecordId>,
    /// The system has several objects of this number, and it is not known which this one is: it gets a record of
    /// its own.
    pub unsure: bool,
    /// A record that bears the number though it is another system's object. It gets the numbering of a system that
    /// has it.
    pub evicts: Option<RecordId>,
}

/// A record that has a given key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namesake {
    /// The record; for an alias, the record that it is the same as.
    pub record: RecordId,
    /// The record that has the key itself, even if it is an alias.
    pub itself: RecordId,
    /// The system that gave the key; `None` if the key means the same everywhere, or if nobody knows who gave it.
    pub numbered_by: Option<String>,
    /// Whether it is one of several objects of the number at one system, and it is not known which.
    pub unsure: bool,
}

/// How a record is known to systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    pub entity: String,
    pub key: String,
    pub numbered_by: Option<String>,
}

/// The record that was found for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    pub record: RecordId,
    /// The id of another live object of the same system that is this record already: two rows have one key. Reject
    /// this row.
    pub taken_by: Option<String>,
}

/// Table family `record` and `match_value`: which record a row, a key or a reference means. Called by
/// `sync::context`, `sync::identity`, `sync::stock`, `sync::desired`, `sync::pull`, `sync::delivery` and
/// `sync::preview`, and by the commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store). If another process binds the same id at the same time,
/// [`resolve`](Self::resolve) tries again by itself, and fails with [`StoreError::Stale`] only if it loses several
/// times in a row.
#[async_trait]
pub trait RecordStore: Send + Sync {
    /// Return the records of keys that no system is known to have given, in the order of `keys`. Create those that
    /// do not exist, in one transaction. Idempotent.
    async fn records(&self, entity: &str, keys: &[String]) -> Result<Vec<RecordId>>;

    /// Find the record of a key. If several records have the key, return the one that was known first.
    async fn record(&self, entity: &str, key: &str) -> Result<Option<RecordId>>;

    /// Return the number of the newest record; 0 if there is none.
    async fn newest(&self) -> Result<RecordId>;

    /// For each key, find all records that have it, ordered by number. Several systems may have given the same number
    /// to different objects.
    async fn namesakes(&self, entity: &str, keys: &[String]) -> Result<Vec<Vec<Namesake>>>;

    /// Return (entity, key) of records, as they are shown to people. If several records have the key, it reads
    /// `SYSTEM/KEY`, or `SYSTEM#ID` if it is not known which system gave it. Leave out records without a key.
    async fn keys(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, (String, String)>>;

    /// Return how systems know records: the plain key, and the system that gave it. Leave out records without a
    /// key.
    async fn called(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Called>>;

    /// For each record, find the records of the same key that live at `target` and whose key was given there or by
    /// an unknown system: one of them may be the same object. Leave out those that a person has set apart.
    async fn rivals(&self, target: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<RecordId>>>;

    /// Turn references found at `system` into record numbers.
    ///
    /// A reference by id means the record that the id is bound to. If there is none, create a placeholder: a record
    /// without a key, bound to that id, which a later pull of the id adopts. A reference by key means the record of
    /// that key; create it if need be.
    ///
    /// Idempotent. One transaction for each entity and kind of reference that is new, and none if all are known.
    async fn resolve(&self, system: &str, refs: &[RefQuery]) -> Result<BTreeMap<RefQuery, RecordId>>;

    /// Decide which record each pulled row is, in the order of `rows`. One transaction. The first rule that finds
    /// an answer decides:
    ///
    /// 1. the record that the row's id is bound to at `system`;
    /// 2. the record that a match field finds. The first field that finds any record decides, and only if it finds
    ///    a single one that has no live object at `system` and is no other row of the page. Fields in `weak` never
    ///    decide;
    /// 3. [`Unidentified::taken_for`], else the record of this key and numbering;
    /// 4. a new record.
    ///
    /// A placeholder gets its key here; a key that is set never changes by itself. Reject a row with
    /// [`Identified::taken_by`], do not commit it.
    async fn identify(
        &self,
        system: &str,
        entity: &str,
        rows: &[Unidentified],
        weak: &[String],
    ) -> Result<Vec<Identified>>;

    /// For each list of (match field, normalised value), in order of preference, find the record: the first pair that
    /// finds any record decides, and only if it finds a single one.
    async fn recognise(&self, entity: &str, asked: &[Vec<(String, String)>]) -> Result<Vec<Option<RecordId>>>;
}

/// How many times a race lost to another daemon is run again before the error is returned.
const RACES: usize = 3;

/// Records of keys and the systems that gave them.
const RECORDS_OF_KEYS: &str = "SELECT j.key, r.id FROM json_each($1) j CROSS JOIN record r \
    WHERE r.entity = $2 AND r.key = j.value->>0 AND r.system = CAST(j.value->>1 AS BIGINT)";

/// Stands in the place of a system if no system is known to have given a key.
const NOBODY: i64 = 0;

#[async_trait]
impl RecordStore for Database {
    async fn records(&self, entity: &str, keys: &[String]) -> Result<Vec<RecordId>> {
        let entity = self.name(entity).await?;
        let mut records = vec![None; keys.len()];
        let asked = rows(keys.iter().map(|key| (key, NOBODY)))?;
        for row in self.pool.read("find records", RECORDS_OF_KEYS, args![asked.as_str(), entity]).await? {
            records[row.small::<usize>(0)?] = Some(row.id(1)?);
        }
        if records.iter().any(Option::is_none) {
            let mut tx = self.pool.begin("create records").await?;
            create_records(&mut tx, entity, &asked).await?;
            for row in tx.rows("find records", RECORDS_OF_KEYS, args![asked.as_str(), entity]).await? {
                records[row.small::<usize>(0)?] = Some(row.id(1)?);
            }
            tx.commit("create records").await?;
        }
        records.into_iter().map(|record| record.ok_or(StoreError::Stale("record"))).collect()
    }

    async fn record(&self, entity: &str, key: &str) -> Result<Option<RecordId>> {
        const SQL: &str = "SELECT r.id FROM record r JOIN name n ON n.id = r.entity \
            WHERE n.text = $1 AND r.key = $2 ORDER BY r.id LIMIT 1";
        let found = self.pool.read("find a record", SQL, args![entity, key]).await?;
        found.first().map(|row| row.id(0)).transpose()
    }

    async fn newest(&self) -> Result<RecordId> {
        let found =
            self.pool.read("find the newest record", "SELECT coalesce(max(id), 0) FROM record", args![]).await?;
        found.first().map_or(Ok(RecordId(0)), |row| row.id(0))
    }

    async fn namesakes(&self, entity: &str, keys: &[String]) -> Result<Vec<Vec<Namesake>>> {
        const SQL: &str = "SELECT j.key, coalesce(r.same, r.id), r.system, r.id FROM json_each($1) j \
            CROSS JOIN record r \
            WHERE r.entity = $2 AND r.key = j.value->>0 ORDER BY r.id";
        let mut namesakes: Vec<Vec<Namesake>> = vec![Vec::new(); keys.len()];
        let (entity, asked) = (self.name(entity).await?, rows(keys.iter().map(|key| [key]))?);
        for row in self.pool.read("find records of a key", SQL, args![asked, entity]).await? {
            let (of, record) = (&mut namesakes[row.small::<usize>(0)?], row.id(1)?);
            let numbered_by = self.system(row.int(2)?).await?;
            if of.iter().all(|known| known.record != record) {
                of.push(Namesake { record, itself: row.id(3)?, numbered_by, unsure: row.int(2)? < 0 });
            }
        }
        Ok(namesakes)
    }

    async fn keys(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, (String, String)>> {
        const SQL: &str = "SELECT r.id, k.entity, k.key, CASE WHEN k.system <> 0 AND EXISTS (SELECT 1 FROM record o \
                WHERE o.entity = k.entity AND o.key = k.key AND o.id <> k.id AND o.same IS NULL) \
                THEN k.system ELSE 0 END, \
            CASE WHEN k.system < 0 THEN (SELECT min(n.text || '#' || p.id) \
                FROM replica p JOIN name n ON n.id = p.system \
                WHERE p.record = k.id AND p.gone_at IS NULL) END \
            FROM json_each($1) j CROSS JOIN record r CROSS JOIN record k \
            WHERE r.id = CAST(j.value->>0 AS BIGINT) AND k.id = coalesce(r.same, r.id) AND k.key IS NOT NULL";
        let asked = rows(records.iter().map(|record| [record]))?;
        let mut keys = BTreeMap::new();
        for mut row in self.pool.read("read keys", SQL, args![asked]).await? {
            let (entity, key) = (self.text(row.int(1)?).await?, row.text(2)?);
            let name = match (self.system(row.int(3)?).await?, row.text_or_null(4)?) {
                (Some(system), _) => format!("{system}/{key}"),
                (None, Some(place)) => place,
                (None, None) => key,
            };
            keys.insert(row.id(0)?, (entity, name));
        }
        Ok(keys)
    }

    async fn called(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Called>> {
        const SQL: &str = "SELECT r.id, k.entity, k.key, k.system FROM json_each($1) j \
            CROSS JOIN record r CROSS JOIN record k \
            WHERE r.id = CAST(j.value->>0 AS BIGINT) AND k.id = coalesce(r.same, r.id) AND k.key IS NOT NULL";
        let asked = rows(records.iter().map(|record| [record]))?;
        let mut called = BTreeMap::new();
        for mut row in self.pool.read("read keys", SQL, args![asked]).await? {
            let entity = self.text(row.int(1)?).await?;
            let (key, numbered_by) = (row.text(2)?, self.system(row.int(3)?).await?);
            called.insert(row.id(0)?, Called { entity, key, numbered_by });
        }
        Ok(called)
    }

    async fn rivals(&self, target: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<RecordId>>> {
        const SQL: &str = "SELECT m.id, k.id FROM json_each($1) j CROSS JOIN record m CROSS JOIN record k \
            WHERE m.id = CAST(j.value->>0 AS BIGINT) AND k.entity = m.entity AND k.key = m.key \
                AND (k.system = $2 OR k.system < 0) \
              AND k.id <> m.id AND k.same IS NULL \
              AND EXISTS (SELECT 1 FROM replica r WHERE r.record = k.id AND r.system = $2 \
                  AND r.gone_at IS NULL AND r.fields IS NOT NULL) \
              AND NOT EXISTS (SELECT 1 FROM apart a WHERE (a.one = k.id AND a.other = m.id) \
                  OR (a.one = m.id AND a.other = k.id)) ORDER BY 1, 2";
        let (target, asked) = (self.name(target).await?, rows(records.iter().map(|record| [record]))?);
        let mut rivals: BTreeMap<RecordId, Vec<RecordId>> = BTreeMap::new();
        for row in self.pool.read("look for records of the same key", SQL, args![asked, target]).await? {
            rivals.entry(row.id(0)?).or_default().push(row.id(1)?);
        }
        Ok(rivals)
    }

    async fn resolve(&self, system: &str, refs: &[RefQuery]) -> Result<BTreeMap<RefQuery, RecordId>> {
        let mut by_id: BTreeMap<&str, Vec<&RefQuery>> = BTreeMap::new();
        let mut by_key: BTreeMap<&str, Vec<&RefQuery>> = BTreeMap::new();
        for asked in refs {
            let group = if matches!(asked.by, RefBy::Id(_)) { &mut by_id } else { &mut by_key };
            group.entry(&asked.entity).or_default().push(asked);
        }
        let mut resolved = BTreeMap::new();
        for (entity, asked) in by_key {
            let keys: Vec<String> = asked.iter().map(|asked| text_of(&asked.by).to_owned()).collect();
            let records = self.records(entity, &keys).await?;
            resolved.extend(asked.into_iter().cloned().zip(records));
        }
        for (entity, asked) in by_id {
            let ids: Vec<&str> = asked.iter().map(|asked| text_of(&asked.by)).collect();
            let bound = self.bound_or_placeholders(system, entity, &ids).await?;
            for asked in asked {
                let record = bound.get(&*plain(text_of(&asked.by))).ok_or(StoreError::Stale("reference"))?;
                resolved.insert(asked.clone(), *record);
            }
        }
        Ok(resolved)
    }

    async fn identify(
        &self,
        system: &str,
        entity: &str,
        unidentified: &[Unidentified],
        weak: &[String],
    ) -> Result<Vec<Identified>> {
        let mut fields: BTreeMap<&str, i64> = BTreeMap::new();
        for (field, _) in unidentified.iter().flat_map(|row| &row.matches) {
            if !fields.contains_key(field.as_str()) {
                fields.insert(field, self.name(field).await?);
            }
        }
        let mut numbering = Vec::with_capacity(unidentified.len());
        for row in unidentified {
            numbering.push(match &row.numbered_by {
                Some(by) => self.name(by).await?,
                None => NOBODY,
            });
        }
        let (own, shown) = (self.name(system).await?, format!("{KEY_AT}{system}"));
        let mut spellers = BTreeMap::new();
        for (field, system) in fields.keys().filter_map(|field| Some((*field, field.strip_prefix(KEY_AT)?))) {
            spellers.insert(field, self.name(system).await?);
        }
        let place = Place { system: own, entity: self.name(entity).await?, weak, shown: &shown, spellers, numbering };
        let mut tx = self.pool.begin("identify").await?;
        let identified = place.identify(&mut tx, unidentified, &fields).await?;
        tx.commit("identify").await?;
        self.grew(unidentified.len()).await;
        Ok(identified)
    }

    async fn recognise(&self, entity: &str, asked: &[Vec<(String, String)>]) -> Result<Vec<Option<RecordId>>> {
        const SQL: &str = "SELECT CAST(f.place AS BIGINT), CAST(f.rank AS BIGINT), min(f.record), max(f.record) FROM ( \
                SELECT j.value->>0 AS place, j.value->>1 AS rank, coalesce(a.same, a.id) AS record \
                FROM json_each($1) j CROSS JOIN match_value m CROSS JOIN record a \
                WHERE m.entity = $2 AND m.field = CAST(j.value->>2 AS BIGINT) AND m.value = j.value->>3 \
                    AND a.id = m.record) f \
            GROUP BY f.place, f.rank ORDER BY 1, 2";
        let mut lines = Vec::new();
        for (place, values) in asked.iter().enumerate() {
            for (rank, (field, value)) in values.iter().enumerate() {
                lines.push((place, rank, self.name(field).await?, value));
            }
        }
        let mut found = vec![None; asked.len()];
        if lines.is_empty() {
            return Ok(found);
        }
        let entity = self.name(entity).await?;
        let mut decided = BTreeSet::new();
        for row in self.pool.read("recognise records", SQL, args![rows(lines)?, entity]).await? {
            let (place, record) = (row.small::<usize>(0)?, row.id::<RecordId>(2)?);
            if decided.insert(place) && record == row.id(3)? {
                found[place] = Some(record);
            }
        }
        Ok(found)
    }
}

impl Database {
    async fn bound_or_placeholders(
        &self,
        system: &str,
        entity: &str,
        ids: &[&str],
    ) -> Result<HashMap<String, RecordId>> {
        const BOUND: &str = "SELECT r.id, r.record FROM json_each($1) j CROSS JOIN replica r \
            WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>0";
        const CREATE: &str = "INSERT INTO record (entity) SELECT $2 FROM json_each($1) j WHERE true RETURNING id";
        const BIND: &str = "INSERT INTO replica (system, entity, record, id) \
            SELECT $2, $3, CAST(j.value->>1 AS BIGINT), j.value->>0 FROM json_each($1) j";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let mut races = 0;
        loop {
            let mut bound = HashMap::new();
            let asked = rows(ids.iter().map(|id| [id]))?;
            for mut row in self.pool.read("find references", BOUND, args![asked, system, entity]).await? {
                bound.insert(row.text(0)?, row.id(1)?);
            }
            let mut unknown: Vec<&str> = ids.iter().copied().filter(|id| !bound.contains_key(&*plain(id))).collect();
            unknown.sort_unstable();
            unknown.dedup();
            if unknown.is_empty() {
                return Ok(bound);
            }
            let mut tx = self.pool.begin("create placeholders").await?;
            let asked = rows(unknown.iter().map(|id| [id]))?;
            let made = tx.rows("create placeholders", CREATE, args![asked, entity]).await?;
            let made = made.iter().map(|row| row.id(0)).collect::<Result<Vec<RecordId>>>()?;
            let pairs = rows(unknown.iter().zip(&made))?;
            let attempt = match tx.execute("bind placeholders", BIND, args![pairs, system, entity]).await {
                Ok(_) => tx.commit("bind placeholders").await,
                Err(error) => Err(error),
            };
            match attempt {
                Ok(()) => {
                    bound.extend(unknown.iter().map(|id| plain(id).into_owned()).zip(made));
                    return Ok(bound);
                }
                Err(StoreError::Stale(_)) if races < RACES => races += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Return the system that gave a key; `None` if no system is known to have given it.
    async fn system(&self, number: i64) -> Result<Option<String>> {
        if number <= 0 { Ok(None) } else { self.text(number).await.map(Some) }
    }
}

fn text_of(by: &RefBy) -> &str {
    match by {
        RefBy::Id(text) | RefBy::Key(text) => text,
    }
}

/// Create the records of keys that have none; each row of `keys` is a key and the system that gave it.
async fn create_records(tx: &mut Tx, entity: i64, keys: &str) -> Result<()> {
    const SQL: &str = "INSERT INTO record (entity, key, system) \
        SELECT DISTINCT CAST($2 AS BIGINT), j.value->>0, CAST(j.value->>1 AS BIGINT) FROM json_each($1) j \
        WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.entity = $2 AND r.key = j.value->>0 \
            AND r.system = CAST(j.value->>1 AS BIGINT)) ORDER BY 2, 3 \
        ON CONFLICT DO NOTHING";
    tx.execute("create records", SQL, args![keys, entity]).await.map(drop)
}
