//! Several daemons on one store: whoever was away for longer than his lease changes nothing any more.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Stage,
    fakes::{FakeSystem, Fault, ManualClock},
    flow,
};
use crate::{
    env::Env,
    port::Capabilities,
    store::{JobFilter, JobState, RunKind, Turn},
    sync::{
        context::{Context, Limits},
        delivery,
        routing::Routes,
    },
};

/// Another daemon on the stage's store and systems, by its own clock.
fn daemon(stage: &Stage, clock: Arc<ManualClock>) -> Context {
    let context = stage.engine.context();
    Context {
        store: stage.store.clone(),
        env: Env { clock, entropy: context.env.entropy.clone() },
        systems: context.systems.clone(),
        mappings: context.mappings.clone(),
        entities: context.entities.clone(),
        routes: Routes::new(context.routes.flows().to_vec()).unwrap(),
        limits: Limits { lease: Duration::from_secs(60), ..context.limits.clone() },
        owner: "another".into(),
        work: Arc::new(Notify::new()),
        journal: Arc::default(),
    }
}

#[tokio::test]
async fn a_daemon_that_was_paused_for_longer_than_its_lease_sends_nothing_more() {
    let stage = Stage::catalog().await;
    assert!(stage.once().await.is_clean());
    for number in 1..=3 {
        let product = json!({"sku": format!("H-{number}"), "name": {"es": "Martillo"}, "active": true});
        stage.erp.put("product", &number.to_string(), &product);
    }
    stage.pull("erp").await;
    // Later than all that the stage has queued.
    let clock = ManualClock::at(stage.engine.context().env.now() + chrono::Duration::days(1));
    stage.shop.fault(Fault::Doze(clock.clone(), 61));
    let another = daemon(&stage, clock);
    let stop = CancellationToken::new();
    assert!(delivery::batch(&another, "shop", &[], Turn::Foremost, &stop).await.unwrap().is_some());
    assert_eq!(stage.shop.written(), 1, "the others are for whoever has their leases now");
    let filter = JobFilter { limit: 10, states: vec![JobState::Queued], ..JobFilter::default() };
    let jobs = stage.store.jobs(&filter).await.unwrap();
    assert_eq!(jobs.len(), 3);
    assert!(jobs.iter().all(|job| job.intent.is_some()), "what may have been created is looked up");
}

#[tokio::test]
async fn a_full_pull_that_another_daemon_was_in_the_way_of_is_made_up_for() {
    let stage = Stage::new(vec![flow("catalog", "erp", "shop", &["product"])]).await;
    let context = stage.engine.context();
    stage.erp.put("product", "1", &super::hammer());
    for system in ["erp", "shop"] {
        let other = format!("pull:{system}/product");
        let lease = stage.store.acquire(&other, "other", Duration::from_secs(5), context.env.now()).await.unwrap();
        assert!(lease.is_some());
    }
    let stop = CancellationToken::new();
    let catalog = context.routes.flow("catalog").unwrap();
    let runs = stage.engine.pull_flow(catalog, None, (RunKind::Full, "schedule"), &stop).await.unwrap();
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run.run.is_some() && run.is_green()), "{runs:?}");
}

/// The shop is sent another name by a daemon that is killed before it tells, and the ERP takes the name back: all that is known
/// says that there is nothing to do.
async fn taken_back_after_an_update_without_an_answer(capabilities: impl FnOnce(&mut Capabilities)) {
    let shop = FakeSystem::new("shop").terse().with_capabilities(capabilities);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &super::hammer());
    assert!(stage.once().await.is_clean());
    let renamed = json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true});
    stage.erp.put("product", "1", &renamed);
    stage.pull("erp").await;
    stage.die_over_a_job().await;
    let id = stage.shop.rows("product")[0]["id"].as_str().unwrap().to_owned();
    stage.shop.put("product", &id, &renamed);
    stage.erp.put("product", "1", &super::hammer());
    stage.pull("erp").await;
    stage.deliver().await;
    assert_eq!(stage.shop.rows("product")[0]["name"], super::hammer()["name"]);
}

#[tokio::test]
async fn what_is_taken_back_after_an_update_without_an_answer_is_taken_back_at_the_target() {
    taken_back_after_an_update_without_an_answer(|_| ()).await;
}

#[tokio::test]
async fn it_is_also_where_objects_cannot_be_read_alone() {
    taken_back_after_an_update_without_an_answer(|capabilities| capabilities.read = false).await;
}

#[tokio::test]
async fn what_is_taken_back_after_a_lost_answer_is_taken_back_at_the_target() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &super::hammer());
    assert!(stage.once().await.is_clean());
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true}));
    stage.pull("erp").await;
    stage.shop.fault(Fault::LostAfter);
    let stop = CancellationToken::new();
    assert!(delivery::batch(stage.engine.context(), "shop", &[], Turn::Foremost, &stop).await.unwrap().is_some());
    stage.erp.put("product", "1", &super::hammer());
    stage.pull("erp").await;
    stage.deliver().await;
    assert_eq!(stage.shop.rows("product")[0]["name"], super::hammer()["name"]);
}
