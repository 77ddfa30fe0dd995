//! A target's terms: which parts of a value its mapping can write and read. If a value differs only in parts that
//! can be neither written nor read there, it counts as equal.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use crate::{
    mapping::{Fields, Translate},
    model::{EntitySpec, FieldSpec, Kind, Shape, agree},
    store::Replica,
    sync::{conflict::respelt, context::Context},
};

static ABSENT: Value = Value::Null;
static WHOLE: Shape = Shape::Whole;

/// What a target's mapping can write and read of one entity.
#[derive(Clone, Debug, Default)]
pub(in crate::sync) struct Terms {
    spec: Option<Arc<EntitySpec>>,
    fields: BTreeMap<String, FieldShapes>,
}

#[derive(Clone, Debug)]
struct FieldShapes {
    /// The parts of the field that can be written.
    written: Shape,
    /// The parts of it that are shown as well.
    shown: Shape,
}

impl Terms {
    pub(in crate::sync) fn of(context: &Context, mapping: &dyn Translate, entity: &str) -> Self {
        let shapes = |(field, written): (&String, &Shape)| {
            let shown = mapping.read_shapes().get(field).map_or_else(|| written.clone(), |shown| shown.meet(written));
            (field.clone(), FieldShapes { written: written.clone(), shown })
        };
        Self {
            spec: context.entities.get(entity).cloned(),
            fields: mapping.written_shapes().iter().map(shapes).collect(),
        }
    }

    fn field(&self, field: &str) -> Option<&FieldSpec> {
        self.spec.as_ref()?.fields.get(field)
    }

    /// Whether two values are equal in what the target shows of the field.
    pub(in crate::sync) fn same(&self, field: &str, one: &Value, other: &Value) -> bool {
        one == other
            || agree(self.field(field), self.fields.get(field).map_or(&WHOLE, |shapes| &shapes.shown), one, other)
    }

    /// Whether writing one value is the same as writing the other.
    fn is_as_written(&self, field: &str, one: &Value, other: &Value) -> bool {
        one == other
            || agree(self.field(field), self.fields.get(field).map_or(&WHOLE, |shapes| &shapes.written), one, other)
    }

    /// Whether the target has to be sent a value: it neither stores the value nor was sent it. An absent field and
    /// `null` are the same.
    fn differs(&self, field: &str, value: &Value, replica: &Replica) -> bool {
        let stored = replica.fields.get(field).unwrap_or(&ABSENT);
        let as_there = |there: &Value| unsaid(self.field(field), value, there);
        match replica.sent.get(field) {
            None => !self.same(field, &as_there(stored), stored),
            Some(sent) if self.is_as_written(field, &as_there(sent), sent) => false,
            // For parts that are written but not shown, only what was sent says whether they are there.
            Some(_) if self.fields.get(field).is_some_and(|shapes| shapes.written != shapes.shown) => true,
            Some(_) => !self.same(field, &as_there(stored), stored),
        }
    }

    /// Return the fields of `desired` that the target has to be sent.
    pub(in crate::sync) fn difference(&self, desired: &Fields, replica: Option<&Replica>) -> BTreeSet<String> {
        let differs = |(field, value): &(&String, &Value)| {
            replica.map_or(!value.is_null(), |replica| self.differs(field, value, replica))
        };
        desired.iter().filter(differs).map(|(field, _)| field.clone()).collect()
    }

    /// At first contact: if a text is there in another spelling (`&` as `&amp;`, space around it), it counts as the
    /// desired one.
    pub(in crate::sync) fn take_spelling(&self, desired: &Fields, replica: &mut Replica) {
        for (field, value) in desired {
            let stored = replica.fields.get(field).unwrap_or(&ABSENT);
            if !self.same(field, value, stored) && self.is_spelling(field, value, stored) {
                replica.sent.insert(field.clone(), value.clone());
            }
        }
    }

    /// At first contact: if a key is there as the target spells it, it counts as the desired one.
    pub(in crate::sync) fn take_key(&self, mapping: &dyn Translate, desired: &Fields, replica: &mut Replica) {
        let Some(key) = self.spec.as_ref().map(|spec| &spec.key) else { return };
        if let (Some(value), Some(stored)) = (desired.get(key), replica.fields.get(key))
            && value != stored
            && respelt::is_spelt(mapping, value, stored)
        {
            replica.sent.insert(key.clone(), value.clone());
        }
    }

    fn is_spelling(&self, field: &str, value: &Value, stored: &Value) -> bool {
        let alike = |one: &Value, other: &Value| match (one.as_str(), other.as_str()) {
            (Some(one), Some(other)) => plain(one) == plain(other),
            _ => one == other,
        };
        match (self.field(field).map(|spec| spec.kind), self.fields.get(field).map(|shapes| &shapes.shown)) {
            (Some(Kind::Text), _) => alike(value, stored),
            (Some(Kind::Localized), Some(Shape::Languages(languages))) => {
                let text = |texts: &Value, language: &String| texts.get(language).cloned().unwrap_or_default();
                languages.iter().all(|language| alike(&text(value, language), &text(stored, language)))
            }
            (Some(Kind::Localized), _) => match (value.as_object(), stored.as_object()) {
                (Some(value), Some(stored)) => {
                    value.len() == stored.len()
                        && value.iter().all(|(name, text)| stored.get(name).is_some_and(|there| alike(text, there)))
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Remove from a replica what it remembers as sent if the object holds another value and that value is desired:
    /// a person rejected a change and the source took it back. If the rejected value is desired again, it is a
    /// change like any other. `key` stands for the object itself, whose deletion may have been rejected. Return
    /// true if anything was removed.
    pub(in crate::sync) fn forget(&self, desired: &Fields, key: &str, replica: &mut Replica) -> bool {
        let before = replica.sent.len();
        let stored = &replica.fields;
        replica.sent.retain(|field, sent| match desired.get(field) {
            Some(value) => {
                self.is_as_written(field, value, sent) || !self.same(field, value, stored.get(field).unwrap_or(&ABSENT))
            }
            None if field == key => !sent.is_null(),
            // If a source has the record and does not say whether it is shown, the record is to be shown.
            None if field == "active" => *sent != Value::Bool(false) || stored.get(field) != Some(&Value::Bool(true)),
            None => true,
        });
        replica.sent.len() < before
    }
}

/// Return the value, with the target's yes or no for each member that the value leaves out: if a source does not
/// say whether an order is paid, that takes no payment back.
fn unsaid<'a>(spec: Option<&FieldSpec>, value: &'a Value, there: &Value) -> Cow<'a, Value> {
    let (Some(spec), Some(said), Some(there)) = (spec, value.as_object(), there.as_object()) else {
        return Cow::Borrowed(value);
    };
    let is_unsaid =
        |name: &String| spec.fields[name].kind == Kind::Boolean && said.get(name).is_none_or(Value::is_null);
    let known = spec.fields.keys().filter(|name| is_unsaid(name));
    let known: Vec<_> = known.filter_map(|name| Some((name.clone(), there.get(name)?.clone()))).collect();
    if known.is_empty() {
        return Cow::Borrowed(value);
    }
    Cow::Owned(said.clone().into_iter().chain(known).collect::<Map<_, _>>().into())
}

/// A text in which markup's spellings of characters are resolved, without space around it.
fn plain(text: &str) -> String {
    const SPELT: [(&str, &str); 7] = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#039;", "'"),
        ("&apos;", "'"),
    ];
    let plain = SPELT.into_iter().fold(text.to_owned(), |text, (spelt, character)| text.replace(spelt, character));
    // Replace these last, so that a text that was escaped twice is not unescaped twice.
    ["&#38;", "&#038;", "&amp;"].into_iter().fold(plain, |text, spelt| text.replace(spelt, "&")).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Entities;
    use crate::store::RecordId;

    fn replica(stored: &Value, sent: &Value) -> Replica {
        Replica {
            system: "shop".into(),
            entity: "product".into(),
            record: RecordId(1),
            id: "7".into(),
            fields: stored.as_object().unwrap().clone(),
            sent: sent.as_object().unwrap().clone(),
            version: None,
            fingerprint: None,
            gone_at: None,
            written: 0,
        }
    }

    fn members(names: &[&str]) -> Shape {
        Shape::List(Box::new(Shape::Object(names.iter().map(|&name| (name.to_owned(), Shape::Whole)).collect())))
    }

    #[test]
    fn a_yes_or_no_that_is_not_said_takes_none_back() {
        let terms = Terms { spec: Entities::builtin().get("order").cloned(), fields: BTreeMap::new() };
        let there = replica(&json!({"payment": {"method": "cod", "paid": true}}), &json!({}));
        let differs = |payment: Value| {
            !terms.difference(&Fields::from_iter([("payment".to_owned(), payment)]), Some(&there)).is_empty()
        };
        assert!(!differs(json!({"method": "cod"})));
        assert!(differs(json!({"method": "cod", "paid": false})));
        assert!(differs(json!({"method": "bacs"})));
        let unknown = replica(&json!({"payment": {"method": "cod"}}), &json!({}));
        let paid = Fields::from_iter([("payment".to_owned(), json!({"method": "cod", "paid": true}))]);
        assert!(!terms.difference(&paid, Some(&unknown)).is_empty());
    }

    fn terms(field: &str, written: Shape, shown: Shape) -> Terms {
        let spec = Entities::builtin().get("product").cloned();
        Terms { spec, fields: BTreeMap::from([(field.to_owned(), FieldShapes { written, shown })]) }
    }

    fn differs(terms: &Terms, desired: &Value, replica: &Replica) -> bool {
        !terms.difference(desired.as_object().unwrap(), Some(replica)).is_empty()
    }

    #[test]
    fn what_was_sent_is_not_sent_again_though_the_target_stored_something_else() {
        let there = replica(&json!({"brand": "Nuts &amp; bolts"}), &json!({"brand": "Nuts & bolts"}));
        assert!(!differs(&Terms::default(), &json!({"brand": "Nuts & bolts"}), &there));
        assert!(differs(&Terms::default(), &json!({"brand": "Nuts"}), &there));
    }

    #[test]
    fn languages_that_the_target_does_not_hold_are_no_difference() {
        let one = || Shape::Languages(BTreeSet::from(["es".to_owned()]));
        let terms = terms("name", one(), one());
        let there = replica(&json!({"name": {"es": "Uno"}}), &json!({}));
        assert!(!differs(&terms, &json!({"name": {"es": "Uno", "en": "One"}}), &there));
        assert!(differs(&terms, &json!({"name": {"es": "Dos", "en": "One"}}), &there));
    }

    #[test]
    fn a_member_that_is_only_read_is_no_difference_and_one_that_is_only_written_is_compared_with_what_was_sent() {
        let shown = terms("variants", members(&["sku"]), members(&["sku"]));
        let there = replica(&json!({"variants": [{"sku": "A", "weight": "1"}]}), &json!({}));
        assert!(!differs(&shown, &json!({"variants": [{"sku": "A"}]}), &there));
        let written = terms("variants", members(&["sku", "barcode"]), members(&["sku"]));
        let barcode = |code: &str| json!({"variants": [{"sku": "A", "barcode": code}]});
        assert!(!differs(&written, &barcode("1"), &there), "nobody knows that it is not there");
        let there = replica(&json!({"variants": [{"sku": "A"}]}), &barcode("1"));
        assert!(!differs(&written, &barcode("1"), &there));
        assert!(differs(&written, &barcode("2"), &there));
    }

    #[test]
    fn at_first_contact_another_spelling_of_a_text_is_the_text() {
        let one = || Shape::Languages(BTreeSet::from(["es".to_owned()]));
        let terms = terms("description", one(), one());
        let desired = json!({"description": {"es": "<p>A & B</p>", "en": "x"}});
        let mut there = replica(&json!({"description": {"es": "<p>A &amp; B</p> "}}), &json!({}));
        terms.take_spelling(desired.as_object().unwrap(), &mut there);
        assert!(!differs(&terms, &desired, &there));
        let mut other = replica(&json!({"description": {"es": "<p>A</p>"}}), &json!({}));
        terms.take_spelling(desired.as_object().unwrap(), &mut other);
        assert!(differs(&terms, &desired, &other), "the beginning of a text is another text");
    }

    #[test]
    fn variants_in_another_order_are_no_difference() {
        let there = replica(&json!({"variants": [{"sku": "B"}, {"sku": "A"}]}), &json!({}));
        let terms = terms("variants", members(&["sku"]), members(&["sku"]));
        assert!(!differs(&terms, &json!({"variants": [{"sku": "A"}, {"sku": "B"}]}), &there));
    }
}
