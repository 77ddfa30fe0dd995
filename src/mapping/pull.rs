//! Turns a system's row into canonical fields.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::{Map, Value};

use super::{
    Children, Fields, PulledRef, RefBy,
    file::By,
    rule::{Convert, Each, Item, Rule, Source},
};
use crate::{
    expr::{Path, PathError, Scope, text_of},
    failure::{Class, Failure},
    model::{self, EntitySpec, FieldSpec, Kind, flaw, time},
};

/// What a pull collects on the way.
pub(super) struct Pull<'a> {
    /// Variables that all expressions of the row see: settings and `root`.
    pub scope: &'a Scope<'a>,
    /// References. Until the fields are in order, each reference stands in them by its index in this list.
    pub refs: Vec<(String, RefBy)>,
    pub child_ids: Children,
    /// If set, read only this member of items.
    pub only: Option<&'a str>,
    /// Whether the row has values that cannot be read.
    pub flawed: bool,
}

impl Pull<'_> {
    pub(super) fn fields(&mut self, rules: &[Rule], row: &Value, at: &str) -> Result<Fields, Failure> {
        let scope = self.scope.child().with("row", row);
        let mut fields = Fields::with_capacity(rules.len());
        let asked = |rule: &&Rule| at.is_empty() || self.only.is_none_or(|only| rule.name == only);
        for rule in rules.iter().filter(|rule| rule.reads).filter(asked).collect::<Vec<_>>() {
            let field = || if at.is_empty() { rule.name.clone() } else { format!("{at}.{}", rule.name) };
            let value = self.value(rule, row, &scope, &field).map_err(|failure| located(failure, &field))?;
            // A text that is empty in every language counts as absent.
            let unwritten = |value: &Value| {
                let texts = value.as_object().filter(|_| rule.kind == Some(Kind::Localized));
                texts.is_some_and(|texts| texts.values().all(model::empty))
            };
            match value.filter(|value| !model::empty(value) && !unwritten(value)) {
                Some(value) => {
                    fields.insert(rule.name.clone(), value);
                }
                None if rule.required => {
                    return Err(rejected(format!("{}: the field is required and has no value here", rule.place))
                        .with_field(field()));
                }
                None => {}
            }
        }
        Ok(fields)
    }

    fn value(
        &mut self,
        rule: &Rule,
        row: &Value,
        scope: &Scope<'_>,
        field: &dyn Fn() -> String,
    ) -> Result<Option<Value>, Failure> {
        if let Some(constant) = &rule.constant {
            return Ok(Some(constant.clone()));
        }
        let found = match &rule.source {
            Source::Row if rule.pull.is_some() => Some(&Value::Null),
            Source::Row => Some(row),
            Source::Path(path) => found(rule, path, row)?,
            Source::Languages(paths) => {
                let mut texts = Map::with_capacity(paths.len());
                for (language, path) in paths {
                    if let Some(text) = found(rule, path, row)? {
                        texts.insert(language.clone(), text.clone());
                    }
                }
                return Ok(Some(Value::Object(texts)));
            }
        };
        let Some(value) = found else { return Ok(None) };
        if self.flawed
            && let Some(flaw) = flaw::first(value)
        {
            return Err(rejected(flaw.to_string()));
        }
        let value = match &rule.pull {
            None => Cow::Borrowed(value),
            Some(pull) => {
                let value = scope.child().with("value", value);
                Cow::Owned(pull.eval(&value).map_err(|error| rejected(error.to_string()))?)
            }
        };
        if value.is_null() || rule.none.iter().any(|none| same(none, &value)) {
            return Ok(None);
        }
        self.converted(rule, value, field)
    }

    fn converted(
        &mut self,
        rule: &Rule,
        value: Cow<'_, Value>,
        field: &dyn Fn() -> String,
    ) -> Result<Option<Value>, Failure> {
        let value = if takes_list(rule) { listed(value) } else { value };
        Ok(Some(match &rule.convert {
            Convert::Plain if rule.kind == Some(Kind::Datetime) && rule.zone.is_some() => {
                let text = text_of(&value).unwrap_or_default();
                if text.is_empty() {
                    return Ok(None);
                }
                let time =
                    time::parse_time(&text, rule.zone).map_err(|error| rejected(format!("{}: {error}", rule.place)))?;
                Value::from(time::canonical(time))
            }
            // A part's id cannot be turned back into its key: only the value that `pull` makes is read.
            Convert::Plain | Convert::Part(_) => value.into_owned(),
            Convert::Language(language) => {
                let value = value.into_owned();
                if model::empty(&value) {
                    return Ok(None);
                }
                Value::Object(Map::from_iter([(language.clone(), value)]))
            }
            Convert::Texts { language, value: text } => {
                let Value::Array(items) = value.as_ref() else { return Err(unfit(rule, "is not a list of texts")) };
                let mut texts = Map::with_capacity(items.len());
                for item in items {
                    let (Some(language), Some(text)) = (item.get(language).and_then(Value::as_str), item.get(text))
                    else {
                        return Err(unfit(rule, "has an item without language or text"));
                    };
                    texts.insert(language.to_owned(), text.clone());
                }
                Value::Object(texts)
            }
            Convert::Lookup(lookup) => {
                if model::empty(&value) {
                    return Ok(None);
                }
                match (lookup.canonical(&value), text_of(&value)) {
                    (Err(failure), Some(text)) if rule.keeps && failure.class == Class::Unmapped => Value::from(text),
                    (found, _) => found?,
                }
            }
            Convert::Ref { entity, by } => {
                let Some(text) = text_of(&value) else { return Err(unfit(rule, "is no id")) };
                if text.is_empty() {
                    return Ok(None);
                }
                let by = if *by == By::Id { RefBy::Id(text) } else { RefBy::Key(text) };
                self.refs.push((entity.clone(), by));
                Value::from(self.refs.len())
            }
            Convert::Object(rules) => match value.as_ref() {
                Value::Object(_) => Value::Object(self.fields(rules, &value, &field())?),
                other if model::empty(other) => return Ok(None),
                _ => return Err(unfit(rule, "is not an object")),
            },
            Convert::Each(each) => match value.as_ref() {
                Value::Array(items) => Value::Array(self.items(rule, each, items, field)?),
                other if model::empty(other) => return Ok(None),
                _ => return Err(unfit(rule, "is not a list")),
            },
        }))
    }

    fn items(
        &mut self,
        rule: &Rule,
        each: &Each,
        items: &[Value],
        field: &dyn Fn() -> String,
    ) -> Result<Vec<Value>, Failure> {
        let mut list = Vec::with_capacity(items.len());
        if each.part.is_some() {
            // A list that is shown and is empty says that there are no items.
            self.child_ids.entry(rule.name.clone()).or_default();
        }
        for (index, item) in items.iter().enumerate() {
            let at = || format!("{}[{index}]", field());
            let value = match &each.item {
                Item::One(one) => {
                    let scope = self.scope.child().with("row", item);
                    let value = if one.pull.is_some() && matches!(one.source, Source::Row) {
                        // In the expression, `value` is the item itself.
                        let scope = scope.child().with("value", item);
                        let pulled = one.pull.as_ref().map(|pull| pull.eval(&scope)).transpose();
                        let pulled =
                            pulled.map_err(|error| located(rejected(error.to_string()), &at))?.unwrap_or_default();
                        if pulled.is_null() { Ok(None) } else { self.converted(one, Cow::Owned(pulled), &at) }
                    } else {
                        self.value(one, item, &scope, &at)
                    };
                    value.map_err(|failure| located(failure, &at))?
                }
                Item::Object(rules) => Some(Value::Object(self.fields(rules, item, &at())?)),
            };
            let Some(value) = value.filter(|value| !model::empty(value)) else { continue };
            if let (Some(path), Some((key, _))) = (&each.id, &each.part)
                && let Some(key) = value.get(key).and_then(text_of)
            {
                let id = path.get(item).ok().and_then(text_of).filter(|id| !id.is_empty());
                let ids = self.child_ids.entry(rule.name.clone()).or_default();
                // If two items have the same key, keep the id that one of them has.
                if id.is_some() || !ids.contains_key(&key) {
                    ids.insert(key, id);
                }
            }
            list.push(value);
        }
        Ok(list)
    }

    /// Keys of a list's items through one of their members, whatever the rest of the row is like.
    pub(super) fn named(&mut self, rule: &Rule, row: &Value) -> Result<BTreeSet<String>, Failure> {
        let scope = self.scope.child().with("row", row);
        let found = self.value(rule, row, &scope, &|| rule.name.clone())?.unwrap_or_default();
        let items = found.as_array().into_iter().flatten();
        let names = items.filter_map(|item| item.get(self.only.unwrap_or_default())).filter_map(text_of);
        Ok(names.filter(|name| !name.is_empty()).collect())
    }

    /// Put the fields in order and give the references their places in them.
    pub(super) fn finish(mut self, spec: &EntitySpec, fields: &mut Fields) -> Result<Found, Failure> {
        model::normalize(spec, fields).map_err(|errors| {
            let first = errors.first().map(|error| error.field.clone()).unwrap_or_default();
            let text = errors.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("; ");
            rejected(text).with_field(first)
        })?;
        let mut refs = Vec::with_capacity(self.refs.len());
        if !self.refs.is_empty() {
            let mut numbered: Vec<Option<(String, RefBy)>> = self.refs.drain(..).map(Some).collect();
            for (name, value) in fields.iter_mut() {
                if let Some(spec) = spec.fields.get(name) {
                    place_refs(spec, value, &format!("/{}", escaped(name)), &mut numbered, &mut refs);
                }
            }
        }
        Ok(Found { refs, child_ids: self.child_ids })
    }
}

/// What a row holds besides its fields.
pub(super) struct Found {
    pub refs: Vec<PulledRef>,
    pub child_ids: Children,
}

fn place_refs(
    spec: &FieldSpec,
    value: &mut Value,
    pointer: &str,
    numbered: &mut [Option<(String, RefBy)>],
    refs: &mut Vec<PulledRef>,
) {
    match (spec.kind, value) {
        (Kind::Ref, value) => {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            let slot = number.and_then(|number| numbered.get_mut(number.wrapping_sub(1)));
            if let Some((entity, by)) = slot.and_then(Option::take) {
                refs.push(PulledRef { pointer: pointer.to_owned(), entity, by });
                *value = Value::from(0);
            }
        }
        (Kind::List, Value::Array(items)) => {
            if let Some(of) = &spec.of {
                for (index, item) in items.iter_mut().enumerate() {
                    place_refs(of, item, &format!("{pointer}/{index}"), numbered, refs);
                }
            }
        }
        (Kind::Map, Value::Object(members)) => {
            if let Some(of) = &spec.of {
                for (name, member) in members.iter_mut() {
                    place_refs(of, member, &format!("{pointer}/{}", escaped(name)), numbered, refs);
                }
            }
        }
        (Kind::Object, Value::Object(members)) => {
            for (name, member) in members.iter_mut() {
                if let Some(spec) = spec.fields.get(name) {
                    place_refs(spec, member, &format!("{pointer}/{}", escaped(name)), numbered, refs);
                }
            }
        }
        _ => {}
    }
}

/// Escape a name for JSON pointers.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The value at a path of the row. Return `None` if it is missing and may be.
fn found<'v>(rule: &Rule, path: &Path, row: &'v Value) -> Result<Option<&'v Value>, Failure> {
    match path.get(row) {
        Ok(value) => Ok(Some(value)),
        Err(_) if rule.optional => Ok(None),
        Err(PathError::Missing(member)) => Err(rejected(format!(
            "{}: the row has no `{member}`; a member that may be missing needs `optional = true`",
            rule.place
        ))),
        Err(other) => Err(rejected(format!("{}: {other}", rule.place))),
    }
}

/// Compare numbers by value and the rest as it is.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => text_of(a) == text_of(b),
        _ => a == b,
    }
}

fn unfit(rule: &Rule, problem: &str) -> Failure {
    rejected(format!("{}: the value {problem}", rule.place))
}

/// Whether a field is read as a list.
fn takes_list(rule: &Rule) -> bool {
    match &rule.convert {
        Convert::Each(_) | Convert::Texts { .. } => true,
        Convert::Plain => rule.kind == Some(Kind::List),
        _ => false,
    }
}

/// Turn a single child of an XML element into a list of one if there could be several. An object whose members have
/// numbers as names is not such a child: it was made from a list.
fn listed(value: Cow<'_, Value>) -> Cow<'_, Value> {
    let is_numbered = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    match value.as_ref() {
        Value::Object(members) if !members.is_empty() && !members.keys().any(is_numbered) => {
            Cow::Owned(Value::Array(vec![value.into_owned()]))
        }
        Value::String(text) if !text.is_empty() => Cow::Owned(Value::Array(vec![value.into_owned()])),
        _ => value,
    }
}

pub(super) fn rejected(message: impl Into<String>) -> Failure {
    Failure::new(Class::Rejected, message)
}

fn located(failure: Failure, field: &dyn Fn() -> String) -> Failure {
    if failure.field.is_some() { failure } else { failure.with_field(field()) }
}
