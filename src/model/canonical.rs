//! Canonical values as JSON: decimals are normalised strings, times are RFC 3339 in UTC, references are record
//! numbers.

use serde_json::Value;

/// Feed a value to a hash so that equal values feed equal bytes, whatever the order of an object's members.
pub fn hash_into(value: &Value, hasher: &mut blake3::Hasher) {
    match value {
        Value::Null => {
            hasher.update(b"n");
        }
        Value::Bool(true) => {
            hasher.update(b"t");
        }
        Value::Bool(false) => {
            hasher.update(b"f");
        }
        Value::Number(number) => text_into(b'#', &number.to_string(), hasher),
        Value::String(text) => text_into(b'"', text, hasher),
        Value::Array(items) => {
            hasher.update(b"[").update(&(items.len() as u64).to_le_bytes());
            for item in items {
                hash_into(item, hasher);
            }
        }
        Value::Object(members) => {
            hasher.update(b"{").update(&(members.len() as u64).to_le_bytes());
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_unstable();
            for name in names {
                text_into(b'"', name, hasher);
                hash_into(&members[name], hasher);
            }
        }
    }
}

/// A short hash of a value, in 16 hexadecimal digits.
#[must_use]
pub fn fingerprint(value: &Value) -> String {
    let mut hasher = blake3::Hasher::new();
    hash_into(value, &mut hasher);
    hasher.finalize().to_hex()[..16].to_owned()
}

fn text_into(tag: u8, text: &str, hasher: &mut blake3::Hasher) {
    hasher.update(&[tag]).update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
}
