//! A plan writes nothing and says what would be written; applied, it is done and nothing else is.
//!
//! One file, because a plan and its application are tested on the same stages.

use std::{collections::HashMap, path::Path, time::Duration};

use super::*;
use crate::{
    env::Env,
    port::Capabilities,
    store,
    sync::{
        engine::{Reach, Share},
        preview::{
            Applied, ApplyError, apply,
            plan::{self, AgreedPlan, Basis, Plan, Question},
        },
        routing::StockRule,
    },
};

/// One pass over everything.
pub(super) fn all(kind: RunKind) -> Reach {
    Reach { flow: None, kind }
}

fn saw(name: &str) -> Value {
    json!({"sku": "S-1", "name": {"es": name}, "active": true})
}

/// A plan with what it says, line by line.
pub(super) struct Planned {
    pub(super) plan: Plan,
    lines: Vec<Value>,
}

impl Planned {
    /// `create product H-1`, in the order of the plan.
    pub(super) fn writes(&self) -> Vec<String> {
        let word = |line: &Value, member: &str| line[member].as_str().unwrap().to_owned();
        self.lines.iter().map(|line| ["op", "entity", "key"].map(|member| word(line, member)).join(" ")).collect()
    }

    fn line(&self, key: &str) -> &Value {
        self.lines.iter().find(|line| line["key"] == key).unwrap()
    }

    /// By way of the file.
    pub(super) fn agreed(&mut self) -> AgreedPlan {
        let mut file = Vec::new();
        plan::write(&mut self.plan, &mut file).unwrap();
        plan::read(file.as_slice()).unwrap()
    }
}

impl Stage {
    pub(super) fn url(&self) -> String {
        format!("sqlite://{}/state.db", self.folder.path().display())
    }

    pub(super) fn context(&self, store: SharedStore, owner: &str) -> Context {
        let own = self.engine.context();
        Context {
            store,
            env: own.env.clone(),
            systems: own.systems.clone(),
            mappings: own.mappings.clone(),
            entities: Arc::clone(&own.entities),
            routes: own.routes.clone(),
            limits: own.limits.clone(),
            owner: owner.into(),
            work: Arc::new(Notify::new()),
            journal: Arc::default(),
        }
    }

    pub(super) async fn plan(&self, reach: Reach) -> Planned {
        // The copy is dated by the stage's clock; its name needs a chance of its own.
        let env = Env { clock: Arc::clone(&self.engine.context().env.clock), ..Env::system() };
        let copy = store::copy(&self.url(), &env).await.unwrap();
        let context = self.context(Arc::clone(&copy.store), "plan");
        let question = Question { reach, examples: 3, writes: 3, personal: false };
        let write_log = tempfile::tempfile().unwrap();
        let mut plan = plan::plan(context, &copy, question, write_log, &CancellationToken::new()).await.unwrap();
        let mut lines = Vec::new();
        plan.write_log
            .lines(|line| {
                lines.push(serde_json::from_str(line).unwrap());
                Ok(())
            })
            .unwrap();
        copy.remove().await.unwrap();
        Planned { plan, lines }
    }

    pub(super) async fn try_apply(&self, agreed: AgreedPlan) -> Result<Applied, ApplyError> {
        apply(self.context(self.store.clone(), "apply"), agreed, &CancellationToken::new()).await
    }

    async fn apply(&self, planned: &mut Planned) -> Applied {
        let agreed = planned.agreed();
        self.try_apply(agreed).await.unwrap()
    }

    /// What the shop was written, as a plan tells it but for the entity.
    fn written_at_shop(&self) -> Vec<String> {
        let state = self.shop.state.lock().unwrap();
        state.written.iter().map(|(op, key)| format!("{} {key}", format!("{op:?}").to_lowercase())).collect()
    }
}

/// Everything in a folder, byte for byte.
fn content(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// A shop with a tree and a catalog, in which the ERP then changes something of everything.
async fn busy() -> Stage {
    let mut catalog = flow("catalog", "erp", "shop", &["category", "product"]);
    catalog.on_delete.insert("product".into(), DeletePolicy::Delete);
    let stage = Stage::new(vec![catalog]).await;
    stage.erp.put("product", "1", &hammer());
    stage.erp.put("product", "2", &saw("Sierra"));
    stage.erp.put("product", "3", &json!({"sku": "OLD", "name": {"es": "Viejo"}, "active": true}));
    assert!(stage.once().await.is_clean());
    stage.erp.put("product", "2", &saw("Sierra fina"));
    stage.erp.remove("product", "3");
    stage.erp.put("product", "4", &json!({"sku": "NEW", "name": {"es": "Nuevo"}, "active": true}));
    stage.erp.put("category", "1", &json!({"code": "TOOLS", "name": {"es": "Herramientas"}}));
    stage.erp.put("category", "0", &json!({"code": "HAND", "name": {"es": "De mano"}, "parent": "1"}));
    stage
}

#[tokio::test]
async fn a_plan_writes_nothing_neither_at_the_systems_nor_in_the_state() {
    let stage = busy().await;
    let (state, shop, erp) = (content(stage.folder.path()), stage.shop.rows("product"), stage.erp.rows("product"));
    let written = stage.shop.written();
    let planned = stage.plan(all(RunKind::Full)).await;
    assert!(!planned.lines.is_empty());
    assert_eq!(content(stage.folder.path()), state, "the state, byte for byte, and no file beside it");
    assert_eq!((stage.shop.rows("product"), stage.erp.rows("product")), (shop, erp));
    assert_eq!((stage.shop.written(), stage.erp.written()), (written, 0));
}

#[tokio::test]
async fn a_plan_equals_what_applying_it_does() {
    let stage = busy().await;
    let mut plan = stage.plan(all(RunKind::Full)).await;
    let before = stage.written_at_shop().len();
    let applied = stage.apply(&mut plan).await;
    assert!(applied.is_clean() && applied.unneeded.is_empty(), "{applied:?}");
    assert_eq!((applied.planned, applied.done), (5, 5));
    let mut done = stage.written_at_shop().split_off(before);
    let mut expected: Vec<String> = plan
        .lines
        .iter()
        .map(|line| format!("{} {}", line["op"].as_str().unwrap(), line["key"].as_str().unwrap()))
        .collect();
    done.sort();
    expected.sort();
    assert_eq!(done, expected);

    // And the same as an ordinary pass.
    let twin = busy().await;
    twin.full().await;
    for entity in ["category", "product"] {
        let names = |stage: &Stage| -> Vec<Value> {
            let mut rows: Vec<Value> =
                stage.shop.rows(entity).into_iter().map(|row| row["name"]["es"].clone()).collect();
            rows.sort_by_key(ToString::to_string);
            rows
        };
        assert_eq!(names(&stage), names(&twin));
    }
    assert!(stage.plan(all(RunKind::Full)).await.lines.is_empty(), "nothing is left to do");
}

#[tokio::test]
async fn a_plan_shows_fields_before_and_after_and_references_by_key() {
    let stage = busy().await;
    let planned = stage.plan(all(RunKind::Full)).await;
    assert_eq!(planned.line("S-1")["fields"], json!({"name": [{"es": "Sierra"}, {"es": "Sierra fina"}]}));
    assert_eq!(planned.line("HAND")["fields"]["parent"], json!([null, "TOOLS"]));
    assert_eq!((&planned.line("OLD")["op"], &planned.line("OLD")["fields"]), (&json!("delete"), &json!({})));
    let target = planned.plan.summary.targets.iter().find(|target| target.entity == "product").unwrap();
    assert_eq!((target.creates, target.updates, target.deletes), (1, 1, 1));
    assert_eq!((target.from.iter().map(String::as_str).collect::<Vec<_>>(), &*target.target), (vec!["erp"], "shop"));
    assert_eq!((target.cost.requests, target.cost.basis), (3, Basis::Measured));
}

#[tokio::test]
async fn dependants_of_a_planned_object_are_planned_behind_it() {
    // The parent's id is only known when it is made; so are those of the parts that prices hang on.
    let facet = |capabilities: &mut Capabilities| {
        capabilities.facet_of = Some("product.variants".to_owned());
        (capabilities.create, capabilities.delete) = (false, false);
    };
    let shop = FakeSystem::new("shop").with_capabilities_of("price", facet);
    let flows = vec![flow("catalog", "erp", "shop", &["category", "product", "price"])];
    let stage = Stage::with(FakeSystem::new("erp"), shop, flows).await;
    stage.erp.put("category", "1", &json!({"code": "TOOLS", "name": {"es": "Herramientas"}}));
    stage.erp.put("category", "0", &json!({"code": "HAND", "name": {"es": "De mano"}, "parent": "1"}));
    stage.erp.put("product", "1", &hammer());
    let price = json!({"code": "web/H-1", "list": "web", "sku": "H-1", "amount": "19.5", "currency": "EUR", "tax_included": true});
    stage.erp.put("price", "1", &price);
    let mut planned = stage.plan(all(RunKind::Delta)).await;
    let mut writes = planned.writes();
    writes.sort();
    assert_eq!(writes, ["create category HAND", "create category TOOLS", "create product H-1", "update price web/H-1"]);
    assert!(planned.plan.summary.is_clean(), "{:?}", planned.plan.summary);
    assert_eq!(planned.agreed().writes.len(), 4);
}

#[tokio::test]
async fn a_plan_is_refused_where_the_source_has_changed_since() {
    let stage = busy().await;
    let mut planned = stage.plan(all(RunKind::Full)).await;
    stage.erp.put("product", "2", &saw("Sierra gruesa"));
    let applied = stage.apply(&mut planned).await;
    assert_eq!((applied.done, applied.refused.len()), (4, 1), "{applied:?}");
    let refused = &applied.refused[0];
    assert_eq!((&*refused.key, &*refused.op), ("S-1", "update"));
    assert!(refused.reason.contains("the desired value is no longer the planned one: name"), "{}", refused.reason);
    let name = |stage: &Stage| {
        let row = stage.shop.rows("product").into_iter().find(|row| row["sku"] == "S-1").unwrap();
        row["name"]["es"].clone()
    };
    assert_eq!(name(&stage), "Sierra");
    // It burns no attempt, and whoever delivers without a plan delivers it.
    let left = JobFilter { states: vec![JobState::Queued], ..JobFilter::default() };
    let jobs = stage.store.jobs(&left).await.unwrap();
    assert_eq!((jobs.len(), jobs[0].attempts, jobs[0].intent.is_some()), (1, 0, false));
    assert!(stage.once().await.is_clean());
    assert_eq!(name(&stage), "Sierra gruesa");
}

#[tokio::test]
async fn a_plan_is_refused_where_the_target_has_changed_since_though_no_pull_saw_it() {
    let stage = busy().await;
    // No listing of the target tells of it: its objects are read before they are written.
    let mut planned = stage.plan(all(RunKind::Delta)).await;
    let id = stage.shop.rows("product").into_iter().find(|row| row["sku"] == "S-1").unwrap()["id"].clone();
    stage.shop.put("product", id.as_str().unwrap(), &saw("Nombre de la tienda"));
    let applied = stage.apply(&mut planned).await;
    assert_eq!(applied.refused.len(), 1, "{applied:?}");
    assert!(applied.refused[0].reason.contains("it has changed at"), "{}", applied.refused[0].reason);
    let again = stage.plan(all(RunKind::Delta)).await;
    let expected = json!({"name": [{"es": "Nombre de la tienda"}, {"es": "Sierra fina"}]});
    assert_eq!(again.line("S-1")["fields"], expected, "the next plan knows what it has");
}

#[tokio::test]
async fn what_the_plan_does_not_name_is_not_written() {
    let stage = busy().await;
    let mut planned = stage.plan(all(RunKind::Full)).await;
    stage.erp.put("product", "9", &json!({"sku": "LATE", "name": {"es": "Tarde"}, "active": true}));
    let mut agreed = planned.agreed();
    // A line that somebody took out of the file is not agreed on either.
    agreed.writes.remove(&("shop".into(), "product".into(), "NEW".into())).unwrap();
    let applied = stage.try_apply(agreed).await.unwrap();
    let refused: Vec<&str> = applied.refused.iter().map(|write| write.key.as_str()).collect();
    assert_eq!(refused, ["LATE", "NEW"]);
    assert!(applied.refused.iter().all(|write| write.reason.contains("it is not in the plan")));
    let skus: Vec<Value> = stage.shop.rows("product").into_iter().map(|row| row["sku"].clone()).collect();
    assert!(!skus.contains(&json!("LATE")) && !skus.contains(&json!("NEW")));
}

#[tokio::test]
async fn a_plan_applied_twice_does_nothing_the_second_time() {
    let stage = busy().await;
    let mut planned = stage.plan(all(RunKind::Full)).await;
    stage.apply(&mut planned).await;
    let written = stage.shop.written();
    let applied = stage.apply(&mut planned).await;
    assert!(applied.is_clean(), "{applied:?}");
    assert_eq!((applied.done, applied.unneeded.len()), (0, 5));
    assert_eq!(stage.shop.written(), written);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done_by_the_lookup() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    let mut planned = stage.plan(all(RunKind::Delta)).await;
    stage.shop.fault(Fault::LostAfter);
    let applied = stage.apply(&mut planned).await;
    assert_eq!((applied.done, applied.is_clean(), stage.shop.rows("product").len()), (1, true, 1), "{applied:?}");
}

#[tokio::test]
async fn a_planned_write_that_the_target_refuses_is_reported_with_the_reason() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    let mut planned = stage.plan(all(RunKind::Delta)).await;
    stage.shop.fault(Fault::Fail(Class::Rejected, "name too long"));
    let applied = stage.apply(&mut planned).await;
    assert_eq!((applied.done, applied.failed.len()), (0, 1));
    assert!(applied.failed[0].reason.contains("name too long"), "{applied:?}");
}

#[tokio::test]
async fn nobody_else_delivers_to_a_target_while_a_plan_is_applied_there() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    let stop = CancellationToken::new();
    stage.engine.pull(NewRun::new("erp", "product", RunKind::Full, "test"), &stop).await.unwrap();
    let env = &stage.engine.context().env;
    let lease = Duration::from_secs(36_000);
    let held = stage.store.acquire("deliver:shop", "apply", lease, env.now()).await.unwrap().unwrap();
    let share = Share::everything(&stage.engine.context().routes);
    stage.engine.drain(&share, &stop).await.unwrap();
    assert_eq!(stage.shop.written(), 0);
    let busy = stage.try_apply(AgreedPlan { reach: all(RunKind::Delta), writes: HashMap::default() }).await;
    // The holder is another process, though of the same name here: it is taken over only when its time is up.
    assert!(matches!(&busy, Err(ApplyError::Busy { target, .. }) if target == "shop"), "{busy:?}");
    stage.store.drop_lease(&held).await.unwrap();
    stage.engine.drain(&share, &stop).await.unwrap();
    stage.engine.drain(&share, &stop).await.unwrap();
    assert_eq!(stage.shop.written(), 1);
}

#[tokio::test]
async fn where_a_target_cannot_be_looked_at_nothing_is_written() {
    let stage = busy().await;
    let mut planned = stage.plan(all(RunKind::Delta)).await;
    stage.shop.state.lock().unwrap().read_faults.push_back(Failure::new(Class::Transient, "down"));
    let before = stage.written_at_shop().len();
    let applied = stage.apply(&mut planned).await;
    assert!(!applied.is_clean());
    assert!(applied.runs.iter().any(|run| run.error.as_deref().is_some_and(|error| error.contains("down"))));
    let written = stage.written_at_shop().split_off(before);
    assert!(written.iter().all(|write| write.contains("TOOLS") || write.contains("HAND")), "{written:?}");
    let failed: Vec<&str> = applied.failed.iter().map(|write| write.key.as_str()).collect();
    assert_eq!(failed, ["NEW", "OLD", "S-1"]);
    assert!(applied.failed[0].reason.contains("could not be looked at before: down"), "{applied:?}");
}

#[tokio::test]
async fn a_plan_of_one_flow_is_about_its_own_targets_and_entities() {
    let flows = vec![flow("tree", "erp", "shop", &["category"]), flow("catalog", "erp", "shop", &["product"])];
    let stage = Stage::new(flows).await;
    stage.erp.put("category", "1", &json!({"code": "TOOLS", "name": {"es": "Herramientas"}}));
    stage.erp.put("product", "1", &hammer());
    let stop = CancellationToken::new();
    // What another flow has queued is not its matter.
    stage.engine.pull(NewRun::new("erp", "product", RunKind::Full, "test"), &stop).await.unwrap();
    let reach = Reach { flow: Some("tree".into()), kind: RunKind::Delta };
    let mut planned = stage.plan(reach).await;
    assert_eq!(planned.writes(), ["create category TOOLS"]);
    let applied = stage.apply(&mut planned).await;
    assert_eq!((applied.done, applied.is_clean()), (1, true), "{applied:?}");
    assert!(stage.shop.rows("product").is_empty());
}

#[tokio::test]
async fn what_is_adopted_at_first_contact_is_shown_as_a_match() {
    let stage = Stage::catalog().await;
    stage.shop.put("product", "77", &hammer());
    stage.erp.put("product", "1", &hammer());
    stage.erp.put("product", "2", &saw("Sierra"));
    let planned = stage.plan(all(RunKind::Delta)).await;
    assert_eq!(planned.writes(), ["create product S-1"]);
    let matches = &planned.plan.summary.matches;
    assert_eq!((matches.len(), matches[0].count, &*matches[0].examples[0].key), (1, 1, "H-1"));
    assert_eq!(matches[0].examples[0].ids, BTreeMap::from([("erp".into(), "1".into()), ("shop".into(), "77".into())]));
    stage.once().await;
    assert!(stage.plan(all(RunKind::Full)).await.plan.summary.matches.is_empty(), "they are no news any more");
}

#[tokio::test]
async fn what_would_wait_be_refused_or_not_be_read_is_shown_with_its_reason() {
    let mut catalog = flow("catalog", "erp", "shop", &["category", "product"]);
    catalog.owners.insert("product.name".into(), crate::sync::routing::SHARED.into());
    let mut back = flow("back", "shop", "erp", &["product"]);
    back.fields.insert("product".into(), ["name".to_owned()].into());
    let shop = FakeSystem::new("shop").with_capabilities_of("category", |capabilities| capabilities.create = false);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![catalog, back]).await;
    stage.erp.put("product", "1", &hammer());
    stage.once().await;
    let id = stage.shop.rows("product")[0]["id"].as_str().unwrap().to_owned();
    stage.shop.put("product", &id, &json!({"sku": "H-1", "name": {"es": "Maza"}, "active": true}));
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true}));
    stage.erp.put("product", "8", &json!({"name": {"es": "Sin clave"}}));
    stage.erp.put("category", "1", &json!({"code": "TOOLS", "name": {"es": "Herramientas"}}));
    let summary = stage.plan(all(RunKind::Full)).await.plan.summary;
    assert!(!summary.is_clean());
    assert_eq!((&*summary.conflicts[0].what, summary.conflicts[0].examples[0].key.as_str()), ("conflict", "H-1"));
    assert!(summary.rejected[0].examples[0].why.as_deref().unwrap().contains("cannot create"), "{summary:?}");
    assert_eq!((summary.unreadable[0].count, &*summary.unreadable[0].system), (1, "erp"));
    assert!(stage.store.conflicts(0).await.unwrap().is_empty(), "the conflict is the copy's alone");
}

#[tokio::test]
async fn a_brake_that_would_trip_is_shown_with_its_limit_and_holds_nothing_yet() {
    let mut prices = flow("prices", "erp", "shop", &["price"]);
    prices.brakes = crate::sync::routing::Brakes::default();
    let stage = Stage::new(vec![prices]).await;
    let price = |amount: &str| json!({"code": "web/H-1", "list": "web", "sku": "H-1", "amount": amount, "currency": "EUR", "tax_included": true});
    stage.erp.put("price", "1", &price("100"));
    assert!(stage.once().await.is_clean());
    stage.erp.put("price", "1", &price("10"));
    let planned = stage.plan(all(RunKind::Delta)).await;
    assert!(planned.lines.is_empty(), "what a brake stops would not be written");
    let brakes = &planned.plan.summary.brakes;
    assert_eq!((brakes.len(), brakes[0].run, &*brakes[0].trip.brake), (1, None, "price_change"));
    assert_eq!((brakes[0].trip.violations, brakes[0].trip.base, &*brakes[0].trip.examples[0].key), (1, 1, "web/H-1"));
    assert!(!planned.plan.summary.is_clean() && stage.store.waiting_approvals().await.unwrap().is_empty());

    // Once it is held, it is told by its run, and approved it is planned.
    let held = stage.once().await.held;
    assert_eq!(stage.plan(all(RunKind::Delta)).await.plan.summary.brakes[0].run, Some(held[0]));
    stage.store.decide_run(held[0], true, stage.engine.context().env.now()).await.unwrap();
    assert_eq!(stage.plan(all(RunKind::Delta)).await.line("web/H-1")["fields"], json!({"amount": ["100", "10"]}));
}

#[tokio::test]
async fn a_system_that_is_left_alone_does_not_hold_a_plan_up() {
    let stage = busy().await;
    let until = "2099-01-01T00:00:00Z".parse().unwrap();
    let circuit = store::Circuit { until: Some(until), failures: 9, reason: Some("down".into()) };
    stage.store.set_circuit("shop", &circuit).await.unwrap();
    assert_eq!(stage.plan(all(RunKind::Full)).await.lines.len(), 5);
    assert_eq!(stage.store.circuit("shop").await.unwrap(), circuit);
}

#[tokio::test]
async fn a_system_that_cannot_be_read_is_reported_and_nothing_is_taken_for_gone() {
    let stage = busy().await;
    let down = || Failure::new(Class::Transient, "no answer");
    stage.erp.state.lock().unwrap().pull_faults.extend([down(), down()]);
    let planned = stage.plan(all(RunKind::Full)).await;
    stage.erp.state.lock().unwrap().pull_faults.clear();
    assert!(planned.plan.summary.runs.iter().any(|run| run.error.is_some()));
    assert!(planned.lines.iter().all(|line| line["op"] != "delete"));
    assert!(
        stage.once().await.runs.iter().all(crate::sync::context::RunReport::is_green),
        "the state knows nothing of it"
    );
}

#[tokio::test]
async fn a_plan_of_another_configuration_is_refused() {
    let stage = busy().await;
    let mut planned = stage.plan(all(RunKind::Full)).await;
    let other = Stage::new(vec![flow("tree", "erp", "shop", &["category"])]).await;
    let error = other.try_apply(planned.agreed()).await.unwrap_err();
    assert!(error.to_string().contains("product"), "{error}");
    let reach = Reach { flow: Some("gone".into()), kind: RunKind::Delta };
    let error = other.try_apply(AgreedPlan { reach, writes: HashMap::default() }).await.unwrap_err();
    assert!(error.to_string().contains("flow gone"), "{error}");
}

#[test]
fn a_file_that_is_no_plan_is_refused() {
    assert!(plan::read("{}".as_bytes()).is_err());
    let newer = r#"{"plan": 99, "flow": null, "kind": "delta", "writes": []}"#;
    assert!(plan::read(newer.as_bytes()).unwrap_err().to_string().contains("make the plan again"));
}

#[tokio::test]
async fn planned_stock_minds_orders_that_only_the_plan_has_seen() {
    let stage = Stage::new(stock::both_ways(StockRule::default())).await;
    let count = |quantity: &str| stage.erp.put("stock", "A", &json!({"sku": "A", "quantity": quantity}));
    count("6");
    assert!(stage.once().await.is_clean());
    count("9");
    stage.shop.put("order", "1", &stock::order("1001", "paid", &[("A", "2")]));
    let mut planned = stage.plan(all(RunKind::Delta)).await;
    assert_eq!(planned.writes(), ["create order 1001", "update stock A"]);
    assert_eq!(planned.line("A")["fields"]["quantity"], json!(["6", "7"]));
    let applied = stage.apply(&mut planned).await;
    assert!(applied.is_clean() && applied.done == 2, "{applied:?}");
    assert_eq!(stage.shop.rows("stock")[0]["quantity"], "7");
    let planned = stage.plan(all(RunKind::Delta)).await;
    assert_eq!(planned.line("A")["fields"]["quantity"], json!(["7", "9"]), "nine knows of the order by now");
}

#[tokio::test]
async fn a_plan_shows_who_is_taken_for_one_and_about_whom_a_person_is_asked() {
    let mut sales = flow("sales", "shop", "erp", &["customer"]);
    sales
        .matches
        .insert("customer".into(), vec![crate::sync::routing::MatchRule { field: "email".into(), weak: false }]);
    let stage = Stage::new(vec![sales]).await;
    let person = |code: &str, email: &str| json!({"code": code, "kind": "person", "name": code, "email": email});
    stage.erp.put("customer", "1", &person("430001", "ana@example.com"));
    stage.erp.put("customer", "2", &person("430002", "info@example.com"));
    stage.erp.put("customer", "3", &person("430003", "info@example.com"));
    stage.shop.put("customer", "1", &person("C-1", "ana@example.com"));
    stage.shop.put("customer", "2", &person("C-2", "info@example.com"));
    stage.shop.put("customer", "3", &person("C-3", "eva@example.com"));
    let planned = stage.plan(all(RunKind::Full)).await;
    assert_eq!(planned.writes(), ["update customer 430001", "create customer C-3"]);
    let matches: Vec<_> = planned.plan.summary.matches[0].examples.iter().map(|one| (&*one.key, &one.by)).collect();
    assert!(matches.contains(&("430001", &Some(plan::By { rule: "email".into(), score: 100 }))), "{matches:?}");
    let waiting = &planned.plan.summary.waiting[0];
    assert_eq!((waiting.what.as_str(), waiting.count, &*waiting.examples[0].key), ("review:customer", 1, "C-2"));
    assert!(waiting.examples[0].why.as_deref().unwrap().contains("430003 (email)"), "{waiting:?}");
}

#[tokio::test]
async fn a_plan_shows_which_order_does_not_add_up_and_writes_it_nowhere() {
    let stage = Stage::new(vec![flow("sales", "shop", "erp", &["order"])]).await;
    let lines =
        json!([{"line": "1", "sku": "H-1", "quantity": "2", "unit_price": "10", "tax_rate": "21", "total": "20"}]);
    let order = json!({"number": "1001", "status": "paid", "currency": "EUR", "tax_included": false, "lines": lines,
        "totals": {"net": "20", "tax": "4.2", "gross": "29.2"}});
    stage.shop.put("order", "7", &order);
    let planned = stage.plan(all(RunKind::Full)).await;
    assert!(planned.lines.is_empty());
    let waiting = &planned.plan.summary.waiting[0];
    assert_eq!((waiting.what.as_str(), waiting.examples[0].cause.clone()), ("proof:order", waits("proof:order=1001")));
    assert!(waiting.examples[0].why.as_deref().unwrap().contains("24.2"), "{waiting:?}");
}

#[tokio::test]
async fn leases_are_renewed_beside_the_work_that_they_are_for() {
    let stage = Stage::catalog().await;
    let context = stage.engine.context();
    let lease = stage.store.acquire("deliver:shop", &context.owner, Duration::from_secs(60), context.env.now()).await;
    let until = context.env.now() + chrono::Duration::minutes(2);
    let work = async {
        // The work has the store's writer most of the time.
        while context.env.now() < until {
            stage.store.note("at work", &json!(true)).await?;
        }
        Ok(())
    };
    let patience = Duration::from_secs(60);
    let done =
        tokio::time::timeout(patience, crate::sync::preview::alone(context, &[lease.unwrap().unwrap()], work)).await;
    done.unwrap().unwrap();
}
