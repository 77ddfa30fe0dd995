//! How things are: what is not as it should be, and as of when the rest was looked at. Every report that all is
//! well is based on this, and so are exit codes.

mod readings;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    store::{Backlog, GivenUp, JobState, Result, SharedStore},
    sync::{pull::OddDates, routing::Flow},
    wait_reason::WaitReason,
};

/// A job that is queued for longer than this is late.
const LATE: chrono::Duration = chrono::Duration::hours(1);

/// How things are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Affairs {
    /// When the oldest of the last good readings of all sources began; `None` if a source was never read.
    pub as_of: Option<DateTime<Utc>>,
    /// What waits for somebody, or went wrong.
    pub troubles: Vec<Trouble>,
    /// How many deliveries are on their way.
    pub under_way: u64,
    /// How many deliveries wait for something that happens every day: orders that are not accepted yet.
    pub awaited: u64,
    /// What a person has given up: nobody has to act on it, but the target does not have what it should have.
    pub given_up: Vec<Trouble>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    pub what: What,
    /// How many jobs, rows, fields...; 1 if it is about a system.
    pub count: u64,
    /// `3 rows rejected`.
    #[serde(rename = "told")]
    pub message: String,
    /// Why, in the words of whichever part reported it.
    pub why: Option<String>,
    /// The command that shows more, or resolves it.
    pub command: String,
}

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A system is paused.
    LeftAlone,
    /// A listing failed.
    Unread,
    /// A source was never read.
    NeverRead,
    /// A source was not read for too long.
    Stale,
    /// A system refuses our credentials for some jobs.
    Refused,
    /// A brake holds a run back.
    Held,
    Dead,
    Conflict,
    Review,
    Rejected,
    Difference,
    /// Jobs wait for something else.
    Parked,
    /// Jobs are queued for too long.
    Late,
    /// Change dates, or whole files, cannot be used.
    Date,
    Discarded,
    Dismissed,
    Accepted,
    Ignored,
}

/// What other lines report already.
#[derive(Clone, Copy)]
struct Reported {
    decisions: bool,
    differences: bool,
}

impl Affairs {
    /// Ask the store. With `only`, leave out what does not concern these flows.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn of(store: &SharedStore, flows: &[&Flow], only: bool, now: DateTime<Utc>) -> Result<Self> {
        let reach = Reach { pairs: pairs(flows), only };
        let mut affairs = Self::default();
        let alone = affairs.left_alone(store, &reach, now).await?;
        affairs.readings(&store.listings().await?, flows, now);
        for approval in store.waiting_approvals().await? {
            if reach.covers(&approval.system, &approval.entity) {
                let message = format!("{} held by a brake", many(approval.jobs, "job"));
                affairs.trouble(What::Held, approval.jobs, message, "vaiven approve");
            }
        }
        let backlog = store.backlog().await?;
        let backlog: Vec<Backlog> =
            backlog.into_iter().filter(|line| reach.covers(&line.target, &line.entity)).collect();
        let decisions = store.conflicts(0).await?;
        let decisions = decisions.iter().filter(|one| reach.covers(&one.system, &one.entity)).count() as u64;
        let differences = if reach.only {
            let all = store.differences(false, 0).await?;
            all.iter().filter(|one| reach.covers(&one.system, &one.entity)).count() as u64
        } else {
            store.difference_count().await?
        };
        affairs.refused(&backlog, &alone);
        affairs.jobs(&backlog, Reported { decisions: decisions > 0, differences: differences > 0 });
        if decisions > 0 {
            let message = format!("{} waiting for a decision", many(decisions, "field"));
            affairs.trouble(What::Conflict, decisions, message, "vaiven conflicts list");
        }
        affairs.rows(store, &reach).await?;
        if differences > 0 {
            let message = format!("{} stored differently from what was sent", many(differences, "field"));
            affairs.trouble(What::Difference, differences, message, "vaiven differences list");
        }
        affairs.late(&backlog, &alone, now);
        affairs.dates(store, &reach).await?;
        Ok(affairs)
    }

    /// Whether nothing waits for a person and nothing went wrong. Deliveries on their way count as well, and so
    /// does what a person has given up.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.troubles.is_empty()
    }

    /// Return all of it in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        let list = |troubles: &[Trouble]| {
            let kinds = troubles.chunk_by(|one, next| (one.what, &one.command) == (next.what, &next.command));
            let message = kinds.map(|alike| match alike {
                [first, _, _, ..] => format!("{} and {} more (`{}`)", first.message, alike.len() - 1, first.command),
                few => {
                    few.iter().map(|one| format!("{} (`{}`)", one.message, one.command)).collect::<Vec<_>>().join("; ")
                }
            });
            message.collect::<Vec<_>>().join("; ")
        };
        let given_up = (!self.given_up.is_empty()).then(|| format!("given up: {}", list(&self.given_up)));
        if !self.is_well() {
            let given_up = given_up.map(|list| format!("; {list}")).unwrap_or_default();
            return format!("Not in sync: {}{given_up}.", list(&self.troubles));
        }
        let Some(as_of) = self.as_of else { return "Nothing is kept in sync: there is no flow.".to_owned() };
        let as_of = as_of.format("%Y-%m-%d %H:%M:%S UTC");
        let way =
            (self.under_way > 0).then(|| format!("on the way: {} (`vaiven jobs list`)", many(self.under_way, "job")));
        let awaited =
            (self.awaited > 0).then(|| format!("not accepted yet: {} (`vaiven jobs list`)", many(self.awaited, "job")));
        let but: Vec<String> = [way, given_up, awaited].into_iter().flatten().collect();
        if but.is_empty() {
            format!("In sync as of {as_of}: every target has what it should have.")
        } else {
            format!("In sync as of {as_of} except for what is {}.", but.join("; "))
        }
    }

    fn trouble(&mut self, what: What, count: u64, message: String, command: impl Into<String>) {
        self.troubles.push(Trouble { what, count, message, why: None, command: command.into() });
    }

    /// Add the systems that are paused after they failed, and return their names.
    async fn left_alone(&mut self, store: &SharedStore, reach: &Reach, now: DateTime<Utc>) -> Result<BTreeSet<String>> {
        let systems: BTreeSet<&String> = reach.pairs.iter().map(|(system, _)| system).collect();
        let mut alone = BTreeSet::new();
        for system in systems {
            let circuit = store.circuit(system).await?;
            let Some(until) = circuit.until.filter(|until| *until > now) else { continue };
            self.troubles.push(Trouble {
                what: What::LeftAlone,
                count: 1,
                message: format!("{system} paused until {}", until.format("%H:%M:%S UTC")),
                why: circuit.reason,
                command: "vaiven check".to_owned(),
            });
            alone.insert(system.clone());
        }
        Ok(alone)
    }

    /// Add jobs that wait because their target refused our login. If the target is paused, only the pause is
    /// reported.
    fn refused(&mut self, backlog: &[Backlog], alone: &BTreeSet<String>) {
        let mut refused: BTreeMap<&str, u64> = BTreeMap::new();
        for line in backlog.iter().filter(|line| line.refused > 0 && !alone.contains(&line.target)) {
            *refused.entry(&line.target).or_default() += line.refused;
        }
        for (target, count) in refused {
            let message = format!("{} refused by {target}", many(count, "job"));
            self.trouble(What::Refused, count, message, format!("vaiven jobs list --target {target}"));
        }
    }

    /// Add jobs by state. Leave out parked jobs that other lines report already.
    fn jobs(&mut self, backlog: &[Backlog], reported: Reported) {
        let (mut dead, mut review, mut parked) = (0, 0, 0);
        let mut kinds: BTreeSet<String> = BTreeSet::new();
        for line in backlog {
            match line.state {
                JobState::Queued | JobState::Running => self.under_way += line.count - line.refused,
                JobState::Dead => dead += line.count,
                JobState::Parked => match &line.cause {
                    Some(cause) if cause.is_daily() => self.awaited += line.count,
                    Some(WaitReason::Run(_)) => self.under_way += line.count,
                    Some(WaitReason::Brake(_)) => {}
                    Some(WaitReason::Conflict) if reported.decisions => {}
                    Some(WaitReason::Differs { .. }) if reported.differences => {}
                    Some(WaitReason::Review { .. }) => review += line.count,
                    cause => {
                        parked += line.count;
                        kinds.insert(cause.as_ref().map(WaitReason::kind).unwrap_or_default());
                    }
                },
                JobState::Done | JobState::Discarded => {}
            }
        }
        if dead > 0 {
            self.trouble(What::Dead, dead, format!("{} dead", many(dead, "job")), "vaiven jobs list --state dead");
        }
        if review > 0 {
            let message = format!("{} waiting for a link review", many(review, "job"));
            self.trouble(What::Review, review, message, "vaiven links review");
        }
        if parked > 0 {
            let message =
                format!("{} waiting for {}", many(parked, "job"), kinds.into_iter().collect::<Vec<_>>().join(", "));
            self.trouble(What::Parked, parked, message, "vaiven jobs list --state parked");
        }
    }

    /// Add rows that could not be read, and everything that was given up.
    async fn rows(&mut self, store: &SharedStore, reach: &Reach) -> Result<()> {
        let mut rejected: u64 = 0;
        for (system, entity, open, _) in store.rejection_counts().await? {
            rejected += if reach.covers(&system, &entity) { open } else { 0 };
        }
        let mut counts: BTreeMap<GivenUp, u64> = BTreeMap::new();
        for (what, system, entity, count) in store.given_up().await? {
            *counts.entry(what).or_default() += if reach.covers(&system, &entity) { count } else { 0 };
        }
        if rejected > 0 {
            self.trouble(What::Rejected, rejected, format!("{} rejected", many(rejected, "row")), "vaiven rejected");
        }
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            let (what, message, command) = match what {
                GivenUp::Discarded => {
                    (What::Discarded, format!("{} discarded", many(count, "job")), "vaiven jobs list --state discarded")
                }
                GivenUp::Dismissed => (What::Dismissed, format!("{} put aside", many(count, "row")), "vaiven rejected"),
                GivenUp::Accepted => (
                    What::Accepted,
                    format!("{} accepted as the target stores it", many(count, "field")),
                    "vaiven differences list --all",
                ),
                GivenUp::Ignored => (What::Ignored, format!("{} ignored", many(count, "link")), "vaiven links list"),
            };
            self.given_up.push(Trouble { what, count, message, why: None, command: command.to_owned() });
        }
        Ok(())
    }

    fn late(&mut self, backlog: &[Backlog], alone: &BTreeSet<String>, now: DateTime<Utc>) {
        let mut late: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
        for line in backlog.iter().filter(|line| line.state == JobState::Queued && !alone.contains(&line.target)) {
            if let Some(oldest) = line.oldest.filter(|oldest| *oldest + LATE < now) {
                let since = late.entry(&line.target).or_insert(oldest);
                *since = oldest.min(*since);
            }
        }
        for (target, since) in late {
            let message = format!("jobs for {target} queued since {}", since.format("%Y-%m-%d %H:%M UTC"));
            self.trouble(What::Late, 1, message, format!("vaiven jobs list --target {target}"));
        }
    }

    async fn dates(&mut self, store: &SharedStore, reach: &Reach) -> Result<()> {
        let mut odd = 0;
        for (system, entity) in &reach.pairs {
            let dates = OddDates::of(store, system, entity).await?;
            odd += (dates.rows.len() + dates.more) as u64;
        }
        if odd > 0 {
            let message = format!("change dates or files that cannot be used: {odd}");
            self.trouble(What::Date, odd, message, "vaiven status");
        }
        Ok(())
    }
}

/// What is asked about.
struct Reach {
    pairs: BTreeSet<(String, String)>,
    only: bool,
}

impl Reach {
    fn covers(&self, system: &str, entity: &str) -> bool {
        !self.only || self.pairs.contains(&(system.to_owned(), entity.to_owned()))
    }
}

/// Systems and entities that flows read or write.
fn pairs(flows: &[&Flow]) -> BTreeSet<(String, String)> {
    let systems = |flow: &Flow| std::iter::once(flow.from.clone()).chain(flow.to.clone()).collect::<Vec<_>>();
    let of = |flow: &&Flow| {
        let entities = flow.entities.clone();
        systems(flow)
            .into_iter()
            .flat_map(move |system| entities.clone().into_iter().map(move |entity| (system.clone(), entity)))
    };
    flows.iter().flat_map(of).collect()
}

/// Whether a job waits for somebody: it is dead, or parked on something that does not come by itself every day.
#[must_use]
pub fn needs_somebody(state: JobState, cause: Option<&WaitReason>) -> bool {
    let passes = |cause: &WaitReason| cause.is_daily() || matches!(cause, WaitReason::Run(_));
    match state {
        JobState::Dead => true,
        JobState::Parked => !cause.is_some_and(passes),
        JobState::Queued | JobState::Running | JobState::Done | JobState::Discarded => false,
    }
}

/// `1 job`, `2 jobs`.
fn many(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RunId;

    #[test]
    fn in_sync_is_said_only_where_nothing_is_amiss_and_as_of_the_oldest_reading() {
        let mut affairs = Affairs { as_of: Some(DateTime::UNIX_EPOCH), ..Affairs::default() };
        assert_eq!(affairs.headline(), "In sync as of 1970-01-01 00:00:00 UTC: every target has what it should have.");
        let given = Trouble {
            what: What::Discarded,
            count: 1,
            message: "1 job discarded".into(),
            why: None,
            command: "vaiven jobs list --state discarded".into(),
        };
        affairs.given_up.push(given);
        let line = affairs.headline();
        assert!(affairs.is_well() && line.contains("1 job discarded") && !line.contains("every target"), "{line}");
        affairs.trouble(What::Dead, 2, "2 jobs dead".into(), "vaiven jobs list --state dead");
        let line = affairs.headline();
        assert!(line.starts_with("Not in sync: 2 jobs dead (`vaiven jobs list --state dead`)"), "{line}");
        assert!(line.contains("given up: 1 job discarded"), "{line}");
    }

    #[test]
    fn what_happens_every_day_needs_nobody() {
        assert!(!needs_somebody(JobState::Parked, Some(&WaitReason::acceptance("order", "7"))));
        assert!(!needs_somebody(JobState::Parked, Some(&WaitReason::Run(RunId(12)))));
        assert!(needs_somebody(JobState::Parked, Some(&WaitReason::missing("product", "A"))));
        assert!(needs_somebody(JobState::Dead, None) && !needs_somebody(JobState::Queued, None));
    }
}
