//! Promise 4: no disaster, and a person decides what is one.
//!
//! One file, because all brakes share their catalog.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{DeletePolicy, FakeSystem, Flow, Stage, flow, hammer, waits};
use crate::{
    port::{RowBody, SourceRow},
    store::NewRun,
    store::{Job, JobFilter, JobState, RunId, RunKind, WaitingApproval},
    sync::{
        brakes,
        context::PullContext,
        delivery,
        engine::PassSummary,
        routing::{Brake, Brakes, Scope},
    },
};

fn price(sku: &str, amount: &str) -> Value {
    json!({"code": format!("web/{sku}"), "list": "web", "sku": sku, "amount": amount, "currency": "EUR", "tax_included": true})
}

fn article(number: usize) -> Value {
    json!({"sku": format!("A-{number}"), "name": {"es": format!("Artículo {number}"), "en": format!("Article {number}")}, "active": true})
}

fn customer(number: usize, email: &str) -> Value {
    json!({"code": format!("C-{number}"), "kind": "person", "name": "Ana", "email": email})
}

fn deleting() -> Flow {
    let mut catalog = flow("catalog", "erp", "shop", &["product"]);
    catalog.on_delete.insert("*".into(), DeletePolicy::Delete);
    catalog
}

impl Stage {
    /// A shop that has what the ERP has: so many objects made by `make`.
    async fn holding(flow: Flow, count: usize, make: impl Fn(usize) -> Value) -> Self {
        let entity = flow.entities[0].clone();
        let stage = Self::new(vec![flow]).await;
        for number in 0..count {
            stage.erp.put(&entity, &number.to_string(), &make(number));
        }
        let summary = stage.once().await;
        assert!(summary.is_clean() && summary.held.is_empty(), "an initial sync trips nothing: {summary:?}");
        stage
    }

    async fn articles(count: usize) -> Self {
        Self::holding(flow("catalog", "erp", "shop", &["product"]), count, article).await
    }

    /// A shop with two prices.
    async fn prices() -> Self {
        let price = |number| if number == 0 { price("H-1", "10") } else { price("S-1", "20") };
        Self::holding(flow("prices", "erp", "shop", &["price"]), 2, price).await
    }

    fn amount(&self, sku: &str) -> String {
        self.value("price", "sku", sku, "amount").as_str().unwrap_or_default().to_owned()
    }

    fn value(&self, entity: &str, key_field: &str, key: &str, field: &str) -> Value {
        let row = self.shop.rows(entity).into_iter().find(|row| row[key_field] == key);
        row.map_or(Value::Null, |row| row[field].clone())
    }

    /// Articles that the shop shows.
    fn shown(&self) -> usize {
        self.shop.rows("product").iter().filter(|row| row["active"] == true).count()
    }

    async fn approval(&self) -> WaitingApproval {
        let mut open = self.store.waiting_approvals().await.unwrap();
        assert_eq!(open.len(), 1, "one approval: {open:?}");
        open.remove(0)
    }

    pub(super) async fn decide_on_it(&self, approved: bool) -> PassSummary {
        let approval = self.approval().await;
        let jobs = self.store.decide_run(approval.run, approved, self.engine.context().env.now()).await.unwrap();
        assert_eq!(jobs, Some(approval.jobs));
        self.once().await
    }

    async fn open_jobs(&self) -> Vec<Job> {
        let states = vec![JobState::Queued, JobState::Running, JobState::Parked, JobState::Dead];
        self.store.jobs(&JobFilter { states, ..JobFilter::default() }).await.unwrap()
    }

    /// A page that a run has committed before the daemon was killed; `gone` as it had announced.
    async fn cut_off(&self, entity: &str, rows: &[Value], lost: &[&str], gone: u64) -> RunId {
        let context = self.engine.context();
        let (system, mapping) =
            (context.systems["erp"].as_ref(), &context.mappings[&("erp".to_owned(), entity.to_owned())]);
        let now = context.env.now();
        let run = self.store.begin_run(NewRun::new("erp", entity, RunKind::Full, "test"), now).await.unwrap();
        let reading = PullContext { context, system, mapping: mapping.as_ref(), entity, run, remapped: false };
        let rows: Vec<SourceRow> = rows
            .iter()
            .map(|row| SourceRow {
                position: "row".into(),
                id: row["id"].as_str().unwrap().into(),
                version: None,
                body: RowBody::Json(row.clone()),
            })
            .collect();
        let counter = self.store.counter().await.unwrap();
        let mut commit = reading.detect(&rows, &[], counter).await.unwrap().commit;
        let lost: Vec<String> = lost.iter().map(|&id| id.to_owned()).collect();
        for replica in self.store.replicas_by_id("erp", entity, &lost).await.unwrap() {
            let jobs = reading.jobs_for(replica.record, &replica.fields, &serde_json::Map::new(), true);
            commit.jobs.extend(jobs);
            let write = crate::store::ReplicaWrite { gone: true, fingerprint: None, ..replica.into() };
            commit.replicas.push(write);
        }
        commit.balance.gone = gone;
        self.store.commit_page(commit, now).await.unwrap();
        run
    }
}

fn with_id(id: &str, row: Value) -> Value {
    let mut row = row;
    row["id"] = id.into();
    row
}

#[tokio::test]
async fn a_price_typo_is_held_and_the_rest_of_its_run_goes_on() {
    let stage = Stage::prices().await;
    stage.erp.put("price", "0", &price("H-1", "1"));
    stage.erp.put("price", "1", &price("S-1", "20.6"));
    let summary = stage.once().await;
    assert_eq!((stage.amount("H-1").as_str(), stage.amount("S-1").as_str()), ("10", "20.6"));
    let approval = stage.approval().await;
    assert!(!summary.is_clean());
    assert_eq!((summary.held.as_slice(), approval.jobs), ([approval.run].as_slice(), 1));
    let trip = &approval.trips[0];
    assert_eq!((trip.brake.as_str(), trip.target.as_str(), trip.violations), ("price_change", "shop", 1));
    let example = &trip.examples[0];
    assert_eq!((example.key.as_str(), example.field.as_str()), ("web/H-1", "amount"));
    assert_eq!((&example.before, &example.after), (&json!("10"), &json!("1")));
    let job = &stage.open_jobs().await[0];
    assert_eq!(job.cause, waits(format!("brake:run-{}", approval.run).as_str()));
    assert!(job.error.as_deref().unwrap().contains(&format!("vaiven reject {}", approval.run)), "{job:?}");
}

#[tokio::test]
async fn a_rejected_price_does_not_come_back_and_comes_alive_when_the_source_changes_it_again() {
    let stage = Stage::prices().await;
    stage.erp.put("price", "0", &price("H-1", "1"));
    stage.once().await;
    let summary = stage.decide_on_it(false).await;
    assert!(summary.is_clean(), "{summary:?}");
    assert!(stage.full().await.is_clean() && stage.full().await.is_clean());
    assert_eq!(stage.amount("H-1"), "10", "nor by a full pull");

    let mut regrouped = price("H-1", "1");
    regrouped["group"] = "retail".into();
    stage.erp.put("price", "0", &regrouped);
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.value("price", "sku", "H-1", "group"), "retail", "other fields go on");
    assert_eq!(stage.amount("H-1"), "10", "nor with another field");

    stage.erp.put("price", "0", &price("H-1", "10.9"));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.amount("H-1"), "10.9");
}

#[tokio::test]
async fn a_target_that_is_sent_whole_objects_is_not_sent_what_was_rejected() {
    let shop = FakeSystem::new("shop").with_capabilities(|capabilities| capabilities.replaces = true);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("prices", "erp", "shop", &["price"])]).await;
    stage.erp.put("price", "0", &price("H-1", "10"));
    stage.once().await;
    stage.erp.put("price", "0", &price("H-1", "1"));
    stage.once().await;
    stage.decide_on_it(false).await;
    let mut regrouped = price("H-1", "1");
    regrouped["group"] = "retail".into();
    stage.erp.put("price", "0", &regrouped);
    assert!(stage.once().await.is_clean());
    assert_eq!((stage.value("price", "sku", "H-1", "group"), stage.amount("H-1")), (json!("retail"), "10".to_owned()));
}

#[tokio::test]
async fn what_was_rejected_once_is_asked_for_again_when_the_source_takes_it_back_and_wants_it_anew() {
    let stage = Stage::prices().await;
    stage.erp.put("price", "0", &price("H-1", "1"));
    stage.once().await;
    stage.decide_on_it(false).await;
    stage.erp.put("price", "0", &price("H-1", "10"));
    assert!(stage.once().await.is_clean());
    stage.erp.put("price", "0", &price("H-1", "1"));
    stage.once().await;
    assert_eq!((stage.approval().await.jobs, stage.amount("H-1").as_str()), (1, "10"));
}

#[tokio::test]
async fn what_is_approved_goes_out() {
    let stage = Stage::prices().await;
    stage.erp.put("price", "0", &price("H-1", "1"));
    stage.once().await;
    assert!(stage.decide_on_it(true).await.is_clean());
    assert_eq!(stage.amount("H-1"), "1");
    assert!(stage.store.waiting_approvals().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_corrected_value_goes_out_at_once_and_leaves_nothing_to_decide() {
    let stage = Stage::prices().await;
    stage.erp.put("price", "0", &price("H-1", "1"));
    stage.once().await;
    stage.erp.put("price", "0", &price("H-1", "10.2"));
    let summary = stage.once().await;
    assert!(summary.is_clean() && summary.held.is_empty(), "{summary:?}");
    assert_eq!(stage.amount("H-1"), "10.2");
}

#[tokio::test]
async fn an_emptied_catalog_takes_nothing_away() {
    for policy in [DeletePolicy::Unpublish, DeletePolicy::Delete] {
        let mut catalog = deleting();
        catalog.on_delete.insert("*".into(), policy);
        let stage = Stage::holding(catalog, 20, article).await;
        for number in 1..20 {
            stage.erp.remove("product", &number.to_string());
        }
        stage.full().await;
        assert_eq!(stage.shown(), 20, "{policy:?}");
        let approval = stage.approval().await;
        let trip = &approval.trips[0];
        assert_eq!((approval.jobs, trip.brake.as_str(), trip.violations, trip.base), (19, "delete", 19, 20));
        assert_eq!((trip.allowed.as_str(), trip.examples.len()), ("5%", 5));
        stage.full().await;
        assert_eq!((stage.shown(), stage.approval().await), (20, approval), "a second pull asks for nothing more");
    }
}

#[tokio::test]
async fn rejected_deletions_stay_away_until_the_record_comes_back_and_is_deleted_again() {
    let stage = Stage::holding(deleting(), 10, article).await;
    for number in 1..10 {
        stage.erp.remove("product", &number.to_string());
    }
    stage.full().await;
    assert!(stage.decide_on_it(false).await.is_clean());
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 10);

    stage.erp.put("product", "7", &article(7));
    assert!(stage.full().await.is_clean());
    stage.erp.remove("product", "7");
    assert!(stage.full().await.is_clean(), "one alone trips nothing");
    assert_eq!(stage.shop.rows("product").len(), 9);
}

#[tokio::test]
async fn approved_deletions_go() {
    let stage = Stage::holding(deleting(), 10, article).await;
    for number in 1..10 {
        stage.erp.remove("product", &number.to_string());
    }
    stage.full().await;
    assert!(stage.decide_on_it(true).await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 1);
}

#[tokio::test]
async fn what_the_source_hides_or_a_filter_keeps_away_counts_as_taken_away() {
    let mut filtered = flow("catalog", "erp", "shop", &["product"]);
    let place = crate::load::Place::start(&crate::load::SourceFile::new("test", ""));
    let known = crate::expr::KnownNames::of(BTreeSet::from(["brand".to_owned()]));
    filtered.filters.insert("*".into(), crate::expr::Expr::compile("brand != \"none\"", &place, &known).unwrap());
    let hide: fn(&mut Value) = |row| row["active"] = false.into();
    let filter: fn(&mut Value) = |row| row["brand"] = "none".into();
    for (flow, change) in [(flow("catalog", "erp", "shop", &["product"]), hide), (filtered, filter)] {
        let stage = Stage::holding(flow, 20, article).await;
        for number in 0..10 {
            let mut row = article(number);
            change(&mut row);
            stage.erp.put("product", &number.to_string(), &row);
        }
        stage.once().await;
        assert_eq!((stage.shown(), stage.approval().await.trips[0].violations), (20, 10));
    }
}

#[tokio::test]
async fn few_records_of_a_small_catalog_trip_no_share() {
    let stage = Stage::articles(3).await;
    stage.erp.remove("product", "0");
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.shown(), 2);
}

#[tokio::test]
async fn within_its_share_a_run_takes_away_what_it_wants() {
    let stage = Stage::articles(100).await;
    for number in 0..5 {
        stage.erp.remove("product", &number.to_string());
    }
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.shown(), 95);
}

#[tokio::test]
async fn a_price_of_zero_is_held_but_one_that_always_was_zero_is_not() {
    let stage = Stage::prices().await;
    stage.erp.put("price", "2", &price("FREE", "0"));
    assert!(stage.once().await.is_clean(), "a new price of zero");
    stage.erp.put("price", "0", &price("H-1", "0"));
    stage.erp.put("price", "2", &price("FREE", "3"));
    stage.once().await;
    assert_eq!((stage.amount("H-1").as_str(), stage.amount("FREE").as_str()), ("10", "3"));
    assert_eq!(stage.approval().await.trips[0].brake, "zero_price");
}

#[tokio::test]
async fn another_currency_is_no_small_change() {
    let stage = Stage::prices().await;
    let mut dollars = price("H-1", "10");
    dollars["currency"] = "USD".into();
    stage.erp.put("price", "0", &dollars);
    stage.once().await;
    assert_eq!(stage.approval().await.trips[0].examples[0].field, "currency");
    stage.decide_on_it(false).await;
    assert_eq!(stage.value("price", "sku", "H-1", "currency"), "EUR");
}

#[tokio::test]
async fn stock_that_goes_to_zero_everywhere_is_held() {
    let stock = |quantity: usize| move |number| json!({"sku": format!("A-{number}"), "quantity": quantity.to_string()});
    let stage = Stage::holding(flow("stock", "erp", "shop", &["stock"]), 10, stock(7)).await;
    for number in 0..10 {
        stage.erp.put("stock", &number.to_string(), &stock(0)(number));
    }
    stage.once().await;
    assert!(stage.shop.rows("stock").iter().all(|row| row["quantity"] == "7"));
    assert_eq!(stage.approval().await.trips[0].brake, "zero_stock");
    // Counted again, all but two are there.
    for number in 2..10 {
        stage.erp.put("stock", &number.to_string(), &stock(5)(number));
    }
    stage.once().await;
    assert_eq!(stage.value("stock", "sku", "A-9", "quantity"), "5");
    assert_eq!(stage.approval().await.jobs, 2, "what was held together is decided together");
}

#[tokio::test]
async fn emptied_names_are_held_also_those_of_one_language() {
    let stage = Stage::articles(10).await;
    for number in 0..4 {
        let mut row = article(number);
        row["name"].as_object_mut().unwrap().remove("en");
        stage.erp.put("product", &number.to_string(), &row);
    }
    for number in 4..8 {
        let mut row = article(number);
        row["name"] = Value::Null;
        row["brand"] = "Bahco".into();
        stage.erp.put("product", &number.to_string(), &row);
    }
    stage.once().await;
    assert!(stage.shop.rows("product").iter().all(|row| row["name"]["en"].is_string()));
    let approval = stage.approval().await;
    assert_eq!((approval.trips[0].brake.as_str(), approval.trips[0].violations), ("emptied", 8));
    assert!(stage.decide_on_it(false).await.is_clean());
    assert_eq!(stage.value("product", "sku", "A-5", "brand"), "Bahco", "the rest of the record goes on");
    assert!(stage.shop.rows("product").iter().all(|row| row["name"]["en"].is_string()));
}

#[tokio::test]
async fn customers_whose_address_changes_in_bulk_are_held_and_no_address_is_shown() {
    let crm = flow("crm", "erp", "shop", &["customer"]);
    let stage = Stage::holding(crm, 10, |number| customer(number, &format!("c{number}@example.com"))).await;
    for number in 0..10 {
        stage.erp.put("customer", &number.to_string(), &customer(number, "shop@example.com"));
    }
    stage.once().await;
    assert_eq!(stage.value("customer", "code", "C-3", "email"), "c3@example.com");
    let approval = stage.approval().await;
    assert_eq!(approval.trips[0].brake, "email_change");
    let printed = serde_json::to_string(&approval).unwrap();
    assert!(printed.contains("C-3") && !printed.contains('@'), "{printed}");
}

#[tokio::test]
async fn orders_that_end_in_bulk_are_held_before_anybody_is_paid_back() {
    let order = |number: usize| {
        json!({
            "number": format!("{number}"), "status": "shipped", "placed_at": "2026-11-20T10:00:00Z", "currency": "EUR",
            "tax_included": true, "guest": true,
        })
    };
    let account = flow("account", "erp", "shop", &["order"]);
    let stage = Stage::holding(account, 30, order).await;
    let end = |numbers: std::ops::Range<usize>, field: &str, end: &str| {
        for number in numbers {
            let mut row = order(number);
            row[field] = end.into();
            stage.erp.put("order", &number.to_string(), &row);
        }
    };
    end(0..20, "status", "cancelled");
    assert!(stage.once().await.is_clean(), "twenty are a bad day");
    // A cancelled one that is paid back counts again.
    end(0..21, "closed", "refunded");
    stage.once().await;
    let approval = stage.approval().await;
    assert_eq!((approval.trips[0].brake.as_str(), approval.trips[0].violations), ("order_end", 21));
    assert_eq!(stage.value("order", "number", "7", "closed"), Value::Null);
    assert!(stage.decide_on_it(true).await.is_clean());
    assert_eq!(stage.value("order", "number", "20", "closed"), "refunded");
}

#[tokio::test]
async fn another_opening_of_a_held_job_does_not_let_it_slip_through() {
    let stage = Stage::articles(20).await;
    for number in 0..10 {
        let mut row = article(number);
        row["active"] = false.into();
        stage.erp.put("product", &number.to_string(), &row);
    }
    stage.once().await;
    let before = stage.approval().await;
    let mut renamed = article(3);
    (renamed["active"], renamed["brand"]) = (false.into(), "Bahco".into());
    stage.erp.put("product", "3", &renamed);
    let summary = stage.once().await;
    assert_eq!((stage.shown(), stage.approval().await), (20, before));
    assert_eq!(summary.delivered.written, 0);
}

#[tokio::test]
async fn a_resync_of_one_key_needs_no_approval() {
    let stage = Stage::prices().await;
    stage.erp.put("price", "0", &price("H-1", "1"));
    let scope: Scope = "prices/price/web/H-1".parse().unwrap();
    let summary = stage.engine.once(Some(&scope), RunKind::Delta, &CancellationToken::new()).await.unwrap();
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(stage.amount("H-1"), "1");
}

#[tokio::test]
async fn brakes_that_are_off_hold_nothing() {
    let mut catalog = deleting();
    catalog.brakes = Brakes::off();
    let stage = Stage::holding(catalog, 10, article).await;
    for number in 1..10 {
        stage.erp.remove("product", &number.to_string());
    }
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 1);
    let mut prices = flow("prices", "erp", "shop", &["price"]);
    prices.brakes.allowed.remove(&Brake::PriceChange);
    let stage = Stage::holding(prices, 1, |_| price("H-1", "10")).await;
    stage.erp.put("price", "0", &price("H-1", "1"));
    assert!(stage.once().await.is_clean());
}

#[tokio::test]
async fn a_run_that_was_killed_before_its_approval_is_evaluated_at_the_next_start() {
    let stage = Stage::prices().await;
    stage.erp.put("price", "0", &price("H-1", "1"));
    stage.erp.put("price", "1", &price("S-1", "20.6"));
    let rows = [with_id("0", price("H-1", "1")), with_id("1", price("S-1", "20.6"))];
    let run = stage.cut_off("price", &rows, &[], 0).await;
    let summary = stage.once().await;
    assert_eq!((stage.amount("H-1").as_str(), stage.amount("S-1").as_str()), ("10", "20.6"));
    assert_eq!(summary.held, [run]);
    assert!(stage.decide_on_it(true).await.is_clean());
}

#[tokio::test]
async fn a_run_that_was_killed_while_declaring_a_catalog_gone_lets_no_part_of_it_go() {
    let stage = Stage::holding(deleting(), 100, article).await;
    for number in 0..60 {
        stage.erp.remove("product", &number.to_string());
    }
    // Four of a hundred alone would be within the share.
    let cut_off = stage.cut_off("product", &[], &["0", "1", "2", "3"], 60).await;
    let summary = stage.full().await;
    assert_eq!(stage.shop.rows("product").len(), 100);
    assert!(summary.held.contains(&cut_off) && summary.held.len() == 2, "{:?}", summary.held);
}

#[tokio::test]
async fn while_a_run_is_under_way_jobs_that_violate_a_brake_wait_for_its_end_and_the_others_do_not() {
    let stage = Stage::prices().await;
    let rows = [with_id("0", price("H-1", "1")), with_id("1", price("S-1", "20.6"))];
    let run = stage.cut_off("price", &rows, &[], 0).await;
    let (context, stop) = (stage.engine.context(), CancellationToken::new());
    let seen = async {
        while stage.open_jobs().await.iter().any(|job| job.state != JobState::Parked) {
            context.env.sleep(context.limits.poll).await;
        }
        stop.cancel();
    };
    let (worked, ()) = tokio::join!(delivery::work(context, "shop", &[], 0, &stop), seen);
    worked.unwrap();
    assert_eq!((stage.amount("H-1").as_str(), stage.amount("S-1").as_str()), ("10", "20.6"));
    let job = &stage.open_jobs().await[0];
    assert_eq!(job.cause, waits(format!("run:{run}").as_str()));
    brakes::evaluate_run(context, run, None).await.unwrap();
    assert_eq!(stage.approval().await.run, run);
}

#[tokio::test]
async fn during_the_grace_a_record_that_was_missed_once_stays_and_may_come_back() {
    let mut catalog = deleting();
    catalog.grace = Duration::from_secs(24 * 3600);
    let stage = Stage::holding(catalog, 3, article).await;
    stage.erp.remove("product", "1");
    stage.full().await;
    assert_eq!(stage.shop.rows("product").len(), 3);
    let job = &stage.open_jobs().await[0];
    assert_eq!((job.state, job.attempts), (JobState::Queued, 0));
    assert!(job.due - job.created_at > TimeDelta::hours(23), "{job:?}");
    assert_eq!(stage.store.backlog().await.unwrap()[0].oldest, Some(job.due), "what waits for its time is not late");
    stage.erp.put("product", "1", &article(1));
    let summary = stage.full().await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(summary.delivered.written, 0);
}

#[tokio::test]
async fn after_the_grace_what_was_missed_goes() {
    let mut catalog = deleting();
    catalog.grace = Duration::from_secs(60);
    let stage = Stage::holding(catalog, 3, article).await;
    stage.erp.remove("product", "1");
    let before = stage.engine.context().env.now();
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 2);
    assert!(stage.engine.context().env.now() - before >= TimeDelta::seconds(60));
}

#[tokio::test]
async fn an_emptied_catalog_is_held_at_once_whatever_the_grace() {
    let mut catalog = deleting();
    catalog.grace = Duration::from_secs(24 * 3600);
    let stage = Stage::holding(catalog, 10, article).await;
    for number in 1..10 {
        stage.erp.remove("product", &number.to_string());
    }
    stage.full().await;
    assert_eq!(stage.approval().await.jobs, 9);
    stage.decide_on_it(true).await;
    assert_eq!(stage.shop.rows("product").len(), 10, "approved, it still has its grace");
    assert!(stage.open_jobs().await.iter().all(|job| job.state == JobState::Queued));
}

#[tokio::test]
async fn a_record_deleted_on_one_side_never_rises_again_from_the_other() {
    for policy in [DeletePolicy::Ignore, DeletePolicy::Unpublish] {
        let mut out = flow("catalog", "erp", "shop", &["product"]);
        out.on_delete.insert("*".into(), policy);
        let stage = Stage::new(vec![out, flow("back", "shop", "erp", &["product"])]).await;
        stage.erp.put("product", "1", &hammer());
        stage.erp.put("product", "2", &article(2));
        assert!(stage.full().await.is_clean());
        stage.erp.remove("product", "1");
        stage.full().await;
        // The shop goes on editing what the ERP has given up.
        let row = stage.shop.rows("product").into_iter().find(|row| row["sku"] == "H-1").unwrap();
        let mut edited = row.clone();
        edited["brand"] = "Bahco".into();
        stage.shop.put("product", row["id"].as_str().unwrap(), &edited);
        for _ in 0..2 {
            stage.full().await;
        }
        assert_eq!(stage.erp.rows("product").len(), 1, "{policy:?}");
        let active = &stage.value("product", "sku", "H-1", "active");
        assert_eq!(active, &json!(policy == DeletePolicy::Ignore), "{policy:?}");
    }
}
