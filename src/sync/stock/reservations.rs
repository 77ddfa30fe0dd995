//! Reservations: what keeps a target from overselling while orders are on their way. Goods of orders that the
//! source of its stock cannot know of yet are subtracted, and orders are read before its stock is written.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    failure::Failure,
    mapping::Fields,
    model::decimal,
    store::Origin,
    store::StockEvidence,
    store::{ChangeOp, Job, JobFilter, JobId, NewJob, RecordId, Replica, Result},
    sync::{
        context::Context,
        routing::{Flow, priority},
        stock::{
            UnreadOrders,
            availability::{self, Less},
            evidence,
        },
    },
    wait_reason::WaitReason,
};

pub(in crate::sync) use crate::sync::stock::evidence::{ORDER, ReadingEvidence, STOCK};

const LINES: &str = "lines";

impl Context {
    /// Return a source's stock as a flow's targets should show it.
    pub(in crate::sync) fn available(
        &self,
        flow: &Flow,
        source: &Fields,
        less: Less,
    ) -> std::result::Result<Fields, Failure> {
        let spec = self.entities.get(STOCK);
        availability::available(
            &flow.stock,
            source,
            spec.iter().flat_map(|spec| spec.fields.keys().map(String::as_str)),
            less,
        )
    }
}

/// By SKU: what is sold in a target's orders and not yet subtracted from the figures of a flow's source.
pub(in crate::sync) type Quantities = BTreeMap<String, Decimal>;

/// What is reserved of what a target shows, for each flow that brings it stock.
#[derive(Debug, Default)]
pub(in crate::sync) struct Ledger {
    flows: BTreeMap<String, Sold>,
    /// Whether the stock of any of these flows was ever read.
    is_read: bool,
}

#[derive(Debug, Default)]
struct Sold {
    all: Quantities,
    /// What of it was sold elsewhere: the target cannot have subtracted that by itself.
    elsewhere: Quantities,
}

impl Ledger {
    /// Load the ledger; `None` if no flow subtracts orders from what the target shows.
    ///
    /// An order reserves its goods while a job brings it to its target or a person is asked about it, and until a
    /// reading of the stock began after the order had arrived there: figures that were read before do not include
    /// it.
    pub(in crate::sync) async fn of(context: &Context, target: &str) -> Result<Option<Self>> {
        let mut ledger = Self::default();
        for flow in context.routes.minding(target) {
            let sold = ledger.flows.entry(flow.name.clone()).or_default();
            let known = evidence::of_stock(context, &flow.from).await?;
            ledger.is_read |= known.is_some();
            for shop in context.routes.sellers(flow, target) {
                let mut orders: BTreeMap<RecordId, Quantities> = BTreeMap::new();
                for to in context.routes.order_targets(shop) {
                    let found = context
                        .store
                        .unreserved_orders(ORDER, shop, to, known.as_ref().map(|known| known.since))
                        .await?;
                    let off = taken_off(context, to, known.as_ref(), &found).await?;
                    for order in found.iter().filter(|order| holds_goods(context, &order.fields)) {
                        let left = less(quantities(&order.fields), off.get(&order.record));
                        add_most(orders.entry(order.record).or_default(), left);
                    }
                }
                for order in orders.values() {
                    add(&mut sold.all, order);
                    if shop != target {
                        add(&mut sold.elsewhere, order);
                    }
                }
            }
        }
        Ok((!ledger.flows.is_empty()).then_some(ledger))
    }

    pub(in crate::sync) fn for_flow(&self, flow: &str, sku: &str) -> Decimal {
        self.flows.get(flow).and_then(|sold| sold.all.get(sku)).copied().unwrap_or_default()
    }

    /// Return the most that any flow has to subtract.
    pub(in crate::sync) fn most(&self, sku: &str) -> Decimal {
        self.flows.values().filter_map(|sold| sold.all.get(sku)).max().copied().unwrap_or_default()
    }

    /// Whether any of it was sold elsewhere.
    fn is_elsewhere(&self, sku: &str) -> bool {
        self.flows.values().any(|sold| sold.elsewhere.contains_key(sku))
    }
}

/// Whether an order keeps its goods. An order whose money was paid back does: its goods may have left or be
/// leaving.
pub(in crate::sync) fn holds_goods(context: &Context, order: &Fields) -> bool {
    let states = context.entities.get(ORDER).and_then(|spec| spec.states.as_ref());
    states.is_none_or(|states| states.holds_goods(order))
}

/// Return what the targets of orders have subtracted already, because they have had the orders since before the
/// stock was last read: their figures include them, whatever changes of these orders are still to be sent there.
async fn taken_off(
    context: &Context,
    target: &str,
    known: Option<&StockEvidence>,
    orders: &[Replica],
) -> Result<BTreeMap<RecordId, Quantities>> {
    let Some(known) = known else { return Ok(BTreeMap::new()) };
    let records: Vec<RecordId> = orders.iter().map(|order| order.record).collect();
    let mut there = context.store.replicas_of(&records).await?;
    there.retain(|order| order.system == target && order.gone_at.is_none());
    let is_read = |order: &Replica| (1..=known.since).contains(&order.written);
    let had = known.had.get(target);
    let older = there.iter().filter(|order| had.is_some_and(|had| had.contains(&order.record)) && !is_read(order));
    let own = not_ours(context, target, older.map(|order| order.record).collect()).await?;
    // An order that only a listing or a lookup has shown since the first reading may have arrived there after the
    // last reading.
    there.retain(|order| is_read(order) || own.contains(&order.record));
    let shows_lines = context.mapping(target, ORDER).is_some_and(|mapping| mapping.reads().contains(LINES));
    let sold: BTreeMap<RecordId, &Fields> = orders.iter().map(|order| (order.record, &order.fields)).collect();
    // If the target has an order as cancelled, and its shop goes on with it, the target's figures no longer include
    // it.
    let reserving = there.iter().filter(|order| holds_goods(context, &order.fields));
    let taken = reserving.filter_map(|order| {
        // An order that was there before us and shows no lines has the shop's lines.
        let is_blank = !shows_lines && !is_read(order);
        Some((order.record, quantities(if is_blank { sold.get(&order.record)? } else { &order.fields })))
    });
    Ok(taken.collect())
}

/// Return those of a target's orders that we have neither created there nor given other lines.
async fn not_ours(context: &Context, target: &str, orders: BTreeSet<RecordId>) -> Result<BTreeSet<RecordId>> {
    if orders.is_empty() {
        return Ok(orders);
    }
    let records: Vec<RecordId> = orders.iter().copied().collect();
    let mut own = orders;
    for change in context.store.history(&records).await? {
        let had_lines = change.fields.get(LINES).is_some_and(|lines| !lines[0].is_null());
        let is_ours = change.op == ChangeOp::Create || had_lines;
        if change.system == target && matches!(change.cause, Origin::Job(_)) && is_ours {
            own.remove(&change.record);
        }
    }
    Ok(own)
}

/// Return what an order sells, by SKU. A line that gives something back is no reason to offer more before the
/// source says so.
pub(in crate::sync) fn quantities(order: &Fields) -> Quantities {
    let mut quantities = Quantities::new();
    for line in order.get(LINES).and_then(Value::as_array).into_iter().flatten() {
        let sku = line.get("sku").and_then(Value::as_str);
        let sold = line.get("quantity").and_then(Value::as_str).and_then(decimal::parse);
        if let (Some(sku), Some(sold)) = (sku, sold.filter(|sold| *sold > Decimal::ZERO)) {
            add(&mut quantities, &Quantities::from([(sku.to_owned(), sold)]));
        }
    }
    quantities
}

pub(in crate::sync) fn add(all: &mut Quantities, more: &Quantities) {
    for (sku, quantity) in more {
        let total = all.entry(sku.clone()).or_default();
        *total = total.saturating_add(*quantity);
    }
}

/// If an order has several targets, the one that lacks most of it counts.
fn add_most(most: &mut Quantities, other: Quantities) {
    for (sku, quantity) in other {
        let known = most.entry(sku).or_default();
        *known = quantity.max(*known);
    }
}

fn less(mut sold: Quantities, known: Option<&Quantities>) -> Quantities {
    let known = |sku: &str| known.and_then(|known| known.get(sku)).copied().unwrap_or_default();
    sold.retain(|sku, quantity| {
        *quantity -= known(sku);
        *quantity > Decimal::ZERO
    });
    sold
}

/// Return the articles that an order names.
pub(in crate::sync) fn articles(order: &Fields) -> BTreeSet<String> {
    let lines = order.get(LINES).and_then(Value::as_array).into_iter().flatten();
    lines.filter_map(|line| line.get("sku")?.as_str()).map(str::to_owned).collect()
}

/// Called after a green pull, and after anything else that may have ended an order's reservation.
pub(in crate::sync) async fn after_pull(context: &Context, system: &str, entity: &str) -> Result<()> {
    match entity {
        STOCK => {
            for target in context.routes.minded_by(system) {
                sweep(context, target, Left::Requeued).await?;
            }
        }
        ORDER => {
            hear(context, system, None).await?;
            if !context.routes.sold_from(system).is_empty() {
                wake(context, system, &UnreadOrders::of(context, system).await?).await?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Called after a reading of a shop's orders: update the stock at every target that shows what they sell. The
/// target in `at_it`, whose batch is reading the orders, updates its own.
pub(in crate::sync) async fn hear(context: &Context, shop: &str, at_it: Option<&str>) -> Result<()> {
    let readings = evidence::of_orders(context, shop).await?;
    for target in context.routes.sold_from(shop) {
        sweep(context, target, if at_it == Some(target) { Left::Alone } else { Left::Requeued }).await?;
    }
    match readings {
        Some(readings) => evidence::are_heard(context, shop, readings).await,
        None => Ok(()),
    }
}

/// Called after a target was sent changes of orders that make it change its figures by itself.
pub(in crate::sync) async fn requeue_stock(context: &Context, target: &str) -> Result<()> {
    sweep(context, target, Left::Requeued).await
}

/// Called after orders were delivered to `target`: an order that had nothing to deliver no longer reserves goods.
pub(in crate::sync) async fn after_delivery(context: &Context, target: &str, entity: &str) -> Result<()> {
    if entity == ORDER {
        for shop in context.routes.sold_to(target) {
            sweep(context, shop, Left::Requeued).await?;
        }
    }
    Ok(())
}

/// What to do with articles of which less is reserved than before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Requeued,
    /// Leave them to another sweep. Used by a batch of stock that reads orders: if it opened its own jobs again,
    /// they would be tried again at once, however they ended.
    Alone,
}

/// Compare what is reserved of what a target shows with what was reserved before, and store the new reservations.
/// Send an article's figure again if less is reserved than the stored reservation, whatever happened to the orders;
/// if it is not known what the target shows; or if more is reserved and was sold elsewhere.
async fn sweep(context: &Context, target: &str, left: Left) -> Result<()> {
    // Before the first reading there is no figure that anything could be subtracted from.
    let Some(ledger) = Ledger::of(context, target).await?.filter(|ledger| ledger.is_read) else { return Ok(()) };
    let store = &context.store;
    let reservations = store.reservations(target).await?;
    let records: Vec<RecordId> = reservations.keys().copied().collect();
    let keys = store.keys(&records).await?;
    let mut jobs = Vec::new();
    let mut more = Vec::new();
    let mut seen = BTreeSet::new();
    let mut requeue = |record: RecordId| {
        let (target, entity) = (target.to_owned(), STOCK.to_owned());
        jobs.push(NewJob { target, entity, record, priority: priority::STOCK, due: None });
    };
    for (record, kept) in &reservations {
        let Some((_, sku)) = keys.get(record) else { continue };
        let now = ledger.most(sku);
        seen.insert(sku.as_str());
        // Negative: it is not known what the target shows.
        let is_doubted = kept.is_sign_negative();
        if (now < *kept || is_doubted) && left == Left::Requeued {
            requeue(*record);
        } else if now > *kept && !is_doubted {
            more.push((*record, now));
            if ledger.is_elsewhere(sku) {
                requeue(*record);
            }
        }
    }
    let skus: BTreeSet<&str> = ledger.flows.values().flat_map(|sold| sold.all.keys().map(String::as_str)).collect();
    for sku in skus.difference(&seen) {
        if let Some(record) = store.record(STOCK, sku).await? {
            more.push((record, ledger.most(sku)));
            if ledger.is_elsewhere(sku) {
                requeue(record);
            }
        }
    }
    let grown: Vec<RecordId> = more.iter().map(|(record, _)| *record).collect();
    for record in unsure(context, target, &grown).await? {
        requeue(record);
    }
    // Open the jobs first: if this is cut off in between, a figure is sent once too often, not never.
    if !jobs.is_empty() {
        store.enqueue(&jobs, context.env.now()).await?;
        context.work.notify_waiters();
    }
    if !more.is_empty() {
        store.reserve(target, &more).await?;
    }
    Ok(())
}

/// Of these articles, return those whose figure was sent to a target after the reading before the last one of its
/// orders had begun: for an order that the last reading has shown, it is not known whether the target subtracted it
/// before that figure came, or after.
async fn unsure(context: &Context, target: &str, articles: &[RecordId]) -> Result<Vec<RecordId>> {
    if articles.is_empty() || !context.routes.sellers_at(target).contains(target) {
        return Ok(Vec::new());
    }
    let Some(orders) = evidence::of_orders(context, target).await? else { return Ok(Vec::new()) };
    let there = context.store.replicas_of(articles).await?.into_iter();
    let uncertain = there.filter(|figure| figure.system == target && figure.written > orders.before);
    Ok(uncertain.map(|figure| figure.record).collect())
}

/// Wake the jobs for rises that waited for a shop's orders, except for articles that unread orders may have sold.
pub(in crate::sync) async fn wake(context: &Context, shop: &str, unread: &UnreadOrders) -> Result<()> {
    let waiting = JobFilter { cause: Some(WaitReason::orders(shop)), ..JobFilter::default() };
    let ids = match unread {
        UnreadOrders::Anything => return Ok(()),
        UnreadOrders::Articles(skus) if skus.is_empty() => Vec::new(),
        UnreadOrders::Articles(_) => {
            let jobs = context.store.jobs(&waiting).await?;
            let keys = context.store.keys(&jobs.iter().map(|job| job.record).collect::<Vec<_>>()).await?;
            let waits = |job: &&Job| keys.get(&job.record).is_some_and(|(_, sku)| unread.concerns(sku));
            let free: Vec<JobId> = jobs.iter().filter(|job| !waits(job)).map(|job| job.id).collect();
            if free.is_empty() {
                return Ok(());
            }
            free
        }
    };
    if context.store.retry(&JobFilter { ids, ..waiting }, context.env.now()).await? > 0 {
        context.work.notify_waiters();
    }
    Ok(())
}
