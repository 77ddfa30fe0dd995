//! The differences between two canonical objects.

use serde_json::{Map, Value};

/// Map each field that differs to `[before, after]`. An absent field and `null` are the same.
#[must_use]
pub fn diff(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let value = |object: &Map<String, Value>, field: &str| object.get(field).cloned().unwrap_or(Value::Null);
    let gone = before.keys().filter(|field| !after.contains_key(*field));
    after
        .keys()
        .chain(gone)
        .filter(|field| before.get(*field).unwrap_or(&Value::Null) != after.get(*field).unwrap_or(&Value::Null))
        .map(|field| (field.clone(), Value::Array(vec![value(before, field), value(after, field)])))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_names_the_field_with_both_values() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let found = diff(&object(json!({"a": 1, "b": 2, "c": null})), &object(json!({"a": 1, "b": 3, "d": 4})));
        assert_eq!(Value::Object(found), json!({"b": [2, 3], "d": [null, 4]}));
    }
}
