//! The JSON rows in which the model systems list their objects.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Europe::Madrid;
use serde_json::{Value, json};

use crate::models::{Customer, Model, Order, Price, Product};

/// A time as a model writes it. A local time names no zone: in the night of a clock change two hours look alike.
pub fn date(is_local: bool, seconds: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap();
    if is_local {
        return time.with_timezone(&Madrid).format("%Y-%m-%dT%H:%M:%S").to_string();
    }
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A text, or in a broken row a value that no mapping accepts.
fn name(name: &str, is_broken: bool) -> Value {
    if is_broken { json!([name]) } else { json!(name) }
}

/// A row of `/products`.
pub fn show_product(model: &Model, id: u64, product: &Product) -> Value {
    json!({
        "id": id, "sku": product.sku, "name": name(&product.name, product.broken), "text": product.text,
        "active": product.active, "tax": product.tax,
        "variants": [{"id": id, "sku": product.sku, "barcode": product.barcode}], "updated": date(model.writes_local_time(), product.updated),
    })
}

/// A row of `/prices`.
pub fn show_price(id: u64, price: &Price) -> Value {
    json!({"id": id, "sku": price.sku, "price": price.amount, "list": price.list, "currency": price.currency, "sale": price.sale})
}

/// A row of `/customers`.
pub fn show_customer(model: &Model, id: u64, customer: &Customer) -> Value {
    json!({
        "id": id, "email": customer.email, "name": name(&customer.name, customer.broken), "vat": customer.vat,
        "addresses": model.show_addresses(customer), "updated": date(model.writes_local_time(), customer.updated),
    })
}

/// A row of `/orders`.
pub fn show_order(model: &Model, id: u64, order: &Order) -> Value {
    let lines: Vec<Value> = order
        .lines
        .iter()
        .enumerate()
        .map(|(at, (sku, quantity, price))| json!({"line": at + 1, "sku": sku, "quantity": quantity, "price": price}))
        .collect();
    json!({
        "id": id, "number": order.number, "customer": order.customer.unwrap_or(0), "email": order.email, "lines": lines,
        "total": order.total, "currency": order.currency, "status": name(&order.status, order.broken),
        "closed": order.closed, "kept": order.kept, "paid_back": order.paid_back, "placed": "2026-01-01T00:00:00Z",
        "updated": date(model.writes_local_time(), order.updated),
    })
}
