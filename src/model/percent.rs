//! Percent-encoding (RFC 3986) and values as name-value pairs, for queries and forms.

use std::fmt::Write as _;

use serde_json::Value;

/// Encodes everything but unreserved characters.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Undoes [`encode`], and `+` for a blank as forms have it; what is no valid escape stays.
#[must_use]
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(value) = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(value);
            at += 3;
        } else {
            out.push(if byte == b'+' { b' ' } else { byte });
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Pairs as `a=1&b=2`.
#[must_use]
pub fn join(pairs: &[(String, String)]) -> String {
    let encoded: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    encoded.join("&")
}

/// Pairs of a value: members of objects as `name[member]`, a list of scalars as the name repeated, a list of objects as
/// `name[0]`, `name[1]`. `()` is left out.
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
    use super::*;
    use serde_json::json;

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
    }
}
