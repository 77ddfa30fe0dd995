//! Child ids that a target assigns a second time: one record's child does not become another's.

use std::collections::BTreeMap;

use super::{
    Delivered,
    objects::{QUOTED, end},
};
use crate::store::{
    Parent, RecordId, Result,
    children::{PARENTS, parent},
    replicas::Replicas,
    sql::{Tx, args, plain, rows},
};

/// A child as an answer shows it.
struct Shown {
    at: usize,
    record: RecordId,
    list: String,
    key: String,
    id: String,
}

/// End deliveries as refused if their target answered with the id of another record's child, in lists whose ids
/// belong to one record only: the earlier link stays. If the earlier record is seen not to have the child any more,
/// the child has moved and is taken over.
pub(super) async fn refuse(
    tx: &mut Tx,
    replicas: &Replicas<'_>,
    target: &str,
    outcomes: &mut [Delivered],
) -> Result<()> {
    let mut shown = Vec::new();
    for (at, outcome) in outcomes.iter().enumerate() {
        let Some(replica) = outcome.replica.as_ref().filter(|replica| !replica.gone) else { continue };
        for (list, items) in replica.child_ids.iter().flatten().filter(|(list, _)| outcome.sole.contains_key(*list)) {
            let ids = items.iter().filter_map(|(key, id)| Some((key, plain(id.as_deref()?))));
            shown.extend(ids.map(|(key, id)| Shown {
                at,
                record: replica.record,
                list: list.clone(),
                key: key.clone(),
                id: id.into_owned(),
            }));
        }
    }
    if shown.is_empty() {
        return Ok(());
    }
    let mut given: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut refused: BTreeMap<usize, (usize, Option<Parent>)> = BTreeMap::new();
    for (place, one) in shown.iter().enumerate() {
        let first = *given.entry((&one.list, &one.id)).or_insert(place);
        if shown[first].record != one.record {
            refused.entry(one.at).or_insert((place, None));
        }
    }
    let mut lines = Vec::with_capacity(shown.len());
    for one in &shown {
        lines.push((replicas.database.name(&replicas.list_name(&one.list)).await?, &one.id));
    }
    let found = tx.rows("find whose children these are", PARENTS, args![rows(lines)?, replicas.system]).await?;
    for mut row in found {
        let (place, parent) = parent(&mut row)?;
        let one = &shown[place];
        let is_moved = || outcomes.iter().any(|other| gives_up(other, parent.record, &one.list, &one.id));
        if !is_same(&outcomes[one.at], &parent) && !outcomes[one.at].sole[&one.list].contains(&one.id) && !is_moved() {
            refused.entry(one.at).or_insert((place, Some(parent)));
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let keys = keys(tx, &shown).await?;
    let name = |record: RecordId| keys.get(&record).map_or_else(|| format!("#{record}"), Clone::clone);
    let entity = replicas.entity_name;
    for (at, (place, parent)) in refused {
        let Shown { record, list, key, id, .. } = &shown[place];
        let (holder, child) = match parent {
            Some(parent) => (parent.key, parent.child),
            None => {
                let first = &shown[given[&(list.as_str(), id.as_str())]];
                (name(first.record), first.key.clone())
            }
        };
        let id: String = id.chars().take(QUOTED).collect();
        let error = format!(
            "{target} answered for {entity} {} with the id {id} in {list} (as {key}), which is that of {child} of \
             {entity} {holder} there already; that one stays, and nothing is linked here. See what {target} has of \
             both, then retry or discard the job",
            name(*record)
        );
        // The object was created, so the next attempt looks it up instead of creating it again.
        outcomes[at].is_over = false;
        end(&mut outcomes[at], error);
    }
    Ok(())
}

/// Whether the object that has the child is the record's own: a listing may have made a separate record of it
/// meanwhile.
fn is_same(outcome: &Delivered, parent: &Parent) -> bool {
    outcome.replica.as_ref().is_some_and(|own| own.record == parent.record || own.id == parent.object)
}

/// Whether an outcome of the same batch shows that its record no longer has the child.
fn gives_up(outcome: &Delivered, record: RecordId, list: &str, id: &str) -> bool {
    outcome.replica.as_ref().filter(|replica| replica.record == record).is_some_and(|replica| {
        let items = replica.child_ids.as_ref().and_then(|lists| lists.get(list));
        replica.gone || items.is_some_and(|items| items.values().all(|one| one.as_deref() != Some(id)))
    })
}

async fn keys(tx: &mut Tx, shown: &[Shown]) -> Result<BTreeMap<RecordId, String>> {
    const SQL: &str = "SELECT k.id, k.key FROM json_each($1) j CROSS JOIN record k \
        WHERE k.id = CAST(j.value->>0 AS BIGINT) AND k.key IS NOT NULL";
    let mut keys = BTreeMap::new();
    for mut row in tx.rows("read keys", SQL, args![rows(shown.iter().map(|one| [one.record]))?]).await? {
        keys.insert(row.id(0)?, row.text(1)?);
    }
    Ok(keys)
}
