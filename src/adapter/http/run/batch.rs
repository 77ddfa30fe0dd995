//! Many writes in one request. Uses results per item if the system gives them, and halves the request if it does
//! not.

use futures::future::BoxFuture;
use serde_json::Value;

use super::{answer::Answer, operation::verb, variables::Variables, writing::Writing};
use crate::{
    adapter::{
        http::compile::{Batch, Places, word},
        run::rejected,
    },
    expr::{Expr, ExprError, Scope, text_of},
    failure::{Class, Failure},
    port::{Op, Outcome, Write, Written},
};

/// How many items of a portion that is refused as `auth` are tried alone.
const PROBES: usize = 3;

impl Batch {
    /// Divide writes into requests: each of one group, with at most `max` writes. Writes whose element cannot be
    /// made come back as outcomes.
    pub fn portions(&self, writes: Vec<Write>, scope: &Scope<'_>) -> (Vec<Portion>, Vec<Outcome>) {
        let mut groups: Vec<(Value, Vec<Element>)> = Vec::new();
        let mut refused = Vec::new();
        for write in writes {
            match self.element(&write, scope) {
                Ok((group, item)) => {
                    let element = Element { write, item };
                    match groups.iter_mut().find(|(known, _)| *known == group) {
                        Some((_, elements)) => elements.push(element),
                        None => groups.push((group, vec![element])),
                    }
                }
                Err(error) => {
                    let mut failure = rejected(error);
                    failure.message = format!("the batch's element cannot be made: {}", failure.message);
                    refused.push(Outcome { job: write.job, result: Err(failure), requests: 0 });
                }
            }
        }
        let mut portions = Vec::new();
        for (group, elements) in groups {
            let mut elements = elements.into_iter().peekable();
            while elements.peek().is_some() {
                portions.push(Portion { group: group.clone(), elements: elements.by_ref().take(self.max).collect() });
            }
        }
        (portions, refused)
    }

    fn element(&self, write: &Write, scope: &Scope<'_>) -> Result<(Value, Value), ExprError> {
        let variables = Variables::of(write);
        let scope = variables.scope(write, scope);
        let group = self.group.as_ref().map_or(Ok(Value::Null), |group| group.eval(&scope))?;
        let item = match &self.item {
            Some(item) => item.render(&scope)?.unwrap_or_default(),
            None => write.body.clone(),
        };
        Ok((group, item))
    }

    /// Send a portion. If it is rejected, it is halved until the bad item is alone. If it is refused as `auth`, a
    /// few of its items are first tried alone: if the system accepts one of these, the credentials are valid, and
    /// the others are halved too.
    pub async fn send(&self, portion: Portion, writing: &Writing<'_>) -> Vec<Outcome> {
        let refused = match self.halve(portion, writing, false).await {
            Ok(outcomes) => return outcomes,
            Err(refused) => refused,
        };
        let Portion { group, elements } = refused.portion;
        let lets_in = |outcome: &Outcome| match &outcome.result {
            Ok(_) => true,
            Err(failure) => is_of_an_item(failure.class),
        };
        let mut elements = elements.into_iter();
        let mut all: Vec<Outcome> = Vec::new();
        for element in elements.by_ref().take(PROBES) {
            let alone = Portion { group: group.clone(), elements: vec![element] };
            all.extend(self.halve(alone, writing, true).await.unwrap_or_else(Refused::outcomes));
            if all.iter().any(lets_in) {
                break;
            }
        }
        let rest = Portion { group, elements: elements.collect() };
        all.extend(if all.iter().any(lets_in) {
            self.halve(rest, writing, true).await.unwrap_or_else(Refused::outcomes)
        } else {
            Refused { portion: rest, failure: refused.failure }.outcomes()
        });
        for outcome in &mut all {
            outcome.requests += 1;
        }
        all
    }

    /// Send a portion. If it is refused because of its items, send its halves. `known`: our credentials are known
    /// to be valid, so a portion that is refused as `auth` is halved as well.
    fn halve<'a>(
        &'a self,
        portion: Portion,
        writing: &'a Writing<'a>,
        known: bool,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Refused>> {
        Box::pin(async move {
            if portion.elements.is_empty() {
                return Ok(Vec::new());
            }
            let failure = match self.request(&portion, writing).await {
                Ok(answer) => {
                    let answered = Answered { batch: self, writing, answer: &answer };
                    return Ok(answered.outcomes(&portion.elements));
                }
                Err(failure) => failure,
            };
            let several = portion.elements.len() > 1;
            if several && failure.class == Class::Auth && !known {
                return Err(Refused { portion, failure });
            }
            if !several || !(is_of_an_item(failure.class) || failure.class == Class::Auth) {
                return Ok(Refused { portion, failure }.outcomes());
            }
            let Portion { group, mut elements } = portion;
            let second = elements.split_off(elements.len() / 2);
            let mut all = Vec::new();
            for elements in [elements, second] {
                let half = Portion { group: group.clone(), elements };
                // If the system reports what is wrong with an item, the credentials are valid.
                all.extend(self.halve(half, writing, true).await.unwrap_or_else(Refused::outcomes));
            }
            for outcome in &mut all {
                outcome.requests += 1;
            }
            Ok(all)
        })
    }

    async fn request(&self, portion: &Portion, writing: &Writing<'_>) -> Result<Answer, Failure> {
        let of = |op: Option<Op>| -> Value {
            let chosen = portion.elements.iter().filter(|element| op.is_none_or(|op| element.write.op == op));
            chosen.map(|element| element.item.clone()).collect()
        };
        let [creates, updates, deletes] = [Op::Create, Op::Update, Op::Delete].map(|op| of(Some(op)));
        let items = of(None);
        let scope = writing
            .scope
            .child()
            .with("items", &items)
            .with("creates", &creates)
            .with("updates", &updates)
            .with("deletes", &deletes)
            .with("group", &portion.group);
        let first = portion.elements.first().map_or(Op::Update, |element| element.write.op);
        let alike = portion.elements.iter().all(|element| element.write.op == first);
        let verb = verb(if alike { first } else { Op::Update });
        writing.exchange.requester(verb, &scope).call(&self.call, None).await
    }
}

/// The writes of one request.
pub struct Portion {
    group: Value,
    elements: Vec<Element>,
}

struct Element {
    write: Write,
    item: Value,
}

/// A write's own variables, without its result.
struct Own {
    key: Value,
    id: Value,
    op: Value,
}

impl Own {
    fn of(write: &Write) -> Self {
        Self {
            key: write.key.as_str().into(),
            id: write.id.as_deref().map_or(Value::Null, Value::from),
            op: word(write.op).into(),
        }
    }
}

/// The answer to a portion, with the result of each element.
struct Answered<'a> {
    batch: &'a Batch,
    writing: &'a Writing<'a>,
    answer: &'a Answer,
}

impl Answered<'_> {
    fn outcomes(&self, elements: &[Element]) -> Vec<Outcome> {
        let Some(places) = &self.batch.results else {
            let done = |element: &Element| outcome(&element.write, self.recorded(element, &Value::Null));
            return elements.iter().map(done).collect();
        };
        let lists = Lists::read(places, self.answer, self.writing.scope);
        let numbers = lists.numbers(elements);
        let result = |(element, place): (&Element, (usize, usize))| {
            let result = match self.result(element, &lists, place) {
                Ok(result) => self.evaluate(element, &result),
                Err(problem) => Err(self.answer.failure(verb(element.write.op).in_doubt(), &problem)),
            };
            outcome(&element.write, result)
        };
        elements.iter().zip(numbers).map(result).collect()
    }

    /// The result of one element.
    fn result(&self, element: &Element, lists: &Lists, (number, expected): (usize, usize)) -> Result<Value, String> {
        let results = lists.of(element.write.op)?;
        if let Some(matches) = &self.batch.matches {
            let own = Own::of(&element.write);
            let is_its = |result: &&Value| matches.eval_bool(&self.scope(&own, element, result)).unwrap_or(false);
            let found = results.iter().find(is_its);
            return found.cloned().ok_or_else(|| "the answer holds no result of this item".into());
        }
        if results.len() != expected {
            return Err(format!(
                "the answer holds {} results for {expected} items: they cannot be matched",
                results.len()
            ));
        }
        results.get(number).cloned().ok_or_else(|| "the answer holds no result of this item".into())
    }

    /// Evaluate a single result: its error, or what it says about the write.
    fn evaluate(&self, element: &Element, result: &Value) -> Result<Written, Failure> {
        let (batch, write) = (self.batch, &element.write);
        let own = Own::of(write);
        let seen = self.scope(&own, element, result);
        // If a result lacks the member that an error would have, it is a success.
        let error = batch.error.as_ref().and_then(|error| error.eval(&seen).ok()).unwrap_or_default();
        let well = match &error {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        };
        if well {
            return self.recorded(element, result);
        }
        let text = |expr: &Option<Expr>| expr.as_ref().and_then(|expr| text_of(&expr.eval(&seen).ok()?));
        let class =
            text(&batch.class).and_then(|class| serde_json::from_value(class.into()).ok()).unwrap_or(Class::Rejected);
        let said = text(&batch.message).or_else(|| {
            let message = error.get("message").unwrap_or(&error);
            message.as_str().map(str::to_owned)
        });
        let said = said.unwrap_or_else(|| "the item was refused without a reason".into());
        let mut failure = self.answer.failure(class, &self.answer.line(&said));
        failure.field = text(&batch.field).filter(|field| !field.is_empty());
        match (&write.id, write.op, class) {
            (Some(id), Op::Delete, Class::Missing) => Ok(Written { id: id.clone(), ..Written::default() }),
            _ => Err(failure),
        }
    }

    fn recorded(&self, element: &Element, result: &Value) -> Result<Written, Failure> {
        let own = Own::of(&element.write);
        let seen = self.scope(&own, element, result);
        self.batch.answer_fields.read(&element.write, self.writing.entity, &seen, Some(self.answer))
    }

    /// The variables of an expression on a result.
    fn scope<'b>(&'b self, own: &'b Own, element: &'b Element, result: &'b Value) -> Scope<'b> {
        self.answer
            .scope(self.writing.scope)
            .with("item", &element.item)
            .with("result", result)
            .with("key", &own.key)
            .with("id", &own.id)
            .with("op", &own.op)
    }
}

/// The results of an answer, by the list that holds them.
struct Lists(Vec<(Option<Op>, List)>);

/// The results, or why they cannot be told apart.
type List = Result<Vec<Value>, String>;

impl Lists {
    fn read(places: &Places, answer: &Answer, scope: &Scope<'_>) -> Self {
        let seen = answer.scope(scope);
        let list = |expr: &Expr| match expr.eval(&seen) {
            Ok(Value::Array(results)) => Ok(results),
            Ok(_) => Err(format!("the answer's results (`{}`) are no list", expr.text())),
            Err(error) => Err(format!("the answer holds no results: {error}")),
        };
        Self(match places {
            Places::All(expr) => vec![(None, list(expr))],
            Places::ByOp(exprs) => exprs.iter().map(|(op, expr)| (Some(*op), list(expr))).collect(),
        })
    }

    /// For each element: its index in its list, and the expected length of that list.
    fn numbers(&self, elements: &[Element]) -> Vec<(usize, usize)> {
        let by_op = self.0.iter().any(|(op, _)| op.is_some());
        let mut numbers = Vec::with_capacity(elements.len());
        let name = |element: &Element| if by_op { word(element.write.op) } else { "all" };
        let mut totals = std::collections::BTreeMap::new();
        for element in elements {
            let count = totals.entry(name(element)).or_insert(0_usize);
            numbers.push((*count, 0));
            *count += 1;
        }
        for (number, element) in numbers.iter_mut().zip(elements) {
            number.1 = totals.get(name(element)).copied().unwrap_or_default();
        }
        numbers
    }

    /// The results for one kind of write.
    fn of(&self, op: Op) -> Result<&[Value], String> {
        match self.0.iter().find(|(own, _)| own.is_none_or(|own| own == op)) {
            Some((_, Ok(results))) => Ok(results),
            Some((_, Err(problem))) => Err(problem.clone()),
            None => Err("the adapter names no results for this kind of write".into()),
        }
    }
}

fn outcome(write: &Write, result: Result<Written, Failure>) -> Outcome {
    Outcome { job: write.job, result, requests: 1 }
}

fn is_of_an_item(class: Class) -> bool {
    matches!(class, Class::Rejected | Class::Conflict | Class::Missing)
}

/// A portion that was refused as a whole.
struct Refused {
    portion: Portion,
    failure: Failure,
}

impl Refused {
    fn outcomes(self) -> Vec<Outcome> {
        let refused = |element: &Element| outcome(&element.write, Err(self.failure.for_another()));
        self.portion.elements.iter().map(refused).collect()
    }
}
