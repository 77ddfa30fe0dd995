//! What people ask for by name, and what they are told where nobody knows it.

use super::{
    office::Office,
    people::{self, CONFIG},
    shown, vaiven,
};

const PRICES: &str = "\n[flows.prices]\nentities = [\"price\"]\nfrom = \"erp\"\nto = [\"shop\"]\n";
const LISTS: &str =
    "INSERT INTO price (list, sku, amount) VALUES ('retail', 'A', '10'), ('trade', 'A', '8'), ('retail', 'B', '5')";

#[tokio::test(flavor = "multi_thread")]
async fn the_prices_of_an_article_are_found_by_its_key() {
    let office = Office::new(PRICES, LISTS, "").await;
    office.run(&["run", "--once"]);
    let output = office.run(&["explain", "price", "A"]);
    assert!(output.starts_with("exit 0\nprice of article A: 2"), "{output}");
    assert!(
        output.contains("price retail/A") && output.contains("price trade/A") && !output.contains("retail/B"),
        "{output}"
    );
    let json = office.json(&["explain", "price", "A"]);
    let keys: Vec<&str> = json["stories"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!((json["found"].as_u64(), keys), (Some(2), vec!["retail/A", "trade/A"]));
    let nobody = office.run(&["explain", "price", "Z"]);
    assert!(nobody.starts_with("exit 1\n"), "{nobody}");

    let placed = office.run(&["resync", "prices/price/A"]);
    assert!(placed.contains("the running daemon will read prices/price/retail/A again"), "{placed}");
    assert!(
        placed.contains("the running daemon will read prices/price/trade/A again") && placed.starts_with("exit 0"),
        "{placed}"
    );
    let one = office.run(&["run", "--resync", "prices/price/B"]);
    assert!(one.starts_with("exit 0\n"), "{one}");
    let several = office.run(&["run", "--resync", "prices/price/A"]);
    assert!(several.contains("ask for one: prices/price/retail/A, prices/price/trade/A"), "{several}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_loses_and_nothing_can_switch_off_is_said_by_check() {
    let stays = "what erp no longer has of price stays at shop as it was";
    let check = async |flows: &str| Office::new(flows, LISTS, "").await.run(&["check"]);
    let output = check(PRICES).await;
    assert!(output.contains(stays) && output.contains("on_delete = { price = \"ignore\" }"), "{output}");
    let meant = check(&format!("{PRICES}on_delete = {{ price = \"ignore\" }}\n")).await;
    assert!(!meant.contains(stays), "{meant}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_cannot_be_read_is_found_by_its_article() {
    let office = Office::new(PRICES, LISTS, "").await;
    office.sql("erp.db", "UPDATE price SET amount = 'ten' WHERE sku = 'B'").await;
    office.run(&["run", "--once"]);
    let output = office.run(&["explain", "price", "B"]);
    assert!(output.starts_with("exit 3\n") && output.contains("of price at erp cannot be read: amount"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_look_shows_what_systems_hold_now_beside_what_is_known_and_stores_nothing() {
    let office = Office::new(PRICES, LISTS, "").await;
    office.run(&["run", "--once"]);
    office.sql("shop.db", "UPDATE price SET amount = '7.77' WHERE sku = 'B'").await;
    let output = office.run(&["explain", "price", "retail/B", "--live"]);
    assert!(output.contains("SHOP NOW") || output.contains("shop now"), "{output}");
    assert!(output.contains("shop now: differs from what is known in amount") && output.contains("7.77"), "{output}");
    assert!(output.contains("erp now: as known"), "{output}");
    assert!(!office.run(&["explain", "price", "retail/B"]).contains("7.77"), "a look stores nothing");
    office.sql("shop.db", "DELETE FROM price WHERE sku = 'B'").await;
    assert!(office.run(&["explain", "price", "retail/B", "--live"]).contains("shop has no object"));
}

const MAPPING: &str = "key = \"code\"\n[fields]\ncode = \"code\"\nkind = \"kind\"\nname = \"name\"\ngroup = \"grp\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_cannot_be_read_by_key_is_listed_and_that_is_said() {
    let place = people::place(CONFIG, MAPPING, "DELETE FROM customer").await;
    let run = |words: &[&str]| shown(&vaiven(place.path(), words, &[]));
    people::drop_file(place.path(), 1, "code,kind,name,grp\nC-1,company,Uno,a\n");
    run(&["run", "--once"]);
    let live = run(&["explain", "customer", "C-1", "--live"]);
    assert!(live.contains("erp now: as known, from its whole listing, since it cannot be read by key"), "{live}");

    let output = run(&["run", "--resync", "people/customer/C-1"]);
    assert!(output.starts_with("exit 0\n"), "{output}");
    assert!(output.contains("erp cannot be read by key, so its whole listing of customer was read."), "{output}");
    let placed = run(&["resync", "people/customer/C-1"]);
    assert!(placed.starts_with("exit 0\n") && placed.contains("erp cannot be read by key"), "{placed}");
    for words in [&["resync", "people/customer/C-9"][..], &["run", "--resync", "people/customer/C-9"]] {
        let nobody = run(words);
        assert!(nobody.starts_with("exit 1\n"), "{nobody}");
        assert!(nobody.contains("nobody knows customer `C-9`: no system was seen to have it"), "{nobody}");
        let is_read = words[0] == "run";
        assert_eq!(nobody.contains("vaiven run --resync"), !is_read, "nobody is sent where they come from: {nobody}");
        assert_eq!(nobody.contains("erp was asked for it just now"), is_read, "{nobody}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_are_not_there_are_no_success_and_a_discarded_one_comes_back() {
    let office = Office::new(PRICES, "INSERT INTO price (list, sku, amount) VALUES ('retail', 'A', '10')", "").await;
    let no = "CREATE TRIGGER no BEFORE INSERT ON price BEGIN SELECT RAISE(ABORT, 'closed for stocktaking'); END";
    office.sql("shop.db", no).await;
    office.run(&["run", "--once"]);
    let job = office.json(&["jobs", "list"])[0]["id"].to_string();
    let nothing = office.run(&["jobs", "retry", "99"]);
    assert_eq!(nothing, "exit 1\nerror: none of these is parked or dead: there is no job 99\n");
    assert!(office.run(&["jobs", "restore", &job]).contains(&format!("job {job} is dead")));

    assert!(office.run(&["jobs", "discard", &job]).starts_with("exit 0\n1 job given up"));
    let status = office.run(&["status"]);
    let line = status.lines().nth(1).unwrap_or_default();
    assert!(status.starts_with("exit 0\n") && line.contains("given up: 1 job discarded"), "{status}");
    assert!(line.contains("`vaiven jobs list --state discarded`"), "{status}");
    assert!(!status.contains("every target has what it should have"), "{status}");
    let plan = office.run(&["plan"]);
    assert!(plan.contains("given up: 1 job discarded") && !plan.contains("every target"), "{plan}");
    assert!(office.run(&["jobs", "retry", &job]).contains(&format!("job {job} is discarded")));

    office.sql("shop.db", "DROP TRIGGER no").await;
    assert!(office.run(&["jobs", "restore", &job]).starts_with("exit 0\n1 job taken back"));
    let ran = office.run(&["run", "--once"]);
    assert!(ran.contains("Delivered: 1 written"), "{ran}");
    assert!(office.run(&["status"]).contains("every target has what it should have"));
    let again = office.run(&["jobs", "retry", "--all"]);
    assert!(again.starts_with("exit 1\n") && again.contains("there is no such job"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_all_that_were_sent() {
    let office = Office::new(PRICES, LISTS, "").await;
    let output = office.json(&["run", "--once"]);
    // The shop: its first listing, three lines written and read back.
    assert!(output["requests"]["erp"].as_u64() >= Some(1), "{output}");
    assert!(output["requests"]["shop"].as_u64() > output["delivered"]["requests"].as_u64(), "{output}");
    let nothing = office.json(&["run", "--once"]);
    assert_eq!((&nothing["delivered"]["written"], nothing["requests"]["erp"].as_u64() >= Some(1)), (&0.into(), true));
}
