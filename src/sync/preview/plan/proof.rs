//! What makes two writes the same: what is done, what the target has before, and what it should have afterwards.
//! References count by key, since the numbers of records differ between the state and a copy of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

use crate::{
    mapping::Fields,
    model::{self, EntitySpec, Shown},
    port::{Op, Write},
    store::{RecordId, Result, SharedStore},
};

/// First half of a blake3 hash over canonical values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    fn of(fields: Fields) -> Self {
        let mut hasher = blake3::Hasher::new();
        model::canonical::hash_into(&Value::Object(fields), &mut hasher);
        let mut fingerprint = [0; 16];
        hasher.finalize_xof().fill(&mut fingerprint);
        Self(fingerprint)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:032x}", u128::from_be_bytes(self.0)))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number =
            u128::from_str_radix(&text, 16).map_err(|_| D::Error::custom("not a fingerprint of this program"))?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// Identity of a write, the same whoever computes it and in whichever copy of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Proof {
    pub op: Op,
    /// What the target has of the fields that are written; for an object to be deleted, all of it.
    pub before: Fingerprint,
    /// What it should have of them.
    pub after: Fingerprint,
}

/// Values of a write with references by key; personal data is still included.
pub(in crate::sync) struct Values {
    pub before: Fields,
    pub after: Fields,
}

impl Values {
    pub fn proof(&self, op: Op) -> Proof {
        Proof { op, before: Fingerprint::of(self.before.clone()), after: Fingerprint::of(self.after.clone()) }
    }

    /// Field to `[before, after]`.
    pub fn changes(&self) -> Fields {
        let side = |fields: &Fields, name: &str| fields.get(name).cloned().unwrap_or(Value::Null);
        let names = self.after.keys().chain(self.before.keys().filter(|name| !self.after.contains_key(*name)));
        names
            .map(|name| (name.clone(), Value::Array(vec![side(&self.before, name), side(&self.after, name)])))
            .collect()
    }
}

/// Return the values of writes, in their order.
pub(in crate::sync) async fn values(
    store: &SharedStore,
    spec: Option<&EntitySpec>,
    writes: &[&Write],
) -> Result<Vec<Values>> {
    let sides: Vec<(Fields, Fields)> = writes.iter().map(|write| sides(write)).collect();
    let Some(spec) = spec else {
        return Ok(sides.into_iter().map(|(before, after)| Values { before, after }).collect());
    };
    let mut records: Vec<RecordId> = sides
        .iter()
        .flat_map(|(before, after)| [before, after])
        .flat_map(|fields| model::records(&spec.fields, fields))
        .collect();
    records.sort_unstable();
    records.dedup();
    let mut keys = if records.is_empty() { BTreeMap::default() } else { store.keys(&records).await? };
    for record in records {
        // So far, it is known only from a reference, and has no number that would last.
        keys.entry(record).or_insert_with(|| (String::new(), "?".to_owned()));
    }
    let shown = Shown { keys, personal: true };
    let by_key = |fields: &Map<String, Value>| shown.fields(&spec.fields, fields);
    Ok(sides.iter().map(|(before, after)| Values { before: by_key(before), after: by_key(after) }).collect())
}

fn sides(write: &Write) -> (Fields, Fields) {
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (mut before, mut after) = (object(&write.before), object(&write.desired));
    match write.op {
        Op::Delete => after = Fields::new(),
        Op::Create => before = Fields::new(),
        Op::Update => {}
    }
    if write.op != Op::Delete {
        for fields in [&mut before, &mut after] {
            fields.retain(|name, value| write.changed.contains(name) && !value.is_null());
        }
    }
    (before, after)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::store::JobId;

    fn write(op: Op, before: Value, desired: Value, changed: &[&str]) -> Write {
        Write {
            job: JobId(1),
            op,
            key: "H-1".into(),
            id: None,
            body: Value::Null,
            whole: Value::Null,
            before,
            desired,
            changed: changed.iter().map(|&field| field.to_owned()).collect::<BTreeSet<_>>(),
            child_ids: BTreeMap::default(),
            held: BTreeMap::default(),
            dropped: BTreeMap::default(),
            yielding: BTreeMap::default(),
            done: BTreeMap::default(),
            found: None,
        }
    }

    fn proof(write: &Write) -> Proof {
        let (before, after) = sides(write);
        Values { before, after }.proof(write.op)
    }

    #[test]
    fn what_is_not_written_makes_no_difference_and_what_is_written_does() {
        let planned =
            write(Op::Update, json!({"name": "a", "unit": "x"}), json!({"name": "b", "unit": "x"}), &["name"]);
        let elsewhere =
            write(Op::Update, json!({"name": "a", "unit": "y"}), json!({"name": "b", "unit": "y"}), &["name"]);
        assert_eq!(proof(&planned), proof(&elsewhere));
        let source = write(Op::Update, json!({"name": "a"}), json!({"name": "c"}), &["name"]);
        let target = write(Op::Update, json!({"name": "z"}), json!({"name": "b"}), &["name"]);
        assert_eq!(proof(&planned).before, proof(&source).before);
        assert_ne!(proof(&planned).after, proof(&source).after);
        assert_eq!(proof(&planned).after, proof(&target).after);
        assert_ne!(proof(&planned).before, proof(&target).before);
    }

    #[test]
    fn an_object_that_was_edited_since_is_not_the_one_to_be_deleted() {
        let planned = write(Op::Delete, json!({"name": "a"}), json!({}), &[]);
        let edited = write(Op::Delete, json!({"name": "b"}), json!({}), &[]);
        assert_ne!(proof(&planned), proof(&edited));
    }

    #[test]
    fn a_proof_survives_the_file() {
        let planned = proof(&write(Op::Create, Value::Null, json!({"name": "a"}), &["name"]));
        let text = serde_json::to_string(&planned.after).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), planned.after);
    }
}
