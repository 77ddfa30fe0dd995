//! Sources that could not be read, were never read, or were not read for too long.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Affairs, Trouble, What, pairs};
use crate::{
    store::{LastListing, RunId, RunKind},
    sync::{context::report, routing::Flow},
};

/// How much later than due a reading may begin.
const SLACK: chrono::Duration = chrono::Duration::minutes(5);

impl Affairs {
    pub(super) fn readings(&mut self, listings: &[LastListing], flows: &[&Flow], now: DateTime<Utc>) {
        let mut known: BTreeMap<(&str, &str), LastListings<'_>> = BTreeMap::new();
        for listing in listings {
            let known = known.entry((&listing.system, &listing.entity)).or_default();
            match listing.kind {
                RunKind::Full => known.full = Some(listing),
                RunKind::Delta | RunKind::Single => known.delta = Some(listing),
            }
        }
        for (system, entity) in &pairs(flows) {
            let Some(known) = known.get(&(system.as_str(), entity.as_str())) else { continue };
            for failed in known.failed() {
                let kind = if failed.kind == RunKind::Full { "read as a whole" } else { "read" };
                self.troubles.push(Trouble {
                    what: What::Unread,
                    count: 1,
                    message: format!("{entity} of {system} could not be {kind}"),
                    why: failed.error.clone(),
                    command: "vaiven status".to_owned(),
                });
            }
        }
        let (mut oldest, mut all) = (None, true);
        let mut reported = BTreeSet::new();
        for (flow, entity) in flows.iter().flat_map(|flow| flow.entities.iter().map(move |entity| (flow, entity))) {
            let place = (flow.from.as_str(), entity.as_str());
            let known = known.get(&place).copied().unwrap_or_default();
            let Some((_, good)) = known.good() else {
                all = false;
                if known.failed().next().is_none() && reported.insert(place) {
                    let message = format!("{entity} of {} was never read", flow.from);
                    self.trouble(What::NeverRead, 1, message, "vaiven run");
                }
                continue;
            };
            oldest = oldest.into_iter().chain([good]).min();
            let missed = [
                (flow.every.as_ref(), Some(good), "not read"),
                (flow.full.as_ref(), known.full.and_then(|full| Some(full.good?.1)), "not read as a whole"),
            ];
            for (table, last, how) in missed {
                let Some((table, last)) = table.zip(last) else { continue };
                // One firing may have been missed. If the second one is missed too, nobody is reading.
                let second = table.next(last).and_then(|first| table.next(first));
                if second.is_some_and(|second| second + SLACK < now) && reported.insert(place) {
                    let since = last.format("%Y-%m-%d %H:%M UTC");
                    let message = format!("{entity} of {} {how} since {since}", flow.from);
                    self.trouble(What::Stale, 1, message, "vaiven run");
                }
            }
        }
        self.as_of = oldest.filter(|_| all);
    }
}

/// The last listings of one entity at one system.
#[derive(Clone, Copy, Default)]
struct LastListings<'a> {
    delta: Option<&'a LastListing>,
    full: Option<&'a LastListing>,
}

impl<'a> LastListings<'a> {
    /// The last good one: its number, and when it began.
    fn good(self) -> Option<(RunId, DateTime<Utc>)> {
        [self.delta, self.full].into_iter().flatten().filter_map(|listing| listing.good).max()
    }

    /// A full listing makes up for a delta listing that failed before it, but not the other way round: only a full
    /// one finds what is gone.
    fn failed(self) -> impl Iterator<Item = &'a LastListing> {
        let whole = self.full.and_then(|full| full.good).map_or(RunId(0), |(run, _)| run);
        let is_at_fault = |listing: &&LastListing| listing.error.as_deref().is_some_and(report::is_fault);
        let delta = self.delta.filter(|delta| delta.run > whole).filter(is_at_fault);
        let full = self.full.filter(is_at_fault);
        delta.into_iter().chain(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::routing::Schedule;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::Duration::minutes(minute)
    }

    fn listing(kind: RunKind, run: i64, error: Option<&str>, good: Option<i64>) -> LastListing {
        LastListing {
            system: "erp".into(),
            entity: "product".into(),
            kind,
            run: RunId(run),
            began: at(run),
            error: error.map(str::to_owned),
            good: good.map(|run| (RunId(run), at(run))),
        }
    }

    fn affairs_of(listings: &[LastListing], every: Option<&str>, now: i64) -> Affairs {
        let table = |text: &str| Schedule { schedule: text.parse().unwrap(), zone: chrono_tz::UTC };
        let flow = Flow {
            from: "erp".into(),
            to: vec!["shop".into()],
            entities: vec!["product".into()],
            every: every.map(table),
            ..Flow::default()
        };
        let mut affairs = Affairs::default();
        affairs.readings(listings, &[&flow], at(now));
        affairs
    }

    #[test]
    fn a_whole_listing_that_failed_is_reported_though_changes_were_read_since() {
        let failed = listing(RunKind::Full, 5, Some("announced 9, gave 8"), Some(1));
        let affairs = affairs_of(&[listing(RunKind::Delta, 6, None, Some(6)), failed], None, 7);
        assert_eq!(affairs.troubles.len(), 1);
        assert_eq!(affairs.troubles[0].why.as_deref(), Some("announced 9, gave 8"));
        let corrected = listing(RunKind::Full, 8, None, Some(8));
        let late = listing(RunKind::Delta, 6, Some("no answer"), Some(4));
        assert!(affairs_of(&[late, corrected], None, 9).is_well(), "a whole listing makes up for one of changes");
    }

    #[test]
    fn a_listing_that_was_stopped_is_no_fault_of_anybody() {
        let good = listing(RunKind::Full, 1, None, Some(1));
        assert!(
            affairs_of(&[good.clone(), listing(RunKind::Delta, 2, Some(report::STOPPED), None)], None, 3).is_well()
        );
        let never = affairs_of(&[listing(RunKind::Full, 1, Some(report::STOPPED), None)], None, 3);
        assert_eq!(never.troubles[0].what, What::NeverRead);
    }

    #[test]
    fn a_source_that_nobody_reads_is_reported_and_one_missed_turn_is_not() {
        let good = [listing(RunKind::Delta, 0, None, Some(0))];
        let hourly = Some("0 0 * * * *");
        assert!(affairs_of(&good, hourly, 119).is_well());
        let affairs = affairs_of(&good, hourly, 126);
        assert!(affairs.headline().contains("product of erp not read since 1970-01-01 00:00 UTC"), "{affairs:?}");
        assert!(affairs_of(&good, None, 100_000).is_well(), "nobody said how often");
        assert_eq!(affairs_of(&[], None, 1).troubles[0].what, What::NeverRead);
    }
}
