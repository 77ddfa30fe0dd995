//! A graceful stop: nothing is lost, nobody is blamed, and a system that does not answer holds nothing up.

use tokio_util::sync::CancellationToken;

use super::{
    Stage,
    fakes::{FakeSystem, Fault},
    flow, hammer,
};
use crate::store::{Circuit, JobFilter, JobState, RunKind};

/// One pass that is told to stop as soon as a request of the source hangs.
async fn stopped_in_a_listing(stage: &Stage) -> super::PassSummary {
    stage.erp.state.lock().unwrap().mute = true;
    let cancel = CancellationToken::new();
    let (summary, ()) = tokio::join!(stage.engine.once(None, RunKind::Delta, &cancel), async {
        stage.erp.hanging().await;
        cancel.cancel();
    });
    stage.erp.state.lock().unwrap().mute = false;
    summary.unwrap()
}

#[tokio::test]
async fn a_listing_that_is_stopped_does_not_count_against_the_system() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    let summary = stopped_in_a_listing(&stage).await;
    let stopped = summary.runs.last().unwrap();
    assert!(stopped.error.as_ref().is_some_and(|error| error.starts_with("stopped")), "{stopped:?}");
    assert_eq!(stage.store.circuit("erp").await.unwrap(), Circuit::default());
    assert!(stage.once().await.is_clean(), "the next start waits for nothing");
    assert_eq!(stage.shop.rows("product").len(), 1);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_single_record_ends_at_once() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.once().await;
    stage.erp.state.lock().unwrap().mute = true;
    let cancel = CancellationToken::new();
    let scope = "catalog/product/H-1".parse().unwrap();
    let (summary, ()) = tokio::join!(stage.engine.once(Some(&scope), RunKind::Delta, &cancel), async {
        stage.erp.hanging().await;
        cancel.cancel();
    });
    assert!(summary.unwrap().runs[0].error.as_ref().is_some_and(|error| error.starts_with("stopped")));
    assert_eq!(stage.store.circuit("erp").await.unwrap(), Circuit::default());
}

#[tokio::test]
async fn a_write_that_hangs_is_given_back_by_a_stop_and_done_once_after_it() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.shop.fault(Fault::Hang);
    let cancel = CancellationToken::new();
    let (ended, ()) = tokio::join!(stage.engine.once(None, RunKind::Delta, &cancel), async {
        stage.shop.hanging().await;
        cancel.cancel();
    });
    ended.unwrap();
    let jobs = stage.store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.state).collect::<Vec<_>>(), [JobState::Queued], "its lease was returned");
    assert!(jobs[0].intent.is_some(), "what may have been created is looked up");
    assert!(stage.once().await.is_clean());
    assert_eq!((stage.shop.rows("product").len(), stage.shop.written()), (1, 1));
}

/// A product's creation has done the step that makes it and stored that, and the process is gone before the next.
async fn broken_off_between_two_steps() -> Stage {
    let shop = FakeSystem::new("shop").with_capabilities(|capabilities| capabilities.steps = true);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &hammer());
    stage.shop.fault(Fault::HangAfterStep);
    let never = CancellationToken::new();
    tokio::select! {
        _ = stage.engine.once(None, RunKind::Delta, &never) => panic!("the write hangs"),
        () = stage.shop.hanging() => {}
    }
    stage
}

#[tokio::test]
async fn a_write_that_broke_off_between_two_steps_goes_on_only_when_the_one_under_way_must_have_ended() {
    let stage = broken_off_between_two_steps().await;
    let job = stage.store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap().remove(0);
    let begun = job.intent.unwrap();
    assert!(begun.done.contains_key("step:0"), "{begun:?}");
    assert!(stage.once().await.is_clean());
    let attempts = stage.store.attempts(job.id).await.unwrap();
    let answer_window = chrono::Duration::seconds(5);
    assert!(attempts.last().unwrap().at >= begun.at + answer_window, "{begun:?} {attempts:?}");
    assert_eq!(stage.shop.rows("product").len(), 1);
}

#[tokio::test]
async fn what_changes_while_an_object_is_being_made_step_by_step_follows_it() {
    let stage = broken_off_between_two_steps().await;
    // The step that made it has told the former name, and is not done again.
    stage.erp.put("product", "1", &serde_json::json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true}));
    assert!(stage.once().await.is_clean());
    let rows = stage.shop.rows("product");
    assert_eq!((rows.len(), &rows[0]["name"]["es"]), (1, &"Mazo".into()));
}

#[tokio::test]
async fn a_command_that_a_stop_cut_short_is_carried_out_by_the_next_start() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.once().await;
    stage.store.place_command("resync", "catalog/product/H-1", chrono::DateTime::UNIX_EPOCH).await.unwrap();
    stage.erp.state.lock().unwrap().mute = true;
    let stop = CancellationToken::new();
    let ((), ()) = tokio::join!(stage.engine.run(&stop), async {
        stage.erp.hanging().await;
        stop.cancel();
    });
    assert_eq!(stage.store.next_command().await.unwrap().unwrap().scope, "catalog/product/H-1");
    // Killed over it: the next start finds it as well.
    let never = CancellationToken::new();
    stage.erp.state.lock().unwrap().hanging = 0;
    tokio::select! {
        () = stage.engine.run(&never) => panic!("nobody stopped it"),
        () = stage.erp.hanging() => {}
    }
    assert!(stage.store.next_command().await.unwrap().is_some());
    stage.erp.state.lock().unwrap().mute = false;
    let stop = CancellationToken::new();
    let ((), ()) = tokio::join!(stage.engine.run(&stop), async {
        while stage.store.next_command().await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    });
}
