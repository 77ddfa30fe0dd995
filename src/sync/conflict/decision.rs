//! A person decides a conflict.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    mapping::Fields,
    store::{Conflict, ConflictKind, MergedWrite, NewJob, Replica, Settlement, SharedStore, StoreError},
    sync::{
        conflict::shared::known,
        routing::{Routes, priority},
    },
};

/// The value that a person chooses for the field.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The value that this system has.
    Take(String),
    /// Another value, in canonical form.
    Value(Value),
}

/// A decision that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    #[error("{system} is not known to hold this {entity}; these systems do: {known}")]
    NoSuchSystem { system: String, entity: String, known: String },
    #[error("{field} belongs to another system, so it cannot be given a value here; take what one of the systems has")]
    Owned { field: String },
    #[error("this conflict was settled meanwhile")]
    Resolved,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Carry out a decision: one transaction, from which the deliveries follow.
///
/// # Errors
/// If the decision names a system that does not hold the record, or if the conflict was resolved meanwhile.
pub async fn decide(
    store: &SharedStore,
    routes: &Routes,
    conflict: &Conflict,
    decision: &Decision,
    now: DateTime<Utc>,
) -> Result<(), DecisionError> {
    let replicas = store.replicas_of(&[conflict.record]).await?;
    let value = match decision {
        Decision::Value(value) => value.clone(),
        Decision::Take(system) => known_at(&replicas, conflict, system)?,
    };
    let (settlement, targets) = match conflict.kind {
        ConflictKind::Conflict => {
            let merged = store.merged(&[conflict.record]).await?.remove(&conflict.record).unwrap_or_default();
            let mut fields = merged.fields;
            fields.insert(conflict.field.clone(), value);
            let write = MergedWrite { record: conflict.record, revision: merged.revision, fields };
            (Settlement::Merged(write), routes.targets_of(&conflict.entity).into_iter().collect())
        }
        ConflictKind::Drift => match decision {
            Decision::Value(_) => return Err(DecisionError::Owned { field: conflict.field.clone() }),
            Decision::Take(system) if *system == conflict.system => (Settlement::Leave, Vec::new()),
            Decision::Take(_) => (Settlement::Repair, vec![conflict.system.as_str()]),
        },
    };
    let priority = priority::of(&conflict.entity, &Fields::new());
    let jobs: Vec<NewJob> = targets
        .into_iter()
        .map(|target| NewJob {
            target: target.to_owned(),
            entity: conflict.entity.clone(),
            record: conflict.record,
            priority,
            due: None,
        })
        .collect();
    match store.resolve_conflict(conflict, &settlement, &jobs, now).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(StoreError::Stale(_)) => Err(DecisionError::Resolved),
        Err(error) => Err(error.into()),
    }
}

fn known_at(replicas: &[Replica], conflict: &Conflict, system: &str) -> Result<Value, DecisionError> {
    let mut live = replicas.iter().filter(|replica| replica.gone_at.is_none());
    live.clone().find(|replica| replica.system == system).map_or_else(
        || {
            let known: Vec<&str> = live.by_ref().map(|replica| replica.system.as_str()).collect();
            Err(DecisionError::NoSuchSystem {
                system: system.to_owned(),
                entity: conflict.entity.clone(),
                known: known.join(", "),
            })
        },
        |replica| Ok(known(&replica.fields, &replica.sent, &conflict.field)),
    )
}
