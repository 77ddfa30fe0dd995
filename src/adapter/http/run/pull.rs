//! Reads one page of a listing, and turns rows into the form that the engine takes.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    evaluate::Verb,
    exchange::Exchange,
    joins::{join, seen},
    pages::{self, rows},
};
use crate::{
    adapter::{
        compile::Cursor,
        http::compile::{Entity, List},
    },
    env::Moment,
    expr::{Expr, Scope, text_of},
    failure::{Class, Failure},
    model::flaw,
    port::{Page, PageToken, PullRequest, RowBody, RowError, SourceRow},
};

/// The position of a pull between two pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stand {
    pages: pages::Progress,
    /// The moment before the first request.
    began: Moment,
    /// The greatest watermark seen.
    mark: Option<String>,
}

/// Read one page.
///
/// # Errors
/// If a request fails, or the listing does not hold what it announces.
pub async fn pull(
    entity: &Entity,
    list: &List,
    request: &PullRequest<'_>,
    exchange: &Exchange,
    scope: &Scope<'_>,
) -> Result<Page, Failure> {
    let mut stand = match (request.page, &list.listing.pages) {
        (Some(PageToken(token)), _) => serde_json::from_value(token.clone()).map_err(|error| {
            Failure::new(Class::Fatal, format!("the listing cannot go on from its page mark ({error}); start it anew"))
        })?,
        (None, pager) => Stand {
            pages: pager.as_ref().map(|pager| pager.start(request.limit)).unwrap_or_default(),
            began: exchange.env.moment(),
            mark: None,
        },
    };
    let since = list.cursor.as_ref().and_then(|cursor| cursor.known(request.since, stand.began.at));
    let cursor = match (&list.cursor, since) {
        (Some(cursor), Some(since)) => cursor.start(since).map_err(|problem| Failure::new(Class::Fatal, problem))?,
        _ => Value::Null,
    };
    let page = stand.pages.variable();
    let scope = scope.child().with("cursor", &cursor).with("page", &page);
    let call = &list.listing.call;
    let requester = exchange.requester(Verb::List, &scope);
    let answer = match &stand.pages.link {
        Some(link) => requester.follow(link, call).await?,
        None => requester.call(call, None).await?,
    };
    let answered = exchange.env.moment();
    let mut listed = rows(&list.listing.rows, &answer, &scope, Verb::List, list.listing.lenient())?;
    let number = stand.pages.pages + 1;
    let mut more = false;
    if let Some(pager) = &list.listing.pages {
        (stand.pages, more) = pager.advance(stand.pages, &seen(&answer, &listed, Some(&entity.id), &scope), &scope)?;
    }
    // The announced total counts listed rows. If some are left out or split, it is not a number of objects. It is
    // still proven above.
    let total = stand.pages.total.filter(|_| entity.keep.is_none() && list.split.is_none());
    let mut result = Page { total, ..Page::default() };
    if let Some(cursor) = &list.cursor {
        let at = Listed { entity, cursor, page: number, now: answered.at };
        stand.mark = at.mark(&listed, stand.mark.take(), &mut result.dates, &scope);
        // What comes after a row that is older than the start is known already.
        more = more && !(list.newest_first && since.is_some_and(|since| at.reaches(&listed, since, &scope)));
    }
    let refused = join(&list.joins, &mut listed, &requester).await?;

    let mut taken = Rows::new(entity, exchange.scope(), result.errors);
    for (index, row) in listed.into_iter().enumerate() {
        let position = format!("page {number} row {}", index + 1);
        match (refused.get(&index), &list.split) {
            (Some(reason), _) => taken.reject(&row, &position, reason),
            (None, None) => taken.take(row, position),
            (None, Some(split)) => taken.split(&row, split, &position),
        }
    }
    (result.rows, result.errors) = taken.listed();
    if more {
        let token = serde_json::to_value(&stand).map_err(|error| Failure::new(Class::Fatal, error.to_string()))?;
        result.next = Some(PageToken(token));
    } else if let Some(cursor) = &list.cursor {
        let mark = if number > 1 { cursor.paged(stand.mark, stand.began.until(answered)) } else { stand.mark };
        // A listing of changes may be empty, or end before the previous one did.
        result.cursor = cursor.later(since.map(str::to_owned), mark);
    }
    Ok(result)
}

/// What the watermark needs of a page.
struct Listed<'a> {
    entity: &'a Entity,
    cursor: &'a Cursor,
    /// Number of the page.
    page: u64,
    now: DateTime<Utc>,
}

impl Listed<'_> {
    /// Raise the watermark by a page's rows. Report rows whose date cannot be used.
    fn mark(
        &self,
        rows: &[Value],
        mut mark: Option<String>,
        odd: &mut Vec<RowError>,
        scope: &Scope<'_>,
    ) -> Option<String> {
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.is_object()) {
            let own = scope.on_row(row);
            let value = self.cursor.field.eval(&own).map_err(|error| format!("cannot be read ({})", error.cause));
            if let Some(reason) = self.cursor.raise(&mut mark, value, self.now) {
                let id = self.entity.id.eval(&own).ok().as_ref().and_then(text_of);
                odd.push(RowError { position: format!("page {} row {}", self.page, index + 1), id, reason, row: None });
            }
        }
        mark
    }

    /// Whether a page shows a row from before the start of a delta.
    fn reaches(&self, rows: &[Value], since: &str, scope: &Scope<'_>) -> bool {
        let older = |row: &Value| {
            let date = self.cursor.field.eval(&scope.on_row(row)).ok();
            date.is_some_and(|date| self.cursor.is_before(&date, since))
        };
        rows.iter().filter(|row| row.is_object()).any(older)
    }
}

/// Turns rows of an answer into rows of the engine: those that are kept, with their ids, each id once.
pub struct Rows<'a> {
    entity: &'a Entity,
    /// The system's settings, because `keep` and `split` may use them.
    base: Scope<'a>,
    taken: Vec<SourceRow>,
    /// Rows that occurred again with the same content.
    repeated: Vec<SourceRow>,
    errors: Vec<RowError>,
    by_id: HashMap<String, usize>,
}

impl<'a> Rows<'a> {
    #[must_use]
    pub fn new(entity: &'a Entity, base: Scope<'a>, errors: Vec<RowError>) -> Self {
        Self { entity, base, taken: Vec::new(), repeated: Vec::new(), errors, by_id: HashMap::new() }
    }

    /// Take the entity's rows in a listed row.
    pub fn split(&mut self, row: &Value, split: &Expr, position: &str) {
        // It is unknown to which of them the unreadable value belongs.
        if let Some(flaw) = flaw::first(row) {
            return self.refuse(position, None, &flaw.to_string());
        }
        let parts = split.eval(&self.base.on_row(row));
        let parts = match parts {
            Ok(Value::Array(parts)) => parts,
            Ok(other) => {
                return self.refuse(position, None, &format!("`split` gives {}", crate::expr::json_kind(&other)));
            }
            Err(error) => return self.refuse(position, None, &error.to_string()),
        };
        for (index, part) in parts.into_iter().enumerate() {
            self.take(part, format!("{position} part {}", index + 1));
        }
    }

    pub fn take(&mut self, row: Value, position: String) {
        if !row.is_object() {
            return self.refuse(
                &position,
                None,
                &format!("the row is {}, not an object", crate::expr::json_kind(&row)),
            );
        }
        match self.read(&row) {
            Ok(None) => {}
            Ok(Some((id, version))) => self.put(SourceRow { id, position, version, body: RowBody::Json(row) }),
            Err(reason) => {
                let reason = flaw::first(&row).map_or(reason, |flaw| flaw.to_string());
                let id = self.id_of(&row);
                self.errors.push(RowError { position, id, reason, row: Some(row) });
            }
        }
    }

    /// Report a listed row for which nothing can be asked, unless `keep` leaves it out anyway.
    pub fn reject(&mut self, row: &Value, position: &str, reason: &str) {
        let left_out = |keep: &Expr| keep.eval_bool(&self.base.on_row(row)).is_ok_and(|kept| !kept);
        if !self.entity.keep.as_ref().is_some_and(left_out) {
            self.refuse(position, self.id_of(row), reason);
        }
    }

    /// The id of a rejected row, if it can be read: what is known of its object stays known.
    fn id_of(&self, row: &Value) -> Option<String> {
        self.entity.id.eval_text(&self.base.on_row(row)).ok().filter(|id| !id.is_empty())
    }

    /// Each object once.
    #[must_use]
    pub fn done(self) -> (Vec<SourceRow>, Vec<RowError>) {
        (self.taken, self.errors)
    }

    /// Every listed row, so all are counted. Of rows with the same id, the last one counts.
    #[must_use]
    pub fn listed(mut self) -> (Vec<SourceRow>, Vec<RowError>) {
        self.repeated.append(&mut self.taken);
        (self.repeated, self.errors)
    }

    fn read(&self, row: &Value) -> Result<Option<(String, Option<String>)>, String> {
        let scope = self.base.on_row(row);
        if let Some(keep) = &self.entity.keep
            && !keep.eval_bool(&scope).map_err(|error| error.to_string())?
        {
            return Ok(None);
        }
        let id = self.entity.id.eval(&scope).map_err(|error| format!("the row has no id: {error}"))?;
        let id = text_of(&id).filter(|id| !id.is_empty()).ok_or("the row has no id")?;
        let version = match &self.entity.version {
            Some(version) => text_of(&version.eval(&scope).map_err(|error| error.to_string())?),
            None => None,
        };
        Ok(Some((id, version)))
    }

    /// If two rows have the same id, the later one stays. They are an error only if they differ.
    fn put(&mut self, row: SourceRow) {
        let Some(&at) = self.by_id.get(&row.id) else {
            self.by_id.insert(row.id.clone(), self.taken.len());
            self.taken.push(row);
            return;
        };
        let earlier = std::mem::replace(&mut self.taken[at], row);
        let (RowBody::Json(before), RowBody::Json(now)) = (&earlier.body, &self.taken[at].body) else { return };
        if before == now {
            self.repeated.push(earlier);
        } else {
            let reason = format!("the same id stands again, with other content, at {}", self.taken[at].position);
            self.refuse(&earlier.position, Some(earlier.id), &reason);
        }
    }

    fn refuse(&mut self, position: &str, id: Option<String>, reason: &str) {
        self.errors.push(RowError { position: position.to_owned(), id, reason: reason.to_owned(), row: None });
    }
}
