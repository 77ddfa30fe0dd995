//! Generates the reference of all keys of adapter files from their schemas. The test here compares the page with
//! it.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{named_apart, schemas};

#[test]
fn the_manifest_reference_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/manifest-reference.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/manifest-reference.md is stale: run `BLESS=1 cargo test --lib manifest_reference`"
    );
}

/// The text of `docs/manifest-reference.md`.
fn markdown() -> String {
    let mut out = String::from(
        "# Keys of adapter files\n\nMade from the code by a test (`BLESS=1 cargo test --lib manifest_reference` writes it anew). \
         What the keys are for: `adapters.md`.\n",
    );
    let mut written: Map<String, Value> = Map::new();
    for (driver, schema) in schemas() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n## Driver `{driver}`");
        let schema = named_apart(driver, schema, &written);
        table(&format!("Top of the file ({driver})"), &schema, &mut out);
        for (name, part) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
            // What several drivers share is written only once.
            if written.insert(name.clone(), part.clone()).is_none() {
                table(name, part, &mut out);
            }
        }
    }
    out
}

fn table(name: &str, schema: &Value, out: &mut String) {
    let _ = write!(out, "\n### {name}\n");
    if let Some(text) = description(schema) {
        let _ = write!(out, "\n{text}\n");
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        out.push_str("\n| key | value | |\n|---|---|---|\n");
        rows(properties, schema.get("required"), out);
    } else if let Some(choices) = choices(schema) {
        out.push_str("\n| value | |\n|---|---|\n");
        for (choice, text) in choices {
            let _ = writeln!(out, "| {choice} | {text} |");
        }
    } else {
        let _ = write!(out, "\n{}\n", kind(schema));
    }
}

fn rows(properties: &Map<String, Value>, required: Option<&Value>, out: &mut String) {
    let required: Vec<&str> =
        required.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, value) in properties {
        let must = if required.contains(&key.as_str()) { ", required" } else { "" };
        let text = description(value).unwrap_or_default();
        let _ = writeln!(out, "| `{key}` | {}{must} | {text} |", kind(value));
    }
}

fn choices(schema: &Value) -> Option<Vec<(String, String)>> {
    let plain = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let mut all: Vec<(String, String)> =
        plain.filter_map(Value::as_str).map(|word| (format!("`{word}`"), String::new())).collect();
    for choice in schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array).into_iter().flatten() {
        let text = description(choice).unwrap_or_default();
        if let Some(word) = choice.get("const").and_then(Value::as_str) {
            all.push((format!("`{word}`"), text));
        } else if let Some(words) = choice.get("enum").and_then(Value::as_array) {
            all.extend(words.iter().filter_map(Value::as_str).map(|word| (format!("`{word}`"), text.clone())));
        } else if let Some(properties) = choice.get("properties").and_then(Value::as_object) {
            all.extend(properties.iter().map(|(key, value)| (format!("`{key}` = {}", kind(value)), text.clone())));
        } else {
            all.push((kind(choice), text));
        }
    }
    (!all.is_empty()).then_some(all)
}

/// The form of a value, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let name = target.rsplit('/').next().unwrap_or(target);
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(parts) = schema.get("anyOf").or_else(|| schema.get("allOf")).and_then(Value::as_array) {
        let parts: Vec<String> =
            parts.iter().filter(|part| part.get("type") != Some(&json!("null"))).map(kind).collect();
        return parts.join(" or ");
    }
    match (schema.get("format").and_then(Value::as_str), type_of(schema)) {
        (Some("template"), _) => "template".into(),
        (Some("expression"), _) => "expression".into(),
        (_, Some("array")) => format!("list of {}", schema.get("items").map_or_else(|| "values".into(), kind)),
        (_, Some("object")) => match schema.get("additionalProperties") {
            Some(values) if values.is_object() => format!("table of names to {}", kind(values)),
            _ => "table".into(),
        },
        (_, Some("string")) => "text".into(),
        (_, Some("integer" | "number")) => "whole number".into(),
        (_, Some("boolean")) => "true or false".into(),
        _ => "any value, its texts templates".into(),
    }
}

fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

/// A doc comment as one line of a table.
fn description(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|"))
}
