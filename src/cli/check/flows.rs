//! Finds what flows never notice or never do because of the way they are written.

use std::collections::BTreeSet;

use crate::{
    config::OpenedConfig,
    model::FieldSpec,
    port::System,
    sync::{DeletePolicy, Flow},
};

/// One sentence for each flow of which a part is never read as a whole, although only a whole reading shows what is
/// gone and what somebody changed at a target.
pub(super) fn never_whole(plan: &OpenedConfig) -> Vec<String> {
    let partly = |flow: &Flow| {
        // An entity that cannot be limited to changes is read as a whole each time.
        let is_part = |system: &dyn System, entity: &str| {
            system.capabilities(entity).is_some_and(|capabilities| capabilities.incremental)
        };
        let entities = flow.entities.iter().filter(|entity| {
            let mut systems = std::iter::once(&flow.from).chain(&flow.to).filter_map(|name| plan.systems.get(name));
            systems.any(|system| is_part(system.as_ref(), entity))
        });
        entities.cloned().collect::<Vec<_>>()
    };
    let flows = plan.routes.flows().iter().filter(|flow| flow.full.is_none() && flow.every.is_some());
    let flows = flows.map(|flow| (flow, partly(flow))).filter(|(_, entities)| !entities.is_empty());
    flows
        .map(|(flow, entities)| {
            format!(
                "flow {} has no `full`: deletions at {} and changes made at {} are never found ({}); add, for example, \
             full = \"30 3 * * *\"",
                flow.name,
                flow.from,
                flow.to.join(", "),
                entities.join(", ")
            )
        })
        .collect()
}

/// The entity whose parts a field names: `product`.
fn of_article(field: &FieldSpec) -> Option<&str> {
    field.part.as_deref()?.split_once('.').map(|(entity, _)| entity)
}

/// One sentence for each flow and target that goes on selling what its source has lost: `unpublish` needs a field
/// `active`, and a price or a stock has none.
pub(super) fn never_withdrawn(plan: &OpenedConfig) -> Vec<String> {
    // Only an article and objects of an article can be bought; others, such as orders, cannot.
    let articles: BTreeSet<&str> =
        plan.entities.iter().flat_map(|spec| spec.fields.values()).filter_map(of_article).collect();
    let is_offer = |entity: &str| {
        let spec = plan.entities.get(entity);
        articles.contains(entity)
            || spec.is_some_and(|spec| spec.fields.values().any(|field| of_article(field).is_some()))
    };
    let may_go = |flow: &Flow, entity: &str| {
        plan.systems
            .get(&flow.from)
            .and_then(|system| system.capabilities(entity))
            .is_some_and(|capabilities| capabilities.complete)
    };
    let writes_active = |target: &str, entity: &str| {
        let mapping = plan.mappings.get(&(target.to_owned(), entity.to_owned()));
        mapping.is_some_and(|mapping| mapping.writes().contains("active"))
    };
    let stays = |flow: &Flow, target: &str| {
        let entities = flow.entities.iter().filter(|entity| {
            flow.delete_policy(entity) == DeletePolicy::Unpublish
                && is_offer(entity)
                && may_go(flow, entity)
                && !writes_active(target, entity)
        });
        entities.cloned().collect::<Vec<_>>()
    };
    let pairs = plan.routes.flows().iter().flat_map(|flow| flow.to.iter().map(move |target| (flow, target)));
    let kept = pairs.map(|(flow, target)| (flow, target, stays(flow, target)));
    kept.filter(|(_, _, entities)| !entities.is_empty())
        .map(|(flow, target, entities)| {
            format!(
                "flow {}: what {} no longer has of {} stays at {target} as it was, since it cannot be switched off \
                 there. If that is intended, say so: on_delete = {{ {} }}",
                flow.name,
                flow.from,
                entities.join(", "),
                entities.iter().map(|entity| format!("{entity} = \"ignore\"")).collect::<Vec<_>>().join(", ")
            )
        })
        .collect()
}
