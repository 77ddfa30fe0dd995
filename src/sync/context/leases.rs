//! Leases end in time, even if this process slept through the end: paused, swapped out, or cut off from the store
//! that would have reported it. After the end nothing is sent any more, since others may have taken over.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicI64, Ordering},
    task::Poll,
};

use chrono::{DateTime, Utc};

use crate::{
    env::Env,
    store::{Lease, StoreError},
    sync::context::{Context, outcome::later},
};

/// Until when a lease is ours, by our own clock.
#[derive(Debug)]
pub(in crate::sync) struct LeaseDeadline(AtomicI64);

impl LeaseDeadline {
    pub(in crate::sync) fn until(end: DateTime<Utc>) -> Self {
        Self(AtomicI64::new(end.timestamp_micros()))
    }

    pub(in crate::sync) fn extend(&self, end: DateTime<Utc>) {
        self.0.store(end.timestamp_micros(), Ordering::Relaxed);
    }

    fn is_over(&self, now: DateTime<Utc>) -> bool {
        now.timestamp_micros() >= self.0.load(Ordering::Relaxed)
    }

    /// Carry on `work` while the lease lasts; return `None` if the lease ended first. Check the time before each
    /// step of the work: a timer would also fire after a pause, but perhaps later than the answer that lets the
    /// next request go.
    pub(in crate::sync) async fn bound<T>(&self, env: &Env, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.is_over(env.now()) {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }
}

/// Carry on `work` while these leases, taken just before, are renewed; return `None` if one of them was lost.
pub(in crate::sync) async fn holding<T>(
    context: &Context,
    leases: &[Lease],
    work: impl Future<Output = T>,
) -> Option<T> {
    let long = context.limits.long();
    let term = LeaseDeadline::until(later(context.env.now(), long));
    let lost = async {
        loop {
            context.env.sleep(long / 3).await;
            let now = context.env.now();
            match keep(context, leases).await {
                Ok(true) => term.extend(later(now, long)),
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "leases could not be renewed"),
            }
        }
    };
    // Run them side by side: while one waits for the store's writer, the other may be the one that has it.
    let side_by_side = async {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = lost => None,
        }
    };
    term.bound(&context.env, side_by_side).await.flatten()
}

async fn keep(context: &Context, leases: &[Lease]) -> Result<bool, StoreError> {
    for lease in leases {
        if !context.store.keep(lease, context.limits.long(), context.env.now()).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Do `work` as the only one of all daemons, under the lease `name`; return `None` if another daemon is doing it.
/// Only for work that may safely be done twice, in case the lease is lost meanwhile.
pub(in crate::sync) async fn leading<T>(
    context: &Context,
    name: &str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<Option<T>, StoreError> {
    let Some(lease) = context.store.acquire(name, &context.owner, context.limits.long(), context.env.now()).await?
    else {
        return Ok(None);
    };
    let renewing = async {
        loop {
            context.env.sleep(context.limits.long() / 3).await;
            if let Err(error) = keep(context, std::slice::from_ref(&lease)).await {
                tracing::warn!(%error, "the lease {name} could not be renewed");
            }
        }
    };
    let done = tokio::select! {
        biased;
        done = work => done,
        never = renewing => never,
    };
    let dropped = context.store.drop_lease(&lease).await;
    let done = done?;
    dropped.map(|()| Some(done))
}
