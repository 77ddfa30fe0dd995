//! What brakes hold back, as people meet it: exit codes, lines, decisions.

use std::path::Path;

use sqlx::{Connection as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{CONFIG, shown, vaiven};

const SCHEMA: &str = include_str!("../../../src/demo/erp/schema.sql");

async fn database(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn count(db: &mut SqliteConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(db).await.unwrap()
}

#[tokio::test]
async fn what_a_brake_holds_is_shown_everywhere_until_somebody_decides() {
    const SHARED: &str = "SELECT count(*) FROM cliente WHERE email = 'oficina@example.com'";
    const RUNG: &str = "SELECT count(*) FROM cliente WHERE telefono = '600'";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vaiven.toml"), CONFIG).unwrap();
    let (mut erp, mut copy) =
        (database(&folder.path().join("erp.db")).await, database(&folder.path().join("copy.db")).await);
    for db in [&mut erp, &mut copy] {
        db.execute(SCHEMA).await.unwrap();
    }
    for number in 0..10 {
        sqlx::query(
            "INSERT INTO cliente (codigo, tipo, nombre, apellidos, email) VALUES ('C' || ?1, 'F', 'Ana', 'Gil', ?1 || '@example.com')",
        )
        .bind(number)
        .execute(&mut erp)
        .await
        .unwrap();
    }
    erp.execute(
        "INSERT INTO direccion (cliente_id, tipo, calle, pais) SELECT id, 'F', 'Calle Mayor', 'ES' FROM cliente",
    )
    .await
    .unwrap();
    let run = |arguments: &[&str]| shown(&vaiven(folder.path(), arguments, &[]));
    let first = run(&["run", "--once"]);
    assert!(first.starts_with("exit 0\n"), "{first}");
    assert_eq!(run(&["approve"]), "exit 0\nNo brake holds anything back.\n");

    erp.execute("UPDATE cliente SET email = 'oficina@example.com'").await.unwrap();
    let held = run(&["run", "--once"]);
    assert!(held.starts_with("exit 3\n") && held.contains("Held by a brake: run "), "{held}");
    let output = run(&["approve"]);
    for part in [
        "exit 3\n",
        "10 jobs held",
        "10 of 10 records violate brake email_change at copy (allowed: 5%)",
        "C3  email: (personal)",
    ] {
        assert!(output.contains(part), "{output}");
    }
    assert!(!output.contains("example.com"), "{output}");
    let json: serde_json::Value =
        serde_json::from_slice(&vaiven(folder.path(), &["approve", "--json"], &[]).stdout).unwrap();
    let number = json[0]["run"].to_string();
    assert_eq!((&json[0]["jobs"], &json[0]["trips"][0]["brake"]), (&10.into(), &"email_change".into()));
    let status = run(&["status"]);
    assert!(status.starts_with("exit 3\n") && status.contains(&format!("Held by a brake: run {number}")), "{status}");
    let wrong = run(&["reject", "9999"]);
    assert_eq!(wrong, format!("exit 1\nerror: run 9999 is not held by a brake; these runs are: {number}\n"));

    assert!(run(&["reject", &format!("brake:run-{number}")]).starts_with("exit 0\n"));
    assert!(run(&["run", "--once"]).starts_with("exit 0\n"));
    // The adapter of the copy writes whole objects: a telephone brings no rejected address with it.
    erp.execute("UPDATE cliente SET telefono = '600'").await.unwrap();
    assert!(run(&["run", "--once"]).starts_with("exit 0\n"));
    assert_eq!((count(&mut copy, RUNG).await, count(&mut copy, SHARED).await), (10, 0));
    assert!(run(&["status"]).starts_with("exit 0\n"));
}
