//! Turns a system's own shape into the canonical entity and back, by TOML: one line per field where both ways are alike.

mod compile;
mod fallback;
mod file;
mod lookup;
mod outline;
mod precision;
mod prefix;
mod pull;
mod push;
mod respelt;
mod rule;
mod translate;
mod unseen;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

pub use file::MappingFile;
pub use lookup::Tables;
pub use outline::{FieldOutline, Misfit, Outline};
pub use translate::Mapping;
pub use unseen::Unseen;

use crate::{
    failure::Failure,
    model::{FieldError, Shape},
};

/// Canonical fields of one object, in the order of the entity's specification.
pub type Fields = Map<String, Value>;

/// Something another object is known by, found in a row of its system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefBy {
    /// The system's own id.
    Id(String),
    /// The canonical key.
    Key(String),
}

/// A reference in a pulled object. The engine replaces the value at `pointer` (a number that means nothing) by the record's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledRef {
    /// JSON pointer into [`Pulled::fields`].
    pub pointer: String,
    pub entity: String,
    pub by: RefBy,
}

/// A system's ids of an object's children: list name (`variants`) to item key (SKU) to id; no id where the system shows the
/// item without one. A list that is not shown is not named.
pub type Children = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// Ids of children at one target: (entity and list, key) to id.
pub type ChildIds = BTreeMap<(String, String), String>;

/// A row in canonical form.
#[derive(Clone, Debug, Default)]
pub struct Pulled {
    pub key: String,
    pub fields: Fields,
    pub refs: Vec<PulledRef>,
    pub child_ids: Children,
    /// Fields of which what the system was sent waits there for somebody to finish it: what it shows of them says nothing.
    pub pending: BTreeSet<String>,
}

/// What can be read of a row that cannot be read as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Glimpse {
    pub key: Option<String>,
    /// Top fields that can be read; references are left out.
    pub fields: Fields,
    pub unread: BTreeSet<String>,
}

/// What the engine must know before an object can be pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// (entity, record number)
    pub records: BTreeSet<(String, i64)>,
    /// Children of other objects, by (entity and list, key): (`product.variants`, `SKU-1`)
    pub child_ids: BTreeSet<(String, String)>,
    /// The object's own children, likewise.
    pub own: BTreeSet<(String, String)>,
}

/// Answers to [`Needs`] for one target.
#[derive(Clone, Debug, Default)]
pub struct Externals {
    /// (entity, record number) to the target's id.
    pub records: BTreeMap<(String, i64), String>,
    /// Children that objects refer to.
    pub child_ids: ChildIds,
    /// Children of which there are several: which is meant is not known.
    pub unclear: BTreeSet<(String, String)>,
    /// Children of the object that is pushed: the same key means another one in every object.
    pub own: ChildIds,
    /// The object as the target shows it right now, where [`Translate::looks`] asks for it.
    pub there: Option<Value>,
    /// (entity, record number) to the canonical key, for targets that refer by key.
    pub keys: BTreeMap<(String, i64), String>,
    /// (entity, record number) to what people call it, for messages and causes.
    pub names: BTreeMap<(String, i64), String>,
}

/// What a system's own keys begin with, by its mapping's `key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// Absent where they begin with nothing of their own.
    pub value: Option<String>,
    /// The setting that may give it.
    pub setting: Option<String>,
}

/// One entity's mapping at one system.
pub trait Translate: Send + Sync {
    /// Identity of this mapping and of everything it depends on (lookups, settings, entity specification).
    fn version(&self) -> u64;

    /// Row to canonical object.
    ///
    /// # Errors
    /// `Rejected` with the field for a value that does not fit; `Unmapped` with its cause for a value no lookup knows.
    fn pull(&self, row: &Value) -> Result<Pulled, Failure>;

    /// Parts (articles, by their keys) that a row belongs to or names in its lists, of a row that may be unreadable otherwise;
    /// nothing where that is not known.
    fn named(&self, row: &Value) -> Option<BTreeSet<String>> {
        let _ = row;
        None
    }

    /// What is read of rows and none of these has: nothing else shows a mistyped name of something that may be missing.
    fn unseen(&self, _rows: &[&Value]) -> Vec<Unseen> {
        Vec::new()
    }

    /// What can be read of a row that [`pull`](Self::pull) refuses: its key, and each field alone.
    fn glimpse(&self, row: &Value) -> Glimpse;

    /// Canonical fields this mapping can write; others are left alone at the target.
    fn writes(&self) -> &BTreeSet<String>;

    /// Canonical fields this mapping fills on a pull; others say nothing about the target.
    fn reads(&self) -> &BTreeSet<String>;

    /// Words of an object that was read which were kept though no lookup of this mapping knows them. States are not among them:
    /// [`model::doubts`](crate::model::doubts) knows all that there are.
    fn unknown(&self, _fields: &Fields) -> Vec<FieldError> {
        Vec::new()
    }

    /// What an object says of which one it is, and the target has no place for: it must not be written there. `here` is what
    /// the target is known to hold of it.
    fn misfits(&self, _said: &Fields, _source: Option<&Outline>, _here: Option<&Fields>) -> Vec<Misfit> {
        Vec::new()
    }

    /// Where a field stands in this mapping, `mappings/web/order.toml:7:1`; a member is named by its path, `lines[2].sku`.
    fn place(&self, _field: &str) -> Option<String> {
        None
    }

    /// What this mapping names, where that is known.
    fn names(&self) -> Option<&Outline> {
        None
    }

    /// What is read, written and held fixed, for the checks of a configuration.
    fn outline(&self) -> Outline {
        Outline::default()
    }

    /// Brings desired values to the precision that the target keeps; where a text lacks its language, another one's
    /// stands in.
    fn round(&self, _desired: &mut Fields) {}

    /// Whether a key that another system gave is written and shown again, so that a key seen here need not be the system's own.
    fn takes_key(&self) -> bool {
        true
    }

    /// What the system's own keys begin with, as far as the mapping tells.
    fn prefix(&self) -> Option<&Prefix> {
        None
    }

    /// Whether the system shows a key otherwise than it was sent, as a slug does a code.
    fn respells_key(&self) -> bool {
        false
    }

    /// The key under which the system shows what was sent with `key`, where [`respells_key`](Self::respells_key) says so.
    fn respelt_key(&self, _key: &str) -> Option<String> {
        None
    }

    /// Tables whose values this mapping writes: name to canonical value to the system's.
    fn written_values(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        BTreeMap::new()
    }

    /// Fields of [`reads`](Self::reads) with what is filled of each.
    fn read_shapes(&self) -> &BTreeMap<String, Shape>;

    /// Fields of [`writes`](Self::writes) with what is sent of each.
    fn written_shapes(&self) -> &BTreeMap<String, Shape>;

    /// Lists of children (`product.variants`) that objects refer to here by the ids of their items.
    fn hangs_on(&self) -> &BTreeSet<String> {
        const NONE: &BTreeSet<String> = &BTreeSet::new();
        NONE
    }

    /// What must be known of the target before `desired` can be pushed.
    fn needs(&self, desired: &Fields) -> Needs;

    /// Whether it depends on what the target holds at the moment which values it can take.
    fn depends_on_target(&self) -> bool {
        false
    }

    /// Whether a push of these fields (or of all) is made of what the target holds at that moment as well: its object has to
    /// be read first.
    fn looks(&self, _only: Option<&BTreeSet<String>>) -> bool {
        false
    }

    /// Canonical object to the target's shape; with `only`, just what depends on those canonical fields.
    ///
    /// # Errors
    /// `Unmapped` with cause `missing:<entity>=<key>` for a reference the target does not have, or `lookup:<table>=<value>`;
    /// `Rejected` with the field for a value the target's shape cannot hold.
    fn push(&self, desired: &Fields, only: Option<&BTreeSet<String>>, known: &Externals) -> Result<Value, Failure>;
}

#[cfg(test)]
mod tests;
