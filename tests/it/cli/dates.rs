//! Change dates that cannot be used, from the source's table to what `status` says of them.

use std::path::Path;

use sqlx::{Connection as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{shown, vaiven};

const CONFIG: &str = r#"
[systems.erp]
adapter = "erp"
file = "erp.db"

[systems.copy]
adapter = "copy"
folder = "out"

[flows.catalog]
entities = ["product"]
from = "erp"
to = ["copy"]
"#;

const ERP: &str = r#"
driver = "sql"
summary = "An ERP's database"
[settings]
file = { kind = "path" }
[sql]
url = "sqlite://${file}"
[entities.product]
id = "id"
[entities.product.list]
query = "SELECT * FROM p WHERE (:cursor IS NULL OR changed >= :cursor) AND id > :after ORDER BY id LIMIT :limit"
pages = { by = "keyset", size = 10 }
cursor = { field = "changed", format = "%Y-%m-%d %H:%M:%S", zone = "Europe/Madrid", overlap = "2m" }
"#;

const COPY: &str = r#"
driver = "files"
summary = "A folder"
[settings]
folder = { kind = "path" }
[files]
folder = "${folder}"
[entities.product]
id = "sku"
[entities.product.create]
file = "${key}.json"
format = "json"
body = "${body}"
[entities.product.update]
file = "${key}.json"
format = "json"
body = "${body}"
"#;

const MAPPING: &str = "key = \"sku\"\n[fields]\nsku = \"sku\"\nname = { from = \"name\", localized = \"es\" }\n";

/// A folder with an ERP's database, which `rows` fill, and what copies it into files.
pub(super) async fn place(rows: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for (file, text) in [
        ("vaiven.toml", CONFIG),
        ("adapters/erp.toml", ERP),
        ("adapters/copy.toml", COPY),
        ("mappings/erp/product.toml", MAPPING),
        ("mappings/copy/product.toml", MAPPING),
    ] {
        std::fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
    }
    std::fs::create_dir(folder.join("out")).unwrap();
    let table = "CREATE TABLE p (id INTEGER PRIMARY KEY, sku TEXT, name TEXT, changed TEXT)";
    change(folder, &format!("{table}; INSERT INTO p VALUES {rows}")).await;
    home
}

pub(super) async fn change(folder: &Path, sql: &str) {
    let file = SqliteConnectOptions::new().filename(folder.join("erp.db")).create_if_missing(true);
    SqliteConnection::connect_with(&file).await.unwrap().execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
}

#[tokio::test]
async fn a_date_from_the_future_hides_no_later_change_and_is_reported_until_it_is_corrected() {
    let rows =
        "(1, 'A', 'a', '2026-03-01 10:00:00'), (2, 'F', 'f', '9031-01-01 00:00:00'), (3, 'Z', 'z', '0000-00-00')";
    let home = place(rows).await;
    let folder = home.path();
    let run = || shown(&vaiven(folder, &["run", "--once"], &[]));
    let first = run();
    assert!(first.contains("lies in the future") && first.contains("product F of erp"), "{first}");
    let status = shown(&vaiven(folder, &["status"], &[]));
    assert!(
        status.starts_with("exit 3")
            && status.contains("Change dates or files that cannot be used:")
            && status.contains("9030-12-31"),
        "{status}"
    );

    change(folder, "UPDATE p SET name = 'changed', changed = '2026-03-02 10:00:00' WHERE id = 1").await;
    assert!(!run().contains("lies in the future"), "it is told once");
    let delivered = std::fs::read_to_string(folder.join("out/A.json")).unwrap();
    assert!(delivered.contains("changed"), "{delivered}");
    assert!(folder.join("out/F.json").exists() && folder.join("out/Z.json").exists());

    change(folder, "UPDATE p SET changed = '2026-03-03 10:00:00' WHERE id = 2").await;
    run();
    let status = shown(&vaiven(folder, &["status"], &[]));
    assert!(status.starts_with("exit 0") && !status.contains("Change dates"), "{status}");
}

#[tokio::test]
async fn a_file_dated_in_the_future_is_reported_until_it_is_corrected() {
    const DROP: &str = r#"
driver = "files"
summary = "What an ERP drops"
[settings]
folder = { kind = "path" }
[files]
folder = "${folder}"
[entities.product]
id = "sku"
[entities.product.list]
files = "p*.csv"
format = "csv"
settled = "0s"
"#;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for (file, text) in [
        ("vaiven.toml", CONFIG.replace("file = \"erp.db\"", "folder = \"in\"").as_str()),
        ("adapters/erp.toml", DROP),
        ("adapters/copy.toml", COPY),
        ("mappings/erp/product.toml", MAPPING),
        ("mappings/copy/product.toml", MAPPING),
        ("out/.keep", ""),
        ("in/p1.csv", "sku,name\nA,old\n"),
        ("in/p2.csv", "sku,name\nA,new\n"),
    ] {
        std::fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
    }
    let dated = |year: u64| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_hours((year - 1970) * 8766);
        std::fs::File::options().write(true).open(folder.join("in/p1.csv")).unwrap().set_modified(time).unwrap();
    };
    dated(2999);
    let run = || shown(&vaiven(folder, &["run", "--once"], &[]));
    let first = run();
    assert!(first.contains("lies in the future") && first.contains("p1.csv"), "{first}");
    let delivered = || std::fs::read_to_string(folder.join("out/A.json")).unwrap();
    assert!(delivered().contains("new"), "{}", delivered());
    assert!(!run().contains("lies in the future"), "it is told once");
    let status = shown(&vaiven(folder, &["status"], &[]));
    assert!(status.starts_with("exit 3") && status.contains("p1.csv"), "{status}");

    dated(2020);
    run();
    let status = shown(&vaiven(folder, &["status"], &[]));
    assert!(status.starts_with("exit 0") && !status.contains("Change dates"), "{status}");
}
