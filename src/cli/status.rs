//! `vaiven status`: systems, runs and the queue at a glance.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    Ending, approve,
    causes::{self, Group},
    output,
    session::Session,
};
use crate::{
    env::Env,
    store::{Circuit, Run, WaitingApproval},
    sync::{Affairs, OddDates},
    wait_reason::WaitReason,
};

#[derive(Serialize)]
struct Status {
    /// The state of affairs, in one line.
    headline: String,
    #[serde(flatten)]
    affairs: Affairs,
    systems: Vec<SystemStatus>,
    /// The last run of each system and entity.
    runs: Vec<Run>,
    queue: Vec<Group>,
    /// Runs that brakes hold back until a person decides.
    approvals: Vec<WaitingApproval>,
    rejected: Vec<Rejected>,
    /// Rows whose change date cannot be used.
    dates: Vec<Dated>,
    /// Number of fields that targets hold otherwise than they were sent, and that nobody accepted.
    differences: u64,
}

#[derive(Serialize)]
struct SystemStatus {
    name: String,
    adapter: String,
    /// Entity to the number of objects that the system is known to hold.
    objects: BTreeMap<String, u64>,
    #[serde(rename = "standing")]
    circuit: Circuit,
}

#[derive(Serialize)]
struct Rejected {
    system: String,
    entity: String,
    rows: u64,
}

#[derive(Serialize)]
struct Dated {
    system: String,
    entity: String,
    #[serde(flatten)]
    odd: OddDates,
}

/// Number of the latest runs that are searched for the last run of each kind.
const RUNS: u32 = 500;

pub async fn status(session: &Session) -> anyhow::Result<Ending> {
    let Session { config, store, env, output } = session;
    let counts = store.counts().await?;
    let mut systems = Vec::new();
    for (name, section) in &config.sections.systems {
        let name = name.get_ref();
        let objects =
            counts.iter().filter(|(system, ..)| system == name).map(|(_, entity, live, _)| (entity.clone(), *live));
        systems.push(SystemStatus {
            name: name.clone(),
            adapter: section.adapter.get_ref().clone(),
            objects: objects.collect(),
            circuit: store.circuit(name).await?,
        });
    }
    let mut runs: BTreeMap<(String, String), Run> = BTreeMap::new();
    for run in store.runs(RUNS).await? {
        let kind = (run.system.clone(), run.entity.clone());
        if runs.get(&kind).is_none_or(|known| known.id < run.id) {
            runs.insert(kind, run);
        }
    }
    let rejected = store.rejection_counts().await?;
    let mut dates = Vec::new();
    for (system, entity) in runs.keys() {
        let odd = OddDates::of(store, system, entity).await?;
        if !odd.rows.is_empty() {
            dates.push(Dated { system: system.clone(), entity: entity.clone(), odd });
        }
    }
    let flows = config.flows()?;
    let affairs = Affairs::of(store, &flows.iter().collect::<Vec<_>>(), false, env.now()).await?;
    let status = Status {
        headline: affairs.headline(),
        affairs,
        systems,
        runs: runs.into_values().collect(),
        queue: causes::groups(&store.backlog().await?),
        approvals: store.waiting_approvals().await?,
        differences: store.difference_count().await?,
        rejected: rejected
            .into_iter()
            .filter(|(_, _, open, _)| *open > 0)
            .map(|(system, entity, rows, _)| Rejected { system, entity, rows })
            .collect(),
        dates,
    };
    output.show(&status, |status| text(status, env))?;
    Ok(Ending::of(&status.affairs))
}

fn text(status: &Status, env: &Env) -> String {
    let mut parts = vec![status.headline.clone()];
    let reasons =
        status.affairs.troubles.iter().filter_map(|one| Some(format!("{}: {}", one.message, one.why.as_ref()?)));
    let reasons: Vec<String> = reasons.collect();
    if !reasons.is_empty() {
        parts.push(reasons.join("\n"));
    }
    let systems = status.systems.iter().map(|system| {
        let objects: Vec<String> = system.objects.iter().map(|(entity, count)| format!("{count} {entity}")).collect();
        [system.name.clone(), system.adapter.clone(), objects.join(", "), circuit_state(&system.circuit, env)]
    });
    parts.push(output::table(["system", "adapter", "objects", "state"], systems));
    if status.runs.is_empty() {
        parts.push("Nothing has been pulled yet: `vaiven run` does that.".to_owned());
    } else {
        parts.push(output::table(
            ["last run", "from", "entity", "seen", "changed", "rejected", "gone", "result"],
            status.runs.iter().map(run),
        ));
    }
    if status.queue.is_empty() {
        parts.push("The queue is empty.".to_owned());
    } else {
        let rows = status.queue.iter().map(|group| {
            let waits = match (&group.waits_for, &group.example) {
                (Some(kind), Some(example)) if group.different > 1 => {
                    format!("{kind}: {} different, such as {example}", group.different)
                }
                (_, example) => example.as_ref().map(WaitReason::to_string).unwrap_or_default(),
            };
            [
                group.state.as_str().to_owned(),
                group.jobs.to_string(),
                group.target.clone(),
                group.entity.clone(),
                waits,
                group.oldest.filter(|oldest| *oldest <= env.now()).map(output::time).unwrap_or_default(),
            ]
        });
        parts.push(output::table(["queue", "jobs", "target", "entity", "waits for", "oldest"], rows));
    }
    let hints: BTreeSet<String> = status
        .queue
        .iter()
        .filter_map(|group| Some(format!("{}: {}", group.waits_for.as_deref()?, group.hint.as_deref()?)))
        .collect();
    if !hints.is_empty() {
        parts.push(format!("How to end the waiting:\n{}", hints.into_iter().collect::<Vec<_>>().join("\n")));
    }
    parts.extend(status.approvals.iter().map(approve::line));
    if !status.rejected.is_empty() {
        let rows = status.rejected.iter().map(|line| [line.rows.to_string(), line.system.clone(), line.entity.clone()]);
        parts.push(output::table(["rejected rows", "from", "entity"], rows));
        parts.push("`vaiven rejected` shows which, and why.".to_owned());
    }
    parts.extend(status.dates.iter().map(dated));
    parts.join("\n\n")
}

/// Lines for rows whose date must be corrected at the source.
fn dated(dated: &Dated) -> String {
    let rows = dated.odd.rows.iter().map(|row| {
        let name = row.key.as_ref().or(row.id.as_ref()).unwrap_or(&row.position);
        [dated.system.clone(), dated.entity.clone(), name.clone(), row.reason.clone()]
    });
    let rows = output::table(["system", "entity", "key", "why"], rows);
    let table = format!("Change dates or files that cannot be used:\n{rows}");
    if dated.odd.more == 0 { table } else { format!("{table}\nand {} more", dated.odd.more) }
}

fn run(run: &Run) -> [String; 8] {
    let result = match (&run.error, run.finished_at) {
        (Some(error), _) => error.clone(),
        (None, None) => "under way".to_owned(),
        (None, Some(_)) if !run.balance.closes() => "balance does not close".to_owned(),
        (None, Some(_)) => "ok".to_owned(),
    };
    let balance = &run.balance;
    [
        output::time(run.started_at),
        run.system.clone(),
        run.entity.clone(),
        balance.seen.to_string(),
        balance.changed.to_string(),
        balance.rejected.to_string(),
        balance.gone.to_string(),
        result,
    ]
}

fn circuit_state(circuit: &Circuit, env: &Env) -> String {
    match circuit.until {
        Some(until) if until > env.now() => {
            format!("paused until {}: {}", output::time(until), circuit.reason.as_deref().unwrap_or("it failed"))
        }
        _ => "ok".to_owned(),
    }
}
