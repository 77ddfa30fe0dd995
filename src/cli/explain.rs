//! `vaiven explain`: the whole story of one record.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Ending, app, canonical, links, naming,
    output::{self, Output},
    run,
};
use crate::{
    config::Config,
    env::Env,
    load::{LoadError, Place, SourceFile},
    model::{Entities, EntitySpec, doubts, proof::Proved},
    store::{
        Attempt, Change, ChangeOp, Job, JobFilter, JobState, Link, LinkState, RecordId, Replica, SharedStore, Ties,
    },
    sync::{self, Wants, Wish},
};

/// Most changes and jobs that are told.
const TOLD: u32 = 20;

/// What somebody wants to know.
pub struct Asked<'a> {
    pub entity: &'a str,
    /// Key, id at a system, or value of a match field.
    pub key: &'a str,
    pub field: Option<&'a str>,
    pub personal: bool,
}

#[derive(Serialize)]
struct Story {
    entity: String,
    key: String,
    record: RecordId,
    /// The field that was asked for alone.
    field: Option<String>,
    /// Field to the systems that own it, or `shared`.
    owners: BTreeMap<String, BTreeSet<String>>,
    /// Target to the fields that are to be other than they are there; `null` where the object is to go.
    wanted: BTreeMap<String, Option<Map<String, Value>>>,
    /// Why owners and what is wanted cannot be told; by target where it is the target's.
    untold: Vec<String>,
    /// Where the data of persons was erased, and who keeps what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    erased: Vec<String>,
    /// Key of the record that it was found to be: nothing is written for this one.
    same_as: Option<String>,
    systems: Vec<View>,
    /// System to how the record is tied to what it has there.
    links: BTreeMap<String, Link>,
    changes: Vec<Change>,
    jobs: Vec<JobStory>,
}

/// What one system holds of the record.
#[derive(Serialize)]
struct View {
    system: String,
    id: String,
    version: Option<String>,
    /// When it was seen to be gone.
    gone_at: Option<chrono::DateTime<chrono::Utc>>,
    fields: Map<String, Value>,
    /// As we sent it, where the system stores something else.
    sent: Map<String, Value>,
    /// Whether its amounts come to its total, where its entity has to prove that.
    proof: Option<Proved>,
    /// What looks wrong about its values, though they were taken.
    doubts: Vec<String>,
}

#[derive(Serialize)]
struct JobStory {
    #[serde(flatten)]
    job: Job,
    attempts: Vec<Attempt>,
}

pub async fn explain(
    asked: Asked<'_>,
    config: &Config,
    store: &SharedStore,
    env: &Env,
    output: Output,
) -> anyhow::Result<Ending> {
    let entities = config.entities()?;
    let spec = spec(asked.entity, &entities)?;
    if let Some(field) = asked.field.filter(|field| !spec.fields.contains_key(*field)) {
        let words = SourceFile::typed(field);
        let known = spec.fields.keys().map(String::as_str);
        return Err(LoadError::unknown(&Place::new(&words, 0..field.len()), "field", field, known).into());
    }
    let record = found(&asked, spec, config, store).await?;
    let key = store.keys(&[record]).await?.remove(&record).map(|(_, key)| key).filter(|key| !key.is_empty());
    let replicas = store.replicas_of(&[record]).await?;
    let opened = app::world(config, env).and_then(|world| Ok(config.open(&world)?));
    // By system: words that its mapping had to keep as they are.
    let mut unknown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (wish, mut untold) = match opened {
        Ok(opened) => {
            let parts = run::parts(opened, SharedStore::clone(store), env);
            for replica in &replicas {
                let at = (replica.system.clone(), asked.entity.to_owned());
                let Some(mapping) = parts.mappings.get(&at) else { continue };
                let words = mapping.unknown(&replica.fields).iter().map(ToString::to_string).collect();
                unknown.insert(replica.system.clone(), words);
            }
            (sync::wish(&parts, asked.entity, record).await?, Vec::new())
        }
        Err(error) => (Wish::default(), vec![format!("Owners and what is wanted cannot be told: {error:#}")]),
    };
    let erased = |(source, target): &(String, String)| {
        format!("The data of persons was erased at {source}: nothing of it goes to {target}, which keeps what it has.")
    };
    let erased = wish.erased.iter().map(erased).collect();
    let wanted: BTreeMap<String, Option<Map<String, Value>>> = wish
        .wanted
        .into_iter()
        .filter_map(|(target, wants)| match wants {
            Wants::Fields(fields) => Some((target, Some(fields))),
            Wants::Gone => Some((target, None)),
            Wants::Unknown(why) => {
                untold.push(format!("What is wanted at {target} cannot be told: {why}"));
                None
            }
        })
        .collect();
    let referred: Vec<RecordId> = replicas
        .iter()
        .map(|replica| &replica.fields)
        .chain(wanted.values().flatten())
        .flat_map(|fields| canonical::records(&spec.fields, fields))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let shown = canonical::Shown { keys: store.keys(&referred).await?, personal: asked.personal };
    let mut jobs = Vec::new();
    for job in store.jobs(&JobFilter { record: Some(record), limit: TOLD, ..JobFilter::default() }).await? {
        let attempts = store.attempts(job.id).await?;
        jobs.push(JobStory { job, attempts });
    }
    let (links, same) = ties(record, &replicas, store).await?;
    let same_as = match same {
        Some(same) => store.keys(&[same]).await?.remove(&same).map(|(_, key)| key),
        None => None,
    };
    let mut changes = match asked.field {
        Some(field) => {
            let mut changes = store.history(&[record]).await?;
            changes.reverse();
            for change in &mut changes {
                change.fields.retain(|name, _| name == field);
            }
            changes.retain(|change| !change.fields.is_empty());
            changes
        }
        None => store.changes(record, TOLD).await?,
    };
    for change in &mut changes {
        shown.changes(&spec.fields, &mut change.fields);
    }
    let is_told = |field: &String| asked.field.is_none_or(|only| only == field);
    let story = Story {
        entity: asked.entity.to_owned(),
        key: key.unwrap_or_else(|| asked.key.to_owned()),
        record,
        field: asked.field.map(str::to_owned),
        owners: wish.owners.into_iter().filter(|(field, _)| is_told(field)).collect(),
        wanted: wanted
            .into_iter()
            .map(|(target, fields)| {
                let told = |fields: Map<String, Value>| {
                    let mut fields = shown.fields(&spec.fields, &fields);
                    fields.retain(|field, _| is_told(field));
                    fields
                };
                (target, fields.map(told))
            })
            .collect(),
        untold,
        erased,
        same_as,
        links,
        systems: replicas
            .into_iter()
            .map(|replica| {
                let unknown = unknown.remove(&replica.system).unwrap_or_default();
                view(replica, spec, &shown, (asked.field, unknown))
            })
            .collect(),
        changes,
        jobs,
    };
    output.show(&story, |story| text(story, spec))?;
    let stuck = story.jobs.iter().any(|job| matches!(job.job.state, JobState::Parked | JobState::Dead));
    Ok(if stuck { Ending::Attention } else { Ending::Fine })
}

/// The record of this key; else the one that a system has under this id, or that this is a match value of.
async fn found(asked: &Asked<'_>, spec: &EntitySpec, config: &Config, store: &SharedStore) -> anyhow::Result<RecordId> {
    let Asked { entity, key, .. } = *asked;
    if let Some(record) = naming::record(store, entity, key).await? {
        return Ok(record);
    }
    let mut found: BTreeSet<RecordId> = BTreeSet::new();
    for system in config.sections.systems.keys() {
        let replicas = store.replicas_by_id(system.get_ref(), entity, &[key.to_owned()]).await?;
        found.extend(replicas.into_iter().map(|replica| replica.record));
    }
    let matched = spec.fields.iter().filter_map(|(name, field)| {
        let value = field.compare?.comparable(key);
        (!value.is_empty()).then(|| vec![(name.clone(), value)])
    });
    found.extend(store.recognise(entity, &matched.collect::<Vec<_>>()).await?.into_iter().flatten());
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(record), None) => Ok(record),
        (None, _) => anyhow::bail!(
            "no {entity} with key `{key}` was seen at any system, nor one that has it as its id there or as a match field. \
             `vaiven status` counts what is known; `vaiven run --resync FLOW/{entity}/{key}` looks for it"
        ),
        (Some(one), Some(other)) => {
            let all: Vec<RecordId> = [one, other].into_iter().chain(found).collect();
            let keys: Vec<String> = store.keys(&all).await?.into_values().map(|(_, key)| key).collect();
            anyhow::bail!("`{key}` may be any of these, ask by key: {}", keys.join(", "))
        }
    }
}

/// How a record is tied to each system's object, and which other record it is, if so.
async fn ties(
    record: RecordId,
    replicas: &[Replica],
    store: &SharedStore,
) -> anyhow::Result<(BTreeMap<String, Link>, Option<RecordId>)> {
    let Ties { same, mut links } = store.ties(&[record]).await?.remove(&record).unwrap_or_default();
    let history = store.history(&[record]).await?;
    for replica in replicas {
        let link = links.entry(replica.system.clone()).or_default();
        let made = |change: &Change| change.op == ChangeOp::Create && change.system == replica.system;
        link.rule.get_or_insert_with(|| {
            let by_us =
                history.iter().rev().find(|change| made(change)).is_some_and(|change| change.cause.starts_with("job"));
            if by_us { "made by us" } else { "key" }.to_owned()
        });
    }
    Ok((links, same))
}

impl Story {
    /// A value as it stands in the tables; of a single field it is told whole.
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

    /// Jobs that are told: with a single field only those that are still open.
    fn told_jobs(&self) -> impl Iterator<Item = &JobStory> {
        let is_open = |job: &Job| !matches!(job.state, JobState::Done | JobState::Discarded);
        self.jobs.iter().filter(move |story| self.field.is_none() || is_open(&story.job))
    }
}

fn spec<'a>(entity: &str, entities: &'a Entities) -> Result<&'a EntitySpec, LoadError> {
    entities.get(entity).map(|spec| &**spec).ok_or_else(|| {
        let asked = SourceFile::typed(entity);
        LoadError::unknown(&Place::new(&asked, 0..entity.len()), "entity", entity, entities.names().collect::<Vec<_>>())
    })
}

fn view(
    replica: Replica,
    spec: &EntitySpec,
    shown: &canonical::Shown,
    (only, unknown): (Option<&str>, Vec<String>),
) -> View {
    let told = |fields: &Map<String, Value>| {
        let mut fields = shown.fields(&spec.fields, fields);
        fields.retain(|field, _| only.is_none_or(|only| only == field));
        fields
    };
    View {
        proof: spec.prove(&replica.fields),
        doubts: doubts(spec, &replica.fields).iter().map(ToString::to_string).chain(unknown).collect(),
        system: replica.system,
        id: replica.id,
        version: replica.version,
        gone_at: replica.gone_at,
        fields: told(&replica.fields),
        sent: told(&replica.sent),
    }
}

fn text(story: &Story, spec: &EntitySpec) -> String {
    let mut parts = vec![format!("{} {} (record {})", story.entity, story.key, story.record)];
    if let Some(same) = &story.same_as {
        parts.push(format!(
            "It is one with {} {same}: nothing is written for it, and what refers to it means that one.",
            story.entity
        ));
    }
    parts.push(side_by_side(story, spec));
    let goes: Vec<String> = story
        .wanted
        .iter()
        .filter(|(_, fields)| fields.is_none())
        .map(|(target, _)| format!("It is to go at {target}."))
        .collect();
    parts.extend((!goes.is_empty()).then(|| goes.join("\n")));
    parts.extend((!story.untold.is_empty()).then(|| story.untold.join("\n")));
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
            [[output::time(change.at), change.system.clone(), what, change.cause.clone(), fields]]
        });
        parts.push(output::table(["change", "at", "what", "by", "fields"], rows));
    }
    if story.jobs.is_empty() && story.field.is_none() {
        parts.push("No jobs: nothing was to be delivered.".to_owned());
    }
    for JobStory { job, attempts } in story.told_jobs() {
        let mut lines = vec![format!("Job {} for {}: {}", job.id, job.target, standing(job))];
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

fn standing(job: &Job) -> String {
    let error = job.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    match (job.state, &job.cause) {
        (JobState::Parked, Some(cause)) => format!("parked, waits for {cause}{error}"),
        (JobState::Queued, _) if job.attempts > 0 => {
            format!("tried {} times, again at {}{error}", job.attempts, output::time(job.due))
        }
        (JobState::Queued, _) => format!("queued, due {}", output::time(job.due)),
        (state, _) => format!("{}{error}", state.as_str()),
    }
}

/// One column per system, one line per field; `*` marks fields that differ.
fn side_by_side(story: &Story, spec: &EntitySpec) -> String {
    if story.systems.is_empty() {
        return "No system is known to hold it; something refers to it.".to_owned();
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
    let has_wishes = story.wanted.values().flatten().any(|fields| !fields.is_empty());
    for field in spec.fields.keys() {
        let values: Vec<Option<&Value>> = story.systems.iter().map(|view| view.fields.get(field)).collect();
        let wished = story.wanted.iter().filter_map(|(target, fields)| Some((target, fields.as_ref()?.get(field)?)));
        let wished: Vec<String> = wished
            .map(|(target, value)| format!("{target}: {}", if value.is_null() { "-".to_owned() } else { cell(value) }))
            .collect();
        if values.iter().all(Option::is_none) && wished.is_empty() {
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
        let mut row: Vec<String> = std::iter::once(format!("{field}{mark}")).chain(cells).collect();
        row.extend(has_owners.then(|| owner.unwrap_or_default()));
        row.extend(has_wishes.then(|| wished.join("\n")));
        rows.push(row);
    }
    if story.systems.iter().any(|view| view.proof.is_some()) {
        let proofs =
            story.systems.iter().map(|view| view.proof.as_ref().map_or_else(|| "-".to_owned(), Proved::to_string));
        rows.push(std::iter::once("(money)".to_owned()).chain(proofs).collect());
    }
    let header = std::iter::once("field").chain(story.systems.iter().map(|view| view.system.as_str()));
    let header = header.chain(has_owners.then_some("(owner)")).chain(has_wishes.then_some("(wanted)"));
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
            record: 1,
            field: None,
            owners: BTreeMap::from([("name".to_owned(), BTreeSet::from(["erp".to_owned()]))]),
            wanted: BTreeMap::from([(
                "shop".to_owned(),
                serde_json::from_value(serde_json::json!({ "name": { "es": "Martillo" } })).unwrap(),
            )]),
            untold: Vec::new(),
            erased: Vec::new(),
            same_as: None,
            links: BTreeMap::new(),
            systems: vec![view("erp", "Martillo"), view("shop", "Martillo de bola")],
            changes: Vec::new(),
            jobs: Vec::new(),
        };
        insta::assert_snapshot!(text(&story, entities.get("product").unwrap()));
    }
}
