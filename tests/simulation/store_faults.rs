//! A wrapper of the real store that injects faults: a busy database, a commit whose confirmation is lost, a stalled
//! disk, a full disk. Each method runs to its end before anything else happens.

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
    store_methods::store_methods,
    store_runtime::StoreRuntime,
    wire::Wire,
};

/// A store that fails as `Faults` draws it.
pub struct FaultyStore {
    inner: SharedStore,
    runtime: Arc<StoreRuntime>,
    wire: Wire,
    faults: Arc<Faults>,
    rng: Arc<Rng>,
    env: Env,
    /// If set: until when every method has to wait.
    stalled_until: Mutex<Option<DateTime<Utc>>>,
    /// If set: until when writes fail.
    full_until: Mutex<Option<DateTime<Utc>>>,
}

/// Methods that only read: they work on a full disk, too.
const READ_METHODS: &[&str] = &[
    "keys",
    "record",
    "ties",
    "linked",
    "candidates",
    "scores",
    "replicas_by_id",
    "cursor",
    "reading",
    "heard",
    "fired",
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
    "dismissed",
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

impl FaultyStore {
    /// Wraps `inner`, whose methods run on `runtime`; faults and clock are those of `wire`.
    pub fn new(inner: SharedStore, runtime: Arc<StoreRuntime>, wire: Wire, rng: Arc<Rng>) -> Self {
        let (faults, env) = (wire.faults.clone(), wire.env.clone());
        let (stalled_until, full_until) = (Mutex::default(), Mutex::default());
        Self { inner, runtime, wire, faults, rng, env, stalled_until, full_until }
    }

    /// Draws the fault of the next call and waits while the disk is stalled.
    async fn before_call(&self, method: &'static str) -> Option<Fault> {
        // Yield first: a crash must be able to happen between any two calls.
        tokio::task::yield_now().await;
        let fault = if self.wire.is_calm() { None } else { self.faults.in_the_store(&self.rng) };
        if let Some(fault) = fault {
            self.wire.note(format!("store {method} {}", fault.word()));
        }
        let fault_until = match fault {
            Some(Fault::Stall) => Some(&self.stalled_until),
            Some(Fault::Full) => Some(&self.full_until),
            _ => None,
        };
        if let Some(fault_until) = fault_until {
            let wait = chrono::Duration::seconds(i64::try_from(5 + self.rng.below(150)).unwrap());
            *fault_until.lock().unwrap() = Some(self.env.now() + wait);
        }
        let until = *self.stalled_until.lock().unwrap();
        if let Some(until) = until {
            self.env.clock.sleep_until(until).await;
        }
        fault
    }

    /// Runs a method, unless a fault prevents it; `Fault::Untold` hides its success.
    async fn call<T>(&self, name: &'static str, method: impl Future<Output = Result<T>>) -> Result<T> {
        let fault = self.before_call(name).await;
        if fault == Some(Fault::Busy) {
            return timed_out();
        }
        let is_full =
            self.full_until.lock().unwrap().is_some_and(|until| self.env.now() < until) && !self.wire.is_calm();
        if is_full && !READ_METHODS.contains(&name) {
            let source = sqlx::Error::Io(std::io::ErrorKind::StorageFull.into());
            return Err(StoreError::Database { doing: "whatever it was", source });
        }
        let done = self.runtime.run_method(method);
        if fault == Some(Fault::Untold) { timed_out() } else { done }
    }
}

fn timed_out<T>() -> Result<T> {
    Err(StoreError::Database { doing: "whatever it was", source: sqlx::Error::PoolTimedOut })
}

macro_rules! faulty_store {
    ($($family:ident { $($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)* })*) => {
        $(#[async_trait]
        impl $family for FaultyStore {
            $(async fn $name(&self, $($arg: $kind),*) -> $ret {
                self.call(stringify!($name), self.inner.$name($($arg),*)).await
            })*
        })*
    };
}

store_methods!(faulty_store);
