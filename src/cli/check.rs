//! `vaiven check`: the configuration, the store and the connections.

use serde::Serialize;

use super::{
    Ending, app,
    args::Global,
    output::{self, Output},
    values,
};
use crate::env::Env;

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
    let config = app::config(global)?;
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
    if !offline {
        lines.push(match app::store(&config).await {
            Ok(_) => Line { subject: "store".to_owned(), what: "opened".to_owned(), problem: None },
            Err(error) => {
                Line { subject: "store".to_owned(), what: "opened".to_owned(), problem: Some(format!("{error:#}")) }
            }
        });
        let checks = plan.systems.values().map(|system| async { (system.name().to_owned(), system.check().await) });
        for (subject, checked) in futures::future::join_all(checks).await {
            lines.extend(checked.into_iter().map(|line| Line {
                subject: subject.clone(),
                what: line.what,
                problem: line.problem,
            }));
        }
    }
    let mut unknown = Vec::new();
    for system in plan.systems.values().filter(|_| !offline) {
        match values::unknown(&plan, system.as_ref()).await {
            Ok(told) => unknown.extend(told),
            Err(failure) => lines.push(Line {
                subject: system.name().to_owned(),
                what: "values that lookups write and settings say".to_owned(),
                problem: Some(failure.to_string()),
            }),
        }
    }
    let warned = plan.warnings.iter().chain(&plan.cautions).map(ToString::to_string);
    let report = Report { warnings: warned.chain(unknown).collect(), lines };
    output.show(&report, text)?;
    if report.lines.iter().any(|line| line.problem.is_some()) {
        return Ok(Ending::Failed);
    }
    Ok(Ending::Fine)
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
