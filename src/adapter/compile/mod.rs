//! What the drivers share for compiling a manifest: texts become expressions and templates, a cursor becomes one that
//! can be asked. Whatever is wrong in the file is found here, with its place.
//!
//! Two things here do more than compile. A cursor's clock reads and writes times as well, because a format is checked
//! by writing a time in it and reading it back. [`Compiler::own_text`] gives a text's value at once, because the
//! address of a database decides for which database its statements are compiled.
//!
//! Called by the drivers, and by [`run`](super::run). It calls [`manifest`](super::manifest) alone.

mod clock;
mod cursor;
mod texts;

pub use cursor::Cursor;
pub use texts::Compiler;

/// Maximum number of pages of one listing, unless the adapter sets another.
pub const MAX_PAGES: u64 = 10_000;
