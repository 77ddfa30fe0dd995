//! Trouble that is one record's, or a file's, and not the system's; trouble that is the system's.

use super::{fakes::Poison, *};
use crate::{sync::context::pauses, wait_reason::WaitReason};

const PLACE: &str = "adapters/tiny.toml:31:12";

fn article(number: u32) -> Value {
    json!({"sku": format!("A-{number:02}"), "name": {"es": "Sierra"}, "active": true})
}

fn refused() -> Failure {
    Failure::new(Class::Auth, "blocked by a firewall").with_status(403)
}

fn passing() -> Failure {
    Failure::new(Class::Transient, "service unavailable").with_status(503)
}

fn throttled(wait: std::time::Duration) -> Failure {
    Failure { retry_after: Some(wait), ..Failure::new(Class::Throttled, "too many requests") }
}

fn limited() -> Failure {
    throttled(std::time::Duration::from_secs(30))
}

fn misread() -> Failure {
    Failure::new(Class::Fatal, "step `look`: missing member `brand`").with_cause(WaitReason::file(PLACE))
}

fn misread_after() -> Failure {
    Failure::new(Class::Unknown, "the answer holds no `id`").with_cause(WaitReason::file(PLACE))
}

/// A catalog of so many articles, and a shop that has its own idea of those whose key begins with `keys`.
async fn poisoned(articles: u32, keys: &'static str, failure: fn() -> Failure, after: bool) -> Stage {
    let stage = Stage::new(vec![flow("catalog", "erp", "shop", &["product"])]).await;
    for number in 0..articles {
        stage.erp.put("product", &number.to_string(), &article(number));
    }
    stage.shop.state.lock().unwrap().poison = Some(Poison { keys, failure, after, whole: false });
    stage
}

impl Stage {
    async fn open(&self) -> Vec<Job> {
        self.store
            .jobs(&JobFilter {
                states: vec![JobState::Queued, JobState::Parked, JobState::Dead],
                ..JobFilter::default()
            })
            .await
            .unwrap()
    }

    async fn is_paused(&self) -> bool {
        self.store.circuit("shop").await.unwrap().until.is_some()
    }
}

#[tokio::test]
async fn a_record_that_alone_is_refused_counts_against_itself_and_never_against_the_system() {
    let stage = poisoned(3, "A-00", refused, false).await;
    stage.once().await;
    assert_eq!(stage.shop.rows("product").len(), 2);
    let open = stage.open().await;
    assert_eq!((open.len(), open[0].state, open[0].error_class.as_deref()), (1, JobState::Dead, Some("auth")));
    assert!(open[0].error.as_deref().unwrap().contains("other writes went through"), "{open:?}");
    assert!(!stage.is_paused().await);
    // Somebody has told the firewall.
    stage.shop.state.lock().unwrap().poison = None;
    assert_eq!(stage.store.lift("shop", stage.engine.context().env.now()).await.unwrap(), 1);
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 3);
}

#[tokio::test]
async fn a_lookup_that_alone_is_refused_counts_against_its_record_and_pauses_nobody() {
    let stage = poisoned(1, "none", refused, false).await;
    stage.shop.fault(Fault::LostBefore);
    stage.shop.state.lock().unwrap().unfindable.insert("A-00", Class::Auth);
    stage.once().await;
    assert!(!stage.is_paused().await, "it is one record");
    stage.erp.put("product", "1", &article(1));
    stage.once().await;
    assert_eq!(stage.shop.rows("product").len(), 1, "it holds up nobody");
    stage.store.lift("shop", stage.engine.context().env.now()).await.unwrap();
    stage.once().await;
    let open = stage.open().await;
    assert_eq!((open.len(), open[0].state, open[0].error_class.as_deref()), (1, JobState::Dead, Some("auth")));
    assert!(!stage.is_paused().await);
}

#[tokio::test]
async fn a_system_that_goes_down_before_a_lost_create_is_looked_up_burns_no_attempts() {
    let stage = poisoned(2, "none", refused, false).await;
    stage.shop.fault(Fault::LostBefore);
    stage.shop.state.lock().unwrap().unfindable.extend([("A-00", Class::Transient), ("A-01", Class::Transient)]);
    for _ in 0..20 {
        stage.once().await;
        assert_eq!(stage.shop.rows("product").len(), 1, "the other one went through");
        assert!(stage.is_paused().await, "nobody has gone through since");
        stage.store.lift("shop", stage.engine.context().env.now()).await.unwrap();
    }
    let open = stage.open().await;
    assert_eq!((open.len(), open[0].state), (1, JobState::Queued));
    assert!(open[0].attempts < 2, "{open:?}");
}

#[tokio::test]
async fn creations_wait_for_a_first_listing_that_is_at_fault_without_asking_for_it_again_and_again() {
    let stage = poisoned(2, "none", refused, false).await;
    let circle = || Failure::new(Class::Transient, "this page repeats the one before it").with_cause(WaitReason::Setup);
    stage.shop.state.lock().unwrap().pull_faults.extend((0..50).map(|_| circle()));
    stage.once().await;
    let open = stage.open().await;
    let causes: Vec<String> = open.iter().filter_map(|job| job.cause.clone().map(String::from)).collect();
    assert_eq!(causes, ["unlisted:shop/product"; 2]);
    let asked = 50 - stage.shop.state.lock().unwrap().pull_faults.len();
    assert!(asked < 5, "{asked} listings");
    stage.shop.state.lock().unwrap().pull_faults.clear();
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 2);
}

#[tokio::test]
async fn a_record_that_is_refused_before_all_others_is_given_up_when_they_have_gone_through() {
    let stage = poisoned(1, "A-00", refused, false).await;
    stage.once().await;
    let open = stage.open().await;
    assert_eq!((open[0].state, open[0].attempts), (JobState::Queued, 0), "nobody tells yet whose trouble it is");
    assert!(!stage.is_paused().await, "it is one record");
    stage.erp.put("product", "1", &article(1));
    stage.once().await;
    assert_eq!(stage.shop.rows("product").len(), 1, "it holds up nobody");
    stage.store.lift("shop", stage.engine.context().env.now()).await.unwrap();
    stage.once().await;
    assert_eq!(stage.open().await[0].state, JobState::Dead);
}

#[tokio::test]
async fn a_system_that_refuses_everybody_is_paused_and_burns_no_attempts_until_it_is_resumed() {
    let stage = poisoned(5, "", refused, false).await;
    stage.once().await;
    let open = stage.open().await;
    assert!(open.iter().all(|job| (job.state, job.attempts) == (JobState::Queued, 0)), "{open:?}");
    assert!(stage.is_paused().await);
    stage.shop.state.lock().unwrap().poison = None;
    let now = stage.engine.context().env.now();
    assert_eq!(stage.store.lift("shop", now).await.unwrap(), 5);
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 5);
}

#[tokio::test]
async fn a_record_that_always_meets_a_passing_error_ends_as_dead_with_its_story_and_holds_up_nobody() {
    for failure in [passing, limited] {
        let stage = poisoned(1, "A-00", failure, false).await;
        for number in 1..40 {
            if stage.open().await.first().is_some_and(|job| job.state == JobState::Dead) {
                break;
            }
            stage.erp.put("product", &number.to_string(), &article(number));
            stage.once().await;
            assert_eq!(stage.shop.rows("product").len(), number as usize, "it holds up nobody");
            stage.store.lift("shop", stage.engine.context().env.now()).await.unwrap();
        }
        let dead = stage.open().await.remove(0);
        assert_eq!(dead.state, JobState::Dead);
        let said = format!("given up after 12 attempts: {}", failure().message);
        assert!(dead.error.as_deref().unwrap().starts_with(&said), "{dead:?}");
        assert!(stage.store.attempts(dead.id).await.unwrap().len() >= 12, "each of them is told");
    }
}

#[tokio::test]
async fn a_limit_that_is_used_up_is_the_systems_word_and_burns_nobodys_attempts() {
    let stage = poisoned(5, "A-0", limited, false).await;
    for _ in 0..15 {
        stage.once().await;
        assert!(stage.is_paused().await);
        stage.store.lift("shop", stage.engine.context().env.now()).await.unwrap();
        stage.erp.put("product", "99", &article(99));
    }
    assert!(stage.open().await.iter().all(|job| (job.state, job.attempts) == (JobState::Queued, 0)));
}

#[tokio::test]
async fn what_meets_an_error_of_a_file_waits_for_that_file_and_pauses_no_system() {
    let stage = poisoned(3, "A-00", misread, false).await;
    stage.once().await;
    let open = stage.open().await;
    assert_eq!((open.len(), open[0].cause.clone()), (1, waits("file:adapters/tiny.toml:31:12")));
    assert_eq!((open[0].state, open[0].attempts, stage.is_paused().await), (JobState::Parked, 0, false));
    assert_eq!(stage.shop.rows("product").len(), 2);
    stage.shop.state.lock().unwrap().poison = None;
    assert!(stage.once().await.is_clean(), "a file that was mended is read by the next start");
    assert_eq!(stage.shop.rows("product").len(), 3);
}

#[tokio::test]
async fn what_was_made_though_its_answer_could_not_be_read_is_looked_up_when_the_file_is_corrected() {
    let stage = poisoned(1, "A-00", misread_after, true).await;
    stage.once().await;
    assert_eq!(stage.open().await[0].cause, waits("file:adapters/tiny.toml:31:12"));
    stage.shop.state.lock().unwrap().poison = None;
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.shop.rows("product").len(), 1, "it is not made twice");
}

#[tokio::test]
async fn a_pass_ends_though_its_target_is_down() {
    let stage = poisoned(2, "", passing, false).await;
    let began = stage.engine.context().env.now();
    let summary = stage.once().await;
    assert_eq!((summary.is_clean(), &summary.left), (false, &BTreeMap::from([("queued".to_owned(), 2)])));
    assert!(stage.engine.context().env.now() - began < chrono::Duration::minutes(3));
}

#[tokio::test]
async fn a_changed_configuration_ends_a_systems_pause_and_an_unchanged_one_does_not() {
    let stage = poisoned(5, "", refused, false).await;
    let now = stage.engine.context().env.now();
    let notice = async |fingerprint: &str| {
        let fingerprints = BTreeMap::from([("shop".to_owned(), fingerprint.to_owned())]);
        pauses::notice(stage.store.as_ref(), &fingerprints, now).await.unwrap();
    };
    notice("the old key").await;
    stage.once().await;
    notice("the old key").await;
    assert!(stage.is_paused().await);
    notice("the new key").await;
    assert!(!stage.is_paused().await);
}

#[tokio::test]
async fn one_that_makes_a_batch_fail_without_an_answer_ends_alone_and_the_others_go() {
    let lost = || Failure::new(Class::Unknown, "a page of HTML instead of an answer").with_status(500);
    let stage = poisoned(10, "A-04", lost, false).await;
    stage.shop.state.lock().unwrap().poison.as_mut().unwrap().whole = true;
    stage.once().await;
    assert_eq!(stage.shop.rows("product").len(), 9);
    let open = stage.open().await;
    assert_eq!(open.len(), 1, "{open:?}");
}

#[tokio::test]
async fn a_listing_that_is_at_fault_holds_up_nothing_else_of_its_system() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &article(1));
    let circle = Failure::new(Class::Transient, "this page repeats the one before it").with_cause(WaitReason::Setup);
    stage.erp.state.lock().unwrap().pull_faults.push_back(circle);
    let summary = stage.once().await;
    let failed: Vec<&str> =
        summary.runs.iter().filter(|run| run.error.is_some()).map(|run| run.entity.as_str()).collect();
    assert_eq!((failed, stage.shop.rows("product").len()), (vec!["category"], 1));
    assert_eq!(stage.store.circuit("erp").await.unwrap(), Circuit::default());
}

#[tokio::test]
async fn a_system_that_says_at_once_is_not_asked_without_a_pause() {
    let at_once = || throttled(std::time::Duration::ZERO);
    let stage = poisoned(1, "A-00", at_once, false).await;
    stage.once().await;
    let job = stage.open().await.remove(0);
    let attempts = stage.store.attempts(job.id).await.unwrap().len();
    assert!(attempts < 10, "{attempts} requests though each was refused");
}

#[tokio::test]
async fn variants_that_an_update_without_an_answer_may_have_added_are_not_added_again_to_what_cannot_be_read() {
    const PRODUCT: &str = "sku = 'sku'\nname = 'name'\nactive = 'active'\n[fields.variants]\nfrom = 'variants'\n\
        push_to = 'variants'\n[fields.variants.each]\nid = 'id'\n[fields.variants.each.fields]\nsku = 'sku'\n";
    let stage = Stage::new(vec![flow("catalog", "erp", "shop", &["product"])]).await;
    let product = |variants: Value| json!({"sku": "H-1", "name": {"es": "a"}, "active": true, "variants": variants});
    stage.erp.put("product", "1", &product(json!([{"id": "11", "sku": "M"}])));
    let summary = stage.mapped("product", PRODUCT, RunKind::Delta).await;
    assert!(summary.is_clean(), "{summary:?}");
    stage.erp.put("product", "1", &product(json!([{"id": "11", "sku": "M"}, {"id": "12", "sku": "L"}])));
    stage.shop.fault(Fault::LostDoubled("variants"));
    let summary = stage.mapped("product", PRODUCT, RunKind::Delta).await;
    assert_eq!((summary.delivered.parked, stage.shop.written()), (1, 2), "{summary:?}");
    assert_eq!(stage.cause().await.as_deref(), Some("unread:product=H-1"));
    stage.mapped("product", PRODUCT, RunKind::Delta).await;
    assert_eq!(stage.shop.written(), 2, "looked at again, and left as it is");
    let mut row = stage.shop.rows("product").remove(0);
    row["variants"].as_array_mut().unwrap().pop();
    stage.shop.put("product", row["id"].clone().as_str().unwrap(), &row);
    assert!(stage.mapped("product", PRODUCT, RunKind::Delta).await.is_clean());
    assert_eq!(stage.shop.written(), 2, "both are there");
}
