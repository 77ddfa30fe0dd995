//! Subscriptions: signed, sent once, disabled after six failures.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};
use vaiven::internals::sandbox::{Checkout, Fault, FaultKind, signature};

use super::shop::Running;

type Heard = Arc<Mutex<Vec<(HeaderMap, String)>>>;

async fn listener(status: StatusCode) -> (String, Heard) {
    let heard = Heard::default();
    let router = Router::new()
        .route(
            "/hook",
            post(move |State(heard): State<Heard>, headers: HeaderMap, body: Bytes| async move {
                heard.lock().unwrap().push((headers, String::from_utf8_lossy(&body).into_owned()));
                status
            }),
        )
        .with_state(heard.clone());
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", socket.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
    (url, heard)
}

/// Waits until the shop has noted that many deliveries.
async fn deliveries(shop: &Running, expected: usize) {
    let url = format!("sqlite://{}?mode=ro", shop.folder.path().join("shop.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    for _ in 0..100_000 {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries").fetch_one(&pool).await.unwrap();
        if usize::try_from(count).unwrap() >= expected {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("fewer than {expected} deliveries");
}

async fn subscribe(shop: &Running, topic: &str, url: &str) -> Value {
    let hook = json!({ "name": topic, "topic": topic, "delivery_url": url, "secret": "signed-with-this" });
    shop.done("POST", "/webhooks", hook).await
}

#[tokio::test]
async fn an_order_is_sent_with_a_signature() {
    let shop = Running::start().await;
    let (url, heard) = listener(StatusCode::OK).await;
    let hook = subscribe(&shop, "order.created", &url).await;
    assert_eq!(hook["hooks"], json!(["woocommerce_new_order"]));
    assert!(hook.get("secret").is_none());
    shop.done("POST", "/products", json!({ "name": "a", "sku": "A", "regular_price": "6" })).await;
    let order = shop.shop.place_order(&Checkout { lines: vec![("A".into(), 1)], ..Checkout::default() }).await.unwrap();
    deliveries(&shop, 2).await;
    let heard = heard.lock().unwrap();
    assert_eq!(heard[0].1, format!("webhook_id={}", hook["id"]), "the ping is a form, unsigned");
    assert!(!heard[0].0.contains_key("x-wc-webhook-signature"));
    let (headers, body) = &heard[1];
    assert_eq!(headers["x-wc-webhook-signature"], signature("signed-with-this", body));
    assert_eq!(headers["x-wc-webhook-topic"], "order.created");
    let payload: Value = serde_json::from_str(body).unwrap();
    assert_eq!((payload["id"].as_i64(), &payload["status"]), (Some(order), &json!("processing")));
}

#[tokio::test]
async fn six_failures_in_a_row_end_a_subscription() {
    let shop = Running::start().await;
    let (url, heard) = listener(StatusCode::INTERNAL_SERVER_ERROR).await;
    let hook = subscribe(&shop, "product.created", &url).await;
    for n in 0..8 {
        shop.done("POST", "/products", json!({ "name": format!("p{n}") })).await;
        deliveries(&shop, (n + 2).min(7)).await;
    }
    assert_eq!(shop.done("GET", &format!("/webhooks/{}", hook["id"]), Value::Null).await["status"], "disabled");
    assert_eq!(heard.lock().unwrap().len(), 7, "the ping and six tries");
}

#[tokio::test]
async fn a_delivery_can_come_twice() {
    let shop = Running::start().await;
    let (url, heard) = listener(StatusCode::OK).await;
    subscribe(&shop, "customer.created", &url).await;
    deliveries(&shop, 1).await;
    shop.shop.set_faults(vec![Fault::next(FaultKind::DuplicateWebhook, 1).on("WEBHOOK", "")]);
    shop.shop.register(&json!({ "email": "ann@example.test" })).await.unwrap();
    deliveries(&shop, 3).await;
    let heard = heard.lock().unwrap();
    assert_eq!(heard[1].1, heard[2].1);
    assert_eq!(heard[1].0["x-wc-webhook-delivery-id"], heard[2].0["x-wc-webhook-delivery-id"]);
}

#[tokio::test]
async fn a_topic_must_exist_and_a_url_be_given() {
    let shop = Running::start().await;
    let answer = shop.ask("POST", "/webhooks", json!({ "topic": "zzz", "delivery_url": "http://127.0.0.1:1/h" })).await;
    assert_eq!(answer.json()["code"], "woocommerce_rest_shop_webhook_invalid_topic");
    let answer = shop.ask("POST", "/webhooks", json!({ "topic": "order.created" })).await;
    assert_eq!(answer.json()["code"], "rest_missing_callback_param");
}
