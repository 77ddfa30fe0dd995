//! How the simulated company uses its systems: what is synchronised, who owns texts, which actions are frequent.
//! Drawn by the seed.

use crate::{mutants::Mutant, rng::Rng, setting::Setting};

/// Who owns the descriptions of articles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    Erp,
    Shop,
    Shared,
}

/// Which actions are frequent in a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Days {
    Any,
    Sales,
    Texts,
}

/// What is added to the configuration later, or taken out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    Nothing,
    /// The flow that brings the state of orders from the ERP to the shop.
    Account,
    /// The second shop, which already has some of the catalog.
    Outlet,
    Prices,
    Sales,
    /// The flows of articles.
    Catalog,
    /// The rule that matches customers.
    Rule,
    /// The flow that brings descriptions from the shop to the ERP.
    Texts,
}

/// How the company uses its systems, drawn by the seed.
#[derive(Clone, Copy, Debug)]
pub struct Trade {
    pub setting: Setting,
    /// The ERP's prices go to the shop.
    pub prices: bool,
    pub texts: Texts,
    /// The shop has customers, not only guests.
    pub customers: bool,
    /// Either side may cancel and refund orders, not only the shop.
    pub ends: bool,
    /// The ERP wins a conflict; otherwise a person decides.
    pub prefers: bool,
    pub days: Days,
    pub joins: Joins,
    /// The numbers of the second shop have a prefix.
    pub prefixes: bool,
    /// The planted bug, if it is in the company's files.
    pub mutant: Option<Mutant>,
    /// Minutes between two pulls of a flow.
    pub every: u64,
}

impl Trade {
    /// Draws a company for a setting.
    pub fn draw(rng: &Rng, setting: Setting) -> Self {
        let drawn = Self {
            setting,
            prices: rng.permille(500),
            texts: [Texts::Erp, Texts::Shop, Texts::Shared, Texts::Shared][usize::try_from(rng.below(4)).unwrap()],
            customers: rng.permille(600),
            ends: rng.permille(600),
            prefers: rng.permille(300),
            days: [Days::Any, Days::Sales, Days::Texts][usize::try_from(rng.below(3)).unwrap()],
            every: if rng.permille(500) { 3 } else { 10 },
            joins: Joins::Nothing,
            prefixes: false,
            mutant: None,
        };
        match setting {
            Setting::Unpaid => Self { days: Days::Sales, ..drawn },
            // With three systems, texts have one owner.
            Setting::TwoShops => Self {
                texts: Texts::Erp,
                prefixes: rng.permille(300),
                days: Days::Sales,
                joins: if rng.permille(300) { Joins::Outlet } else { Joins::Nothing },
                ..drawn
            },
            Setting::Currencies | Setting::Altering | Setting::Reduced | Setting::Awkward => {
                Self { prices: true, ..drawn }
            }
            Setting::Children => Self { customers: true, ..drawn },
            // An update of a shared text stores an intent first: one more call for which a worker may be late.
            Setting::Hesitant => Self { every: 3, texts: Texts::Shared, ..drawn },
            Setting::Joining => drawn.joining(rng),
            Setting::Recognised => Self { customers: true, joins: Joins::Rule, ..drawn },
            Setting::Leaving => drawn.leaving(rng),
            Setting::Erased | Setting::Reopened => Self { days: Days::Sales, ..drawn },
            _ => drawn,
        }
    }

    fn leaving(self, rng: &Rng) -> Self {
        match rng.below(4) {
            0 => Self { joins: Joins::Account, ..self },
            1 => Self { joins: Joins::Prices, prices: true, ..self },
            2 => Self { joins: Joins::Sales, ..self },
            _ => Self { joins: Joins::Catalog, ..self },
        }
    }

    fn joining(self, rng: &Rng) -> Self {
        match rng.below(4) {
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
