//! A configured database, as the engine sees it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::Value;

use super::{
    database::{self, Database},
    value::Limits,
};
use crate::{
    adapter::{
        compile::Compiler,
        manifest::{Manifest, Settings, sql::SqlAdapter, version_of},
        sql::compile::{Entity, SqlCompiler, entities},
        world::World,
    },
    env::Env,
    failure::{Class, Failure},
    load::LoadError,
    port::{Capabilities, Checked, Outcome, Page, Probe, Progress, PullRequest, SourceRow, System, Write},
};

/// Number of connections, unless the adapter sets another.
const CONNECTIONS: u32 = 4;

/// Maximum number of bytes of a row, and of all rows of an answer, unless the adapter sets others.
const MAX_ROW: usize = 16 << 20;
const MAX_ANSWER: usize = 256 << 20;

/// A configured database.
pub struct SqlSystem {
    pub(super) name: String,
    pub(super) manifest: Arc<Manifest>,
    pub(super) settings: Settings,
    pub(super) env: Env,
    pub(super) database: Database,
    pub(super) limits: Limits,
    pub(super) entities: IndexMap<String, Entity>,
    /// Number of statements that were run.
    pub(super) statements: AtomicU64,
}

/// Make a configured system from an adapter with driver `sql`. No connection is opened yet.
pub fn open(
    name: &str,
    manifest: &Arc<Manifest>,
    settings: &Settings,
    world: &World,
) -> Result<Arc<dyn System>, LoadError> {
    let adapter: SqlAdapter = crate::load::parse(&manifest.file)?;
    let texts = Compiler::new(manifest);
    let url = texts.own_text(&adapter.sql.url, settings)?;
    let wrong = |problem: String| texts.wrong(&adapter.sql.url, format!("system {name}: {problem}"));
    let connections = adapter.sql.connections.map_or(CONNECTIONS, std::num::NonZeroU32::get);
    let patience = adapter.sql.patience.map_or(database::PATIENCE, |patience| patience.0);
    let database = Database::open(&url, &world.folder, connections, patience).map_err(wrong)?;
    let compiler = SqlCompiler { texts: texts.clone(), dialect: database.dialect() };
    let entities = entities(&compiler, &adapter.entities)?;
    Ok(Arc::new(SqlSystem {
        name: name.to_owned(),
        manifest: Arc::clone(manifest),
        settings: settings.clone(),
        env: world.env.clone(),
        database,
        limits: Limits {
            row: adapter.sql.max_row.map_or(MAX_ROW, |size| size.0),
            answer: adapter.sql.max_answer.map_or(MAX_ANSWER, |size| size.0),
        },
        entities,
        statements: AtomicU64::new(0),
    }))
}

impl SqlSystem {
    fn entity(&self, entity: &str) -> Result<&Entity, Failure> {
        self.entities.get(entity).ok_or_else(|| {
            Failure::new(Class::Fatal, format!("{}: adapter {} knows no {entity}", self.name, self.manifest.name))
        })
    }
}

#[async_trait]
impl System for SqlSystem {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self, entity: &str) -> Option<&Capabilities> {
        self.entities.get(entity).map(|entity| &entity.capabilities)
    }

    fn version(&self, entity: &str) -> u64 {
        version_of(&self.manifest, &self.settings, entity)
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure> {
        let entity = self.entity(request.entity)?;
        match &entity.list {
            Some(list) => self.list(entity, list, request).await,
            None => {
                let object = crate::model::with_article(&entity.name);
                Err(Failure::new(Class::Fatal, format!("{}: its adapter cannot list {object}", self.name)))
            }
        }
    }

    async fn acknowledge(&self, _: &str, _: &Value) -> Result<(), Failure> {
        Ok(())
    }

    async fn read(&self, entity: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        self.read_ids(self.entity(entity)?, ids).await
    }

    async fn find(&self, entity: &str, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        self.look_up(self.entity(entity)?, probe).await
    }

    async fn write(&self, entity: &str, writes: Vec<Write>, _: &dyn Progress) -> Vec<Outcome> {
        match self.entity(entity) {
            Ok(entity) => self.write_all(entity, &writes).await,
            Err(failure) => writes
                .iter()
                .map(|write| Outcome {
                    job: write.job,
                    result: Err(Failure::new(failure.class, failure.message.clone())),
                    requests: 0,
                })
                .collect(),
        }
    }

    fn requests(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    async fn check(&self) -> Vec<Checked> {
        self.try_out().await
    }

    async fn check_writing(&self, entities: &[&str]) -> Vec<Checked> {
        self.try_writing(entities).await
    }
}
