//! `vaiven resync`: asks the running daemon, through the store, to read and offer something again.

use anyhow::bail;
use serde::Serialize;

use super::{Ending, found, naming, session::Session};
use crate::{
    config::{Config, OpenedConfig},
    load::{LoadError, Place, SourceFile},
    store::{Rejection, SharedStore},
    sync::Scope,
};

#[derive(Serialize)]
struct Placed {
    order: i64,
    scope: String,
    /// Where more is read than the one requested object, and why.
    listed: Vec<String>,
    /// The other records, if the article has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    further: Vec<Placed>,
}

pub async fn resync(scope: &str, session: &Session) -> anyhow::Result<Ending> {
    let Session { config, store, env, output } = session;
    let scopes = resolved(scope_of(scope, config)?, config, store).await?;
    let plan = session.opened();
    let mut all = Vec::with_capacity(scopes.len());
    for scope in scopes {
        known(&scope, store, None).await?;
        let listed = plan.as_ref().map(|plan| listed(&scope, plan)).unwrap_or_default();
        let order = store.place_command("resync", &scope.to_string(), env.now()).await?;
        all.push(Placed { order, scope: scope.to_string(), listed, further: Vec::new() });
    }
    let mut all = all.into_iter();
    if let Some(first) = all.next() {
        output.show(&Placed { further: all.collect(), ..first }, Placed::text)?;
    }
    Ok(Ending::Fine)
}

impl Placed {
    fn text(&self) -> String {
        let placed = format!(
            "Order {}: the running daemon will read {} again. If none is running: vaiven run --resync {}",
            self.order, self.scope, self.scope
        );
        let further = self.further.iter().map(Self::text);
        std::iter::once(placed).chain(self.listed.iter().cloned()).chain(further).collect::<Vec<_>>().join("\n")
    }
}

/// Systems where one object is requested, but only the whole listing can be read.
fn listed(scope: &Scope, plan: &OpenedConfig) -> Vec<String> {
    let (Some(entity), Some(_), Some(flow)) = (&scope.entity, &scope.key, plan.routes.flow(&scope.flow)) else {
        return Vec::new();
    };
    let capabilities =
        |system: &String| plan.systems.get(system).and_then(|system| system.capabilities(entity).cloned());
    let listed = std::iter::once(&flow.from).chain(&flow.to).filter_map(|system| {
        let capabilities = capabilities(system)?;
        (!capabilities.read && capabilities.list).then(|| {
            format!("{system} cannot be read by key, so its whole listing of {entity} is read, if it has the object.")
        })
    });
    listed.collect()
}

/// The scope with the record's key, if the user gave an id at a system or a match field. If the user gave an
/// article, there is one scope for each of its records.
pub async fn resolved(scope: Scope, config: &Config, store: &SharedStore) -> anyhow::Result<Vec<Scope>> {
    let (Some(entity), Some(key)) = (&scope.entity, &scope.key) else { return Ok(vec![scope]) };
    let entities = config.entities()?;
    let Some(spec) = entities.get(entity) else { return Ok(vec![scope]) };
    if is_key(entity, key, store).await {
        return Ok(vec![scope]);
    }
    let records = match found::by_value(entity, key, spec, config, store).await? {
        Some(record) => vec![record],
        None => found::of_article(spec, key, &entities, config, store).await?,
    };
    let keys = store.keys(&records).await?.into_values().map(|(_, key)| key).filter(|key| !key.is_empty());
    let scopes: Vec<Scope> = keys.map(|key| Scope { key: Some(key), ..scope.clone() }).collect();
    Ok(if scopes.is_empty() { vec![scope] } else { scopes })
}

/// Whether one record or several have this key. If several have it, the flow's source decides which one is meant.
async fn is_key(entity: &str, key: &str, store: &SharedStore) -> bool {
    !matches!(naming::record(store, entity, key).await, Ok(None))
}

/// Refuse an unknown key: no system has shown such an object, and no unreadable row has this name. `read` is the
/// system that was just asked for it.
pub async fn known(scope: &Scope, store: &SharedStore, read: Option<&str>) -> anyhow::Result<()> {
    let (Some(entity), Some(key)) = (&scope.entity, &scope.key) else { return Ok(()) };
    let called = |_: &str, row: &Rejection| row.is_about(key);
    if is_key(entity, key, store).await || !found::rejections(entity, store, called).await?.is_empty() {
        return Ok(());
    }
    let flow = &scope.flow;
    if let Some(system) = read {
        bail!(
            "nobody knows {entity} `{key}`: no system was seen to have it, and {system} was asked for it just now. Is the key \
             right, and does the flow's `where` let it through?"
        );
    }
    bail!(
        "nobody knows {entity} `{key}`: no system was seen to have it. `vaiven resync {flow}/{entity}` has the running daemon \
         read everything; if none is running, `vaiven run --resync {flow}/{entity}/{key}` reads the listing of the flow's \
         source"
    )
}

/// The flow of this name. It must be in the configuration.
pub fn flow_of(text: &str, config: &Config) -> anyhow::Result<String> {
    let flows = &config.sections.flows;
    if flows.contains_key(text) {
        return Ok(text.to_owned());
    }
    let typed = SourceFile::typed(text);
    let known = flows.keys().map(|name| name.get_ref().as_str());
    Err(LoadError::unknown(&Place::new(&typed, 0..text.len()), "flow", text, known).into())
}

/// The scope. Its flow and entity must be in the configuration.
pub fn scope_of(text: &str, config: &Config) -> anyhow::Result<Scope> {
    let scope: Scope = text.parse()?;
    let typed = SourceFile::typed(text);
    let place = |word: &str| {
        let start = text.find(word).unwrap_or_default();
        Place::new(&typed, start..start + word.len())
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
