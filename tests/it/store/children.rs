//! Sub-objects with an id of their own: whose they are, and that they stay known.

use std::collections::{BTreeMap, BTreeSet};

use vaiven::internals::{
    mapping::Children,
    store::{Child, Delivered, Job, JobFilter, JobState, PageCommit, RecordId, ReplicaWrite, SharedStore},
};

use super::backend::{Backend, at, claim, done, ends, job, page, parked, promises, pulled, replica};

promises! {
    a_child_is_its_records_own_whatever_others_are_called,
    a_child_keeps_its_id_where_nothing_is_said_of_it,
    a_row_that_is_otherwise_unchanged_tells_its_childrens_ids,
    a_child_that_is_renamed_where_it_comes_from_is_the_same_child_everywhere,
    a_child_made_anew_under_its_key_takes_the_place_of_the_former_one,
    a_child_that_is_another_records_already_is_refused_and_stays_where_it_is,
    of_two_answers_with_one_child_the_second_is_refused,
    a_child_that_its_record_has_no_more_may_be_anothers,
    who_waits_for_one_of_two_children_of_a_key_goes_on_when_there_is_one,
    who_waits_for_a_value_finds_its_holder_and_goes_on_when_that_was_written_or_is_gone,
}

fn list(name: &str, items: &[(&str, Option<&str>)]) -> Children {
    let items = items.iter().map(|(key, id)| ((*key).to_owned(), id.map(str::to_owned)));
    BTreeMap::from([(name.to_owned(), items.collect())])
}

/// A page of one object of `system` with these children.
async fn shows(store: &SharedStore, system: &str, (record, id): (RecordId, &str), children: Children) {
    let write = ReplicaWrite { child_ids: Some(children), ..replica(record, id, "a") };
    let commit = PageCommit { replicas: vec![write], ..page(store, system).await };
    store.commit_page(commit, at(1)).await.unwrap();
}

async fn of(store: &SharedStore, record: RecordId, system: &str) -> Vec<Child> {
    let mut children = store.children_of(&[record]).await.unwrap().remove(&record).unwrap_or_default();
    children.retain(|child| child.system == system);
    children.sort_by(|a, b| a.key.cmp(&b.key));
    children
}

async fn ids(store: &SharedStore, record: RecordId, system: &str) -> Vec<(String, String)> {
    of(store, record, system).await.into_iter().map(|child| (child.key, child.id)).collect()
}

fn pair(key: &str, id: &str) -> (String, String) {
    (key.to_owned(), id.to_owned())
}

async fn a_child_is_its_records_own_whatever_others_are_called(backend: Backend) {
    let store = &backend.store;
    let (ana, eva) = (pulled(store, "erp", "1", "ANA").await, pulled(store, "erp", "2", "EVA").await);
    shows(store, "shop", (ana, "s1"), list("addresses", &[("billing", Some("a1"))])).await;
    shows(store, "shop", (eva, "s2"), list("addresses", &[("billing", Some("a2"))])).await;
    assert_eq!(ids(store, ana, "shop").await, [pair("billing", "a1")]);
    assert_eq!(ids(store, eva, "shop").await, [pair("billing", "a2")]);
    let asked = pair("product.addresses", "billing");
    let found = store.child_ids("shop", std::slice::from_ref(&asked)).await.unwrap();
    assert_eq!(found[&asked], [("a1".to_owned(), ana), ("a2".to_owned(), eva)], "it is not told to be one");
}

async fn a_child_keeps_its_id_where_nothing_is_said_of_it(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let all = [("A-1", Some("v1")), ("A-2", Some("v2"))];
    shows(store, "shop", (record, "s1"), list("variants", &all)).await;
    shows(store, "shop", (record, "s1"), Children::new()).await;
    assert_eq!(ids(store, record, "shop").await, [pair("A-1", "v1"), pair("A-2", "v2")], "the list was not shown");
    shows(store, "shop", (record, "s1"), list("variants", &[("A-1", None), ("A-2", Some("v2"))])).await;
    assert_eq!(ids(store, record, "shop").await, [pair("A-1", "v1"), pair("A-2", "v2")], "one is shown without its id");
    shows(store, "shop", (record, "s1"), list("images", &[("a.jpg", Some("i1"))])).await;
    assert_eq!(ids(store, record, "shop").await.len(), 3, "another list was shown");
    shows(store, "shop", (record, "s1"), list("variants", &[("A-2", Some("v2"))])).await;
    assert_eq!(ids(store, record, "shop").await, [pair("A-2", "v2"), pair("a.jpg", "i1")], "it is not there any more");
    let gone = ReplicaWrite { gone: true, ..replica(record, "s1", "a") };
    store.commit_page(PageCommit { replicas: vec![gone], ..page(store, "shop").await }, at(2)).await.unwrap();
    assert_eq!(ids(store, record, "shop").await, [], "with its object it is gone");
}

async fn a_row_that_is_otherwise_unchanged_tells_its_childrens_ids(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "shop", "s1", "A").await;
    let children = vec![(record, list("variants", &[("A-1", Some("v1"))]))];
    store.commit_page(PageCommit { children, ..page(store, "shop").await }, at(1)).await.unwrap();
    assert_eq!(ids(store, record, "shop").await, [pair("A-1", "v1")]);
}

async fn a_child_that_is_renamed_where_it_comes_from_is_the_same_child_everywhere(backend: Backend) {
    let store = &backend.store;
    // Whoever is seen first.
    for (key, first, second) in [("A", "erp", "shop"), ("B", "shop", "erp")] {
        let record = pulled(store, "crm", key, key).await;
        for system in [first, second] {
            let items = [("M", Some("2")), ("S", Some("1"))];
            shows(store, system, (record, &format!("{system}{key}")), list("variants", &items)).await;
        }
        // Renamed, while another gets the key that has become free.
        let renamed = [("M", Some("9")), ("MED", Some("2")), ("S", Some("1"))];
        shows(store, "erp", (record, &format!("erp{key}")), list("variants", &renamed)).await;
        let (erp, shop) = (of(store, record, "erp").await, of(store, record, "shop").await);
        let member = |children: &[Child], key: &str| children.iter().find(|child| child.key == key).unwrap().member;
        assert_eq!(member(&erp, "MED"), member(&shop, "M"));
        assert_eq!(member(&erp, "S"), member(&shop, "S"));
        assert_ne!(member(&erp, "M"), member(&shop, "M"), "it is a new one");
    }
}

async fn a_child_made_anew_under_its_key_takes_the_place_of_the_former_one(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "crm", "1", "A").await;
    shows(store, "erp", (record, "e1"), list("variants", &[("A-1", Some("1"))])).await;
    shows(store, "shop", (record, "s1"), list("variants", &[("A-1", Some("v1"))])).await;
    let before = of(store, record, "shop").await.remove(0).member;
    shows(store, "erp", (record, "e1"), list("variants", &[("A-1", Some("7"))])).await;
    shows(store, "shop", (record, "s1"), list("variants", &[("A-1", Some("v7"))])).await;
    for system in ["erp", "shop"] {
        assert_eq!(of(store, record, system).await[0].member, before, "{system}");
    }
    assert_eq!(ids(store, record, "shop").await, [pair("A-1", "v7")]);
}

/// Record, id and variants that a delivery is answered with.
type Answer<'a> = (RecordId, &'a str, &'a [(&'a str, &'a str)]);

/// Deliveries that are answered so; gives how each job ended.
async fn answered(store: &SharedStore, answers: &[Answer<'_>], freed: &[&str]) -> Vec<Job> {
    store.enqueue(&answers.iter().map(|(record, ..)| job("shop", *record)).collect::<Vec<_>>(), at(1)).await.unwrap();
    let jobs = claim(store, "shop", at(1)).await;
    let freed: BTreeSet<String> = freed.iter().map(|id| (*id).to_owned()).collect();
    let outcomes = answers.iter().map(|(record, id, variants)| {
        let variants: Vec<_> = variants.iter().map(|(key, id)| (*key, Some(*id))).collect();
        let write = ReplicaWrite { child_ids: Some(list("variants", &variants)), ..replica(*record, id, "a") };
        let sole = BTreeMap::from([("variants".to_owned(), freed.clone())]);
        let job = jobs.iter().find(|job| job.record == *record).unwrap();
        Delivered { replica: Some(write), sole, is_over: true, ..done(job) }
    });
    store.deliver("shop", "product", outcomes.collect(), at(2)).await.unwrap();
    let mut ended = Vec::new();
    for (record, ..) in answers {
        let filter = JobFilter { record: Some(*record), limit: 1, ..JobFilter::default() };
        ended.push(store.jobs(&filter).await.unwrap().remove(0));
    }
    ended
}

async fn a_child_that_is_another_records_already_is_refused_and_stays_where_it_is(backend: Backend) {
    let store = &backend.store;
    let (one, two) = (pulled(store, "erp", "1", "A").await, pulled(store, "erp", "2", "B").await);
    assert_eq!(answered(store, &[(one, "s1", &[("vA", "k2")])], &[]).await[0].state, JobState::Done);
    let refused = answered(store, &[(two, "s2", &[("vB", "k2")])], &[]).await.remove(0);
    assert_eq!(refused.state, JobState::Dead);
    let error = refused.error.unwrap();
    for expected in ["for product B with the id k2 in variants (as vB)", "is that of vA of product A there already"] {
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(ids(store, one, "shop").await, [pair("vA", "k2")]);
    assert_eq!(ids(store, two, "shop").await, []);
    assert_eq!(store.externals("shop", &[two]).await.unwrap().get(&two), None, "nothing is linked");
    // Lists that nothing hangs on may share what they like.
    store.enqueue(&[job("shop", two)], at(3)).await.unwrap();
    let claimed = claim(store, "shop", at(3)).await.remove(0);
    let write = ReplicaWrite { child_ids: Some(list("variants", &[("vB", Some("k2"))])), ..replica(two, "s2", "a") };
    store.deliver("shop", "product", vec![Delivered { replica: Some(write), ..done(&claimed) }], at(4)).await.unwrap();
    assert_eq!(ids(store, two, "shop").await, [pair("vB", "k2")]);
}

async fn of_two_answers_with_one_child_the_second_is_refused(backend: Backend) {
    let store = &backend.store;
    let (one, two) = (pulled(store, "erp", "1", "A").await, pulled(store, "erp", "2", "B").await);
    let ended = answered(store, &[(one, "s1", &[("vA", "k2")]), (two, "s2", &[("vB", "k2")])], &[]).await;
    assert_eq!((ended[0].state, ended[1].state), (JobState::Done, JobState::Dead));
    assert!(ended[1].error.as_deref().unwrap().contains("vA of product A"));
    assert_eq!(ids(store, two, "shop").await, []);
}

async fn a_child_that_its_record_has_no_more_may_be_anothers(backend: Backend) {
    let store = &backend.store;
    let records = ["A", "B", "C", "D"];
    let mut all = Vec::new();
    for (at, key) in records.iter().enumerate() {
        all.push(pulled(store, "erp", &at.to_string(), key).await);
    }
    answered(store, &[(all[0], "s1", &[("v", "k1"), ("w", "k2")])], &[]).await;
    let again = answered(store, &[(all[0], "s1", &[("V", "k1"), ("w", "k2")])], &[]).await.remove(0);
    assert_eq!(again.state, JobState::Done, "its own");
    let moved = answered(store, &[(all[1], "s2", &[("v", "k1")])], &["k1"]).await.remove(0);
    assert_eq!(moved.state, JobState::Done, "the target was seen not to show it there any more");
    let together = [(all[2], "s3", &[("w", "k2")] as &[_]), (all[0], "s1", &[])];
    assert_eq!(answered(store, &together, &[]).await[0].state, JobState::Done, "what is stored together tells");
    let gone = ReplicaWrite { gone: true, ..replica(all[2], "s3", "a") };
    let commit = PageCommit { replicas: vec![gone], ..page(store, "shop").await };
    store.commit_page(commit, at(5)).await.unwrap();
    let freed = answered(store, &[(all[3], "s4", &[("w", "k2")])], &[]).await.remove(0);
    assert_eq!(freed.state, JobState::Done, "what is gone has none");
}

async fn who_waits_for_one_of_two_children_of_a_key_goes_on_when_there_is_one(backend: Backend) {
    let store = &backend.store;
    let (one, two) = (pulled(store, "erp", "1", "A").await, pulled(store, "erp", "2", "B").await);
    shows(store, "shop", (one, "s1"), list("variants", &[("X", Some("v1"))])).await;
    shows(store, "shop", (two, "s2"), list("variants", &[("X", Some("v2"))])).await;
    store.enqueue(&[job("shop", one), job("shop", two)], at(2)).await.unwrap();
    let jobs = claim(store, "shop", at(2)).await;
    // It is there, twice: the job does not wait for nothing.
    let waits = ends(&jobs[1], parked("missing:product.variants=X"));
    store.deliver("shop", "product", vec![waits], at(3)).await.unwrap();
    assert_eq!(claim(store, "shop", at(3)).await.len(), 0, "two of one key are not one");
    let write = ReplicaWrite { child_ids: Some(list("variants", &[])), ..replica(one, "s1", "a") };
    let gives_up = Delivered { replica: Some(write), ..done(&jobs[0]) };
    assert_eq!(store.deliver("shop", "product", vec![gives_up], at(4)).await.unwrap().woken, 1);
}

async fn who_waits_for_a_value_finds_its_holder_and_goes_on_when_that_was_written_or_is_gone(backend: Backend) {
    let store = &backend.store;
    let (one, two) = (pulled(store, "erp", "1", "A").await, pulled(store, "erp", "2", "B").await);
    for (record, id, name) in [(one, "s1", "say \"a\""), (two, "s2", "b")] {
        let write = replica(record, id, name);
        store.commit_page(PageCommit { replicas: vec![write], ..page(store, "shop").await }, at(1)).await.unwrap();
    }
    let found = store.replicas_with_values("shop", "product", &["say \"a\"".to_owned(), "c".to_owned()]).await.unwrap();
    assert_eq!(found.iter().map(|replica| replica.record).collect::<Vec<_>>(), [one]);
    assert_eq!(store.replicas_with_values("erp", "product", &["say \"a\"".to_owned()]).await.unwrap(), []);

    for gone in [false, true] {
        store.enqueue(&[job("shop", two)], at(2)).await.unwrap();
        let jobs = claim(store, "shop", at(2)).await;
        store.deliver("shop", "product", vec![ends(&jobs[0], parked("taken:product=A"))], at(3)).await.unwrap();
        assert_eq!(claim(store, "shop", at(3)).await.len(), 0);
        let write = ReplicaWrite { gone, ..replica(one, "s1", "other") };
        store.commit_page(PageCommit { replicas: vec![write], ..page(store, "shop").await }, at(4)).await.unwrap();
        let woken = claim(store, "shop", at(4)).await;
        store.deliver("shop", "product", vec![done(&woken[0])], at(5)).await.unwrap();
    }
}
