//! An ERP that drops files of customers, and a shop whose customers are a table.

use std::path::Path;

use sqlx::{Connection as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};

/// The last lines are of the flow: more of it may follow.
pub(super) const CONFIG: &str = r#"
[systems.erp]
adapter = "drop"
folder = "drop"

[systems.shop]
adapter = "book"
file = "shop.db"

[flows.people]
entities = ["customer"]
from = "erp"
to = ["shop"]
"#;

const DROP: &str = r#"
driver = "files"
summary = "What an ERP drops"
[settings]
folder = { kind = "path" }
[files]
folder = "${folder}"
[entities.customer]
id = "code"
[entities.customer.list]
files = "customers*.csv"
format = "csv"
settled = "0s"
complete = true
"#;

const BOOK: &str = r#"
driver = "sql"
summary = "A shop's database"
[settings]
file = { kind = "path" }
[sql]
url = "sqlite://${file}"
[entities.customer]
id = "id"
[entities.customer.list]
query = "SELECT * FROM customer WHERE id > :after ORDER BY id LIMIT :limit"
pages = { by = "keyset", key = "id", size = 500 }
[entities.customer.read]
query = "SELECT * FROM customer WHERE id IN (:ids)"
max = 500
[entities.customer.find]
query = "SELECT * FROM customer WHERE code = :key"
where = "row.code == key"
[entities.customer.create]
id = "customer"
[[entities.customer.create.steps]]
name = "customer"
query = "INSERT INTO customer (code, kind, name, grp, email, vat, phone) VALUES (:code, :kind, :name, :grp, :email, :vat, :phone) RETURNING id"
bind = { grp = '${body.get("grp")}', email = '${body.get("email")}', vat = '${body.get("vat")}', phone = '${body.get("phone")}' }
capture = { customer = "rows[0].id" }
[entities.customer.update]
[[entities.customer.update.steps]]
name = "customer"
query = "UPDATE customer SET name = :name, grp = :grp, email = :email WHERE id = :id"
bind = { name = "${whole.name}", grp = '${whole.get("grp")}', email = '${whole.get("email")}' }
"#;

const TABLE: &str = "CREATE TABLE customer (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, \
    name TEXT NOT NULL, grp TEXT, email TEXT, vat TEXT, phone TEXT)";

pub(super) async fn shop(folder: &Path) -> SqliteConnection {
    at(folder, "shop.db").await
}

pub(super) async fn at(folder: &Path, file: &str) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(folder.join(file)).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// A folder with this configuration, one mapping for both systems, and what the shop has.
pub(super) async fn place(config: &str, mapping: &str, shops: &'static str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("vaiven.toml", config),
        ("adapters/drop.toml", DROP),
        ("adapters/book.toml", BOOK),
        ("mappings/drop/customer.toml", mapping),
        ("mappings/book/customer.toml", mapping),
    ];
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut shop = shop(folder.path()).await;
    shop.execute(TABLE).await.unwrap();
    shop.execute(shops).await.unwrap();
    shop.close().await.unwrap();
    folder
}

/// Drops a file of customers, header first.
pub(super) fn drop_file(folder: &Path, number: u32, text: &str) {
    let file = folder.join(format!("drop/customers_{number}.csv"));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}
