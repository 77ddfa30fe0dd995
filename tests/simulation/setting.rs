//! What is special about a seed's world, besides what every world has. One at a time, so that a world costs no more than
//! before and what is rare in one is not drowned by another.

use chrono::{DateTime, Utc};

use crate::chance::Chance;

/// The second shop.
pub const OUTLET: &str = "outlet";

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident = $word:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum Setting { $($(#[$doc])* $name),* }

        impl Setting {
            const NAMED: &'static [(&'static str, Self)] = &[$(($word, Self::$name)),*];
        }
    };
}

settings! {
    /// A shop and an ERP that begin empty.
    #[default]
    Plain = "plain",
    /// Two shops that number their orders alike and sell one stock.
    TwoShops = "two-shops",
    /// The ERP keeps what is sold on hand until it leaves, and tells apart how much of it is reserved.
    Reserving = "reserving",
    /// Both sides have most of it before the engine's first day, some of it in rows that cannot be read; and in the end the
    /// state is lost.
    Adopted = "adopted",
    /// The ERP writes the time of its wall, in the night in which an hour comes twice; some dates are of next year.
    Clocks = "clocks",
    /// Orders in two currencies, and prices in two: the ERP's orders and the shop's prices have a place for one.
    Currencies = "currencies",
    /// Customers with addresses, each with an id of its own at either side.
    Children = "children",
    /// Here and there somebody enters what nobody can read, and mends it late.
    Odd = "odd",
    /// Articles have barcodes, which the shop has once only, and the ERP's people swap them.
    Swaps = "swaps",
    /// The shop does not know each of the ERP's tax classes, and stores none in the place of one that it does not know; it keeps
    /// prices of two decimals where the ERP has three.
    Altering = "altering",
    /// Some orders are paid later, or never.
    Unpaid = "unpaid",
    /// A flow that is added to the configuration of a company at work.
    Joining = "joining",
    /// The shop answers some creations with the id of another article, or of its variant.
    Mistaken = "mistaken",
    /// People in the shop sell articles at a reduced price for a while, above which the shop wants the usual one.
    Reduced = "reduced",
    /// References of articles with all that means something in an address, in which the shop wants them.
    Awkward = "awkward",
    /// The ERP knows some of the shop's customers by their tax number alone, and the rule that they are recognised by joins late.
    Recognised = "recognised",
    /// A flow that is taken out of the configuration for a while.
    Leaving = "leaving",
    /// The shop erases who has bought.
    Erased = "erased",
    /// What was cancelled goes on after all, whichever side says so.
    Reopened = "reopened",
    /// The ERP's mapping says that articles are sold by the five, and after a while it says so no more.
    Outdated = "outdated",
    /// Workers are cut off from the store again and again, for longer than their leases, while articles are renamed.
    Hesitant = "hesitant",
}

impl Setting {
    /// Those that seeds draw, the plain one more often.
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

    /// From a number of its own, so that a world's other features do not depend on which settings are in play.
    pub fn draw(seed: u64) -> Self {
        let chance = Chance::new(seed.rotate_left(31) ^ 0x5E77);
        Self::IN_PLAY[usize::try_from(chance.below(Self::IN_PLAY.len() as u64)).unwrap()]
    }

    pub fn shops(self) -> &'static [&'static str] {
        match self {
            Self::TwoShops => &["shop", OUTLET],
            _ => &["shop"],
        }
    }

    pub fn first_day(self) -> DateTime<Utc> {
        let text = match self {
            // The clocks of Madrid are set back at one o'clock UTC.
            Self::Clocks => "2026-10-25T00:20:00Z",
            _ => "2026-03-01T08:00:00Z",
        };
        text.parse().unwrap()
    }

    pub fn word(self) -> &'static str {
        Self::NAMED.iter().find(|(_, setting)| *setting == self).map_or("", |(word, _)| word)
    }

    pub fn named(word: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(name, _)| *name == word).map(|(_, setting)| *setting)
    }
}
