//! Files to write and to remove, as the adapter declares them.

use encoding_rs::Encoding;

use super::listing::{encoding, one_byte};
use crate::{
    adapter::{
        compile::Compiler,
        manifest::{
            Text,
            files::{DeleteSpec, Format, WriteSpec},
        },
    },
    expr::{KnownNames, Template},
    load::LoadError,
};

/// Variables of a write.
const WRITE: [&str; 7] = ["body", "whole", "wanted", "before", "key", "id", "parts"];

/// A file's name within the folder.
#[derive(Clone, Debug)]
pub struct Name {
    pub template: Template,
}

/// How a file is written.
#[derive(Clone, Debug)]
pub struct Writer {
    pub name: Name,
    pub format: Format,
    pub body: Option<Template>,
    pub append: bool,
    pub encoding: &'static Encoding,
    pub delimiter: u8,
    pub columns: Vec<String>,
    pub escape_formulas: bool,
}

impl Name {
    fn compile(compiler: &Compiler, text: &Text) -> Result<Self, LoadError> {
        Ok(Self { template: compiler.text(text, &compiler.known(&WRITE))? })
    }
}

impl Writer {
    pub fn compile(compiler: &Compiler, spec: &WriteSpec) -> Result<Self, LoadError> {
        let wrong = |message: &str| Err(compiler.wrong(&spec.file, message));
        if spec.append && !matches!(spec.format, Format::Csv | Format::Jsonl) {
            return wrong("rows can be added to files of format csv or jsonl only");
        }
        if spec.format == Format::Csv && spec.columns.is_none() {
            return wrong("a CSV file needs its `columns`");
        }
        if spec.escape_formulas && spec.format != Format::Csv {
            return wrong("only cells of a CSV file can be taken for formulas");
        }
        let known: KnownNames = compiler.known(&WRITE);
        Ok(Self {
            name: Name::compile(compiler, &spec.file)?,
            format: spec.format,
            body: spec.body.as_ref().map(|body| compiler.body(body, &known)).transpose()?,
            append: spec.append,
            encoding: encoding(compiler, spec.encoding.as_ref())?.unwrap_or(encoding_rs::UTF_8),
            delimiter: one_byte(compiler, spec.delimiter.as_ref())?.unwrap_or(b','),
            columns: spec.columns.clone().unwrap_or_default(),
            escape_formulas: spec.escape_formulas,
        })
    }
}

pub fn compile_delete(compiler: &Compiler, spec: &DeleteSpec) -> Result<Name, LoadError> {
    Name::compile(compiler, &spec.file)
}
