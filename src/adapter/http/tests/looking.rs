//! Steps that read before they write, tables that serve two operations, joins over lists other than the rows.

use super::*;

const ADAPTER: &str = r#"
[http]
base = "${url}"
post = "/rpc"
[entities.product]
id = "id"
[entities.product.list]
body = { do = "list" }
rows = "body.rows"
[[entities.product.list.join]]
for_each = '["en", "es"]'
body = { do = "names", ids = "${ids}", lang = "${item}" }
rows = "body.names.map(|n| merge(n, #{ lang: item }))"
on   = "id"
into = "names"
[entities.product.save]
id = "id ?? product"
[[entities.product.save.steps]]
name  = "present"
reads = true
body  = { do = "look" }
capture = { there = "body.there" }
[[entities.product.save.steps]]
name = "product"
when = 'op == "create"'
body = { do = "create" }
capture = { product = "body.id" }
[[entities.product.save.steps]]
name = "parts"
for_each = "whole.parts.filter(|p| !there.contains(p))"
body = { do = "part", part = "${item}" }
[[entities.product.save.steps.errors]]
when = 'status == 500 && item == "b" && key == "K-1"'
class = "transient"
"#;

fn tasks(fake: &Fake) -> Vec<String> {
    let seen = fake.seen.lock().unwrap();
    seen.iter()
        .map(|request| body(request))
        .map(|body| format!("{}{}", body["do"].as_str().unwrap(), body["part"].as_str().unwrap_or("")))
        .collect()
}

fn saving(op: Op) -> Write {
    Write { key: "K-1".into(), whole: json!({ "parts": ["a", "b", "c"] }), ..write(1, op, json!({})) }
}

#[tokio::test]
async fn a_retry_looks_again_and_does_only_what_is_not_there_yet() {
    let (shop, fake) = system(ADAPTER, |request| match body(request)["do"].as_str().unwrap() {
        "look" => reply(200, &json!({ "there": [] })),
        "create" => reply(200, &json!({ "id": 9 })),
        _ if body(request)["part"] == "b" => reply(500, &json!({})),
        _ => reply(200, &json!({})),
    });
    let saved = Saved::default();
    let failure = shop.write("product", vec![saving(Op::Create)], &saved).await.remove(0).result.unwrap_err();
    assert_eq!(failure.class, crate::failure::Class::Transient);
    assert_eq!(tasks(&fake), ["look", "create", "parta", "partb"]);

    // The second part arrived although its answer was an error: the list is shorter now, and the third part is
    // still missing.
    let done = saved.0.lock().unwrap().last().unwrap().1.clone();
    let (shop, again) = system(ADAPTER, |_| reply(200, &json!({ "there": ["a", "b"] })));
    let written = shop.write("product", vec![Write { done, ..saving(Op::Create) }], &Saved::default()).await.remove(0);
    assert_eq!(written.result.unwrap().id, "9");
    assert_eq!(tasks(&again), ["look", "partc"]);
}

#[tokio::test]
async fn one_table_serves_create_and_update() {
    let (shop, fake) = system(ADAPTER, |_| reply(200, &json!({ "there": ["a"] })));
    let write = Write { id: Some("7".into()), ..saving(Op::Update) };
    assert_eq!(shop.write("product", vec![write], &Saved::default()).await.remove(0).result.unwrap().id, "7");
    assert_eq!(tasks(&fake), ["look", "partb", "partc"]);
    let capabilities = shop.capabilities("product").unwrap();
    assert!(capabilities.create && capabilities.update && capabilities.steps && !capabilities.delete);
}

#[tokio::test]
async fn a_join_over_a_list_gathers_the_children_of_all_its_answers() {
    let (shop, _) = system(ADAPTER, |request| match body(request)["lang"].as_str() {
        None => reply(200, &json!({ "rows": [{ "id": 1 }, { "id": 2 }] })),
        Some(lang) => reply(200, &json!({ "names": [{ "id": 2, "name": format!("two-{lang}") }] })),
    });
    let pages = pull_all(&*shop, "product", None).await.unwrap();
    let rows: Vec<Value> = pages.iter().flat_map(|page| &page.rows).map(|row| row.body.clone().into_value()).collect();
    assert_eq!(rows[0]["names"], json!([]));
    let names = json!([{ "id": 2, "name": "two-en", "lang": "en" }, { "id": 2, "name": "two-es", "lang": "es" }]);
    assert_eq!(rows[1]["names"], names);
}
