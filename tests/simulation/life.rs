//! What people and programs do at both sides while the engine runs: each seed draws its own actions.
//!
//! One file, because all actions share what people have done so far; those of single settings are in `setting_actions`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    clock::SimClock,
    models::{Customer, Kind, OUTLET_DOMAIN, OWN, Order, Product, kept},
    rng::Rng,
    setting::{OUTLET, Setting},
    trade::{Days, Joins, Texts, Trade},
    wire::Wire,
};

const NAMES: [&str; 6] = ["Hammer", "Nuts & bolts", " Padded ", "Saw", "Drill bit 8 mm", "Ladder"];

/// One thing that people or programs do.
#[derive(Clone, Copy)]
enum Action {
    NewProduct,
    Rename,
    /// Somebody goes through the whole catalog.
    RenameAll,
    Price,
    Stock,
    Delete,
    ComeBack,
    Save,
    Meddle,
    Unlist,
    Describe,
    DescribeBoth,
    Register,
    CallCustomer,
    Buy,
    Ship,
    EndInShop,
    EndInErp,
    // From here on: only in some settings.
    Correct,
    Break,
    FromTheFuture,
    NewAddress,
    Move,
    RenameAddress,
    ForeignAddress,
    Swap,
    Retax,
    Pay,
    Fail,
    Reduce,
    EndSale,
    ChangeOrderEmail,
    Erase,
    Reopen,
}

/// All common actions. One that is named twice is twice as frequent.
const ANY: &[Action] = &[
    Action::NewProduct,
    Action::Rename,
    Action::Rename,
    Action::RenameAll,
    Action::Price,
    Action::Stock,
    Action::Stock,
    Action::Delete,
    Action::ComeBack,
    Action::Save,
    Action::Meddle,
    Action::Meddle,
    Action::Unlist,
    Action::Describe,
    Action::DescribeBoth,
    Action::Register,
    Action::CallCustomer,
    Action::Buy,
    Action::Buy,
    Action::Ship,
    Action::EndInShop,
    Action::EndInErp,
];
const SALES: &[Action] = &[
    Action::Buy,
    Action::Buy,
    Action::Buy,
    Action::Ship,
    Action::EndInShop,
    Action::EndInShop,
    Action::EndInErp,
    Action::Stock,
];
const TEXTS: &[Action] = &[Action::Describe, Action::Describe, Action::Describe, Action::DescribeBoth, Action::Save];

/// The additional actions of a setting.
fn actions_of(setting: Setting) -> &'static [Action] {
    match setting {
        Setting::Odd => &[Action::Break, Action::Break, Action::Break, Action::Correct],
        Setting::Clocks => &[Action::FromTheFuture],
        Setting::Unpaid => &[Action::Pay, Action::Pay, Action::Fail],
        Setting::Swaps => &[Action::Swap],
        Setting::Hesitant => &[Action::Rename, Action::RenameAll, Action::Stock, Action::Describe, Action::Describe],
        Setting::Altering => &[Action::Retax, Action::Price],
        Setting::Reduced => &[Action::Reduce, Action::Reduce, Action::EndSale, Action::Price, Action::Price],
        Setting::Awkward | Setting::Mistaken => &[Action::NewProduct, Action::Price, Action::Rename],
        Setting::Recognised => &[Action::Register],
        Setting::Leaving => &[Action::Delete, Action::Price, Action::Register],
        Setting::Erased => &[Action::ChangeOrderEmail, Action::Erase, Action::Buy],
        Setting::Reopened => &[Action::Reopen, Action::Reopen, Action::EndInShop, Action::EndInErp],
        Setting::Outdated => &[Action::Stock],
        Setting::Children => {
            &[Action::NewAddress, Action::Move, Action::Move, Action::RenameAddress, Action::ForeignAddress]
        }
        _ => &[],
    }
}

/// In place of a side: the author of an edit from before texts joined. Such an edit may get lost, and may replace a
/// later one.
pub const BEFORE_JOIN: &str = "before";

/// By object: the edits of each side, in order.
pub type Edits = BTreeMap<String, Vec<(&'static str, String)>>;

/// The people and programs of one simulation, and what they have done so far.
pub struct Life<'a> {
    pub wire: &'a Wire,
    pub clock: &'a SimClock,
    pub rng: &'a Rng,
    pub trade: Trade,
    /// Articles that somebody edited in the shop: only a full pull restores the ERP's values.
    pub touched: BTreeSet<String>,
    /// Articles whose stock the shop has changed by an order.
    pub sold: BTreeSet<String>,
    /// Orders that the shop has refunded, which does not move their date.
    pub undated: BTreeSet<String>,
    /// Edits of descriptions, and how orders were ended.
    pub edits: Edits,
    /// By article: its sale price in the shop.
    pub sales: BTreeMap<String, String>,
    /// By order: all e-mail addresses it has had, if they have changed.
    pub emails: BTreeMap<String, Vec<String>>,
    /// By order whose buyer was erased: the e-mail addresses that the ERP may have.
    pub erased: BTreeMap<String, Vec<String>>,
    /// Tax numbers of customers who came after the rule that matches them.
    pub recognised: BTreeSet<String>,
    skus: u64,
    /// The last number of each shop.
    numbers: BTreeMap<&'static str, u64>,
    /// Articles that are still to be renamed by somebody who renames the whole catalog.
    rename_queue: Vec<u64>,
}

impl<'a> Life<'a> {
    /// Draws what both sides have at first.
    pub fn new(wire: &'a Wire, clock: &'a SimClock, rng: &'a Rng, trade: Trade) -> Self {
        let mut life = Self {
            wire,
            clock,
            rng,
            trade,
            touched: BTreeSet::new(),
            sold: BTreeSet::new(),
            undated: BTreeSet::new(),
            edits: Edits::new(),
            sales: BTreeMap::new(),
            emails: BTreeMap::new(),
            erased: BTreeMap::new(),
            recognised: BTreeSet::new(),
            skus: 0,
            numbers: BTreeMap::new(),
            rename_queue: Vec::new(),
        };
        // If workers are late, the same few articles have to change again and again.
        let articles = if trade.setting == Setting::Hesitant { 3 } else { 13 };
        for _ in 0..2 + rng.below(articles) {
            life.new_product();
        }
        if trade.setting == Setting::Recognised {
            life.add_known_customers();
        }
        for _ in 0..rng.below(4) {
            life.new_customer();
        }
        if trade.setting == Setting::Adopted {
            life.add_existing_data();
        }
        if trade.joins == Joins::Outlet {
            life.add_existing_catalog(OUTLET);
        }
        life
    }

    /// Draws one of `of`, if there is any.
    pub(crate) fn pick<T: Copy>(&self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[usize::try_from(self.rng.below(of.len() as u64)).unwrap()])
    }

    /// Draws an article of a side, but none that the shop alone has.
    pub(crate) fn pick_product(&self, host: &str) -> Option<u64> {
        let is_meant = |product: &Product| !product.sku.starts_with(OWN);
        let ids: Vec<u64> = self.wire.with(host, |model| {
            model.products.iter().filter(|(_, product)| is_meant(product)).map(|(id, _)| *id).collect()
        });
        self.pick(&ids)
    }

    /// Draws one of the shops.
    fn pick_shop(&self) -> &'static str {
        let shops = self.trade.setting.shops();
        if shops.len() == 1 { shops[0] } else { self.pick(shops).unwrap() }
    }

    /// The next number of a shop.
    fn number(&mut self, shop: &'static str) -> u64 {
        let number = self.numbers.entry(shop).or_default();
        *number += 1;
        *number
    }

    /// Draws a text.
    pub(crate) fn words(&self) -> String {
        format!("{} {}", self.pick(&NAMES).unwrap_or_default(), self.rng.below(100))
    }

    /// Draws a price.
    pub(crate) fn price(&self) -> String {
        // Trailing zeros are cut: not every program writes two decimals.
        let cents = 100 + self.rng.below(30) * 10;
        let text = match self.trade.setting {
            Setting::Altering => format!("{}.{:02}{}", cents / 100, cents % 100, self.rng.below(10)),
            _ => format!("{}.{:02}", cents / 100, cents % 100),
        };
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    /// Changes an article, which moves its date.
    pub(crate) fn change(&mut self, host: &'static str, id: u64, what: &str, change: impl FnOnce(&mut Product)) {
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
        self.add_product(self.sku());
    }

    fn sku(&self) -> String {
        let number = self.skus;
        match (self.trade.setting, number % 4) {
            // Not encoded, its path would mean the price of the next article.
            (Setting::Awkward, 1 | 2) => format!("SKU-{}/price?of={number}", number / 4 * 4 + 3),
            (Setting::Awkward, 0) => format!("SKU-{number} #1%2F"),
            _ => format!("SKU-{number}"),
        }
    }

    fn add_product(&mut self, sku: String) {
        let product = Product {
            name: self.words(),
            price: self.price(),
            stock: i64::try_from(self.rng.below(50)).unwrap(),
            active: true,
            barcode: self.barcode(&sku),
            tax: self.tax(),
            updated: self.wire.now("erp"),
            sku,
            ..Product::default()
        };
        self.wire.note(format!("life: erp new {}", product.sku));
        self.wire.with("erp", |model| model.add_product(product));
    }

    fn new_customer(&mut self) {
        if !self.trade.customers {
            return;
        }
        let shop = self.pick_shop();
        let customer = Customer {
            // With two shops, customers have numbers of their own. Then both shops number orders 1, 2, 3 without a
            // gap.
            email: format!(
                "c{}@{}",
                self.number(if self.trade.setting == Setting::TwoShops { "people" } else { shop }),
                domain(shop)
            ),
            name: self.words().trim().to_owned(),
            vat: self.tax_number(),
            updated: self.wire.now(shop),
            ..Customer::default()
        };
        self.wire.note(format!("life: {shop} new {}", customer.email));
        self.wire.with(shop, |model| model.add_customer(customer));
    }

    /// Somebody buys in a shop.
    pub(crate) fn new_order(&mut self) {
        let shop = self.pick_shop();
        let number = format!("W{}", self.number(shop));
        let customers: Vec<u64> = self.wire.with(shop, |model| model.customers.keys().copied().collect());
        let customer = if self.rng.permille(300) { None } else { self.pick(&customers) };
        let mut lines = Vec::new();
        let mut cents = 0;
        for _ in 0..=self.rng.below(3) {
            let Some(id) = self.pick_product(shop) else { return };
            let (quantity, price) = (1 + self.rng.below(3), 100 + self.rng.below(900));
            // Only what is offered can be bought.
            let sku = self.wire.with(shop, |model| {
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
            email: format!("{}@{}", number.to_lowercase(), domain(shop)),
            lines,
            total: format!("{}.{:02}", cents / 100, cents % 100),
            currency: self.currency().into(),
            status: self.payment().into(),
            updated: self.wire.now(shop),
            number,
            ..Order::default()
        };
        self.wire.note(format!("life: {shop} order {}", order.name()));
        self.wire.with(shop, |model| {
            model.take_off(&order.lines);
            model.add_order(order)
        });
    }

    fn currency(&self) -> &'static str {
        if self.trade.setting == Setting::Currencies && self.rng.permille(400) { "USD" } else { "EUR" }
    }

    /// Whether somebody is in the middle of renaming the whole catalog.
    pub fn is_busy(&self) -> bool {
        !self.rename_queue.is_empty()
    }

    /// Somebody renames an article of the ERP.
    fn rename(&mut self, id: u64) {
        let name = self.words();
        self.change("erp", id, "renames", |product| product.name = name);
    }

    /// Edits single fields; there is no reason to write any other.
    pub fn edit_single_fields(&mut self) {
        let shop = self.pick_shop();
        if let Some(id) = self.pick_product(shop) {
            self.touch(shop, id);
            self.change(shop, id, "meddles with", |product| product.active = !product.active);
        }
        let (host, kind) = self.pick_text_owner();
        if let Some(id) = self.pick_product(host) {
            let text = kept(kind, &self.words());
            let sku = self.wire.with(host, |model| model.products[&id].sku.clone());
            // The text must differ at both sides as they store it; otherwise there is nothing to write.
            let differs = |host: &str, kind: Kind| {
                let stored = kept(kind, &text);
                self.wire.with(host, |model| model.product(&sku).iter().all(|(_, product)| product.text != stored))
            };
            if differs("erp", Kind::Erp) && differs("shop", Kind::Shop) {
                self.describe(host, id, text);
            }
        }
    }

    /// Draws a side that may write descriptions.
    fn pick_text_owner(&self) -> (&'static str, Kind) {
        match self.trade.texts {
            // Until the shop's texts join, the ERP owns all texts.
            _ if self.trade.joins == Joins::Texts && !self.wire.has_grown() => ("erp", Kind::Erp),
            Texts::Erp => ("erp", Kind::Erp),
            Texts::Shop => ("shop", Kind::Shop),
            Texts::Shared => self.pick(&[("erp", Kind::Erp), ("shop", Kind::Shop)]).unwrap(),
        }
    }

    fn describe(&mut self, host: &'static str, id: u64, text: String) {
        let sku = self.wire.with(host, |model| model.products[&id].sku.clone());
        // Before texts join, only the ERP owns them. Later the shop's text may replace such an edit; if texts are
        // shared, an edit that was being delivered at that moment may stay (docs/reliability.md).
        let counts = self.trade.joins != Joins::Texts || self.wire.has_grown();
        let author = if counts { host } else { BEFORE_JOIN };
        self.edits.entry(sku).or_default().push((author, text.clone()));
        self.change(host, id, "describes", |product| (product.text, product.edited) = (text, counts));
    }

    /// Both sides edit the description of an article at the same moment.
    fn describe_both(&mut self) {
        let may_both = self.trade.texts == Texts::Shared && (self.trade.joins != Joins::Texts || self.wire.has_grown());
        let Some(id) = self.pick_product("erp").filter(|_| may_both) else { return };
        let sku = self.wire.with("erp", |model| model.products[&id].sku.clone());
        let Some(there) = self.wire.with("shop", |model| model.product(&sku).first().map(|(id, _)| *id)) else {
            return;
        };
        let (here, text) = (kept(Kind::Erp, &self.words()), kept(Kind::Shop, &self.words()));
        self.describe("erp", id, here);
        self.describe("shop", there, text);
    }

    /// Draws an order that was neither cancelled nor refunded.
    pub(crate) fn pick_open_order(&self, host: &str, is_meant: impl Fn(&Order) -> bool) -> Option<u64> {
        let ids: Vec<u64> = self.wire.with(host, |model| {
            let open = model.orders.iter().filter(|(_, order)| order.closed.is_empty() && is_meant(order));
            open.map(|(id, _)| *id).collect()
        });
        self.pick(&ids)
    }

    /// Somebody cancels an order, or refunds it.
    fn end_order(&mut self, host: &'static str) {
        // A refunded order cannot be reopened.
        let cancels = self.rng.permille(500) || self.trade.setting == Setting::Reopened;
        let now = self.wire.now(host);
        let is_meant =
            |order: &Order| !(order.status == "draft" || order.is_waiting() || cancels && order.status == "shipped");
        let Some(id) = self.pick_open_order(host, is_meant) else {
            return;
        };
        let is_dated = cancels || host == "erp";
        let order = self.wire.with(host, |model| {
            if cancels {
                model.cancel(id)
            } else {
                model.refund(id)
            }
            let order = model.orders.get_mut(&id).unwrap();
            if is_dated {
                order.updated = now;
            }
            order.clone()
        });
        if !is_dated {
            self.undated.insert(order.name());
        }
        let name = order.name();
        self.sold.extend(order.lines.into_iter().map(|(sku, _, _)| sku));
        self.wire.note(format!("life: {host} order {name} is {}", order.closed));
        self.edits.entry(name).or_default().push((host, order.closed));
    }

    /// Carries out one action.
    pub fn act(&mut self) {
        if let Some(id) = self.rename_queue.pop() {
            if self.wire.with("erp", |model| model.products.contains_key(&id)) {
                self.rename(id);
            }
            return;
        }
        let additional = actions_of(self.trade.setting);
        let actions = match self.trade.days {
            _ if !additional.is_empty() && self.rng.permille(300) => additional,
            Days::Sales if self.rng.permille(600) => SALES,
            Days::Texts if self.rng.permille(600) => TEXTS,
            _ => ANY,
        };
        match self.pick(actions).unwrap() {
            Action::NewProduct => self.new_product(),
            Action::Rename => {
                let Some(id) = self.pick_product("erp") else { return };
                self.rename(id);
            }
            Action::Price => {
                let Some(id) = self.pick_product("erp") else { return };
                let price = self.price();
                self.change("erp", id, "prices", |product| product.price = price);
            }
            Action::Stock => {
                // Stock does not move the product's date.
                let Some(id) = self.pick_product("erp") else { return };
                let stock = i64::try_from(self.rng.below(50)).unwrap();
                self.wire.note(format!("life: erp stock of {id} is {stock}"));
                self.wire.with("erp", |model| model.products.get_mut(&id).unwrap().stock = stock);
            }
            // A deleted article would not give up its barcode.
            Action::Delete if self.trade.setting == Setting::Swaps => {}
            Action::Delete if self.rng.permille(500) => {
                let Some(id) = self.pick_product("erp") else { return };
                // Not the last one: the engine does not believe an empty listing.
                if self.wire.with("erp", |model| model.products.len()) == 1 {
                    return;
                }
                // An article that a shop had before, and that the ERP deletes before the engine reads the shop, is the
                // shop's own.
                let sku = self.wire.with("erp", |model| model.products[&id].sku.clone());
                let may_be_theirs = matches!(self.trade.setting, Setting::Adopted | Setting::TwoShops);
                if may_be_theirs && self.touched.contains(&sku) {
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
            Action::ComeBack => {
                // A deleted article comes back as a new object under its old reference.
                let gone: Vec<String> = self.wire.with("erp", |model| {
                    model.removed.keys().filter(|sku| model.product(sku).is_empty()).cloned().collect()
                });
                if let Some(sku) = gone.first() {
                    self.add_product(sku.clone());
                }
            }
            Action::Save => {
                // Saved unchanged: only the date moves.
                let host = if self.rng.permille(500) { "erp" } else { self.pick_shop() };
                let Some(id) = self.pick_product(host) else { return };
                self.change(host, id, "saves", |_| {});
            }
            Action::Ship => {
                let Some(id) = self.pick_open_order("erp", |order| order.status == "confirmed") else { return };
                let now = self.wire.now("erp");
                let number = self.wire.with("erp", |model| {
                    model.ship(id, now);
                    model.orders[&id].name()
                });
                self.wire.note(format!("life: erp ships {number}"));
            }
            // Somebody edits a field in the shop that the ERP owns.
            Action::Meddle => {
                let shop = self.pick_shop();
                let Some(id) = self.pick_product(shop) else { return };
                let (what, stock) = (self.rng.below(3), i64::try_from(self.rng.below(50)).unwrap());
                let name = kept(Kind::Shop, &self.words());
                self.touch(shop, id);
                self.change(shop, id, "meddles with", |product| match what {
                    0 => product.name = name,
                    1 => product.stock = stock,
                    _ => product.active = !product.active,
                });
            }
            Action::Unlist if self.rng.permille(300) => {
                let shop = self.pick_shop();
                let Some(id) = self.pick_product(shop) else { return };
                // Not the last one: the engine does not believe an empty listing.
                if self.wire.with(shop, |model| model.products.len()) == 1 {
                    return;
                }
                self.touch(shop, id);
                let product = self.wire.with(shop, |model| model.products.remove(&id).unwrap());
                self.sales.remove(&product.sku);
                self.wire.note(format!("life: {shop} deletes {} ({id})", product.sku));
            }
            Action::Describe => {
                let (host, kind) = self.pick_text_owner();
                let Some(id) = self.pick_product(host) else { return };
                let text = kept(kind, &self.words());
                self.describe(host, id, text);
            }
            Action::Register => self.new_customer(),
            Action::CallCustomer => {
                let shop = self.pick_shop();
                let customers: Vec<u64> = self.wire.with(shop, |model| model.customers.keys().copied().collect());
                let Some(id) = self.pick(&customers) else { return };
                let (name, now) = (self.words().trim().to_owned(), self.wire.now(shop));
                self.wire.note(format!("life: {shop} customer {id} is called {name}"));
                self.wire.with(shop, |model| {
                    let customer = model.customers.get_mut(&id).unwrap();
                    customer.name = name;
                    customer.updated = now;
                });
            }
            Action::Buy => self.new_order(),
            // From the end: the article that is listed last changes first.
            Action::RenameAll => {
                self.rename_queue = self.wire.with("erp", |model| model.products.keys().copied().collect())
            }
            Action::DescribeBoth => self.describe_both(),
            Action::EndInShop => {
                let shop = self.pick_shop();
                self.end_order(shop);
            }
            Action::EndInErp if self.trade.ends => self.end_order("erp"),
            Action::Correct => self.correct(1),
            Action::Break => self.break_row(),
            Action::FromTheFuture => self.save_in_future(),
            Action::Pay => self.end_payment("paid"),
            Action::Fail => self.end_payment("failed"),
            Action::Reduce => self.reduce(),
            Action::EndSale => self.end_sale(),
            Action::ChangeOrderEmail => self.change_order_email(),
            Action::Erase => self.erase(),
            Action::Reopen => self.reopen(),
            Action::Swap => self.swap_barcodes(),
            Action::Retax => {
                let Some(id) = self.pick_product("erp") else { return };
                let tax = self.tax();
                self.change("erp", id, "taxes", |product| product.tax = tax);
            }
            Action::NewAddress => self.new_address("shop"),
            Action::ForeignAddress => self.new_address("erp"),
            Action::Move => self.change_address(|words, address| address.city = words),
            Action::RenameAddress => self.change_address(|words, address| address.code = words),
            Action::Delete | Action::Unlist | Action::EndInErp => {}
        }
    }

    /// Remembers that somebody edited an article in a shop.
    fn touch(&mut self, shop: &str, id: u64) {
        let sku = self.wire.with(shop, |model| model.products[&id].sku.clone());
        self.touched.insert(sku);
    }
}

/// The domain of a shop's customers, which shows to which shop they belong.
fn domain(shop: &str) -> &'static str {
    if shop == OUTLET { OUTLET_DOMAIN } else { "example.com" }
}
