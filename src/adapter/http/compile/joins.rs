//! Listings that are read to their end, and joins: children that are read for the rows of a page.

use super::{
    call::Call,
    pages::Pager,
    texts::{ANSWER, Compiler},
};
use crate::{
    adapter::manifest::{Formula, http::JoinSpec},
    expr::{Expr, KnownNames},
    load::{LoadError, Place},
};

/// A listing that is read to its end: call, rows, pages.
#[derive(Clone, Debug)]
pub struct Listing {
    pub call: Call,
    pub rows: Expr,
    pub pages: Option<Pager>,
}

/// A compiled join.
#[derive(Clone, Debug)]
pub struct Join {
    pub listing: Listing,
    /// The id of the rows.
    pub id: Expr,
    pub on: Option<Expr>,
    pub to: Expr,
    pub into: String,
    pub one: bool,
    pub when: Option<Expr>,
    pub for_each: Option<Expr>,
}

impl Join {
    /// `id` is the entity's id, the default of `to`. `known` are the variables of the surrounding request.
    ///
    /// # Errors
    /// If keys are missing or contradict one another, or an expression is wrong.
    pub fn compile(
        spec: &JoinSpec,
        compiler: &Compiler,
        id: &Expr,
        known: &KnownNames,
        at: &Place,
    ) -> Result<Self, LoadError> {
        let request = spec.request();
        let at = [request.get, request.post, request.put]
            .into_iter()
            .flatten()
            .next()
            .map_or(at.clone(), |t| compiler.place(t));
        let Some(into) = &spec.into else {
            return Err(LoadError::new(&at, "a join needs `into`: the member that takes the children"));
        };
        let known = known.clone().and(["rows", "ids"]);
        let when = compiler.formula_if(spec.when.as_ref(), &known)?;
        let for_each = compiler.formula_if(spec.for_each.as_ref(), &known)?;
        let known = if for_each.is_some() { known.and(["item"]) } else { known };
        let known = if spec.pages.is_some() { known.and(["page"]) } else { known };
        if spec.on.is_none() && for_each.is_none() {
            return Err(LoadError::new(&at, "a join needs `on`: the child's member that names its row"));
        }
        Ok(Self {
            listing: Listing {
                call: Call::compile(request, compiler, &known, &at)?,
                rows: rows_with(spec.rows.as_ref(), compiler, for_each.is_some())?,
                pages: spec.pages.as_ref().map(|pages| Pager::compile(pages, compiler, true, &at)).transpose()?,
            },
            id: id.clone(),
            on: compiler.on_row(spec.on.as_ref())?,
            to: compiler.on_row(spec.to.as_ref())?.unwrap_or_else(|| id.clone()),
            into: into.0.as_ref().clone(),
            one: spec.one,
            when,
            for_each,
        })
    }
}

/// The expression that gives the rows of an answer; default `body`.
pub fn rows_of(formula: Option<&Formula>, compiler: &Compiler) -> Result<Expr, LoadError> {
    rows_in(formula, compiler, &compiler.known(&ANSWER))
}

/// Like [`rows_of`]. If the join asks for each item, the expression may also use the item.
fn rows_with(formula: Option<&Formula>, compiler: &Compiler, each: bool) -> Result<Expr, LoadError> {
    let known = compiler.known(&ANSWER).and(["rows", "ids"]).and(each.then_some("item"));
    rows_in(formula, compiler, &known)
}

fn rows_in(formula: Option<&Formula>, compiler: &Compiler, known: &KnownNames) -> Result<Expr, LoadError> {
    match formula {
        Some(formula) => compiler.formula(formula, known),
        None => Expr::compile("body", &Place::start(&compiler.file), known),
    }
}
