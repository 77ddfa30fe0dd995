//! Three-way merge of one field, by the shape that its specification gives it.
//!
//! Lists of objects are merged item by item under their key; objects, maps and languages member by member;
//! everything else as one value. There is a conflict only if two sides changed the same leaf to different values.
//! The rules are those of file synchronizers with an archive (Unison's specification): a change of one side
//! propagates, equal changes of both agree, and no clock is asked.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::model::{FieldSpec, Kind};

/// Whose change counts if both sides changed the same leaf differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// Neither side's: the field is in conflict.
    Nobody,
    Ours,
    Theirs,
}

/// Both sides changed the same leaf to different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clash;

static ABSENT: Value = Value::Null;
static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// Return the value that holds the changes of both sides since `base`; `Null` means absent. The value is borrowed
/// if it is that of one side.
///
/// # Errors
/// If both sides changed the same leaf to different values and `prefer` names neither.
pub fn merge<'v>(
    spec: &FieldSpec,
    base: &'v Value,
    ours: &'v Value,
    theirs: &'v Value,
    prefer: Prefer,
) -> Result<Cow<'v, Value>, Clash> {
    if ours == theirs || theirs == base {
        return Ok(Cow::Borrowed(ours));
    }
    if ours == base {
        return Ok(Cow::Borrowed(theirs));
    }
    let nested = match spec.kind {
        Kind::List => merge_list(spec, base, ours, theirs, prefer),
        Kind::Object => merge_members(base, ours, theirs, prefer, |name| spec.fields.get(name)),
        Kind::Map => merge_members(base, ours, theirs, prefer, |_| spec.of.as_deref()),
        Kind::Localized => merge_members(base, ours, theirs, prefer, |_| None),
        _ => None,
    };
    nested.map_or_else(|| whole(ours, theirs, prefer), |merged| merged.map(Cow::Owned))
}

fn whole<'v>(ours: &'v Value, theirs: &'v Value, prefer: Prefer) -> Result<Cow<'v, Value>, Clash> {
    match prefer {
        Prefer::Nobody => Err(Clash),
        Prefer::Ours => Ok(Cow::Borrowed(ours)),
        Prefer::Theirs => Ok(Cow::Borrowed(theirs)),
    }
}

/// Members of an object; an absent object has none.
fn members(value: &Value) -> Option<&Map<String, Value>> {
    match value {
        Value::Null => Some(&NOTHING),
        Value::Object(members) => Some(members),
        _ => None,
    }
}

fn merge_members<'s>(
    base: &Value,
    ours: &Value,
    theirs: &Value,
    prefer: Prefer,
    spec_of: impl Fn(&str) -> Option<&'s FieldSpec>,
) -> Option<Result<Value, Clash>> {
    let (base, ours, theirs) = (members(base)?, members(ours)?, members(theirs)?);
    let mut merged = Map::new();
    let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
    for name in names {
        let [before, left, right] = [base, ours, theirs].map(|side| side.get(name).unwrap_or(&ABSENT));
        let value = match spec_of(name) {
            Some(spec) => merge(spec, before, left, right, prefer),
            None if left == right || right == before => Ok(Cow::Borrowed(left)),
            None if left == before => Ok(Cow::Borrowed(right)),
            None => whole(left, right, prefer),
        };
        match value {
            Ok(value) if value.is_null() => {}
            Ok(value) => {
                merged.insert(name.clone(), value.into_owned());
            }
            Err(clash) => return Some(Err(clash)),
        }
    }
    Some(Ok(if merged.is_empty() { Value::Null } else { Value::Object(merged) }))
}

/// Items of a list by their key, in order.
type Items<'v> = IndexMap<Cow<'v, str>, &'v Value>;

/// Return the items of a list by their key; `None` if keys cannot tell them apart.
fn items<'v>(spec: &FieldSpec, value: &'v Value) -> Option<Items<'v>> {
    let list = match value {
        Value::Null => return Some(IndexMap::new()),
        Value::Array(list) => list,
        _ => return None,
    };
    let mut items = IndexMap::with_capacity(list.len());
    for item in list {
        let key = match &spec.key {
            Some(key) => item.get(key)?,
            // In a list without a key, each item stands for itself: the list is a set.
            None if item.is_object() => return None,
            None => item,
        };
        let key = key.as_str().map_or_else(|| Cow::Owned(key.to_string()), Cow::Borrowed);
        if items.insert(key, item).is_some() {
            return None;
        }
    }
    Some(items)
}

fn merge_list(
    spec: &FieldSpec,
    base: &Value,
    ours: &Value,
    theirs: &Value,
    prefer: Prefer,
) -> Option<Result<Value, Clash>> {
    let (base, ours, theirs) = (items(spec, base)?, items(spec, ours)?, items(spec, theirs)?);
    let of = spec.of.as_deref()?;
    let mut merged: BTreeMap<&str, Cow<'_, Value>> = BTreeMap::new();
    for key in ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key))) {
        let [before, left, right] = [&base, &ours, &theirs].map(|side| side.get(key).copied().unwrap_or(&ABSENT));
        // One side removed an item and the other changed it: neither may win silently.
        let taken_out = !before.is_null() && (left.is_null() || right.is_null());
        let value = if taken_out && left != before && right != before && left != right {
            whole(left, right, prefer)
        } else {
            merge(of, before, left, right, prefer)
        };
        match value {
            Ok(value) if value.is_null() => {}
            Ok(value) => {
                merged.insert(key, value);
            }
            Err(clash) => return Some(Err(clash)),
        }
    }
    let list = in_order(&base, &ours, &theirs, merged);
    Some(Ok(if list.is_empty() { Value::Null } else { Value::Array(list) }))
}

/// Put items in the order of the side that changed it (ours if both did). An item that only the other side has
/// comes after the item that it follows there.
fn in_order(
    base: &Items<'_>,
    ours: &Items<'_>,
    theirs: &Items<'_>,
    mut merged: BTreeMap<&str, Cow<'_, Value>>,
) -> Vec<Value> {
    let common = ours.keys().filter(|key| base.contains_key(*key) && theirs.contains_key(*key));
    let unmoved = base.keys().filter(|key| ours.contains_key(*key) && theirs.contains_key(*key));
    let (first, second) = if common.eq(unmoved) { (theirs, ours) } else { (ours, theirs) };
    let mut order: Vec<&str> = first.keys().map(|key| &**key).collect();
    let mut before: Option<&str> = None;
    for key in second.keys() {
        if !first.contains_key(key) {
            let at = before.and_then(|before| order.iter().position(|key| *key == before)).map_or(0, |at| at + 1);
            order.insert(at, key);
        }
        before = Some(key);
    }
    order.into_iter().filter_map(|key| merged.remove(key)).map(Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::Entities;

    fn spec(entity: &str, field: &str) -> FieldSpec {
        Entities::builtin().get(entity).unwrap().fields[field].clone()
    }

    fn merged(spec: &FieldSpec, base: &Value, ours: &Value, theirs: &Value) -> Result<Value, Clash> {
        merge(spec, base, ours, theirs, Prefer::Nobody).map(Cow::into_owned)
    }

    #[test]
    fn languages_edited_on_different_sides_are_both_kept() {
        let name = spec("product", "name");
        let base = json!({"es": "Martillo", "en": "Hammer"});
        let ours = json!({"es": "Martillo grande", "en": "Hammer"});
        let theirs = json!({"es": "Martillo", "en": "Claw hammer"});
        assert_eq!(merged(&name, &base, &ours, &theirs), Ok(json!({"es": "Martillo grande", "en": "Claw hammer"})));
        assert_eq!(merged(&name, &base, &ours, &json!({"es": "Mazo", "en": "Hammer"})), Err(Clash));
    }

    #[test]
    fn addresses_are_merged_by_their_code_and_member_by_member() {
        let addresses = spec("customer", "addresses");
        let base = json!([{"code": "billing", "city": "Madrid", "line1": "A"}, {"code": "shipping", "city": "Lugo"}]);
        let ours = json!([{"code": "billing", "city": "Cádiz", "line1": "A"}, {"code": "shipping", "city": "Lugo"}]);
        let theirs = json!([{"code": "billing", "city": "Madrid", "line1": "B"}, {"code": "work", "city": "Vigo"}]);
        let both = json!([{"code": "billing", "city": "Cádiz", "line1": "B"}, {"code": "work", "city": "Vigo"}]);
        assert_eq!(merged(&addresses, &base, &ours, &theirs), Ok(both));
    }

    #[test]
    fn an_item_taken_out_here_and_changed_there_is_a_conflict() {
        let variants = spec("product", "variants");
        let base = json!([{"sku": "A", "barcode": "1"}]);
        assert_eq!(merged(&variants, &base, &Value::Null, &json!([{"sku": "A", "barcode": "2"}])), Err(Clash));
        assert_eq!(
            merge(&variants, &base, &Value::Null, &json!([{"sku": "A", "barcode": "2"}]), Prefer::Ours).as_deref(),
            Ok(&Value::Null)
        );
    }

    #[test]
    fn a_preference_decides_only_where_both_changed_the_same() {
        let name = spec("product", "name");
        let (base, ours, theirs) = (json!({"es": "a"}), json!({"es": "b"}), json!({"es": "c", "en": "d"}));
        let preferring = |prefer| merge(&name, &base, &ours, &theirs, prefer).map(Cow::into_owned);
        assert_eq!(preferring(Prefer::Ours), Ok(json!({"es": "b", "en": "d"})));
        assert_eq!(preferring(Prefer::Theirs), Ok(json!({"es": "c", "en": "d"})));
    }

    #[test]
    fn tags_added_and_removed_on_both_sides_are_a_union_of_changes() {
        let tags = spec("product", "tags");
        let (base, ours, theirs) = (json!(["a", "b", "c"]), json!(["a", "c", "x"]), json!(["b", "c", "y"]));
        assert_eq!(merged(&tags, &base, &ours, &theirs), Ok(json!(["c", "x", "y"])));
    }

    #[test]
    fn an_order_changed_on_one_side_is_kept() {
        let images = spec("product", "images");
        let image = |name: &str| json!({"source": format!("https://x.test/{name}")});
        let base = json!([image("1"), image("2"), image("3")]);
        let ours = json!([image("3"), image("1"), image("2")]);
        let theirs = json!([image("1"), image("2"), image("4"), image("3")]);
        let both = json!([image("3"), image("1"), image("2"), image("4")]);
        assert_eq!(merged(&images, &base, &ours, &theirs), Ok(both));
    }

    /// Lists of addresses with a few codes, cities and streets.
    fn addresses() -> impl Strategy<Value = Value> {
        let item = |code: &'static str| {
            (any::<bool>(), 0..3_u8, 0..3_u8).prop_map(move |(there, city, street)| {
                there.then(|| json!({"code": code, "city": format!("c{city}"), "line1": format!("s{street}")}))
            })
        };
        (item("a"), item("b"), item("c")).prop_map(|(a, b, c)| {
            let list: Vec<Value> = [a, b, c].into_iter().flatten().collect();
            if list.is_empty() { Value::Null } else { Value::Array(list) }
        })
    }

    proptest! {
        /// Unison: what only one side changed propagates; equal sides agree.
        #[test]
        fn a_change_of_one_side_always_propagates(base in addresses(), changed in addresses()) {
            let spec = spec("customer", "addresses");
            prop_assert_eq!(merged(&spec, &base, &changed, &base), Ok(changed.clone()));
            prop_assert_eq!(merged(&spec, &base, &base, &changed), Ok(changed.clone()));
            prop_assert_eq!(merged(&spec, &base, &changed, &changed), Ok(changed));
        }

        /// Which side is called ours decides at most the order of items, never which items there are or whether
        /// they clash.
        #[test]
        fn sides_are_alike(base in addresses(), one in addresses(), other in addresses()) {
            let spec = spec("customer", "addresses");
            let set = |merged: Result<Value, Clash>| {
                let owned = |(key, item): (Cow<'_, str>, &Value)| (key.into_owned(), item.clone());
                merged.map(|value| items(&spec, &value).unwrap().into_iter().map(owned).collect::<BTreeMap<_, _>>())
            };
            prop_assert_eq!(set(merged(&spec, &base, &one, &other)), set(merged(&spec, &base, &other, &one)));
        }

        /// A merged value agrees with both sides: merging a side into it again changes nothing.
        #[test]
        fn merging_again_changes_nothing(base in addresses(), one in addresses(), other in addresses()) {
            let spec = spec("customer", "addresses");
            if let Ok(both) = merged(&spec, &base, &one, &other) {
                // Each side is brought to `both` and then keeps it: its base is its own last value.
                prop_assert_eq!(merged(&spec, &one, &both, &one), Ok(both.clone()));
                prop_assert_eq!(merged(&spec, &other, &both, &other), Ok(both.clone()));
                prop_assert_eq!(merged(&spec, &both, &both, &both), Ok(both));
            }
        }

        /// If both sides changed a leaf differently, no change is lost silently.
        #[test]
        fn what_clashes_is_reported(base in addresses(), one in addresses(), other in addresses()) {
            let spec = spec("customer", "addresses");
            let leaf = |value: &Value, code: &str, name: &str| {
                items(&spec, value).unwrap().get(code).and_then(|item| item.get(name).cloned()).unwrap_or(Value::Null)
            };
            let clash = ["a", "b", "c"].iter().any(|code| ["city", "line1"].iter().any(|name| {
                let (before, left, right) = (leaf(&base, code, name), leaf(&one, code, name), leaf(&other, code, name));
                left != right && left != before && right != before
            }));
            if clash {
                prop_assert_eq!(merged(&spec, &base, &one, &other), Err(Clash));
            }
        }
    }
}
