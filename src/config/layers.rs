//! The layers of a configuration: the file, overridden by the environment (`VAIVEN__SYSTEMS__ERP__URL`).
//!
//! The crate `config` reads the environment. The layers are merged on the parsed file to keep the place of every
//! value for messages. Values of the environment have a place too: the variable's name.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use config::Source as _;
use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::redact;
use crate::load::{LoadError, Place, SourceFile};

/// Environment variables by name.
pub type Variables = BTreeMap<String, String>;

/// The text that places of a configuration point into, with secrets masked: the file, then one line per variable.
#[derive(Clone, Debug)]
pub struct Layers {
    text: Arc<SourceFile>,
    file: Arc<SourceFile>,
    /// The range of each variable's line, with the variable as a file of its own.
    variables: Vec<(Range<usize>, Arc<SourceFile>)>,
}

impl Layers {
    /// Read both layers into `T`.
    pub fn read<T: DeserializeOwned>(
        source: &Arc<SourceFile>,
        environment: &Variables,
    ) -> Result<(T, Self), LoadError> {
        let given = overlay(environment);
        let layers = Self::new(source, given.keys());
        let problem = |error: toml::de::Error| layers.relocate(LoadError::from_toml(&layers.text, &error));
        let mut table = DeTable::parse(&source.text).map_err(problem)?;
        for ((path, value), (span, _)) in given.iter().zip(&layers.variables) {
            put(table.get_mut(), path, value, span).map_err(|message| LoadError::new(&layers.place(span), message))?;
        }
        let value = T::deserialize(toml::Deserializer::from(table)).map_err(problem)?;
        Ok((value, layers))
    }

    fn new<'a>(source: &SourceFile, paths: impl Iterator<Item = &'a String>) -> Self {
        let file = SourceFile::new(source.name.clone(), redact::text(&source.text));
        let mut text = file.text.clone();
        let mut variables = Vec::new();
        for path in paths {
            let name = variable(path);
            text.push('\n');
            let start = text.len();
            text.push_str(&name);
            variables.push((start..text.len(), SourceFile::new(format!("environment variable {name}"), name)));
        }
        Self { text: SourceFile::new(source.name.clone(), text), file, variables }
    }

    /// The place of a span in the file or in the environment.
    pub fn place(&self, span: &Range<usize>) -> Place {
        match self.variables.iter().find(|(line, _)| line.start <= span.start && span.start <= line.end) {
            Some((line, file)) => Place::new(file, 0..line.len()),
            None => Place::new(&self.file, span.clone()),
        }
    }

    /// Whether the value came from the environment.
    pub fn is_variable(&self, span: &Range<usize>) -> bool {
        self.variables.iter().any(|(line, _)| line == span)
    }

    /// The file as a whole.
    pub fn start(&self) -> Place {
        Place::start(&self.file)
    }

    fn relocate(&self, mut error: LoadError) -> LoadError {
        for problem in &mut error.problems {
            problem.place = self.place(&problem.place.span);
            problem.message = without_value(&problem.message);
        }
        error
    }
}

/// Shorten `invalid type: string "hush", expected a table` to leave out the value that was found: it may be a
/// secret in the wrong place.
fn without_value(message: &str) -> String {
    let found = ["invalid type: ", "invalid value: "].into_iter().find_map(|start| {
        let (found, expected) = message.strip_prefix(start)?.rsplit_once(", expected ")?;
        let kind = found.split([' ', '"', '`']).next().unwrap_or_default();
        Some(format!("{start}{kind}, expected {expected}"))
    });
    found.unwrap_or_else(|| message.to_owned())
}

/// Map `systems.erp.url` to its text.
fn overlay(environment: &Variables) -> BTreeMap<String, String> {
    let layer = config::Environment::with_prefix("VAIVEN")
        .prefix_separator("__")
        .separator("__")
        .source(Some(environment.clone().into_iter().collect()));
    let values = layer.collect().unwrap_or_default();
    values.into_iter().filter_map(|(path, value)| Some((path, value.into_string().ok()?))).collect()
}

/// Name of the variable that sets `path`.
pub fn variable(path: &str) -> String {
    format!("VAIVEN__{}", path.replace(['.'], "__").replace('-', "_").to_uppercase())
}

fn put<'a>(table: &mut DeTable<'a>, path: &'a str, text: &'a str, span: &Range<usize>) -> Result<(), String> {
    // Settings take the type that their adapter asks for; everything else has the type that it would have in the
    // file.
    let is_setting = path.starts_with("systems.") && path.split('.').count() == 3;
    let value = match DeValue::parse(text) {
        Ok(value) if !is_setting || value.get_ref().is_array() || value.get_ref().is_table() => {
            respan(value.into_inner(), span)
        }
        _ => DeValue::String(text.into()),
    };
    let mut here = table;
    let (parents, last) = path.rsplit_once('.').map_or(("", path), |(parents, last)| (parents, last));
    for step in parents.split('.').filter(|step| !step.is_empty()) {
        let name = spelled(here, step).unwrap_or_else(|| step.to_owned());
        if !here.contains_key(name.as_str()) {
            let empty = DeValue::Table(DeTable::new());
            here.insert(Spanned::new(span.clone(), name.clone().into()), Spanned::new(span.clone(), empty));
        }
        here = match here.get_mut(name.as_str()).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => inner,
            _ => return Err(format!("`{name}` is a single value in the file and has no `{last}`")),
        };
    }
    let name = spelled(here, last).unwrap_or_else(|| last.to_owned());
    let key = Spanned::new(span.clone(), name.into());
    here.remove(&key);
    here.insert(key, Spanned::new(span.clone(), value));
    Ok(())
}

/// A key as the file writes it: variable names know neither case nor hyphens.
fn spelled(table: &DeTable<'_>, step: &str) -> Option<String> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    table.keys().map(|key| key.get_ref().to_string()).find(|key| plain(key) == plain(step))
}

fn respan<'a>(value: DeValue<'a>, span: &Range<usize>) -> DeValue<'a> {
    match value {
        DeValue::Array(items) => DeValue::Array(
            items.into_iter().map(|item| Spanned::new(span.clone(), respan(item.into_inner(), span))).collect(),
        ),
        DeValue::Table(members) => DeValue::Table(
            members
                .into_iter()
                .map(|(key, member)| {
                    let key = Spanned::new(span.clone(), key.into_inner());
                    (key, Spanned::new(span.clone(), respan(member.into_inner(), span)))
                })
                .collect(),
        ),
        plain => plain,
    }
}
