//! Tables that translate between canonical values and a system's.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::Value;

use crate::{
    expr::text_of,
    failure::{Class, Failure},
    wait_reason::WaitReason,
};

/// Lookup tables by name: canonical value to the system's.
pub type Tables = IndexMap<String, IndexMap<String, Value>>;

/// One table, both ways.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    name: String,
    out: HashMap<String, Value>,
    back: HashMap<String, String>,
}

impl Lookup {
    /// The table of the mapping, overridden by the lines of the configuration. If two canonical values have the
    /// same value at the system, the configuration's line is read back, or else the first.
    pub(super) fn new(
        name: &str,
        own: impl IntoIterator<Item = (String, Value)>,
        over: Option<&IndexMap<String, Value>>,
    ) -> Self {
        let mut lookup = Self { name: name.to_owned(), out: HashMap::new(), back: HashMap::new() };
        let over = over.into_iter().flatten().map(|(canonical, value)| (canonical.clone(), value.clone()));
        for (canonical, value) in over.chain(own) {
            // An overridden line is not read back either.
            if lookup.out.contains_key(&canonical) {
                continue;
            }
            if let Some(text) = text_of(&value) {
                lookup.back.entry(text).or_insert_with(|| canonical.clone());
            }
            lookup.out.insert(canonical, value);
        }
        lookup
    }

    /// The canonical value for the system's value.
    pub(super) fn canonical(&self, value: &Value) -> Result<Value, Failure> {
        let text = text_of(value).ok_or_else(|| {
            let message = format!("lookup {}: {} cannot be looked up", self.name, crate::expr::json_kind(value));
            Failure::new(Class::Rejected, message)
        })?;
        self.back.get(&text).map(|canonical| Value::from(canonical.as_str())).ok_or_else(|| {
            let line = format!("CANONICAL_VALUE = {}", quoted(&text));
            self.unmapped(&text, "the system's value", &line)
        })
    }

    /// The system's value for a canonical value.
    pub(super) fn system(&self, value: &Value) -> Result<Value, Failure> {
        let text = text_of(value).unwrap_or_default();
        self.out.get(&text).cloned().ok_or_else(|| {
            let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            let key = if text.is_empty() || !text.chars().all(is_bare) { quoted(&text) } else { text.clone() };
            self.unmapped(&text, "the canonical value", &format!("{key} = \"SYSTEM_VALUE\""))
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Canonical values and what is sent for them.
    pub(super) fn sent(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.out.iter().filter_map(|(canonical, value)| Some((canonical.clone(), text_of(value)?)))
    }

    /// `line` is the line to add to make the value known.
    fn unmapped(&self, value: &str, which: &str, line: &str) -> Failure {
        let message = format!(
            "lookup {0} does not know {which} `{value}`; add the line `{line}` to [systems.SYSTEM.lookups.{0}]",
            self.name
        );
        Failure::new(Class::Unmapped, message).with_cause(WaitReason::lookup(&self.name, value))
    }
}

/// Quote a text for TOML, which accepts a JSON string.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
