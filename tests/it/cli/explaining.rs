//! `vaiven explain`: one record as every system has it.

use sqlx::{Connection as _, Executor as _};

use super::{
    people::{self, CONFIG},
    shown, vaiven,
};

const MAPPING: &str = r#"
key = "code"
[fields]
code = "code"
kind = "kind"
name = "name"
group = "grp"
vat = "vat"
"#;

struct Place(tempfile::TempDir);

impl Place {
    /// An ERP and a shop that have the same company under other codes.
    async fn new() -> Self {
        let config = format!("{CONFIG}match = {{ customer = [\"vat\"] }}\n");
        let shops = "INSERT INTO customer (id, code, kind, name, grp, vat) VALUES (70, 'web-70', 'company', 'Uno', 'z', 'ES-B12345674')";
        let place = Self(people::place(&config, MAPPING, shops).await);
        place.drop_file(1, "a");
        place.run(&["run", "--once"]);
        place
    }

    fn drop_file(&self, number: u32, group: &str) {
        let rows = format!("code,kind,name,grp,vat\nC-1,company,Uno SL,{group},B12345674\n");
        people::drop_file(self.0.path(), number, &rows);
    }

    fn run(&self, arguments: &[&str]) -> String {
        shown(&vaiven(self.0.path(), arguments, &[]))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_found_by_its_key_its_id_at_a_system_and_its_tax_number() {
    let place = Place::new().await;
    let json = |key: &str| -> serde_json::Value {
        let output = vaiven(place.0.path(), &["explain", "customer", key, "--json"], &[]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{key}: {error}: {output:?}"))
    };
    let by_key = json("C-1");
    assert_eq!(by_key["systems"].as_array().unwrap().len(), 2, "{by_key}");
    for key in ["70", "B12345674", "es b-12345674"] {
        assert_eq!(json(key)["record"], by_key["record"], "{key}");
        assert_eq!(json(key)["key"], "web-70", "told by the key it got first");
    }
    let nobody = place.run(&["explain", "customer", "B99999999"]);
    assert!(nobody.starts_with("exit 1") && nobody.contains("nor one that has it as its id"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn systems_are_shown_side_by_side_with_owners_and_without_personal_data() {
    let place = Place::new().await;
    let output = place.run(&["explain", "customer", "C-1"]);
    assert!(output.contains("(owner)") && output.contains("(personal)") && !output.contains("Uno SL"), "{output}");
    let line = output.lines().find(|line| line.starts_with("group")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["group", "a", "a", "erp"], "{output}");
    assert!(place.run(&["explain", "customer", "C-1", "--personal"]).contains("Uno SL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_field_is_shown_with_its_whole_history() {
    let place = Place::new().await;
    for (number, group) in [(2, "b"), (3, "c")] {
        place.drop_file(number, group);
        place.run(&["run", "--once"]);
    }
    let mut shop = people::shop(place.0.path()).await;
    shop.execute("UPDATE customer SET grp = 'mine'").await.unwrap();
    shop.close().await.unwrap();
    place.run(&["run", "--once"]);
    let output = place.run(&["explain", "customer", "C-1", "group"]);
    for step in ["group: - -> a", "group: a -> b", "group: b -> c"] {
        assert!(output.contains(step), "{step}: {output}");
    }
    assert!(!output.contains("kind") && !output.contains("(personal)"), "{output}");
    let wrong = place.run(&["explain", "customer", "C-1", "grup"]);
    assert!(wrong.contains("did you mean `group`"), "{wrong}");
}

const ORDERS: &str = r#"
[systems.shop]
adapter = "web"
folder = "drop"

[systems.erp]
adapter = "ledger"
file = "erp.db"

[flows.sales]
entities = ["order"]
from = "shop"
to = ["erp"]
"#;

const WEB: &str = r#"
driver = "files"
summary = "What a shop drops"
[settings]
folder = { kind = "path" }
[files]
folder = "${folder}"
[entities.order]
id = "id"
[entities.order.list]
files = "orders*.json"
format = "json"
settled = "0s"
"#;

const LEDGER: &str = r#"
driver = "sql"
summary = "An ERP's database"
[settings]
file = { kind = "path" }
[sql]
url = "sqlite://${file}"
[entities.order]
id = "id"
[entities.order.list]
query = "SELECT id, number, status, total FROM sale WHERE id > :after ORDER BY id LIMIT :limit"
pages = { by = "keyset", key = "id", size = 500 }
[entities.order.find]
query = "SELECT id, number, status, total FROM sale WHERE number = :key"
where = "row.number == key"
[entities.order.create]
id = "sale"
[[entities.order.create.steps]]
name = "sale"
query = "INSERT INTO sale (number, status, total) VALUES (:number, :status, :total) RETURNING id"
capture = { sale = "rows[0].id" }
"#;

const WEB_ORDER: &str = r##"
key = "number"
[fields]
number = "number"
status = { value = "paid" }
placed_at = "placed_at"
currency = { value = "EUR" }
tax_included = { value = true }
email = "email"
totals = { pull = "#{ gross: row.total }" }
[fields.lines]
pull = "row.lines"
[fields.lines.each.fields]
line = "line"
sku = "sku"
quantity = "quantity"
unit_price = "price"
"##;

const LEDGER_ORDER: &str = r#"
key = "number"
[fields]
number = "number"
status = "status"
currency = { value = "EUR" }
tax_included = { value = true }
totals = { push_to = "total", push = "text(value.gross)" }
"#;

/// A shop that drops its orders in files, and an ERP without any.
pub(super) async fn books() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("vaiven.toml", ORDERS),
        ("adapters/web.toml", WEB),
        ("adapters/ledger.toml", LEDGER),
        ("mappings/web/order.toml", WEB_ORDER),
        ("mappings/ledger/order.toml", LEDGER_ORDER),
    ] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut erp = people::at(folder.path(), "erp.db").await;
    erp.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, number TEXT NOT NULL UNIQUE, status TEXT, total TEXT)")
        .await
        .unwrap();
    folder
}

/// Drops order 1001, which says that it comes to `total`.
pub(super) fn drop_order(folder: &std::path::Path, file: u32, total: &str) {
    std::fs::create_dir_all(folder.join("drop")).unwrap();
    let order = serde_json::json!([{
        "id": 77, "number": "1001", "placed_at": "2026-03-01T10:00:00Z", "email": "ana@example.com", "total": total,
        "lines": [{"line": "1", "sku": "MAR-101", "quantity": 2, "price": "12.50"}],
    }]);
    std::fs::write(folder.join(format!("drop/orders_{file}.json")), order.to_string()).unwrap();
}

/// Promise 7: what an order comes to is proven, and whoever asks for its number is told how.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_shown_by_its_number_with_the_proof_of_its_money_and_what_it_waits_for() {
    let folder = books().await;
    let mut erp = people::at(folder.path(), "erp.db").await;
    let drop = |file: u32, total: &str| drop_order(folder.path(), file, total);
    let run = |arguments: &[&str]| shown(&vaiven(folder.path(), arguments, &[]));
    drop(1, "35.00");
    let ran = run(&["run", "--once"]);
    assert!(ran.starts_with("exit 3") && ran.contains("1 parked"), "{ran}");
    let output = run(&["explain", "order", "1001"]);
    assert!(output.starts_with("exit 3"), "{output}");
    let line = |output: &str, first: &str| {
        output.lines().find(|line| line.starts_with(first)).unwrap_or_else(|| panic!("no {first}: {output}")).to_owned()
    };
    assert!(line(&output, "(money)").contains("NOT proven"), "{output}");
    assert!(output.contains("proof:order=1001") && output.contains("25") && output.contains("35"), "{output}");
    assert!(!output.contains("ana@example.com"), "{output}");

    drop(2, "25.00");
    run(&["run", "--once"]);
    let output = run(&["explain", "order", "1001"]);
    assert!(output.starts_with("exit 0"), "{output}");
    assert!(line(&output, "(money)").contains("proven") && !output.contains("NOT proven"), "{output}");
    assert!(output.contains("totals") && output.contains("done"), "the change and the job that delivered it: {output}");
    let sales: Vec<(String, String)> =
        sqlx::query_as("SELECT number, total FROM sale").fetch_all(&mut erp).await.unwrap();
    assert_eq!(sales, [("1001".to_owned(), "25".to_owned())]);
}
