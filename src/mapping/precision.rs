//! Rounds amounts to the precision that the target keeps.

use indexmap::IndexMap;
use rust_decimal::RoundingStrategy;
use serde_json::{Map, Value};

use super::{
    file::Rounding,
    rule::{Convert, Item, Rule},
};
use crate::model::{FieldSpec, Kind, decimal};

/// What a system keeps of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    digits: u32,
    strategy: RoundingStrategy,
}

impl Precision {
    pub fn new(digits: u32, rounding: Option<Rounding>) -> Self {
        let strategy = match rounding.unwrap_or_default() {
            Rounding::Half => RoundingStrategy::MidpointAwayFromZero,
            Rounding::Down => RoundingStrategy::ToNegativeInfinity,
        };
        Self { digits, strategy }
    }
}

/// Round what rules with a `precision` write, at any depth.
pub(super) fn round_fields(rules: &[Rule], specs: &IndexMap<String, FieldSpec>, desired: &mut Map<String, Value>) {
    for rule in rules.iter().filter(|rule| rule.writes) {
        let Some((value, spec)) = desired.get_mut(&rule.name).zip(specs.get(&rule.name)) else { continue };
        if let Some(precision) = rule.precision {
            round(spec, value, precision);
            continue;
        }
        match (&rule.convert, value, &spec.of) {
            (Convert::Object(rules), Value::Object(members), _) => round_fields(rules, &spec.fields, members),
            (Convert::Each(each), Value::Array(items), Some(of)) => match &each.item {
                Item::Object(rules) => {
                    items
                        .iter_mut()
                        .filter_map(Value::as_object_mut)
                        .for_each(|item| round_fields(rules, &of.fields, item));
                }
                Item::One(one) => {
                    if let Some(precision) = one.precision {
                        items.iter_mut().for_each(|item| round(of, item, precision));
                    }
                }
            },
            _ => {}
        }
    }
}

fn round(spec: &FieldSpec, value: &mut Value, precision: Precision) {
    match (spec.kind, value) {
        (Kind::Decimal | Kind::Money, value) => {
            if let Some(number) = value.as_str().and_then(decimal::parse) {
                let rounded = number.round_dp_with_strategy(precision.digits, precision.strategy);
                *value = Value::from(decimal::canonical(rounded));
            }
        }
        (Kind::Object, Value::Object(members)) => {
            for (name, member) in members.iter_mut() {
                if let Some(spec) = spec.fields.get(name) {
                    round(spec, member, precision);
                }
            }
        }
        (Kind::List, Value::Array(items)) => {
            if let Some(of) = &spec.of {
                items.iter_mut().for_each(|item| round(of, item, precision));
            }
        }
        (Kind::Map, Value::Object(members)) => {
            if let Some(of) = &spec.of {
                members.values_mut().for_each(|member| round(of, member, precision));
            }
        }
        _ => {}
    }
}
