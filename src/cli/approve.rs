//! `vaiven approve` and `vaiven reject`: show what brakes hold back, and decide on it.

use anyhow::bail;
use serde::Serialize;
use serde_json::Value;

use super::{Ending, canonical, output, session::Session};
use crate::store::{BrakeTrip, RunId, ViolationExample, WaitingApproval};

#[derive(Serialize)]
struct Decided {
    run: RunId,
    approved: bool,
    jobs: u64,
}

/// List what waits for a decision.
pub async fn list(session: &Session) -> anyhow::Result<Ending> {
    let Session { store, output, .. } = session;
    let open = store.waiting_approvals().await?;
    output.show(&open, |open| text(open))?;
    Ok(if open.is_empty() { Ending::Fine } else { Ending::Attention })
}

/// Store a decision. The running daemon carries it out.
pub async fn decide(run: &str, approved: bool, session: &Session) -> anyhow::Result<Ending> {
    let Session { store, env, output, .. } = session;
    let number = number(run)?;
    let Some(jobs) = store.decide_run(number, approved, env.now()).await? else {
        let open: Vec<String> =
            store.waiting_approvals().await?.iter().map(|approval| approval.run.to_string()).collect();
        match open.as_slice() {
            [] => bail!("run {number} is not held by a brake, nor is any other"),
            open => bail!("run {number} is not held by a brake; these runs are: {}", open.join(", ")),
        }
    };
    output.show(&Decided { run: number, approved, jobs }, |decided| {
        let jobs = output::count(decided.jobs, "job");
        if decided.approved {
            format!("Run {number} is approved: {jobs} queued.")
        } else {
            format!("Run {number} is rejected: {jobs} will not be sent, and the target stays as it is.")
        }
    })?;
    Ok(Ending::Fine)
}

/// The number of a run: `12`, or `brake:run-12` as the cause of a parked job has it.
fn number(run: &str) -> anyhow::Result<RunId> {
    let digits = run.strip_prefix("brake:").unwrap_or(run);
    let digits = digits.strip_prefix("run-").unwrap_or(digits);
    match digits.parse() {
        Ok(number) => Ok(number),
        Err(_) => bail!("`{run}` is no run; write its number as `vaiven approve` lists it, for example 12"),
    }
}

/// One line per run, for status and summaries.
pub fn line(approval: &WaitingApproval) -> String {
    let trips: Vec<String> = approval.trips.iter().map(trip).collect();
    format!(
        "Held by a brake: run {} ({} from {}), {}: {}. `vaiven approve` shows what would happen.",
        approval.run,
        approval.entity,
        approval.system,
        output::count(approval.jobs, "job"),
        trips.join(", ")
    )
}

/// `19 of 20 records violate brake delete at shop (allowed: 5%)`.
pub fn trip(trip: &BrakeTrip) -> String {
    let BrakeTrip { violations, base, brake, target, allowed, .. } = trip;
    let verb = if *violations == 1 { "violates" } else { "violate" };
    format!("{violations} of {} {verb} brake {brake} at {target} (allowed: {allowed})", output::count(*base, "record"))
}

fn text(open: &[WaitingApproval]) -> String {
    if open.is_empty() {
        return "No brake holds anything back.".to_owned();
    }
    let runs = open.iter().map(|approval| {
        let mut lines = vec![format!(
            "Run {}: {} from {}, started {} ({}): {} held",
            approval.run,
            approval.entity,
            approval.system,
            output::time(approval.started_at),
            approval.trigger,
            output::count(approval.jobs, "job")
        )];
        for tripped in &approval.trips {
            lines.push(format!("  {}", trip(tripped)));
            lines.extend(tripped.examples.iter().map(|example| format!("    {}", self::example(example))));
            let more = tripped.violations.saturating_sub(tripped.examples.len() as u64);
            if more > 0 {
                lines.push(format!("    and {more} more"));
            }
        }
        lines.push(format!(
            "  vaiven approve {0} sends these changes, vaiven reject {0} leaves the target as it is",
            approval.run
        ));
        lines.join("\n")
    });
    runs.collect::<Vec<_>>().join("\n\n")
}

fn example(example: &ViolationExample) -> String {
    let side = |side: &Value| match side {
        _ if example.personal => "(personal)".to_owned(),
        Value::Null => "-".to_owned(),
        value => canonical::cell(value),
    };
    format!("{}  {}: {} -> {}", example.key, example.field, side(&example.before), side(&example.after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_approval_shows_its_brakes_and_a_handful_of_examples() {
        let example = |key: &str, field: &str, before: Value, after: Value| ViolationExample {
            key: key.into(),
            field: field.into(),
            personal: false,
            before,
            after,
        };
        let trip = |brake: &str, violations, allowed: &str, examples| BrakeTrip {
            target: "shop".into(),
            brake: brake.into(),
            violations,
            base: 500,
            allowed: allowed.into(),
            examples,
        };
        let hidden = ViolationExample { personal: true, ..example("C-7", "email", Value::Null, Value::Null) };
        let open = WaitingApproval {
            run: RunId(12),
            system: "erp".into(),
            entity: "product".into(),
            trigger: "schedule".into(),
            started_at: "2026-11-24T03:00:00Z".parse().unwrap(),
            jobs: 480,
            trips: vec![
                trip("delete", 480, "5%", vec![example("H-1", "active", json!(true), json!(false))]),
                trip("email_change", 1, "0", vec![hidden]),
                trip("zero_price", 1, "0", vec![example("web/H-1", "amount", json!("9.9"), Value::Null)]),
            ],
        };
        insta::assert_snapshot!(format!("{}\n\n{}", text(std::slice::from_ref(&open)), line(&open)));
        assert_eq!(text(&[]), "No brake holds anything back.");
    }

    #[test]
    fn a_run_is_named_by_its_number_or_by_its_cause() {
        for text in ["12", "run-12", "brake:run-12"] {
            assert_eq!(number(text).unwrap(), RunId(12));
        }
        assert!(number("catalog").unwrap_err().to_string().contains("for example 12"));
    }
}
