//! The variables of a write in an adapter's expressions.

use serde_json::{Value, json};

use super::{answer::Answer, operation::verb};
use crate::{
    adapter::http::compile::{AnswerFields, Entity, word},
    expr::{Expr, ExprError, Scope, text_of},
    failure::Failure,
    port::{Op, SourceRow, Write, Written},
    wait_reason::WaitReason,
};

/// The values of a write's variables that are not in the [`Write`] itself.
pub struct Variables {
    op: Value,
    key: Value,
    id: Value,
    child_ids: Value,
    held: Value,
    dropped: Value,
    yielding: Value,
    changed: Value,
    found: Value,
}

impl Variables {
    #[must_use]
    pub fn of(write: &Write) -> Self {
        let op = word(write.op);
        let found = write.found.as_ref();
        Self {
            op: op.into(),
            key: write.key.as_str().into(),
            id: write.id.as_deref().or(found.map(|row| row.id.as_str())).map_or(Value::Null, Value::from),
            child_ids: json!(write.child_ids),
            held: json!(write.held),
            dropped: json!(write.dropped),
            yielding: json!(write.yielding),
            changed: write.changed.iter().map(String::as_str).collect(),
            found: found.map_or(Value::Null, |row: &SourceRow| row.body.clone().into_value()),
        }
    }

    #[must_use]
    pub fn scope<'a>(&'a self, write: &'a Write, scope: &'a Scope<'a>) -> Scope<'a> {
        scope
            .child()
            .with("op", &self.op)
            .with("body", &write.body)
            .with("sent", &write.body)
            .with("whole", &write.whole)
            .with("wanted", &write.desired)
            .with("before", &write.before)
            .with("key", &self.key)
            .with("id", &self.id)
            .with("parts", &self.child_ids)
            .with("held", &self.held)
            .with("dropped", &self.dropped)
            .with("yielding", &self.yielding)
            .with("changed", &self.changed)
            .with("found", &self.found)
    }
}

impl AnswerFields {
    /// Read what an answer (in `scope`) says about a write. For a create it must contain the id: without it nobody
    /// knows which object was created.
    ///
    /// # Errors
    /// If the answer does not contain what the adapter expects.
    pub fn read(
        &self,
        write: &Write,
        entity: &Entity,
        scope: &Scope<'_>,
        answer: Option<&Answer>,
    ) -> Result<Written, Failure> {
        let odd = |error: ExprError| {
            let message = format!("the write was made, but its answer is not as expected: {error}");
            unclear(write.op, answer, &message).with_cause(WaitReason::file(&error.place))
        };
        let stored = match &self.row {
            Some(row) => Some(row.eval(scope).map_err(odd)?).filter(Value::is_object),
            None => None,
        };
        let on_row = |expr: &Expr| stored.as_ref().and_then(|row| expr.eval(&scope.on_row(row)).ok());
        let id = match (&self.id, write.op) {
            (Some(id), _) => text_of(&id.eval(scope).map_err(odd)?),
            (None, Op::Create) => on_row(&entity.id).as_ref().and_then(text_of),
            (None, _) => None,
        };
        let id = id.filter(|id| !id.is_empty()).or_else(|| write.id.clone());
        let Some(id) = id else {
            return Err(unclear(write.op, answer, "the object was created, but the answer holds no id of it"));
        };
        let version = match &self.version {
            Some(version) => text_of(&version.eval(scope).map_err(odd)?),
            None => entity.version.as_ref().and_then(on_row).as_ref().and_then(text_of),
        };
        let mut written = Written { id, stored, version, ..Written::default() };
        for (list, expr) in &self.child_ids {
            let ids = expr.eval(scope).map_err(odd)?;
            let members = ids.as_object().into_iter().flatten();
            let named = members.filter_map(|(key, part)| {
                let id = if part.is_object() { part.get("id")? } else { part };
                Some((key.clone(), text_of(id)?))
            });
            written.child_ids.insert(list.clone(), named.collect());
        }
        Ok(written)
    }
}

fn unclear(op: Op, answer: Option<&Answer>, message: &str) -> Failure {
    let class = verb(op).in_doubt();
    match answer {
        Some(answer) => answer.failure(class, message),
        None => Failure::new(class, message),
    }
}
