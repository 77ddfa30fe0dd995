//! `PullContext`: what a run reads, and with which system and mapping.

use super::Context;
use crate::{
    mapping::{Fields, Translate},
    port::System,
    store::{RecordId, Replica, RunId},
};

/// An object that was seen to have changed.
#[derive(Clone, Copy)]
pub(in crate::sync) struct Observed<'a> {
    pub(in crate::sync) record: RecordId,
    pub(in crate::sync) before: &'a Replica,
    pub(in crate::sync) fields: &'a Fields,
    /// Field to `[before, after]`.
    pub(in crate::sync) difference: &'a Fields,
}

/// What all pages of a pull have in common.
pub(in crate::sync) struct PullContext<'a> {
    pub(in crate::sync) context: &'a Context,
    pub(in crate::sync) system: &'a dyn System,
    pub(in crate::sync) mapping: &'a dyn Translate,
    pub(in crate::sync) entity: &'a str,
    pub(in crate::sync) run: RunId,
    /// Whether this is a full reading with another mapping or adapter than the last one.
    pub(in crate::sync) remapped: bool,
}
