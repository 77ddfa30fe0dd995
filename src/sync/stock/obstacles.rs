//! Orders that could not be read: they keep the figures of the articles that they may have sold from being raised.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    failure::Class,
    store::{Job, Result, Verdict},
    sync::{context::Context, stock::evidence::ORDER},
    wait_reason::WaitReason,
};

/// What the orders may have sold that could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sync) enum UnreadOrders {
    /// These articles; there may be none.
    Articles(BTreeSet<String>),
    Anything,
}

impl UnreadOrders {
    pub(in crate::sync) async fn of(context: &Context, shop: &str) -> Result<Self> {
        let named = context.store.unreadable_articles(shop, ORDER).await?;
        Ok(named.map_or(Self::Anything, Self::Articles))
    }

    pub(in crate::sync) fn concerns(&self, sku: &str) -> bool {
        match self {
            Self::Articles(skus) => skus.contains(sku),
            Self::Anything => true,
        }
    }
}

/// What keeps a target's stock from being raised: orders that could not be read.
#[derive(Debug, Default)]
pub(in crate::sync) struct Obstacles(pub(in crate::sync) Vec<Obstacle>);

#[derive(Debug)]
pub(in crate::sync) struct Obstacle {
    pub(in crate::sync) shop: String,
    pub(in crate::sync) problem: String,
    pub(in crate::sync) unread: UnreadOrders,
}

impl Obstacles {
    /// Return the first obstacle that concerns an article.
    fn of(&self, sku: &str) -> Option<&Obstacle> {
        self.0.iter().find(|obstacle| obstacle.unread.concerns(sku))
    }

    pub(in crate::sync) fn concern(&self, sku: &str) -> bool {
        self.of(sku).is_some()
    }

    /// End a job that would raise a figure: it waits until every order that may have sold the article can be read.
    /// If the pass is being stopped (`stopped_at`), the job is given back as it is.
    pub(in crate::sync) fn hold_back(&self, job: &Job, sku: &str, stopped_at: Option<DateTime<Utc>>) -> Verdict {
        let (shop, problem) = self
            .of(sku)
            .map_or((job.target.as_str(), ""), |obstacle| (obstacle.shop.as_str(), obstacle.problem.as_str()));
        let error = format!("stock is not raised while orders of {shop} may be missing: {problem}");
        match stopped_at {
            Some(at) => Verdict::Retry {
                at,
                burn: false,
                intent: job.intent.clone(),
                class: Class::Transient.as_str().to_owned(),
                error,
            },
            None => Verdict::Parked { cause: WaitReason::orders(shop), error },
        }
    }
}
