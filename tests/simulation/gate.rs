//! The real store behind a gate: every verb runs to its end before anything else happens, so that one seed gives one
//! order of events, whatever the database's own threads do. At the gate verbs meet trouble: a database that is busy, a
//! commit that nobody is told of, a disk that stands still or is full.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use tokio::runtime::{self, Handle, Runtime};
use vaiven::{env::Env, mapping::Fields, store::*};

use crate::{
    chance::Chance,
    mood::{Mood, Trouble},
    wire::Wire,
};

/// The runtime that the database's connections live on, driven by whoever waits for a verb.
pub struct Base {
    runtime: Runtime,
    quiet: Arc<Quiet>,
}

/// Lets a future wait until nothing is under way but what lives as long as a store.
#[derive(Default)]
struct Quiet {
    waiting: Mutex<Option<Waker>>,
    keepers: AtomicUsize,
}

impl Quiet {
    fn is_reached(&self) -> bool {
        Handle::current().metrics().num_alive_tasks() <= self.keepers.load(Ordering::Relaxed)
    }

    async fn reached(&self) {
        poll_fn(|context| {
            if self.is_reached() {
                return Poll::Ready(());
            }
            *self.waiting.lock().unwrap() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Base {
    /// With sockets only where the database is across one: waiting for a thread alone takes half the system calls.
    pub fn new(sockets: bool) -> Self {
        let quiet = Arc::new(Quiet::default());
        let seen = quiet.clone();
        let mut builder = runtime::Builder::new_current_thread();
        if sockets {
            builder.enable_io();
        }
        let runtime = builder
            .enable_time()
            .on_thread_park(move || {
                if seen.is_reached()
                    && let Some(waker) = seen.waiting.lock().unwrap().take()
                {
                    waker.wake();
                }
            })
            .build()
            .unwrap();
        Self { runtime, quiet }
    }

    pub fn open(&self, url: &str) -> SharedStore {
        let store = self.runtime.block_on(vaiven::store::open(url)).unwrap();
        if self.quiet.keepers.load(Ordering::Relaxed) == 0 {
            self.quiet.keepers.store(self.runtime.metrics().num_alive_tasks(), Ordering::Relaxed);
        }
        store
    }

    /// Waits for something that is no verb of a store.
    pub fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Carries a verb out to its end.
    pub fn carry_out<T>(&self, verb: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            // A connection goes back to its pool in a task of its own; until it has, another one would be opened.
            self.quiet.reached().await;
            let done = verb.await;
            // That task begins now, and ends beside what the engine does next.
            tokio::task::yield_now().await;
            done
        })
    }
}

pub struct Gate {
    inner: SharedStore,
    base: Arc<Base>,
    wire: Wire,
    mood: Arc<Mood>,
    chance: Arc<Chance>,
    env: Env,
    /// Until when the disk answers nobody.
    stalled: Mutex<Option<DateTime<Utc>>>,
    /// Until when nothing can be written.
    full: Mutex<Option<DateTime<Utc>>>,
}

/// Verbs that a full disk leaves alone.
const READING: &[&str] = &[
    "keys",
    "record",
    "ties",
    "linked",
    "candidates",
    "scores",
    "replicas_by_id",
    "cursor",
    "unseen",
    "outlived",
    "replicas_of",
    "externals",
    "holding",
    "child_ids",
    "parents",
    "children_of",
    "soonest",
    "backlog",
    "jobs",
    "reservations",
    "kept_login",
    "unreserved_orders",
    "told_beside",
    "merged",
    "conflicts_of",
    "conflicts",
    "told",
    "pending",
    "opened",
    "live",
    "run_approvals",
    "waiting_approvals",
    "runs",
    "listings",
    "given_up",
    "run",
    "changes",
    "changes_of_run",
    "history",
    "written_often",
    "linked_since",
    "attempts",
    "gone_through_since",
    "rejections",
    "rejection_counts",
    "unreadable_articles",
    "counts",
    "circuit",
    "holder",
    "next_command",
    "noted",
    "notes",
    "counter",
];

impl Gate {
    pub fn new(
        inner: SharedStore,
        base: Arc<Base>,
        wire: Wire,
        mood: Arc<Mood>,
        chance: Arc<Chance>,
        env: Env,
    ) -> Self {
        Self { inner, base, wire, mood, chance, env, stalled: Mutex::default(), full: Mutex::default() }
    }

    /// What happens to the next verb.
    async fn enter(&self, verb: &'static str) -> Option<Trouble> {
        // An await of its own, so that a crash can fall between any two verbs.
        tokio::task::yield_now().await;
        let trouble = if self.wire.is_calm() { None } else { self.mood.in_the_store(&self.chance) };
        if let Some(trouble) = trouble {
            self.wire.note(format!("store {verb} {}", trouble.word()));
        }
        let lasting = match trouble {
            Some(Trouble::Stall) => Some(&self.stalled),
            Some(Trouble::Full) => Some(&self.full),
            _ => None,
        };
        if let Some(lasting) = lasting {
            let wait = chrono::Duration::seconds(i64::try_from(5 + self.chance.below(150)).unwrap());
            *lasting.lock().unwrap() = Some(self.env.now() + wait);
        }
        let until = *self.stalled.lock().unwrap();
        if let Some(until) = until {
            self.env.clock.sleep_until(until).await;
        }
        trouble
    }

    async fn pass<T>(&self, name: &'static str, verb: impl Future<Output = Result<T>>) -> Result<T> {
        let trouble = self.enter(name).await;
        if trouble == Some(Trouble::Busy) {
            return failed();
        }
        let is_full = self.full.lock().unwrap().is_some_and(|until| self.env.now() < until) && !self.wire.is_calm();
        if is_full && !READING.contains(&name) {
            let source = sqlx::Error::Io(std::io::ErrorKind::StorageFull.into());
            return Err(StoreError::Database { doing: "whatever it was", source });
        }
        let done = self.base.carry_out(verb);
        if trouble == Some(Trouble::Untold) { failed() } else { done }
    }
}

fn failed<T>() -> Result<T> {
    Err(StoreError::Database { doing: "whatever it was", source: sqlx::Error::PoolTimedOut })
}

/// Every verb of the store, by table family, handed to a macro.
macro_rules! verbs {
    ($with:ident) => {
        $with! {
            RecordStore {
                records(entity: &str, keys: &[String]) -> Result<Vec<RecordId>>;
                record(entity: &str, key: &str) -> Result<Option<RecordId>>;
                newest() -> Result<RecordId>;
                namesakes(entity: &str, keys: &[String]) -> Result<Vec<Vec<Namesake>>>;
                keys(records: &[RecordId]) -> Result<BTreeMap<RecordId, (String, String)>>;
                called(records: &[RecordId]) -> Result<BTreeMap<RecordId, Called>>;
                rivals(target: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<RecordId>>>;
                resolve(system: &str, refs: &[RefWanted]) -> Result<BTreeMap<RefWanted, RecordId>>;
                identify(system: &str, entity: &str, rows: &[Unidentified], weak: &[String]) -> Result<Vec<Identified>>;
                recognise(entity: &str, wanted: &[Vec<(String, String)>]) -> Result<Vec<Option<RecordId>>>;
            }
            LinkStore {
                ties(records: &[RecordId]) -> Result<BTreeMap<RecordId, Ties>>;
                linked(states: &[LinkState], limit: u32) -> Result<Vec<(RecordId, String, Link)>>;
                candidates(
                    target: &str, wanted: &[(RecordId, Vec<String>)]
                ) -> Result<BTreeMap<RecordId, Vec<Candidate>>>;
                scores(pairs: &[(RecordId, RecordId)]) -> Result<Vec<u8>>;
                set_links(
                    record: RecordId, systems: &[String], state: LinkState, jobs: &[NewJob], now: DateTime<Utc>
                ) -> Result<()>;
                set_apart(record: RecordId, others: &[RecordId], jobs: &[NewJob], now: DateTime<Utc>) -> Result<()>;
                join(record: RecordId, into: RecordId, jobs: &[NewJob], now: DateTime<Utc>) -> Result<bool>;
                split(
                    record: RecordId, system: &str, key: &str, jobs: &[NewJob], now: DateTime<Utc>
                ) -> Result<Option<RecordId>>;
            }
            ReplicaStore {
                replicas_by_id(system: &str, entity: &str, ids: &[String]) -> Result<Vec<Replica>>;
                replicas_of(records: &[RecordId]) -> Result<Vec<Replica>>;
                told_beside(target: &str, entity: &str) -> Result<Vec<Replica>>;
                holding(system: &str, entity: &str, texts: &[String]) -> Result<Vec<Replica>>;
                holders(
                    system: &str, entity: &str, record: RecordId, known: RecordId, ids: &[String]
                ) -> Result<BTreeMap<String, String>>;
                externals(system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, String>>;
                unseen(
                    system: &str, entity: &str, seen: &roaring::RoaringBitmap, after: u32, limit: usize
                ) -> Result<Vec<(u32, Replica)>>;
                outlived(
                    system: &str, entity: &str, target: &str, after: u32, limit: usize
                ) -> Result<Vec<(u32, Replica)>>;
                linked_since(after: i64, limit: u32) -> Result<Vec<Linked>>;
                live(system: &str, entity: &str) -> Result<u64>;
                counts() -> Result<Vec<(String, String, u64, u64)>>;
            }
            ChildStore {
                child_ids(
                    system: &str, wanted: &[(String, String)]
                ) -> Result<BTreeMap<(String, String), Vec<(String, RecordId)>>>;
                parents(system: &str, wanted: &[(String, String)]) -> Result<BTreeMap<(String, String), Vec<Parent>>>;
                children_of(records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<Child>>>;
            }
            RunStore {
                begin_run(system: &str, entity: &str, kind: RunKind, trigger: &str, now: DateTime<Utc>) -> Result<i64>;
                end_run(run: i64, balance: &Balance, error: Option<&str>, now: DateTime<Utc>) -> Result<()>;
                runs(limit: u32) -> Result<Vec<Run>>;
                run(run: i64) -> Result<Option<Run>>;
                listings() -> Result<Vec<LastListing>>;
            }
            PageStore {
                look_up_fingerprints(system: &str, entity: &str, rows: &[ShownRow]) -> Result<KnownRows>;
                commit_page(page: PageCommit, now: DateTime<Utc>) -> Result<Numbers>;
                cursor(system: &str, entity: &str) -> Result<Option<String>>;
            }
            QueueStore {
                enqueue(jobs: &[NewJob], now: DateTime<Utc>) -> Result<u64>;
                claim(claim: Claim<'_>, now: DateTime<Utc>) -> Result<Vec<Job>>;
                claim_exclusively(jobs: &[NewJob], owner: &str, lease: Duration, now: DateTime<Utc>) -> Result<Vec<Job>>;
                soonest(target: &str) -> Result<Vec<(String, DateTime<Utc>)>>;
                renew(jobs: &[(i64, i64)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<i64>>;
                release(jobs: &[(i64, i64)], now: DateTime<Utc>) -> Result<()>;
                intend(intents: &[(i64, i64, Intent)], now: DateTime<Utc>) -> Result<Vec<i64>>;
                hurry(later: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64>;
            }
            DeliveryStore {
                deliver(
                    target: &str, entity: &str, outcomes: Vec<Delivered>, now: DateTime<Utc>
                ) -> Result<DeliverSummary>;
                counter() -> Result<i64>;
            }
            JobStore {
                backlog() -> Result<Vec<Backlog>>;
                jobs(filter: &JobFilter) -> Result<Vec<Job>>;
                retry(filter: &JobFilter, now: DateTime<Utc>) -> Result<u64>;
                discard(filter: &JobFilter, now: DateTime<Utc>) -> Result<u64>;
                restore(filter: &JobFilter, now: DateTime<Utc>) -> Result<u64>;
                attempts(job: i64) -> Result<Vec<Attempt>>;
                gone_through_since(target: &str, jobs: &[i64]) -> Result<Vec<i64>>;
            }
            StockStore {
                unreserved_orders(entity: &str, shop: &str, target: &str, since: Option<i64>) -> Result<Vec<Replica>>;
                reservations(system: &str) -> Result<BTreeMap<RecordId, Decimal>>;
                reserve(system: &str, quantities: &[(RecordId, Decimal)]) -> Result<()>;
            }
            MergeStore {
                merged(records: &[RecordId]) -> Result<BTreeMap<RecordId, Merged>>;
                told(system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Fields>>;
                conflicts_of(records: &[RecordId]) -> Result<Vec<Conflict>>;
                conflicts(limit: u32) -> Result<Vec<Conflict>>;
                resolve_conflict(
                    conflict: &Conflict, settlement: &Settlement, jobs: &[NewJob], now: DateTime<Utc>
                ) -> Result<bool>;
            }
            DifferenceStore {
                differences(all: bool, limit: u32) -> Result<Vec<Difference>>;
                differences_of(system: &str, records: &[RecordId]) -> Result<Vec<Difference>>;
                difference_count() -> Result<u64>;
                accept_differences(differences: &[(String, RecordId, String)], now: DateTime<Utc>) -> Result<u64>;
            }
            BrakeStore {
                pending() -> Result<Vec<Pending>>;
                opened(run: i64, target: &str, after: i64, limit: usize) -> Result<Vec<Job>>;
                newcomers(run: i64, target: &str, after: i64, limit: usize) -> Result<Vec<Job>>;
                set_run_approval(run: i64, held: Option<&HeldJobs>, now: DateTime<Utc>) -> Result<bool>;
                run_approvals(jobs: &[i64]) -> Result<BTreeMap<i64, OpenedBy>>;
                waiting_approvals() -> Result<Vec<WaitingApproval>>;
                decide_run(run: i64, approved: bool, now: DateTime<Utc>) -> Result<Option<u64>>;
            }
            HistoryStore {
                changes(record: RecordId, limit: u32) -> Result<Vec<Change>>;
                changes_of_run(run: i64, after: i64, limit: u32) -> Result<Vec<Change>>;
                history(records: &[RecordId]) -> Result<Vec<Change>>;
                written_often(
                    system: &str, records: &[RecordId], since: DateTime<Utc>, often: u32
                ) -> Result<Vec<(RecordId, ChangeOp, Fields)>>;
            }
            RejectionStore {
                rejections(system: Option<&str>, limit: u32) -> Result<Vec<(String, String, Rejection)>>;
                unread(system: &str, entity: &str) -> Result<Vec<Unread>>;
                dismiss(system: &str, entity: &str, row: Option<&str>, now: DateTime<Utc>) -> Result<u64>;
                rejection_counts() -> Result<Vec<(String, String, u64, u64)>>;
                unreadable_articles(system: &str, entity: &str) -> Result<Option<BTreeSet<String>>>;
            }
            LeaseStore {
                acquire(name: &str, owner: &str, lease: Duration, now: DateTime<Utc>) -> Result<Option<Lease>>;
                keep(lease: &Lease, until: Duration, now: DateTime<Utc>) -> Result<bool>;
                drop_lease(lease: &Lease) -> Result<()>;
                holder(name: &str, now: DateTime<Utc>) -> Result<Option<String>>;
            }
            LoginStore {
                kept_login(name: &str) -> Result<Option<String>>;
                keep_login(lease: &Lease, system: &str, value: &str, now: DateTime<Utc>) -> Result<bool>;
            }
            CommandStore {
                place_command(verb: &str, scope: &str, now: DateTime<Utc>) -> Result<i64>;
                next_command() -> Result<Option<Command>>;
                close_command(order: i64) -> Result<()>;
            }
            NoteStore {
                note(name: &str, value: &Value) -> Result<()>;
                noted(name: &str) -> Result<Option<Value>>;
                notes(beginning: &str) -> Result<Vec<(String, Value)>>;
            }
            CircuitStore {
                circuit(system: &str) -> Result<Circuit>;
                set_circuit(system: &str, standing: &Circuit) -> Result<()>;
                lift(system: &str, now: DateTime<Utc>) -> Result<u64>;
            }
            GivenUpStore {
                given_up() -> Result<Vec<(GivenUp, String, String, u64)>>;
            }
            Housekeeping {
                recover(now: DateTime<Utc>) -> Result<u64>;
                purge(before: DateTime<Utc>, slice: u32) -> Result<u64>;
            }
        }
    };
}
pub(crate) use verbs;

macro_rules! gated {
    ($($family:ident { $($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)* })*) => {
        $(#[async_trait]
        impl $family for Gate {
            $(async fn $name(&self, $($arg: $kind),*) -> $ret {
                self.pass(stringify!($name), self.inner.$name($($arg),*)).await
            })*
        })*
    };
}

verbs!(gated);
