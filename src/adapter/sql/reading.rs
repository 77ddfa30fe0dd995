//! Listings in pages, reading by id, and looking up: statements to rows, with their children.

use std::{collections::HashMap, sync::atomic::Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    SqlSystem,
    config::By,
    database::{Mode, Session},
    entity::{Entity, Join, List, Query, row_scope, scope_of},
    failure::{Phase, Trouble},
    statement::Bound,
    value::Answer,
};
use crate::{
    adapter::{compile::fatal, course::Course, unreached},
    env::Moment,
    expr::{Expr, ExprError, Scope, text_of},
    failure::{Class, Failure},
    model::{canonical, flaw},
    port::{Page, PageToken, Probe, PullRequest, RowBody, RowError, SourceRow},
    wait_reason::WaitReason,
};

/// Ids of one query of a join: below every database's limit of parameters.
const JOIN_MAX: usize = 10_000;

/// Where a listing stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Token {
    page: u64,
    /// Before the first page was read.
    began: Moment,
    /// Key of the last row read, or how many rows were read.
    after: Value,
    rows: u64,
    total: Option<u64>,
    mark: Option<String>,
    #[serde(default)]
    course: Course,
}

/// Rows taken apart into those that can be used and those that cannot.
#[derive(Default)]
struct Taken {
    rows: Vec<SourceRow>,
    errors: Vec<RowError>,
}

impl SqlSystem {
    pub(super) async fn list(&self, entity: &Entity, list: &List, request: &PullRequest<'_>) -> Result<Page, Failure> {
        let doing = format!("{}/{}: list", self.name, entity.name);
        let name = Value::from(entity.name.as_str());
        let base = scope_of(&self.settings, &name);
        let mut session = self.begin(Mode::Read, &doing).await?;

        let mut token = match request.page {
            Some(PageToken(token)) => Token::deserialize(token)
                .map_err(|error| Failure::new(Class::Fatal, format!("{doing}: the page mark is not ours: {error}")))?,
            None => self.start(list, request.since, &mut session, &doing).await?,
        };
        let known = list.cursor.as_ref().and_then(|cursor| cursor.known(request.since, token.began.at));
        let since = match (known, &list.cursor) {
            (Some(since), Some(cursor)) => {
                cursor.start(since).map_err(|problem| Failure::new(Class::Fatal, format!("{doing}: {problem}")))?
            }
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
        let mut rows = self.query(&mut session, &list.query, &values, &doing).await?;
        let count = rows.len();
        if count > limit {
            let message =
                format!("{doing}: {}: more rows than :limit came back; is it in the query?", list.query.place);
            return Err(Failure::new(Class::Fatal, message));
        }
        let read = self.env.moment();
        let next = self.next(list, &token, &rows, limit, &base, &doing)?;
        if let (Some(pages), Some(next)) = (&list.pages, &next) {
            let print = if pages.by == By::Keyset { next.to_string() } else { print(&rows) };
            let course = token.course.page(&print);
            let course = course.and_then(|()| token.course.read((token.rows + count as u64, token.total), (0, None)));
            course
                .map_err(|problem| Failure::new(Class::Fatal, format!("{doing}: {problem}; does the query page?")))?;
        }
        self.joins(&mut session, &list.joins, &mut rows, &values, &base, &doing).await?;
        drop(session);

        let mut dates = Vec::new();
        if let Some(cursor) = &list.cursor {
            for (index, row) in rows.iter().enumerate() {
                let own = row_scope(&base, row);
                // A column that is not there is the adapter's fault.
                let value = cursor.field.eval(&own).map_err(fatal)?;
                if let Some(reason) = cursor.raise(&mut token.mark, Ok(value), read.at) {
                    let position = format!("row {}", token.rows + index as u64 + 1);
                    let id = entity.id.eval_text(&own).ok();
                    dates.push(RowError { position, id, reason, row: None });
                }
            }
        }
        let taken = take(entity, list.split.as_ref(), rows, token.rows, &base)?;
        token.rows += count as u64;
        token.page += 1;
        // Rows that were counted are no objects where some are left out or taken apart; they are proven below all the same.
        let total = token.total.filter(|_| entity.keep.is_none() && list.split.is_none());
        let mut reached = None;
        if next.is_none() {
            self.prove(&token, &doing)?;
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
                    serde_json::to_value(Token { after, ..token })
                        .map_err(|error| Failure::new(Class::Fatal, format!("{doing}: {error}")))?,
                )),
                None => None,
            },
            total,
            is_new: false,
            receipt: None,
        })
    }

    /// The first page's mark; a full listing counts first what it has to find.
    async fn start(
        &self,
        list: &List,
        since: Option<&str>,
        session: &mut Session,
        doing: &str,
    ) -> Result<Token, Failure> {
        let began = self.env.moment();
        let after = match &list.pages {
            Some(pages) if pages.by == By::Keyset => pages.first.clone(),
            _ => Value::from(0),
        };
        let total = match (&list.total, since) {
            (Some(total), None) => {
                let rows = self.query(session, total, &Map::new(), doing).await?;
                let count = rows.first().and_then(Value::as_object).and_then(|row| row.values().next());
                let count = count.and_then(|count| text_of(count)?.parse::<u64>().ok());
                Some(count.ok_or_else(|| {
                    Failure::new(Class::Fatal, format!("{doing}: {}: `total` gives no whole number", total.place))
                })?)
            }
            _ => None,
        };
        Ok(Token { page: 0, began, after, rows: 0, total, mark: None, course: Course::default() })
    }

    /// `:after` or `:offset` of the next page; nothing after the last.
    fn next(
        &self,
        list: &List,
        token: &Token,
        rows: &[Value],
        limit: usize,
        base: &Scope<'_>,
        doing: &str,
    ) -> Result<Option<Value>, Failure> {
        let (Some(pages), Some(last)) = (&list.pages, rows.last()) else { return Ok(None) };
        if rows.len() < limit {
            return Ok(None);
        }
        if token.page + 1 >= pages.max_pages {
            let message = format!("{doing}: no end after {} pages (max_pages); does the query page?", pages.max_pages);
            return Err(Failure::new(Class::Fatal, message));
        }
        if pages.by == By::Offset {
            return Ok(Some(Value::from(token.rows + rows.len() as u64)));
        }
        let key = pages.key.eval(&row_scope(base, last)).map_err(fatal)?;
        if let Some(flaw) = flaw::first(&key) {
            let message = format!("{doing}: the listing cannot go on behind a row whose key is unreadable: {flaw}");
            return Err(Failure::new(Class::Fatal, message));
        }
        if key.is_null() || key == token.after {
            let message = format!("{doing}: the key of the last row does not move on; the query must order by it");
            return Err(Failure::new(Class::Fatal, message));
        }
        if token.page == 0 && pages.first.is_number() && key.is_string() {
            let message =
                format!("{doing}: the key is a text, but pages begin after {}; say `first = \"\"`", pages.first);
            return Err(Failure::new(Class::Fatal, message));
        }
        Ok(Some(key))
    }

    fn prove(&self, token: &Token, doing: &str) -> Result<(), Failure> {
        match token.total {
            Some(total) if token.rows < total => Err(Failure::new(
                Class::Transient,
                format!("{doing}: {total} rows were counted and {} read; the listing is not complete", token.rows),
            )
            .with_cause(WaitReason::Setup)),
            _ => Ok(()),
        }
    }

    pub(super) async fn read_ids(&self, entity: &Entity, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        let doing = format!("{}/{}: read", self.name, entity.name);
        let mut session = self.begin(Mode::Read, &doing).await?;
        self.read_within(&mut session, entity, ids, &doing).await
    }

    /// Reads objects in a transaction that may have just written them.
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
        let base = scope_of(&self.settings, &name);
        let mut found = Vec::new();
        for ids in ids.chunks(read.max) {
            let mut values = Map::new();
            values.insert("ids".into(), Value::from(ids.to_vec()));
            let mut rows = self.query(session, &read.query, &values, doing).await?;
            self.joins(session, &read.joins, &mut rows, &values, &base, doing).await?;
            let taken = take(entity, read.split.as_ref(), rows, 0, &base)?;
            if let Some(error) = taken.errors.first() {
                return Err(Failure::new(Class::Fatal, format!("{doing}: {}: {}", error.position, error.reason)));
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
        let base = scope_of(&self.settings, &name);
        let mut values = probe.body.as_object().cloned().unwrap_or_default();
        values.insert("key".into(), Value::from(probe.key));
        values.insert("since".into(), super::value::instant(probe.since));
        let mut session = self.begin(Mode::Read, &doing).await?;
        let mut rows = self.query(&mut session, &find.query, &values, &doing).await?;
        self.joins(&mut session, &find.joins, &mut rows, &values, &base, &doing).await?;
        let mut ours = Vec::new();
        for row in rows {
            let own = row_scope(&base, &row)
                .with_owned("key", probe.key)
                .with("wanted", probe.desired)
                .with("body", probe.body);
            if find.r#where.eval_bool(&own).map_err(fatal)? {
                ours.push(row);
            }
        }
        Ok(take(entity, None, ours, 0, &base)?.rows)
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
            let mut failure = Trouble::from(error).into_failure(doing, Phase::Running);
            if let Some(words) = words {
                failure.message = format!("{doing}: {words}");
            }
            failure
        })
    }

    pub(super) async fn run(&self, session: &mut Session, bound: Bound, doing: &str) -> Result<Answer, Failure> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        session.run(bound, self.limits).await.map_err(|trouble| trouble.into_failure(doing, Phase::Running))
    }

    async fn query(
        &self,
        session: &mut Session,
        query: &Query,
        values: &Map<String, Value>,
        doing: &str,
    ) -> Result<Vec<Value>, Failure> {
        let bound = query.bind(values, &self.settings)?;
        Ok(self.run(session, bound, &format!("{doing}: {}", query.place)).await?.rows)
    }

    async fn joins(
        &self,
        session: &mut Session,
        joins: &[Join],
        rows: &mut [Value],
        values: &Map<String, Value>,
        base: &Scope<'_>,
        doing: &str,
    ) -> Result<(), Failure> {
        for join in joins {
            let keys = rows
                .iter()
                .map(|row| join.to.eval(&row_scope(base, row)).map_err(fatal))
                .collect::<Result<Vec<_>, _>>()?;
            let known = |key: &&Value| !key.is_null() && flaw::first(key).is_none();
            let mut ids: Vec<Value> = keys.iter().filter(known).cloned().collect();
            ids.sort_by_cached_key(text_of);
            ids.dedup();
            if let Some(when) = &join.when {
                let scope = base.child().with_owned("rows", Value::from(rows.to_vec())).with_owned("ids", ids.clone());
                if !when.eval_bool(&scope).map_err(fatal)? {
                    continue;
                }
            }
            let mut children: HashMap<String, Vec<Value>> = HashMap::new();
            for ids in ids.chunks(JOIN_MAX) {
                let mut values = values.clone();
                values.insert("ids".into(), Value::from(ids.to_vec()));
                for child in self.query(session, &join.query, &values, doing).await? {
                    let on = join.on.eval_text(&row_scope(base, &child)).map_err(fatal)?;
                    children.entry(on).or_default().push(child);
                }
            }
            for (row, key) in rows.iter_mut().zip(&keys) {
                let own = text_of(key).and_then(|key| children.get(&key)).cloned().unwrap_or_default();
                let value = match (join.one, own.len()) {
                    (false, _) => Value::Array(own),
                    (true, 0 | 1) => own.into_iter().next().unwrap_or_default(),
                    (true, several) => {
                        let message =
                            format!("{doing}: {}: {several} children where `one` is expected", join.query.place);
                        return Err(Failure::new(Class::Fatal, message));
                    }
                };
                if let Value::Object(members) = row {
                    members.insert(join.into.clone(), value);
                }
            }
        }
        Ok(())
    }
}

/// Fingerprint of a page.
fn print(rows: &[Value]) -> String {
    let mut hasher = blake3::Hasher::new();
    rows.iter().for_each(|row| canonical::hash_into(row, &mut hasher));
    hasher.finalize().to_hex()[..32].to_owned()
}

/// What an expression meets in one row is that row's affair; a member that is not there is the adapter's.
fn of_row(error: ExprError, row: &Value) -> Result<String, Failure> {
    match flaw::first(row) {
        Some(flaw) => Ok(flaw.to_string()),
        None if error.cause.starts_with("missing member") => Err(fatal(error)),
        None => Ok(error.to_string()),
    }
}

/// The rows within a listed one, or why it cannot be taken apart.
fn parts(split: &Expr, row: &Value, base: &Scope<'_>) -> Result<Result<Vec<Value>, String>, Failure> {
    // Which of them an unreadable value belongs to cannot be told.
    if let Some(flaw) = flaw::first(row) {
        return Ok(Err(flaw.to_string()));
    }
    Ok(match split.eval(&row_scope(base, row)) {
        Ok(Value::Array(parts)) => Ok(parts),
        Ok(Value::Null) => Ok(Vec::new()),
        Ok(other) => Ok(vec![other]),
        Err(error) => Err(of_row(error, row)?),
    })
}

/// The row's version, if the row counts.
fn judged(entity: &Entity, scope: &Scope<'_>) -> Result<Option<Option<String>>, ExprError> {
    if let Some(keep) = &entity.keep
        && !keep.eval_bool(scope)?
    {
        return Ok(None);
    }
    let version = entity.version.as_ref().map(|version| version.eval_cow(scope)).transpose()?;
    Ok(Some(version.and_then(|version| text_of(&version))))
}

/// Rows to source rows: split, kept or not, with their id and version. `before` rows were read on earlier pages.
fn take(
    entity: &Entity,
    split: Option<&Expr>,
    rows: Vec<Value>,
    before: u64,
    base: &Scope<'_>,
) -> Result<Taken, Failure> {
    let mut taken = Taken::default();
    for (index, row) in rows.into_iter().enumerate() {
        let position = format!("row {}", before + index as u64 + 1);
        let parts = match split {
            None => vec![row],
            Some(split) => match parts(split, &row, base)? {
                Ok(parts) => parts,
                Err(reason) => {
                    taken.errors.push(RowError { position, id: None, reason, row: None });
                    continue;
                }
            },
        };
        for part in parts {
            let scope = row_scope(base, &part);
            let id = entity.id.eval_text(&scope);
            let version = match judged(entity, &scope) {
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
                    taken.rows.push(SourceRow { id, position: position.clone(), version, body: RowBody::Json(part) });
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
