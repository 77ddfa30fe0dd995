//! Serves the shop over HTTP.

use std::time::Duration;

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    auth::{self, Presented, decode},
    db::Doc,
    faults::{Fault, Kind, Struck},
    hooks,
    line::{Caller, Door},
    refusal::{Error, Refusal},
    routes::{self, Call, Reply},
    shop::Shop,
};

const API: &str = "/wp-json/wc/v3";
const MAX_BODY: usize = 64 << 20;
const MAINTENANCE_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head>\
    <body><h1>Briefly unavailable for scheduled maintenance. Check back in a minute.</h1></body></html>";
const WARNING: &str =
    "<br />\n<b>Warning</b>:  Undefined array key 0 in <b>/var/www/plugin.php</b> on line <b>1</b><br />\n";
const BROKEN_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>WordPress &rsaquo; Error</title></head>\
    <body><p>There has been a critical error on this website.</p></body></html>";

impl Shop {
    /// Answer requests until `shutdown`.
    ///
    /// # Errors
    /// If the listener breaks.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.set_base(format!("http://{}", listener.local_addr()?));
        let router = Router::new()
            .route("/sandbox/faults", routing::get(faults).post(set_faults))
            .route("/sandbox/requests", routing::get(requests))
            .fallback(handle)
            .with_state(self.clone());
        let door = Door { listener, env: self.inner.env.clone() };
        let stop = shutdown.clone();
        let served = axum::serve(door, router.into_make_service_with_connect_info::<Caller>())
            .with_graceful_shutdown(async move { stop.cancelled().await });
        tokio::select! {
            served = served => served?,
            () = self.notify(&shutdown) => {}
        }
        Ok(())
    }

    /// Notify subscribers of events, one after another, as long as the shop is open.
    async fn notify(&self, shutdown: &CancellationToken) {
        let mut notices = self.inner.notices.lock().await;
        while let Some(notice) = notices.recv().await {
            if shutdown.is_cancelled() {
                break;
            }
            let prepared = self.within(self.base(), async |tx| hooks::prepare(tx, notice).await).await;
            for delivery in prepared.unwrap_or_default() {
                let times = if self.inner.faults.draw("WEBHOOK", "").has(Kind::DuplicateWebhook) { 2 } else { 1 };
                for _ in 0..times {
                    let answer = delivery.send().await;
                    let recorded = self.within(self.base(), async |tx| {
                        hooks::record_answer(tx, notice, delivery.webhook, answer).await
                    });
                    if let Err(error) = recorded.await {
                        tracing::warn!(%error, webhook = delivery.webhook, "sandbox: a delivery could not be noted");
                    }
                }
            }
        }
        // The end of the server itself is handled elsewhere.
        std::future::pending::<()>().await;
    }
}

#[derive(Deserialize)]
struct FaultList {
    faults: Vec<Fault>,
}

/// Allow the sandbox's own controls only to their owner, on the machine on which it runs.
fn permitted(shop: &Shop, caller: &Caller, headers: &HeaderMap) -> Result<(), StatusCode> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let known = shop.inner.control.as_deref().is_some_and(|token| given == Some(token));
    if known && caller.address.ip().is_loopback() { Ok(()) } else { Err(StatusCode::FORBIDDEN) }
}

async fn faults(
    State(shop): State<Shop>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    permitted(&shop, &caller, &headers)?;
    Ok(Json(json!({ "faults": shop.inner.faults.list() })))
}

async fn set_faults(
    State(shop): State<Shop>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    headers: HeaderMap,
    Json(list): Json<FaultList>,
) -> Result<Json<Value>, StatusCode> {
    permitted(&shop, &caller, &headers)?;
    shop.set_faults(list.faults);
    Ok(Json(json!({ "faults": shop.inner.faults.list() })))
}

async fn requests(
    State(shop): State<Shop>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    permitted(&shop, &caller, &headers)?;
    Ok(Json(json!(shop.requests())))
}

async fn handle(State(shop): State<Shop>, ConnectInfo(caller): ConnectInfo<Caller>, request: Request) -> Response {
    let Some(path) = request.uri().path().strip_prefix(API).map(str::to_owned) else {
        return (StatusCode::NOT_FOUND, "nothing here; the shop's interface is at /wp-json/wc/v3\n").into_response();
    };
    let method = request.method().clone();
    shop.count(&method, &path);
    let struck = shop.inner.faults.draw(method.as_str(), &path);
    if let Some(ms) = struck.value(Kind::Latency, 200) {
        shop.inner.env.sleep(Duration::from_millis(ms)).await;
    }
    if struck.has(Kind::DropBefore) {
        caller.cut();
        return StatusCode::BAD_GATEWAY.into_response();
    }
    if let Some(wait) = struck.value(Kind::Throttle, 1) {
        let headers = [(header::RETRY_AFTER, wait.to_string())];
        return (StatusCode::TOO_MANY_REQUESTS, headers, "Too many requests\n").into_response();
    }
    if let Some(status) = struck.value(Kind::ErrorBefore, 503) {
        return broken(status, 503);
    }
    if struck.has(Kind::Maintenance) {
        let headers = [(header::CONTENT_TYPE, "text/html; charset=UTF-8"), (header::RETRY_AFTER, "600")];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, MAINTENANCE_PAGE).into_response();
    }
    let reply = answer(&shop, path, request, &struck).await;
    if struck.has(Kind::DropAfter) {
        caller.cut();
    }
    if let Some(status) = struck.value(Kind::ErrorAfter, 500) {
        return broken(status, 500);
    }
    if struck.has(Kind::PartialBatch) && reply.path_is_batch {
        return broken(500, 500);
    }
    if struck.has(Kind::Html) {
        return (StatusCode::OK, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], BROKEN_PAGE).into_response();
    }
    render(&shop, reply, &struck)
}

fn broken(status: u64, default: u16) -> Response {
    let status = u16::try_from(status).unwrap_or(default);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], BROKEN_PAGE).into_response()
}

struct Answer {
    reply: Reply,
    base: String,
    allow: Option<&'static str>,
    path_is_batch: bool,
}

async fn answer(shop: &Shop, path: String, request: Request, struck: &Struck) -> Answer {
    let (parts, body) = request.into_parts();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let base = host.map_or_else(|| shop.base(), |host| format!("http://{host}"));
    let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let query = pairs(parts.uri.query().unwrap_or_default());
    let body = to_bytes(body, MAX_BODY).await.map_err(|_| {
        let message = "The request is larger than the server takes.";
        Error::from(Refusal::new(413, "woocommerce_rest_request_entity_too_large", message))
    });
    let allow = routes::allowed(&path);
    let path_is_batch = path.ends_with("/batch");
    let presented = Presented {
        method: &parts.method,
        authorization,
        query: &query,
        path: parts.uri.path(),
        strict: shop.inner.strict,
    };
    let half = struck.has(Kind::PartialBatch) && path_is_batch;
    // Check the key in a transaction of its own: a used nonce stays used even if the work is refused.
    let admitted = match allow {
        Some(_) => shop.within(base.clone(), async |tx| auth::admit(tx, &presented).await).await,
        None => Ok(()),
    };
    let done = match admitted.and(body).and_then(|body| params(&query, &body).map_err(Error::Refused)) {
        Ok(params) => {
            let hidden = |name: &str| name.starts_with("oauth_") || name.starts_with("consumer_") || name == "page";
            let shown = query.iter().filter(|(name, _)| !hidden(name)).cloned().collect();
            let call = Call { method: parts.method, path, params, query: shown, half };
            shop.within(base.clone(), async |tx| routes::dispatch(tx, call).await).await
        }
        Err(error) => Err(error),
    };
    Answer { reply: done.unwrap_or_else(|error| Reply::refused(&error)), base, allow, path_is_batch }
}

fn pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Members of query and body. `name[]` and `name[0]` in the query make lists.
fn params(query: &[(String, String)], body: &Bytes) -> Result<Doc, Box<Refusal>> {
    let mut params = Doc::new();
    for (name, value) in query {
        match name.split_once('[') {
            Some((name, _)) => {
                let list = params.entry(name).or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.push(json!(value));
                }
            }
            None => {
                params.insert(name.clone(), json!(value));
            }
        }
    }
    if body.iter().any(|byte| !byte.is_ascii_whitespace()) {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => params.extend(members),
            Ok(_) => {}
            Err(_) => {
                let refusal = Refusal::new(400, "rest_invalid_json", "Invalid JSON body passed.");
                return Err(Box::new(refusal.with("json_error_code", 4).with("json_error_message", "Syntax error")));
            }
        }
    }
    Ok(params)
}

fn render(shop: &Shop, answer: Answer, struck: &Struck) -> Response {
    let mut text = serde_json::to_vec(&answer.reply.body).unwrap_or_default();
    if struck.has(Kind::Warning) {
        text = [WARNING.as_bytes(), &text].concat();
    }
    if struck.has(Kind::TruncatedJson) {
        text.truncate(text.len() / 2);
    }
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = answer.reply.status;
    let headers = response.headers_mut();
    let index = format!("<{}/wp-json/>; rel=\"https://api.w.org/\"", answer.base);
    let fixed = [
        ("content-type", "application/json; charset=UTF-8".to_owned()),
        ("x-robots-tag", "noindex".into()),
        ("link", index),
        ("access-control-expose-headers", "X-WP-Total, X-WP-TotalPages, Link".into()),
    ];
    let allow = answer.allow.map(|allow| ("allow", allow.to_owned()));
    let own = answer.reply.headers;
    for (name, value) in fixed.into_iter().chain(allow).chain(own) {
        let name = header::HeaderName::try_from(name.to_ascii_lowercase());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    tracing::debug!(status = answer.reply.status.as_u16(), base = shop.base(), "sandbox: answered");
    response
}
