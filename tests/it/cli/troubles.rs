//! Whoever knows nothing of what went wrong finds it, and what to do about it, with `vaiven status` and one
//! more command that `status` itself names. The table in docs/cli.md lists these.

use std::process::{Command, Stdio};

use serde_json::json;
use sqlx::Executor as _;

use super::{explaining, office::Office, people::at, shown, vaiven};
use crate::sandbox::shop::Running;

const CATALOG: &str =
    "\n[flows.catalog]\nentities = [\"category\", \"product\", \"price\"]\nfrom = \"erp\"\nto = [\"shop\"]\n";
const PRODUCTS: &str = "\n[flows.catalog]\nentities = [\"product\"]\nfrom = \"erp\"\nto = [\"shop\"]\n";
const PRICES: &str = "\n[flows.prices]\nentities = [\"price\"]\nfrom = \"erp\"\nto = [\"shop\"]\n";

/// Reads `status`, then what its first line names; both together tell `all` of this.
fn found(run: impl Fn(&[&str]) -> String, first_line: &str, second: &str, all: &[&str]) {
    let status = run(&["status"]);
    let line = status.lines().nth(1).unwrap_or_default();
    assert!(status.starts_with("exit 3\n"), "{status}");
    assert!(line.starts_with("Not in sync: ") && line.contains(first_line), "{first_line}: {status}");
    assert!(!status.contains("every target has what it should have"), "{status}");
    assert!(status.contains(second), "`{second}` is not named: {status}");
    let words: Vec<&str> = second.split(' ').skip(1).collect();
    let output = run(&words);
    for part in all {
        assert!(status.contains(part) || output.contains(part), "{part} is told by neither\n{status}\n{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_key() {
    let office = Office::new(PRODUCTS, "INSERT INTO product VALUES (7, NULL, 'Martillo', 'IVA21')", "").await;
    let ran = office.run(&["run", "--once"]);
    assert!(ran.starts_with("exit 3\nNot in sync: 1 row rejected (`vaiven rejected`)"), "{ran}");
    let advice =
        ["erp/product", "7", "sku", "the row has no key", "mappings/office/product.toml:2:7", "vaiven rows dismiss"];
    found(|words| office.run(words), "1 row rejected (`vaiven rejected`)", "vaiven rejected", &advice);
    let output = office.run(&["explain", "product", "7"]);
    assert!(output.starts_with("exit 3\nRow 7 of product at erp cannot be read: sku: the row has no key"), "{output}");

    office.sql("erp.db", "UPDATE product SET sku = 'H-1'").await;
    office.run(&["run", "--once"]);
    let status = office.run(&["status"]);
    assert!(status.starts_with("exit 0\nIn sync as of "), "{status}");
    assert_eq!(office.run(&["rejected"]), "exit 0\nEvery row could be read.\n");
    assert_eq!(office.run(&["rejected", "erp"]), "exit 0\nEvery row of erp could be read.\n");
    let mistyped = office.run(&["rejected", "epr"]);
    assert!(mistyped.starts_with("exit 1") && mistyped.contains("did you mean `erp`?"), "{mistyped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tax_class_that_nobody_mapped() {
    let office = Office::new(PRODUCTS, "INSERT INTO product VALUES (7, 'H-1', 'Martillo', 'IGIC7')", "").await;
    office.run(&["run", "--once"]);
    let advice = ["lookup:tax=igic-7", "H-1", "[systems.shop.lookups.tax]", "then reload (SIGHUP)"];
    found(|words| office.run(words), "1 job waiting for lookup:tax", "vaiven jobs list --state parked", &advice);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_refused_for_one_of_its_lines() {
    let folder = explaining::books().await;
    let mut erp = at(folder.path(), "erp.db").await;
    erp.execute(
        "CREATE TRIGGER no_article BEFORE INSERT ON sale BEGIN SELECT RAISE(ABORT, 'line 1: no article MAR-101 here'); END",
    )
    .await
    .unwrap();
    explaining::drop_order(folder.path(), 1, "25.00");
    let run = |words: &[&str]| shown(&vaiven(folder.path(), words, &[]));
    run(&["run", "--once"]);
    let advice = ["dead", "1001", "line 1: no article MAR-101 here", "vaiven jobs retry JOB"];
    found(run, "1 job dead (`vaiven jobs list --state dead`)", "vaiven jobs list --state dead", &advice);
    erp.execute("DROP TRIGGER no_article").await.unwrap();
    assert!(run(&["jobs", "retry", "--state", "dead"]).contains("1 job queued anew"));
    run(&["run", "--once"]);
    assert!(run(&["status"]).starts_with("exit 0\nIn sync as of "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brake_that_waits_for_a_person() {
    let prices = "INSERT INTO price (list, sku, amount) VALUES ('retail', 'A', '10'), ('retail', 'B', '20')";
    let office = Office::new(PRICES, prices, "").await;
    assert!(office.run(&["run", "--once"]).starts_with("exit 0\nIn sync as of "));
    office.sql("erp.db", "UPDATE price SET amount = '0.10'").await;
    office.run(&["run", "--once"]);
    let advice = ["price_change at shop", "retail/A  amount: 10 -> 0.1", "sends these changes, vaiven reject"];
    found(|words| office.run(words), "2 jobs held by a brake (`vaiven approve`)", "vaiven approve", &advice);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_both_sides_changed() {
    let shared = format!(
        "{PRODUCTS}owners = {{ \"product.name\" = \"shared\" }}\n\n[flows.back]\nentities = [\"product\"]\nfrom = \"shop\"\n\
         to = [\"erp\"]\nfields = {{ product = [\"name\"] }}\n"
    );
    let office = Office::new(&shared, "INSERT INTO product VALUES (7, 'H-1', 'Martillo', 'IVA21')", "").await;
    let first = office.run(&["run", "--once"]);
    assert!(first.starts_with("exit 0\nIn sync as of "), "{first}");
    office.sql("erp.db", "UPDATE product SET name = 'Mazo'").await;
    office.sql("shop.db", "UPDATE product SET name = 'Maza'").await;
    office.run(&["run", "--once"]);
    found(
        |words| office.run(words),
        "waiting for a decision (`vaiven conflicts list`)",
        "vaiven conflicts list",
        &["H-1", "name", "Mazo", "Maza"],
    );
}

/// Categories of the demo's ERP for a shop at this address.
async fn categories(url: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[systems.erp]\nadapter = \"ferreteria-erp\"\nfile = \"erp.db\"\n\n[systems.shop]\nadapter = \"woocommerce\"\nurl = \"{url}\"\n\
         key = {{ env = \"KEY\" }}\nsecret = {{ env = \"SECRET\" }}\n\n[flows.catalog]\nentities = [\"category\"]\nfrom = \"erp\"\n\
         to = [\"shop\"]\n"
    );
    std::fs::write(folder.path().join("vaiven.toml"), config).unwrap();
    let mut erp = at(folder.path(), "erp.db").await;
    erp.execute(include_str!("../../../src/demo/erp/schema.sql")).await.unwrap();
    erp.execute("INSERT INTO familia (codigo, nombre_es, nombre_en, orden) VALUES ('F', 'Uno', 'One', 1)")
        .await
        .unwrap();
    folder
}

/// Begins a pass, and lets it go when its target is left alone: for how long it waits for that is not what is asked here.
async fn left_alone(folder: &std::path::Path, keys: &[(&str, &str)]) {
    let mut pass = Command::new(env!("CARGO_BIN_EXE_vaiven"))
        .args(["run", "--once"])
        .current_dir(folder)
        .env_clear()
        .envs(keys.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let is_alone = || shown(&vaiven(folder, &["status"], keys)).contains("paused until");
    let mut alone = is_alone();
    // It ends by itself, if not soon.
    while !alone && pass.try_wait().unwrap().is_none() {
        alone = is_alone();
    }
    alone = alone || is_alone();
    let _ = pass.kill();
    pass.wait().unwrap();
    assert!(alone, "{}", shown(&vaiven(folder, &["status"], keys)));
    // An hour more, so that nobody has to be quick.
    let mut state = at(folder, "state/vaiven.db").await;
    state.execute("UPDATE standing SET until = until + 3600000000").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_does_not_answer() {
    // Nobody listens on a port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = categories(&format!("http://{free}")).await;
    let keys = [("KEY", "ck_sandbox"), ("SECRET", "cs_sandbox")];
    let run = |words: &[&str]| shown(&vaiven(folder.path(), words, &keys));
    left_alone(folder.path(), &keys).await;
    found(run, "shop paused until", "vaiven check", &["no connection", "something answers at the address"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_refused() {
    let shop = Running::start().await;
    let folder = categories(&shop.base).await;
    let keys = [("KEY", "ck_wrong"), ("SECRET", "cs_wrong")];
    let run = |words: &[&str]| shown(&vaiven(folder.path(), words, &keys));
    left_alone(folder.path(), &keys).await;
    found(run, "shop paused until", "vaiven check", &["401", "first page of category"]);
    assert!(!run(&["status"]).contains("cs_wrong"));
    let right = [("KEY", "ck_sandbox"), ("SECRET", "cs_sandbox")];
    let output = shown(&vaiven(folder.path(), &["check"], &right));
    assert!(output.contains("and is resumed"), "a check that went well ends the pause: {output}");
    assert!(!run(&["status"]).contains("paused until"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_only_read() {
    let options =
        vaiven::internals::sandbox::Options { read_only_key: Some("ck_read:cs_read".into()), ..Default::default() };
    let shop = Running::with(options).await;
    let folder = categories(&shop.base).await;
    let keys = [("KEY", "ck_read"), ("SECRET", "cs_read")];
    let run = |words: &[&str]| shown(&vaiven(folder.path(), words, &keys));
    let output = run(&["run", "--once"]);
    assert!(
        output.starts_with("exit 3\nNot in sync: 1 job refused by shop (`vaiven jobs list --target shop`)"),
        "{output}"
    );
    assert!(output.contains("WARN category F refused by shop"), "{output}");
    found(run, "1 job refused by shop", "vaiven jobs list --target shop", &["does not have write permissions"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_person_has_put_aside_are_no_trouble() {
    let rows = "INSERT INTO price (list, sku, amount) VALUES ('retail', 'A', 'ten'), ('retail', 'B', '10')";
    let office = Office::new(PRICES, rows, "").await;
    assert!(office.run(&["run", "--once"]).starts_with("exit 3\nNot in sync: 1 row rejected"));
    office.run(&["rows", "dismiss", "erp/price", "--all"]);
    for words in [&["run", "--once"][..], &["status"]] {
        let output = office.run(words);
        assert!(
            output.starts_with("exit 0\nIn sync as of ") && output.contains("given up: 1 row put aside"),
            "{output}"
        );
        assert!(!output.contains("cannot be read"), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_the_target_alters() {
    let office = Office::new(PRICES, "INSERT INTO price (list, sku, amount) VALUES ('retail', 'A', '10')", "").await;
    let rounds =
        "CREATE TRIGGER rounds AFTER INSERT ON price BEGIN UPDATE price SET amount = '9.99' WHERE id = NEW.id; END";
    office.sql("shop.db", rounds).await;
    office.run(&["run", "--once"]);
    let second = "vaiven differences list";
    let advice = ["retail/A", "amount", "9.99", "vaiven differences accept TARGET ENTITY KEY FIELD"];
    found(
        |words| office.run(words),
        "1 field stored differently from what was sent (`vaiven differences list`)",
        second,
        &advice,
    );
    office.run(&["differences", "accept", "shop"]);
    office.run(&["run", "--once"]);
    let status = office.run(&["status"]);
    assert!(status.starts_with("exit 0\nIn sync as of ") && status.contains("given up: 1 field accepted"), "{status}");
    assert!(!status.contains("every target has what it should have"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_object_refers_to_is_not_there() {
    let tree = "INSERT INTO category VALUES (1, 'TOP', 'Arriba', NULL), (2, 'LEAF', 'Abajo', 1)";
    let office = Office::new(CATALOG, tree, "").await;
    let full = "CREATE TRIGGER full BEFORE INSERT ON category WHEN NEW.code = 'TOP' \
        BEGIN SELECT RAISE(ABORT, 'no more than 0 categories'); END";
    office.sql("shop.db", full).await;
    office.run(&["run", "--once"]);
    let advice = ["missing:category=TOP", "no more than 0 categories", "goes on by itself when shop has it"];
    found(|words| office.run(words), "1 job waiting for missing:category", "vaiven explain category TOP", &advice);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_object_refers_to_could_not_be_read() {
    let tree = "INSERT INTO category VALUES (1, '', 'Arriba', NULL), (2, 'LEAF', 'Abajo', 1)";
    let office = Office::new(CATALOG, tree, "").await;
    office.run(&["run", "--once"]);
    let waiting = office.json(&["jobs", "list"]);
    let cause = waiting[0]["cause"].as_str().unwrap();
    let nameless = cause.strip_prefix("missing:category=").unwrap();
    assert!(nameless.starts_with('#'), "{cause}");
    let output = office.run(&["explain", "category", nameless]);
    assert!(output.starts_with("exit 3\n") && output.contains("Row 1 of category at erp cannot be read"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read() {
    let folder = explaining::books().await;
    explaining::drop_order(folder.path(), 1, "25.00");
    let run = |words: &[&str]| shown(&vaiven(folder.path(), words, &[]));
    run(&["run", "--once"]);
    assert!(run(&["status"]).starts_with("exit 0\nIn sync as of "));
    std::fs::write(folder.path().join("drop/orders_2.json"), "[{ \"id\": 78, \"number\"").unwrap();
    run(&["run", "--once"]);
    found(run, "order of shop could not be read", "vaiven status", &["orders_2.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_nobody_has_read_for_too_long() {
    let often = format!("{PRODUCTS}every = \"*/5 * * * *\"\n");
    let office = Office::new(&often, "INSERT INTO product VALUES (7, 'H-1', 'Martillo', 'IVA21')", "").await;
    office.run(&["run", "--once"]);
    let fresh = office.json(&["status"]);
    assert_eq!((&fresh["troubles"], fresh["headline"].as_str().unwrap().starts_with("In sync")), (&json!([]), true));
    // An hour ago, as far as the state knows.
    office.sql("state/vaiven.db", "UPDATE run SET started_at = started_at - 3600000000").await;
    let output = office.run(&["status"]);
    assert!(output.starts_with("exit 3\nNot in sync: product of erp not read since "), "{output}");
    assert!(output.lines().nth(1).unwrap().contains("(`vaiven run`)"), "{output}");
    assert_eq!(office.json(&["status"])["troubles"][0]["what"], "stale");
}
