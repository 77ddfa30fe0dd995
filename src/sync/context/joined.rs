//! Notes about routes (source, entity, target) that were offered all known records. They distinguish a route that
//! joins later from one that was there before.

use serde_json::Value;

use super::Context;
use crate::{store::Result, sync::routing::Flow};

/// Prefix of the names of the notes that hold the fingerprints.
pub(in crate::sync) const COVERED: &str = "covered:";

/// True in the note of a route that has left the configuration.
pub(in crate::sync) const LEFT: &str = "left";

/// True in the note of a route that was away, until it is covered.
pub(in crate::sync) const BACK: &str = "back";

/// True in the note of a route that was added to a target that has others, and whose source had never been read.
pub(in crate::sync) const ADDED: &str = "added";

/// Name of a route's note.
pub(in crate::sync) fn note(flow: &Flow, entity: &str, target: &str) -> String {
    format!("{COVERED}{}/{entity}/{target}", flow.from)
}

pub(in crate::sync) fn is(noted: &Value, mark: &str) -> bool {
    noted[mark] == true
}

/// Whether what a source's first reading brings joins a target that already gets objects from other sources.
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
