//! The tables of an adapter with driver `files`, as written in the file.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Body, Driver, Formula, Setting, Text,
    units::{Size, Span},
};

/// An adapter with driver `files`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the manifest reads what all drivers share; here it stands for the schema")]
pub struct FilesAdapter {
    pub driver: Driver,
    /// One line for people.
    pub summary: String,
    /// What a system of this kind is configured with.
    #[serde(default)]
    pub settings: IndexMap<String, Setting>,
    pub files: Files,
    /// By name: `product`, `stock`, ...
    #[serde(default)]
    pub entities: IndexMap<String, EntitySpec>,
}

/// Table `files`: where they are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Nothing outside of it is ever touched.
    pub folder: Text,
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
    /// An update carries every field (always so where files are written: a file holds the whole object).
    #[serde(default)]
    pub replaces: bool,
    /// The object exists with a part of another entity: `product.variants`.
    pub facet_of: Option<String>,
    pub list: Option<ListSpec>,
    pub create: Option<WriteSpec>,
    pub update: Option<WriteSpec>,
    pub delete: Option<DeleteSpec>,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Csv,
    Xml,
    Json,
    /// One JSON object per line.
    Jsonl,
}

/// What happens to a file that has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Take {
    /// Moved to `done/` when its rows are durable.
    #[default]
    Archive,
    /// Stays, and is read again when it has changed.
    Keep,
}

/// Files to read.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListSpec {
    /// Name with `*` and `?`, with or without subfolder: `in/precios*.csv`.
    pub files: Text,
    pub format: Format,
    /// A label such as `windows-1252` (default: what an XML file declares, else `utf-8`).
    pub encoding: Option<Text>,
    /// One character (default `,`).
    pub delimiter: Option<Text>,
    /// One character, or empty for none (default `"`).
    pub quote: Option<Text>,
    /// The first line names the columns (default true, or false with `columns`).
    pub header: Option<bool>,
    /// Column names, instead of the first line's.
    pub columns: Option<Vec<String>>,
    /// XML: path of the repeated element; JSON: path of the list.
    pub rows: Option<Text>,
    #[serde(default)]
    pub take: Take,
    /// A younger file is left for the next round (default `2s`).
    pub settled: Option<Span>,
    /// Each file holds every object, so only the newest is read (default false).
    #[serde(default)]
    pub complete: bool,
    /// Most bytes of one row, or of all rows of a group (default `16MiB`).
    pub max_row: Option<Size>,
    /// Rows that stand together are one.
    pub group: Option<GroupSpec>,
}

/// Rows that stand one behind the other and are one object: a line for each variant of a product.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Path or expression on a row: those with the same text of it belong together.
    pub by: Formula,
    /// Member of the first row that takes the list of all of them.
    pub into: Text,
}

/// A file to write for each object.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteSpec {
    /// Name within the folder: `out/order-${key}.json`.
    pub file: Text,
    pub format: Format,
    /// What is written: for CSV a row or a list of rows, for XML an object with the root element as its only member.
    pub body: Option<Body>,
    /// Rows are added to the file instead of replacing it (CSV and JSONL).
    #[serde(default)]
    pub append: bool,
    /// A label such as `windows-1252` (default `utf-8`).
    pub encoding: Option<Text>,
    /// CSV: one character (default `,`).
    pub delimiter: Option<Text>,
    /// CSV: columns in their order, written as first line (required for CSV).
    pub columns: Option<Vec<String>>,
    /// CSV for people: an apostrophe before each cell that a spreadsheet would take for a formula. `+34...` and `-5` get one too
    /// (default false).
    #[serde(default)]
    pub escape_formulas: bool,
}

/// A file to remove for each object.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteSpec {
    /// Name within the folder.
    pub file: Text,
}
