//! Promise 3: no loops, whoever else writes.

use super::*;

#[tokio::test]
async fn an_object_that_another_program_keeps_changing_back_is_left_alone_and_reported() {
    let stage = Stage::catalog().await;
    stage.erp.put("product", "1", &hammer());
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Sierra"}, "active": true}));
    assert!(stage.once().await.is_clean());
    let id = stage.shop.rows("product").iter().find(|row| row["sku"] == "H-1").unwrap()["id"].clone();
    let change_back = || {
        stage.shop.put("product", id.as_str().unwrap(), &json!({"sku": "H-1", "name": {"es": "Otro"}, "active": true}));
    };
    for _ in 0..20 {
        change_back();
        stage.full().await;
    }
    assert_eq!(stage.shop.written(), 2 + 12, "created, and repaired twelve times");
    let jobs = stage.store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    let muted: Vec<_> = jobs.iter().filter(|job| job.state == JobState::Parked).collect();
    assert_eq!((muted.len(), muted[0].cause.clone()), (1, waits("fuse:product=H-1")));
    assert!(muted[0].error.as_deref().unwrap().contains("name"), "{muted:?}");

    // A field that is new does not wait for the one that flaps.
    stage.erp.put(
        "product",
        "1",
        &json!({"sku": "H-1", "name": {"es": "Martillo"}, "active": true, "brand": "Bellota"}),
    );
    stage.once().await;
    assert_eq!(stage.shop.written(), 2 + 12 + 1);
    assert_eq!(stage.shop.rows("product").iter().find(|row| row["sku"] == "H-1").unwrap()["brand"], "Bellota");

    // Another value is new, and all else goes on meanwhile.
    stage.erp.put("product", "1", &json!({"sku": "H-1", "name": {"es": "Mazo"}, "active": true, "brand": "Bellota"}));
    stage.erp.put("product", "2", &json!({"sku": "S-1", "name": {"es": "Serrucho"}, "active": true}));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.shop.written(), 2 + 12 + 1 + 2);
}
