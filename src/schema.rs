//! JSON Schemas (2020-12) of what people write, and of the canonical entities. Those of files are kept in `docs/schemas/`, where
//! the first line of each shipped file points.

use schemars::schema_for;
use serde_json::{Map, Value, json};

use crate::{
    adapter,
    config::Sections,
    mapping::MappingFile,
    model::{EntitySpec, FieldSpec, Kind, codes},
};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Kinds of files that have a schema, as [`file_schema`] takes them.
pub const FILES: [&str; 4] = ["config", "adapter", "mapping", "entity"];

/// What a file of this kind looks like; nothing for a kind that is none of [`FILES`].
#[must_use]
pub fn file_schema(kind: &str) -> Option<Value> {
    Some(match kind {
        "config" => schema_for!(Sections).to_value(),
        "adapter" => adapter::schema(),
        "mapping" => schema_for!(MappingFile).to_value(),
        "entity" => schema_for!(EntitySpec).to_value(),
        _ => return None,
    })
}

/// What a canonical object of the entity looks like. Members that begin with `x-` say what else its specification does: its key,
/// what is personal, what qualifies it, and of what entity a reference is.
#[must_use]
pub fn entity_schema(spec: &EntitySpec) -> Value {
    let mut schema = object(&spec.fields);
    schema.insert("$schema".into(), DIALECT.into());
    schema.insert("title".into(), spec.entity.as_str().into());
    schema.insert("description".into(), format!("The field `{}` holds the record's key.", spec.key).into());
    schema.insert("x-key".into(), spec.key.as_str().into());
    schema.insert("x-numbered".into(), spec.numbered.into());
    if let Some(field) = &spec.money_currency {
        schema.insert("x-money-currency".into(), field.as_str().into());
    }
    Value::Object(schema)
}

fn object(fields: &indexmap::IndexMap<String, FieldSpec>) -> Map<String, Value> {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, field)| (name.clone(), self::field(field))).collect();
    let required: Vec<&String> = fields.iter().filter(|(_, field)| field.required).map(|(name, _)| name).collect();
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    schema.insert("additionalProperties".into(), false.into());
    schema
}

fn field(spec: &FieldSpec) -> Value {
    let of = || spec.of.as_deref().map_or(Value::Bool(true), field);
    let mut schema = match spec.kind {
        Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::Localized => json!({
            "type": "object",
            "propertyNames": { "pattern": LANGUAGE },
            "additionalProperties": { "type": "string", "minLength": 1 },
            "minProperties": 1
        }),
        Kind::Decimal | Kind::Money => json!({ "type": "string", "pattern": DECIMAL }),
        Kind::Integer | Kind::Ref => json!({ "type": "integer" }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Date => json!({ "type": "string", "format": "date" }),
        Kind::Datetime => json!({ "type": "string", "format": "date-time", "pattern": "Z$" }),
        Kind::Currency => json!({ "type": "string", "enum": codes::currencies().collect::<Vec<_>>() }),
        Kind::Country => json!({ "type": "string", "enum": codes::countries().collect::<Vec<_>>() }),
        Kind::Language => json!({ "type": "string", "pattern": LANGUAGE }),
        Kind::Url => json!({ "type": "string", "format": "uri" }),
        Kind::Choice => json!({ "type": "string", "enum": spec.choices }),
        Kind::List => json!({ "type": "array", "items": of(), "minItems": 1 }),
        Kind::Object => Value::Object(object(&spec.fields)),
        Kind::Map => json!({ "type": "object", "additionalProperties": of(), "minProperties": 1 }),
    };
    let mut doc: Vec<String> = spec.doc.iter().cloned().collect();
    match spec.kind {
        Kind::Ref => doc.push(format!("Number of a record of entity {}.", spec.to.as_deref().unwrap_or_default())),
        Kind::Money => doc.push("Amount in the object's currency.".into()),
        _ => {}
    }
    if let Some(part) = &spec.part {
        doc.push(format!("Key of one of {part}."));
    }
    if let Some(key) = &spec.key {
        doc.push(format!("Items are told apart by `{key}`."));
    }
    if spec.personal {
        doc.push("Personal.".into());
    }
    let said = [("x-personal", spec.personal), ("x-qualifies", spec.qualifies)];
    if let Value::Object(members) = &mut schema {
        if !doc.is_empty() {
            members.insert("description".into(), doc.join(" ").into());
        }
        members.extend(said.into_iter().filter(|(_, said)| *said).map(|(name, _)| (name.to_owned(), true.into())));
        if let Some(entity) = &spec.to {
            members.insert("x-record-of".into(), entity.as_str().into());
        }
    }
    schema
}

const DECIMAL: &str = "^-?(0|[1-9][0-9]*)(\\.[0-9]*[1-9])?$";
const LANGUAGE: &str = "^[a-z]{2,3}(-[A-Za-z0-9]{1,8})*$";

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::model::Entities;

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");

    #[test]
    fn an_entity_is_described_with_its_kinds_and_docs() {
        let entities = Entities::builtin();
        let price = entity_schema(entities.get("price").unwrap());
        assert_eq!(price["required"], json!(["code", "list", "sku", "amount", "currency", "tax_included"]));
        assert_eq!(price["properties"]["amount"]["type"], "string");
        assert_eq!(price["properties"]["breaks"]["items"]["required"], json!(["minimum", "amount"]));
        assert_eq!(price["additionalProperties"], false);
        assert_eq!(price["properties"]["list"]["x-qualifies"], true);
        let customer = entity_schema(entities.get("customer").unwrap());
        assert!(customer["properties"]["email"]["description"].as_str().unwrap().contains("Personal"));
        let order = entity_schema(entities.get("order").unwrap());
        assert_eq!((&order["x-numbered"], &order["x-key"]), (&json!(true), &json!("number")));
        for spec in entities.iter() {
            let schema = entity_schema(spec);
            assert_eq!(schema["properties"].as_object().unwrap().len(), spec.fields.len());
            assert!(jsonschema::meta::is_valid(&schema), "{}", spec.entity);
        }
    }

    #[test]
    fn a_mapping_is_described_by_what_is_read() {
        let schema = file_schema("mapping").unwrap();
        assert_eq!(schema["required"], json!(["key"]));
        let text = schema.to_string();
        for key in ["push_to", "localized", "on_create", "\"ref\"", "\"as\"", "lookups"] {
            assert!(text.contains(key), "{key}");
        }
    }

    #[test]
    fn the_schemas_of_files_are_what_the_code_says() {
        for kind in FILES {
            let path = Path::new(ROOT).join(format!("docs/schemas/{kind}.json"));
            let now = format!("{}\n", serde_json::to_string_pretty(&file_schema(kind).unwrap()).unwrap());
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&path, &now).unwrap();
            }
            let written = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(written == now, "{} is stale: run `BLESS=1 cargo test --lib schemas_of_files`", path.display());
        }
    }

    /// All files below a folder that end in `.toml`.
    fn files(folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![Path::new(ROOT).join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|end| end == "toml") {
                    found.push(entry);
                }
            }
        }
        found
    }

    #[test]
    fn every_shipped_file_names_its_schema_in_its_first_line_and_fits_it() {
        let shipped = [
            ("adapters", "adapter", 5),
            ("mappings", "mapping", 30),
            ("config", "config", 3),
            ("src/model/entities", "entity", 10),
        ];
        for (folder, kind, least) in shipped {
            // A reference that leads nowhere is an error here.
            let schema = jsonschema::validator_for(&file_schema(kind).unwrap()).unwrap();
            let files = files(folder);
            assert!(files.len() >= least, "{folder}: {}", files.len());
            for path in files {
                let text = std::fs::read_to_string(&path).unwrap();
                let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).unwrap_or_default();
                let named = path.parent().unwrap().join(named).canonicalize().unwrap_or_default();
                let wanted = Path::new(ROOT).join(format!("docs/schemas/{kind}.json")).canonicalize().unwrap();
                assert_eq!(named, wanted, "{}", path.display());
                let value = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
                let wrong: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
                assert!(wrong.is_empty(), "{}: {}", path.display(), wrong.join("; "));
            }
        }
    }

    #[test]
    fn a_schema_refuses_a_mistyped_key_and_a_wrong_type() {
        let schema = jsonschema::validator_for(&file_schema("adapter").unwrap()).unwrap();
        let adapter = |list: &str| {
            let text = format!(
                "driver = \"sql\"\nsummary = \"x\"\n[sql]\nurl = \"sqlite://x\"\n[entities.product]\nid = \"id\"\n\
                 [entities.product.list]\n{list}"
            );
            serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
        };
        assert!(schema.is_valid(&adapter("query = \"SELECT 1\"")));
        assert!(!schema.is_valid(&adapter("query = \"SELECT 1\"\nqery = \"SELECT 1\"")));
        assert!(!schema.is_valid(&adapter("query = 1")));
    }
}
