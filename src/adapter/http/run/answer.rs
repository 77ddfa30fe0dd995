//! An answer that has been read, as expressions and messages see it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{evaluate::cut, payload::Decoded, unexpected};
use crate::{
    adapter::{
        manifest::http::Receive,
        run::mask::Mask,
        transport::{Method, Response, path_of},
    },
    expr::Scope,
    failure::{Class, Failure},
};

/// An answer that has been read.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    /// Names are in lower case; values of a repeated header are joined by a comma.
    pub headers: Value,
    /// `()` if it could not be read.
    pub body: Value,
    /// Whether the body has the format that the adapter declares.
    pub readable: bool,
    /// Number of values in the body.
    pub values: usize,
    /// Why a readable body was not read.
    pub problem: Option<String>,
    pub retry_after: Option<Duration>,
    status_value: Value,
    raw: Bytes,
    receive: Receive,
    /// Method and path, for messages.
    place: String,
    mask: Arc<Mask>,
}

impl Answer {
    /// The answer of a response whose body has been read, with the format in which it was read.
    #[must_use]
    pub fn of(
        response: &Response,
        (receive, decoded): (Receive, Decoded),
        method: Method,
        url: &str,
        retry_after: Option<Duration>,
    ) -> Self {
        let Decoded { value: body, values, problem } = decoded;
        let mut headers = Map::new();
        for (name, value) in &response.headers {
            match headers.get_mut(name) {
                Some(Value::String(known)) => {
                    known.push_str(", ");
                    known.push_str(value);
                }
                _ => {
                    headers.insert(name.clone(), Value::from(value.as_str()));
                }
            }
        }
        Self {
            status: response.status,
            headers: Value::Object(headers),
            readable: body.is_some(),
            body: body.unwrap_or_default(),
            values,
            problem,
            retry_after,
            status_value: Value::from(response.status),
            raw: response.body.clone(),
            receive,
            place: format!("{method} {}", path_of(url)),
            mask: Arc::default(),
        }
    }

    /// Add the secrets that must be removed from its messages.
    #[must_use]
    pub fn masked(self, mask: Arc<Mask>) -> Self {
        Self { mask, ..self }
    }

    /// One line of the system's text, without secrets. Mask before cutting: a secret that was cut in two would no
    /// longer be found.
    #[must_use]
    pub fn line(&self, said: &str) -> String {
        cut(&self.mask.clean(said))
    }

    /// The answer's variables on top of a scope.
    #[must_use]
    pub fn scope<'a>(&'a self, scope: &'a Scope<'a>) -> Scope<'a> {
        scope.child().with("status", &self.status_value).with("headers", &self.headers).with("body", &self.body)
    }

    #[must_use]
    pub fn text(&self) -> Value {
        Value::from(String::from_utf8_lossy(&self.raw).into_owned())
    }

    /// Turn this answer into a failure. The message gets method, path and status.
    #[must_use]
    pub fn failure(&self, class: Class, message: &str) -> Failure {
        let mut failure =
            Failure::new(class, format!("{message} ({}: {})", self.place, self.status)).with_status(self.status);
        failure.retry_after = self.retry_after;
        failure
    }

    /// Describe an answer that could not be read: its first words and its declared type.
    #[must_use]
    pub fn unexpected(&self) -> String {
        let declared = self.headers.get("content-type").and_then(Value::as_str).unwrap_or("no content type");
        // Mask before cutting to the shown length: a secret that was cut in two would no longer be found. The part
        // that is searched ends far beyond the shown part.
        let head = &self.raw[..self.raw.len().min(unexpected::LOOKED_AT)];
        let shown = unexpected::shown(&self.mask.clean(&String::from_utf8_lossy(head)), self.receive);
        format!("{shown} ({declared}, {} bytes)", self.raw.len())
    }

    /// Address of the next page from the `Link` header.
    #[must_use]
    pub fn next_link(&self) -> Option<String> {
        let header = self.headers.get("link")?.as_str()?;
        // An address may contain a comma, so split the links at their angle brackets.
        header.split('<').skip(1).find_map(|link| {
            let (address, parameters) = link.split_once('>')?;
            let next = parameters.split([';', ',']).any(|part| {
                let value = part.trim().strip_prefix("rel=");
                value.is_some_and(|value| {
                    value.trim_matches('"').split(' ').any(|word| word.eq_ignore_ascii_case("next"))
                })
            });
            next.then(|| address.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_the_link_header() {
        let response = |link: &str| Response {
            status: 200,
            headers: vec![("link".into(), link.into())],
            body: Bytes::from_static(b"[]"),
        };
        let next = |link: &str| {
            Answer::of(&response(link), (Receive::Json, Decoded::default()), Method::Get, "http://x/y", None)
                .next_link()
        };
        let both = "<https://x/p?a=1,2&page=1>; rel=\"prev\", <https://x/p?a=1,2&page=3>; rel=\"next\"";
        assert_eq!(next(both).as_deref(), Some("https://x/p?a=1,2&page=3"));
        assert_eq!(next("<https://x/p?page=1>; rel=\"prev\""), None);
    }
}
