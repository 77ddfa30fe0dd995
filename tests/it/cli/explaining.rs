//! `vaiven explain`: one record as every system has it.

use sqlx::{Connection as _, Executor as _};

use super::{
    people::{self, CONFIG},
    shown, vaiven,
};

const MAPPING: &str = r#"
key = "code"
[fields]
code = "code"
kind = "kind"
name = "name"
group = "grp"
vat = "vat"
"#;

struct Place(tempfile::TempDir);

impl Place {
    /// An ERP and a shop that have the same company under other codes.
    async fn new() -> Self {
        let config = format!("{CONFIG}match = {{ customer = [\"vat\"] }}\n");
        let shops = "INSERT INTO customer (id, code, kind, name, grp, vat) VALUES (70, 'web-70', 'company', 'Uno', 'z', 'ES-B12345674')";
        let place = Self(people::place(&config, MAPPING, shops).await);
        place.drop_file(1, "a");
        place.run(&["run", "--once"]);
        place
    }

    fn drop_file(&self, number: u32, group: &str) {
        let rows = format!("code,kind,name,grp,vat\nC-1,company,Uno SL,{group},B12345674\n");
        people::drop_file(self.0.path(), number, &rows);
    }

    fn run(&self, arguments: &[&str]) -> String {
        shown(&vaiven(self.0.path(), arguments, &[]))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_found_by_its_key_its_id_at_a_system_and_its_tax_number() {
    let place = Place::new().await;
    let json = |key: &str| -> serde_json::Value {
        let output = vaiven(place.0.path(), &["explain", "customer", key, "--json"], &[]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{key}: {error}: {output:?}"))
    };
    let by_key = json("C-1");
    assert_eq!(by_key["systems"].as_array().unwrap().len(), 2, "{by_key}");
    for key in ["70", "B12345674", "es b-12345674"] {
        assert_eq!(json(key)["record"], by_key["record"], "{key}");
        assert_eq!(json(key)["key"], "web-70", "told by the key it got first");
    }
    let nobody = place.run(&["explain", "customer", "B99999999"]);
    assert!(nobody.starts_with("exit 1") && nobody.contains("nor one that has it as its id"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn systems_are_told_side_by_side_with_owners_and_without_personal_data() {
    let place = Place::new().await;
    let told = place.run(&["explain", "customer", "C-1"]);
    assert!(told.contains("(owner)") && told.contains("(personal)") && !told.contains("Uno SL"), "{told}");
    let line = told.lines().find(|line| line.starts_with("group")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["group", "a", "a", "erp"], "{told}");
    assert!(place.run(&["explain", "customer", "C-1", "--personal"]).contains("Uno SL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_field_is_told_with_its_whole_history() {
    let place = Place::new().await;
    for (number, group) in [(2, "b"), (3, "c")] {
        place.drop_file(number, group);
        place.run(&["run", "--once"]);
    }
    let mut shop = people::shop(place.0.path()).await;
    shop.execute("UPDATE customer SET grp = 'mine'").await.unwrap();
    shop.close().await.unwrap();
    place.run(&["run", "--once"]);
    let told = place.run(&["explain", "customer", "C-1", "group"]);
    for step in ["group: - -> a", "group: a -> b", "group: b -> c"] {
        assert!(told.contains(step), "{step}: {told}");
    }
    assert!(!told.contains("kind") && !told.contains("(personal)"), "{told}");
    let wrong = place.run(&["explain", "customer", "C-1", "grup"]);
    assert!(wrong.contains("did you mean `group`"), "{wrong}");
}
