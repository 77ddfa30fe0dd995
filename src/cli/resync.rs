//! `vaiven resync`: asks the running daemon, through the store, to look at something again.

use serde::Serialize;

use super::{Ending, output::Output};
use crate::{
    config::Config,
    env::Env,
    load::{LoadError, Place, SourceFile},
    store::SharedStore,
    sync::Scope,
};

#[derive(Serialize)]
struct Placed {
    order: i64,
    scope: String,
}

pub async fn resync(
    scope: &str,
    config: &Config,
    store: &SharedStore,
    env: &Env,
    output: Output,
) -> anyhow::Result<Ending> {
    let scope = scope_of(scope, config)?;
    let order = store.place_order("resync", &scope.to_string(), env.now()).await?;
    output.show(&Placed { order, scope: scope.to_string() }, |placed| {
        format!(
            "Order {}: {} is looked at again by the running daemon. Without one: vaiven run --resync {}",
            placed.order, placed.scope, placed.scope
        )
    })?;
    Ok(Ending::Fine)
}

/// The flow, if the configuration has it.
pub fn flow_of(text: &str, config: &Config) -> anyhow::Result<String> {
    let flows = &config.sections.flows;
    if flows.contains_key(text) {
        return Ok(text.to_owned());
    }
    let asked = SourceFile::typed(text);
    let known = flows.keys().map(|name| name.get_ref().as_str());
    Err(LoadError::unknown(&Place::new(&asked, 0..text.len()), "flow", text, known).into())
}

/// The scope, if the configuration has such a flow and entity.
pub fn scope_of(text: &str, config: &Config) -> anyhow::Result<Scope> {
    let scope: Scope = text.parse()?;
    let asked = SourceFile::typed(text);
    let place = |word: &str| {
        let start = text.find(word).unwrap_or_default();
        Place::new(&asked, start..start + word.len())
    };
    let flows = &config.sections.flows;
    let Some(flow) = flows.get(scope.flow.as_str()) else {
        return Err(LoadError::unknown(
            &place(&scope.flow),
            "flow",
            &scope.flow,
            flows.keys().map(|name| name.get_ref().as_str()),
        )
        .into());
    };
    if let Some(entity) = &scope.entity {
        let carried = flow.entities.iter().map(|name| name.get_ref().as_str());
        if !carried.clone().any(|name| name == entity) {
            return Err(LoadError::unknown(&place(entity), "entity", entity, carried).into());
        }
    }
    Ok(scope)
}
