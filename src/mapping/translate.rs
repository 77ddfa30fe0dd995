//! A mapping, ready to run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    Children, Externals, Fields, Glimpse, Needs, Prefix, Pulled, Translate,
    compile::{self, Compiler},
    fallback,
    file::MappingFile,
    lookup::Tables,
    outline::{Misfit, Outline},
    precision, prefix,
    pull::{Pull, rejected},
    push::{Absent, IdAnswers, Push, needs},
    respelt,
    rule::{Convert, Item, Rule, Way},
    unseen::{self, Unseen},
};
use crate::{
    expr::{Expr, KnownNames, Path, Scope, Template, text_of, with_answers},
    failure::Failure,
    load::{self, LoadError, Place, SourceFile},
    model::{EntitySpec, FieldError, Shape, canonical, flaw},
};

/// One entity's mapping at one system, compiled.
#[derive(Debug)]
pub struct Mapping {
    spec: Arc<EntitySpec>,
    key: Key,
    key_place: Place,
    rules: Vec<Rule>,
    on_create: Option<Template>,
    always: Option<Template>,
    settings: Scope<'static>,
    reads: BTreeSet<String>,
    writes: BTreeSet<String>,
    read_shapes: BTreeMap<String, Shape>,
    written_shapes: BTreeMap<String, Shape>,
    /// Whether an expression asks for ids at the target.
    asks: bool,
    /// Whether the ids of an object's own children are sent or asked for.
    own_child_ids: bool,
    /// Lists of children whose ids are sent to refer to them.
    hangs_on: BTreeSet<String>,
    outline: Outline,
    prefix: Prefix,
    respells: bool,
    version: u64,
}

#[derive(Debug)]
enum Key {
    Path(Path),
    Expr(Expr),
}

impl Mapping {
    /// Read and check a mapping. `settings` are the adapter's, without secrets. `lookups` are the configuration's,
    /// which add to those of the file and override them.
    pub fn load(
        file: &Arc<SourceFile>,
        spec: &Arc<EntitySpec>,
        settings: &Map<String, Value>,
        lookups: &Tables,
    ) -> Result<Self, LoadError> {
        Self::load_for(file, spec, settings, lookups, &spec.fields.keys().cloned().collect())
    }

    /// Like [`load`](Self::load), for a system to which flows bring only the fields `brought`. Expressions know
    /// these as `told`.
    pub fn load_for(
        file: &Arc<SourceFile>,
        spec: &Arc<EntitySpec>,
        settings: &Map<String, Value>,
        lookups: &Tables,
        brought: &BTreeSet<String>,
    ) -> Result<Self, LoadError> {
        Self::compile(file, spec, settings, lookups, brought).map_err(LoadError::bounded)
    }

    fn compile(
        file: &Arc<SourceFile>,
        spec: &Arc<EntitySpec>,
        settings: &Map<String, Value>,
        lookups: &Tables,
        brought: &BTreeSet<String>,
    ) -> Result<Self, LoadError> {
        let written: MappingFile = load::parse(file)?;
        let compiler = Compiler { file, spec, settings, lookups: compile::lookups(&written, lookups), brought };
        let key_place = compiler.place(&written.key);
        let key = match Path::parse(written.key.get_ref(), false) {
            Some(path) => Key::Path(path),
            // Members of the row are variables here, whatever their names.
            None => {
                let known = KnownNames::any().settings(settings.keys().cloned());
                Key::Expr(Expr::compile(written.key.get_ref(), &key_place, &known)?)
            }
        };
        let rules = compiler.rules(&written.fields, &spec.fields, true)?;
        let template = |node: &Option<load::Spanned<load::Node>>| {
            node.as_ref().map(|node| Template::compile(node, file, &compiler.push_known())).transpose()
        };
        let (on_create, always) = (template(&written.extra.on_create)?, template(&written.extra.always)?);
        let reads = rules.iter().filter(|rule| rule.reads).map(|rule| rule.name.clone()).collect();
        let mut writes: BTreeSet<String> =
            rules.iter().filter(|rule| rule.writes && rule.kind.is_some()).map(|rule| rule.name.clone()).collect();
        let calls = |rule: &Rule, name: &str| rule.push.as_ref().is_some_and(|push| push.calls(name));
        let asks = rules.iter().any(|rule| rule.any(&|rule| calls(rule, "id_of") || calls(rule, "part_id")));
        let own_child_ids = rules.iter().any(|rule| {
            matches!(&rule.convert, Convert::Each(each) if each.part.is_some())
                || rule.any(&|rule| calls(rule, "part_id"))
        });
        let mut hangs_on = BTreeSet::new();
        rules.iter().for_each(|rule| rule.hosts(&mut hangs_on));
        let uses_key =
            rules.iter().any(|rule| rule.any(&|rule| rule.push.as_ref().is_some_and(|push| push.names("key"))))
                || [&on_create, &always].into_iter().flatten().any(|extra| extra.names("key"));
        if uses_key && !writes.is_empty() {
            // What is sent depends on the key, so the engine must supply it.
            writes.insert(spec.key.clone());
        }
        let shapes = |fields: &BTreeSet<String>, way: Way| {
            let of = |field: &String| {
                let rule = rules.iter().find(|rule| rule.name == *field);
                (field.clone(), rule.map_or(Shape::Whole, |rule| rule.shape(way)))
            };
            fields.iter().map(of).collect()
        };
        let (read_shapes, written_shapes) = (shapes(&reads, Way::Pull), shapes(&writes, Way::Push));
        let version = version(file, spec, settings, lookups, brought);
        let key_text = written.key.get_ref();
        let setting = prefix::setting(key_text, settings).map(str::to_owned);
        let prefix = Prefix { value: prefix::of(key_text, settings), setting };
        let settings = compiler.scope();
        let outline = Outline::of(spec, &rules, &settings);
        let respells = respelt::respells(spec, &rules);
        let spec = Arc::clone(spec);
        Ok(Self {
            spec,
            key,
            key_place,
            rules,
            on_create,
            always,
            settings,
            reads,
            writes,
            read_shapes,
            written_shapes,
            asks,
            own_child_ids,
            hangs_on,
            outline,
            prefix,
            respells,
            version,
        })
    }

    /// The entity it is a mapping of.
    #[must_use]
    pub fn spec(&self) -> &Arc<EntitySpec> {
        &self.spec
    }

    /// Fields that are read and written.
    #[must_use]
    pub fn both_ways(&self) -> BTreeSet<String> {
        let both = self.rules.iter().filter(|rule| rule.reads && rule.writes && rule.kind.is_some());
        both.map(|rule| rule.name.clone()).collect()
    }

    /// Fields whose new value waits at the system for somebody to finish it.
    fn pending(&self, row: &Value, scope: &Scope<'_>) -> Result<BTreeSet<String>, Failure> {
        let mut pending = BTreeSet::new();
        for (rule, expr) in self.rules.iter().filter_map(|rule| Some((rule, rule.pending.as_ref()?))) {
            let is_pending = expr.eval(&scope.child().with("row", row));
            let is_pending = is_pending.map_err(|error| rejected(error.to_string()).with_field(rule.name.clone()))?;
            if is_pending == Value::Bool(true) {
                pending.insert(rule.name.clone());
            }
        }
        Ok(pending)
    }

    pub(super) fn key_of(&self, row: &Value) -> Result<String, Failure> {
        let located = |message: String| rejected(message).with_field(self.spec.key.clone());
        let value = match &self.key {
            Key::Path(path) => {
                path.get(row).map_err(|error| located(format!("{}: the key: {error}", self.key_place)))?.clone()
            }
            Key::Expr(expr) => {
                let scope = self.settings.on_row(row);
                expr.eval(&scope).map_err(|error| located(error.to_string()))?
            }
        };
        match text_of(&value) {
            Some(key) if key.contains('\0') => {
                Err(located(format!("{}: the key holds a NUL character", self.key_place)))
            }
            Some(key) if !key.is_empty() => Ok(key),
            _ => Err(located(format!("{}: the row has no key", self.key_place))),
        }
    }

    fn extra(&self, extra: Option<&Template>, scope: &Scope<'_>, out: &mut Map<String, Value>) -> Result<(), Failure> {
        let Some(extra) = extra else { return Ok(()) };
        if let Some(Value::Object(members)) = extra.render(scope).map_err(|error| rejected(error.to_string()))? {
            merge(out, members);
        }
        Ok(())
    }

    pub(super) fn pushed(
        &self,
        desired: &Fields,
        only: Option<&BTreeSet<String>>,
        known: &Externals,
        answers: Option<Arc<IdAnswers>>,
    ) -> Result<Value, Failure> {
        let root = Value::Object(desired.clone());
        let key = desired.get(&self.spec.key).cloned().unwrap_or_default();
        let scope = self.settings.child().with("root", &root).with("key", &key);
        let mut out = Map::with_capacity(self.rules.len());
        let absent = only.map_or(Absent::Left, |only| Absent::Cleared(Some(only)));
        if self.always.is_some() || (self.on_create.is_some() && only.is_none()) {
            let scope = scope.child().with("wanted", &root).with("value", &Value::Null);
            self.extra(self.always.as_ref(), &scope, &mut out)?;
            self.extra(self.on_create.as_ref().filter(|_| only.is_none()), &scope, &mut out)?;
        }
        let push = Push { scope: &scope, known, unanswered: answers.as_deref(), at: "", absent };
        push.fields(&self.rules, desired, &mut out)?;
        Ok(Value::Object(out))
    }
}

impl Translate for Mapping {
    fn version(&self) -> u64 {
        self.version
    }

    fn pull(&self, row: &Value) -> Result<Pulled, Failure> {
        // Check this before any expression can turn it into another value.
        if let Some(flaw) = flaw::first(row) {
            let failure = rejected(flaw.to_string());
            return Err(if flaw.place.is_empty() { failure } else { failure.with_field(flaw.place) });
        }
        let key = self.key_of(row)?;
        let scope = self.settings.child().with("root", row);
        let mut pull = Pull { scope: &scope, refs: Vec::new(), child_ids: Children::new(), only: None, flawed: false };
        let mut fields = pull.fields(&self.rules, row, "")?;
        let found = pull.finish(&self.spec, &mut fields)?;
        let pending = self.pending(row, &scope)?;
        Ok(Pulled { key, fields, refs: found.refs, child_ids: found.child_ids, pending })
    }

    fn named(&self, row: &Value) -> Option<BTreeSet<String>> {
        let scope = self.settings.child().with("root", row);
        let flawed = flaw::first(row).is_some();
        let mut named = BTreeSet::new();
        for rule in self.rules.iter().filter(|rule| rule.reads) {
            let Some(field) = self.spec.fields.get(&rule.name) else { continue };
            let only = field.of.as_ref().and_then(|of| of.fields.iter().find(|(_, member)| member.part.is_some()));
            let mut pull = Pull {
                scope: &scope,
                refs: Vec::new(),
                child_ids: BTreeMap::new(),
                only: only.map(|(member, _)| member.as_str()),
                flawed,
            };
            if field.part.is_some() {
                let read = pull.fields(std::slice::from_ref(rule), row, "").ok()?;
                named.extend(read.get(&rule.name).and_then(text_of));
            } else if only.is_some() {
                named.extend(pull.named(rule, row).ok()?);
            }
        }
        Some(named)
    }

    fn unseen(&self, rows: &[&Value]) -> Vec<Unseen> {
        let mut found = Vec::new();
        unseen::unseen(&self.rules, rows, "", &mut found);
        found
    }

    fn glimpse(&self, row: &Value) -> Glimpse {
        let scope = self.settings.child().with("root", row);
        let flawed = flaw::first(row).is_some();
        let mut glimpse = Glimpse { key: self.key_of(row).ok(), ..Glimpse::default() };
        for rule in self.rules.iter().filter(|rule| rule.reads) {
            let mut pull = Pull { scope: &scope, refs: Vec::new(), child_ids: BTreeMap::new(), only: None, flawed };
            let read = pull.fields(std::slice::from_ref(rule), row, "").and_then(|mut fields| {
                pull.finish(&self.spec, &mut fields)?;
                Ok(fields)
            });
            match read {
                // An expression may have passed an unreadable value on.
                Ok(fields) if flawed && fields.values().any(|value| flaw::first(value).is_some()) => {
                    glimpse.unread.insert(rule.name.clone());
                }
                Ok(fields) => glimpse.fields.extend(fields),
                Err(_) => drop(glimpse.unread.insert(rule.name.clone())),
            }
        }
        glimpse
    }

    fn writes(&self) -> &BTreeSet<String> {
        &self.writes
    }

    fn reads(&self) -> &BTreeSet<String> {
        &self.reads
    }

    fn misfits(&self, said: &Fields, source: Option<&Outline>, here: Option<&Fields>) -> Vec<Misfit> {
        self.outline.misfits(&self.spec, (said, source), here, &self.settings)
    }

    fn place(&self, field: &str) -> Option<String> {
        let (mut rules, mut found) = (self.rules.as_slice(), None);
        for name in field.split('.').map(|piece| piece.split('[').next().unwrap_or_default()) {
            let Some(rule) = rules.iter().find(|rule| rule.name == name) else { break };
            found = Some(&rule.place);
            rules = match &rule.convert {
                Convert::Object(inner) => inner,
                Convert::Each(each) => match &each.item {
                    Item::Object(inner) => inner,
                    Item::One(_) => &[],
                },
                _ => &[],
            };
        }
        found.or_else(|| (field == self.spec.key).then_some(&self.key_place)).map(ToString::to_string)
    }

    fn names(&self) -> Option<&Outline> {
        Some(&self.outline)
    }

    fn outline(&self) -> Outline {
        self.outline.clone()
    }

    fn round(&self, desired: &mut Fields) {
        precision::round_fields(&self.rules, &self.spec.fields, desired);
        fallback::fill(&self.rules, &self.spec.fields, desired);
    }

    fn takes_key(&self) -> bool {
        self.rules.iter().any(|rule| rule.name == self.spec.key && rule.reads && rule.writes)
    }

    fn prefix(&self) -> Option<&Prefix> {
        Some(&self.prefix)
    }

    fn respells_key(&self) -> bool {
        self.respells
    }

    fn respelt_key(&self, key: &str) -> Option<String> {
        self.respelt(key).filter(|_| self.respells)
    }

    fn written_values(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let tables = std::cell::RefCell::new(BTreeMap::new());
        for rule in &self.rules {
            rule.any(&|rule| {
                if let (Convert::Lookup(lookup), true) = (&rule.convert, rule.writes) {
                    tables.borrow_mut().insert(lookup.name().to_owned(), lookup.sent().collect());
                }
                false
            });
        }
        tables.into_inner()
    }

    fn read_shapes(&self) -> &BTreeMap<String, Shape> {
        &self.read_shapes
    }

    fn written_shapes(&self) -> &BTreeMap<String, Shape> {
        &self.written_shapes
    }

    fn hangs_on(&self) -> &BTreeSet<String> {
        &self.hangs_on
    }

    fn needs(&self, desired: &Fields) -> Needs {
        needs(&self.spec, desired, self.own_child_ids)
    }

    fn depends_on_target(&self) -> bool {
        let by_target = |rule: &Rule| rule.holds.as_ref().is_some_and(|holds| holds.names("here"));
        self.rules.iter().any(|rule| rule.any(&by_target))
    }

    fn unknown(&self, fields: &Fields) -> Vec<FieldError> {
        let mut unknown = Vec::new();
        let rules = self.rules.iter().filter(|rule| !self.spec.holds_state(&rule.name));
        unmapped(rules, fields, "", &mut unknown);
        unknown
    }

    fn looks(&self, only: Option<&BTreeSet<String>>) -> bool {
        let mut beside = self.rules.iter().filter(|rule| rule.writes && rule.beside.is_some());
        beside.any(|rule| only.is_none_or(|changed| rule.depends_on(changed)))
    }

    fn push(&self, desired: &Fields, only: Option<&BTreeSet<String>>, known: &Externals) -> Result<Value, Failure> {
        if !self.asks {
            return self.pushed(desired, only, known, None);
        }
        let answers = Arc::new(IdAnswers::new(known));
        with_answers(Arc::clone(&answers) as _, || self.pushed(desired, only, known, Some(answers)))
    }
}

/// Collect the words that lookups kept without knowing them.
fn unmapped<'a>(rules: impl Iterator<Item = &'a Rule>, fields: &Fields, at: &str, unknown: &mut Vec<FieldError>) {
    for rule in rules {
        let Some(value) = fields.get(&rule.name) else { continue };
        let field = format!("{at}{}", rule.name);
        match (&rule.convert, value) {
            (Convert::Lookup(lookup), Value::String(word)) if rule.keeps && lookup.system(value).is_err() => {
                let problem = format!("`{word}` is in no line of lookup `{}`; name it there", lookup.name());
                unknown.push(FieldError { field, problem });
            }
            (Convert::Object(inner), Value::Object(members)) => {
                unmapped(inner.iter(), members, &format!("{field}."), unknown);
            }
            (Convert::Each(each), Value::Array(items)) => {
                let Item::Object(inner) = &each.item else { continue };
                for (index, item) in items.iter().enumerate() {
                    if let Value::Object(members) = item {
                        unmapped(inner.iter(), members, &format!("{field}[{index}]."), unknown);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Lay members over those of `into`, recursively for objects.
fn merge(into: &mut Map<String, Value>, members: Map<String, Value>) {
    for (name, member) in members {
        match (into.get_mut(&name), member) {
            (Some(Value::Object(inner)), Value::Object(members)) => merge(inner, members),
            (_, member) => {
                into.insert(name, member);
            }
        }
    }
}

/// A hash that changes with everything that shapes an object, and with nothing else.
fn version(
    file: &SourceFile,
    spec: &EntitySpec,
    settings: &Map<String, Value>,
    lookups: &Tables,
    brought: &BTreeSet<String>,
) -> u64 {
    let mut hasher = blake3::Hasher::new();
    // Raise this number if the same mapping makes something else of a row.
    hasher.update(b"mapping 2\0").update(file.text.as_bytes()).update(b"\0");
    let as_json = |value: serde_json::Result<Value>| value.unwrap_or_default();
    canonical::hash_into(&as_json(serde_json::to_value(spec)), &mut hasher);
    canonical::hash_into(&Value::Object(settings.clone()), &mut hasher);
    canonical::hash_into(&as_json(serde_json::to_value(lookups)), &mut hasher);
    if file.text.contains("told") {
        brought.iter().for_each(|field| {
            hasher.update(field.as_bytes()).update(b"\0");
        });
    }
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}
