//! One write as one request, or as steps whose results are saved before the next is sent.

use serde_json::{Map, Value};

use super::{
    call::{Answer, Call},
    compile::{ANSWER, Compiler},
    config::{StepSpec, WriteSpec},
    exchange::Exchange,
    judge::Verb,
    plan::Entity,
    variables::{Learnt, Variables, WRITE},
};
use crate::{
    expr::{Expr, ExprError, Known, Scope},
    failure::{Class, Failure},
    load::{LoadError, Place},
    port::{Captures, Op, Outcome, Progress, Write, Written},
};

/// Prefix of the capture that counts how often a step was done; no variable can have such a name.
const DONE: &str = "step:";

/// A compiled create, update or delete.
#[derive(Clone, Debug)]
pub struct Operation {
    form: Form,
    learnt: Learnt,
    /// Variable that holds the new id after the first step: where `id` is just that variable.
    id_variable: Option<String>,
}

#[derive(Clone, Debug)]
enum Form {
    Single { call: Call, ignore: Option<Expr> },
    Steps(Vec<Step>),
}

#[derive(Clone, Debug)]
struct Step {
    name: String,
    call: Call,
    when: Option<Expr>,
    for_each: Option<Expr>,
    capture: Vec<(String, Expr)>,
    ignore: Option<Expr>,
}

/// What a request of this kind is, in conditions and when in doubt.
#[must_use]
pub fn verb(op: Op) -> Verb {
    match op {
        Op::Create => Verb::Create,
        Op::Update => Verb::Update,
        Op::Delete => Verb::Delete,
    }
}

impl Operation {
    /// # Errors
    /// Keys that are missing or do not go together, wrong expressions.
    pub fn compile(spec: &WriteSpec, op: Op, compiler: &Compiler, at: &Place) -> Result<Self, LoadError> {
        let known = compiler.known(&WRITE);
        let mut after = known.clone().and(ANSWER).and(["sent"]);
        let form = if spec.steps.is_empty() {
            let answer = compiler.formula_if(spec.ignore.as_ref(), &after)?;
            Form::Single { call: Call::compile(spec.request(), compiler, &known, at)?, ignore: answer }
        } else {
            if !spec.request().is_absent() {
                return Err(LoadError::new(
                    at,
                    format!("`{}` has a request and `steps`: one of the two", super::plan::word(op)),
                ));
            }
            let captured = spec.steps.iter().flat_map(|step| step.capture.keys().cloned());
            after = after.and(captured);
            Form::Steps(steps(&spec.steps, compiler, known, at)?)
        };
        let learnt = Learnt {
            id: compiler.formula_if(spec.id.as_ref(), &after)?,
            row: compiler.formula_if(spec.row.as_ref(), &after)?,
            version: compiler.formula_if(spec.version.as_ref(), &after)?,
            parts: compiler.formulas(&spec.parts, &after)?,
        };
        if op == Op::Create && learnt.id.is_none() && learnt.row.is_none() {
            return Err(LoadError::new(at, "`create` needs `id` (or `row`): where the answer says what was created"));
        }
        let id_variable = learnt.id.as_ref().map(|id| id.text().to_owned()).filter(|_| matches!(form, Form::Steps(_)));
        Ok(Self { form, learnt, id_variable })
    }

    /// Does one write.
    pub async fn run(
        &self,
        write: &Write,
        entity: &Entity,
        exchange: &Exchange,
        scope: &Scope<'_>,
        progress: &dyn Progress,
    ) -> Outcome {
        let variables = Variables::of(write);
        let scope = variables.scope(write, scope);
        let mut requests = 0;
        let result = match &self.form {
            Form::Single { call, ignore } => {
                requests = 1;
                self.single(call, ignore.as_ref(), write, entity, exchange, &scope).await
            }
            Form::Steps(steps) => {
                let mut saga = Saga { write, exchange, progress, done: write.done.clone(), requests: 0, answer: None };
                let result = self.steps(steps, &mut saga, entity, &scope).await;
                requests += saga.requests;
                result
            }
        };
        Outcome { job: write.job, result: absent_is_deleted(write, result), requests }
    }

    async fn single(
        &self,
        call: &Call,
        ignore: Option<&Expr>,
        write: &Write,
        entity: &Entity,
        exchange: &Exchange,
        scope: &Scope<'_>,
    ) -> Result<Written, Failure> {
        let answer = exchange.call(call, verb(write.op), scope, ignore).await?;
        self.learnt.read(write, entity, &answer.scope(scope), Some(&answer))
    }

    async fn steps(
        &self,
        steps: &[Step],
        saga: &mut Saga<'_>,
        entity: &Entity,
        scope: &Scope<'_>,
    ) -> Result<Written, Failure> {
        if let (Some(found), Some(first)) = (&saga.write.found, steps.first())
            && !saga.done.contains_key(&marker(&first.name))
        {
            if let Some(variable) = &self.id_variable {
                saga.done.insert(variable.clone(), Value::from(found.id.as_str()));
            }
            saga.done.insert(marker(&first.name), Value::from(1));
            saga.progress.save(saga.write.job, &saga.done).await?;
        }
        for step in steps {
            saga.step(step, scope).await?;
        }
        let captured = saga.captured();
        let scope = scope.child().with_members(&captured);
        match &saga.answer {
            Some(answer) => self.learnt.read(saga.write, entity, &answer.scope(&scope), Some(answer)),
            // Every step was done by an earlier attempt: there is no answer to read a row from.
            None => {
                let nothing = Learnt { row: None, version: None, ..self.learnt.clone() };
                let null = Value::Null;
                let scope = scope.with("body", &null).with("status", &null).with("headers", &null);
                nothing.read(saga.write, entity, &scope, None)
            }
        }
    }
}

/// What is to be deleted and is not there is deleted.
fn absent_is_deleted(write: &Write, result: Result<Written, Failure>) -> Result<Written, Failure> {
    match (result, &write.id) {
        (Err(failure), Some(id)) if write.op == Op::Delete && failure.class == Class::Missing => {
            Ok(Written { id: id.clone(), ..Written::default() })
        }
        (result, _) => result,
    }
}

/// A write of several requests under way.
struct Saga<'a> {
    write: &'a Write,
    exchange: &'a Exchange,
    progress: &'a dyn Progress,
    done: Captures,
    requests: u32,
    /// Of the last request.
    answer: Option<Answer>,
}

impl Saga<'_> {
    /// Results of finished steps, as an object.
    fn captured(&self) -> Value {
        let plain = self.done.iter().filter(|(name, _)| !name.starts_with(DONE));
        Value::Object(plain.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
    }

    async fn step(&mut self, step: &Step, scope: &Scope<'_>) -> Result<(), Failure> {
        let name = marker(&step.name);
        let mut done = self.done.get(&name).and_then(Value::as_u64).unwrap_or_default();
        let captured = self.captured();
        let scope = scope.child().with_members(&captured);
        let wrong = |error: ExprError| Failure::new(Class::Rejected, format!("step `{}`: {error}", step.name));
        if done == 0
            && let Some(when) = &step.when
            && !when.eval_bool(&scope).map_err(wrong)?
        {
            // A step left out has captured nothing; later steps may still name its variables.
            for (variable, _) in &step.capture {
                self.done.entry(variable.clone()).or_insert(Value::Null);
            }
            return Ok(());
        }
        let Some(for_each) = &step.for_each else {
            return if done == 0 { self.request(step, &scope, 1).await } else { Ok(()) };
        };
        let Value::Array(items) = for_each.eval(&scope).map_err(wrong)? else {
            return Err(Failure::new(Class::Rejected, format!("step `{}`: `for_each` gives no list", step.name)));
        };
        while let Some(item) = usize::try_from(done).ok().and_then(|index| items.get(index)) {
            let index = Value::from(done);
            let scope = scope.child().with("item", item).with("item_index", &index);
            done += 1;
            self.request(step, &scope, done).await?;
        }
        Ok(())
    }

    /// Sends a step's request and saves what it captured; `count` is how often the step has been done then.
    async fn request(&mut self, step: &Step, scope: &Scope<'_>, count: u64) -> Result<(), Failure> {
        self.requests += 1;
        let verb = verb(self.write.op);
        let mut failed = |mut failure: Failure| {
            failure.message = format!("step `{}`: {}", step.name, failure.message);
            failure
        };
        let answer = self.exchange.call(&step.call, verb, scope, step.ignore.as_ref()).await.map_err(&mut failed)?;
        let ignored =
            step.ignore.as_ref().is_some_and(|ignore| ignore.eval_bool(&answer.scope(scope)).unwrap_or(false));
        for (variable, expr) in &step.capture {
            let value = match expr.eval(&answer.scope(scope)) {
                Ok(value) => value,
                Err(_) if ignored => Value::Null,
                Err(error) => {
                    let message = format!("the answer holds no `{variable}`: {error}");
                    return Err(failed(answer.failure(verb.in_doubt(), &message)));
                }
            };
            self.done.insert(variable.clone(), value);
        }
        self.done.insert(marker(&step.name), Value::from(count));
        self.answer = Some(answer);
        self.progress.save(self.write.job, &self.done).await
    }
}

fn marker(step: &str) -> String {
    format!("{DONE}{step}")
}

fn steps(specs: &[StepSpec], compiler: &Compiler, mut known: Known, at: &Place) -> Result<Vec<Step>, LoadError> {
    let mut steps: Vec<Step> = Vec::new();
    for spec in specs {
        let Some(name) = &spec.name else {
            return Err(LoadError::new(at, "every step needs a `name`: what was done is remembered by it"));
        };
        if steps.iter().any(|step| step.name == *name.0.as_ref()) {
            return Err(compiler.wrong(&name.0, "two steps have this name"));
        }
        let when = compiler.formula_if(spec.when.as_ref(), &known)?;
        let for_each = compiler.formula_if(spec.for_each.as_ref(), &known)?;
        let inner = if for_each.is_some() { known.clone().and(["item", "item_index"]) } else { known.clone() };
        let answer = inner.clone().and(ANSWER).and(["sent"]);
        steps.push(Step {
            name: name.0.as_ref().clone(),
            call: Call::compile(spec.request(), compiler, &inner, &compiler.place(name))?,
            when,
            for_each,
            capture: compiler.formulas(&spec.capture, &answer)?,
            ignore: compiler.formula_if(spec.ignore.as_ref(), &answer)?,
        });
        known = known.and(spec.capture.keys().cloned());
    }
    Ok(steps)
}
