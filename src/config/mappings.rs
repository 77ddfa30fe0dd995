//! Loads the mappings of all systems and entities that flows name, each for the fields that flows bring to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use indexmap::IndexMap;

use super::{FlowSection, Layers, open::Ready};
use crate::{
    adapter::Registry,
    load::{LoadError, Place, Spanned},
    mapping::{Mapping, Tables, Translate},
    model::Entities,
    sync::Flow,
};

/// By system and entity.
pub type Mappings = BTreeMap<(String, String), Arc<dyn Translate>>;

/// Canonical fields that flows bring to a system, by system and entity.
type Brought = BTreeMap<(String, String), BTreeSet<String>>;

/// What is needed to load mappings.
pub struct MappingLoader<'a> {
    pub flows: &'a [Flow],
    /// The flows as written.
    pub sections: &'a IndexMap<Spanned<String>, FlowSection>,
    pub layers: &'a Layers,
    pub systems: &'a [Ready<'a>],
    pub registry: &'a Registry,
    pub entities: &'a Entities,
}

impl MappingLoader<'_> {
    /// Load one mapping for each system and entity of a flow, unless there are problems.
    pub fn load(&self, problems: &mut Vec<LoadError>) -> Mappings {
        let all = self.mappings(&Brought::new(), problems);
        // First load all mappings for all fields: what is brought to a system follows from what the mappings of the
        // other systems read, and that does not depend on what is brought.
        if problems.is_empty() { self.mappings(&self.brought(&all), problems) } else { all }
    }

    fn mappings(&self, brought: &Brought, problems: &mut Vec<LoadError>) -> Mappings {
        let mut mappings = Mappings::new();
        let mut tried = BTreeSet::new();
        for (flow, section) in self.flows.iter().filter_map(|flow| Some((flow, self.sections.get(flow.name.as_str())?)))
        {
            for entity in &section.entities {
                for system in std::iter::once(&flow.from).chain(&flow.to) {
                    let Some(system) = self.systems.iter().find(|one| one.name == system) else { continue };
                    // If the adapter does not know the entity, that was reported already.
                    let is_known = system.manifest.entities.contains(entity.get_ref());
                    if !is_known || !tried.insert((system.name, entity.get_ref().as_str())) {
                        continue;
                    }
                    let place = self.layers.place(&entity.span());
                    let brought = brought.get(&(system.name.to_owned(), entity.get_ref().clone()));
                    match self.mapping(system, entity.get_ref(), &place, brought) {
                        Ok(mapping) => {
                            mappings.insert((system.name.to_owned(), entity.get_ref().clone()), mapping);
                        }
                        Err(error) => problems.push(error),
                    }
                }
            }
        }
        mappings
    }

    fn brought(&self, mappings: &Mappings) -> Brought {
        let mut all = Brought::new();
        for flow in self.flows {
            for entity in &flow.entities {
                let Some(source) = mappings.get(&(flow.from.clone(), entity.clone())) else { continue };
                for target in &flow.to {
                    let own = |field: &str| {
                        let path = format!("{entity}.{field}");
                        self.flows.iter().find_map(|flow| flow.owners.get(&path)).is_some_and(|owner| owner == target)
                    };
                    let brought = source.reads().iter().filter(|field| flow.brings(entity, field) && !own(field));
                    all.entry((target.clone(), entity.clone())).or_default().extend(brought.cloned());
                }
            }
        }
        all
    }

    fn mapping(
        &self,
        system: &Ready<'_>,
        entity: &str,
        place: &Place,
        brought: Option<&BTreeSet<String>>,
    ) -> Result<Arc<dyn Translate>, LoadError> {
        let adapter = &system.manifest.name;
        let Some(file) = self.registry.mapping(adapter, entity)? else {
            let known: Vec<String> = self.registry.mapped(adapter).into_iter().collect();
            let error = LoadError::new(
                place,
                format!("there is no mapping of `{entity}` for adapter {adapter} (system {})", system.name),
            );
            return Err(error.help(format!("write mappings/{adapter}/{entity}.toml (there are: {})", known.join(", "))));
        };
        // If an entity is not declared, that was reported with its flow.
        let spec = self
            .entities
            .get(entity)
            .ok_or_else(|| LoadError::unknown(place, "entity", entity, self.entities.names().collect::<Vec<_>>()))?;
        let plain = system.settings.plains().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let lookups: Tables = system
            .section
            .lookups
            .iter()
            .map(|(table, lines)| {
                let lines = lines.iter().map(|(own, theirs)| (own.get_ref().clone(), theirs.get_ref().to_json()));
                (table.clone(), lines.collect())
            })
            .collect();
        Ok(Arc::new(match brought {
            Some(brought) => Mapping::load_for(&file, spec, &plain, &lookups, brought)?,
            None => Mapping::load(&file, spec, &plain, &lookups)?,
        }))
    }
}
