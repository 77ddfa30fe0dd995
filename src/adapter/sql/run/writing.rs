//! Carries out creates, updates and deletes. Many writes share a transaction. If one of them is refused, all are done
//! again with a savepoint each, so a refused write affects no other.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    binding::{Bound, setting},
    database::{Mode, Session},
    failure::{Phase, QueryError},
    system::SqlSystem,
    value::Answer,
};
use crate::{
    adapter::{
        run::{base_scope, fatal, rejected, write_scope},
        sql::compile::{Entity, Operation, Step},
    },
    expr::{Scope, text_of},
    failure::{Class, Failure},
    port::{Op, Outcome, Write, Written},
};

/// A write in a transaction that is not committed yet.
struct Done {
    written: Written,
    requests: u32,
}

impl SqlSystem {
    pub(super) async fn write_all(&self, entity: &Entity, writes: &[Write]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(writes.len());
        for writes in writes.chunks(entity.writing.most.max(1)) {
            outcomes.extend(self.write_together(entity, writes).await);
        }
        outcomes
    }

    /// Use one transaction for all writes. If one is refused, try again in a way that lets each fail alone.
    async fn write_together(&self, entity: &Entity, writes: &[Write]) -> Vec<Outcome> {
        match self.attempt(entity, writes, false).await {
            Ok(results) => results,
            Err(failure) if writes.len() > 1 && alone(failure.class) => {
                match self.attempt(entity, writes, true).await {
                    Ok(results) => results,
                    Err(failure) => all_failed(writes, &failure),
                }
            }
            Err(failure) => all_failed(writes, &failure),
        }
    }

    /// # Errors
    /// Failures that affect all writes: without savepoints the first failure, with savepoints only a failure that
    /// ends the transaction.
    async fn attempt(&self, entity: &Entity, writes: &[Write], apart: bool) -> Result<Vec<Outcome>, Failure> {
        let doing = format!("{}/{}: write", self.name, entity.name);
        let lost = |error: sqlx::Error| QueryError::from(error).into_failure(&doing, Phase::Running);
        let session = self.begin(Mode::Write, &doing).await?;
        let mut transaction = Transaction { system: self, entity, session, doing: &doing };
        let mut results: Vec<Result<Done, Failure>> = Vec::with_capacity(writes.len());
        for write in writes {
            if !apart {
                results.push(Ok(transaction.write_one(write).await?));
                continue;
            }
            transaction.session.mark().await.map_err(lost)?;
            match transaction.write_one(write).await {
                Ok(done) => {
                    transaction.session.keep().await.map_err(lost)?;
                    results.push(Ok(done));
                }
                Err(failure) if alone(failure.class) => {
                    transaction.session.undo().await.map_err(lost)?;
                    results.push(Err(failure));
                }
                Err(failure) => return Err(failure),
            }
        }
        transaction.read_back(writes, &mut results).await?;
        let commit = transaction.session.commit().await;
        commit.map_err(|(error, phase)| QueryError::from(error).into_failure(&doing, phase))?;
        let outcome = |(write, result): (&Write, Result<Done, Failure>)| match result {
            Ok(done) => Outcome { job: write.job, result: Ok(done.written), requests: done.requests },
            Err(failure) => Outcome { job: write.job, result: Err(failure), requests: 1 },
        };
        Ok(writes.iter().zip(results).map(outcome).collect())
    }
}

/// The writes of one open transaction.
struct Transaction<'a> {
    system: &'a SqlSystem,
    entity: &'a Entity,
    session: Session,
    /// What is being done, for messages.
    doing: &'a str,
}

impl Transaction<'_> {
    /// Fill in what was stored, as `list` would show it, unless the statements gave it.
    async fn read_back(&mut self, writes: &[Write], results: &mut [Result<Done, Failure>]) -> Result<(), Failure> {
        if self.entity.read.is_none() {
            return Ok(());
        }
        let without_row = |write: &Write, result: &Result<Done, Failure>| match result {
            Ok(done) if write.op != Op::Delete && done.written.stored.is_none() => Some(done.written.id.clone()),
            _ => None,
        };
        let ids: Vec<String> = writes.iter().zip(results.iter()).filter_map(|(w, r)| without_row(w, r)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut stored: BTreeMap<String, (Value, Option<String>)> = BTreeMap::new();
        let rows = self.system.read_within(&mut self.session, self.entity, &ids, self.doing).await?;
        for row in rows {
            stored.insert(row.id, (row.body.into_value(), row.version));
        }
        for (write, result) in writes.iter().zip(results) {
            let lacks_row = without_row(write, result).is_some();
            if let (Ok(done), true) = (result, lacks_row)
                && let Some((row, version)) = stored.get(&done.written.id)
            {
                done.written.stored = Some(row.clone());
                done.written.version = done.written.version.take().or_else(|| version.clone());
            }
        }
        Ok(())
    }

    async fn write_one(&mut self, write: &Write) -> Result<Done, Failure> {
        let (system, entity, doing) = (self.system, self.entity, self.doing);
        let Some(operation) = entity.writing.operation(write.op) else {
            let message = format!("{doing}: the adapter declares no such operation for this entity");
            return Err(Failure::new(Class::Fatal, message));
        };
        let name = Value::from(entity.name.as_str());
        let base = base_scope(&system.settings, &name);
        let child_ids = serde_json::to_value(&write.child_ids).unwrap_or_default();
        let held = serde_json::to_value(&write.held).unwrap_or_default();
        let dropped = serde_json::to_value(&write.dropped).unwrap_or_default();
        let yielding = serde_json::to_value(&write.yielding).unwrap_or_default();
        let id = write.id.as_deref().map_or(Value::Null, Value::from);
        let scope = write_scope(&base, write, (&id, &child_ids))
            .with("held", &held)
            .with("dropped", &dropped)
            .with("yielding", &yielding);
        let mut captures = Map::new();
        let mut answer = Answer::default();
        let mut requests = 0;
        for step in &operation.steps {
            let with_captures = captured(&scope, &captures);
            if let Some(when) = &step.when
                && !when.eval_bool(&with_captures).map_err(rejected)?
            {
                continue;
            }
            if let Some(refuse) = &step.refuse
                && let Some(why) =
                    text_of(&refuse.eval(&with_captures).map_err(rejected)?).filter(|why| !why.is_empty())
            {
                return Err(Failure::new(Class::Rejected, why));
            }
            let items = match &step.for_each {
                None => vec![None],
                Some(list) => match list.eval(&with_captures).map_err(rejected)? {
                    Value::Array(items) => items.into_iter().map(Some).collect(),
                    Value::Null => Vec::new(),
                    _ => return Err(rejected(list.error("is not a list"))),
                },
            };
            drop(with_captures);
            for (index, item) in items.iter().enumerate() {
                let mut scope = captured(&scope, &captures);
                if let Some(item) = item {
                    scope = scope.with("item", item).with_owned("item_index", index);
                }
                let given = Given { write, captures: &captures, item: item.as_ref(), index };
                let bound = self.bind(step, &scope, &given)?;
                let doing_this = format!("{doing} {}: {}", step.name, step.query.place);
                answer = system.run(&mut self.session, bound, &doing_this).await?;
                requests += 1;
                let rows = Value::from(answer.rows.clone());
                let answered = answered(&scope, &rows, &answer);
                if let Some(missing) = &step.missing
                    && missing.eval_bool(&answered).map_err(fatal)?
                {
                    return Err(Failure::new(Class::Missing, format!("{doing}: the object is not there any more")));
                }
                let new = step
                    .capture
                    .iter()
                    .map(|(name, expr)| expr.eval(&answered).map(|value| (name.clone(), value)))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(fatal)?;
                drop(answered);
                drop(scope);
                captures.extend(new);
            }
        }
        let rows = Value::from(answer.rows.clone());
        let scope = captured(&scope, &captures);
        let scope = answered(&scope, &rows, &answer);
        let written = self.written(operation, write, &scope, &answer)?;
        Ok(Done { written, requests })
    }

    /// Take the statement's parameters from the first of these that has them: `bind`, a setting by `settings_NAME`,
    /// the item, captures, the write itself, the body, the whole object.
    fn bind(&self, step: &Step, scope: &Scope<'_>, given: &Given<'_>) -> Result<Bound, Failure> {
        let mut own = Map::new();
        for (name, template) in &step.bind {
            own.insert(name.clone(), template.render(scope).map_err(rejected)?.unwrap_or_default());
        }
        step.query.statement.bind(|name| {
            let found = own
                .get(name)
                .cloned()
                .or_else(|| setting(name, &self.system.settings).cloned())
                .or_else(|| given.value(name))
                .or_else(|| {
                    self.entity.writing.optional.iter().any(|optional| optional == name).then_some(Value::Null)
                });
            found.ok_or_else(|| step.query.unknown(name))
        })
    }

    fn written(
        &self,
        operation: &Operation,
        write: &Write,
        scope: &Scope<'_>,
        answer: &Answer,
    ) -> Result<Written, Failure> {
        let (system, entity) = (self.system, self.entity);
        let stored = match &operation.row {
            Some(row) => Some(row.eval(scope).map_err(fatal)?).filter(Value::is_object),
            None => None,
        };
        let id = match (&operation.id, &write.id) {
            (Some(id), _) => id.eval_text(scope).map_err(fatal)?,
            (None, Some(id)) => id.clone(),
            (None, None) => {
                let name = Value::from(entity.name.as_str());
                let base = base_scope(&system.settings, &name);
                let row = stored.as_ref().or(answer.rows.first()).ok_or_else(|| {
                    let message = "the new id is not known: give `id`, or let the statement return the row (RETURNING)";
                    Failure::new(Class::Fatal, format!("{}/{}: create: {message}", system.name, entity.name))
                })?;
                entity.id.eval_text(&base.on_row(row)).map_err(fatal)?
            }
        };
        let version = operation.version.as_ref().map(|version| version.eval(scope)).transpose().map_err(fatal)?;
        let mut child_ids = BTreeMap::new();
        for (list, expr) in &operation.child_ids {
            let ids = match expr.eval(scope).map_err(fatal)? {
                Value::Object(members) => members,
                Value::Null => Map::new(),
                _ => return Err(fatal(expr.error("is not an object of part key to id"))),
            };
            let ids =
                ids.into_iter().filter_map(|(key, value)| Some((key, text_of(value.get("id").unwrap_or(&value))?)));
            child_ids.insert(list.clone(), ids.collect());
        }
        Ok(Written { id, stored, version: version.and_then(|version| text_of(&version)), child_ids })
    }
}

/// Whether a failure concerns one record only, so the transaction can go on.
fn alone(class: Class) -> bool {
    matches!(class, Class::Rejected | Class::Missing | Class::Conflict | Class::Unmapped)
}

fn all_failed(writes: &[Write], failure: &Failure) -> Vec<Outcome> {
    let refused = |write: &Write| Outcome { job: write.job, result: Err(failure.for_another()), requests: 1 };
    writes.iter().map(refused).collect()
}

fn captured<'a>(scope: &'a Scope<'a>, captures: &Map<String, Value>) -> Scope<'a> {
    let mut scope = scope.child();
    for (name, value) in captures {
        scope = scope.with_owned(name.clone(), value.clone());
    }
    scope
}

fn answered<'a>(scope: &'a Scope<'a>, rows: &'a Value, answer: &Answer) -> Scope<'a> {
    scope
        .child()
        .with("rows", rows)
        .with_owned("affected", answer.affected)
        .with_owned("last_id", answer.last_id.map_or(Value::Null, Value::from))
}

/// The sources of parameters.
struct Given<'a> {
    write: &'a Write,
    captures: &'a Map<String, Value>,
    item: Option<&'a Value>,
    index: usize,
}

impl Given<'_> {
    fn value(&self, name: &str) -> Option<Value> {
        if let Some(item) = self.item {
            match name {
                "item" => return Some(item.clone()),
                "item_index" => return Some(Value::from(self.index)),
                _ => {}
            }
            if let Some(member) = name.strip_prefix("item_").and_then(|member| item.get(member)) {
                return Some(member.clone());
            }
        }
        if let Some(value) = self.captures.get(name) {
            return Some(value.clone());
        }
        match name {
            "key" => Some(Value::from(self.write.key.as_str())),
            "id" => self.write.id.as_deref().map(Value::from),
            _ => self.write.body.get(name).or_else(|| self.write.whole.get(name)).cloned(),
        }
    }
}
