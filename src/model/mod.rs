//! Canonical entities: their specifications, values and keys. Knows nobody.

pub mod canonical;
pub mod decimal;
pub mod time;
