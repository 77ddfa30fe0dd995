//! Runs, sightings and the page transaction.

use chrono::{DateTime, Utc};
use roaring::RoaringBitmap;

use super::{
    Balance, NewJob, Numbers, PageCommit, Rejection, Replica, Result, RunKind, Sighted, Sighting, Unread,
    database::Database,
    differences::drop_agreed,
    housekeeping::{keep_lease, write_note},
    merged::{mark_conflicts, write_merged},
    queue::{lock_target, open_jobs, wake},
    replica::{Cause, Replicas, Writer, select_replicas},
    sql::{Sql, Tx, args, rows},
    values::{fields_or_null, json, micros, parse, print_text},
};
use crate::failure::UNREAD;

impl Database {
    pub(super) async fn begin_run(
        &self,
        system: &str,
        entity: &str,
        kind: RunKind,
        trigger: &str,
        now: DateTime<Utc>,
    ) -> Result<i64> {
        const SQL: &str =
            "INSERT INTO run (system, entity, kind, cause, started_at) VALUES ($1, $2, $3, $4, $5) RETURNING id";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let made =
            self.pool.write("begin a run", SQL, args![system, entity, kind.code(), trigger, micros(now)]).await?;
        made.first().map_or(Err(super::StoreError::Stale("run")), |row| row.int(0))
    }

    pub(super) async fn end_run(
        &self,
        run: i64,
        balance: &Balance,
        error: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        const SQL: &str = "UPDATE run SET seen = $2, unchanged = $3, changed = $4, skipped = $5, rejected = $6, gone = $7, \
            error = $8, finished_at = $9 WHERE id = $1";
        let mut args = balance_args(run, balance);
        args.extend(args![error, micros(now)]);
        self.pool.execute("end a run", SQL, args).await.map(drop)
    }

    pub(super) async fn sight(&self, system: &str, entity: &str, rows: &[Sighting]) -> Result<Sighted> {
        const SQL: &str = "SELECT \
                string_agg(CAST(r.number AS TEXT), ','), \
                string_agg(CAST(j.key AS TEXT), ',') FILTER (WHERE r.print IS NULL OR r.print <> j.value->>1 OR r.gone_at IS NOT NULL) \
            FROM json_each($1) j LEFT JOIN replica r \
                ON r.system = $2 AND r.entity = $3 AND r.id = j.value->>0";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let wanted = self::rows(rows.iter().map(|row| (&row.id, print_text(&row.print))))?;
        let mut answer = self.pool.read("compare fingerprints", SQL, args![wanted, system, entity]).await?;
        let Some(answer) = answer.first_mut() else { return Ok(Sighted::default()) };
        let (seen, changed) = (answer.text_or_null(0)?, answer.text_or_null(1)?);
        let mut changed: Vec<usize> = numbers_in(changed.as_deref());
        changed.sort_unstable();
        Ok(Sighted { changed, seen: numbers_in(seen.as_deref()) })
    }

    pub(super) async fn commit_page(&self, page: PageCommit, now: DateTime<Utc>) -> Result<Numbers> {
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
        reprint(&mut tx, &replicas, &page).await?;
        let shown: Vec<_> = page.children.iter().map(|(record, children)| (*record, children)).collect();
        kept.children.extend(replicas.write_children(&mut tx, &shown, &[]).await?);
        let changes: Vec<_> = page.changes.iter().map(|change| (change, Cause::Run(page.run))).collect();
        replicas.log(&mut tx, &changes).await?;
        // Runs before jobs, as wherever both are written, so that two transactions cannot wait for each other.
        add_balance(&mut tx, &page).await?;
        open_jobs(&mut tx, jobs.as_deref(), Some(page.run), now).await?;
        let (gone, live): (Vec<_>, Vec<_>) = writes.into_iter().partition(|write| write.gone);
        let gone: Vec<_> = gone.into_iter().map(|write| write.record).collect();
        wake(&mut tx, &replicas, &live, &kept.children, &[], &gone).await?;
        write_merged(&mut tx, &page.merged).await?;
        mark_conflicts(&mut tx, replicas.system, &page.conflicts, now).await?;
        let written = page.replicas.iter().map(|write| &*write.id);
        let ids: Vec<&str> = written.chain(page.reprints.iter().map(|(id, ..)| &**id)).collect();
        drop_agreed(&mut tx, &replicas, &ids).await?;
        let cured: Vec<&str> = page.cured.iter().map(String::as_str).collect();
        let whole = page.whole.then_some(page.run);
        reject(&mut tx, &replicas, (page.run, whole), &cured, &page.rejections).await?;
        if let Some(cursor) = &page.cursor {
            const SQL: &str = "INSERT INTO cursor (system, entity, value) VALUES ($1, $2, $3) \
                ON CONFLICT (system, entity) DO UPDATE SET value = excluded.value";
            tx.execute("move the cursor", SQL, args![replicas.system, replicas.entity, cursor.as_str()]).await?;
        }
        for (name, value) in &page.notes {
            write_note(&mut tx, name, value).await?;
        }
        tx.commit("commit a page").await?;
        self.grew(page.replicas.len()).await;
        Ok(kept.numbers)
    }

    pub(super) async fn cursor(&self, system: &str, entity: &str) -> Result<Option<String>> {
        const SQL: &str = "SELECT value FROM cursor WHERE system = $1 AND entity = $2";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let mut found = self.pool.read("read a cursor", SQL, args![system, entity]).await?;
        found.first_mut().map(|row| row.text(0)).transpose()
    }

    pub(super) async fn forget_cursor(&self, system: &str, entity: &str) -> Result<()> {
        const SQL: &str = "DELETE FROM cursor WHERE system = $1 AND entity = $2";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        self.pool.execute("forget a cursor", SQL, args![system, entity]).await.map(drop)
    }

    pub(super) async fn unseen(
        &self,
        system: &str,
        entity: &str,
        seen: &RoaringBitmap,
        after: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Replica)>> {
        // Numbers first: rows with their snapshots are read only for what is missing.
        const NUMBERS: &str = "SELECT string_agg(CAST(number AS TEXT), ','), max(number) FROM (\
            SELECT number FROM replica WHERE system = $1 AND entity = $2 AND number > $3 \
            AND gone_at IS NULL AND fields IS NOT NULL ORDER BY number LIMIT 10000) n";
        const ROWS: &str = select_replicas!(
            "FROM json_each($1) j CROSS JOIN replica r WHERE r.number = CAST(j.value->>0 AS BIGINT) ORDER BY r.number"
        );
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let mut after = i64::from(after);
        let mut missing: Vec<u32> = Vec::new();
        while missing.len() < limit {
            let mut slice = self.pool.read("list replicas", NUMBERS, args![system, entity, after]).await?;
            let Some(slice) = slice.first_mut() else { break };
            let Some(last) = slice.int_or_null(1)? else { break };
            let numbers: Vec<u32> = numbers_in(slice.text_or_null(0)?.as_deref());
            missing.extend(numbers.into_iter().filter(|number| !seen.contains(*number)));
            after = last;
        }
        missing.sort_unstable();
        missing.truncate(limit);
        let mut unseen = Vec::with_capacity(missing.len());
        for mut row in self.pool.read("read replicas", ROWS, args![rows(missing.iter().map(|n| [n]))?]).await? {
            unseen.push(self.replica(&mut row).await?);
        }
        Ok(unseen)
    }

    pub(super) async fn outlived(
        &self,
        system: &str,
        entity: &str,
        target: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Replica)>> {
        const SQL: &str = select_replicas!(
            "FROM replica r WHERE r.system = $3 AND r.entity = $2 AND r.number > $4 AND r.gone_at IS NULL \
             AND r.fields IS NOT NULL AND EXISTS (SELECT 1 FROM replica s WHERE s.record = r.record AND s.system = $1 \
                AND s.gone_at IS NOT NULL) ORDER BY r.number LIMIT $5"
        );
        let names = (self.name(system).await?, self.name(entity).await?, self.name(target).await?);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let args = args![names.0, names.1, names.2, i64::from(after), limit];
        let mut outlived = Vec::new();
        for mut row in self.pool.read("look for what was outlived", SQL, args).await? {
            outlived.push(self.replica(&mut row).await?);
        }
        Ok(outlived)
    }

    pub(super) async fn unread(&self, system: &str, entity: &str) -> Result<Vec<Unread>> {
        const SQL: &str = "SELECT j.position, j.id, j.likes FROM rejection j \
            WHERE j.system = $1 AND j.entity = $2 AND j.dismissed = 0 AND NOT EXISTS (SELECT 1 FROM replica r \
                WHERE r.system = $1 AND r.entity = $2 AND r.id = j.id AND r.gone_at IS NULL AND r.fields IS NOT NULL)";
        let args = args![self.name(system).await?, self.name(entity).await?];
        let mut unread = Vec::new();
        for mut row in self.pool.read("look for unread rows", SQL, args).await? {
            let (position, id) = (row.text(0)?, row.text_or_null(1)?);
            let name = || position.clone();
            let likes = row.text_or_null(2)?.map(|text| parse(&text, "rejection", "likes", name)).transpose()?;
            unread.push(Unread { position, id, likes });
        }
        Ok(unread)
    }

    pub(super) async fn dismiss(
        &self,
        system: &str,
        entity: &str,
        row: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<u64> {
        const SQL: &str = "UPDATE rejection SET dismissed = 1 WHERE system = $1 AND entity = $2 AND dismissed = 0 \
            AND ($3 IS NULL OR id = $3 OR position = $3)";
        let (system, entity) = (self.name(system).await?, self.name(entity).await?);
        let mut tx = self.pool.begin("put rows aside").await?;
        let dismissed = tx.execute("put rows aside", SQL, args![system, entity, row]).await?;
        go_on(&mut tx, system, now).await?;
        tx.commit("put rows aside").await?;
        Ok(dismissed)
    }

    /// Jobs as rows for [`open_jobs`], each (target, record) once. `None` where there are none.
    pub(super) async fn job_lines(&self, jobs: &[NewJob], now: DateTime<Utc>) -> Result<Option<String>> {
        let mut lines = Vec::with_capacity(jobs.len());
        for job in jobs {
            let target = self.name(&job.target).await?;
            let entity = self.name(&job.entity).await?;
            lines.push((target, job.record, entity, job.lane, micros(job.due.unwrap_or(now))));
        }
        // In one order for everybody, so that two daemons cannot wait for each other's rows; the foremost lane first.
        lines.sort_unstable_by_key(|line| (line.0, line.1, line.3, line.4));
        lines.dedup_by_key(|line| (line.0, line.1));
        if lines.is_empty() { Ok(None) } else { rows(lines).map(Some) }
    }
}

fn balance_args(run: i64, balance: &Balance) -> Vec<super::sql::Arg> {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    args![
        run,
        count(balance.seen),
        count(balance.unchanged),
        count(balance.changed),
        count(balance.skipped),
        count(balance.rejected),
        count(balance.gone)
    ]
}

/// Comma-separated numbers of an aggregate.
fn numbers_in<T: std::str::FromStr>(text: Option<&str>) -> Vec<T> {
    text.into_iter().flat_map(|text| text.split(',')).filter_map(|number| number.parse().ok()).collect()
}

/// What a delivery has written since the page was compared would be written over by what the page knew.
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
        // Every row is held until the page is durable; one that is not there yet cannot be made twice.
        postgres: moved!(" ORDER BY r.id FOR UPDATE OF r"),
    };
    if page.compared.is_empty() {
        return Ok(());
    }
    let compared = rows(&page.compared)?;
    let found = tx.rows("look for deliveries", SQL, args![compared, replicas.system, replicas.entity]).await?;
    for row in &found {
        if row.int(1)? == 1 {
            return Err(super::StoreError::Stale("a replica of this page"));
        }
    }
    Ok(())
}

async fn reprint(tx: &mut Tx, replicas: &Replicas<'_>, page: &PageCommit) -> Result<()> {
    const SQL: &str = "WITH j AS MATERIALIZED (SELECT j.value, r.number FROM json_each($1) j CROSS JOIN replica r \
            WHERE r.system = $2 AND r.entity = $3 AND r.id = j.value->>0) \
        UPDATE replica SET print = j.value->>1, version = j.value->>2, sent = j.value->>3 FROM j \
        WHERE replica.number = j.number";
    if page.reprints.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::with_capacity(page.reprints.len());
    for (id, print, version, sent) in &page.reprints {
        lines.push((id, print_text(print), version, fields_or_null(sent)?));
    }
    tx.execute("update fingerprints", SQL, args![rows(lines)?, replicas.system, replicas.entity]).await.map(drop)
}

/// Takes down rows that could not be read. Earlier rejections are closed: those of rows that were read well by now, and after a
/// `whole` run those that it did not repeat. What an answer to a write has shown belongs to no run: to number 0.
pub(super) async fn reject<'a>(
    tx: &mut Tx,
    replicas: &Replicas<'_>,
    (run, whole): (i64, Option<i64>),
    cured: &[&str],
    rejections: impl IntoIterator<Item = &'a Rejection>,
) -> Result<()> {
    const CURE: &str = "DELETE FROM rejection WHERE system = $2 AND entity = $3 \
        AND slot IN (SELECT j.value->>0 FROM json_each($1) j)";
    const ADD: &str = "INSERT INTO rejection (system, entity, slot, position, id, field, reason, cause, articles, run, at, likes) \
        SELECT $2, $3, j.value->>0, j.value->>1, j.value->>2, j.value->>3, j.value->>4, j.value->>5, j.value->>6, $4, $5, j.value->>7 \
        FROM json_each($1) j WHERE true \
        ON CONFLICT (system, entity, slot) DO UPDATE SET position = excluded.position, field = excluded.field, \
            reason = excluded.reason, cause = excluded.cause, articles = excluded.articles, run = excluded.run, at = excluded.at, \
            likes = excluded.likes";
    const FORGET: &str = "DELETE FROM rejection WHERE system = $1 AND entity = $2 AND run < $3";
    let mut closed = 0;
    if let Some(whole) = whole {
        closed += tx
            .execute("close rejections of what is gone", FORGET, args![replicas.system, replicas.entity, whole])
            .await?;
    }
    if !cured.is_empty() {
        let slots = rows(cured.iter().map(|id| [slot(Some(id), "")]))?;
        closed += tx.execute("close rejections", CURE, args![slots, replicas.system, replicas.entity]).await?;
    }
    if closed > 0 {
        go_on(tx, replicas.system, replicas.now).await?;
    }
    let mut lines: std::collections::BTreeMap<String, _> = std::collections::BTreeMap::new();
    for row in rejections {
        let slot = slot(row.id.as_deref(), &row.position);
        let likes = row.likes.as_ref().map(json).transpose()?;
        lines.insert(
            slot.clone(),
            (slot, &row.position, &row.id, &row.field, &row.reason, &row.cause, &row.articles, likes),
        );
    }
    if !lines.is_empty() {
        let lines = rows(lines.into_values())?;
        let args = args![lines, replicas.system, replicas.entity, run, micros(replicas.now)];
        tx.execute("store rejections", ADD, args).await?;
    }
    Ok(())
}

/// What waited at a system for rows that could not be read is tried again.
async fn go_on(tx: &mut Tx, system: i64, now: DateTime<Utc>) -> Result<u64> {
    const SQL: &str = "UPDATE job SET state = 0, due = $2, cause = NULL, error = NULL, error_class = NULL, updated_at = $2 \
        WHERE target = $1 AND state = 2 AND cause >= $3 AND cause < $4";
    let end = UNREAD.replace(':', ";");
    tx.execute("go on after rows were read", SQL, args![system, micros(now), UNREAD, end]).await
}

/// What makes two rejections the same: the row's id or, without one, its place.
fn slot(id: Option<&str>, position: &str) -> String {
    id.map_or_else(|| format!("at {position}"), |id| format!("id {id}"))
}

/// A run that opens jobs is pending from then on.
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
