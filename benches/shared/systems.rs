//! Systems of which a benchmark says only what they do, and an engine's parts between them.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use vaiven::internals::{
    env::Env,
    failure::{Class, Failure},
    load::SourceFile,
    mapping::{Mapping, Translate},
    model::Entities,
    port::{Capabilities, Checked, Outcome, Page, Probe, Progress, PullRequest, SourceRow, System, Write, Written},
    store::SharedStore,
    sync::{Context, Flow, Limits, Routes},
};

/// A mapping of products, for either side.
pub const PRODUCT: &str = r#"
key = "sku"
[fields]
sku = "sku"
name = { from = "name", localized = "es" }
description = { from = "description", localized = "es" }
brand = "brand"
unit = "unit"
active = "active"
"#;

/// What a system of a benchmark does: what is not said lists nothing, finds nothing and refuses.
pub trait Work: Send + Sync {
    fn capabilities(&self) -> &Capabilities;

    fn pull(&self, _: &PullRequest<'_>) -> Page {
        Page::default()
    }

    fn read(&self, _id: &str) -> Option<SourceRow> {
        None
    }

    fn write(&self, _: Write) -> Result<Written, Failure> {
        Err(Failure::new(Class::Fatal, "this system is only read"))
    }
}

/// A system by its name and by what it does.
pub struct Named<W>(pub &'static str, pub Arc<W>);

#[async_trait]
impl<W: Work> System for Named<W> {
    fn name(&self) -> &str {
        self.0
    }

    fn capabilities(&self, _: &str) -> Option<&Capabilities> {
        Some(self.1.capabilities())
    }

    fn version(&self, _: &str) -> u64 {
        1
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure> {
        Ok(self.1.pull(request))
    }

    async fn acknowledge(&self, _: &str, _: &Value) -> Result<(), Failure> {
        Ok(())
    }

    async fn read(&self, _: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        Ok(ids.iter().filter_map(|id| self.1.read(id)).collect())
    }

    async fn find(&self, _: &str, _: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        Ok(Vec::new())
    }

    async fn write(&self, _: &str, writes: Vec<Write>, _: &dyn Progress) -> Vec<Outcome> {
        writes.into_iter().map(|write| Outcome { job: write.job, result: self.1.write(write), requests: 1 }).collect()
    }

    async fn check(&self) -> Vec<Checked> {
        Vec::new()
    }
}

/// A flow of one entity from the ERP to the shop.
pub fn flow(name: &str, entity: &str) -> Flow {
    let [name, entity] = [name, entity].map(str::to_owned);
    Flow { name, entities: vec![entity], from: "erp".into(), to: vec!["shop".into()], ..Flow::default() }
}

/// An engine's parts: these systems, one mapping for all of them, one flow of one entity.
pub fn context(store: SharedStore, systems: Vec<Arc<dyn System>>, mapping: &str, flow: Flow) -> Result<Context> {
    let entities = Arc::new(Entities::builtin());
    let entity = flow.entities.first().context("a flow has an entity")?.clone();
    let spec = entities.get(&entity).context("the entity ships")?;
    let file = SourceFile::new("bench-mapping.toml", mapping);
    let mapping: Arc<dyn Translate> = Arc::new(Mapping::load(&file, spec, &Map::new(), &indexmap::IndexMap::new())?);
    let systems: BTreeMap<String, _> = systems.into_iter().map(|system| (system.name().to_owned(), system)).collect();
    let mappings = systems.keys().map(|name| ((name.clone(), entity.clone()), Arc::clone(&mapping))).collect();
    Ok(Context {
        store,
        env: Env::system(),
        systems,
        mappings,
        entities,
        routes: Routes::new(vec![flow])?,
        limits: Limits::default(),
        owner: "bench".into(),
        work: Arc::new(Notify::new()),
        journal: Arc::default(),
    })
}

/// The rows of a listing from where the last page ended, `limit` of them, and where the next page begins.
pub fn page(request: &PullRequest<'_>, rows: usize, row: impl Fn(usize) -> Option<SourceRow>) -> Page {
    let from = request.page.and_then(|page| page.0.as_u64()).map_or(0, |from| usize::try_from(from).unwrap_or(0));
    let to = rows.min(from + request.limit);
    let next = (to < rows).then(|| vaiven::internals::port::PageToken(to.into()));
    Page { rows: (from..to).filter_map(row).collect(), next, ..Page::default() }
}
