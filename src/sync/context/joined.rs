//! Notes about routes (source, entity, target) that were offered all known records. By them a route that joins later is
//! told from one that was there before.

use serde_json::Value;

use super::Context;
use crate::{store::Result, sync::routing::Flow};

/// What the names of the notes begin with that hold the fingerprints.
pub(in crate::sync) const COVERED: &str = "covered:";

/// What is true in the note of a way that has left.
pub(in crate::sync) const LEFT: &str = "left";

/// What is true in the note of a way that was away, until it is covered.
pub(in crate::sync) const BACK: &str = "back";

/// What is true in the note of a way that was added to a target with others, and whose source nobody had read.
pub(in crate::sync) const ADDED: &str = "added";

/// Name of the note of one way.
pub(in crate::sync) fn note(flow: &Flow, entity: &str, target: &str) -> String {
    format!("{COVERED}{}/{entity}/{target}", flow.from)
}

pub(in crate::sync) fn is(noted: &Value, mark: &str) -> bool {
    noted[mark] == true
}

/// Whether what a source's first reading brings joins a target that others were brought to before.
pub(in crate::sync) async fn is_added(context: &Context, system: &str, entity: &str) -> Result<bool> {
    for flow in context.routes.from(system, entity) {
        for target in &flow.to {
            let noted = context.store.noted(&note(flow, entity, target)).await?;
            if noted.is_some_and(|noted| is(&noted, ADDED)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
