//! One expression language for adapters, mappings, filters and conditions: exact decimals, strict, without side
//! effects.
//!
//! Expressions are compiled once at load, where unknown variables and functions are refused with their place. A
//! plain path is looked up directly; the rest runs on an embedded engine without loops, assignments or functions of
//! its own.

mod convert;
mod engine;
mod functions;
mod path;
mod scan;
mod scope;
mod template;

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use serde_json::Value;

pub use convert::{json_kind, text_of};
pub use functions::{Answers, with_answers};
pub use path::{Path, PathError, Step};
pub use scope::Scope;
pub use template::{Bit, Template};

use crate::load::{LoadError, Place, suggestion};

/// The variable that holds the settings, apart from every other variable.
pub const SETTINGS: &str = "settings";

/// The variables that an expression may name.
#[derive(Clone, Debug)]
pub struct KnownNames {
    names: Vec<Cow<'static, str>>,
    /// Members of [`SETTINGS`]. If the name is not ambiguous, the bare name works too.
    settings: Vec<Cow<'static, str>>,
    any: bool,
}

impl KnownNames {
    /// These variables and no others.
    pub fn of<N: Into<Cow<'static, str>>>(names: impl IntoIterator<Item = N>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), settings: Vec::new(), any: false }
    }

    /// Any variable, for expressions whose variables are the members of a row. A missing one is an error when it is
    /// used.
    #[must_use]
    pub fn any() -> Self {
        Self { names: Vec::new(), settings: Vec::new(), any: true }
    }

    /// Add these variables.
    #[must_use]
    pub fn and<N: Into<Cow<'static, str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names.extend(names.into_iter().map(Into::into));
        self
    }

    /// Add these settings.
    #[must_use]
    pub fn settings<N: Into<Cow<'static, str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.settings.extend(names.into_iter().map(Into::into));
        self
    }

    fn has(&self, name: &str) -> bool {
        self.any || name == "omit" || self.names.iter().any(|known| known == name) || self.is_setting(name)
    }

    fn is_setting(&self, name: &str) -> bool {
        self.settings.iter().any(|setting| setting == name)
    }

    /// Refuse a name that is unknown or could mean two things. `members` are the members that the expression uses
    /// of its variables.
    fn check(&self, name: &str, members: &[(String, Option<String>)], at: &Place) -> Result<(), LoadError> {
        if name == SETTINGS && !self.settings.is_empty() {
            let asked =
                members.iter().filter(|(variable, _)| variable == SETTINGS).filter_map(|(_, member)| member.as_ref());
            let names = || self.settings.iter().map(AsRef::as_ref).collect::<Vec<&str>>();
            return match asked.into_iter().find(|member| !self.is_setting(member)) {
                Some(stranger) => Err(LoadError::unknown(at, "setting", stranger, names())),
                None => Ok(()),
            };
        }
        if !self.has(name) {
            let names = self.names.iter().chain(&self.settings).map(AsRef::as_ref).collect::<Vec<&str>>();
            return Err(LoadError::unknown(at, "variable", name, names));
        }
        let (what, instead) = match (self.is_setting(name), self.any) {
            (true, true) => ("a member of the row", format!("`row.{name}` is the row's")),
            (true, false) if self.names.iter().any(|known| known == name) => (
                "a variable of this place",
                format!("to mean the variable, give the setting another name than `{name}`"),
            ),
            _ => return Ok(()),
        };
        let message = format!("`{name}` could be {what} and is a setting of the system too");
        Err(LoadError::new(at, message).help(format!("write `{SETTINGS}.{name}` for the setting; {instead}")))
    }
}

/// Why an expression has no value. Shows the expression, its place and the cause, never the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: `{expression}`: {cause}")]
pub struct ExprError {
    pub expression: Arc<str>,
    /// `file:line:column`
    pub place: String,
    pub cause: String,
    /// Whether the value cannot stand where the expression puts it: the fault is the record's, not the file's.
    pub of_value: bool,
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expr {
    text: Arc<str>,
    place: Place,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Path(Path),
    Script {
        ast: Arc<rhai::AST>,
        variables: Vec<String>,
        members: Vec<(String, Option<String>)>,
        calls: Vec<String>,
        /// Texts of the expression that shape a path: longer than one character and with a `/` or `?`; the longest
        /// first.
        shapes: Vec<String>,
    },
}

impl Expr {
    /// Compile an expression that was written at `at`.
    pub fn compile(text: &str, at: &Place, known: &KnownNames) -> Result<Self, LoadError> {
        let text = text.trim();
        let words = scan::words(text).map_err(|problem| {
            LoadError::new(&at.inside(text, problem.range), format!("in `{text}`: {}", problem.message))
        })?;
        for (name, range) in &words.variables {
            known.check(name, &words.members, &at.inside(text, range.clone()))?;
        }
        let form = match Path::parse(text, false).filter(|path| path.root().is_some_and(is_variable)) {
            Some(path) => Form::Path(path),
            None => Form::Script {
                ast: engine::compile(&words.script).map_err(|problem| {
                    let start = problem.offset.min(text.len());
                    LoadError::new(&at.inside(text, start..start), format!("in `{text}`: {}", problem.message))
                })?,
                variables: words.variables.iter().map(|(name, _)| name.clone()).collect(),
                members: words.members,
                calls: words.calls.iter().map(|(name, _)| name.clone()).collect(),
                shapes: shapes(words.texts),
            },
        };
        for (name, range) in &words.calls {
            if !functions::NAMES.contains(&name.as_str()) {
                let names = functions::NAMES.iter().copied();
                let error = LoadError::new(&at.inside(text, range.clone()), format!("unknown function `{name}`"));
                return Err(
                    match suggestion(name, names.filter(|known| crate::load::nearest(name, [*known]).is_some())) {
                        Some(help) => error.help(help),
                        None => error,
                    },
                );
            }
        }
        Ok(Self { text: text.into(), place: at.clone(), form })
    }

    /// Whether it is a plain path, which costs only a lookup.
    #[must_use]
    pub fn is_path(&self) -> bool {
        matches!(self.form, Form::Path(_))
    }

    /// The expression as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the expression names this variable.
    #[must_use]
    pub fn names(&self, variable: &str) -> bool {
        match &self.form {
            Form::Path(path) => path.root() == Some(variable),
            Form::Script { variables, .. } => variables.iter().any(|name| name == variable),
        }
    }

    /// The members used of a variable. Return `None` if the variable is used as a whole.
    #[must_use]
    pub fn members(&self, variable: &str) -> Option<BTreeSet<String>> {
        match &self.form {
            Form::Path(path) if path.root() != Some(variable) => Some(BTreeSet::new()),
            Form::Path(path) => match path.steps.get(1) {
                Some(Step::Member(name)) => Some(BTreeSet::from([name.clone()])),
                _ => None,
            },
            Form::Script { members, .. } => {
                members.iter().filter(|(name, _)| name == variable).map(|(_, member)| member.clone()).collect()
            }
        }
    }

    /// Whether the expression calls this function.
    #[must_use]
    pub fn calls(&self, function: &str) -> bool {
        matches!(&self.form, Form::Script { calls, .. } if calls.iter().any(|name| name == function))
    }

    /// The expression's value. `omit` counts as `()`.
    pub fn eval(&self, scope: &Scope<'_>) -> Result<Value, ExprError> {
        self.eval_or_omit(scope).map(Option::unwrap_or_default)
    }

    /// The expression's value. Return `None` if it is `omit`.
    pub fn eval_or_omit(&self, scope: &Scope<'_>) -> Result<Option<Value>, ExprError> {
        match &self.form {
            Form::Path(path) => self.look_up(path, scope).map(|value| Some(value.clone())),
            Form::Script { ast, variables, .. } => {
                let value = engine::run(ast, variables, scope).map_err(|cause| self.error(cause))?;
                convert::from_dynamic(&value).map_err(|cause| self.error(cause))
            }
        }
    }

    /// A condition's value; anything but a boolean is an error.
    pub fn eval_bool(&self, scope: &Scope<'_>) -> Result<bool, ExprError> {
        match self.eval_cow(scope)?.as_ref() {
            Value::Bool(flag) => Ok(*flag),
            other => Err(self.error(format!("gives {}, not a boolean", json_kind(other)))),
        }
    }

    /// The canonical text of a text, number or boolean; anything else is an error.
    pub fn eval_text(&self, scope: &Scope<'_>) -> Result<String, ExprError> {
        let value = self.eval_cow(scope)?;
        text_of(&value).ok_or_else(|| self.error(format!("gives {}, which has no text", json_kind(&value))))
    }

    /// The value as pieces of an address. With `whole`, the expression builds the address itself: keep the texts
    /// that are written in the expression apart from the values that it joins.
    pub fn eval_bits(&self, scope: &Scope<'_>, whole: bool) -> Result<Vec<Bit>, ExprError> {
        let Form::Script { ast, variables, shapes, .. } = &self.form else {
            return self.eval_text(scope).map(|text| vec![Bit::Value(text)]);
        };
        let value = engine::run(ast, variables, scope).map_err(|cause| self.error(cause))?;
        if let Some(segments) = value.read_lock::<convert::Segments>() {
            return Ok(vec![Bit::Segments(segments.0.clone())]);
        }
        let value = convert::from_dynamic(&value).map_err(|cause| self.error(cause))?.unwrap_or_default();
        let text =
            text_of(&value).ok_or_else(|| self.error(format!("gives {}, which has no text", json_kind(&value))))?;
        Ok(if whole { split_at(&text, shapes) } else { vec![Bit::Value(text)] })
    }

    /// The value, borrowed if the expression is a plain path.
    pub fn eval_cow<'s>(&self, scope: &'s Scope<'_>) -> Result<Cow<'s, Value>, ExprError> {
        match &self.form {
            Form::Path(path) => self.look_up(path, scope).map(Cow::Borrowed),
            Form::Script { .. } => self.eval(scope).map(Cow::Owned),
        }
    }

    /// An error of this expression, for a value that is not what the caller expected.
    pub fn error(&self, cause: impl Into<String>) -> ExprError {
        ExprError {
            expression: Arc::clone(&self.text),
            place: self.place.to_string(),
            cause: cause.into(),
            of_value: false,
        }
    }

    fn look_up<'s>(&self, path: &Path, scope: &'s Scope<'_>) -> Result<&'s Value, ExprError> {
        let root = path.root().unwrap_or_default();
        let value = scope.get(root).ok_or_else(|| self.error(format!("missing member `{root}`")))?;
        path.get_below(value).map_err(|cause| self.error(cause.to_string()))
    }
}

/// A single `/` does not count as shaping a path: `split(id, "/")` has one too.
fn shapes(mut texts: Vec<String>) -> Vec<String> {
    texts.retain(|text| text.len() > 1 && text.contains(['/', '?']));
    texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    texts.dedup();
    texts
}

/// Split a text at the literal texts of its expression.
fn split_at(text: &str, shapes: &[String]) -> Vec<Bit> {
    let mut bits = Vec::new();
    let mut value = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        match shapes.iter().find(|shape| rest.starts_with(shape.as_str())) {
            Some(shape) => {
                // Between two literal texts there was a value, even if it is empty.
                if !value.is_empty() || !bits.is_empty() {
                    bits.push(Bit::Value(std::mem::take(&mut value)));
                }
                bits.push(Bit::Literal(shape.clone()));
                rest = &rest[shape.len()..];
            }
            None => {
                value.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    if !value.is_empty() || text.is_empty() || text.ends_with('/') {
        bits.push(Bit::Value(value));
    }
    bits
}

/// Exclude words of the language that look like a path but are values.
fn is_variable(name: &str) -> bool {
    !matches!(name, "true" | "false" | "omit")
}

#[cfg(test)]
mod tests;
