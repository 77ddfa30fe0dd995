//! Rules in their compiled form.

use std::{collections::BTreeSet, sync::Arc};

use chrono_tz::Tz;
use serde_json::Value;

use super::{
    file::{As, By},
    lookup::Lookup,
    precision::Precision,
};
use crate::{
    expr::{Expr, Path, Scope},
    load::Place,
    model::{Kind, Shape},
};

/// How one field is read and written.
#[derive(Debug)]
pub(super) struct Rule {
    pub name: String,
    pub place: Place,
    /// The canonical field's kind; absent for a rule that only sends something of its own.
    pub kind: Option<Kind>,
    pub required: bool,
    pub source: Source,
    /// Where it is sent.
    pub target: Option<Path>,
    pub constant: Option<Value>,
    pub pull: Option<Expr>,
    pub push: Option<Expr>,
    /// Whether the system can hold the value.
    pub holds: Option<Expr>,
    /// Whether the value that was sent waits at the system for somebody to finish it.
    pub pending: Option<Expr>,
    pub convert: Convert,
    /// Whether a word that the lookup does not know is kept and doubted: for states, and if the entity says so.
    pub keeps: bool,
    pub none: Vec<Value>,
    pub zone: Option<Tz>,
    pub form: Option<As>,
    pub precision: Option<Precision>,
    pub optional: bool,
    pub clear: bool,
    pub beside: Option<Beside>,
    pub reads: bool,
    pub writes: bool,
    /// Canonical fields that the sent value depends on. `None` if it depends on all.
    pub depends: Option<BTreeSet<String>>,
}

/// Items of the target's list that do not belong to this field.
#[derive(Debug)]
pub(super) struct Beside {
    pub keep: Expr,
    pub from: Option<Path>,
    pub send: Option<Expr>,
    pub by: Option<Path>,
}

/// Direction: from a system or to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Pull,
    Push,
}

/// Where a value is in a row.
#[derive(Debug)]
pub(super) enum Source {
    /// Nowhere: the value is the row itself.
    Row,
    Path(Path),
    /// One member for each language.
    Languages(Vec<(String, Path)>),
}

/// What is done to a value in addition to the conversion of its kind.
#[derive(Debug)]
pub(super) enum Convert {
    Plain,
    Language(String),
    /// A list of texts, each with its language.
    Texts {
        language: String,
        value: String,
    },
    Lookup(Arc<Lookup>),
    Ref {
        entity: String,
        by: By,
    },
    Part(String),
    Each(Box<Each>),
    Object(Vec<Rule>),
}

/// Items of a list.
#[derive(Debug)]
pub(super) struct Each {
    /// Where the system's id of an item is.
    pub id: Option<Path>,
    /// The member that holds the item's key, and the list's name in the store: `product.variants`.
    pub part: Option<(String, String)>,
    pub item: Item,
}

#[derive(Debug)]
pub(super) enum Item {
    /// A single value: the item itself, or a member of it.
    One(Rule),
    Object(Vec<Rule>),
}

impl Rule {
    /// The value that the field has at the system in every row: a constant, or an expression that does not use the
    /// row.
    pub(super) fn fixed(&self, settings: &Scope<'_>) -> Option<Value> {
        let asks_row = |pull: &Expr| ["value", "row", "root"].iter().any(|name| pull.names(name));
        let pulled = || {
            let pull = self.pull.as_ref().filter(|pull| matches!(self.source, Source::Row) && !asks_row(pull))?;
            pull.eval(settings).ok()
        };
        self.constant.clone().or_else(pulled).filter(|_| !self.writes)
    }

    /// Whether this rule or one inside it satisfies `test`.
    pub(super) fn any(&self, test: &dyn Fn(&Rule) -> bool) -> bool {
        test(self)
            || match &self.convert {
                Convert::Each(each) => match &each.item {
                    Item::One(rule) => rule.any(test),
                    Item::Object(rules) => rules.iter().any(|rule| rule.any(test)),
                },
                Convert::Object(rules) => rules.iter().any(|rule| rule.any(test)),
                _ => false,
            }
    }

    /// Collect the lists of children whose ids this rule or one inside it sends to refer to them.
    pub(super) fn hosts(&self, lists: &mut BTreeSet<String>) {
        match &self.convert {
            Convert::Part(list) if self.writes => drop(lists.insert(list.clone())),
            Convert::Each(each) => match &each.item {
                Item::One(rule) => rule.hosts(lists),
                Item::Object(rules) => rules.iter().for_each(|rule| rule.hosts(lists)),
            },
            Convert::Object(rules) => rules.iter().for_each(|rule| rule.hosts(lists)),
            _ => {}
        }
    }

    /// Which parts of the field's value the rule reads or sends.
    pub(super) fn shape(&self, way: Way) -> Shape {
        let members = |rules: &[Self]| {
            let named = rules.iter().filter(|rule| rule.kind.is_some() && rule.goes(way));
            Shape::Object(named.map(|rule| (rule.name.clone(), rule.shape(way))).collect())
        };
        // An expression may use any part of the value; which parts it uses is not known.
        if way == Way::Push && self.push.is_some() {
            return Shape::Whole;
        }
        match (&self.source, &self.convert) {
            (Source::Languages(paths), _) => Shape::Languages(paths.iter().map(|(name, _)| name.clone()).collect()),
            (_, Convert::Language(language)) => Shape::Languages(BTreeSet::from([language.clone()])),
            (_, Convert::Object(rules)) => members(rules),
            (_, Convert::Each(each)) => Shape::List(Box::new(match &each.item {
                Item::One(rule) => rule.shape(way),
                Item::Object(rules) => members(rules),
            })),
            _ => Shape::Whole,
        }
    }

    fn goes(&self, way: Way) -> bool {
        if way == Way::Pull { self.reads } else { self.writes }
    }

    /// Whether what is sent depends on any of these canonical fields.
    pub(super) fn depends_on(&self, changed: &BTreeSet<String>) -> bool {
        self.depends.as_ref().is_none_or(|fields| fields.iter().any(|field| changed.contains(field)))
    }
}
