//! A model ERP and a model shop: in memory, with the habits of real ones. Ids are counted, dates have whole seconds and
//! move on every write, the shop alters names silently, the ERP accepts the same order twice.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    pub sku: String,
    pub name: String,
    pub price: String,
    pub stock: i64,
    pub active: bool,
    pub updated: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The shop's number; the ERP keeps it as its reference.
    pub number: String,
    pub email: String,
    pub lines: Vec<(String, i64, String)>,
    pub total: String,
    pub status: String,
    pub updated: i64,
}

/// One side. Both models have the same tables; they differ in what their requests mean.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub products: BTreeMap<u64, Product>,
    pub orders: BTreeMap<u64, Order>,
    pub next: u64,
    /// Requests that wrote something, even the same again.
    pub writes: u64,
}

pub struct Answer {
    pub status: u16,
    pub body: Value,
}

fn answer(status: u16, body: Value) -> Answer {
    Answer { status, body }
}

/// A request as the models see it.
pub struct Call<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: BTreeMap<String, String>,
    pub body: Value,
    pub now: DateTime<Utc>,
    /// Only so many items of a batch are carried out before the model breaks down.
    pub only: Option<usize>,
}

impl Call<'_> {
    fn number(&self, name: &str) -> Option<i64> {
        self.query.get(name)?.parse().ok()
    }

    fn since(&self) -> i64 {
        self.query
            .get("since")
            .and_then(|text| text.parse::<DateTime<Utc>>().ok())
            .map_or(i64::MIN, |time| time.timestamp())
    }
}

impl Model {
    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn product(&self, sku: &str) -> Vec<(u64, &Product)> {
        self.products.iter().filter(|(_, product)| product.sku == sku).map(|(id, product)| (*id, product)).collect()
    }

    pub fn add_product(&mut self, product: Product) -> u64 {
        let id = self.id();
        self.products.insert(id, product);
        id
    }

    pub fn add_order(&mut self, order: Order) -> u64 {
        let id = self.id();
        self.orders.insert(id, order);
        id
    }

    /// Whole pages in order of id.
    fn page<T>(
        rows: &BTreeMap<u64, T>,
        call: &Call<'_>,
        keep: impl Fn(&T) -> bool,
        show: impl Fn(u64, &T) -> Value,
    ) -> Answer {
        let kept: Vec<(u64, &T)> = rows.iter().filter(|(_, row)| keep(row)).map(|(id, row)| (*id, row)).collect();
        let total = kept.len();
        let after = u64::try_from(call.number("after").unwrap_or(0)).unwrap();
        let limit = usize::try_from(call.number("limit").unwrap_or(100)).unwrap();
        let rows: Vec<Value> =
            kept.into_iter().filter(|(id, _)| *id > after).take(limit).map(|(id, row)| show(id, row)).collect();
        answer(200, json!({"total": total, "rows": rows}))
    }

    pub fn list(&self, call: &Call<'_>) -> Answer {
        let since = call.since();
        match call.path {
            "/products" => Self::page(
                &self.products,
                call,
                |product| product.updated >= since && call.query.get("sku").is_none_or(|sku| *sku == product.sku),
                show_product,
            ),
            "/stock" => Self::page(
                &self.products,
                call,
                |_| true,
                |id, product| json!({"id": id, "sku": product.sku, "stock": product.stock}),
            ),
            "/orders" => Self::page(
                &self.orders,
                call,
                |order| order.updated >= since && call.query.get("number").is_none_or(|number| *number == order.number),
                show_order,
            ),
            _ => answer(404, json!({"error": "no such list"})),
        }
    }

    /// `POST /products/batch`, with a result per item.
    pub fn products_batch(&mut self, call: &Call<'_>) -> Answer {
        let mut results = json!({"create": [], "update": []});
        let mut left = call.only.unwrap_or(usize::MAX);
        for op in ["create", "update"] {
            for item in call.body[op].as_array().cloned().unwrap_or_default() {
                if left == 0 {
                    return answer(500, json!({"error": "broke down in the middle"}));
                }
                left -= 1;
                let result = self.product_item(op, &item, call.now);
                results[op].as_array_mut().unwrap().push(result);
            }
        }
        answer(200, results)
    }

    fn product_item(&mut self, op: &str, item: &Value, now: DateTime<Utc>) -> Value {
        self.writes += 1;
        let id = if op == "create" {
            let sku = item["sku"].as_str().unwrap_or_default().to_owned();
            if !self.product(&sku).is_empty() {
                return json!({"error": {"code": "duplicate"}});
            }
            self.add_product(Product {
                sku,
                name: String::new(),
                price: "0".into(),
                stock: 0,
                active: true,
                updated: 0,
            })
        } else {
            item["id"].as_u64().or_else(|| item["id"].as_str()?.parse().ok()).unwrap_or(0)
        };
        let Some(product) = self.products.get_mut(&id) else { return json!({"error": {"code": "gone"}}) };
        if let Some(name) = item["name"].as_str() {
            name.trim().replace('&', "&amp;").clone_into(&mut product.name);
        }
        if let Some(price) = item["price"].as_str() {
            price.clone_into(&mut product.price);
        }
        if let Some(active) = item["active"].as_bool() {
            product.active = active;
        }
        product.updated = now.timestamp();
        show_product(id, product)
    }

    /// `POST /stock/batch`: no result per item, and a stop at the first bad one.
    pub fn stock_batch(&mut self, call: &Call<'_>) -> Answer {
        for (index, item) in call.body["items"].as_array().cloned().unwrap_or_default().iter().enumerate() {
            if call.only.is_some_and(|only| index >= only) {
                return answer(500, json!({"error": "broke down in the middle"}));
            }
            let id = item["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(0);
            let Some(product) = self.products.get_mut(&id) else {
                return answer(400, json!({"error": "no such product"}));
            };
            product.stock = item["stock"].as_i64().unwrap_or(0);
            product.updated = call.now.timestamp();
            self.writes += 1;
        }
        answer(200, json!({"ok": true}))
    }

    /// `POST /orders`: the ERP takes the same reference as often as it is sent.
    pub fn order_create(&mut self, call: &Call<'_>) -> Answer {
        self.writes += 1;
        let lines = call.body["lines"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let order = Order {
            number: text(&call.body["number"]),
            email: text(&call.body["email"]),
            lines: lines
                .iter()
                .map(|line| (text(&line["sku"]), line["quantity"].as_i64().unwrap_or(0), text(&line["price"])))
                .collect(),
            total: text(&call.body["total"]),
            status: "draft".into(),
            updated: call.now.timestamp(),
        };
        let id = self.add_order(order);
        answer(201, json!({"id": id}))
    }

    pub fn order_status(&mut self, id: u64, status: &str, now: DateTime<Utc>) -> Answer {
        self.writes += 1;
        let Some(order) = self.orders.get_mut(&id) else { return answer(404, json!({"error": "no such order"})) };
        status.clone_into(&mut order.status);
        order.updated = now.timestamp();
        answer(200, show_order(id, order))
    }

    pub fn product_delete(&mut self, id: u64) -> Answer {
        self.writes += 1;
        match self.products.remove(&id) {
            Some(_) => answer(200, json!({})),
            None => answer(404, json!({"error": "no such product"})),
        }
    }

    pub fn handle(&mut self, call: &Call<'_>) -> Answer {
        let pieces: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        match (call.method, pieces.as_slice()) {
            ("GET", ["products" | "orders" | "stock"]) => self.list(call),
            ("POST", ["products", "batch"]) => self.products_batch(call),
            ("POST", ["stock", "batch"]) => self.stock_batch(call),
            ("DELETE", ["products", id]) => self.product_delete(id.parse().unwrap_or(0)),
            ("POST", ["orders"]) => self.order_create(call),
            ("POST", ["orders", id, "confirm"]) => self.order_status(id.parse().unwrap_or(0), "confirmed", call.now),
            ("PUT", ["orders", id]) => {
                let status = call.body["status"].as_str().unwrap_or_default().to_owned();
                self.order_status(id.parse().unwrap_or(0), &status, call.now)
            }
            _ => answer(404, json!({"error": "no such route"})),
        }
    }
}

fn date(seconds: i64) -> String {
    DateTime::<Utc>::from_timestamp(seconds, 0).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn show_product(id: u64, product: &Product) -> Value {
    json!({
        "id": id, "sku": product.sku, "name": product.name, "price": product.price, "active": product.active,
        "stock": product.stock, "updated": date(product.updated),
    })
}

fn show_order(id: u64, order: &Order) -> Value {
    let lines: Vec<Value> = order
        .lines
        .iter()
        .enumerate()
        .map(|(at, (sku, quantity, price))| json!({"line": at + 1, "sku": sku, "quantity": quantity, "price": price}))
        .collect();
    json!({
        "id": id, "number": order.number, "email": order.email, "lines": lines, "total": order.total, "status": order.status,
        "placed": "2026-01-01T00:00:00Z", "updated": date(order.updated),
    })
}
