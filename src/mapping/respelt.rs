//! Keys that a system shows in its own spelling, as a slug for a code: finds what it shows for a key that it was
//! sent.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Externals, Fields, Mapping, rule::Rule};
use crate::model::EntitySpec;

/// Whether keys come back in another spelling than they were sent: an expression makes the sent key, and keys are
/// read again. Numbers that each system gives by itself do not count: they mean nothing elsewhere, however they are
/// written.
pub(super) fn respells(spec: &EntitySpec, rules: &[Rule]) -> bool {
    let is_made = |rule: &Rule| rule.name == spec.key && rule.reads && rule.writes && rule.push.is_some();
    !spec.numbered && rules.iter().any(is_made)
}

impl Mapping {
    /// The key that the system shows for an object that was sent with `key`. Return `None` if that depends on more
    /// than the key.
    pub(super) fn respelt(&self, key: &str) -> Option<String> {
        let name = &self.spec().key;
        let desired = Fields::from_iter([(name.clone(), Value::from(key))]);
        let sent = self.pushed(&desired, Some(&BTreeSet::from([name.clone()])), &Externals::default(), None).ok()?;
        self.key_of(&sent).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::mapping::{Translate, tests::load_with};

    #[test]
    fn a_key_that_an_expression_makes_is_known_as_the_system_will_show_it() {
        let text = "key = 'upper(slug)'\n[fields]\ncode = { from = 'slug', pull = 'upper(value)', push = 'slug(value)' }\n\
            name = { push_to = 'name', push = 'value' }\n";
        let category = load_with("category", text, &json!({}), &json!({})).unwrap();
        assert!(category.respells_key());
        assert_eq!(category.respelt_key("Fijación/2").as_deref(), Some("FIJACION-2"));
        assert_eq!(category.respelt_key("///"), None, "nothing is left of it");
    }

    #[test]
    fn keys_that_go_as_they_are_and_numbers_of_ones_own_are_not_respelt() {
        let plain = load_with("category", "key = 'code'\n[fields]\ncode = 'code'\n", &json!({}), &json!({})).unwrap();
        let pushed = "key = 'code'\n[fields]\ncode = { push_to = 'code', push = 'slug(value)' }\n";
        let pushed = load_with("category", pushed, &json!({}), &json!({})).unwrap();
        let own = "key = 'code'\n[fields]\ncode = { from = 'code', push = 'slug(value)' }\n";
        let own = load_with("customer", own, &json!({}), &json!({})).unwrap();
        for mapping in [plain, pushed, own] {
            assert!(!mapping.respells_key());
            assert_eq!(mapping.respelt_key("A/B"), None);
        }
    }
}
