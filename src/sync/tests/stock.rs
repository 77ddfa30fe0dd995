//! Nothing is sold twice, and nothing is kept from sale for ever.
//!
//! One file, because all promises share the shops, their orders and the figures.

use rust_decimal::Decimal;

use super::*;
use crate::{
    store::NewJob,
    sync::{routing::StockRule, stock::reservations},
};

/// Orders go to the ERP, stock comes from it.
pub(super) fn both_ways(rule: StockRule) -> Vec<Flow> {
    let mut stock = flow("stock", "erp", "shop", &["stock"]);
    stock.stock = rule;
    vec![flow("sales", "shop", "erp", &["order"]), stock]
}

pub(super) fn order(number: &str, status: &str, lines: &[(&str, &str)]) -> Value {
    let lines: Vec<Value> = lines
        .iter()
        .enumerate()
        .map(|(at, (sku, quantity))| json!({"line": at.to_string(), "sku": sku, "quantity": quantity, "unit_price": "1"}))
        .collect();
    json!({"number": number, "status": status, "lines": lines})
}

impl Stage {
    /// The ERP has six of A, and the shop shows them.
    async fn selling(rule: StockRule) -> Self {
        Self::six(FakeSystem::new("erp"), rule).await
    }

    async fn six(erp: FakeSystem, rule: StockRule) -> Self {
        let stage = Self::with(erp, FakeSystem::new("shop"), both_ways(rule)).await;
        stage.count("A", "6");
        let summary = stage.once().await;
        assert!(summary.is_clean(), "{summary:?}");
        stage
    }

    fn count(&self, sku: &str, quantity: &str) {
        self.erp.put("stock", sku, &json!({"sku": sku, "quantity": quantity}));
    }

    fn offered(&self, sku: &str) -> Value {
        let rows = self.shop.rows("stock");
        rows.iter().find(|row| row["sku"] == sku).map_or(Value::Null, |row| row["quantity"].clone())
    }

    async fn read(&self, system: &str, entity: &str) {
        let stop = CancellationToken::new();
        let report = self.engine.pull(NewRun::new(system, entity, RunKind::Delta, "test"), &stop).await.unwrap();
        assert!(report.is_green() && report.run.is_some(), "{report:?}");
    }

    /// Delivers what is queued and reads nothing by itself.
    async fn deliver_queued(&self) {
        let scope: Scope = "none".parse().unwrap();
        self.engine.once(Some(&scope), RunKind::Delta, &CancellationToken::new()).await.unwrap();
    }

    /// Looks at an article of the shop again, though nothing of it changed.
    async fn look_again(&self, sku: &str) {
        let record = self.store.record("stock", sku).await.unwrap().unwrap();
        let job = NewJob { target: "shop".into(), entity: "stock".into(), record, priority: 1, due: None };
        self.store.enqueue(&[job], self.engine.context().env.now()).await.unwrap();
        self.deliver_queued().await;
    }

    async fn priorities(&self) -> BTreeMap<String, i16> {
        let open = JobFilter { states: vec![JobState::Queued], target: Some("shop".into()), ..JobFilter::default() };
        let jobs = self.store.jobs(&open).await.unwrap();
        let keys = self.store.keys(&jobs.iter().map(|job| job.record).collect::<Vec<_>>()).await.unwrap();
        jobs.into_iter().map(|job| (keys[&job.record].1.clone(), job.priority)).collect()
    }
}

#[tokio::test]
async fn nothing_is_oversold_when_an_order_arrives_between_the_erps_change_and_our_write() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.count("A", "9");
    stage.read("erp", "stock").await;
    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "7");
    assert_eq!(stage.erp.rows("order").len(), 1, "what was read on the way goes on to the ERP");
}

#[tokio::test]
async fn an_order_is_reserved_until_the_erp_has_it_and_its_stock_was_read_after_that() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.count("A", "9");
    stage.read("erp", "stock").await;
    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    stage.deliver_queued().await;
    stage.look_again("A").await;
    assert_eq!(stage.offered("A"), "7", "the ERP has the order, but the figure of nine was read before");
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "9", "nine now knows of the order");
    let before = stage.shop.written();
    stage.once().await;
    assert_eq!(stage.shop.written(), before, "and nothing is written again");
}

#[tokio::test]
async fn an_order_that_the_erp_has_already_is_not_taken_off_again_while_a_change_of_it_is_sent() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    stage.once().await;
    stage.once().await;
    let id = stage.shop.rows("order")[0]["id"].as_str().unwrap().to_owned();
    for (sold, reserved) in [("2", "0"), ("3", "1")] {
        stage.shop.put("order", &id, &order("1001", "shipped", &[("A", sold)]));
        stage.read("shop", "order").await;
        let open = JobFilter { states: vec![JobState::Queued], target: Some("erp".into()), ..JobFilter::default() };
        assert_eq!(stage.store.jobs(&open).await.unwrap().len(), 1, "the ERP is still to be told");
        let ledger = reservations::Ledger::of(stage.engine.context(), "shop").await.unwrap().unwrap();
        assert_eq!(ledger.for_flow("stock", "A").to_string(), reserved, "of {sold}");
    }
}

#[tokio::test]
async fn a_new_state_beside_systems_that_agree_takes_off_no_order_that_the_erp_has_already() {
    let mut flows = both_ways(StockRule::default());
    flows.reverse();
    let stage = Stage::with(FakeSystem::new("erp"), FakeSystem::new("shop"), flows).await;
    stage.count("A", "6");
    stage.shop.put("stock", "1", &json!({"sku": "A", "quantity": "6"}));
    stage.erp.put("order", "77", &order("1001", "paid", &[("A", "2")]));
    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    let summary = stage.once().await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!((stage.offered("A"), stage.shop.written(), stage.erp.written()), (json!("6"), 0, 0));
    stage.shop.put("order", "2", &order("1002", "paid", &[("A", "1")]));
    stage.read("shop", "order").await;
    stage.look_again("A").await;
    assert_eq!(stage.offered("A"), "5", "one that the ERP has not is taken off");
}

#[tokio::test]
async fn the_figure_is_given_back_though_it_is_the_one_the_shop_was_sent_last() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    // The shop takes its own sale off; the ERP gets as many in.
    let id = stage.shop.rows("stock")[0]["id"].as_str().unwrap().to_owned();
    stage.shop.put("stock", &id, &json!({"sku": "A", "quantity": "4"}));
    stage.read("shop", "order").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "4");
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "6");
}

#[tokio::test]
async fn a_file_proves_only_what_its_source_knew_when_it_was_not_there_yet() {
    let erp = FakeSystem::new("erp").with_capabilities(|capabilities| capabilities.handed = true);
    let stage = Stage::six(erp, StockRule::default()).await;
    let file = |mark| stage.erp.state.lock().unwrap().new_file = Some(mark);
    stage.count("A", "9");
    stage.read("erp", "stock").await;
    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "7");
    // May have been made before the order arrived.
    file("2");
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "7");
    // The old file once more.
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "7");
    file("3");
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "9");
}

#[tokio::test]
async fn an_order_the_erp_refuses_keeps_its_goods_until_it_is_cancelled() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.erp.fault(Fault::Fail(Class::Rejected, "no such customer"));
    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    stage.count("A", "9");
    stage.once().await;
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!((stage.offered("A"), stage.states().await), (json!("7"), vec![JobState::Dead]));
    stage.shop.put("order", "1", &order("1001", "cancelled", &[("A", "2")]));
    stage.read("shop", "order").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "9");
}

impl Stage {
    /// The shop has sold two of six, and both sides know it. What the ERP does with orders goes to the shop.
    async fn sold_two() -> Self {
        let mut account = flow("account", "erp", "shop", &["order"]);
        account.fields.insert("order".into(), ["status".to_owned()].into());
        account.owners.insert("order.status".into(), "erp".into());
        let mut flows = both_ways(StockRule::default());
        flows.push(account);
        let stage = Self::with(FakeSystem::new("erp"), FakeSystem::new("shop"), flows).await;
        stage.count("A", "6");
        stage.once().await;
        stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
        stage.once().await;
        stage.count("A", "4");
        stage.once().await;
        stage.once().await;
        assert_eq!(stage.offered("A"), "4");
        stage
    }

    fn cancel(&self, host: &FakeSystem) {
        let id = host.rows("order")[0]["id"].as_str().unwrap().to_owned();
        host.put("order", &id, &order("1001", "cancelled", &[("A", "2")]));
    }
}

#[tokio::test]
async fn a_shop_that_receives_a_cancellation_puts_the_goods_back_by_itself_and_is_sent_its_figure_once_more() {
    let stage = Stage::sold_two().await;
    // The figure arrives before the word that makes the shop add to it.
    stage.count("A", "6");
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    stage.cancel(&stage.erp);
    stage.read("erp", "order").await;
    let before = stage.shop.written();
    stage.deliver_queued().await;
    assert_eq!((stage.shop.rows("order")[0]["status"].clone(), stage.offered("A")), (json!("cancelled"), json!("6")));
    assert_eq!(stage.shop.written() - before, 2, "the state, and the figure though it is the one that was sent last");
    stage.look_again("A").await;
    assert_eq!(stage.shop.written() - before, 2, "once");
}

#[tokio::test]
async fn an_order_whose_payment_failed_keeps_its_goods_for_as_long_as_the_shop_does() {
    let failed = |held: bool| {
        let mut order = order("1001", "failed", &[("A", "2")]);
        order["goods_held"] = held.into();
        order
    };
    let stage = Stage::selling(StockRule::default()).await;
    stage.shop.put("order", "1", &failed(true));
    stage.count("A", "9");
    stage.once().await;
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!((stage.offered("A"), stage.erp.rows("order").len()), (json!("7"), 0));
    stage.shop.put("order", "1", &failed(false));
    stage.read("shop", "order").await;
    stage.deliver_queued().await;
    assert_eq!((stage.offered("A"), stage.erp.rows("order").len()), (json!("9"), 0));
}

#[tokio::test]
async fn what_a_shop_reopens_keeps_its_goods_though_the_source_of_the_stock_has_it_cancelled() {
    let stage = Stage::sold_two().await;
    stage.cancel(&stage.erp);
    stage.count("A", "6");
    for _ in 0..3 {
        stage.once().await;
    }
    let id = stage.shop.rows("order")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((stage.shop.rows("order")[0]["status"].clone(), stage.offered("A")), (json!("cancelled"), json!("6")));
    // The shop takes the goods off again by itself; the ERP is not told, and a person is asked.
    stage.shop.put("order", &id, &order("1001", "paid", &[("A", "2")]));
    let id = stage.shop.rows("stock")[0]["id"].as_str().unwrap().to_owned();
    stage.shop.put("stock", &id, &json!({"sku": "A", "quantity": "4"}));
    stage.read("shop", "order").await;
    stage.deliver_queued().await;
    stage.count("A", "7");
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!(stage.erp.rows("order")[0]["status"], "cancelled");
    assert_eq!(stage.offered("A"), "5", "two of seven are sold");
}

#[tokio::test]
async fn a_shop_where_somebody_cancels_puts_the_goods_back_by_itself_and_is_sent_the_sources_figure() {
    let stage = Stage::sold_two().await;
    stage.cancel(&stage.shop);
    let mut row = stage.shop.rows("stock").remove(0);
    row["quantity"] = "6".into();
    let id = row["id"].as_str().unwrap().to_owned();
    stage.shop.put("stock", &id, &row);
    stage.read("shop", "order").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "4", "until the ERP says otherwise");
}

#[tokio::test]
async fn goods_whose_money_was_paid_back_are_reserved_until_the_erp_has_counted_without_them() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.count("A", "9");
    stage.read("erp", "stock").await;
    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    stage.deliver_queued().await;
    stage.shop.put("order", "1", &order("1001", "refunded", &[("A", "2")]));
    stage.read("shop", "order").await;
    stage.deliver_queued().await;
    stage.look_again("A").await;
    assert_eq!(stage.offered("A"), "7", "the figure of nine does not know of the order");
    stage.count("A", "7");
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "7");
}

#[tokio::test]
async fn a_figure_that_the_shop_refuses_is_not_tried_for_ever() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.count("A", "9");
    stage.read("erp", "stock").await;
    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    stage.deliver_queued().await;
    stage.shop.fault(Fault::Fail(Class::Rejected, "stock is locked"));
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!((stage.offered("A"), stage.states().await), (json!("7"), vec![JobState::Dead]));
    stage.read("shop", "order").await;
    stage.deliver_queued().await;
    assert_eq!(stage.states().await, [JobState::Dead], "it waits for a change, as all that is refused");
}

#[tokio::test]
async fn rises_wait_while_orders_cannot_be_read_and_what_sinks_goes_on() {
    let stage = Stage::selling(StockRule::default()).await;
    for sku in ["B", "C"] {
        stage.count(sku, "6");
    }
    assert!(stage.once().await.is_clean());
    stage.shop.put("order", "1", &json!({"status": "paid"}));
    for (sku, quantity) in [("A", "9"), ("B", "0"), ("C", "4")] {
        stage.count(sku, quantity);
    }
    stage.once().await;
    assert_eq!([stage.offered("A"), stage.offered("B"), stage.offered("C")], ["6", "0", "4"]);
    let parked = JobFilter { states: vec![JobState::Parked], ..JobFilter::default() };
    let waiting = stage.store.jobs(&parked).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].cause.clone(), waiting[0].attempts), (waits("orders:shop"), 0));
    assert!(waiting[0].error.as_deref().unwrap().contains("orders of shop"), "{waiting:?}");

    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    stage.read("shop", "order").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "7");
}

#[tokio::test]
async fn only_the_articles_that_an_unreadable_order_names_wait() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.count("B", "6");
    assert!(stage.once().await.is_clean());
    // It has no number, and two of A.
    stage.shop.put("order", "1", &json!({"status": "paid", "lines": [{"sku": "A", "quantity": "2"}]}));
    stage.count("A", "9");
    stage.count("B", "9");
    stage.once().await;
    assert_eq!((stage.offered("A"), stage.offered("B")), (json!("6"), json!("9")));
    // Now it is of B, which is of A no longer.
    stage.shop.put("order", "1", &json!({"status": "paid", "lines": [{"sku": "B", "quantity": "2"}]}));
    stage.count("B", "11");
    stage.once().await;
    stage.deliver_queued().await;
    assert_eq!((stage.offered("A"), stage.offered("B")), (json!("9"), json!("9")));
    stage.shop.put("order", "1", &order("1001", "paid", &[("B", "2")]));
    stage.read("shop", "order").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("B"), "9", "eleven, less the two that were ordered");
}

#[tokio::test]
async fn what_one_shop_sells_is_taken_off_all_that_show_the_same_stock() {
    let mut stock = flow("stock", "erp", "shop", &["stock"]);
    stock.to.push("other".into());
    let stage = Stage::new(vec![flow("sales", "shop", "erp", &["order"]), stock]).await;
    stage.count("A", "6");
    assert!(stage.once().await.is_clean());
    let there = |stage: &Stage| stage.other.rows("stock")[0]["quantity"].clone();
    assert_eq!((stage.offered("A"), there(&stage)), (json!("6"), json!("6")));

    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    stage.read("shop", "order").await;
    stage.deliver_queued().await;
    assert_eq!(there(&stage), "4", "the one does not know of the other");
    // The ERP has the order, and has taken it off.
    stage.count("A", "4");
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!((stage.offered("A"), there(&stage)), (json!("4"), json!("4")));
    let before = stage.other.written();
    stage.once().await;
    assert_eq!(stage.other.written(), before, "and nothing is written again");
}

#[tokio::test]
async fn an_order_that_is_not_accepted_yet_stays_out_of_the_erp_and_keeps_its_goods() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.shop.put("order", "1", &order("1001", "pending", &[("A", "2")]));
    stage.count("A", "9");
    let summary = stage.once().await;
    assert_eq!((stage.offered("A"), stage.erp.rows("order").len()), (json!("7"), 0));
    assert!(summary.is_clean() && summary.awaited == 1, "that is no trouble: {summary:?}");
    let parked = JobFilter { states: vec![JobState::Parked], ..JobFilter::default() };
    let waiting = stage.store.jobs(&parked).await.unwrap().remove(0);
    assert_eq!((waiting.state, waiting.cause.clone()), (JobState::Parked, waits("acceptance:order=1001")));
    assert!(waiting.error.as_deref().unwrap().contains("`pending`"), "{waiting:?}");

    stage.shop.put("order", "1", &order("1001", "confirmed", &[("A", "2")]));
    stage.once().await;
    assert_eq!(stage.erp.rows("order")[0]["status"], "confirmed", "to be paid by transfer is accepted");
    // One whose payment failed is nobody's, and keeps nothing.
    stage.shop.put("order", "2", &order("1002", "pending", &[("A", "3")]));
    stage.once().await;
    stage.shop.put("order", "2", &order("1002", "failed", &[("A", "3")]));
    stage.once().await;
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    assert_eq!((stage.offered("A"), stage.erp.rows("order").len()), (json!("9"), 1));
}

#[tokio::test]
async fn what_may_be_a_rise_waits_while_neither_orders_nor_figures_can_be_read() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.shop.put("order", "1", &json!({"status": "paid"}));
    let id = stage.shop.rows("stock")[0]["id"].as_str().unwrap().to_owned();
    stage.shop.put("stock", &id, &json!({"sku": "A", "quantity": "1"}));
    for (quantity, offered) in [("4", "1"), ("0", "0")] {
        stage.count("A", quantity);
        stage.read("erp", "stock").await;
        let down = crate::failure::Failure::new(Class::Transient, "down for maintenance");
        stage.shop.state.lock().unwrap().read_faults.push_back(down);
        stage.deliver_queued().await;
        assert_eq!(stage.offered("A"), offered, "{quantity} are to be offered, one is left there and nobody knows");
    }
}

#[tokio::test]
async fn a_rise_is_recognised_by_what_the_shop_really_shows() {
    let stage = Stage::selling(StockRule::default()).await;
    stage.shop.put("order", "1", &json!({"status": "paid"}));
    let id = stage.shop.rows("stock")[0]["id"].as_str().unwrap().to_owned();
    stage.shop.put("stock", &id, &json!({"sku": "A", "quantity": "1"}));
    stage.count("A", "4");
    stage.once().await;
    assert_eq!(stage.offered("A"), "1", "four are fewer than the six it was sent, but more than it has left");
}

#[tokio::test]
async fn where_orders_are_not_reserved_the_sources_figure_goes_as_it_is() {
    let stage = Stage::selling(StockRule { in_flight: Some(false), ..StockRule::default() }).await;
    stage.shop.put("order", "1", &order("1001", "paid", &[("A", "2")]));
    stage.count("A", "9");
    stage.once().await;
    assert_eq!(stage.offered("A"), "9");
}

#[tokio::test]
async fn what_the_buffer_leaves_nothing_of_goes_before_everything_else() {
    let rule = StockRule { buffer: Decimal::TWO, ..StockRule::default() };
    let stage = Stage::selling(rule).await;
    assert_eq!(stage.offered("A"), "4");
    stage.count("A", "2");
    stage.count("B", "5");
    stage.read("erp", "stock").await;
    assert_eq!(stage.priorities().await, BTreeMap::from([("A".to_owned(), 0), ("B".to_owned(), 1)]));
    stage.deliver_queued().await;
    assert_eq!((stage.offered("A"), stage.offered("B")), (json!("0"), json!("3")));
}

#[tokio::test]
async fn a_target_is_shown_the_chosen_locations_in_whole_packs() {
    let mut stock = flow("stock", "erp", "shop", &["product", "stock"]);
    stock.stock.locations = Some(vec!["MAD".into(), "BCN".into()]);
    let stage = Stage::new(vec![stock]).await;
    let box_of_four = json!({"sku": "A", "name": {"es": "Clavo"}, "active": true, "pack": {"increment": "4"}});
    stage.erp.put("product", "1", &box_of_four);
    let levels = json!([
        {"location": "MAD", "quantity": "7", "reserved": "1"},
        {"location": "SVQ", "quantity": "50"},
        {"location": "BCN", "quantity": "5"},
    ]);
    stage.erp.put("stock", "A", &json!({"sku": "A", "levels": levels}));
    let summary = stage.once().await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(stage.offered("A"), "8");
    let shown = json!([{"location": "MAD", "quantity": "6"}, {"location": "BCN", "quantity": "2"}]);
    assert_eq!(stage.shop.rows("stock")[0]["levels"], shown);
    assert_eq!(stage.full().await.delivered.written, 0, "and it stays so");
    let box_of_five = json!({"sku": "A", "name": {"es": "Clavo"}, "active": true, "pack": {"increment": "5"}});
    stage.erp.put("product", "1", &box_of_five);
    stage.read("erp", "product").await;
    stage.deliver_queued().await;
    assert_eq!(stage.offered("A"), "10", "as soon as it is packed otherwise");
}

#[tokio::test]
async fn no_priority_starves_behind_another() {
    let limits = SystemLimits { batch: 1, workers: 1, ..SystemLimits::default() };
    let flows = vec![flow("catalog", "erp", "shop", &["product", "stock"])];
    let stage = Stage::limited(FakeSystem::new("erp"), FakeSystem::new("shop"), flows, limits).await;
    let skus = ["A", "B", "C", "D", "E", "F", "G", "H"];
    stage.erp.put("product", "1", &hammer());
    for sku in skus {
        stage.count(sku, "6");
    }
    assert!(stage.once().await.is_clean());
    let before = stage.shop.written();
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true}));
    stage.read("erp", "product").await;
    for sku in skus {
        stage.count(sku, "7");
    }
    stage.read("erp", "stock").await;
    stage.deliver_queued().await;
    let written: Vec<String> =
        stage.shop.state.lock().unwrap().written[before..].iter().map(|(_, key)| key.clone()).collect();
    assert_eq!(written.len(), 9);
    assert_eq!(written.iter().position(|key| key == "H-1"), Some(3), "{written:?}");
}
