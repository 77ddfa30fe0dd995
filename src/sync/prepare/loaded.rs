//! What the store knows of the records of a batch.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use crate::{
    port::Facts,
    store::{ConflictKind, Difference, Job, Merged, Replica, Result},
    sync::{
        Flow,
        deliver::Batch,
        flight::{self, Ledger},
        identity::Standing,
        numbering,
        publish::Less,
    },
};

/// The parts that a batch of facets lives on.
#[derive(Default)]
pub(super) struct Hosts {
    /// `product.variants`; absent for entities with a life of their own.
    pub(super) list: Option<String>,
    /// Field of the facet that names its part: `sku`.
    pub(super) field: Option<String>,
    /// Part key to the target's ids of it: only where there is one it is clear which is meant.
    pub(super) ids: BTreeMap<String, Vec<String>>,
}

impl Hosts {
    pub(super) async fn of(batch: &Batch<'_>, facts: &Facts, replicas: &BTreeMap<i64, Vec<Replica>>) -> Result<Self> {
        let Some(list) = facts.facet_of.clone() else { return Ok(Self::default()) };
        let spec = batch.parts.entities.get(batch.entity);
        let field = spec.and_then(|spec| {
            spec.fields.iter().find(|(_, field)| field.part.as_ref() == Some(&list)).map(|(name, _)| name.clone())
        });
        let Some(name) = &field else { return Ok(Self { list: Some(list), field, ids: BTreeMap::new() }) };
        let wanted: BTreeSet<(String, String)> = replicas
            .values()
            .flatten()
            .filter_map(|replica| Some((list.clone(), replica.fields.get(name)?.as_str()?.to_owned())))
            .collect();
        let wanted: Vec<(String, String)> = wanted.into_iter().collect();
        let found = batch.parts.store.parts(batch.target, &wanted).await?;
        let ids = found.into_iter().map(|((_, key), ids)| (key, ids.into_iter().map(|(id, _)| id).collect())).collect();
        Ok(Self { list: Some(list), field, ids })
    }

    /// Key of the part that a facet's record lives on.
    pub(super) fn part_key<'a>(&self, replicas: &'a [Replica]) -> Option<&'a str> {
        let field = self.field.as_ref()?;
        replicas.iter().find_map(|replica| replica.fields.get(field)?.as_str())
    }
}

/// What the store knows of a batch's records.
pub(super) struct Loaded {
    pub(super) replicas: BTreeMap<i64, Vec<Replica>>,
    pub(super) keys: BTreeMap<i64, (String, String)>,
    /// What people call them.
    names: BTreeMap<i64, (String, String)>,
    /// Records referred to that another system numbers and that this one cannot be given.
    pub(super) strangers: BTreeSet<i64>,
    pub(super) hosts: Hosts,
    pub(super) merged: BTreeMap<i64, Merged>,
    /// Shared fields in conflict at the target.
    pub(super) conflicts: BTreeMap<i64, BTreeSet<String>>,
    /// What the target holds otherwise than it was sent.
    pub(super) differences: BTreeMap<i64, Vec<Difference>>,
    pub(super) stock: Stock,
    pub(super) standing: Standing,
}

/// What is taken off a source's stock, for batches of it.
#[derive(Default)]
pub(super) struct Stock {
    /// Nothing where the target's orders are not minded.
    pub(super) ledger: Option<Ledger>,
    pub(super) held: BTreeMap<i64, Decimal>,
    pub(super) increments: BTreeMap<String, Decimal>,
}

impl Stock {
    pub(super) async fn of(batch: &Batch<'_>, keys: &BTreeMap<i64, (String, String)>) -> Result<Self> {
        if batch.entity != flight::STOCK {
            return Ok(Self::default());
        }
        let ledger = Ledger::of(batch.parts, batch.target).await?;
        let held = if ledger.is_some() { batch.parts.store.held(batch.target).await? } else { BTreeMap::new() };
        let skus = keys.values().map(|(_, sku)| sku.as_str()).collect();
        Ok(Self { ledger, held, increments: flight::increments(batch.parts, batch.target, &skus).await? })
    }

    pub(super) fn less(&self, flow: &Flow, sku: &str) -> Less {
        let in_flight = self.ledger.as_ref().map_or(Decimal::ZERO, |ledger| ledger.for_flow(&flow.name, sku));
        Less { in_flight, increment: self.increments.get(sku).copied() }
    }
}

impl Loaded {
    pub(super) async fn of(batch: &Batch<'_>, facts: &Facts, jobs: &[Job]) -> Result<Self> {
        let store = &batch.parts.store;
        let records: Vec<i64> = jobs.iter().map(|job| job.record).collect();
        let mut replicas: BTreeMap<i64, Vec<Replica>> = BTreeMap::new();
        for replica in store.replicas_of(&records).await? {
            if replica.entity == batch.entity {
                replicas.entry(replica.record).or_default().push(replica);
            }
        }
        let called = store.called(&records).await?;
        let keys = called.into_iter().map(|(record, called)| (record, (called.entity, called.key))).collect();
        let names = store.keys(&records).await?;
        let strangers = Box::pin(numbering::strangers(batch.parts, batch.target, batch.entity, &replicas)).await?;
        let hosts = Hosts::of(batch, facts, &replicas).await?;
        let (mut merged, mut conflicts) = (BTreeMap::new(), BTreeMap::<i64, BTreeSet<String>>::new());
        if batch.parts.routes.shared(batch.entity).is_some() {
            merged = store.merged(&records).await?;
            for conflict in store.conflicts_of(&records).await? {
                if conflict.system == batch.target && conflict.kind == ConflictKind::Conflict {
                    conflicts.entry(conflict.record).or_default().insert(conflict.field);
                }
            }
        }
        let mut differences: BTreeMap<i64, Vec<Difference>> = BTreeMap::new();
        for difference in store.differences_of(batch.target, &records).await? {
            differences.entry(difference.record).or_default().push(difference);
        }
        let stock = Stock::of(batch, &keys).await?;
        let standing = Standing::of(batch.parts, batch.target, batch.entity, &records, &replicas).await?;
        Ok(Self { replicas, keys, names, strangers, hosts, merged, conflicts, differences, stock, standing })
    }

    pub(super) fn key(&self, record: i64) -> &str {
        self.keys.get(&record).map_or("", |(_, key)| key)
    }

    /// What people call a record.
    pub(super) fn name(&self, record: i64) -> &str {
        self.names.get(&record).map_or("", |(_, name)| name)
    }

    /// What is to be kept back of an article from now on, where that is not what was: the target has sold meanwhile, or
    /// taken back what it had sold, so that nobody knows what it shows.
    pub(super) fn kept(&self, record: i64) -> Option<(i64, Decimal)> {
        let now = self.stock.ledger.as_ref()?.most(self.key(record));
        let before = self.stock.held.get(&record).copied().unwrap_or_default();
        (now != before).then_some((record, now))
    }

    pub(super) fn replicas(&self, record: i64) -> &[Replica] {
        self.replicas.get(&record).map_or(&[], Vec::as_slice)
    }
}
