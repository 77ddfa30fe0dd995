//! The state store: what every system is known to hold, what changed, and what has to be done about it.
//!
//! Two databases behind one interface, chosen by URL: SQLite (WAL, embedded) and PostgreSQL. One migration in spirit,
//! one conformance suite. Verbs are sets of rows: one statement carries a page or a batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    mapping::{Children, Fields, RefBy},
    port::{Captures, Print},
};

mod backup;
mod bound;
mod brakes;
mod children;
mod database;
mod deliver;
mod differences;
mod flight;
mod history;
mod housekeeping;
mod identity;
mod jobs;
mod keeper;
mod links;
mod listings;
mod logins;
mod merged;
mod names;
mod naming;
mod open;
mod parents;
mod pull;
mod queue;
mod replica;
mod scratch;
mod seal;
mod sole;
mod sql;
mod statistics;
mod steps;
mod telling;
mod values;

pub use backup::backup;
pub use keeper::Keeper;
pub use links::{BY_PERSON, KEY_AT};
pub use open::open;
pub use scratch::{Scratch, copy};
pub use sole::Sole;

/// Number of a record; what canonical references hold.
pub type RecordId = i64;

/// An error of the store itself; never about a record.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the state store {url} cannot be opened: {source}")]
    Open {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the state store {url} is not a Vaivén database ({found}); it is left as it is")]
    Foreign { url: String, found: String },
    #[error("no backup at {path}: {source}")]
    Backup {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("state store: {doing}: {source}")]
    Database {
        doing: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("state store: table {table}, column {column}, row {row}: {problem}")]
    Row { table: &'static str, column: &'static str, row: String, problem: String },
    /// Somebody else committed first (a record of the same key, a lost lease); compute again from fresh rows.
    #[error("state store: {0} was changed by another worker meanwhile")]
    Stale(&'static str),
    /// The lease under which this was done ran out, and somebody else does it now: nothing of it was stored.
    #[error("another process has taken over meanwhile; nothing more of this one is stored")]
    Overtaken,
    /// One process at a time carries out what a SQLite state says.
    #[error(
        "{} is at work on the state {state}: stop it first, or leave it to it (`vaiven resync FLOW` has it look at once; \
         every other command works beside it)",
        .process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
    )]
    Taken { state: String, process: Option<u32> },
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// What one system is known to hold of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    pub system: String,
    pub entity: String,
    pub record: RecordId,
    /// The system's own id; absent on a placeholder that only a reference by key has made.
    pub id: String,
    /// Canonical snapshot, as stored there.
    pub fields: Fields,
    /// Field to value as we sent it, where the system has not (yet) shown the same value back.
    pub sent: Fields,
    /// Source version or modification mark.
    pub version: Option<String>,
    pub print: Option<Print>,
    /// When it was seen to be gone.
    pub gone_at: Option<DateTime<Utc>>,
    /// Number of the delivery that last wrote it, on the store's own counter; 0 = never written by us.
    pub written: i64,
}

/// Merged value of a record's shared fields: what its systems are to agree on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// Field to value; `null` where they agree that it is absent. A field that is missing was never merged.
    pub fields: Fields,
    /// 0 = there is none yet.
    pub revision: i64,
}

/// Merged fields to be written over the revision they were made from.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedWrite {
    pub record: RecordId,
    pub revision: i64,
    pub fields: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictKind {
    /// A shared field: the system and the others changed it to different values.
    Conflict,
    /// A field of another owner was edited at the system, and the flow says to report it.
    Drift,
}

/// A field that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conflict {
    pub record: RecordId,
    pub entity: String,
    /// The system whose value differs.
    pub system: String,
    pub field: String,
    pub kind: ConflictKind,
    /// What they last agreed on; for a drift what the owner had delivered.
    pub base: Value,
    pub at: DateTime<Utc>,
}

/// A conflict of the page's system, opened (it stays as it is if it is open already) or closed.
#[derive(Clone, Debug, PartialEq)]
pub struct ConflictMark {
    pub record: RecordId,
    pub field: String,
    /// `None` closes it.
    pub kind: Option<ConflictKind>,
    pub base: Value,
}

/// A field that a target holds otherwise than it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub record: RecordId,
    pub entity: String,
    pub key: String,
    /// The target.
    pub system: String,
    pub field: String,
    pub sent: Value,
    pub stored: Value,
    /// Version of the target's mapping that it was sent with.
    pub mapping: u64,
    /// A person took it as it is.
    pub accepted: bool,
    pub since: DateTime<Utc>,
}

/// A difference that a delivery has found at its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferenceMark {
    pub record: RecordId,
    pub field: String,
    pub mapping: u64,
}

/// How a person settles a conflict.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// Everything stays as it is: the merged value goes to the system, or the drifted one stays there.
    Leave,
    /// Another merged value.
    Merged(MergedWrite),
    /// The owner's value is delivered again over the drifted one.
    Repair,
}

/// What a page says of the rows it read, before any of them is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub id: String,
    pub print: Print,
}

/// Answer to a page of sightings.
#[derive(Clone, Debug, Default)]
pub struct Sighted {
    /// Positions (into the page) whose fingerprint is new or different.
    pub changed: Vec<usize>,
    /// Replica numbers of all known rows of the page, for the seen-set of a full pass.
    pub seen: Vec<u32>,
}

/// Reference to be turned into a record number; unknown ones get a placeholder record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefWanted {
    pub entity: String,
    pub by: RefBy,
}

/// A row to be identified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unidentified {
    pub id: String,
    pub key: String,
    /// Values of match fields: (field, normalised value), in the order of the rules.
    pub matches: Vec<(String, String)>,
    /// The system that gave the key; absent where a key means the same everywhere, or nobody knows.
    pub numbered_by: Option<String>,
    /// Whether the row's own system gave the key for certain: the record is numbered by it from then on.
    pub issued: bool,
    /// The record that the key was found to mean; absent: the one that is numbered so, or a new one.
    pub taken_for: Option<RecordId>,
    /// The system has several objects of this number, and nobody knows whose this one is: it is a record of its own.
    pub unsure: bool,
    /// A record that bears the number though it is another system's object: it is numbered by a system that has it.
    pub evicts: Option<RecordId>,
}

/// A record that has a certain key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namesake {
    /// The record, or the one that it was found to be.
    pub record: RecordId,
    /// The record that has the key, whatever it was found to be.
    pub itself: RecordId,
    /// The system that gave the key; absent where it means the same everywhere, or nobody knows whose it is.
    pub numbered_by: Option<String>,
    /// Whether it is one of several objects of the number at one system, and nobody knows whose.
    pub unsure: bool,
}

/// How a record is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    pub entity: String,
    pub key: String,
    pub numbered_by: Option<String>,
}

/// Answer to an identified row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    pub record: RecordId,
    /// Another live object of the same system already is this record (its id): two rows of one key. Reject this one.
    pub taken_by: Option<String>,
}

/// Whether a record's tie to its object at a system is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    #[default]
    Linked,
    /// Nothing goes either way until somebody lets it: it waits.
    Paused,
    /// Nothing goes either way, and nobody waits for it.
    Ignored,
}

impl LinkState {
    /// The word used in tables, JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Paused => "paused",
            Self::Ignored => "ignored",
        }
    }
}

/// What is known of a tie besides that it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Link {
    pub state: LinkState,
    /// The match field that tied them, or [`BY_PERSON`]; absent where it was the key, or we made the object ourselves.
    pub rule: Option<String>,
    /// How many of the match fields that both had agreed then, in percent.
    pub score: Option<u8>,
}

/// A record's ties that are not simply those of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// The record that it was found to be: nothing is written for this one.
    pub same: Option<RecordId>,
    /// By system.
    pub links: BTreeMap<String, Link>,
}

/// A record that may be another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub record: RecordId,
    /// Match fields that agree.
    pub fields: Vec<String>,
}

/// A replica to insert or replace, as learnt from its own system (pull) or from our write (delivery).
#[derive(Clone, Debug)]
pub struct ReplicaWrite {
    pub record: RecordId,
    pub id: String,
    pub fields: Fields,
    pub sent: Fields,
    pub version: Option<String>,
    pub print: Option<Print>,
    /// The system's ids of the object's children; of lists that are not named, what is known stays.
    pub parts: Option<Children>,
    /// Values of the flow's match fields: (field, normalised value).
    pub matches: Vec<(String, String)>,
    pub gone: bool,
}

/// A sub-object that has an id of its own at a system: a variant, an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    pub system: String,
    /// The field of its record: `variants`.
    pub list: String,
    /// Its canonical key, as that system shows it.
    pub key: String,
    /// The system's own id of it.
    pub id: String,
    /// The same for this child at every system, whatever it is called there.
    pub member: i64,
}

/// Who has a child at a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub record: RecordId,
    /// The system's id of its object.
    pub object: String,
    pub key: String,
    /// What the child is called there.
    pub child: String,
}

/// What is known of an object stays as it is, but for what the caller changes.
impl From<Replica> for ReplicaWrite {
    fn from(replica: Replica) -> Self {
        Self {
            record: replica.record,
            id: replica.id,
            fields: replica.fields,
            sent: replica.sent,
            version: replica.version,
            print: replica.print,
            parts: None,
            matches: Vec::new(),
            gone: replica.gone_at.is_some(),
        }
    }
}

/// Line of the change log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub id: i64,
    pub record: RecordId,
    pub entity: String,
    pub system: String,
    pub op: ChangeOp,
    /// Field to `[before, after]`.
    pub fields: Fields,
    /// What brought it: `run 12`, `job 77`.
    pub cause: String,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeOp {
    Create,
    Update,
    Delete,
    /// What an earlier delivery did was taken back.
    Undo,
}

/// Change to append.
#[derive(Clone, Debug)]
pub struct NewChange {
    pub record: RecordId,
    pub op: ChangeOp,
    pub fields: Fields,
}

/// Job to open. Coalesces with an open job of the same target and record: a queued one stays, a running one is marked to
/// run again, a parked or dead one is queued anew. It then belongs to the run whose page opened it, unless the run it
/// belonged to is held or was rejected: what a person decides on stays together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    pub target: String,
    pub entity: String,
    pub record: RecordId,
    /// 0 first. See `sync::lane`.
    pub lane: i16,
    pub due: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    Queued,
    Running,
    Parked,
    Dead,
    Done,
    Discarded,
}

impl JobState {
    /// The word used in tables, JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Dead => "dead",
            Self::Done => "done",
            Self::Discarded => "discarded",
        }
    }
}

/// Which due jobs a worker wants: those of one target and one entity.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub target: &'a str,
    /// Entities to be left alone (their batches are under way or blocked).
    pub but: &'a [String],
    /// Who holds the leases.
    pub owner: &'a str,
    /// Most jobs.
    pub limit: usize,
    pub lease: Duration,
    pub turn: Turn,
}

/// Whose turn it is among the entities that have due jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// The foremost lane's.
    #[default]
    Foremost,
    /// That of the job that has been due longest, whatever its lane: the share by which no lane starves.
    Longest,
}

/// A job as the queue has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Job {
    pub id: i64,
    pub target: String,
    pub entity: String,
    pub record: RecordId,
    pub lane: i16,
    pub state: JobState,
    pub due: DateTime<Utc>,
    pub attempts: u32,
    /// Raised at every claim; every write about the job carries it, so a worker that lost its lease changes nothing.
    pub fence: i64,
    /// Stored before a create, a write of several steps or one of shared fields is sent.
    pub intent: Option<Intent>,
    pub cause: Option<String>,
    pub error: Option<String>,
    pub error_class: Option<String>,
    /// The run that last opened it; absent where only a person or a wake-up did.
    pub run: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a job was about to do when it last touched the target. Kept until its outcome is known. It is stored before the
/// request of a create is sent, and of an update that writes shared fields or makes children; for any other update once its answer
/// was lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub op: crate::port::Op,
    pub at: DateTime<Utc>,
    /// Results of finished steps.
    #[serde(default)]
    pub done: Captures,
    /// Of a create, by field: the print of what it tells. What is wanted when it is done may be something else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<String, String>,
    /// Of fields that nobody owns: the values it tells, by which they are known again at the target while nobody knows how it
    /// ended. They would pass for somebody's edit there.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub shared: Fields,
    /// Of a create: the newest record when it was first stored. An object of one that is newer may be what the create made; one
    /// that was known before is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<RecordId>,
    /// Of children that it makes: list to key as it is told to their member (see [`Child::member`]). One may be called otherwise
    /// at its source when what was made is found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub children: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Intent {
    #[must_use]
    pub fn new(op: crate::port::Op, at: DateTime<Utc>) -> Self {
        Self {
            op,
            at,
            done: Captures::default(),
            told: BTreeMap::new(),
            shared: Fields::new(),
            known: None,
            children: BTreeMap::new(),
        }
    }

    /// An update that may have reached the target.
    #[must_use]
    pub fn update(at: DateTime<Utc>) -> Self {
        Self::new(crate::port::Op::Update, at)
    }
}

/// Counts of one run; closes when `seen = unchanged + changed + skipped + rejected`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    pub seen: u64,
    pub unchanged: u64,
    pub changed: u64,
    pub skipped: u64,
    pub rejected: u64,
    /// Records a complete pull no longer found.
    pub gone: u64,
}

impl Balance {
    #[must_use]
    pub fn closes(&self) -> bool {
        self.seen == self.unchanged + self.changed + self.skipped + self.rejected
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// What changed since the cursor.
    Delta,
    /// Everything: finds deletions and drift.
    Full,
    /// Some objects by their ids, or what is known of them already: it says nothing of the others.
    Single,
}

/// One execution of a pull.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    pub id: i64,
    pub system: String,
    pub entity: String,
    pub kind: RunKind,
    pub trigger: String,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub balance: Balance,
    pub error: Option<String>,
}

/// How the listings of one entity at one system went, of one kind. Looks at single objects are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastListing {
    pub system: String,
    pub entity: String,
    pub kind: RunKind,
    /// Number of the last one that has ended.
    pub run: i64,
    /// When it began.
    pub began: DateTime<Utc>,
    /// Why it failed.
    pub error: Option<String>,
    /// Number of the last one that ended well, and when it began.
    pub good: Option<(i64, DateTime<Utc>)>,
}

/// What a person has given up or put aside, or taken as it is: nobody has to see to it, though not all is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenUp {
    /// Deliveries that were discarded, and that nothing has followed.
    Discarded,
    /// Rows that cannot be read.
    Dismissed,
    /// Values that targets hold otherwise than they were sent.
    Accepted,
    /// Records of which nothing goes to a system any more.
    Ignored,
}

/// What holds for those jobs of a run that offend a brake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// They go: within the limits, or nothing was opened.
    Clear,
    /// They wait: the run is under way, or broke off and was not ruled on yet.
    Pending,
    /// Those that offend a brake that was tripped wait for a person.
    Held,
    Approved,
    /// What they would have changed stays as it is at the target.
    Rejected,
}

/// A brake that a run tripped at a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trip {
    pub target: String,
    /// `delete`, `price-change`...: see `sync::Brake`.
    pub brake: String,
    /// Records that offend it.
    pub offences: u64,
    /// Records that the target held then.
    pub base: u64,
    /// How many may, as in the configuration: `5%`, `0`.
    pub allowed: String,
    /// A handful of them.
    pub examples: Vec<Example>,
}

/// What is held back of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub trips: Vec<Trip>,
    /// Jobs that offend a brake which was tripped.
    pub jobs: Vec<i64>,
    /// What is said of each of them.
    pub why: String,
}

/// One record that offends a brake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    pub key: String,
    pub field: String,
    /// The field holds data of a person: its values are not told.
    pub personal: bool,
    pub before: Value,
    pub after: Value,
}

/// A run that was not ruled on yet: under way, or cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub run: i64,
    pub system: String,
    pub entity: String,
    /// Records that it was about to declare gone, whether it came to that or not.
    pub gone: u64,
    /// Whether it is the first whole reading with another mapping or adapter.
    pub remapped: bool,
    /// Whether it brings what is known already to what has joined.
    pub joined: bool,
}

/// Trigger of a run that brings what is known already to a target, flow, field or rule that has joined.
pub const JOINED: &str = "joined";

/// What a job that offends a brake has to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruled {
    pub run: i64,
    /// The system that the run read.
    pub system: String,
    pub ruling: Ruling,
    /// Whether it was the first whole reading with another mapping or adapter.
    pub remapped: bool,
    /// Whether it brings what was known already to what has joined.
    pub joined: bool,
    /// Brakes that were tripped: (target, brake).
    pub tripped: BTreeSet<(String, String)>,
}

/// A run that is held by its brakes until a person decides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Approval {
    pub run: i64,
    pub system: String,
    pub entity: String,
    pub trigger: String,
    pub started_at: DateTime<Utc>,
    /// Jobs that wait for the decision now.
    pub jobs: u64,
    pub trips: Vec<Trip>,
}

/// A row that did not become a canonical object, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    pub position: String,
    pub id: Option<String>,
    pub field: Option<String>,
    pub reason: String,
    /// `lookup:tax=IGIC7`, where curing it brings the row in.
    pub cause: Option<String>,
    /// Articles that the row names; nothing where that could not be told.
    pub articles: Option<BTreeSet<String>>,
    /// What can be read of what the row is: values of match fields, and its key with an empty name. Absent where that cannot be
    /// told: it may be anything.
    #[serde(skip)]
    pub likes: Option<Vec<(String, String)>>,
    /// A person has put it aside: nothing waits for it.
    pub dismissed: bool,
}

impl Rejection {
    /// The key that the row shows, where that can be read.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        let likes = self.likes.as_ref()?;
        likes.iter().find(|(name, _)| name.is_empty()).map(|(_, key)| key.as_str())
    }

    /// Whether somebody who names a row by its id, key or place means this one.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.id.as_deref() == Some(name) || self.key() == Some(name) || self.position == name
    }

    /// Whether it is this one, or a row of an article of that key.
    #[must_use]
    pub fn is_about(&self, name: &str) -> bool {
        self.is_called(name) || self.articles.as_ref().is_some_and(|articles| articles.contains(name))
    }
}

/// A row that is not known to be any record's and could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub position: String,
    pub id: Option<String>,
    /// See [`Rejection::likes`].
    pub likes: Option<Vec<(String, String)>>,
}

/// Everything a page makes durable, in one transaction.
#[derive(Clone, Debug, Default)]
pub struct PageCommit {
    pub run: i64,
    pub system: String,
    pub entity: String,
    pub replicas: Vec<ReplicaWrite>,
    /// Known rows whose fingerprint alone is new (the canonical object is the same): (id, print, version, sent).
    pub reprints: Vec<(String, Print, Option<String>, Fields)>,
    /// Id to the number of the delivery that had last written the replica when the row was compared with it; 0 where there
    /// was none. A delivery that came between makes the page [`StoreError::Stale`].
    pub compared: BTreeMap<String, i64>,
    pub changes: Vec<NewChange>,
    pub jobs: Vec<NewJob>,
    /// Shared fields that this page moved on.
    pub merged: Vec<MergedWrite>,
    pub conflicts: Vec<ConflictMark>,
    pub rejections: Vec<Rejection>,
    /// Ids that were read well now: earlier rejections of theirs are closed.
    pub cured: Vec<String>,
    /// The run has read all there is: rejections that it did not repeat are of rows that are gone, and are closed.
    pub whole: bool,
    pub balance: Balance,
    /// Whether the run reads the whole with another mapping or adapter than the last time.
    pub remapped: bool,
    pub cursor: Option<String>,
    /// What rows whose canonical object is the same show of their children's ids.
    pub children: Vec<(RecordId, Children)>,
    /// Small values that are true once the page is durable; see [`Store::note`].
    pub notes: Vec<(String, Value)>,
    /// The lease that the page was read under, renewed with it for so long. One that somebody else has taken over makes the
    /// page [`StoreError::Overtaken`]: what was read before a long pause must not come after what others read since.
    pub lease: Option<(Lease, Duration)>,
}

/// Replica number of each written row, in the order of [`PageCommit::replicas`].
pub type Numbers = Vec<u32>;

/// How a delivered job ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Written, or nothing to write.
    Done {
        noop: bool,
    },
    /// Try again at that time; `burn` counts it as an attempt. The intent stays as given.
    Retry {
        at: DateTime<Utc>,
        burn: bool,
        intent: Option<Intent>,
        class: String,
        error: String,
    },
    Parked {
        cause: String,
        error: String,
    },
    Dead {
        class: String,
        error: String,
    },
}

/// How a target's answer to a write, or the look right after it, could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// It told nothing of the object.
    #[default]
    Silent,
    Read,
    /// Not at all: it is told like any row that cannot be read.
    Unread(Rejection),
}

/// One job's end and what was learnt of its target.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub job: i64,
    pub fence: i64,
    pub verdict: Verdict,
    pub replica: Option<ReplicaWrite>,
    /// What `replica` was made from: fields that are the same in both were not written, and stay as a page has stored them since.
    pub before: Option<Replica>,
    /// What we changed at the target, for the change log.
    pub change: Option<NewChange>,
    /// Line of the attempt history; absent for a no-op.
    pub attempt: Option<Attempt>,
    /// Whether the target shows more than it was sent: its object is to be read again, so that all others hear of it.
    pub news: bool,
    /// What the target has shown to hold otherwise than it was just sent.
    pub differs: Vec<DifferenceMark>,
    /// Lists of children whose ids are one record's only, since other objects hang on them; with the ids that the
    /// target was seen to show of their earlier records no more. One that is another record's child ends the job as
    /// dead.
    pub sole: BTreeMap<String, BTreeSet<String>>,
    /// Whether what was begun is over, done whole or surely without effect: its intent is forgotten, however the job ends.
    pub is_over: bool,
    pub answer: Answer,
}

impl Delivered {
    /// A job's end of which nothing else is to be remembered.
    #[must_use]
    pub const fn new(job: &Job, verdict: Verdict) -> Self {
        let (job, fence) = (job.id, job.fence);
        let differs = Vec::new();
        Self {
            job,
            fence,
            verdict,
            replica: None,
            before: None,
            change: None,
            attempt: None,
            news: false,
            is_over: false,
            differs,
            sole: BTreeMap::new(),
            answer: Answer::Silent,
        }
    }
}

/// Line of the attempt history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: DateTime<Utc>,
    pub op: String,
    /// `done`, or the failure's class.
    pub outcome: String,
    pub message: Option<String>,
    pub status: Option<u16>,
    pub requests: u32,
    pub millis: u64,
}

/// What `deliver` did with a batch.
#[derive(Clone, Debug, Default)]
pub struct DeliverSummary {
    /// Jobs whose lease had been lost: nothing of theirs was written.
    pub lost: Vec<i64>,
    /// Jobs woken because something they waited for now exists at their target.
    pub woken: u64,
}

/// A delivery of the past: how many requests it took part in, and how long its batch was under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    pub target: String,
    pub entity: String,
    pub requests: u64,
    pub millis: u64,
}

/// A record that several systems hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Number of its last replica.
    pub number: i64,
    pub record: RecordId,
    pub entity: String,
    pub key: String,
    /// System to its own id.
    pub ids: BTreeMap<String, String>,
}

/// Filter of job listings.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub target: Option<String>,
    pub entity: Option<String>,
    pub states: Vec<JobState>,
    pub cause: Option<String>,
    pub record: Option<RecordId>,
    pub ids: Vec<i64>,
    /// Most jobs; 0 = all.
    pub limit: u32,
}

/// Class of jobs that wait until a flow's grace is over.
pub const IN_GRACE: &str = "grace";

/// Open jobs of one kind; the queue at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backlog {
    pub target: String,
    pub entity: String,
    pub state: JobState,
    pub count: u64,
    /// How many of them wait since the target let us not in.
    pub refused: u64,
    /// When the first of them was opened, or its time comes where it waits for that ([`IN_GRACE`]).
    pub oldest: Option<DateTime<Utc>>,
    /// Earliest due time among queued ones.
    pub due: Option<DateTime<Utc>>,
    pub cause: Option<String>,
}

/// A request handed to the running daemon through the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub id: i64,
    /// `resync`
    pub verb: String,
    /// `flow`, `flow/entity` or `flow/entity/KEY`
    pub scope: String,
    pub at: DateTime<Utc>,
}

/// Exclusive right to a piece of work (`pull:erp/product`, `scheduler`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub owner: String,
    pub fence: i64,
}

/// Standing of a system between runs: circuit breaker and backoff.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// No request before this time.
    pub until: Option<DateTime<Utc>>,
    pub failures: u32,
    pub reason: Option<String>,
}

/// The store. Names of systems and entities are texts here; how they are kept small is the implementation's business.
#[async_trait]
pub trait Store: Send + Sync {
    /// Where it is kept, for messages: a file, or a server's host, port and database.
    fn place(&self) -> String {
        String::new()
    }

    // --- identity -------------------------------------------------------------------------------------------------
    /// Record numbers of canonical keys that no system is known to have given, creating records that do not exist. Idempotent;
    /// its own short transaction.
    async fn records(&self, entity: &str, keys: &[String]) -> Result<Vec<RecordId>>;
    /// Record of a key, if there is one; of several the first that was known.
    async fn record(&self, entity: &str, key: &str) -> Result<Option<RecordId>>;
    /// For each key, all records that have it, by number: systems that number by themselves may have given it more than once.
    async fn namesakes(&self, entity: &str, keys: &[String]) -> Result<Vec<Vec<Namesake>>>;
    /// (entity, key) of records, for people: where several records have the key, as `SYSTEM/KEY`.
    async fn keys(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, (String, String)>>;
    /// How records are known, for systems: the key as it is.
    async fn called(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Called>>;
    /// Records of the same key that only `target` has given it and has, by record: one of them may be it, though nothing says so.
    /// Those that a person has set apart are not among them.
    async fn rivals(&self, target: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<RecordId>>>;
    /// Turns references found at `system` into record numbers. By id: the replica's record, else a placeholder record
    /// (bound to that id, without key yet; the later pull of that id adopts it). By key: the record, created if need be.
    async fn resolve(&self, system: &str, refs: &[RefWanted]) -> Result<BTreeMap<RefWanted, RecordId>>;
    /// Identity of pulled rows: for each the record that the id is already bound to at `system`, else
    /// the one a match field or the key finds, else a new one. The first match field that finds any record decides, and only
    /// where it finds a single one that is free; `weak` fields never do. By key it is [`Unidentified::taken_for`], else the record
    /// of this key and numbering. A placeholder gets its key here. A record's key never changes by itself once set. Rows with [`Identified::taken_by`] must be rejected, not committed.
    async fn identify(
        &self,
        system: &str,
        entity: &str,
        rows: &[Unidentified],
        weak: &[String],
    ) -> Result<Vec<Identified>>;

    /// For each list of (match field, value), in order: the record that the first field which finds any finds alone.
    async fn recognise(&self, entity: &str, wanted: &[Vec<(String, String)>]) -> Result<Vec<Option<RecordId>>>;

    // --- links ----------------------------------------------------------------------------------------------------
    /// Ties of records, where there is something to say of them.
    async fn ties(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Ties>>;
    /// Links in these states about which something is known, by record and system; 0 = all.
    async fn linked(&self, states: &[LinkState], limit: u32) -> Result<Vec<(RecordId, String, Link)>>;
    /// Records that `target` holds, or is about to be given, and that share a value of one of these match fields with a record:
    /// it may be one of them. Those that a person has set apart are not among them. A handful of each.
    async fn candidates(
        &self,
        target: &str,
        wanted: &[(RecordId, Vec<String>)],
    ) -> Result<BTreeMap<RecordId, Vec<Candidate>>>;
    /// How far the match values of two records agree, in percent of the fields that both have.
    async fn scores(&self, pairs: &[(RecordId, RecordId)]) -> Result<Vec<u8>>;
    /// A person's word on a record's ties to these systems; opens the jobs that follow.
    async fn set_links(
        &self,
        record: RecordId,
        systems: &[String],
        state: LinkState,
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<()>;
    /// A person's word that a record is none of these others, nor one with them any longer; opens the jobs that follow.
    async fn set_apart(&self, record: RecordId, others: &[RecordId], jobs: &[NewJob], now: DateTime<Utc>)
    -> Result<()>;
    /// A person's word that a record is another one of its entity: its objects become the other's where that has none, its open
    /// jobs are discarded, references to it mean the other; opens the jobs that follow. False where one of them is another's
    /// alias by now.
    async fn join(&self, record: RecordId, into: RecordId, jobs: &[NewJob], now: DateTime<Utc>) -> Result<bool>;
    /// Takes a record's object at a system away from it: a live one becomes a record of its own, of this key, set apart; one
    /// that is gone is forgotten. Opens these jobs for the record, and the same for the new one, which is given (or the
    /// record itself); nothing where there is no such object.
    async fn split(
        &self,
        record: RecordId,
        system: &str,
        key: &str,
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<Option<RecordId>>;

    // --- pull -----------------------------------------------------------------------------------------------------
    async fn begin_run(
        &self,
        system: &str,
        entity: &str,
        kind: RunKind,
        trigger: &str,
        now: DateTime<Utc>,
    ) -> Result<i64>;
    async fn end_run(&self, run: i64, balance: &Balance, error: Option<&str>, now: DateTime<Utc>) -> Result<()>;
    /// Which rows of a page are new or different.
    async fn sight(&self, system: &str, entity: &str, rows: &[Sighting]) -> Result<Sighted>;
    async fn replicas_by_id(&self, system: &str, entity: &str, ids: &[String]) -> Result<Vec<Replica>>;
    /// One transaction: replicas, change log, jobs, rejections, cursor and balance of a page.
    async fn commit_page(&self, page: PageCommit, now: DateTime<Utc>) -> Result<Numbers>;
    async fn cursor(&self, system: &str, entity: &str) -> Result<Option<String>>;
    async fn forget_cursor(&self, system: &str, entity: &str) -> Result<()>;
    /// Live replicas (not gone, not placeholders) whose number is not in `seen`, in slices: those numbered above `after`.
    async fn unseen(
        &self,
        system: &str,
        entity: &str,
        seen: &roaring::RoaringBitmap,
        after: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Replica)>>;
    /// What a system has no more and a target still has: the target's replicas, in slices as [`unseen`](Self::unseen).
    async fn outlived(
        &self,
        system: &str,
        entity: &str,
        target: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Replica)>>;
    /// The store's own counter; deliveries raise it. A page notes it before reading.
    async fn counter(&self) -> Result<i64>;

    // --- queue ----------------------------------------------------------------------------------------------------
    async fn enqueue(&self, jobs: &[NewJob], now: DateTime<Utc>) -> Result<u64>;
    /// Claims due jobs of one target, entity and lane. Expired leases count as due.
    async fn claim(&self, claim: Claim<'_>, now: DateTime<Utc>) -> Result<Vec<Job>>;
    /// Claims jobs of these records for a delivery that is not the queue's own. A queued one is taken over and runs again
    /// afterwards; one that is running, parked, dead or begun is left alone and not given.
    async fn seize(&self, jobs: &[NewJob], owner: &str, lease: Duration, now: DateTime<Utc>) -> Result<Vec<Job>>;
    /// Makes leases longer; gives the jobs that are still ours.
    async fn renew(&self, jobs: &[(i64, i64)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<i64>>;
    /// Gives claimed jobs back at once (graceful stop); intents stay.
    async fn release(&self, jobs: &[(i64, i64)], now: DateTime<Utc>) -> Result<()>;
    /// Stores intents before anything is sent: (job, fence, intent). Gives the jobs whose lease still holds.
    async fn intend(&self, intents: &[(i64, i64, Intent)], now: DateTime<Utc>) -> Result<Vec<i64>>;
    /// Replicas of the records at all systems.
    async fn replicas_of(&self, records: &[RecordId]) -> Result<Vec<Replica>>;
    /// Number of the newest record; 0 where there is none.
    async fn newest(&self) -> Result<RecordId>;
    /// Ids whose live object at a system is that of another record than `record`, with its key: one that was known before, numbered
    /// `known` or lower. What is newer may be what a write about `record` has made.
    async fn holders(
        &self,
        system: &str,
        entity: &str,
        record: RecordId,
        known: RecordId,
        ids: &[String],
    ) -> Result<BTreeMap<String, String>>;
    /// Live replicas of a system in which one of these texts stands as a value, anywhere.
    async fn holding(&self, system: &str, entity: &str, texts: &[String]) -> Result<Vec<Replica>>;
    /// The systems' ids of records: (entity, record) to id at `system`.
    async fn externals(&self, system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, String>>;
    /// Who at a system is known by (`product.variants`, key): id and record of each child. Only where it is one is it told
    /// which is meant.
    async fn parts(
        &self,
        system: &str,
        wanted: &[(String, String)],
    ) -> Result<BTreeMap<(String, String), Vec<(String, RecordId)>>>;
    /// Who at a system has a child of (`product.variants`, id). Of several the one that is known for longest comes
    /// first.
    async fn parents(
        &self,
        system: &str,
        wanted: &[(String, String)],
    ) -> Result<BTreeMap<(String, String), Vec<Parent>>>;
    /// Children of records, at all systems.
    async fn children_of(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<Child>>>;
    /// One transaction, fenced per job: verdicts, target replicas, change log, attempt history, rejections of answers that could
    /// not be read. A job whose replica has the id of
    /// another record's live object, or of its child in a list of [`Delivered::sole`], ends as dead instead, and the
    /// earlier link stays. Wakes parked jobs of the
    /// same target that wait for `missing:<entity>=<key>` (or `missing:<part>`) of something now there; a job marked
    /// "again" is queued anew instead of done.
    async fn deliver(
        &self,
        target: &str,
        entity: &str,
        outcomes: Vec<Delivered>,
        now: DateTime<Utc>,
    ) -> Result<DeliverSummary>;
    /// Entities that have a job at the target which is queued or under way, and when the first is due or its lease ends; an entity of
    /// several lanes more than once. However many jobs there are, it takes no longer.
    async fn soonest(&self, target: &str) -> Result<Vec<(String, DateTime<Utc>)>>;
    /// All open jobs in groups, each of which is counted: of many it takes a while.
    async fn backlog(&self) -> Result<Vec<Backlog>>;
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>>;
    /// Queues parked and dead jobs anew, or discards them; gives how many.
    async fn retry(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64>;
    async fn discard(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64>;
    /// Takes discarded jobs back: they are queued anew, with what they had begun. One that another job of its record and target
    /// has followed stays; gives how many came back.
    async fn restore(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64>;

    // --- stock ----------------------------------------------------------------------------------------------------
    /// Live replicas at `shop` of `entity` that `target` may not have taken into account yet: those with an open job there
    /// or an open conflict, and those last written there by a delivery after number `since` of the counter (absent: none of these).
    async fn in_flight(&self, entity: &str, shop: &str, target: &str, since: Option<i64>) -> Result<Vec<Replica>>;
    /// What other systems say of records that have an object of `entity` at `target`; of the first 1,000 at most.
    async fn told_beside(&self, target: &str, entity: &str) -> Result<Vec<Replica>>;
    /// What is known to be kept back from a system's stock for orders in flight.
    async fn held(&self, system: &str) -> Result<BTreeMap<RecordId, Decimal>>;
    /// Remembers what is kept back; nothing where the quantity is zero.
    async fn hold(&self, system: &str, quantities: &[(RecordId, Decimal)]) -> Result<()>;

    // --- shared fields --------------------------------------------------------------------------------------------
    async fn merged(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Merged>>;
    async fn conflicts_of(&self, records: &[RecordId]) -> Result<Vec<Conflict>>;
    /// Shared fields that a system may have been told, by writes whose end is not known yet; by record.
    async fn told(&self, system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Fields>>;
    /// Open conflicts, oldest first; 0 = all.
    async fn conflicts(&self, limit: u32) -> Result<Vec<Conflict>>;
    /// One transaction: closes the conflict, writes what was decided and opens the jobs that follow. False where it was
    /// settled already.
    async fn settle_conflict(
        &self,
        conflict: &Conflict,
        settlement: &Settlement,
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<bool>;

    // --- differences ----------------------------------------------------------------------------------------------
    /// What targets hold otherwise than they were sent, oldest first; without `all` only what nobody accepted. 0 = no limit.
    async fn differences(&self, all: bool, limit: u32) -> Result<Vec<Difference>>;
    /// Those of some records at one target.
    async fn differences_of(&self, system: &str, records: &[RecordId]) -> Result<Vec<Difference>>;
    /// How many nobody accepted.
    async fn difference_count(&self) -> Result<u64>;
    /// Takes differences (system, record, field) as they are, and wakes what waits for them; gives how many there were.
    async fn accept_differences(&self, differences: &[(String, RecordId, String)], now: DateTime<Utc>) -> Result<u64>;

    // --- brakes ---------------------------------------------------------------------------------------------------
    /// Runs that are to be ruled on.
    async fn pending(&self) -> Result<Vec<Pending>>;
    /// Open jobs of a run at a target that holds their records, in slices: those numbered above `after`.
    async fn opened(&self, run: i64, target: &str, after: i64, limit: usize) -> Result<Vec<Job>>;
    /// The same at a target that does not hold their records.
    async fn newcomers(&self, run: i64, target: &str, after: i64, limit: usize) -> Result<Vec<Job>>;
    /// Live replicas of a system.
    async fn live(&self, system: &str, entity: &str) -> Result<u64>;
    /// Rules on a pending run: clear where nothing is held. Jobs that are held are parked, unless they are being delivered
    /// (whoever does that asks for the ruling); others that waited for the run are queued. False where somebody else has ruled.
    async fn rule(&self, run: i64, held: Option<&Held>, now: DateTime<Utc>) -> Result<bool>;
    /// What holds for jobs, by their number; of the run that opened them last *now*. Jobs without a run are left out.
    async fn rulings(&self, jobs: &[i64]) -> Result<BTreeMap<i64, Ruled>>;
    /// Runs that hold jobs back, oldest first.
    async fn approvals(&self) -> Result<Vec<Approval>>;
    /// A person's decision on a run that is held. Its jobs are queued; gives how many, nothing where it is not held.
    async fn decide_run(&self, run: i64, approved: bool, now: DateTime<Utc>) -> Result<Option<u64>>;

    // --- telling --------------------------------------------------------------------------------------------------
    async fn runs(&self, limit: u32) -> Result<Vec<Run>>;
    /// By system, entity and kind: the last listing that has ended.
    async fn listings(&self) -> Result<Vec<LastListing>>;
    /// What persons have given up, counted: (what, system, entity, count).
    async fn given_up(&self) -> Result<Vec<(GivenUp, String, String, u64)>>;
    async fn run(&self, run: i64) -> Result<Option<Run>>;
    async fn changes(&self, record: RecordId, limit: u32) -> Result<Vec<Change>>;
    /// What a run saw changed, oldest first: those numbered above `after`.
    async fn changes_of_run(&self, run: i64, after: i64, limit: u32) -> Result<Vec<Change>>;
    /// All that is known to have happened to the records, oldest first.
    async fn history(&self, records: &[RecordId]) -> Result<Vec<Change>>;
    /// Our writes to a system since a time, of those records that were written at least so often, newest first: record,
    /// what was done, fields before and after.
    async fn written_often(
        &self,
        system: &str,
        records: &[RecordId],
        since: DateTime<Utc>,
        often: u32,
    ) -> Result<Vec<(RecordId, ChangeOp, Fields)>>;
    /// Records that several systems hold, the last of them since replica number `after`; by that number.
    async fn linked_since(&self, after: i64, limit: u32) -> Result<Vec<Linked>>;
    async fn attempts(&self, job: i64) -> Result<Vec<Attempt>>;
    /// Of these jobs of a target, those since whose last attempt another write to it went through.
    async fn gone_through_since(&self, target: &str, jobs: &[i64]) -> Result<Vec<i64>>;
    async fn rejections(&self, system: Option<&str>, limit: u32) -> Result<Vec<(String, String, Rejection)>>;
    /// Rows of a system that could not be read, belong to no record and are not put aside.
    async fn unread(&self, system: &str, entity: &str) -> Result<Vec<Unread>>;
    /// Puts rows aside that cannot be read: those of this id or place, or all; what waited for them goes on. Gives how many.
    async fn dismiss(&self, system: &str, entity: &str, row: Option<&str>, now: DateTime<Utc>) -> Result<u64>;
    /// Rows that could not be read: (system, entity, how many wait for somebody, how many are put aside).
    async fn rejection_counts(&self) -> Result<Vec<(String, String, u64, u64)>>;
    /// Articles that rows name which could not be read; nothing where there is a row of which that could not be told.
    async fn unreadable_articles(&self, system: &str, entity: &str) -> Result<Option<BTreeSet<String>>>;
    /// (system, entity, live replicas, gone replicas)
    async fn counts(&self) -> Result<Vec<(String, String, u64, u64)>>;

    // --- logins ---------------------------------------------------------------------------------------------------
    /// What is kept of a login, as [`Store::keep_login`] was given it.
    async fn kept_login(&self, name: &str) -> Result<Option<String>>;
    /// Keeps something of the login that the lease is named for. False if a later holder of the lease has stored something
    /// already. Also deletes the system's entries that are older than 400 days.
    async fn keep_login(&self, lease: &Lease, system: &str, value: &str, now: DateTime<Utc>) -> Result<bool>;

    // --- housekeeping ---------------------------------------------------------------------------------------------
    /// Called once by a starting daemon. On SQLite, where only one daemon works on the file, every lease found is a dead
    /// daemon's: its jobs are queued again at once (intents stay) and its named leases fall, but for those of logins, which a
    /// command beside the daemon may hold. On PostgreSQL leases run out by themselves. Gives how many jobs came back.
    async fn recover(&self, now: DateTime<Utc>) -> Result<u64>;
    /// Makes queued jobs due now that were last touched after `later`: by a clock that was set back since. Gives how many.
    async fn hurry(&self, later: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64>;
    async fn standing(&self, system: &str) -> Result<Standing>;
    async fn set_standing(&self, system: &str, standing: &Standing) -> Result<()>;
    /// Ends a system's pause, and has jobs tried now that wait because of its trouble or were given up because it refused us;
    /// gives how many there are.
    async fn lift(&self, system: &str, now: DateTime<Utc>) -> Result<u64>;
    async fn acquire(&self, name: &str, owner: &str, lease: Duration, now: DateTime<Utc>) -> Result<Option<Lease>>;
    async fn keep(&self, lease: &Lease, until: Duration, now: DateTime<Utc>) -> Result<bool>;
    async fn drop_lease(&self, lease: &Lease) -> Result<()>;
    /// Who holds a lease now.
    async fn holder(&self, name: &str, now: DateTime<Utc>) -> Result<Option<String>>;
    async fn place_order(&self, verb: &str, scope: &str, now: DateTime<Utc>) -> Result<i64>;
    /// The oldest open order. It stays until it is closed: whoever dies over it leaves it to others.
    async fn next_order(&self) -> Result<Option<Order>>;
    async fn close_order(&self, order: i64) -> Result<()>;
    /// Remembers a small value (`fired:<flow>` = last schedule time carried out).
    async fn note(&self, name: &str, value: &Value) -> Result<()>;
    async fn noted(&self, name: &str) -> Result<Option<Value>>;
    /// All that is remembered under names that begin so.
    async fn notes(&self, beginning: &str) -> Result<Vec<(String, Value)>>;
    /// Deletes at most `slice` rows each of done jobs (with their attempts), change log and runs older than `before`; gives how many.
    async fn purge(&self, before: DateTime<Utc>, slice: u32) -> Result<u64>;
}

/// A store to hand around.
pub type SharedStore = Arc<dyn Store>;
