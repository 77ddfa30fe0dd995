//! Reads a listing page by page, and proves that no page is missing.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{answer::Answer, evaluate::Verb};
use crate::{
    adapter::{http::compile::Pager, manifest::http::By, run::course::Course},
    expr::{Expr, ExprError, Scope, Template, text_of},
    failure::{Class, Failure},
    wait_reason::WaitReason,
};

/// The position in a listing: what the next page needs and what the proof of the whole needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of pages read.
    pub pages: u64,
    /// Number of rows read, as listed.
    pub seen: u64,
    pub size: u64,
    number: u64,
    offset: u64,
    after: Value,
    cursor: Value,
    /// Address of the next page.
    pub link: Option<String>,
    /// Number of rows announced for the whole listing.
    pub total: Option<u64>,
    /// Whether rows left the listing while it was read. If so, their number does not prove an end.
    #[serde(default)]
    shrunk: bool,
    /// Fingerprint of the last page's rows.
    #[serde(rename = "print")]
    fingerprint: Option<String>,
    #[serde(default)]
    course: Course,
}

/// A page as the pager sees it.
pub struct Seen<'a> {
    pub answer: &'a Answer,
    /// Number of rows as listed.
    pub rows: u64,
    /// The last row.
    pub last: Option<&'a Value>,
    /// The last row's id, if it has one.
    pub last_id: Option<Value>,
    /// Fingerprint of the rows' identities, in order; absent for an empty page.
    pub fingerprint: Option<String>,
}

impl Pager {
    /// The position before the first page.
    #[must_use]
    pub fn start(&self, limit: usize) -> Progress {
        Progress { size: self.size.unwrap_or(limit as u64).max(1), number: self.first, ..Progress::default() }
    }

    /// The position after a page, and whether there is another page. If there is none, the end of the listing is
    /// proven.
    ///
    /// # Errors
    /// If a page repeats an earlier one, the listing does not end, or there are fewer rows than announced: these
    /// are never a success.
    pub fn advance(&self, mut at: Progress, page: &Seen<'_>, scope: &Scope<'_>) -> Result<(Progress, bool), Failure> {
        // This concerns one listing: the system answers, and its other listings may be correct.
        let odd = |message: &str| page.answer.failure(Class::Transient, message).with_cause(WaitReason::Setup);
        let unread = |error: ExprError| {
            let message = format!("the listing's end cannot be told: {error}");
            page.answer.failure(Class::Fatal, &message).with_cause(WaitReason::file(&error.place))
        };
        at.pages += 1;
        at.seen += page.rows;
        if page.fingerprint.is_some() && page.fingerprint == at.fingerprint {
            return Err(odd("this page repeats the one before it: the listing ignores its paging parameters"));
        }
        at.fingerprint.clone_from(&page.fingerprint);
        let seen = page.answer.scope(scope);
        let number = |template: Option<&Template>| match template {
            Some(template) => whole(template, &seen).map_err(unread),
            None => Ok(None),
        };
        let total = number(self.total.as_ref())?;
        at.shrunk |= at.total.zip(total).is_some_and(|(before, now)| now < before);
        if at.shrunk && matches!(self.by, By::Number | By::Offset) {
            return Err(odd(
                "rows left the listing while it was read, so others may have been skipped; it has to be read again",
            ));
        }
        at.total = total.or(at.total);
        let pages = number(self.pages.as_ref())?;
        at.course.read((at.seen, total), (at.pages, pages)).map_err(|problem| odd(&problem))?;

        let more = match self.by {
            By::Link | By::Cursor => self.follow(&mut at, page, &seen).map_err(unread)?,
            // With a key, the listing can be continued until nothing follows.
            By::Keyset if at.shrunk => page.rows > 0,
            By::Number | By::Offset | By::Keyset => match (at.total, pages) {
                (Some(total), _) => at.seen < total && page.rows > 0,
                (None, Some(pages)) => at.pages < pages,
                (None, None) => page.rows >= at.size,
            },
        };
        if !more {
            return match at.total {
                Some(total) if at.seen < total => {
                    Err(odd(&format!("the listing ended after {} rows although {total} were announced", at.seen)))
                }
                _ => Ok((at, false)),
            };
        }
        // An empty page is identified by what it says comes next.
        let fingerprint = page.fingerprint.clone().unwrap_or_else(|| json!([at.link, at.cursor]).to_string());
        at.course.page(&fingerprint).map_err(|problem| odd(&problem))?;
        if page.rows == 0 && pages.is_some() {
            return Err(odd("an empty page although more pages were announced"));
        }
        if at.pages >= self.max_pages {
            return Err(odd(&format!("the listing did not end after {} pages (max_pages)", at.pages)));
        }
        at.number += 1;
        at.offset += page.rows;
        if self.by == By::Keyset {
            let after = match (&self.key, page.last) {
                (Some(key), Some(row)) => key.eval(&scope.on_row(row)).map_err(unread)?,
                _ => page.last_id.clone().unwrap_or_default(),
            };
            if after.is_null() {
                return Err(odd("the last row of the page has no key to go on from"));
            }
            at.after = after;
        }
        Ok((at, true))
    }

    fn follow(&self, at: &mut Progress, page: &Seen<'_>, seen: &Scope<'_>) -> Result<bool, ExprError> {
        let next = match &self.next {
            Some(next) => next.eval(seen)?,
            None => page.answer.next_link().map_or(Value::Null, Value::from),
        };
        let ended = match &next {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        if ended {
            return Ok(false);
        }
        if self.by == By::Link {
            let Value::String(link) = next else {
                return Err(ExprError {
                    expression: "next".into(),
                    place: "pages".into(),
                    cause: format!("gives {}, not an address", crate::expr::json_kind(&next)),
                    of_value: false,
                });
            };
            at.link = Some(link);
        } else {
            at.cursor = next;
        }
        Ok(true)
    }
}

impl Progress {
    /// Variable `page`.
    #[must_use]
    pub fn variable(&self) -> Value {
        json!({
            "size": self.size,
            "number": self.number,
            "offset": self.offset,
            "after": self.after,
            "cursor": self.cursor,
        })
    }
}

/// A listing's rows, wherever the answer has them. `lenient` (XML): a single element is a list of one, an empty
/// element is an empty list.
///
/// # Errors
/// If there is no list.
pub fn rows(expr: &Expr, answer: &Answer, scope: &Scope<'_>, verb: Verb, lenient: bool) -> Result<Vec<Value>, Failure> {
    // A read changes nothing, so nothing is in doubt; asking again would bring the same answer.
    let class = if verb.in_doubt() == Class::Transient { Class::Fatal } else { verb.in_doubt() };
    let odd = |message: String| answer.failure(class, &message).with_cause(WaitReason::file(&expr.error("").place));
    let seen = answer.scope(scope);
    let value = match expr.eval(&seen) {
        Ok(value) => value,
        // In XML an empty list is often missing altogether.
        Err(_) if lenient && expr.is_path() => Value::Null,
        Err(error) => return Err(odd(format!("the answer holds no rows where they should be: {error}"))),
    };
    match value {
        Value::Array(rows) => Ok(rows),
        Value::Null if lenient => Ok(Vec::new()),
        Value::String(text) if lenient && text.is_empty() => Ok(Vec::new()),
        row @ Value::Object(_) if lenient => Ok(vec![row]),
        other => Err(odd(format!(
            "`{}` gives {} where a list of rows should be",
            expr.text(),
            crate::expr::json_kind(&other)
        ))),
    }
}

fn whole(template: &Template, scope: &Scope<'_>) -> Result<Option<u64>, ExprError> {
    let value = template.render(scope)?.unwrap_or_default();
    if value.is_null() {
        return Ok(None);
    }
    let text = text_of(&value).unwrap_or_default();
    text.trim().parse::<u64>().map(Some).map_err(|_| ExprError {
        expression: "total".into(),
        place: "pages".into(),
        cause: "gives no whole number".into(),
        of_value: false,
    })
}
