//! Which records are one: the values that they are recognised by, what may be written about them, and what a person
//! decides.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    failure::{Class, Failure},
    mapping::Fields,
    model::Entities,
    store::{BY_PERSON, Candidate, LinkState, NewJob, RecordId, Replica, Result, SharedStore, StoreError, Ties},
    sync::{
        conflict::respelt,
        context::Context,
        identity::numbering,
        routing::{Routes, priority},
    },
    wait_reason::WaitReason,
};

/// What is known of the ties of a batch's records, for one target.
#[derive(Debug, Default)]
pub(in crate::sync) struct LinkContext {
    ties: BTreeMap<RecordId, Ties>,
    candidates: BTreeMap<RecordId, Vec<Candidate>>,
    /// Keys of candidates.
    keys: BTreeMap<RecordId, (String, String)>,
}

impl LinkContext {
    /// Load the ties. `replicas` are those of the records, of this entity.
    pub(in crate::sync) async fn of(
        context: &Context,
        target: &str,
        entity: &str,
        records: &[RecordId],
        replicas: &BTreeMap<RecordId, Vec<Replica>>,
    ) -> Result<Self> {
        let ties = context.store.ties(records).await?;
        let rules = context.routes.matches(entity);
        let is_there = |record: &RecordId| {
            replicas.get(record).into_iter().flatten().any(|one| one.system == target && one.gone_at.is_none())
        };
        let newcomers: Vec<RecordId> = records.iter().copied().filter(|record| !is_there(record)).collect();
        let rivals = Box::pin(numbering::rivals(context, target, entity, &newcomers)).await?;
        let respells = context.mapping(target, entity).is_some_and(|mapping| mapping.respells_key());
        if rules.is_empty() && rivals.is_empty() && !respells {
            return Ok(Self { ties, ..Self::default() });
        }
        // A record that is not there yet may be any of them. A record that one rule has tied may be another one of
        // the same value.
        let asked = records.iter().filter_map(|record| {
            let of = replicas.get(record).map_or(&[][..], Vec::as_slice);
            let link = ties.get(record).and_then(|ties| ties.links.get(target));
            let fields: Vec<String> = if of.iter().any(|one| one.system == target && one.gone_at.is_none()) {
                let rule = link.and_then(|link| link.rule.as_ref());
                rules.iter().filter(|known| Some(&known.field) == rule).map(|rule| rule.field.clone()).collect()
            } else {
                rules.iter().map(|rule| rule.field.clone()).chain(respells.then(|| respelt::field(target))).collect()
            };
            (!fields.is_empty()).then_some((*record, fields))
        });
        let mut candidates = context.store.candidates(target, &asked.collect::<Vec<_>>()).await?;
        for (record, rivals) in rivals {
            numbering::add(candidates.entry(record).or_default(), rivals);
        }
        let others: BTreeSet<RecordId> = candidates.values().flatten().map(|candidate| candidate.record).collect();
        let keys = context.store.keys(&others.into_iter().collect::<Vec<_>>()).await?;
        Ok(Self { ties, candidates, keys })
    }

    fn state(&self, record: RecordId, system: &str) -> LinkState {
        self.ties.get(&record).and_then(|ties| ties.links.get(system)).map(|link| link.state).unwrap_or_default()
    }

    /// Whether nothing is to be done about a record at a target, whatever its sources say: it has become an alias,
    /// or a person does not want it there.
    pub(in crate::sync) fn is_excluded(&self, record: RecordId, target: &str) -> bool {
        self.ties.get(&record).is_some_and(|ties| ties.same.is_some())
            || self.state(record, target) == LinkState::Ignored
    }

    /// Return why a record is not written for the time being.
    pub(in crate::sync) fn paused(&self, record: RecordId, entity: &str, key: &str, target: &str) -> Option<Failure> {
        (self.state(record, target) == LinkState::Paused).then(|| paused(entity, key, target))
    }

    /// The same as both of the above, in words.
    pub(in crate::sync) fn barred(&self, record: RecordId, target: &str) -> Option<&'static str> {
        let ignored = "it was found to be another record, or its link is ignored (`vaiven links`)";
        let paused = "its link is paused (`vaiven links resume` lets it go on)";
        let is_paused = self.state(record, target) == LinkState::Paused;
        if self.is_excluded(record, target) { Some(ignored) } else { is_paused.then_some(paused) }
    }

    /// Return a record's replicas without those of sources whose link is paused or ignored; `None` if all count.
    pub(in crate::sync) fn speaking(
        &self,
        record: RecordId,
        target: &str,
        replicas: &[Replica],
    ) -> Option<Vec<Replica>> {
        let speaks = |one: &&Replica| one.system == target || self.state(record, &one.system) == LinkState::Linked;
        let all_speak = !self.ties.contains_key(&record) || replicas.iter().all(|one| speaks(&one));
        (!all_speak).then(|| replicas.iter().filter(speaks).cloned().collect())
    }

    /// Return why a record waits if none of its sources counts for the time being.
    pub(in crate::sync) fn silenced(&self, record: RecordId, entity: &str, key: &str) -> Option<Failure> {
        let links = &self.ties.get(&record)?.links;
        let (system, _) = links.iter().find(|(_, link)| link.state == LinkState::Paused)?;
        Some(paused(entity, key, system))
    }

    /// Return why a person has to look first: the target may hold this record already, or the object that is tied
    /// to it may be another one.
    pub(in crate::sync) fn doubtful(&self, record: RecordId, entity: &str, key: &str, target: &str) -> Option<Failure> {
        let candidates = self.candidates.get(&record)?;
        let name = |one: &Candidate| {
            let key = self.keys.get(&one.record).map_or("?", |(_, key)| key.as_str());
            format!("{key} ({})", one.fields.join(", "))
        };
        let named = candidates.iter().map(name).collect::<Vec<_>>().join(", ");
        let message = format!(
            "{target} may have this {entity} already: {named}; `vaiven links review` shows why and takes the decision"
        );
        Some(Failure::new(Class::Unmapped, message).with_cause(WaitReason::review(entity, key)))
    }
}

fn paused(entity: &str, key: &str, system: &str) -> Failure {
    let message = format!("its link to {system} is paused; `vaiven links resume {entity} {key}` lets it go on");
    Failure::new(Class::Unmapped, message).with_cause(WaitReason::paused(entity, key))
}

/// A record that a person decides on, as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub record: RecordId,
    pub entity: String,
    pub key: String,
}

/// Why a decision on links cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{0} and {1} are of different kinds")]
    Kinds(String, String),
    #[error("{0} is already the same as another record: `vaiven explain` shows which")]
    Alias(String),
    #[error(
        "both have an object at {systems}: if they are the same nevertheless, say so with `vaiven links merge`; if one \
         is linked wrongly, take that link away first with `vaiven links unlink`"
    )]
    Both { systems: String },
    #[error("{0} has no object at {1}")]
    NoObject(String, String),
    #[error("no flow carries {entity} to or from {system}; its flows connect {known}")]
    Elsewhere { entity: String, system: String, known: String },
    #[error("no flow carries {0}")]
    Nowhere(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A person's decisions on records. Each is one transaction, from which the deliveries follow.
pub struct Links<'a> {
    pub store: &'a SharedStore,
    pub routes: &'a Routes,
    pub entities: &'a Entities,
    pub now: DateTime<Utc>,
}

impl Links<'_> {
    /// Return jobs at all systems that the entity flows to: each job finds out what is to be done now.
    fn jobs(&self, named: &Named) -> Vec<NewJob> {
        let job = |target: &str| NewJob {
            target: target.to_owned(),
            entity: named.entity.clone(),
            record: named.record,
            priority: priority::of(&named.entity, &Fields::new()),
            due: None,
        };
        self.routes.targets_of(&named.entity).into_iter().map(job).collect()
    }

    /// Systems whose objects a record of this entity may be tied to.
    fn systems(&self, entity: &str) -> BTreeSet<&str> {
        let mut systems = self.routes.targets_of(entity);
        systems.extend(self.routes.flows().iter().filter(|flow| flow.carries(entity)).map(|flow| flow.from.as_str()));
        systems
    }

    /// Set the state of a record's links, at one system or at all.
    ///
    /// # Errors
    /// If the flows do not carry the entity there.
    pub async fn set(&self, named: &Named, at: Option<&str>, state: LinkState) -> std::result::Result<(), LinkError> {
        let known = self.systems(&named.entity);
        let systems: Vec<String> = match at {
            Some(system) if known.contains(system) => vec![system.to_owned()],
            Some(system) => {
                let (entity, system) = (named.entity.clone(), system.to_owned());
                let known = known.into_iter().collect::<Vec<_>>().join(", ");
                return Err(LinkError::Elsewhere { entity, system, known });
            }
            None => known.into_iter().map(str::to_owned).collect(),
        };
        if systems.is_empty() {
            return Err(LinkError::Nowhere(named.entity.clone()));
        }
        Ok(self.store.set_links(named.record, (&systems, state), &self.jobs(named), self.now).await?)
    }

    /// Join two records: `one` is the same as `other`. With `both`, do so even if both have an object at the same
    /// system.
    ///
    /// # Errors
    /// If they cannot be the same.
    pub async fn join(&self, one: &Named, other: &Named, both: bool) -> std::result::Result<(), LinkError> {
        if one.entity != other.entity || one.record == other.record {
            return Err(LinkError::Kinds(one.key.clone(), other.key.clone()));
        }
        let mut at: BTreeMap<String, BTreeSet<RecordId>> = BTreeMap::new();
        for replica in self.store.replicas_of(&[one.record, other.record]).await? {
            if replica.gone_at.is_none() {
                at.entry(replica.system).or_default().insert(replica.record);
            }
        }
        let shared: Vec<String> =
            at.into_iter().filter(|(_, records)| records.len() > 1).map(|(system, _)| system).collect();
        if !shared.is_empty() && !both {
            return Err(LinkError::Both { systems: shared.join(" and ") });
        }
        if self.store.join(one.record, other.record, &self.jobs(other), self.now).await? {
            return Ok(());
        }
        let ties = self.store.ties(&[one.record]).await?;
        let first = ties.get(&one.record).is_some_and(|ties| ties.same.is_some());
        Err(LinkError::Alias(if first { one.key.clone() } else { other.key.clone() }))
    }

    /// Set `one` apart from all of the others.
    ///
    /// # Errors
    /// Only the store's own.
    pub async fn part(&self, one: &Named, others: &[RecordId]) -> std::result::Result<(), LinkError> {
        Ok(self.store.set_apart(one.record, others, &self.jobs(one), self.now).await?)
    }

    /// Make a record of its own from the object that a record has at a system, and return its key; `None` if the
    /// object was gone and has been forgotten.
    ///
    /// # Errors
    /// If there is no such object.
    pub async fn split(&self, named: &Named, system: &str) -> std::result::Result<Option<String>, LinkError> {
        let replicas = self.store.replicas_of(&[named.record]).await?;
        let field = self.entities.get(&named.entity).map(|spec| spec.key.as_str()).unwrap_or_default();
        let own = replicas.iter().find(|one| one.system == system).and_then(|one| one.fields.get(field)?.as_str());
        let called = self.store.called(&[named.record]).await?.remove(&named.record);
        let is_numbered = called.as_ref().is_some_and(|called| called.numbered_by.is_some());
        // It gets the key that it has there, if that is free.
        let mut key = own.map(str::to_owned).or(called.map(|called| called.key)).unwrap_or_else(|| named.key.clone());
        let is_taken = async |key: &str| -> std::result::Result<bool, StoreError> {
            let namesakes = self.store.namesakes(&named.entity, &[key.to_owned()]).await?;
            let mut by = namesakes.iter().flatten().map(|one| one.numbered_by.as_deref());
            Ok(by.any(|by| !is_numbered || by == Some(system)))
        };
        if is_taken(&key).await? {
            key = format!("{key}@{system}");
        }
        while is_taken(&key).await? {
            key.push('\'');
        }
        match self.store.split(named.record, (system, &key), &self.jobs(named), self.now).await? {
            None => Err(LinkError::NoObject(named.key.clone(), system.to_owned())),
            Some(record) if record == named.record => Ok(None),
            Some(_) => Ok(Some(key)),
        }
    }
}

/// A record that waits for a person, and the records that it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    pub named: Named,
    /// The system at which it waits.
    pub target: String,
    /// What tied it there, if anything did.
    pub tied_by: Option<String>,
    /// The candidates with how far they agree, in percent; the best come first.
    pub candidates: Vec<(Named, Candidate, u8)>,
}

/// Return what is to be decided about a record at a target; `None` if there is no doubt any more. `key` is the
/// entity's key field if systems number it themselves.
///
/// # Errors
/// Only the store's own.
pub async fn review(
    store: &SharedStore,
    routes: &Routes,
    named: &Named,
    target: &str,
    key: Option<&str>,
) -> std::result::Result<Option<Review>, StoreError> {
    let ties = store.ties(&[named.record]).await?;
    let link = ties.get(&named.record).and_then(|ties| ties.links.get(target)).cloned().unwrap_or_default();
    let there = store.replicas_of(&[named.record]).await?;
    let is_there = there.iter().any(|one| one.system == target && one.gone_at.is_none());
    let rules = routes.matches(&named.entity);
    let fields = rules.iter().map(|rule| rule.field.clone()).chain([respelt::field(target)]);
    let fields: Vec<String> = fields.filter(|field| !is_there || link.rule.as_ref() == Some(field)).collect();
    let mut found =
        store.candidates(target, &[(named.record, fields)]).await?.remove(&named.record).unwrap_or_default();
    if let (Some(key), false) = (key, is_there) {
        let rivals = store.rivals(target, &[named.record]).await?.remove(&named.record).unwrap_or_default();
        numbering::add(&mut found, rivals.into_iter().map(|record| (record, key.to_owned())).collect());
    }
    if found.is_empty() {
        return Ok(None);
    }
    let pairs: Vec<_> = found.iter().map(|candidate| (named.record, candidate.record)).collect();
    let scores = store.scores(&pairs).await?;
    let keys = store.keys(&found.iter().map(|candidate| candidate.record).collect::<Vec<_>>()).await?;
    let mut candidates: Vec<_> = found
        .into_iter()
        .zip(scores)
        .map(|(candidate, score)| {
            let key = keys.get(&candidate.record).map(|(_, key)| key.clone()).unwrap_or_default();
            (Named { record: candidate.record, entity: named.entity.clone(), key }, candidate, score)
        })
        .collect();
    candidates.sort_by_key(|(_, candidate, score)| (std::cmp::Reverse(*score), candidate.record));
    let tied_by = link.rule.filter(|rule| is_there && rule != BY_PERSON);
    Ok(Some(Review { named: named.clone(), target: target.to_owned(), tied_by, candidates }))
}
