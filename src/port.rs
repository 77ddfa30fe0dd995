//! What `sync` asks of a configured system. Drivers implement it; `sync` knows nothing of HTTP, SQL or files.

pub mod logins;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;

/// Fingerprint of a source row: the first 16 bytes of a blake3 over the mapping's version and the row as the source gave it.
pub type Fingerprint = [u8; 16];

/// One business object as its system shows it.
#[derive(Clone, Debug)]
pub struct SourceRow {
    /// The system's own id of the object.
    pub id: String,
    /// Where it was read, for messages: `page 3 row 17`, `prices.csv:812`.
    pub position: String,
    /// The system's own version or modification mark, if the adapter names one.
    pub version: Option<String>,
    pub body: RowBody,
}

/// The row itself; records of delimited files stay undecoded until somebody needs a value.
#[derive(Clone, Debug)]
pub enum RowBody {
    Json(Value),
    Record { header: std::sync::Arc<Vec<String>>, record: csv::StringRecord },
}

impl RowBody {
    /// The row as a JSON object.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self {
            Self::Json(value) => value,
            Self::Record { header, record } => Value::Object(
                header.iter().zip(record.iter()).map(|(name, text)| (name.clone(), Value::from(text))).collect(),
            ),
        }
    }

    /// Feeds the row's content to a hash; equal rows feed equal bytes.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        match self {
            Self::Json(value) => crate::model::canonical::hash_into(value, hasher),
            Self::Record { record, .. } => {
                for field in record {
                    hasher.update(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes());
                    hasher.update(field.as_bytes());
                }
            }
        }
    }
}

/// A row that could not be read at all; counted in the run's balance with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    pub position: String,
    pub id: Option<String>,
    pub reason: String,
    /// The row, where there is one, for what can be read of it: its key.
    pub row: Option<Value>,
}

/// Where the next page begins; opaque to the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageToken(pub Value);

/// A listing whose ids are all values that a system allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueList {
    pub entity: String,
    pub of: ValuesOf,
}

/// What has to be among the values that a system allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuesOf {
    /// What this lookup writes.
    Lookup(String),
    /// What a setting of the system says.
    Setting { name: String, said: Vec<String> },
}

/// What to read.
#[derive(Clone, Debug)]
pub struct PullRequest<'a> {
    pub entity: &'a str,
    /// Read what changed since this watermark (in the source's own clock); absent: everything.
    pub since: Option<&'a str>,
    /// Page to read; absent: the first.
    pub page: Option<&'a PageToken>,
    /// Most rows asked for in one page; a driver may give fewer, and an adapter's own page size wins.
    pub limit: usize,
}

/// One page of rows.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub rows: Vec<SourceRow>,
    pub errors: Vec<RowError>,
    /// Rows whose change date counts for nothing: it cannot be read, or lies in the future. They are in `rows` all the same.
    pub dates: Vec<RowError>,
    /// Absent on the last page.
    pub next: Option<PageToken>,
    /// Watermark that may be stored together with this page; drivers that read in id order give it on the last page only.
    pub cursor: Option<String>,
    /// Objects the source announced for the whole listing, if it does.
    pub total: Option<u64>,
    /// Holds what no earlier listing gave. Only set where [`Capabilities::handed`].
    pub is_new: bool,
    /// Given back through [`System::acknowledge`] once the page is durable (a picked-up file to archive).
    pub receipt: Option<Value>,
}

/// What an adapter says of one entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Can be listed.
    pub list: bool,
    /// A listing can be limited to what changed since a watermark.
    pub incremental: bool,
    /// How long at most only changes are listed, before everything is read again; absent where that is for the flow to say.
    pub whole: Option<Duration>,
    /// A full listing holds every object, so what is absent from it is gone.
    pub complete: bool,
    /// Objects are handed over (in files) that were made before they are read: a listing tells how its source was then.
    pub handed: bool,
    /// Can be read by id.
    pub read: bool,
    pub find: Find,
    pub create: bool,
    pub update: bool,
    pub delete: bool,
    /// Most writes of one request; 1 where there is no batch form.
    pub batch: usize,
    /// Updates must carry every field, not just the changed ones.
    pub replaces: bool,
    /// A create is several requests; one that broke off in the middle has to be gone on with.
    pub steps: bool,
    /// The object has no life of its own: it exists with a part of another entity (`product.variants`), whose id it shares.
    pub facet_of: Option<String>,
}

/// How an object of ours is looked up after an unknown outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Find {
    /// Not at all: such an entity cannot be created unattended.
    #[default]
    None,
    /// By our key, or a natural key, in one request.
    ByKey,
    /// By reading what was created since the intent and comparing keys.
    Scan,
}

/// Kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    Create,
    Update,
    Delete,
}

/// Results of finished steps of a multi-request write: variable name to value. Saved before the next step begins.
pub type Captures = BTreeMap<String, Value>;

/// One object to write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The engine's number of this write; outcomes carry it back.
    pub job: i64,
    pub op: Op,
    /// The record's canonical key.
    pub key: String,
    /// The target's own id; absent for a create.
    pub id: Option<String>,
    /// What to send, in the target's own shape, as the mapping's push made it. For an update only the changed fields
    /// unless [`Capabilities::replaces`].
    pub body: Value,
    /// The whole object in the target's own shape: what is desired, and what the target holds besides.
    pub whole: Value,
    /// What the target had, in canonical form; `Null` for a create.
    pub before: Value,
    /// The same in canonical form.
    pub desired: Value,
    /// Canonical fields for whose sake the object is written: they are neither what the target stores nor what it was sent.
    /// Empty for a delete.
    pub changed: BTreeSet<String>,
    /// Children of the object that the target already has: list name to key to the target's id. By the desired key,
    /// whatever the target still calls it.
    pub child_ids: BTreeMap<String, BTreeMap<String, String>>,
    /// The same by the key that the target has now.
    pub held: BTreeMap<String, BTreeMap<String, String>>,
    /// Ids of children that the target is not to have any more, by list.
    pub dropped: BTreeMap<String, Vec<String>>,
    /// Ids of children that stay and hold a unique value which another child of the object is to have, by list.
    pub yielding: BTreeMap<String, Vec<String>>,
    /// Captures of steps already done by an earlier attempt.
    pub done: Captures,
    /// For a create of several steps whose first answer was lost: the object that the lookup found. The first step counts
    /// as done.
    pub found: Option<SourceRow>,
}

/// What a write left behind.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The target's id of the object.
    pub id: String,
    /// The object as the target answered it, in its own shape; absent when it answers nothing usable.
    pub stored: Option<Value>,
    pub version: Option<String>,
    /// Ids of children that the answer gives: list name to child key to id.
    pub child_ids: BTreeMap<String, BTreeMap<String, String>>,
}

/// Outcome of one [`Write`].
#[derive(Debug)]
pub struct Outcome {
    pub job: i64,
    pub result: Result<Written, Failure>,
    /// Requests this write itself took part in, for the attempt history; see [`System::requests`] for all there were.
    pub requests: u32,
}

/// Takes the captures of a finished step and makes them durable before the next one is sent.
#[async_trait]
pub trait Progress: Send + Sync {
    /// # Errors
    /// When they could not be saved (or the lease was lost); the write must stop there.
    async fn save(&self, job: i64, done: &Captures) -> Result<(), Failure>;
}

/// What is known of an object whose creation had no answer.
#[derive(Clone, Debug)]
pub struct Probe<'a> {
    pub key: &'a str,
    /// When the intent was stored, for adapters that can only scan.
    pub since: DateTime<Utc>,
    /// The object in the target's own shape, as a create sends it.
    pub body: &'a Value,
    /// The canonical object desired.
    pub desired: &'a Value,
}

/// How fast a system may be asked, as its adapter declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Requests under way at once.
    pub concurrency: usize,
    /// Least time from one request to the next, where a rate is declared.
    pub interval: Option<Duration>,
}

/// Line of `vaiven check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub what: String,
    pub problem: Option<String>,
    /// What works and may lose something all the same.
    pub caution: Option<String>,
}

impl Checked {
    /// A line that is well, or has this problem.
    pub fn new<T, E: std::fmt::Display>(what: impl Into<String>, result: Result<T, E>) -> Self {
        Self { what: what.into(), problem: result.err().map(|error| error.to_string()), caution: None }
    }
}

/// One configured system.
#[async_trait]
pub trait System: Send + Sync {
    /// The name it has in the configuration.
    fn name(&self) -> &str;

    /// What can be done with an entity; absent when the adapter does not know it.
    fn capabilities(&self, entity: &str) -> Option<&Capabilities>;

    /// Identity of everything that shapes a row of this entity before it is mapped (adapter and settings); part of the
    /// row fingerprint, so that a changed adapter looks at every row again.
    fn version(&self, entity: &str) -> u64;

    /// Reads one page.
    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure>;

    /// Tells that a page is durable.
    async fn acknowledge(&self, entity: &str, receipt: &Value) -> Result<(), Failure>;

    /// Reads objects by id; those the system does not have are left out.
    async fn read(&self, entity: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure>;

    /// Finds the object that a create without an answer may have made, by [`Capabilities::find`].
    async fn find(&self, entity: &str, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure>;

    /// Writes objects; gives exactly one outcome per write, in any order.
    async fn write(&self, entity: &str, writes: Vec<Write>, progress: &dyn Progress) -> Vec<Outcome>;

    /// Which of these writes may not be sent now, and why; in their order. Asked before anything is stored about them: what
    /// is held back stays queued as if it had never been looked at.
    async fn admit(&self, _entity: &str, writes: &[&Write]) -> Vec<Option<String>> {
        vec![None; writes.len()]
    }

    /// The same system, looked at without a trace: nothing is picked up, locked, archived or cleared away by reading. Absent
    /// where reading leaves no trace anyway.
    fn read_only(&self) -> Option<Arc<dyn System>> {
        None
    }

    /// Entities whose ids are values that the system allows.
    fn value_lists(&self) -> Vec<ValueList> {
        Vec::new()
    }

    /// What the adapter declares of its pace; absent where it declares none.
    fn pace(&self) -> Option<Pace> {
        None
    }

    /// Requests that were sent to the system since it was opened, whatever for: pages, logins, lookups and looks back. A statement
    /// counts as one, and so does a page of a file.
    fn requests(&self) -> u64 {
        0
    }

    /// Tries the connection, the credentials, and what is written in the adapter and the other side has to understand.
    async fn check(&self) -> Vec<Checked>;

    /// Whether what flows bring here may be written with these credentials, as far as that shows without writing anything.
    async fn check_writing(&self, _entities: &[&str]) -> Vec<Checked> {
        Vec::new()
    }
}
