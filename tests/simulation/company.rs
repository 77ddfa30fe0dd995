//! The configuration of the simulated company: its systems, mappings and flows, in the variant that the setting needs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use vaiven::internals::{
    adapter::{Given, Manifest, SettingValue, Settings},
    expr::{Expr, KnownNames},
    load::{Place, SourceFile},
    mapping::{Mapping, Translate},
    model::Entities,
    sync::{ConflictPolicy, Flow, MatchRule, SHARED, Schedule},
};

use crate::{
    mutants::Mutant,
    setting::{OUTLET, Setting},
    stale_mapping::StaleMapping,
    trade::{Joins, Texts, Trade},
};

/// What the engine loads from the company's files at every start.
pub struct CompanyFiles {
    pub entities: Arc<Entities>,
    pub manifests: BTreeMap<&'static str, (Arc<Manifest>, Settings)>,
    pub mappings: BTreeMap<(String, String), Arc<dyn Translate>>,
}

/// How complete the configuration is. Settings may add something to it, or take it out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Growth {
    /// Without what is added later.
    First,
    /// With what is added later.
    Grown,
}

/// The company's files, loaded once for each variant.
pub fn company_files(trade: Trade, growth: Growth) -> Arc<CompanyFiles> {
    type Cache = BTreeMap<(&'static str, bool, Option<Mutant>, Growth), Arc<CompanyFiles>>;
    static CACHE: Mutex<Cache> = Mutex::new(BTreeMap::new());
    let variant = (trade.setting.word(), trade.prefixes, trade.mutant, growth);
    CACHE.lock().unwrap().entry(variant).or_insert_with(|| Arc::new(load(trade, growth))).clone()
}

const ERP: &str = include_str!("adapters/erp.toml");
const SHOP: &str = include_str!("adapters/shop.toml");

const MAPPINGS: [(&str, &str); 5] = [
    ("product", include_str!("adapters/product.toml")),
    ("stock", include_str!("adapters/stock.toml")),
    ("price", include_str!("adapters/price.toml")),
    ("customer", include_str!("adapters/customer.toml")),
    ("order", include_str!("adapters/order.toml")),
];

const UPDATE: &str = "[entities.order.update]\n";

const PERSON: &str = r#"[[entities.order.update.steps]]
name = "person"
when = 'changed.contains("email")'
put = "/orders/${id}/person"
body = { email = "${body.email}" }
"#;

const REOPEN: &str = r#"[[entities.order.update.steps]]
name = "reopen"
when = 'changed.contains("closed") && wanted.get("closed") == ()'
post = "/orders/${id}/reopen"
"#;

/// The text of an adapter as the setting needs it.
fn adapter(setting: Setting, name: &str, text: &str) -> String {
    match (setting, name) {
        (Setting::Clocks, "erp") => {
            text.replace(r#"send = "%Y-%m-%dT%H:%M:%SZ""#, r#"zone = "Europe/Madrid", send = "%Y-%m-%dT%H:%M:%S""#)
        }
        (Setting::Reduced, "shop") => with_prices(text, include_str!("adapters/reduced_prices.toml")),
        (Setting::Erased, "erp") => text.replace(UPDATE, &format!("{UPDATE}{PERSON}")),
        (Setting::Reopened, _) => text.replace(UPDATE, &format!("{UPDATE}{REOPEN}")),
        (Setting::Awkward, "shop") => with_prices(text, include_str!("adapters/awkward_prices.toml")),
        _ => text.to_owned(),
    }
}

/// The shop's adapter with another section for writing prices.
fn with_prices(text: &str, section: &str) -> String {
    let (before, rest) = text.split_once("[entities.price.batch]").unwrap();
    let (_, after) = rest.split_once("[entities.customer]").unwrap();
    format!("{before}{section}[entities.customer]{after}")
}

/// The text of a mapping as the setting needs it.
fn mapping(trade: Trade, growth: Growth, system: &str, entity: &str, text: &str) -> String {
    const AMOUNT: &str = r#"amount = "price""#;
    const ROUNDED: &str = r#"amount = { from = "price", precision = 2 }"#;
    const EUR: &str = r#"currency = { value = "EUR" }"#;
    const CARRIED: &str = r#"currency = "currency""#;
    const IN_FIVES: &str = "[fields]\npack = { pull = '#{ increment: \"5\" }' }";
    const KEPT: &str = "[fields]\ngoods_held = { pull = 'if row.status == \"failed\" { row.kept }' }";
    const OWN_VARIANT: &str = "[#{ sku: row.sku, id: row.id }]";
    const STATUS: &str = r#"status = { from = "status", lookup = "order_status" }"#;
    const READ_STATUS: &str =
        r#"status = { pull = 'if row.status == "confirmed" { "partly_shipped" } else { row.status }' }"#;
    // The ERP reports its own progress with an order; nobody writes it there.
    let text = match (system, entity) {
        ("erp", "order") => &text.replace(STATUS, READ_STATUS),
        _ => text,
    };
    match (trade.setting, system, entity) {
        (Setting::TwoShops, OUTLET, "order") if trade.prefixes => text
            .replace(r#"key = "number""#, r#"key = '"B-" + row.number'"#)
            .replace(r#"number = "number""#, r#"number = { pull = '"B-" + row.number' }"#),
        (Setting::Swaps, _, "product") => include_str!("adapters/product_barcodes.toml").to_owned(),
        (Setting::Altering, "erp", "product") => text.replace("[fields]", "[fields]\ntax = \"tax\""),
        (Setting::Altering, _, "product") => {
            text.replace("[fields]", "[fields]\ntax = { from = \"tax\", lookup = \"tax\" }")
                + include_str!("adapters/tax_classes.toml")
        }
        (Setting::Altering, "shop", "price") if trade.mutant != Some(Mutant::ForgottenPrecision) => {
            text.replace(AMOUNT, ROUNDED)
        }
        (Setting::Reduced, "shop", "price") => text.replace(AMOUNT, include_str!("adapters/reduced_amount.toml")),
        (Setting::Recognised, _, "customer") => text.to_owned() + "vat = { from = \"vat\", none = [\"\"] }\n",
        (Setting::Unpaid, "shop", "order") => text.replace("[fields]", KEPT),
        (Setting::Mistaken, _, "product") => text.replace(OWN_VARIANT, "row.variants"),
        (Setting::Outdated, "erp", "product") if growth == Growth::First => text.replace("[fields]", IN_FIVES),
        (Setting::Children, _, "customer") => text.to_owned() + include_str!("adapters/addresses.toml"),
        (Setting::Currencies, "erp", "price") => include_str!("adapters/price_lists.toml").to_owned(),
        (Setting::Currencies, "shop", "order") => text.replace(EUR, CARRIED),
        (Setting::Currencies, "erp", "order") if growth == Growth::Grown => text.replace(EUR, CARRIED),
        _ => text.to_owned(),
    }
}

/// The entities; a planted bug may change them.
fn entities(mutant: Option<Mutant>) -> Entities {
    let entities = Entities::builtin();
    let mut order = (**entities.get("order").unwrap()).clone();
    match mutant {
        Some(Mutant::ErasedIsEdited) => order.fields["email"].personal = false,
        Some(Mutant::StateRunsBack) => order.states = None,
        _ => return entities,
    }
    entities.with(order)
}

fn load(trade: Trade, growth: Growth) -> CompanyFiles {
    let entities = Arc::new(entities(trade.mutant));
    let mut manifests = BTreeMap::new();
    let mut mappings: BTreeMap<(String, String), Arc<dyn Translate>> = BTreeMap::new();
    let shops = trade.setting.shops().iter().map(|&shop| (shop, SHOP));
    for (name, text) in std::iter::once(("erp", ERP)).chain(shops) {
        let file = SourceFile::new(format!("{name}.toml"), adapter(trade.setting, name, text));
        let manifest = Manifest::load(file.clone()).unwrap();
        let url =
            Given { value: SettingValue::Plain(format!("http://{name}.test").into()), place: Place::start(&file) };
        let settings = manifest
            .check_settings(&indexmap::IndexMap::from([("url".to_owned(), url)]), &Place::start(&file))
            .unwrap();
        manifests.insert(name, (manifest, settings));
        for (entity, text) in MAPPINGS {
            let spec = entities.get(entity).unwrap();
            let mapping_of = |growth| {
                let file = SourceFile::new(format!("{entity}.toml"), mapping(trade, growth, name, entity, text));
                Arc::new(Mapping::load(&file, spec, &serde_json::Map::new(), &indexmap::IndexMap::new()).unwrap())
            };
            let translate: Arc<dyn Translate> = match trade.mutant {
                Some(Mutant::StaleField) => {
                    Arc::new(StaleMapping { before: mapping_of(Growth::First), now: mapping_of(growth) })
                }
                _ => mapping_of(growth),
            };
            mappings.insert((name.into(), entity.into()), translate);
        }
    }
    CompanyFiles { entities, manifests, mappings }
}

/// Restricts a flow to the given fields, and names the owner of each.
fn only_fields(mut flow: Flow, entity: &str, fields: &[(&str, &str)]) -> Flow {
    for (field, owner) in fields {
        flow.fields.entry(entity.into()).or_default().insert((*field).to_owned());
        flow.owners.insert(format!("{entity}.{field}"), (*owner).to_owned());
    }
    flow
}

/// The flows of the company.
pub fn flows(trade: Trade, growth: Growth) -> Vec<Flow> {
    let schedule = |cron: &str| Schedule { schedule: cron.parse().unwrap(), zone: chrono_tz::Europe::Madrid };
    let flow = |name: &str, from: &str, to: &str, entities: &[&str]| Flow {
        name: name.into(),
        entities: entities.iter().map(|&entity| entity.into()).collect(),
        from: from.into(),
        to: vec![to.into()],
        every: Some(schedule(&format!("0 */{} * * * *", trade.every))),
        full: Some(schedule("30 */30 * * * *")),
        ..Flow::default()
    };
    let catalog: &[&str] = if trade.prices { &["product", "price", "stock"] } else { &["product", "stock"] };
    let sales: &[&str] = if trade.customers { &["customer", "order"] } else { &["order"] };
    // The shop owns orders, the ERP their status. If either side may end an order, `closed` is shared.
    let account: &[_] = if trade.ends { &[("status", "erp"), ("closed", SHARED)] } else { &[("status", "erp")] };
    let shops = trade.setting.shops();
    let mut flows = vec![
        Flow { to: shops.iter().map(|&shop| shop.into()).collect(), ..flow("catalog", "erp", "shop", catalog) },
        flow("sales", "shop", "erp", sales),
        only_fields(flow("account", "erp", "shop", &["order"]), "order", account),
    ];
    if trade.setting == Setting::TwoShops {
        flows.push(flow("sales of the outlet", OUTLET, "erp", sales));
        flows.push(only_fields(flow("account at the outlet", "erp", OUTLET, &["order"]), "order", account));
    }
    let owner = match trade.texts {
        Texts::Erp => None,
        Texts::Shop => Some("shop"),
        Texts::Shared => Some(SHARED),
    };
    if let Some(owner) = owner {
        flows.push(only_fields(flow("texts", "shop", "erp", &["product"]), "product", &[("description", owner)]));
    }
    if trade.setting == Setting::Recognised {
        flows[1].matches.insert("customer".into(), vec![MatchRule { field: "vat".into(), weak: false }]);
    }
    if growth == Growth::First {
        remove_later_additions(&mut flows, trade);
    }
    if trade.setting == Setting::Currencies && growth == Growth::Grown {
        let retail = SourceFile::new("flows.toml", r#"list == "retail""#);
        let retail = Expr::compile(r#"list == "retail""#, &Place::start(&retail), &KnownNames::any()).unwrap();
        flows[0].filters.insert("price".into(), retail);
    }
    if trade.prefers {
        for flow in &mut flows {
            flow.conflicts.insert("*".into(), ConflictPolicy::Prefer("erp".into()));
        }
    }
    flows
}

/// Removes what is added later.
fn remove_later_additions(flows: &mut Vec<Flow>, trade: Trade) {
    let without = |flow: &mut Flow, entity: &str| flow.entities.retain(|name| name != entity);
    match trade.joins {
        Joins::Nothing => {}
        Joins::Outlet => {
            flows.retain(|flow| flow.from != OUTLET && flow.to != [OUTLET]);
            flows.iter_mut().for_each(|flow| flow.to.retain(|to| to != OUTLET));
        }
        Joins::Texts => flows.retain(|flow| flow.name != "texts"),
        Joins::Catalog => flows.retain(|flow| flow.name != "catalog" && flow.name != "texts"),
        Joins::Rule => flows.iter_mut().for_each(|flow| flow.matches.clear()),
        Joins::Sales => flows.retain(|flow| flow.name != "sales" && flow.name != "account"),
        Joins::Account => flows.retain(|flow| flow.name != "account"),
        Joins::Prices => flows.iter_mut().for_each(|flow| without(flow, "price")),
    }
}
