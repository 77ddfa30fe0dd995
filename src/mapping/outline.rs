//! What a mapping reads, writes and holds fixed, field by field. It serves to prove that flows lose nothing on the
//! way, and to refuse an object that its target would take for another one.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{
    Fields,
    rule::{Convert, Item, Rule},
};
use crate::{
    expr::{Expr, Scope, text_of},
    load::Place,
    model::{self, EntitySpec, FieldSpec},
};

/// Fields of an object (or of its members), by name.
#[derive(Clone, Debug, Default)]
pub struct Outline(pub BTreeMap<String, FieldOutline>);

/// What becomes of one field at a system.
#[derive(Clone, Debug, Default)]
pub struct FieldOutline {
    pub reads: bool,
    /// Written, or used by an expression that is written for another field.
    pub carried: bool,
    /// The only value that the field can have there, in canonical form.
    pub fixed: Option<Value>,
    pub qualifies: bool,
    /// Whether it qualifies and is mostly the same for all objects.
    pub alike: bool,
    /// Whether its value, or each of its items, comes from a table.
    pub looked_up: bool,
    /// Where the mapping defines it; absent if the mapping does not mention the field.
    pub place: Option<Place>,
    /// Members of an object, or of a list's items, if each is mapped by a rule of its own.
    pub members: Option<Outline>,
    holds: Option<Expr>,
}

/// A value that a system has no place for: it belongs to a field that identifies the object, or the mapping's own
/// condition refuses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Misfit {
    /// `currency`, `rates.currency`
    pub path: String,
    /// Absent for a list or an object, and for personal data.
    pub value: Option<String>,
    /// The only value that the system can hold, or the value that it is known to hold instead.
    pub held: Option<String>,
    /// The mapping's own reason why it cannot be held.
    pub reason: Option<String>,
    pub qualifies: bool,
    /// The source says that there is no value.
    pub empty: bool,
    /// Whether the mapping does not mention the field, and the first object's value may count as the value of all.
    pub alike: bool,
    pub place: Option<Place>,
}

impl Outline {
    pub(super) fn of(spec: &EntitySpec, rules: &[Rule], settings: &Scope<'_>) -> Self {
        let mut outline = Self::level(&spec.fields, rules, settings, true);
        if let Some(currency) = spec.money_currency.as_ref().and_then(|field| outline.0.get_mut(field)) {
            currency.qualifies = true;
        }
        for name in &spec.alike {
            if let Some(held) = outline.0.get_mut(name) {
                held.alike = true;
            }
        }
        outline
    }

    fn level(specs: &IndexMap<String, FieldSpec>, rules: &[Rule], settings: &Scope<'_>, top: bool) -> Self {
        let mut asked = BTreeSet::new();
        for rule in rules {
            collect(rule, top, &mut asked);
        }
        let held = |(name, spec): (&String, &FieldSpec)| {
            let rule = rules.iter().find(|rule| rule.name == *name);
            let own = rule.is_some_and(|rule| rule.writes);
            let members = rule.filter(|rule| rule.push.is_none() && !asked.contains(name)).and_then(|rule| {
                match (&rule.convert, &spec.of) {
                    (Convert::Object(rules), _) => Some(Self::level(&spec.fields, rules, settings, false)),
                    (Convert::Each(each), Some(of)) => match &each.item {
                        Item::Object(rules) => Some(Self::level(&of.fields, rules, settings, false)),
                        Item::One(_) => None,
                    },
                    _ => None,
                }
            });
            let fixed = rule.and_then(|rule| rule.fixed(settings)).and_then(|value| model::normal(spec, value));
            let held = FieldOutline {
                reads: rule.is_some_and(|rule| rule.reads),
                carried: own || asked.contains(name),
                fixed,
                qualifies: spec.qualifies,
                alike: false,
                looked_up: rule.is_some_and(is_looked_up),
                place: rule.map(|rule| rule.place.clone()),
                members,
                holds: rule.and_then(|rule| rule.holds.clone()),
            };
            (name.clone(), held)
        };
        Self(specs.iter().map(held).collect())
    }

    /// Values of `said` that identify the object and that the system has no place for. `here` is what the system is
    /// known to hold: a field that the mapping reads and does not write must be the same there. A field that
    /// `source` names and `said` lacks has no value: if the system holds a value in it, it is another object.
    pub(super) fn misfits(
        &self,
        spec: &EntitySpec,
        (said, source): (&Fields, Option<&Self>),
        here: Option<&Fields>,
        settings: &Scope<'_>,
    ) -> Vec<Misfit> {
        let (root, there) = (Value::Object(said.clone()), Value::Object(here.cloned().unwrap_or_default()));
        let scope = settings.child().with("root", &root).with("here", &there);
        self.compare(&spec.fields, (said, source), here, &scope)
    }

    fn compare(
        &self,
        specs: &IndexMap<String, FieldSpec>,
        (said, source): (&Map<String, Value>, Option<&Self>),
        here: Option<&Fields>,
        scope: &Scope<'_>,
    ) -> Vec<Misfit> {
        let none = Map::new();
        let mut misfits = Vec::new();
        for (name, spec) in specs {
            let Some(held) = self.0.get(name) else { continue };
            let shown = |value: &Value| text_of(value).filter(|_| !spec.personal);
            let source_field = source.and_then(|source| source.0.get(name)).filter(|source_field| source_field.reads);
            let inner = source_field.and_then(|source_field| source_field.members.as_ref());
            let value = said.get(name).filter(|value| !model::empty(value));
            let refused = match value {
                Some(value) => held.refuses(said, value, here.and_then(|here| here.get(name)), scope),
                None => source_field.and(held.alone()).map(|known| (Some(known), None)),
            };
            if let Some((known, reason)) = refused {
                misfits.push(Misfit {
                    path: name.clone(),
                    value: value.and_then(shown),
                    held: known.and_then(shown),
                    reason,
                    qualifies: held.qualifies,
                    empty: value.is_none(),
                    alike: held.alike && held.place.is_none(),
                    place: held.place.clone(),
                });
                continue;
            }
            let Some(members) = held.members.as_ref().filter(|_| held.carried) else { continue };
            let found = match (value, &spec.of) {
                (Some(Value::Object(value)), _) => members.compare(&spec.fields, (value, inner), None, scope),
                (Some(Value::Array(items)), Some(of)) => {
                    let items = items.iter().filter_map(Value::as_object);
                    items.flat_map(|item| members.compare(&of.fields, (item, inner), None, scope)).collect()
                }
                (None, None) => members.compare(&spec.fields, (&none, inner), None, scope),
                _ => Vec::new(),
            };
            misfits.extend(found.into_iter().map(|one| Misfit { path: format!("{name}.{}", one.path), ..one }));
        }
        misfits.dedup();
        misfits
    }

    /// Paths that `source` reads and this mapping has no place for. Keys are left out because each system has its
    /// own, and qualifying fields because they have a warning of their own.
    #[must_use]
    pub fn lacks(&self, source: &Self, spec: &EntitySpec) -> Vec<String> {
        self.missing(source, &spec.fields, Some(&spec.key))
    }

    fn missing(&self, source: &Self, specs: &IndexMap<String, FieldSpec>, key: Option<&String>) -> Vec<String> {
        let mut paths = Vec::new();
        for (name, spec) in specs.iter().filter(|(name, _)| Some(*name) != key) {
            let Some(theirs) = source.0.get(name).filter(|theirs| theirs.reads) else { continue };
            match self.0.get(name) {
                Some(held) if held.carried => {
                    if let (Some(theirs), Some(members)) = (&theirs.members, &held.members) {
                        let inner = spec.of.as_deref().map_or(&spec.fields, |of| &of.fields);
                        let below = members.missing(theirs, inner, spec.key.as_ref());
                        paths.extend(below.iter().map(|path| format!("{name}.{path}")));
                    }
                }
                Some(held) if held.qualifies => {}
                _ => paths.push(name.clone()),
            }
        }
        paths
    }
}

impl FieldOutline {
    /// Whether the system can hold it only under a condition on its value.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.holds.is_some()
    }

    /// The only value that all objects have there, if the field tells objects apart.
    fn alone(&self) -> Option<&Value> {
        let is_alone = self.qualifies && !self.carried && self.holds.is_none();
        self.fixed.as_ref().filter(|value| is_alone && !model::empty(value))
    }

    /// If the system cannot hold the value as it is: what takes its place, and why. `there` is what the system is
    /// known to hold.
    fn refuses<'a>(
        &'a self,
        said: &Map<String, Value>,
        value: &Value,
        there: Option<&'a Value>,
        scope: &Scope<'_>,
    ) -> Option<(Option<&'a Value>, Option<String>)> {
        let there = there.filter(|_| self.reads && !self.carried);
        if let Some(holds) = &self.holds {
            let desired = Value::Object(said.clone());
            let scope = scope.child().with("wanted", &desired).with("value", value);
            match holds.eval(&scope) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::String(reason)) => return Some((None, Some(reason))),
                Ok(_) => return Some((there, None)),
                // A condition that cannot be evaluated holds nothing: the object waits until a person looks at it.
                Err(error) => return Some((there, Some(error.to_string()))),
            }
        }
        if !self.qualifies {
            return None;
        }
        let known = self.fixed.as_ref().or(there);
        let is_held = self.holds.is_some() || self.carried || known == Some(value);
        (!is_held || there.is_some_and(|there| there != value)).then_some((there.or(known), None))
    }
}

impl Outline {
    fn at(&self, path: &str) -> Option<&FieldOutline> {
        match path.split_once('.') {
            None => self.0.get(path),
            // If a field is mapped as a whole, nothing is known of what is below it.
            Some((first, rest)) => self.0.get(first).and_then(|held| held.members.as_ref()?.at(rest)),
        }
    }

    /// Whether a path is mapped itself or lies below a field that is mapped as a whole.
    fn is_mapped(&self, path: &str) -> bool {
        match path.split_once('.') {
            None => self.0.get(path).is_none_or(|held| held.reads),
            Some((first, rest)) => self
                .0
                .get(first)
                .is_none_or(|held| held.reads && held.members.as_ref().is_none_or(|members| members.is_mapped(rest))),
        }
    }
}

impl model::Members for Outline {
    fn is_shown(&self, path: &str) -> bool {
        self.is_mapped(path)
    }

    fn is_looked_up(&self, path: &str) -> bool {
        self.at(path).is_some_and(|held| held.looked_up)
    }
}

fn is_looked_up(rule: &Rule) -> bool {
    match &rule.convert {
        Convert::Lookup(_) => true,
        Convert::Each(each) => matches!(&each.item, Item::One(one) if matches!(one.convert, Convert::Lookup(_))),
        _ => false,
    }
}

/// Collect the names of fields at this level that the `push` of this rule, or of a rule inside it, uses.
fn collect(rule: &Rule, top: bool, asked: &mut BTreeSet<String>) {
    if rule.writes {
        asked.extend(asked_for(rule, "wanted").into_iter().flatten());
    }
    if !top {
        return;
    }
    let inner: &[Rule] = match &rule.convert {
        Convert::Object(rules) => rules,
        Convert::Each(each) => match &each.item {
            Item::Object(rules) => rules,
            Item::One(one) => std::slice::from_ref(one),
        },
        _ => &[],
    };
    asked.extend(std::iter::once(rule).chain(inner).filter_map(|rule| asked_for(rule, "root")).flatten());
}

fn asked_for(rule: &Rule, variable: &str) -> Option<BTreeSet<String>> {
    rule.push.as_ref().and_then(|push| push.members(variable))
}
