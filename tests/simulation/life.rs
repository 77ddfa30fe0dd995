//! What people and programs do at both sides while the engine works.

use std::collections::BTreeSet;

use crate::{
    chance::Chance,
    clock::SimClock,
    models::{Customer, Kind, Order, Product, kept},
    wire::Wire,
};

const NAMES: [&str; 6] = ["Hammer", "Nuts & bolts", " Padded ", "Saw", "Drill bit 8 mm", "Ladder"];

/// What a company does with its systems, by the seed.
#[derive(Clone, Copy, Debug)]
pub struct Trade {
    pub prices: bool,
    /// The shop writes its own texts, and the ERP gets them.
    pub texts: bool,
    pub customers: bool,
    /// Minutes between two pulls of a flow.
    pub every: u64,
}

impl Trade {
    pub fn draw(chance: &Chance) -> Self {
        Self {
            prices: chance.hits(500),
            texts: chance.hits(500),
            customers: chance.hits(600),
            every: if chance.hits(500) { 3 } else { 10 },
        }
    }
}

pub struct Life<'a> {
    pub wire: &'a Wire,
    pub clock: &'a SimClock,
    pub chance: &'a Chance,
    pub trade: Trade,
    /// Articles that somebody touched in the shop: what the ERP owns of them only a full pull repairs.
    pub touched: BTreeSet<String>,
    /// Articles that somebody bought.
    pub sold: BTreeSet<String>,
    skus: u64,
    numbers: u64,
    /// Articles that whoever goes through the ERP's catalog has yet to come to.
    round: Vec<u64>,
}

impl<'a> Life<'a> {
    pub fn new(wire: &'a Wire, clock: &'a SimClock, chance: &'a Chance, trade: Trade) -> Self {
        let mut life = Self {
            wire,
            clock,
            chance,
            trade,
            touched: BTreeSet::new(),
            sold: BTreeSet::new(),
            skus: 0,
            numbers: 0,
            round: Vec::new(),
        };
        for _ in 0..2 + chance.below(13) {
            life.new_product();
        }
        for _ in 0..chance.below(4) {
            life.new_customer();
        }
        life
    }

    fn among<T: Copy>(&self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[usize::try_from(self.chance.below(of.len() as u64)).unwrap()])
    }

    fn product(&self, host: &str) -> Option<u64> {
        let ids: Vec<u64> = self.wire.with(host, |model| model.products.keys().copied().collect());
        self.among(&ids)
    }

    fn words(&self) -> String {
        format!("{} {}", self.among(&NAMES).unwrap_or_default(), self.chance.below(100))
    }

    fn price(&self) -> String {
        // Not every program writes two decimals.
        let cents = 100 + self.chance.below(30) * 10;
        let text = format!("{}.{:02}", cents / 100, cents % 100);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    fn change(&mut self, host: &'static str, id: u64, what: &str, change: impl FnOnce(&mut Product)) {
        let now = self.wire.now(host);
        let sku = self.wire.with(host, |model| {
            let product = model.products.get_mut(&id).unwrap();
            change(product);
            product.updated = now;
            product.sku.clone()
        });
        self.wire.note(format!("life: {host} {what} {sku} ({id})"));
    }

    fn new_product(&mut self) {
        self.skus += 1;
        self.add_product(format!("SKU-{}", self.skus));
    }

    fn add_product(&mut self, sku: String) {
        let product = Product {
            name: self.words(),
            text: String::new(),
            price: self.price(),
            stock: i64::try_from(self.chance.below(50)).unwrap(),
            active: true,
            updated: self.wire.now("erp"),
            sku,
        };
        self.wire.note(format!("life: erp new {}", product.sku));
        self.wire.with("erp", |model| model.add_product(product));
    }

    fn new_customer(&mut self) {
        if !self.trade.customers {
            return;
        }
        self.numbers += 1;
        let customer = Customer {
            email: format!("c{}@example.com", self.numbers),
            name: self.words().trim().to_owned(),
            updated: self.wire.now("shop"),
        };
        self.wire.note(format!("life: shop new {}", customer.email));
        self.wire.with("shop", |model| model.add_customer(customer));
    }

    fn new_order(&mut self) {
        self.numbers += 1;
        let number = format!("W{}", self.numbers);
        let customers: Vec<u64> = self.wire.with("shop", |model| model.customers.keys().copied().collect());
        let customer = if self.chance.hits(300) { None } else { self.among(&customers) };
        let mut lines = Vec::new();
        let mut cents = 0;
        for _ in 0..=self.chance.below(3) {
            let Some(id) = self.product("shop") else { return };
            let (quantity, price) = (1 + self.chance.below(3), 100 + self.chance.below(900));
            // Nobody can buy what is not offered.
            let sku = self.wire.with("shop", |model| {
                let product = &model.products[&id];
                (product.active && product.stock >= 9).then(|| product.sku.clone())
            });
            let Some(sku) = sku else { continue };
            cents += quantity * price;
            let price = format!("{}.{:02}", price / 100, price % 100);
            lines.push((sku, i64::try_from(quantity).unwrap(), price));
        }
        if lines.is_empty() {
            return;
        }
        self.sold.extend(lines.iter().map(|(sku, _, _)| sku.clone()));
        let order = Order {
            customer,
            email: format!("{}@example.com", number.to_lowercase()),
            lines,
            total: format!("{}.{:02}", cents / 100, cents % 100),
            status: "paid".into(),
            updated: self.wire.now("shop"),
            number,
        };
        self.wire.note(format!("life: shop order {}", order.number));
        self.wire.with("shop", |model| {
            model.take_off(&order.lines);
            model.add_order(order)
        });
    }

    /// Whether somebody is in the middle of something.
    pub fn is_busy(&self) -> bool {
        !self.round.is_empty()
    }

    /// Somebody renames an article of the ERP.
    fn rename(&mut self, id: u64) {
        let name = self.words();
        self.change("erp", id, "renames", |product| product.name = name);
    }

    /// Changes of one field each, so that its neighbours have no reason to be written.
    pub fn tidy(&mut self) {
        if let Some(id) = self.product("shop") {
            self.touch(id);
            self.change("shop", id, "meddles with", |product| product.active = !product.active);
        }
        let (host, kind) = if self.trade.texts { ("shop", Kind::Shop) } else { ("erp", Kind::Erp) };
        if let Some(id) = self.product(host) {
            let text = kept(kind, &self.words());
            let before = self.wire.with(host, |model| model.products[&id].text.clone());
            // Where the other side makes the same of both, what is written is there already.
            let is_seen = |side: Kind| kept(side, &kept(kind, &text)) != kept(side, &before);
            if is_seen(Kind::Erp) && is_seen(Kind::Shop) {
                self.change(host, id, "describes", |product| product.text = text);
            }
        }
    }

    /// One thing happens.
    pub fn happen(&mut self) {
        if let Some(id) = self.round.pop() {
            if self.wire.with("erp", |model| model.products.contains_key(&id)) {
                self.rename(id);
            }
            return;
        }
        match self.chance.below(19) {
            0 => self.new_product(),
            1 | 2 => {
                let Some(id) = self.product("erp") else { return };
                self.rename(id);
            }
            3 => {
                let Some(id) = self.product("erp") else { return };
                let price = self.price();
                self.change("erp", id, "prices", |product| product.price = price);
            }
            4 | 5 => {
                // Stock does not move the product's date.
                let Some(id) = self.product("erp") else { return };
                let stock = i64::try_from(self.chance.below(50)).unwrap();
                self.wire.note(format!("life: erp stock of {id} is {stock}"));
                self.wire.with("erp", |model| model.products.get_mut(&id).unwrap().stock = stock);
            }
            6 if self.chance.hits(500) => {
                let Some(id) = self.product("erp") else { return };
                // Not the last one: an empty listing is not believed.
                if self.wire.with("erp", |model| model.products.len()) == 1 {
                    return;
                }
                let now = self.clock.truth();
                let sku = self.wire.with("erp", |model| {
                    let product = model.products.remove(&id).unwrap();
                    model.removed.insert(product.sku.clone(), now);
                    product.sku
                });
                self.wire.note(format!("life: erp deletes {sku} ({id})"));
            }
            7 => {
                // What was deleted comes back under its old reference, as a new object.
                let gone: Vec<String> = self.wire.with("erp", |model| {
                    model.removed.keys().filter(|sku| model.product(sku).is_empty()).cloned().collect()
                });
                if let Some(sku) = gone.first() {
                    self.add_product(sku.clone());
                }
            }
            8 => {
                // Saved as it was: only the date moves.
                let host = if self.chance.hits(500) { "erp" } else { "shop" };
                let Some(id) = self.product(host) else { return };
                self.change(host, id, "saves", |_| {});
            }
            9 => {
                let confirmed: Vec<u64> = self.wire.with("erp", |model| {
                    let orders = model.orders.iter().filter(|(_, order)| order.status == "confirmed");
                    orders.map(|(id, _)| *id).collect()
                });
                let Some(id) = self.among(&confirmed) else { return };
                let now = self.wire.now("erp");
                let number = self.wire.with("erp", |model| {
                    let order = model.orders.get_mut(&id).unwrap();
                    "shipped".clone_into(&mut order.status);
                    order.updated = now;
                    order.number.clone()
                });
                self.wire.note(format!("life: erp ships {number}"));
            }
            // Somebody edits in the shop what the ERP owns.
            10 | 11 => {
                let Some(id) = self.product("shop") else { return };
                let (what, stock) = (self.chance.below(3), i64::try_from(self.chance.below(50)).unwrap());
                let name = kept(Kind::Shop, &self.words());
                self.touch(id);
                self.change("shop", id, "meddles with", |product| match what {
                    0 => product.name = name,
                    1 => product.stock = stock,
                    _ => product.active = !product.active,
                });
            }
            12 if self.chance.hits(300) => {
                let Some(id) = self.product("shop") else { return };
                self.touch(id);
                let product = self.wire.with("shop", |model| model.products.remove(&id).unwrap());
                self.wire.note(format!("life: shop deletes {} ({id})", product.sku));
            }
            13 => {
                let (host, kind) = if self.trade.texts { ("shop", Kind::Shop) } else { ("erp", Kind::Erp) };
                let Some(id) = self.product(host) else { return };
                let text = kept(kind, &self.words());
                self.change(host, id, "describes", |product| product.text = text);
            }
            14 => self.new_customer(),
            15 => {
                let customers: Vec<u64> = self.wire.with("shop", |model| model.customers.keys().copied().collect());
                let Some(id) = self.among(&customers) else { return };
                let (name, now) = (self.words().trim().to_owned(), self.wire.now("shop"));
                self.wire.note(format!("life: shop customer {id} is called {name}"));
                self.wire.with("shop", |model| {
                    let customer = model.customers.get_mut(&id).unwrap();
                    customer.name = name;
                    customer.updated = now;
                });
            }
            16 | 17 => self.new_order(),
            // From the end: what is listed last has changed first.
            18 => self.round = self.wire.with("erp", |model| model.products.keys().copied().collect()),
            _ => {}
        }
    }

    fn touch(&mut self, id: u64) {
        let sku = self.wire.with("shop", |model| model.products[&id].sku.clone());
        self.touched.insert(sku);
    }
}
