//! Somebody edits a mapping of a running installation.

use sqlx::{Connection as _, Executor as _, Row as _};

use super::{people, shown, vaiven};

const CONFIG: &str = r#"
[systems.erp]
adapter = "ledger"
file = "erp.db"

[systems.shop]
adapter = "book"
file = "shop.db"

[flows.people]
entities = ["customer"]
from = "erp"
to = ["shop"]
"#;

const MAPPING: &str = r#"
key = "code"
[fields]
code = "code"
kind = "kind"
name = "name"
group = "grp"
"#;

/// An ERP and a shop with the same twelve customers, known to each other.
pub(super) async fn place() -> tempfile::TempDir {
    const ROWS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) \
        INSERT INTO customer (id, code, kind, name, grp) SELECT i, printf('C-%02d', i), 'person', 'Ana', 'retail' FROM n";
    let folder = people::place(CONFIG, MAPPING, ROWS).await;
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(path("shop.db"), path("erp.db")).unwrap();
    std::fs::copy(path("adapters/book.toml"), path("adapters/ledger.toml")).unwrap();
    edit(&folder, MAPPING);
    assert!(vaiven(folder.path(), &["run", "--once"], &[]).status.success());
    folder
}

/// The ERP's mapping gets this text.
fn edit(folder: &tempfile::TempDir, text: &str) {
    let file = folder.path().join("mappings/ledger/customer.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

/// In how many groups the shop's customers are.
async fn groups(folder: &tempfile::TempDir) -> Vec<String> {
    let mut shop = people::shop(folder.path()).await;
    let rows = sqlx::query("SELECT DISTINCT grp FROM customer ORDER BY grp").fetch_all(&mut shop).await.unwrap();
    shop.close().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_mapping_is_shown_first_and_asks_before_it_changes_much() {
    let folder = place().await;
    let run = |arguments: &[&str]| shown(&vaiven(folder.path(), arguments, &[]));
    insta::assert_snapshot!("as_it_was", run(&["mapping", "diff"]));

    edit(
        &folder,
        &MAPPING.replace("group = \"grp\"", "group = { from = \"grp\", pull = 'upper(value)', push = \"value\" }"),
    );
    insta::assert_snapshot!("edited", run(&["mapping", "diff", "erp"]));
    let output: serde_json::Value =
        serde_json::from_slice(&vaiven(folder.path(), &["mapping", "diff", "erp/customer", "--json"], &[]).stdout)
            .unwrap();
    assert_eq!(
        (&output[0]["changed"], &output[0]["targets"][0]["brakes"][0]["brake"]),
        (&12.into(), &"mapping_change".into())
    );
    assert_eq!(groups(&folder).await, ["retail"], "nothing was written");

    assert!(run(&["run", "--once"]).starts_with("exit 3"));
    let held = run(&["approve"]);
    assert!(held.contains("12 of 12 records violate brake mapping_change at shop (allowed: 10%)"), "{held}");
    assert_eq!(groups(&folder).await, ["retail"]);
    let number = held.split_once("vaiven approve ").unwrap().1.split_once(' ').unwrap().0.to_owned();
    assert!(run(&["approve", &number]).starts_with("exit 0"));
    assert!(run(&["run", "--once"]).starts_with("exit 0"));
    assert_eq!(groups(&folder).await, ["RETAIL"]);
    assert!(run(&["mapping", "diff"]).starts_with("exit 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_diff_names_what_there_is_and_hides_personal_data() {
    let folder = place().await;
    let run = |arguments: &[&str]| shown(&vaiven(folder.path(), arguments, &[]));
    insta::assert_snapshot!("no_such_system", run(&["mapping", "diff", "ero/customer"]));
    edit(
        &folder,
        &MAPPING.replace("name = \"name\"", "name = { from = \"name\", pull = 'value + \" Sanz\"', push = \"value\" }"),
    );
    let hidden = run(&["mapping", "diff"]);
    assert!(hidden.contains("(personal)") && !hidden.contains("Sanz"), "{hidden}");
    assert!(run(&["mapping", "diff", "--personal"]).contains("Ana Sanz"));
    let mut erp = people::at(folder.path(), "erp.db").await;
    erp.execute("UPDATE customer SET grp = 'x' WHERE id < 4").await.unwrap();
    erp.close().await.unwrap();
    let output = run(&["mapping", "diff"]);
    assert!(output.contains("customer of erp would change: 9 (name 9)"), "{output}");
}
