//! One entity of an adapter, compiled: statements for this database, expressions, capabilities.

use indexmap::IndexMap;
use serde_json::Value;

use super::{
    statement::{Dialect, Statement},
    writing::{self, Writing},
};
use crate::{
    adapter::{
        compile::{Compiler, Cursor, MAX_PAGES},
        manifest::{
            CursorKind, CursorSpec, Formula, Text,
            sql::{By, EntitySpec, JoinSpec, Joins, PagesSpec},
        },
    },
    expr::Expr,
    load::{LoadError, Spanned},
    port::{Capabilities, Find},
};

const READ_MAX: usize = 500;

/// Prefix of a parameter that means a setting and nothing else.
pub const SETTING: &str = "settings_";

/// A statement and its place in the file.
#[derive(Clone, Debug)]
pub struct Query {
    pub statement: Statement,
    /// `adapters/erp.toml:12:9`
    pub place: String,
}

/// One kind of object.
#[derive(Clone, Debug)]
pub struct Entity {
    pub name: String,
    pub id: Expr,
    pub version: Option<Expr>,
    pub keep: Option<Expr>,
    pub list: Option<List>,
    pub read: Option<Read>,
    pub find: Option<Finding>,
    pub writing: Writing,
    pub capabilities: Capabilities,
}

#[derive(Clone, Debug)]
pub struct List {
    pub query: Query,
    pub pages: Option<Pages>,
    pub cursor: Option<Cursor>,
    pub total: Option<Query>,
    pub split: Option<Expr>,
    pub joins: Vec<Join>,
}

#[derive(Clone, Debug)]
pub struct Pages {
    pub by: By,
    pub size: Option<usize>,
    pub key: Expr,
    pub first: Value,
    pub max_pages: u64,
}

#[derive(Clone, Debug)]
pub struct Join {
    pub query: Query,
    pub on: Expr,
    pub to: Expr,
    pub into: String,
    pub one: bool,
    pub when: Option<Expr>,
}

#[derive(Clone, Debug)]
pub struct Read {
    pub query: Query,
    pub max: usize,
    pub split: Option<Expr>,
    pub joins: Vec<Join>,
}

#[derive(Clone, Debug)]
pub struct Finding {
    pub query: Query,
    pub r#where: Expr,
    pub joins: Vec<Join>,
}

impl Entity {
    /// All its statements.
    pub fn queries(&self) -> Vec<&Query> {
        let list = self.list.iter().flat_map(|list| {
            [Some(&list.query), list.total.as_ref()].into_iter().flatten().chain(of_joins(&list.joins))
        });
        let read = self.read.iter().flat_map(|read| std::iter::once(&read.query).chain(of_joins(&read.joins)));
        let find = self.find.iter().flat_map(|find| std::iter::once(&find.query).chain(of_joins(&find.joins)));
        let mut queries: Vec<&Query> = list.chain(read).chain(find).chain(self.writing.queries()).collect();
        // The joins of a listing may also be those of a read: take each once.
        let mut seen = std::collections::BTreeSet::new();
        queries.retain(|query| seen.insert(query.place.as_str()));
        queries
    }
}

fn of_joins(joins: &[Join]) -> impl Iterator<Item = &Query> {
    joins.iter().map(|join| &join.query)
}

/// Compiles statements and expressions for one database.
#[derive(Clone, Debug)]
pub struct SqlCompiler {
    pub texts: Compiler,
    pub dialect: Dialect,
}

impl SqlCompiler {
    /// Compile a statement whose parameters can be anything that occurs when it runs, in addition to the names in
    /// `given`. In it a setting is `:settings_NAME`, because its bare name could also be a member of the object.
    pub fn open_query(&self, text: &Text, given: &[&str]) -> Result<Query, LoadError> {
        let query = self.parsed(text)?;
        let is_setting = |name: &str| self.texts.setting_names().any(|setting| setting == name);
        if let Some(name) = query.statement.names().find(|name| is_setting(name) && !given.contains(name)) {
            return Err(self
                .texts
                .wrong(text, format!("`:{name}` could be a member of the object and is a setting of the system too"))
                .help(format!(
                    "write `:settings_{name}` for the setting; to mean the member, give the setting another name"
                )));
        }
        Ok(query)
    }

    fn parsed(&self, text: &Text) -> Result<Query, LoadError> {
        let statement = Statement::parse(text.0.as_ref(), self.dialect)
            .map_err(|problem| self.texts.wrong(text, format!("the statement {problem}")))?;
        let stranger = statement.names().filter_map(|name| name.strip_prefix(SETTING)).find(|name| {
            // If there are no settings, a member of an object may begin like this.
            self.texts.setting_names().next().is_some() && !self.texts.setting_names().any(|setting| setting == *name)
        });
        if let Some(stranger) = stranger {
            return Err(LoadError::unknown(
                &self.texts.place(text),
                "setting",
                stranger,
                self.texts.setting_names().collect::<Vec<_>>(),
            ));
        }
        Ok(Query { statement, place: self.texts.place(text).to_string() })
    }

    /// Compile a statement with these parameters and the settings.
    pub fn query(&self, text: &Text, parameters: &[&str]) -> Result<Query, LoadError> {
        let query = self.parsed(text)?;
        let known: Vec<&str> = parameters.iter().copied().chain(self.texts.setting_names()).collect();
        let used = || query.statement.names().filter(|name| !name.starts_with(SETTING));
        if let Some(name) =
            used().find(|name| parameters.contains(name) && self.texts.setting_names().any(|s| s == *name))
        {
            return Err(self
                .texts
                .wrong(text, format!("`:{name}` is a parameter of this statement and a setting of the system too"))
                .help(format!(
                    "write `:settings_{name}` for the setting; to mean the parameter, give the setting another name"
                )));
        }
        if let Some(name) = used().find(|name| !known.contains(name)) {
            return Err(LoadError::unknown(&self.texts.place(text), "parameter", name, known));
        }
        Ok(query)
    }

    /// An expression on a row, whose members are variables.
    fn on_row(&self, formula: &Formula) -> Result<Expr, LoadError> {
        self.texts.formula(formula, &self.texts.row())
    }

    fn on_row_if(&self, formula: Option<&Formula>) -> Result<Option<Expr>, LoadError> {
        formula.map(|formula| self.on_row(formula)).transpose()
    }

    pub fn entity(&self, name: &str, spec: &EntitySpec) -> Result<Entity, LoadError> {
        let id = self.on_row(&spec.id)?;
        let list = spec.list.as_ref().map(|list| {
            Ok(List {
                query: self.query(&list.query, &["cursor", "after", "offset", "limit"])?,
                pages: list.pages.as_ref().map(|pages| self.pages(pages, &list.query, &id)).transpose()?,
                cursor: list.cursor.as_ref().map(|cursor| self.cursor(cursor)).transpose()?,
                total: list.total.as_ref().map(|total| self.query(total, &[])).transpose()?,
                split: self.on_row_if(list.split.as_ref())?,
                joins: self.joins(&list.join, &id)?,
            })
        });
        let list: Option<List> = list.transpose()?;
        let listed = list.as_ref().map(|list| list.joins.clone()).unwrap_or_default();
        let joins = |joins: &Joins| match joins {
            Joins::None => Ok(Vec::new()),
            Joins::List => Ok(listed.clone()),
            Joins::Own(own) => self.joins(own, &id),
        };
        let read = spec.read.as_ref().map(|read| {
            Ok::<_, LoadError>(Read {
                query: self.query(&read.query, &["ids"])?,
                max: read.max.map_or(READ_MAX, |max| max.get() as usize),
                split: self.on_row_if(read.split.as_ref())?,
                joins: joins(&read.join)?,
            })
        });
        let find = spec.find.as_ref().map(|find| {
            Ok::<_, LoadError>(Finding {
                query: self.open_query(&find.query, &[])?,
                r#where: self.on_row(&find.r#where)?,
                joins: joins(&find.join)?,
            })
        });
        let (read, find) = (read.transpose()?, find.transpose()?);
        let writing = writing::compile(self, spec)?;
        let capabilities = Capabilities {
            list: list.is_some(),
            incremental: list.as_ref().is_some_and(|list| list.cursor.is_some()),
            complete: spec.list.as_ref().is_some_and(|list| list.complete.unwrap_or(true)),
            handed: false,
            read: read.is_some(),
            find: match &spec.find {
                None => Find::None,
                Some(find) if find.scan => Find::Scan,
                Some(_) => Find::ByKey,
            },
            create: writing.create.is_some(),
            update: writing.update.is_some(),
            delete: writing.delete.is_some(),
            batch: writing.most,
            replaces: spec.replaces,
            // Several statements are one transaction: either all of them were done or none.
            steps: false,
            facet_of: spec.facet_of.clone(),
            whole: None,
        };
        Ok(Entity {
            name: name.to_owned(),
            id,
            version: self.on_row_if(spec.version.as_ref())?,
            keep: self.on_row_if(spec.keep.as_ref())?,
            list,
            read,
            find,
            writing,
            capabilities,
        })
    }

    fn pages(&self, pages: &PagesSpec, query: &Text, id: &Expr) -> Result<Pages, LoadError> {
        let start = match pages.by {
            By::Keyset => "after",
            By::Offset => "offset",
        };
        let names: Vec<String> = self.parsed(query)?.statement.names().map(str::to_owned).collect();
        for required in [start, "limit"] {
            if !names.iter().any(|name| name == required) {
                return Err(self.texts.wrong(query, format!("a query read in these pages needs :{required}")));
            }
        }
        Ok(Pages {
            by: pages.by,
            size: pages.size.map(|size| size.get() as usize),
            key: self.on_row_if(pages.key.as_ref())?.unwrap_or_else(|| id.clone()),
            first: pages.first.as_ref().map_or_else(|| Value::from(0), |first| first.0.as_ref().to_json()),
            max_pages: pages.max_pages.unwrap_or(MAX_PAGES),
        })
    }

    /// A cursor that sends times in a form that the database compares correctly with the column.
    fn cursor(&self, spec: &CursorSpec) -> Result<Cursor, LoadError> {
        let mut spec = spec.clone();
        if spec.kind == CursorKind::Time && spec.format.is_none() && spec.send.is_none() {
            let send = match self.dialect {
                // SQLite has no type for times and compares them as texts: another spelling would lose rows.
                Dialect::Sqlite => {
                    let message = "SQLite has no type for times, so the column's way of writing them must be told";
                    let place = crate::load::Place::of(&self.texts.file, &spec.field.0);
                    let help = "`format = \"%Y-%m-%d %H:%M:%S\"` (and `zone`), or `kind = \"text\"`";
                    return Err(LoadError::new(&place, message).help(help));
                }
                // With an offset this is correct for `timestamptz`, without one for `timestamp`.
                Dialect::Postgres => "%Y-%m-%dT%H:%M:%S%.f%:z",
                Dialect::MySql => "%Y-%m-%d %H:%M:%S%.f",
            };
            spec.send = Some(Text(Spanned::new(spec.field.0.span(), send.to_owned())));
        }
        Cursor::compile(&spec, &self.texts.file, &self.texts.row())
    }

    fn joins(&self, specs: &[JoinSpec], id: &Expr) -> Result<Vec<Join>, LoadError> {
        LoadError::collect(specs.iter().map(|spec| {
            Ok(Join {
                query: self.query(&spec.query, &["ids", "cursor"])?,
                on: self.on_row(&spec.on)?,
                to: self.on_row_if(spec.to.as_ref())?.unwrap_or_else(|| id.clone()),
                into: spec.into.clone(),
                one: spec.one,
                when: self.texts.formula_if(spec.when.as_ref(), &self.texts.known(&["rows", "ids"]))?,
            })
        }))
    }
}

/// Compile all entities of an adapter.
pub fn entities(
    compiler: &SqlCompiler,
    specs: &IndexMap<String, EntitySpec>,
) -> Result<IndexMap<String, Entity>, LoadError> {
    let compiled = specs.iter().map(|(name, spec)| compiler.entity(name, spec).map(|entity| (name.clone(), entity)));
    LoadError::collect(compiled).map(|entities| entities.into_iter().collect())
}
