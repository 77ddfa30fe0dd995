//! Subscriptions to events of the shop.

use serde_json::{Value, json};

use super::{
    check::{Kind, Schema, require},
    db::{Doc, Table, Tx},
    product_view::links,
    products::Checked,
    refusal::{Result, invalid_id, refuse},
};

const SCHEMA: Schema = &[
    ("name", Kind::Text),
    ("status", Kind::OneOf(&["active", "paused", "disabled"])),
    ("topic", Kind::Text),
    ("secret", Kind::Text),
    ("delivery_url", Kind::Text),
];

/// The names of each topic in the shop's own code.
fn hooks(topic: &str) -> Option<&'static [&'static str]> {
    Some(match topic {
        "order.created" => &["woocommerce_new_order"],
        "order.updated" => &["woocommerce_update_order", "woocommerce_order_refunded"],
        "order.deleted" => &["wp_trash_post", "woocommerce_trash_order"],
        "product.created" => {
            &["woocommerce_process_product_meta", "woocommerce_new_product", "woocommerce_new_product_variation"]
        }
        "product.updated" => {
            &["woocommerce_process_product_meta", "woocommerce_update_product", "woocommerce_update_product_variation"]
        }
        "product.deleted" => &["wp_trash_post"],
        "customer.created" => &["user_register", "woocommerce_created_customer", "woocommerce_new_customer"],
        "customer.updated" => &["profile_update", "woocommerce_update_customer"],
        "customer.deleted" => &["delete_user"],
        _ => return None,
    })
}

pub async fn create(tx: &mut Tx<'_>, mut params: Doc, checked: Checked) -> Result<i64> {
    checked.apply(SCHEMA, &mut params)?;
    require(&params, "delivery_url")?;
    let topic = params.get("topic").and_then(Value::as_str).unwrap_or_default().to_owned();
    if hooks(&topic).is_none() {
        return refuse(
            400,
            "woocommerce_rest_shop_webhook_invalid_topic",
            "Webhook topic is required and must be valid.",
        );
    }
    let id = tx.next("webhook").await?;
    let mut doc = Doc::new();
    for (name, value) in [
        ("name", json!(format!("Webhook created on {}", tx.stamp()))),
        ("status", json!("active")),
        ("topic", json!(topic)),
        ("delivery_url", json!("")),
        ("secret", json!(format!("{:016x}", tx.random))),
        ("date_created_gmt", json!(tx.stamp())),
        ("date_modified_gmt", Value::Null),
        ("failures", json!(0)),
    ] {
        doc.insert(name.into(), value);
    }
    apply(&mut doc, &params);
    tx.put(Table::Webhooks, id, &doc).await?;
    tx.pings.push(id);
    Ok(id)
}

pub async fn update(tx: &mut Tx<'_>, id: i64, mut params: Doc, checked: Checked) -> Result<()> {
    checked.apply(SCHEMA, &mut params)?;
    let Some(mut doc) = tx.get(Table::Webhooks, id).await? else { return invalid_id(400, "shop_webhook") };
    apply(&mut doc, &params);
    if params.get("status") == Some(&json!("active")) {
        doc.insert("failures".into(), 0.into());
    }
    tx.touch(&mut doc);
    tx.put(Table::Webhooks, id, &doc).await
}

pub async fn delete(tx: &mut Tx<'_>, id: i64, force: bool) -> Result<()> {
    if !force {
        return refuse(501, "woocommerce_rest_trash_not_supported", "Webhooks do not support trashing.");
    }
    if tx.get(Table::Webhooks, id).await?.is_none() {
        return invalid_id(404, "shop_webhook");
    }
    tx.remove(Table::Webhooks, id).await
}

fn apply(doc: &mut Doc, params: &Doc) {
    for name in ["name", "status", "topic", "delivery_url", "secret"] {
        if let Some(value) = params.get(name) {
            doc.insert(name.into(), value.clone());
        }
    }
}

/// A webhook without its secret.
pub fn view(tx: &Tx<'_>, id: i64, doc: &Doc) -> Value {
    let topic = doc["topic"].as_str().unwrap_or_default();
    let (resource, event) = topic.split_once('.').unwrap_or((topic, ""));
    let mut out = Doc::new();
    for (name, value) in [
        ("id", json!(id)),
        ("name", doc["name"].clone()),
        ("status", doc["status"].clone()),
        ("topic", json!(topic)),
        ("resource", json!(resource)),
        ("event", json!(event)),
        ("hooks", json!(hooks(topic).unwrap_or_default())),
        ("delivery_url", doc["delivery_url"].clone()),
    ] {
        out.insert(name.into(), value);
    }
    for name in ["date_created", "date_modified"] {
        let gmt = doc[&format!("{name}_gmt")].clone();
        out.insert(name.into(), tx.site.local(&gmt));
        out.insert(format!("{name}_gmt"), gmt);
    }
    out.insert("_links".into(), links(&tx.base, "webhooks", id));
    out.into()
}
