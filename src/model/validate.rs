//! Brings a canonical object into its one normal form, and refuses what its specification does not allow.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{EntitySpec, FieldSpec, Kind, codes, decimal, time};

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// Path of the field: `variants[SKU-1].weight`.
    pub field: String,
    pub problem: String,
}

/// Normalises `fields` and orders them as the specification does: decimals without superfluous zeros, times in UTC, codes
/// in their case; what is empty is left out.
///
/// # Errors
/// Everything that is missing, unknown or of the wrong kind, by field.
pub fn validate(spec: &EntitySpec, fields: &mut Map<String, Value>) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    members(&spec.fields, fields, "", &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn members(
    specs: &indexmap::IndexMap<String, FieldSpec>,
    fields: &mut Map<String, Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let mut given = std::mem::take(fields);
    for (name, spec) in specs {
        let Some(value) = given.swap_remove(name) else {
            if spec.required {
                errors.push(FieldError { field: join(path, name), problem: "is missing".to_owned() });
            }
            continue;
        };
        match normal(spec, value, &|| join(path, name), errors) {
            Some(value) => {
                fields.insert(name.clone(), value);
            }
            None if spec.required => {
                let field = join(path, name);
                // An error about the value itself has been told already.
                if !errors.iter().any(|error| error.field.starts_with(&field)) {
                    errors.push(FieldError { field, problem: "is empty".to_owned() });
                }
            }
            None => {}
        }
    }
    for name in given.keys() {
        errors.push(FieldError { field: join(path, name), problem: "is not a field of this entity".to_owned() });
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The value in normal form; nothing when it is empty or wrong.
fn normal(spec: &FieldSpec, value: Value, path: &dyn Fn() -> String, errors: &mut Vec<FieldError>) -> Option<Value> {
    let wrong = |errors: &mut Vec<FieldError>, problem: String| {
        errors.push(FieldError { field: path(), problem });
        None
    };
    match (spec.kind, value) {
        (_, Value::Null) => None,
        (Kind::Text, Value::String(text)) => (!text.is_empty()).then_some(Value::String(text)),
        (Kind::Decimal | Kind::Money, Value::String(text)) if text.trim().is_empty() => None,
        (Kind::Decimal | Kind::Money, value @ (Value::String(_) | Value::Number(_))) => {
            let text = match &value {
                Value::String(text) => text.trim().to_owned(),
                other => other.to_string(),
            };
            match decimal::parse(&text) {
                Some(number) => Some(Value::String(decimal::canonical(number))),
                None => wrong(errors, "is not a decimal of at most 28 digits".to_owned()),
            }
        }
        (Kind::Integer, Value::Number(number)) => match number.as_i64() {
            Some(_) => Some(Value::Number(number)),
            None => wrong(errors, "is not a whole number within 64 bits".to_owned()),
        },
        (Kind::Ref, Value::Number(number)) if number.as_i64().is_some() => Some(Value::Number(number)),
        (Kind::Boolean, Value::Bool(flag)) => Some(Value::Bool(flag)),
        (Kind::Localized, Value::Object(texts)) => localized(texts, path, errors),
        (Kind::List, Value::Array(items)) => list(spec, items, path, errors),
        (Kind::Object, Value::Object(mut object)) => {
            members(&spec.fields, &mut object, &path(), errors);
            (!object.is_empty()).then_some(Value::Object(object))
        }
        (Kind::Map, Value::Object(object)) => {
            let of = spec.of.as_deref()?;
            let mut kept: Map<String, Value> = Map::new();
            for (name, value) in object {
                if let Some(value) = normal(of, value, &|| join(&path(), &name), errors) {
                    kept.insert(name, value);
                }
            }
            // Names have no order of their own: sorted, equal maps are equal texts.
            kept.sort_keys();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (kind, Value::String(text)) if text.trim().is_empty() && kind != Kind::Ref => None,
        (kind, Value::String(text)) => match coded(spec, kind, text.trim()) {
            Ok(text) => Some(Value::String(text)),
            Err(problem) => wrong(errors, problem),
        },
        (kind, value) => wrong(errors, format!("is {} where {} belongs", article(&value), kind_name(kind))),
    }
}

fn coded(spec: &FieldSpec, kind: Kind, text: &str) -> Result<String, String> {
    match kind {
        Kind::Date => time::parse_date(text).map(|date| date.to_string()).map_err(|error| error.to_string()),
        Kind::Datetime => time::parse_time(text, None).map(time::canonical).map_err(|error| error.to_string()),
        Kind::Currency => {
            let code = text.to_ascii_uppercase();
            codes::is_currency(&code)
                .then_some(code)
                .ok_or_else(|| "is not a currency code of ISO 4217, such as EUR".to_owned())
        }
        Kind::Country => {
            let code = text.to_ascii_uppercase();
            codes::is_country(&code)
                .then_some(code)
                .ok_or_else(|| "is not a country code of ISO 3166, such as ES".to_owned())
        }
        Kind::Language => {
            codes::language(text).ok_or_else(|| "is not a language tag of BCP 47, such as es or pt-BR".to_owned())
        }
        Kind::Url => reqwest::Url::parse(text)
            .map(|_| text.to_owned())
            .map_err(|_| "is not a complete address (https://...)".to_owned()),
        Kind::Choice if spec.choices.iter().any(|choice| choice == text) => Ok(text.to_owned()),
        Kind::Choice => Err(format!("is none of {}", spec.choices.join(", "))),
        kind => Err(format!("is a text where {} belongs", kind_name(kind))),
    }
}

fn localized(texts: Map<String, Value>, path: &dyn Fn() -> String, errors: &mut Vec<FieldError>) -> Option<Value> {
    let mut kept = Map::new();
    for (language, text) in texts {
        let Some(tag) = codes::language(&language) else {
            errors.push(FieldError { field: path(), problem: format!("`{language}` is not a language tag of BCP 47") });
            continue;
        };
        match text {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => {
                kept.insert(tag, Value::String(text));
            }
            other => {
                let problem = format!("is {} where a text belongs", article(&other));
                errors.push(FieldError { field: join(&path(), &tag), problem });
            }
        }
    }
    kept.sort_keys();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

fn list(spec: &FieldSpec, items: Vec<Value>, path: &dyn Fn() -> String, errors: &mut Vec<FieldError>) -> Option<Value> {
    let of = spec.of.as_deref()?;
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let name = spec.key.as_ref().and_then(|key| item.get(key)).and_then(scalar);
        let place = || format!("{}[{}]", path(), name.clone().unwrap_or_else(|| index.to_string()));
        let Some(item) = normal(of, item, &place, errors) else { continue };
        if let Some(key) = &spec.key {
            let Some(name) = item.get(key).and_then(scalar) else { continue };
            if !seen.insert(name) {
                errors.push(FieldError {
                    field: place(),
                    problem: format!("appears twice; `{key}` must tell items apart"),
                });
                continue;
            }
        }
        kept.push(item);
    }
    (!kept.is_empty()).then_some(Value::Array(kept))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn article(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Localized => "texts by language",
        Kind::Decimal => "a decimal",
        Kind::Money => "an amount",
        Kind::Integer => "a whole number",
        Kind::Boolean => "true or false",
        Kind::Date => "a date",
        Kind::Datetime => "a time",
        Kind::Currency => "a currency",
        Kind::Country => "a country",
        Kind::Language => "a language",
        Kind::Url => "an address",
        Kind::Choice => "one of the choices",
        Kind::Ref => "a reference",
        Kind::List => "a list",
        Kind::Object | Kind::Map => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::Entities, *};

    fn checked(entity: &str, object: Value) -> Result<Value, Vec<FieldError>> {
        let mut fields = object.as_object().unwrap().clone();
        validate(Entities::builtin().get(entity).unwrap(), &mut fields)?;
        Ok(Value::Object(fields))
    }

    #[test]
    fn equal_values_have_one_form() {
        let price = json!({"list": "web", "code": "web/A", "sku": "A", "amount": "19.50", "currency": "eur", "tax_included": true, "breaks": []});
        let normal = json!({"code": "web/A", "list": "web", "sku": "A", "amount": "19.5", "currency": "EUR", "tax_included": true});
        assert_eq!(checked("price", price).unwrap(), normal);
        let names: Vec<String> = checked("price", normal).unwrap().as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["code", "list", "sku", "amount", "currency", "tax_included"]);
    }

    #[test]
    fn an_error_names_the_field_by_the_key_of_its_item() {
        let product =
            json!({"sku": "A", "name": {"es": "x"}, "variants": [{"sku": "A-1", "weight": "heavy"}, {"sku": "A-1"}]});
        let errors = checked("product", product).unwrap_err();
        assert_eq!(errors[0].field, "variants[A-1].weight");
        let twice = json!({"sku": "A", "name": {"es": "x"}, "variants": [{"sku": "A-1"}, {"sku": "A-1"}]});
        assert!(checked("product", twice).unwrap_err()[0].problem.contains("twice"));
    }

    #[test]
    fn what_is_missing_or_unknown_is_told() {
        let errors = checked("product", json!({"sku": "", "colour": "red"})).unwrap_err();
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["sku: is empty", "name: is missing", "colour: is not a field of this entity"]);
    }

    #[test]
    fn an_absurd_number_is_an_error_not_a_panic() {
        let stock = json!({"sku": "A", "quantity": "9".repeat(400)});
        assert!(checked("stock", stock).unwrap_err()[0].problem.contains("28 digits"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_normal_stays_as_it_is(amount in "-?[0-9]{1,12}(\\.[0-9]{1,6})?", name in "\\PC{1,20}") {
            let price = json!({"code": name, "list": "l", "sku": "s", "amount": amount, "currency": "EUR", "tax_included": false});
            let once = checked("price", price).unwrap();
            proptest::prop_assert_eq!(checked("price", once.clone()).unwrap(), once);
        }
    }
}
