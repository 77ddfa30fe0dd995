//! Compares both sides when the engine is at rest. Knows the models and what people did, and shares no code with the
//! engine.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    life::{BEFORE_JOIN, Edits},
    models::{Customer, ERP_TEXT, Kind, Model, OWN, OWN_ADDRESS, Order, Product, SUPER, cents as amount, kept},
    trade::{Joins, Texts, Trade},
};

/// Which changes must have arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those that move a date at their source.
    Deltas,
    /// All of them.
    All,
}

/// Both sides, and what people did that matters for their comparison.
pub struct Check<'a> {
    pub erp: Model,
    pub shop: Model,
    pub trade: Trade,
    /// Articles that somebody edited in the shop: only a full pull finds it.
    pub touched: &'a BTreeSet<String>,
    /// Articles that the shop has sold, which lowers its stock without moving a date: only a full pull finds it.
    pub sold: &'a BTreeSet<String>,
    /// Orders that were ended without moving their date.
    pub undated: &'a BTreeSet<String>,
    /// Who edited which text, and who ended which order.
    pub edits: &'a Edits,
    /// Sale prices that people set in the shop, by article.
    pub sales: &'a BTreeMap<String, String>,
    /// By order whose buyer the shop has erased: the e-mail addresses that the ERP may have.
    pub erased: &'a BTreeMap<String, Vec<String>>,
    /// Tax numbers by which customers must be recognised.
    pub recognised: &'a BTreeSet<String>,
    pub reach: Reach,
    /// Unreadable rows are not corrected yet: check only what does not depend on them.
    pub before_repair: bool,
}

/// An amount in cents, if it has at most two decimals.
fn cents(amount: &str) -> Option<i64> {
    let (whole, rest) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = format!("{rest:0<2}");
    (digits.len() == 2).then(|| format!("{whole}{digits}").parse().ok()).flatten()
}

/// The shop's word for a tax class of the ERP.
pub fn shops_word(tax: &str) -> &'static str {
    match tax {
        "general" => "standard",
        "reduced" => "reduced-rate",
        "super" => SUPER,
        _ => "",
    }
}

impl Check<'_> {
    /// Every difference, in words.
    pub fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let is_read = |is_broken: bool| !(self.before_repair && is_broken);
        for product in self.erp.products.values().filter(|product| is_read(product.broken)) {
            self.product(product, &mut violations);
        }
        if self.reach == Reach::All {
            self.hidden(&mut violations);
        }
        for (id, customer) in self.shop.customers.iter().filter(|(_, customer)| is_read(customer.broken)) {
            let taken: Vec<_> = self.erp.customers.values().filter(|taken| taken.email == customer.email).collect();
            match taken.as_slice() {
                [taken] if taken.name == customer.name => self.addresses(customer, taken, &mut violations),
                [taken] => {
                    violations
                        .push(format!("customer {id}: {:?} in the shop, {:?} in the ERP", customer.name, taken.name));
                }
                [] => violations.push(format!("customer {}: lost on the way to the ERP", customer.email)),
                many => violations.push(format!("customer {}: {} times in the ERP", customer.email, many.len())),
            }
            let same = self.erp.customers.values().filter(|taken| taken.vat == customer.vat).count();
            if self.recognised.contains(&customer.vat) && same > 1 {
                violations.push(format!("customer {}: {} is there {same} times", customer.email, customer.vat));
            }
        }
        let customer = |order: &Order| order.customer.and_then(|id| self.shop.customers.get(&id));
        let is_of_nobody = |order: &Order| customer(order).is_some_and(|customer| !is_read(customer.broken));
        for order in self.shop.orders.values().filter(|order| is_read(order.broken) && !is_of_nobody(order)) {
            self.order(order, &mut violations);
        }
        self.own(&mut violations);
        let is_ours = |taken: &&Order| self.shop.orders.values().any(|order| order.name() == taken.name());
        let taken = self.erp.orders.values().filter(is_ours).count();
        if taken > self.shop.orders.len() {
            violations.push(format!("{taken} orders of {} in the ERP", self.shop.orders.len()));
        }
        violations
    }

    fn product(&self, product: &Product, violations: &mut Vec<String>) {
        let sku = &product.sku;
        // Deletions, and edits in the shop, are found only by a full pull.
        let is_final = self.reach == Reach::All || !(self.touched.contains(sku) || self.erp.removed.contains_key(sku));
        let there = match self.shop.product(sku).as_slice() {
            [(_, there)] => (*there).clone(),
            [] if !is_final => return,
            [] => return violations.push(format!("{sku}: lost on the way to the shop")),
            many => return violations.push(format!("{sku}: {} times in the shop", many.len())),
        };
        if !is_final {
            return;
        }
        let mut differ = |what: &str, here: &dyn std::fmt::Debug, there: &dyn std::fmt::Debug| {
            violations.push(format!("{sku}: {what} {here:?} in the ERP, {there:?} in the shop"));
        };
        if there.name != kept(Kind::Shop, &product.name) {
            differ("name", &product.name, &there.name);
        }
        if there.barcode != product.barcode {
            differ("barcode", &product.barcode, &there.barcode);
        }
        let tax = shops_word(&product.tax);
        let is_unknown = self.before_repair && tax == SUPER && there.tax.is_empty();
        if there.tax != tax && !is_unknown {
            differ("tax", &product.tax, &there.tax);
        }
        let known = self.reach == Reach::All || !self.sold.contains(sku);
        let known = known && !self.has_unreadable_order(sku);
        // Unpaid orders that the ERP does not have yet reserve their goods.
        let reserved: i64 = self
            .shop
            .orders
            .values()
            .filter(|one| one.is_waiting() && one.holds_goods())
            .map(|one| one.many(sku))
            .sum();
        let stock = self.erp.available(product) - reserved;
        if known && there.stock != stock.max(0) {
            differ("stock", &stock, &there.stock);
        }
        if !there.active {
            differ("active", &true, &false);
        }
        let is_below_sale =
            self.before_repair && !there.sale.is_empty() && amount(&product.price) < amount(&there.sale);
        if self.trade.prices && amount(&there.price) != amount(&product.price) && !is_below_sale {
            differ("price", &product.price, &there.price);
        }
        if Some(&there.sale).filter(|sale| !sale.is_empty()) != self.sales.get(sku) {
            differ("a sale made in the shop", &self.sales.get(sku), &there.sale);
        }
        let (of_shop, of_erp) =
            (product.text == kept(Kind::Erp, &there.text), there.text == kept(Kind::Shop, &product.text));
        let agree = match self.trade.texts {
            Texts::Erp => of_erp,
            // A text that was the ERP's before the shop's texts joined may be there as the shop stores it.
            Texts::Shop if self.trade.joins == Joins::Texts => of_shop || of_erp || there.text.is_empty(),
            Texts::Shop => of_shop || there.text.is_empty(),
            Texts::Shared => of_shop || of_erp,
        };
        if !agree {
            differ("text", &product.text, &there.text);
        }
        let is_original = !(self.touched.contains(sku) || self.erp.removed.contains_key(sku));
        if let Some((host, text)) = self.undisputed(sku).filter(|_| is_original && self.trade.texts == Texts::Shared) {
            // If the result of a write is unknown, the text that the other side made of it counts as an edit there.
            let (found, altered) = match host {
                "erp" => (&product.text, kept(Kind::Erp, &kept(Kind::Shop, text))),
                _ => (&there.text, kept(Kind::Shop, &kept(Kind::Erp, text))),
            };
            if *found != *text && *found != altered {
                differ("an edit is lost", &product.text, &there.text);
            }
        }
        if product.text.chars().count() > ERP_TEXT {
            differ("a text too long", &product.text, &there.text);
        }
    }

    /// The last edit of an object that only one side ever edited: it must not get lost.
    fn undisputed(&self, name: &str) -> Option<(&str, &String)> {
        let edits = self.edits.get(name)?;
        let (host, last) = edits.last()?;
        let is_one = edits.iter().all(|(other, _)| other == host);
        (is_one && *host != BEFORE_JOIN).then_some((host, last))
    }

    /// Whether an unreadable order contains the article, so that its stock is uncertain.
    fn has_unreadable_order(&self, sku: &str) -> bool {
        let names = |order: &Order| order.lines.iter().any(|(sold, _, _)| sold == sku);
        let customer = |order: &Order| order.customer.and_then(|id| self.shop.customers.get(&id));
        let is_broken = |order: &Order| order.broken || customer(order).is_some_and(|customer| customer.broken);
        self.before_repair && self.shop.orders.values().any(|order| is_broken(order) && names(order))
    }

    /// The shop does not sell what the ERP no longer has.
    fn hidden(&self, violations: &mut Vec<String>) {
        for there in self.shop.products.values() {
            if there.active && !there.sku.starts_with(OWN) && self.erp.product(&there.sku).is_empty() {
                violations.push(format!("{}: deleted in the ERP, still sold in the shop", there.sku));
            }
        }
    }

    /// Articles that only the shop has stay as they were.
    fn own(&self, violations: &mut Vec<String>) {
        for own in self.shop.products.values().filter(|product| product.sku.starts_with(OWN)) {
            let is_left_alone = own.active && own.name == "Voucher" && own.price == "5.00" && own.text.is_empty();
            if !is_left_alone {
                violations.push(format!("{}: the shop's own, and {own:?} now", own.sku));
            }
        }
    }

    /// Each address of the shop is in the ERP once; addresses that people added in the ERP do not count.
    fn addresses(&self, customer: &Customer, taken: &Customer, violations: &mut Vec<String>) {
        let shown = |customer: &Customer| -> Vec<String> {
            let mut shown: Vec<String> =
                customer.addresses.values().map(|address| format!("{}: {}", address.code, address.city)).collect();
            shown.sort();
            shown
        };
        let (here, mut there) = (shown(customer), shown(taken));
        there.retain(|address| !address.starts_with(OWN_ADDRESS));
        if here != there {
            violations
                .push(format!("customer {}: addresses {here:?} in the shop, {there:?} in the ERP", customer.email));
        }
    }

    fn order(&self, order: &Order, violations: &mut Vec<String>) {
        let number = &order.name();
        let taken: Vec<&Order> = self.erp.orders.values().filter(|taken| taken.name() == *number).collect();
        let taken = match taken.as_slice() {
            [] if order.is_waiting() => return,
            [_] if order.is_waiting() => {
                return violations.push(format!("order {number}: {}, and in the ERP", order.status));
            }
            [taken] => *taken,
            [] => return violations.push(format!("order {number}: lost on the way to the ERP")),
            many => return violations.push(format!("order {number}: {} times in the ERP", many.len())),
        };
        let money = |order: &Order| {
            let lines = order.lines.iter().map(|(sku, quantity, price)| (sku.clone(), *quantity, cents(price)));
            (cents(&order.total), order.currency.clone(), lines.collect::<Vec<_>>())
        };
        let is_buyer = match self.erased.get(number) {
            Some(known) => known.contains(&taken.email),
            None => taken.email == order.email,
        };
        if money(taken) != money(order) || !is_buyer {
            violations.push(format!("order {number}: {order:?} in the shop, {taken:?} in the ERP"));
        }
        let sum: Option<i64> = taken.lines.iter().map(|(_, quantity, price)| Some(quantity * cents(price)?)).sum();
        if sum != cents(&taken.total) {
            violations.push(format!("order {number}: its lines are {sum:?} cents, its total {}", taken.total));
        }
        let who = |model: &Model, id: Option<u64>| id.and_then(|id| Some(model.customers.get(&id)?.email.clone()));
        if who(&self.shop, order.customer) != who(&self.erp, taken.customer) {
            violations.push(format!("order {number}: bought by {:?}, taken for {:?}", order.customer, taken.customer));
        }
        if taken.status == "draft" {
            violations.push(format!("order {number}: never confirmed"));
        }
        // The shop may be one state behind: "confirmed" means nothing more to it than "paid".
        let is_behind = taken.status == "confirmed" && order.status == "paid";
        if taken.status != order.status && !is_behind {
            violations.push(format!("order {number}: {} in the ERP, {} in the shop", taken.status, order.status));
        }
        // A change without a date is found only by a full pull.
        if self.reach == Reach::All || !self.undated.contains(number) {
            self.end(order, taken, violations);
        }
    }

    /// An order that one side cancelled or refunded is so at the other, and its money was refunded once.
    fn end(&self, order: &Order, taken: &Order, violations: &mut Vec<String>) {
        let number = &order.name();
        if taken.closed != order.closed {
            violations.push(format!("order {number}: {:?} in the ERP, {:?} in the shop", taken.closed, order.closed));
        }
        for (host, order) in [("ERP", taken), ("shop", order)] {
            // A refund between the engine's read and its own request cannot be prevented.
            let times = order.paid_back - order.raced;
            if times > 1 || (times == 0 && order.closed == "refunded") {
                violations.push(format!("order {number}: its money was given back {times} times in the {host}"));
            }
        }
        if let Some((host, how)) = self.undisputed(number).filter(|(_, how)| **how != order.closed) {
            violations.push(format!("order {number}: {how} in the {host}, which was lost: it is {:?}", order.closed));
        }
    }
}
