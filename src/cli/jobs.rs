//! `vaiven jobs`: what is queued, parked or dead; retried or given up by hand.

use anyhow::bail;
use serde::Serialize;

use super::{
    Ending,
    args::{JobsCommand, JobsFilter},
    output::{self, Output},
};
use crate::{
    env::Env,
    store::{Job, JobFilter, JobState, SharedStore},
};

/// A job with its record's key instead of its number.
#[derive(Serialize)]
struct Line {
    key: String,
    #[serde(flatten)]
    job: Job,
}

#[derive(Serialize)]
struct Touched {
    jobs: u64,
}

pub async fn jobs(command: &JobsCommand, store: &SharedStore, env: &Env, output: Output) -> anyhow::Result<Ending> {
    match command {
        JobsCommand::List { filter, limit } => list(filter, *limit, store, output).await,
        JobsCommand::Retry { filter } => {
            let jobs = store.retry(&chosen(filter, "retry")?, env.now()).await?;
            output.show(&Touched { jobs }, |touched| format!("{} queued anew", output::count(touched.jobs, "job")))?;
            Ok(Ending::Fine)
        }
        JobsCommand::Discard { filter } => {
            let jobs = store.discard(&chosen(filter, "discard")?, env.now()).await?;
            output.show(&Touched { jobs }, |touched| format!("{} given up", output::count(touched.jobs, "job")))?;
            Ok(Ending::Fine)
        }
    }
}

async fn list(filter: &JobsFilter, limit: u32, store: &SharedStore, output: Output) -> anyhow::Result<Ending> {
    let mut wanted = translated(filter, limit);
    if wanted.states.is_empty() && wanted.ids.is_empty() {
        wanted.states = vec![JobState::Queued, JobState::Running, JobState::Parked, JobState::Dead];
    }
    let jobs = store.jobs(&wanted).await?;
    let records: Vec<_> = jobs.iter().map(|job| job.record).collect();
    let keys = store.keys(&records).await?;
    let lines: Vec<Line> = jobs
        .into_iter()
        .map(|job| Line { key: keys.get(&job.record).map(|(_, key)| key.clone()).unwrap_or_default(), job })
        .collect();
    output.show(&lines, |lines| text(lines, limit))?;
    let stuck = lines.iter().any(|line| matches!(line.job.state, JobState::Parked | JobState::Dead));
    Ok(if stuck { Ending::Attention } else { Ending::Fine })
}

fn text(lines: &[Line], limit: u32) -> String {
    if lines.is_empty() {
        return "No such jobs.".to_owned();
    }
    let rows = lines.iter().map(|Line { key, job }| {
        let why = [job.cause.as_deref(), job.error.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
        [
            job.id.to_string(),
            job.state.as_str().to_owned(),
            job.target.clone(),
            job.entity.clone(),
            key.clone(),
            job.attempts.to_string(),
            output::time(if job.state == JobState::Queued { job.due } else { job.updated_at }),
            why,
        ]
    });
    let table = output::table(["job", "state", "target", "entity", "key", "attempts", "when", "why"], rows);
    if lines.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
        return format!("{table}\n(the first {limit}; more with --limit)");
    }
    table
}

fn chosen(filter: &JobsFilter, verb: &str) -> anyhow::Result<JobFilter> {
    if filter.is_empty() {
        bail!("say which jobs to {verb}: their numbers, or --state, --target, --entity, --cause, or --all");
    }
    Ok(translated(filter, u32::MAX))
}

fn translated(filter: &JobsFilter, limit: u32) -> JobFilter {
    JobFilter {
        target: filter.target.clone(),
        entity: filter.entity.clone(),
        states: filter.state.iter().copied().map(Into::into).collect(),
        cause: filter.cause.clone(),
        record: None,
        ids: filter.ids.clone(),
        limit,
    }
}
