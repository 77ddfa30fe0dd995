//! Many writes in one request, as the file declares it.

use super::{
    call::Call,
    entity::word,
    texts::{ANSWER, Compiler},
    variables::{AnswerFields, WRITE},
};
use crate::{
    adapter::manifest::{
        Formula,
        http::{BatchSpec, Results},
    },
    expr::{Expr, Template},
    load::{LoadError, Place},
    port::Op,
};

/// Compiled table `batch`.
#[derive(Debug)]
pub struct Batch {
    pub ops: Vec<Op>,
    pub max: usize,
    pub call: Call,
    pub item: Option<Template>,
    pub group: Option<Expr>,
    pub results: Option<Places>,
    pub matches: Option<Expr>,
    pub error: Option<Expr>,
    pub class: Option<Expr>,
    pub message: Option<Expr>,
    pub field: Option<Expr>,
    pub answer_fields: AnswerFields,
}

/// Where an answer holds the results.
#[derive(Debug)]
pub enum Places {
    All(Expr),
    ByOp(Vec<(Op, Expr)>),
}

impl Batch {
    /// # Errors
    /// If keys are missing or contradict one another, or an expression is wrong.
    pub fn compile(spec: &BatchSpec, compiler: &Compiler, at: &Place) -> Result<Self, LoadError> {
        let at = [spec.post.as_ref(), spec.put.as_ref(), spec.patch.as_ref()]
            .into_iter()
            .flatten()
            .next()
            .map_or(at.clone(), |text| compiler.place(text));
        let Some(max) = spec.max else {
            return Err(LoadError::new(&at, "`batch` needs `max`: the most writes of one request"));
        };
        if spec.ops.is_empty() {
            return Err(LoadError::new(&at, "`batch` needs `ops`: any of \"create\", \"update\", \"delete\""));
        }
        let known = compiler.known(&["items", "creates", "updates", "deletes", "group"]);
        let known =
            if spec.group.is_some() { known } else { compiler.known(&["items", "creates", "updates", "deletes"]) };
        let each = compiler.known(&WRITE);
        let result = compiler.known(&["result", "item", "key", "id", "op"]).and(ANSWER);
        let on_result = |formula: Option<&Formula>| compiler.formula_if(formula, &result);
        let answer_fields = AnswerFields {
            id: on_result(spec.id.as_ref())?,
            row: on_result(spec.row.as_ref())?,
            version: on_result(spec.version.as_ref())?,
            child_ids: compiler.formulas(&spec.parts, &result)?,
        };
        let results = spec.results.as_ref().map(|results| places(results, &spec.ops, compiler, &at)).transpose()?;
        if spec.ops.contains(&Op::Create)
            && (results.is_none() || (answer_fields.id.is_none() && answer_fields.row.is_none()))
        {
            return Err(LoadError::new(
                &at,
                "a batch that creates needs `results` and `id` (or `row`): what was created as what",
            ));
        }
        if results.is_none() && (spec.error.is_some() || spec.r#match.is_some()) {
            return Err(LoadError::new(&at, "`error` and `match` speak of `results`, which is missing"));
        }
        Ok(Self {
            ops: spec.ops.clone(),
            max: usize::try_from(max.get()).unwrap_or(usize::MAX),
            call: Call::compile(spec.request(), compiler, &known, &at)?,
            item: compiler.body(spec.item.as_ref(), &each)?,
            group: compiler.formula_if(spec.group.as_ref(), &each)?,
            results,
            matches: on_result(spec.r#match.as_ref())?,
            error: on_result(spec.error.as_ref())?,
            class: on_result(spec.class.as_ref())?,
            message: on_result(spec.message.as_ref())?,
            field: on_result(spec.field.as_ref())?,
            answer_fields,
        })
    }
}

fn places(results: &Results, ops: &[Op], compiler: &Compiler, at: &Place) -> Result<Places, LoadError> {
    let known = compiler.known(&ANSWER);
    if let Some(all) = &results.all {
        return Ok(Places::All(compiler.formula(all, &known)?));
    }
    let given = [(Op::Create, &results.create), (Op::Update, &results.update), (Op::Delete, &results.delete)];
    let mut places = Vec::new();
    for (op, formula) in given {
        match formula {
            Some(formula) => places.push((op, compiler.formula(formula, &known)?)),
            None if ops.contains(&op) => {
                return Err(LoadError::new(at, format!("`results` lacks `{}`, which is one of the `ops`", word(op))));
            }
            None => {}
        }
    }
    Ok(Places::ByOp(places))
}
