//! Notifies subscribers of events, with the flaws of the real shop: each event once and never again, silently
//! disabled after six failures in a row, a delivery id that is not unique, the state at delivery time instead of
//! the event's state.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    db::{Doc, Table, Tx},
    product_view::Context,
    refusal::Result,
    resource::Resource,
};

const FAILURES: i64 = 6;

/// An event that subscribers may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub resource: &'static str,
    pub what: &'static str,
    pub id: i64,
}

impl Event {
    pub fn new(resource: &'static str, what: &'static str, id: i64) -> Self {
        Self { resource, what, id }
    }

    pub fn topic(&self) -> String {
        format!("{}.{}", self.resource, self.what)
    }
}

/// Reasons to notify subscribers.
#[derive(Clone, Copy, Debug)]
pub enum Notice {
    Event(Event),
    /// The first, unsigned request to a new subscription.
    Ping(i64),
}

/// One request to a subscriber, ready to be sent.
#[derive(Debug)]
pub struct Delivery {
    pub webhook: i64,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// The deliveries of one event, with the shop's current state.
pub async fn prepare(tx: &mut Tx<'_>, notice: Notice) -> Result<Vec<Delivery>> {
    let event = match notice {
        Notice::Ping(id) => {
            let Some(hook) = tx.get(Table::Webhooks, id).await? else { return Ok(Vec::new()) };
            return Ok(vec![Delivery {
                webhook: id,
                url: hook["delivery_url"].as_str().unwrap_or_default().to_owned(),
                headers: vec![("Content-Type", "application/x-www-form-urlencoded".into())],
                body: format!("webhook_id={id}"),
            }]);
        }
        Notice::Event(event) => event,
    };
    let topic = event.topic();
    let mut deliveries = Vec::new();
    for id in tx.ids(Table::Webhooks, "topic = ? AND status = 'active'", &[json!(topic)]).await? {
        let Some(hook) = tx.get(Table::Webhooks, id).await? else { continue };
        let Some(payload) = payload(tx, event).await? else { continue };
        deliveries.push(signed(tx, id, &hook, event, &payload)?);
    }
    Ok(deliveries)
}

async fn payload(tx: &mut Tx<'_>, event: Event) -> Result<Option<Value>> {
    if event.what == "deleted" {
        return Ok(Some(json!({ "id": event.id })));
    }
    let resource = match event.resource {
        "product" => Resource::Products,
        "customer" => Resource::Customers,
        _ => Resource::Orders,
    };
    resource.view_any(tx, event.id, Context::View).await
}

fn signed(tx: &Tx<'_>, id: i64, hook: &Doc, event: Event, payload: &Value) -> Result<Delivery> {
    let body = serde_json::to_string(payload)?;
    let secret = hook["secret"].as_str().unwrap_or_default();
    let delivery = blake3::hash(format!("{id}{}", tx.now.timestamp()).as_bytes()).to_hex();
    Ok(Delivery {
        webhook: id,
        url: hook["delivery_url"].as_str().unwrap_or_default().to_owned(),
        headers: vec![
            ("Content-Type", "application/json".into()),
            ("X-WC-Webhook-Source", format!("{}/", tx.base)),
            ("X-WC-Webhook-Topic", event.topic()),
            ("X-WC-Webhook-Resource", event.resource.into()),
            ("X-WC-Webhook-Event", event.what.into()),
            ("X-WC-Webhook-Signature", signature(secret, &body)),
            ("X-WC-Webhook-ID", id.to_string()),
            ("X-WC-Webhook-Delivery-ID", delivery.as_str()[..32].to_owned()),
        ],
        body,
    })
}

/// base64 of the HMAC-SHA256 of the body.
pub fn signature(secret: &str, body: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(body.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Record the result of a delivery. The sixth failure in a row disables the webhook.
pub async fn record_answer(tx: &mut Tx<'_>, notice: Notice, webhook: i64, answer: Option<u16>) -> Result<()> {
    let (topic, id) = match notice {
        Notice::Event(event) => (event.topic(), event.id),
        Notice::Ping(id) => ("ping".into(), id),
    };
    sqlx::query("INSERT INTO deliveries (webhook_id, topic, resource_id, at, answer) VALUES (?, ?, ?, ?, ?)")
        .bind(webhook)
        .bind(topic)
        .bind(id)
        .bind(tx.stamp())
        .bind(answer)
        .execute(&mut *tx.db)
        .await?;
    let Some(mut hook) = tx.get(Table::Webhooks, webhook).await? else { return Ok(()) };
    if matches!(notice, Notice::Ping(_)) {
        return Ok(());
    }
    let fine = answer.is_some_and(|status| (200..400).contains(&status));
    let failures = if fine { 0 } else { hook["failures"].as_i64().unwrap_or(0) + 1 };
    hook.insert("failures".into(), failures.into());
    if failures >= FAILURES {
        hook.insert("status".into(), "disabled".into());
        tx.touch(&mut hook);
    }
    tx.put(Table::Webhooks, webhook, &hook).await
}

impl Delivery {
    /// Post it (plain HTTP only: the sandbox has no TLS). Return the status of the answer.
    pub async fn send(&self) -> Option<u16> {
        tokio::time::timeout(Duration::from_secs(5), self.post()).await.ok()?.ok()
    }

    async fn post(&self) -> std::io::Result<u16> {
        let broken = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        let rest = self.url.strip_prefix("http://").ok_or_else(broken)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let mut stream = TcpStream::connect(address).await?;
        let mut request = format!(
            "POST /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: WooCommerce/9.9.5 Hookshot (WordPress/6.9)\r\n\
             Accept: */*\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.body.len()
        );
        for (name, value) in &self.headers {
            for piece in [*name, ": ", value.as_str(), "\r\n"] {
                request.push_str(piece);
            }
        }
        request.push_str("\r\n");
        request.push_str(&self.body);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)
    }
}
