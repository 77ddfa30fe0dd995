//! Actions of people and programs that belong to a single setting.

use std::collections::BTreeMap;

use crate::{
    addresses::Address,
    life::Life,
    models::{Customer, Order, SUPER, cents, two_decimals},
    setting::Setting,
};

/// How far ahead a wrong clock is, in seconds.
const AHEAD: i64 = 400 * 24 * 3600;

/// The tax number of the n-th customer.
fn tax_number(number: u64) -> String {
    format!("ESB{number:08}")
}

/// The e-mail address under which the ERP knows the customer with a tax number.
pub fn known_as(vat: &str) -> String {
    format!("office{}@example.com", vat.trim_start_matches("ESB").trim_start_matches('0'))
}

impl Life<'_> {
    /// Somebody saves an article or a customer on a machine whose clock is a year ahead.
    pub(crate) fn save_in_future(&mut self) {
        let host = if self.rng.permille(500) { "erp" } else { "shop" };
        let Some(id) = self.pick_product(host) else { return };
        self.change(host, id, "saves a year ahead", |_| {});
        self.wire.with(host, |model| model.products.get_mut(&id).unwrap().updated += AHEAD);
    }

    /// Draws a tax class in the ERP's words; empty if tax classes do not matter.
    pub(crate) fn tax(&self) -> String {
        if self.trade.setting != Setting::Altering {
            return String::new();
        }
        self.pick(&["general", "reduced", "super"]).unwrap_or_default().to_owned()
    }

    /// Draws the status of a new order.
    pub(crate) fn payment(&self) -> &'static str {
        if self.trade.setting == Setting::Unpaid && self.rng.permille(500) { "pending" } else { "paid" }
    }

    /// Sets the status of a pending order. If its payment failed, its goods are released, or kept for another try.
    pub(crate) fn end_payment(&mut self, status: &str) {
        let waits = |order: &Order| order.is_waiting() && order.holds_goods();
        let Some(id) = self.pick_open_order("shop", waits) else { return };
        let (now, kept) = (self.wire.now("shop"), self.rng.permille(500));
        let order = self.wire.with("shop", |model| {
            let order = model.orders.get_mut(&id).unwrap();
            status.clone_into(&mut order.status);
            (order.updated, order.kept) = (now, kept && status == "failed");
            let order = order.clone();
            if !order.holds_goods() {
                let lines: Vec<_> =
                    order.lines.iter().map(|(sku, many, price)| (sku.clone(), -many, price.clone())).collect();
                model.take_off(&lines);
            }
            order
        });
        self.wire.note(format!("life: shop order {} is {status}", order.name()));
        self.sold.extend(order.lines.into_iter().map(|(sku, _, _)| sku));
    }

    /// The barcode of a new article; empty if barcodes do not matter.
    pub(crate) fn barcode(&self, sku: &str) -> String {
        if self.trade.setting != Setting::Swaps {
            return String::new();
        }
        format!("840000{:0>2}", sku.trim_start_matches("SKU-"))
    }

    /// Two articles of the ERP swap their barcodes.
    pub(crate) fn swap_barcodes(&mut self) {
        let (Some(one), Some(other)) = (self.pick_product("erp"), self.pick_product("erp")) else { return };
        let code = |id: u64| self.wire.with("erp", |model| model.products[&id].barcode.clone());
        let (first, second) = (code(one), code(other));
        self.change("erp", one, "relabels", |product| product.barcode = second);
        if one != other {
            self.change("erp", other, "relabels", |product| product.barcode = first);
        }
    }

    /// Somebody in the shop puts an article on sale.
    pub(crate) fn reduce(&mut self) {
        let Some(id) = self.pick_product("shop") else { return };
        let (sku, price) = self.wire.with("shop", |model| {
            let product = &model.products[&id];
            (product.sku.clone(), product.price.clone())
        });
        let sale = two_decimals(&self.price());
        if cents(&sale) < cents(&price) {
            self.sell_for(id, sku, sale);
        }
    }

    /// One sale ends.
    pub(crate) fn end_sale(&mut self) {
        let Some(sku) = self.sales.keys().next().cloned() else { return };
        let id = self.wire.with("shop", |model| model.product(&sku).first().map(|(id, _)| *id));
        match id {
            Some(id) => self.sell_for(id, sku, String::new()),
            None => drop(self.sales.remove(&sku)),
        }
    }

    /// All sales end.
    pub fn end_sales(&mut self) {
        while !self.sales.is_empty() {
            self.end_sale();
        }
    }

    fn sell_for(&mut self, id: u64, sku: String, sale: String) {
        self.touched.insert(sku.clone());
        self.change("shop", id, &format!("sells for {sale:?}"), |product| product.sale.clone_from(&sale));
        if sale.is_empty() {
            self.sales.remove(&sku);
        } else {
            self.sales.insert(sku, sale);
        }
    }

    /// Adds customers to the ERP that the shop will have too, with another e-mail address.
    pub(crate) fn add_known_customers(&mut self) {
        for number in 1..=3 + self.rng.below(4) {
            let vat = tax_number(number);
            let email = known_as(&vat);
            let customer =
                Customer { email, vat, name: "Known".into(), updated: self.wire.now("erp"), ..Customer::default() };
            self.wire.note(format!("before: erp has {} of {}", customer.vat, customer.email));
            self.wire.with("erp", |model| model.add_customer(customer));
        }
    }

    /// Draws the tax number of a new customer: one that no other customer of the shop has, or none.
    pub(crate) fn tax_number(&mut self) -> String {
        if self.trade.setting != Setting::Recognised || self.rng.permille(200) {
            return String::new();
        }
        let number = self.wire.with("shop", |model| model.customers.len());
        let vat = tax_number(u64::try_from(number).unwrap() + 1);
        if self.wire.has_grown() {
            self.recognised.insert(vat.clone());
        }
        vat
    }

    /// Picks an order of the shop whose buyer is known.
    fn pick_order_of_known_buyer(&self) -> Option<u64> {
        let is_known = |order: &Order| !order.email.is_empty();
        let ids: Vec<u64> = self.wire.with("shop", |model| {
            model.orders.iter().filter(|(_, order)| is_known(order)).map(|(id, _)| *id).collect()
        });
        self.pick(&ids)
    }

    /// The e-mail address of an order changes.
    pub(crate) fn change_order_email(&mut self) {
        let Some(id) = self.pick_order_of_known_buyer() else { return };
        let email = format!("a{}@example.com", self.rng.below(1000));
        self.change_email(id, email);
    }

    /// The shop erases the buyer of an order.
    pub(crate) fn erase(&mut self) {
        let Some(id) = self.pick_order_of_known_buyer() else { return };
        let name = self.wire.with("shop", |model| model.orders[&id].name());
        let is_known = self.wire.with("erp", |model| model.orders.values().any(|order| order.name() == name));
        self.change_email(id, String::new());
        // The ERP keeps the address that it has, or one that is being delivered.
        let mut known = self.emails[&name].clone();
        known.retain(|email| !email.is_empty() || !is_known);
        self.erased.insert(name, known);
    }

    fn change_email(&mut self, id: u64, email: String) {
        let now = self.wire.now("shop");
        let (name, before) = self.wire.with("shop", |model| {
            let order = model.orders.get_mut(&id).unwrap();
            order.updated = now;
            (order.name(), std::mem::replace(&mut order.email, email.clone()))
        });
        self.wire.note(format!("life: shop order {name} is of {email:?}"));
        self.emails.entry(name).or_default().extend([before, email]);
    }

    /// Somebody reopens a cancelled order.
    pub(crate) fn reopen(&mut self) {
        let host = if self.trade.ends && self.rng.permille(500) { "erp" } else { "shop" };
        let now = self.wire.now(host);
        // Not within a minute of the cancellation: the engine takes what is there right after its write for the
        // target's answer.
        let is_meant = |order: &Order| order.closed == "cancelled" && order.updated + 60 < now;
        let ids: Vec<u64> = self
            .wire
            .with(host, |model| model.orders.iter().filter(|(_, order)| is_meant(order)).map(|(id, _)| *id).collect());
        let Some(id) = self.pick(&ids) else { return };
        let order = self.wire.with(host, |model| {
            model.reopen(id);
            let order = model.orders.get_mut(&id).unwrap();
            order.updated = now;
            order.clone()
        });
        let name = order.name();
        self.wire.note(format!("life: {host} order {name} goes on"));
        self.wire.reopened(&name);
        self.sold.extend(order.lines.into_iter().map(|(sku, _, _)| sku));
        self.edits.entry(name).or_default().push((host, String::new()));
    }

    /// The shop gets the tax class that it lacked, and somebody assigns it to the articles that need it.
    pub fn add_missing_tax_class(&mut self) {
        let taxes: BTreeMap<String, String> = self.wire.with("erp", |model| {
            model.products.values().map(|product| (product.sku.clone(), product.tax.clone())).collect()
        });
        let now = self.wire.now("shop");
        self.wire.note("life: shop knows all tax classes");
        self.wire.with("shop", |model| {
            model.knows_super = true;
            for product in model.products.values_mut() {
                if product.tax.is_empty() && taxes.get(&product.sku).is_none_or(|tax| tax == "super") {
                    SUPER.clone_into(&mut product.tax);
                    product.updated = now;
                }
            }
        });
    }

    /// The stock of every article rises.
    pub fn restock(&mut self) {
        self.wire.note("life: erp restocks");
        self.wire.with("erp", |model| model.products.values_mut().for_each(|product| product.stock += 7));
    }

    /// Somebody enters an unreadable value: in an order or a customer of the shop, or in an article of the ERP.
    pub(crate) fn break_row(&mut self) {
        let what = self.rng.below(4);
        let host = if what == 0 { "erp" } else { "shop" };
        let now = self.wire.now(host);
        let broken = match what {
            0 => self.pick_product("erp").map(|id| {
                self.wire.with("erp", |model| {
                    let product = model.products.get_mut(&id).unwrap();
                    (product.broken, product.updated) = (true, now);
                    product.sku.clone()
                })
            }),
            1 => self.pick_customer("shop").map(|id| {
                self.wire.with("shop", |model| {
                    let customer = model.customers.get_mut(&id).unwrap();
                    (customer.broken, customer.updated) = (true, now);
                    customer.email.clone()
                })
            }),
            _ => {
                self.new_order();
                self.wire.with("shop", |model| {
                    let order = model.orders.values_mut().next_back()?;
                    (order.broken, order.updated) = (true, now);
                    Some(order.name())
                })
            }
        };
        if let Some(name) = broken {
            self.wire.note(format!("life: {host} {name} cannot be read"));
        }
    }

    /// Draws a customer of a side.
    fn pick_customer(&self, host: &str) -> Option<u64> {
        let ids: Vec<u64> = self.wire.with(host, |model| model.customers.keys().copied().collect());
        self.pick(&ids)
    }

    /// A customer gets an address at one side.
    pub(crate) fn new_address(&mut self, host: &'static str) {
        let Some(customer) = self.pick_customer(host) else { return };
        let (city, now) = (self.words().trim().to_owned(), self.wire.now(host));
        let id = self.wire.with(host, |model| {
            let number = model.customers[&customer].addresses.len();
            let code = if host == "erp" { format!("own {number}") } else { format!("place {number}") };
            model.customers.get_mut(&customer).unwrap().updated = now;
            model.add_address(customer, Address { code, city })
        });
        self.wire.note(format!("life: {host} customer {customer} has address {id}"));
    }

    /// Somebody changes one of a customer's addresses in the shop.
    pub(crate) fn change_address(&mut self, change: impl FnOnce(String, &mut Address)) {
        let Some(customer) = self.pick_customer("shop") else { return };
        let ids: Vec<u64> =
            self.wire.with("shop", |model| model.customers[&customer].addresses.keys().copied().collect());
        let Some(id) = self.pick(&ids) else { return };
        let (words, now) = (format!("{} {id}", self.words().trim()), self.wire.now("shop"));
        self.wire.with("shop", |model| {
            let customer = model.customers.get_mut(&customer).unwrap();
            change(words, customer.addresses.get_mut(&id).unwrap());
            customer.updated = now;
        });
        self.wire.note(format!("life: shop address {id} of customer {customer} changes"));
    }
}
