//! Which faults are injected in a seed, and how often. A seed has only some kinds of faults, so that frequent kinds do
//! not hide rare ones.

use std::collections::BTreeSet;

use crate::rng::Rng;

macro_rules! faults {
    ($($name:ident = $word:literal),* $(,)?) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($name),* }

        impl Fault {
            /// All kinds, in the order in which they are drawn.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name in traces and in `WITHOUT=`.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }
        }
    };
}

faults! {
    // Requests.
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
    // The state store.
    Busy = "busy",
    Untold = "untold",
    Stall = "stall",
    Full = "full",
    CutOff = "cut-off",
    // The machine.
    Crash = "crash",
    Sleep = "sleep",
    ClockSet = "clock-set",
}

/// What may happen to a request that reads. A kind that is named twice is twice as frequent.
const ON_READS: &[Fault] = &[
    Fault::NotSent,
    Fault::LostBefore,
    Fault::ErrorBefore,
    Fault::Throttled,
    Fault::ShortPage,
    Fault::Html,
    Fault::Slow,
    Fault::Logout,
];
/// What may happen to a request that writes.
const ON_WRITES: &[Fault] = &[
    Fault::NotSent,
    Fault::LostBefore,
    Fault::LostAfter,
    Fault::LostAfter,
    Fault::LostLate,
    Fault::ErrorBefore,
    Fault::ErrorAfter,
    Fault::HalfBatch,
    Fault::Throttled,
    Fault::Html,
    Fault::Doubled,
    Fault::Slow,
    Fault::Logout,
];
/// What may happen to a call of the store.
const IN_STORE: &[Fault] = &[Fault::Busy, Fault::Untold, Fault::Stall, Fault::Full];

/// The faults of one seed.
#[derive(Clone, Debug)]
pub struct Faults {
    enabled: BTreeSet<Fault>,
    /// How many of a thousand requests meet a fault.
    wire: u64,
    /// How many of a thousand calls of the store meet one.
    store: u64,
}

impl Faults {
    /// Draws the faults of a seed, without the kinds in `without` (by their words). Leaving out a kind changes no
    /// other draw.
    pub fn draw(rng: &Rng, without: &BTreeSet<String>) -> Self {
        let drawn = Fault::ALL.iter().filter(|_| rng.permille(600)).copied().collect::<Vec<_>>();
        let wire = [0, 60, 180, 350][usize::try_from(rng.below(4)).unwrap()];
        let store = [0, 0, 4, 12][usize::try_from(rng.below(4)).unwrap()];
        Self { enabled: drawn.into_iter().filter(|fault| !without.contains(fault.word())).collect(), wire, store }
    }

    /// Whether a kind of fault is enabled in this seed.
    pub fn has(&self, fault: Fault) -> bool {
        self.enabled.contains(&fault)
    }

    /// Draws the fault of the next request, if any.
    pub fn on_the_wire(&self, rng: &Rng, is_write: bool) -> Option<Fault> {
        self.pick(rng, self.wire, if is_write { ON_WRITES } else { ON_READS })
    }

    /// Draws the fault of the next call of the store, if any.
    pub fn in_the_store(&self, rng: &Rng) -> Option<Fault> {
        self.pick(rng, self.store, IN_STORE)
    }

    fn pick(&self, rng: &Rng, share: u64, kinds: &[Fault]) -> Option<Fault> {
        if !rng.permille(share) {
            return None;
        }
        let kind = kinds[usize::try_from(rng.below(kinds.len() as u64)).unwrap()];
        self.enabled.contains(&kind).then_some(kind)
    }
}
