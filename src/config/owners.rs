//! Checks whose value counts: if two systems bring a field to one target, or a field goes both ways, its owner must
//! be declared.

use std::{collections::BTreeSet, sync::Arc};

use indexmap::IndexMap;

use super::{FlowSection, layers::Layers, mappings::Mappings};
use crate::{
    load::{LoadError, Place, Problem, Spanned},
    mapping::Translate,
    model::Entities,
    sync::Flow,
};

/// Maximum number of fields that a message names.
const NAMED: usize = 4;

/// What flows say about the owners of fields.
pub struct Owners<'a> {
    pub flows: &'a [Flow],
    pub sections: &'a IndexMap<Spanned<String>, FlowSection>,
    pub mappings: &'a Mappings,
    pub entities: &'a Entities,
    pub layers: &'a Layers,
}

impl Owners<'_> {
    /// Refuse fields of the same records that two systems bring to one target without a declared owner. Records
    /// that each system numbers by itself are not the same records, nor are records that pass different filters.
    ///
    /// # Errors
    /// With the place of the second flow.
    pub fn single(&self) -> Result<(), LoadError> {
        let mut problems = Vec::new();
        for (at, later) in self.flows.iter().enumerate() {
            for earlier in self.flows[..at].iter().filter(|earlier| earlier.from != later.from) {
                for entity in later.entities.iter().filter(|entity| earlier.entities.contains(entity)) {
                    let is_numbered = self.entities.get(entity).is_none_or(|spec| spec.numbered);
                    if is_numbered || are_apart(earlier, later, entity) {
                        continue;
                    }
                    for target in later.to.iter().filter(|target| earlier.to.contains(target)) {
                        let mut both = self.brought(earlier, entity, target);
                        both.retain(|field| self.brought(later, entity, target).contains(field));
                        if !both.is_empty() {
                            problems.push(self.two_owners(entity, target, [earlier, later], &both));
                        }
                    }
                }
            }
        }
        LoadError::collect(problems.into_iter().map(Err::<(), _>)).map(|_| ())
    }

    fn two_owners(&self, entity: &str, target: &str, flows: [&Flow; 2], fields: &BTreeSet<String>) -> LoadError {
        let [first, second] = flows;
        let field = fields.first().map_or("", String::as_str);
        let problem = format!(
            "{target} is to have {} of {entity} from two systems: {} (flow {}) and {} (flow {})",
            listed(fields),
            first.from,
            first.name,
            second.from,
            second.name
        );
        LoadError::new(&self.place(&second.name), problem).help(format!(
            "say whose counts, owners = {{ \"{entity}.{field}\" = \"{}\" }}; or take {entity} out of one flow, limit it with \
             `fields`, or let a different `where` in each flow tell their records apart",
            first.from
        ))
    }

    /// Fields that two flows of opposite direction both carry without a declared owner.
    pub fn unclear(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (at, later) in self.flows.iter().enumerate() {
            for earlier in self.flows[..at].iter().filter(|earlier| later.to.contains(&earlier.from)) {
                if !earlier.to.contains(&later.from) {
                    continue;
                }
                for entity in later.entities.iter().filter(|entity| earlier.entities.contains(entity)) {
                    let mut both = self.brought(earlier, entity, &later.from);
                    both.retain(|field| self.brought(later, entity, &earlier.from).contains(field));
                    if let Some(field) = both.first() {
                        let message = format!(
                            "{} of {entity} go both ways between {} and {} (flows {} and {}), and no `owners` says whose value \
                             counts; {}'s does, since its flow stands first",
                            listed(&both),
                            earlier.from,
                            later.from,
                            earlier.name,
                            later.name,
                            earlier.from
                        );
                        let help = format!(
                            "owners = {{ {entity} = \"{}\" }} for all of its fields, or \"{entity}.{field}\" = ... for each; \
                             \"shared\" where both may edit it",
                            earlier.from
                        );
                        problems.push(Problem { place: self.place(&later.name), message, help: Some(help) });
                    }
                }
            }
        }
        problems
    }

    /// Warn if numbers that two systems give by themselves may meet in one target, judged by their prefixes: a
    /// search for a number there finds either object.
    pub fn meeting(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (at, later) in self.flows.iter().enumerate() {
            for earlier in self.flows[..at].iter().filter(|earlier| earlier.from != later.from) {
                for entity in later.entities.iter().filter(|entity| earlier.entities.contains(entity)) {
                    let Some(spec) = self.entities.get(entity).filter(|spec| spec.numbered) else { continue };
                    for target in later.to.iter().filter(|target| earlier.to.contains(target)) {
                        let numbers = |flow: &Flow| !flow.fields.contains_key(entity);
                        let writes = self.mapping(target, entity).is_some_and(|sink| sink.writes().contains(&spec.key));
                        if numbers(earlier) && numbers(later) && writes && self.begin_alike(entity, earlier, later) {
                            problems.push(self.met(entity, &spec.key, target, [earlier, later]));
                        }
                    }
                }
            }
        }
        problems
    }

    fn begin_alike(&self, entity: &str, one: &Flow, other: &Flow) -> bool {
        let [one, other] = [one, other].map(|flow| self.prefix(flow, entity).to_lowercase());
        let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
        // "A" + 11 and "A1" + 1 give the same number.
        long.strip_prefix(&short).is_some_and(|rest| rest.chars().all(|letter| letter.is_ascii_digit()))
    }

    /// The prefix of the numbers of a flow's source.
    fn prefix(&self, flow: &Flow, entity: &str) -> &str {
        let prefix = self.mapping(&flow.from, entity).and_then(|mapping| mapping.prefix()?.value.as_deref());
        prefix.unwrap_or_default()
    }

    fn met(&self, entity: &str, key: &str, target: &str, flows: [&Flow; 2]) -> Problem {
        let [first, second] = flows;
        let prefixes = [first, second].map(|flow| self.prefix(flow, entity));
        let described = match prefixes {
            ["", ""] => String::new(),
            [one, other] => {
                let quoted = |prefix: &str| if prefix.is_empty() { "none".to_owned() } else { format!("`{prefix}`") };
                format!(", which are {} and {}", quoted(one), quoted(other))
            }
        };
        let message = format!(
            "{} and {} both number their {entity}s by themselves, and {target} receives the {key} of both without prefixes that \
             tell them apart{described} (flows {} and {})",
            first.from, second.from, first.name, second.name
        );
        let advice = if prefixes[0] == prefixes[1] {
            "give one of them a prefix"
        } else {
            "give one of them a prefix that is neither the other one in another case nor the other one with digits behind it"
        };
        let setting = self.mapping(&second.from, entity).and_then(|mapping| mapping.prefix()?.setting.clone());
        let help = match setting {
            Some(setting) => format!("{advice}: [systems.{}] {setting} = \"...\"", second.from),
            None => format!(
                "let the `key` and `{key}` of {entity} in the mapping of {} begin with a text or a setting of its own: \
                 'settings.prefix + row.number'",
                second.from
            ),
        };
        Problem { place: self.place(&second.name), message, help: Some(help) }
    }

    fn mapping(&self, system: &str, entity: &str) -> Option<&Arc<dyn Translate>> {
        self.mappings.get(&(system.to_owned(), entity.to_owned()))
    }

    /// What a flow's source reads of an entity and this target can write, without the key and the fields that have
    /// a declared owner.
    fn brought(&self, flow: &Flow, entity: &str, target: &str) -> BTreeSet<String> {
        let (source, sink) = (self.mapping(&flow.from, entity), self.mapping(target, entity));
        let (Some(source), Some(sink)) = (source, sink) else { return BTreeSet::new() };
        let spec = self.entities.get(entity);
        let key = spec.map(|spec| spec.key.as_str());
        // For a state, each flow declares which states its source may set.
        let has_say = self.flows.iter().any(|flow| flow.states.contains_key(entity));
        let is_said = |field: &str| has_say && spec.is_some_and(|spec| spec.holds_state(field));
        let only = flow.fields.get(entity);
        let is_open = |field: &&String| {
            only.is_none_or(|only| only.contains(*field))
                && Some(field.as_str()) != key
                && !is_said(field)
                && !self.flows.iter().any(|flow| flow.owners.contains_key(&format!("{entity}.{field}")))
        };
        source.reads().intersection(sink.writes()).filter(is_open).cloned().collect()
    }

    fn place(&self, flow: &str) -> Place {
        let section = self.sections.get_key_value(flow);
        section.map_or_else(|| self.layers.start(), |(name, _)| self.layers.place(&name.span()))
    }
}

/// Whether both flows filter an entity, each by a condition of its own.
fn are_apart(one: &Flow, other: &Flow, entity: &str) -> bool {
    let filter = |flow: &Flow, name: &str| flow.filters.get(name).map(|filter| filter.text().to_owned());
    let of = |flow: &Flow| filter(flow, entity).or_else(|| filter(flow, "*"));
    matches!((of(one), of(other)), (Some(one), Some(other)) if one != other)
}

fn listed(fields: &BTreeSet<String>) -> String {
    let named = fields.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match fields.len() {
        all if all > NAMED => format!("{named} and {} more fields", all - NAMED),
        _ => named,
    }
}
