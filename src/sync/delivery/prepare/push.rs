//! Turns desired objects into the target's own shape, with its ids of everything that they refer to.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    failure::{Class, Failure},
    mapping::{Externals, Fields, Needs, Translate},
    port::{Op, Write},
    store::{RecordId, Result},
    sync::{
        context::circuit,
        desired::{Batch, Known, Prepared, Task, is_untold},
        identity::children,
    },
};

/// Turn desired objects into the target's shape.
pub(super) async fn push(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    known: Vec<Known>,
    externals: &Externals,
    prepared: &mut Prepared,
) -> Result<()> {
    let records: Vec<RecordId> = known.iter().map(|one| one.job.record).collect();
    let children = batch.context.store.children_of(&records).await?;
    let spec = batch.context.entities.get(batch.entity);
    let mut externals = externals.clone();
    let (known, mut there) = look(batch, mapping, known, prepared).await?;
    for one in known {
        let (own, members) = spec.filter(|_| one.op != Op::Delete).map_or_else(Default::default, |spec| {
            let children = children.get(&one.job.record).map_or(&[][..], Vec::as_slice);
            let before = one.here.as_ref().map(|here| &here.fields);
            let noted = one.job.intent.as_ref().map(|intent| &intent.children);
            let known =
                children::KnownChildren { spec, target: batch.target, children, found: &one.child_ids, noted, before };
            let whole = one.whole();
            (children::Own::of(known, &whole, &one.changed), children::members(known, &whole, &one.changed))
        });
        externals.own = own.ids;
        externals.there = one.here.as_ref().and_then(|here| there.remove(&here.id));
        let externals = &externals;
        let only = (one.op == Op::Update && !batch.capabilities.replaces).then_some(&one.changed);
        let mut fields = one.whole();
        let pushed = if one.op == Op::Delete {
            fields = Fields::new();
            Ok((Value::Null, Value::Null))
        } else {
            let mut whole = mapping.push(&fields, None, externals);
            if whole.is_err() && only.is_some() {
                // The other fields that the target holds may refer to something that it has lost. That must not
                // block what is desired.
                fields.clone_from(&one.desired);
                whole = mapping.push(&fields, None, externals);
            }
            whole.and_then(|whole| {
                Ok((if only.is_some() { mapping.push(&fields, only, externals)? } else { whole.clone() }, whole))
            })
        };
        let (body, whole) = match pushed {
            Ok(pushed) => pushed,
            Err(failure) => {
                prepared.fail(batch, &one.job, &failure);
                continue;
            }
        };
        let is_new = |(list, key): &(String, String)| {
            let name = list.rsplit('.').next().unwrap_or(list);
            one.changed.contains(name) && !externals.own.contains_key(&(list.clone(), key.clone()))
        };
        let lists = |field: &String| spec.is_some_and(|spec| spec.fields.get(field).is_some_and(|of| of.key.is_some()));
        let adds =
            one.op == Op::Update && one.changed.iter().any(lists) && mapping.needs(&fields).own.iter().any(is_new);
        if adds && !batch.capabilities.read && is_untold(&one.job) {
            let text = format!(
                "an update that adds to this {} had no answer, and the adapter of {} cannot read it; check there, then retry or \
                 discard",
                batch.entity, batch.target
            );
            prepared.fail(batch, &one.job, &Failure::new(Class::Rejected, text));
            continue;
        }
        if let Some(failure) = one.unread(batch).filter(|_| adds && is_untold(&one.job)) {
            prepared.fail(batch, &one.job, &failure);
            continue;
        }
        let done = one
            .job
            .intent
            .as_ref()
            .filter(|intent| intent.op == one.op)
            .map(|intent| intent.done.clone())
            .unwrap_or_default();
        let write = Write {
            job: one.job.id,
            op: one.op,
            key: one.key,
            id: one.here.as_ref().filter(|_| one.op != Op::Create).map(|replica| replica.id.clone()),
            body,
            whole,
            before: one.here.as_ref().map_or(Value::Null, |replica| Value::Object(replica.fields.clone())),
            desired: Value::Object(fields),
            changed: one.changed.clone(),
            child_ids: own.known,
            held: own.held,
            dropped: own.dropped,
            yielding: own.yielding,
            done,
            found: one.found,
        };
        prepared.tasks.push(Task {
            intent: one.job.intent.clone(),
            job: one.job,
            replica: one.here,
            changed: one.changed,
            desired: one.desired,
            write,
            adopted: one.child_ids,
            conflicts: one.conflicts,
            unsent_changes: one.unsent_changes,
            costly_differences: one.costly_differences,
            aside: false,
            adds,
            members,
            shown: one.shown,
        });
    }
    Ok(())
}

/// Read objects as the target shows them right now, by id, for updates that are made from that as well. Jobs whose
/// object cannot be read wait. If the target no longer has an object, its answer to the write will say so.
async fn look(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    known: Vec<Known>,
    prepared: &mut Prepared,
) -> Result<(Vec<Known>, BTreeMap<String, Value>)> {
    let looks = |one: &Known| {
        let only = (!batch.capabilities.replaces).then_some(&one.changed);
        one.op == Op::Update && batch.capabilities.read && mapping.looks(only)
    };
    let ids: Vec<String> =
        known.iter().filter(|one| looks(one)).filter_map(|one| Some(one.here.as_ref()?.id.clone())).collect();
    if ids.is_empty() {
        return Ok((known, BTreeMap::new()));
    }
    match batch.system.read(batch.entity, &ids).await {
        Ok(rows) => Ok((known, rows.into_iter().map(|row| (row.id, row.body.into_value())).collect())),
        Err(failure) => {
            circuit::struck(batch.context, batch.target, &failure).await?;
            let (unseen, rest): (Vec<_>, Vec<_>) = known.into_iter().partition(looks);
            for one in unseen {
                prepared.fail(batch, &one.job, &failure);
            }
            Ok((rest, BTreeMap::new()))
        }
    }
}

/// Return the target's ids of everything that the objects refer to.
pub(super) async fn externals(batch: &Batch<'_>, mapping: &dyn Translate, known: &[Known]) -> Result<Externals> {
    let needs = known.iter().fold(Needs::default(), |mut all, one| {
        let needs = mapping.needs(&one.whole());
        all.records.extend(needs.records);
        all.child_ids.extend(needs.child_ids);
        all
    });
    let records: Vec<RecordId> = needs.records.iter().map(|(_, record)| *record).collect();
    let child_ids: Vec<(String, String)> = needs.child_ids.iter().cloned().collect();
    let mut externals = Externals::default();
    if !records.is_empty() {
        let ids = batch.context.store.externals(batch.target, &records).await?;
        let names = batch.context.store.keys(&records).await?;
        let called = batch.context.store.called(&records).await?;
        for (entity, record) in &needs.records {
            if let Some(id) = ids.get(record) {
                externals.records.insert((entity.clone(), *record), id.clone());
            }
            if let Some(called) = called.get(record) {
                externals.keys.insert((entity.clone(), *record), called.key.clone());
            }
            if let Some((_, name)) = names.get(record) {
                externals.names.insert((entity.clone(), *record), name.clone());
            }
        }
    }
    if !child_ids.is_empty() {
        for (part, mut ids) in batch.context.store.child_ids(batch.target, &child_ids).await? {
            match (ids.pop(), ids.is_empty()) {
                (Some((id, _)), true) => drop(externals.child_ids.insert(part, id)),
                _ => drop(externals.unclear.insert(part)),
            }
        }
    }
    Ok(externals)
}
