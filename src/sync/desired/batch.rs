//! The jobs of one claim, and what has to follow once their outcomes are stored.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    port::{Capabilities, System},
    store::RecordId,
    sync::context::Context,
    wait_reason::WaitReason,
};

/// One claim's jobs: same target, same entity.
pub(in crate::sync) struct Batch<'a> {
    pub(in crate::sync) context: &'a Context,
    pub(in crate::sync) system: &'a dyn System,
    pub(in crate::sync) target: &'a str,
    pub(in crate::sync) entity: &'a str,
    /// What the target can do with the entity; nothing where its adapter does not know it.
    pub(in crate::sync) capabilities: Capabilities,
    pub(in crate::sync) answer_window: Duration,
    follow_up: Mutex<FollowUp>,
}

impl<'a> Batch<'a> {
    pub(in crate::sync) fn new(context: &'a Context, system: &'a dyn System, target: &'a str, entity: &'a str) -> Self {
        let answer_window = context.limits(target).answer_window;
        let capabilities = system.capabilities(entity).cloned().unwrap_or_default();
        Self { context, system, target, entity, capabilities, answer_window, follow_up: Mutex::default() }
    }

    /// What is to be seen to once the outcomes are stored, so far.
    pub(in crate::sync) fn follow_up(&self) -> MutexGuard<'_, FollowUp> {
        self.follow_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::sync) fn into_follow_up(self) -> FollowUp {
        self.follow_up.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be seen to when the outcomes are durable.
#[derive(Default)]
pub(in crate::sync) struct FollowUp {
    /// What writes wait for that were refused for the sake of another object.
    pub(in crate::sync) waits: Vec<Wait>,
    /// (entity and list, id) of children that the target has no more: what lives on them may live elsewhere now.
    pub(in crate::sync) moved: Vec<(String, String)>,
    /// Whether the target changes figures of stock by itself.
    pub(in crate::sync) recounts: bool,
    /// (entity, record) of what goes on again after it had ended: a system that has heard of that end forgets it.
    pub(in crate::sync) reopened: Vec<(String, RecordId)>,
}

/// Whose object has the value.
pub(in crate::sync) struct Wait {
    pub(in crate::sync) holder: RecordId,
    /// Number of the delivery that had last written that object.
    pub(in crate::sync) written: i64,
    pub(in crate::sync) cause: WaitReason,
    pub(in crate::sync) why: String,
    /// It has stepped aside just now: there is nothing to wait for.
    pub(in crate::sync) free: bool,
}
