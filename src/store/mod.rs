//! The state store: what every system is known to hold, what changed, and what has to be done about it.
//!
//! Two databases behind one interface, chosen by URL: SQLite (WAL, embedded) and PostgreSQL. Their migrations
//! correspond, and both pass the same conformance suite.
//!
//! Each table family is a module: its types, its trait, and its statements for both databases. [`Store`] is all the
//! traits together. Methods take sets of rows: one statement handles a whole page or batch.

use std::sync::Arc;

// Table families.
mod brakes;
mod children;
mod circuits;
mod commands;
mod delivery;
mod differences;
mod firings;
mod given_up;
mod history;
mod housekeeping;
mod jobs;
mod leases;
mod links;
mod logins;
mod merged;
mod notes;
mod pages;
mod queue;
mod readings;
mod records;
mod rejections;
mod replicas;
mod runs;
mod stock;

// What the table families are built on.
mod database;
mod error;
mod names;
mod sql;
mod statistics;
mod values;

// The state as a whole: opened, copied, backed up, and reserved for one process.
mod backup;
mod keeper;
mod open;
mod scratch;
mod seal;
mod sole;
mod steps;

pub use crate::ids::{Fence, JobId, RecordId, RunId};
pub use backup::backup;
pub use brakes::{BrakeStore, BrakeTrip, HeldJobs, OpenedBy, Pending, RunApproval, ViolationExample, WaitingApproval};
pub use children::{Child, ChildStore, Parent};
pub use circuits::{Circuit, CircuitStore};
pub use commands::{Command, CommandStore};
pub use delivery::{Answer, DeliverSummary, Delivered, DeliveryStore, Verdict};
pub use differences::{Difference, DifferenceMark, DifferenceStore};
pub use error::{Result, StoreError};
pub use firings::FiringStore;
pub use given_up::{GivenUp, GivenUpStore};
pub use history::{Change, ChangeOp, HistoryStore, NewChange, Origin};
pub use housekeeping::Housekeeping;
pub use jobs::{Attempt, Backlog, IN_GRACE, JobFilter, JobStore};
pub use keeper::Keeper;
pub use leases::{Lease, LeaseStore};
pub use links::{BY_PERSON, Candidate, KEY_AT, Link, LinkState, LinkStore, Ties};
pub use logins::LoginStore;
pub use merged::{Conflict, ConflictKind, ConflictMark, MergeStore, Merged, MergedWrite, Settlement};
pub use notes::NoteStore;
pub use open::open;
pub use pages::{KnownRows, Numbers, PageCommit, PageStore, ShownRow};
pub use queue::{Claim, Intent, Job, JobState, NewJob, QueueStore, Turn};
pub use readings::{MappingRevision, OrderReadings, Proven, Reading, ReadingStore, StockEvidence};
pub use records::{Called, Identified, Namesake, RecordStore, RefQuery, Unidentified};
pub use rejections::{Rejection, RejectionStore, UnreadableRow};
pub use replicas::{Linked, Replica, ReplicaStore, ReplicaWrite, Slice};
pub use runs::{Balance, JOINED, LastListing, NewRun, Run, RunKind, RunStore};
pub use scratch::{Measured, Scratch, copy};
pub use sole::Sole;
pub use stock::StockStore;

/// The store: all table families together. Systems and entities are named by texts here; that the tables hold
/// numbers instead is an internal matter.
///
/// # Errors
///
/// Every method fails with [`StoreError::Database`] if the database fails, and with [`StoreError::Row`] if what is
/// stored cannot be read. A method that writes fails with [`StoreError::Stale`] if another process committed first:
/// read again, and compute anew. A method that fails has stored nothing, unless its documentation says that it is
/// more than one transaction.
pub trait Store:
    RecordStore
    + LinkStore
    + ReplicaStore
    + ChildStore
    + RunStore
    + PageStore
    + ReadingStore
    + FiringStore
    + QueueStore
    + DeliveryStore
    + JobStore
    + StockStore
    + MergeStore
    + DifferenceStore
    + BrakeStore
    + HistoryStore
    + RejectionStore
    + LeaseStore
    + LoginStore
    + CommandStore
    + NoteStore
    + CircuitStore
    + GivenUpStore
    + Housekeeping
{
}

impl<T> Store for T where
    T: RecordStore
        + LinkStore
        + ReplicaStore
        + ChildStore
        + RunStore
        + PageStore
        + ReadingStore
        + FiringStore
        + QueueStore
        + DeliveryStore
        + JobStore
        + StockStore
        + MergeStore
        + DifferenceStore
        + BrakeStore
        + HistoryStore
        + RejectionStore
        + LeaseStore
        + LoginStore
        + CommandStore
        + NoteStore
        + CircuitStore
        + GivenUpStore
        + Housekeeping
        + ?Sized
{
}

/// A store that can be cloned and passed around.
pub type SharedStore = Arc<dyn Store>;
