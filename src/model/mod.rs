//! Canonical entities: their specifications, values and keys.

pub mod altered;
pub mod canonical;
pub mod codes;
mod compare;
pub mod decimal;
mod diff;
pub mod flaw;
pub mod percent;
pub mod proof;
mod shape;
mod shown;
mod spec;
mod states;
pub mod time;
mod validate;
pub mod vat;

pub use altered::{Alteration, Members};
pub use compare::{Compare, doubts};
pub use diff::diff;
pub use shape::{Shape, agree, lay};
pub use shown::{Shown, records, renumber, with_article};
pub use spec::{Entities, EntitySpec, FieldSpec, Kind};
pub use states::{Accepted, States};
pub use validate::{FieldError, empty, normal, normalize};

#[cfg(test)]
pub(crate) use validate::tests;
