//! Faults do what they say, to the caller and to the shop.

use serde_json::{Value, json};
use vaiven::internals::sandbox::{Fault, FaultKind, Options};

use super::shop::Running;

async fn count(shop: &Running) -> usize {
    shop.shop.all("/products").await.unwrap().len()
}

#[tokio::test]
async fn a_connection_breaks_before_or_after_the_write() {
    let shop = Running::start().await;
    for (kind, written) in [(FaultKind::DropBefore, 0), (FaultKind::DropAfter, 1)] {
        shop.shop.set_faults(vec![Fault::next(kind, 1).on("POST", "/products")]);
        let lost = shop.try_ask("POST", "/products", Some(&json!({ "name": "x" }))).await;
        assert!(lost.is_err(), "{kind:?}: there is no answer");
        assert_eq!(count(&shop).await, written, "{kind:?}");
    }
    assert_eq!(shop.ask("GET", "/products", Value::Null).await.status, 200, "the next request is fine");
}

#[tokio::test]
async fn errors_come_before_or_after_the_write() {
    let shop = Running::start().await;
    for (kind, status, written) in [
        (FaultKind::ErrorBefore, 503, 0),
        (FaultKind::ErrorAfter, 500, 1),
        (FaultKind::Throttle, 429, 1),
        (FaultKind::Html, 200, 2),
        (FaultKind::TruncatedJson, 201, 3),
    ] {
        shop.shop.set_faults(vec![Fault::next(kind, 1)]);
        let answer = shop.ask("POST", "/products", json!({ "name": "x" })).await;
        assert_eq!(answer.status, status, "{kind:?}");
        assert!(serde_json::from_str::<Value>(&answer.text).is_err(), "{kind:?}: no JSON");
        if kind == FaultKind::Throttle {
            assert_eq!(answer.header("retry-after"), "1");
        }
        assert_eq!(count(&shop).await, written, "{kind:?}");
    }
}

#[tokio::test]
async fn half_a_batch_is_done_and_kept() {
    let shop = Running::start().await;
    shop.shop.set_faults(vec![Fault::next(FaultKind::PartialBatch, 1)]);
    let items: Vec<Value> = (0..10).map(|n| json!({ "name": format!("x{n}") })).collect();
    assert_eq!(shop.ask("POST", "/products/batch", json!({ "create": items })).await.status, 500);
    assert_eq!(count(&shop).await, 5);
}

#[tokio::test]
async fn faults_are_switched_while_it_runs_and_requests_are_counted() {
    let shop = Running::with(Options { control: Some("open sesame".into()), ..Options::default() }).await;
    let url = format!("{}/sandbox/faults", shop.base);
    let faults = json!({ "faults": [{ "kind": "throttle", "value": 3, "next": 1 }] }).to_string();
    let post = |body: String| shop.client.post(&url).header("content-type", "application/json").body(body);
    for refused in [post(faults.clone()), post(faults.clone()).bearer_auth("ck_sandbox")] {
        assert_eq!(refused.send().await.unwrap().status(), 403, "a token of their own opens the switches");
    }
    let set = post(faults).bearer_auth("open sesame").send().await.unwrap();
    assert_eq!(set.status(), 200);
    assert_eq!(shop.ask("GET", "/products", Value::Null).await.header("retry-after"), "3");
    assert_eq!(shop.ask("GET", "/products/7", Value::Null).await.status, 404);
    let counted = shop.shop.requests();
    assert_eq!((counted["GET /products"], counted["GET /products/*"]), (1, 1));
    let wrong = json!({ "faults": [{ "kind": "throttle", "nxt": 1 }] }).to_string();
    let set = post(wrong).bearer_auth("open sesame").send().await.unwrap();
    assert_eq!(set.status(), 422);
}
