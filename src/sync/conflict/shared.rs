//! Shared fields: nobody owns them, and changes of all sides are merged.
//!
//! The record has one merged value for each shared field. The base is what a system was last known to hold: a
//! change of that system changes the merged value. If the merged value has changed as well, both changes are
//! merged. If they cannot be merged, the field is in conflict at that system until a person (or the flow's policy)
//! decides. No clock is asked.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;

use crate::{
    mapping::{Fields, Translate},
    model::{FieldSpec, Shape, lay},
    store::{Conflict, ConflictKind, ConflictMark, Merged, MergedWrite, RecordId, Replica, Result},
    sync::{
        conflict::{
            Clash,
            echo::is_echo,
            merge::{self, Prefer},
        },
        context::Context,
        routing::{ConflictPolicy, DriftPolicy},
    },
};

/// A field's value as the engine knows it for a system: what the system was sent if it stores something else,
/// otherwise what it stores.
pub(in crate::sync) fn known(fields: &Fields, sent: &Fields, field: &str) -> Value {
    sent.get(field).or_else(|| fields.get(field)).cloned().unwrap_or(Value::Null)
}

/// Return the first merged values of fields that were never merged, as after their flow has joined: the value of
/// the one system that has one; of several, that of the system from which the entity comes.
pub(in crate::sync) async fn agreed_first(
    context: &Context,
    entity: &str,
    records: &[RecordId],
) -> Result<Vec<MergedWrite>> {
    let Some(shared) = context.routes.shared(entity).filter(|_| !records.is_empty()) else { return Ok(Vec::new()) };
    let stood = context.store.merged(records).await?;
    let mut said: BTreeMap<RecordId, Vec<Replica>> = BTreeMap::new();
    for replica in context.store.replicas_of(records).await? {
        let is_live = replica.gone_at.is_none() && !replica.fields.is_empty();
        if is_live && context.mapping(&replica.system, entity).is_some() {
            said.entry(replica.record).or_default().push(replica);
        }
    }
    let mut writes = Vec::new();
    for (record, mut replicas) in said {
        replicas.sort_by_key(|replica| !context.routes.leads(entity, &replica.system));
        let stood = stood.get(&record).cloned().unwrap_or_default();
        let mut now = stood.fields.clone();
        for field in shared.iter().filter(|field| !stood.fields.contains_key(*field)) {
            let opinion = replicas.iter().map(|replica| known(&replica.fields, &replica.sent, field));
            if let Some(value) = opinion.into_iter().find(|value| !value.is_null()) {
                now.insert(field.clone(), value);
            }
        }
        if now != stood.fields {
            writes.push(MergedWrite { record, revision: stood.revision, fields: now });
        }
    }
    Ok(writes)
}

/// Merges the shared fields of a page's records.
pub(in crate::sync) struct Shared<'a> {
    context: &'a Context,
    system: &'a str,
    entity: &'a str,
    /// Shared fields that the system shows.
    fields: Vec<(&'a str, &'a FieldSpec)>,
    /// Which parts of each it shows.
    shapes: &'a BTreeMap<String, Shape>,
    merged: BTreeMap<RecordId, Merged>,
    /// Conflicts that are open at this system.
    open: BTreeMap<(RecordId, String), Conflict>,
    /// Values that this system may have been sent meanwhile.
    sent_shared: BTreeMap<RecordId, Fields>,
}

/// What a record's change did to its shared fields.
#[derive(Debug, Default)]
pub(in crate::sync) struct SharedChange {
    pub(in crate::sync) merged: Option<MergedWrite>,
    pub(in crate::sync) conflicts: Vec<ConflictMark>,
    /// Whether the system that changed them has to be written to itself.
    pub(in crate::sync) write_back: bool,
}

impl<'a> Shared<'a> {
    /// Load what a page needs. `None` if no field of the entity is shared and no drift is reported: then a page
    /// costs nothing more.
    pub(in crate::sync) async fn of(
        context: &'a Context,
        system: &'a str,
        entity: &'a str,
        mapping: &'a dyn Translate,
        records: &[RecordId],
    ) -> Result<Option<Self>> {
        let spec = context.entities.get(entity);
        let (reads, shapes) = (mapping.reads(), mapping.read_shapes());
        let shared = context.routes.shared(entity).into_iter().flatten();
        let fields: Vec<_> = shared
            .filter(|field| reads.contains(*field))
            .filter_map(|field| Some((field.as_str(), spec?.fields.get(field)?)))
            .collect();
        let reports =
            || reads.iter().any(|field| context.routes.drift(entity, field, system) == Some(DriftPolicy::Report));
        if fields.is_empty() && !reports() {
            return Ok(None);
        }
        let merged = if fields.is_empty() { BTreeMap::new() } else { context.store.merged(records).await? };
        let sent_shared =
            if fields.is_empty() { BTreeMap::new() } else { context.store.sent_shared_fields(system, records).await? };
        let open = context.store.conflicts_of(records).await?.into_iter().filter(|conflict| conflict.system == system);
        let open = open.map(|conflict| ((conflict.record, conflict.field.clone()), conflict)).collect();
        Ok(Some(Self { context, system, entity, fields, shapes, merged, open, sent_shared }))
    }

    /// Merge a system's change into the merged fields. `before` is `None` at first contact. What the system made of
    /// a value that we sent is recorded in `sent`, and is no change of its own.
    pub(in crate::sync) async fn take(
        &self,
        record: RecordId,
        before: Option<&Replica>,
        fields: &Fields,
        sent: &mut Fields,
    ) -> Result<SharedChange> {
        let mut moved = SharedChange::default();
        let stood = self.merged.get(&record).cloned().unwrap_or_default();
        let mut now = stood.fields.clone();
        for (field, spec) in &self.fields {
            let ours = stood.fields.get(*field);
            // The system has no opinion on the parts that it does not show: they keep the merged value.
            let mut theirs = match (ours, self.shapes.get(*field), sent.contains_key(*field)) {
                (Some(ours), Some(shape), false) => lay(Some(spec), shape, ours, &known(fields, sent, field)),
                _ => known(fields, sent, field),
            };
            let stood_there = before.map(|before| known(&before.fields, &before.sent, field));
            let echoed = self.sent_shared.get(&record).and_then(|echoed| echoed.get(*field));
            let echoed =
                echoed.filter(|echoed| stood_there.as_ref() != Some(&theirs) && is_echo(echoed, &theirs)).cloned();
            if let Some(echoed) = &echoed {
                if *echoed != theirs {
                    sent.insert((*field).to_owned(), echoed.clone());
                }
                theirs.clone_from(echoed);
            }
            let conflict =
                self.open.get(&(record, (*field).to_owned())).filter(|one| one.kind == ConflictKind::Conflict);
            let base = echoed.or_else(|| conflict.map(|conflict| conflict.base.clone())).or(stood_there);
            let outcome = match (ours, base) {
                (None, _) => Ok(theirs.clone()),
                // First contact: the last value on which they agreed is not known. An absent value is no opinion.
                // If there are two opinions, that of the system counts from which the entity comes.
                (Some(ours), None) => {
                    let counts =
                        !theirs.is_null() && (ours.is_null() || self.context.routes.leads(self.entity, self.system));
                    Ok(if counts { theirs.clone() } else { ours.clone() })
                }
                (Some(ours), Some(base)) => {
                    self.merge(record, field, spec, [&base, ours, &theirs]).await?.map_err(|Clash| base)
                }
            };
            match outcome {
                Ok(value) => {
                    moved.write_back |= value != theirs;
                    if conflict.is_some() {
                        // The system's job waits for a decision that is no longer needed.
                        moved.write_back = true;
                        moved.conflicts.push(mark(record, field, None, Value::Null));
                    }
                    if ours != Some(&value) && !(ours.is_none() && value.is_null()) {
                        now.insert((*field).to_owned(), value);
                    }
                }
                Err(base) => {
                    moved.write_back = true;
                    moved.conflicts.push(mark(record, field, Some(ConflictKind::Conflict), base));
                }
            }
        }
        if now != stood.fields {
            moved.merged = Some(MergedWrite { record, revision: stood.revision, fields: now });
        }
        Ok(moved)
    }

    async fn merge(
        &self,
        record: RecordId,
        field: &str,
        spec: &FieldSpec,
        [base, ours, theirs]: [&Value; 3],
    ) -> Result<std::result::Result<Value, Clash>> {
        let merge = |prefer| merge::merge(spec, base, ours, theirs, prefer).map(Cow::into_owned);
        let merged = merge(Prefer::Nobody);
        let (Err(Clash), ConflictPolicy::Prefer(winner)) =
            (&merged, self.context.routes.conflict_policy(self.entity, field))
        else {
            return Ok(merged);
        };
        if winner == self.system {
            return Ok(merge(Prefer::Theirs));
        }
        // The merged value may be a third system's, which is preferred to nobody's.
        let replicas = self.context.store.replicas_of(&[record]).await?;
        let holds = |replica: &Replica| {
            replica.system == winner
                && replica.gone_at.is_none()
                && known(&replica.fields, &replica.sent, field) == *ours
        };
        Ok(if replicas.iter().any(holds) { merge(Prefer::Ours) } else { merged })
    }

    /// For an edit of a field that another system owns, if the flow reports drift: return what happens to the
    /// conflict.
    pub(in crate::sync) fn drifted(
        &self,
        record: RecordId,
        field: &str,
        before: &Replica,
        now: &Value,
    ) -> Option<ConflictMark> {
        let conflict = self.open.get(&(record, field.to_owned())).filter(|one| one.kind == ConflictKind::Drift);
        match conflict {
            Some(conflict) if conflict.base == *now => Some(mark(record, field, None, Value::Null)),
            Some(_) => None,
            None => {
                let base = known(&before.fields, &before.sent, field);
                Some(mark(record, field, Some(ConflictKind::Drift), base))
            }
        }
    }
}

pub(in crate::sync) fn mark(record: RecordId, field: &str, kind: Option<ConflictKind>, base: Value) -> ConflictMark {
    ConflictMark { record, field: field.to_owned(), kind, base }
}
