//! Compiles the texts of an adapter, and defines which variables are known in each place.

use std::{borrow::Cow, sync::Arc};

use indexmap::IndexMap;

use crate::{
    adapter::manifest::{
        Body, Formula, Manifest, SettingKind, Text,
        http::{Http, Receive, Send},
    },
    expr::{Expr, KnownNames, Template},
    load::{LoadError, Node, Place, SourceFile, Spanned},
};

/// Variables of an answer.
pub const ANSWER: [&str; 3] = ["status", "headers", "body"];

/// What compiling needs everywhere in a file.
#[derive(Clone, Debug)]
pub struct Compiler {
    pub file: Arc<SourceFile>,
    /// Settings that every expression may name.
    public: Vec<String>,
    secret: Vec<String>,
    pub send: Send,
    pub receive: Receive,
    /// The target of requests without a method of their own.
    pub post: Option<Text>,
    /// Whether a value in a path may contain slashes.
    pub slashes: bool,
}

impl Compiler {
    #[must_use]
    pub fn new(manifest: &Manifest, http: &Http) -> Self {
        let names = |secret: bool| {
            let chosen =
                manifest.settings.iter().filter(|(_, setting)| (setting.kind == SettingKind::Secret) == secret);
            chosen.map(|(name, _)| name.clone()).collect()
        };
        Self {
            file: Arc::clone(&manifest.file),
            public: names(false),
            secret: names(true),
            send: http.send,
            receive: http.receive,
            post: http.post.clone(),
            slashes: http.slashes,
        }
    }

    /// Whether every expression may name a setting of this name.
    #[must_use]
    pub fn has_setting(&self, name: &str) -> bool {
        self.public.iter().any(|known| known == name)
    }

    /// The settings, `entity`, and these names.
    #[must_use]
    pub fn known(&self, names: &[&'static str]) -> KnownNames {
        KnownNames::of(["entity"]).and(names.iter().copied()).settings(self.public.iter().cloned())
    }

    /// The names for places where secrets are allowed too.
    #[must_use]
    pub fn with_secrets(&self, known: KnownNames) -> KnownNames {
        known.settings(self.secret.iter().cloned())
    }

    /// A bare expression.
    pub fn formula(&self, formula: &Formula, known: &KnownNames) -> Result<Expr, LoadError> {
        Expr::compile(formula.0.as_ref(), &Place::of(&self.file, &formula.0), known)
    }

    pub fn formula_if(&self, formula: Option<&Formula>, known: &KnownNames) -> Result<Option<Expr>, LoadError> {
        formula.map(|formula| self.formula(formula, known)).transpose()
    }

    /// An expression on a row, whose members are variables.
    pub fn on_row(&self, formula: Option<&Formula>) -> Result<Option<Expr>, LoadError> {
        self.formula_if(formula, &self.row())
    }

    /// The names that an expression on a row may use: the row's members, and the settings as `settings.NAME`.
    #[must_use]
    pub fn row(&self) -> KnownNames {
        KnownNames::any().settings(self.public.iter().cloned())
    }

    pub fn text(&self, text: &Text, known: &KnownNames) -> Result<Template, LoadError> {
        Template::text(text.0.as_ref(), &self.place(text), known)
    }

    pub fn text_if(&self, text: Option<&Text>, known: &KnownNames) -> Result<Option<Template>, LoadError> {
        text.map(|text| self.text(text, known)).transpose()
    }

    /// A value written as a template or as a bare expression.
    pub fn value_if(&self, text: Option<&Text>, known: &KnownNames) -> Result<Option<Template>, LoadError> {
        let Some(text) = text else { return Ok(None) };
        let written = text.0.as_ref();
        let written = if written.contains("${") { Cow::from(written) } else { Cow::from(format!("${{{written}}}")) };
        Template::text(&written, &self.place(text), known).map(Some)
    }

    pub fn body(&self, body: Option<&Body>, known: &KnownNames) -> Result<Option<Template>, LoadError> {
        body.map(|body| Template::compile(&body.0, &self.file, known)).transpose()
    }

    /// A table of names and values: a query, headers.
    pub fn table(&self, body: Option<&Body>, known: &KnownNames) -> Result<Option<Template>, LoadError> {
        match body {
            Some(Body(node)) if !matches!(node.as_ref(), Node::Table(_)) => {
                Err(self.wrong(node, "this must be a table of names and values"))
            }
            body => self.body(body, known),
        }
    }

    /// A table of headers. Their names must be valid.
    pub fn headers(&self, body: Option<&Body>, known: &KnownNames) -> Result<Option<Template>, LoadError> {
        if let Some(Body(node)) = body
            && let Node::Table(members) = node.as_ref()
        {
            let odd = |name: &str| {
                name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
            };
            LoadError::collect(members.iter().map(|(name, value)| {
                if odd(name) {
                    Err(self.wrong(value, &format!("`{name}` cannot be the name of a header")))
                } else {
                    Ok(())
                }
            }))?;
        }
        self.table(body, known)
    }

    /// Named expressions.
    pub fn formulas(
        &self,
        formulas: &IndexMap<String, Formula>,
        known: &KnownNames,
    ) -> Result<Vec<(String, Expr)>, LoadError> {
        LoadError::collect(
            formulas.iter().map(|(name, formula)| self.formula(formula, known).map(|expr| (name.clone(), expr))),
        )
    }

    #[must_use]
    pub fn place(&self, text: &Text) -> Place {
        Place::of(&self.file, &text.0)
    }

    pub fn wrong<T>(&self, at: &Spanned<T>, message: &str) -> LoadError {
        LoadError::new(&Place::of(&self.file, at), message)
    }
}
