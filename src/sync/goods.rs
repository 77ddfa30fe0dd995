//! Goods that a shop takes off its stock, or puts back, by itself: when an order is cancelled there, whoever says so, its figures
//! are no longer those that it was told.

use rust_decimal::Decimal;
use serde_json::Value;

use super::{
    deliver::Batch,
    engine::Parts,
    flight::{self, ORDER, Quantities, STOCK},
    prepare::Task,
};
use crate::{
    mapping::Fields,
    port::Op,
    store::{RecordId, Result},
};

/// What an order sells, by SKU, where it holds its goods in one of two states and not in the other.
pub(super) fn moved(parts: &Parts, before: &Fields, after: &Fields) -> Quantities {
    if flight::holds_goods(parts, before) == flight::holds_goods(parts, after) {
        return Quantities::new();
    }
    flight::quantities(after)
}

/// The same of what writes make of orders at their target.
pub(super) fn moved_by(batch: &Batch<'_>, tasks: &[Task]) -> Quantities {
    let mut all = Quantities::new();
    let updates = tasks.iter().filter(|task| batch.entity == ORDER && task.write.op == Op::Update);
    for (task, before) in updates.filter_map(|task| Some((task, task.replica.as_ref()?))) {
        let mut after = before.fields.clone();
        for field in &task.changed {
            after.insert(field.clone(), task.wanted.get(field).cloned().unwrap_or(Value::Null));
        }
        flight::add(&mut all, &moved(batch.parts, &before.fields, &after));
    }
    all
}

/// Remembers that nobody knows what a shop shows of these articles, as less than nothing that is kept back there, until their
/// figures are written once more.
pub(super) async fn doubt(parts: &Parts, shop: &str, articles: &Quantities) -> Result<()> {
    if articles.is_empty() || parts.routes.minding(shop).is_empty() {
        return Ok(());
    }
    let mut doubted: Vec<(RecordId, Decimal)> = Vec::with_capacity(articles.len());
    for (sku, quantity) in articles {
        if let Some(record) = parts.store.record(STOCK, sku).await? {
            doubted.push((record, -quantity));
        }
    }
    parts.store.hold(shop, &doubted).await
}
