//! A target that answers with the object of another record.

use super::*;

impl Stage {
    fn sells(&self, skus: &[&str]) {
        for sku in skus {
            self.erp.put("product", sku, &json!({"sku": sku, "name": {"es": *sku}, "active": true}));
        }
    }

    /// SKU that the shop's object has that a product is linked with.
    async fn linked(&self, key: &str) -> Option<String> {
        let record = self.store.record("product", key).await.unwrap().unwrap();
        let id = self.store.externals("shop", &[record]).await.unwrap().remove(&record)?;
        let rows = self.shop.rows("product");
        rows.iter().find(|row| row["id"] == *id).and_then(|row| row["sku"].as_str()).map(str::to_owned)
    }
}

#[tokio::test]
async fn answers_in_another_order_link_nothing_and_what_was_made_is_looked_up() {
    let stage = Stage::catalog().await;
    stage.sells(&["A", "B", "C"]);
    stage.shop.state.lock().unwrap().crossed = true;
    stage.once().await;
    assert_eq!(stage.states().await, [JobState::Dead, JobState::Dead]);
    for (key, linked) in [("A", None), ("B", Some("B")), ("C", None)] {
        assert_eq!(stage.linked(key).await.as_deref(), linked, "{key}");
    }
    let dead = stage.store.jobs(&JobFilter { states: vec![JobState::Dead], ..JobFilter::default() }).await.unwrap();
    let error = dead[0].error.as_deref().unwrap();
    assert!(error.contains("answered the create of product") && error.contains("retry the job"), "{error}");

    let all = JobFilter { states: vec![JobState::Dead], limit: 10, ..JobFilter::default() };
    stage.store.retry(&all, stage.engine.context().env.now()).await.unwrap();
    assert!(stage.once().await.is_clean());
    for key in ["A", "B", "C"] {
        assert_eq!(stage.linked(key).await.as_deref(), Some(key));
    }
    assert_eq!(stage.shop.rows("product").len(), 3, "nothing was made twice");
}

#[tokio::test]
async fn answers_to_updates_in_another_order_move_no_link() {
    let stage = Stage::catalog().await;
    stage.sells(&["A", "B", "C"]);
    stage.shop.state.lock().unwrap().crossed = true;
    stage.once().await;
    // Two of them are looked up, and updated together with the third.
    for sku in ["A", "B", "C"] {
        stage.erp.put("product", sku, &json!({"sku": sku, "name": {"es": "new"}, "active": true}));
    }
    stage.shop.state.lock().unwrap().crossed = true;
    stage.once().await;
    for key in ["A", "B", "C"] {
        assert!(stage.linked(key).await.is_none_or(|sku| sku == key), "{key}");
    }
}

#[tokio::test]
async fn the_key_of_a_known_record_is_another_ones_but_a_key_may_be_spelt_otherwise() {
    let shop = FakeSystem::new("shop")
        .altering(|text| if text == "LONG-1" { "LONG".to_owned() } else { text.trim().to_uppercase() });
    let stage = Stage::with(FakeSystem::new("erp"), shop, vec![flow("catalog", "erp", "shop", &["product"])]).await;
    stage.sells(&["LONG", "small"]);
    stage.once().await;
    assert_eq!(stage.linked("small").await.as_deref(), Some("SMALL"));
    stage.sells(&["LONG-1"]);
    stage.once().await;
    assert_eq!(stage.linked("LONG-1").await, None);
    assert_eq!(stage.states().await, [JobState::Dead]);
}

/// An ERP whose prices hang on the articles of its products.
async fn priced() -> Stage {
    let facet =
        |capabilities: &mut crate::port::Capabilities| capabilities.facet_of = Some("product.variants".to_owned());
    let erp = FakeSystem::new("erp").with_capabilities_of("price", facet);
    let flows = vec![flow("catalog", "erp", "shop", &["product"]), flow("prices", "erp", "shop", &["price"])];
    Stage::with(erp, FakeSystem::new("shop"), flows).await
}

impl Stage {
    fn has(&self, sku: &str, articles: &Value) {
        let row = json!({"sku": sku, "name": {"es": sku}, "active": true, "articles": articles});
        self.erp.put("product", sku, &row);
    }

    async fn known_articles(&self, key: &str) -> Vec<(String, String)> {
        let record = self.store.record("product", key).await.unwrap().unwrap();
        let children = self.store.children_of(&[record]).await.unwrap().remove(&record).unwrap_or_default();
        children.into_iter().filter(|child| child.system == "erp").map(|child| (child.key, child.id)).collect()
    }
}

fn article(key: &str, id: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), id.to_owned())]
}

#[tokio::test]
async fn a_row_that_shows_another_records_article_is_refused_and_that_one_stays() {
    let stage = priced().await;
    stage.has("A", &json!({"vA": "k1"}));
    stage.has("B", &json!({"vB": "k2"}));
    assert!(stage.once().await.is_clean());
    stage.has("B", &json!({"vB": "k1"}));
    // Two new ones that show one.
    stage.has("C", &json!({"vC": "k3"}));
    stage.has("D", &json!({"vD": "k3"}));
    stage.once().await;
    let mut rejections = stage.store.rejections(None, 10).await.unwrap();
    rejections.sort_by(|a, b| a.2.id.cmp(&b.2.id));
    let reasons: Vec<&str> = rejections.iter().map(|one| one.2.reason.as_str()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[0].contains("the id k1 in variants of product B, which is that of vA of product A"), "{reasons:?}");
    assert!(reasons[1].contains("the id k3 in variants of product D, which is that of vC of product C"), "{reasons:?}");
    assert_eq!(
        (stage.known_articles("A").await, stage.known_articles("B").await),
        (article("vA", "k1"), article("vB", "k2"))
    );
}

#[tokio::test]
async fn an_article_that_moves_to_another_product_is_that_ones_from_then_on() {
    let stage = priced().await;
    stage.has("A", &json!({"v": "k1", "w": "k2"}));
    stage.has("B", &json!({}));
    assert!(stage.once().await.is_clean());
    stage.has("A", &json!({"w": "k2"}));
    stage.has("B", &json!({"v": "k1"}));
    assert!(stage.once().await.is_clean());
    assert_eq!(
        (stage.known_articles("A").await, stage.known_articles("B").await),
        (article("w", "k2"), article("v", "k1"))
    );
    // Of a row that the listing does not bring, as one whose date did not move.
    stage.has("A", &json!({}));
    stage.erp.state.lock().unwrap().unlisted.insert("A".to_owned());
    stage.has("C", &json!({"w": "k2"}));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.known_articles("C").await, article("w", "k2"));
}

#[tokio::test]
async fn what_a_lookup_finds_with_another_records_article_is_not_written_to() {
    let facet =
        |capabilities: &mut crate::port::Capabilities| capabilities.facet_of = Some("product.variants".to_owned());
    let shop = FakeSystem::new("shop").with_capabilities_of("price", facet);
    let flows = vec![flow("catalog", "erp", "shop", &["product"]), flow("prices", "erp", "shop", &["price"])];
    let stage = Stage::with(FakeSystem::new("erp"), shop, flows).await;
    let there = |sku: &str| json!({"sku": sku, "name": {"es": sku}, "active": true, "articles": {sku: "k1"}});
    stage.shop.put("product", "76", &there("A"));
    stage.sells(&["A"]);
    assert!(stage.once().await.is_clean());
    stage.shop.put("product", "77", &there("B"));
    stage.erp.put("product", "B", &json!({"sku": "B", "name": {"es": "new"}, "active": true}));
    stage.shop.fault(Fault::LostBefore);
    stage.once().await;
    assert_eq!(stage.states().await, [JobState::Dead]);
    assert!(stage.shop.rows("product").iter().all(|row| row["name"]["es"] != "new"), "nothing was written");
}
