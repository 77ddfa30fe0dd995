//! A mapping with a planted bug: fields that only the previous mapping named still count.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use vaiven::internals::{
    failure::Failure,
    mapping::{Externals, Fields, Glimpse, Needs, Pulled, Translate},
    model::Shape,
};

/// Behaves like `now`, but reports the fields that `before` reads.
pub struct StaleMapping {
    pub before: Arc<dyn Translate>,
    pub now: Arc<dyn Translate>,
}

impl Translate for StaleMapping {
    fn version(&self) -> u64 {
        self.now.version()
    }

    fn pull(&self, row: &Value) -> Result<Pulled, Failure> {
        self.now.pull(row)
    }

    fn glimpse(&self, row: &Value) -> Glimpse {
        self.now.glimpse(row)
    }

    fn writes(&self) -> &BTreeSet<String> {
        self.now.writes()
    }

    fn reads(&self) -> &BTreeSet<String> {
        self.before.reads()
    }

    fn read_shapes(&self) -> &BTreeMap<String, Shape> {
        self.before.read_shapes()
    }

    fn written_shapes(&self) -> &BTreeMap<String, Shape> {
        self.now.written_shapes()
    }

    fn needs(&self, desired: &Fields) -> Needs {
        self.now.needs(desired)
    }

    fn push(&self, desired: &Fields, only: Option<&BTreeSet<String>>, known: &Externals) -> Result<Value, Failure> {
        self.now.push(desired, only, known)
    }
}
