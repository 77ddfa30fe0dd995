//! Time of mapping one simple row of 12 fields to its canonical form, against a bare clone of the row.
//! Run with `cargo bench --bench mapping`.

use std::{hint::black_box, sync::Arc, time::Instant};

use serde_json::{Map, json};
use vaiven::internals::{
    load::SourceFile,
    mapping::{Mapping, Tables, Translate},
    model::Entities,
};

const MAPPING: &str = "key = 'code'\n[fields]\ncode = 'code'\nlist = 'list'\nsku = 'sku'\namount = 'amount'\ncurrency = 'currency'\n\
    tax_included = 'tax_included'\ncompare_at = 'compare_at'\ngroup = 'group'\nvalid_from = 'valid_from'\nvalid_until = 'valid_until'\n";

const ROUNDS: u32 = 200_000;

#[expect(clippy::disallowed_methods, reason = "a bench measures the machine's own time")]
fn main() {
    let Some(spec) = Entities::builtin().get("price").map(Arc::clone) else { return };
    let file = SourceFile::new("price.toml", MAPPING);
    let mapping = match Mapping::load(&file, &spec, &Map::new(), &Tables::new()) {
        Ok(mapping) => mapping,
        Err(error) => return eprintln!("{error}"),
    };
    let row = json!({
        "code": "retail/SKU-1", "list": "retail", "sku": "SKU-1", "amount": "19.90", "currency": "EUR", "tax_included": "1",
        "compare_at": "25.00", "group": "trade", "valid_from": "2026-01-01", "valid_until": "2026-12-31", "a": "x", "b": "y"
    });
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(mapping.pull(black_box(&row)).is_ok());
    }
    let mapped = started.elapsed() / ROUNDS;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(black_box(&row).clone());
    }
    println!("pull of one row: {mapped:?} (bare clone {:?})", started.elapsed() / ROUNDS);
}
