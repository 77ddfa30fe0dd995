//! Pages: durable or never happened.

use std::collections::BTreeSet;

use vaiven::internals::store::{
    Answer, Balance, Delivered, NewRun, Origin, PageCommit, Rejection, ReplicaWrite, RunKind, ShownRow, Slice,
    StoreError,
};

use super::backend::{Backend, LEASE, at, change, claim, done, identify, job, page, promises, pulled, replica};

promises! {
    a_page_is_durable_or_never_happened,
    an_unchanged_page_answers_with_seen_numbers_alone,
    what_a_delivery_wrote_since_the_comparison_is_not_written_over,
    what_a_page_has_stored_since_stays_when_a_delivery_ends,
    a_page_read_before_somebody_took_the_pull_over_is_not_stored,
    articles_of_rejected_rows_are_known_unless_one_of_them_could_not_be_read,
    rows_that_a_person_has_put_aside_are_known_by_id_until_they_can_be_read,
    what_a_target_still_has_and_a_system_has_lost_is_listed_in_slices,
    listings_of_both_kinds_are_distinguished_and_looks_at_single_objects_are_none,
    an_answer_that_cannot_be_read_is_reported_until_one_can_be,
}

async fn listings_of_both_kinds_are_distinguished_and_looks_at_single_objects_are_none(backend: Backend) {
    let store = &backend.store;
    let run = async |kind: RunKind, second: i64, error: Option<&str>| {
        let run = store.begin_run(NewRun::new("erp", "product", kind, "test"), at(second)).await.unwrap();
        store.end_run(run, &Balance::default(), error, at(second + 1)).await.unwrap();
        run
    };
    let whole = run(RunKind::Full, 0, None).await;
    let delta = run(RunKind::Delta, 10, None).await;
    let failed = run(RunKind::Full, 20, Some("no answer")).await;
    run(RunKind::Single, 30, None).await;
    store.begin_run(NewRun::new("erp", "product", RunKind::Delta, "cut off"), at(40)).await.unwrap();
    let rejections: Vec<_> =
        store.listings().await.unwrap().into_iter().map(|one| (one.kind, one.run, one.error, one.good)).collect();
    assert_eq!(
        rejections,
        [
            (RunKind::Delta, delta, None, Some((delta, at(10)))),
            (RunKind::Full, failed, Some("no answer".to_owned()), Some((whole, at(0))))
        ]
    );
}

async fn an_answer_that_cannot_be_read_is_reported_until_one_can_be(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let rejection = Rejection {
        position: "answer to create".into(),
        id: Some("s1".into()),
        field: Some("sku".into()),
        reason: "the row has no `sku`".into(),
        cause: None,
        articles: None,
        likes: Some(vec![(String::new(), "A".into())]),
        dismissed: false,
    };
    let deliver = async |answer: Answer, second: i64| {
        store.enqueue(&[job("shop", record)], at(second)).await.unwrap();
        let claimed = claim(store, "shop", at(second)).await.remove(0);
        let end = Delivered { replica: Some(replica(record, "s1", "a")), answer, ..done(&claimed) };
        store.deliver("shop", "product", vec![end], at(second)).await.unwrap();
        store.rejections(Some("shop"), 9).await.unwrap()
    };
    let rejections = deliver(Answer::Unread(rejection), 1).await;
    assert_eq!((rejections.len(), rejections[0].2.key(), rejections[0].2.is_called("s1")), (1, Some("A"), true));
    assert_eq!(deliver(Answer::Silent, 2).await.len(), 1, "an answer without the object says nothing");
    assert_eq!(deliver(Answer::Read, 3).await, []);
}

async fn what_a_target_still_has_and_a_system_has_lost_is_listed_in_slices(backend: Backend) {
    let store = &backend.store;
    let mut lost = Vec::new();
    for (id, is_lost, is_there) in [("1", true, true), ("2", false, true), ("3", true, true), ("4", true, false)] {
        let record = pulled(store, "erp", id, id).await;
        pulled(store, "shop", id, id).await;
        let gone = |id: &str| ReplicaWrite { gone: true, fingerprint: None, ..replica(record, id, id) };
        for (system, is_gone) in [("erp", is_lost), ("shop", !is_there)] {
            let replicas = is_gone.then(|| gone(id)).into_iter().collect();
            store.commit_page(PageCommit { replicas, ..page(store, system).await }, at(1)).await.unwrap();
        }
        lost.extend((is_lost && is_there).then_some(record));
    }
    let (mut after, mut found) = (0, Vec::new());
    while let Some((last, replica)) =
        store.outlived("erp", "product", "shop", Slice { after, limit: 1 }).await.unwrap().pop()
    {
        assert_eq!((replica.system.as_str(), last > after), ("shop", true));
        (after, found) = (last, [found, vec![replica.record]].concat());
    }
    assert_eq!(found, lost);
    assert!(store.outlived("erp", "product", "crm", Slice { after: 0, limit: 9 }).await.unwrap().is_empty());
}

async fn a_page_is_durable_or_never_happened(backend: Backend) {
    let store = &backend.store;
    let (one, two) = (identify(store, "erp", "1", "A").await.record, identify(store, "erp", "2", "B").await.record);
    let good = PageCommit {
        replicas: vec![replica(one, "1", "a"), replica(two, "2", "b")],
        changes: vec![change(one, "a"), change(two, "b")],
        jobs: vec![job("shop", one), job("shop", two)],
        rejections: vec![Rejection {
            position: "page 1 row 3".into(),
            id: None,
            field: Some("price".into()),
            reason: "no number".into(),
            cause: None,
            articles: None,
            likes: None,
            dismissed: false,
        }],
        balance: Balance { seen: 3, changed: 2, rejected: 1, ..Balance::default() },
        cursor: Some("2026-01-01T00:00:00Z".into()),
        ..page(store, "erp").await
    };
    // A second live object of record two: refused late in the transaction, after its first row.
    let bad = PageCommit {
        replicas: vec![replica(one, "1", "changed"), replica(two, "9", "b")],
        cursor: Some("2026-02-02T00:00:00Z".into()),
        ..good.clone()
    };
    let numbers = store.commit_page(good, at(1)).await.unwrap();
    assert_eq!(numbers.len(), 2);
    assert!(matches!(store.commit_page(bad, at(2)).await, Err(StoreError::Stale(_))));

    let reopened = backend.second().await;
    assert_eq!(reopened.cursor("erp", "product").await.unwrap().as_deref(), Some("2026-01-01T00:00:00Z"));
    let replicas = reopened.replicas_of(&[one]).await.unwrap();
    assert_eq!(
        replicas,
        [vaiven::internals::store::Replica {
            system: "erp".into(),
            entity: "product".into(),
            record: one,
            id: "1".into(),
            fields: super::backend::fields("a"),
            sent: vaiven::internals::mapping::Fields::new(),
            version: None,
            fingerprint: Some([7; 16]),
            gone_at: None,
            written: 0,
        }]
    );
    let changes = reopened.changes(one, 10).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].entity.as_str(), changes[0].system.as_str()), ("product", "erp"));
    let run = &reopened.runs(1).await.unwrap()[0];
    assert_eq!(changes[0].cause, Origin::Run(run.id));
    assert_eq!(run.balance, Balance { seen: 3, changed: 2, rejected: 1, ..Balance::default() });
    assert!(run.balance.closes());
    assert_eq!(reopened.rejection_counts().await.unwrap(), [("erp".into(), "product".into(), 1, 0)]);
    assert_eq!(reopened.counts().await.unwrap(), [("erp".into(), "product".into(), 2, 0)]);
    assert_eq!(reopened.backlog().await.unwrap()[0].count, 2);
}

async fn an_unchanged_page_answers_with_seen_numbers_alone(backend: Backend) {
    let store = &backend.store;
    pulled(store, "erp", "1", "A").await;
    pulled(store, "erp", "2", "B").await;
    let shown_row = |id: &str, fingerprint| ShownRow { id: id.into(), fingerprint };
    let page = [shown_row("2", [7; 16]), shown_row("1", [7; 16])];
    let known_rows = store.look_up_fingerprints("erp", "product", &page).await.unwrap();
    assert_eq!((known_rows.changed, known_rows.seen.len()), (vec![], 2));
    let page = [shown_row("2", [8; 16]), shown_row("1", [7; 16]), shown_row("3", [7; 16])];
    let known_rows = store.look_up_fingerprints("erp", "product", &page).await.unwrap();
    assert_eq!((known_rows.changed, known_rows.seen.len()), (vec![0, 2], 2));
}

async fn what_a_delivery_wrote_since_the_comparison_is_not_written_over(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let compared = |written| std::collections::BTreeMap::from([("s1".to_owned(), written)]);
    let replicas = vec![replica(record, "s1", "as shown")];
    let early = PageCommit { replicas, compared: compared(0), ..page(store, "shop").await };
    store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let delivered = Delivered { replica: Some(replica(record, "s1", "as written")), ..done(&claimed[0]) };
    store.deliver("shop", "product", vec![delivered], at(1)).await.unwrap();
    assert!(matches!(store.commit_page(early.clone(), at(2)).await, Err(StoreError::Stale(_))));
    let there = || async { store.replicas_by_id("shop", "product", &["s1".into()]).await.unwrap().remove(0) };
    assert_eq!(there().await.fields, super::backend::fields("as written"));
    let late = PageCommit { compared: compared(there().await.written), ..early };
    store.commit_page(late, at(3)).await.unwrap();
    assert_eq!(there().await.fields, super::backend::fields("as shown"));
}

async fn what_a_page_has_stored_since_stays_when_a_delivery_ends(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let row = |name: &str, price: &str| {
        let mut row = replica(record, "s1", name);
        row.fields.insert("price".into(), price.into());
        row
    };
    let there = || async { store.replicas_by_id("shop", "product", &["s1".into()]).await.unwrap().remove(0).fields };
    let shown = async |write, fingerprint| {
        let write = ReplicaWrite { fingerprint: Some(fingerprint), ..write };
        store.commit_page(PageCommit { replicas: vec![write], ..page(store, "shop").await }, at(1)).await.unwrap();
    };
    let ended = async |write, before| {
        store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
        let claimed = claim(store, "shop", at(0)).await;
        let write = ReplicaWrite { fingerprint: None, ..write };
        let delivered = Delivered { replica: Some(write), before, ..done(&claimed[0]) };
        store.deliver("shop", "product", vec![delivered], at(2)).await.unwrap();
    };
    // Of a creation: what a page has found of the object beside what was sent.
    shown(row("shown", "9"), [1; 16]).await;
    let mut created = row("sent", "9");
    created.fields.remove("price");
    ended(created, None).await;
    assert_eq!(there().await, row("sent", "9").fields);
    // Of an update of the name: a price that a page has stored since it was prepared.
    let before = store.replicas_by_id("shop", "product", &["s1".into()]).await.unwrap().remove(0);
    shown(row("sent", "8"), [2; 16]).await;
    ended(row("renamed", "9"), Some(before)).await;
    assert_eq!(there().await, row("renamed", "8").fields);
    // Where no page came between, what the delivery says.
    let before = store.replicas_by_id("shop", "product", &["s1".into()]).await.unwrap().remove(0);
    ended(row("again", "8"), Some(before)).await;
    assert_eq!(there().await, row("again", "8").fields);
}

async fn a_page_read_before_somebody_took_the_pull_over_is_not_stored(backend: Backend) {
    let (one, two) = (&backend.store, backend.second().await);
    let record = identify(one, "erp", "1", "A").await.record;
    let lease = one.acquire("pull:erp/product", "a", LEASE, at(0)).await.unwrap().unwrap();
    let read = |name: &str, cursor: &str, lease| PageCommit {
        replicas: vec![replica(record, "1", name)],
        cursor: Some(cursor.into()),
        lease: Some((lease, LEASE)),
        ..PageCommit::default()
    };
    let base = page(one, "erp").await;
    let under = |read: PageCommit| PageCommit { run: base.run, system: "erp".into(), entity: "product".into(), ..read };
    one.commit_page(under(read("first", "1", lease.clone())), at(50)).await.unwrap();
    assert!(two.acquire("pull:erp/product", "b", LEASE, at(100)).await.unwrap().is_none(), "a page renews the lease");
    let taken = two.acquire("pull:erp/product", "b", LEASE, at(200)).await.unwrap().unwrap();
    two.commit_page(under(read("third", "3", taken)), at(201)).await.unwrap();
    let late = one.commit_page(under(read("second", "2", lease)), at(202)).await;
    assert!(matches!(late, Err(StoreError::Overtaken)), "{late:?}");
    assert_eq!(two.cursor("erp", "product").await.unwrap().as_deref(), Some("3"));
    assert_eq!(two.replicas_of(&[record]).await.unwrap()[0].fields, super::backend::fields("third"));
}

async fn rows_that_a_person_has_put_aside_are_known_by_id_until_they_can_be_read(backend: Backend) {
    let store = &backend.store;
    let row = |id: &str| Rejection {
        position: format!("row {id}"),
        id: Some(id.into()),
        field: None,
        reason: "no number".into(),
        cause: None,
        articles: None,
        likes: None,
        dismissed: false,
    };
    let ids = ["1", "2", "3"].map(str::to_owned);
    let show = async |second: i64| {
        let rejections = vec![row("1"), row("2")];
        store.commit_page(PageCommit { rejections, ..page(store, "erp").await }, at(second)).await.unwrap();
        store.dismissed("erp", "product", &ids).await.unwrap()
    };
    assert_eq!(show(0).await, BTreeSet::new());
    store.dismiss("erp", "product", Some("2"), at(1)).await.unwrap();
    assert_eq!(show(2).await, BTreeSet::from(["2".to_owned()]), "shown again, it stays aside");
    assert_eq!(store.dismissed("erp", "order", &ids).await.unwrap(), BTreeSet::new());
    let resolved = vec!["2".to_owned()];
    store.commit_page(PageCommit { resolved, ..page(store, "erp").await }, at(3)).await.unwrap();
    assert_eq!(show(4).await, BTreeSet::new(), "it could be read since");
}

async fn articles_of_rejected_rows_are_known_unless_one_of_them_could_not_be_read(backend: Backend) {
    let store = &backend.store;
    let row = |id: &str, articles: Option<&[&str]>| Rejection {
        position: format!("row {id}"),
        id: Some(id.into()),
        field: None,
        reason: "no number".into(),
        cause: None,
        articles: articles.map(|articles| articles.iter().map(|&sku| sku.to_owned()).collect()),
        likes: Some(Vec::new()),
        dismissed: false,
    };
    assert_eq!(store.unreadable_articles("erp", "product").await.unwrap(), Some(BTreeSet::new()));
    let rejections = vec![row("1", Some(&["A \"x\"", "B"])), row("2", Some(&[]))];
    store.commit_page(PageCommit { rejections, ..page(store, "erp").await }, at(0)).await.unwrap();
    let known = BTreeSet::from(["A \"x\"".to_owned(), "B".to_owned()]);
    assert_eq!(store.unreadable_articles("erp", "product").await.unwrap(), Some(known));
    let rejections = store.rejections(None, 9).await.unwrap();
    assert!(rejections.iter().any(|(_, _, one)| one.articles.as_ref().is_some_and(|articles| articles.len() == 2)));
    let rejections = vec![row("3", None)];
    store.commit_page(PageCommit { rejections, ..page(store, "erp").await }, at(1)).await.unwrap();
    assert_eq!(store.unreadable_articles("erp", "product").await.unwrap(), None);
    let resolved = vec!["1".to_owned(), "3".to_owned()];
    store.commit_page(PageCommit { resolved, ..page(store, "erp").await }, at(2)).await.unwrap();
    assert_eq!(store.unreadable_articles("erp", "product").await.unwrap(), Some(BTreeSet::new()));
}
