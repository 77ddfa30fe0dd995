//! Compares both sides. Reads the ERP's database, the files it dropped and the shop's database with plain SQL and
//! plain parsers. It uses nothing of adapters, mappings or the engine, because their mistakes must show here.

mod company;
mod files;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Context as _;
use serde::Serialize;
use sqlx::SqliteConnection;

/// Facts of one kind, by key. Equal texts are equal facts.
pub type Facts = BTreeMap<String, String>;

/// Maximum number of differences shown per kind. The counts are always complete.
const SHOWN: usize = 5;

/// One side: kind to its facts. Both sides have the same kinds.
#[derive(Clone, Debug, Default)]
pub struct Side {
    pub kinds: BTreeMap<&'static str, Facts>,
}

impl Side {
    pub fn put(&mut self, kind: &'static str, key: String, fact: String) {
        self.kinds.entry(kind).or_default().insert(key, fact);
    }
}

/// Kinds in the order of the table.
const KINDS: [&str; 12] = [
    "categories",
    "products",
    "texts",
    "variants",
    "prices",
    "stock",
    "customers",
    "orders",
    "order lines",
    "order status",
    "shipments",
    "invoices",
];

/// One line of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    pub entity: String,
    pub erp: usize,
    pub shop: usize,
    pub equal: usize,
    pub different: usize,
    /// Number of facts that only one side has.
    pub missing: usize,
    /// The first differences, in words.
    pub examples: Vec<String>,
}

/// Result of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    pub lines: Vec<Line>,
    /// Objects that exist twice on one side.
    pub duplicates: Vec<String>,
}

impl Comparison {
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.duplicates.is_empty() && self.lines.iter().all(|line| line.different == 0 && line.missing == 0)
    }
}

/// Compare the ERP and its files with the shop.
///
/// # Errors
/// If one of them cannot be read.
pub async fn compare(
    erp: &mut SqliteConnection,
    drop: &Path,
    shop: &mut SqliteConnection,
) -> anyhow::Result<Comparison> {
    let mut duplicates = Vec::new();
    let mut left = company::read(erp, &mut duplicates).await.context("cannot read the ERP's database")?;
    let on_sale: BTreeSet<String> = left.kinds.get("variants").into_iter().flat_map(BTreeMap::keys).cloned().collect();
    files::read(drop, &on_sale, &mut left).context("cannot read the files the ERP dropped")?;
    let right = store::read(shop, &mut duplicates).await.context("cannot read the shop's database")?;
    Ok(Comparison { lines: KINDS.iter().map(|kind| line(kind, &left, &right)).collect(), duplicates })
}

fn line(kind: &'static str, left: &Side, right: &Side) -> Line {
    let none = Facts::new();
    let (left, right) = (left.kinds.get(kind).unwrap_or(&none), right.kinds.get(kind).unwrap_or(&none));
    let mut line = Line { entity: kind.to_owned(), erp: left.len(), shop: right.len(), ..Line::default() };
    let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for key in keys {
        let example = match (left.get(key), right.get(key)) {
            (Some(erp), Some(shop)) if erp == shop => {
                line.equal += 1;
                continue;
            }
            (Some(erp), Some(shop)) => {
                line.different += 1;
                format!("{key}: ERP {erp} | shop {shop}")
            }
            (Some(erp), None) => {
                line.missing += 1;
                format!("{key}: not in the shop; ERP {erp}")
            }
            (None, shop) => {
                line.missing += 1;
                format!("{key}: not in the ERP; shop {}", shop.map_or("", String::as_str))
            }
        };
        if line.examples.len() < SHOWN {
            line.examples.push(example);
        }
    }
    line
}

/// A number without superfluous zeros. A text that is not a number stays as it is.
fn number(text: &str) -> String {
    text.trim()
        .parse::<rust_decimal::Decimal>()
        .map_or_else(|_| text.to_owned(), |number| number.normalize().to_string())
}

/// A text as people see it: the shop keeps `&` as `&amp;` and may trim.
fn seen(text: &str) -> String {
    text.replace("&amp;", "&").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(facts: &[(&str, &str)]) -> Side {
        let mut side = Side::default();
        for (key, fact) in facts {
            side.put("prices", (*key).into(), (*fact).into());
        }
        side
    }

    #[test]
    fn what_differs_and_what_is_missing_on_either_side_is_counted_apart() {
        let found =
            line("prices", &side(&[("A", "1"), ("B", "2"), ("C", "3")]), &side(&[("A", "1"), ("B", "9"), ("D", "4")]));
        assert_eq!((found.erp, found.shop, found.equal, found.different, found.missing), (3, 3, 1, 1, 2));
        assert_eq!(found.examples[0], "B: ERP 2 | shop 9");
    }

    #[test]
    fn a_duplicate_order_is_never_equal() {
        let mut found = Comparison::default();
        assert!(found.is_equal());
        found.duplicates.push("order 17 is in the ERP 2 times".into());
        assert!(!found.is_equal());
    }
}
