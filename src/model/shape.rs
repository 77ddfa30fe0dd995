//! Which parts of a value a mapping names, and whether two values are equal in these parts.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{FieldSpec, Kind, empty};

/// The parts of a field's value that a mapping names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Shape {
    /// All of it: a single value, or a value that an expression makes or takes.
    Whole,
    /// The texts in these languages.
    Languages(BTreeSet<String>),
    /// These members.
    Object(BTreeMap<String, Shape>),
    /// These parts of each item.
    List(Box<Shape>),
}

static ABSENT: Value = Value::Null;

impl Shape {
    /// The parts that both name.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Whole, shape) | (shape, Self::Whole) => shape.clone(),
            (Self::Languages(one), Self::Languages(other)) => {
                Self::Languages(one.intersection(other).cloned().collect())
            }
            (Self::Object(one), Self::Object(other)) => {
                let both = one.iter().filter_map(|(name, shape)| Some((name.clone(), shape.meet(other.get(name)?))));
                Self::Object(both.collect())
            }
            (Self::List(one), Self::List(other)) => Self::List(Box::new(one.meet(other))),
            // Two mappings of one field agree on its kind, so only expressions remain here.
            (one, _) => one.clone(),
        }
    }

    fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Whole => Some(self),
            Self::Object(members) => members.get(name),
            Self::Languages(_) | Self::List(_) => None,
        }
    }

    fn item(&self) -> &Self {
        match self {
            Self::List(item) => item,
            other => other,
        }
    }
}

/// Whether two values of a field are equal in all parts that `shape` names. An empty value counts as absent. Items
/// of a list are matched by key, whatever their order, unless the specification says that the order means
/// something.
#[must_use]
pub fn agree(spec: Option<&FieldSpec>, shape: &Shape, one: &Value, other: &Value) -> bool {
    if one == other {
        return true;
    }
    if let Shape::Languages(languages) = shape {
        return languages.iter().all(|language| same(text(one, language), text(other, language)));
    }
    let Some(spec) = spec else { return same(one, other) };
    match spec.kind {
        Kind::List => match (items(one), items(other)) {
            (Some(one), Some(other)) => lists(spec, shape.item(), one, other),
            _ => false,
        },
        Kind::Object => match (members(one), members(other)) {
            (Some(one), Some(other)) => spec.fields.iter().all(|(name, spec)| {
                shape.member(name).is_none_or(|shape| {
                    agree(Some(spec), shape, one.get(name).unwrap_or(&ABSENT), other.get(name).unwrap_or(&ABSENT))
                })
            }),
            _ => false,
        },
        _ => same(one, other),
    }
}

fn same(one: &Value, other: &Value) -> bool {
    one == other || empty(one) && empty(other)
}

fn text<'v>(texts: &'v Value, language: &str) -> &'v Value {
    texts.get(language).unwrap_or(&ABSENT)
}

/// The items of a list; an absent list has none.
fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Null => Some(&[]),
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn members(value: &Value) -> Option<Cow<'_, Map<String, Value>>> {
    match value {
        Value::Null => Some(Cow::Owned(Map::new())),
        Value::Object(members) => Some(Cow::Borrowed(members)),
        _ => None,
    }
}

fn lists(spec: &FieldSpec, shape: &Shape, one: &[Value], other: &[Value]) -> bool {
    let of = spec.of.as_deref();
    if one.len() != other.len() {
        return false;
    }
    let in_order = || one.iter().zip(other).all(|(one, other)| agree(of, shape, one, other));
    if spec.ordered {
        return in_order();
    }
    match &spec.key {
        Some(key) => {
            let mut by_key: BTreeMap<String, &Value> = BTreeMap::new();
            for item in other {
                by_key.insert(item.get(key).unwrap_or(&ABSENT).to_string(), item);
            }
            by_key.len() == other.len()
                && one.iter().all(|item| {
                    let found = by_key.get(&item.get(key).unwrap_or(&ABSENT).to_string());
                    found.is_some_and(|other| agree(of, shape, item, other))
                })
                || in_order()
        }
        None if of.is_some_and(|of| matches!(of.kind, Kind::Ref | Kind::Text)) => {
            let sorted = |items: &[Value]| {
                let mut texts: Vec<String> = items.iter().map(Value::to_string).collect();
                texts.sort_unstable();
                texts
            };
            sorted(one) == sorted(other)
        }
        None => in_order(),
    }
}

/// What a target should hold of a field if the source maps only the parts that `shape` names: the rest stays as it
/// is at the target.
#[must_use]
pub fn lay(spec: Option<&FieldSpec>, shape: &Shape, there: &Value, value: &Value) -> Value {
    match (shape, there, value) {
        (Shape::Languages(languages), Value::Object(there), Value::Object(_) | Value::Null) => {
            let rest = there.iter().filter(|(language, _)| !languages.contains(*language));
            let mut texts: Map<String, Value> = rest.map(|(language, text)| (language.clone(), text.clone())).collect();
            texts.extend(value.as_object().into_iter().flatten().map(|(name, text)| (name.clone(), text.clone())));
            object(texts)
        }
        (Shape::Object(named), Value::Object(there), Value::Object(value)) => {
            let mut laid: Map<String, Value> = value.clone();
            for (name, there) in there {
                let Some(shape) = named.get(name) else {
                    laid.insert(name.clone(), there.clone());
                    continue;
                };
                let spec = spec.and_then(|spec| spec.fields.get(name));
                let value = lay(spec, shape, there, value.get(name).unwrap_or(&ABSENT));
                if value.is_null() {
                    laid.remove(name);
                } else {
                    laid.insert(name.clone(), value);
                }
            }
            object(laid)
        }
        (Shape::List(item), Value::Array(there), Value::Array(items)) => {
            let (Some(key), of) = (spec.and_then(|spec| spec.key.as_ref()), spec.and_then(|spec| spec.of.as_deref()))
            else {
                return value.clone();
            };
            let found = |item: &Value| there.iter().find(|there| there.get(key) == item.get(key));
            items.iter().map(|one| found(one).map_or_else(|| one.clone(), |there| lay(of, item, there, one))).collect()
        }
        _ => value.clone(),
    }
}

fn object(members: Map<String, Value>) -> Value {
    if members.is_empty() { Value::Null } else { Value::Object(members) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::Entities, *};

    fn spec(entity: &str, field: &str) -> FieldSpec {
        Entities::builtin().get(entity).unwrap().fields[field].clone()
    }

    fn languages(names: &[&str]) -> Shape {
        Shape::Languages(names.iter().map(|&name| name.to_owned()).collect())
    }

    fn variants(members: &[&str]) -> Shape {
        let members = members.iter().map(|&name| (name.to_owned(), Shape::Whole)).collect();
        Shape::List(Box::new(Shape::Object(members)))
    }

    #[test]
    fn languages_that_a_mapping_does_not_name_are_no_difference() {
        let name = spec("product", "name");
        let (both, one) = (json!({"es": "Uno", "en": "One"}), json!({"es": "Uno"}));
        assert!(agree(Some(&name), &languages(&["es"]), &both, &one));
        assert!(!agree(Some(&name), &languages(&["es", "en"]), &both, &one));
        assert!(!agree(Some(&name), &languages(&["es"]), &both, &json!({"es": "Dos"})));
        assert!(!agree(Some(&name), &languages(&["es"]), &both, &Value::Null));
    }

    #[test]
    fn keyed_items_are_compared_by_their_key_and_in_what_is_named_of_them() {
        let list = spec("product", "variants");
        let (ours, theirs) = (
            json!([{"sku": "A", "barcode": "1"}, {"sku": "B"}]),
            json!([{"sku": "B", "weight": "2"}, {"sku": "A", "barcode": "1", "weight": "1"}]),
        );
        assert!(agree(Some(&list), &variants(&["sku", "barcode"]), &ours, &theirs));
        assert!(!agree(Some(&list), &Shape::Whole, &ours, &theirs), "weights differ");
        let fewer = json!([{"sku": "A", "barcode": "1"}]);
        assert!(!agree(Some(&list), &variants(&["sku"]), &ours, &fewer));
    }

    #[test]
    fn references_and_tags_have_no_order_but_images_have() {
        for field in ["categories", "tags"] {
            let list = spec("product", field);
            assert!(agree(Some(&list), &Shape::Whole, &json!([1, 2]), &json!([2, 1])), "{field}");
            assert!(!agree(Some(&list), &Shape::Whole, &json!([1, 2]), &json!([2, 2])), "{field}");
        }
        let images = spec("product", "images");
        let (one, other) = (json!({"source": "https://x.test/1"}), json!({"source": "https://x.test/2"}));
        assert!(!agree(Some(&images), &Shape::Whole, &json!([one, other]), &json!([other, one])));
    }

    #[test]
    fn what_a_source_does_not_name_stays_as_the_target_has_it() {
        let there = json!([{"sku": "A", "barcode": "1", "weight": "2"}, {"sku": "C"}]);
        let sent = json!([{"sku": "B"}, {"sku": "A", "barcode": "7"}]);
        let laid = lay(Some(&spec("product", "variants")), &variants(&["sku", "barcode"]), &there, &sent);
        assert_eq!(laid, json!([{"sku": "B"}, {"sku": "A", "barcode": "7", "weight": "2"}]));
        let name = lay(
            Some(&spec("product", "name")),
            &languages(&["es"]),
            &json!({"es": "a", "en": "b"}),
            &json!({"es": "c"}),
        );
        assert_eq!(name, json!({"es": "c", "en": "b"}));
        let cleared = lay(Some(&spec("product", "name")), &languages(&["es"]), &json!({"es": "a"}), &Value::Null);
        assert_eq!(cleared, Value::Null);
    }

    #[test]
    fn two_mappings_have_in_common_what_both_name() {
        assert_eq!(languages(&["es", "en"]).meet(&languages(&["es", "fr"])), languages(&["es"]));
        assert_eq!(variants(&["sku", "weight"]).meet(&variants(&["sku", "name"])), variants(&["sku"]));
        assert_eq!(Shape::Whole.meet(&variants(&["sku"])), variants(&["sku"]));
    }
}
