//! The tables of an adapter with driver `sql`, as written in the file.

use std::num::NonZeroU32;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Body, Driver, Formula, Setting, Text,
    cursor::CursorSpec,
    units::{Size, Span},
};
use crate::port::Op;

/// An adapter with driver `sql`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the manifest reads what all drivers share; here it stands for the schema")]
pub struct SqlAdapter {
    pub driver: Driver,
    /// One line for people.
    pub summary: String,
    /// What a system of this kind is configured with.
    #[serde(default)]
    pub settings: IndexMap<String, Setting>,
    pub sql: Sql,
    /// By name: `product`, `stock`, ...
    #[serde(default)]
    pub entities: IndexMap<String, EntitySpec>,
}

/// Table `sql`: the connection.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// `sqlite://erp.db`, `postgres://user:pass@host/db`, `mysql://...`
    pub url: Text,
    /// Connections at once (default 4).
    pub connections: Option<NonZeroU32>,
    /// How long to wait for a lock or a free connection (default `10s`).
    pub patience: Option<Span>,
    /// Most bytes of one row; a longer one is rejected (default `16MiB`).
    pub max_row: Option<Size>,
    /// Most bytes of the rows of one answer (default `256MiB`).
    pub max_answer: Option<Size>,
}

/// What can be done with one kind of object.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitySpec {
    /// Path or expression in a row; its text is the external id.
    pub id: Formula,
    /// Version or modification mark of a row.
    pub version: Option<Formula>,
    /// Condition on `row`: others do not count.
    pub keep: Option<Formula>,
    /// An update carries every field.
    #[serde(default)]
    pub replaces: bool,
    /// The object exists with a part of another entity: `product.variants`.
    pub facet_of: Option<String>,
    /// Members of a body that may be absent: they are bound as NULL.
    #[serde(default)]
    pub optional: Vec<String>,
    pub list: Option<ListSpec>,
    pub read: Option<ReadSpec>,
    pub find: Option<FindSpec>,
    pub create: Option<WriteSpec>,
    pub update: Option<WriteSpec>,
    pub delete: Option<WriteSpec>,
    pub batch: Option<BatchSpec>,
}

/// Reading all, or what changed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListSpec {
    pub query: Text,
    pub pages: Option<PagesSpec>,
    pub cursor: Option<CursorSpec>,
    /// Query giving the number of rows of a full listing; fewer are an error.
    pub total: Option<Text>,
    /// A full listing holds every object (default true).
    pub complete: Option<bool>,
    /// The entity's rows within a listed `row`, after the joins.
    pub split: Option<Formula>,
    #[serde(default)]
    pub join: Vec<JoinSpec>,
}

/// How a listing is paged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// `:after` is the last row's key, `:limit` the page's size.
    Keyset,
    /// `:offset` and `:limit`.
    Offset,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagesSpec {
    pub by: By,
    /// Rows of a page (default: what the engine asks for).
    pub size: Option<NonZeroU32>,
    /// Keyset: path or expression on the last row (default the id).
    pub key: Option<Formula>,
    /// Keyset: `:after` of the first page (default 0).
    pub first: Option<Body>,
    /// Reaching it is an error (default 10000).
    pub max_pages: Option<u64>,
}

/// Reads children of the rows just read and puts them on their rows.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinSpec {
    /// With `:ids`, what `to` gives for the rows.
    pub query: Text,
    /// Path or expression on the child ...
    pub on: Formula,
    /// ... that equals this of the row (default the id).
    pub to: Option<Formula>,
    /// Member of the row that takes the list of children.
    pub into: String,
    /// A single child or `()` instead of a list.
    #[serde(default)]
    pub one: bool,
    /// Condition on `rows` and `ids`.
    pub when: Option<Formula>,
}

/// Joins of a read or a lookup.
pub type Joins = super::joins::Joins<JoinSpec>;

/// Reading by id.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadSpec {
    /// With `:ids`.
    pub query: Text,
    /// Ids of one query (default 500).
    pub max: Option<NonZeroU32>,
    /// The entity's rows within a read `row`, after the joins; those whose id was not asked for are left out.
    pub split: Option<Formula>,
    #[serde(default)]
    pub join: Joins,
}

/// Looking an object up after a create without an answer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindSpec {
    /// With `:key`, `:since` and the members of the body.
    pub query: Text,
    /// Condition on `row`: it is ours. Proves that the filter filters.
    pub r#where: Formula,
    /// What was created since the intent is listed (`:since`), `where` finds ours.
    #[serde(default)]
    pub scan: bool,
    #[serde(default)]
    pub join: Joins,
}

/// Create, update or delete: one statement, or `steps`; always one transaction.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteSpec {
    pub query: Option<Text>,
    /// Values of parameters, besides the members of the body.
    #[serde(default)]
    pub bind: IndexMap<String, Body>,
    /// Condition on the answer of `query`: the object is not there (default for update and delete: no row was affected).
    pub missing: Option<Formula>,
    #[serde(default)]
    pub steps: Vec<StepSpec>,
    /// Expression over captures and the last answer: the new external id (default: the entity's `id` on the first row).
    pub id: Option<Formula>,
    /// The object as stored, in the shape of `list`. Default: it is read back within the transaction if there is `read`.
    pub row: Option<Formula>,
    pub version: Option<Formula>,
    /// List name to an expression giving part key to id (or to an object with `id`).
    #[serde(default)]
    pub parts: IndexMap<String, Formula>,
}

/// One statement of several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// For messages.
    pub name: Option<String>,
    /// Condition; otherwise the step is left out.
    pub when: Option<Formula>,
    /// Why the system does not take the write, a text; `()` where it does.
    pub refuse: Option<Formula>,
    /// List: the step is done for each `item` (`item_index`), whose members are `:item_<name>`.
    pub for_each: Option<Formula>,
    pub query: Text,
    #[serde(default)]
    pub bind: IndexMap<String, Body>,
    /// Variables from the answer (`rows`, `affected`, `last_id`), for later steps.
    #[serde(default)]
    pub capture: IndexMap<String, Formula>,
    /// Condition on the answer: the object is not there.
    pub missing: Option<Formula>,
}

/// Many writes in one transaction.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchSpec {
    /// Most writes of a transaction.
    pub max: NonZeroU32,
    /// Used for these; without `query` their own statements run (default: all that are declared).
    #[serde(default)]
    pub ops: Vec<Op>,
    /// Run for each write.
    pub query: Option<Text>,
    #[serde(default)]
    pub bind: IndexMap<String, Body>,
}
