//! What the real shop was seen to do where the recordings say nothing.

use serde_json::{Value, json};
use vaiven::internals::sandbox::{Fault, FaultKind, Options};

use super::shop::Running;

async fn made(shop: &Running, path: &str, body: Value) -> i64 {
    let answer = shop.ask("POST", path, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["id"].as_i64().unwrap()
}

#[tokio::test]
async fn sale_dates_are_of_the_shops_zone() {
    let shop = Running::start().await;
    let given = json!({ "name": "x", "regular_price": "10", "sale_price": "8",
        "date_on_sale_from": "2026-12-01T00:00:00", "date_on_sale_to": "2026-12-05" });
    let id = made(&shop, "/products", given).await;
    let seen = shop.ask("GET", &format!("/products/{id}"), Value::Null).await.json();
    assert_eq!(seen["date_on_sale_from"], "2026-12-01T00:00:00");
    assert_eq!(seen["date_on_sale_from_gmt"], "2026-12-01T05:00:00", "New York is five hours behind");
    assert_eq!((&seen["date_on_sale_to_gmt"], &seen["on_sale"]), (&json!("2026-12-05T05:00:00"), &json!(false)));
    let gmt = json!({ "date_on_sale_from_gmt": "2026-11-01T00:00:00", "date_on_sale_to": "" });
    let seen = shop.ask("PUT", &format!("/products/{id}"), gmt).await.json();
    assert_eq!((&seen["on_sale"], &seen["price"], &seen["date_on_sale_to"]), (&json!(true), &json!("8"), &Value::Null));
}

#[tokio::test]
async fn no_sale_stands_above_the_price() {
    let shop = Running::start().await;
    let id = made(&shop, "/products", json!({ "name": "x", "regular_price": "10", "sale_price": "8" })).await;
    let put = async |body: Value| shop.ask("PUT", &format!("/products/{id}"), body).await;
    assert_eq!(put(json!({ "regular_price": "12" })).await.status, 200);
    assert_eq!(put(json!({ "regular_price": "7" })).await.status, 400, "a price below the sale price of before");
    assert_eq!(put(json!({})).await.json()["regular_price"], "12");
    let dropped = put(json!({ "sale_price": "20" })).await.json();
    assert_eq!((&dropped["sale_price"], &dropped["price"]), (&json!(""), &json!("12")), "dropped without a word");
    assert_eq!(put(json!({ "regular_price": "7", "sale_price": "6" })).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_makes_nothing() {
    let shop = Running::start().await;
    let large = json!({ "name": "x".repeat(65 << 20) });
    assert_eq!(shop.ask("POST", "/products", large).await.status, 413);
    assert_eq!(shop.ask("GET", "/products", Value::Null).await.json(), json!([]));
}

#[tokio::test]
async fn a_hundred_and_one_items_are_too_many_for_variations_too() {
    let shop = Running::start().await;
    let id = made(&shop, "/products", json!({ "name": "x", "type": "variable" })).await;
    let items: Vec<Value> = (0..101).map(|n| json!({ "sku": format!("V-{n}") })).collect();
    let path = format!("/products/{id}/variations/batch");
    assert_eq!(shop.ask("POST", &path, json!({ "create": items[..100] })).await.status, 200);
    assert_eq!(shop.ask("POST", &path, json!({ "create": items })).await.status, 413);
}

#[tokio::test]
async fn a_tax_class_that_is_unknown_is_stored_as_the_standard_one() {
    let shop = Running::start().await;
    for (given, stored) in [("reduced-rate", "reduced-rate"), ("superreducido", ""), ("standard", "")] {
        let made = shop.ask("POST", "/products", json!({ "name": "x", "tax_class": given })).await.json();
        assert_eq!(made["tax_class"], stored, "{given}");
    }
}

#[tokio::test]
async fn tax_classes_are_made_and_go_with_their_rates() {
    let taxes = vec![":21:IVA".parse().unwrap(), "books:4:IVA".parse().unwrap()];
    let shop = Running::with(Options { taxes, ..Options::default() }).await;
    let slugs = async || {
        let classes = shop.done("GET", "/taxes/classes", Value::Null).await;
        classes.as_array().unwrap().iter().map(|class| class["slug"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(slugs().await, ["standard", "reduced-rate", "zero-rate", "books"]);
    let made = shop.ask("POST", "/taxes/classes", json!({ "name": "Luxury goods" })).await;
    assert_eq!((made.status, &made.json()["slug"]), (201, &json!("luxury-goods")));
    assert!(made.header("location").ends_with("/taxes/classes/luxury-goods"), "{}", made.header("location"));
    let product = shop.done("POST", "/products", json!({ "name": "x", "tax_class": "luxury-goods" })).await;
    assert_eq!(product["tax_class"], "luxury-goods", "known from now on");
    assert_eq!(shop.done("GET", "/taxes/classes/luxury-goods", Value::Null).await[0]["name"], "Luxury goods");

    let refused = async |method: &str, path: &str, body: Value| {
        let answer = shop.ask(method, path, body).await;
        (answer.status, answer.json()["code"].as_str().unwrap().replace("woocommerce_rest_", ""))
    };
    let taken = refused("POST", "/taxes/classes", json!({ "name": "Luxury goods" })).await;
    assert_eq!(taken, (400, "tax_class_exists".to_owned()));
    let taken = refused("POST", "/taxes/classes", json!({ "name": "luxury goods" })).await;
    assert_eq!(taken, (400, "tax_class_slug_exists".to_owned()));
    assert_eq!(refused("POST", "/taxes/classes", json!({ "name": "" })).await.1, "tax_class_invalid_name");
    assert_eq!(refused("POST", "/taxes/classes", json!({})).await.1, "rest_missing_callback_param");
    assert_eq!(refused("DELETE", "/taxes/classes/books", Value::Null).await.0, 501, "not without force");
    let unknown = refused("DELETE", "/taxes/classes/standard?force=true", Value::Null).await;
    assert_eq!(unknown, (400, "invalid_tax_class".to_owned()));
    assert_eq!(refused("GET", "/taxes/classes/none", Value::Null).await.0, 404);

    for class in ["books", "zero-rate"] {
        let gone = shop.done("DELETE", &format!("/taxes/classes/{class}?force=true"), Value::Null).await;
        assert_eq!(gone["slug"], class);
    }
    assert_eq!(slugs().await, ["standard", "reduced-rate", "luxury-goods"]);
    let product = shop.done("POST", "/products", json!({ "name": "y", "tax_class": "books" })).await;
    assert_eq!(product["tax_class"], "", "forgotten with its rate");
}

#[tokio::test]
async fn attributes_are_replaced_as_a_whole() {
    let shop = Running::start().await;
    let attribute = |name: &str| json!({ "name": name, "options": ["a"], "visible": true });
    let id = made(&shop, "/products", json!({ "name": "x", "attributes": [attribute("One"), attribute("Two")] })).await;
    let seen = shop.ask("PUT", &format!("/products/{id}"), json!({ "attributes": [attribute("Two")] })).await.json();
    assert_eq!(seen["attributes"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_option_with_a_bar_in_it_is_several() {
    let shop = Running::start().await;
    let sizes = json!({ "name": "Size", "options": ["1/2 | 20 mm", "3/4"], "visible": true, "variation": true });
    let made = shop.done("POST", "/products", json!({ "name": "x", "type": "variable", "attributes": [sizes] })).await;
    assert_eq!(made["attributes"][0]["options"], json!(["1/2", "20 mm", "3/4"]));
}

#[tokio::test]
async fn customers_are_those_of_their_role_unless_all_are_asked_for() {
    let shop = Running::start().await;
    made(&shop, "/customers", json!({ "email": "b@example.net" })).await;
    shop.advance(60);
    made(&shop, "/customers", json!({ "email": "a@example.net" })).await;
    let roles = async |query: &str| {
        let rows = shop.ask("GET", &format!("/customers{query}"), Value::Null).await.json();
        rows.as_array().unwrap().iter().map(|row| row["email"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(roles("?orderby=registered_date&order=asc").await, ["b@example.net", "a@example.net"]);
    assert_eq!(roles("?role=all").await.len(), 3, "the administrator too");
    assert_eq!(shop.ask("GET", "/customers?orderby=modified", Value::Null).await.status, 400);
}

#[tokio::test]
async fn a_sku_is_looked_for_as_a_whole_and_a_comma_parts_two_of_them() {
    let shop = Running::start().await;
    for sku in ["A", "AB", "C"] {
        made(&shop, "/products", json!({ "name": sku, "sku": sku })).await;
    }
    let found = async |sku: &str| {
        shop.ask("GET", &format!("/products?sku={sku}"), Value::Null).await.json().as_array().unwrap().len()
    };
    assert_eq!((found("A").await, found("a").await, found("A%2CC").await, found("B").await), (1, 1, 2, 0));
}

#[tokio::test]
async fn a_line_shows_the_sku_its_article_has_now_and_none_when_it_was_deleted() {
    let shop = Running::start().await;
    let product = made(&shop, "/products", json!({ "name": "x", "sku": "OLD", "regular_price": "1" })).await;
    let order = made(&shop, "/orders", json!({ "line_items": [{ "product_id": product, "quantity": 1 }] })).await;
    let sku = async || {
        let order = shop.ask("GET", &format!("/orders/{order}"), Value::Null).await.json();
        order["line_items"][0]["sku"].clone()
    };
    assert_eq!(sku().await, "OLD");
    shop.ask("PUT", &format!("/products/{product}"), json!({ "sku": "NEW" })).await;
    assert_eq!(sku().await, "NEW");
    shop.ask("DELETE", &format!("/products/{product}"), Value::Null).await;
    assert_eq!(sku().await, "NEW", "what is in the trash is still there");
    shop.ask("DELETE", &format!("/products/{product}?force=true"), Value::Null).await;
    assert_eq!(sku().await, Value::Null);
}

#[tokio::test]
async fn a_status_that_a_plug_in_registered_is_one_and_a_paid_one_sets_the_date() {
    let shop = Running::with(Options { order_statuses: vec!["packing".into()], ..Options::default() }).await;
    let order = made(&shop, "/orders", json!({ "status": "pending" })).await;
    let put = async |status: &str| shop.ask("PUT", &format!("/orders/{order}"), json!({ "status": status })).await;
    assert_eq!(put("unheard-of").await.status, 400);
    let packing = put("packing").await.json();
    assert_eq!((&packing["status"], &packing["date_paid"]), (&json!("packing"), &Value::Null));
    let listed = shop.ask("GET", "/orders?status=packing", Value::Null).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_ne!(put("processing").await.json()["date_paid"], Value::Null);
}

#[tokio::test]
async fn what_is_in_the_trash_is_shown_by_id_and_listed_when_asked_for() {
    let shop = Running::start().await;
    let id = made(&shop, "/products", json!({ "name": "x", "sku": "T" })).await;
    shop.ask("DELETE", &format!("/products/{id}"), Value::Null).await;
    assert_eq!(shop.ask("GET", &format!("/products/{id}"), Value::Null).await.json()["status"], "trash");
    assert_eq!(shop.ask("GET", "/products", Value::Null).await.json(), json!([]));
    assert_eq!(shop.ask("GET", "/products?status=trash", Value::Null).await.json()[0]["id"], id);
    let again = shop.ask("POST", "/products", json!({ "name": "y", "sku": "T" })).await;
    assert_eq!((again.status, again.json()["code"].as_str()), (400, Some("woocommerce_rest_product_not_created")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trashed_order_is_shown_by_id_and_comes_back_with_a_new_status() {
    let shop = Running::with(Options::default()).await;
    let order = shop.done("POST", "/orders", json!({ "status": "processing" })).await["id"].clone();
    let path = format!("/orders/{order}");
    shop.done("DELETE", &path, Value::Null).await;
    assert_eq!(shop.done("GET", &path, Value::Null).await["status"], "trash");
    assert_eq!(shop.done("GET", "/orders", Value::Null).await, json!([]));
    shop.done("PUT", &path, json!({ "meta_data": [{ "key": "a", "value": "b" }] })).await;
    assert_eq!(shop.done("GET", &path, Value::Null).await["status"], "trash");
    shop.done("PUT", &path, json!({ "status": "completed" })).await;
    assert_eq!(shop.done("GET", &path, Value::Null).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_currency_of_the_shop_is_answered() {
    let shop = Running::with(Options { currency: "GBP".to_owned(), ..Options::default() }).await;
    let currency = shop.done("GET", "/data/currencies/current", Value::Null).await;
    assert_eq!((&currency["code"], &currency["name"]), (&json!("GBP"), &json!("Pound sterling")));
    assert_eq!(shop.ask("POST", "/data/currencies/current", json!({})).await.status, 404);
}

#[tokio::test]
async fn a_picture_that_cannot_be_fetched_refuses_the_product() {
    let shop = Running::start().await;
    let answer = shop.ask("POST", "/products", json!({ "name": "x", "images": [{ "src": "x.png" }] })).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("woocommerce_product_image_upload_error")));
}

#[tokio::test]
async fn a_shop_under_maintenance_and_one_that_warns_before_it_answers() {
    let shop = Running::start().await;
    shop.shop.set_faults(vec![Fault::next(FaultKind::Maintenance, 1)]);
    let answer = shop.ask("GET", "/products", Value::Null).await;
    assert_eq!((answer.status, answer.header("content-type").starts_with("text/html")), (503, true));
    shop.shop.set_faults(vec![Fault::next(FaultKind::Warning, 1)]);
    let answer = shop.ask("GET", "/products", Value::Null).await;
    assert!(
        answer.status == 200 && answer.text.starts_with("<br />") && answer.text.ends_with("[]"),
        "{}",
        answer.text
    );
}
