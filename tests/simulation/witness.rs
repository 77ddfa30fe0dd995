//! Watches what passes on the wire, and tells of writes that nothing at the other side accounts for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;

use crate::models::{ABROAD, Model, Order, id_of, items, kept, order_name};

/// For so long after it has been deleted at the ERP an article may still be hidden in the shop though it is back: the full pull
/// that finds the old object gone hides it, the next one shows the new one.
const RECENTLY: Duration = Duration::hours(24);

/// Longer than a batch takes from the reading of orders to its last write, whatever sleeps or stalls meanwhile.
const BATCH: Duration = Duration::minutes(6);

/// What a stock listing of the ERP said of an article.
#[derive(PartialEq)]
struct Reading {
    stock: i64,
    /// Orders that were taken off by then, by name.
    taken_off: Arc<BTreeSet<String>>,
}

#[derive(Default)]
pub struct Witness {
    /// Everything was at rest before what happens now: nothing has to be written that is there already.
    pub at_rest: bool,
    /// The engine has lost its state, and finds both sides as it had left them.
    pub is_forgotten: bool,
    readings: BTreeMap<String, Vec<Reading>>,
    /// By side and article: when its description was last shown, and which.
    looks: BTreeMap<(&'static str, u64), (DateTime<Utc>, String)>,
    /// Orders that were cancelled and go on.
    reopened: BTreeSet<String>,
    /// When an order was first told to whoever lists the shop's orders.
    told: BTreeMap<String, DateTime<Utc>>,
    /// Writes without a cause, in words.
    pub wrong: Vec<String>,
}

impl Witness {
    pub fn stock_is_listed(&mut self, erp: &Model) {
        // Which the ERP does not know yet of those that go on after all.
        let is_back = |order: &Order| order.closed == "cancelled" && self.reopened.contains(&order.name());
        let taken = erp.orders.values().filter(|order| order.status != "draft" && !is_back(order)).map(Order::name);
        let taken_off: Arc<BTreeSet<String>> = Arc::new(taken.collect());
        for product in erp.products.values() {
            let readings = self.readings.entry(product.sku.clone()).or_default();
            let reading = Reading { stock: erp.available(product), taken_off: taken_off.clone() };
            if readings.last() != Some(&reading) {
                readings.push(reading);
            }
        }
    }

    /// Whoever lost the state writes nothing but texts that the other side keeps otherwise.
    pub fn anything_is_sent(&mut self, host: &str, method: &str, path: &str) {
        let is_text = path.starts_with("/products");
        if self.is_forgotten && method != "GET" && path != "/login" && !is_text {
            self.wrong.push(format!("{host} {method} {path}: written though both sides had everything"));
        }
    }

    /// An order is taken in the currency that it was paid in.
    pub fn order_is_taken(&mut self, shops: &[&Model], body: &Value) {
        let text = |field: &str| body[field].as_str().unwrap_or_default();
        let taken = body["currency"].as_str().unwrap_or("EUR");
        let name = order_name(text("number"), text("email"));
        let sold = shops.iter().flat_map(|shop| shop.orders.values()).find(|order| order.name() == name);
        if let Some(order) = sold.filter(|order| order.is_waiting()) {
            self.wrong.push(format!("order {}: taken by the ERP, and {} in the shop", order.name(), order.status));
        }
        if let Some(order) = sold.filter(|order| order.currency != taken) {
            self.wrong.push(format!("order {}: {} {} taken for {taken}", order.number, order.total, order.currency));
        }
    }

    /// What has failed in the shop is not made good by the ERP, nor what was ended before it was taken.
    pub fn order_goes_on(&mut self, shop: &Model, id: u64) {
        if let Some(order) = shop.orders.get(&id).filter(|order| order.is_waiting()) {
            self.wrong.push(format!("order {}: {} in the shop, and written to", order.name(), order.status));
        }
    }

    /// What an article costs abroad is not asked at home.
    pub fn price_is_written(&mut self, shop: &Model, body: &Value) {
        for item in items(&body["items"]) {
            let is_abroad = item["price"].as_str().is_some_and(|price| price.starts_with(ABROAD));
            if let Some(product) = shop.products.get(&id_of(&item["id"])).filter(|_| is_abroad) {
                self.wrong.push(format!("{}: costs what it costs abroad, {}", product.sku, item["price"]));
            }
        }
    }

    /// Whoever lists the shop's orders has to be told anew of one that goes on.
    pub fn is_reopened(&mut self, name: &str) {
        self.reopened.insert(name.to_owned());
        self.told.remove(name);
    }

    /// No state runs backwards.
    pub fn order_state_is_written(&mut self, shop: &Model, id: u64, body: &Value) {
        let rank =
            |state: &str| ["draft", "pending", "paid", "confirmed", "shipped"].iter().position(|one| *one == state);
        let (Some(order), Some(state)) = (shop.orders.get(&id), body["status"].as_str()) else { return };
        if rank(state) < rank(&order.status) {
            self.wrong.push(format!(
                "order {}: its state runs backwards from {} to {state}",
                order.name(),
                order.status
            ));
        }
    }

    pub fn orders_are_told(&mut self, rows: &Value, now: DateTime<Utc>) {
        for row in items(rows) {
            if let (Some(number), Some(email)) = (row["number"].as_str(), row["email"].as_str()) {
                self.told.entry(order_name(number, email)).or_insert(now);
            }
        }
    }

    /// Stock that is raised above what the ERP told, less what was sold and not yet taken off there, is sold twice.
    /// What one shop has sold is not there for another.
    pub fn stock_is_written(&mut self, shop: &Model, shops: &[&Model], body: &Value, sent: DateTime<Utc>) {
        for item in items(&body["items"]) {
            let Some(product) = shop.products.get(&id_of(&item["id"])) else { continue };
            let Some(stock) = item["stock"].as_i64() else { continue };
            let sold = |shops: &[&Model], is_meant: &dyn Fn(&str) -> bool| -> i64 {
                let orders = shops.iter().flat_map(|shop| shop.orders.values());
                let meant = orders.filter(|order| order.holds_goods() && is_meant(&order.name()));
                let lines = meant.flat_map(|order| &order.lines).filter(|(sku, _, _)| *sku == product.sku);
                lines.map(|(_, quantity, _)| *quantity).sum()
            };
            let is_old = |name: &str| self.told.get(name).is_some_and(|told| *told + BATCH < sent);
            if stock <= product.stock + sold(&[shop], &|name| !is_old(name)) {
                continue;
            }
            let readings = self.readings.get(&product.sku).into_iter().flatten();
            let most = readings
                .map(|reading| reading.stock - sold(shops, &|name| is_old(name) && !reading.taken_off.contains(name)))
                .max();
            if most.is_none_or(|most| stock > most.max(0)) {
                self.wrong.push(format!(
                    "{}: stock raised from {} to {stock}, of which {most:?} at most are there to be sold",
                    product.sku, product.stock
                ));
            }
        }
    }

    /// What is there already, in the way of whoever keeps it, is not written once more.
    pub fn product_is_written(&mut self, model: &Model, id: u64, item: &Value) {
        let Some(product) = model.products.get(&id).filter(|_| self.at_rest) else { return };
        // Who has lost the state knows no more what the other side makes of a text.
        let made = |text: &str| if self.is_forgotten { text.to_owned() } else { kept(model.kind, text) };
        let text = |field: &str, there: &str| item[field].as_str().is_some_and(|text| made(text) == there);
        let idle = [
            ("name", text("name", &product.name)),
            ("text", text("text", &product.text)),
            ("active", item["active"].as_bool() == Some(product.active)),
        ];
        for (field, _) in idle.iter().filter(|(_, is_idle)| *is_idle) {
            self.wrong.push(format!("{}: its {field} is written though it is there already", product.sku));
        }
    }

    pub fn products_are_shown(&mut self, host: &'static str, rows: &Value, now: DateTime<Utc>) {
        for row in items(rows) {
            let text = row["text"].as_str().unwrap_or_default().to_owned();
            self.looks.insert((host, id_of(&row["id"])), (now, text));
        }
    }

    /// An edit that nobody has looked at for long is not written over.
    pub fn text_is_written(&mut self, host: &'static str, model: &Model, id: u64, item: &Value, sent: DateTime<Utc>) {
        let Some(product) = model.products.get(&id).filter(|product| product.edited && item.get("text").is_some())
        else {
            return;
        };
        let is_unseen = |(at, text): &(DateTime<Utc>, String)| *text != product.text && *at + BATCH < sent;
        if self.looks.get(&(host, id)).is_some_and(is_unseen) {
            self.wrong.push(format!("{}: an unseen edit is written over in the {host}", product.sku));
        }
    }

    /// Nothing may be hidden in the shop that the ERP has had all along.
    pub fn products_are_written(&mut self, erp: &Model, shop: &Model, body: &Value, now: DateTime<Utc>) {
        for item in items(&body["update"]) {
            self.product_is_written(shop, id_of(&item["id"]), &item);
            let Some(product) = shop.products.get(&id_of(&item["id"])).filter(|_| item["active"] == false) else {
                continue;
            };
            let is_caused = erp.product(&product.sku).is_empty()
                || erp.removed.get(&product.sku).is_some_and(|at| now - *at < RECENTLY);
            if !is_caused {
                self.wrong.push(format!("{}: hidden though the ERP never lost it", product.sku));
            }
        }
    }
}
