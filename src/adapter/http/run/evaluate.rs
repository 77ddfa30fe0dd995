//! Evaluates an answer: by the adapter's rules first, then by the status.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use serde_json::Value;

use super::answer::Answer;
use crate::{
    adapter::{http::compile::Rule, transport::TransportError},
    expr::Scope,
    failure::{Class, Failure},
    model::decimal,
    wait_reason::WaitReason,
};

/// Maximum time for which a system is left alone at its own request.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The purpose of a request; `op` in conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Login,
    List,
    Read,
    Find,
    Create,
    Update,
    Delete,
}

impl Verb {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::List => "list",
            Self::Read => "read",
            Self::Find => "find",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// The class of a failure if the request may have had an effect that we cannot see.
    #[must_use]
    pub fn in_doubt(self) -> Class {
        match self {
            Self::Create | Self::Update | Self::Delete => Class::Unknown,
            Self::Login | Self::List | Self::Read | Self::Find => Class::Transient,
        }
    }
}

/// Maximum length of a system's text in a message.
const SAID: usize = 300;

/// The failure that an answer means. Return `None` if it is a success.
#[must_use]
pub fn evaluate(answer: &Answer, own: &[Rule], common: &[Rule], verb: Verb, scope: &Scope<'_>) -> Option<Failure> {
    let rules = || own.iter().chain(common);
    let text = rules().any(|rule| rule.when.names("text")).then(|| answer.text());
    let seen = answer
        .scope(scope)
        .with_owned("text", text.unwrap_or_default())
        .with_owned("op", verb.as_str())
        .with_owned("retry_after", answer.retry_after.map_or(Value::Null, |wait| wait.as_secs().into()));
    // If a condition meets a missing member, it does not hold, because answers differ in their members.
    let rule = rules().find(|rule| rule.when.eval_bool(&seen).unwrap_or(false));
    let class = match rule {
        Some(rule) => rule.class,
        None => by_status(answer, verb)?,
    };
    let template = |template: Option<&crate::expr::Template>| {
        template.and_then(|text| text.render_text(&seen).ok()).filter(|text| !text.trim().is_empty())
    };
    let message = rule.and_then(|rule| template(rule.message.as_ref()));
    let message = message.map_or_else(|| default_message(answer), |said| answer.line(&said));
    let mut failure = answer.failure(class, &message);
    failure.field = rule.and_then(|rule| template(rule.field.as_ref()));
    // The system is up; only this answer exceeds a limit.
    if class == Class::Transient && answer.problem.is_some() {
        failure.cause = Some(Box::new(WaitReason::Setup));
    }
    Some(failure)
}

fn by_status(answer: &Answer, verb: Verb) -> Option<Class> {
    match answer.status {
        200..=299 if answer.readable => None,
        401 | 403 => Some(Class::Auth),
        404 | 410 => Some(Class::Missing),
        409 | 412 => Some(Class::Conflict),
        408 | 425 => Some(Class::Transient),
        429 => Some(Class::Throttled),
        400..=499 => Some(Class::Rejected),
        // This includes redirects, which are not followed, and pages that are not an answer: what was done is
        // unknown.
        _ => Some(verb.in_doubt()),
    }
}

fn default_message(answer: &Answer) -> String {
    if let Some(said) = said(&answer.body) {
        return answer.line(&said);
    }
    match answer.status {
        300..=399 => "a redirect, which is not followed: check the address, or allow `redirects`".into(),
        _ if answer.readable => "the request was refused without a reason".into(),
        200..=299 if answer.problem.is_some() => answer.problem.clone().unwrap_or_default(),
        _ => answer.unexpected(),
    }
}

/// The sentence with which a system explains itself, in the members that most systems use.
fn said(body: &Value) -> Option<String> {
    const PLACES: [&str; 11] = [
        "/message",
        "/error/data/message",
        "/error/message",
        "/errors/0/message",
        "/error_description",
        "/detail",
        "/error",
        "/errors/0",
        "/errors/0/detail",
        "/title",
        "/errors",
    ];
    let text = PLACES.iter().filter_map(|place| body.pointer(place)?.as_str()).find(|text| !text.trim().is_empty());
    text.map(str::to_owned)
}

/// One line of at most [`SAID`] characters.
#[must_use]
pub fn cut(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SAID) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The failure if there is no answer.
#[must_use]
pub fn unanswered(error: &TransportError, verb: Verb, place: &str) -> Failure {
    let class = if error.may_have_arrived() { verb.in_doubt() } else { Class::Transient };
    let failure = Failure::new(class, format!("{error} ({place})"));
    let is_too_much = matches!(error, TransportError::TooLarge { .. }) && class == Class::Transient;
    if is_too_much { failure.with_cause(WaitReason::Setup) } else { failure }
}

/// The wait of a `Retry-After` header: seconds, whole or with a fraction, or a date (RFC 9110, 10.2.3; some shops
/// send the fraction). At most [`LONGEST_WAIT`]: a system that asks for a longer wait is asked again after that
/// time.
#[must_use]
pub fn retry_after(header: &str, now: DateTime<Utc>) -> Option<Duration> {
    let header = header.trim();
    let wait = match decimal::parse(header) {
        Some(seconds) => {
            // Round a fraction of a second up.
            let seconds = seconds.ceil().max(Decimal::ZERO).min(LONGEST_WAIT.as_secs().into());
            Duration::from_secs(seconds.to_u64()?)
        }
        None => (DateTime::parse_from_rfc2822(header).ok()?.to_utc() - now).to_std().unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-07-01T10:00:00Z").unwrap().to_utc();
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("Wed, 01 Jul 2026 10:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Wed, 01 Jul 2026 09:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("12.0", now), Some(Duration::from_secs(12)));
        assert_eq!(retry_after("0.2", now), Some(Duration::from_secs(1)));
        assert_eq!(retry_after("-3", now), Some(Duration::ZERO));
    }

    #[test]
    fn nobody_is_left_alone_for_longer_than_an_hour_at_once() {
        let now = DateTime::parse_from_rfc3339("2026-07-01T10:00:00Z").unwrap().to_utc();
        for header in ["86400", "99999999999999999999", "Sun, 01 Jul 2046 10:00:00 GMT"] {
            assert_eq!(retry_after(header, now), Some(LONGEST_WAIT), "{header}");
        }
    }

    #[test]
    fn what_a_system_says_is_one_short_line() {
        assert_eq!(said(&serde_json::json!({ "error": { "message": "no" } })).as_deref(), Some("no"));
        assert_eq!(said(&serde_json::json!({ "errors": [{ "message": "no" }] })).as_deref(), Some("no"));
        assert_eq!(cut(&"ñ ".repeat(400)).chars().count(), SAID + 1);
    }
}
