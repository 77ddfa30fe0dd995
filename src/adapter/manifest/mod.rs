//! What the TOML says: the tables of an adapter's file as types, with the place (file, line, column) of every text,
//! the values that a system gives to an adapter's settings, and the JSON Schema of it all.
//!
//! Nothing here is compiled or run: an expression is a text with its place. [`head`] is what all drivers share;
//! [`http`], [`sql`] and [`files`] are what each of them reads from the same file. Everybody in `adapter` may call
//! this room; it calls none of them.

mod cursor;
pub mod files;
mod fingerprint;
mod head;
pub mod http;
mod joins;
mod reference;
mod settings;
pub mod sql;
mod units;

pub use cursor::{CursorKind, CursorSpec};
pub use fingerprint::{setup_fingerprint, version_of};
pub use head::{Body, Driver, Formula, Manifest, Setting, SettingKind, Text};
pub use reference::schema;
pub use settings::{Given, SettingValue, Settings};
pub use units::{Overlap, Span};
