//! Replays recorded requests (`fixtures/woocommerce/exchanges`) and compares status, error, shape and chosen values.

use serde_json::{Value, json};

use super::shop::{Answer, Running};

struct Recording {
    method: String,
    path: String,
    body: Value,
    status: u16,
    answer: Value,
    headers: Value,
}

fn recording(name: &str) -> Recording {
    let path = format!("{}/fixtures/woocommerce/exchanges/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let value: Value = serde_json::from_str(&text).unwrap();
    Recording {
        method: value["request"]["method"].as_str().unwrap().into(),
        path: value["request"]["path"].as_str().unwrap().into(),
        body: value["request"]["body"].clone(),
        status: u16::try_from(value["response"]["status"].as_u64().unwrap()).unwrap(),
        answer: value["response"]["body"].clone(),
        headers: value["response"]["headers"].clone(),
    }
}

/// Sends the recorded request, its ids exchanged for ours, and compares.
async fn replay(shop: &Running, name: &str, ids: &[(&str, String)]) -> (Answer, Recording) {
    let mut recorded = recording(name);
    for (theirs, ours) in ids {
        recorded.path = recorded.path.replace(theirs, ours);
        recorded.body = serde_json::from_str(&recorded.body.to_string().replace(theirs, ours)).unwrap();
    }
    let raw = match &recorded.body {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        body => Some(body.to_string()),
    };
    let key = "Basic Y2tfc2FuZGJveDpjc19zYW5kYm94";
    let answer = shop.ask_as(Some(key), &recorded.method, &recorded.path, raw).await.unwrap();
    assert_eq!(answer.status, recorded.status, "{name}: {}", answer.text);
    if recorded.headers.get("Allow").is_some() {
        assert_eq!(answer.header("allow"), recorded.headers["Allow"], "{name}");
    }
    let body = answer.json();
    if recorded.answer.get("code").is_some() {
        assert_eq!(body["code"], recorded.answer["code"], "{name}");
        assert_eq!(
            body["message"].as_str().map(str::len),
            recorded.answer["message"].as_str().map(str::len),
            "{name}: {}",
            body["message"]
        );
    }
    same_shape(name, "", &recorded.answer, &body);
    (answer, recorded)
}

/// The same members of the same types; of lists, the first items.
fn same_shape(name: &str, at: &str, theirs: &Value, ours: &Value) {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    assert_eq!(kind(ours), kind(theirs), "{name}: type of {at}: {ours} for {theirs}");
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let names = |members: &serde_json::Map<String, Value>| {
                let mut names: Vec<String> = members.keys().cloned().collect();
                names.sort();
                names
            };
            assert_eq!(names(ours), names(theirs), "{name}: members of {at}");
            for (member, theirs) in theirs {
                same_shape(name, &format!("{at}/{member}"), theirs, &ours[member]);
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
                same_shape(name, &format!("{at}/0"), theirs, ours);
            }
        }
        _ => {}
    }
}

fn same_values(recorded: &Recording, body: &Value, pointers: &[&str]) {
    for pointer in pointers {
        assert_eq!(body.pointer(pointer), recorded.answer.pointer(pointer), "{pointer}");
    }
}

async fn product(shop: &Running, body: Value) -> i64 {
    shop.done("POST", "/products", body).await["id"].as_i64().unwrap()
}

#[tokio::test]
async fn products_are_created_read_and_changed_as_recorded() {
    let shop = Running::start().await;
    let (answer, recorded) = replay(&shop, "product_create_201", &[]).await;
    let body = answer.json();
    same_values(
        &recorded,
        &body,
        &[
            "/name",
            "/slug",
            "/description",
            "/date_created",
            "/date_created_gmt",
            "/sku",
            "/price",
            "/price_html",
            "/stock_quantity",
            "/dimensions",
            "/generated_slug",
            "/categories",
            "/average_rating",
            "/purchasable",
        ],
    );
    let id = body["id"].to_string();
    assert!(answer.header("location").ends_with(&format!("/wp-json/wc/v3/products/{id}")));
    shop.advance(3);
    let (answer, recorded) = replay(&shop, "product_update_200", &[("10", id.clone())]).await;
    same_values(&recorded, &answer.json(), &["/price", "/date_modified_gmt", "/date_created_gmt"]);
    let (answer, recorded) = replay(&shop, "product_by_sku", &[]).await;
    same_values(&recorded, &answer.json(), &["/0/description", "/0/average_rating", "/0/price", "/0/name"]);
    replay(&shop, "product_dup_sku_400", &[]).await;
    let (answer, recorded) = replay(&shop, "product_dup_sku_case", &[]).await;
    same_values(&recorded, &answer.json(), &["/data/unique_sku"]);
    assert_eq!(answer.json()["data"]["resource_id"].to_string(), id);
    for name in [
        "product_get_missing_404",
        "product_put_missing_400",
        "product_delete_missing",
        "route_404",
        "product_bad_enum_400",
        "product_bad_types_400",
        "product_price_number",
        "bad_json_400",
    ] {
        let (answer, recorded) = replay(&shop, name, &[]).await;
        same_values(&recorded, &answer.json(), &["/message", "/data"]);
    }
    let (answer, recorded) = replay(&shop, "product_price_garbage", &[]).await;
    same_values(&recorded, &answer.json(), &["/regular_price", "/price"]);
}

#[tokio::test]
async fn a_trashed_product_keeps_its_sku_and_is_gone_only_once() {
    let shop = Running::start().await;
    let id = product(&shop, json!({ "name": "del", "sku": "DEL-1" })).await.to_string();
    let ids = [("21", id)];
    replay(&shop, "product_trash_200", &ids).await;
    replay(&shop, "product_trash_twice_410", &ids).await;
    let (answer, recorded) = replay(&shop, "product_sku_of_trashed", &[]).await;
    same_values(&recorded, &answer.json(), &["/message"]);
    assert_eq!(shop.done("GET", "/products?sku=DEL-1", Value::Null).await, json!([]));
    replay(&shop, "product_delete_force_200", &ids).await;
    product(&shop, json!({ "name": "del", "sku": "DEL-1" })).await;
}

#[tokio::test]
async fn every_src_is_a_new_attachment() {
    let shop = Running::start().await;
    let (answer, recorded) = replay(&shop, "product_image_ok", &[]).await;
    let body = answer.json();
    same_values(&recorded, &body, &["/images/0/name", "/images/0/alt"]);
    let path = format!("/products/{}", body["id"]);
    let images = json!({ "images": [{ "src": "http://shop.test/a.png" }] });
    let again = shop.done("PUT", &path, images).await;
    assert_ne!(again["images"][0]["id"], body["images"][0]["id"]);
    let kept = json!({ "images": [{ "id": again["images"][0]["id"], "alt": "y" }] });
    let kept = shop.done("PUT", &path, kept).await;
    assert_eq!(kept["images"][0]["id"], again["images"][0]["id"]);
    assert_eq!(kept["images"][0]["alt"], "y");
}

#[tokio::test]
async fn a_batch_answers_item_by_item() {
    let shop = Running::start().await;
    let (answer, _) = replay(&shop, "batch_create_100", &[]).await;
    let made: Vec<String> =
        answer.json()["create"].as_array().unwrap().iter().map(|item| item["id"].to_string()).collect();
    product(&shop, json!({ "name": "BT 2", "sku": "BT-2" })).await;
    let ids = [("24", made[0].clone()), ("25", made[1].clone())];
    let (answer, recorded) = replay(&shop, "batch_update_100", &ids).await;
    same_values(&recorded, &answer.json(), &["/update/0/price", "/update/0/stock_quantity", "/update/0/stock_status"]);
    let (answer, recorded) = replay(&shop, "batch_mixed_errors_200", &ids).await;
    let body = answer.json();
    same_values(
        &recorded,
        &body,
        &[
            "/create/1/error/code",
            "/create/1/error/data/unique_sku",
            "/create/3/regular_price",
            "/update/0",
            "/update/1/error/code",
            "/update/2/name",
            "/update/3",
            "/delete/0",
        ],
    );
    assert_eq!(body["create"][1]["error"]["data"]["resource_id"].to_string(), made[1]);
    let many: Vec<Value> = (0..101).map(|n| json!({ "name": format!("x{n}") })).collect();
    let answer = shop.ask("POST", "/products/batch", json!({ "create": many })).await;
    let recorded = recording("batch_101_413");
    assert_eq!((answer.status, answer.json()), (recorded.status, recorded.answer));
    assert_eq!(shop.ask("POST", "/products/batch", json!({ "create": [7] })).await.status, 500);
}

#[tokio::test]
async fn variations_live_under_their_product() {
    let shop = Running::start().await;
    let (answer, recorded) = replay(&shop, "attribute_create_201", &[]).await;
    same_values(&recorded, &answer.json(), &["/id", "/slug"]);
    replay(&shop, "attribute_dup_400", &[]).await;
    let (answer, recorded) = replay(&shop, "product_variable_create", &[]).await;
    same_values(&recorded, &answer.json(), &["/attributes", "/has_options", "/stock_status", "/price"]);
    let parent = answer.json()["id"].to_string();
    let (answer, recorded) = replay(&shop, "variation_create", &[("129", parent.clone())]).await;
    same_values(&recorded, &answer.json(), &["/attributes", "/name", "/price", "/stock_quantity", "/tax_class"]);
    assert!(answer.header("location").contains("products/(?P<product_id>[\\d]+)/variations/"));
    let child = answer.json()["id"].to_string();
    let ids = [("129", parent.clone()), ("130", child.clone())];
    replay(&shop, "variation_dup_sku", &ids).await;
    shop.advance(5);
    let before = shop.done("GET", &format!("/products/{parent}"), Value::Null).await;
    let (answer, recorded) = replay(&shop, "variation_batch", &ids).await;
    same_values(&recorded, &answer.json(), &["/create/0/attributes", "/update/0/stock_quantity", "/update/0/price"]);
    let after = shop.done("GET", &format!("/products/{parent}"), Value::Null).await;
    assert_ne!(before["date_modified_gmt"], after["date_modified_gmt"], "a variation's save moves its product");
    assert_eq!(after["variations"].as_array().unwrap().len(), 3);
    assert_eq!(after["price"], "5");
    let found = shop.done("GET", "/products?sku=VT-S-R,VT", Value::Null).await;
    assert_eq!(found.as_array().unwrap().len(), 2, "a search by SKU finds variations as well");
}

#[tokio::test]
async fn categories_are_escaped_and_unique_under_their_parent() {
    let shop = Running::start().await;
    let (answer, recorded) = replay(&shop, "category_create_201", &[]).await;
    assert_eq!(answer.json()["id"], recorded.answer["id"]);
    same_values(&recorded, &answer.json(), &["/name", "/slug"]);
    let (answer, recorded) = replay(&shop, "category_dup_400", &[]).await;
    same_values(&recorded, &answer.json(), &["/data"]);
}

#[tokio::test]
async fn customers_have_one_account_for_an_email() {
    let shop = Running::start().await;
    let (answer, recorded) = replay(&shop, "customer_create", &[]).await;
    same_values(
        &recorded,
        &answer.json(),
        &["/id", "/email", "/username", "/billing", "/shipping", "/meta_data/1/key"],
    );
    for name in [
        "customer_dup_email_400",
        "customer_bad_email_400",
        "customer_missing_email_400",
        "customer_delete_noforce_501",
        "customers_modified_after_ignored",
    ] {
        let (answer, recorded) = replay(&shop, name, &[]).await;
        if recorded.status >= 400 {
            same_values(&recorded, &answer.json(), &["/message", "/data"]);
        } else {
            assert_eq!(answer.header("x-wp-total"), "2", "the date filter is ignored");
        }
    }
    let (answer, recorded) = replay(&shop, "customer_batch", &[]).await;
    same_values(&recorded, &answer.json(), &["/create/0/username", "/create/1", "/create/2"]);
}

#[tokio::test]
async fn listings_page_count_and_filter_as_recorded() {
    let shop = Running::start().await;
    for half in [0, 52] {
        let items: Vec<Value> = (half..half + 52)
            .map(|n| json!({ "name": format!("BT {n}"), "sku": format!("BT-{n}"), "regular_price": "5.00", "manage_stock": true, "stock_quantity": 1 }))
            .collect();
        shop.done("POST", "/products/batch", json!({ "create": items })).await;
    }
    let (answer, recorded) = replay(&shop, "list_page2_headers", &[]).await;
    for name in ["X-WP-Total", "X-WP-TotalPages"] {
        assert_eq!(answer.header(name), recorded.headers[name]);
    }
    let own = answer.header("link").replace(&shop.base, "http://shop.test");
    assert!(own.ends_with(recorded.headers["Link"].as_str().unwrap()), "{own}");
    let (answer, recorded) = replay(&shop, "list_beyond_end_200", &[]).await;
    assert_eq!(answer.json(), json!([]));
    let own = answer.header("link").replace(&shop.base, "http://shop.test");
    assert!(own.ends_with(recorded.headers["Link"].as_str().unwrap()), "{own}");
    let answer = shop.ask("GET", &recording("list_fields").path, Value::Null).await;
    assert_eq!(answer.header("x-wp-totalpages"), recording("list_fields").headers["X-WP-TotalPages"]);
    assert_eq!(answer.json()[0].as_object().unwrap().len(), 4);
    let (answer, recorded) = replay(&shop, "list_per_page_101_400", &[]).await;
    same_values(&recorded, &answer.json(), &["/message", "/data"]);
    shop.advance(150);
    product(&shop, json!({ "name": "mod", "sku": "MOD-1", "regular_price": "1" })).await;
    let (answer, _) = replay(&shop, "list_modified_after", &[]).await;
    assert_eq!(answer.json()[0]["sku"], "MOD-1");
    assert_eq!(answer.header("x-wp-total"), "1");
    let at_the_second = "/products?modified_after=2026-11-23T09:45:58&dates_are_gmt=true";
    assert_eq!(shop.done("GET", at_the_second, Value::Null).await, json!([]), "the bound is exclusive");
    let local = "/products?modified_after=2026-11-23T04:45:57";
    assert_eq!(shop.ask("GET", local, Value::Null).await.header("x-wp-total"), "1", "without the flag: shop time");
    let shifted = "/products?modified_after=2026-11-23T09:45:57Z&dates_are_gmt=true";
    assert_eq!(shop.ask("GET", shifted, Value::Null).await.header("x-wp-total"), "105", "`Z` with the flag is shifted");
    assert_eq!(shop.ask("GET", "/products?modified_after=2026-11-23", Value::Null).await.status, 400);
}

#[tokio::test]
async fn only_the_order_by_id_is_stable() {
    let shop = Running::start().await;
    let items: Vec<Value> = (0..100).map(|n| json!({ "name": format!("BT {n}") })).collect();
    shop.done("POST", "/products/batch", json!({ "create": items })).await;
    for (order, stable) in [("", false), ("&orderby=modified&order=asc", false), ("&orderby=id&order=asc", true)] {
        let mut seen = std::collections::BTreeSet::new();
        for page in 1..=10 {
            let rows = shop.done("GET", &format!("/products?per_page=10&page={page}{order}"), Value::Null).await;
            seen.extend(rows.as_array().unwrap().iter().map(|row| row["id"].to_string()));
        }
        assert_eq!(seen.len() == 100, stable, "{order}: {} distinct of 100", seen.len());
    }
}

#[tokio::test]
async fn orders_take_anything_as_recorded() {
    let shop = Running::start().await;
    let mut ids = Vec::new();
    for sku in ["BT-50", "BT-51"] {
        let body = json!({ "name": sku.replace('-', " "), "sku": sku, "regular_price": "5.00", "manage_stock": true, "stock_quantity": 51 });
        ids.push(product(&shop, body).await);
    }
    let product_ids = [("74", ids[0].to_string())];
    let (answer, recorded) = replay(&shop, "order_create", &product_ids).await;
    let body = answer.json();
    same_values(
        &recorded,
        &body,
        &[
            "/status",
            "/total",
            "/shipping_total",
            "/billing",
            "/line_items/0/total",
            "/line_items/0/name",
            "/line_items/0/price",
            "/line_items/0/sku",
            "/needs_payment",
            "/needs_processing",
            "/is_editable",
            "/currency_symbol",
        ],
    );
    for name in ["order_bad_customer_400", "order_bad_status_400", "order_missing_404"] {
        let (answer, recorded) = replay(&shop, name, &product_ids).await;
        same_values(&recorded, &answer.json(), &["/message", "/data"]);
    }
    let empty_line = [
        "/line_items/0/name",
        "/line_items/0/product_id",
        "/line_items/0/sku",
        "/line_items/0/total",
        "/total",
        "/needs_processing",
    ];
    for name in ["order_bad_product", "order_line_unknown_sku"] {
        let (answer, recorded) = replay(&shop, name, &[]).await;
        same_values(&recorded, &answer.json(), &empty_line);
    }
    let (answer, recorded) = replay(&shop, "order_line_by_sku", &[]).await;
    same_values(&recorded, &answer.json(), &["/line_items/0/name", "/total"]);
    let order = body["id"].to_string();
    let line = body["line_items"][0]["id"].clone();
    let changed =
        shop.done("PUT", &format!("/orders/{order}"), json!({ "line_items": [{ "id": line, "quantity": 3 }] })).await;
    assert_eq!(changed["line_items"][0]["total"], "10.00", "changing a quantity keeps the totals");
    replay(&shop, "order_note_create", &[("165", order.clone())]).await;
    shop.done("PUT", &format!("/orders/{order}"), json!({ "status": "processing" })).await;
    let (answer, _) = replay(&shop, "order_notes_list", &[("165", order.clone())]).await;
    let notes = answer.json().to_string();
    assert!(notes.contains("Stock levels reduced: BT 50 (BT-50) 51&rarr;48"), "{notes}");
    assert!(notes.contains("Order status changed from Pending payment to Processing."), "{notes}");
    let ids = [("165", order.clone()), ("4,", format!("{line},"))];
    let (answer, recorded) = replay(&shop, "order_refund_too_big", &ids).await;
    same_values(&recorded, &answer.json(), &["/message", "/data"]);
    replay(&shop, "order_refund_api_refund_default", &ids).await;
    let (answer, recorded) = replay(&shop, "order_refund_create", &ids).await;
    same_values(&recorded, &answer.json(), &["/amount", "/reason"]);
    let (answer, recorded) = replay(&shop, "order_refund_lines", &ids).await;
    same_values(&recorded, &answer.json(), &["/amount", "/line_items/0/quantity", "/line_items/0/total"]);
    let ids = [("165", order), ("74", product_ids[0].1.clone())];
    let (answer, recorded) = replay(&shop, "order_batch", &ids).await;
    same_values(&recorded, &answer.json(), &["/create/1", "/update/0/status", "/update/1"]);
    let (answer, _) = replay(&shop, "orders_modified_after", &[]).await;
    assert_ne!(answer.header("x-wp-total"), "0");
}

#[tokio::test]
async fn keys_are_needed_and_must_allow_it() {
    let options =
        vaiven::internals::sandbox::Options { read_only_key: Some("ck_read:cs_read".into()), ..Default::default() };
    let shop = Running::with(options).await;
    let encoded = |pair: &str| {
        use base64::Engine;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    let write = Some(r#"{"name":"x"}"#.to_owned());
    for (name, pair, method, body) in [
        ("auth_none_401", None, "GET", None),
        ("auth_bad_key_401", Some("ck_other:cs_sandbox"), "GET", None),
        ("auth_bad_secret_401", Some("ck_sandbox:cs_other"), "GET", None),
        ("auth_readonly_write_401", Some("ck_read:cs_read"), "POST", write),
    ] {
        let authorization = pair.map(encoded);
        let answer = shop.ask_as(authorization.as_deref(), method, "/products", body).await.unwrap();
        let recorded = recording(name);
        assert_eq!((answer.status, answer.json()), (recorded.status, recorded.answer), "{name}");
    }
    let answer =
        shop.ask_as(None, "GET", "/products?consumer_key=ck_read&consumer_secret=cs_read", None).await.unwrap();
    assert_eq!(answer.status, 200);
}
