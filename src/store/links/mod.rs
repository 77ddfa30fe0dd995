//! Links: table family `link` and `apart`. Ties between records and the systems' objects: how they came about,
//! whether they are in force, and what a person decided.
//!
//! Called by `sync::identity`, which answers `vaiven links`, by `sync::desired` before anything is written, and by
//! `sync::preview`. The further effects of joining and splitting records are in `joining`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use self::joining::{both_stand, forget_own, keep_apart, move_objects, wake_for};
use super::{
    NewJob, RecordId, Result, StoreError,
    database::Database,
    queue::{lock_target, open_jobs},
    replicas::make_aliases,
    sql::{Row, Tx, args, rows},
};

mod joining;

/// Stands in the place of a match field if a person tied an object to its record.
pub const BY_PERSON: &str = "person";

/// Prefix of the match fields that stand for keys as a system shows them; the system's name follows. A tie that
/// such a field makes is a tie by key.
pub const KEY_AT: &str = "key@";

/// How many candidates are reported for one record at most.
const MOST_CANDIDATES: i64 = 10;

/// Whether a record's tie to its object at a system is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    #[default]
    Linked,
    /// Nothing is sent or read either way until a person releases it: jobs wait.
    Paused,
    /// Nothing is sent or read either way, and no job waits for it.
    Ignored,
}

impl LinkState {
    /// The word used in tables, JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Paused => "paused",
            Self::Ignored => "ignored",
        }
    }
}

/// What is known of a tie, besides that it exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Link {
    pub state: LinkState,
    /// The match field that tied them, or [`BY_PERSON`]; `None` if it was the key, or if we created the object
    /// ourselves.
    pub rule: Option<String>,
    /// How many of the match fields that both had agreed then, in percent.
    pub score: Option<u8>,
}

/// A record's ties, if there is more to them than the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// If the record is an alias, the record that it is the same as: nothing is written for an alias.
    pub same: Option<RecordId>,
    /// By system.
    pub links: BTreeMap<String, Link>,
}

/// A record that may be the same as another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub record: RecordId,
    /// Match fields whose values agree.
    pub fields: Vec<String>,
}

/// Table family `link` and `apart`: the ties between records and objects, and which records are the same or are not.
/// Called by `sync::identity`, `sync::desired` and `sync::preview` and the commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait LinkStore: Send + Sync {
    /// Return the ties of records. Leave out records that are tied by their key alone.
    async fn ties(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Ties>>;

    /// List the links in one of `states` that have an entry of their own, ordered by record and system: at most
    /// `limit`, 0 = all.
    async fn linked(&self, states: &[LinkState], limit: u32) -> Result<Vec<(RecordId, String, Link)>>;

    /// For each (record, match fields), find the records that share a value of one of these fields and that
    /// `target` holds or is about to receive: the record may be one of them. Leave out those that a person has set
    /// apart. At most 10 for each record.
    async fn candidates(
        &self,
        target: &str,
        asked: &[(RecordId, Vec<String>)],
    ) -> Result<BTreeMap<RecordId, Vec<Candidate>>>;

    /// For each pair of records, return how far their match values agree, in percent of the fields that both have.
    async fn scores(&self, pairs: &[(RecordId, RecordId)]) -> Result<Vec<u8>>;

    /// Store a person's decision: give the links of `record` to some systems a state (`links`), and open `jobs`. One
    /// transaction; idempotent.
    async fn set_links(
        &self,
        record: RecordId,
        links: (&[String], LinkState),
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<()>;

    /// Store a person's decision: `record` is none of `others`, and is no longer an alias of any of them. Open
    /// `jobs`. One transaction; idempotent.
    async fn set_apart(&self, record: RecordId, others: &[RecordId], jobs: &[NewJob], now: DateTime<Utc>)
    -> Result<()>;

    /// Store a person's decision: `record` is the same as `into`. One transaction.
    ///
    /// Move the objects of `record` to `into`, except at systems where `into` has one; a live object replaces one
    /// that is gone. Make `record` an alias, so that references to it mean `into`. Discard its open jobs unless
    /// they are running, wake the jobs that waited for either, and open `jobs`.
    ///
    /// Return false, and change nothing, if one of the two has become an alias meanwhile, or if their entities
    /// differ.
    async fn join(&self, record: RecordId, into: RecordId, jobs: &[NewJob], now: DateTime<Utc>) -> Result<bool>;

    /// Detach the object at a system from `record`. `from` is that system, and the key that the object gets. One
    /// transaction.
    ///
    /// A live object becomes a record of its own, and the two are set apart; an object that is gone is forgotten.
    /// Open `jobs` for `record`, and the same for the new record. Return the new record, or `record` if the object
    /// was gone; `None` if there is no such object.
    async fn split(
        &self,
        record: RecordId,
        from: (&str, &str),
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<Option<RecordId>>;
}

impl LinkState {
    fn code(self) -> i64 {
        match self {
            Self::Linked => 0,
            Self::Paused => 1,
            Self::Ignored => 2,
        }
    }

    fn of(code: i64) -> Result<Self> {
        match code {
            0 => Ok(Self::Linked),
            1 => Ok(Self::Paused),
            2 => Ok(Self::Ignored),
            other => Err(StoreError::Row {
                table: "link",
                column: "state",
                row: other.to_string(),
                problem: "no such state".into(),
            }),
        }
    }
}

/// Values by which records are recognised, by field.
pub(super) type Comparable = BTreeMap<String, BTreeSet<String>>;

/// Return how far two sets of match values agree, in percent of the fields that both have.
pub(super) fn score<'a>(one: &Comparable, other: impl Fn(&str) -> Option<&'a BTreeSet<String>>) -> u8 {
    let both: Vec<_> = one.iter().filter_map(|(field, values)| Some((values, other(field)?))).collect();
    let agree = both.iter().filter(|(values, others)| !values.is_disjoint(others)).count();
    u8::try_from((agree * 100).checked_div(both.len()).unwrap_or(0)).unwrap_or(100)
}

#[async_trait]
impl LinkStore for Database {
    async fn ties(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Ties>> {
        const SQL: &str = "SELECT k.id, k.same, l.system, l.state, l.rule, l.score FROM json_each($1) j \
            CROSS JOIN record k LEFT JOIN link l ON l.record = k.id \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND (k.same IS NOT NULL OR l.record IS NOT NULL)";
        let records = rows(records.iter().map(|record| [record]))?;
        let mut ties: BTreeMap<RecordId, Ties> = BTreeMap::new();
        for mut row in self.pool.read("read links", SQL, args![records]).await? {
            let of = ties.entry(row.id(0)?).or_default();
            of.same = row.id_or_null(1)?;
            if let Some(system) = row.int_or_null(2)? {
                let state = LinkState::of(row.int(3)?)?;
                let score = row.int_or_null(5)?.and_then(|score| u8::try_from(score).ok());
                let link = Link { state, rule: row.text_or_null(4)?, score };
                of.links.insert(self.text(system).await?, link);
            }
        }
        Ok(ties)
    }

    async fn linked(&self, states: &[LinkState], limit: u32) -> Result<Vec<(RecordId, String, Link)>> {
        const SQL: &str = "SELECT l.record, l.system, l.state, l.rule, l.score \
            FROM link l JOIN record k ON k.id = l.record \
            WHERE l.state IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j) \
            ORDER BY l.record, l.system LIMIT $2";
        let states = rows(states.iter().map(|state| [state.code()]))?;
        let limit = if limit == 0 { i64::MAX } else { limit.into() };
        let mut links = Vec::new();
        for mut row in self.pool.read("list links", SQL, args![states, limit]).await? {
            let score = row.int_or_null(4)?.and_then(|score| u8::try_from(score).ok());
            let link = Link { state: LinkState::of(row.int(2)?)?, rule: row.text_or_null(3)?, score };
            links.push((row.id(0)?, self.text(row.int(1)?).await?, link));
        }
        Ok(links)
    }

    async fn candidates(
        &self,
        target: &str,
        asked: &[(RecordId, Vec<String>)],
    ) -> Result<BTreeMap<RecordId, Vec<Candidate>>> {
        // If two candidates are both on their way to the target, the later one waits for the earlier, so that the
        // result does not depend on how they are batched.
        const SQL: &str = "SELECT DISTINCT c.record, c.candidate, c.field FROM ( \
                SELECT m.record AS record, k.id AS candidate, o.field AS field, \
                    dense_rank() OVER (PARTITION BY m.record ORDER BY k.id) AS place \
                FROM json_each($1) j CROSS JOIN match_value m CROSS JOIN match_value o CROSS JOIN record k \
                WHERE m.record = CAST(j.value->>0 AS BIGINT) AND m.field = CAST(j.value->>1 AS BIGINT) \
                    AND o.entity = m.entity AND o.field = m.field AND o.value = m.value AND o.record <> m.record \
                    AND k.id = o.record AND k.same IS NULL \
                    AND (EXISTS (SELECT 1 FROM replica r WHERE r.record = k.id AND r.system = $2 \
                            AND r.gone_at IS NULL AND r.fields IS NOT NULL) \
                        OR (k.id < m.record AND EXISTS (SELECT 1 FROM job q WHERE q.record = k.id AND q.target = $2 \
                            AND q.state < 4))) \
                    AND NOT EXISTS (SELECT 1 FROM apart a WHERE (a.one = k.id AND a.other = m.record) \
                        OR (a.one = m.record AND a.other = k.id))) c \
            WHERE c.place <= $3 ORDER BY 1, 2, 3";
        let mut lines = Vec::new();
        for (record, fields) in asked {
            for field in fields {
                lines.push((record, self.name(field).await?));
            }
        }
        let mut found: BTreeMap<RecordId, Vec<Candidate>> = BTreeMap::new();
        if lines.is_empty() {
            return Ok(found);
        }
        let target = self.name(target).await?;
        for row in self.pool.read("look for candidates", SQL, args![rows(lines)?, target, MOST_CANDIDATES]).await? {
            let (record, candidate, field) = (row.id(0)?, row.id(1)?, self.text(row.int(2)?).await?);
            let of = found.entry(record).or_default();
            match of.last_mut() {
                Some(last) if last.record == candidate => last.fields.push(field),
                _ => of.push(Candidate { record: candidate, fields: vec![field] }),
            }
        }
        Ok(found)
    }

    async fn scores(&self, pairs: &[(RecordId, RecordId)]) -> Result<Vec<u8>> {
        let records: Vec<RecordId> = pairs.iter().flat_map(|(one, other)| [*one, *other]).collect();
        let records = rows(records.iter().map(|record| [record]))?;
        let found = self.pool.read("read match values", COMPARABLE, args![records]).await?;
        let values = self.comparable(found).await?;
        let of = |record: &RecordId| values.get(record);
        let pairs = pairs.iter().map(|(one, other)| match (of(one), of(other)) {
            (Some(one), Some(other)) => score(one, |field| other.get(field)),
            _ => 0,
        });
        Ok(pairs.collect())
    }

    async fn set_links(
        &self,
        record: RecordId,
        (systems, state): (&[String], LinkState),
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<()> {
        const SQL: &str = "INSERT INTO link (record, system, state) \
            SELECT $2, CAST(j.value->>0 AS BIGINT), $3 FROM json_each($1) j WHERE true \
            ON CONFLICT (record, system) DO UPDATE SET state = excluded.state";
        const CLEAN: &str = "DELETE FROM link WHERE record = $1 AND state = 0 AND rule IS NULL";
        let mut lines = Vec::with_capacity(systems.len());
        for system in systems {
            lines.push([self.name(system).await?]);
        }
        let jobs = self.job_lines(jobs, now).await?;
        let mut tx = self.pool.begin("set links").await?;
        tx.execute("set links", SQL, args![rows(lines)?, record, state.code()]).await?;
        tx.execute("clean links", CLEAN, args![record]).await?;
        open_jobs(&mut tx, jobs.as_deref(), None, now).await?;
        tx.commit("set links").await
    }

    async fn set_apart(
        &self,
        record: RecordId,
        others: &[RecordId],
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<()> {
        const PART: &str = "UPDATE record SET same = NULL WHERE id = $2 AND key IS NOT NULL \
            AND same IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j)";
        let jobs = self.job_lines(jobs, now).await?;
        let mut tx = self.pool.begin("set records apart").await?;
        keep_apart(&mut tx, record, others).await?;
        tx.execute("part records", PART, args![rows(others.iter().map(|other| [other]))?, record]).await?;
        open_jobs(&mut tx, jobs.as_deref(), None, now).await?;
        tx.commit("set records apart").await
    }

    async fn join(&self, record: RecordId, into: RecordId, jobs: &[NewJob], now: DateTime<Utc>) -> Result<bool> {
        // Move the record's objects to the other record at systems where that has none. The rest stays where it is,
        // and references to it mean the other record.
        const GIVE_WAY: &str = "DELETE FROM replica WHERE record = $2 AND (gone_at IS NOT NULL OR fields IS NULL) \
            AND system IN (SELECT r.system FROM replica r \
                WHERE r.record = $1 AND r.gone_at IS NULL AND r.fields IS NOT NULL)";
        const SYSTEMS: &str = "SELECT system FROM replica WHERE record = $1 ORDER BY system";
        const MOVED: &str = "SELECT r.system FROM replica r WHERE r.record = $1 \
            AND NOT EXISTS (SELECT 1 FROM replica o WHERE o.record = $2 AND o.system = r.system)";
        const LINK: &str = "INSERT INTO link (record, system, state, rule, score) \
            SELECT $2, CAST(j.value->>0 AS BIGINT), 0, $3, 100 FROM json_each($1) j WHERE true \
            ON CONFLICT (record, system) DO UPDATE SET state = 0, rule = excluded.rule, score = 100";
        let jobs = self.job_lines(jobs, now).await?;
        let mut tx = self.pool.begin("join records").await?;
        if !both_stand(&mut tx, record, into).await? {
            return Ok(false);
        }
        // Take the same lock as writers of replicas, so that no job is parked for what arrives with this.
        for system in tx.rows("join records", SYSTEMS, args![record]).await? {
            lock_target(&mut tx, system.int(0)?, false).await?;
        }
        tx.execute("join records", GIVE_WAY, args![record, into]).await?;
        let moved = tx.rows("join records", MOVED, args![record, into]).await?;
        let moved = moved.iter().map(|row| Ok([row.int(0)?])).collect::<Result<Vec<_>>>()?;
        if !moved.is_empty() {
            let systems = rows(&moved)?;
            move_objects(&mut tx, record, into, &systems).await?;
            tx.execute("link records", LINK, args![systems, into, BY_PERSON]).await?;
        }
        make_aliases(&mut tx, &[(record, into)]).await?;
        forget_own(&mut tx, record, now).await?;
        wake_for(&mut tx, record, into, now).await?;
        open_jobs(&mut tx, jobs.as_deref(), None, now).await?;
        tx.commit("join records").await?;
        Ok(true)
    }

    async fn split(
        &self,
        record: RecordId,
        (system, key): (&str, &str),
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<Option<RecordId>> {
        const FIND: &str = "SELECT CASE WHEN gone_at IS NULL AND fields IS NOT NULL THEN 1 ELSE 0 END FROM replica \
            WHERE record = $1 AND system = $2";
        const CREATE: &str = "INSERT INTO record (entity, key, system) \
            SELECT entity, $2, CASE WHEN system = 0 THEN 0 ELSE $3 END \
             FROM record WHERE id = $1 RETURNING id";
        const FORGET: [&str; 5] = [
            "DELETE FROM replica WHERE record = $1 AND system = $2",
            "DELETE FROM child WHERE record = $1 AND system = $2",
            "DELETE FROM match_value WHERE record = $1 AND system = $2",
            "DELETE FROM link WHERE record = $1 AND system = $2",
            "DELETE FROM conflict WHERE record = $1 AND system = $2",
        ];
        let number = self.name(system).await?;
        let own = self.job_lines(jobs, now).await?;
        let mut tx = self.pool.begin("split a record").await?;
        let found = tx.rows("find an object", FIND, args![record, number]).await?;
        let Some(live) = found.first().map(|row| row.int(0)).transpose()? else { return Ok(None) };
        let mut other = record;
        if live == 1 {
            let made = tx.rows("create a record", CREATE, args![record, key, number]).await?;
            other = made.first().map_or(Err(StoreError::Stale("record")), |row| row.id(0))?;
            move_objects(&mut tx, record, other, &rows([[number]])?).await?;
            keep_apart(&mut tx, record, &[other]).await?;
            // Their names are known already.
            let its: Vec<NewJob> = jobs.iter().map(|job| NewJob { record: other, ..job.clone() }).collect();
            open_jobs(&mut tx, self.job_lines(&its, now).await?.as_deref(), None, now).await?;
        }
        for sql in FORGET {
            tx.execute("forget an object", sql, args![record, number]).await?;
        }
        open_jobs(&mut tx, own.as_deref(), None, now).await?;
        tx.commit("split a record").await?;
        Ok(Some(other))
    }
}

impl Database {
    async fn comparable(&self, found: Vec<Row>) -> Result<HashMap<RecordId, Comparable>> {
        let mut values: HashMap<RecordId, Comparable> = HashMap::new();
        for mut row in found {
            let field = self.text(row.int(1)?).await?;
            values.entry(row.id(0)?).or_default().entry(field).or_default().insert(row.text(2)?);
        }
        Ok(values)
    }
}

const COMPARABLE: &str = "SELECT DISTINCT m.record, m.field, m.value FROM json_each($1) j CROSS JOIN match_value m \
    WHERE m.record = CAST(j.value->>0 AS BIGINT)";

/// Return the match values of records, inside a transaction. `names` holds the fields that count.
pub(super) async fn comparable(
    tx: &mut Tx,
    records: &BTreeSet<RecordId>,
    names: &BTreeMap<i64, &str>,
) -> Result<HashMap<RecordId, Comparable>> {
    let mut values: HashMap<RecordId, Comparable> = HashMap::new();
    let records = rows(records.iter().map(|record| [record]))?;
    for mut row in tx.rows("read match values", COMPARABLE, args![records]).await? {
        if let Some(field) = names.get(&row.int(1)?) {
            values.entry(row.id(0)?).or_default().entry((*field).to_owned()).or_default().insert(row.text(2)?);
        }
    }
    Ok(values)
}

/// Store what tied objects of a system to records: (record, field, score).
pub(super) async fn remember(tx: &mut Tx, system: i64, ties: &[(RecordId, String, u8)]) -> Result<()> {
    const SQL: &str = "INSERT INTO link (record, system, state, rule, score) \
        SELECT CAST(j.value->>0 AS BIGINT), $2, 0, j.value->>1, CAST(j.value->>2 AS BIGINT) FROM json_each($1) j \
            WHERE true \
        ON CONFLICT (record, system) DO UPDATE SET rule = excluded.rule, score = excluded.score";
    if ties.is_empty() {
        return Ok(());
    }
    tx.execute("remember links", SQL, args![rows(ties)?, system]).await.map(drop)
}
