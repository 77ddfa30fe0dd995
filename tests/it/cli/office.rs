//! An ERP and a shop that are tables, with everything in them that can go wrong.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;

use super::{people::at, shown, vaiven};

pub(super) const SYSTEMS: &str = r#"
[systems.erp]
adapter = "office"
file = "erp.db"

[systems.shop]
adapter = "till"
file = "shop.db"
limits = { settle = "0s" }
"#;

/// Both are databases of the same tables.
const ADAPTER: &str = r#"
driver = "sql"
summary = "A database"
[settings]
file = { kind = "path" }
[sql]
url = "sqlite://${file}"

[entities.category]
id = "id"
[entities.category.list]
query = "SELECT * FROM category WHERE id > :after ORDER BY id LIMIT :limit"
pages = { by = "keyset", key = "id", size = 500 }
[entities.category.read]
query = "SELECT * FROM category WHERE id IN (:ids)"
max = 500
[entities.category.find]
query = "SELECT * FROM category WHERE code = :key"
where = "row.code == key"
[entities.category.create]
id = "category"
[[entities.category.create.steps]]
name = "category"
query = "INSERT INTO category (code, name, parent) VALUES (:code, :name, :parent) RETURNING id"
bind = { parent = '${body.get("parent")}' }
capture = { category = "rows[0].id" }

[entities.product]
id = "id"
[entities.product.list]
query = "SELECT * FROM product WHERE id > :after ORDER BY id LIMIT :limit"
pages = { by = "keyset", key = "id", size = 500 }
[entities.product.read]
query = "SELECT * FROM product WHERE id IN (:ids)"
max = 500
[entities.product.find]
query = "SELECT * FROM product WHERE sku = :key"
where = "row.sku == key"
[entities.product.create]
id = "product"
[[entities.product.create.steps]]
name = "product"
query = "INSERT INTO product (sku, name, tax) VALUES (:sku, :name, :tax) RETURNING id"
capture = { product = "rows[0].id" }
[entities.product.update]
[[entities.product.update.steps]]
name = "product"
query = "UPDATE product SET name = :name WHERE id = :id"
bind = { name = "${whole.name}" }

[entities.price]
id = "id"
[entities.price.list]
query = "SELECT * FROM price WHERE id > :after ORDER BY id LIMIT :limit"
pages = { by = "keyset", key = "id", size = 500 }
[entities.price.read]
query = "SELECT * FROM price WHERE id IN (:ids)"
max = 500
[entities.price.find]
query = "SELECT * FROM price WHERE list || '/' || sku = :key"
where = "row.list + '/' + row.sku == key"
[entities.price.create]
id = "price"
[[entities.price.create.steps]]
name = "price"
query = "INSERT INTO price (list, sku, amount) VALUES (:list, :sku, :amount) RETURNING id"
capture = { price = "rows[0].id" }
[entities.price.update]
[[entities.price.update.steps]]
name = "price"
query = "UPDATE price SET amount = :amount WHERE id = :id"
bind = { amount = "${whole.amount}" }
"#;

const CATEGORY: &str = r#"
key = "code"
[fields]
code = "code"
name = { from = "name", localized = "es" }
parent = { from = "parent", ref = "category" }
"#;

const PRODUCT: &str = r#"
key = "sku"
[fields]
sku = "sku"
name = { from = "name", localized = "es" }
tax = { from = "tax", lookup = "tax" }
[lookups.tax]
general = "IVA21"
"#;

const PRICE: &str = r#"
key = "row.list + '/' + row.sku"
[fields]
code = { pull = "row.list + '/' + row.sku" }
list = "list"
sku = "sku"
amount = "amount"
currency = { value = "EUR" }
tax_included = { value = true }
"#;

const TABLES: &str = "CREATE TABLE category (id INTEGER PRIMARY KEY, code TEXT, name TEXT, parent INTEGER); \
    CREATE TABLE product (id INTEGER PRIMARY KEY, sku TEXT, name TEXT, tax TEXT); \
    CREATE TABLE price (id INTEGER PRIMARY KEY, list TEXT, sku TEXT, amount TEXT)";

pub(super) struct Office(pub(super) TempDir);

impl Office {
    /// A folder with these flows, and what the two have.
    pub(super) async fn new(flows: &str, erp: &str, shop: &str) -> Self {
        let office = Self(tempfile::tempdir().unwrap());
        let config = format!("{SYSTEMS}{flows}");
        office.write("vaiven.toml", &config);
        for adapter in ["office", "till"] {
            office.write(&format!("adapters/{adapter}.toml"), ADAPTER);
            for (entity, mapping) in [("category", CATEGORY), ("price", PRICE)] {
                office.write(&format!("mappings/{adapter}/{entity}.toml"), mapping);
            }
        }
        // The ERP knows a tax that the shop has no name for.
        office.write("mappings/office/product.toml", &format!("{PRODUCT}igic-7 = \"IGIC7\"\n"));
        office.write("mappings/till/product.toml", PRODUCT);
        for (file, more) in [("erp.db", erp), ("shop.db", shop)] {
            office.sql(file, TABLES).await;
            office.sql(file, more).await;
        }
        office
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) async fn sql(&self, file: &str, sql: &str) {
        let mut connection = at(self.path(), file).await;
        connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    }

    pub(super) fn run(&self, arguments: &[&str]) -> String {
        shown(&vaiven(self.path(), arguments, &[]))
    }

    pub(super) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = vaiven(self.path(), &[arguments, &["--json"]].concat(), &[]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(&output)))
    }
}
