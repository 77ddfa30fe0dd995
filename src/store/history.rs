//! What happened: the change log of runs and records, and which records became one.

use chrono::{DateTime, Utc};

use super::{
    Change, ChangeOp, Linked, RecordId, Result,
    database::Database,
    sql::{Row, args, rows},
    values::{micros, parse, time},
};
use crate::mapping::Fields;

macro_rules! changes {
    ($from:literal) => {
        concat!(
            "SELECT c.id, c.record, k.entity, c.system, c.op, c.fields, c.cause_kind, c.cause, c.at \
             FROM change_log c JOIN record k ON k.id = c.record ",
            $from
        )
    };
}

impl Database {
    pub(super) async fn changes(&self, record: RecordId, limit: u32) -> Result<Vec<Change>> {
        const SQL: &str = changes!("WHERE c.record = $1 ORDER BY c.id DESC LIMIT $2");
        let found = self.pool.read("read the change log", SQL, args![record, i64::from(limit)]).await?;
        self.changes_in(found).await
    }

    pub(super) async fn changes_of_run(&self, run: i64, after: i64, limit: u32) -> Result<Vec<Change>> {
        const SQL: &str = changes!("WHERE c.cause_kind = 0 AND c.cause = $1 AND c.id > $2 ORDER BY c.id LIMIT $3");
        let found = self.pool.read("read a run's changes", SQL, args![run, after, i64::from(limit)]).await?;
        self.changes_in(found).await
    }

    pub(super) async fn history(&self, records: &[RecordId]) -> Result<Vec<Change>> {
        const SQL: &str =
            changes!("WHERE c.record IN (SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j) ORDER BY c.id");
        let records = rows(records.iter().map(|record| [record]))?;
        let found = self.pool.read("read records' changes", SQL, args![records]).await?;
        self.changes_in(found).await
    }

    pub(super) async fn written_often(
        &self,
        system: &str,
        records: &[RecordId],
        since: DateTime<Utc>,
        often: u32,
    ) -> Result<Vec<(RecordId, ChangeOp, Fields)>> {
        // Almost always nobody: only the times are read then.
        const OFTEN: &str = "SELECT CAST(j.value->>0 AS BIGINT) FROM json_each($1) j WHERE (SELECT count(*) FROM ( \
                SELECT c.at FROM change_log c WHERE c.record = CAST(j.value->>0 AS BIGINT) AND c.system = $2 AND c.cause_kind = 1 \
                ORDER BY c.id DESC LIMIT $4) w WHERE w.at > $3) >= $4";
        const WRITES: &str = "SELECT c.record, c.op, c.fields, c.id FROM json_each($1) j CROSS JOIN change_log c \
            WHERE c.record = CAST(j.value->>0 AS BIGINT) AND c.system = $2 AND c.cause_kind = 1 AND c.at > $3 \
            ORDER BY c.record, c.id DESC";
        let (system, since) = (self.name(system).await?, micros(since));
        let asked = rows(records.iter().map(|record| [record]))?;
        let found =
            self.pool.read("look for flapping records", OFTEN, args![asked, system, since, i64::from(often)]).await?;
        let flapping = found.iter().map(|row| row.int(0).map(|record| [record])).collect::<Result<Vec<_>>>()?;
        let mut writes = Vec::new();
        if flapping.is_empty() {
            return Ok(writes);
        }
        for mut row in self.pool.read("read our last writes", WRITES, args![rows(flapping)?, system, since]).await? {
            let id = row.int(3)?;
            let fields = parse(&row.text(2)?, "change_log", "fields", || id.to_string())?;
            writes.push((row.int(0)?, ChangeOp::of(row.int(1)?)?, fields));
        }
        Ok(writes)
    }

    async fn changes_in(&self, found: Vec<Row>) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(found.len());
        for mut row in found {
            let id = row.int(0)?;
            let kind = if row.int(6)? == 0 { "run" } else { "job" };
            changes.push(Change {
                id,
                record: row.int(1)?,
                entity: self.text(row.int(2)?).await?,
                system: self.text(row.int(3)?).await?,
                op: ChangeOp::of(row.int(4)?)?,
                fields: parse(&row.text(5)?, "change_log", "fields", || id.to_string())?,
                cause: format!("{kind} {}", row.int(7)?),
                at: time(row.int(8)?),
            });
        }
        Ok(changes)
    }

    pub(super) async fn linked_since(&self, after: i64, limit: u32) -> Result<Vec<Linked>> {
        // Each record is told of once, at the last of its replicas.
        const SQL: &str = "SELECT n.number, k.id, e.text, k.key, s.text, r.id FROM ( \
                SELECT l.number, l.record FROM replica l WHERE l.number > $1 AND l.fields IS NOT NULL AND l.gone_at IS NULL \
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
            let (number, record, system) = (row.int(0)?, row.int(1)?, row.text(4)?);
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
}
