//! A system that can be read and is not written to: each write goes into the write log, and its answer is made up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde_json::Value;

use super::{
    proof::{self, Values},
    write_log::{Line, WriteLog},
};
use crate::{
    failure::{Class, Failure},
    mapping::Fields,
    model::{Entities, FieldSpec, Shown},
    port::{
        Capabilities, Checked, Op, Outcome, Pace, Page, Probe, Progress, PullRequest, SourceRow, System, Write, Written,
    },
    store::SharedStore,
};

pub(super) struct Recorder {
    inner: Arc<dyn System>,
    store: SharedStore,
    entities: Arc<Entities>,
    /// Lists whose items other objects live on: `product.variants`.
    hosts: BTreeSet<String>,
    write_log: Arc<WriteLog>,
    personal: bool,
    /// What was only apparently written here: entity and id.
    written: Mutex<BTreeSet<(String, String)>>,
}

impl Recorder {
    pub(super) fn new(
        system: Arc<dyn System>,
        store: SharedStore,
        entities: Arc<Entities>,
        write_log: Arc<WriteLog>,
        personal: bool,
    ) -> Self {
        let mut hosts = BTreeSet::new();
        for field in entities.iter().flat_map(|spec| spec.fields.values()) {
            collect_hosts(field, &mut hosts);
        }
        let inner = system.read_only().unwrap_or(system);
        Self { inner, store, entities, hosts, write_log, personal, written: Mutex::default() }
    }

    /// Make up the target's answer: ids for the object and for those of its parts that others live on, if the
    /// target does not have them yet.
    fn answer(&self, entity: &str, write: &Write) -> Written {
        if write.op == Op::Delete {
            return Written::default();
        }
        let id = write.id.clone().unwrap_or_else(|| self.write_log.id());
        let mut child_ids = write.child_ids.clone();
        for list in self.hosts.iter().filter_map(|host| host.split_once('.')).filter(|(of, _)| *of == entity) {
            let known = child_ids.entry(list.1.to_owned()).or_default();
            let key = self.entities.get(entity).and_then(|spec| spec.fields.get(list.1)?.key.as_deref());
            let items = write.desired.get(list.1).and_then(Value::as_array);
            for item in items.into_iter().flatten() {
                if let Some(part) = key.and_then(|key| item.get(key)?.as_str()) {
                    known.entry(part.to_owned()).or_insert_with(|| self.write_log.id());
                }
            }
            // An object without such a list is its own part.
            if items.is_none() && known.is_empty() {
                known.insert(write.key.clone(), id.clone());
            }
        }
        child_ids.retain(|_, known| !known.is_empty());
        Written { id, child_ids, ..Written::default() }
    }

    fn line(&self, entity: &str, write: &Write, values: &Values) -> Line {
        let fields = match self.entities.get(entity) {
            // It is deleted as a whole: its former values are no change that people should read.
            _ if write.op == Op::Delete => Fields::new(),
            Some(spec) => {
                // References are keys by now; only personal data is left to hide.
                let shown = Shown { keys: BTreeMap::new(), personal: self.personal };
                let mut fields = values.changes();
                shown.changes(&spec.fields, &mut fields);
                fields
            }
            None => values.changes(),
        };
        Line {
            target: self.inner.name().to_owned(),
            entity: entity.to_owned(),
            key: write.key.clone(),
            proof: values.proof(write.op),
            fields,
        }
    }
}

fn collect_hosts(field: &FieldSpec, hosts: &mut BTreeSet<String>) {
    hosts.extend(field.part.clone());
    for inner in field.of.iter().map(AsRef::as_ref).chain(field.fields.values()) {
        collect_hosts(inner, hosts);
    }
}

#[async_trait]
impl System for Recorder {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self, entity: &str) -> Option<&Capabilities> {
        self.inner.capabilities(entity)
    }

    fn version(&self, entity: &str) -> u64 {
        self.inner.version(entity)
    }

    async fn pull(&self, request: &PullRequest<'_>) -> Result<Page, Failure> {
        let page = self.inner.pull(request).await?;
        Ok(Page { receipt: None, ..page })
    }

    async fn acknowledge(&self, _: &str, _: &Value) -> Result<(), Failure> {
        Ok(())
    }

    async fn read(&self, entity: &str, ids: &[String]) -> Result<Vec<SourceRow>, Failure> {
        let there: Vec<String> = {
            let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            ids.iter().filter(|id| !written.contains(&(entity.to_owned(), (*id).clone()))).cloned().collect()
        };
        if there.is_empty() { Ok(Vec::new()) } else { self.inner.read(entity, &there).await }
    }

    async fn find(&self, entity: &str, probe: &Probe<'_>) -> Result<Vec<SourceRow>, Failure> {
        self.inner.find(entity, probe).await
    }

    async fn write(&self, entity: &str, writes: Vec<Write>, _: &dyn Progress) -> Vec<Outcome> {
        let spec = self.entities.get(entity);
        let values = proof::values(&self.store, spec.map(AsRef::as_ref), &writes.iter().collect::<Vec<_>>()).await;
        let values = match values {
            Ok(values) => values,
            Err(error) => {
                let failure = || Failure::new(Class::Fatal, error.to_string());
                let outcomes = writes.iter().map(|one| outcome(one, Err(failure()))).collect();
                self.write_log.fail(std::io::Error::other(error));
                return outcomes;
            }
        };
        self.write_log.take(writes.iter().zip(&values).map(|(one, values)| self.line(entity, one, values)).collect());
        let answers: Vec<Written> = writes.iter().map(|one| self.answer(entity, one)).collect();
        let ids = answers.iter().map(|answer| (entity.to_owned(), answer.id.clone()));
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
        writes.iter().zip(answers).map(|(one, answer)| outcome(one, Ok(answer))).collect()
    }

    fn pace(&self) -> Option<Pace> {
        self.inner.pace()
    }

    fn requests(&self) -> u64 {
        self.inner.requests()
    }

    async fn check(&self) -> Vec<Checked> {
        self.inner.check().await
    }
}

fn outcome(write: &Write, result: Result<Written, Failure>) -> Outcome {
    Outcome { job: write.job, result, requests: 0 }
}
