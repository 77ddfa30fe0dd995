//! The company's configuration: its systems, mappings and flows.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use vaiven::{
    adapter::{Given, Manifest, SettingValue, Settings},
    load::{Place, SourceFile},
    mapping::{Mapping, Translate},
    model::Entities,
    sync::{ConflictPolicy, Flow, SHARED, Timetable},
};

use crate::life::{Texts, Trade};

/// What every start reads from the same files and nothing ever changes.
pub struct Shelf {
    pub entities: Arc<Entities>,
    pub manifests: BTreeMap<&'static str, (Arc<Manifest>, Settings)>,
    pub mappings: BTreeMap<(String, String), Arc<dyn Translate>>,
}

pub static SHELF: LazyLock<Shelf> = LazyLock::new(|| {
    let entities = Arc::new(Entities::builtin());
    let mut manifests = BTreeMap::new();
    let mut mappings: BTreeMap<(String, String), Arc<dyn Translate>> = BTreeMap::new();
    for (name, text) in [("erp", include_str!("adapters/erp.toml")), ("shop", include_str!("adapters/shop.toml"))] {
        let file = SourceFile::new(format!("{name}.toml"), text);
        let manifest = Manifest::load(file.clone()).unwrap();
        let url =
            Given { value: SettingValue::Plain(format!("http://{name}.test").into()), place: Place::start(&file) };
        let settings =
            manifest.settle(&indexmap::IndexMap::from([("url".to_owned(), url)]), &Place::start(&file)).unwrap();
        manifests.insert(name, (manifest, settings));
        for (entity, text) in [
            ("product", include_str!("adapters/product.toml")),
            ("stock", include_str!("adapters/stock.toml")),
            ("price", include_str!("adapters/price.toml")),
            ("customer", include_str!("adapters/customer.toml")),
            ("order", include_str!("adapters/order.toml")),
        ] {
            let file = SourceFile::new(format!("{entity}.toml"), text);
            let spec = entities.get(entity).unwrap();
            let mapping = Mapping::load(&file, spec, &serde_json::Map::new(), &indexmap::IndexMap::new()).unwrap();
            mappings.insert((name.into(), entity.into()), Arc::new(mapping));
        }
    }
    Shelf { entities, manifests, mappings }
});

/// A flow that only brings these fields back, each with its owner.
fn back(mut flow: Flow, entity: &str, fields: &[(&str, &str)]) -> Flow {
    for (field, owner) in fields {
        flow.fields.entry(entity.into()).or_default().insert((*field).to_owned());
        flow.owners.insert(format!("{entity}.{field}"), (*owner).to_owned());
    }
    flow
}

pub fn flows(trade: Trade) -> Vec<Flow> {
    let timetable = |cron: &str| Timetable { schedule: cron.parse().unwrap(), zone: chrono_tz::Europe::Madrid };
    let flow = |name: &str, from: &str, to: &str, entities: &[&str]| Flow {
        name: name.into(),
        entities: entities.iter().map(|&entity| entity.into()).collect(),
        from: from.into(),
        to: vec![to.into()],
        every: Some(timetable(&format!("0 */{} * * * *", trade.every))),
        full: Some(timetable("30 */30 * * * *")),
        ..Flow::default()
    };
    let catalog: &[&str] = if trade.prices { &["product", "price", "stock"] } else { &["product", "stock"] };
    let sales: &[&str] = if trade.customers { &["customer", "order"] } else { &["order"] };
    // Orders are the shop's, but for what the ERP does with them; where both may end them, that is shared.
    let account: &[_] = if trade.ends { &[("status", "erp"), ("closed", SHARED)] } else { &[("status", "erp")] };
    let mut flows = vec![
        flow("catalog", "erp", "shop", catalog),
        flow("sales", "shop", "erp", sales),
        back(flow("account", "erp", "shop", &["order"]), "order", account),
    ];
    let owner = match trade.texts {
        Texts::Erp => None,
        Texts::Shop => Some("shop"),
        Texts::Shared => Some(SHARED),
    };
    if let Some(owner) = owner {
        flows.push(back(flow("texts", "shop", "erp", &["product"]), "product", &[("description", owner)]));
    }
    if trade.prefers {
        for flow in &mut flows {
            flow.conflicts.insert("*".into(), ConflictPolicy::Prefer("erp".into()));
        }
    }
    flows
}
