//! Children: which object of the target is meant by each item that it should have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    expr::text_of,
    mapping::{ChildIds, Children, Fields},
    model::EntitySpec,
    store::Child,
    sync::identity::unique::{self, Unique},
};

/// A record's children at a target, as seen from what is desired there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sync) struct Own {
    /// (entity and list, desired key) to the target's id.
    pub(in crate::sync) ids: ChildIds,
    /// The same by list, together with the children that are not desired, under the key that the target has for
    /// them.
    pub(in crate::sync) known: BTreeMap<String, BTreeMap<String, String>>,
    /// By list: key that the target has now, to id.
    pub(in crate::sync) held: BTreeMap<String, BTreeMap<String, String>>,
    /// By list: ids of children that the target should no longer have.
    pub(in crate::sync) dropped: BTreeMap<String, Vec<String>>,
    /// By list: ids of children that stay, and that hold a unique value which another child of the object should
    /// have.
    pub(in crate::sync) yielding: BTreeMap<String, Vec<String>>,
}

/// What is known of a record's children and of its object at the target.
#[derive(Clone, Copy)]
pub(in crate::sync) struct KnownChildren<'a> {
    pub(in crate::sync) spec: &'a EntitySpec,
    pub(in crate::sync) target: &'a str,
    /// The record's children at all systems.
    pub(in crate::sync) children: &'a [Child],
    /// Children of an object that a lookup has just found at the target and that are not stored yet.
    pub(in crate::sync) found: &'a Children,
    /// Their member numbers, by list and key, as far as the write that made them has stored them.
    pub(in crate::sync) noted: Option<&'a BTreeMap<String, BTreeMap<String, i64>>>,
    /// The object as the target has it.
    pub(in crate::sync) before: Option<&'a Fields>,
}

impl Own {
    /// Compute a record's children. `whole` is the object as the target should have it; `changed` are its fields
    /// that are written.
    pub(in crate::sync) fn of(known: KnownChildren<'_>, whole: &Fields, changed: &BTreeSet<String>) -> Self {
        let KnownChildren { spec, target, children, found, noted, before } = known;
        let mut own = Self::default();
        let there = children.iter().filter(|child| child.system == target).map(|child| &child.list);
        let lists: BTreeSet<&String> = there.chain(found.keys()).collect();
        for list in lists {
            let noted = noted.and_then(|noted| noted.get(list));
            let (there, from): (Vec<&Child>, Vec<&Child>) =
                children.iter().filter(|child| child.list == *list).partition(|child| child.system == target);
            let here: Vec<Child> = match found.get(list) {
                Some(items) => seen(target, list, items, noted),
                None => there.into_iter().map(|child| listed(child, &from, noted)).collect(),
            };
            let here: Vec<&Child> = here.iter().collect();
            let keys = keys(spec, list, whole);
            let meant = meant(&here, &from, keys.as_ref().unwrap_or(&BTreeSet::new()));
            let taken: BTreeSet<&str> = meant.values().map(|child| child.id.as_str()).collect();
            let rest: Vec<&&Child> = here.iter().filter(|child| !taken.contains(child.id.as_str())).collect();
            let known = own.known.entry(list.clone()).or_default();
            known.extend(rest.iter().map(|child| (child.key.clone(), child.id.clone())));
            known.extend(meant.iter().map(|(key, child)| (key.clone(), child.id.clone())));
            own.ids.extend(
                meant.iter().map(|(key, child)| ((format!("{}.{list}", spec.entity), key.clone()), child.id.clone())),
            );
            own.held.insert(list.clone(), here.iter().map(|child| (child.key.clone(), child.id.clone())).collect());
            if keys.is_some() || changed.contains(list) {
                own.dropped.insert(list.clone(), rest.iter().map(|child| child.id.clone()).collect());
            }
            own.yielding.insert(list.clone(), yielding((spec, list), &meant, before, whole));
        }
        own
    }
}

/// Children of an object that a lookup found.
fn seen(
    target: &str,
    list: &str,
    items: &BTreeMap<String, Option<String>>,
    noted: Option<&BTreeMap<String, i64>>,
) -> Vec<Child> {
    // Children without a stored member number are no member of another system's: they are told apart by their keys.
    let named = items.iter().filter_map(|(key, id)| Some((key, id.as_ref()?)));
    named
        .map(|(key, id)| Child {
            system: target.to_owned(),
            list: list.to_owned(),
            key: key.clone(),
            id: id.clone(),
            member: noted.and_then(|noted| noted.get(key)).copied().unwrap_or(0),
        })
        .collect()
}

/// Return a child that the target has shown. A listing may have shown it before it was known that our write had
/// made it: then it shares no member number with another system's child yet, but that write has stored whose child
/// it is.
fn listed(child: &Child, from: &[&Child], noted: Option<&BTreeMap<String, i64>>) -> Child {
    let is_a_member = from.iter().any(|other| other.member == child.member);
    let noted = noted.and_then(|noted| noted.get(&child.key)).filter(|_| !is_a_member);
    Child { member: noted.copied().unwrap_or(child.member), ..child.clone() }
}

/// By list and key: the member numbers, known at systems other than the target, of the children that are desired in
/// `changed` lists.
pub(in crate::sync) fn members(
    known: KnownChildren<'_>,
    whole: &Fields,
    changed: &BTreeSet<String>,
) -> BTreeMap<String, BTreeMap<String, i64>> {
    let mut members: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for child in known.children.iter().filter(|child| child.system != known.target && changed.contains(&child.list)) {
        if keys(known.spec, &child.list, whole).is_some_and(|keys| keys.contains(&child.key)) {
            members.entry(child.list.clone()).or_default().insert(child.key.clone(), child.member);
        }
    }
    members
}

/// Find the child that each desired key means: the child that has this key at another system, whatever its key at
/// the target still is; otherwise the target's child of that key, unless that is another child.
fn meant<'a>(here: &[&'a Child], from: &[&Child], desired: &BTreeSet<String>) -> BTreeMap<String, &'a Child> {
    let mut meant: BTreeMap<String, &Child> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for key in desired {
        let mut members = from.iter().filter(|child| child.key == *key).map(|child| child.member);
        let same = members.find_map(|member| here.iter().find(|child| child.member == member));
        if let Some(child) = same.filter(|child| taken.insert(child.id.as_str())) {
            meant.insert(key.clone(), child);
        }
    }
    for key in desired {
        let free = |child: &&&Child| child.key == *key && !taken.contains(child.id.as_str());
        if !meant.contains_key(key)
            && let Some(child) = here.iter().find(free).copied()
        {
            taken.insert(child.id.as_str());
            meant.insert(key.clone(), child);
        }
    }
    meant
}

/// Return the ids of children that hold, at the target, a unique value which another child should have.
fn yielding(
    (spec, list): (&EntitySpec, &str),
    meant: &BTreeMap<String, &Child>,
    before: Option<&Fields>,
    whole: &Fields,
) -> Vec<String> {
    let Some((field, key)) = spec.fields.get(list).and_then(|field| Some((field, field.key.as_ref()?))) else {
        return Vec::new();
    };
    let items = |fields: &Fields| fields.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
    let named = |item: &Value| item.get(key).and_then(text_of).unwrap_or_default();
    let (desired, before) = (items(whole), before.map(items).unwrap_or_default());
    let yields = |child: &&&Child| {
        let mut held: BTreeSet<Unique> = before
            .iter()
            .filter(|item| named(item) == child.key)
            .flat_map(|item| unique::of_item(field, item))
            .collect();
        held.insert((key.clone(), child.key.clone()));
        let others = desired.iter().filter(|item| meant.get(&named(item)).is_none_or(|other| other.id != child.id));
        others.flat_map(|item| unique::of_item(field, item)).any(|value| held.contains(&value))
    };
    meant.values().filter(yields).map(|child| child.id.clone()).collect()
}

/// Return the keys of a list's items; `None` if the object says nothing about the list.
fn keys(spec: &EntitySpec, list: &str, fields: &Fields) -> Option<BTreeSet<String>> {
    let key = spec.fields.get(list)?.key.as_ref()?;
    let items = fields.get(list)?.as_array()?;
    Some(items.iter().filter_map(|item| item.get(key)).filter_map(text_of).collect())
}

/// Return the children of a target after a write: `fields` is what it holds now, `known` the ids that were known
/// before, by the keys that were sent, `answered` the ids in its answer. An item keeps its id if none is shown for
/// it.
pub(in crate::sync) fn after(
    spec: Option<&EntitySpec>,
    fields: &Fields,
    changed: &BTreeSet<String>,
    known: &BTreeMap<String, BTreeMap<String, String>>,
    answered: &Children,
) -> Children {
    let mut children = Children::new();
    for list in known.keys().chain(answered.keys()).collect::<BTreeSet<_>>() {
        let mut ids: BTreeMap<String, Option<String>> = BTreeMap::new();
        for (key, id) in known.get(list).into_iter().flatten() {
            ids.insert(key.clone(), Some(id.clone()));
        }
        for (key, id) in answered.get(list).into_iter().flatten().filter(|(_, id)| id.is_some()) {
            // A child that has another key now is not there twice.
            ids.retain(|_, known| known != id);
            ids.insert(key.clone(), id.clone());
        }
        match spec.and_then(|spec| keys(spec, list, fields)) {
            Some(keys) => {
                ids.retain(|key, _| keys.contains(key));
                for key in keys {
                    ids.entry(key).or_insert(None);
                }
            }
            None if changed.contains(list) && !fields.contains_key(list) => ids.clear(),
            None => {}
        }
        children.insert(list.clone(), ids);
    }
    children
}

/// Return (entity and list, id) of children that a target had and no longer has.
pub(in crate::sync) fn moved(
    entity: &str,
    held: &BTreeMap<String, BTreeMap<String, String>>,
    now: &Children,
) -> Vec<(String, String)> {
    let mut moved = Vec::new();
    for (list, before) in held {
        let stays = |id: &String| now.get(list).is_none_or(|ids| ids.values().any(|now| now.as_ref() == Some(id)));
        moved.extend(before.values().filter(|id| !stays(id)).map(|id| (format!("{entity}.{list}"), id.clone())));
    }
    moved
}

/// Merge the ids of an answer into what a system shows.
pub(in crate::sync) fn merge_answered(ids: BTreeMap<String, BTreeMap<String, String>>, into: &mut Children) {
    for (list, ids) in ids {
        into.entry(list).or_default().extend(ids.into_iter().map(|(key, id)| (key, Some(id))));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Entities;

    fn child(system: &str, key: &str, id: &str, member: i64) -> Child {
        Child { system: system.into(), list: "variants".into(), key: key.into(), id: id.into(), member }
    }

    fn product(keys: &[&str]) -> Fields {
        let variants: Vec<_> = keys.iter().map(|key| json!({ "sku": key })).collect();
        json!({ "sku": "P", "variants": variants }).as_object().unwrap().clone()
    }

    fn own(children: &[Child], found: &Children, keys: &[&str]) -> Own {
        let entities = Entities::builtin();
        let spec = entities.get("product").unwrap();
        let known = KnownChildren { spec, target: "shop", children, found, noted: None, before: None };
        Own::of(known, &product(keys), &BTreeSet::new())
    }

    fn pairs(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(key, id)| ((*key).to_owned(), (*id).to_owned())).collect()
    }

    #[test]
    fn a_renamed_child_is_meant_by_its_new_key_and_not_dropped() {
        let children = [child("erp", "MED", "2", 1), child("shop", "M", "x", 1), child("shop", "S", "y", 3)];
        let own = own(&children, &Children::new(), &["MED", "S"]);
        assert_eq!(own.ids[&("product.variants".to_owned(), "MED".to_owned())], "x");
        assert_eq!(own.known["variants"], pairs(&[("MED", "x"), ("S", "y")]));
        assert_eq!(own.held["variants"], pairs(&[("M", "x"), ("S", "y")]));
        assert!(own.dropped["variants"].is_empty());
    }

    #[test]
    fn a_child_that_a_listing_shows_before_its_write_is_known_of_is_who_that_write_has_noted() {
        let children = [child("erp", "MED", "2", 1), child("shop", "M", "x", 7)];
        let noted = BTreeMap::from([("variants".to_owned(), BTreeMap::from([("M".to_owned(), 1)]))]);
        let entities = Entities::builtin();
        let (spec, found) = (entities.get("product").unwrap(), Children::new());
        let known = KnownChildren {
            spec,
            target: "shop",
            children: &children,
            found: &found,
            noted: Some(&noted),
            before: None,
        };
        let own = Own::of(known, &product(&["MED"]), &BTreeSet::new());
        assert_eq!(own.known["variants"], pairs(&[("MED", "x")]));
        assert!(own.dropped["variants"].is_empty());
    }

    #[test]
    fn two_children_that_swap_their_keys_stay_who_they_are() {
        let children = [
            child("erp", "B", "1", 1),
            child("erp", "A", "2", 2),
            child("shop", "A", "x", 1),
            child("shop", "B", "y", 2),
        ];
        let own = own(&children, &Children::new(), &["A", "B"]);
        assert_eq!(own.known["variants"], pairs(&[("A", "y"), ("B", "x")]));
        assert_eq!(own.yielding["variants"], ["y", "x"], "each holds what the other is to have");
    }

    #[test]
    fn a_child_yields_the_barcode_that_another_is_to_have_and_none_that_is_its_own() {
        let children = [child("shop", "A", "x", 1), child("shop", "B", "y", 2)];
        let variants = |codes: [&str; 2]| {
            let items = json!([{ "sku": "A", "barcode": codes[0] }, { "sku": "B", "barcode": codes[1] }]);
            Fields::from_iter([("variants".to_owned(), items)])
        };
        let entities = Entities::builtin();
        let (spec, before, found) = (entities.get("product").unwrap(), variants(["84", "85"]), Children::new());
        let known = KnownChildren {
            spec,
            target: "shop",
            children: &children,
            found: &found,
            noted: None,
            before: Some(&before),
        };
        let own = |codes| Own::of(known, &variants(codes), &BTreeSet::new()).yielding.remove("variants").unwrap();
        assert_eq!(own(["84", "85"]), Vec::<String>::new());
        assert_eq!(own(["86", "84"]), ["x"]);
    }

    #[test]
    fn a_new_child_is_not_the_one_that_had_its_key_and_what_nobody_wants_is_dropped() {
        let children = [
            child("erp", "MED", "2", 1),
            child("erp", "M", "9", 7),
            child("shop", "M", "x", 1),
            child("shop", "OLD", "z", 4),
        ];
        let own = own(&children, &Children::new(), &["MED", "M"]);
        assert_eq!(own.known["variants"], pairs(&[("MED", "x"), ("OLD", "z")]));
        assert_eq!(own.dropped["variants"], ["z"]);
    }

    #[test]
    fn a_system_without_ids_of_its_own_names_children_by_their_keys() {
        let children = [child("shop", "A", "x", 1), child("shop", "B", "y", 2)];
        let own = own(&children, &Children::new(), &["A"]);
        assert_eq!(
            (&own.known["variants"], &own.dropped["variants"]),
            (&pairs(&[("A", "x"), ("B", "y")]), &vec!["y".to_owned()])
        );
    }

    #[test]
    fn children_of_an_object_that_a_lookup_found_are_those_it_has() {
        let found =
            Children::from([("variants".to_owned(), BTreeMap::from([("A".to_owned(), Some("v1".to_owned()))]))]);
        let own = own(&[child("erp", "A", "1", 1)], &found, &["A"]);
        assert_eq!(own.known["variants"], pairs(&[("A", "v1")]));
    }

    #[test]
    fn an_answer_without_ids_takes_none_away() {
        let entities = Entities::builtin();
        let spec = entities.get("product").map(|spec| &**spec);
        let known = BTreeMap::from([("variants".to_owned(), pairs(&[("A", "x"), ("B", "y")]))]);
        let changed = BTreeSet::from(["variants".to_owned()]);
        let kept = after(spec, &product(&["A", "C"]), &changed, &known, &Children::new());
        let some = |id: &str| Some(id.to_owned());
        assert_eq!(kept["variants"], BTreeMap::from([("A".to_owned(), some("x")), ("C".to_owned(), None)]));
        let nothing = after(spec, &Fields::new(), &BTreeSet::new(), &known, &Children::new());
        assert_eq!(nothing["variants"].len(), 2, "the list was not written and cannot be read");
    }
}
