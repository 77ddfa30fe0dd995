//! The real [`Transport`]: reqwest with verified TLS (rustls and ring), no redirects, bounded time and size.

use std::{error::Error as _, time::Duration};

use async_trait::async_trait;
use bytes::BytesMut;
use reqwest::header::HeaderValue;

use super::{
    tls,
    transport::{Method, Request, Response, Transport, TransportError},
};

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(10);

/// HTTP over the network. Connections are kept and shared by all systems.
#[derive(Clone, Debug)]
pub struct Network {
    client: reqwest::Client,
}

impl Network {
    /// # Errors
    /// When the machine's trusted certificates cannot be read.
    pub fn new() -> Result<Self, TransportError> {
        // Err means that some other part of the process was first; the provider is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("vaiven/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .gzip(true)
            .build()
            .map_err(|error| TransportError::NotSent(reason(&error)))?;
        Ok(Self { client })
    }

    async fn exchange(&self, request: &Request) -> Result<Response, TransportError> {
        let told = |error: reqwest::Error| translate(&error, request);
        let mut builder = self.client.request(method(request.method), &request.url).timeout(request.timeout);
        for (name, value) in &request.headers {
            let Ok(mut value) = HeaderValue::from_str(value) else {
                return Err(TransportError::NotSent(format!("header {name} has characters in it that none may have")));
            };
            // Nothing below, not even its debug log, writes it down.
            value.set_sensitive(true);
            builder = builder.header(name, value);
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body.clone());
        }
        let mut answer = builder.send().await.map_err(told)?;
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let too_large = TransportError::TooLarge { limit: request.max_body };
        if answer.content_length().is_some_and(|length| length > request.max_body as u64) {
            return Err(too_large);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > request.max_body {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body: body.freeze() })
    }
}

#[async_trait]
impl Transport for Network {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        self.exchange(&request).await
    }
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Head => reqwest::Method::HEAD,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    }
}

fn translate(error: &reqwest::Error, request: &Request) -> TransportError {
    let after = request.timeout;
    let unsent = error.is_connect() || error.is_builder();
    if error.is_timeout() {
        TransportError::Timeout { after, sent: !unsent }
    } else if unsent {
        let host = reqwest::Url::parse(&request.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let secured = tls::told(error, host.as_deref().unwrap_or("the server"));
        TransportError::NotSent(secured.unwrap_or_else(|| reason(error)))
    } else {
        TransportError::Lost(reason(error))
    }
}

/// The innermost cause: it says what happened, and never repeats the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = None;
    while let Some(inner) = cause {
        text = Some(inner.to_string());
        cause = inner.source();
    }
    text.unwrap_or_else(|| if error.is_builder() { "the address is not a valid URL" } else { "no reason given" }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, http::HeaderMap, routing};
    use bytes::Bytes;

    use super::super::tests::wire::served;

    fn get(url: String) -> Request {
        Request {
            method: Method::Get,
            url,
            headers: vec![("x-one".into(), "1".into())],
            body: Bytes::new(),
            timeout: Duration::from_secs(5),
            max_body: 100,
        }
    }

    #[tokio::test]
    async fn a_refused_connection_counts_as_not_sent() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Network::new().unwrap().send(get(format!("http://{free}/x?key=hush"))).await.unwrap_err();
        assert!(matches!(error, TransportError::NotSent(_)), "{error:?}");
        assert!(!error.to_string().contains("hush"));
        assert!(!error.may_have_arrived());
    }

    #[tokio::test]
    async fn https_to_a_server_that_speaks_http_is_told_as_such() {
        let (server, _running) = served(Router::new()).await;
        let url = server.replace("http://", "https://") + "/x?key=hush";
        let error = Network::new().unwrap().send(get(url)).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains("https to a server that speaks http: 127.0.0.1") && !said.contains("hush"), "{said}");
        assert!(!error.may_have_arrived());
    }

    #[tokio::test]
    async fn redirects_are_not_followed_and_large_answers_are_cut_off() {
        let moved = async |headers: HeaderMap| {
            let status = if headers["x-one"] == "1" { 302 } else { 400 };
            (axum::http::StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")])
        };
        let router = Router::new()
            .route("/moved", routing::get(moved))
            .route("/large", routing::get(async || "x".repeat(101)))
            .route("/slow", routing::get(std::future::pending::<()>));
        let (server, _running) = served(router).await;
        let network = Network::new().unwrap();
        let moved = network.send(get(format!("{server}/moved"))).await.unwrap();
        assert_eq!((moved.status, moved.header("location")), (302, Some("/elsewhere")));
        let large = network.send(get(format!("{server}/large"))).await.unwrap_err();
        assert_eq!(large, TransportError::TooLarge { limit: 100 });
        let brief = Request { timeout: Duration::from_millis(50), ..get(format!("{server}/slow")) };
        assert!(matches!(network.send(brief).await.unwrap_err(), TransportError::Timeout { sent: true, .. }));
    }
}
