//! Answers to a write that show another record's object: taking its id over would link this record to the wrong
//! object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    failure::Class,
    mapping::{Fields, Pulled, Translate},
    port::{Op, Written},
    store::{Attempt, Delivered, RecordId, Result, Verdict},
    sync::{
        delivery::record::WrittenTask,
        desired::{Batch, Task},
    },
};

/// Find the writes whose answer shows the key of another record: one that was written together with it, or one that
/// is known. Return, by position, the key that was shown. A target may spell a key in its own way, and an object
/// with the id that was written to is the record's, whatever its key there.
pub(in crate::sync) async fn crossed(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    written: &[WrittenTask],
    shown: &[Option<Pulled>],
) -> Result<BTreeMap<usize, String>> {
    let Some(spec) = batch.context.entities.get(batch.entity).filter(|_| mapping.takes_key()) else {
        return Ok(BTreeMap::new());
    };
    let key = |fields: &Fields| fields.get(&spec.key).and_then(Value::as_str).map(str::to_owned);
    let other: BTreeMap<usize, String> = (written.iter().zip(shown).enumerate())
        .filter(|(_, (one, _))| !is_meant(&one.task, &one.answer))
        .filter_map(|(at, (one, shown))| {
            let (sent, seen) = (key(&one.task.desired)?, key(&shown.as_ref()?.fields)?);
            (spelt(&sent) != spelt(&seen)).then_some((at, seen))
        })
        .collect();
    if other.is_empty() {
        return Ok(other);
    }
    let keys: Vec<String> = other.values().cloned().collect();
    // Several systems may have given the same number themselves.
    let known = if spec.numbered { Vec::new() } else { batch.context.store.namesakes(batch.entity, &keys).await? };
    let mut holders: BTreeMap<&str, BTreeSet<RecordId>> = BTreeMap::new();
    for (key, namesakes) in keys.iter().zip(known) {
        holders.entry(key).or_default().extend(namesakes.iter().flat_map(|one| [one.record, one.itself]));
    }
    let is_anothers = |at: usize, seen: &str| {
        let record = written[at].task.job.record;
        let together = written.iter().any(|WrittenTask { task, .. }| {
            task.job.record != record && key(&task.desired).is_some_and(|sent| spelt(&sent) == spelt(seen))
        });
        together || holders.get(seen).is_some_and(|holders| !holders.is_empty() && !holders.contains(&record))
    };
    Ok(other.iter().filter(|(at, seen)| is_anothers(**at, seen)).map(|(at, seen)| (*at, seen.clone())).collect())
}

/// Whether an answer is about the object that was written to.
fn is_meant(task: &Task, answer: &Written) -> bool {
    let found = task.write.found.as_ref().map(|row| row.id.as_str());
    let known = task.write.id.as_deref().or(found);
    task.write.op == Op::Delete || known.is_some_and(|known| answer.id.is_empty() || answer.id == known)
}

fn spelt(key: &str) -> String {
    key.trim().to_lowercase()
}

/// Return the end of such a write. Keep its intent, so that the next attempt looks its object up.
pub(in crate::sync) fn refused(batch: &Batch<'_>, task: &Task, attempt: Attempt, seen: &str) -> Delivered {
    let (target, entity, key, op) = (batch.target, batch.entity, &task.write.key, task.op_name());
    let looks = if task.write.op == Op::Create { format!(", which looks for {key} first,") } else { String::new() };
    let error = format!(
        "{target} answered the {op} of {entity} {key} with {entity} {seen}, which is another one; nothing is linked here. See what \
         {target} has under both, then retry the job{looks} or discard it"
    );
    let class = Class::Rejected.as_str().to_owned();
    let attempt = Attempt { outcome: class.clone(), message: Some(error.clone()), ..attempt };
    Delivered { attempt: Some(attempt), ..Delivered::new(&task.job, Verdict::Dead { class, error }) }
}
