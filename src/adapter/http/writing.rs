//! Writes under way: what all writes that were handed over together are made with.

use super::{exchange::Exchange, plan::Entity};
use crate::{expr::Scope, port::Progress};

/// What writes of one entity are made with.
#[derive(Clone, Copy)]
pub struct Writing<'a> {
    pub entity: &'a Entity,
    pub exchange: &'a Exchange,
    /// Variables that the requests see.
    pub scope: &'a Scope<'a>,
    pub progress: &'a dyn Progress,
}
