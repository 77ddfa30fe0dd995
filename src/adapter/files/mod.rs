//! Driver `files`: CSV, XML and JSON files of one folder as sources and targets. See `docs/adapters.md`.

mod cells;
mod config;
mod csv;
mod folder;
mod group;
mod json;
mod picking;
mod reading;
mod rows;
mod text;
mod writing;
mod xml;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use chrono::TimeDelta;
use encoding_rs::Encoding;
use indexmap::IndexMap;
use serde_json::Value;

pub use config::FilesAdapter;

use self::{
    config::{EntitySpec, Format, ListSpec},
    csv::CsvShape,
    folder::{Folder, Pattern},
    group::Grouping,
    picking::Picking,
    reading::{Listing, Reader},
    writing::{Name, Writer},
};
use super::{
    Manifest, Settings, Text, World,
    compile::{self, Compiler, base_scope},
};
use crate::{
    env::Env,
    failure::{Class, Failure},
    load::LoadError,
    port::{
        Capabilities, Checked, Find, Op, Outcome, Page, Probe, Progress, PullRequest, RowBody, SourceRow, System,
        Write, Written,
    },
};

const MAX_ROW: usize = 16 << 20;
const QUIET_FOR: std::time::Duration = std::time::Duration::from_secs(2);

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
pub(super) fn open(
    name: &str,
    manifest: &Arc<Manifest>,
    settings: &Settings,
    world: &World,
) -> Result<Arc<dyn System>, LoadError> {
    let adapter: FilesAdapter = crate::load::parse(&manifest.file)?;
    let compiler = Compiler::new(manifest);
    let folder = compiler.own_text(&adapter.files.folder, settings)?;
    let folder = Folder::new(world.folder.join(Path::new(&folder)));
    let entities = adapter.entities.iter().map(|(entity, spec)| {
        let reading = Opening { system: name, compiler: &compiler, settings, folder: &folder };
        reading.entity(entity, spec).map(|compiled| (entity.clone(), compiled))
    });
    let entities = LoadError::collect(entities)?.into_iter().collect();
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

struct Opening<'a> {
    system: &'a str,
    compiler: &'a Compiler,
    settings: &'a Settings,
    folder: &'a Folder,
}

impl Opening<'_> {
    fn entity(&self, name: &str, spec: &EntitySpec) -> Result<Entity, LoadError> {
        let compiler = self.compiler;
        let on_row = |formula| compiler.formula_if(formula, &compiler.row());
        let id = compiler.formula(&spec.id, &compiler.row())?;
        let picking =
            Picking::new(name, self.settings, id, on_row(spec.version.as_ref())?, on_row(spec.keep.as_ref())?);
        let reader = spec.list.as_ref().map(|list| {
            let mut listing = listing(compiler, list)?;
            listing.grouping = self.grouping(name, list, listing.max_row)?;
            let subject = format!("{}/{name}", self.system);
            Ok::<_, LoadError>(Arc::new(Reader::new(subject, self.folder.clone(), listing, picking)))
        });
        let writer = |spec: Option<&config::WriteSpec>| spec.map(|spec| Writer::compile(compiler, spec)).transpose();
        let capabilities = Capabilities {
            list: spec.list.is_some(),
            incremental: spec.list.is_some(),
            complete: spec.list.as_ref().is_some_and(|list| list.complete),
            handed: true,
            read: false,
            find: if spec.create.is_some() { Find::ByKey } else { Find::None },
            create: spec.create.is_some(),
            update: spec.update.is_some(),
            delete: spec.delete.is_some(),
            batch: 1,
            replaces: spec.replaces || spec.update.is_some(),
            steps: false,
            facet_of: spec.facet_of.clone(),
            whole: None,
        };
        Ok(Entity {
            reader: reader.transpose()?,
            create: writer(spec.create.as_ref())?,
            update: writer(spec.update.as_ref())?,
            delete: spec.delete.as_ref().map(|spec| writing::compile_delete(compiler, spec)).transpose()?,
            capabilities,
        })
    }
}

impl Opening<'_> {
    fn grouping(&self, entity: &str, list: &ListSpec, most: usize) -> Result<Option<Grouping>, LoadError> {
        let Some(group) = &list.group else { return Ok(None) };
        let into = group.into.0.as_ref().clone();
        if into.is_empty() {
            return Err(self.compiler.wrong(&group.into, "`into` names the member that takes the rows"));
        }
        let by = self.compiler.formula(&group.by, &self.compiler.row())?;
        Ok(Some(Grouping { entity: Value::from(entity), settings: self.settings.clone(), by, into, most }))
    }
}

fn listing(compiler: &Compiler, list: &ListSpec) -> Result<Listing, LoadError> {
    let pattern = Pattern::parse(list.files.0.as_ref())
        .map_err(|problem| compiler.wrong(&list.files, format!("`files` {problem}")))?;
    let max_row = list.max_row.map_or(MAX_ROW, |size| size.0);
    let rows = match (&list.rows, list.format) {
        (Some(rows), Format::Xml | Format::Json) => rows.0.as_ref().clone(),
        (None, Format::Xml) => {
            return Err(compiler.wrong(&list.files, "an XML listing needs `rows`, the path of the repeated element"));
        }
        (Some(rows), _) => return Err(compiler.wrong(rows, "`rows` is for formats xml and json")),
        (None, _) => String::new(),
    };
    let quote = match &list.quote {
        Some(quote) if quote.0.as_ref().is_empty() => None,
        quote => Some(one_byte(compiler, quote.as_ref())?.unwrap_or(b'"')),
    };
    let csv = CsvShape {
        delimiter: one_byte(compiler, list.delimiter.as_ref())?.unwrap_or(b','),
        quote,
        header: list.header.unwrap_or(list.columns.is_none()),
        columns: list.columns.clone(),
        max_row,
    };
    if !csv.header && csv.columns.is_none() {
        return Err(compiler.wrong(&list.files, "without a header the `columns` must be named"));
    }
    let quiet_for = list.settled.map_or(QUIET_FOR, |span| span.0);
    Ok(Listing {
        pattern,
        format: list.format,
        encoding: encoding(compiler, list.encoding.as_ref())?,
        csv,
        rows,
        take: list.take,
        quiet_for: TimeDelta::from_std(quiet_for).unwrap_or(TimeDelta::MAX),
        complete: list.complete,
        max_row,
        grouping: None,
    })
}

/// The encoding of a label.
fn encoding(compiler: &Compiler, label: Option<&Text>) -> Result<Option<&'static Encoding>, LoadError> {
    let Some(label) = label else { return Ok(None) };
    match Encoding::for_label(label.0.as_ref().as_bytes()) {
        Some(encoding) => Ok(Some(encoding)),
        None => Err(compiler
            .wrong(label, format!("unknown encoding `{}`", label.0.as_ref()))
            .help("such as `utf-8`, `windows-1252`, `iso-8859-15` or `utf-16le`")),
    }
}

/// A text of one ASCII character.
fn one_byte(compiler: &Compiler, text: Option<&Text>) -> Result<Option<u8>, LoadError> {
    let Some(text) = text else { return Ok(None) };
    match text.0.as_ref().as_bytes() {
        [byte] if byte.is_ascii() => Ok(Some(*byte)),
        _ => Err(compiler.wrong(text, "must be one character").help("such as \";\" or \"\\t\"")),
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
        let scope = base
            .child()
            .with("body", &write.body)
            .with("whole", &write.whole)
            .with("wanted", &write.desired)
            .with("before", &write.before)
            .with_owned("key", write.key.as_str())
            .with("id", &id)
            .with("parts", &child_ids);
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
        compile::version_of(&self.shared.manifest, &self.shared.settings, entity)
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
