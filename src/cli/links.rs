//! `vaiven links`: shows which records are one and why, and what waits for a person's decision; carries out this
//! decision.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use serde::Serialize;

use super::{
    Ending, app,
    args::{LinkName, LinkStates, LinksCommand},
    naming, output,
    session::Session,
};
use crate::{
    model::Entities,
    store::{JobFilter, JobState, Link, LinkState, RecordId, SharedStore},
    sync::{Links, Named, Review, Routes, review},
    wait_reason::WaitReason,
};

/// A link that is listed.
#[derive(Serialize)]
struct Listed {
    entity: String,
    key: String,
    system: String,
    /// The system's own id; absent if it has no such object.
    id: Option<String>,
    #[serde(flatten)]
    link: Link,
}

/// A record that waits, with the records that it may be the same as.
#[derive(Serialize)]
struct Waiting {
    entity: String,
    key: String,
    /// The system where it waits.
    target: String,
    /// The match field that linked it to its object at the target, although other objects there have the same
    /// value; absent if it has no object there.
    tied_by: Option<String>,
    /// System to its own id.
    ids: BTreeMap<String, String>,
    candidates: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    key: String,
    /// System to its own id.
    ids: BTreeMap<String, String>,
    /// Match fields that agree.
    agree: Vec<String>,
    /// Percentage of the match fields that both have and that agree.
    score: u8,
}

#[derive(Serialize)]
struct Decided {
    entity: String,
    key: String,
    /// What holds from now on.
    now: String,
}

pub async fn links(command: &LinksCommand, session: &Session) -> anyhow::Result<Ending> {
    let Session { config, store, env, output } = session;
    match command {
        LinksCommand::List { entity, state, limit } => {
            let listed = listed(store, entity.as_deref(), state, *limit).await?;
            output.show(&listed, |listed| list(listed))?;
            return Ok(Ending::Fine);
        }
        LinksCommand::Review { limit } => {
            let plan = app::plan(config, env)?;
            let mut shown = Vec::new();
            for one in reviews(store, &plan.routes, &plan.entities, *limit).await? {
                shown.push(waiting(store, one).await?);
            }
            output.show(&shown, |shown| waits(shown))?;
            return Ok(if shown.is_empty() { Ending::Fine } else { Ending::Attention });
        }
        _ => {}
    }
    let (routes, entities) = (app::plan(config, env)?.routes, config.entities()?);
    let links = Links { store, routes: &routes, entities: &entities, now: env.now() };
    let decided = decide(command, &links).await?;
    output.show(&decided, |decided| format!("{} {}: {}.", decided.entity, decided.key, decided.now))?;
    Ok(Ending::Fine)
}

/// Carry out a decision, and queue what waited for it.
async fn decide(command: &LinksCommand, links: &Links<'_>) -> anyhow::Result<Decided> {
    let store = links.store;
    let (named, now) = match command {
        LinksCommand::List { .. } | LinksCommand::Review { .. } => bail!("nothing is decided by looking"),
        LinksCommand::Link { name, other } | LinksCommand::Merge { name, other } => {
            let (one, other) = (find(store, name).await?, find_key(store, &name.entity, other).await?);
            let both = matches!(command, LinksCommand::Merge { .. });
            links.join(&one, &other, both).await?;
            let now = format!("it is the same as {} from now on", other.key);
            (one, now)
        }
        LinksCommand::Unlink { name, others, at } => {
            let one = find(store, name).await?;
            let now = match at {
                Some(system) => match links.split(&one, system).await? {
                    Some(key) => {
                        format!("what {system} has is now a record of its own, {key}; this one counts as missing there")
                    }
                    None => format!("what {system} no longer has is forgotten; it will be created there again"),
                },
                None => part(links, &one, others).await?,
            };
            (one, now)
        }
        LinksCommand::Ignore { name, at } => {
            let now = "is ignored: nothing is written and nothing waits";
            set(links, name, at.as_deref(), LinkState::Ignored, now).await?
        }
        LinksCommand::Pause { name, at } => {
            let now = "is paused: writes wait";
            set(links, name, at.as_deref(), LinkState::Paused, now).await?
        }
        LinksCommand::Resume { name, at } => {
            set(links, name, at.as_deref(), LinkState::Linked, "continues; the running daemon delivers what waited")
                .await?
        }
    };
    Ok(Decided { entity: named.entity, key: named.key, now })
}

async fn set(
    links: &Links<'_>,
    name: &LinkName,
    at: Option<&str>,
    state: LinkState,
    now: &str,
) -> anyhow::Result<(Named, String)> {
    let named = find(links.store, name).await?;
    links.set(&named, at, state).await?;
    let at = at.map_or_else(|| "at every system".to_owned(), |system| format!("at {system}"));
    Ok((named, format!("{at} it {now}")))
}

/// Decide that the record is none of these others; if none are given, none of those that it waits for.
async fn part(links: &Links<'_>, one: &Named, others: &[String]) -> anyhow::Result<String> {
    let store = links.store;
    let mut found: BTreeMap<RecordId, String> = BTreeMap::new();
    for key in others {
        let other = find_key(store, &one.entity, key).await?;
        found.insert(other.record, other.key);
    }
    if others.is_empty() {
        let same = store.ties(&[one.record]).await?.remove(&one.record).and_then(|ties| ties.same);
        if let Some(same) = same {
            let key = store.keys(&[same]).await?.remove(&same).map(|(_, key)| key).unwrap_or_default();
            found.insert(same, key);
        }
        for review in reviews(store, links.routes, links.entities, 0).await? {
            if review.named.record == one.record {
                found.extend(review.candidates.into_iter().map(|(other, ..)| (other.record, other.key)));
            }
        }
    }
    if found.is_empty() {
        bail!(
            "{} {} is not waiting for a review and is not linked to another record; name a record that it is not, \
             or use --at SYSTEM if that system's object is not this record",
            one.entity,
            one.key
        );
    }
    let (records, keys): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    links.part(one, &records).await?;
    Ok(format!("it is not the same as {}", keys.join(" or ")))
}

async fn find(store: &SharedStore, name: &LinkName) -> anyhow::Result<Named> {
    find_key(store, &name.entity, &name.key).await
}

async fn find_key(store: &SharedStore, entity: &str, key: &str) -> anyhow::Result<Named> {
    let Some(record) = naming::record(store, entity, key).await? else {
        bail!("no {entity} with key `{key}` was seen at any system; `vaiven links review` shows what waits");
    };
    Ok(Named { record, entity: entity.to_owned(), key: key.to_owned() })
}

/// The reviews that wait for a person. A limit of 0 means all.
async fn reviews(store: &SharedStore, routes: &Routes, entities: &Entities, limit: u32) -> anyhow::Result<Vec<Review>> {
    let mut found = Vec::new();
    for line in store.backlog().await? {
        let is_review = matches!(line.cause, Some(WaitReason::Review { .. }));
        if line.state != JobState::Parked || !is_review {
            continue;
        }
        let filter = JobFilter {
            target: Some(line.target),
            entity: Some(line.entity),
            states: vec![JobState::Parked],
            cause: line.cause,
            ..JobFilter::default()
        };
        for job in store.jobs(&filter).await? {
            let Some((entity, key)) = store.keys(&[job.record]).await?.remove(&job.record) else { continue };
            let named = Named { record: job.record, entity, key };
            let numbered = entities.get(&named.entity).filter(|spec| spec.numbered).map(|spec| spec.key.as_str());
            found.extend(review(store, routes, &named, &job.target, numbered).await?);
            if limit > 0 && found.len() >= limit as usize {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

async fn waiting(store: &SharedStore, review: Review) -> anyhow::Result<Waiting> {
    let mut candidates = Vec::with_capacity(review.candidates.len());
    for (named, candidate, score) in review.candidates {
        candidates.push(Shown { key: named.key, ids: ids(store, named.record).await?, agree: candidate.fields, score });
    }
    let Named { record, entity, key } = review.named;
    let ids = ids(store, record).await?;
    Ok(Waiting { entity, key, target: review.target, tied_by: review.tied_by, ids, candidates })
}

/// System to the id of its object of a record.
async fn ids(store: &SharedStore, record: RecordId) -> anyhow::Result<BTreeMap<String, String>> {
    let replicas = store.replicas_of(&[record]).await?;
    Ok(replicas.into_iter().filter(|one| one.gone_at.is_none()).map(|one| (one.system, one.id)).collect())
}

async fn listed(
    store: &SharedStore,
    entity: Option<&str>,
    states: &[LinkStates],
    limit: u32,
) -> anyhow::Result<Vec<Listed>> {
    let mut asked: Vec<LinkState> = states.iter().map(|state| (*state).into()).collect();
    if asked.is_empty() {
        asked = vec![LinkState::Linked, LinkState::Paused, LinkState::Ignored];
    }
    // If the list is limited to an entity, all links must be read, because that filter is applied here.
    let found = store.linked(&asked, if entity.is_some() { 0 } else { limit }).await?;
    let records: BTreeSet<RecordId> = found.iter().map(|(record, ..)| *record).collect();
    let keys = store.keys(&records.into_iter().collect::<Vec<_>>()).await?;
    let mut listed = Vec::new();
    for (record, system, link) in found {
        let Some((of, key)) = keys.get(&record).filter(|(of, _)| entity.is_none_or(|entity| entity == of)) else {
            continue;
        };
        if limit > 0 && listed.len() >= limit as usize {
            break;
        }
        let id = ids(store, record).await?.remove(&system);
        listed.push(Listed { entity: of.clone(), key: key.clone(), system, id, link });
    }
    Ok(listed)
}

fn list(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return "No such links. Records that are linked by their key alone are not listed.".to_owned();
    }
    let rows = listed.iter().map(|one| {
        let id = one.id.clone().unwrap_or_else(|| "-".to_owned());
        [one.entity.clone(), one.key.clone(), one.system.clone(), id, one.link.state.as_str().to_owned(), by(&one.link)]
    });
    output::table(["entity", "key", "system", "id", "link", "by"], rows)
}

/// The reason of a link: `vat, 50 % agree`.
pub fn by(link: &Link) -> String {
    let score = link.score.map(|score| format!(", {score} % agree")).unwrap_or_default();
    link.rule.as_ref().map_or_else(|| "-".to_owned(), |rule| format!("{rule}{score}"))
}

fn waits(shown: &[Waiting]) -> String {
    if shown.is_empty() {
        return "Nothing waits for a review.".to_owned();
    }
    shown.iter().map(wait).collect::<Vec<_>>().join("\n\n")
}

fn wait(one: &Waiting) -> String {
    let Waiting { entity, key, target, tied_by, .. } = one;
    let what = match tied_by {
        None => format!("{entity} {key} is not created at {target}: it may be there already"),
        Some(rule) => {
            format!(
                "{entity} {key} is not written to {target}: the object linked to it there by {rule} may be another one"
            )
        }
    };
    let rows = one.candidates.iter().map(|candidate| {
        let ids: Vec<String> = candidate.ids.iter().map(|(system, id)| format!("{system} {id}")).collect();
        [candidate.key.clone(), ids.join(", "), candidate.agree.join(", "), format!("{} %", candidate.score)]
    });
    let best = one.candidates.first();
    let meets = best.is_some_and(|best| best.ids.keys().any(|system| one.ids.contains_key(system)));
    let best = best.map(|best| best.key.as_str()).unwrap_or_default();
    let first = match (tied_by, meets) {
        (Some(_), _) => (
            format!("unlink {entity} {key} --at {target}"),
            "the linked object is another one; link the right one then",
        ),
        (None, true) => (format!("merge {entity} {key} {best}"), "they are the same, twice at one system"),
        (None, false) => (format!("link {entity} {key} {best}"), "they are the same"),
    };
    let ways = [
        first,
        (format!("unlink {entity} {key}"), "it is none of them"),
        (format!("ignore {entity} {key} --at {target}"), "never create it there"),
    ];
    let widest = ways.iter().map(|(way, _)| way.chars().count()).max().unwrap_or_default();
    let ways: Vec<String> =
        ways.iter().map(|(way, meaning)| format!("  vaiven links {way:widest$}  {meaning}")).collect();
    let table = output::table(["may be", "known as", "agree", "score"], rows);
    format!("{what}\n{table}\n{}", ways.join("\n"))
}
