//! Reading orders, their refunds and their notes.

use serde_json::{Map, Value, json};

use super::{
    db::{Doc, Table, Tx},
    product_view::{inherited, links},
    query::Head,
    refusal::Result,
    text::{amount, fixed},
};

/// Orders before paging.
pub async fn heads(tx: &mut Tx<'_>, statuses: &[String], customer: Option<i64>) -> Result<Vec<Head>> {
    let rows: Vec<(i64, String, String, String, i64)> =
        sqlx::query_as("SELECT id, created, modified, status, customer_id FROM orders").fetch_all(&mut *tx.db).await?;
    Ok(rows
        .into_iter()
        .filter(|row| customer.is_none_or(|customer| customer == row.4))
        .filter(|row| match statuses {
            [] => row.3 != "trash",
            statuses if statuses.iter().any(|status| status == "any") => row.3 != "trash",
            statuses => statuses.contains(&row.3),
        })
        .map(|(id, created, modified, _, _)| Head { id, created, modified, name: id.to_string() })
        .collect())
}

pub async fn order(tx: &mut Tx<'_>, id: i64, doc: &Doc) -> Result<Value> {
    let site = tx.site;
    let get = |name: &str| doc.get(name).cloned().unwrap_or_default();
    let local = |name: &str| site.local(&doc.get(&format!("{name}_gmt")).cloned().unwrap_or_default());
    let mut refunds = Vec::new();
    for refund in tx.ids(Table::Refunds, "order_id = ?", &[json!(id)]).await? {
        if let Some(doc) = tx.get(Table::Refunds, refund).await? {
            let total = format!("-{}", doc["amount"].as_str().unwrap_or_default());
            refunds.insert(0, json!({ "id": refund, "reason": doc["reason"], "total": total }));
        }
    }
    let mut needs_processing = false;
    // A line shows its article's current SKU, and none if the article was deleted.
    let mut skus = Vec::new();
    for line in doc["line_items"].as_array().into_iter().flatten() {
        let product = line["product_id"].as_i64().unwrap_or(0);
        let sold = line["variation_id"].as_i64().filter(|id| *id != 0).unwrap_or(product);
        let (product, sold) = (tx.get(Table::Products, product).await?, tx.get(Table::Products, sold).await?);
        needs_processing |= product.as_ref().is_some_and(|doc| doc["virtual"] != true);
        skus.push(sold.map_or(Value::Null, |doc| inherited(&doc, product.as_ref().unwrap_or(&doc), "sku")));
    }
    let status = doc["status"].as_str().unwrap_or_default();
    let unpaid = matches!(status, "pending" | "failed")
        && amount(doc["total"].as_str().unwrap_or_default()).is_sign_positive()
        && doc["total"] != "0.00";
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.into(), value);
    };
    put("id", id.into());
    put("parent_id", 0.into());
    put("status", status.into());
    put("currency", get("currency"));
    put("version", "9.9.5".into());
    put("prices_include_tax", get("prices_include_tax"));
    put("date_created", local("date_created"));
    put("date_modified", local("date_modified"));
    for name in [
        "discount_total",
        "discount_tax",
        "shipping_total",
        "shipping_tax",
        "cart_tax",
        "total",
        "total_tax",
        "customer_id",
        "order_key",
        "billing",
        "shipping",
        "payment_method",
        "payment_method_title",
        "transaction_id",
    ] {
        put(name, get(name));
    }
    put("customer_ip_address", "".into());
    put("customer_user_agent", "".into());
    put("created_via", get("created_via"));
    put("customer_note", get("customer_note"));
    put("date_completed", local("date_completed"));
    put("date_paid", local("date_paid"));
    put("cart_hash", "".into());
    put("number", get("number"));
    put("meta_data", get("meta_data"));
    let mut articles = lines(&get("line_items"));
    for (line, sku) in articles.as_array_mut().into_iter().flatten().zip(skus) {
        line["sku"] = sku;
    }
    put("line_items", articles);
    for name in ["tax_lines", "shipping_lines", "fee_lines", "coupon_lines"] {
        put(name, get(name));
    }
    put("refunds", refunds.into());
    let key = doc["order_key"].as_str().unwrap_or_default();
    put("payment_url", format!("{}/checkout/order-pay/{id}/?pay_for_order=true&key={key}", tx.base).into());
    put("is_editable", matches!(status, "pending" | "on-hold" | "auto-draft").into());
    put("needs_payment", unpaid.into());
    put("needs_processing", needs_processing.into());
    for name in ["date_created_gmt", "date_modified_gmt", "date_completed_gmt", "date_paid_gmt"] {
        put(name, get(name));
    }
    put("currency_symbol", site.symbol().into());
    let mut links = links(&tx.base, "orders", id);
    links["email_templates"] = json!([{ "embeddable": true,
        "href": format!("{}/wp-json/wc/v3/orders/{id}/actions/email_templates", tx.base) }]);
    put("_links", links);
    let mut out = Value::Object(out);
    round(&mut out, tx.places);
    Ok(out)
}

/// Show amounts, including those of lines, with this number of decimals.
fn round(shown: &mut Value, places: u32) {
    const AMOUNTS: [&str; 13] = [
        "discount",
        "discount_tax",
        "discount_total",
        "shipping_total",
        "shipping_tax",
        "cart_tax",
        "total",
        "total_tax",
        "subtotal",
        "subtotal_tax",
        "tax_total",
        "shipping_tax_total",
        "amount",
    ];
    const LISTS: [&str; 6] = ["line_items", "tax_lines", "shipping_lines", "fee_lines", "coupon_lines", "taxes"];
    for (name, value) in shown.as_object_mut().into_iter().flatten() {
        match value {
            Value::String(text) if AMOUNTS.contains(&name.as_str()) && !text.is_empty() => {
                *text = fixed(amount(text), places);
            }
            Value::Array(items) if LISTS.contains(&name.as_str()) => {
                items.iter_mut().for_each(|item| round(item, places));
            }
            _ => {}
        }
    }
}

/// Lines as the interface shows them: with unit price, image, and metas twice.
fn lines(stored: &Value) -> Value {
    let shown = stored.as_array().into_iter().flatten().map(|line| {
        let mut line = line.clone();
        let quantity = line["quantity"].as_i64().unwrap_or(0);
        let total = amount(line["total"].as_str().unwrap_or_default());
        let price = total.checked_div(quantity.into()).unwrap_or_default().normalize();
        let parent = line.as_object_mut().and_then(|line| line.shift_remove("parent_name")).unwrap_or_default();
        let metas: Vec<Value> = line["meta_data"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|meta| {
                json!({ "id": meta["id"], "key": meta["key"], "value": meta["value"], "display_key": meta["key"],
                    "display_value": meta["value"] })
            })
            .collect();
        line["meta_data"] = metas.into();
        line["price"] = serde_json::from_str(&price.to_string()).unwrap_or_default();
        line["image"] =
            if line["product_id"] == 0 { json!({ "id": 0, "src": "" }) } else { json!({ "id": "", "src": "" }) };
        line["parent_name"] = parent;
        line
    });
    shown.collect()
}

pub fn refund(tx: &Tx<'_>, id: i64, doc: &Doc) -> Value {
    let gmt = doc["date_created_gmt"].clone();
    let order = doc["order_id"].as_i64().unwrap_or(0);
    json!({
        "id": id, "date_created": tx.site.local(&gmt), "date_created_gmt": gmt, "amount": doc["amount"],
        "reason": doc["reason"], "refunded_by": 1, "refunded_payment": false, "meta_data": doc["meta_data"],
        "line_items": lines(&doc["line_items"]), "shipping_lines": [], "tax_lines": [], "fee_lines": [],
        "_links": child_links(&tx.base, order, "refunds", id)
    })
}

pub fn note(tx: &Tx<'_>, id: i64, doc: &Doc) -> Value {
    let gmt = doc["date_created_gmt"].clone();
    let order = doc["order_id"].as_i64().unwrap_or(0);
    json!({
        "id": id, "author": doc["author"], "date_created": tx.site.local(&gmt), "date_created_gmt": gmt,
        "note": doc["note"], "customer_note": doc["customer_note"],
        "_links": child_links(&tx.base, order, "notes", id)
    })
}

fn child_links(base: &str, order: i64, what: &str, id: i64) -> Value {
    let up = format!("{base}/wp-json/wc/v3/orders/{order}");
    json!({
        "self": [{ "href": format!("{up}/{what}/{id}"), "targetHints": { "allow": ["GET", "DELETE"] } }],
        "collection": [{ "href": format!("{up}/{what}") }],
        "up": [{ "href": up }]
    })
}
