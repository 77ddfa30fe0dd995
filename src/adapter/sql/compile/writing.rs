//! Creates, updates and deletes: statements in one transaction, with captures of what they return.

use super::entity::{Query, SqlCompiler};
use crate::{
    adapter::manifest::sql::{EntitySpec, StepSpec, WriteSpec},
    expr::{Expr, KnownNames, Template},
    load::LoadError,
    port::Op,
};

/// Variables of a write.
const WRITE: [&str; 10] = ["body", "whole", "wanted", "before", "key", "id", "parts", "held", "dropped", "yielding"];

/// Variables of an answer.
const ANSWER: [&str; 3] = ["rows", "affected", "last_id"];

/// How to write an entity.
#[derive(Clone, Debug)]
pub struct Writing {
    pub create: Option<Operation>,
    pub update: Option<Operation>,
    pub delete: Option<Operation>,
    /// Maximum number of writes in one transaction.
    pub most: usize,
    pub optional: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub steps: Vec<Step>,
    pub id: Option<Expr>,
    pub row: Option<Expr>,
    pub version: Option<Expr>,
    pub child_ids: Vec<(String, Expr)>,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    pub when: Option<Expr>,
    pub refuse: Option<Expr>,
    pub for_each: Option<Expr>,
    pub query: Query,
    pub bind: Vec<(String, Template)>,
    pub capture: Vec<(String, Expr)>,
    pub missing: Option<Expr>,
}

/// Compile the write tables of an entity.
pub fn compile(compiler: &SqlCompiler, spec: &EntitySpec) -> Result<Writing, LoadError> {
    let operation = |op: Op, own: Option<&WriteSpec>| -> Result<Option<Operation>, LoadError> {
        let own = own.map(|own| operation(compiler, op, own)).transpose()?;
        match &spec.batch {
            Some(batch) if batch.query.is_some() && batch.ops.contains(&op) => {
                let shared = WriteSpec { query: batch.query.clone(), bind: batch.bind.clone(), ..empty() };
                operation_of_batch(compiler, op, &shared, own).map(Some)
            }
            _ => Ok(own),
        }
    };
    if let Some(batch) = &spec.batch
        && let (Some(query), true) = (&batch.query, batch.ops.is_empty())
    {
        return Err(compiler.texts.wrong(query, "say which `ops` this statement is for"));
    }
    Ok(Writing {
        create: operation(Op::Create, spec.create.as_ref())?,
        update: operation(Op::Update, spec.update.as_ref())?,
        delete: operation(Op::Delete, spec.delete.as_ref())?,
        most: spec.batch.as_ref().map_or(1, |batch| batch.max.get() as usize),
        optional: spec.optional.clone(),
    })
}

fn empty() -> WriteSpec {
    WriteSpec {
        query: None,
        bind: indexmap::IndexMap::new(),
        missing: None,
        steps: Vec::new(),
        id: None,
        row: None,
        version: None,
        parts: indexmap::IndexMap::new(),
    }
}

/// The batch's statement, with id and stored row as the operation's own table defines them.
fn operation_of_batch(
    compiler: &SqlCompiler,
    op: Op,
    shared: &WriteSpec,
    own: Option<Operation>,
) -> Result<Operation, LoadError> {
    let shared = operation(compiler, op, shared)?;
    Ok(match own {
        Some(own) => Operation { steps: shared.steps, ..own },
        None => shared,
    })
}

fn operation(compiler: &SqlCompiler, op: Op, spec: &WriteSpec) -> Result<Operation, LoadError> {
    let mut known = compiler.texts.known(&WRITE);
    let mut steps = Vec::new();
    if let Some(query) = &spec.query {
        if let Some(step) = spec.steps.first() {
            return Err(compiler.texts.wrong(&step.query, "an operation has either `query` or `steps`"));
        }
        let single = StepSpec {
            name: None,
            when: None,
            refuse: None,
            for_each: None,
            query: query.clone(),
            bind: spec.bind.clone(),
            capture: indexmap::IndexMap::new(),
            missing: spec.missing.clone(),
        };
        let mut step = compile_step(compiler, &single, 0, &mut known)?;
        if op != Op::Create && step.missing.is_none() {
            let place = compiler.texts.place(query);
            step.missing = Some(Expr::compile("affected == 0 && rows.len() == 0", &place, &KnownNames::of(ANSWER))?);
        }
        steps.push(step);
    }
    for (index, step) in spec.steps.iter().enumerate() {
        steps.push(compile_step(compiler, step, index, &mut known)?);
    }
    if steps.is_empty() {
        let place = crate::load::Place::start(&compiler.texts.file);
        return Err(LoadError::new(&place, "an operation needs `query` or `steps`"));
    }
    let known = known.and(ANSWER);
    Ok(Operation {
        steps,
        id: compiler.texts.formula_if(spec.id.as_ref(), &known)?,
        row: compiler.texts.formula_if(spec.row.as_ref(), &known)?,
        version: compiler.texts.formula_if(spec.version.as_ref(), &known)?,
        child_ids: compiler.texts.formulas(&spec.parts, &known)?,
    })
}

fn compile_step(
    compiler: &SqlCompiler,
    spec: &StepSpec,
    index: usize,
    known: &mut KnownNames,
) -> Result<Step, LoadError> {
    let texts = &compiler.texts;
    let given: Vec<&str> = spec.bind.keys().map(String::as_str).collect();
    let query = compiler.open_query(&spec.query, &given)?;
    let inner = if spec.for_each.is_some() { known.clone().and(["item", "item_index"]) } else { known.clone() };
    for name in spec.bind.keys() {
        if !query.statement.names().any(|used| used == name) {
            return Err(texts.wrong(&spec.query, format!("`bind` gives :{name}, which the statement does not use")));
        }
    }
    let step = Step {
        name: spec.name.clone().unwrap_or_else(|| format!("step {}", index + 1)),
        when: texts.formula_if(spec.when.as_ref(), known)?,
        refuse: texts.formula_if(spec.refuse.as_ref(), known)?,
        for_each: texts.formula_if(spec.for_each.as_ref(), known)?,
        bind: texts.bodies(&spec.bind, &inner)?,
        capture: texts.formulas(&spec.capture, &inner.clone().and(ANSWER))?,
        missing: texts.formula_if(spec.missing.as_ref(), &inner.and(ANSWER))?,
        query,
    };
    *known = known.clone().and(spec.capture.keys().cloned());
    Ok(step)
}

impl Writing {
    /// All statements that write.
    pub fn queries(&self) -> Vec<&Query> {
        let operations = [&self.create, &self.update, &self.delete].into_iter().flatten();
        operations.flat_map(|operation| operation.steps.iter().map(|step| &step.query)).collect()
    }

    pub fn operation(&self, op: Op) -> Option<&Operation> {
        match op {
            Op::Create => self.create.as_ref(),
            Op::Update => self.update.as_ref(),
            Op::Delete => self.delete.as_ref(),
        }
    }
}
