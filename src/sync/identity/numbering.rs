//! Which system gave a key: a number that a system gives by itself means nothing at another system until it was
//! sent there.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    mapping::{Fields, Prefix},
    model::EntitySpec,
    store::{Candidate, Namesake, RecordId, Replica, Result, Unidentified},
    sync::{
        context::Context,
        identity::whose::{self, People, compared},
        routing::MatchRule,
    },
};

/// Whether the values that two objects of one key are recognised by say that they are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreement {
    Agrees,
    /// They have no such value in common.
    Unknown,
    Differs,
}

/// How an entity's keys are given, as seen from one system. Only for entities that systems number themselves.
pub(in crate::sync) struct Numbering<'a> {
    context: &'a Context,
    system: &'a str,
    entity: &'a str,
    spec: &'a EntitySpec,
    /// What identifies an object, the most reliable first.
    evidence: Vec<MatchRule>,
}

impl<'a> Numbering<'a> {
    /// `None` if a key means the same at every system.
    pub(in crate::sync) fn of(context: &'a Context, system: &'a str, entity: &'a str) -> Option<Self> {
        let spec = context.entities.get(entity).map(|spec| &**spec).filter(|spec| spec.numbered)?;
        Some(Self { context, system, entity, spec, evidence: evidence(spec, &context.routes.matches(entity)) })
    }

    /// Whether a key at a system is certainly one that the system gave itself.
    fn issues(&self, system: &str, key: &str) -> bool {
        issues(self.context, system, self.entity, Some(key))
    }

    fn prefix(&self, system: &str) -> Option<String> {
        self.context.mapping(system, self.entity)?.prefix().and_then(|prefix| prefix.value.clone())
    }

    /// Whether a system may have given a number.
    fn could(&self, system: &str, key: &str) -> bool {
        self.prefix(system).is_none_or(|prefix| key.starts_with(&prefix))
    }

    /// Return the systems that bring the entity to another one and may have given this number: those whose prefix
    /// it has, otherwise those that have no prefix.
    fn givers(&self, to: &str, key: &str) -> BTreeSet<&str> {
        let sources = self.context.routes.sources(to, self.entity).into_iter();
        let able: BTreeSet<&str> = sources.filter(|source| *source != to && self.could(source, key)).collect();
        let named: BTreeSet<&str> = able.iter().copied().filter(|giver| self.prefix(giver).is_some()).collect();
        if named.is_empty() { able } else { named }
    }

    /// Whether a system that has no flow with this one may have given a number.
    fn is_anybodys(&self, key: &str) -> bool {
        let has_prefix = |system: &str| self.prefix(system).is_some_and(|prefix| key.starts_with(&prefix));
        let is_marked = has_prefix(self.system);
        let origins = self.context.routes.origins(self.entity);
        let mut others =
            origins.iter().filter(|origin| !self.context.routes.are_joined(self.entity, origin, self.system));
        others.any(|origin| if is_marked { has_prefix(origin) } else { self.could(origin, key) })
    }

    /// Return the system that a new record of this key is numbered by, as far as this can be decided.
    fn numbered_by(&self, key: &str) -> &str {
        if self.issues(self.system, key) {
            return self.system;
        }
        let givers = self.givers(self.system, key);
        match givers.first() {
            // The key has the giver's prefix, or it cannot be this system's own because this system's numbers begin
            // otherwise.
            Some(one) if givers.len() == 1 && (self.prefix(one).is_some() || self.prefix(self.system).is_some()) => one,
            _ => self.system,
        }
    }

    /// Whether a record of the same key may be the row's record, with nothing but the key to say so.
    fn is_sure(&self, key: &str, namesake: &Namesake, held: &BTreeSet<&str>) -> bool {
        let by = namesake.numbered_by.as_deref();
        if namesake.unsure {
            return false;
        }
        if by == Some(self.system) {
            return true;
        }
        let joined = |system: &str| self.context.routes.are_joined(self.entity, system, self.system);
        if self.issues(self.system, key) {
            // It was first seen elsewhere, under a number that a system gave it: that system's, unless the number
            // can only be this one's.
            let is_taken = by.is_some_and(|by| self.issues(by, key));
            if by.is_none() && held.is_empty() {
                return !self.is_anybodys(key);
            }
            return !is_taken
                && by
                    .into_iter()
                    .chain(held.iter().copied())
                    .all(|at| joined(at) && self.givers(at, key).iter().all(|giver| *giver == self.system));
        }
        match by {
            None if held.is_empty() => self.givers(self.system, key).len() <= 1 && !self.is_anybodys(key),
            None => held.iter().all(|at| joined(at)) && self.givers(self.system, key).len() <= 1,
            Some(by) if self.context.routes.sources(self.system, self.entity).contains(by) => {
                self.givers(self.system, key).len() <= 1
            }
            Some(by) => joined(by) && self.givers(by, key).iter().all(|giver| *giver == self.system),
        }
    }

    /// Whether several systems that bring the entity here may have given a number.
    pub(in crate::sync) fn is_contested(&self, key: &str) -> bool {
        self.givers(self.system, key).len() > 1
    }

    /// Whether the values that two objects of one number are recognised by say that they are two.
    pub(in crate::sync) fn are_two(&self, one: &Fields, other: &Fields) -> bool {
        self.agreement(one, &[other], &People::default()) == Agreement::Differs
    }

    fn agreement(&self, fields: &Fields, others: &[&Fields], people: &People) -> Agreement {
        for rule in &self.evidence {
            let own = rule.values(Some(self.spec), fields);
            let theirs: BTreeSet<String> =
                others.iter().flat_map(|other| rule.values(Some(self.spec), other)).collect();
            if !own.is_empty() && !theirs.is_empty() {
                return if own.is_disjoint(&theirs) { Agreement::Differs } else { Agreement::Agrees };
            }
        }
        match people.agree(self.context, self.spec, fields, others) {
            Some(true) => Agreement::Agrees,
            Some(false) => Agreement::Differs,
            None => Agreement::Unknown,
        }
    }

    /// Set which system gave the rows' numbers. For rows that are not `bound` to a record by their id yet, also
    /// find the record that their key means: a record of the same key that can be no other, or that the values it
    /// is recognised by confirm; otherwise a record of its own. If several records could be meant, or if the values
    /// differ, a person has to decide: creating an object at this system that bears the same number waits for a
    /// review.
    pub(in crate::sync) async fn assign_records(
        &self,
        rows: &mut [(&mut Unidentified, &Fields)],
        bound: &BTreeSet<&str>,
    ) -> Result<()> {
        for (row, _) in &mut *rows {
            row.issued = self.issues(self.system, &row.key);
            row.numbered_by = Some(self.numbered_by(&row.key).to_owned());
        }
        let mut open: Vec<_> = rows.iter_mut().filter(|(row, _)| !bound.contains(row.id.as_str())).collect();
        let keys: Vec<String> = open.iter().map(|(row, _)| row.key.clone()).collect();
        let namesakes = self.context.store.namesakes(self.entity, &keys).await?;
        let replicas = live(self.context, namesakes.iter().flatten()).await?;
        let met = open.iter().zip(&namesakes).filter(|(_, namesakes)| !namesakes.is_empty());
        let met: Vec<&Fields> = met.map(|((_, fields), _)| *fields).collect();
        let there = replicas.values().flatten().map(|replica| &replica.fields);
        let people = People::of(self.context, self.spec, &met.into_iter().chain(there).collect::<Vec<_>>()).await?;
        let mut given: BTreeSet<RecordId> = BTreeSet::new();
        let mut alone: BTreeSet<String> = BTreeSet::new();
        for ((row, fields), namesakes) in open.iter_mut().zip(namesakes) {
            self.choose(row, fields, (&namesakes, &replicas, &people), &given);
            given.extend(row.taken_for);
            // If several systems bring objects to this system, each of them may have given the number.
            let is_own = row.taken_for.is_none() && !row.issued && row.numbered_by.as_deref() == Some(self.system);
            if is_own && self.givers(self.system, &row.key).len() > 1 {
                let is_here = |one: &Namesake| {
                    let mut held = replicas.get(&one.record).into_iter().flatten();
                    one.numbered_by == row.numbered_by && held.any(|at| at.system == self.system)
                };
                row.unsure = namesakes.iter().any(is_here) || !alone.insert(row.key.clone());
            }
        }
        Ok(())
    }

    fn choose(
        &self,
        row: &mut Unidentified,
        fields: &Fields,
        (namesakes, replicas, people): (&[Namesake], &BTreeMap<RecordId, Vec<Replica>>, &People),
        given: &BTreeSet<RecordId>,
    ) {
        let (mut agreeing, mut sure, mut unsure) = (Vec::new(), Vec::new(), 0);
        // The record that bears this very number and is another object.
        let mut bearer = None;
        for namesake in namesakes.iter().filter(|one| !given.contains(&one.record)) {
            let held: Vec<&Replica> = replicas.get(&namesake.record).into_iter().flatten().collect();
            // If this system has it already under another id, it is no other object of this system. If no system
            // has it any more, it counts for nothing.
            let is_left = namesake.unsure && held.is_empty();
            if is_left || held.iter().any(|replica| replica.system == self.system) {
                continue;
            }
            let systems: BTreeSet<&str> = held.iter().map(|replica| replica.system.as_str()).collect();
            let others: Vec<&Fields> = held.iter().map(|replica| &replica.fields).collect();
            match self.agreement(fields, &others, people) {
                Agreement::Agrees => agreeing.push(namesake.record),
                Agreement::Differs if namesake.numbered_by == row.numbered_by => bearer = Some(namesake.itself),
                Agreement::Differs => {}
                Agreement::Unknown if self.is_sure(&row.key, namesake, &systems) => sure.push(namesake.record),
                Agreement::Unknown => unsure += 1,
            }
        }
        row.taken_for = match (agreeing.as_slice(), sure.as_slice()) {
            ([one], _) => Some(*one),
            ([], [one]) if unsure == 0 => Some(*one),
            _ => None,
        };
        if row.taken_for.is_some() {
            return;
        }
        if row.numbered_by.as_deref() == Some(self.system) {
            row.evicts = bearer;
        } else if namesakes.iter().any(|one| one.numbered_by == row.numbered_by) {
            // The number is another object's; this system has given the same number itself.
            row.numbered_by = Some(self.system.to_owned());
        }
    }

    /// Return the record that a reference by key means, as seen from this system; `Several` if it may mean several.
    fn referred(&self, namesakes: &[Namesake], replicas: &BTreeMap<RecordId, Vec<Replica>>) -> Referred {
        let held = |record: RecordId| replicas.get(&record).into_iter().flatten();
        let near: Vec<&Namesake> = namesakes
            .iter()
            .filter(|one| {
                let mut systems =
                    one.numbered_by.as_deref().into_iter().chain(held(one.record).map(|at| at.system.as_str()));
                !self.context.routes.knows(self.entity, self.system)
                    || one.numbered_by.is_none()
                    || systems
                        .any(|at| at == self.system || self.context.routes.are_joined(self.entity, at, self.system))
            })
            .collect();
        let here: Vec<&&Namesake> =
            near.iter().filter(|one| held(one.record).any(|at| at.system == self.system)).collect();
        match (here.as_slice(), near.as_slice()) {
            ([one], _) => Referred::To(one.record),
            ([], [one]) => Referred::To(one.record),
            ([], []) => Referred::Nobody,
            _ => Referred::Several,
        }
    }
}

enum Referred {
    To(RecordId),
    Nobody,
    Several,
}

/// Return the records that keys of one entity mean, as seen from a system. A key that may mean several is left out;
/// for a key that no record has, create one.
pub(in crate::sync) async fn refer(
    context: &Context,
    system: &str,
    entity: &str,
    keys: &[String],
) -> Result<BTreeMap<String, RecordId>> {
    let Some(numbering) = Numbering::of(context, system, entity) else {
        let records = context.store.records(entity, keys).await?;
        return Ok(keys.iter().cloned().zip(records).collect());
    };
    let namesakes = context.store.namesakes(entity, keys).await?;
    let replicas = live(context, namesakes.iter().flatten()).await?;
    let (mut meant, mut unknown) = (BTreeMap::new(), Vec::new());
    for (key, namesakes) in keys.iter().zip(namesakes) {
        match numbering.referred(&namesakes, &replicas) {
            Referred::To(record) => drop(meant.insert(key.clone(), record)),
            Referred::Nobody => unknown.push(key.clone()),
            Referred::Several => {}
        }
    }
    if !unknown.is_empty() {
        let records = context.store.records(entity, &unknown).await?;
        meant.extend(unknown.into_iter().zip(records));
    }
    Ok(meant)
}

/// What systems have of records.
async fn live(
    context: &Context,
    namesakes: impl Iterator<Item = &Namesake>,
) -> Result<BTreeMap<RecordId, Vec<Replica>>> {
    let records: BTreeSet<RecordId> = namesakes.map(|one| one.record).collect();
    let mut replicas: BTreeMap<RecordId, Vec<Replica>> = BTreeMap::new();
    if records.is_empty() {
        return Ok(replicas);
    }
    for replica in context.store.replicas_of(&records.into_iter().collect::<Vec<_>>()).await? {
        if replica.gone_at.is_none() {
            replicas.entry(replica.record).or_default().push(replica);
        }
    }
    Ok(replicas)
}

/// Return the records that a key on the command line means, as seen from a flow's source: those that the source has
/// numbered or has. If several have the key, the system that gave it may be named before it.
pub(in crate::sync) async fn meant(context: &Context, entity: &str, key: &str, from: &str) -> Result<Vec<RecordId>> {
    let of = async |key: &str| -> Result<Vec<Namesake>> {
        Ok(context.store.namesakes(entity, &[key.to_owned()]).await?.pop().unwrap_or_default())
    };
    let mut found = of(key).await?;
    if let (true, Some((system, key))) = (found.is_empty(), key.split_once('/')) {
        found = of(key).await?;
        found.retain(|one| one.numbered_by.as_deref() == Some(system));
    }
    if found.len() > 1 {
        let replicas = live(context, found.iter()).await?;
        let has = |one: &Namesake| replicas.get(&one.record).into_iter().flatten().any(|at| at.system == from);
        let is_its = |one: &Namesake| one.numbered_by.as_deref() == Some(from);
        let numbered = found.iter().any(is_its);
        found.retain(|one| if numbered { is_its(one) } else { has(one) });
    }
    Ok(found.into_iter().map(|one| one.record).collect())
}

/// Return the records that a target has under a number of its own and that may be those which are about to be
/// created there, by record, each with the field that says so. Empty if the target's numbers are always its own.
pub(in crate::sync) async fn rivals(
    context: &Context,
    target: &str,
    entity: &str,
    records: &[RecordId],
) -> Result<BTreeMap<RecordId, Vec<(RecordId, String)>>> {
    let spec = context.entities.get(entity).filter(|spec| spec.numbered);
    let (Some(spec), false, false) = (spec, records.is_empty(), issues(context, target, entity, None)) else {
        return Ok(BTreeMap::new());
    };
    let rivals = context.store.rivals(target, records).await?.into_iter();
    let named = |rivals: Vec<RecordId>| rivals.into_iter().map(|rival| (rival, spec.key.clone())).collect();
    Ok(rivals.map(|(record, rivals)| (record, named(rivals))).collect())
}

/// Add the records that share a number to the candidates.
pub(in crate::sync) fn add(candidates: &mut Vec<Candidate>, rivals: Vec<(RecordId, String)>) {
    for (record, field) in rivals {
        match candidates.iter_mut().find(|candidate| candidate.record == record) {
            Some(candidate) => candidate.fields.push(field),
            None => candidates.push(Candidate { record, fields: vec![field] }),
        }
    }
}

/// Return the records that a batch's objects refer to, that another system has numbered, and that this target
/// cannot be given: orders of another shop.
pub(in crate::sync) async fn strangers(
    context: &Context,
    target: &str,
    entity: &str,
    replicas: &BTreeMap<RecordId, Vec<Replica>>,
) -> Result<BTreeSet<RecordId>> {
    let Some(spec) = context.entities.get(entity) else { return Ok(BTreeSet::new()) };
    let cannot = |to: &String| {
        let is_numbered = context.entities.get(to).is_some_and(|spec| spec.numbered);
        let creates = context.capabilities(target, to).is_none_or(|capabilities| capabilities.create);
        let is_brought = !context.routes.sources(target, to).is_empty();
        is_numbered && !(creates && is_brought) && issues(context, target, to, None)
    };
    let fields: Vec<&String> =
        (spec.fields.iter()).filter(|(_, field)| field.to.as_ref().is_some_and(cannot)).map(|(name, _)| name).collect();
    let referred: BTreeSet<RecordId> = (replicas.values().flatten())
        .flat_map(|replica| fields.iter().filter_map(|name| replica.fields.get(*name).and_then(RecordId::of)))
        .collect();
    if referred.is_empty() {
        return Ok(referred);
    }
    let referred: Vec<RecordId> = referred.into_iter().collect();
    let there = context.store.externals(target, &referred).await?;
    let called = context.store.called(&referred).await?;
    let is_strange = |record: &RecordId| {
        let called = called.get(record);
        let by = called.and_then(|called| Some((called.entity.as_str(), called.numbered_by.as_deref()?)));
        !there.contains_key(record) && by.is_some_and(|(entity, by)| by != target && issues(context, by, entity, None))
    };
    Ok(referred.into_iter().filter(is_strange).collect())
}

/// Whether a system gives the keys of an entity itself, so that no other system's keys are seen there: no flow
/// brings it any, or its mapping cannot write them. With a key: whether it gave this one.
pub(in crate::sync) fn issues(context: &Context, system: &str, entity: &str, key: Option<&str>) -> bool {
    let Some(mapping) = context.mapping(system, entity) else { return false };
    let prefix = mapping.prefix().and_then(|prefix: &Prefix| prefix.value.as_deref());
    let is_given = mapping.takes_key() && !context.routes.sources(system, entity).is_empty();
    !is_given || key.is_some_and(|key| prefix.is_some_and(|prefix| key.starts_with(prefix)))
}

/// Compare first the match fields that decide, then the entity's own identifying fields: tax numbers before
/// addresses.
fn evidence(spec: &EntitySpec, rules: &[&MatchRule]) -> Vec<MatchRule> {
    let mut evidence: Vec<MatchRule> = rules.iter().filter(|rule| !rule.weak).map(|rule| (*rule).clone()).collect();
    for rule in whose::IDENTIFYING.into_iter().flat_map(|compare| compared(spec, compare)) {
        if evidence.iter().all(|known| known.field != rule.field) {
            evidence.push(rule);
        }
    }
    evidence
}
