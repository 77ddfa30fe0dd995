//! `vaiven check`, `vaiven mapping test` and messages: what is wrong with a configuration shows before it runs.

use std::path::Path;

use tempfile::TempDir;

use super::{shown, vaiven};

const CONFIG: &str = r#"
[systems.list]
adapter = "list"
file = "list.db"

[systems.copy]
adapter = "list"
file = "copy.db"

[flows.catalog]
entities = ["category"]
from = "list"
to = ["copy"]
every = "*/5 * * * *"
full = "0 3 * * *"
"#;

const ADAPTER: &str = r#"
driver = "sql"
summary = "A list"
[settings]
file = { kind = "path" }
[sql]
url = "sqlite://${file}"
[entities.category]
id = "code"
[entities.category.list]
query = "SELECT code, name, shelf, at FROM category WHERE (:cursor IS NULL OR at >= :cursor) ORDER BY code"
cursor = { field = "at", kind = "text" }
[entities.category.find]
query = "SELECT code, name, shelf, at FROM category WHERE code = :key"
where = "row.code == key"
[entities.category.create]
query = "INSERT INTO category (code, name) VALUES (:code, :name) RETURNING code"
[entities.category.update]
query = "UPDATE category SET name = :name WHERE code = :id"
"#;

const MAPPING: &str = r#"
key = "code"
[fields]
code = "code"
name = { from = "name", localized = "es" }
position = { from = "shelf", optional = true }
"#;

/// A folder with two databases of one category each, and these files.
async fn folder(config: &str, adapter: &str, mapping: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("vaiven.toml", config);
    write("adapters/list.toml", adapter);
    write("mappings/list/category.toml", mapping);
    for name in ["list.db", "copy.db"] {
        let url = format!("sqlite://{}?mode=rwc", folder.path().join(name).display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        sqlx::raw_sql(
            "CREATE TABLE category (code TEXT PRIMARY KEY, name TEXT, shelf INTEGER, at TEXT DEFAULT '2026');
             INSERT INTO category (code, name, shelf) VALUES ('TOOLS', 'Herramientas', 3)",
        )
        .execute(&pool)
        .await
        .unwrap();
        pool.close().await;
    }
    folder
}

fn check(folder: &Path, arguments: &[&str]) -> String {
    shown(&vaiven(folder, &[&["check"], arguments].concat(), &[]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_configuration_is_read_prepared_and_tried_without_a_trace() {
    let folder = folder(CONFIG, ADAPTER, MAPPING).await;
    let output = check(folder.path(), &[]);
    assert!(output.starts_with("exit 0") && !output.contains("warning"), "{output}");
    for line in ["first page of category: 1 row", "4 statements of category", "may be written to"] {
        assert!(output.contains(line), "{line}: {output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_the_server_refuses_is_reported_with_its_line() {
    let folder = folder(CONFIG, &ADAPTER.replace("SET name", "SET nombre"), MAPPING).await;
    let output = check(folder.path(), &[]);
    assert!(output.starts_with("exit 1") && output.contains("list.toml:19:") && output.contains("nombre"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_no_row_has_is_reported_with_its_line_in_the_mapping() {
    let folder = folder(CONFIG, ADAPTER, &MAPPING.replace("\"shelf\"", "\"shelv\"")).await;
    let output = check(folder.path(), &[]);
    let expected = "`shelv`, from which field position of list/category is read, is in no row (1 row read)";
    assert!(output.contains("category.toml:6:") && output.contains(expected), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_lets_nothing_through_or_has_no_value_is_reported() {
    let with = |condition: &str| format!("{CONFIG}where = '{condition}'\n");
    let nothing = folder(&with("position == 4"), ADAPTER, MAPPING).await;
    let output = check(nothing.path(), &[]);
    assert!(
        output.starts_with("exit 0") && output.contains("`where` matches no row of list/category (1 row read)"),
        "{output}"
    );
    let wrong = folder(&with("name.es"), ADAPTER, MAPPING).await;
    let output = check(wrong.path(), &[]);
    assert!(output.starts_with("exit 1") && output.contains("`where` of flow catalog"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_never_reads_everything_is_reported() {
    let folder = folder(&CONFIG.replace("full = \"0 3 * * *\"\n", ""), ADAPTER, MAPPING).await;
    for arguments in [&[][..], &["--offline"]] {
        let output = check(folder.path(), arguments);
        assert!(output.contains("flow catalog has no `full`: deletions at list"), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_a_missing_secret_is_a_warning() {
    let config = CONFIG.replace("file = \"list.db\"", "file = { env = \"LIST\" }");
    let folder = folder(&config, ADAPTER, MAPPING).await;
    let output = check(folder.path(), &["--offline"]);
    assert!(
        output.starts_with("exit 0") && output.contains("warning") && output.contains("LIST is not set"),
        "{output}"
    );
    let sealed = format!("{config}\n[store]\nkey = {{ env = \"STATE_KEY\" }}\n");
    std::fs::write(folder.path().join("vaiven.toml"), sealed).unwrap();
    let output = check(folder.path(), &["--offline"]);
    assert!(output.starts_with("exit 0"), "nor is the key of the state needed: {output}");
    std::fs::write(folder.path().join("vaiven.toml"), &config).unwrap();
    let output = check(folder.path(), &[]);
    assert!(output.starts_with("exit 78") && output.contains("LIST is not set"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_do_nothing_is_refused() {
    let adapter =
        format!("{ADAPTER}[changes]\ntables = {{ category = [{{ table = \"nowhere\", key = \"code\" }}] }}\n");
    let folder = folder(CONFIG, &adapter, MAPPING).await;
    let output = check(folder.path(), &["--offline"]);
    assert!(output.starts_with("exit 78") && output.contains("unknown key `changes`"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_without_recorded_rows_has_not_passed() {
    let folder = folder(CONFIG, ADAPTER, MAPPING).await;
    let output = shown(&vaiven(folder.path(), &["mapping", "test", "list"], &[]));
    assert!(output.contains("1 without rows") && output.contains("0 passed, 0 failed"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_data_says_never_reaches_the_terminal_raw_and_nobody_is_refused_in_silence() {
    let folder = folder(CONFIG, ADAPTER, MAPPING).await;
    let pool = |name: &str| sqlx::SqlitePool::connect_lazy(&format!("sqlite://{}", folder.path().join(name).display()));
    let list = pool("list.db").unwrap();
    sqlx::query("INSERT INTO category (code, name) VALUES (?, 'x')")
        .bind("A\u{1b}[2J\u{202e}\nWARN forged")
        .execute(&list)
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TRIGGER no BEFORE INSERT ON category BEGIN SELECT RAISE(ABORT, 'shelf\u{1b}[31m full'); END")
        .execute(&pool("copy.db").unwrap())
        .await
        .unwrap();
    let mut all = shown(&vaiven(folder.path(), &["run", "--once"], &[("VAIVEN_LOG", "info")]));
    let warned = all.lines().filter(|line| line.contains("WARN") && line.contains("refused by copy")).count();
    assert_eq!(warned, 1, "{all}");
    assert!(all.contains("category at list: 2 changed"), "{all}");
    for arguments in [&["jobs", "list"][..], &["status"], &["jobs", "list", "--json"]] {
        all.push_str(&shown(&vaiven(folder.path(), arguments, &[])));
    }
    assert!(!all.contains(['\u{1b}', '\u{202e}']), "{all:?}");
    assert!(!all.lines().any(|line| line.starts_with("WARN forged")), "{all}");
    assert!(all.contains("\\u{1b}[31m full"), "{all}");
}
