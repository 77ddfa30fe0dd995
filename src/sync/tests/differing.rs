//! What a target holds otherwise than it was sent is told, and costs no second write.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{FakeSystem, Stage, flow};
use crate::{
    load::SourceFile,
    mapping::{Mapping, Tables, Translate},
    model::Entities,
    store::{JobFilter, JobState, RunKind},
    sync::engine::{Engine, PassSummary},
};

const ARTICLE: &str = "sku = 'sku'\nname = 'name'\nactive = 'active'\ntax = { from = 'tax', optional = true }\n";
const LEVELS: &str = "sku = 'sku'\nlevels = 'levels'\n";

fn mapping(entity: &str, fields: &str) -> Arc<dyn Translate> {
    let text = format!("key = 'sku'\n[fields]\n{fields}");
    let spec = Entities::builtin().get(entity).unwrap().clone();
    Arc::new(Mapping::load(&SourceFile::new("m.toml", text), &spec, &Map::new(), &Tables::new()).unwrap())
}

impl Stage {
    pub(super) async fn mapped(&self, entity: &str, fields: &str, kind: RunKind) -> PassSummary {
        let mut context = self.context(self.store.clone(), "mapped");
        for system in ["erp", "shop"] {
            context.mappings.insert((system.into(), entity.into()), mapping(entity, fields));
        }
        Engine::new(context).once(None, kind, &CancellationToken::new()).await.unwrap()
    }

    async fn differences(&self) -> Vec<(String, Value, Value)> {
        let found = self.store.differences(false, 0).await.unwrap();
        found.into_iter().map(|one| (one.field, one.sent, one.stored)).collect()
    }

    pub(super) async fn cause(&self) -> Option<String> {
        let filter = JobFilter { states: vec![JobState::Parked], limit: 1, ..JobFilter::default() };
        self.store.jobs(&filter).await.unwrap().pop().and_then(|job| job.cause.map(String::from))
    }
}

/// A shop that knows no tax class `super`, and takes the standard one instead.
fn lenient() -> FakeSystem {
    FakeSystem::new("shop").altering(|text| text.replace("super", "general").replace('&', "&amp;"))
}

fn article(tax: &str) -> Value {
    json!({"sku": "H-1", "name": {"es": "Tuercas & tornillos"}, "active": true, "tax": tax})
}

async fn taxed(shop: FakeSystem) -> Stage {
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &article("super"));
    let summary = stage.mapped("product", ARTICLE, RunKind::Delta).await;
    assert_eq!((summary.delivered.parked, summary.differences, summary.is_clean()), (1, 1, false), "{summary:?}");
    stage
}

#[tokio::test]
async fn a_tax_that_the_target_made_another_one_of_is_reported_and_waits_and_is_not_written_again() {
    // By its own answer, and by a look right after the write.
    for shop in [lenient(), lenient().terse()] {
        let stage = taxed(shop).await;
        assert_eq!(
            stage.differences().await,
            [("tax".to_owned(), json!("super"), json!("general"))],
            "the name is a free text"
        );
        assert_eq!(stage.cause().await.as_deref(), Some("differs:product.tax=H-1"));
        for _ in 0..2 {
            let summary = stage.mapped("product", ARTICLE, RunKind::Full).await;
            assert_eq!(summary.delivered.written, 0, "its create is over");
            assert_eq!(stage.cause().await.as_deref(), Some("differs:product.tax=H-1"), "and it waits on");
        }
        assert_eq!((stage.shop.written(), stage.differences().await.len()), (1, 1));
    }
}

#[tokio::test]
async fn what_a_listing_alone_shows_otherwise_again_after_its_repair_is_a_difference() {
    let shop = lenient().terse().with_capabilities(|capabilities| capabilities.read = false);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &article("super"));
    stage.mapped("product", ARTICLE, RunKind::Delta).await;
    stage.mapped("product", ARTICLE, RunKind::Full).await;
    assert_eq!(stage.shop.written(), 2, "taken for somebody's edit, and repaired");
    for _ in 0..2 {
        let summary = stage.mapped("product", ARTICLE, RunKind::Full).await;
        assert_eq!((summary.differences, summary.is_clean()), (1, false), "{summary:?}");
        assert_eq!(stage.cause().await.as_deref(), Some("differs:product.tax=H-1"));
    }
    assert_eq!(stage.differences().await, [("tax".to_owned(), json!("super"), json!("general"))]);
    assert_eq!(stage.shop.written(), 2);
    // Another value is another matter.
    stage.erp.put("product", "1", &article("reduced"));
    let summary = stage.mapped("product", ARTICLE, RunKind::Delta).await;
    assert!(summary.is_clean(), "{summary:?} {:?}", stage.differences().await);
    assert_eq!((stage.shop.written(), stage.differences().await.len()), (3, 0));
}

#[tokio::test]
async fn an_edit_at_a_target_that_cannot_be_looked_at_is_repaired_whenever_it_is_another_one() {
    let shop = FakeSystem::new("shop").terse().with_capabilities(|capabilities| capabilities.read = false);
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.erp.put("product", "1", &article("super"));
    stage.mapped("product", ARTICLE, RunKind::Delta).await;
    for (edit, times) in [("general", 2), ("reduced", 3), ("general", 4)] {
        let mut row = stage.shop.rows("product").remove(0);
        row["tax"] = edit.into();
        let id = row["id"].as_str().unwrap().to_owned();
        stage.shop.put("product", &id, &row);
        assert!(stage.mapped("product", ARTICLE, RunKind::Full).await.is_clean());
        assert_eq!((stage.shop.written(), stage.shop.rows("product")[0]["tax"].clone()), (times, json!("super")));
    }
}

#[tokio::test]
async fn a_figure_that_a_look_shows_otherwise_is_written_once_more_before_the_target_is_said_to_make_it_so() {
    const FIGURE: &str = "sku = 'sku'\nquantity = 'quantity'\n";
    let shop = FakeSystem::new("shop").altering(|text| text.replace("20", "47")).terse();
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("stock", "erp", "shop", &["stock"])]).await;
    stage.erp.put("stock", "1", &json!({"sku": "H-1", "quantity": "20"}));
    for _ in 0..2 {
        stage.mapped("stock", FIGURE, RunKind::Delta).await;
    }
    assert_eq!(stage.shop.written(), 2, "once more, and not again");
    assert_eq!(stage.differences().await, [("quantity".to_owned(), json!("20"), json!("47"))]);
    assert_eq!(stage.cause().await.as_deref(), Some("differs:stock.quantity=H-1"));
}

#[tokio::test]
async fn a_figure_that_is_set_back_right_after_the_write_is_written_once_more() {
    const FIGURE: &str = "sku = 'sku'\nquantity = 'quantity'\n";
    let is_set_back = Arc::new(AtomicBool::new(false));
    let set_back = is_set_back.clone();
    let altered = move |text: &str| if set_back.swap(false, SeqCst) { "5".to_owned() } else { text.to_owned() };
    let shop = FakeSystem::new("shop").altering(altered).terse();
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("stock", "erp", "shop", &["stock"])]).await;
    stage.erp.put("stock", "1", &json!({"sku": "H-1", "quantity": "5"}));
    stage.mapped("stock", FIGURE, RunKind::Delta).await;
    stage.erp.put("stock", "1", &json!({"sku": "H-1", "quantity": "6"}));
    is_set_back.store(true, SeqCst);
    for _ in 0..2 {
        stage.mapped("stock", FIGURE, RunKind::Delta).await;
    }
    assert_eq!((stage.shop.rows("stock")[0]["quantity"].clone(), stage.shop.written()), (json!("6"), 3));
    assert!(stage.differences().await.is_empty());
}

#[tokio::test]
async fn a_target_that_takes_no_figure_is_asked_twice_and_then_a_person_is() {
    const FIGURE: &str = "sku = 'sku'\nquantity = 'quantity'\n";
    let shop = FakeSystem::new("shop").altering(|text| text.replace('6', "5")).terse();
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("stock", "erp", "shop", &["stock"])]).await;
    for quantity in ["5", "6"] {
        stage.erp.put("stock", "1", &json!({"sku": "H-1", "quantity": quantity}));
        for _ in 0..2 {
            stage.mapped("stock", FIGURE, RunKind::Delta).await;
        }
    }
    assert_eq!(stage.shop.written(), 3, "twice, and not again");
    assert_eq!(stage.cause().await.as_deref(), Some("differs:stock.quantity=H-1"));
}

#[tokio::test]
async fn a_difference_ends_when_it_is_accepted() {
    let stage = taxed(lenient()).await;
    let one = stage.store.differences(false, 0).await.unwrap().remove(0);
    let (chosen, now) = ([(one.system, one.record, one.field)], stage.engine.context().env.now());
    assert_eq!(stage.store.accept_differences(&chosen, now).await.unwrap(), 1);
    assert!(stage.mapped("product", ARTICLE, RunKind::Full).await.is_clean());
    assert_eq!(stage.shop.written(), 1);
    // Another value is another matter.
    stage.erp.put("product", "1", &article("super-reduced"));
    assert_eq!(stage.mapped("product", ARTICLE, RunKind::Delta).await.differences, 1);
}

#[tokio::test]
async fn a_difference_ends_when_a_later_look_agrees() {
    let stage = taxed(lenient()).await;
    let mut row = stage.shop.rows("product").remove(0);
    row["tax"] = "super".into();
    let id = row["id"].as_str().unwrap().to_owned();
    stage.shop.put("product", &id, &row);
    assert!(stage.mapped("product", ARTICLE, RunKind::Full).await.is_clean());
    assert_eq!((stage.shop.written(), stage.differences().await.len()), (1, 0));
}

#[tokio::test]
async fn a_difference_is_sent_anew_when_the_mapping_changes() {
    let stage = taxed(lenient()).await;
    let mapped = ARTICLE
        .replace("tax = { from = 'tax', optional = true }", "tax = { from = 'tax', optional = true, lookup = 'tax' }")
        + "[lookups.tax]\nsuper = 'S4'\ngeneral = 'general'\n";
    let mut context = stage.context(stage.store.clone(), "remapped");
    context.mappings.insert(("erp".into(), "product".into()), mapping("product", ARTICLE));
    context.mappings.insert(("shop".into(), "product".into()), mapping("product", &mapped));
    let engine = Engine::new(context);
    assert!(engine.once(None, RunKind::Delta, &CancellationToken::new()).await.unwrap().is_clean());
    assert_eq!((stage.shop.rows("product")[0]["tax"].clone(), stage.differences().await.len()), (json!("S4"), 0));
}

#[tokio::test]
async fn a_difference_ends_when_the_source_says_what_the_target_holds() {
    let stage = taxed(lenient()).await;
    stage.erp.put("product", "1", &article("general"));
    assert!(stage.mapped("product", ARTICLE, RunKind::Delta).await.is_clean());
    assert_eq!((stage.shop.written(), stage.differences().await.len()), (1, 0));
}

#[tokio::test]
async fn an_amount_that_somebody_changed_before_the_first_look_is_repaired_at_any_depth() {
    // The shop's answers do not show what it stores, and it can, or cannot, be looked at right after a write.
    for read in [true, false] {
        let shop = FakeSystem::new("shop").terse().with_capabilities(|capabilities| capabilities.read = read);
        let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("stock", "erp", "shop", &["stock"])]).await;
        stage.erp.put("stock", "1", &json!({"sku": "H-1", "levels": [{"location": "M", "quantity": "5"}]}));
        assert!(stage.mapped("stock", LEVELS, RunKind::Full).await.is_clean());
        let mut row = stage.shop.rows("stock").remove(0);
        row["levels"][0]["quantity"] = "9999".into();
        let id = row["id"].as_str().unwrap().to_owned();
        stage.shop.put("stock", &id, &row);
        let summary = stage.mapped("stock", LEVELS, RunKind::Full).await;
        assert!(summary.is_clean(), "read: {read}: {summary:?}");
        assert_eq!(stage.shop.rows("stock")[0]["levels"][0]["quantity"], "5", "read: {read}");
        assert!(stage.differences().await.is_empty());
    }
}
