//! The variables an expression sees.

use std::{borrow::Cow, sync::OnceLock};

use rhai::Dynamic;
use serde_json::Value;

use super::{SETTINGS, convert};

/// Variables by name, over those of a parent. Values are borrowed; each is converted for the expression engine at most
/// once, and only if an expression asks for it.
#[derive(Debug, Default)]
pub struct Scope<'a> {
    parent: Option<&'a Scope<'a>>,
    entries: Vec<Entry<'a>>,
}

#[derive(Debug)]
struct Entry<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, Value>,
    converted: OnceLock<Dynamic>,
}

impl<'a> Scope<'a> {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A scope that sees this one's variables below its own.
    #[must_use]
    pub fn child(&'a self) -> Scope<'a> {
        Scope { parent: Some(self), entries: Vec::new() }
    }

    /// Adds a variable; a later one of the same name hides an earlier one.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'a, str>>, value: &'a Value) -> Self {
        self.set(name, Cow::Borrowed(value));
        self
    }

    /// Adds a variable whose value the scope keeps.
    #[must_use]
    pub fn with_owned(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Value>) -> Self {
        self.set(name, Cow::Owned(value.into()));
        self
    }

    /// Adds every member of an object as a variable of its own; of anything else nothing.
    #[must_use]
    pub fn with_members(mut self, object: &'a Value) -> Self {
        if let Value::Object(members) = object {
            for (name, member) in members {
                self.set(name.as_str(), Cow::Borrowed(member));
            }
        }
        self
    }

    /// What an expression on a row sees: the row's members, the row itself as `row`, of this scope the settings and `entity`. What a
    /// row lacks is missing: no other variable steps in for it.
    #[must_use]
    pub fn on_row<'b>(&'b self, row: &'b Value) -> Scope<'b> {
        let mut scope = Scope::new();
        if let Some(entity) = self.get("entity") {
            scope = scope.with("entity", entity);
        }
        let scope = scope.with_members(row).with("row", row);
        match self.get(SETTINGS) {
            Some(settings) => scope.with(SETTINGS, settings),
            None => scope,
        }
    }

    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: Cow<'a, Value>) {
        self.entries.push(Entry { name: name.into(), value, converted: OnceLock::new() });
    }

    /// The variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entry(name).map(|entry| entry.value.as_ref())
    }

    pub(super) fn dynamic(&self, name: &str) -> Option<Dynamic> {
        self.entry(name).map(|entry| {
            // Shared: a clone of it is a pointer, and nothing can change what it points to.
            entry
                .converted
                .get_or_init(|| {
                    let value = convert::to_dynamic(&entry.value).into_read_only();
                    if value.is_map() || value.is_array() { value.into_shared() } else { value }
                })
                .clone()
        })
    }

    fn entry(&self, name: &str) -> Option<&Entry<'a>> {
        let own = self.entries.iter().rev().find(|entry| entry.name == name);
        own.or_else(|| self.parent.and_then(|parent| parent.entry(name)))
    }
}
