//! Delays a worker's calls to the store for longer than its lease, as if it were paused or cut off. Meanwhile other
//! workers take over its jobs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use vaiven::internals::{env::Env, mapping::Fields, store::*};

use crate::{
    faults::{Fault, Faults},
    rng::Rng,
    setting::Setting,
    store_methods::store_methods,
    wire::Wire,
};

/// A store whose callers may lose their leases on the way to it.
pub struct LaggingStore {
    inner: Arc<dyn Store>,
    wire: Wire,
    faults: Arc<Faults>,
    rng: Arc<Rng>,
    env: Env,
    is_hesitant: bool,
    /// By job: until when its worker is cut off.
    jobs_cut_off: Mutex<BTreeMap<JobId, DateTime<Utc>>>,
    /// If set: until when every worker is cut off, whatever its jobs.
    all_cut_off: Mutex<Option<DateTime<Utc>>>,
}

impl LaggingStore {
    /// Wraps `inner`; faults and clock are those of `wire`. In the setting `Hesitant` calls are delayed often.
    pub fn new(inner: Arc<dyn Store>, wire: Wire, rng: Arc<Rng>, setting: Setting) -> Self {
        let (faults, env) = (wire.faults.clone(), wire.env.clone());
        let is_hesitant = setting == Setting::Hesitant;
        let (jobs_cut_off, all_cut_off) = (Mutex::default(), Mutex::default());
        Self { inner, wire, faults, rng, env, is_hesitant, jobs_cut_off, all_cut_off }
    }

    /// Draws whether the caller of `method` is cut off, and until when.
    fn draw_cut_off(&self, method: &str) -> Option<DateTime<Utc>> {
        let share = if self.is_hesitant { 250 } else { 60 };
        let is_possible = self.is_hesitant || self.faults.has(Fault::CutOff);
        if self.wire.is_calm() || !is_possible || !self.rng.permille(share) {
            return None;
        }
        let seconds = i64::try_from(40 + self.rng.below(120)).unwrap();
        self.wire.note(format!("store {method} cut-off for {seconds} s"));
        Some(self.env.now() + chrono::Duration::seconds(seconds))
    }

    /// Delays a worker that is about to report on `jobs`.
    async fn delay_jobs(&self, method: &str, jobs: Vec<JobId>) {
        let Some(until) = self.draw_cut_off(method) else { return };
        self.jobs_cut_off.lock().unwrap().extend(jobs.into_iter().map(|job| (job, until)));
        self.env.clock.sleep_until(until).await;
    }

    /// Delays a worker between its last read of the store and its writes.
    async fn delay_writes(&self) {
        let Some(until) = self.is_hesitant.then(|| self.draw_cut_off("children_of")).flatten() else { return };
        *self.all_cut_off.lock().unwrap() = Some(until);
        self.env.clock.sleep_until(until).await;
    }

    async fn renew_late(&self, jobs: &[(JobId, Fence)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<JobId>> {
        let until = {
            let (jobs_cut_off, all_cut_off) = (self.jobs_cut_off.lock().unwrap(), *self.all_cut_off.lock().unwrap());
            jobs.iter().filter_map(|(job, _)| jobs_cut_off.get(job).copied()).chain(all_cut_off).max()
        };
        if let Some(until) = until.filter(|until| *until > now) {
            self.env.clock.sleep_until(until).await;
        }
        self.inner.renew(jobs, lease, self.env.now()).await
    }

    async fn children_late(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<Child>>> {
        self.delay_writes().await;
        self.inner.children_of(records).await
    }

    async fn intend_late(&self, intents: &[(JobId, Fence, Intent)], now: DateTime<Utc>) -> Result<Vec<JobId>> {
        self.delay_jobs("intend", intents.iter().map(|(job, _, _)| *job).collect()).await;
        self.inner.intend(intents, now).await
    }

    async fn deliver_late(
        &self,
        target: &str,
        entity: &str,
        outcomes: Vec<Delivered>,
        now: DateTime<Utc>,
    ) -> Result<DeliverSummary> {
        self.delay_jobs("deliver", outcomes.iter().map(|outcome| outcome.job).collect()).await;
        self.inner.deliver(target, entity, outcomes, now).await
    }
}

/// The methods that may be delayed; all others go straight to the store.
macro_rules! delayed {
    ($store:ident.renew($($arg:ident),*)) => { $store.renew_late($($arg),*).await };
    ($store:ident.children_of($($arg:ident),*)) => { $store.children_late($($arg),*).await };
    ($store:ident.intend($($arg:ident),*)) => { $store.intend_late($($arg),*).await };
    ($store:ident.deliver($($arg:ident),*)) => { $store.deliver_late($($arg),*).await };
    ($store:ident.$name:ident($($arg:ident),*)) => { $store.inner.$name($($arg),*).await };
}

macro_rules! lagging {
    ($($family:ident { $($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)* })*) => {
        $(#[async_trait]
        impl $family for LaggingStore {
            $(async fn $name(&self, $($arg: $kind),*) -> $ret {
                delayed!(self.$name($($arg),*))
            })*
        })*
    };
}

store_methods!(lagging);
