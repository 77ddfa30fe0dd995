//! A shop and the demo's ERP, by the mappings that come with the program.

use serde_json::{Value, json};
use sqlx::{Executor as _, Row as _, SqliteConnection};
use tempfile::TempDir;
use vaiven::internals::sandbox::Options;

use super::{people::at, shown, vaiven};
use crate::sandbox::shop::Running;

const FLOWS: &str = r#"
[flows.sales]
entities = ["customer", "order"]
from     = "shop"
to       = ["erp"]
match    = { customer = ["vat", "email"] }
states   = { order = ["confirmed", "paid", "cancelled"] }

[flows.account]
entities = ["order"]
from     = "erp"
to       = ["shop"]
fields   = { order = ["status"] }
states   = { order = ["paid", "shipped", "cancelled"] }
"#;

const PRICES: &str = r#"
[systems.list]
adapter = "list"
file = "list.db"

[flows.prices]
entities = ["price"]
from     = "list"
to       = ["shop"]
brakes   = false
"#;

/// A list of retail prices without reductions.
const LIST: [(&str, &str); 2] = [
    (
        "adapters/list.toml",
        r#"
driver  = "sql"
summary = "Prices"
[settings]
file = { kind = "path" }
[sql]
url = "sqlite://${file}"
[entities.price]
id = "sku"
[entities.price.list]
query = "SELECT * FROM price WHERE sku > :after ORDER BY sku LIMIT :limit"
pages = { by = "keyset", key = "sku", size = 500, first = "" }
"#,
    ),
    (
        "mappings/list/price.toml",
        r#"
key = "'retail/' + sku"
[fields]
code         = { pull = "'retail/' + row.sku" }
list         = { value = "retail" }
sku          = "sku"
amount       = "amount"
currency     = { value = "EUR" }
tax_included = { value = true }
"#,
    ),
];

struct Sales {
    folder: TempDir,
    shop: Running,
    erp: SqliteConnection,
}

impl Sales {
    /// A shop of one article that costs ten, an ERP without orders, and these flows.
    async fn of(flows: &str) -> Self {
        let taxes = vec![":21:IVA".parse().unwrap()];
        let shop = Running::with(Options { taxes, ..Options::default() }).await;
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[systems.erp]\nadapter = \"ferreteria-erp\"\nfile = \"erp.db\"\n\n[systems.shop]\nadapter = \"woocommerce\"\n\
            url = \"{}\"\nkey = {{ env = \"KEY\" }}\nsecret = {{ env = \"SECRET\" }}\n{flows}",
            shop.base
        );
        std::fs::write(folder.path().join("vaiven.toml"), config).unwrap();
        let mut erp = at(folder.path(), "erp.db").await;
        erp.execute(include_str!("../../../src/demo/erp/schema.sql")).await.unwrap();
        shop.done("POST", "/products", json!({ "name": "Hammer", "sku": "H", "regular_price": "10" })).await;
        Self { folder, shop, erp }
    }

    fn say(&self, arguments: &[&str]) -> String {
        shown(&vaiven(self.folder.path(), arguments, &[("KEY", "ck_sandbox"), ("SECRET", "cs_sandbox")]))
    }

    /// Everything once; the last line that tells of writes.
    fn run(&self, more: &[&str]) -> String {
        let output = self.say(&[&["run", "--once"], more].concat());
        output.lines().find(|line| line.starts_with("Delivered:")).unwrap_or(&output).to_owned()
    }

    async fn order(&self, email: &str, body: Value) -> i64 {
        let mut order = json!({ "line_items": [{ "sku": "H", "quantity": 1 }],
            "billing": { "first_name": "Ana", "last_name": "Ruiz", "email": email, "country": "ES", "city": "Cádiz" } });
        order.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let product = self.shop.done("GET", "/products?sku=H", Value::Null).await[0]["id"].clone();
        order["line_items"][0]["product_id"] = product;
        self.shop.done("POST", "/orders", order).await["id"].as_i64().unwrap()
    }

    /// Somebody in the office types in an order.
    async fn typed(&mut self, number: i64, email: Option<&str>) {
        sqlx::query(
            "INSERT INTO pedido (numero_web, fecha, email, moneda, iva_incluido, total) VALUES (?, '2026-11-23', ?, 'EUR', 0, '12.1')",
        )
        .bind(number.to_string())
        .bind(email)
        .execute(&mut self.erp)
        .await
        .unwrap();
    }

    /// Whether the ERP's orders are paid, by the shop's number.
    async fn paid(&mut self) -> Vec<(String, Option<bool>)> {
        let rows =
            sqlx::query("SELECT numero_web, pagado FROM pedido ORDER BY id").fetch_all(&mut self.erp).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn emails(&mut self) -> Vec<Option<String>> {
        sqlx::query_scalar("SELECT email FROM pedido ORDER BY id").fetch_all(&mut self.erp).await.unwrap()
    }

    /// A new state beside systems that are in step.
    fn forget(&self) {
        std::fs::remove_dir_all(self.folder.path().join("state")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_the_same_number_is_the_shops_only_where_its_buyer_may_be() {
    let mut sales = Sales::of(FLOWS).await;
    let ana = sales.order("ana@example.test", json!({ "status": "processing", "payment_method": "redsys" })).await;
    let eva = sales.order("eva@example.test", json!({ "status": "processing", "payment_method": "redsys" })).await;
    sales.typed(ana, Some("zoe@example.test")).await;
    sales.typed(eva, None).await;
    sales.run(&[]);
    let parked = sales.say(&["jobs", "list"]);
    assert!(parked.contains(&format!("review:order=shop/{ana}")), "of another person: {parked}");
    assert!(!parked.contains(&format!("review:order={eva}")), "nothing speaks against it: {parked}");
    let known = sales.say(&["explain", "order", &eva.to_string()]);
    assert!(known.contains("by key"), "{known}");
    let emails = sales.emails().await;
    assert_eq!(emails, [Some("zoe@example.test".to_owned()), Some("eva@example.test".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_in_step_are_left_alone_by_a_new_state() {
    let mut sales = Sales::of(FLOWS).await;
    for (email, method) in [("ana@example.test", "redsys"), ("Eva@example.test", "cod"), ("", "bacs")] {
        sales.order(email, json!({ "status": "processing", "payment_method": method })).await;
    }
    let erased = json!({ "status": "processing", "payment_method": "redsys" });
    let erased = sales.order("old@example.test", erased).await;
    sales.run(&[]);
    assert_eq!(sales.emails().await.len(), 4);
    let gone = json!({ "billing": { "first_name": "", "last_name": "", "email": "deleted@site.invalid" },
        "meta_data": [{ "key": "_anonymized", "value": "yes" }] });
    sales.shop.done("PUT", &format!("/orders/{erased}"), gone).await;
    sales.forget();
    let output = sales.run(&[]);
    assert!(output.starts_with("Delivered: 0 written") && output.contains("0 parked, 0 dead"), "{output}");
    // The office has put an address right: it stays, and is nothing to tell anybody.
    sqlx::query("UPDATE pedido SET email = 'ana.ruiz@example.test' WHERE id = 1")
        .execute(&mut sales.erp)
        .await
        .unwrap();
    sales.run(&["--resync", "account"]);
    assert!(sales.say(&["jobs", "list"]).contains("No such jobs"), "{}", sales.say(&["jobs", "list"]));
    assert_eq!(sales.emails().await[0].as_deref(), Some("ana.ruiz@example.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_that_customers_were_sent_are_recognised_by_a_new_state() {
    let flows = FLOWS.replace("entities = [\"order\"]", "entities = [\"order\", \"shipment\", \"invoice\"]");
    let mut sales = Sales::of(&flows).await;
    let id = sales.order("ana@example.test", json!({ "status": "processing", "payment_method": "redsys" })).await;
    sales.run(&[]);
    for sent in [
        "UPDATE pedido SET estado = 'ENVIADO'",
        "INSERT INTO albaran (pedido_id, numero, agencia, seguimiento) SELECT id, 'A-1', 'Correveidile', 'C1' FROM pedido",
        "INSERT INTO factura (pedido_id, numero, iva, total, moneda, documento) \
            SELECT id, 'F-1', '2.10', '12.10', 'EUR', 'https://erp.example/F-1.pdf' FROM pedido",
    ] {
        sales.erp.execute(sent).await.unwrap();
    }
    sales.run(&[]);
    let shown = sales.shop.done("GET", &format!("/orders/{id}"), Value::Null).await;
    let papers: Vec<&str> =
        shown["meta_data"].as_array().unwrap().iter().filter_map(|meta| meta["key"].as_str()).collect();
    assert!(papers.contains(&"_shipment_A-1") && papers.contains(&"_invoice_F-1"), "{papers:?}");
    sales.forget();
    let output = sales.run(&[]);
    assert!(output.starts_with("Delivered: 0 written") && output.contains("0 parked, 0 dead"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shop_dates_by_itself_is_no_payment() {
    let mut sales = Sales::of(FLOWS).await;
    let mut ids = Vec::new();
    for (status, method) in
        [("on-hold", "cod"), ("processing", "cod"), ("on-hold", "bacs"), ("on-hold", "cheque"), ("on-hold", "bacs")]
    {
        ids.push(sales.order("ana@example.test", json!({ "status": status, "payment_method": method })).await);
    }
    let gateway = json!({ "status": "processing", "payment_method": "bacs", "transaction_id": "T-1" });
    ids.push(sales.order("ana@example.test", gateway).await);
    ids.push(sales.order("ana@example.test", json!({ "status": "completed", "payment_method": "redsys" })).await);
    sales.run(&[]);
    let paid = |all: Vec<(String, Option<bool>)>| all.into_iter().map(|(_, paid)| paid).collect::<Vec<_>>();
    let (no, yes) = (Some(false), Some(true));
    assert_eq!(paid(sales.paid().await), [None, None, no, no, no, yes, yes], "before anything was sent");

    // The ERP sends all of them; what we write to the shop for that dates payments there.
    sqlx::query("UPDATE pedido SET estado = 'ENVIADO' WHERE id <= 4").execute(&mut sales.erp).await.unwrap();
    // A transfer that somebody in the shop saw at the bank is a payment.
    sales.shop.done("PUT", &format!("/orders/{}", ids[4]), json!({ "status": "processing" })).await;
    sales.shop.advance(60);
    sales.run(&[]);
    for id in &ids[..4] {
        let shown = sales.shop.done("GET", &format!("/orders/{id}"), Value::Null).await;
        assert_eq!((&shown["status"], shown["date_paid"].is_null()), (&json!("completed"), false), "{id}");
    }
    sales.shop.advance(60);
    sales.run(&[]);
    assert_eq!(paid(sales.paid().await), [None, None, no, no, yes, yes, yes]);
    assert!(sales.say(&["jobs", "list"]).contains("No such jobs"), "nothing is held back");
    sales.forget();
    let output = sales.run(&[]);
    assert!(output.starts_with("Delivered: 0 written"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_paid_back_before_the_erp_heard_of_it_is_no_work_there() {
    let mut sales = Sales::of(FLOWS).await;
    let paid = json!({ "status": "processing", "payment_method": "redsys" });
    let before = sales.order("ana@example.test", paid.clone()).await;
    sales.shop.done("PUT", &format!("/orders/{before}"), json!({ "status": "refunded" })).await;
    let known = sales.order("eva@example.test", paid).await;
    sales.run(&[]);
    // If an order is there already, the office says whether its goods stay.
    sales.shop.done("PUT", &format!("/orders/{known}"), json!({ "status": "refunded" })).await;
    sales.shop.advance(60);
    sales.run(&[]);
    let states: Vec<String> =
        sqlx::query_scalar("SELECT estado FROM pedido ORDER BY id").fetch_all(&mut sales.erp).await.unwrap();
    assert_eq!(states, ["ANULADO", "PENDIENTE"]);
    let output = sales.say(&["differences"]);
    assert!(output.contains("status") && output.contains("refunded"), "{output}");
    for id in [before, known] {
        let shown = sales.shop.done("GET", &format!("/orders/{id}"), Value::Null).await;
        assert_eq!(shown["status"], "refunded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_with_a_tax_class_that_nobody_mapped_goes_and_is_doubted() {
    let mut sales = Sales::of(FLOWS).await;
    sales.shop.done("POST", "/taxes/classes", json!({ "name": "Luxury" })).await;
    let product = sales.shop.done("GET", "/products?sku=H", Value::Null).await[0]["id"].clone();
    sales.shop.done("PUT", &format!("/products/{product}"), json!({ "tax_class": "luxury" })).await;
    let paid = json!({ "status": "processing", "payment_method": "redsys" });
    let id = sales.order("ana@example.test", paid).await.to_string();
    sales.run(&[]);
    assert_eq!(sales.paid().await, [(id.clone(), Some(true))]);
    let output = sales.say(&["explain", "order", &id]);
    assert!(output.contains("lines[0].tax: `luxury` is in no line of lookup `tax`"), "{output}");
    assert!(sales.say(&["jobs", "list"]).contains("No such jobs"));
    // Named in the configuration it is a class like any other.
    let mut config = std::fs::read_to_string(sales.folder.path().join("vaiven.toml")).unwrap();
    config.push_str("\n[systems.shop.lookups.tax]\nluxury-goods = \"luxury\"\n");
    std::fs::write(sales.folder.path().join("vaiven.toml"), config).unwrap();
    sales.forget();
    sales.run(&[]);
    let output = sales.say(&["explain", "order", &id]);
    assert!(!output.contains("is in no line of lookup"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_the_shops_trash_stays_there_whatever_the_erp_says_of_it() {
    let mut sales = Sales::of(FLOWS).await;
    let paid = json!({ "status": "processing", "payment_method": "redsys" });
    let id = sales.order("ana@example.test", paid.clone()).await;
    sales.order("eva@example.test", paid).await;
    let path = format!("/orders/{id}");
    sales.run(&[]);
    sales.shop.done("DELETE", &path, Value::Null).await;
    sales.run(&[]);
    sales.erp.execute("UPDATE pedido SET estado = 'ENVIADO'").await.unwrap();
    for _ in 0..2 {
        sales.run(&[]);
        assert_eq!(sales.shop.done("GET", &path, Value::Null).await["status"], "trash");
    }
    let waits = sales.say(&["jobs", "list"]);
    assert!(waits.contains("the order is in the trash") && waits.contains("its next full pull tells"), "{waits}");
    sales.run(&["--resync", "sales"]);
    assert_eq!(sales.shop.done("GET", &path, Value::Null).await["status"], "trash");
    assert!(sales.say(&["jobs", "list"]).contains("No such jobs"), "{}", sales.say(&["jobs", "list"]));
    // Somebody takes it out again.
    sales.shop.done("PUT", &path, json!({ "status": "processing" })).await;
    sales.shop.advance(60);
    sales.run(&[]);
    assert_eq!(sales.shop.done("GET", &path, Value::Null).await["status"], "completed", "it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_listed_where_nothing_else_is_said() {
    let sales = Sales::of(FLOWS).await;
    sales.run(&[]);
    let output = sales.say(&["differences"]);
    assert!(output.starts_with("exit 0") && output.contains("No differences"), "{output}");
    assert_eq!(output, sales.say(&["differences", "list"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_currency_that_the_shop_does_not_have_is_reported_by_check() {
    let sales = Sales::of(FLOWS).await;
    let output = sales.say(&["check"]);
    assert!(output.starts_with("exit 0") && !output.contains("no currency"), "{output}");
    let file = sales.folder.path().join("vaiven.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let other = config.replace("adapter = \"woocommerce\"", "adapter = \"woocommerce\"\ncurrency = \"USD\"");
    std::fs::write(&file, other).unwrap();
    let output = sales.say(&["check"]);
    let expected = "shop has no currency `USD`, which setting currency says; it has EUR";
    assert!(output.contains(expected), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_below_a_sale_made_in_the_shop_waits_for_it() {
    let sales = Sales::of(PRICES).await;
    for (path, text) in LIST {
        let path = sales.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let shop = &sales.shop;
    let shirt = json!({ "name": "Shirt", "sku": "S", "type": "variable", "attributes":
        [{ "name": "Size", "options": ["M", "L"], "variation": true, "visible": true }] });
    let shirt = shop.done("POST", "/products", shirt).await["id"].clone();
    let option = json!([{ "name": "Size", "option": "M" }]);
    let large = json!({ "sku": "S-M", "regular_price": "10", "attributes": option });
    let variation = shop.done("POST", &format!("/products/{shirt}/variations"), large).await["id"].clone();
    let hammer = shop.done("GET", "/products?sku=H", Value::Null).await[0]["id"].clone();
    let (one, other) = (format!("/products/{hammer}"), format!("/products/{shirt}/variations/{variation}"));

    let mut list = at(sales.folder.path(), "list.db").await;
    list.execute("CREATE TABLE price (sku TEXT PRIMARY KEY, amount TEXT NOT NULL); INSERT INTO price VALUES ('H', '10'), ('S-M', '10')")
        .await
        .unwrap();
    sales.run(&[]);
    for path in [&one, &other] {
        shop.done("PUT", path, json!({ "sale_price": "8" })).await;
    }
    list.execute("UPDATE price SET amount = '7'").await.unwrap();
    sales.run(&[]);
    let jobs = sales.say(&["jobs", "list"]);
    assert_eq!(jobs.matches("a sale at 8, made in the shop, stands above it").count(), 2, "{jobs}");
    for path in [&one, &other] {
        assert_eq!(shop.done("GET", path, Value::Null).await["regular_price"], "10");
        shop.done("PUT", path, json!({ "sale_price": "" })).await;
    }
    shop.advance(1);
    sales.run(&["--resync", "prices/price/retail/H"]);
    sales.run(&["--resync", "prices/price/retail/S-M"]);
    for path in [&one, &other] {
        assert_eq!(
            shop.done("GET", path, Value::Null).await["regular_price"],
            "7",
            "{path}: {}",
            sales.say(&["jobs", "list"])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_have_their_first_and_last_names_in_the_shop_and_what_changes_alone_arrives() {
    let people = "\n[flows.people]\nentities = [\"customer\"]\nfrom = \"erp\"\nto = [\"shop\"]\n";
    let mut sales = Sales::of(people).await;
    let insert = "INSERT INTO cliente (id, codigo, tipo, nombre, apellidos, razon_social, email) VALUES \
        (1, 'C-1', 'F', 'Ana', 'Gil', NULL, 'ana@example.test'), (2, 'C-2', 'F', 'Bea', NULL, NULL, 'bea@example.test'), \
        (3, 'C-3', 'F', NULL, 'Ruiz', NULL, 'ruiz@example.test'), (4, 'C-4', 'J', NULL, NULL, 'Uno SL', 'uno@example.test')";
    sales.erp.execute(insert).await.unwrap();
    sales.run(&[]);
    let named = |accounts: Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut names: Vec<String> = accounts
            .as_array()
            .unwrap()
            .iter()
            .map(|one| [&one["first_name"], &one["last_name"], &one["billing"]["company"]].map(text).join("|"))
            .collect();
        names.sort();
        names
    };
    let accounts = sales.shop.done("GET", "/customers", Value::Null).await;
    assert_eq!(named(accounts), ["Ana|Gil|", "Bea||", "|Ruiz|", "||Uno SL"]);

    let renamed = "UPDATE cliente SET nombre = CASE id WHEN 1 THEN 'Eva' ELSE 'Leo' END, \
        modificado = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id IN (1, 3)";
    sales.erp.execute(renamed).await.unwrap();
    sales.run(&[]);
    let accounts = sales.shop.done("GET", "/customers", Value::Null).await;
    assert_eq!(named(accounts), ["Bea||", "Eva|Gil|", "Leo|Ruiz|", "||Uno SL"]);
    let again = sales.run(&["--resync", "people"]);
    assert!(again.starts_with("Delivered: 0 written, 4 already up to date, 0 retried"), "{again}");
}
