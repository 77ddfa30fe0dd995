//! Stops functions that make much of little before they run, not when the memory is used up. The engine measures
//! what a function returns.

use rhai::{Array, Dynamic, Map};

use super::{Res, fail};

/// Maximum number of bytes of a text.
pub(in crate::expr) const TEXT: usize = 64 << 20;

/// Maximum number of items of a list, or members of an object, including nested ones.
pub(in crate::expr) const ITEMS: usize = 1_000_000;

const TOO_LARGE: &str = "the value grows too large";

/// # Errors
/// If a text of this many bytes would be too long.
pub(super) fn text(bytes: usize) -> Res<()> {
    if bytes > TEXT { fail(TOO_LARGE) } else { Ok(()) }
}

/// A list that grows.
#[derive(Default)]
pub(super) struct Growth {
    items: usize,
    bytes: usize,
}

impl Growth {
    /// # Errors
    /// If the list would be too large with this item.
    pub fn add(&mut self, item: &Dynamic) -> Res<()> {
        self.measure(item);
        if self.items > ITEMS || self.bytes > TEXT { fail(TOO_LARGE) } else { Ok(()) }
    }

    fn measure(&mut self, value: &Dynamic) {
        self.items += 1;
        if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
            self.bytes = self.bytes.saturating_add(text.len());
        } else if let Some(items) = value.read_lock::<Array>() {
            items.iter().for_each(|item| self.measure(item));
        } else if let Some(members) = value.read_lock::<Map>() {
            for (name, member) in members.iter() {
                self.bytes = self.bytes.saturating_add(name.len());
                self.measure(member);
            }
        }
    }
}
