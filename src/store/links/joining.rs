//! What joining two records, or splitting one, changes in the tables of other families.

use chrono::{DateTime, Utc};

use crate::store::{
    RecordId, Result,
    sql::{Sql, Tx, args, rows},
    values::micros,
};
use crate::wait_reason::MISSING;

/// Whether these are two records of one entity, and neither of them is an alias.
pub(super) async fn both_stand(tx: &mut Tx, one: RecordId, other: RecordId) -> Result<bool> {
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

/// Move a record's objects at these systems to another record. They are compared again when they are next read.
pub(super) async fn move_objects(tx: &mut Tx, from: RecordId, to: RecordId, systems: &str) -> Result<()> {
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

pub(super) async fn keep_apart(tx: &mut Tx, record: RecordId, others: &[RecordId]) -> Result<()> {
    const SQL: &str = "INSERT INTO apart (one, other) \
        SELECT CAST(j.value->>0 AS BIGINT), CAST(j.value->>1 AS BIGINT) FROM json_each($1) j WHERE true \
        ON CONFLICT DO NOTHING";
    let pairs = rows(others.iter().map(|other| (record.min(*other), record.max(*other))))?;
    tx.execute("keep records apart", SQL, args![pairs]).await.map(drop)
}

/// Queue the jobs that wait for either of two records that have been joined, or for a part of it.
pub(super) async fn wake_for(tx: &mut Tx, one: RecordId, other: RecordId, now: DateTime<Utc>) -> Result<()> {
    const SQL: &str = "UPDATE job SET state = 0, due = $3, attempts = 0, cause = NULL, error = NULL, \
        error_class = NULL, updated_at = $3 \
        WHERE state = 2 AND cause IN ( \
            SELECT $4 || n.text || '=' || k.key FROM record k JOIN name n ON n.id = k.entity \
            WHERE k.id IN ($1, $2) AND k.key IS NOT NULL \
            UNION SELECT $4 || n.text || '=' || s.text || '/' || k.key FROM record k JOIN name n ON n.id = k.entity \
            JOIN name s ON s.id = k.system WHERE k.id IN ($1, $2) AND k.key IS NOT NULL \
            UNION SELECT $4 || n.text || '=' || s.text || '/' || k.key FROM record k JOIN name n ON n.id = k.entity \
            JOIN replica p ON p.record = k.id JOIN name s ON s.id = p.system \
                WHERE k.id IN ($1, $2) AND k.key IS NOT NULL \
            UNION SELECT $4 || n.text || '=' || s.text || '#' || p.id FROM replica p JOIN name n ON n.id = p.entity \
            JOIN name s ON s.id = p.system WHERE p.record IN ($1, $2) \
            UNION SELECT $4 || n.text || '=' || c.key FROM child c JOIN name n ON n.id = c.list \
                WHERE c.record IN ($1, $2))";
    tx.execute("wake parked jobs", SQL, args![one, other, micros(now), MISSING]).await.map(drop)
}

/// Delete the open work for a record that is now an alias, and what was known of it alone.
pub(super) async fn forget_own(tx: &mut Tx, record: RecordId, now: DateTime<Utc>) -> Result<()> {
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
