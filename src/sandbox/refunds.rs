//! Refunds of orders.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{
    check::{Kind, Schema},
    db::{Doc, Table, Tx},
    hooks::Event,
    orders, products,
    products::Checked,
    refusal::{Error, Refusal, Result, invalid_id},
    text::{amount, money, plain},
};

const SCHEMA: Schema = &[
    ("amount", Kind::Text),
    ("reason", Kind::Text),
    ("api_refund", Kind::Flag),
    ("api_restock", Kind::Flag),
    ("line_items", Kind::Objects),
    ("meta_data", Kind::Objects),
];

/// Refund an amount or lines. Return the refund's id.
pub async fn create(tx: &mut Tx<'_>, order: i64, mut params: Doc) -> Result<i64> {
    Checked::Strictly.apply(SCHEMA, &mut params)?;
    let Some(mut sale) = tx.get(Table::Orders, order).await? else { return invalid_id(404, "shop_order") };
    // The real shop answers 500 with `data` 500 here: a refusal that looks like an outage.
    let refused = |message: &str| {
        let mut refusal = Refusal::new(500, "woocommerce_rest_cannot_create_order_refund", message);
        refusal.data = json!(500);
        Error::from(refusal)
    };
    let mut lines = Vec::new();
    let mut sum = Decimal::ZERO;
    for given in params.get("line_items").and_then(Value::as_array).cloned().unwrap_or_default() {
        let sold = sale["line_items"].as_array().into_iter().flatten().find(|line| line["id"] == given["id"]).cloned();
        let Some(mut line) = sold else { continue };
        let quantity = given["quantity"].as_i64().unwrap_or(0);
        let total = amount(&plain(&given["refund_total"]));
        sum += total;
        if params.get("api_restock") != Some(&json!(false)) && sale["stock_reduced"] == true {
            let id = line["variation_id"].as_i64().filter(|id| *id != 0).or_else(|| line["product_id"].as_i64());
            products::sell(tx, id.unwrap_or(0), -quantity).await?;
        }
        let mut owner = Doc::new();
        owner.insert("meta_data".into(), json!([]));
        tx.merge_meta(&mut owner, &json!([{ "key": "_refunded_item_id", "value": plain(&given["id"]) }])).await?;
        line["id"] = tx.next("line").await?.into();
        line["quantity"] = (-quantity).into();
        line["subtotal"] = money(-total).into();
        line["total"] = money(-total).into();
        for name in ["subtotal_tax", "total_tax"] {
            line[name] = "0.00".into();
        }
        line["taxes"] = json!([]);
        line["meta_data"] = owner.remove("meta_data").unwrap_or_default();
        lines.push(line);
    }
    let asked = params.get("amount").map_or(sum, |given| amount(&plain(given)));
    let mut before = Decimal::ZERO;
    for id in tx.ids(Table::Refunds, "order_id = ?", &[json!(order)]).await? {
        if let Some(refund) = tx.get(Table::Refunds, id).await? {
            before += amount(refund["amount"].as_str().unwrap_or_default());
        }
    }
    let left = amount(sale["total"].as_str().unwrap_or_default()) - before;
    if asked <= Decimal::ZERO || asked > left {
        return Err(refused("Invalid refund amount."));
    }
    if params.get("api_refund") != Some(&json!(false)) {
        return Err(refused("The payment gateway for this order does not support automatic refunds."));
    }
    let id = tx.next("post").await?;
    let mut doc = Doc::new();
    for (name, value) in [
        ("order_id", json!(order)),
        ("date_created_gmt", json!(tx.stamp())),
        ("amount", json!(money(asked))),
        ("reason", params.get("reason").cloned().unwrap_or_else(|| json!(""))),
        ("meta_data", json!([])),
        ("line_items", lines.into()),
    ] {
        doc.insert(name.into(), value);
    }
    if let Some(given) = params.get("meta_data") {
        tx.merge_meta(&mut doc, given).await?;
    }
    tx.put(Table::Refunds, id, &doc).await?;
    if asked == left {
        orders::move_to(tx, order, &mut sale, Some("refunded"), false).await?;
    }
    tx.touch(&mut sale);
    tx.put(Table::Orders, order, &sale).await?;
    tx.events.push(Event::new("order", "updated", order));
    Ok(id)
}
