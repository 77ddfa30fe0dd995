//! Finds the records that a person means: by key, by their id at a system, by a match field, or by the article they
//! belong to.

use std::collections::BTreeSet;

use serde_json::Value;

use super::naming;
use crate::{
    config::Config,
    model::{Entities, EntitySpec},
    store::{RecordId, Rejection, SharedStore},
};

/// The record with this key, or else the one that [`by_value`] finds.
///
/// # Errors
/// If it may be several records; the message names them.
pub async fn record(
    entity: &str,
    key: &str,
    spec: &EntitySpec,
    config: &Config,
    store: &SharedStore,
) -> anyhow::Result<Option<RecordId>> {
    match naming::record(store, entity, key).await? {
        Some(record) => Ok(Some(record)),
        None => by_value(entity, key, spec, config, store).await,
    }
}

/// The record that has this id at a system, or this match value.
///
/// # Errors
/// If it may be several records; the message names them.
pub async fn by_value(
    entity: &str,
    key: &str,
    spec: &EntitySpec,
    config: &Config,
    store: &SharedStore,
) -> anyhow::Result<Option<RecordId>> {
    let mut found: BTreeSet<RecordId> = BTreeSet::new();
    for system in config.sections.systems.keys() {
        let replicas = store.replicas_by_id(system.get_ref(), entity, &[key.to_owned()]).await?;
        found.extend(replicas.into_iter().map(|replica| replica.record));
    }
    let matched = spec.fields.iter().filter_map(|(name, field)| {
        let value = field.compare?.comparable(key);
        (!value.is_empty()).then(|| vec![(name.clone(), value)])
    });
    found.extend(store.recognise(entity, &matched.collect::<Vec<_>>()).await?.into_iter().flatten());
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (one, None) => Ok(one),
        (None, Some(other)) => Ok(Some(other)),
        (Some(one), Some(other)) => {
            let all: Vec<RecordId> = [one, other].into_iter().chain(found).collect();
            let keys: Vec<String> = store.keys(&all).await?.into_values().map(|(_, key)| key).collect();
            anyhow::bail!("`{key}` may be any of these, ask by key: {}", keys.join(", "))
        }
    }
}

/// Records that belong to the article with this key, or to a variant of the product with this key: its prices, its
/// stock.
pub async fn of_article(
    spec: &EntitySpec,
    key: &str,
    entities: &Entities,
    config: &Config,
    store: &SharedStore,
) -> anyhow::Result<Vec<RecordId>> {
    let mut found = BTreeSet::new();
    for (name, field) in &spec.fields {
        let Some((owner, list)) = field.part.as_deref().and_then(|part| part.split_once('.')) else { continue };
        let mut articles = BTreeSet::from([key.to_owned()]);
        let member = entities.get(owner).and_then(|owner| owner.fields.get(list)?.key.clone());
        if let (Some(member), Ok(Some(product))) = (member, naming::record(store, owner, key).await) {
            let replicas = store.replicas_of(&[product]).await?;
            let items = replicas.iter().filter_map(|replica| replica.fields.get(list)?.as_array()).flatten();
            articles.extend(items.filter_map(|item| item.get(&member)?.as_str()).map(str::to_owned));
        }
        let articles: Vec<String> = articles.into_iter().collect();
        for system in config.sections.systems.keys() {
            let held = store.replicas_with_values(system.get_ref(), &spec.entity, &articles).await?;
            let names = |value: &Value| value.as_str().is_some_and(|text| articles.iter().any(|one| one == text));
            let held = held.into_iter().filter(|replica| replica.fields.get(name).is_some_and(names));
            found.extend(held.map(|replica| replica.record));
        }
    }
    Ok(found.into_iter().collect())
}

/// Unreadable rows of an entity for which `is_meant` holds; it is given the system and the row.
pub async fn rejections(
    entity: &str,
    store: &SharedStore,
    is_meant: impl Fn(&str, &Rejection) -> bool,
) -> anyhow::Result<Vec<(String, String, Rejection)>> {
    let rows = store.rejections(None, u32::MAX).await?.into_iter();
    Ok(rows.filter(|(system, of, row)| of == entity && is_meant(system, row)).collect())
}
