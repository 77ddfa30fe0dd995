//! Merge and difference of one product with 20 variants, both sides of which were edited: `cargo bench --bench merge`.
//!
//! Three sides of every field are merged, then the outcome is compared with what one side has, as for a shared product. Medians.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real clock")]

mod shared;

use std::{hint::black_box, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use shared::{load, median};
use vaiven::internals::{
    model::{Entities, EntitySpec},
    sync::{Clash, Prefer, merge},
};

const VARIANTS: usize = 20;
const ROUNDS: u32 = 2000;
const RUNS: usize = 7;

fn main() -> Result<()> {
    let entities = Entities::builtin();
    let spec = entities.get("product").context("product ships")?;
    let base = product();
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    ours["name"]["es"] = "Tornillo zincado".into();
    ours["attributes"][1]["value"]["es"] = "A2".into();
    theirs["description"]["en"] = "Changed".into();
    for at in (0..VARIANTS).step_by(2) {
        ours["variants"][at]["weight"] = "0.25".into();
        theirs["variants"][at + 1]["barcode"] = format!("9{at:012}").into();
    }
    let objects = [&base, &ours, &theirs].map(|side| side.as_object().cloned().unwrap_or_default());
    let one_side = [&base, &ours, &base].map(|side| side.as_object().cloned().unwrap_or_default());
    let changed = work(spec, &objects)?;
    ensure!(changed.keys().eq(["description", "variants"]), "{changed:?}");
    println!("one product with {VARIANTS} variants, load {}", load());
    let bytes = serde_json::to_string(&base)?.len();
    println!("  bare clone of it ({bytes} bytes of JSON)      {:6.1} us", time(|| Ok(base.clone()))?);
    println!("  merge + diff, edits of one side    {:6.1} us", time(|| work(spec, &one_side))?);
    println!("  merge + diff, edits of both sides  {:6.1} us   (aim 100 us)", time(|| work(spec, &objects))?);
    Ok(())
}

/// Merges every field, then tells what our side lacks, as it is written there: its name and its new value.
fn work(spec: &EntitySpec, [base, ours, theirs]: &[Map<String, Value>; 3]) -> Result<Map<String, Value>> {
    let mut lacking = Map::new();
    for (name, field) in &spec.fields {
        let [base, ours, theirs] = [base, ours, theirs].map(|side| side.get(name).unwrap_or(&Value::Null));
        match merge(field, base, ours, theirs, Prefer::Nobody) {
            Ok(value) if *value == *ours => {}
            Ok(value) => {
                lacking.insert(name.clone(), value.into_owned());
            }
            Err(Clash) => anyhow::bail!("{name} clashes"),
        }
    }
    Ok(lacking)
}

/// Microseconds of one round.
fn time<T>(work: impl Fn() -> Result<T>) -> Result<f64> {
    let mut figures = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(work()?);
        }
        figures.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
    }
    Ok(median(&figures))
}

fn product() -> Value {
    let variants: Vec<Value> = (0..VARIANTS)
        .map(|at| {
            json!({
                "sku": format!("TOR-M8-{at:02}"),
                "name": {"es": format!("Tornillo M8 x {at}0 mm"), "en": format!("Bolt M8 x {at}0 mm")},
                "barcode": format!("84{at:011}"),
                "options": {"Largo": format!("{at}0 mm"), "Acabado": "cincado"},
                "weight": format!("0.{at:03}"),
                "active": true
            })
        })
        .collect();
    json!({
        "sku": "TOR-M8",
        "name": {"es": "Tornillo cincado M8", "en": "Zinc plated bolt M8"},
        "description": {"es": "Tornillo de acero cincado, rosca completa. ".repeat(8), "en": "Bolt of zinc plated steel. ".repeat(8)},
        "short_description": {"es": "Acero cincado", "en": "Zinc plated steel"},
        "brand": "Acme",
        "categories": [12, 40],
        "tax": "general",
        "unit": "piece",
        "active": true,
        "tags": ["tornilleria", "cincado"],
        "options": ["Largo", "Acabado"],
        "attributes": [
            {"code": "norm", "value": {"es": "DIN 933", "en": "DIN 933"}},
            {"code": "material", "value": {"es": "Acero", "en": "Steel"}}
        ],
        "images": (0..4).map(|at| json!({"source": format!("https://erp.test/{at}.jpg"), "position": at})).collect::<Vec<_>>(),
        "variants": variants
    })
}
