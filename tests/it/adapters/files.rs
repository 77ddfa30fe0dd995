//! Driver `files` on a folder.
//!
//! One file, because the promises share the folder and its rooms.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use vaiven::internals::{
    failure::Class,
    model::flaw,
    port::{Op, Page, Probe, RowBody, System},
};

use super::{NoProgress, ids, open, page, pull, write};

/// The unreadable values of a page's rows, as they are reported.
fn flaws(page: &Page) -> Vec<Option<String>> {
    let flaw = |row: &vaiven::internals::port::SourceRow| {
        flaw::first(&row.body.clone().into_value()).map(|flaw| flaw.to_string())
    };
    page.rows.iter().map(flaw).collect()
}

const ADAPTER: &str = r#"
driver = "files"
summary = "What an ERP drops"
[settings]
folder = { kind = "path" }
[files]
folder = "${folder}"

[entities.price]
id = "tarifa + '/' + ref"
[entities.price.list]
files = "in/precios*.csv"
format = "csv"
encoding = "windows-1252"
delimiter = ";"
settled = "0s"
complete = true

[entities.product]
id = "sku"
[entities.product.list]
files = "productos*.csv"
format = "csv"
settled = "0s"
max_row = "1MiB"

[entities.stock]
id = "@ref"
keep = 'row["@active"] != "no"'
[entities.stock.list]
files = "stock*.xml"
format = "xml"
rows = "existencias/articulo"
take = "keep"
settled = "0s"
complete = true

[entities.invoice]
id = "@ref"
[entities.invoice.list]
files = "facturas*.xml"
format = "xml"
rows = "facturas/factura"
take = "keep"
settled = "0s"

[entities.customer]
id = "id"
[entities.customer.list]
files = "clientes*.jsonl"
format = "jsonl"
settled = "1h"

[entities.style]
id = "style"
[entities.style.list]
files = "estilos*.csv"
format = "csv"
settled = "0s"
complete = true
max_row = "1KiB"
group = { by = "style", into = "variants" }

[entities.order]
id = "number"
[entities.order.create]
file = "out/order-${key}.json"
format = "json"
[entities.order.update]
file = "out/order-${key}.json"
format = "json"
[entities.order.delete]
file = "out/order-${key}.json"

[entities.ticket]
id = "number"
[entities.ticket.create]
file = "out/tickets.csv"
format = "csv"
append = true
columns = ["number", "subject"]
delimiter = ";"
encoding = "windows-1252"
"#;

struct Drop {
    folder: tempfile::TempDir,
}

impl Drop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("drop/in")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("drop").join(name)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn dated(&self, name: &str, year: u64) {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs((year - 1970) * 31_557_600);
        fs::OpenOptions::new().write(true).open(self.path(name)).unwrap().set_modified(time).unwrap();
    }

    fn system(&self) -> Arc<dyn System> {
        open(ADAPTER, &[("folder", "drop")], self.folder.path()).unwrap()
    }

    fn names(&self, below: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(below)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_file())
            .map(|e| name(&e.path()))
            .collect();
        names.sort();
        names
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn windows(text: &str) -> Vec<u8> {
    encoding_rs::WINDOWS_1252.encode(text).0.into_owned()
}

#[tokio::test]
async fn a_file_is_read_in_pages_and_archived_when_durable() {
    let drop = Drop::new();
    drop.put("in/precios_1.csv", windows("tarifa;ref;precio\nA;1;2,50\nA;2;1,00 €\nB;1;3,00\n"));
    let system = drop.system();
    assert!(system.capabilities("price").unwrap().complete);

    let first = page(system.as_ref(), "price", None, None, 2).await.unwrap();
    assert_eq!(ids(&first), ["A/1", "A/2"]);
    assert_eq!(first.rows[1].position, "precios_1.csv:3");
    assert!(matches!(first.rows[0].body, RowBody::Record { .. }), "rows stay undecoded");
    assert!(first.cursor.is_none() && first.receipt.is_none());
    assert_eq!(first.rows[1].body.clone().into_value()["precio"], "1,00 €");
    let second = page(system.as_ref(), "price", None, first.next.as_ref(), 2).await.unwrap();
    assert_eq!(ids(&second), ["B/1"]);
    assert!(second.next.is_none() && second.cursor.is_some());
    assert_eq!(drop.names("in/work"), ["precios_1.csv"], "it waits until the page is durable");

    system.acknowledge("price", second.receipt.as_ref().unwrap()).await.unwrap();
    assert_eq!(drop.names("in/done"), ["precios_1.csv"]);
    let cursor = second.cursor.unwrap();
    assert!(pull(system.as_ref(), "price", Some(&cursor), 100).await.unwrap().rows.is_empty(), "nothing new");
    let again = pull(system.as_ref(), "price", None, 100).await.unwrap();
    assert_eq!(again.rows.len(), 3, "a full listing reads the newest file once more");

    drop.put("in/precios_1.csv", "tarifa;ref;precio\nA;1;2,60\n");
    assert_eq!(pull(system.as_ref(), "price", Some(&cursor), 100).await.unwrap().rows.len(), 1);
    assert_eq!(drop.names("in/done").len(), 2, "a name that is taken gets a time");
}

#[tokio::test]
async fn a_file_left_by_a_crash_is_read_again() {
    let drop = Drop::new();
    drop.put("in/precios_1.csv", "tarifa;ref;precio\nA;1;2,50\nA;2;1\n");
    let crashed = drop.system();
    let first = page(crashed.as_ref(), "price", None, None, 1).await.unwrap();
    assert!(first.next.is_some());
    std::mem::drop(crashed);
    let system = drop.system();
    // A page mark survives as well: its rows are found again by counting.
    let second = page(system.as_ref(), "price", None, first.next.as_ref(), 1).await.unwrap();
    assert_eq!(ids(&second), ["A/2"]);
    assert_eq!(pull(system.as_ref(), "price", None, 100).await.unwrap().rows.len(), 2);
    assert_eq!(drop.names("in/done"), ["precios_1.csv"]);
}

#[tokio::test]
async fn two_pullers_never_read_one_file() {
    let drop = Drop::new();
    drop.put("productos_1.csv", "sku,name\nA,a\nB,b\n");
    drop.put("productos_2.csv", "sku,name\nC,c\n");
    let (one, other) = (drop.system(), drop.system());
    let first = page(one.as_ref(), "product", None, None, 1).await.unwrap();
    assert_eq!(ids(&first), ["A"]);
    assert_eq!(ids(&pull(other.as_ref(), "product", None, 100).await.unwrap()), ["C"]);
    let second = page(one.as_ref(), "product", None, first.next.as_ref(), 100).await.unwrap();
    assert_eq!(ids(&second), ["B"]);
    one.acknowledge("product", second.receipt.as_ref().unwrap()).await.unwrap();
    assert_eq!(drop.names("done"), ["productos_1.csv", "productos_2.csv"]);

    drop.put("in/precios_1.csv", "tarifa;ref;precio\nA;1;2,50\nA;2;3\n");
    let _reading = page(one.as_ref(), "price", None, None, 1).await.unwrap();
    let failure = pull(other.as_ref(), "price", None, 100).await.unwrap_err();
    assert!(failure.message.contains("another process"), "a full listing without its file is no success: {failure}");
}

#[tokio::test]
async fn the_newest_complete_file_makes_older_ones_needless() {
    let drop = Drop::new();
    for number in 1..=3 {
        drop.put(&format!("in/precios_{number}.csv"), format!("tarifa;ref;precio\nA;{number};1\n"));
    }
    let all = pull(drop.system().as_ref(), "price", None, 100).await.unwrap();
    assert_eq!(ids(&all), ["A/3"]);
    assert_eq!(drop.names("in/done").len(), 3);
    assert!(drop.names("in").is_empty() && drop.names("in/work").is_empty());
    let empty = Drop::new();
    let failure = pull(empty.system().as_ref(), "price", None, 100).await.unwrap_err();
    assert!(failure.message.contains("no file"), "no file is not an empty catalogue: {failure}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_refused_with_line_and_reason() {
    let huge = format!("sku,name\nA,a\nB,\"{}", "x".repeat(50 << 20));
    for (content, reason) in [
        ("sku,name\nA,a\nB,\"b\n".as_bytes(), "line 3: a quote is opened and not closed"),
        (b"sku,name\nA,a\nB", "line 3: the last line has 1 of 2 columns"),
        (b"sku,n\xF1me\nA,a\n", "line 1: a column's name cannot be read: a byte of it is not valid"),
        (b"ref,name\nA,a\n", "the key column `sku` is missing; there are: ref, name"),
        (b"sku;name\nA;a\n", "the key column `sku` is missing; there are: sku;name"),
        (b"", "the file is empty"),
        (huge.as_bytes(), "line 3: the row that begins here is longer"),
    ] {
        let drop = Drop::new();
        drop.put("productos.csv", content);
        let system = drop.system();
        let failure = pull(system.as_ref(), "product", None, 1).await.unwrap_err();
        assert!(failure.class == Class::Rejected && failure.message.contains(reason), "{reason}: {failure}");
        assert_eq!(drop.names("rejected"), ["productos.csv", "productos.csv.txt"]);
        assert!(fs::read_to_string(drop.path("rejected/productos.csv.txt")).unwrap().contains(reason));
        assert!(system.check().await.iter().any(|line| line.problem.as_ref().is_some_and(|p| p.contains("1 refused"))));
        assert!(pull(system.as_ref(), "product", None, 1).await.unwrap().rows.is_empty(), "the others go on");
    }
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_counted_and_reported() {
    let drop = Drop::new();
    drop.put("in/precios.csv", "tarifa;ref;precio\nA;1;1\nA;2\nA;1;7\nA;3;1e999999999\n");
    let all = pull(drop.system().as_ref(), "price", None, 100).await.unwrap();
    assert_eq!(ids(&all), ["A/1", "A/3"], "an absurd number is the mapping's business");
    let reasons: Vec<String> = all.errors.iter().map(|error| format!("{} {}", error.position, error.reason)).collect();
    assert_eq!(reasons, ["precios.csv:3 2 columns instead of 3", "precios.csv:4 the key stands twice in the file"]);
    let report = fs::read_to_string(drop.path("in/rejected/precios.csv.csv")).unwrap();
    assert!(report.starts_with("line,reason,row\n3,2 columns instead of 3,A;2\n"), "{report}");
}

/// Read as UTF-8, or in another encoding: one byte that is no text spoils its row and no other, and the file is archived.
#[tokio::test]
async fn a_byte_that_is_no_text_rejects_its_row_and_no_other() {
    let drop = Drop::new();
    drop.put("productos.csv", b"sku,name\nA,a\nB,ma\xF1ana\nC,c\n");
    let all = pull(drop.system().as_ref(), "product", None, 100).await.unwrap();
    assert_eq!((ids(&all), all.errors.len()), (vec!["A", "B", "C"], 0), "the mapping rejects B, and knows its key");
    let found = flaws(&all);
    assert!(found[0].is_none() && found[2].is_none(), "{found:?}");
    assert!(found[1].as_ref().unwrap().starts_with("`name` cannot be read: a byte of it is not valid"), "{found:?}");
    let report = fs::read_to_string(drop.path("rejected/productos.csv.csv")).unwrap();
    assert!(report.contains("\n3,") && report.contains("(unreadable)") && !report.contains("\n2,"), "{report}");
    assert_eq!(drop.names("done"), ["productos.csv"]);
}

#[tokio::test]
async fn a_file_whose_name_is_no_text_is_reported_and_keeps_no_other_from_being_read() {
    use std::os::unix::ffi::OsStrExt as _;
    let drop = Drop::new();
    drop.put("productos.csv", "sku,name\nA,a\n");
    let odd = std::ffi::OsStr::from_bytes(b"productos_a\xF1o.csv");
    fs::write(drop.path("").join(odd), "sku,name\nB,b\n").unwrap();
    let all = pull(drop.system().as_ref(), "product", None, 100).await.unwrap();
    assert_eq!(ids(&all), ["A"]);
    assert_eq!(all.dates[0].position, "productos_a\u{FFFD}o.csv");
    assert!(
        all.dates[0].reason.contains("not UTF-8") && all.dates[0].reason.contains("another name"),
        "{:?}",
        all.dates
    );
    let odd = fs::read_dir(drop.path("")).unwrap().any(|entry| entry.unwrap().file_name().as_os_str() == odd);
    assert!(odd, "it stays where it is");
}

#[tokio::test]
async fn a_file_that_could_not_be_read_is_reported_until_somebody_has_seen_to_it() {
    let drop = Drop::new();
    let system = drop.system();
    drop.put("productos_1.csv", "sku,name\nA,a\n");
    drop.put("productos_2.csv", "nothing that is known\nB\n");
    assert!(pull(system.as_ref(), "product", None, 100).await.is_err());
    for _ in 0..2 {
        let next = pull(system.as_ref(), "product", Some("1"), 100).await.unwrap();
        let positions: Vec<&str> = next.dates.iter().map(|positions| positions.position.as_str()).collect();
        assert_eq!(positions, ["productos_2.csv"], "it is in nobody's way, and not forgotten");
        assert!(next.dates[0].reason.contains("rejected"), "{:?}", next.dates);
    }
    fs::remove_file(drop.path("rejected/productos_2.csv")).unwrap();
    assert!(pull(system.as_ref(), "product", Some("1"), 100).await.unwrap().dates.is_empty());
}

#[tokio::test]
async fn files_that_stay_where_they_are_are_read_once_also_when_a_later_one_cannot_be_read() {
    let drop = Drop::new();
    let system = drop.system();
    let list = |number: u32, total: &str| {
        let text = format!("<facturas><factura ref=\"A\"><total>{total}</total></factura></facturas>");
        drop.put(&format!("facturas_{number}.xml"), text);
        drop.dated(&format!("facturas_{number}.xml"), 2020 + u64::from(number));
    };
    list(1, "1");
    list(2, "2");
    drop.put("facturas_3.xml", "<facturas><factura");
    drop.dated("facturas_3.xml", 2023);
    let (mut token, mut since, mut read) = (None, None, 0);
    let failed = loop {
        match page(system.as_ref(), "invoice", None, token.as_ref(), 100).await {
            Ok(page) => {
                read += page.rows.len();
                since = page.cursor.or(since);
                token = page.next;
                assert!(token.is_some(), "the third is still to come");
            }
            Err(failure) => break failure.to_string(),
        }
    };
    assert!(failed.contains("facturas_3.xml") && read == 2, "{failed}");
    let again = page(system.as_ref(), "invoice", since.as_deref(), None, 100).await;
    assert!(again.is_err(), "the first two are not read again: what they say is old by now");
    list(3, "3");
    let corrected = pull(system.as_ref(), "invoice", since.as_deref(), 100).await.unwrap();
    assert_eq!(corrected.rows.len(), 1);
    let rest = pull(system.as_ref(), "invoice", corrected.cursor.as_deref(), 100).await.unwrap();
    assert_eq!(rest.rows.len(), 0);
}

#[tokio::test]
async fn a_line_for_each_variant_becomes_one_product_with_its_variants() {
    let drop = Drop::new();
    drop.put("estilos.csv", "style,name,size\nA,Shirt,S\nA,Shirt,M\nB,Hat,U\nC,Sock,1\nC,Sock,2\n");
    let system = drop.system();
    let first = page(system.as_ref(), "style", None, None, 2).await.unwrap();
    assert_eq!(ids(&first), ["A", "B"]);
    assert_eq!(first.rows[1].position, "estilos.csv:4");
    let shirt = first.rows[0].body.clone().into_value();
    assert_eq!((&shirt["name"], shirt["variants"].as_array().unwrap().len()), (&json!("Shirt"), 2));
    assert_eq!(shirt["variants"][1], json!({ "style": "A", "name": "Shirt", "size": "M" }));
    // Another process goes on where this one stopped.
    std::mem::drop(system);
    let again = drop.system();
    let second = page(again.as_ref(), "style", None, first.next.as_ref(), 2).await.unwrap();
    assert_eq!((ids(&second), second.next.is_none()), (vec!["C"], true));
}

#[tokio::test]
async fn a_group_of_which_a_row_cannot_be_read_is_never_taken_for_whole() {
    let drop = Drop::new();
    drop.put("estilos.csv", b"style,name,size\nA,a,S\nA,a\nA,a,L\nB,b,1\nB,b\nC,c,1\nD,d,1\nE,e,\xF1\nE,e,2\n");
    let all = pull(drop.system().as_ref(), "style", None, 100).await.unwrap();
    assert_eq!(ids(&all), ["D", "E"], "between B and C nobody knows whose the row is");
    let reasons: Vec<String> = all.errors.iter().map(|error| format!("{} {}", error.position, error.reason)).collect();
    assert!(
        reasons.contains(&"estilos.csv:2 line 3 cannot be read and may be one of `variants`".to_owned()),
        "{reasons:?}"
    );
    assert_eq!(all.errors.len(), 5, "{reasons:?}");
    assert!(flaws(&all)[1].as_ref().unwrap().starts_with("`size` cannot be read"), "{all:?}");
}

#[tokio::test]
async fn groups_that_do_not_stand_together_or_never_end_refuse_their_file() {
    for (rows, reasons) in [
        (
            "A,a,S\nB,b,1\nA,a,M\n".to_owned(),
            "line 4: a group stands here again, apart from its other rows; sort the file",
        ),
        ("A,a,S\n".repeat(1000), "longer than `max_row`"),
    ] {
        let drop = Drop::new();
        drop.put("estilos.csv", format!("style,name,size\n{rows}"));
        let failure = pull(drop.system().as_ref(), "style", None, 100).await.unwrap_err();
        assert!(failure.class == Class::Rejected && failure.message.contains(reasons), "{failure}");
        assert_eq!(drop.names("rejected"), ["estilos.csv", "estilos.csv.txt"]);
    }
}

/// `+34...` is a telephone number: what another program reads is not touched, what a person opens in a spreadsheet is.
#[tokio::test]
async fn cells_are_kept_from_being_formulas_where_people_read_them_and_where_the_adapter_says_so() {
    let drop = Drop::new();
    drop.put("in/precios.csv", "tarifa;ref;precio\n=HYPERLINK(1);2\n");
    pull(drop.system().as_ref(), "price", None, 100).await.unwrap();
    let report = fs::read_to_string(drop.path("in/rejected/precios.csv.csv")).unwrap();
    assert!(report.contains(",'=HYPERLINK(1);2\n"), "{report}");

    let ticket = || write(7, Op::Create, "T-1", None, json!({ "number": "T-1", "subject": "+34600111222" }));
    for (toml, cell) in [
        (ADAPTER.to_owned(), "+34600111222"),
        (ADAPTER.replace("append = true", "append = true\nescape_formulas = true"), "'+34600111222"),
    ] {
        let drop = Drop::new();
        let system = open(&toml, &[("folder", "drop")], drop.folder.path()).unwrap();
        let outcomes = system.write("ticket", vec![ticket()], &NoProgress).await;
        assert!(outcomes[0].result.is_ok(), "{outcomes:?}");
        let text = fs::read_to_string(drop.path("out/tickets.csv")).unwrap();
        assert_eq!(text, format!("number;subject\nT-1;{cell}\n"));
    }
}

#[tokio::test]
async fn a_file_of_changes_keeps_their_order() {
    let drop = Drop::new();
    drop.put("productos.csv", "sku,name\nA,old\nB,b\nA,new\n");
    let system = drop.system();
    let first = page(system.as_ref(), "product", None, None, 100).await.unwrap();
    assert_eq!(ids(&first), ["A", "B"], "no object stands twice on a page");
    let second = page(system.as_ref(), "product", None, first.next.as_ref(), 100).await.unwrap();
    assert_eq!(second.rows[0].body.clone().into_value()["name"], "new");
}

#[tokio::test]
async fn a_file_dated_in_the_future_is_not_the_newest_for_ever() {
    let drop = Drop::new();
    let xml = |n: &str| format!("<existencias><articulo ref='A' active='yes'><n>{n}</n></articulo></existencias>");
    drop.put("stock-1.xml", xml("1"));
    drop.dated("stock-1.xml", 2050);
    let system = drop.system();
    let alone = pull(system.as_ref(), "stock", None, 100).await.unwrap();
    assert_eq!(ids(&alone), ["A"], "while it is the only one, it is read");
    drop.put("stock-2.xml", xml("2"));
    drop.dated("stock-2.xml", 2030);
    let page = pull(system.as_ref(), "stock", alone.cursor.as_deref(), 100).await.unwrap();
    assert_eq!(page.rows[0].body.clone().into_value()["n"], "2");
    assert_eq!((page.dates.len(), page.dates[0].position.as_str()), (1, "stock-1.xml"));
    let again = pull(system.as_ref(), "stock", page.cursor.as_deref(), 100).await.unwrap();
    assert_eq!((again.rows.len(), again.dates.len()), (0, 1), "it is told until it is mended");
}

#[tokio::test]
async fn a_file_dated_in_the_future_takes_no_other_files_place() {
    let drop = Drop::new();
    let price = |n: &str| format!("tarifa;ref;precio\nA;1;{n}\n");
    let dated = |page: &Page| page.dates.iter().map(|date| date.position.clone()).collect::<Vec<_>>();
    drop.put("in/precios_1.csv", price("1"));
    drop.dated("in/precios_1.csv", 2050);
    let system = drop.system();
    let failure = pull(system.as_ref(), "price", None, 100).await.unwrap_err();
    assert!(failure.message.contains("precios_1.csv") && failure.message.contains("future"), "{failure}");
    drop.put("in/precios_2.csv", price("2"));
    let newer = pull(system.as_ref(), "price", None, 100).await.unwrap();
    assert_eq!(newer.rows[0].body.clone().into_value()["precio"], "2");
    assert_eq!(dated(&newer), ["precios_1.csv"]);
    assert_eq!((drop.names("in"), drop.names("in/done")), (vec!["precios_1.csv".into()], vec!["precios_2.csv".into()]));

    let nothing = pull(system.as_ref(), "price", newer.cursor.as_deref(), 100).await.unwrap();
    assert_eq!((nothing.rows.len(), dated(&nothing)), (0, vec!["precios_1.csv".to_owned()]));
    let again = pull(system.as_ref(), "price", None, 100).await.unwrap();
    assert_eq!(again.rows[0].body.clone().into_value()["precio"], "2", "the last one still holds everything");
    drop.dated("in/precios_1.csv", 2039);
    let corrected = pull(system.as_ref(), "price", newer.cursor.as_deref(), 100).await.unwrap();
    assert_eq!((corrected.rows.len(), dated(&corrected).len()), (1, 0));

    drop.put("productos_1.csv", "sku,name\nA,old\n");
    drop.dated("productos_1.csv", 2050);
    drop.put("productos_2.csv", "sku,name\nA,new\n");
    let changes = pull(system.as_ref(), "product", None, 100).await.unwrap();
    let names: Vec<_> = changes.rows.iter().map(|row| row.body.clone().into_value()["name"].clone()).collect();
    assert_eq!((names, dated(&changes)), (vec![json!("new")], vec!["productos_1.csv".to_owned()]));
    assert_eq!(drop.names(""), ["productos_1.csv"]);
}

#[tokio::test]
async fn a_clock_that_is_a_little_ahead_makes_a_file_wait_and_is_not_reported() {
    let drop = Drop::new();
    drop.put("productos_1.csv", "sku,name\nA,a\n");
    // The clock stands in 2040.
    let soon = std::time::UNIX_EPOCH + std::time::Duration::from_secs(2_208_988_800 + 60);
    fs::File::options().write(true).open(drop.path("productos_1.csv")).unwrap().set_modified(soon).unwrap();
    let page = pull(drop.system().as_ref(), "product", None, 100).await.unwrap();
    assert_eq!((page.rows.len(), page.dates.len()), (0, 0));
    assert_eq!(drop.names(""), ["productos_1.csv"]);
}

#[tokio::test]
async fn a_key_that_names_no_file_rejects_its_record_and_no_other() {
    let drop = Drop::new();
    let long = "x".repeat(300);
    let writes = (0..).zip(["1", &long, "a/b", "c\nd", "../e", "2"]);
    let writes = writes.map(|(job, key)| write(job, Op::Create, key, None, json!({ "number": key }))).collect();
    let outcomes = drop.system().write("order", writes, &NoProgress).await;
    let classes: Vec<_> =
        outcomes.iter().map(|outcome| outcome.result.as_ref().err().map(|failure| failure.class)).collect();
    let bad = Some(Class::Rejected);
    assert_eq!(classes, [None, bad, bad, bad, bad, None]);
    assert_eq!(drop.names("out"), ["order-1.json", "order-2.json"]);
}

#[tokio::test]
async fn a_kept_file_is_read_again_when_it_changes() {
    let drop = Drop::new();
    drop.put("stock.xml", "<existencias><articulo ref='A'><n>1</n></articulo><articulo ref='B'/></existencias>");
    let drop_system = drop.system();
    let failure = pull(drop_system.as_ref(), "stock", None, 100).await.unwrap();
    assert_eq!(failure.errors.len(), 2, "a missing member is an error of its row");
    let xml = |n: &str| {
        format!(
            "<existencias><articulo ref='A' active='yes'><n>{n}</n></articulo><articulo ref='B' active='no'/></existencias>"
        )
    };
    drop.put("stock.xml", xml("1"));
    let all = pull(drop_system.as_ref(), "stock", None, 100).await.unwrap();
    assert_eq!(ids(&all), ["A"]);
    assert!(pull(drop_system.as_ref(), "stock", all.cursor.as_deref(), 100).await.unwrap().rows.is_empty());
    drop.put("stock.xml", xml("12"));
    let changed = pull(drop_system.as_ref(), "stock", all.cursor.as_deref(), 100).await.unwrap();
    assert_eq!(changed.rows[0].body.clone().into_value()["n"], "12");
    drop.put("stock.xml", &xml("123")[..60]);
    let failure = pull(drop_system.as_ref(), "stock", changed.cursor.as_deref(), 100).await.unwrap_err();
    assert!(failure.message.contains("cut off") || failure.message.contains("well formed"), "{failure}");
    assert_eq!(drop.names(""), ["stock.xml"]);
}

#[tokio::test]
async fn a_fresh_file_is_left_for_the_next_round() {
    let drop = Drop::new();
    drop.put("clientes.jsonl", "{\"id\":1}\n");
    // The clock stands in 2040; a file of then is being written.
    let soon = std::time::UNIX_EPOCH + std::time::Duration::from_secs(2_208_988_800 - 60);
    let file = fs::File::options().write(true).open(drop.path("clientes.jsonl")).unwrap();
    file.set_modified(soon).unwrap();
    let system = drop.system();
    assert!(pull(system.as_ref(), "customer", None, 100).await.unwrap().rows.is_empty());
    file.set_modified(soon - std::time::Duration::from_hours(2)).unwrap();
    assert_eq!(ids(&pull(system.as_ref(), "customer", None, 100).await.unwrap()), ["1"]);
}

#[tokio::test]
async fn nothing_outside_the_folder_is_touched() {
    let drop = Drop::new();
    fs::write(drop.folder.path().join("secret.csv"), "sku,name\nX,x\n").unwrap();
    std::os::unix::fs::symlink(drop.folder.path().join("secret.csv"), drop.path("productos.csv")).unwrap();
    let system = drop.system();
    assert!(pull(system.as_ref(), "product", None, 100).await.unwrap().rows.is_empty());

    let elsewhere = drop.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, drop.path("work")).unwrap();
    drop.put("productos_2.csv", "sku,name\nA,a\n");
    let failure = pull(system.as_ref(), "product", None, 100).await.unwrap_err();
    assert!(failure.message.contains("not followed"), "{failure}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);

    for path in ["../x*.csv", "/etc/x.csv", "in/../../x.csv"] {
        let adapter = ADAPTER.replace("productos*.csv", path);
        let error = open(&adapter, &[("folder", "drop")], drop.folder.path()).err().unwrap().to_string();
        assert!(error.starts_with("erp.toml:") && error.contains("`..`"), "{error}");
    }
    for key in ["../../evil", "a/b", "..", "x\0y"] {
        let order = write(1, Op::Create, key, None, json!({ "number": key }));
        let outcome = system.write("order", vec![order], &NoProgress).await;
        assert!(outcome[0].result.is_err() || !key.contains('/'), "{key}");
    }
    assert!(!drop.folder.path().join("evil.json").exists());
}

#[tokio::test]
async fn objects_are_written_as_files_and_looked_up_after_a_crash() {
    let drop = Drop::new();
    let system = drop.system();
    let order = |number: &str, total: &str| json!({ "number": number, "total": total });
    let probe_body = order("1", "2.50");
    let desired = json!({});
    let find = async |key: &str| {
        let probe = Probe { key, since: chrono::DateTime::UNIX_EPOCH, body: &probe_body, desired: &desired };
        system.find("order", &probe).await.unwrap().len()
    };
    assert_eq!(find("1").await, 0);
    let outcome = system.write("order", vec![write(1, Op::Create, "1", None, order("1", "2.50"))], &NoProgress).await;
    assert_eq!(outcome[0].result.as_ref().unwrap().id, "1");
    assert_eq!(drop.names("out"), ["order-1.json"]);
    let written: serde_json::Value = serde_json::from_slice(&fs::read(drop.path("out/order-1.json")).unwrap()).unwrap();
    assert_eq!(written["total"], "2.50");
    fs::remove_file(drop.path("out/order-1.json")).unwrap();
    assert_eq!(find("1").await, 1, "it was sent, although somebody has taken it away");

    // A crash between the mark and the name: the file never got its name, so it was not sent.
    system.write("order", vec![write(1, Op::Create, "2", None, order("2", "1"))], &NoProgress).await;
    let mark = drop.names("out/sent").into_iter().find(|name| name.starts_with("order-2")).unwrap();
    fs::rename(drop.path("out/order-2.json"), drop.path(&format!("out/.~{mark}"))).unwrap();
    assert_eq!(find("2").await, 0);
    assert!(drop.names("out").is_empty());

    system.write("order", vec![write(1, Op::Update, "3", Some("3"), order("3", "9"))], &NoProgress).await;
    let gone = system.write("order", vec![write(1, Op::Delete, "3", Some("3"), json!({}))], &NoProgress).await;
    assert!(gone[0].result.is_ok() && drop.names("out").is_empty());
}

#[tokio::test]
async fn rows_are_added_to_a_file() {
    let drop = Drop::new();
    let system = drop.system();
    let ticket = |number: &str, subject: &str| {
        write(1, Op::Create, number, None, json!({ "number": number, "subject": subject }))
    };
    let outcomes = system
        .write("ticket", vec![ticket("1", "Avería; \"año\""), ticket("2", "日本"), ticket("3", "c")], &NoProgress)
        .await;
    assert_eq!(outcomes[1].result.as_ref().unwrap_err().class, Class::Rejected);
    let text = fs::read(drop.path("out/tickets.csv")).unwrap();
    assert_eq!(text, windows("number;subject\n1;\"Avería; \"\"año\"\"\"\n3;c\n"));
}

#[tokio::test]
async fn what_is_wrong_in_the_file_is_reported_with_its_place() {
    for (from, to, message) in [
        ("encoding = \"windows-1252\"\ndelimiter", "encoding = \"windows-1525\"\ndelimiter", "unknown encoding"),
        ("delimiter = \";\"\nsettled", "delimiter = \";;\"\nsettled", "must be one character"),
        ("rows = \"existencias/articulo\"\n", "", "needs `rows`"),
        ("take = \"keep\"", "take = \"kept\"", "unknown value `kept`"),
        ("order-${key}", "order-${kye}", "unknown variable `kye`, did you mean `key`"),
        ("columns = [\"number\", \"subject\"]\n", "", "needs its `columns`"),
    ] {
        assert!(ADAPTER.contains(from), "{from}");
        let adapter = ADAPTER.replacen(from, to, 1);
        let error = open(&adapter, &[("folder", "drop")], ".".as_ref()).err().unwrap().to_string();
        assert!(error.contains(message) && error.starts_with("erp.toml:"), "{error}");
    }
}

/// Every file below the drop, with its content.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rooms = vec![folder.to_owned()];
    while let Some(room) = rooms.pop() {
        for entry in fs::read_dir(room).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.push((path.clone(), Vec::new()));
                rooms.push(path);
            } else {
                found.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_read_only_system_reads_the_same_rows_and_leaves_every_file_where_it_is() {
    let drop = Drop::new();
    drop.put("in/precios_1.csv", "tarifa;ref;precio\nA;1;2,50\nA;2;1,00\n");
    drop.put("productos.csv", "sku,name\nH-1,Martillo\nH-2\n");
    fs::create_dir(drop.path("work")).unwrap();
    drop.put("work/productos_0.csv", "sku,name\nH-0,Clavo\n");
    let before = everything(&drop.path(""));
    let system = drop.system();
    let read_only = system.read_only().unwrap();
    for entity in ["price", "product"] {
        let page = page(read_only.as_ref(), entity, None, None, 1).await.unwrap();
        assert_eq!(page.rows.len(), 1, "{entity}");
    }
    // The helper acknowledges receipts, as the engine would.
    assert_eq!(pull(read_only.as_ref(), "price", None, 1).await.unwrap().rows.len(), 2);
    let products = pull(read_only.as_ref(), "product", None, 1).await.unwrap();
    assert_eq!((products.rows.len(), products.errors.len()), (2, 1));
    assert_eq!(everything(&drop.path("")), before);
    // Who reads for good finds all of it afterwards.
    assert_eq!(pull(system.as_ref(), "product", None, 1).await.unwrap().rows.len(), 2);
    assert!(drop.names("").is_empty());
}

#[tokio::test]
async fn a_read_only_system_refuses_a_bad_file_without_moving_it_and_clears_nothing_a_crash_left() {
    let drop = Drop::new();
    drop.put("in/precios_1.csv", "tarifa;precio\nA;1\n");
    fs::create_dir_all(drop.path("out/sent")).unwrap();
    let short = blake3::hash(b"1001").to_hex().to_string();
    drop.put(&format!("out/.~order-1001.json.{}", &short[..16]), "{");
    let before = everything(&drop.path(""));
    let read_only = drop.system().read_only().unwrap();
    let failure = pull(read_only.as_ref(), "price", None, 10).await.unwrap_err();
    assert_eq!(failure.class, Class::Rejected, "{failure}");
    let desired = json!({ "number": "1001" });
    let probe = Probe { key: "1001", since: chrono::DateTime::UNIX_EPOCH, body: &desired, desired: &desired };
    assert!(read_only.find("order", &probe).await.unwrap().is_empty());
    let outcome =
        read_only.write("order", vec![write(1, Op::Create, "1001", None, desired.clone())], &NoProgress).await;
    assert_eq!(outcome[0].result.as_ref().unwrap_err().class, Class::Fatal);
    assert_eq!(everything(&drop.path("")), before);
}
