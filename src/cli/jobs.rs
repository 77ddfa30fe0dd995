//! `vaiven jobs`: shows what is queued, parked or dead; retries, discards or restores jobs by hand.

use std::collections::BTreeSet;

use anyhow::bail;
use serde::Serialize;

use super::{
    Ending,
    args::{JobsCommand, JobsFilter},
    output::{self, Output},
    session::Session,
};
use crate::{
    store::{Job, JobFilter, JobState, SharedStore},
    sync::needs_somebody,
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

pub async fn jobs(command: &JobsCommand, session: &Session) -> anyhow::Result<Ending> {
    let Session { store, env, output, .. } = session;
    match command {
        JobsCommand::List { filter, limit } => list(filter, *limit, store, *output).await,
        JobsCommand::Retry { filter } => {
            let chosen = chosen(filter, "retry")?;
            let jobs = store.retry(&chosen, env.now()).await?;
            some(jobs, "parked or dead", &chosen, store).await?;
            output.show(&Touched { jobs }, |touched| format!("{} queued anew", output::count(touched.jobs, "job")))?;
            Ok(Ending::Fine)
        }
        JobsCommand::Discard { filter } => {
            let chosen = chosen(filter, "discard")?;
            let jobs = store.discard(&chosen, env.now()).await?;
            some(jobs, "parked or dead", &chosen, store).await?;
            output.show(&Touched { jobs }, |touched| {
                format!("{} given up; `vaiven jobs restore` takes them back", output::count(touched.jobs, "job"))
            })?;
            Ok(Ending::Fine)
        }
        JobsCommand::Restore { filter } => {
            let chosen = chosen(filter, "restore")?;
            let jobs = store.restore(&chosen, env.now()).await?;
            some(jobs, "discarded and not followed by another", &chosen, store).await?;
            output.show(&Touched { jobs }, |touched| {
                format!("{} taken back and queued anew", output::count(touched.jobs, "job"))
            })?;
            Ok(Ending::Fine)
        }
    }
}

/// Refuse a command that touched no job, and report the state of the named jobs.
async fn some(touched: u64, state: &str, chosen: &JobFilter, store: &SharedStore) -> anyhow::Result<()> {
    if touched > 0 {
        return Ok(());
    }
    if chosen.ids.is_empty() {
        bail!("there is no such job that is {state}; `vaiven jobs list` shows those there are");
    }
    let found = store.jobs(&JobFilter { ids: chosen.ids.clone(), ..JobFilter::default() }).await?;
    let named = chosen.ids.iter().map(|id| match found.iter().find(|job| job.id == *id) {
        Some(job) => format!("job {id} is {}", job.state.as_str()),
        None => format!("there is no job {id}"),
    });
    bail!("none of these is {state}: {}", named.collect::<Vec<_>>().join(", "))
}

async fn list(filter: &JobsFilter, limit: u32, store: &SharedStore, output: Output) -> anyhow::Result<Ending> {
    let mut asked = translated(filter, limit);
    if asked.states.is_empty() && asked.ids.is_empty() {
        asked.states = vec![JobState::Queued, JobState::Running, JobState::Parked, JobState::Dead];
    }
    let jobs = store.jobs(&asked).await?;
    let records: Vec<_> = jobs.iter().map(|job| job.record).collect();
    let keys = store.keys(&records).await?;
    let lines: Vec<Line> = jobs
        .into_iter()
        .map(|job| Line { key: keys.get(&job.record).map(|(_, key)| key.clone()).unwrap_or_default(), job })
        .collect();
    output.show(&lines, |lines| text(lines, limit))?;
    let stuck = lines.iter().any(|line| needs_somebody(line.job.state, line.job.cause.as_ref()));
    Ok(if stuck { Ending::Attention } else { Ending::Fine })
}

fn text(lines: &[Line], limit: u32) -> String {
    if lines.is_empty() {
        return "No such jobs.".to_owned();
    }
    let rows = lines.iter().map(|Line { key, job }| {
        let why = job.why();
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
    let mut table = output::table(["job", "state", "target", "entity", "key", "attempts", "when", "why"], rows);
    let states: BTreeSet<&str> = lines.iter().map(|line| line.job.state.as_str()).collect();
    if states.contains(JobState::Dead.as_str()) {
        table.push_str(
            "\n\nFix what stands in the way, then `vaiven jobs retry JOB`; or give up: `vaiven jobs discard JOB`.",
        );
    }
    if states.contains(JobState::Discarded.as_str()) {
        table.push_str("\n\n`vaiven jobs restore JOB` takes a discarded one back.");
    }
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
