//! Canonical values for readers: references by key instead of number, personal data hidden.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{FieldSpec, Kind};
use crate::ids::RecordId;

/// Replaces a value that is not shown.
const HIDDEN: &str = "(personal)";
type Specs = IndexMap<String, FieldSpec>;

/// `an order`, `a product`.
#[must_use]
pub fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// How canonical objects are shown.
pub struct Shown {
    /// (entity, key) of the records referred to, by record number.
    pub keys: BTreeMap<RecordId, (String, String)>,
    /// Whether personal data is shown.
    pub personal: bool,
}

impl Shown {
    pub fn fields(&self, specs: &Specs, fields: &Map<String, Value>) -> Map<String, Value> {
        let shown = |(name, value): (&String, &Value)| {
            let value = specs.get(name).map_or_else(|| value.clone(), |spec| self.value(spec, value));
            (name.clone(), value)
        };
        fields.iter().map(shown).collect()
    }

    /// Turn the fields of a change, `[before, after]` each, into what is shown.
    pub fn changes(&self, specs: &Specs, fields: &mut Map<String, Value>) {
        for (name, pair) in fields {
            if let (Some(spec), Value::Array(sides)) = (specs.get(name), pair) {
                for side in sides.iter_mut().filter(|side| !side.is_null()) {
                    *side = self.value(spec, side);
                }
            }
        }
    }

    fn value(&self, spec: &FieldSpec, value: &Value) -> Value {
        if spec.personal && !self.personal {
            return Value::from(HIDDEN);
        }
        match (spec.kind, value) {
            (Kind::Ref, Value::Number(number)) => match RecordId::of(value).and_then(|record| self.keys.get(&record)) {
                Some((_, key)) if !key.is_empty() => Value::from(key.as_str()),
                _ => Value::from(format!("record {number}")),
            },
            (Kind::List, Value::Array(items)) => items
                .iter()
                .map(|item| spec.of.as_ref().map_or_else(|| item.clone(), |of| self.value(of, item)))
                .collect(),
            (Kind::Map, Value::Object(members)) => Value::Object(
                members
                    .iter()
                    .map(|(name, item)| {
                        (name.clone(), spec.of.as_ref().map_or_else(|| item.clone(), |of| self.value(of, item)))
                    })
                    .collect(),
            ),
            (Kind::Object, Value::Object(members)) => Value::Object(self.fields(&spec.fields, members)),
            _ => value.clone(),
        }
    }
}

/// Record numbers that an object refers to.
pub fn records(specs: &Specs, fields: &Map<String, Value>) -> Vec<RecordId> {
    let mut found = Vec::new();
    for (name, value) in fields {
        if let Some(spec) = specs.get(name) {
            collect(spec, value, &mut found);
        }
    }
    found
}

/// Replace the numbers of references by the numbers that their records have now, where these differ (old to new).
pub fn renumber(specs: &Specs, fields: &mut Map<String, Value>, numbers: &BTreeMap<RecordId, RecordId>) {
    for (name, value) in fields.iter_mut() {
        if let Some(spec) = specs.get(name) {
            replace(spec, value, numbers);
        }
    }
}

fn replace(spec: &FieldSpec, value: &mut Value, numbers: &BTreeMap<RecordId, RecordId>) {
    match (spec.kind, value) {
        (Kind::Ref, value) => {
            if let Some(number) = RecordId::of(value).and_then(|record| numbers.get(&record)) {
                *value = Value::from(*number);
            }
        }
        (Kind::List, Value::Array(items)) => {
            if let Some(of) = &spec.of {
                items.iter_mut().for_each(|item| replace(of, item, numbers));
            }
        }
        (Kind::Map, Value::Object(members)) => {
            if let Some(of) = &spec.of {
                members.values_mut().for_each(|item| replace(of, item, numbers));
            }
        }
        (Kind::Object, Value::Object(members)) => renumber(&spec.fields, members, numbers),
        _ => {}
    }
}

fn collect(spec: &FieldSpec, value: &Value, found: &mut Vec<RecordId>) {
    match (spec.kind, value) {
        (Kind::Ref, value) => found.extend(RecordId::of(value)),
        (Kind::List, Value::Array(items)) => {
            for (item, of) in items.iter().flat_map(|item| spec.of.iter().map(move |of| (item, of))) {
                collect(of, item, found);
            }
        }
        (Kind::Map, Value::Object(members)) => {
            for (item, of) in members.values().flat_map(|item| spec.of.iter().map(move |of| (item, of))) {
                collect(of, item, found);
            }
        }
        (Kind::Object, Value::Object(members)) => found.extend(records(&spec.fields, members)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Entities;

    #[test]
    fn references_follow_their_records_at_any_depth() {
        let entities = Entities::builtin();
        let product = entities.get("product").unwrap();
        let mut fields = serde_json::from_value(json!({ "sku": "A", "categories": [3, 5] })).unwrap();
        renumber(&product.fields, &mut fields, &BTreeMap::from([(RecordId(5), RecordId(9))]));
        assert_eq!(Value::Object(fields), json!({ "sku": "A", "categories": [3, 9] }));
    }

    #[test]
    fn personal_data_is_hidden_and_references_are_shown_by_key() {
        let entities = Entities::builtin();
        let order = entities.get("order").unwrap();
        let fields = serde_json::from_value(
            json!({ "number": "1001", "customer": 7, "email": "a@b.es", "billing": { "name": "Ana" } }),
        )
        .unwrap();
        let keys = BTreeMap::from([(RecordId(7), ("customer".to_owned(), "C-7".to_owned()))]);
        assert_eq!(records(&order.fields, &fields), [RecordId(7)]);
        let shown = Shown { keys, personal: false }.fields(&order.fields, &fields);
        assert_eq!(
            Value::Object(shown),
            json!({ "number": "1001", "customer": "C-7", "email": HIDDEN, "billing": HIDDEN })
        );
    }
}
