//! A store with a planted bug between it and the engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use vaiven::internals::{mapping::Fields, store::*};

use crate::{mutants::Mutant, setting::OUTLET, store_methods::store_methods};

/// Behaves like `inner`, except for what the planted bug changes.
pub struct MutantStore {
    mutant: Mutant,
    inner: Arc<dyn Store>,
    seen: Mutex<Seen>,
}

/// What the engine has been given so far.
#[derive(Default)]
struct Seen {
    /// The latest fence of each job.
    fences: BTreeMap<JobId, Fence>,
    /// Target and record of each job being delivered.
    running: BTreeMap<JobId, (String, RecordId)>,
}

impl MutantStore {
    /// Puts `mutant` in front of `inner`.
    pub fn new(mutant: Mutant, inner: Arc<dyn Store>) -> Self {
        Self { mutant, inner, seen: Mutex::default() }
    }

    fn fence(&self, job: JobId, fence: Fence) -> Fence {
        match self.mutant {
            Mutant::ForgottenFence => self.seen.lock().unwrap().fences.get(&job).copied().unwrap_or(fence),
            _ => fence,
        }
    }
}

/// The replica before a delivery, as if its object had always been this record's.
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

/// Forgets what was sent if the target stored something else.
fn without_alterations(replica: &mut ReplicaWrite) {
    replica.sent.clear();
}

impl MutantStore {
    async fn mutated_commit_page(&self, mut page: PageCommit, now: DateTime<Utc>) -> Result<Numbers> {
        match self.mutant {
            Mutant::DroppedChange => {
                let seen = self.seen.lock().unwrap();
                let running: BTreeSet<_> = seen.running.values().collect();
                page.jobs.retain(|job| !running.contains(&(job.target.clone(), job.record)));
            }
            Mutant::IgnoredTombstone => {
                page.replicas.retain(|replica| !replica.gone);
                if page.balance.gone > 0 {
                    page.jobs.clear();
                    page.changes.clear();
                }
            }
            Mutant::ForgottenJoin if page.notes.iter().any(|(name, _)| name.starts_with("covered:")) => {
                page.jobs.clear();
            }
            Mutant::ForgottenRule if !page.compared.is_empty() && page.balance == Balance::default() => {
                page.replicas.iter_mut().for_each(|replica| replica.matches.clear());
            }
            Mutant::ForgottenAlteration => {
                page.replicas.iter_mut().for_each(without_alterations);
                page.new_fingerprints.iter_mut().for_each(|(_, _, _, sent)| sent.clear());
            }
            _ => {}
        }
        self.inner.commit_page(page, now).await
    }

    async fn mutated_claim(&self, claim: Claim<'_>, now: DateTime<Utc>) -> Result<Vec<Job>> {
        let mut jobs = self.inner.claim(claim, now).await?;
        let mut seen = self.seen.lock().unwrap();
        for job in &mut jobs {
            if self.mutant == Mutant::ForgottenFence {
                // Otherwise the worker would stop by its own clock.
                job.due = DateTime::<Utc>::MAX_UTC;
            }
            seen.fences.insert(job.id, job.fence);
            seen.running.insert(job.id, (job.target.clone(), job.record));
        }
        Ok(jobs)
    }

    async fn mutated_renew(&self, jobs: &[(JobId, Fence)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<JobId>> {
        let jobs: Vec<_> = jobs.iter().map(|(job, fence)| (*job, self.fence(*job, *fence))).collect();
        self.inner.renew(&jobs, lease, now).await
    }

    async fn mutated_intend(&self, intents: &[(JobId, Fence, Intent)], now: DateTime<Utc>) -> Result<Vec<JobId>> {
        if self.mutant == Mutant::SkippedIntent {
            return Ok(intents.iter().map(|(job, _, _)| *job).collect());
        }
        let intents: Vec<_> =
            intents.iter().map(|(job, fence, intent)| (*job, self.fence(*job, *fence), intent.clone())).collect();
        let accepted = self.inner.intend(&intents, now).await?;
        Ok(match self.mutant {
            Mutant::ForgottenFence => intents.iter().map(|(job, _, _)| *job).collect(),
            _ => accepted,
        })
    }

    async fn mutated_deliver(
        &self,
        target: &str,
        entity: &str,
        mut outcomes: Vec<Delivered>,
        now: DateTime<Utc>,
    ) -> Result<DeliverSummary> {
        for outcome in &mut outcomes {
            outcome.fence = self.fence(outcome.job, outcome.fence);
            self.seen.lock().unwrap().running.remove(&outcome.job);
            if let (Mutant::LostJob, Verdict::Retry { .. }) = (self.mutant, &outcome.verdict) {
                outcome.verdict = Verdict::Done { noop: true };
            }
            if let (Mutant::ForgottenAlteration, Some(replica)) = (self.mutant, &mut outcome.replica) {
                without_alterations(replica);
            }
            if self.mutant == Mutant::StolenChild {
                outcome.sole.clear();
            }
            if let (Mutant::StolenId, Some(replica)) = (self.mutant, &outcome.replica) {
                outcome.before.get_or_insert_with(|| known_before(replica, entity));
            }
        }
        self.inner.deliver(target, entity, outcomes, now).await
    }

    async fn mutated_identify(
        &self,
        system: &str,
        entity: &str,
        rows: &[Unidentified],
        weak: &[String],
    ) -> Result<Vec<Identified>> {
        let mut rows = rows.to_vec();
        if self.mutant == Mutant::GlobalNumbers && entity == "order" {
            for row in &mut rows {
                let known = self.inner.record(entity, &row.key).await?;
                *row = Unidentified { taken_for: known, unsure: false, evicts: None, ..row.clone() };
            }
        }
        self.inner.identify(system, entity, &rows, weak).await
    }

    async fn mutated_unreserved_orders(
        &self,
        entity: &str,
        shop: &str,
        target: &str,
        since: Option<i64>,
    ) -> Result<Vec<Replica>> {
        if self.mutant == Mutant::ForgottenReservations
            || (self.mutant == Mutant::ReservationsOfOneShop && shop == OUTLET)
        {
            return Ok(Vec::new());
        }
        self.inner.unreserved_orders(entity, shop, target, since).await
    }

    async fn mutated_unreadable_articles(&self, system: &str, entity: &str) -> Result<Option<BTreeSet<String>>> {
        let named = self.inner.unreadable_articles(system, entity).await?;
        Ok(named.filter(|named| self.mutant != Mutant::UnreadableOrderBlocks || named.is_empty()))
    }
}

/// The methods that a planted bug changes; all others go straight to the store.
macro_rules! mutated {
    ($store:ident.commit_page($($arg:ident),*)) => { $store.mutated_commit_page($($arg),*).await };
    ($store:ident.claim($($arg:ident),*)) => { $store.mutated_claim($($arg),*).await };
    ($store:ident.renew($($arg:ident),*)) => { $store.mutated_renew($($arg),*).await };
    ($store:ident.intend($($arg:ident),*)) => { $store.mutated_intend($($arg),*).await };
    ($store:ident.deliver($($arg:ident),*)) => { $store.mutated_deliver($($arg),*).await };
    ($store:ident.identify($($arg:ident),*)) => { $store.mutated_identify($($arg),*).await };
    ($store:ident.unreserved_orders($($arg:ident),*)) => { $store.mutated_unreserved_orders($($arg),*).await };
    ($store:ident.unreadable_articles($($arg:ident),*)) => { $store.mutated_unreadable_articles($($arg),*).await };
    ($store:ident.$name:ident($($arg:ident),*)) => { $store.inner.$name($($arg),*).await };
}

macro_rules! mutant_store {
    ($($family:ident { $($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)* })*) => {
        $(#[async_trait]
        impl $family for MutantStore {
            $(async fn $name(&self, $($arg: $kind),*) -> $ret {
                mutated!(self.$name($($arg),*))
            })*
        })*
    };
}

store_methods!(mutant_store);
