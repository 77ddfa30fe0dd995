//! `vaiven schema`: JSON Schemas of what people write and of the canonical entities.

use super::{Ending, app, args::Global, output};
use crate::{
    load::{LoadError, Place, SourceFile},
    model::Entities,
    schema::{FILES, entity_schema, file_schema},
};

pub fn schema(name: Option<&str>, global: &Global) -> anyhow::Result<Ending> {
    let entities = app::entities(global)?;
    let Some(name) = name else {
        let names: Vec<&str> = FILES.into_iter().chain(entities.names()).collect();
        output::line(&if global.json { serde_json::to_string_pretty(&names)? } else { names.join("\n") })?;
        return Ok(Ending::Fine);
    };
    let schema = file_schema(name).or_else(|| entities.get(name).map(|spec| entity_schema(spec)));
    let schema = schema.ok_or_else(|| unknown(name, &entities))?;
    output::line(&serde_json::to_string_pretty(&schema)?)?;
    Ok(Ending::Fine)
}

fn unknown(name: &str, entities: &Entities) -> LoadError {
    let typed = SourceFile::typed(name);
    let known: Vec<&str> = FILES.into_iter().chain(entities.names()).collect();
    LoadError::unknown(&Place::new(&typed, 0..name.len()), "schema", name, known)
}
