//! Categories, tags and product attributes.

use serde_json::{Value, json};

use super::{
    check::{Kind, Schema, require},
    db::{Doc, Table, Tx},
    product_view::links,
    products::Checked,
    query::Head,
    refusal::{Error, Refusal, Result, invalid_id, refuse},
    text,
};

const SCHEMA: Schema = &[
    ("name", Kind::Text),
    ("slug", Kind::Text),
    ("parent", Kind::Whole),
    ("description", Kind::Text),
    ("display", Kind::OneOf(&["default", "products", "subcategories", "both"])),
    ("image", Kind::Object),
    ("menu_order", Kind::Whole),
    ("type", Kind::OneOf(&["select"])),
    ("order_by", Kind::OneOf(&["menu_order", "name", "name_num", "id"])),
    ("has_archives", Kind::Flag),
];

pub async fn create(tx: &mut Tx<'_>, table: Table, mut params: Doc, checked: Checked) -> Result<i64> {
    checked.apply(SCHEMA, &mut params)?;
    require(&params, "name")?;
    let mut doc = match table {
        Table::Attributes => json!({ "type": "select", "order_by": "menu_order", "has_archives": false }),
        Table::Categories => json!({ "parent": 0, "description": "", "display": "default", "menu_order": 0 }),
        _ => json!({ "description": "" }),
    };
    let doc = doc.as_object_mut().map(std::mem::take).unwrap_or_default();
    let id = tx.next(if table == Table::Attributes { "attribute" } else { "term" }).await?;
    Term { table, id, doc }.write(tx, &params, true).await?;
    Ok(id)
}

pub async fn update(tx: &mut Tx<'_>, table: Table, id: i64, mut params: Doc, checked: Checked) -> Result<()> {
    checked.apply(SCHEMA, &mut params)?;
    let Some(doc) = tx.get(table, id).await? else { return missing(404) };
    Term { table, id, doc }.write(tx, &params, false).await
}

/// Delete a term. Terms have no trash.
pub async fn delete(tx: &mut Tx<'_>, table: Table, id: i64, force: bool) -> Result<()> {
    if tx.get(table, id).await?.is_none() {
        return missing(404);
    }
    if !force {
        return refuse(501, "woocommerce_rest_trash_not_supported", "Resource does not support trashing.");
    }
    if id == 15 && table == Table::Categories {
        return refuse(500, "woocommerce_rest_cannot_delete", "Default product category cannot be deleted.");
    }
    if table == Table::Categories {
        for child in tx.ids(table, "parent_id = ?", &[json!(id)]).await? {
            if let Some(mut doc) = tx.get(table, child).await? {
                doc.insert("parent".into(), 0.into());
                tx.put(table, child, &doc).await?;
            }
        }
    }
    tx.remove(table, id).await
}

fn missing<T>(status: u16) -> Result<T> {
    refuse(status, "woocommerce_rest_term_invalid", "Resource does not exist.")
}

/// A term before it is stored.
struct Term {
    table: Table,
    id: i64,
    doc: Doc,
}

impl Term {
    async fn write(mut self, tx: &mut Tx<'_>, params: &Doc, new: bool) -> Result<()> {
        let (table, id, doc) = (self.table, self.id, &mut self.doc);
        if let Some(parent) = params.get("parent").and_then(Value::as_i64).filter(|parent| *parent != 0)
            && tx.get(table, parent).await?.is_none()
        {
            return invalid_id(400, "product_cat");
        }
        for name in ["parent", "display", "menu_order", "type", "order_by", "has_archives"] {
            if let Some(value) = params.get(name) {
                doc.insert(name.into(), value.clone());
            }
        }
        for name in ["name", "description"] {
            if let Some(value) = params.get(name).and_then(Value::as_str) {
                let value = if table == Table::Attributes { value.to_owned() } else { text::filtered(value) };
                doc.insert(name.into(), value.into());
            }
        }
        let asked_slug = params.get("slug").and_then(Value::as_str).filter(|slug| !slug.is_empty());
        if new || asked_slug.is_some() {
            let slug = self.claim(tx, asked_slug).await?;
            self.doc.insert("slug".into(), slug.into());
        }
        tx.put(table, id, &self.doc).await
    }

    /// Choose its slug: the requested one, or else one made from its name. A name is unique below one parent, a
    /// slug in the whole table.
    async fn claim(&self, tx: &mut Tx<'_>, asked_slug: Option<&str>) -> Result<String> {
        let Self { table, id, doc } = self;
        let name = doc.get("name").and_then(Value::as_str).unwrap_or_default();
        let parent = doc.get("parent").and_then(Value::as_i64).unwrap_or(0);
        let slug = text::slug(asked_slug.unwrap_or(name));
        let slug = if *table == Table::Attributes { format!("pa_{slug}") } else { slug };
        let same_slug = tx.ids(*table, "slug = ? AND id <> ?", &[json!(slug), json!(id)]).await?.pop();
        if *table == Table::Attributes {
            return match same_slug {
                Some(_) => refuse(
                    400,
                    "woocommerce_rest_cannot_create",
                    format!("Slug \"{}\" is already in use. Change it, please.", slug.trim_start_matches("pa_")),
                ),
                None => Ok(slug),
            };
        }
        let exists = |message: &str, holder: i64| {
            Error::from(Refusal::new(400, "term_exists", message).with("resource_id", holder))
        };
        let condition = "lower(name) = ? AND parent_id = ? AND id <> ?";
        let same_name = tx.ids(*table, condition, &[json!(name.to_lowercase()), json!(parent), json!(id)]).await?.pop();
        match (same_name, same_slug, asked_slug) {
            (Some(holder), _, None) => {
                Err(exists("A term with the name provided already exists with this parent.", holder))
            }
            (_, Some(holder), Some(_)) => Err(exists("A term with the name and slug provided already exists.", holder)),
            (_, Some(_), None) => Ok(format!("{slug}-{id}")),
            (_, None, _) => Ok(slug),
        }
    }
}

pub async fn heads(tx: &mut Tx<'_>, table: Table, query: &Doc) -> Result<Vec<Head>> {
    let said = |name: &str| query.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let parent: Option<i64> = said("parent").parse().ok();
    let (slug, search) = (said("slug"), said("search").to_lowercase());
    let mut heads = Vec::new();
    for id in tx.ids(table, "1", &[]).await? {
        let Some(doc) = tx.get(table, id).await? else { continue };
        let name = doc["name"].as_str().unwrap_or_default().to_owned();
        if parent.is_none_or(|parent| doc["parent"] == parent)
            && (slug.is_empty() || doc["slug"] == slug.as_str())
            && (search.is_empty() || name.to_lowercase().contains(&search))
        {
            heads.push(Head { id, created: String::new(), modified: String::new(), name });
        }
    }
    Ok(heads)
}

pub async fn view(tx: &mut Tx<'_>, table: Table, id: i64, doc: &Doc) -> Result<Value> {
    let mut out = Doc::new();
    out.insert("id".into(), id.into());
    let members: &[&str] = match table {
        Table::Categories => &["name", "slug", "parent", "description", "display"],
        Table::Attributes => &["name", "slug", "type", "order_by", "has_archives"],
        _ => &["name", "slug", "description"],
    };
    for name in members {
        out.insert((*name).into(), doc.get(*name).cloned().unwrap_or_default());
    }
    if table == Table::Categories {
        out.insert("image".into(), Value::Null);
        out.insert("menu_order".into(), doc.get("menu_order").cloned().unwrap_or_default());
    }
    if table != Table::Attributes {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM products p, json_each(p.doc, CASE ? WHEN 'tags' THEN '$.tags' ELSE '$.categories' END) t \
             WHERE json_extract(t.value, '$.id') = ? AND p.status = 'publish'",
        )
        .bind(table.name())
        .bind(id)
        .fetch_one(&mut *tx.db)
        .await?;
        out.insert("count".into(), count.into());
    }
    out.insert("_links".into(), links(&tx.base, &format!("products/{}", table.name()), id));
    if let Some(parent) = doc.get("parent").and_then(Value::as_i64).filter(|parent| *parent != 0) {
        out["_links"]["up"] = json!([{ "href": format!("{}/wp-json/wc/v3/products/categories/{parent}", tx.base) }]);
    }
    Ok(out.into())
}
