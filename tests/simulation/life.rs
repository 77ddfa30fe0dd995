//! What people and programs do at both sides while the engine works, and the check that shares no code with it.

use vaiven::store::Run;

use crate::{
    chance::Chance,
    models::{Order, Product},
    wire::Wire,
};

const NAMES: [&str; 6] = ["Hammer", "Nuts & bolts", " Padded ", "Saw", "Drill bit 8 mm", "Ladder"];

fn name(chance: &Chance) -> String {
    let at = usize::try_from(chance.below(NAMES.len() as u64)).unwrap();
    format!("{} {}", NAMES[at], chance.below(100))
}

pub struct Life<'a> {
    pub wire: &'a Wire,
    pub chance: &'a Chance,
    pub now: i64,
    pub skus: u64,
    pub orders: u64,
}

impl Life<'_> {
    fn pick(&self, host: &str) -> Option<u64> {
        self.wire.with(host, |model| {
            let ids: Vec<u64> = model.products.keys().copied().collect();
            (!ids.is_empty()).then(|| ids[usize::try_from(self.chance.below(ids.len() as u64)).unwrap()])
        })
    }

    pub fn new_product(&mut self) {
        self.skus += 1;
        let product = Product {
            sku: format!("SKU-{}", self.skus),
            name: name(self.chance),
            price: "1".into(),
            stock: i64::try_from(self.chance.below(50)).unwrap(),
            active: true,
            updated: self.now,
        };
        self.wire.note(format!("life: new {}", product.sku));
        self.wire.with("erp", |model| model.add_product(product));
    }

    /// One thing happens.
    pub fn happen(&mut self) {
        match self.chance.below(8) {
            0 => self.new_product(),
            1 | 2 => {
                let Some(id) = self.pick("erp") else { return };
                let (name, now) = (name(self.chance), self.now);
                self.wire.note(format!("life: rename {id}"));
                self.wire.with("erp", |model| {
                    let product = model.products.get_mut(&id).unwrap();
                    product.name = name;
                    product.updated = now;
                });
            }
            3 => {
                // Stock does not move the product's date.
                let Some(id) = self.pick("erp") else { return };
                let stock = i64::try_from(self.chance.below(50)).unwrap();
                self.wire.note(format!("life: stock of {id} is {stock}"));
                self.wire.with("erp", |model| model.products.get_mut(&id).unwrap().stock = stock);
            }
            4 if self.chance.hits(400) => {
                let Some(id) = self.pick("erp") else { return };
                // Not the last one: an empty listing is not believed.
                if self.wire.with("erp", |model| model.products.len()) > 1 {
                    self.wire.note(format!("life: delete {id}"));
                    self.wire.with("erp", |model| model.products.remove(&id));
                }
            }
            5 => {
                // Somebody edits in the shop what the ERP owns; the shop alters that as well.
                let Some(id) = self.pick("shop") else { return };
                let (name, now) = (as_stored(&name(self.chance)), self.now);
                self.wire.note(format!("life: shop renames {id}"));
                self.wire.with("shop", |model| {
                    let product = model.products.get_mut(&id).unwrap();
                    product.name = name;
                    product.updated = now;
                });
            }
            6 => {
                self.orders += 1;
                let number = format!("W{}", self.orders);
                let quantity = i64::try_from(1 + self.chance.below(3)).unwrap();
                let order = Order {
                    email: format!("{number}@example.com"),
                    lines: vec![("SKU-1".into(), quantity, "2.5".into())],
                    total: format!("{}.{}", quantity * 5 / 2, if quantity % 2 == 1 { 5 } else { 0 }),
                    status: "paid".into(),
                    updated: self.now,
                    number,
                };
                self.wire.note(format!("life: order {}", order.number));
                self.wire.with("shop", |model| model.add_order(order));
            }
            7 => {
                let now = self.now;
                self.wire.note("life: an order is shipped");
                self.wire.with("erp", |model| {
                    if let Some(order) = model.orders.values_mut().find(|order| order.status == "confirmed") {
                        "shipped".clone_into(&mut order.status);
                        order.updated = now;
                    }
                });
            }
            _ => {}
        }
    }
}

/// What the shop makes of a name.
fn as_stored(name: &str) -> String {
    name.trim().replace('&', "&amp;")
}

/// Everything that is not as it should be, in words.
pub fn check(wire: &Wire, runs: &[Run]) -> Vec<String> {
    let erp = wire.with("erp", |model| model.clone());
    let shop = wire.with("shop", |model| model.clone());
    let mut wrong = Vec::new();
    for product in erp.products.values() {
        match shop.product(&product.sku).as_slice() {
            [(_, there)] => {
                if there.name != as_stored(&product.name) {
                    wrong.push(format!(
                        "{}: name {:?} in the ERP, {:?} in the shop",
                        product.sku, product.name, there.name
                    ));
                }
                if there.stock != product.stock {
                    wrong.push(format!(
                        "{}: stock {} in the ERP, {} in the shop",
                        product.sku, product.stock, there.stock
                    ));
                }
                if !there.active {
                    wrong.push(format!("{}: hidden in the shop though the ERP sells it", product.sku));
                }
            }
            [] => wrong.push(format!("{}: lost on the way to the shop", product.sku)),
            many => wrong.push(format!("{}: {} times in the shop", product.sku, many.len())),
        }
    }
    for there in shop.products.values() {
        if there.active && erp.product(&there.sku).is_empty() {
            wrong.push(format!("{}: deleted in the ERP, still sold in the shop", there.sku));
        }
    }
    for order in shop.orders.values() {
        let taken: Vec<&Order> = erp.orders.values().filter(|taken| taken.number == order.number).collect();
        match taken.as_slice() {
            [taken] => {
                if taken.lines != order.lines
                    || taken.total.trim_end_matches(".0") != order.total.trim_end_matches(".0")
                {
                    wrong.push(format!("order {}: {:?} in the shop, {:?} in the ERP", order.number, order, taken));
                }
                if taken.status == "draft" {
                    wrong.push(format!("order {}: never confirmed", order.number));
                }
                if taken.status != order.status {
                    wrong.push(format!(
                        "order {}: {} in the ERP, {} in the shop",
                        order.number, taken.status, order.status
                    ));
                }
            }
            [] => wrong.push(format!("order {}: lost on the way to the ERP", order.number)),
            many => wrong.push(format!("order {}: {} times in the ERP", order.number, many.len())),
        }
    }
    for run in runs {
        if run.finished_at.is_some() && !run.balance.closes() {
            wrong.push(format!("run {}: {:?} does not close", run.id, run.balance));
        }
    }
    wrong
}
