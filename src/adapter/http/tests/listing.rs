//! One file, because every promise is about the same way of listing.

use super::*;
use crate::{
    failure::Class,
    model::flaw,
    port::{Find, Probe, RowBody},
};

const NUMBERED: &str = r#"
[http]
base = "${url}/api"
[entities.product]
id = "id"
keep = 'type != "draft"'
[entities.product.list]
get = "/products"
query = { page = "${page.number}", size = "${page.size}", since = "${cursor}" }
pages = { by = "number", size = 2, total = '${integer(headers["x-total"])}' }
cursor = { field = "at", format = "%Y-%m-%d %H:%M:%S", zone = "UTC", overlap = "1m" }
"#;

/// Rows numbered from 1, in pages as requested.
fn numbered(count: usize, announced: usize) -> impl Fn(&Request) -> Answer + Send + Sync {
    move |request| {
        let number = |name| query(request, name).unwrap().parse::<usize>().unwrap();
        let (page, size) = (number("page"), number("size"));
        let rows: Vec<Value> = (1..=count)
            .skip((page - 1) * size)
            .take(size)
            .map(|id| json!({ "id": id, "type": "simple", "at": format!("2026-07-01 09:50:{id:02}") }))
            .collect();
        reply_with(200, &[("x-total", &announced.to_string())], &json!(rows).to_string())
    }
}

#[tokio::test]
async fn a_listing_is_read_to_its_announced_end_and_only_then_gives_its_watermark() {
    let (shop, fake) = system(NUMBERED, numbered(5, 5));
    let pages = pull_all(&*shop, "product", None).await.unwrap();
    assert_eq!(ids(&pages), ["1", "2", "3", "4", "5"]);
    assert_eq!(
        pages.iter().map(|page| page.cursor.as_deref()).collect::<Vec<_>>(),
        [None, None, Some("2026-07-01T09:50:05Z")]
    );
    assert_eq!(
        pages[2].total, None,
        "rows that `keep` leaves out are announced as well: the driver proves this total itself"
    );
    assert_eq!(pages[1].rows[1].position, "page 2 row 2");
    assert_eq!(query(&fake.seen.lock().unwrap()[0], "since"), None, "a full pull has no cursor");

    let pages = pull_all(&*shop, "product", Some("2026-07-01T09:50:05Z")).await.unwrap();
    assert_eq!(query(&fake.seen.lock().unwrap()[3], "since").as_deref(), Some("2026-07-01 09:49:05"));
    assert_eq!(pages.last().unwrap().cursor.as_deref(), Some("2026-07-01T09:50:05Z"));
}

/// A system that sorts by time and does not filter by it: the newest row first, numbered by their minutes.
#[tokio::test]
async fn a_delta_of_the_newest_first_ends_with_the_page_that_shows_an_older_row_and_a_whole_reading_does_not() {
    let toml = NUMBERED
        .replace(", since = \"${cursor}\"", "")
        .replace("get = \"/products\"", "get = \"/products\"\nnewest_first = true");
    let rows = |request: &Request| {
        let page: i64 = query(request, "page").unwrap().parse().unwrap();
        let row = |id: i64| json!({ "id": id, "type": "simple", "at": format!("2026-07-01 09:{id:02}:00") });
        let ids = (1..=7).rev().skip(usize::try_from((page - 1) * 2).unwrap()).take(2);
        reply_with(200, &[("x-total", "7")], &ids.map(row).collect::<Value>().to_string())
    };
    let (shop, fake) = system(&toml, rows);
    let pages = pull_all(&*shop, "product", None).await.unwrap();
    assert_eq!(ids(&pages), ["7", "6", "5", "4", "3", "2", "1"]);
    assert_eq!(pages.last().unwrap().cursor.as_deref(), Some("2026-07-01T09:07:00Z"));

    let asked = fake.count("/api/products");
    let pages = pull_all(&*shop, "product", Some("2026-07-01T09:05:30Z")).await.unwrap();
    assert_eq!(ids(&pages), ["7", "6", "5", "4"], "09:04 is older than 09:05:30 less a minute");
    assert_eq!(fake.count("/api/products") - asked, 2);
    assert_eq!(pages.last().unwrap().cursor.as_deref(), Some("2026-07-01T09:07:00Z"));
    // If nothing is new, there is one request.
    let pages = pull_all(&*shop, "product", Some("2026-07-01T09:20:00Z")).await.unwrap();
    assert_eq!((pages.len(), pages[0].cursor.as_deref()), (1, Some("2026-07-01T09:20:00Z")));
}

#[test]
fn what_is_said_of_deltas_needs_deltas() {
    let none =
        "[http]\nbase = \"${url}/api\"\n[entities.product]\nid = \"id\"\n[entities.product.list]\nget = \"/p\"\n";
    assert!(refusal(&format!("{none}newest_first = true\n")).contains("`newest_first` is about deltas"));
    assert!(refusal(&format!("{none}whole = \"1h\"\n")).contains("`whole` is about deltas"));
    let endless = format!("{none}newest_first = true\ncursor = {{ field = \"at\" }}\n");
    assert!(refusal(&endless).contains("it needs `pages`"));
}

#[tokio::test]
async fn a_full_last_page_needs_no_further_request_when_the_total_is_announced() {
    let (shop, fake) = system(NUMBERED, numbered(4, 4));
    assert_eq!(ids(&pull_all(&*shop, "product", None).await.unwrap()).len(), 4);
    assert_eq!(fake.count("/api/products"), 2);
}

#[tokio::test]
async fn a_short_listing_is_an_error_never_success() {
    let (shop, _) = system(NUMBERED, numbered(3, 5));
    let failure = pull_all(&*shop, "product", None).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.message.contains("3 rows although 5 were announced"), "{failure}");
    assert!(
        failure.message.contains("shop/product") && failure.message.contains("GET /api/products: 200"),
        "{failure}"
    );
}

/// A change on the first page while the last one is being read is dated after the first page and before the last.
#[tokio::test]
async fn the_watermark_of_a_listing_that_took_its_time_is_not_past_its_beginning() {
    let slow = NUMBERED.replace("[entities.product]", "rate = { per_minute = 1 }\n[entities.product]");
    let (shop, _) = system(&slow, numbered(5, 5));
    let pages = pull_all(&*shop, "product", None).await.unwrap();
    assert_eq!(pages[2].cursor.as_deref(), Some("2026-07-01T09:48:05Z"), "two minutes for three pages");
    let pages = pull_all(&*shop, "product", Some("2026-07-01T09:50:00Z")).await.unwrap();
    assert_eq!(pages[2].cursor.as_deref(), Some("2026-07-01T09:50:00Z"), "what was known before is known");
    let (shop, _) = system(&slow.replace("size = 2", "size = 9"), numbered(5, 5));
    let pages = pull_all(&*shop, "product", None).await.unwrap();
    assert_eq!(pages[0].cursor.as_deref(), Some("2026-07-01T09:50:05Z"), "a single page is of one moment");
}

#[tokio::test]
async fn a_listing_that_shrinks_while_it_is_read_is_an_error() {
    let (shop, _) = system(NUMBERED, |request| {
        let page = query(request, "page").unwrap();
        let (total, first) = if page == "1" { ("6", 1) } else { ("5", 4) };
        let row = |id: i32| json!({ "id": id, "type": "simple", "at": null });
        reply_with(200, &[("x-total", total)], &json!([row(first), row(first + 1)]).to_string())
    });
    let failure = pull_all(&*shop, "product", None).await.unwrap_err();
    assert!(failure.message.contains("rows left the listing"), "{failure}");
}

/// Otherwise a row that leaves would hide that a cut page lacks a row, and an object that exists would count as
/// deleted.
#[tokio::test]
async fn a_listing_by_key_that_shrinks_while_it_is_read_is_read_until_nothing_follows() {
    let toml = NUMBERED
        .replace("page = \"${page.number}\"", "after = \"${page.after}\"")
        .replace("by = \"number\"", "by = \"keyset\"");
    let (shop, fake) = system(&toml, |request| {
        let row = |id: i32| json!({ "id": id, "type": "simple", "at": null });
        let (total, rows) = match query(request, "after").as_deref() {
            None => ("4", json!([row(1), row(2)])),
            // Row 2 is gone by now, and this page is cut short.
            Some("2") => ("3", json!([row(3)])),
            Some("3") => ("3", json!([row(4)])),
            _ => ("3", json!([])),
        };
        reply_with(200, &[("x-total", total)], &rows.to_string())
    });
    assert_eq!(ids(&pull_all(&*shop, "product", None).await.unwrap()), ["1", "2", "3", "4"]);
    assert_eq!(fake.count("/api/products"), 4);
}

#[tokio::test]
async fn endless_paging_ends_with_an_error() {
    let toml = NUMBERED.replace("total = '${integer(headers[\"x-total\"])}'", "max_pages = 3");
    let (shop, fake) = system(&toml, numbered(1000, 0));
    let failure = pull_all(&*shop, "product", None).await.unwrap_err();
    assert!(failure.message.contains("did not end after 3 pages"), "{failure}");
    assert_eq!(fake.count("/api/products"), 3);
}

#[tokio::test]
async fn a_page_that_repeats_the_one_before_it_is_an_error() {
    let toml = NUMBERED.replace("total = '${integer(headers[\"x-total\"])}'", "first = 1");
    let row = |id: i32| json!({ "id": id, "type": "simple", "at": null });
    let (shop, _) = system(&toml, move |_| reply(200, &json!([row(1), row(2)])));
    let failure = pull_all(&*shop, "product", None).await.unwrap_err();
    assert!(failure.message.contains("repeats the one before"), "{failure}");
    assert!(failure.cause.is_some(), "it is this listing, not the system, that is at fault");
}

#[tokio::test]
async fn one_bad_row_hurts_no_other() {
    let (shop, _) = system(NUMBERED, |_| {
        let rows = json!([
            { "id": 1, "type": "simple", "at": null, "name": "old" },
            { "type": "simple", "at": null },
            "text",
            { "id": 4, "type": "simple", "at": "never" },
            { "id": 5, "type": "draft", "at": null },
            { "id": 1, "type": "simple", "at": null, "name": "new" },
            { "id": 7, "type": "simple", "at": null },
            { "id": 7, "type": "simple", "at": null },
        ]);
        reply_with(200, &[("x-total", "8")], &rows.to_string())
    });
    let page = pull(&*shop, "product", None, None).await.unwrap();
    assert_eq!(
        page.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(),
        ["7", "1", "4", "7"],
        "all are counted"
    );
    let RowBody::Json(first) = &page.rows[1].body else { panic!() };
    assert_eq!(first["name"], "new", "of two rows with one id the later stays");
    let mut places: Vec<&str> = page.errors.iter().map(|error| error.position.as_str()).collect();
    places.sort_unstable();
    assert_eq!(places, ["page 1 row 1", "page 1 row 2", "page 1 row 3"]);
    let odd = &page.dates[0];
    assert_eq!((odd.position.as_str(), odd.id.as_deref()), ("page 1 row 4", Some("4")));
    assert!(odd.reason.contains("`format` and `zone`") && odd.reason.contains("memory.toml:"), "{}", odd.reason);
}

/// A page of text with one value, in one row, that cannot be read.
#[tokio::test]
async fn one_value_that_cannot_be_read_spoils_its_own_row() {
    for bad in [&br#""a\ud800b""#[..], b"NaN", b"-Infinity", b"\"a\xF1b\"", b"\"a\nb\""] {
        let body = [
            &b"[{\"id\":1,\"type\":\"simple\",\"at\":null,\"name\":"[..],
            bad,
            b"},{\"id\":2,\"type\":\"simple\",\"at\":null,\"name\":\"b\"}]",
        ]
        .concat();
        let (shop, _) = system(NUMBERED, move |_| {
            let headers = vec![("x-total".to_owned(), "2".to_owned())];
            Ok(Response { status: 200, headers, body: body.clone().into() })
        });
        let page = pull(&*shop, "product", None, None).await.unwrap();
        assert_eq!(ids(std::slice::from_ref(&page)), ["1", "2"], "each with its id, so that its key can be told");
        let flaws: Vec<_> = page.rows.into_iter().map(|row| flaw::first(&row.body.into_value())).collect();
        assert_eq!((flaws[0].as_ref().map(|flaw| flaw.place.as_str()), &flaws[1]), (Some("name"), &None), "{bad:?}");
    }
}

#[tokio::test]
async fn a_listing_in_a_circle_or_one_that_grows_for_ever_ends_soon() {
    let row = |id: u64| json!({ "id": id, "type": "simple", "at": null });
    let (shop, fake) = system(NUMBERED, move |request| {
        let page: u64 = query(request, "page").unwrap().parse().unwrap();
        let rows = json!([row(page % 2 * 2), row(page % 2 * 2 + 1)]);
        reply_with(200, &[("x-total", "100000000")], &rows.to_string())
    });
    let failure = pull_all(&*shop, "product", None).await.unwrap_err();
    assert!(failure.message.contains("goes in a circle"), "{failure}");
    assert!(fake.count("/api/products") < 8);

    let (shop, fake) = system(NUMBERED, move |request| {
        let page: u64 = query(request, "page").unwrap().parse().unwrap();
        let rows = json!([row(page * 2), row(page * 2 + 1)]);
        reply_with(200, &[("x-total", &(page * 2 + 2).to_string())], &rows.to_string())
    });
    let failure = pull_all(&*shop, "product", None).await.unwrap_err();
    assert!(failure.message.contains("grows as it is read"), "{failure}");
    assert!(fake.count("/api/products") < 600);
}

#[tokio::test]
async fn an_answer_of_too_many_values_says_which_setting_helps() {
    let toml = NUMBERED.replace("[http]", "[http]\nmax_values = 1000");
    let many = json!([{ "id": 1, "type": "simple", "at": null, "x": vec![0; 1000] }]);
    let (shop, _) = system(&toml, move |_| reply_with(200, &[("x-total", "1")], &many.to_string()));
    let failure = pull(&*shop, "product", None, None).await.unwrap_err();
    assert_eq!((failure.class, failure.cause.is_some()), (Class::Transient, true), "no fault of the whole system");
    assert!(failure.message.contains("more than 1000 values; raise `max_values`"), "{failure}");
}

#[tokio::test]
async fn html_with_status_200_is_not_an_answer() {
    let page = |_: &Request| reply_with(200, &[("content-type", "text/html")], "<html>Maintenance</html>");
    let (shop, _) = system(NUMBERED, page);
    let failure = pull(&*shop, "product", None, None).await.unwrap_err();
    assert_eq!((failure.class, failure.status), (Class::Transient, Some(200)));
    assert!(failure.message.contains("answered HTML instead of JSON: Maintenance (text/html"), "{failure}");
    let toml =
        format!("{NUMBERED}[entities.product.create]\npost = \"/products\"\nbody = \"${{body}}\"\nid = \"body.id\"\n");
    let (shop, _) = system(&toml, page);
    let outcomes = shop.write("product", vec![write(1, Op::Create, json!({}))], &Saved::default()).await;
    assert_eq!(outcomes[0].result.as_ref().unwrap_err().class, Class::Unknown, "perhaps it was made");
}

#[tokio::test]
async fn keyset_offset_link_and_cursor_pages_reach_the_last_row() {
    let toml = |pages: &str, query: &str| {
        format!(
            "[http]\nbase = \"${{url}}\"\n[entities.product]\nid = \"id\"\n[entities.product.list]\nget = \"/p\"\n\
             query = {query}\nrows = \"body.rows\"\npages = {pages}\n"
        )
    };
    let rows = |from: usize| -> Vec<Value> { (from..=5).take(2).map(|id| json!({ "id": id })).collect() };
    let (shop, fake) =
        system(&toml("{ by = \"keyset\", size = 2 }", "{ after = \"${page.after}\" }"), move |request| {
            let after = query(request, "after").map_or(0, |after| after.parse::<usize>().unwrap());
            reply(200, &json!({ "rows": rows(after + 1) }))
        });
    assert_eq!(ids(&pull_all(&*shop, "product", None).await.unwrap()), ["1", "2", "3", "4", "5"]);
    assert_eq!(query(&fake.seen.lock().unwrap()[0], "after"), None);

    let (shop, _) = system(
        &toml(
            "{ by = \"offset\", size = 2, total = \"body.total\" }",
            "{ skip = \"${page.offset}\", take = \"${page.size}\" }",
        ),
        move |request| {
            let skip = query(request, "skip").unwrap().parse::<usize>().unwrap();
            reply(200, &json!({ "rows": rows(skip + 1), "total": 5 }))
        },
    );
    assert_eq!(ids(&pull_all(&*shop, "product", None).await.unwrap()), ["1", "2", "3", "4", "5"]);

    let (shop, _) = system(&toml("{ by = \"link\" }", "{ first = true }"), move |request| {
        let from = query(request, "from").map_or(1, |from| from.parse::<usize>().unwrap());
        let next = format!("<https://shop.example:443/p?from={}>; rel=\"next\"", from + 2);
        let headers = if from < 5 { vec![("link", next.as_str())] } else { Vec::new() };
        reply_with(200, &headers, &json!({ "rows": rows(from) }).to_string())
    });
    assert_eq!(ids(&pull_all(&*shop, "product", None).await.unwrap()), ["1", "2", "3", "4", "5"]);

    let (shop, _) =
        system(&toml("{ by = \"cursor\", next = \"body.next\" }", "{ mark = \"${page.cursor}\" }"), move |request| {
            let from = query(request, "mark").map_or(1, |mark| mark[1..].parse::<usize>().unwrap());
            let next = if from < 5 { json!(format!("m{}", from + 2)) } else { json!(null) };
            reply(200, &json!({ "rows": rows(from), "next": next }))
        });
    assert_eq!(ids(&pull_all(&*shop, "product", None).await.unwrap()), ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn children_are_joined_to_their_rows_and_split_into_rows_of_their_own() {
    let toml = r#"
[http]
base = "${url}"
[entities.stock]
id = "sku"
[entities.stock.list]
get = "/products"
split = 'map(row.variants, |v| merge(v, #{ qty: v.qty, at: row.place }))'
[[entities.stock.list.join]]
post = "/variants"
body = { ids = "${ids_of}" }
on = "product"
to = "number"
into = "variants"
[[entities.stock.list.join]]
get = "/places/${item.number}"
rows = "[body]"
for_each = "rows.filter(|r| r.number > 1)"
to = "number"
into = "place"
one = true
"#
    .replace("ids_of", "rows.map(|r| r.number)");
    let (shop, fake) = system(&toml, |request| match request.path() {
        "/products" => reply(200, &json!([{ "number": 1 }, { "number": 2 }])),
        "/variants" => {
            assert_eq!(body(request), json!({ "ids": [1, 2] }));
            reply(
                200,
                &json!([
                    { "product": 2, "sku": "b", "qty": 5 }, { "product": 1, "sku": "a", "qty": 3 }, { "product": 2, "sku": "c", "qty": 0 }
                ]),
            )
        }
        path => reply(200, &json!({ "shelf": path })),
    });
    let page = pull(&*shop, "stock", None, None).await.unwrap();
    assert_eq!(page.errors, []);
    let rows: Vec<Value> = page.rows.into_iter().map(|row| row.body.into_value()).collect();
    assert_eq!(
        rows,
        [
            json!({ "at": null, "product": 1, "qty": 3, "sku": "a" }),
            json!({ "at": { "shelf": "/places/2" }, "product": 2, "qty": 5, "sku": "b" }),
            json!({ "at": { "shelf": "/places/2" }, "product": 2, "qty": 0, "sku": "c" }),
        ]
    );
    assert_eq!(fake.paths(), ["GET /products", "POST /variants", "GET /places/2"]);
}

#[tokio::test]
async fn children_that_name_something_of_their_row_find_it_among_the_rows() {
    let toml = r#"
[http]
base = "${url}"
[entities.order]
id = "id"
[entities.order.list]
get = "/orders"
[[entities.order.list.join]]
post = "/credits"
body = { of = "${rows_of}" }
rows = "body.map(|c| #{ order: rows.find(|r| r.bills.contains(c.bill)).id, amount: c.amount })"
on = "order"
into = "credits"
"#
    .replace("rows_of", "flatten(rows.map(|r| r.bills))");
    let (shop, _) = system(&toml, |request| match request.path() {
        "/orders" => reply(200, &json!([{ "id": 1, "bills": ["x"] }, { "id": 2, "bills": ["y", "z"] }])),
        _ => reply(200, &json!([{ "bill": "z", "amount": 5 }])),
    });
    let page = pull(&*shop, "order", None, None).await.unwrap();
    assert_eq!(page.errors, []);
    let credits: Vec<Value> = page.rows.into_iter().map(|row| row.body.into_value()["credits"].clone()).collect();
    assert_eq!(credits, [json!([]), json!([{ "order": 2, "amount": 5 }])]);
}

#[tokio::test]
async fn a_row_whose_children_cannot_be_asked_for_is_rejected_and_no_other() {
    let toml = |join: &str| {
        format!(
            "[http]\nbase = \"${{url}}\"\n[entities.product]\nid = \"sku\"\nkeep = 'sku != \"draft\"'\n\
             [entities.product.list]\nget = \"/products\"\n[[entities.product.list.join]]\ninto = \"variants\"\n{join}"
        )
    };
    let each = toml("for_each = \"rows\"\nget = \"/products/${item.id}/variants\"\n");
    let at_once =
        toml("on = \"p\"\nto = \"id\"\nget = \"/v\"\nquery = { ids = \"${join(rows.map(|r| r.id), ',')}\" }\n");
    for (toml, places) in [(each, vec![2, 3, 4, 6, 7]), (at_once, vec![6, 7])] {
        let (shop, fake) = system(&toml, |request| match request.path() {
            "/products" => reply(
                200,
                &json!([
                    { "sku": "a", "id": "1" }, { "sku": "b", "id": ".." }, { "sku": "c", "id": "a/b" },
                    { "sku": "d", "id": "" }, { "sku": "draft", "id": "x\ny" }, { "sku": "f", "id": "x\ny" },
                    { "sku": "g" }, { "sku": "h", "id": "6" },
                ]),
            ),
            _ => reply(200, &json!([{ "p": "1", "n": 1 }])),
        });
        let page = pull(&*shop, "product", None, None).await.unwrap();
        let rejected: Vec<&str> = page.errors.iter().map(|error| error.position.as_str()).collect();
        assert_eq!(rejected, places.iter().map(|row| format!("page 1 row {row}")).collect::<Vec<_>>());
        assert!(page.errors[0].reason.contains("the request cannot be made"), "{:?}", page.errors);
        assert_eq!(page.rows.len(), 7 - places.len());
        assert_eq!(page.rows[0].body.clone().into_value()["variants"], json!([{ "p": "1", "n": 1 }]));
        assert!(!fake.paths().iter().any(|path| path.contains("..")));
    }
}

#[tokio::test]
async fn xml_lists_of_one_and_none_are_lists() {
    let toml = r#"
[http]
base = "${url}"
receive = "xml"
[entities.product]
id = "@id"
[entities.product.list]
get = "/products"
query = { page = "${page.number}" }
rows = "body.shop.products.product"
pages = { by = "number", size = 1 }
"#;
    let (shop, _) = system(toml, |request| {
        let inner =
            if query(request, "page").as_deref() == Some("1") { "<product id=\"7\"><n>x</n></product>" } else { "" };
        reply_with(200, &[("content-type", "text/xml")], &format!("<shop><products>{inner}</products></shop>"))
    });
    assert_eq!(ids(&pull_all(&*shop, "product", None).await.unwrap()), ["7"]);
}

#[tokio::test]
async fn reading_by_id_asks_in_portions_and_leaves_out_what_is_not_there() {
    let toml = r#"
[http]
base = "${url}"
[entities.product]
id = "id"
[entities.product.read]
get = "/products"
query = { include = '${join(ids, ",")}' }
max = 2
[entities.order]
id = "id"
[entities.order.read]
get = "/orders/${id}"
"#;
    let (shop, fake) = system(toml, |request| match request.path() {
        "/products" => {
            let asked = query(request, "include").unwrap();
            let mut rows: Vec<Value> = asked
                .split(',')
                .filter(|id| *id != "2")
                .map(|id| json!({ "id": id.parse::<i64>().unwrap() }))
                .collect();
            rows.push(json!({ "id": 99 }));
            reply(200, &json!(rows))
        }
        "/orders/1" => reply(200, &json!({ "id": 1 })),
        _ => reply(404, &json!({ "message": "no such order" })),
    });
    let asked: Vec<String> = ["1", "2", "3"].map(str::to_owned).into();
    let rows = shop.read("product", &asked).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(fake.count("/products"), 2);
    let rows = shop.read("order", &asked).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["1"]);
}

#[tokio::test]
async fn an_id_that_cannot_be_sent_keeps_no_other_from_being_read() {
    let toml = "[http]\nbase = \"${url}\"\n[entities.product]\nid = \"id\"\n[entities.product.read]\nmax = 10\n\
                get = \"/products\"\nquery = { ids = \"${join(ids, ',')}\" }\n";
    let (shop, fake) = system(toml, |request| {
        let asked = query(request, "ids").unwrap();
        reply(200, &asked.split(',').map(|id| json!({ "id": id })).collect())
    });
    let rows = shop.read("product", &["1".into(), "x\ny".into(), "2".into()]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(fake.count("/products"), 1);
}

#[tokio::test]
async fn a_lookup_believes_only_rows_that_are_ours() {
    let toml = r#"
[http]
base = "${url}"
[entities.product]
id = "id"
[entities.product.find]
get = "/products"
query = { sku = "${key}" }
where = "row.sku == key"
[entities.order]
id = "id"
[entities.order.list]
get = "/orders"
query = { since = "${cursor}" }
cursor = { field = "at", overlap = "1m" }
[entities.order.find]
scan = true
where = 'row.ref == wanted.number'
"#;
    let (shop, fake) = system(toml, |request| match request.path() {
        "/products" => reply(200, &json!([{ "id": 1, "sku": "A" }, { "id": 2, "sku": "B" }])),
        _ => reply(200, &json!([{ "id": 7, "ref": "N1", "at": null }, { "id": 8, "ref": "N2", "at": null }])),
    });
    let since = DateTime::parse_from_rfc3339("2026-07-01T09:00:00Z").unwrap().to_utc();
    let desired = json!({ "number": "N2" });
    let probe = Probe { key: "B", since, body: &Value::Null, desired: &desired };
    let found = shop.find("product", &probe).await.unwrap();
    assert_eq!(found.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["2"]);
    let found = shop.find("order", &probe).await.unwrap();
    assert_eq!(found.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["8"]);
    assert_eq!(query(&fake.seen.lock().unwrap()[1], "since").as_deref(), Some("2026-07-01T08:59:00Z"));
    assert_eq!(shop.capabilities("product").unwrap().find, Find::ByKey);
    assert_eq!(shop.capabilities("order").unwrap().find, Find::Scan);
}

#[tokio::test]
async fn a_wrong_address_is_never_taken_for_an_object_that_is_not_there() {
    let toml = r#"
[http]
base = "${url}"
[entities.product]
id = "id"
[entities.product.read]
post = "/search"
body = { ids = "${ids}" }
max = 10
[entities.product.find]
get = "/search"
query = { sku = "${key}" }
where = "row.sku == key"
"#;
    let (shop, _) = system(toml, |_| reply(404, &json!({ "message": "no route" })));
    assert_eq!(shop.read("product", &["1".to_owned()]).await.unwrap_err().class, Class::Fatal);
    let probe = Probe { key: "B", since: DateTime::UNIX_EPOCH, body: &Value::Null, desired: &Value::Null };
    assert_eq!(shop.find("product", &probe).await.unwrap_err().class, Class::Fatal);
}

#[tokio::test]
async fn which_rows_count_may_depend_on_a_setting() {
    let toml = r#"
[http]
base = "${url}"
[entities.product]
id = "id"
keep = 'owner != settings.user'
[entities.product.list]
get = "/products"
"#;
    let (shop, _) =
        system(toml, |_| reply(200, &json!([{ "id": 1, "owner": "ana" }, { "id": 2, "owner": "somebody" }])));
    let page = shop.pull(&PullRequest { entity: "product", since: None, page: None, limit: 10 }).await.unwrap();
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert_eq!(page.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["2"]);
}

#[test]
fn what_is_wrong_in_an_adapter_is_reported_with_its_place() {
    let base = "[http]\nbase = \"${url}\"\n[entities.product]\nid = \"id\"\n[entities.product.list]\n";
    let values_of =
        |named: &str| format!("{base}get = \"/p\"\n").replace("id = ", &format!("values_of = \"{named}\"\nid = "));
    for (toml, expected) in [
        (format!("{base}gett = \"/p\"\n"), "unknown key `gett`, did you mean `get`?"),
        (format!("{base}get = \"/p/${{urll}}\"\n"), "unknown variable `urll`"),
        (format!("{base}get = \"/p/${{password}}\"\n"), "unknown variable `password`"),
        (format!("{base}query = {{ a = 1 }}\n"), "a request needs one of `get`"),
        (format!("{base}get = \"/p\"\npost = \"/p\"\n"), "a second one"),
        (format!("{base}get = \"/p\"\nquery = {{ page = \"${{page.number}}\" }}\n"), "unknown variable `page`"),
        (format!("{base}get = \"/p\"\ncursor = {{ field = \"at\" }}\n"), "does not use `cursor`"),
        (format!("{base}get = \"/p\"\npages = {{ by = \"cursor\" }}\n"), "need `next`"),
        (values_of("settings.coin"), "the setting `coin`"),
        (values_of("settings.password"), "none or a secret"),
        ("[http]\nbase = \"/x\"\n".to_owned(), "does not give an address"),
        ("[http]\nbase = \"${url}\"\ntimeout = \"30\"\n".to_owned(), "a length of time is written like"),
        ("[http]\nbase = \"${url}\"\nauth = { digest = 1 }\n".to_owned(), "unknown value `digest`"),
    ] {
        let error = refusal(&toml);
        assert!(error.starts_with("memory.toml:") && error.contains(expected), "{expected}: {error}");
    }
}
