//! Driver `sql` on SQLite.

use std::sync::Arc;

use serde_json::json;
use sqlx::{Executor as _, SqlitePool, sqlite::SqliteConnectOptions};
use vaiven::internals::{
    failure::Class,
    model::flaw,
    port::{Op, System},
};

use super::{Hasty, NoProgress, ids, open, open_at, page, pull, sql, write};

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

/// Row 1 with this change date.
async fn dated(erp: &Erp, at: &str) -> vaiven::internals::port::Page {
    sqlx::query("UPDATE product SET updated_at = ? WHERE id = 1").bind(at).execute(&erp.pool).await.unwrap();
    pull(erp.system(&adapter()).as_ref(), "product", None, 10).await.unwrap()
}

#[tokio::test]
async fn a_date_from_the_future_moves_no_watermark_past_now_and_is_reported() {
    let erp = erp().await;
    let page = dated(&erp, "2041-01-01 00:00:00").await;
    assert_eq!(ids(&page), ["1", "2", "3"], "the row itself is read like any other");
    assert_eq!(page.cursor.as_deref(), Some("2026-03-01T12:00:00Z"));
    let odd = &page.dates[0];
    assert_eq!((page.dates.len(), odd.id.as_deref()), (1, Some("1")));
    assert!(odd.reason.contains("2041-01-01") && odd.reason.contains("erp.toml:"), "{}", odd.reason);
    // A little ahead is another clock, not another day: no word of it, and no step either.
    let page = dated(&erp, "2040-01-01 00:01:00").await;
    assert_eq!((page.cursor.as_deref(), page.dates.len()), (Some("2026-03-01T12:00:00Z"), 0));
    // A watermark that lies there already is given up: everything is read once.
    let system = erp.system(&adapter());
    let page = pull(system.as_ref(), "product", Some("2041-06-01T00:00:00Z"), 10).await.unwrap();
    assert_eq!((ids(&page).len(), page.cursor.as_deref()), (3, Some("2026-03-01T12:00:00Z")));
}

#[tokio::test]
async fn a_date_that_cannot_be_read_hurts_no_other_row() {
    let erp = erp().await;
    for (at, errors) in [("0000-00-00 00:00:00", 0), ("", 0), ("yesterday", 1), ("2026-02-30 10:00:00", 1)] {
        let page = dated(&erp, at).await;
        assert_eq!((ids(&page), page.errors.len()), (vec!["1", "2", "3"], 0), "{at:?}");
        assert_eq!((page.cursor.as_deref(), page.dates.len()), (Some("2026-03-01T12:00:00Z"), errors), "{at:?}");
    }
}

#[tokio::test]
async fn what_is_changed_in_the_hour_that_a_clock_change_repeats_is_listed() {
    let erp = erp().await;
    let local = adapter().replace("zone = \"UTC\"", "zone = \"Europe/Madrid\"");
    let at = async |row: i64, at: &str| {
        let update = sqlx::query("UPDATE product SET updated_at = ? WHERE id = ?").bind(at).bind(row);
        update.execute(&erp.pool).await.unwrap();
    };
    at(3, "2030-10-27 02:50:00").await;
    let system = erp.system(&local);
    let mark = pull(system.as_ref(), "product", None, 10).await.unwrap().cursor.unwrap();
    at(1, "2030-10-27 02:10:00").await;
    let page = pull(system.as_ref(), "product", Some(&mark), 10).await.unwrap();
    assert_eq!(ids(&page), ["1", "3"], "02:10 of winter comes after 02:50 of summer");
    at(2, "2031-03-30 02:30:00").await;
    let page = pull(system.as_ref(), "product", page.cursor.as_deref(), 10).await.unwrap();
    assert!(ids(&page).contains(&"2") && page.dates.is_empty(), "a time that the clock skips is one");
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
async fn a_write_that_the_adapter_refuses_is_reported_with_its_reason_and_changes_nothing() {
    let erp = erp().await;
    let update = "[[entities.product.update.steps]]\n\
        refuse = 'if body.price < before.price { \"no price of \" + key + \" goes down here\" }'\n";
    let strict = adapter().replace("[entities.product.update]\n", update);
    let system = erp.system(&strict);
    let priced = |job: i64, price: u32| {
        let mut update = write(job, Op::Update, "A", Some("1"), json!({ "name": "n", "price": price }));
        update.before = json!({ "price": 2 });
        update
    };
    let outcomes = system.write("product", vec![priced(1, 1), priced(2, 3)], &NoProgress).await;
    let refused = outcomes[0].result.as_ref().unwrap_err();
    assert_eq!((refused.class, refused.message.as_str()), (Class::Rejected, "no price of A goes down here"));
    assert!(outcomes[1].result.is_ok());
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
async fn what_is_wrong_in_the_file_is_reported_with_its_place() {
    for (from, to, message) in [
        ("id > :after AND", "id > :aftr AND", "unknown parameter `aftr`, did you mean `after`"),
        ("id > :after AND", "", "needs :after"),
        ("on = \"product_id\"", "onn = \"product_id\"", "unknown key `onn`"),
        ("WHERE id IN (:ids)", "WHERE id IN (:ids); DELETE FROM product", "more than one command"),
        ("format = \"%Y-%m-%d %H:%M:%S\", zone = \"UTC\"", "overlap = \"0s\"", "SQLite has no type for times"),
        ("bind = { at =", "bind = { att =", "`bind` gives :att"),
        (":settings_shop, :at", ":shop, :at", "write `:settings_shop` for the setting"),
        (":settings_shop, :at", ":settings_shp, :at", "unknown setting `shp`"),
        (
            "shop = { kind",
            "limit = { kind = \"integer\", default = 1 }\nshop = { kind",
            "`:limit` is a parameter of this statement",
        ),
        ("keep = \"bool(active)\"", "keep = \"shop == row.shop\"", "write `settings.shop` for the setting"),
    ] {
        assert!(adapter().contains(from), "{from}");
        let error = open(&adapter().replacen(from, to, 1), &[("url", "sqlite://erp.db")], ".".as_ref()).err().unwrap();
        let error = error.to_string();
        assert!(error.contains(message) && error.starts_with("erp.toml:"), "{error}");
    }
    let error = open(&adapter(), &[("url", "oracle://erp.db")], ".".as_ref()).err().unwrap().to_string();
    assert!(error.contains("none of sqlite:"), "{error}");
}

/// One row of a table of three spoiled by this statement: what is said of it.
async fn spoiled(toml: &str, sql: &'static str) -> (Vec<String>, Vec<Option<String>>) {
    let erp = erp().await;
    erp.pool.execute(sql).await.unwrap();
    let page = pull(erp.system(toml).as_ref(), "product", None, 10).await.unwrap();
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let flaw = |row: &vaiven::internals::port::SourceRow| {
        flaw::first(&row.body.clone().into_value()).map(|flaw| flaw.to_string())
    };
    (page.rows.iter().map(|row| row.id.clone()).collect(), page.rows.iter().map(flaw).collect())
}

#[tokio::test]
async fn a_value_that_cannot_be_read_or_is_too_long_spoils_its_own_row() {
    let small = adapter().replace("[sql]", "[sql]\nmax_row = \"4KiB\"");
    for (toml, sql, message) in [
        (&adapter(), "UPDATE product SET name = CAST(x'61F162' AS TEXT) WHERE id = 2", "not valid UTF-8"),
        (&small, "UPDATE product SET name = hex(zeroblob(5000)) WHERE id = 2", "longer than 4096 bytes (`max_row`)"),
    ] {
        let (ids, flaws) = spoiled(toml, sql).await;
        assert_eq!(ids, ["1", "2", "3"]);
        assert!(flaws[0].is_none() && flaws[2].is_none(), "{flaws:?}");
        let flaw = flaws[1].as_ref().unwrap();
        assert!(flaw.starts_with("`name` cannot be read") && flaw.contains(message), "{flaw}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_says_which_setting_helps() {
    let erp = erp().await;
    let toml = adapter().replace("[sql]", "[sql]\nmax_answer = \"100B\"");
    let failure = pull(erp.system(&toml).as_ref(), "product", None, 10).await.unwrap_err();
    assert!(failure.message.contains("larger than 100 bytes; raise `max_answer`"), "{failure}");
}

#[tokio::test]
async fn a_query_that_goes_in_a_circle_ends_with_an_error() {
    let erp = erp().await;
    let offset = adapter().replace(
        "OFFSET :offset\"\npages = { by = \"offset\" }",
        "OFFSET (:offset % 2)\"\npages = { by = \"offset\", size = 1 }",
    );
    let keyset = adapter().replace("id > :after", "id > (:after % 2)").replace("size = 2", "size = 1");
    for (toml, entity) in [(offset, "stock"), (keyset, "product")] {
        let failure = pull(erp.system(&toml).as_ref(), entity, None, 10).await.unwrap_err();
        assert!(failure.class == Class::Fatal && failure.message.contains("goes in a circle"), "{failure}");
    }
}

/// An expression of the adapter that one row's value does not suit.
#[tokio::test]
async fn a_row_that_an_expression_does_not_suit_is_rejected_and_no_other() {
    let erp = erp().await;
    erp.pool.execute("UPDATE product SET note = 'many' WHERE id = 2").await.unwrap();
    erp.pool.execute("UPDATE product SET note = '1' WHERE id <> 2").await.unwrap();
    let toml = adapter().replace("keep = \"bool(active)\"", "keep = \"decimal(row.note) > 0\"");
    let page = pull(erp.system(&toml).as_ref(), "product", None, 10).await.unwrap();
    assert_eq!(ids(&page), ["1", "3", "4"]);
    assert_eq!((page.errors.len(), page.errors[0].id.as_deref()), (1, Some("2")), "{:?}", page.errors);
    let gone = toml.replace("row.note", "row.nothing");
    let failure = pull(erp.system(&gone).as_ref(), "product", None, 10).await.unwrap_err();
    assert!(failure.class == Class::Fatal && failure.message.contains("`nothing`"), "that is the adapter's: {failure}");
}

#[tokio::test]
async fn a_column_that_stands_twice_is_refused() {
    let erp = erp().await;
    let twice = adapter().replace("SELECT sku, stock FROM variant ORDER", "SELECT sku, stock, sku FROM variant ORDER");
    let failure = pull(erp.system(&twice).as_ref(), "stock", None, 10).await.unwrap_err();
    assert!(failure.message.contains("column sku: stands twice"), "{failure}");
}
