//! Wakes parked jobs once what they wait for exists.

use std::collections::BTreeSet;

use crate::{
    store::{
        JobId, RecordId, ReplicaWrite, Result,
        replicas::Replicas,
        sql::{Tx, args, rows},
        values::micros,
    },
    wait_reason::{MISSING, TAKEN, WaitReason},
};

/// Lock the target. A transaction that parks a job on something missing and one that writes that very thing must
/// not overlap, or the wake-up is lost between them. Those that write replicas share the lock; those that park jobs
/// hold it alone. SQLite has only one writer and needs no lock.
pub(in crate::store) async fn lock_target(tx: &mut Tx, target: i64, alone: bool) -> Result<()> {
    // A class of advisory locks of our own, for each schema.
    const SHARED: &str =
        "SELECT 1 FROM pg_advisory_xact_lock_shared(current_schema()::regnamespace::oid::int, $1::int)";
    const ALONE: &str = "SELECT 1 FROM pg_advisory_xact_lock(current_schema()::regnamespace::oid::int, $1::int)";
    if matches!(tx, Tx::Sqlite(_)) {
        return Ok(());
    }
    tx.rows("lock a target", if alone { ALONE } else { SHARED }, args![target]).await.map(drop)
}

/// What a transaction brings to a system.
#[derive(Clone, Copy)]
pub(in crate::store) struct Arrived<'a> {
    /// Objects that were written.
    pub(in crate::store) there: &'a [&'a ReplicaWrite],
    /// (list, key) of children that have got an id.
    pub(in crate::store) children: &'a BTreeSet<(String, String)>,
    /// Jobs that found their object as desired already.
    pub(in crate::store) quiet: &'a [JobId],
    /// Records whose object is gone.
    pub(in crate::store) gone: &'a [RecordId],
}

/// Queue the parked jobs of this system that wait for a record, or a child, that exists there now (or is now told
/// from another of the same key), because it was written, or was found by one of the jobs `quiet`. A job that
/// missed a record without a key waits for the record's number; if several records share a key, it waits for the
/// key with the system that gave it or has it. A record that was written, or that is `gone`, may have given up a
/// value that other jobs wait for.
pub(in crate::store) async fn wake(
    tx: &mut Tx,
    replicas: &Replicas<'_>,
    Arrived { there, children, quiet, gone }: Arrived<'_>,
) -> Result<u64> {
    const SQL: &str = "UPDATE job SET state = 0, due = $4, attempts = 0, cause = NULL, error = NULL, \
        error_class = NULL, updated_at = $4 \
        WHERE target = $3 AND state = 2 AND cause IN ( \
            SELECT $5 || k.key FROM json_each($1) j CROSS JOIN record k \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND k.key IS NOT NULL \
            UNION ALL SELECT $5 || s.text || '/' || k.key FROM json_each($1) j CROSS JOIN record k CROSS JOIN name s \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND k.key IS NOT NULL AND s.id = k.system \
            UNION ALL SELECT $5 || s.text || '/' || k.key FROM json_each($1) j CROSS JOIN record k \
                CROSS JOIN replica p \
                CROSS JOIN name s \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND k.key IS NOT NULL AND p.record = k.id AND s.id = p.system \
            UNION ALL SELECT $5 || s.text || '#' || p.id FROM json_each($1) j CROSS JOIN replica p CROSS JOIN name s \
            WHERE p.record = CAST(j.value->>0 AS BIGINT) AND s.id = p.system \
            UNION ALL SELECT $5 || '#' || CAST(k.id AS TEXT) FROM json_each($1) j CROSS JOIN record k \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) \
            UNION ALL SELECT $5 || '#' || CAST(k.id AS TEXT) FROM json_each($1) j CROSS JOIN record k \
            WHERE k.same = CAST(j.value->>0 AS BIGINT) \
            UNION ALL SELECT j.value->>0 FROM json_each($2) j \
            UNION ALL SELECT $6 || k.key FROM json_each($7) j CROSS JOIN record k \
            WHERE k.id = CAST(j.value->>0 AS BIGINT) AND k.key IS NOT NULL)";
    const ANYBODY: &str = "SELECT 1 FROM job WHERE target = $1 AND state = 2 LIMIT 1";
    const QUIET: &str = "SELECT b.record FROM json_each($1) j CROSS JOIN job b CROSS JOIN replica r \
        WHERE b.id = CAST(j.value->>0 AS BIGINT) AND r.record = b.record AND r.system = $2 AND r.gone_at IS NULL";
    let nobody = there.is_empty() && children.is_empty() && quiet.is_empty() && gone.is_empty();
    if nobody || tx.rows("look for parked jobs", ANYBODY, args![replicas.system]).await?.is_empty() {
        return Ok(0);
    }
    let mut records: Vec<RecordId> = there.iter().map(|write| write.record).collect();
    // Jobs that wait for a value of these records may be able to have it now.
    let others = rows(records.iter().chain(gone).map(|record| [record]))?;
    if !quiet.is_empty() {
        let quiet = rows(quiet.iter().map(|job| [job]))?;
        for row in tx.rows("read the records of quiet jobs", QUIET, args![quiet, replicas.system]).await? {
            records.push(row.id(0)?);
        }
    }
    let records = rows(records.into_iter().map(|record| [record]))?;
    let children = children.iter().map(|(list, key)| [WaitReason::missing(list, key)]);
    let entity = replicas.entity_name;
    let (missing, taken) = (format!("{MISSING}{entity}="), format!("{TAKEN}{entity}="));
    let args = args![records, rows(children)?, replicas.system, micros(replicas.now), missing, taken, others];
    tx.execute("wake parked jobs", SQL, args).await
}
