//! What the store knows of the records of a batch.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use crate::{
    failure::{Class, Failure},
    model::{records, renumber},
    store::{ConflictKind, Difference, Job, Merged, RecordId, Replica, Result},
    sync::{
        conflict::{respelt, terms::Terms},
        desired::Batch,
        identity::{LinkContext, numbering},
        routing::{Flow, matches},
        stock::{
            availability::Less,
            increments,
            reservations::{self, Ledger},
        },
    },
    wait_reason::WaitReason,
};

/// The parts that a batch of facets lives on.
#[derive(Default)]
pub(in crate::sync) struct Hosts {
    /// `product.variants`; `None` for entities that exist on their own.
    pub(in crate::sync) list: Option<String>,
    /// Field of the facet that names its part: `sku`.
    pub(in crate::sync) field: Option<String>,
    /// Part key to the target's ids of that part. Only if there is a single id is it clear which part is meant.
    pub(in crate::sync) ids: BTreeMap<String, Vec<String>>,
    /// Facets that the target shows for these parts under a key of its own and that belong to no other record: by
    /// the target's id.
    pub(in crate::sync) there: BTreeMap<String, Replica>,
}

impl Hosts {
    pub(in crate::sync) async fn of(batch: &Batch<'_>, replicas: &BTreeMap<RecordId, Vec<Replica>>) -> Result<Self> {
        let Some(list) = batch.capabilities.facet_of.clone() else { return Ok(Self::default()) };
        let spec = batch.context.entities.get(batch.entity);
        let field = spec.and_then(|spec| {
            spec.fields.iter().find(|(_, field)| field.part.as_ref() == Some(&list)).map(|(name, _)| name.clone())
        });
        let Some(name) = &field else { return Ok(Self { list: Some(list), field, ..Self::default() }) };
        let asked: BTreeSet<(String, String)> = replicas
            .values()
            .flatten()
            .filter_map(|replica| Some((list.clone(), replica.fields.get(name)?.as_str()?.to_owned())))
            .collect();
        let asked: Vec<(String, String)> = asked.into_iter().collect();
        let found = batch.context.store.child_ids(batch.target, &asked).await?;
        let ids: BTreeMap<String, Vec<String>> =
            found.into_iter().map(|((_, key), ids)| (key, ids.into_iter().map(|(id, _)| id).collect())).collect();
        let all: Vec<String> = ids.values().flatten().cloned().collect();
        let store = &batch.context.store;
        let shown =
            if all.is_empty() { Vec::new() } else { store.replicas_by_id(batch.target, batch.entity, &all).await? };
        let records: Vec<RecordId> = shown.iter().map(|replica| replica.record).collect();
        let others = if records.is_empty() { Vec::new() } else { store.replicas_of(&records).await? };
        let others: BTreeSet<RecordId> =
            others.iter().filter(|replica| replica.system != batch.target).map(|replica| replica.record).collect();
        let own = shown.into_iter().filter(|one| one.gone_at.is_none() && !others.contains(&one.record));
        let there = own.map(|replica| (replica.id.clone(), replica)).collect();
        Ok(Self { list: Some(list), field, ids, there })
    }

    /// Key of the part that a facet's record lives on.
    pub(in crate::sync) fn part_key<'a>(&self, replicas: &'a [Replica]) -> Option<&'a str> {
        let field = self.field.as_ref()?;
        replicas.iter().find_map(|replica| replica.fields.get(field)?.as_str())
    }
}

/// What the store knows of a batch's records.
pub(in crate::sync) struct Loaded {
    pub(in crate::sync) replicas: BTreeMap<RecordId, Vec<Replica>>,
    pub(in crate::sync) keys: BTreeMap<RecordId, (String, String)>,
    /// How they are named to people.
    names: BTreeMap<RecordId, (String, String)>,
    /// Referenced records that another system numbers and that this one cannot be given.
    pub(in crate::sync) strangers: BTreeSet<RecordId>,
    pub(in crate::sync) hosts: Hosts,
    pub(in crate::sync) merged: BTreeMap<RecordId, Merged>,
    /// Shared fields in conflict at the target.
    pub(in crate::sync) conflicts: BTreeMap<RecordId, BTreeSet<String>>,
    /// What the target holds otherwise than it was sent.
    pub(in crate::sync) differences: BTreeMap<RecordId, Vec<Difference>>,
    pub(in crate::sync) stock: Stock,
    pub(in crate::sync) link_context: LinkContext,
    pub(in crate::sync) terms: Terms,
    pub(in crate::sync) unread: UnreadableRows,
}

/// Rows of the target that could not be read and belong to no record: an object to be created may be one of them.
#[derive(Default)]
pub(in crate::sync) struct UnreadableRows {
    /// The first of the rows that may be any object.
    any: Option<String>,
    /// Match field (empty for the key) and value to the row.
    rows: BTreeMap<(String, String), String>,
}

impl UnreadableRows {
    async fn of(batch: &Batch<'_>) -> Result<Self> {
        let mut unread = Self::default();
        for row in batch.context.store.unread(batch.target, batch.entity).await? {
            let name = row.id.unwrap_or(row.position);
            match row.likes {
                None => drop(unread.any.get_or_insert(name)),
                Some(likes) => unread.rows.extend(likes.into_iter().map(|like| (like, name.clone()))),
            }
        }
        Ok(unread)
    }

    /// Return why a record is not created: it may be there already, in a row that cannot be read.
    pub(in crate::sync) fn holds(&self, batch: &Batch<'_>, key: &str, replicas: &[Replica]) -> Option<Failure> {
        let (target, entity) = (batch.target, batch.entity);
        let help = format!(
            "`vaiven rejected` tells why; mend it or the mapping, or put it aside (`vaiven rows dismiss {target}/{entity} ROW`)"
        );
        if let Some(row) = &self.any {
            let message = format!(
                "row {row} of {entity} at {target} cannot be read, not even its key, and may be this one: {help}"
            );
            return Some(Failure::new(Class::Unmapped, message).with_cause(WaitReason::unread_rows(target, entity)));
        }
        if self.rows.is_empty() {
            return None;
        }
        let context = batch.context;
        let spec = context.entities.get(entity).map(|spec| &**spec);
        let own = replicas.iter().flat_map(|replica| {
            let mut own = matches(spec, &context.recognised_by(&replica.system, entity), &replica.fields);
            own.extend(respelt::values_of(context, &replica.system, entity, &replica.fields));
            own
        });
        let row = std::iter::once((String::new(), key.to_owned())).chain(own).find_map(|like| self.rows.get(&like))?;
        let message = format!("{target} may have this {entity} already: row {row} cannot be read: {help}");
        Some(Failure::new(Class::Unmapped, message).with_cause(WaitReason::unread(entity, key)))
    }
}

/// What is subtracted from a source's stock, for batches of stock.
#[derive(Default)]
pub(in crate::sync) struct Stock {
    /// `None` if no orders are subtracted from the target's stock.
    pub(in crate::sync) ledger: Option<Ledger>,
    pub(in crate::sync) reservations: BTreeMap<RecordId, Decimal>,
    pub(in crate::sync) increments: BTreeMap<String, Decimal>,
}

impl Stock {
    pub(in crate::sync) async fn of(batch: &Batch<'_>, keys: &BTreeMap<RecordId, (String, String)>) -> Result<Self> {
        if batch.entity != reservations::STOCK {
            return Ok(Self::default());
        }
        let ledger = Ledger::of(batch.context, batch.target).await?;
        let reservations =
            if ledger.is_some() { batch.context.store.reservations(batch.target).await? } else { BTreeMap::new() };
        let skus = keys.values().map(|(_, sku)| sku.as_str()).collect();
        Ok(Self { ledger, reservations, increments: increments::increments(batch.context, batch.target, &skus).await? })
    }

    pub(in crate::sync) fn less(&self, flow: &Flow, sku: &str) -> Less {
        let reserved = self.ledger.as_ref().map_or(Decimal::ZERO, |ledger| ledger.for_flow(&flow.name, sku));
        Less { reserved, increment: self.increments.get(sku).copied() }
    }
}

/// References that were read before it was known which record they mean: the number that they hold, to the record's
/// own.
async fn aliases(
    batch: &Batch<'_>,
    replicas: &BTreeMap<RecordId, Vec<Replica>>,
) -> Result<BTreeMap<RecordId, RecordId>> {
    let Some(spec) = batch.context.entities.get(batch.entity) else { return Ok(BTreeMap::new()) };
    let all = replicas.values().flatten();
    let referred: BTreeSet<RecordId> =
        all.flat_map(|one| [&one.fields, &one.sent]).flat_map(|fields| records(&spec.fields, fields)).collect();
    if referred.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ties = batch.context.store.ties(&referred.into_iter().collect::<Vec<_>>()).await?;
    Ok(ties.into_iter().filter_map(|(record, ties)| Some((record, ties.same?))).collect())
}

impl Loaded {
    pub(in crate::sync) async fn of(batch: &Batch<'_>, jobs: &[Job]) -> Result<Self> {
        let store = &batch.context.store;
        let records: Vec<RecordId> = jobs.iter().map(|job| job.record).collect();
        let called = store.called(&records).await?;
        let keys = called.into_iter().map(|(record, called)| (record, (called.entity, called.key))).collect();
        // Load this before the figures: if a reading ends between the two, an order must not be finished while the
        // figure is still the old one.
        let stock = Stock::of(batch, &keys).await?;
        let mut replicas: BTreeMap<RecordId, Vec<Replica>> = BTreeMap::new();
        for replica in store.replicas_of(&records).await? {
            if replica.entity == batch.entity {
                replicas.entry(replica.record).or_default().push(replica);
            }
        }
        let aliases = aliases(batch, &replicas).await?;
        if let Some(spec) = batch.context.entities.get(batch.entity).filter(|_| !aliases.is_empty()) {
            for replica in replicas.values_mut().flatten() {
                renumber(&spec.fields, &mut replica.fields, &aliases);
                renumber(&spec.fields, &mut replica.sent, &aliases);
            }
        }
        let names = store.keys(&records).await?;
        let strangers = Box::pin(numbering::strangers(batch.context, batch.target, batch.entity, &replicas)).await?;
        let hosts = Hosts::of(batch, &replicas).await?;
        let (mut merged, mut conflicts) = (BTreeMap::new(), BTreeMap::<RecordId, BTreeSet<String>>::new());
        if batch.context.routes.shared(batch.entity).is_some() {
            merged = store.merged(&records).await?;
            for conflict in store.conflicts_of(&records).await? {
                if conflict.system == batch.target && conflict.kind == ConflictKind::Conflict {
                    conflicts.entry(conflict.record).or_default().insert(conflict.field);
                }
            }
        }
        let mut differences: BTreeMap<RecordId, Vec<Difference>> = BTreeMap::new();
        for difference in store.differences_of(batch.target, &records).await? {
            differences.entry(difference.record).or_default().push(difference);
        }
        let link_context = LinkContext::of(batch.context, batch.target, batch.entity, &records, &replicas).await?;
        let mapping = batch.context.mapping(batch.target, batch.entity);
        let terms = mapping.map(|mapping| Terms::of(batch.context, mapping.as_ref(), batch.entity)).unwrap_or_default();
        let unread = UnreadableRows::of(batch).await?;
        Ok(Self {
            replicas,
            keys,
            names,
            strangers,
            hosts,
            merged,
            conflicts,
            differences,
            stock,
            link_context,
            terms,
            unread,
        })
    }

    pub(in crate::sync) fn key(&self, record: RecordId) -> &str {
        self.keys.get(&record).map_or("", |(_, key)| key)
    }

    /// How a record is named to people.
    pub(in crate::sync) fn name(&self, record: RecordId) -> &str {
        self.names.get(&record).map_or("", |(_, name)| name)
    }

    /// Return what is reserved of an article from now on, if it is not the same as before: the target has sold
    /// meanwhile, or taken back what it had sold, so that it is not known what it shows.
    pub(in crate::sync) fn kept(&self, record: RecordId) -> Option<(RecordId, Decimal)> {
        let now = self.stock.ledger.as_ref()?.most(self.key(record));
        let before = self.stock.reservations.get(&record).copied().unwrap_or_default();
        (now != before).then_some((record, now))
    }

    /// What a system has of a record.
    pub(in crate::sync) fn here(&self, record: RecordId, system: &str) -> Option<&Replica> {
        self.replicas(record).iter().find(|replica| replica.system == system && replica.gone_at.is_none())
    }

    pub(in crate::sync) fn replicas(&self, record: RecordId) -> &[Replica] {
        self.replicas.get(&record).map_or(&[], Vec::as_slice)
    }
}
