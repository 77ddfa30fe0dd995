//! Links as people see them: an ERP whose customers a shop may have already.

use std::path::Path;

use super::{people, shown, vaiven};

fn config() -> String {
    format!("{}match = {{ customer = [\"vat\", \"email\", {{ field = \"phone\", weak = true }}] }}\n", people::CONFIG)
}

const MAPPING: &str = r#"
key = "code"
[fields]
code = { from = "code", push_to = "code" }
kind = "kind"
name = "name"
email = { from = "email", none = [""] }
vat = { from = "vat", none = [""] }
phone = { from = "phone", none = [""] }
"#;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// Four customers at the ERP; the shop has one by his tax number, two with the e-mail of another, one with a telephone.
    async fn new() -> Self {
        let shops = "INSERT INTO customer (id, code, kind, name, email, vat, phone) VALUES \
            (1, 'web-1', 'company', 'Uno', 'web@example.com', 'ES B-12.345.674', ''), \
            (2, 'web-2', 'person', 'Dos', 'INFO@example.com', '', ''), (3, 'web-3', 'person', 'Dos', 'info@example.com', '', ''), \
            (4, 'web-4', 'person', 'Tres', '', '', '+34 912 34 56 78')";
        let folder = people::place(&config(), MAPPING, shops).await;
        people::drop_file(
            folder.path(),
            1,
            "code,kind,name,email,vat,phone\nC-1,company,Uno SL,uno@example.com,B12345674,\nC-2,person,Dos,info@example.com,,\n\
             C-3,person,Tres,tres@example.com,,912345678\nC-4,person,Cuatro,cuatro@example.com,,\n",
        );
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, arguments: &[&str]) -> String {
        shown(&vaiven(self.path(), arguments, &[]))
    }

    fn code(&self, arguments: &[&str]) -> i32 {
        vaiven(self.path(), arguments, &[]).status.code().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_there_already_waits_for_a_word_and_goes_on_with_it() {
    let place = Place::new().await;
    let plan = place.run(&["plan"]);
    assert!(plan.contains("(by vat, 50 % agree)") && plan.contains("review:customer"), "{plan}");
    assert_eq!(place.code(&["run", "--once"]), 3);
    insta::assert_snapshot!("review", place.run(&["links", "review"]));
    let status = place.run(&["status"]);
    assert!(status.contains("review:customer") && status.contains("vaiven links review"), "{status}");

    insta::assert_snapshot!("linked", place.run(&["links", "link", "customer", "C-2", "web-3"]));
    insta::assert_snapshot!("unlinked", place.run(&["links", "unlink", "customer", "C-3"]));
    assert_eq!(place.code(&["run", "--once"]), 0);
    insta::assert_snapshot!("nothing_waits", place.run(&["links", "review"]));
    insta::assert_snapshot!("links", place.run(&["links", "list"]));
    let explained = place.run(&["explain", "customer", "web-3"]);
    assert!(explained.contains("(link)") && explained.contains("by person, 100 % agree"), "{explained}");
    let explained = place.run(&["explain", "customer", "C-2"]);
    assert!(explained.contains("It is the same as customer web-3"), "{explained}");
    let explained = place.run(&["explain", "customer", "C-4"]);
    assert!(explained.contains("made by us"), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_review_is_json_for_programs() {
    let place = Place::new().await;
    place.run(&["run", "--once"]);
    let output = vaiven(place.path(), &["links", "review", "--json"], &[]);
    let waiting: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(waiting.as_array().unwrap().len(), 2);
    let two = waiting.as_array().unwrap().iter().find(|one| one["key"] == "C-2").unwrap();
    assert_eq!((&two["target"], &two["tied_by"]), (&"shop".into(), &serde_json::Value::Null));
    let shown = serde_json::json!({"key": "web-2", "ids": {"shop": "2"}, "agree": ["email"], "score": 100});
    assert_eq!(two["candidates"][0], shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_paused_ignored_and_taken_up_again() {
    let place = Place::new().await;
    place.run(&["run", "--once"]);
    for (word, state) in [("pause", "paused"), ("ignore", "ignored")] {
        let output = place.run(&["links", word, "customer", "web-1", "--at", "shop"]);
        assert!(output.starts_with("exit 0\n") && output.contains(state), "{output}");
        let listed = place.run(&["links", "list", "--state", state]);
        assert!(listed.contains("web-1") && listed.contains(state), "{listed}");
        let explained = place.run(&["explain", "customer", "web-1"]);
        assert!(explained.contains(&format!("{state} (by ")), "{explained}");
    }
    let status = place.run(&["status"]);
    assert!(status.contains("given up: 1 link ignored (`vaiven links list`)"), "{status}");
    place.run(&["links", "resume", "customer", "web-1"]);
    assert!(!place.run(&["links", "list", "--state", "ignored"]).contains("web-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_cannot_be_carried_out_is_refused_with_its_reason() {
    let place = Place::new().await;
    place.run(&["run", "--once"]);
    insta::assert_snapshot!("nobody", place.run(&["links", "link", "customer", "C-99", "web-2"]));
    insta::assert_snapshot!("both", place.run(&["links", "link", "customer", "web-2", "web-3"]));
    insta::assert_snapshot!("no_object", place.run(&["links", "unlink", "customer", "C-2", "--at", "shop"]));
    insta::assert_snapshot!("no_review", place.run(&["links", "unlink", "customer", "C-4"]));
    insta::assert_snapshot!("elsewhere", place.run(&["links", "pause", "customer", "C-4", "--at", "crm"]));
}

#[test]
fn what_a_flow_says_of_matching_is_checked_at_its_place() {
    let rules = r#"match = { customer = ["vta", "addresses.line9", "active", { field = "phone", week = true }, { weak = true }] }"#;
    let config = format!("{}{rules}\n", super::CONFIG);
    insta::assert_snapshot!(super::said(&config, &["check", "--offline"], &[]));
}

#[test]
fn what_a_flow_says_of_guests_is_checked_at_its_place() {
    let sales = |guests: &str| {
        let sales = "[flows.sales]\nentities = [\"order\"]\nfrom = \"copy\"\nto = [\"erp\"]\n";
        super::said(&format!("{}{sales}guests = {guests}\n", super::CONFIG), &["check", "--offline"], &[])
    };
    insta::assert_snapshot!("guests_unknown", sales(r#"{ match = true, ome = "VARIOS" }"#));
    insta::assert_snapshot!("guests_nonsense", sales(r#""mach""#));
    insta::assert_snapshot!("guests_unmatched", sales(r#""match""#));
    let config = format!("{}guests = \"match\"\n", super::CONFIG);
    insta::assert_snapshot!("guests_without_orders", super::said(&config, &["check", "--offline"], &[]));
}
