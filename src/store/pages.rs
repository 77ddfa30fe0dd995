//! Pages: table family `cursor`, and the transaction that makes a page durable in all other families.
//!
//! Called by `sync::pull`, which compares a page and commits it, and by `sync::engine` and `sync::preview`, which
//! commit pages of known rows.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Balance, ConflictMark, Lease, MergedWrite, NewChange, NewJob, RecordId, Rejection, ReplicaWrite, Result, RunId,
    StoreError,
    database::Database,
    differences::drop_agreed,
    history::Origin,
    leases::keep_lease,
    merged::{mark_conflicts, write_merged},
    notes::write_note,
    queue::{Arrived, lock_target, open_jobs, wake},
    readings::{Proven, write_proven},
    rejections::reject,
    replicas::{Replicas, Writer},
    runs::balance_args,
    sql::{Sql, Tx, args, rows},
    values::{fields_or_null, fingerprint_text, numbers_in},
};
use crate::{
    mapping::{Children, Fields},
    port::Fingerprint,
};

/// What a page shows of a row before the row is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownRow {
    pub id: String,
    pub fingerprint: Fingerprint,
}

/// Result of a lookup of a page's fingerprints.
#[derive(Clone, Debug, Default)]
pub struct KnownRows {
    /// Positions in the page whose fingerprint is new or different.
    pub changed: Vec<usize>,
    /// Replica numbers of all known rows of the page, for the set of rows that a full pass has seen.
    pub seen: Vec<u32>,
}

/// Everything that a page makes durable, in one transaction.
#[derive(Clone, Debug, Default)]
pub struct PageCommit {
    pub run: RunId,
    pub system: String,
    pub entity: String,
    pub replicas: Vec<ReplicaWrite>,
    /// Known rows of which only the fingerprint is new (the canonical object is the same): (id, fingerprint,
    /// version, sent).
    pub new_fingerprints: Vec<(String, Fingerprint, Option<String>, Fields)>,
    /// Id to the number of the delivery that had last written the replica when the row was compared with it; 0 if
    /// there was none. If another delivery has written it since, committing the page fails with
    /// [`StoreError::Stale`].
    pub compared: BTreeMap<String, i64>,
    pub changes: Vec<NewChange>,
    pub jobs: Vec<NewJob>,
    /// Shared fields that this page has changed.
    pub merged: Vec<MergedWrite>,
    pub conflicts: Vec<ConflictMark>,
    pub rejections: Vec<Rejection>,
    /// Ids of rows that could be read this time: earlier rejections of them are closed.
    pub resolved: Vec<String>,
    /// The run has read everything. Rejections that it did not repeat are of rows that no longer exist, and are
    /// closed.
    pub whole: bool,
    pub balance: Balance,
    /// Whether the run is a full reading with another mapping or adapter than the last time.
    pub remapped: bool,
    pub cursor: Option<String>,
    /// Children's ids that rows show whose canonical object is unchanged.
    pub children: Vec<(RecordId, Children)>,
    /// What the reading proves once the page is durable.
    pub proven: Option<Proven>,
    /// Small values that are true once the page is durable; see [`NoteStore::note`](super::NoteStore::note).
    pub notes: Vec<(String, Value)>,
    /// The lease that the page was read under, and for how long the commit renews it. If somebody else has taken
    /// the lease over, the commit fails with [`StoreError::Overtaken`]: what was read before a long pause must not
    /// replace what others have read since.
    pub lease: Option<(Lease, Duration)>,
}

/// Replica number of each written row, in the order of [`PageCommit::replicas`].
pub type Numbers = Vec<u32>;

/// Table family `cursor`, and pages as a whole. Called by `sync::pull`, `sync::engine` and `sync::preview`.
///
/// # Errors
///
/// Those of [`Store`](super::Store), and of [`commit_page`](Self::commit_page): [`StoreError::Stale`] if a delivery
/// has written one of the compared replicas meanwhile, or another page has merged the same fields;
/// [`StoreError::Overtaken`] if the page's lease was lost.
#[async_trait]
pub trait PageStore: Send + Sync {
    /// Compare the fingerprints of a page's rows with the replicas, and return which rows are new or different, or
    /// were gone.
    async fn look_up_fingerprints(&self, system: &str, entity: &str, rows: &[ShownRow]) -> Result<KnownRows>;

    /// Store everything that a page brings, in one transaction: replicas, children, change log, jobs, merged
    /// fields, conflicts, rejections, balance, cursor and notes. Wake the parked jobs that waited for what the page
    /// brings.
    ///
    /// Return the number of each replica, in the order of [`PageCommit::replicas`].
    async fn commit_page(&self, page: PageCommit, now: DateTime<Utc>) -> Result<Numbers>;

    /// Return the cursor of (system, entity): a watermark in the source's own clock.
    async fn cursor(&self, system: &str, entity: &str) -> Result<Option<String>>;
}

#[async_trait]
impl PageStore for Database {
    async fn look_up_fingerprints(&self, system: &str, entity: &str, rows: &[ShownRow]) -> Result<KnownRows> {
        const SQL: &str = "SELECT \
                string_agg(CAST(r.number AS TEXT), ','), \
                string_agg(CAST(j.key AS TEXT), ',') FILTER (WHERE r.print IS NULL OR r.print <> j.value->>1 \
                    OR r.gone_at IS NOT NULL) \
            FROM json_each($1) j LEFT JOIN replica r \
                ON r.system = $2 AND r.entity = $3 AND r.id = j.value->>0";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let asked = self::rows(rows.iter().map(|row| (&row.id, fingerprint_text(&row.fingerprint))))?;
        let mut answer = self.pool.read("compare fingerprints", SQL, args![asked, system, entity]).await?;
        let Some(answer) = answer.first_mut() else { return Ok(KnownRows::default()) };
        let (seen, changed) = (answer.text_or_null(0)?, answer.text_or_null(1)?);
        let mut changed: Vec<usize> = numbers_in(changed.as_deref());
        changed.sort_unstable();
        Ok(KnownRows { changed, seen: numbers_in(seen.as_deref()) })
    }

    async fn commit_page(&self, page: PageCommit, now: DateTime<Utc>) -> Result<Numbers> {
        let replicas = Replicas {
            database: self,
            system: self.name(&page.system).await?,
            entity: self.name(&page.entity).await?,
            entity_name: &page.entity,
            now,
        };
        let writes: Vec<_> = page.replicas.iter().collect();
        replicas.prepare(&writes, &page.children).await?;
        let jobs = self.job_lines(&page.jobs, now).await?;
        let mut tx = self.pool.begin("commit a page").await?;
        if let Some((lease, span)) = &page.lease {
            keep_lease(&mut tx, lease, *span, now).await?;
        }
        if !page.replicas.is_empty() || !page.children.is_empty() {
            lock_target(&mut tx, replicas.system, false).await?;
        }
        prove_compared(&mut tx, &replicas, &page).await?;
        let mut kept = replicas.write(&mut tx, &writes, Writer::Page).await?;
        renew_fingerprints(&mut tx, &replicas, &page).await?;
        let shown: Vec<_> = page.children.iter().map(|(record, children)| (*record, children)).collect();
        kept.children.extend(replicas.write_children(&mut tx, &shown, &[]).await?);
        let changes: Vec<_> = page.changes.iter().map(|change| (change, Origin::Run(page.run))).collect();
        replicas.log(&mut tx, &changes).await?;
        // Write runs before jobs, as every transaction that writes both does, so that two transactions cannot wait
        // for each other.
        add_balance(&mut tx, &page).await?;
        open_jobs(&mut tx, jobs.as_deref(), Some(page.run), now).await?;
        let (gone, live): (Vec<_>, Vec<_>) = writes.into_iter().partition(|write| write.gone);
        let gone: Vec<_> = gone.into_iter().map(|write| write.record).collect();
        let arrived = Arrived { there: &live, children: &kept.children, quiet: &[], gone: &gone };
        wake(&mut tx, &replicas, arrived).await?;
        write_merged(&mut tx, &page.merged).await?;
        mark_conflicts(&mut tx, replicas.system, &page.conflicts, now).await?;
        let written = page.replicas.iter().map(|write| &*write.id);
        let ids: Vec<&str> = written.chain(page.new_fingerprints.iter().map(|(id, ..)| &**id)).collect();
        drop_agreed(&mut tx, &replicas, &ids).await?;
        let resolved: Vec<&str> = page.resolved.iter().map(String::as_str).collect();
        let whole = page.whole.then_some(page.run);
        reject(&mut tx, &replicas, (page.run, whole), &resolved, &page.rejections).await?;
        if let Some(cursor) = &page.cursor {
            const SQL: &str = "INSERT INTO cursor (system, entity, value) VALUES ($1, $2, $3) \
                ON CONFLICT (system, entity) DO UPDATE SET value = excluded.value";
            tx.execute("move the cursor", SQL, args![replicas.system, replicas.entity, cursor.as_str()]).await?;
        }
        if let Some(proven) = &page.proven {
            write_proven(&mut tx, &page.system, &page.entity, proven).await?;
        }
        for (name, value) in &page.notes {
            write_note(&mut tx, name, value).await?;
        }
        tx.commit("commit a page").await?;
        self.grew(page.replicas.len()).await;
        Ok(kept.numbers)
    }

    async fn cursor(&self, system: &str, entity: &str) -> Result<Option<String>> {
        const SQL: &str = "SELECT value FROM cursor WHERE system = $1 AND entity = $2";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let mut found = self.pool.read("read a cursor", SQL, args![system, entity]).await?;
        found.first_mut().map(|row| row.text(0)).transpose()
    }
}

/// Check that no delivery has written a compared replica since: the page would overwrite it with older values.
async fn prove_compared(tx: &mut Tx, replicas: &Replicas<'_>, page: &PageCommit) -> Result<()> {
    macro_rules! moved {
        ($lock:literal) => {
            concat!(
                "SELECT r.id, CASE WHEN r.written <> CAST(j.value->>1 AS BIGINT) THEN 1 ELSE 0 END \
                 FROM json_each($1) j CROSS JOIN replica r \
                 WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>0",
                $lock
            )
        };
    }
    const SQL: Sql = Sql {
        sqlite: moved!(" AND r.written <> CAST(j.value->>1 AS BIGINT) LIMIT 1"),
        // Lock every row until the page is durable. A row that does not exist yet cannot be created twice.
        postgres: moved!(" ORDER BY r.id FOR UPDATE OF r"),
    };
    if page.compared.is_empty() {
        return Ok(());
    }
    let compared = rows(&page.compared)?;
    let found = tx.rows("look for deliveries", SQL, args![compared, replicas.system, replicas.entity]).await?;
    for row in &found {
        if row.int(1)? == 1 {
            return Err(StoreError::Stale("a replica of this page"));
        }
    }
    Ok(())
}

async fn renew_fingerprints(tx: &mut Tx, replicas: &Replicas<'_>, page: &PageCommit) -> Result<()> {
    const SQL: &str = "WITH j AS MATERIALIZED (SELECT j.value, r.number FROM json_each($1) j CROSS JOIN replica r \
            WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>0) \
        UPDATE replica SET print = j.value->>1, version = j.value->>2, sent = j.value->>3 FROM j \
        WHERE replica.number = j.number";
    if page.new_fingerprints.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::with_capacity(page.new_fingerprints.len());
    for (id, fingerprint, version, sent) in &page.new_fingerprints {
        lines.push((id, fingerprint_text(fingerprint), version, fields_or_null(sent)?));
    }
    tx.execute("update fingerprints", SQL, args![rows(lines)?, replicas.system, replicas.entity]).await.map(drop)
}

/// A run is pending as soon as it opens jobs.
async fn add_balance(tx: &mut Tx, page: &PageCommit) -> Result<()> {
    const SQL: &str = "UPDATE run SET seen = seen + $2, unchanged = unchanged + $3, changed = changed + $4, \
        skipped = skipped + $5, rejected = rejected + $6, gone = gone + $7, \
        ruling = CASE WHEN $8 > 0 THEN 1 ELSE ruling END, \
        remapped = CASE WHEN $9 > 0 THEN 1 ELSE remapped END WHERE id = $1";
    if page.balance == Balance::default() && page.jobs.is_empty() {
        return Ok(());
    }
    let mut args = balance_args(page.run, &page.balance);
    args.extend(args![i64::from(!page.jobs.is_empty()), i64::from(page.remapped)]);
    tx.execute("add to the balance", SQL, args).await.map(drop)
}
