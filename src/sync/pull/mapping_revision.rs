//! The versions of mapping and adapter that an entity is read with. Fingerprints include both, so if either has
//! changed, every row is mapped again once. What changes because of that comes from the deployment, not from the
//! source.

use crate::{
    mapping::Translate,
    port::{Fingerprint, SourceRow, System},
    store::MappingRevision,
};

/// Return the versions that turn the rows of a system's entity into objects now.
pub(in crate::sync) fn of(mapping: &dyn Translate, system: &dyn System, entity: &str) -> MappingRevision {
    MappingRevision { mapping: mapping.version(), adapter: system.version(entity) }
}

/// Fingerprints of rows that are read with this revision.
pub(in crate::sync) fn fingerprints(revision: MappingRevision, rows: &[&SourceRow]) -> Vec<Fingerprint> {
    let mut seed = blake3::Hasher::new();
    seed.update(&revision.mapping.to_le_bytes()).update(&revision.adapter.to_le_bytes());
    let fingerprint = |row: &&SourceRow| {
        let mut hasher = seed.clone();
        row.body.hash_into(&mut hasher);
        let mut fingerprint = Fingerprint::default();
        hasher.finalize_xof().fill(&mut fingerprint);
        fingerprint
    };
    rows.iter().map(fingerprint).collect()
}
