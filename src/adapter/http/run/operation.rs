//! One write as one request, or as steps. The results of a step are saved before the next step is sent.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{answer::Answer, evaluate::Verb, variables::Variables, writing::Writing};
use crate::{
    adapter::{
        http::compile::{AnswerFields, Call, Form, Operation, Step},
        run::rejected,
    },
    expr::{Expr, ExprError, Scope},
    failure::{Class, Failure},
    model::canonical,
    port::{Captures, Op, Outcome, Write, Written},
    wait_reason::WaitReason,
};

/// Prefix of the capture that counts how often a step was done. No variable can have such a name.
const DONE: &str = "step:";

/// The variable for what a lookup found. Captures with this name hide it.
const FOUND: &str = "found";

/// The verb of a request for this kind of write, for conditions and for failures in doubt.
#[must_use]
pub fn verb(op: Op) -> Verb {
    match op {
        Op::Create => Verb::Create,
        Op::Update => Verb::Update,
        Op::Delete => Verb::Delete,
    }
}

impl Operation {
    /// Carry out one write.
    pub async fn run(&self, write: &Write, writing: &Writing<'_>) -> Outcome {
        let variables = Variables::of(write);
        let scope = variables.scope(write, writing.scope);
        let writing = Writing { scope: &scope, ..*writing };
        let mut requests = 0;
        let result = match &self.form {
            Form::Single { call, ignore } => {
                requests = 1;
                self.single(call, ignore.as_ref(), write, &writing).await
            }
            Form::Steps(steps) => {
                let mut saga = Saga { write, writing: &writing, done: write.done.clone(), requests: 0, answer: None };
                let result = self.steps(steps, &mut saga).await;
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
        &Writing { entity, exchange, scope, .. }: &Writing<'_>,
    ) -> Result<Written, Failure> {
        let answer = exchange.requester(verb(write.op), scope).call(call, ignore).await?;
        self.answer_fields.read(write, entity, &answer.scope(scope), Some(&answer))
    }

    async fn steps(&self, steps: &[Step], saga: &mut Saga<'_>) -> Result<Written, Failure> {
        let Writing { entity, scope, progress, .. } = *saga.writing;
        if let (Some(found), Some(first)) = (&saga.write.found, steps.iter().find(|step| !step.reads))
            && !saga.done.contains_key(&marker(&first.name))
        {
            if let Some(variable) = &self.id_variable {
                saga.done.insert(variable.clone(), Value::from(found.id.as_str()));
            }
            // This replaces the lost answer: a later attempt does not look up again.
            saga.done.insert(FOUND.to_owned(), found.body.clone().into_value());
            saga.done.insert(marker(&first.name), Value::from(1));
            progress.save(saga.write.job, &saga.done).await?;
        }
        for step in steps {
            saga.step(step).await?;
        }
        let captured = saga.captured();
        let scope = scope.child().with_members(&captured);
        if let Some(answer) = &saga.answer {
            return self.answer_fields.read(saga.write, entity, &answer.scope(&scope), Some(answer));
        }
        // Every step was done by an earlier attempt, or the lookup found everything. Use what the captures and the
        // found object show. If that is not enough without an answer, use only the captured id.
        let nothing = Value::Null;
        let scope = scope.with("body", &nothing).with("status", &nothing).with("headers", &nothing);
        let id = AnswerFields { id: self.answer_fields.id.clone(), ..AnswerFields::default() };
        let all = self.answer_fields.read(saga.write, entity, &scope, None);
        all.or_else(|_| id.read(saga.write, entity, &scope, None))
    }
}

/// If an object to delete does not exist, it counts as deleted.
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
    writing: &'a Writing<'a>,
    done: Captures,
    requests: u32,
    /// The answer to the last request.
    answer: Option<Answer>,
}

impl Saga<'_> {
    /// Results of finished steps, as an object.
    fn captured(&self) -> Value {
        let plain = self.done.iter().filter(|(name, _)| !name.starts_with(DONE));
        Value::Object(plain.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
    }

    async fn step(&mut self, step: &Step) -> Result<(), Failure> {
        let name = marker(&step.name);
        let captured = self.captured();
        let scope = self.writing.scope.child().with_members(&captured);
        let mut done: Vec<Value> = match self.done.get(&name) {
            Some(Value::Array(items)) => items.clone(),
            Some(done) if step.for_each.is_some() || *done == self.mark(step, &scope) => vec![Value::Null],
            _ => Vec::new(),
        };
        let is_new = done.is_empty();
        let wrong = |error: ExprError| step.failed(rejected(error));
        if is_new
            && let Some(when) = &step.when
            && !when.eval_bool(&scope).map_err(wrong)?
        {
            // A step that was left out has captured nothing, but later steps may still use its variables.
            for (variable, _) in &step.capture {
                self.done.entry(variable.clone()).or_insert(Value::Null);
            }
            return Ok(());
        }
        let Some(for_each) = &step.for_each else {
            return if is_new { self.request(step, &scope, self.mark(step, &scope)).await } else { Ok(()) };
        };
        let Value::Array(items) = for_each.eval(&scope).map_err(wrong)? else {
            return Err(wrong(for_each.error("gives no list")));
        };
        let fingerprints = fingerprints(&items);
        self.forget_others(step, &mut done, &fingerprints);
        for (index, (item, fingerprint)) in items.iter().zip(fingerprints).enumerate() {
            if done.contains(&fingerprint) {
                continue;
            }
            let index = Value::from(index);
            let scope = scope.child().with("item", item).with("item_index", &index);
            done.push(fingerprint);
            self.request(step, &scope, Value::from(done.clone())).await?;
        }
        Ok(())
    }

    /// Forget items that have left the list, with what was captured for them: the desired list is another one now,
    /// and an item that comes back must be done again.
    fn forget_others(&mut self, step: &Step, done: &mut Vec<Value>, fingerprints: &[Value]) {
        let stays: Vec<bool> = done.iter().map(|fingerprint| fingerprints.contains(fingerprint)).collect();
        let keep = |list: &mut Vec<Value>| {
            let mut stays = stays.iter();
            list.retain(|_| stays.next().is_none_or(|stays| *stays));
        };
        for (variable, _) in &step.capture {
            match self.done.get_mut(variable) {
                Some(Value::Array(captured)) => keep(captured),
                _ => drop(self.done.insert(variable.clone(), Value::from(Vec::<Value>::new()))),
            }
        }
        keep(done);
    }

    /// The mark of a finished step. For an update it is the fingerprint of its request, because a later attempt may
    /// have something else to send. For a create it only says that the step is done, whatever it would send now:
    /// its first step created the object.
    fn mark(&self, step: &Step, scope: &Scope<'_>) -> Value {
        let repeats_when_changed = self.write.op == Op::Update && !step.reads && step.for_each.is_none();
        // If the request cannot be made now, it was not sent.
        let fingerprint = || step.call.fingerprint(scope).map_or(Value::Null, Value::from);
        if repeats_when_changed { fingerprint() } else { Value::from(1) }
    }

    /// Send a step's request and save what it captured. `mark` is then stored as the step's mark.
    async fn request(&mut self, step: &Step, scope: &Scope<'_>, mark: Value) -> Result<(), Failure> {
        self.requests += 1;
        let verb = if step.reads { Verb::Read } else { verb(self.write.op) };
        let requester = self.writing.exchange.requester(verb, scope);
        if let Some(listing) = &step.listing {
            let rows = listing.all(&requester).await.map_err(|failure| step.failed(failure))?;
            let rows = Value::from(rows);
            for (variable, expr) in &step.capture {
                let value = expr.eval(&scope.child().with("rows", &rows)).map_err(|error| {
                    let message = format!("the rows hold no `{variable}`: {error}");
                    step.failed(Failure::new(Class::Fatal, message).with_cause(WaitReason::file(&error.place)))
                })?;
                self.done.insert(variable.clone(), value);
            }
            return Ok(());
        }
        let answer = requester.call(&step.call, step.ignore.as_ref()).await;
        let answer = answer.map_err(|failure| step.failed(failure))?;
        let ignored =
            step.ignore.as_ref().is_some_and(|ignore| ignore.eval_bool(&answer.scope(scope)).unwrap_or(false));
        for (variable, expr) in &step.capture {
            let value = match expr.eval(&answer.scope(scope)) {
                Ok(value) => value,
                Err(_) if ignored => Value::Null,
                Err(error) => {
                    // Whether the file or the answer is wrong, asking again would bring the same answer.
                    let class = if step.reads { Class::Fatal } else { verb.in_doubt() };
                    let failure = answer.failure(class, &format!("the answer holds no `{variable}`: {error}"));
                    return Err(step.failed(failure.with_cause(WaitReason::file(&error.place))));
                }
            };
            match (step.for_each.is_some(), self.done.get_mut(variable)) {
                (true, Some(Value::Array(captured))) => captured.push(value),
                _ => drop(self.done.insert(variable.clone(), value)),
            }
        }
        self.answer = Some(answer);
        if step.reads {
            return Ok(());
        }
        self.done.insert(marker(&step.name), mark);
        self.writing.progress.save(self.write.job, &self.done).await
    }
}

impl Step {
    /// Add the step's name to a failure.
    fn failed(&self, mut failure: Failure) -> Failure {
        failure.message = format!("step `{}`: {}", self.name, failure.message);
        failure
    }
}

/// Fingerprints of the items, to remember which are done: the list may change before the next attempt, when some
/// are done.
fn fingerprints(items: &[Value]) -> Vec<Value> {
    let mut equals: HashMap<String, u32> = HashMap::new();
    let mut fingerprint = |item: &Value| {
        let fingerprint = canonical::fingerprint(item);
        let nth = equals.entry(fingerprint.clone()).and_modify(|count| *count += 1).or_default();
        Value::from(format!("{fingerprint}-{nth}"))
    };
    items.iter().map(&mut fingerprint).collect()
}

fn marker(step: &str) -> String {
    format!("{DONE}{step}")
}
