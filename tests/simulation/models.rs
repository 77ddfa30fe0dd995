//! A model ERP and a model shop, in memory, with the habits of real systems.
//!
//! - Both count their ids and have a clock of their own. Dates have whole seconds and move on every write, even on
//!   one that changes nothing. An order is refunded as often as somebody asks for it.
//! - The shop alters and cuts texts silently, lists by page number and by link, subtracts what it sells at once,
//!   and stores no reference of another system.
//! - The ERP lists by the last id and by cursor, creates the same order or customer as often as it is sent, cuts
//!   long texts, and requires a login.
//!
//! One file, because all of it is one state with shared ids, clocks and dates, which requests change in many ways.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Value, json};

use crate::{
    addresses::Address,
    rows::{date, show_customer, show_order, show_price, show_product},
    setting::Setting,
};

/// An article.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Product {
    pub sku: String,
    /// Owned by the ERP.
    pub name: String,
    /// The description.
    pub text: String,
    /// Whether people wrote the description here, not the engine.
    pub edited: bool,
    pub price: String,
    /// The sale price that people set in the shop; empty for none.
    pub sale: String,
    pub stock: i64,
    pub active: bool,
    pub barcode: String,
    /// The tax class in this side's words; empty for none.
    pub tax: String,
    /// Whether its row is unreadable, until somebody corrects it.
    pub broken: bool,
    pub updated: i64,
    /// When the engine created it here.
    pub made: i64,
    /// Whether the answer to its creation named the variant of another article. If so, the engine may not know this
    /// one's.
    pub unheard: bool,
}

/// A customer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Customer {
    pub email: String,
    pub name: String,
    /// The tax number; empty for none.
    pub vat: String,
    /// By this side's id.
    pub addresses: BTreeMap<u64, Address>,
    pub broken: bool,
    pub updated: i64,
}

/// An order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// The shop's number; the ERP keeps it as its reference.
    pub number: String,
    /// This side's id of the customer; none for a guest.
    pub customer: Option<u64>,
    pub email: String,
    /// Reference, quantity and price of each line.
    pub lines: Vec<(String, i64, String)>,
    pub total: String,
    pub currency: String,
    pub status: String,
    /// `cancelled` or `refunded`; empty while it is open.
    pub closed: String,
    /// Whether its goods are kept though its payment failed, for another try.
    pub kept: bool,
    /// How often it was refunded (in the ERP: how many credit notes it has).
    pub paid_back: u32,
    /// How often it had been refunded when the engine last read or refunded it.
    pub looked: u32,
    /// How many refunds were made by people between the engine's read and its own refund.
    pub raced: u32,
    pub broken: bool,
    pub updated: i64,
}

impl Order {
    /// Whether it is not accepted yet, or never will be.
    pub fn is_waiting(&self) -> bool {
        matches!(self.status.as_str(), "pending" | "failed")
    }

    /// The quantity of an article that it contains.
    pub fn many(&self, sku: &str) -> i64 {
        self.lines.iter().filter(|(sold, _, _)| sold == sku).map(|(_, quantity, _)| quantity).sum()
    }

    /// Whether its goods are reserved for the buyer.
    pub fn holds_goods(&self) -> bool {
        self.closed != "cancelled" && (self.status != "failed" || self.kept)
    }

    /// Its name at all sides. The number alone is ambiguous: two shops number their orders alike.
    pub fn name(&self) -> String {
        order_name(&self.number, &self.email)
    }
}

/// The name of an order at all sides, from its number and its e-mail address.
pub fn order_name(number: &str, email: &str) -> String {
    let number = number.trim_start_matches("B-");
    if email.ends_with(OUTLET_DOMAIN) { format!("{number}@outlet") } else { number.to_owned() }
}

/// Which model a side is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Kind {
    #[default]
    Erp,
    Shop,
}

/// The shop's word for the tax class that it lacks at first.
pub const SUPER: &str = "super-rate";

/// The prefixes of articles that only the shop has, and of addresses that only the ERP has.
pub const OWN: &str = "OWN-";
pub const OWN_ADDRESS: &str = "own ";

/// The domain of the customers of the second shop.
pub const OUTLET_DOMAIN: &str = "outlet.example.com";

/// The prefix of export prices, which distinguishes them from all others.
pub const ABROAD: &str = "99";

/// The price of an article in one list.
pub struct Price {
    pub list: &'static str,
    pub sku: String,
    pub amount: String,
    pub sale: String,
    pub currency: &'static str,
}

/// One side: its objects and its state.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub kind: Kind,
    pub setting: Setting,
    pub products: BTreeMap<u64, Product>,
    pub customers: BTreeMap<u64, Customer>,
    pub orders: BTreeMap<u64, Order>,
    pub next: u64,
    /// How many writes of requests were carried out, including those that changed nothing.
    pub writes: u64,
    /// When an article was last deleted here.
    pub removed: BTreeMap<String, DateTime<Utc>>,
    /// Whether the shop has the tax class that it lacks at first.
    pub knows_super: bool,
    /// Valid logins.
    pub sessions: BTreeSet<String>,
    pub logins: u64,
}

/// What a model answers.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

fn answer(status: u16, body: Value) -> Answer {
    Answer { status, body }
}

/// A request as a model sees it.
pub struct Call<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: BTreeMap<String, String>,
    pub session: Option<String>,
    pub body: Value,
    /// Seconds on this side's own clock.
    pub now: i64,
    /// If set: how many items of a batch are carried out before the model fails.
    pub only: Option<usize>,
}

impl Call<'_> {
    fn number(&self, name: &str) -> Option<u64> {
        self.query.get(name)?.parse().ok()
    }

    fn asks(&self, name: &str, value: &str) -> bool {
        self.query.get(name).is_none_or(|asked| asked == value)
    }

    /// Whether a date, as this side writes it, is not before the requested one.
    fn is_since(&self, shown: &str) -> bool {
        self.query.get("since").is_none_or(|since| shown >= since.as_str())
    }
}

/// How many characters of a text each side stores.
pub const SHOP_NAME: usize = 16;
pub const ERP_TEXT: usize = 10;

/// A text as a side stores it.
pub fn kept(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Shop => text.trim().chars().take(SHOP_NAME).collect::<String>().trim().replace('&', "&amp;"),
        Kind::Erp => text.chars().take(ERP_TEXT).collect(),
    }
}

impl Model {
    /// A new id.
    pub fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// All articles with a reference.
    pub fn product(&self, sku: &str) -> Vec<(u64, &Product)> {
        self.products.iter().filter(|(_, product)| product.sku == sku).map(|(id, product)| (*id, product)).collect()
    }

    /// Whether dates are local times without a zone.
    pub fn writes_local_time(&self) -> bool {
        self.setting == Setting::Clocks && self.kind == Kind::Erp
    }

    /// Whether sold stock stays on hand until it is shipped, and counts as reserved.
    pub fn reserves(&self) -> bool {
        self.setting == Setting::Reserving && self.kind == Kind::Erp
    }

    /// How much of the stock on hand is reserved.
    pub fn reserved(&self, sku: &str) -> i64 {
        if !self.reserves() {
            return 0;
        }
        let open = self.orders.values().filter(|order| order.status == "confirmed" && order.closed != "cancelled");
        open.flat_map(|order| &order.lines).filter(|(sold, _, _)| sold == sku).map(|(_, quantity, _)| quantity).sum()
    }

    /// The prices of each article; the second list is in another currency.
    fn prices(&self) -> BTreeMap<u64, Price> {
        const EXPORT: u64 = 1_000_000;
        let mut prices = BTreeMap::new();
        for (id, Product { sku, price, sale, .. }) in &self.products {
            let (sku, sale) = (sku.clone(), sale.clone());
            prices.insert(
                *id,
                Price { list: "retail", sku: sku.clone(), amount: price.clone(), currency: "EUR", sale: sale.clone() },
            );
            if self.setting == Setting::Currencies && self.kind == Kind::Erp {
                let amount = format!("{ABROAD}{price}");
                prices.insert(EXPORT + id, Price { list: "export", sku, amount, currency: "USD", sale });
            }
        }
        prices
    }

    /// How much can be sold.
    pub fn available(&self, product: &Product) -> i64 {
        product.stock - self.reserved(&product.sku)
    }

    /// Adds an article and returns its id.
    pub fn add_product(&mut self, product: Product) -> u64 {
        let id = self.id();
        self.products.insert(id, product);
        id
    }

    /// Adds a customer and returns its id.
    pub fn add_customer(&mut self, customer: Customer) -> u64 {
        let id = self.id();
        self.customers.insert(id, customer);
        id
    }

    /// Adds an order and returns its id.
    pub fn add_order(&mut self, order: Order) -> u64 {
        let id = self.id();
        self.orders.insert(id, order);
        id
    }

    /// A page of rows in order of id: after the given id, or by page number. The answer names the beginning of the next
    /// page, as an id and as a link.
    fn page<T>(
        rows: &BTreeMap<u64, T>,
        call: &Call<'_>,
        keep: impl Fn(u64, &T) -> bool,
        show: impl Fn(u64, &T) -> Value,
    ) -> Answer {
        let kept: Vec<(u64, &T)> =
            rows.iter().filter(|(id, row)| keep(**id, row)).map(|(id, row)| (*id, row)).collect();
        let total = kept.len();
        let limit = usize::try_from(call.number("limit").unwrap_or(100)).unwrap();
        let skip = usize::try_from(call.number("page").unwrap_or(1).saturating_sub(1)).unwrap() * limit;
        let after = call.number("after").unwrap_or(0);
        let mut rest = kept.into_iter().filter(|(id, _)| *id > after).skip(skip).peekable();
        let page: Vec<(u64, &T)> = rest.by_ref().take(limit).collect();
        let next = rest.peek().and_then(|_| page.last()).map(|(id, _)| *id);
        let link = next.map(|id| {
            let kept = call.query.iter().filter(|(name, _)| *name != "after");
            let kept: String = kept.map(|(name, value)| format!("{name}={value}&")).collect();
            format!("{}?{kept}after={id}", call.path)
        });
        let rows: Vec<Value> = page.into_iter().map(|(id, row)| show(id, row)).collect();
        answer(200, json!({"total": total, "rows": rows, "next": next, "link": link}))
    }

    fn list(&self, call: &Call<'_>) -> Answer {
        let is_since = |updated: i64| call.is_since(&date(self.writes_local_time(), updated));
        let ids: Option<BTreeSet<u64>> =
            call.query.get("ids").map(|ids| ids.split(',').filter_map(|id| id.parse().ok()).collect());
        let named = |id: u64| ids.as_ref().is_none_or(|ids| ids.contains(&id));
        match call.path {
            "/products" => Self::page(
                &self.products,
                call,
                |id, product| is_since(product.updated) && call.asks("sku", &product.sku) && named(id),
                |id, product| show_product(self, id, product),
            ),
            // Stock and prices have no dates.
            "/stock" => Self::page(
                &self.products,
                call,
                |id, _| named(id),
                |id, product| {
                    let reserved = self.reserved(&product.sku);
                    json!({"id": id, "sku": product.sku, "stock": product.stock, "reserved": reserved})
                },
            ),
            "/prices" => Self::page(&self.prices(), call, |id, _| named(id), |id, price| show_price(id, price)),
            "/customers" => Self::page(
                &self.customers,
                call,
                |id, customer| is_since(customer.updated) && call.asks("email", &customer.email) && named(id),
                |id, customer| show_customer(self, id, customer),
            ),
            "/orders" => Self::page(
                &self.orders,
                call,
                |id, order| is_since(order.updated) && call.asks("number", &order.number) && named(id),
                |id, order| show_order(self, id, order),
            ),
            _ => answer(404, json!({"error": "no such list"})),
        }
    }

    /// `POST /products/batch`, with a result per item.
    fn products_batch(&mut self, call: &Call<'_>) -> Answer {
        let mut results = json!({"create": [], "update": []});
        let mut left = call.only.unwrap_or(usize::MAX);
        for op in ["create", "update"] {
            for item in items(&call.body[op]) {
                if left == 0 {
                    return answer(500, json!({"error": "broke down in the middle"}));
                }
                left -= 1;
                let mut result = self.product_item(op, &item, call.now);
                if op == "create" {
                    self.mistake(&mut result);
                }
                results[op].as_array_mut().unwrap().push(result);
            }
        }
        answer(200, results)
    }

    /// In the setting `Mistaken`: puts the id of another article, or of its variant, into some answers.
    fn mistake(&mut self, result: &mut Value) {
        let id = id_of(&result["id"]);
        if self.setting != Setting::Mistaken || !self.products.contains_key(&id) {
            return;
        }
        let made = |id: &u64| self.products[id].made;
        // Only an article that the engine surely knows.
        let is_known_to_engine = |other: &u64| made(other) + 600 < made(&id) && !self.products[other].unheard;
        let Some(other) = self.products.keys().copied().find(|other| *other != id && is_known_to_engine(other)) else {
            return;
        };
        if id % 3 == 2 {
            result["variants"][0]["id"] = json!(other);
            self.products.get_mut(&id).unwrap().unheard = true;
        } else {
            result["id"] = json!(other);
        }
    }

    fn product_item(&mut self, op: &str, item: &Value, now: i64) -> Value {
        let id = if op == "create" {
            let sku = item["sku"].as_str().unwrap_or_default().to_owned();
            if !self.product(&sku).is_empty() {
                return json!({"error": {"code": "duplicate"}});
            }
            self.add_product(Product { sku, price: "0.00".into(), active: true, made: now, ..Product::default() })
        } else {
            id_of(&item["id"])
        };
        let result = self.change_product(id, item, now).unwrap_or_else(|| json!({"error": {"code": "gone"}}));
        if op == "create" && result.get("error").is_some() {
            self.products.remove(&id);
        }
        result
    }

    fn change_product(&mut self, id: u64, item: &Value, now: i64) -> Option<Value> {
        let kind = self.kind;
        let barcode = item["variants"][0].get("barcode").map(|code| code.as_str().unwrap_or_default());
        let is_taken = |(other, there): (&u64, &Product)| *other != id && Some(there.barcode.as_str()) == barcode;
        if barcode.is_some_and(|code| !code.is_empty()) && self.products.iter().any(is_taken) {
            return Some(json!({"error": {"code": "taken"}}));
        }
        let product = self.products.get_mut(&id)?;
        if let Some(barcode) = barcode {
            barcode.clone_into(&mut product.barcode);
        }
        if let Some(tax) = item.get("tax") {
            let is_known = self.knows_super || tax != SUPER;
            product.tax = if is_known { tax.as_str().unwrap_or_default().to_owned() } else { String::new() };
        }
        if let Some(name) = item["name"].as_str() {
            product.name = kept(kind, name);
        }
        if let Some(text) = item.get("text") {
            product.text = kept(kind, text.as_str().unwrap_or_default());
            product.edited = false;
        }
        if let Some(active) = item["active"].as_bool() {
            product.active = active;
        }
        product.updated = now;
        self.writes += 1;
        Some(show_product(self, id, &self.products[&id]))
    }

    /// `POST /stock/batch` and `/prices/batch`: no result per item, and a stop at the first bad one.
    fn facets_batch(&mut self, call: &Call<'_>) -> Answer {
        for (index, item) in items(&call.body["items"]).iter().enumerate() {
            if call.only.is_some_and(|only| index >= only) {
                return answer(500, json!({"error": "broke down in the middle"}));
            }
            let Some(product) = self.products.get_mut(&id_of(&item["id"])) else {
                return answer(400, json!({"error": "no such product"}));
            };
            if let Some(stock) = item["stock"].as_i64() {
                product.stock = stock;
            }
            if let Some(price) = item["price"].as_str() {
                product.price = two_decimals(price);
            }
            product.updated = call.now;
            self.writes += 1;
        }
        answer(200, json!({"ok": true}))
    }

    /// `PUT /prices/ID` and `PUT /articles/SKU/price`: refuses a price below the sale price.
    fn price_save(&mut self, id: Option<u64>, call: &Call<'_>) -> Answer {
        let Some(product) = id.and_then(|id| self.products.get_mut(&id)) else {
            return answer(404, json!({"error": "no such product"}));
        };
        if let Some(sale) = call.body["sale"].as_str() {
            sale.clone_into(&mut product.sale);
        }
        if let Some(price) = call.body["price"].as_str().map(two_decimals) {
            if !product.sale.is_empty() && cents(&price) < cents(&product.sale) {
                return answer(400, json!({"error": "below its sale price"}));
            }
            product.price = price;
        }
        product.updated = call.now;
        self.writes += 1;
        answer(200, json!({"ok": true}))
    }

    /// `POST /customers` and `PUT /customers/ID`: creates the same customer as often as it is sent.
    fn customer_save(&mut self, id: Option<u64>, call: &Call<'_>) -> Answer {
        let id = id.unwrap_or_else(|| self.add_customer(Customer::default()));
        let Some(customer) = self.customers.get_mut(&id) else {
            return answer(404, json!({"error": "no such customer"}));
        };
        if let Some(email) = call.body["email"].as_str() {
            email.clone_into(&mut customer.email);
        }
        if let Some(name) = call.body["name"].as_str() {
            name.clone_into(&mut customer.name);
        }
        if let Some(vat) = call.body["vat"].as_str() {
            vat.clone_into(&mut customer.vat);
        }
        customer.updated = call.now;
        self.writes += 1;
        self.save_addresses(id, &call.body["addresses"]);
        answer(200, show_customer(self, id, &self.customers[&id]))
    }

    /// `POST /orders`: creates the same order as often as it is sent.
    fn order_create(&mut self, call: &Call<'_>) -> Answer {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let customer = (!call.body["customer"].is_null()).then(|| id_of(&call.body["customer"]));
        if customer.is_some_and(|customer| !self.customers.contains_key(&customer)) {
            return answer(400, json!({"error": "no such customer"}));
        }
        self.writes += 1;
        let order = Order {
            number: text(&call.body["number"]),
            customer,
            email: text(&call.body["email"]),
            lines: items(&call.body["lines"])
                .iter()
                .map(|line| (text(&line["sku"]), line["quantity"].as_i64().unwrap_or(0), text(&line["price"])))
                .collect(),
            total: text(&call.body["total"]),
            currency: call.body["currency"].as_str().unwrap_or("EUR").to_owned(),
            status: "draft".into(),
            updated: call.now,
            ..Order::default()
        };
        let id = self.add_order(order);
        answer(201, json!({"id": id}))
    }

    fn order_person(&mut self, id: u64, call: &Call<'_>) -> Answer {
        let Some(order) = self.orders.get_mut(&id) else { return no_such_order() };
        call.body["email"].as_str().unwrap_or_default().clone_into(&mut order.email);
        order.updated = call.now;
        self.writes += 1;
        answer(200, show_order(self, id, &self.orders[&id]))
    }

    fn order_status(&mut self, id: u64, status: &str, now: i64) -> Answer {
        let Some(order) = self.orders.get_mut(&id) else { return no_such_order() };
        // The ERP confirms only drafts.
        let confirms = self.kind == Kind::Erp && order.status == "draft";
        if self.kind == Kind::Shop || confirms {
            status.clone_into(&mut order.status);
        }
        order.updated = now;
        self.writes += 1;
        let lines = if confirms && order.closed != "cancelled" { order.lines.clone() } else { Vec::new() };
        if !self.reserves() {
            self.take_off(&lines);
        }
        answer(200, show_order(self, id, &self.orders[&id]))
    }

    /// Refunds an order, as often as this is called.
    pub fn refund(&mut self, id: u64) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        "refunded".clone_into(&mut order.closed);
        order.paid_back += 1;
    }

    /// Cancels an order and returns its goods to stock. Does nothing the second time.
    pub fn cancel(&mut self, id: u64) {
        let Some(order) = self.orders.get_mut(&id).filter(|order| order.closed != "cancelled") else { return };
        "cancelled".clone_into(&mut order.closed);
        let is_here = order.status != "draft" && order.status != "shipped";
        let lines: Vec<_> =
            order.lines.iter().map(|(sku, quantity, price)| (sku.clone(), -quantity, price.clone())).collect();
        if is_here && !self.reserves() {
            self.take_off(&lines);
        }
    }

    /// Reopens a cancelled order and takes its goods from stock.
    pub fn reopen(&mut self, id: u64) {
        let Some(order) = self.orders.get_mut(&id).filter(|order| order.closed == "cancelled") else { return };
        order.closed.clear();
        let is_here = order.status != "draft" && order.status != "shipped";
        let lines = order.lines.clone();
        if is_here && !self.reserves() {
            self.take_off(&lines);
        }
    }

    /// Ships an order.
    pub fn ship(&mut self, id: u64, now: i64) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        "shipped".clone_into(&mut order.status);
        order.updated = now;
        let lines = order.lines.clone();
        if self.reserves() {
            self.take_off(&lines);
        }
    }

    fn order_look(&mut self, id: u64) -> Answer {
        let Some(order) = self.orders.get_mut(&id) else { return no_such_order() };
        order.looked = order.paid_back;
        answer(200, show_order(self, id, &self.orders[&id]))
    }

    fn order_end(&mut self, id: u64, how: &str, now: i64) -> Answer {
        match how {
            "cancel" => self.cancel(id),
            "reopen" => self.reopen(id),
            _ => self.refund(id),
        }
        let Some(order) = self.orders.get_mut(&id) else { return no_such_order() };
        if how == "refund" && order.paid_back > order.looked + 1 {
            order.raced += 1;
        }
        order.looked = order.paid_back;
        order.updated = now;
        self.writes += 1;
        answer(200, show_order(self, id, &self.orders[&id]))
    }

    /// Subtracts the quantities of order lines from stock.
    pub fn take_off(&mut self, lines: &[(String, i64, String)]) {
        for (sku, quantity, _) in lines {
            if let Some(product) = self.products.values_mut().find(|product| product.sku == *sku) {
                product.stock -= quantity;
            }
        }
    }

    fn login(&mut self) -> Answer {
        self.logins += 1;
        let token = format!("session-{}", self.logins);
        self.sessions.insert(token.clone());
        answer(200, json!({"token": token}))
    }

    /// Carries out a request.
    pub fn handle(&mut self, call: &Call<'_>) -> Answer {
        let pieces: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        if let ("POST", ["login"]) = (call.method, pieces.as_slice()) {
            return self.login();
        }
        if self.kind == Kind::Erp && call.session.as_ref().is_none_or(|session| !self.sessions.contains(session)) {
            return answer(401, json!({"error": "who are you?"}));
        }
        let id = |text: &str| text.parse().unwrap_or(0);
        match (call.method, pieces.as_slice()) {
            ("GET", ["orders", order]) => self.order_look(id(order)),
            ("GET", _) => self.list(call),
            ("POST", ["products", "batch"]) => self.products_batch(call),
            ("POST", ["stock" | "prices", "batch"]) => self.facets_batch(call),
            ("PUT", ["prices", product]) => self.price_save(Some(id(product)), call),
            ("PUT", ["articles", sku, "price"]) => {
                let id = self.product(&decoded(sku)).first().map(|(id, _)| *id);
                self.price_save(id, call)
            }
            ("PUT", ["products", product]) => match self.change_product(id(product), &call.body, call.now) {
                Some(row) => answer(200, row),
                None => answer(404, json!({"error": "no such product"})),
            },
            ("POST", ["customers"]) => self.customer_save(None, call),
            ("PUT", ["customers", customer]) => self.customer_save(Some(id(customer)), call),
            ("POST", ["orders"]) => self.order_create(call),
            ("POST", ["orders", order, "confirm"]) => self.order_status(id(order), "confirmed", call.now),
            ("POST", ["orders", order, how @ ("cancel" | "refund" | "reopen")]) => {
                self.order_end(id(order), how, call.now)
            }
            ("PUT", ["orders", order, "person"]) => self.order_person(id(order), call),
            ("PUT", ["orders", order]) => {
                let status = call.body["status"].as_str().unwrap_or_default().to_owned();
                self.order_status(id(order), &status, call.now)
            }
            _ => answer(404, json!({"error": "no such route"})),
        }
    }
}

fn no_such_order() -> Answer {
    answer(404, json!({"error": "no such order"}))
}

/// The items of an array; none for anything else.
pub fn items(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// An id that is written as a number or as a text; 0 for anything else.
pub fn id_of(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

/// A percent-encoded path segment, decoded.
pub fn decoded(segment: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://shop.test/?segment={segment}")).unwrap();
    url.query_pairs().map(|(_, value)| value.into_owned()).next().unwrap_or_default()
}

/// A price rounded to two decimals.
pub fn two_decimals(price: &str) -> String {
    let amount: Decimal = price.parse().unwrap_or_default();
    format!("{:.2}", amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero))
}

/// A price as a number with two decimals.
pub fn cents(price: &str) -> Decimal {
    two_decimals(price).parse().unwrap_or_default()
}
