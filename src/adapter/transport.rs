//! Sends requests out of the process: one trait with plain types, so a test or a seeded simulation can take the
//! place of the network.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

/// HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One complete request: nothing is added to it before it is sent.
#[derive(Clone)]
pub struct Request {
    pub method: Method,
    /// Absolute, with the query already encoded.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Maximum time for the whole exchange, including the answer's body.
    pub timeout: Duration,
    /// Maximum number of bytes of the answer's body, after decompression.
    pub max_body: usize,
}

impl Request {
    /// The URL's path: the only part of it that messages may show.
    #[must_use]
    pub fn path(&self) -> &str {
        path_of(&self.url)
    }
}

/// Query, header values and body may contain secrets and personal data.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("headers", &names)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// Path of an absolute URL, without host, query and fragment.
#[must_use]
pub fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.find('/').map_or("/", |at| &rest[at..]);
    rest.split(['?', '#']).next().unwrap_or("/")
}

/// An answer with any status.
#[derive(Clone)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Response {
    /// The first value of a header. `name` must be in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    #[error("no connection ({0})")]
    NotSent(String),
    #[error("the connection was lost after the request was sent ({0})")]
    Lost(String),
    #[error("the answer is larger than {limit} bytes; raise max_body or ask for less at once")]
    TooLarge { limit: usize },
    #[error("no complete answer within {after:?}")]
    Timeout { after: Duration, sent: bool },
}

impl TransportError {
    /// Whether the other side may have acted on the request.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::NotSent(_) => false,
            Self::Lost(_) | Self::TooLarge { .. } => true,
            Self::Timeout { sent, .. } => *sent,
        }
    }
}

/// Sends requests.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    async fn send(&self, request: Request) -> Result<Response, TransportError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_request_shows_neither_query_nor_headers_nor_body() {
        let request = Request {
            method: Method::Get,
            url: "https://shop.example/api/products?key=hush".into(),
            headers: vec![("authorization".into(), "hush".into())],
            body: Bytes::from_static(b"hush"),
            timeout: Duration::from_secs(1),
            max_body: 1,
        };
        let printed = format!("{request:?}");
        assert!(!printed.contains("hush"), "{printed}");
        assert!(printed.contains("/api/products"), "{printed}");
    }

    #[test]
    fn the_path_of_a_url_has_no_host_and_no_query() {
        assert_eq!(path_of("https://u:p@shop.example:8080/a/b?c=d#e"), "/a/b");
        assert_eq!(path_of("https://shop.example?c=d"), "/");
    }
}
