//! Whom trouble is about: the system, or a record that meets it alone while others go through.

use std::collections::BTreeSet;

use super::engine::Parts;
use crate::{
    failure::{Class, Failure},
    port::Outcome,
    store::{Job, Result},
};

/// So many records at once that are refused are the system's trouble, not theirs.
pub(super) const SEVERAL: usize = 3;

/// What a failed write that tells of trouble says of its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Alone {
    /// Nothing: nobody else went through.
    #[default]
    No,
    /// Others went through beside it. It may have been the first to meet what the system has got into.
    First,
    /// It has met this before, and others went through since.
    Again,
}

/// Whom the trouble of a batch is about.
pub(super) struct Blame {
    went: bool,
    /// Jobs that met the same before; others went through since.
    again: BTreeSet<i64>,
    /// How many jobs met trouble of which nothing says that it is theirs, by class.
    refused: usize,
    troubled: usize,
}

impl Blame {
    /// Whom the failures among `outcomes` are about; `job` gives the job of an outcome.
    pub(super) async fn of<'a>(
        parts: &Parts,
        outcomes: &[Outcome],
        job: impl Fn(i64) -> Option<&'a Job>,
    ) -> Result<Self> {
        let went = outcomes.iter().any(|outcome| outcome.result.is_ok());
        let failed =
            || outcomes.iter().filter_map(|one| Some((one.job, one.result.as_ref().err().filter(|f| is_trouble(f))?)));
        let met_before: Vec<i64> = failed()
            .filter(|(id, failure)| job(*id).and_then(|job| job.error_class.as_deref()) == Some(failure.class.as_str()))
            .map(|(id, _)| id)
            .collect();
        let again: BTreeSet<i64> = if went || met_before.is_empty() {
            met_before.into_iter().collect()
        } else {
            parts.store.gone_through_since(&met_before).await?.into_iter().collect()
        };
        let count = |class| failed().filter(|(id, failure)| failure.class == class && !again.contains(id)).count();
        let (refused, troubled) = (count(Class::Auth), count(Class::Transient));
        Ok(Self { went, again, refused, troubled })
    }

    /// What a failure says of its record.
    pub(super) fn alone(&self, job: i64, failure: &Failure) -> Alone {
        match (self.again.contains(&job), self.went) {
            _ if !is_trouble(failure) => Alone::No,
            (true, _) => Alone::Again,
            (false, true) if failure.class == Class::Auth || self.troubled < SEVERAL => Alone::First,
            (false, _) => Alone::No,
        }
    }

    /// Whether a failure is the system's, so that it is left alone for a while.
    pub(super) fn is_of_the_system(&self, job: i64, failure: &Failure) -> bool {
        match failure.class {
            Class::Throttled => true,
            Class::Transient => is_trouble(failure) && self.alone(job, failure) == Alone::No,
            Class::Auth => !self.went && self.refused >= SEVERAL && !self.again.contains(&job),
            _ => false,
        }
    }
}

/// Failures that a system meets as a whole, or one record alone. What waits for a file is neither.
fn is_trouble(failure: &Failure) -> bool {
    matches!(failure.class, Class::Auth | Class::Transient) && failure.cause.is_none()
}
