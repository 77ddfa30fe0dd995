//! One value that cannot be read, from the source's table to what is delivered and told.

use std::path::Path;

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    dates::{change, place},
    shown, vaiven,
};

#[tokio::test]
async fn one_value_that_cannot_be_read_rejects_its_row_by_name_and_the_others_arrive() {
    let home = place(
        "(1, 'A', 'one', '2026-01-01 10:00:00'), (2, 'B', CAST(x'61F162' AS TEXT), '2026-01-01 10:00:00'),
         (3, 'C', 'three', '2026-01-01 10:00:00')",
    )
    .await;
    let folder = home.path();
    let first = shown(&vaiven(folder, &["run", "--once"], &[]));
    let files = || {
        let names = std::fs::read_dir(folder.join("out")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| Path::new(name).extension().is_some_and(|end| end == "json"));
        names.sort();
        names
    };
    assert_eq!(files(), ["A.json", "C.json"], "{first}");
    let state = SqliteConnectOptions::new().filename(folder.join("state/vaiven.db"));
    let mut state = SqliteConnection::connect_with(&state).await.unwrap();
    let (reason, field): (String, Option<String>) =
        sqlx::query_as("SELECT reason, field FROM rejection WHERE id = '2'").fetch_one(&mut state).await.unwrap();
    assert!(reason.contains("`name` cannot be read: a byte of it is not valid UTF-8"), "{reason}");
    assert_eq!(field.as_deref(), Some("name"));
    let (seen, rejected): (i64, i64) =
        sqlx::query_as("SELECT seen, rejected FROM run WHERE rejected > 0").fetch_one(&mut state).await.unwrap();
    assert_eq!((seen, rejected), (3, 1), "it stands in the balance");

    change(folder, "UPDATE p SET name = 'two', changed = '2026-01-01 11:00:00' WHERE id = 2").await;
    let second = shown(&vaiven(folder, &["run", "--once"], &[]));
    assert_eq!(files(), ["A.json", "B.json", "C.json"], "{second}");
}

#[tokio::test]
async fn a_row_whose_id_cannot_be_read_is_known_by_its_key() {
    let home = place("(1, 'A', 'one', '2026-01-01 10:00:00'), (2, 'B', 'two', '2026-01-01 10:00:00')").await;
    let folder = home.path();
    let adapter = folder.join("adapters/erp.toml");
    let text = std::fs::read_to_string(&adapter).unwrap();
    let text = text.replace("SELECT *", "SELECT *, CASE id WHEN 2 THEN CAST(x'61F162' AS TEXT) ELSE sku END AS code");
    std::fs::write(&adapter, text.replacen("id = \"id\"", "id = \"code\"", 1)).unwrap();
    let first = shown(&vaiven(folder, &["run", "--once"], &[]));
    let listed = vaiven(folder, &["rejected", "--json"], &[]);
    let rows: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&rows[0]["id"], rows[0]["key"].as_str()), (&serde_json::Value::Null, Some("B")), "{first}{rows}");
    assert!(
        shown(&vaiven(folder, &["explain", "product", "B"], &[])).contains("Row B of product at erp cannot be read")
    );
}
