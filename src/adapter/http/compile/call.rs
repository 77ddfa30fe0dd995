//! One compiled request of an adapter.

use std::sync::Arc;

use super::texts::{ANSWER, Compiler};
use crate::{
    adapter::{
        manifest::http::{ErrorRule, Receive, RequestSpec, Send},
        transport::Method,
    },
    expr::{Expr, KnownNames, Template},
    failure::Class,
    load::{LoadError, Place},
};

/// An error rule: what a failure means.
#[derive(Clone, Debug)]
pub struct Rule {
    pub when: Expr,
    pub class: Class,
    pub field: Option<Template>,
    pub message: Option<Template>,
}

/// A compiled request.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub target: Template,
    /// The target as written, and its place.
    pub written: Arc<str>,
    pub place: String,
    /// Whether a value in the path may contain slashes, which are then encoded.
    pub slashes: bool,
    pub query: Option<Template>,
    pub headers: Option<Template>,
    pub body: Option<Template>,
    pub send: Send,
    pub receive: Receive,
    pub rules: Vec<Rule>,
}

impl Call {
    /// Compile the request keys of a table. `at` is the place to report if the method is missing.
    ///
    /// # Errors
    /// If there is no method or several, or a template is wrong.
    pub fn compile(
        spec: RequestSpec<'_>,
        compiler: &Compiler,
        known: &KnownNames,
        at: &Place,
    ) -> Result<Self, LoadError> {
        let targets = [
            (Method::Get, spec.get),
            (Method::Post, spec.post),
            (Method::Put, spec.put),
            (Method::Patch, spec.patch),
            (Method::Delete, spec.delete),
        ];
        let mut given = targets.into_iter().filter_map(|(method, target)| Some((method, target?)));
        let common = compiler.post.as_ref().map(|target| (Method::Post, target));
        let Some((method, target)) = given.next().or(common) else {
            return Err(LoadError::new(at, "a request needs one of `get`, `post`, `put`, `patch`, `delete`"));
        };
        if let Some((_, second)) = given.next() {
            return Err(LoadError::new(&compiler.place(second), "a request has one method, this is a second one"));
        }
        Ok(Self {
            method,
            target: compiler.text(target, known)?,
            written: target.0.as_ref().as_str().into(),
            place: compiler.place(target).to_string(),
            slashes: spec.slashes.unwrap_or(compiler.slashes),
            query: compiler.table(spec.query, known)?,
            headers: compiler.headers(spec.headers, &compiler.with_secrets(known.clone()))?,
            body: compiler.body(spec.body, known)?,
            send: spec.send.unwrap_or(compiler.send),
            receive: spec.receive.unwrap_or(compiler.receive),
            rules: rules(spec.errors, compiler, known.clone())?,
        })
    }

    /// Whether the request uses this variable.
    #[must_use]
    pub fn names(&self, variable: &str) -> bool {
        let parts = [Some(&self.target), self.query.as_ref(), self.headers.as_ref(), self.body.as_ref()];
        parts.into_iter().flatten().any(|part| part.names(variable))
    }

    /// Whether the path itself uses one of these variables. If so, a 404 concerns that object and does not mean a
    /// wrong address.
    #[must_use]
    pub fn addresses(&self, variables: &[&str]) -> bool {
        variables.iter().any(|variable| self.target.names(variable))
    }
}

/// Compile error rules. `known` are the variables of the request in addition to those of its answer.
pub fn rules(specs: &[ErrorRule], compiler: &Compiler, known: KnownNames) -> Result<Vec<Rule>, LoadError> {
    let known = known.and(ANSWER).and(["text", "op", "retry_after"]);
    LoadError::collect(specs.iter().map(|spec| {
        Ok(Rule {
            when: compiler.formula(&spec.when, &known)?,
            class: spec.class,
            field: compiler.text_if(spec.field.as_ref(), &known)?,
            message: compiler.text_if(spec.message.as_ref(), &known)?,
        })
    }))
}
