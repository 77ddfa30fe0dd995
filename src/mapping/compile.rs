//! Compiles a mapping file to rules, and refuses everything that could not work.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::Arc,
};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{
    file::{self, As, By, FieldRule, From, Localized, MappingFile, RuleTable},
    lookup::{Lookup, Tables},
    precision::Precision,
    rule::{Beside, Convert, Each, Item, Rule, Source},
};
use crate::{
    expr::{Expr, KnownNames, Path, SETTINGS, Scope, Template, text_of},
    load::{LoadError, Node, Place, SourceFile, Spanned},
    model::{EntitySpec, FieldSpec, Kind, codes, time},
};

/// Where a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// A field of the entity.
    Top,
    /// A member of an object or item.
    Member,
    /// The single value of an item.
    Item,
}

pub(super) struct Compiler<'a> {
    pub file: &'a Arc<SourceFile>,
    pub spec: &'a EntitySpec,
    pub settings: &'a Map<String, Value>,
    pub lookups: BTreeMap<String, Arc<Lookup>>,
    /// Canonical fields that flows bring to the system; all fields if no flow brings it anything.
    pub brought: &'a BTreeSet<String>,
}

/// The tables of values of a file, overridden by those of the configuration.
pub(super) fn lookups(written: &MappingFile, over: &Tables) -> BTreeMap<String, Arc<Lookup>> {
    let names: BTreeSet<&String> = written.lookups.keys().chain(over.keys()).collect();
    let compiled = names.into_iter().map(|name| {
        let own = written.lookups.get(name).into_iter().flatten();
        let own = own.map(|(canonical, value)| (canonical.clone(), value.get_ref().to_json()));
        (name.clone(), Arc::new(Lookup::new(name, own, over.get(name))))
    });
    compiled.collect()
}

impl Compiler<'_> {
    pub(super) fn place<T>(&self, value: &Spanned<T>) -> Place {
        Place::of(self.file, value)
    }

    fn known(&self, names: &[&'static str]) -> KnownNames {
        KnownNames::of(names.iter().copied().chain(["told"])).settings(self.settings.keys().cloned())
    }

    pub(super) fn push_known(&self) -> KnownNames {
        self.known(&["value", "wanted", "root", "key"])
    }

    pub(super) fn rules(
        &self,
        written: &IndexMap<String, Spanned<FieldRule>>,
        specs: &IndexMap<String, FieldSpec>,
        top: bool,
    ) -> Result<Vec<Rule>, LoadError> {
        LoadError::collect(written.iter().map(|(name, rule)| {
            let place = self.place(rule);
            let table = &rule.get_ref().0;
            let spec = specs.get(name);
            // A rule that only sends something needs no canonical field.
            if spec.is_none() && !(table.push_to.is_some() && table.push.is_some() && table.from.is_none()) {
                return Err(LoadError::unknown(
                    &place,
                    "field",
                    name,
                    specs.keys().map(String::as_str).collect::<Vec<_>>(),
                ));
            }
            let level = if top { Level::Top } else { Level::Member };
            RuleCompiler { compiler: self, name, table, place: &place, spec, level }.rule()
        }))
    }

    fn beside(&self, beside: &file::Beside) -> Result<Beside, LoadError> {
        let known = self.known(&["item"]);
        let expr = |text: &Spanned<String>| Expr::compile(text.get_ref(), &self.place(text), &known);
        let path = |text: &Spanned<String>| self.path(text.get_ref(), &self.place(text));
        Ok(Beside {
            keep: expr(&beside.keep)?,
            from: beside.from.as_ref().map(path).transpose()?,
            send: beside.send.as_ref().map(expr).transpose()?,
            by: beside.by.as_ref().map(path).transpose()?,
        })
    }

    fn source(&self, table: &RuleTable, place: &Place) -> Result<Source, LoadError> {
        let Some(from) = &table.from else { return Ok(Source::Row) };
        // If a rule is only a path, the path's place is the rule's place.
        let at = if from.span().is_empty() { place.clone() } else { self.place(from) };
        match from.get_ref() {
            From::Path(text) => self.path(text, &at).map(Source::Path),
            From::Languages(paths) => LoadError::collect(paths.iter().map(|(language, path)| {
                let at = self.place(path);
                Ok((self.language(language, &at)?, self.path(path.get_ref(), &at)?))
            }))
            .map(Source::Languages),
        }
    }

    fn path(&self, text: &str, at: &Place) -> Result<Path, LoadError> {
        Path::parse(text, true).ok_or_else(|| {
            LoadError::new(at, format!("`{text}` is no path")).help(
                "a path is `brand.name`, `lines[0].id` or `[\"any name\"]`; expressions stand in `pull` and `push`",
            )
        })
    }

    fn language(&self, text: &str, at: &Place) -> Result<String, LoadError> {
        let settings = self.scope();
        let template = Template::text(text, at, &self.known(&[]))?;
        let rendered = template.render_text(&settings).map_err(|error| LoadError::new(at, error.to_string()))?;
        codes::language(&rendered)
            .ok_or_else(|| LoadError::new(at, format!("`{rendered}` is no language tag (es, pt-BR)")))
    }

    fn constant(&self, value: &Spanned<Node>) -> Result<Value, LoadError> {
        let at = self.place(value);
        let template = Template::compile(value, self.file, &self.known(&[]))?;
        let rendered = template.render(&self.scope()).map_err(|error| LoadError::new(&at, error.to_string()))?;
        Ok(rendered.unwrap_or_default())
    }

    pub(super) fn scope(&self) -> Scope<'static> {
        let brought = self.brought.iter().map(|field| Value::from(field.as_str())).collect::<Value>();
        let scope = Scope::new().with_owned(SETTINGS, Value::Object(self.settings.clone()));
        let settings = self.settings.iter();
        settings
            .fold(scope, |scope, (name, value)| scope.with_owned(name.clone(), value.clone()))
            .with_owned("told", brought)
    }

    fn lookup(&self, name: &Spanned<String>) -> Result<Arc<Lookup>, LoadError> {
        self.lookups.get(name.get_ref()).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.lookups.keys().map(String::as_str).collect();
            let error = LoadError::unknown(&self.place(name), "lookup", name.get_ref(), known.clone());
            if known.is_empty() { error.help(format!("declare [lookups.{}]", name.get_ref())) } else { error }
        })
    }
}

/// Compiles one rule.
#[derive(Clone, Copy)]
struct RuleCompiler<'a> {
    compiler: &'a Compiler<'a>,
    /// The field's name.
    name: &'a str,
    table: &'a RuleTable,
    place: &'a Place,
    /// Absent for a rule that only sends something.
    spec: Option<&'a FieldSpec>,
    level: Level,
}

impl RuleCompiler<'_> {
    fn rule(&self) -> Result<Rule, LoadError> {
        let Self { compiler, name, table, place, spec, level } = *self;
        let wrong = |message: &str| self.wrong(message);
        if table.id.is_some() && level != Level::Item {
            return Err(wrong("`id` stands in `each`"));
        }
        let source = compiler.source(table, place)?;
        let pull_known = compiler.known(&["value", "row", "root"]);
        let push_known = compiler.push_known();
        let expr = |text: &Option<Spanned<String>>, known: &KnownNames| {
            text.as_ref().map(|text| Expr::compile(text.get_ref(), &compiler.place(text), known)).transpose()
        };
        let (pull, push) = (expr(&table.pull, &pull_known)?, expr(&table.push, &push_known)?);
        let holds = expr(&table.holds, &compiler.known(&["value", "wanted", "root", "here"]))?;
        let pending = expr(&table.pending, &compiler.known(&["row", "root"]))?;
        if pending.is_some() && level != Level::Top {
            return Err(wrong("`pending` is for fields of the object itself"));
        }
        let target = match &table.push_to {
            Some(to) => Some(compiler.path(to.get_ref(), &compiler.place(to))?),
            None => match &source {
                Source::Path(path) => Some(path.clone()),
                Source::Row | Source::Languages(_) => None,
            },
        };
        let beside = table.beside.as_ref().map(|beside| compiler.beside(beside)).transpose()?;
        if beside.is_some() && (level != Level::Top || target.is_none()) {
            return Err(wrong("`beside` is for a list that is sent as a member of the object itself"));
        }
        let convert = self.convert(&source)?;
        let zone = table.zone.as_ref().map(|zone| {
            time::zone(zone.get_ref()).map_err(|_| {
                LoadError::new(&compiler.place(zone), "unknown time zone").help("IANA names: `Europe/Madrid`")
            })
        });
        if table.form.is_some() && matches!(convert, Convert::Each(_) | Convert::Object(_) | Convert::Language(_)) {
            return Err(wrong("`as` is for single values"));
        }
        let counts = |spec: &FieldSpec| spec.holds(Kind::Decimal) || spec.holds(Kind::Money);
        if table.precision.is_some() && !spec.is_some_and(counts) {
            return Err(wrong("`precision` is for decimals and amounts"));
        }
        if table.round.is_some() && table.precision.is_none() {
            return Err(wrong("`round` says how `precision` rounds, and there is none"));
        }
        if table.value.is_some() && (table.from.is_some() || pull.is_some() || push.is_some()) {
            return Err(wrong("`value` is a constant and goes with no `from`, `pull` or `push`"));
        }
        let structured = matches!(convert, Convert::Object(_));
        let in_languages = matches!(source, Source::Languages(_));
        let aimed = target.is_some() || in_languages || (structured && table.from.is_none());
        if push.is_some() && !aimed {
            return Err(wrong("`push` needs `from` or `push_to`, the member it is sent as"));
        }
        let constant = table.value.as_ref().map(|value| compiler.constant(value)).transpose()?;
        let bare = matches!(source, Source::Row) && level == Level::Item;
        let found = !matches!(source, Source::Row) || pull.is_some() || structured || bare;
        let reads = spec.is_some()
            && (constant.is_some()
                || found && table.push_to.as_ref().is_none_or(|_| pull.is_some() || table.from.is_some()))
            && (pull.is_some() || !matches!(convert, Convert::Part(_)));
        // A value that `pull` made cannot be turned back unless `push` says how.
        let writes =
            constant.is_none() && (aimed || bare) && (push.is_some() || pull.is_none() || table.push_to.is_some());
        if !reads && !writes {
            return Err(wrong("says neither where it is read (`from`, `pull`, `value`) nor where it is sent"));
        }
        let depends = push.as_ref().map_or_else(
            || Some(BTreeSet::from([name.to_owned()])),
            |push| {
                let mut fields = push.members("wanted")?;
                fields.extend(push.members("root")?);
                fields.insert(name.to_owned());
                Some(fields)
            },
        );
        Ok(Rule {
            name: name.to_owned(),
            place: place.clone(),
            kind: spec.map(|spec| spec.kind),
            required: spec.is_some_and(|spec| spec.required),
            source,
            target,
            constant,
            pull,
            push,
            holds,
            pending,
            convert,
            keeps: spec.is_some_and(|spec| spec.doubted) || level == Level::Top && compiler.spec.holds_state(name),
            none: table.none.iter().map(|value| value.get_ref().to_json()).collect(),
            zone: zone.transpose()?,
            form: table.form,
            precision: table.precision.map(|digits| Precision::new(digits, table.round)),
            optional: table.optional,
            clear: table.clear.unwrap_or(true),
            beside,
            reads,
            writes,
            depends,
        })
    }

    fn wrong(&self, message: impl Display) -> LoadError {
        LoadError::new(self.place, format!("field `{}`: {message}", self.name))
    }

    fn convert(&self, source: &Source) -> Result<Convert, LoadError> {
        let Self { compiler, name, table, spec, .. } = *self;
        let kind = spec.map(|spec| spec.kind);
        let of_kind = |expected: Kind, key: &str| {
            if kind == Some(expected) {
                Ok(())
            } else {
                let kind = format!("{expected:?}").to_lowercase();
                Err(self.wrong(format!("`{key}` is for fields of kind {kind}")))
            }
        };
        let several = [
            table.lookup.is_some(),
            table.localized.is_some(),
            table.reference.is_some(),
            table.part.is_some(),
            table.each.is_some(),
            table.fields.is_some(),
        ];
        if several.iter().filter(|given| **given).count() > 1 {
            return Err(self.wrong("only one of `lookup`, `localized`, `ref`, `part`, `each`, `fields` can be"));
        }
        if let Some(by) = &table.by
            && table.reference.is_none()
        {
            return Err(LoadError::new(&compiler.place(by), "`by` goes with `ref`"));
        }
        if let Some(lookup) = &table.lookup {
            return compiler.lookup(lookup).map(Convert::Lookup);
        }
        if let Some(localized) = &table.localized {
            of_kind(Kind::Localized, "localized")?;
            let at = compiler.place(localized);
            let in_languages = matches!(source, Source::Languages(_));
            return match localized.get_ref() {
                Localized::Members if in_languages => Ok(Convert::Plain),
                Localized::Members => {
                    Err(LoadError::new(&at, "`localized = true` goes with `from = { es = \"..\", en = \"..\" }`"))
                }
                _ if in_languages => Err(LoadError::new(&at, "a `from` by language goes with `localized = true`")),
                Localized::Language(language) => compiler.language(language, &at).map(Convert::Language),
                Localized::List { language, value } => {
                    Ok(Convert::Texts { language: language.clone(), value: value.clone() })
                }
            };
        }
        if matches!(source, Source::Languages(_)) {
            return Err(self.wrong("a `from` by language goes with `localized = true`"));
        }
        if let Some(entity) = &table.reference {
            of_kind(Kind::Ref, "ref")?;
            let to = spec.and_then(|spec| spec.to.as_deref()).unwrap_or_default();
            if entity.get_ref() != to {
                return Err(LoadError::new(
                    &compiler.place(entity),
                    format!("field `{name}` refers to `{to}`, not to `{}`", entity.get_ref()),
                ));
            }
            let by = table.by.as_ref().map_or(By::Id, |by| *by.get_ref());
            return Ok(Convert::Ref { entity: to.to_owned(), by });
        }
        if let Some(part) = &table.part {
            of_kind(Kind::Text, "part")?;
            if part.get_ref().split('.').count() != 2 {
                return Err(LoadError::new(
                    &compiler.place(part),
                    "a part is named by entity and list: `product.variants`",
                ));
            }
            return Ok(Convert::Part(part.get_ref().clone()));
        }
        if let Some(fields) = &table.fields {
            of_kind(Kind::Object, "fields")?;
            let specs = spec.map(|spec| &spec.fields);
            let empty = IndexMap::new();
            return compiler.rules(fields, specs.unwrap_or(&empty), false).map(Convert::Object);
        }
        let Some(each) = &table.each else {
            let sent_by_hand = table.pull.is_some() || table.push.is_some() || table.value.is_some();
            return match kind {
                Some(Kind::Ref) if !sent_by_hand => Err(self.wrong("needs `ref`, the entity it refers to")),
                _ => Ok(Convert::Plain),
            };
        };
        of_kind(Kind::List, "each")?;
        let Some(of) = spec.and_then(|spec| spec.of.as_deref()) else { return Err(self.wrong("is no list")) };
        self.each(each, of).map(|each| Convert::Each(Box::new(each)))
    }

    fn each(&self, each: &Spanned<FieldRule>, of: &FieldSpec) -> Result<Each, LoadError> {
        let Self { compiler, name, spec, level, .. } = *self;
        let place = compiler.place(each);
        let table = &each.get_ref().0;
        let id = table.id.as_ref().map(|id| compiler.path(id.get_ref(), &compiler.place(id))).transpose()?;
        let key = spec.and_then(|spec| spec.key.clone());
        let part = match (&id, key, level) {
            (None, ..) => None,
            (Some(_), Some(key), Level::Top) => Some((key, format!("{}.{name}", compiler.spec.entity))),
            (Some(_), None, _) => {
                return Err(LoadError::new(
                    &place,
                    format!("field `{name}`: its items have no key to be remembered by"),
                ));
            }
            (Some(_), ..) => {
                return Err(LoadError::new(&place, format!("field `{name}`: only lists at the top have parts")));
            }
        };
        let item = match (&table.fields, of.kind) {
            (Some(fields), Kind::Object) => {
                let others =
                    table.from.is_some() || table.pull.is_some() || table.push.is_some() || table.push_to.is_some();
                if others {
                    return Err(LoadError::new(
                        &place,
                        format!("field `{name}`: an item has either `fields` or one value"),
                    ));
                }
                Item::Object(compiler.rules(fields, &of.fields, false)?)
            }
            _ => {
                let item = RuleCompiler { table, place: &place, spec: Some(of), level: Level::Item, ..*self };
                Item::One(item.rule()?)
            }
        };
        Ok(Each { id, part, item })
    }
}

/// Convert a value to the form in which it is sent.
pub(super) fn shaped(value: Value, form: Option<As>) -> Result<Value, &'static str> {
    use crate::model::decimal;
    let number = |value: &Value| text_of(value).and_then(|text| decimal::parse(text.trim()));
    match form {
        None => Ok(value),
        Some(As::Text) => text_of(&value).map(Value::from).ok_or("has no text"),
        Some(As::Number) => number(&value)
            .and_then(|number| serde_json::from_str(&decimal::canonical(number)).ok())
            .ok_or("is no number"),
        Some(As::Integer) => number(&value)
            .filter(rust_decimal::Decimal::is_integer)
            .and_then(|whole| i64::try_from(whole).ok())
            .map(Value::from)
            .ok_or("is no whole number"),
    }
}
