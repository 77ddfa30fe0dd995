//! Reading products and variations. A listing shows texts with paragraphs added (`view`). The answer to a write,
//! and a reading with `context=edit`, show them as they are stored.

use serde_json::{Map, Value, json};

use super::{
    db::{Doc, Table, Tx},
    products::on_sale,
    query::Head,
    refusal::Result,
    text,
};

/// What the object is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    View,
    Edit,
}

/// Rows of a listing before paging: (status, sku) filter it, `parent` 0 lists products.
#[derive(Debug, Default)]
pub struct Narrow<'a> {
    pub status: Option<&'a str>,
    pub skus: Option<Vec<String>>,
    pub search: Option<&'a str>,
    pub kind: Option<&'a str>,
    pub category: Option<i64>,
    pub parent: i64,
}

pub async fn heads(tx: &mut Tx<'_>, narrow: &Narrow<'_>) -> Result<Vec<Head>> {
    // A search for SKUs finds variations as well.
    let rows: Vec<(i64, String, String, String, String)> = sqlx::query_as(
        "SELECT id, created, modified, name, sku_key FROM products \
         WHERE (?1 OR parent_id = ?2) AND (CASE ?3 WHEN 'any' THEN status <> 'trash' ELSE status = ?3 END) \
           AND (?4 = '' OR type = ?4) AND (?5 = '' OR name LIKE '%' || ?5 || '%' OR sku LIKE '%' || ?5 || '%') \
           AND (?6 = 0 OR id IN (SELECT product_id FROM product_categories WHERE category_id = ?6))",
    )
    .bind(narrow.skus.is_some())
    .bind(narrow.parent)
    .bind(narrow.status.unwrap_or("any"))
    .bind(narrow.kind.unwrap_or_default())
    .bind(narrow.search.unwrap_or_default())
    .bind(narrow.category.unwrap_or(0))
    .fetch_all(&mut *tx.db)
    .await?;
    Ok(rows
        .into_iter()
        .filter(|row| narrow.skus.as_ref().is_none_or(|skus| skus.contains(&row.4)))
        .map(|(id, created, modified, name, _)| Head { id, created, modified, name })
        .collect())
}

/// A product as the interface shows it. A variation that is found among products has the form of a product too.
pub async fn product(tx: &mut Tx<'_>, id: i64, doc: &Doc, context: Context) -> Result<Value> {
    let site = tx.site;
    let edit = context == Context::Edit;
    let get = |name: &str| doc.get(name).cloned().unwrap_or_default();
    let shown = |name: &str| {
        let stored = doc[name].as_str().unwrap_or_default();
        if edit { stored.to_owned() } else { text::paragraphs(stored) }
    };
    let base = tx.base.clone();
    let slug = doc["slug"].as_str().unwrap_or_default();
    let permalink = format!("{base}/product/{slug}/");
    let sale = on_sale(doc, &tx.stamp());
    let price = doc["price"].as_str().unwrap_or_default();
    let price_html = if price.is_empty() {
        String::new()
    } else {
        format!(
            "<span class=\"woocommerce-Price-amount amount\"><bdi><span class=\"woocommerce-Price-currencySymbol\">{}</span>{}</bdi></span>",
            if site.currency == "EUR" { "&euro;" } else { site.symbol() },
            text::money(text::amount(price))
        )
    };
    let categories = terms(tx, Table::Categories, &get("categories")).await?;
    let tags = terms(tx, Table::Tags, &get("tags")).await?;
    let variations = tx.ids(Table::Products, "parent_id = ? AND status <> 'trash'", &[json!(id)]).await?;
    let attributes = doc["attributes"].as_array().cloned().unwrap_or_default();
    let has_options = attributes.iter().any(|attribute| attribute["variation"] == true);
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.into(), value);
    };
    put("id", id.into());
    put("name", get("name"));
    put("slug", slug.into());
    put("permalink", permalink.into());
    for name in ["date_created", "date_modified"] {
        let gmt = get(&format!("{name}_gmt"));
        put(name, site.local(&gmt));
        put(&format!("{name}_gmt"), gmt);
    }
    for name in ["type", "status", "featured", "catalog_visibility"] {
        put(name, get(name));
    }
    put("description", shown("description").into());
    put("short_description", shown("short_description").into());
    for name in ["sku", "price", "regular_price", "sale_price"] {
        put(name, get(name));
    }
    for name in ["date_on_sale_from", "date_on_sale_to"] {
        let gmt = get(&format!("{name}_gmt"));
        put(name, site.local(&gmt));
        put(&format!("{name}_gmt"), gmt);
    }
    put("on_sale", sale.into());
    put("purchasable", (!price.is_empty() && doc["status"] == "publish" && doc["type"] != "variable").into());
    for name in [
        "total_sales",
        "virtual",
        "downloadable",
        "downloads",
        "download_limit",
        "download_expiry",
        "external_url",
        "button_text",
        "tax_status",
        "tax_class",
        "manage_stock",
        "stock_quantity",
        "backorders",
    ] {
        put(name, get(name));
    }
    put("backorders_allowed", (doc["backorders"] != "no").into());
    put("backordered", (doc["stock_status"] == "onbackorder").into());
    for name in ["low_stock_amount", "sold_individually", "weight", "dimensions"] {
        put(name, get(name));
    }
    put("shipping_required", (doc["virtual"] != true).into());
    put("shipping_taxable", (doc["virtual"] != true && doc["tax_status"] == "taxable").into());
    put("shipping_class", get("shipping_class"));
    put("shipping_class_id", 0.into());
    put("reviews_allowed", get("reviews_allowed"));
    put("average_rating", if edit { "0" } else { "0.00" }.into());
    put("rating_count", 0.into());
    for name in ["upsell_ids", "cross_sell_ids", "parent_id", "purchase_note"] {
        put(name, get(name));
    }
    put("categories", categories);
    put("brands", json!([]));
    put("tags", tags);
    put("images", images(tx, doc, &base));
    put("attributes", attributes.into());
    put("default_attributes", get("default_attributes"));
    put("variations", variations.into());
    for name in ["grouped_products", "menu_order"] {
        put(name, get(name));
    }
    put("price_html", price_html.into());
    put("related_ids", json!([]));
    for name in ["meta_data", "stock_status"] {
        put(name, get(name));
    }
    put("has_options", has_options.into());
    put("post_password", get("post_password"));
    put("global_unique_id", get("global_unique_id"));
    if edit {
        put("permalink_template", format!("{base}/product/%pagename%/").into());
        put("generated_slug", text::readable_slug(doc["name"].as_str().unwrap_or_default()).into());
    }
    put("_links", links(&base, "products", id));
    Ok(out.into())
}

/// A variation under its product.
pub fn variation(tx: &Tx<'_>, id: i64, doc: &Doc, product: &Doc) -> Value {
    let site = tx.site;
    let get = |name: &str| doc.get(name).cloned().unwrap_or_default();
    let parent = doc["parent_id"].as_i64().unwrap_or(0);
    let query: Vec<String> = doc["attributes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|option| {
            let value = option["option"].as_str().unwrap_or_default();
            let value = if option["id"] == 0 { value.to_owned() } else { text::slug(value) };
            format!("attribute_{}={value}", option["slug"].as_str().unwrap_or_default())
        })
        .collect();
    let permalink =
        format!("{}/product/{}/?{}", tx.base, product["slug"].as_str().unwrap_or_default(), query.join("&"));
    let image = match images(tx, doc, &tx.base) {
        Value::Array(mut images) if !images.is_empty() => images.swap_remove(0),
        _ => Value::Null,
    };
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.into(), value);
    };
    put("id", id.into());
    put("type", "variation".into());
    for name in ["date_created", "date_modified"] {
        let gmt = get(&format!("{name}_gmt"));
        put(name, site.local(&gmt));
        put(&format!("{name}_gmt"), gmt);
    }
    put("description", get("description"));
    put("permalink", permalink.into());
    put("sku", inherited(doc, product, "sku"));
    for name in ["global_unique_id", "price", "regular_price", "sale_price"] {
        put(name, get(name));
    }
    for name in ["date_on_sale_from", "date_on_sale_to"] {
        let gmt = get(&format!("{name}_gmt"));
        put(name, site.local(&gmt));
        put(&format!("{name}_gmt"), gmt);
    }
    put("on_sale", on_sale(doc, &tx.stamp()).into());
    put("status", get("status"));
    put("purchasable", (doc["price"] != "" && doc["status"] == "publish").into());
    for name in [
        "virtual",
        "downloadable",
        "downloads",
        "download_limit",
        "download_expiry",
        "tax_status",
        "tax_class",
        "manage_stock",
        "stock_quantity",
        "stock_status",
        "backorders",
    ] {
        put(name, get(name));
    }
    put("backorders_allowed", (doc["backorders"] != "no").into());
    put("backordered", (doc["stock_status"] == "onbackorder").into());
    put("weight", inherited(doc, product, "weight"));
    for name in ["low_stock_amount", "dimensions", "shipping_class"] {
        put(name, get(name));
    }
    put("shipping_class_id", 0.into());
    put("image", image);
    for name in ["attributes", "menu_order", "meta_data", "name"] {
        put(name, get(name));
    }
    put("parent_id", parent.into());
    let mut links = links(&tx.base, &format!("products/{parent}/variations"), id);
    links["up"] = json!([{ "href": format!("{}/wp-json/wc/v3/products/{parent}", tx.base) }]);
    put("_links", links);
    out.into()
}

/// The product's value of a member, if the variation has none.
pub fn inherited(doc: &Doc, product: &Doc, name: &str) -> Value {
    let own = doc.get(name).filter(|own| own.as_str().is_some_and(|own| !own.is_empty()));
    own.or_else(|| product.get(name)).cloned().unwrap_or_default()
}

async fn terms(tx: &mut Tx<'_>, table: Table, ids: &Value) -> Result<Value> {
    let mut shown = Vec::new();
    for id in ids.as_array().into_iter().flatten().filter_map(|term| term["id"].as_i64()) {
        if let Some(term) = tx.get(table, id).await? {
            shown.push(json!({ "id": id, "name": term["name"], "slug": term["slug"] }));
        }
    }
    Ok(shown.into())
}

/// Images show the address of the shop's copy, never their origin.
fn images(tx: &Tx<'_>, doc: &Doc, base: &str) -> Value {
    let shown = doc["images"].as_array().into_iter().flatten().map(|image| {
        let (date, name) = (&image["date"], image["name"].as_str().unwrap_or_default());
        let local = tx.site.local(date);
        let month = date.as_str().and_then(|date| date.get(..7)).unwrap_or_default().replace('-', "/");
        json!({
            "id": image["id"], "date_created": local, "date_created_gmt": date, "date_modified": local,
            "date_modified_gmt": date, "src": format!("{base}/wp-content/uploads/{month}/{name}"), "name": name,
            "alt": image["alt"]
        })
    });
    shown.collect()
}

pub fn links(base: &str, collection: &str, id: i64) -> Value {
    let collection = format!("{base}/wp-json/wc/v3/{collection}");
    json!({
        "self": [{
            "href": format!("{collection}/{id}"),
            "targetHints": { "allow": ["GET", "POST", "PUT", "PATCH", "DELETE"] }
        }],
        "collection": [{ "href": collection }]
    })
}
