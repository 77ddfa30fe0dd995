//! Listings that tell what is new alone: everything is read again in time, without a word of the flow.

use std::time::Duration;

use super::{fakes::ManualClock, *};
use crate::env::Env;
use crate::store::NewRun;

#[tokio::test]
async fn a_listing_of_what_is_new_reads_everything_again_when_its_time_is_over() {
    let erp = FakeSystem::new("erp").with_capabilities(|capabilities| {
        (capabilities.incremental, capabilities.whole) = (true, Some(Duration::from_secs(3600)));
    });
    let stage = Stage::with(erp, FakeSystem::new("shop"), vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &hammer());
    let clock = ManualClock::at(stage.engine.context().env.now());
    let context = stage.context(stage.store.clone(), "test");
    let engine = Engine::new(Context { env: Env { clock: clock.clone(), ..context.env.clone() }, ..context });
    let kind = async |mark: &'static str| {
        stage.erp.state.lock().unwrap().new_file = Some(mark);
        let report = engine
            .pull(NewRun::new("erp", "product", RunKind::Delta, "test"), &CancellationToken::new())
            .await
            .unwrap();
        assert!(report.is_green(), "{report:?}");
        report.kind
    };
    assert_eq!(kind("1").await, RunKind::Full, "nothing was read yet");
    assert_eq!(kind("2").await, RunKind::Delta);
    clock.go_on(3599);
    assert_eq!(kind("3").await, RunKind::Delta);
    clock.go_on(1);
    assert_eq!(kind("4").await, RunKind::Full);
    assert_eq!(kind("5").await, RunKind::Delta);
    // One that was broken off counts for nothing.
    clock.go_on(3600);
    let broken = Failure::new(Class::Rejected, "broken off");
    stage.erp.state.lock().unwrap().pull_faults.push_back(broken);
    engine.pull(NewRun::new("erp", "product", RunKind::Delta, "test"), &CancellationToken::new()).await.unwrap();
    assert_eq!(kind("6").await, RunKind::Full);
}
