//! Settings: what is special about a seed, in addition to what all seeds have. A seed has only one setting, which
//! keeps it cheap and keeps one special case from hiding another.

use chrono::{DateTime, Utc};

use crate::rng::Rng;

/// The second shop.
pub const OUTLET: &str = "outlet";

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident = $word:literal),* $(,)?) => {
        /// What is special about a seed.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum Setting { $($(#[$doc])* $name),* }

        impl Setting {
            const NAMED: &'static [(&'static str, Self)] = &[$(($word, Self::$name)),*];
        }
    };
}

settings! {
    /// Nothing special.
    #[default]
    Plain = "plain",
    /// Two shops that number their orders alike and sell the same stock.
    TwoShops = "two-shops",
    /// The ERP keeps sold stock on hand until it is shipped, and reports it as reserved.
    Reserving = "reserving",
    /// Both sides have most objects before the engine first runs, some of them in unreadable rows. In the end the
    /// engine loses its state.
    Adopted = "adopted",
    /// The ERP writes local time without a zone, in the night of a clock change; some dates are in the next year.
    Clocks = "clocks",
    /// Orders and prices in two currencies, although the ERP's orders and the shop's prices have room for only one.
    Currencies = "currencies",
    /// Customers with addresses, which have ids of their own at each side.
    Children = "children",
    /// People enter unreadable values, and correct them late.
    Odd = "odd",
    /// Articles have barcodes, which are unique in the shop, and people swap them in the ERP.
    Swaps = "swaps",
    /// The shop lacks one of the ERP's tax classes and stores none in its place; it rounds prices of three decimals to
    /// two.
    Altering = "altering",
    /// Some orders are paid late, or never.
    Unpaid = "unpaid",
    /// A flow is added to the configuration later.
    Joining = "joining",
    /// The shop answers some creates with the id of another article, or of its variant.
    Mistaken = "mistaken",
    /// People put articles on sale in the shop, which refuses a price below the sale price.
    Reduced = "reduced",
    /// References of articles contain characters with a meaning in URLs, and are part of the paths of their prices.
    Awkward = "awkward",
    /// The ERP has some of the shop's customers, who can be matched only by their tax number; that rule is added late.
    Recognised = "recognised",
    /// A flow is taken out of the configuration for a while.
    Leaving = "leaving",
    /// The shop erases the buyers of orders.
    Erased = "erased",
    /// Either side reopens cancelled orders.
    Reopened = "reopened",
    /// The ERP's mapping says that articles are sold in packs of five, and after a while it no longer says so.
    Outdated = "outdated",
    /// Workers are often cut off from the store for longer than their leases.
    Hesitant = "hesitant",
}

impl Setting {
    /// The settings that seeds draw, the plain one more often.
    pub const IN_PLAY: &'static [Self] = &[
        Self::Plain,
        Self::Plain,
        Self::Plain,
        Self::Reserving,
        Self::Currencies,
        Self::Odd,
        Self::Unpaid,
        Self::Clocks,
        Self::Altering,
        Self::TwoShops,
        Self::Adopted,
        Self::Children,
        Self::Swaps,
        Self::Joining,
        Self::Hesitant,
        Self::Mistaken,
        Self::Reduced,
        Self::Awkward,
        Self::Recognised,
        Self::Leaving,
        Self::Erased,
        Self::Reopened,
        Self::Outdated,
    ];

    /// Draws the setting of a seed from random numbers of its own: a new setting changes nothing else in a seed.
    pub fn draw(seed: u64) -> Self {
        let rng = Rng::new(seed.rotate_left(31) ^ 0x5E77);
        Self::IN_PLAY[usize::try_from(rng.below(Self::IN_PLAY.len() as u64)).unwrap()]
    }

    /// The names of the shops.
    pub fn shops(self) -> &'static [&'static str] {
        match self {
            Self::TwoShops => &["shop", OUTLET],
            _ => &["shop"],
        }
    }

    /// When the simulation begins.
    pub fn first_day(self) -> DateTime<Utc> {
        let text = match self {
            // The clocks of Madrid are set back at one o'clock UTC.
            Self::Clocks => "2026-10-25T00:20:00Z",
            _ => "2026-03-01T08:00:00Z",
        };
        text.parse().unwrap()
    }

    /// Its name in `SETTING=`.
    pub fn word(self) -> &'static str {
        Self::NAMED.iter().find(|(_, setting)| *setting == self).map_or("", |(word, _)| word)
    }

    /// The setting that `SETTING=` names.
    pub fn named(word: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(name, _)| *name == word).map(|(_, setting)| *setting)
    }
}
