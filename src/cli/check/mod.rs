//! `vaiven check`: checks the configuration, the store, the connections, and what the systems show through them.

mod flows;
mod rows;
mod values;

use std::{collections::BTreeSet, sync::Arc};

use serde::Serialize;

use super::{
    Ending, app,
    args::Global,
    output::{self, Output},
};
use crate::{config::OpenedConfig, env::Env, port::System, store::SharedStore};

#[derive(Serialize)]
struct Report {
    warnings: Vec<String>,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    /// Name of a system, or `configuration`, `store`.
    subject: String,
    what: String,
    problem: Option<String>,
}

pub async fn check(offline: bool, global: &Global, env: &Env, output: Output) -> anyhow::Result<Ending> {
    let mut config = app::config(global)?;
    if offline {
        config.do_without_secrets();
    }
    let plan = config.open(&app::world(&config, env)?)?;
    let flows = plan.routes.flows();
    let what = format!(
        "{}: {}, {}",
        app::shown_path(global),
        output::count(plan.systems.len() as u64, "system"),
        output::count(flows.len() as u64, "flow")
    );
    let mut lines = vec![Line { subject: "configuration".to_owned(), what, problem: None }];
    for flow in flows {
        let what =
            format!("flow {}: {} from {} to {}", flow.name, flow.entities.join(", "), flow.from, flow.to.join(", "));
        lines.push(Line { subject: "configuration".to_owned(), what, problem: None });
    }
    lines.extend(plan.refusals.iter().map(|refused| Line {
        subject: "configuration".to_owned(),
        what: "flows fit together".to_owned(),
        problem: Some(refused.to_string()),
    }));
    lines.extend(plan.left_out.iter().map(|left_out| Line {
        subject: "configuration".to_owned(),
        what: left_out.to_string(),
        problem: None,
    }));
    let mut store = None;
    if !offline {
        let opened = app::store(&config).await;
        let problem = opened.as_ref().err().map(|error| format!("{error:#}"));
        lines.push(Line { subject: "store".to_owned(), what: "opened".to_owned(), problem });
        store = opened.ok();
    }
    let mut warnings: Vec<String> = plan.warnings.iter().chain(&plan.cautions).map(ToString::to_string).collect();
    warnings.extend(flows::never_whole(&plan));
    warnings.extend(flows::never_withdrawn(&plan));
    if !offline {
        let tried = plan.systems.values().map(|system| try_out(&plan, system));
        for (name, (tried, cautions)) in plan.systems.keys().zip(futures::future::join_all(tried).await) {
            let is_well = tried.iter().all(|line| line.problem.is_none());
            lines.extend(tried);
            warnings.extend(cautions);
            if let Some(store) = store.as_ref().filter(|_| is_well) {
                lines.extend(asked_again(store, name, env).await?);
            }
        }
    }
    let report = Report { warnings, lines };
    output.show(&report, text)?;
    if report.lines.iter().any(|line| line.problem.is_some()) {
        return Ok(Ending::Failed);
    }
    Ok(Ending::Fine)
}

/// End the pause of a system that was just found to be well.
async fn asked_again(store: &SharedStore, system: &str, env: &Env) -> anyhow::Result<Option<Line>> {
    let circuit = store.circuit(system).await?;
    if circuit.until.is_none_or(|until| until <= env.now()) {
        return Ok(None);
    }
    let jobs = store.lift(system, env.now()).await?;
    let reason = circuit.reason.unwrap_or_default();
    let what = format!("was paused ({reason}) and is resumed: {} due", output::count(jobs, "job"));
    Ok(Some(Line { subject: system.to_owned(), what, problem: None }))
}

/// Check one system; return its lines and warnings.
async fn try_out(plan: &OpenedConfig, system: &Arc<dyn System>) -> (Vec<Line>, Vec<String>) {
    let name = system.name();
    let written: BTreeSet<&str> = (plan.routes.flows().iter())
        .filter(|flow| flow.to.iter().any(|to| to == name))
        .flat_map(|flow| flow.entities.iter().map(String::as_str))
        .collect();
    let mut checked = system.check().await;
    let is_up = checked.first().is_none_or(|line| line.problem.is_none());
    if is_up {
        checked.extend(system.check_writing(&written.into_iter().collect::<Vec<_>>()).await);
    }
    let mut warnings: Vec<String> =
        checked.iter().filter_map(|line| Some(format!("{name}: {}", line.caution.as_ref()?))).collect();
    let mut lines: Vec<Line> = checked
        .into_iter()
        .map(|line| Line { subject: name.to_owned(), what: line.what, problem: line.problem })
        .collect();
    // If a system does not answer, further requests would only repeat the problem.
    if is_up {
        let looked = rows::look(plan, system).await;
        // If the login is refused, it is refused for every listing: report it only once.
        let said: Vec<String> = lines.iter().filter_map(|line| line.problem.clone()).collect();
        let is_said = |line: &Line| line.problem.as_ref().is_some_and(|new| said.iter().any(|old| new.contains(old)));
        lines.extend(looked.lines.into_iter().filter(|line| !is_said(line)));
        warnings.extend(looked.warnings);
        match values::unknown(plan, system.as_ref()).await {
            Ok(unknown) => warnings.extend(unknown),
            Err(failure) => lines.push(Line {
                subject: name.to_owned(),
                what: "values that lookups write and settings say".to_owned(),
                problem: Some(failure.to_string()),
            }),
        }
    }
    (lines, warnings)
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = report.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    let rows = report.lines.iter().map(|line| {
        let verdict = if line.problem.is_none() { "ok" } else { "FAILED" };
        let what = match &line.problem {
            Some(problem) => format!("{}: {problem}", line.what),
            None => line.what.clone(),
        };
        [line.subject.clone(), verdict.to_owned(), what]
    });
    lines.push(output::table(["checked", "result", "what"], rows));
    lines.join("\n")
}
