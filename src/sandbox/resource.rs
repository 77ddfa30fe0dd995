//! The collections of the interface, and the operations on their objects.

use serde_json::{Value, json};

use super::{
    check::{Kind, Schema, check},
    customers,
    db::{Doc, Table, Tx},
    order_view, orders,
    product_view::{self, Context, Narrow},
    products::{self, Checked},
    query::{Head, Listing},
    refusal::{Result, invalid_id, refuse},
    terms, webhooks,
};

/// A collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Products,
    /// Variations of this product.
    Variations(i64),
    Terms(Table),
    Customers,
    Orders,
    Webhooks,
}

impl Resource {
    fn table(self) -> Table {
        match self {
            Self::Products | Self::Variations(_) => Table::Products,
            Self::Terms(table) => table,
            Self::Customers => Table::Customers,
            Self::Orders => Table::Orders,
            Self::Webhooks => Table::Webhooks,
        }
    }

    pub async fn create(self, tx: &mut Tx<'_>, params: Doc, checked: Checked) -> Result<i64> {
        match self {
            Self::Products => products::create(tx, params, checked).await,
            Self::Variations(parent) => products::create_variation(tx, parent, params, checked).await,
            Self::Terms(table) => terms::create(tx, table, params, checked).await,
            Self::Customers => customers::create(tx, params, checked).await,
            Self::Orders => orders::create(tx, params, checked, "rest-api").await,
            Self::Webhooks => webhooks::create(tx, params, checked).await,
        }
    }

    pub async fn update(self, tx: &mut Tx<'_>, id: i64, params: Doc, checked: Checked) -> Result<()> {
        match self {
            Self::Products => products::update(tx, id, params, checked).await,
            Self::Variations(parent) => products::update_variation(tx, parent, id, params, checked).await,
            Self::Terms(table) => terms::update(tx, table, id, params, checked).await,
            Self::Customers => customers::update(tx, id, params, checked).await,
            Self::Orders => orders::update(tx, id, params, checked).await,
            Self::Webhooks => webhooks::update(tx, id, params, checked).await,
        }
    }

    /// Delete an object. Return the object as it was.
    pub async fn delete(self, tx: &mut Tx<'_>, id: i64, force: bool) -> Result<Value> {
        let before = self.view(tx, id, Context::Edit).await?;
        match self {
            Self::Products => products::delete(tx, id, force).await?,
            Self::Variations(parent) => products::delete_variation(tx, parent, id).await?,
            Self::Terms(table) => terms::delete(tx, table, id, force).await?,
            Self::Customers => customers::delete(tx, id, force).await?,
            Self::Orders => orders::delete(tx, id, force).await?,
            Self::Webhooks => webhooks::delete(tx, id, force).await?,
        }
        Ok(before.unwrap_or_default())
    }

    /// The object as this collection shows it. Products do not include variations.
    pub async fn view(self, tx: &mut Tx<'_>, id: i64, context: Context) -> Result<Option<Value>> {
        let belongs = match (self, tx.get(self.table(), id).await?) {
            (_, None) => false,
            (Self::Products, Some(doc)) => doc["type"] != "variation",
            (Self::Variations(parent), Some(doc)) => doc["parent_id"] == parent && doc["type"] == "variation",
            _ => true,
        };
        if belongs { self.view_any(tx, id, context).await } else { Ok(None) }
    }

    /// Like [`Self::view`], but products include variations, as in a search by SKU.
    pub async fn view_any(self, tx: &mut Tx<'_>, id: i64, context: Context) -> Result<Option<Value>> {
        let Some(doc) = tx.get(self.table(), id).await? else { return Ok(None) };
        Ok(Some(match self {
            Self::Products => product_view::product(tx, id, &doc, context).await?,
            Self::Variations(parent) => {
                let product = tx.get(Table::Products, parent).await?.unwrap_or_default();
                product_view::variation(tx, id, &doc, &product)
            }
            Self::Terms(table) => terms::view(tx, table, id, &doc).await?,
            Self::Customers => customers::view(tx, id, &doc),
            Self::Orders => order_view::order(tx, id, &doc).await?,
            Self::Webhooks => webhooks::view(tx, id, &doc),
        }))
    }

    /// Refuse an id that belongs to nothing in this collection.
    pub fn unknown<T>(self, status: u16) -> Result<T> {
        match self {
            Self::Products => invalid_id(status, "product"),
            Self::Variations(_) => invalid_id(status, "product_variation"),
            Self::Terms(_) => refuse(status, "woocommerce_rest_term_invalid", "Resource does not exist."),
            Self::Customers => refuse(status, "woocommerce_rest_invalid_id", "Invalid resource ID."),
            Self::Orders => invalid_id(status, "shop_order"),
            Self::Webhooks => invalid_id(status, "shop_webhook"),
        }
    }

    /// Ids of the page that a listing asks for, and the total.
    pub async fn list(self, tx: &mut Tx<'_>, query: &mut Doc) -> Result<(Listing, Vec<i64>, usize)> {
        let site = tx.site;
        let (order_by, descending) = match self {
            Self::Terms(_) | Self::Customers => ("name", false),
            _ => ("date", true),
        };
        check(self.orders(), query)?;
        let mut listing = Listing::new(query, site, order_by, descending)?;
        let said = |name: &str| query.get(name).and_then(Value::as_str).unwrap_or_default();
        let heads = match self {
            Self::Products | Self::Variations(_) => {
                let skus = said("sku");
                let skus = (!skus.is_empty())
                    .then(|| skus.split(',').map(|sku| sku.trim().to_ascii_lowercase()).collect::<Vec<_>>());
                let narrow = Narrow {
                    status: Some(said("status")).filter(|status| !status.is_empty()),
                    skus,
                    search: Some(said("search")),
                    kind: Some(said("type")),
                    category: said("category").parse().ok(),
                    parent: if let Self::Variations(parent) = self { parent } else { 0 },
                };
                let mut heads = product_view::heads(tx, &narrow).await?;
                if let Self::Variations(parent) = self {
                    let children = tx.ids(Table::Products, "parent_id = ?", &[json!(parent)]).await?;
                    heads.retain(|head| children.contains(&head.id));
                }
                heads
            }
            Self::Terms(table) => terms::heads(tx, table, query).await?,
            Self::Customers => {
                listing = listing.without_dates();
                let role = Some(said("role")).filter(|role| !role.is_empty()).unwrap_or("customer");
                customers::heads(tx, role, Some(said("email")), said("search")).await?
            }
            Self::Orders => {
                let statuses = match query.get("status") {
                    Some(Value::Array(statuses)) => {
                        statuses.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                    }
                    Some(Value::String(statuses)) => statuses.split(',').map(str::to_owned).collect(),
                    _ => Vec::new(),
                };
                order_view::heads(tx, &statuses, said("customer").parse().ok()).await?
            }
            Self::Webhooks => self.all(tx).await?,
        };
        let (ids, total) = listing.page(heads, site);
        Ok((listing, ids, total))
    }

    /// The orders that a listing can have.
    fn orders(self) -> Schema {
        match self {
            Self::Products | Self::Variations(_) => &[(
                "orderby",
                Kind::OneOf(&[
                    "date",
                    "id",
                    "include",
                    "title",
                    "slug",
                    "price",
                    "popularity",
                    "rating",
                    "menu_order",
                    "modified",
                ]),
            )],
            Self::Terms(_) => &[(
                "orderby",
                Kind::OneOf(&["id", "include", "name", "slug", "term_group", "description", "count", "menu_order"]),
            )],
            Self::Customers => &[("orderby", Kind::OneOf(&["id", "include", "name", "registered_date"]))],
            Self::Orders => &[("orderby", Kind::OneOf(&["date", "modified", "id", "include", "title", "slug"]))],
            Self::Webhooks => &[("orderby", Kind::OneOf(&["date", "id", "title"]))],
        }
    }

    async fn all(self, tx: &mut Tx<'_>) -> Result<Vec<Head>> {
        let blank = |id| Head { id, created: String::new(), modified: String::new(), name: String::new() };
        Ok(tx.ids(self.table(), "1", &[]).await?.into_iter().map(blank).collect())
    }
}
