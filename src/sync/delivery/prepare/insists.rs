//! Targets that neither answer with what they stored nor can be read by id. Only their next listing shows what they
//! made of a value, and an edit would look the same. If a target shows the same value again after one repair, it
//! insists on it: that is a difference, and it is not repaired again.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    mapping::{Fields, Translate},
    port::Op,
    store::{Delivered, DifferenceMark, RecordId, Replica, Result, Verdict},
    sync::{
        desired::{Batch, Known, Prepared, differing},
        stock::reservations,
    },
};

/// End jobs as differences if the target insists on its value, and return the others.
pub(super) async fn leave(batch: &Batch<'_>, known: Vec<Known>, prepared: &mut Prepared) -> Result<Vec<Known>> {
    // Stock figures are sold from all day, and come back to the same value.
    if batch.capabilities.read || batch.entity == reservations::STOCK {
        return Ok(known);
    }
    let Some(mapping) = batch.context.mapping(batch.target, batch.entity) else { return Ok(known) };
    let is_update = |one: &&Known| one.op == Op::Update && one.here.is_some();
    let records: Vec<RecordId> = known.iter().filter(is_update).map(|one| one.job.record).collect();
    let ever = chrono::DateTime::UNIX_EPOCH;
    let mut writes: BTreeMap<RecordId, Vec<Fields>> = BTreeMap::new();
    // The latest come first.
    for (record, _, fields) in batch.context.store.written_often(batch.target, &records, ever, 2).await? {
        writes.entry(record).or_default().push(fields);
    }
    let mut rest = Vec::with_capacity(known.len());
    for one in known {
        let here = one.here.as_ref().filter(|_| one.op == Op::Update);
        let ours = writes.get(&one.job.record).map_or(&[][..], Vec::as_slice);
        match here.filter(|here| one.changed.iter().all(|field| insists(ours, field, here, &one.desired))) {
            Some(here) => prepared.ended.push(end(batch, mapping.as_ref(), &one, here)),
            None => rest.push(one),
        }
    }
    Ok(rest)
}

/// Whether our last two writes of a field sent what is desired now, and the second was written over what is there
/// now.
fn insists(ours: &[Fields], field: &str, here: &Replica, desired: &Fields) -> bool {
    let null = &Value::Null;
    let desired = desired.get(field).unwrap_or(null);
    let mut sent = ours.iter().filter_map(|fields| fields.get(field));
    let (Some(last), Some(first)) = (sent.next(), sent.next()) else { return false };
    let (over, by) = (last.get(0).unwrap_or(null), last.get(1).unwrap_or(null));
    by == desired && over == here.fields.get(field).unwrap_or(null) && first.get(1).unwrap_or(null) == desired
}

/// Record what was sent beside what is there.
fn end(batch: &Batch<'_>, mapping: &dyn Translate, one: &Known, here: &Replica) -> Delivered {
    let (mut differs, mut costly_differences) = (Vec::new(), one.costly_differences.clone());
    let mut there = here.clone();
    for field in &one.changed {
        let (sent, stored) = (one.desired.get(field), here.fields.get(field));
        let (sent, stored) = (sent.cloned().unwrap_or_default(), stored.cloned().unwrap_or_default());
        let altered = batch.context.alteration((batch.entity, field), &mapping.outline(), &sent, &stored);
        if altered.is_difference() {
            let (record, mapping) = (one.job.record, mapping.version());
            differs.push(DifferenceMark { record, field: field.clone(), mapping });
            let costs = batch.context.costs((batch.entity, field), &altered, &sent, &stored);
            costly_differences.extend(costs.map(|reason| (field.clone(), reason)));
        }
        there.sent.insert(field.clone(), sent);
    }
    let parked = differing::differs_at(batch.target, batch.entity, &one.key, &costly_differences);
    let verdict = parked.unwrap_or(Verdict::Done { noop: true });
    Delivered { before: Some(here.clone()), differs, ..one.ended(verdict, Some(there.into())) }
}
