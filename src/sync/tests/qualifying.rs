//! What an object says of which one it is reaches a target, or the object does not.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{Stage, fakes::Fault, flow};
use crate::{
    expr::{Expr, KnownNames},
    failure::Class,
    load::{Place, SourceFile},
    mapping::{Mapping, Tables, Translate},
    model::Entities,
    store::{JobFilter, JobState, RunKind},
    sync::{
        context::Context,
        engine::{Engine, PassSummary},
        routing::{Flow, Scope},
    },
};

/// A mapping of the shop's, whose rows are canonical objects.
fn mapping(entity: &str, fields: &str) -> Arc<dyn Translate> {
    let text = format!("key = 'row.get(\"code\") ?? row.number'\n[fields]\n{fields}");
    let spec = Entities::builtin().get(entity).unwrap().clone();
    Arc::new(Mapping::load(&SourceFile::new("m.toml", text), &spec, &Map::new(), &Tables::new()).unwrap())
}

const RETAIL: &str = "code = 'code'\nlist = { value = 'retail' }\nsku = 'sku'\namount = 'amount'\n\
    currency = { value = 'EUR' }\ntax_included = { value = true }\n";

impl Stage {
    /// The target takes an entity by this mapping from now on.
    async fn taking(&self, target: &str, entity: &str, fields: &str) -> PassSummary {
        self.taking_all(target, &[(entity, fields)]).await
    }

    async fn taking_all(&self, target: &str, mappings: &[(&str, &str)]) -> PassSummary {
        let mut context: Context = self.context(self.store.clone(), "taking");
        for (entity, fields) in mappings {
            context.mappings.insert((target.into(), (*entity).into()), mapping(entity, fields));
        }
        Engine::new(context).once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap()
    }

    async fn waiting(&self) -> Vec<(JobState, Option<String>, String)> {
        let jobs = self.store.jobs(&JobFilter { limit: 100, ..JobFilter::default() }).await.unwrap();
        let open = jobs.into_iter().filter(|job| job.state != JobState::Done);
        open.map(|job| (job.state, job.cause.map(String::from), job.error.unwrap_or_default())).collect()
    }
}

fn prices(filter: Option<&str>) -> Flow {
    let mut prices = flow("prices", "erp", "shop", &["price"]);
    if let Some(filter) = filter {
        let place = Place::of(&SourceFile::new("f.toml", filter), &crate::load::Spanned::new(0..filter.len(), ()));
        prices.filters.insert("price".into(), Expr::compile(filter, &place, &KnownNames::any()).unwrap());
    }
    prices
}

fn price(list: &str, amount: &str) -> Value {
    json!({"code": format!("{list}/A"), "list": list, "sku": "A", "amount": amount, "currency": "EUR", "tax_included": true})
}

#[tokio::test]
async fn a_price_of_another_list_waits_and_never_becomes_everybodys() {
    let stage = Stage::new(vec![prices(None)]).await;
    stage.erp.put("price", "1", &price("retail", "10"));
    stage.erp.put("price", "2", &price("trade", "6"));
    let summary = stage.taking("shop", "price", RETAIL).await;
    assert_eq!((summary.delivered.written, summary.delivered.parked), (1, 1), "{summary:?}");
    assert_eq!(stage.shop.rows("price")[0]["amount"], "10");
    let (state, cause, error) = stage.waiting().await.remove(0);
    assert_eq!((state, cause.as_deref()), (JobState::Parked, Some("qualifies:price.list=trade")));
    assert!(error.contains("`trade`") && error.contains("`retail`") && error.contains("m.toml:"), "{error}");
}

#[tokio::test]
async fn a_price_for_everybody_is_no_price_of_the_group_that_a_target_holds_alone() {
    let stage = Stage::new(vec![prices(None)]).await;
    let vip = format!("{RETAIL}group = {{ value = 'vip' }}\n");
    stage.erp.put("price", "1", &price("retail", "10"));
    let mut cheaper = price("retail", "7");
    (cheaper["code"], cheaper["group"]) = ("VIP/A".into(), "vip".into());
    stage.erp.put("price", "2", &cheaper);
    let source = |fields: &str| (("erp".to_owned(), "price".to_owned()), mapping("price", fields));
    let naming = format!("{READ}group = {{ from = 'group', optional = true }}\n");
    let mut context: Context = stage.context(stage.store.clone(), "taking");
    context.mappings.extend([source(&naming), (("shop".into(), "price".into()), mapping("price", &vip))]);
    let summary = Engine::new(context).once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap();
    assert_eq!((summary.delivered.written, summary.delivered.parked), (1, 1), "{summary:?}");
    assert_eq!(stage.shop.rows("price")[0]["amount"], "7");
    let (state, cause, error) = stage.waiting().await.remove(0);
    assert_eq!((state, cause.as_deref()), (JobState::Parked, Some("qualifies:price.group")));
    assert!(error.contains("erp has no group") && error.contains("`vip` alone"), "{error}");
    // A source that knows no groups says nothing of them.
    let mut context: Context = stage.context(stage.store.clone(), "taking");
    context.mappings.extend([source(READ), (("shop".into(), "price".into()), mapping("price", &vip))]);
    let summary = Engine::new(context).once(None, RunKind::Full, &CancellationToken::new()).await.unwrap();
    assert_eq!(summary.delivered.parked, 0, "{summary:?}");
}

/// An ERP's own prices.
const READ: &str = "code = 'code'\nlist = 'list'\nsku = 'sku'\namount = 'amount'\n\
    currency = 'currency'\ntax_included = 'tax_included'\n";

/// An ERP's orders without a word of their currency, nor of their tax.
const BLIND: &str = "number = 'number'\nstatus = 'status'\nlines = 'lines'\ntotals = 'totals'\n";

fn order_in(currency: &str, number: &str) -> Value {
    json!({"number": number, "status": "paid", "currency": currency, "tax_included": false,
        "lines": [{"line": "1", "sku": "H-1", "quantity": "1", "unit_price": "100", "total": "100"}],
        "totals": {"gross": "100"}})
}

#[tokio::test]
async fn an_erp_that_knows_no_currency_takes_orders_of_one_and_others_wait_until_it_is_mapped() {
    let stage = Stage::new(vec![flow("sales", "shop", "erp", &["order"])]).await;
    stage.shop.put("order", "7", &order_in("EUR", "1001"));
    assert!(stage.taking("erp", "order", BLIND).await.is_clean(), "its books are in one currency");
    stage.shop.put("order", "8", &order_in("USD", "1002"));
    stage.shop.put("order", "9", &order_in("EUR", "1003"));
    let summary = stage.taking("erp", "order", BLIND).await;
    assert_eq!((summary.delivered.written, summary.delivered.parked), (1, 1), "{summary:?}");
    assert_eq!(stage.erp.rows("order").len(), 2, "100 dollars are no sale of 100 euros");
    let (state, cause, error) = stage.waiting().await.remove(0);
    assert_eq!((state, cause.as_deref()), (JobState::Parked, Some("qualifies:order.currency=USD")));
    assert!(error.contains("`USD`") && error.contains("`EUR`"), "{error}");
    // A mapping that has a place for it releases it with the configuration.
    let carrying = format!("{BLIND}currency = 'currency'\n");
    assert!(stage.taking("erp", "order", &carrying).await.is_clean());
    assert!(stage.erp.rows("order").iter().any(|order| order["currency"] == "USD"));
}

#[tokio::test]
async fn a_currency_that_a_target_holds_alone_keeps_orders_of_others_away_from_the_first_on() {
    let stage = Stage::new(vec![flow("sales", "shop", "erp", &["order"])]).await;
    stage.shop.put("order", "7", &order_in("USD", "1001"));
    let fixed = format!("{BLIND}currency = {{ value = 'EUR' }}\n");
    assert_eq!(stage.taking("erp", "order", &fixed).await.delivered.parked, 1);
    assert!(stage.erp.rows("order").is_empty());
    assert_eq!(stage.waiting().await[0].1.as_deref(), Some("qualifies:order.currency=USD"));
}

#[tokio::test]
async fn of_an_erp_whose_prices_are_of_one_currency_no_first_order_says_another() {
    let stage = Stage::new(vec![flow("sales", "shop", "erp", &["order"])]).await;
    stage.shop.put("order", "7", &order_in("USD", "1001"));
    stage.shop.put("order", "8", &order_in("EUR", "1002"));
    let summary = stage.taking_all("erp", &[("order", BLIND), ("price", RETAIL)]).await;
    assert_eq!((summary.delivered.written, summary.delivered.parked), (1, 1), "{summary:?}");
    assert_eq!(stage.erp.rows("order")[0]["number"], "1002");
    assert_eq!(stage.waiting().await[0].1.as_deref(), Some("qualifies:order.currency=USD"));
}

#[tokio::test]
async fn what_an_erp_already_has_shows_its_currency_to_a_new_state() {
    let stage = Stage::new(vec![flow("sales", "shop", "erp", &["order"])]).await;
    for (id, currency) in [("6", "USD"), ("7", "EUR"), ("8", "EUR")] {
        stage.shop.put("order", id, &order_in(currency, id));
        stage.erp.put("order", id, &order_in(currency, id));
    }
    assert_eq!(stage.taking("erp", "order", BLIND).await.delivered.parked, 1, "6 is no sale in euros");
    // As an earlier version left it.
    stage.store.note("alike:erp/order", &json!({})).await.unwrap();
    stage.shop.put("order", "9", &order_in("USD", "9"));
    stage.shop.put("order", "10", &order_in("EUR", "10"));
    let summary = stage.taking("erp", "order", BLIND).await;
    assert_eq!(summary.delivered.written, 1, "{summary:?}");
    assert!(stage.erp.rows("order").iter().all(|order| order["number"] != "9"), "most say that its books are in euros");
}

#[tokio::test]
async fn a_shop_that_nobody_has_read_is_asked_what_the_erp_has_before_the_first_order_says_it() {
    let flows = vec![flow("sales", "shop", "erp", &["order"]), flow("sales2", "other", "erp", &["order"])];
    let stage = Stage::new(flows).await;
    stage.shop.put("order", "9", &order_in("USD", "9"));
    let mut earlier = order_in("EUR", "3");
    earlier["email"] = "ana@example.com".into();
    stage.other.put("order", "3", &earlier);
    stage.erp.put("order", "3", &earlier);
    let mut context: Context = stage.context(stage.store.clone(), "taking");
    let naming_buyers = format!("{BLIND}email = {{ from = 'email', optional = true }}\n");
    context.mappings.insert(("erp".into(), "order".into()), mapping("order", &naming_buyers));
    let scope: Scope = "sales".parse().unwrap();
    Engine::new(context).once(Some(&scope), RunKind::Delta, &CancellationToken::new()).await.unwrap();
    assert_eq!(stage.erp.rows("order").len(), 1, "100 dollars are no sale of 100 euros");
    let waiting = stage.waiting().await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0].1.as_deref(), Some("qualifies:order.currency=USD"));
}

#[tokio::test]
async fn a_currency_that_changes_beside_an_equal_amount_is_reported() {
    let stage = Stage::new(vec![prices(None)]).await;
    stage.erp.put("price", "1", &price("retail", "10"));
    assert!(stage.taking("shop", "price", RETAIL).await.is_clean());
    let mut dollars = price("retail", "10");
    dollars["currency"] = "USD".into();
    stage.erp.put("price", "1", &dollars);
    assert_eq!(stage.taking("shop", "price", RETAIL).await.delivered.parked, 1);
}

#[tokio::test]
async fn what_a_flow_keeps_away_does_not_wait() {
    let stage = Stage::new(vec![prices(Some("list == \"retail\""))]).await;
    stage.erp.put("price", "1", &price("retail", "10"));
    stage.erp.put("price", "2", &price("trade", "6"));
    assert!(stage.taking("shop", "price", RETAIL).await.is_clean());
    assert_eq!(stage.shop.rows("price").len(), 1);
}

const REGULAR: &str = "code = 'code'\nlist = { value = 'retail' }\nsku = 'sku'\ncurrency = { value = 'EUR' }\n\
    tax_included = { value = true }\nsale = { pull = 'row.get(\"sale\")' }\n\
    amount = { from = 'amount', holds = 'if ok(here.get(\"sale\")) && decimal(value) < decimal(here.sale.amount) { \"a sale at \" + here.sale.amount + \" stands there\" } else { true }' }\n";

#[tokio::test]
async fn a_price_that_is_refused_for_a_sale_nobody_has_seen_waits_with_both_values_until_the_sale_ends() {
    let stage = Stage::new(vec![prices(None)]).await;
    stage.erp.put("price", "1", &price("retail", "20"));
    assert!(stage.taking("shop", "price", REGULAR).await.is_clean());
    let mut row = stage.shop.rows("price")[0].clone();
    let id = row["id"].as_str().unwrap().to_owned();
    row["sale"] = json!({"amount": "18"});
    stage.shop.put("price", &id, &row);
    stage.erp.put("price", "1", &price("retail", "15"));
    stage.shop.fault(Fault::Fail(Class::Rejected, "the sale price is above the regular price"));
    stage.taking("shop", "price", REGULAR).await;
    let (_, cause, error) = stage.waiting().await.remove(0);
    assert_eq!(cause.as_deref(), Some("holds:price.amount"));
    assert!(error.contains("15") && error.contains("18"), "{error}");
    // It waits as long as a look shows the sale, without another request to write it.
    stage.taking("shop", "price", REGULAR).await;
    assert_eq!((stage.waiting().await.len(), stage.shop.written()), (1, 1));

    row["sale"] = Value::Null;
    stage.shop.put("price", &id, &row);
    assert!(stage.taking("shop", "price", REGULAR).await.is_clean(), "it goes on when the sale has ended");
    assert_eq!(stage.shop.rows("price")[0]["amount"], "15");
}

#[tokio::test]
async fn a_price_that_something_of_the_targets_own_stands_above_waits_with_both_values() {
    let stage = Stage::new(vec![prices(None)]).await;
    stage.erp.put("price", "1", &price("retail", "20"));
    assert!(stage.taking("shop", "price", REGULAR).await.is_clean());
    let id = stage.shop.rows("price")[0]["id"].as_str().unwrap().to_owned();
    let mut reduced = stage.shop.rows("price")[0].clone();
    reduced["sale"] = json!({"amount": "18"});
    stage.shop.put("price", &id, &reduced);
    let full = |stage: &Stage| {
        let mut context = stage.context(stage.store.clone(), "taking");
        context.mappings.insert(("shop".into(), "price".into()), mapping("price", REGULAR));
        Engine::new(context)
    };
    let stop = CancellationToken::new();
    assert!(full(&stage).once(None, RunKind::Full, &stop).await.unwrap().is_clean(), "a sale is no drift");
    assert_eq!((stage.shop.written(), &stage.shop.rows("price")[0]["sale"]), (1, &json!({"amount": "18"})));

    stage.erp.put("price", "1", &price("retail", "15"));
    stage.taking("shop", "price", REGULAR).await;
    let (_, cause, error) = stage.waiting().await.remove(0);
    assert_eq!((cause.as_deref(), stage.shop.written()), (Some("holds:price.amount"), 1));
    assert!(error.contains("15") && error.contains("18"), "{error}");

    reduced["sale"] = Value::Null;
    stage.shop.put("price", &id, &reduced);
    assert!(
        full(&stage).once(None, RunKind::Full, &stop).await.unwrap().is_clean(),
        "it goes on when the sale has ended"
    );
    assert_eq!(stage.shop.rows("price")[0]["amount"], "15");
}
