//! Seeded random numbers: one seed decides everything in a simulation.

use std::sync::Mutex;

use vaiven::internals::env::Entropy;

/// A generator that many can draw from (SplitMix64).
#[derive(Debug)]
pub struct Rng(Mutex<u64>);

impl Rng {
    /// The same `seed` gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// A number from 0 to `bound` - 1.
    pub fn below(&self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }

    /// True in `share` of a thousand cases.
    pub fn permille(&self, share: u64) -> bool {
        self.below(1000) < share
    }
}

impl Entropy for Rng {
    fn next_u64(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
