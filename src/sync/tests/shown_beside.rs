//! What a target shows beside a write reaches the others as any of its changes does.

use super::*;

/// The brand is the shop's and goes to the ERP.
fn branded() -> Vec<Flow> {
    let mut catalog = flow("catalog", "erp", "shop", &["category", "product"]);
    catalog.owners.insert("product.brand".into(), "shop".into());
    let mut back = flow("back", "shop", "erp", &["product"]);
    back.fields.insert("product".into(), ["brand".to_owned()].into());
    vec![catalog, back]
}

impl Stage {
    /// The shop's products are listed, the ERP's change is delivered, and only then does the listing arrive.
    async fn deliver_during_a_listing(&self) {
        let late = Arc::new(tokio::sync::Notify::new());
        self.shop.state.lock().unwrap().late = Some(late.clone());
        tokio::join!(self.pull("shop"), async {
            self.shop.hanging().await;
            self.deliver().await;
            late.notify_one();
        });
    }

    fn set_at_shop(&self, field: &str, value: Value) {
        let mut row = self.shop.rows("product").remove(0);
        let id = row["id"].as_str().unwrap().to_owned();
        row[field] = value;
        self.shop.put("product", &id, &row);
    }
}

/// The shop gave the product a brand, which no pull has seen; the ERP renamed it, which is to be delivered.
async fn edited_on_both_sides() -> Stage {
    edited_at(FakeSystem::new("shop")).await
}

async fn edited_at(shop: FakeSystem) -> Stage {
    let stage = Stage::with(FakeSystem::new("erp"), shop, branded()).await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    stage.set_at_shop("brand", json!("Bellota"));
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true}));
    stage.pull("erp").await;
    stage
}

#[tokio::test]
async fn what_happened_to_an_object_before_its_creation_was_known_reaches_its_source() {
    let stage = Stage::new(branded()).await;
    stage.once().await;
    stage.erp.put("product", "1", &hammer());
    stage.pull("erp").await;
    stage.die_after_creating().await;
    stage.set_at_shop("brand", json!("Bellota"));
    stage.deliver().await;
    assert_eq!(stage.erp.rows("product")[0]["brand"], "Bellota");
    assert_eq!(stage.shop.rows("product").len(), 1);
    assert!(stage.full().await.runs.iter().all(|run| run.balance.changed == 0), "all is known");
}

#[tokio::test]
async fn what_a_creation_is_answered_with_reaches_its_source() {
    let stage = Stage::with(FakeSystem::new("erp"), FakeSystem::new("shop").branding("Bellota"), branded()).await;
    stage.erp.put("product", "1", &hammer());
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.erp.rows("product")[0]["brand"], "Bellota");
}

#[tokio::test]
async fn an_edit_that_the_answer_to_a_write_shows_reaches_the_others() {
    let stage = edited_on_both_sides().await;
    stage.deliver().await;
    assert_eq!((&stage.erp.rows("product")[0]["brand"], stage.names().1), (&json!("Bellota"), json!({"es": "Mazo"})));
}

#[tokio::test]
async fn what_a_listing_stores_while_we_write_is_not_forgotten_at_the_end_of_the_write() {
    let stage = edited_at(FakeSystem::new("shop").terse()).await;
    let go = Arc::new(tokio::sync::Notify::new());
    stage.shop.fault(fakes::Fault::Slow(go.clone()));
    tokio::join!(stage.deliver(), async {
        stage.shop.hanging().await;
        stage.pull("shop").await;
        go.notify_one();
    });
    stage.deliver().await;
    assert_eq!((&stage.erp.rows("product")[0]["brand"], stage.names().1), (&json!("Bellota"), json!({"es": "Mazo"})));
    let runs = stage.full().await.runs;
    assert!(runs.iter().all(|run| run.balance.changed == 0), "all is known: {runs:?}");
}

#[tokio::test]
async fn drift_that_the_answer_to_a_write_shows_is_repaired() {
    let stage = Stage::catalog().await;
    stage.erp.put(
        "product",
        "1",
        &json!({"sku": "H-1", "name": {"es": "Martillo"}, "active": true, "brand": "Bellota"}),
    );
    assert!(stage.once().await.is_clean());
    stage.set_at_shop("brand", json!("Otra"));
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true, "brand": "Bellota"}));
    stage.pull("erp").await;
    stage.deliver().await;
    assert_eq!(stage.shop.rows("product")[0]["brand"], "Bellota");
}

#[tokio::test]
async fn an_object_that_a_conflict_shows_changed_reaches_the_others() {
    let stage = edited_on_both_sides().await;
    stage.shop.fault(Fault::Fail(Class::Conflict, "changed meanwhile"));
    stage.deliver().await;
    assert_eq!((&stage.erp.rows("product")[0]["brand"], stage.names().1), (&json!("Bellota"), json!({"es": "Mazo"})));
}

/// A listing may move the watermark past an edit that it shows; passed over as older than our own write, that would be lost.
#[tokio::test]
async fn an_edit_that_a_listing_shows_while_we_write_reaches_the_others() {
    let stage = edited_at(FakeSystem::new("shop").terse()).await;
    stage.deliver_during_a_listing().await;
    stage.deliver().await;
    assert_eq!((&stage.erp.rows("product")[0]["brand"], stage.names().1), (&json!("Bellota"), json!({"es": "Mazo"})));
}

#[tokio::test]
async fn where_objects_cannot_be_read_alone_the_watermark_waits_for_what_is_in_doubt() {
    let stage =
        edited_at(FakeSystem::new("shop").terse().with_capabilities(|capabilities| capabilities.read = false)).await;
    let cursor = || stage.store.cursor("shop", "product");
    stage.shop.state.lock().unwrap().new_file = Some("first");
    stage.deliver_during_a_listing().await;
    assert_eq!(cursor().await.unwrap(), None);
    stage.shop.state.lock().unwrap().new_file = Some("second");
    stage.pull("shop").await;
    assert_eq!(cursor().await.unwrap().as_deref(), Some("second"));
    stage.deliver().await;
    assert_eq!(stage.erp.rows("product")[0]["brand"], "Bellota");
}
