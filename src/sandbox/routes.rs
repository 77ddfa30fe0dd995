//! Routes an address and a method to an action, and makes the answer's body and headers.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    auth::encode,
    batch,
    check::{Kind, Schema, check, require},
    db::{Doc, Table, Tx},
    order_view, orders,
    product_view::Context,
    products::Checked,
    query::only_fields,
    refunds,
    refusal::{Error, Result, invalid_id, refuse},
    resource::Resource,
    tax_classes,
};

/// The parts of a request.
#[derive(Debug)]
pub struct Call {
    pub method: Method,
    /// Path after `/wp-json/wc/v3`.
    pub path: String,
    /// Members of query and body. If both have one, the body's counts.
    pub params: Doc,
    /// Pairs of the query as written, without the page, for links.
    pub query: Vec<(String, String)>,
    /// Whether a batch dies after half of its items.
    pub half: bool,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub body: Value,
    pub headers: Vec<(&'static str, String)>,
}

impl Reply {
    fn of(status: StatusCode, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }

    fn ok(body: Value) -> Self {
        Self::of(StatusCode::OK, body)
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer to a refused request.
    pub fn refused(error: &Error) -> Self {
        match error {
            Error::Refused(refusal) => Self::of(refusal.status, refusal.body()),
            other => Self::of(
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({ "code": "internal_server_error", "message": other.to_string(), "data": { "status": 500 } }),
            ),
        }
    }
}

const COLLECTION: &str = "GET, POST";
const ITEM: &str = "GET, POST, PUT, PATCH, DELETE";
const BATCH: &str = "POST, PUT, PATCH";

/// The methods that an address knows; absent if the address does not exist.
pub fn allowed(path: &str) -> Option<&'static str> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["data", "currencies", "current"] => Some("GET"),
        ["taxes", "classes"] => Some(COLLECTION),
        ["taxes", "classes", _] => Some("GET, DELETE"),
        ["orders", id, "notes" | "refunds"] if is_id(id) => Some(COLLECTION),
        ["orders", id, "notes" | "refunds", child] if is_id(id) && is_id(child) => Some("GET, DELETE"),
        segments => match place(segments)? {
            (_, Place::Collection) => Some(COLLECTION),
            (_, Place::Batch) => Some(BATCH),
            (_, Place::Item(_)) => Some(ITEM),
        },
    }
}

enum Place {
    Collection,
    Batch,
    Item(i64),
}

fn is_id(segment: &str) -> bool {
    segment.parse::<i64>().is_ok_and(|id| id >= 0)
}

fn place(segments: &[&str]) -> Option<(Resource, Place)> {
    let (resource, rest) = match segments {
        ["products", "categories", rest @ ..] => (Resource::Terms(Table::Categories), rest),
        ["products", "tags", rest @ ..] => (Resource::Terms(Table::Tags), rest),
        ["products", "attributes", rest @ ..] => (Resource::Terms(Table::Attributes), rest),
        ["products", parent, "variations", rest @ ..] => (Resource::Variations(parent.parse().ok()?), rest),
        ["products", rest @ ..] => (Resource::Products, rest),
        ["customers", rest @ ..] => (Resource::Customers, rest),
        ["orders", rest @ ..] => (Resource::Orders, rest),
        ["webhooks", rest @ ..] => (Resource::Webhooks, rest),
        _ => return None,
    };
    let place = match rest {
        [] => Place::Collection,
        ["batch"] => Place::Batch,
        [id] => Place::Item(id.parse().ok().filter(|id| *id >= 0)?),
        _ => return None,
    };
    Some((resource, place))
}

fn no_route<T>() -> Result<T> {
    refuse(404, "rest_no_route", "No route was found matching the URL and request method.")
}

/// The currency of the shop's prices.
fn currency(tx: &Tx<'_>) -> Value {
    let (site, all) = (tx.site, format!("{}/wp-json/wc/v3/data/currencies", tx.base));
    let (name, symbol) = match site.currency.as_str() {
        "EUR" => ("Euro", "&euro;"),
        "GBP" => ("Pound sterling", "&pound;"),
        "USD" => ("United States (US) dollar", "&#36;"),
        other => (other, other),
    };
    let own = format!("{all}/{}", site.currency);
    let links = json!({ "self": [{ "href": own }], "collection": [{ "href": all }] });
    json!({ "code": site.currency, "name": name, "symbol": symbol, "_links": links })
}

/// Do what a request asks.
pub async fn dispatch(tx: &mut Tx<'_>, call: Call) -> Result<Reply> {
    let path = call.path.trim_matches('/').to_owned();
    let segments: Vec<&str> = path.split('/').collect();
    if let Some(places) = call.params.get("dp").map(super::text::plain).and_then(|places| places.parse().ok()) {
        tx.places = u32::min(places, 10);
    }
    let force = call.params.get("force").is_some_and(|force| force == true || force == "true" || force == "1");
    if segments == ["data", "currencies", "current"] {
        return if call.method == Method::GET { Ok(Reply::ok(currency(tx))) } else { no_route() };
    }
    if let ["taxes", "classes", slug @ ..] = segments.as_slice() {
        return match (slug, call.method.clone()) {
            ([], Method::GET) => Ok(Reply::ok(tax_classes::list(tx).await?)),
            ([], Method::POST) => {
                let (slug, made) = tax_classes::create(tx, call.params).await?;
                let location = format!("{}/wp-json/wc/v3/taxes/classes/{slug}", tx.base);
                Ok(Reply::of(StatusCode::CREATED, made).with("Location", location))
            }
            ([slug], Method::GET) => Ok(Reply::ok(tax_classes::one(tx, slug).await?)),
            ([slug], Method::DELETE) => Ok(Reply::ok(tax_classes::delete(tx, slug, force).await?)),
            _ => no_route(),
        };
    }
    if let ["orders", order, child @ ("notes" | "refunds"), rest @ ..] = segments.as_slice() {
        let (Ok(order), [] | [_]) = (order.parse(), rest) else { return no_route() };
        let item = rest.first().map(|id| id.parse::<i64>()).transpose();
        return match item {
            Ok(item) => children(tx, call, order, child, item).await,
            Err(_) => no_route(),
        };
    }
    let Some((resource, place)) = place(&segments) else { return no_route() };
    let writing = matches!(call.method, Method::POST | Method::PUT | Method::PATCH);
    match place {
        Place::Batch if writing => {
            let items: usize = ["create", "update", "delete"]
                .iter()
                .filter_map(|op| call.params.get(*op).and_then(Value::as_array).map(Vec::len))
                .sum();
            let body = batch::run(tx, resource, &call.params, call.half.then_some(items / 2)).await?;
            Ok(Reply::ok(body))
        }
        Place::Collection if call.method == Method::GET => list(tx, resource, call, &path).await,
        Place::Collection if call.method == Method::POST => {
            let id = resource.create(tx, call.params, Checked::Strictly).await?;
            let body = resource.view(tx, id, Context::Edit).await?.unwrap_or_default();
            // The real shop forgets to put the product into a variation's address.
            let path = if matches!(resource, Resource::Variations(_)) {
                "products/(?P<product_id>[\\d]+)/variations".to_owned()
            } else {
                path
            };
            let location = format!("{}/wp-json/wc/v3/{path}/{id}", tx.base);
            Ok(Reply::of(StatusCode::CREATED, body).with("Location", location))
        }
        Place::Item(id) if call.method == Method::GET => {
            let context = context(&call.params);
            let Some(mut body) = resource.view(tx, id, context).await? else { return resource.unknown(404) };
            if let Some(fields) = call.params.get("_fields").and_then(Value::as_str) {
                only_fields(&mut body, fields);
            }
            Ok(Reply::ok(body))
        }
        Place::Item(id) if writing => {
            if resource.view(tx, id, Context::Edit).await?.is_none() {
                return resource.unknown(if matches!(resource, Resource::Terms(_)) { 404 } else { 400 });
            }
            resource.update(tx, id, call.params, Checked::Strictly).await?;
            Ok(Reply::ok(resource.view(tx, id, Context::Edit).await?.unwrap_or_default()))
        }
        Place::Item(id) if call.method == Method::DELETE => {
            if resource.view(tx, id, Context::Edit).await?.is_none() {
                return resource.unknown(if resource == Resource::Customers { 400 } else { 404 });
            }
            Ok(Reply::ok(resource.delete(tx, id, force).await?))
        }
        _ => no_route(),
    }
}

fn context(params: &Doc) -> Context {
    if params.get("context") == Some(&json!("edit")) { Context::Edit } else { Context::View }
}

async fn list(tx: &mut Tx<'_>, resource: Resource, mut call: Call, path: &str) -> Result<Reply> {
    if let Resource::Variations(parent) = resource
        && tx.get(Table::Products, parent).await?.is_none()
    {
        return invalid_id(404, "product_variation");
    }
    let context = context(&call.params);
    let (listing, ids, total) = resource.list(tx, &mut call.params).await?;
    let fields = call.params.get("_fields").and_then(Value::as_str);
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(mut row) = resource.view_any(tx, id, context).await? {
            if let Some(fields) = fields {
                only_fields(&mut row, fields);
            }
            rows.push(row);
        }
    }
    let pages = total.div_ceil(listing.per_page);
    let mut reply =
        Reply::ok(rows.into()).with("X-WP-Total", total.to_string()).with("X-WP-TotalPages", pages.to_string());
    let query: Vec<String> =
        call.query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let link = |page: usize, rel: &str| {
        let mut query = query.clone();
        query.push(format!("page={page}"));
        format!("<{}/wp-json/wc/v3/{path}?{}>; rel=\"{rel}\"", tx.base, query.join("&"))
    };
    let mut links = Vec::new();
    if listing.page > 1 {
        links.push(link((listing.page - 1).min(pages.max(1)), "prev"));
    }
    if listing.page < pages {
        links.push(link(listing.page + 1, "next"));
    }
    if !links.is_empty() {
        reply = reply.with("Link", links.join(", "));
    }
    Ok(reply)
}

const NOTE: Schema = &[("note", Kind::Text), ("customer_note", Kind::Flag), ("added_by_user", Kind::Flag)];

/// Handle notes and refunds below an order.
async fn children(tx: &mut Tx<'_>, mut call: Call, order: i64, kind: &str, item: Option<i64>) -> Result<Reply> {
    if tx.get(Table::Orders, order).await?.is_none() {
        return if kind == "notes" {
            refuse(404, "woocommerce_rest_order_invalid_id", "Invalid order ID.")
        } else {
            invalid_id(404, "shop_order")
        };
    }
    let table = if kind == "notes" { Table::Notes } else { Table::Refunds };
    let show = |tx: &Tx<'_>, id: i64, doc: &Doc| match table {
        Table::Notes => order_view::note(tx, id, doc),
        _ => order_view::refund(tx, id, doc),
    };
    let Some(id) = item else {
        if call.method == Method::GET {
            let asked = call.params.get("type").and_then(Value::as_str).unwrap_or("any").to_owned();
            let mut rows = Vec::new();
            for id in tx.ids(table, "order_id = ?", &[json!(order)]).await?.into_iter().rev() {
                let Some(doc) = tx.get(table, id).await? else { continue };
                let for_customer = doc.get("customer_note") == Some(&json!(true));
                if matches!(asked.as_str(), "any") || (asked == "customer") == for_customer {
                    rows.push(show(tx, id, &doc));
                }
            }
            return Ok(Reply::ok(rows.into()));
        }
        if call.method != Method::POST {
            return no_route();
        }
        let (id, path) = if table == Table::Notes {
            check(NOTE, &mut call.params)?;
            require(&call.params, "note")?;
            let text = call.params["note"].as_str().unwrap_or_default().to_owned();
            let customer = call.params.get("customer_note") == Some(&json!(true));
            let author = if call.params.get("added_by_user") == Some(&json!(true)) { "admin" } else { "WooCommerce" };
            (orders::note(tx, order, &text, customer, author).await?, format!("orders/{order}/notes"))
        } else {
            let id = refunds::create(tx, order, call.params).await?;
            (id, "orders/(?P<order_id>[\\d]+)/refunds".into())
        };
        let doc = tx.get(table, id).await?.unwrap_or_default();
        let location = format!("{}/wp-json/wc/v3/{path}/{id}", tx.base);
        return Ok(Reply::of(StatusCode::CREATED, show(tx, id, &doc)).with("Location", location));
    };
    let Some(doc) = tx.get(table, id).await?.filter(|doc| doc["order_id"] == order) else {
        return invalid_id(404, if kind == "notes" { "order_note" } else { "shop_order_refund" });
    };
    let body = show(tx, id, &doc);
    match call.method {
        Method::GET => Ok(Reply::ok(body)),
        Method::DELETE if call.params.get("force").is_none_or(|force| force != true && force != "true") => {
            refuse(501, "woocommerce_rest_trash_not_supported", "Webhooks do not support trashing.")
        }
        // Deleting a refund does not change the order's date.
        Method::DELETE => {
            tx.remove(table, id).await?;
            Ok(Reply::ok(body))
        }
        _ => no_route(),
    }
}
