//! Faults on demand: what a network or an overloaded server does to a request. Each can be switched on by option or
//! at run time.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::env::Entropy;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The answer takes `value` milliseconds longer.
    Latency,
    /// 429 with the request to come back in `value` seconds.
    Throttle,
    /// Status `value` (503); nothing was done.
    ErrorBefore,
    /// Everything is done, then status `value` (500).
    ErrorAfter,
    /// The connection breaks before anything is done.
    DropBefore,
    /// Everything is done, then the connection breaks without an answer.
    DropAfter,
    /// Half of a batch is done, then 500.
    PartialBatch,
    /// Subscribers are notified twice.
    DuplicateWebhook,
    /// Everything is done, but the answer is cut off in the middle.
    TruncatedJson,
    /// Everything is done, but the answer is an HTML page with status 200.
    Html,
    /// The page of a shop under maintenance, 503; nothing was done.
    Maintenance,
    /// Everything is done, but a PHP warning precedes the answer.
    Warning,
}

/// One fault and when it strikes: the `next` requests of this number, or else one request in `one_in` (every one,
/// if absent).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_in: Option<u64>,
    /// If set, only requests with this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// If set, only requests whose path (after `/wp-json/wc/v3`) begins with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Fault {
    /// A fault that strikes every request.
    #[must_use]
    pub fn always(kind: Kind) -> Self {
        Self { kind, value: None, next: None, one_in: None, method: None, path: None }
    }

    /// A fault that strikes the next `count` requests.
    #[must_use]
    pub fn next(kind: Kind, count: u64) -> Self {
        Self { next: Some(count), ..Self::always(kind) }
    }

    /// The same fault, only for requests with this method and path.
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.into());
        self.path = Some(path.into());
        self
    }

    fn concerns(&self, method: &str, path: &str) -> bool {
        self.method.as_deref().is_none_or(|asked| asked.eq_ignore_ascii_case(method))
            && self.path.as_deref().is_none_or(|prefix| path.starts_with(prefix))
    }
}

/// `KIND[=VALUE][@1/N | @next:N]`: `latency=200`, `throttle=2@1/50`, `drop-after@next:1`.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, when) = text.split_once('@').map_or((text, None), |(what, when)| (what, Some(when)));
        let (kind, value) = what.split_once('=').map_or((what, None), |(kind, value)| (kind, Some(value)));
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a whole number"));
        let kind = serde_json::from_value(kind.into()).map_err(|error| error.to_string())?;
        let mut fault = Self { value: value.map(number).transpose()?, ..Self::always(kind) };
        match when.map(|when| when.split_at_checked(when.find(['/', ':']).map_or(0, |at| at + 1))) {
            None => {}
            Some(Some(("1/", n))) => fault.one_in = Some(number(n)?),
            Some(Some(("next:", n))) => fault.next = Some(number(n)?),
            Some(_) => return Err("after `@` comes `1/N` or `next:N`".into()),
        }
        Ok(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// The faults that are switched on.
#[derive(Debug)]
pub struct Faults {
    on: Mutex<Vec<Fault>>,
    entropy: Arc<dyn Entropy>,
}

impl Faults {
    pub fn new(on: Vec<Fault>, entropy: Arc<dyn Entropy>) -> Self {
        Self { on: Mutex::new(on), entropy }
    }

    pub fn set(&self, faults: Vec<Fault>) {
        *self.on.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    pub fn list(&self) -> Vec<Fault> {
        self.on.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The faults that strike this request.
    pub fn draw(&self, method: &str, path: &str) -> Struck {
        let mut on = self.on.lock().unwrap_or_else(PoisonError::into_inner);
        let mut struck = Vec::new();
        for fault in on.iter_mut().filter(|fault| fault.concerns(method, path)) {
            let strikes = match (&mut fault.next, fault.one_in) {
                (Some(left), _) => {
                    let strikes = *left > 0;
                    *left = left.saturating_sub(1);
                    strikes
                }
                (None, Some(n)) => self.entropy.next_u64().checked_rem(n) == Some(0),
                (None, None) => true,
            };
            if strikes {
                struck.push((fault.kind, fault.value));
            }
        }
        on.retain(|fault| fault.next != Some(0));
        Struck(struck)
    }
}

/// The faults that strike one request.
#[derive(Clone, Debug)]
pub struct Struck(Vec<(Kind, Option<u64>)>);

impl Struck {
    pub fn has(&self, kind: Kind) -> bool {
        self.0.iter().any(|(struck, _)| *struck == kind)
    }

    /// The fault's value, if it strikes.
    pub fn value(&self, kind: Kind, default: u64) -> Option<u64> {
        self.0.iter().find(|(struck, _)| *struck == kind).map(|(_, value)| value.unwrap_or(default))
    }
}

/// Numbers from a seed (SplitMix64), so faults strike the same requests in every run.
#[derive(Debug)]
pub struct Seeded(std::sync::atomic::AtomicU64);

impl Seeded {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.into())
    }
}

impl Entropy for Seeded {
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(STEP, std::sync::atomic::Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_written_in_one_word() {
        assert_eq!("drop-after@next:2".parse(), Ok(Fault::next(Kind::DropAfter, 2)));
        let fault: Fault = "throttle=2@1/50".parse().unwrap();
        assert_eq!((fault.kind, fault.value, fault.one_in), (Kind::Throttle, Some(2), Some(50)));
        assert!("throttle@often".parse::<Fault>().is_err());
        assert!("trottle".parse::<Fault>().unwrap_err().contains("throttle"));
    }

    #[test]
    fn faults_strike_as_often_as_configured_and_the_same_for_one_seed() {
        let strikes = |seed| {
            let faults = Faults::new(vec!["html@1/10".parse().unwrap()], Arc::new(Seeded::new(seed)));
            (0..1000).map(|_| faults.draw("GET", "/products").has(Kind::Html)).collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        let count = strikes(7).into_iter().filter(|struck| *struck).count();
        assert!((60..140).contains(&count), "{count}");
    }

    #[test]
    fn the_next_request_of_that_path_only() {
        let faults = Faults::new(vec![Fault::next(Kind::DropAfter, 1).on("POST", "/orders")], Arc::new(Seeded::new(1)));
        assert!(!faults.draw("POST", "/products").has(Kind::DropAfter));
        assert!(faults.draw("POST", "/orders").has(Kind::DropAfter));
        assert!(!faults.draw("POST", "/orders").has(Kind::DropAfter));
    }
}
