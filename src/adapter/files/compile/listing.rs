//! How an entity's files are read: which of them, in which format, and which rows are one.

use chrono::TimeDelta;
use encoding_rs::Encoding;

use super::pattern::Pattern;
use crate::{
    adapter::{
        compile::Compiler,
        manifest::{
            Text,
            files::{Format, GroupSpec, ListSpec, Take},
        },
    },
    expr::Expr,
    load::LoadError,
};

const MAX_ROW: usize = 16 << 20;

const QUIET_FOR: std::time::Duration = std::time::Duration::from_secs(2);

/// How to read an entity's files.
#[derive(Clone, Debug)]
pub struct Listing {
    pub pattern: Pattern,
    pub format: Format,
    pub encoding: Option<&'static Encoding>,
    pub csv: CsvShape,
    pub rows: String,
    pub take: Take,
    pub quiet_for: TimeDelta,
    pub complete: bool,
    pub max_row: usize,
    pub group: Option<Group>,
}

/// The format of a delimited file.
#[derive(Clone, Debug)]
pub struct CsvShape {
    pub delimiter: u8,
    pub quote: Option<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// Column names from the adapter, used instead of the first line's.
    pub columns: Option<Vec<String>>,
    /// Maximum number of bytes of one row.
    pub max_row: usize,
}

/// Which adjacent rows are one.
#[derive(Clone, Debug)]
pub struct Group {
    /// Adjacent rows with the same text of this expression are one.
    pub by: Expr,
    /// Member for the list of rows; the other members are those of the first row.
    pub into: String,
}

/// Compile table `list`.
///
/// # Errors
/// If keys are missing or contradict one another, or an expression is wrong.
pub fn listing(compiler: &Compiler, list: &ListSpec) -> Result<Listing, LoadError> {
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
        group: list.group.as_ref().map(|spec| group(compiler, spec)).transpose()?,
    })
}

fn group(compiler: &Compiler, spec: &GroupSpec) -> Result<Group, LoadError> {
    let into = spec.into.0.as_ref().clone();
    if into.is_empty() {
        return Err(compiler.wrong(&spec.into, "`into` names the member that takes the rows"));
    }
    Ok(Group { by: compiler.formula(&spec.by, &compiler.row())?, into })
}

/// The encoding of a label.
pub fn encoding(compiler: &Compiler, label: Option<&Text>) -> Result<Option<&'static Encoding>, LoadError> {
    let Some(label) = label else { return Ok(None) };
    match Encoding::for_label(label.0.as_ref().as_bytes()) {
        Some(encoding) => Ok(Some(encoding)),
        None => Err(compiler
            .wrong(label, format!("unknown encoding `{}`", label.0.as_ref()))
            .help("such as `utf-8`, `windows-1252`, `iso-8859-15` or `utf-16le`")),
    }
}

/// A text of one ASCII character.
pub fn one_byte(compiler: &Compiler, text: Option<&Text>) -> Result<Option<u8>, LoadError> {
    let Some(text) = text else { return Ok(None) };
    match text.0.as_ref().as_bytes() {
        [byte] if byte.is_ascii() => Ok(Some(*byte)),
        _ => Err(compiler.wrong(text, "must be one character").help("such as \";\" or \"\\t\"")),
    }
}
