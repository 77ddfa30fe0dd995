use proptest::prelude::*;
use serde_json::json;

use super::{super::Entities, *};

fn proved(order: Value) -> Proved {
    let Value::Object(order) = order else { panic!("an object") };
    Entities::builtin().get("order").unwrap().prove(&order).unwrap()
}

/// An order whose lines are (quantity, unit price, total, tax rate).
fn order(included: bool, lines: &[(&str, &str, &str, &str)], rest: Value) -> Value {
    let lines: Vec<Value> = lines
        .iter()
        .enumerate()
        .map(|(index, (quantity, price, total, rate))| {
            json!({"line": (index + 1).to_string(), "quantity": quantity, "unit_price": price, "total": total, "tax_rate": rate})
        })
        .collect();
    let mut order = json!({"currency": "EUR", "tax_included": included, "lines": lines});
    for (name, value) in rest.as_object().unwrap() {
        order[name] = value.clone();
    }
    order
}

fn proven(order: Value) -> (Way, String) {
    match proved(order) {
        Proved::Proven(proof) => (proof.way, proof.rounding.to_string()),
        other => panic!("{other}"),
    }
}

fn unproven(order: Value) -> (String, String, String) {
    match proved(order) {
        Proved::Unproven(open) => (open.what, open.sum.to_string(), open.total.to_string()),
        other => panic!("{other}"),
    }
}

#[test]
fn an_order_is_proven_in_either_order_of_rounding() {
    // Three times 0.33 at 21 %: 0.07 each, or 0.2079 for the sum.
    let lines = [("1", "0.33", "0.33", "21"); 3];
    let by_line = order(false, &lines, json!({"totals": {"net": "0.99", "tax": "0.21", "gross": "1.2"}}));
    assert_eq!(proven(by_line), (Way::TaxPerLine, "0".into()));
    let lines = [("1", "0.37", "0.37", "21"); 4];
    // 0.0777 each is 0.08, four of them 0.32; for the sum of 1.48 it is 0.3108.
    for (gross, way) in [("1.8", Way::TaxPerLine), ("1.79", Way::TaxPerRate)] {
        assert_eq!(proven(order(false, &lines, json!({"totals": {"gross": gross}}))), (way, "0".into()));
    }
}

#[test]
fn a_total_with_tax_included_is_the_sum_of_its_lines_and_the_tax_is_checked_within() {
    let lines = [("2", "12.1", "24.2", "21"), ("1", "11", "11", "10")];
    let rest = json!({"shipping": {"amount": "6.05", "tax_rate": "21"}, "totals": {"net": "35", "tax": "6.25", "gross": "41.25"}});
    assert_eq!(proven(order(true, &lines, rest)), (Way::TaxPerLine, "0".into()));
    assert_eq!(proven(order(true, &lines, json!({"totals": {"gross": "35.2"}}))), (Way::TaxIncluded, "0".into()));
    let wrong = json!({"totals": {"net": "26", "tax": "9.2", "gross": "35.2"}});
    assert_eq!(unproven(order(true, &lines, wrong)), ("tax".into(), "5.2".into(), "9.2".into()));
}

#[test]
fn discounts_and_shipping_count_and_a_difference_shows_both_sums() {
    let lines = [("1", "100", "100", "21")];
    let rest = |gross: &str| {
        json!({"shipping": {"amount": "5"}, "discounts": [{"code": "verano", "amount": "10"}],
            "taxes": [{"rate": "21", "amount": "19.95"}], "totals": {"gross": gross}})
    };
    assert_eq!(proven(order(false, &lines, rest("114.95"))), (Way::TaxAsShown, "0".into()));
    let (what, sum, total) = unproven(order(false, &lines, rest("124.95")));
    assert_eq!((what.as_str(), sum.as_str(), total.as_str()), ("total", "114.95", "124.95"));
    let text = proved(order(false, &lines, rest("124.95"))).to_string();
    assert!(text.contains("114.95") && text.contains("124.95 EUR"), "{text}");
}

#[test]
fn a_rounding_difference_is_capped_by_line_and_in_all() {
    let gross = |lines: usize, gross: &str| {
        let lines = vec![("1", "10", "10", "0"); lines];
        proved(order(false, &lines, json!({"totals": {"gross": gross}})))
    };
    assert!(matches!(gross(1, "10.01"), Proved::Proven(proof) if proof.rounding.to_string() == "0.01"));
    assert!(matches!(gross(1, "10.02"), Proved::Unproven(_)), "one line, one cent");
    assert!(matches!(gross(9, "89.95"), Proved::Proven(_)));
    assert!(matches!(gross(9, "89.94"), Proved::Unproven(_)), "never more than 0.05");
}

#[test]
fn minor_units_are_those_of_the_currency() {
    let yen = |gross: &str| {
        let mut order =
            order(false, &[("1", "99", "99", "10"), ("1", "99", "99", "10")], json!({"totals": {"gross": gross}}));
        order["currency"] = "JPY".into();
        proved(order)
    };
    // 9.9 is 10 yen for each line; 19.8 is 20 for both.
    assert!(matches!(yen("218"), Proved::Proven(proof) if proof.rounding.is_zero()));
    assert!(matches!(yen("219"), Proved::Proven(_)) && matches!(yen("220"), Proved::Unproven(_)));
    let mut dinar = order(false, &[("1", "1.005", "1.005", "5")], json!({"totals": {"gross": "1.055"}}));
    dinar["currency"] = "KWD".into();
    assert_eq!(proven(dinar), (Way::TaxPerLine, "0".into()));
}

#[test]
fn a_line_whose_quantity_and_price_are_not_its_total_is_not_proven() {
    let lines = [("3", "10", "20", "0")];
    assert_eq!(
        unproven(order(false, &lines, json!({"totals": {"gross": "20"}}))),
        ("line 1".into(), "30".into(), "20".into())
    );
    // The difference comes from a price that was rounded to cents: 100 pieces at 1.2397.
    let lines = [("100", "1.24", "123.97", "0")];
    assert_eq!(proven(order(false, &lines, json!({"totals": {"gross": "123.97"}}))).1, "0");
}

#[test]
fn negative_lines_are_added_like_others() {
    let lines = [("1", "50", "50", "21"), ("-1", "20", "-20", "21")];
    assert_eq!(proven(order(false, &lines, json!({"totals": {"net": "30", "tax": "6.3", "gross": "36.3"}}))).1, "0");
}

#[test]
fn what_is_not_shown_is_never_invented() {
    let bare = json!({"currency": "EUR", "tax_included": false, "lines": [{"line": "1", "quantity": "1", "unit_price": "10"}]});
    assert_eq!(proved(bare.clone()), Proved::Lacks("total"));
    let mut no_tax = bare.clone();
    no_tax["totals"] = json!({"gross": "12.1"});
    assert_eq!(proved(no_tax.clone()), Proved::Lacks("tax"));
    no_tax["totals"]["net"] = "11".into();
    assert_eq!(unproven(no_tax).0, "total without tax");
    // A second tax on the same lines cannot be calculated from the first tax's rate: it counts as shown.
    let surcharge = json!({"taxes": [{"rate": "21", "amount": "21"}, {"rate": "5.2", "amount": "5.2"}],
        "totals": {"net": "100", "tax": "26.2", "gross": "126.2"}});
    assert_eq!(proven(order(false, &[("1", "100", "100", "21")], surcharge)), (Way::TaxAsShown, "0".into()));
}

#[test]
fn a_tax_that_is_not_its_rate_of_its_base_is_not_proven() {
    let rest = json!({"taxes": [{"rate": "21", "base": "100", "amount": "12"}], "totals": {"gross": "112"}});
    assert_eq!(unproven(order(false, &[("1", "100", "100", "21")], rest)).0, "tax at 21 %");
}

proptest! {
    #[test]
    fn no_amounts_make_a_proof_panic(
        amounts in prop::collection::vec(("-?[0-9]{1,20}(\\.[0-9]{1,8})?", "[0-9]{1,15}", "-?[0-9]{1,15}\\.[0-9]{2}", "[0-9]{1,6}"), 1..5),
        gross in "-?[0-9]{1,15}(\\.[0-9]{1,4})?", included in any::<bool>(),
    ) {
        let lines: Vec<_> = amounts.iter().map(|(a, b, c, d)| (a.as_str(), b.as_str(), c.as_str(), d.as_str())).collect();
        let rest = json!({"taxes": [{"rate": amounts[0].3, "base": amounts[0].2, "amount": gross}], "totals": {"gross": gross}});
        let _ = proved(order(included, &lines, rest.clone()));
        let mut without = order(included, &lines, rest);
        for line in without["lines"].as_array_mut().unwrap() {
            line.as_object_mut().unwrap().remove("total");
        }
        let _ = proved(without);
    }
}
