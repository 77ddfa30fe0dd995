//! What nobody should send, and what becomes of it: docs/bad-input.md.

use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::*;
use crate::{
    env::Env,
    port::{RowBody, SourceRow},
    store::NewJob,
    sync::{context::PullContext, routing::Schedule, tests::fakes::env_at},
};

fn category(code: &str, parent: Option<&str>) -> Value {
    json!({"code": code, "name": {"es": code}, "parent": parent})
}

fn product(sku: &str, variants: &[Value]) -> Value {
    json!({"sku": sku, "name": {"es": sku}, "active": true, "variants": variants})
}

fn order(status: &str) -> Value {
    json!({"number": "1001", "status": status, "currency": "EUR"})
}

/// Every minute.
fn minutely(mut flow: Flow) -> Flow {
    flow.every = Some(Schedule { schedule: "0 * * * * *".parse().unwrap(), zone: chrono_tz::UTC });
    flow
}

impl Stage {
    /// A stage on which products have variants.
    async fn with_variants() -> Self {
        let mut stage = Self::new(vec![flow("catalog", "erp", "shop", &["product"])]).await;
        let mut context = stage.context(stage.store.clone(), "variants");
        for system in ["erp", "shop"] {
            let mapping = FakeMapping::new(&["sku", "name", "active", "variants"], &stage.knows_igic);
            context.mappings.insert((system.into(), "product".into()), Arc::new(mapping));
        }
        stage.engine = Engine::new(context);
        stage
    }

    fn codes(&self) -> Vec<String> {
        let rows = self.shop.rows("category");
        let mut codes: Vec<String> = rows.iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect();
        codes.sort();
        codes
    }

    fn skus(&self, product: &str) -> Vec<String> {
        let row = self.shop.rows("product").into_iter().find(|row| row["sku"] == product).unwrap();
        let variants = row["variants"].as_array().unwrap().iter();
        variants.map(|variant| variant["sku"].as_str().unwrap().to_owned()).collect()
    }

    /// Lets a daemon work until `done`; false when it does not come to that.
    async fn daemon(&self, engine: &Engine, done: impl AsyncFn() -> bool) -> bool {
        let (stop, mut reached) = (CancellationToken::new(), false);
        let context = engine.context();
        let ((), ()) = tokio::join!(engine.run(&stop), async {
            for _ in 0..2000 {
                if done().await {
                    reached = true;
                    break;
                }
                context.env.sleep(context.limits.poll).await;
            }
            stop.cancel();
        });
        reached
    }

    async fn state(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.url()).await.unwrap()
    }
}

#[tokio::test]
async fn parents_that_go_in_a_circle_wait_by_name_and_hold_up_nobody_else() {
    let stage = Stage::catalog().await;
    stage.erp.put("category", "1", &category("A", Some("2")));
    stage.erp.put("category", "2", &category("B", Some("1")));
    stage.erp.put("category", "3", &category("SELF", Some("3")));
    stage.erp.put("category", "4", &category("FREE", None));
    stage.once().await;
    assert_eq!(stage.codes(), ["FREE"]);
    let jobs = stage.store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    let mut causes: Vec<String> = jobs.into_iter().filter_map(|job| job.cause.map(String::from)).collect();
    causes.sort();
    assert_eq!(causes, ["missing:category=A", "missing:category=B", "missing:category=SELF"]);

    stage.erp.put("category", "1", &category("A", None));
    stage.erp.put("category", "3", &category("SELF", None));
    assert!(stage.once().await.is_clean(), "mended at the source, all of them go");
    assert_eq!(stage.codes(), ["A", "B", "FREE", "SELF"]);
}

#[tokio::test]
async fn a_variant_moved_to_another_product_leaves_the_one_and_joins_the_other() {
    let stage = Stage::with_variants().await;
    let variant = |sku: &str| json!({"sku": sku});
    stage.erp.put("product", "1", &product("P-1", &[variant("V-1"), variant("V-2")]));
    stage.erp.put("product", "2", &product("P-2", &[variant("V-3")]));
    assert!(stage.once().await.is_clean());
    stage.erp.put("product", "1", &product("P-1", &[variant("V-1")]));
    stage.erp.put("product", "2", &product("P-2", &[variant("V-2"), variant("V-3")]));
    assert!(stage.once().await.is_clean());
    assert_eq!(
        (stage.skus("P-1"), stage.skus("P-2")),
        (vec!["V-1".to_owned()], vec!["V-2".to_owned(), "V-3".to_owned()])
    );
}

#[tokio::test]
async fn two_variants_of_one_sku_are_refused_by_row_and_two_of_one_choice_are_the_targets_affair() {
    let stage = Stage::with_variants().await;
    let variant = |sku: &str| json!({"sku": sku, "options": {"Colour": "red"}});
    stage.erp.put("product", "1", &product("TWICE", &[variant("V-1"), variant("V-1")]));
    stage.erp.put("product", "2", &product("ALIKE", &[variant("V-2"), variant("V-3")]));
    let summary = stage.once().await;
    assert_eq!((summary.rejected, stage.shop.rows("product").len()), (1, 1));
    assert_eq!(stage.skus("ALIKE"), ["V-2", "V-3"]);
    let rejections = stage.store.rejections(None, 10).await.unwrap();
    assert!(rejections[0].2.reason.contains("stands twice"), "{rejections:?}");
}

#[tokio::test]
async fn an_object_twice_in_a_page_counts_once() {
    let stage = Stage::catalog().await;
    let context = stage.engine.context();
    let row = |name: &str| SourceRow {
        position: "row".into(),
        id: "1".into(),
        version: None,
        body: RowBody::Json(json!({"id": "1", "sku": "H-1", "name": {"es": name}})),
    };
    let now = context.env.now();
    let run = stage.store.begin_run(NewRun::new("erp", "product", RunKind::Full, "test"), now).await.unwrap();
    let mapping = context.mappings[&("erp".to_owned(), "product".to_owned())].as_ref();
    let system = context.systems["erp"].as_ref();
    let reading = PullContext { context, system, mapping, entity: "product", run, remapped: false };
    let commit = reading.detect(&[row("old"), row("new")], &[], 0).await.unwrap().commit;
    assert_eq!((commit.balance.seen, commit.balance.skipped, commit.balance.changed), (2, 1, 1));
    assert!(commit.balance.closes());
    assert_eq!(commit.replicas[0].fields["name"]["es"], "new");
}

#[tokio::test]
async fn an_order_edited_after_its_delivery_is_updated_or_reported_as_one_that_cannot_be() {
    for can_update in [true, false] {
        let erp = FakeSystem::new("erp").with_capabilities_of("order", |capabilities| capabilities.update = can_update);
        let stage = Stage::with(erp, FakeSystem::new("shop"), vec![flow("sales", "shop", "erp", &["order"])]).await;
        stage.shop.put("order", "1", &order("confirmed"));
        assert!(stage.once().await.is_clean());
        stage.shop.put("order", "1", &order("paid"));
        let summary = stage.once().await;
        assert_eq!(stage.erp.rows("order").len(), 1, "it is never made a second time");
        if can_update {
            assert!(summary.is_clean());
            assert_eq!(stage.erp.rows("order")[0]["status"], "paid");
        } else {
            let jobs = stage.store.jobs(&JobFilter { limit: 1, ..JobFilter::default() }).await.unwrap();
            let error = jobs[0].error.clone().unwrap_or_default();
            assert_eq!((jobs[0].state, error.contains("cannot update an order")), (JobState::Dead, true), "{error}");
        }
    }
}

#[tokio::test]
async fn an_order_deleted_in_the_shop_stays_in_the_erp() {
    let stage = Stage::new(vec![flow("sales", "shop", "erp", &["order"])]).await;
    stage.shop.put("order", "1", &order("paid"));
    stage.shop.put("order", "2", &json!({"number": "1002", "status": "paid", "currency": "EUR"}));
    assert!(stage.once().await.is_clean());
    stage.shop.remove("order", "1");
    for _ in 0..2 {
        assert!(stage.full().await.is_clean());
    }
    assert_eq!((stage.erp.rows("order").len(), stage.shop.rows("order").len()), (2, 1));
}

#[tokio::test]
async fn a_clock_set_back_by_a_day_delays_nothing() {
    let stage = Stage::new(vec![minutely(flow("catalog", "erp", "shop", &["product"]))]).await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.daemon(&stage.engine, async || stage.shop.rows("product").len() == 1).await);
    // Left in the queue by the clock that was right: something to do, and a system to be left alone.
    let now = stage.engine.context().env.now();
    let record = stage.store.record("product", "H-1").await.unwrap().unwrap();
    let job = NewJob { target: "shop".into(), entity: "product".into(), record, priority: 0, due: None };
    stage.store.enqueue(&[job], now).await.unwrap();
    let until = Some(now + chrono::Duration::minutes(5));
    stage.store.set_circuit("shop", &Circuit { until, failures: 1, reason: None }).await.unwrap();

    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}, "active": true}));
    let mut context = stage.context(stage.store.clone(), "later");
    context.env = Env { clock: env_at("2026-02-28T08:00:00Z").clock, ..context.env };
    let engine = Engine::new(context);
    let done = async || stage.shop.rows("product").len() == 2 && stage.states().await.is_empty();
    assert!(stage.daemon(&engine, done).await, "{:?}", stage.states().await);
}

#[tokio::test]
async fn a_state_store_without_room_loses_nothing_and_the_daemon_goes_on_when_there_is_some() {
    const FULL: &str = "CREATE TRIGGER page_full BEFORE INSERT ON change_log \
            BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END; \
        CREATE TRIGGER claim_full BEFORE UPDATE ON job BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END";
    const ROOM: &str = "DROP TRIGGER page_full; DROP TRIGGER claim_full";
    let stage = Stage::new(vec![minutely(flow("catalog", "erp", "shop", &["product"]))]).await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    let record = stage.store.record("product", "H-1").await.unwrap().unwrap();
    let job = NewJob { target: "shop".into(), entity: "product".into(), record, priority: 0, due: None };
    stage.store.enqueue(&[job], stage.engine.context().env.now()).await.unwrap();

    let mut state = stage.state().await;
    state.execute(FULL).await.unwrap();
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}, "active": true}));
    assert!(stage.engine.once(None, RunKind::Delta, &CancellationToken::new()).await.is_err(), "a pass says so");
    // A daemon meets it again and again, longer than anything in it has patience on its own.
    let began = stage.engine.context().env.now();
    let room = std::sync::Mutex::new(Some(state));
    let done = async || {
        if stage.engine.context().env.now() - began > chrono::Duration::minutes(5) {
            let state = room.lock().unwrap().take();
            if let Some(mut state) = state {
                state.execute(ROOM).await.unwrap();
            }
        }
        stage.shop.rows("product").len() == 2 && stage.states().await.is_empty()
    };
    assert!(stage.daemon(&stage.engine, done).await, "{:?}", stage.states().await);
}

/// What a target answers to our own write is a row like any other.
#[tokio::test]
async fn an_answer_that_cannot_be_read_is_reported_like_a_rejected_row_until_it_can_be() {
    let shop = || FakeSystem::new("shop").branding("IGIC7");
    for reads in [true, false] {
        let shop = shop().with_capabilities(|capabilities| capabilities.read = reads);
        let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
        stage.once().await;
        stage.erp.put("product", "1", &hammer());
        let summary = stage.once().await;
        assert_eq!((summary.delivered.written, summary.rejected, summary.is_clean()), (1, 1, false), "reads: {reads}");
        let (system, entity, row) = stage.store.rejections(None, 10).await.unwrap().remove(0);
        assert_eq!((system.as_str(), entity.as_str(), row.key()), ("shop", "product", Some("H-1")));
        assert_eq!((row.id.as_deref(), row.cause.clone()), (Some("shop-1"), waits("lookup:tax=IGIC7")));
        assert!(row.reason.contains("no line for IGIC7"), "{row:?}");
        stage.knows_igic.store(true, Ordering::Relaxed);
        let summary = stage.once().await;
        assert_eq!((summary.rejected, summary.is_clean()), (0, true), "reads: {reads}");
    }
}

#[tokio::test]
async fn what_a_look_at_a_target_cannot_read_is_reported() {
    let shop = FakeSystem::new("shop").terse();
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    let mut row = stage.shop.rows("product").remove(0);
    row["brand"] = json!("IGIC7");
    stage.shop.put("product", "shop-1", &row);
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true}));
    assert_eq!(stage.once().await.rejected, 1);
}

/// A row that nobody could read is no object yet: it is read again by the name that it is told by.
#[tokio::test]
async fn a_resync_reads_a_rejected_row_again_and_lists_targets_that_cannot_be_read_by_key() {
    let shop = FakeSystem::new("shop").with_capabilities(|capabilities| capabilities.read = false);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &json!({"name": {"es": "Martillo"}, "active": true}));
    assert_eq!(stage.once().await.rejected, 1);
    stage.erp.put("product", "1", &hammer());
    let asked = async |scope: &str| {
        let scope: Scope = scope.parse().unwrap();
        stage.engine.once(Some(&scope), RunKind::Delta, &CancellationToken::new()).await.unwrap()
    };
    let summary = asked("catalog/product/1").await;
    assert_eq!((summary.rejected, summary.runs.len(), summary.runs[0].kind), (0, 1, RunKind::Single), "{summary:?}");
    assert_eq!(stage.shop.rows("product").len(), 1);
    let kinds: Vec<_> = asked("catalog/product/H-1").await.runs.into_iter().map(|run| (run.system, run.kind)).collect();
    assert_eq!(kinds, [("erp".to_owned(), RunKind::Single), ("shop".to_owned(), RunKind::Full)]);
}
