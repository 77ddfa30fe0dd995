//! Adapter files as JSON Schema.

use serde_json::{Map, Value, json};

use super::{files::FilesAdapter, http::HttpAdapter, sql::SqlAdapter};

/// JSON Schemas of adapter files by driver.
fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("http", schemars::schema_for!(HttpAdapter).to_value()),
        ("sql", schemars::schema_for!(SqlAdapter).to_value()),
        ("files", schemars::schema_for!(FilesAdapter).to_value()),
    ]
}

/// JSON Schema of an adapter file with any driver. Definitions that have the same name in several drivers and
/// differ get the driver's name as a prefix. All definitions are at the top level, where `$ref` looks for them.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = Map::new();
    let mut forms = Vec::new();
    for (driver, schema) in schemas() {
        let mut schema = named_apart(driver, schema, &definitions);
        if let Some(property) = schema.pointer_mut("/properties/driver") {
            *property = json!({ "const": driver });
        }
        if let Value::Object(members) = &mut schema {
            members.remove("$schema");
            members.remove("title");
            if let Some(Value::Object(own)) = members.remove("$defs") {
                definitions.extend(own);
            }
        }
        let name = format!("{driver}-adapter");
        forms.push(json!({ "$ref": format!("#/$defs/{name}") }));
        definitions.insert(name, schema);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Adapter",
        "oneOf": forms,
        "$defs": definitions,
    })
}

/// Rename definitions that have the same name as another driver's but differ from it, and then those that refer to
/// a renamed one, until none is left.
fn named_apart(driver: &str, mut schema: Value, written: &Map<String, Value>) -> Value {
    loop {
        let parts = schema.get("$defs").and_then(Value::as_object).into_iter().flatten();
        let other = |name: &String, part: &Value| written.get(name).is_some_and(|known| known != part);
        let names: Vec<String> = parts.filter(|(name, part)| other(name, part)).map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return schema;
        }
        let mut text = schema.to_string();
        for name in names {
            text = text.replace(&format!("#/$defs/{name}\""), &format!("#/$defs/{driver}-{name}\""));
            text = text.replace(&format!("\"{name}\":{{"), &format!("\"{driver}-{name}\":{{"));
        }
        match serde_json::from_str(&text) {
            Ok(renamed) => schema = renamed,
            Err(_) => return schema,
        }
    }
}

#[cfg(test)]
mod page;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_has_a_schema_that_refuses_unknown_keys() {
        for (driver, schema) in schemas() {
            assert_eq!(schema["additionalProperties"], json!(false), "{driver}");
            assert!(schema["properties"]["entities"].is_object(), "{driver}");
        }
        assert_eq!(schema()["$defs"]["http-adapter"]["properties"]["driver"]["const"], "http");
    }
}
