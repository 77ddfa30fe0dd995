//! The queue: one open job per target and record, leases, fences, waking.

use vaiven::internals::store::{
    Claim, Delivered, GivenUp, Intent, Job, JobFilter, JobId, JobState, NewJob, RecordId, ReplicaWrite, Turn, Verdict,
};

use super::backend::{Backend, LEASE, at, claim, claim_of, done, ends, job, parked, promises, pulled, replica};

promises! {
    at_most_one_open_job_per_target_and_record,
    a_lost_lease_writes_nothing,
    a_change_during_delivery_runs_the_job_again,
    parked_jobs_wake_when_what_they_miss_arrives,
    a_job_does_not_park_on_what_has_arrived_meanwhile,
    the_foremost_priority_comes_first_and_one_entity_at_a_time,
    a_turn_by_waiting_takes_what_has_been_due_longest_whatever_its_priority,
    a_due_time_and_a_backoff_are_waited_for,
    what_is_due_next_is_listed_by_target_and_entity,
    a_changed_record_rearms_its_dead_and_parked_jobs,
    two_workers_never_claim_the_same_job,
    deliveries_raise_the_counter_that_their_replicas_carry,
    a_discarded_job_comes_back_with_what_it_had_begun_unless_another_has_followed,
}

async fn a_discarded_job_comes_back_with_what_it_had_begun_unless_another_has_followed(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let given_up = async || store.given_up().await.unwrap();
    let all = JobFilter::default();
    store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    let first = claim(store, "shop", at(0)).await.remove(0);
    let intent = Intent::new(vaiven::internals::port::Op::Create, at(0));
    store.intend(&[(first.id, first.fence, intent.clone())], at(0)).await.unwrap();
    let dead = || Verdict::Dead { class: "rejected".into(), error: "no".into() };
    store.deliver("shop", "product", vec![ends(&first, dead())], at(1)).await.unwrap();
    assert_eq!(store.restore(&all, at(2)).await.unwrap(), 0, "a dead one is not discarded");
    store.discard(&all, at(2)).await.unwrap();
    assert_eq!(given_up().await, [(GivenUp::Discarded, "shop".to_owned(), "product".to_owned(), 1)]);
    assert_eq!(store.restore(&all, at(3)).await.unwrap(), 1);
    assert_eq!(given_up().await, []);
    let back = claim(store, "shop", at(3)).await.remove(0);
    assert_eq!((back.id, back.intent), (first.id, Some(intent)), "what it had begun is looked up first");
    store
        .deliver("shop", "product", vec![ends(&Job { fence: back.fence, ..first.clone() }, dead())], at(4))
        .await
        .unwrap();
    store.discard(&all, at(4)).await.unwrap();
    store.enqueue(&[job("shop", record)], at(5)).await.unwrap();
    assert_eq!(given_up().await, [], "the next one delivers what is wanted");
    assert_eq!(store.restore(&all, at(6)).await.unwrap(), 0);
}

async fn at_most_one_open_job_per_target_and_record(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let twice = [job("shop", record), NewJob { priority: 2, ..job("shop", record) }];
    store.enqueue(&twice, at(0)).await.unwrap();
    store.enqueue(&[job("shop", record)], at(1)).await.unwrap();
    let jobs = store.jobs(&JobFilter::default()).await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].priority, jobs[0].state), (2, JobState::Queued));
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

async fn the_foremost_priority_comes_first_and_one_entity_at_a_time(backend: Backend) {
    let store = &backend.store;
    let open =
        |entity: &str, record, priority| NewJob { entity: entity.into(), priority, ..job("shop", RecordId(record)) };
    let jobs =
        [open("product", 1, 5), open("price", 2, 5), open("stock", 3, 5), open("stock", 4, 1), open("order", 5, 9)];
    store.enqueue(&jobs, at(0)).await.unwrap();
    let mut claimed = Vec::new();
    loop {
        let batch = claim(store, "shop", at(0)).await;
        let Some(first) = batch.first() else { break };
        assert!(batch.iter().all(|job| (job.priority, &job.entity) == (first.priority, &first.entity)));
        claimed.push((first.priority, first.entity.clone(), batch.len()));
    }
    assert_eq!(claimed.iter().map(|(priority, ..)| *priority).collect::<Vec<_>>(), [1, 5, 5, 5, 9]);
    assert_eq!(claimed[0], (1, "stock".into(), 1));
    assert!(claim(store, "crm", at(0)).await.is_empty());

    store.enqueue(&[open("product", 8, 5), open("price", 9, 5)], at(0)).await.unwrap();
    let rest = store.claim(Claim { but: &["product".into()], ..claim_of("shop") }, at(0)).await.unwrap();
    assert_eq!(
        rest.iter().map(|job| job.record).collect::<Vec<_>>(),
        [RecordId(9)],
        "entities that are busy are left alone"
    );
}

async fn a_turn_by_waiting_takes_what_has_been_due_longest_whatever_its_priority(backend: Backend) {
    let store = &backend.store;
    let open = |entity: &str, record, priority, due| NewJob {
        entity: entity.into(),
        priority,
        due: Some(at(due)),
        ..job("shop", RecordId(record))
    };
    let jobs = [open("product", 1, 5, 1), open("product", 2, 5, 8), open("stock", 3, 1, 5), open("order", 4, 0, 9)];
    store.enqueue(&jobs, at(0)).await.unwrap();
    let longest = Claim { turn: Turn::Longest, limit: 1, ..claim_of("shop") };
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(store.claim(longest, at(8)).await.unwrap().first().map(|job| job.record));
    }
    assert_eq!(taken, [Some(RecordId(1)), Some(RecordId(3)), Some(RecordId(2)), None], "the order is not due yet");
    assert_eq!(store.claim(longest, at(9)).await.unwrap()[0].record, RecordId(4));
}

async fn a_due_time_and_a_backoff_are_waited_for(backend: Backend) {
    let store = &backend.store;
    store.enqueue(&[NewJob { due: Some(at(10)), ..job("shop", RecordId(1)) }], at(0)).await.unwrap();
    assert!(claim(store, "shop", at(9)).await.is_empty());
    let claimed = claim(store, "shop", at(10)).await;
    let intent = Intent::new(vaiven::internals::port::Op::Create, at(10));
    let held = store.intend(&[(claimed[0].id, claimed[0].fence, intent.clone())], at(10)).await.unwrap();
    assert_eq!(held, [claimed[0].id]);
    let retry = Verdict::Retry {
        at: at(40),
        burn: true,
        intent: Some(intent.clone()),
        class: "unknown".into(),
        error: "no answer".into(),
    };
    store.deliver("shop", "product", vec![ends(&claimed[0], retry)], at(11)).await.unwrap();
    store.enqueue(&[job("shop", RecordId(1))], at(12)).await.unwrap();
    assert!(claim(store, "shop", at(39)).await.is_empty(), "a change does not shorten a backoff");
    let again = claim(store, "shop", at(40)).await;
    assert_eq!((again[0].attempts, again[0].intent.as_ref()), (1, Some(&intent)));
    assert_eq!(again[0].error.as_deref(), Some("no answer"));
}

async fn what_is_due_next_is_listed_by_target_and_entity(backend: Backend) {
    let store = &backend.store;
    let mut records = Vec::new();
    for key in ["A", "B", "C", "D"] {
        records.push(pulled(store, "erp", key, key).await);
    }
    let due = |record: usize, priority, due| NewJob { priority, due: Some(at(due)), ..job("shop", records[record]) };
    let price = NewJob { entity: "price".into(), ..due(3, 2, 90) };
    store.enqueue(&[due(0, 5, 300), due(1, 5, 200), due(2, 7, 100), price], at(0)).await.unwrap();
    let soonest = store.soonest("shop").await.unwrap();
    let (price, product) = ("price".to_owned(), "product".to_owned());
    assert_eq!(soonest, [(price.clone(), at(90)), (product.clone(), at(200)), (product.clone(), at(100))]);
    assert!(store.soonest("erp").await.unwrap().is_empty());
    // What is under way is due when its lease ends; what is done is not.
    let claimed = claim(store, "shop", at(95)).await;
    assert_eq!(store.soonest("shop").await.unwrap()[0], (price, at(95) + LEASE));
    store.deliver("shop", "price", vec![done(&claimed[0])], at(96)).await.unwrap();
    assert_eq!(store.soonest("shop").await.unwrap(), [(product.clone(), at(200)), (product, at(100))]);
}

async fn a_changed_record_rearms_its_dead_and_parked_jobs(backend: Backend) {
    let store = &backend.store;
    store.enqueue(&[job("shop", RecordId(1)), job("shop", RecordId(2))], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let dead = Verdict::Dead { class: "rejected".into(), error: "no price".into() };
    let ends = vec![ends(&claimed[0], dead), ends(&claimed[1], parked("lookup:tax=IGIC7"))];
    store.deliver("shop", "product", ends, at(1)).await.unwrap();
    assert!(claim(store, "shop", at(9)).await.is_empty());
    store.enqueue(&[job("shop", RecordId(1)), job("shop", RecordId(2))], at(10)).await.unwrap();
    let again = claim(store, "shop", at(10)).await;
    assert_eq!(
        again.iter().map(|job| (job.record, job.attempts)).collect::<Vec<_>>(),
        [(RecordId(1), 0), (RecordId(2), 0)]
    );
    assert!(again.iter().all(|job| job.error.is_none() && job.cause.is_none()));
}

async fn two_workers_never_claim_the_same_job(backend: Backend) {
    let jobs: Vec<NewJob> = (0..400).map(|record| job("shop", RecordId(record))).collect();
    backend.store.enqueue(&jobs, at(0)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = backend.second().await;
        tasks.spawn(async move {
            let mut mine = Vec::new();
            for _ in 0..60 {
                let batch = store.claim(Claim { limit: 20, ..claim_of("shop") }, at(0)).await.unwrap();
                mine.extend(batch.into_iter().map(|job| job.id));
            }
            mine
        });
    }
    let mut all: Vec<JobId> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(all.len(), 400);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 400);
}

async fn a_job_does_not_park_on_what_has_arrived_meanwhile(backend: Backend) {
    let store = &backend.store;
    let (one, two) = (pulled(store, "erp", "1", "A").await, pulled(store, "erp", "2", "B").await);
    store.enqueue(&[job("shop", one), job("shop", two)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let child_ids = [("variants".to_owned(), [("B-RED".to_owned(), Some("v9".to_owned()))].into())].into();
    let write = ReplicaWrite { child_ids: Some(child_ids), ..replica(two, "s2", "b") };
    let arrives = Delivered { replica: Some(write), ..done(&claimed[1]) };
    store.deliver("shop", "product", vec![arrives], at(1)).await.unwrap();
    let waits = ends(&claimed[0], parked("missing:product.variants=B-RED"));
    assert_eq!(store.deliver("shop", "product", vec![waits], at(2)).await.unwrap().woken, 1);
    assert_eq!(claim(store, "shop", at(2)).await.len(), 1);
    let asked = ("product.variants".to_owned(), "B-RED".to_owned());
    let found = store.child_ids("shop", std::slice::from_ref(&asked)).await.unwrap();
    assert_eq!(found[&asked], [("v9".to_owned(), two)]);
    let child = &store.children_of(&[two]).await.unwrap()[&two][0];
    assert_eq!((child.list.as_str(), child.key.as_str(), child.id.as_str()), ("variants", "B-RED", "v9"));
}

async fn deliveries_raise_the_counter_that_their_replicas_carry(backend: Backend) {
    let store = &backend.store;
    let before = store.counter().await.unwrap();
    let record = pulled(store, "erp", "1", "A").await;
    assert_eq!(store.counter().await.unwrap(), before, "a page does not");
    store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let write = Delivered { replica: Some(replica(record, "s1", "a")), ..done(&claimed[0]) };
    store.deliver("shop", "product", vec![write], at(1)).await.unwrap();
    let written = store.replicas_by_id("shop", "product", &["s1".into()]).await.unwrap()[0].written;
    assert!(written > before);
    assert_eq!(store.counter().await.unwrap(), written);
}
