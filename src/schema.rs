//! JSON Schemas (2020-12) of what people write and read: canonical entities and mapping files. Those of adapters and of the
//! configuration are derived where these are read.

use serde_json::{Map, Value, json};

use crate::{
    mapping::MappingFile,
    model::{EntitySpec, FieldSpec, Kind, codes},
};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a canonical object of the entity looks like.
#[must_use]
pub fn entity_schema(spec: &EntitySpec) -> Value {
    let mut schema = object(&spec.fields);
    schema.insert("$schema".into(), DIALECT.into());
    schema.insert("title".into(), spec.entity.as_str().into());
    schema.insert("description".into(), format!("The field `{}` holds the record's key.", spec.key).into());
    Value::Object(schema)
}

/// What a mapping file looks like.
#[must_use]
pub fn mapping_schema() -> Value {
    schemars::schema_for!(MappingFile).to_value()
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
    if let (false, Value::Object(members)) = (doc.is_empty(), &mut schema) {
        members.insert("description".into(), doc.join(" ").into());
    }
    schema
}

const DECIMAL: &str = "^-?(0|[1-9][0-9]*)(\\.[0-9]*[1-9])?$";
const LANGUAGE: &str = "^[a-z]{2,3}(-[A-Za-z0-9]{1,8})*$";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Entities;

    #[test]
    fn an_entity_is_described_with_its_kinds_and_docs() {
        let entities = Entities::builtin();
        let price = entity_schema(entities.get("price").unwrap());
        assert_eq!(price["required"], json!(["code", "list", "sku", "amount", "currency", "tax_included"]));
        assert_eq!(price["properties"]["amount"]["type"], "string");
        assert_eq!(price["properties"]["breaks"]["items"]["required"], json!(["minimum", "amount"]));
        assert_eq!(price["additionalProperties"], false);
        let customer = entity_schema(entities.get("customer").unwrap());
        assert!(customer["properties"]["email"]["description"].as_str().unwrap().contains("Personal"));
        for spec in entities.iter() {
            assert_eq!(entity_schema(spec)["properties"].as_object().unwrap().len(), spec.fields.len());
        }
    }

    #[test]
    fn a_mapping_is_described_by_what_is_read() {
        let schema = mapping_schema();
        assert_eq!(schema["required"], json!(["key"]));
        let text = schema.to_string();
        for key in ["push_to", "localized", "on_create", "\"ref\"", "\"as\"", "lookups"] {
            assert!(text.contains(key), "{key}");
        }
    }
}
