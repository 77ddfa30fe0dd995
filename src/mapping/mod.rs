//! Turns a system's own shape into the canonical entity and back, as TOML says: one line per field if both ways are
//! alike.

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
    ids::RecordId,
    model::{FieldError, Shape},
};

/// Canonical fields of one object, in the order of the entity's specification.
pub type Fields = Map<String, Value>;

/// What another object is known by, found in a row of its system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefBy {
    /// The system's own id.
    Id(String),
    /// The canonical key.
    Key(String),
}

/// A reference in a pulled object. The engine replaces the value at `pointer` (a number without meaning) by the
/// record's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledRef {
    /// JSON pointer into [`Pulled::fields`].
    pub pointer: String,
    pub entity: String,
    pub by: RefBy,
}

/// A system's ids of an object's children: list name (`variants`) to item key (SKU) to id. The id is absent if the
/// system shows the item without one. A list that is not shown is not in the map.
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
    /// Fields whose sent value still waits at the system for somebody to finish it. What the system shows of them
    /// means nothing.
    pub pending: BTreeSet<String>,
}

/// What can be read of a row that cannot be read as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Glimpse {
    pub key: Option<String>,
    /// Top-level fields that can be read, without references.
    pub fields: Fields,
    pub unread: BTreeSet<String>,
}

/// What the engine must look up before an object can be pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// (entity, record number)
    pub records: BTreeSet<(String, RecordId)>,
    /// Children of other objects, by (entity and list, key): (`product.variants`, `SKU-1`)
    pub child_ids: BTreeSet<(String, String)>,
    /// The object's own children, likewise.
    pub own: BTreeSet<(String, String)>,
}

/// Answers to [`Needs`] for one target.
#[derive(Clone, Debug, Default)]
pub struct Externals {
    /// (entity, record number) to the target's id.
    pub records: BTreeMap<(String, RecordId), String>,
    /// Children that objects refer to.
    pub child_ids: ChildIds,
    /// Child keys that several objects have: which child is meant is not known.
    pub unclear: BTreeSet<(String, String)>,
    /// Children of the object that is pushed. They are apart because the same key means another child in every
    /// object.
    pub own: ChildIds,
    /// The object as the target shows it right now, if [`Translate::looks`] asks for it.
    pub there: Option<Value>,
    /// (entity, record number) to the canonical key, for targets that refer by key.
    pub keys: BTreeMap<(String, RecordId), String>,
    /// (entity, record number) to the name that people use, for messages and causes.
    pub names: BTreeMap<(String, RecordId), String>,
}

/// The prefix of the keys that a system gives, as its mapping's `key` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// Absent if the keys have no prefix of their own.
    pub value: Option<String>,
    /// The setting that may give the prefix.
    pub setting: Option<String>,
}

/// One entity's mapping at one system.
pub trait Translate: Send + Sync {
    /// Identity of this mapping and of everything that it depends on (lookups, settings, entity specification).
    fn version(&self) -> u64;

    /// Turn a row into a canonical object.
    ///
    /// # Errors
    /// `Rejected` with the field if a value does not fit; `Unmapped` with its cause if no lookup knows a value.
    fn pull(&self, row: &Value) -> Result<Pulled, Failure>;

    /// Keys of the parts (articles) that a row belongs to or names in its lists. The rest of the row may be
    /// unreadable. Return `None` if the parts are not known.
    fn named(&self, row: &Value) -> Option<BTreeSet<String>> {
        let _ = row;
        None
    }

    /// Members that this mapping reads and none of these rows has. Nothing else reveals a mistyped name of an
    /// optional member.
    fn unseen(&self, _rows: &[&Value]) -> Vec<Unseen> {
        Vec::new()
    }

    /// What can be read of a row that [`pull`](Self::pull) refuses: its key, and each field by itself.
    fn glimpse(&self, row: &Value) -> Glimpse;

    /// Canonical fields that this mapping can write. Others stay untouched at the target.
    fn writes(&self) -> &BTreeSet<String>;

    /// Canonical fields that this mapping fills on a pull. For others, a pull says nothing about the target.
    fn reads(&self) -> &BTreeSet<String>;

    /// Words of a pulled object that were kept although no lookup of this mapping knows them. States are not among
    /// them: [`model::doubts`](crate::model::doubts) knows all possible states.
    fn unknown(&self, _fields: &Fields) -> Vec<FieldError> {
        Vec::new()
    }

    /// Values of `said` that identify the object and that the target has no place for. If there are any, the object
    /// must not be written there. `here` is what the target is known to hold of it.
    fn misfits(&self, _said: &Fields, _source: Option<&Outline>, _here: Option<&Fields>) -> Vec<Misfit> {
        Vec::new()
    }

    /// Where the mapping defines a field, such as `mappings/web/order.toml:7:1`. A member is named by its path,
    /// `lines[2].sku`.
    fn place(&self, _field: &str) -> Option<String> {
        None
    }

    /// What this mapping names. Return `None` if it is not known.
    fn names(&self) -> Option<&Outline> {
        None
    }

    /// What is read, written and held fixed, for the checks of a configuration.
    fn outline(&self) -> Outline {
        Outline::default()
    }

    /// Round desired values to the precision that the target keeps, and fill in texts that lack its language from
    /// another language.
    fn round(&self, _desired: &mut Fields) {}

    /// Whether the system stores a key that another system gave and shows it again. If so, a key seen here may be
    /// another system's.
    fn takes_key(&self) -> bool {
        true
    }

    /// The prefix of the system's own keys, if the mapping reveals it.
    fn prefix(&self) -> Option<&Prefix> {
        None
    }

    /// Whether the system shows a key in another spelling than it was sent, as a slug for a code.
    fn respells_key(&self) -> bool {
        false
    }

    /// The key that the system shows for an object that was sent with `key`, if
    /// [`respells_key`](Self::respells_key).
    fn respelt_key(&self, _key: &str) -> Option<String> {
        None
    }

    /// Tables whose values this mapping writes: name to canonical value to the system's value.
    fn written_values(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        BTreeMap::new()
    }

    /// Fields of [`reads`](Self::reads), each with the parts that are filled.
    fn read_shapes(&self) -> &BTreeMap<String, Shape>;

    /// Fields of [`writes`](Self::writes), each with the parts that are sent.
    fn written_shapes(&self) -> &BTreeMap<String, Shape>;

    /// Lists of children (`product.variants`) whose item ids are used here to refer to them.
    fn hangs_on(&self) -> &BTreeSet<String> {
        const NONE: &BTreeSet<String> = &BTreeSet::new();
        NONE
    }

    /// What must be known of the target before `desired` can be pushed.
    fn needs(&self, desired: &Fields) -> Needs;

    /// Whether the values that the target accepts depend on what it holds at the moment.
    fn depends_on_target(&self) -> bool {
        false
    }

    /// Whether a push of these fields (or of all) also needs what the target holds at that moment. If so, read the
    /// target's object first.
    fn looks(&self, _only: Option<&BTreeSet<String>>) -> bool {
        false
    }

    /// Turn a canonical object into the target's shape. With `only`, give just what depends on those canonical
    /// fields.
    ///
    /// # Errors
    /// `Unmapped` with cause `missing:<entity>=<key>` if the target does not have a reference, or
    /// `lookup:<table>=<value>` if a lookup does not know a value; `Rejected` with the field if the target's shape
    /// cannot hold a value.
    fn push(&self, desired: &Fields, only: Option<&BTreeSet<String>>, known: &Externals) -> Result<Value, Failure>;
}

#[cfg(test)]
mod tests;
