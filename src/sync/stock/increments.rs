//! Increments in which articles are sold, such as packs. Products carry them; the quantity that is shown is a
//! multiple of them.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    mapping::Fields,
    model::decimal,
    store::{NewJob, RecordId, Result},
    sync::{
        context::Context,
        routing::priority,
        stock::reservations::{Quantities, STOCK},
    },
};

const PRODUCT: &str = "product";
const VARIANTS: &str = "product.variants";
const PACK: &str = "pack";

/// Whether a source's products say in which increments they are sold.
pub(in crate::sync) fn are_said_by(context: &Context, source: &str) -> bool {
    context.mapping(source, PRODUCT).is_some_and(|mapping| mapping.reads().contains(PACK))
}

/// Return the increments in which articles are sold, by SKU, if a source of the target's products says so.
pub(in crate::sync) async fn increments(context: &Context, target: &str, skus: &BTreeSet<&str>) -> Result<Quantities> {
    let mut increments = Quantities::new();
    let sources: BTreeSet<&str> = context.routes.to(target, PRODUCT).map(|flow| flow.from.as_str()).collect();
    for source in sources {
        if !are_said_by(context, source) {
            continue;
        }
        let asked: Vec<(String, String)> = skus.iter().map(|sku| (VARIANTS.to_owned(), (*sku).to_owned())).collect();
        let found = context.store.child_ids(source, &asked).await?;
        let records: BTreeSet<RecordId> = found.values().flatten().map(|(_, record)| *record).collect();
        let records: Vec<RecordId> = records.into_iter().collect();
        let steps: BTreeMap<RecordId, Decimal> = (context.store.replicas_of(&records).await?.into_iter())
            .filter(|product| product.system == source)
            .filter_map(|product| {
                let step = product.fields.get(PACK)?.get("increment")?.as_str().and_then(decimal::parse)?;
                Some((product.record, step))
            })
            .collect();
        for ((_, sku), owners) in found {
            // If an article belongs to several products, the greatest of their increments counts.
            if let Some(step) = owners.iter().filter_map(|(_, record)| steps.get(record)).max() {
                increments.insert(sku, *step);
            }
        }
    }
    Ok(increments)
}

/// Return the articles of a product whose increments this change has altered.
pub(in crate::sync) fn moved(entity: &str, difference: &Fields, product: &Fields) -> Vec<String> {
    if entity != PRODUCT || !difference.contains_key(PACK) {
        return Vec::new();
    }
    let variants = product.get("variants").and_then(Value::as_array).into_iter().flatten();
    let articles = variants.filter_map(Value::as_object).chain([product]);
    let named: BTreeSet<&str> = articles.filter_map(|article| article.get("sku")?.as_str()).collect();
    named.into_iter().map(str::to_owned).collect()
}

/// Open jobs for the stock of such articles at every system that gets the products.
pub(in crate::sync) async fn open_jobs(
    context: &Context,
    source: &str,
    articles: &[String],
    jobs: &mut Vec<NewJob>,
) -> Result<()> {
    let products = context.routes.from(source, PRODUCT).flat_map(|flow| &flow.to);
    let shown = context.routes.targets_of(STOCK);
    let targets: BTreeSet<&String> = products.filter(|target| shown.contains(target.as_str())).collect();
    if articles.is_empty() || targets.is_empty() {
        return Ok(());
    }
    for figure in context.store.namesakes(STOCK, articles).await?.iter().flatten() {
        jobs.extend(targets.iter().map(|target| NewJob {
            target: (*target).clone(),
            entity: STOCK.to_owned(),
            record: figure.record,
            priority: priority::STOCK,
            due: None,
        }));
    }
    Ok(())
}
