//! Products and their variations: writing.
//!
//! One file, because a write of a product decides on its variations and their stock as well.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{
    check::{Kind, Schema, check, coerce},
    db::{Doc, Table, Tx},
    hooks::Event,
    refusal::{Refusal, Result, invalid_id, refuse},
    tax_classes, text,
};

const STATUSES: Kind = Kind::OneOf(&["draft", "pending", "private", "publish", "future", "auto-draft", "trash"]);

pub const SCHEMA: Schema = &[
    ("name", Kind::Text),
    ("slug", Kind::Text),
    ("type", Kind::OneOf(&["simple", "grouped", "external", "variable"])),
    ("status", STATUSES),
    ("featured", Kind::Flag),
    ("catalog_visibility", Kind::OneOf(&["visible", "catalog", "search", "hidden"])),
    ("description", Kind::Text),
    ("short_description", Kind::Text),
    ("sku", Kind::Text),
    ("global_unique_id", Kind::Text),
    ("regular_price", Kind::Text),
    ("sale_price", Kind::Text),
    ("virtual", Kind::Flag),
    ("downloadable", Kind::Flag),
    ("tax_status", Kind::OneOf(&["taxable", "shipping", "none"])),
    ("tax_class", Kind::Text),
    ("manage_stock", Kind::Flag),
    ("stock_quantity", Kind::Whole),
    ("stock_status", Kind::OneOf(&["instock", "outofstock", "onbackorder"])),
    ("backorders", Kind::OneOf(&["no", "notify", "yes"])),
    ("low_stock_amount", Kind::Whole),
    ("sold_individually", Kind::Flag),
    ("weight", Kind::Text),
    ("dimensions", Kind::Object),
    ("shipping_class", Kind::Text),
    ("reviews_allowed", Kind::Flag),
    ("upsell_ids", Kind::Wholes),
    ("cross_sell_ids", Kind::Wholes),
    ("grouped_products", Kind::Wholes),
    ("parent_id", Kind::Whole),
    ("purchase_note", Kind::Text),
    ("categories", Kind::Objects),
    ("tags", Kind::Objects),
    ("images", Kind::Objects),
    ("attributes", Kind::Objects),
    ("default_attributes", Kind::Objects),
    ("menu_order", Kind::Whole),
    ("meta_data", Kind::Objects),
    ("post_password", Kind::Text),
];

pub const VARIATION_SCHEMA: Schema = &[
    ("description", Kind::Text),
    ("sku", Kind::Text),
    ("global_unique_id", Kind::Text),
    ("regular_price", Kind::Text),
    ("sale_price", Kind::Text),
    ("status", STATUSES),
    ("virtual", Kind::Flag),
    ("downloadable", Kind::Flag),
    ("tax_status", Kind::OneOf(&["taxable", "shipping", "none"])),
    ("tax_class", Kind::Text),
    ("manage_stock", Kind::FlagOr("parent")),
    ("stock_quantity", Kind::Whole),
    ("stock_status", Kind::OneOf(&["instock", "outofstock", "onbackorder"])),
    ("backorders", Kind::OneOf(&["no", "notify", "yes"])),
    ("low_stock_amount", Kind::Whole),
    ("weight", Kind::Text),
    ("dimensions", Kind::Object),
    ("shipping_class", Kind::Text),
    ("image", Kind::Object),
    ("attributes", Kind::Objects),
    ("menu_order", Kind::Whole),
    ("meta_data", Kind::Objects),
];

/// Members that are stored as given.
const PLAIN: &[&str] = &[
    "type",
    "status",
    "featured",
    "catalog_visibility",
    "virtual",
    "downloadable",
    "downloads",
    "download_limit",
    "download_expiry",
    "external_url",
    "button_text",
    "tax_status",
    "tax_class",
    "backorders",
    "low_stock_amount",
    "sold_individually",
    "weight",
    "shipping_class",
    "reviews_allowed",
    "upsell_ids",
    "cross_sell_ids",
    "purchase_note",
    "default_attributes",
    "grouped_products",
    "menu_order",
    "post_password",
];

/// A product with default values only.
fn blank() -> Result<Doc> {
    Ok(serde_json::from_str(include_str!("product.json"))?)
}

/// How strictly a request's members are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Against the schema.
    Strictly,
    /// As an item of a batch, which is coerced.
    Loosely,
}

impl Checked {
    pub fn apply(self, schema: Schema, params: &mut Doc) -> Result<()> {
        match self {
            Self::Strictly => check(schema, params),
            Self::Loosely => {
                coerce(schema, params);
                Ok(())
            }
        }
    }
}

/// Create a product. Return its id.
pub async fn create(tx: &mut Tx<'_>, mut params: Doc, checked: Checked) -> Result<i64> {
    checked.apply(SCHEMA, &mut params)?;
    let mut doc = blank()?;
    apply(tx, &mut doc, &params, None).await?;
    let id = tx.next("post").await?;
    let name = doc["name"].as_str().unwrap_or_default().to_owned();
    let asked_slug =
        params.get("slug").and_then(Value::as_str).filter(|slug| !slug.is_empty()).unwrap_or(&name).to_owned();
    let slug = free_slug(tx, &text::slug(&asked_slug), id).await?;
    doc.insert("slug".into(), slug.into());
    doc.insert("date_created_gmt".into(), tx.stamp().into());
    save(tx, id, &mut doc).await?;
    tx.events.push(Event::new("product", "created", id));
    Ok(id)
}

/// Change a product.
pub async fn update(tx: &mut Tx<'_>, id: i64, mut params: Doc, checked: Checked) -> Result<()> {
    checked.apply(SCHEMA, &mut params)?;
    let Some(mut doc) = tx.get(Table::Products, id).await?.filter(|doc| doc["type"] != "variation") else {
        return invalid_id(400, "product");
    };
    apply(tx, &mut doc, &params, Some(id)).await?;
    if let Some(slug) = params.get("slug").and_then(Value::as_str) {
        let slug = free_slug(tx, &text::slug(slug), id).await?;
        doc.insert("slug".into(), slug.into());
    }
    save(tx, id, &mut doc).await?;
    tx.events.push(Event::new("product", "updated", id));
    Ok(())
}

/// Create a variation of a product. Return its id.
pub async fn create_variation(tx: &mut Tx<'_>, parent: i64, mut params: Doc, checked: Checked) -> Result<i64> {
    checked.apply(VARIATION_SCHEMA, &mut params)?;
    let Some(product) = tx.get(Table::Products, parent).await? else {
        return refuse(
            404,
            "woocommerce_rest_product_variation_invalid_parent",
            "Cannot set attributes due to invalid parent product.",
        );
    };
    let mut doc = blank()?;
    for (name, value) in [("type", "variation"), ("tax_class", "parent")] {
        doc.insert(name.into(), value.into());
    }
    doc.insert("parent_id".into(), parent.into());
    doc.insert("categories".into(), json!([]));
    apply(tx, &mut doc, &params, None).await?;
    set_options(&mut doc, &params, &product);
    let id = tx.next("post").await?;
    doc.insert("date_created_gmt".into(), tx.stamp().into());
    save(tx, id, &mut doc).await?;
    tx.events.push(Event::new("product", "created", id));
    Ok(id)
}

/// Change a variation.
pub async fn update_variation(tx: &mut Tx<'_>, parent: i64, id: i64, mut params: Doc, checked: Checked) -> Result<()> {
    checked.apply(VARIATION_SCHEMA, &mut params)?;
    let (Some(product), Some(mut doc)) = (
        tx.get(Table::Products, parent).await?,
        tx.get(Table::Products, id).await?.filter(|doc| doc["parent_id"] == parent),
    ) else {
        return invalid_id(400, "product_variation");
    };
    apply(tx, &mut doc, &params, Some(id)).await?;
    set_options(&mut doc, &params, &product);
    save(tx, id, &mut doc).await?;
    tx.events.push(Event::new("product", "updated", id));
    Ok(())
}

/// Move a product to the trash, or delete it for good with its variations.
pub async fn delete(tx: &mut Tx<'_>, id: i64, force: bool) -> Result<()> {
    let Some(mut doc) = tx.get(Table::Products, id).await?.filter(|doc| doc["type"] != "variation") else {
        return invalid_id(404, "product");
    };
    let trashed = doc["status"] == "trash";
    if force {
        for variation in tx.ids(Table::Products, "parent_id = ?", &[json!(id)]).await? {
            tx.remove(Table::Products, variation).await?;
        }
        tx.remove(Table::Products, id).await?;
    } else if trashed {
        return refuse(410, "woocommerce_rest_already_trashed", "The product has already been deleted.");
    } else {
        let was = doc["status"].clone();
        let time = tx.now.timestamp().to_string();
        tx.merge_meta(
            &mut doc,
            &json!([{ "key": "_wp_trash_meta_status", "value": was }, { "key": "_wp_trash_meta_time", "value": time }]),
        )
        .await?;
        doc.insert("status".into(), "trash".into());
        tx.touch(&mut doc);
        tx.put(Table::Products, id, &doc).await?;
    }
    // If something in the trash is deleted for good, nobody is notified.
    if !trashed {
        tx.events.push(Event::new("product", "deleted", id));
    }
    Ok(())
}

/// Delete a variation. There is no trash for it, and no webhook is sent.
pub async fn delete_variation(tx: &mut Tx<'_>, parent: i64, id: i64) -> Result<()> {
    if tx.get(Table::Products, id).await?.is_none_or(|doc| doc["parent_id"] != parent) {
        return invalid_id(404, "product_variation");
    }
    tx.remove(Table::Products, id).await?;
    sync_parent(tx, parent).await
}

/// Take sold goods from the stock (or put them back if negative). This changes the date. Return the stock before
/// and after.
pub async fn sell(tx: &mut Tx<'_>, id: i64, quantity: i64) -> Result<Option<(i64, i64)>> {
    let Some(mut doc) = tx.get(Table::Products, id).await? else { return Ok(None) };
    if doc["manage_stock"] != true {
        return Ok(None);
    }
    let before = doc["stock_quantity"].as_i64().unwrap_or(0);
    doc.insert("stock_quantity".into(), (before - quantity).into());
    save(tx, id, &mut doc).await?;
    tx.events.push(Event::new("product", "updated", id));
    Ok(Some((before, before - quantity)))
}

/// Put the given members into the document, as far as the shop knows them.
async fn apply(tx: &mut Tx<'_>, doc: &mut Doc, params: &Doc, id: Option<i64>) -> Result<()> {
    for name in PLAIN {
        if let Some(value) = params.get(*name) {
            doc.insert((*name).into(), value.clone());
        }
    }
    if params.contains_key("tax_class") {
        let class = tax_classes::stored(tx, doc).await?;
        doc.insert("tax_class".into(), class.into());
    }
    for name in ["name", "description", "short_description"] {
        if let Some(value) = params.get(name) {
            doc.insert(name.into(), text::filtered(value.as_str().unwrap_or_default()).into());
        }
    }
    if doc["name"] == "" && doc["type"] != "variation" {
        doc.insert("name".into(), "Product".into());
    }
    let reduced = doc["sale_price"].as_str().unwrap_or_default().to_owned();
    for name in ["regular_price", "sale_price"] {
        if let Some(value) = params.get(name) {
            doc.insert(name.into(), text::price(value).into());
        }
    }
    let regular = doc["regular_price"].as_str().unwrap_or_default();
    let alone = params.contains_key("regular_price") && !params.contains_key("sale_price");
    if alone && !reduced.is_empty() && !regular.is_empty() && text::amount(regular) < text::amount(&reduced) {
        return refuse(400, "product_invalid_sale_price", "The sale price is above the regular price.");
    }
    for (name, stored) in [("date_on_sale_from", "date_on_sale_from_gmt"), ("date_on_sale_to", "date_on_sale_to_gmt")] {
        let gmt = params
            .get(stored)
            .map(text::plain)
            .map(|text| super::query::moment(&text).map_or(Value::Null, |(time, _)| super::db::stamp(time).into()));
        let local = params.get(name).map(|value| tx.site.utc(&text::plain(value)).map_or(Value::Null, Value::from));
        if let Some(value) = gmt.or(local) {
            doc.insert(stored.into(), value);
        }
    }
    if let Some(given) = params.get("dimensions").and_then(Value::as_object) {
        for (name, value) in given {
            doc["dimensions"][name] = text::plain(value).into();
        }
    }
    if let Some(sku) = params.get("sku") {
        let sku = text::plain(sku);
        claim_sku(tx, &sku, id).await?;
        doc.insert("sku".into(), sku.into());
    }
    if let Some(gtin) = params.get("global_unique_id") {
        claim_gtin(tx, doc, &text::plain(gtin), id).await?;
    }
    if let Some(managed) = params.get("manage_stock") {
        doc.insert("manage_stock".into(), managed.clone());
    }
    if let Some(status) = params.get("stock_status") {
        doc.insert("stock_status".into(), status.clone());
    }
    if doc["manage_stock"] == true {
        if let Some(quantity) = params.get("stock_quantity") {
            doc.insert("stock_quantity".into(), quantity.clone());
        }
    } else {
        doc.insert("stock_quantity".into(), Value::Null);
    }
    for (name, table) in [("categories", Table::Categories), ("tags", Table::Tags)] {
        if let Some(given) = params.get(name) {
            let terms = known_terms(tx, table, given).await?;
            doc.insert(name.into(), terms);
        }
    }
    if doc["type"] != "variation" && doc["categories"].as_array().is_none_or(Vec::is_empty) {
        doc.insert("categories".into(), json!([{ "id": 15 }]));
    }
    if let Some(given) = params.get("images") {
        let images = attach(tx, doc, given).await?;
        doc.insert("images".into(), images);
    }
    if let Some(image) = params.get("image") {
        let images = attach(tx, doc, &json!([image])).await?;
        doc.insert("images".into(), images);
    }
    if let Some(given) = params.get("attributes").filter(|_| doc["type"] != "variation") {
        let attributes = product_attributes(tx, given).await?;
        doc.insert("attributes".into(), attributes);
    }
    if let Some(given) = params.get("meta_data") {
        tx.merge_meta(doc, given).await?;
    }
    Ok(())
}

/// Calculate dependent members, change the date and store. A variation changes its product's date too.
async fn save(tx: &mut Tx<'_>, id: i64, doc: &mut Doc) -> Result<()> {
    let priced = |doc: &Doc, name: &str| doc[name].as_str().unwrap_or_default().to_owned();
    let (regular, sale) = (priced(doc, "regular_price"), priced(doc, "sale_price"));
    if !sale.is_empty() && text::amount(&sale) > text::amount(&regular) {
        doc.insert("sale_price".into(), "".into());
    }
    if doc["type"] != "variable" {
        let price = if on_sale(doc, &tx.stamp()) { priced(doc, "sale_price") } else { regular };
        doc.insert("price".into(), price.into());
    }
    if doc["manage_stock"] == true && !doc["stock_quantity"].is_null() {
        let status = match (doc["stock_quantity"].as_i64().unwrap_or(0) > 0, doc["backorders"] == "no") {
            (true, _) => "instock",
            (false, true) => "outofstock",
            (false, false) => "onbackorder",
        };
        doc.insert("stock_status".into(), status.into());
    }
    tx.touch(doc);
    tx.put(Table::Products, id, doc).await?;
    if doc["type"] == "variable" {
        return sync_parent(tx, id).await;
    }
    match doc["parent_id"].as_i64() {
        Some(parent) if doc["type"] == "variation" => sync_parent(tx, parent).await,
        _ => Ok(()),
    }
}

/// Derive price and stock of a variable product from its variations.
async fn sync_parent(tx: &mut Tx<'_>, id: i64) -> Result<()> {
    let Some(mut doc) = tx.get(Table::Products, id).await? else { return Ok(()) };
    let mut lowest: Option<(Decimal, String)> = None;
    let mut in_stock = false;
    for child in tx.ids(Table::Products, "parent_id = ? AND status = 'publish'", &[json!(id)]).await? {
        let Some(child) = tx.get(Table::Products, child).await? else { continue };
        let price = child["price"].as_str().unwrap_or_default();
        in_stock |= child["stock_status"] == "instock";
        let amount = text::amount(price);
        if !price.is_empty() && lowest.as_ref().is_none_or(|(least, _)| amount < *least) {
            lowest = Some((amount, price.to_owned()));
        }
    }
    doc.insert("price".into(), lowest.map(|(_, price)| price).unwrap_or_default().into());
    doc.insert("stock_status".into(), if in_stock { "instock" } else { "outofstock" }.into());
    tx.touch(&mut doc);
    tx.put(Table::Products, id, &doc).await
}

pub fn on_sale(doc: &Doc, now: &str) -> bool {
    let bound = |name: &str| doc.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    doc["sale_price"] != ""
        && bound("date_on_sale_from_gmt").is_none_or(|from| from <= now)
        && bound("date_on_sale_to_gmt").is_none_or(|to| now <= to)
}

/// Claim a SKU: only one object may have it, whatever its case. An object in the trash still holds its SKU, but
/// cannot be found by it.
async fn claim_sku(tx: &mut Tx<'_>, sku: &str, id: Option<i64>) -> Result<()> {
    if sku.is_empty() {
        return Ok(());
    }
    let key = sku.trim().to_ascii_lowercase();
    let condition = "sku_key = ? AND id <> ?";
    let Some(holder) = tx.ids(Table::Products, condition, &[json!(key), json!(id.unwrap_or(0))]).await?.pop() else {
        return Ok(());
    };
    if tx.get(Table::Products, holder).await?.is_some_and(|doc| doc["status"] == "trash") {
        return refuse(
            400,
            "woocommerce_rest_product_not_created",
            format!("The product with SKU ({sku}) you are trying to insert is already present in the lookup table"),
        );
    }
    let mut free = String::new();
    for n in 1.. {
        free = format!("{sku}-{n}");
        if tx.ids(Table::Products, "sku_key = ?", &[json!(free.to_ascii_lowercase())]).await?.is_empty() {
            break;
        }
    }
    Err(Refusal::new(400, "product_invalid_sku", "Invalid or duplicated SKU.")
        .with("resource_id", holder)
        .with("unique_sku", free)
        .into())
}

async fn claim_gtin(tx: &mut Tx<'_>, doc: &mut Doc, gtin: &str, id: Option<i64>) -> Result<()> {
    if !gtin.is_empty() {
        let condition = "gtin = ? AND id <> ? AND status <> 'trash'";
        if let Some(holder) = tx.ids(Table::Products, condition, &[json!(gtin), json!(id.unwrap_or(0))]).await?.pop() {
            return Err(Refusal::new(
                400,
                "product_invalid_global_unique_id",
                "Invalid or duplicated GTIN, UPC, EAN or ISBN.",
            )
            .with("resource_id", holder)
            .into());
        }
    }
    doc.insert("global_unique_id".into(), gtin.into());
    Ok(())
}

async fn free_slug(tx: &mut Tx<'_>, slug: &str, id: i64) -> Result<String> {
    let mut free = slug.to_owned();
    for n in 2.. {
        if tx.ids(Table::Products, "slug = ? AND id <> ?", &[json!(free), json!(id)]).await?.is_empty() {
            break;
        }
        free = format!("{slug}-{n}");
    }
    Ok(free)
}

/// Terms that exist. Unknown ids are ignored.
async fn known_terms(tx: &mut Tx<'_>, table: Table, given: &Value) -> Result<Value> {
    let mut known = Vec::new();
    for term in given.as_array().into_iter().flatten() {
        if let Ok(id) = text::plain(&term["id"]).parse::<i64>()
            && tx.get(table, id).await?.is_some()
            && !known.iter().any(|have: &Value| have["id"] == id)
        {
            known.push(json!({ "id": id }));
        }
    }
    Ok(known.into())
}

/// Images in the given order. An image whose `id` the product has is kept; each `src` becomes a new attachment,
/// even if it was sent before.
async fn attach(tx: &mut Tx<'_>, doc: &Doc, given: &Value) -> Result<Value> {
    let have = doc["images"].as_array().cloned().unwrap_or_default();
    let mut images = Vec::new();
    for image in given.as_array().into_iter().flatten() {
        let kept = image["id"].as_i64().and_then(|id| have.iter().find(|have| have["id"] == id));
        let mut stored = if let Some(kept) = kept {
            kept.clone()
        } else if let Some(source) = image["src"].as_str().filter(|source| !source.is_empty()) {
            if !source.starts_with("http://") && !source.starts_with("https://") {
                return refuse(
                    400,
                    "woocommerce_product_image_upload_error",
                    "Error getting remote image: A valid URL was not provided.",
                );
            }
            let id = tx.next("post").await?;
            let file = source.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).unwrap_or("image");
            json!({ "id": id, "date": tx.stamp(), "source": source, "name": file, "alt": "" })
        } else {
            continue;
        };
        for name in ["name", "alt"] {
            if let Some(value) = image.get(name) {
                stored[name] = value.clone();
            }
        }
        images.push(stored);
    }
    Ok(images.into())
}

async fn product_attributes(tx: &mut Tx<'_>, given: &Value) -> Result<Value> {
    let mut attributes = Vec::new();
    for attribute in given.as_array().into_iter().flatten() {
        let id = attribute["id"].as_i64().unwrap_or(0);
        let global = if id > 0 { tx.get(Table::Attributes, id).await? } else { None };
        // They are stored as one text, separated by `|`.
        let given: Vec<String> = match &attribute["options"] {
            Value::Array(options) => options.iter().map(text::plain).collect(),
            other => vec![text::plain(other)],
        };
        let options = given.iter().flat_map(|option| option.split('|')).map(str::trim);
        let mut options: Vec<String> = options.filter(|option| !option.is_empty()).map(str::to_owned).collect();
        let (name, slug) = match &global {
            Some(global) => {
                options.sort_unstable();
                (global["name"].clone(), global["slug"].clone())
            }
            None if id > 0 => continue,
            None => (attribute["name"].clone(), attribute["name"].clone()),
        };
        if name.as_str().is_none_or(str::is_empty) || options.is_empty() {
            continue;
        }
        attributes.push(json!({
            "id": id, "name": name, "slug": slug,
            "position": attribute["position"].as_i64().unwrap_or(0),
            "visible": attribute["visible"] == true,
            "variation": attribute["variation"] == true,
            "options": options
        }));
    }
    Ok(attributes.into())
}

/// Set a variation's options. Options of attributes by which its product does not vary are ignored.
fn set_options(doc: &mut Doc, params: &Doc, product: &Doc) {
    let Some(given) = params.get("attributes").and_then(Value::as_array) else { return };
    let mut options = Vec::new();
    for option in given {
        let found = product["attributes"].as_array().into_iter().flatten().find(|attribute| {
            attribute["variation"] == true
                && match option["id"].as_i64().filter(|id| *id > 0) {
                    Some(id) => attribute["id"] == id,
                    None => {
                        attribute["name"].as_str().map(str::to_lowercase)
                            == option["name"].as_str().map(str::to_lowercase)
                    }
                }
        });
        if let Some(attribute) = found {
            let slug = text::slug(attribute["slug"].as_str().unwrap_or_default());
            options.push(json!({ "id": attribute["id"], "name": attribute["name"], "slug": slug, "option": text::plain(&option["option"]) }));
        }
    }
    let name: Vec<&str> = options.iter().filter_map(|option| option["option"].as_str()).collect();
    doc.insert("name".into(), name.join(", ").into());
    doc.insert("attributes".into(), options.into());
}
