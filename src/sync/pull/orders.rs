//! Reads the orders that reduce a stock before its figures are read or written.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use crate::{
    store::NewRun,
    store::{Result, RunKind},
    sync::{
        context::{Context, RunReport},
        pull::{self, adoption},
        routing::Flow,
        stock::{
            evidence::{self, ORDER},
            reservations::{hear, wake},
            {Obstacle, Obstacles, UnreadOrders},
        },
    },
};

/// Before a source's stock is read for the first time, find out which of the shops' orders their targets have had
/// all along, so that these orders are not taken for orders that reserve goods. An order that cannot be read now
/// reserves goods until the stock is read once more.
pub(in crate::sync) async fn before_first_reading(
    context: &Context,
    flow: &Flow,
    cancel: &CancellationToken,
) -> Result<Vec<RunReport>> {
    let mut runs = Vec::new();
    if evidence::of_stock(context, &flow.from).await?.is_some() {
        return Ok(runs);
    }
    let shops: BTreeSet<&str> = flow.to.iter().flat_map(|target| context.routes.sellers(flow, target)).collect();
    let targets: BTreeSet<&str> = shops.iter().flat_map(|shop| context.routes.order_targets(shop)).collect();
    for target in targets {
        runs.extend(adoption::adopt(context, target, ORDER, cancel).await?);
    }
    for shop in shops {
        runs.push(pull::list(context, NewRun::new(shop, ORDER, RunKind::Delta, "before stock"), cancel).await?);
    }
    Ok(runs)
}

/// Before a target's stock is written, read the orders that are subtracted from it, so that an order that nobody
/// has seen yet is in the ledger. Return what prevented it.
pub(in crate::sync) async fn read_orders(
    context: &Context,
    target: &str,
    stop: &CancellationToken,
) -> Result<Obstacles> {
    let mut obstacles = Vec::new();
    for shop in context.routes.sellers_at(target) {
        if let Some(problem) = read_orders_of(context, shop, stop).await? {
            obstacles.push(Obstacle { shop: shop.to_owned(), problem, unread: UnreadOrders::Anything });
            continue;
        }
        hear(context, shop, Some(target)).await?;
        let unread = UnreadOrders::of(context, shop).await?;
        wake(context, shop, &unread).await?;
        if unread != UnreadOrders::Articles(BTreeSet::new()) {
            let problem = "orders there could not be read; `vaiven status` counts them".to_owned();
            obstacles.push(Obstacle { shop: shop.to_owned(), problem, unread });
        }
    }
    Ok(Obstacles(obstacles))
}

/// Return why a shop's orders could not be listed; `None` if they were.
async fn read_orders_of(context: &Context, shop: &str, stop: &CancellationToken) -> Result<Option<String>> {
    // Another pull may have passed the place of a new order already: wait for its end, then read again.
    const PATIENCE: u32 = 40;
    for _ in 0..PATIENCE {
        let report = pull::list(context, NewRun::new(shop, ORDER, RunKind::Delta, "before stock"), stop).await?;
        if let Some(error) = report.error {
            return Ok(Some(error));
        }
        if report.run.is_some() {
            return Ok(None);
        }
        if stop.is_cancelled() {
            break;
        }
        context.env.sleep(context.limits.poll).await;
    }
    Ok(Some("they are still being read".to_owned()))
}
