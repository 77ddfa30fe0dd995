//! One compiled request of an adapter, and its answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    compile::{ANSWER, Compiler},
    config::{ErrorRule, RequestSpec},
    evaluate::cut,
    payload::{self, Decoded, Payload, Receive, Send},
    transport::{Method, Response, path_of},
    unexpected,
};
use crate::{
    adapter::{
        Mask,
        segment::{self, Slashes},
    },
    expr::{Expr, ExprError, KnownNames, Scope, Template, text_of},
    failure::{Class, Failure},
    load::{LoadError, Place},
    model::{canonical, flaw, percent},
};

/// An error rule: what a failure means.
#[derive(Clone, Debug)]
pub struct Rule {
    pub when: Expr,
    pub class: Class,
    pub field: Option<Template>,
    pub message: Option<Template>,
}

/// A compiled request.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    target: Template,
    /// The target as written, and its place.
    written: Arc<str>,
    place: String,
    /// Whether a value in the path may contain slashes, which are then encoded.
    slashes: bool,
    query: Option<Template>,
    headers: Option<Template>,
    body: Option<Template>,
    send: Send,
    pub receive: Receive,
    pub rules: Vec<Rule>,
}

impl Call {
    /// Compile the request keys of a table. `at` is the place to report if the method is missing.
    ///
    /// # Errors
    /// If there is no method or several, or a template is wrong.
    pub fn compile(
        spec: RequestSpec<'_>,
        compiler: &Compiler,
        known: &KnownNames,
        at: &Place,
    ) -> Result<Self, LoadError> {
        let targets = [
            (Method::Get, spec.get),
            (Method::Post, spec.post),
            (Method::Put, spec.put),
            (Method::Patch, spec.patch),
            (Method::Delete, spec.delete),
        ];
        let mut given = targets.into_iter().filter_map(|(method, target)| Some((method, target?)));
        let common = compiler.post.as_ref().map(|target| (Method::Post, target));
        let Some((method, target)) = given.next().or(common) else {
            return Err(LoadError::new(at, "a request needs one of `get`, `post`, `put`, `patch`, `delete`"));
        };
        if let Some((_, second)) = given.next() {
            return Err(LoadError::new(&compiler.place(second), "a request has one method, this is a second one"));
        }
        Ok(Self {
            method,
            target: compiler.text(target, known)?,
            written: target.0.as_ref().as_str().into(),
            place: compiler.place(target).to_string(),
            slashes: spec.slashes.unwrap_or(compiler.slashes),
            query: compiler.table(spec.query, known)?,
            headers: compiler.headers(spec.headers, &compiler.with_secrets(known.clone()))?,
            body: compiler.body(spec.body, known)?,
            send: spec.send.unwrap_or(compiler.send),
            receive: spec.receive.unwrap_or(compiler.receive),
            rules: rules(spec.errors, compiler, known.clone())?,
        })
    }

    /// Whether the request uses this variable.
    #[must_use]
    pub fn names(&self, variable: &str) -> bool {
        let parts = [Some(&self.target), self.query.as_ref(), self.headers.as_ref(), self.body.as_ref()];
        parts.into_iter().flatten().any(|part| part.names(variable))
    }

    /// Whether the path itself uses one of these variables. If so, a 404 concerns that object and does not mean a
    /// wrong address.
    #[must_use]
    pub fn addresses(&self, variables: &[&str]) -> bool {
        variables.iter().any(|variable| self.target.names(variable))
    }

    /// The request's own parts, before the address, authorisation and common headers are added. `confidential` also
    /// has the secrets; it is for headers only.
    ///
    /// # Errors
    /// If an expression has no value, or a value is not allowed where it should be sent.
    pub fn draft(&self, scope: &Scope<'_>, confidential: &Scope<'_>, nonce: u64) -> Result<Draft, ExprError> {
        let plain =
            |cause: String| ExprError { expression: "body".into(), place: self.place.clone(), cause, of_value: true };
        let payload = match &self.body {
            Some(body) => match body.render(scope)? {
                Some(value) => {
                    flaw::unsendable(&value).map_err(plain)?;
                    Some(payload::encode(self.send, &value, nonce).map_err(plain)?)
                }
                None => None,
            },
            None => None,
        };
        Ok(Draft {
            method: self.method,
            target: self.target(scope)?,
            query: percent::pairs(&query(self.query.as_ref(), scope)?),
            headers: headers(self.headers.as_ref(), confidential)?,
            payload,
        })
    }

    /// Identify what is requested: by address, query and body.
    ///
    /// # Errors
    /// If an expression has no value.
    pub fn fingerprint(&self, scope: &Scope<'_>) -> Result<String, ExprError> {
        let query = query(self.query.as_ref(), scope)?;
        let body = self.body.as_ref().map_or(Ok(None), |body| body.render(scope))?;
        Ok(canonical::fingerprint(&json!([self.target(scope)?, query, body.unwrap_or_default()])))
    }

    fn target(&self, scope: &Scope<'_>) -> Result<String, ExprError> {
        let slashes = if self.slashes { Slashes::Encoded } else { Slashes::Refused };
        segment::address(&self.target.bits(scope)?, slashes).map_err(|cause| ExprError {
            expression: self.written.clone(),
            place: self.place.clone(),
            cause,
            of_value: true,
        })
    }
}

/// Render the table of a query.
///
/// # Errors
/// If an expression has no value, or a value contains a control character.
pub fn query(table: Option<&Template>, scope: &Scope<'_>) -> Result<Value, ExprError> {
    table.map_or(Ok(Value::Null), |table| table.render_checked(scope, segment::sendable).map(Option::unwrap_or_default))
}

/// Names (in lower case) and values of a table of headers. `()` is left out.
///
/// # Errors
/// If an expression has no value, or a value is not allowed in a header.
pub fn headers(table: Option<&Template>, scope: &Scope<'_>) -> Result<Vec<(String, String)>, ExprError> {
    let Some(table) = table else { return Ok(Vec::new()) };
    let values = table.render_checked(scope, segment::sendable)?.unwrap_or_default();
    let named = values.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name, text_of(value)?)));
    named
        .map(|(name, value)| match segment::header(&value) {
            Ok(()) => Ok((name.to_lowercase(), value)),
            Err(cause) => Err(ExprError {
                expression: name.as_str().into(),
                place: "headers".into(),
                cause: cause.to_owned(),
                of_value: true,
            }),
        })
        .collect()
}

/// Compile error rules. `known` are the variables of the request in addition to those of its answer.
pub fn rules(specs: &[ErrorRule], compiler: &Compiler, known: KnownNames) -> Result<Vec<Rule>, LoadError> {
    let known = known.and(ANSWER).and(["text", "op", "retry_after"]);
    LoadError::collect(specs.iter().map(|spec| {
        Ok(Rule {
            when: compiler.formula(&spec.when, &known)?,
            class: spec.class,
            field: compiler.text_if(spec.field.as_ref(), &known)?,
            message: compiler.text_if(spec.message.as_ref(), &known)?,
        })
    }))
}

/// A request without the parts that all requests share.
#[derive(Clone)]
pub struct Draft {
    pub method: Method,
    /// A path, or an address of which only path and query are used.
    pub target: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub payload: Option<Payload>,
}

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
