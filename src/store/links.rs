//! Ties between records and the systems' objects: how they came about, whether they are in force, and what a person decided.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::{
    Candidate, Link, LinkState, NewJob, RecordId, Result, StoreError, Ties,
    database::Database,
    queue::{lock_target, open_jobs},
    replica::make_aliases,
    sql::{Sql, Tx, args, rows},
    values::micros,
};

/// What stands in the place of a match field where a person tied an object to its record.
pub const BY_PERSON: &str = "person";

/// How the match fields begin that stand for keys as a system shows them; the system's name follows. What they tie is tied by
/// its key.
pub const KEY_AT: &str = "key@";

/// Most candidates that are told of one record.
const TOLD: i64 = 10;

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

/// How far two sets of match values agree, in percent of the fields that both have.
pub(super) fn score<'a>(one: &Comparable, other: impl Fn(&str) -> Option<&'a BTreeSet<String>>) -> u8 {
    let both: Vec<_> = one.iter().filter_map(|(field, values)| Some((values, other(field)?))).collect();
    let agree = both.iter().filter(|(values, others)| !values.is_disjoint(others)).count();
    u8::try_from((agree * 100).checked_div(both.len()).unwrap_or(0)).unwrap_or(100)
}

impl Database {
    pub(super) async fn ties(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Ties>> {
        const SQL: &str = "SELECT k.id, k.same, l.system, l.state, l.rule, l.score FROM json_each($1) j \
            CROSS JOIN record k LEFT JOIN link l ON l.record = k.id \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND (k.same IS NOT NULL OR l.record IS NOT NULL)";
        let records = rows(records.iter().map(|record| [record]))?;
        let mut ties: BTreeMap<RecordId, Ties> = BTreeMap::new();
        for mut row in self.pool.read("read links", SQL, args![records]).await? {
            let of = ties.entry(row.int(0)?).or_default();
            of.same = row.int_or_null(1)?;
            if let Some(system) = row.int_or_null(2)? {
                let state = LinkState::of(row.int(3)?)?;
                let score = row.int_or_null(5)?.and_then(|score| u8::try_from(score).ok());
                let link = Link { state, rule: row.text_or_null(4)?, score };
                of.links.insert(self.text(system).await?, link);
            }
        }
        Ok(ties)
    }

    pub(super) async fn recognise(
        &self,
        entity: &str,
        wanted: &[Vec<(String, String)>],
    ) -> Result<Vec<Option<RecordId>>> {
        const SQL: &str = "SELECT CAST(f.place AS BIGINT), CAST(f.rank AS BIGINT), min(f.record), max(f.record) FROM ( \
                SELECT j.value->>0 AS place, j.value->>1 AS rank, coalesce(a.same, a.id) AS record \
                FROM json_each($1) j CROSS JOIN match_value m CROSS JOIN record a \
                WHERE m.entity = $2 AND m.field = CAST(j.value->>2 AS BIGINT) AND m.value = j.value->>3 AND a.id = m.record) f \
            GROUP BY f.place, f.rank ORDER BY 1, 2";
        let mut lines = Vec::new();
        for (place, values) in wanted.iter().enumerate() {
            for (rank, (field, value)) in values.iter().enumerate() {
                lines.push((place, rank, self.name(field).await?, value));
            }
        }
        let mut found = vec![None; wanted.len()];
        if lines.is_empty() {
            return Ok(found);
        }
        let entity = self.name(entity).await?;
        let mut decided = BTreeSet::new();
        for row in self.pool.read("recognise records", SQL, args![rows(lines)?, entity]).await? {
            let (place, record) = (row.small::<usize>(0)?, row.int(2)?);
            if decided.insert(place) && record == row.int(3)? {
                found[place] = Some(record);
            }
        }
        Ok(found)
    }

    pub(super) async fn linked(&self, states: &[LinkState], limit: u32) -> Result<Vec<(RecordId, String, Link)>> {
        const SQL: &str = "SELECT l.record, l.system, l.state, l.rule, l.score FROM link l JOIN record k ON k.id = l.record \
            WHERE l.state IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j) \
            ORDER BY l.record, l.system LIMIT $2";
        let states = rows(states.iter().map(|state| [state.code()]))?;
        let limit = if limit == 0 { i64::MAX } else { limit.into() };
        let mut links = Vec::new();
        for mut row in self.pool.read("list links", SQL, args![states, limit]).await? {
            let score = row.int_or_null(4)?.and_then(|score| u8::try_from(score).ok());
            let link = Link { state: LinkState::of(row.int(2)?)?, rule: row.text_or_null(3)?, score };
            links.push((row.int(0)?, self.text(row.int(1)?).await?, link));
        }
        Ok(links)
    }

    pub(super) async fn candidates(
        &self,
        target: &str,
        wanted: &[(RecordId, Vec<String>)],
    ) -> Result<BTreeMap<RecordId, Vec<Candidate>>> {
        // Of two that are both on their way to the target the later waits for the earlier, so that it does not matter how they
        // are batched.
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
        for (record, fields) in wanted {
            for field in fields {
                lines.push((record, self.name(field).await?));
            }
        }
        let mut found: BTreeMap<RecordId, Vec<Candidate>> = BTreeMap::new();
        if lines.is_empty() {
            return Ok(found);
        }
        let target = self.name(target).await?;
        for row in self.pool.read("look for candidates", SQL, args![rows(lines)?, target, TOLD]).await? {
            let (record, candidate, field) = (row.int(0)?, row.int(1)?, self.text(row.int(2)?).await?);
            let of = found.entry(record).or_default();
            match of.last_mut() {
                Some(last) if last.record == candidate => last.fields.push(field),
                _ => of.push(Candidate { record: candidate, fields: vec![field] }),
            }
        }
        Ok(found)
    }

    pub(super) async fn scores(&self, pairs: &[(RecordId, RecordId)]) -> Result<Vec<u8>> {
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

    async fn comparable(&self, found: Vec<super::sql::Row>) -> Result<HashMap<RecordId, Comparable>> {
        let mut values: HashMap<RecordId, Comparable> = HashMap::new();
        for mut row in found {
            let field = self.text(row.int(1)?).await?;
            values.entry(row.int(0)?).or_default().entry(field).or_default().insert(row.text(2)?);
        }
        Ok(values)
    }

    pub(super) async fn set_links(
        &self,
        record: RecordId,
        systems: &[String],
        state: LinkState,
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

    pub(super) async fn set_apart(
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

    pub(super) async fn join(
        &self,
        record: RecordId,
        into: RecordId,
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<bool> {
        // What the record had at systems where the other has nothing goes to the other; what is left stays where it is, and
        // references to it mean the other.
        const GIVE_WAY: &str = "DELETE FROM replica WHERE record = $2 AND (gone_at IS NOT NULL OR fields IS NULL) \
            AND system IN (SELECT r.system FROM replica r WHERE r.record = $1 AND r.gone_at IS NULL AND r.fields IS NOT NULL)";
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
        // As whoever writes replicas, so that nobody parks on what arrives with this.
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

    pub(super) async fn split(
        &self,
        record: RecordId,
        system: &str,
        key: &str,
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<Option<RecordId>> {
        const FIND: &str = "SELECT CASE WHEN gone_at IS NULL AND fields IS NOT NULL THEN 1 ELSE 0 END FROM replica \
            WHERE record = $1 AND system = $2";
        const CREATE: &str = "INSERT INTO record (entity, key, system) SELECT entity, $2, CASE WHEN system = 0 THEN 0 ELSE $3 END \
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
            other = made.first().map_or(Err(StoreError::Stale("record")), |row| row.int(0))?;
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

const COMPARABLE: &str = "SELECT DISTINCT m.record, m.field, m.value FROM json_each($1) j CROSS JOIN match_value m \
    WHERE m.record = CAST(j.value->>0 AS BIGINT)";

/// Match values of records, inside a transaction; `names` has the fields that count.
pub(super) async fn comparable(
    tx: &mut Tx,
    records: &BTreeSet<RecordId>,
    names: &BTreeMap<i64, &str>,
) -> Result<HashMap<RecordId, Comparable>> {
    let mut values: HashMap<RecordId, Comparable> = HashMap::new();
    let records = rows(records.iter().map(|record| [record]))?;
    for mut row in tx.rows("read match values", COMPARABLE, args![records]).await? {
        if let Some(field) = names.get(&row.int(1)?) {
            values.entry(row.int(0)?).or_default().entry((*field).to_owned()).or_default().insert(row.text(2)?);
        }
    }
    Ok(values)
}

/// Remembers what tied objects of a system to records: (record, field, score).
pub(super) async fn remember(tx: &mut Tx, system: i64, ties: &[(RecordId, String, u8)]) -> Result<()> {
    const SQL: &str = "INSERT INTO link (record, system, state, rule, score) \
        SELECT CAST(j.value->>0 AS BIGINT), $2, 0, j.value->>1, CAST(j.value->>2 AS BIGINT) FROM json_each($1) j WHERE true \
        ON CONFLICT (record, system) DO UPDATE SET rule = excluded.rule, score = excluded.score";
    if ties.is_empty() {
        return Ok(());
    }
    tx.execute("remember links", SQL, args![rows(ties)?, system]).await.map(drop)
}

/// Two records of one entity, neither of them another's alias.
async fn both_stand(tx: &mut Tx, one: RecordId, other: RecordId) -> Result<bool> {
    const SQL: Sql = Sql {
        sqlite: "SELECT entity FROM record WHERE id IN ($1, $2) AND same IS NULL",
        postgres: "SELECT entity::bigint FROM record WHERE id IN ($1, $2) AND same IS NULL ORDER BY id FOR UPDATE",
    };
    let found = tx.rows("find records", SQL, args![one, other]).await?;
    Ok(match found.as_slice() {
        [first, second] => first.int(0)? == second.int(0)?,
        _ => false,
    })
}

/// What a record has at these systems becomes another's, to be compared anew when it is next read.
async fn move_objects(tx: &mut Tx, from: RecordId, to: RecordId, systems: &str) -> Result<()> {
    macro_rules! moved {
        ($table:literal, $more:literal) => {
            concat!(
                "UPDATE ",
                $table,
                " SET record = $3",
                $more,
                " WHERE record = $2 AND system IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j)"
            )
        };
    }
    for sql in [moved!("replica", ", print = NULL"), moved!("child", ""), moved!("match_value", "")] {
        tx.execute("move objects", sql, args![systems, from, to]).await?;
    }
    Ok(())
}

async fn keep_apart(tx: &mut Tx, record: RecordId, others: &[RecordId]) -> Result<()> {
    const SQL: &str = "INSERT INTO apart (one, other) \
        SELECT CAST(j.value->>0 AS BIGINT), CAST(j.value->>1 AS BIGINT) FROM json_each($1) j WHERE true \
        ON CONFLICT DO NOTHING";
    let pairs = rows(others.iter().map(|other| (record.min(*other), record.max(*other))))?;
    tx.execute("keep records apart", SQL, args![pairs]).await.map(drop)
}

/// Queues what waits for either of two records that are one now, or for a part of it.
async fn wake_for(tx: &mut Tx, one: RecordId, other: RecordId, now: DateTime<Utc>) -> Result<()> {
    const SQL: &str = "UPDATE job SET state = 0, due = $3, attempts = 0, cause = NULL, error = NULL, error_class = NULL, \
            updated_at = $3 \
        WHERE state = 2 AND cause IN ( \
            SELECT $4 || n.text || '=' || k.key FROM record k JOIN name n ON n.id = k.entity \
            WHERE k.id IN ($1, $2) AND k.key IS NOT NULL \
            UNION SELECT $4 || n.text || '=' || s.text || '/' || k.key FROM record k JOIN name n ON n.id = k.entity \
            JOIN name s ON s.id = k.system WHERE k.id IN ($1, $2) AND k.key IS NOT NULL \
            UNION SELECT $4 || n.text || '=' || s.text || '/' || k.key FROM record k JOIN name n ON n.id = k.entity \
            JOIN replica p ON p.record = k.id JOIN name s ON s.id = p.system WHERE k.id IN ($1, $2) AND k.key IS NOT NULL \
            UNION SELECT $4 || n.text || '=' || s.text || '#' || p.id FROM replica p JOIN name n ON n.id = p.entity \
            JOIN name s ON s.id = p.system WHERE p.record IN ($1, $2) \
            UNION SELECT $4 || n.text || '=' || c.key FROM child c JOIN name n ON n.id = c.list WHERE c.record IN ($1, $2))";
    tx.execute("wake parked jobs", SQL, args![one, other, micros(now), "missing:"]).await.map(drop)
}

/// What was to be done about a record that is another now, and what was known of it alone.
async fn forget_own(tx: &mut Tx, record: RecordId, now: DateTime<Utc>) -> Result<()> {
    const DISCARD: &str = "UPDATE job SET state = 5, updated_at = $2 WHERE record = $1 AND state < 4 AND state <> 1";
    const FORGET: [&str; 4] = [
        "DELETE FROM link WHERE record = $1",
        "DELETE FROM conflict WHERE record = $1",
        "DELETE FROM difference WHERE record = $1",
        "DELETE FROM merged WHERE record = $1",
    ];
    tx.execute("discard an alias' jobs", DISCARD, args![record, micros(now)]).await?;
    for sql in FORGET {
        tx.execute("forget an alias", sql, args![record]).await?;
    }
    Ok(())
}
