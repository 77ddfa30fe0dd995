//! What the log says: each problem once, when it is new, and each reading that changed something.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    failure::Class,
    printable,
    store::{Delivered, Job, JobId, SharedStore, StoreError, Verdict},
    sync::context::{RunReport, report},
    wait_reason::WaitReason,
};

/// How many lines one batch may add to the log. Further ones are only counted.
const FEW: usize = 5;
/// How many reported problems are remembered.
const MOST: usize = 50_000;

/// What was reported since the process began. The same problem is reported once.
#[derive(Debug, Default)]
pub struct Journal {
    /// The subject of a problem, and what was last reported about it.
    reported: Mutex<BTreeMap<String, String>>,
}

/// How a job ended, as far as the log is concerned.
pub(in crate::sync) struct End {
    job: JobId,
    /// `None` for a job that went well.
    problem: Option<Problem>,
}

/// A problem that somebody may have to deal with.
struct Problem {
    /// `refused by`, `waits before`
    how: &'static str,
    /// Two problems are the same if this is equal.
    same: String,
    error: String,
}

/// Return the ends of a batch: the jobs that went well, were refused, or wait for somebody.
pub(in crate::sync) fn ends(delivered: &[Delivered]) -> Vec<End> {
    let end = |one: &Delivered| {
        let problem = match &one.verdict {
            Verdict::Done { .. } => None,
            Verdict::Dead { error, .. } => {
                Some(Problem { how: "refused by", same: error.clone(), error: error.clone() })
            }
            // A brake and the end of a run report all the jobs that they hold at once.
            Verdict::Parked { cause, error } if reports_itself(cause) => {
                Some(Problem { how: "waits before", same: cause.to_string(), error: error.clone() })
            }
            Verdict::Retry { class, error, .. } if class == Class::Auth.as_str() => {
                Some(Problem { how: "refused by", same: error.clone(), error: error.clone() })
            }
            Verdict::Parked { .. } | Verdict::Retry { .. } => return None,
        };
        Some(End { job: one.job, problem })
    };
    delivered.iter().filter_map(end).collect()
}

impl Journal {
    /// Whether this was not reported of `subject` before.
    pub(in crate::sync) fn is_new(&self, subject: &str, said: &str) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.get(subject).is_some_and(|before| before == said) {
            return false;
        }
        if reported.len() >= MOST {
            reported.clear();
        }
        reported.insert(subject.to_owned(), said.to_owned());
        true
    }

    fn was_said(&self, subject: &str, said: &str) -> bool {
        let reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.get(subject).is_some_and(|before| before == said)
    }

    /// Whether a problem of `subject` was reported, which is now over.
    pub(in crate::sync) fn is_over(&self, subject: &str) -> bool {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).remove(subject).is_some()
    }

    fn reported_rows(&self, subject: &str) -> u64 {
        let reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.get(subject).and_then(|count| count.parse().ok()).unwrap_or_default()
    }

    /// Whether there are more rows than were last reported. A lower number is remembered; if it is 0, nothing is
    /// remembered any more.
    fn are_more(&self, subject: &str, count: u64) -> bool {
        let before = self.reported_rows(subject);
        if count == 0 {
            self.is_over(subject);
        } else {
            self.is_new(subject, &count.to_string());
        }
        count > before
    }

    /// Return the new problems among the ends of a batch.
    fn new_problems(&self, ends: Vec<End>) -> Vec<(JobId, Problem)> {
        let is_new = |end: End| {
            let subject = format!("job {}", end.job);
            match end.problem {
                Some(problem) => self.is_new(&subject, &problem.same).then_some((end.job, problem)),
                None => {
                    self.is_over(&subject);
                    None
                }
            }
        };
        ends.into_iter().filter_map(is_new).collect()
    }

    /// Warn of the new problems among the ends of a batch.
    pub(in crate::sync) async fn warn(&self, store: &SharedStore, jobs: &[Job], ends: Vec<End>) {
        if !tracing::enabled!(tracing::Level::WARN) {
            return;
        }
        let problems = self.new_problems(ends);
        let known = problems.iter().filter_map(|(id, problem)| Some((jobs.iter().find(|job| job.id == *id)?, problem)));
        let first_few: Vec<(&Job, &Problem)> = known.take(FEW).collect();
        let Some((first, _)) = first_few.first() else { return };
        let records: Vec<_> = first_few.iter().map(|(job, _)| job.record).collect();
        // If the key cannot be read, the job is named by its number: what was delivered is delivered.
        let keys = store.keys(&records).await.unwrap_or_default();
        for (job, problem) in &first_few {
            let Job { id, run, target: system, entity, .. } = job;
            let key = keys.get(&job.record).map_or("?", |(_, key)| key.as_str());
            let key = printable::line(printable::cut(key, printable::CELL).as_ref()).into_owned();
            let Problem { how, error, .. } = problem;
            let (job, run) = (id.0, run.map(i64::from));
            tracing::warn!(job, run, system, entity, key, "{entity} {key} {how} {system}: {error}");
        }
        if problems.len() > FEW {
            let (system, entity) = (&first.target, &first.entity);
            tracing::warn!(system, entity, "and {} more like these: `vaiven jobs list`", problems.len() - FEW);
        }
    }

    /// Write one line for a reading that changed something, failed for a new reason, or met more rows that cannot
    /// be read.
    pub(in crate::sync) async fn read(&self, store: &SharedStore, report: &RunReport) -> Result<(), StoreError> {
        if !tracing::enabled!(tracing::Level::WARN) {
            return Ok(());
        }
        let RunReport { run, system, entity, balance, error, .. } = report;
        let run = run.map(i64::from);
        let subject = format!("reading {system}/{entity}");
        match error {
            // What is wrong with the system as a whole is reported for the system.
            Some(error) if error.starts_with(&report::left_alone(system)) => {}
            Some(error) if !self.was_said(&format!("system {system}"), error) && self.is_new(&subject, error) => {
                tracing::warn!(run, system, entity, "{entity} cannot be read at {system}: {error}");
            }
            Some(_) => {}
            None if self.is_over(&subject) => tracing::info!(run, system, entity, "{entity} is read at {system} again"),
            None => {}
        }
        if balance.changed + balance.gone > 0 {
            let (seen, changed, gone) = (balance.seen, balance.changed, balance.gone);
            tracing::info!(
                run,
                system,
                entity,
                seen,
                changed,
                gone,
                "{entity} at {system}: {changed} changed, {gone} gone"
            );
        }
        let subject = format!("rejected {system}/{entity}");
        if balance.rejected > 0 || self.reported_rows(&subject) > 0 {
            let counts = store.rejection_counts().await?;
            let count =
                counts.iter().find(|(at, of, ..)| at == system && of == entity).map_or(0, |(_, _, open, _)| *open);
            if self.are_more(&subject, count) {
                tracing::warn!(
                    run,
                    system,
                    entity,
                    rows = count,
                    "{count} of {entity} at {system} cannot be read: `vaiven rejected {system}`"
                );
            }
        }
        Ok(())
    }
}

fn reports_itself(cause: &WaitReason) -> bool {
    !cause.is_daily() && !matches!(cause, WaitReason::Run(_) | WaitReason::Brake(_))
}

/// Return what is reported of a state store that fails, with its place if the disk is full.
pub fn trouble(store: &SharedStore, error: &StoreError) -> String {
    let said = error.to_string();
    let is_full =
        ["database or disk is full", "No space left on device", "53100"].iter().any(|sign| said.contains(sign));
    if is_full { format!("the disk that holds {} is full ({said}); make room", store.place()) } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_reported_once_and_again_when_it_is_another_one_or_came_back() {
        let journal = Journal::default();
        assert!(journal.is_new("job 1", "no"));
        assert!(!journal.is_new("job 1", "no"));
        assert!(journal.is_new("job 1", "no such tax"));
        assert!(journal.is_over("job 1") && !journal.is_over("job 1"));
        assert!(journal.is_new("job 1", "no such tax"));
    }

    #[test]
    fn rows_are_reported_again_when_there_are_more_and_after_all_were_corrected() {
        let journal = Journal::default();
        let reports =
            |counts: &[u64]| counts.iter().map(|count| journal.are_more("rejected", *count)).collect::<Vec<_>>();
        assert_eq!(reports(&[3, 3, 5, 3, 4, 0, 3]), [true, false, true, false, true, false, true]);
    }

    #[test]
    fn what_went_well_is_reported_again_when_it_does_not() {
        let journal = Journal::default();
        let refused = || End {
            job: JobId(7),
            problem: Some(Problem { how: "refused by", same: "no".into(), error: "no".into() }),
        };
        assert_eq!(journal.new_problems(vec![refused()]).len(), 1);
        assert!(journal.new_problems(vec![refused()]).is_empty());
        assert!(journal.new_problems(vec![End { job: JobId(7), problem: None }]).is_empty());
        assert_eq!(journal.new_problems(vec![refused()]).len(), 1);
    }

    #[test]
    fn what_holds_many_jobs_at_once_reports_itself() {
        for cause in ["brake:run-3", "run:3", "acceptance:order=7"] {
            assert!(!reports_itself(&cause.to_owned().into()), "{cause}");
        }
        assert!(reports_itself(&WaitReason::lookup("tax", "IGIC7")) && reports_itself(&WaitReason::Conflict));
    }
}
