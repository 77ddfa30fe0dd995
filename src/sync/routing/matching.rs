//! Fields by which a flow recognises two records as one.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    mapping::Fields,
    model::{EntitySpec, FieldSpec},
};

/// A field by which records of several systems are recognised as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchRule {
    /// `vat`, or a member of what a field holds: `variants.barcode`.
    pub field: String,
    /// The rule never decides by itself: a person is asked.
    pub weak: bool,
}

impl MatchRule {
    /// Whether the rule reads a field.
    pub(in crate::sync) fn names(&self, field: &str) -> bool {
        split(&self.field).0 == field
    }

    /// Return the values by which an object is recognised; empty if the field is empty, or holds something that is
    /// no such value.
    pub(in crate::sync) fn values(&self, spec: Option<&EntitySpec>, object: &Fields) -> BTreeSet<String> {
        let (name, member) = split(&self.field);
        let Some(value) = object.get(name) else { return BTreeSet::new() };
        let texts: Vec<&str> = match (member, value) {
            (None, Value::String(text)) => vec![text],
            (Some(member), Value::Array(items)) => items.iter().filter_map(|item| item.get(member)?.as_str()).collect(),
            (Some(member), value) => value.get(member).and_then(Value::as_str).into_iter().collect(),
            _ => Vec::new(),
        };
        let compare = spec.and_then(|spec| field_of(spec, &self.field)).and_then(|field| field.compare);
        let comparable =
            |text: &str| compare.map_or_else(|| text.trim().to_lowercase(), |compare| compare.comparable(text));
        texts.into_iter().map(comparable).filter(|value| !value.is_empty()).collect()
    }
}

fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('.').map_or((path, None), |(name, member)| (name, Some(member)))
}

/// Return the specification of a field, or of a member of what it holds.
#[must_use]
pub fn field_of<'a>(spec: &'a EntitySpec, path: &str) -> Option<&'a FieldSpec> {
    let (name, member) = split(path);
    let field = spec.fields.get(name)?;
    match member {
        None => Some(field),
        Some(member) => field.of.as_ref().map_or(&field.fields, |of| &of.fields).get(member),
    }
}

/// Return the values by which other systems' records of the same object are recognised, in the order of the rules.
pub(in crate::sync) fn matches(
    spec: Option<&EntitySpec>,
    rules: &[&MatchRule],
    object: &Fields,
) -> Vec<(String, String)> {
    rules
        .iter()
        .flat_map(|rule| rule.values(spec, object).into_iter().map(|value| (rule.field.clone(), value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Entities;

    fn found(entity: &str, rules: &[&str], object: &Value) -> Vec<(String, String)> {
        let entities = Entities::builtin();
        let rules: Vec<MatchRule> =
            rules.iter().map(|field| MatchRule { field: (*field).to_owned(), weak: false }).collect();
        let rules: Vec<&MatchRule> = rules.iter().collect();
        matches(entities.get(entity).map(|spec| &**spec), &rules, object.as_object().unwrap())
    }

    fn pair(field: &str, value: &str) -> (String, String) {
        (field.to_owned(), value.to_owned())
    }

    #[test]
    fn an_empty_field_never_matches_anybody() {
        let customer = json!({"vat": "  ", "email": " Ana@Example.COM ", "name": ""});
        let rules = ["vat", "email", "name"];
        assert_eq!(found("customer", &rules, &customer), [pair("email", "ana@example.com")]);
        assert!(found("customer", &rules, &json!({"vat": "no tiene", "email": "-", "name": " "})).is_empty());
        let product =
            json!({"variants": [{"sku": "A", "barcode": ""}, {"sku": "B"}, {"sku": "C", "barcode": "000000"}]});
        assert!(found("product", &["variants.barcode"], &product).is_empty());
    }

    #[test]
    fn customers_are_matched_by_their_tax_number_however_it_is_spelt() {
        let spelt = |vat: &str| found("customer", &["vat"], &json!({ "vat": vat }));
        assert_eq!(spelt("ES B-12.345.674"), spelt("b12345674"));
        assert_eq!(spelt("b12345674").len(), 1);
    }

    #[test]
    fn products_are_matched_by_the_barcodes_of_their_variants_with_or_without_leading_zeros() {
        let coded = |codes: &[&str]| {
            let variants: Vec<Value> = codes.iter().map(|code| json!({"sku": code, "barcode": code})).collect();
            found("product", &["variants.barcode"], &json!({ "variants": variants }))
        };
        assert_eq!(coded(&["0012345678905"]), coded(&["012345678905"]));
        assert_eq!(coded(&["8412345678901", "8412345678918"]).len(), 2);
    }
}
