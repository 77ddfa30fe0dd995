//! What jobs and rows wait for, in groups: how many, an example, and the command that ends the wait.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::store::{Backlog, JobState};

/// Open jobs of one kind that wait for the same kind of thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub state: JobState,
    pub jobs: u64,
    pub target: String,
    pub entity: String,
    /// `missing:product.variants`, `lookup:tax`, `conflict`; absent for jobs that wait for nothing.
    pub waits_for: Option<String>,
    /// How many different things of that kind.
    pub different: u64,
    /// One of them: `missing:product.variants=SKU-9`.
    pub example: Option<String>,
    pub oldest: Option<DateTime<Utc>>,
    /// What ends the wait.
    #[serde(rename = "cure")]
    pub hint: Option<String>,
}

/// The queue, with causes of one kind put together.
pub fn groups(queue: &[Backlog]) -> Vec<Group> {
    let mut groups: BTreeMap<(&str, &str, &str, Option<&str>), Group> = BTreeMap::new();
    for line in queue {
        let kind = line.cause.as_deref().map(|cause| cause.split_once('=').map_or(cause, |(kind, _)| kind));
        let group = groups.entry((&line.target, &line.entity, line.state.as_str(), kind)).or_insert_with(|| Group {
            state: line.state,
            jobs: 0,
            target: line.target.clone(),
            entity: line.entity.clone(),
            waits_for: kind.map(str::to_owned),
            different: 0,
            example: line.cause.clone(),
            oldest: line.oldest,
            hint: line.cause.as_deref().and_then(|cause| hint(cause, &line.target)),
        });
        group.jobs += line.count;
        group.different += 1;
        group.oldest = group.oldest.into_iter().chain(line.oldest).min();
    }
    groups.into_values().collect()
}

/// What ends the waiting for a cause at a target (or, for rows, at their source).
pub fn hint(cause: &str, system: &str) -> Option<String> {
    let (kind, rest) = cause.split_once(':').unwrap_or((cause, ""));
    let (name, value) = rest.split_once('=').unwrap_or((rest, ""));
    match kind {
        "lookup" => Some(format!(
            "add a line for {value} under [systems.{system}.lookups.{name}] (CANONICAL_VALUE = \"value at {system}\"), \
             then reload (SIGHUP)"
        )),
        "missing" => {
            let entity = name.split('.').next().unwrap_or(name);
            Some(format!(
                "goes on by itself when {system} has it; to see why it does not: vaiven explain {entity} {}",
                quoted(value)
            ))
        }
        "taken" => Some(format!(
            "goes on by itself when {name} {value} has another value at {system}; or change one of the two: \
             vaiven explain {name} {value}"
        )),
        "orders" => Some(format!(
            "goes on by itself when every order of {name} can be read; to see what stands in the way: vaiven status, \
             vaiven jobs list"
        )),
        "proof" => Some(format!(
            "goes on by itself when the {name} or its mapping changes; to see both sums: vaiven explain {name} {value}"
        )),
        "qualifies" => Some(format!(
            "{system} would take it for another {}: keep it away by the flow's `where`, or map `{}` for {system}, then reload (SIGHUP)",
            name.split('.').next().unwrap_or(name),
            name.split_once('.').map_or(name, |(_, field)| field)
        )),
        "differs" => Some(format!(
            "vaiven differences shows both values; correct the value or its mapping, or: \
             vaiven differences accept {system}"
        )),
        "holds" => Some(format!(
            "goes on by itself when the source or {system} changes; to see what stands in the way: \
             vaiven jobs list --cause {cause}"
        )),
        "acceptance" => Some(format!(
            "goes on by itself when the {name} is accepted (paid, or to be paid by transfer or on delivery); there is \
             nothing to do"
        )),
        "article" => Some(format!(
            "name the article at the {name}'s own system, or let the flow send such lines as text: without_article = \"text\""
        )),
        "unread" => Some("correct the row or the mapping, or put the row aside: vaiven rejected".to_owned()),
        "review" => Some("vaiven links review".to_owned()),
        "paused" => Some(format!("vaiven links resume {name} {value}")),
        "fuse" => Some(format!(
            "find out which other program writes it (vaiven explain {name} {value}); it is tried again within the hour"
        )),
        "file" => Some(format!("correct {rest}, then reload (SIGHUP); it is tried again within the hour")),
        "unlisted" => Some(format!("fix what keeps {name} from being listed; it is tried again within the hour")),
        "setup" => Some("fix what its error names, then reload (SIGHUP); it is tried again within the hour".to_owned()),
        "conflict" => Some("vaiven conflicts list".to_owned()),
        "brake" => Some(format!("vaiven approve {0} (or reject {0})", rest.trim_start_matches("run-"))),
        "run" => Some(format!("goes on, or waits for an approval, when run {rest} has ended")),
        _ => None,
    }
}

/// A key as a shell takes it for one word: `#3` would begin a comment.
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
            cause: Some(cause.into()),
        }
    }

    #[test]
    fn a_command_that_is_to_be_copied_is_one_that_a_shell_takes() {
        assert!(hint("missing:customer=#3", "erp").unwrap().ends_with("vaiven explain customer '#3'"));
        assert!(hint("missing:product=A-1", "erp").unwrap().ends_with("vaiven explain product A-1"));
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
        assert_eq!(groups[1].example.as_deref(), Some("missing:product.variants=A-1"));
        assert!(groups[1].hint.as_deref().unwrap().ends_with("vaiven explain product A-1"));
    }
}
