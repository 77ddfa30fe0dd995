//! What there is to choose from at the systems whose adapters come with the program.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use serde_json::{Value, json};
use vaiven::internals::{
    adapter::{
        Given, Manifest, SettingValue, World,
        http::{Request, Response, Transport, TransportError},
    },
    env::Env,
    load::{Place, SourceFile},
    port::{System, ValuesOf, logins::InMemory},
};

use super::{ids, pull};

/// Answers by the first of these words that the request's body has in it.
#[derive(Debug)]
struct Says(Vec<(&'static str, Value)>);

#[async_trait]
impl Transport for Says {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let asked = String::from_utf8_lossy(&request.body).into_owned();
        let (_, body) = self.0.iter().find(|(word, _)| asked.contains(word)).unwrap_or_else(|| panic!("{asked}"));
        let headers = [("content-type", "application/json"), ("vendure-auth-token", "t")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Ok(Response { status: 200, headers, body: body.to_string().into() })
    }
}

fn shipped(adapter: &str, settings: &Value, answers: Vec<(&'static str, Value)>) -> Arc<dyn System> {
    let file = format!("{}/adapters/{adapter}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).unwrap();
    let manifest = Manifest::load(SourceFile::new(format!("{adapter}.toml"), &text)).unwrap();
    let place = Place::start(&SourceFile::new("vaiven.toml", ""));
    let given = |(name, value): (&String, &Value)| {
        (name.clone(), Given { value: SettingValue::Plain(value.clone()), place: place.clone() })
    };
    let settings = manifest.check_settings(&settings.as_object().unwrap().iter().map(given).collect(), &place).unwrap();
    let world = World {
        env: Env::system(),
        transport: Arc::new(Says(answers)),
        folder: Path::new(".").to_owned(),
        logins: Arc::new(InMemory::default()),
    };
    vaiven::internals::adapter::open("system", &manifest, &settings, &world).unwrap_or_else(|error| panic!("{error}"))
}

/// Every list with what is compared with it, and its values.
async fn compared(system: &dyn System) -> Vec<(String, String, Vec<String>)> {
    let mut all = Vec::new();
    for list in system.value_lists() {
        let page = pull(system, &list.entity, None, 100).await.unwrap();
        assert_eq!(page.errors, []);
        let of = match list.of {
            ValuesOf::Lookup(lookup) => format!("lookup {lookup}"),
            ValuesOf::Setting { name, said } => format!("setting {name}: {}", said.join(", ")),
        };
        all.push((list.entity, of, ids(&page).into_iter().map(str::to_owned).collect()));
    }
    all
}

fn row(entity: &str, of: &str, values: &[&str]) -> (String, String, Vec<String>) {
    (entity.to_owned(), of.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
}

#[tokio::test]
async fn the_tax_categories_locations_currencies_and_languages_of_a_shop_can_be_compared() {
    let settings = json!({ "url": "https://shop.example", "password": "p", "currency": "USD" });
    let listed = |list: &str, ids: &[&str]| {
        let items: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        json!({ "data": { list: { "totalItems": items.len(), "items": items } } })
    };
    let shop = shipped(
        "vendure",
        &settings,
        vec![
            ("login(", json!({ "data": { "login": { "kind": "CurrentUser" } } })),
            ("activeChannel", json!({ "data": { "activeChannel": { "availableCurrencyCodes": ["EUR", "GBP"] } } })),
            ("globalSettings", json!({ "data": { "globalSettings": { "availableLanguages": ["en", "es"] } } })),
            ("taxCategories", listed("taxCategories", &["1", "2"])),
            ("stockLocations", listed("stockLocations", &["1"])),
        ],
    );
    assert_eq!(
        compared(shop.as_ref()).await,
        [
            row("currency", "setting currency: USD", &["EUR", "GBP"]),
            row("language", "setting language: en", &["en", "es"]),
            row("tax_category", "lookup tax", &["1", "2"]),
            row("stock_location", "lookup location", &["1"]),
        ]
    );
}

#[tokio::test]
async fn the_warehouses_of_an_erp_can_be_compared_with_its_setting() {
    let settings = json!({ "url": "https://erp.example", "database": "d", "user": "u", "password": "p",
        "warehouses": { "MAD": 5, "BCN": 12 } });
    let erp = shipped(
        "tryton",
        &settings,
        vec![
            ("common.db.login", json!({ "result": [1, "s"] })),
            ("stock.location", json!({ "result": [{ "id": 5, "code": "MAD" }] })),
        ],
    );
    assert_eq!(compared(erp.as_ref()).await, [row("warehouse", "setting warehouses: 5, 12", &["5"])]);
}
