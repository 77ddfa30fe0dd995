//! The store over one of the two databases.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use roaring::RoaringBitmap;
use rust_decimal::Decimal;
use serde_json::Value;

use super::{
    Approval, Attempt, Backlog, Balance, Called, Candidate, Change, ChangeOp, Child, Claim, Conflict, DeliverSummary,
    Delivered, Difference, GivenUp, Held, Identified, Intent, Job, JobFilter, LastListing, Lease, Link, LinkState,
    Linked, Merged, Namesake, NewJob, Numbers, Order, PageCommit, Parent, Pending, RecordId, RefWanted, Rejection,
    Replica, Result, Ruled, Run, RunKind, Settlement, Sighted, Sighting, Standing, Store, Ties, Unidentified, Unread,
    names::Names, sql::Pool, statistics::Growth,
};
use crate::mapping::Fields;

/// Store in SQLite or PostgreSQL. Its verbs are in the modules of their table families; this is the list of them.
pub(super) struct Database {
    pub pool: Pool,
    names: Names,
    pub(super) growth: Growth,
}

impl Database {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, names: Names::default(), growth: Growth::default() }
    }

    /// Number of a system's, entity's, list's or field's name. Not inside a transaction, unless the name is known already.
    pub(super) async fn name(&self, text: &str) -> Result<i64> {
        self.names.id(&self.pool, text).await
    }

    pub(super) async fn text(&self, name: i64) -> Result<String> {
        self.names.text(&self.pool, name).await
    }
}

#[async_trait]
impl Store for Database {
    fn place(&self) -> String {
        self.pool.place()
    }

    async fn records(&self, entity: &str, keys: &[String]) -> Result<Vec<RecordId>> {
        self.records(entity, keys).await
    }

    async fn record(&self, entity: &str, key: &str) -> Result<Option<RecordId>> {
        self.record(entity, key).await
    }

    async fn keys(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, (String, String)>> {
        self.keys(records).await
    }

    async fn namesakes(&self, entity: &str, keys: &[String]) -> Result<Vec<Vec<Namesake>>> {
        self.namesakes(entity, keys).await
    }

    async fn called(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Called>> {
        self.called(records).await
    }

    async fn rivals(&self, target: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<RecordId>>> {
        self.rivals(target, records).await
    }

    async fn resolve(&self, system: &str, refs: &[RefWanted]) -> Result<BTreeMap<RefWanted, RecordId>> {
        self.resolve(system, refs).await
    }

    async fn identify(
        &self,
        system: &str,
        entity: &str,
        rows: &[Unidentified],
        weak: &[String],
    ) -> Result<Vec<Identified>> {
        self.identify(system, entity, rows, weak).await
    }

    async fn recognise(&self, entity: &str, wanted: &[Vec<(String, String)>]) -> Result<Vec<Option<RecordId>>> {
        self.recognise(entity, wanted).await
    }

    async fn ties(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Ties>> {
        self.ties(records).await
    }

    async fn linked(&self, states: &[LinkState], limit: u32) -> Result<Vec<(RecordId, String, Link)>> {
        self.linked(states, limit).await
    }

    async fn candidates(
        &self,
        target: &str,
        wanted: &[(RecordId, Vec<String>)],
    ) -> Result<BTreeMap<RecordId, Vec<Candidate>>> {
        self.candidates(target, wanted).await
    }

    async fn scores(&self, pairs: &[(RecordId, RecordId)]) -> Result<Vec<u8>> {
        self.scores(pairs).await
    }

    async fn set_links(
        &self,
        record: RecordId,
        systems: &[String],
        state: LinkState,
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.set_links(record, systems, state, jobs, now).await
    }

    async fn set_apart(
        &self,
        record: RecordId,
        others: &[RecordId],
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.set_apart(record, others, jobs, now).await
    }

    async fn join(&self, record: RecordId, into: RecordId, jobs: &[NewJob], now: DateTime<Utc>) -> Result<bool> {
        self.join(record, into, jobs, now).await
    }

    async fn split(
        &self,
        record: RecordId,
        system: &str,
        key: &str,
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<Option<RecordId>> {
        self.split(record, system, key, jobs, now).await
    }

    async fn begin_run(
        &self,
        system: &str,
        entity: &str,
        kind: RunKind,
        trigger: &str,
        now: DateTime<Utc>,
    ) -> Result<i64> {
        self.begin_run(system, entity, kind, trigger, now).await
    }

    async fn end_run(&self, run: i64, balance: &Balance, error: Option<&str>, now: DateTime<Utc>) -> Result<()> {
        self.end_run(run, balance, error, now).await
    }

    async fn sight(&self, system: &str, entity: &str, rows: &[Sighting]) -> Result<Sighted> {
        self.sight(system, entity, rows).await
    }

    async fn replicas_by_id(&self, system: &str, entity: &str, ids: &[String]) -> Result<Vec<Replica>> {
        self.replicas_by_id(system, entity, ids).await
    }

    async fn commit_page(&self, page: PageCommit, now: DateTime<Utc>) -> Result<Numbers> {
        self.commit_page(page, now).await
    }

    async fn cursor(&self, system: &str, entity: &str) -> Result<Option<String>> {
        self.cursor(system, entity).await
    }

    async fn forget_cursor(&self, system: &str, entity: &str) -> Result<()> {
        self.forget_cursor(system, entity).await
    }

    async fn unseen(
        &self,
        system: &str,
        entity: &str,
        seen: &RoaringBitmap,
        after: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Replica)>> {
        self.unseen(system, entity, seen, after, limit).await
    }

    async fn outlived(
        &self,
        system: &str,
        entity: &str,
        target: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Replica)>> {
        self.outlived(system, entity, target, after, limit).await
    }

    async fn counter(&self) -> Result<i64> {
        self.counter().await
    }

    async fn enqueue(&self, jobs: &[NewJob], now: DateTime<Utc>) -> Result<u64> {
        self.enqueue(jobs, now).await
    }

    async fn claim(&self, claim: Claim<'_>, now: DateTime<Utc>) -> Result<Vec<Job>> {
        self.claim(claim, now).await
    }

    async fn seize(&self, jobs: &[NewJob], owner: &str, lease: Duration, now: DateTime<Utc>) -> Result<Vec<Job>> {
        self.seize(jobs, owner, lease, now).await
    }

    async fn renew(&self, jobs: &[(i64, i64)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<i64>> {
        self.renew(jobs, lease, now).await
    }

    async fn release(&self, jobs: &[(i64, i64)], now: DateTime<Utc>) -> Result<()> {
        self.release(jobs, now).await
    }

    async fn intend(&self, intents: &[(i64, i64, Intent)], now: DateTime<Utc>) -> Result<Vec<i64>> {
        self.intend(intents, now).await
    }

    async fn replicas_of(&self, records: &[RecordId]) -> Result<Vec<Replica>> {
        self.replicas_of(records).await
    }

    async fn newest(&self) -> Result<RecordId> {
        self.newest().await
    }

    async fn holders(
        &self,
        system: &str,
        entity: &str,
        record: RecordId,
        known: RecordId,
        ids: &[String],
    ) -> Result<BTreeMap<String, String>> {
        self.holders(system, entity, record, known, ids).await
    }

    async fn holding(&self, system: &str, entity: &str, texts: &[String]) -> Result<Vec<Replica>> {
        self.holding(system, entity, texts).await
    }

    async fn externals(&self, system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, String>> {
        self.externals(system, records).await
    }

    async fn parts(
        &self,
        system: &str,
        wanted: &[(String, String)],
    ) -> Result<BTreeMap<(String, String), Vec<(String, RecordId)>>> {
        self.parts(system, wanted).await
    }

    async fn parents(
        &self,
        system: &str,
        wanted: &[(String, String)],
    ) -> Result<BTreeMap<(String, String), Vec<Parent>>> {
        self.parents(system, wanted).await
    }

    async fn children_of(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<Child>>> {
        self.children_of(records).await
    }

    async fn deliver(
        &self,
        target: &str,
        entity: &str,
        outcomes: Vec<Delivered>,
        now: DateTime<Utc>,
    ) -> Result<DeliverSummary> {
        self.deliver(target, entity, outcomes, now).await
    }

    async fn soonest(&self, target: &str) -> Result<Vec<(String, DateTime<Utc>)>> {
        self.soonest(target).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>> {
        self.backlog().await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        self.jobs(filter).await
    }

    async fn retry(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64> {
        self.retry(filter, now).await
    }

    async fn discard(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64> {
        self.discard(filter, now).await
    }

    async fn restore(&self, filter: &JobFilter, now: DateTime<Utc>) -> Result<u64> {
        self.restore(filter, now).await
    }

    async fn in_flight(&self, entity: &str, shop: &str, target: &str, since: Option<i64>) -> Result<Vec<Replica>> {
        self.in_flight(entity, shop, target, since).await
    }

    async fn told_beside(&self, target: &str, entity: &str) -> Result<Vec<Replica>> {
        self.told_beside(target, entity).await
    }

    async fn held(&self, system: &str) -> Result<BTreeMap<RecordId, Decimal>> {
        self.held(system).await
    }

    async fn hold(&self, system: &str, quantities: &[(RecordId, Decimal)]) -> Result<()> {
        self.hold(system, quantities).await
    }

    async fn merged(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Merged>> {
        self.merged(records).await
    }

    async fn conflicts_of(&self, records: &[RecordId]) -> Result<Vec<Conflict>> {
        self.conflicts_of(records).await
    }

    async fn told(&self, system: &str, records: &[RecordId]) -> Result<BTreeMap<RecordId, Fields>> {
        self.told(system, records).await
    }

    async fn conflicts(&self, limit: u32) -> Result<Vec<Conflict>> {
        self.conflicts(limit).await
    }

    async fn settle_conflict(
        &self,
        conflict: &Conflict,
        settlement: &Settlement,
        jobs: &[NewJob],
        now: DateTime<Utc>,
    ) -> Result<bool> {
        self.settle_conflict(conflict, settlement, jobs, now).await
    }

    async fn differences(&self, all: bool, limit: u32) -> Result<Vec<Difference>> {
        self.differences(all, limit).await
    }

    async fn differences_of(&self, system: &str, records: &[RecordId]) -> Result<Vec<Difference>> {
        self.differences_of(system, records).await
    }

    async fn difference_count(&self) -> Result<u64> {
        self.difference_count().await
    }

    async fn accept_differences(&self, differences: &[(String, RecordId, String)], now: DateTime<Utc>) -> Result<u64> {
        self.accept_differences(differences, now).await
    }

    async fn pending(&self) -> Result<Vec<Pending>> {
        self.pending().await
    }

    async fn opened(&self, run: i64, target: &str, after: i64, limit: usize) -> Result<Vec<Job>> {
        self.opened(run, target, after, limit).await
    }

    async fn newcomers(&self, run: i64, target: &str, after: i64, limit: usize) -> Result<Vec<Job>> {
        self.newcomers(run, target, after, limit).await
    }

    async fn live(&self, system: &str, entity: &str) -> Result<u64> {
        self.live(system, entity).await
    }

    async fn rule(&self, run: i64, held: Option<&Held>, now: DateTime<Utc>) -> Result<bool> {
        self.rule(run, held, now).await
    }

    async fn rulings(&self, jobs: &[i64]) -> Result<BTreeMap<i64, Ruled>> {
        self.rulings(jobs).await
    }

    async fn approvals(&self) -> Result<Vec<Approval>> {
        self.approvals().await
    }

    async fn decide_run(&self, run: i64, approved: bool, now: DateTime<Utc>) -> Result<Option<u64>> {
        self.decide_run(run, approved, now).await
    }

    async fn runs(&self, limit: u32) -> Result<Vec<Run>> {
        self.runs(limit).await
    }

    async fn changes(&self, record: RecordId, limit: u32) -> Result<Vec<Change>> {
        self.changes(record, limit).await
    }

    async fn listings(&self) -> Result<Vec<LastListing>> {
        self.listings().await
    }

    async fn given_up(&self) -> Result<Vec<(GivenUp, String, String, u64)>> {
        self.given_up().await
    }

    async fn run(&self, run: i64) -> Result<Option<Run>> {
        self.run(run).await
    }

    async fn changes_of_run(&self, run: i64, after: i64, limit: u32) -> Result<Vec<Change>> {
        self.changes_of_run(run, after, limit).await
    }

    async fn history(&self, records: &[RecordId]) -> Result<Vec<Change>> {
        self.history(records).await
    }

    async fn written_often(
        &self,
        system: &str,
        records: &[RecordId],
        since: DateTime<Utc>,
        often: u32,
    ) -> Result<Vec<(RecordId, ChangeOp, Fields)>> {
        self.written_often(system, records, since, often).await
    }

    async fn linked_since(&self, after: i64, limit: u32) -> Result<Vec<Linked>> {
        self.linked_since(after, limit).await
    }

    async fn attempts(&self, job: i64) -> Result<Vec<Attempt>> {
        self.attempts(job).await
    }

    async fn gone_through_since(&self, target: &str, jobs: &[i64]) -> Result<Vec<i64>> {
        self.gone_through_since(target, jobs).await
    }

    async fn rejections(&self, system: Option<&str>, limit: u32) -> Result<Vec<(String, String, Rejection)>> {
        self.rejections(system, limit).await
    }

    async fn unread(&self, system: &str, entity: &str) -> Result<Vec<Unread>> {
        self.unread(system, entity).await
    }

    async fn dismiss(&self, system: &str, entity: &str, row: Option<&str>, now: DateTime<Utc>) -> Result<u64> {
        self.dismiss(system, entity, row, now).await
    }

    async fn rejection_counts(&self) -> Result<Vec<(String, String, u64, u64)>> {
        self.rejection_counts().await
    }

    async fn unreadable_articles(&self, system: &str, entity: &str) -> Result<Option<BTreeSet<String>>> {
        self.unreadable_articles(system, entity).await
    }

    async fn counts(&self) -> Result<Vec<(String, String, u64, u64)>> {
        self.counts().await
    }

    async fn recover(&self, now: DateTime<Utc>) -> Result<u64> {
        self.recover(now).await
    }

    async fn hurry(&self, later: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64> {
        self.hurry(later, now).await
    }

    async fn standing(&self, system: &str) -> Result<Standing> {
        self.standing(system).await
    }

    async fn lift(&self, system: &str, now: DateTime<Utc>) -> Result<u64> {
        self.lift(system, now).await
    }

    async fn set_standing(&self, system: &str, standing: &Standing) -> Result<()> {
        self.set_standing(system, standing).await
    }

    async fn acquire(&self, name: &str, owner: &str, lease: Duration, now: DateTime<Utc>) -> Result<Option<Lease>> {
        self.acquire(name, owner, lease, now).await
    }

    async fn keep(&self, lease: &Lease, until: Duration, now: DateTime<Utc>) -> Result<bool> {
        self.keep(lease, until, now).await
    }

    async fn drop_lease(&self, lease: &Lease) -> Result<()> {
        self.drop_lease(lease).await
    }

    async fn holder(&self, name: &str, now: DateTime<Utc>) -> Result<Option<String>> {
        self.holder(name, now).await
    }

    async fn kept_login(&self, name: &str) -> Result<Option<String>> {
        self.kept_login(name).await
    }

    async fn keep_login(&self, lease: &Lease, system: &str, value: &str, now: DateTime<Utc>) -> Result<bool> {
        self.keep_login(lease, system, value, now).await
    }

    async fn place_order(&self, verb: &str, scope: &str, now: DateTime<Utc>) -> Result<i64> {
        self.place_order(verb, scope, now).await
    }

    async fn next_order(&self) -> Result<Option<Order>> {
        self.next_order().await
    }

    async fn close_order(&self, order: i64) -> Result<()> {
        self.close_order(order).await
    }

    async fn note(&self, name: &str, value: &Value) -> Result<()> {
        self.note(name, value).await
    }

    async fn noted(&self, name: &str) -> Result<Option<Value>> {
        self.noted(name).await
    }

    async fn notes(&self, beginning: &str) -> Result<Vec<(String, Value)>> {
        self.notes(beginning).await
    }

    async fn purge(&self, before: DateTime<Utc>, slice: u32) -> Result<u64> {
        self.purge(before, slice).await
    }
}
