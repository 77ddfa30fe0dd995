//! The same over the real network.

use std::collections::BTreeMap;

use super::*;
use axum::{Json, Router, extract::Query, http::HeaderMap, routing};
use tokio_util::task::AbortOnDropHandle;

use crate::adapter::http::Network;

/// A server on a free port of this machine, which runs as long as its handle is kept. Return its address.
pub(in crate::adapter::http) async fn served(router: Router) -> (String, AbortOnDropHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, AbortOnDropHandle::new(serving))
}

#[tokio::test]
async fn a_listing_and_a_create_go_over_the_real_network() {
    let list = async |headers: HeaderMap, Query(query): Query<BTreeMap<String, String>>| {
        assert_eq!((headers["authorization"].as_bytes(), &*query["page"]), (&b"Basic YW5hOmh1c2gtaHVzaA=="[..], "1"));
        Json(json!([{ "id": 1, "price": "1.10" }]))
    };
    let create = async |body: String| {
        assert_eq!(body, "{\"name\":\"Tuerca ñ\",\"price\":1.10}");
        (axum::http::StatusCode::CREATED, Json(json!({ "id": 2 })))
    };
    let (server, _running) = served(Router::new().route("/api/products", routing::get(list).post(create))).await;
    let toml = r#"
[http]
base = "${url}/api"
auth = { basic = { user = "${user}", password = "${password}" } }
[entities.product]
id = "id"
[entities.product.list]
get = "/products"
query = { page = "${page.number}" }
pages = { by = "number", size = 10 }
[entities.product.create]
post = "/products"
body = "${body}"
id = "body.id"
"#;
    let manifest = Manifest::load(SourceFile::new("wire.toml", format!("{HEAD}{toml}"))).unwrap();
    let settings: Settings = [
        ("url".to_owned(), SettingValue::Plain(server.into())),
        ("user".to_owned(), SettingValue::Plain("ana".into())),
        ("password".to_owned(), SettingValue::Secret("hush-hush".into())),
    ]
    .into_iter()
    .collect();
    let world = World {
        env: Env::system(),
        transport: Arc::new(Network::new().unwrap()),
        folder: std::path::PathBuf::new(),
        logins: Arc::new(InMemory::default()),
    };
    let shop = adapter::open("shop", &manifest, &settings, &world).unwrap();
    assert!(shop.check().await.iter().all(|line| line.problem.is_none()));
    let pages = pull_all(&*shop, "product", None).await.unwrap();
    assert_eq!(ids(&pages), ["1"]);
    let desired: Value = serde_json::from_str(r#"{ "name": "Tuerca ñ", "price": 1.10 }"#).unwrap();
    let outcomes = shop.write("product", vec![write(1, Op::Create, desired)], &Saved::default()).await;
    assert_eq!(outcomes[0].result.as_ref().unwrap().id, "2");
}
