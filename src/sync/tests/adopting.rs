//! What was there before us: it is adopted, compared in the target's terms, brought in line, and never made twice.

use super::*;

/// An engine over the same systems whose state was lost.
async fn anew(stage: &Stage) -> (tempfile::TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::store::open(&format!("sqlite://{}/new.db", folder.path().display())).await.unwrap();
    (folder, Engine::new(stage.context(store, "new")))
}

async fn pass(engine: &Engine) -> PassSummary {
    engine.once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap()
}

fn hammer_of(brand: &str) -> Value {
    json!({"sku": "H-1", "name": {"es": "Martillo"}, "active": true, "brand": brand})
}

#[tokio::test]
async fn a_new_state_over_systems_that_are_in_step_writes_nothing() {
    let stage = Stage::catalog().await;
    stage.erp.put("category", "1", &json!({"code": "TOOLS", "name": {"es": "Herramientas"}}));
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    let written = stage.shop.written();
    let (_folder, engine) = anew(&stage).await;
    let summary = pass(&engine).await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!((summary.delivered.written, stage.shop.written()), (0, written));
}

#[tokio::test]
async fn what_a_target_never_shows_is_taken_for_there_at_first_contact_and_sent_when_it_changes() {
    let flows = vec![flow("catalog", "erp", "shop", &["product"])];
    let shop = FakeSystem::new("shop").hiding("brand");
    let stage = Stage::with(FakeSystem::new("erp"), shop, flows).await;
    stage.erp.put("product", "1", &hammer_of("Bellota"));
    assert!(stage.once().await.is_clean());
    let (_folder, engine) = anew(&stage).await;
    assert_eq!(pass(&engine).await.delivered.written, 0, "nobody can see that it is not there");
    stage.erp.put("product", "1", &hammer_of("Stanley"));
    assert_eq!(pass(&engine).await.delivered.written, 1);
    assert_eq!(stage.shop.rows("product")[0]["brand"], "Stanley");
}

#[tokio::test]
async fn what_a_create_without_answer_has_sent_is_not_sent_again_because_the_target_never_shows_it() {
    for is_met_by_a_pull in [false, true] {
        let shop = FakeSystem::new("shop").hiding("brand");
        let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
        stage.once().await;
        stage.erp.put("product", "1", &hammer_of("Bellota"));
        stage.shop.fault(Fault::LostAfter);
        if is_met_by_a_pull {
            stage.full().await;
        }
        let summary = stage.once().await;
        assert!(summary.is_clean(), "{summary:?}");
        assert_eq!((stage.shop.written(), stage.shop.rows("product").len()), (1, 1), "{is_met_by_a_pull}");
    }
}

#[tokio::test]
async fn what_was_refused_because_it_is_there_already_is_adopted_and_brought_in_line() {
    let shop = FakeSystem::new("shop").with_capabilities(|capabilities| capabilities.steps = true);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.once().await;
    stage.shop.put("product", "77", &json!({"sku": "H-1", "name": {"es": "De la tienda"}, "active": true}));
    stage.erp.put("product", "1", &hammer());
    stage.shop.fault(Fault::Fail(Class::Rejected, "the SKU is taken"));
    stage.once().await;
    let jobs = stage.store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!((jobs[0].state, &jobs[0].intent), (JobState::Dead, &None), "nothing was made");
    assert!(stage.full().await.is_clean());
    let rows = stage.shop.rows("product");
    assert_eq!((rows.len(), &rows[0]["id"], &rows[0]["name"]["es"]), (1, &json!("77"), &json!("Martillo")));
}

#[tokio::test]
async fn what_somebody_else_made_while_our_create_had_no_answer_is_brought_in_line() {
    let shop = FakeSystem::new("shop").with_capabilities(|capabilities| capabilities.steps = true);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.once().await;
    stage.shop.put("product", "77", &json!({"sku": "H-1", "name": {"es": "De la tienda"}, "active": true}));
    stage.erp.put("product", "1", &hammer());
    stage.shop.fault(Fault::LostBefore);
    let summary = stage.once().await;
    assert!(summary.is_clean(), "{summary:?}");
    let rows = stage.shop.rows("product");
    assert_eq!((rows.len(), &rows[0]["id"], &rows[0]["name"]["es"]), (1, &json!("77"), &json!("Martillo")));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_its_like_from_being_created_and_nothing_else() {
    let stage = Stage::catalog().await;
    // The lookup has no line for its brand.
    stage.shop.put("product", "77", &hammer_of("IGIC7"));
    stage.erp.put("product", "1", &hammer());
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}, "active": true}));
    let summary = stage.once().await;
    assert_eq!((summary.delivered.parked, summary.delivered.written, summary.rejected), (1, 1, 1), "{summary:?}");
    let filter = JobFilter { states: vec![JobState::Parked], limit: 10, ..JobFilter::default() };
    let job = stage.store.jobs(&filter).await.unwrap().remove(0);
    assert_eq!(job.cause, waits("unread:product=H-1"));
    assert!(job.error.unwrap().contains("row 77"), "which row it is is told");
    stage.shop.put("product", "77", &hammer_of("Bellota"));
    let summary = stage.once().await;
    assert!(summary.is_clean(), "no full pull is waited for: {summary:?}");
    assert_eq!(stage.shop.rows("product").len(), 2, "the one that is read now is the hammer");
}

#[tokio::test]
async fn a_row_that_shows_no_key_holds_all_creates_until_it_is_read_or_put_aside() {
    let stage = Stage::catalog().await;
    stage.shop.put("product", "77", &json!({"name": {"es": "Sin clave"}}));
    stage.erp.put("product", "1", &hammer());
    assert_eq!(stage.once().await.delivered.parked, 1);
    let filter = JobFilter { states: vec![JobState::Parked], limit: 10, ..JobFilter::default() };
    let job = stage.store.jobs(&filter).await.unwrap().remove(0);
    assert_eq!(job.cause, waits("unread:shop/product"));
    let now = stage.engine.context().env.now();
    assert_eq!(stage.store.dismiss("shop", "product", Some("77"), now).await.unwrap(), 1);
    assert_eq!(stage.once().await.delivered.written, 1);
    // Put aside it stays, though it is listed again.
    assert_eq!(stage.full().await.delivered.parked, 0);
    assert!(stage.store.unread("shop", "product").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_row_that_was_corrected_is_read_in_the_run_after_others_were_put_aside() {
    let stage = Stage::catalog().await;
    let unsure = json!({"sku": "H-1", "name": {"es": "Martillo"}, "active": "perhaps"});
    stage.shop.put("product", "77", &unsure);
    stage.shop.put("product", "78", &json!({"name": {"es": "Sin clave"}}));
    stage.erp.put("product", "1", &hammer());
    assert_eq!(stage.once().await.delivered.parked, 1);
    stage.shop.put("product", "77", &hammer_of("Bellota"));
    let now = stage.engine.context().env.now();
    assert_eq!(stage.store.dismiss("shop", "product", Some("78"), now).await.unwrap(), 1);
    let summary = stage.once().await;
    assert_eq!(summary.delivered.parked, 0, "{summary:?}");
    assert!(stage.store.unread("shop", "product").await.unwrap().is_empty());
    let rows = stage.shop.rows("product");
    assert_eq!(rows.iter().filter(|row| row["sku"] == "H-1").count(), 1, "{rows:?}");
}

#[tokio::test]
async fn what_got_lost_is_looked_up_by_its_key_before_it_is_made_again() {
    let stage = Stage::catalog().await;
    let product = |sku: &str, name: &str| json!({"sku": sku, "name": {"es": name}, "active": true});
    stage.erp.put("product", "1", &product("A", "one"));
    stage.erp.put("product", "2", &product("B", "two"));
    assert!(stage.once().await.is_clean());
    // One is there under another id, as after an answer that named a wrong one; the other is there no more.
    for row in stage.shop.rows("product") {
        stage.shop.remove("product", row["id"].as_str().unwrap());
        if row["sku"] == "A" {
            stage.shop.put("product", "moved", &row);
        }
    }
    stage.erp.put("product", "1", &product("A", "uno"));
    stage.erp.put("product", "2", &product("B", "dos"));
    assert!(stage.once().await.is_clean());
    let mut there: Vec<_> =
        (stage.shop.rows("product").into_iter()).map(|row| (row["sku"].clone(), row["name"]["es"].clone())).collect();
    there.sort_by_key(|(sku, _)| sku.to_string());
    assert_eq!(there, [(json!("A"), json!("uno")), (json!("B"), json!("dos"))], "nothing is there twice");
    let record = stage.store.record("product", "A").await.unwrap().unwrap();
    assert_eq!(stage.store.externals("shop", &[record]).await.unwrap()[&record], "moved");
    assert_eq!(stage.states().await, []);
}
