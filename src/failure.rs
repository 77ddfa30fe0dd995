//! How a request to a system can fail, as data: the class decides what happens next.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::printable;

/// What a failure means for the job or the run. Adapters map responses to these; the engine knows nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Try again later; the system as a whole backs off.
    Transient,
    /// The system asks for fewer requests; wait as told.
    Throttled,
    /// Credentials are refused: the system is paused until they are mended.
    Auth,
    /// The record is refused for a reason of its own: dead until it, or its mapping, changes.
    Rejected,
    /// The target no longer has the record.
    Missing,
    /// The record changed in the target meanwhile: read again, merge again.
    Conflict,
    /// Sent, but no trustworthy answer: the next step is a lookup, never a second create.
    Unknown,
    /// A value or a referenced record is not known yet: parked on a named cause.
    Unmapped,
    /// The configuration is wrong: whatever meets it is parked on that cause; nothing else of the system is held up.
    Fatal,
}

impl Class {
    /// The word used in TOML, logs and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Auth => "auth",
            Self::Rejected => "rejected",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::Unknown => "unknown",
            Self::Unmapped => "unmapped",
            Self::Fatal => "fatal",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Beginning of causes that end when rows are read, or put aside.
pub const UNREAD: &str = "unread:";

/// Beginning of causes of what its target cannot hold as long as it holds something else.
pub const UNHELD: &str = "holds:";

/// The name of what a parked job waits for: `lookup:tax=IGIC7`, `missing:product=SKU-9`, `proof:order=1001`,
/// `qualifies:price.list=trade`, `review:customer=C-77`, `taken:product=SKU-9`,
/// `unread:product=SKU-9`, `unlisted:shop/product`, `paused:product=SKU-9`, `fuse:product=SKU-9`, `file:adapters/tiny.toml:31:12`, `setup`,
/// `system:erp`, `conflict`, `brake:run-12`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cause(pub String);

/// Beginning of causes that end when a listing went through.
pub const UNLISTED: &str = "unlisted:";

/// Beginning of causes that end when a file is mended.
pub const FILE: &str = "file:";

/// The cause of what waits for a configuration that is mended somewhere.
pub const SETUP: &str = "setup";

const ACCEPTANCE: &str = "acceptance:";

impl Cause {
    /// A value that no line of lookup `table` translates.
    #[must_use]
    pub fn lookup(table: &str, value: &str) -> Self {
        Self(format!("lookup:{table}={value}"))
    }

    /// A record that the target does not have yet. `key` is the record's canonical key (or the part's, for a variant).
    #[must_use]
    pub fn missing(entity: &str, key: &str) -> Self {
        Self(format!("missing:{entity}={key}"))
    }

    /// A shared field that was changed on both sides.
    #[must_use]
    pub fn conflict() -> Self {
        Self("conflict".to_owned())
    }

    /// The end of a run that is under way.
    #[must_use]
    pub fn run(run: i64) -> Self {
        Self(format!("run:{run}"))
    }

    /// Whether a cause's text is the end of a run.
    #[must_use]
    pub fn is_of_a_run(cause: &str) -> bool {
        cause.starts_with("run:")
    }

    /// A person's decision on a run that tripped a brake.
    #[must_use]
    pub fn brake(run: i64) -> Self {
        Self(format!("brake:run-{run}"))
    }

    /// Orders of a system that could not be read: stock does not rise there meanwhile.
    #[must_use]
    pub fn orders(system: &str) -> Self {
        Self(format!("orders:{system}"))
    }

    /// An object that somebody else keeps changing back.
    #[must_use]
    pub fn fuse(entity: &str, key: &str) -> Self {
        Self(format!("fuse:{entity}={key}"))
    }

    /// A value that says which object it is, and that the target has no place for.
    #[must_use]
    pub fn qualifies(entity: &str, field: &str, value: Option<&str>) -> Self {
        let value = value.map(|value| format!("={value}")).unwrap_or_default();
        Self(format!("qualifies:{entity}.{field}{value}"))
    }

    /// A value that the target cannot hold as long as it is what it is.
    #[must_use]
    pub fn unheld(entity: &str, field: &str) -> Self {
        Self(format!("{UNHELD}{entity}.{field}"))
    }

    /// An object that is not accepted yet where it comes from.
    #[must_use]
    pub fn acceptance(entity: &str, key: &str) -> Self {
        Self(format!("{ACCEPTANCE}{entity}={key}"))
    }

    /// Whether what waits for a cause waits for no person and no trouble: others do as they do every day.
    #[must_use]
    pub fn is_daily(cause: &str) -> bool {
        cause.starts_with(ACCEPTANCE)
    }

    /// An item of an object that names no article, where the flow holds these back.
    #[must_use]
    pub fn article(entity: &str, key: &str) -> Self {
        Self(format!("article:{entity}={key}"))
    }

    /// A field that costs money, which the target holds otherwise than it was sent.
    #[must_use]
    pub fn differs(entity: &str, field: &str, key: &str) -> Self {
        Self(format!("differs:{entity}.{field}={key}"))
    }

    /// An object whose amounts do not come to its total.
    #[must_use]
    pub fn proof(entity: &str, key: &str) -> Self {
        Self(format!("proof:{entity}={key}"))
    }

    /// A record that may be one that is there already: a person has to say which.
    #[must_use]
    pub fn review(entity: &str, key: &str) -> Self {
        Self(format!("review:{entity}={key}"))
    }

    /// A record whose tie to a system is paused.
    #[must_use]
    pub fn paused(entity: &str, key: &str) -> Self {
        Self(format!("paused:{entity}={key}"))
    }

    /// An object of ours that has, at the target, a value which each object has for itself.
    #[must_use]
    pub fn taken(entity: &str, key: &str) -> Self {
        Self(format!("taken:{entity}={key}"))
    }

    /// A row of a system that cannot be read and may be this record.
    #[must_use]
    pub fn unread(entity: &str, key: &str) -> Self {
        Self(format!("{UNREAD}{entity}={key}"))
    }

    /// Rows of a system that cannot be read, of which nobody knows what they are.
    #[must_use]
    pub fn unread_rows(system: &str, entity: &str) -> Self {
        Self(format!("{UNREAD}{system}/{entity}"))
    }

    /// An entity of a system that has to be listed once before anything is made, and cannot be.
    #[must_use]
    pub fn unlisted(system: &str, entity: &str) -> Self {
        Self(format!("{UNLISTED}{system}/{entity}"))
    }

    /// An expression of a file (`adapters/tiny.toml:31:12`) that has no value where it is needed.
    #[must_use]
    pub fn file(place: &str) -> Self {
        Self(format!("{FILE}{place}"))
    }

    /// Something that is set up wrongly, where no line of a file is known.
    #[must_use]
    pub fn setup() -> Self {
        Self(SETUP.to_owned())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A failed request, step or conversion. `message` says what happened and what to do; it never holds secrets or personal data.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", self.place())]
pub struct Failure {
    pub class: Class,
    pub message: String,
    /// Canonical field the failure is about, where known: `variants[SKU-1].weight`.
    pub field: Option<String>,
    /// What the job waits for: always with `Unmapped`, with others where a file has to be mended first.
    pub cause: Option<Cause>,
    /// How long the system asked us to wait.
    pub retry_after: Option<Duration>,
    /// HTTP status or the driver's own code.
    pub status: Option<u16>,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        // What a system said is part of many messages.
        let message = message.into();
        let message = match printable::text(printable::cut(&message, printable::MESSAGE).as_ref()) {
            text if text == message => message,
            text => text.into_owned(),
        };
        Self { class, message, field: None, cause: None, retry_after: None, status: None, source: None }
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    #[must_use]
    pub fn with_cause(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    fn place(&self) -> String {
        self.field.as_ref().map(|field| format!(" (field {field})")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_bounded_and_holds_nothing_that_a_terminal_obeys() {
        let failure = Failure::new(Class::Rejected, format!("the shop said \u{1b}[2J{}", "Z".repeat(3 << 20)));
        assert!(failure.message.starts_with("the shop said \\u{1b}[2JZ") && failure.message.ends_with('…'));
        assert!(failure.message.chars().count() < printable::MESSAGE + 10);
    }
}
