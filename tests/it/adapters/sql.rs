//! What every database must do alike. Each has its own tables; adapter and assertions are the same.

use serde_json::json;
use vaiven::internals::{
    failure::Class,
    port::{Op, Probe, RowBody, System},
};

use super::{NoProgress, ids, page, pull, write};

/// `CURSOR` stands for what differs: how the database's times are written.
pub const ADAPTER: &str = r#"
driver = "sql"
summary = "An ERP in a database"
[settings]
url = { kind = "secret" }
shop = { kind = "text", default = "web" }
[sql]
url = "${url}"

[entities.product]
id = "id"
version = "updated_at"
keep = "bool(active)"
optional = ["note"]
[entities.product.list]
query = """
SELECT id, sku, name, price, weight, active, note, updated_at FROM product
WHERE (:cursor IS NULL OR updated_at >= :cursor) AND id > :after AND shop = :shop ORDER BY id LIMIT :limit"""
pages = { by = "keyset", size = 2 }
cursor = CURSOR
total = "SELECT count(*) FROM product WHERE shop = :shop"
[[entities.product.list.join]]
query = "SELECT product_id, sku, stock FROM variant WHERE product_id IN (:ids) ORDER BY sku"
on = "product_id"
into = "variants"
[entities.product.read]
query = "SELECT id, sku, name, price, weight, active, note, updated_at FROM product WHERE id IN (:ids) ORDER BY id"
join = "list"
[entities.product.find]
query = "SELECT id, sku, name, price, weight, active, note, updated_at FROM product WHERE sku = :key"
where = "row.sku == key"
[entities.product.create]
id = "id"
[[entities.product.create.steps]]
query = """INSERT INTO product (sku, name, price, weight, active, note, shop, updated_at)
VALUES (:key, :name, :price, NULL, :active, :note, :settings_shop, :at)"""
bind = { at = "2026-03-01 10:00:00" }
[[entities.product.create.steps]]
query = "SELECT id AS made FROM product WHERE sku = :key AND shop = :settings_shop"
capture = { id = "rows[0].made" }
[[entities.product.create.steps]]
for_each = "body.variants"
query = "INSERT INTO variant (product_id, sku, stock) VALUES (:id, :item_sku, :item_stock)"
[entities.product.update]
query = "UPDATE product SET name = :name, price = :price WHERE id = :id"
[entities.product.delete]
query = "DELETE FROM product WHERE id = :id"
[entities.product.batch]
max = 100

[entities.stock]
id = "sku"
facet_of = "product.variants"
[entities.stock.list]
query = "SELECT sku, stock FROM variant ORDER BY sku LIMIT :limit OFFSET :offset"
pages = { by = "offset" }
[entities.stock.read]
query = "SELECT sku, stock FROM variant WHERE sku IN (:ids)"
[entities.stock.batch]
max = 500
ops = ["update"]
query = "UPDATE variant SET stock = stock + :delta WHERE sku = :id"
"#;

/// Rows that the tables begin with, after `product` and `variant` were made.
pub const ROWS: [&str; 2] = [
    "INSERT INTO product (id, sku, name, price, weight, active, note, shop, updated_at) VALUES
     (1, 'A', 'Martillo', '12.50', 0.1, true, NULL, 'web', '2026-03-01 10:00:00'),
     (2, 'B', 'Llave', '19.99', 1.5, true, 'x', 'web', '2026-03-01 11:00:00'),
     (3, 'C', 'Clavo', '0.05', 0.25, true, NULL, 'web', '2026-03-01 12:00:00'),
     (4, 'D', 'Viejo', '1.00', 0.5, false, NULL, 'web', '2026-03-01 09:00:00'),
     (5, 'E', 'De otra tienda', '1.00', 0.5, true, NULL, 'other', '2026-03-01 09:00:00')",
    "INSERT INTO variant (product_id, sku, stock) VALUES (1, 'A-1', '3.5'), (1, 'A-2', '0'), (3, 'C-1', '7')",
];

/// Everything that the databases must do alike. `times` are the three shown times: (of row 3, since, as sent back).
pub async fn conforms(system: &dyn System, mark: &str) {
    lists(system, mark).await;
    reads(system).await;
    writes(system).await;
    takes_batches_apart(system).await;
}

async fn lists(system: &dyn System, mark: &str) {
    let all = pull(system, "product", None, 1000).await.unwrap();
    assert_eq!(ids(&all), ["1", "2", "3"], "inactive rows are not kept, other shops not listed");
    assert_eq!(all.total, None, "rows that `keep` leaves out are counted as well: the driver proves this total itself");
    assert_eq!(all.cursor.as_deref(), Some(mark));
    let first = all.rows[0].body.clone().into_value();
    assert_eq!(first["price"].to_string().trim_matches('"'), "12.50", "every digit of a decimal");
    assert_eq!(first["weight"].to_string(), "0.1", "a binary number is its shortest text");
    assert_eq!(first["note"], json!(null));
    assert_eq!(first["variants"].as_array().unwrap().len(), 2);
    assert_eq!(first["variants"][0]["sku"], "A-1");
    assert_eq!(all.rows[1].body.clone().into_value()["variants"], json!([]));

    let changed = pull(system, "product", Some("2026-03-01T11:00:00Z"), 1000).await.unwrap();
    assert_eq!(ids(&changed), ["2", "3"], "the watermark itself is read again");
    let page = page(system, "product", None, None, 1000).await.unwrap();
    assert_eq!((page.rows.len(), page.cursor, page.next.is_some()), (2, None, true));

    let stock = pull(system, "stock", None, 2).await.unwrap();
    assert_eq!(ids(&stock), ["A-1", "A-2", "C-1"]);
}

async fn reads(system: &dyn System) {
    let rows = system.read("product", &["3".into(), "99".into(), "1".into()]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["1", "3"]);
    let (body, desired) = (json!({}), json!({}));
    let probe = |key| Probe { key, since: chrono::DateTime::UNIX_EPOCH, body: &body, desired: &desired };
    assert_eq!(system.find("product", &probe("B")).await.unwrap()[0].id, "2");
    assert!(system.find("product", &probe("Z")).await.unwrap().is_empty());
}

async fn writes(system: &dyn System) {
    let body = json!({
        "name": "Sierra", "price": "123456789012345.67", "active": true,
        "variants": [{ "sku": "S-1", "stock": "2.250" }, { "sku": "S-2", "stock": 4 }]
    });
    let made = system.write("product", vec![write(1, Op::Create, "S", None, body)], &NoProgress).await;
    let written = made[0].result.as_ref().unwrap();
    let stored = written.stored.as_ref().unwrap();
    assert_eq!(stored["price"].to_string().trim_matches('"'), "123456789012345.67", "no digit is lost on the way in");
    assert_eq!(stored["variants"].as_array().unwrap().len(), 2);
    let id = written.id.clone();

    let body = json!({ "name": "Sierra larga", "price": 7 });
    let changed = system.write("product", vec![write(2, Op::Update, "S", Some(&id), body.clone())], &NoProgress).await;
    assert_eq!(changed[0].result.as_ref().unwrap().stored.as_ref().unwrap()["name"], "Sierra larga");

    let gone = system.write("product", vec![write(3, Op::Update, "Q", Some("987"), body)], &NoProgress).await;
    assert_eq!(gone[0].result.as_ref().unwrap_err().class, Class::Missing);

    // A later step that fails takes the earlier ones back.
    let body = json!({ "name": "X", "price": "1", "active": true, "variants": [{ "sku": "A-1", "stock": "1" }] });
    let refused = system.write("product", vec![write(4, Op::Create, "X", None, body)], &NoProgress).await;
    let failure = refused[0].result.as_ref().unwrap_err();
    assert_eq!(failure.class, Class::Rejected, "{failure}");
    let (body, desired) = (json!({}), json!({}));
    let probe = Probe { key: "X", since: chrono::DateTime::UNIX_EPOCH, body: &body, desired: &desired };
    assert!(system.find("product", &probe).await.unwrap().is_empty());

    let body = json!({ "name": "X", "active": true, "variants": [] });
    let unknown = system.write("product", vec![write(5, Op::Create, "X", None, body)], &NoProgress).await;
    let failure = unknown[0].result.as_ref().unwrap_err();
    assert!(failure.class == Class::Fatal && failure.message.contains(":price"), "{failure}");

    let delete = system.write("product", vec![write(6, Op::Delete, "D", Some("4"), json!({}))], &NoProgress).await;
    assert!(delete[0].result.is_ok());
}

async fn takes_batches_apart(system: &dyn System) {
    let product = |job, key: &str, variant: &str| {
        let variants = json!([{ "sku": variant, "stock": 1 }]);
        write(job, Op::Create, key, None, json!({ "name": key, "price": 1, "active": true, "variants": variants }))
    };
    let batch = vec![product(1, "P1", "P1-1"), product(2, "P2", "A-1"), product(3, "P3", "P3-1")];
    let outcomes = system.write("product", batch, &NoProgress).await;
    assert!(outcomes[0].result.is_ok() && outcomes[2].result.is_ok());
    assert_eq!(outcomes[1].result.as_ref().unwrap_err().class, Class::Rejected);
    assert_eq!(outcomes[1].result.as_ref().unwrap_err().field.as_deref(), Some("sku"));
    let all = pull(system, "product", None, 1000).await.unwrap();
    let skus: Vec<_> = all
        .rows
        .iter()
        .map(|row| match &row.body {
            RowBody::Json(row) => row["sku"].as_str().unwrap_or_default().to_owned(),
            RowBody::Record { .. } => String::new(),
        })
        .collect();
    assert_eq!(skus, ["A", "B", "C", "S", "P1", "P3"], "the bad one left nothing, the others are there");

    let fraction: serde_json::Value = serde_json::from_str(r#"{ "delta": 0.10 }"#).unwrap();
    let stock = |job, sku: &str| write(job, Op::Update, sku, Some(sku), fraction.clone());
    let outcomes = system.write("stock", vec![stock(1, "A-1"), stock(2, "nobody"), stock(3, "C-1")], &NoProgress).await;
    assert_eq!(outcomes[1].result.as_ref().unwrap_err().class, Class::Missing);
    let stored = outcomes[0].result.as_ref().unwrap().stored.as_ref().unwrap()["stock"].to_string();
    assert!(["3.6", "3.60", "3.600"].contains(&stored.trim_matches('"')), "{stored}");
}
