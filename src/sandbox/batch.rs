//! Many writes in one request. Every item is handled alone: a refusal is that item's result, and the answer is 200
//! all the same. The schema is not checked, and deleting is final.

use serde_json::{Value, json};

use super::{
    db::{Doc, Tx},
    product_view::Context,
    products::Checked,
    refusal::{Error, Result, invalid_id, refuse},
    resource::Resource,
};

const MOST: usize = 100;

/// Carry out a batch. With `at_most`, the server dies after that many items; what was done stays done.
pub async fn run(tx: &mut Tx<'_>, resource: Resource, params: &Doc, at_most: Option<usize>) -> Result<Value> {
    let items = |name: &str| params.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (creates, updates, deletes) = (items("create"), items("update"), items("delete"));
    let count = creates.len() + updates.len() + deletes.len();
    if count > MOST {
        return refuse(
            413,
            "woocommerce_rest_request_entity_too_large",
            "Unable to accept more than 100 items for this request.",
        );
    }
    if creates.iter().chain(&updates).any(|item| !item.is_object()) {
        return refuse(
            500,
            "internal_server_error",
            "<p>There has been a critical error on this website.</p><p><a href=\"https://wordpress.org/documentation/article/faq-troubleshooting/\">Learn more about troubleshooting WordPress.</a></p>",
        );
    }
    let mut left = at_most.map_or(count, |share| share.min(count));
    let mut out = Doc::new();
    for (op, items) in [("create", creates), ("update", updates), ("delete", deletes)] {
        let mut results = Vec::new();
        for item in items.iter().take(left) {
            let named = match op {
                "create" => json!(0),
                "update" => item["id"].clone(),
                _ => item.clone(),
            };
            results.push(match one(tx, resource, op, item).await {
                Ok(result) => result,
                Err(Error::Refused(refusal)) => json!({ "id": named, "error": refusal.body() }),
                Err(error) => return Err(error),
            });
        }
        left -= results.len();
        if params.get(op).is_some() {
            out.insert(op.into(), results.into());
        }
    }
    Ok(out.into())
}

async fn one(tx: &mut Tx<'_>, resource: Resource, op: &str, item: &Value) -> Result<Value> {
    let params = item.as_object().cloned().unwrap_or_default();
    let id = match op {
        "create" => resource.create(tx, params, Checked::Loosely).await?,
        "update" => {
            let Some(id) = item["id"].as_i64() else { return resource.unknown(400) };
            resource.update(tx, id, params, Checked::Loosely).await?;
            id
        }
        _ => {
            let Some(id) = item.as_i64().or_else(|| item["id"].as_i64()) else { return invalid_id(404, "product") };
            if resource.view(tx, id, Context::Edit).await?.is_none() {
                return resource.unknown(404);
            }
            return resource.delete(tx, id, true).await;
        }
    };
    Ok(resource.view(tx, id, Context::Edit).await?.unwrap_or_default())
}
