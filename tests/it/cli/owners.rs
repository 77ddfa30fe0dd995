//! What `check` refuses to leave open: whose value counts.

use super::{CONFIG, said};

const SHOP: &str = r#"
[systems.erp]
adapter = "ferreteria-erp"
file = "erp.db"

[systems.erp2]
adapter = "ferreteria-erp"
file = "erp2.db"

[systems.shop]
adapter = "woocommerce"
url = "http://127.0.0.1:1"
key = { env = "K" }
secret = { env = "K" }

[flows.first]
entities = ["product"]
from = "erp"
to = ["shop"]

[flows.second]
entities = ["product"]
from = "erp2"
to = ["shop"]
"#;

/// What `check` says, without the frame and the line breaks of its messages.
fn checked(config: &str) -> String {
    let said = said(config, &["check", "--offline"], &[("K", "k")]);
    let (code, rest) = said.split_once('\n').unwrap();
    format!("{code}\n{}", rest.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" "))
}

#[test]
fn two_systems_that_bring_the_same_fields_of_an_article_to_one_target_are_refused() {
    let said = checked(SHOP);
    assert!(said.starts_with("exit 78\n"), "{said}");
    assert!(said.contains("vaiven.toml:21:8"), "{said}");
    assert!(said.contains("of product from two systems: erp (flow first) and erp2 (flow second)"), "{said}");
    assert!(said.contains("owners = { \"product."), "{said}");
}

#[test]
fn what_an_owner_or_a_filter_keeps_apart_may_come_from_two_systems() {
    let owned = format!("{SHOP}owners = {{ product = \"erp2\" }}\n");
    assert!(checked(&owned).starts_with("exit 0\n"), "{}", checked(&owned));
    let apart =
        SHOP.replace("\n[flows.second]", "where = 'brand == \"A\"'\n[flows.second]") + "where = 'brand == \"B\"'\n";
    assert!(checked(&apart).starts_with("exit 0\n"), "{}", checked(&apart));
    let limited = SHOP.replace("\n[flows.second]", "fields = { product = [\"name\"] }\n[flows.second]")
        + "fields = { product = [\"tags\"] }\n";
    assert!(checked(&limited).starts_with("exit 0\n"), "{}", checked(&limited));
}

#[test]
fn a_field_that_goes_both_ways_needs_a_word_on_whose_it_is() {
    let back = format!("{CONFIG}\n[flows.back]\nentities = [\"customer\"]\nfrom = \"copy\"\nto = [\"erp\"]\n");
    let said = checked(&back);
    assert!(said.starts_with("exit 1\n"), "{said}");
    assert!(said.contains("go both ways between erp and copy (flows customers and back)"), "{said}");
    assert!(said.contains("owners = { customer = \"erp\" }"), "{said}");
    let owned = format!("{back}owners = {{ customer = \"erp\", \"customer.phone\" = \"copy\" }}\n");
    assert!(checked(&owned).starts_with("exit 0\n"), "{}", checked(&owned));
}

/// Two shops that sell into one ERP.
fn two_shops(settings: &str) -> String {
    let shop = |name: &str| {
        format!(
            "[systems.{name}]\nadapter = \"woocommerce\"\nurl = \"http://127.0.0.1:1\"\nkey = {{ env = \"K\" }}\n\
             secret = {{ env = \"K\" }}\n"
        )
    };
    let sales = |name: &str| {
        format!("[flows.{name}]\nentities = [\"customer\", \"order\"]\nfrom = \"{name}\"\nto = [\"erp\"]\n")
    };
    let erp = "[systems.erp]\nadapter = \"ferreteria-erp\"\nfile = \"erp.db\"\n";
    format!("{erp}{}{}{settings}{}{}", shop("first"), shop("second"), sales("first"), sales("second"))
}

#[test]
fn numbers_of_two_shops_that_meet_in_one_erp_without_a_prefix_are_refused_and_the_setting_is_named() {
    let said = checked(&two_shops(""));
    assert!(said.starts_with("exit 1\n"), "{said}");
    for setting in ["order_prefix", "code_prefix"] {
        assert!(said.contains(&format!("give one of them a prefix: [systems.second] {setting} = ")), "{said}");
    }
    assert!(said.contains("first and second both number their orders by themselves"), "{said}");
    let marked = checked(&two_shops("order_prefix = \"B-\"\ncode_prefix = \"b-\"\n"));
    assert!(marked.starts_with("exit 0\n"), "{marked}");
}

#[test]
fn prefixes_are_refused_behind_which_one_number_may_be_that_of_two_shops() {
    let with = |first: &str, second: &str| {
        let first = format!("[systems.first]\norder_prefix = \"{first}\"");
        let other = two_shops(&format!("order_prefix = \"{second}\"\ncode_prefix = \"b-\"\n"));
        checked(&other.replacen("[systems.first]", &first, 1))
    };
    for (first, second) in [("", "1"), ("1", ""), ("A", "A1"), ("A", "a"), ("w-2", "W-")] {
        let said = with(first, second);
        assert!(said.starts_with("exit 1\n"), "{first:?} {second:?}: {said}");
        let quoted = |prefix: &str| if prefix.is_empty() { "none".to_owned() } else { format!("`{prefix}`") };
        assert!(said.contains(&format!("which are {} and {}", quoted(first), quoted(second))), "{said}");
        assert!(said.contains("[systems.second] order_prefix = "), "{said}");
    }
    for (first, second) in [("A", "B"), ("A", "A-"), ("w-", "w-2-"), ("A1", "A2")] {
        let said = with(first, second);
        assert!(said.starts_with("exit 0\n"), "{first:?} {second:?}: {said}");
    }
}
