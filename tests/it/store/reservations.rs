//! Orders that reserve goods, and what is kept back for them.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::json;
use vaiven::internals::store::{
    ConflictKind, ConflictMark, Delivered, NewJob, OrderReadings, PageCommit, Proven, Reading, RecordId, Replica,
    ReplicaWrite, SharedStore, Verdict,
};

use super::backend::{Backend, at, claim, done, ends, page, parked, promises, replica, row};

promises! {
    an_order_is_reserved_while_its_job_is_open_and_until_a_later_reading,
    an_order_of_both_is_reserved_while_a_person_is_asked_about_it,
    what_a_shop_no_longer_has_is_not_reserved,
    what_is_kept_back_is_remembered_until_it_is_nothing,
    a_note_becomes_true_with_its_page,
    what_a_reading_proves_becomes_true_with_its_page,
}

/// An order that the shop has, with a job to the ERP.
async fn ordered(store: &SharedStore, number: &str) -> RecordId {
    let rows = [row(number, number)];
    let record = store.identify("shop", "order", &rows, &[]).await.unwrap()[0].record;
    let job = NewJob { target: "erp".into(), entity: "order".into(), record, priority: 0, due: None };
    let run = page(store, "shop").await.run;
    let page = PageCommit {
        run,
        system: "shop".into(),
        entity: "order".into(),
        replicas: vec![replica(record, number, number)],
        jobs: vec![job],
        ..PageCommit::default()
    };
    store.commit_page(page, at(0)).await.unwrap();
    record
}

async fn reserving(store: &SharedStore, since: Option<i64>) -> Vec<RecordId> {
    let orders: Vec<Replica> = store.unreserved_orders("order", "shop", "erp", since).await.unwrap();
    assert!(orders.iter().all(|order| order.system == "shop"), "as the shop has them");
    orders.into_iter().map(|order| order.record).collect()
}

async fn an_order_is_reserved_while_its_job_is_open_and_until_a_later_reading(backend: Backend) {
    let store = &backend.store;
    let before = store.counter().await.unwrap();
    let mut records = Vec::new();
    for number in ["1", "2", "3", "4"] {
        records.push(ordered(store, number).await);
    }
    assert_eq!(reserving(store, None).await, records, "queued");
    let jobs = claim(store, "erp", at(0)).await;
    assert_eq!(reserving(store, None).await, records, "running");
    let outcomes = vec![
        ends(&jobs[0], parked("missing:product=A")),
        ends(&jobs[1], Verdict::Dead { class: "rejected".into(), error: "no".into() }),
        Delivered { replica: Some(replica(records[2], "e3", "3")), ..done(&jobs[2]) },
        done(&jobs[3]),
    ];
    store.deliver("erp", "order", outcomes, at(1)).await.unwrap();
    assert_eq!(reserving(store, Some(before)).await, records[..3], "parked, dead, and written since");
    assert_eq!(reserving(store, None).await, records[..2]);
    let after = store.counter().await.unwrap();
    assert_eq!(reserving(store, Some(after)).await, records[..2], "a reading that began now knows of it");
    assert!(store.unreserved_orders("order", "shop", "crm", Some(0)).await.unwrap().is_empty());
}

async fn an_order_of_both_is_reserved_while_a_person_is_asked_about_it(backend: Backend) {
    let store = &backend.store;
    let record = ordered(store, "1").await;
    let job = claim(store, "erp", at(0)).await.remove(0);
    let there = Delivered { replica: Some(replica(record, "e1", "1")), ..done(&job) };
    store.deliver("erp", "order", vec![there], at(1)).await.unwrap();
    let asked =
        ConflictMark { record, field: "status".into(), kind: Some(ConflictKind::Drift), base: "cancelled".into() };
    let page = PageCommit { entity: "order".into(), conflicts: vec![asked], ..page(store, "shop").await };
    store.commit_page(page, at(2)).await.unwrap();
    assert_eq!(reserving(store, None).await, [record]);
    assert!(store.unreserved_orders("order", "shop", "crm", None).await.unwrap().is_empty(), "which has it not");
}

async fn what_a_shop_no_longer_has_is_not_reserved(backend: Backend) {
    let store = &backend.store;
    let record = ordered(store, "1").await;
    let gone = ReplicaWrite { gone: true, ..replica(record, "1", "1") };
    let page = PageCommit { entity: "order".into(), replicas: vec![gone], ..page(store, "shop").await };
    store.commit_page(page, at(1)).await.unwrap();
    assert!(reserving(store, Some(0)).await.is_empty());
}

async fn what_is_kept_back_is_remembered_until_it_is_nothing(backend: Backend) {
    let store = &backend.store;
    let (half, two) = (Decimal::new(5, 1), Decimal::TWO);
    let [one, other, third] = [7, 8, 9].map(RecordId);
    store.reserve("shop", &[(one, two), (other, half)]).await.unwrap();
    store.reserve("other", &[(one, half)]).await.unwrap();
    assert_eq!(store.reservations("shop").await.unwrap(), BTreeMap::from([(one, two), (other, half)]));
    store.reserve("shop", &[(one, half), (other, Decimal::ZERO), (third, Decimal::ZERO)]).await.unwrap();
    assert_eq!(store.reservations("shop").await.unwrap(), BTreeMap::from([(one, half)]));
    assert_eq!(store.reservations("other").await.unwrap(), BTreeMap::from([(one, half)]));
}

async fn a_note_becomes_true_with_its_page(backend: Backend) {
    let store = &backend.store;
    let value = json!({"print": "x"});
    let noted = PageCommit { notes: vec![("covered:erp".into(), value.clone())], ..page(store, "erp").await };
    store.commit_page(noted, at(0)).await.unwrap();
    assert_eq!(store.noted("covered:erp").await.unwrap(), Some(value));
}

async fn what_a_reading_proves_becomes_true_with_its_page(backend: Backend) {
    let store = &backend.store;
    let orders = OrderReadings { before: 2, last: 4 };
    let page = page(store, "shop").await;
    let (system, entity) = (page.system.clone(), page.entity.clone());
    store.set_adopted(&system, &entity).await.unwrap();
    let proven = Some(Proven::Orders(orders));
    store.commit_page(PageCommit { proven, ..page }, at(0)).await.unwrap();
    store.set_heard(&system, &entity, 4).await.unwrap();
    assert_eq!(store.heard(&system, &entity).await.unwrap(), Some(4));
    let reading = Reading { is_adopted: true, orders: Some(orders), ..Reading::default() };
    assert_eq!(store.reading(&system, &entity).await.unwrap(), reading, "each column by itself");
}
