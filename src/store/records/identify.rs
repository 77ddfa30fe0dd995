//! Finds the record of a pulled row: by its id, by match fields, by its key; otherwise a new record.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Identified, Unidentified, create_records};
use crate::store::{
    RecordId, Result, StoreError,
    links::{self, Comparable},
    replicas::make_aliases,
    sql::{Tx, args, rows},
};

/// The same; for an alias, the record that it is the same as.
const RESOLVED_RECORDS_OF_KEYS: &str = "SELECT j.key, coalesce(r.same, r.id) FROM json_each($1) j CROSS JOIN record r \
    WHERE r.entity = $2 AND r.key = j.value->>0 AND r.system = CAST(j.value->>1 AS BIGINT)";

/// Return the records that keys were found to mean; for one that has become an alias since, the record that it is
/// the same as.
async fn taken_for(tx: &mut Tx, unidentified: &[Unidentified], taken: &[usize]) -> Result<HashMap<usize, RecordId>> {
    const SQL: &str = "SELECT j.key, coalesce(r.same, r.id) FROM json_each($1) j CROSS JOIN record r \
        WHERE r.id = CAST(j.value->>0 AS BIGINT)";
    let mut found = HashMap::with_capacity(taken.len());
    if taken.is_empty() {
        return Ok(found);
    }
    let records = rows(taken.iter().map(|at| [unidentified[*at].taken_for]))?;
    for row in tx.rows("find records", SQL, args![records]).await? {
        found.insert(taken[row.small::<usize>(0)?], row.id(1)?);
    }
    Ok(found)
}

/// What rows are by keys that a system shows in its own spelling.
#[derive(Default)]
struct Shown {
    found: HashMap<usize, RecordId>,
    /// Rows that may be one of several records.
    torn: BTreeSet<usize>,
}

pub(super) struct Place<'a> {
    pub system: i64,
    pub entity: i64,
    /// Match fields that never decide by themselves.
    pub weak: &'a [String],
    /// The match field of keys as this system shows them.
    pub shown: &'a str,
    /// Systems that show keys in their own spelling, by the match field that stands for these keys.
    pub spellers: BTreeMap<&'a str, i64>,
    /// For each row, the system that gave its key.
    pub numbering: Vec<i64>,
}

impl Place<'_> {
    /// Decide by the bound id, then by match fields, then by key; otherwise create a new record.
    pub(super) async fn identify(
        &self,
        tx: &mut Tx,
        unidentified: &[Unidentified],
        fields: &BTreeMap<&str, i64>,
    ) -> Result<Vec<Identified>> {
        let bound = self.bound(tx, unidentified).await?;
        let open: Vec<usize> = (0..unidentified.len()).filter(|at| !matches!(bound.get(at), Some((_, true)))).collect();
        let mut found = self.matched(tx, unidentified, fields, &open).await?;
        let rest: Vec<usize> = open.iter().copied().filter(|at| !found.contains_key(at)).collect();
        let shown = self.shown_as(tx, unidentified, fields, &rest).await?;
        let torn = shown.torn;
        found.extend(shown.found);
        let unmatched: Vec<usize> = open.iter().copied().filter(|at| !found.contains_key(at)).collect();
        let placeholders: Vec<(usize, RecordId)> =
            unmatched.iter().filter_map(|at| bound.get(at).map(|(record, _)| (*at, *record))).collect();
        let (taken, own): (Vec<usize>, Vec<usize>) =
            unmatched.iter().partition(|at| unidentified[**at].taken_for.is_some());
        found.extend(taken_for(tx, unidentified, &taken).await?);
        let (unsure, own): (Vec<usize>, Vec<usize>) =
            own.into_iter().partition(|at| unidentified[*at].unsure || torn.contains(at));
        found.extend(self.unsure(tx, unidentified, &unsure, &bound).await?);
        self.evict(tx, unidentified, &own).await?;
        let placeholders: Vec<_> = placeholders.into_iter().filter(|(at, _)| own.contains(at)).collect();
        self.adopt(tx, unidentified, &placeholders).await?;
        if !own.is_empty() {
            let keys = rows(own.iter().map(|at| (&unidentified[*at].key, self.numbering[*at])))?;
            create_records(tx, self.entity, &keys).await?;
            for row in tx.rows("find records", RESOLVED_RECORDS_OF_KEYS, args![keys, self.entity]).await? {
                found.insert(own[row.small::<usize>(0)?], row.id(1)?);
            }
        }
        let mut aliases = Vec::new();
        let mut identified = Vec::with_capacity(unidentified.len());
        for at in 0..unidentified.len() {
            let record = match (bound.get(&at), found.get(&at)) {
                (Some((record, true)), _) | (None, Some(record)) => *record,
                (Some((placeholder, false)), Some(record)) => {
                    if placeholder != record {
                        aliases.push((*placeholder, *record));
                    }
                    *record
                }
                _ => return Err(StoreError::Stale("record")),
            };
            identified.push(Identified { record, taken_by: None });
        }
        self.mark_duplicates(tx, unidentified, &mut identified).await?;
        self.alias(tx, &aliases, unidentified, &identified).await?;
        self.number(tx, unidentified, &identified).await?;
        Ok(identified)
    }

    /// Return records of their own for rows whose number other objects of the system have as well: a placeholder,
    /// or a new record.
    async fn unsure(
        &self,
        tx: &mut Tx,
        unidentified: &[Unidentified],
        unsure: &[usize],
        bound: &HashMap<usize, (RecordId, bool)>,
    ) -> Result<HashMap<usize, RecordId>> {
        const CREATE: &str = "INSERT INTO record (entity) VALUES ($1) RETURNING id";
        // A number of the record's own stands in the place of the system's.
        const NAME: &str = "UPDATE record SET key = j.value->>1, system = -record.id FROM json_each($1) j \
            WHERE record.id = CAST(j.value->>0 AS BIGINT)";
        let mut made = HashMap::with_capacity(unsure.len());
        for at in unsure {
            let record = match bound.get(at) {
                Some((placeholder, _)) => *placeholder,
                None => {
                    let row = tx.rows("create a record", CREATE, args![self.entity]).await?;
                    row.first().map_or(Err(StoreError::Stale("record")), |row| row.id(0))?
                }
            };
            made.insert(*at, record);
        }
        if !made.is_empty() {
            let names = rows(made.iter().map(|(at, record)| (record, &unidentified[*at].key)))?;
            tx.execute("name records", NAME, args![names]).await?;
        }
        Ok(made)
    }

    /// Records that bear a number which turned out to be another object's get the numbering of a system that has
    /// them.
    async fn evict(&self, tx: &mut Tx, unidentified: &[Unidentified], own: &[usize]) -> Result<()> {
        const SQL: &str = "WITH j AS MATERIALIZED (SELECT CAST(e.value->>0 AS BIGINT) AS record, \
                (SELECT min(r.system) FROM replica r \
                    WHERE r.record = CAST(e.value->>0 AS BIGINT) AND r.gone_at IS NULL \
                    AND r.fields IS NOT NULL) AS system FROM json_each($1) e) \
            UPDATE record SET system = j.system FROM j WHERE record.id = j.record AND j.system IS NOT NULL \
              AND NOT EXISTS (SELECT 1 FROM record o \
                  WHERE o.entity = $2 AND o.key = record.key AND o.system = j.system)";
        let evicted = rows(own.iter().filter_map(|at| unidentified[*at].evicts).map(|record| [record]))?;
        if own.iter().all(|at| unidentified[*at].evicts.is_none()) {
            return Ok(());
        }
        tx.execute("number records anew", SQL, args![evicted, self.entity]).await.map(drop)
    }

    /// If this system has certainly given a record its number, the record is numbered by this system, even if
    /// another system was first seen to have it.
    async fn number(&self, tx: &mut Tx, unidentified: &[Unidentified], identified: &[Identified]) -> Result<()> {
        const SQL: &str = "UPDATE record SET system = $2 FROM json_each($1) j \
            WHERE record.id = CAST(j.value->>0 AS BIGINT) AND record.key = j.value->>1 AND record.system <> $2 \
              AND NOT EXISTS (SELECT 1 FROM record o WHERE o.entity = $3 AND o.key = j.value->>1 AND o.system = $2)";
        let mut issued = BTreeMap::new();
        for (row, is) in unidentified.iter().zip(identified).filter(|(row, is)| row.issued && is.taken_by.is_none()) {
            issued.entry(is.record).or_insert(&row.key);
        }
        if issued.is_empty() {
            return Ok(());
        }
        tx.execute("number records", SQL, args![rows(issued)?, self.system, self.entity]).await.map(drop)
    }

    /// Position to the record that the row's id is bound to, and whether that record has its key already (if not,
    /// it is a placeholder).
    async fn bound(&self, tx: &mut Tx, unidentified: &[Unidentified]) -> Result<HashMap<usize, (RecordId, bool)>> {
        const SQL: &str = "SELECT j.key, k.id, CASE WHEN k.key IS NULL THEN 0 ELSE 1 END \
            FROM json_each($1) j CROSS JOIN replica r CROSS JOIN record k \
            WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>0 AND k.id = r.record";
        let ids = rows(unidentified.iter().map(|row| [&row.id]))?;
        let mut bound = HashMap::new();
        for row in tx.rows("find bound ids", SQL, args![ids, self.system, self.entity]).await? {
            bound.insert(row.small(0)?, (row.id(1)?, row.int(2)? == 1));
        }
        Ok(bound)
    }

    /// Find records that share a match value with a row. The first field that finds any record decides: the row is
    /// the record that it finds, if that is the only one, has no live replica at this system yet and is no other
    /// row's of the page. Store what ties them, and how far they agree.
    async fn matched(
        &self,
        tx: &mut Tx,
        unidentified: &[Unidentified],
        fields: &BTreeMap<&str, i64>,
        open: &[usize],
    ) -> Result<HashMap<usize, RecordId>> {
        const SQL: &str = "SELECT \
                CAST(f.place AS BIGINT), CAST(f.rank AS BIGINT), min(f.record), max(f.record), min(f.free) FROM ( \
                SELECT j.value->>0 AS place, j.value->>1 AS rank, k.id AS record, \
                    CASE WHEN EXISTS (SELECT 1 FROM replica r WHERE r.record = k.id AND r.system = $2 \
                        AND r.gone_at IS NULL AND r.fields IS NOT NULL) THEN 0 ELSE 1 END AS free \
                FROM json_each($1) j CROSS JOIN match_value m CROSS JOIN record a CROSS JOIN record k \
                WHERE m.entity = $3 AND m.field = CAST(j.value->>2 AS BIGINT) AND m.value = j.value->>3 \
                    AND a.id = m.record AND k.id = coalesce(a.same, a.id)) f \
            GROUP BY f.place, f.rank ORDER BY 1, 2";
        let mut values = Vec::new();
        for at in open {
            // Several values of one field count as one.
            let mut rank = 0;
            for (place, (field, value)) in unidentified[*at].matches.iter().enumerate() {
                if place > 0 && unidentified[*at].matches[place - 1].0 != *field {
                    rank = place;
                }
                if !self.weak.contains(field) && !field.starts_with(links::KEY_AT) {
                    values.push((at, rank, fields.get(field.as_str()).copied().unwrap_or_default(), value));
                }
            }
        }
        let mut found: HashMap<usize, RecordId> = HashMap::new();
        if values.is_empty() {
            return Ok(found);
        }
        let (mut decided, mut given, mut ties) = (HashSet::new(), BTreeSet::new(), Vec::new());
        for row in tx.rows("match records", SQL, args![rows(values)?, self.system, self.entity]).await? {
            let (at, rank, record) = (row.small::<usize>(0)?, row.small::<usize>(1)?, row.id::<RecordId>(2)?);
            let is_only_one = record == row.id(3)? && row.int(4)? == 1;
            if decided.insert(at) && is_only_one && given.insert(record) {
                found.insert(at, record);
                ties.push((at, rank, record));
            }
        }
        let names = fields.iter().map(|(name, number)| (*number, *name)).collect();
        let known = links::comparable(tx, &given, &names).await?;
        let ties: Vec<_> = ties
            .into_iter()
            .map(|(at, rank, record)| {
                let mut own = Comparable::new();
                for (field, value) in &unidentified[at].matches {
                    own.entry(field.clone()).or_default().insert(value.clone());
                }
                let score = links::score(&own, |field| known.get(&record)?.get(field));
                (record, unidentified[at].matches[rank].0.clone(), score)
            })
            .collect();
        links::remember(tx, self.system, &ties).await?;
        Ok(found)
    }

    /// Find records by the keys that a system shows in its own spelling. A row of that system is the other systems'
    /// record whose key would become what the row shows, if there is only one such record; if there are several, it
    /// is none of them. A row of another system is the record that only this system has under the spelling that the
    /// row's key would become, and gives the record its key; if several rows of a page would get the same spelling,
    /// the record is none of theirs.
    async fn shown_as(
        &self,
        tx: &mut Tx,
        unidentified: &[Unidentified],
        fields: &BTreeMap<&str, i64>,
        open: &[usize],
    ) -> Result<Shown> {
        const OTHERS: &str = "SELECT CAST(j.value->>0 AS BIGINT), min(k.id), max(k.id) \
            FROM json_each($1) j CROSS JOIN match_value m CROSS JOIN record a CROSS JOIN record k \
            WHERE m.entity = $2 AND m.field = CAST(j.value->>1 AS BIGINT) AND m.value = j.value->>2 \
                AND a.id = m.record \
                AND k.id = coalesce(a.same, a.id) AND m.system <> $3 \
                AND NOT EXISTS (SELECT 1 FROM replica r WHERE r.record = k.id AND r.system = $3 \
                    AND r.gone_at IS NULL AND r.fields IS NOT NULL) \
            GROUP BY 1 ORDER BY 1";
        const THERE: &str = "SELECT CAST(j.value->>0 AS BIGINT), min(k.id), max(k.id) \
            FROM json_each($1) j CROSS JOIN match_value m CROSS JOIN record a CROSS JOIN record k \
            WHERE m.entity = $2 AND m.field = CAST(j.value->>1 AS BIGINT) AND m.value = j.value->>2 \
                AND a.id = m.record \
                AND k.id = coalesce(a.same, a.id) AND m.system = CAST(j.value->>3 AS BIGINT) AND k.system >= 0 \
                AND EXISTS (SELECT 1 FROM replica r WHERE r.record = k.id AND r.system = m.system \
                    AND r.gone_at IS NULL AND r.fields IS NOT NULL) \
                AND NOT EXISTS (SELECT 1 FROM replica r WHERE r.record = k.id AND r.gone_at IS NULL \
                    AND r.fields IS NOT NULL \
                    AND r.system NOT IN (SELECT CAST(e.value->>0 AS BIGINT) FROM json_each($3) e)) \
            GROUP BY 1 ORDER BY 1";
        const ASIDE: &str = "UPDATE record SET system = -record.id FROM json_each($1) j \
            WHERE record.id = CAST(j.value->>0 AS BIGINT) AND record.system = 0";
        let mut shown = Shown::default();
        let (mut here, mut there) = (Vec::new(), Vec::new());
        let mut rows_of: BTreeMap<(i64, &str), Vec<usize>> = BTreeMap::new();
        for at in open {
            for (name, value) in unidentified[*at].matches.iter().filter(|(name, _)| name.starts_with(links::KEY_AT)) {
                let field = fields.get(name.as_str()).copied().unwrap_or_default();
                if name == self.shown {
                    here.push((*at, field, value));
                } else {
                    rows_of.entry((field, value)).or_default().push(*at);
                    there.push((*at, field, value, self.spellers.get(name.as_str()).copied().unwrap_or_default()));
                }
            }
        }
        if !here.is_empty() {
            for row in tx.rows("find keys", OTHERS, args![rows(here)?, self.entity, self.system]).await? {
                let (at, record) = (row.small::<usize>(0)?, row.id::<RecordId>(1)?);
                if record == row.id(2)? {
                    shown.found.insert(at, record);
                } else {
                    shown.torn.insert(at);
                }
            }
        }
        if there.is_empty() {
            return Ok(shown);
        }
        let contested: BTreeSet<usize> = rows_of.into_values().filter(|rows| rows.len() > 1).flatten().collect();
        let (mut aside, mut named) = (Vec::new(), Vec::new());
        let spellers = rows(self.spellers.values().map(|system| [system]))?;
        for row in tx.rows("find keys as shown", THERE, args![rows(there)?, self.entity, spellers]).await? {
            let (at, record) = (row.small::<usize>(0)?, row.id::<RecordId>(1)?);
            if contested.contains(&at) {
                aside.push([record]);
            } else if record == row.id(2)? {
                shown.found.insert(at, record);
                named.push((at, record));
            }
        }
        if !aside.is_empty() {
            tx.execute("set records aside", ASIDE, args![rows(aside)?]).await?;
        }
        self.adopt(tx, unidentified, &named).await?;
        Ok(shown)
    }

    /// Give placeholders their key if no other record has it.
    async fn adopt(
        &self,
        tx: &mut Tx,
        unidentified: &[Unidentified],
        placeholders: &[(usize, RecordId)],
    ) -> Result<()> {
        const SQL: &str = "UPDATE record SET key = j.value->>1, system = CAST(j.value->>2 AS BIGINT) \
            FROM json_each($1) j \
            WHERE record.id = CAST(j.value->>0 AS BIGINT) \
              AND NOT EXISTS (SELECT 1 FROM record o WHERE o.entity = $2 AND o.key = j.value->>1 \
                  AND o.system = CAST(j.value->>2 AS BIGINT))";
        let mut first: BTreeMap<(&str, i64), RecordId> = BTreeMap::new();
        for (at, record) in placeholders {
            first.entry((&unidentified[*at].key, self.numbering[*at])).or_insert(*record);
        }
        if first.is_empty() {
            return Ok(());
        }
        let pairs = rows(first.into_iter().map(|((key, by), record)| (record, key, by)))?;
        tx.execute("adopt placeholders", SQL, args![pairs, self.entity]).await.map(drop)
    }

    /// Mark rows whose record has another live object at this system: two rows of one key cannot both be it.
    async fn mark_duplicates(
        &self,
        tx: &mut Tx,
        unidentified: &[Unidentified],
        identified: &mut [Identified],
    ) -> Result<()> {
        const SQL: &str = "SELECT j.key, r.id FROM json_each($1) j CROSS JOIN replica r \
            WHERE r.record = CAST(j.value->>0 AS BIGINT) AND r.system = $2 AND r.id <> j.value->>1 \
              AND r.gone_at IS NULL AND r.fields IS NOT NULL";
        let pairs = rows(identified.iter().zip(unidentified).map(|(is, row)| (is.record, &row.id)))?;
        for mut row in tx.rows("find duplicates", SQL, args![pairs, self.system]).await? {
            identified[row.small::<usize>(0)?].taken_by = Some(row.text(1)?);
        }
        let mut first: HashMap<RecordId, &str> = HashMap::new();
        for (row, Unidentified { id, .. }) in
            identified.iter_mut().zip(unidentified).filter(|(row, _)| row.taken_by.is_none())
        {
            let holder = *first.entry(row.record).or_insert(id);
            if holder != id {
                row.taken_by = Some(holder.to_owned());
            }
        }
        Ok(())
    }

    /// Turn a placeholder that is a known record into an alias. From now on, its id is bound to the known record;
    /// its own number stays valid for the references that hold it.
    async fn alias(
        &self,
        tx: &mut Tx,
        aliases: &[(RecordId, RecordId)],
        unidentified: &[Unidentified],
        identified: &[Identified],
    ) -> Result<()> {
        const GIVE_WAY: &str = "DELETE FROM replica WHERE system = $2 AND (gone_at IS NOT NULL OR fields IS NULL) \
            AND record IN (SELECT CAST(j.value->>1 AS BIGINT) FROM json_each($1) j)";
        const REBIND: &str = "WITH j AS MATERIALIZED (SELECT j.value, r.number FROM json_each($1) j \
            CROSS JOIN replica r \
                WHERE r.record = CAST(j.value->>0 AS BIGINT) AND r.system = $2) \
            UPDATE replica SET record = CAST(j.value->>1 AS BIGINT) FROM j WHERE replica.number = j.number";
        let free: HashSet<RecordId> = identified
            .iter()
            .zip(unidentified)
            .filter(|(row, _)| row.taken_by.is_none())
            .map(|(row, _)| row.record)
            .collect();
        let aliases: Vec<_> = aliases.iter().copied().filter(|(_, record)| free.contains(record)).collect();
        if aliases.is_empty() {
            return Ok(());
        }
        let pairs = rows(&aliases)?;
        make_aliases(tx, &aliases).await?;
        tx.execute("alias placeholders", GIVE_WAY, args![pairs.as_str(), self.system]).await?;
        tx.execute("alias placeholders", REBIND, args![pairs, self.system]).await.map(drop)
    }
}
