//! What the integration tests, the simulation and the benchmarks use of the rooms. Nobody else may rely on it.
//!
//! By name, never a whole room: a name that stands here counts as used, whoever calls it.

/// See `src/adapter`.
pub mod adapter {
    pub use crate::adapter::{Given, Manifest, SettingValue, Settings, World, open};

    /// See `src/adapter/http`.
    pub mod http {
        pub use crate::adapter::http::{Network, Request, Response, Transport, TransportError};
    }
}

/// See `src/env.rs`.
pub mod env {
    pub use crate::env::{Clock, Entropy, Env};
}

/// See `src/expr`.
pub mod expr {
    pub use crate::expr::{Expr, KnownNames};
}

/// See `src/failure.rs`.
pub mod failure {
    pub use crate::failure::{Class, Failure};
}

/// See `src/load`.
pub mod load {
    pub use crate::load::{LoadError, Place, SourceFile};
}

/// See `src/mapping`.
pub mod mapping {
    pub use crate::mapping::{Children, Externals, Fields, Glimpse, Mapping, Needs, Pulled, RefBy, Tables, Translate};
}

/// See `src/model`.
pub mod model {
    pub use crate::model::{Entities, EntitySpec, Shape};

    /// See `src/model/flaw.rs`.
    pub mod flaw {
        pub use crate::model::flaw::first;
    }
}

/// See `src/port.rs`.
pub mod port {
    pub use crate::port::{
        Capabilities, Captures, Checked, Find, Op, Outcome, Pace, Page, PageToken, Probe, Progress, PullRequest,
        RowBody, SourceRow, System, ValueList, ValuesOf, Write, Written,
    };

    /// See `src/port/logins.rs`.
    pub mod logins {
        pub use crate::port::logins::{InMemory, LoginId, Logins};
    }
}

/// See `src/sandbox`.
pub mod sandbox {
    pub use crate::sandbox::{Checkout, Fault, FaultKind, Options, Seeded, Shop, signature};
}

/// See `src/store`. The simulation puts stores of its own before the real one, so it needs every trait.
pub mod store {
    pub use crate::store::{
        Answer, Attempt, Backlog, Balance, BrakeStore, BrakeTrip, Called, Candidate, Change, ChangeOp, Child,
        ChildStore, Circuit, CircuitStore, Claim, Command, CommandStore, Conflict, ConflictKind, ConflictMark,
        DeliverSummary, Delivered, DeliveryStore, Difference, DifferenceMark, DifferenceStore, Fence, FiringStore,
        GivenUp, GivenUpStore, HeldJobs, HistoryStore, Housekeeping, Identified, Intent, Job, JobFilter, JobId,
        JobState, JobStore, Keeper, KnownRows, LastListing, Lease, LeaseStore, Link, LinkState, LinkStore, Linked,
        LoginStore, MappingRevision, MergeStore, Merged, Namesake, NewChange, NewJob, NewRun, NoteStore, Numbers,
        OpenedBy, OrderReadings, Origin, PageCommit, PageStore, Parent, Pending, Proven, QueueStore, Reading,
        ReadingStore, RecordId, RecordStore, RefQuery, Rejection, RejectionStore, Replica, ReplicaStore, ReplicaWrite,
        Result, Run, RunApproval, RunId, RunKind, RunStore, Settlement, SharedStore, ShownRow, Slice, StockEvidence,
        StockStore, Store, StoreError, Ties, Turn, Unidentified, UnreadableRow, Verdict, ViolationExample,
        WaitingApproval, backup, copy, open,
    };
}

/// See `src/sync`.
pub mod sync {
    pub use crate::sync::{
        Clash, ConflictPolicy, Context, Decision, DecisionError, Engine, Flow, Limits, Links, MatchRule, Named,
        PassSummary, Prefer, Reach, Routes, SHARED, Schedule, SystemLimits, decide, merge,
    };

    /// See `src/sync/preview/plan`.
    pub mod plan {
        pub use crate::sync::plan::{Question, plan};
    }
}

/// See `src/wait_reason.rs`.
pub mod wait_reason {
    pub use crate::wait_reason::WaitReason;
}
