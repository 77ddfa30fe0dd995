//! Whose an order is that names no customer: one who is recognised, one for all of them, or nobody's.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{engine::Parts, flight::ORDER, identity::matches};
use crate::{
    mapping::Fields,
    store::{Replica, Result},
};

const CUSTOMER: &str = "customer";

/// Whose a guest's order is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guests {
    /// Of a customer who has the e-mail address, tax number or telephone number that it names, where that is a single one.
    pub matched: bool,
    /// Else of the customer of this key.
    pub one: Option<String>,
}

/// Gives orders without a customer the one that the flow says. Who had one before keeps it: an order does not change hands
/// because a customer edits his address.
pub(super) async fn settle(
    parts: &Parts,
    system: &str,
    entity: &str,
    known: &HashMap<String, Replica>,
    orders: &mut [(&str, &mut Fields)],
) -> Result<()> {
    let Some(guests) = parts.routes.guests(system).filter(|_| entity == ORDER) else { return Ok(()) };
    let mut open: Vec<&mut Fields> = Vec::new();
    for (id, fields) in orders.iter_mut().filter(|(_, fields)| is_nobodys(fields)) {
        let before = known.get(*id).and_then(|replica| replica.fields.get(CUSTOMER));
        match before.filter(|customer| !customer.is_null()) {
            Some(customer) => drop(fields.insert(CUSTOMER.to_owned(), customer.clone())),
            None => open.push(fields),
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let mut found = vec![None; open.len()];
    if guests.matched {
        let rules: Vec<_> = parts.routes.matches(CUSTOMER).into_iter().filter(|rule| !rule.weak).collect();
        let spec = parts.entities.get(CUSTOMER).map(|spec| &**spec);
        let wanted: Vec<_> = open.iter().map(|order| matches(spec, &rules, &buyer(order))).collect();
        found = parts.store.recognise(CUSTOMER, &wanted).await?;
    }
    if let (Some(key), true) = (&guests.one, found.contains(&None)) {
        let one = parts.store.records(CUSTOMER, std::slice::from_ref(key)).await?.first().copied();
        found.iter_mut().filter(|customer| customer.is_none()).for_each(|customer| *customer = one);
    }
    for (order, customer) in open.into_iter().zip(found) {
        if let Some(customer) = customer {
            order.insert(CUSTOMER.to_owned(), Value::from(customer));
        }
    }
    Ok(())
}

/// What a system shows of an order that it calls a guest's: it stays its customer's.
pub(super) fn keep(parts: &Parts, system: &str, entity: &str, before: Option<&Fields>, shown: &mut Fields) {
    if entity != ORDER || parts.routes.guests(system).is_none() || !is_nobodys(shown) {
        return;
    }
    if let Some(customer) = before.and_then(|before| before.get(CUSTOMER)).filter(|customer| !customer.is_null()) {
        shown.insert(CUSTOMER.to_owned(), customer.clone());
    }
}

fn is_nobodys(order: &Fields) -> bool {
    order.get(CUSTOMER).is_none_or(Value::is_null)
}

/// What an order tells of who bought, as a customer would have it.
fn buyer(order: &Fields) -> Fields {
    let billing = |name: &str| order.get("billing").and_then(|billing| billing.get(name)).cloned().unwrap_or_default();
    let buyer = json!({
        "email": order.get("email").cloned().unwrap_or_default(),
        "vat": billing("vat"),
        "phone": billing("phone"),
        "name": billing("name"),
        "company": billing("company"),
    });
    if let Value::Object(buyer) = buyer { buyer } else { Fields::new() }
}
