//! Deliberate bugs between the engine and its store, its systems and the wire: the checker has to catch each of them,
//! or it would not catch an honest one either.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use vaiven::{
    adapter::http::{Request, Response, Transport, TransportError},
    failure::{Class, Failure},
    mapping::Fields,
    port::{
        Capabilities, Checked, Op, Outcome, Pace, Page, Probe, Progress, PullRequest, RowBody, SourceRow, System, Write,
    },
    store::*,
};

use crate::{
    gate::verbs,
    models::{SUPER, decoded},
    setting::OUTLET,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Nothing is stored before a create is sent.
    SkippedIntent,
    /// The watermark is stored with the first page of a listing instead of its last.
    EarlyCursor,
    /// A worker whose lease was lost goes on as if it held it.
    ForgottenFence,
    /// A change that comes while its job is being carried out is dropped.
    DroppedChange,
    /// What a full pull no longer finds is not taken for gone.
    IgnoredTombstone,
    /// A lost answer counts as a failure, so that the create is sent again.
    LostIsFailed,
    /// A job to be tried again is taken for done.
    LostJob,
    /// What was sent is not remembered beside what the target made of it.
    ForgottenAlteration,
    /// A listing that gives fewer rows than it announces is taken for whole.
    UnprovenListing,
    /// What is sold and not yet known to the source of the stock is not taken off.
    ForgottenFlight,
    /// What people may edit at the target is written without a look at it.
    BlindWrite,
    /// What is on hand is taken for what can be sold.
    OnHandIsAvailable,
    /// A date from the future moves the watermark there.
    FutureCursor,
    /// A time of the wall that was reached is past, in the hour that comes twice as well.
    LostHour,
    /// Whoever reads an order takes every amount for the company's own currency.
    DroppedCurrency,
    /// A create lacks what both sides may edit.
    HalfCreate,
    /// What cannot be read counts as not there.
    UnreadableIsAbsent,
    /// A write that is refused for a value that another object has is refused for good.
    RefusalIsFinal,
    /// What was sent counts as what is there, whatever the target made of it.
    AlteredIsDone,
    /// What answers and listings tell of the ids of sub-objects is not kept.
    ForgottenChildren,
    /// What a second shop sells is not taken off.
    FlightOfOneShop,
    /// What nobody has paid counts as paid.
    UnpaidIsPaid,
    /// An order that cannot be read may be of any article.
    OddOrderFreezes,
    /// A number means the same object whoever gave it.
    GlobalNumbers,
    /// What joins later is only told what changes from then on.
    ForgottenJoin,
    /// An id that a target answers with is the record's, whose ever it was.
    StolenId,
    /// An id that a target answers with is the record's child's, whose ever child it was.
    StolenChild,
    /// A price takes the place of whatever the shop sells the article for.
    SaleWrittenOver,
    /// Values stand in addresses as they are.
    RawPaths,
    /// What is wanted is not brought to the precision that its target keeps.
    ForgottenPrecision,
    /// Another rule to recognise customers by leaves what is known as it was indexed.
    ForgottenRule,
    /// What nobody is to know any more is a value like any other.
    ErasedIsEdited,
    /// An order's state is a value like any other.
    StateRunsBack,
    /// What a mapping named before counts, though it names it no more.
    StaleField,
}

impl Bug {
    /// Whether it stands in what the company's files say, not in the engine.
    pub fn is_written_down(self) -> bool {
        matches!(self, Self::ForgottenPrecision | Self::ErasedIsEdited | Self::StateRunsBack | Self::StaleField)
    }

    pub const ALL: &'static [Self] = &[
        Self::SkippedIntent,
        Self::EarlyCursor,
        Self::ForgottenFence,
        Self::DroppedChange,
        Self::IgnoredTombstone,
        Self::LostIsFailed,
        Self::LostJob,
        Self::ForgottenAlteration,
        Self::UnprovenListing,
        Self::ForgottenFlight,
        Self::BlindWrite,
        Self::OnHandIsAvailable,
        Self::FutureCursor,
        Self::LostHour,
        Self::DroppedCurrency,
        Self::HalfCreate,
        Self::UnreadableIsAbsent,
        Self::RefusalIsFinal,
        Self::AlteredIsDone,
        Self::ForgottenChildren,
        Self::FlightOfOneShop,
        Self::UnpaidIsPaid,
        Self::OddOrderFreezes,
        Self::GlobalNumbers,
        Self::ForgottenJoin,
        Self::StolenId,
        Self::StolenChild,
        Self::SaleWrittenOver,
        Self::RawPaths,
        Self::ForgottenPrecision,
        Self::ForgottenRule,
        Self::ErasedIsEdited,
        Self::StateRunsBack,
        Self::StaleField,
    ];
}

/// A store with a bug before it.
pub struct SpoiltStore {
    bug: Bug,
    inner: Arc<dyn Store>,
    held: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The latest fence of each job.
    fences: BTreeMap<i64, i64>,
    /// Jobs being carried out: target and record.
    running: BTreeMap<i64, (String, RecordId)>,
}

impl SpoiltStore {
    pub fn new(bug: Bug, inner: Arc<dyn Store>) -> Self {
        Self { bug, inner, held: Mutex::default() }
    }

    fn fence(&self, job: i64, fence: i64) -> i64 {
        match self.bug {
            Bug::ForgottenFence => self.held.lock().unwrap().fences.get(&job).copied().unwrap_or(fence),
            _ => fence,
        }
    }
}

/// The object that a delivery tells of, as if it had been this record's all along.
fn known_before(replica: &ReplicaWrite, entity: &str) -> Replica {
    Replica {
        system: String::new(),
        entity: entity.to_owned(),
        record: replica.record,
        id: replica.id.clone(),
        fields: Fields::new(),
        sent: Fields::new(),
        version: None,
        fingerprint: None,
        gone_at: None,
        written: 0,
    }
}

fn without_alterations(replica: &mut ReplicaWrite) {
    replica.sent.clear();
}

impl SpoiltStore {
    async fn spoilt_commit_page(&self, mut page: PageCommit, now: DateTime<Utc>) -> Result<Numbers> {
        match self.bug {
            Bug::DroppedChange => {
                let held = self.held.lock().unwrap();
                let running: BTreeSet<_> = held.running.values().collect();
                page.jobs.retain(|job| !running.contains(&(job.target.clone(), job.record)));
            }
            Bug::IgnoredTombstone => {
                page.replicas.retain(|replica| !replica.gone);
                if page.balance.gone > 0 {
                    page.jobs.clear();
                    page.changes.clear();
                }
            }
            Bug::ForgottenJoin if page.notes.iter().any(|(name, _)| name.starts_with("covered:")) => {
                page.jobs.clear();
            }
            Bug::ForgottenRule if !page.compared.is_empty() && page.balance == Balance::default() => {
                page.replicas.iter_mut().for_each(|replica| replica.matches.clear());
            }
            Bug::ForgottenAlteration => {
                page.replicas.iter_mut().for_each(without_alterations);
                page.reprints.iter_mut().for_each(|(_, _, _, sent)| sent.clear());
            }
            _ => {}
        }
        self.inner.commit_page(page, now).await
    }

    async fn spoilt_claim(&self, claim: Claim<'_>, now: DateTime<Utc>) -> Result<Vec<Job>> {
        let mut jobs = self.inner.claim(claim, now).await?;
        let mut held = self.held.lock().unwrap();
        for job in &mut jobs {
            if self.bug == Bug::ForgottenFence {
                // Nor does its own clock tell the worker that its time is over.
                job.due = DateTime::<Utc>::MAX_UTC;
            }
            held.fences.insert(job.id, job.fence);
            held.running.insert(job.id, (job.target.clone(), job.record));
        }
        Ok(jobs)
    }

    async fn spoilt_renew(&self, jobs: &[(i64, i64)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<i64>> {
        let jobs: Vec<_> = jobs.iter().map(|(job, fence)| (*job, self.fence(*job, *fence))).collect();
        self.inner.renew(&jobs, lease, now).await
    }

    async fn spoilt_intend(&self, intents: &[(i64, i64, Intent)], now: DateTime<Utc>) -> Result<Vec<i64>> {
        if self.bug == Bug::SkippedIntent {
            return Ok(intents.iter().map(|(job, _, _)| *job).collect());
        }
        let intents: Vec<_> =
            intents.iter().map(|(job, fence, intent)| (*job, self.fence(*job, *fence), intent.clone())).collect();
        let held = self.inner.intend(&intents, now).await?;
        Ok(match self.bug {
            Bug::ForgottenFence => intents.iter().map(|(job, _, _)| *job).collect(),
            _ => held,
        })
    }

    async fn spoilt_deliver(
        &self,
        target: &str,
        entity: &str,
        mut outcomes: Vec<Delivered>,
        now: DateTime<Utc>,
    ) -> Result<DeliverSummary> {
        for outcome in &mut outcomes {
            outcome.fence = self.fence(outcome.job, outcome.fence);
            self.held.lock().unwrap().running.remove(&outcome.job);
            if let (Bug::LostJob, Verdict::Retry { .. }) = (self.bug, &outcome.verdict) {
                outcome.verdict = Verdict::Done { noop: true };
            }
            if let (Bug::ForgottenAlteration, Some(replica)) = (self.bug, &mut outcome.replica) {
                without_alterations(replica);
            }
            if self.bug == Bug::StolenChild {
                outcome.sole.clear();
            }
            if let (Bug::StolenId, Some(replica)) = (self.bug, &outcome.replica) {
                outcome.before.get_or_insert_with(|| known_before(replica, entity));
            }
        }
        self.inner.deliver(target, entity, outcomes, now).await
    }

    async fn spoilt_identify(
        &self,
        system: &str,
        entity: &str,
        rows: &[Unidentified],
        weak: &[String],
    ) -> Result<Vec<Identified>> {
        let mut rows = rows.to_vec();
        if self.bug == Bug::GlobalNumbers && entity == "order" {
            for row in &mut rows {
                let known = self.inner.record(entity, &row.key).await?;
                *row = Unidentified { taken_for: known, unsure: false, evicts: None, ..row.clone() };
            }
        }
        self.inner.identify(system, entity, &rows, weak).await
    }

    async fn spoilt_unreserved_orders(
        &self,
        entity: &str,
        shop: &str,
        target: &str,
        since: Option<i64>,
    ) -> Result<Vec<Replica>> {
        if self.bug == Bug::ForgottenFlight || (self.bug == Bug::FlightOfOneShop && shop == OUTLET) {
            return Ok(Vec::new());
        }
        self.inner.unreserved_orders(entity, shop, target, since).await
    }

    async fn spoilt_unreadable_articles(&self, system: &str, entity: &str) -> Result<Option<BTreeSet<String>>> {
        let named = self.inner.unreadable_articles(system, entity).await?;
        Ok(named.filter(|named| self.bug != Bug::OddOrderFreezes || named.is_empty()))
    }
}

/// The verbs that a bug may spoil; all others go straight to the store.
macro_rules! perhaps_spoilt {
    ($store:ident.commit_page($($arg:ident),*)) => { $store.spoilt_commit_page($($arg),*).await };
    ($store:ident.claim($($arg:ident),*)) => { $store.spoilt_claim($($arg),*).await };
    ($store:ident.renew($($arg:ident),*)) => { $store.spoilt_renew($($arg),*).await };
    ($store:ident.intend($($arg:ident),*)) => { $store.spoilt_intend($($arg),*).await };
    ($store:ident.deliver($($arg:ident),*)) => { $store.spoilt_deliver($($arg),*).await };
    ($store:ident.identify($($arg:ident),*)) => { $store.spoilt_identify($($arg),*).await };
    ($store:ident.unreserved_orders($($arg:ident),*)) => { $store.spoilt_unreserved_orders($($arg),*).await };
    ($store:ident.unreadable_articles($($arg:ident),*)) => { $store.spoilt_unreadable_articles($($arg),*).await };
    ($store:ident.$name:ident($($arg:ident),*)) => { $store.inner.$name($($arg),*).await };
}

macro_rules! spoilt {
    ($($family:ident { $($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)* })*) => {
        $(#[async_trait]
        impl $family for SpoiltStore {
            $(async fn $name(&self, $($arg: $kind),*) -> $ret {
                perhaps_spoilt!(self.$name($($arg),*))
            })*
        })*
    };
}

verbs!(spoilt);

/// A system with a bug between it and the engine.
pub struct SpoiltSystem {
    bug: Bug,
    inner: Arc<dyn System>,
    /// Of products, as the engine is told them.
    facts: Option<Capabilities>,
    /// The latest date that listings have shown and that counts, by entity.
    reached: Mutex<BTreeMap<String, String>>,
}

impl SpoiltSystem {
    pub fn new(bug: Bug, inner: Arc<dyn System>) -> Self {
        let mut facts = inner.capabilities("product").cloned();
        if let (Bug::BlindWrite, Some(facts)) = (bug, &mut facts) {
            facts.read = false;
        }
        Self { bug, inner, facts, reached: Mutex::default() }
    }

    /// What the engine is shown of a row.
    fn spoil(&self, entity: &str, row: &mut SourceRow) {
        let RowBody::Json(body) = &mut row.body else { return };
        match (self.bug, entity) {
            (Bug::OnHandIsAvailable, "stock") => body["reserved"] = 0.into(),
            (Bug::ForgottenChildren, "customer") => {
                for address in body["addresses"].as_array_mut().into_iter().flatten() {
                    address["id"] = Value::Null;
                }
            }
            (Bug::DroppedCurrency, "order") => body["currency"] = "EUR".into(),
            (Bug::AlteredIsDone, "product") => know(body),
            (Bug::UnpaidIsPaid, "order") if body["status"] == "pending" => body["status"] = "paid".into(),
            _ => {}
        }
    }

    /// Leaves out of a listing what it would not hold if it had been asked for from a date in the future, or of the
    /// wall.
    fn skip(&self, request: &PullRequest<'_>, rows: &mut Vec<SourceRow>) {
        let mut reached = self.reached.lock().unwrap();
        if let Some(reached) = reached.get(request.entity).filter(|_| request.since.is_some()) {
            rows.retain(|row| date_of(row).is_none_or(|date| date >= *reached));
        }
        let counts = |date: &String| self.bug == Bug::LostHour || date.as_str() > "2027";
        if let Some(latest) = rows.iter().filter_map(date_of).filter(counts).max() {
            reached.insert(request.entity.to_owned(), latest);
        }
    }
}

#[async_trait]
impl System for SpoiltSystem {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self, entity: &str) -> Option<&Capabilities> {
        if entity == "product" { self.facts.as_ref() } else { self.inner.capabilities(entity) }
    }

    fn version(&self, entity: &str) -> u64 {
        self.inner.version(entity)
    }

    async fn pull(&self, request: &PullRequest<'_>) -> std::result::Result<Page, Failure> {
        let mut page = self.inner.pull(request).await?;
        if self.bug == Bug::EarlyCursor && page.next.is_some() {
            page.cursor = page.rows.iter().filter_map(date_of).max();
        }
        if matches!(self.bug, Bug::FutureCursor | Bug::LostHour) {
            self.skip(request, &mut page.rows);
        }
        if self.bug == Bug::UnreadableIsAbsent {
            page.rows.retain(is_readable);
            // Else the listing would be found short.
            page.total = None;
        }
        page.rows.iter_mut().for_each(|row| self.spoil(request.entity, row));
        Ok(page)
    }

    async fn acknowledge(&self, entity: &str, receipt: &Value) -> std::result::Result<(), Failure> {
        self.inner.acknowledge(entity, receipt).await
    }

    async fn read(&self, entity: &str, ids: &[String]) -> std::result::Result<Vec<SourceRow>, Failure> {
        let mut rows = self.inner.read(entity, ids).await?;
        if self.bug == Bug::UnreadableIsAbsent {
            rows.retain(is_readable);
        }
        rows.iter_mut().for_each(|row| self.spoil(entity, row));
        Ok(rows)
    }

    async fn find(&self, entity: &str, probe: &Probe<'_>) -> std::result::Result<Vec<SourceRow>, Failure> {
        let mut rows = self.inner.find(entity, probe).await?;
        if self.bug == Bug::UnreadableIsAbsent {
            rows.retain(is_readable);
        }
        Ok(rows)
    }

    async fn write(&self, entity: &str, mut writes: Vec<Write>, progress: &dyn Progress) -> Vec<Outcome> {
        if self.bug == Bug::HalfCreate {
            for write in writes.iter_mut().filter(|write| write.op == Op::Create) {
                for body in [&mut write.body, &mut write.whole] {
                    body.as_object_mut().and_then(|body| body.remove("text"));
                }
            }
        }
        if self.bug == Bug::SaleWrittenOver && entity == "price" {
            for write in &mut writes {
                write.body["sale"] = "".into();
            }
        }
        let mut outcomes = self.inner.write(entity, writes, progress).await;
        if self.bug == Bug::LostIsFailed {
            for failure in outcomes.iter_mut().filter_map(|outcome| outcome.result.as_mut().err()) {
                if failure.class == Class::Unknown {
                    failure.class = Class::Transient;
                }
            }
        }
        for outcome in &mut outcomes {
            match (self.bug, &mut outcome.result) {
                // It names something else, so that nobody looks for who has the value.
                (Bug::RefusalIsFinal, Err(failure)) if failure.class == Class::Rejected => {
                    failure.field = Some("name".into());
                }
                (Bug::AlteredIsDone, Ok(written)) => written.stored.iter_mut().for_each(know),
                (Bug::ForgottenChildren, Ok(written)) => written.child_ids.clear(),
                _ => {}
            }
        }
        outcomes
    }

    async fn admit(&self, entity: &str, writes: &[&Write]) -> Vec<Option<String>> {
        self.inner.admit(entity, writes).await
    }

    fn pace(&self) -> Option<Pace> {
        self.inner.pace()
    }

    async fn check(&self) -> Vec<Checked> {
        self.inner.check().await
    }
}

fn date_of(row: &SourceRow) -> Option<String> {
    match &row.body {
        RowBody::Json(row) => row["updated"].as_str().map(str::to_owned),
        RowBody::Record { .. } => None,
    }
}

fn is_readable(row: &SourceRow) -> bool {
    let RowBody::Json(row) = &row.body else { return true };
    ["name", "status"].iter().all(|field| !row[field].is_array())
}

/// Of an article without a tax class, the one that the shop did not know.
fn know(row: &mut Value) {
    if row["tax"] == "" {
        row["tax"] = SUPER.into();
    }
}

/// A wire with a bug before it.
#[derive(Debug)]
pub struct SpoiltWire<T> {
    pub bug: Bug,
    pub inner: T,
}

#[async_trait]
impl<T: Transport> Transport for SpoiltWire<T> {
    async fn send(&self, mut request: Request) -> std::result::Result<Response, TransportError> {
        if self.bug == Bug::RawPaths {
            let (address, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
            request.url = format!("{}?{query}", decoded(address));
        }
        let mut response = self.inner.send(request).await?;
        // What would prove a listing short.
        if self.bug == Bug::UnprovenListing
            && let Ok(mut body) = serde_json::from_slice::<Value>(&response.body)
            && body["rows"].is_array()
        {
            body["total"] = Value::Null;
            response.body = body.to_string().into_bytes().into();
        }
        Ok(response)
    }
}
