//! Which deliveries belong to a run, according to the change log of one record.
//!
//! A delivery brings what the runs since the target's last delivery have seen of the record. Each of its fields
//! belongs to the last of these runs that saw the field change, at whichever system. Some fields changed in none of
//! them, because they follow from others or from the record being gone. Such a field, and an object that was
//! created or deleted, belongs to the last of these runs that saw the record change anywhere but at the target
//! itself. If there is no such run (the delivery was asked for by hand), all runs before it count.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::store::{Change, ChangeOp, Origin, RunId};

/// What the runs' deliveries did to a record at one target.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TargetHistory {
    pub(super) fields: BTreeMap<String, FieldHistory>,
    /// They created the object, or were the first to know anything about it.
    pub(super) made: bool,
    pub(super) deleted: bool,
}

/// A field before the first and after the last of the deliveries.
#[derive(Debug, PartialEq)]
pub(super) struct FieldHistory {
    pub(super) before: Value,
    pub(super) after: Value,
    /// What changed it after them.
    pub(super) later: Option<Origin>,
}

/// Read a record's whole history, oldest first.
pub(super) fn trace(history: &[Change], runs: &BTreeSet<RunId>) -> BTreeMap<String, TargetHistory> {
    let mut targets: BTreeMap<String, TargetHistory> = BTreeMap::new();
    let mut seen: Vec<(RunId, &Change)> = Vec::new();
    // Target to how many runs had been seen at its last delivery.
    let mut runs_seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for change in history {
        let first = known.insert(&change.system);
        if let Origin::Run(run) = change.cause {
            seen.push((run, change));
            if let Some(at) = targets.get_mut(&change.system) {
                mark_later(at, change.fields.keys(), change.cause);
            }
            continue;
        }
        let at = targets.entry(change.system.clone()).or_default();
        let since = runs_seen.insert(&change.system, seen.len()).unwrap_or_default();
        if change.op == ChangeOp::Undo {
            at.fields.retain(|field, _| !change.fields.contains_key(field) && !change.fields.is_empty());
            at.made &= !at.fields.is_empty();
            continue;
        }
        let last = |lines: &[(RunId, &Change)], of: &dyn Fn(&Change) -> bool| {
            lines.iter().rev().find(|(_, line)| of(line)).map(|(run, _)| *run)
        };
        let elsewhere = |line: &Change| line.system != change.system;
        let fresh = seen.get(since..).unwrap_or_default();
        let whole = last(fresh, &elsewhere).or_else(|| last(&seen, &elsewhere));
        let ours = |run: Option<RunId>| run.is_some_and(|run| runs.contains(&run));
        match change.op {
            ChangeOp::Delete if ours(whole) => *at = TargetHistory { deleted: true, ..TargetHistory::default() },
            ChangeOp::Delete => at.fields.clear(),
            _ => at.made |= (change.op == ChangeOp::Create || first) && ours(whole),
        }
        for (field, pair) in &change.fields {
            let saw = |line: &Change| line.fields.contains_key(field);
            let of = last(fresh, &saw).or_else(|| last(fresh, &elsewhere)).or_else(|| last(&seen, &saw)).or(whole);
            let side = |index: usize| pair.get(index).cloned().unwrap_or(Value::Null);
            if ours(of) {
                let moved = at.fields.entry(field.clone()).or_insert_with(|| FieldHistory {
                    before: side(0),
                    after: Value::Null,
                    later: None,
                });
                moved.after = side(1);
                moved.later = None;
            } else {
                let cause = of.map_or(change.cause, Origin::Run);
                mark_later(at, std::iter::once(field), cause);
            }
        }
    }
    targets.retain(|_, at| at.deleted || at.made || !at.fields.is_empty());
    targets
}

fn mark_later<'a>(at: &mut TargetHistory, fields: impl Iterator<Item = &'a String>, cause: Origin) {
    for field in fields {
        if let Some(moved) = at.fields.get_mut(field) {
            moved.later = Some(cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::{JobId, RecordId};

    /// `run 1` or `job 1`.
    fn origin(text: &str) -> Origin {
        let number = |text: &str| text.parse().unwrap();
        text.strip_prefix("run ")
            .map_or_else(|| Origin::Job(JobId(number(&text[4..]))), |run| Origin::Run(RunId(number(run))))
    }

    fn line(system: &str, op: ChangeOp, cause: &str, fields: &Value) -> Change {
        Change {
            id: 0,
            record: RecordId(1),
            entity: "product".into(),
            system: system.into(),
            op,
            fields: fields.as_object().unwrap().clone(),
            cause: origin(cause),
            at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn update(system: &str, cause: &str, fields: &Value) -> Change {
        line(system, ChangeOp::Update, cause, fields)
    }

    /// Created by run 1; then renamed by run 2 and given another unit by run 3, before either change was delivered.
    fn story() -> Vec<Change> {
        vec![
            line("erp", ChangeOp::Create, "run 1", &json!({"name": [null, "a"], "unit": [null, "x"]})),
            line("shop", ChangeOp::Create, "job 1", &json!({"name": [null, "a"], "unit": [null, "x"]})),
            update("erp", "run 2", &json!({"name": ["a", "b"]})),
            update("erp", "run 3", &json!({"unit": ["x", "y"]})),
            update("shop", "job 2", &json!({"name": ["a", "b"], "unit": ["x", "y"], "slug": ["a", "b"]})),
        ]
    }

    fn of(history: &[Change], runs: &[i64]) -> TargetHistory {
        trace(history, &runs.iter().copied().map(RunId).collect()).remove("shop").unwrap_or_default()
    }

    fn moved(at: &TargetHistory) -> Vec<(&str, &Value, &Value)> {
        at.fields.iter().map(|(field, moved)| (field.as_str(), &moved.before, &moved.after)).collect()
    }

    #[test]
    fn a_field_belongs_to_the_last_run_that_saw_it_change_and_a_derived_one_to_the_last_of_all() {
        assert_eq!(moved(&of(&story(), &[2])), [("name", &json!("a"), &json!("b"))]);
        let third = of(&story(), &[3]);
        assert_eq!(moved(&third), [("slug", &json!("a"), &json!("b")), ("unit", &json!("x"), &json!("y"))]);
        assert!(!third.made);
    }

    #[test]
    fn what_a_run_made_is_known_and_what_came_after_it_is_reported() {
        let first = of(&story(), &[1]);
        assert!(first.made);
        assert_eq!(first.fields["name"].later, Some(Origin::Run(RunId(2))));
    }

    #[test]
    fn runs_taken_together_go_back_to_before_the_first() {
        assert_eq!(of(&story(), &[1, 2]).fields["name"].before, json!(null));
        assert_eq!(of(&story(), &[1, 2]).fields["name"].after, json!("b"));
    }

    #[test]
    fn an_edit_at_the_target_since_is_reported_and_its_repair_belongs_to_the_run_that_saw_it() {
        let mut history = story();
        history.push(update("shop", "run 4", &json!({"name": ["b", "edited"]})));
        assert_eq!(of(&history, &[2]).fields["name"].later, Some(Origin::Run(RunId(4))));
        history.push(update("shop", "job 3", &json!({"name": ["edited", "b"]})));
        assert_eq!(moved(&of(&history, &[4])), [("name", &json!("edited"), &json!("b"))]);
    }

    #[test]
    fn what_was_undone_is_not_there_to_be_undone_again() {
        let mut history = story();
        history.push(line("shop", ChangeOp::Undo, "job 3", &json!({"name": ["b", "a"]})));
        assert_eq!(of(&history, &[2]), TargetHistory::default());
    }

    #[test]
    fn an_object_nobody_knew_anything_of_before_counts_as_made() {
        let history = [
            line("erp", ChangeOp::Create, "run 1", &json!({"amount": [null, "5"]})),
            update("shop", "job 1", &json!({"amount": [null, "5"]})),
        ];
        assert!(of(&history, &[1]).made);
        let there = [line("shop", ChangeOp::Create, "run 0", &json!({"amount": [null, "4"]})), history[0].clone()];
        let adopted = update("shop", "job 1", &json!({"amount": ["4", "5"]}));
        let history = [there[0].clone(), there[1].clone(), adopted];
        assert!(!of(&history, &[1]).made);
    }

    #[test]
    fn what_a_withdrawn_record_lost_belongs_to_the_run_that_missed_it() {
        let mut history = story();
        history.push(line("erp", ChangeOp::Delete, "run 5", &json!({})));
        history.push(update("shop", "job 3", &json!({"active": [true, false]})));
        assert_eq!(moved(&of(&history, &[5])), [("active", &json!(true), &json!(false))]);
        history.push(line("erp", ChangeOp::Delete, "run 6", &json!({})));
        history.push(line("shop", ChangeOp::Delete, "job 4", &json!({})));
        assert!(of(&history, &[6]).deleted);
    }
}
