//! The real [`Transport`]: reqwest with verified TLS (rustls and ring), no redirects, bounded time and size.

use std::{error::Error as _, time::Duration};

use async_trait::async_trait;
use bytes::BytesMut;
use reqwest::header::HeaderValue;

use super::tls;
use crate::adapter::{
    run::unreached,
    transport::{Method, Request, Response, Transport, TransportError},
};

/// Maximum time to open a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// HTTP over the network. Connections are kept open and shared by all systems.
#[derive(Clone, Debug)]
pub struct Network {
    client: reqwest::Client,
}

impl Network {
    /// # Errors
    /// If the machine's trusted certificates cannot be read.
    pub fn new() -> Result<Self, TransportError> {
        // An error means that another part of the process has installed it before; the provider is the same.
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
        let failed = |error: reqwest::Error| translate(&error, request);
        let mut builder = self.client.request(method(request.method), &request.url).timeout(request.timeout);
        for (name, value) in &request.headers {
            let Ok(mut value) = HeaderValue::from_str(value) else {
                return Err(TransportError::NotSent(format!("header {name} has characters in it that none may have")));
            };
            // No layer below logs this value, not even in its debug log.
            value.set_sensitive(true);
            builder = builder.header(name, value);
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body.clone());
        }
        let mut answer = builder.send().await.map_err(failed)?;
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
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
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
        TransportError::NotSent(describe(error, &request.url))
    } else {
        TransportError::Lost(describe(error, &request.url))
    }
}

/// The cause, with the host and what to do if that is known.
fn describe(error: &reqwest::Error, url: &str) -> String {
    let cause = reason(error);
    let host = reqwest::Url::parse(url).ok().and_then(|url| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}{port}", url.host_str()?))
    });
    let words = |host: String| {
        tls::problem(error, &host).or_else(|| unreached::words(&cause, &host, url.starts_with("https:")))
    };
    host.and_then(words).unwrap_or(cause)
}

/// The innermost cause: it says what happened and never repeats the URL.
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

    use crate::adapter::http::tests::wire::served;

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

    /// A server that answers every connection with these bytes.
    async fn answering(bytes: &'static [u8]) -> std::net::SocketAddr {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(bytes).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn https_to_a_server_that_speaks_http_is_explained_and_the_other_way_round() {
        let network = Network::new().unwrap();
        let plain = answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        let error = network.send(get(format!("https://{plain}/"))).await.unwrap_err().to_string();
        assert!(error.contains("https to a server that speaks http") && error.contains(&plain.to_string()), "{error}");
        // A TLS alert: unexpected message.
        let secure = answering(b"\x15\x03\x03\x00\x02\x02\x0a").await;
        let error = network.send(get(format!("http://{secure}/"))).await.unwrap_err().to_string();
        assert!(error.contains("http to a server that does not speak it"), "{error}");
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
