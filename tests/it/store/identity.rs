//! Which record a row, a key or a reference means.
//!
//! One file, because the promises share their records and ids.

use vaiven::internals::{
    mapping::{Fields, RefBy},
    store::{
        Delivered, Identified, JobFilter, JobState, Link, LinkState, NewJob, PageCommit, RecordId, RefQuery, Replica,
        ReplicaWrite, SharedStore, Slice, Unidentified,
    },
};

use super::backend::{Backend, at, claim, done, ends, identify, job, page, parked, promises, pulled, replica, row};

promises! {
    a_key_has_one_record_however_many_ask,
    an_id_stays_with_its_record_when_the_key_changes,
    a_match_field_finds_the_record_before_the_key_does,
    a_match_does_not_join_two_objects_of_one_system,
    a_reference_by_unknown_id_is_adopted_when_that_id_is_pulled,
    a_placeholder_of_a_known_record_becomes_its_alias,
    what_waits_for_a_record_without_a_key_goes_on_when_it_is_there,
    what_waits_for_a_placeholder_goes_on_when_that_is_found_to_be_there_already,
    a_second_object_of_one_key_is_reported,
    a_gone_object_gives_way_to_its_successor,
    an_object_pulled_before_its_delivery_was_committed_is_one_record,
    an_id_that_is_another_records_already_is_refused_and_its_link_stays,
    of_two_creates_answered_with_one_id_the_second_is_refused,
    what_a_lookup_has_found_is_its_records_whatever_a_create_beside_it_was_answered,
    a_facet_takes_over_what_its_part_shows_but_not_what_another_source_has_written,
    equal_numbers_of_two_systems_are_two_records_and_are_distinguished_by_name,
    what_a_system_surely_gave_is_numbered_by_it_whoever_was_seen_first,
    a_number_that_turns_out_to_be_another_objects_is_given_back,
    what_waits_for_a_number_of_two_systems_goes_on_when_the_right_one_is_there,
    records_of_one_number_at_a_target_are_rivals_until_set_apart,
    an_object_referred_to_before_its_delivery_was_committed_is_one_record,
    texts_with_a_zero_character_do_not_stop_a_page,
    of_two_records_that_match_one_neither_is_taken,
    several_values_of_one_field_have_to_find_one_record,
    keys_that_a_system_shows_its_own_way_are_recognised_by_that,
    what_tied_an_object_to_its_record_is_remembered,
    what_was_emptied_matches_nobody_any_more,
    a_record_that_a_person_found_to_be_another_is_it_in_every_way,
    links_are_paused_ignored_and_taken_up_again,
}

async fn by_id(store: &SharedStore, system: &str, id: &str) -> RecordId {
    let asked = RefQuery { entity: "product".into(), by: RefBy::Id(id.into()) };
    store.resolve(system, std::slice::from_ref(&asked)).await.unwrap()[&asked]
}

async fn a_key_has_one_record_however_many_ask(backend: Backend) {
    let keys: Vec<String> = (0..200).map(|number| format!("SKU-{number}")).collect();
    let other = backend.second().await;
    let (one, two) = tokio::join!(backend.store.records("product", &keys), other.records("product", &keys));
    let one = one.unwrap();
    assert_eq!(one, two.unwrap());
    assert_eq!(one.iter().collect::<std::collections::BTreeSet<_>>().len(), 200);
    let twice = ["SKU-1".to_owned(), "NEW".to_owned(), "NEW".to_owned()];
    let again = backend.store.records("product", &twice).await.unwrap();
    assert_eq!((again[0], again[1]), (one[1], again[2]));
    assert_eq!(backend.store.record("product", "SKU-1").await.unwrap(), Some(one[1]));
    assert_eq!(backend.store.record("customer", "SKU-1").await.unwrap(), None);
    assert_eq!(backend.store.keys(&[one[3]]).await.unwrap()[&one[3]], ("product".into(), "SKU-3".into()));
}

async fn an_id_stays_with_its_record_when_the_key_changes(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "OLD").await;
    assert_eq!(identify(store, "erp", "1", "NEW").await, Identified { record, taken_by: None });
    assert_eq!(store.record("product", "OLD").await.unwrap(), Some(record));
    assert_eq!(store.record("product", "NEW").await.unwrap(), None);
}

/// A row to be identified by VAT and e-mail, as far as it has them.
fn customer(id: &str, vat: &str, email: &str) -> Unidentified {
    let values = [("vat", vat), ("email", email)].into_iter().filter(|(_, value)| !value.is_empty());
    let matches = values.map(|(field, value)| (field.into(), value.into())).collect();
    Unidentified { matches, ..row(id, id) }
}

async fn customer_pulled(store: &SharedStore, system: &str, id: &str, vat: &str, email: &str) -> RecordId {
    let row = customer(id, vat, email);
    let record = store.identify(system, "customer", std::slice::from_ref(&row), &[]).await.unwrap()[0].record;
    let write = ReplicaWrite { matches: row.matches, ..replica(record, id, email) };
    let page = PageCommit { entity: "customer".into(), replicas: vec![write], ..page(store, system).await };
    store.commit_page(page, at(0)).await.unwrap();
    record
}

async fn a_match_field_finds_the_record_before_the_key_does(backend: Backend) {
    let store = &backend.store;
    let ana = customer_pulled(store, "crm", "c1", "ES1", "ana@example.org").await;
    let eva = customer_pulled(store, "crm", "c2", "ES2", "eva@example.org").await;
    let rows =
        [customer("9", "ES2", "ana@example.org"), customer("8", "ES7", "ana@example.org"), customer("c1", "", "")];
    let found = store.identify("shop", "customer", &rows, &[]).await.unwrap();
    assert_eq!(found[0].record, eva, "the first field wins");
    assert_eq!(found[1].record, ana, "the second finds what the first does not");
    assert_eq!(found[2].record, ana, "then the key");
    assert_eq!(found[2].taken_by.as_deref(), Some("8"), "which the page itself has given away");
}

/// Rows of an id, a key, and what the shop shows of that key.
async fn families(store: &SharedStore, system: &str, rows: &[(&str, &str, &str)]) -> Vec<RecordId> {
    let row = |(id, key, shown): &(&str, &str, &str)| Unidentified {
        matches: vec![("key@shop".into(), (*shown).into())],
        ..row(id, key)
    };
    let rows: Vec<Unidentified> = rows.iter().map(row).collect();
    let found = store.identify(system, "category", &rows, &[]).await.unwrap();
    assert!(found.iter().all(|one| one.taken_by.is_none()), "{found:?}");
    let write = |(row, one): (&Unidentified, &Identified)| ReplicaWrite {
        matches: row.matches.clone(),
        ..replica(one.record, &row.id, &row.key)
    };
    let replicas = rows.iter().zip(&found).map(write).collect();
    let page = PageCommit { entity: "category".into(), replicas, ..page(store, system).await };
    store.commit_page(page, at(0)).await.unwrap();
    found.into_iter().map(|one| one.record).collect()
}

async fn keys_that_a_system_shows_its_own_way_are_recognised_by_that(backend: Backend) {
    let store = &backend.store;
    // Whichever side was read first.
    let known = families(store, "erp", &[("1", "A/B", "A-B-1"), ("2", "A-B", "A-B")]).await;
    let shown = families(store, "shop", &[("91", "A-B", "A-B"), ("92", "A-B-1", "A-B-1")]).await;
    assert_eq!(shown, [known[1], known[0]]);
    let first = families(store, "shop", &[("93", "C-D-2", "C-D-2")]).await;
    assert_eq!(families(store, "erp", &[("3", "C/D", "C-D-2")]).await, first);
    assert_eq!(store.record("category", "C/D").await.unwrap(), Some(first[0]), "it is called as the ERP calls it");
    // What may be either of two is neither.
    let first = families(store, "shop", &[("94", "E-F", "E-F")]).await;
    let known = families(store, "erp", &[("4", "E/F", "E-F"), ("5", "E-F", "E-F")]).await;
    assert!(known[0] != known[1] && !known.contains(&first[0]));
    let known = families(store, "erp", &[("6", "G/H", "G-H"), ("7", "G-H", "G-H")]).await;
    let shown = families(store, "shop", &[("95", "G-H", "G-H")]).await;
    assert!(!known.contains(&shown[0]));
    // Two that are not shown so anywhere have nothing to do with each other.
    let crm = families(store, "crm", &[("c1", "I/J", "I-J")]).await;
    assert_ne!(families(store, "erp", &[("8", "I-J", "I-J")]).await, crm);
}

async fn a_match_does_not_join_two_objects_of_one_system(backend: Backend) {
    let store = &backend.store;
    let first = customer_pulled(store, "shop", "1", "", "info@example.org").await;
    let second = customer_pulled(store, "shop", "2", "", "info@example.org").await;
    assert_ne!(first, second);
}

async fn a_reference_by_unknown_id_is_adopted_when_that_id_is_pulled(backend: Backend) {
    let store = &backend.store;
    let referred = by_id(store, "erp", "7").await;
    assert_eq!(by_id(store, "erp", "7").await, referred, "one placeholder, however often it is asked for");
    assert_ne!(by_id(store, "crm", "7").await, referred, "ids are the systems' own");
    assert!(store.keys(&[referred]).await.unwrap().is_empty());
    assert!(store.replicas_of(&[referred]).await.unwrap().is_empty());
    assert_eq!(store.externals("erp", &[referred]).await.unwrap()[&referred], "7");
    assert!(
        store
            .unseen("erp", "product", &roaring::RoaringBitmap::new(), Slice { after: 0, limit: 10 })
            .await
            .unwrap()
            .is_empty()
    );

    assert_eq!(pulled(store, "erp", "7", "SKU-7").await, referred);
    assert_eq!(store.record("product", "SKU-7").await.unwrap(), Some(referred));
    let by_key = RefQuery { entity: "product".into(), by: RefBy::Key("SKU-7".into()) };
    assert_eq!(store.resolve("shop", std::slice::from_ref(&by_key)).await.unwrap()[&by_key], referred);
}

/// A job for a product of the ERP at the shop, parked on a record that has no key yet.
async fn waiting_for(store: &SharedStore, placeholder: RecordId) -> RecordId {
    let waiting = pulled(store, "erp", "o1", "1001").await;
    store.enqueue(&[job("shop", waiting)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await.remove(0);
    let waits = Delivered { verdict: parked(&format!("missing:product=#{placeholder}")), ..done(&claimed) };
    assert_eq!(store.deliver("shop", "product", vec![waits], at(0)).await.unwrap().woken, 0);
    waiting
}

async fn what_waits_for_a_record_without_a_key_goes_on_when_it_is_there(backend: Backend) {
    let store = &backend.store;
    let placeholder = by_id(store, "erp", "7").await;
    let waiting = waiting_for(store, placeholder).await;
    assert_eq!(pulled(store, "erp", "7", "SKU-7").await, placeholder);
    store.enqueue(&[job("shop", placeholder)], at(1)).await.unwrap();
    let claimed = claim(store, "shop", at(1)).await.remove(0);
    let arrives = Delivered { replica: Some(replica(placeholder, "s7", "a")), ..done(&claimed) };
    assert_eq!(store.deliver("shop", "product", vec![arrives], at(1)).await.unwrap().woken, 1);
    assert_eq!(claim(store, "shop", at(2)).await[0].record, waiting);
}

async fn what_waits_for_a_placeholder_goes_on_when_that_is_found_to_be_there_already(backend: Backend) {
    let store = &backend.store;
    let known = pulled(store, "shop", "s1", "SKU-1").await;
    let placeholder = by_id(store, "erp", "1").await;
    let waiting = waiting_for(store, placeholder).await;
    assert_eq!(pulled(store, "erp", "1", "SKU-1").await, known);
    store.enqueue(&[job("shop", known)], at(1)).await.unwrap();
    let claimed = claim(store, "shop", at(1)).await.remove(0);
    assert_eq!(store.deliver("shop", "product", vec![done(&claimed)], at(1)).await.unwrap().woken, 1);
    assert_eq!(claim(store, "shop", at(2)).await[0].record, waiting);
}

async fn a_placeholder_of_a_known_record_becomes_its_alias(backend: Backend) {
    let store = &backend.store;
    let known = pulled(store, "shop", "s1", "SKU-1").await;
    let placeholder = by_id(store, "erp", "1").await;
    assert_ne!(placeholder, known);
    assert_eq!(pulled(store, "erp", "1", "SKU-1").await, known);
    assert_eq!(by_id(store, "erp", "1").await, known);
    // References that hold the placeholder's number still lead to the record.
    assert_eq!(store.keys(&[placeholder]).await.unwrap()[&placeholder], ("product".into(), "SKU-1".into()));
    assert_eq!(store.externals("erp", &[placeholder]).await.unwrap()[&placeholder], "1");
    assert_eq!(store.externals("shop", &[placeholder]).await.unwrap()[&placeholder], "s1");
    assert_eq!(store.replicas_of(&[known]).await.unwrap().len(), 2);
}

async fn a_second_object_of_one_key_is_reported(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let second = identify(store, "erp", "2", "A").await;
    assert_eq!(second, Identified { record, taken_by: Some("1".into()) });
    let rows = [row("5", "E"), row("6", "E")];
    let page = store.identify("erp", "product", &rows, &[]).await.unwrap();
    assert_eq!((page[0].taken_by.as_deref(), page[1].taken_by.as_deref()), (None, Some("5")));
}

async fn a_gone_object_gives_way_to_its_successor(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "1", "A").await;
    let gone = ReplicaWrite { gone: true, ..replica(record, "1", "a") };
    store.commit_page(PageCommit { replicas: vec![gone], ..page(store, "erp").await }, at(1)).await.unwrap();
    assert!(store.externals("erp", &[record]).await.unwrap().is_empty());
    assert_eq!(store.counts().await.unwrap(), [("erp".into(), "product".into(), 0, 1)]);
    assert_eq!(identify(store, "erp", "2", "A").await, Identified { record, taken_by: None });
    assert_eq!(pulled(store, "erp", "2", "A").await, record);
    assert_eq!(store.externals("erp", &[record]).await.unwrap()[&record], "2");
}

/// Ends jobs of products at the shop as created under these ids.
async fn created(store: &SharedStore, ids: &[(RecordId, &str)]) -> Vec<(JobState, Option<String>)> {
    delivered(store, ids, None).await
}

/// The same, where a lookup had found what `found` is before anything was sent.
async fn delivered(
    store: &SharedStore,
    ids: &[(RecordId, &str)],
    found: Option<RecordId>,
) -> Vec<(JobState, Option<String>)> {
    store.enqueue(&ids.iter().map(|(record, _)| job("shop", *record)).collect::<Vec<_>>(), at(0)).await.unwrap();
    let jobs = claim(store, "shop", at(1)).await;
    let outcomes = ids.iter().map(|(record, id)| {
        let job = jobs.iter().find(|job| job.record == *record).unwrap();
        let before = (found == Some(*record)).then(|| Replica {
            system: "shop".into(),
            entity: "product".into(),
            record: *record,
            id: (*id).to_owned(),
            fields: Fields::new(),
            sent: Fields::new(),
            version: None,
            fingerprint: None,
            gone_at: None,
            written: 0,
        });
        Delivered { replica: Some(replica(*record, id, "made")), before, ..done(job) }
    });
    store.deliver("shop", "product", outcomes.collect(), at(2)).await.unwrap();
    let mut ends = Vec::new();
    for (record, _) in ids {
        let filter = JobFilter { record: Some(*record), ..JobFilter::default() };
        let job = store.jobs(&filter).await.unwrap().remove(0);
        ends.push((job.state, job.error));
    }
    ends
}

async fn an_id_that_is_another_records_already_is_refused_and_its_link_stays(backend: Backend) {
    let store = &backend.store;
    let first = pulled(store, "erp", "1", "A-1").await;
    assert_eq!(created(store, &[(first, "7")]).await[0].0, JobState::Done);
    let second = pulled(store, "erp", "2", "B-2").await;
    let (state, error) = created(store, &[(second, "7")]).await.remove(0);
    assert_eq!(state, JobState::Dead);
    assert!(error.unwrap().contains("the id 7, which is the product A-1 there already"));
    let ids = store.externals("shop", &[first, second]).await.unwrap();
    assert_eq!((ids.get(&first).map(String::as_str), ids.get(&second)), (Some("7"), None));
}

async fn a_facet_takes_over_what_its_part_shows_but_not_what_another_source_has_written(backend: Backend) {
    let store = &backend.store;
    let shown = pulled(store, "shop", "28", "retail/A-1").await;
    let (first, second) = (pulled(store, "erp", "1", "PVP/A-1").await, pulled(store, "erp2", "1", "B2B/A-1").await);
    let deliver = async |record| {
        store.enqueue(&[job("shop", record)], at(0)).await.unwrap();
        let claimed = claim(store, "shop", at(1)).await.remove(0);
        let facet = Replica {
            system: "shop".into(),
            entity: "product".into(),
            record,
            id: "28".into(),
            fields: Fields::new(),
            sent: Fields::new(),
            version: None,
            fingerprint: None,
            gone_at: None,
            written: 0,
        };
        let write = Some(replica(record, "28", "x"));
        let outcome = Delivered { replica: write, before: Some(facet), ..done(&claimed) };
        store.deliver("shop", "product", vec![outcome], at(2)).await.unwrap();
        store.jobs(&JobFilter { ids: vec![claimed.id], ..JobFilter::default() }).await.unwrap()[0].state
    };
    assert_eq!(deliver(first).await, JobState::Done);
    assert_eq!(store.ties(&[shown]).await.unwrap()[&shown].same, Some(first));
    assert_eq!(deliver(second).await, JobState::Dead);
    assert_eq!(store.externals("shop", &[first]).await.unwrap()[&first], "28");
}

async fn of_two_creates_answered_with_one_id_the_second_is_refused(backend: Backend) {
    let store = &backend.store;
    let (first, second) = (pulled(store, "erp", "1", "A-1").await, pulled(store, "erp", "2", "B-2").await);
    let ends = created(store, &[(first, "SAME"), (second, "SAME")]).await;
    assert_eq!((ends[0].0, ends[1].0), (JobState::Done, JobState::Dead));
    assert_eq!(store.externals("shop", &[first, second]).await.unwrap().keys().collect::<Vec<_>>(), [&first]);
}

async fn what_a_lookup_has_found_is_its_records_whatever_a_create_beside_it_was_answered(backend: Backend) {
    let store = &backend.store;
    let (made, found) = (pulled(store, "erp", "1", "A-1").await, pulled(store, "erp", "2", "B-2").await);
    let ends = delivered(store, &[(made, "SAME"), (found, "SAME")], Some(found)).await;
    assert_eq!((ends[0].0, ends[1].0), (JobState::Dead, JobState::Done));
    assert_eq!(store.externals("shop", &[made, found]).await.unwrap().keys().collect::<Vec<_>>(), [&found]);
}

/// A product that a system has numbered.
fn numbered(id: &str, key: &str, by: &str) -> Unidentified {
    Unidentified { numbered_by: Some(by.into()), ..row(id, key) }
}

async fn put(store: &SharedStore, system: &str, row: Unidentified) -> RecordId {
    let found = store.identify(system, "product", std::slice::from_ref(&row), &[]).await.unwrap().remove(0);
    assert_eq!(found.taken_by, None);
    let page = PageCommit { replicas: vec![replica(found.record, &row.id, &row.key)], ..page(store, system).await };
    store.commit_page(page, at(0)).await.unwrap();
    found.record
}

async fn equal_numbers_of_two_systems_are_two_records_and_are_distinguished_by_name(backend: Backend) {
    let store = &backend.store;
    let one = put(store, "shop", numbered("7", "11", "shop")).await;
    let name = async |record| store.keys(&[record]).await.unwrap()[&record].1.clone();
    assert_eq!(name(one).await, "11");
    let two = put(store, "shop2", numbered("7", "11", "shop2")).await;
    assert_ne!(one, two);
    assert_eq!((name(one).await, name(two).await), ("shop/11".to_owned(), "shop2/11".to_owned()));
    let called = store.called(&[one]).await.unwrap().remove(&one).unwrap();
    assert_eq!((called.key.as_str(), called.numbered_by.as_deref()), ("11", Some("shop")));
    let found = store.namesakes("product", &["12".to_owned(), "11".to_owned()]).await.unwrap();
    assert_eq!((found[0].len(), found[1].iter().map(|one| one.record).collect::<Vec<_>>()), (0, vec![one, two]));
}

async fn what_a_system_surely_gave_is_numbered_by_it_whoever_was_seen_first(backend: Backend) {
    let store = &backend.store;
    let there = put(store, "erp", numbered("1", "11", "erp")).await;
    let found = Unidentified { issued: true, taken_for: Some(there), ..numbered("7", "11", "shop") };
    assert_eq!(put(store, "shop", found).await, there);
    assert_eq!(store.called(&[there]).await.unwrap()[&there].numbered_by.as_deref(), Some("shop"));
    // As an earlier version left it.
    let old = put(store, "shop", row("8", "12")).await;
    let again = Unidentified { issued: true, ..numbered("8", "12", "shop") };
    assert_eq!(put(store, "shop", again).await, old);
    assert_eq!(store.called(&[old]).await.unwrap()[&old].numbered_by.as_deref(), Some("shop"));
}

async fn a_number_that_turns_out_to_be_another_objects_is_given_back(backend: Backend) {
    let store = &backend.store;
    let theirs = put(store, "erp", numbered("1", "11", "shop")).await;
    let row = Unidentified { issued: true, evicts: Some(theirs), ..numbered("7", "11", "shop") };
    let own = put(store, "shop", row).await;
    assert_ne!(own, theirs);
    let by = store.called(&[own, theirs]).await.unwrap();
    assert_eq!((by[&own].numbered_by.as_deref(), by[&theirs].numbered_by.as_deref()), (Some("shop"), Some("erp")));
}

async fn what_waits_for_a_number_of_two_systems_goes_on_when_the_right_one_is_there(backend: Backend) {
    let store = &backend.store;
    let one = put(store, "shop", numbered("7", "11", "shop")).await;
    let two = put(store, "shop2", numbered("7", "11", "shop2")).await;
    let waiting = pulled(store, "erp", "9", "W").await;
    store.enqueue(&[job("crm", waiting)], at(0)).await.unwrap();
    let claimed = claim(store, "crm", at(0)).await.remove(0);
    let verdict = parked("missing:product=shop2/11");
    store.deliver("crm", "product", vec![ends(&claimed, verdict)], at(0)).await.unwrap();
    let state =
        async || store.jobs(&JobFilter { record: Some(waiting), ..JobFilter::default() }).await.unwrap()[0].state;
    for (record, id, expected) in [(one, "c1", JobState::Parked), (two, "c2", JobState::Queued)] {
        let page = PageCommit { replicas: vec![replica(record, id, "x")], ..page(store, "crm").await };
        store.commit_page(page, at(1)).await.unwrap();
        assert_eq!(state().await, expected);
    }
    // What arrived while the job was being worked on.
    let claimed = claim(store, "crm", at(2)).await.remove(0);
    let verdict = parked("missing:product=shop2/11");
    store.deliver("crm", "product", vec![ends(&claimed, verdict)], at(2)).await.unwrap();
    assert_eq!(state().await, JobState::Queued);
}

async fn records_of_one_number_at_a_target_are_rivals_until_set_apart(backend: Backend) {
    let store = &backend.store;
    let there = put(store, "erp", numbered("1", "11", "erp")).await;
    let one = put(store, "shop", numbered("7", "11", "shop")).await;
    assert_eq!(store.rivals("erp", &[one]).await.unwrap().remove(&one), Some(vec![there]));
    assert!(store.rivals("shop2", &[one]).await.unwrap().is_empty());
    store.set_apart(one, &[there], &[], at(1)).await.unwrap();
    assert!(store.rivals("erp", &[one]).await.unwrap().is_empty());
}

async fn an_object_pulled_before_its_delivery_was_committed_is_one_record(backend: Backend) {
    let store = &backend.store;
    let ours = pulled(store, "erp", "1", "OUR-KEY").await;
    store.enqueue(&[job("shop", ours)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let theirs = pulled(store, "shop", "s1", "ITS-OWN-KEY").await;
    store.enqueue(&[job("erp", theirs)], at(0)).await.unwrap();
    let delivered = Delivered { replica: Some(replica(ours, "s1", "a")), ..done(&claimed[0]) };
    store.deliver("shop", "product", vec![delivered], at(1)).await.unwrap();

    assert_eq!(identify(store, "shop", "s1", "ITS-OWN-KEY").await, Identified { record: ours, taken_by: None });
    assert_eq!(store.externals("erp", &[theirs]).await.unwrap()[&theirs], "1");
    let jobs = store.jobs(&JobFilter { record: Some(theirs), ..JobFilter::default() }).await.unwrap();
    assert_eq!(jobs[0].state, JobState::Discarded, "it would be created a second time where it came from");
}

async fn an_object_referred_to_before_its_delivery_was_committed_is_one_record(backend: Backend) {
    let store = &backend.store;
    let ours = pulled(store, "erp", "1", "A").await;
    store.enqueue(&[job("shop", ours)], at(0)).await.unwrap();
    let claimed = claim(store, "shop", at(0)).await;
    let referred = by_id(store, "shop", "s1").await;
    let delivered = Delivered { replica: Some(replica(ours, "s1", "a")), ..done(&claimed[0]) };
    store.deliver("shop", "product", vec![delivered], at(1)).await.unwrap();
    assert_eq!(store.keys(&[referred]).await.unwrap()[&referred].1, "A");
    assert_eq!(by_id(store, "shop", "s1").await, ours);
}

async fn texts_with_a_zero_character_do_not_stop_a_page(backend: Backend) {
    let store = &backend.store;
    let record = pulled(store, "erp", "id\0", "KEY\0\\u0000").await;
    assert_eq!(store.keys(&[record]).await.unwrap()[&record].1, "KEY\u{fffd}\\u0000");
    assert_eq!(identify(store, "erp", "id\0", "other").await.record, record);
    assert_eq!(store.replicas_of(&[record]).await.unwrap()[0].fields["name"], "KEY\0\\u0000");
}

async fn of_two_records_that_match_one_neither_is_taken(backend: Backend) {
    let store = &backend.store;
    let one = customer_pulled(store, "crm", "c1", "", "info@example.org").await;
    let two = customer_pulled(store, "crm", "c2", "", "info@example.org").await;
    let three = customer_pulled(store, "shop", "9", "", "info@example.org").await;
    assert!(three != one && three != two);
    let asked = [(three, vec!["vat".to_owned(), "email".to_owned()])];
    let recognised = store.recognise("customer", &[vec![("email".into(), "info@example.org".into())]]).await.unwrap();
    assert_eq!(recognised, [None]);
    let found = store.candidates("crm", &asked).await.unwrap();
    let found: Vec<_> = found[&three].iter().map(|one| (one.record, one.fields.as_slice())).collect();
    assert_eq!(found, [(one, &["email".to_owned()][..]), (two, &["email".to_owned()][..])]);
    assert!(store.candidates("erp", &asked).await.unwrap().is_empty(), "nobody holds it there");
    store.set_apart(three, &[one], &[], at(1)).await.unwrap();
    let found = store.candidates("crm", &asked).await.unwrap();
    assert_eq!(found[&three].iter().map(|one| one.record).collect::<Vec<_>>(), [two]);
}

async fn several_values_of_one_field_have_to_find_one_record(backend: Backend) {
    // A variant moved to another product: its barcode says the one, its siblings' say the other.
    let store = &backend.store;
    let coded = |id: &str, codes: &[&str]| {
        let matches = codes.iter().map(|code| ("variants.barcode".to_owned(), (*code).to_owned())).collect();
        Unidentified { matches, ..row(id, id) }
    };
    let mut known = Vec::new();
    for row in [coded("A", &["1", "2"]), coded("B", &["3"])] {
        let record = store.identify("erp", "product", std::slice::from_ref(&row), &[]).await.unwrap()[0].record;
        let write = ReplicaWrite { matches: row.matches, ..replica(record, &row.id, "a") };
        store.commit_page(PageCommit { replicas: vec![write], ..page(store, "erp").await }, at(0)).await.unwrap();
        known.push(record);
    }
    let rows = [coded("s1", &["1", "3"]), coded("s2", &["2", "9"])];
    let found = store.identify("shop", "product", &rows, &[]).await.unwrap();
    assert!(!known.contains(&found[0].record), "it is neither for certain");
    assert_eq!(found[1].record, known[0]);
}

async fn what_tied_an_object_to_its_record_is_remembered(backend: Backend) {
    let store = &backend.store;
    let ana = customer_pulled(store, "crm", "c1", "ES1", "ana@example.org").await;
    let row = customer("9", "ES1", "new@example.org");
    assert_eq!(store.identify("shop", "customer", std::slice::from_ref(&row), &[]).await.unwrap()[0].record, ana);
    let link = Link { state: LinkState::Linked, rule: Some("vat".into()), score: Some(50) };
    assert_eq!(store.ties(&[ana]).await.unwrap()[&ana].links["shop"], link);
    assert_eq!(store.linked(&[LinkState::Linked], 0).await.unwrap(), [(ana, "shop".to_owned(), link)]);
    let asked = [vec![("vat".into(), "ES9".into()), ("email".into(), "ana@example.org".into())], Vec::new()];
    assert_eq!(store.recognise("customer", &asked).await.unwrap(), [Some(ana), None]);
    let weak = customer("8", "", "ana@example.org");
    let found = store.identify("erp", "customer", std::slice::from_ref(&weak), &["email".to_owned()]).await.unwrap();
    assert_ne!(found[0].record, ana, "a weak field never decides");
}

async fn what_was_emptied_matches_nobody_any_more(backend: Backend) {
    let store = &backend.store;
    let ana = customer_pulled(store, "crm", "c1", "", "ana@example.org").await;
    let write = replica(ana, "c1", "changed");
    let emptied = PageCommit { entity: "customer".into(), replicas: vec![write], ..page(store, "crm").await };
    store.commit_page(emptied, at(1)).await.unwrap();
    let row = customer("9", "", "ana@example.org");
    assert_ne!(store.identify("shop", "customer", std::slice::from_ref(&row), &[]).await.unwrap()[0].record, ana);
}

async fn a_record_that_a_person_found_to_be_another_is_it_in_every_way(backend: Backend) {
    let store = &backend.store;
    let at_crm = customer_pulled(store, "crm", "c1", "", "").await;
    let at_shop = customer_pulled(store, "shop", "9", "", "").await;
    let order = pulled(store, "shop", "o1", "1001").await;
    store.enqueue(&[job("crm", order)], at(0)).await.unwrap();
    let claimed = claim(store, "crm", at(0)).await.remove(0);
    let waits = Delivered { verdict: parked("missing:customer=9"), ..done(&claimed) };
    store.deliver("crm", "product", vec![waits], at(0)).await.unwrap();
    let job = |record| NewJob { entity: "customer".into(), ..job("crm", record) };
    store.enqueue(&[job(at_shop)], at(0)).await.unwrap();
    assert!(store.join(at_shop, at_crm, &[job(at_crm)], at(1)).await.unwrap());
    assert!(!store.join(at_shop, at_crm, &[], at(1)).await.unwrap(), "it is already");
    let systems: Vec<String> =
        store.replicas_of(&[at_crm]).await.unwrap().into_iter().map(|replica| replica.system).collect();
    assert_eq!(systems.len(), 2, "{systems:?}");
    assert_eq!(store.externals("crm", &[at_shop]).await.unwrap()[&at_shop], "c1", "references to it stay good");
    assert_eq!(store.ties(&[at_shop]).await.unwrap()[&at_shop].same, Some(at_crm));
    let row = customer("9", "", "");
    let found = store.identify("shop", "customer", std::slice::from_ref(&row), &[]).await.unwrap();
    assert_eq!(found, [Identified { record: at_crm, taken_by: None }]);
    let open = |job: &vaiven::internals::store::Job| job.state == JobState::Queued;
    let jobs = store.jobs(&JobFilter::default()).await.unwrap();
    let open: std::collections::BTreeSet<_> = jobs.iter().filter(|job| open(job)).map(|job| job.record).collect();
    assert_eq!(open, [at_crm, order].into(), "what waited for it goes on");

    let own = store.split(at_crm, ("shop", "9 again"), &[job(at_crm)], at(2)).await.unwrap().unwrap();
    assert_eq!(store.record("customer", "9 again").await.unwrap(), Some(own));
    let found = store.identify("shop", "customer", std::slice::from_ref(&row), &[]).await.unwrap();
    assert_eq!(found[0].record, own);
    assert_eq!(store.split(at_crm, ("shop", "x"), &[], at(2)).await.unwrap(), None, "there is nothing left of it");
}

async fn links_are_paused_ignored_and_taken_up_again(backend: Backend) {
    let store = &backend.store;
    let record = customer_pulled(store, "crm", "c1", "", "").await;
    let systems = ["crm".to_owned(), "shop".to_owned()];
    store.set_links(record, (&systems, LinkState::Paused), &[], at(1)).await.unwrap();
    store.set_links(record, (&systems[1..], LinkState::Ignored), &[], at(1)).await.unwrap();
    let states = store.linked(&[LinkState::Paused, LinkState::Ignored], 10).await.unwrap();
    let states: Vec<_> = states.iter().map(|(_, system, link)| (system.as_str(), link.state)).collect();
    assert_eq!(states, [("crm", LinkState::Paused), ("shop", LinkState::Ignored)]);
    store.set_links(record, (&systems, LinkState::Linked), &[], at(1)).await.unwrap();
    assert!(store.ties(&[record]).await.unwrap().is_empty());
}
