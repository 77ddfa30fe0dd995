//! Tries again what waits for a cause that may be over.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::{
    store::{Backlog, JobFilter, JobState, NewRun, Rejection, RunKind, StoreError},
    sync::pull::{self, AskedBy},
    wait_reason::WaitReason,
};

impl Engine {
    /// A configuration that was read again may contain the entry that jobs and rows wait for (`lookup:tax=IGIC7`),
    /// or other rules about what an entity has to prove (`proof:order=1001`) or which objects are the same
    /// (`review:customer=C-77`). So try all of them again, once. What still lacks its cause goes on waiting.
    pub(in crate::sync) async fn retry_resolved(&self, cancel: &CancellationToken) -> Result<(), StoreError> {
        self.read_what_is_waited_for(cancel).await?;
        self.look_anew(|cause| depends_on_configuration(cause) || raises_no_event(cause)).await?;
        self.read_again("rows that lacked a lookup", cancel, |_, _, row| {
            matches!(row.cause, Some(WaitReason::Lookup { .. }))
        })
        .await
    }

    /// Read rows of targets that could not be read and that block creates there: no delta shows when they are
    /// corrected.
    pub(super) async fn read_what_is_waited_for(&self, cancel: &CancellationToken) -> Result<(), StoreError> {
        let store = &self.context.store;
        let mut waited = BTreeSet::new();
        let mut queued = BTreeSet::new();
        for Backlog { target, entity, state, cause, .. } in store.backlog().await? {
            if matches!(cause, Some(WaitReason::Unread { .. } | WaitReason::UnreadRows { .. })) {
                waited.insert((target, entity));
            } else if state == JobState::Queued {
                queued.insert((target, entity));
            }
        }
        // Jobs that were just released by other rows (one was put aside) may wait for these rows as soon as they
        // are tried.
        for (target, entity) in queued {
            if !waited.contains(&(target.clone(), entity.clone())) && !store.unread(&target, &entity).await?.is_empty()
            {
                waited.insert((target, entity));
            }
        }
        if waited.is_empty() {
            return Ok(());
        }
        let is_waited_for =
            |system: &str, entity: &str, _: &Rejection| waited.contains(&(system.to_owned(), entity.to_owned()));
        self.read_again("rows that creations wait for", cancel, is_waited_for).await
    }

    /// Read again rows that could not be read, by their ids if the system can.
    pub(super) async fn read_again(
        &self,
        trigger: &str,
        cancel: &CancellationToken,
        is_meant: impl Fn(&str, &str, &Rejection) -> bool,
    ) -> Result<(), StoreError> {
        const ROWS: u32 = 10_000;
        let context = &self.context;
        let mut rows: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for (system, entity, rejection) in context.store.rejections(None, ROWS).await? {
            if let (true, Some(id)) = (is_meant(&system, &entity, &rejection), rejection.id) {
                rows.entry((system, entity)).or_default().push(id);
            }
        }
        for ((system, entity), ids) in rows {
            if context.capabilities(&system, &entity).is_some_and(|capabilities| capabilities.read) {
                pull::refresh(
                    context,
                    NewRun::new(&system, &entity, RunKind::Single, trigger),
                    &ids,
                    AskedBy::Engine,
                    cancel,
                )
                .await?;
            } else if context.can_list(&system, &entity) {
                pull::pull(context, NewRun::new(&system, &entity, RunKind::Full, trigger), cancel).await?;
            }
        }
        Ok(())
    }

    /// Try the jobs again whose cause may be over.
    pub(super) async fn look_anew(&self, may_be_over: impl Fn(&WaitReason) -> bool) -> Result<(), StoreError> {
        let store = &self.context.store;
        for backlog in store.backlog().await? {
            let cause = backlog.cause.filter(&may_be_over);
            if let (JobState::Parked, Some(cause)) = (backlog.state, cause) {
                let filter = JobFilter { target: Some(backlog.target), cause: Some(cause), ..JobFilter::default() };
                store.retry(&filter, self.context.env.now()).await?;
            }
        }
        Ok(())
    }
}

/// Whether another configuration, mapping or requirement may end the wait.
fn depends_on_configuration(cause: &WaitReason) -> bool {
    matches!(
        cause,
        WaitReason::Lookup { .. }
            | WaitReason::Proof { .. }
            | WaitReason::Qualifies { .. }
            | WaitReason::Differs { .. }
            | WaitReason::Review { .. }
            | WaitReason::Acceptance { .. }
            | WaitReason::Article { .. }
    )
}

/// Whether the wait may be over without any event that says so. A flap guard looks back one hour. A value that the
/// target holds on its own, an answer that could not be read, and a file change without a notification.
pub(super) fn raises_no_event(cause: &WaitReason) -> bool {
    matches!(
        cause,
        WaitReason::FlapGuard { .. }
            | WaitReason::Unread { .. }
            | WaitReason::UnreadRows { .. }
            | WaitReason::Unheld { .. }
            | WaitReason::File { .. }
            | WaitReason::Setup
            | WaitReason::Unlisted { .. }
    )
}
