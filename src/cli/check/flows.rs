//! What flows are never told, because of how they are written.

use crate::{config::Plan, port::System, sync::Flow};

/// One sentence for each flow of which a part is never looked at as a whole, though only that shows what is gone and what
/// somebody changed at a target.
pub(super) fn never_whole(plan: &Plan) -> Vec<String> {
    let partly = |flow: &Flow| {
        // What cannot be limited to what changed is read as a whole each time.
        let is_part = |system: &dyn System, entity: &str| system.facts(entity).is_some_and(|facts| facts.incremental);
        let entities = flow.entities.iter().filter(|entity| {
            let mut systems = std::iter::once(&flow.from).chain(&flow.to).filter_map(|name| plan.systems.get(name));
            systems.any(|system| is_part(system.as_ref(), entity))
        });
        entities.cloned().collect::<Vec<_>>()
    };
    let flows = plan.routes.flows().iter().filter(|flow| flow.full.is_none() && flow.every.is_some());
    let told = flows.map(|flow| (flow, partly(flow))).filter(|(_, entities)| !entities.is_empty());
    told.map(|(flow, entities)| {
        format!(
            "flow {} has no `full`: what is deleted at {} and what somebody changes at {} is never found ({}); add, for \
             example, full = \"30 3 * * *\"",
            flow.name,
            flow.from,
            flow.to.join(", "),
            entities.join(", ")
        )
    })
    .collect()
}
