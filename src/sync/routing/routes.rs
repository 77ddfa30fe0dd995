//! The flows seen from both ends: a pull finds its targets, and a delivery its sources.

use std::collections::{BTreeMap, BTreeSet};

use crate::sync::routing::{ConflictPolicy, DeletePolicy, DriftPolicy, Flow, Guests, MatchRule, MissingPolicy, SHARED};

/// The flows of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    flows: Vec<Flow>,
    /// Entity to its shared fields.
    shared: BTreeMap<String, BTreeSet<String>>,
}

/// A set of flows that contradicts itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RoutesError {
    #[error("field {field} has two owners: {first} in flow {first_flow}, {second} in flow {second_flow}; name one")]
    TwoOwners { field: String, first: String, first_flow: String, second: String, second_flow: String },
    #[error("flow {flow} sends {system} to itself")]
    Self_ { flow: String, system: String },
    #[error(
        "field {field} of flow {flow} is shared, but no flow brings it from {to} to {from}; add one (`fields` may limit it to \
         that field)"
    )]
    OneWay { flow: String, field: String, from: String, to: String },
}

impl Routes {
    /// Build the routes.
    ///
    /// # Errors
    /// If two flows give one field to different owners, or if a flow leads back to its own source.
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
        let mut shared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (path, owner) in flows.iter().flat_map(|flow| &flow.owners) {
            if let (SHARED, Some((entity, field))) = (owner.as_str(), path.split_once('.')) {
                shared.entry(entity.to_owned()).or_default().insert(field.to_owned());
            }
        }
        let routes = Self { flows, shared };
        routes.prove_both_ways()?;
        Ok(routes)
    }

    /// Check that each shared field is read and written on both sides.
    fn prove_both_ways(&self) -> Result<(), RoutesError> {
        for (entity, field) in self.shared.iter().flat_map(|(entity, fields)| fields.iter().map(move |f| (entity, f))) {
            let brings = |from: &str, to: &str| {
                self.from(from, entity).any(|flow| flow.reaches(to) && flow.brings(entity, field))
            };
            for flow in self.flows.iter().filter(|flow| flow.carries(entity) && flow.brings(entity, field)) {
                if let Some(to) = flow.to.iter().find(|to| !brings(to, &flow.from)) {
                    let field = format!("{entity}.{field}");
                    let (flow, from) = (flow.name.clone(), flow.from.clone());
                    return Err(RoutesError::OneWay { flow, field, from, to: to.clone() });
                }
            }
        }
        Ok(())
    }

    /// Fields of an entity that nobody owns: changes of all sides are merged.
    pub(in crate::sync) fn shared(&self, entity: &str) -> Option<&BTreeSet<String>> {
        self.shared.get(entity)
    }

    /// Systems that an entity flows to.
    pub(in crate::sync) fn targets_of(&self, entity: &str) -> BTreeSet<&str> {
        self.flows.iter().filter(|flow| flow.carries(entity)).flat_map(|flow| &flow.to).map(String::as_str).collect()
    }

    /// Whether a system is where an entity comes from in the first place.
    pub(in crate::sync) fn leads(&self, entity: &str, system: &str) -> bool {
        self.flows.iter().find(|flow| flow.carries(entity)).is_some_and(|flow| flow.from == system)
    }

    /// Who decides a conflict of a shared field.
    pub(in crate::sync) fn conflict_policy(&self, entity: &str, field: &str) -> ConflictPolicy {
        let mut carried = self.flows.iter().filter(|flow| flow.carries(entity));
        carried.find_map(|flow| by_field(&flow.conflicts, entity, field)).cloned().unwrap_or_default()
    }

    /// Return what happens to an edit at `system` of a field that another system owns; `None` if `system` owns it
    /// itself.
    pub(in crate::sync) fn drift(&self, entity: &str, field: &str, system: &str) -> Option<DriftPolicy> {
        self.to(system, entity)
            .filter(|flow| flow.brings(entity, field))
            .find(|flow| {
                let owner = self.owner(entity, field, &flow.from, system);
                owner.is_some_and(|owner| owner != system && owner != SHARED)
            })
            .map(|flow| by_field(&flow.drift, entity, field).copied().unwrap_or_default())
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
    pub(in crate::sync) fn from<'a>(&'a self, system: &'a str, entity: &'a str) -> impl Iterator<Item = &'a Flow> {
        self.flows.iter().filter(move |flow| flow.from == system && flow.carries(entity))
    }

    /// Flows that bring an entity to a system.
    pub(in crate::sync) fn to<'a>(&'a self, system: &'a str, entity: &'a str) -> impl Iterator<Item = &'a Flow> {
        self.flows.iter().filter(move |flow| flow.to.iter().any(|to| to == system) && flow.carries(entity))
    }

    /// Systems from which an entity is created at another system.
    pub(in crate::sync) fn sources(&self, to: &str, entity: &str) -> BTreeSet<&str> {
        let flows = self.flows.iter().filter(|flow| flow.carries(entity) && flow.reaches(to));
        flows.filter(|flow| !flow.fields.contains_key(entity)).map(|flow| flow.from.as_str()).collect()
    }

    /// Systems whose objects of an entity go to any other system.
    pub(in crate::sync) fn origins(&self, entity: &str) -> BTreeSet<&str> {
        let flows = self.flows.iter().filter(|flow| flow.carries(entity) && !flow.fields.contains_key(entity));
        flows.map(|flow| flow.from.as_str()).collect()
    }

    /// Whether a flow carries an entity between two systems, either way. A system is joined with itself.
    pub(in crate::sync) fn are_joined(&self, entity: &str, one: &str, other: &str) -> bool {
        one == other || self.flows.iter().any(|flow| flow.carries(entity) && flow.joins(one, other))
    }

    /// Whether a flow carries an entity to or from a system.
    pub(in crate::sync) fn knows(&self, entity: &str, system: &str) -> bool {
        let mut flows = self.flows.iter().filter(|flow| flow.carries(entity));
        flows.any(|flow| flow.from == system || flow.reaches(system))
    }

    /// Return the flow that decides whether a record of this entity exists at all between two systems: the first
    /// that carries it.
    pub(in crate::sync) fn leading(&self, entity: &str, one: &str, other: &str) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.carries(entity) && flow.joins(one, other))
    }

    /// Return the system that owns a field between a source and a target.
    #[must_use]
    pub fn owner(&self, entity: &str, field: &str, source: &str, target: &str) -> Option<&str> {
        let path = format!("{entity}.{field}");
        self.flows
            .iter()
            .find_map(|flow| flow.owners.get(&path))
            .map(String::as_str)
            .or_else(|| self.leading(entity, source, target).map(|flow| flow.from.as_str()))
    }

    /// Whether a record waits before this target if one of its items names no article.
    pub(in crate::sync) fn holds_without_article(&self, target: &str, entity: &str) -> bool {
        let holds = |flow: &Flow| flow.held_without_article.iter().any(|held| held == entity || held == "*");
        self.to(target, entity).any(holds)
    }

    /// Systems that a shop's orders go to.
    pub(in crate::sync) fn order_targets(&self, shop: &str) -> BTreeSet<&str> {
        let flows = self.flows.iter().filter(|flow| flow.from == shop && flow.brings_orders());
        flows.flat_map(|flow| flow.to.iter().map(String::as_str)).collect()
    }

    /// Return the shops whose orders are subtracted from the stock that a flow shows a target: the target itself,
    /// unless it allocates what is ordered there, and every other shop that shows stock of the same source and
    /// place.
    pub(in crate::sync) fn sellers(&self, flow: &Flow, target: &str) -> BTreeSet<&str> {
        let same = |other: &&Flow| other.carries("stock") && other.from == flow.from && other.stock.meets(&flow.stock);
        let shown = self.flows.iter().filter(same).flat_map(|other| other.to.iter().map(String::as_str));
        let mine = flow.stock.in_flight != Some(false);
        shown.filter(|shop| (mine || *shop != target) && !self.order_targets(shop).is_empty()).collect()
    }

    /// Return the flows that bring a target stock from which reservations are subtracted.
    pub(in crate::sync) fn minding(&self, target: &str) -> Vec<&Flow> {
        let flows = self.flows.iter().filter(|flow| flow.carries("stock") && flow.reaches(target));
        flows.filter(|flow| !self.sellers(flow, target).is_empty()).collect()
    }

    /// Return the shops whose orders are subtracted from the stock that a target shows.
    pub(in crate::sync) fn sellers_at(&self, target: &str) -> BTreeSet<&str> {
        self.minding(target).into_iter().flat_map(|flow| self.sellers(flow, target)).collect()
    }

    /// Return the targets from whose stock a shop's orders are subtracted.
    pub(in crate::sync) fn sold_from(&self, shop: &str) -> BTreeSet<&str> {
        self.targets_of("stock").into_iter().filter(|target| self.sellers_at(target).contains(shop)).collect()
    }

    /// Return the targets that subtract reservations when they show this system's stock.
    pub(in crate::sync) fn minded_by(&self, source: &str) -> BTreeSet<&str> {
        let minds = |target: &&str| self.minding(target).iter().any(|flow| flow.from == source);
        self.targets_of("stock").into_iter().filter(minds).collect()
    }

    /// Return the targets from whose stock the orders are subtracted that go to this system.
    pub(in crate::sync) fn sold_to(&self, target: &str) -> BTreeSet<&str> {
        let flows = self.flows.iter().filter(|flow| flow.brings_orders() && flow.reaches(target));
        flows.flat_map(|flow| self.sold_from(&flow.from)).collect()
    }

    /// Return the match rules of an entity, over all flows. If two are for one field, the first counts.
    pub(in crate::sync) fn matches(&self, entity: &str) -> Vec<&MatchRule> {
        let mut rules: Vec<&MatchRule> = Vec::new();
        for rule in self.flows.iter().filter_map(|flow| flow.matches.get(entity)).flatten() {
            if rules.iter().all(|known| known.field != rule.field) {
                rules.push(rule);
            }
        }
        rules
    }

    /// Whose a shop's orders are that name no customer.
    pub(in crate::sync) fn guests(&self, shop: &str) -> Option<&Guests> {
        let mut selling = self.flows.iter().filter(|flow| flow.from == shop && flow.carries("order"));
        selling.find_map(|flow| flow.guests.as_ref())
    }

    /// Systems that flows write to.
    pub(in crate::sync) fn targets(&self) -> BTreeSet<&str> {
        self.flows.iter().flat_map(|flow| flow.to.iter().map(String::as_str)).collect()
    }
}

impl Flow {
    pub(in crate::sync) fn carries(&self, entity: &str) -> bool {
        self.entities.iter().any(|carried| carried == entity)
    }

    /// Whether the flow carries this field of an entity it carries.
    #[must_use]
    pub fn brings(&self, entity: &str, field: &str) -> bool {
        self.fields.get(entity).is_none_or(|only| only.contains(field))
    }

    /// Whether the flow creates orders at its targets.
    fn brings_orders(&self) -> bool {
        self.carries("order") && !self.fields.contains_key("order")
    }

    fn reaches(&self, system: &str) -> bool {
        self.to.iter().any(|to| to == system)
    }

    fn joins(&self, one: &str, other: &str) -> bool {
        (self.from == one && self.reaches(other)) || (self.from == other && self.reaches(one))
    }

    /// What happens at the targets when the source no longer has a record of this entity.
    #[must_use]
    pub fn delete_policy(&self, entity: &str) -> DeletePolicy {
        self.on_delete.get(entity).or_else(|| self.on_delete.get("*")).copied().unwrap_or_default()
    }

    pub(in crate::sync) fn missing_policy(&self, entity: &str) -> MissingPolicy {
        self.on_missing.get(entity).or_else(|| self.on_missing.get("*")).copied().unwrap_or(match entity {
            "order" | "shipment" | "invoice" | "ticket" | "quote" | "customer" => MissingPolicy::Unlink,
            _ => MissingPolicy::Recreate,
        })
    }
}

/// Return the value for a field: its own, its entity's, or that for all.
fn by_field<'a, T>(values: &'a BTreeMap<String, T>, entity: &str, field: &str) -> Option<&'a T> {
    values.get(&format!("{entity}.{field}")).or_else(|| values.get(entity)).or_else(|| values.get("*"))
}

#[cfg(test)]
pub(in crate::sync) mod tests {
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

    #[test]
    fn who_sells_one_stock_is_decided_by_its_source_and_its_places() {
        let stock = |name: &str, to: &str, location: &str| {
            let mut flow = flow(name, "erp", to, &["stock"]);
            flow.stock.locations = Some(vec![location.to_owned()]);
            flow
        };
        let sales = |shop: &str| flow(&format!("sales-{shop}"), shop, "erp", &["order"]);
        let mut feed = flow("feed", "erp", "market", &["stock"]);
        feed.stock.in_flight = Some(false);
        let flows = vec![
            stock("es", "shop-es", "MAD"),
            stock("pt", "shop-pt", "LIS"),
            feed,
            sales("shop-es"),
            sales("shop-pt"),
        ];
        let routes = Routes::new(flows).unwrap();
        assert_eq!(routes.sellers_at("shop-es"), ["shop-es"].into(), "the other sells from another place");
        assert_eq!(routes.sellers_at("market"), ["shop-es", "shop-pt"].into(), "it sells nothing and shows both");
        assert_eq!(routes.sold_from("shop-pt"), ["market", "shop-pt"].into());
        assert_eq!(routes.sold_to("erp"), ["market", "shop-es", "shop-pt"].into());
        assert_eq!(routes.minded_by("erp").len(), 3);
    }
}
