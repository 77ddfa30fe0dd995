//! The same over the real network.

use super::*;
use crate::adapter::http::Network;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_string, header, method, path, query_param},
};

#[tokio::test]
async fn a_listing_and_a_create_go_over_the_real_network() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/api/products"))
        .and(query_param("page", "1"))
        .and(header("authorization", "Basic YW5hOmh1c2gtaHVzaA=="))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([{ "id": 1, "price": "1.10" }])))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/api/products"))
        .and(body_string("{\"name\":\"Tuerca ñ\",\"price\":1.10}"))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({ "id": 2 })))
        .mount(&server)
        .await;
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
        ("url".to_owned(), SettingValue::Plain(server.uri().into())),
        ("user".to_owned(), SettingValue::Plain("ana".into())),
        ("password".to_owned(), SettingValue::Secret("hush-hush".into())),
    ]
    .into_iter()
    .collect();
    let world =
        World { env: Env::system(), transport: Arc::new(Network::new().unwrap()), folder: std::path::PathBuf::new() };
    let shop = adapter::open("shop", &manifest, &settings, &world).unwrap();
    assert!(shop.check().await.iter().all(|line| line.problem.is_none()));
    let pages = pull_all(&*shop, "product", None).await.unwrap();
    assert_eq!(ids(&pages), ["1"]);
    let wanted: Value = serde_json::from_str(r#"{ "name": "Tuerca ñ", "price": 1.10 }"#).unwrap();
    let outcomes = shop.write("product", vec![write(1, Op::Create, wanted)], &Saved::default()).await;
    assert_eq!(outcomes[0].result.as_ref().unwrap().id, "2");
}
