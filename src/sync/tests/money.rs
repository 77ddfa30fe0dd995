//! Promise 7: what is delivered adds up.

use serde_json::{Value, json};

use super::{Stage, flow, waits};
use crate::store::{JobFilter, JobState};

fn order(gross: &str, status: &str) -> Value {
    json!({"number": "1001", "status": status, "currency": "EUR", "tax_included": false,
        "lines": [{"line": "1", "sku": "H-1", "quantity": "2", "unit_price": "10", "tax_rate": "21", "total": "20"}],
        "totals": {"net": "20", "tax": "4.2", "gross": gross}})
}

async fn sales() -> Stage {
    Stage::new(vec![flow("sales", "shop", "erp", &["order"])]).await
}

#[tokio::test]
async fn an_order_that_does_not_add_up_waits_with_both_sums_until_it_does() {
    let stage = sales().await;
    stage.shop.put("order", "7", &order("29.2", "paid"));
    assert_eq!(stage.once().await.delivered.parked, 1);
    assert!(stage.erp.rows("order").is_empty());
    let job = stage.store.jobs(&JobFilter::default()).await.unwrap().remove(0);
    let error = job.error.unwrap();
    assert_eq!((job.state, job.cause.clone()), (JobState::Parked, waits("proof:order=1001")));
    assert!(error.contains("24.2") && error.contains("29.2 EUR") && error.contains("totals"), "{error}");
    assert_eq!(stage.once().await.delivered.written, 0, "looking again changes nothing");

    stage.shop.put("order", "7", &order("24.2", "paid"));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.erp.rows("order")[0]["totals"]["gross"], "24.2");
}

#[tokio::test]
async fn an_order_that_ended_before_the_erp_heard_of_it_is_sent_all_the_same() {
    let stage = sales().await;
    stage.shop.put("order", "7", &order("0", "cancelled"));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.erp.rows("order")[0]["status"], "cancelled");
}

#[tokio::test]
async fn a_status_is_not_held_up_by_amounts_that_it_does_not_carry() {
    let stage = sales().await;
    stage.shop.put("order", "7", &order("24.2", "paid"));
    assert!(stage.once().await.is_clean());
    stage.shop.put("order", "7", &order("24.2", "shipped"));
    assert!(stage.once().await.is_clean());
    // An edit afterwards that does not add up waits; a cancelled order comes to what it comes to.
    stage.shop.put("order", "7", &order("30", "shipped"));
    assert_eq!(stage.once().await.delivered.parked, 1);
    stage.shop.put("order", "7", &order("0", "cancelled"));
    assert!(stage.once().await.is_clean());
    assert_eq!(stage.erp.rows("order")[0]["status"], "cancelled");
}
