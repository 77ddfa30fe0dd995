//! What a target holds otherwise than it was sent, kept until it is over.

use vaiven::internals::{
    mapping::Fields,
    store::{DifferenceMark, JobFilter, JobId, JobState, PageCommit, RecordId, ReplicaWrite, SharedStore},
};

use super::backend::{Backend, at, claim, ends, fields, job, page, parked, promises, pulled, replica};

promises! {
    a_difference_stands_until_a_page_no_longer_shows_it,
    an_accepted_difference_wakes_its_job_and_is_reported_no_more,
}

async fn state_of(store: &SharedStore, job: JobId) -> JobState {
    store.jobs(&JobFilter { ids: vec![job], ..JobFilter::default() }).await.unwrap().remove(0).state
}

async fn differing(backend: &Backend) -> (RecordId, JobId) {
    let store = &backend.store;
    let record = pulled(store, "shop", "1", "A").await;
    let opened = PageCommit { jobs: vec![job("shop", record)], ..page(store, "erp").await };
    store.commit_page(opened, at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await.remove(0);
    let sent = Fields::from_iter([("name".to_owned(), "sent".into())]);
    let mut outcome = ends(&claimed, parked("differs:product.name=A"));
    outcome.replica = Some(ReplicaWrite { sent, ..replica(record, "1", "held") });
    outcome.differs = vec![DifferenceMark { record, field: "name".into(), mapping: u64::MAX }];
    store.deliver("shop", "product", vec![outcome], at(1)).await.unwrap();
    let found = store.differences(false, 0).await.unwrap();
    assert_eq!((found.len(), store.difference_count().await.unwrap()), (1, 1));
    let one = &found[0];
    assert_eq!((one.sent.as_str(), one.stored.as_str(), one.mapping), (Some("sent"), Some("held"), u64::MAX));
    assert_eq!((one.system.as_str(), one.key.as_str(), one.since), ("shop", "A", at(1)));
    assert_eq!(&store.differences_of("shop", &[record]).await.unwrap(), &found);
    (record, claimed.id)
}

async fn a_difference_stands_until_a_page_no_longer_shows_it(backend: Backend) {
    let (record, job) = differing(&backend).await;
    let store = &backend.store;
    let sent = Fields::from_iter([("name".to_owned(), "sent".into())]);
    let same = ReplicaWrite { sent, ..replica(record, "1", "held") };
    let commit = PageCommit { replicas: vec![same], ..page(store, "shop").await };
    store.commit_page(commit, at(2)).await.unwrap();
    assert_eq!((store.difference_count().await.unwrap(), state_of(store, job).await), (1, JobState::Parked));
    let arrived = ReplicaWrite { fields: fields("sent"), ..replica(record, "1", "sent") };
    let commit = PageCommit { replicas: vec![arrived], ..page(store, "shop").await };
    store.commit_page(commit, at(3)).await.unwrap();
    assert_eq!((store.difference_count().await.unwrap(), state_of(store, job).await), (0, JobState::Queued));
}

async fn an_accepted_difference_wakes_its_job_and_is_reported_no_more(backend: Backend) {
    let (record, job) = differing(&backend).await;
    let store = &backend.store;
    let one = [("shop".to_owned(), record, "name".to_owned())];
    assert_eq!(store.accept_differences(&one, at(2)).await.unwrap(), 1);
    assert_eq!(store.accept_differences(&one, at(2)).await.unwrap(), 0);
    assert_eq!((store.difference_count().await.unwrap(), state_of(store, job).await), (0, JobState::Queued));
    assert!(store.differences(true, 0).await.unwrap()[0].accepted);
}
