//! A plan as a file: one JSON object with its summary and its writes, one write per line.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    Plan, PlanSummary, Reach,
    proof::{Fingerprint, Proof},
};
use crate::{port::Op, store::RunKind};

/// Version of the file's format.
pub const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Head<'a> {
    /// Version of the format.
    plan: u32,
    vaiven: &'static str,
    #[serde(flatten)]
    summary: &'a PlanSummary,
}

/// Write a plan.
///
/// # Errors
/// If the plan cannot be written, or its writes cannot be read back.
pub fn write(plan: &mut Plan, out: &mut dyn Write) -> io::Result<()> {
    let head = Head { plan: FORMAT, vaiven: env!("CARGO_PKG_VERSION"), summary: &plan.summary };
    let head = serde_json::to_string_pretty(&head)?;
    let head = head.strip_suffix("\n}").unwrap_or(&head);
    out.write_all(head.as_bytes())?;
    out.write_all(b",\n  \"writes\": [")?;
    let mut first = true;
    plan.write_log.lines(|line| {
        out.write_all(if first { b"\n    " } else { b",\n    " })?;
        first = false;
        out.write_all(line.as_bytes())
    })?;
    out.write_all(if first { b"]\n}\n" } else { b"\n  ]\n}\n" })?;
    out.flush()
}

/// A file that is no plan.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("it is not a plan that `vaiven plan --out` wrote: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its form is number {0}, and this version knows number {FORMAT}; make the plan again")]
    Format(u32),
}

/// The writes that were agreed on.
#[derive(Debug)]
pub struct AgreedPlan {
    pub reach: Reach,
    /// By target, entity and key, in the order of the plan.
    pub writes: HashMap<(String, String, String), Vec<Entry>>,
}

/// A write that was agreed on. The proof contains the values of its fields; here are the fields' names, for
/// messages.
#[derive(Debug)]
pub struct Entry {
    pub proof: Proof,
    pub fields: Vec<String>,
}

#[derive(Deserialize)]
struct PlanFile {
    plan: u32,
    flow: Option<String>,
    kind: RunKind,
    writes: Vec<Agreement>,
}

#[derive(Deserialize)]
#[expect(clippy::zero_sized_map_values, reason = "an object in the file, of which only the names are kept")]
struct Agreement {
    target: String,
    entity: String,
    key: String,
    op: Op,
    before: Fingerprint,
    after: Fingerprint,
    fields: HashMap<String, IgnoredAny>,
}

/// Read a plan. Lines that somebody removed from it are not agreed on.
///
/// # Errors
/// If it is no plan, or has another format.
pub fn read(source: impl Read) -> Result<AgreedPlan, DocumentError> {
    let file: PlanFile = serde_json::from_reader(source)?;
    if file.plan != FORMAT {
        return Err(DocumentError::Format(file.plan));
    }
    let mut writes: HashMap<_, Vec<Entry>> = HashMap::new();
    for one in file.writes {
        let mut fields: Vec<String> = one.fields.into_keys().collect();
        fields.sort_unstable();
        let proof = Proof { op: one.op, before: one.before, after: one.after };
        writes.entry((one.target, one.entity, one.key)).or_default().push(Entry { proof, fields });
    }
    Ok(AgreedPlan { reach: Reach { flow: file.flow, kind: file.kind }, writes })
}
