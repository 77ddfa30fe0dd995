//! Turns `[flows.x]` into what the engine routes by, and checks every name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{
    FlowSection, StockSection, brakes,
    flows::{ArticlePolicy, Figure, choice, each, schedule},
    layers::Layers,
};
use crate::{
    expr::{Expr, KnownNames},
    load::{LoadError, Node, Place, Spanned},
    model::{Entities, EntitySpec, Kind, decimal},
    sync::{Brakes, ConflictPolicy, Flow, Guests, MatchRule, SHARED, Schedule, StockRule, field_of},
};

/// Where a flow's names are looked up.
pub struct Names<'a> {
    pub layers: &'a Layers,
    pub entities: &'a Entities,
    pub systems: Vec<&'a str>,
}

impl Names<'_> {
    /// Route one flow, and report all its problems at once.
    pub fn flow(&self, name: &str, section: &FlowSection) -> Result<Flow, LoadError> {
        let mut problems: Vec<LoadError> = Vec::new();
        let mut flow = Flow {
            name: name.to_owned(),
            entities: section.entities.iter().map(|entity| entity.get_ref().clone()).collect(),
            from: section.from.get_ref().clone(),
            to: section.to.iter().map(|system| system.get_ref().clone()).collect(),
            grace: section.grace.map_or(std::time::Duration::ZERO, |span| span.0),
            ..Flow::default()
        };
        let mut note = |result: Result<(), LoadError>| problems.extend(result.err());
        for entity in &section.entities {
            note(self.entity(entity.get_ref(), &self.place(entity)).map(|_| ()));
        }
        for system in std::iter::once(&section.from).chain(&section.to) {
            note(self.system(system));
        }
        note(self.schedules(section).map(|(every, full)| (flow.every, flow.full) = (every, full)));
        note(self.filters(section).map(|filters| flow.filters = filters));
        note(self.by_entity(section, section.on_delete.as_ref()).map(|policies| flow.on_delete = policies));
        note(self.by_entity(section, section.on_missing.as_ref()).map(|policies| flow.on_missing = policies));
        note(self.by_field(section, section.drift.as_ref(), choice).map(|policies| flow.drift = policies));
        note(
            self.by_field(section, section.conflicts.as_ref(), |node, place| {
                self.conflict_policy(section, node, place)
            })
            .map(|policies| flow.conflicts = policies),
        );
        note(self.brakes(section).map(|brakes| flow.brakes = brakes));
        note(self.owners(section).map(|owners| flow.owners = owners));
        note(self.matches(section).map(|matches| flow.matches = matches));
        note(self.field_lists(section, &section.fields).map(|fields| {
            flow.fields = fields.into_iter().map(|(entity, fields)| (entity, BTreeSet::from_iter(fields))).collect();
        }));
        note(self.guests(section).map(|guests| flow.guests = guests));
        note(self.states(section).map(|states| flow.states = states));
        note(self.by_entity::<ArticlePolicy>(section, section.without_article.as_ref()).map(|policies| {
            let held = policies.into_iter().filter(|(_, policy)| *policy == ArticlePolicy::Hold);
            flow.held_without_article = held.map(|(entity, _)| entity).collect();
        }));
        note(self.stock(section).map(|stock| flow.stock = stock));
        LoadError::collect(problems.into_iter().map(Err::<(), _>)).map(|_| flow)
    }

    /// By entity: the states that the source may set.
    fn states(&self, section: &FlowSection) -> Result<BTreeMap<String, BTreeSet<String>>, LoadError> {
        let lists = section.states.iter().map(|(entity, states)| {
            let place = self.place(entity);
            let spec = self.carried(section, entity.get_ref(), &place)?;
            let Some(known) = &spec.states else {
                let problem = format!("entity `{}` has no states", entity.get_ref());
                return Err(LoadError::new(&place, problem).help("an entity of your own declares them with `states`"));
            };
            let named = states.iter().map(|state| {
                if known.all().any(|one| one == state.get_ref()) {
                    return Ok(state.get_ref().clone());
                }
                Err(LoadError::unknown(&self.place(state), "state", state.get_ref(), known.all().collect::<Vec<_>>()))
            });
            Ok((entity.get_ref().clone(), LoadError::collect(named)?.into_iter().collect()))
        });
        Ok(LoadError::collect(lists)?.into_iter().collect())
    }

    /// The rule for stock; the flow must carry stock.
    fn stock(&self, section: &FlowSection) -> Result<StockRule, LoadError> {
        let Some(stock) = &section.stock else { return Ok(StockRule::default()) };
        let spec = self.carried(section, "stock", &self.place(stock))?;
        let StockSection { buffer, in_flight, figure, locations, quantity } = stock.get_ref();
        let mut rule = StockRule {
            in_flight: in_flight.as_ref().map(|value| *value.get_ref()),
            on_hand: *figure == Some(Figure::OnHand),
            ..StockRule::default()
        };
        let mut problems = Vec::new();
        if let Some(buffer) = buffer {
            match self.buffer(buffer) {
                Ok(buffer) => rule.buffer = buffer,
                Err(error) => problems.push(error),
            }
        }
        if let Some(locations) = locations {
            match self.locations(locations) {
                Ok(locations) => rule.locations = Some(locations),
                Err(error) => problems.push(error),
            }
        }
        if let Some(text) = quantity {
            let known = KnownNames::of(spec.fields.keys().cloned()).and(["on_hand", "reserved", "available"]);
            match Expr::compile(text.get_ref(), &self.place(text), &known) {
                Ok(expression) => rule.quantity = Some(expression),
                Err(error) => problems.push(error),
            }
        }
        LoadError::collect(problems.into_iter().map(Err::<(), _>)).map(|_| rule)
    }

    fn buffer(&self, node: &Spanned<Node>) -> Result<rust_decimal::Decimal, LoadError> {
        let buffer = match node.get_ref() {
            Node::Integer(whole) => Some(rust_decimal::Decimal::from(*whole)),
            Node::Text(text) => decimal::parse(text),
            _ => None,
        };
        buffer.filter(|buffer| !buffer.is_sign_negative()).ok_or_else(|| {
            LoadError::new(&self.place(node), "`buffer` is the quantity that is kept back from sale, zero or more")
                .help("a whole number, or a decimal as text: buffer = \"2.5\"")
        })
    }

    fn locations(&self, locations: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, LoadError> {
        if locations.get_ref().is_empty() {
            let error = LoadError::new(&self.place(locations), "without any location nothing is ever for sale");
            return Err(error.help("leave `locations` out to count them all"));
        }
        let mut named: Vec<String> = Vec::new();
        for location in locations.get_ref() {
            if named.contains(location.get_ref()) {
                let problem = format!("location `{}` is named twice", location.get_ref());
                return Err(LoadError::new(&self.place(location), problem));
            }
            named.push(location.get_ref().clone());
        }
        Ok(named)
    }

    fn place<T>(&self, value: &Spanned<T>) -> Place {
        self.layers.place(&value.span())
    }

    fn entity(&self, name: &str, place: &Place) -> Result<&EntitySpec, LoadError> {
        match self.entities.get(name) {
            Some(spec) => Ok(spec),
            None => Err(LoadError::unknown(place, "entity", name, self.entities.names().collect::<Vec<_>>())),
        }
    }

    fn system(&self, name: &Spanned<String>) -> Result<(), LoadError> {
        if self.systems.contains(&name.get_ref().as_str()) {
            return Ok(());
        }
        Err(LoadError::unknown(&self.place(name), "system", name.get_ref(), self.systems.clone()))
    }

    /// Check that the flow carries this entity.
    fn carried<'s>(&'s self, section: &FlowSection, name: &str, place: &Place) -> Result<&'s EntitySpec, LoadError> {
        let carried = section.entities.iter().map(|entity| entity.get_ref().as_str());
        if !carried.clone().any(|entity| entity == name) {
            return Err(LoadError::unknown(place, "entity of this flow", name, carried));
        }
        self.entity(name, place)
    }

    fn schedules(&self, section: &FlowSection) -> Result<(Option<Schedule>, Option<Schedule>), LoadError> {
        let zone = match &section.timezone {
            None => chrono_tz::UTC,
            Some(name) => name.get_ref().parse().map_err(|_| {
                let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
                LoadError::unknown(&self.place(name), "time zone", name.get_ref(), known)
            })?,
        };
        let read = |text: &Option<Spanned<String>>| {
            text.as_ref().map(|text| schedule(text.get_ref(), zone, &self.place(text))).transpose()
        };
        Ok((read(&section.every)?, read(&section.full)?))
    }

    fn filters(&self, section: &FlowSection) -> Result<BTreeMap<String, Expr>, LoadError> {
        let filters = section.filter.iter().flat_map(each).map(|(entity, node)| {
            let place = self.place(node);
            let Node::Text(text) = node.get_ref() else {
                return Err(LoadError::new(&place, "`where` is a condition as text, or a table of them by entity"));
            };
            // A condition for all entities may name the fields of any of them.
            let specs = match entity {
                "*" => section
                    .entities
                    .iter()
                    .filter_map(|name| self.entities.get(name.get_ref()))
                    .map(|spec| &**spec)
                    .collect(),
                name => vec![self.carried(section, name, &place)?],
            };
            let fields: BTreeSet<String> = specs.iter().flat_map(|spec| spec.fields.keys().cloned()).collect();
            Ok((entity.to_owned(), Expr::compile(text, &place, &KnownNames::of(fields))?))
        });
        Ok(LoadError::collect(filters)?.into_iter().collect())
    }

    fn by_entity<T: for<'de> Deserialize<'de>>(
        &self,
        section: &FlowSection,
        node: Option<&Spanned<Node>>,
    ) -> Result<BTreeMap<String, T>, LoadError> {
        let choices = node.into_iter().flat_map(each).map(|(entity, node)| {
            let place = self.place(node);
            if entity != "*" {
                self.carried(section, entity, &place)?;
            }
            Ok((entity.to_owned(), choice(node, &place)?))
        });
        Ok(LoadError::collect(choices)?.into_iter().collect())
    }

    /// Values for all entities, by entity, or by `entity.field`.
    fn by_field<T>(
        &self,
        section: &FlowSection,
        node: Option<&Spanned<Node>>,
        read: impl Fn(&Spanned<Node>, &Place) -> Result<T, LoadError>,
    ) -> Result<BTreeMap<String, T>, LoadError> {
        let values = node.into_iter().flat_map(each).map(|(name, node)| {
            let place = self.place(node);
            match name.split_once('.') {
                Some((entity, field)) => Self::field(self.carried(section, entity, &place)?, field, &place)?,
                None if name == "*" => {}
                None => self.carried(section, name, &place).map(|_| ())?,
            }
            Ok((name.to_owned(), read(node, &place)?))
        });
        Ok(LoadError::collect(values)?.into_iter().collect())
    }

    /// `manual`, or `prefer SYSTEM`.
    fn conflict_policy(
        &self,
        section: &FlowSection,
        node: &Spanned<Node>,
        place: &Place,
    ) -> Result<ConflictPolicy, LoadError> {
        let text = node.get_ref().as_text().unwrap_or_default();
        match text.split_once(' ') {
            None if text == "manual" => Ok(ConflictPolicy::Manual),
            Some(("prefer", system)) => {
                let system = system.trim();
                let ends = Self::ends(section);
                if !ends.contains(&system) {
                    return Err(LoadError::unknown(place, "system of this flow", system, ends));
                }
                Ok(ConflictPolicy::Prefer(system.to_owned()))
            }
            _ => Err(LoadError::new(place, format!("`{text}` does not say who decides a conflict"))
                .help("\"manual\", or for example \"prefer erp\"")),
        }
    }

    fn ends(section: &FlowSection) -> Vec<&str> {
        std::iter::once(&section.from).chain(&section.to).map(|system| system.get_ref().as_str()).collect()
    }

    fn brakes(&self, section: &FlowSection) -> Result<Brakes, LoadError> {
        section
            .brakes
            .as_ref()
            .map_or_else(|| Ok(Brakes::default()), |node| brakes::brakes(node, &|node| self.place(node)))
    }

    fn owners(&self, section: &FlowSection) -> Result<BTreeMap<String, String>, LoadError> {
        let owners = section.owners.iter().map(|(path, owner)| {
            let place = self.place(path);
            let paths = match path.get_ref().split_once('.') {
                Some((entity, field)) => {
                    Self::field(self.carried(section, entity, &place)?, field, &place)?;
                    vec![path.get_ref().clone()]
                }
                // All fields of an entity that no line names.
                None => {
                    let spec = self.carried(section, path.get_ref(), &place)?;
                    let fields = spec.fields.keys().filter(|field| **field != spec.key);
                    let paths = fields.map(|field| format!("{}.{field}", spec.entity));
                    paths.filter(|path| !section.owners.contains_key(path.as_str())).collect()
                }
            };
            let mut ends = Self::ends(section);
            ends.push(SHARED);
            if !ends.contains(&owner.get_ref().as_str()) {
                return Err(LoadError::unknown(&self.place(owner), "system of this flow", owner.get_ref(), ends));
            }
            Ok(paths.into_iter().map(|path| (path, owner.get_ref().clone())).collect::<Vec<_>>())
        });
        Ok(LoadError::collect(owners)?.into_iter().flatten().collect())
    }

    fn matches(&self, section: &FlowSection) -> Result<BTreeMap<String, Vec<MatchRule>>, LoadError> {
        let lists = section.matches.iter().map(|(entity, rules)| {
            let spec = self.carried(section, entity.get_ref(), &self.place(entity))?;
            let rules = rules.iter().map(|rule| self.match_rule(spec, rule));
            Ok((entity.get_ref().clone(), LoadError::collect(rules)?))
        });
        Ok(LoadError::collect(lists)?.into_iter().collect())
    }

    /// `"match"`, or `{ match = true, one = "VARIOS" }`; the flow must carry orders.
    fn guests(&self, section: &FlowSection) -> Result<Option<Guests>, LoadError> {
        const HELP: &str = "\"keep\", \"match\", \"create\", { one = \"KEY\" }, or { match = true, one = \"KEY\" }";
        let Some(node) = &section.guests else { return Ok(None) };
        self.carried(section, "order", &self.place(node))?;
        let mut guests = Guests::default();
        match node.get_ref() {
            Node::Text(text) if text == "keep" => return Ok(None),
            Node::Text(text) if text == "match" => guests.matched = true,
            Node::Text(text) if text == "create" => {
                self.carried(section, "customer", &self.place(node))?;
                (guests.matched, guests.created) = (true, true);
            }
            Node::Table(members) => {
                for (name, value) in members {
                    match (name.as_str(), value.get_ref()) {
                        ("match", Node::Boolean(flag)) => guests.matched = *flag,
                        ("one", Node::Text(key)) if !key.trim().is_empty() => guests.one = Some(key.clone()),
                        ("match" | "one", other) => {
                            let problem = format!("`{name}` cannot be this {}", other.kind());
                            return Err(LoadError::new(&self.place(value), problem).help(HELP));
                        }
                        _ => return Err(LoadError::unknown(&self.place(value), "key", name, ["match", "one"])),
                    }
                }
            }
            _ => {
                let problem = "`guests` says whose orders are that name no customer";
                return Err(LoadError::new(&self.place(node), problem).help(HELP));
            }
        }
        Ok((guests != Guests::default()).then_some(guests))
    }

    /// `"vat"`, or `{ field = "phone", weak = true }`.
    fn match_rule(&self, spec: &EntitySpec, rule: &Spanned<Node>) -> Result<MatchRule, LoadError> {
        const HELP: &str = "for example \"vat\", \"variants.barcode\", or { field = \"phone\", weak = true }";
        let (mut field, mut weak) = (rule.get_ref().as_text().map(|text| (text, self.place(rule))), false);
        if let Node::Table(members) = rule.get_ref() {
            for (name, value) in members {
                match (name.as_str(), value.get_ref()) {
                    ("field", Node::Text(text)) => field = Some((text, self.place(value))),
                    ("weak", Node::Boolean(flag)) => weak = *flag,
                    ("field" | "weak", other) => {
                        let problem = format!("`{name}` cannot be a {}", other.kind());
                        return Err(LoadError::new(&self.place(value), problem).help(HELP));
                    }
                    _ => return Err(LoadError::unknown(&self.place(value), "key", name, ["field", "weak"])),
                }
            }
        }
        let Some((field, place)) = field else {
            return Err(LoadError::new(&self.place(rule), "a match rule names a field").help(HELP));
        };
        let Some(found) = field_of(spec, field) else {
            let known = spec.fields.keys().map(String::as_str);
            return Err(LoadError::unknown(&place, &format!("field of {}", spec.entity), field, known));
        };
        if found.kind != Kind::Text {
            let problem = format!("records can only be matched by texts, and `{field}` is none");
            return Err(LoadError::new(&place, problem).help(HELP));
        }
        Ok(MatchRule { field: field.to_owned(), weak })
    }

    fn field_lists(
        &self,
        section: &FlowSection,
        lists: &indexmap::IndexMap<Spanned<String>, Vec<Spanned<String>>>,
    ) -> Result<BTreeMap<String, Vec<String>>, LoadError> {
        let lists = lists.iter().map(|(entity, fields)| {
            let spec = self.carried(section, entity.get_ref(), &self.place(entity))?;
            let fields = fields
                .iter()
                .map(|field| Self::field(spec, field.get_ref(), &self.place(field)).map(|()| field.get_ref().clone()));
            Ok((entity.get_ref().clone(), LoadError::collect(fields)?))
        });
        Ok(LoadError::collect(lists)?.into_iter().collect())
    }

    fn field(spec: &EntitySpec, field: &str, place: &Place) -> Result<(), LoadError> {
        if spec.fields.contains_key(field) {
            return Ok(());
        }
        let known = spec.fields.keys().map(String::as_str);
        Err(LoadError::unknown(place, &format!("field of {}", spec.entity), field, known))
    }
}
