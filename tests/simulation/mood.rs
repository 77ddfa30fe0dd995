//! What goes wrong in a seed, and how often. Each seed has some kinds of trouble and not others, so that rare ones are not
//! drowned by common ones.

use std::collections::BTreeSet;

use crate::chance::Chance;

macro_rules! troubles {
    ($($name:ident = $word:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Trouble { $($name),* }

        impl Trouble {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }
        }
    };
}

troubles! {
    // On the wire.
    NotSent = "not-sent",
    LostBefore = "lost-before",
    LostAfter = "lost-after",
    LostLate = "lost-late",
    ErrorBefore = "error-before",
    ErrorAfter = "error-after",
    HalfBatch = "half-batch",
    Throttled = "throttled",
    ShortPage = "short-page",
    Html = "html",
    Doubled = "doubled",
    Slow = "slow",
    Logout = "logout",
    // In the state store.
    Busy = "busy",
    Untold = "untold",
    Stall = "stall",
    Full = "full",
    CutOff = "cut-off",
    // With the machine.
    Crash = "crash",
    Sleep = "sleep",
    ClockSet = "clock-set",
}

/// Troubles of reads; writes have `WRITING` as well.
const READING: &[Trouble] = &[
    Trouble::NotSent,
    Trouble::LostBefore,
    Trouble::ErrorBefore,
    Trouble::Throttled,
    Trouble::ShortPage,
    Trouble::Html,
    Trouble::Slow,
    Trouble::Logout,
];
const WRITING: &[Trouble] = &[
    Trouble::NotSent,
    Trouble::LostBefore,
    Trouble::LostAfter,
    Trouble::LostAfter,
    Trouble::LostLate,
    Trouble::ErrorBefore,
    Trouble::ErrorAfter,
    Trouble::HalfBatch,
    Trouble::Throttled,
    Trouble::Html,
    Trouble::Doubled,
    Trouble::Slow,
    Trouble::Logout,
];
const STORING: &[Trouble] = &[Trouble::Busy, Trouble::Untold, Trouble::Stall, Trouble::Full];

#[derive(Clone, Debug)]
pub struct Mood {
    on: BTreeSet<Trouble>,
    /// Of a thousand requests, so many meet trouble.
    wire: u64,
    /// Of a thousand verbs of the store.
    store: u64,
}

impl Mood {
    /// `without` are kinds that the seed is played without, to see which ones a failure needs.
    pub fn draw(chance: &Chance, without: &BTreeSet<String>) -> Self {
        let on = Trouble::ALL.iter().filter(|_| chance.hits(600)).copied().collect::<Vec<_>>();
        let wire = [0, 60, 180, 350][usize::try_from(chance.below(4)).unwrap()];
        let store = [0, 0, 4, 12][usize::try_from(chance.below(4)).unwrap()];
        Self { on: on.into_iter().filter(|trouble| !without.contains(trouble.word())).collect(), wire, store }
    }

    pub fn has(&self, trouble: Trouble) -> bool {
        self.on.contains(&trouble)
    }

    pub fn on_the_wire(&self, chance: &Chance, is_write: bool) -> Option<Trouble> {
        self.pick(chance, self.wire, if is_write { WRITING } else { READING })
    }

    pub fn in_the_store(&self, chance: &Chance) -> Option<Trouble> {
        self.pick(chance, self.store, STORING)
    }

    fn pick(&self, chance: &Chance, share: u64, kinds: &[Trouble]) -> Option<Trouble> {
        if !chance.hits(share) {
            return None;
        }
        let kind = kinds[usize::try_from(chance.below(kinds.len() as u64)).unwrap()];
        self.on.contains(&kind).then_some(kind)
    }
}
