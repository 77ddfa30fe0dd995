//! The live part of `vaiven explain --live`: what systems hold of a record right now, compared with what is known
//! of it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use super::canonical;
use crate::{
    mapping::Fields,
    model::EntitySpec,
    store::{Replica, Result, SharedStore},
    sync::{self, Context},
};

/// What one system holds right now.
#[derive(Serialize)]
pub struct Now {
    pub system: String,
    pub id: String,
    /// Whether its whole listing was read because it cannot be read by key.
    pub listed: bool,
    /// Why it could not be read.
    pub error: Option<String>,
    /// Absent if the system has no such object, or if it could not be read.
    pub fields: Option<Map<String, Value>>,
    /// Fields whose value differs from the known one.
    pub otherwise: BTreeSet<String>,
}

/// Read the systems that are known to hold the record.
pub async fn now(
    context: &Context,
    spec: &EntitySpec,
    replicas: &[Replica],
    store: &SharedStore,
    (personal, only): (bool, Option<&str>),
) -> Result<Vec<Now>> {
    let mut all = Vec::with_capacity(replicas.len());
    for replica in replicas {
        let live = sync::live(context, replica).await?;
        let reads = context.mappings.get(&(replica.system.clone(), spec.entity.clone())).map(|mapping| mapping.reads());
        let is_asked = |field: &String| only.is_none_or(|only| only == field);
        let otherwise = |held: &Fields| -> BTreeSet<String> {
            let fields = reads.into_iter().flatten().filter(|field| is_asked(field));
            fields.filter(|field| held.get(*field) != replica.fields.get(*field)).cloned().collect()
        };
        let (error, held) = match live.fields {
            Ok(held) => (None, held),
            Err(error) => (Some(error), None),
        };
        let fields = match &held {
            Some(held) => {
                let keys = store.keys(&canonical::records(&spec.fields, held)).await?;
                let mut shown = canonical::Shown { keys, personal }.fields(&spec.fields, held);
                shown.retain(|field, _| is_asked(field));
                Some(shown)
            }
            None => None,
        };
        all.push(Now {
            system: live.system,
            id: live.id,
            listed: live.listed,
            error,
            otherwise: held.as_ref().map(otherwise).unwrap_or_default(),
            fields,
        });
    }
    Ok(all)
}

/// One line per system that was read.
pub fn lines(now: &[Now]) -> Vec<String> {
    let line = |now: &Now| {
        let how = if now.listed { ", from its whole listing, since it cannot be read by key" } else { "" };
        let system = &now.system;
        match (&now.error, &now.fields) {
            (Some(error), _) => format!("{system} could not be read now: {error}"),
            (None, None) => format!("{system} has no object {} now{how}", now.id),
            (None, Some(_)) if now.otherwise.is_empty() => format!("{system} now: as known{how}"),
            (None, Some(_)) => {
                let fields: Vec<&str> = now.otherwise.iter().map(String::as_str).collect();
                format!("{system} now: differs from what is known in {}{how}", fields.join(", "))
            }
        }
    };
    now.iter().map(line).collect()
}
