//! Who tells whom: the flows turned round so that a pull finds its targets and a delivery its sources.

use std::collections::{BTreeMap, BTreeSet};

use super::{DeletePolicy, Flow, MissingPolicy};

/// The flows of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    flows: Vec<Flow>,
}

/// A set of flows that contradicts itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RoutesError {
    #[error("field {field} has two owners: {first} in flow {first_flow}, {second} in flow {second_flow}; name one")]
    TwoOwners { field: String, first: String, first_flow: String, second: String, second_flow: String },
    #[error("flow {flow} sends {system} to itself")]
    Self_ { flow: String, system: String },
}

impl Routes {
    /// # Errors
    /// When two flows give one field to different owners, or a flow leads back to its own source.
    pub fn new(flows: Vec<Flow>) -> Result<Self, RoutesError> {
        let mut owners: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        for flow in &flows {
            if flow.to.contains(&flow.from) {
                return Err(RoutesError::Self_ { flow: flow.name.clone(), system: flow.from.clone() });
            }
            for (field, owner) in &flow.owners {
                let (first, first_flow) = *owners.entry(field).or_insert((owner, &flow.name));
                if first != owner {
                    return Err(RoutesError::TwoOwners {
                        field: field.clone(),
                        first: first.to_owned(),
                        first_flow: first_flow.to_owned(),
                        second: owner.clone(),
                        second_flow: flow.name.clone(),
                    });
                }
            }
        }
        Ok(Self { flows })
    }

    #[must_use]
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    #[must_use]
    pub fn flow(&self, name: &str) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.name == name)
    }

    /// Flows that bring an entity from a system.
    pub(super) fn from<'a>(&'a self, system: &'a str, entity: &'a str) -> impl Iterator<Item = &'a Flow> {
        self.flows.iter().filter(move |flow| flow.from == system && flow.carries(entity))
    }

    /// Flows that bring an entity to a system.
    pub(super) fn to<'a>(&'a self, system: &'a str, entity: &'a str) -> impl Iterator<Item = &'a Flow> {
        self.flows.iter().filter(move |flow| flow.to.iter().any(|to| to == system) && flow.carries(entity))
    }

    /// The flow that decides whether a record of this entity exists at all between two systems: the first that carries it.
    pub(super) fn leading(&self, entity: &str, one: &str, other: &str) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.carries(entity) && flow.joins(one, other))
    }

    /// The system that owns a field between a source and a target.
    pub(super) fn owner(&self, entity: &str, field: &str, source: &str, target: &str) -> Option<&str> {
        let path = format!("{entity}.{field}");
        self.flows
            .iter()
            .find_map(|flow| flow.owners.get(&path))
            .map(String::as_str)
            .or_else(|| self.leading(entity, source, target).map(|flow| flow.from.as_str()))
    }

    /// Match fields of an entity, over all flows.
    pub(super) fn matches(&self, entity: &str) -> Vec<&str> {
        let mut fields: Vec<&str> = Vec::new();
        for field in self.flows.iter().filter_map(|flow| flow.matches.get(entity)).flatten() {
            if !fields.contains(&field.as_str()) {
                fields.push(field);
            }
        }
        fields
    }

    /// Systems that flows write to.
    pub(super) fn targets(&self) -> BTreeSet<&str> {
        self.flows.iter().flat_map(|flow| flow.to.iter().map(String::as_str)).collect()
    }
}

impl Flow {
    pub(super) fn carries(&self, entity: &str) -> bool {
        self.entities.iter().any(|carried| carried == entity)
    }

    fn joins(&self, one: &str, other: &str) -> bool {
        let reaches = |system: &str| self.to.iter().any(|to| to == system);
        (self.from == one && reaches(other)) || (self.from == other && reaches(one))
    }

    pub(super) fn delete_policy(&self, entity: &str) -> DeletePolicy {
        self.on_delete.get(entity).or_else(|| self.on_delete.get("*")).copied().unwrap_or_default()
    }

    pub(super) fn missing_policy(&self, entity: &str) -> MissingPolicy {
        self.on_missing.get(entity).or_else(|| self.on_missing.get("*")).copied().unwrap_or(match entity {
            "order" | "shipment" | "invoice" | "ticket" | "quote" | "customer" => MissingPolicy::Unlink,
            _ => MissingPolicy::Recreate,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::sync) fn flow(name: &str, from: &str, to: &str, entities: &[&str]) -> Flow {
        Flow {
            name: name.into(),
            entities: entities.iter().map(|&entity| entity.into()).collect(),
            from: from.into(),
            to: vec![to.into()],
            ..Flow::default()
        }
    }

    #[test]
    fn an_undeclared_field_belongs_to_the_source_of_the_first_flow_that_carries_it() {
        let mut back = flow("account", "erp", "shop", &["order"]);
        back.owners.insert("order.status".into(), "erp".into());
        let routes = Routes::new(vec![flow("sales", "shop", "erp", &["order"]), back]).unwrap();
        assert_eq!(routes.owner("order", "total", "erp", "shop"), Some("shop"));
        assert_eq!(routes.owner("order", "status", "shop", "erp"), Some("erp"));
        assert_eq!(routes.owner("product", "name", "shop", "erp"), None);
    }

    #[test]
    fn two_owners_of_one_field_are_refused() {
        let (mut one, mut two) = (flow("a", "erp", "shop", &["product"]), flow("b", "pim", "shop", &["product"]));
        one.owners.insert("product.name".into(), "erp".into());
        two.owners.insert("product.name".into(), "pim".into());
        assert!(matches!(Routes::new(vec![one, two]), Err(RoutesError::TwoOwners { .. })));
    }
}
