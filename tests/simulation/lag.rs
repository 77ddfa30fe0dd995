//! A worker that the store does not hear of for longer than its lease: paused, swapped out, cut off. The others go on
//! meanwhile, and take its jobs over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use vaiven::{env::Env, mapping::Fields, store::*};

use crate::{
    chance::Chance,
    gate::verbs,
    mood::{Mood, Trouble},
    setting::Setting,
    wire::Wire,
};

pub struct LaggingStore {
    inner: Arc<dyn Store>,
    wire: Wire,
    mood: Arc<Mood>,
    chance: Arc<Chance>,
    env: Env,
    is_hesitant: bool,
    /// Jobs of workers that are cut off, and until when.
    cut: Mutex<BTreeMap<i64, DateTime<Utc>>>,
    /// Until when everybody is, who has yet to say which jobs he is at.
    all: Mutex<Option<DateTime<Utc>>>,
}

impl LaggingStore {
    pub fn new(
        inner: Arc<dyn Store>,
        wire: Wire,
        mood: Arc<Mood>,
        chance: Arc<Chance>,
        env: Env,
        setting: Setting,
    ) -> Self {
        let is_hesitant = setting == Setting::Hesitant;
        Self { inner, wire, mood, chance, env, is_hesitant, cut: Mutex::default(), all: Mutex::default() }
    }

    /// Until when somebody is cut off who is about to say something.
    fn cut_off(&self, verb: &str) -> Option<DateTime<Utc>> {
        let often = if self.is_hesitant { 250 } else { 60 };
        let may_be = self.is_hesitant || self.mood.has(Trouble::CutOff);
        if self.wire.is_calm() || !may_be || !self.chance.hits(often) {
            return None;
        }
        let seconds = i64::try_from(40 + self.chance.below(120)).unwrap();
        self.wire.note(format!("store {verb} cut-off for {seconds} s"));
        Some(self.env.now() + chrono::Duration::seconds(seconds))
    }

    /// Before a worker says something of its jobs.
    async fn lag(&self, verb: &str, jobs: Vec<i64>) {
        let Some(until) = self.cut_off(verb) else { return };
        self.cut.lock().unwrap().extend(jobs.into_iter().map(|job| (job, until)));
        self.env.clock.sleep_until(until).await;
    }

    /// Before a worker asks the last thing that it has to know for its writes.
    async fn lag_before_writes(&self) {
        let Some(until) = self.is_hesitant.then(|| self.cut_off("children_of")).flatten() else { return };
        *self.all.lock().unwrap() = Some(until);
        self.env.clock.sleep_until(until).await;
    }

    async fn renew_late(&self, jobs: &[(i64, i64)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<i64>> {
        let until = {
            let (cut, all) = (self.cut.lock().unwrap(), *self.all.lock().unwrap());
            jobs.iter().filter_map(|(job, _)| cut.get(job).copied()).chain(all).max()
        };
        if let Some(until) = until.filter(|until| *until > now) {
            self.env.clock.sleep_until(until).await;
        }
        self.inner.renew(jobs, lease, self.env.now()).await
    }

    async fn children_late(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Vec<Child>>> {
        self.lag_before_writes().await;
        self.inner.children_of(records).await
    }

    async fn intend_late(&self, intents: &[(i64, i64, Intent)], now: DateTime<Utc>) -> Result<Vec<i64>> {
        self.lag("intend", intents.iter().map(|(job, _, _)| *job).collect()).await;
        self.inner.intend(intents, now).await
    }

    async fn deliver_late(
        &self,
        target: &str,
        entity: &str,
        outcomes: Vec<Delivered>,
        now: DateTime<Utc>,
    ) -> Result<DeliverSummary> {
        self.lag("deliver", outcomes.iter().map(|outcome| outcome.job).collect()).await;
        self.inner.deliver(target, entity, outcomes, now).await
    }
}

/// The verbs before which a worker may lag; all others go straight to the store.
macro_rules! perhaps_late {
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
                perhaps_late!(self.$name($($arg),*))
            })*
        })*
    };
}

verbs!(lagging);
