//! Progress of a pass: bars on a terminal, otherwise a line every few seconds.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{
    env::Env,
    store::{JobState, SharedStore},
};

const BARS_EVERY: Duration = Duration::from_millis(250);
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Watch the queue until this is dropped.
pub async fn show(store: &SharedStore, env: &Env, bars: Option<MultiProgress>) -> Infallible {
    let mut shown: BTreeMap<String, Progress> = BTreeMap::new();
    let mut said = String::new();
    loop {
        env.sleep(if bars.is_some() { BARS_EVERY } else { LINES_EVERY }).await;
        // Ignore errors here: the pass itself reports a store that fails.
        let Ok(backlog) = store.backlog().await else { continue };
        let mut open: BTreeMap<String, u64> = shown.keys().map(|target| (target.clone(), 0)).collect();
        for line in backlog.iter().filter(|line| matches!(line.state, JobState::Queued | JobState::Running)) {
            *open.entry(line.target.clone()).or_default() += line.count;
        }
        for (target, count) in open {
            let progress = shown.entry(target.clone()).or_insert_with(|| Progress::new(&target, bars.as_ref()));
            progress.now(count);
        }
        if bars.is_none() {
            let lines: Vec<String> = shown
                .iter()
                .filter(|(_, p)| p.open > 0)
                .map(|(target, p)| format!("{target}: {} jobs to go", p.open))
                .collect();
            let line = lines.join(", ");
            if line != said && !line.is_empty() {
                tracing::info!("{line}");
            }
            said = line;
        }
    }
}

struct Progress {
    bar: ProgressBar,
    open: u64,
}

impl Progress {
    fn new(target: &str, bars: Option<&MultiProgress>) -> Self {
        let bar = match bars {
            Some(bars) => bars.add(ProgressBar::new(0)),
            None => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix:>12} [{bar:30}] {pos}/{len} {per_sec} {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(target.to_owned());
        Self { bar, open: 0 }
    }

    /// Jobs are added while others end: the length of the bar is what is done plus what is open.
    fn now(&mut self, open: u64) {
        let done = self.bar.position() + self.open.saturating_sub(open);
        self.bar.set_length(done + open);
        self.bar.set_position(done);
        self.open = open;
    }
}
