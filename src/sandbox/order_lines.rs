//! Lines of an order: articles, shipping, fees, coupons, and the taxes on them.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{
    db::{Doc, Table, Tx},
    product_view::inherited,
    refusal::Result,
    text::{amount, fixed, plain, rounded},
};

/// Merge the given lines into the order: a line with an `id` changes that line (quantity 0 removes it), a line
/// without is added. Changing a quantity keeps the totals.
pub async fn merge(tx: &mut Tx<'_>, doc: &mut Doc, list: &str, given: &Value) -> Result<()> {
    let mut lines = doc[list].as_array().cloned().unwrap_or_default();
    for given in given.as_array().into_iter().flatten() {
        let found = given["id"].as_i64().and_then(|id| lines.iter().position(|line| line["id"] == id));
        if let Some(at) = found {
            if given.get("quantity").is_some_and(|quantity| plain(quantity) == "0") {
                lines.remove(at);
                continue;
            }
            overwrite(&mut lines[at], given, tx.site.kept());
            continue;
        }
        let mut line = match list {
            "line_items" => article(tx, doc, given).await?,
            "shipping_lines" => json!({ "method_title": "", "method_id": "", "instance_id": "", "total": "0.00",
                "total_tax": "0.00", "taxes": [], "tax_status": "taxable", "meta_data": [] }),
            "fee_lines" => json!({ "name": "", "tax_class": "", "tax_status": "taxable", "amount": "", "total": "0.00",
                "total_tax": "0.00", "taxes": [], "meta_data": [] }),
            _ => json!({ "code": "", "discount": "0.00", "discount_tax": "0.00", "meta_data": [] }),
        };
        overwrite(&mut line, given, tx.site.kept());
        let mut numbered = json!({ "id": tx.next("line").await? });
        if let (Some(target), Value::Object(members)) = (numbered.as_object_mut(), line) {
            target.extend(members);
        }
        lines.push(numbered);
    }
    doc.insert(list.into(), lines.into());
    Ok(())
}

fn overwrite(line: &mut Value, given: &Value, places: u32) {
    for name in ["method_title", "method_id", "instance_id", "tax_class", "code"] {
        if let (Some(value), true) = (given.get(name), line.get(name).is_some()) {
            line[name] = plain(value).into();
        }
    }
    if let Some(name) = given.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        line["name"] = name.into();
    }
    if let Some(quantity) = given.get("quantity").and_then(|quantity| plain(quantity).parse::<i64>().ok()) {
        line["quantity"] = quantity.into();
    }
    for name in ["subtotal", "total", "discount"] {
        if let (Some(value), true) = (given.get(name), line.get(name).is_some()) {
            line[name] = fixed(amount(&plain(value)), places).into();
        }
    }
}

/// A line of an article by `product_id`, `variation_id` or `sku`. An unknown article becomes an empty line.
async fn article(tx: &mut Tx<'_>, order: &Doc, given: &Value) -> Result<Value> {
    let mut id = given["variation_id"].as_i64().filter(|id| *id != 0).or_else(|| given["product_id"].as_i64());
    if id.is_none()
        && let Some(sku) = given["sku"].as_str()
    {
        let key = json!(sku.trim().to_ascii_lowercase());
        id = tx.ids(Table::Products, "sku_key = ? AND status <> 'trash'", &[key]).await?.pop();
    }
    let found = match id {
        Some(id) => tx.get(Table::Products, id).await?.map(|doc| (id, doc)),
        None => None,
    };
    let Some((id, product)) = found else {
        return Ok(json!({ "name": "", "product_id": 0, "variation_id": 0, "quantity": 1, "tax_class": "",
            "subtotal": "0.00", "subtotal_tax": "0.00", "total": "0.00", "total_tax": "0.00", "taxes": [],
            "meta_data": [], "sku": null }));
    };
    let quantity = given.get("quantity").and_then(|quantity| plain(quantity).parse::<i64>().ok()).unwrap_or(1);
    let is_variation = product["type"] == "variation";
    let parent = product["parent_id"].as_i64().filter(|_| is_variation);
    let parent_doc = match parent {
        Some(parent) => tx.get(Table::Products, parent).await?,
        None => None,
    };
    let mut class = product["tax_class"].as_str().unwrap_or_default().to_owned();
    if class == "parent" {
        class = parent_doc.as_ref().and_then(|parent| parent["tax_class"].as_str()).unwrap_or_default().to_owned();
    }
    let mut price = amount(product["price"].as_str().unwrap_or_default());
    if tx.site.prices_include_tax
        && let Some((_, _, percent)) = rate(tx, order, &class).await?
    {
        price = price * Decimal::ONE_HUNDRED / (Decimal::ONE_HUNDRED + percent);
    }
    let total = fixed(price * Decimal::from(quantity), tx.site.kept());
    let parent_name = parent_doc.as_ref().map(|parent| parent["name"].clone());
    let own_name = product["name"].as_str().unwrap_or_default();
    let name = match parent_name.as_ref().and_then(Value::as_str) {
        Some(parent) => format!("{parent} - {own_name}"),
        None => own_name.to_owned(),
    };
    let options: Vec<Value> = product["attributes"]
        .as_array()
        .filter(|_| is_variation)
        .into_iter()
        .flatten()
        .map(|option| json!({ "key": option["slug"], "value": option["option"] }))
        .collect();
    let mut owner = Doc::new();
    owner.insert("meta_data".into(), json!([]));
    tx.merge_meta(&mut owner, &options.into()).await?;
    Ok(json!({ "name": name, "product_id": parent.unwrap_or(id), "variation_id": if is_variation { id } else { 0 },
        "quantity": quantity, "tax_class": class, "subtotal": total, "subtotal_tax": "0.00", "total": total,
        "total_tax": "0.00", "taxes": [], "meta_data": owner.remove("meta_data"), "sku": inherited(&product, parent_doc.as_ref().unwrap_or(&product), "sku"),
        "parent_name": parent_name }))
}

async fn rate(tx: &mut Tx<'_>, order: &Doc, class: &str) -> Result<Option<(i64, String, Decimal)>> {
    let member = |name: &str| {
        let shipping = order["shipping"][name].as_str().unwrap_or_default();
        let billing = order["billing"][name].as_str().unwrap_or_default();
        if order["shipping"]["country"].as_str().is_some_and(|country| !country.is_empty()) {
            shipping.to_owned()
        } else {
            billing.to_owned()
        }
    };
    let (mut country, state) = (member("country"), member("state"));
    if country.is_empty() {
        country.clone_from(&tx.site.country);
    }
    tx.tax_rate(class, &country, &state).await
}

/// Calculate the taxes of every line, and the order's tax lines.
pub async fn tax(tx: &mut Tx<'_>, doc: &mut Doc) -> Result<()> {
    let places = tx.site.kept();
    let shown = |amount: Decimal| fixed(amount, places);
    let mut sums: Vec<(i64, String, Decimal, Decimal, Decimal)> = Vec::new();
    for list in ["line_items", "shipping_lines", "fee_lines"] {
        let mut lines = doc[list].as_array().cloned().unwrap_or_default();
        for line in &mut lines {
            let class = line["tax_class"].as_str().unwrap_or_default().to_owned();
            let Some((id, name, percent)) = rate(tx, doc, &class).await? else { continue };
            let of = |amount_name: &str| {
                let net = amount(line[amount_name].as_str().unwrap_or_default());
                rounded(net * percent / Decimal::ONE_HUNDRED, places)
            };
            let (total_tax, subtotal_tax) = (of("total"), of("subtotal"));
            line["total_tax"] = shown(total_tax).into();
            line["taxes"] = json!([{ "id": id, "total": shown(total_tax), "subtotal": shown(subtotal_tax) }]);
            if list == "line_items" {
                line["subtotal_tax"] = shown(subtotal_tax).into();
            }
            let at = sums.iter().position(|sum| sum.0 == id).unwrap_or(sums.len());
            if at == sums.len() {
                sums.push((id, name, percent, Decimal::ZERO, Decimal::ZERO));
            }
            if list == "shipping_lines" {
                sums[at].4 += total_tax;
            } else {
                sums[at].3 += total_tax;
            }
        }
        doc.insert(list.into(), lines.into());
    }
    let had = doc.get("tax_lines").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for (rate, name, percent, tax, shipping_tax) in sums {
        let id = match had.iter().find(|line| line["rate_id"] == rate).and_then(|line| line["id"].as_i64()) {
            Some(id) => id,
            None => tx.next("line").await?,
        };
        let code = format!("{}-{}-1", tx.site.country, name.to_uppercase());
        lines.push(json!({ "id": id, "rate_code": code, "rate_id": rate, "label": name, "compound": false,
            "tax_total": shown(tax), "shipping_tax_total": shown(shipping_tax),
            "rate_percent": serde_json::from_str::<Value>(&percent.normalize().to_string())?, "meta_data": [] }));
    }
    doc.insert("tax_lines".into(), lines.into());
    Ok(())
}
