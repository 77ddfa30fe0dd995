//! Writes replicas, for pages and deliveries alike.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::ReplicaWrite;
use crate::{
    mapping::Children,
    store::{
        RecordId, Result, StoreError,
        database::Database,
        sql::{Sql, Tx, args, by_cause, plain, range, rows},
        values::{fields_or_null, fingerprint_text, json, micros},
    },
    wait_reason::REVIEW,
};

/// Who writes replicas. A page knows only what it read; a delivery knows what it wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Writer {
    Page,
    Delivery,
}

/// The result of writing replicas.
#[derive(Debug, Default)]
pub(in crate::store) struct Kept {
    /// The replicas' numbers, in the order of the writes.
    pub numbers: Vec<u32>,
    /// (entity and list, key) of children that came, went or have another key now.
    pub children: BTreeSet<(String, String)>,
}

/// Replicas of one system and entity, inside a transaction.
pub(in crate::store) struct Replicas<'a> {
    pub database: &'a Database,
    pub system: i64,
    pub entity: i64,
    pub entity_name: &'a str,
    pub now: DateTime<Utc>,
}

impl Replicas<'_> {
    /// Look up the names that writing needs. Call it before the transaction begins, since that may hold the only
    /// writing connection.
    pub(in crate::store) async fn prepare(
        &self,
        writes: &[&ReplicaWrite],
        children: &[(RecordId, Children)],
    ) -> Result<()> {
        for list in children.iter().flat_map(|(_, children)| children.keys()) {
            self.database.name(&self.list_name(list)).await?;
        }
        for write in writes {
            for list in write.child_ids.iter().flat_map(BTreeMap::keys) {
                self.database.name(&self.list_name(list)).await?;
            }
            for (field, _) in &write.matches {
                self.database.name(field).await?;
            }
        }
        Ok(())
    }

    /// A list's name in the dictionary: `product.variants`.
    pub(in crate::store) fn list_name(&self, list: &str) -> String {
        format!("{}.{list}", self.entity_name)
    }

    /// Insert or replace replicas with their children and match values. Of two writes of one id, the later counts.
    pub(in crate::store) async fn write(&self, tx: &mut Tx, writes: &[&ReplicaWrite], writer: Writer) -> Result<Kept> {
        let last: HashMap<&str, usize> = writes.iter().enumerate().map(|(at, write)| (write.id.as_str(), at)).collect();
        let unique: Vec<&ReplicaWrite> = writes
            .iter()
            .enumerate()
            .filter(|(at, write)| last.get(write.id.as_str()) == Some(at))
            .map(|(_, write)| *write)
            .collect();
        if unique.is_empty() {
            return Ok(Kept::default());
        }
        let numbers = self.write_rows(tx, &unique, writer).await?;
        let shown: Vec<_> = unique.iter().filter_map(|write| Some((write.record, write.child_ids.as_ref()?))).collect();
        let gone: Vec<_> = unique.iter().filter(|write| write.gone).map(|write| write.record).collect();
        let children = self.write_children(tx, &shown, &gone).await?;
        // A delivery does not know what its target makes of the values.
        if writer == Writer::Page {
            self.write_matches(tx, &unique).await?;
        }
        let numbers = writes
            .iter()
            .map(|write| numbers.get(&*plain(&write.id)).copied().ok_or(StoreError::Stale("replica")))
            .collect::<Result<_>>()?;
        Ok(Kept { numbers, children })
    }

    async fn write_rows(&self, tx: &mut Tx, writes: &[&ReplicaWrite], writer: Writer) -> Result<HashMap<String, u32>> {
        // A record has one replica at a system. A replica that is gone gives way to its successor; a delivery
        // replaces any other, since it knows what it wrote.
        const GIVE_WAY: &str = "DELETE FROM replica WHERE number IN (\
            SELECT r.number FROM json_each($1) j CROSS JOIN replica r \
            WHERE r.record = CAST(j.value->>1 AS BIGINT) AND r.system = $2 AND r.id <> j.value->>0 \
              AND ($3 = 1 OR r.gone_at IS NOT NULL OR r.fields IS NULL))";
        const UPDATE: &str = "WITH j AS MATERIALIZED (SELECT j.value, r.number FROM json_each($1) j \
            CROSS JOIN replica r \
                WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>0) \
            UPDATE replica SET record = CAST(j.value->>1 AS BIGINT), print = j.value->>2, \
                gone_at = CAST(j.value->>3 AS BIGINT), version = j.value->>4, fields = j.value->>5, \
                    sent = j.value->>6, written = CASE WHEN $4 > 0 THEN $4 ELSE written END \
            FROM j WHERE replica.number = j.number RETURNING replica.id, replica.number";
        const INSERT: &str = "INSERT INTO replica (system, entity, record, id, print, gone_at, version, fields, sent, \
            written) \
            SELECT $2, $3, CAST(j.value->>1 AS BIGINT), j.value->>0, j.value->>2, CAST(j.value->>3 AS BIGINT), \
                j.value->>4, j.value->>5, j.value->>6, $4 FROM json_each($1) j WHERE true RETURNING id, number";
        let mut lines = Vec::with_capacity(writes.len());
        for write in writes {
            lines.push((
                &write.id,
                write.record,
                write.fingerprint.as_ref().map(fingerprint_text),
                write.gone.then(|| micros(self.now)),
                &write.version,
                json(&write.fields)?,
                fields_or_null(&write.sent)?,
            ));
        }
        let all = rows(&lines)?;
        let mut written = 0;
        if writer == Writer::Delivery {
            written = self.database.count_delivery(tx).await?;
            self.take_over(tx, &all).await?;
        }
        let forced = i64::from(writer == Writer::Delivery);
        tx.execute("replace replicas", GIVE_WAY, args![all.as_str(), self.system, forced]).await?;
        let mut numbers: HashMap<String, u32> = HashMap::with_capacity(writes.len());
        for mut row in tx.rows("update replicas", UPDATE, args![all, self.system, self.entity, written]).await? {
            numbers.insert(row.text(0)?, row.small(1)?);
        }
        let new: Vec<_> = lines.iter().filter(|line| !numbers.contains_key(&*plain(line.0))).collect();
        if !new.is_empty() {
            let new = rows(new)?;
            for mut row in tx.rows("insert replicas", INSERT, args![new, self.system, self.entity, written]).await? {
                numbers.insert(row.text(0)?, row.small(1)?);
            }
        }
        Ok(numbers)
    }

    /// Objects that we wrote may have been pulled, or referred to, before their delivery was committed. Then they
    /// have a record of their own. If that record has no other replica, it becomes an alias of the delivered
    /// record. Its jobs are discarded, since they would send the object back to where it came from.
    async fn take_over(&self, tx: &mut Tx, lines: &str) -> Result<()> {
        const BOUND: &str = "SELECT r.record, CAST(j.value->>1 AS BIGINT) FROM json_each($1) j CROSS JOIN replica r \
            WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>0 AND r.record <> CAST(j.value->>1 AS BIGINT) \
              AND NOT EXISTS (SELECT 1 FROM replica o WHERE o.record = r.record AND o.system <> $2)";
        const DISCARD: &str = "UPDATE job SET state = 5, updated_at = $2 WHERE state < 4 AND state <> 1 \
            AND record IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j)";
        const MOVE: &str = "UPDATE child SET record = CAST(j.value->>1 AS BIGINT) FROM json_each($1) j \
            WHERE child.record = CAST(j.value->>0 AS BIGINT) AND child.system = $2";
        // Jobs of records of the same number that wait for a person to say whether they are this object.
        const LOOK_AGAIN: Sql = by_cause!(
            "UPDATE job SET state = 0, due = $2, attempts = 0, cause = NULL, error = NULL, error_class = NULL, \
                updated_at = $2 WHERE target = $3 AND state = 2 AND ",
            "$4",
            "$5",
            " AND record IN (SELECT k.id FROM json_each($1) j CROSS JOIN record z CROSS JOIN record k \
                WHERE z.id = CAST(j.value->>0 AS BIGINT) AND k.entity = z.entity AND k.key = z.key)"
        );
        let bound = tx.rows("find records to alias", BOUND, args![lines, self.system, self.entity]).await?;
        if bound.is_empty() {
            return Ok(());
        }
        let pairs = bound.iter().map(|row| Ok((row.id(0)?, row.id(1)?))).collect::<Result<Vec<_>>>()?;
        let aliases = rows(&pairs)?;
        tx.execute("move an alias' children", MOVE, args![aliases.as_str(), self.system]).await?;
        tx.execute("discard an alias' jobs", DISCARD, args![aliases.as_str(), micros(self.now)]).await?;
        let (from, to) = range(REVIEW);
        let args = args![aliases.as_str(), micros(self.now), self.system, from, to];
        tx.execute("wake parked jobs", LOOK_AGAIN, args).await?;
        make_aliases(tx, &pairs).await
    }

    async fn write_matches(&self, tx: &mut Tx, writes: &[&ReplicaWrite]) -> Result<()> {
        const FORGET: &str = "DELETE FROM match_value WHERE system = $2 \
            AND record IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j)";
        const INSERT: &str = "INSERT INTO match_value (entity, field, value, record, system) \
            SELECT $3, CAST(j.value->>0 AS BIGINT), j.value->>1, CAST(j.value->>2 AS BIGINT), $2 \
            FROM json_each($1) j WHERE true ON CONFLICT DO NOTHING";
        const ANYBODY: &str = "SELECT 1 FROM match_value WHERE entity = $1 LIMIT 1";
        let mut lines = Vec::new();
        for write in writes {
            for (field, value) in &write.matches {
                lines.push((self.database.name(field).await?, value, write.record));
            }
        }
        if lines.is_empty() && tx.rows("look for match values", ANYBODY, args![self.entity]).await?.is_empty() {
            return Ok(());
        }
        let records = rows(writes.iter().filter(|write| !write.gone).map(|write| [write.record]))?;
        tx.execute("forget match values", FORGET, args![records, self.system]).await?;
        if lines.is_empty() {
            return Ok(());
        }
        tx.execute("insert match values", INSERT, args![rows(lines)?, self.system, self.entity]).await.map(drop)
    }
}

/// Mark records as aliases: (old, new). The numbers of old ones stay valid in the references that hold them.
pub(in crate::store) async fn make_aliases(tx: &mut Tx, aliases: &[(RecordId, RecordId)]) -> Result<()> {
    const ALIAS: &str = "UPDATE record SET same = CAST(j.value->>1 AS BIGINT) FROM json_each($1) j \
        WHERE record.id = CAST(j.value->>0 AS BIGINT)";
    const CHAIN: &str = "UPDATE record SET same = CAST(j.value->>1 AS BIGINT) FROM json_each($1) j \
        WHERE record.same = CAST(j.value->>0 AS BIGINT)";
    let pairs = rows(aliases)?;
    tx.execute("alias records", ALIAS, args![pairs.as_str()]).await?;
    tx.execute("alias records", CHAIN, args![pairs]).await.map(drop)
}
