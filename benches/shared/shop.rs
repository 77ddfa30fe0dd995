//! A shop on a local HTTP server that takes stock, in batches of 100.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::{Query, State},
    routing,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

pub const ADAPTER: &str = r#"
driver = "http"
summary = "A benchmark's"
[settings]
url = { kind = "url" }
[http]
base = "${url}"
concurrency = 4
[entities.stock]
id = "id"
[entities.stock.list]
get  = "/stock"
rows = "body"
[entities.stock.find]
get   = "/stock"
query = { sku = "${key}" }
where = "row.sku == key"
[entities.stock.batch]
post    = "/stock/batch"
max     = 100
ops     = ["create", "update"]
item    = "${merge(body, #{ id: id })}"
body    = { create = "${creates}", update = "${updates}" }
results = { create = "body.create", update = "body.update" }
id      = "result.id"
row     = "result"
"#;

/// What the server holds, and how many writes it was asked for.
#[derive(Default)]
pub struct Shelf {
    items: Mutex<BTreeMap<String, Value>>,
    pub requests: AtomicUsize,
    /// Told of each request.
    pub asked: Notify,
    pause: Duration,
}

impl Shelf {
    /// Articles that it has.
    pub fn count(&self) -> usize {
        self.items().len()
    }

    fn items(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that takes stock and answers after a pause; counts the requests that write.
pub async fn serve(pause: Duration) -> Result<(SocketAddr, Arc<Shelf>)> {
    async fn list(State(shelf): State<Arc<Shelf>>, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
        shelf.asked.notify_one();
        let items = shelf.items();
        Json(match query.get("sku") {
            Some(sku) => items.get(sku).into_iter().cloned().collect(),
            None => items.values().cloned().collect(),
        })
    }
    async fn batch(State(shelf): State<Arc<Shelf>>, Json(mut body): Json<Value>) -> Json<Value> {
        shelf.requests.fetch_add(1, Ordering::Relaxed);
        shelf.asked.notify_one();
        tokio::time::sleep(shelf.pause).await;
        for kind in ["create", "update"] {
            for item in body.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten() {
                if kind == "create" {
                    item["id"] = item["sku"].clone();
                }
                let id = item["id"].as_str().unwrap_or_default().to_owned();
                let mut items = shelf.items();
                let kept = items.entry(id).or_insert_with(|| json!({}));
                for (name, value) in item.as_object().into_iter().flatten() {
                    kept[name] = value.clone();
                }
                *item = kept.clone();
            }
        }
        Json(body)
    }
    let shelf = Arc::new(Shelf { pause, ..Shelf::default() });
    let app = Router::new()
        .route("/stock", routing::get(list))
        .route("/stock/batch", routing::post(batch))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(Arc::clone(&shelf));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok((address, shelf))
}
