//! Invariants that every request must keep. Watches all requests and answers, and records each write that nothing at
//! the other side justifies. Shares no code with the engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;

use crate::models::{ABROAD, Model, Order, id_of, items, kept, order_name};

/// An article that was deleted at the ERP and came back may be hidden in the shop for this long: the full pull that
/// finds the old object gone hides it, the next one shows the new object.
const RECENTLY: Duration = Duration::hours(24);

/// Longer than a batch takes from reading the orders to its last write, sleep and stalls included.
const BATCH: Duration = Duration::minutes(6);

/// The stock of an article in one listing of the ERP.
#[derive(PartialEq)]
struct StockListing {
    stock: i64,
    /// Names of the orders that this stock already accounts for.
    accounted_orders: Arc<BTreeSet<String>>,
}

/// What has passed so far, and which invariants were violated.
#[derive(Default)]
pub struct Invariants {
    /// Both sides agreed before the current changes: no write may repeat a value that is already there.
    pub at_rest: bool,
    /// The engine has lost its state, and both sides are as it left them.
    pub state_is_lost: bool,
    /// By article: its stock in the listings so far.
    stock_listings: BTreeMap<String, Vec<StockListing>>,
    /// By side and article: when its description was last listed, and the text.
    texts_seen: BTreeMap<(&'static str, u64), (DateTime<Utc>, String)>,
    /// Orders that were cancelled and reopened.
    reopened: BTreeSet<String>,
    /// When an order was first listed by the shop.
    first_listed: BTreeMap<String, DateTime<Utc>>,
    /// What was violated, in words.
    pub violations: Vec<String>,
}

impl Invariants {
    /// Remembers a stock listing of the ERP.
    pub fn note_stock_listing(&mut self, erp: &Model) {
        // A reopened order that the ERP still has as cancelled.
        let is_back = |order: &Order| order.closed == "cancelled" && self.reopened.contains(&order.name());
        let taken = erp.orders.values().filter(|order| order.status != "draft" && !is_back(order)).map(Order::name);
        let accounted_orders: Arc<BTreeSet<String>> = Arc::new(taken.collect());
        for product in erp.products.values() {
            let listings = self.stock_listings.entry(product.sku.clone()).or_default();
            let listing = StockListing { stock: erp.available(product), accounted_orders: accounted_orders.clone() };
            if listings.last() != Some(&listing) {
                listings.push(listing);
            }
        }
    }

    /// After the loss of its state the engine writes only texts that the other side stores differently.
    pub fn check_request(&mut self, host: &str, method: &str, path: &str) {
        let is_text = path.starts_with("/products");
        if self.state_is_lost && method != "GET" && path != "/login" && !is_text {
            self.violations.push(format!("{host} {method} {path}: written though both sides had everything"));
        }
    }

    /// The ERP receives an order once it is accepted, and in its own currency.
    pub fn check_order_create(&mut self, shops: &[&Model], body: &Value) {
        let text = |field: &str| body[field].as_str().unwrap_or_default();
        let taken = body["currency"].as_str().unwrap_or("EUR");
        let name = order_name(text("number"), text("email"));
        let sold = shops.iter().flat_map(|shop| shop.orders.values()).find(|order| order.name() == name);
        if let Some(order) = sold.filter(|order| order.is_waiting()) {
            self.violations.push(format!("order {}: taken by the ERP, and {} in the shop", order.name(), order.status));
        }
        if let Some(order) = sold.filter(|order| order.currency != taken) {
            self.violations
                .push(format!("order {}: {} {} taken for {taken}", order.number, order.total, order.currency));
        }
    }

    /// An order that is pending or failed in the shop is not written there.
    pub fn check_order_update(&mut self, shop: &Model, id: u64) {
        if let Some(order) = shop.orders.get(&id).filter(|order| order.is_waiting()) {
            self.violations.push(format!("order {}: {} in the shop, and written to", order.name(), order.status));
        }
    }

    /// The export price of an article does not reach the shop.
    pub fn check_price_batch(&mut self, shop: &Model, body: &Value) {
        for item in items(&body["items"]) {
            let is_abroad = item["price"].as_str().is_some_and(|price| price.starts_with(ABROAD));
            if let Some(product) = shop.products.get(&id_of(&item["id"])).filter(|_| is_abroad) {
                self.violations.push(format!("{}: costs what it costs abroad, {}", product.sku, item["price"]));
            }
        }
    }

    /// Remembers that an order was reopened: the shop has to list it again before it counts as known.
    pub fn note_reopened(&mut self, name: &str) {
        self.reopened.insert(name.to_owned());
        self.first_listed.remove(name);
    }

    /// The state of an order never goes backwards.
    pub fn check_order_state(&mut self, shop: &Model, id: u64, body: &Value) {
        let rank =
            |state: &str| ["draft", "pending", "paid", "confirmed", "shipped"].iter().position(|one| *one == state);
        let (Some(order), Some(state)) = (shop.orders.get(&id), body["status"].as_str()) else { return };
        if rank(state) < rank(&order.status) {
            self.violations.push(format!(
                "order {}: its state runs backwards from {} to {state}",
                order.name(),
                order.status
            ));
        }
    }

    /// Remembers which orders a shop's listing showed.
    pub fn note_orders_listed(&mut self, rows: &Value, now: DateTime<Utc>) {
        for row in items(rows) {
            if let (Some(number), Some(email)) = (row["number"].as_str(), row["email"].as_str()) {
                self.first_listed.entry(order_name(number, email)).or_insert(now);
            }
        }
    }

    /// Stock is never raised above the ERP's figure minus the orders of all shops that this figure does not account
    /// for.
    pub fn check_stock_batch(&mut self, shop: &Model, shops: &[&Model], body: &Value, sent: DateTime<Utc>) {
        for item in items(&body["items"]) {
            let Some(product) = shop.products.get(&id_of(&item["id"])) else { continue };
            let Some(stock) = item["stock"].as_i64() else { continue };
            let sold = |shops: &[&Model], is_meant: &dyn Fn(&str) -> bool| -> i64 {
                let orders = shops.iter().flat_map(|shop| shop.orders.values());
                let meant = orders.filter(|order| order.holds_goods() && is_meant(&order.name()));
                let lines = meant.flat_map(|order| &order.lines).filter(|(sku, _, _)| *sku == product.sku);
                lines.map(|(_, quantity, _)| *quantity).sum()
            };
            let is_old = |name: &str| self.first_listed.get(name).is_some_and(|at| *at + BATCH < sent);
            if stock <= product.stock + sold(&[shop], &|name| !is_old(name)) {
                continue;
            }
            let listings = self.stock_listings.get(&product.sku).into_iter().flatten();
            let most = listings
                .map(|listing| {
                    listing.stock - sold(shops, &|name| is_old(name) && !listing.accounted_orders.contains(name))
                })
                .max();
            if most.is_none_or(|most| stock > most.max(0)) {
                self.violations.push(format!(
                    "{}: stock raised from {} to {stock}, of which {most:?} at most are there to be sold",
                    product.sku, product.stock
                ));
            }
        }
    }

    /// At rest, no field is written that already has the value, as the target stores it.
    pub fn check_product_update(&mut self, model: &Model, id: u64, item: &Value) {
        let Some(product) = model.products.get(&id).filter(|_| self.at_rest) else { return };
        // If its state is lost, the engine does not know how the other side alters a text.
        let stored = |text: &str| if self.state_is_lost { text.to_owned() } else { kept(model.kind, text) };
        let text = |field: &str, there: &str| item[field].as_str().is_some_and(|text| stored(text) == there);
        let idle = [
            ("name", text("name", &product.name)),
            ("text", text("text", &product.text)),
            ("active", item["active"].as_bool() == Some(product.active)),
        ];
        for (field, _) in idle.iter().filter(|(_, is_idle)| *is_idle) {
            self.violations.push(format!("{}: its {field} is written though it is there already", product.sku));
        }
    }

    /// Remembers the descriptions that a listing showed.
    pub fn note_products_listed(&mut self, host: &'static str, rows: &Value, now: DateTime<Utc>) {
        for row in items(rows) {
            let text = row["text"].as_str().unwrap_or_default().to_owned();
            self.texts_seen.insert((host, id_of(&row["id"])), (now, text));
        }
    }

    /// An edit that no listing has shown yet is not overwritten, unless the last listing is more recent than a
    /// batch takes.
    pub fn check_text_update(
        &mut self,
        (host, id): (&'static str, u64),
        model: &Model,
        item: &Value,
        sent: DateTime<Utc>,
    ) {
        let Some(product) = model.products.get(&id).filter(|product| product.edited && item.get("text").is_some())
        else {
            return;
        };
        let is_unseen = |(at, text): &(DateTime<Utc>, String)| *text != product.text && *at + BATCH < sent;
        if self.texts_seen.get(&(host, id)).is_some_and(is_unseen) {
            self.violations.push(format!("{}: an unseen edit is written over in the {host}", product.sku));
        }
    }

    /// No article is hidden in the shop that the ERP has always had.
    pub fn check_product_batch(&mut self, erp: &Model, shop: &Model, body: &Value, now: DateTime<Utc>) {
        for item in items(&body["update"]) {
            self.check_product_update(shop, id_of(&item["id"]), &item);
            let Some(product) = shop.products.get(&id_of(&item["id"])).filter(|_| item["active"] == false) else {
                continue;
            };
            let is_caused = erp.product(&product.sku).is_empty()
                || erp.removed.get(&product.sku).is_some_and(|at| now - *at < RECENTLY);
            if !is_caused {
                self.violations.push(format!("{}: hidden though the ERP never lost it", product.sku));
            }
        }
    }
}
