//! What a system shows, compared with what it was known to hold.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    mapping::{Fields, Outline, Pulled, Translate},
    model::{EntitySpec, Shape, agree},
    store::Replica,
    sync::{conflict::respelt, context::Context},
};

/// If a system shows a list in another order than the known one, show it in the known order: the order means
/// nothing. Also show a change as known that the system has accepted and not finished yet.
pub(in crate::sync) fn as_known(spec: Option<&EntitySpec>, known: &Fields, shown: &mut Pulled) {
    for field in &shown.pending {
        if let Some(known) = known.get(field) {
            shown.fields.insert(field.clone(), known.clone());
        }
    }
    for (field, now) in &mut shown.fields {
        let Some(known) = known.get(field).filter(|known| *known != now) else { continue };
        if agree(spec.and_then(|spec| spec.fields.get(field)), &Shape::Whole, known, now) {
            now.clone_from(known);
        }
    }
}

/// How what a system shows came to be shown.
pub(in crate::sync) struct ShownEvidence<'a> {
    pub(in crate::sync) context: &'a Context,
    pub(in crate::sync) mapping: &'a dyn Translate,
    pub(in crate::sync) entity: &'a str,
    pub(in crate::sync) outline: &'a Outline,
    /// Nobody can look right after a write: what a listing shows for the first time is the only evidence.
    pub(in crate::sync) blind: bool,
}

impl ShownEvidence<'_> {
    /// Whether a value that is shown for the first time since the field was sent is what the target made of it, and
    /// not somebody's edit.
    pub(super) fn is_made_of(&self, field: &str, sent: &Value, shown: &Value) -> bool {
        if respelt::is_as_shown(self.context, self.mapping, (self.entity, field), sent, shown) {
            return true;
        }
        let altered = self.context.alteration((self.entity, field), self.outline, sent, shown);
        !altered.is_difference() && (self.blind || !altered.texts)
    }
}

/// Whether what is shown of a field (its name, what was sent, what is shown) is what the system made of what it was
/// sent.
pub(in crate::sync) type MadeOf<'a> = &'a dyn Fn(&str, &Value, &Value) -> bool;

/// Merge what a system shows into what it was known to hold. For each field that we sent, decide whether it arrived
/// as sent, was altered on arrival, or was changed by somebody since. Return the fields, and those that are
/// remembered as sent.
pub(in crate::sync) fn observe(
    before: Option<&Replica>,
    shown: Fields,
    reads: &BTreeSet<String>,
    is_made_of: MadeOf<'_>,
) -> (Fields, Fields) {
    let Some(before) = before else { return (shown, Fields::new()) };
    let mut sent = Fields::new();
    for (field, value) in &before.sent {
        let (stored, now) = (before.fields.get(field), shown.get(field));
        if !reads.contains(field) {
            sent.insert(field.clone(), value.clone());
            continue;
        }
        let arrived = now.unwrap_or(&Value::Null) == value;
        let unseen_yet = stored.unwrap_or(&Value::Null) == value;
        let as_stored = now == stored;
        let made_of = || unseen_yet && is_made_of(field, value, now.unwrap_or(&Value::Null));
        if !arrived && (as_stored || made_of()) {
            sent.insert(field.clone(), value.clone());
        }
    }
    let mut fields = shown;
    for (field, value) in &before.fields {
        if !reads.contains(field) {
            fields.insert(field.clone(), value.clone());
        }
    }
    (fields, sent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::RecordId;

    fn fields(value: &Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    fn before(stored: &Value, sent: &Value) -> Replica {
        Replica {
            system: "shop".into(),
            entity: "product".into(),
            record: RecordId(1),
            id: "1".into(),
            fields: fields(stored),
            sent: fields(sent),
            version: None,
            fingerprint: None,
            gone_at: None,
            written: 0,
        }
    }

    fn reads() -> BTreeSet<String> {
        BTreeSet::from(["name".to_owned()])
    }

    #[test]
    fn an_alteration_on_arrival_is_remembered_beside_what_was_sent() {
        let replica = before(&json!({"name": "a & b"}), &json!({"name": "a & b"}));
        let (stored, sent) = observe(Some(&replica), fields(&json!({"name": "a &amp; b"})), &reads(), &|_, _, _| true);
        assert_eq!((stored, sent), (fields(&json!({"name": "a &amp; b"})), fields(&json!({"name": "a & b"}))));
    }

    #[test]
    fn a_later_foreign_edit_of_an_altered_field_is_drift() {
        let replica = before(&json!({"name": "a &amp; b"}), &json!({"name": "a & b"}));
        let (_, sent) = observe(Some(&replica), fields(&json!({"name": "c"})), &reads(), &|_, _, _| true);
        assert!(sent.is_empty());
        let (_, kept) = observe(Some(&replica), fields(&json!({"name": "a &amp; b"})), &reads(), &|_, _, _| true);
        assert_eq!(kept, fields(&json!({"name": "a & b"})));
    }

    #[test]
    fn what_a_target_did_not_make_of_it_is_drift_though_it_is_seen_for_the_first_time() {
        let replica = before(&json!({"name": "a"}), &json!({"name": "a"}));
        let (stored, sent) = observe(Some(&replica), fields(&json!({"name": "b"})), &reads(), &|_, _, _| false);
        assert_eq!((stored, sent), (fields(&json!({"name": "b"})), Fields::new()));
    }

    #[test]
    fn a_list_that_is_shown_in_another_order_is_the_same_list() {
        let entities = crate::model::Entities::builtin();
        let known =
            fields(&json!({"variants": [{"sku": "A"}, {"sku": "B"}], "tags": ["x", "y"], "options": ["c", "s"]}));
        let shown =
            fields(&json!({"variants": [{"sku": "B"}, {"sku": "A"}], "tags": ["y", "x"], "options": ["s", "c"]}));
        let mut shown = Pulled { fields: shown, ..Pulled::default() };
        as_known(entities.get("product").map(|spec| &**spec), &known, &mut shown);
        let shown = shown.fields;
        assert_eq!((&shown["variants"], &shown["tags"]), (&known["variants"], &known["tags"]));
        assert_eq!(shown["options"], json!(["s", "c"]), "which comes first is what the customer sees");
    }

    #[test]
    fn what_waits_at_a_system_to_be_finished_is_what_it_was_sent_and_nothing_where_nothing_was() {
        let known = fields(&json!({"closed": "refunded"}));
        let shown = || Pulled { pending: BTreeSet::from(["closed".to_owned()]), ..Pulled::default() };
        let (mut sent, mut never) = (shown(), shown());
        as_known(None, &known, &mut sent);
        as_known(None, &Fields::new(), &mut never);
        assert_eq!((sent.fields, never.fields), (known, Fields::new()));
    }

    #[test]
    fn what_arrived_as_sent_leaves_nothing_to_remember() {
        let replica = before(&json!({"name": "a"}), &json!({"name": "a"}));
        assert!(observe(Some(&replica), fields(&json!({"name": "a"})), &reads(), &|_, _, _| true).1.is_empty());
    }

    #[test]
    fn what_a_mapping_cannot_read_stays_as_it_was_written() {
        let replica = before(&json!({"name": "a", "note": "x"}), &json!({"note": "x"}));
        let (stored, sent) = observe(Some(&replica), fields(&json!({"name": "b"})), &reads(), &|_, _, _| true);
        assert_eq!((stored.get("note"), sent.get("note")), (Some(&json!("x")), Some(&json!("x"))));
    }
}
