//! The flap guard: if somebody else keeps changing an object back, it leaves the object alone for a while, and
//! reports it.

use std::collections::BTreeMap;

use crate::{
    mapping::Fields,
    port::Op,
    store::{ChangeOp, RecordId, Result, Verdict},
    sync::{
        desired::{Batch, Known, Prepared},
        stock::reservations,
    },
    wait_reason::WaitReason,
};

/// How far it looks back.
const WINDOW: chrono::Duration = chrono::Duration::hours(1);

/// Park writes whose value was written too often before, and return the others.
pub(super) async fn park_flapping(batch: &Batch<'_>, known: Vec<Known>, prepared: &mut Prepared) -> Result<Vec<Known>> {
    let often = batch.context.limits.flap_limit;
    let flaps = |one: &&Known| one.op != Op::Delete;
    let records: Vec<RecordId> = known.iter().filter(flaps).map(|one| one.job.record).collect();
    if often == 0 || records.is_empty() {
        return Ok(known);
    }
    let since = batch.context.env.now() - WINDOW;
    let mut writes: BTreeMap<RecordId, Vec<_>> = BTreeMap::new();
    for (record, op, fields) in batch.context.store.written_often(batch.target, &records, since, often).await? {
        writes.entry(record).or_default().push((op, fields));
    }
    let (mut kept, often) = (Vec::with_capacity(known.len()), usize::try_from(often).unwrap_or(usize::MAX));
    for one in known {
        let equal = writes.get(&one.job.record).map_or(0, |writes| {
            let is_equal = |(op, fields): &&(ChangeOp, _)| is_repeated(&one, *op, fields);
            writes.iter().filter(is_equal).count()
        });
        // If reservations caused the writes, nobody has changed the figure back.
        let own = batch.entity == reservations::STOCK && prepared.kept.contains_key(&one.job.id);
        if equal < often || own {
            kept.push(one);
            continue;
        }
        let what = if one.op == Op::Create {
            "it was created".to_owned()
        } else {
            format!(
                "{} had the same value written",
                one.changed.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            )
        };
        let error = format!(
            "{what} {equal} times within an hour, and {} shows something else each time: another program writes it too. \
             It is left alone until that is less than {often} times (limits.fuse)",
            batch.target
        );
        tracing::warn!(system = batch.target, entity = batch.entity, job = one.job.id.0, "{error}");
        let cause = WaitReason::flap_guard(batch.entity, &one.key);
        prepared.ended.push(one.ended(Verdict::Parked { cause, error }, None));
    }
    Ok(kept)
}

/// Whether an earlier write was the same. If one field is new, the write is another one: it must not wait for the
/// fields that flap.
fn is_repeated(one: &Known, op: ChangeOp, fields: &Fields) -> bool {
    if one.op == Op::Create {
        return op == ChangeOp::Create;
    }
    op == ChangeOp::Update
        && one.changed.iter().all(|field| fields.get(field).and_then(|pair| pair.get(1)) == one.desired.get(field))
}
