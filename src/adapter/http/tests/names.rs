//! Names and values in requests: what a name means, and where a value may be put.

use super::*;
use crate::failure::Class;

const KEYED: &str = r#"
driver = "http"
summary = "A system whose secret is named like a variable"
[settings]
url = { kind = "url" }
key = { kind = "secret" }
[http]
base = "${url}"
auth = { header = { name = "X-Api-Key", value = "${key}" } }
[entities.product]
id = "id"
[entities.product.create]
post = "/products"
body = { ref = "${key}" }
id = "body.id"
"#;

const PLACED: &str = r#"
[http]
base = "${url}"
[entities.product]
id = "id"
[entities.product.read]
get = "/products/${id}"
rows = "[body]"
[entities.product.find]
get = "/products/${key}"
rows = "[body]"
where = "true"
[entities.product.create]
post = "/products"
headers = { x-ref = "${key}" }
query = { ref = "${key}" }
body = "${body}"
id = "body.id"
[entities.product.update]
put = "/products/${key}"
body = "${body}"
"#;

const LINKED: &str = "[http]\nbase = \"${url}/api\"\n[entities.product]\nid = \"id\"\n[entities.product.list]\nget = \"/p\"\n\
    rows = \"body.rows\"\npages = { by = \"link\", next = \"body.next\" }\n";

fn keyed(toml: &str) -> Result<(Arc<dyn System>, Arc<Fake>), LoadError> {
    let settings = [("url", "https://shop.example", false), ("key", "hush-hush", true)];
    opened_with(toml, &settings, |_| reply(201, &json!({ "id": 1 })))
}

/// A write of a record with this key.
fn keyed_write(job: i64, op: Op, key: &str) -> Write {
    Write { key: key.to_owned(), ..write(job, op, json!({})) }
}

/// Jobs that were done, and refused jobs with their class.
async fn written(shop: &dyn System, writes: Vec<Write>) -> (Vec<i64>, Vec<(i64, Class)>) {
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for outcome in shop.write("product", writes, &Saved::default()).await {
        match outcome.result {
            Ok(_) => done.push(outcome.job.0),
            Err(failure) => refused.push((outcome.job.0, failure.class)),
        }
    }
    done.sort_unstable();
    refused.sort_unstable_by_key(|(job, _)| *job);
    (done, refused)
}

#[tokio::test]
async fn a_secret_named_like_a_variable_is_never_taken_for_it() {
    let (shop, fake) = keyed(KEYED).unwrap();
    shop.write("product", vec![keyed_write(1, Op::Create, "SKU-1")], &Saved::default()).await;
    let sent = fake.seen.lock().unwrap().remove(0);
    assert_eq!((header(&sent, "x-api-key"), body(&sent)), (Some("hush-hush"), json!({ "ref": "SKU-1" })));

    let both = format!("{KEYED}headers = {{ idempotency-key = \"${{key}}\" }}\n");
    let error = keyed(&both).err().unwrap().to_string();
    assert!(error.starts_with("memory.toml:16:34: `key` could be a variable"), "{error}");
    assert!(error.contains("settings.key"), "{error}");

    let qualified = both.replace("idempotency-key = \"${key}", "idempotency-key = \"${settings.key}");
    let (shop, fake) = keyed(&qualified).unwrap();
    shop.write("product", vec![keyed_write(1, Op::Create, "SKU-1")], &Saved::default()).await;
    assert_eq!(header(&fake.seen.lock().unwrap()[0], "idempotency-key"), Some("hush-hush"));

    let leak = KEYED.replace("ref = \"${key}\"", "ref = \"${settings.key}\"");
    let error = keyed(&leak).err().unwrap().to_string();
    assert!(error.contains("unknown setting `key`"), "secrets stand in headers only: {error}");
}

#[test]
fn a_setting_named_like_a_variable_a_member_of_a_row_or_a_capture_is_refused_where_both_could_be_meant() {
    let listed = "[http]\nbase = \"${url}\"\n[entities.product]\nid = \"id\"\n";
    for (toml, word) in [
        (format!("{listed}keep = 'owner != user'\n"), "`user` could be a member of the row"),
        (format!("{}[entities.product.list]\nget = \"/p\"\n", listed.replace("\"id\"", "\"user\"")), "settings.user"),
        (
            format!(
                "{listed}[[entities.product.update.steps]]\nname = \"a\"\nput = \"/a\"\ncapture = {{ user = \"body.id\" }}\n\
                 [[entities.product.update.steps]]\nname = \"b\"\nput = \"/b/${{user}}\"\n"
            ),
            "`user` could be a variable",
        ),
        (format!("{listed}[entities.product.list]\nget = \"/${{settings.usr}}\"\n"), "unknown setting `usr`"),
        (
            format!("{listed}[entities.product.list]\nget = \"/p\"\nheaders = {{ \"a b\" = \"1\" }}\n"),
            "name of a header",
        ),
    ] {
        let error = refusal(&toml);
        assert!(error.starts_with("memory.toml:") && error.contains(word), "{word}: {error}");
    }
}

#[tokio::test]
async fn a_row_that_lacks_a_member_does_not_get_a_setting_instead() {
    let toml =
        "[http]\nbase = \"${url}\"\n[entities.product]\nid = \"row.user\"\n[entities.product.list]\nget = \"/p\"\n";
    let (shop, _) = system(toml, |_| reply(200, &json!([{ "user": "1" }, { "other": "2" }])));
    let page = pull(&*shop, "product", None, None).await.unwrap();
    assert_eq!((page.rows.len(), page.errors.len()), (1, 1));
}

#[tokio::test]
async fn a_value_that_would_leave_its_segment_rejects_its_record_and_no_other() {
    let (shop, fake) = system(PLACED, |_| reply(200, &json!({ "id": 1 })));
    let keys = ["a", "../admin", "..", ".", "a/b", "a\\b", "1?force=true", "100%", "a#b", "", "x\u{0}", "ñ"];
    let writes = (0..).zip(keys).map(|(job, key)| keyed_write(job, Op::Update, key)).collect();
    let (done, refused) = written(&*shop, writes).await;
    assert_eq!(done, [0, 6, 7, 8, 11]);
    assert!(refused.iter().all(|(_, class)| *class == Class::Rejected), "{refused:?}");
    let mut urls: Vec<String> = fake.seen.lock().unwrap().iter().map(|request| request.url.clone()).collect();
    urls.sort();
    let expected =
        ["%C3%B1", "1%3Fforce%3Dtrue", "100%25", "a", "a%23b"].map(|s| format!("https://shop.example/products/{s}"));
    assert_eq!(urls, expected);

    let (shop, fake) = system(&PLACED.replace("[http]", "[http]\nslashes = true"), |_| reply(200, &json!({ "id": 1 })));
    let writes = vec![keyed_write(1, Op::Update, "a/b"), keyed_write(2, Op::Update, "..")];
    assert_eq!(written(&*shop, writes).await, (vec![1], vec![(2, Class::Rejected)]));
    assert_eq!(fake.seen.lock().unwrap()[0].url, "https://shop.example/products/a%2Fb");
}

#[tokio::test]
async fn what_cannot_stand_in_a_header_or_query_rejects_its_record_and_no_other() {
    let (shop, fake) = system(PLACED, |_| reply(201, &json!({ "id": 1 })));
    let keys = ["a", "A\u{1}B", "C\r\nX-Injected: 1", " d", "d", "ñ&=%"];
    let writes = (0..).zip(keys).map(|(job, key)| keyed_write(job, Op::Create, key)).collect();
    let (done, refused) = written(&*shop, writes).await;
    assert_eq!((done, refused.len()), (vec![0, 4, 5], 3));
    assert!(refused.iter().all(|(_, class)| *class == Class::Rejected), "{refused:?}");
    let seen = fake.seen.lock().unwrap();
    let odd = seen.iter().find(|request| header(request, "x-ref") == Some("ñ&=%")).unwrap();
    assert_eq!(query(odd, "ref").as_deref(), Some("ñ&=%"));
}

#[tokio::test]
async fn an_id_that_cannot_be_sent_is_not_read_and_the_others_are() {
    let (shop, _) = system(PLACED, |request| reply(200, &json!({ "id": request.path().rsplit('/').next() })));
    let ids = ["1", "../../admin", "2"].map(str::to_owned);
    let rows = shop.read("product", &ids).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    let (nothing, since) = (json!({}), chrono::DateTime::UNIX_EPOCH);
    let probe = crate::port::Probe { key: "a/b", since, body: &nothing, desired: &nothing };
    assert_eq!(shop.find("product", &probe).await.unwrap_err().class, Class::Rejected, "it is the record's fault");
}

#[tokio::test]
async fn whole_paths_are_put_together_segment_by_segment() {
    let put = |target: &str| PLACED.replace("put = \"/products/${key}\"", &format!("put = '{target}'"));
    let sent = async |target: &str, key: &str| {
        let (shop, fake) = system(&put(target), |_| reply(200, &json!({ "id": 1 })));
        written(&*shop, vec![keyed_write(1, Op::Update, key)]).await;
        let seen = fake.seen.lock().unwrap();
        seen.first().map(|request| request.url.trim_start_matches("https://shop.example").to_owned())
    };
    let by_path = r#"${if key == "all" { path("all") } else { path("products", key, "notes") }}/?x=1"#;
    assert_eq!(sent(by_path, "a b").await.as_deref(), Some("/products/a%20b/notes/?x=1"));
    assert_eq!(sent(by_path, "all").await.as_deref(), Some("/all/?x=1"));
    assert_eq!(sent(by_path, "a/b").await, None);
    assert_eq!(sent(by_path, "..").await, None);
    let as_text = r#"${if key == "all" { "/all" } else { "/products/" + key + "/notes" }}"#;
    assert_eq!(sent(as_text, "a b").await.as_deref(), Some("/products/a%20b/notes"));
    assert_eq!(sent(as_text, "all").await.as_deref(), Some("/all"));
    for key in ["a/b", "../x", "..", "", "a\\b"] {
        assert_eq!(sent(as_text, key).await, None, "{key:?}");
    }
    assert_eq!(sent("/x?ref=${urlencode(key)}", "a").await.as_deref(), Some("/x?ref=a"));
}

#[tokio::test]
async fn links_are_followed_on_the_configured_server_only() {
    let follow = async |next: Value| {
        let (shop, fake) = system(LINKED, move |request| {
            let first = request.url.ends_with("/api/p");
            let rows = if first { json!([{ "id": 1 }]) } else { json!([{ "id": 2 }]) };
            reply(200, &json!({ "rows": rows, "next": if first { next.clone() } else { Value::Null } }))
        });
        let pages = pull_all(&*shop, "product", None).await;
        let urls: Vec<String> = fake.seen.lock().unwrap().iter().map(|request| request.url.clone()).collect();
        (pages.map(|pages| pages.len()).map_err(|failure| failure.message), urls)
    };
    for good in ["/p?page=2", "https://shop.example/api/p?page=2", "HTTPS://shop.example:443/api/p?page=2", "p?page=2"]
    {
        let (pages, urls) = follow(json!(good)).await;
        assert_eq!(pages, Ok(2), "{good}");
        assert_eq!(urls[1], "https://shop.example/api/p?page=2", "{good}");
    }
    for bad in [
        json!("http://elsewhere.example/steal"),
        json!("http://shop.example/api/p?page=2"),
        json!("https://shop.example:8443/p"),
        json!("//elsewhere.example/steal"),
        json!("HTTP://elsewhere.example/x"),
        json!("https:\\\\elsewhere.example\\x"),
        json!("https://shop.example@elsewhere.example/z"),
        json!("https://user:word@shop.example/api/p"),
        json!("file:///etc/passwd"),
        json!("/p?x=1\r\nHost: evil"),
        json!("/a\u{0}b"),
        json!(5),
        json!(["a"]),
    ] {
        let (pages, urls) = follow(bad.clone()).await;
        assert!(pages.is_err(), "{bad}");
        assert_eq!(urls.len(), 1, "{bad}");
    }
}

#[tokio::test]
async fn a_link_that_is_a_whole_path_is_taken_from_the_server_and_one_that_is_not_from_base() {
    for (next, asked) in [
        ("/api/p?page=2", "/api/p?page=2"),
        ("/api?page=2", "/api?page=2"),
        ("/api/", "/api/"),
        ("/apis/p?page=2", "/api/apis/p?page=2"),
        ("/p?page=2", "/api/p?page=2"),
        ("api/p?page=2", "/api/api/p?page=2"),
    ] {
        let (shop, fake) = system(LINKED, move |request| {
            let first = request.url.ends_with("/api/p");
            reply(200, &json!({ "rows": [{ "id": if first { 1 } else { 2 } }], "next": first.then_some(next) }))
        });
        pull_all(&*shop, "product", None).await.unwrap();
        assert_eq!(fake.seen.lock().unwrap()[1].url, format!("https://shop.example{asked}"), "{next}");
    }
}
