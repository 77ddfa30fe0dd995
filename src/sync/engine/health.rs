//! How the parts of a daemon's work are doing: a part that fails again and again is stuck, though the others go on.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Duration, Utc};

/// For each failing part, since when it fails.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<String, FailingPart>>);

#[derive(Debug)]
struct FailingPart {
    since: DateTime<Utc>,
    /// When it was last started again.
    begun: DateTime<Utc>,
}

/// A part that ran this long without an error has recovered.
pub(in crate::sync) const CALM: Duration = Duration::minutes(3);

/// A part that has failed for this long is stuck.
const STUCK: Duration = Duration::minutes(10);

impl Health {
    pub(in crate::sync) fn begun(&self, part: &str, now: DateTime<Utc>) {
        if let Some(trouble) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(part) {
            trouble.begun = now;
        }
    }

    pub(in crate::sync) fn failed(&self, part: &str, now: DateTime<Utc>) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = failing.entry(part.to_owned()).or_insert(FailingPart { since: now, begun: now });
        if now - trouble.begun > CALM {
            trouble.since = now;
        }
        trouble.begun = now;
    }

    /// Return a part that is stuck, and since when.
    #[must_use]
    pub fn stuck(&self, now: DateTime<Utc>) -> Option<(String, DateTime<Utc>)> {
        let failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = |trouble: &FailingPart| now - trouble.begun <= CALM && now - trouble.since >= STUCK;
        failing.iter().find(|(_, trouble)| stuck(trouble)).map(|(part, trouble)| (part.clone(), trouble.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    #[test]
    fn a_part_that_fails_for_ten_minutes_is_stuck_until_it_goes_on() {
        let health = Health::default();
        for minute in 0..10 {
            assert_eq!(health.stuck(at(minute)), None, "minute {minute}");
            health.begun("shop", at(minute));
            health.failed("shop", at(minute));
        }
        assert_eq!(health.stuck(at(10)), Some(("shop".to_owned(), at(0))));
        health.begun("shop", at(11));
        assert_eq!(health.stuck(at(15)), None, "it has run for four minutes");
        health.failed("shop", at(40));
        assert_eq!(health.stuck(at(41)), None, "that is a new trouble");
    }
}
