//! An order's state never runs backwards by itself, and what was erased on one side is not lost on the other.

use serde_json::{Value, json};

use super::{FakeSystem, Flow, Stage, flow, waits};
use crate::{
    store::{ConflictKind, JobFilter, JobState},
    sync::conflict::Decision,
};

/// The shop's orders go to the ERP, whose word on their state comes back.
fn both_ways() -> Vec<Flow> {
    let mut account = flow("account", "erp", "shop", &["order"]);
    account.fields.insert("order".into(), ["status".to_owned()].into());
    account.owners.insert("order.status".into(), "erp".into());
    vec![flow("sales", "shop", "erp", &["order"]), account]
}

/// The same, with each side's say.
fn by_states() -> Vec<Flow> {
    saying(&["cancelled"], &["paid", "shipped"])
}

fn saying(shop: &[&str], erp: &[&str]) -> Vec<Flow> {
    let says = |states: &[&str]| [("order".to_owned(), states.iter().map(|&state| state.to_owned()).collect())].into();
    let [mut sales, mut account]: [Flow; 2] = both_ways().try_into().unwrap();
    account.owners.clear();
    (sales.states, account.states) = (says(shop), says(erp));
    vec![sales, account]
}

/// Each side may cancel, as in the demo.
fn each_ends() -> Vec<Flow> {
    saying(&["confirmed", "paid", "cancelled"], &["paid", "shipped", "cancelled"])
}

fn order(status: &str, is_paid: bool) -> Value {
    json!({"number": "1001", "status": status, "payment": {"method": "bacs", "paid": is_paid},
        "email": "ana@example.es", "billing": {"name": "Ana Ruiz", "line1": "Calle Mayor 1", "country": "ES"},
        "lines": [{"line": "1", "sku": "H-1", "quantity": "2", "unit_price": "10"}]})
}

impl Stage {
    /// An order that the ERP has in a state of its own.
    async fn ordered(flows: Vec<Flow>, shop: Value, erp: &str) -> Self {
        let stage = Self::new(flows).await;
        stage.shop.put("order", "7", &shop);
        assert!(stage.once().await.is_clean());
        stage.in_erp("status", &json!(erp));
        stage
    }

    fn in_erp(&self, field: &str, value: &Value) {
        let mut row = self.erp.rows("order").remove(0);
        let id = row["id"].as_str().unwrap().to_owned();
        row[field] = value.clone();
        self.erp.put("order", &id, &row);
    }

    /// Every way in which the two systems could hear of each other once more.
    async fn all_ways(&self) {
        for _ in 0..2 {
            self.full().await;
            self.once().await;
        }
    }

    fn states_of_it(&self) -> (Value, Value) {
        (self.shop.rows("order")[0]["status"].clone(), self.erp.rows("order")[0]["status"].clone())
    }

    async fn tripped(&self) -> Vec<String> {
        let open = self.store.waiting_approvals().await.unwrap();
        open.into_iter().flat_map(|approval| approval.trips).map(|trip| trip.brake).collect()
    }
}

#[tokio::test]
async fn a_state_that_is_behind_is_not_sent() {
    let stage = Stage::ordered(both_ways(), order("paid", true), "confirmed").await;
    stage.full().await;
    assert_eq!(stage.states_of_it(), (json!("paid"), json!("confirmed")));
    stage.in_erp("status", &json!("shipped"));
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.states_of_it(), (json!("shipped"), json!("shipped")));
    stage.in_erp("status", &json!("paid"));
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.states_of_it(), (json!("shipped"), json!("paid")));
}

#[tokio::test]
async fn what_has_ended_goes_on_only_after_an_approval() {
    for end in ["cancelled", "refunded", "failed"] {
        let stage = Stage::ordered(both_ways(), order("paid", true), "paid").await;
        stage.shop.put("order", "7", &order(end, true));
        stage.full().await;
        assert_eq!(stage.states_of_it(), (json!(end), json!("paid")));
        assert_eq!(stage.tripped().await, ["order_state"], "{end}: it is told, and waits for a person");
    }
}

#[tokio::test]
async fn nothing_becomes_paid_that_is_known_to_be_unpaid() {
    let stage = Stage::ordered(both_ways(), order("confirmed", false), "paid").await;
    stage.full().await;
    assert_eq!(stage.states_of_it(), (json!("confirmed"), json!("paid")));
    assert_eq!(stage.tripped().await, ["order_state"]);
    // The transfer has reached the company's bank.
    stage.in_erp("settled", &json!(true));
    stage.full().await;
    assert_eq!(stage.states_of_it(), (json!("paid"), json!("paid")));
    assert!(stage.tripped().await.is_empty());
}

#[tokio::test]
async fn a_flow_says_which_states_its_source_may_say() {
    let stage = Stage::ordered(by_states(), order("confirmed", false), "confirmed").await;
    stage.shop.put("order", "7", &order("cancelled", false));
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.states_of_it(), (json!("cancelled"), json!("cancelled")), "that is the shop's to say");

    let stage = Stage::ordered(by_states(), order("paid", true), "paid").await;
    stage.in_erp("status", &json!("cancelled"));
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.states_of_it(), (json!("paid"), json!("cancelled")), "that is not the ERP's to say");
    stage.shop.put("order", "7", &order("shipped", true));
    stage.full().await;
    assert_eq!(stage.states_of_it().1, "cancelled", "nor that the shop's");
}

#[tokio::test]
async fn what_the_shop_reopens_is_not_ended_there_again_and_the_erp_is_asked_about() {
    for by_shop in [true, false] {
        let stage = Stage::ordered(each_ends(), order("paid", true), "paid").await;
        assert!(stage.full().await.is_clean());
        if by_shop {
            stage.shop.put("order", "7", &order("cancelled", true));
        } else {
            stage.in_erp("status", &json!("cancelled"));
        }
        assert!(stage.full().await.is_clean());
        assert_eq!(stage.states_of_it(), (json!("cancelled"), json!("cancelled")));
        stage.shop.put("order", "7", &order("paid", true));
        stage.all_ways().await;
        assert_eq!(stage.states_of_it(), (json!("paid"), json!("cancelled")));
        assert_eq!(stage.tripped().await, ["order_state"]);
        // It moves on meanwhile.
        stage.shop.put("order", "7", &order("confirmed", true));
        stage.all_ways().await;
        assert_eq!(stage.states_of_it(), (json!("confirmed"), json!("cancelled")));
        assert_eq!(stage.tripped().await, ["order_state"]);
        stage.decide_on_it(true).await;
        assert_eq!(stage.states_of_it(), (json!("confirmed"), json!("confirmed")));
        // The next end is new, whoever shows it.
        stage.in_erp("status", &json!("cancelled"));
        assert!(stage.full().await.is_clean());
        assert_eq!(stage.states_of_it(), (json!("cancelled"), json!("cancelled")));
    }
}

#[tokio::test]
async fn an_end_that_a_target_does_not_leave_is_reported() {
    let erp = FakeSystem::new("erp").altering(|text| text.replace("paid", "cancelled"));
    let stage = Stage::with(erp, FakeSystem::new("shop"), each_ends()).await;
    stage.shop.put("order", "7", &order("confirmed", true));
    assert!(stage.once().await.is_clean());
    stage.in_erp("status", &json!("cancelled"));
    assert!(stage.full().await.is_clean());
    stage.shop.put("order", "7", &order("paid", true));
    stage.all_ways().await;
    stage.decide_on_it(true).await;
    stage.all_ways().await;
    assert_eq!(stage.states_of_it(), (json!("paid"), json!("cancelled")));
    let differences = stage.store.differences(false, 0).await.unwrap();
    assert_eq!(
        (differences[0].field.as_str(), &differences[0].sent, &differences[0].stored),
        ("status", &json!("paid"), &json!("cancelled"))
    );
}

#[tokio::test]
async fn what_the_erp_reopens_is_asked_about_at_the_shop_and_may_be_reopened_on_both_sides() {
    let stage = Stage::ordered(each_ends(), order("paid", true), "cancelled").await;
    stage.full().await;
    assert_eq!(stage.states_of_it(), (json!("cancelled"), json!("cancelled")));
    stage.in_erp("status", &json!("paid"));
    stage.all_ways().await;
    assert_eq!(stage.states_of_it(), (json!("cancelled"), json!("paid")));
    assert_eq!(stage.tripped().await, ["order_state"]);
    stage.shop.put("order", "7", &order("paid", true));
    assert!(stage.full().await.is_clean());
    assert!(stage.tripped().await.is_empty());
    stage.shop.put("order", "7", &order("cancelled", true));
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.states_of_it(), (json!("cancelled"), json!("cancelled")));
}

#[tokio::test]
async fn a_reopening_that_may_be_sent_to_nobody_is_shown_until_a_person_decides() {
    for (take, becomes) in [("erp", "cancelled"), ("shop", "paid")] {
        let mut owned = both_ways();
        owned[1].owners.insert("order.status".into(), "erp".into());
        for flows in [saying(&["cancelled"], &["paid", "shipped", "cancelled"]), owned] {
            let stage = Stage::ordered(flows, order("paid", true), "cancelled").await;
            stage.full().await;
            assert_eq!(stage.states_of_it().0, "cancelled");
            stage.shop.put("order", "7", &order("paid", true));
            stage.all_ways().await;
            assert_eq!(stage.states_of_it(), (json!("paid"), json!("cancelled")));
            let conflict = stage.store.conflicts(0).await.unwrap().remove(0);
            assert_eq!((conflict.kind, conflict.system.as_str()), (ConflictKind::Drift, "shop"));
            assert_eq!((conflict.field.as_str(), &conflict.base), ("status", &json!("cancelled")));
            stage.decide(&conflict, Decision::Take(take.into())).await;
            stage.all_ways().await;
            assert_eq!(stage.states_of_it(), (json!(becomes), json!("cancelled")), "{take}");
            assert!(stage.store.conflicts(0).await.unwrap().is_empty());
            if take == "shop" {
                stage.shop.put("order", "7", &order("partly_shipped", true));
                stage.all_ways().await;
                assert_eq!(stage.states_of_it(), (json!("partly_shipped"), json!("cancelled")));
                assert!(stage.store.conflicts(0).await.unwrap().is_empty(), "it is decided");
            }
        }
    }
}

#[tokio::test]
async fn of_two_that_meet_at_odds_neither_is_written_before_a_person_decides() {
    for (shop, erp) in [("paid", "cancelled"), ("cancelled", "paid")] {
        for approved in [true, false] {
            let stage = Stage::new(each_ends()).await;
            stage.shop.put("order", "7", &order(shop, true));
            let mut there = order(erp, true);
            there["number"] = json!("1001");
            stage.erp.put("order", "1", &there);
            stage.all_ways().await;
            assert_eq!(stage.states_of_it(), (json!(shop), json!(erp)));
            let tripped = stage.tripped().await;
            assert!(!tripped.is_empty() && tripped.iter().all(|brake| brake == "order_state"), "{tripped:?}");
            stage.decide_on_it(approved).await;
            stage.all_ways().await;
            let (now_shop, now_erp) = stage.states_of_it();
            assert_eq!(now_shop == now_erp, approved, "{shop} {erp}");
        }
    }
}

#[tokio::test]
async fn a_state_that_nobody_knows_goes_with_its_order_and_says_nothing_later() {
    let stage = Stage::ordered(both_ways(), order("packing", true), "paid").await;
    assert_eq!(stage.erp.rows("order").len(), 1);
    stage.in_erp("status", &json!("archived"));
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.states_of_it().0, "packing");
}

#[tokio::test]
async fn an_order_is_made_in_its_state_whoever_owns_it() {
    let stage = Stage::new(both_ways()).await;
    stage.shop.put("order", "7", &order("cancelled", true));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.states_of_it(), (json!("cancelled"), json!("cancelled")), "it ended before the ERP heard of it");
    let stage = Stage::new(both_ways()).await;
    stage.shop.put("order", "7", &order("cancelled", false));
    assert!(stage.once().await.is_clean());
    assert!(stage.erp.rows("order").is_empty(), "it was never paid nor accepted");
}

#[tokio::test]
async fn what_was_erased_at_its_source_is_kept_elsewhere() {
    let stage = Stage::ordered(both_ways(), order("paid", true), "shipped").await;
    let mut erased = order("shipped", true);
    erased["email"] = json!("deleted@site.invalid");
    erased["billing"] = json!({"name": "[deleted]"});
    erased["erased"] = json!(true);
    stage.shop.put("order", "7", &erased);
    assert!(stage.full().await.is_clean());
    let kept = stage.erp.rows("order").remove(0);
    assert_eq!((&kept["email"], &kept["billing"]["name"]), (&json!("ana@example.es"), &json!("Ana Ruiz")));
}

#[tokio::test]
async fn what_its_source_erased_without_a_mark_is_kept_elsewhere_too() {
    let nobody = json!({"country": "ES"});
    for (email, billing) in [
        (Value::Null, Value::Null),
        (json!(""), nobody.clone()),
        (json!("anon@shop.invalid"), nobody.clone()),
        (json!("ana@example.es"), json!({"name": "", "line1": ""})),
        (
            Value::Null,
            json!({"line1": "Calle 1", "phone": "600", "postcode": "28001", "city": "Madrid", "country": "ES"}),
        ),
    ] {
        let stage = Stage::ordered(both_ways(), order("paid", true), "paid").await;
        let mut erased = order("paid", true);
        (erased["email"], erased["billing"]) = (email, billing);
        stage.shop.put("order", "7", &erased);
        assert!(stage.full().await.is_clean());
        let kept = stage.erp.rows("order").remove(0);
        assert_eq!((&kept["email"], &kept["billing"]["name"]), (&json!("ana@example.es"), &json!("Ana Ruiz")));
        let record = stage.store.jobs(&JobFilter::default()).await.unwrap()[0].record;
        let state = crate::sync::preview::desired_state(stage.engine.context(), "order", record).await.unwrap();
        assert_eq!(state.erased, [("shop".to_owned(), "erp".to_owned())].into(), "it is told");
        // Somebody is named again: that is new.
        erased["billing"] = json!({"name": "Eva Gil", "country": "ES"});
        stage.shop.put("order", "7", &erased);
        stage.full().await;
        assert_eq!(stage.erp.rows("order").remove(0)["billing"]["name"], "Eva Gil");
    }
}

#[tokio::test]
async fn an_order_that_never_had_more_than_an_address_gets_another_one() {
    let mut first = order("paid", true);
    first["billing"] = Value::Null;
    let stage = Stage::ordered(both_ways(), first.clone(), "paid").await;
    first["email"] = json!("ana@example.com");
    stage.shop.put("order", "7", &first);
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.erp.rows("order").remove(0)["email"], "ana@example.com");
}

#[tokio::test]
async fn a_line_without_an_article_goes_as_text_or_holds_its_order_back() {
    let gift = json!({"number": "1001", "status": "paid", "lines": [{"line": "1", "name": "Gift card", "quantity": "1", "unit_price": "25"}]});
    let stage = Stage::new(both_ways()).await;
    stage.shop.put("order", "7", &gift);
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.erp.rows("order")[0]["lines"][0]["name"], "Gift card");

    let mut flows = both_ways();
    flows[0].held_without_article.insert("order".into());
    let stage = Stage::new(flows).await;
    stage.shop.put("order", "7", &gift);
    stage.once().await;
    let jobs = stage.store.jobs(&JobFilter::default()).await.unwrap();
    let job = jobs.into_iter().find(|job| job.target == "erp" && job.entity == "order").unwrap();
    assert_eq!((job.state, job.cause.clone()), (JobState::Parked, waits("article:order=1001")));
    assert!(job.error.unwrap().contains("lines[0]"));
}

#[tokio::test]
async fn what_is_known_of_persons_and_becomes_empty_in_bulk_is_held() {
    let numbered = |number: usize| {
        let mut order = order("paid", true);
        order["number"] = json!(number.to_string());
        order
    };
    let stage = Stage::new(both_ways()).await;
    for number in 0..8 {
        stage.shop.put("order", &number.to_string(), &numbered(number));
    }
    assert!(stage.once().await.is_clean());
    for number in 0..8 {
        let mut emptied = numbered(number);
        emptied["email"] = json!("");
        stage.shop.put("order", &number.to_string(), &emptied);
    }
    stage.once().await;
    assert_eq!(stage.tripped().await, ["emptied"]);
    assert!(stage.erp.rows("order").iter().all(|order| order["email"] == "ana@example.es"));
    for number in 0..8 {
        let mut homeless = numbered(number);
        homeless["billing"]["line1"] = json!("");
        stage.shop.put("order", &number.to_string(), &homeless);
    }
    stage.once().await;
    assert_eq!(stage.tripped().await, ["emptied"], "of the e-mail or of a street alone");
    assert!(stage.erp.rows("order").iter().all(|order| order["billing"]["line1"] == "Calle Mayor 1"));
}
