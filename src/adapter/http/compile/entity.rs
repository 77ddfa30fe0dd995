//! A compiled adapter: what can be asked of each entity, and how.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::{
    batch::Batch,
    call::Call,
    joins::{Join, Listing, rows_of},
    operation::Operation,
    pages::Pager,
    texts::Compiler,
};
use crate::{
    adapter::{
        compile::Cursor,
        manifest::{
            Manifest,
            http::{EntitySpec, FindSpec, HttpAdapter, JoinSpec, Joins, ListSpec, ReadSpec},
        },
    },
    expr::{Expr, KnownNames, SETTINGS},
    load::{LoadError, Place},
    port::{Capabilities, Find, Op},
};

/// One entity of the system.
#[derive(Debug)]
pub struct Entity {
    pub capabilities: Capabilities,
    pub id: Expr,
    pub version: Option<Expr>,
    pub keep: Option<Expr>,
    /// The lookup or setting whose allowed values are the ids.
    pub values_of: Option<Named>,
    pub list: Option<List>,
    pub read: Option<Read>,
    pub find: Option<Lookup>,
    pub operations: BTreeMap<&'static str, Operation>,
    pub batch: Option<Batch>,
}

/// A lookup or a setting.
#[derive(Clone, Debug)]
pub enum Named {
    Lookup(String),
    Setting(String),
}

#[derive(Debug)]
pub struct List {
    pub listing: Listing,
    pub cursor: Option<Cursor>,
    /// Whether a delta ends with the page that shows a row older than its start.
    pub newest_first: bool,
    pub split: Option<Expr>,
    pub joins: Vec<Join>,
}

#[derive(Debug)]
pub struct Read {
    pub listing: Listing,
    pub max: usize,
    pub joins: Vec<Join>,
    /// The listing's `split`, if its joins are used as well.
    pub split: Option<Expr>,
}

/// The lookup of an object that a create without an answer may have made.
#[derive(Debug)]
pub struct Lookup {
    pub listing: Listing,
    pub is_ours: Expr,
    pub joins: Vec<Join>,
    pub split: Option<Expr>,
}

/// The word for an operation in TOML.
#[must_use]
pub fn word(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
    }
}

/// Compile all entities of an adapter.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn entities(adapter: &HttpAdapter, manifest: &Manifest) -> Result<IndexMap<String, Entity>, LoadError> {
    let compiler = Compiler::new(manifest, &adapter.http);
    let entities = adapter.entities.iter().map(|(name, spec)| Ok((name.clone(), entity(spec, &compiler)?)));
    Ok(LoadError::collect(entities)?.into_iter().collect())
}

fn entity(spec: &EntitySpec, compiler: &Compiler) -> Result<Entity, LoadError> {
    let at = Place::of(&compiler.file, &spec.id.0);
    let id = compiler.formula(&spec.id, &compiler.row())?;
    let compile = ReadCompiler { spec, compiler, id: &id, at: &at };
    let list = spec.list.as_ref().map(|list| compile.list(list)).transpose()?;
    let read = spec.read.as_ref().map(|read| compile.read(read)).transpose()?;
    let find = spec.find.as_ref().map(|find| compile.find(find)).transpose()?;
    let mut operations = BTreeMap::new();
    let create = spec.create.as_ref().or(spec.save.as_ref());
    let update = spec.update.as_ref().or(spec.save.as_ref());
    for (op, write) in [(Op::Create, create), (Op::Update, update), (Op::Delete, spec.delete.as_ref())] {
        if let Some(write) = write {
            operations.insert(word(op), Operation::compile(write, op, compiler, &at)?);
        }
    }
    let batch = spec.batch.as_ref().map(|batch| Batch::compile(batch, compiler, &at)).transpose()?;
    let can = |op: Op| operations.contains_key(word(op)) || batch.as_ref().is_some_and(|batch| batch.ops.contains(&op));
    if spec.facet_of.is_some() && (can(Op::Create) || can(Op::Delete)) {
        return Err(LoadError::new(&at, "an entity with `facet_of` is never created or deleted, only updated"));
    }
    if spec.values_of.is_some() && list.is_none() {
        return Err(LoadError::new(&at, "an entity with `values_of` needs `list`, which gives the values"));
    }
    let values_of = spec.values_of.as_ref().map(|named| values_of(named, compiler, &at)).transpose()?;
    let capabilities = Capabilities {
        list: list.is_some(),
        incremental: list.as_ref().is_some_and(|list| list.cursor.is_some()),
        whole: spec.list.as_ref().and_then(|list| list.whole).map(|every| every.0),
        complete: spec.list.as_ref().is_some_and(|list| list.complete.unwrap_or(true)),
        handed: false,
        read: read.is_some(),
        find: match &spec.find {
            Some(find) if find.scan => Find::Scan,
            Some(_) => Find::ByKey,
            None => Find::None,
        },
        create: can(Op::Create),
        update: can(Op::Update),
        delete: can(Op::Delete),
        batch: batch.as_ref().map_or(1, |batch| batch.max),
        replaces: spec.replaces,
        steps: create.is_some_and(|create| !create.steps.is_empty()),
        facet_of: spec.facet_of.clone(),
    };
    Ok(Entity {
        capabilities,
        version: compiler.on_row(spec.version.as_ref())?,
        keep: compiler.on_row(spec.keep.as_ref())?,
        values_of,
        id,
        list,
        read,
        find,
        operations,
        batch,
    })
}

fn values_of(named: &str, compiler: &Compiler, at: &Place) -> Result<Named, LoadError> {
    let Some(setting) = named.strip_prefix(SETTINGS).and_then(|rest| rest.strip_prefix('.')) else {
        return Ok(Named::Lookup(named.to_owned()));
    };
    if compiler.has_setting(setting) {
        return Ok(Named::Setting(setting.to_owned()));
    }
    Err(LoadError::new(at, format!("`values_of` names the setting `{setting}`, which is none or a secret")))
}

/// Compiles how to read objects of an entity.
struct ReadCompiler<'a> {
    spec: &'a EntitySpec,
    compiler: &'a Compiler,
    /// The entity's id.
    id: &'a Expr,
    at: &'a Place,
}

impl ReadCompiler<'_> {
    fn list(&self, spec: &ListSpec) -> Result<List, LoadError> {
        let (compiler, at) = (self.compiler, self.at);
        let cursor =
            spec.cursor.as_ref().map(|cursor| Cursor::compile(cursor, &compiler.file, &compiler.row())).transpose()?;
        let mut names: Vec<&'static str> = cursor.iter().map(|_| "cursor").collect();
        let joined = compiler.known(&names);
        names.extend(spec.pages.is_some().then_some("page"));
        let known = compiler.known(&names);
        let call = Call::compile(spec.request(), compiler, &known, at)?;
        if cursor.is_none() && (spec.newest_first || spec.whole.is_some()) {
            let key = if spec.newest_first { "newest_first" } else { "whole" };
            let message = format!("`{key}` is about deltas, and without `cursor` the listing has none");
            return Err(LoadError::new(at, message));
        }
        if spec.newest_first && spec.pages.is_none() {
            return Err(LoadError::new(at, "`newest_first` says with which page a delta ends: it needs `pages`"));
        }
        if let Some(cursor) = &cursor
            && !spec.newest_first
            && !call.names("cursor")
        {
            return Err(LoadError::new(
                cursor.field.place(),
                "the listing has a cursor, but its request does not use `cursor`",
            )
            .help(
                "say `${cursor}` where the system filters by change time, or `newest_first = true` where it can only \
                 sort by it, or leave the cursor out",
            ));
        }
        let split = compiler.on_row(spec.split.as_ref())?;
        let pages =
            spec.pages.as_ref().map(|pages| Pager::compile(pages, compiler, split.is_some(), at)).transpose()?;
        Ok(List {
            listing: Listing { call, rows: rows_of(spec.rows.as_ref(), compiler)?, pages },
            cursor,
            newest_first: spec.newest_first,
            split,
            joins: self.joins(&spec.join, &joined)?,
        })
    }

    fn joins(&self, specs: &[JoinSpec], known: &KnownNames) -> Result<Vec<Join>, LoadError> {
        LoadError::collect(specs.iter().map(|spec| Join::compile(spec, self.compiler, self.id, known, self.at)))
    }

    /// Joins of a read or a lookup: its own, or the listing's with the variables known here.
    fn borrowed_joins(&self, joins: &Joins, known: &KnownNames) -> Result<Vec<Join>, LoadError> {
        match (joins, &self.spec.list) {
            (Joins::None, _) => Ok(Vec::new()),
            (Joins::Own(own), _) => self.joins(own, known),
            (Joins::List, Some(list)) => self.joins(&list.join, known),
            (Joins::List, None) => Err(LoadError::new(self.at, "`join = \"list\"`, but the entity has no `list`")),
        }
    }

    fn read(&self, spec: &ReadSpec) -> Result<Read, LoadError> {
        let compiler = self.compiler;
        let known = compiler.known(&["ids", "id"]);
        Ok(Read {
            listing: Listing {
                call: Call::compile(spec.request(), compiler, &known, self.at)?,
                rows: rows_of(spec.rows.as_ref(), compiler)?,
                pages: None,
            },
            max: spec.max.map_or(1, |max| usize::try_from(max.get()).unwrap_or(usize::MAX)),
            joins: self.borrowed_joins(&spec.join, &known)?,
            split: match (&spec.join, &self.spec.list) {
                (Joins::List, Some(list)) => compiler.on_row(list.split.as_ref())?,
                _ => None,
            },
        })
    }

    fn find(&self, spec: &FindSpec) -> Result<Lookup, LoadError> {
        let (compiler, at) = (self.compiler, self.at);
        let variables = ["key", "wanted", "body", "since"];
        let Some(is_ours) = &spec.r#where else {
            return Err(LoadError::new(at, "`find` needs `where`: the condition on `row` that it is ours"));
        };
        let is_ours = compiler.formula(is_ours, &compiler.known(&variables).and(["row"]))?;
        let known = compiler.known(&variables);
        let joins = self.borrowed_joins(&spec.join, &known)?;
        if !spec.request().is_absent() {
            let known = if spec.pages.is_some() { known.and(["page"]) } else { known };
            let listing = Listing {
                call: Call::compile(spec.request(), compiler, &known, at)?,
                rows: rows_of(spec.rows.as_ref(), compiler)?,
                pages: spec.pages.as_ref().map(|pages| Pager::compile(pages, compiler, true, at)).transpose()?,
            };
            return Ok(Lookup { listing, is_ours, joins, split: None });
        }
        // A scan without a request of its own is the listing since the intent.
        let list = self.spec.list.as_ref().filter(|list| spec.scan && list.cursor.is_some());
        let Some(list) = list else {
            return Err(LoadError::new(
                at,
                "`find` needs a request; only with `scan = true` the listing by its cursor stands in",
            ));
        };
        let list = self.list(list)?;
        if !list.cursor.as_ref().is_some_and(Cursor::is_time) {
            return Err(LoadError::new(at, "a scan through the listing needs a cursor that is a time"));
        }
        Ok(Lookup { listing: list.listing, is_ours, joins: list.joins, split: list.split })
    }
}
