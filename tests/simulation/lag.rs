//! A worker that the store does not hear of for longer than its lease: paused, swapped out, cut off. The others go on meanwhile,
//! and take its jobs over.

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
        Self { inner, wire, mood, chance, env, is_hesitant, cut: Mutex::default() }
    }

    /// Before a worker says something of its jobs.
    async fn lag(&self, verb: &str, jobs: Vec<i64>) {
        let often = if self.is_hesitant { 250 } else { 60 };
        let may_be = self.is_hesitant || self.mood.has(Trouble::CutOff);
        if self.wire.is_calm() || !may_be || !self.chance.hits(often) {
            return;
        }
        let seconds = i64::try_from(40 + self.chance.below(120)).unwrap();
        self.wire.note(format!("store {verb} cut-off for {seconds} s"));
        let until = self.env.now() + chrono::Duration::seconds(seconds);
        self.cut.lock().unwrap().extend(jobs.into_iter().map(|job| (job, until)));
        self.env.clock.sleep_until(until).await;
    }
}

macro_rules! lagging {
    (
        $($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)*
        ; $($($other:ident($($that:ident: $what:ty),*) -> $gives:ty;)*);*
    ) => {
        #[async_trait]
        impl Store for LaggingStore {
            async fn renew(&self, jobs: &[(i64, i64)], lease: Duration, now: DateTime<Utc>) -> Result<Vec<i64>> {
                let until = {
                    let cut = self.cut.lock().unwrap();
                    jobs.iter().filter_map(|(job, _)| cut.get(job)).max().copied()
                };
                if let Some(until) = until.filter(|until| *until > now) {
                    self.env.clock.sleep_until(until).await;
                }
                self.inner.renew(jobs, lease, self.env.now()).await
            }

            async fn intend(&self, intents: &[(i64, i64, Intent)], now: DateTime<Utc>) -> Result<Vec<i64>> {
                self.lag("intend", intents.iter().map(|(job, _, _)| *job).collect()).await;
                self.inner.intend(intents, now).await
            }

            async fn deliver(
                &self,
                target: &str,
                entity: &str,
                outcomes: Vec<Delivered>,
                now: DateTime<Utc>,
            ) -> Result<DeliverSummary> {
                self.lag("deliver", outcomes.iter().map(|outcome| outcome.job).collect()).await;
                self.inner.deliver(target, entity, outcomes, now).await
            }

            $($(async fn $other(&self, $($that: $what),*) -> $gives {
                self.inner.$other($($that),*).await
            })*)*
        }
    };
}

verbs!(lagging);
