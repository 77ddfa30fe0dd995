//! `vaiven explain`: the whole story of one record.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    Ending, app, canonical, found, now,
    rejected::Line,
    run,
    session::Session,
    story::{Explained, JobStory, Several, Story, View},
};
use crate::{
    load::{LoadError, Place, SourceFile},
    model::{Entities, EntitySpec, doubts},
    store::Origin,
    store::{Change, ChangeOp, JobFilter, Link, RecordId, Rejection, Replica, SharedStore, Ties},
    sync::{self, DesiredObject, DesiredState},
};

/// Maximum number of changes and jobs that are shown.
const SHOWN: u32 = 20;
/// Maximum number of an article's records that are shown.
const ARTICLES: usize = 20;

/// What to explain.
pub struct ExplainRequest<'a> {
    pub entity: &'a str,
    /// Key, id at a system, or value of a match field.
    pub key: &'a str,
    pub field: Option<&'a str>,
    pub personal: bool,
    /// Whether the systems are read now.
    pub live: bool,
}

pub async fn explain(request: ExplainRequest<'_>, session: &Session) -> anyhow::Result<Ending> {
    let Session { config, store, output, .. } = session;
    let entities = config.entities()?;
    let spec = spec(request.entity, &entities)?;
    if let Some(field) = request.field.filter(|field| !spec.fields.contains_key(*field)) {
        let words = SourceFile::typed(field);
        let known = spec.fields.keys().map(String::as_str);
        return Err(LoadError::unknown(&Place::new(&words, 0..field.len()), "field", field, known).into());
    }
    let explained = if let Some(record) = found::record(request.entity, request.key, spec, config, store).await? {
        Explained::One(Box::new(story(record, &request, spec, session).await?))
    } else {
        let records = found::of_article(spec, request.key, &entities, config, store).await?;
        // Causes name an object by its record number, `#12`, if no row of it could be read: any of the waiting rows
        // may be this object.
        let is_nameless = request.key.strip_prefix('#').is_some_and(|number| number.parse::<RecordId>().is_ok());
        let may_be = |_: &str, row: &Rejection| row.is_about(request.key) || is_nameless && !row.dismissed;
        let called = found::rejections(request.entity, store, may_be).await?;
        let plan = if called.is_empty() { None } else { session.opened() };
        let rejected: Vec<Line> = called.into_iter().map(|row| Line::new(row, plan.as_ref())).collect();
        if records.is_empty() && rejected.is_empty() {
            anyhow::bail!(
                "no {entity} with key `{key}` was seen at any system, nor one that has it as its id there, as a match field or as its \
                 article, nor a row of it that could not be read. `vaiven status` counts what is known; \
                 `vaiven run --resync FLOW/{entity}/{key}` looks for it",
                entity = request.entity,
                key = request.key
            );
        }
        let mut stories = Vec::new();
        for record in records.iter().take(ARTICLES) {
            stories.push(story(*record, &request, spec, session).await?);
        }
        let (entity, of) = (request.entity.to_owned(), request.key.to_owned());
        Explained::Several(Several { entity, of, found: records.len(), rejected, stories })
    };
    output.show(&explained, |explained| explained.text(spec))?;
    let (stories, rejected) = match &explained {
        Explained::One(story) => (std::slice::from_ref(&**story), &story.rejected),
        Explained::Several(several) => (several.stories.as_slice(), &several.rejected),
    };
    let is_open = rejected.iter().any(|line| !line.row.dismissed);
    let mut jobs = stories.iter().flat_map(|story| &story.jobs);
    let stuck = jobs.any(|story| sync::needs_somebody(story.job.state, story.job.cause.as_ref()));
    Ok(if stuck || is_open { Ending::Attention } else { Ending::Fine })
}

/// Everything that is known of one record.
async fn story(
    record: RecordId,
    request: &ExplainRequest<'_>,
    spec: &EntitySpec,
    session: &Session,
) -> anyhow::Result<Story> {
    let Session { config, store, env, .. } = session;
    let key = store.keys(&[record]).await?.remove(&record).map(|(_, key)| key).filter(|key| !key.is_empty());
    let replicas = store.replicas_of(&[record]).await?;
    let opened = app::world(config, env).and_then(|world| Ok(config.open(&world)?));
    // By system: words that its mapping kept without knowing them.
    let mut unknown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let is_its = |system: &str, row: &Rejection| {
        let mut there = replicas.iter().filter(|replica| replica.system == system);
        row.is_called(request.key) || there.any(|replica| row.id.as_ref() == Some(&replica.id))
    };
    let rejected = found::rejections(request.entity, store, is_its).await?;
    let (mut live, mut lines) = (Vec::new(), Vec::new());
    let (state, mut unavailable) = match opened {
        Ok(opened) => {
            lines.extend(rejected.into_iter().map(|row| Line::new(row, Some(&opened))));
            let context = run::context(opened, SharedStore::clone(store), env);
            for replica in &replicas {
                let at = (replica.system.clone(), request.entity.to_owned());
                let Some(mapping) = context.mappings.get(&at) else { continue };
                let words = mapping.unknown(&replica.fields).iter().map(ToString::to_string).collect();
                unknown.insert(replica.system.clone(), words);
            }
            if request.live {
                live = now::now(&context, spec, &replicas, store, (request.personal, request.field)).await?;
            }
            (sync::desired_state(&context, request.entity, record).await?, Vec::new())
        }
        Err(error) => {
            lines.extend(rejected.into_iter().map(|row| Line::new(row, None)));
            (DesiredState::default(), vec![format!("Owners and desired values cannot be shown: {error:#}")])
        }
    };
    let erased = |(source, target): &(String, String)| {
        format!("The data of persons was erased at {source}: nothing of it goes to {target}, which keeps what it has.")
    };
    let erased = state.erased.iter().map(erased).collect();
    let desired: BTreeMap<String, Option<Map<String, Value>>> = state
        .desired
        .into_iter()
        .filter_map(|(target, object)| match object {
            DesiredObject::Fields(fields) => Some((target, Some(fields))),
            DesiredObject::Gone => Some((target, None)),
            DesiredObject::Unknown(why) => {
                unavailable.push(format!("The desired values at {target} cannot be shown: {why}"));
                None
            }
        })
        .collect();
    let referred: Vec<RecordId> = replicas
        .iter()
        .map(|replica| &replica.fields)
        .chain(desired.values().flatten())
        .flat_map(|fields| canonical::records(&spec.fields, fields))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let shown = canonical::Shown { keys: store.keys(&referred).await?, personal: request.personal };
    let mut jobs = Vec::new();
    for job in store.jobs(&JobFilter { record: Some(record), limit: SHOWN, ..JobFilter::default() }).await? {
        let attempts = store.attempts(job.id).await?;
        jobs.push(JobStory { job, attempts });
    }
    let (links, same) = ties(record, &replicas, store).await?;
    let same_as = match same {
        Some(same) => store.keys(&[same]).await?.remove(&same).map(|(_, key)| key),
        None => None,
    };
    let mut changes = match request.field {
        Some(field) => {
            let mut changes = store.history(&[record]).await?;
            changes.reverse();
            for change in &mut changes {
                change.fields.retain(|name, _| name == field);
            }
            changes.retain(|change| !change.fields.is_empty());
            changes
        }
        None => store.changes(record, SHOWN).await?,
    };
    for change in &mut changes {
        shown.changes(&spec.fields, &mut change.fields);
    }
    let is_asked = |field: &String| request.field.is_none_or(|only| only == field);
    Ok(Story {
        entity: request.entity.to_owned(),
        key: key.unwrap_or_else(|| request.key.to_owned()),
        record,
        field: request.field.map(str::to_owned),
        owners: state.owners.into_iter().filter(|(field, _)| is_asked(field)).collect(),
        desired: desired
            .into_iter()
            .map(|(target, fields)| {
                let visible = |fields: Map<String, Value>| {
                    let mut fields = shown.fields(&spec.fields, &fields);
                    fields.retain(|field, _| is_asked(field));
                    fields
                };
                (target, fields.map(visible))
            })
            .collect(),
        unavailable,
        erased,
        same_as,
        links,
        systems: replicas
            .into_iter()
            .map(|replica| {
                let unknown = unknown.remove(&replica.system).unwrap_or_default();
                view(replica, spec, &shown, (request.field, unknown))
            })
            .collect(),
        changes,
        jobs,
        now: live,
        rejected: lines,
    })
}

/// How a record is linked to each system's object, and which other record it was found to be, if any.
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
            let by_us = history
                .iter()
                .rev()
                .find(|change| made(change))
                .is_some_and(|change| matches!(change.cause, Origin::Job(_)));
            if by_us { "made by us" } else { "key" }.to_owned()
        });
    }
    Ok((links, same))
}

fn spec<'a>(entity: &str, entities: &'a Entities) -> Result<&'a EntitySpec, LoadError> {
    entities.get(entity).map(|spec| &**spec).ok_or_else(|| {
        let request = SourceFile::typed(entity);
        LoadError::unknown(
            &Place::new(&request, 0..entity.len()),
            "entity",
            entity,
            entities.names().collect::<Vec<_>>(),
        )
    })
}

fn view(
    replica: Replica,
    spec: &EntitySpec,
    shown: &canonical::Shown,
    (only, unknown): (Option<&str>, Vec<String>),
) -> View {
    let visible = |fields: &Map<String, Value>| {
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
        fields: visible(&replica.fields),
        sent: visible(&replica.sent),
    }
}
