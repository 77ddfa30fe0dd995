//! Children that other objects depend on, such as variants with their prices and stock. If two records had the id
//! of one child, the price of one would reach the article of the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    mapping::{Children, Translate},
    port::System,
    store::{Delivered, Parent, RecordId, Result},
    sync::context::{Context, PullContext},
};

/// Return the lists of an entity's children whose ids belong to one record only at a system, because other objects
/// there refer to them by these ids. Children that nothing refers to may be shared (an image), or be numbered
/// within each object.
fn sole(context: &Context, system: &dyn System, entity: &str) -> BTreeSet<String> {
    let mut lists = BTreeSet::new();
    for other in context.entities.names() {
        lists.extend(system.capabilities(other).and_then(|capabilities| capabilities.facet_of.clone()));
        lists.extend(
            context.mapping(system.name(), other).map(|mapping| mapping.hangs_on().clone()).unwrap_or_default(),
        );
    }
    let own = lists.iter().filter_map(|list| list.split_once('.')).filter(|(of, _)| *of == entity);
    own.map(|(_, list)| list.to_owned()).collect()
}

/// System, mapping and entity of objects.
pub(in crate::sync) type Place<'a> = (&'a dyn System, &'a dyn Translate, &'a str);

/// An object's children as a system shows them.
pub(in crate::sync) struct Row<'a> {
    pub(in crate::sync) record: RecordId,
    /// The system's id of the object.
    pub(in crate::sync) object: &'a str,
    pub(in crate::sync) key: &'a str,
    pub(in crate::sync) children: &'a Children,
}

/// Which records the children's ids belong to.
#[derive(Default)]
struct Claims {
    /// Position of an object, list and id: whose child it is, as the system still shows it.
    held: BTreeMap<(usize, String, String), Parent>,
    /// List and ids that belonged to other objects and are no longer shown there.
    freed: BTreeMap<String, BTreeSet<String>>,
}

/// Compare what is shown with what other objects are known to have, and read those if they can be read.
async fn claims(context: &Context, (system, mapping, entity): Place<'_>, shown: &[Row<'_>]) -> Result<Claims> {
    let mut claims = Claims::default();
    let sole = if shown.is_empty() { BTreeSet::new() } else { sole(context, system, entity) };
    let mut asked: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for (at, one) in shown.iter().enumerate() {
        for (list, items) in one.children.iter().filter(|(list, _)| sole.contains(*list)) {
            for id in items.values().flatten() {
                asked.entry((format!("{entity}.{list}"), id.clone())).or_default().push(at);
            }
        }
    }
    if asked.is_empty() {
        return Ok(claims);
    }
    let asked_keys: Vec<(String, String)> = asked.keys().cloned().collect();
    let known = context.store.parents(system.name(), &asked_keys).await?;
    // Another record's answer may show the same object's id by mistake: it does not say whose child it is.
    let shown_of = |parent: &Parent| shown.iter().find(|one| one.record == parent.record);
    let (mut contested, mut objects) = (Vec::new(), BTreeSet::new());
    for (asked_key, parents) in known {
        for at in asked.get(&asked_key).into_iter().flatten() {
            let is_other = |parent: &&Parent| parent.record != shown[*at].record && parent.object != shown[*at].object;
            for parent in parents.iter().filter(is_other) {
                if shown_of(parent).is_none() {
                    objects.insert(parent.object.clone());
                }
                contested.push((*at, asked_key.clone(), parent.clone()));
            }
        }
    }
    let mut now: BTreeMap<String, Option<Children>> = BTreeMap::new();
    if !objects.is_empty() && system.capabilities(entity).is_some_and(|capabilities| capabilities.read) {
        let objects: Vec<String> = objects.into_iter().collect();
        // If they cannot be read, they have what they were last seen to have.
        if let Ok(rows) = system.read(entity, &objects).await {
            now.extend(objects.into_iter().map(|object| (object, Some(Children::new()))));
            for row in rows {
                let pulled = mapping.pull(&row.body.into_value()).ok();
                now.insert(row.id, pulled.map(|pulled| pulled.child_ids));
            }
        }
    }
    for (at, (list, id), parent) in contested {
        let list = list.split_once('.').map_or(list.as_str(), |(_, list)| list).to_owned();
        let here = shown_of(&parent).map(|one| one.children);
        let there = here.or_else(|| now.get(&parent.object)?.as_ref());
        let has = |children: &Children| {
            children.get(&list).is_some_and(|items| items.values().any(|one| one.as_deref() == Some(&*id)))
        };
        if there.is_none_or(has) {
            claims.held.entry((at, list, id)).or_insert(parent);
        } else {
            claims.freed.entry(list).or_default().insert(id);
        }
    }
    for (_, list, id) in claims.held.keys() {
        if let Some(freed) = claims.freed.get_mut(list) {
            freed.remove(id);
        }
    }
    for list in sole {
        claims.freed.entry(list).or_default();
    }
    Ok(claims)
}

/// Set in the deliveries which of their children belong to one record only, and which have moved.
pub(in crate::sync) async fn prove(context: &Context, place: Place<'_>, ends: &mut [Delivered]) -> Result<()> {
    let shown: Vec<Row<'_>> = (ends.iter().filter_map(|end| end.replica.as_ref()))
        .filter_map(|replica| {
            let children = replica.child_ids.as_ref()?;
            Some(Row { record: replica.record, object: &replica.id, key: "", children })
        })
        .collect();
    let freed = claims(context, place, &shown).await?.freed;
    for end in ends {
        end.sole.clone_from(&freed);
    }
    Ok(())
}

/// Return the rows of a page that show another record's child: by id, why they are refused.
pub(in crate::sync) async fn refused(reading: &PullContext<'_>, shown: &[Row<'_>]) -> Result<BTreeMap<String, String>> {
    refusals(reading.context, (reading.system, reading.mapping, reading.entity), shown).await
}

/// Return why an object that a lookup found is not adopted: a write to it would reach another record's child.
pub(in crate::sync) async fn foreign(context: &Context, place: Place<'_>, found: Row<'_>) -> Result<Option<String>> {
    Ok(refusals(context, place, &[found]).await?.into_values().next())
}

async fn refusals(
    context: &Context,
    (system, mapping, entity): Place<'_>,
    shown: &[Row<'_>],
) -> Result<BTreeMap<String, String>> {
    let claims = claims(context, (system, mapping, entity), shown).await?;
    let mut refused = BTreeMap::new();
    let mut refuse = |row: &Row<'_>, list: &str, id: &str, (child, holder): (&str, &str)| {
        let reason = format!(
            "{} shows the id {id} in {list} of {entity} {}, which is that of {child} of {entity} {holder} there \
             already; what hangs on it would be the other's. Let only one of the two have it",
            system.name(),
            row.key
        );
        refused.entry(row.object.to_owned()).or_insert(reason);
    };
    for ((at, list, id), parent) in &claims.held {
        refuse(&shown[*at], list, id, (&parent.child, &parent.key));
    }
    let mut first: BTreeMap<(&str, &str), (&Row<'_>, &str)> = BTreeMap::new();
    let is_held = |at: usize| claims.held.keys().any(|(held, ..)| *held == at);
    for (_, row) in shown.iter().enumerate().filter(|(at, _)| !is_held(*at)) {
        for (list, items) in row.children.iter().filter(|(list, _)| claims.freed.contains_key(*list)) {
            for (child, id) in items.iter().filter_map(|(child, id)| Some((child, id.as_deref()?))) {
                let (holder, called) = *first.entry((list, id)).or_insert((row, child));
                if holder.record != row.record {
                    refuse(row, list, id, (called, holder.key));
                }
            }
        }
    }
    Ok(refused)
}
