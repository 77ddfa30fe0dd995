//! Brakes: which run a job belongs to, what is decided of it, and who waits for that.

use serde_json::json;
use vaiven::internals::store::{
    Balance, BrakeTrip, Claim, HeldJobs, Job, JobFilter, JobId, JobState, NewJob, PageCommit, Pending, RecordId,
    RunApproval, RunId, SharedStore, ViolationExample, WaitingApproval,
};
use vaiven::internals::wait_reason::WaitReason;

use super::backend::{Backend, at, change, claim, claim_of, done, ends, job, page, parked, promises, pulled};

promises! {
    a_job_knows_the_run_that_last_opened_it,
    a_job_of_a_held_or_rejected_run_stays_with_it,
    a_run_is_pending_from_its_first_job_to_its_approval,
    a_run_that_reads_with_another_mapping_says_so_to_its_jobs,
    only_jobs_of_records_that_the_target_holds_are_looked_at,
    a_run_that_is_clear_wakes_the_jobs_that_waited_for_it,
    a_held_run_parks_its_jobs_as_one_approval,
    a_decision_queues_what_it_is_about_and_is_taken_once,
    an_approval_with_nothing_left_to_decide_is_none,
    no_job_parks_for_an_approval_that_was_given_meanwhile,
    a_run_that_holds_jobs_outlives_the_purge,
}

/// A run that has opened jobs for these records at the shop.
async fn opening(store: &SharedStore, records: &[RecordId]) -> RunId {
    let commit = PageCommit {
        changes: records.iter().map(|record| change(*record, "new")).collect(),
        jobs: records.iter().map(|record| job("shop", *record)).collect(),
        balance: Balance { seen: 1, changed: 1, ..Balance::default() },
        ..page(store, "erp").await
    };
    let run = commit.run;
    store.commit_page(commit, at(1)).await.unwrap();
    run
}

/// Records that both the ERP and the shop hold.
async fn both(store: &SharedStore, count: i64) -> Vec<RecordId> {
    let mut records = Vec::new();
    for number in 0..count {
        let record = pulled(store, "erp", &number.to_string(), &format!("SKU-{number}")).await;
        assert_eq!(pulled(store, "shop", &format!("s{number}"), &format!("SKU-{number}")).await, record);
        records.push(record);
    }
    records
}

fn held(jobs: &[&Job]) -> HeldJobs {
    let trip = BrakeTrip {
        target: "shop".into(),
        brake: "delete".into(),
        violations: 480,
        base: 500,
        allowed: "5%".into(),
        examples: vec![ViolationExample {
            key: "SKU-0".into(),
            field: "active".into(),
            personal: false,
            before: json!(true),
            after: json!(null),
        }],
    };
    HeldJobs { trips: vec![trip], jobs: jobs.iter().map(|job| job.id).collect(), why: "look at it".into() }
}

async fn jobs(store: &SharedStore) -> Vec<Job> {
    let mut jobs = store.jobs(&JobFilter::default()).await.unwrap();
    jobs.sort_by_key(|job| job.id);
    jobs
}

async fn a_job_knows_the_run_that_last_opened_it(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    assert_eq!(jobs(store).await[0].run, None, "opened by a person");
    let first = opening(store, &[record]).await;
    assert_eq!(jobs(store).await[0].run, Some(first));
    let second = opening(store, &[record]).await;
    store.enqueue(&[job("shop", record)], at(2)).await.unwrap();
    assert_eq!(jobs(store).await[0].run, Some(second), "a person's opening changes nothing of that");
    let claimed = claim(store, "shop", at(3)).await;
    assert_eq!(claimed[0].run, Some(second));
    let third = opening(store, &[record]).await;
    assert_eq!(store.run_approvals(&[claimed[0].id]).await.unwrap()[&claimed[0].id].run, third, "also while it runs");
}

async fn a_job_of_a_held_or_rejected_run_stays_with_it(backend: Backend) {
    let store = &backend.store;
    let records = both(store, 1).await;
    let run = opening(store, &records).await;
    let open = jobs(store).await;
    store.set_run_approval(run, Some(&held(&[&open[0]])), at(2)).await.unwrap();
    opening(store, &records).await;
    opening(store, &records).await;
    let again = &jobs(store).await[0];
    assert_eq!((again.run, again.state), (Some(run), JobState::Queued), "it is judged again, as part of that run");
    let claimed = claim(store, "shop", at(3)).await;
    let waits = ends(&claimed[0], parked(&format!("brake:run-{run}")));
    store.deliver("shop", "product", vec![waits], at(3)).await.unwrap();
    store.decide_run(run, false, at(4)).await.unwrap();
    opening(store, &records).await;
    assert_eq!(jobs(store).await[0].run, Some(run), "until the rejection is carried out");
    let claimed = claim(store, "shop", at(5)).await;
    store.deliver("shop", "product", vec![done(&claimed[0])], at(5)).await.unwrap();
    let later = opening(store, &records).await;
    assert_eq!(jobs(store).await[1].run, Some(later));
}

async fn a_run_is_pending_from_its_first_job_to_its_approval(backend: Backend) {
    let store = &backend.store;
    let records = both(store, 1).await;
    assert!(store.pending().await.unwrap().is_empty(), "nothing was opened");
    let run = opening(store, &records).await;
    let gone = PageCommit { run, balance: Balance { gone: 7, ..Balance::default() }, ..page(store, "erp").await };
    store.commit_page(gone, at(1)).await.unwrap();
    let pending =
        Pending { run, system: "erp".into(), entity: "product".into(), gone: 7, remapped: false, joined: false };
    assert_eq!(store.pending().await.unwrap(), [pending]);
    let open = jobs(store).await;
    assert_eq!(store.run_approvals(&[open[0].id]).await.unwrap()[&open[0].id].approval, RunApproval::Pending);
    assert!(store.set_run_approval(run, None, at(2)).await.unwrap());
    assert!(!store.set_run_approval(run, Some(&held(&[])), at(2)).await.unwrap(), "ruled once");
    assert!(store.pending().await.unwrap().is_empty());
    let opened_by = store.run_approvals(&[open[0].id]).await.unwrap().remove(&open[0].id).unwrap();
    assert_eq!((opened_by.run, opened_by.system.as_str(), opened_by.approval), (run, "erp", RunApproval::Clear));
}

async fn a_run_that_reads_with_another_mapping_says_so_to_its_jobs(backend: Backend) {
    let store = &backend.store;
    let records = both(store, 1).await;
    let commit = PageCommit { jobs: vec![job("shop", records[0])], remapped: true, ..page(store, "erp").await };
    let run = commit.run;
    store.commit_page(commit, at(1)).await.unwrap();
    let more = PageCommit { run, balance: Balance { seen: 1, ..Balance::default() }, ..page(store, "erp").await };
    store.commit_page(more, at(1)).await.unwrap();
    assert!(store.pending().await.unwrap()[0].remapped, "also after a page that does not say it again");
    let open = jobs(store).await;
    assert!(store.run_approvals(&[open[0].id]).await.unwrap()[&open[0].id].remapped);
    let usual = opening(store, &records).await;
    assert!(!store.pending().await.unwrap().iter().any(|one| one.run == usual && one.remapped));
}

async fn only_jobs_of_records_that_the_target_holds_are_looked_at(backend: Backend) {
    let store = &backend.store;
    let mut records = vec![pulled(store, "erp", "new", "NEW").await];
    let run = opening(store, &records).await;
    assert!(store.opened(run, "shop", JobId(0), 10).await.unwrap().is_empty(), "the shop holds nothing");
    records.extend(both(store, 3).await);
    let run = opening(store, &records).await;
    let open = store.opened(run, "shop", JobId(0), 2).await.unwrap();
    assert_eq!(open.iter().map(|job| job.record).collect::<Vec<_>>(), records[1..3]);
    let rest = store.opened(run, "shop", open[1].id, 2).await.unwrap();
    assert_eq!(rest.iter().map(|job| job.record).collect::<Vec<_>>(), records[3..]);
    assert!(store.opened(run, "crm", JobId(0), 10).await.unwrap().is_empty());
    assert_eq!((store.live("shop", "product").await.unwrap(), store.live("shop", "price").await.unwrap()), (3, 0));
}

async fn a_run_that_is_clear_wakes_the_jobs_that_waited_for_it(backend: Backend) {
    let store = &backend.store;
    let records = both(store, 2).await;
    let run = opening(store, &records).await;
    let claimed = claim(store, "shop", at(2)).await;
    let outcomes = vec![ends(&claimed[0], parked(&format!("run:{run}"))), ends(&claimed[1], parked("lookup:tax=X"))];
    assert_eq!(store.deliver("shop", "product", outcomes, at(2)).await.unwrap().woken, 0);
    assert!(claim(store, "shop", at(3)).await.is_empty());
    store.set_run_approval(run, None, at(3)).await.unwrap();
    let woken = claim(store, "shop", at(3)).await;
    assert_eq!(woken.iter().map(|job| job.id).collect::<Vec<_>>(), [claimed[0].id]);
}

async fn a_held_run_parks_its_jobs_as_one_approval(backend: Backend) {
    let store = &backend.store;
    let records = both(store, 3).await;
    let run = opening(store, &records).await;
    let open = jobs(store).await;
    let running = store.claim(Claim { limit: 1, ..claim_of("shop") }, at(2)).await.unwrap();
    let held = held(&[&open[0], &open[1]]);
    assert!(store.set_run_approval(run, Some(&held), at(3)).await.unwrap());
    let states: Vec<JobState> = jobs(store).await.iter().map(|job| job.state).collect();
    assert_eq!(running[0].id, open[0].id);
    assert_eq!(states, [JobState::Running, JobState::Parked, JobState::Queued], "whoever runs it asks for the ruling");
    let waiting = &jobs(store).await[1];
    assert_eq!(waiting.cause, Some(WaitReason::Brake(run)));
    assert_eq!(waiting.error.as_deref(), Some("look at it"));
    let opened_by = store.run_approvals(&[open[0].id]).await.unwrap().remove(&open[0].id).unwrap();
    assert_eq!(opened_by.approval, RunApproval::Held);
    assert!(opened_by.tripped.contains(&("shop".into(), "delete".into())), "{opened_by:?}");
    let approvals = backend.second().await.waiting_approvals().await.unwrap();
    let WaitingApproval { run: of, system, entity, jobs, trips, .. } = &approvals[0];
    assert_eq!((*of, system.as_str(), entity.as_str(), *jobs), (run, "erp", "product", 1));
    assert_eq!(*trips, held.trips);
}

async fn a_decision_queues_what_it_is_about_and_is_taken_once(backend: Backend) {
    let store = &backend.store;
    let records = both(store, 2).await;
    let run = opening(store, &records).await;
    let open = jobs(store).await;
    assert_eq!(store.decide_run(run, true, at(2)).await.unwrap(), None, "nothing is held yet");
    store.set_run_approval(run, Some(&held(&[&open[0], &open[1]])), at(2)).await.unwrap();
    assert_eq!(store.decide_run(run, true, at(3)).await.unwrap(), Some(2));
    assert_eq!(store.decide_run(run, false, at(4)).await.unwrap(), None, "decided already");
    assert_eq!(store.run_approvals(&[open[0].id]).await.unwrap()[&open[0].id].approval, RunApproval::Approved);
    assert!(store.waiting_approvals().await.unwrap().is_empty());
    assert_eq!(claim(store, "shop", at(4)).await.len(), 2);
}

async fn an_approval_with_nothing_left_to_decide_is_none(backend: Backend) {
    let store = &backend.store;
    let records = both(store, 1).await;
    let run = opening(store, &records).await;
    let open = jobs(store).await;
    store.set_run_approval(run, Some(&held(&[&open[0]])), at(2)).await.unwrap();
    assert_eq!(store.waiting_approvals().await.unwrap().len(), 1);
    opening(store, &records).await;
    let claimed = claim(store, "shop", at(3)).await;
    store.deliver("shop", "product", vec![done(&claimed[0])], at(3)).await.unwrap();
    assert!(store.waiting_approvals().await.unwrap().is_empty(), "the source was corrected");
}

async fn no_job_parks_for_an_approval_that_was_given_meanwhile(backend: Backend) {
    let store = &backend.store;
    let records = both(store, 2).await;
    let run = opening(store, &records).await;
    let claimed = claim(store, "shop", at(2)).await;
    store.set_run_approval(run, Some(&held(&[])), at(3)).await.unwrap();
    let waits = ends(&claimed[0], parked(&format!("run:{run}")));
    assert_eq!(store.deliver("shop", "product", vec![waits], at(3)).await.unwrap().woken, 1);
    store.decide_run(run, false, at(4)).await.unwrap();
    let waits = ends(&claimed[1], parked(&format!("brake:run-{run}")));
    assert_eq!(store.deliver("shop", "product", vec![waits], at(4)).await.unwrap().woken, 1);
    assert_eq!(claim(store, "shop", at(4)).await.len(), 2);
}

async fn a_run_that_holds_jobs_outlives_the_purge(backend: Backend) {
    let store = &backend.store;
    let records = both(store, 1).await;
    let run = opening(store, &records).await;
    let open = jobs(store).await;
    store.set_run_approval(run, Some(&held(&[&open[0]])), at(2)).await.unwrap();
    while store.purge(at(1_000_000), 100).await.unwrap() > 0 {}
    assert_eq!(store.runs(10).await.unwrap().iter().map(|run| run.id).collect::<Vec<_>>(), [run]);
    assert_eq!(store.waiting_approvals().await.unwrap()[0].trips.len(), 1);
    store.enqueue(&[NewJob { target: "crm".into(), ..job("crm", records[0]) }], at(3)).await.unwrap();
    store.decide_run(run, true, at(3)).await.unwrap();
    let claimed = claim(store, "shop", at(3)).await;
    store.deliver("shop", "product", vec![done(&claimed[0])], at(3)).await.unwrap();
    while store.purge(at(1_000_000), 100).await.unwrap() > 0 {}
    assert!(store.runs(10).await.unwrap().is_empty());
}
