//! `[entities.x]`: kinds of business objects in addition to those that ship with the program.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{EntitySpec, FieldSpec, States, proof::ProofSpec};

/// A kind of business object that does not ship (or another idea of one that does).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitySection {
    /// Field whose value is the record's key.
    pub key: String,
    /// Whether each system numbers its objects by itself: equal keys of two systems then mean two objects. `false`: a key means
    /// the same object everywhere, as an article's does. Default `true`.
    pub numbered: Option<bool>,
    /// Field that holds the currency of the entity's amounts.
    pub money_currency: Option<String>,
    /// The fields whose amounts have to come to the total, or the object is not delivered.
    pub proof: Option<ProofSpec>,
    /// How far an object has come: it never runs backwards by itself.
    pub states: Option<States>,
    /// Field that is true where the data of persons was erased: what is lacking then is kept elsewhere.
    pub erased: Option<String>,
    /// Fields that qualify and are mostly the same for all objects: a system whose mapping does not speak of one takes those that
    /// are like the first it was sent, and no others.
    #[serde(default)]
    pub alike: Vec<String>,
    pub fields: IndexMap<String, FieldSpec>,
}

impl EntitySection {
    pub fn spec(&self, name: &str) -> EntitySpec {
        EntitySpec {
            entity: name.to_owned(),
            key: self.key.clone(),
            numbered: self.numbered.unwrap_or(true),
            money_currency: self.money_currency.clone(),
            proof: self.proof.clone(),
            states: self.states.clone(),
            erased: self.erased.clone(),
            alike: self.alike.clone(),
            fields: self.fields.clone(),
        }
    }
}
