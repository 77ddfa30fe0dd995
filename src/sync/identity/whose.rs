//! Two objects with the same number: are they for the same person, and do their amounts agree? Asked if they have
//! no match field in common.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    mapping::Fields,
    model::{Compare, EntitySpec, Kind, decimal},
    store::{RecordId, Replica, Result},
    sync::{
        context::Context,
        routing::{MatchRule, field_of},
    },
};

/// What identifies a person, the most reliable first: tax numbers before addresses.
pub(in crate::sync) const IDENTIFYING: [Compare; 2] = [Compare::Vat, Compare::Email];

/// By how much the amounts of one object may differ as two systems round them: this share of the greater one, and
/// this much besides.
const ROUNDED: (Decimal, Decimal) = (Decimal::from_parts(1, 0, 0, false, 2), Decimal::from_parts(5, 0, 0, false, 2));

/// Fields of an entity, or of an object that it holds, that are compared in one way.
pub(in crate::sync) fn compared(spec: &EntitySpec, compare: Compare) -> Vec<MatchRule> {
    let paths = spec.fields.iter().flat_map(|(name, field)| {
        let members = if field.kind == Kind::Object { field.fields.keys().collect() } else { Vec::new() };
        std::iter::once(name.clone()).chain(members.into_iter().map(move |member| format!("{name}.{member}")))
    });
    let is_meant = |path: &String| field_of(spec, path).is_some_and(|field| field.compare == Some(compare));
    paths.filter(is_meant).map(|field| MatchRule { field, weak: false }).collect()
}

/// The persons that objects are for.
#[derive(Default)]
pub(in crate::sync) struct People {
    /// By record: what identifies the person, in the order of [`IDENTIFYING`].
    by_record: BTreeMap<RecordId, [BTreeSet<String>; 2]>,
}

impl People {
    /// Load the persons that these objects refer to.
    pub(in crate::sync) async fn of(context: &Context, spec: &EntitySpec, objects: &[&Fields]) -> Result<Self> {
        let mut people = Self::default();
        let Some((field, to)) = buyer(context, spec) else { return Ok(people) };
        let records: BTreeSet<RecordId> =
            objects.iter().filter_map(|object| RecordId::of(object.get(field)?)).collect();
        if records.is_empty() {
            return Ok(people);
        }
        let records: Vec<RecordId> = records.into_iter().collect();
        // A customer who stands for all guests is nobody.
        let everybody: BTreeSet<&str> =
            context.routes.flows().iter().filter_map(|flow| flow.guests.as_ref()?.one.as_deref()).collect();
        let called = context.store.called(&records).await?;
        let is_somebody = |replica: &Replica| {
            let key = called.get(&replica.record).map(|called| called.key.as_str());
            replica.gone_at.is_none() && key.is_none_or(|key| !everybody.contains(key))
        };
        for replica in context.store.replicas_of(&records).await?.iter().filter(|replica| is_somebody(replica)) {
            let known = people.by_record.entry(replica.record).or_default();
            for (values, compare) in known.iter_mut().zip(IDENTIFYING) {
                values.extend(values_of(to, compare, &replica.fields));
            }
        }
        Ok(people)
    }

    /// Whether an object and others of its number are for one person and have the same amount; `None` if this
    /// cannot be decided.
    pub(in crate::sync) fn agree(
        &self,
        context: &Context,
        spec: &EntitySpec,
        one: &Fields,
        others: &[&Fields],
    ) -> Option<bool> {
        let field = buyer(context, spec).map(|(field, _)| field);
        let record = |object: &Fields| field.and_then(|field| RecordId::of(object.get(field)?));
        if let Some(own) = record(one)
            && others.iter().any(|other| record(other) == Some(own))
        {
            return Some(true);
        }
        for (at, compare) in IDENTIFYING.into_iter().enumerate() {
            let identity_values = |object: &Fields| -> BTreeSet<String> {
                let person = record(object).and_then(|record| self.by_record.get(&record));
                values_of(spec, compare, object)
                    .chain(person.into_iter().flat_map(|person| person[at].clone()))
                    .collect()
            };
            let (own, theirs) =
                (identity_values(one), others.iter().flat_map(|other| identity_values(other)).collect::<BTreeSet<_>>());
            if !own.is_empty() && !theirs.is_empty() {
                return Some(!own.is_disjoint(&theirs));
            }
        }
        let own = amount(spec, one)?;
        let mut theirs = others.iter().filter_map(|other| amount(spec, other)).peekable();
        theirs.peek()?;
        // An equal amount proves nothing.
        (!theirs.any(|other| are_near(own, other))).then_some(false)
    }
}

fn values_of<'a>(spec: &'a EntitySpec, compare: Compare, object: &'a Fields) -> impl Iterator<Item = String> + 'a {
    compared(spec, compare).into_iter().flat_map(move |rule| rule.values(Some(spec), object))
}

/// The field of an entity that refers to a person, and the person's entity.
fn buyer<'a>(context: &'a Context, spec: &'a EntitySpec) -> Option<(&'a str, &'a EntitySpec)> {
    spec.fields.iter().find_map(|(name, field)| {
        let to = context.entities.get(field.to.as_deref().filter(|_| field.kind == Kind::Ref)?)?;
        IDENTIFYING.iter().any(|compare| !compared(to, *compare).is_empty()).then_some((name.as_str(), &**to))
    })
}

/// The total of an object whose amounts are proven.
fn amount(spec: &EntitySpec, object: &Fields) -> Option<Decimal> {
    let totals = object.get(&spec.proof.as_ref()?.totals)?;
    totals.get("gross").and_then(Value::as_str).and_then(decimal::parse)
}

fn are_near(one: Decimal, other: Decimal) -> bool {
    let (part, besides) = ROUNDED;
    let most = one.abs().max(other.abs()).saturating_mul(part).saturating_add(besides);
    one.saturating_sub(other).abs() <= most
}
