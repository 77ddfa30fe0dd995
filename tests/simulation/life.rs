//! What people and programs do at both sides while the engine works.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    chance::Chance,
    clock::SimClock,
    models::{Customer, Kind, OUTLET_DOMAIN, OWN, Order, Product, kept},
    saboteur::Bug,
    setting::{OUTLET, Setting},
    wire::Wire,
};

const NAMES: [&str; 6] = ["Hammer", "Nuts & bolts", " Padded ", "Saw", "Drill bit 8 mm", "Ladder"];

/// Who writes the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    Erp,
    Shop,
    Shared,
}

/// What most of a seed's days are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Days {
    Any,
    Sales,
    Texts,
}

/// What is added to the configuration later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    Nothing,
    /// What the ERP does with orders goes to the shop.
    Account,
    /// The second shop, which has some of the catalog by then.
    Outlet,
    Prices,
    Sales,
    /// All that the shop is told of articles.
    Catalog,
    /// What customers are recognised by.
    Rule,
    /// A field, and the flow back that brings it.
    Texts,
}

#[derive(Clone, Copy)]
enum Deed {
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
    /// Of a setting's own.
    Mend,
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
    Readdress,
    Erase,
    Reopen,
}

/// Any day's deeds, each as often as it is named.
const ANY: &[Deed] = &[
    Deed::NewProduct,
    Deed::Rename,
    Deed::Rename,
    Deed::RenameAll,
    Deed::Price,
    Deed::Stock,
    Deed::Stock,
    Deed::Delete,
    Deed::ComeBack,
    Deed::Save,
    Deed::Meddle,
    Deed::Meddle,
    Deed::Unlist,
    Deed::Describe,
    Deed::DescribeBoth,
    Deed::Register,
    Deed::CallCustomer,
    Deed::Buy,
    Deed::Buy,
    Deed::Ship,
    Deed::EndInShop,
    Deed::EndInErp,
];
const SALES: &[Deed] =
    &[Deed::Buy, Deed::Buy, Deed::Buy, Deed::Ship, Deed::EndInShop, Deed::EndInShop, Deed::EndInErp, Deed::Stock];
const TEXTS: &[Deed] = &[Deed::Describe, Deed::Describe, Deed::Describe, Deed::DescribeBoth, Deed::Save];

/// What happens in some settings alone.
fn special(setting: Setting) -> &'static [Deed] {
    match setting {
        Setting::Odd => &[Deed::Break, Deed::Break, Deed::Break, Deed::Mend],
        Setting::Clocks => &[Deed::FromTheFuture],
        Setting::Unpaid => &[Deed::Pay, Deed::Pay, Deed::Fail],
        Setting::Swaps => &[Deed::Swap],
        Setting::Hesitant => &[Deed::Rename, Deed::RenameAll, Deed::Stock, Deed::Describe, Deed::Describe],
        Setting::Altering => &[Deed::Retax, Deed::Price],
        Setting::Reduced => &[Deed::Reduce, Deed::Reduce, Deed::EndSale, Deed::Price, Deed::Price],
        Setting::Awkward | Setting::Mistaken => &[Deed::NewProduct, Deed::Price, Deed::Rename],
        Setting::Recognised => &[Deed::Register],
        Setting::Leaving => &[Deed::Delete, Deed::Price, Deed::Register],
        Setting::Erased => &[Deed::Readdress, Deed::Erase, Deed::Buy],
        Setting::Reopened => &[Deed::Reopen, Deed::Reopen, Deed::EndInShop, Deed::EndInErp],
        Setting::Outdated => &[Deed::Stock],
        Setting::Children => &[Deed::NewAddress, Deed::Move, Deed::Move, Deed::RenameAddress, Deed::ForeignAddress],
        _ => &[],
    }
}

/// Who made something of a thing before it counted: nobody has to keep that, and it may be in another's way.
pub const BEFORE: &str = "before";

/// What each side made of a thing, in order.
pub type Edits = BTreeMap<String, Vec<(&'static str, String)>>;

/// What a company does with its systems, by the seed.
#[derive(Clone, Copy, Debug)]
pub struct Trade {
    pub setting: Setting,
    pub prices: bool,
    pub texts: Texts,
    pub customers: bool,
    /// Orders may be ended by either side, not by the shop alone.
    pub ends: bool,
    /// The ERP wins what both sides changed; else a person decides.
    pub prefers: bool,
    pub days: Days,
    pub joins: Joins,
    /// The second shop's numbers begin otherwise.
    pub prefixes: bool,
    /// A planted bug of what the company's files say.
    pub bug: Option<Bug>,
    /// Minutes between two pulls of a flow.
    pub every: u64,
}

impl Trade {
    pub fn draw(chance: &Chance, setting: Setting) -> Self {
        let drawn = Self {
            setting,
            prices: chance.hits(500),
            texts: [Texts::Erp, Texts::Shop, Texts::Shared, Texts::Shared][usize::try_from(chance.below(4)).unwrap()],
            customers: chance.hits(600),
            ends: chance.hits(600),
            prefers: chance.hits(300),
            days: [Days::Any, Days::Sales, Days::Texts][usize::try_from(chance.below(3)).unwrap()],
            every: if chance.hits(500) { 3 } else { 10 },
            joins: Joins::Nothing,
            prefixes: false,
            bug: None,
        };
        match setting {
            Setting::Unpaid => Self { days: Days::Sales, ..drawn },
            // What more than two write is written by none of them.
            Setting::TwoShops => Self {
                texts: Texts::Erp,
                prefixes: chance.hits(300),
                days: Days::Sales,
                joins: if chance.hits(300) { Joins::Outlet } else { Joins::Nothing },
                ..drawn
            },
            Setting::Currencies | Setting::Altering | Setting::Reduced | Setting::Awkward => {
                Self { prices: true, ..drawn }
            }
            Setting::Children => Self { customers: true, ..drawn },
            // A worker that is late has something to say before a text is written, too.
            Setting::Hesitant => Self { every: 3, texts: Texts::Shared, ..drawn },
            Setting::Joining => drawn.joining(chance),
            Setting::Recognised => Self { customers: true, joins: Joins::Rule, ..drawn },
            Setting::Leaving => drawn.leaving(chance),
            Setting::Erased | Setting::Reopened => Self { days: Days::Sales, ..drawn },
            _ => drawn,
        }
    }
}

impl Trade {
    fn leaving(self, chance: &Chance) -> Self {
        match chance.below(4) {
            0 => Self { joins: Joins::Account, ..self },
            1 => Self { joins: Joins::Prices, prices: true, ..self },
            2 => Self { joins: Joins::Sales, ..self },
            _ => Self { joins: Joins::Catalog, ..self },
        }
    }

    fn joining(self, chance: &Chance) -> Self {
        match chance.below(4) {
            0 => Self { joins: Joins::Account, ..self },
            1 => Self { joins: Joins::Prices, prices: true, ..self },
            2 => Self { joins: Joins::Sales, ..self },
            _ => Self {
                joins: Joins::Texts,
                texts: if self.texts == Texts::Erp { Texts::Shop } else { self.texts },
                ..self
            },
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
    /// Articles of which the shop gave some away, or took some back.
    pub sold: BTreeSet<String>,
    /// The shop does not date an order whose money it gives back.
    pub undated: BTreeSet<String>,
    /// Texts of articles and ends of orders.
    pub edits: Edits,
    /// By article: what somebody in the shop sells it for meanwhile.
    pub sales: BTreeMap<String, String>,
    /// By order: where its buyer has written from, of those that were written from elsewhere.
    pub written: BTreeMap<String, Vec<String>>,
    /// By order whose buyer was erased: where the ERP may know that it was written from.
    pub erased: BTreeMap<String, Vec<String>>,
    /// Tax numbers of customers who came when the rule was there that they are recognised by.
    pub recognised: BTreeSet<String>,
    skus: u64,
    /// Of each shop its own.
    numbers: BTreeMap<&'static str, u64>,
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
            undated: BTreeSet::new(),
            edits: Edits::new(),
            sales: BTreeMap::new(),
            written: BTreeMap::new(),
            erased: BTreeMap::new(),
            recognised: BTreeSet::new(),
            skus: 0,
            numbers: BTreeMap::new(),
            round: Vec::new(),
        };
        // Where workers are late, the same articles change again and again.
        let articles = if trade.setting == Setting::Hesitant { 3 } else { 13 };
        for _ in 0..2 + chance.below(articles) {
            life.new_product();
        }
        if trade.setting == Setting::Recognised {
            life.know_some();
        }
        for _ in 0..chance.below(4) {
            life.new_customer();
        }
        if trade.setting == Setting::Adopted {
            life.have_before();
        }
        if trade.joins == Joins::Outlet {
            life.have_catalog(OUTLET);
        }
        life
    }

    pub(crate) fn among<T: Copy>(&self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[usize::try_from(self.chance.below(of.len() as u64)).unwrap()])
    }

    pub(crate) fn product(&self, host: &str) -> Option<u64> {
        let is_meant = |product: &Product| !product.sku.starts_with(OWN);
        let ids: Vec<u64> = self.wire.with(host, |model| {
            model.products.iter().filter(|(_, product)| is_meant(product)).map(|(id, _)| *id).collect()
        });
        self.among(&ids)
    }

    /// One of the shops.
    fn shop(&self) -> &'static str {
        let shops = self.trade.setting.shops();
        if shops.len() == 1 { shops[0] } else { self.among(shops).unwrap() }
    }

    fn number(&mut self, shop: &'static str) -> u64 {
        let number = self.numbers.entry(shop).or_default();
        *number += 1;
        *number
    }

    pub(crate) fn words(&self) -> String {
        format!("{} {}", self.among(&NAMES).unwrap_or_default(), self.chance.below(100))
    }

    pub(crate) fn price(&self) -> String {
        // Not every program writes two decimals.
        let cents = 100 + self.chance.below(30) * 10;
        let text = match self.trade.setting {
            Setting::Altering => format!("{}.{:02}{}", cents / 100, cents % 100, self.chance.below(10)),
            _ => format!("{}.{:02}", cents / 100, cents % 100),
        };
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

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
            // As it stands it would mean the next one's price.
            (Setting::Awkward, 1 | 2) => format!("SKU-{}/price?of={number}", number / 4 * 4 + 3),
            (Setting::Awkward, 0) => format!("SKU-{number} #1%2F"),
            _ => format!("SKU-{number}"),
        }
    }

    fn add_product(&mut self, sku: String) {
        let product = Product {
            name: self.words(),
            price: self.price(),
            stock: i64::try_from(self.chance.below(50)).unwrap(),
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
        let shop = self.shop();
        let customer = Customer {
            // Two shops' orders are numbered without a gap, so that they meet.
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

    pub(crate) fn new_order(&mut self) {
        let shop = self.shop();
        let number = format!("W{}", self.number(shop));
        let customers: Vec<u64> = self.wire.with(shop, |model| model.customers.keys().copied().collect());
        let customer = if self.chance.hits(300) { None } else { self.among(&customers) };
        let mut lines = Vec::new();
        let mut cents = 0;
        for _ in 0..=self.chance.below(3) {
            let Some(id) = self.product(shop) else { return };
            let (quantity, price) = (1 + self.chance.below(3), 100 + self.chance.below(900));
            // Nobody can buy what is not offered.
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
        if self.trade.setting == Setting::Currencies && self.chance.hits(400) { "USD" } else { "EUR" }
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
        let shop = self.shop();
        if let Some(id) = self.product(shop) {
            self.touch(shop, id);
            self.change(shop, id, "meddles with", |product| product.active = !product.active);
        }
        let (host, kind) = self.writer();
        if let Some(id) = self.product(host) {
            let text = kept(kind, &self.words());
            let sku = self.wire.with(host, |model| model.products[&id].sku.clone());
            // What a side makes of it may be what it has, and then is not to be written.
            let is_seen = |host: &str, kind: Kind| {
                let made = kept(kind, &text);
                self.wire.with(host, |model| model.product(&sku).iter().all(|(_, product)| product.text != made))
            };
            if is_seen("erp", Kind::Erp) && is_seen("shop", Kind::Shop) {
                self.describe(host, id, text);
            }
        }
    }

    /// One who may write texts.
    fn writer(&self) -> (&'static str, Kind) {
        match self.trade.texts {
            // Until the shop's texts join they are the ERP's, whoever writes some.
            _ if self.trade.joins == Joins::Texts && !self.wire.has_grown() => ("erp", Kind::Erp),
            Texts::Erp => ("erp", Kind::Erp),
            Texts::Shop => ("shop", Kind::Shop),
            Texts::Shared => self.among(&[("erp", Kind::Erp), ("shop", Kind::Shop)]).unwrap(),
        }
    }

    fn describe(&mut self, host: &'static str, id: u64, text: String) {
        let sku = self.wire.with(host, |model| model.products[&id].sku.clone());
        // Before texts join they are the ERP's alone: when they are the shop's they may be written over, and where they are shared,
        // one that was on its way just then may stay (docs/reliability.md).
        let is_for_good = self.trade.joins != Joins::Texts || self.wire.has_grown();
        let by = if is_for_good { host } else { BEFORE };
        self.edits.entry(sku).or_default().push((by, text.clone()));
        self.change(host, id, "describes", |product| (product.text, product.edited) = (text, is_for_good));
    }

    /// Both sides describe an article, and neither has seen what the other wrote.
    fn describe_both(&mut self) {
        let may_both = self.trade.texts == Texts::Shared && (self.trade.joins != Joins::Texts || self.wire.has_grown());
        let Some(id) = self.product("erp").filter(|_| may_both) else { return };
        let sku = self.wire.with("erp", |model| model.products[&id].sku.clone());
        let Some(there) = self.wire.with("shop", |model| model.product(&sku).first().map(|(id, _)| *id)) else {
            return;
        };
        let (here, text) = (kept(Kind::Erp, &self.words()), kept(Kind::Shop, &self.words()));
        self.describe("erp", id, here);
        self.describe("shop", there, text);
    }

    /// An order that goes on.
    pub(crate) fn going(&self, host: &str, is_meant: impl Fn(&Order) -> bool) -> Option<u64> {
        let ids: Vec<u64> = self.wire.with(host, |model| {
            let going = model.orders.iter().filter(|(_, order)| order.closed.is_empty() && is_meant(order));
            going.map(|(id, _)| *id).collect()
        });
        self.among(&ids)
    }

    /// Somebody cancels an order, or gives its money back.
    fn end_order(&mut self, host: &'static str) {
        // Money that was given back is not taken again.
        let cancels = self.chance.hits(500) || self.trade.setting == Setting::Reopened;
        let now = self.wire.now(host);
        let is_meant =
            |order: &Order| !(order.status == "draft" || order.is_waiting() || cancels && order.status == "shipped");
        let Some(id) = self.going(host, is_meant) else {
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

    /// One thing happens.
    pub fn happen(&mut self) {
        if let Some(id) = self.round.pop() {
            if self.wire.with("erp", |model| model.products.contains_key(&id)) {
                self.rename(id);
            }
            return;
        }
        let special = special(self.trade.setting);
        let usual = match self.trade.days {
            _ if !special.is_empty() && self.chance.hits(300) => special,
            Days::Sales if self.chance.hits(600) => SALES,
            Days::Texts if self.chance.hits(600) => TEXTS,
            _ => ANY,
        };
        match self.among(usual).unwrap() {
            Deed::NewProduct => self.new_product(),
            Deed::Rename => {
                let Some(id) = self.product("erp") else { return };
                self.rename(id);
            }
            Deed::Price => {
                let Some(id) = self.product("erp") else { return };
                let price = self.price();
                self.change("erp", id, "prices", |product| product.price = price);
            }
            Deed::Stock => {
                // Stock does not move the product's date.
                let Some(id) = self.product("erp") else { return };
                let stock = i64::try_from(self.chance.below(50)).unwrap();
                self.wire.note(format!("life: erp stock of {id} is {stock}"));
                self.wire.with("erp", |model| model.products.get_mut(&id).unwrap().stock = stock);
            }
            // Who has gone gives up nothing to anybody.
            Deed::Delete if self.trade.setting == Setting::Swaps => {}
            Deed::Delete if self.chance.hits(500) => {
                let Some(id) = self.product("erp") else { return };
                // Not the last one: an empty listing is not believed.
                if self.wire.with("erp", |model| model.products.len()) == 1 {
                    return;
                }
                // What a shop had before and the ERP loses before anybody looks there is the shop's own.
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
            Deed::ComeBack => {
                // What was deleted comes back under its old reference, as a new object.
                let gone: Vec<String> = self.wire.with("erp", |model| {
                    model.removed.keys().filter(|sku| model.product(sku).is_empty()).cloned().collect()
                });
                if let Some(sku) = gone.first() {
                    self.add_product(sku.clone());
                }
            }
            Deed::Save => {
                // Saved as it was: only the date moves.
                let host = if self.chance.hits(500) { "erp" } else { self.shop() };
                let Some(id) = self.product(host) else { return };
                self.change(host, id, "saves", |_| {});
            }
            Deed::Ship => {
                let Some(id) = self.going("erp", |order| order.status == "confirmed") else { return };
                let now = self.wire.now("erp");
                let number = self.wire.with("erp", |model| {
                    model.ship(id, now);
                    model.orders[&id].name()
                });
                self.wire.note(format!("life: erp ships {number}"));
            }
            // Somebody edits in the shop what the ERP owns.
            Deed::Meddle => {
                let shop = self.shop();
                let Some(id) = self.product(shop) else { return };
                let (what, stock) = (self.chance.below(3), i64::try_from(self.chance.below(50)).unwrap());
                let name = kept(Kind::Shop, &self.words());
                self.touch(shop, id);
                self.change(shop, id, "meddles with", |product| match what {
                    0 => product.name = name,
                    1 => product.stock = stock,
                    _ => product.active = !product.active,
                });
            }
            Deed::Unlist if self.chance.hits(300) => {
                let shop = self.shop();
                let Some(id) = self.product(shop) else { return };
                // Not the last one: an empty listing is not believed.
                if self.wire.with(shop, |model| model.products.len()) == 1 {
                    return;
                }
                self.touch(shop, id);
                let product = self.wire.with(shop, |model| model.products.remove(&id).unwrap());
                self.sales.remove(&product.sku);
                self.wire.note(format!("life: {shop} deletes {} ({id})", product.sku));
            }
            Deed::Describe => {
                let (host, kind) = self.writer();
                let Some(id) = self.product(host) else { return };
                let text = kept(kind, &self.words());
                self.describe(host, id, text);
            }
            Deed::Register => self.new_customer(),
            Deed::CallCustomer => {
                let shop = self.shop();
                let customers: Vec<u64> = self.wire.with(shop, |model| model.customers.keys().copied().collect());
                let Some(id) = self.among(&customers) else { return };
                let (name, now) = (self.words().trim().to_owned(), self.wire.now(shop));
                self.wire.note(format!("life: {shop} customer {id} is called {name}"));
                self.wire.with(shop, |model| {
                    let customer = model.customers.get_mut(&id).unwrap();
                    customer.name = name;
                    customer.updated = now;
                });
            }
            Deed::Buy => self.new_order(),
            // From the end: what is listed last has changed first.
            Deed::RenameAll => self.round = self.wire.with("erp", |model| model.products.keys().copied().collect()),
            Deed::DescribeBoth => self.describe_both(),
            Deed::EndInShop => {
                let shop = self.shop();
                self.end_order(shop);
            }
            Deed::EndInErp if self.trade.ends => self.end_order("erp"),
            Deed::Mend => self.mend(1),
            Deed::Break => self.break_row(),
            Deed::FromTheFuture => self.save_in_future(),
            Deed::Pay => self.end_waiting("paid"),
            Deed::Fail => self.end_waiting("failed"),
            Deed::Reduce => self.reduce(),
            Deed::EndSale => self.end_sale(),
            Deed::Readdress => self.readdress(),
            Deed::Erase => self.erase(),
            Deed::Reopen => self.reopen(),
            Deed::Swap => self.swap_barcodes(),
            Deed::Retax => {
                let Some(id) = self.product("erp") else { return };
                let tax = self.tax();
                self.change("erp", id, "taxes", |product| product.tax = tax);
            }
            Deed::NewAddress => self.new_address("shop"),
            Deed::ForeignAddress => self.new_address("erp"),
            Deed::Move => self.change_address(|words, address| address.city = words),
            Deed::RenameAddress => self.change_address(|words, address| address.code = words),
            Deed::Delete | Deed::Unlist | Deed::EndInErp => {}
        }
    }

    fn touch(&mut self, shop: &str, id: u64) {
        let sku = self.wire.with(shop, |model| model.products[&id].sku.clone());
        self.touched.insert(sku);
    }
}

/// Whose customers write from where tells their shop.
fn domain(shop: &str) -> &'static str {
    if shop == OUTLET { OUTLET_DOMAIN } else { "example.com" }
}
