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
use crate::ids::JobId;

/// Fingerprint of a source row: the first 16 bytes of a blake3 over the mapping's version and the row as the source
/// gave it.
pub type Fingerprint = [u8; 16];

/// One business object in the shape of its system.
#[derive(Clone, Debug)]
pub struct SourceRow {
    /// The system's own id of the object.
    pub id: String,
    /// Where the row was read, for messages: `page 3 row 17`, `prices.csv:812`.
    pub position: String,
    /// The system's own version or modification mark, if the adapter names one.
    pub version: Option<String>,
    pub body: RowBody,
}

/// Content of a row. Records of delimited files stay undecoded until a value is needed.
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

    /// Feed the row's content to a hash. Equal rows feed equal bytes.
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

/// A row that could not be read at all. The run's balance counts it, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    pub position: String,
    pub id: Option<String>,
    pub reason: String,
    /// The row if there is one: its key may still be readable.
    pub row: Option<Value>,
}

/// Where the next page begins. Opaque to the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageToken(pub Value);

/// A listing whose ids are all the values that a system allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueList {
    pub entity: String,
    pub of: ValuesOf,
}

/// What must be among the values that a system allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuesOf {
    /// The values that this lookup writes.
    Lookup(String),
    /// The values that a setting of the system names.
    Setting { name: String, said: Vec<String> },
}

/// What to read.
#[derive(Clone, Debug)]
pub struct PullRequest<'a> {
    pub entity: &'a str,
    /// Read only what changed since this watermark (in the source's own clock). If absent, read everything.
    pub since: Option<&'a str>,
    /// The page to read. If absent, read the first.
    pub page: Option<&'a PageToken>,
    /// Maximum number of rows asked for in one page. A driver may return fewer, and an adapter's own page size
    /// takes precedence.
    pub limit: usize,
}

/// One page of rows.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub rows: Vec<SourceRow>,
    pub errors: Vec<RowError>,
    /// Rows whose change date is ignored because it cannot be read or lies in the future. They are in `rows` as
    /// well.
    pub dates: Vec<RowError>,
    /// Absent on the last page.
    pub next: Option<PageToken>,
    /// Watermark that may be stored together with this page. Drivers that read in id order give it on the last page
    /// only.
    pub cursor: Option<String>,
    /// Number of objects in the whole listing, if the source announces it.
    pub total: Option<u64>,
    /// Whether the page holds something that no earlier listing gave. Only set if [`Capabilities::handed`].
    pub is_new: bool,
    /// To be given back through [`System::acknowledge`] once the page is durable (a picked-up file to archive).
    pub receipt: Option<Value>,
}

/// What an adapter says it can do with one entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The entity can be listed.
    pub list: bool,
    /// A listing can be limited to what changed since a watermark.
    pub incremental: bool,
    /// Longest time for which only changes are listed; then everything is read again. If absent, the flow decides.
    pub whole: Option<Duration>,
    /// A full listing holds every object, so what is absent from it is gone.
    pub complete: bool,
    /// Objects are handed over in files that were made before they are read: a listing shows an earlier state of
    /// its source.
    pub handed: bool,
    /// Objects can be read by id.
    pub read: bool,
    pub find: Find,
    pub create: bool,
    pub update: bool,
    pub delete: bool,
    /// Maximum number of writes in one request; 1 if there is no batch form.
    pub batch: usize,
    /// Updates must carry every field, not just the changed ones.
    pub replaces: bool,
    /// A create takes several requests; if it breaks off in the middle, it must be continued.
    pub steps: bool,
    /// The object has no life of its own: it exists together with a part of another entity (`product.variants`) and
    /// shares its id.
    pub facet_of: Option<String>,
}

/// How to look up an object of ours after an unknown outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Find {
    /// No lookup is possible: such an entity cannot be created unattended.
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
    /// The engine's number of this write; its outcome carries the same number.
    pub job: JobId,
    pub op: Op,
    /// The record's canonical key.
    pub key: String,
    /// The target's own id; absent for a create.
    pub id: Option<String>,
    /// What to send, in the target's own shape, as the mapping's push made it. An update has only the changed
    /// fields unless [`Capabilities::replaces`].
    pub body: Value,
    /// The whole object in the target's own shape: the desired fields and what the target holds besides.
    pub whole: Value,
    /// What the target had, in canonical form; `Null` for a create.
    pub before: Value,
    /// The desired object, in canonical form.
    pub desired: Value,
    /// Canonical fields because of which the object is written: their desired value is neither what the target
    /// stores nor what it was sent. Empty for a delete.
    pub changed: BTreeSet<String>,
    /// Children of the object that the target already has: list name to key to the target's id. The keys are the
    /// desired ones, even if the target still shows another key.
    pub child_ids: BTreeMap<String, BTreeMap<String, String>>,
    /// The same children by the key that the target shows now.
    pub held: BTreeMap<String, BTreeMap<String, String>>,
    /// Ids of children that the target is to remove, by list.
    pub dropped: BTreeMap<String, Vec<String>>,
    /// Ids of children that stay, but hold a unique value that another child of the object is to get, by list.
    pub yielding: BTreeMap<String, Vec<String>>,
    /// Captures of steps that an earlier attempt finished.
    pub done: Captures,
    /// For a create of several steps whose first answer was lost: the object that the lookup found. The first step
    /// counts as done.
    pub found: Option<SourceRow>,
}

/// What a write left behind.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The target's id of the object.
    pub id: String,
    /// The object as the target answered it, in its own shape; absent if the answer holds nothing usable.
    pub stored: Option<Value>,
    pub version: Option<String>,
    /// Ids of children that the answer gives: list name to child key to id.
    pub child_ids: BTreeMap<String, BTreeMap<String, String>>,
}

/// Outcome of one [`Write`].
#[derive(Debug)]
pub struct Outcome {
    pub job: JobId,
    pub result: Result<Written, Failure>,
    /// Requests that this write itself took part in, for the attempt history. [`System::requests`] counts all
    /// requests.
    pub requests: u32,
}

/// Makes the captures of a finished step durable before the next step is sent.
#[async_trait]
pub trait Progress: Send + Sync {
    /// # Errors
    /// If they could not be saved, or the lease was lost. The write must stop then.
    async fn save(&self, job: JobId, done: &Captures) -> Result<(), Failure>;
}

/// What is known of an object whose create had no answer.
#[derive(Clone, Debug)]
pub struct Probe<'a> {
    pub key: &'a str,
    /// When the intent was stored, for adapters that can only scan.
    pub since: DateTime<Utc>,
    /// The object in the target's own shape, as a create sends it.
    pub body: &'a Value,
    /// The desired object in canonical form.
    pub desired: &'a Value,
}

/// How fast a system may be asked, as its adapter declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Maximum number of requests under way at once.
    pub concurrency: usize,
    /// Minimum time between two requests, if a rate is declared.
    pub interval: Option<Duration>,
}

/// One line of `vaiven check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub what: String,
    pub problem: Option<String>,
    /// What works, but may lose something.
    pub caution: Option<String>,
}

impl Checked {
    /// A line that is well, or has the problem that `result` gives.
    pub fn new<T, E: std::fmt::Display>(what: impl Into<String>, result: Result<T, E>) -> Self {
        Self { what: what.into(), problem: result.err().map(|error| error.to_string()), caution: None }
    }
}

/// One configured system.
#[async_trait]
pub trait System: Send + Sync {
    /// The system's name in the configuration.
    fn name(&self) -> &str;

    /// What can be done with an entity. Return `None` if the adapter does not know it.
    fn capabilities(&self, entity: &str) -> Option<&Capabilities>;

    /// Identity of everything that shapes a row of this entity before it is mapped (adapter and settings). It is
    /// part of the row fingerprint, so a changed adapter causes every row to be looked at again.
    fn version(&self, entity: &str) -> u64;

    /// Read one page.
    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure>;

    /// Confirm that a page is durable.
    async fn acknowledge(&self, entity: &str, receipt: &Value) -> Result<(), Failure>;

    /// Read objects by id. Objects that the system does not have are left out.
    async fn read(&self, entity: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure>;

    /// Find the object that a create without an answer may have made, in the way of [`Capabilities::find`].
    async fn find(&self, entity: &str, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure>;

    /// Write objects. Return exactly one outcome per write, in any order.
    async fn write(&self, entity: &str, writes: Vec<Write>, progress: &dyn Progress) -> Vec<Outcome>;

    /// For each of these writes, in their order: the reason why it may not be sent now, if there is one. Asked
    /// before anything is stored about them: a write that is held back stays queued as if it had never been looked
    /// at.
    async fn admit(&self, _entity: &str, writes: &[&Write]) -> Vec<Option<String>> {
        vec![None; writes.len()]
    }

    /// The same system for reading without a trace: nothing is picked up, locked, archived or deleted by reading.
    /// Return `None` if reading leaves no trace anyway.
    fn read_only(&self) -> Option<Arc<dyn System>> {
        None
    }

    /// Entities whose ids are values that the system allows.
    fn value_lists(&self) -> Vec<ValueList> {
        Vec::new()
    }

    /// The pace that the adapter declares. Return `None` if it declares none.
    fn pace(&self) -> Option<Pace> {
        None
    }

    /// Requests sent to the system since it was opened, for any purpose: pages, logins, lookups and reads after
    /// writes. One statement counts as one request, and so does one page of a file.
    fn requests(&self) -> u64 {
        0
    }

    /// Try the connection and the credentials, and whatever else in the adapter the other side must understand.
    async fn check(&self) -> Vec<Checked>;

    /// Check whether the entities that flows bring here may be written with these credentials, as far as this can
    /// be seen without writing.
    async fn check_writing(&self, _entities: &[&str]) -> Vec<Checked> {
        Vec::new()
    }
}
