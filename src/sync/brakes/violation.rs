//! What a write would do to a target that a person should look at first.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    mapping::Fields,
    model::{Entities, EntitySpec, Kind, States, decimal},
    port::Op,
    sync::{
        conflict::persons,
        routing::{Brake, Brakes},
    },
};

/// One way in which a write violates a brake.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Violation {
    pub(super) brake: Brake,
    /// The fields that it is about; empty if the object itself goes.
    pub(super) fields: BTreeSet<String>,
    /// For a price: by how many percent it changes; `None` if the two prices cannot be compared.
    pub(super) percent: Option<Decimal>,
    /// For the example: field, before, after.
    pub(super) shown: (String, Value, Value),
}

impl Violation {
    /// Whether it counts for these brakes.
    pub(super) fn counts(&self, brakes: &Brakes) -> bool {
        let far = self.brake != Brake::PriceChange || self.percent.is_none_or(|percent| percent > brakes.beyond);
        brakes.allowed.contains_key(&self.brake) && far
    }
}

/// An entity as brakes see it.
pub(super) struct Lookout<'a> {
    spec: &'a EntitySpec,
    /// Fields that list parts (which have prices and stock of their own), each with the member that tells the parts
    /// apart.
    child_lists: Vec<(&'a str, &'a str)>,
}

impl<'a> Lookout<'a> {
    pub(super) fn of(entities: &'a Entities, entity: &str) -> Option<Self> {
        let spec = entities.get(entity)?;
        let facet_lists: BTreeSet<&str> =
            entities.iter().flat_map(|spec| spec.fields.values()).filter_map(|field| field.part.as_deref()).collect();
        let child_lists =
            spec.fields.iter().filter(|(name, _)| facet_lists.contains(format!("{entity}.{name}").as_str()));
        let child_lists =
            child_lists.filter_map(|(name, field)| Some((name.as_str(), field.key.as_deref()?))).collect();
        Some(Self { spec, child_lists })
    }

    /// Whether the field holds personal data.
    pub(super) fn is_personal(&self, field: &str) -> bool {
        let name = field.split(['.', '[']).next().unwrap_or(field);
        self.spec.fields.get(name).is_some_and(|field| field.personal)
    }

    /// The field that stands for the object itself: without its key there is no object.
    pub(super) fn key(&self) -> &str {
        &self.spec.key
    }

    /// Return all violations of a write that turns `before`, an object of the target, into one whose `changed`
    /// fields are as in `desired`. Include every change of a price, however small. Creates violate nothing.
    pub(super) fn violations(
        &self,
        op: Op,
        before: &Fields,
        desired: &Fields,
        changed: &BTreeSet<String>,
    ) -> Vec<Violation> {
        match op {
            Op::Create => Vec::new(),
            Op::Delete => {
                let key = before.get(self.key()).cloned().unwrap_or_default();
                let shown = (self.spec.key.clone(), key, Value::Null);
                vec![Violation { brake: Brake::Delete, fields: BTreeSet::new(), percent: None, shown }]
            }
            Op::Update => {
                let edit = Edit { before, desired, changed };
                let mut found = Vec::new();
                found.extend(edit.hidden());
                found.extend(self.child_lists.iter().filter_map(|(list, key)| edit.lost_part(list, key)));
                found.extend(self.emptied(&edit));
                match self.spec.entity.as_str() {
                    "price" => found.extend(self.prices(&edit)),
                    "stock" => found.extend(edit.sold_out()),
                    "customer" => found.extend(edit.another_email()),
                    _ => {}
                }
                if let Some(states) = &self.spec.states {
                    found.extend(edit.ended(states));
                    found.extend(edit.goes_on(states));
                }
                found
            }
        }
    }

    /// Return a violation if something becomes paid at the target. The caller has to check whether any system
    /// reports a payment.
    pub(super) fn unpaid(&self, before: &Fields, desired: &Fields, changed: &BTreeSet<String>) -> Option<Violation> {
        let states = self.spec.states.as_ref()?;
        let edit = Edit { before, desired, changed };
        let paid = Value::from(states.paid.as_deref()?);
        let was = states.of(before).and_then(|state| states.rank(state));
        let field =
            states.fields.iter().find(|field| changed.contains(*field) && desired.get(*field) == Some(&paid))?;
        let becomes = was < states.rank(&paid);
        becomes.then(|| edit.violation(Brake::OrderState, field, before.get(field).unwrap_or(&Value::Null), &paid))
    }

    /// Return a violation for a change of the target's object whose state contradicts `other`, another system's
    /// state.
    pub(super) fn at_odds(&self, before: &Fields, changed: &BTreeSet<String>, other: &Value) -> Option<Violation> {
        let states = self.spec.states.as_ref()?;
        let state = states.of(before)?;
        let name = states.fields.iter().find(|name| before.get(*name) == Some(state))?;
        let fields = states.fields.iter().filter(|name| changed.contains(*name)).cloned().collect();
        let shown = (name.clone(), state.clone(), other.clone());
        Some(Violation { brake: Brake::OrderState, fields, percent: None, shown })
    }

    fn emptied(&self, edit: &Edit<'_>) -> Option<Violation> {
        let watched = self.spec.fields.iter().filter(|(_, field)| field.required || field.personal);
        let mut lost = watched.filter_map(|(name, field)| {
            let (before, after) = edit.sides(name)?;
            let is_lost = match (field.kind, before.as_object()) {
                _ if field.personal => persons::loses(field, before, after),
                (Kind::Localized, Some(texts)) => {
                    texts.iter().any(|(language, text)| !is_blank(text) && is_blank(&after[language.as_str()]))
                }
                (Kind::Text, _) => !is_blank(before) && is_blank(after),
                _ => false,
            };
            is_lost.then_some((name, before, after))
        });
        let (name, before, after) = lost.next()?;
        let mut violation = edit.violation(Brake::Emptied, name, before, after);
        violation.fields.extend(lost.map(|(name, ..)| name.clone()));
        Some(violation)
    }

    /// Check the amounts that a customer is asked to pay: required ones, not those that are shown struck through.
    fn prices(&self, edit: &Edit<'_>) -> Vec<Violation> {
        let mut pairs: Vec<(String, &str, Option<Decimal>, Option<Decimal>)> = Vec::new();
        for (name, field) in &self.spec.fields {
            let Some((before, after)) = edit.sides(name) else { continue };
            if field.required && field.kind == Kind::Money {
                pairs.push((name.clone(), name, amount(before), amount(after)));
            }
            let Some((key, of)) = field.key.as_ref().zip(field.of.as_ref()) else { continue };
            let (before, after) = (items(before, key), items(after, key));
            for (member, _) in of.fields.iter().filter(|(_, field)| field.required && field.kind == Kind::Money) {
                for (at, item) in &before {
                    // If a quantity break goes away, that is no change of a price.
                    if let Some(now) = after.get(at) {
                        let path = format!("{name}[{at}].{member}");
                        pairs.push((path, name, amount(&item[member.as_str()]), amount(&now[member.as_str()])));
                    }
                }
            }
        }
        let another_currency = self.spec.money_currency.as_deref().and_then(|field| {
            let (before, after) = edit.sides(field)?;
            (!before.is_null() && !after.is_null()).then_some((field, before, after))
        });
        let mut found: BTreeMap<Brake, Violation> = BTreeMap::new();
        if let Some((field, before, after)) = another_currency {
            found.insert(Brake::PriceChange, edit.violation(Brake::PriceChange, field, before, after));
        }
        for (path, field, before, after) in pairs {
            let Some(before) = before.filter(|before| !before.is_zero()) else { continue };
            let brake = match after {
                Some(after) if after > Decimal::ZERO && before != after => Brake::PriceChange,
                Some(after) if after > Decimal::ZERO => continue,
                _ => Brake::ZeroPrice,
            };
            let percent = after.and_then(|after| percent(before, after));
            let shown = (path, text(Some(before)), text(after));
            let violation = found.entry(brake).or_insert_with(|| Violation {
                brake,
                fields: BTreeSet::new(),
                percent,
                shown: shown.clone(),
            });
            // The greatest change stands for all. One that cannot be compared counts as the greatest.
            if violation.percent.is_some() && violation.percent.zip(percent).is_none_or(|(known, more)| more > known) {
                (violation.percent, violation.shown) = (percent, shown);
            }
            violation.fields.insert(field.to_owned());
        }
        // An amount means nothing without its currency and its tax: they are written together or not at all.
        let together = [self.spec.money_currency.as_deref(), Some("tax_included")];
        for violation in found.values_mut() {
            violation
                .fields
                .extend(together.into_iter().flatten().filter(|name| edit.changed.contains(*name)).map(str::to_owned));
        }
        found.into_values().collect()
    }
}

/// One object, before and after.
struct Edit<'a> {
    before: &'a Fields,
    desired: &'a Fields,
    changed: &'a BTreeSet<String>,
}

impl<'a> Edit<'a> {
    /// Return both values of a field that changes and that the target has.
    fn sides(&self, field: &str) -> Option<(&'a Value, &'a Value)> {
        static ABSENT: Value = Value::Null;
        let before = self.before.get(field)?;
        self.changed.contains(field).then(|| (before, self.desired.get(field).unwrap_or(&ABSENT)))
    }

    fn violation(&self, brake: Brake, field: &str, before: &Value, after: &Value) -> Violation {
        let shown = (field.to_owned(), before.clone(), after.clone());
        Violation { brake, fields: BTreeSet::from([field.to_owned()]), percent: None, shown }
    }

    fn hidden(&self) -> Option<Violation> {
        let before = self.before.get("active").cloned().unwrap_or(Value::Null);
        let after = self.desired.get("active").filter(|_| self.changed.contains("active"))?;
        let goes = *after == Value::Bool(false) && before != Value::Bool(false);
        goes.then(|| self.violation(Brake::Delete, "active", &before, after))
    }

    /// A variant that goes away, or that is no longer shown.
    fn lost_part(&self, list: &str, key: &str) -> Option<Violation> {
        let (before, after) = self.sides(list)?;
        let (before, after) = (items(before, key), items(after, key));
        let (key, was) = before.into_iter().find(|(key, was)| match after.get(key) {
            None => true,
            Some(now) => now["active"] == Value::Bool(false) && was["active"] == Value::Bool(true),
        })?;
        let now = after.get(&key).map_or(Value::Null, |now| now["active"].clone());
        let was = if now.is_null() { Value::from(&*key) } else { was["active"].clone() };
        let shown = (format!("{list}[{key}]"), was, now);
        Some(Violation { brake: Brake::Delete, fields: BTreeSet::from([list.to_owned()]), percent: None, shown })
    }

    fn sold_out(&self) -> Option<Violation> {
        let fields: BTreeSet<String> =
            ["quantity", "levels"].into_iter().filter(|name| self.changed.contains(*name)).map(str::to_owned).collect();
        if fields.is_empty() {
            return None;
        }
        let before = on_hand(|field| self.before.get(field))?;
        let after =
            on_hand(
                |field| if self.changed.contains(field) { self.desired.get(field) } else { self.before.get(field) },
            );
        let goes = before > Decimal::ZERO && after.is_none_or(|after| after <= Decimal::ZERO);
        let field = fields.first().cloned().unwrap_or_default();
        let shown = (field, text(Some(before)), text(after));
        goes.then(|| Violation { brake: Brake::ZeroStock, fields, percent: None, shown })
    }

    fn another_email(&self) -> Option<Violation> {
        let (before, after) = self.sides("email")?;
        let plain = |value: &Value| value.as_str().unwrap_or_default().trim().to_lowercase();
        let differs = !plain(before).is_empty() && plain(before) != plain(after);
        differs.then(|| self.violation(Brake::EmailChange, "email", before, after))
    }

    /// An order that ends, or that has ended and now gets a further end.
    fn ended(&self, states: &States) -> Option<Violation> {
        let rank = |value: &Value| states.has_ended(value).then(|| states.rank(value)).flatten();
        let before = states.fields.iter().filter_map(|name| rank(self.before.get(name)?)).max();
        let changed = || states.fields.iter().filter(|name| self.changed.contains(*name));
        let (after, name) = changed().filter_map(|name| Some((rank(self.desired.get(name)?)?, name))).max()?;
        (Some(after) > before).then(|| self.of_states(Brake::OrderEnd, states, name))
    }

    /// An order that had ended and goes on.
    fn goes_on(&self, states: &States) -> Option<Violation> {
        let ended = states.of(self.before).is_some_and(|state| states.has_ended(state));
        let is_so = |name: &String| self.before.get(name).is_some_and(|state| states.has_ended(state));
        let name = states.fields.iter().find(|name| ended && self.changed.contains(*name) && is_so(name))?;
        let goes_on = !states.has_ended(self.desired.get(name).unwrap_or(&Value::Null));
        goes_on.then(|| self.of_states(Brake::OrderState, states, name))
    }

    /// Make a violation that shows one field of the states and concerns all of them that change.
    fn of_states(&self, brake: Brake, states: &States, name: &str) -> Violation {
        let side = |fields: &Fields| fields.get(name).cloned().unwrap_or_default();
        let mut violation = self.violation(brake, name, &side(self.before), &side(self.desired));
        violation.fields.extend(states.fields.iter().filter(|name| self.changed.contains(*name)).cloned());
        violation
    }
}

fn is_blank(value: &Value) -> bool {
    value.as_str().is_none_or(|text| text.trim().is_empty())
}

fn amount(value: &Value) -> Option<Decimal> {
    value.as_str().and_then(decimal::parse)
}

fn text(value: Option<Decimal>) -> Value {
    value.map_or(Value::Null, |value| decimal::canonical(value).into())
}

/// Items of a list by the member that tells them apart.
fn items<'a>(list: &'a Value, key: &str) -> BTreeMap<Cow<'a, str>, &'a Value> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| Some((item.get(key)?.as_str()?.into(), item))).collect()
}

/// Quantity over all locations.
fn on_hand<'a>(field: impl Fn(&str) -> Option<&'a Value>) -> Option<Decimal> {
    if let Some(quantity) = field("quantity").and_then(amount) {
        return Some(quantity);
    }
    let levels = field("levels")?.as_array()?;
    levels.iter().try_fold(Decimal::ZERO, |sum, level| {
        // A shortage in one place takes nothing from another.
        sum.checked_add(amount(&level["quantity"]).unwrap_or_default().max(Decimal::ZERO))
    })
}

fn percent(before: Decimal, after: Decimal) -> Option<Decimal> {
    after.checked_sub(before)?.abs().checked_mul(Decimal::ONE_HUNDRED)?.checked_div(before.abs())
}
