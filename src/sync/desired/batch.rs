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
    /// What the target can do with the entity; nothing if its adapter does not know the entity.
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

    /// What has been collected so far to be done once the outcomes are stored.
    pub(in crate::sync) fn follow_up(&self) -> MutexGuard<'_, FollowUp> {
        self.follow_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::sync) fn into_follow_up(self) -> FollowUp {
        self.follow_up.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has to be done once the outcomes are durable.
#[derive(Default)]
pub(in crate::sync) struct FollowUp {
    /// What the writes wait for that were refused because of another object.
    pub(in crate::sync) waits: Vec<Wait>,
    /// (entity and list, id) of children that the target no longer has: objects that lived on them may live on
    /// others now.
    pub(in crate::sync) moved: Vec<(String, String)>,
    /// Whether the target changes stock figures by itself.
    pub(in crate::sync) recounts: bool,
    /// (entity, record) of orders that go on again after they had ended: a system that was notified of that end
    /// forgets it.
    pub(in crate::sync) reopened: Vec<(String, RecordId)>,
}

/// A refused write that waits for the object which has its value.
pub(in crate::sync) struct Wait {
    pub(in crate::sync) holder: RecordId,
    /// Number of the delivery that had last written that object.
    pub(in crate::sync) written: i64,
    pub(in crate::sync) cause: WaitReason,
    pub(in crate::sync) why: String,
    /// The object has just given the value up: there is nothing to wait for.
    pub(in crate::sync) free: bool,
}
