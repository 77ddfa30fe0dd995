//! Driver `sql` on SQLite.

use std::sync::Arc;

use serde_json::json;
use sqlx::{Executor as _, SqlitePool, sqlite::SqliteConnectOptions};
use vaiven::{
    failure::Class,
    port::{Op, System},
};

use super::{Hasty, NoProgress, open, open_at, page, pull, sql, write};

struct Erp {
    folder: tempfile::TempDir,
    pool: SqlitePool,
}

async fn erp() -> Erp {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(folder.path().join("erp.db")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    pool.execute(
        "CREATE TABLE product (id INTEGER PRIMARY KEY, sku TEXT NOT NULL UNIQUE, name TEXT NOT NULL, price TEXT NOT NULL,
         weight REAL, active BOOLEAN NOT NULL, note TEXT, shop TEXT NOT NULL, updated_at TEXT NOT NULL);
         CREATE TABLE variant (product_id INTEGER NOT NULL REFERENCES product (id) ON DELETE CASCADE,
         sku TEXT NOT NULL UNIQUE, stock NUMERIC NOT NULL)",
    )
    .await
    .unwrap();
    for rows in sql::ROWS {
        pool.execute(rows).await.unwrap();
    }
    Erp { folder, pool }
}

fn adapter() -> String {
    sql::ADAPTER.replace("CURSOR", r#"{ field = "updated_at", format = "%Y-%m-%d %H:%M:%S", zone = "UTC" }"#)
}

impl Erp {
    fn system(&self, adapter: &str) -> Arc<dyn System> {
        open(adapter, &[("url", "sqlite://erp.db")], self.folder.path()).unwrap()
    }
}

#[tokio::test]
async fn sqlite_conforms() {
    let erp = erp().await;
    sql::conforms(erp.system(&adapter()).as_ref(), "2026-03-01T12:00:00Z").await;
}

#[tokio::test]
async fn the_watermark_of_a_listing_that_took_its_time_is_not_past_its_beginning() {
    let erp = erp().await;
    let settings = [("url", "sqlite://erp.db")];
    let hasty = |toml: &str| open_at(Arc::new(Hasty::default()), toml, &settings, erp.folder.path()).unwrap();
    let pages = pull(hasty(&adapter()).as_ref(), "product", None, 10).await.unwrap();
    assert_eq!(pages.cursor.as_deref(), Some("2026-03-01T11:57:00Z"), "three minutes for three pages");
    let page = pull(hasty(&adapter().replace("size = 2", "size = 9")).as_ref(), "product", None, 10).await.unwrap();
    assert_eq!(page.cursor.as_deref(), Some("2026-03-01T12:00:00Z"), "a single page is of one moment");
}

#[tokio::test]
async fn a_database_file_is_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let system = open(&adapter(), &[("url", "sqlite://mistyped.db")], folder.path()).unwrap();
    let failure = pull(system.as_ref(), "product", None, 10).await.unwrap_err();
    assert!(failure.message.contains("unable to open"), "{failure}");
    assert!(system.check().await[0].problem.is_some());
    assert!(!folder.path().join("mistyped.db").exists());
}

#[tokio::test]
async fn a_locked_database_is_transient() {
    let erp = erp().await;
    let impatient = erp.system(&adapter().replace("[sql]", "[sql]\npatience = \"50ms\""));
    let mut other = erp.pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let body = json!({ "name": "n", "price": 1 });
    let outcome =
        impatient.write("product", vec![write(1, Op::Update, "A", Some("1"), body.clone())], &NoProgress).await;
    assert_eq!(outcome[0].result.as_ref().unwrap_err().class, Class::Transient);
    other.execute("ROLLBACK").await.unwrap();
    drop(other);
    let patient = erp.system(&adapter());
    let outcome = patient.write("product", vec![write(1, Op::Update, "A", Some("1"), body)], &NoProgress).await;
    assert!(outcome[0].result.is_ok());
}

#[tokio::test]
async fn a_listing_that_lost_rows_is_never_a_success() {
    let erp = erp().await;
    let system = erp.system(&adapter());
    let first = page(system.as_ref(), "product", None, None, 10).await.unwrap();
    erp.pool.execute("DELETE FROM product WHERE id > 2").await.unwrap();
    let failure = page(system.as_ref(), "product", None, first.next.as_ref(), 10).await.unwrap_err();
    assert!(failure.class == Class::Transient && failure.message.contains("4 rows were counted"), "{failure}");
}

#[tokio::test]
async fn what_is_wrong_in_the_file_is_told_with_its_place() {
    for (from, to, told) in [
        ("id > :after AND", "id > :aftr AND", "unknown parameter `aftr`, did you mean `after`"),
        ("id > :after AND", "", "needs :after"),
        ("on = \"product_id\"", "onn = \"product_id\"", "unknown key `onn`"),
        ("WHERE id IN (:ids)", "WHERE id IN (:ids); DELETE FROM product", "more than one command"),
        ("format = \"%Y-%m-%d %H:%M:%S\", zone = \"UTC\"", "overlap = \"0s\"", "SQLite has no type for times"),
        ("bind = { at =", "bind = { att =", "`bind` gives :att"),
    ] {
        assert!(adapter().contains(from), "{from}");
        let error = open(&adapter().replacen(from, to, 1), &[("url", "sqlite://erp.db")], ".".as_ref()).err().unwrap();
        let error = error.to_string();
        assert!(error.contains(told) && error.starts_with("erp.toml:"), "{error}");
    }
    let error = open(&adapter(), &[("url", "oracle://erp.db")], ".".as_ref()).err().unwrap().to_string();
    assert!(error.contains("none of sqlite:"), "{error}");
}

#[tokio::test]
async fn a_column_that_stands_twice_is_refused() {
    let erp = erp().await;
    let twice = adapter().replace("SELECT sku, stock FROM variant ORDER", "SELECT sku, stock, sku FROM variant ORDER");
    let failure = pull(erp.system(&twice).as_ref(), "stock", None, 10).await.unwrap_err();
    assert!(failure.message.contains("column sku: stands twice"), "{failure}");
}
