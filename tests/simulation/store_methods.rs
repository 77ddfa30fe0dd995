//! The list of all methods of the store's traits, for macros that implement the traits on wrappers of a store.

/// Hands all methods to the macro `$with`, grouped by trait. A method that is added to a trait of the store is added
/// here too.
macro_rules! store_methods {
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
                resolve(system: &str, refs: &[RefQuery]) -> Result<BTreeMap<RefQuery, RecordId>>;
                identify(system: &str, entity: &str, rows: &[Unidentified], weak: &[String]) -> Result<Vec<Identified>>;
                recognise(entity: &str, asked: &[Vec<(String, String)>]) -> Result<Vec<Option<RecordId>>>;
            }
            LinkStore {
                ties(records: &[RecordId]) -> Result<BTreeMap<RecordId, Ties>>;
                linked(states: &[LinkState], limit: u32) -> Result<Vec<(RecordId, String, Link)>>;
                candidates(
                    target: &str, asked: &[(RecordId, Vec<String>)]
                ) -> Result<BTreeMap<RecordId, Vec<Candidate>>>;
                scores(pairs: &[(RecordId, RecordId)]) -> Result<Vec<u8>>;
                set_links(
                    record: RecordId, links: (&[String], LinkState), jobs: &[NewJob], now: DateTime<Utc>
                ) -> Result<()>;
                set_apart(record: RecordId, others: &[RecordId], jobs: &[NewJob], now: DateTime<Utc>) -> Result<()>;
                join(record: RecordId, into: RecordId, jobs: &[NewJob], now: DateTime<Utc>) -> Result<bool>;
                split(
                    record: RecordId, from: (&str, &str), jobs: &[NewJob], now: DateTime<Utc>
                ) -> Result<Option<RecordId>>;
            }
            ReplicaStore {
                replicas_by_id(system: &str, entity: &str, ids: &[String]) -> Result<Vec<Replica>>;
                replicas_of(records: &[RecordId]) -> Result<Vec<Replica>>;
                replicas_beside(target: &str, entity: &str) -> Result<Vec<Replica>>;
                replicas_with_values(system: &str, entity: &str, texts: &[String]) -> Result<Vec<Replica>>;
                holders(
                    system: &str, entity: &str, record: RecordId, ids: &[String]
                ) -> Result<BTreeMap<String, (RecordId, String)>>;
                externals(system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, String>>;
                unseen(
                    system: &str, entity: &str, seen: &roaring::RoaringBitmap, slice: Slice
                ) -> Result<Vec<(u32, Replica)>>;
                outlived(
                    system: &str, entity: &str, target: &str, slice: Slice
                ) -> Result<Vec<(u32, Replica)>>;
                linked_since(after: i64, limit: u32) -> Result<Vec<Linked>>;
                live(system: &str, entity: &str) -> Result<u64>;
                counts() -> Result<Vec<(String, String, u64, u64)>>;
            }
            ChildStore {
                child_ids(
                    system: &str, asked: &[(String, String)]
                ) -> Result<BTreeMap<(String, String), Vec<(String, RecordId)>>>;
                parents(system: &str, asked: &[(String, String)]) -> Result<BTreeMap<(String, String), Vec<Parent>>>;
                children_of(records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<Child>>>;
            }
            RunStore {
                begin_run(run: NewRun<'_>, now: DateTime<Utc>) -> Result<RunId>;
                end_run(run: RunId, balance: &Balance, error: Option<&str>, now: DateTime<Utc>) -> Result<()>;
                runs(limit: u32) -> Result<Vec<Run>>;
                run(run: RunId) -> Result<Option<Run>>;
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
                renew(jobs: &[(JobId, Fence)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<JobId>>;
                release(jobs: &[(JobId, Fence)], now: DateTime<Utc>) -> Result<()>;
                intend(intents: &[(JobId, Fence, Intent)], now: DateTime<Utc>) -> Result<Vec<JobId>>;
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
                attempts(job: JobId) -> Result<Vec<Attempt>>;
                gone_through_since(target: &str, jobs: &[JobId]) -> Result<Vec<JobId>>;
            }
            StockStore {
                unreserved_orders(entity: &str, shop: &str, target: &str, since: Option<i64>) -> Result<Vec<Replica>>;
                reservations(system: &str) -> Result<BTreeMap<RecordId, Decimal>>;
                reserve(system: &str, quantities: &[(RecordId, Decimal)]) -> Result<()>;
            }
            MergeStore {
                merged(records: &[RecordId]) -> Result<BTreeMap<RecordId, Merged>>;
                sent_shared_fields(system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Fields>>;
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
                opened(run: RunId, target: &str, after: JobId, limit: usize) -> Result<Vec<Job>>;
                newcomers(run: RunId, target: &str, after: JobId, limit: usize) -> Result<Vec<Job>>;
                set_run_approval(run: RunId, held: Option<&HeldJobs>, now: DateTime<Utc>) -> Result<bool>;
                run_approvals(jobs: &[JobId]) -> Result<BTreeMap<JobId, OpenedBy>>;
                waiting_approvals() -> Result<Vec<WaitingApproval>>;
                decide_run(run: RunId, approved: bool, now: DateTime<Utc>) -> Result<Option<u64>>;
            }
            HistoryStore {
                changes(record: RecordId, limit: u32) -> Result<Vec<Change>>;
                changes_of_run(run: RunId, after: i64, limit: u32) -> Result<Vec<Change>>;
                history(records: &[RecordId]) -> Result<Vec<Change>>;
                written_often(
                    system: &str, records: &[RecordId], since: DateTime<Utc>, often: u32
                ) -> Result<Vec<(RecordId, ChangeOp, Fields)>>;
            }
            RejectionStore {
                rejections(system: Option<&str>, limit: u32) -> Result<Vec<(String, String, Rejection)>>;
                unread(system: &str, entity: &str) -> Result<Vec<UnreadableRow>>;
                dismissed(system: &str, entity: &str, ids: &[String]) -> Result<BTreeSet<String>>;
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
                close_command(command: i64) -> Result<()>;
            }
            ReadingStore {
                reading(system: &str, entity: &str) -> Result<Reading>;
                heard(shop: &str, entity: &str) -> Result<Option<i64>>;
                set_adopted(system: &str, entity: &str) -> Result<()>;
                set_revision(system: &str, entity: &str, revision: MappingRevision) -> Result<()>;
                set_whole(system: &str, entity: &str, at: DateTime<Utc>) -> Result<()>;
                set_proven(system: &str, entity: &str, proven: &Proven) -> Result<()>;
                set_heard(shop: &str, entity: &str, heard: i64) -> Result<()>;
            }
            FiringStore {
                fired(flow: &str, kind: RunKind) -> Result<Option<DateTime<Utc>>>;
                set_fired(flow: &str, kind: RunKind, at: DateTime<Utc>) -> Result<()>;
            }
            NoteStore {
                note(name: &str, value: &Value) -> Result<()>;
                noted(name: &str) -> Result<Option<Value>>;
                notes(beginning: &str) -> Result<Vec<(String, Value)>>;
            }
            CircuitStore {
                circuit(system: &str) -> Result<Circuit>;
                set_circuit(system: &str, circuit: &Circuit) -> Result<()>;
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
pub(crate) use store_methods;
