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
    stage.store.retry(&all, stage.engine.parts().env.now()).await.unwrap();
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
