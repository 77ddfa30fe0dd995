//! Values that a target has once only, on their way from one object to another.

use serde_json::{Value, json};

use super::{Stage, fakes::FakeSystem, flow, waits};
use crate::{
    port::Capabilities,
    store::{JobFilter, JobState},
};

fn customer(code: &str, email: &str) -> Value {
    json!({ "code": code, "kind": "person", "name": code, "email": email })
}

/// A shop that has each e-mail address and each SKU once, and what it is to have.
async fn stage(entity: &str, rows: &[Value]) -> Stage {
    let shop = FakeSystem::new("shop").unique(&["email", "sku"]);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("all", "erp", "shop", &[entity])]).await;
    for (at, row) in rows.iter().enumerate() {
        stage.erp.put(entity, &at.to_string(), row);
    }
    assert!(stage.once().await.is_clean());
    stage
}

/// What the shop has, by code.
fn emails(stage: &Stage) -> Vec<(String, String)> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> =
        stage.shop.rows("customer").iter().map(|row| (text(row, "code"), text(row, "email"))).collect();
    found.sort();
    found
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(code, email)| ((*code).to_owned(), (*email).to_owned())).collect()
}

#[tokio::test]
async fn records_that_swap_a_unique_value_both_arrive_whichever_is_refused_first() {
    // Two of them, and three in a circle; in either order.
    let circles: [&[(&str, &str)]; 4] = [
        &[("A", "b@x.es"), ("B", "a@x.es")],
        &[("B", "a@x.es"), ("A", "b@x.es")],
        &[("A", "b@x.es"), ("B", "c@x.es"), ("C", "a@x.es")],
        &[("A", "c@x.es"), ("B", "a@x.es"), ("C", "b@x.es")],
    ];
    for circle in circles {
        let mut before: Vec<Value> =
            circle.iter().map(|(code, _)| customer(code, &format!("{}@x.es", code.to_lowercase()))).collect();
        let stage = stage("customer", &before).await;
        for (at, (row, (code, email))) in before.iter_mut().zip(circle).enumerate() {
            *row = customer(code, email);
            stage.erp.put("customer", &at.to_string(), row);
        }
        let summary = stage.once().await;
        assert!(summary.is_clean(), "{circle:?}: {summary:?}");
        let mut expected = pairs(circle);
        expected.sort();
        assert_eq!(emails(&stage), expected);
        assert_eq!(stage.states().await, [], "{circle:?}");
        let written = stage.shop.written();
        stage.full().await;
        assert_eq!(stage.shop.written(), written, "nothing is left to be written");
    }
}

#[tokio::test]
async fn products_that_swap_their_skus_both_arrive() {
    let product = |sku: &str, name: &str| json!({ "sku": sku, "name": { "es": name }, "active": true });
    let stage = stage("product", &[product("H-1", "Martillo"), product("S-1", "Sierra")]).await;
    stage.erp.put("product", "0", &product("S-1", "Martillo"));
    stage.erp.put("product", "1", &product("H-1", "Sierra"));
    let summary = stage.once().await;
    assert!(summary.is_clean(), "{summary:?}");
    let sku = |name: &str| {
        let rows = stage.shop.rows("product");
        rows.into_iter().find(|row| row["name"]["es"] == name).unwrap()["sku"].clone()
    };
    assert_eq!((sku("Martillo"), sku("Sierra")), (json!("S-1"), json!("H-1")));
    assert_eq!(stage.states().await, []);
}

#[tokio::test]
async fn a_value_that_its_holder_is_about_to_give_up_is_waited_for() {
    let stage = stage("customer", &[customer("A", "a@x.es"), customer("B", "b@x.es")]).await;
    stage.erp.put("customer", "0", &customer("A", "b@x.es"));
    stage.erp.put("customer", "1", &customer("B", "new@x.es"));
    let written = stage.shop.written();
    assert!(stage.once().await.is_clean());
    assert_eq!(emails(&stage), pairs(&[("A", "b@x.es"), ("B", "new@x.es")]));
    assert_eq!(stage.shop.written(), written + 2, "nobody had to step aside");
}

#[tokio::test]
async fn a_value_that_its_holder_keeps_is_reported_and_had_when_it_is_given_up() {
    let stage = stage("customer", &[customer("A", "a@x.es"), customer("B", "b@x.es")]).await;
    stage.erp.put("customer", "0", &customer("A", "b@x.es"));
    stage.once().await;
    let job = stage.store.jobs(&JobFilter { states: vec![JobState::Parked], ..JobFilter::default() }).await.unwrap();
    assert_eq!(job[0].cause, waits("taken:customer=B"));
    let error = job[0].error.as_deref().unwrap();
    assert!(error.ends_with("customer B has the email at shop and keeps it"), "{error}");
    assert!(!error.contains('@'), "an address is nobody else's to read");
    stage.erp.put("customer", "1", &customer("B", "new@x.es"));
    assert!(stage.once().await.is_clean());
    assert_eq!(emails(&stage), pairs(&[("A", "b@x.es"), ("B", "new@x.es")]));
    assert_eq!(stage.states().await, []);
}

#[tokio::test]
async fn an_article_that_is_called_otherwise_brings_its_price_along() {
    let facet = |capabilities: &mut Capabilities| {
        capabilities.facet_of = Some("product.variants".to_owned());
        (capabilities.create, capabilities.delete) = (false, false);
    };
    let price = |sku: &str, amount: &str| json!({ "code": format!("web/{sku}"), "list": "web", "sku": sku, "amount": amount, "currency": "EUR", "tax_included": true });
    let product = |sku: &str| json!({ "sku": sku, "name": { "es": "Martillo" }, "active": true });
    let shop = FakeSystem::new("shop").with_capabilities_of("price", facet);
    let flows = vec![flow("catalog", "erp", "shop", &["product"]), flow("prices", "erp", "shop", &["price"])];
    let stage = Stage::with(FakeSystem::new("erp"), shop, flows).await;
    stage.erp.put("product", "1", &product("H-1"));
    stage.once().await;
    // The price's place comes with the product.
    stage.shop.put("price", "shop-1", &price("H-1", "9"));
    stage.erp.put("price", "1", &price("H-1", "10"));
    stage.full().await;
    assert_eq!(stage.shop.rows("price")[0]["amount"], "10");

    stage.erp.put("product", "1", &product("H-1B"));
    stage.erp.remove("price", "1");
    stage.erp.put("price", "2", &price("H-1B", "12"));
    stage.once().await;
    assert_eq!(stage.shop.rows("price")[0]["amount"], "12");
    assert!(!stage.states().await.contains(&JobState::Dead));
}
