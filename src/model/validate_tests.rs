use proptest::prelude::*;
use serde_json::json;

use super::{super::Entities, *};

fn spec(entity: &str) -> std::sync::Arc<EntitySpec> {
    Entities::builtin().get(entity).unwrap().clone()
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => panic!("an object"),
    }
}

fn validated(entity: &str, value: Value) -> Result<Value, Vec<String>> {
    let mut fields = fields(value);
    match normalize(&spec(entity), &mut fields) {
        Ok(()) => Ok(Value::Object(fields)),
        Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn values_become_canonical_in_the_order_of_the_specification() {
    let price: Value = serde_json::from_str(
        r#"{"valid_from": "2026-03-01T00:00:00", "currency": "eur", "amount": 19.990, "tax_included": "1", "list": "retail",
            "sku": 1234, "code": "retail/1234", "group": "", "breaks": [{ "minimum": "10.0", "amount": "1e1" }]}"#,
    )
    .unwrap();
    let out = validated("price", price).unwrap();
    assert_eq!(
        out.to_string(),
        r#"{"code":"retail/1234","list":"retail","sku":"1234","amount":"19.99","currency":"EUR","tax_included":true,"valid_from":"2026-03-01","breaks":[{"minimum":"10","amount":"10"}]}"#
    );
}

#[test]
fn times_languages_and_countries_become_canonical() {
    let shipment =
        json!({ "number": "1", "order": 7, "status": "shipped", "shipped_at": "2026-07-01T10:00:00.000+02:00" });
    assert_eq!(validated("shipment", shipment).unwrap()["shipped_at"], "2026-07-01T08:00:00Z");
    let customer = json!({
        "code": "1", "kind": "person", "name": "x", "language": "ES_es",
        "addresses": [{ "code": "billing", "country": "es" }]
    });
    let customer = validated("customer", customer).unwrap();
    assert_eq!((&customer["language"], &customer["addresses"][0]["country"]), (&json!("es-ES"), &json!("ES")));
}

#[test]
fn what_does_not_fit_is_named_by_its_path() {
    let product = json!({
        "sku": "P", "name": { "es": "x", "not a language": "y" }, "colour": 1,
        "variants": [{ "sku": "SKU-1", "weight": "heavy" }, { "sku": "SKU-1" }, { "barcode": "1" }],
        "images": [{ "source": "relative.png" }]
    });
    assert_eq!(
        validated("product", product).unwrap_err(),
        [
            "name: has a name that is no language",
            "images[relative.png].source: is not a complete URL",
            "variants[SKU-1].weight: is not a number of at most 28 digits with a decimal point",
            "variants[SKU-1]: stands twice: another item has the same `sku`",
            "variants[2]: lacks `sku`, by which the items are told apart",
            "colour: is not a field of this entity"
        ]
        .map(str::to_owned)
    );
}

#[test]
fn absurd_numbers_are_errors() {
    for amount in ["1e400", "123456789012345678901234567890", "0.00000000000000000000000000001", "\"NaN\"", "\"1,5\""] {
        let text =
            format!(r#"{{"code":"a","list":"a","sku":"a","currency":"EUR","tax_included":true,"amount":{amount}}}"#);
        assert!(validated("price", serde_json::from_str(&text).unwrap()).is_err(), "{amount}");
    }
    assert!(validated("category", json!({ "code": "a", "name": { "es": "x" }, "position": 1.5 })).is_err());
    assert!(validated("category", json!({ "code": "a\0b", "name": { "es": "x" } })).is_err());
}

#[test]
fn empty_values_are_absent() {
    let product = json!({
        "sku": "P", "name": { "es": "x", "en": "" }, "brand": "", "tags": [], "categories": null, "pack": { "units": "" },
        "variants": [{ "sku": "P", "options": {} }], "options": [""]
    });
    assert_eq!(
        validated("product", product).unwrap(),
        json!({ "sku": "P", "name": { "es": "x" }, "variants": [{ "sku": "P" }] })
    );
}

/// Any JSON, of a size that keeps the tests quick.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "-?[0-9]{1,35}\\.[0-9]{1,35}([eE][0-9]{1,3})?"
            .prop_map(|text| serde_json::from_str(text.trim_start_matches("-0")).unwrap_or_default()),
        ".{0,12}".prop_map(Value::from),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("(sku|name|es|code|amount|line|.{1,3})", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_makes_validation_panic_and_canonical_form_is_stable(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 0..8),
        which in any::<prop::sample::Index>(),
    ) {
        let all = Entities::builtin();
        let specs: Vec<_> = all.iter().collect();
        let spec = specs[which.index(specs.len())];
        let mut object = Map::new();
        for (pick, value) in picks {
            let (name, _) = spec.fields.get_index(pick.index(spec.fields.len())).unwrap();
            object.insert(name.clone(), value);
        }
        if normalize(spec, &mut object).is_ok() {
            let mut again = object.clone();
            prop_assert!(normalize(spec, &mut again).is_ok());
            prop_assert_eq!(again, object);
        }
    }
}
