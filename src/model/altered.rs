//! What a target made of a value: the same, another spelling of a free text, or something else.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{FieldSpec, Kind, decimal, empty};

/// How the value that a target holds differs from the value it was sent. Members and items that were not sent count
/// only if they cost money or refer to something, because a list is sent whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alteration {
    /// Only free texts are spelt differently.
    pub texts: bool,
    /// Paths at which the target holds something else: money, quantities, references, states, looked-up values...
    /// `variants[A-1].weight`.
    pub paths: BTreeSet<String>,
    /// Whether part of the difference costs money.
    pub exact: bool,
}

/// What is known of members in addition to their specification, by path without keys: `variants.weight`.
pub trait Members {
    /// Whether the target shows the member.
    fn is_shown(&self, path: &str) -> bool;
    /// Whether the value comes from a table.
    fn is_looked_up(&self, path: &str) -> bool;
}

impl Alteration {
    /// Compare the sent value of one field with the held one.
    pub fn of(spec: &FieldSpec, name: &str, sent: &Value, stored: &Value, members: &dyn Members) -> Self {
        let mut alteration = Self::default();
        alteration.compare(At::field(spec, name), sent, stored, members);
        alteration
    }

    /// Like [`of`](Self::of), and count as well the members that the target held before, was asked to drop, and
    /// still holds unchanged.
    pub fn since(
        spec: &FieldSpec,
        name: &str,
        (before, sent, stored): (&Value, &Value, &Value),
        members: &dyn Members,
    ) -> Self {
        let mut alteration = Self::of(spec, name, sent, stored, members);
        alteration.keep(At::field(spec, name), (before, sent, stored), members);
        alteration
    }

    /// Describe the difference for people. Show both values if they are single values and not personal.
    #[must_use]
    pub fn describe(&self, spec: &FieldSpec, name: &str, sent: &Value, stored: &Value) -> String {
        match (sent, stored) {
            (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
                self.paths.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ")
            }
            _ if spec.personal => name.to_owned(),
            _ => format!("{name} {stored} (sent: {sent})"),
        }
    }

    /// Whether it is more than another spelling.
    #[must_use]
    pub fn is_difference(&self) -> bool {
        !self.paths.is_empty()
    }

    fn differs(&mut self, at: At<'_>) {
        self.exact |= at.spec.costs();
        self.paths.insert(at.shown);
    }

    fn compare(&mut self, at: At<'_>, sent: &Value, stored: &Value, members: &dyn Members) {
        let spec = at.spec;
        if sent == stored || !members.is_shown(&at.path) {
            return;
        }
        match (spec.kind, sent, stored) {
            (Kind::Object, Value::Object(sent), stored) => {
                for (name, spec) in &spec.fields {
                    let Some(sent) = sent.get(name).filter(|sent| !empty(sent)) else { continue };
                    let stored = stored.get(name).unwrap_or(&Value::Null);
                    self.compare(at.member(name, spec), sent, stored, members);
                }
            }
            (Kind::Map, Value::Object(sent), stored) => {
                let Some(of) = spec.of.as_deref() else { return };
                for (name, sent) in sent {
                    let inner = At { path: at.path.clone(), ..at.member(name, of) };
                    self.compare(inner, sent, stored.get(name).unwrap_or(&Value::Null), members);
                }
            }
            (Kind::List, Value::Array(sent), stored) => {
                let stored = stored.as_array().map(Vec::as_slice).unwrap_or_default();
                self.items(&at, sent, stored, members);
            }
            _ if spec.is_free_text() && !members.is_looked_up(&at.path) => self.texts = true,
            _ => self.differs(at),
        }
    }

    fn items(&mut self, at: &At<'_>, sent: &[Value], stored: &[Value], members: &dyn Members) {
        let spec = at.spec;
        let Some(of) = spec.of.as_deref() else { return };
        for (index, item) in sent.iter().enumerate() {
            let key = spec.key.as_ref().and_then(|key| Some((of.fields.get(key)?, item.get(key)?)));
            let there = match (&spec.key, of.kind) {
                (Some(name), _) => stored.iter().find(|one| one.get(name) == item.get(name)),
                (None, Kind::Object | Kind::List | Kind::Map) => stored.get(index),
                (None, _) => stored.iter().find(|one| *one == item),
            };
            let at = at.item(of, index, key.and_then(|(_, key)| key.as_str()));
            match there {
                Some(there) => self.compare(at, item, there, members),
                // A target may store a copy of a linked file and show its own address of it.
                None if key.is_some_and(|(key, _)| key.kind == Kind::Url) => self.texts = true,
                None if of.is_free_text() && !members.is_looked_up(&at.path) => self.texts = true,
                None => self.differs(at),
            }
        }
        let is_sent = |one: &&Value| match &spec.key {
            Some(name) => sent.iter().any(|item| item.get(name) == one.get(name)),
            None => of.kind == Kind::Object || sent.contains(*one),
        };
        for (index, one) in stored.iter().enumerate().filter(|(_, one)| !is_sent(one)) {
            let key = spec.key.as_ref().and_then(|name| one.get(name)?.as_str());
            if of.kind == Kind::Ref || counts(of, one) {
                self.differs(at.item(of, index, key));
            }
        }
    }

    fn keep(&mut self, at: At<'_>, (before, sent, stored): (&Value, &Value, &Value), members: &dyn Members) {
        let spec = at.spec;
        match (spec.kind, before, sent, stored) {
            (Kind::Object, Value::Object(before), Value::Object(sent), Value::Object(stored)) => {
                for (name, spec) in &spec.fields {
                    let (Some(before), Some(stored)) = (before.get(name), stored.get(name)) else { continue };
                    let at = at.member(name, spec);
                    match sent.get(name).filter(|sent| !empty(sent)) {
                        Some(sent) => self.keep(at, (before, sent, stored), members),
                        None if before != stored || empty(stored) || !members.is_shown(&at.path) => {}
                        None if spec.is_free_text() && !members.is_looked_up(&at.path) => self.texts = true,
                        None => self.differs(at),
                    }
                }
            }
            (Kind::List, Value::Array(before), Value::Array(sent), Value::Array(stored)) => {
                let (Some(key), Some(of)) = (&spec.key, spec.of.as_deref()) else { return };
                for (index, item) in sent.iter().enumerate() {
                    let same = |one: &&Value| one.get(key) == item.get(key);
                    if let (Some(before), Some(stored)) = (before.iter().find(same), stored.iter().find(same)) {
                        let at = at.item(of, index, item.get(key).and_then(Value::as_str));
                        self.keep(at, (before, item, stored), members);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether the value has an amount or a quantity that is not zero.
fn counts(spec: &FieldSpec, value: &Value) -> bool {
    let is_figure = spec.kind == Kind::Money || spec.kind == Kind::Decimal && spec.exact;
    let is_some = |text: &str| decimal::parse(text).is_some_and(|figure| !figure.is_zero());
    is_figure && value.as_str().is_some_and(is_some)
        || spec.fields.iter().any(|(name, member)| value.get(name).is_some_and(|value| counts(member, value)))
}

/// Where a value is: in the specification, for the mapping, and for people.
#[derive(Clone)]
struct At<'a> {
    spec: &'a FieldSpec,
    path: String,
    shown: String,
    personal: bool,
}

impl<'a> At<'a> {
    fn field(spec: &'a FieldSpec, name: &str) -> Self {
        Self { spec, path: name.to_owned(), shown: name.to_owned(), personal: spec.personal }
    }

    fn member(&self, name: &str, spec: &'a FieldSpec) -> Self {
        let personal = self.personal || spec.personal;
        Self { spec, path: format!("{}.{name}", self.path), shown: format!("{}.{name}", self.shown), personal }
    }

    fn item(&self, of: &'a FieldSpec, index: usize, key: Option<&str>) -> Self {
        let name = key.filter(|_| !self.personal).map_or_else(|| index.to_string(), str::to_owned);
        Self { spec: of, path: self.path.clone(), shown: format!("{}[{name}]", self.shown), personal: self.personal }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Entities;

    struct AllShown;

    impl Members for AllShown {
        fn is_shown(&self, path: &str) -> bool {
            path != "variants.weight"
        }

        fn is_looked_up(&self, path: &str) -> bool {
            path == "unit"
        }
    }

    fn altered(entity: &str, field: &str, sent: &Value, stored: &Value) -> (bool, Vec<String>, bool) {
        let spec = Entities::builtin().get(entity).unwrap().clone();
        let one = Alteration::of(&spec.fields[field], field, sent, stored, &AllShown);
        (one.texts, one.paths.into_iter().collect(), one.exact)
    }

    fn paths(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|&path| path.to_owned()).collect()
    }

    #[test]
    fn only_free_texts_may_be_spelt_otherwise() {
        assert_eq!(
            altered("product", "name", &json!({"es": "a & b"}), &json!({"es": "a &amp; b"})),
            (true, vec![], false)
        );
        assert_eq!(altered("product", "brand", &json!("x"), &Value::Null), (true, vec![], false));
        assert_eq!(altered("product", "unit", &json!("piece"), &json!("box")), (false, paths(&["unit"]), false));
        assert_eq!(altered("product", "tax", &json!("reduced"), &json!("general")), (false, paths(&["tax"]), true));
        assert_eq!(altered("price", "amount", &json!("19.5"), &json!("195")), (false, paths(&["amount"]), true));
        assert_eq!(altered("order", "status", &json!("paid"), &json!("failed")), (false, paths(&["status"]), false));
        assert_eq!(altered("product", "active", &json!(true), &json!(false)), (false, paths(&["active"]), false));
    }

    #[test]
    fn amounts_are_compared_at_any_depth_and_by_key() {
        let (sent, stored) = (
            json!([{"location": "M", "quantity": "5"}, {"location": "B", "quantity": "2"}]),
            json!([{"location": "X", "quantity": "0"}, {"location": "B", "quantity": "3"}, {"location": "M", "quantity": "5"}]),
        );
        assert_eq!(altered("stock", "levels", &sent, &stored), (false, paths(&["levels[B].quantity"]), true));
        let (sent, stored) = (json!([{"minimum": "10", "amount": "4.5"}]), json!([{"minimum": "1", "amount": "4.5"}]));
        assert_eq!(altered("price", "breaks", &sent, &stored), (false, paths(&["breaks[10]", "breaks[1]"]), true));
    }

    #[test]
    fn an_item_that_costs_money_or_points_somewhere_and_was_not_sent_is_a_difference() {
        let (sent, stored) = (
            json!([{"location": "M", "quantity": "5"}]),
            json!([{"location": "M", "quantity": "5"}, {"location": "X", "quantity": "9"}]),
        );
        assert_eq!(altered("stock", "levels", &sent, &stored), (false, paths(&["levels[X]"]), true));
        let (ten, fifty) = (json!({"minimum": "10", "amount": "4.5"}), json!({"minimum": "50", "amount": "0.01"}));
        let (sent, stored) = (json!([ten]), json!([ten, fifty]));
        assert_eq!(altered("price", "breaks", &sent, &stored), (false, paths(&["breaks[50]"]), true));
        let (sent, stored) = (json!([{"record": 1}]), json!([{"record": 1}, {"record": 2}]));
        assert_eq!(altered("product", "categories", &sent, &stored), (false, paths(&["categories[1]"]), false));
        let (sent, stored) = (
            json!([{"line": "1", "quantity": "1", "unit_price": "10"}]),
            json!([{"line": "1", "quantity": "1", "unit_price": "10"}, {"line": "2", "quantity": "1", "unit_price": "50"}]),
        );
        assert_eq!(altered("order", "lines", &sent, &stored), (false, paths(&["lines[2]"]), true));
    }

    #[test]
    fn a_member_that_is_kept_though_it_was_taken_away_is_a_difference() {
        let spec = Entities::builtin().get("order").unwrap().fields["lines"].clone();
        let line = |discount: Option<&str>| {
            let mut line = json!({"line": "1", "quantity": "1", "unit_price": "10"});
            if let Some(discount) = discount {
                line["discount"] = discount.into();
            }
            json!([line])
        };
        let altered = |stored: Value| {
            let alteration = Alteration::since(&spec, "lines", (&line(Some("2")), &line(None), &stored), &AllShown);
            (alteration.paths.into_iter().collect::<Vec<_>>(), alteration.exact)
        };
        assert_eq!(altered(line(None)), (Vec::new(), false));
        assert_eq!(altered(line(Some("2"))), (paths(&["lines[1].discount"]), true));
        assert_eq!(altered(line(Some("3"))), (Vec::new(), false), "that is the target's own reckoning");
    }

    #[test]
    fn what_was_not_sent_or_is_never_shown_is_no_alteration() {
        let sent = json!([{"sku": "A", "weight": "1", "barcode": "84"}]);
        let stored = json!([{"sku": "B"}, {"sku": "A", "barcode": "84", "name": {"es": "x"}}]);
        assert_eq!(altered("product", "variants", &sent, &stored), (false, vec![], false));
    }
}
