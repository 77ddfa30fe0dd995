//! What records are called: the key as systems know it, and as people tell records of one key apart.

use std::collections::BTreeMap;

use super::{
    Called, Namesake, RecordId, Result,
    database::Database,
    sql::{args, rows},
};

impl Database {
    pub(super) async fn record(&self, entity: &str, key: &str) -> Result<Option<RecordId>> {
        const SQL: &str = "SELECT r.id FROM record r JOIN name n ON n.id = r.entity \
            WHERE n.text = $1 AND r.key = $2 ORDER BY r.id LIMIT 1";
        let found = self.pool.read("find a record", SQL, args![entity, key]).await?;
        found.first().map(|row| row.int(0)).transpose()
    }

    pub(super) async fn namesakes(&self, entity: &str, keys: &[String]) -> Result<Vec<Vec<Namesake>>> {
        const SQL: &str = "SELECT j.key, coalesce(r.same, r.id), r.system, r.id FROM json_each($1) j CROSS JOIN record r \
            WHERE r.entity = $2 AND r.key = j.value->>0 ORDER BY r.id";
        let mut namesakes: Vec<Vec<Namesake>> = vec![Vec::new(); keys.len()];
        let (entity, wanted) = (self.name(entity).await?, rows(keys.iter().map(|key| [key]))?);
        for row in self.pool.read("find records of a key", SQL, args![wanted, entity]).await? {
            let (of, record) = (&mut namesakes[row.small::<usize>(0)?], row.int(1)?);
            let numbered_by = self.system(row.int(2)?).await?;
            if of.iter().all(|known| known.record != record) {
                of.push(Namesake { record, itself: row.int(3)?, numbered_by, unsure: row.int(2)? < 0 });
            }
        }
        Ok(namesakes)
    }

    pub(super) async fn keys(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, (String, String)>> {
        const SQL: &str = "SELECT r.id, k.entity, k.key, CASE WHEN k.system <> 0 AND EXISTS (SELECT 1 FROM record o \
                WHERE o.entity = k.entity AND o.key = k.key AND o.id <> k.id AND o.same IS NULL) THEN k.system ELSE 0 END, \
            CASE WHEN k.system < 0 THEN (SELECT min(n.text || '#' || p.id) FROM replica p JOIN name n ON n.id = p.system \
                WHERE p.record = k.id AND p.gone_at IS NULL) END \
            FROM json_each($1) j CROSS JOIN record r CROSS JOIN record k \
            WHERE r.id = CAST(j.value->>0 AS BIGINT) AND k.id = coalesce(r.same, r.id) AND k.key IS NOT NULL";
        let wanted = rows(records.iter().map(|record| [record]))?;
        let mut keys = BTreeMap::new();
        for mut row in self.pool.read("read keys", SQL, args![wanted]).await? {
            let (entity, key) = (self.text(row.int(1)?).await?, row.text(2)?);
            let name = match (self.system(row.int(3)?).await?, row.text_or_null(4)?) {
                (Some(system), _) => format!("{system}/{key}"),
                (None, Some(place)) => place,
                (None, None) => key,
            };
            keys.insert(row.int(0)?, (entity, name));
        }
        Ok(keys)
    }

    pub(super) async fn called(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Called>> {
        const SQL: &str = "SELECT r.id, k.entity, k.key, k.system FROM json_each($1) j \
            CROSS JOIN record r CROSS JOIN record k \
            WHERE r.id = CAST(j.value->>0 AS BIGINT) AND k.id = coalesce(r.same, r.id) AND k.key IS NOT NULL";
        let wanted = rows(records.iter().map(|record| [record]))?;
        let mut called = BTreeMap::new();
        for mut row in self.pool.read("read keys", SQL, args![wanted]).await? {
            let entity = self.text(row.int(1)?).await?;
            let (key, numbered_by) = (row.text(2)?, self.system(row.int(3)?).await?);
            called.insert(row.int(0)?, Called { entity, key, numbered_by });
        }
        Ok(called)
    }

    pub(super) async fn rivals(&self, target: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<RecordId>>> {
        const SQL: &str = "SELECT m.id, k.id FROM json_each($1) j CROSS JOIN record m CROSS JOIN record k \
            WHERE m.id = CAST(j.value->>0 AS BIGINT) AND k.entity = m.entity AND k.key = m.key AND (k.system = $2 OR k.system < 0) \
              AND k.id <> m.id AND k.same IS NULL \
              AND EXISTS (SELECT 1 FROM replica r WHERE r.record = k.id AND r.system = $2 \
                  AND r.gone_at IS NULL AND r.fields IS NOT NULL) \
              AND NOT EXISTS (SELECT 1 FROM apart a WHERE (a.one = k.id AND a.other = m.id) \
                  OR (a.one = m.id AND a.other = k.id)) ORDER BY 1, 2";
        let (target, wanted) = (self.name(target).await?, rows(records.iter().map(|record| [record]))?);
        let mut rivals: BTreeMap<RecordId, Vec<RecordId>> = BTreeMap::new();
        for row in self.pool.read("look for records of the same key", SQL, args![wanted, target]).await? {
            rivals.entry(row.int(0)?).or_default().push(row.int(1)?);
        }
        Ok(rivals)
    }

    /// The system that gave a key; nothing where nobody is known to have.
    async fn system(&self, number: i64) -> Result<Option<String>> {
        if number <= 0 { Ok(None) } else { self.text(number).await.map(Some) }
    }
}
