//! The demo's own promises: the company is as intended, its deeds fit its database, its adapters can read it, and
//! no step is done twice.

use std::{path::Path, sync::Arc};

use serde_json::json;
use sqlx::SqliteConnection;

use super::{
    erp,
    generate::Seed,
    life::{Act, World, act, length},
};
use crate::{
    adapter::{self, Registry, SettingValue, Settings, http::Network},
    env::Env,
    load::{Place, SourceFile},
    port::{PullRequest, System},
    sandbox::{self, Shop},
};

async fn world(folder: &Path) -> World {
    let (erp, seed) = erp::prepare(&folder.join("erp.db"), 1).await.unwrap();
    let env = Env::system();
    let shop = Shop::open(&folder.join("shop.db"), &sandbox::Options::default(), env.clone()).await.unwrap();
    let shelves = erp::open(&folder.join("shop.db"), false).await.unwrap();
    World { env, erp, shop, shelves, drop: folder.join("drop"), seed: Seed::new(seed) }
}

async fn count(db: &mut SqliteConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(db).await.unwrap()
}

#[tokio::test]
async fn the_company_is_as_large_and_as_various_as_promised() {
    let folder = tempfile::tempdir().unwrap();
    let (mut erp, _) = erp::prepare(&folder.path().join("erp.db"), 1).await.unwrap();
    assert_eq!(count(&mut erp, "SELECT count(*) FROM familia").await, 40);
    assert!(count(&mut erp, "SELECT count(*) FROM articulo").await >= 500);
    assert!(count(&mut erp, "SELECT count(*) FROM articulo WHERE opcion1 IS NOT NULL").await >= 60);
    assert_eq!(count(&mut erp, "SELECT count(DISTINCT tarifa) FROM tarifa_linea WHERE desde > 1").await, 1);
    assert_eq!(count(&mut erp, "SELECT count(DISTINCT almacen) FROM existencia").await, 3);
    assert_eq!(count(&mut erp, "SELECT count(DISTINCT nif) FROM cliente").await, 200);
    assert_eq!(count(&mut erp, "SELECT count(DISTINCT email) FROM cliente").await, 200);
    assert!(count(&mut erp, "SELECT count(*) FROM cliente WHERE tipo = 'J'").await >= 40);
}

#[tokio::test]
async fn a_second_start_finds_the_company_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("erp.db");
    erp::prepare(&file, 5).await.unwrap();
    let (mut erp, seed) = erp::prepare(&file, 6).await.unwrap();
    assert_eq!(seed, 5);
    assert_eq!(count(&mut erp, "SELECT count(*) FROM cliente").await, 200);
}

#[tokio::test]
async fn every_deed_of_the_script_fits_the_erp_and_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = world(folder.path()).await;
    for step in (1..=length()).filter(|step| matches!(act(*step), Act::Company(_) | Act::DropPrices | Act::DropStock)) {
        world.take(step).await.unwrap();
    }
    let steps = count(&mut world.erp, "SELECT count(*) FROM demo_paso").await;
    assert!(steps > 15, "{steps}");
    assert_eq!(count(&mut world.erp, "SELECT count(*) FROM articulo WHERE baja").await, 2);
    assert_eq!(world.next_step().await.unwrap(), length() + 1);
}

#[tokio::test]
async fn people_buy_and_register_once_though_the_step_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = world(folder.path()).await;
    let product = json!({ "name": "Martillo", "sku": "MAR-101", "regular_price": "12.50", "manage_stock": true, "stock_quantity": 90 });
    world.shop.staff(axum::http::Method::POST, "/products", product).await.unwrap();
    for _ in 0..2 {
        let mut seed = Seed::new(1);
        world.register(4, 2).await.unwrap();
        world.buy(5, &mut seed, 2, 3).await.unwrap();
    }
    assert_eq!(count(&mut world.shelves, "SELECT count(*) FROM orders").await, 5);
    assert_eq!(count(&mut world.shelves, "SELECT count(*) FROM customers WHERE role = 'customer'").await, 2);
    assert_eq!(count(&mut world.shelves, "SELECT count(*) FROM orders WHERE customer_id = 0").await, 2);
}

fn system(adapter: &str, setting: &str, path: &Path) -> Arc<dyn System> {
    let registry = Registry::default();
    let asked = SourceFile::new("test", "");
    let manifest = registry.adapter(adapter, &Place::start(&asked)).unwrap_or_else(|error| panic!("{error}"));
    let settings: Settings =
        [(setting.to_owned(), SettingValue::Plain(json!(path.display().to_string())))].into_iter().collect();
    let world = adapter::World {
        env: Env::system(),
        transport: Arc::new(Network::new().unwrap()),
        folder: path.parent().unwrap().into(),
        logins: Arc::new(crate::port::logins::InMemory::default()),
    };
    adapter::open("test", &manifest, &settings, &world).unwrap_or_else(|error| panic!("{error}"))
}

async fn rows(system: &dyn System, entity: &str, since: Option<&str>) -> (usize, Option<String>) {
    let (mut total, mut page, mut cursor) = (0, None, None);
    loop {
        let request = PullRequest { entity, since, page: page.as_ref(), limit: 1000 };
        let found = system.pull(&request).await.unwrap_or_else(|error| panic!("{entity}: {error}"));
        assert!(found.errors.is_empty(), "{:?}", found.errors);
        total += found.rows.len();
        cursor = found.cursor.or(cursor);
        match found.next {
            Some(next) => page = Some(next),
            None => return (total, cursor),
        }
    }
}

#[tokio::test]
async fn the_adapter_reads_the_whole_erp_and_later_only_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("erp.db");
    let (mut erp, _) = erp::prepare(&file, 1).await.unwrap();
    // Make the data older than the watermark's overlap.
    for table in ["familia", "articulo", "cliente"] {
        let query = format!("UPDATE {table} SET modificado = '2026-01-02T03:04:05.678Z'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(query)).execute(&mut erp).await.unwrap();
    }
    let system = system("ferreteria-erp", "file", &file);
    for (entity, expected) in [("category", 40), ("product", 512), ("customer", 200), ("order", 0)] {
        assert_eq!(rows(&*system, entity, None).await.0, expected, "{entity}");
    }
    let (_, cursor) = rows(&*system, "product", None).await;
    sqlx::query("UPDATE articulo SET nombre_es = 'Otro' WHERE id = 7").execute(&mut erp).await.unwrap();
    let (changed, moved) = rows(&*system, "product", Some("2026-02-01T00:00:00Z")).await;
    assert_eq!(changed, 1);
    assert!(moved > cursor, "{moved:?}");
}
