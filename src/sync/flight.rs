//! What keeps a target from overselling while orders are on their way: the orders that the source of its stock cannot know of
//! yet, and the reading of orders before its stock is written.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    Flow,
    engine::Parts,
    lane,
    publish::{self, Less},
    pull,
};
use crate::{
    failure::{Cause, Class, Failure},
    mapping::Fields,
    model::decimal,
    port::Facts,
    store::{Job, JobFilter, NewJob, RecordId, Replica, Result, RunKind, Verdict},
};

pub(super) const STOCK: &str = "stock";
pub(super) const ORDER: &str = "order";

impl Parts {
    /// A source's stock as a flow's targets are to show it.
    pub(super) fn published(&self, flow: &Flow, source: &Fields, less: Less) -> std::result::Result<Fields, Failure> {
        let spec = self.entities.get(STOCK);
        publish::published(
            &flow.stock,
            source,
            spec.iter().flat_map(|spec| spec.fields.keys().map(String::as_str)),
            less,
        )
    }
}

/// By SKU: what is sold in a target's orders and not yet taken off the figures of a flow's source.
type Quantities = BTreeMap<String, Decimal>;

/// What is in flight from one target, as each flow that brings it stock has to see it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    flows: BTreeMap<String, Quantities>,
}

impl Ledger {
    /// Nothing where no flow minds the target's orders.
    ///
    /// An order is in flight while a job brings it to its target, and until a reading of the stock began after it had arrived
    /// there: the figures read before do not know of it.
    pub(super) async fn of(parts: &Parts, target: &str) -> Result<Option<Self>> {
        let mut ledger = Self::default();
        for flow in parts.routes.minding(target) {
            let since = Known::noted(parts, &flow.from).await?.map(|known| known.since);
            let mut orders: BTreeMap<RecordId, Replica> = BTreeMap::new();
            for to in parts.routes.order_targets(target) {
                let found = parts.store.in_flight(ORDER, target, to, since).await?;
                orders.extend(found.into_iter().map(|order| (order.record, order)));
            }
            let quantities = ledger.flows.entry(flow.name.clone()).or_default();
            for order in orders.values() {
                add_lines(quantities, &order.fields);
            }
        }
        Ok((!ledger.flows.is_empty()).then_some(ledger))
    }

    pub(super) fn for_flow(&self, flow: &str, sku: &str) -> Decimal {
        self.flows.get(flow).and_then(|quantities| quantities.get(sku)).copied().unwrap_or_default()
    }

    /// The most that any flow has to take off.
    pub(super) fn most(&self, sku: &str) -> Decimal {
        self.flows.values().filter_map(|quantities| quantities.get(sku)).max().copied().unwrap_or_default()
    }
}

/// Adds what an order sells. A line that gives something back is no reason to offer more before the source says so; nor is an
/// order whose money was paid back: its goods may have left, or be leaving.
fn add_lines(quantities: &mut Quantities, order: &Fields) {
    if ["status", "closed"].iter().any(|field| order.get(*field).and_then(Value::as_str) == Some("cancelled")) {
        return;
    }
    for line in order.get("lines").and_then(Value::as_array).into_iter().flatten() {
        let sku = line.get("sku").and_then(Value::as_str);
        let sold = line.get("quantity").and_then(Value::as_str).and_then(decimal::parse);
        if let (Some(sku), Some(sold)) = (sku, sold.filter(|sold| *sold > Decimal::ZERO)) {
            let total = quantities.entry(sku.to_owned()).or_default();
            *total = total.saturating_add(sold);
        }
    }
}

/// Up to where the figures of a source are known to tell of the orders that arrived, on the store's counter.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Known {
    /// Of deliveries up to this number.
    since: i64,
    /// When the last listing began, whatever it gave.
    listed: i64,
}

impl Known {
    fn name(system: &str) -> String {
        format!("read:{system}/{STOCK}")
    }

    async fn noted(parts: &Parts, system: &str) -> Result<Option<Self>> {
        let noted = parts.store.noted(&Self::name(system)).await?;
        Ok(noted.and_then(|noted| serde_json::from_value(noted).ok()))
    }

    fn note(self, system: &str) -> (String, Value) {
        (Self::name(system), serde_json::to_value(self).unwrap_or_default())
    }
}

/// A reading of stock, as evidence of what its source knew when it began.
pub(super) struct Evidence {
    system: String,
    began: i64,
    before: Known,
    /// The cursor that the listing began from.
    cursor: Option<String>,
}

impl Evidence {
    /// Nothing where nobody's orders depend on it. Called before anything is requested.
    pub(super) async fn begin(parts: &Parts, system: &str, entity: &str, cursor: Option<&str>) -> Result<Option<Self>> {
        if entity != STOCK || parts.routes.minded_by(system).is_empty() {
            return Ok(None);
        }
        let began = parts.store.counter().await?;
        let before = match Known::noted(parts, system).await? {
            Some(known) => known,
            // Before the first reading there is no figure that could be too old.
            None => {
                let known = Known { since: began, listed: began };
                let (name, value) = known.note(system);
                parts.store.note(&name, &value).await?;
                known
            }
        };
        Ok(Some(Self { system: system.to_owned(), began, before, cursor: cursor.map(str::to_owned) }))
    }

    /// What the last page makes true. What was handed over proves only what its source knew at the listing before: the file
    /// was not there then, but it may have been made at any time since.
    pub(super) fn note(&self, facts: &Facts, gave: bool, news: bool, cursor: Option<&str>) -> (String, Value) {
        let proven = match facts.handed {
            true if news && cursor != self.cursor.as_deref() => self.before.listed,
            false if facts.incremental || gave => self.began,
            _ => self.before.since,
        };
        Known { since: proven.max(self.before.since), listed: self.began }.note(&self.system)
    }
}

/// After a green pull, and whatever else may have ended an order's flight.
pub(super) async fn after_pull(parts: &Parts, system: &str, entity: &str) -> Result<()> {
    match entity {
        STOCK => {
            for target in parts.routes.minded_by(system) {
                sweep(parts, target, Left::Published).await?;
            }
        }
        ORDER if !parts.routes.minding(system).is_empty() => {
            sweep(parts, system, Left::Published).await?;
            if all_read(parts, system).await? {
                wake(parts, system).await?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// After orders were delivered to `target`: one that had nothing to deliver is no longer in flight.
pub(super) async fn after_delivery(parts: &Parts, target: &str, entity: &str) -> Result<()> {
    if entity == ORDER {
        for shop in parts.routes.shops_of(target) {
            sweep(parts, shop, Left::Published).await?;
        }
    }
    Ok(())
}

/// What becomes of articles of which less is in flight than was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Published,
    /// Somebody else's sweep will see to them. For a batch of stock that reads orders: to open its own jobs anew would have
    /// them tried again at once whatever became of them.
    Alone,
}

/// Compares what is in flight from a target with what was: articles of which less is in flight than is known to be kept back
/// are published anew, whatever became of the orders. What is kept back is remembered here before anything is published by it.
async fn sweep(parts: &Parts, target: &str, left: Left) -> Result<()> {
    let Some(ledger) = Ledger::of(parts, target).await? else { return Ok(()) };
    let store = &parts.store;
    let held = store.held(target).await?;
    let records: Vec<RecordId> = held.keys().copied().collect();
    let keys = store.keys(&records).await?;
    let mut jobs = Vec::new();
    let mut more = Vec::new();
    let mut seen = BTreeSet::new();
    for (record, kept) in &held {
        let Some((_, sku)) = keys.get(record) else { continue };
        let now = ledger.most(sku);
        seen.insert(sku.as_str());
        if now < *kept && left == Left::Published {
            let (target, entity) = (target.to_owned(), STOCK.to_owned());
            jobs.push(NewJob { target, entity, record: *record, lane: lane::STOCK, due: None });
        } else if now > *kept {
            more.push((*record, now));
        }
    }
    let skus: BTreeSet<&str> = ledger.flows.values().flat_map(|skus| skus.keys().map(String::as_str)).collect();
    for sku in skus.difference(&seen) {
        if let Some(record) = store.record(STOCK, sku).await? {
            more.push((record, ledger.most(sku)));
        }
    }
    if !more.is_empty() {
        store.hold(target, &more).await?;
    }
    if !jobs.is_empty() {
        store.enqueue(&jobs, parts.env.now()).await?;
        parts.work.notify_waiters();
    }
    Ok(())
}

/// Reads a target's orders before its stock is written, so that one that nobody has seen yet is in the ledger. Gives what stood
/// in the way.
pub(super) async fn read_orders(parts: &Parts, target: &str, stop: &CancellationToken) -> Result<Option<String>> {
    // Another pull may have passed the place where a new order stands: its end is waited for, then read again.
    const PATIENCE: u32 = 40;
    for _ in 0..PATIENCE {
        let report = pull::list(parts, target, ORDER, RunKind::Delta, "before stock", stop).await?;
        if let Some(error) = report.error {
            return Ok(Some(error));
        }
        if report.run.is_some() {
            sweep(parts, target, Left::Alone).await?;
            let told = "orders there could not be read; `vaiven status` counts them".to_owned();
            if !all_read(parts, target).await? {
                return Ok(Some(told));
            }
            wake(parts, target).await?;
            return Ok(None);
        }
        if stop.is_cancelled() {
            break;
        }
        parts.env.sleep(parts.limits.poll).await;
    }
    Ok(Some("they are still being read".to_owned()))
}

/// Rises that waited for orders go on.
async fn wake(parts: &Parts, target: &str) -> Result<()> {
    let (target, cause) = (Some(target.to_owned()), Some(Cause::orders(target).0));
    let waiting = JobFilter { target, cause, ..JobFilter::default() };
    if parts.store.retry(&waiting, parts.env.now()).await? > 0 {
        parts.work.notify_waiters();
    }
    Ok(())
}

/// Whether no order of a system is known that could not be read.
async fn all_read(parts: &Parts, system: &str) -> Result<bool> {
    let rejected = parts.store.rejection_counts().await?;
    Ok(!rejected.iter().any(|(from, entity, count)| from == system && entity == ORDER && *count > 0))
}

/// Steps in which articles are sold, by SKU, where a source of the target's products says so.
pub(super) async fn increments(parts: &Parts, target: &str, skus: &BTreeSet<&str>) -> Result<Quantities> {
    const PART: &str = "product.variants";
    let mut increments = Quantities::new();
    let sources: BTreeSet<&str> = parts.routes.to(target, "product").map(|flow| flow.from.as_str()).collect();
    for source in sources {
        if !parts.mapping(source, "product").is_some_and(|mapping| mapping.reads().contains("pack")) {
            continue;
        }
        let wanted: Vec<(String, String)> = skus.iter().map(|sku| (PART.to_owned(), (*sku).to_owned())).collect();
        let found = parts.store.parts(source, &wanted).await?;
        let records: BTreeSet<RecordId> = found.values().map(|(_, record)| *record).collect();
        let records: Vec<RecordId> = records.into_iter().collect();
        let steps: BTreeMap<RecordId, Decimal> = (parts.store.replicas_of(&records).await?.into_iter())
            .filter(|product| product.system == source)
            .filter_map(|product| {
                let step = product.fields.get("pack")?.get("increment")?.as_str().and_then(decimal::parse)?;
                Some((product.record, step))
            })
            .collect();
        for ((_, sku), (_, record)) in found {
            if let Some(step) = steps.get(&record) {
                increments.insert(sku, *step);
            }
        }
    }
    Ok(increments)
}

/// A rise waits until every order can be read; one that a stop has cut short is given back.
pub(super) fn waits_for_orders(parts: &Parts, target: &str, job: &Job, problem: &str, is_stopped: bool) -> Verdict {
    let error = format!("stock is not raised while orders of {target} may be missing: {problem}");
    if is_stopped {
        let (at, intent) = (parts.env.now(), job.intent.clone());
        return Verdict::Retry { at, burn: false, intent, class: Class::Transient.as_str().to_owned(), error };
    }
    Verdict::Parked { cause: Cause::orders(target).0, error }
}
