//! `vaiven mapping test`: tests mappings on recorded rows. Pulling, pushing and pulling again must give the same
//! object.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Ending, app,
    args::Global,
    output::{self, Output},
};
use crate::{
    adapter::{Given, Registry, SettingValue},
    load::{Place, SourceFile},
    mapping::{Externals, Fields, Mapping, Pulled, RefBy, Tables, Translate as _},
    model::{self, Entities, proof::Proved},
    store::RecordId,
};

/// Folder of recorded rows: `<adapter>/<entity>.json`.
const ROWS: &str = "fixtures/rows";

/// A file of recorded rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    /// The adapter's settings that the mapping uses.
    #[serde(default)]
    settings: IndexMap<String, Value>,
    /// Lookups of the configuration.
    #[serde(default)]
    lookups: Tables,
    /// Fields that are mapped both ways, but that a written object cannot show in the shape in which it is read.
    #[serde(default)]
    one_way: Vec<String>,
    rows: Vec<Case>,
}

/// A row as a listing gives it, and the expected result.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    row: Value,
    /// The expected canonical fields, with references as `entity/id`.
    canonical: Option<Value>,
}

#[derive(Serialize)]
struct Tested {
    mapping: String,
    rows: usize,
    problems: Vec<String>,
    /// Whether there are no recorded rows.
    untested: bool,
}

pub fn test_all(names: &[String], global: &Global, output: Output) -> anyhow::Result<Ending> {
    let (registry, entities) = (app::registry(global)?, app::entities(global)?);
    let mut tested = Vec::new();
    for adapter in registry.list().into_keys() {
        for entity in registry.mapped(&adapter) {
            let name = format!("{adapter}/{entity}");
            if names.is_empty() || names.contains(&adapter) || names.contains(&name) {
                tested.push(test(&adapter, &entity, &registry, &entities).with_context(|| format!("mapping {name}"))?);
            }
        }
    }
    if tested.is_empty() && !names.is_empty() {
        bail!("there is no mapping {}; name an adapter or adapter/entity", names.join(", "));
    }
    output.show(&tested, |tested| text(tested))?;
    let failed = tested.iter().any(|mapping| !mapping.problems.is_empty());
    Ok(if failed { Ending::Failed } else { Ending::Fine })
}

fn text(tested: &[Tested]) -> String {
    let rows = tested.iter().map(|mapping| {
        let result = match (mapping.problems.is_empty(), mapping.untested) {
            (false, _) => mapping.problems.join("\n"),
            (true, true) => "loads; no recorded rows".to_owned(),
            (true, false) => "ok".to_owned(),
        };
        [mapping.mapping.clone(), mapping.rows.to_string(), result]
    });
    let failed = tested.iter().filter(|mapping| !mapping.problems.is_empty()).count();
    let untested = tested.iter().filter(|mapping| mapping.problems.is_empty() && mapping.untested).count();
    let table = output::table(["mapping", "rows", "result"], rows);
    let count = format!("{} passed, {failed} failed", tested.len() - failed - untested);
    // What was not tested has not passed.
    if untested == 0 { format!("{table}\n\n{count}") } else { format!("{table}\n\n{untested} without rows\n{count}") }
}

fn test(adapter: &str, entity: &str, registry: &Registry, entities: &Entities) -> anyhow::Result<Tested> {
    let typed = SourceFile::typed("");
    let manifest = registry.adapter(adapter, &Place::start(&typed))?;
    let Some(file) = registry.mapping(adapter, entity)? else { bail!("it is gone") };
    let Some(spec) = entities.get(entity) else { bail!("entity `{entity}` is not declared (vaiven schema)") };
    let recording = recording(adapter, entity)?;
    let untested = recording.as_ref().is_none_or(|recording| recording.rows.is_empty());
    let recording = recording.unwrap_or(Recording {
        settings: IndexMap::new(),
        lookups: Tables::new(),
        one_way: Vec::new(),
        rows: Vec::new(),
    });
    // Settings that the recording lacks get their default, or a value of the right kind.
    let given = manifest.settings.iter().filter_map(|(name, setting)| {
        let value = match recording.settings.get(name) {
            Some(value) => value.clone(),
            None if setting.default.is_some() || setting.optional => return None,
            None => setting.kind.example(),
        };
        let place = Place::start(&typed);
        Some((name.clone(), Given { value: SettingValue::Plain(value), place }))
    });
    let settings = manifest.check_settings(&given.collect(), &Place::start(&typed))?;
    let plain: Map<String, Value> = settings.plains().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let mapping = Mapping::load(&file, spec, &plain, &recording.lookups)?;
    let mut problems = Vec::new();
    for (index, case) in recording.rows.iter().enumerate() {
        if let Err(problem) = round_trip(&mapping, case, &recording.one_way) {
            problems.push(format!("row {}: {problem:#}", index + 1));
        }
    }
    Ok(Tested { mapping: format!("{adapter}/{entity}"), rows: recording.rows.len(), problems, untested })
}

fn recording(adapter: &str, entity: &str) -> anyhow::Result<Option<Recording>> {
    let path: PathBuf = Path::new(ROWS).join(adapter).join(format!("{entity}.json"));
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).map(Some).with_context(|| path.display().to_string())
}

/// Pull the row, push the result, lay it over the row and pull again.
fn round_trip(mapping: &Mapping, case: &Case, one_way: &[String]) -> anyhow::Result<()> {
    let mut numbers = Numbers::default();
    let first = numbers.resolved(mapping, &case.row)?;
    if let Some(expected) = &case.canonical {
        let shown = numbers.shown(mapping, &case.row)?;
        if shown != *expected {
            bail!("is read as {shown}, not as {expected}");
        }
    }
    if let Some(Proved::Unproven(unproven)) = mapping.spec().prove(&first.fields) {
        bail!("does not add up: {unproven}");
    }
    let needs = mapping.needs(&first.fields);
    let mut known = numbers.externals();
    for (list, key) in needs.child_ids.iter().chain(&needs.own) {
        let own = first.child_ids.get(list.rsplit('.').next().unwrap_or_default()).and_then(|ids| ids.get(key));
        let id = own.cloned().flatten().unwrap_or_else(|| format!("id-of-{key}"));
        known.child_ids.insert((list.clone(), key.clone()), id);
    }
    known.own.clone_from(&known.child_ids);
    let mut body = mapping.push(&first.fields, None, &known)?;
    if mapping.writes().is_empty() {
        return Ok(());
    }
    if !one_way.is_empty() {
        // Leave out fields that are written in another shape than they are read in: they would spoil the row.
        let others = mapping.both_ways().into_iter().filter(|field| !one_way.contains(field)).collect();
        body = mapping.push(&first.fields, Some(&others), &known)?;
    }
    let mut row = case.row.clone();
    lay_over(&mut row, &body);
    let second = numbers.resolved(mapping, &row).context("what was pushed cannot be pulled")?;
    for field in mapping.both_ways().into_iter().filter(|field| !one_way.contains(field)) {
        let (before, after) = (first.fields.get(&field), second.fields.get(&field));
        if before != after {
            let show = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            bail!("field {field} does not come back: {} became {}", show(before), show(after));
        }
    }
    Ok(())
}

/// Lay written members over those that were read. Lists are replaced as a whole, or item by item if they have the
/// same length.
fn lay_over(row: &mut Value, body: &Value) {
    match (row, body) {
        (Value::Object(row), Value::Object(body)) => {
            for (name, value) in body {
                lay_over(row.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(row), Value::Array(body)) if row.len() == body.len() => {
            for (item, value) in row.iter_mut().zip(body) {
                lay_over(item, value);
            }
        }
        (row, body) => *row = body.clone(),
    }
}

/// Record numbers, given as a store would.
#[derive(Default)]
struct Numbers(BTreeMap<(String, String), RecordId>);

impl Numbers {
    fn resolved(&mut self, mapping: &Mapping, row: &Value) -> anyhow::Result<Pulled> {
        self.pulled(mapping, row, |number, _, _| Value::from(number))
    }

    /// The canonical object, with references as `entity/id`.
    fn shown(&mut self, mapping: &Mapping, row: &Value) -> anyhow::Result<Value> {
        let pulled = self.pulled(mapping, row, |_, entity, by| Value::from(format!("{entity}/{by}")))?;
        Ok(Value::Object(pulled.fields))
    }

    fn pulled(
        &mut self,
        mapping: &Mapping,
        row: &Value,
        reference: impl Fn(RecordId, &str, &str) -> Value,
    ) -> anyhow::Result<Pulled> {
        let mut pulled = mapping.pull(row)?;
        let mut fields = Value::Object(std::mem::take(&mut pulled.fields));
        let mut shown = Vec::new();
        for named in &pulled.refs {
            let (RefBy::Id(by) | RefBy::Key(by)) = &named.by;
            let next = RecordId(i64::try_from(self.0.len())? + 1);
            let number = *self.0.entry((named.entity.clone(), by.clone())).or_insert(next);
            let Some(place) = fields.pointer_mut(&named.pointer) else { bail!("no reference at {}", named.pointer) };
            *place = Value::from(number);
            shown.push((named.pointer.clone(), reference(number, &named.entity, by)));
        }
        let Value::Object(mut fields) = fields else { bail!("a pull gives an object") };
        valid(mapping, &mut fields)?;
        let mut fields = Value::Object(fields);
        for (pointer, value) in shown {
            if let Some(place) = fields.pointer_mut(&pointer) {
                *place = value;
            }
        }
        pulled.fields = match fields {
            Value::Object(fields) => fields,
            _ => Fields::new(),
        };
        Ok(pulled)
    }

    fn externals(&self) -> Externals {
        let mut known = Externals::default();
        for ((entity, by), number) in &self.0 {
            known.records.insert((entity.clone(), *number), by.clone());
            known.keys.insert((entity.clone(), *number), by.clone());
        }
        known
    }
}

/// Validate as the engine does: a system may show only part of an object, and the mapping checks required fields.
fn valid(mapping: &Mapping, fields: &mut Fields) -> anyhow::Result<()> {
    let spec: &Arc<model::EntitySpec> = mapping.spec();
    model::normalize(spec, fields)
        .map_err(|errors| anyhow::anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::Parser as _;

    #[test]
    fn recorded_orders_are_proven() {
        let global = Cli::try_parse_from(["vaiven", "status"]).unwrap().global;
        let (registry, entities) = (app::registry(&global).unwrap(), app::entities(&global).unwrap());
        let spec = entities.get("order").unwrap();
        let tested = test("woocommerce", "order", &registry, &entities).unwrap();
        assert_eq!((tested.problems, tested.untested), (Vec::new(), false));
        // `test` has just compared the rows with the recorded objects, so the recorded ones can be used.
        for case in recording("woocommerce", "order").unwrap().unwrap().rows {
            let Some(Value::Object(canonical)) = case.canonical else { panic!("recorded beside the row") };
            // A system that sums up exact amounts rounds their sum.
            let least = rust_decimal::Decimal::new(5, 3);
            assert!(matches!(spec.prove(&canonical), Some(Proved::Proven(proof)) if proof.rounding.abs() < least));
        }
    }
}
