//! What a target holds otherwise than it was sent, and how its flows handle that.

use std::collections::BTreeMap;

use crate::{
    store::Verdict,
    sync::{desired::Batch, routing::MissingPolicy},
    wait_reason::WaitReason,
};

/// Fields that a target holds otherwise than they were sent and that cost money; each with the text that is
/// reported.
pub(in crate::sync) type CostlyDifferences = BTreeMap<String, String>;

/// A job that waits until its target holds what it was sent, because a field that costs money differs.
pub(in crate::sync) fn differs_at(
    target: &str,
    entity: &str,
    key: &str,
    costly_differences: &CostlyDifferences,
) -> Option<Verdict> {
    let (first, _) = costly_differences.first_key_value()?;
    let reasons = costly_differences.values().map(String::as_str).collect::<Vec<_>>().join("; ");
    let error = format!("{target} holds {reasons}; `vaiven differences list` shows what it was sent");
    Some(Verdict::Parked { cause: WaitReason::differs(entity, first, key), error })
}

/// Whether values that a target holds of its own are brought to other systems.
pub(in crate::sync) fn flows_back(batch: &Batch<'_>) -> bool {
    batch.context.routes.from(batch.target, batch.entity).next().is_some()
}

/// What the first flow to the target says about objects that got lost there.
pub(in crate::sync) fn missing_policy(batch: &Batch<'_>) -> MissingPolicy {
    let mut flows = batch.context.routes.to(batch.target, batch.entity);
    flows.next().map_or(MissingPolicy::Unlink, |flow| flow.missing_policy(batch.entity))
}
