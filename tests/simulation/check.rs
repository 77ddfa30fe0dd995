//! Whether both sides tell the same story. Knows the models and what people did, and nothing of the engine.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    life::{BEFORE, Edits, Joins, Texts, Trade},
    models::{Customer, ERP_TEXT, Kind, Model, OWN, OWN_ADDRESS, Order, Product, SUPER, cents as amount, kept},
};

/// How much must have arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What moves a date at its source: what changed since the cursor.
    Deltas,
    /// Everything.
    All,
}

pub struct Check<'a> {
    pub erp: Model,
    pub shop: Model,
    pub trade: Trade,
    pub touched: &'a BTreeSet<String>,
    /// The shop takes off what it sells and tells nobody: its stock is known again after a full pull.
    pub sold: &'a BTreeSet<String>,
    pub undated: &'a BTreeSet<String>,
    pub edits: &'a Edits,
    /// What somebody in the shop sells articles for meanwhile.
    pub sales: &'a BTreeMap<String, String>,
    /// What the ERP may know of who bought what, where the shop has erased it.
    pub erased: &'a BTreeMap<String, Vec<String>>,
    /// Tax numbers of customers who are to be recognised by them.
    pub recognised: &'a BTreeSet<String>,
    pub reach: Reach,
    /// Rows that nobody can read are as they were; what does not hang on them is not.
    pub despite: bool,
}

fn cents(amount: &str) -> Option<i64> {
    let (whole, rest) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = format!("{rest:0<2}");
    (digits.len() == 2).then(|| format!("{whole}{digits}").parse().ok()).flatten()
}

/// The shop's word for the ERP's tax class.
pub fn shops_word(tax: &str) -> &'static str {
    match tax {
        "general" => "standard",
        "reduced" => "reduced-rate",
        "super" => SUPER,
        _ => "",
    }
}

impl Check<'_> {
    /// Everything that is not as it should be, in words.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let is_read = |is_broken: bool| !(self.despite && is_broken);
        for product in self.erp.products.values().filter(|product| is_read(product.broken)) {
            self.product(product, &mut wrong);
        }
        if self.reach == Reach::All {
            self.hidden(&mut wrong);
        }
        for (id, customer) in self.shop.customers.iter().filter(|(_, customer)| is_read(customer.broken)) {
            let taken: Vec<_> = self.erp.customers.values().filter(|taken| taken.email == customer.email).collect();
            match taken.as_slice() {
                [taken] if taken.name == customer.name => self.addresses(customer, taken, &mut wrong),
                [taken] => {
                    wrong.push(format!("customer {id}: {:?} in the shop, {:?} in the ERP", customer.name, taken.name));
                }
                [] => wrong.push(format!("customer {}: lost on the way to the ERP", customer.email)),
                many => wrong.push(format!("customer {}: {} times in the ERP", customer.email, many.len())),
            }
            let same = self.erp.customers.values().filter(|taken| taken.vat == customer.vat).count();
            if self.recognised.contains(&customer.vat) && same > 1 {
                wrong.push(format!("customer {}: {} is there {same} times", customer.email, customer.vat));
            }
        }
        let customer = |order: &Order| order.customer.and_then(|id| self.shop.customers.get(&id));
        let is_of_nobody = |order: &Order| customer(order).is_some_and(|customer| !is_read(customer.broken));
        for order in self.shop.orders.values().filter(|order| is_read(order.broken) && !is_of_nobody(order)) {
            self.order(order, &mut wrong);
        }
        self.own(&mut wrong);
        let is_ours = |taken: &&Order| self.shop.orders.values().any(|order| order.name() == taken.name());
        let taken = self.erp.orders.values().filter(is_ours).count();
        if taken > self.shop.orders.len() {
            wrong.push(format!("{taken} orders of {} in the ERP", self.shop.orders.len()));
        }
        wrong
    }

    fn product(&self, product: &Product, wrong: &mut Vec<String>) {
        let sku = &product.sku;
        // Before a full pull has passed, nobody knows what was deleted or touched.
        let settled = self.reach == Reach::All || !(self.touched.contains(sku) || self.erp.removed.contains_key(sku));
        let there = match self.shop.product(sku).as_slice() {
            [(_, there)] => (*there).clone(),
            [] if !settled => return,
            [] => return wrong.push(format!("{sku}: lost on the way to the shop")),
            many => return wrong.push(format!("{sku}: {} times in the shop", many.len())),
        };
        if !settled {
            return;
        }
        let mut differ = |what: &str, here: &dyn std::fmt::Debug, there: &dyn std::fmt::Debug| {
            wrong.push(format!("{sku}: {what} {here:?} in the ERP, {there:?} in the shop"));
        };
        if there.name != kept(Kind::Shop, &product.name) {
            differ("name", &product.name, &there.name);
        }
        if there.barcode != product.barcode {
            differ("barcode", &product.barcode, &there.barcode);
        }
        let tax = shops_word(&product.tax);
        let is_unknown = self.despite && tax == SUPER && there.tax.is_empty();
        if there.tax != tax && !is_unknown {
            differ("tax", &product.tax, &there.tax);
        }
        let known = self.reach == Reach::All || !self.sold.contains(sku);
        let known = known && !self.is_doubted(sku);
        // What nobody has paid yet is kept for whoever ordered it.
        let held: i64 = self
            .shop
            .orders
            .values()
            .filter(|one| one.is_waiting() && one.holds_goods())
            .map(|one| one.many(sku))
            .sum();
        let stock = self.erp.available(product) - held;
        if known && there.stock != stock.max(0) {
            differ("stock", &stock, &there.stock);
        }
        if !there.active {
            differ("active", &true, &false);
        }
        let is_below_sale = self.despite && !there.sale.is_empty() && amount(&product.price) < amount(&there.sale);
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
            // What was the ERP's before the shop's texts joined may be there in the shop's spelling.
            Texts::Shop if self.trade.joins == Joins::Texts => of_shop || of_erp || there.text.is_empty(),
            Texts::Shop => of_shop || there.text.is_empty(),
            Texts::Shared => of_shop || of_erp,
        };
        if !agree {
            differ("text", &product.text, &there.text);
        }
        let is_original = !(self.touched.contains(sku) || self.erp.removed.contains_key(sku));
        if let Some((host, text)) = self.undisputed(sku).filter(|_| is_original && self.trade.texts == Texts::Shared) {
            // Where nobody tells how a write of it ended, what the other side made of it counts as an edit of its own.
            let (found, cut) = match host {
                "erp" => (&product.text, kept(Kind::Erp, &kept(Kind::Shop, text))),
                _ => (&there.text, kept(Kind::Shop, &kept(Kind::Erp, text))),
            };
            if *found != *text && *found != cut {
                differ("an edit is lost", &product.text, &there.text);
            }
        }
        if product.text.chars().count() > ERP_TEXT {
            differ("a text too long", &product.text, &there.text);
        }
    }

    /// What only one side has ever made of a thing: it counts, whatever was done meanwhile.
    fn undisputed(&self, name: &str) -> Option<(&str, &String)> {
        let edits = self.edits.get(name)?;
        let (host, last) = edits.last()?;
        let is_one = edits.iter().all(|(other, _)| other == host);
        (is_one && *host != BEFORE).then_some((host, last))
    }

    /// Whether an order of it has not arrived because it cannot be read.
    fn is_doubted(&self, sku: &str) -> bool {
        let names = |order: &Order| order.lines.iter().any(|(sold, _, _)| sold == sku);
        let customer = |order: &Order| order.customer.and_then(|id| self.shop.customers.get(&id));
        let is_broken = |order: &Order| order.broken || customer(order).is_some_and(|customer| customer.broken);
        self.despite && self.shop.orders.values().any(|order| is_broken(order) && names(order))
    }

    /// What the ERP no longer has is no longer sold.
    fn hidden(&self, wrong: &mut Vec<String>) {
        for there in self.shop.products.values() {
            if there.active && !there.sku.starts_with(OWN) && self.erp.product(&there.sku).is_empty() {
                wrong.push(format!("{}: deleted in the ERP, still sold in the shop", there.sku));
            }
        }
    }

    /// What the shop sells besides is nobody else's.
    fn own(&self, wrong: &mut Vec<String>) {
        for own in self.shop.products.values().filter(|product| product.sku.starts_with(OWN)) {
            let is_left_alone = own.active && own.name == "Voucher" && own.price == "5.00" && own.text.is_empty();
            if !is_left_alone {
                wrong.push(format!("{}: the shop's own, and {own:?} now", own.sku));
            }
        }
    }

    /// Each address is there once, and those that people made on the other side are as they were.
    fn addresses(&self, customer: &Customer, taken: &Customer, wrong: &mut Vec<String>) {
        let shown = |customer: &Customer| -> Vec<String> {
            let mut shown: Vec<String> =
                customer.addresses.values().map(|address| format!("{}: {}", address.code, address.city)).collect();
            shown.sort();
            shown
        };
        let (here, mut there) = (shown(customer), shown(taken));
        there.retain(|address| !address.starts_with(OWN_ADDRESS));
        if here != there {
            wrong.push(format!("customer {}: addresses {here:?} in the shop, {there:?} in the ERP", customer.email));
        }
    }

    fn order(&self, order: &Order, wrong: &mut Vec<String>) {
        let number = &order.name();
        let taken: Vec<&Order> = self.erp.orders.values().filter(|taken| taken.name() == *number).collect();
        let taken = match taken.as_slice() {
            [] if order.is_waiting() => return,
            [_] if order.is_waiting() => {
                return wrong.push(format!("order {number}: {}, and in the ERP", order.status));
            }
            [taken] => *taken,
            [] => return wrong.push(format!("order {number}: lost on the way to the ERP")),
            many => return wrong.push(format!("order {number}: {} times in the ERP", many.len())),
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
            wrong.push(format!("order {number}: {order:?} in the shop, {taken:?} in the ERP"));
        }
        let sum: Option<i64> = taken.lines.iter().map(|(_, quantity, price)| Some(quantity * cents(price)?)).sum();
        if sum != cents(&taken.total) {
            wrong.push(format!("order {number}: its lines are {sum:?} cents, its total {}", taken.total));
        }
        let who = |model: &Model, id: Option<u64>| id.and_then(|id| Some(model.customers.get(&id)?.email.clone()));
        if who(&self.shop, order.customer) != who(&self.erp, taken.customer) {
            wrong.push(format!("order {number}: bought by {:?}, taken for {:?}", order.customer, taken.customer));
        }
        if taken.status == "draft" {
            wrong.push(format!("order {number}: never confirmed"));
        }
        // The ERP's word comes to the shop where it is further than what the shop knows; no state runs backwards.
        let is_behind = taken.status == "confirmed" && order.status == "paid";
        if taken.status != order.status && !is_behind {
            wrong.push(format!("order {number}: {} in the ERP, {} in the shop", taken.status, order.status));
        }
        // Before a full pull has passed, nobody knows of what has no date.
        if self.reach == Reach::All || !self.undated.contains(number) {
            self.end(order, taken, wrong);
        }
    }

    /// An order that one side ended has ended on the other, and its money was given back once.
    fn end(&self, order: &Order, taken: &Order, wrong: &mut Vec<String>) {
        let number = &order.name();
        if taken.closed != order.closed {
            wrong.push(format!("order {number}: {:?} in the ERP, {:?} in the shop", taken.closed, order.closed));
        }
        for (host, order) in [("ERP", taken), ("shop", order)] {
            // Nobody can do anything about who pays back between a look and the request that follows it.
            let times = order.paid_back - order.raced;
            if times > 1 || (times == 0 && order.closed == "refunded") {
                wrong.push(format!("order {number}: its money was given back {times} times in the {host}"));
            }
        }
        if let Some((host, how)) = self.undisputed(number).filter(|(_, how)| **how != order.closed) {
            wrong.push(format!("order {number}: {how} in the {host}, which was lost: it is {:?}", order.closed));
        }
    }
}
