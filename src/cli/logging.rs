//! Where the log goes: lines for people, JSON, or the journal.

use std::io::{self, IsTerminal as _};

use indicatif::MultiProgress;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::report::Misconfigured;
use crate::config::{LogFormat, LogSection};

/// Starts the log. `bars` are progress bars that lines must not tear.
///
/// The level comes from `VAIVEN_LOG` (for a single start), else the configuration, else `fallback`.
pub fn start(section: &LogSection, fallback: &str, bars: Option<MultiProgress>) -> anyhow::Result<()> {
    let wanted = std::env::var("VAIVEN_LOG").ok().or_else(|| section.level.clone());
    let wanted = wanted.as_deref().unwrap_or(fallback);
    // What is wrong with a certificate is told where it is met, in plain words.
    let filter = EnvFilter::try_new(format!("rustls_platform_verifier=off,{wanted}")).map_err(|error| {
        let problem = format!("`{wanted}` is not a log level: {error}; write error, warn, info, debug or trace");
        anyhow::Error::from(Misconfigured(problem))
    })?;
    let lines = fmt::layer().with_target(false).with_writer(move || Lines { bars: bars.clone(), line: Vec::new() });
    let layer = match section.format {
        LogFormat::Human => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_target(true).boxed(),
        LogFormat::Journald => tracing_journald::layer()?.boxed(),
    };
    // A second start in one process (the tests) keeps the first one's log.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    Ok(())
}

/// One line on its way to the standard error stream, past the progress bars.
struct Lines {
    bars: Option<MultiProgress>,
    line: Vec<u8>,
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let print = || io::Write::write_all(&mut io::stderr().lock(), &self.line);
        // There is nobody to tell when the log itself cannot be written.
        let _ = match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        };
    }
}
