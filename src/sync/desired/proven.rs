//! Proof of money: an order whose amounts do not add up to its total is not delivered. Its job waits.

use std::collections::BTreeSet;

use crate::{
    failure::{Class, Failure},
    model::proof::Proved,
    store::Replica,
    sync::desired::Batch,
    wait_reason::WaitReason,
};

/// Refuse to write amounts that do not add up to their total, as the sources show them. A write that carries none
/// of them (a status alone) has nothing to prove.
///
/// # Errors
/// `unmapped`, on cause `proof:order=1001`, with both sums.
pub(in crate::sync) fn prove(
    batch: &Batch<'_>,
    key: &str,
    replicas: &[Replica],
    changed: &BTreeSet<String>,
) -> Result<(), Failure> {
    let Batch { context, entity, target, .. } = *batch;
    let Some(spec) = context.entities.get(entity) else { return Ok(()) };
    let Some(proof) = spec.proof.as_ref().filter(|proof| proof.fields().any(|field| changed.contains(field))) else {
        return Ok(());
    };
    for flow in context.routes.to(target, entity) {
        let Some(source) = replicas.iter().find(|replica| replica.system == flow.from && replica.gone_at.is_none())
        else {
            continue;
        };
        if proof.spares(&source.fields) {
            continue;
        }
        if let Some(Proved::Unproven(unproven)) = spec.prove(&source.fields) {
            let message = format!(
                "the {entity} of {} does not add up, {unproven}; mend it there, or the mapping line that leaves something out",
                flow.from
            );
            return Err(Failure::new(Class::Unmapped, message)
                .with_field(proof.totals.clone())
                .with_cause(WaitReason::proof(entity, key)));
        }
    }
    Ok(())
}
