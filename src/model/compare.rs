//! Compares two spellings of one value, and finds what looks wrong in a value.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{EntitySpec, FieldError, FieldSpec, Kind, codes, vat};

/// How a text is made comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// A tax number: without spaces, dots and dashes, in any case, with or without the prefix `ES`.
    Vat,
    /// An e-mail address: without case. What is none matches nobody.
    Email,
    /// A telephone number: its last nine digits, so with or without the country's. Fewer than seven digits match nobody.
    Phone,
    /// A barcode: without spaces and leading zeros, so that twelve digits and thirteen are one. Fewer than six digits match nobody.
    Barcode,
}

impl Compare {
    /// The comparable form of a text: equal for two spellings of one value. Empty if the text cannot be such a
    /// value.
    #[must_use]
    pub fn comparable(self, text: &str) -> String {
        match self {
            Self::Vat => vat::comparable(text),
            Self::Email => email(text),
            Self::Phone => phone(text),
            Self::Barcode => barcode(text),
        }
    }
}

fn email(text: &str) -> String {
    let address = text.trim().to_lowercase();
    let sound = address.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && !host.is_empty() && !host.contains('@') && !address.contains(char::is_whitespace)
    });
    if sound { address } else { String::new() }
}

fn phone(text: &str) -> String {
    const FEWEST: usize = 7;
    const COUNTED: usize = 9;
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.len() < FEWEST || digits.chars().all(|digit| digit == '0') {
        return String::new();
    }
    digits[digits.len().saturating_sub(COUNTED)..].to_owned()
}

fn barcode(text: &str) -> String {
    const FEWEST: usize = 6;
    let code: String = text.chars().filter(|letter| !letter.is_whitespace()).flat_map(char::to_lowercase).collect();
    if code.chars().any(|letter| !letter.is_ascii_digit()) {
        return code;
    }
    let digits = code.trim_start_matches('0');
    if digits.len() < FEWEST { String::new() } else { digits.to_owned() }
}

/// What looks wrong in the values of an object that were accepted all the same: tax numbers with a wrong form or
/// check digit, unknown countries and states. The texts show no values but these, and a country only if it has the
/// shape of a code.
#[must_use]
pub fn doubts(spec: &EntitySpec, object: &Map<String, Value>) -> Vec<FieldError> {
    let mut doubts = Vec::new();
    if let Some(states) = &spec.states {
        for field in &states.fields {
            if let Some(state) = object.get(field).filter(|state| states.rank(state).is_none()).and_then(Value::as_str)
            {
                let problem = format!("`{state}` is no state that is known; name it in the lookup of the field");
                doubts.push(FieldError { field: field.clone(), problem });
            }
        }
    }
    doubtful(&spec.fields, object, "", &mut doubts);
    doubts
}

fn doubtful(fields: &IndexMap<String, FieldSpec>, object: &Map<String, Value>, at: &str, doubts: &mut Vec<FieldError>) {
    for (name, spec) in fields {
        let Some(value) = object.get(name) else { continue };
        let field = format!("{at}{name}");
        if let Some(problem) = doubt(spec, value) {
            doubts.push(FieldError { field: field.clone(), problem });
        }
        match (value, &spec.of) {
            (Value::Object(members), _) => doubtful(&spec.fields, members, &format!("{field}."), doubts),
            (Value::Array(items), Some(of)) => {
                for (index, item) in items.iter().enumerate() {
                    if let Value::Object(members) = item {
                        doubtful(&of.fields, members, &format!("{field}[{index}]."), doubts);
                    }
                }
            }
            _ => {}
        }
    }
}

fn doubt(spec: &FieldSpec, value: &Value) -> Option<String> {
    let text = value.as_str()?;
    if spec.compare == Some(Compare::Vat) {
        return vat::check(text).err().map(|doubt| doubt.to_string());
    }
    if spec.kind != Kind::Country || codes::is_country(text) {
        return None;
    }
    let is_code = text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Some(if is_code { format!("`{text}` is no country (ISO 3166)") } else { "is no country (ISO 3166)".to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::Entities, *};

    #[test]
    fn spellings_of_one_value_compare_equal_and_empty_ones_match_nobody() {
        let same = |compare: Compare, one: &str, other: &str| {
            assert_eq!(compare.comparable(one), compare.comparable(other), "{one}, {other}");
            assert!(!compare.comparable(one).is_empty(), "{one}");
        };
        same(Compare::Vat, "ESB-12345674", "b12345674");
        same(Compare::Email, " Ana@Example.ES ", "ana@example.es");
        same(Compare::Phone, "+34 600 000 001", "600000001");
        same(Compare::Phone, "0034-600.000.001", "(600) 000 001");
        for text in ["", " ", "-", "@", "ana", "ana@", "@example.es", "a@b@c", "a b@c"] {
            assert_eq!(Compare::Email.comparable(text), "", "{text}");
        }
        for text in ["", "112", "000000000", "no tiene"] {
            assert_eq!(Compare::Phone.comparable(text), "", "{text}");
        }
    }

    #[test]
    fn a_tax_number_that_does_not_fit_is_doubted_where_it_stands_and_not_shown() {
        let entities = Entities::builtin();
        let found = |entity: &str, object: Value| -> Vec<String> {
            let Value::Object(object) = object else { panic!("an object") };
            doubts(entities.get(entity).unwrap(), &object).iter().map(ToString::to_string).collect()
        };
        assert!(found("customer", json!({"vat": "12345678Z"})).is_empty());
        let doubted = found("customer", json!({"vat": "12345678A"}));
        assert!(
            doubted.len() == 1 && doubted[0].starts_with("vat: ") && !doubted[0].contains("12345678"),
            "{doubted:?}"
        );
        assert!(found("order", json!({"billing": {"vat": "12345678A"}}))[0].starts_with("billing.vat: "));
    }

    #[test]
    fn a_country_that_is_none_is_kept_and_doubted() {
        let entities = Entities::builtin();
        let spec = entities.get("order").unwrap();
        let found = |country: &str| {
            let mut order = json!({"number": "1", "status": "paid", "billing": {"name": "Ana", "country": country}});
            let order = order.as_object_mut().unwrap();
            crate::model::normalize(spec, order).unwrap();
            let doubts_found: Vec<String> = doubts(spec, order).iter().map(ToString::to_string).collect();
            (order["billing"]["country"].clone(), doubts_found)
        };
        assert_eq!(found("es"), (json!("ES"), Vec::new()));
        assert_eq!(found("XX"), (json!("XX"), vec!["billing.country: `XX` is no country (ISO 3166)".to_owned()]));
        let (kept, doubts_found) = found("Calle Mayor 1");
        assert_eq!(
            (kept, doubts_found),
            (json!("Calle Mayor 1"), vec!["billing.country: is no country (ISO 3166)".to_owned()])
        );
    }

    #[test]
    fn a_state_that_nobody_knows_is_doubted_by_its_name() {
        let entities = Entities::builtin();
        let order = json!({"number": "1", "status": "packing", "closed": "refunded"});
        let doubts_found = doubts(entities.get("order").unwrap(), order.as_object().unwrap());
        assert_eq!(doubts_found.len(), 1);
        assert!(doubts_found[0].to_string().starts_with("status: `packing` is no state"), "{doubts_found:?}");
    }
}
