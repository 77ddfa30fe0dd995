//! Objects that both sides have before the engine first runs (setting `adopted`), some of them in unreadable rows.

use crate::{
    life::Life,
    models::{Customer, Kind, Product, kept},
    setting::Setting,
};

impl Life<'_> {
    /// Gives the shop most of the catalog, with differences, and an article of its own; gives the ERP most orders and
    /// customers.
    pub(crate) fn add_existing_data(&mut self) {
        self.add_existing_catalog("shop");
        let own = Product { sku: "OWN-1".into(), name: "Voucher".into(), ..Product::default() };
        let own = Product { price: "5.00".into(), stock: 3, active: true, updated: self.wire.now("shop"), ..own };
        self.wire.with("shop", |model| model.add_product(own));
        self.add_existing_customers();
        for _ in 0..self.rng.below(5) {
            self.new_order();
        }
        self.add_existing_orders();
    }

    /// Gives a shop most of the catalog, with differences.
    pub(crate) fn add_existing_catalog(&mut self, shop: &str) {
        let catalog: Vec<Product> = self.wire.with("erp", |model| model.products.values().cloned().collect());
        for product in catalog {
            if !self.rng.permille(700) {
                continue;
            }
            let mut there = Product {
                name: kept(Kind::Shop, &product.name),
                price: "1.00".into(),
                updated: self.wire.now(shop),
                ..product
            };
            match self.rng.below(6) {
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

    fn add_existing_customers(&mut self) {
        let known: Vec<Customer> = self.wire.with("shop", |model| model.customers.values().cloned().collect());
        for customer in known {
            if self.rng.permille(600) {
                let name = if self.rng.permille(500) { self.words().trim().to_owned() } else { customer.name.clone() };
                let (broken, updated) = (self.rng.permille(200), self.wire.now("erp"));
                self.wire.note(format!("before: erp has {}{}", customer.email, self::broken(broken)));
                self.wire.with("erp", |model| model.add_customer(Customer { name, broken, updated, ..customer }));
            }
        }
    }

    fn add_existing_orders(&mut self) {
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
            // The ERP takes no order without its customer.
            if taken == Some(None) || !self.rng.permille(600) {
                continue;
            }
            let mut there = order;
            there.customer = taken.flatten();
            "confirmed".clone_into(&mut there.status);
            (there.broken, there.updated) = (self.rng.permille(200), self.wire.now("erp"));
            self.wire.note(format!("before: erp has {}{}", there.number, broken(there.broken)));
            self.wire.with("erp", |model| {
                model.take_off(&there.lines);
                model.add_order(there)
            });
        }
    }

    /// Makes at most `most` unreadable rows readable again, which moves their dates.
    pub fn correct(&mut self, most: usize) {
        let now = [self.wire.now("erp"), self.wire.now("shop")];
        let mut corrected = Vec::new();
        for (host, now) in ["erp", "shop"].into_iter().zip(now) {
            self.wire.with(host, |model| {
                let products = model.products.values_mut().map(|row| (&row.sku, &mut row.broken, &mut row.updated));
                let customers = model.customers.values_mut().map(|row| (&row.email, &mut row.broken, &mut row.updated));
                let orders = model.orders.values_mut().map(|row| (&row.number, &mut row.broken, &mut row.updated));
                let broken = products.chain(customers).chain(orders).filter(|(_, is_broken, _)| **is_broken);
                for (name, is_broken, updated) in broken.take(most - corrected.len()) {
                    (*is_broken, *updated) = (false, now);
                    corrected.push(format!("{host} mends {name}"));
                }
            });
        }
        for line in corrected {
            self.wire.note(format!("life: {line}"));
        }
    }
}

fn broken(is_broken: bool) -> &'static str {
    if is_broken { ", unreadable" } else { "" }
}
