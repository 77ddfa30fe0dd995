//! Listings in pages, reads by id, and lookups: from statements to rows with their children.

use std::{collections::HashMap, sync::atomic::Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    binding::Bound,
    database::{Mode, Session},
    failure::{Phase, QueryError},
    system::SqlSystem,
    value::{self, Answer},
};
use crate::{
    adapter::{
        manifest::sql::By,
        run::{base_scope, course::Course, fatal, unreached},
        sql::compile::{Entity, Join, List, Query},
    },
    env::Moment,
    expr::{Expr, ExprError, Scope, text_of},
    failure::{Class, Failure},
    model::{canonical, flaw},
    port::{Page, PageToken, Probe, PullRequest, RowBody, RowError, SourceRow},
    wait_reason::WaitReason,
};

/// Maximum number of ids in one query of a join: below every database's limit of parameters.
const JOIN_MAX: usize = 10_000;

/// The position of a listing.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Token {
    page: u64,
    /// The moment before the first page was read.
    began: Moment,
    /// Key of the last row read, or the number of rows read.
    after: Value,
    rows: u64,
    total: Option<u64>,
    mark: Option<String>,
    #[serde(default)]
    course: Course,
}

/// Rows, sorted into usable and unusable ones.
#[derive(Default)]
struct Taken {
    rows: Vec<SourceRow>,
    errors: Vec<RowError>,
}

impl SqlSystem {
    pub(super) async fn list(&self, entity: &Entity, list: &List, request: &PullRequest<'_>) -> Result<Page, Failure> {
        let doing = format!("{}/{}: list", self.name, entity.name);
        let name = Value::from(entity.name.as_str());
        let reading = self.reading(entity, &name, &doing);
        let mut session = self.begin(Mode::Read, &doing).await?;

        let mut token = match request.page {
            Some(PageToken(token)) => Token::deserialize(token)
                .map_err(|error| reading.fatal(format!("the page mark is not ours: {error}")))?,
            None => reading.start(list, request.since, &mut session).await?,
        };
        let known = list.cursor.as_ref().and_then(|cursor| cursor.known(request.since, token.began.at));
        let since = match (known, &list.cursor) {
            (Some(since), Some(cursor)) => cursor.start(since).map_err(|problem| reading.fatal(problem))?,
            _ => Value::Null,
        };
        let limit = list.pages.as_ref().map_or(usize::MAX, |pages| pages.size.unwrap_or(request.limit).max(1));
        let mut values = Map::new();
        values.insert("cursor".into(), since);
        if let Some(pages) = &list.pages {
            let start = if pages.by == By::Keyset { "after" } else { "offset" };
            values.insert(start.into(), token.after.clone());
            values.insert("limit".into(), Value::from(limit));
        }
        let mut rows = reading.query(&mut session, &list.query, &values).await?;
        let count = rows.len();
        if count > limit {
            let place = &list.query.place;
            return Err(reading.fatal(format!("{place}: more rows than :limit came back; is it in the query?")));
        }
        let read = self.env.moment();
        let next = reading.next(list, &token, &rows, limit)?;
        if let (Some(pages), Some(next)) = (&list.pages, &next) {
            let fingerprint = if pages.by == By::Keyset { next.to_string() } else { fingerprint(&rows) };
            let course = token.course.page(&fingerprint);
            let course = course.and_then(|()| token.course.read((token.rows + count as u64, token.total), (0, None)));
            course.map_err(|problem| reading.fatal(format!("{problem}; does the query page?")))?;
        }
        reading.joins(&mut session, &list.joins, &mut rows, &values).await?;
        drop(session);

        let mut dates = Vec::new();
        if let Some(cursor) = &list.cursor {
            for (index, row) in rows.iter().enumerate() {
                let own = reading.base.on_row(row);
                // If a column is missing, the adapter is wrong.
                let value = cursor.field.eval(&own).map_err(fatal)?;
                if let Some(reason) = cursor.raise(&mut token.mark, Ok(value), read.at) {
                    let position = format!("row {}", token.rows + index as u64 + 1);
                    let id = entity.id.eval_text(&own).ok();
                    dates.push(RowError { position, id, reason, row: None });
                }
            }
        }
        let taken = reading.take(list.split.as_ref(), rows, token.rows)?;
        token.rows += count as u64;
        token.page += 1;
        // If some rows are left out or split, the number of counted rows is not a number of objects. It is still
        // proven below.
        let total = token.total.filter(|_| entity.keep.is_none() && list.split.is_none());
        let mut reached = None;
        if next.is_none() {
            reading.prove(&token)?;
            let mark = token.mark.clone();
            let mark = match &list.cursor {
                Some(cursor) if token.page > 1 => cursor.paged(mark, token.began.until(read)),
                _ => mark,
            };
            let since = known.map(str::to_owned);
            reached = list.cursor.as_ref().map_or(since.clone(), |cursor| cursor.later(since, mark));
        }
        Ok(Page {
            rows: taken.rows,
            errors: taken.errors,
            dates,
            cursor: reached,
            next: match next {
                Some(after) => Some(PageToken(
                    serde_json::to_value(Token { after, ..token }).map_err(|error| reading.fatal(error))?,
                )),
                None => None,
            },
            total,
            is_new: false,
            receipt: None,
        })
    }

    fn reading<'a>(&'a self, entity: &'a Entity, name: &'a Value, doing: &'a str) -> Reading<'a> {
        Reading { system: self, entity, base: base_scope(&self.settings, name), doing }
    }

    pub(super) async fn read_ids(&self, entity: &Entity, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        let doing = format!("{}/{}: read", self.name, entity.name);
        let mut session = self.begin(Mode::Read, &doing).await?;
        self.read_within(&mut session, entity, ids, &doing).await
    }

    /// Read objects in a transaction that may have just written them.
    pub(super) async fn read_within(
        &self,
        session: &mut Session,
        entity: &Entity,
        ids: &[String],
        doing: &str,
    ) -> Result<Vec<SourceRow>, Failure> {
        let Some(read) = &entity.read else {
            return Err(Failure::new(Class::Fatal, format!("{doing}: the adapter cannot read this entity by id")));
        };
        let name = Value::from(entity.name.as_str());
        let reading = self.reading(entity, &name, doing);
        let mut found = Vec::new();
        for ids in ids.chunks(read.max) {
            let mut values = Map::new();
            values.insert("ids".into(), Value::from(ids.to_vec()));
            let mut rows = reading.query(session, &read.query, &values).await?;
            reading.joins(session, &read.joins, &mut rows, &values).await?;
            let taken = reading.take(read.split.as_ref(), rows, 0)?;
            if let Some(error) = taken.errors.first() {
                return Err(reading.fatal(format!("{}: {}", error.position, error.reason)));
            }
            found.extend(taken.rows.into_iter().filter(|row| ids.contains(&row.id)));
        }
        Ok(found)
    }

    pub(super) async fn look_up(&self, entity: &Entity, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        let doing = format!("{}/{}: find", self.name, entity.name);
        let Some(find) = &entity.find else {
            return Err(Failure::new(Class::Fatal, format!("{doing}: the adapter cannot look this entity up")));
        };
        let name = Value::from(entity.name.as_str());
        let reading = self.reading(entity, &name, &doing);
        let mut values = probe.body.as_object().cloned().unwrap_or_default();
        values.insert("key".into(), Value::from(probe.key));
        values.insert("since".into(), value::instant(probe.since));
        let mut session = self.begin(Mode::Read, &doing).await?;
        let mut rows = reading.query(&mut session, &find.query, &values).await?;
        reading.joins(&mut session, &find.joins, &mut rows, &values).await?;
        let mut ours = Vec::new();
        for row in rows {
            let own = reading
                .base
                .on_row(&row)
                .with_owned("key", probe.key)
                .with("wanted", probe.desired)
                .with("body", probe.body);
            if find.r#where.eval_bool(&own).map_err(fatal)? {
                ours.push(row);
            }
        }
        Ok(reading.take(None, ours, 0)?.rows)
    }

    pub(super) async fn begin(&self, mode: Mode, doing: &str) -> Result<Session, Failure> {
        self.database.begin(mode).await.map_err(|error| {
            let host = self.database.host();
            let words = match (&error, &host) {
                (sqlx::Error::PoolTimedOut, Some(host)) => Some(format!(
                    "no connection to the database at {host} in time: it does not answer, or all connections are busy"
                )),
                (error, Some(host)) => unreached::words(&error.to_string(), host, false),
                (_, None) => None,
            };
            let mut failure = QueryError::from(error).into_failure(doing, Phase::Running);
            if let Some(words) = words {
                failure.message = format!("{doing}: {words}");
            }
            failure
        })
    }

    pub(super) async fn run(&self, session: &mut Session, bound: Bound, doing: &str) -> Result<Answer, Failure> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        session.run(bound, self.limits).await.map_err(|error| error.into_failure(doing, Phase::Running))
    }
}

/// A read of objects of one entity: what all statements of a listing, a read or a lookup share.
struct Reading<'a> {
    system: &'a SqlSystem,
    entity: &'a Entity,
    /// Variables that expressions on any row see.
    base: Scope<'a>,
    /// What is being done, for messages.
    doing: &'a str,
}

impl Reading<'_> {
    fn fatal(&self, message: impl std::fmt::Display) -> Failure {
        Failure::new(Class::Fatal, format!("{}: {message}", self.doing))
    }

    /// The mark for the first page. A full listing first counts what it must find.
    async fn start(&self, list: &List, since: Option<&str>, session: &mut Session) -> Result<Token, Failure> {
        let began = self.system.env.moment();
        let after = match &list.pages {
            Some(pages) if pages.by == By::Keyset => pages.first.clone(),
            _ => Value::from(0),
        };
        let total = match (&list.total, since) {
            (Some(total), None) => {
                let rows = self.query(session, total, &Map::new()).await?;
                let count = rows.first().and_then(Value::as_object).and_then(|row| row.values().next());
                let count = count.and_then(|count| text_of(count)?.parse::<u64>().ok());
                Some(count.ok_or_else(|| self.fatal(format!("{}: `total` gives no whole number", total.place)))?)
            }
            _ => None,
        };
        Ok(Token { page: 0, began, after, rows: 0, total, mark: None, course: Course::default() })
    }

    /// `:after` or `:offset` of the next page. Return `None` after the last.
    fn next(&self, list: &List, token: &Token, rows: &[Value], limit: usize) -> Result<Option<Value>, Failure> {
        let (Some(pages), Some(last)) = (&list.pages, rows.last()) else { return Ok(None) };
        if rows.len() < limit {
            return Ok(None);
        }
        if token.page + 1 >= pages.max_pages {
            return Err(self.fatal(format!("no end after {} pages (max_pages); does the query page?", pages.max_pages)));
        }
        if pages.by == By::Offset {
            return Ok(Some(Value::from(token.rows + rows.len() as u64)));
        }
        let key = pages.key.eval(&self.base.on_row(last)).map_err(fatal)?;
        if let Some(flaw) = flaw::first(&key) {
            return Err(self.fatal(format!("the listing cannot go on behind a row whose key is unreadable: {flaw}")));
        }
        if key.is_null() || key == token.after {
            return Err(self.fatal("the key of the last row does not move on; the query must order by it"));
        }
        if token.page == 0 && pages.first.is_number() && key.is_string() {
            let first = &pages.first;
            return Err(self.fatal(format!("the key is a text, but pages begin after {first}; say `first = \"\"`")));
        }
        Ok(Some(key))
    }

    fn prove(&self, token: &Token) -> Result<(), Failure> {
        match token.total {
            Some(total) if token.rows < total => Err(Failure::new(
                Class::Transient,
                format!(
                    "{}: {total} rows were counted and {} read; the listing is not complete",
                    self.doing, token.rows
                ),
            )
            .with_cause(WaitReason::Setup)),
            _ => Ok(()),
        }
    }

    async fn query(
        &self,
        session: &mut Session,
        query: &Query,
        values: &Map<String, Value>,
    ) -> Result<Vec<Value>, Failure> {
        let bound = query.bind(values, &self.system.settings)?;
        Ok(self.system.run(session, bound, &format!("{}: {}", self.doing, query.place)).await?.rows)
    }

    async fn joins(
        &self,
        session: &mut Session,
        joins: &[Join],
        rows: &mut [Value],
        values: &Map<String, Value>,
    ) -> Result<(), Failure> {
        for join in joins {
            let keys = rows
                .iter()
                .map(|row| join.to.eval(&self.base.on_row(row)).map_err(fatal))
                .collect::<Result<Vec<_>, _>>()?;
            let known = |key: &&Value| !key.is_null() && flaw::first(key).is_none();
            let mut ids: Vec<Value> = keys.iter().filter(known).cloned().collect();
            ids.sort_by_cached_key(text_of);
            ids.dedup();
            if let Some(when) = &join.when {
                let scope =
                    self.base.child().with_owned("rows", Value::from(rows.to_vec())).with_owned("ids", ids.clone());
                if !when.eval_bool(&scope).map_err(fatal)? {
                    continue;
                }
            }
            let mut children: HashMap<String, Vec<Value>> = HashMap::new();
            for ids in ids.chunks(JOIN_MAX) {
                let mut values = values.clone();
                values.insert("ids".into(), Value::from(ids.to_vec()));
                for child in self.query(session, &join.query, &values).await? {
                    let on = join.on.eval_text(&self.base.on_row(&child)).map_err(fatal)?;
                    children.entry(on).or_default().push(child);
                }
            }
            for (row, key) in rows.iter_mut().zip(&keys) {
                let own = text_of(key).and_then(|key| children.get(&key)).cloned().unwrap_or_default();
                let value = match (join.one, own.len()) {
                    (false, _) => Value::Array(own),
                    (true, 0 | 1) => own.into_iter().next().unwrap_or_default(),
                    (true, several) => {
                        let place = &join.query.place;
                        return Err(self.fatal(format!("{place}: {several} children where `one` is expected")));
                    }
                };
                if let Value::Object(members) = row {
                    members.insert(join.into.clone(), value);
                }
            }
        }
        Ok(())
    }

    /// Turn rows into source rows: split, kept or not, with id and version. `before` is the number of rows on
    /// earlier pages.
    fn take(&self, split: Option<&Expr>, rows: Vec<Value>, before: u64) -> Result<Taken, Failure> {
        let mut taken = Taken::default();
        for (index, row) in rows.into_iter().enumerate() {
            let position = format!("row {}", before + index as u64 + 1);
            let parts = match split {
                None => vec![row],
                Some(split) => match self.parts(split, &row)? {
                    Ok(parts) => parts,
                    Err(reason) => {
                        taken.errors.push(RowError { position, id: None, reason, row: None });
                        continue;
                    }
                },
            };
            for part in parts {
                let scope = self.base.on_row(&part);
                let id = self.entity.id.eval_text(&scope);
                let version = match self.version_if_kept(&scope) {
                    Ok(Some(version)) => version,
                    Ok(None) => continue,
                    Err(error) => {
                        let reason = of_row(error, &part)?;
                        drop(scope);
                        let (position, id) = (position.clone(), id.ok());
                        taken.errors.push(RowError { position, id, reason, row: Some(part) });
                        continue;
                    }
                };
                match id {
                    Ok(id) if !id.is_empty() => {
                        drop(scope);
                        taken.rows.push(SourceRow {
                            id,
                            position: position.clone(),
                            version,
                            body: RowBody::Json(part),
                        });
                    }
                    unnamed => {
                        drop(scope);
                        let reason = match unnamed {
                            Ok(_) => "the id is empty".to_owned(),
                            Err(error) => flaw::first(&part).map_or_else(|| error.to_string(), |flaw| flaw.to_string()),
                        };
                        taken.errors.push(RowError { position: position.clone(), id: None, reason, row: Some(part) });
                    }
                }
            }
        }
        Ok(taken)
    }

    /// The entity's rows in a listed row, or the reason why it cannot be split.
    fn parts(&self, split: &Expr, row: &Value) -> Result<Result<Vec<Value>, String>, Failure> {
        // It is unknown to which of them an unreadable value belongs.
        if let Some(flaw) = flaw::first(row) {
            return Ok(Err(flaw.to_string()));
        }
        Ok(match split.eval(&self.base.on_row(row)) {
            Ok(Value::Array(parts)) => Ok(parts),
            Ok(Value::Null) => Ok(Vec::new()),
            Ok(other) => Ok(vec![other]),
            Err(error) => Err(of_row(error, row)?),
        })
    }

    /// The row's version, if the row counts.
    fn version_if_kept(&self, scope: &Scope<'_>) -> Result<Option<Option<String>>, ExprError> {
        if let Some(keep) = &self.entity.keep
            && !keep.eval_bool(scope)?
        {
            return Ok(None);
        }
        let version = self.entity.version.as_ref().map(|version| version.eval_cow(scope)).transpose()?;
        Ok(Some(version.and_then(|version| text_of(&version))))
    }
}

/// Fingerprint of a page.
fn fingerprint(rows: &[Value]) -> String {
    let mut hasher = blake3::Hasher::new();
    rows.iter().for_each(|row| canonical::hash_into(row, &mut hasher));
    hasher.finalize().to_hex()[..32].to_owned()
}

/// If an expression fails because of a row's value, only this row is affected; if a member is missing, the adapter
/// is wrong.
fn of_row(error: ExprError, row: &Value) -> Result<String, Failure> {
    match flaw::first(row) {
        Some(flaw) => Ok(flaw.to_string()),
        None if error.cause.starts_with("missing member") => Err(fatal(error)),
        None => Ok(error.to_string()),
    }
}
