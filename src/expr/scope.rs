//! The variables that an expression sees.

use std::{borrow::Cow, sync::OnceLock};

use rhai::Dynamic;
use serde_json::Value;

use super::{SETTINGS, convert};

/// Variables by name, with those of a parent below them. Values are borrowed. Each is converted for the expression
/// engine at most once, and only if an expression uses it.
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

    /// A new scope on top of this one.
    #[must_use]
    pub fn child(&'a self) -> Scope<'a> {
        Scope { parent: Some(self), entries: Vec::new() }
    }

    /// Add a variable. It hides an earlier one of the same name.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'a, str>>, value: &'a Value) -> Self {
        self.set(name, Cow::Borrowed(value));
        self
    }

    /// Add a variable whose value the scope keeps.
    #[must_use]
    pub fn with_owned(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Value>) -> Self {
        self.set(name, Cow::Owned(value.into()));
        self
    }

    /// Add every member of an object as a variable of its own. Other values add nothing.
    #[must_use]
    pub fn with_members(mut self, object: &'a Value) -> Self {
        if let Value::Object(members) = object {
            for (name, member) in members {
                self.set(name.as_str(), Cow::Borrowed(member));
            }
        }
        self
    }

    /// The scope of an expression on a row: the row's members, the row itself as `row`, and from this scope the
    /// settings and `entity`. A member that the row lacks is missing: no other variable takes its place.
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
            // Shared: cloning it copies a pointer, and nothing can change the value.
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
