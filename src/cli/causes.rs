//! Groups jobs and rows by what they wait for: how many, an example, and the command that ends the wait.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    store::{Backlog, JobState},
    wait_reason::WaitReason,
};

/// Open jobs of one kind that wait for the same kind of cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub state: JobState,
    pub jobs: u64,
    pub target: String,
    pub entity: String,
    /// `missing:product.variants`, `lookup:tax`, `conflict`; absent for jobs that wait for nothing.
    pub waits_for: Option<String>,
    /// Number of different causes of that kind.
    pub different: u64,
    /// One of the causes: `missing:product.variants=SKU-9`.
    pub example: Option<WaitReason>,
    pub oldest: Option<DateTime<Utc>>,
    /// How to end the wait.
    #[serde(rename = "cure")]
    pub hint: Option<String>,
}

/// The queue, with causes of one kind grouped together.
pub fn groups(queue: &[Backlog]) -> Vec<Group> {
    let mut groups: BTreeMap<(&str, &str, &str, Option<String>), Group> = BTreeMap::new();
    for line in queue {
        let kind = line.cause.as_ref().map(WaitReason::kind);
        let name = (line.target.as_str(), line.entity.as_str(), line.state.as_str(), kind.clone());
        let group = groups.entry(name).or_insert_with(|| Group {
            state: line.state,
            jobs: 0,
            target: line.target.clone(),
            entity: line.entity.clone(),
            waits_for: kind,
            different: 0,
            example: line.cause.clone(),
            oldest: line.oldest,
            hint: line.cause.as_ref().and_then(|cause| hint(cause, &line.target)),
        });
        group.jobs += line.count;
        group.different += 1;
        group.oldest = group.oldest.into_iter().chain(line.oldest).min();
    }
    groups.into_values().collect()
}

/// How to end the wait for a cause at a target (or, for rows, at their source).
pub fn hint(cause: &WaitReason, system: &str) -> Option<String> {
    /// The command that shows everything that is known of an object.
    fn explain(entity: &str, key: &str) -> String {
        let entity = entity.split('.').next().unwrap_or(entity);
        format!("vaiven explain {entity} {}", quoted(key))
    }
    Some(match cause {
        WaitReason::Lookup { table, value } => format!(
            "add a line for {value} under [systems.{system}.lookups.{table}] (CANONICAL_VALUE = \"value at {system}\"), \
             then reload (SIGHUP)"
        ),
        WaitReason::Missing { entity, key } => {
            let explain = explain(entity, key);
            format!("goes on by itself when {system} has it; to see why it does not: {explain}")
        }
        WaitReason::Taken { entity, key } => format!(
            "goes on by itself when {entity} {key} has another value at {system}; or change one of the two: {}",
            explain(entity, key)
        ),
        WaitReason::Orders { system } => format!(
            "goes on by itself when every order of {system} can be read; to see what stands in the way: vaiven status, \
             vaiven jobs list"
        ),
        WaitReason::Proof { entity, key } => {
            let explain = explain(entity, key);
            format!("goes on by itself when the {entity} or its mapping changes; to see both sums: {explain}")
        }
        WaitReason::Qualifies { entity, field, .. } => format!(
            "{system} would take it for another {entity}: keep it away by the flow's `where`, or map `{field}` for \
             {system}, then reload (SIGHUP)"
        ),
        WaitReason::Differs { .. } => format!(
            "vaiven differences shows both values; correct the value or its mapping, or: \
             vaiven differences accept {system}"
        ),
        WaitReason::Unheld { .. } => format!(
            "goes on by itself when the source or {system} changes; to see what stands in the way: \
             vaiven jobs list --cause {cause}"
        ),
        WaitReason::Acceptance { entity, .. } => format!(
            "goes on by itself when the {entity} is accepted (paid, or to be paid by transfer or on delivery); there is \
             nothing to do"
        ),
        WaitReason::Article { entity, .. } => format!(
            "name the article at the {entity}'s own system, or let the flow send such lines as text: \
             without_article = \"text\""
        ),
        WaitReason::Unread { .. } | WaitReason::UnreadRows { .. } => {
            "correct the row or the mapping, or put the row aside: vaiven rejected".to_owned()
        }
        WaitReason::Review { .. } => "vaiven links review".to_owned(),
        WaitReason::Paused { entity, key } => format!("vaiven links resume {entity} {}", quoted(key)),
        WaitReason::FlapGuard { entity, key } => format!(
            "find out which other program writes it ({}); it is tried again within the hour",
            explain(entity, key)
        ),
        WaitReason::File { place } => {
            format!("correct {place}, then reload (SIGHUP); it is tried again within the hour")
        }
        WaitReason::Unlisted { system, entity } => {
            format!("fix what keeps {system}/{entity} from being listed; it is tried again within the hour")
        }
        WaitReason::Setup => {
            "fix what its error names, then reload (SIGHUP); it is tried again within the hour".to_owned()
        }
        WaitReason::Conflict => "vaiven conflicts list".to_owned(),
        WaitReason::Brake(run) => format!("vaiven approve {run} (or reject {run})"),
        WaitReason::Run(run) => format!("goes on, or waits for an approval, when run {run} has ended"),
        WaitReason::Unmapped { .. } | WaitReason::Other(_) => return None,
    })
}

/// Quote a key if a shell would not take it as one word: `#3` would begin a comment.
fn quoted(key: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:+@".contains(c);
    if !key.is_empty() && key.chars().all(is_plain) {
        key.to_owned()
    } else {
        format!("'{}'", key.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(cause: &str, count: u64) -> Backlog {
        Backlog {
            refused: 0,
            target: "shop".into(),
            entity: "price".into(),
            state: JobState::Parked,
            count,
            oldest: None,
            due: None,
            cause: Some(cause.to_owned().into()),
        }
    }

    #[test]
    fn a_command_that_is_to_be_copied_is_one_that_a_shell_takes() {
        assert!(hint(&WaitReason::missing("customer", "#3"), "erp").unwrap().ends_with("vaiven explain customer '#3'"));
        assert!(hint(&WaitReason::missing("product", "A-1"), "erp").unwrap().ends_with("vaiven explain product A-1"));
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn causes_of_one_kind_are_one_line_with_count_example_and_hint() {
        let queue = [
            parked("missing:product.variants=A-1", 2),
            parked("missing:product.variants=B-1", 3),
            parked("lookup:tax=IGIC7", 212),
        ];
        let groups = groups(&queue);
        assert_eq!(groups.iter().map(|group| (group.jobs, group.different)).collect::<Vec<_>>(), [(212, 1), (5, 2)]);
        assert!(groups[0].hint.as_deref().unwrap().contains("[systems.shop.lookups.tax]"));
        assert_eq!(groups[1].example, Some(WaitReason::missing("product.variants", "A-1")));
        assert!(groups[1].hint.as_deref().unwrap().ends_with("vaiven explain product A-1"));
    }
}
