//! Values that most systems accept only once: a SKU, a barcode, an e-mail address.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    expr::text_of,
    mapping::Fields,
    model::{EntitySpec, FieldSpec},
};

/// (name of the member, value): a product's SKU and that of one of its variants are of one kind.
pub(in crate::sync) type Unique = (String, String);

/// Return the unique values of an object and its items, or only of the fields that `only` names.
pub(in crate::sync) fn values(spec: &EntitySpec, fields: &Fields, only: Option<&BTreeSet<String>>) -> BTreeSet<Unique> {
    let mut found = BTreeSet::new();
    for (name, value) in fields.iter().filter(|(name, _)| only.is_none_or(|only| only.contains(*name))) {
        let Some(field) = spec.fields.get(name) else { continue };
        match value {
            Value::Array(items) => found.extend(items.iter().flat_map(|item| of_item(field, item))),
            value if field.unique => found.extend(text_of(value).map(|value| (name.clone(), value))),
            _ => {}
        }
    }
    found
}

/// Return the unique values of an item of a list.
pub(in crate::sync) fn of_item(list: &FieldSpec, item: &Value) -> Vec<Unique> {
    let members = list.of.iter().flat_map(|of| &of.fields).filter(|(_, member)| member.unique);
    members.filter_map(|(name, _)| Some((name.clone(), text_of(item.get(name)?)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Entities;

    #[test]
    fn unique_values_are_found_at_the_top_and_in_items() {
        let entities = Entities::builtin();
        let product =
            json!({ "sku": "P", "brand": "B", "variants": [{ "sku": "P-1", "barcode": "84" }, { "sku": "P-2" }] });
        let found = values(entities.get("product").unwrap(), product.as_object().unwrap(), None);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            found,
            BTreeSet::from([pair("sku", "P"), pair("sku", "P-1"), pair("sku", "P-2"), pair("barcode", "84")])
        );
        let only = BTreeSet::from(["sku".to_owned()]);
        let found = values(entities.get("product").unwrap(), product.as_object().unwrap(), Some(&only));
        assert_eq!(found, BTreeSet::from([pair("sku", "P")]));
    }
}
