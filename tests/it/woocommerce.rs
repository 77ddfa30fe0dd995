//! The WooCommerce adapter against the sandbox shop.
//!
//! One file, because one shop is set up for all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use indexmap::IndexMap;
use secrecy::SecretString;
use serde_json::{Value, json};
use vaiven::internals::{
    adapter::{Given, Manifest, SettingValue, World, http},
    env::Env,
    failure::{Class, Failure},
    load::{Place, SourceFile},
    port::{
        Captures, Op, Outcome, PageToken, Probe, Progress, PullRequest, SourceRow, System, ValueList, ValuesOf, Write,
        logins::InMemory,
    },
    sandbox::{Checkout, Fault, FaultKind, Options},
    store::JobId,
};

use super::sandbox::shop::Running;

/// What was stored last of a write's steps.
#[derive(Default)]
struct Saved(Mutex<Captures>);

#[async_trait]
impl Progress for Saved {
    async fn save(&self, _: JobId, done: &Captures) -> Result<(), Failure> {
        self.0.lock().unwrap().clone_from(done);
        Ok(())
    }
}

async fn connected() -> (Running, Arc<dyn System>) {
    let shop = Running::start().await;
    let system = connected_to(&shop);
    (shop, system)
}

fn connected_to(shop: &Running) -> Arc<dyn System> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/adapters/woocommerce.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let manifest = Manifest::load(SourceFile::new("woocommerce.toml", &text)).unwrap();
    let config = SourceFile::new("vaiven.toml", "");
    let place = Place::start(&config);
    let secret = |text: &str| SettingValue::Secret(SecretString::from(text.to_owned()));
    let given: IndexMap<String, Given> = [
        ("url", SettingValue::Plain(Value::from(shop.base.as_str()))),
        ("key", secret("ck_sandbox")),
        ("secret", secret("cs_sandbox")),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Given { value, place: place.clone() }))
    .collect();
    let settings = manifest.check_settings(&given, &place).unwrap();
    let world = World {
        env: Env::system(),
        transport: Arc::new(http::Network::new().unwrap()),
        folder: Path::new(".").to_owned(),
        logins: Arc::new(InMemory::default()),
    };
    let system = vaiven::internals::adapter::open("shop", &manifest, &settings, &world);
    system.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tax_classes_that_there_are_can_be_compared_with_a_lookup() {
    let (shop, system) = connected().await;
    let list = |of: ValuesOf, entity: &str| ValueList { entity: entity.to_owned(), of };
    let currency = ValuesOf::Setting { name: "currency".to_owned(), said: vec!["EUR".to_owned()] };
    let lists = [list(ValuesOf::Lookup("tax".to_owned()), "tax_class"), list(currency, "currency")];
    assert_eq!(system.value_lists(), lists);
    let classes: Vec<String> = all(system.as_ref(), "tax_class").await.into_iter().map(|row| row.id).collect();
    assert_eq!(classes, ["standard", "reduced-rate", "zero-rate"], "of a fresh shop");
    let unknown = json!({ "name": "Bread", "sku": "B", "tax_class": "super-reduced-rate" });
    let made = shop.done("POST", "/products", unknown).await;
    assert_eq!(made["tax_class"], "", "stored as the standard one, in silence");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_currency_of_the_shop_can_be_compared_with_the_setting() {
    let (_shop, system) = connected().await;
    let current: Vec<String> = all(system.as_ref(), "currency").await.into_iter().map(|row| row.id).collect();
    assert_eq!(current, ["EUR"]);
}

fn write(job: i64, op: Op, key: &str, id: Option<&str>, body: Value) -> Write {
    Write {
        job: JobId(job),
        op,
        key: key.into(),
        id: id.map(str::to_owned),
        whole: body.clone(),
        body,
        before: Value::Null,
        desired: Value::Null,
        changed: std::collections::BTreeSet::new(),
        child_ids: BTreeMap::new(),
        held: BTreeMap::new(),
        dropped: std::collections::BTreeMap::default(),
        yielding: std::collections::BTreeMap::default(),
        done: Captures::new(),
        found: None,
    }
}

async fn one(system: &dyn System, entity: &str, write: Write) -> Outcome {
    system.write(entity, vec![write], &Saved::default()).await.pop().unwrap()
}

async fn all(system: &dyn System, entity: &str) -> Vec<SourceRow> {
    let mut rows = Vec::new();
    let mut token = None;
    loop {
        let request = PullRequest { entity, since: None, page: token.as_ref(), limit: 1000 };
        let page = system.pull(&request).await.unwrap();
        assert_eq!(page.errors, [], "{entity}");
        rows.extend(page.rows);
        token = page.next;
        if token.is_none() {
            return rows;
        }
    }
}

fn simple(sku: &str) -> Value {
    json!({ "sku": sku, "name": "Drill & bits", "type": "simple", "status": "publish",
        "variants": [{ "sku": sku, "weight": "1.2", "global_unique_id": format!("gtin-{sku}"), "status": "publish" }] })
}

fn variable(sku: &str) -> Value {
    let variants: Vec<Value> = ["S", "M"]
        .map(|size| json!({ "sku": format!("{sku}-{size}"), "weight": "0.5", "attributes": [{ "name": "Size", "option": size }] }))
        .into();
    json!({ "sku": sku, "name": "Tee", "type": "variable", "status": "publish", "variants": variants,
        "attributes": [{ "name": "Size", "visible": true, "variation": true, "options": ["S", "M"] }] })
}

fn child_ids(outcome: &Outcome) -> BTreeMap<String, String> {
    let written = outcome.result.as_ref().unwrap_or_else(|failure| panic!("{failure}"));
    written.child_ids.get("variants").cloned().unwrap_or_default()
}

#[tokio::test]
async fn products_become_simple_or_variable_and_their_parts_are_known() {
    let (shop, system) = connected().await;
    let made = one(&*system, "product", write(1, Op::Create, "D", None, simple("D"))).await;
    let id = made.result.as_ref().unwrap().id.clone();
    assert_eq!(child_ids(&made), BTreeMap::from([("D".to_owned(), id.clone())]));
    assert_eq!(shop.shop.article("D").await.unwrap()["weight"], "1.2");

    let made = one(&*system, "product", write(2, Op::Create, "T", None, variable("T"))).await;
    let parent = made.result.as_ref().unwrap().id.clone();
    let known = child_ids(&made);
    assert_eq!(known.keys().collect::<Vec<_>>(), ["T-M", "T-S"]);
    assert!(known["T-S"].starts_with(&format!("{parent}/")));

    // One variant goes, one comes, one changes.
    let mut body = variable("T");
    body["variants"][0]["part"] = json!(known["T-S"]);
    body["variants"][0]["weight"] = json!("0.7");
    body["variants"][1]["sku"] = json!("T-L");
    let mut change = write(3, Op::Update, "T", Some(&parent), body);
    change.dropped.insert("variants".into(), vec![known["T-M"].clone()]);
    change.child_ids.insert("variants".into(), known);
    let changed = one(&*system, "product", change).await;
    assert_eq!(child_ids(&changed).keys().collect::<Vec<_>>(), ["T-L", "T-S"]);
    assert_eq!(shop.shop.article("T-S").await.unwrap()["weight"], "0.7");
    assert!(shop.shop.article("T-M").await.is_err());

    let rows = all(&*system, "product").await;
    assert_eq!(rows.len(), 2);
    let row = rows.into_iter().find(|row| row.id == parent).unwrap().body.into_value();
    assert_eq!(row["children"].as_array().unwrap().len(), 2);
}

/// A product of two variations that is simple by now; these are told to be dropped.
async fn becomes_simple(dropped: &[&str]) -> (Running, Arc<dyn System>, String) {
    let (shop, system) = connected().await;
    let made = one(&*system, "product", write(1, Op::Create, "T", None, variable("T"))).await;
    let (id, variations) = (made.result.as_ref().unwrap().id.clone(), child_ids(&made));
    let mut plain = write(2, Op::Update, "T", Some(&id), simple("T"));
    plain.held.insert("variants".into(), variations.clone());
    plain.dropped.insert("variants".into(), dropped.iter().map(|sku| variations[*sku].clone()).collect());
    assert_eq!(child_ids(&one(&*system, "product", plain).await), BTreeMap::new(), "the row tells it");
    let row = all(&*system, "product").await.remove(0).body.into_value();
    assert_eq!((&row["type"], &row["global_unique_id"]), (&json!("simple"), &json!("gtin-T")));
    assert!(shop.shop.article("T-S").await.is_err() && shop.shop.article("T-M").await.is_err());
    (shop, system, id)
}

#[tokio::test]
async fn a_product_that_changes_its_kind_leaves_no_variation_behind() {
    // One of them may go on as the article itself, under its name.
    becomes_simple(&["T-S"]).await;
    let (shop, system, id) = becomes_simple(&["T-S", "T-M"]).await;
    // And back: its barcode is free for one of them.
    let mut body = variable("T");
    body["variants"][0]["global_unique_id"] = json!("gtin-T");
    let mut many = write(3, Op::Update, "T", Some(&id), body);
    many.held.insert("variants".into(), BTreeMap::from([("T".to_owned(), id.clone())]));
    many.dropped.insert("variants".into(), vec![id.clone()]);
    let child_ids = child_ids(&one(&*system, "product", many).await);
    assert_eq!(child_ids.keys().collect::<Vec<_>>(), ["T-M", "T-S"]);
    assert_eq!(shop.shop.article("T-S").await.unwrap()["global_unique_id"], "gtin-T");
}

#[tokio::test]
async fn variations_that_swap_their_skus_keep_their_ids() {
    let (_shop, system) = connected().await;
    let made = one(&*system, "product", write(1, Op::Create, "T", None, variable("T"))).await;
    let (id, had) = (made.result.as_ref().unwrap().id.clone(), child_ids(&made));
    let mut body = variable("T");
    for (index, (sku, was)) in [("T-M", "T-S"), ("T-S", "T-M")].into_iter().enumerate() {
        body["variants"][index]["sku"] = json!(sku);
        body["variants"][index]["part"] = json!(had[was]);
    }
    let mut swap = write(2, Op::Update, "T", Some(&id), body);
    swap.held.insert("variants".into(), had.clone());
    swap.yielding.insert("variants".into(), had.values().cloned().collect());
    let now = child_ids(&one(&*system, "product", swap).await);
    assert_eq!((&now["T-M"], &now["T-S"]), (&had["T-S"], &had["T-M"]));
}

#[tokio::test]
async fn variations_without_a_sku_are_in_nobodys_way() {
    let (shop, system) = connected().await;
    let made = one(&*system, "product", write(1, Op::Create, "T", None, variable("T"))).await;
    let (id, had) = (made.result.as_ref().unwrap().id.clone(), child_ids(&made));
    // People made two, which show the product's SKU.
    for size in ["XS", "XL"] {
        let options =
            json!({ "attributes": [{ "name": "Size", "option": size }], "manage_stock": true, "regular_price": "9" });
        let plain = shop.done("POST", &format!("/products/{id}/variations"), options).await;
        assert_eq!(plain["sku"], "T");
    }
    assert!(all(&*system, "price").await.into_iter().all(|row| row.body.into_value()["sku"] != "T"));
    assert_eq!(all(&*system, "stock").await.len(), 0, "they are no articles of ours");
    // Two swap their SKUs, for which both give theirs up, and one is new.
    let mut body = variable("T");
    for (index, (sku, was)) in [("T-M", "T-S"), ("T-S", "T-M")].into_iter().enumerate() {
        body["variants"][index]["sku"] = json!(sku);
        body["variants"][index]["part"] = json!(had[was]);
    }
    let new = json!({ "sku": "T-L", "attributes": [{ "name": "Size", "option": "L" }] });
    body["variants"].as_array_mut().unwrap().push(new);
    let mut swap = write(2, Op::Update, "T", Some(&id), body);
    swap.held.insert("variants".into(), had.clone());
    swap.yielding.insert("variants".into(), had.values().cloned().collect());
    let now = child_ids(&one(&*system, "product", swap).await);
    assert_eq!((&now["T-M"], &now["T-S"]), (&had["T-S"], &had["T-M"]));
    assert!(now.contains_key("T-L"));
}

#[tokio::test]
async fn a_create_without_an_answer_is_found_and_gone_on_with() {
    let (shop, system) = connected().await;
    shop.shop.set_faults(vec![Fault::next(FaultKind::DropAfter, 1).on("POST", "/products")]);
    let lost = one(&*system, "product", write(1, Op::Create, "T", None, variable("T"))).await;
    assert_eq!(lost.result.unwrap_err().class, Class::Unknown);
    let body = variable("T");
    let probe = Probe { key: "T", since: chrono::DateTime::UNIX_EPOCH, body: &body, desired: &Value::Null };
    let found = system.find("product", &probe).await.unwrap();
    assert_eq!(found.len(), 1);
    let mut again = write(1, Op::Create, "T", None, body);
    again.found = found.into_iter().next();
    let done = one(&*system, "product", again).await;
    assert_eq!(child_ids(&done).len(), 2);
    assert_eq!(shop.shop.all("/products").await.unwrap().len(), 1);
}

#[tokio::test]
async fn variants_whose_answer_was_lost_are_not_made_twice() {
    let (shop, system) = connected().await;
    let lost = || shop.shop.set_faults(vec![Fault::next(FaultKind::DropAfter, 1).on("POST", "/products/")]);
    lost();
    let saved = Saved::default();
    let first = system.write("product", vec![write(1, Op::Create, "T", None, variable("T"))], &saved).await;
    assert_eq!(first[0].result.as_ref().unwrap_err().class, Class::Unknown);
    let done = saved.0.lock().unwrap().clone();
    let again = one(&*system, "product", Write { done, ..write(1, Op::Create, "T", None, variable("T")) }).await;
    let known = child_ids(&again);
    assert_eq!(known.keys().collect::<Vec<_>>(), ["T-M", "T-S"]);

    // A size more, and the answer is lost again: nothing was stored of it.
    let mut grown = variable("T");
    for (index, size) in ["S", "M"].into_iter().enumerate() {
        grown["variants"][index]["part"] = known[&format!("T-{size}")].as_str().into();
    }
    let more = json!({ "sku": "T-L", "attributes": [{ "name": "Size", "option": "L" }] });
    grown["variants"].as_array_mut().unwrap().push(more);
    let id = again.result.unwrap().id;
    let grow = || Write {
        child_ids: BTreeMap::from([("variants".to_owned(), known.clone())]),
        ..write(2, Op::Update, "T", Some(&id), grown.clone())
    };
    lost();
    assert!(one(&*system, "product", grow()).await.result.is_err());
    assert!(child_ids(&one(&*system, "product", grow()).await).contains_key("T-L"));
    let row = all(&*system, "product").await.pop().unwrap().body.into_value();
    assert_eq!(row["children"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_sent_again() {
    let (shop, system) = connected().await;
    let made = one(&*system, "product", write(1, Op::Create, "T", None, variable("T"))).await;
    let (id, had) = (made.result.as_ref().unwrap().id.clone(), child_ids(&made));
    let saved = Saved::default();
    for weight in ["0.5", "0.7", "0.5"] {
        let mut body = variable("T");
        for variant in body["variants"].as_array_mut().unwrap() {
            variant["part"] = json!(had[variant["sku"].as_str().unwrap()]);
            variant["weight"] = json!(weight);
        }
        // Attempts of one job, each of which knows what those before have done.
        let done = saved.0.lock().unwrap().clone();
        let outcome =
            system.write("product", vec![Write { done, ..write(2, Op::Update, "T", Some(&id), body) }], &saved);
        assert!(outcome.await[0].result.is_ok());
        assert_eq!(shop.shop.article("T-S").await.unwrap()["weight"], weight);
    }
}

#[tokio::test]
async fn more_variations_than_a_batch_takes_are_all_there_before_the_product_is_published() {
    let (shop, system) = connected().await;
    let mut body = variable("T");
    body["status"] = json!("publish");
    body["variants"] = (0..250)
        .map(|n| json!({ "sku": format!("T-{n}"), "attributes": [{ "name": "Size", "option": n.to_string() }] }))
        .collect();
    shop.shop.set_faults(vec![Fault::next(FaultKind::DropAfter, 1).on("POST", "/products/")]);
    let saved = Saved::default();
    let first = system.write("product", vec![write(1, Op::Create, "T", None, body.clone())], &saved).await;
    assert_eq!(first[0].result.as_ref().unwrap_err().class, Class::Unknown);
    let shown = shop.shop.all("/products").await.unwrap().remove(0);
    assert_eq!(shown["status"], "draft", "nobody can buy it yet");
    let done = saved.0.lock().unwrap().clone();
    let made = one(&*system, "product", Write { done, ..write(1, Op::Create, "T", None, body.clone()) }).await;
    let had = child_ids(&made);
    assert_eq!(had.len(), 250);
    let id = made.result.unwrap().id;
    assert_eq!(shop.shop.all(&format!("/products/{id}/variations")).await.unwrap().len(), 250);
    assert_eq!(shop.shop.all("/products").await.unwrap()[0]["status"], "publish");
    // All of them change, and one more comes.
    for (n, variant) in body["variants"].as_array_mut().unwrap().iter_mut().enumerate() {
        variant["part"] = json!(had[&format!("T-{n}")]);
        variant["weight"] = json!("0.5");
    }
    let more = json!({ "sku": "T-250", "attributes": [{ "name": "Size", "option": "250" }] });
    body["variants"].as_array_mut().unwrap().push(more);
    let mut grow = write(2, Op::Update, "T", Some(&id), body);
    grow.held.insert("variants".into(), had);
    assert_eq!(child_ids(&one(&*system, "product", grow).await).len(), 251);
    let all = shop.shop.all(&format!("/products/{id}/variations")).await.unwrap();
    assert_eq!((all.len(), all.iter().filter(|variation| variation["weight"] == "0.5").count()), (251, 250));
}

#[tokio::test]
async fn buyers_of_every_role_are_customers_and_staff_is_not() {
    let (shop, system) = connected().await;
    for (name, role) in
        [("ana", "customer"), ("luis", "wholesale_customer"), ("eva", "subscriber"), ("boss", "shop_manager")]
    {
        let account = json!({ "email": format!("{name}@example.test"), "first_name": name });
        let id = shop.shop.register(&account).await.unwrap();
        shop.shop.give_role(id, role).await.unwrap();
    }
    let names: Vec<Value> =
        all(&*system, "customer").await.into_iter().map(|row| row.body.into_value()["first_name"].clone()).collect();
    assert_eq!(names, ["ana", "luis", "eva"]);
}

#[tokio::test]
async fn a_pass_over_customers_costs_one_request_and_brings_the_new_ones() {
    let (shop, system) = connected().await;
    let register = async |name: String| {
        shop.advance(60);
        shop.shop.register(&json!({ "email": format!("{name}@example.test"), "first_name": name })).await.unwrap()
    };
    for number in 0..250 {
        register(format!("c{number}")).await;
    }
    let page = async |since: Option<&str>, page: Option<&PageToken>| {
        system.pull(&PullRequest { entity: "customer", since, page, limit: 1000 }).await.unwrap()
    };
    let (mut seen, mut token) = (0, None);
    let mark = loop {
        let one = page(None, token.as_ref()).await;
        (seen, token) = (seen + one.rows.len(), one.next);
        if token.is_none() {
            break one.cursor.unwrap();
        }
    };
    assert_eq!(seen, 250, "the whole list, by id");
    shop.advance(3600);
    let (early, late) = (register("early".into()).await, register("late".into()).await);
    let before = shop.shop.requests()["GET /customers"];
    let delta = page(Some(&mark), None).await;
    assert_eq!(delta.next, None, "a page that shows older ones is the last");
    let ids: Vec<&str> = delta.rows.iter().take(2).map(|row| row.id.as_str()).collect();
    assert_eq!(ids, [late.to_string(), early.to_string()]);
    assert_eq!(shop.shop.requests()["GET /customers"] - before, 1);
    let capabilities = system.capabilities("customer").unwrap();
    assert_eq!((capabilities.whole, capabilities.complete), (Some(std::time::Duration::from_secs(3600)), true));
}

#[tokio::test]
async fn amounts_of_an_order_are_read_as_the_shop_has_added_them_up() {
    let taxes = vec![":21:IVA".parse().unwrap()];
    let options = Options { prices_include_tax: true, round_at_subtotal: true, taxes, ..Options::default() };
    let shop = Running::with(options).await;
    let system = connected_to(&shop);
    shop.done("POST", "/products", json!({ "name": "a", "sku": "A", "regular_price": "10" })).await;
    shop.done("POST", "/products", json!({ "name": "b", "sku": "B", "regular_price": "10" })).await;
    let checkout = Checkout { lines: vec![("A".into(), 1), ("B".into(), 1)], ..Checkout::default() };
    let id = shop.shop.place_order(&checkout).await.unwrap().to_string();
    let shown = shop.done("GET", &format!("/orders/{id}"), Value::Null).await;
    assert_eq!((&shown["total"], &shown["line_items"][0]["total"]), (&json!("20.00"), &json!("8.26")), "without dp");
    let exact = |row: &Value| {
        assert_eq!((&row["total"], &row["total_tax"]), (&json!("20.000000"), &json!("3.470000")));
        assert_eq!(row["line_items"][1]["total"], "8.264463");
        assert_eq!(row["line_items"][1]["taxes"][0]["total"], "1.735537");
    };
    exact(&all(&*system, "order").await.remove(0).body.into_value());
    exact(&system.read("order", std::slice::from_ref(&id)).await.unwrap().remove(0).body.into_value());
    let status = json!({ "status": "completed" });
    let done = one(&*system, "order", write(1, Op::Update, &id, Some(&id), status)).await.result.unwrap();
    exact(&done.stored.unwrap());
}

#[tokio::test]
async fn a_hundred_stocks_of_simple_products_are_one_request() {
    let (shop, system) = connected().await;
    let items: Vec<Value> = (0..100).map(|n| json!({ "name": format!("p{n}"), "sku": format!("P{n}") })).collect();
    let made = shop.done("POST", "/products/batch", json!({ "create": items })).await;
    let ids: Vec<String> = made["create"].as_array().unwrap().iter().map(|item| item["id"].to_string()).collect();
    let before = shop.shop.requests().values().sum::<u64>();
    let writes = ids.iter().zip(1..).map(|(id, job)| {
        let quantity = if job == 7 {
            json!({ "manage_stock": true, "stock_quantity": 3, "sku": "P1" })
        } else {
            json!({ "manage_stock": true, "stock_quantity": job })
        };
        write(job, Op::Update, &format!("P{}", job - 1), Some(id), quantity)
    });
    let outcomes = system.write("stock", writes.collect(), &Saved::default()).await;
    assert_eq!(shop.shop.requests().values().sum::<u64>() - before, 1);
    assert_eq!(outcomes.len(), 100);
    for outcome in outcomes {
        match (outcome.job.0, outcome.result) {
            (7, result) => assert_eq!(result.unwrap_err().class, Class::Rejected, "one bad item hurts nobody else"),
            (job, result) => assert_eq!(result.unwrap().stored.unwrap()["stock_quantity"], job),
        }
    }
    assert_eq!(all(&*system, "stock").await.len(), 99);
}

#[tokio::test]
async fn prices_of_variations_are_written_under_their_product() {
    let (shop, system) = connected().await;
    let made = one(&*system, "product", write(1, Op::Create, "T", None, variable("T"))).await;
    let known = child_ids(&made);
    let price = json!({ "regular_price": "9.90", "sale_price": "" });
    let missing = format!("{}/999999", made.result.unwrap().id);
    let writes = vec![
        write(1, Op::Update, "retail/T-S", Some(&known["T-S"]), price.clone()),
        write(2, Op::Update, "retail/T-M", Some(&known["T-M"]), price.clone()),
        write(3, Op::Update, "retail/T-X", Some(&missing), price),
    ];
    let mut outcomes = system.write("price", writes, &Saved::default()).await;
    outcomes.sort_by_key(|outcome| outcome.job);
    let gone = outcomes.pop().unwrap().result.unwrap_err();
    assert_eq!(gone.class, Class::Missing, "{gone}");
    assert_eq!(outcomes[1].result.as_ref().unwrap().id, known["T-M"]);
    assert_eq!(shop.shop.requests()["POST /products/*/variations/batch"], 2);
    let rows = all(&*system, "price").await;
    let ids: std::collections::BTreeSet<String> = rows.into_iter().map(|row| row.id).collect();
    assert_eq!(ids, known.into_values().collect());
}

#[tokio::test]
async fn prices_are_read_by_id_with_sales_that_were_made_in_the_shop() {
    let (shop, system) = connected().await;
    let made = one(&*system, "product", write(1, Op::Create, "T", None, variable("T"))).await;
    let size = child_ids(&made)["T-S"].clone();
    let made = one(&*system, "product", write(2, Op::Create, "D", None, simple("D"))).await;
    let drill = made.result.unwrap().id;
    let made = one(&*system, "product", write(3, Op::Create, "E", None, simple("E"))).await;
    let trashed = made.result.unwrap().id;
    let size_path = format!("/products/{}", size.replace('/', "/variations/"));
    let paths = [format!("/products/{drill}"), size_path, format!("/products/{trashed}")];
    for path in &paths {
        shop.done("PUT", path, json!({ "regular_price": "10", "sale_price": "8" })).await;
    }
    shop.done("DELETE", &paths[2], Value::Null).await;
    let ids = [drill.clone(), size.clone(), trashed, "999998".to_owned(), format!("{drill}/999999")];
    let rows = system.read("price", &ids).await.unwrap_or_else(|failure| panic!("{failure}"));
    let read: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(read, BTreeSet::from([drill.as_str(), &size]), "what is gone or in the trash has no price");
    assert!(rows.into_iter().all(|row| row.body.into_value()["sale_price"] == "8"));

    // The shop takes no price below its own sale.
    for (job, id) in [(4, &drill), (5, &size)] {
        let lower = write(job, Op::Update, "retail/X", Some(id), json!({ "regular_price": "7" }));
        let failure = one(&*system, "price", lower).await.result.unwrap_err();
        assert_eq!(failure.class, Class::Rejected, "{failure}");
    }
}

#[tokio::test]
async fn a_second_account_for_an_email_is_refused_and_found() {
    let (_shop, system) = connected().await;
    let body = json!({ "email": "ann@example.test", "first_name": "Ann", "billing": { "phone": "1" },
        "addresses": [{ "code": "billing", "first_name": "Ann O'Neil", "last_name": "", "city": "Cádiz", "country": "ES" }],
        "meta_data": [{ "key": "vaiven_code", "value": "C1" }] });
    let made = one(&*system, "customer", write(1, Op::Create, "C1", None, body.clone())).await;
    let written = made.result.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(written.stored.unwrap()["billing"]["city"], "Cádiz");
    let again = one(&*system, "customer", write(2, Op::Create, "C2", None, body.clone())).await.result.unwrap_err();
    assert_eq!((again.class, again.field.as_deref()), (Class::Rejected, Some("email")));
    assert!(!again.to_string().contains("ann@"), "{again}");
    let probe = Probe { key: "C1", since: chrono::DateTime::UNIX_EPOCH, body: &body, desired: &Value::Null };
    assert_eq!(system.find("customer", &probe).await.unwrap().len(), 1);
    assert_eq!(all(&*system, "customer").await.len(), 1);
}

#[tokio::test]
async fn categories_find_their_slug() {
    let (_shop, system) = connected().await;
    let body = json!({ "slug": "fam-01", "name": "Tools & more", "parent": 0 });
    let made = one(&*system, "category", write(1, Op::Create, "FAM-01", None, body.clone())).await.result.unwrap();
    let probe = Probe { key: "FAM-01", since: chrono::DateTime::UNIX_EPOCH, body: &body, desired: &Value::Null };
    assert_eq!(system.find("category", &probe).await.unwrap()[0].id, made.id);
    assert_eq!(all(&*system, "category").await.len(), 1);
}

#[tokio::test]
async fn an_order_comes_changes_its_status_and_gets_its_shipment() {
    let (shop, system) = connected().await;
    shop.done("POST", "/products", json!({ "name": "a", "sku": "A", "regular_price": "6" })).await;
    let checkout = Checkout { lines: vec![("A".into(), 2)], ..Checkout::default() };
    let id = shop.shop.place_order(&checkout).await.unwrap().to_string();
    let rows = all(&*system, "order").await;
    assert_eq!(rows[0].id, id);
    let status = json!({ "status": "completed" });
    one(&*system, "order", write(1, Op::Update, &id, Some(&id), status)).await.result.unwrap();
    let since = PullRequest { entity: "order", since: Some("2026-11-23T09:43:28Z"), page: None, limit: 10 };
    assert_eq!(system.pull(&since).await.unwrap().rows.len(), 1);

    let body = json!({ "number": "ALB-9", "order": id, "status": "shipped", "carrier": "SEUR", "tracking": "123" });
    shop.shop.set_faults(vec![Fault::next(FaultKind::DropAfter, 1).on("POST", "/orders")]);
    let lost = one(&*system, "shipment", write(2, Op::Create, "ALB-9", None, body.clone())).await;
    assert!(lost.result.is_err());
    let probe = Probe { key: "ALB-9", since: chrono::DateTime::UNIX_EPOCH, body: &body, desired: &Value::Null };
    let found = system.find("shipment", &probe).await.unwrap();
    let mut again = write(2, Op::Create, "ALB-9", None, body);
    again.found = found.into_iter().next();
    let done = one(&*system, "shipment", again).await.result.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(done.id, format!("{id}/ALB-9"));
    let notes = shop.done("GET", &format!("/orders/{id}/notes?type=customer"), Value::Null).await;
    assert_eq!(notes.as_array().unwrap().len(), 1, "told once");
    assert_eq!(notes[0]["note"], "Shipment · ALB-9 · SEUR · 123");
}
