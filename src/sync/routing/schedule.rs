//! When a schedule fires next, in its own time zone, across both changes of the clock.

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use cron::TimeUnitSpec;

/// Cron expression, with the time zone that it is meant in.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub schedule: cron::Schedule,
    pub zone: chrono_tz::Tz,
}

impl Schedule {
    /// Return the first firing strictly after `after`; `None` if the schedule never fires again.
    ///
    /// A schedule for every hour goes on by elapsed time, whatever the clocks do. A schedule with named hours
    /// follows the wall clock: in an hour that happens twice, it fires once; for an hour that does not happen, it
    /// fires right after the gap (the crate `cron` would skip that day).
    #[must_use]
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let offset = Duration::seconds(i64::from(
            self.zone.offset_from_utc_datetime(&after.naive_utc()).fix().local_minus_utc(),
        ));
        if self.schedule.hours().is_all() {
            let local = Utc.from_utc_datetime(&(after.naive_utc() + offset));
            return self.schedule.after(&local).next().map(|next| next - offset);
        }
        let mut local = after.naive_utc() + offset;
        // If an hour repeats, the wall time may lie before `after`: search on until the instant lies after it.
        for _ in 0..64 {
            local = self.schedule.after(&Utc.from_utc_datetime(&local)).next()?.naive_utc();
            let instant = self.instant(local);
            if instant > after {
                return Some(instant);
            }
        }
        None
    }

    /// Return the first instant at which the wall clock shows `local`, or the end of the gap that contains it.
    fn instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time.to_utc(),
            LocalResult::None => {
                let mut wall = local.with_second(0).unwrap_or(local);
                loop {
                    wall += Duration::minutes(1);
                    if let LocalResult::Single(time) | LocalResult::Ambiguous(time, _) =
                        self.zone.from_local_datetime(&wall)
                    {
                        return time.to_utc();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cron: &str) -> Schedule {
        Schedule { schedule: cron.parse().unwrap(), zone: chrono_tz::Europe::Madrid }
    }

    fn firings(table: &Schedule, from: &str, count: usize) -> Vec<String> {
        let mut at: DateTime<Utc> = from.parse().unwrap();
        (0..count)
            .map(|_| {
                at = table.next(at).unwrap();
                at.format("%m-%dT%H:%MZ").to_string()
            })
            .collect()
    }

    #[test]
    fn a_schedule_in_the_spring_gap_runs_right_after_it() {
        // 2026-03-29 02:00 becomes 03:00 in Madrid: 02:30 does not exist.
        assert_eq!(firings(&table("0 30 2 * * *"), "2026-03-28T12:00:00Z", 2), ["03-29T01:00Z", "03-30T00:30Z"]);
    }

    #[test]
    fn a_schedule_in_the_repeated_autumn_hour_runs_once() {
        // 2026-10-25 03:00 becomes 02:00 in Madrid: 02:30 happens at 00:30Z and at 01:30Z.
        assert_eq!(firings(&table("0 30 2 * * *"), "2026-10-24T12:00:00Z", 2), ["10-25T00:30Z", "10-26T01:30Z"]);
    }

    #[test]
    fn a_schedule_for_every_hour_goes_on_through_both_changes() {
        assert_eq!(
            firings(&table("0 0,30 * * * *"), "2026-10-24T23:45:00Z", 6),
            ["10-25T00:00Z", "10-25T00:30Z", "10-25T01:00Z", "10-25T01:30Z", "10-25T02:00Z", "10-25T02:30Z"]
        );
        assert_eq!(
            firings(&table("0 0,30 * * * *"), "2026-03-29T00:15:00Z", 4),
            ["03-29T00:30Z", "03-29T01:00Z", "03-29T01:30Z", "03-29T02:00Z"]
        );
    }
}
