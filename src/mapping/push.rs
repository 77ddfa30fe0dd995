//! Turns canonical fields into a target's shape.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use serde_json::{Map, Value};

use super::{
    ChildIds, Externals, Needs,
    compile::shaped,
    file::By,
    pull::rejected,
    rule::{Beside, Convert, Each, Item, Rule, Source},
};
use crate::{
    expr::{Answers, Path, Scope, text_of},
    failure::{Class, Failure},
    ids::RecordId,
    model::{EntitySpec, FieldSpec, Kind},
    wait_reason::WaitReason,
};

/// One object on its way out, or an object or item within it.
#[derive(Clone, Copy)]
pub(super) struct Push<'a> {
    /// Variables that all expressions see: settings, `root`, `key`.
    pub scope: &'a Scope<'a>,
    pub known: &'a Externals,
    /// Collects questions of expressions that had no answer.
    pub unanswered: Option<&'a IdAnswers>,
    /// Path of the object within the whole one, for messages; empty for the whole one.
    pub at: &'a str,
    /// How its absent fields are written.
    pub absent: Absent<'a>,
}

/// How absent fields are written.
#[derive(Clone, Copy)]
pub(super) enum Absent<'a> {
    /// They are left out: the target does not have the object yet.
    Left,
    /// They are sent as null: these fields, or all inside an item that the target has.
    Cleared(Option<&'a BTreeSet<String>>),
}

impl Push<'_> {
    pub(super) fn fields(
        &self,
        rules: &[Rule],
        desired: &Map<String, Value>,
        out: &mut Map<String, Value>,
    ) -> Result<(), Failure> {
        // Make one object for all expressions, to convert it for them only once.
        let scripted = rules.iter().any(|rule| rule.push.is_some());
        let object = if scripted { Value::Object(desired.clone()) } else { Value::Null };
        let scope = self.scope.child().with("wanted", &object);
        for rule in rules.iter().filter(|rule| rule.writes) {
            if let Absent::Cleared(Some(changed)) = self.absent
                && !rule.depends_on(changed)
            {
                continue;
            }
            let value = desired.get(&rule.name).filter(|value| !value.is_null());
            self.field(rule, value, &scope, out).map_err(|failure| {
                if failure.field.is_some() { failure } else { failure.with_field(self.path(rule)) }
            })?;
        }
        Ok(())
    }

    /// The path of a rule's field in the whole object.
    fn path(&self, rule: &Rule) -> String {
        if self.at.is_empty() { rule.name.clone() } else { format!("{}.{}", self.at, rule.name) }
    }

    fn field(
        &self,
        rule: &Rule,
        value: Option<&Value>,
        scope: &Scope<'_>,
        out: &mut Map<String, Value>,
    ) -> Result<(), Failure> {
        let own = rule.kind.is_none();
        if value.is_none() && !own {
            let clears = match self.absent {
                Absent::Left => false,
                Absent::Cleared(Some(changed)) => changed.contains(&rule.name),
                Absent::Cleared(None) => true,
            };
            if !clears || !rule.clear {
                return Ok(());
            }
        }
        if let Some(push) = &rule.push {
            let null = Value::Null;
            let scope = scope.child().with("value", value.unwrap_or(&null));
            let sent = match push.eval_or_omit(&scope) {
                Ok(sent) => sent,
                Err(error) => return Err(self.refused(&error)),
            };
            return match sent {
                Some(sent) => self.send(rule, sent, out),
                None => Ok(()),
            };
        }
        let Some(value) = value else { return self.clear(rule, out) };
        match (&rule.convert, &rule.source, value) {
            (_, Source::Languages(paths), Value::Object(texts)) => {
                for (language, path) in paths {
                    match (texts.get(language), self.absent) {
                        (Some(text), _) => put(rule, path, text.clone(), out)?,
                        (None, Absent::Left) => {}
                        (None, Absent::Cleared(_)) => put(rule, path, Value::Null, out)?,
                    }
                }
                Ok(())
            }
            (Convert::Language(language), _, Value::Object(texts)) => match texts.get(language) {
                Some(text) => self.send(rule, text.clone(), out),
                None => Ok(()),
            },
            (Convert::Texts { language: tag, value: member }, _, Value::Object(texts)) => {
                let list = texts.iter().map(|(language, text)| {
                    Value::Object(Map::from_iter([
                        (tag.clone(), Value::from(language.as_str())),
                        (member.clone(), text.clone()),
                    ]))
                });
                self.send(rule, list.collect(), out)
            }
            (Convert::Object(rules), source, Value::Object(members)) => {
                let absent = match self.absent {
                    Absent::Left => Absent::Left,
                    Absent::Cleared(_) => Absent::Cleared(None),
                };
                let at = self.path(rule);
                let inner = Push { at: &at, absent, ..*self };
                if matches!(source, Source::Row) && rule.target.is_none() {
                    return inner.fields(rules, members, out);
                }
                let mut object = Map::new();
                inner.fields(rules, members, &mut object)?;
                self.send(rule, Value::Object(object), out)
            }
            (Convert::Each(each), _, Value::Array(items)) => {
                let list = self.items(rule, each, items)?;
                self.send(rule, Value::Array(list), out)
            }
            // A state that the lookup does not know is not sent.
            (Convert::Lookup(lookup), ..) if rule.keeps && lookup.system(value).is_err() => Ok(()),
            _ => {
                let value = self.single(rule, value)?;
                self.send(rule, value, out)
            }
        }
    }

    fn items(&self, rule: &Rule, each: &Each, items: &[Value]) -> Result<Vec<Value>, Failure> {
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let named = each.part.as_ref().and_then(|(key, _)| item.get(key)).and_then(text_of);
            let at = || format!("{}[{}]", self.path(rule), named.clone().unwrap_or_else(|| index.to_string()));
            let locate = |failure: Failure| if failure.field.is_some() { failure } else { failure.with_field(at()) };
            let mut object = Map::new();
            // The target's id of an item it already has.
            let id = match (&each.part, &named) {
                (Some((_, part)), Some(key)) => self.known.own.get(&(part.clone(), key.clone())),
                _ => None,
            };
            if let (Some(path), Some(id)) = (&each.id, id) {
                put_at(path, identifier(id), &mut object);
            }
            match (&each.item, item) {
                (Item::Object(rules), Value::Object(members)) => {
                    let absent = match self.absent {
                        Absent::Cleared(_) if id.is_some() => Absent::Cleared(None),
                        _ => Absent::Left,
                    };
                    Push { at: &at(), absent, ..*self }.fields(rules, members, &mut object)?;
                    list.push(Value::Object(object));
                }
                (Item::One(rule), item) => {
                    let sent = match &rule.push {
                        None => Some(self.single(rule, item).map_err(locate)?),
                        Some(push) => {
                            let scope = self.scope.child().with("wanted", item).with("value", item);
                            push.eval_or_omit(&scope).map_err(|error| locate(self.refused(&error)))?
                        }
                    };
                    let Some(sent) = sent else { continue };
                    match &rule.target {
                        None => list.push(shaped(sent, rule.form).map_err(|problem| locate(unfit(rule, problem)))?),
                        Some(_) => {
                            self.send(rule, sent, &mut object).map_err(locate)?;
                            list.push(Value::Object(object));
                        }
                    }
                }
                (Item::Object(_), _) => return Err(rejected("the item is not an object").with_field(at())),
            }
        }
        Ok(list)
    }

    /// Convert a value that is not taken apart.
    fn single(&self, rule: &Rule, value: &Value) -> Result<Value, Failure> {
        match &rule.convert {
            Convert::Lookup(lookup) => lookup.system(value),
            Convert::Ref { entity, by } => {
                let Some(record) = RecordId::of(value) else { return Err(unfit(rule, "is no record number")) };
                let place = (entity.clone(), record);
                let known = if *by == By::Id { &self.known.records } else { &self.known.keys };
                let name = || self.known.names.get(&place).or_else(|| self.known.keys.get(&place));
                let found = known.get(&place).map(|id| Value::from(id.as_str()));
                found.ok_or_else(|| missing_record(entity, record, name()))
            }
            Convert::Part(list) => {
                let key = text_of(value).unwrap_or_default();
                let place = (list.clone(), key);
                let found = self.known.own.get(&place).or_else(|| self.known.child_ids.get(&place));
                found.map(|id| Value::from(id.as_str())).ok_or_else(|| self.missing_child(&place.0, &place.1))
            }
            _ => Ok(value.clone()),
        }
    }

    fn send(&self, rule: &Rule, value: Value, out: &mut Map<String, Value>) -> Result<(), Failure> {
        let value =
            if value.is_null() { value } else { shaped(value, rule.form).map_err(|problem| unfit(rule, problem))? };
        self.aimed(rule, value, out)
    }

    fn aimed(&self, rule: &Rule, value: Value, out: &mut Map<String, Value>) -> Result<(), Failure> {
        let Some(path) = &rule.target else { return Ok(()) };
        let value = match (&rule.beside, &self.known.there) {
            (Some(beside), Some(there)) => self.joined(beside, path, value, there)?,
            _ => value,
        };
        put(rule, path, value, out)
    }

    /// What is sent for a list that the target replaces as a whole. Items that are not ours stay as they are and in
    /// their places; ours take the members that they do not name from the items that they match.
    fn joined(&self, beside: &Beside, path: &Path, ours: Value, there: &Value) -> Result<Value, Failure> {
        let mut ours = match ours {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            other => return Ok(other),
        };
        let there = beside
            .from
            .as_ref()
            .unwrap_or(path)
            .get(there)
            .ok()
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let mut list = Vec::with_capacity(there.len() + ours.len());
        for item in there {
            let name = |item: &Value| beside.by.as_ref().and_then(|by| text_of(by.get(item).ok()?));
            let own = name(item).and_then(|name_there| {
                let place = ours.iter().position(|own| name(own).as_ref() == Some(&name_there))?;
                Some(ours.remove(place))
            });
            match (own, item) {
                (Some(Value::Object(own)), Value::Object(item)) => {
                    let mut whole = item.clone();
                    whole.extend(own);
                    list.push(Value::Object(whole));
                }
                (Some(own), _) => list.push(own),
                (None, item) => {
                    let scope = self.scope.child().with("item", item);
                    let refused = |error: crate::expr::ExprError| rejected(error.to_string());
                    if beside.keep.eval_bool(&scope).map_err(refused)? {
                        list.push(match &beside.send {
                            Some(send) => send.eval(&scope).map_err(refused)?,
                            None => item.clone(),
                        });
                    }
                }
            }
        }
        list.append(&mut ours);
        Ok(Value::Array(list))
    }

    /// Tell the target that the field no longer has a value.
    fn clear(&self, rule: &Rule, out: &mut Map<String, Value>) -> Result<(), Failure> {
        if let Source::Languages(paths) = &rule.source {
            return paths.iter().try_for_each(|(_, path)| put(rule, path, Value::Null, out));
        }
        let nothing = match (rule.none.first(), rule.kind) {
            (Some(none), _) => none.clone(),
            (None, Some(Kind::List)) => Value::Array(Vec::new()),
            _ => Value::Null,
        };
        self.aimed(rule, nothing, out)
    }

    /// If an expression failed because the target lacks a record, the write waits for it. Any other error is
    /// refused.
    fn refused(&self, error: &crate::expr::ExprError) -> Failure {
        let question = self.unanswered.and_then(IdAnswers::first);
        match question {
            Some(Question::Record(entity, record)) => {
                let place = (entity.clone(), record);
                let name = self.known.names.get(&place).or_else(|| self.known.keys.get(&place));
                missing_record(&entity, record, name)
            }
            Some(Question::Part(list, key)) => self.missing_child(&list, &key),
            None => rejected(error.to_string()),
        }
    }

    fn missing_child(&self, list: &str, key: &str) -> Failure {
        let mut failure = missing(list, key);
        if self.known.unclear.contains(&(list.to_owned(), key.to_owned())) {
            failure.message = format!("several objects of the target have {list} {key}: it is unclear which is meant");
        }
        failure
    }
}

fn missing_record(entity: &str, record: RecordId, name: Option<&String>) -> Failure {
    let name = name.cloned().unwrap_or_else(|| format!("#{record}"));
    missing(entity, &name)
}

fn missing(entity: &str, key: &str) -> Failure {
    Failure::new(Class::Unmapped, format!("the target does not have {entity} {key} yet"))
        .with_cause(WaitReason::missing(entity, key))
}

fn unfit(rule: &Rule, problem: &str) -> Failure {
    rejected(format!("{}: the value {problem}", rule.place))
}

fn put(rule: &Rule, path: &Path, value: Value, out: &mut Map<String, Value>) -> Result<(), Failure> {
    if path.put(out, value) {
        Ok(())
    } else {
        Err(rejected(format!(
            "{}: nothing can be put at `{path}`: another field has put a value on the way",
            rule.place
        )))
    }
}

fn put_at(path: &Path, value: Value, out: &mut Map<String, Value>) {
    // A new object has nothing in the way, and a path into a list is not possible here.
    let _ = path.put(out, value);
}

/// An id in the form that most systems give: digits as a number.
fn identifier(id: &str) -> Value {
    match id.parse::<i64>() {
        Ok(number) if number.to_string() == id => Value::from(number),
        _ => Value::from(id),
    }
}

/// Answers what expressions ask while they run, from what is known.
pub(super) struct IdAnswers {
    records: BTreeMap<(String, RecordId), String>,
    child_ids: ChildIds,
    own: ChildIds,
    open: Mutex<Vec<Question>>,
}

#[derive(Clone)]
enum Question {
    Record(String, RecordId),
    Part(String, String),
}

impl IdAnswers {
    pub(super) fn new(known: &Externals) -> Self {
        Self {
            records: known.records.clone(),
            child_ids: known.child_ids.clone(),
            own: known.own.clone(),
            open: Mutex::default(),
        }
    }

    fn first(&self) -> Option<Question> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }

    fn noted<T>(&self, answer: Option<T>, question: impl FnOnce() -> Question) -> Option<T> {
        if answer.is_none() {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).push(question());
        }
        answer
    }
}

impl Answers for IdAnswers {
    fn id_of(&self, entity: &str, record: RecordId) -> Option<String> {
        let answer = self.records.get(&(entity.to_owned(), record)).cloned();
        self.noted(answer, || Question::Record(entity.to_owned(), record))
    }

    fn part_id(&self, list: &str, key: &str) -> Option<String> {
        let place = (list.to_owned(), key.to_owned());
        let answer = self.own.get(&place).or_else(|| self.child_ids.get(&place)).cloned();
        self.noted(answer, || Question::Part(list.to_owned(), key.to_owned()))
    }
}

/// References and children that an object names, according to its specification.
pub(super) fn needs(spec: &EntitySpec, desired: &Map<String, Value>, own_child_ids: bool) -> Needs {
    let mut needs = Needs::default();
    for (name, value) in desired {
        let Some(field) = spec.fields.get(name) else { continue };
        collect(field, value, &mut needs);
        let (true, Some(key), Value::Array(items)) = (own_child_ids, &field.key, value) else { continue };
        let keys = items.iter().filter_map(|item| item.get(key)).filter_map(text_of);
        needs.own.extend(keys.map(|key| (format!("{}.{name}", spec.entity), key)));
    }
    needs
}

fn collect(spec: &FieldSpec, value: &Value, needs: &mut Needs) {
    match (spec.kind, value) {
        (Kind::Ref, value) => {
            if let (Some(to), Some(record)) = (&spec.to, RecordId::of(value)) {
                needs.records.insert((to.clone(), record));
            }
        }
        (Kind::Text, Value::String(text)) => {
            if let Some(part) = &spec.part {
                needs.child_ids.insert((part.clone(), text.clone()));
            }
        }
        (Kind::List, Value::Array(items)) => {
            if let Some(of) = &spec.of {
                items.iter().for_each(|item| collect(of, item, needs));
            }
        }
        (Kind::Map, Value::Object(members)) => {
            if let Some(of) = &spec.of {
                members.values().for_each(|member| collect(of, member, needs));
            }
        }
        (Kind::Object, Value::Object(members)) => {
            for (name, member) in members {
                if let Some(spec) = spec.fields.get(name) {
                    collect(spec, member, needs);
                }
            }
        }
        _ => {}
    }
}
