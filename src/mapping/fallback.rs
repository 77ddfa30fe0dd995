//! Fills in texts that nobody has written in the desired language: by a rule, another language's text takes their
//! place.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::rule::{Convert, Item, Rule};
use crate::model::{FieldSpec, Kind};

/// The language that most readers understand if their own is missing.
const COMMON: &str = "en";

/// Fill in the one language that a system keeps of a text, at any depth. Take it from a language of the same name
/// (`es` and `es-MX`). If the text is required, fall back to English, then to the first language in alphabetical
/// order.
pub(super) fn fill(rules: &[Rule], specs: &IndexMap<String, FieldSpec>, desired: &mut Map<String, Value>) {
    for rule in rules.iter().filter(|rule| rule.writes) {
        let Some((value, spec)) = desired.get_mut(&rule.name).zip(specs.get(&rule.name)) else { continue };
        match (&rule.convert, value) {
            (Convert::Language(language), Value::Object(texts)) if spec.kind == Kind::Localized => {
                if let Some(text) = instead(texts, language, spec.required) {
                    texts.insert(language.clone(), text);
                }
            }
            (Convert::Object(rules), Value::Object(members)) => fill(rules, &spec.fields, members),
            (Convert::Each(each), Value::Array(items)) => {
                if let (Item::Object(rules), Some(of)) = (&each.item, &spec.of) {
                    items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| fill(rules, &of.fields, item));
                }
            }
            _ => {}
        }
    }
}

/// The text that replaces a missing one.
fn instead(texts: &Map<String, Value>, language: &str, is_required: bool) -> Option<Value> {
    let is_written = |text: &Value| text.as_str().is_some_and(|text| !text.trim().is_empty());
    if texts.get(language).is_some_and(is_written) {
        return None;
    }
    let name = |tag: &str| tag.split('-').next().unwrap_or_default().to_lowercase();
    let mut written: Vec<(&String, &Value)> = texts.iter().filter(|(_, text)| is_written(text)).collect();
    written.sort_by_key(|(tag, _)| *tag);
    let by = |test: &dyn Fn(&str) -> bool| written.iter().find(|(tag, _)| test(tag)).map(|(_, text)| (*text).clone());
    let related = by(&|tag| tag == name(language)).or_else(|| by(&|tag| name(tag) == name(language)));
    related.or_else(|| if is_required { by(&|tag| name(tag) == COMMON).or_else(|| by(&|_| true)) } else { None })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::mapping::{Externals, Translate, tests::load_with};

    /// What is sent to a shop of one language.
    fn sent(language: &str, desired: serde_json::Value) -> serde_json::Value {
        let text = "key = 'sku'\n[fields]\nsku = 'sku'\nname = { from = 'name', localized = '${language}' }\n\
            description = { from = 'text', localized = '${language}' }\n";
        let product = load_with("product", text, &json!({ "language": language }), &json!({})).unwrap();
        let serde_json::Value::Object(mut desired) = desired else { panic!("an object") };
        product.round(&mut desired);
        product.push(&desired, None, &Externals::default()).unwrap()
    }

    #[test]
    fn a_name_that_nobody_has_translated_is_anothers_languages_and_never_empty() {
        let names =
            json!({ "name": { "fr": "Marteau", "en": "Hammer", "es-MX": "Martillo", "es": "Martillo grande" } });
        assert_eq!(sent("fr", names.clone()), json!({ "name": "Marteau" }), "its own");
        assert_eq!(sent("es-AR", names.clone()), json!({ "name": "Martillo grande" }), "that of the language itself");
        assert_eq!(sent("pt", names.clone()), json!({ "name": "Hammer" }), "English");
        assert_eq!(
            sent("es", json!({ "name": { "es-MX": "Martillo", "en": "Hammer" } })),
            json!({ "name": "Martillo" })
        );
        assert_eq!(sent("pt", json!({ "name": { "it": "Martello", "de": "Hammer" } })), json!({ "name": "Hammer" }));
        assert_eq!(sent("es", json!({ "name": { "es": " ", "en": "Hammer" } })), json!({ "name": "Hammer" }));
    }

    #[test]
    fn a_text_that_need_not_be_there_is_left_out_rather_than_shown_in_a_foreign_language() {
        let texts = json!({ "description": { "en": "A hammer", "es-MX": "Un martillo" } });
        assert_eq!(sent("fr", texts.clone()), json!({}));
        assert_eq!(sent("es", texts), json!({ "text": "Un martillo" }));
    }
}
