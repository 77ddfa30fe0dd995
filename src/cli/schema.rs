//! `vaiven schema`: JSON Schemas of what people write and of the canonical entities.

use schemars::{Schema, schema_for};
use serde_json::{Map, Value, json};

use super::{Ending, app, args::Global, output};
use crate::{
    adapter::{files::FilesAdapter, http::HttpAdapter, sql::SqlAdapter},
    config::Sections,
    load::{LoadError, Place, SourceFile},
    mapping::MappingFile,
    model::{Entities, EntitySpec, FieldSpec, Kind},
};

/// Schemas that are not entities.
const FILES: [&str; 4] = ["config", "adapter", "mapping", "entity"];

pub fn schema(name: Option<&str>, global: &Global) -> anyhow::Result<Ending> {
    let entities = app::entities(global)?;
    let Some(name) = name else {
        let names: Vec<&str> = FILES.into_iter().chain(entities.names()).collect();
        output::line(&if global.json { serde_json::to_string_pretty(&names)? } else { names.join("\n") })?;
        return Ok(Ending::Fine);
    };
    let schema: Value = match name {
        "config" => of(schema_for!(Sections)),
        "adapter" => adapter(),
        "mapping" => of(schema_for!(MappingFile)),
        "entity" => of(schema_for!(EntitySpec)),
        name => match entities.get(name) {
            Some(spec) => entity(spec),
            None => return Err(unknown(name, &entities).into()),
        },
    };
    output::line(&serde_json::to_string_pretty(&schema)?)?;
    Ok(Ending::Fine)
}

fn unknown(name: &str, entities: &Entities) -> LoadError {
    let asked = SourceFile::typed(name);
    let known: Vec<&str> = FILES.into_iter().chain(entities.names()).collect();
    LoadError::unknown(&Place::new(&asked, 0..name.len()), "schema", name, known)
}

fn of(schema: Schema) -> Value {
    schema.to_value()
}

/// An adapter is of one of three forms, by its driver.
fn adapter() -> Value {
    let forms = [of(schema_for!(HttpAdapter)), of(schema_for!(SqlAdapter)), of(schema_for!(FilesAdapter))];
    json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Adapter", "oneOf": forms })
}

fn entity(spec: &EntitySpec) -> Value {
    let mut schema = object(&spec.fields);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!(spec.entity));
    schema.insert("x-key".to_owned(), json!(spec.key));
    Value::Object(schema)
}

fn object(fields: &indexmap::IndexMap<String, FieldSpec>) -> Map<String, Value> {
    let properties: Map<String, Value> = fields.iter().map(|(name, spec)| (name.clone(), field(spec))).collect();
    let required: Vec<&String> = fields.iter().filter(|(_, spec)| spec.required).map(|(name, _)| name).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

fn field(spec: &FieldSpec) -> Value {
    let of = || spec.of.as_ref().map_or_else(|| json!(true), |of| field(of));
    let mut schema = match spec.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Localized => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Decimal | Kind::Money => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$" }),
        Kind::Integer => json!({ "type": "integer" }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Date => json!({ "type": "string", "format": "date" }),
        Kind::Datetime => json!({ "type": "string", "format": "date-time" }),
        Kind::Currency => json!({ "type": "string", "pattern": "^[A-Z]{3}$" }),
        Kind::Country => json!({ "type": "string", "pattern": "^[A-Z]{2}$" }),
        Kind::Language => json!({ "type": "string", "pattern": "^[a-z]{2,3}(-[A-Za-z0-9]+)*$" }),
        Kind::Url => json!({ "type": "string", "format": "uri" }),
        Kind::Choice => json!({ "type": "string", "enum": spec.choices }),
        Kind::Ref => json!({ "type": "integer", "x-record-of": spec.to }),
        Kind::List => json!({ "type": "array", "items": of() }),
        Kind::Map => json!({ "type": "object", "additionalProperties": of() }),
        Kind::Object => Value::Object(object(&spec.fields)),
    };
    if let Value::Object(members) = &mut schema {
        if let Some(doc) = &spec.doc {
            members.insert("description".to_owned(), json!(doc));
        }
        if spec.personal {
            members.insert("x-personal".to_owned(), json!(true));
        }
    }
    schema
}
