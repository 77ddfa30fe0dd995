//! The prefix of a system's keys, if its mapping says it.

use serde_json::{Map, Value};

/// The prefix of the names of settings.
const SETTINGS: &str = "settings.";

/// The text that begins every key that a system gives by itself: `"B-" + row.number`, or a setting before the
/// number. In `a ?? b` only `b` counts, because `a` is a key that the system was given.
pub(super) fn of(key: &str, settings: &Map<String, Value>) -> Option<String> {
    let own = key.rsplit("??").next()?.trim();
    let (first, rest) = literal(own).or_else(|| name(own, settings))?;
    let joined = rest.trim_start().starts_with('+');
    Some(first).filter(|first| joined && !first.is_empty())
}

/// The setting that begins the keys, whatever its value.
pub(super) fn setting<'s>(key: &str, settings: &'s Map<String, Value>) -> Option<&'s str> {
    let own = key.rsplit("??").next()?.trim();
    let (_, rest) = name(own, settings)?;
    let word = own[..own.len() - rest.len()].trim_start_matches(SETTINGS);
    settings.keys().map(String::as_str).find(|setting| *setting == word)
}

/// A text in quotes, without escapes, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (inner, rest) = text[1..].split_once(quote)?;
    (!inner.contains('\\')).then(|| (inner.to_owned(), rest))
}

/// A setting's value, and what follows its name.
fn name<'t>(text: &'t str, settings: &Map<String, Value>) -> Option<(String, &'t str)> {
    let text = text.trim_start_matches(SETTINGS);
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    settings.get(word)?.as_str().map(|value| (value.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_begin_with_a_text_or_with_a_setting() {
        let settings = json!({"code_prefix": "web-", "empty": ""});
        let settings = settings.as_object().unwrap();
        let prefix = |key: &str| of(key, settings);
        assert_eq!(prefix("code_prefix + text(row.id)"), Some("web-".to_owned()));
        assert_eq!(prefix("first(row.codes) ?? settings.code_prefix + text(row.id)"), Some("web-".to_owned()));
        assert_eq!(prefix("'B-' + row.number"), Some("B-".to_owned()));
        for none in ["number", "row.number", "empty + row.number", "code_prefix", "text(row.id) + code_prefix", ""] {
            assert_eq!(prefix(none), None, "{none}");
        }
        assert_eq!(setting("empty + row.number", settings), Some("empty"));
        assert_eq!(setting("settings.empty + row.number", settings), Some("empty"));
        assert_eq!(setting("row.number", settings), None);
    }
}
