//! Orders that name no customer: each is assigned to a customer who is recognised, to one customer for all guests,
//! or to nobody.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{
    mapping::Fields,
    model::diff,
    store::{ChangeOp, NewChange, PageCommit, RecordId, Replica, ReplicaWrite, Result, Unidentified},
    sync::{
        context::{Context, PullContext},
        identity::{guests::MADE, numbering},
        routing::matches,
        stock::reservations::ORDER,
    },
};

const CUSTOMER: &str = "customer";

/// Assign orders without a customer to the one that the flow says. An order that had a customer before keeps that
/// customer: it does not change hands because a customer edits an address.
pub(in crate::sync) async fn assign_customers(
    reading: &PullContext<'_>,
    known: &HashMap<String, Replica>,
    orders: &mut [(&str, &mut Fields)],
) -> Result<()> {
    let (context, system) = (reading.context, reading.system.name());
    let Some(guests) = context.routes.guests(system).filter(|_| reading.entity == ORDER) else { return Ok(()) };
    let mut open: Vec<(&str, &mut Fields)> = Vec::new();
    for (id, fields) in orders.iter_mut().filter(|(_, fields)| is_nobodys(fields)) {
        let before = known.get(*id).and_then(|replica| replica.fields.get(CUSTOMER));
        match before.filter(|customer| !customer.is_null()) {
            Some(customer) => drop(fields.insert(CUSTOMER.to_owned(), customer.clone())),
            None => open.push((id, fields)),
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let mut found = vec![None; open.len()];
    if guests.matched {
        let rules: Vec<_> = context.routes.matches(CUSTOMER).into_iter().filter(|rule| !rule.weak).collect();
        let spec = context.entities.get(CUSTOMER).map(|spec| &**spec);
        let asked: Vec<_> = open.iter().map(|(_, order)| matches(spec, &rules, &buyer(order))).collect();
        found = context.store.recognise(CUSTOMER, &asked).await?;
    }
    if guests.created {
        make(reading, &open, &mut found).await?;
    }
    if let (Some(key), true) = (&guests.one, found.contains(&None)) {
        let one = numbering::refer(context, system, CUSTOMER, std::slice::from_ref(key)).await?.remove(key);
        found.iter_mut().filter(|customer| customer.is_none()).for_each(|customer| *customer = one);
    }
    for ((_, order), customer) in open.into_iter().zip(found) {
        if let Some(customer) = customer {
            order.insert(CUSTOMER.to_owned(), Value::from(customer));
        }
    }
    Ok(())
}

/// The customer that an order describes.
struct Buyer {
    /// Position of the order.
    at: usize,
    id: String,
    key: String,
    fields: Fields,
    /// Values by which the customer is recognised.
    values: Vec<(String, String)>,
}

impl Buyer {
    /// `None` if the order does not say enough.
    fn of(context: &Context, at: usize, id: &str, order: &Fields) -> Option<Self> {
        let key = format!("guest-{}", order.get("number")?.as_str()?);
        let mut fields = buyer(order);
        fields.retain(|_, value| value.as_str().is_none_or(|text| !text.trim().is_empty()) && !value.is_null());
        let is_company = fields.contains_key("company");
        if let Some(company) = fields.get("company").cloned() {
            fields.insert("name".to_owned(), company);
        }
        fields.insert("code".to_owned(), key.as_str().into());
        fields.insert("kind".to_owned(), if is_company { "company" } else { "person" }.into());
        if !fields.contains_key("name") || context.validate(CUSTOMER, &mut fields).is_err() {
            return None;
        }
        let spec = context.entities.get(CUSTOMER).map(|spec| &**spec);
        let values = matches(spec, &context.routes.matches(CUSTOMER), &fields);
        Some(Self { at, id: format!("{MADE}{id}"), key, fields, values })
    }
}

/// Create customers from the orders that have nobody in `found`. They are delivered like any others, after a look
/// at who exists already. All customers of a page are created at once.
async fn make(reading: &PullContext<'_>, orders: &[(&str, &mut Fields)], found: &mut [Option<RecordId>]) -> Result<()> {
    let (context, system) = (reading.context, reading.system.name());
    let Some(mapping) = context.mapping(system, CUSTOMER) else { return Ok(()) };
    let weak: Vec<String> =
        context.routes.matches(CUSTOMER).iter().filter(|rule| rule.weak).map(|rule| rule.field.clone()).collect();
    let strong = |buyer: &Buyer| -> Vec<(String, String)> {
        buyer.values.iter().filter(|(field, _)| !weak.contains(field)).cloned().collect()
    };
    let open = found.iter().zip(orders).enumerate().filter(|(_, (customer, _))| customer.is_none());
    let buyers: Vec<Buyer> = open.filter_map(|(at, (_, (id, order)))| Buyer::of(context, at, id, order)).collect();
    let known = context.store.recognise(CUSTOMER, &buyers.iter().map(strong).collect::<Vec<_>>()).await?;
    // If several orders of a page are one person's, the first of them creates the customer.
    let mut makers: HashMap<(String, String), usize> = HashMap::new();
    let (mut makes, mut follows): (Vec<Buyer>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
    for (buyer, known) in buyers.into_iter().zip(known) {
        if known.is_some() {
            found[buyer.at] = known;
            continue;
        }
        let values = strong(&buyer);
        if let Some(maker) = values.iter().find_map(|value| makers.get(value)) {
            follows.push((buyer.at, *maker));
            continue;
        }
        makers.extend(values.into_iter().map(|value| (value, buyer.at)));
        makes.push(buyer);
    }
    if makes.is_empty() {
        return Ok(());
    }
    let unidentified: Vec<Unidentified> = makes
        .iter()
        .map(|one| Unidentified {
            id: one.id.clone(),
            key: one.key.clone(),
            matches: one.values.clone(),
            numbered_by: Some(system.to_owned()),
            ..Unidentified::default()
        })
        .collect();
    let identified = context.store.identify(system, CUSTOMER, &unidentified, &weak).await?;
    let customers = PullContext { mapping: mapping.as_ref(), entity: CUSTOMER, ..*reading };
    let mut page = PageCommit {
        run: reading.run,
        system: system.to_owned(),
        entity: CUSTOMER.to_owned(),
        ..PageCommit::default()
    };
    for (buyer, identified) in makes.into_iter().zip(identified) {
        let record = identified.record;
        found[buyer.at] = Some(record);
        if identified.taken_by.is_some() {
            continue;
        }
        page.jobs.extend(customers.jobs_for(record, &buyer.fields, &Fields::new(), true));
        let fields = diff(&Fields::new(), &buyer.fields);
        page.changes.push(NewChange { record, op: ChangeOp::Create, fields });
        page.replicas.push(ReplicaWrite {
            record,
            id: buyer.id,
            fields: buyer.fields,
            sent: Fields::new(),
            version: None,
            fingerprint: None,
            child_ids: None,
            matches: buyer.values,
            gone: false,
        });
    }
    for (at, maker) in follows {
        found[at] = found[maker];
    }
    context.store.commit_page(page, context.env.now()).await.map(drop)
}

/// If a system shows an order as a guest's, the order keeps its customer.
pub(in crate::sync) fn keep(
    context: &Context,
    system: &str,
    entity: &str,
    before: Option<&Fields>,
    shown: &mut Fields,
) {
    if entity != ORDER || context.routes.guests(system).is_none() || !is_nobodys(shown) {
        return;
    }
    if let Some(customer) = before.and_then(|before| before.get(CUSTOMER)).filter(|customer| !customer.is_null()) {
        shown.insert(CUSTOMER.to_owned(), customer.clone());
    }
}

fn is_nobodys(order: &Fields) -> bool {
    order.get(CUSTOMER).is_none_or(Value::is_null)
}

/// What an order says about the buyer, in the form of a customer.
fn buyer(order: &Fields) -> Fields {
    let billing = |name: &str| order.get("billing").and_then(|billing| billing.get(name)).cloned().unwrap_or_default();
    let address: Fields = ["name", "company", "line1", "line2", "postcode", "city", "region", "country"]
        .into_iter()
        .map(|name| (name.to_owned(), billing(name)))
        .filter(|(_, value)| !value.is_null())
        .chain([("code".to_owned(), "billing".into())])
        .collect();
    let addresses = if address.contains_key("line1") { json!([address]) } else { Value::Null };
    let buyer = json!({
        "addresses": addresses,
        "email": order.get("email").cloned().unwrap_or_default(),
        "vat": billing("vat"),
        "phone": billing("phone"),
        "name": billing("name"),
        "company": billing("company"),
    });
    if let Value::Object(buyer) = buyer { buyer } else { Fields::new() }
}
