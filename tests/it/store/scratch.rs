//! Copies of the state to try something on.

use std::{collections::BTreeMap, path::Path};

use serde_json::json;
use vaiven::internals::{
    env::Env,
    store::{
        self, Attempt, Circuit, Delivered, JobFilter, JobState, NewChange, NewRun, Origin, RunId, RunKind, Verdict,
    },
};

use super::backend::{Backend, LEASE, at, change, claim, done, ends, identify, job, page, promises, pulled, replica};

promises! {
    a_copy_holds_what_the_state_holds_and_changes_nothing_of_it,
    in_a_copy_nothing_is_under_way_and_nothing_waits_for_its_time,
    numbers_go_on_in_a_copy,
    a_copy_is_gone_when_it_is_removed_and_when_it_is_dropped,
    what_deliveries_took_is_measured_for_the_copy,
    records_that_became_one_since_are_reported_once,
    a_job_claimed_exclusively_is_ours_and_what_was_queued_runs_afterwards,
    what_is_running_parked_or_begun_is_not_claimed_exclusively,
    a_lease_tells_its_holder_while_it_lasts,
    a_run_lists_its_changes_and_a_record_its_whole_history,
}

async fn a_copy_holds_what_the_state_holds_and_changes_nothing_of_it(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    store.set_adopted("shop", "product").await.unwrap();
    let copy = store::copy(&backend.url, &Env::system()).await.unwrap();
    assert_eq!(copy.store.replicas_of(&[record]).await.unwrap(), store.replicas_of(&[record]).await.unwrap());
    assert!(copy.store.reading("shop", "product").await.unwrap().is_adopted);
    assert_eq!(copy.store.record("product", "A").await.unwrap(), Some(record));
    assert!(copy.store.changes(record, 9).await.unwrap().is_empty(), "history stays behind");

    pulled(&copy.store, "shop", "s1", "A").await;
    let claimed = claim(&copy.store, "shop", at(1)).await;
    copy.store.deliver("shop", "product", vec![done(&claimed[0])], at(1)).await.unwrap();
    copy.store.set_adopted("shop", "price").await.unwrap();
    assert_eq!(store.replicas_of(&[record]).await.unwrap().len(), 1);
    assert!(!store.reading("shop", "price").await.unwrap().is_adopted);
    assert_eq!(store.jobs(&JobFilter::default()).await.unwrap()[0].state, JobState::Queued);
    assert_eq!(store.runs(9).await.unwrap().len(), 1);
    copy.remove().await.unwrap();
}

async fn in_a_copy_nothing_is_under_way_and_nothing_waits_for_its_time(backend: Backend) {
    let store = &backend.store;
    let (one, two) = (pulled(store, "erp", "1", "A").await, pulled(store, "erp", "2", "B").await);
    store.enqueue(&[job("shop", one), job("shop", two)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let later = Verdict::Retry {
        at: at(1_000_000_000),
        burn: true,
        intent: None,
        class: "unknown".into(),
        error: "no answer".into(),
    };
    store.deliver("shop", "product", vec![ends(&claimed[1], later)], at(0)).await.unwrap();
    let paused = Circuit { until: Some(at(1_000_000_000)), failures: 3, reason: Some("down".into()) };
    store.set_circuit("shop", &paused).await.unwrap();
    store.acquire("pull:erp/product", "daemon", LEASE, at(0)).await.unwrap().unwrap();

    let env = Env::system();
    let copy = store::copy(&backend.url, &env).await.unwrap();
    assert_eq!(copy.store.circuit("shop").await.unwrap(), Circuit::default());
    assert!(copy.store.acquire("pull:erp/product", "plan", LEASE, at(0)).await.unwrap().is_some());
    let due = claim(&copy.store, "shop", env.now()).await;
    assert_eq!(due.len(), 2);
    copy.remove().await.unwrap();
    assert_eq!(store.circuit("shop").await.unwrap(), paused);
    assert_eq!(store.holder("pull:erp/product", at(1)).await.unwrap().as_deref(), Some("daemon"));
}

async fn numbers_go_on_in_a_copy(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let runs = store.runs(9).await.unwrap();
    store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let written = Delivered { replica: Some(replica(record, "s1", "A")), ..done(&claimed[0]) };
    store.deliver("shop", "product", vec![written], at(0)).await.unwrap();
    let copy = store::copy(&backend.url, &Env::system()).await.unwrap();
    assert!(copy.mark >= 2);
    assert_eq!(copy.store.counter().await.unwrap(), store.counter().await.unwrap());
    assert!(
        copy.store.begin_run(NewRun::new("erp", "product", RunKind::Delta, "x"), at(0)).await.unwrap() > runs[0].id
    );
    copy.store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    assert!(claim(&copy.store, "shop", at(1)).await[0].id > claimed[0].id, "a closed job's number is not given again");
    let new = pulled(&copy.store, "erp", "9", "Z").await;
    assert!(new > record);
    copy.remove().await.unwrap();
}

/// Folders or schemas of copies that are there.
async fn copies(url: &str) -> usize {
    if let Some(path) = url.strip_prefix("sqlite://") {
        let entries = std::fs::read_dir(Path::new(path).parent().unwrap()).unwrap();
        return entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    }
    let pool = sqlx::PgPool::connect(url).await.unwrap();
    let names: Vec<String> =
        sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname, 'vaiven_plan_')")
            .fetch_all(&pool)
            .await
            .unwrap();
    // Other tests have copies of their own: those of ours hold our note.
    let mut ours = 0;
    for name in names {
        let sql = format!("SELECT count(*) FROM {name}.note WHERE name = '{url}'");
        ours += usize::from(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap_or(0_i64) > 0);
    }
    ours
}

async fn a_copy_is_gone_when_it_is_removed_and_when_it_is_dropped(backend: Backend) {
    backend.store.note(&backend.url, &json!(1)).await.unwrap();
    let copy = store::copy(&backend.url, &Env::system()).await.unwrap();
    assert_eq!(copies(&backend.url).await, 1);
    copy.remove().await.unwrap();
    assert_eq!(copies(&backend.url).await, 0);
    drop(store::copy(&backend.url, &Env::system()).await.unwrap());
    // In PostgreSQL it takes a moment, after the one who dropped it has gone on.
    for _ in 0..10_000 {
        if copies(&backend.url).await == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the copy is still there");
}

async fn what_deliveries_took_is_measured_for_the_copy(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let attempt = Attempt {
        at: at(0),
        op: "create".into(),
        outcome: "done".into(),
        message: None,
        status: None,
        requests: 3,
        millis: 750,
    };
    let delivered = Delivered { attempt: Some(attempt), ..done(&claimed[0]) };
    store.deliver("shop", "product", vec![delivered], at(0)).await.unwrap();
    let copy = store::copy(&backend.url, &Env::system()).await.unwrap();
    let measured = &copy.measured[0];
    assert_eq!((&*measured.target, &*measured.entity, measured.requests, measured.millis), ("shop", "product", 3, 750));
    assert_eq!(copy.measured.len(), 1);
    copy.remove().await.unwrap();
}

async fn records_that_became_one_since_are_reported_once(backend: Backend) {
    let store = &backend.store;
    let old = pulled(store, "erp", "1", "OLD").await;
    pulled(store, "shop", "s1", "OLD").await;
    let before = store.linked_since(0, 10).await.unwrap();
    assert_eq!((before.len(), before[0].record), (1, old));
    let mark = before[0].number;
    pulled(store, "erp", "2", "B").await;
    pulled(store, "shop", "s2", "B").await;
    pulled(store, "crm", "c2", "B").await;
    pulled(store, "erp", "3", "ALONE").await;
    let since = store.linked_since(mark, 10).await.unwrap();
    assert_eq!(since.len(), 1);
    let ids = [("crm", "c2"), ("erp", "2"), ("shop", "s2")].map(|(system, id)| (system.to_owned(), id.to_owned()));
    assert_eq!((&*since[0].key, &*since[0].entity, &since[0].ids), ("B", "product", &BTreeMap::from(ids)));
    assert!(store.linked_since(since[0].number, 10).await.unwrap().is_empty());
}

async fn a_job_claimed_exclusively_is_ours_and_what_was_queued_runs_afterwards(backend: Backend) {
    let store = &backend.store;
    let (one, two) = (pulled(store, "erp", "1", "A").await, pulled(store, "erp", "2", "B").await);
    store.enqueue(&[job("shop", one)], at(0)).await.unwrap();
    let claimed = store.claim_exclusively(&[job("shop", one), job("shop", two)], "undo", LEASE, at(1)).await.unwrap();
    assert_eq!(claimed.iter().map(|job| job.record).collect::<Vec<_>>(), [one, two]);
    assert!(claim(store, "shop", at(2)).await.is_empty(), "nobody else has them");
    store.deliver("shop", "product", claimed.iter().map(done).collect(), at(3)).await.unwrap();
    let again = claim(store, "shop", at(3)).await;
    assert_eq!(again.iter().map(|job| job.record).collect::<Vec<_>>(), [one], "the other was not queued");
}

async fn what_is_running_parked_or_begun_is_not_claimed_exclusively(backend: Backend) {
    let store = &backend.store;
    let (one, two) = (pulled(store, "erp", "1", "A").await, pulled(store, "erp", "2", "B").await);
    store.enqueue(&[job("shop", one), job("shop", two)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let parked = ends(&claimed[1], super::backend::parked("conflict"));
    store.deliver("shop", "product", vec![parked], at(0)).await.unwrap();
    assert!(
        store.claim_exclusively(&[job("shop", one), job("shop", two)], "undo", LEASE, at(1)).await.unwrap().is_empty()
    );
}

async fn a_lease_tells_its_holder_while_it_lasts(backend: Backend) {
    let store = &backend.store;
    assert_eq!(store.holder("deliver:shop", at(0)).await.unwrap(), None);
    let lease = store.acquire("deliver:shop", "me", LEASE, at(0)).await.unwrap().unwrap();
    assert_eq!(store.holder("deliver:shop", at(59)).await.unwrap().as_deref(), Some("me"));
    assert_eq!(store.holder("deliver:shop", at(61)).await.unwrap(), None);
    assert!(store.keep(&lease, LEASE, at(61)).await.unwrap());
    store.drop_lease(&lease).await.unwrap();
    assert_eq!(store.holder("deliver:shop", at(62)).await.unwrap(), None);
}

async fn a_run_lists_its_changes_and_a_record_its_whole_history(backend: Backend) {
    let store = &backend.store;
    let record = identify(store, "erp", "1", "A").await.record;
    let mut commit = page(store, "erp").await;
    let run = commit.run;
    commit.replicas.push(replica(record, "1", "A"));
    commit.changes.push(change(record, "A"));
    store.commit_page(commit, at(0)).await.unwrap();
    store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let edit = NewChange { ..change(record, "at the shop") };
    store.deliver("shop", "product", vec![Delivered { change: Some(edit), ..done(&claimed[0]) }], at(1)).await.unwrap();

    let of_run = store.changes_of_run(run, 0, 10).await.unwrap();
    assert_eq!((of_run.len(), of_run[0].cause), (1, Origin::Run(run)));
    assert!(store.changes_of_run(run, of_run[0].id, 10).await.unwrap().is_empty());
    let causes: Vec<Origin> = store.history(&[record]).await.unwrap().into_iter().map(|change| change.cause).collect();
    assert_eq!(causes, [Origin::Run(run), Origin::Job(claimed[0].id)]);
    assert_eq!(store.run(run).await.unwrap().map(|run| run.system), Some("erp".to_owned()));
    assert!(store.run(RunId(run.0 + 99)).await.unwrap().is_none());
}

#[tokio::test]
async fn where_there_is_no_state_a_copy_is_empty_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("state/vaiven.db").display());
    let copy = store::copy(&url, &Env::system()).await.unwrap();
    assert!(copy.store.runs(1).await.unwrap().is_empty());
    copy.remove().await.unwrap();
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn what_a_killed_process_left_is_cleared_and_what_another_works_on_is_not() {
    let backend = Backend::sqlite().await;
    let state = Path::new(backend.url.strip_prefix("sqlite://").unwrap());
    let dead = state.with_file_name("vaiven.db.plan-dead");
    std::fs::create_dir(&dead).unwrap();
    let alive = store::copy(&backend.url, &Env::system()).await.unwrap();
    assert!(!dead.exists());
    let second = store::copy(&backend.url, &Env::system()).await.unwrap();
    assert_eq!(copies(&backend.url).await, 2);
    alive.store.note("x", &json!(1)).await.unwrap();
    alive.remove().await.unwrap();
    second.remove().await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_copy_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let backend = Backend::sqlite().await;
    let copy = store::copy(&backend.url, &Env::system()).await.unwrap();
    let folder = Path::new(backend.url.strip_prefix("sqlite://").unwrap()).parent().unwrap();
    let room =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    assert_eq!(std::fs::metadata(&room).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(&room).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    copy.remove().await.unwrap();
}

#[tokio::test]
async fn a_state_of_another_version_is_refused_with_how_to_bring_it_up_to_date() {
    let backend = Backend::sqlite().await;
    let pool = sqlx::SqlitePool::connect(&backend.url).await.unwrap();
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
        .execute(&pool)
        .await
        .unwrap();
    let error = store::copy(&backend.url, &Env::system()).await.err().unwrap();
    assert!(error.to_string().contains("vaiven status"), "{error}");
    assert_eq!(copies(&backend.url).await, 0);
}
