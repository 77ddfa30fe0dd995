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
    /// A configuration that was read anew may hold the line that jobs and rows wait for (`lookup:tax=IGIC7`), or another
    /// idea of what an entity has to prove (`proof:order=1001`) or of what is one (`review:customer=C-77`): they are all tried again, once. What still lacks it waits on.
    pub(in crate::sync) async fn retry_resolved(&self, cancel: &CancellationToken) -> Result<(), StoreError> {
        self.read_what_is_waited_for(cancel).await?;
        self.look_anew(|cause| depends_on_configuration(cause) || raises_no_event(cause)).await?;
        self.read_again("rows that lacked a lookup", cancel, |_, _, row| {
            matches!(row.cause, Some(WaitReason::Lookup { .. }))
        })
        .await
    }

    /// Rows of targets that could not be read, and that creations there wait for: no delta tells when they are
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
        // What other rows have just let go (one was put aside) may wait for these as soon as it is tried.
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

    /// Reads rows once more that could not be read, by their ids where the system can.
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

    /// Tries the jobs again whose cause may be over.
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

/// Whether another configuration, mapping or idea of what is required may end the wait.
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

/// Whether the wait may be over without any event that says so: a flap guard looks back one hour; a value that the
/// target holds on its own, an answer that could not be read and a file tell nobody when they change.
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
