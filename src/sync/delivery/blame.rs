//! Decides whether a failure is the system's fault, or the fault of one record while other records go through.

use std::collections::BTreeSet;

use crate::{
    failure::{Class, Failure},
    store::{Job, JobId, Result},
    sync::{context::Context, desired::verdict::Alone},
};

/// From this many refused records at once, the system is at fault, not the records.
pub(in crate::sync) const SEVERAL: usize = 3;

/// What is at fault for the failures of a batch.
pub(in crate::sync) struct Blame {
    went: bool,
    /// Jobs that met the same failure before, while others have gone through since.
    repeated: BTreeSet<JobId>,
    /// How many jobs failed, by class, without a sign that the fault is their own.
    refused: usize,
    troubled: usize,
    /// How many jobs were told by the system to wait.
    throttled: usize,
}

impl Blame {
    /// Decide for the `failed` jobs of a batch to `target`. `went`: whether other jobs of the batch went through.
    pub(in crate::sync) async fn of(
        context: &Context,
        target: &str,
        went: bool,
        failed: &[(&Job, &Failure)],
    ) -> Result<Self> {
        let troubled = || failed.iter().filter(|(_, failure)| is_trouble(failure));
        let met_before = |job: &Job, failure: &Failure| job.error_class.as_deref() == Some(failure.class.as_str());
        let before: Vec<JobId> =
            troubled().filter(|(job, failure)| met_before(job, failure)).map(|(job, _)| job.id).collect();
        let repeated: BTreeSet<JobId> = if went || before.is_empty() {
            before.into_iter().collect()
        } else {
            context.store.gone_through_since(target, &before).await?.into_iter().collect()
        };
        let count =
            |class| troubled().filter(|(job, failure)| failure.class == class && !repeated.contains(&job.id)).count();
        let (refused, troubled) = (count(Class::Auth), count(Class::Transient));
        let throttled = failed.iter().filter(|(_, failure)| failure.class == Class::Throttled).count();
        Ok(Self { went, repeated, refused, troubled, throttled })
    }

    /// Return what a failure says about its record.
    pub(in crate::sync) fn alone(&self, job: JobId, failure: &Failure) -> Alone {
        match (self.repeated.contains(&job), self.went) {
            _ if !is_trouble(failure) => Alone::No,
            // A limit that is used up affects whichever job comes next, and some of them repeatedly.
            _ if failure.class == Class::Throttled && self.throttled >= SEVERAL => Alone::No,
            (true, _) => Alone::Repeated,
            (false, _) if failure.class == Class::Throttled => Alone::No,
            (false, true) if failure.class == Class::Auth || self.troubled < SEVERAL => Alone::First,
            (false, _) => Alone::No,
        }
    }

    /// Whether a failure is the system's fault, so that the system is paused.
    pub(in crate::sync) fn is_of_the_system(&self, job: JobId, failure: &Failure) -> bool {
        match failure.class {
            Class::Throttled | Class::Transient => is_trouble(failure) && self.alone(job, failure) == Alone::No,
            Class::Auth => !self.went && self.refused >= SEVERAL && !self.repeated.contains(&job),
            _ => false,
        }
    }
}

/// Whether a failure can be the fault of a system as a whole or of one record alone. A job that waits for a file is
/// neither.
fn is_trouble(failure: &Failure) -> bool {
    matches!(failure.class, Class::Auth | Class::Transient | Class::Throttled) && failure.cause.is_none()
}
