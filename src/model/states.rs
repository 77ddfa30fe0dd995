//! How far an object has come: states in an order, some of which are final.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The states of an entity's objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct States {
    /// Fields that hold a state; the furthest of them is the object's.
    pub fields: Vec<String>,
    /// States in which it goes on, in their order.
    pub order: Vec<String>,
    /// States in which it has ended, in their order; each is further than all of `order`.
    #[serde(default)]
    pub ended: Vec<String>,
    /// Not to be made elsewhere before it has left these.
    #[serde(default)]
    pub unaccepted: Vec<String>,
    /// States in which it holds no goods back.
    #[serde(default)]
    pub released: Vec<String>,
    /// The field that says whether it holds goods back, where its state alone does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The state that says that it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<String>,
    /// Where it is said whether there was a payment: `payment.paid`; one that says so is enough.
    #[serde(default)]
    pub payment: Vec<String>,
}

/// Whether an object may be created at a system that does not have it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    Yes,
    /// Not in this state; it reserves its goods meanwhile.
    NotYet(String),
    /// It ended without ever being accepted.
    Never,
}

impl States {
    /// Problems of the declaration, one sentence each. `fields` are the entity's.
    pub(super) fn problems(&self, is_field: impl Fn(&str) -> bool) -> Vec<String> {
        let mut problems = Vec::new();
        let payment = self.payment.iter().filter_map(|path| path.split('.').next());
        let named = self.fields.iter().chain(&self.held).map(String::as_str);
        for field in named.chain(payment).filter(|field| !is_field(field)) {
            problems.push(format!("`states` names `{field}`, which is not among the fields"));
        }
        if self.fields.is_empty() {
            problems.push("`states` needs `fields`, those that hold a state".to_owned());
        }
        let mut seen = BTreeSet::new();
        for state in self.all().filter(|state| !seen.insert(*state)) {
            problems.push(format!("`states` has `{state}` twice"));
        }
        for state in self.unaccepted.iter().chain(&self.released).chain(&self.paid) {
            if !seen.contains(state.as_str()) {
                problems.push(format!("`states` knows no `{state}`; it stands in neither `order` nor `ended`"));
            }
        }
        problems
    }

    /// All states, from the first to the last.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.order.iter().chain(&self.ended).map(String::as_str)
    }

    /// Whether a field holds a state.
    #[must_use]
    pub fn holds(&self, field: &str) -> bool {
        self.fields.iter().any(|holding| holding == field)
    }

    /// The position of a state in the order. Return `None` if the state is unknown or there is none.
    #[must_use]
    pub fn rank(&self, state: &Value) -> Option<usize> {
        let state = state.as_str()?;
        self.all().position(|known| known == state)
    }

    /// Whether an object in this state has ended.
    #[must_use]
    pub fn has_ended(&self, state: &Value) -> bool {
        state.as_str().is_some_and(|state| self.ended.iter().any(|ended| ended == state))
    }

    /// The furthest state that an object's fields show. An unknown state counts only if it is the only one.
    #[must_use]
    pub fn of<'a>(&self, object: &'a Map<String, Value>) -> Option<&'a Value> {
        let shown = self.fields.iter().filter_map(|field| object.get(field)).filter(|value| !value.is_null());
        shown.max_by_key(|state| self.rank(state).map_or(0, |rank| rank + 1))
    }

    /// Whether writing `desired` over `known` would lead back, or repeat a state that is already passed. Leaving a
    /// final state is not a step back: a person decides that.
    #[must_use]
    pub fn is_behind(&self, desired: &Value, known: &Value) -> bool {
        if self.has_ended(known) && !self.has_ended(desired) {
            return false;
        }
        self.rank(desired).zip(self.rank(known)).is_some_and(|(desired, known)| desired < known)
    }

    /// Whether there was a payment. Return `None` if the object does not say it.
    #[must_use]
    pub fn is_paid(&self, object: &Map<String, Value>) -> Option<bool> {
        let at = |path: &String| {
            let mut path = path.split('.');
            let first = object.get(path.next()?)?;
            path.try_fold(first, |value, member| value.get(member)).and_then(Value::as_bool)
        };
        self.payment.iter().filter_map(at).max()
    }

    /// Whether other systems must know of an object.
    #[must_use]
    pub fn accepted(&self, object: &Map<String, Value>) -> Accepted {
        let Some(state) = self.of(object) else { return Accepted::Yes };
        let name = state.as_str().unwrap_or_default();
        let is_listed = |states: &[String]| states.iter().any(|listed| listed == name);
        let unpaid = self.is_paid(object) == Some(false);
        let is_accepted = if self.has_ended(state) {
            !is_listed(&self.unaccepted) && !unpaid
        } else {
            !is_listed(&self.unaccepted) && (self.rank(state).is_some() || !unpaid)
        };
        match is_accepted {
            true => Accepted::Yes,
            // The customer may still pay.
            false if self.holds_goods(object) => Accepted::NotYet(name.to_owned()),
            false => Accepted::Never,
        }
    }

    /// Whether an object in its state reserves goods.
    #[must_use]
    pub fn holds_goods(&self, object: &Map<String, Value>) -> bool {
        let said = self.held.as_ref().and_then(|field| object.get(field)).and_then(Value::as_bool);
        let state = self.of(object).and_then(Value::as_str).unwrap_or_default();
        said.unwrap_or_else(|| !self.released.iter().any(|released| released == state))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::Entities, *};

    fn order() -> States {
        Entities::builtin().get("order").unwrap().states.clone().unwrap()
    }

    fn accepted(object: &Value) -> Accepted {
        order().accepted(object.as_object().unwrap())
    }

    #[test]
    fn what_was_not_accepted_is_nobody_elses_affair_yet() {
        assert_eq!(accepted(&json!({"status": "paid"})), Accepted::Yes);
        assert_eq!(accepted(&json!({"status": "confirmed", "payment": {"paid": false}})), Accepted::Yes, "by transfer");
        assert_eq!(accepted(&json!({"status": "pending"})), Accepted::NotYet("pending".into()));
        assert_eq!(accepted(&json!({"status": "failed"})), Accepted::Never);
        assert_eq!(accepted(&json!({"status": "failed", "goods_held": true})), Accepted::NotYet("failed".into()));
        assert_eq!(accepted(&json!({"status": "cancelled", "payment": {"paid": false}})), Accepted::Never);
        assert_eq!(accepted(&json!({"status": "cancelled", "payment": {"paid": true}})), Accepted::Yes);
        assert_eq!(accepted(&json!({"status": "cancelled"})), Accepted::Yes, "nobody says that it was not paid");
    }

    #[test]
    fn an_unknown_state_is_accepted_unless_it_is_known_to_be_unpaid() {
        assert_eq!(accepted(&json!({"status": "packing"})), Accepted::Yes);
        let unpaid = json!({"status": "packing", "payment": {"paid": false}});
        assert_eq!(accepted(&unpaid), Accepted::NotYet("packing".into()));
    }

    #[test]
    fn a_state_that_is_behind_differs_from_one_that_leaves_an_end() {
        let is_behind = |desired: &str, known: &str| order().is_behind(&desired.into(), &known.into());
        assert!(is_behind("paid", "shipped") && is_behind("cancelled", "refunded"));
        assert!(!is_behind("shipped", "paid") && !is_behind("cancelled", "shipped") && !is_behind("paid", "paid"));
        assert!(!is_behind("paid", "cancelled"), "that is for a person");
        assert!(!is_behind("packing", "paid") && !is_behind("paid", "packing"), "nobody knows");
    }

    #[test]
    fn the_furthest_of_several_fields_is_the_state() {
        let object = json!({"status": "paid", "closed": "cancelled"});
        assert_eq!(order().of(object.as_object().unwrap()), Some(&json!("cancelled")));
        assert!(!order().holds_goods(object.as_object().unwrap()));
        assert!(order().holds_goods(json!({"status": "refunded"}).as_object().unwrap()), "its goods may have left");
        assert!(order().holds_goods(json!({"status": "pending"}).as_object().unwrap()));
    }
}
