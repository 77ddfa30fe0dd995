//! What the viewer of the demo sees while it runs: a bar on a terminal, otherwise plain lines.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::report::Report;
use crate::{
    env::Env,
    printable,
    store::{Backlog, JobState, SharedStore},
};

/// Interval between plain lines on work under way.
const EVERY: Duration = Duration::from_secs(3);

/// The audience of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A program that takes the result as JSON from standard output; everything else goes to standard error.
    Program,
    /// A person at a terminal, where a bar moves.
    Person,
    /// A reader of plain lines.
    Reader,
}

/// Shows the progress and the result of a demo.
#[derive(Clone, Debug)]
pub struct Teller {
    audience: Audience,
    bar: Option<ProgressBar>,
}

impl Teller {
    /// `steps` is the number of steps of the script, if the demo has an end.
    #[must_use]
    pub fn new(steps: Option<u32>, audience: Audience) -> Self {
        let bar = (audience == Audience::Person).then(|| {
            let (bar, style) = match steps {
                Some(steps) => (ProgressBar::new(steps.into()), "{bar:30} {pos}/{len}  {wide_msg}"),
                None => (ProgressBar::new_spinner(), "{spinner} {wide_msg}"),
            };
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.with_style(style)
        });
        Self { audience, bar }
    }

    /// Print a line that stays.
    pub fn say(&self, line: &str) {
        let line = printable::text(line);
        match &self.bar {
            Some(bar) => bar.println(line.as_ref()),
            None if self.audience == Audience::Program => eprintln!("{line}"),
            None => println!("{line}"),
        }
    }

    /// Show the number of steps done so far.
    pub fn at(&self, step: u32) {
        if let Some(bar) = &self.bar {
            bar.set_position(step.into());
        }
    }

    /// Show the result and remove the bar.
    pub fn conclude(&self, report: &Report) -> anyhow::Result<()> {
        self.close();
        if self.audience == Audience::Program {
            println!("{}", printable::json(&serde_json::to_string_pretty(report)?));
        } else {
            println!("\n{}", printable::text(&report.text()));
        }
        Ok(())
    }

    /// Remove the bar.
    pub fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Show the daemon's open work until this is dropped.
    pub async fn watch(&self, store: &SharedStore, env: &Env) -> std::convert::Infallible {
        let mut last = String::new();
        loop {
            let wait = if self.bar.is_some() { EVERY / 15 } else { EVERY };
            env.sleep(wait).await;
            let Ok(backlog) = store.backlog().await else { continue };
            let open = open(&backlog);
            match &self.bar {
                Some(bar) => bar.set_message(open),
                None if !open.is_empty() && open != last => {
                    self.say(&format!("  daemon: {open}"));
                    last = open;
                }
                None => {}
            }
        }
    }
}

/// Describe the open jobs: `to shop: 312 product, 40 price`.
fn open(backlog: &[Backlog]) -> String {
    let mut targets: Vec<(String, Vec<String>)> = Vec::new();
    for line in backlog.iter().filter(|line| matches!(line.state, JobState::Queued | JobState::Running)) {
        let words = format!("{} {}", line.count, line.entity);
        match targets.iter_mut().find(|(target, _)| *target == line.target) {
            Some((_, parts)) => parts.push(words),
            None => targets.push((line.target.clone(), vec![words])),
        }
    }
    let targets: Vec<String> =
        targets.iter().map(|(target, parts)| format!("to {target}: {}", parts.join(", "))).collect();
    targets.join("; ")
}
