//! Final states that one side has left: an order was cancelled in two systems, and goes on in one of them. The
//! states alone do not say whether that system has yet to be notified of the end, or was reopened by somebody. So
//! its replica remembers the end that it was notified of, as the value that it was sent.

use serde_json::Value;

use crate::{
    mapping::Fields,
    model::States,
    store::{ConflictKind, NewJob, PageCommit, Replica, Result},
    sync::context::Observed,
    sync::{
        conflict::shared::{known, mark},
        context::PullContext,
        routing::priority,
    },
};

/// Return the end that a system was notified of for this field and does not hold.
pub(in crate::sync) fn heard<'a>(states: &States, replica: &'a Replica, field: &str) -> Option<&'a Value> {
    let is_ended = |fields: &'a Fields| fields.get(field).filter(|state| states.has_ended(state));
    is_ended(&replica.sent).filter(|_| is_ended(&replica.fields).is_none())
}

/// Return the state of another system's object, if the two met when one had ended and the other had not: it is not
/// known which state is older. No delivery has compared either of them yet.
pub(in crate::sync) fn stranger<'a>(states: &States, replicas: &'a [Replica], here: &Replica) -> Option<&'a Value> {
    let has_ended = |state: Option<&Value>| state.is_some_and(|state| states.has_ended(state));
    let is_new = |replica: &Replica| replica.written == 0 && replica.gone_at.is_none();
    let ended = has_ended(states.of(&here.fields));
    let others = replicas.iter().filter(|other| other.system != here.system && is_new(other) && is_new(here));
    others.filter_map(|other| states.of(&other.fields)).find(|state| has_ended(Some(state)) != ended)
}

/// Forget an end that a target was notified of if no system has it any more. Return true if there was one. The next
/// end counts as new.
pub(in crate::sync) fn forget(states: &States, replicas: &[Replica], here: &mut Replica) -> bool {
    let is_over = |field: &&String| {
        heard(states, here, field).is_some() && others_with_end(states, replicas, here, field).is_empty()
    };
    let over: Vec<&String> = states.fields.iter().filter(is_over).collect();
    for field in &over {
        here.sent.remove(*field);
    }
    !over.is_empty()
}

/// Whether a write leads an object out of its end.
pub(in crate::sync) fn reopens(states: &States, before: &Fields, after: &Fields) -> bool {
    let is_ended = |fields: &Fields, field: &String| fields.get(field).is_some_and(|state| states.has_ended(state));
    states.fields.iter().any(|field| after.contains_key(field) && is_ended(before, field) && !is_ended(after, field))
}

fn others_with_end<'a>(states: &States, replicas: &'a [Replica], here: &Replica, field: &str) -> Vec<&'a Replica> {
    let others = replicas.iter().filter(|other| other.system != here.system && other.entity == here.entity);
    let live = others.filter(|other| other.gone_at.is_none());
    live.filter(|other| other.fields.get(field).is_some_and(|state| states.has_ended(state))).collect()
}

impl PullContext<'_> {
    /// Handle an end that this system has left while another system still has it: do not send the other's state
    /// again. If no flow notifies the other that the order goes on (which a brake would hold), ask a person, as for
    /// an edit that its owner is not sent.
    pub(in crate::sync) async fn leave_end(
        &self,
        Observed { record, before, fields, .. }: Observed<'_>,
        sent: &mut Fields,
        commit: &mut PageCommit,
    ) -> Result<()> {
        let (context, spec) = (self.context, self.context.entities.get(self.entity));
        let Some(states) = spec.and_then(|spec| spec.states.as_ref()) else { return Ok(()) };
        let shared = context.routes.shared(self.entity);
        for field in states.fields.iter().filter(|field| !shared.is_some_and(|shared| shared.contains(*field))) {
            let stood = known(&before.fields, &before.sent, field);
            let now = fields.get(field).unwrap_or(&Value::Null);
            if !states.has_ended(&stood) {
                continue;
            }
            if states.has_ended(now) {
                if heard(states, before, field).is_some() {
                    commit.conflicts.push(mark(record, field, None, Value::Null));
                }
                continue;
            }
            let replicas = context.store.replicas_of(&[record]).await?;
            let ended = others_with_end(states, &replicas, before, field);
            if ended.is_empty() {
                // Both go on: a job that waits here for the order to be led out of its end has nothing to wait for.
                let priority = priority::of(self.entity, fields);
                let (target, entity) = (self.system.name().to_owned(), self.entity.to_owned());
                commit.jobs.push(NewJob { target, entity, record, priority, due: None });
                continue;
            }
            let is_confirmed = |now: &Value| ended.iter().any(|other| self.says(states, field, now, &other.system));
            // The conflict was opened once: a person may have decided since.
            let was = before.fields.get(field).unwrap_or(&Value::Null);
            let was_shown = !states.has_ended(was) && !is_confirmed(was);
            match (was_shown, is_confirmed(now)) {
                (false, false) => {
                    commit.conflicts.push(mark(record, field, Some(ConflictKind::Drift), stood.clone()));
                }
                (true, true) => commit.conflicts.push(mark(record, field, None, Value::Null)),
                (true, false) | (false, true) => {}
            }
            sent.insert(field.clone(), stood);
        }
        Ok(())
    }

    /// Whether a flow brings `target` what this system says about its state.
    fn says(&self, states: &States, field: &str, now: &Value, target: &str) -> bool {
        let (routes, system) = (&self.context.routes, self.system.name());
        let writes = |mapping: &dyn crate::mapping::Translate| mapping.writes().contains(field);
        let is_written = self.context.mapping(target, self.entity).is_some_and(|mapping| writes(mapping.as_ref()));
        let mut flows =
            routes.to(target, self.entity).filter(|flow| flow.from == system && flow.brings(self.entity, field));
        (now.is_null() || states.rank(now).is_some())
            && is_written
            && flows.any(|flow| match flow.states.get(self.entity) {
                Some(allowed) => now.as_str().is_some_and(|state| allowed.contains(state)),
                None => routes.owner(self.entity, field, system, target) == Some(system),
            })
    }
}
