//! From a page of rows to one transaction: what is new, what changed, and who has to be sent what.
//!
//! One file, because all that a page brings goes into one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::{
    failure::Failure,
    mapping::{Fields, Pulled, RefBy},
    model,
    port::{Fingerprint, RowError, SourceRow},
    store::{
        Balance, ChangeOp, Identified, NewChange, NewJob, PageCommit, RecordId, RefQuery, Rejection, Replica,
        ReplicaWrite, Result, ShownRow, Unidentified,
    },
    sync::context::Observed,
    sync::{
        conflict::{
            respelt,
            shared::{Shared, known},
        },
        context::{Context, PullContext},
        identity::{
            numbering::{self, Numbering},
            parents,
        },
        pull::{
            guests, mapping_revision,
            observe::{self, ShownEvidence, observe},
            unreadable,
        },
        routing::{DriftPolicy, SHARED, matches, priority},
        stock::{availability, goods, increments, reservations},
    },
};

/// A page that is ready: commit it, and add `seen` to the pass.
pub(in crate::sync) struct Detected {
    pub(in crate::sync) commit: PageCommit,
    pub(in crate::sync) seen: Vec<u32>,
    /// Objects that the page shows otherwise than we know them, but that were read before our last write to them
    /// was stored. Only another look can show whether they were changed after that write, or are shown as they were
    /// before it.
    pub(in crate::sync) doubtful: Vec<String>,
}

impl PullContext<'_> {
    /// Compare a page with the system's replicas. `counter` is the store's counter from before the page was
    /// requested.
    pub(in crate::sync) async fn detect(
        &self,
        rows: &[SourceRow],
        errors: &[RowError],
        counter: i64,
    ) -> Result<Detected> {
        let mut commit = PageCommit {
            run: self.run,
            system: self.system.name().to_owned(),
            entity: self.entity.to_owned(),
            remapped: self.remapped,
            ..PageCommit::default()
        };
        commit.balance.seen = count(rows.len() + errors.len());
        commit.balance.rejected = count(errors.len());
        let of = (self.system.name(), self.entity);
        commit.rejections.extend(errors.iter().map(|error| Rejection {
            position: error.position.clone(),
            id: error.id.clone(),
            field: None,
            reason: error.reason.clone(),
            cause: None,
            articles: error.row.as_ref().and_then(|row| self.mapping.named(row)),
            likes: error.row.as_ref().and_then(|row| unreadable::likes(self.context, self.mapping, of, row)),
            dismissed: false,
        }));

        let (rows, doubled) = last_of_each(rows);
        commit.balance.skipped = doubled;
        let revision = mapping_revision::of(self.mapping, self.system, self.entity);
        let fingerprints = mapping_revision::fingerprints(revision, &rows);
        let shown_rows: Vec<ShownRow> = rows
            .iter()
            .zip(&fingerprints)
            .map(|(row, fingerprint)| ShownRow { id: row.id.clone(), fingerprint: *fingerprint })
            .collect();
        let known_rows = self.context.store.look_up_fingerprints(self.system.name(), self.entity, &shown_rows).await?;
        commit.balance.unchanged = count(rows.len() - known_rows.changed.len());

        let mut pulled = Vec::with_capacity(known_rows.changed.len());
        for index in known_rows.changed {
            let (row, fingerprint) = (rows[index], fingerprints[index]);
            let body = row.body.clone().into_value();
            match self.canonical(&body) {
                Ok(object) => pulled.push(Seen {
                    id: row.id.clone(),
                    position: row.position.clone(),
                    version: row.version.clone(),
                    fingerprint,
                    object,
                }),
                Err(failure) => {
                    commit.balance.rejected += 1;
                    let row = unreadable::UnreadRow { position: row.position.clone(), id: row.id.clone(), body: &body };
                    commit.rejections.push(unreadable::unreadable(self.context, self.mapping, of, row, failure));
                }
            }
        }
        let doubtful = self.compare(pulled, counter, &mut commit).await?;
        Ok(Detected { commit, seen: known_rows.seen, doubtful })
    }

    fn canonical(&self, row: &Value) -> std::result::Result<Pulled, Failure> {
        crate::sync::context::canonical(&self.context.entities, self.mapping, self.entity, row)
    }

    /// Compare canonical objects with the replicas and fill the commit. Return the doubtful ones.
    async fn compare(&self, mut pulled: Vec<Seen>, counter: i64, commit: &mut PageCommit) -> Result<Vec<String>> {
        let mut doubtful = Vec::new();
        let mut moved = reservations::Quantities::new();
        let mut stepped = Vec::new();
        if pulled.is_empty() {
            return Ok(doubtful);
        }
        let (store, system) = (&self.context.store, self.system.name());
        // Resolve references first: a reference to an object of this very page binds a placeholder, which
        // identification then adopts.
        let unclear = Box::pin(resolve(
            self.context,
            system,
            &mut pulled.iter_mut().map(|seen| &mut seen.object).collect::<Vec<_>>(),
        ))
        .await?;
        if !unclear.is_empty() {
            pulled = without(pulled, &unclear, commit);
        }
        // On the heap: a page is compared deep inside other work.
        let (identities, records) = Box::pin(self.identified(&pulled)).await?;
        let mut anothers = Box::pin(parents::refused(self, &shown_children(&pulled, &records))).await?;
        let spec = self.context.entities.get(self.entity).map(|spec| &**spec);
        let ids: Vec<String> = pulled.iter().map(|seen| seen.id.clone()).collect();
        let mut known: HashMap<String, Replica> = store
            .replicas_by_id(system, self.entity, &ids)
            .await?
            .into_iter()
            .map(|replica| (replica.id.clone(), replica))
            .collect();

        let mut orders: Vec<_> = pulled.iter_mut().map(|seen| (seen.id.as_str(), &mut seen.object.fields)).collect();
        guests::assign_customers(self, &known, &mut orders).await?;
        let numbers: Vec<RecordId> = records.iter().map(|identified| identified.record).collect();
        let shared = Shared::of(self.context, system, self.entity, self.mapping, &numbers).await?;
        let targets = if shared.is_some() { self.context.routes.targets_of(self.entity) } else { BTreeSet::new() };

        let outline = self.mapping.outline();
        let blind = !self.system.capabilities(self.entity).is_some_and(|capabilities| capabilities.read);
        let evidence = ShownEvidence {
            context: self.context,
            mapping: self.mapping,
            entity: self.entity,
            outline: &outline,
            blind,
        };
        let made_of = |field: &str, sent: &Value, shown: &Value| evidence.is_made_of(field, sent, shown);
        for ((mut seen, identified), Unidentified { key, matches, .. }) in
            pulled.into_iter().zip(records).zip(identities)
        {
            let record = identified.record;
            let doubled = identified.taken_by.map(|other| {
                format!("{system} has two objects of key {key}: this one and {other}; give one of them another key")
            });
            let likes = if doubled.is_some() { Vec::new() } else { vec![(String::new(), key.clone())] };
            if let Some(reason) = doubled.or_else(|| anothers.remove(&seen.id)) {
                commit.balance.rejected += 1;
                commit.rejections.push(Rejection {
                    articles: Some(reservations::articles(&seen.object.fields)),
                    position: seen.position,
                    id: Some(seen.id),
                    field: None,
                    reason,
                    cause: None,
                    likes: Some(likes),
                    dismissed: false,
                });
                continue;
            }
            commit.resolved.push(seen.id.clone());
            let before = known.remove(&seen.id);
            if let Some(before) = &before {
                observe::as_known(spec, &before.fields, &mut seen.object);
            }
            // The row was read before our own last write was stored: what it shows may be older than what we know.
            if let Some(before) = before.as_ref().filter(|replica| replica.written > counter) {
                commit.balance.skipped += 1;
                let (fields, _) = observe(Some(before), seen.object.fields, self.mapping.reads(), &made_of);
                if before.gone_at.is_none() && fields != before.fields {
                    doubtful.push(seen.id);
                }
                continue;
            }
            commit.compared.insert(seen.id.clone(), before.as_ref().map_or(0, |replica| replica.written));
            let fresh = before.as_ref().is_none_or(|replica| replica.gone_at.is_some() || replica.fields.is_empty());
            let (mut fields, mut sent) = observe(before.as_ref(), seen.object.fields, self.mapping.reads(), &made_of);
            // A field that an earlier mapping read and that this one does not even write belongs to nobody any
            // more.
            let named = |field: &String| self.mapping.reads().contains(field) || self.mapping.writes().contains(field);
            fields.retain(|field, _| named(field));
            sent.retain(|field, _| named(field));
            let difference = model::diff(
                before.as_ref().filter(|_| !fresh).map_or(&Fields::new(), |replica| &replica.fields),
                &fields,
            );
            if difference.is_empty() && !fresh {
                commit.balance.unchanged += 1;
                commit.new_fingerprints.push((seen.id, seen.fingerprint, seen.version, sent));
                if !seen.object.child_ids.is_empty() {
                    commit.children.push((record, seen.object.child_ids));
                }
                continue;
            }
            commit.balance.changed += 1;
            let stood = before.as_ref().filter(|_| !fresh);
            if let Some(shared) = &shared {
                let moved = shared.take(record, stood, &fields, &mut sent).await?;
                let priority = priority::of(self.entity, &fields);
                let changed_targets = targets
                    .iter()
                    .filter(|target| if **target == system { moved.write_back } else { moved.merged.is_some() });
                commit.jobs.extend(changed_targets.map(|target| NewJob {
                    target: (*target).to_owned(),
                    entity: self.entity.to_owned(),
                    record,
                    priority,
                    due: None,
                }));
                commit.merged.extend(moved.merged);
                commit.conflicts.extend(moved.conflicts);
            }
            if let (Some(before), reservations::ORDER) = (stood, self.entity) {
                reservations::add(&mut moved, &goods::moved(self.context, &before.fields, &fields));
            }
            if let Some(before) = stood {
                let observed = Observed { record, before, fields: &fields, difference: &difference };
                self.drift(observed, shared.as_ref(), &mut sent, &mut commit.conflicts);
                self.leave_end(observed, &mut sent, commit).await?;
            }
            commit.jobs.extend(self.jobs_for(record, &fields, &difference, fresh));
            stepped.extend(increments::moved(self.entity, &difference, &fields));
            commit.changes.push(NewChange {
                record,
                op: if fresh { ChangeOp::Create } else { ChangeOp::Update },
                fields: difference,
            });
            commit.replicas.push(ReplicaWrite {
                record,
                id: seen.id,
                fields,
                sent,
                version: seen.version,
                fingerprint: Some(seen.fingerprint),
                child_ids: Some(seen.object.child_ids),
                matches,
                gone: false,
            });
        }
        goods::doubt(self.context, system, &moved).await?;
        increments::open_jobs(self.context, system, &stepped, &mut commit.jobs).await?;
        Ok(doubtful)
    }

    /// Handle edits of fields that others own. If the flow lets an edit stay, the replica remembers the value that
    /// the owner had delivered as sent, so that it is not delivered again before the owner changes it.
    fn drift(
        &self,
        Observed { record, before, fields, difference }: Observed<'_>,
        shared: Option<&Shared<'_>>,
        sent: &mut Fields,
        conflicts: &mut Vec<crate::store::ConflictMark>,
    ) {
        for field in difference.keys() {
            let policy = self.context.routes.drift(self.entity, field, self.system.name());
            if !matches!(policy, Some(DriftPolicy::Accept | DriftPolicy::Report)) {
                continue;
            }
            let (delivered, now) = (known(&before.fields, &before.sent, field), known(fields, sent, field));
            if delivered != now {
                sent.insert(field.clone(), delivered);
            }
            if let (Some(DriftPolicy::Report), Some(shared)) = (policy, shared) {
                conflicts.extend(shared.drifted(record, field, before, &now));
            }
        }
    }

    /// Return what rows are identified by, and their records.
    async fn identified(&self, pulled: &[Seen]) -> Result<(Vec<Unidentified>, Vec<Identified>)> {
        let (store, system) = (&self.context.store, self.system.name());
        let rules = self.context.routes.matches(self.entity);
        let weak: Vec<String> = rules.iter().filter(|rule| rule.weak).map(|rule| rule.field.clone()).collect();
        let spec = self.context.entities.get(self.entity).map(|spec| &**spec);
        let mut identities: Vec<Unidentified> = pulled
            .iter()
            .map(|seen| {
                let mut matches = matches(spec, &rules, &seen.object.fields);
                matches.extend(respelt::values(self.context, system, self.entity, &seen.object.key));
                let (id, key) = (seen.id.clone(), seen.object.key.clone());
                Unidentified { id, key, matches, ..Unidentified::default() }
            })
            .collect();
        if let Some(numbering) = Numbering::of(self.context, system, self.entity) {
            let ids: Vec<String> = pulled.iter().map(|seen| seen.id.clone()).collect();
            let bound = store.replicas_by_id(system, self.entity, &ids).await?;
            let bound: BTreeSet<&str> = bound.iter().map(|replica| replica.id.as_str()).collect();
            let rows = identities.iter_mut().zip(pulled);
            numbering
                .assign_records(&mut rows.map(|(row, seen)| (row, &seen.object.fields)).collect::<Vec<_>>(), &bound)
                .await?;
        }
        let records = store.identify(system, self.entity, &identities, &weak).await?;
        Ok((identities, records))
    }

    /// Return the jobs at the systems to which this one's changes flow, and at this one itself if others own what
    /// it changed. `fresh`: the object is new, or was gone.
    pub(in crate::sync) fn jobs_for(
        &self,
        record: RecordId,
        after: &Fields,
        difference: &Fields,
        fresh: bool,
    ) -> Vec<NewJob> {
        let (system, mut jobs) = (self.system.name(), Vec::new());
        let mut open = |target: &str, priority: i16| {
            jobs.push(NewJob {
                target: target.to_owned(),
                entity: self.entity.to_owned(),
                record,
                priority,
                due: None,
            });
        };
        let mut seen_targets = BTreeSet::new();
        for flow in self.context.routes.from(system, self.entity) {
            let priority = self.priority(flow, after);
            for target in flow.to.iter().filter(|target| seen_targets.insert(target.as_str())) {
                open(target, priority);
            }
        }
        let foreign = |source: &str| {
            fresh
                || difference.keys().any(|field| {
                    self.context
                        .routes
                        .owner(self.entity, field, source, system)
                        .is_some_and(|owner| owner != system && owner != SHARED)
                })
        };
        if self.context.routes.to(system, self.entity).any(|flow| foreign(&flow.from)) {
            open(system, priority::of(self.entity, after));
        }
        jobs
    }
}

impl PullContext<'_> {
    /// Priority of a change that goes by a flow: what the targets will show decides, not what the source has.
    fn priority(&self, flow: &crate::sync::routing::Flow, after: &Fields) -> i16 {
        if self.entity != reservations::STOCK {
            return priority::of(self.entity, after);
        }
        let available = self.context.available(flow, after, availability::Less::default());
        priority::of(self.entity, available.as_ref().unwrap_or(after))
    }
}

/// A row in canonical form, with what identifies it.
struct Seen {
    id: String,
    position: String,
    version: Option<String>,
    fingerprint: Fingerprint,
    object: Pulled,
}

/// If the list shifts while it is read, a page may show an object twice: the last one counts.
fn last_of_each(rows: &[SourceRow]) -> (Vec<&SourceRow>, u64) {
    let mut place: HashMap<&str, usize> = HashMap::with_capacity(rows.len());
    let mut kept: Vec<&SourceRow> = Vec::with_capacity(rows.len());
    let mut doubled = 0;
    for row in rows {
        if let Some(&at) = place.get(row.id.as_str()) {
            kept[at] = row;
            doubled += 1;
        } else {
            place.insert(&row.id, kept.len());
            kept.push(row);
        }
    }
    (kept, doubled)
}

/// Replace references of pulled objects by record numbers, all at once. Return the references that may mean several
/// records.
pub(in crate::sync) async fn resolve(
    context: &Context,
    system: &str,
    objects: &mut [&mut Pulled],
) -> Result<BTreeSet<RefQuery>> {
    let asked: BTreeSet<RefQuery> = objects
        .iter()
        .flat_map(|object| &object.refs)
        .map(|reference| RefQuery { entity: reference.entity.clone(), by: reference.by.clone() })
        .collect();
    if asked.is_empty() {
        return Ok(asked);
    }
    let is_numbered = |entity: &str| context.entities.get(entity).is_some_and(|spec| spec.numbered);
    let mut numbered: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut plain = Vec::new();
    for one in &asked {
        match &one.by {
            RefBy::Key(key) if is_numbered(&one.entity) => numbered.entry(&one.entity).or_default().push(key.clone()),
            _ => plain.push(one.clone()),
        }
    }
    let mut records: BTreeMap<RefQuery, RecordId> = context.store.resolve(system, &plain).await?;
    for (entity, keys) in numbered {
        for (key, record) in numbering::refer(context, system, entity, &keys).await? {
            records.insert(RefQuery { entity: entity.to_owned(), by: RefBy::Key(key) }, record);
        }
    }
    for object in objects {
        let mut whole = Value::Object(std::mem::take(&mut object.fields));
        for reference in &object.refs {
            let key = RefQuery { entity: reference.entity.clone(), by: reference.by.clone() };
            if let (Some(slot), Some(record)) = (whole.pointer_mut(&reference.pointer), records.get(&key)) {
                *slot = Value::from(*record);
            }
        }
        if let Value::Object(fields) = whole {
            object.fields = fields;
        }
    }
    Ok(asked.into_iter().filter(|asked| !records.contains_key(asked)).collect())
}

fn shown_children<'a>(pulled: &'a [Seen], records: &[Identified]) -> Vec<parents::Row<'a>> {
    let rows = pulled.iter().zip(records).filter(|(_, identified)| identified.taken_by.is_none());
    rows.map(|(seen, identified)| parents::Row {
        record: identified.record,
        object: &seen.id,
        key: &seen.object.key,
        children: &seen.object.child_ids,
    })
    .collect()
}

/// Reject rows that refer by a key that several objects have: a guess could be another customer's object.
fn without(pulled: Vec<Seen>, unclear: &BTreeSet<RefQuery>, commit: &mut PageCommit) -> Vec<Seen> {
    let mut kept = Vec::with_capacity(pulled.len());
    for seen in pulled {
        match unclear_reference(&seen.object, unclear) {
            None => kept.push(seen),
            Some(reason) => {
                commit.balance.rejected += 1;
                commit.rejections.push(Rejection {
                    position: seen.position,
                    id: Some(seen.id),
                    field: None,
                    reason,
                    cause: None,
                    articles: Some(reservations::articles(&seen.object.fields)),
                    likes: Some(vec![(String::new(), seen.object.key.clone())]),
                    dismissed: false,
                });
            }
        }
    }
    kept
}

/// Return what is unclear about an object's references, if anything is.
pub(in crate::sync) fn unclear_reference(object: &Pulled, unclear: &BTreeSet<RefQuery>) -> Option<String> {
    let reference = object
        .refs
        .iter()
        .find(|reference| unclear.contains(&RefQuery { entity: reference.entity.clone(), by: reference.by.clone() }))?;
    let (RefBy::Key(key) | RefBy::Id(key)) = &reference.by;
    Some(format!(
        "refers to {} {key}, which several systems have numbered so; let the mapping refer by the system's own id, or give the \
         numbers of one system a prefix, then read it again",
        reference.entity
    ))
}

pub(in crate::sync) fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Add one page's counts to a run's.
pub(in crate::sync) fn add(total: &mut Balance, page: &Balance) {
    total.seen += page.seen;
    total.unchanged += page.unchanged;
    total.changed += page.changed;
    total.skipped += page.skipped;
    total.rejected += page.rejected;
    total.gone += page.gone;
}
