//! Goods that a shop subtracts from its stock, or puts back, by itself: when an order is cancelled there, by
//! whichever side, the shop's figures are no longer those that it was sent.

use rust_decimal::Decimal;

use crate::{
    mapping::Fields,
    store::{RecordId, Result},
    sync::{
        context::Context,
        stock::reservations::{self, Quantities, STOCK},
    },
};

/// Return what an order sells, by SKU, if it holds its goods in one of the two states and not in the other.
pub(in crate::sync) fn moved(context: &Context, before: &Fields, after: &Fields) -> Quantities {
    if reservations::holds_goods(context, before) == reservations::holds_goods(context, after) {
        return Quantities::new();
    }
    reservations::quantities(after)
}

/// Store that it is not known what a shop shows of these articles, as a negative reservation there, until their
/// figures are written once more.
pub(in crate::sync) async fn doubt(context: &Context, shop: &str, articles: &Quantities) -> Result<()> {
    if articles.is_empty() || context.routes.minding(shop).is_empty() {
        return Ok(());
    }
    let mut doubted: Vec<(RecordId, Decimal)> = Vec::with_capacity(articles.len());
    for (sku, quantity) in articles {
        if let Some(record) = context.store.record(STOCK, sku).await? {
            doubted.push((record, -quantity));
        }
    }
    context.store.reserve(shop, &doubted).await
}
