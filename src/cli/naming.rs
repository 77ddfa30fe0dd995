//! Finds records by the names that people use: a key, `SYSTEM/KEY` if several systems gave the key, or `SYSTEM#ID`.

use std::collections::BTreeMap;

use crate::store::{Namesake, RecordId, SharedStore};

/// The record that a key means. Return `None` if there is none.
///
/// # Errors
/// If it may mean several records; the message names them.
pub async fn record(store: &SharedStore, entity: &str, text: &str) -> anyhow::Result<Option<RecordId>> {
    let mut found = namesakes(store, entity, text).await?;
    // Causes name a record without a key by its number.
    if let (true, Some(number)) = (found.is_empty(), text.strip_prefix('#').and_then(|number| number.parse().ok()))
        && store.replicas_of(&[number]).await?.iter().any(|replica| replica.entity == entity)
    {
        return Ok(Some(number));
    }
    if let (true, Some((system, id))) = (found.is_empty(), text.split_once('#')) {
        let there = store.replicas_by_id(system, entity, &[id.to_owned()]).await?;
        if let Some(replica) = there.first() {
            return Ok(Some(replica.record));
        }
    }
    if found.is_empty()
        && let Some((system, key)) = text.split_once('/')
    {
        let systems = systems(store, &namesakes(store, entity, key).await?).await?;
        found = namesakes(store, entity, key).await?;
        found.retain(|one| {
            let has = systems.get(&one.record).is_some_and(|ids| ids.contains_key(system));
            one.numbered_by.as_deref() == Some(system) || (one.numbered_by.is_none() && has)
        });
    }
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.itself)),
        several => {
            let names = store.keys(&several.iter().map(|one| one.record).collect::<Vec<_>>()).await?;
            let systems = systems(store, several).await?;
            let shown = several.iter().map(|one| {
                let name = names.get(&one.record).map_or("?", |(_, name)| name.as_str());
                let ids = systems.get(&one.record).into_iter().flatten();
                let ids = ids.map(|(system, id)| format!("{system} {id}")).collect::<Vec<_>>().join(", ");
                if ids.is_empty() { name.to_owned() } else { format!("{name} ({ids})") }
            });
            anyhow::bail!(
                "`{text}` is the {entity} of more than one system; say which: {}",
                shown.collect::<Vec<_>>().join(", ")
            )
        }
    }
}

async fn namesakes(store: &SharedStore, entity: &str, key: &str) -> anyhow::Result<Vec<Namesake>> {
    Ok(store.namesakes(entity, &[key.to_owned()]).await?.pop().unwrap_or_default())
}

/// By record: each system that has it, with the record's id there.
async fn systems(
    store: &SharedStore,
    records: &[Namesake],
) -> anyhow::Result<BTreeMap<RecordId, BTreeMap<String, String>>> {
    let mut systems: BTreeMap<RecordId, BTreeMap<String, String>> = BTreeMap::new();
    for replica in store.replicas_of(&records.iter().map(|one| one.record).collect::<Vec<_>>()).await? {
        if replica.gone_at.is_none() {
            systems.entry(replica.record).or_default().insert(replica.system, replica.id);
        }
    }
    Ok(systems)
}
