//! A mapping is edited: what that changes is shown before, and asked for when it is much.

use super::*;
use crate::{
    env::Env,
    mapping::Fields,
    store,
    sync::{
        preview::plan::{Remapped, mapping_diff},
        routing::{Allowed, Brake},
    },
};

const ERP: [&str; 6] = ["sku", "name", "active", "parent", "brand", "pack"];

fn brand(fields: &mut Fields) {
    fields.insert("brand".into(), json!("Bellota"));
}

fn article(number: usize) -> Value {
    json!({"sku": format!("A-{number:02}"), "name": {"es": format!("Artículo {number}")}, "active": true})
}

impl Stage {
    /// A shop that has twenty articles of the ERP.
    async fn twenty(flow: Flow) -> Self {
        let stage = Self::new(vec![flow]).await;
        for number in 0..20 {
            stage.erp.put("product", &number.to_string(), &article(number));
        }
        assert!(stage.once().await.is_clean());
        stage
    }

    /// The parts of this stage after somebody has edited the ERP's mapping of products.
    fn edited(&self, version: u64, twist: fn(&mut Fields)) -> Context {
        let mut context = self.context(self.store.clone(), "edited");
        let mapping = FakeMapping::new(&ERP, &self.knows_igic).edited(version, twist);
        context.mappings.insert(("erp".into(), "product".into()), Arc::new(mapping));
        context
    }

    async fn deployed(&self, version: u64, twist: fn(&mut Fields), kind: RunKind) -> PassSummary {
        Engine::new(self.edited(version, twist)).once(None, kind, &CancellationToken::new()).await.unwrap()
    }

    async fn diff(&self, version: u64, twist: fn(&mut Fields)) -> Remapped {
        let env = Env { clock: Arc::clone(&self.engine.context().env.clock), ..Env::system() };
        let copy = store::copy(&self.url(), &env).await.unwrap();
        let context = Context { store: Arc::clone(&copy.store), ..self.edited(version, twist) };
        let pairs = [("erp".to_owned(), "product".to_owned())];
        let mut diffs = mapping_diff(context, &pairs, 3, false, &CancellationToken::new()).await.unwrap();
        copy.remove().await.unwrap();
        diffs.remove(0)
    }

    fn branded(&self) -> usize {
        self.shop.rows("product").iter().filter(|row| row["brand"] == "Bellota").count()
    }
}

fn catalog() -> Flow {
    flow("catalog", "erp", "shop", &["product"])
}

#[tokio::test]
async fn a_mapping_that_changes_more_than_the_brake_allows_asks_first() {
    let stage = Stage::twenty(catalog()).await;
    let summary = stage.deployed(2, brand, RunKind::Full).await;
    assert_eq!((stage.branded(), summary.held.len()), (0, 1), "{summary:?}");
    let approval = stage.store.waiting_approvals().await.unwrap().remove(0);
    let trip = &approval.trips[0];
    assert_eq!(
        (trip.brake.as_str(), trip.violations, trip.base, trip.allowed.as_str()),
        ("mapping_change", 20, 20, "10%")
    );
    assert_eq!((&trip.examples[0].field, &trip.examples[0].after), (&"brand".to_owned(), &json!("Bellota")));

    assert!(
        stage.deployed(2, brand, RunKind::Full).await.held.contains(&approval.run),
        "nor does the next look let it go"
    );
    assert_eq!(stage.branded(), 0);
    stage.store.decide_run(approval.run, true, stage.engine.context().env.now()).await.unwrap();
    assert!(stage.deployed(2, brand, RunKind::Full).await.is_clean());
    assert_eq!(stage.branded(), 20);
}

#[tokio::test]
async fn a_rejected_mapping_change_leaves_the_target_as_it_is_until_the_source_changes() {
    let stage = Stage::twenty(catalog()).await;
    let held = stage.deployed(2, brand, RunKind::Full).await.held;
    stage.store.decide_run(held[0], false, stage.engine.context().env.now()).await.unwrap();
    for _ in 0..2 {
        assert!(stage.deployed(2, brand, RunKind::Full).await.is_clean());
    }
    assert_eq!(stage.branded(), 0);
    let mut renamed = article(3);
    renamed["name"]["es"] = "Otro".into();
    stage.erp.put("product", "3", &renamed);
    assert!(stage.deployed(2, brand, RunKind::Full).await.is_clean());
    let row = stage.shop.rows("product").into_iter().find(|row| row["sku"] == "A-03").unwrap();
    assert_eq!((&row["name"]["es"], &row["brand"]), (&json!("Otro"), &Value::Null), "only what changed goes");
}

#[tokio::test]
async fn a_mapping_change_of_few_records_goes_without_asking() {
    fn one(fields: &mut Fields) {
        if fields["sku"] == "A-07" {
            brand(fields);
        }
    }
    let stage = Stage::twenty(catalog()).await;
    assert!(stage.deployed(2, one, RunKind::Full).await.is_clean());
    assert_eq!(stage.branded(), 1);
}

#[tokio::test]
async fn changes_of_the_source_are_asked_for_only_with_another_mapping() {
    let stage = Stage::twenty(catalog()).await;
    let rebrand = |name: &str| {
        for number in 0..20 {
            let mut row = article(number);
            row["brand"] = name.into();
            stage.erp.put("product", &number.to_string(), &row);
        }
    };
    rebrand("Alfa");
    assert!(stage.full().await.is_clean(), "the same mapping");
    assert!(stage.deployed(2, |_| (), RunKind::Full).await.is_clean(), "another one that makes no difference");
    rebrand("Beta");
    assert!(stage.deployed(2, |_| (), RunKind::Full).await.is_clean(), "it is the old one by now");
}

#[tokio::test]
async fn a_mapping_brake_that_is_off_holds_nothing_and_one_that_is_a_number_counts() {
    let mut off = catalog();
    off.brakes.allowed.remove(&Brake::MappingChange);
    let stage = Stage::twenty(off).await;
    assert!(stage.deployed(2, brand, RunKind::Full).await.is_clean());
    let mut number = catalog();
    number.brakes.allowed.insert(Brake::MappingChange, Allowed::Count(20));
    let stage = Stage::twenty(number).await;
    assert!(stage.deployed(2, brand, RunKind::Full).await.is_clean());
}

#[tokio::test]
async fn a_mapping_diff_shows_what_the_mapping_alone_changes_and_changes_nothing() {
    let stage = Stage::twenty(catalog()).await;
    // Edited at the source meanwhile, and new there: neither is the mapping's doing.
    stage.erp.put("product", "0", &json!({"sku": "A-00", "name": {"es": "Otro"}, "active": true}));
    stage.erp.put("product", "99", &article(99));
    let diff = stage.diff(2, brand).await;
    assert_eq!((diff.read, diff.changed, diff.left_out, diff.unreadable), (21, 19, 2, 0), "{diff:?}");
    assert_eq!(diff.fields, BTreeMap::from([("brand".to_owned(), 19)]));
    assert_eq!(Value::Object(diff.examples[0].fields.clone()), json!({"brand": [null, "Bellota"]}));
    let target = &diff.targets[0];
    assert_eq!((target.target.as_str(), target.updates, target.examples.len()), ("shop", 19, 3));
    assert_eq!((target.brakes[0].brake.as_str(), target.brakes[0].violations), ("mapping_change", 19));
    assert_eq!((stage.branded(), stage.store.waiting_approvals().await.unwrap().len()), (0, 0));
}

#[tokio::test]
async fn a_mapping_diff_after_the_deploy_and_one_without_difference_are_empty() {
    let stage = Stage::twenty(catalog()).await;
    assert!(stage.diff(1, |_| ()).await.unchanged);
    let diff = stage.diff(2, |_| ()).await;
    assert_eq!((diff.unchanged, diff.read, diff.is_nothing()), (false, 20, true));
    stage.deployed(2, brand, RunKind::Full).await;
    assert!(stage.diff(2, brand).await.unchanged, "what it changes waits for its approval, and is shown there");
}

#[tokio::test]
async fn rows_that_a_mapping_can_no_longer_read_are_reported() {
    fn broken(fields: &mut Fields) {
        if fields["sku"] == "A-05" {
            fields.insert("active".into(), json!("perhaps"));
        }
    }
    let stage = Stage::twenty(catalog()).await;
    let diff = stage.diff(2, broken).await;
    assert_eq!((diff.changed, diff.unreadable, diff.is_nothing()), (0, 1, false));
    assert!(diff.reasons[0].reason.contains("active"), "{diff:?}");
}
