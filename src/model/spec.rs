//! Specifications of entities: one format for those that ship with the program and for those that a configuration
//! declares.

use std::{collections::BTreeMap, sync::Arc};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Compare, States,
    proof::{self, ProofSpec, Proved},
};
use crate::load::{self, LoadError, SourceFile};

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Text,
    /// Language to text.
    Localized,
    /// Exact decimal, as text without superfluous zeros.
    Decimal,
    /// Exact decimal in the currency that the entity's `money_currency` field names.
    Money,
    Integer,
    Boolean,
    /// `2026-03-01`
    Date,
    /// RFC 3339 in UTC.
    Datetime,
    /// ISO 4217.
    Currency,
    /// ISO 3166-1 alpha-2.
    Country,
    /// BCP 47.
    Language,
    Url,
    /// One of `choices`.
    Choice,
    /// Number of a record of entity `to`.
    Ref,
    /// Items of one shape, told apart by `key` if they are objects.
    List,
    Object,
    /// Name to value of one shape.
    Map,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    pub kind: Kind,
    /// An object without it is refused.
    #[serde(default)]
    pub required: bool,
    /// Holds data of a person: never shown or logged unless asked for.
    #[serde(default)]
    pub personal: bool,
    /// Says nothing of who somebody is by itself, though it is a person's: a street, a town.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// Says which object this is (the list of a price, the currency of amounts): never left out for a system that has no place
    /// for it. The field of `money_currency` always does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub qualifies: bool,
    /// One of a fixed set of words (a state), though its kind is text: another one is no other spelling.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub code: bool,
    /// It costs money where a target holds something else: the delivery waits, as with every field of kind money.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
    /// A word that the lookup of a mapping does not know is kept and doubted by its name, where refusing it would hold up the
    /// whole object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// For `ref`: the entity referred to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// For a text: the part it names, such as `product.variants`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// For a text: what two spellings of it have in common, where records are matched by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// For a text: most systems have each value once only. What a target refuses is then looked for among its other objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unique: bool,
    /// For `choice`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// For a list of objects: the member that tells items apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// For a list: the order of its items means something. Without it, lists are compared item by item, told apart by `key`;
    /// references and texts as a set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ordered: bool,
    /// For `list` and `map`: shape of an item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Box<FieldSpec>>,
    /// For `object`: its members.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub fields: IndexMap<String, FieldSpec>,
}

/// One kind of business object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitySpec {
    pub entity: String,
    /// Field whose value is the record's key.
    pub key: String,
    /// Whether each system numbers its objects by itself, as shops number orders: equal keys of two systems then mean two
    /// objects. Otherwise a key means the same object everywhere, as an article's does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub numbered: bool,
    /// Field that holds the currency of the entity's amounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money_currency: Option<String>,
    /// The fields whose amounts have to come to the total, or the object is not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofSpec>,
    /// How far an object has come: it never runs backwards by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<States>,
    /// Field that is true where the data of persons was erased: what is lacking then is kept elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<String>,
    /// Fields that qualify and are mostly the same for all objects of a company, as the currency of its orders: a system whose
    /// mapping does not speak of one takes those that are like the first it was sent, and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alike: Vec<String>,
    pub fields: IndexMap<String, FieldSpec>,
}

impl EntitySpec {
    /// Read a specification.
    ///
    /// # Errors
    /// Every problem, with its place in the file.
    pub fn load(file: &Arc<SourceFile>) -> Result<Self, LoadError> {
        load::parse(file)
    }

    /// Problems of the specification itself, one sentence each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.fields.contains_key(&self.key) {
            problems.push(format!("the key `{}` is not among the fields", self.key));
        }
        let has_money = self.fields.values().any(|field| field.holds(Kind::Money));
        match &self.money_currency {
            Some(field) if self.fields.get(field).is_none_or(|field| field.kind != Kind::Currency) => {
                problems.push(format!("`money_currency` names `{field}`, which is not a field of kind currency"));
            }
            None if has_money => {
                problems.push("amounts need `money_currency`, the field that holds their currency".to_owned())
            }
            _ => {}
        }
        for field in self.proof.iter().flat_map(|proof| proof.fields().chain(proof.unless.keys().map(String::as_str))) {
            if !self.fields.contains_key(field) {
                problems.push(format!("`proof` names `{field}`, which is not among the fields"));
            }
        }
        if let Some(states) = &self.states {
            problems.extend(states.problems(|field| self.fields.contains_key(field)));
        }
        if let Some(field) =
            self.erased.as_ref().filter(|field| self.fields.get(*field).is_none_or(|field| field.kind != Kind::Boolean))
        {
            problems.push(format!("`erased` names `{field}`, which is not a field of kind boolean"));
        }
        for name in self.alike.iter().filter(|name| !self.qualifies(name)) {
            problems.push(format!("`alike` names `{name}`, which is not a field that qualifies"));
        }
        for (name, field) in &self.fields {
            field.problems(name, &mut problems);
        }
        problems
    }

    /// Whether a top-level field says which object it is.
    #[must_use]
    pub fn qualifies(&self, field: &str) -> bool {
        self.money_currency.as_deref() == Some(field) || self.fields.get(field).is_some_and(|field| field.qualifies)
    }

    /// Whether the personal data of an object was erased.
    #[must_use]
    pub fn is_erased(&self, object: &Map<String, Value>) -> bool {
        self.erased.as_ref().is_some_and(|field| object.get(field) == Some(&Value::Bool(true)))
    }

    /// Whether a field holds the object's state.
    #[must_use]
    pub fn holds_state(&self, field: &str) -> bool {
        self.states.as_ref().is_some_and(|states| states.holds(field))
    }

    /// Whether the amounts of an object add up to its total. Return `None` if its entity asks for no proof.
    #[must_use]
    pub fn prove(&self, object: &Map<String, Value>) -> Option<Proved> {
        let currency = self.money_currency.as_ref().and_then(|field| object.get(field)).and_then(Value::as_str);
        self.proof.as_ref().map(|spec| proof::prove(spec, currency, object))
    }
}

impl FieldSpec {
    /// Whether the field, or a member of it at any depth, is of this kind.
    #[must_use]
    pub fn holds(&self, kind: Kind) -> bool {
        self.kind == kind
            || self.of.iter().any(|of| of.holds(kind))
            || self.fields.values().any(|field| field.holds(kind))
    }

    /// Whether a difference in the field, or in a member of it at any depth, costs money.
    #[must_use]
    pub fn costs(&self) -> bool {
        self.kind == Kind::Money
            || self.exact
            || self.of.iter().any(|of| of.costs())
            || self.fields.values().any(Self::costs)
    }

    /// Whether a target may spell it differently without changing its meaning.
    #[must_use]
    pub fn is_free_text(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Localized | Kind::Url)
            && !self.code
            && !self.exact
            && self.part.is_none()
    }

    fn problems(&self, path: &str, problems: &mut Vec<String>) {
        let needs = |problems: &mut Vec<String>, missing: bool, what: &str| {
            if missing {
                problems.push(format!("{path}: {what}"));
            }
        };
        needs(
            problems,
            matches!(self.kind, Kind::List | Kind::Map) && self.of.is_none(),
            "a list or map needs `of`, the shape of an item",
        );
        needs(problems, self.kind == Kind::Object && self.fields.is_empty(), "an object needs `fields`");
        needs(problems, self.kind == Kind::Ref && self.to.is_none(), "a reference needs `to`, the entity");
        needs(problems, self.kind == Kind::Choice && self.choices.is_empty(), "a choice needs `choices`");
        needs(problems, self.ordered && self.kind != Kind::List, "`ordered` is for lists");
        if let (Some(key), Some(of)) = (&self.key, &self.of) {
            needs(problems, !of.fields.contains_key(key), "the `key` of the list is not a member of its items");
        }
        if let Some(of) = &self.of {
            of.problems(&format!("{path}[]"), problems);
        }
        for (name, field) in &self.fields {
            field.problems(&format!("{path}.{name}"), problems);
        }
    }
}

/// All entities.
#[derive(Clone, Debug)]
pub struct Entities(BTreeMap<String, Arc<EntitySpec>>);

/// Specifications that ship with the program.
const BUILTIN: [(&str, &str); 10] = [
    ("category", include_str!("entities/category.toml")),
    ("product", include_str!("entities/product.toml")),
    ("price", include_str!("entities/price.toml")),
    ("stock", include_str!("entities/stock.toml")),
    ("customer", include_str!("entities/customer.toml")),
    ("order", include_str!("entities/order.toml")),
    ("shipment", include_str!("entities/shipment.toml")),
    ("invoice", include_str!("entities/invoice.toml")),
    ("ticket", include_str!("entities/ticket.toml")),
    ("quote", include_str!("entities/quote.toml")),
];

impl Entities {
    /// The entities that ship with the program.
    #[must_use]
    pub fn builtin() -> Self {
        let specs = BUILTIN.iter().filter_map(|(name, text)| {
            // A test makes sure that each of them can be read.
            let spec = EntitySpec::load(&SourceFile::new(format!("{name}.toml"), *text)).ok()?;
            Some(((*name).to_owned(), Arc::new(spec)))
        });
        Self(specs.collect())
    }

    /// Add an entity that the configuration declares, or replace one that ships.
    #[must_use]
    pub fn with(mut self, spec: EntitySpec) -> Self {
        self.0.insert(spec.entity.clone(), Arc::new(spec));
        self
    }

    #[must_use]
    pub fn get(&self, entity: &str) -> Option<&Arc<EntitySpec>> {
        self.0.get(entity)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<EntitySpec>> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entity_that_ships_is_readable_and_sound() {
        for (name, text) in BUILTIN {
            let spec = EntitySpec::load(&SourceFile::new(format!("{name}.toml"), text)).unwrap();
            assert_eq!((spec.entity.as_str(), spec.problems()), (name, Vec::new()));
        }
        assert_eq!(Entities::builtin().names().count(), BUILTIN.len());
    }

    #[test]
    fn an_unsound_specification_says_what_is_missing() {
        let text = "entity = \"review\"\nkey = \"code\"\n[fields]\nstars = { kind = \"list\" }\nprice = { kind = \"money\" }\n";
        let spec = EntitySpec::load(&SourceFile::new("review.toml".to_owned(), text)).unwrap();
        let problems = spec.problems().join("\n");
        for word in ["`code`", "money_currency", "stars"] {
            assert!(problems.contains(word), "{problems}");
        }
    }
}
