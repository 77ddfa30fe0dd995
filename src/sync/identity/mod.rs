//! Which objects are one: match rules, numbers that several systems give, links and their review, ids of children.
//!
//! Called by `desired`, `pull`, `delivery` and `engine`; calls `routing`, `context` and `conflict`.

pub(in crate::sync) mod children;
pub(in crate::sync) mod guests;
mod links;
pub(in crate::sync) mod numbering;
pub(in crate::sync) mod parents;
pub(in crate::sync) mod unique;
mod whose;

pub(in crate::sync) use self::links::LinkContext;
#[cfg(test)]
pub(in crate::sync) use self::links::LinkError;
pub use self::links::{Links, Named, Review, review};
