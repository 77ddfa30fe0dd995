//! What both sides had before the engine's first day, and how much of it nobody can read.

use crate::{
    life::Life,
    models::{Customer, Kind, Product, kept},
    setting::Setting,
};

impl Life<'_> {
    /// The shop has most of the catalog, otherwise here and there, and articles of its own; the ERP has most of the orders
    /// and customers.
    pub(crate) fn have_before(&mut self) {
        self.have_catalog("shop");
        let own = Product { sku: "OWN-1".into(), name: "Voucher".into(), ..Product::default() };
        let own = Product { price: "5.00".into(), stock: 3, active: true, updated: self.wire.now("shop"), ..own };
        self.wire.with("shop", |model| model.add_product(own));
        self.customers_before();
        for _ in 0..self.chance.below(5) {
            self.new_order();
        }
        self.orders_before();
    }

    /// A shop has most of the catalog, otherwise here and there.
    pub(crate) fn have_catalog(&mut self, shop: &str) {
        let catalog: Vec<Product> = self.wire.with("erp", |model| model.products.values().cloned().collect());
        for product in catalog {
            if !self.chance.hits(700) {
                continue;
            }
            let mut there = Product {
                name: kept(Kind::Shop, &product.name),
                price: "1.00".into(),
                updated: self.wire.now(shop),
                ..product
            };
            match self.chance.below(6) {
                0 => there.name = kept(Kind::Shop, &self.words()),
                1 => there.stock += 1,
                2 => there.active = false,
                3 => there.broken = self.trade.setting == Setting::Adopted,
                _ => {}
            }
            self.touched.insert(there.sku.clone());
            self.wire.note(format!("before: {shop} has {}{}", there.sku, broken(there.broken)));
            self.wire.with(shop, |model| model.add_product(there));
        }
    }

    fn customers_before(&mut self) {
        let known: Vec<Customer> = self.wire.with("shop", |model| model.customers.values().cloned().collect());
        for customer in known {
            if self.chance.hits(600) {
                let name = if self.chance.hits(500) { self.words().trim().to_owned() } else { customer.name.clone() };
                let (broken, updated) = (self.chance.hits(200), self.wire.now("erp"));
                self.wire.note(format!("before: erp has {}{}", customer.email, self::broken(broken)));
                self.wire.with("erp", |model| model.add_customer(Customer { name, broken, updated, ..customer }));
            }
        }
    }

    fn orders_before(&mut self) {
        let known: Vec<_> = self.wire.with("shop", |model| {
            let email = |id: Option<u64>| id.and_then(|id| Some(model.customers.get(&id)?.email.clone()));
            model.orders.values().map(|order| (order.clone(), email(order.customer))).collect()
        });
        for (order, email) in known {
            let taken = self.wire.with("erp", |model| {
                email
                    .as_ref()
                    .map(|email| model.customers.iter().find(|(_, taken)| taken.email == *email).map(|(id, _)| *id))
            });
            // An ERP has no order without whoever it is for.
            if taken == Some(None) || !self.chance.hits(600) {
                continue;
            }
            let mut there = order;
            there.customer = taken.flatten();
            "confirmed".clone_into(&mut there.status);
            (there.broken, there.updated) = (self.chance.hits(200), self.wire.now("erp"));
            self.wire.note(format!("before: erp has {}{}", there.number, broken(there.broken)));
            self.wire.with("erp", |model| {
                model.take_off(&there.lines);
                model.add_order(there)
            });
        }
    }

    /// Somebody mends so many of the rows that nobody could read; that moves their dates.
    pub fn mend(&mut self, most: usize) {
        let now = [self.wire.now("erp"), self.wire.now("shop")];
        let mut mended = Vec::new();
        for (host, now) in ["erp", "shop"].into_iter().zip(now) {
            self.wire.with(host, |model| {
                let products = model.products.values_mut().map(|row| (&row.sku, &mut row.broken, &mut row.updated));
                let customers = model.customers.values_mut().map(|row| (&row.email, &mut row.broken, &mut row.updated));
                let orders = model.orders.values_mut().map(|row| (&row.number, &mut row.broken, &mut row.updated));
                let broken = products.chain(customers).chain(orders).filter(|(_, is_broken, _)| **is_broken);
                for (name, is_broken, updated) in broken.take(most - mended.len()) {
                    (*is_broken, *updated) = (false, now);
                    mended.push(format!("{host} mends {name}"));
                }
            });
        }
        for line in mended {
            self.wire.note(format!("life: {line}"));
        }
    }
}

fn broken(is_broken: bool) -> &'static str {
    if is_broken { ", unreadable" } else { "" }
}
