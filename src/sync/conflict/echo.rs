//! Echoes: whether what a system shows is what it made of a value that we sent, while it is not known whether that
//! value arrived.

use serde_json::Value;

/// Whether the values are equal, or every text in the shown value is the one that was sent: cut, escaped, stripped
/// of markup or with other spaces. What is not recognised counts as somebody's edit.
pub(in crate::sync) fn is_echo(sent: &Value, shown: &Value) -> bool {
    match (sent, shown) {
        (Value::String(sent), Value::String(shown)) => {
            let (sent_letters, shown_letters) = (letters(sent), letters(shown));
            sent == shown || !shown_letters.is_empty() && sent_letters.starts_with(&shown_letters)
        }
        (Value::Array(sent), Value::Array(shown)) => {
            sent.len() == shown.len() && sent.iter().zip(shown).all(|(sent, shown)| is_echo(sent, shown))
        }
        (Value::Object(sent), Value::Object(shown)) => {
            sent.len() == shown.len()
                && sent.iter().all(|(name, sent)| shown.get(name).is_some_and(|shown| is_echo(sent, shown)))
        }
        (sent, shown) => sent == shown,
    }
}

/// What no system alters as long as it keeps the text: letters and digits of ASCII, without markup and entities.
fn letters(text: &str) -> String {
    const LONGEST_ENTITY: usize = 8;
    let mut letters = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = match c {
            '<' => rest.find('>'),
            '&' => rest.bytes().take(LONGEST_ENTITY).take_while(|byte| *byte != b' ').position(|byte| byte == b';'),
            _ => None,
        };
        if end.is_none() && c.is_ascii_alphanumeric() {
            letters.push(c.to_ascii_lowercase());
        }
        rest = &rest[end.map_or(c.len_utf8(), |end| end + 1)..];
    }
    letters
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_known_again_cut_escaped_and_without_markup() {
        for shown in ["Nuts & bolts", "Nuts &amp; bolts", " nuts  &#38; Bolts ", "<p>Nuts &amp; bo", "Nuts"] {
            assert!(is_echo(&json!({"es": "<b>Nuts</b> & bolts"}), &json!({ "es": shown })), "{shown}");
        }
    }

    #[test]
    fn what_somebody_else_wrote_is_not_ours() {
        for shown in ["Bolts & nuts", "Nuts & bolts 7", "", "&"] {
            assert!(!is_echo(&json!({"es": "Nuts & bolts"}), &json!({ "es": shown })), "{shown}");
        }
        assert!(!is_echo(&json!({"es": "Nuts", "en": "Nuts"}), &json!({"es": "Nuts"})));
        assert!(!is_echo(&json!("12"), &json!(12)));
    }
}
