//! Work that renews the leases of its jobs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::{
    store::{Fence, Job, JobId},
    sync::context::{Context, leases::LeaseDeadline, outcome},
};

/// How long a stop waits for the batch under way before it drops the batch and gives its jobs back.
const GRACE: Duration = Duration::from_secs(8);

pub(in crate::sync) fn fences(jobs: &[Job]) -> Vec<(JobId, Fence)> {
    jobs.iter().map(|job| (job.id, job.fence)).collect()
}

/// Run `work` while renewing the leases of its jobs. Return `None` if it did not end in time after a stop, or if
/// the leases ran out first: what it has not sent by then is for another worker to send.
pub(in crate::sync) async fn alive<T>(
    context: &Context,
    jobs: &[Job],
    work: impl Future<Output = T>,
    stop: &CancellationToken,
) -> Option<T> {
    let (fences, lease) = (fences(jobs), context.limits.lease);
    let term = LeaseDeadline::until(jobs.iter().map(|job| job.due).min().unwrap_or(DateTime::<Utc>::MAX_UTC));
    let overdue = async {
        stop.cancelled().await;
        context.env.sleep(GRACE).await;
    };
    let lost = async {
        loop {
            context.env.sleep(lease / 3).await;
            let now = context.env.now();
            match context.store.renew(&fences, lease, now).await {
                Ok(held) if held.len() == fences.len() => term.extend(outcome::later(now, lease)),
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, "leases could not be renewed"),
            }
        }
    };
    // Run them side by side: while one waits for the store's writer, the other may be the one that has it.
    let side_by_side = async {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = overdue => None,
            () = lost => None,
        }
    };
    term.bound(&context.env, side_by_side).await.flatten()
}
