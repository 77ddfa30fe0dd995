//! Fields that nobody owns, and edits of fields that somebody does.

use super::*;
use crate::{
    store::{Conflict, ConflictKind},
    sync::{
        conflict::{Decision, decide},
        delivery,
        routing::{ConflictPolicy, DriftPolicy, RoutesError, SHARED},
    },
};

/// Names are shared; the back flow carries nothing else.
fn sharing() -> Vec<Flow> {
    let mut catalog = flow("catalog", "erp", "shop", &["category", "product"]);
    catalog.owners.insert("product.name".into(), SHARED.into());
    let mut back = flow("back", "shop", "erp", &["product"]);
    back.fields.insert("product".into(), ["name".to_owned()].into());
    vec![catalog, back]
}

fn named(name: &Value) -> Value {
    json!({"sku": "H-1", "name": name, "active": true})
}

impl Stage {
    /// One product with this name, known on both sides.
    async fn agreed(flows: Vec<Flow>, name: &Value) -> Self {
        let stage = Self::new(flows).await;
        stage.erp.put("product", "1", &named(name));
        assert!(stage.once().await.is_clean());
        stage
    }

    fn shop_id(&self) -> String {
        self.shop.rows("product")[0]["id"].as_str().unwrap().to_owned()
    }

    fn edit_shop(&self, name: &Value) {
        self.shop.put("product", &self.shop_id(), &named(name));
    }

    pub(super) fn names(&self) -> (Value, Value) {
        (self.erp.rows("product")[0]["name"].clone(), self.shop.rows("product")[0]["name"].clone())
    }

    /// Delivers what is queued and pulls nothing of products.
    pub(super) async fn deliver(&self) {
        let scope: Scope = "catalog/category".parse().unwrap();
        self.engine.once(Some(&scope), RunKind::Delta, &CancellationToken::new()).await.unwrap();
    }

    /// What a worker of the shop claims at once.
    async fn one_batch(&self) {
        let stop = CancellationToken::new();
        delivery::batch(self.engine.context(), "shop", &[], Turn::Foremost, &stop).await.unwrap();
    }

    async fn conflict(&self) -> Conflict {
        let mut open = self.store.conflicts(0).await.unwrap();
        assert_eq!(open.len(), 1, "{open:?}");
        open.remove(0)
    }

    pub(super) async fn decide(&self, conflict: &Conflict, decision: Decision) {
        let context = self.engine.context();
        decide(&self.store, &context.routes, conflict, &decision, context.env.now()).await.unwrap();
    }
}

#[tokio::test]
async fn edits_on_both_sides_of_a_shared_field_are_merged() {
    let stage = Stage::agreed(sharing(), &json!({"es": "Martillo", "en": "Hammer"})).await;
    stage.erp.put("product", "1", &named(&json!({"es": "Martillo grande", "en": "Hammer"})));
    stage.edit_shop(&json!({"es": "Martillo", "en": "Claw hammer"}));
    assert!(stage.once().await.is_clean());
    let both = json!({"es": "Martillo grande", "en": "Claw hammer"});
    assert_eq!(stage.names(), (both.clone(), both));
    assert_eq!(stage.full().await.delivered.written, 0, "running again changes nothing");
}

#[tokio::test]
async fn a_change_of_the_shop_alone_reaches_the_erp_and_does_not_come_back() {
    let stage = Stage::agreed(sharing(), &json!({"es": "Martillo"})).await;
    let before = stage.shop.written();
    stage.edit_shop(&json!({"es": "Mazo"}));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.names(), (json!({"es": "Mazo"}), json!({"es": "Mazo"})));
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.shop.written(), before);
}

#[tokio::test]
async fn the_order_of_pulls_does_not_matter() {
    let mut ends = Vec::new();
    for order in [["erp", "shop"], ["shop", "erp"]] {
        let stage = Stage::agreed(sharing(), &json!({"es": "a", "en": "b", "fr": "c"})).await;
        stage.erp.put("product", "1", &named(&json!({"es": "x", "en": "b", "fr": "c"})));
        stage.edit_shop(&json!({"es": "a", "en": "y", "fr": "c"}));
        for system in order {
            stage.pull(system).await;
        }
        stage.deliver().await;
        assert!(stage.once().await.is_clean());
        ends.push(stage.names());
    }
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0].0, json!({"es": "x", "en": "y", "fr": "c"}));
}

#[tokio::test]
async fn the_same_field_changed_on_both_sides_waits_for_a_person_and_neither_is_lost() {
    for (winner, name) in [("erp", "Mazo"), ("shop", "Maza")] {
        let stage = Stage::agreed(sharing(), &json!({"es": "Martillo"})).await;
        stage.erp.put("product", "1", &named(&json!({"es": "Mazo"})));
        stage.edit_shop(&json!({"es": "Maza"}));
        let summary = stage.once().await;
        assert_eq!(stage.names(), (json!({"es": "Mazo"}), json!({"es": "Maza"})), "both stay as they are");
        assert_eq!(summary.left.get("parked"), Some(&1), "{summary:?}");
        let conflict = stage.conflict().await;
        assert_eq!((conflict.kind, conflict.base.clone()), (ConflictKind::Conflict, json!({"es": "Martillo"})));
        assert_eq!(stage.full().await.delivered.written, 0, "it stays a conflict");
        stage.decide(&conflict, Decision::Take(winner.into())).await;
        assert!(stage.once().await.is_clean());
        assert_eq!(stage.names(), (json!({"es": name}), json!({"es": name})), "{winner}");
        assert!(stage.store.conflicts(0).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn other_fields_of_a_record_in_conflict_go_on() {
    let stage = Stage::agreed(sharing(), &json!({"es": "Martillo"})).await;
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true, "brand": "Bellota"}));
    stage.edit_shop(&json!({"es": "Maza"}));
    stage.once().await;
    assert_eq!(stage.shop.rows("product")[0]["brand"], "Bellota");
    assert_eq!(stage.conflict().await.field, "name");
    assert!(stage.states().await.contains(&JobState::Parked));
}

#[tokio::test]
async fn a_conflict_ends_by_itself_when_both_sides_come_to_the_same() {
    let stage = Stage::agreed(sharing(), &json!({"es": "Martillo"})).await;
    stage.erp.put("product", "1", &named(&json!({"es": "Mazo"})));
    stage.edit_shop(&json!({"es": "Maza"}));
    stage.once().await;
    stage.edit_shop(&json!({"es": "Mazo"}));
    assert!(stage.once().await.is_clean());
    assert!(stage.store.conflicts(0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_preferred_system_wins_a_conflict_whoever_was_pulled_first() {
    for order in [["erp", "shop"], ["shop", "erp"]] {
        let mut flows = sharing();
        flows[0].conflicts.insert("product.name".into(), ConflictPolicy::Prefer("shop".into()));
        let stage = Stage::agreed(flows, &json!({"es": "Martillo"})).await;
        stage.erp.put("product", "1", &named(&json!({"es": "Mazo"})));
        stage.edit_shop(&json!({"es": "Maza"}));
        for system in order {
            stage.pull(system).await;
        }
        stage.deliver().await;
        assert!(stage.once().await.is_clean());
        assert_eq!(stage.names(), (json!({"es": "Maza"}), json!({"es": "Maza"})), "{order:?}");
    }
}

#[tokio::test]
async fn an_edit_that_no_pull_has_seen_is_merged_not_written_over() {
    let stage = Stage::agreed(sharing(), &json!({"es": "Martillo", "en": "Hammer"})).await;
    stage.erp.put("product", "1", &named(&json!({"es": "Mazo", "en": "Hammer"})));
    stage.pull("erp").await;
    // Between the last pull of the shop and our write.
    stage.edit_shop(&json!({"es": "Martillo", "en": "Mallet"}));
    stage.deliver().await;
    assert_eq!(stage.names().1, json!({"es": "Mazo", "en": "Mallet"}));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.names().0, json!({"es": "Mazo", "en": "Mallet"}));
}

/// The ERP's name is to be delivered, and the shop has another by now that nobody has seen.
async fn disputed() -> Stage {
    let stage = Stage::agreed(sharing(), &json!({"es": "Martillo"})).await;
    stage.erp.put("product", "1", &named(&json!({"es": "Mazo"})));
    stage.pull("erp").await;
    stage.edit_shop(&json!({"es": "Maza"}));
    stage
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_not_written_and_the_system_is_left_alone() {
    let stage = disputed().await;
    stage.shop.state.lock().unwrap().read_faults.push_back(Failure::new(Class::Transient, "down for maintenance"));
    stage.one_batch().await;
    assert_eq!(stage.names().1, json!({"es": "Maza"}));
    let circuit = stage.store.circuit("shop").await.unwrap();
    assert_eq!((circuit.failures, circuit.reason.as_deref()), (1, Some("down for maintenance")));
    stage.deliver().await;
    assert_eq!(stage.conflict().await.system, "shop", "it was looked at when that was over");
}

#[tokio::test]
async fn an_unseen_edit_of_the_same_value_becomes_a_conflict_not_a_lost_update() {
    let stage = disputed().await;
    stage.deliver().await;
    assert_eq!(stage.names().1, json!({"es": "Maza"}));
    assert_eq!(stage.conflict().await.system, "shop");
}

#[tokio::test]
async fn an_edit_that_a_listing_stores_while_a_job_looks_for_it_is_not_written_over() {
    let stage = disputed().await;
    let slow = Arc::new(Notify::new());
    stage.shop.state.lock().unwrap().slow = Some(slow.clone());
    tokio::join!(stage.deliver(), async {
        stage.shop.hanging().await;
        stage.pull("shop").await;
        slow.notify_one();
    });
    assert_eq!(stage.names().1, json!({"es": "Maza"}));
    assert_eq!(stage.conflict().await.system, "shop");
}

#[tokio::test]
async fn what_a_look_brings_to_light_of_another_object_is_looked_at_too() {
    let stage = Stage::agreed(sharing(), &json!({"es": "Martillo"})).await;
    let other = |name: &str, active: bool| json!({"sku": "S-1", "name": {"es": name}, "active": active});
    stage.erp.put("product", "2", &other("Sierra", true));
    stage.once().await;
    stage.erp.put("product", "1", &named(&json!({"es": "Martillo", "en": "Hammer"})));
    stage.erp.put("product", "2", &other("Sierra", false));
    stage.pull("erp").await;
    let there = stage.shop.rows("product").into_iter().find(|row| row["sku"] == "S-1").unwrap();
    stage.shop.put("product", there["id"].as_str().unwrap(), &other("De la tienda", true));
    // While the first is looked at, for its name, the second is to have another name as well.
    let slow = Arc::new(Notify::new());
    stage.shop.state.lock().unwrap().slow = Some(slow.clone());
    tokio::join!(stage.one_batch(), async {
        stage.shop.hanging().await;
        stage.erp.put("product", "2", &other("Del ERP", false));
        stage.pull("erp").await;
        slow.notify_one();
    });
    let there = stage.shop.rows("product").into_iter().find(|row| row["sku"] == "S-1").unwrap();
    assert_eq!((&there["name"]["es"], &there["active"]), (&json!("De la tienda"), &json!(false)));
}

#[tokio::test]
async fn an_edit_between_our_write_and_the_next_pull_is_not_taken_for_what_the_target_made_of_it() {
    let stage = Stage::with(FakeSystem::new("erp"), FakeSystem::new("shop").terse(), sharing()).await;
    stage.erp.put("product", "1", &named(&json!({"es": "Martillo", "en": "Hammer"})));
    stage.pull("erp").await;
    stage.deliver().await;
    stage.edit_shop(&json!({"es": "Martillo", "en": "Mallet"}));
    stage.erp.put("product", "1", &named(&json!({"es": "Mazo", "en": "Hammer"})));
    assert!(stage.once().await.is_clean());
    let both = json!({"es": "Mazo", "en": "Mallet"});
    assert_eq!(stage.names(), (both.clone(), both));
}

#[tokio::test]
async fn what_a_target_makes_of_a_shared_text_does_not_travel_back() {
    let shop = FakeSystem::new("shop").terse().altering(|text| text.replace('&', "&amp;"));
    let stage = Stage::with(FakeSystem::new("erp"), shop, sharing()).await;
    stage.erp.put("product", "1", &named(&json!({"es": "Tuerca & perno"})));
    for _ in 0..3 {
        assert!(stage.once().await.is_clean());
    }
    assert_eq!(stage.names(), (json!({"es": "Tuerca & perno"}), json!({"es": "Tuerca &amp; perno"})));
    assert_eq!((stage.erp.written(), stage.shop.written()), (0, 1));
}

#[tokio::test]
async fn what_a_target_makes_of_a_shared_text_is_no_edit_there_though_a_listing_shows_it_before_the_answer() {
    let shop = FakeSystem::new("shop").altering(|text| text.replace('&', "&amp;"));
    let stage = Stage::with(FakeSystem::new("erp"), shop, sharing()).await;
    stage.erp.put("product", "1", &named(&json!({"es": "Martillo"})));
    assert!(stage.once().await.is_clean());
    stage.erp.put("product", "1", &named(&json!({"es": "Tuerca & perno"})));
    stage.pull("erp").await;
    let go = Arc::new(Notify::new());
    stage.shop.fault(Fault::Slow(go.clone()));
    tokio::join!(stage.deliver(), async {
        stage.shop.hanging().await;
        stage.erp.put("product", "1", &named(&json!({"es": "Sierra"})));
        stage.pull("erp").await;
        stage.pull("shop").await;
        go.notify_one();
    });
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.names(), (json!({"es": "Sierra"}), json!({"es": "Sierra"})));
}

#[tokio::test]
async fn at_first_contact_the_system_an_entity_comes_from_has_the_word() {
    let stage = Stage::new(sharing()).await;
    stage.shop.put("product", "77", &named(&json!({"es": "De la tienda"})));
    stage.erp.put("product", "1", &named(&json!({"es": "Del ERP"})));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.names(), (json!({"es": "Del ERP"}), json!({"es": "Del ERP"})));
    assert!(stage.store.conflicts(0).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_accepted_edit_stays_until_the_owner_changes_its_value() {
    let mut flows = vec![flow("catalog", "erp", "shop", &["category", "product"])];
    flows[0].drift.insert("product.name".into(), DriftPolicy::Accept);
    let stage = Stage::agreed(flows, &json!({"es": "Martillo"})).await;
    stage.edit_shop(&json!({"es": "Oferta: martillo"}));
    assert!(stage.full().await.is_clean());
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.names().1, json!({"es": "Oferta: martillo"}));
    stage.erp.put("product", "1", &named(&json!({"es": "Mazo"})));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.names().1, json!({"es": "Mazo"}));
}

#[tokio::test]
async fn reported_drift_is_shown_and_repaired_or_left_by_decision() {
    for (take, name) in [("erp", "Martillo"), ("shop", "Oferta")] {
        let mut flows = vec![flow("catalog", "erp", "shop", &["category", "product"])];
        flows[0].drift.insert("*".into(), DriftPolicy::Report);
        let stage = Stage::agreed(flows, &json!({"es": "Martillo"})).await;
        stage.edit_shop(&json!({"es": "Oferta"}));
        stage.full().await;
        let conflict = stage.conflict().await;
        assert_eq!((conflict.kind, stage.names().1), (ConflictKind::Drift, json!({"es": "Oferta"})));
        stage.decide(&conflict, Decision::Take(take.into())).await;
        stage.full().await;
        assert_eq!(stage.names().1, json!({"es": name}), "{take}");
        assert!(stage.store.conflicts(0).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn drift_taken_back_at_the_system_is_no_longer_reported() {
    let mut flows = vec![flow("catalog", "erp", "shop", &["category", "product"])];
    flows[0].drift.insert("product".into(), DriftPolicy::Report);
    let stage = Stage::agreed(flows, &json!({"es": "Martillo"})).await;
    stage.edit_shop(&json!({"es": "Oferta"}));
    stage.full().await;
    stage.edit_shop(&json!({"es": "Martillo"}));
    assert!(stage.full().await.is_clean());
    assert!(stage.store.conflicts(0).await.unwrap().is_empty());
}

#[test]
fn a_shared_field_needs_a_flow_each_way() {
    let flows = sharing();
    let error = Routes::new(flows[..1].to_vec()).unwrap_err();
    assert!(matches!(&error, RoutesError::OneWay { field, .. } if field == "product.name"), "{error}");
    assert!(Routes::new(flows).is_ok());
}

/// Nobody knows what this row says: no list has a line for "perhaps".
fn unreadable(name: &Value) -> Value {
    json!({"sku": "H-1", "name": name, "active": "perhaps"})
}

#[tokio::test]
async fn an_object_that_must_be_looked_at_and_cannot_be_read_is_not_overwritten() {
    let stage = Stage::agreed(sharing(), &json!({"es": "Martillo"})).await;
    stage.shop.put("product", &stage.shop_id(), &unreadable(&json!({"es": "De la tienda"})));
    stage.erp.put("product", "1", &named(&json!({"es": "Mazo"})));
    assert_eq!(stage.once().await.delivered.parked, 1);
    let parked = JobFilter { states: vec![JobState::Parked], ..JobFilter::default() };
    let job = stage.store.jobs(&parked).await.unwrap().remove(0);
    assert_eq!(job.cause, waits("unread:product=H-1"));
    assert!(job.error.unwrap().contains("vaiven rows dismiss shop/product"), "its cure stands there");
    assert_eq!(stage.names().1, json!({"es": "De la tienda"}));
    stage.edit_shop(&json!({"es": "De la tienda"}));
    stage.once().await;
    assert_eq!(stage.conflict().await.field, "name", "it can be read again, and both have edited its name");
    assert_eq!(stage.names().1, json!({"es": "De la tienda"}));
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_written_if_a_person_has_put_its_row_aside() {
    let stage = Stage::agreed(sharing(), &json!({"es": "Martillo"})).await;
    stage.shop.put("product", &stage.shop_id(), &unreadable(&json!({"es": "De la tienda"})));
    stage.erp.put("product", "1", &named(&json!({"es": "Mazo"})));
    assert_eq!(stage.once().await.delivered.parked, 1);
    let now = stage.engine.context().env.now();
    assert_eq!(stage.store.dismiss("shop", "product", Some(&stage.shop_id()), now).await.unwrap(), 1);
    assert_eq!(stage.once().await.delivered.written, 1);
    assert_eq!(stage.names().1, json!({"es": "Mazo"}));
}
