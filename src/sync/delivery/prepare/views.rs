//! Deliveries that set named values instead of the desired state, as an undo does.

use std::collections::BTreeSet;

use super::push::{externals, push};
use crate::{
    failure::Failure,
    mapping::{Fields, Translate},
    port::Op,
    store::{Job, Replica, Result},
    sync::desired::{Batch, Known, Loaded, Prepared, desired_of, differing::CostlyDifferences, state::Desired, unable},
};

/// A job with what is known of its record, for deliveries that set something else than the desired state.
pub(in crate::sync) struct View {
    pub(in crate::sync) job: Job,
    pub(in crate::sync) key: String,
    pub(in crate::sync) here: Option<Replica>,
    /// What the target should have by its sources.
    pub(in crate::sync) desired: std::result::Result<Desired, Failure>,
    /// Shared fields that wait for a decision.
    pub(in crate::sync) conflicts: BTreeSet<String>,
    /// Why nothing may be written about the record at all.
    pub(in crate::sync) barred: Option<&'static str>,
}

pub(in crate::sync) async fn views(batch: &Batch<'_>, mapping: &dyn Translate, jobs: Vec<Job>) -> Result<Vec<View>> {
    let loaded = Box::pin(Loaded::of(batch, &jobs)).await?;
    let view = |job: Job| {
        let replicas = loaded.replicas(job.record);
        let silent = loaded.link_context.speaking(job.record, batch.target, replicas);
        View {
            key: loaded.key(job.record).to_owned(),
            here: replicas.iter().find(|one| one.system == batch.target && one.gone_at.is_none()).cloned(),
            desired: desired_of(batch, mapping, &loaded, (job.record, false), silent.as_deref().unwrap_or(replicas)),
            conflicts: loaded.conflicts.get(&job.record).cloned().unwrap_or_default(),
            barred: loaded.link_context.barred(job.record, batch.target),
            job,
        }
    };
    Ok(jobs.into_iter().map(view).collect())
}

/// Prepare writes that set these fields of existing objects, or that delete the object if there are no fields. They
/// are prepared like any others.
pub(in crate::sync) async fn set(
    batch: &Batch<'_>,
    mapping: &dyn Translate,
    views: Vec<(View, Fields)>,
) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let mut known = Vec::with_capacity(views.len());
    for (view, fields) in views {
        let op = if fields.is_empty() { Op::Delete } else { Op::Update };
        if !(if op == Op::Delete { batch.capabilities.delete } else { batch.capabilities.update }) {
            prepared.fail(batch, &view.job, &unable(batch, op));
            continue;
        }
        known.push(Known {
            job: view.job,
            key: view.key,
            here: view.here,
            changed: fields.keys().cloned().collect(),
            desired: fields,
            op,
            ripe: None,
            was_there: false,
            found: None,
            child_ids: crate::mapping::Children::new(),
            conflicts: BTreeSet::new(),
            unsent_changes: false,
            is_unpaid: false,
            stranger: None,
            costly_differences: CostlyDifferences::new(),
            shown: None,
            unread: None,
        });
    }
    let externals = externals(batch, mapping, &known).await?;
    push(batch, mapping, known, &externals, &mut prepared).await?;
    Ok(prepared)
}
