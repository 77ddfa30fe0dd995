//! How many requests the writes of a plan take, and how long.

use std::time::Duration;

use serde::Serialize;

use crate::{
    port::{Capabilities, Pace},
    store::Measured,
    sync::context::SystemLimits,
};

/// Assumed time of one request if only the system's concurrency is known.
const REMOTE: Duration = Duration::from_millis(300);
/// The same for local systems, such as files.
const NEAR: Duration = Duration::from_millis(10);

/// Where an estimate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// From how long deliveries to this target took before.
    Measured,
    /// From the rate that the adapter declares.
    Rate,
    /// Nothing was known: 300 ms per request are assumed (10 ms for systems without a network), and as many
    /// requests at once as the adapter allows.
    Assumed,
}

/// What writes cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    pub requests: u64,
    pub millis: u64,
    pub basis: Basis,
}

/// Estimate the writes of one target and entity. `counts` are the numbers of writes of each operation.
pub(super) fn estimate(
    counts: &[u64],
    capabilities: &Capabilities,
    limits: &SystemLimits,
    pace: Option<Pace>,
    history: &[&Measured],
) -> Estimate {
    let batch = u64::try_from(capabilities.batch.max(1)).unwrap_or(u64::MAX);
    let known = PastDeliveries::of(history, batch);
    let writes: u64 = counts.iter().sum();
    let requests = if batch > 1 {
        counts.iter().map(|count| count.div_ceil(batch)).sum()
    } else {
        known.as_ref().map_or(writes, |known| scaled(writes, known.requests, known.writes).max(writes))
    };
    let (millis, basis) = match (known, pace) {
        (Some(known), _) => {
            let claims = writes.div_ceil(u64::try_from(limits.batch.max(1)).unwrap_or(u64::MAX));
            let at_once = u64::try_from(limits.workers.max(1)).unwrap_or(1).min(claims.max(1));
            (scaled(requests, known.millis, known.requests) / at_once, Basis::Measured)
        }
        (None, Some(Pace { concurrency, interval })) => {
            let answered = times(REMOTE, requests) / u64::try_from(concurrency.max(1)).unwrap_or(u64::MAX);
            match interval {
                Some(interval) => (times(interval, requests).max(answered), Basis::Rate),
                None => (answered, Basis::Assumed),
            }
        }
        (None, None) => (times(NEAR, requests), Basis::Assumed),
    };
    Estimate { requests, millis, basis }
}

/// Sums over past deliveries.
struct PastDeliveries {
    writes: u64,
    requests: u64,
    millis: u64,
}

impl PastDeliveries {
    /// A batch of deliveries is reported line by line; each line has the time of the whole batch.
    fn of(history: &[&Measured], batch: u64) -> Option<Self> {
        let mut known = Self { writes: 0, requests: 0, millis: 0 };
        for lines in history.chunk_by(|one, next| one.millis == next.millis) {
            let writes = u64::try_from(lines.len()).unwrap_or(u64::MAX);
            known.writes += writes;
            known.millis += lines.first().map_or(0, |line| line.millis);
            known.requests +=
                if batch > 1 { writes.div_ceil(batch) } else { lines.iter().map(|line| line.requests).sum() };
        }
        (known.requests > 0).then_some(known)
    }
}

fn times(one: Duration, count: u64) -> u64 {
    u64::try_from(one.as_millis()).unwrap_or(u64::MAX).saturating_mul(count)
}

/// `count * part / whole`, rounded up.
fn scaled(count: u64, part: u64, whole: u64) -> u64 {
    let exact = (u128::from(count) * u128::from(part)).div_ceil(u128::from(whole.max(1)));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize, requests: u64, millis: u64) -> Vec<Measured> {
        vec![Measured { target: "shop".into(), entity: "product".into(), requests, millis }; count]
    }

    fn of(counts: &[u64], batch: usize, pace: Option<Pace>, history: &[Measured]) -> Estimate {
        let capabilities = Capabilities { batch, ..Capabilities::default() };
        estimate(counts, &capabilities, &SystemLimits::default(), pace, &history.iter().collect::<Vec<_>>())
    }

    #[test]
    fn what_was_measured_counts_before_anything_else() {
        // Two batches of ten single requests, two seconds each: 200 ms a request.
        let history = [lines(10, 1, 2000), lines(10, 1, 2001)].concat();
        let pace = Some(Pace { concurrency: 4, interval: Some(Duration::from_secs(1)) });
        let expected = Estimate { requests: 50, millis: 10_003, basis: Basis::Measured };
        assert_eq!(of(&[50], 1, pace, &history), expected);
    }

    #[test]
    fn writes_of_several_requests_are_expected_to_take_as_many_again() {
        assert_eq!(of(&[10], 1, None, &lines(5, 3, 900)).requests, 30);
    }

    #[test]
    fn a_batch_is_one_request_however_many_writes_it_carries() {
        let history = lines(100, 1, 800);
        let found = of(&[150, 30], 100, None, &history);
        assert_eq!((found.requests, found.millis), (3, 2400));
    }

    #[test]
    fn without_a_history_the_declared_rate_counts_and_without_one_it_is_said_that_it_is_assumed() {
        let pace = |interval| Some(Pace { concurrency: 4, interval });
        let slow = of(&[100], 1, pace(Some(Duration::from_millis(200))), &[]);
        assert_eq!((slow.millis, slow.basis), (20_000, Basis::Rate));
        let free = of(&[100], 1, pace(None), &[]);
        assert_eq!((free.millis, free.basis), (7_500, Basis::Assumed));
        assert_eq!(of(&[100], 1, None, &[]).millis, 1000);
    }

    #[test]
    fn workers_share_what_is_more_than_one_claim() {
        let limits = SystemLimits { batch: 10, workers: 2, ..SystemLimits::default() };
        let history = lines(10, 1, 1000);
        let history: Vec<&Measured> = history.iter().collect();
        assert_eq!(estimate(&[20], &Capabilities::default(), &limits, None, &history).millis, 1000);
    }
}
