//! What a reading proves: which orders the source of the stock knew when the reading began, and when a shop's
//! orders were last read. Time is counted by the store's counter, which each delivery raises.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    port::Capabilities,
    store::{JobFilter, JobState, OrderReadings, Proven, RecordId, Result, StockEvidence},
    sync::context::Context,
};

pub(in crate::sync) const STOCK: &str = "stock";
pub(in crate::sync) const ORDER: &str = "order";

/// Orders by the system that has them.
type Orders = BTreeMap<String, BTreeSet<RecordId>>;

/// Return up to where a source's figures are proven; `None` if nobody has read them yet.
pub(in crate::sync) async fn of_stock(context: &Context, source: &str) -> Result<Option<StockEvidence>> {
    Ok(context.store.reading(source, STOCK).await?.stock)
}

/// Return up to where a shop's orders were read; `None` if nobody has read them yet.
pub(in crate::sync) async fn of_orders(context: &Context, shop: &str) -> Result<Option<OrderReadings>> {
    Ok(context.store.reading(shop, ORDER).await?.orders)
}

/// Store that all stock figures take into account what the last of these readings has shown.
pub(in crate::sync) async fn are_heard(context: &Context, shop: &str, readings: OrderReadings) -> Result<()> {
    context.store.set_heard(shop, ORDER, readings.last).await
}

/// Return a shop's next reading, which begins now. Until all stock figures take the last reading into account, it
/// is not certain what they include of the orders since the one before it.
async fn next(context: &Context, shop: &str) -> Result<OrderReadings> {
    let last = context.store.counter().await?;
    let Some(readings) = of_orders(context, shop).await? else { return Ok(OrderReadings { before: last, last }) };
    let is_heard = context.store.heard(shop, ORDER).await?.is_some_and(|heard| heard >= readings.last);
    Ok(OrderReadings { before: if is_heard { readings.last } else { readings.before }, last })
}

/// A reading that has begun, and what its last page stores.
pub(in crate::sync) enum ReadingEvidence {
    /// A reading of a source's stock: what the source knew when it began.
    Stock {
        began: i64,
        before: StockEvidence,
        /// `had` of the reading before, without the orders that have been delivered by now.
        had: Orders,
        /// The cursor from which the listing began.
        cursor: Option<String>,
    },
    /// A reading of a shop's orders.
    Orders(OrderReadings),
}

/// What the last page of a listing shows about the whole listing.
#[derive(Clone, Copy)]
pub(in crate::sync) struct Listed<'a> {
    /// Whether there was any row.
    pub(in crate::sync) gave_rows: bool,
    /// Whether any row came that was not there at the listing before.
    pub(in crate::sync) is_new: bool,
    pub(in crate::sync) cursor: Option<&'a str>,
}

impl ReadingEvidence {
    /// Begin a reading; `None` if no stock depends on it. Called before anything is requested.
    pub(in crate::sync) async fn begin(
        context: &Context,
        system: &str,
        entity: &str,
        cursor: Option<&str>,
    ) -> Result<Option<Self>> {
        match entity {
            ORDER if !context.routes.sold_from(system).is_empty() => {
                next(context, system).await.map(Self::Orders).map(Some)
            }
            // Also if no orders are subtracted yet: a flow that brings orders may join later.
            STOCK if context.routes.flows().iter().any(|flow| flow.from == system && flow.carries(STOCK)) => {
                Self::before(context, system, cursor).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn before(context: &Context, source: &str, cursor: Option<&str>) -> Result<Self> {
        let began = context.store.counter().await?;
        let before = match of_stock(context, source).await? {
            Some(known) => known,
            // Before the first reading there is no figure that could be too old.
            None => {
                let had = had_before(context, source).await?;
                let known = StockEvidence { since: began, listed: began, had };
                context.store.set_proven(source, STOCK, &Proven::Stock(known.clone())).await?;
                known
            }
        };
        let mut had = before.had.clone();
        for (target, orders) in &mut had {
            let open = undelivered(context, target).await?;
            orders.retain(|order| open.contains_key(order));
        }
        had.retain(|_, orders| !orders.is_empty());
        Ok(Self::Stock { began, before, had, cursor: cursor.map(str::to_owned) })
    }

    /// Return what the last page proves. A file that was handed over proves only what its source knew at the
    /// listing before: it was not there then, but it may have been made at any time since.
    pub(in crate::sync) fn proven(&self, listed: Listed, capabilities: &Capabilities) -> Proven {
        match self {
            Self::Orders(readings) => Proven::Orders(*readings),
            Self::Stock { began, before, had, cursor: from } => {
                let proven = match capabilities.handed {
                    true if listed.is_new && listed.cursor != from.as_deref() => before.listed,
                    false if capabilities.incremental || listed.gave_rows => *began,
                    _ => before.since,
                };
                // The number covers what was delivered meanwhile only if the reading proves it.
                let had = if proven == *began { had } else { &before.had };
                Proven::Stock(StockEvidence { since: proven.max(before.since), listed: *began, had: had.clone() })
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
        // A listing may have shown an order that a delivery is just creating; that delivery has stored its intent.
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

/// Return the orders that a target is still to be sent, and whether their delivery has begun.
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
