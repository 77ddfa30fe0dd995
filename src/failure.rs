//! How a request to a system can fail, as data: the class decides what happens next.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{printable, wait_reason::WaitReason};

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

/// A failed request, step or conversion. `message` says what happened and what to do; it never holds secrets or personal data.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", self.place())]
pub struct Failure {
    pub class: Class,
    pub message: String,
    /// Canonical field the failure is about, where known: `variants[SKU-1].weight`.
    pub field: Option<String>,
    /// What the job waits for: always with `Unmapped`, with others where a file has to be mended first.
    pub cause: Option<Box<WaitReason>>,
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

    /// The same failure for another record that it is about. Its source stays with the first.
    #[must_use]
    pub fn for_another(&self) -> Self {
        Self {
            class: self.class,
            message: self.message.clone(),
            field: self.field.clone(),
            cause: self.cause.clone(),
            retry_after: self.retry_after,
            status: self.status,
            source: None,
        }
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
    pub fn with_cause(mut self, cause: WaitReason) -> Self {
        self.cause = Some(Box::new(cause));
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
