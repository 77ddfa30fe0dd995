//! The queue: one open job per target and record, leases, fences, waking.

use vaiven::store::{Delivered, JobFilter, JobState};

use super::backend::{Backend, LEASE, at, claim, done, ends, job, parked, promises, pulled, replica};

promises! {
    at_most_one_open_job_per_target_and_record,
    a_lost_lease_writes_nothing,
    a_change_during_delivery_runs_the_job_again,
    parked_jobs_wake_when_what_they_miss_arrives,
}

async fn at_most_one_open_job_per_target_and_record(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let twice = [job("shop", record), vaiven::store::NewJob { lane: 2, ..job("shop", record) }];
    store.enqueue(&twice, at(0)).await.unwrap();
    store.enqueue(&[job("shop", record)], at(1)).await.unwrap();
    let jobs = store.jobs(&JobFilter::default()).await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].lane, jobs[0].state), (2, JobState::Queued));
}

async fn a_lost_lease_writes_nothing(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    let slow = claim(store, "shop", at(0)).await;
    assert!(claim(store, "shop", at(59)).await.is_empty(), "leased");
    let quick = claim(store, "shop", at(61)).await;
    assert_eq!((quick.len(), quick[0].id), (1, slow[0].id));

    let late = Delivered { replica: Some(replica(record, "s1", "late")), ..done(&slow[0]) };
    let summary = store.deliver("shop", "product", vec![late], at(62)).await.unwrap();
    assert_eq!(summary.lost, [slow[0].id]);
    assert!(store.replicas_by_id("shop", "product", &["s1".into()]).await.unwrap().is_empty());
    assert!(store.renew(&[(slow[0].id, slow[0].fence)], LEASE, at(62)).await.unwrap().is_empty());
    assert_eq!(store.renew(&[(quick[0].id, quick[0].fence)], LEASE, at(62)).await.unwrap(), [quick[0].id]);
}

async fn a_change_during_delivery_runs_the_job_again(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    store.enqueue(&[job("shop", record)], at(1)).await.unwrap();
    store.deliver("shop", "product", vec![done(&claimed[0])], at(2)).await.unwrap();
    let again = claim(store, "shop", at(2)).await;
    assert_eq!(again.len(), 1);
    store.deliver("shop", "product", vec![done(&again[0])], at(3)).await.unwrap();
    assert!(claim(store, "shop", at(9)).await.is_empty());
}

async fn parked_jobs_wake_when_what_they_miss_arrives(backend: Backend) {
    let store = &backend.store;
    let (one, two) = (pulled(store, "erp", "1", "A").await, pulled(store, "erp", "2", "B").await);
    store.enqueue(&[job("shop", one), job("shop", two)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let waits = ends(&claimed[0], parked("missing:product=B"));
    let summary = store.deliver("shop", "product", vec![waits], at(1)).await.unwrap();
    assert_eq!(summary.woken, 0);
    let arrives = Delivered { replica: Some(replica(two, "s2", "b")), ..done(&claimed[1]) };
    let summary = store.deliver("shop", "product", vec![arrives], at(2)).await.unwrap();
    assert_eq!(summary.woken, 1);
    assert_eq!(claim(store, "shop", at(2)).await[0].record, one);
}
