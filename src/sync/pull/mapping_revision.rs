//! The versions of mapping and adapter that an entity was last read with as a whole. Fingerprints hold both, so every
//! row is mapped anew once either has changed. What changes by that is the deploy's doing, not the source's.

use serde::{Deserialize, Serialize};

use crate::{
    mapping::Translate,
    port::{Fingerprint, SourceRow, System},
    store::{Result, SharedStore},
};

/// What turns a system's rows into objects, by its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sync) struct MappingRevision {
    mapping: u64,
    adapter: u64,
}

impl MappingRevision {
    pub(in crate::sync) fn of(mapping: &dyn Translate, system: &dyn System, entity: &str) -> Self {
        Self { mapping: mapping.version(), adapter: system.version(entity) }
    }

    /// The one of the last whole reading that went through; absent where there was none yet.
    pub(in crate::sync) async fn last(store: &SharedStore, system: &str, entity: &str) -> Result<Option<Self>> {
        let noted = store.noted(&note(system, entity)).await?;
        Ok(noted.and_then(|noted| serde_json::from_value(noted).ok()))
    }

    /// A whole reading went through.
    pub(in crate::sync) async fn remember(self, store: &SharedStore, system: &str, entity: &str) -> Result<()> {
        let versions = serde_json::json!({ "mapping": self.mapping, "adapter": self.adapter });
        store.note(&note(system, entity), &versions).await
    }

    /// Fingerprints of rows.
    pub(in crate::sync) fn prints(self, rows: &[&SourceRow]) -> Vec<Fingerprint> {
        let mut seed = blake3::Hasher::new();
        seed.update(&self.mapping.to_le_bytes()).update(&self.adapter.to_le_bytes());
        let print = |row: &&SourceRow| {
            let mut hasher = seed.clone();
            row.body.hash_into(&mut hasher);
            let mut print = Fingerprint::default();
            hasher.finalize_xof().fill(&mut print);
            print
        };
        rows.iter().map(print).collect()
    }
}

fn note(system: &str, entity: &str) -> String {
    format!("reader:{system}/{entity}")
}
