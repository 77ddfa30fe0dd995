//! What joins a running configuration later is for everything that is known already.

use super::*;
use crate::{
    expr::{Expr, KnownNames},
    load::{Place, SourceFile},
    store::Slice,
    sync::routing::MatchRule,
};

fn only(mut flow: Flow, filter: &str) -> Flow {
    let source = SourceFile::new("vaiven.toml", filter);
    flow.filters.insert("*".into(), Expr::compile(filter, &Place::new(&source, 0..0), &KnownNames::any()).unwrap());
    flow
}

impl Stage {
    /// The same state and systems after somebody has edited the configuration.
    fn joined(&self, flows: Vec<Flow>) -> Engine {
        let context = self.context(self.store.clone(), "edited");
        Engine::new(Context { routes: Routes::new(flows).unwrap(), ..context })
    }

    /// So many products that the flow's filter keeps away at first.
    async fn kept_away(count: u32) -> Self {
        let stage = Self::new(vec![only(flow("catalog", "erp", "shop", &["product"]), "brand == \"web\"")]).await;
        for number in 0..count {
            let sku = format!("P-{number}");
            stage.erp.put("product", &sku, &json!({"sku": sku, "name": {"es": "a"}, "active": true, "brand": "later"}));
        }
        assert_eq!(stage.once().await.delivered.written, 0);
        stage
    }
}

fn everything() -> Vec<Flow> {
    vec![flow("catalog", "erp", "shop", &["product"])]
}

async fn pass(engine: &Engine) -> PassSummary {
    engine.once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn a_field_that_joins_is_sent_for_all_known_records() {
    let mut some = flow("catalog", "erp", "shop", &["product"]);
    some.fields.insert("product".into(), ["sku", "name", "active"].map(str::to_owned).into());
    let stage = Stage::new(vec![some]).await;
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Martillo"}, "brand": "Bellota"}));
    stage.once().await;
    assert_eq!(stage.shop.rows("product")[0].get("brand"), None);
    let engine = stage.joined(everything());
    assert_eq!(pass(&engine).await.delivered.written, 1);
    assert_eq!(stage.shop.rows("product")[0]["brand"], "Bellota");
    let again = pass(&engine).await.delivered;
    assert_eq!((again.written, again.noop), (0, 0), "it is covered once");
}

#[tokio::test]
async fn a_field_that_becomes_shared_is_what_the_one_side_says_that_has_it() {
    let mut some = flow("catalog", "erp", "shop", &["product"]);
    some.fields.insert("product".into(), ["sku", "name", "active"].map(str::to_owned).into());
    let stage = Stage::new(vec![some]).await;
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Martillo"}, "brand": "Bellota"}));
    stage.once().await;
    let mut back = flow("brands", "shop", "erp", &["product"]);
    back.fields.insert("product".into(), ["brand".to_owned()].into());
    back.owners.insert("product.brand".into(), crate::sync::routing::SHARED.into());
    let engine = stage.joined(vec![flow("catalog", "erp", "shop", &["product"]), back]);
    assert_eq!(pass(&engine).await.delivered.written, 1, "nothing has changed anywhere");
    assert_eq!(stage.shop.rows("product")[0]["brand"], "Bellota");
    assert_eq!(stage.erp.rows("product")[0]["brand"], "Bellota");
}

#[tokio::test]
async fn a_flow_back_that_joins_brings_what_is_known() {
    let stage = Stage::new(vec![flow("sales", "shop", "erp", &["customer"])]).await;
    stage.erp.put("customer", "1", &json!({"code": "C-1", "name": "Ana", "email": "ana@example.com"}));
    stage.once().await;
    let there = || flow("sales", "shop", "erp", &["customer"]);
    let engine = stage.joined(vec![there(), flow("back", "erp", "shop", &["customer"])]);
    assert_eq!(pass(&engine).await.delivered.written, 1);
    assert_eq!(stage.shop.rows("customer")[0]["email"], "ana@example.com");
}

#[tokio::test]
async fn much_that_would_be_created_because_something_joined_waits_for_an_approval() {
    let stage = Stage::kept_away(25).await;
    let engine = stage.joined(everything());
    let summary = pass(&engine).await;
    assert_eq!((summary.delivered.written, stage.shop.rows("product").len()), (0, 0), "{summary:?}");
    let approval = stage.store.waiting_approvals().await.unwrap().remove(0);
    let trip = &approval.trips[0];
    assert_eq!((trip.brake.as_str(), trip.violations, trip.allowed.as_str()), ("join", 25, "20"));
    assert_eq!(pass(&engine).await.delivered.written, 0, "it goes on waiting");
    stage.store.decide_run(approval.run, true, engine.context().env.now()).await.unwrap();
    assert_eq!(pass(&engine).await.delivered.written, 25);
}

#[tokio::test]
async fn what_is_rejected_of_what_joined_is_not_created_before_its_source_changes() {
    let stage = Stage::kept_away(25).await;
    let engine = stage.joined(everything());
    pass(&engine).await;
    let approval = stage.store.waiting_approvals().await.unwrap().remove(0);
    stage.store.decide_run(approval.run, false, engine.context().env.now()).await.unwrap();
    assert_eq!(pass(&engine).await.delivered.written, 0);
    stage.erp.put("product", "P-1", &json!({"sku": "P-1", "name": {"es": "b"}, "active": true, "brand": "later"}));
    let summary = pass(&engine).await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(stage.shop.rows("product").len(), 1);
}

#[tokio::test]
async fn little_that_joins_goes_without_asking() {
    let stage = Stage::kept_away(20).await;
    assert_eq!(pass(&stage.joined(everything())).await.delivered.written, 20);
}

#[tokio::test]
async fn a_cover_that_was_cut_off_goes_on_where_it_was() {
    let stage = Stage::kept_away(10).await;
    let engine = stage.joined(everything());
    pass(&engine).await;
    let note = "covered:erp/product/shop";
    let done = stage.store.noted(note).await.unwrap().unwrap();
    let all = stage
        .store
        .unseen("erp", "product", &roaring::RoaringBitmap::new(), Slice { after: 0, limit: 100 })
        .await
        .unwrap();
    let cut = json!({"print": done["print"], "after": all[6].0, "run": 999_999});
    stage.store.note(note, &cut).await.unwrap();
    assert_eq!(pass(&engine).await.delivered.noop, 3, "only the last three were left");
    assert_eq!(stage.store.noted(note).await.unwrap().unwrap(), done);
}

#[tokio::test]
async fn a_resync_offers_what_has_not_changed_as_well() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.once().await;
    let scope: Scope = "catalog/product".parse().unwrap();
    let stop = CancellationToken::new();
    let summary = stage.engine.once(Some(&scope), RunKind::Delta, &stop).await.unwrap();
    assert!(summary.delivered.noop >= 1, "{summary:?}");
}

#[tokio::test]
async fn a_match_rule_that_joins_knows_what_is_known_already() {
    let sales = |rules: &[&str]| {
        let mut sales = flow("sales", "shop", "erp", &["customer"]);
        let rule = |field: &&str| MatchRule { field: (*field).to_owned(), weak: false };
        sales.matches.insert("customer".into(), rules.iter().map(rule).collect());
        vec![sales]
    };
    let stage = Stage::new(sales(&["email"])).await;
    stage.erp.put("customer", "1", &json!({"code": "C-1", "name": "Ana", "phone": "600 000 001"}));
    stage.once().await;
    let engine = stage.joined(sales(&["email", "phone"]));
    let shopper = json!({"code": "web-7", "name": "Ana", "email": "ana@example.com", "phone": "+34600000001"});
    stage.shop.put("customer", "7", &shopper);
    let summary = pass(&engine).await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(stage.erp.rows("customer").len(), 1, "the phone says who it is");
}

#[tokio::test]
async fn what_a_mapping_no_longer_names_says_of_nobody_who_he_is() {
    let mut sales = flow("sales", "shop", "erp", &["customer"]);
    sales.matches.insert("customer".into(), vec![MatchRule { field: "email".to_owned(), weak: false }]);
    let stage = Stage::new(vec![sales]).await;
    stage.erp.put("customer", "1", &json!({"code": "C-1", "name": "Ana", "email": "agent@example.com"}));
    stage.once().await;
    let mut context: Context = stage.context(stage.store.clone(), "joined");
    let nameless = FakeMapping::new(&["code", "name"], &stage.knows_igic);
    context.mappings.insert(("erp".into(), "customer".into()), Arc::new(nameless));
    let engine = Engine::new(context);
    stage.shop.put("customer", "7", &json!({"code": "web-7", "name": "Agent", "email": "agent@example.com"}));
    let summary = pass(&engine).await;
    assert!(summary.is_clean(), "{summary:?}");
    let rows = stage.erp.rows("customer");
    assert!(rows.iter().any(|row| row["name"] == "Ana") && rows.len() == 2, "two people: {rows:?}");
}

#[tokio::test]
async fn a_plan_shows_what_joins_and_applying_it_is_the_approval() {
    let stage = Stage::kept_away(25).await;
    let stage = Stage { engine: stage.joined(everything()), ..stage };
    let mut planned = stage.plan(super::planning::all(RunKind::Delta)).await;
    assert_eq!((planned.writes().len(), planned.plan.summary.brakes.len()), (25, 0));
    let applied = stage.try_apply(planned.agreed()).await.unwrap();
    assert_eq!((applied.done, stage.shop.rows("product").len()), (25, 25), "{applied:?}");
    assert!(stage.store.waiting_approvals().await.unwrap().is_empty());
}

/// The catalog of the ERP for two shops.
fn for_both() -> Vec<Flow> {
    let mut both = flow("catalog", "erp", "shop", &["product"]);
    both.to.push("other".into());
    vec![both]
}

fn article(sku: &str, name: &str) -> Value {
    json!({"sku": sku, "name": {"es": name}, "active": true})
}

impl Stage {
    /// Three products at two shops, one of which leaves. Then one is renamed, one is new and one is gone.
    async fn left_behind() -> Self {
        let stage = Self::new(for_both()).await;
        for sku in ["P-1", "P-2", "P-3"] {
            stage.erp.put("product", sku, &article(sku, "a"));
        }
        assert_eq!(stage.once().await.delivered.written, 6);
        let engine = stage.joined(everything());
        pass(&engine).await;
        stage.erp.put("product", "P-1", &article("P-1", "b"));
        stage.erp.put("product", "P-4", &article("P-4", "a"));
        stage.erp.remove("product", "P-3");
        let summary = engine.once(None, RunKind::Full, &CancellationToken::new()).await.unwrap();
        assert_eq!((summary.delivered.written, stage.other.written()), (3, 3), "{summary:?}");
        stage
    }

    /// SKU, name and whether it is shown, at the other shop.
    fn others(&self) -> Vec<(String, String, bool)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let rows = self.other.rows("product");
        rows.iter().map(|row| (text(&row["sku"]), text(&row["name"]["es"]), row["active"] == true)).collect()
    }
}

fn others(rows: &[(&str, &str, bool)]) -> Vec<(String, String, bool)> {
    rows.iter().map(|(sku, name, active)| ((*sku).to_owned(), (*name).to_owned(), *active)).collect()
}

#[tokio::test]
async fn a_target_that_is_back_hears_of_what_came_changed_and_went_meanwhile() {
    let stage = Stage::left_behind().await;
    // Somebody has typed the new one in meanwhile.
    stage.other.put("product", "by-hand", &article("P-4", "typed"));
    let engine = stage.joined(for_both());
    let summary = pass(&engine).await;
    assert!(summary.is_clean(), "{summary:?}");
    let expected = [("P-4", "a", true), ("P-1", "b", true), ("P-2", "a", true), ("P-3", "a", false)];
    assert_eq!(stage.others(), others(&expected), "what was there is recognised, and not made a second time");
    let again = pass(&engine).await.delivered;
    assert_eq!((again.written, again.noop), (0, 0), "it is covered once");
}

#[tokio::test]
async fn a_flow_that_is_back_covers_what_was_deleted_though_it_was_cut_off() {
    let stage = Stage::left_behind().await;
    let flows = || vec![flow("catalog", "erp", "shop", &["product"]), flow("second", "erp", "other", &["product"])];
    stage.other.state.lock().unwrap().pull_faults.push_back(Failure::new(Class::Transient, "down"));
    let engine = stage.joined(flows());
    let failed = pass(&engine).await;
    assert!(failed.runs.iter().any(|run| run.system == "other" && run.error.is_some()), "it is read first: {failed:?}");
    assert_eq!(stage.other.written(), 3);
    // Cut off when all that lives had its job.
    let fingerprint = stage.store.noted("covered:erp/product/shop").await.unwrap().unwrap()["print"].clone();
    let cut = json!({"print": fingerprint, "after": u32::MAX, "run": 999_999, "back": true});
    stage.store.note("covered:erp/product/other", &cut).await.unwrap();
    let engine = stage.joined(flows());
    engine.context().store.set_circuit("other", &Circuit::default()).await.unwrap();
    pass(&engine).await;
    assert_eq!(stage.others()[2], ("P-3".to_owned(), "a".to_owned(), false));
}

#[tokio::test]
async fn a_plan_shows_what_a_target_that_is_back_has_missed() {
    let stage = Stage::left_behind().await;
    let stage = Stage { engine: stage.joined(for_both()), ..stage };
    let planned = stage.plan(super::planning::all(RunKind::Delta)).await;
    assert_eq!((planned.writes().len(), stage.other.written()), (3, 3));
}

#[tokio::test]
async fn another_figure_of_stock_is_sent_for_all_articles() {
    let stage = Stage::new(vec![flow("stock", "erp", "shop", &["stock"])]).await;
    let levels = json!([{"location": "MAD", "quantity": "10", "reserved": "3"}]);
    stage.erp.put("stock", "1", &json!({"sku": "A", "quantity": "10", "levels": levels}));
    stage.once().await;
    assert_eq!(stage.shop.rows("stock")[0]["quantity"], "7");
    let mut allotting = flow("stock", "erp", "shop", &["stock"]);
    allotting.stock.on_hand = true;
    assert_eq!(pass(&stage.joined(vec![allotting])).await.delivered.written, 1);
    assert_eq!(stage.shop.rows("stock")[0]["quantity"], "10");
}

/// A catalog of categories alone, and the same with products.
fn widened() -> [Vec<Flow>; 2] {
    [&["category"][..], &["category", "product"]].map(|entities| vec![flow("catalog", "erp", "shop", entities)])
}

fn put_products(stage: &Stage, count: u32) {
    for number in 0..count {
        let sku = format!("P-{number}");
        stage.erp.put("product", &sku, &article(&sku, "a"));
    }
}

#[tokio::test]
async fn an_entity_that_is_added_to_a_target_with_others_joins_though_nobody_has_read_it() {
    let [before, after] = widened();
    let stage = Stage::new(before).await;
    stage.once().await;
    put_products(&stage, 25);
    let engine = stage.joined(after);
    assert_eq!(pass(&engine).await.delivered.written, 0);
    let approval = stage.store.waiting_approvals().await.unwrap().remove(0);
    assert_eq!((approval.trips[0].brake.as_str(), approval.trips[0].violations), ("join", 25));
    assert_eq!(pass(&engine).await.delivered.written, 0, "it goes on waiting");
    stage.store.decide_run(approval.run, true, engine.context().env.now()).await.unwrap();
    assert_eq!(pass(&engine).await.delivered.written, 25);
    // From then on what is new there is new.
    put_products(&stage, 50);
    assert_eq!(pass(&engine).await.delivered.written, 25);
}

#[tokio::test]
async fn an_entity_joins_though_the_runs_of_the_others_have_been_purged_since() {
    let [before, after] = widened();
    let stage = Stage::new(before).await;
    stage.once().await;
    let later = stage.engine.context().env.now() + chrono::Duration::days(1);
    assert!(stage.store.purge(later, 1000).await.unwrap() > 0);
    assert!(stage.store.runs(1).await.unwrap().is_empty());
    put_products(&stage, 25);
    assert_eq!(pass(&stage.joined(after)).await.delivered.written, 0);
    assert_eq!(stage.store.waiting_approvals().await.unwrap()[0].trips[0].brake.as_str(), "join");
}

#[tokio::test]
async fn a_first_start_that_broke_off_between_its_notes_is_a_first_start_again() {
    let [_, after] = widened();
    let stage = Stage::new(after).await;
    // As the first start left it, killed after the first of its notes.
    stage.once().await;
    let notes = stage.store.notes("covered:").await.unwrap();
    assert!(notes.len() > 1, "{notes:?}");
    let fresh = Stage::new(widened()[1].clone()).await;
    let (name, note) = notes.into_iter().find(|(name, _)| name.contains("/category/")).unwrap();
    fresh.store.note(&name, &note).await.unwrap();
    put_products(&fresh, 25);
    assert_eq!(fresh.once().await.delivered.written, 25, "nothing has joined");
}

#[tokio::test]
async fn an_entity_whose_first_reading_broke_off_goes_on_joining() {
    let [before, after] = widened();
    let stage = Stage::new(before).await;
    stage.once().await;
    put_products(&stage, 25);
    stage.erp.state.lock().unwrap().pull_faults.extend([Class::Rejected; 2].map(|class| Failure::new(class, "no")));
    let engine = stage.joined(after);
    pass(&engine).await;
    assert_eq!(pass(&engine).await.delivered.written, 0);
    assert_eq!(stage.store.waiting_approvals().await.unwrap()[0].trips[0].violations, 25);
}

#[tokio::test]
async fn a_plan_shows_an_added_entity_and_applying_it_is_the_approval() {
    let [before, after] = widened();
    let stage = Stage::new(before).await;
    stage.once().await;
    put_products(&stage, 25);
    let stage = Stage { engine: stage.joined(after), ..stage };
    let mut planned = stage.plan(super::planning::all(RunKind::Delta)).await;
    assert_eq!(planned.writes().len(), 25);
    assert_eq!(stage.try_apply(planned.agreed()).await.unwrap().done, 25);
}

#[tokio::test]
async fn a_first_sync_is_no_joining_whatever_breaks_off() {
    let [_, all] = widened();
    let stage = Stage::new(all).await;
    put_products(&stage, 25);
    stage.erp.state.lock().unwrap().pull_faults.push_back(Failure::new(Class::Rejected, "no"));
    stage.once().await;
    stage.once().await;
    assert_eq!(stage.shop.rows("product").len(), 25);
}

#[tokio::test]
async fn what_joins_a_target_that_stayed_reads_it_no_second_time() {
    let stage = Stage::kept_away(5).await;
    let readings = async || stage.store.runs(50).await.unwrap().iter().filter(|run| run.system == "shop").count();
    let before = readings().await;
    pass(&stage.joined(everything())).await;
    assert_eq!((stage.shop.rows("product").len(), readings().await), (5, before));
}
