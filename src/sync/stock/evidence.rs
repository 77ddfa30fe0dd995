//! What a reading proves: which orders the source of the stock knew when the reading began, and when a shop's orders
//! were last read. Time is counted by the store's counter, which each delivery raises.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    port::Capabilities,
    store::{JobFilter, JobState, RecordId, Result},
    sync::context::Context,
};

pub(in crate::sync) const STOCK: &str = "stock";
pub(in crate::sync) const ORDER: &str = "order";

/// Orders by the system that has them.
type Orders = BTreeMap<String, BTreeSet<RecordId>>;

/// Up to where the figures of a source are known to tell of the orders that arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sync) struct Known {
    /// Of deliveries up to this number.
    pub(in crate::sync) since: i64,
    /// When the last listing began, whatever it gave.
    listed: i64,
    /// By target: orders still to be delivered that were there, and not by our doing, when the first listing began.
    #[serde(default)]
    pub(in crate::sync) had: Orders,
}

/// When the last reading of a shop's orders began, and the one before it of which everybody's stock has heard.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::sync) struct Turns {
    pub(in crate::sync) before: i64,
    last: i64,
}

/// The last reading of a shop's orders of which everybody's stock has heard, by when it began.
const HEARD: &str = "heard:";

fn name(system: &str, entity: &str) -> String {
    format!("read:{system}/{entity}")
}

async fn noted<T: serde::de::DeserializeOwned>(context: &Context, system: &str, entity: &str) -> Result<Option<T>> {
    let noted = context.store.noted(&name(system, entity)).await?;
    Ok(noted.and_then(|noted| serde_json::from_value(noted).ok()))
}

fn note(system: &str, entity: &str, value: &impl Serialize) -> (String, Value) {
    (name(system, entity), serde_json::to_value(value).unwrap_or_default())
}

impl Known {
    pub(in crate::sync) async fn of(context: &Context, source: &str) -> Result<Option<Self>> {
        noted(context, source, STOCK).await
    }
}

impl Turns {
    pub(in crate::sync) async fn of(context: &Context, shop: &str) -> Result<Option<Self>> {
        noted(context, shop, ORDER).await
    }

    /// The next reading, which begins now: until everybody's stock has heard of the last one, what was told since the one before
    /// it stays unsure.
    async fn next(context: &Context, shop: &str) -> Result<Self> {
        let last = context.store.counter().await?;
        let Some(turns) = Self::of(context, shop).await? else { return Ok(Self { before: last, last }) };
        let heard = context.store.noted(&format!("{HEARD}{shop}")).await?.and_then(|heard| heard.as_i64());
        let is_heard = heard.is_some_and(|heard| heard >= turns.last);
        Ok(Self { before: if is_heard { turns.last } else { turns.before }, last })
    }

    /// Everybody's stock has heard of what this reading has shown.
    pub(in crate::sync) async fn are_heard(self, context: &Context, shop: &str) -> Result<()> {
        context.store.note(&format!("{HEARD}{shop}"), &self.last.into()).await
    }
}

/// A reading that has begun, and what is noted with its last page.
pub(in crate::sync) enum Evidence {
    /// Of a source's stock: what the source knew when it began.
    Stock {
        source: String,
        began: i64,
        before: Known,
        /// `had` of the reading before, without the orders that have been delivered by now.
        had: Orders,
        /// The cursor that the listing began from.
        cursor: Option<String>,
    },
    /// Of a shop's orders.
    Orders { shop: String, turns: Turns },
}

impl Evidence {
    /// Nothing where nobody's stock depends on it. Called before anything is requested.
    pub(in crate::sync) async fn begin(
        context: &Context,
        system: &str,
        entity: &str,
        cursor: Option<&str>,
    ) -> Result<Option<Self>> {
        match entity {
            ORDER if !context.routes.sold_from(system).is_empty() => {
                Ok(Some(Self::Orders { shop: system.to_owned(), turns: Turns::next(context, system).await? }))
            }
            // Also where nobody's orders are minded yet: a flow that brings some may join later.
            STOCK if context.routes.flows().iter().any(|flow| flow.from == system && flow.carries(STOCK)) => {
                Self::of_stock(context, system, cursor).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn of_stock(context: &Context, source: &str, cursor: Option<&str>) -> Result<Self> {
        let began = context.store.counter().await?;
        let before = match Known::of(context, source).await? {
            Some(known) => known,
            // Before the first reading there is no figure that could be too old.
            None => {
                let known = Known { since: began, listed: began, had: had_before(context, source).await? };
                let (name, value) = note(source, STOCK, &known);
                context.store.note(&name, &value).await?;
                known
            }
        };
        let mut had = before.had.clone();
        for (target, orders) in &mut had {
            let open = undelivered(context, target).await?;
            orders.retain(|order| open.contains_key(order));
        }
        had.retain(|_, orders| !orders.is_empty());
        Ok(Self::Stock { source: source.to_owned(), began, before, had, cursor: cursor.map(str::to_owned) })
    }

    /// What the last page makes true. What was handed over proves only what its source knew at the listing before: the file
    /// was not there then, but it may have been made at any time since.
    pub(in crate::sync) fn note(
        &self,
        facts: &Capabilities,
        gave: bool,
        news: bool,
        cursor: Option<&str>,
    ) -> (String, Value) {
        match self {
            Self::Orders { shop, turns } => note(shop, ORDER, turns),
            Self::Stock { source, began, before, had, cursor: from } => {
                let proven = match facts.handed {
                    true if news && cursor != from.as_deref() => before.listed,
                    false if facts.incremental || gave => *began,
                    _ => before.since,
                };
                // What was delivered meanwhile is known by its number only where the reading proves that.
                let had = if proven == *began { had } else { &before.had };
                note(source, STOCK, &Known { since: proven.max(before.since), listed: *began, had: had.clone() })
            }
        }
    }
}

/// By target: orders for whose delivery there is a job, and which the target has though nothing was sent yet.
async fn had_before(context: &Context, source: &str) -> Result<Orders> {
    let minded = context.routes.minded_by(source);
    let shops: BTreeSet<&str> = minded.iter().flat_map(|target| context.routes.sellers_at(target)).collect();
    let targets: BTreeSet<&str> = shops.iter().flat_map(|shop| context.routes.order_targets(shop)).collect();
    let mut had = Orders::new();
    for target in targets {
        // A listing may have shown what a delivery is just making; that has stored its intent.
        let open = undelivered(context, target).await?.into_iter();
        let records: Vec<RecordId> = open.filter(|(_, is_begun)| !is_begun).map(|(order, _)| order).collect();
        let there = context.store.replicas_of(&records).await?.into_iter();
        let there = there.filter(|order| order.system == target && order.gone_at.is_none() && order.written == 0);
        let there: BTreeSet<RecordId> = there.map(|order| order.record).collect();
        if !there.is_empty() {
            had.insert(target.to_owned(), there);
        }
    }
    Ok(had)
}

/// Orders that a target is still to be told of, and whether their delivery has begun.
async fn undelivered(context: &Context, target: &str) -> Result<BTreeMap<RecordId, bool>> {
    let open = JobFilter {
        target: Some(target.to_owned()),
        entity: Some(ORDER.to_owned()),
        states: vec![JobState::Queued, JobState::Running, JobState::Parked, JobState::Dead],
        ..JobFilter::default()
    };
    let jobs = context.store.jobs(&open).await?.into_iter();
    Ok(jobs.map(|job| (job.record, job.intent.is_some())).collect())
}
