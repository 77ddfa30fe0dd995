//! A future may be dropped at any await; what it was doing is then done or never happened.

use std::{future::Future, pin::pin, task::Poll};

use vaiven::internals::store::{PageCommit, ReplicaWrite};

use super::backend::{Backend, at, change, fields, job, page, promises, pulled, replica};

promises! { a_page_dropped_half_way_is_durable_or_never_happened }

/// Drives a future through at most that many wake-ups.
async fn drop_after<F: Future>(wakeups: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polls = 0;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if polls == wakeups => Poll::Ready(None),
        Poll::Pending => {
            polls += 1;
            Poll::Pending
        }
    })
    .await
}

async fn a_page_dropped_half_way_is_durable_or_never_happened(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let mut dropped = 0;
    for wakeups in 0..60 {
        let name = format!("name {wakeups}");
        let commit = PageCommit {
            replicas: vec![ReplicaWrite { fields: fields(&name), ..replica(record, "1", &name) }],
            changes: vec![change(record, &name)],
            jobs: vec![job(&format!("shop-{wakeups}"), record)],
            cursor: Some(name.clone()),
            ..page(store, "erp").await
        };
        let finished = drop_after(wakeups, store.commit_page(commit, at(1))).await;
        dropped += usize::from(finished.is_none());
        // The page is there or it is not: a commit that was on its way may still land, so a look during which it did is no
        // look at one moment.
        loop {
            let durable = store.cursor("erp", "product").await.unwrap() == Some(name.clone());
            let replica = store.replicas_of(&[record]).await.unwrap().remove(0);
            // By its own name: a page of an earlier round may land as late as now.
            let changes = store.changes(record, 1000).await.unwrap();
            let recorded = changes.iter().filter(|recorded| recorded.fields == change(record, &name).fields).count();
            let queued = store.backlog().await.unwrap().iter().any(|open| open.target == format!("shop-{wakeups}"));
            if durable == (store.cursor("erp", "product").await.unwrap() == Some(name.clone())) {
                assert_eq!(
                    (replica.fields == fields(&name), recorded, queued),
                    (durable, usize::from(durable), durable)
                );
                break;
            }
        }
        finished.map(|result| result.unwrap());
    }
    // How many depends on how fast the database answers.
    assert!(dropped > 0, "every page ended before it was dropped");
}
