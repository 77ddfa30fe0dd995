//! One file, because the promises share their mappings and entities.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{failure::Class, ids::RecordId, load::SourceFile, model::Entities, wait_reason::WaitReason};

pub(super) fn load_with(entity: &str, text: &str, settings: &Value, lookups: &Value) -> Result<Mapping, String> {
    let spec = Entities::builtin().get(entity).unwrap().clone();
    let lookups: Tables = serde_json::from_value(lookups.clone()).unwrap();
    Mapping::load(&SourceFile::new("m.toml", text), &spec, settings.as_object().unwrap(), &lookups)
        .map_err(|e| e.to_string())
}

fn mapping(entity: &str, text: &str) -> Mapping {
    load_with(entity, text, &json!({}), &json!({})).unwrap()
}

fn refused(entity: &str, text: &str) -> String {
    load_with(entity, text, &json!({}), &json!({})).unwrap_err()
}

fn pull(mapping: &Mapping, row: &Value) -> Value {
    Value::Object(mapping.pull(row).unwrap().fields)
}

fn object(value: &Value) -> Fields {
    value.as_object().unwrap().clone()
}

fn push(mapping: &Mapping, desired: &Value) -> Value {
    mapping.push(&object(desired), None, &Externals::default()).unwrap()
}

fn update(mapping: &Mapping, desired: &Value, only: &[&str]) -> Value {
    let only = only.iter().map(|name| (*name).to_owned()).collect();
    mapping.push(&object(desired), Some(&only), &Externals::default()).unwrap()
}

fn num(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn names(fields: &BTreeSet<String>) -> Vec<&str> {
    fields.iter().map(String::as_str).collect()
}

#[test]
fn plain_fields_are_the_same_both_ways() {
    let price = mapping("price", "key = 'ref'\n[fields]\nsku = 'article.sku'\namount = 'price'\ncurrency = 'cur'\n");
    let row = json!({ "ref": 7, "article": { "sku": "A" }, "price": num("19.990"), "cur": "eur", "other": 1 });
    let pulled = price.pull(&row).unwrap();
    assert_eq!(pulled.key, "7");
    assert_eq!(Value::Object(pulled.fields), json!({ "sku": "A", "amount": "19.99", "currency": "EUR" }));
    assert_eq!(
        push(&price, &json!({ "sku": "A", "amount": "19.99", "currency": "EUR" })),
        json!({ "article": { "sku": "A" }, "price": "19.99", "cur": "EUR" })
    );
    assert_eq!(names(price.reads()), ["amount", "currency", "sku"]);
    assert_eq!(price.reads(), price.writes());
}

#[test]
fn a_missing_member_is_an_error_unless_it_is_optional() {
    let text = "key = 'sku'\n[fields]\nsku = 'sku'\nbrand = { from = 'brand', optional = true }\nunit = 'unit'\n";
    let product = mapping("product", text);
    assert_eq!(pull(&product, &json!({ "sku": "A", "unit": null })), json!({ "sku": "A" }));
    let failure = product.pull(&json!({ "sku": "A" })).unwrap_err();
    assert_eq!((failure.class, failure.field.as_deref()), (Class::Rejected, Some("unit")));
    assert!(failure.message.starts_with("m.toml:5:8: the row has no `unit`"), "{failure}");
    let failure = product.pull(&json!({ "unit": "x" })).unwrap_err();
    assert!(failure.message.contains("the key: missing member `sku`"), "{failure}");
    assert!(product.pull(&json!({ "sku": "", "unit": "x" })).is_err());
}

#[test]
fn a_required_field_without_a_value_is_refused_only_where_it_is_read() {
    let text = "key = 'n'\n[fields]\nnumber = 'n'\ntotal = 't'\n";
    let invoice = mapping("invoice", text);
    assert_eq!(invoice.pull(&json!({ "n": "1", "t": "" })).unwrap_err().field.as_deref(), Some("total"));
    assert_eq!(pull(&invoice, &json!({ "n": "1", "t": 5 })), json!({ "number": "1", "total": "5" }));
}

#[test]
fn a_required_text_that_is_empty_in_every_language_is_refused() {
    for name in ["{ es = 'es', en = 'en' }, localized = true", "'es', localized = 'es'"] {
        let product = mapping("product", &format!("key = 'sku'\n[fields]\nsku = 'sku'\nname = {{ from = {name} }}\n"));
        let refused = product.pull(&json!({ "sku": "A", "es": "", "en": "" })).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("name"), "{name}");
        let written = pull(&product, &json!({ "sku": "A", "es": "Silla", "en": "" }));
        assert_eq!(written, json!({ "sku": "A", "name": { "es": "Silla" } }), "{name}");
    }
}

#[test]
fn the_three_forms_of_localized_texts_work_both_ways() {
    let text = "key = 'sku'\n[fields]\n\
        name = { from = 'name', localized = '${language}' }\n\
        description = { from = 'names', localized = { language = 'lang', value = 'text' } }\n\
        short_description = { from = { es = 's_es', en = 's_en' }, localized = true }\n";
    let product = load_with("product", text, &json!({ "language": "es" }), &json!({})).unwrap();
    let row = json!({
        "sku": "A", "name": "Silla", "names": [{ "lang": "es", "text": "Larga" }, { "lang": "en_gb", "text": "Long" }],
        "s_es": "Corta", "s_en": null
    });
    let canonical = json!({
        "name": { "es": "Silla" }, "description": { "es": "Larga", "en-GB": "Long" }, "short_description": { "es": "Corta" }
    });
    assert_eq!(pull(&product, &row), canonical);
    assert_eq!(
        push(&product, &canonical),
        json!({ "name": "Silla", "names": [{ "lang": "es", "text": "Larga" }, { "lang": "en-GB", "text": "Long" }], "s_es": "Corta" })
    );
    assert_eq!(
        update(&product, &canonical, &["short_description"]),
        json!({ "s_es": "Corta", "s_en": null }),
        "a language that went away is emptied"
    );
}

#[test]
fn pull_and_push_say_what_differs() {
    let text = "key = 'sku'\n[fields]\nsku = 'sku'\n\
        active = { from = 'status', pull = 'value == \"publish\"', push = 'if value { \"publish\" } else { \"draft\" }' }\n\
        unit = { pull = '\"u-\" + row.sku + suffix' }\n\
        brand = { push_to = 'meta.brand', push = 'upper(value)' }\n\
        meta = { push_to = 'meta.hub', push = '[#{ key: \"vaiven\", value: key }]' }\n\
        tax = { value = 'general' }\n";
    let product = load_with("product", text, &json!({ "suffix": "!" }), &json!({})).unwrap();
    assert_eq!(
        pull(&product, &json!({ "sku": "A", "status": "publish" })),
        json!({ "sku": "A", "tax": "general", "unit": "u-A!", "active": true })
    );
    let desired = json!({ "sku": "A", "active": false, "brand": "acme", "tax": "general", "unit": "x" });
    assert_eq!(
        push(&product, &desired),
        json!({ "sku": "A", "status": "draft", "meta": { "brand": "ACME", "hub": [{ "key": "vaiven", "value": "A" }] } })
    );
    assert_eq!(update(&product, &desired, &["active"]), json!({ "status": "draft" }));
    assert_eq!(names(product.reads()), ["active", "sku", "tax", "unit"]);
    assert_eq!(names(product.writes()), ["active", "brand", "sku"]);
    assert_eq!(product.both_ways(), ["active", "sku"].map(str::to_owned).into());
}

#[test]
fn a_pull_without_push_is_not_written_back() {
    let price = mapping(
        "price",
        "key = 'sku'\n[fields]\nsku = 'sku'\namount = { from = 'p', pull = 'decimal(value, \",\")' }\n",
    );
    assert_eq!(pull(&price, &json!({ "sku": "A", "p": "1.234,50" })), json!({ "sku": "A", "amount": "1234.5" }));
    assert_eq!(push(&price, &json!({ "sku": "A", "amount": "1" })), json!({ "sku": "A" }));
}

#[test]
fn lookups_translate_both_ways_and_park_what_they_do_not_know() {
    let text = "key = 'sku'\n[fields]\ntax = { from = 'tax', lookup = 'tax' }\n[lookups.tax]\ngeneral = 21\nreduced = 'r'\nold = 'r'\n";
    let over = json!({ "tax": { "general": 5, "igic-7": 7 } });
    let product = load_with("product", text, &json!({}), &over).unwrap();
    assert_eq!(pull(&product, &json!({ "sku": "A", "tax": 5 })), json!({ "tax": "general" }));
    assert_eq!(pull(&product, &json!({ "sku": "A", "tax": "5" })), json!({ "tax": "general" }));
    assert_eq!(pull(&product, &json!({ "sku": "A", "tax": "r" })), json!({ "tax": "reduced" }));
    assert_eq!(pull(&product, &json!({ "sku": "A", "tax": "" })), json!({}));
    assert_eq!(push(&product, &json!({ "tax": "igic-7" })), json!({ "tax": 7 }));
    let failure = product.pull(&json!({ "sku": "A", "tax": 21 })).unwrap_err();
    assert_eq!((failure.class, failure.cause.as_deref()), (Class::Unmapped, Some(&WaitReason::lookup("tax", "21"))));
    let failure = product.push(&object(&json!({ "tax": "x" })), None, &Externals::default()).unwrap_err();
    assert_eq!((failure.class, failure.cause.as_deref()), (Class::Unmapped, Some(&WaitReason::lookup("tax", "x"))));
}

#[test]
fn a_lookup_without_a_line_for_a_value_names_the_line_to_write() {
    let text = "key = 'sku'\n[fields]\ntax = { from = 'tax', lookup = 'tax' }\n[lookups.tax]\ngeneral = 21\n";
    let product = mapping("product", text);
    let read = product.pull(&json!({ "sku": "A", "tax": "very \"rare\"" })).unwrap_err().message;
    assert!(read.contains(r#"`CANONICAL_VALUE = "very \"rare\""`"#), "{read}");
    let sent = |tax: &str| {
        let desired = object(&json!({ "tax": tax }));
        product.push(&desired, None, &Externals::default()).unwrap_err().message
    };
    assert!(sent("igic-7").contains(r#"`igic-7 = "SYSTEM_VALUE"`"#), "{}", sent("igic-7"));
    assert!(sent("igic 7").contains(r#"`"igic 7" = "SYSTEM_VALUE"`"#), "{}", sent("igic 7"));
}

#[test]
fn a_key_that_holds_a_nul_character_is_not_said_to_be_none() {
    let product = mapping("product", "key = 'sku'\n[fields]\nsku = 'sku'\n");
    let failure = product.pull(&json!({ "sku": "A\0B" })).unwrap_err();
    assert_eq!(failure.field.as_deref(), Some("sku"));
    assert!(failure.message.contains("the key holds a NUL character"), "{failure}");
    assert!(product.pull(&json!({ "sku": "" })).unwrap_err().message.contains("the row has no key"));
}

#[test]
fn references_are_given_with_their_pointers_and_answered_on_push() {
    let text =
        "key = 'code'\n[fields]\nparent = { from = 'parent_id', ref = 'category', none = [0, ''], as = 'integer' }\n";
    let category = mapping("category", text);
    let pulled = category.pull(&json!({ "code": "A", "parent_id": 12 })).unwrap();
    let by = RefBy::Id("12".into());
    assert_eq!(pulled.refs, [PulledRef { pointer: "/parent".into(), entity: "category".into(), by }]);
    assert_eq!(Value::Object(pulled.fields), json!({ "parent": 0 }), "a number that the engine replaces");
    assert!(category.pull(&json!({ "code": "A", "parent_id": 0 })).unwrap().refs.is_empty());

    let desired = object(&json!({ "parent": 77 }));
    assert_eq!(category.needs(&desired).records, BTreeSet::from([("category".to_owned(), RecordId(77))]));
    let mut known = Externals::default();
    known.keys.insert(("category".into(), RecordId(77)), "CHAIRS".into());
    let failure = category.push(&desired, None, &known).unwrap_err();
    assert_eq!(
        (failure.class, failure.cause.as_deref()),
        (Class::Unmapped, Some(&WaitReason::missing("category", "CHAIRS")))
    );
    known.records.insert(("category".into(), RecordId(77)), "12".into());
    assert_eq!(category.push(&desired, None, &known).unwrap(), json!({ "parent_id": 12 }));
    assert_eq!(update(&category, &json!({}), &["parent"]), json!({ "parent_id": 0 }), "absent as this system says it");
}

#[test]
fn lists_of_references_are_read_from_objects_and_from_single_ids() {
    let text =
        "key = 'sku'\n[fields]\ncategories = { from = 'categories', each = { from = 'id', ref = 'category' } }\n";
    let product = mapping("product", text);
    let pulled =
        product.pull(&json!({ "sku": "A", "categories": [{ "id": 1 }, { "id": null }, { "id": 3 }] })).unwrap();
    let pointers: Vec<_> = pulled.refs.iter().map(|one| (one.pointer.as_str(), one.by.clone())).collect();
    assert_eq!(pointers, [("/categories/0", RefBy::Id("1".into())), ("/categories/1", RefBy::Id("3".into()))]);
    let mut known = Externals::default();
    known.records.insert(("category".into(), RecordId(5)), "50".into());
    let desired = object(&json!({ "categories": [5] }));
    assert_eq!(product.push(&desired, None, &known).unwrap(), json!({ "categories": [{ "id": "50" }] }));
    assert_eq!(update(&product, &json!({}), &["categories"]), json!({ "categories": [] }));

    let text =
        "key = 'sku'\n[fields]\ncategories = { from = 'family', pull = '[value]', each = { ref = 'category' } }\n";
    let pulled = mapping("product", text).pull(&json!({ "sku": "A", "family": "F1" })).unwrap();
    assert_eq!(pulled.refs[0].by, RefBy::Id("F1".into()));
    assert_eq!(Value::Object(pulled.fields), json!({ "categories": [0] }));
}

const VARIANTS: &str = "key = 'sku'\n[fields]\nsku = 'sku'\n\
    [fields.variants]\nfrom = 'variations'\n[fields.variants.each]\nid = 'id'\n[fields.variants.each.fields]\n\
    sku = 'code'\nweight = { from = 'kg', optional = true }\nname = { from = 'label', localized = 'es', optional = true }\n\
    barcode = { pull = 'root.sku + \"-\" + row.code' }\n";

#[test]
fn items_have_rules_of_their_own_and_their_ids_are_remembered() {
    let product = mapping("product", VARIANTS);
    let row = json!({ "sku": "P", "variations": [{ "id": 10, "code": "A", "kg": "1.50", "label": "Roja" }, { "id": 11, "code": "B" }] });
    let pulled = product.pull(&row).unwrap();
    assert_eq!(
        Value::Object(pulled.fields),
        json!({ "sku": "P", "variants": [
            { "sku": "A", "name": { "es": "Roja" }, "barcode": "P-A", "weight": "1.5" }, { "sku": "B", "barcode": "P-B" }
        ] })
    );
    assert_eq!(
        pulled.child_ids["variants"],
        BTreeMap::from([("A".into(), Some("10".into())), ("B".into(), Some("11".into()))])
    );

    let desired = json!({ "sku": "P", "variants": [{ "sku": "A", "weight": "2" }, { "sku": "C" }] });
    let part = |key: &str| ("product.variants".to_owned(), key.to_owned());
    assert_eq!(product.needs(&object(&desired)).own, BTreeSet::from([part("A"), part("C")]));
    let known = Externals { own: BTreeMap::from([(part("A"), "10".to_owned())]), ..Externals::default() };
    let only = BTreeSet::from(["variants".to_owned()]);
    assert_eq!(
        product.push(&object(&desired), Some(&only), &known).unwrap(),
        json!({ "variations": [{ "id": 10, "code": "A", "kg": "2", "label": null }, { "code": "C" }] }),
        "an item the target has is updated, a new one is made"
    );
    let failure =
        product.pull(&json!({ "sku": "P", "variations": [{ "id": 1, "code": "A", "kg": "x" }] })).unwrap_err();
    assert_eq!(failure.field.as_deref(), Some("variants[A].weight"));
    let failure = product.pull(&json!({ "sku": "P", "variations": [{ "id": 1 }] })).unwrap_err();
    assert_eq!(failure.field.as_deref(), Some("variants[0].sku"));
}

#[test]
fn objects_are_read_member_by_member() {
    let text = "key = 'n'\n[fields.billing]\nfrom = 'address'\n[fields.billing.fields]\ncity = 'town'\ncountry = { from = 'land', lookup = 'c' }\n\
        [fields.totals.fields]\ngross = 'total'\n[lookups.c]\nES = 'Spain'\n";
    let order = mapping("order", text);
    let row = json!({ "n": 1, "address": { "town": "Vigo", "land": "Spain" }, "total": 5 });
    let canonical = json!({ "billing": { "city": "Vigo", "country": "ES" }, "totals": { "gross": "5" } });
    assert_eq!(pull(&order, &row), canonical);
    assert_eq!(push(&order, &canonical), json!({ "address": { "town": "Vigo", "land": "Spain" }, "total": "5" }));
    assert_eq!(pull(&order, &json!({ "n": 1, "address": null, "total": 5 })), json!({ "totals": { "gross": "5" } }));
}

#[test]
fn a_part_is_sent_as_the_targets_id() {
    let text = "key = 'n'\n[fields.lines]\nfrom = 'lines'\n[fields.lines.each.fields]\nline = 'no'\nsku = { from = 'variant_id', part = 'product.variants' }\n";
    let order = mapping("order", text);
    assert_eq!(names(order.reads()), ["lines"]);
    let desired = object(&json!({ "lines": [{ "line": "1", "sku": "A" }] }));
    let part = ("product.variants".to_owned(), "A".to_owned());
    assert!(order.needs(&desired).child_ids.contains(&part));
    let failure = order.push(&desired, None, &Externals::default()).unwrap_err();
    assert_eq!(failure.cause.as_deref(), Some(&WaitReason::missing("product.variants", "A")));
    assert_eq!(failure.field.as_deref(), Some("lines[0].sku"));
    let known = Externals { child_ids: BTreeMap::from([(part, "9".into())]), ..Externals::default() };
    assert_eq!(order.push(&desired, None, &known).unwrap(), json!({ "lines": [{ "no": "1", "variant_id": "9" }] }));
}

#[test]
fn expressions_ask_for_ids_at_the_target_and_wait_for_those_it_lacks() {
    let text = "key = 'n'\n[fields]\nnumber = 'n'\n\
        customer = { push_to = 'party', push = 'integer(id_of(\"customer\", value))' }\n\
        lines = { push_to = 'lines', push = 'value.map(|l| #{ product: part_id(\"product.variants\", l.sku) })' }\n";
    let order = mapping("order", text);
    let desired = object(&json!({ "number": "1", "customer": 4, "lines": [{ "sku": "A" }] }));
    let mut known = Externals::default();
    known.keys.insert(("customer".into(), RecordId(4)), "C4".into());
    let failure = order.push(&desired, None, &known).unwrap_err();
    assert_eq!(
        (failure.class, failure.cause.as_deref()),
        (Class::Unmapped, Some(&WaitReason::missing("customer", "C4")))
    );
    known.records.insert(("customer".into(), RecordId(4)), "44".into());
    assert_eq!(
        order.push(&desired, None, &known).unwrap(),
        json!({ "n": "1", "party": 44, "lines": [{ "product": null }] })
    );
}

#[test]
fn a_field_that_became_absent_is_cleared_unless_its_rule_says_otherwise() {
    let text = "key = 'sku'\n[fields]\nbrand = 'brand'\nunit = { from = 'unit', clear = false }\n\
        tax = { from = 'tax', push = 'value ?? \"none\"', pull = 'value' }\ntags = 'tags'\n";
    let product = mapping("product", text);
    assert_eq!(push(&product, &json!({ "brand": null })), json!({}), "absent fields are not written on create");
    assert_eq!(
        update(&product, &json!({}), &["brand", "unit", "tax", "tags"]),
        json!({ "brand": null, "tax": "none", "tags": [] })
    );
    assert_eq!(update(&product, &json!({ "brand": "x" }), &[]), json!({}));
}

#[test]
fn a_push_may_leave_its_member_out_and_depends_on_what_it_names() {
    let text = "key = 'sku'\n[fields]\nbrand = { push_to = 'b', push = 'if value == \"x\" { omit } else { value + wanted.get(\"unit\") }' }\nunit = 'u'\n";
    let product = mapping("product", text);
    assert_eq!(push(&product, &json!({ "brand": "x", "unit": "kg" })), json!({ "u": "kg" }));
    assert_eq!(update(&product, &json!({ "brand": "y", "unit": "kg" }), &["unit"]), json!({ "b": "ykg", "u": "kg" }));
    assert_eq!(update(&product, &json!({ "brand": "y", "unit": "kg", "tax": "x" }), &["tax"]), json!({}));
}

#[test]
fn extra_members_are_sent_besides_the_fields() {
    let text = "key = 'sku'\n[fields]\nsku = 'sku'\nbrand = 'meta.brand'\n\
        [extra]\non_create = { type = 'simple', meta = { hub = '${key}' } }\nalways = { source = 'vaiven' }\n";
    let product = mapping("product", text);
    assert_eq!(
        push(&product, &json!({ "sku": "A", "brand": "x" })),
        json!({ "source": "vaiven", "type": "simple", "meta": { "hub": "A", "brand": "x" }, "sku": "A" })
    );
    assert_eq!(
        update(&product, &json!({ "sku": "A", "brand": "y" }), &["brand"]),
        json!({ "source": "vaiven", "meta": { "brand": "y" } })
    );
}

#[test]
fn times_without_a_zone_need_one() {
    let with = mapping("shipment", "key = 'n'\n[fields]\nshipped_at = { from = 'at', zone = 'Europe/Madrid' }\n");
    assert_eq!(
        pull(&with, &json!({ "n": 1, "at": "2026-07-01 10:00:00" })),
        json!({ "shipped_at": "2026-07-01T08:00:00Z" })
    );
    assert_eq!(pull(&with, &json!({ "n": 1, "at": "" })), json!({}));
    let without = mapping("shipment", "key = 'n'\n[fields]\nshipped_at = 'at'\n");
    let failure = without.pull(&json!({ "n": 1, "at": "2026-07-01 10:00:00" })).unwrap_err();
    assert!(failure.message.contains("without a zone"), "{failure}");
}

#[test]
fn values_are_sent_in_the_form_that_is_asked_for() {
    let text =
        "key = 'sku'\n[fields]\namount = { from = 'p', as = 'number' }\ncompare_at = { from = 'c', as = 'integer' }\n";
    let price = mapping("price", text);
    assert_eq!(push(&price, &json!({ "amount": "19.90", "compare_at": "20" })), json!({ "p": num("19.9"), "c": 20 }));
    let failure = price.push(&object(&json!({ "compare_at": "20.5" })), None, &Externals::default()).unwrap_err();
    assert_eq!((failure.class, failure.field.as_deref()), (Class::Rejected, Some("compare_at")));
}

#[test]
fn what_could_not_work_is_refused_at_load_with_its_place() {
    for (text, problem) in [
        ("key = 'sku'\n[fields]\nskuu = 'sku'\n", "m.toml:3:8: unknown field `skuu`, did you mean `sku`?"),
        ("key = 'sku'\n[fields]\nsku = { form = 'sku' }\n", "m.toml:3:9: unknown key `form`, did you mean `from`?"),
        ("key = 'sku'\n[field]\n", "m.toml:2:2: unknown key `field`, did you mean `fields`?"),
        (
            "key = 'sku'\n[fields]\nsku = { from = 'sku', pull = 'vale' }\n",
            "m.toml:3:31: unknown variable `vale`, did you mean `value`?",
        ),
        (
            "key = 'sku'\n[fields]\ntax = { from = 'tax', lookup = 'tx' }\n[lookups.tax]\n",
            "m.toml:3:32: unknown lookup `tx`, did you mean `tax`?",
        ),
        ("key = 'sku'\n[fields]\nsku = 'a + b'\n", "m.toml:3:7: `a + b` is no path"),
        (
            "key = 'sku'\n[fields]\ncategories = { from = 'c', each = { ref = 'product' } }\n",
            "refers to `category`, not to `product`",
        ),
        ("key = 'sku'\n[fields]\nsku = { ref = 'category', from = 'x' }\n", "`ref` is for fields of kind ref"),
        ("key = 'sku'\n[fields]\nsku = { push = 'value' }\n", "`push` needs `from` or `push_to`"),
        ("key = 'sku'\n[fields]\nsku = { optional = true }\n", "neither where it is read"),
        ("key = 'sku'\n[fields]\nname = { from = { es = 'x' } }\n", "goes with `localized = true`"),
        ("key = 'sku'\n[fields]\nname = { from = 'x', localized = 'spanish language' }\n", "is no language tag"),
        (
            "key = 'sku'\n[fields]\ntags = { from = 'x', each = { from = 'y', id = 'z' } }\n",
            "no key to be remembered by",
        ),
        ("key = 'sku'\n[fields]\nsku = { from = 'x', zone = 'Madrid' }\n", "unknown time zone"),
        ("key = 'sku' + \n", "m.toml:1:"),
    ] {
        let error = refused("product", text);
        assert!(error.contains(problem), "{text}\n{error}");
    }
    let several = refused("product", "key = 'sku'\n[fields]\nskuu = 'sku'\nnme = 'n'\n");
    assert_eq!(several.lines().count(), 2, "all problems are told at once: {several}");
}

#[test]
fn the_version_changes_with_all_that_shapes_an_object() {
    let text = "key = 'sku'\n[fields]\nsku = 'sku'\n";
    let version = |entity: &str, text: &str, settings: Value, lookups: Value| {
        load_with(entity, text, &settings, &lookups).unwrap().version()
    };
    let first = version("product", text, json!({}), json!({}));
    assert_eq!(first, version("product", text, json!({}), json!({})));
    for other in [
        version("product", &text.replace("'sku'\n", "'sku'  \n"), json!({}), json!({})),
        version("stock", text, json!({}), json!({})),
        version("product", text, json!({ "language": "es" }), json!({})),
        version("product", text, json!({}), json!({ "tax": { "a": 1 } })),
    ] {
        assert_ne!(first, other);
    }
}

#[test]
fn messages_never_show_values() {
    let text =
        "key = 'c'\n[fields]\nemail = 'email'\nlanguage = 'lang'\nname = { from = 'name', pull = 'decimal(value)' }\n";
    let customer = mapping("customer", text);
    for row in [
        json!({ "c": 1, "email": ["hunter2"], "lang": "es", "name": "1" }),
        json!({ "c": 1, "email": "x", "lang": "hunter2", "name": "1" }),
        json!({ "c": 1, "email": "x", "lang": "es", "name": "hunter2" }),
        json!({ "c": ["hunter2"], "email": "x", "lang": "es", "name": "1" }),
    ] {
        let failure = customer.pull(&row).unwrap_err();
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
        assert!(failure.field.is_some(), "{failure}");
    }
}

fn broad() -> Mapping {
    let text = "key = 'sku'\n[fields]\nsku = 'sku'\nname = { from = 'name', localized = 'es', optional = true }\n\
        tax = { from = 'code', lookup = 'tax', optional = true }\ntags = { from = 'line', optional = true }\n\
        categories = { from = 'amount', optional = true, each = { ref = 'category' } }\n\
        unit = { pull = 'text(row.get(\"es\") ?? 1)' }\n\
        [fields.variants]\nfrom = 'es'\noptional = true\n[fields.variants.each]\nid = 'code'\n[fields.variants.each.fields]\nsku = 'sku'\n\
        options = { from = 'es', optional = true }\n[lookups.tax]\nx = 1\n";
    mapping("product", text)
}

proptest! {
    #[test]
    fn no_row_makes_a_mapping_panic(
        members in prop::collection::vec(("(sku|name|es|code|amount|line)", crate::model::tests::any_json()), 0..6),
        only in prop::collection::btree_set("(sku|name|tax|variants)", 0..3),
    ) {
        let mapping = broad();
        let row = Value::Object(members.into_iter().collect());
        if let Ok(pulled) = mapping.pull(&row) {
            let _ = mapping.needs(&pulled.fields);
            let _ = mapping.push(&pulled.fields, None, &Externals::default());
            let _ = mapping.push(&pulled.fields, Some(&only), &Externals::default());
        }
        // Only canonical objects come to push, but it must not panic on others.
        let _ = mapping.push(row.as_object().unwrap(), Some(&only), &Externals::default());
        let _ = mapping.needs(row.as_object().unwrap());
    }
}

fn price_with(brought: &[&str]) -> Mapping {
    let text = include_str!("../../mappings/woocommerce/price.toml");
    let settings = json!({ "price_list": "retail", "currency": "EUR", "tax_included": true });
    let brought = brought.iter().map(|field| (*field).to_owned()).collect();
    let spec = Entities::builtin().get("price").unwrap().clone();
    let file = SourceFile::new("price.toml", text);
    Mapping::load_for(&file, &spec, settings.as_object().unwrap(), &Tables::new(), &brought).unwrap()
}

fn on_sale() -> Value {
    json!({ "sku": "A", "regular_price": "20", "sale_price": "18", "date_on_sale_from": "2027-02-01T00:00:00",
        "date_on_sale_to": "2027-02-10T23:59:59" })
}

#[test]
fn a_sale_that_no_flow_brings_is_the_shops_own_and_stays_out_of_every_write() {
    let price = price_with(&["sku", "amount", "list", "currency", "tax_included"]);
    let pulled = pull(&price, &on_sale());
    assert_eq!(
        (&pulled["amount"], &pulled["sale"]["amount"], pulled.get("compare_at")),
        (&json!("20"), &json!("18"), None)
    );
    assert_eq!(pulled["sale"]["valid_until"], "2027-02-10");
    assert_eq!(push(&price, &pulled), json!({ "sku": "A", "regular_price": "20" }));
    let here = object(&pulled);
    let misfits = price.misfits(&object(&json!({ "amount": "15" })), None, Some(&here));
    assert!(misfits[0].reason.as_deref().unwrap().contains("18"), "{misfits:?}");
    assert_eq!(price.misfits(&object(&json!({ "amount": "18" })), None, Some(&here)), []);
}

#[test]
fn a_reduction_with_its_days_goes_to_the_shop_as_a_sale_and_comes_back_as_it_was() {
    let price = price_with(&["sku", "amount", "compare_at", "valid_from", "valid_until"]);
    let desired = json!({ "sku": "A", "amount": "18", "compare_at": "20", "valid_from": "2027-02-01", "valid_until": "2027-02-10" });
    assert_eq!(push(&price, &desired), on_sale());
    let pulled = pull(&price, &on_sale());
    for field in ["amount", "compare_at", "valid_from", "valid_until"] {
        assert_eq!(pulled[field], desired[field], "{field}");
    }
    // A price that has only days has no place.
    let dated = object(&json!({ "amount": "7", "valid_from": "2027-06-01" }));
    assert_eq!(
        price.misfits(&dated, None, None).iter().map(|one| one.path.as_str()).collect::<Vec<_>>(),
        ["valid_from"]
    );
    let ended = update(&price, &json!({ "sku": "A", "amount": "20" }), &["amount", "compare_at", "valid_from"]);
    assert_eq!(ended, json!({ "regular_price": "20", "sale_price": "", "date_on_sale_from": "" }));
}

#[test]
fn what_a_mapping_has_no_place_for_is_named_by_path() {
    let target = mapping(
        "price",
        "key = 'sku'\n[fields]\nsku = 'sku'\nlist = { value = 'retail' }\n\
        amount = { from = 'p', push = 'in_euros(value, wanted.currency)', pull = 'value' }\n"
            .replace("in_euros(value, wanted.currency)", "if wanted.currency == \"EUR\" { value } else { value }")
            .as_str(),
    );
    let said = json!({ "list": "trade", "amount": "6", "currency": "USD", "group": "A", "breaks": [{ "minimum": "5", "amount": "5" }] });
    let misfits = target.misfits(&object(&said), None, None);
    let paths: Vec<&str> = misfits.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["list", "group", "breaks"], "the currency is converted by a rule that names it");
    assert_eq!((misfits[0].value.as_deref(), misfits[0].held.as_deref()), (Some("trade"), Some("retail")));
}

#[test]
fn a_constant_is_another_than_none_where_the_source_could_say_one() {
    let fixed = mapping("price", "key = 'sku'\n[fields]\nsku = 'sku'\namount = 'p'\ngroup = { value = 'vip' }\n");
    let naming =
        mapping("price", "key = 'sku'\n[fields]\nsku = 'sku'\namount = 'p'\ngroup = { from = 'g', optional = true }\n");
    let ignorant = mapping("price", "key = 'sku'\n[fields]\nsku = 'sku'\namount = 'p'\n");
    let everybodys = object(&json!({ "sku": "A", "amount": "9" }));
    let misfits = fixed.misfits(&everybodys, naming.names(), None);
    assert_eq!(misfits.iter().map(|one| (one.path.as_str(), one.empty)).collect::<Vec<_>>(), [("group", true)]);
    assert_eq!(misfits[0].held.as_deref(), Some("vip"));
    assert_eq!(fixed.misfits(&everybodys, ignorant.names(), None), [], "it says nothing of groups");
    let vip = object(&json!({ "sku": "A", "amount": "9", "group": "vip" }));
    assert_eq!(fixed.misfits(&vip, naming.names(), None), []);
    let none = mapping("price", "key = 'sku'\n[fields]\nsku = 'sku'\namount = 'p'\ngroup = { value = '' }\n");
    assert_eq!(none.misfits(&everybodys, naming.names(), None), []);
}

#[test]
fn desired_values_are_rounded_to_what_the_target_keeps_so_that_they_read_back_as_sent() {
    let target = mapping(
        "order",
        "key = 'n'\n[fields]\nnumber = 'n'\n[fields.totals]\nfrom = 't'\nprecision = 2\n[fields.lines]\nfrom = 'l'\n\
        [fields.lines.each.fields]\nsku = 's'\nunit_price = { from = 'p', precision = 2 }\nquantity = 'q'\n",
    );
    let mut desired = object(&json!({
        "totals": { "gross": "12.1050", "net": "-0.005" },
        "lines": [{ "line": "1", "sku": "A", "quantity": "0.3333", "unit_price": "3.3349" }],
    }));
    target.round(&mut desired);
    assert_eq!(desired["totals"], json!({ "gross": "12.11", "net": "-0.01" }), "halves go away from zero");
    let line = &desired["lines"][0];
    assert_eq!((&line["unit_price"], &line["quantity"]), (&json!("3.33"), &json!("0.3333")), "others stay");
}

#[test]
fn what_can_be_sold_is_rounded_down_where_the_target_has_no_fractions() {
    let fields = "key = 'sku'\n[fields]\nsku = 'sku'\nquantity = { from = 'q', precision = 0, round = 'down' }\n";
    let target = mapping("stock", fields);
    for (there, offered) in [("7.5", "7"), ("0.5", "0"), ("8", "8")] {
        let mut desired = object(&json!({ "sku": "CABLE", "quantity": there }));
        target.round(&mut desired);
        assert_eq!(desired["quantity"], offered);
    }
}

#[test]
fn a_single_child_is_a_list_of_one_where_a_list_is_read() {
    let product = mapping(
        "product",
        "key = 'sku'\n[fields]\nsku = 'sku'\nname = { from = 'n', localized = { language = 'l', value = 't' } }\n\
        [fields.variants]\nfrom = 'v'\n[fields.variants.each.fields]\nsku = 'ref'\n",
    );
    let row = json!({ "sku": "ONE", "n": { "l": "es", "t": "Uno" }, "v": { "ref": "ONE-1" } });
    let pulled = Value::Object(product.pull(&row).unwrap().fields);
    assert_eq!((&pulled["name"], &pulled["variants"]), (&json!({ "es": "Uno" }), &json!([{ "sku": "ONE-1" }])));
    let numbered = json!({ "sku": "ONE", "v": { "0": { "ref": "A" } } });
    assert!(product.pull(&numbered).is_err(), "that was a list, and is none any more");
}

#[test]
fn what_waits_at_the_system_for_somebody_is_named_by_the_mapping() {
    let text = "key = 'n'\n[fields]\nnumber = 'n'\nclosed = { from = 'c', pending = 'row.credit == \"draft\"' }\n";
    let order = mapping("order", text);
    let pending = |credit: &str| order.pull(&json!({ "n": "1", "c": null, "credit": credit })).unwrap().pending;
    assert_eq!((pending("draft").len(), pending("posted").len()), (1, 0));
}

#[test]
fn fields_that_a_target_lacks_are_listed_at_any_depth() {
    let source = mapping(
        "product",
        "key = 'sku'\n[fields]\nsku = 'sku'\nbrand = 'brand'\n[fields.variants]\nfrom = 'vs'\n\
        [fields.variants.each.fields]\nsku = 'sku'\nweight = 'kg'\nbarcode = 'ean'\n",
    );
    let target = mapping(
        "product",
        "key = 'sku'\n[fields]\nsku = 'sku'\n[fields.variants]\nfrom = 'vs'\n\
        [fields.variants.each.fields]\nsku = 'sku'\nbarcode = 'ean'\n",
    );
    let lacks = target.outline().lacks(&source.outline(), target.spec());
    assert_eq!(lacks, ["brand", "variants.weight"]);
}

#[test]
fn a_row_that_cannot_be_read_still_names_its_articles() {
    let text = "key = 'no'\n[fields]\nnumber = 'no'\n[fields.lines]\nfrom = 'items'\n[fields.lines.each.fields]\nline = 'id'\n\
                sku = { pull = 'row.get(\"sku\")' }\nquantity = { pull = 'decimal(row.quantity)' }\n";
    let order = mapping("order", text);
    let row = json!({"no": "1", "items": [{"id": "1", "sku": "A", "quantity": "two"}, {"id": "2", "sku": null}, {"id": "3", "sku": "B"}]});
    assert!(order.pull(&row).is_err());
    assert_eq!(order.named(&row).map(|skus| skus.into_iter().collect::<Vec<_>>()), Some(vec!["A".into(), "B".into()]));
    assert_eq!(order.named(&json!({"no": "1", "items": 7})), None, "that cannot be told");
    let blind = mapping("order", "key = 'no'\n[fields]\nnumber = 'no'\n");
    assert_eq!(blind.named(&row), Some(BTreeSet::new()), "it reads none");
}

#[test]
fn a_state_that_its_lookup_does_not_know_is_kept_and_not_sent() {
    let text = "key = 'no'\n[fields]\nnumber = 'no'\nstatus = { from = 'state', lookup = 'order_status' }\n\
                [lookups.order_status]\npaid = 'processing'\n";
    let order = mapping("order", text);
    assert_eq!(pull(&order, &json!({"no": "1", "state": "processing"}))["status"], "paid");
    assert_eq!(pull(&order, &json!({"no": "1", "state": "wc-packing"}))["status"], "wc-packing");
    assert_eq!(push(&order, &json!({"number": "1", "status": "paid"}))["state"], "processing");
    assert_eq!(push(&order, &json!({"number": "1", "status": "wc-packing"})).get("state"), None);
}

#[test]
fn what_others_have_put_beside_ours_stays_as_and_where_it_is() {
    let product = mapping(
        "product",
        "key = 'sku'\n[fields]\nsku = 'sku'\n[fields.options]\npull = 'row.attributes.filter(|a| a.variation).map(|a| a.name)'\n\
         push_to = 'attributes'\npush = '(value ?? []).map(|name| #{ name: name, variation: true })'\n\
         beside = { keep = '!item.variation', by = 'name' }\n",
    );
    let there = json!({ "attributes": [
        { "id": 3, "name": "Size", "variation": true, "visible": false },
        { "id": 0, "name": "Material", "variation": false },
        { "id": 9, "name": "Cut", "variation": true },
    ] });
    let known = Externals { there: Some(there), ..Externals::default() };
    let only = BTreeSet::from(["options".to_owned()]);
    assert!(product.looks(Some(&only)) && !product.looks(Some(&BTreeSet::from(["sku".to_owned()]))));
    let desired = object(&json!({ "sku": "P", "options": ["Colour", "Size"] }));
    let size = json!({ "id": 3, "name": "Size", "variation": true, "visible": false });
    let material = json!({ "id": 0, "name": "Material", "variation": false });
    assert_eq!(
        product.push(&desired, Some(&only), &known).unwrap(),
        json!({ "attributes": [size, material, { "name": "Colour", "variation": true }] }),
        "what is ours and not wanted any more goes"
    );
    let none = object(&json!({ "sku": "P" }));
    assert_eq!(product.push(&none, Some(&only), &known).unwrap(), json!({ "attributes": [material] }));
    assert_eq!(
        product.push(&desired, None, &Externals::default()).unwrap()["attributes"].as_array().unwrap().len(),
        2,
        "nothing is there before it is made"
    );
}

#[test]
fn what_stays_beside_is_sent_in_the_form_that_the_target_takes() {
    let product = mapping(
        "product",
        "key = 'sku'\n[fields]\nsku = 'sku'\ntags = { pull = 'row.labels.filter(|l| l.ours).map(|l| l.id)', push_to = 'labelIds', \
         push = 'value', beside = { from = 'labels', keep = '!item.ours', send = 'item.id' } }\n",
    );
    let there = json!({ "labels": [{ "id": "1", "ours": true }, { "id": "2", "ours": false }] });
    let known = Externals { there: Some(there), ..Externals::default() };
    let only = BTreeSet::from(["tags".to_owned()]);
    let body = product.push(&object(&json!({ "sku": "P", "tags": ["7"] })), Some(&only), &known).unwrap();
    assert_eq!(body, json!({ "labelIds": ["2", "7"] }));
}

#[test]
fn a_mapping_says_how_much_of_a_field_it_names() {
    let product = mapping(
        "product",
        "key = 'sku'\n[fields]\nsku = 'sku'\nname = { from = 'title', localized = 'es' }\n\
         description = { from = { es = 'text_es', en = 'text_en' }, localized = true }\n\
         [fields.variants]\nfrom = 'variants'\n[fields.variants.each.fields]\n\
         sku = 'sku'\nbarcode = { push_to = 'ean' }\nweight = { pull = 'row.grams' }\n",
    );
    let languages = |names: &[&str]| Shape::Languages(names.iter().map(|&name| name.to_owned()).collect());
    let item = |names: &[&str]| {
        let members = names.iter().map(|&name| (name.to_owned(), Shape::Whole)).collect();
        Shape::List(Box::new(Shape::Object(members)))
    };
    assert_eq!(product.read_shapes()["name"], languages(&["es"]));
    assert_eq!(product.written_shapes()["description"], languages(&["en", "es"]));
    assert_eq!(product.read_shapes()["variants"], item(&["sku", "weight"]));
    assert_eq!(product.written_shapes()["variants"], item(&["sku", "barcode"]));
    assert_eq!(product.read_shapes()["sku"], Shape::Whole);
}

#[test]
fn the_rest_of_a_refused_row_can_be_read_alone() {
    let customer =
        mapping("customer", "key = 'no'\n[fields]\nemail = 'mail'\nname = { pull = 'row.missing' }\nvat = 'vat'\n");
    let row = json!({ "no": 7, "mail": "ana@example.com", "vat": "B12345674" });
    assert!(customer.pull(&row).is_err());
    let glimpse = customer.glimpse(&row);
    assert_eq!((glimpse.key.as_deref(), names(&glimpse.unread)), (Some("7"), vec!["name"]));
    assert_eq!(Value::Object(glimpse.fields), json!({ "email": "ana@example.com", "vat": "B12345674" }));
    assert_eq!(customer.glimpse(&json!({})).key, None);
}

#[test]
fn the_place_of_a_field_is_found_however_deep_it_is() {
    let text = "key = 'sku'\n[fields]\nsku = 'sku'\n[fields.variants]\nfrom = 'sizes'\neach = { fields = { barcode = 'ean' } }\n";
    let product = mapping("product", text);
    let line = |field: &str| product.place(field).and_then(|place| place.split(':').nth(1).map(str::to_owned));
    assert_eq!(line("sku").as_deref(), Some("3"));
    assert_eq!(line("variants[3].barcode").as_deref(), Some("6"));
    assert_eq!(line("variants[3].unknown"), line("variants"), "the list stands for what it does not name");
    assert_eq!(line("brand"), None);
    let keyed = mapping("product", "key = 'code'\n[fields]\nname = { from = 'n', localized = 'es' }\n");
    assert_eq!(keyed.place("sku").and_then(|place| place.split(':').nth(1).map(str::to_owned)).as_deref(), Some("1"));
}

#[test]
fn a_file_with_thousands_of_problems_reports_a_hundred_and_counts_the_others() {
    let fields = (0..5000).map(|number| format!("nothing{number} = \"x\"\n")).collect::<Vec<_>>().concat();
    let message = refused("product", &format!("key = \"sku\"\n[fields]\n{fields}"));
    assert_eq!(message.lines().count(), 101, "{message}");
    let last = message.lines().last().unwrap();
    assert!(
        last.starts_with("m.toml:5002:") && last.ends_with("this is the last of 4900 more problems of this file"),
        "{last}"
    );
}
