//! `vaiven mapping test`: whether what a mapping writes is read back as what was wanted.
//!
//! Fixture rows are pulled, pushed over themselves and pulled again; then values made up for each field go the same way.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Externals, Fields, Mapping, Pulled, RefBy, Translate,
    rule::{Convert, Item, Rule, Source},
};
use crate::{
    env::Entropy,
    failure::Failure,
    model::{self, FieldSpec, Kind},
};

/// What a test of a mapping found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Fixture rows that were tried.
    pub rows: usize,
    /// Made-up objects that were tried.
    pub made: usize,
    /// Fields that are declared both ways, and so were compared.
    pub compared: Vec<String>,
    pub findings: Vec<Finding>,
}

/// One thing that is not right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `row 3`, `made 12`
    pub case: String,
    pub field: Option<String>,
    pub problem: String,
}

/// Tries `rows`, and `made` objects of made-up values over the first of them.
pub fn check(mapping: &Mapping, rows: &[Value], made: usize, entropy: &dyn Entropy) -> Report {
    let both = mapping.both_ways();
    let mut report = Report { compared: both.iter().cloned().collect(), ..Report::default() };
    for (index, row) in rows.iter().enumerate() {
        report.rows += 1;
        let case = format!("row {}", index + 1);
        let mut ids = Ids::default();
        match mapping.pull(row).map(|pulled| ids.resolved(pulled)) {
            Ok(pulled) => report.findings.extend(there_and_back(mapping, &pulled, row, &mut ids, &case)),
            Err(failure) => report.findings.push(finding(&case, &failure)),
        }
    }
    if both.is_empty() {
        return report;
    }
    let ground = rows.first().cloned().unwrap_or_else(|| json!({}));
    for index in 0..made {
        report.made += 1;
        let fields = Maker { entropy }.object(mapping, &both);
        let case = format!("made {}", index + 1);
        report.findings.extend(there_and_back(mapping, &fields, &ground, &mut Ids::default(), &case));
    }
    report
}

fn finding(case: &str, failure: &Failure) -> Finding {
    Finding { case: case.to_owned(), field: failure.field.clone(), problem: failure.message.clone() }
}

/// Writes an object over a row and reads it back; tells what came back otherwise.
fn there_and_back(mapping: &Mapping, wanted: &Fields, row: &Value, ids: &mut Ids, case: &str) -> Vec<Finding> {
    let known = ids.externals(mapping, wanted);
    let body = match mapping.push(wanted, None, &known) {
        Ok(body) => body,
        Err(failure) => return vec![finding(case, &failure)],
    };
    let mut stored = row.clone();
    lay_over(&mut stored, body);
    let back = match mapping.pull(&stored) {
        Ok(pulled) => ids.resolved(pulled),
        Err(mut failure) => {
            failure.message = format!("what is written cannot be read back: {}", failure.message);
            return vec![finding(case, &failure)];
        }
    };
    let mut findings = Vec::new();
    for field in mapping.both_ways() {
        let Some(sent) = wanted.get(&field) else { continue };
        let problem = match back.get(&field) {
            Some(read) if shows(read, sent) => continue,
            Some(_) => "is read back as something else than was written",
            None => "is written, but not read back",
        };
        findings.push(Finding { case: case.to_owned(), field: Some(field), problem: problem.to_owned() });
    }
    findings
}

/// Whether all that was sent is there; members that are only read may be there besides.
fn shows(read: &Value, sent: &Value) -> bool {
    match (read, sent) {
        (Value::Object(read), Value::Object(sent)) => {
            sent.iter().all(|(name, sent)| read.get(name).is_some_and(|read| shows(read, sent)))
        }
        (Value::Array(read), Value::Array(sent)) => {
            read.len() == sent.len() && read.iter().zip(sent).all(|(read, sent)| shows(read, sent))
        }
        _ => read == sent,
    }
}

/// What a system that stores what it is sent would hold: members over members, items over items of the same place.
fn lay_over(stored: &mut Value, body: Value) {
    match (stored, body) {
        (Value::Object(stored), Value::Object(body)) => {
            for (name, member) in body {
                lay_over(stored.entry(name).or_insert(Value::Null), member);
            }
        }
        (Value::Array(stored), Value::Array(body)) => {
            stored.truncate(body.len());
            for (index, item) in body.into_iter().enumerate() {
                match stored.get_mut(index) {
                    Some(stored) => lay_over(stored, item),
                    None => stored.push(item),
                }
            }
        }
        (stored, body) => *stored = body,
    }
}

/// Stands in for the store: gives every reference a record number and every part an id.
#[derive(Default)]
struct Ids {
    records: BTreeMap<(String, RefBy), i64>,
    parts: BTreeMap<(String, String), String>,
}

impl Ids {
    fn resolved(&mut self, pulled: Pulled) -> Fields {
        let mut whole = Value::Object(pulled.fields);
        for reference in pulled.refs {
            let next = i64::try_from(self.records.len()).unwrap_or(i64::MAX).saturating_add(1000);
            let number = *self.records.entry((reference.entity, reference.by)).or_insert(next);
            if let Some(slot) = whole.pointer_mut(&reference.pointer) {
                *slot = Value::from(number);
            }
        }
        for (list, ids) in pulled.child_ids {
            let ids = ids.into_iter().filter_map(|(key, id)| Some(((list.clone(), key), id?)));
            self.parts.extend(ids);
        }
        match whole {
            Value::Object(fields) => fields,
            _ => Fields::new(),
        }
    }

    fn externals(&mut self, mapping: &Mapping, wanted: &Fields) -> Externals {
        let needs = mapping.needs(wanted);
        let mut known = Externals::default();
        for (entity, record) in needs.records {
            let place = (entity.clone(), record);
            let by = self
                .records
                .iter()
                .find(|((of, _), number)| *of == entity && **number == record)
                .map(|((_, by), _)| by);
            let (RefBy::Id(text) | RefBy::Key(text)) = by.cloned().unwrap_or_else(|| {
                // A made-up record is called by its number, as id and as key.
                for by in [RefBy::Id(record.to_string()), RefBy::Key(record.to_string())] {
                    self.records.insert((entity.clone(), by), record);
                }
                RefBy::Id(record.to_string())
            });
            known.records.insert(place.clone(), text.clone());
            known.keys.insert(place, text);
        }
        for (list, key) in needs.child_ids.iter().chain(&needs.own).cloned() {
            let short = list.rsplit('.').next().unwrap_or_default().to_owned();
            let next = (self.parts.len() + 1).to_string();
            let id = self.parts.entry((short, key.clone())).or_insert(next).clone();
            known.child_ids.insert((list, key), id);
        }
        known.own.clone_from(&known.child_ids);
        known
    }
}

struct Maker<'a> {
    entropy: &'a dyn Entropy,
}

impl Maker<'_> {
    fn below(&self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(1);
        usize::try_from(self.entropy.next_u64() % limit).unwrap_or(0)
    }

    fn object(&self, mapping: &Mapping, both: &std::collections::BTreeSet<String>) -> Fields {
        let spec = mapping.spec();
        let mut fields = Fields::new();
        for rule in mapping.rules().iter().filter(|rule| both.contains(&rule.name)) {
            if let Some(field) = spec.fields.get(&rule.name) {
                fields.insert(rule.name.clone(), self.ruled(rule, field));
            }
        }
        // Made-up values are canonical; what normalising drops (an empty list) was never wanted.
        let _ = model::normalize(spec, &mut fields);
        fields
    }

    /// A value that the rule can say: of its languages, of its lookup.
    fn ruled(&self, rule: &Rule, spec: &FieldSpec) -> Value {
        if let Source::Languages(paths) = &rule.source {
            return paths.iter().map(|(language, _)| (language.clone(), self.text())).collect::<Map<_, _>>().into();
        }
        match &rule.convert {
            Convert::Language(language) => json!({ language.as_str(): self.text() }),
            Convert::Lookup(lookup) => {
                let known = lookup.two_way();
                known.get(self.below(known.len())).map_or(Value::Null, |value| Value::from(*value))
            }
            Convert::Object(rules) => self.members(rules, spec),
            Convert::Each(each) => {
                let Some(of) = spec.of.as_deref() else { return Value::Null };
                let count = 1 + self.below(3);
                let items = (0..count).map(|_| match &each.item {
                    Item::One(rule) => self.ruled(rule, of),
                    Item::Object(rules) => self.members(rules, of),
                });
                self.told_apart(items.collect(), spec)
            }
            _ => self.value(spec),
        }
    }

    fn members(&self, rules: &[Rule], spec: &FieldSpec) -> Value {
        let both = rules.iter().filter(|rule| rule.reads && rule.writes);
        let members = both
            .filter_map(|rule| spec.fields.get(&rule.name).map(|field| (rule.name.clone(), self.ruled(rule, field))));
        Value::Object(members.collect())
    }

    /// Items with keys of their own; those of lookups that ran out are dropped.
    fn told_apart(&self, items: Vec<Value>, spec: &FieldSpec) -> Value {
        let Some(key) = &spec.key else { return Value::Array(items) };
        let mut seen = std::collections::BTreeSet::new();
        items.into_iter().filter(|item| item.get(key).is_some_and(|key| seen.insert(key.to_string()))).collect()
    }

    fn value(&self, spec: &FieldSpec) -> Value {
        let pick = |choices: &[&str]| Value::from(choices[self.below(choices.len())]);
        match spec.kind {
            Kind::Text => self.text(),
            Kind::Localized => json!({ "es": self.text(), "en": self.text() }),
            Kind::Decimal | Kind::Money => pick(&["0", "1", "19.99", "0.005", "-3.5", "1234567.891", "100"]),
            Kind::Integer => Value::from(self.below(1000)),
            Kind::Ref => Value::from(1 + self.below(5)),
            Kind::Boolean => Value::from(self.below(2) == 0),
            Kind::Date => pick(&["2026-03-01", "2024-02-29", "1999-12-31"]),
            Kind::Datetime => pick(&["2026-03-01T09:30:00Z", "2026-10-25T00:30:00Z", "2026-07-01T23:59:59Z"]),
            Kind::Currency => pick(&["EUR", "USD", "JPY"]),
            Kind::Country => pick(&["ES", "PT", "DE"]),
            Kind::Language => pick(&["es", "en", "pt-BR"]),
            Kind::Url => pick(&["https://example.com/a.png", "https://example.com/b?x=1&y=2"]),
            Kind::Choice => {
                spec.choices.get(self.below(spec.choices.len())).map_or(Value::Null, |one| one.as_str().into())
            }
            Kind::List => {
                let Some(of) = spec.of.as_deref() else { return Value::Null };
                let items = (0..=self.below(3)).map(|_| self.value(of)).collect();
                self.told_apart(items, spec)
            }
            Kind::Object => {
                Value::Object(spec.fields.iter().map(|(name, field)| (name.clone(), self.value(field))).collect())
            }
            Kind::Map => {
                let value = spec.of.as_deref().map_or(Value::Null, |of| self.value(of));
                json!({ "Colour": value })
            }
        }
    }

    fn text(&self) -> Value {
        const TEXTS: [&str; 8] =
            ["A-1", "Silla ñandú", "5 & 6 <b>x</b>", "\"quoted\" 'text'", "007", "true", "línea\notra", "a/b?c=d;e"];
        Value::from(format!("{} {}", TEXTS[self.below(TEXTS.len())], self.below(1000)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{load::SourceFile, model::Entities};

    #[derive(Debug)]
    struct Counting(AtomicU64);

    impl Entropy for Counting {
        fn next_u64(&self) -> u64 {
            self.0.fetch_add(7919, Ordering::Relaxed) >> 3
        }
    }

    fn report(entity: &str, text: &str, rows: &[Value]) -> Report {
        let spec = Entities::builtin().get(entity).unwrap().clone();
        let mapping =
            Mapping::load(&SourceFile::new("m.toml", text), &spec, &Map::new(), &super::super::Tables::new()).unwrap();
        check(&mapping, rows, 50, &Counting(AtomicU64::new(1)))
    }

    const GOOD: &str = "key = 'sku'\n[fields]\nsku = 'sku'\nname = { from = 'name', localized = 'es' }\n\
        active = { from = 'status', pull = 'value == \"on\"', push = 'if value { \"on\" } else { \"off\" }' }\n\
        tax = { from = 'tax', lookup = 'tax' }\n\
        categories = { from = 'cats', each = { from = 'id', ref = 'category' } }\n\
        [fields.variants]\nfrom = 'vs'\n[fields.variants.each]\nid = 'id'\n[fields.variants.each.fields]\n\
        sku = 'code'\nweight = { from = 'kg', as = 'number' }\nbarcode = { pull = 'row.get(\"ean\")' }\n\
        [lookups.tax]\ngeneral = 21\nreduced = 10\nold = 10\n";

    #[test]
    fn a_mapping_that_reads_what_it_writes_has_no_findings() {
        let row = json!({ "sku": "A", "name": "x", "status": "on", "tax": 21, "cats": [{ "id": 4 }],
            "vs": [{ "id": 9, "code": "A", "kg": "1.5", "ean": "1" }] });
        let report = report("product", GOOD, &[row]);
        assert_eq!(report.findings, []);
        assert_eq!((report.rows, report.made), (1, 50));
        assert_eq!(report.compared, ["active", "categories", "name", "sku", "tax", "variants"].map(str::to_owned));
    }

    #[test]
    fn a_field_that_comes_back_different_is_told() {
        let text =
            "key = 'sku'\n[fields]\nsku = 'sku'\namount = { from = 'p', pull = 'cents(value)', push = 'value' }\n";
        let report = report("price", text, &[json!({ "sku": "A", "p": "2" })]);
        assert_eq!(report.findings[0].field.as_deref(), Some("amount"));
        assert!(report.findings.iter().any(|one| one.case == "row 1"), "{:?}", report.findings);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_told_with_its_field() {
        let report = report("product", "key = 'sku'\n[fields]\nsku = 'sku'\nunit = 'u'\n", &[json!({ "sku": "A" })]);
        assert_eq!(report.findings[0].field.as_deref(), Some("unit"));
    }
}
