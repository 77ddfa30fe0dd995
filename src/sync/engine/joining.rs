//! What joins later. If a target, a flow, an entity, a field, an owner, a filter or a match rule is added to a
//! running configuration, it applies to everything that is known already. No pull would report that, since nothing
//! has changed at the source.
//!
//! It is done by state. For each source, entity and target, a fingerprint is kept of everything that decides the
//! desired state there. If it no longer matches the configuration, a job is opened at the target for every live
//! record of the source, in slices; each slice is durable together with how far it came. Then the new fingerprint
//! is stored. The jobs belong to a run, so that brakes see them together.
//!
//! What leaves the configuration is marked, and gets nothing from then on. When it is back, both sides are read,
//! and what the source has lost meanwhile is covered as well.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    mapping::Fields,
    model::canonical,
    store::NewRun,
    store::Slice,
    store::{Balance, JOINED, Lease, NewJob, PageCommit, RecordId, ReplicaWrite, Result, RunId, RunKind, StoreError},
    sync::{
        brakes,
        conflict::{respelt, shared},
        context::{
            Context, RunReport,
            joined::{self, ADDED, BACK, COVERED, LEFT, is},
        },
        engine::pass::after_others,
        pull::{self, adoption},
        routing::{Flow, MatchRule, Scope, matches, priority},
        stock::{increments, reservations::STOCK},
    },
};

/// How many replicas are covered at once.
const SLICE: usize = 500;
/// How often a slice is repeated if others have written in it meanwhile.
const TRIES: u32 = 20;

/// What is covered again though nothing has joined: a person asked for it.
#[derive(Clone, Copy, Debug)]
pub(in crate::sync) struct CoverRequest<'a> {
    pub(in crate::sync) scope: &'a Scope,
    pub(in crate::sync) trigger: &'a str,
}

/// Offer all known records to what has joined, or to what was asked for. First read what the target has of them; if
/// that fails, the report says why, and the next pass tries again. Return the runs that failed.
pub(in crate::sync) async fn cover(
    context: &Context,
    asked: Option<CoverRequest<'_>>,
    stop: &CancellationToken,
) -> Result<Vec<RunReport>> {
    let ways = mark_left(context).await?;
    index(context, stop).await?;
    let mut failed = Vec::new();
    for flow in context.routes.flows() {
        for entity in &flow.entities {
            for target in &flow.to {
                if stop.is_cancelled() {
                    return Ok(failed);
                }
                let asked = asked.filter(|asked| {
                    let entities = asked.scope.entity.as_ref().is_none_or(|only| only == entity);
                    asked.scope.flow == flow.name && entities && asked.scope.key.is_none()
                });
                failed.extend(Route { context, flow, entity, target }.cover(&ways, asked, stop).await?);
            }
        }
    }
    Ok(failed)
}

/// Mark the routes that are no longer in the configuration. Return the notes of all routes that existed before this
/// pass.
async fn mark_left(context: &Context) -> Result<Vec<String>> {
    let mut ways = BTreeSet::new();
    for flow in context.routes.flows() {
        for entity in &flow.entities {
            ways.extend(flow.to.iter().map(|target| Route { context, flow, entity, target }.note()));
        }
    }
    let notes = context.store.notes(COVERED).await?;
    for (name, noted) in &notes {
        if !ways.contains(name) && !is(noted, LEFT) {
            context.store.note(name, &json!({ LEFT: true })).await?;
        }
    }
    Ok(notes.into_iter().map(|(name, _)| name).collect())
}

/// One route of one entity.
struct Route<'a> {
    context: &'a Context,
    flow: &'a Flow,
    entity: &'a str,
    target: &'a str,
}

/// Whether a source is known to hold any records.
async fn knows_any(context: &Context, source: &str, entity: &str) -> Result<bool> {
    let first = Slice { after: 0, limit: 1 };
    Ok(!context.store.unseen(source, entity, &RoaringBitmap::new(), first).await?.is_empty())
}

impl Route<'_> {
    fn note(&self) -> String {
        joined::note(self.flow, self.entity, self.target)
    }

    /// Fingerprint of everything that decides what the target should have from this source.
    fn fingerprint(&self) -> String {
        let (context, entity) = (self.context, self.entity);
        let own = |path: &str| path.split_once('.').is_some_and(|(of, _)| of == entity);
        let owners: BTreeMap<&String, &String> =
            context.routes.flows().iter().flat_map(|flow| &flow.owners).filter(|(path, _)| own(path)).collect();
        let flows = context.routes.to(self.target, entity).filter(|flow| flow.from == self.flow.from).map(|flow| {
            let filter = flow.filters.get(entity).or_else(|| flow.filters.get("*")).map(crate::expr::Expr::text);
            let stock = &flow.stock;
            let quantity = stock.quantity.as_ref().map(crate::expr::Expr::text);
            let mut rule = vec![json!(stock.buffer), json!(stock.in_flight), json!(stock.locations), json!(quantity)];
            // Included only if it is set: fingerprints that earlier versions have kept stay valid.
            rule.extend(stock.on_hand.then(|| json!("on_hand")));
            let sources = context.routes.to(self.target, "product").map(|flow| flow.from.as_str());
            let in_steps =
                entity == STOCK && sources.into_iter().any(|source| increments::are_said_by(context, source));
            rule.extend(in_steps.then(|| json!("in steps")));
            json!({
                "fields": flow.fields.get(entity),
                "where": filter,
                "on_delete": format!("{:?}", flow.delete_policy(entity)),
                "stock": rule,
            })
        });
        let shape = |system: &str, written: bool| {
            let mapping = context.mapping(system, entity);
            mapping.map(|mapping| if written { mapping.written_shapes() } else { mapping.read_shapes() })
        };
        canonical::fingerprint(&json!({
            "flows": flows.collect::<Vec<_>>(),
            "leads": context.routes.leading(entity, &self.flow.from, self.target).map(|flow| &flow.from),
            "owners": owners,
            "match": rules(context, entity, &context.routes.matches(entity)),
            "reads": shape(&self.flow.from, false),
            "writes": shape(self.target, true),
        }))
    }

    async fn cover(
        &self,
        ways: &[String],
        asked: Option<CoverRequest<'_>>,
        stop: &CancellationToken,
    ) -> Result<Option<RunReport>> {
        let (context, fingerprint) = (self.context, self.fingerprint());
        let note = self.note();
        let noted = context.store.noted(&note).await?;
        let text = |name: &str| noted.as_ref().and_then(|noted| noted.get(name)).and_then(Value::as_str);
        let is_known =
            text("print") == Some(&fingerprint) && noted.as_ref().is_some_and(|noted| noted["after"].is_null());
        if is_known && asked.is_none() {
            return Ok(None);
        }
        let was_away = noted.as_ref().is_some_and(|noted| is(noted, LEFT));
        let has_any =
            knows_any(context, &self.flow.from, self.entity).await? || was_away && self.was_outlived().await?;
        if !has_any {
            let is_added = match &noted {
                Some(noted) => is(noted, ADDED),
                None => self.has_others(ways).await?,
            };
            context.store.note(&note, &json!({ "print": fingerprint, ADDED: is_added })).await?;
            return Ok(None);
        }
        if was_away && let Some(failed) = self.look_again(stop).await? {
            return Ok(Some(failed));
        }
        // An earlier version of the program has kept this state: what it delivered counts as delivered.
        if noted.is_none() && asked.is_none() && adoption::is_adopted(context, self.target, self.entity).await? {
            context.store.note(&note, &json!({ "print": fingerprint })).await?;
            return Ok(None);
        }
        let seen = Box::pin(adoption::adopt(context, self.target, self.entity, stop)).await?;
        if !adoption::is_adopted(context, self.target, self.entity).await? {
            return Ok(seen);
        }
        let Some(lease) = self.lease(stop).await? else { return Ok(None) };
        let trigger = asked.map_or(JOINED, |asked| asked.trigger);
        let begun = noted.filter(|noted| was_away || noted["print"] == fingerprint.as_str());
        let opened = self.open(trigger, begun, &lease, stop).await;
        context.store.drop_lease(&lease).await?;
        context.work.notify_waiters();
        opened.map(|()| None)
    }

    /// Whether the target is in use by another route already: it, or that route's source, has been read. The notes of a
    /// first start that broke off between them say nothing yet.
    async fn has_others(&self, ways: &[String]) -> Result<bool> {
        let store = &self.context.store;
        for way in ways {
            let route = way.strip_prefix(COVERED).and_then(|route| route.rsplit_once('/'));
            let from = route.filter(|(_, target)| *target == self.target).and_then(|(from, _)| from.split_once('/'));
            if let Some((source, entity)) = from
                && (store.reading(self.target, entity).await?.is_adopted
                    || knows_any(self.context, source, entity).await?)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the target still has records that the source has lost.
    async fn was_outlived(&self) -> Result<bool> {
        let (store, source) = (&self.context.store, &self.flow.from);
        Ok(!store.outlived(source, self.entity, self.target, Slice { after: 0, limit: 1 }).await?.is_empty())
    }

    /// Read the target completely, and the changes of the source: what is known of them may be from before the
    /// route had left. Return the reading that failed.
    async fn look_again(&self, stop: &CancellationToken) -> Result<Option<RunReport>> {
        let context = self.context;
        for (system, kind) in [(self.target, RunKind::Full), (self.flow.from.as_str(), RunKind::Delta)] {
            if !context.can_list(system, self.entity) {
                continue;
            }
            let report = Box::pin(pull::pull(context, NewRun::new(system, self.entity, kind, JOINED), stop)).await?;
            let report = Box::pin(after_others(context, report, JOINED, stop)).await?;
            if report.error.is_some() || report.run.is_none() {
                return Ok(Some(report));
            }
        }
        Ok(None)
    }

    /// Take the lease of the source's pull: as long as it is held, nobody else decides on a run that is cut off in
    /// the middle.
    async fn lease(&self, stop: &CancellationToken) -> Result<Option<Lease>> {
        lease(self.context, &self.flow.from, self.entity, stop).await
    }

    /// Open the jobs, from where an earlier try stopped.
    async fn open(&self, trigger: &str, begun: Option<Value>, lease: &Lease, stop: &CancellationToken) -> Result<()> {
        let (context, note, fingerprint) = (self.context, self.note(), self.fingerprint());
        let place = |name: &str| begun.as_ref().and_then(|begun| begun[name].as_i64());
        let is_back = begun.as_ref().is_some_and(|begun| is(begun, LEFT) || is(begun, BACK));
        let mut after = place("after").and_then(|after| u32::try_from(after).ok()).unwrap_or(0);
        let mut tries = 0;
        let pending = context.store.pending().await?;
        let run = match place("run").map(RunId).filter(|run| pending.iter().any(|pending| pending.run == *run)) {
            Some(run) => run,
            None => {
                let now = context.env.now();
                context
                    .store
                    .begin_run(NewRun::new(&self.flow.from, self.entity, RunKind::Single, trigger), now)
                    .await?
            }
        };
        loop {
            let slice = context
                .store
                .unseen(&self.flow.from, self.entity, &RoaringBitmap::new(), Slice { after, limit: SLICE })
                .await?;
            let Some((last, _)) = slice.last() else { break };
            let before = std::mem::replace(&mut after, *last);
            let records: Vec<RecordId> = slice.iter().map(|(_, replica)| replica.record).collect();
            let commit = PageCommit {
                run,
                merged: shared::agreed_first(context, self.entity, &records).await?,
                system: self.flow.from.clone(),
                entity: self.entity.to_owned(),
                jobs: slice.iter().map(|(_, replica)| self.job(replica.record, &replica.fields)).collect(),
                notes: vec![(note.clone(), json!({ "print": fingerprint, "after": after, "run": run, BACK: is_back }))],
                lease: Some((lease.clone(), context.limits.long())),
                ..PageCommit::default()
            };
            match context.store.commit_page(commit, context.env.now()).await {
                Ok(_) => tries = 0,
                // Somebody has merged a field meanwhile: repeat the slice.
                Err(StoreError::Stale(_)) if tries < TRIES => {
                    (after, tries) = (before, tries + 1);
                    continue;
                }
                Err(error) => return Err(error),
            }
            context.work.notify_waiters();
            if stop.is_cancelled() {
                return Ok(());
            }
        }
        if is_back && !self.open_outlived(run, lease, stop).await? {
            return Ok(());
        }
        Box::pin(brakes::evaluate_run(context, run, Some(lease))).await?;
        context.store.end_run(run, &Balance::default(), None, context.env.now()).await?;
        context.store.note(&note, &json!({ "print": fingerprint })).await
    }

    /// Open a job for every object that the target still has and the source has lost. Return false after a stop.
    async fn open_outlived(&self, run: RunId, lease: &Lease, stop: &CancellationToken) -> Result<bool> {
        let (context, mut after) = (self.context, 0);
        while !stop.is_cancelled() {
            let slice = context
                .store
                .outlived(&self.flow.from, self.entity, self.target, Slice { after, limit: SLICE })
                .await?;
            let Some((last, _)) = slice.last() else { return Ok(true) };
            after = *last;
            let commit = PageCommit {
                run,
                system: self.flow.from.clone(),
                entity: self.entity.to_owned(),
                jobs: slice.iter().map(|(_, replica)| self.job(replica.record, &replica.fields)).collect(),
                lease: Some((lease.clone(), context.limits.long())),
                ..PageCommit::default()
            };
            context.store.commit_page(commit, context.env.now()).await?;
            context.work.notify_waiters();
        }
        Ok(false)
    }

    fn job(&self, record: RecordId, fields: &Fields) -> NewJob {
        NewJob {
            target: self.target.to_owned(),
            entity: self.entity.to_owned(),
            record,
            priority: priority::of(self.entity, fields),
            due: None,
        }
    }
}

/// Wait for the lease of a pull; return `None` after a stop.
async fn lease(context: &Context, system: &str, entity: &str, stop: &CancellationToken) -> Result<Option<Lease>> {
    let name = format!("pull:{system}/{entity}");
    loop {
        let lease = context.store.acquire(&name, &context.owner, context.limits.long(), context.env.now()).await?;
        if lease.is_some() || stop.is_cancelled() {
            return Ok(lease);
        }
        context.env.sleep(context.limits.poll).await;
    }
}

/// The rules by which records of an entity are recognised, as far as they decide.
fn rules(context: &Context, entity: &str, rules: &[&MatchRule]) -> Value {
    let spec = context.entities.get(entity);
    let compare = |field: &str| {
        spec.and_then(|spec| crate::sync::routing::field_of(spec, field))
            .and_then(|field| field.compare)
            .map(|compare| json!(compare))
    };
    rules.iter().map(|rule| json!([rule.field, rule.weak, compare(&rule.field)])).collect()
}

/// If the match rules have changed, compute the match values again from what is known of all systems.
async fn index(context: &Context, stop: &CancellationToken) -> Result<()> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for flow in context.routes.flows() {
        let systems = flow.to.iter().chain([&flow.from]);
        pairs.extend(systems.flat_map(|system| flow.entities.iter().map(|entity| (system.as_str(), entity.as_str()))));
    }
    pairs.sort_unstable();
    pairs.dedup();
    for (system, entity) in pairs {
        let mut rules = rules(context, entity, &context.recognised_by(system, entity));
        if let Value::Array(rules) = &mut rules {
            let spellers = respelt::systems(context, entity).filter_map(|at| Some((at, context.mapping(at, entity)?)));
            rules.extend(spellers.map(|(at, mapping)| json!([respelt::field(at), mapping.version().to_string()])));
        }
        let note = format!("matches:{system}/{entity}");
        let noted = context.store.noted(&note).await?;
        let has_none = rules.as_array().is_none_or(Vec::is_empty);
        if noted.as_ref() == Some(&rules) || noted.is_none() && has_none {
            continue;
        }
        let Some(lease) = lease(context, system, entity, stop).await? else { return Ok(()) };
        let indexed = index_one(context, system, entity, &lease).await;
        context.store.drop_lease(&lease).await?;
        indexed?;
        context.store.note(&note, &rules).await?;
    }
    Ok(())
}

async fn index_one(context: &Context, system: &str, entity: &str, lease: &Lease) -> Result<()> {
    let rules = context.recognised_by(system, entity);
    let spec = context.entities.get(entity).map(|spec| &**spec);
    let (mut after, mut tries) = (0, 0);
    loop {
        let slice = context.store.unseen(system, entity, &RoaringBitmap::new(), Slice { after, limit: SLICE }).await?;
        let Some((last, _)) = slice.last() else { return Ok(()) };
        let last = *last;
        let mut commit = PageCommit {
            system: system.to_owned(),
            entity: entity.to_owned(),
            lease: Some((lease.clone(), context.limits.long())),
            ..PageCommit::default()
        };
        for (_, replica) in slice {
            commit.compared.insert(replica.id.clone(), replica.written);
            let mut matches = matches(spec, &rules, &replica.fields);
            matches.extend(respelt::values_of(context, system, entity, &replica.fields));
            commit.replicas.push(ReplicaWrite { matches, ..replica.into() });
        }
        match context.store.commit_page(commit, context.env.now()).await {
            Ok(_) => (after, tries) = (last, 0),
            Err(StoreError::Stale(_)) if tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}
