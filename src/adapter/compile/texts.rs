//! Compiles the texts of an adapter's tables, and defines which variables are known in each place. Shared by the
//! drivers `sql` and `files`; driver `http` has one of its own, because it knows what all requests share.

use std::sync::Arc;

use indexmap::IndexMap;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::{
    adapter::manifest::{Body, Formula, Manifest, SettingKind, SettingValue, Settings, Text},
    expr::{Expr, KnownNames, SETTINGS, Scope, Template},
    load::{LoadError, Place, SourceFile},
};

/// What compiling needs everywhere in a file.
#[derive(Clone, Debug)]
pub struct Compiler {
    pub file: Arc<SourceFile>,
    /// Settings that every expression may name.
    settings: Vec<String>,
}

impl Compiler {
    pub fn new(manifest: &Manifest) -> Self {
        let public = manifest.settings.iter().filter(|(_, setting)| setting.kind != SettingKind::Secret);
        Self { file: Arc::clone(&manifest.file), settings: public.map(|(name, _)| name.clone()).collect() }
    }

    /// The settings, `entity`, and these names.
    pub fn known(&self, names: &[&'static str]) -> KnownNames {
        KnownNames::of(["entity"]).and(names.iter().copied()).settings(self.settings.iter().cloned())
    }

    /// The names that an expression on a row may use: the row's members, and the settings as `settings.NAME`.
    pub fn row(&self) -> KnownNames {
        KnownNames::any().settings(self.settings.iter().cloned())
    }

    pub fn setting_names(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().map(String::as_str)
    }

    pub fn formula(&self, formula: &Formula, known: &KnownNames) -> Result<Expr, LoadError> {
        Expr::compile(formula.0.as_ref(), &Place::of(&self.file, &formula.0), known)
    }

    pub fn formula_if(&self, formula: Option<&Formula>, known: &KnownNames) -> Result<Option<Expr>, LoadError> {
        formula.map(|formula| self.formula(formula, known)).transpose()
    }

    /// Expressions by name.
    pub fn formulas(
        &self,
        formulas: &IndexMap<String, Formula>,
        known: &KnownNames,
    ) -> Result<Vec<(String, Expr)>, LoadError> {
        LoadError::collect(
            formulas.iter().map(|(name, formula)| self.formula(formula, known).map(|expr| (name.clone(), expr))),
        )
    }

    pub fn text(&self, text: &Text, known: &KnownNames) -> Result<Template, LoadError> {
        Template::text(text.0.as_ref(), &self.place(text), known)
    }

    pub fn body(&self, body: &Body, known: &KnownNames) -> Result<Template, LoadError> {
        Template::compile(&body.0, &self.file, known)
    }

    pub fn bodies(
        &self,
        bodies: &IndexMap<String, Body>,
        known: &KnownNames,
    ) -> Result<Vec<(String, Template)>, LoadError> {
        LoadError::collect(
            bodies.iter().map(|(name, body)| self.body(body, known).map(|template| (name.clone(), template))),
        )
    }

    pub fn place(&self, text: &Text) -> Place {
        Place::of(&self.file, &text.0)
    }

    pub fn wrong(&self, text: &Text, message: impl Into<String>) -> LoadError {
        LoadError::new(&self.place(text), message)
    }

    /// A text of the driver's own table (`[sql]`, `[files]`), which may contain secrets.
    pub fn own_text(&self, text: &Text, settings: &Settings) -> Result<String, LoadError> {
        let none: [&str; 0] = [];
        let known = KnownNames::of(none).settings(settings.iter().map(|(name, _)| name.to_owned()));
        let values: Vec<(String, Value)> = settings
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    SettingValue::Plain(value) => value.clone(),
                    SettingValue::Secret(secret) => Value::from(secret.expose_secret()),
                };
                (name.to_owned(), value)
            })
            .collect();
        let all = Value::Object(values.iter().cloned().collect());
        let mut scope = Scope::new().with(SETTINGS, &all);
        for (name, value) in &values {
            scope = scope.with(name.as_str(), value);
        }
        self.text(text, &known)?.render_text(&scope).map_err(|error| self.wrong(text, error.cause))
    }
}
