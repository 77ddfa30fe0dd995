//! Joins: reads children in bulk for the rows of a page, and puts them on the rows.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use serde_json::Value;

use super::{
    answer::Answer,
    exchange::Requester,
    pages::{Seen, rows},
};
use crate::{
    adapter::{
        http::compile::{Join, Listing},
        manifest::http::Receive,
        run::fatal,
    },
    expr::{Expr, ExprError, Scope, text_of},
    failure::Failure,
    model::flaw,
    wait_reason::WaitReason,
};

/// Number of rows to ask for in one request of a listing that is read as a whole, unless the adapter sets a page
/// size.
const WHOLE: usize = 1000;

impl Listing {
    #[must_use]
    pub fn lenient(&self) -> bool {
        self.call.receive == Receive::Xml
    }

    /// Check that the first request can be made.
    ///
    /// # Errors
    /// What is missing in it, or what in it cannot be sent.
    fn sendable(&self, requester: &Requester<'_>) -> Result<(), Failure> {
        let page = self.pages.as_ref().map(|pager| pager.start(WHOLE).variable());
        let mut scope = requester.scope.child();
        if let Some(page) = &page {
            scope = scope.with("page", page);
        }
        requester.with(&scope).sendable(&self.call)
    }

    /// All rows of all pages.
    ///
    /// # Errors
    /// If a request fails, or the listing does not hold what it announces.
    pub async fn all(&self, requester: &Requester<'_>) -> Result<Vec<Value>, Failure> {
        let Requester { exchange, verb, scope } = *requester;
        let Some(pager) = &self.pages else {
            let answer = requester.call(&self.call, None).await?;
            return rows(&self.rows, &answer, scope, verb, self.lenient());
        };
        let mut at = pager.start(WHOLE);
        let mut all = Vec::new();
        let mut values = 0_usize;
        loop {
            let variable = at.variable();
            let scope = scope.child().with("page", &variable);
            let requester = requester.with(&scope);
            let answer = match &at.link {
                Some(link) => requester.follow(link, &self.call).await?,
                None => requester.call(&self.call, None).await?,
            };
            let page = rows(&self.rows, &answer, &scope, verb, self.lenient())?;
            values = values.saturating_add(answer.values);
            if values > exchange.max_values {
                let message = format!(
                    "the pages hold more than {} values; raise `max_values` in [http], or ask for less at once",
                    exchange.max_values
                );
                return Err(answer.failure(verb.in_doubt(), &message).with_cause(WaitReason::Setup));
            }
            let (next, more) = pager.advance(at, &seen(&answer, &page, None, &scope), &scope)?;
            all.extend(page);
            if !more {
                return Ok(all);
            }
            at = next;
        }
    }
}

/// What the pager must know of a page. `id` is the entity's id, if the rows have one.
#[must_use]
pub fn seen<'a>(answer: &'a Answer, page: &'a [Value], id: Option<&Expr>, scope: &Scope<'_>) -> Seen<'a> {
    let mut hasher = blake3::Hasher::new();
    for row in page {
        match id.and_then(|id| id.eval(&scope.on_row(row)).ok()) {
            Some(id) => crate::model::canonical::hash_into(&id, &mut hasher),
            None => crate::model::canonical::hash_into(row, &mut hasher),
        }
    }
    let last = page.last();
    Seen {
        answer,
        rows: page.len() as u64,
        last,
        last_id: last.and_then(|row| id?.eval(&scope.on_row(row)).ok()),
        fingerprint: (!page.is_empty()).then(|| hasher.finalize().to_hex()[..32].to_owned()),
    }
}

/// Read the children of `page` and put them on its rows. If nothing can be asked for a row, it stays as it is, and
/// the result gives the reason by the row's index in `page`.
///
/// # Errors
/// If a request fails, or it is unknown to which row children belong.
pub async fn join(joins: &[Join], page: &mut [Value], requester: &Requester<'_>) -> Result<Refused, Failure> {
    if joins.is_empty() {
        return Ok(Refused::new());
    }
    // Rows with an unreadable value get no joins; the mapping rejects them.
    let flawed: Vec<usize> =
        page.iter().enumerate().filter(|(_, row)| flaw::first(row).is_some()).map(|(index, _)| index).collect();
    let mut refused: Refused = flawed.iter().map(|index| (*index, String::new())).collect();
    for join in joins {
        let asked = join.askable(page, &mut refused, requester)?;
        let children = if asked.is_empty() { HashMap::new() } else { join.children(&asked, requester).await? };
        for (index, row) in page.iter_mut().enumerate() {
            if refused.contains_key(&index) {
                continue;
            }
            if let Err(reason) = join.place(row, &children, requester.scope) {
                refused.insert(index, reason);
            }
        }
    }
    flawed.iter().for_each(|index| drop(refused.remove(index)));
    Ok(refused)
}

/// Why nothing can be asked for a row, by its index in the page.
pub type Refused = BTreeMap<usize, String>;

/// The requests of a join.
enum Asks {
    Nothing,
    Once,
    Each(Vec<Value>),
}

/// Children by the text that identifies their row.
type Children = HashMap<String, Vec<Value>>;

/// The pending request for the children of one item, with the key of its row unless the children name their rows
/// themselves.
type PendingChildren<'a> = BoxFuture<'a, Result<(Option<String>, Vec<Value>), Failure>>;

impl Join {
    /// The rows for which children can be asked. If a row prevents the requests of all, it is found by trying each
    /// row alone.
    fn askable(&self, page: &[Value], refused: &mut Refused, requester: &Requester<'_>) -> Result<Vec<Value>, Failure> {
        let left = |refused: &Refused| -> Vec<Value> {
            let rows = page.iter().enumerate().filter(|(index, _)| !refused.contains_key(index));
            rows.map(|(_, row)| row.clone()).collect()
        };
        let rows = left(refused);
        let Err(failure) = self.sendable(&rows, requester) else { return Ok(rows) };
        let known = refused.len();
        for (index, row) in page.iter().enumerate() {
            if !refused.contains_key(&index)
                && let Err(failure) = self.sendable(std::slice::from_ref(row), requester)
            {
                refused.insert(index, failure.message);
            }
        }
        if refused.len() == known {
            return Err(failure);
        }
        let rows = left(refused);
        self.sendable(&rows, requester).map(|()| rows)
    }

    /// Check that all requests can be made.
    fn sendable(&self, rows: &[Value], requester: &Requester<'_>) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let (rows, ids) = (Value::from(rows.to_vec()), self.ids(rows, requester.scope));
        let scope = requester.scope.child().with("rows", &rows).with("ids", &ids);
        match self.asks(&scope)? {
            Asks::Nothing => Ok(()),
            Asks::Once => self.listing.sendable(&requester.with(&scope)),
            Asks::Each(items) => items.iter().try_for_each(|item| {
                let scope = scope.child().with("item", item);
                self.key(item, &scope)?;
                self.listing.sendable(&requester.with(&scope))
            }),
        }
    }

    /// Rows without an id are rejected later; here they have no children.
    fn ids(&self, page: &[Value], scope: &Scope<'_>) -> Value {
        page.iter().filter_map(|row| self.id.eval(&scope.on_row(row)).ok()).filter(|id| !id.is_null()).collect()
    }

    fn wrong(&self, error: ExprError) -> Failure {
        let mut failure = fatal(error);
        failure.message = format!("join into `{}`: {}", self.into, failure.message);
        failure
    }

    fn asks(&self, scope: &Scope<'_>) -> Result<Asks, Failure> {
        if let Some(when) = &self.when
            && !when.eval_bool(scope).map_err(|error| self.wrong(error))?
        {
            return Ok(Asks::Nothing);
        }
        let Some(for_each) = &self.for_each else { return Ok(Asks::Once) };
        match for_each.eval(scope).map_err(|error| self.wrong(error))? {
            Value::Array(items) => Ok(Asks::Each(items)),
            _ => Err(self.wrong(for_each.error("gives no list"))),
        }
    }

    /// The text that identifies an item's row, if the children do not name it themselves.
    fn key(&self, item: &Value, scope: &Scope<'_>) -> Result<Option<String>, Failure> {
        match &self.on {
            Some(_) => Ok(None),
            None => self.to.eval_text(&scope.on_row(item)).map(Some).map_err(|error| self.wrong(error)),
        }
    }

    async fn children(&self, page: &[Value], requester: &Requester<'_>) -> Result<Children, Failure> {
        let (rows, ids) = (Value::from(page.to_vec()), self.ids(page, requester.scope));
        let scope = requester.scope.child().with("rows", &rows).with("ids", &ids);
        let mut children: Children = HashMap::new();
        match self.asks(&scope)? {
            Asks::Nothing => {}
            Asks::Once => {
                let rows = self.listing.all(&requester.with(&scope)).await?;
                self.sort_by_row(rows, &mut children, &scope)?;
            }
            Asks::Each(items) => {
                let mut asked: Vec<PendingChildren<'_>> = Vec::new();
                for item in &items {
                    let scope = scope.child().with("item", item);
                    asked.push(Box::pin(async move {
                        Ok((self.key(item, &scope)?, self.listing.all(&requester.with(&scope)).await?))
                    }));
                }
                let mut answers = stream::iter(asked).buffered(requester.exchange.concurrency);
                while let Some((key, rows)) = answers.try_next().await? {
                    match key {
                        Some(key) => {
                            children.insert(key, rows);
                        }
                        None => self.sort_by_row(rows, &mut children, &scope)?,
                    }
                }
            }
        }
        Ok(children)
    }

    /// Group children by the row that each names.
    fn sort_by_row(&self, rows: Vec<Value>, children: &mut Children, scope: &Scope<'_>) -> Result<(), Failure> {
        let Some(on) = &self.on else { return Ok(()) };
        for child in rows {
            let key = on.eval_text(&scope.on_row(&child)).map_err(|error| {
                let mut failure = self.wrong(error);
                failure.message = format!("a child does not name its row: {}", failure.message);
                failure
            })?;
            children.entry(key).or_default().push(child);
        }
        Ok(())
    }

    /// Put a row's children on it.
    ///
    /// # Errors
    /// Why this is not possible.
    fn place(&self, row: &mut Value, children: &Children, scope: &Scope<'_>) -> Result<(), String> {
        let key = self.to.eval(&scope.on_row(row)).ok().as_ref().and_then(text_of);
        // Two rows may refer to the same children, such as moves of one article.
        let mut found = key.and_then(|key| children.get(&key).cloned()).unwrap_or_default();
        let value = match (self.one, found.len()) {
            (false, _) => Value::Array(found),
            (true, 0 | 1) => found.pop().unwrap_or_default(),
            (true, several) => {
                return Err(format!("join into `{}`: {several} children where `one` was said", self.into));
            }
        };
        if let Value::Object(members) = row {
            members.insert(self.into.clone(), value);
        }
        Ok(())
    }
}
