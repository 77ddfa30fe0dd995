//! Checks whether the systems can do what the flows ask of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use indexmap::IndexMap;
use serde::Serialize;

use super::{FlowSection, layers::Layers};
use crate::{
    load::{LoadError, Place, Problem, Spanned},
    mapping::{FieldOutline, Outline, Translate},
    model::{Entities, FieldSpec},
    port::{Capabilities, Find, System},
    sync::{DeletePolicy, Flow, Routes},
};

/// The opened systems, each with the name of its adapter.
pub type Opened = BTreeMap<String, (String, Arc<dyn System>)>;

/// Check a flow against the capabilities of its systems.
pub fn flow(
    flow: &Flow,
    section: &FlowSection,
    opened: &Opened,
    layers: &Layers,
    warnings: &mut Vec<Problem>,
) -> Result<(), LoadError> {
    let mut problems = Vec::new();
    for entity in &section.entities {
        let place = layers.place(&entity.span());
        let entity = entity.get_ref().as_str();
        match capabilities(&flow.from, entity, opened, &place) {
            Ok(capabilities) => problems.extend(
                capabilities.and_then(|capabilities| source(flow, entity, capabilities, &place, warnings).err()),
            ),
            Err(error) => problems.push(error),
        }
        for target in &flow.to {
            match capabilities(target, entity, opened, &place) {
                Ok(capabilities) => {
                    problems.extend(
                        capabilities
                            .and_then(|capabilities| self::target(flow, target, entity, capabilities, &place).err()),
                    );
                }
                Err(error) => problems.push(error),
            }
        }
    }
    LoadError::collect(problems.into_iter().map(Err::<(), _>)).map(|_| ())
}

/// The capabilities of a system. Return `None` if it does not exist or could not be opened, because that was
/// reported already.
fn capabilities<'a>(
    system: &str,
    entity: &str,
    opened: &'a Opened,
    place: &Place,
) -> Result<Option<&'a Capabilities>, LoadError> {
    let Some((adapter, endpoint)) = opened.get(system) else { return Ok(None) };
    endpoint.capabilities(entity).map(Some).ok_or_else(|| {
        LoadError::new(place, format!("adapter {adapter} of system {system} does not know entity `{entity}`"))
            .help(format!("take it out of the flow, or add [entities.{entity}] to adapters/{adapter}.toml"))
    })
}

fn source(
    flow: &Flow,
    entity: &str,
    capabilities: &Capabilities,
    place: &Place,
    warnings: &mut Vec<Problem>,
) -> Result<(), LoadError> {
    let from = &flow.from;
    if !capabilities.list {
        return Err(LoadError::new(
            place,
            format!("system {from} cannot list `{entity}`, so nothing can be read from it"),
        )
        .help(format!("the adapter has no [entities.{entity}.list]")));
    }
    if flow.full.is_some() && !capabilities.complete {
        let message = format!("a full listing of `{entity}` at {from} is not complete: deletions there go unnoticed");
        warnings.push(Problem { place: place.clone(), message, help: None });
    }
    Ok(())
}

fn target(
    flow: &Flow,
    target: &str,
    entity: &str,
    capabilities: &Capabilities,
    place: &Place,
) -> Result<(), LoadError> {
    if !capabilities.create && !capabilities.update {
        return Err(LoadError::new(place, format!("system {target} cannot write `{entity}`"))
            .help(format!("the adapter has neither [entities.{entity}.create] nor [entities.{entity}.update]")));
    }
    if capabilities.create && capabilities.find == Find::None {
        return Err(LoadError::new(
            place,
            format!("system {target} could not tell whether `{entity}` was created when an answer is lost"),
        )
        .help(format!("give the adapter [entities.{entity}.find], by key or with scan = true")));
    }
    let policy = flow.on_delete.get(entity).or_else(|| flow.on_delete.get("*"));
    if policy == Some(&DeletePolicy::Delete) && !capabilities.delete && capabilities.facet_of.is_none() {
        return Err(LoadError::new(place, format!("system {target} cannot delete `{entity}`, as `on_delete` asks"))
            .help("use on_delete = \"unpublish\" or \"ignore\" for it"));
    }
    Ok(())
}

/// If mappings keep items that others have put into a target's lists: check that the target can be read before a
/// write.
pub fn looks(
    flows: &[Flow],
    sections: &indexmap::IndexMap<Spanned<String>, FlowSection>,
    mappings: &BTreeMap<(String, String), Arc<dyn Translate>>,
    opened: &Opened,
    layers: &Layers,
) -> Result<(), LoadError> {
    let mut problems = Vec::new();
    for flow in flows {
        for entity in sections.get(flow.name.as_str()).into_iter().flat_map(|section| &section.entities) {
            for target in &flow.to {
                let name = entity.get_ref();
                let looks = mappings.get(&(target.clone(), name.clone())).is_some_and(|mapping| mapping.looks(None));
                let Some((adapter, endpoint)) = opened.get(target).filter(|_| looks) else { continue };
                if endpoint.capabilities(name).is_none_or(|capabilities| !capabilities.update || capabilities.read) {
                    continue;
                }
                let problem =
                    format!("the mapping of `{name}` at {target} keeps what is `beside`, which has to be read first");
                let help = format!("add [entities.{name}.read] to adapters/{adapter}.toml");
                problems.push(LoadError::new(&layers.place(&entity.span()), problem).help(help));
            }
        }
    }
    LoadError::collect(problems.into_iter().map(Err::<(), _>)).map(|_| ())
}

/// Check what flows say of stock against what the mappings read and where orders go.
pub fn stock(
    flows: &[Flow],
    sections: &indexmap::IndexMap<Spanned<String>, FlowSection>,
    mappings: &BTreeMap<(String, String), Arc<dyn Translate>>,
    layers: &Layers,
) -> Result<(), LoadError> {
    let mut problems = Vec::new();
    for flow in flows {
        let Some(stock) = sections.get(flow.name.as_str()).and_then(|section| section.stock.as_ref()) else { continue };
        let stock = stock.get_ref();
        let reads = mappings.get(&(flow.from.clone(), "stock".to_owned())).map(|mapping| mapping.reads());
        if let (Some(locations), Some(false)) = (&stock.locations, reads.map(|reads| reads.contains("levels"))) {
            let problem =
                format!("the mapping of `stock` at {} reads no `levels`, so no locations can be chosen", flow.from);
            problems.push(LoadError::new(&layers.place(&locations.span()), problem));
        }
        let sells = |target: &String| {
            let orders = |other: &&Flow| {
                other.from == *target
                    && other.entities.iter().any(|entity| entity == "order")
                    && !other.fields.contains_key("order")
            };
            flows.iter().any(|other| orders(&other))
        };
        let shown =
            flows.iter().filter(|other| other.from == flow.from && other.entities.iter().any(|one| one == "stock"));
        if let (Some(in_flight), false) = (&stock.in_flight, shown.flat_map(|other| &other.to).any(sells))
            && *in_flight.get_ref()
        {
            let problem = format!("no flow brings orders from {}, so none can be in flight", flow.to.join(" or "));
            problems.push(
                LoadError::new(&layers.place(&in_flight.span()), problem)
                    .help("leave `in_flight` out, or add the flow that carries them to the ERP"),
            );
        }
    }
    LoadError::collect(problems.into_iter().map(Err::<(), _>)).map(|_| ())
}

/// Warn of fields that identify an object, are filled by sources and have no place at a target: such objects will
/// wait.
pub fn qualified(
    flows: &[Flow],
    sections: &indexmap::IndexMap<Spanned<String>, FlowSection>,
    mappings: &BTreeMap<(String, String), Arc<dyn Translate>>,
    entities: &Entities,
    layers: &Layers,
) -> Vec<Problem> {
    let mut cautions = Vec::new();
    for (flow, entity, target) in ways(flows) {
        let outline = |system: &str| mappings.get(&(system.to_owned(), entity.to_owned())).map(|one| one.outline());
        let (Some(said), Some(held)) = (outline(&flow.from), outline(target)) else { continue };
        let filter = flow.filters.get(entity).or_else(|| flow.filters.get("*"));
        let filtered = |field: &str| filter.is_some_and(|filter| filter.names(field));
        let section = sections.get(flow.name.as_str());
        let named = section.and_then(|section| section.entities.iter().find(|one| one.get_ref() == entity));
        let place = named.map_or_else(|| layers.start(), |entity| layers.place(&entity.span()));
        let mut messages = Vec::new();
        let sent: Vec<(&String, Option<&FieldOutline>)> =
            said.0.iter().filter(|(field, _)| !filtered(field)).map(|(field, said)| (field, Some(said))).collect();
        let Some(spec) = entities.get(entity) else { continue };
        unplaced(&sent, &held, (&spec.fields, ""), &(entity, &flow.from, target), &mut messages);
        for (field, message) in messages {
            let help = format!("map `{field}` for {target}, or keep the others away by `where` of flow {}", flow.name);
            cautions.push(Problem { place: place.clone(), message, help: Some(help) });
        }
    }
    cautions
}

/// Paths of identifying fields that have no place at a target, at any depth, with what becomes of such objects.
/// `sent` holds the fields at this level with their outlines in the source's mapping. If the source reads the
/// parent as a whole, there is no outline.
fn unplaced(
    sent: &[(&String, Option<&FieldOutline>)],
    held: &Outline,
    (specs, at): (&IndexMap<String, FieldSpec>, &str),
    way: &(&str, &str, &str),
    messages: &mut Vec<(String, String)>,
) {
    let (entity, from, target) = way;
    for (field, said) in sent.iter().filter(|(_, said)| said.is_none_or(|said| said.reads)) {
        let (Some(spec), Some(held)) = (specs.get(*field), held.0.get(*field)) else { continue };
        let path = if at.is_empty() { (*field).clone() } else { format!("{at}.{field}") };
        if let (true, Some(members)) = (held.carried, &held.members) {
            let inner = said.and_then(|said| said.members.as_ref());
            let sent: Vec<(&String, Option<&FieldOutline>)> = match inner {
                Some(inner) => inner.0.iter().map(|(field, said)| (field, Some(said))).collect(),
                None => members.0.keys().map(|field| (field, None)).collect(),
            };
            let specs = spec.of.as_deref().map_or(&spec.fields, |of| &of.fields);
            unplaced(&sent, members, (specs, &path), way, messages);
        }
        if !held.qualifies || held.carried || held.is_conditional() {
            continue;
        }
        let others = if spec.required { "another" } else { "another, or with none," };
        let message = match (said.and_then(|said| said.fixed.as_ref()), &held.fixed) {
            (Some(said), Some(held)) if said == held => continue,
            (Some(said), Some(held)) => {
                format!("every {entity} of {from} has {path} {said}, but {target} holds {held}: none is written")
            }
            (None, Some(held)) => {
                format!("{target} holds {entity} of {path} {held} alone: those of {from} with {others} wait")
            }
            (_, None) if held.alike && held.place.is_none() => format!(
                "{target} has no place for {path} of {entity}: it takes those that are like the first it is sent, \
                 and no others"
            ),
            (_, None) => format!("{target} has no place for {path} of {entity}: those of {from} that have one wait"),
        };
        messages.push((path, message));
    }
}

/// Fields of an entity that its sources fill and a target has no place for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub target: String,
    pub entity: String,
    /// `brand`, `variants.weight`
    pub fields: BTreeSet<String>,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        write!(f, "{} has no place for these fields of {}: {}", self.target, self.entity, fields.join(", "))
    }
}

/// The fields that are left out on the way, by target and entity. Fields that the target owns do not count: they
/// are not meant for it.
pub fn left_out(
    routes: &Routes,
    mappings: &BTreeMap<(String, String), Arc<dyn Translate>>,
    entities: &Entities,
) -> Vec<LeftOut> {
    let mut all: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for (flow, entity, target) in ways(routes.flows()) {
        let outline = |system: &str| mappings.get(&(system.to_owned(), entity.to_owned())).map(|one| one.outline());
        let (Some(said), Some(held), Some(spec)) = (outline(&flow.from), outline(target), entities.get(entity)) else {
            continue;
        };
        let fields = held.lacks(&said, spec).into_iter().filter(|path| {
            let field = path.split('.').next().unwrap_or_default();
            routes.owner(entity, field, &flow.from, target) != Some(target)
        });
        all.entry((target, entity)).or_default().extend(fields);
    }
    let left_out = all.into_iter().filter(|(_, fields)| !fields.is_empty());
    left_out
        .map(|((target, entity), fields)| LeftOut { target: target.to_owned(), entity: entity.to_owned(), fields })
        .collect()
}

/// Each entity that a flow takes to a target, unless the flow is limited to some of its fields.
fn ways(flows: &[Flow]) -> impl Iterator<Item = (&Flow, &str, &str)> {
    flows.iter().flat_map(move |flow| {
        flow.entities.iter().flat_map(move |entity| {
            let whole = !flow.fields.contains_key(entity);
            flow.to.iter().filter(move |_| whole).map(move |target| (flow, entity.as_str(), target.as_str()))
        })
    })
}

/// Guests can only be recognised by rules for customers: refuse flows that lack these.
pub fn guests(
    flows: &[Flow],
    sections: &indexmap::IndexMap<Spanned<String>, FlowSection>,
    layers: &Layers,
) -> Result<(), LoadError> {
    let is_strong = |flow: &Flow| flow.matches.get("customer").is_some_and(|rules| rules.iter().any(|rule| !rule.weak));
    let asking = flows.iter().find(|flow| flow.guests.as_ref().is_some_and(|guests| guests.matched));
    let Some(flow) = asking.filter(|_| !flows.iter().any(is_strong)) else { return Ok(()) };
    let node = sections.get(flow.name.as_str()).and_then(|section| section.guests.as_ref());
    let place = node.map_or_else(|| layers.start(), |node| layers.place(&node.span()));
    let problem = "guests cannot be recognised: no flow says what customers are matched by";
    Err(LoadError::new(&place, problem).help("for example match = { customer = [\"vat\", \"email\"] }"))
}

/// Refuse owners that form a circle: each system in turn would overwrite the value.
pub fn circle(
    flows: &[Flow],
    sections: &indexmap::IndexMap<Spanned<String>, FlowSection>,
    layers: &Layers,
) -> Result<(), LoadError> {
    let entities: BTreeSet<&str> = flows.iter().flat_map(|flow| flow.entities.iter().map(String::as_str)).collect();
    for entity in entities {
        // Between two systems the first flow decides who owns what is not declared.
        let mut leading: BTreeMap<(&str, &str), &Flow> = BTreeMap::new();
        for flow in flows.iter().filter(|flow| flow.entities.iter().any(|carried| carried == entity)) {
            for to in &flow.to {
                let (from, to) = (flow.from.as_str(), to.as_str());
                if !leading.contains_key(&(to, from)) {
                    leading.entry((from, to)).or_insert(flow);
                }
            }
        }
        let edges: Vec<(&str, &str)> = leading.keys().copied().collect();
        for &(start, _) in &edges {
            if let Some(way) = way_back(start, start, &edges, &mut vec![start]) {
                let last = leading.get(&(way[way.len() - 2], start)).map_or("", |flow| flow.name.as_str());
                let place =
                    sections.get_key_value(last).map_or_else(|| layers.start(), |(name, _)| layers.place(&name.span()));
                return Err(LoadError::new(
                    &place,
                    format!("the owners of `{entity}` go round in a circle: {}", way.join(" -> ")),
                )
                .help("let one system own the entity and send it to the others, or take it out of one of the flows"));
            }
        }
    }
    Ok(())
}

fn way_back<'a>(start: &str, here: &str, edges: &[(&'a str, &'a str)], way: &mut Vec<&'a str>) -> Option<Vec<&'a str>> {
    for &(_, to) in edges.iter().filter(|(from, _)| *from == here) {
        if to == start {
            let mut round = way.clone();
            round.push(to);
            return Some(round);
        }
        if !way.contains(&to) {
            way.push(to);
            if let Some(round) = way_back(start, to, edges, way) {
                return Some(round);
            }
            way.pop();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{self, SourceFile},
        mapping::{Mapping, Tables},
        model::EntitySpec,
    };

    fn outline(spec: &Arc<EntitySpec>, steps: &str) -> Outline {
        let text = format!("key = 'code'\n[fields]\ncode = 'code'\n{steps}");
        let mapping =
            Mapping::load(&SourceFile::new("m.toml", text), spec, &serde_json::Map::new(), &Tables::new()).unwrap();
        mapping.outline()
    }

    #[test]
    fn what_qualifies_at_any_depth_is_reported_where_a_target_has_no_place_for_it() {
        const SPEC: &str = "entity = 'tariff'\nkey = 'code'\n[fields]\ncode = { kind = 'text', required = true }\n\
            group = { kind = 'text', qualifies = true }\n\
            [fields.cond]\nkind = 'object'\n\
            fields = { season = { kind = 'text', qualifies = true }, note = { kind = 'text' } }\n\
            [fields.steps]\nkind = 'list'\nkey = 'no'\n\
            of = { kind = 'object', fields = { no = { kind = 'text', required = true }, \
            zone = { kind = 'text', qualifies = true } } }\n";
        let spec: Arc<EntitySpec> = Arc::new(load::parse(&SourceFile::new("s.toml", SPEC)).unwrap());
        let cautions = |source: &str, target: &str| {
            let (source, target) = (outline(&spec, source), outline(&spec, target));
            let said: Vec<_> = source.0.iter().map(|(field, said)| (field, Some(said))).collect();
            let mut messages = Vec::new();
            unplaced(&said, &target, (&spec.fields, ""), &("tariff", "erp", "shop"), &mut messages);
            messages.into_iter().map(|(_, message)| message).collect::<Vec<_>>()
        };
        let here =
            "steps = { from = 's', each = { fields = { no = 'no' } } }\ncond = { from = 'c', fields = { note = 'n' } }";
        let all = "steps = { from = 's', each = { fields = { no = 'no', zone = 'zone' } } }\n\
            cond = { from = 'c', fields = { note = 'n', season = 'season' } }";
        let expected = [
            "shop has no place for cond.season of tariff: those of erp that have one wait",
            "shop has no place for steps.zone of tariff: those of erp that have one wait",
        ];
        assert_eq!(cautions(all, here), expected);
        assert_eq!(cautions("steps = 's'\ncond = 'c'", here), expected, "what is read as a whole may have them");
        assert!(cautions(here, all).is_empty() && cautions(all, all).is_empty() && cautions(here, here).is_empty());
        let group = cautions("group = { from = 'g', optional = true }", "group = { value = 'vip' }");
        assert_eq!(group.len(), 1);
        assert!(group[0].ends_with("those of erp with another, or with none, wait"), "{group:?}");
    }
}
