//! `PullContext`: what a run reads, and with which system and mapping.

use super::Context;
use crate::{mapping::Translate, port::System};

/// What a pull's pages have in common.
pub(in crate::sync) struct PullContext<'a> {
    pub(in crate::sync) context: &'a Context,
    pub(in crate::sync) system: &'a dyn System,
    pub(in crate::sync) mapping: &'a dyn Translate,
    pub(in crate::sync) entity: &'a str,
    pub(in crate::sync) run: i64,
    /// Whether the whole is read with another mapping or adapter than the last time.
    pub(in crate::sync) remapped: bool,
}
