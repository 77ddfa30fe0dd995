//! Leases, orders, notes, standings and the purge.

use chrono::TimeDelta;
use serde_json::json;
use sqlx::Connection as _;
use vaiven::internals::store::{
    Attempt, Circuit, Delivered, JobFilter, NewChange, NewJob, PageCommit, RunKind, Verdict,
};

use super::backend::{Backend, LEASE, at, change, claim, done, ends, job, page, promises, pulled, replica, row};

promises! {
    one_owner_holds_a_lease_until_it_ends,
    a_command_stays_until_it_is_carried_out,
    of_a_flow_each_schedule_is_known_by_when_it_was_last_carried_out,
    notes_and_circuits_are_kept,
    jobs_that_a_clock_set_back_since_has_dated_are_due_now,
    the_purge_takes_old_closed_rows_in_slices_and_nothing_else,
}

async fn one_owner_holds_a_lease_until_it_ends(backend: Backend) {
    let (one, two) = (&backend.store, backend.second().await);
    let held = one.acquire("scheduler", "a", LEASE, at(0)).await.unwrap().unwrap();
    assert!(two.acquire("scheduler", "b", LEASE, at(30)).await.unwrap().is_none());
    assert!(one.keep(&held, LEASE, at(50)).await.unwrap());
    assert!(two.acquire("scheduler", "b", LEASE, at(100)).await.unwrap().is_none(), "kept until 110");
    let taken = two.acquire("scheduler", "b", LEASE, at(111)).await.unwrap().unwrap();
    assert!(taken.fence > held.fence);
    assert!(!one.keep(&held, LEASE, at(112)).await.unwrap());
    one.drop_lease(&held).await.unwrap();
    assert!(one.acquire("scheduler", "a", LEASE, at(113)).await.unwrap().is_none(), "what was lost cannot be dropped");
    two.drop_lease(&taken).await.unwrap();
    assert!(one.acquire("scheduler", "a", LEASE, at(113)).await.unwrap().unwrap().fence > taken.fence);
}

async fn a_command_stays_until_it_is_carried_out(backend: Backend) {
    let (one, two) = (&backend.store, backend.second().await);
    assert_eq!(one.next_command().await.unwrap(), None);
    let first = one.place_command("resync", "catalog", at(0)).await.unwrap();
    one.place_command("resync", "sales/order/7", at(1)).await.unwrap();
    let next = two.next_command().await.unwrap().unwrap();
    assert_eq!((next.id, next.scope.as_str(), next.at), (first, "catalog", at(0)));
    assert_eq!(one.next_command().await.unwrap().unwrap().id, first);
    two.close_command(first).await.unwrap();
    let last = one.next_command().await.unwrap().unwrap();
    assert_eq!(last.scope, "sales/order/7");
    one.close_command(last.id).await.unwrap();
    assert_eq!(two.next_command().await.unwrap(), None);
}

async fn of_a_flow_each_schedule_is_known_by_when_it_was_last_carried_out(backend: Backend) {
    let store = &backend.store;
    assert_eq!(store.fired("catalog", RunKind::Full).await.unwrap(), None);
    store.set_fired("catalog", RunKind::Full, at(1)).await.unwrap();
    assert_eq!(store.fired("catalog", RunKind::Delta).await.unwrap(), None);
    store.set_fired("catalog", RunKind::Delta, at(5)).await.unwrap();
    store.set_fired("catalog", RunKind::Delta, at(9)).await.unwrap();
    let second = backend.second().await;
    assert_eq!(second.fired("catalog", RunKind::Full).await.unwrap(), Some(at(1)));
    assert_eq!(second.fired("catalog", RunKind::Delta).await.unwrap(), Some(at(9)));
    assert_eq!(second.fired("stock", RunKind::Delta).await.unwrap(), None);
}

async fn notes_and_circuits_are_kept(backend: Backend) {
    let store = &backend.store;
    assert_eq!(store.noted("setup:shop").await.unwrap(), None);
    store.note("setup:shop", &json!("2026-01-01T00:00:00Z")).await.unwrap();
    store.note("setup:shop", &json!({ "at": 12.50 })).await.unwrap();
    assert_eq!(store.noted("setup:shop").await.unwrap(), Some(json!({ "at": 12.50 })));
    store.note("setups", &json!(1)).await.unwrap();
    let all = vec![("setup:shop".to_owned(), json!({ "at": 12.50 }))];
    assert_eq!(store.notes("setup:").await.unwrap(), all, "those alone that begin so");
    assert_eq!(store.circuit("shop").await.unwrap(), Circuit::default());
    let circuit = Circuit { until: Some(at(9)), failures: 3, reason: Some("503".into()) };
    store.set_circuit("shop", &circuit).await.unwrap();
    assert_eq!(backend.second().await.circuit("shop").await.unwrap(), circuit);
}

async fn jobs_that_a_clock_set_back_since_has_dated_are_due_now(backend: Backend) {
    const DAY: i64 = 86_400;
    let store = &backend.store;
    let mut records = Vec::new();
    for number in 0..3 {
        records.push(pulled(store, "erp", &number.to_string(), &format!("SKU-{number}")).await);
    }
    store.enqueue(&[job("shop", records[0])], at(DAY)).await.unwrap();
    store.enqueue(&[job("shop", records[1])], at(0)).await.unwrap();
    // Its time comes, and was told by the clock that is right.
    let later = NewJob { due: Some(at(DAY)), ..job("shop", records[2]) };
    store.enqueue(&[later], at(0)).await.unwrap();
    assert_eq!(store.hurry(at(60), at(10)).await.unwrap(), 1);
    let jobs = store.jobs(&JobFilter::default()).await.unwrap();
    let due = |record| jobs.iter().find(|job| job.record == record).unwrap().due;
    assert_eq!(records.iter().map(|record| due(*record)).collect::<Vec<_>>(), [at(10), at(0), at(DAY)]);
}

async fn the_purge_takes_old_closed_rows_in_slices_and_nothing_else(backend: Backend) {
    let store = &backend.store;
    let mut records = Vec::new();
    for number in 0..5 {
        records.push(pulled(store, "erp", &number.to_string(), &format!("SKU-{number}")).await);
    }
    let jobs: Vec<_> = records.iter().map(|record| job("shop", *record)).collect();
    store.enqueue(&jobs, at(0)).await.unwrap();
    let mut outcomes: Vec<Delivered> = claim(store, "shop", at(0)).await.iter().map(done).collect();
    let dead = Verdict::Dead { class: "rejected".into(), error: "no price".into() };
    outcomes[4].verdict = dead;
    for outcome in &mut outcomes {
        let attempt = Attempt {
            at: at(1),
            op: "create".into(),
            outcome: "done".into(),
            message: None,
            status: Some(201),
            requests: 1,
            millis: 12,
        };
        outcome.attempt = Some(attempt);
    }
    let kept = outcomes[4].job;
    let first = outcomes[0].job;
    store.deliver("shop", "product", outcomes, at(1)).await.unwrap();
    assert_eq!(store.attempts(first).await.unwrap()[0].status, Some(201));
    let changes: Vec<NewChange> = records.iter().map(|record| change(*record, "x")).collect();
    let late = at(0) + TimeDelta::days(90);
    store.commit_page(PageCommit { changes, ..page(store, "erp").await }, at(1)).await.unwrap();

    assert_eq!(store.purge(at(0), 2).await.unwrap(), 0, "nothing is that old");
    let before = late;
    let mut slices = Vec::new();
    loop {
        let purged = store.purge(before, 2).await.unwrap();
        if purged == 0 {
            break;
        }
        slices.push(purged);
    }
    assert!(slices.len() >= 3 && slices.iter().all(|purged| *purged <= 6), "{slices:?}");
    let left = store.jobs(&JobFilter::default()).await.unwrap();
    assert_eq!(left.iter().map(|job| job.id).collect::<Vec<_>>(), [kept], "the dead one waits for somebody");
    assert!(store.attempts(first).await.unwrap().is_empty());
    assert_eq!(store.attempts(kept).await.unwrap().len(), 1);
    assert!(store.changes(records[0], 9).await.unwrap().is_empty());
    assert!(store.runs(9).await.unwrap().is_empty());
    assert_eq!(store.replicas_of(&records).await.unwrap().len(), 5);
    // A job that is still open is never purged, and can still be taken up.
    store.retry(&JobFilter::default(), late).await.unwrap();
    let again = claim(store, "shop", late).await;
    let write = replica(again[0].record, "s4", "x");
    let outcome = Delivered { replica: Some(write), ..ends(&again[0], Verdict::Done { noop: false }) };
    assert!(store.deliver("shop", "product", vec![outcome], late).await.unwrap().lost.is_empty());
}

/// A first synchronisation was quadratic on PostgreSQL until its autovacuum had looked.
#[tokio::test]
async fn the_planner_learns_of_tables_that_grow() {
    let Some(backend) = Backend::postgres().await else { return };
    let rows = async |table: &str| -> f32 {
        let mut connection = sqlx::PgConnection::connect(&backend.url).await.unwrap();
        let sql = "SELECT reltuples FROM pg_class WHERE oid = to_regclass($1)";
        sqlx::query_scalar(sql).bind(table).fetch_one(&mut connection).await.unwrap()
    };
    assert!(rows("record").await < 0.0, "nothing is known of a new table");
    let unidentified: Vec<_> = (0..1000).map(|number| row(&format!("id-{number}"), &format!("SKU-{number}"))).collect();
    backend.store.identify("erp", "product", &unidentified, &[]).await.unwrap();
    assert!((rows("record").await - 1000.0).abs() < 1.0);
}
