use super::*;
use crate::{
    adapter::transport::Method,
    failure::Class,
    port::{Outcome, RowBody, SourceRow, Written},
};
use std::time::Duration;

const SINGLE: &str = r#"
[http]
base = "${url}"
auth = { query = { key = "${password}" } }
[[http.errors]]
when = 'status == 400 && body.code == "bad_sku"'
class = "rejected"
field = "sku"
message = "${body.message}"
[[http.errors]]
when = 'op == "update" && status == 500 && body.code == "gone"'
class = "missing"
[entities.product]
id = "id"
version = "rev"
[entities.product.create]
post = "/products"
body = "${merge(body, #{ ref: key })}"
id = "body.id"
row = "body"
parts = { variants = 'index_by(body.variants, "sku")' }
[entities.product.update]
put = "/products/${id}"
body = "${body}"
row = "body"
[entities.product.delete]
delete = "/products/${id}"
query = { force = true }
"#;

async fn one(shop: &dyn System, write: Write) -> Result<crate::port::Written, Failure> {
    let entity = if shop.capabilities("order").is_some() { "order" } else { "product" };
    let mut outcomes = shop.write(entity, vec![write], &Saved::default()).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0).result
}

/// An update may contain values that were read from the target.
#[tokio::test]
async fn what_could_not_be_read_is_never_sent() {
    let (shop, fake) = system(SINGLE, |_| reply(201, &json!({ "id": 7 })));
    let unread = json!({ "name": "x", "meta": [crate::model::flaw::mark("a byte of it is not valid UTF-8")] });
    let failure = one(&*shop, write(1, Op::Create, unread)).await.unwrap_err();
    assert_eq!(failure.class, Class::Rejected);
    assert!(failure.message.contains("`meta[0]` cannot be read: a byte of it"), "{failure}");
    assert_eq!(fake.count("/products"), 0);
}

#[tokio::test]
async fn the_answer_to_a_create_gives_id_version_row_and_child_ids() {
    let (shop, fake) = system(SINGLE, |request| {
        let sent = body(request);
        reply(201, &json!({ "id": 7, "rev": "v1", "name": sent["name"], "variants": [{ "id": 71, "sku": "A" }] }))
    });
    let written = one(&*shop, write(1, Op::Create, json!({ "name": "x" }))).await.unwrap();
    assert_eq!((written.id.as_str(), written.version.as_deref()), ("7", Some("v1")));
    assert_eq!(written.stored.unwrap()["name"], "x");
    assert_eq!(written.child_ids["variants"]["A"], "71");
    assert_eq!(body(&fake.seen.lock().unwrap()[0]), json!({ "name": "x", "ref": "K1" }));
    let capabilities = shop.capabilities("product").unwrap();
    assert!(
        capabilities.create
            && capabilities.update
            && capabilities.delete
            && !capabilities.list
            && capabilities.batch == 1
    );
}

#[tokio::test]
async fn refusals_carry_class_field_and_what_the_system_said_but_no_secret() {
    let (shop, _) = system(SINGLE, |request| match request.method {
        Method::Post => reply(400, &json!({ "code": "bad_sku", "message": "SKU is taken" })),
        Method::Put => reply(500, &json!({ "code": "gone" })),
        _ => reply(404, &json!({})),
    });
    let failure = one(&*shop, write(1, Op::Create, json!({}))).await.unwrap_err();
    assert_eq!((failure.class, failure.field.as_deref(), failure.status), (Class::Rejected, Some("sku"), Some(400)));
    assert_eq!(failure.message, "shop/product: SKU is taken (POST /products: 400)");
    let failure = one(&*shop, write(1, Op::Update, json!({}))).await.unwrap_err();
    assert_eq!(failure.class, Class::Missing);
    let written = one(&*shop, write(1, Op::Delete, json!({}))).await.unwrap();
    assert_eq!(written.id, "1", "what is to be deleted and is not there is deleted");
}

#[tokio::test]
async fn an_effect_that_nobody_can_see_is_unknown_and_one_that_cannot_be_is_transient() {
    for (answer, expected) in [
        (Err(TransportError::NotSent("refused".into())), Class::Transient),
        (Err(TransportError::Timeout { after: Duration::from_secs(1), sent: false }), Class::Transient),
        (Err(TransportError::Timeout { after: Duration::from_secs(1), sent: true }), Class::Unknown),
        (Err(TransportError::Lost("reset".into())), Class::Unknown),
        (Err(TransportError::TooLarge { limit: 1 }), Class::Unknown),
        (reply(500, &json!({})), Class::Unknown),
        (reply(302, &json!({})), Class::Unknown),
        (reply(200, &json!({ "id": null, "variants": [] })), Class::Unknown),
        (reply(201, &json!([])), Class::Unknown),
        (reply(429, &json!({})), Class::Throttled),
        (reply(401, &json!({})), Class::Auth),
        (reply(409, &json!({})), Class::Conflict),
        (reply(422, &json!({})), Class::Rejected),
    ] {
        let described = format!("{answer:?}");
        let (shop, _) = system(SINGLE, move |_| answer.clone());
        let failure = one(&*shop, write(1, Op::Create, json!({ "name": "x" }))).await.unwrap_err();
        assert_eq!(failure.class, expected, "{described}: {failure}");
        assert!(!failure.to_string().contains("hush"), "{failure}");
    }
}

#[tokio::test]
async fn the_wait_a_system_asks_for_is_handed_on() {
    let (shop, _) = system(SINGLE, |request| {
        let wait = if request.method == Method::Post { "17" } else { "Wed, 01 Jul 2026 10:01:00 GMT" };
        reply_with(429, &[("retry-after", wait)], "{}")
    });
    let failure = one(&*shop, write(1, Op::Create, json!({}))).await.unwrap_err();
    assert_eq!(failure.retry_after, Some(Duration::from_secs(17)));
    let failure = one(&*shop, write(1, Op::Update, json!({}))).await.unwrap_err();
    assert_eq!(failure.retry_after, Some(Duration::from_mins(1)));
}

const STEPS: &str = r#"
[http]
base = "${url}"
[entities.order]
id = "id"
[entities.order.create]
id = "order"
[[entities.order.create.steps]]
name = "order"
post = "/orders"
body = { reference = "${key}", lines = "${body.lines}" }
capture = { order = "body.id" }
[[entities.order.create.steps]]
name = "confirm"
when = 'wanted.status != "pending" && (found == () || found.state == "draft")'
post = "/orders/${order}/confirm"
[[entities.order.create.steps]]
name = "note"
for_each = "body.notes"
post = "/orders/${order}/notes"
body = { note = "${item}", number = "${item_index}" }
ignore = "status == 409"
"#;

fn order(job: i64) -> Write {
    Write {
        desired: json!({ "status": "paid" }),
        ..write(job, Op::Create, json!({ "lines": [1], "notes": ["a", "b"] }))
    }
}

#[tokio::test]
async fn every_finished_step_is_saved_before_the_next_and_a_retry_goes_on_behind_it() {
    let (shop, fake) = system(STEPS, |request| match request.path() {
        "/orders" => reply(201, &json!({ "id": 9 })),
        "/orders/9/confirm" => reply(200, &json!({})),
        _ if body(request)["note"] == "a" => reply(409, &json!({})),
        _ => reply(503, &json!({})),
    });
    let saved = Saved::default();
    let outcome = shop.write("order", vec![order(1)], &saved).await.remove(0);
    let failure = outcome.result.unwrap_err();
    assert_eq!((failure.class, outcome.requests), (Class::Unknown, 4));
    assert!(failure.message.contains("step `note`"), "{failure}");
    let last = saved.0.lock().unwrap().last().unwrap().1.clone();
    assert_eq!(saved.0.lock().unwrap().len(), 3);
    assert_eq!(last["order"], json!(9));

    let (shop, again) = system(STEPS, |_| reply(200, &json!({})));
    let retry = Write { done: last, ..order(1) };
    let outcome = shop.write("order", vec![retry], &Saved::default()).await.remove(0);
    assert_eq!(outcome.result.unwrap().id, "9");
    assert_eq!(again.paths(), ["POST /orders/9/notes"]);
    assert_eq!(body(&again.seen.lock().unwrap()[0]), json!({ "note": "b", "number": 1 }));
    assert_eq!(fake.paths().len(), 4);
    assert!(shop.capabilities("order").unwrap().steps);
}

#[tokio::test]
async fn a_step_of_an_update_is_repeated_when_its_request_has_changed() {
    let toml = r#"
[http]
base = "${url}"
[entities.order]
id = "id"
[entities.order.update]
steps = [
  { name = "status", put = "/orders/${id}", body = { status = "${body.status}" } },
  { name = "note", post = "/orders/${id}/notes", body = { note = "changed" } },
]
"#;
    let (shop, _) = system(toml, |request| reply(if request.path() == "/orders/1" { 200 } else { 503 }, &json!({})));
    let saved = Saved::default();
    let state = |status: &str| write(1, Op::Update, json!({ "status": status }));
    shop.write("order", vec![state("confirmed")], &saved).await.remove(0).result.unwrap_err();
    let done = saved.0.lock().unwrap().last().unwrap().1.clone();
    for (status, sent) in
        [("confirmed", vec!["POST /orders/1/notes"]), ("shipped", vec!["PUT /orders/1", "POST /orders/1/notes"])]
    {
        let (shop, fake) = system(toml, |_| reply(200, &json!({})));
        let retry = Write { done: done.clone(), ..state(status) };
        shop.write("order", vec![retry], &Saved::default()).await.remove(0).result.unwrap();
        assert_eq!(fake.paths(), sent, "{status}");
    }
}

#[tokio::test]
async fn a_create_whose_first_answer_was_lost_goes_on_with_what_was_found() {
    let (shop, fake) = system(STEPS, |_| reply(200, &json!({})));
    let found = SourceRow {
        id: "42".into(),
        position: "find row 1".into(),
        version: None,
        body: RowBody::Json(json!({ "id": 42, "state": "confirmed" })),
    };
    let saved = Saved::default();
    let retry = Write { found: Some(found), ..order(1) };
    let outcome = shop.write("order", vec![retry], &saved).await.remove(0);
    assert_eq!(outcome.result.unwrap().id, "42");
    assert_eq!(fake.paths(), ["POST /orders/42/notes", "POST /orders/42/notes"]);
    assert_eq!(saved.0.lock().unwrap()[0].1["order"], json!("42"));
}

#[tokio::test]
async fn a_create_that_a_lookup_found_complete_gives_its_row_and_child_ids() {
    let toml = r#"
[http]
base = "${url}"
[entities.product]
id = "id"
[entities.product.find]
get = "/products"
where = "row.sku == key"
[entities.product.create]
id = "product"
parts = { variants = 'index_by([#{ sku: key, id: text(product) }], "sku")' }
row = "if found == () { stored } else { found }"
[[entities.product.create.steps]]
name = "product"
post = "/products"
body = "${body}"
capture = { product = "body.id", stored = "body" }
"#;
    let (shop, fake) = system(toml, |_| reply(200, &json!({})));
    let row = json!({ "id": 42, "sku": "A" });
    let found =
        SourceRow { id: "42".into(), position: "find row 1".into(), version: None, body: RowBody::Json(row.clone()) };
    let retry = Write { found: Some(found), key: "A".into(), ..order(1) };
    let saved = Saved::default();
    let written = shop.write("product", vec![retry], &saved).await.remove(0).result.unwrap();
    let parts_of = |written: Written| (written.id, written.stored, written.child_ids["variants"]["A"].clone());
    assert_eq!(parts_of(written), ("42".to_owned(), Some(row.clone()), "42".to_owned()));
    // If a crash happens before the end, the next attempt knows what was found and does not look up again.
    let done = saved.0.lock().unwrap().last().unwrap().1.clone();
    let again = Write { done, key: "A".into(), ..order(1) };
    let written = shop.write("product", vec![again], &Saved::default()).await.remove(0).result.unwrap();
    assert_eq!(parts_of(written), ("42".to_owned(), Some(row), "42".to_owned()));
    assert!(fake.paths().is_empty(), "nothing is left to send");
}

const BATCH: &str = r#"
[http]
base = "${url}"
[entities.product]
id = "id"
[entities.product.batch]
post = "/batch"
max = 3
ops = ["create", "update"]
item = "${merge(body, #{ id: id })}"
body = { create = "${creates}", update = "${updates}" }
results = { create = "body.create", update = "body.update" }
error = "result.error"
class = 'if result.error.code == "taken" { "conflict" } else { "rejected" }'
message = "result.error.message"
id = "result.id"
row = "result"
"#;

#[tokio::test]
async fn a_batch_with_item_results_gives_each_write_its_own() {
    let (shop, fake) = system(BATCH, |request| {
        let sent = body(request);
        let answer = |op: &str| -> Vec<Value> {
            let items = sent[op].as_array().unwrap().iter();
            items
                .map(|item| match item["n"].as_i64().unwrap() {
                    2 => json!({ "id": 0, "error": { "code": "taken", "message": "taken already" } }),
                    3 => json!({ "error": { "code": "x", "message": "no good" } }),
                    n => json!({ "id": 100 + n, "n": n }),
                })
                .collect()
        };
        reply(200, &json!({ "create": answer("create"), "update": answer("update") }))
    });
    let writes = vec![
        write(1, Op::Create, json!({ "n": 1 })),
        write(2, Op::Update, json!({ "n": 2 })),
        write(3, Op::Create, json!({ "n": 3 })),
        write(4, Op::Update, json!({ "n": 4 })),
    ];
    let mut outcomes = shop.write("product", writes, &Saved::default()).await;
    outcomes.sort_by_key(|outcome| outcome.job);
    let results: Vec<Result<String, (Class, String)>> = outcomes
        .into_iter()
        .map(|outcome| outcome.result.map(|written| written.id).map_err(|failure| (failure.class, failure.message)))
        .collect();
    let refused = |text: &str| format!("shop/product: {text} (POST /batch: 200)");
    assert_eq!(
        results,
        [
            Ok("101".into()),
            Err((Class::Conflict, refused("taken already"))),
            Err((Class::Rejected, refused("no good"))),
            Ok("104".into())
        ]
    );
    assert_eq!(fake.count("/batch"), 2);
    assert_eq!(shop.capabilities("product").unwrap().batch, 3);
}

#[tokio::test]
async fn a_batch_that_answers_for_fewer_items_is_unknown_for_all_of_them() {
    let (shop, _) = system(BATCH, |_| reply(200, &json!({ "create": [{ "id": 1 }], "update": [] })));
    let writes = (1..=2).map(|job| write(job, Op::Create, json!({}))).collect();
    let outcomes = shop.write("product", writes, &Saved::default()).await;
    for outcome in outcomes {
        let failure = outcome.result.unwrap_err();
        assert_eq!(failure.class, Class::Unknown);
        assert!(failure.message.contains("1 results for 2 items"), "{failure}");
    }
}

#[tokio::test]
async fn shuffled_results_are_matched_to_their_items() {
    let toml = BATCH.replace("results = {", "match = \"result.sku == item.sku\"\nresults = {");
    let (shop, _) =
        system(&toml, |_| reply(200, &json!({ "create": [{ "sku": "B", "id": 2 }, { "sku": "A", "id": 1 }] })));
    let writes = vec![
        write(1, Op::Create, json!({ "sku": "A" })),
        write(2, Op::Create, json!({ "sku": "B" })),
        write(3, Op::Create, json!({ "sku": "C" })),
    ];
    let mut outcomes = shop.write("product", writes, &Saved::default()).await;
    outcomes.sort_by_key(|outcome| outcome.job);
    let results: Vec<Result<String, Class>> =
        outcomes.into_iter().map(|o| o.result.map(|written| written.id).map_err(|failure| failure.class)).collect();
    assert_eq!(results, [Ok("1".into()), Ok("2".into()), Err(Class::Unknown)]);
}

#[tokio::test]
async fn a_batch_without_item_results_is_halved_until_the_bad_item_stands_alone() {
    let toml = r#"
[http]
base = "${url}"
[entities.stock]
id = "id"
[entities.stock.batch]
put = "/stock"
max = 100
ops = ["update"]
body = "${items}"
"#;
    let (shop, fake) = system(toml, |request| {
        let bad = body(request).as_array().unwrap().iter().any(|item| item["n"] == 5);
        if bad { reply(400, &json!({ "message": "5 is no good" })) } else { reply(200, &json!({})) }
    });
    let writes = (1..=8).map(|job| write(job, Op::Update, json!({ "n": job }))).collect();
    let outcomes = shop.write("stock", writes, &Saved::default()).await;
    let failed: Vec<i64> =
        outcomes.iter().filter(|outcome| outcome.result.is_err()).map(|outcome| outcome.job.0).collect();
    assert_eq!((outcomes.len(), failed), (8, vec![5]));
    assert_eq!(fake.count("/stock"), 7);

    let (shop, fake) = system(toml, |_| reply(500, &json!({})));
    let writes = (1..=8).map(|job| write(job, Op::Update, json!({ "n": job }))).collect();
    let outcomes = shop.write("stock", writes, &Saved::default()).await;
    assert!(
        outcomes.iter().all(|outcome| outcome.result.as_ref().is_err_and(|failure| failure.class == Class::Unknown))
    );
    assert_eq!(fake.count("/stock"), 1, "an unknown outcome is never sent again");
}

#[tokio::test]
async fn a_batch_that_is_refused_for_one_of_its_items_refuses_no_other() {
    let toml = r#"
[http]
base = "${url}"
[entities.stock]
id = "id"
[entities.stock.batch]
put = "/stock"
max = 100
ops = ["update"]
body = "${items}"
"#;
    let writes = || (1..=8).map(|job| write(job, Op::Update, json!({ "n": job }))).collect();
    let refused = |outcomes: &[Outcome]| -> Vec<i64> {
        let of = |one: &&Outcome| one.result.as_ref().is_err_and(|failure| failure.class == Class::Auth);
        outcomes.iter().filter(of).map(|outcome| outcome.job.0).collect()
    };
    // A firewall refuses two of them.
    let (shop, _) = system(toml, |request| {
        let bad = body(request).as_array().unwrap().iter().any(|item| item["n"] == 1 || item["n"] == 6);
        if bad { reply(403, &json!({ "message": "blocked" })) } else { reply(200, &json!({})) }
    });
    let outcomes = shop.write("stock", writes(), &Saved::default()).await;
    assert_eq!((outcomes.len(), refused(&outcomes)), (8, vec![1, 6]));
    // If the system reports what is wrong with an item, it has accepted the credentials.
    let (shop, _) = system(toml, |request| {
        let sent = body(request).as_array().unwrap().clone();
        match sent.as_slice() {
            [item] if item["n"] == 1 => reply(400, &json!({ "message": "1 is no good" })),
            items if items.iter().any(|item| item["n"] == 1 || item["n"] == 6) => reply(403, &json!({})),
            _ => reply(200, &json!({})),
        }
    });
    let outcomes = shop.write("stock", writes(), &Saved::default()).await;
    assert_eq!((outcomes.len(), refused(&outcomes)), (8, vec![6]));
    // A revoked key costs four requests, not fifteen.
    let (shop, fake) = system(toml, |_| reply(403, &json!({ "message": "who are you" })));
    let outcomes = shop.write("stock", writes(), &Saved::default()).await;
    assert_eq!((refused(&outcomes).len(), fake.count("/stock")), (8, 4));
}

#[tokio::test]
async fn writes_of_different_groups_go_in_different_requests() {
    let toml = r#"
[http]
base = "${url}"
[entities.price]
id = "id"
facet_of = "product.variants"
[entities.price.batch]
post = "/products/${group}/prices"
max = 10
ops = ["update"]
group = "body.product"
body = { prices = "${updates}" }
"#;
    let (shop, fake) = system(toml, |_| reply(200, &json!({})));
    let writes = (1..=4).map(|job| write(job, Op::Update, json!({ "product": job % 2 }))).collect();
    let outcomes = shop.write("price", writes, &Saved::default()).await;
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
    let mut paths = fake.paths();
    paths.sort();
    assert_eq!(paths, ["POST /products/0/prices", "POST /products/1/prices"]);
    assert_eq!(shop.capabilities("price").unwrap().facet_of.as_deref(), Some("product.variants"));
}

#[tokio::test]
async fn a_changed_adapter_looks_at_every_row_again_but_not_for_how_it_writes() {
    let never = |_: &Request| Err(TransportError::NotSent("never".into()));
    let listed = format!("{SINGLE}[entities.product.list]\nget = \"/products\"\n");
    let version = |toml: &str| system(toml, never).0.version("product");
    assert_eq!(version(&listed), version(&listed.replace("force = true", "force = false")));
    assert_ne!(version(&listed), version(&listed.replace("get = \"/products\"", "get = \"/all\"")));
}

#[tokio::test]
async fn changed_names_what_the_write_is_about_and_nothing_else() {
    let toml = "[http]\nbase = \"${url}\"\n[entities.order]\nid = \"id\"\n[entities.order.update]\nput = \"/orders/${id}\"\n\
                body = { changed = \"${join(changed, ', ')}\" }\n";
    let (system, fake) = system(toml, |_| reply(200, &json!({})));
    let update = Write {
        before: json!({ "status": "paid" }),
        desired: json!({ "status": "shipped", "note": null }),
        changed: ["status".to_owned()].into(),
        ..write(1, Op::Update, json!({ "status": "shipped" }))
    };
    system.write("order", vec![update], &Saved::default()).await;
    assert_eq!(body(&fake.seen.lock().unwrap()[0])["changed"], "status");
}
