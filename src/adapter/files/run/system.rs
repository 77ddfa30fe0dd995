//! A configured folder, as the engine sees it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::Value;

use super::{folder::Folder, group::Grouping, picking::Picking, reading::Reader};
use crate::{
    adapter::{
        compile::Compiler,
        files::compile::{self, Name, Writer, entities},
        manifest::{Manifest, Settings, files::FilesAdapter, version_of},
        run::{base_scope, write_scope},
        world::World,
    },
    env::Env,
    failure::{Class, Failure},
    load::LoadError,
    port::{
        Capabilities, Checked, Op, Outcome, Page, Probe, Progress, PullRequest, RowBody, SourceRow, System, Write,
        Written,
    },
};

/// A configured folder.
pub struct FilesSystem {
    shared: Arc<Shared>,
    /// For a folder that must not be changed: readers that leave every file as it is.
    read_only: Option<IndexMap<String, Arc<Reader>>>,
}

/// What work on other threads needs as well.
struct Shared {
    name: String,
    manifest: Arc<Manifest>,
    settings: Settings,
    folder: Folder,
    entities: IndexMap<String, Entity>,
    env: Env,
    /// Number of pages read, and of files written or looked for.
    handled: AtomicU64,
}

struct Entity {
    reader: Option<Arc<Reader>>,
    create: Option<Writer>,
    update: Option<Writer>,
    delete: Option<Name>,
    capabilities: Capabilities,
}

/// Make a configured system from an adapter with driver `files`. The folder is not touched yet.
pub fn open(
    name: &str,
    manifest: &Arc<Manifest>,
    settings: &Settings,
    world: &World,
) -> Result<Arc<dyn System>, LoadError> {
    let adapter: FilesAdapter = crate::load::parse(&manifest.file)?;
    let compiler = Compiler::new(manifest);
    let folder = compiler.own_text(&adapter.files.folder, settings)?;
    let folder = Folder::new(world.folder.join(Path::new(&folder)));
    let entities = entities(&compiler, &adapter.entities)?.into_iter();
    let entities = entities.map(|(entity, compiled)| {
        let opened = Entity::open(&format!("{name}/{entity}"), &entity, compiled, settings, &folder);
        (entity, opened)
    });
    let entities = entities.collect();
    let shared = Shared {
        name: name.to_owned(),
        manifest: Arc::clone(manifest),
        settings: settings.clone(),
        folder,
        entities,
        env: world.env.clone(),
        handled: AtomicU64::new(0),
    };
    Ok(Arc::new(FilesSystem { shared: Arc::new(shared), read_only: None }))
}

impl Entity {
    /// `subject` names system and entity, for messages.
    fn open(subject: &str, name: &str, compiled: compile::Entity, settings: &Settings, folder: &Folder) -> Self {
        let compile::Entity { id, version, keep, list, create, update, delete, capabilities } = compiled;
        let reader = list.map(|listing| {
            let grouping = listing.group.clone().map(|group| Grouping {
                entity: Value::from(name),
                settings: settings.clone(),
                group,
                most: listing.max_row,
            });
            let picking = Picking::new(name, settings, id, version, keep);
            Arc::new(Reader::new(subject.to_owned(), folder.clone(), listing, grouping, picking))
        });
        Self { reader, create, update, delete, capabilities }
    }
}

impl Shared {
    fn entity(&self, entity: &str) -> Result<&Entity, Failure> {
        self.entities.get(entity).ok_or_else(|| {
            Failure::new(Class::Fatal, format!("{}: adapter {} knows no {entity}", self.name, self.manifest.name))
        })
    }

    fn write_one(&self, entity: &str, write: &Write) -> Result<Written, Failure> {
        let own = self.entity(entity)?;
        let name = Value::from(entity);
        let base = base_scope(&self.settings, &name);
        let id = write.id.as_deref().map_or(Value::Null, Value::from);
        let child_ids = serde_json::to_value(&write.child_ids).unwrap_or_default();
        let scope = write_scope(&base, write, (&id, &child_ids));
        let named =
            |failure: Failure| Failure { message: format!("{}/{entity}: {}", self.name, failure.message), ..failure };
        let writer = match write.op {
            Op::Create => own.create.as_ref(),
            Op::Update => own.update.as_ref(),
            Op::Delete => {
                let target = own.delete.as_ref().ok_or_else(undeclared)?.target(&scope, &write.key).map_err(named)?;
                return match target.remove(&self.folder) {
                    Ok(true) => Ok(Written { id: write.key.clone(), ..Written::default() }),
                    Ok(false) => Err(named(Failure::new(Class::Missing, "the file is not there"))),
                    Err(error) => Err(named(Failure::new(Class::Transient, error.to_string()).with_source(error))),
                };
            }
        };
        let writer = writer.ok_or_else(undeclared)?;
        writer.write(&self.folder, write, &scope).map_err(named)?;
        let id = write.id.clone().unwrap_or_else(|| write.key.clone());
        Ok(Written { id, ..Written::default() })
    }

    fn look_up(&self, entity: &str, probe: &Probe<'_>, read_only: bool) -> Result<Vec<SourceRow>, Failure> {
        let Some(writer) = &self.entity(entity)?.create else { return Ok(Vec::new()) };
        let name = Value::from(entity);
        let base = base_scope(&self.settings, &name);
        let nothing = Value::Null;
        let scope = base
            .child()
            .with("body", probe.body)
            .with("whole", probe.body)
            .with("wanted", probe.desired)
            .with("before", &nothing)
            .with_owned("key", probe.key)
            .with("id", &nothing)
            .with("parts", &nothing);
        let target = writer.name.target(&scope, probe.key)?;
        let sent = target.was_sent(&self.folder, read_only).map_err(|error| {
            Failure::new(Class::Transient, format!("{}/{entity}: looking up: {error}", self.name)).with_source(error)
        })?;
        let row = || SourceRow {
            id: probe.key.to_owned(),
            position: probe.key.to_owned(),
            version: None,
            body: RowBody::Json(probe.body.clone()),
        };
        Ok(sent.then(row).into_iter().collect())
    }
}

impl FilesSystem {
    fn reader(&self, entity: &str) -> Result<Arc<Reader>, Failure> {
        let reader = match &self.read_only {
            Some(readers) => readers.get(entity).cloned(),
            None => self.shared.entity(entity)?.reader.clone(),
        };
        reader.ok_or_else(|| {
            let name = &self.shared.name;
            Failure::new(
                Class::Fatal,
                format!("{name}: its adapter cannot list {}", crate::model::with_article(entity)),
            )
        })
    }
}

fn undeclared() -> Failure {
    Failure::new(Class::Fatal, "the adapter declares no such operation for this entity")
}

/// Run work on files on a thread where it blocks nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(Class::Unknown, format!("the work was broken off: {error}")).with_source(error)),
    }
}

#[async_trait]
impl System for FilesSystem {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn capabilities(&self, entity: &str) -> Option<&Capabilities> {
        self.shared.entities.get(entity).map(|entity| &entity.capabilities)
    }

    fn version(&self, entity: &str) -> u64 {
        version_of(&self.shared.manifest, &self.shared.settings, entity)
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure> {
        let reader = self.reader(request.entity)?;
        self.shared.handled.fetch_add(1, Ordering::Relaxed);
        let (since, page) = (request.since.map(str::to_owned), request.page.cloned());
        let (limit, now) = (request.limit, self.shared.env.now());
        blocking(move || reader.page(since.as_deref(), page.as_ref(), limit, now)).await
    }

    async fn acknowledge(&self, entity: &str, receipt: &Value) -> Result<(), Failure> {
        let reader = self.reader(entity)?;
        let (receipt, now) = (receipt.clone(), self.shared.env.now());
        blocking(move || reader.acknowledge(&receipt, now)).await
    }

    async fn read(&self, entity: &str, _: &[String]) -> Result<Vec<SourceRow>, Failure> {
        let message = format!("{}/{entity}: single objects cannot be read from files", self.shared.name);
        Err(Failure::new(Class::Fatal, message))
    }

    async fn find(&self, entity: &str, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        self.shared.handled.fetch_add(1, Ordering::Relaxed);
        self.shared.look_up(entity, probe, self.read_only.is_some())
    }

    async fn write(&self, entity: &str, writes: Vec<Write>, _: &dyn Progress) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(writes.len());
        if self.read_only.is_some() {
            let refused = || Failure::new(Class::Fatal, format!("{} is only looked at", self.shared.name));
            outcomes.extend(writes.iter().map(|write| Outcome { job: write.job, result: Err(refused()), requests: 0 }));
            return outcomes;
        }
        // Each file is synced to disk before the next is written.
        for write in writes {
            self.shared.handled.fetch_add(1, Ordering::Relaxed);
            let (shared, entity, job) = (Arc::clone(&self.shared), entity.to_owned(), write.job);
            let result = blocking(move || shared.write_one(&entity, &write)).await;
            outcomes.push(Outcome { job, result, requests: 1 });
        }
        outcomes
    }

    fn requests(&self) -> u64 {
        self.shared.handled.load(Ordering::Relaxed)
    }

    fn read_only(&self) -> Option<Arc<dyn System>> {
        let readers = self.shared.entities.iter().filter_map(|(name, entity)| {
            let reader = entity.reader.as_ref()?;
            Some((name.clone(), Arc::new(reader.read_only())))
        });
        Some(Arc::new(Self { shared: Arc::clone(&self.shared), read_only: Some(readers.collect()) }))
    }

    async fn check(&self) -> Vec<Checked> {
        let folder = Checked::new(format!("folder {}", self.shared.folder.shown()), self.shared.folder.make(""));
        let readers = self.shared.entities.iter().filter_map(|(name, entity)| Some((name, entity.reader.as_ref()?)));
        let refused = readers.map(|(name, reader)| Checked {
            what: format!("files of {name}"),
            problem: reader.problems().unwrap_or_else(|error| Some(error.to_string())),
            caution: None,
        });
        std::iter::once(folder).chain(refused).collect()
    }
}
