//! People in the shop: what they do shows in the interface and in the tables.

use serde_json::{Value, json};
use sqlx::Row;
use vaiven::internals::sandbox::{Checkout, Options};

use super::shop::Running;

fn ann() -> Value {
    json!({ "first_name": "Ann", "last_name": "O'Neil", "email": "ann@example.test", "address_1": "Calle 1",
        "city": "Cádiz", "postcode": "11001", "country": "ES" })
}

#[tokio::test]
async fn buying_takes_the_goods_and_moves_their_date() {
    let options = Options {
        taxes: vec![":21:IVA".parse().unwrap(), "reduced-rate:10:IVA 10".parse().unwrap()],
        ..Options::default()
    };
    let shop = Running::with(options).await;
    let drill =
        json!({ "name": "Drill", "sku": "D", "regular_price": "19.99", "manage_stock": true, "stock_quantity": 5 });
    let made = shop.done("POST", "/products", drill).await;
    let book = json!({ "name": "Book", "sku": "B", "regular_price": "10", "tax_class": "reduced-rate" });
    shop.done("POST", "/products", book).await;
    shop.advance(10);
    let account = shop.shop.register(&ann()).await.unwrap();
    let checkout = Checkout {
        customer: Some(account),
        billing: ann(),
        lines: vec![("D".into(), 3), ("B".into(), 1)],
        delivery: Some(("Courier".into(), "5".into())),
        payment: "redsys".into(),
        ..Checkout::default()
    };
    let id = shop.shop.place_order(&checkout).await.unwrap();
    let order = shop.done("GET", &format!("/orders/{id}"), Value::Null).await;
    assert_eq!(order["status"], "processing");
    assert_eq!(order["created_via"], "checkout");
    // 59.97 + 10 + 5 net; 12.59 + 1.00 + 1.05 tax
    assert_eq!((&order["total_tax"], &order["total"]), (&json!("14.64"), &json!("89.61")));
    assert_eq!(order["tax_lines"].as_array().unwrap().len(), 2);
    let after = shop.shop.article("D").await.unwrap();
    assert_eq!(after["stock_quantity"], 2);
    assert_ne!(after["date_modified_gmt"], made["date_modified_gmt"]);
    let refused = shop.shop.place_order(&checkout).await.unwrap_err();
    assert!(refused.to_string().contains("not enough of D"), "{refused}");
    shop.shop.set_order_status(id, "cancelled").await.unwrap();
    assert_eq!(shop.shop.article("D").await.unwrap()["stock_quantity"], 5, "a cancelled order gives the goods back");
}

#[tokio::test]
async fn the_tables_can_be_read_with_plain_sql() {
    let shop = Running::start().await;
    shop.done("POST", "/products/categories", json!({ "name": "Tools & more" })).await;
    let drill = json!({ "name": "Drill", "sku": "D", "regular_price": "19.99", "categories": [{ "id": 16 }, { "id": 999 }],
        "manage_stock": true, "stock_quantity": 5, "meta_data": [{ "key": "brand", "value": "Ñ" }] });
    shop.done("POST", "/products", drill).await;
    shop.shop.edit("D", json!({ "regular_price": "21" })).await.unwrap();
    let checkout = Checkout { lines: vec![("D".into(), 2)], billing: ann(), ..Checkout::default() };
    let order = shop.shop.place_order(&checkout).await.unwrap();
    let url = format!("sqlite://{}?mode=ro", shop.folder.path().join("shop.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let row = sqlx::query(
        "SELECT p.sku, p.regular_price, p.stock_quantity, c.name, m.value FROM products p \
         JOIN product_categories pc ON pc.product_id = p.id JOIN categories c ON c.id = pc.category_id \
         JOIN product_meta m ON m.product_id = p.id AND m.key = 'brand'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let texts: Vec<String> = [0, 1, 3, 4].into_iter().map(|at| row.get(at)).collect();
    assert_eq!(texts, ["D", "21", "Tools &amp; more", "Ñ"]);
    assert_eq!(row.get::<i64, _>(2), 3);
    let row = sqlx::query("SELECT o.email, l.sku, l.quantity, l.total FROM orders o JOIN order_lines l ON l.order_id = o.id WHERE o.id = ?")
        .bind(order)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!((row.get::<String, _>(0), row.get::<String, _>(1)), ("ann@example.test".into(), "D".into()));
    assert_eq!((row.get::<i64, _>(2), row.get::<String, _>(3)), (2, "42.00".into()));
}

#[tokio::test]
async fn notes_for_the_customer_and_metas_belong_to_an_order() {
    let shop = Running::start().await;
    let order = shop.done("POST", "/orders", json!({})).await["id"].as_i64().unwrap();
    let path = format!("/orders/{order}");
    let before = shop.done("GET", &path, Value::Null).await;
    shop.advance(5);
    shop.done("POST", &format!("{path}/notes"), json!({ "note": "Sent by SEUR, 123", "customer_note": true })).await;
    shop.done("POST", &format!("{path}/notes"), json!({ "note": "packed" })).await;
    let notes = shop.done("GET", &format!("{path}/notes?type=customer"), Value::Null).await;
    assert_eq!((notes.as_array().unwrap().len(), &notes[0]["note"]), (1, &json!("Sent by SEUR, 123")));
    assert_eq!(
        shop.done("GET", &path, Value::Null).await["date_modified_gmt"],
        before["date_modified_gmt"],
        "a note moves no date"
    );
    for value in [json!({ "tracking": "1" }), json!({ "tracking": "2" })] {
        shop.done("PUT", &path, json!({ "meta_data": [{ "key": "_shipment_A", "value": value }] })).await;
    }
    let after = shop.done("GET", &path, Value::Null).await;
    assert_eq!(after["meta_data"].as_array().unwrap().len(), 1, "a meta of the same key is replaced");
    assert_eq!(after["meta_data"][0]["value"]["tracking"], "2");
}
