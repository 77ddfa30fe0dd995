//! `vaiven resume`: ends the pause of a system at once.

use serde::Serialize;

use super::{Ending, app, output, session::Session};
use crate::store::Circuit;

#[derive(Serialize)]
struct Resumed {
    system: String,
    /// Why it was paused; absent if it was not.
    reason: Option<String>,
    /// Jobs that are due now.
    jobs: u64,
}

/// End the pause of one system, or of all paused systems.
pub async fn resume(system: Option<&str>, session: &Session) -> anyhow::Result<Ending> {
    let Session { config, store, env, output } = session;
    if let Some(system) = system {
        app::known_system(system, config)?;
    }
    let known = config.sections.systems.keys().map(|name| name.get_ref().as_str());
    let mut resumed = Vec::new();
    for name in known.filter(|name| system.is_none_or(|asked| asked == *name)) {
        let before = store.circuit(name).await?;
        let jobs = store.lift(name, env.now()).await?;
        if system.is_some() || before != Circuit::default() || jobs > 0 {
            resumed.push(Resumed { system: name.to_owned(), reason: before.reason, jobs });
        }
    }
    output.show(&resumed, |resumed| text(resumed))?;
    Ok(Ending::Fine)
}

fn text(resumed: &[Resumed]) -> String {
    if resumed.is_empty() {
        return "No system is paused.".to_owned();
    }
    let line = |one: &Resumed| {
        let jobs = format!("{} {} due", output::count(one.jobs, "job"), if one.jobs == 1 { "is" } else { "are" });
        match &one.reason {
            Some(reason) => format!("{} is resumed; {jobs}. It was paused because: {reason}", one.system),
            None => format!("{} was not paused; {jobs}.", one.system),
        }
    };
    resumed.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_is_due_and_two_are() {
        let line = |jobs| text(&[Resumed { system: "shop".to_owned(), reason: None, jobs }]);
        assert_eq!(line(1), "shop was not paused; 1 job is due.");
        assert_eq!(line(2), "shop was not paused; 2 jobs are due.");
    }
}
