//! Writing orders. As recorded from the real shop: no idempotency key, no check of stock, unknown articles become
//! empty lines.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{
    check::{Kind, Schema},
    customers::require_account,
    db::{Doc, Table, Tx},
    hooks::Event,
    order_lines,
    products::{self, Checked},
    refusal::{Result, invalid_id, refuse},
    text::{self, amount, money},
};

pub const SCHEMA: Schema = &[
    (
        "status",
        Kind::OneOf(&[
            "auto-draft",
            "pending",
            "processing",
            "on-hold",
            "completed",
            "cancelled",
            "refunded",
            "failed",
            "checkout-draft",
        ]),
    ),
    ("currency", Kind::Text),
    ("customer_id", Kind::Whole),
    ("customer_note", Kind::Text),
    ("billing", Kind::Object),
    ("shipping", Kind::Object),
    ("payment_method", Kind::Text),
    ("payment_method_title", Kind::Text),
    ("transaction_id", Kind::Text),
    ("meta_data", Kind::Objects),
    ("line_items", Kind::Objects),
    ("shipping_lines", Kind::Objects),
    ("fee_lines", Kind::Objects),
    ("coupon_lines", Kind::Objects),
    ("set_paid", Kind::Flag),
];

pub fn blank_address(billing: bool) -> Value {
    let mut address = json!({ "first_name": "", "last_name": "", "company": "", "address_1": "", "address_2": "",
        "city": "", "state": "", "postcode": "", "country": "" });
    if billing {
        address["email"] = "".into();
    }
    address["phone"] = "".into();
    address
}

pub fn merge_address(address: &mut Value, given: &Value) {
    for (name, value) in given.as_object().into_iter().flatten() {
        if let Some(member) = address.get_mut(name) {
            *member = text::plain(value).into();
        }
    }
}

/// Place an order. Return its id.
pub async fn create(tx: &mut Tx<'_>, mut params: Doc, checked: Checked, via: &str) -> Result<i64> {
    apply_schema(tx, &mut params, checked)?;
    let customer = params.get("customer_id").and_then(Value::as_i64).unwrap_or(0);
    require_account(tx, customer).await?;
    let id = tx.next("post").await?;
    let mut doc = Doc::new();
    for (name, value) in [
        ("status", json!("pending")),
        ("currency", json!(tx.site.currency)),
        ("prices_include_tax", json!(tx.site.prices_include_tax)),
        ("customer_id", json!(customer)),
        ("order_key", json!(format!("wc_order_{:013x}", tx.random >> 12))),
        ("billing", blank_address(true)),
        ("shipping", blank_address(false)),
        ("payment_method", json!("")),
        ("payment_method_title", json!("")),
        ("transaction_id", json!("")),
        ("created_via", json!(via)),
        ("customer_note", json!("")),
        ("date_created_gmt", json!(tx.stamp())),
        ("date_completed_gmt", Value::Null),
        ("date_paid_gmt", Value::Null),
        ("number", json!(id.to_string())),
        ("meta_data", json!([])),
        ("line_items", json!([])),
        ("shipping_lines", json!([])),
        ("fee_lines", json!([])),
        ("coupon_lines", json!([])),
        ("stock_reduced", json!(false)),
    ] {
        doc.insert(name.into(), value);
    }
    apply(tx, &mut doc, &params).await?;
    total(tx, &mut doc).await?;
    tx.touch(&mut doc);
    tx.put(Table::Orders, id, &doc).await?;
    let status = params.get("status").and_then(Value::as_str).map(str::to_owned);
    move_to(tx, id, &mut doc, status.as_deref(), params.get("set_paid") == Some(&json!(true))).await?;
    tx.put(Table::Orders, id, &doc).await?;
    // A new order is announced as created and as updated.
    tx.events.push(Event::new("order", "created", id));
    tx.events.push(Event::new("order", "updated", id));
    Ok(id)
}

pub async fn update(tx: &mut Tx<'_>, id: i64, mut params: Doc, checked: Checked) -> Result<()> {
    apply_schema(tx, &mut params, checked)?;
    let Some(mut doc) = tx.get(Table::Orders, id).await? else {
        return invalid_id(400, "shop_order");
    };
    if let Some(customer) = params.get("customer_id").and_then(Value::as_i64) {
        require_account(tx, customer).await?;
        doc.insert("customer_id".into(), customer.into());
    }
    apply(tx, &mut doc, &params).await?;
    total(tx, &mut doc).await?;
    let status = params.get("status").and_then(Value::as_str).map(str::to_owned);
    move_to(tx, id, &mut doc, status.as_deref(), params.get("set_paid") == Some(&json!(true))).await?;
    tx.touch(&mut doc);
    tx.put(Table::Orders, id, &doc).await?;
    tx.events.push(Event::new("order", "updated", id));
    Ok(())
}

pub async fn delete(tx: &mut Tx<'_>, id: i64, force: bool) -> Result<()> {
    let Some(mut doc) = tx.get(Table::Orders, id).await? else {
        return invalid_id(404, "shop_order");
    };
    let trashed = doc["status"] == "trash";
    if force {
        tx.remove(Table::Orders, id).await?;
    } else if trashed {
        return refuse(410, "woocommerce_rest_already_trashed", "The order has already been deleted.");
    } else {
        doc.insert("status".into(), "trash".into());
        tx.touch(&mut doc);
        tx.put(Table::Orders, id, &doc).await?;
    }
    if !trashed {
        tx.events.push(Event::new("order", "deleted", id));
    }
    Ok(())
}

/// Check against the schema, including the statuses that plug-ins registered.
fn apply_schema(tx: &Tx<'_>, params: &mut Doc, checked: Checked) -> Result<()> {
    let registered = |status: &Value| tx.site.order_statuses.iter().any(|own| status == own.as_str());
    let own = params.get("status").filter(|status| registered(status)).cloned();
    if own.is_some() {
        params.remove("status");
    }
    checked.apply(SCHEMA, params)?;
    if let Some(own) = own {
        params.insert("status".into(), own);
    }
    Ok(())
}

async fn apply(tx: &mut Tx<'_>, doc: &mut Doc, params: &Doc) -> Result<()> {
    for name in ["currency", "payment_method", "payment_method_title", "transaction_id", "customer_note"] {
        if let Some(value) = params.get(name) {
            doc.insert(name.into(), text::plain(value).into());
        }
    }
    for name in ["billing", "shipping"] {
        if let Some(given) = params.get(name) {
            merge_address(&mut doc[name], given);
        }
    }
    if let Some(given) = params.get("meta_data") {
        tx.merge_meta(doc, given).await?;
    }
    for name in ["line_items", "shipping_lines", "fee_lines", "coupon_lines"] {
        if let Some(given) = params.get(name) {
            order_lines::merge(tx, doc, name, given).await?;
        }
    }
    Ok(())
}

/// Calculate the totals from the lines; taxes follow the rates of the place of delivery.
pub async fn total(tx: &mut Tx<'_>, doc: &mut Doc) -> Result<()> {
    order_lines::tax(tx, doc).await?;
    let sum = |doc: &Doc, list: &str, name: &str| -> Decimal {
        doc[list].as_array().into_iter().flatten().map(|line| amount(line[name].as_str().unwrap_or_default())).sum()
    };
    let lines = sum(doc, "line_items", "total");
    let line_tax = sum(doc, "line_items", "total_tax");
    let discount = sum(doc, "line_items", "subtotal") - lines;
    let discount_tax = sum(doc, "line_items", "subtotal_tax") - line_tax;
    let (shipping, shipping_tax) = (sum(doc, "shipping_lines", "total"), sum(doc, "shipping_lines", "total_tax"));
    let (fees, fee_tax) = (sum(doc, "fee_lines", "total"), sum(doc, "fee_lines", "total_tax"));
    let (cart_tax, shipping_tax) =
        (text::rounded(line_tax + fee_tax, text::CENTS), text::rounded(shipping_tax, text::CENTS));
    let tax = cart_tax + shipping_tax;
    for (name, value) in [
        ("discount_total", discount),
        ("discount_tax", discount_tax),
        ("shipping_total", shipping),
        ("shipping_tax", shipping_tax),
        ("cart_tax", cart_tax),
        ("total", lines + shipping + fees + tax),
        ("total_tax", tax),
    ] {
        doc.insert(name.into(), money(value).into());
    }
    Ok(())
}

fn title(status: &str) -> &str {
    match status {
        "pending" => "Pending payment",
        "processing" => "Processing",
        "on-hold" => "On hold",
        "completed" => "Completed",
        "cancelled" => "Cancelled",
        "refunded" => "Refunded",
        "failed" => "Failed",
        other => other,
    }
}

/// Change the status with everything that depends on it: dates, stock, notes.
pub async fn move_to(tx: &mut Tx<'_>, id: i64, doc: &mut Doc, status: Option<&str>, paid: bool) -> Result<()> {
    let old = doc["status"].as_str().unwrap_or_default().to_owned();
    let new = match status {
        Some(status) if status != "pending" || !paid => status.to_owned(),
        _ if paid && matches!(old.as_str(), "pending" | "on-hold" | "failed") => "processing".into(),
        _ => old.clone(),
    };
    let paid = paid || matches!(new.as_str(), "processing" | "completed");
    if paid && doc["date_paid_gmt"].is_null() {
        doc.insert("date_paid_gmt".into(), tx.stamp().into());
    }
    if new == old {
        return Ok(());
    }
    if new == "completed" && doc["date_completed_gmt"].is_null() {
        doc.insert("date_completed_gmt".into(), tx.stamp().into());
    }
    let reduced = doc["stock_reduced"] == true;
    match new.as_str() {
        "processing" | "completed" | "on-hold" if !reduced => move_stock(tx, id, doc, true).await?,
        "cancelled" | "pending" if reduced => move_stock(tx, id, doc, false).await?,
        _ => {}
    }
    doc.insert("status".into(), new.clone().into());
    let text = format!("Order status changed from {} to {}.", title(&old), title(&new));
    note(tx, id, &text, false, "WooCommerce").await?;
    Ok(())
}

/// Take the quantities of the lines from the stock, or put them back, once.
async fn move_stock(tx: &mut Tx<'_>, id: i64, doc: &mut Doc, sell: bool) -> Result<()> {
    let mut changes = Vec::new();
    let mut lines = doc["line_items"].as_array().cloned().unwrap_or_default();
    for line in &mut lines {
        let product = match line["variation_id"].as_i64() {
            Some(variation) if variation != 0 => variation,
            _ => line["product_id"].as_i64().unwrap_or(0),
        };
        let quantity = line["quantity"].as_i64().unwrap_or(0);
        let Some((before, after)) = products::sell(tx, product, if sell { quantity } else { -quantity }).await? else {
            continue;
        };
        changes.push(format!(
            "{} ({}) {before}&rarr;{after}",
            line["name"].as_str().unwrap_or_default(),
            line["sku"].as_str().unwrap_or_default()
        ));
        let mut owner = Doc::new();
        owner.insert("meta_data".into(), line["meta_data"].clone());
        let value = if sell { json!(quantity.to_string()) } else { Value::Null };
        tx.merge_meta(&mut owner, &json!([{ "key": "_reduced_stock", "value": value }])).await?;
        line["meta_data"] = owner.remove("meta_data").unwrap_or_default();
    }
    doc.insert("line_items".into(), lines.into());
    doc.insert("stock_reduced".into(), sell.into());
    if !changes.is_empty() {
        let what = if sell { "reduced" } else { "increased" };
        note(tx, id, &format!("Stock levels {what}: {}", changes.join(", ")), false, "WooCommerce").await?;
    }
    Ok(())
}

/// Add a note to an order, for the customer or for the staff. Return its id. The order's dates do not change.
pub async fn note(tx: &mut Tx<'_>, order: i64, note: &str, customer: bool, author: &str) -> Result<i64> {
    let id = tx.next("note").await?;
    let mut doc = Doc::new();
    for (name, value) in [
        ("order_id", json!(order)),
        ("author", json!(author)),
        ("date_created_gmt", json!(tx.stamp())),
        ("note", json!(note)),
        ("customer_note", json!(customer)),
    ] {
        doc.insert(name.into(), value);
    }
    tx.put(Table::Notes, id, &doc).await?;
    Ok(id)
}
