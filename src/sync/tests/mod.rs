//! The engine's promises, each against a fake ERP, a fake shop and the real store.
//!
//! One file, because the stage stands here that all promises play on.

mod adopting;
mod bad_input;
mod brakes;
mod crossing;
mod daemons;
mod desired_state;
mod differing;
mod fakes;
mod identity;
mod joining;
mod looping;
mod mapping;
mod merging;
mod money;
mod numbering;
mod planning;
mod qualifying;
mod respelling;
mod shown_beside;
mod states;
mod stepping;
mod stock;
mod stopping;
mod troubled;
mod undoing;
mod unique;
mod whole;
mod whose;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::fakes::{FakeMapping, FakeSystem, Fault};
use crate::{
    failure::{Class, Failure},
    mapping::Translate,
    model::Entities,
    port::{Op, System},
    store::NewRun,
    store::{Circuit, Claim, Fence, Intent, Job, JobFilter, JobState, RunKind, SharedStore, Turn},
    sync::{
        context::{Context, Limits, SystemLimits},
        engine::{Engine, PassSummary},
        routing::{DeletePolicy, Flow, Routes, Scope, flow},
    },
    wait_reason::WaitReason,
};

/// What a job waits for, as the tables write it.
#[expect(clippy::unnecessary_wraps, reason = "compared with a job's cause")]
fn waits(cause: &str) -> Option<WaitReason> {
    Some(cause.to_owned().into())
}

struct Stage {
    folder: tempfile::TempDir,
    erp: Arc<FakeSystem>,
    shop: Arc<FakeSystem>,
    /// A second shop.
    other: Arc<FakeSystem>,
    store: SharedStore,
    engine: Engine,
    /// Whether the lookup `tax` has a line for IGIC7.
    knows_igic: Arc<AtomicBool>,
}

const FIELDS: [&str; 8] = ["sku", "code", "name", "active", "parent", "amount", "brand", "pack"];

impl Stage {
    async fn new(flows: Vec<Flow>) -> Self {
        Self::with(FakeSystem::new("erp"), FakeSystem::new("shop"), flows).await
    }

    async fn with(erp: FakeSystem, shop: FakeSystem, flows: Vec<Flow>) -> Self {
        Self::limited(erp, shop, flows, SystemLimits::default()).await
    }

    async fn limited(erp: FakeSystem, shop: FakeSystem, flows: Vec<Flow>, limits: SystemLimits) -> Self {
        // No test outlives this lease.
        Self::leased(std::time::Duration::from_secs(3600), erp, shop, flows, limits).await
    }

    async fn leased(
        lease: std::time::Duration,
        erp: FakeSystem,
        shop: FakeSystem,
        flows: Vec<Flow>,
        limits: SystemLimits,
    ) -> Self {
        let (erp, shop, other) = (Arc::new(erp), Arc::new(shop), Arc::new(FakeSystem::new("other")));
        let folder = tempfile::tempdir().unwrap();
        let env = fakes::env();
        let store = crate::store::open(&format!("sqlite://{}/state.db", folder.path().display())).await.unwrap();
        let systems: BTreeMap<String, Arc<dyn System>> = BTreeMap::from([
            ("erp".to_owned(), erp.clone() as Arc<dyn System>),
            ("shop".to_owned(), shop.clone() as _),
            ("other".to_owned(), other.clone() as _),
        ]);
        let knows_igic = Arc::new(AtomicBool::new(false));
        let mut mappings: BTreeMap<(String, String), Arc<dyn Translate>> = BTreeMap::new();
        for system in ["erp", "shop", "other"] {
            let hides = if system == "shop" { shop.hides } else { None };
            for entity in ["product", "category"] {
                let fields: Vec<&str> = FIELDS
                    .into_iter()
                    .filter(|field| *field != if entity == "product" { "code" } else { "sku" })
                    .filter(|field| *field != "amount")
                    .collect();
                mappings.insert(
                    (system.into(), entity.into()),
                    Arc::new(FakeMapping::new(&fields, &knows_igic).blind_to(hides)),
                );
            }
            let others: [(&str, &[&str]); 4] = [
                ("price", &["code", "list", "sku", "amount", "currency", "tax_included", "group"]),
                ("stock", &["sku", "quantity", "levels"]),
                (
                    "order",
                    &[
                        "number",
                        "status",
                        "closed",
                        "currency",
                        "tax_included",
                        "lines",
                        "totals",
                        "customer",
                        "email",
                        "billing",
                        "payment",
                        "settled",
                        "goods_held",
                        "erased",
                    ],
                ),
                ("customer", &["code", "kind", "name", "email", "vat", "phone"]),
            ];
            for (entity, fields) in others {
                mappings.insert((system.into(), entity.into()), Arc::new(FakeMapping::new(fields, &knows_igic)));
            }
        }
        let engine = Engine::new(Context {
            store: store.clone(),
            env,
            systems,
            mappings,
            entities: Arc::new(Entities::builtin()),
            routes: Routes::new(flows).unwrap(),
            limits: Limits {
                lease,
                systems: BTreeMap::from([(
                    "shop".to_owned(),
                    SystemLimits { answer_window: std::time::Duration::from_secs(5), ..limits },
                )]),
                ..Limits::default()
            },
            owner: "test".into(),
            work: Arc::new(Notify::new()),
            journal: Arc::default(),
        });
        Self { folder, erp, shop, other, store, engine, knows_igic }
    }

    async fn catalog() -> Self {
        Self::new(vec![flow("catalog", "erp", "shop", &["category", "product"])]).await
    }

    async fn once(&self) -> PassSummary {
        self.engine.once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap()
    }

    async fn full(&self) -> PassSummary {
        self.engine.once(None, RunKind::Full, &CancellationToken::new()).await.unwrap()
    }

    async fn pull(&self, system: &str) {
        let stop = CancellationToken::new();
        let report = self.engine.pull(NewRun::new(system, "product", RunKind::Full, "test"), &stop).await.unwrap();
        assert!(report.is_green(), "{report:?}");
    }

    /// A daemon that claims the one job of the shop, and dies over it.
    async fn die_over_a_job(&self) -> Job {
        let claim = Claim {
            target: "shop",
            but: &[],
            owner: "dead",
            limit: 10,
            lease: std::time::Duration::from_secs(60),
            turn: Turn::Foremost,
        };
        self.store.claim(claim, self.engine.context().env.now()).await.unwrap().remove(0)
    }

    /// A daemon that claims the creation of the one product, carries it out, and dies before it knows.
    async fn die_after_creating(&self) {
        let (job, now) = (self.die_over_a_job().await, self.engine.context().env.now());
        let intent = Intent::new(Op::Create, now);
        self.store.intend(&[(job.id, job.fence, intent)], now).await.unwrap();
        let row = self.erp.rows("product").remove(0);
        self.shop.put("product", "77", &row);
    }

    async fn states(&self) -> Vec<JobState> {
        let jobs = self.store.jobs(&JobFilter { limit: 100, ..JobFilter::default() }).await.unwrap();
        jobs.into_iter().filter(|job| job.state != JobState::Done).map(|job| job.state).collect()
    }
}

fn hammer() -> Value {
    json!({"sku": "H-1", "name": {"es": "Martillo"}, "active": true})
}

#[tokio::test]
async fn a_change_in_the_source_reaches_the_target() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.shop.rows("product")[0]["name"]["es"], "Martillo");
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Martillo grande"}, "active": true}));
    let summary = stage.once().await;
    assert_eq!((summary.delivered.written, stage.shop.rows("product").len()), (1, 1));
    assert_eq!(stage.shop.rows("product")[0]["name"]["es"], "Martillo grande");
}

#[tokio::test]
async fn own_writes_coming_back_cause_no_change() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.once().await;
    let summary = stage.full().await;
    assert_eq!((summary.delivered.written, stage.shop.written()), (0, 1));
    assert!(summary.runs.iter().all(|run| run.balance.changed == 0), "{:?}", summary.runs);
}

#[tokio::test]
async fn an_object_is_created_once_when_the_reply_is_lost() {
    for fault in [Fault::LostAfter, Fault::LostBefore] {
        let stage = Stage::catalog().await;
        stage.erp.put("product", "1", &hammer());
        stage.shop.fault(fault.clone());
        let summary = stage.once().await;
        assert!(summary.is_clean(), "{fault:?}: {summary:?}");
        assert_eq!(stage.shop.rows("product").len(), 1, "{fault:?}");
        assert_eq!(stage.shop.written(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn the_child_ids_of_an_object_that_a_lookup_found_are_known() {
    // Found as desired, and found with something still to write: prices and stock wait for the parts of both.
    for (fault, after) in [(Fault::LostAfter, "Martillo"), (Fault::LostAfter, "Martillo grande")] {
        let stage = Stage::catalog().await;
        stage.erp.put("product", "1", &hammer());
        stage.shop.fault(fault);
        stage.shop.renaming_at_find(after);
        assert!(stage.once().await.is_clean());
        let record = stage.store.record("product", "H-1").await.unwrap().unwrap();
        let children = stage.store.children_of(&[record]).await.unwrap().remove(&record).unwrap();
        let there: Vec<_> = children.into_iter().filter(|child| child.system == "shop").collect();
        let id = stage.shop.rows("product")[0]["id"].as_str().unwrap().to_owned();
        assert_eq!(
            there.iter().map(|child| (child.key.as_str(), &child.id)).collect::<Vec<_>>(),
            [("H-1", &id)],
            "{after}"
        );
    }
}

#[tokio::test]
async fn a_create_without_answer_is_complete_where_the_target_shows_only_a_part_of_it() {
    // Met by the lookup, and met by a pull before it.
    for pulled in [false, true] {
        let shop =
            FakeSystem::new("shop").hiding("brand").with_capabilities(|capabilities| capabilities.update = false);
        let stage =
            Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["category", "product"])])
                .await;
        stage.once().await;
        stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Martillo"}, "brand": "Bellota"}));
        if pulled {
            stage.pull("erp").await;
            stage.die_after_creating().await;
            stage.pull("shop").await;
        } else {
            stage.shop.fault(Fault::LostAfter);
        }
        assert!(stage.once().await.is_clean(), "pulled: {pulled}");
        assert_eq!(stage.shop.rows("product").len(), 1);
        // What was taken on stays known: a later look at the record has nothing to write.
        let scope: Scope = "catalog/product/H-1".parse().unwrap();
        let again = stage.engine.once(Some(&scope), RunKind::Delta, &CancellationToken::new()).await.unwrap();
        assert!(again.is_clean(), "pulled: {pulled}: {again:?}");
    }
}

#[tokio::test]
async fn a_write_that_stores_its_steps_while_leases_are_renewed_keeps_its_lease() {
    let (erp, shop) =
        (FakeSystem::new("erp"), FakeSystem::new("shop").with_capabilities(|capabilities| capabilities.steps = true));
    let flows = vec![flow("catalog", "erp", "shop", &["product"])];
    let stage = Stage::leased(std::time::Duration::from_secs(15), erp, shop, flows, SystemLimits::default()).await;
    stage.erp.put("product", "1", &hammer());
    stage.shop.fault(Fault::Steps(500));
    assert!(stage.once().await.is_clean());
    let jobs = stage.store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!((jobs[0].fence, jobs[0].attempts, stage.shop.written()), (Fence(1), 0, 1), "claimed once, written once");
}

#[tokio::test]
async fn what_cannot_be_looked_up_is_never_created_a_second_time() {
    let shop = FakeSystem::new("shop").with_capabilities(|capabilities| capabilities.find = crate::port::Find::None);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &hammer());
    stage.shop.fault(Fault::LostBefore);
    stage.once().await;
    assert_eq!(stage.states().await, [JobState::Dead]);
    assert_eq!(stage.shop.written(), 0);
}

#[tokio::test]
async fn what_the_target_already_has_is_adopted_not_created() {
    let stage = Stage::catalog().await;
    stage.shop.put("product", "77", &json!({"sku": "H-1", "name": {"es": "Viejo"}, "active": true}));
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    let rows = stage.shop.rows("product");
    assert_eq!((rows.len(), &rows[0]["id"], &rows[0]["name"]["es"]), (1, &json!("77"), &json!("Martillo")));
}

#[tokio::test]
async fn what_was_created_since_a_backup_is_found_again_and_not_made_twice() {
    let flows = || vec![flow("catalog", "erp", "shop", &["category", "product"])];
    let stage = Stage::new(flows()).await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    let path = |name: &str| stage.folder.path().join(name);
    let copy = path("copy.db");
    crate::store::backup(&format!("sqlite://{}", path("state.db").display()), &copy).await.unwrap();
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}, "active": true}));
    assert!(stage.once().await.is_clean());

    let restored = crate::store::open(&format!("sqlite://{}", copy.display())).await.unwrap();
    let context = stage.engine.context();
    let engine = Engine::new(Context {
        store: restored,
        env: context.env.clone(),
        systems: context.systems.clone(),
        mappings: context.mappings.clone(),
        entities: context.entities.clone(),
        routes: Routes::new(flows()).unwrap(),
        limits: context.limits.clone(),
        owner: "restored".into(),
        work: Arc::new(Notify::new()),
        journal: Arc::default(),
    });
    let summary = engine.once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap();
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(stage.shop.rows("product").len(), 2);
}

#[tokio::test]
async fn a_lookup_is_given_what_was_sent_in_the_targets_own_words() {
    let stage = Stage::catalog().await;
    stage.erp.put("category", "1", &json!({"code": "TOOLS", "name": {"es": "Herramientas"}}));
    assert!(stage.once().await.is_clean());
    stage.erp.put("category", "2", &json!({"code": "HAND", "name": {"es": "De mano"}, "parent": "1"}));
    stage.shop.fault(Fault::LostBefore);
    assert!(stage.once().await.is_clean());
    let rows = stage.shop.rows("category");
    let parent = rows.iter().find(|row| row["code"] == "TOOLS").unwrap();
    assert_eq!(stage.shop.state.lock().unwrap().probed[0]["parent"], parent["id"]);
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn a_job_waits_for_its_missing_reference_and_goes_on_when_it_arrives() {
    let stage = Stage::catalog().await;
    stage.erp.put("category", "1", &json!({"code": "TOOLS", "name": {"es": "Herramientas"}}));
    stage.erp.put("category", "0", &json!({"code": "HAND", "name": {"es": "De mano"}, "parent": "1"}));
    let summary = stage.once().await;
    assert!(summary.is_clean(), "{summary:?}");
    let rows = stage.shop.rows("category");
    let parent = rows.iter().find(|row| row["code"] == "TOOLS").unwrap();
    let child = rows.iter().find(|row| row["code"] == "HAND").unwrap();
    assert_eq!(child["parent"], parent["id"]);
}

#[tokio::test]
async fn a_line_in_a_lookup_releases_all_that_waited_for_it() {
    // One that could not be read, one that could not be written.
    for sku in ["READ", "PUSHED"] {
        let stage = Stage::catalog().await;
        stage.erp.put("product", "1", &json!({"sku": sku, "name": {"es": "a"}, "brand": "IGIC7"}));
        stage.erp.put("product", "2", &hammer());
        let summary = stage.once().await;
        assert_eq!((summary.rejected, summary.delivered.parked), if sku == "READ" { (1, 0) } else { (0, 1) });
        assert_eq!(stage.once().await.delivered.written, 0, "{sku} still waits");
        stage.knows_igic.store(true, Ordering::Relaxed);
        assert!(stage.once().await.is_clean(), "{sku}");
        assert_eq!(stage.shop.rows("product").len(), 2, "{sku}");
    }
}

#[tokio::test]
async fn a_rejected_record_hurts_nobody_else_and_is_armed_again_by_its_change() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}, "active": true}));
    stage.shop.fault(Fault::Fail(Class::Rejected, "name too long"));
    let summary = stage.once().await;
    assert_eq!((summary.delivered.dead, summary.delivered.written), (1, 1));
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "M"}, "active": true}));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 2);
}

#[tokio::test]
async fn an_outage_burns_no_attempts() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    for _ in 0..4 {
        stage.shop.fault(Fault::Fail(Class::Transient, "down"));
    }
    stage.once().await;
    let jobs = stage.store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.attempts).max(), Some(0));
}

#[tokio::test]
async fn what_a_complete_listing_no_longer_shows_is_unpublished_and_stays_away() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}, "active": true}));
    stage.once().await;
    stage.erp.remove("product", "1");
    let summary = stage.full().await;
    assert!(summary.is_clean(), "{summary:?}");
    let row = |sku: &str| stage.shop.rows("product").into_iter().find(|row| row["sku"] == sku).unwrap();
    assert_eq!((&row("H-1")["active"], &row("S-1")["active"]), (&json!(false), &json!(true)));
    assert_eq!(stage.full().await.delivered.written, 0);
}

#[tokio::test]
async fn an_empty_listing_deletes_nothing_and_holds_up_nothing_else() {
    let mut catalog = flow("catalog", "erp", "shop", &["product"]);
    catalog.on_delete.insert("*".into(), DeletePolicy::Delete);
    let stage = Stage::new(vec![catalog]).await;
    stage.erp.put("product", "1", &hammer());
    stage.once().await;
    stage.erp.remove("product", "1");
    let summary = stage.full().await;
    assert!(!summary.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 1);
    assert_eq!(stage.store.circuit("erp").await.unwrap(), Circuit::default());
}

#[tokio::test]
async fn a_deleted_record_is_deleted_where_the_policy_says_so() {
    let mut catalog = flow("catalog", "erp", "shop", &["product"]);
    catalog.on_delete.insert("product".into(), DeletePolicy::Delete);
    let stage = Stage::new(vec![catalog]).await;
    stage.erp.put("product", "1", &hammer());
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}}));
    stage.once().await;
    stage.erp.remove("product", "1");
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 1);
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 1);
}

#[tokio::test]
async fn a_foreign_edit_of_an_owned_field_is_repaired() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.once().await;
    let id = stage.shop.rows("product")[0]["id"].as_str().unwrap().to_owned();
    stage.shop.put("product", &id, &json!({"sku": "H-1", "name": {"es": "Otro"}, "active": true}));
    assert!(stage.full().await.is_clean());
    assert_eq!(stage.shop.rows("product")[0]["name"]["es"], "Martillo");
}

#[tokio::test]
async fn a_field_owned_by_the_target_is_left_alone() {
    let mut catalog = flow("catalog", "erp", "shop", &["product"]);
    catalog.owners.insert("product.name".into(), "shop".into());
    let stage = Stage::new(vec![catalog]).await;
    stage.shop.put("product", "7", &json!({"sku": "H-1", "name": {"es": "De la tienda"}, "active": false}));
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.shop.rows("product")[0]["name"]["es"], "De la tienda");
    assert_eq!(stage.shop.rows("product")[0]["active"], true);
}

#[tokio::test]
async fn an_update_that_replaces_the_object_keeps_what_the_target_owns() {
    let mut catalog = flow("catalog", "erp", "shop", &["product"]);
    catalog.owners.insert("product.name".into(), "shop".into());
    let shop = FakeSystem::new("shop").with_capabilities(|capabilities| capabilities.replaces = true);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![catalog]).await;
    stage.shop.put("product", "7", &json!({"sku": "H-1", "name": {"es": "De la tienda"}, "active": false}));
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    let row = &stage.shop.rows("product")[0];
    assert_eq!((&row["name"]["es"], &row["active"]), (&json!("De la tienda"), &json!(true)));
}

#[tokio::test]
async fn what_is_taken_out_of_sale_keeps_all_else_where_an_update_replaces_the_object() {
    let shop = FakeSystem::new("shop")
        .with_capabilities(|capabilities| capabilities.replaces = true)
        .altering(|text| text.replace('&', "&amp;"));
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Nuts & bolts"}, "active": true}));
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}, "active": true}));
    stage.once().await;
    stage.erp.remove("product", "1");
    assert!(stage.full().await.is_clean());
    let row = stage.shop.rows("product").into_iter().find(|row| row["sku"] == "H-1").unwrap();
    assert_eq!((&row["active"], &row["name"]["es"]), (&json!(false), &json!("Nuts &amp; bolts")));
}

#[tokio::test]
async fn a_silent_alteration_is_not_written_again_for_ever() {
    let shop = FakeSystem::new("shop").altering(|text| text.replace('&', "&amp;"));
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Nuts & bolts"}, "active": true}));
    assert!(stage.once().await.is_clean());
    stage.full().await;
    stage.full().await;
    assert_eq!(stage.shop.written(), 1);
}

#[tokio::test]
async fn an_altered_amount_waits_with_both_values() {
    let shop = FakeSystem::new("shop").altering(|text| text.replace("19.5", "195"));
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("prices", "erp", "shop", &["price"])]).await;
    let price = json!({"code": "web/H-1", "list": "web", "sku": "H-1", "amount": "19.5", "currency": "EUR", "tax_included": true});
    stage.erp.put("price", "1", &price);
    stage.once().await;
    let jobs = stage.store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    let error = jobs[0].error.clone().unwrap_or_default();
    assert_eq!((jobs[0].state, jobs[0].cause.clone()), (JobState::Parked, waits("differs:price.amount=web/H-1")));
    assert!(error.contains("195") && error.contains("19.5") && error.contains("amount"), "{error}");
}

#[tokio::test]
async fn an_amount_changed_at_the_target_before_it_was_seen_there_is_written_again() {
    let flows = vec![flow("stock", "erp", "shop", &["stock"])];
    let stage = Stage::with(FakeSystem::new("erp"), FakeSystem::new("shop").terse(), flows).await;
    stage.erp.put("stock", "1", &json!({"sku": "H-1", "quantity": "41"}));
    stage.once().await;
    let id = stage.shop.rows("stock")[0]["id"].as_str().unwrap().to_owned();
    stage.shop.put("stock", &id, &json!({"sku": "H-1", "quantity": "13"}));
    stage.full().await;
    assert_eq!(stage.shop.rows("stock")[0]["quantity"], "41");
}

#[tokio::test]
async fn what_the_source_itself_lost_is_sent_to_all_though_a_write_met_it_first() {
    let mut texts = flow("texts", "shop", "erp", &["product"]);
    texts.fields.insert("product".into(), ["brand".to_owned()].into());
    texts.owners.insert("product.brand".into(), "shop".into());
    let stage = Stage::new(vec![flow("catalog", "erp", "shop", &["product"]), texts]).await;
    stage.erp.put("product", "1", &hammer());
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}, "active": true}));
    assert!(stage.once().await.is_clean());
    let row = stage.shop.rows("product").into_iter().find(|row| row["sku"] == "H-1").unwrap();
    let id = row["id"].as_str().unwrap();
    stage.erp.remove("product", "1");
    stage.shop.put("product", id, &json!({"sku": "H-1", "name": row["name"], "active": true, "brand": "Acero"}));
    let stop = CancellationToken::new();
    stage.engine.pull(NewRun::new("shop", "product", RunKind::Full, "test"), &stop).await.unwrap();
    // Delivers and pulls nothing: there is no such flow.
    let scope: Scope = "none".parse().unwrap();
    stage.engine.once(Some(&scope), RunKind::Delta, &stop).await.unwrap();
    assert_eq!(stage.states().await, [JobState::Queued]);
    stage.full().await;
    let row = stage.shop.rows("product").into_iter().find(|row| row["sku"] == "H-1").unwrap();
    assert_eq!(row["active"], false);
}

#[tokio::test]
async fn a_row_that_was_rejected_and_is_gone_waits_for_nobody_after_a_full_pull() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.erp.put("product", "2", &hammer());
    assert_eq!(stage.full().await.rejected, 1, "two objects of one key");
    assert_eq!(stage.full().await.rejected, 1);
    stage.erp.remove("product", "2");
    assert!(stage.full().await.is_clean());
}

#[tokio::test]
async fn what_the_target_lost_is_created_again() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.once().await;
    let id = stage.shop.rows("product")[0]["id"].as_str().unwrap().to_owned();
    stage.shop.remove("product", &id);
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Nuevo"}, "active": true}));
    let summary = stage.once().await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(stage.shop.rows("product").len(), 1);
    assert_eq!(stage.shop.rows("product")[0]["name"]["es"], "Nuevo");
}

#[tokio::test]
async fn a_resync_of_one_key_repairs_just_that_record() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.once().await;
    let id = stage.shop.rows("product")[0]["id"].as_str().unwrap().to_owned();
    stage.shop.put("product", &id, &json!({"sku": "H-1", "name": {"es": "Otro"}, "active": true}));
    let scope: Scope = "catalog/product/H-1".parse().unwrap();
    let summary = stage.engine.once(Some(&scope), RunKind::Delta, &CancellationToken::new()).await.unwrap();
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(stage.shop.rows("product")[0]["name"]["es"], "Martillo");
}

#[tokio::test]
async fn a_bad_row_is_counted_with_its_reason_and_the_rest_goes_on() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &json!({"name": {"es": "Sin clave"}}));
    stage.erp.put("product", "2", &hammer());
    let summary = stage.once().await;
    assert_eq!((summary.rejected, stage.shop.rows("product").len()), (1, 1));
    assert!(summary.runs.iter().all(|run| run.balance.closes()));
    stage.erp.put("product", "1", &json!({"sku": "OK", "name": {"es": "Con clave"}}));
    assert!(stage.once().await.is_clean());
}

#[tokio::test]
async fn a_system_that_does_not_answer_stops_its_run_and_loses_nothing() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.erp.state.lock().unwrap().pull_faults.push_back(Failure::new(Class::Transient, "down"));
    let summary = stage.once().await;
    assert!(summary.runs.iter().any(|run| run.error.is_some()));
    stage.erp.put("category", "1", &json!({"code": "TOOLS", "name": {"es": "Herramientas"}}));
    while !stage.once().await.is_clean() {}
    assert_eq!((stage.shop.rows("category").len(), stage.shop.rows("product").len()), (1, 1));
}
