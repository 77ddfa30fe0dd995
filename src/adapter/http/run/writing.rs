//! What all writes of one call have in common.

use super::exchange::Exchange;
use crate::{adapter::http::compile::Entity, expr::Scope, port::Progress};

/// What writes of one entity need.
#[derive(Clone, Copy)]
pub struct Writing<'a> {
    pub entity: &'a Entity,
    pub exchange: &'a Exchange,
    /// Variables that the requests see.
    pub scope: &'a Scope<'a>,
    pub progress: &'a dyn Progress,
}
