//! What `vaiven explain` shows of a record.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    canonical, links,
    now::{self, Now},
    output,
    rejected::Line,
};
use crate::{
    model::{EntitySpec, proof::Proved},
    store::{Attempt, Change, Job, JobState, Link, LinkState, RecordId},
};

#[derive(Serialize)]
pub struct Story {
    pub entity: String,
    pub key: String,
    pub record: RecordId,
    /// The only field to show, if one was asked for.
    pub field: Option<String>,
    /// Field to the systems that own it, or `shared`.
    pub owners: BTreeMap<String, BTreeSet<String>>,
    /// Target to the fields that should change there; `null` if the object should be removed.
    #[serde(rename = "wanted")]
    pub desired: BTreeMap<String, Option<Map<String, Value>>>,
    /// Why owners and desired values cannot be shown; by target if the reason is the target's.
    #[serde(rename = "untold")]
    pub unavailable: Vec<String>,
    /// Where personal data was erased, and which systems still keep what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<String>,
    /// Key of the record that this one was found to be: nothing is written for this one.
    pub same_as: Option<String>,
    pub systems: Vec<View>,
    /// System to how the record is linked to the system's object.
    pub links: BTreeMap<String, Link>,
    pub changes: Vec<Change>,
    pub jobs: Vec<JobStory>,
    /// What the systems hold right now, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub now: Vec<Now>,
    /// Rows that could not be read and belong to the record, or show its key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Line>,
}

/// What is shown of the named object.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Explained {
    One(Box<Story>),
    Several(Several),
}

/// Records that belong to an article, or rows that cannot be read.
#[derive(Serialize)]
pub struct Several {
    pub entity: String,
    /// The key as the user gave it.
    pub of: String,
    /// Total number of records.
    pub found: usize,
    pub rejected: Vec<Line>,
    pub stories: Vec<Story>,
}

impl Explained {
    pub fn text(&self, spec: &EntitySpec) -> String {
        match self {
            Self::One(story) => text(story, spec),
            Self::Several(several) => {
                let mut parts = rejected_lines(&several.rejected);
                if several.found > 0 {
                    parts.push(format!("{} of article {}: {}", several.entity, several.of, several.found));
                }
                parts.extend(several.stories.iter().map(|story| text(story, spec)));
                let more = several.found - several.stories.len();
                if more > 0 {
                    parts.push(format!("and {more} more"));
                }
                parts.join("\n\n")
            }
        }
    }
}

fn rejected_lines(rejected: &[Line]) -> Vec<String> {
    let line = |line: &Line| {
        let aside = if line.row.dismissed { " (put aside)" } else { "" };
        format!(
            "Row {} of {} at {} cannot be read{aside}: {}\n  seen at {}; `vaiven rejected` shows all there are",
            line.name(),
            line.entity,
            line.system,
            line.why(),
            line.row.position
        )
    };
    rejected.iter().map(line).collect()
}

/// What one system holds of the record.
#[derive(Serialize)]
pub struct View {
    pub system: String,
    pub id: String,
    pub version: Option<String>,
    /// When the object was first missing.
    pub gone_at: Option<chrono::DateTime<chrono::Utc>>,
    pub fields: Map<String, Value>,
    /// The values that we sent, if the system stores something else.
    pub sent: Map<String, Value>,
    /// Whether its amounts add up to its total, if its entity needs such a proof.
    pub proof: Option<Proved>,
    /// What looks wrong in its values, although they were accepted.
    pub doubts: Vec<String>,
}

#[derive(Serialize)]
pub struct JobStory {
    #[serde(flatten)]
    pub job: Job,
    pub attempts: Vec<Attempt>,
}

impl Story {
    /// A value as the tables show it. If only one field is shown, its value is not shortened.
    fn cell(&self, value: &Value) -> String {
        match (&self.field, value) {
            (Some(_), Value::String(text)) => text.clone(),
            (Some(_), other) => other.to_string(),
            (None, value) => canonical::cell(value),
        }
    }

    /// `name: "a" -> "b"`.
    fn change(&self, field: &str, pair: &Value) -> String {
        let side = |index: usize| {
            pair.get(index).filter(|value| !value.is_null()).map_or_else(|| "-".to_owned(), |value| self.cell(value))
        };
        format!("{field}: {} -> {}", side(0), side(1))
    }

    /// The jobs to show. If only one field is shown, these are the open ones.
    fn shown_jobs(&self) -> impl Iterator<Item = &JobStory> {
        let is_open = |job: &Job| !matches!(job.state, JobState::Done | JobState::Discarded);
        self.jobs.iter().filter(move |story| self.field.is_none() || is_open(&story.job))
    }
}

fn text(story: &Story, spec: &EntitySpec) -> String {
    let mut parts = vec![format!("{} {} (record {})", story.entity, story.key, story.record)];
    if let Some(same) = &story.same_as {
        parts.push(format!(
            "It is the same as {} {same}: nothing is written for it, and what refers to it means that one.",
            story.entity
        ));
    }
    parts.extend(rejected_lines(&story.rejected));
    parts.push(side_by_side(story, spec));
    parts.extend((!story.now.is_empty()).then(|| now::lines(&story.now).join("\n")));
    let goes: Vec<String> = story
        .desired
        .iter()
        .filter(|(_, fields)| fields.is_none())
        .map(|(target, _)| format!("It is to be removed from {target}."))
        .collect();
    parts.extend((!goes.is_empty()).then(|| goes.join("\n")));
    parts.extend((!story.unavailable.is_empty()).then(|| story.unavailable.join("\n")));
    parts.extend((!story.erased.is_empty()).then(|| story.erased.join("\n")));
    let away = story.links.iter().filter(|(system, _)| story.systems.iter().all(|view| view.system != **system));
    let away: Vec<String> = away.map(|(system, link)| format!("At {system}: {}", link.state.as_str())).collect();
    if !away.is_empty() {
        parts.push(away.join("\n"));
    }
    let doubts = story.systems.iter().flat_map(|view| view.doubts.iter().map(|doubt| (&view.system, doubt)));
    let doubts: Vec<String> = doubts.map(|(system, doubt)| format!("Doubtful at {system}: {doubt}")).collect();
    if !doubts.is_empty() {
        parts.push(doubts.join("\n"));
    }
    if story.changes.is_empty() {
        parts.push("No changes yet.".to_owned());
    } else {
        let rows = story.changes.iter().flat_map(|change| {
            let what = format!("{:?}", change.op).to_lowercase();
            let fields =
                change.fields.iter().map(|(field, pair)| story.change(field, pair)).collect::<Vec<_>>().join("\n");
            [[output::time(change.at), change.system.clone(), what, change.cause.to_string(), fields]]
        });
        parts.push(output::table(["change", "at", "what", "by", "fields"], rows));
    }
    if story.jobs.is_empty() && story.field.is_none() {
        parts.push("No jobs: there was nothing to deliver.".to_owned());
    }
    for JobStory { job, attempts } in story.shown_jobs() {
        let mut lines = vec![format!("Job {} for {}: {}", job.id, job.target, job_state(job))];
        lines.extend(attempts.iter().map(|attempt| {
            let message = attempt.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            let requests = output::count(attempt.requests.into(), "request");
            format!(
                "  {}  {} {} ({requests}, {} ms){message}",
                output::time(attempt.at),
                attempt.op,
                attempt.outcome,
                attempt.millis
            )
        }));
        parts.push(lines.join("\n"));
    }
    parts.join("\n\n")
}

fn job_state(job: &Job) -> String {
    let error = job.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    match (job.state, &job.cause) {
        (JobState::Parked, Some(cause)) => format!("parked, waiting for {cause}{error}"),
        (JobState::Queued, _) if job.attempts > 0 => {
            let tries = output::count(job.attempts.into(), "attempt");
            format!("queued after {tries}, due {}{error}", output::time(job.due))
        }
        (JobState::Queued, _) => format!("queued, due {}", output::time(job.due)),
        (state, _) => format!("{}{error}", state.as_str()),
    }
}

/// One column per system and one line per field; `*` marks fields that differ.
fn side_by_side(story: &Story, spec: &EntitySpec) -> String {
    if story.systems.is_empty() {
        return "No system is known to have it, but something refers to it.".to_owned();
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    rows.push(std::iter::once("id".to_owned()).chain(story.systems.iter().map(|view| view.id.clone())).collect());
    if !story.links.is_empty() {
        let tied = |view: &View| story.links.get(&view.system).map_or_else(|| "-".to_owned(), tie);
        rows.push(std::iter::once("(link)".to_owned()).chain(story.systems.iter().map(tied)).collect());
    }
    if story.systems.iter().any(|view| view.gone_at.is_some()) {
        let gone = |view: &View| view.gone_at.map(|at| format!("gone since {}", output::time(at))).unwrap_or_default();
        rows.push(std::iter::once(String::new()).chain(story.systems.iter().map(gone)).collect());
    }
    let cell = |value: &Value| story.cell(value);
    let has_owners = !story.owners.is_empty();
    let has_desired = story.desired.values().flatten().any(|fields| !fields.is_empty());
    for field in spec.fields.keys() {
        let values: Vec<Option<&Value>> = story.systems.iter().map(|view| view.fields.get(field)).collect();
        let desired = story.desired.iter().filter_map(|(target, fields)| Some((target, fields.as_ref()?.get(field)?)));
        let desired: Vec<String> = desired
            .map(|(target, value)| format!("{target}: {}", if value.is_null() { "-".to_owned() } else { cell(value) }))
            .collect();
        let is_new = story.now.iter().any(|now| now.fields.as_ref().is_some_and(|fields| fields.contains_key(field)));
        if values.iter().all(Option::is_none) && desired.is_empty() && !is_new {
            continue;
        }
        let mut known = values.iter().flatten();
        let first = known.next();
        let mark = if known.any(|value| Some(value) != first) { " *" } else { "" };
        let cells = story.systems.iter().zip(&values).map(|(view, value)| match (value, view.sent.get(field)) {
            (None, _) => "-".to_owned(),
            (Some(value), Some(sent)) => format!("{} (sent {})", cell(value), cell(sent)),
            (Some(value), None) => cell(value),
        });
        let owner =
            story.owners.get(field).map(|owners| owners.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
        let now = story.now.iter().map(|now| now.fields.as_ref().and_then(|fields| fields.get(field)));
        let now = now.map(|value| value.map_or_else(|| "-".to_owned(), cell));
        let mut row: Vec<String> = std::iter::once(format!("{field}{mark}")).chain(cells).chain(now).collect();
        row.extend(has_owners.then(|| owner.unwrap_or_default()));
        row.extend(has_desired.then(|| desired.join("\n")));
        rows.push(row);
    }
    if story.systems.iter().any(|view| view.proof.is_some()) {
        let proofs =
            story.systems.iter().map(|view| view.proof.as_ref().map_or_else(|| "-".to_owned(), Proved::to_string));
        rows.push(std::iter::once("(money)".to_owned()).chain(proofs).collect());
    }
    let header = std::iter::once("field").chain(story.systems.iter().map(|view| view.system.as_str()));
    let now: Vec<String> = story.now.iter().map(|now| format!("{} now", now.system)).collect();
    let header = header
        .chain(now.iter().map(String::as_str))
        .chain(has_owners.then_some("(owner)"))
        .chain(has_desired.then_some("(desired)"));
    output::grid(header.map(str::to_owned).collect(), rows)
}

/// `by vat, 50 % agree`, `paused (by key)`.
fn tie(link: &Link) -> String {
    let by = links::by(link);
    let by = if by == "made by us" { by } else { format!("by {by}") };
    if link.state == LinkState::Linked { by } else { format!("{} ({by})", link.state.as_str()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Entities;

    #[test]
    fn what_differs_between_systems_is_marked() {
        let view = |system: &str, name: &str| View {
            system: system.into(),
            id: "7".into(),
            version: None,
            gone_at: None,
            fields: serde_json::from_value(serde_json::json!({ "sku": "A-1", "name": { "es": name } })).unwrap(),
            sent: Map::new(),
            proof: None,
            doubts: Vec::new(),
        };
        let entities = Entities::builtin();
        let story = Story {
            entity: "product".into(),
            key: "A-1".into(),
            record: RecordId(1),
            field: None,
            owners: BTreeMap::from([("name".to_owned(), BTreeSet::from(["erp".to_owned()]))]),
            desired: BTreeMap::from([(
                "shop".to_owned(),
                serde_json::from_value(serde_json::json!({ "name": { "es": "Martillo" } })).unwrap(),
            )]),
            unavailable: Vec::new(),
            erased: Vec::new(),
            same_as: None,
            links: BTreeMap::new(),
            systems: vec![view("erp", "Martillo"), view("shop", "Martillo de bola")],
            changes: Vec::new(),
            jobs: Vec::new(),
            now: Vec::new(),
            rejected: Vec::new(),
        };
        insta::assert_snapshot!(text(&story, entities.get("product").unwrap()));
    }
}
