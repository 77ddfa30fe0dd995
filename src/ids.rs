//! Numbers that the store gives out. Each is a type of its own, so that none can stand in the place of another.
//!
//! They are shown, stored and serialised as plain numbers.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! ids {
    ($($(#[$about:meta])* $name:ident,)+) => {
        $(
            $(#[$about])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
            #[serde(transparent)]
            pub struct $name(pub i64);

            impl From<i64> for $name {
                fn from(number: i64) -> Self {
                    Self(number)
                }
            }

            impl From<$name> for i64 {
                fn from(id: $name) -> Self {
                    id.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt(f)
                }
            }

            impl FromStr for $name {
                type Err = ParseIntError;

                fn from_str(text: &str) -> Result<Self, ParseIntError> {
                    text.parse().map(Self)
                }
            }
        )+
    };
}

ids! {
    /// A record: one business object across all systems. The store gives the number out when a row, a reference or a
    /// key is first seen. Canonical references hold it.
    RecordId,
    /// A run: one execution of a pull. The store gives the number out when the run begins. 0 stands for none.
    #[derive(Default)]
    RunId,
    /// A job: the delivery of one record to one target. The store gives the number out when the job is opened.
    JobId,
    /// Which claim of a job, or which holder of a lease, something belongs to. The store raises it with each claim, so
    /// that a worker whose lease ran out cannot write over what the next one does.
    Fence,
}

impl RecordId {
    /// The record that a canonical reference names.
    #[must_use]
    pub fn of(reference: &Value) -> Option<Self> {
        reference.as_i64().map(Self)
    }
}

impl From<RecordId> for Value {
    fn from(record: RecordId) -> Self {
        Self::from(record.0)
    }
}
