//! Percent-encoding (RFC 3986), and values as name-value pairs for queries and forms.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

/// All characters except the unreserved ones. Signatures depend on it.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Encode everything except unreserved characters.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Undo [`encode`], and turn `+` into a blank as in forms. Invalid escapes stay as they are.
#[must_use]
pub fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Pairs as `a=1&b=2`.
#[must_use]
pub fn join(pairs: &[(String, String)]) -> String {
    let encoded: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    encoded.join("&")
}

/// The pairs of a value: members of objects as `name[member]`, a list of scalars as the repeated name, a list of
/// objects as `name[0]`, `name[1]`. `()` is left out.
#[must_use]
pub fn pairs(value: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    flatten("", value, &mut out);
    out
}

fn flatten(name: &str, value: &Value, out: &mut Vec<(String, String)>) {
    let below = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}[{part}]") };
    match value {
        Value::Null => {}
        Value::Object(members) => members.iter().for_each(|(member, value)| flatten(&below(member), value, out)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let nested = item.is_object() || item.is_array();
                let place = if nested { below(&index.to_string()) } else { name.to_owned() };
                flatten(&place, item, out);
            }
        }
        Value::String(text) => out.push((name.to_owned(), text.clone())),
        scalar => out.push((name.to_owned(), scalar.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_pairs() {
        let value = json!({ "a": 1, "b": ["x", "y"], "c": { "d": [{ "e": true }] }, "f": null });
        assert_eq!(join(&pairs(&value)), "a=1&b=x&b=y&c%5Bd%5D%5B0%5D%5Be%5D=true");
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        let text = "ñ &=+%/ ~";
        assert_eq!(encode(text), "%C3%B1%20%26%3D%2B%25%2F%20~");
        assert_eq!(decode(&encode(text)), text);
        assert_eq!(decode("a+b%zz%"), "a b%zz%");
        assert_eq!(decode("%41%+1%C3%28"), "A% 1\u{FFFD}(");
    }

    proptest! {
        #[test]
        fn any_text_is_encoded_byte_by_byte_and_comes_back(text in ".*") {
            let bytes = text.bytes().map(|byte| match byte {
                b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            });
            prop_assert_eq!(encode(&text), bytes.collect::<String>());
            prop_assert_eq!(decode(&encode(&text)), text);
        }
    }
}
