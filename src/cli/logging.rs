//! Sets the form and destination of the log: lines for people, JSON, or the journal.

use std::io::{self, IsTerminal as _};

use indicatif::MultiProgress;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::{output, report::Misconfigured};
use crate::{
    config::{LogFormat, LogSection},
    printable,
};

/// Mute libraries. A certificate's problem is explained in plain words where it occurs. For a database address that
/// is not understood, the library would show the values, and one may be a password.
const QUIET: &str = "rustls_platform_verifier=off,sqlx_postgres::options=off,sqlx_mysql::options=off";

/// Start the log. `bars` are progress bars that log lines must not break.
///
/// The level comes from `VAIVEN_LOG` (for a single start), else from the configuration, else it is `fallback`.
pub fn start(section: &LogSection, fallback: &str, bars: Option<MultiProgress>) -> anyhow::Result<()> {
    let given = std::env::var("VAIVEN_LOG").ok();
    if let Some(given) = &given {
        LogSection::check_given(given, "environment variable VAIVEN_LOG")?;
    }
    let level = given.as_deref().or(section.level.as_ref().map(|level| level.get_ref().as_str())).unwrap_or(fallback);
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|error| {
        let problem = format!("`{level}` is not a log level: {error}; write error, warn, info, debug or trace");
        anyhow::Error::from(Misconfigured(problem))
    })?;
    let colours = output::colours(io::stderr().is_terminal());
    let form = match section.format {
        LogFormat::Json => Form::Json,
        _ if colours => Form::Coloured,
        _ => Form::Plain,
    };
    let lines =
        fmt::layer().with_target(false).with_writer(move || Lines { bars: bars.clone(), form, line: Vec::new() });
    let layer = match section.format {
        LogFormat::Human => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_target(true).boxed(),
        LogFormat::Journald => tracing_journald::layer()?.boxed(),
    };
    // If a process starts the log again (in tests), the first one stays.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    Ok(())
}

/// The form of a line.
#[derive(Clone, Copy, Debug)]
enum Form {
    Plain,
    Coloured,
    Json,
}

/// Make an event safe to print: without terminal control characters, and without lines that look like another
/// event.
fn printed(event: &[u8], form: Form) -> String {
    let event = String::from_utf8_lossy(event);
    let event = event.trim_end();
    match form {
        Form::Plain => format!("{}\n", printable::text(event).replace('\n', "\n    ")),
        Form::Coloured => format!("{}\n", printable::coloured(event).replace('\n', "\n    ")),
        Form::Json => format!("{}\n", printable::json(event)),
    }
}

/// One line on its way to standard error, past the progress bars.
struct Lines {
    bars: Option<MultiProgress>,
    form: Form,
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
        let write = || io::Write::write_all(&mut io::stderr().lock(), printed(&self.line, self.form).as_bytes());
        // If the log itself cannot be written, nobody can be informed.
        let _ = match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_cannot_forge_another_or_move_the_cursor() {
        let event = "2026-11-30 WARN order 887 refused: no\n2026-11-30 ERROR forged \u{1b}[1A\u{202e}\n";
        let plain = printed(event.as_bytes(), Form::Plain);
        assert_eq!(plain.lines().filter(|line| line.starts_with("2026")).count(), 1, "{plain}");
        assert!(!plain.contains(['\u{1b}', '\u{202e}']), "{plain}");
        assert!(!printed(event.as_bytes(), Form::Coloured).contains('\u{202e}'));
    }
}
