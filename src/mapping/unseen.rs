//! Finds what a mapping reads and rows never have, for the check of a configuration against what a system really
//! shows.

use serde_json::Value;

use super::rule::{Convert, Item, Rule, Source};
use crate::{
    expr::{Path, Step},
    load::Place,
};

/// A member that a mapping reads and no row has, although some rows have everything above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Canonical field: `variants.barcode`.
    pub field: String,
    /// Path in the row, or in an item of a list.
    pub member: String,
    pub place: Place,
}

pub(super) fn unseen(rules: &[Rule], rows: &[&Value], at: &str, found: &mut Vec<Unseen>) {
    for rule in rules.iter().filter(|rule| rule.reads) {
        let field = if at.is_empty() { rule.name.clone() } else { format!("{at}.{}", rule.name) };
        for path in paths(rule).iter().filter(|path| is_lacking(path, rows)) {
            found.push(Unseen { field: field.clone(), member: path.to_string(), place: rule.place.clone() });
        }
        // What an expression reads of a value is not known.
        if rule.pull.is_some() {
            continue;
        }
        let values: Vec<&Value> = match &rule.source {
            Source::Path(path) => rows.iter().filter_map(|row| path.get(row).ok()).collect(),
            Source::Row => rows.to_vec(),
            Source::Languages(_) => continue,
        };
        match &rule.convert {
            Convert::Object(rules) => unseen(rules, &values, &field, found),
            Convert::Each(each) => {
                let items: Vec<&Value> =
                    values.iter().flat_map(|value| value.as_array().into_iter().flatten()).collect();
                match &each.item {
                    Item::One(one) => unseen(std::slice::from_ref(one), &items, at, found),
                    Item::Object(rules) => unseen(rules, &items, &field, found),
                }
            }
            _ => {}
        }
    }
}

/// The paths that a rule reads of a row, as far as they are known.
fn paths(rule: &Rule) -> Vec<Path> {
    match &rule.source {
        Source::Path(path) => vec![path.clone()],
        Source::Languages(paths) => paths.iter().map(|(_, path)| path.clone()).collect(),
        Source::Row => {
            let members = rule.pull.as_ref().and_then(|pull| pull.members("row")).unwrap_or_default();
            members.into_iter().map(|member| Path { steps: vec![Step::Member(member)] }).collect()
        }
    }
}

/// Whether rows have the parent of such a member, but none has the member.
fn is_lacking(path: &Path, rows: &[&Value]) -> bool {
    let mut lacking = false;
    for row in rows {
        let mut at = *row;
        let mut here = true;
        for step in &path.steps {
            let next = match (step, at) {
                (Step::Member(name), Value::Object(members)) => {
                    lacking |= !members.contains_key(name);
                    members.get(name)
                }
                (Step::Item(number), Value::Array(items)) => items.get(*number),
                _ => None,
            };
            let Some(next) = next else {
                here = false;
                break;
            };
            at = next;
        }
        if here {
            return false;
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::{
        load::SourceFile,
        mapping::{Mapping, Tables, Translate as _},
        model::Entities,
    };

    const PRODUCT: &str = r#"
key = "sku"
[fields]
sku   = "sku"
name  = { from = "texts.title", localized = "es", optional = true }
brand = { pull = "row.maker" }
[fields.variants]
from = "variants"
[fields.variants.each.fields]
sku     = "code"
barcode = { from = "ean", optional = true }
weight  = { from = "size.kg", optional = true }
"#;

    #[test]
    fn only_members_that_rows_show_they_could_have_are_unseen() {
        let spec = std::sync::Arc::clone(Entities::builtin().get("product").unwrap());
        let file = SourceFile::new("product.toml", PRODUCT);
        let mapping = Mapping::load(&file, &spec, &Map::new(), &Tables::new()).unwrap();
        let unseen_of = |rows: &[Value]| {
            let rows: Vec<&Value> = rows.iter().collect();
            let unseen = mapping.unseen(&rows);
            unseen.into_iter().map(|one| format!("{} {}", one.field, one.member)).collect::<Vec<_>>()
        };
        let row = |variant: Value| json!({ "sku": "A", "texts": null, "variants": [variant] });
        let rows = [row(json!({ "code": "A-1", "size": {} })), row(json!({ "code": "A-2", "size": null }))];
        assert_eq!(unseen_of(&rows), ["brand maker", "variants.barcode ean", "variants.weight size.kg"]);
        let one_has_it = row(json!({ "code": "A-3", "ean": null, "size": { "kg": 1 } }));
        assert_eq!(unseen_of(&[rows[0].clone(), one_has_it]), ["brand maker"]);
        assert!(unseen_of(&[]).is_empty(), "of nothing nothing can be told");
    }
}
