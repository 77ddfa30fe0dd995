//! An order of another person under an equal number is never written over, whatever it is that tells so.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{FakeSystem, Stage, flow};
use crate::{
    load::SourceFile,
    mapping::{Mapping, Tables, Translate},
    model::Entities,
    store::{JobFilter, JobState, RunKind},
    sync::{engine::Engine, routing::Guests},
};

const CUSTOMER: &str = "code = 'code'\nkind = { value = 'person' }\nname = 'name'\nemail = 'email'\n";
const ORDER: &str = "number = 'number'\nstatus = 'status'\nplaced_at = 'placed_at'\ncurrency = { value = 'EUR' }\n\
    tax_included = { value = true }\nlines = { pull = '[#{ line: \"1\", name: \"Wedge\", quantity: \"1\" }]', push_to = 'lines', push = '[]' }\n";
/// What the shop shows of an order; the ERP is told the same.
const SOLD: &str = "email = 'email'\ncustomer = { from = 'customer', ref = 'customer', optional = true }\n\
    totals = { pull = '#{ gross: row.gross }', push_to = 'gross', push = 'value.gross' }\n";

fn mapping(entity: &str, key: &str, fields: &str) -> Arc<dyn Translate> {
    let text = format!("key = '{key}'\n[fields]\n{fields}");
    let spec = Entities::builtin().get(entity).unwrap().clone();
    Arc::new(Mapping::load(&SourceFile::new("m.toml", text), &spec, &Map::new(), &Tables::new()).unwrap())
}

fn order(who: &str, gross: &str) -> Value {
    json!({"number": "11", "status": "paid", "placed_at": "2026-03-01T08:00:00Z", "gross": gross,
        "email": format!("{who}@example.com")})
}

fn person(who: &str) -> Value {
    json!({"code": format!("C-{who}"), "name": who, "email": format!("{who}@example.com")})
}

/// What becomes of Ana's order 11 of 12.10 beside one of this number that the ERP has, and shows by `reads` alone.
async fn met(reads: &str, there: &Value, guests: Option<Guests>) -> (Vec<Value>, Vec<String>) {
    let shop = FakeSystem::new("shop").with_capabilities_of("order", |capabilities| capabilities.create = false);
    let sales = super::Flow { guests, ..flow("sales", "shop", "erp", &["customer", "order"]) };
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![sales]).await;
    stage.erp.put("customer", "9", &person("zoe"));
    stage.erp.put("order", "900", there);
    stage.shop.put("order", "7", &order("ana", "12.10"));
    let mut context = stage.context(stage.store.clone(), "mapped");
    for (system, reads) in [("erp", reads), ("shop", SOLD)] {
        context.mappings.insert((system.into(), "customer".into()), mapping("customer", "code", CUSTOMER));
        context
            .mappings
            .insert((system.into(), "order".into()), mapping("order", "number", &format!("{ORDER}{reads}")));
    }
    Engine::new(context).once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap();
    assert_eq!(stage.store.rejections(None, 10).await.unwrap(), []);
    let filter = JobFilter { states: vec![JobState::Parked, JobState::Dead], ..JobFilter::default() };
    let jobs = stage.store.jobs(&filter).await.unwrap();
    (stage.erp.rows("order"), jobs.into_iter().filter_map(|job| job.cause.map(String::from)).collect())
}

fn of_zoe() -> Value {
    let mut there = order("zoe", "12.10");
    there["party"] = "9".into();
    there
}

#[tokio::test]
async fn the_buyer_is_known_by_the_customer_that_an_object_names() {
    let reads = "email = { push_to = 'email', push = 'value' }\ncustomer = { from = 'party', ref = 'customer', optional = true }\n";
    let (orders, causes) = met(reads, &of_zoe(), None).await;
    assert_eq!((orders.len(), &orders[0]["email"]), (1, &json!("zoe@example.com")));
    assert_eq!(causes, ["review:order=shop/11"]);
}

#[tokio::test]
async fn two_amounts_are_two_orders() {
    let reads = "email = { push_to = 'email', push = 'value' }\n\
        totals = { pull = '#{ gross: row.gross }', push_to = 'gross', push = 'value.gross' }\n";
    let (orders, causes) = met(reads, &order("zoe", "999.00"), None).await;
    assert_eq!((orders.len(), &orders[0]["email"]), (1, &json!("zoe@example.com")));
    assert_eq!(causes, ["review:order=shop/11"]);
    // As two systems round it.
    let (orders, causes) = met(reads, &order("ana", "12.11"), None).await;
    assert_eq!((orders.len(), causes.iter().any(|cause| cause.starts_with("review:"))), (1, false), "{causes:?}");
}

#[tokio::test]
async fn whoever_stands_for_all_guests_tells_nothing() {
    let reads = "email = { push_to = 'email', push = 'value' }\ncustomer = { from = 'party', ref = 'customer', optional = true }\n";
    let guests = Guests { one: Some("C-zoe".to_owned()), ..Guests::default() };
    let (orders, causes) = met(reads, &of_zoe(), Some(guests)).await;
    assert_eq!((orders.len(), causes.iter().any(|cause| cause.starts_with("review:"))), (1, false), "{causes:?}");
}
