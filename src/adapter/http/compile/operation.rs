//! One write as one request, or as steps, as the file declares it.

use super::{
    call::Call,
    entity::word,
    joins::{Listing, rows_of},
    pages::Pager,
    texts::{ANSWER, Compiler},
    variables::{AnswerFields, WRITE},
};
use crate::{
    adapter::manifest::http::{StepSpec, WriteSpec},
    expr::{Expr, KnownNames},
    load::{LoadError, Place},
    port::Op,
};

/// A compiled create, update or delete.
#[derive(Clone, Debug)]
pub struct Operation {
    pub form: Form,
    pub answer_fields: AnswerFields,
    /// If `id` is just a variable: this variable, which holds the new id after the first step.
    pub id_variable: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Form {
    Single { call: Box<Call>, ignore: Option<Expr> },
    Steps(Vec<Step>),
}

#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    pub call: Call,
    /// Set if the step reads all pages of a list.
    pub listing: Option<Listing>,
    /// Whether every attempt repeats it, because it changes nothing.
    pub reads: bool,
    pub when: Option<Expr>,
    pub for_each: Option<Expr>,
    pub capture: Vec<(String, Expr)>,
    pub ignore: Option<Expr>,
}

impl Operation {
    /// # Errors
    /// If keys are missing or contradict one another, or an expression is wrong.
    pub fn compile(spec: &WriteSpec, op: Op, compiler: &Compiler, at: &Place) -> Result<Self, LoadError> {
        let known = compiler.known(&WRITE);
        let mut after = known.clone().and(ANSWER).and(["sent"]);
        let form = if spec.steps.is_empty() {
            let answer = compiler.formula_if(spec.ignore.as_ref(), &after)?;
            Form::Single { call: Box::new(Call::compile(spec.request(), compiler, &known, at)?), ignore: answer }
        } else {
            if !spec.request().is_absent() {
                return Err(LoadError::new(at, format!("`{}` has a request and `steps`: one of the two", word(op))));
            }
            let captured = spec.steps.iter().flat_map(|step| step.capture.keys().cloned());
            after = after.and(captured);
            Form::Steps(steps(&spec.steps, compiler, known, at)?)
        };
        let answer_fields = AnswerFields {
            id: compiler.formula_if(spec.id.as_ref(), &after)?,
            row: compiler.formula_if(spec.row.as_ref(), &after)?,
            version: compiler.formula_if(spec.version.as_ref(), &after)?,
            child_ids: compiler.formulas(&spec.parts, &after)?,
        };
        if op == Op::Create && answer_fields.id.is_none() && answer_fields.row.is_none() {
            return Err(LoadError::new(at, "`create` needs `id` (or `row`): where the answer says what was created"));
        }
        let id_variable =
            answer_fields.id.as_ref().map(|id| id.text().to_owned()).filter(|_| matches!(form, Form::Steps(_)));
        Ok(Self { form, answer_fields, id_variable })
    }
}

fn steps(specs: &[StepSpec], compiler: &Compiler, mut known: KnownNames, at: &Place) -> Result<Vec<Step>, LoadError> {
    let mut steps: Vec<Step> = Vec::new();
    for spec in specs {
        let Some(name) = &spec.name else {
            return Err(LoadError::new(at, "every step needs a `name`: what was done is remembered by it"));
        };
        if spec.reads == Some(true) && spec.for_each.is_some() {
            return Err(compiler.wrong(&name.0, "a step that `reads` has no `for_each`: what was seen of which item?"));
        }
        let reads = spec.reads.unwrap_or(spec.get.is_some() && spec.for_each.is_none());
        if (spec.pages.is_some() || spec.rows.is_some()) && (!reads || spec.ignore.is_some()) {
            return Err(
                compiler.wrong(&name.0, "`pages` and `rows` are for a step that only `reads`, without `ignore`")
            );
        }
        if steps.iter().any(|step| step.name == *name.0.as_ref()) {
            return Err(compiler.wrong(&name.0, "two steps have this name"));
        }
        let when = compiler.formula_if(spec.when.as_ref(), &known)?;
        let for_each = compiler.formula_if(spec.for_each.as_ref(), &known)?;
        let inner = if for_each.is_some() { known.clone().and(["item", "item_index"]) } else { known.clone() };
        let is_list = spec.pages.is_some() || spec.rows.is_some();
        let place = compiler.place(name);
        let asked = if spec.pages.is_some() { inner.clone().and(["page"]) } else { inner.clone() };
        let call = Call::compile(spec.request(), compiler, &asked, &place)?;
        let pages = spec.pages.as_ref().map(|pages| Pager::compile(pages, compiler, true, &place)).transpose()?;
        let rows = rows_of(spec.rows.as_ref(), compiler)?;
        let listing = is_list.then(|| Listing { call: call.clone(), rows, pages });
        let answer = if is_list { inner.clone().and(["rows"]) } else { inner.clone().and(ANSWER).and(["sent"]) };
        steps.push(Step {
            name: name.0.as_ref().clone(),
            call,
            listing,
            reads,
            when,
            for_each,
            capture: compiler.formulas(&spec.capture, &answer)?,
            ignore: compiler.formula_if(spec.ignore.as_ref(), &answer)?,
        });
        known = known.and(spec.capture.keys().cloned());
    }
    Ok(steps)
}
